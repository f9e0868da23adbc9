//! Who is in front of the server: the client, or a proxy that speaks for it; and what the client asked that front for.

use core::net::IpAddr;

use http::header::HOST;
use http::request::Parts;
use http::uri::{Authority, Scheme};
use http::{HeaderMap, Version};
use iwa_auth::reject::Malformed;
use iwa_http::Connection;

/// Where one request comes from. Nothing in it was claimed by anybody who is not trusted to say so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Front<'a> {
    /// The client's address.
    pub(crate) client: IpAddr,
    /// Whether the client's own connection is TLS.
    pub(crate) secure: bool,
    /// The host that the client asked for, with its port if it said one; empty if it said none (HTTP/1.0).
    pub(crate) host: &'a str,
}

impl<'a> Front<'a> {
    /// Of a request that came over this connection.
    pub(crate) fn of(connection: &Connection, request: &'a Parts) -> Result<Self, Malformed> {
        let host = host(connection, request)?;
        Ok(Self { client: connection.peer().ip().to_canonical(), secure: connection.is_tls(), host })
    }
}

/// The host that a request is for. RFC 9112 3.2, RFC 9113 8.3.1.
fn host<'a>(connection: &Connection, request: &'a Parts) -> Result<&'a str, Malformed> {
    let authority = request.uri.authority().map(Authority::as_str);
    if authority.is_some_and(|authority| authority.contains('@')) {
        return Err(Malformed::Header("the host of a request has no user before it"));
    }
    let header = one_host(&request.headers)?;
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
