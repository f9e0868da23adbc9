//! The server's side of Kerberos: AP-REQ in, AP-REP out. RFC 4120 3.2, RFC 4121 4.1.
//!
//! ```text
//!           token                     verdict of the replay cache
//! Service ----------> Pending --------------------------------------> Context
//!            accept      replay_key()            finish                  identity, sign, verify
//! ```
//!
//! The checks and their order are those of RFC 4120 3.2.3, in `acceptor/check.rs`; each failure has a
//! [`Reason`](crate::Reason) of its own. Nothing is read from the authenticator before the ticket was decrypted and is in
//! force, and nothing of the PAC before its signature was verified.

mod check;
mod delegated;
mod reply;

use core::time::Duration;

use super::client::Evidence;
use super::etype::{ChecksumKey, Etype, Key};
use super::keys::{Keys, ServiceNames};
use super::mic::{MicKey, Sender};
use super::pac::{Authorization, PacPolicy, PacVerified};
use super::replay::NotReplayed;
use super::usage;
use super::wrap::Wrap;
use crate::binding::{Binding, BindingChecked, BindingPolicy, ChannelBindings};
use crate::env::{Env, UnixTime};
use crate::identity::Identity;
use crate::ports::{ReplayKey, ReplayVerdict};
use crate::reject::Reject;

pub use self::delegated::Delegated;
use self::reply::Framing;

/// Kerberos as this server offers it: its keys and its policy. Immutable; a new keytab makes a new one.
#[derive(Debug)]
pub struct Service {
    keys: Keys,
    policy: ServicePolicy,
    /// Of the KDC, any of which may have signed.
    kdc_keys: Vec<ChecksumKey>,
}

/// What a service takes.
#[derive(Clone, Debug)]
pub struct ServicePolicy {
    /// How far the clocks of client, KDC and server may be apart: 300 s.
    pub skew: Duration,
    /// The encryption types of tickets, session keys and subkeys: all but RC4.
    pub etypes: Vec<Etype>,
    /// Whether a ticket must carry a PAC: yes.
    pub pac: PacPolicy,
    /// The names under which clients may ask for this server: those in the keytab.
    pub names: ServiceNames,
    /// The realms whose clients are let in: those of the keytab.
    pub realms: ClientRealms,
    /// What is done with tickets that are bound to addresses: nothing.
    pub addresses: AddressPolicy,
    /// Whether a client's ticket is handed out as [`Evidence`], so that a KDC can be asked for others in the client's name: no.
    pub evidence: bool,
    /// Believes the KDC of our realm in everything it says of clients of other realms, also when it does not say that it
    /// checked the realms on their way: as MS-KILE 3.4.5 has it, for forests of more than two domains.
    pub danger_transited_unchecked: bool,
}

impl Default for ServicePolicy {
    fn default() -> Self {
        Self {
            skew: Duration::from_secs(300),
            etypes: Etype::ALL.into_iter().filter(|etype| !etype.is_weak()).collect(),
            pac: PacPolicy::default(),
            names: ServiceNames::default(),
            realms: ClientRealms::default(),
            addresses: AddressPolicy::default(),
            evidence: false,
            danger_transited_unchecked: false,
        }
    }
}

/// The realms whose clients are let in. Realms are compared byte for byte, and never cut from a name: what is not let in is
/// refused.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum ClientRealms {
    /// The realms of the keytab.
    #[default]
    OfTheKeytab,
    /// These.
    Listed(Vec<String>),
    /// Every realm that our KDC trusts. Rules must then look at realm or domain, not at bare names.
    AnyTrusted,
}

/// What is done with a ticket that is bound to network addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AddressPolicy {
    /// They are not looked at, as in all implementations of GSS-API: behind NAT and proxies nobody knows the client's.
    #[default]
    Ignore,
    /// One of them must be the other end of the connection ([`ChannelBindings::with_peer`]).
    Match,
}

impl Service {
    /// A service with these keys.
    #[must_use]
    pub const fn new(keys: Keys, policy: ServicePolicy) -> Self {
        Self { keys, policy, kdc_keys: Vec::new() }
    }

    /// Lets the service verify the KDC's signature of a PAC too, which tells a silver ticket from a true one. Only a server
    /// that is the KDC's own machine has this key. Called more than once, each key is taken: a KDC whose key was changed
    /// signs with the new one, and tickets live on that it signed with the old one.
    #[must_use]
    pub fn with_kdc_key(mut self, krbtgt: &Key) -> Self {
        self.kdc_keys.push(krbtgt.checksum(usage::NON_KERBEROS_CHECKSUM));
        self
    }

    /// Its keys.
    #[must_use]
    pub const fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Whether the KDC's signatures are verified.
    #[must_use]
    pub const fn verifies_the_kdc(&self) -> bool {
        !self.kdc_keys.is_empty()
    }

    /// Its policy.
    #[must_use]
    pub const fn policy(&self) -> &ServicePolicy {
        &self.policy
    }

    /// Takes an AP-REQ, in GSS-API framing or bare. If it fails, a KRB-ERROR in the same form is appended to `out` where the
    /// client can do something about it.
    ///
    /// # Errors
    /// Whatever is wrong with it.
    pub fn accept(
        &self,
        token: &[u8],
        bindings: &ChannelBindings,
        policy: BindingPolicy,
        env: &mut Env<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Pending, Reject> {
        let (framing, ap_req) = Framing::read(token)?;
        self.check(&ap_req, framing, bindings, policy, env.now).map_err(|reason| {
            reply::krb_error(framing, &ap_req.ticket, &reason, env.now, out);
            Reject::from(reason)
        })
    }
}

/// A client who proved everything but that its authenticator is new.
#[derive(Debug)]
pub struct Pending {
    replay_key: ReplayKey,
    /// The authenticator's time.
    made: UnixTime,
    skew: Duration,
    ticket_end: UnixTime,
    authorization: Authorization,
    bindings: BindingChecked,
    pac: PacVerified,
    session: Key,
    subkey: Option<Key>,
    initiator_sequence: u32,
    mutual: bool,
    framing: Framing,
    delegated: Option<Delegated>,
    evidence: Option<Box<Evidence>>,
}

impl Pending {
    /// What the replay cache is to be asked for.
    #[must_use]
    pub const fn replay_key(&self) -> ReplayKey {
        self.replay_key
    }

    /// Until when it must be remembered: after that the clock check refuses the authenticator.
    #[must_use]
    pub fn expires(&self) -> UnixTime {
        self.made.plus(self.skew)
    }

    /// Goes on with the replay cache's verdict. Appends the AP-REP, if the client wants one.
    ///
    /// # Errors
    /// What the verdict says, or no randomness for the AP-REP.
    pub fn finish(self, verdict: ReplayVerdict, env: &mut Env<'_>, out: &mut Vec<u8>) -> Result<Context, Reject> {
        let not_replayed = NotReplayed::from_verdict(verdict)?;
        let (mic, sequence) = if self.mutual {
            let (subkey, sequence) = self.ap_rep(env, out)?;
            (MicKey::new(subkey, true), sequence)
        } else {
            // Without an AP-REP the acceptor counts from the initiator's number (RFC 4121 4.2.2).
            (MicKey::new(self.subkey.unwrap_or(self.session), false), self.initiator_sequence)
        };
        let Authorization { account, groups } = self.authorization;
        Ok(Context {
            binding: self.bindings.binding(),
            identity: Identity::from_kerberos(account, groups, not_replayed, self.bindings, self.pac),
            expires: self.ticket_end,
            delegated: self.delegated,
            evidence: self.evidence,
            mic,
            sequence: u64::from(sequence),
            initiator_sequence: u64::from(self.initiator_sequence),
        })
    }
}

/// An established context.
#[derive(Debug)]
pub struct Context {
    /// Who the client is.
    pub identity: Identity,
    /// The ticket's end: no session made from it may live longer.
    pub expires: UnixTime,
    /// What the client forwarded.
    pub delegated: Option<Delegated>,
    /// The client's ticket, if the policy wants it.
    pub evidence: Option<Box<Evidence>>,
    /// How the client is tied to its TLS connection.
    pub binding: Binding,
    mic: MicKey,
    sequence: u64,
    /// The number that the initiator's first token bears.
    initiator_sequence: u64,
}

impl Context {
    /// Goes on with Wrap tokens. `None` for RC4.
    #[must_use]
    pub fn wrap(&self) -> Option<Wrap> {
        let (key, acceptor_subkey) = self.mic.parts();
        Wrap::new(key, acceptor_subkey, Sender::Acceptor, self.sequence, self.initiator_sequence)
    }

    /// Our MIC token of `message`.
    #[must_use]
    pub fn sign(&mut self, message: &[u8]) -> Vec<u8> {
        let mut token = Vec::new();
        self.mic.sign(Sender::Acceptor, self.sequence, message, &mut token);
        self.sequence = self.sequence.wrapping_add(1);
        token
    }

    /// Whether `token` is the client's MIC of `message`.
    #[must_use]
    pub fn verify(&self, message: &[u8], token: &[u8]) -> bool {
        self.mic.verify(Sender::Initiator, message, token).is_ok()
    }
}

impl crate::spnego::mic::Session for Context {
    fn sign(&mut self, message: &[u8]) -> Result<Vec<u8>, Reject> {
        Ok(Self::sign(self, message))
    }

    fn verify(&mut self, message: &[u8], mic: &[u8]) -> bool {
        Self::verify(self, message, mic)
    }
}
