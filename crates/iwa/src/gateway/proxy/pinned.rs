//! `pass-through`: an application that signs its visitors in by itself, with NTLM or Negotiate, and takes a connection for a
//! person. Each client's connection has one to the application that is its own, from its first request to its end.
//! RFC 4559 6, MS-NTHT 1.3, CVE-2026-88007.
//!
//! Who is signed in on a connection, only the application knows; so none is ever given to anybody else, whether credentials were
//! seen on it or not. Where the application ends one, the client's ends too: its next request would come to a connection that
//! knows nobody, and no one would have said so.

use core::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use http::header::{AUTHORIZATION, CONNECTION, VIA, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, Version};
use hyper::body::Incoming;
use tokio::sync::Notify;

use super::super::body::Body;
use super::super::patience::Presence;
use super::super::site::Visitor;
use super::Proxy;
use super::body::{Onward, Returning};
use super::failure::{Failure, Why};
use super::group::{Group, Tried};
use super::headers;
use super::pool::Lease;
use super::send::{Unanswered, well_framed};
use super::upgrade::Wanted;

/// The connections to applications that belong to one client's connection, and end with it.
#[derive(Default)]
pub(crate) struct Pins {
    all: Mutex<Vec<Pin>>,
    ended: Notify,
}

struct Pin {
    group: Arc<Group>,
    /// Tells it from those that its place had before.
    number: u64,
    /// Between two requests.
    lease: Option<Lease>,
    /// Credentials or challenges went over it: it may be somebody's.
    signs_in: bool,
    /// The application ended it.
    gone: bool,
}

/// What a client's connection has for its next request.
enum Taken {
    Lease(Lease),
    /// Nothing yet; a new one has this number.
    Nothing(u64),
    /// Nothing any more.
    Gone,
}

/// Of a lease: where it goes back to.
pub(super) struct Pinned {
    pub(super) pins: Weak<Pins>,
    pub(super) number: u64,
}

impl Pins {
    /// Returns once an application ended a connection that may have been the client's own in name, too.
    pub(crate) async fn ended(&self) {
        self.ended.notified().await;
    }

    fn take(&self, group: &Arc<Group>) -> Taken {
        let mut all = self.lock();
        let next = all.iter().map(|pin| pin.number).max().unwrap_or(0) + 1;
        let Some(pin) = all.iter_mut().find(|pin| Arc::ptr_eq(&pin.group, group)) else {
            let group = Arc::clone(group);
            all.push(Pin { group, number: next, lease: None, signs_in: false, gone: false });
            return Taken::Nothing(next);
        };
        match pin.lease.take().filter(|lease| !lease.is_closed()) {
            Some(lease) => Taken::Lease(lease),
            None if pin.signs_in => Taken::Gone,
            None => {
                (pin.number, pin.gone) = (next, false);
                Taken::Nothing(next)
            }
        }
    }

    /// An answer is whole, and its connection waits for the next request.
    pub(super) fn keep(&self, number: u64, lease: Lease) {
        if let Some(pin) = self.lock().iter_mut().find(|pin| pin.number == number && !pin.gone) {
            pin.lease = Some(lease);
        }
    }

    /// The application ended this connection, or it failed.
    pub(super) fn ends(&self, number: u64) {
        let mut all = self.lock();
        let Some(pin) = all.iter_mut().find(|pin| pin.number == number) else { return };
        (pin.gone, pin.lease) = (true, None);
        if pin.signs_in {
            self.ended.notify_one();
        }
    }

    fn signs_in(&self, number: u64) {
        if let Some(pin) = self.lock().iter_mut().find(|pin| pin.number == number) {
            pin.signs_in = true;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Pin>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Pins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pins").field("all", &self.lock().len()).finish_non_exhaustive()
    }
}

impl Proxy {
    /// As [`Proxy::send`], over the client's own connection. The client's own ends with a failure.
    pub(super) async fn pass_through(
        &self,
        request: &Parts,
        body: &mut Option<Incoming>,
        visitor: Visitor<'_>,
        pins: &Arc<Pins>,
    ) -> Result<Response<Body>, Failure> {
        if matches!(request.method, Method::CONNECT | Method::TRACE) {
            return Err(Failure::new(Why::BadRequest, format!("{} is for no application", request.method)));
        }
        let upgrade = Wanted::by(request);
        let mut onward = Onward::new(body.take(), visitor.asserted.protected());
        let progress = onward.progress();
        let client = request.extensions.get::<Arc<Presence>>();
        loop {
            let mut lease = match pins.take(&self.group) {
                Taken::Lease(lease) => lease,
                Taken::Nothing(number) => match self.first(visitor, pins, number).await {
                    Ok(lease) => lease,
                    Err(failure) => {
                        *body = onward.into_unread();
                        return Err(failure);
                    }
                },
                Taken::Gone => {
                    *body = onward.into_unread();
                    return Err(ended("before this request"));
                }
            };
            let number = lease.pinned.as_ref().map_or(0, |pinned| pinned.number);
            let mut sent = self.request(request, onward, &lease, visitor, upgrade.as_ref())?;
            // An application such as IIS takes a connection behind a proxy for one of many clients, and forgets after each request
            // who it was. This one is a single client's.
            sent.headers_mut().remove(VIA);
            let mut signs_in = sent.headers().contains_key(AUTHORIZATION);
            if signs_in {
                pins.signs_in(number);
            }
            match self.wait(&mut lease, sent, progress.as_deref(), client.map(|client| &**client)).await {
                Ok(answer) => {
                    signs_in |= answer.headers().contains_key(WWW_AUTHENTICATE);
                    if signs_in {
                        pins.signs_in(number);
                    }
                    return self.pass_back(answer, lease, visitor, upgrade, client);
                }
                Err(Unanswered::Unsent(unsent)) => {
                    pins.ends(number);
                    // Not to a new connection, unless the old one knew nobody: `take` tells.
                    onward = unsent.into_body();
                }
                Err(Unanswered::Sent(failure)) => {
                    pins.ends(number);
                    return Err(failure);
                }
            }
        }
    }

    /// The first connection: to whichever address can be reached.
    async fn first(&self, visitor: Visitor<'_>, pins: &Arc<Pins>, number: u64) -> Result<Lease, Failure> {
        let mut tried = Tried::default();
        let mut before: Option<Failure> = None;
        while let Some((address, pool)) = self.group.choose(visitor.front.client, tried) {
            match pool.lease_pinned(Pinned { pins: Arc::downgrade(pins), number }).await {
                Ok(lease) => return Ok(lease),
                Err(failure) => {
                    tried.add(address);
                    before = Some(failure.after(before));
                }
            }
        }
        Err(before.unwrap_or_else(|| Failure::new(Why::Unreachable, "there is no application")))
    }

    fn pass_back(
        &self,
        answer: Response<Incoming>,
        mut lease: Lease,
        visitor: Visitor<'_>,
        upgrade: Option<Wanted<'_>>,
        client: Option<&Arc<Presence>>,
    ) -> Result<Response<Body>, Failure> {
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            return self.back(answer, lease, visitor, upgrade, client);
        }
        let target = lease.target();
        well_framed(&answer).map_err(|why| Failure::new(Why::BadAnswer, format!("the answer of {target} {why}")))?;
        let (mut parts, body) = answer.into_parts();
        let ends = parts.version != Version::HTTP_11
            || headers::tokens(&parts.headers, &CONNECTION).any(|token| token.eq_ignore_ascii_case("close"));
        // About a connection, and this one is the client's.
        let persistent = parts.headers.get(PERSISTENT_AUTH).cloned();
        headers::without_hops(&mut parts.headers);
        if let Some(persistent) = persistent {
            parts.headers.insert(PERSISTENT_AUTH, persistent);
        }
        if ends {
            lease.pinned = None;
            parts.headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        parts.version = Version::HTTP_11;
        parts.extensions.clear();
        let patience = self.config.settings.idle_timeout;
        Ok(Response::from_parts(
            parts,
            Body::Upstream(Returning::new(visitor.id, body, lease, patience, client.cloned())),
        ))
    }
}

fn ended(when: &str) -> Failure {
    Failure::new(
        Why::Died,
        format!(
            "the application ended the connection that this client was signing in on, {when}; the client's ends too, and it signs in \
             again on a new one"
        ),
    )
}

/// A request without a connection of its own.
pub(super) fn nowhere_to_pin() -> Failure {
    Failure::new(Why::BadRequest, "pass-through is for HTTP/1.1, where a connection is one client's")
}

const PERSISTENT_AUTH: HeaderName = HeaderName::from_static("persistent-auth");
