//! The acceptor: tokens of a client in, an [`Identity`] or a [`Reject`] out. RFC 2743 2.2.2 as consumed states.

use std::sync::Arc;

use crate::binding::{BindingPolicy, ChannelBindings};
use crate::env::{Env, UnixTime};
use crate::identity::{Identity, Mechanism};
use crate::ports::{LogonError, LogonInfo, NetworkLogon, ReplayKey, ReplayVerdict};
use crate::reject::{Internal, Reject};

/// The HTTP authentication scheme under which a token arrives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheme {
    /// `Negotiate`: SPNEGO, and what clients send in its place (raw NTLM, bare Kerberos).
    Negotiate,
    /// `NTLM`: raw NTLM only.
    Ntlm,
}

/// What an acceptor is built from.
#[derive(Debug)]
pub struct AcceptorConfig {
    /// The mechanisms that may be chosen, most preferred first.
    pub mechanisms: Vec<Mechanism>,
    /// Kerberos: keys and policy. `None` if there is no keytab.
    pub krb5: Option<crate::krb5::acceptor::Service>,
    /// NTLM: names and policy. `None` if there is nobody to ask.
    pub ntlm: Option<crate::ntlm::acceptor::Server>,
    /// Extended protection.
    pub binding: BindingPolicy,
}

/// Accepts clients: keys and policy, immutable and shared by all connections. Built once from a configuration, and
/// replaced whole on reload.
#[derive(Clone, Debug)]
pub struct Acceptor {
    config: Arc<AcceptorConfig>,
}

impl Acceptor {
    /// An acceptor with this configuration.
    #[must_use]
    pub fn new(config: AcceptorConfig) -> Self {
        Self { config: Arc::new(config) }
    }

    /// Begins a handshake on a connection with these channel bindings.
    #[must_use]
    pub fn accept(&self, scheme: Scheme, bindings: &ChannelBindings) -> Handshake {
        Handshake { acceptor: self.clone(), scheme, bindings: bindings.clone() }
    }

    /// The configuration it was built from.
    #[must_use]
    pub fn config(&self) -> &AcceptorConfig {
        &self.config
    }
}

/// A handshake that waits for the client's next token. It belongs to the connection on which it began.
#[derive(Debug)]
pub struct Handshake {
    acceptor: Acceptor,
    scheme: Scheme,
    bindings: ChannelBindings,
}

/// What a step leads to.
#[derive(Debug)]
pub enum Accept {
    /// The output is for the client (401), whose next token goes into this handshake.
    Continue(Handshake),
    /// Ask the replay cache.
    NeedReplayCheck(NeedReplayCheck),
    /// Ask whoever holds the accounts.
    NeedLogon(NeedLogon),
    /// Done. The output, if any, is the final token and goes out with the answer, whatever its status.
    Established(Established),
}

impl Handshake {
    /// Takes the client's token. What is for the client is appended to `out`, also when the step fails.
    ///
    /// # Errors
    /// A [`Reject`] with the reason; the handshake is over.
    pub fn step(self, token: &[u8], env: &mut Env<'_>, out: &mut Vec<u8>) -> Result<Accept, Reject> {
        let _ = (token, env, out, &self.acceptor, self.scheme, &self.bindings);
        Err(Internal::Invariant("not built yet").into())
    }
}

/// A Kerberos client whose authenticator must be held against the replay cache.
#[derive(Debug)]
pub struct NeedReplayCheck(());

impl NeedReplayCheck {
    /// What to look for.
    #[must_use]
    pub fn key(&self) -> ReplayKey {
        ReplayKey([0; 16])
    }

    /// Until when it must be remembered: after that the clock check refuses it anyway.
    #[must_use]
    pub fn expires(&self) -> UnixTime {
        UnixTime::default()
    }

    /// Goes on with the cache's verdict.
    ///
    /// # Errors
    /// [`Peer::Replay`](crate::reject::Peer::Replay), or
    /// [`Unavailable::ReplayCache`](crate::reject::Unavailable::ReplayCache) if the cache cannot tell.
    pub fn answer(self, verdict: ReplayVerdict, env: &mut Env<'_>, out: &mut Vec<u8>) -> Result<Accept, Reject> {
        let _ = (verdict, env, out);
        Err(Internal::Invariant("not built yet").into())
    }
}

/// An NTLM client whose response must be verified by whoever knows the password.
#[derive(Debug)]
pub struct NeedLogon(());

impl NeedLogon {
    /// What to ask.
    #[must_use]
    pub fn request(&self) -> &NetworkLogon {
        unreachable!()
    }

    /// Goes on with the authority's answer.
    ///
    /// # Errors
    /// The authority's refusal, or what the MIC and the bindings show.
    pub fn answer(
        self,
        answer: Result<LogonInfo, LogonError>,
        env: &mut Env<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Accept, Reject> {
        let _ = (answer, env, out);
        Err(Internal::Invariant("not built yet").into())
    }
}

/// A handshake that ended well.
#[derive(Debug)]
pub struct Established {
    /// Who the client is.
    pub identity: Identity,
    /// The ticket's end, where there is one: no session made from it may live longer.
    pub expires: Option<UnixTime>,
    /// Credentials that the client forwarded (Kerberos).
    pub delegated: Option<crate::krb5::acceptor::Delegated>,
    /// Something the operator should know although the client is in (a downgrade from Kerberos to NTLM).
    pub note: Option<&'static str>,
}
