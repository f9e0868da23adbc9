//! Who asks, and whether they may: one decision for every request, whoever asks on whose behalf, and whatever is served.

use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode, Version};
use iwa_auth::krb5::acceptor::Delegated;
use iwa_auth::krb5::client::Evidence;
use iwa_auth::reject::{Reason, Unavailable};
use iwa_auth::{Binding, BindingPolicy, Identity};
use iwa_http::{Admitted, Connection, FinalToken, Outcome, Status};

use super::Gateway;
use super::exchange::{Proved, RequestId};
use super::front::Front;
use super::handle::Answer;
use super::pages;
use super::path::Path;
use super::session::{Here, Marks, Proof};
use super::site::{Denied, Route, Site};

/// What is asked for, and by whom as far as the wire says.
pub(crate) struct Asked<'a> {
    pub(crate) id: RequestId,
    /// That of the one who authenticates: where a proxy asks for another's request, not the proxy's own.
    pub(crate) connection: &'a Connection,
    pub(crate) front: &'a Front<'a>,
    pub(crate) method: &'a Method,
    pub(crate) path: &'a Path<'a>,
    pub(crate) version: Version,
    pub(crate) headers: &'a HeaderMap,
    /// The path with its query, as they came.
    pub(crate) target: &'a str,
}

/// What becomes of it.
pub(crate) enum Decision<'s> {
    /// It goes on to the route's content.
    Admitted(Box<Admission<'s>>),
    /// It is answered already.
    Answered(Box<Answer>),
}

/// A request that goes on.
pub(crate) struct Admission<'s> {
    pub(crate) route: &'s Route,
    /// Whether the request's credentials were looked at. Otherwise they are the application's.
    pub(crate) asked: bool,
    /// `None` is anonymous.
    pub(crate) identity: Option<Arc<Identity>>,
    /// What an application calls them, where a rule says.
    pub(crate) name: Option<String>,
    pub(crate) proved: Proved,
    /// What the answer must carry, whatever its status.
    pub(crate) final_token: FinalToken,
    /// What the client forwarded with this request.
    pub(crate) delegated: Option<Arc<Delegated>>,
    /// The ticket with which the client came, where some route needs it.
    pub(crate) evidence: Option<Arc<Evidence>>,
    pub(crate) binding: Binding,
    pub(crate) unbound: Option<u64>,
    pub(crate) note: Option<String>,
    /// And this, because of its session.
    pub(crate) session: Marks,
}

/// Decides.
pub(crate) async fn decide<'s>(gateway: &Gateway, site: &'s Site, asked: &Asked<'_>) -> Decision<'s> {
    let id = asked.id;
    let route = match site.find(asked.path) {
        Ok(Some(route)) => route,
        Ok(None) => {
            let status = Status::served(StatusCode::NOT_FOUND);
            return Answer::of(pages::refusal(status, id, None), status).into();
        }
        Err(unreadable) => return Answer::unreadable(id, &unreadable).into(),
    };
    let manner = route.gate.of(asked.front.client, asked.headers);
    let authenticator = manner.authenticator(site);
    let mut here = Here::of(site, manner, authenticator, asked).await;
    let admitted = match here.identity() {
        Some(identity) => authenticator.admit_session(asked.connection, identity),
        None if manner.off => {
            asked.connection.count_request();
            Admitted::default()
        }
        None => {
            let Asked { connection, version, headers, .. } = *asked;
            match authenticator.authenticate_from(asked.front.client, connection, version, headers).await {
                Outcome::Admitted(admitted) => admitted,
                Outcome::Refused(refused) => return here.refused(manner.refuse(asked, *refused)).into(),
            }
        }
    };
    let proved = match here.identity() {
        Some(_) => Proved::Session,
        None if admitted.by_token => Proved::Request,
        None => Proved::Connection,
    };
    let proof = Proof::of(&admitted);
    let Admitted { identity, final_token, delegated, evidence, binding, note, .. } = admitted;
    let mut note = note.map(str::to_owned);
    let mut unbound = None;
    if let (Binding::Unbound, BindingPolicy::Report, Some(identity)) =
        (binding, site.config.authentication.token_checking, &identity)
    {
        let (all, why) = gateway.unbound.count(identity.mechanism(), asked.headers);
        unbound = Some(all);
        note = Some(note.map_or_else(|| why.clone(), |note| format!("{note}; {why}")));
    }
    let mapped = match &identity {
        Some(identity) => site.name_of(identity).await,
        None => Ok(None),
    };
    if let Err(Denied::ByRule(_)) = &mapped {
        here.end(asked.headers);
    }
    here.is_private_to(identity.as_deref());
    let mut name = None;
    let admitted = match mapped {
        Ok(_) if identity.as_deref().is_some_and(|identity| site.is_itself(identity.account())) => {
            Err(Denied::ByRule(ITSELF.to_owned()))
        }
        Ok(mapped) => {
            name = mapped;
            route.admits(site.accounts.as_ref(), &site.domains, identity.as_deref(), asked.method).await
        }
        Err(denied) => Err(denied),
    };
    let (mut response, status, reason) = match admitted {
        Ok(()) => {
            here.go_on(identity.as_deref(), &proof, asked);
            let note = here.note(note);
            return Decision::Admitted(Box::new(Admission {
                route,
                asked: !manner.off,
                identity,
                name,
                proved,
                final_token,
                delegated,
                evidence,
                binding,
                unbound,
                note,
                session: here.marks(),
            }));
        }
        Err(Denied::ByRule(why)) if identity.is_none() && !manner.off => {
            let challenge = authenticator.challenge(asked.connection);
            return here.refused(Answer { note: Some(why), ..manner.refuse(asked, challenge) }).into();
        }
        Err(Denied::ByRule(why)) => {
            note = Some(why);
            (pages::refusal(Status::FORBIDDEN, id, identity.as_deref()), Status::FORBIDDEN, None)
        }
        Err(Denied::Unknown(why)) => {
            let reason = Reason::Unavailable(Unavailable::Accounts(why));
            let status = Status::of(&reason);
            (pages::refusal(status, id, identity.as_deref()), status, Some(reason))
        }
    };
    final_token.attach(response.headers_mut());
    let note = here.note(note);
    here.marks().attach(response.headers_mut());
    Answer { identity, name, proved, binding, unbound, note, reason, ..Answer::of(response, status) }.into()
}

const ITSELF: &str = "this is the machine's own account, and a server does not browse: its own sign-in was sent back to it \
                      (reflection, CVE-2025-33073); where programs on this machine do come with it, own-account = true of \
                      [authentication.windows] lets them";

impl From<Answer> for Decision<'_> {
    fn from(answer: Answer) -> Self {
        Self::Answered(Box::new(answer))
    }
}
