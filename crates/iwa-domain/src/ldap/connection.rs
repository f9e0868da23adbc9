//! One connection to a directory server: opened, secured, and one request at a time over it. RFC 4511 3.1, 4.14; RFC 4513 3.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use iwa_auth::ChannelBindings;
use iwa_wire::ldap::extended::{NOTICE_OF_DISCONNECTION, START_TLS, WHO_AM_I};
use iwa_wire::ldap::{AddRequest, ExtendedRequest, LdapResult, Message, ModifyRequest, Op, ResultCode};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::entry::{Attributes, Change, Changes};
use super::error::{Answered, LdapError, Why};
use super::stream::{Io, Stream};
use crate::controller::Controller;
use crate::tls;

/// A directory server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Server {
    /// Its DNS name, which its certificate and its Kerberos service bear.
    pub host: String,
    /// Where it is. Empty: the resolver is asked.
    pub addresses: Vec<IpAddr>,
    /// The port.
    pub port: u16,
}

impl Server {
    /// A domain controller's LDAP, at the port that goes with the transport.
    #[must_use]
    pub fn of(controller: &Controller, transport: &Transport) -> Self {
        let port = match transport {
            Transport::Tls(_) => controller.ports.ldaps,
            Transport::Clear | Transport::StartTls(_) => controller.ports.ldap,
        };
        Self { host: controller.host.clone(), addresses: controller.addresses.clone(), port }
    }

    /// A domain controller's Global Catalog (MS-ADTS 3.1.1.1.11): port 3268, with TLS from the start 3269.
    #[must_use]
    pub fn global_catalog(controller: &Controller, transport: &Transport) -> Self {
        let port = if matches!(transport, Transport::Tls(_)) { 3269 } else { 3268 };
        Self { port, ..Self::of(controller, transport) }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// What carries the messages.
#[derive(Clone, Debug)]
pub enum Transport {
    /// TCP. Passwords do not go over it; with a GSSAPI bind everything after that is sealed.
    Clear,
    /// TCP, and TLS before anything else is said.
    StartTls(Arc<ClientConfig>),
    /// TLS from the first byte: LDAPS.
    Tls(Arc<ClientConfig>),
}

/// How long a server is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a connection to one address, and for the handshake of TLS.
    pub connect: Duration,
    /// For the answer to one request; a search has a limit of its own.
    pub answer: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { connect: Duration::from_secs(2), answer: Duration::from_secs(5) }
    }
}

/// A connection. Requests go one after the other; one that was given up on (its future dropped, or its time over) ends the
/// connection, because its answers may still come.
#[derive(Debug)]
pub struct Connection {
    pub(super) server: Server,
    pub(super) patience: Patience,
    pub(super) stream: Stream,
    last_id: u32,
    /// A request is out whose answer was not read to its end.
    pending: bool,
}

impl Connection {
    /// Connects, and secures the connection if the transport says so.
    ///
    /// # Errors
    /// [`Why::Unreachable`], [`Why::Tls`], [`Why::Broken`].
    pub async fn open(server: &Server, transport: &Transport, patience: Patience) -> Result<Self, LdapError> {
        let fail = |why| LdapError { server: server.to_string(), doing: "connecting".to_owned(), why };
        let stream = connect(server, patience).await.map_err(|why| fail(Why::Unreachable(why)))?;
        let stream = Stream::new(Io::Tcp(stream));
        let mut connection = Self { server: server.clone(), patience, stream, last_id: 0, pending: false };
        match transport {
            Transport::Clear => {}
            Transport::Tls(config) => connection.handshake(config).await.map_err(fail)?,
            Transport::StartTls(config) => connection.start_tls(config).await.map_err(fail)?,
        }
        Ok(connection)
    }

    /// The server at the other end.
    #[must_use]
    pub const fn server(&self) -> &Server {
        &self.server
    }

    /// Whether what goes over it can be read by nobody else: TLS, or sealed by Kerberos.
    #[must_use]
    pub const fn is_confidential(&self) -> bool {
        self.stream.is_confidential()
    }

    /// Whether it may be used on: nothing is outstanding on it.
    #[must_use]
    pub const fn is_usable(&self) -> bool {
        !self.pending
    }

    /// What a token is tied to on this connection.
    pub(super) fn bindings(&self) -> ChannelBindings {
        match &self.stream.io {
            Io::Tls(stream) => tls::bindings(stream.get_ref().1),
            Io::Tcp(_) | Io::Gone => ChannelBindings::none(),
        }
    }

    async fn start_tls(&mut self, config: &Arc<ClientConfig>) -> Result<(), Why> {
        let request = ExtendedRequest { name: START_TLS, value: None };
        let answer = self.request(Op::ExtendedRequest(request)).await?;
        let code = match Message::parse(&answer).map_err(malformed)?.op {
            Op::ExtendedResponse(response) => {
                let refused = Answered::of(&response.result);
                if response.result.code == ResultCode::SUCCESS { Ok(()) } else { Err(refused) }
            }
            other => return Err(unexpected("ExtendedResponse", &other)),
        };
        if let Err(refused) = code {
            return Err(Why::Tls(format!("the server does not begin it: {refused}; nothing else is sent in clear")));
        }
        // What somebody put behind the answer, in clear, would otherwise count as said inside TLS.
        if self.stream.has_rest() {
            return Err(Why::Tls("something was sent in clear after the answer to StartTLS".to_owned()));
        }
        self.handshake(config).await
    }

    async fn handshake(&mut self, config: &Arc<ClientConfig>) -> Result<(), Why> {
        let name = ServerName::try_from(self.server.host.clone())
            .map_err(|_| Why::Tls(format!("{:?} is no name that a certificate may have", self.server.host)))?;
        let Io::Tcp(stream) = std::mem::replace(&mut self.stream.io, Io::Gone) else {
            return Err(Why::Tls("the connection has it already".to_owned()));
        };
        let handshake = TlsConnector::from(Arc::clone(config)).connect(name, stream);
        match timeout(self.patience.connect, handshake).await {
            Ok(Ok(stream)) => self.stream.io = Io::Tls(Box::new(stream)),
            Ok(Err(error)) => {
                return Err(Why::Tls(format!(
                    "{error}; wanted a certificate for {} of an authority that is trusted here",
                    self.server.host
                )));
            }
            Err(_) => return Err(Why::Tls(no_answer(self.patience.connect))),
        }
        Ok(())
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// [`LdapError`]; `entryAlreadyExists`, `constraintViolation` and the like as [`Why::Result`].
    pub async fn add(&mut self, dn: &str, attributes: &[(&str, Vec<Vec<u8>>)]) -> Result<(), LdapError> {
        let doing = format!("adding {dn}");
        let attributes = Attributes::of(attributes);
        let attributes = attributes.wire();
        let op = Op::AddRequest(AddRequest { dn, attributes: iwa_wire::krb5::SequenceOf::of(&attributes) });
        self.simple(op, &doing, |op| match op {
            Op::AddResponse(result) => Some(*result),
            _ => None,
        })
        .await
    }

    /// Changes an entry: all of it, or nothing.
    ///
    /// # Errors
    /// [`LdapError`].
    pub async fn modify(&mut self, dn: &str, changes: &[Change]) -> Result<(), LdapError> {
        let doing = format!("changing {dn}");
        let changes = Changes::of(changes);
        let changes = changes.wire();
        let op = Op::ModifyRequest(ModifyRequest { dn, changes: iwa_wire::krb5::SequenceOf::of(&changes) });
        self.simple(op, &doing, |op| match op {
            Op::ModifyResponse(result) => Some(*result),
            _ => None,
        })
        .await
    }

    /// Deletes an entry that has none below it.
    ///
    /// # Errors
    /// [`LdapError`].
    pub async fn delete(&mut self, dn: &str) -> Result<(), LdapError> {
        let doing = format!("deleting {dn}");
        self.simple(Op::DelRequest(dn), &doing, |op| match op {
            Op::DelResponse(result) => Some(*result),
            _ => None,
        })
        .await
    }

    /// Who the server takes this client for (RFC 4532): `u:CORP\alice`, `dn:...`, empty for nobody.
    ///
    /// # Errors
    /// [`LdapError`].
    pub async fn who_am_i(&mut self) -> Result<String, LdapError> {
        let request = Op::ExtendedRequest(ExtendedRequest { name: WHO_AM_I, value: None });
        let result = async {
            let answer = self.request(request).await?;
            match Message::parse(&answer).map_err(malformed)?.op {
                Op::ExtendedResponse(response) => {
                    succeeded(&response.result)?;
                    Ok(iwa_wire::ldap::Octets(response.value.unwrap_or_default()).to_string())
                }
                other => Err(unexpected("ExtendedResponse", &other)),
            }
        };
        result.await.map_err(|why| self.error("asking who it is taken for", why))
    }

    /// Says goodbye. Dropping the connection does as well.
    pub async fn close(mut self) {
        let mut out = Vec::new();
        Message::new(self.next_id(), Op::UnbindRequest).write(&mut out);
        let _ = timeout(self.patience.connect, self.stream.write(&out)).await;
    }

    /// A request whose answer is one LDAPResult.
    async fn simple(
        &mut self,
        op: Op<'_>,
        doing: &str,
        take: impl for<'m> FnOnce(&Op<'m>) -> Option<LdapResult<'m>>,
    ) -> Result<(), LdapError> {
        let wanted = op.name();
        let result = async {
            let answer = self.request(op).await?;
            let op = Message::parse(&answer).map_err(malformed)?.op;
            take(&op).map_or_else(|| Err(unexpected(wanted, &op)), |result| succeeded(&result))
        };
        result.await.map_err(|why| self.error(doing, why))
    }

    /// Sends a request and returns the one message that answers it.
    pub(super) async fn request(&mut self, op: Op<'_>) -> Result<Zeroizing<Vec<u8>>, Why> {
        let wait = self.patience.answer;
        let work = async {
            let id = self.send(&Message::new(0, op)).await?;
            let answer = self.receive(id).await?;
            self.done();
            Ok(answer)
        };
        timeout(wait, work).await.unwrap_or_else(|_| Err(Why::Broken(no_answer(wait))))
    }

    /// Sends a message under the next number, and returns it.
    pub(super) async fn send(&mut self, message: &Message<'_>) -> Result<u32, Why> {
        if self.pending {
            return Err(Why::Broken("an earlier request was given up on it".to_owned()));
        }
        let id = self.next_id();
        let mut out = Zeroizing::new(Vec::with_capacity(256));
        Message { id, ..message.clone() }.write(&mut out);
        self.pending = true;
        self.stream.write(&out).await?;
        Ok(id)
    }

    /// The next message, which must answer request `id`.
    pub(super) async fn receive(&mut self, id: u32) -> Result<Zeroizing<Vec<u8>>, Why> {
        let bytes = self.stream.read().await?;
        let message = Message::parse(&bytes).map_err(malformed)?;
        if message.id == id {
            return Ok(bytes);
        }
        Err(match message.op {
            Op::ExtendedResponse(response) if message.id == 0 && response.name == Some(NOTICE_OF_DISCONNECTION) => {
                Why::Broken(format!("the server ends it: {}", Answered::of(&response.result)))
            }
            _ => Why::Broken(format!("message {} came, which answers nothing that was asked", message.id)),
        })
    }

    /// The answer was read to its end.
    pub(super) const fn done(&mut self) {
        self.pending = false;
    }

    fn next_id(&mut self) -> u32 {
        self.last_id = if self.last_id >= i32::MAX as u32 { 1 } else { self.last_id + 1 };
        self.last_id
    }

    pub(super) fn error(&self, doing: impl Into<String>, why: Why) -> LdapError {
        LdapError { server: self.server.to_string(), doing: doing.into(), why }
    }
}

pub(super) fn succeeded(result: &LdapResult<'_>) -> Result<(), Why> {
    if result.code == ResultCode::SUCCESS { Ok(()) } else { Err(Why::Result(Answered::of(result))) }
}

pub(super) fn malformed(error: iwa_wire::ParseError) -> Why {
    Why::Broken(format!("what came is no LDAP: {error}"))
}

pub(super) fn unexpected(wanted: &str, found: &Op<'_>) -> Why {
    Why::Broken(format!("wanted the answer to {wanted}, found {}", found.name()))
}

pub(super) fn no_answer(wait: Duration) -> String {
    format!("no answer in {} ms", wait.as_millis())
}

async fn connect(server: &Server, patience: Patience) -> Result<TcpStream, String> {
    let addresses: Vec<SocketAddr> = if server.addresses.is_empty() {
        let found = timeout(patience.connect, lookup_host((server.host.as_str(), server.port))).await;
        let found = found.map_err(|_| format!("the resolver: {}", no_answer(patience.connect)))?;
        found.map_err(|error| format!("the resolver: {error}"))?.collect()
    } else {
        server.addresses.iter().map(|address| SocketAddr::new(*address, server.port)).collect()
    };
    let mut failures = Vec::new();
    for address in addresses.into_iter().take(ADDRESSES_LIMIT) {
        match timeout(patience.connect, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Requests are small and each waits for its answer.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => failures.push(format!("{address}: {error}")),
            Err(_) => failures.push(format!("{address}: {}", no_answer(patience.connect))),
        }
    }
    if failures.is_empty() {
        failures.push("its name has no address".to_owned());
    }
    Err(failures.join("; "))
}

/// How many addresses of one server are tried.
const ADDRESSES_LIMIT: usize = 4;
