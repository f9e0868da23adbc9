//! One request: read, decide, answer, record. Whatever happens, it fails closed and alone.

use core::future::poll_fn;
use core::net::SocketAddr;
use core::panic::AssertUnwindSafe;
use core::pin::pin;
use core::time::Duration;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::time::Instant;

use http::header::{CONNECTION, EXPECT, HeaderValue, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{Request, Response, StatusCode, Version};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use iwa_auth::reject::{Internal, Malformed, Reason};
use iwa_auth::{Binding, Identity};
use iwa_http::{Connection, Os, Refused, Status, System as _};

use super::Gateway;
use super::body::Body;
use super::decide::{Admission, Asked, Decision, decide};
use super::exchange::{Exchange, Proved, RequestId};
use super::forward_auth::OnBehalf;
use super::front::Front;
use super::http2;
use super::identity::Known;
use super::outbound::{Brought, Refused as NoLogin};
use super::own;
use super::pages;
use super::path::{Path, Unreadable};
use super::proxy::{Proxy, Reply};
use super::site::{Content, Site, Visitor};
use super::strict::Wire;
use super::templates::Templates;

/// Answers one request of a connection.
pub(crate) async fn handle(
    gateway: Arc<Gateway>,
    connection: Arc<Connection>,
    wire: Option<Arc<Wire>>,
    request: Request<Incoming>,
) -> Result<Response<Body>, h2::Error> {
    let begun = Os.now();
    let clock = Instant::now();
    let id = gateway.next_request();
    let number = wire.as_ref().map_or(0, |wire| wire.begins());
    let malformed = || wire.as_ref().and_then(|wire| wire.malformed(number));
    let (mut request, body) = request.into_parts();
    if request.version == Version::HTTP_2 {
        http2::join_cookies(&mut request.headers);
    }
    let site = gateway.site();
    let front = Front::of(&gateway, &site, &connection, &request);
    let mut body = Some(body);
    let mut answer = match malformed() {
        // Nothing of it went anywhere yet.
        Some(why) => Answer::malformed(id, Malformed::Header(why)),
        // Boxed: it is large, and what holds it is moved several times before it is first polled.
        None => match unless_it_panics(Box::pin(answer(
            &gateway,
            &site,
            (&connection, wire.as_deref()),
            &front,
            id,
            &request,
            &mut body,
        )))
        .await
        {
            Some(answer) => answer,
            None => Answer { close: true, ..Answer::refused(id, Internal::Panic.into()) },
        },
    };
    if let Some(why) = malformed() {
        answer = Answer::malformed(id, Malformed::Header(why));
    }
    if let (StatusCode::SWITCHING_PROTOCOLS, Some(wire)) = (answer.response.status(), &wire) {
        wire.switches();
    }
    if Templates::concern(&answer.response) {
        gateway.site().config.pages.dress(&mut answer.response);
    }
    let headers = answer.response.headers();
    let behalf = answer.on_behalf.as_deref();
    gateway.audit.record(&Exchange {
        id,
        begun,
        taken: clock.elapsed(),
        client: match (behalf, &front) {
            (Some(behalf), _) => behalf.client,
            (None, Ok(front)) => SocketAddr::new(front.client, front.port),
            (None, Err(_)) => connection.peer(),
        },
        by: match (behalf, &front) {
            (Some(_), _) => Some(connection.peer().ip().to_canonical()),
            (None, front) => front.as_ref().map_or(None, |front| front.by),
        },
        server: connection.local(),
        on_connection: behalf.map_or_else(|| connection.requests(), |behalf| behalf.on_connection),
        method: behalf.map_or(&request.method, |behalf| &behalf.method),
        uri: behalf.map_or(&request.uri, |behalf| &behalf.uri),
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
        proved: answer.proved,
        scheme: answer.scheme,
        claimed: answer.claimed.as_deref(),
        reason: answer.reason.as_ref(),
        binding: answer.binding,
        unbound: answer.unbound,
        note: answer.note.as_deref(),
    });
    let of_its_own = answer.on_behalf.is_none();
    if request.version == Version::HTTP_2 {
        // What a stream leaves behind is nobody else's, and its end says nothing of the connection.
        return if of_its_own && http2::wants_http11(answer.reason.as_ref()) {
            Err(h2::Reason::HTTP_1_1_REQUIRED.into())
        } else {
            Ok(answer.response)
        };
    }
    // A body that went on to an upstream is read there, or ends with its connection.
    let stays = !answer.close
        && match body {
            Some(body) => leave_nothing_behind(&request, body, answer.keep_connection).await,
            None => true,
        };
    if !stays && request.version <= Version::HTTP_11 {
        answer.response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(answer.response)
}

/// An answer, and what the log is told of it.
pub(crate) struct Answer {
    pub(super) response: Response<Body>,
    pub(super) status: Status,
    pub(super) identity: Option<Arc<Identity>>,
    /// What an application calls them, where a rule says.
    pub(super) name: Option<String>,
    pub(super) proved: Proved,
    pub(super) scheme: Option<&'static str>,
    pub(super) claimed: Option<String>,
    pub(super) reason: Option<Reason>,
    pub(super) binding: Binding,
    pub(super) unbound: Option<u64>,
    pub(super) note: Option<String>,
    /// The request it is about, where a proxy asked about another's.
    pub(super) on_behalf: Option<Box<OnBehalf>>,
    /// The connection is of no further use.
    pub(super) close: bool,
    /// The connection carries a handshake.
    pub(super) keep_connection: bool,
}

impl Answer {
    pub(super) fn of(response: Response<Body>, status: Status) -> Self {
        Self {
            response,
            status,
            identity: None,
            name: None,
            proved: Proved::default(),
            scheme: None,
            claimed: None,
            reason: None,
            binding: Binding::Unchecked,
            unbound: None,
            note: None,
            on_behalf: None,
            close: false,
            keep_connection: false,
        }
    }

    pub(super) fn refused(id: RequestId, reason: Reason) -> Self {
        let status = Status::of(&reason);
        Self { reason: Some(reason), ..Self::of(pages::refusal(status, id, None), status) }
    }

    /// Of a request that has more than one reading, or none.
    fn malformed(id: RequestId, malformed: Malformed) -> Self {
        Self { close: true, ..Self::refused(id, malformed.into()) }
    }

    /// Of a request whose path has more than one reading, or none.
    pub(super) fn unreadable(id: RequestId, unreadable: &Unreadable) -> Self {
        let status = Status::served(StatusCode::BAD_REQUEST);
        let note = Some(format!("the path of the request is not taken: {}", unreadable.0));
        Self { note, ..Self::of(pages::refusal(status, id, None), status) }
    }

    pub(super) fn challenge(id: RequestId, refused: Refused) -> Self {
        Self::asking(pages::refusal(refused.status, id, None), refused)
    }

    /// The same with another page.
    pub(super) fn asking(mut response: Response<Body>, refused: Refused) -> Self {
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

async fn answer(
    gateway: &Gateway,
    site: &Site,
    (connection, wire): (&Connection, Option<&Wire>),
    front: &Result<Front<'_>, Malformed>,
    id: RequestId,
    request: &Parts,
    body: &mut Option<Incoming>,
) -> Answer {
    let front = match front {
        Ok(front) => front,
        Err(malformed) => return Answer::malformed(id, malformed.clone()),
    };
    let path = match Path::read(request.uri.path()) {
        Ok(path) => path,
        Err(unreadable) => return Answer::unreadable(id, &unreadable),
    };
    let asked = Asked {
        id,
        connection,
        front,
        method: &request.method,
        path: &path,
        version: request.version,
        headers: &request.headers,
        target: request.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str),
    };
    if let Some(name) = path.as_str().strip_prefix(own::PREFIX) {
        return Box::pin(own::answer(gateway, site, &asked, request, body, name)).await;
    }
    let Admission {
        route,
        asked: was_asked,
        identity,
        name,
        proved,
        final_token,
        delegated,
        evidence,
        binding,
        unbound,
        note,
        session,
    } = match decide(gateway, site, &asked).await {
        Decision::Admitted(admission) => *admission,
        Decision::Answered(answer) => return *answer,
    };
    if route.content.proxy().is_some_and(Proxy::passes_through)
        && let Err(reason) = site.authenticator.one_client(connection, request.version, &request.headers)
    {
        // Who is signed in on the application's connection would be whoever comes next on this one.
        let page = pages::refusal(Status::FORBIDDEN, id, None);
        return Answer { note, reason: Some(reason), ..Answer::of(page, Status::FORBIDDEN) };
    }
    let asserted = match &route.content {
        Content::Proxy(_) => {
            let known = Known { identity: identity.as_deref(), mapped: name.as_deref(), proved };
            match route.assertion.of(site, known).await {
                Ok(asserted) => asserted,
                Err(unassertable) => {
                    let mut answer = unassertable.answer(id, identity.as_deref());
                    final_token.attach(answer.response.headers_mut());
                    let note = answer.note.take().or(note);
                    return Answer { identity, name, proved, binding, unbound, note, ..answer };
                }
            }
        }
        _ => route.assertion.nothing(),
    };
    let login = match &route.outbound {
        Some(outbound) => {
            let brought = Brought {
                identity: identity.as_deref(),
                evidence: evidence.as_deref(),
                delegated: delegated.as_deref(),
            };
            // Boxed, so that requests without it do not carry its room.
            match Box::pin(outbound.login(site, &request.method, brought)).await {
                Ok(login) => Some(login),
                Err(refused) => {
                    let NoLogin { status, reason, words } = *refused;
                    tracing::warn!(%id, "{}: {words}", status.http.as_u16());
                    let mut response = pages::refusal(status, id, identity.as_deref());
                    final_token.attach(response.headers_mut());
                    let (note, reason) = (Some(words), Some(reason));
                    let answer = Answer::of(response, status);
                    return Answer { identity, name, proved, binding, unbound, note, reason, ..answer };
                }
            }
        }
        None => None,
    };
    let visitor = Visitor {
        id,
        front,
        asked: was_asked,
        identity: identity.as_ref(),
        proved,
        pins: wire.map(Wire::pins),
        mapped: name.as_deref(),
        asserted: &asserted,
        login: login.as_ref(),
    };
    let Reply { mut response, status, note: of_content } = route.content.answer(request, body, &path, visitor).await;
    let note = [note, of_content].into_iter().flatten().reduce(|note, more| format!("{note}; {more}"));
    final_token.attach(response.headers_mut());
    session.attach(response.headers_mut());
    Answer { identity, name, proved, binding, unbound, note, ..Answer::of(response, status) }
}

/// Reads what is left of the request, so that the connection can go on. `false` if it cannot.
async fn leave_nothing_behind(request: &Parts, body: Incoming, handshake: bool) -> bool {
    // A stream of HTTP/2 ends alone.
    if body.is_end_stream() || request.version > Version::HTTP_11 {
        return true;
    }
    let drained = if handshake { Drained::OF_A_HANDSHAKE } else { Drained::USUAL };
    if body.size_hint().lower() > drained.most {
        return false;
    }
    if request.headers.contains_key(EXPECT) {
        // The client waits for `100 Continue`, which nobody wants to say; reading now would say it. After the answer the body is on
        // its way or the client closes: RFC 9110 10.1.1.
        if handshake {
            tokio::spawn(drain(body, drained));
        }
        return handshake;
    }
    drain(body, drained).await
}

/// Reads a body and throws it away. `false` if that took too long or too many bytes.
async fn drain(mut body: Incoming, Drained { most, longest }: Drained) -> bool {
    let drained = async {
        let mut drained = 0;
        loop {
            match tokio::time::timeout(LONGEST_STALL, body.frame()).await {
                Ok(None) => return true,
                Ok(Some(Ok(frame))) => drained += frame.data_ref().map_or(0, |data| data.len() as u64),
                Ok(Some(Err(_))) | Err(_) => return false,
            }
            if drained > most {
                return false;
            }
        }
    };
    tokio::time::timeout(longest, drained).await.unwrap_or(false)
}

/// How much of a refused request's body is read for the sake of its connection.
struct Drained {
    /// Bytes.
    most: u64,
    longest: Duration,
}

impl Drained {
    /// Of more than that, the client hears at once that it sends them in vain.
    const USUAL: Self = Self { most: 1 << 20, longest: Duration::from_secs(10) };

    /// Clients such as requests-ntlm send the whole body on each leg, and without its connection a handshake is nothing.
    const OF_A_HANDSHAKE: Self = Self { most: 1 << 30, longest: Duration::from_secs(300) };
}

const LONGEST_STALL: Duration = Duration::from_secs(10);

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
