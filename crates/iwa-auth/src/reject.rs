//! Every way to fail, grouped by who is to blame. `Reason` alone carries what the operator must read.

use core::fmt;

use iwa_wire::ParseError;
use iwa_wire::explain::printable;

use crate::env::UnixTime;
use crate::identity::Mechanism;
use crate::nt_status::NtStatus;

/// A step that failed. The caller's output buffer may hold a token for the client all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Why.
    pub reason: Reason,
}

impl<R: Into<Reason>> From<R> for Reject {
    fn from(reason: R) -> Self {
        Self { reason: reason.into() }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl core::error::Error for Reject {}

/// Why an authentication failed. `Display` is one line for the operator: wanted, found, why it matters, what to do. None of
/// it is for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The bytes are not what they claim to be.
    Malformed(Malformed),
    /// The bytes are well formed, and what they prove is wrong.
    Peer(Peer),
    /// The configuration forbids what the client brings.
    Policy(Policy),
    /// The authority for the account refused.
    Logon(NtStatus),
    /// Something this side needs is not there now.
    Unavailable(Unavailable),
    /// This side failed by its own fault.
    Internal(Internal),
}

/// Bytes that are not what they claim to be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Malformed {
    /// A token that breaks its format.
    Token(ParseError),
    /// The `Authorization` header itself.
    Header(&'static str),
    /// A token of no format that is known under this scheme.
    Unrecognized {
        /// Its first bytes, in hexadecimal.
        starts: String,
    },
    /// A message that has no place at this point of the handshake.
    OutOfSequence {
        /// The message that could come here.
        wanted: &'static str,
        /// The message that came.
        found: &'static str,
    },
}

/// Well-formed bytes that prove something wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Peer {
    /// No key in the keytab fits the ticket.
    NoKey {
        /// `HTTP/web.example.test@EXAMPLE.TEST kvno 5 aes256-cts-hmac-sha1-96`.
        wanted: String,
        /// What the keytab has for that service, or what services it has at all.
        found: String,
    },
    /// A key of the right name, kvno and etype does not decrypt the ticket: same number, other password.
    TicketIntegrity {
        /// The key that was tried.
        key: String,
    },
    /// The authenticator does not decrypt under the ticket's session key.
    AuthenticatorIntegrity,
    /// The authenticator names another client than the ticket.
    ClientMismatch {
        /// The client of the ticket.
        ticket: String,
        /// The client of the authenticator.
        authenticator: String,
    },
    /// The clocks differ by more than is allowed.
    ClockSkew {
        /// Client's clock minus ours, in seconds.
        seconds: i64,
        /// The allowed difference, in seconds.
        allowed: u64,
    },
    /// The ticket is over.
    TicketExpired {
        /// When it ended.
        end: UnixTime,
        /// Our time.
        now: UnixTime,
    },
    /// The ticket has not begun.
    TicketNotYetValid {
        /// When it begins.
        start: UnixTime,
        /// Our time.
        now: UnixTime,
    },
    /// The ticket is postdated and was never validated (the `invalid` flag).
    TicketInvalid,
    /// The ticket is for another address.
    Address,
    /// The ticket is for a service this server does not answer for.
    WrongService {
        /// What this server answers for.
        wanted: String,
        /// What the ticket is for.
        found: String,
    },
    /// The ticket's client came through realms that the policy does not trust, or the path could not be checked.
    Transited {
        /// The realms on the way.
        path: String,
    },
    /// The authenticator's checksum (RFC 4121 4.1.1) is missing, of another type, or too short.
    GssChecksum {
        /// Which rule it breaks.
        what: &'static str,
    },
    /// This authenticator was seen before.
    Replay,
    /// Extended protection demands channel bindings, the client sent none.
    BindingMissing,
    /// The client's channel bindings are of another TLS connection.
    BindingMismatch,
    /// The PAC does not hold.
    Pac(PacProblem),
    /// The client had to send a `mechListMIC` and did not.
    MechListMicMissing,
    /// The `mechListMIC` is wrong: somebody changed the list of mechanisms.
    MechListMic,
    /// The NTLM MIC is missing although the client announced it, or had to send one.
    NtlmMicMissing,
    /// The NTLM MIC is wrong: somebody changed the messages.
    NtlmMic,
    /// The client meant another server (`MsvAvTargetName`).
    TargetName {
        /// The names this server answers to.
        wanted: String,
        /// The name the client meant.
        found: String,
    },
    /// The response was computed for another challenge or another target (its target info is not ours).
    TargetInfo,
    /// The response's timestamp is too far from our clock.
    NtlmTimestamp {
        /// Client's clock minus ours, in seconds.
        seconds: i64,
        /// The allowed difference, in seconds.
        allowed: u64,
    },
    /// The challenge was given too long ago.
    ChallengeExpired,
    /// A KDC refused (initiator only).
    KdcError {
        /// Its realm.
        realm: String,
        /// The code (RFC 4120 7.5.9).
        code: i32,
        /// Its own words, if it has any.
        text: String,
    },
    /// A KDC's answer that does not hold (initiator only).
    KdcReply {
        /// Why.
        what: String,
    },
    /// The peer rejected our token.
    Rejected {
        /// What it said, if it said anything.
        said: String,
    },
    /// The server answered success without proving that it is the server (initiator only).
    NotMutual,
}

/// What is wrong with a PAC. MS-PAC.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PacProblem {
    /// The policy demands a PAC, the ticket has none.
    Absent,
    /// It does not parse.
    Malformed(ParseError),
    /// A buffer that must be there is not.
    BufferMissing(&'static str),
    /// A buffer that may stand once stands twice.
    BufferTwice(&'static str),
    /// The server signature does not verify.
    ServerSignature,
    /// A KDC signature, checked because its key is known, does not verify.
    KdcSignature,
    /// The server signature's type is weaker than the ticket's encryption or not a keyed one.
    SignatureType {
        /// The checksum type that is there.
        found: i32,
        /// The etype of the service key.
        etype: i32,
    },
    /// `PAC_CLIENT_INFO` names another client or another authentication time than the ticket.
    ClientInfo {
        /// The ticket's client.
        ticket: String,
        /// The PAC's client.
        pac: String,
    },
    /// `PAC_REQUESTOR` or `UPN_DNS_INFO` names another SID than the logon information.
    Sid,
}

/// What the configuration forbids.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// The mechanism is off here.
    MechanismOff(Mechanism),
    /// The client offers nothing that we take.
    NoCommonMechanism {
        /// What it offered.
        offered: String,
    },
    /// An encryption type that is off.
    EtypeOff {
        /// Its number.
        etype: i32,
    },
    /// NTLMv1.
    NtlmV1,
    /// LM or LMv2 alone, without an NT response.
    NtlmLm,
    /// An NTLM client that announces no MIC, where the configuration requires one.
    NtlmMicRequired,
    /// An NTLM client that gives no user.
    NtlmAnonymous,
    /// An NTLM client on the same machine that wants to skip the proof (`NTLMSSP_NEGOTIATE_LOCAL_CALL`).
    NtlmLocalCall,
    /// The client offers neither Unicode nor what NTLMv2 needs.
    NtlmFlags {
        /// What is missing.
        what: &'static str,
    },
    /// A user-to-user ticket (RFC 4120 3.7), which needs a session key this server does not have.
    UserToUser,
    /// An anonymous Kerberos client (RFC 8062): it proved that it is nobody.
    KerberosAnonymous,
    /// A realm that the configuration does not name.
    Realm {
        /// The client's realm.
        found: String,
    },
    /// The scheme is not offered here.
    SchemeOff {
        /// As it stands in the header.
        scheme: &'static str,
    },
    /// A connection-based scheme on a connection that several users share.
    NotOnThisConnection {
        /// Why the connection does not serve.
        why: &'static str,
    },
    /// Basic without TLS, from another machine.
    BasicInClear,
    /// So many wrong passwords that no more are passed on.
    TooManyPasswords {
        /// Whose: `this account`, `this client`.
        of: &'static str,
    },
    /// The host is not on the list of hosts that may be given credentials (initiator only).
    HostNotAllowed {
        /// The host.
        host: String,
    },
    /// There is no credential for any mechanism that the server offers (initiator only).
    NoCredential {
        /// What the server offers and why nothing fits.
        why: String,
    },
    /// This user must not, or cannot, be acted for (initiator only).
    Delegation {
        /// Who, and what forbids it.
        why: String,
    },
}

/// What is not there now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unavailable {
    /// Whoever holds the accounts does not answer.
    Accounts(String),
    /// The replay cache does not answer or is full.
    ReplayCache(&'static str),
    /// Too many handshakes are open.
    TooManyHandshakes,
    /// No KDC answers (initiator only).
    Kdc(String),
}

/// Our own faults.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Internal {
    /// The system gave no randomness.
    Entropy,
    /// A request's handler panicked.
    Panic,
    /// An invariant did not hold.
    Invariant(&'static str),
}

impl From<Malformed> for Reason {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl From<ParseError> for Reason {
    fn from(error: ParseError) -> Self {
        Self::Malformed(Malformed::Token(error))
    }
}

impl From<Peer> for Reason {
    fn from(peer: Peer) -> Self {
        Self::Peer(peer)
    }
}

impl From<PacProblem> for Reason {
    fn from(problem: PacProblem) -> Self {
        Self::Peer(Peer::Pac(problem))
    }
}

impl From<Policy> for Reason {
    fn from(policy: Policy) -> Self {
        Self::Policy(policy)
    }
}

impl From<NtStatus> for Reason {
    fn from(status: NtStatus) -> Self {
        Self::Logon(status)
    }
}

impl From<Unavailable> for Reason {
    fn from(unavailable: Unavailable) -> Self {
        Self::Unavailable(unavailable)
    }
}

impl From<Internal> for Reason {
    fn from(internal: Internal) -> Self {
        Self::Internal(internal)
    }
}

impl From<crate::env::EntropyError> for Reason {
    fn from(_: crate::env::EntropyError) -> Self {
        Self::Internal(Internal::Entropy)
    }
}

impl Reason {
    /// A stable name for logs and metrics: `krb5.no-key`, `ntlm.mic`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(malformed) => match malformed {
                Malformed::Token(_) => "malformed.token",
                Malformed::Header(_) => "malformed.header",
                Malformed::Unrecognized { .. } => "malformed.unrecognized",
                Malformed::OutOfSequence { .. } => "malformed.out-of-sequence",
            },
            Self::Peer(peer) => match peer {
                Peer::NoKey { .. } => "krb5.no-key",
                Peer::TicketIntegrity { .. } => "krb5.ticket-integrity",
                Peer::AuthenticatorIntegrity => "krb5.authenticator-integrity",
                Peer::ClientMismatch { .. } => "krb5.client-mismatch",
                Peer::ClockSkew { .. } => "krb5.clock-skew",
                Peer::TicketExpired { .. } => "krb5.ticket-expired",
                Peer::TicketNotYetValid { .. } => "krb5.ticket-not-yet-valid",
                Peer::TicketInvalid => "krb5.ticket-invalid",
                Peer::Address => "krb5.address",
                Peer::WrongService { .. } => "krb5.wrong-service",
                Peer::Transited { .. } => "krb5.transited",
                Peer::GssChecksum { .. } => "krb5.gss-checksum",
                Peer::Replay => "krb5.replay",
                Peer::BindingMissing => "binding.missing",
                Peer::BindingMismatch => "binding.mismatch",
                Peer::Pac(problem) => match problem {
                    PacProblem::Absent => "pac.absent",
                    PacProblem::Malformed(_) => "pac.malformed",
                    PacProblem::BufferMissing(_) => "pac.buffer-missing",
                    PacProblem::BufferTwice(_) => "pac.buffer-twice",
                    PacProblem::ServerSignature => "pac.server-signature",
                    PacProblem::KdcSignature => "pac.kdc-signature",
                    PacProblem::SignatureType { .. } => "pac.signature-type",
                    PacProblem::ClientInfo { .. } => "pac.client-info",
                    PacProblem::Sid => "pac.sid",
                },
                Peer::MechListMicMissing => "spnego.mic-missing",
                Peer::MechListMic => "spnego.mic",
                Peer::NtlmMicMissing => "ntlm.mic-missing",
                Peer::NtlmMic => "ntlm.mic",
                Peer::TargetName { .. } => "ntlm.target-name",
                Peer::TargetInfo => "ntlm.target-info",
                Peer::NtlmTimestamp { .. } => "ntlm.timestamp",
                Peer::ChallengeExpired => "ntlm.challenge-expired",
                Peer::KdcError { .. } => "krb5.kdc-error",
                Peer::KdcReply { .. } => "krb5.kdc-reply",
                Peer::Rejected { .. } => "peer.rejected",
                Peer::NotMutual => "peer.not-mutual",
            },
            Self::Policy(policy) => match policy {
                Policy::MechanismOff(_) => "policy.mechanism-off",
                Policy::NoCommonMechanism { .. } => "policy.no-common-mechanism",
                Policy::EtypeOff { .. } => "policy.etype-off",
                Policy::NtlmV1 => "policy.ntlmv1",
                Policy::NtlmLm => "policy.ntlm-lm",
                Policy::NtlmMicRequired => "policy.ntlm-mic-required",
                Policy::NtlmAnonymous => "policy.ntlm-anonymous",
                Policy::NtlmLocalCall => "policy.ntlm-local-call",
                Policy::NtlmFlags { .. } => "policy.ntlm-flags",
                Policy::UserToUser => "policy.user-to-user",
                Policy::KerberosAnonymous => "policy.kerberos-anonymous",
                Policy::Realm { .. } => "policy.realm",
                Policy::SchemeOff { .. } => "policy.scheme-off",
                Policy::NotOnThisConnection { .. } => "policy.not-on-this-connection",
                Policy::BasicInClear => "policy.basic-in-clear",
                Policy::TooManyPasswords { .. } => "policy.too-many-passwords",
                Policy::HostNotAllowed { .. } => "policy.host-not-allowed",
                Policy::NoCredential { .. } => "policy.no-credential",
                Policy::Delegation { .. } => "policy.delegation",
            },
            Self::Logon(_) => "logon",
            Self::Unavailable(unavailable) => match unavailable {
                Unavailable::Accounts(_) => "unavailable.accounts",
                Unavailable::ReplayCache(_) => "unavailable.replay-cache",
                Unavailable::TooManyHandshakes => "unavailable.handshakes",
                Unavailable::Kdc(_) => "unavailable.kdc",
            },
            Self::Internal(internal) => match internal {
                Internal::Entropy => "internal.entropy",
                Internal::Panic => "internal.panic",
                Internal::Invariant(_) => "internal.invariant",
            },
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(malformed) => malformed.fmt(f),
            Self::Peer(peer) => peer.fmt(f),
            Self::Policy(policy) => policy.fmt(f),
            Self::Logon(status) => write!(f, "the logon was refused: {status}"),
            Self::Unavailable(unavailable) => unavailable.fmt(f),
            Self::Internal(internal) => internal.fmt(f),
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(error) => {
                write!(f, "the token is malformed: {error}; `iwa explain` shows how far it can be read")
            }
            Self::Header(what) => write!(f, "the Authorization header is malformed: {what}"),
            Self::Unrecognized { starts } => write!(
                f,
                "the token is neither SPNEGO nor Kerberos nor NTLM: it starts with {starts}; a proxy may have changed the header"
            ),
            Self::OutOfSequence { wanted, found } => write!(
                f,
                "wanted {wanted}, found {found}: the legs of the handshake came out of order or over different connections; \
                 a proxy between client and server that shares connections does that"
            ),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey { wanted, found } => write!(
                f,
                "the ticket is for {}; the keytab has {}: renew the keytab, or let clients drop old tickets (klist purge)",
                printable(wanted),
                printable(found)
            ),
            Self::TicketIntegrity { key } => write!(
                f,
                "the ticket names {}, and that key of the keytab does not decrypt it: the account's password changed without \
                 its number, or two accounts carry the same SPN (setspn -X); make the keytab anew",
                printable(key)
            ),
            Self::AuthenticatorIntegrity => f.write_str(
                "the authenticator does not decrypt under the session key of its ticket: the token was damaged or forged",
            ),
            Self::ClientMismatch { ticket, authenticator } => write!(
                f,
                "the ticket is of {}, its authenticator is of {}: forged",
                printable(ticket),
                printable(authenticator)
            ),
            Self::ClockSkew { seconds, allowed } => write!(
                f,
                "the client's clock is {} seconds {} ours, {allowed} are allowed: set both clocks by NTP",
                seconds.unsigned_abs(),
                if *seconds < 0 { "behind" } else { "ahead of" }
            ),
            Self::TicketExpired { end, now } => write!(
                f,
                "the ticket ended at {end}, now it is {now}: the client should get a new one; if clients are many, compare \
                 this server's clock with the KDC's"
            ),
            Self::TicketNotYetValid { start, now } => {
                write!(f, "the ticket begins at {start}, now it is {now}: compare this server's clock with the KDC's")
            }
            Self::TicketInvalid => {
                f.write_str("the ticket is marked invalid: postdated, and its owner never had the KDC validate it")
            }
            Self::Address => f.write_str(
                "the ticket is bound to other addresses than the client's: a NAT or proxy stands between, or it was stolen",
            ),
            Self::WrongService { wanted, found } => write!(
                f,
                "the ticket is for {}, this server answers for {}: the client uses another name for this host",
                printable(found),
                printable(wanted)
            ),
            Self::Transited { path } => {
                write!(f, "the client came through realms that were not checked: {}", printable(path))
            }
            Self::GssChecksum { what } => write!(f, "the authenticator's GSS checksum (0x8003) is wrong: {what}"),
            Self::Replay => f.write_str(
                "this authenticator was used before: a replay, or a proxy or application that sends a request twice",
            ),
            Self::BindingMissing => f.write_str(
                "extended protection is `require`, the client sent no channel bindings: use a client that does, or `allow`",
            ),
            Self::BindingMismatch => f.write_str(
                "the client's channel bindings are those of another TLS connection: a proxy ends TLS in front (name its \
                 certificate here), or somebody relays",
            ),
            Self::Pac(problem) => problem.fmt(f),
            Self::MechListMicMissing => f.write_str("the client sent no mechListMIC where RFC 4178 demands one"),
            Self::MechListMic => f.write_str("the mechListMIC is wrong: somebody changed the client's list of mechanisms"),
            Self::NtlmMicMissing => f.write_str("the NTLM MIC is missing, and the client announced one: it was stripped on the way"),
            Self::NtlmMic => f.write_str("the NTLM MIC is wrong: the messages were changed on the way"),
            Self::TargetName { wanted, found } => write!(
                f,
                "the NTLM client meant {}, this server is {}: relayed, or the client uses another name for this host",
                printable(found),
                printable(wanted)
            ),
            Self::TargetInfo => f.write_str("the NTLM response was made for another challenge than ours: relayed or replayed"),
            Self::NtlmTimestamp { seconds, allowed } => write!(
                f,
                "the NTLM response's time is {} seconds {} ours, {allowed} are allowed: set both clocks by NTP",
                seconds.unsigned_abs(),
                if *seconds < 0 { "behind" } else { "ahead of" }
            ),
            Self::ChallengeExpired => f.write_str("the NTLM response came too long after its challenge; the client may begin anew"),
            Self::KdcError { realm, code, text } => {
                write!(f, "the KDC of {} refuses: ", printable(realm))?;
                match iwa_wire::krb5::error::code::name(*code) {
                    Some((name, meaning)) => write!(f, "{name}, {meaning}")?,
                    None => write!(f, "error {code}")?,
                }
                if text.is_empty() { Ok(()) } else { write!(f, " ({})", printable(text)) }
            }
            Self::KdcReply { what } => write!(f, "the KDC's answer does not hold: {}", printable(what)),
            Self::Rejected { said } if said.is_empty() => f.write_str("the other side rejected our token and did not say why"),
            Self::Rejected { said } => write!(f, "the other side rejected our token: {}", printable(said)),
            Self::NotMutual => f.write_str(
                "the server says success and proves nothing: its final token is missing or wrong; it may not be who it claims",
            ),
        }
    }
}

impl fmt::Display for PacProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str(
                "the ticket carries no PAC and the policy requires one: the KDC is not Active Directory, or the service \
                 account has NO_AUTH_DATA_REQUIRED; set `pac = \"optional\"` for MIT realms",
            ),
            Self::Malformed(error) => write!(f, "the PAC is malformed: {error}"),
            Self::BufferMissing(name) => write!(f, "the PAC has no {name}"),
            Self::BufferTwice(name) => write!(f, "the PAC has more than one {name}: forged"),
            Self::ServerSignature => f.write_str("the PAC's server signature is wrong: its contents were changed"),
            Self::KdcSignature => f.write_str("the PAC's KDC signature is wrong: not made by the KDC (a silver ticket)"),
            Self::SignatureType { found, etype } => write!(
                f,
                "the PAC's server signature is of type {found}, which does not belong to a service key of etype {etype}: downgraded"
            ),
            Self::ClientInfo { ticket, pac } => write!(
                f,
                "the ticket is of {}, its PAC is of {}: forged",
                printable(ticket),
                printable(pac)
            ),
            Self::Sid => f.write_str("the PAC names different SIDs for its client: forged"),
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MechanismOff(Mechanism::Ntlm) => f.write_str(
                "this is NTLM, and only Kerberos is allowed here: the browser found no SPN for the host, has no ticket, does \
                 not trust the site, or was called by IP address; register HTTP/host for the service account",
            ),
            Self::MechanismOff(mechanism) => write!(f, "the client brings {mechanism}, which is off here"),
            Self::NoCommonMechanism { offered } => {
                write!(f, "the client offers {} and nothing that is on here", printable(offered))
            }
            Self::EtypeOff { etype: 23 } => f.write_str(
                "the ticket is encrypted with RC4 (etype 23), which is off: give the service account AES keys \
                 (msDS-SupportedEncryptionTypes 0x18), change its password once, and make the keytab anew",
            ),
            Self::EtypeOff { etype } => write!(f, "the ticket is encrypted with etype {etype}, which is off"),
            Self::NtlmV1 => f.write_str("the client answers with NTLMv1, which is broken: set its LmCompatibilityLevel to 3 or more"),
            Self::NtlmLm => f.write_str(
                "the client answers with LM or LMv2 alone, which are broken: set its LmCompatibilityLevel to 3 or more",
            ),
            Self::NtlmMicRequired => f.write_str(
                "the NTLM client sends no MIC, and the configuration requires one: Windows and Chromium send it, curl and \
                 Firefox do not",
            ),
            Self::NtlmAnonymous => f.write_str("the NTLM client names no user or sends no proof (anonymous)"),
            Self::NtlmLocalCall => f.write_str(
                "the NTLM client claims to be on this machine and to need no proof (LOCAL_CALL): never believed here",
            ),
            Self::NtlmFlags { what } => write!(f, "the NTLM client lacks {what}"),
            Self::UserToUser => f.write_str("the ticket is user-to-user, which a service with a keytab does not take"),
            Self::KerberosAnonymous => f.write_str("the Kerberos client is anonymous: its KDC vouches for nobody"),
            Self::Realm { found } => write!(f, "the client is of realm {}, which the configuration does not name", printable(found)),
            Self::SchemeOff { scheme } => write!(f, "the client uses the scheme {scheme}, which is not offered here"),
            Self::NotOnThisConnection { why } => {
                write!(f, "this scheme authenticates a connection, and this connection does not serve: {why}")
            }
            Self::BasicInClear => f.write_str("Basic sends the password in clear: it is taken over TLS or from this machine only"),
            Self::TooManyPasswords { of } => write!(
                f,
                "too many wrong passwords of {of}: no more are passed on for a while, so that nobody is locked out through this \
                 server (limits.passwords)"
            ),
            Self::HostNotAllowed { host } => write!(
                f,
                "{} is not on the list of hosts that may be given credentials",
                printable(host)
            ),
            Self::NoCredential { why } => write!(f, "no credential fits what the server offers: {}", printable(why)),
            Self::Delegation { why } => write!(f, "there is no delegation: {}", printable(why)),
        }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accounts(why) => write!(f, "the accounts cannot be asked: {}", printable(why)),
            Self::ReplayCache(why) => write!(f, "the replay cache cannot be asked: {why}"),
            Self::TooManyHandshakes => {
                f.write_str("too many handshakes are open: somebody floods, or the limit is too low")
            }
            Self::Kdc(why) => write!(f, "no KDC answers: {}", printable(why)),
        }
    }
}

impl fmt::Display for Internal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entropy => f.write_str("the system gave no randomness"),
            Self::Panic => f.write_str("the handler of this request panicked: please report it"),
            Self::Invariant(what) => write!(f, "an invariant did not hold: {what}: please report it"),
        }
    }
}
