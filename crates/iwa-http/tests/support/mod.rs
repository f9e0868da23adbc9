//! A site and its clients in memory: requests are heads, answers are outcomes, time stands still.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test file uses a part of it")]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Version};
use iwa_auth::accept::AcceptorConfig;
use iwa_auth::env::EntropyError;
use iwa_auth::initiate::{Credentials, Framing, Initiator, InitiatorConfig};
use iwa_auth::krb5::client::Delegation;
use iwa_auth::ntlm::acceptor::{Server, ServerConfig};
use iwa_auth::ntlm::crypto::nt_hash;
use iwa_auth::ntlm::initiator::{Client as NtlmClient, Credential};
use iwa_auth::ports::{
    Answer, Kdc, Logon, LogonError, LogonInfo, NetworkLogon, PasswordVerified, ReplayCache, ReplayKey, ReplayVerdict,
};
use iwa_auth::{
    Acceptor, Account, BindingPolicy, ChannelBindings, Entropy as _, Mechanism, NtStatus, Scheme, Secret, UnixTime,
};
use iwa_http::client::{ClientPolicy, Conclusion, Exchange, Next, Preference};
use iwa_http::{Authenticator, Connection, HalfOpen, Outcome, Policy, Ports, System};
use iwa_testkit::accounts::Accounts;
use iwa_testkit::kdc::{HOST, Realm};
use iwa_testkit::pair::{NOW, Seeded};

pub struct Clock {
    now: AtomicU64,
    entropy: Mutex<Seeded>,
}

impl Clock {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { now: AtomicU64::new(NOW.micros()), entropy: Mutex::new(Seeded(7)) })
    }

    pub fn advance(&self, seconds: u64) {
        self.now.fetch_add(seconds * 1_000_000, Ordering::Relaxed);
    }
}

impl System for Clock {
    fn now(&self) -> UnixTime {
        UnixTime::from_micros(self.now.load(Ordering::Relaxed))
    }

    fn random(&self, out: &mut [u8]) -> Result<(), EntropyError> {
        self.entropy.lock().expect("not poisoned").fill(out)
    }
}

/// alice with the password `Password`, and what goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Authority {
    Answers,
    Says(NtStatus),
    IsDown,
    NeverAnswers,
    Panics,
}

impl Logon for Authority {
    fn network<'a>(&'a self, logon: &'a NetworkLogon) -> Answer<'a, Result<LogonInfo, LogonError>> {
        Box::pin(async move {
            match self {
                Self::Answers => Accounts::alice().logon(logon),
                Self::Says(status) => Err(LogonError::Refused(*status)),
                Self::IsDown => Err(LogonError::Unavailable("the controller does not answer".into())),
                Self::NeverAnswers => std::future::pending().await,
                Self::Panics => panic!("a fault in an authority"),
            }
        })
    }

    fn password<'a>(
        &'a self,
        _: &'a str,
        user: &'a str,
        password: &'a Secret<String>,
    ) -> Answer<'a, Result<PasswordVerified, LogonError>> {
        Box::pin(async move {
            if user == "alice" && password.expose() == "Password" {
                let account = Account { name: "alice".into(), domain: "EXAMPLE".into(), ..Account::default() };
                return Ok(PasswordVerified::by_authority(account, Vec::new()));
            }
            Err(LogonError::Refused(NtStatus::WRONG_PASSWORD))
        })
    }
}

#[derive(Default)]
pub struct Seen {
    pub keys: Mutex<Vec<ReplayKey>>,
    pub broken: bool,
}

impl ReplayCache for Seen {
    fn check(&self, key: ReplayKey, _: UnixTime, _: UnixTime) -> ReplayVerdict {
        if self.broken {
            return ReplayVerdict::Unavailable("the cache is full");
        }
        let mut keys = self.keys.lock().expect("not poisoned");
        if keys.contains(&key) {
            return ReplayVerdict::Seen;
        }
        keys.push(key);
        ReplayVerdict::Fresh
    }
}

pub struct Site {
    pub authenticator: Authenticator,
    pub clock: Arc<Clock>,
    pub half_open: Arc<HalfOpen>,
}

pub fn ntlm_acceptor() -> AcceptorConfig {
    AcceptorConfig {
        mechanisms: vec![Mechanism::Kerberos, Mechanism::Ntlm],
        krb5: None,
        ntlm: Some(Server::new(ServerConfig::standalone("WEB")).expect("a short name")),
        binding: BindingPolicy::None,
    }
}

pub struct Terms {
    pub policy: Policy,
    pub authority: Authority,
    pub replay: Seen,
    pub most_half_open: usize,
    pub acceptor: AcceptorConfig,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            authority: Authority::Answers,
            replay: Seen::default(),
            most_half_open: 100,
            acceptor: ntlm_acceptor(),
        }
    }
}

impl Site {
    pub fn new(terms: Terms) -> Self {
        let clock = Clock::new();
        let half_open = Arc::new(HalfOpen::new(terms.most_half_open, Duration::from_secs(30)));
        let ports = Ports {
            logon: Arc::new(terms.authority),
            replay: Arc::new(terms.replay),
            half_open: Arc::clone(&half_open),
            attempts: Arc::new(iwa_http::Attempts::new(iwa_http::AttemptLimits::default())),
            system: Arc::clone(&clock) as _,
            logon_timeout: Duration::from_secs(5),
        };
        Self { authenticator: Authenticator::new(terms.policy, Acceptor::new(terms.acceptor), ports), clock, half_open }
    }

    pub fn with_policy(change: impl FnOnce(&mut Policy)) -> Self {
        let mut terms = Terms::default();
        change(&mut terms.policy);
        Self::new(terms)
    }

    pub fn with_authority(authority: Authority) -> Self {
        Self::new(Terms { authority, ..Terms::default() })
    }

    pub async fn send(&self, connection: &Connection, headers: &HeaderMap) -> Reply {
        Reply::of(self.authenticator.authenticate(connection, Version::HTTP_11, headers).await)
    }

    pub async fn get(&self, connection: &Connection) -> Reply {
        self.send(connection, &HeaderMap::new()).await
    }

    pub async fn with(&self, connection: &Connection, authorization: &HeaderValue) -> Reply {
        self.send(connection, &authorized(authorization)).await
    }
}

pub fn authorized(value: &HeaderValue) -> HeaderMap {
    HeaderMap::from_iter([(AUTHORIZATION, value.clone())])
}

pub fn connection() -> Connection {
    Connection::plain(SocketAddr::from(([127, 0, 0, 1], 40000)), SocketAddr::from(([127, 0, 0, 1], 80)))
}

pub fn remote_connection() -> Connection {
    Connection::plain(SocketAddr::from(([192, 0, 2, 7], 40000)), SocketAddr::from(([192, 0, 2, 1], 80)))
}

/// What a client sees of an outcome, and what the log is told.
#[derive(Debug)]
pub struct Reply {
    pub outcome: Outcome,
}

impl Reply {
    fn of(outcome: Outcome) -> Self {
        Self { outcome }
    }

    /// `200 EXAMPLE\alice`, `200 -`, `401.1 2148074254`, `503.0 1311 unavailable.accounts`.
    pub fn in_words(&self) -> String {
        match &self.outcome {
            Outcome::Admitted(admitted) => match &admitted.identity {
                Some(identity) => format!("200 {identity}"),
                None => "200 -".to_owned(),
            },
            Outcome::Refused(refused) => {
                let status = refused.status;
                let why = refused.reason.as_ref().map(|reason| format!(" {}", reason.code())).unwrap_or_default();
                format!("{}.{} {}{why}", status.http.as_u16(), status.sub, status.win32)
            }
        }
    }

    pub fn challenges(&self) -> Vec<String> {
        match &self.outcome {
            Outcome::Refused(refused) => {
                refused.challenges.iter().map(|line| line.to_str().expect("ASCII").to_owned()).collect()
            }
            Outcome::Admitted(admitted) => {
                admitted.final_token.line.iter().map(|line| line.to_str().expect("ASCII").to_owned()).collect()
            }
        }
    }

    pub fn persistent(&self) -> Option<bool> {
        match &self.outcome {
            Outcome::Admitted(admitted) => admitted.final_token.persistent,
            Outcome::Refused(_) => None,
        }
    }

    pub fn note(&self) -> Option<&'static str> {
        match &self.outcome {
            Outcome::Admitted(admitted) => admitted.note,
            Outcome::Refused(refused) => refused.note,
        }
    }

    /// The head as it goes over the wire.
    pub fn head(&self) -> (http::StatusCode, HeaderMap) {
        let mut headers = HeaderMap::new();
        match &self.outcome {
            Outcome::Admitted(admitted) => {
                admitted.final_token.attach(&mut headers);
                (http::StatusCode::OK, headers)
            }
            Outcome::Refused(refused) => {
                for line in &refused.challenges {
                    headers.append(WWW_AUTHENTICATE, line.clone());
                }
                (refused.status.http, headers)
            }
        }
    }
}

pub struct NoKdc;

impl Kdc for NoKdc {
    fn ask<'a>(&'a self, realm: &'a str, _: &'a [u8]) -> Answer<'a, Result<Vec<u8>, String>> {
        Box::pin(async move { Err(format!("there is no KDC for {realm}")) })
    }
}

/// A browser with alice's password.
pub struct Browser {
    pub policy: ClientPolicy,
    pub initiator: Initiator,
    pub clock: Arc<Clock>,
}

pub fn initiator(password: &str, framing: Framing) -> Initiator {
    let credential = Credential {
        user: "alice".into(),
        domain: "EXAMPLE".into(),
        workstation: "WS".into(),
        nt_hash: nt_hash(password),
    };
    Initiator::new(InitiatorConfig {
        host: "web.example.test".into(),
        credentials: Credentials { krb5: None, ntlm: Some(NtlmClient::new(credential, Some("HTTP/web.example.test"))) },
        mechanisms: vec![Mechanism::Ntlm],
        mutual: true,
        delegation: Delegation::No,
        bindings: ChannelBindings::none(),
        framing,
    })
}

impl Browser {
    pub fn new(site: &Site, password: &str, schemes: &[Scheme]) -> Self {
        let policy = ClientPolicy {
            schemes: schemes.to_vec(),
            preference: Preference::Strongest,
            host_allowed: true,
            host: "web.example.test".into(),
        };
        Self { policy, initiator: initiator(password, Framing::Spnego), clock: Arc::clone(&site.clock) }
    }

    pub fn ntlm(site: &Site) -> Self {
        Self::new(site, "Password", &[Scheme::Ntlm])
    }

    pub fn exchange(&self) -> Exchange<'_> {
        Exchange::new(&self.policy, &self.initiator, &NoKdc, &*self.clock)
    }

    /// Loads a page; every reply on the way, and what the browser makes of the last.
    pub async fn load(&self, site: &Site, connection: &Connection) -> (Vec<Reply>, Conclusion) {
        let mut exchange = self.exchange();
        let mut replies = vec![site.get(connection).await];
        loop {
            let (status, headers) = replies.last().expect("one at least").head();
            match exchange.next(status, &headers).await {
                Next::Done(conclusion) => return (replies, conclusion),
                Next::Again(name, value) => {
                    assert_eq!(name, HeaderName::from_static("authorization"));
                    replies.push(site.with(connection, &value).await);
                }
            }
        }
    }

    /// The two tokens of a handshake on `connection`, the second of which is not sent.
    pub async fn halfway(&self, site: &Site, connection: &Connection) -> (HeaderValue, HeaderValue) {
        let mut exchange = self.exchange();
        let (status, headers) = site.get(connection).await.head();
        let Next::Again(_, first) = exchange.next(status, &headers).await else { panic!("a first token") };
        let reply = site.with(connection, &first).await;
        assert_eq!(reply.in_words(), "401.1 2148074254");
        let (status, headers) = reply.head();
        let Next::Again(_, second) = exchange.next(status, &headers).await else { panic!("a second token") };
        (first, second)
    }
}

pub fn words(replies: &[Reply]) -> Vec<String> {
    replies.iter().map(Reply::in_words).collect()
}

/// The realm of the tests behind a lock, as whoever carries messages to it.
pub struct RealmKdc(pub Mutex<Realm>);

impl Kdc for RealmKdc {
    fn ask<'a>(&'a self, realm: &'a str, request: &'a [u8]) -> Answer<'a, Result<Vec<u8>, String>> {
        Box::pin(async move { self.0.lock().expect("not poisoned").answer(realm, request) })
    }
}

/// A browser of alice with Kerberos, and with a password for NTLM if `ntlm`.
pub struct KerberosBrowser {
    pub browser: Browser,
    pub kdc: RealmKdc,
}

impl KerberosBrowser {
    pub fn new(site: &Site, ntlm: bool) -> Self {
        Self::of(site, Realm::default(), ntlm, Framing::Spnego)
    }

    pub fn of(site: &Site, realm: Realm, ntlm: bool, framing: Framing) -> Self {
        let mut browser = Browser::new(site, "Password", &[Scheme::Negotiate, Scheme::Ntlm]);
        let password = initiator("Password", framing);
        let credentials = Credentials {
            krb5: Some(realm.alice()),
            ntlm: password.config().credentials.ntlm.clone().filter(|_| ntlm),
        };
        browser.initiator = Initiator::new(InitiatorConfig {
            host: HOST.into(),
            credentials,
            mechanisms: vec![Mechanism::Kerberos, Mechanism::Ntlm],
            mutual: true,
            delegation: Delegation::No,
            bindings: ChannelBindings::none(),
            framing,
        });
        Self { browser, kdc: RealmKdc(Mutex::new(realm)) }
    }

    pub fn exchange(&self) -> Exchange<'_> {
        Exchange::new(&self.browser.policy, &self.browser.initiator, &self.kdc, &*self.browser.clock)
    }

    pub async fn load(&self, site: &Site, connection: &Connection) -> (Vec<Reply>, Conclusion) {
        let mut exchange = self.exchange();
        let mut replies = vec![site.get(connection).await];
        loop {
            let (status, headers) = replies.last().expect("one at least").head();
            match exchange.next(status, &headers).await {
                Next::Done(conclusion) => return (replies, conclusion),
                Next::Again(_, value) => replies.push(site.with(connection, &value).await),
            }
        }
    }

    /// A first token, fresh.
    pub async fn token(&self) -> HeaderValue {
        let mut headers = HeaderMap::new();
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Negotiate"));
        match self.exchange().next(http::StatusCode::UNAUTHORIZED, &headers).await {
            Next::Again(_, value) => value,
            Next::Done(conclusion) => panic!("{conclusion:?}"),
        }
    }
}

/// A site with the keys of [`Realm`], and with NTLM.
pub fn kerberos_terms() -> Terms {
    let mut terms = Terms::default();
    terms.acceptor.krb5 = Some(Realm::default().service());
    terms
}
