//! Who is in front of the server: the client, or a proxy that speaks for it; and what the client asked that front for.

use core::net::IpAddr;

use http::header::HOST;
use http::request::Parts;
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
    pub(crate) fn of(connection: &Connection, request: &'a Parts) -> Self {
        let authority = request.uri.authority().map(http::uri::Authority::as_str);
        let host = authority.or_else(|| request.headers.get(HOST)?.to_str().ok()).unwrap_or_default();
        Self { client: connection.peer().ip().to_canonical(), secure: connection.is_tls(), host }
    }
}
