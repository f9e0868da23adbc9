//! One request to the application: which address, over which connection, again elsewhere where nobody can have seen it, and the answer
//! for the client. RFC 9110 9.2.2, 15.6.

use core::error::Error;
use core::fmt::Write as _;
use core::future::poll_fn;
use core::time::Duration;
use std::sync::Arc;

use http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;

use super::super::body::Body;
use super::super::outbound::Refused;
use super::super::patience::Presence;
use super::super::site::Visitor;
use super::Proxy;
use super::body::{Onward, Progress, Returning};
use super::failure::{Failure, Why};
use super::group::Tried;
use super::headers::{self, Ours};
use super::pool::Lease;
use super::upgrade::{Wanted, tunnel};
use crate::config::HostHeader;

impl Proxy {
    /// Sends a request on. What was not read of its body then, stays in `body`.
    pub(super) async fn send(
        &self,
        request: &Parts,
        body: &mut Option<Incoming>,
        visitor: Visitor<'_>,
    ) -> Result<Response<Body>, Failure> {
        if matches!(request.method, Method::CONNECT | Method::TRACE) {
            return Err(Failure::new(Why::BadRequest, format!("{} is for no application", request.method)));
        }
        let upgrade = Wanted::by(request);
        let mut onward = Onward::new(body.take(), visitor.asserted.protected());
        let mut tried = Tried::default();
        let mut repeated = 0;
        let mut before: Option<Failure> = None;
        loop {
            let Some((number, pool)) = self.group.choose(visitor.front.client, tried) else {
                *body = onward.into_unread();
                return Err(before.unwrap_or_else(|| Failure::new(Why::Unreachable, "there is no application")));
            };
            // A connection over which somebody is signed in is nobody else's, before and after.
            let mut lease = match pool.lease(upgrade.is_some() || visitor.login.is_some()).await {
                Ok(lease) => lease,
                Err(failure) if failure.before_anything_was_sent() => {
                    tried.add(number);
                    before = Some(failure.after(before));
                    continue;
                }
                Err(failure) => {
                    *body = onward.into_unread();
                    return Err(failure);
                }
            };
            let nothing_to_lose = onward.is_empty() && request.method.is_idempotent() && upgrade.is_none();
            let progress = onward.progress();
            let fresh = lease.fresh;
            let mut sent = self.request(request, onward, &lease, visitor, upgrade.as_ref())?;
            let mut signed_in = None;
            if let Some(login) = visitor.login {
                // Each time another token: an application takes none twice.
                let (line, waiting) = login.authorization().map_err(|refused| no_sign_in(*refused))?;
                sent.headers_mut().insert(AUTHORIZATION, line);
                signed_in = Some((login, waiting));
            }
            if headers::sign_in_the_connection(sent.headers()) {
                lease.keep_to_itself();
            }
            let client = request.extensions.get::<Arc<Presence>>();
            let failure = match self.wait(&mut lease, sent, progress.as_deref(), client.map(|client| &**client)).await {
                Ok(answer) => {
                    if let Some((login, waiting)) = signed_in {
                        login
                            .answered(waiting, answer.status(), answer.headers())
                            .map_err(|refused| no_sign_in(*refused))?;
                    }
                    return self.back(answer, lease, visitor, upgrade, client);
                }
                Err(Unanswered::Unsent(unsent)) if !fresh => {
                    lease.keep_to_itself();
                    // The application closed the connection while nobody used it.
                    onward = unsent.into_body();
                    continue;
                }
                Err(Unanswered::Unsent(unsent)) => {
                    onward = unsent.into_body();
                    tried.add(number);
                    let why = format!("{} closed a connection before a request went over it", lease.target());
                    before = Some(Failure::new(Why::Died, why).after(before));
                    continue;
                }
                Err(Unanswered::Sent(failure)) => failure,
            };
            if failure.why == Why::Died {
                lease.keep_to_itself();
            }
            // Whether the application saw it, nobody knows.
            if failure.why == Why::Died && nothing_to_lose && (!fresh || repeated < self.config.settings.retries) {
                repeated += u32::from(fresh);
                onward = Onward::empty();
                if fresh && self.group.pools.len() > 1 {
                    tried.add(number);
                }
                before = Some(failure.after(before));
                continue;
            }
            return Err(failure.after(before));
        }
    }

    /// What goes to the application.
    pub(super) fn request(
        &self,
        request: &Parts,
        body: Onward,
        lease: &Lease,
        visitor: Visitor<'_>,
        upgrade: Option<&Wanted<'_>>,
    ) -> Result<Request<Onward>, Failure> {
        let target = lease.target();
        let settings = &self.config.settings;
        let front = visitor.front;
        let bad = |what: &str| Failure::new(Why::BadRequest, format!("the request's {what} cannot be handed on"));
        let authority = match settings.host {
            HostHeader::Preserve if !front.host.is_empty() => front.host.parse().map_err(|_| bad("host"))?,
            _ => target.authority.clone(),
        };
        let path = target.path(request.uri.path_and_query(), self.strip.as_deref()).ok_or_else(|| bad("path"))?;
        let id = settings.request_id.as_ref().map(|name| {
            (name, HeaderValue::try_from(visitor.id.to_string()).unwrap_or_else(|_| HeaderValue::from_static("-")))
        });
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| bad("host"))?;
        let http2 = lease.is_http2();
        let mut lines = headers::onward(&headers::Onward {
            request,
            front,
            host: (!http2).then_some(host),
            id,
            ours: Ours {
                windows: visitor.asked,
                basic: visitor.asked && self.basic_is_ours,
                any: visitor.asked && visitor.asserted.stands_in_authorization(),
            },
            upgrade: upgrade.map(|upgrade| upgrade.protocol),
        });
        // Last, so that nothing takes away again what the application is told.
        visitor.asserted.onto(&mut lines);
        frame(&mut lines, &request.method, &body, http2);
        let mut onward = Request::new(body);
        *onward.method_mut() = request.method.clone();
        *onward.headers_mut() = lines;
        *onward.uri_mut() = if http2 {
            let mut parts = http::uri::Parts::default();
            parts.scheme = Some(target.scheme());
            parts.authority = Some(authority);
            parts.path_and_query = Some(path);
            Uri::from_parts(parts).map_err(|_| bad("address"))?
        } else {
            Uri::from(path)
        };
        *onward.version_mut() = if http2 { Version::HTTP_2 } else { Version::HTTP_11 };
        Ok(onward)
    }

    /// Waits for the head of the answer. The time runs from the last piece of the request.
    pub(super) async fn wait(
        &self,
        lease: &mut Lease,
        request: Request<Onward>,
        progress: Option<&Progress>,
        client: Option<&Presence>,
    ) -> Result<Response<Incoming>, Unanswered> {
        let target = lease.target().to_string();
        let patience = self.config.settings.answer_timeout;
        let answer = lease.send(request);
        tokio::pin!(answer);
        let frames = || progress.map_or(0, Progress::frames);
        let mut before = frames();
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => {
                    return answer.map_err(|mut error| match error.take_message() {
                        Some(request) => Unanswered::Unsent(Box::new(request)),
                        None => Unanswered::Sent(no_answer(&target, error.error())),
                    });
                }
                () = gone(client) => return Err(Unanswered::Sent(Failure::new(
                    Why::ClientGone,
                    format!("the client went away before {target} had answered, and so was the request to it"),
                ))),
                () = tokio::time::sleep(patience) => {}
            }
            let now = frames();
            if now == before {
                return Err(Unanswered::Sent(timed_out(&target, patience, progress)));
            }
            before = now;
        }
    }

    /// The answer, for the client.
    pub(super) fn back(
        &self,
        answer: Response<Incoming>,
        mut lease: Lease,
        visitor: Visitor<'_>,
        upgrade: Option<Wanted<'_>>,
        client: Option<&Arc<Presence>>,
    ) -> Result<Response<Body>, Failure> {
        let target = lease.target().to_string();
        well_framed(&answer).map_err(|why| Failure::new(Why::BadAnswer, format!("the answer of {target} {why}")))?;
        let settings = &self.config.settings;
        let (mut parts, body) = answer.into_parts();
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            let Some(wanted) = upgrade else {
                let why = format!("{target} changes the protocol, which nobody asked it to");
                return Err(Failure::new(Why::BadAnswer, why));
            };
            let protocol = parts.headers.get(UPGRADE).cloned().unwrap_or_else(|| wanted.protocol.clone());
            headers::back(&mut parts.headers);
            parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            parts.headers.insert(UPGRADE, protocol);
            let application = parts.extensions.remove::<hyper::upgrade::OnUpgrade>();
            let Some(application) = application else {
                return Err(Failure::new(Why::BadAnswer, format!("{target} changes the protocol and does not go on")));
            };
            tokio::spawn(tunnel(visitor.id, (wanted.client, wanted.place), application, settings.idle_timeout, lease));
            return Ok(Response::from_parts(parts, Body::of("")));
        }
        if headers::back(&mut parts.headers) {
            // Whoever goes on with this connection is whom the application takes them for.
            lease.keep_to_itself();
        }
        // Those of the client's connection are its own.
        parts.version = Version::HTTP_11;
        parts.extensions.clear();
        Ok(Response::from_parts(
            parts,
            Body::Upstream(Returning::new(visitor.id, body, lease, settings.idle_timeout, client.cloned())),
        ))
    }
}

/// Ends when the client is gone. One of HTTP/2 tells by itself, and whatever is done for it is dropped.
async fn gone(client: Option<&Presence>) {
    match client {
        Some(client) => poll_fn(|context| client.poll_gone(context)).await,
        None => core::future::pending().await,
    }
}

/// A request without an answer.
pub(super) enum Unanswered {
    /// Nothing of it left this server.
    Unsent(Box<Request<Onward>>),
    /// The application may have seen it.
    Sent(Failure),
}

impl Failure {
    /// With what was tried before.
    pub(super) fn after(mut self, before: Option<Self>) -> Self {
        if let Some(before) = before {
            let _ = write!(self.words, "; before that: {}", before.words);
        }
        self
    }
}

/// Says where the body ends, where hyper would guess otherwise. RFC 9110 8.6, RFC 9112 6.
fn frame(lines: &mut HeaderMap, method: &Method, body: &Onward, http2: bool) {
    if body.is_empty() {
        if matches!(*method, Method::POST | Method::PUT | Method::PATCH) {
            lines.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        return;
    }
    match http_body::Body::size_hint(body).exact() {
        Some(length) => {
            lines.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        None if !http2 => {
            lines.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        None => {}
    }
}

/// The application does not take the gateway's word for the visitor, or is not the one that was meant.
fn no_sign_in(refused: Refused) -> Failure {
    Failure::new(Why::SignIn, refused.words)
}

/// Whether it is clear where an answer ends; two readers that differ could be made to see two answers. RFC 9112 6.3, 6.1.
pub(super) fn well_framed(answer: &Response<Incoming>) -> Result<(), &'static str> {
    let headers = answer.headers();
    if headers.get_all(CONTENT_LENGTH).iter().count() > 1 {
        return Err("has more than one Content-Length");
    }
    if !headers.contains_key(TRANSFER_ENCODING) {
        return Ok(());
    }
    if headers.contains_key(CONTENT_LENGTH) {
        return Err("has both Content-Length and Transfer-Encoding");
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err("has another Transfer-Encoding than chunked"),
    }
}

fn no_answer(target: &str, error: &hyper::Error) -> Failure {
    if error.is_parse() {
        let what = in_full(error);
        return Failure::new(
            Why::BadAnswer,
            format!("what {target} answered is not HTTP that can be handed on: {what}"),
        );
    }
    let what = in_full(error);
    Failure::new(
        Why::Died,
        format!(
            "{target} ended the connection before it had answered: {what}; did the application crash, or refuse the request?"
        ),
    )
}

fn timed_out(target: &str, patience: Duration, progress: Option<&Progress>) -> Failure {
    let seconds = patience.as_secs_f32();
    if progress.is_some_and(Progress::waits_for_client) {
        return Failure::new(
            Why::SlowClient,
            format!("the client sent nothing of its request's body for {seconds} s, and {target} waits for the rest"),
        );
    }
    Failure::new(
        Why::AnswerTimeout,
        format!(
            "{target} did not answer within {seconds} s (answer-timeout); what it did with the request is not known"
        ),
    )
}

/// An error with what caused it.
pub(super) fn in_full(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}
