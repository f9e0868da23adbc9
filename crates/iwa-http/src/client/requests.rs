//! Outgoing requests that sign in by themselves: a client for one account and any number of servers. RFC 4559 5.

use core::fmt;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::{Method, Request, Response, Uri};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use iwa_auth::initiate::{Credentials, Established, Framing, Initiator, InitiatorConfig};
use iwa_auth::krb5;
use iwa_auth::krb5::client::Delegation;
use iwa_auth::ports::{Answer, Kdc};
use iwa_auth::reject::Reason;
use iwa_auth::{Mechanism, Scheme, ntlm};
use rustls::{ClientConfig, RootCertStore};

use super::transport::{Transport, Unreachable};
use super::{ClientPolicy, Conclusion, Exchange, Next, Preference};
use crate::hosts::HostList;
use crate::system::{Os, System};

/// Sends requests and signs in where a server wants it. For one account: its connections may be authenticated as that account
/// and serve nobody else. Cheap to clone; clones share connections.
///
/// Credentials go only to the hosts that it is told: others get requests as they are. Redirects are the caller's to follow.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use iwa_http::client::{Account, Client};
///
/// let account = Account::password("EXAMPLE", "alice", "her password");
/// let client = Client::new(account).for_hosts("*.example.test")?;
/// let answer = client.get("http://intranet.example.test/news").await?;
/// println!("{} {}", answer.status(), String::from_utf8_lossy(&answer.bytes().await?));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Client {
    account: Arc<Mutex<Account>>,
    hosts: Arc<HostList>,
    schemes: Vec<Scheme>,
    mutual: bool,
    delegation: Delegation,
    kdc: Arc<dyn Kdc>,
    system: Arc<dyn System>,
    tls: Option<Arc<ClientConfig>>,
    /// Where hosts are, in place of what DNS says.
    elsewhere: Vec<(String, String)>,
    idle: Arc<Mutex<HashMap<Origin, Vec<Transport>>>>,
}

/// Who a client is.
#[derive(Clone, Debug, Default)]
pub struct Account {
    krb5: Option<krb5::client::Client>,
    ntlm: Option<ntlm::initiator::Credential>,
}

impl Account {
    /// By a password, for NTLM. Kerberos needs [`Account::tickets`] and a [`Client::with_kdc`] too.
    #[must_use]
    pub fn password(domain: &str, user: &str, password: &str) -> Self {
        let credential = ntlm::initiator::Credential {
            user: user.to_owned(),
            domain: domain.to_owned(),
            workstation: String::new(),
            nt_hash: ntlm::crypto::nt_hash(password),
        };
        Self { krb5: None, ntlm: Some(credential) }
    }

    /// And by Kerberos: whoever has a key, a password or tickets there.
    #[must_use]
    pub fn tickets(self, client: krb5::client::Client) -> Self {
        Self { krb5: Some(client), ..self }
    }
}

/// An answer, and how it was come by.
#[derive(Debug)]
pub struct Answered {
    response: Response<Incoming>,
    signed_in: Option<(Scheme, Established)>,
}

impl Answered {
    /// The answer; its body is read while it arrives.
    #[must_use]
    pub fn into_response(self) -> Response<Incoming> {
        self.response
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> http::StatusCode {
        self.response.status()
    }

    /// Its header lines.
    #[must_use]
    pub fn headers(&self) -> &http::HeaderMap {
        self.response.headers()
    }

    /// How this request signed in, and whether the server proved itself; `None` if its connection was signed in already, or
    /// nobody asked.
    #[must_use]
    pub fn signed_in(&self) -> Option<&(Scheme, Established)> {
        self.signed_in.as_ref()
    }

    /// The whole body. The caller bounds it, where the server is not to be trusted with memory, by reading
    /// [`Answered::into_response`] instead.
    ///
    /// # Errors
    /// It breaks off.
    pub async fn bytes(self) -> Result<Bytes, Failed> {
        let body = self.response.into_body().collect().await;
        body.map(http_body_util::Collected::to_bytes)
            .map_err(|error| Unreachable::new(format!("the answer breaks off: {error}")).into())
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Failed {
    /// The request is none: no host, another scheme than http and https.
    Request(&'static str),
    /// There is no connection.
    Unreachable(Unreachable),
    /// The server did not let the client in, or did not prove that it is the server.
    SignIn(Reason),
}

impl From<Unreachable> for Failed {
    fn from(error: Unreachable) -> Self {
        Self::Unreachable(error)
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(why) => f.write_str(why),
            Self::Unreachable(why) => why.fmt(f),
            Self::SignIn(reason) => reason.fmt(f),
        }
    }
}

impl core::error::Error for Failed {}

impl Client {
    /// A client of this account that gives it to no host yet. Kerberos proves the server too, or fails.
    #[must_use]
    pub fn new(account: Account) -> Self {
        Self {
            account: Arc::new(Mutex::new(account)),
            hosts: Arc::new(HostList::none()),
            schemes: vec![Scheme::Negotiate, Scheme::Ntlm],
            mutual: true,
            delegation: Delegation::No,
            kdc: Arc::new(NoKdc),
            system: Arc::new(Os),
            tls: None,
            elsewhere: Vec::new(),
            idle: Arc::default(),
        }
    }

    /// Gives the account to these hosts too: patterns as in a browser's `AuthServerAllowlist` (`*.example.test`).
    ///
    /// # Errors
    /// A pattern is none.
    pub fn for_hosts(mut self, patterns: &str) -> Result<Self, crate::hosts::BadPattern> {
        Arc::make_mut(&mut self.hosts).add(patterns)?;
        Ok(self)
    }

    /// Asks this KDC for tickets.
    #[must_use]
    pub fn with_kdc(self, kdc: Arc<dyn Kdc>) -> Self {
        Self { kdc, ..self }
    }

    /// Speaks these schemes and no others. Without [`Scheme::Ntlm`] nothing is proved with a password's hash outside Negotiate.
    #[must_use]
    pub fn with_schemes(self, schemes: Vec<Scheme>) -> Self {
        Self { schemes, ..self }
    }

    /// Hands servers that the KDC trusts with it a TGT of the account's own.
    #[must_use]
    pub fn delegating(self) -> Self {
        Self { delegation: Delegation::IfTrusted, ..self }
    }

    /// Whom to trust for `https`, in place of the system's authorities.
    #[must_use]
    pub fn with_tls(self, tls: Arc<ClientConfig>) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// Connects elsewhere for this host: credentials, certificates and `Host` are the host's all the same. `address` is a name or
    /// an address; the port is the URI's.
    #[must_use]
    pub fn resolving(mut self, host: &str, address: &str) -> Self {
        self.elsewhere.push((host.to_ascii_lowercase(), address.to_owned()));
        self
    }

    /// Another clock and randomness: for tests.
    #[must_use]
    pub fn with_system(self, system: Arc<dyn System>) -> Self {
        Self { system, ..self }
    }

    /// Gets a page.
    ///
    /// # Errors
    /// There is no answer, or not from the server that was meant. An answer of any status is none.
    pub async fn get(&self, uri: &str) -> Result<Answered, Failed> {
        self.send(self.request(Method::GET, uri, Bytes::new())?).await
    }

    /// Posts a body.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn post(&self, uri: &str, body: impl Into<Bytes>) -> Result<Answered, Failed> {
        self.send(self.request(Method::POST, uri, body.into())?).await
    }

    fn request(&self, method: Method, uri: &str, body: Bytes) -> Result<Request<Bytes>, Failed> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri.parse().map_err(|_| Failed::Request("this is no URI"))?;
        Ok(request)
    }

    /// Sends a request to the absolute URI that it has. Its body may go out more than once: a server asks for credentials
    /// after it.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn send(&self, mut request: Request<Bytes>) -> Result<Answered, Failed> {
        let origin = Origin::of(request.uri())?;
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
        let host = HeaderValue::try_from(origin.authority()).map_err(|_| Failed::Request("the host is none"))?;
        request.headers_mut().insert(HOST, host);

        let mut transport = self.transport(&origin).await?;
        let initiator = self.initiator(&origin, &transport);
        let policy = ClientPolicy {
            schemes: self.schemes.clone(),
            preference: Preference::Strongest,
            host_allowed: self.hosts.allows(if origin.tls { "https" } else { "http" }, &origin.host, origin.port),
            host: origin.authority(),
        };
        let mut exchange = Exchange::new(&policy, &initiator, &*self.kdc, &*self.system);
        let (mut authorization, mut begun) = (None, false);
        loop {
            let mut attempt = request.clone();
            if let Some((name, value)) = authorization.take() {
                attempt.headers_mut().insert(name, value);
            }
            let response = transport.send(attempt).await?;
            // A host that may not be given the account is answered as it is, 401 and all.
            if !policy.host_allowed {
                self.put_back(origin, transport);
                return Ok(Answered { response, signed_in: None });
            }
            match exchange.next(response.status(), response.headers()).await {
                Next::Again(name, value) => {
                    drain(response.into_body()).await?;
                    if !begun && !transport.is_open().await {
                        // A server may end the connection after a 401 rather than read a body that it does not want.
                        let fresh = self.connect(&origin).await?;
                        if fresh.bindings() != transport.bindings() {
                            return Err(Unreachable::new(
                                "the server shows another certificate on its next connection: try again",
                            )
                            .into());
                        }
                        transport = fresh;
                    }
                    begun = true;
                    authorization = Some((name, value));
                }
                Next::Done(Conclusion::Failed(reason)) => return Err(Failed::SignIn(reason)),
                Next::Done(Conclusion::NotAsked) => {
                    self.put_back(origin, transport);
                    return Ok(Answered { response, signed_in: None });
                }
                Next::Done(Conclusion::Established(scheme, established)) => {
                    self.keep(&established);
                    self.put_back(origin, transport);
                    return Ok(Answered { response, signed_in: Some((scheme, established)) });
                }
            }
        }
    }

    /// A connection whose answers were read, or a new one.
    async fn transport(&self, origin: &Origin) -> Result<Transport, Failed> {
        if let Some(transports) = self.idle().get_mut(origin) {
            transports.retain(|transport| !transport.is_closed());
            if let Some(free) = transports.iter().position(Transport::is_free) {
                return Ok(transports.swap_remove(free));
            }
        }
        self.connect(origin).await
    }

    async fn connect(&self, origin: &Origin) -> Result<Transport, Failed> {
        let tls = match (&self.tls, origin.tls) {
            (_, false) => None,
            (Some(tls), true) => Some(Arc::clone(tls)),
            (None, true) => Some(system_roots().map_err(Unreachable::new)?),
        };
        let address = self.elsewhere.iter().find(|(host, _)| *host == origin.host).map(|(_, address)| address);
        Ok(Transport::connect(
            address.unwrap_or(&origin.host),
            origin.port,
            tls.as_ref().map(|tls| (tls, &*origin.host)),
        )
        .await?)
    }

    fn put_back(&self, origin: Origin, transport: Transport) {
        let mut idle = self.idle();
        let transports = idle.entry(origin).or_default();
        transports.retain(|transport| !transport.is_closed());
        if transports.len() < MOST_KEPT {
            transports.push(transport);
        }
    }

    /// Keeps the tickets that were got on the way, so that the next handshake needs no KDC.
    fn keep(&self, established: &Established) {
        if established.tickets.is_empty() {
            return;
        }
        let now = self.system.now();
        let mut account = self.account();
        if let Some(krb5) = &account.krb5 {
            let known = krb5.credentials().iter().chain(&established.tickets);
            let mut tickets: Vec<_> = known.filter(|ticket| ticket.is_valid(now)).cloned().collect();
            let surplus = tickets.len().saturating_sub(MOST_TICKETS);
            tickets.drain(..surplus);
            account.krb5 = Some(krb5.with_credentials(tickets));
        }
    }

    fn account(&self) -> std::sync::MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, HashMap<Origin, Vec<Transport>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn initiator(&self, origin: &Origin, transport: &Transport) -> Initiator {
        let target = format!("HTTP/{}", origin.host);
        let Account { krb5, ntlm } = self.account().clone();
        let ntlm = ntlm.map(|own| ntlm::initiator::Client::new(own, Some(&target)));
        Initiator::new(InitiatorConfig {
            host: origin.host.clone(),
            credentials: Credentials { krb5, ntlm },
            mechanisms: vec![Mechanism::Kerberos, Mechanism::Ntlm],
            mutual: self.mutual,
            delegation: self.delegation,
            bindings: transport.bindings().clone(),
            framing: Framing::Spnego,
        })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("hosts", &self.hosts).field("schemes", &self.schemes).finish_non_exhaustive()
    }
}

/// Where requests go.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Origin {
    tls: bool,
    host: String,
    port: u16,
}

impl Origin {
    fn of(uri: &Uri) -> Result<Self, Failed> {
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(Failed::Request("wanted an absolute URI that begins with http:// or https://")),
        };
        let authority = uri.authority().ok_or(Failed::Request("the URI has no host"))?;
        if authority.as_str().contains('@') {
            return Err(Failed::Request("credentials do not belong into a URI"));
        }
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Ok(Self { tls, host: authority.host().to_ascii_lowercase(), port })
    }

    fn authority(&self) -> String {
        match (self.tls, self.port) {
            (false, 80) | (true, 443) => self.host.clone(),
            (_, port) => format!("{}:{port}", self.host),
        }
    }
}

/// Reads the body of a leg, so that its connection is free for the next.
async fn drain(mut body: Incoming) -> Result<(), Failed> {
    let mut left = MOST_DRAINED;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Unreachable::new(format!("the answer breaks off: {error}")))?;
        left = left
            .checked_sub(frame.data_ref().map_or(0, Bytes::len))
            .ok_or_else(|| Unreachable::new("the page of a 401 does not end"))?;
    }
    Ok(())
}

/// Those whom this system trusts, read once.
fn system_roots() -> Result<Arc<ClientConfig>, String> {
    static ROOTS: std::sync::OnceLock<Result<Arc<ClientConfig>, String>> = std::sync::OnceLock::new();
    let read = || {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err("this system trusts no authority: Client::with_tls says whom to trust".to_owned());
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let versions = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        Ok(Arc::new(versions.with_root_certificates(roots).with_no_client_auth()))
    };
    ROOTS.get_or_init(read).clone()
}

/// For accounts without Kerberos.
struct NoKdc;

impl Kdc for NoKdc {
    fn ask<'a>(&'a self, realm: &'a str, _: &'a [u8]) -> Answer<'a, Result<Vec<u8>, String>> {
        Box::pin(async move { Err(format!("no KDC of {realm} is known: Client::with_kdc says whom to ask")) })
    }
}

/// Tickets that are kept: the oldest go, a TGT can be asked for again.
const MOST_TICKETS: usize = 256;

/// Connections to one server that are kept.
const MOST_KEPT: usize = 8;

/// Bytes of a 401's page.
const MOST_DRAINED: usize = 1 << 20;
