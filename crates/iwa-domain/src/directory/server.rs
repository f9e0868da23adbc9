//! The server of a directory: TLS from the first byte, a simple bind as the reader, searches. RFC 4511, RFC 4513 5.1.3.
//!
//! A connection answers one question at a time and is kept for the next; a password of a user is tried on a connection of its
//! own, which is closed then. One that broke while it was idle is replaced without a word.

use core::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use iwa_auth::Secret;
use iwa_auth::ports::Answer;
use iwa_wire::explain::printable;
use iwa_wire::krb5::SequenceOf;
use iwa_wire::ldap::{Authentication, BindRequest, LdapResult, Message, Octets, Op, ResultCode, SearchRequest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use zeroize::Zeroizing;

use super::{Bound, Entry, Ldap, Scope, Search};
use crate::tls::{Roots, client_config};

/// Where a directory is, and who reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// The host, which the certificate must name.
    pub host: String,
    /// The port of LDAP over TLS, as 636.
    pub port: u16,
    /// The certificates that sign the server's (PEM); `None` means the system's.
    pub ca: Option<PathBuf>,
    /// The DN that searches.
    pub reader: String,
    /// A file with its password in one line. Read at each new connection.
    pub password_file: PathBuf,
    /// How long connecting, binding and answering may take together.
    pub timeout: Duration,
}

/// The server.
pub(super) struct Server {
    config: ServerConfig,
    tls: TlsConnector,
    name: ServerName<'static>,
    idle: Mutex<Vec<Connection>>,
    slots: Semaphore,
}

impl Server {
    /// Nothing is asked yet.
    ///
    /// # Errors
    /// The certificates cannot be used, or the host is none.
    pub(super) fn new(config: ServerConfig) -> Result<Self, String> {
        let roots = Roots { system: config.ca.is_none(), files: config.ca.iter().cloned().collect() };
        let tls: Arc<ClientConfig> = client_config(&roots)?;
        let name = ServerName::try_from(config.host.clone())
            .map_err(|_| format!("\"{}\" is no name of a host", printable(&config.host)))?;
        let (idle, slots) = (Mutex::default(), Semaphore::new(CONNECTIONS));
        Ok(Self { config, tls: TlsConnector::from(tls), name, idle, slots })
    }

    async fn connect(&self) -> Result<Connection, Fault> {
        let (host, port) = (&self.config.host, self.config.port);
        let stream = TcpStream::connect((host.as_str(), port)).await.map_err(Fault::broken)?;
        let _ = stream.set_nodelay(true);
        let stream = self.tls.connect(self.name.clone(), stream).await.map_err(Fault::broken)?;
        Ok(Connection { stream, next: 1, unread: Zeroizing::new(Vec::new()) })
    }

    async fn connect_as_reader(&self) -> Result<Connection, Fault> {
        let (reader, file) = (&self.config.reader, &self.config.password_file);
        let unreadable =
            |error| Fault::Said(format!("the reader's password in {} cannot be read: {error}", file.display()));
        let password = Zeroizing::new(tokio::fs::read(file).await.map_err(unreadable)?);
        let password = password.strip_suffix(b"\n").unwrap_or(&password);
        let password = password.strip_suffix(b"\r").unwrap_or(password);
        if password.is_empty() {
            // It would be an anonymous bind, and succeed.
            return Err(Fault::Said(format!("the reader's password in {} is empty", file.display())));
        }
        let mut connection = self.connect().await?;
        match connection.bind(reader, password).await? {
            (ResultCode::SUCCESS, _) => Ok(connection),
            (ResultCode::INVALID_CREDENTIALS, said) => Err(Fault::Said(format!(
                "the reader {} is refused ({said}): wanted its password in {}, and that it is not disabled",
                printable(reader),
                file.display()
            ))),
            (_, said) => Err(Fault::Said(format!("the reader {} cannot bind: {said}", printable(reader)))),
        }
    }

    async fn search_once(&self, search: &Search<'_>) -> Result<Vec<Entry>, Fault> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(mut connection) = idle {
            match connection.search(search).await {
                // It may have been closed long ago.
                Err(Fault::Broken(_)) => {}
                other => {
                    self.keep(connection);
                    return other;
                }
            }
        }
        let mut connection = self.connect_as_reader().await?;
        let found = connection.search(search).await;
        if !matches!(found, Err(Fault::Broken(_))) {
            self.keep(connection);
        }
        found
    }

    fn keep(&self, connection: Connection) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }

    /// With a place in the queue and a limit of time; a connection on which time ran out is closed.
    async fn within<T>(&self, work: impl Future<Output = Result<T, Fault>>) -> Result<T, String> {
        let server = format!("ldaps://{}:{}", self.config.host, self.config.port);
        let work = async {
            let _slot = self.slots.acquire().await.map_err(|error| Fault::Said(error.to_string()))?;
            work.await
        };
        match tokio::time::timeout(self.config.timeout, work).await {
            Ok(result) => result.map_err(|fault| format!("{server}: {fault}")),
            Err(_) => Err(format!("{server}: no answer within {:?}", self.config.timeout)),
        }
    }
}

impl Ldap for Server {
    fn search<'a>(&'a self, search: Search<'a>) -> Answer<'a, Result<Vec<Entry>, String>> {
        Box::pin(async move { self.within(self.search_once(&search)).await })
    }

    fn bind<'a>(&'a self, dn: &'a str, password: &'a Secret<String>) -> Answer<'a, Result<Bound, String>> {
        Box::pin(async move {
            self.within(async {
                let mut connection = self.connect().await?;
                let (code, said) = connection.bind(dn, password.expose().as_bytes()).await?;
                match code {
                    ResultCode::SUCCESS => Ok(Bound::Yes),
                    ResultCode::INVALID_CREDENTIALS | ResultCode::NO_SUCH_OBJECT => Ok(Bound::WrongPassword),
                    ResultCode::UNWILLING_TO_PERFORM
                    | ResultCode::CONSTRAINT_VIOLATION
                    | ResultCode::INSUFFICIENT_ACCESS_RIGHTS
                    | ResultCode::INAPPROPRIATE_AUTHENTICATION => Ok(Bound::Refused(said)),
                    _ => Err(Fault::Said(format!("a bind as {}: {said}", printable(dn)))),
                }
            })
            .await
        })
    }
}

/// Why there is no answer.
enum Fault {
    /// The connection is of no more use.
    Broken(String),
    /// The server answered, or was not asked.
    Said(String),
}

impl Fault {
    fn broken(error: impl fmt::Display) -> Self {
        Self::Broken(error.to_string())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Broken(what) | Self::Said(what)) = self;
        f.write_str(what)
    }
}

/// A connection.
struct Connection {
    stream: TlsStream<TcpStream>,
    next: u32,
    /// What was read and is not yet answered for: hashes are in it.
    unread: Zeroizing<Vec<u8>>,
}

impl Connection {
    async fn bind(&mut self, dn: &str, password: &[u8]) -> Result<(ResultCode, String), Fault> {
        let request = BindRequest { name: dn, authentication: Authentication::Simple(password) };
        self.ask(Op::BindRequest(request), |op| match op {
            Op::BindResponse(response) => Ok(Some((response.result.code, said(&response.result)))),
            other => Err(out_of_place(&other)),
        })
        .await
    }

    async fn search(&mut self, search: &Search<'_>) -> Result<Vec<Entry>, Fault> {
        let attributes: Vec<_> = search.attributes.iter().map(|name| Octets(name.as_bytes())).collect();
        let nothing = [Octets(b"1.1")];
        let request = SearchRequest {
            base: search.base,
            scope: match search.scope {
                Scope::Base => iwa_wire::ldap::Scope::Base,
                Scope::Subtree => iwa_wire::ldap::Scope::Subtree,
            },
            // One more, to tell a full answer from one that was cut.
            size_limit: u32::try_from(search.limit).unwrap_or(u32::MAX).saturating_add(1).min(i32::MAX as u32),
            time_limit: 0,
            types_only: false,
            filter: search.filter.clone(),
            attributes: SequenceOf::of(if attributes.is_empty() { &nothing } else { &attributes }),
        };
        let mut entries: Vec<Entry> = Vec::new();
        self.ask(Op::SearchRequest(request), |op| match op {
            Op::SearchResultEntry(entry) => {
                if entries.len() > search.limit {
                    return Err(Fault::Broken("the server sends more entries than were asked for".to_owned()));
                }
                let attributes = entry.attributes.iter().map(|attribute| {
                    let name = attribute.name.split(';').next().unwrap_or_default().to_owned();
                    (name, attribute.values.iter().map(|value| value.0.to_vec()).collect())
                });
                entries.push(Entry { dn: entry.dn.to_owned(), attributes: attributes.collect() });
                Ok(None)
            }
            Op::SearchResultDone(result) => match result.code {
                ResultCode::SUCCESS => Ok(Some(core::mem::take(&mut entries))),
                // What was to be read is not there, or not for the reader.
                ResultCode::NO_SUCH_OBJECT if search.scope == Scope::Base => Ok(Some(Vec::new())),
                ResultCode::SIZE_LIMIT_EXCEEDED if entries.len() >= search.limit => {
                    Ok(Some(core::mem::take(&mut entries)))
                }
                _ => Err(Fault::Said(format!("a search below {}: {}", printable(search.base), said(&result)))),
            },
            // Whoever may be behind it was not asked, and a part of the answer is no answer.
            Op::SearchResultReference(_) => Err(Fault::Broken(format!(
                "a search below {} is referred to another server, which is not asked: choose a base without referrals",
                printable(search.base)
            ))),
            other => Err(out_of_place(&other)),
        })
        .await
    }

    /// Asks, and takes every message of the answer until `take` has what it wants.
    async fn ask<T>(
        &mut self,
        op: Op<'_>,
        mut take: impl FnMut(Op<'_>) -> Result<Option<T>, Fault>,
    ) -> Result<T, Fault> {
        let id = self.next;
        self.next = if id >= i32::MAX as u32 { 1 } else { id + 1 };
        let mut bytes = Zeroizing::new(Vec::new());
        Message::new(id, op).write(&mut bytes);
        self.stream.write_all(&bytes).await.map_err(Fault::broken)?;
        self.stream.flush().await.map_err(Fault::broken)?;
        loop {
            let length = self.message().await?;
            let message = Message::parse(self.unread.get(..length).unwrap_or_default()).map_err(Fault::broken)?;
            let taken = match (message.id, message.op) {
                (0, Op::ExtendedResponse(response)) => {
                    Err(Fault::Broken(format!("it closes: {}", said(&response.result))))
                }
                (found, _) if found != id => Err(Fault::Broken("it answers what was not asked".to_owned())),
                (_, op) => take(op),
            };
            self.unread.drain(..length);
            if let Some(answer) = taken? {
                return Ok(answer);
            }
        }
    }

    /// Reads until there is a whole message, and says how long it is.
    async fn message(&mut self) -> Result<usize, Fault> {
        loop {
            if let Some(length) = Message::length(&self.unread, LARGEST_MESSAGE).map_err(Fault::broken)?
                && self.unread.len() >= length
            {
                return Ok(length);
            }
            let mut chunk = Zeroizing::new([0; 4096]);
            let length = self.stream.read(chunk.as_mut_slice()).await.map_err(Fault::broken)?;
            if length == 0 {
                return Err(Fault::Broken("it closed the connection".to_owned()));
            }
            self.unread.extend_from_slice(chunk.get(..length).unwrap_or_default());
        }
    }
}

/// A result in words.
fn said(result: &LdapResult<'_>) -> String {
    let name = result.code.name().unwrap_or("an error");
    let text = result.diagnostic.to_string();
    let what = if text.is_empty() { String::new() } else { format!(": {text}") };
    format!("{name} ({}), {}{what}", result.code.0, result.code.meaning())
}

fn out_of_place(op: &Op<'_>) -> Fault {
    Fault::Broken(format!("{} has no place here", op.name()))
}

/// How many questions are asked at once.
const CONNECTIONS: usize = 16;
/// Larger answers are refused unread.
const LARGEST_MESSAGE: usize = 4 << 20;
