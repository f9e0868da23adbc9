//! The Kerberos acceptor against minted tokens: what is let in, and each way in which a client is refused.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod accepted;
mod authenticator;
mod checksum;
mod inside;
mod names;
mod pac;
mod replay;
mod ticket;
mod wire;

use std::net::IpAddr;
use std::time::Duration;

use iwa_auth::krb5::acceptor::{AddressPolicy, ClientRealms, Context, Pending, Service, ServicePolicy};
use iwa_auth::krb5::etype::{Etype, Key};
use iwa_auth::krb5::keys::{Keys, ServiceNames};
use iwa_auth::krb5::mic::{MicKey, Sender};
use iwa_auth::krb5::pac::PacPolicy;
use iwa_auth::krb5::replay::MemoryReplayCache;
use iwa_auth::krb5::usage;
use iwa_auth::ports::{ReplayCache, ReplayVerdict};
use iwa_auth::reject::{Internal, Malformed, PacProblem, Peer, Policy, Unavailable};
use iwa_auth::{BindingPolicy, ChannelBindings, Env, Mechanism, Reason, UnixTime};
use iwa_testkit::mint::{self, Mint, MintChecksum, MintPac, PacContent, REALM};
use iwa_testkit::pair::{Exhausted, NOW, Seeded};
use iwa_wire::Sid;
use iwa_wire::gss::MechType;
use iwa_wire::krb5::ap::ap_options;
use iwa_wire::krb5::checksum::{GSS_CHECKSUM, gss_flags};
use iwa_wire::krb5::error::code;
use iwa_wire::krb5::token::{KrbToken, TokenId};
use iwa_wire::krb5::{ApRep, ApReq, EncApRepPart, KrbError, Principal, TicketFlags};

/// A service, its end of the channel, and what came out of the last step.
struct End {
    service: Service,
    bindings: ChannelBindings,
    policy: BindingPolicy,
    now: UnixTime,
    out: Vec<u8>,
}

impl End {
    fn new() -> Self {
        Self::with(ServicePolicy::default())
    }

    fn with(policy: ServicePolicy) -> Self {
        Self {
            service: Service::new(mint::keytab(), policy),
            bindings: ChannelBindings::none(),
            policy: BindingPolicy::None,
            now: NOW,
            out: Vec::new(),
        }
    }

    fn tls(policy: BindingPolicy) -> Self {
        Self { bindings: ChannelBindings::tls_server_end_point(&[7; 32]), policy, ..Self::new() }
    }

    fn pending(&mut self, token: &[u8]) -> Result<Pending, Reason> {
        self.out.clear();
        let mut entropy = Seeded(2);
        let mut env = Env { now: self.now, entropy: &mut entropy };
        let result = self.service.accept(token, &self.bindings, self.policy, &mut env, &mut self.out);
        result.map_err(|reject| reject.reason)
    }

    fn take(&mut self, token: &[u8]) -> Result<Context, Reason> {
        let pending = self.pending(token)?;
        let mut entropy = Seeded(3);
        let mut env = Env { now: self.now, entropy: &mut entropy };
        pending.finish(ReplayVerdict::Fresh, &mut env, &mut self.out).map_err(|reject| reject.reason)
    }

    fn accept(&mut self, mint: &Mint) -> Result<Context, Reason> {
        self.take(&mint.token(&mut Seeded(1)))
    }

    /// The reason, and the code of the KRB-ERROR, if there is one.
    fn refuse(&mut self, mint: &Mint) -> (Reason, Option<i32>) {
        let reason = self.accept(mint).map(|context| context.identity).expect_err("it must be refused");
        (reason, self.error_code())
    }

    fn error_code(&self) -> Option<i32> {
        if self.out.is_empty() {
            return None;
        }
        let token = KrbToken::parse(&self.out, 0).unwrap();
        assert_eq!(token.id, TokenId::Error);
        let error = KrbError::parse(token.message).unwrap();
        assert_eq!((error.stime.0, error.susec), (self.now.secs(), self.now.subsec_micros()));
        assert!(error.e_text.is_none() && error.e_data.is_none() && error.cname.is_none());
        Some(error.error_code)
    }
}

fn good() -> Mint {
    Mint::new(NOW)
}

fn refused(mint: &Mint) -> (Reason, Option<i32>) {
    End::new().refuse(mint)
}

fn later(seconds: i64) -> UnixTime {
    UnixTime::from_secs(NOW.secs() + seconds)
}

fn malformed(reason: &Reason, format: &str) -> bool {
    matches!(reason, Reason::Malformed(Malformed::Token(error)) if error.format == format)
}
