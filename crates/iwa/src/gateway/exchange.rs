//! One request and its answer, as the logs are told.

use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use http::{HeaderMap, Method, Uri, Version};
use iwa_auth::reject::Reason;
use iwa_auth::{Binding, Identity, UnixTime};
use iwa_http::Status;

/// What happened to one request. Everything that comes from the client is as it came: whoever writes it escapes it.
#[derive(Debug)]
pub(crate) struct Exchange<'a> {
    /// Stands on the page that the client sees too.
    pub(crate) id: RequestId,
    /// When the request's head was there.
    pub(crate) begun: UnixTime,
    /// From then until the answer's head was ready.
    pub(crate) taken: Duration,
    /// The client; port 0 is one that is not known.
    pub(crate) client: SocketAddr,
    /// Whoever in front says that the client is this one, and is believed.
    pub(crate) by: Option<IpAddr>,
    pub(crate) server: SocketAddr,
    /// The number of the request on its connection, from 1.
    pub(crate) on_connection: u64,
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) version: Version,
    /// Of the request. `Authorization` and `Cookie` are secret.
    pub(crate) headers: &'a HeaderMap,
    pub(crate) status: Status,
    /// The answer's `Content-Length`, where it is known.
    pub(crate) length: Option<u64>,
    /// Who the client is; `None` is nobody (yet).
    pub(crate) identity: Option<&'a Identity>,
    /// What an application calls them, where a rule says.
    pub(crate) mapped: Option<&'a str>,
    /// By what they are known.
    pub(crate) proved: Proved,
    /// The scheme that failed or is under way.
    pub(crate) scheme: Option<&'static str>,
    /// Whom the client claimed to be before it failed. Not proven.
    pub(crate) claimed: Option<&'a str>,
    /// Why it was refused.
    pub(crate) reason: Option<&'a Reason>,
    /// How the token of this request is tied to its TLS connection.
    pub(crate) binding: Binding,
    /// Where extended protection reports: how many it would have refused by now, this one included.
    pub(crate) unbound: Option<u64>,
    /// What the operator should know although nothing failed.
    pub(crate) note: Option<&'a str>,
}

/// By what somebody is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Proved {
    /// This very request brought a token.
    Request,
    /// An earlier request of the connection did.
    #[default]
    Connection,
    /// A request of whatever connection did, and this one brought the session that began with it.
    Session,
}

impl Proved {
    /// All of them, each at its [`place`](Self::place).
    pub(crate) const ALL: [Self; 3] = [Self::Request, Self::Connection, Self::Session];

    /// Where it stands among them.
    pub(crate) const fn place(self) -> usize {
        match self {
            Self::Request => 0,
            Self::Connection => 1,
            Self::Session => 2,
        }
    }

    /// One word, for logs.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Connection => "connection",
            Self::Session => "session",
        }
    }
}

/// Whoever writes the logs. Called once a request, on the task of its connection: it must not block for long.
pub(crate) trait Audit: Send + Sync {
    fn record(&self, exchange: &Exchange<'_>);
}

/// Tells `tracing`, and nobody else.
#[derive(Debug)]
pub(crate) struct TraceOnly;

impl Audit for TraceOnly {
    fn record(&self, exchange: &Exchange<'_>) {
        let Status { http, sub, win32 } = exchange.status;
        tracing::debug!(
            id = %exchange.id,
            client = %exchange.client,
            method = %exchange.method,
            uri = %exchange.uri,
            status = %format_args!("{}.{sub} {win32}", http.as_u16()),
            user = exchange.identity.map(tracing::field::display),
            why = exchange.reason.map(tracing::field::display),
            note = exchange.note,
        );
    }
}

/// Names one request in the logs and to the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RequestId {
    pub(super) boot: u32,
    pub(super) number: u64,
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{:06x}", self.boot, self.number)
    }
}
