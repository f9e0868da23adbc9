//! Forward-auth: a proxy asks whether a request of its client may go on, and passes on what we say. nginx calls it
//! `auth_request`, Caddy `forward_auth`, Traefik `forwardAuth`, Envoy `ext_authz`.
//!
//! What is decided is the original request, by the rules and the sign-in of its own route, as if it had come here. The
//! question itself is nobody's: it comes over a connection that the proxy shares among its clients. `docs/forward-auth.md`
//! has the configurations.

mod connections;
mod original;

use core::net::SocketAddr;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use http::header::{AUTHORIZATION, CACHE_CONTROL, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Response, StatusCode, Uri, Version};
use iwa_http::{Connection, Status};

use super::Gateway;
use super::body::Body;
use super::decide::{Admission, Asked, Decision, decide};
use super::front::Front;
use super::handle::Answer;
use super::identity::Known;
use super::pages;
use super::path::Path;
use super::site::Site;
use crate::config::ForwardAuth;
pub(crate) use connections::Connections;
use connections::{Found, Key, Which, told};
use original::{Original, Proxy, Refused, one};

/// The request that an answer is about, for the log.
#[derive(Debug)]
pub(crate) struct OnBehalf {
    /// Its port is 0: proxies do not tell it.
    pub(crate) client: SocketAddr,
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    /// The number of the request on its connection, as far as it is known.
    pub(crate) on_connection: u64,
}

/// Answers a proxy's question. `name` is where it asks, without `/.iwa/`.
pub(crate) async fn answer(gateway: &Gateway, site: &Site, asked: &Asked<'_>, question: &Parts, name: &str) -> Answer {
    let asks = asked.connection.peer().ip().to_canonical();
    let Some(config) = &site.config.forward_auth else {
        return refused(asked, StatusCode::NOT_FOUND, "there is no [forward-auth] in the configuration".to_owned());
    };
    if !config.takes(asks) {
        return refused(
            asked,
            StatusCode::NOT_FOUND,
            format!("{asks} asks about another's request and is not in [forward-auth] from"),
        );
    }
    let not_taken = |Refused(why)| {
        refused(asked, StatusCode::BAD_REQUEST, format!("forward-auth: the question is not taken: {why}"))
    };
    let read = Proxy::of(name, &question.headers).and_then(|proxy| Ok((proxy, Original::read(proxy, question)?)));
    let (proxy, original) = match read {
        Ok(read) => read,
        Err(why) => return not_taken(why),
    };
    let path = match Path::read(original.uri.path()) {
        Ok(path) => path,
        Err(unreadable) => {
            return not_taken(Refused(format!("the path of the request is not taken: {}", unreadable.0)));
        }
    };
    let theirs = match Theirs::of(gateway, config, asked, proxy, &original, &question.headers) {
        Ok(theirs) => theirs,
        Err(why) => return not_taken(why),
    };
    let Theirs { connection, which, key, again } = theirs;
    let mut headers = Cow::Borrowed(&question.headers);
    if again {
        headers.to_mut().remove(AUTHORIZATION);
    }
    let front =
        Front { client: original.client, port: 0, by: Some(asks), secure: original.secure, host: original.host };
    let inner = Asked {
        id: asked.id,
        connection: &connection,
        front: &front,
        method: &original.method,
        path: &path,
        version: Version::HTTP_11,
        headers: &headers,
        target: original.uri.path_and_query().map_or("/", PathAndQuery::as_str),
    };
    let mut answer = match decide(gateway, site, &inner).await {
        Decision::Admitted(admission) => admitted(site, &inner, *admission).await,
        Decision::Answered(answer) => *answer,
    };
    if let Some(key) = key {
        gateway.kept.forwarded.put(key, which, &connection, Instant::now());
    }
    if answer.response.status() == StatusCode::UNAUTHORIZED && !answer.response.headers().contains_key(WWW_AUTHENTICATE)
    {
        // RFC 9110 15.5.2: a 401 says how to sign in. Here nothing can be offered.
        answer.response = pages::refusal(Status::FORBIDDEN, asked.id, None);
        answer.status = Status::FORBIDDEN;
    }
    if matches!(proxy, Proxy::Nginx | Proxy::Ingress) {
        let status = answer.response.status();
        number_challenges(answer.response.headers_mut(), status);
    }
    // It belongs to one request.
    answer.response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let on_connection = which.number.unwrap_or_else(|| connection.requests());
    let behalf = OnBehalf { client: connection.peer(), method: original.method, uri: original.uri, on_connection };
    Answer { on_behalf: Some(Box::new(behalf)), ..answer }
}

fn refused(asked: &Asked<'_>, status: StatusCode, why: String) -> Answer {
    let status = Status::served(status);
    Answer { note: Some(why), ..Answer::of(pages::refusal(status, asked.id, None), status) }
}

/// The client's connection, as far as the proxy tells of it.
struct Theirs {
    connection: Arc<Connection>,
    which: Which,
    /// Under what to keep it; `None` for one that stands for a single request.
    key: Option<Key>,
    /// This request's token was looked at before.
    again: bool,
}

impl Theirs {
    fn of(
        gateway: &Gateway,
        config: &ForwardAuth,
        asked: &Asked<'_>,
        proxy: Proxy,
        original: &Original<'_>,
        headers: &HeaderMap,
    ) -> Result<Self, Refused> {
        let peer = SocketAddr::new(original.client, 0);
        let local = asked.connection.local();
        // A password is no safer than on the worse half of its way.
        let secure = original.secure && asked.connection.keeps_secrets();
        let alone = |why| {
            let connection = Arc::new(Connection::of_one_request(peer, local, secure, why));
            Ok(Self { connection, which: Which::default(), key: None, again: false })
        };
        let Some(name) = &config.connection_header else { return alone(NOT_CONFIGURED) };
        if !proxy.tells_connections() {
            return alone(CANNOT_TELL);
        }
        if !headers.contains_key(name) {
            return alone(NOT_TOLD);
        }
        let Some((name, number)) = told(one(headers, name.as_str())?)? else { return alone(NOT_TOLD) };
        let asks = asked.connection.peer().ip().to_canonical();
        let key = Key { asks, proxy, client: original.client, name: name.into() };
        let (all, now) = (&gateway.kept.forwarded, Instant::now());
        let which = Which { number, token: number.and_then(|_| all.token(headers)) };
        if let Some(Found { connection, again }) = all.find(&key, which, config.connection_idle, now) {
            return Ok(Self { connection, which, key: Some(key), again });
        }
        if !all.has_room(config.connections, config.connection_idle, now) {
            return alone(TOO_MANY);
        }
        let connection = Arc::new(Connection::told(peer, local, secure));
        Ok(Self { connection, which, key: Some(key), again: false })
    }
}

/// The request may go on: who it is from, for the application, and the final token, for the client.
async fn admitted(site: &Site, asked: &Asked<'_>, admission: Admission<'_>) -> Answer {
    let Admission {
        route,
        asked: _,
        identity,
        name,
        proved,
        final_token,
        delegated: _,
        evidence: _,
        binding,
        unbound,
        note,
        session,
    } = admission;
    let known = Known { identity: identity.as_deref(), mapped: name.as_deref(), proved };
    let mut answer = match route.assertion.of(site, known).await {
        Ok(asserted) => {
            let mut response = Response::new(Body::of(""));
            asserted.onto(response.headers_mut());
            Answer::of(response, Status::served(StatusCode::OK))
        }
        Err(unassertable) => unassertable.answer(asked.id, identity.as_deref()),
    };
    final_token.attach(answer.response.headers_mut());
    session.attach(answer.response.headers_mut());
    let note = answer.note.take().or(note);
    Answer { identity, name, proved, binding, unbound, note, ..answer }
}

/// nginx takes one value of a header out of an answer, and of a 200 none at all. So each line has a name of its own: the
/// first stays where nginx looks for it at a 401, the others, and at every other status the first too, are for
/// `auth_request_set` and `add_header`.
fn number_challenges(headers: &mut HeaderMap, status: StatusCode) {
    let lines: Vec<HeaderValue> = headers.get_all(WWW_AUTHENTICATE).iter().cloned().collect();
    headers.remove(WWW_AUTHENTICATE);
    let [first, others @ ..] = NUMBERED;
    let first = if status == StatusCode::UNAUTHORIZED { WWW_AUTHENTICATE } else { first };
    for (name, line) in core::iter::once(first).chain(others).zip(lines) {
        headers.insert(name, line);
    }
}

/// Negotiate, NTLM and Basic are all there is.
const NUMBERED: [HeaderName; 3] = [
    HeaderName::from_static("x-authenticate-1"),
    HeaderName::from_static("x-authenticate-2"),
    HeaderName::from_static("x-authenticate-3"),
];

const NOT_CONFIGURED: &str = "NTLM is not offered through this proxy: [forward-auth] has no connection-header, in which a \
                              proxy says over which connection of its client a request came";
const CANNOT_TELL: &str = "NTLM is not offered through this proxy: Caddy, Traefik, Envoy and ingress-nginx do not say over \
                           which connection of their client a request came";
const NOT_TOLD: &str = "NTLM is not offered for this request: the proxy does not say over which connection it came, because \
                        the client does not speak HTTP/1.1 or the proxy does not send connection-header of [forward-auth]";
const TOO_MANY: &str =
    "NTLM is not offered for this request: there are more signed in connections than `connections` of [forward-auth]";
