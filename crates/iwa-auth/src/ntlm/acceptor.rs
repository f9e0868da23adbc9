//! The server's side of NTLM: a challenge out, a response in, and every check but the proof itself, which whoever holds the
//! accounts makes. MS-NLMP 3.2.5.
//!
//! ```text
//! Server --challenge()--> Challenged --authenticate()--> Pending --answer()--> Context
//! ```
//!
//! Each state is consumed by the next, so a challenge is answered once, and on the connection whose handshake holds it.
//!
//! What the client's response covers by its proof: our challenge, the time, and the AV pairs, in which it repeats what we said of
//! ourselves. An attacker between the ends may change everything else unless there is a MIC, and whether there is one is
//! said inside the proof.

use core::fmt;
use core::time::Duration;

use iwa_wire::ntlm::{
    Authenticate, AvFlags, AvId, AvPairs, Challenge, Flags, MIC_OFFSET, MessageType, Negotiate, NtResponse,
    Ntlmv2Response, Text, Version, utf16le,
};
use iwa_wire::{ErrorKind, ParseError};
use subtle::ConstantTimeEq as _;

use super::crypto::{self, Sender};
use super::session::Session;
use crate::binding::{Binding, BindingChecked, BindingPolicy, ChannelBindings};
use crate::env::{Env, UnixTime};
use crate::identity::Identity;
use crate::ports::{LogonError, LogonInfo, NetworkLogon};
use crate::reject::{Internal, Malformed, Peer, Policy, Reason, Reject, Unavailable};

/// The authority knows this user by this response. Made only where its answer is taken.
#[derive(Debug)]
pub struct LogonVerified(());

/// The MIC was verified, or the client sent none and did not have to. Made only where that is decided.
#[derive(Debug)]
pub struct MicVerified(());

/// What a [`Server`] is made from. [`ServerConfig::standalone`] has the defaults.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// NetBIOS name of this machine.
    pub nb_computer: String,
    /// NetBIOS name of its domain; of a machine that is in none, its own name.
    pub nb_domain: String,
    /// DNS name of this machine, if it has one.
    pub dns_computer: Option<String>,
    /// DNS name of its domain, if it is in one.
    pub dns_domain: Option<String>,
    /// DNS name of its forest, if it is in one.
    pub dns_tree: Option<String>,
    /// The names under which clients may have meant this server (`HTTP/web.example.test`, or only the host; a port only if
    /// it must match). Empty: a client's target name is not looked at, as Windows does without extended protection.
    pub target_names: Vec<String>,
    /// How long a challenge may be answered. Windows has no limit of its own: a challenge lives as long as its connection.
    pub challenge_lifetime: Duration,
    /// How far the client's clock may be from ours. Windows lets a response live 36 hours.
    pub max_skew: Duration,
    /// Refuse clients that announce no MIC. curl, Firefox and Java are such clients.
    pub require_mic: bool,
}

impl ServerConfig {
    /// A machine of this NetBIOS name in no domain: challenges live a minute, clocks may differ by 36 hours, target names
    /// are not looked at, and a MIC is demanded only of clients that announce one.
    #[must_use]
    pub fn standalone(nb_computer: &str) -> Self {
        Self {
            nb_computer: nb_computer.to_owned(),
            nb_domain: nb_computer.to_owned(),
            dns_computer: None,
            dns_domain: None,
            dns_tree: None,
            target_names: Vec::new(),
            challenge_lifetime: Duration::from_secs(60),
            max_skew: Duration::from_secs(36 * 3600),
            require_mic: false,
        }
    }
}

/// NTLM as this server offers it: its names and its policy. Made once, shared by all connections.
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    /// The challenge for clients that know Unicode, and for those that do not: whole but for flags, challenge and times.
    unicode: Vec<u8>,
    oem: Vec<u8>,
}

impl Server {
    /// A server of these names.
    ///
    /// # Errors
    /// A name is too long to be said in a challenge.
    pub fn new(config: ServerConfig) -> Result<Self, ParseError> {
        let (unicode, oem) = (template(&config, true)?, template(&config, false)?);
        Ok(Self { config, unicode, oem })
    }

    /// What it was made from.
    #[must_use]
    pub const fn config(&self) -> &ServerConfig {
        &self.config
    }

    /// Answers a NEGOTIATE with a CHALLENGE, which is appended to `out`. MS-NLMP 3.2.5.1.1.
    pub(crate) fn challenge(
        &self,
        negotiate: &[u8],
        env: &mut Env<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Challenged, Reject> {
        in_sequence(negotiate, MessageType::Negotiate)?;
        if negotiate.len() > MAX_NEGOTIATE {
            let kind = ErrorKind::Limit { what: "NEGOTIATE_MESSAGE", limit: MAX_NEGOTIATE };
            return Err(ParseError { format: "NEGOTIATE_MESSAGE", offset: 0, kind }.into());
        }
        let asked = Negotiate::parse(negotiate)?.flags;
        let (template, charset) = match (asked.has(Flags::UNICODE), asked.has(Flags::OEM)) {
            (true, _) => (&self.unicode, Flags::UNICODE),
            (false, true) => (&self.oem, Flags::OEM),
            (false, false) => return Err(Policy::NtlmFlags { what: "a character set (UNICODE or OEM)" }.into()),
        };
        if !asked.has(Flags::EXTENDED_SESSIONSECURITY) {
            return Err(Policy::NtlmFlags { what: "EXTENDED_SESSIONSECURITY, which came with NTLMv2" }.into());
        }
        let target_type = if self.config.nb_domain == self.config.nb_computer {
            Flags::TARGET_TYPE_SERVER
        } else {
            Flags::TARGET_TYPE_DOMAIN
        };
        let flags = (asked & ECHOED) | charset | target_type | ALWAYS;

        let mut message = template.clone();
        put(&mut message, FLAGS_AT, flags.0.to_le_bytes());
        put(&mut message, SERVER_CHALLENGE_AT, env.random::<8>()?);
        if !flags.has(Flags::VERSION) {
            put(&mut message, VERSION_AT, [0; 8]);
        }
        // MsvAvTimestamp is the last pair before the four bytes of MsvAvEOL.
        let timestamp_at = message.len() - 12;
        put(&mut message, timestamp_at, env.now.filetime().to_le_bytes());
        out.extend_from_slice(&message);

        let challenge_at = negotiate.len();
        let mut transcript = Vec::with_capacity(challenge_at + message.len());
        transcript.extend_from_slice(negotiate);
        transcript.extend_from_slice(&message);
        Ok(Challenged { transcript, challenge_at, made: env.now })
    }
}

/// A challenge that waits for its answer.
pub(crate) struct Challenged {
    /// NEGOTIATE and CHALLENGE as they went over the wire: the MIC covers them.
    transcript: Vec<u8>,
    challenge_at: usize,
    made: UnixTime,
}

impl fmt::Debug for Challenged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Challenged").field("made", &self.made).finish_non_exhaustive()
    }
}

impl Challenged {
    /// Takes the AUTHENTICATE and makes every check that needs no key. MS-NLMP 3.2.5.1.2.
    pub(crate) fn authenticate(
        self,
        server: &Server,
        token: &[u8],
        bindings: &ChannelBindings,
        policy: BindingPolicy,
        env: &mut Env<'_>,
    ) -> Result<Pending, Reject> {
        in_sequence(token, MessageType::Authenticate)?;
        if env.now > self.made.plus(server.config.challenge_lifetime) {
            return Err(Peer::ChallengeExpired.into());
        }
        let message = Authenticate::parse(token)?;
        let response = ntlmv2_response(&message)?;
        let challenge = Challenge::parse(self.transcript.get(self.challenge_at..).unwrap_or_default())?;
        let pairs = response.av_pairs;
        if !repeats(&pairs, &challenge.target_info) {
            return Err(Peer::TargetInfo.into());
        }
        check_time(response.time_stamp, env.now, server.config.max_skew)?;
        check_target_name(&pairs, &server.config.target_names)?;
        let binding = policy.check(bindings, pairs.channel_bindings())?;
        let mic = match (pairs.flags().has(AvFlags::MIC), message.mic) {
            (true, Some(mic)) => Some(mic),
            (true, None) => return Err(Peer::NtlmMicMissing.into()),
            (false, _) if server.config.require_mic => return Err(Policy::NtlmMicRequired.into()),
            (false, _) => None,
        };
        let encrypted_random_session_key = if crypto::exchanges_key(message.flags) {
            let kind = ErrorKind::Value { what: "EncryptedRandomSessionKey" };
            let wrong = ParseError { format: "AUTHENTICATE_MESSAGE", offset: SESSION_KEY_AT, kind };
            <[u8; 16]>::try_from(message.encrypted_random_session_key).map_err(|_| wrong)?
        } else {
            [0; 16]
        };
        let logon = NetworkLogon {
            domain: message.domain.decode().into_owned(),
            user: message.user.decode().into_owned(),
            workstation: message.workstation.decode().into_owned(),
            server_challenge: challenge.server_challenge,
            nt_response: message.nt_response.to_vec(),
            lm_response: message.lm_response.to_vec(),
        };
        let flags = message.flags;
        let mic = mic.map(|mic| {
            let mut transcript = self.transcript;
            let authenticate_at = transcript.len();
            transcript.extend_from_slice(token);
            put(&mut transcript, authenticate_at + MIC_OFFSET, [0; 16]);
            Mic { announced: mic, transcript }
        });
        Ok(Pending { logon, flags, encrypted_random_session_key, mic, binding })
    }
}

/// The NTLMv2 response of a message, or which kind of client does not send one.
fn ntlmv2_response<'a>(message: &Authenticate<'a>) -> Result<Ntlmv2Response<'a>, Reason> {
    let proofs_are_empty = message.nt_response.is_empty() && matches!(message.lm_response, [] | [0]);
    let names_are_empty = message.domain.is_empty() && message.user.is_empty() && message.workstation.is_empty();
    if proofs_are_empty && (message.flags.has(Flags::LOCAL_CALL) || names_are_empty) {
        // A local call and an anonymous logon look alike; the flag, or an LM response of one zero, tells them apart.
        return Err(match message.lm_response {
            [] if !message.flags.has(Flags::ANONYMOUS) => Policy::NtlmLocalCall.into(),
            _ => Policy::NtlmAnonymous.into(),
        });
    }
    if message.user.is_empty() || proofs_are_empty {
        return Err(Policy::NtlmAnonymous.into());
    }
    match NtResponse::parse(message.nt_response)? {
        NtResponse::V2(response) => Ok(response),
        NtResponse::V1(_) => Err(Policy::NtlmV1.into()),
        NtResponse::Absent => Err(Policy::NtlmLm.into()),
    }
}

/// Whether a response repeats what we said of ourselves. Some clients (Samba's) leave out DNS names; nobody may leave out the
/// time, because a client that was shown none may send no MIC.
fn repeats(theirs: &AvPairs<'_>, ours: &AvPairs<'_>) -> bool {
    ours.iter().all(|pair| match theirs.find(pair.id) {
        Some(value) => value == pair.value,
        None => matches!(pair.id, AvId::DNS_COMPUTER_NAME | AvId::DNS_DOMAIN_NAME | AvId::DNS_TREE_NAME),
    })
}

fn check_time(time_stamp: u64, now: UnixTime, allowed: Duration) -> Result<(), Peer> {
    let client = UnixTime::from_filetime(time_stamp);
    if client.distance(now) <= allowed {
        return Ok(());
    }
    Err(Peer::NtlmTimestamp { seconds: client.secs().saturating_sub(now.secs()), allowed: allowed.as_secs() })
}

/// Holds the name that the client meant against ours. A name from an untrusted source (a link, a redirection) says nothing.
fn check_target_name(pairs: &AvPairs<'_>, wanted: &[String]) -> Result<(), Peer> {
    if wanted.is_empty() || pairs.flags().has(AvFlags::UNTRUSTED_SPN_SOURCE) {
        return Ok(());
    }
    let found = match pairs.text(AvId::TARGET_NAME) {
        Some(name) if !name.is_empty() => name.decode(),
        _ => return Ok(()),
    };
    let presented = TargetName::parse(&found);
    if wanted.iter().any(|own| TargetName::parse(own).admits(&presented)) {
        return Ok(());
    }
    Err(Peer::TargetName { wanted: wanted.join(", "), found: found.into_owned() })
}

/// An SPN as far as it is compared: `service/host:port`.
struct TargetName<'a> {
    service: Option<&'a str>,
    host: &'a str,
    port: Option<&'a str>,
}

impl<'a> TargetName<'a> {
    fn parse(name: &'a str) -> Self {
        let (service, rest) = match name.split_once('/') {
            Some((service, rest)) => (Some(service), rest),
            None => (None, name),
        };
        let instance = rest.split('/').next().unwrap_or(rest);
        let (host, port) = match instance.rsplit_once(':') {
            // An IPv6 address has colons of its own, inside brackets or, without a port, bare.
            Some((host, port)) if !port.contains(']') && (!host.contains(':') || host.ends_with(']')) => {
                (host, Some(port))
            }
            _ => (instance, None),
        };
        Self { service, host: host.strip_suffix('.').unwrap_or(host), port }
    }

    /// Whether this name of ours is the one that was meant. What it leaves out may be anything.
    fn admits(&self, presented: &Self) -> bool {
        let same = |own: Option<&str>, other: Option<&str>| match (own, other) {
            (Some(own), Some(other)) => own.eq_ignore_ascii_case(other),
            (Some(_), None) => false,
            (None, _) => true,
        };
        same(self.service, presented.service)
            && self.host.eq_ignore_ascii_case(presented.host)
            && same(self.port, presented.port)
    }
}

/// A response that waits for the word of whoever holds the accounts.
pub(crate) struct Pending {
    logon: NetworkLogon,
    flags: Flags,
    /// Zeros if the client sent none.
    encrypted_random_session_key: [u8; 16],
    mic: Option<Mic>,
    binding: BindingChecked,
}

/// A MIC and what it covers.
struct Mic {
    announced: [u8; 16],
    transcript: Vec<u8>,
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the response: a password can be guessed from it.
        let NetworkLogon { domain, user, .. } = &self.logon;
        f.debug_struct("Pending").field("domain", domain).field("user", user).finish_non_exhaustive()
    }
}

impl Pending {
    /// What to ask.
    pub(crate) const fn request(&self) -> &NetworkLogon {
        &self.logon
    }

    /// Whether a MIC holds the three messages together.
    #[cfg(test)]
    pub(super) const fn announces_mic(&self) -> bool {
        self.mic.is_some()
    }

    /// Goes on with the authority's answer, whose session key lets the MIC be checked.
    pub(crate) fn answer(self, answer: Result<LogonInfo, LogonError>) -> Result<Context, Reject> {
        let LogonInfo { account, groups, named_groups, session_base_key } = match answer {
            Ok(info) => info,
            Err(LogonError::Refused(status)) => return Err(status.into()),
            Err(LogonError::Unavailable(why)) => return Err(Unavailable::Accounts(why).into()),
        };
        let logon_verified = LogonVerified(());
        let exported_session_key =
            crypto::exported_session_key(self.flags, &session_base_key, &self.encrypted_random_session_key)
                .ok_or(Internal::Invariant("a random session key has 16 bytes"))?;
        let mic_verified = match self.mic {
            Some(Mic { announced, transcript }) => {
                let wanted = crypto::mic(&exported_session_key, &[&transcript]);
                if !bool::from(wanted.ct_eq(&announced)) {
                    return Err(Peer::NtlmMic.into());
                }
                MicVerified(())
            }
            // The client announced none under its proof, and the policy did not ask.
            None => MicVerified(()),
        };
        let binding = self.binding.binding();
        let identity = Identity::from_ntlm(account, groups, named_groups, logon_verified, mic_verified, self.binding);
        let session = Session::new(self.flags, exported_session_key, Sender::Server);
        Ok(Context { identity, binding, session })
    }
}

/// A handshake that ended well.
#[derive(Debug)]
pub(crate) struct Context {
    /// Who the client is.
    pub(crate) identity: Identity,
    /// How the client is tied to its TLS connection.
    pub(crate) binding: Binding,
    session: Session,
}

impl Context {
    /// The signature of our next message.
    pub(crate) fn sign(&mut self, message: &[u8]) -> [u8; 16] {
        self.session.sign(message)
    }

    /// Whether `mac` is the signature of the client's next message, compared in constant time.
    pub(crate) fn verify(&mut self, message: &[u8], mac: &[u8]) -> bool {
        self.session.verify(message, mac)
    }
}

pub(super) fn in_sequence(token: &[u8], wanted: MessageType) -> Result<(), Malformed> {
    match MessageType::of(token) {
        Some(found) if found != wanted => Err(Malformed::OutOfSequence { wanted: wanted.name(), found: found.name() }),
        // What is no message at all is refused by the parser, which says where.
        _ => Ok(()),
    }
}

/// The challenge, whole but for flags, challenge and times.
fn template(config: &ServerConfig, unicode: bool) -> Result<Vec<u8>, ParseError> {
    let mut target_info = Vec::new();
    let pairs = [
        (AvId::NB_DOMAIN_NAME, Some(&config.nb_domain)),
        (AvId::NB_COMPUTER_NAME, Some(&config.nb_computer)),
        (AvId::DNS_DOMAIN_NAME, config.dns_domain.as_ref()),
        (AvId::DNS_COMPUTER_NAME, config.dns_computer.as_ref()),
        (AvId::DNS_TREE_NAME, config.dns_tree.as_ref()),
    ];
    for (id, name) in pairs {
        let Some(name) = name.filter(|name| !name.is_empty()) else { continue };
        if !AvPairs::push(&mut target_info, id, &utf16le(name)) {
            let kind = ErrorKind::Limit { what: "name", limit: usize::from(u16::MAX) };
            return Err(ParseError { format: "AV_PAIR", offset: target_info.len(), kind });
        }
    }
    let timestamp_fits = AvPairs::push(&mut target_info, AvId::TIMESTAMP, &[0; 8]);
    debug_assert!(timestamp_fits);
    AvPairs::end(&mut target_info);
    let name = if unicode { utf16le(&config.nb_domain) } else { config.nb_domain.clone().into_bytes() };
    let challenge = Challenge {
        target_name: Text { bytes: &name, unicode },
        target_info: AvPairs::parse(&target_info, 0)?,
        version: Some(Version::SENT),
        ..Challenge::default()
    };
    let mut message = Vec::new();
    challenge.write(&mut message)?;
    Ok(message)
}

fn put<const N: usize>(message: &mut [u8], at: usize, bytes: [u8; N]) {
    if let Some(place) = message.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<N>()) {
        *place = bytes;
    }
}

/// Where the changing parts of a CHALLENGE stand. MS-NLMP 2.2.1.2.
const FLAGS_AT: usize = 20;
const SERVER_CHALLENGE_AT: usize = 24;
const VERSION_AT: usize = 48;

/// Where an AUTHENTICATE says where its session key is. MS-NLMP 2.2.1.3.
const SESSION_KEY_AT: usize = 52;

/// The largest NEGOTIATE that is kept for its MIC: real ones have 16 to about 100 bytes.
const MAX_NEGOTIATE: usize = 1024;

/// What the client may have if it asks. MS-NLMP 3.2.5.1.1.
const ECHOED: Flags = Flags(
    Flags::SIGN.0
        | Flags::SEAL.0
        | Flags::IDENTIFY.0
        | Flags::VERSION.0
        | Flags::SESSION_128.0
        | Flags::KEY_EXCH.0
        | Flags::SESSION_56.0,
);

/// What every challenge says.
const ALWAYS: Flags = Flags(
    Flags::REQUEST_TARGET.0
        | Flags::NTLM.0
        | Flags::ALWAYS_SIGN.0
        | Flags::EXTENDED_SESSIONSECURITY.0
        | Flags::TARGET_INFO.0,
);
