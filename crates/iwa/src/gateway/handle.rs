//! One request: route, authenticate, authorize, answer, record. Whatever happens, it fails closed and alone.

use core::future::poll_fn;
use core::panic::AssertUnwindSafe;
use core::pin::pin;
use core::time::Duration;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::time::Instant;

use http::header::{CONNECTION, EXPECT, HOST, HeaderValue, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{Request, Response, StatusCode, Version};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use iwa_auth::reject::{Internal, Malformed, Reason, Unavailable};
use iwa_auth::{Binding, BindingPolicy, Identity};
use iwa_http::{Admitted, Connection, Os, Outcome, Refused, Status, System as _};

use super::Gateway;
use super::exchange::{Exchange, RequestId};
use super::pages;
use super::path::Path;
use super::site::{Body, Denied, Visitor};

/// Answers one request of a connection.
pub(crate) async fn handle(
    gateway: Arc<Gateway>,
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Response<Body> {
    let begun = Os.now();
    let clock = Instant::now();
    let id = gateway.next_request();
    let (request, body) = request.into_parts();
    let mut answer = match unless_it_panics(answer(&gateway, &connection, id, &request)).await {
        Some(answer) => answer,
        None => {
            let refused = Answer::refused(id, Internal::Panic.into());
            Answer { close: true, ..refused }
        }
    };
    let headers = answer.response.headers();
    gateway.audit.record(&Exchange {
        id,
        begun,
        taken: clock.elapsed(),
        client: connection.peer(),
        server: connection.local(),
        on_connection: connection.requests(),
        method: &request.method,
        uri: &request.uri,
        version: request.version,
        headers: &request.headers,
        status: answer.status,
        length: answer
            .response
            .body()
            .size_hint()
            .exact()
            .or_else(|| headers.get(http::header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()),
        identity: answer.identity.as_deref(),
        mapped: answer.name.as_deref(),
        by_token: answer.by_token,
        scheme: answer.scheme,
        claimed: answer.claimed.as_deref(),
        reason: answer.reason.as_ref(),
        binding: answer.binding,
        unbound: answer.unbound,
        note: answer.note.as_deref(),
    });
    let stays = !answer.close && leave_nothing_behind(&request, body, answer.keep_connection).await;
    if !stays {
        answer.response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    answer.response
}

/// An answer, and what the log is told of it.
struct Answer {
    response: Response<Body>,
    status: Status,
    identity: Option<Arc<Identity>>,
    /// What an application calls them, where a rule says.
    name: Option<String>,
    by_token: bool,
    scheme: Option<&'static str>,
    claimed: Option<String>,
    reason: Option<Reason>,
    binding: Binding,
    unbound: Option<u64>,
    note: Option<String>,
    /// The connection is of no further use.
    close: bool,
    /// The connection carries a handshake.
    keep_connection: bool,
}

impl Answer {
    fn of(response: Response<Body>, status: Status) -> Self {
        Self {
            response,
            status,
            identity: None,
            name: None,
            by_token: false,
            scheme: None,
            claimed: None,
            reason: None,
            binding: Binding::Unchecked,
            unbound: None,
            note: None,
            close: false,
            keep_connection: false,
        }
    }

    fn refused(id: RequestId, reason: Reason) -> Self {
        let status = Status::of(&reason);
        Self { reason: Some(reason), ..Self::of(pages::refusal(status, id, None), status) }
    }

    fn challenge(id: RequestId, refused: Refused) -> Self {
        let mut response = pages::refusal(refused.status, id, None);
        for line in refused.challenges {
            response.headers_mut().append(WWW_AUTHENTICATE, line);
        }
        Self {
            scheme: refused.scheme,
            claimed: refused.claimed,
            reason: refused.reason,
            note: refused.note.map(str::to_owned),
            keep_connection: refused.keep_connection,
            ..Self::of(response, refused.status)
        }
    }
}

async fn answer(gateway: &Gateway, connection: &Connection, id: RequestId, request: &Parts) -> Answer {
    if request.version == Version::HTTP_11 && request.headers.get_all(HOST).iter().count() != 1 {
        // RFC 9112 3.2.
        return Answer {
            close: true,
            ..Answer::refused(id, Malformed::Header("HTTP/1.1 wants exactly one Host").into())
        };
    }
    let path = match Path::read(request.uri.path()) {
        Ok(path) => path,
        Err(unreadable) => {
            let status = Status::served(StatusCode::BAD_REQUEST);
            let note = Some(format!("the path of the request is not taken: {}", unreadable.0));
            return Answer { note, ..Answer::of(pages::refusal(status, id, None), status) };
        }
    };
    let site = gateway.site();
    let Some(route) = site.find(&path) else {
        let status = Status::served(StatusCode::NOT_FOUND);
        return Answer::of(pages::refusal(status, id, None), status);
    };
    let authenticator = route.authenticator(&site);
    let Admitted { identity, by_token, final_token, delegated: _, binding, note } =
        match authenticator.authenticate(connection, request.version, &request.headers).await {
            Outcome::Admitted(admitted) => admitted,
            Outcome::Refused(refused) => return Answer::challenge(id, *refused),
        };
    let mut note = note.map(str::to_owned);
    let mut unbound = None;
    if let (Binding::Unbound, BindingPolicy::Report, Some(identity)) =
        (binding, site.config.authentication.token_checking, &identity)
    {
        let (all, why) = gateway.unbound.count(identity.mechanism(), &request.headers);
        unbound = Some(all);
        note = Some(note.map_or_else(|| why.clone(), |note| format!("{note}; {why}")));
    }
    let mapped = match &identity {
        Some(identity) => site.name_of(identity).await,
        None => Ok(None),
    };
    let mut name = None;
    let admitted = match mapped {
        Ok(mapped) => {
            name = mapped;
            route.admits(site.accounts.as_ref(), &site.domains, identity.as_deref(), &request.method).await
        }
        Err(denied) => Err(denied),
    };
    let (mut response, status, reason) = match admitted {
        Ok(()) => {
            let visitor = Visitor { id, identity: identity.as_deref(), by_token, mapped: name.as_deref() };
            let response = route.content.answer(request, &path, visitor).await;
            let status = Status::served(response.status());
            (response, status, None)
        }
        Err(Denied::ByRule(why)) if identity.is_none() => {
            return Answer { note: Some(why), ..Answer::challenge(id, authenticator.challenge(connection)) };
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
    Answer { identity, name, by_token, binding, unbound, note, reason, ..Answer::of(response, status) }
}

/// Reads what is left of the request, so that the connection can go on. `false` if it cannot.
async fn leave_nothing_behind(request: &Parts, body: Incoming, handshake: bool) -> bool {
    if body.is_end_stream() {
        return true;
    }
    // Who waits for `100 Continue` sends the body only if it is read, and has been answered. With a handshake under way the
    // connection is worth the body.
    if request.headers.contains_key(EXPECT) && !handshake {
        return false;
    }
    if body.size_hint().lower() > MOST_DRAINED as u64 {
        return false;
    }
    let mut rest = Limited::new(body, MOST_DRAINED);
    let drained = async {
        while let Some(frame) = rest.frame().await {
            if frame.is_err() {
                return false;
            }
        }
        true
    };
    tokio::time::timeout(LONGEST_DRAIN, drained).await.unwrap_or(false)
}

/// Bytes of a request's body that are read and thrown away, for the sake of its connection: clients such as requests-ntlm send
/// the whole body on each leg.
const MOST_DRAINED: usize = 1 << 20;

const LONGEST_DRAIN: Duration = Duration::from_secs(10);

/// Runs a future; `None` if it panics. What it shares with others must not be left half-done by a panic: a
/// [`Connection`] forgets everything, and everything else a request shares is immutable.
async fn unless_it_panics<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(core::task::Poll::Pending) => core::task::Poll::Pending,
        Ok(core::task::Poll::Ready(value)) => core::task::Poll::Ready(Some(value)),
        Err(_) => core::task::Poll::Ready(None),
    })
    .await
}

#[cfg(test)]
mod tests {
    use iwa_auth::Reason;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_caught_and_is_our_own_fault() {
        async fn answer(panics: bool) -> u8 {
            tokio::task::yield_now().await;
            assert!(!panics, "as the test wants it");
            7
        }
        assert_eq!(unless_it_panics(answer(false)).await, Some(7));
        assert_eq!(unless_it_panics(answer(true)).await, None);
        assert_eq!(Reason::from(Internal::Panic).code(), "internal.panic");
    }
}
