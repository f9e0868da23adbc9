//! Who is in front of the server: the client, or a proxy that speaks for it; and what the client asked that front for.
//!
//! | the connection comes from | who the client is |
//! |---|---|
//! | anybody | the connection's other end; `X-Forwarded-*` and `Forwarded` say nothing |
//! | `proxy-protocol` of `[server]` | whom the PROXY header names, for the whole connection |
//! | `trusted-proxies` of `[server]` | whom `X-Forwarded-For` or `Forwarded` name, request by request |
//!
//! Headers of proxies from anybody still keep NTLM from such a connection (`iwa_http`): nobody gains by sending them, and a proxy
//! that nobody told us of is seen by them.

use core::net::IpAddr;

use http::header::HOST;
use http::request::Parts;
use http::uri::{Authority, Scheme};
use http::{HeaderMap, Version};
use iwa_auth::reject::Malformed;
use iwa_http::{Connection, SpeaksFor};

use super::Gateway;
use super::forwarded;
use super::site::Site;

/// Where one request comes from. Nothing in it was claimed by anybody who is not trusted to say so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Front<'a> {
    /// The client's address.
    pub(crate) client: IpAddr,
    /// Its port; 0 if nobody says.
    pub(crate) port: u16,
    /// Whoever says that it is this client, if it is not the client itself.
    pub(crate) by: Option<IpAddr>,
    /// Whether the client's own connection is TLS.
    pub(crate) secure: bool,
    /// The host that the client asked for, with its port if it said one; empty if it said none (HTTP/1.0).
    pub(crate) host: &'a str,
}

impl<'a> Front<'a> {
    /// Of a request that came over this connection, which is told of it.
    pub(crate) fn of(
        gateway: &Gateway,
        site: &Site,
        connection: &Connection,
        request: &'a Parts,
    ) -> Result<Self, Malformed> {
        let host = host(connection, request)?;
        let peer = connection.peer();
        let trusted = &site.config.server.trusted_proxies;
        let itself = Self {
            client: peer.ip().to_canonical(),
            port: peer.port(),
            by: connection.relay().map(|relay| relay.ip().to_canonical()),
            secure: connection.is_secure(),
            host,
        };
        if !trusted.have(peer.ip()) {
            return Ok(itself);
        }
        let said = forwarded::read(&request.headers, trusted)?;
        let secure = said.secure.unwrap_or(false);
        // Questions about others' requests are of many, and are not asked for themselves.
        let question = request.uri.path().starts_with(QUESTIONS);
        if !question && connection.speaks_for(SpeaksFor { client: said.client, secure }) {
            let count = gateway.metrics.multiplexed();
            let pins = site.config.authentication.policy.proxy_pins_connections;
            let claim = if pins { ", although proxy-pins-connections says that it does not" } else { "" };
            tracing::warn!(
                proxy = %itself.client, count,
                "a proxy sends requests of several clients over one connection{claim}: nobody is signed in by that connection, and NTLM is refused on it"
            );
        }
        let host = said.host.unwrap_or(host);
        Ok(match said.client {
            Some((client, port)) => Self { client, port: port.unwrap_or(0), by: Some(itself.client), secure, host },
            None => Self { secure, host, ..itself },
        })
    }
}

/// Where proxies ask about requests of others ([`super::forward_auth`]).
const QUESTIONS: &str = "/.iwa/auth";

/// The host that a request is for. RFC 9112 3.2, RFC 9113 8.3.1.
fn host<'a>(connection: &Connection, request: &'a Parts) -> Result<&'a str, Malformed> {
    let authority = request.uri.authority().map(Authority::as_str);
    if authority.is_some_and(|authority| authority.contains('@')) {
        return Err(Malformed::Header("the host of a request has no user before it"));
    }
    let header = one_host(&request.headers)?;
    if [header, authority].into_iter().flatten().any(|host| !is_host(host.as_bytes())) {
        return Err(Malformed::Header("Host is no host"));
    }
    match request.version {
        Version::HTTP_11 if header.is_none() => Err(Malformed::Header("HTTP/1.1 wants exactly one Host")),
        Version::HTTP_2 => {
            let wanted = if connection.is_tls() { Scheme::HTTPS } else { Scheme::HTTP };
            if request.uri.scheme().is_some_and(|scheme| *scheme != wanted) {
                return Err(Malformed::Header(":scheme is not that of the connection"));
            }
            match (authority, header) {
                (None, None) => Err(Malformed::Header("HTTP/2 wants :authority or Host")),
                (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => {
                    Err(Malformed::Header(":authority and Host name different hosts"))
                }
                (authority, host) => Ok(authority.or(host).unwrap_or_default()),
            }
        }
        // RFC 9112 3.2.2 has the target count; whoever reads Host instead would serve another site.
        _ if authority.zip(header).is_some_and(|(authority, host)| !authority.eq_ignore_ascii_case(host)) => {
            Err(Malformed::Header("the target and Host name different hosts"))
        }
        _ => Ok(authority.or(header).unwrap_or_default()),
    }
}

fn one_host(headers: &HeaderMap) -> Result<Option<&str>, Malformed> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) => Ok(None),
        (Some(host), None) => host.to_str().map(Some).map_err(|_| Malformed::Header("Host is not ASCII")),
        (Some(_), Some(_)) => Err(Malformed::Header("there is more than one Host")),
    }
}

/// A name or an address, and perhaps a port. No user, and nothing that somebody may read as the end of it.
fn is_host(host: &[u8]) -> bool {
    let (name, rest) = match host.strip_prefix(b"[") {
        Some(literal) => {
            let Some(end) = literal.iter().position(|byte| *byte == b']') else { return false };
            let (address, rest) = literal.split_at_checked(end).unwrap_or_default();
            if !address.iter().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.')) {
                return false;
            }
            (address, rest.get(1..).unwrap_or_default())
        }
        None => {
            let end = host.iter().position(|byte| *byte == b':').unwrap_or(host.len());
            let (name, rest) = host.split_at_checked(end).unwrap_or_default();
            if !name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'%'))
            {
                return false;
            }
            (name, rest)
        }
    };
    let port = rest.strip_prefix(b":");
    !name.is_empty()
        && (rest.is_empty() || port.is_some_and(|port| port.len() <= 5 && port.iter().all(u8::is_ascii_digit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
        for good in [
            "a",
            "web.example.test:8080",
            "192.0.2.1",
            "[2001:db8::1]",
            "[::1]:443",
            "a_b",
            "a:",
            "xn--bcher-kva.example",
        ] {
            assert!(is_host(good.as_bytes()), "{good}");
        }
        for bad in [
            "", ":80", "a b", "a,b", "a/b", "u@a", "a:b", "a:80:80", "a:123456", "[::1", "[::1]x", "[]", "[a", "a#",
            "a?b", "a\\b", "bücher",
        ] {
            assert!(!is_host(bad.as_bytes()), "{bad}");
        }
    }
}
