//! What is behind the authentication: files, an application, or a page that says who you are.

use core::fmt::Write as _;
use std::sync::{Arc, Mutex};

use http::request::Parts;
use http::{Method, Response, StatusCode};
use hyper::body::Incoming;
use iwa_auth::{Account, Identity};
use iwa_domain::local::LocalAccounts;
use iwa_http::Authenticator;

use super::authorize::{Decision, Here, Role, Rule, Subject, User, decide};
use super::body::Body;
use super::directory::Opened;
use super::domain::Joined;
use super::exchange::{Proved, RequestId};
use super::files::Files;
use super::front::Front;
use super::gate::Gate;
use super::identity::jwt::Issuer;
use super::identity::{Asserted, Assertion, Whose};
use super::keytabs::Keytabs;
use super::mapping::Mapped;
use super::names::DomainGroup;
use super::outbound::{Login, Outbound, Tickets};
use super::pages;
use super::path::{Path, Unreadable};
use super::proxy::pinned::Pins;
use super::proxy::{Proxy, Reply};
use super::session::{Demand, Sessions};
use super::terminators::Terminators;
use super::tls::Certificates;
use crate::config::Config;

/// Everything that a configuration says of requests. Replaced whole by a reload.
pub(crate) struct Site {
    /// The longest path first.
    pub(crate) routes: Vec<Route>,
    pub(crate) authenticator: Authenticator,
    pub(crate) accounts: Option<LocalAccounts>,
    pub(crate) domains: Vec<Arc<Joined>>,
    pub(crate) directory: Option<Arc<Opened>>,
    /// The groups of domains that the rules name.
    pub(crate) groups: Vec<Arc<DomainGroup>>,
    /// Whose accounts this machine's are, for what applications are told.
    pub(crate) whose: Whose,
    /// Who issues tokens to applications.
    pub(crate) issuer: Option<Arc<Issuer>>,
    /// The realms of the keytabs.
    pub(crate) realms: Vec<String>,
    /// The tickets for applications that are at hand.
    pub(crate) tickets: Arc<Tickets>,
    /// The accounts of this server itself, with their realms.
    pub(crate) own_accounts: Vec<(String, String)>,
    /// The keytabs as they were read.
    pub(crate) keytabs: Mutex<Keytabs>,
    /// `None` without `[sessions]`.
    pub(crate) sessions: Option<Arc<Sessions>>,
    /// Those of all routes, each once.
    pub(crate) demands: Vec<Demand>,
    /// Whether any route has a form to sign in with.
    pub(crate) has_forms: bool,
    /// Of TLS; `None` without `[tls]`.
    pub(crate) certificates: Option<Arc<Certificates>>,
    pub(crate) terminators: Terminators,
    /// What it was made of.
    pub(crate) config: Config,
}

impl Site {
    /// The route a path belongs to.
    ///
    /// # Errors
    /// It belongs to another for applications that leave parameters out.
    pub(crate) fn find(&self, path: &Path<'_>) -> Result<Option<&Route>, Unreadable> {
        let find = |path: &Path<'_>| self.routes.iter().find(|route| path.below(&route.path));
        let found = find(path);
        match path.without_parameters() {
            Some(plain) if !same(found, find(&plain)) => {
                Err(Unreadable("its parameters, after a `;`, decide under which route it is"))
            }
            _ => Ok(found),
        }
    }

    /// The applications behind.
    pub(crate) fn proxies(&self) -> impl Iterator<Item = &Proxy> {
        self.routes.iter().filter_map(|route| route.content.proxy())
    }
}

impl Site {
    /// Whether somebody is this server itself. Nothing of it browses: who comes with its account was sent its own sign-in back
    /// (reflection), unless the configuration says that it is meant.
    pub(crate) fn is_itself(&self, account: &Account) -> bool {
        let in_realm = |realm: &str| {
            let of_domain =
                self.domains.iter().any(|domain| domain.names.is(realm) && domain.names.is(&account.domain));
            of_domain || account.realm.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(realm))
        };
        !self.config.authentication.own_account
            && self.own_accounts.iter().any(|(name, realm)| name.eq_ignore_ascii_case(&account.name) && in_realm(realm))
    }

    /// What an application calls this visitor, if a rule says; else why they are refused.
    pub(crate) async fn name_of(&self, identity: &Identity) -> Result<Option<String>, Denied> {
        let mapping = &self.config.mapping;
        if mapping.is_empty() {
            return Ok(None);
        }
        let snapshot = match &self.accounts {
            Some(accounts) => Some(accounts.current().await.map_err(|error| Denied::Unknown(error.to_string()))?),
            None => None,
        };
        let here = Here { accounts: snapshot.as_deref(), domains: &self.domains, realms: &self.realms };
        match mapping.of(identity.account(), &here) {
            Mapped::Nothing => Ok(None),
            Mapped::Name(name) => Ok(Some(name)),
            Mapped::Refused(why) => Err(Denied::ByRule(why)),
        }
    }
}

/// A part of the site.
pub(crate) struct Route {
    /// Its prefix: `/`, `/reports`.
    pub(crate) path: String,
    rules: Vec<Rule>,
    /// Whether a rule has a name that only the local accounts can tell.
    has_local_names: bool,
    /// How visitors sign in here.
    pub(crate) gate: Gate,
    pub(crate) content: Content,
    /// What its application is told of a visitor.
    pub(crate) assertion: Assertion,
    /// As whom the gateway signs in to the application.
    pub(crate) outbound: Option<Outbound>,
}

impl Route {
    /// A route with these rules, those of the routes above it among them.
    pub(crate) fn new(path: String, rules: Vec<Rule>, gate: Gate, content: Content, assertion: Assertion) -> Self {
        let has_local_names = rules.iter().any(has_local_names);
        Self { path, rules, has_local_names, gate, content, assertion, outbound: None }
    }

    /// The same, whose application is signed in to.
    pub(crate) fn with_outbound(self, outbound: Option<Outbound>) -> Self {
        Self { outbound, ..self }
    }

    /// Whether the rules let this visitor in; else why not, for the log.
    pub(crate) async fn admits(
        &self,
        accounts: Option<&LocalAccounts>,
        domains: &[Arc<Joined>],
        identity: Option<&Identity>,
        method: &Method,
    ) -> Result<(), Denied> {
        // The accounts are looked at only if a rule has names of theirs.
        let snapshot = match accounts.filter(|_| self.has_local_names) {
            Some(accounts) => Some(accounts.current().await.map_err(|error| Denied::Unknown(error.to_string()))?),
            None => None,
        };
        let here = Here { accounts: snapshot.as_deref(), domains, realms: &[] };
        let decision = decide(&self.rules, identity.map(Subject::from), method, &here);
        match decision {
            Decision::Allowed => Ok(()),
            Decision::Denied { by: Some(rule) } => {
                let unknown = identity
                    .is_some_and(|identity| identity.account().sid.is_none() && identity.named_groups().is_none());
                let why = if unknown {
                    "; the client's ticket has no PAC, and what it does not say cannot clear it"
                } else {
                    ""
                };
                Err(Denied::ByRule(format!("rule {} of {} denies it{why}", rule + 1, self.path)))
            }
            Decision::Undecided { by } => {
                let unresolved = self.rules.get(by).map(Rule::unresolved).unwrap_or_default();
                Err(Denied::Unknown(format!(
                    "rule {} of {} hangs on names that are not resolved ({unresolved})",
                    by + 1,
                    self.path
                )))
            }
            Decision::Denied { by: None } => Err(Denied::ByRule(format!("no rule of {} allows it", self.path))),
        }
    }
}

/// Why a visitor is not let in.
pub(crate) enum Denied {
    /// The rules say so.
    ByRule(String),
    /// The rules cannot be evaluated, because accounts cannot be read or names not be resolved.
    Unknown(String),
}

fn same(one: Option<&Route>, other: Option<&Route>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => core::ptr::eq(one, other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

fn has_local_names(rule: &Rule) -> bool {
    rule.roles.iter().any(|role| matches!(role, Role::Group(_)))
        || rule.users.iter().any(|user| !matches!(user, User::All | User::Anonymous | User::Sid(_)))
}

/// What a route answers with.
pub(crate) enum Content {
    /// Files of a directory.
    Files(Files),
    /// An application that HTTP leads to.
    Proxy(Box<Proxy>),
    /// A page that says who the client is, and how they proved it.
    Whoami,
    /// A fault.
    #[cfg(test)]
    Panics,
}

impl Content {
    /// The application behind, where there is one.
    pub(crate) const fn proxy(&self) -> Option<&Proxy> {
        match self {
            Self::Proxy(proxy) => Some(proxy),
            _ => None,
        }
    }

    /// Answers a request that may be answered. Whoever wants the request's body takes it.
    pub(crate) async fn answer(
        &self,
        request: &Parts,
        body: &mut Option<Incoming>,
        path: &Path<'_>,
        visitor: Visitor<'_>,
    ) -> Reply {
        match self {
            Self::Proxy(proxy) => proxy.answer(request, body, visitor).await,
            Self::Files(files) => files.answer(request, path, visitor).await.into(),
            Self::Whoami => whoami(request, visitor).into(),
            #[cfg(test)]
            Self::Panics => panic!("a fault in a handler"),
        }
    }
}

/// Who asks.
#[derive(Clone, Copy)]
pub(crate) struct Visitor<'a> {
    pub(crate) id: RequestId,
    pub(crate) front: &'a Front<'a>,
    /// Whether the request's credentials were looked at. Otherwise they are the application's.
    pub(crate) asked: bool,
    pub(crate) identity: Option<&'a Arc<Identity>>,
    pub(crate) proved: Proved,
    /// What belongs to the client's connection, where that is one client's: HTTP/1.1.
    pub(crate) pins: Option<&'a Arc<Pins>>,
    /// What an application calls them, where a rule says.
    pub(crate) mapped: Option<&'a str>,
    /// What an application is told of them.
    pub(crate) asserted: &'a Asserted,
    /// With what the request is signed in to the application.
    pub(crate) login: Option<&'a Login<'a>>,
}

fn whoami(request: &Parts, visitor: Visitor<'_>) -> Response<Body> {
    let mut main = String::new();
    match visitor.identity {
        Some(identity) => {
            let account = identity.account();
            let mut row = |name: &str, value: &str| {
                let _ = write!(main, "<tr><th>{name}</th><td>{}</td></tr>", pages::escape(value));
            };
            row("Account", &identity.to_string());
            if let Some(mapped) = visitor.mapped {
                row("For applications", mapped);
            }
            row("Mechanism", &identity.mechanism().to_string());
            row(
                "Proved by",
                match visitor.proved {
                    Proved::Request => "this request",
                    Proved::Connection => "an earlier request of this connection",
                    Proved::Session => "a session that began with a sign-in",
                },
            );
            for (name, value) in [("Realm", &account.realm), ("UPN", &account.upn), ("Name", &account.display_name)] {
                if let Some(value) = value {
                    row(name, value);
                }
            }
            if let Some(sid) = &account.sid {
                row("SID", &sid.to_string());
            }
            for group in identity.groups() {
                row("Group", &group.to_string());
            }
            for group in identity.named_groups().unwrap_or_default() {
                match &group.name {
                    Some(name) => row("Group", &format!("{}\\{name} ({})", account.domain, group.dn)),
                    None => row("Group", &group.dn),
                }
            }
            main = format!("<table>{main}</table>");
        }
        None => main.push_str("<p>You are anonymous.</p>"),
    }
    let _ = write!(
        main,
        "<p class=\"small\"><code>{} {}</code> &middot; request {}</p>",
        pages::escape(request.method.as_str()),
        pages::escape(request.uri.path()),
        visitor.id
    );
    pages::html(StatusCode::OK, "Who you are", &main)
}
