//! Sessions: whoever signed in is known by a sealed cookie. What a cookie is, and when it counts, `iwa_http::session` says; here is
//! what the gateway knows besides: routes and their demands, files that gateways share, and who was signed out.
//!
//! | concept | file |
//! |---|---|
//! | a session at one request: look, begin, go on, end | this one |
//! | files that several gateways share | [`file`] |
//! | the keys: read, made, rotated | [`keys`] |
//! | who was signed out before the end | [`revoked`] |
//! | `/.iwa/logout` | [`logout`] |

pub(crate) mod file;
pub(crate) mod keys;
pub(crate) mod logout;
pub(crate) mod revoked;

#[cfg(test)]
mod tests;

use core::time::Duration;
use std::sync::Arc;

use http::HeaderMap;
use http::header::{CACHE_CONTROL, HeaderValue, SET_COOKIE, VARY};
use iwa_auth::{Binding, BindingPolicy, Identity, UnixTime};
use iwa_http::session::seal::canonical_host;
use iwa_http::session::{self, Place, PolicyId, Presented, Session, Terms, cookie};
use iwa_http::{Admitted, Authenticator, Os, System as _};

use super::assemble::Problem;
use super::decide::Asked;
use super::front::Front;
use super::gate::Manner;
use super::handle::Answer;
use super::site::Site;
use crate::config;
use keys::KeyFile;
use revoked::Revoked;

/// Everything about sessions that outlives a request; and a reload, if its files stay the same.
#[derive(Debug)]
pub(crate) struct Sessions {
    config: config::Sessions,
    longest: Duration,
    keys: KeyFile,
    revoked: Revoked,
}

impl Sessions {
    /// Opens the files, and makes them if there are none. `longest` is how long a session of any route may live.
    ///
    /// # Errors
    /// A file cannot be read or made, or others may read it.
    pub(crate) fn open(config: &config::Sessions, longest: Duration) -> Result<Arc<Self>, Problem> {
        let keys = KeyFile::open(&config.keys, config.rotate, longest).map_err(Problem)?;
        let revoked = Revoked::open(&config.revoked, longest).map_err(Problem)?;
        Ok(Arc::new(Self { config: config.clone(), longest, keys, revoked }))
    }

    /// Whether they are what [`Sessions::open`] would make.
    pub(crate) fn are(&self, config: &config::Sessions, longest: Duration) -> bool {
        (&self.config, self.longest) == (config, longest)
    }

    /// Looks at both files, and makes a new key if it is time. Not on the way of a request.
    pub(crate) fn refresh(&self) -> Result<(), Problem> {
        let keys = self.keys.refresh(&Os);
        let revoked = self.revoked.refresh();
        keys.and(revoked).map_err(Problem)
    }
}

/// Sessions of a route, or of a clause of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Demand {
    terms: Terms,
    policy: PolicyId,
    /// Sets the cookie apart where less or more is demanded than in most of the site.
    suffix: String,
    /// Only a sign-in that was tied to its TLS connection counts.
    bound: bool,
}

impl Demand {
    /// Of a part of the site whose visitors sign in as `here` says, or with the form.
    pub(crate) fn new(terms: &Terms, here: &iwa_http::Policy, form: bool, config: &config::Config) -> Self {
        let usual = policy_id(&config.authentication.policy, false, config);
        let policy = policy_id(here, form, config);
        Self {
            terms: terms.clone(),
            policy,
            suffix: if policy == usual { String::new() } else { policy.short() },
            bound: is_bound(here, config),
        }
    }

    /// Whether a password that comes otherwise than in `Authorization` can begin one. It is tied to no TLS connection.
    pub(crate) const fn takes_passwords(&self, secure: bool) -> bool {
        !self.bound && (secure || self.terms.in_clear)
    }

    fn place<'a>(&'a self, front: &Front<'a>, certificate: [u8; 16]) -> Place<'a> {
        Place {
            host: canonical_host(front.host, front.secure),
            secure: front.secure,
            policy: self.policy,
            certificate: if self.bound { certificate } else { [0; 16] },
            suffix: &self.suffix,
        }
    }
}

const fn is_bound(policy: &iwa_http::Policy, config: &config::Config) -> bool {
    policy.bound_only || matches!(config.authentication.token_checking, BindingPolicy::Require)
}

/// Everything that decides whether a sign-in counts, and nothing that does not. Whoever makes any of it stricter, or weaker, ends
/// the sessions from before.
fn policy_id(policy: &iwa_http::Policy, form: bool, config: &config::Config) -> PolicyId {
    let mut providers: Vec<_> = policy.providers.iter().map(|provider| provider.name()).collect();
    providers.sort_unstable();
    let kerberos = config.kerberos.as_ref().map(|kerberos| {
        let config::Kerberos { rc4, pac_required, service_names, kdc_keytab, client_realms, .. } = kerberos;
        format!("{rc4} {pac_required} {service_names:?} {} {client_realms:?}", kdc_keytab.is_some())
    });
    let config::Ntlm { require_mic, target_names, .. } = &config.ntlm;
    let word = |yes: bool| if yes { "yes" } else { "no" };
    // An account that nobody answers for any more is nobody's.
    let mut authorities: Vec<_> = config.domains.iter().map(|domain| domain.name.to_lowercase()).collect();
    authorities.sort_unstable();
    let authorities =
        (authorities, config.directory.as_ref().map(|directory| &directory.name), config.accounts.is_some());
    PolicyId::of([
        ("providers", providers.join(",").as_str()),
        ("basic", word(policy.basic_realm.is_some())),
        ("form", word(form)),
        ("bound", word(is_bound(policy, config))),
        ("kerberos", kerberos.as_deref().unwrap_or("off")),
        ("ntlm", format!("{require_mic} {target_names:?}").as_str()),
        ("authorities", format!("{authorities:?}").as_str()),
    ])
}

/// The session of one request.
#[derive(Default)]
pub(crate) struct Here<'a> {
    on: Option<On<'a>>,
    session: Option<Box<Session>>,
    /// Why a cookie did not count, or there will be none.
    note: Option<String>,
    marks: Marks,
}

struct On<'a> {
    sessions: &'a Sessions,
    demand: &'a Demand,
    place: Place<'a>,
}

impl<'a> Here<'a> {
    /// Looks for a session. Credentials of the request itself win over it, whatever becomes of them: who sends a token wants to be
    /// whom it says, and if it fails, that must not be hidden by whom a cookie says.
    pub(crate) async fn of(
        site: &'a Site,
        manner: &'a Manner,
        authenticator: &Authenticator,
        asked: &Asked<'a>,
    ) -> Self {
        let Some(sessions) = &site.sessions else { return Self::default() };
        // What was proved on a connection ends with the session that began with it.
        if let Some((id, begun, identity)) = asked.connection.session()
            && sessions.revoked.ended(id, begun, &identity)
        {
            asked.connection.forget_identity();
        }
        let Some(demand) = manner.session.as_ref().filter(|_| !manner.off) else { return Self::default() };
        let place = demand.place(asked.front, asked.connection.certificate());
        let mut here = Self { on: Some(On { sessions, demand, place }), ..Self::default() };
        if !authenticator.is_asked_by(asked.headers) {
            here.look(site, asked.headers).await;
        }
        here
    }

    async fn look(&mut self, site: &Site, headers: &HeaderMap) {
        let Some(On { sessions, demand, place }) = &self.on else { return };
        match session::presented(headers, &sessions.keys.now(), place, &demand.terms, Os.now()) {
            Presented::Nothing => {}
            Presented::Refused(refusal) => {
                self.note = Some(refusal.in_words().to_owned());
                self.end(headers);
            }
            Presented::Session(session) => {
                let why = if sessions.revoked.ended(session.id, session.times.begun, &session.identity) {
                    Some("the session was signed out".to_owned())
                } else {
                    gone(site, &session).await
                };
                match why {
                    Some(why) => {
                        self.note = Some(why);
                        self.end(headers);
                    }
                    None => self.session = Some(session),
                }
            }
        }
    }

    /// Who it is, if there is a session that counts.
    pub(crate) fn identity(&self) -> Option<Arc<Identity>> {
        self.session.as_ref().map(|session| Arc::clone(&session.identity))
    }

    /// The answer is for this visitor alone, if it is somebody.
    pub(crate) const fn is_private_to(&mut self, identity: Option<&Identity>) {
        self.marks.private = identity.is_some() && self.on.is_some();
    }

    /// Begins a session with what this very request proved, or goes on with the one that it brought.
    pub(crate) fn go_on(&mut self, identity: Option<&Identity>, proof: &Proof, asked: &Asked<'_>) {
        let Some(On { sessions, demand, place }) = &self.on else { return };
        let keys = sessions.keys.now();
        let lines = match (&self.session, identity) {
            (Some(session), _) => {
                session::again(session, &keys, place, &demand.terms, &Os).map(Option::unwrap_or_default)
            }
            (None, Some(identity)) if proof.by_token && (!demand.bound || proof.binding == Binding::Bound) => {
                session::begin(identity, proof.expires, &keys, place, &demand.terms, &Os).map(|begun| {
                    asked.connection.belongs_to(begun.id, begun.times.begun);
                    begun.lines
                })
            }
            _ => return,
        };
        match lines {
            Ok(lines) if lines.is_empty() => {}
            // Instead of what would make the browser forget an older one.
            Ok(lines) => self.marks.lines = lines,
            Err(why) => self.note = Some(why.in_words().to_owned()),
        }
    }

    /// Makes the browser forget the session cookie.
    pub(crate) fn end(&mut self, headers: &HeaderMap) {
        if let Some(On { place, .. }) = &self.on {
            self.marks.lines = cookie::clear(headers, place);
        }
        self.session = None;
    }

    /// What the operator should know, behind what is known already.
    pub(crate) fn note(&mut self, before: Option<String>) -> Option<String> {
        match (before, self.note.take()) {
            (Some(before), Some(note)) => Some(format!("{before}; {note}")),
            (before, note) => before.or(note),
        }
    }

    /// An answer to a request that is not let in, with what it must carry.
    pub(crate) fn refused(mut self, mut answer: Answer) -> Answer {
        answer.note = self.note(answer.note.take());
        self.marks.attach(answer.response.headers_mut());
        answer
    }

    /// What the answer must carry.
    pub(crate) fn marks(self) -> Marks {
        self.marks
    }
}

/// What a request itself proved.
pub(crate) struct Proof {
    by_token: bool,
    binding: Binding,
    expires: Option<UnixTime>,
}

impl Proof {
    /// Of one that was admitted.
    pub(crate) const fn of(admitted: &Admitted) -> Self {
        Self { by_token: admitted.by_token, binding: admitted.binding, expires: admitted.expires }
    }
}

/// What an answer must carry because of a session.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    lines: Vec<HeaderValue>,
    private: bool,
}

impl Marks {
    /// Begins a session for somebody whose password the form brought. The connection has no part in it: whoever it knows is as
    /// before.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub(crate) fn begin(
        site: &Site,
        demand: &Demand,
        asked: &Asked<'_>,
        identity: &Identity,
    ) -> Result<Self, &'static str> {
        let sessions = site.sessions.as_ref().ok_or("there are no sessions")?;
        if !demand.takes_passwords(asked.front.secure) {
            return Err("a password begins no session here");
        }
        let place = demand.place(asked.front, asked.connection.certificate());
        let begun = session::begin(identity, None, &sessions.keys.now(), &place, &demand.terms, &Os);
        begun.map(|begun| Self { lines: begun.lines, private: true }).map_err(|why| why.in_words())
    }

    /// Puts them on an answer. A cache that many share would hand the cookie, or the page, to the next visitor: a request that is
    /// known by a cookie has no `Authorization` that would keep it from that (RFC 9111 3.5).
    pub(crate) fn attach(self, headers: &mut HeaderMap) {
        let Self { lines, private } = self;
        if !private && lines.is_empty() {
            return;
        }
        keep_private(headers, !lines.is_empty());
        for line in lines {
            headers.append(SET_COOKIE, line);
        }
        let vary = headers.get_all(VARY).iter().filter_map(|line| line.to_str().ok());
        let says = |name: &str| name.eq_ignore_ascii_case("cookie") || name == "*";
        if !vary.flat_map(|line| line.split(',')).any(|name| says(name.trim())) {
            headers.append(VARY, HeaderValue::from_static("Cookie"));
        }
    }
}

/// `Cache-Control: private`, unless more is said already. An application's `public` stands where no cookie goes out: it says so of
/// pages that are the same for everybody, as it may with `Authorization`.
fn keep_private(headers: &mut HeaderMap, cookie: bool) {
    let lines = headers.get_all(CACHE_CONTROL).iter().filter_map(|line| line.to_str().ok());
    let mut directives: Vec<String> =
        lines.flat_map(|line| line.split(',')).map(|part| part.trim().to_owned()).collect();
    let name = |directive: &str| directive.split('=').next().unwrap_or_default().trim().to_ascii_lowercase();
    // With field names it keeps no more than those fields private.
    if directives.iter().any(|part| part.eq_ignore_ascii_case("private") || part.eq_ignore_ascii_case("no-store")) {
        return;
    }
    if !cookie && directives.iter().any(|part| matches!(name(part).as_str(), "public" | "s-maxage" | "must-revalidate"))
    {
        return;
    }
    directives.retain(|part| !part.is_empty() && !matches!(name(part).as_str(), "public" | "s-maxage"));
    directives.push("private".to_owned());
    if let Ok(line) = HeaderValue::try_from(directives.join(", ")) {
        headers.insert(CACHE_CONTROL, line);
    }
}

/// Why an account of this machine is not what it was when the session began; `None` if it is, or if it is somebody else's.
async fn gone(site: &Site, session: &Session) -> Option<String> {
    let accounts = site.accounts.as_ref()?;
    let account = session.identity.account();
    let snapshot = match accounts.current().await {
        Ok(snapshot) => snapshot,
        Err(error) => return Some(format!("the session counts only if its account is there: {error}")),
    };
    if !snapshot.is_own_domain(&account.domain) {
        return None;
    }
    let Some(user) = snapshot.user(&account.name) else { return Some("the session's account was removed".to_owned()) };
    let another = account.sid.is_some_and(|sid| sid.rid() != Some(user.rid));
    let now = Os.now();
    let why = if another {
        "the session's account was removed, and another made under its name"
    } else if user.disabled {
        "the session's account is disabled"
    } else if user.expires.is_some_and(|end| now >= end) {
        "the session's account has ended"
    } else if user.must_change || user.password_set.secs() > session.times.begun.secs() {
        "the password of the session's account was changed, or must be"
    } else {
        return None;
    };
    Some(why.to_owned())
}
