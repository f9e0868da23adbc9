//! What it costs a server to authenticate one request: the head in, identity and final token out.
//! `cargo bench -p iwa-http --bench authenticate`.
//!
//! The randomness of the AP-REP is the operating system's. Tokens are made outside the measurement, all of one ticket, each
//! with an authenticator of its own.

use core::pin::pin;
use core::task::{Context, Poll, Waker};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use divan::Bencher;
use http::header::{AUTHORIZATION, HOST, HeaderMap, HeaderValue, USER_AGENT};
use http::{StatusCode, Version};
use iwa_auth::accept::AcceptorConfig;
use iwa_auth::env::EntropyError;
use iwa_auth::krb5::acceptor::{Service, ServicePolicy};
use iwa_auth::krb5::replay::MemoryReplayCache;
use iwa_auth::ports::{Answer, Logon, LogonError, LogonInfo, NetworkLogon, PasswordVerified};
use iwa_auth::{Acceptor, BindingPolicy, Mechanism, NtStatus, Secret, UnixTime};
use iwa_http::{Authenticator, Connection, HalfOpen, Os, Outcome, Policy, Ports, System};
use iwa_testkit::mint::{self, Mint, MintPac, PacContent};
use iwa_testkit::pair::{NOW, Seeded};
use iwa_wire::gss::MechType;
use iwa_wire::header::{AuthScheme, encode};
use iwa_wire::spnego::{MechTypeList, NegTokenInit};

fn main() {
    divan::main();
}

/// Kerberos on every request, with a PAC of so many groups.
#[divan::bench(args = [10, 100, 1000])]
fn kerberos(bencher: Bencher<'_, '_>, groups: u32) {
    let (authenticator, connection) = (authenticator(), connection());
    bencher.with_inputs(heads(groups)).bench_local_refs(|head| {
        let outcome = authenticate(&authenticator, &connection, head);
        assert!(matches!(&outcome, Outcome::Admitted(admitted) if admitted.final_token.line.is_some()));
        outcome
    });
}

/// No credentials, and a challenge.
#[divan::bench]
fn challenge(bencher: Bencher<'_, '_>) {
    let (authenticator, connection, head) = (authenticator(), connection(), head());
    bencher.bench_local(|| {
        let outcome = authenticate(&authenticator, &connection, &head);
        assert!(matches!(&outcome, Outcome::Refused(refused) if refused.status.http == StatusCode::UNAUTHORIZED));
        outcome
    });
}

fn authenticate(authenticator: &Authenticator, connection: &Connection, head: &HeaderMap) -> Outcome {
    let outcome = pin!(authenticator.authenticate(connection, Version::HTTP_11, head));
    match outcome.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => panic!("Kerberos waits for nobody"),
    }
}

fn authenticator() -> Authenticator {
    let acceptor = Acceptor::new(AcceptorConfig {
        mechanisms: vec![Mechanism::Kerberos],
        krb5: Some(Service::new(mint::keytab(), ServicePolicy::default())),
        ntlm: None,
        binding: BindingPolicy::None,
    });
    let policy = Policy { persist_non_ntlm: false, ..Policy::default() };
    let ports = Ports {
        logon: Arc::new(Nobody),
        replay: Arc::new(MemoryReplayCache::new(Duration::from_secs(300), MemoryReplayCache::CAPACITY)),
        half_open: Arc::new(HalfOpen::new(1, Duration::from_secs(30))),
        attempts: Arc::new(iwa_http::Attempts::new(iwa_http::AttemptLimits::default())),
        system: Arc::new(Still),
        logon_timeout: Duration::from_secs(5),
    };
    Authenticator::new(policy, acceptor, ports)
}

fn connection() -> Connection {
    Connection::plain(SocketAddr::from(([192, 0, 2, 7], 40000)), SocketAddr::from(([192, 0, 2, 1], 80)))
}

/// Heads with one ticket and many authenticators.
fn heads(groups: u32) -> impl FnMut() -> HeaderMap {
    let pac = MintPac::Signed(PacContent::with_groups(groups));
    let mint = Mint { pac, ..Mint::new(NOW).mutual() };
    let mut entropy = Seeded(1);
    let ticket = mint.ticket(&mut entropy);
    move || {
        let token = in_spnego(&mint.framed(&mint.ap_req_with(&ticket, &mut entropy)));
        let value = HeaderValue::try_from(encode(AuthScheme::Negotiate, &token)).expect("base64 is ASCII");
        let mut head = head();
        head.insert(AUTHORIZATION, value);
        head
    }
}

fn head() -> HeaderMap {
    HeaderMap::from_iter([
        (HOST, HeaderValue::from_static(mint::HOST)),
        (USER_AGENT, HeaderValue::from_static("benchmark")),
    ])
}

fn in_spnego(token: &[u8]) -> Vec<u8> {
    let (mut list, mut out) = (Vec::new(), Vec::new());
    MechTypeList::write(&[MechType::MS_KRB5, MechType::KRB5, MechType::NTLMSSP], &mut list);
    NegTokenInit::new(MechTypeList::parse(&list).expect("it was just written"), Some(token)).write(&mut out);
    out
}

/// Time stands still, so that tokens made beforehand stay good.
struct Still;

impl System for Still {
    fn now(&self) -> UnixTime {
        NOW
    }

    fn random(&self, out: &mut [u8]) -> Result<(), EntropyError> {
        Os.random(out)
    }
}

/// There are no accounts.
struct Nobody;

impl Logon for Nobody {
    fn network<'a>(&'a self, _: &'a NetworkLogon) -> Answer<'a, Result<LogonInfo, LogonError>> {
        Box::pin(async { Err(LogonError::Refused(NtStatus::NO_SUCH_USER)) })
    }

    fn password<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
        _: &'a Secret<String>,
    ) -> Answer<'a, Result<PasswordVerified, LogonError>> {
        Box::pin(async { Err(LogonError::Refused(NtStatus::NO_SUCH_USER)) })
    }
}
