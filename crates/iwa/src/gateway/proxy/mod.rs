//! A reverse proxy: an admitted request goes to the application, its answer to the client, both while they arrive. RFC 9110 7.6.
//!
//! | what | file |
//! |---|---|
//! | which header lines go on, and what the application is told of the visitor | [`headers`] |
//! | one request: where to, again elsewhere if that is safe, and what became of it | [`send`] |
//! | the same for an application that signs in by itself | [`pinned`] |
//! | the bodies in between | [`body`] |
//! | WebSocket and other upgrades | [`upgrade`] |
//! | the addresses of the application, which one, in what standing, and checks of their health | [`group`], [`standing`], [`health`] |
//! | the connections to one address | [`pool`] |
//! | a new connection; TLS | [`connect`], [`trust`] |
//! | what an address is | [`target`] |
//! | why there was no answer | [`failure`] |

pub(crate) mod body;
mod connect;
mod failure;
mod group;
mod headers;
mod health;
pub(crate) mod pinned;
mod pool;
mod send;
mod standing;
pub(crate) mod target;
mod trust;
mod upgrade;

use core::sync::atomic::Ordering;
use std::sync::Arc;

use http::header::CONNECTION;
use http::request::Parts;
use http::{HeaderValue, Response};
use hyper::body::Incoming;
use iwa_http::Status;

use super::assemble::Problem;
use super::body::Body;
use super::pages;
use super::site::Visitor;
use crate::config;
use connect::Dialer;
use group::Group;
use pool::Pool;
use trust::Trust;

/// The most addresses that an application can have.
pub(crate) const MOST_TARGETS: usize = Group::MOST;

/// The application behind a route.
pub(crate) struct Proxy {
    group: Arc<Group>,
    trust: Option<Arc<Trust>>,
    config: config::Proxy,
    /// The path of the route, where it is left out of the requests.
    strip: Option<String>,
    /// Passwords of Basic are for this server here, not for the application.
    basic_is_ours: bool,
}

impl Proxy {
    /// The application of this configuration. Where one of `before` is the same, its connections are kept.
    pub(crate) fn new<'a>(
        config: &config::Proxy,
        route: &str,
        basic_is_ours: bool,
        before: impl IntoIterator<Item = &'a Self>,
    ) -> Result<Self, Problem> {
        let trust = Trust::of(config)?;
        let same =
            before.into_iter().find(|before| before.config == *config && before.trust.as_deref() == trust.as_ref());
        let (group, trust) = match same {
            Some(before) => (Arc::clone(&before.group), before.trust.clone()),
            None => (Arc::new(group(config, trust.as_ref())?), trust.map(Arc::new)),
        };
        let strip = config.settings.strip_path.then(|| route.to_owned());
        Ok(Self { group, trust, config: config.clone(), strip, basic_is_ours })
    }

    /// Whether the application signs its visitors in by itself, on connections of their own.
    pub(crate) const fn passes_through(&self) -> bool {
        self.config.settings.pass_through
    }

    #[cfg(test)]
    pub(crate) fn shares_connections_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.group, &other.group)
    }

    /// Sees to the health of the application, if it is to be watched. Does nothing where that is done already.
    pub(crate) fn keep(&self) {
        if let Some(health) = &self.config.settings.health
            && !self.group.watched.swap(true, Ordering::Relaxed)
        {
            self.group.pools.iter().for_each(|pool| health::watch(pool, health));
        }
    }

    /// Connects to each of its addresses, and says what went wrong.
    pub(crate) async fn probe(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for pool in &self.group.pools {
            problems.extend(pool.probe().await.err().map(|failure| failure.words));
        }
        problems
    }

    /// Sends the request on, and the answer back. The note is for the log.
    pub(super) async fn answer(&self, request: &Parts, body: &mut Option<Incoming>, visitor: Visitor<'_>) -> Reply {
        let sent = match (self.passes_through(), visitor.pins) {
            (true, Some(pins)) => self.pass_through(request, body, visitor, pins).await,
            (true, None) => Err(pinned::nowhere_to_pin()),
            (false, _) => self.send(request, body, visitor).await,
        };
        match sent {
            Ok(response) => Reply { status: Status::served(response.status()), response, note: None },
            Err(failure) => {
                let status = failure.status();
                if failure.is_the_clients() {
                    tracing::debug!(id = %visitor.id, "{}: {}", status.http.as_u16(), failure.words);
                } else {
                    tracing::warn!(id = %visitor.id, "{}: {}", status.http.as_u16(), failure.words);
                }
                let identity = visitor.identity.map(|identity| &**identity);
                let mut response = pages::refusal(status, visitor.id, identity);
                if self.passes_through() {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Reply { response, status, note: Some(failure.words) }
            }
        }
    }
}

/// What a route's content answers, and what the log is told.
pub(crate) struct Reply {
    pub(crate) response: Response<Body>,
    pub(crate) status: Status,
    pub(crate) note: Option<String>,
}

impl From<Response<Body>> for Reply {
    fn from(response: Response<Body>) -> Self {
        Self { status: Status::served(response.status()), response, note: None }
    }
}

fn group(config: &config::Proxy, trust: Option<&Trust>) -> Result<Group, Problem> {
    let settings = &config.settings;
    let pools = config.targets.iter().map(|target| {
        let tls = trust.filter(|_| target.tls).map(|trust| trust.towards(target, settings)).transpose()?;
        let dialer = Dialer { tls, http2: settings.http2, timeout: settings.connect_timeout };
        Ok(Arc::new(Pool::new(target.clone(), dialer, settings.keep_alive, settings.max_connections)))
    });
    Ok(Group::new(pools.collect::<Result<_, Problem>>()?, settings.balance))
}
