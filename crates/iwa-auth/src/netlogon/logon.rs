//! A logon through the channel: the request, and what a member believes of the answer. MS-NRPC 3.5.4.5.1, MS-APDS 3.1.5.

use core::fmt;

use iwa_wire::netlogon::{LogonSamLogonEx, SamInfo4, SamLogon};
use iwa_wire::ntlm::{AvId, AvPairs, Ntlmv2Response, utf16le};
use iwa_wire::pac::LogonInfo as Validation;
use iwa_wire::{ErrorKind, ParseError, Sid};

use super::channel::Member;
use crate::env::{EntropyError, Env};
use crate::identity::Account;
use crate::nt_status::NtStatus;
use crate::ntlm::crypto;
use crate::ports::{LogonInfo, NetworkLogon};
use crate::secret::Secret;

/// Why an answer verifies nobody.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LogonProblem {
    /// The domain controller refuses the user.
    Refused(NtStatus),
    /// It refuses the machine, or its channel.
    Machine(NtStatus),
    /// It cannot say: it has trouble of its own, or does not reach the user's domain.
    Undecided(NtStatus),
    /// It says yes, and what it says cannot be believed.
    Unbelievable(&'static str),
    /// The answer does not follow its format.
    Malformed(ParseError),
}

impl fmt::Display for LogonProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(status) => status.fmt(f),
            Self::Machine(status) => write!(f, "it does not let this machine ask: {status}"),
            Self::Undecided(status) => write!(f, "it cannot tell: {status}"),
            Self::Unbelievable(why) => write!(f, "its answer cannot be believed: {why}"),
            Self::Malformed(error) => error.fmt(f),
        }
    }
}

/// Appends the stub of `NetrLogonSamLogonEx` for an NTLM response.
pub fn request(member: &Member, logon: &NetworkLogon, out: &mut Vec<u8>) {
    LogonSamLogonEx {
        computer: member.computer.as_str().into(),
        domain: logon.domain.as_str().into(),
        parameter_control: LogonSamLogonEx::ALLOW_MACHINES,
        user: logon.user.as_str().into(),
        workstation: logon.workstation.as_str().into(),
        challenge: logon.server_challenge,
        nt_response: logon.nt_response.as_slice().into(),
        lm_response: logon.lm_response.as_slice().into(),
    }
    .write(out);
}

/// What the stub of the response says. `local` is the SID under which this machine keeps accounts of its own: no domain
/// has it, and one that says so would put its users in their place.
///
/// # Errors
/// [`LogonProblem`].
pub fn answer(stub: &[u8], local: Option<&Sid>) -> Result<LogonInfo, LogonProblem> {
    let answer = SamLogon::parse(stub).map_err(LogonProblem::Malformed)?;
    let status = NtStatus(answer.status);
    if status != NtStatus(0) {
        return Err(match status {
            status if concerns_machine(status) => LogonProblem::Machine(status),
            status if is_undecided(status) => LogonProblem::Undecided(status),
            status => LogonProblem::Refused(status),
        });
    }
    let SamInfo4 { info, dns_logon_domain_name, upn } =
        answer.validation.ok_or(LogonProblem::Unbelievable("it says yes and does not say to whom"))?;
    if info.user_flags & Validation::GUEST != 0 {
        // The domain controller did not find the user and lets everybody in as a guest.
        return Err(LogonProblem::Refused(NtStatus::LOGON_FAILURE));
    }
    if info.user_session_key.0 == &[0; 16] {
        return Err(LogonProblem::Unbelievable("the session key is empty, with which anybody could sign"));
    }
    let sid = info.account_sid().ok_or(LogonProblem::Unbelievable("the account has no SID"))?;
    if local.is_some_and(|local| info.logon_domain_id.as_ref() == Some(local)) {
        return Err(LogonProblem::Unbelievable(
            "the account's domain has the SID of this machine's own accounts: give the machine another one",
        ));
    }
    let text = |text: iwa_wire::Utf16<'_>| Some(text.to_string()).filter(|text| !text.is_empty());
    let named = |found: iwa_wire::Utf16<'_>, what| {
        let bad = ParseError { format: "NETLOGON_VALIDATION_SAM_INFO4", offset: 0, kind: ErrorKind::Missing { what } };
        // A name that cannot be written would be another one than the account's.
        let whole = found.chars().collect::<Result<String, _>>().ok().filter(|name| !name.is_empty());
        whole.ok_or(LogonProblem::Malformed(bad))
    };
    let mut groups = Vec::with_capacity(info.group_count());
    groups.extend(info.groups().filter(iwa_wire::pac::Membership::grants).map(|group| group.sid));
    let account = Account {
        name: named(info.effective_name, "EffectiveName")?,
        domain: named(info.logon_domain_name, "LogonDomainName")?,
        // The realm of a domain is its DNS name in upper case (MS-KILE 3.1.5.8).
        realm: text(dns_logon_domain_name).map(|name| name.trim_end_matches('.').to_uppercase()),
        upn: text(upn),
        display_name: text(info.full_name),
        sid: Some(sid),
    };
    let session_base_key = Secret::new(*info.user_session_key.0);
    Ok(LogonInfo { account, groups, named_groups: None, session_base_key })
}

/// The NTLMv2 response that somebody with this password would have sent, so that a password can be verified by the call that
/// verifies responses, and never leaves this machine. Names the machine, because domain controllers compare it with who asks.
///
/// # Errors
/// There is no randomness.
pub fn with_password(
    member: &Member,
    domain: &str,
    user: &str,
    password: &Secret<String>,
    env: &mut Env<'_>,
) -> Result<NetworkLogon, EntropyError> {
    let mut pairs = Vec::with_capacity(64);
    let time = env.now.filetime();
    let (domain_name, computer_name) = (utf16le(&member.domain), utf16le(&member.computer));
    let named: [(AvId, &[u8]); 3] = [
        (AvId::NB_DOMAIN_NAME, &domain_name),
        (AvId::NB_COMPUTER_NAME, &computer_name),
        (AvId::TIMESTAMP, &time.to_le_bytes()),
    ];
    for (id, value) in named {
        // NetBIOS names are short; one that is not would be left out, and the domain controller refuse.
        let _ = AvPairs::push(&mut pairs, id, value);
    }
    AvPairs::end(&mut pairs);
    let pairs = AvPairs::parse(&pairs, 0).unwrap_or_default();
    let server_challenge = env.random::<8>()?;
    let mut temp = Vec::with_capacity(32 + pairs.bytes().len());
    Ntlmv2Response::write_client_challenge(time, &env.random::<8>()?, pairs, &mut temp);
    let response_key = crypto::ntowfv2(&crypto::nt_hash(password.expose()), user, domain);
    let proof = crypto::nt_proof_str(&response_key, &server_challenge, &temp);
    Ok(NetworkLogon {
        domain: domain.to_owned(),
        user: user.to_owned(),
        workstation: member.computer.clone(),
        server_challenge,
        nt_response: [proof.as_slice(), &temp].concat(),
        lm_response: vec![0; 24],
    })
}

/// What a domain controller says of the machine and not of the user.
const fn concerns_machine(status: NtStatus) -> bool {
    matches!(
        status,
        NtStatus::ACCESS_DENIED
            | NtStatus::NO_TRUST_SAM_ACCOUNT
            | NtStatus::NO_TRUST_LSA_SECRET
            | NtStatus::TRUSTED_RELATIONSHIP_FAILURE
            | NtStatus::DOWNGRADE_DETECTED
            | NtStatus::INVALID_COMPUTER_NAME
            | NtStatus::TIME_DIFFERENCE_AT_DC
    )
}

/// What it says when it has trouble of its own: another time, or another domain controller, may tell.
const fn is_undecided(status: NtStatus) -> bool {
    matches!(
        status,
        NtStatus::NO_LOGON_SERVERS
            | NtStatus::DOMAIN_CONTROLLER_NOT_FOUND
            | NtStatus::INSUFFICIENT_RESOURCES
            | NtStatus::INTERNAL_ERROR
            | NtStatus::IO_TIMEOUT
            | NtStatus::INVALID_SERVER_STATE
            | NtStatus::NETLOGON_NOT_STARTED
    )
}
