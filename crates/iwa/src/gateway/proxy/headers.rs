//! What goes on of a message's header lines, and what does not. RFC 9110 7.6, RFC 7239.
//!
//! [`onward`] makes the header lines of a request to an application: nothing that was meant for the connection in front,
//! nothing that only a proxy may say, no credentials that were meant for this server. [`back`] does the same with an answer.

use core::fmt::Write as _;
use core::net::IpAddr;

use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, COOKIE,
    DATE, EXPECT, EXPIRES, FORWARDED, HOST, LOCATION, MAX_FORWARDS, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, RANGE,
    SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VARY, VIA, WWW_AUTHENTICATE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Version};
use iwa_http::session::without_session_cookies;
use iwa_wire::challenge::Challenge;
use iwa_wire::header::AuthScheme;

use super::super::front::Front;

/// What a request to the application is made of.
pub(super) struct Onward<'a> {
    pub(super) request: &'a Parts,
    pub(super) front: &'a Front<'a>,
    /// `Host`, unless the version has a field of its own for it.
    pub(super) host: Option<HeaderValue>,
    /// The line that joins the logs of the application and of this server.
    pub(super) id: Option<(&'a HeaderName, HeaderValue)>,
    pub(super) ours: Ours,
    /// The protocol that the client would go over to.
    pub(super) upgrade: Option<&'a HeaderValue>,
}

/// Which credentials are for this server, and not for the application.
#[derive(Clone, Copy)]
pub(super) struct Ours {
    /// Negotiate and NTLM.
    pub(super) windows: bool,
    pub(super) basic: bool,
    /// Any: where the gateway's own word for the visitor stands in `Authorization`, the visitor says nothing there.
    pub(super) any: bool,
}

/// The header lines of a request to the application. Whoever has something to say to the application about the visitor says it
/// here, after everything is out that the visitor may have said in its place.
pub(super) fn onward(of: &Onward<'_>) -> HeaderMap {
    let from = &of.request.headers;
    let nominated = Nominated::by(from);
    let mut headers = HeaderMap::with_capacity(from.len() + ADDED);
    for (name, value) in from {
        let stays = is_for_the_connection(name)
            || is_said_by_proxies(name)
            || ONLY_HERE.contains(name)
            || nominated.has(name)
            || (*name == AUTHORIZATION && of.ours.has(value));
        if !stays {
            headers.append(name.clone(), value.clone());
        }
    }
    without_session_cookies(&mut headers);
    if let Some(host) = &of.host {
        headers.insert(HOST, host.clone());
    }
    via(of.request.version, from, &mut headers);
    forwarded(of.front, &mut headers);
    if let Some((name, id)) = &of.id {
        headers.insert(*name, id.clone());
    }
    if takes_trailers(from) {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    announce_trailers(from, &mut headers);
    if let Some(protocol) = of.upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol.clone());
    }
    headers
}

/// Takes out of an answer what was not meant for the client. Says whether the application asked for NTLM or Negotiate: its
/// connection may then be somebody's.
pub(super) fn back(headers: &mut HeaderMap) -> bool {
    without_hops(headers);
    without_windows_challenges(headers)
}

/// Takes out of an answer what was meant for the connection to the application alone.
pub(super) fn without_hops(headers: &mut HeaderMap) {
    let nominated = Nominated::by(headers);
    let trailers = trailers_of(headers);
    let gone: Vec<HeaderName> =
        headers.keys().filter(|name| is_for_the_connection(name) || nominated.has(name)).cloned().collect();
    for name in &gone {
        headers.remove(name);
    }
    if let Some(trailers) = trailers {
        headers.insert(TRAILER, trailers);
    }
}

/// Takes out of trailers what may not stand there: whoever reads a message's head must not find it changed at its end.
/// RFC 9110 6.5.1.
pub(super) fn clean_trailers(trailers: &mut HeaderMap) {
    if trailers.keys().any(|name| !may_trail(name)) {
        let gone: Vec<HeaderName> = trailers.keys().filter(|name| !may_trail(name)).cloned().collect();
        for name in &gone {
            trailers.remove(name);
        }
    }
}

/// Whether these header lines sign the connection in that they go over, or may.
pub(super) fn sign_in_the_connection(headers: &HeaderMap) -> bool {
    headers.get_all(AUTHORIZATION).iter().any(|value| is_windows(scheme_of(value)))
}

/// The names that `Connection` nominates: whatever they hold is for the next hop alone.
struct Nominated(Vec<HeaderName>);

impl Nominated {
    fn by(headers: &HeaderMap) -> Self {
        let names = tokens(headers, &CONNECTION).filter_map(|name| name.parse().ok());
        Self(names.collect())
    }

    fn has(&self, name: &HeaderName) -> bool {
        self.0.contains(name)
    }
}

/// The members of a field that is a list. RFC 9110 5.6.1.
pub(super) fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

/// Fields that are about a connection, whether `Connection` nominates them or not. RFC 9110 7.6.1, RFC 9113 8.2.2.
fn is_for_the_connection(name: &HeaderName) -> bool {
    const NAMES: [&str; 4] = ["keep-alive", "proxy-connection", "persistent-auth", "http2-settings"];
    [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION].contains(name)
        || NAMES.contains(&name.as_str())
}

/// Fields of a request that are made anew or answered here.
const ONLY_HERE: [HeaderName; 4] = [HOST, CONTENT_LENGTH, EXPECT, VIA];

/// Fields with which proxies tell of the client, or of what it asked for. This server is the proxy: what a client says of itself
/// with them is not believed, in any spelling that an application may take for the same (CGI's `HTTP_X_FORWARDED_FOR` is
/// `x-forwarded-for`, and `x_forwarded_for` too).
pub(super) fn is_said_by_proxies(name: &HeaderName) -> bool {
    const PREFIXES: [&str; 2] = ["x-forwarded", "x-original-"];
    const NAMES: [&str; 12] = [
        "forwarded",
        "x-real-ip",
        "x-client-ip",
        "true-client-ip",
        "x-cluster-client-ip",
        "cf-connecting-ip",
        "x-rewrite-url",
        "x-url-scheme",
        "front-end-https",
        "x-remote-addr",
        "x-remote-ip",
        // CGI's `HTTP_PROXY`, which programs take for the proxy of their own requests (CVE-2016-5385).
        "proxy",
    ];
    let name = name.as_str();
    PREFIXES.iter().any(|prefix| name.get(..prefix.len()).is_some_and(|start| same(start, prefix)))
        || NAMES.iter().any(|own| same(name, own))
}

/// Whether an application may take two names, which are in lower case, for one.
fn same(a: &str, b: &str) -> bool {
    let dashed = |byte: u8| if byte.is_ascii_alphanumeric() { byte } else { b'-' };
    a.len() == b.len() && a.bytes().zip(b.bytes()).all(|(a, b)| dashed(a) == dashed(b))
}

impl Ours {
    /// Whether these credentials are. Those of other schemes are the application's.
    fn has(self, credentials: &HeaderValue) -> bool {
        let scheme = scheme_of(credentials);
        self.any || (self.windows && is_windows(scheme)) || (self.basic && scheme.eq_ignore_ascii_case(b"Basic"))
    }
}

fn is_windows(scheme: &[u8]) -> bool {
    scheme.eq_ignore_ascii_case(b"Negotiate") || scheme.eq_ignore_ascii_case(b"NTLM")
}

/// The scheme of credentials; what follows it is not looked at.
fn scheme_of(credentials: &HeaderValue) -> &[u8] {
    let bytes = credentials.as_bytes().trim_ascii_start();
    bytes.split(|byte| byte.is_ascii_whitespace()).next().unwrap_or_default()
}

/// Adds this server to those that the request went through. RFC 9110 7.6.3.
fn via(version: Version, from: &HeaderMap, headers: &mut HeaderMap) {
    for before in from.get_all(VIA) {
        headers.append(VIA, before.clone());
    }
    headers.append(
        VIA,
        HeaderValue::from_static(match version {
            Version::HTTP_2 => "2.0 iwa",
            Version::HTTP_10 => "1.0 iwa",
            _ => "1.1 iwa",
        }),
    );
}

/// Tells of the client. RFC 7239, and what everybody did before it.
fn forwarded(front: &Front<'_>, headers: &mut HeaderMap) {
    let proto = if front.secure { "https" } else { "http" };
    let mut line = match front.client {
        IpAddr::V4(client) => format!("for={client};proto={proto}"),
        IpAddr::V6(client) => format!("for=\"[{client}]\";proto={proto}"),
    };
    if let Ok(host) = HeaderValue::from_str(front.host)
        && !front.host.is_empty()
    {
        headers.insert(HeaderName::from_static("x-forwarded-host"), host);
        let _ = write!(line, ";host=\"{}\"", front.host.replace(['"', '\\'], ""));
    }
    headers.insert(HeaderName::from_static("x-forwarded-proto"), HeaderValue::from_static(proto));
    if let Ok(client) = HeaderValue::from_str(&front.client.to_string()) {
        headers.insert(HeaderName::from_static("x-forwarded-for"), client);
    }
    if let Ok(line) = HeaderValue::from_str(&line) {
        headers.insert(FORWARDED, line);
    }
}

/// Whether whoever sent these header lines wants to see trailers. RFC 9110 10.1.4.
fn takes_trailers(headers: &HeaderMap) -> bool {
    tokens(headers, &TE).any(|token| token.eq_ignore_ascii_case("trailers"))
}

/// Hands on which trailers will come, without those that may not.
fn announce_trailers(from: &HeaderMap, headers: &mut HeaderMap) {
    if let Some(trailers) = trailers_of(from) {
        headers.insert(TRAILER, trailers);
    }
}

fn trailers_of(headers: &HeaderMap) -> Option<HeaderValue> {
    if !headers.contains_key(TRAILER) {
        return None;
    }
    let names = tokens(headers, &TRAILER).filter(|name| name.parse().is_ok_and(|name| may_trail(&name)));
    let names: Vec<&str> = names.collect();
    if names.is_empty() { None } else { HeaderValue::from_str(&names.join(", ")).ok() }
}

/// Whether a field may stand in trailers: none that frames, routes, authenticates, conditions or describes a message.
fn may_trail(name: &HeaderName) -> bool {
    const NEVER: [HeaderName; 16] = [
        AUTHORIZATION,
        CACHE_CONTROL,
        CONTENT_ENCODING,
        CONTENT_LENGTH,
        CONTENT_RANGE,
        CONTENT_TYPE,
        COOKIE,
        DATE,
        EXPECT,
        EXPIRES,
        HOST,
        LOCATION,
        MAX_FORWARDS,
        RANGE,
        SET_COOKIE,
        VARY,
    ];
    let conditional = name.as_str().starts_with("if-");
    !(conditional
        || NEVER.contains(name)
        || *name == VIA
        || *name == WWW_AUTHENTICATE
        || is_for_the_connection(name)
        || is_said_by_proxies(name))
}

/// Takes the challenges of Negotiate and NTLM out: a browser that answered them would sign in to the application with what it has
/// for this server. Says whether there were any.
fn without_windows_challenges(headers: &mut HeaderMap) -> bool {
    let asks = |value: &HeaderValue| {
        let value = value.as_bytes().to_ascii_lowercase();
        value.windows(4).any(|four| four == b"ntlm") || value.windows(9).any(|nine| nine == b"negotiate")
    };
    if !headers.get_all(WWW_AUTHENTICATE).iter().any(asks) {
        return false;
    }
    let values: Vec<HeaderValue> = headers.get_all(WWW_AUTHENTICATE).iter().cloned().collect();
    headers.remove(WWW_AUTHENTICATE);
    let mut found = false;
    for value in values {
        if !asks(&value) {
            headers.append(WWW_AUTHENTICATE, value);
            continue;
        }
        // What cannot be read is not handed on.
        let Ok(challenges) = Challenge::parse(value.as_bytes()) else {
            found = true;
            continue;
        };
        let (windows, others): (Vec<_>, Vec<_>) = challenges
            .iter()
            .partition(|challenge| matches!(challenge.scheme, AuthScheme::Negotiate | AuthScheme::Ntlm));
        if windows.is_empty() {
            headers.append(WWW_AUTHENTICATE, value);
            continue;
        }
        found = true;
        for line in others.into_iter().filter_map(|challenge| HeaderValue::from_str(&written(challenge)).ok()) {
            headers.append(WWW_AUTHENTICATE, line);
        }
    }
    found
}

/// A challenge as a line of its own.
fn written(challenge: &Challenge<'_>) -> String {
    let mut line = challenge.written.to_owned();
    if let Some(token) = challenge.token {
        let _ = write!(line, " {token}");
    }
    for (number, (name, value)) in challenge.params.iter().enumerate() {
        let comma = if number == 0 { "" } else { "," };
        let value = value.replace('\\', "\\\\").replace('"', "\\\"");
        let _ = write!(line, "{comma} {name}=\"{value}\"");
    }
    line
}

/// About as many lines as are added.
const ADDED: usize = 8;

#[cfg(test)]
mod tests;
