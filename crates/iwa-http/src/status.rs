//! From a [`Reason`] to what the client and the log see: HTTP status, IIS sub-status, sc-win32-status. This is the only such table.
//!
//! Sub-statuses after Microsoft KB 943891; sc-win32-status is an unsigned decimal `HRESULT` of SSPI (winerror.h, `SEC_E_...`) or
//! a Win32 error code, as in IIS logs.
//!
//! The client learns the HTTP status and the sub-status, never the sc-win32-status: every refused logon is the same 401.1 to it,
//! whether the account does not exist, is locked out, or the password is wrong.

use http::StatusCode;
use iwa_auth::NtStatus;
use iwa_auth::reject::{Internal, Malformed, PacProblem, Peer, Policy, Reason, Unavailable};

/// The three numbers with which IIS logs an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status {
    /// `sc-status`.
    pub http: StatusCode,
    /// `sc-substatus`.
    pub sub: u16,
    /// `sc-win32-status`.
    pub win32: u32,
}

impl Status {
    /// 200.0.0, and every other answer of an application that was reached.
    #[must_use]
    pub const fn served(http: StatusCode) -> Self {
        Self { http, sub: 0, win32: 0 }
    }

    /// 401.2, 5: the normal first answer to a client without credentials, and to one the rules want to know first.
    pub const CHALLENGE: Self = Self { http: StatusCode::UNAUTHORIZED, sub: 2, win32: win32::ACCESS_DENIED };

    /// 401.1, 2148074254: a token went out and the client's next one is awaited (an NTLM challenge). Normal, not a failure.
    pub const CONTINUE: Self = Self { http: StatusCode::UNAUTHORIZED, sub: 1, win32: win32::SEC_E_NO_CREDENTIALS };

    /// 403.0, 5: known, and not allowed. IIS repeats the 401 here, which makes browsers ask for another password three times.
    pub const FORBIDDEN: Self = Self { http: StatusCode::FORBIDDEN, sub: 0, win32: win32::ACCESS_DENIED };

    /// What a failed authentication answers.
    #[must_use]
    pub const fn of(reason: &Reason) -> Self {
        match reason {
            // A header that is no header is the caller's bug; a token that is no token may be one leg too many.
            Reason::Malformed(Malformed::Header(_)) => {
                Self { http: StatusCode::BAD_REQUEST, sub: 0, win32: win32::SEC_E_INVALID_TOKEN }
            }
            Reason::Malformed(_) => unauthorized(1, win32::SEC_E_INVALID_TOKEN),
            Reason::Peer(peer) => unauthorized(1, of_peer(peer)),
            Reason::Policy(policy) => of_policy(policy),
            Reason::Logon(status) => of_logon(*status),
            Reason::Unavailable(unavailable) => of_unavailable(unavailable),
            Reason::Internal(Internal::Entropy | Internal::Panic | Internal::Invariant(_)) => FAULT,
            // `Reason` is not exhaustive: what is not known here fails closed, and loudly.
            _ => FAULT,
        }
    }

    /// The same for a password in clear (Basic), where IIS logs the Win32 error of `LogonUser` instead of SSPI's.
    #[must_use]
    pub const fn of_password(reason: &Reason) -> Self {
        let status = Self::of(reason);
        match status.win32 {
            win32::SEC_E_LOGON_DENIED => Self { win32: win32::LOGON_FAILURE, ..status },
            _ => status,
        }
    }

    /// Seconds after which a client may try again, for a 503.
    #[must_use]
    pub fn retry_after(self) -> Option<u32> {
        (self.http == StatusCode::SERVICE_UNAVAILABLE).then_some(RETRY_AFTER)
    }
}

const fn unauthorized(sub: u16, win32: u32) -> Status {
    Status { http: StatusCode::UNAUTHORIZED, sub, win32 }
}

const fn unavailable(sub: u16, win32: u32) -> Status {
    Status { http: StatusCode::SERVICE_UNAVAILABLE, sub, win32 }
}

const fn of_peer(peer: &Peer) -> u32 {
    match peer {
        // KRB_AP_ERR_NOKEY, KRB_AP_ERR_MODIFIED: "the target principal name is incorrect" is what Windows calls the wrong key.
        Peer::NoKey { .. } | Peer::TicketIntegrity { .. } | Peer::WrongService { .. } | Peer::TargetName { .. } => {
            win32::SEC_E_WRONG_PRINCIPAL
        }
        Peer::AuthenticatorIntegrity
        | Peer::ClientMismatch { .. }
        | Peer::MechListMic
        | Peer::MechListMicMissing
        | Peer::NtlmMic
        | Peer::NtlmMicMissing
        | Peer::TargetInfo => win32::SEC_E_MESSAGE_ALTERED,
        Peer::ClockSkew { .. } | Peer::TicketNotYetValid { .. } | Peer::NtlmTimestamp { .. } => win32::SEC_E_TIME_SKEW,
        Peer::TicketExpired { .. } | Peer::ChallengeExpired => win32::SEC_E_CONTEXT_EXPIRED,
        Peer::Transited { .. } => win32::SEC_E_NO_AUTHENTICATING_AUTHORITY,
        Peer::GssChecksum { .. } => win32::SEC_E_INVALID_TOKEN,
        Peer::Replay => win32::SEC_E_OUT_OF_SEQUENCE,
        Peer::BindingMissing | Peer::BindingMismatch => win32::SEC_E_BAD_BINDINGS,
        Peer::Pac(PacProblem::Absent) => win32::SEC_E_LOGON_DENIED,
        Peer::Pac(_) => win32::SEC_E_MESSAGE_ALTERED,
        _ => win32::SEC_E_LOGON_DENIED,
    }
}

const fn of_policy(policy: &Policy) -> Status {
    match policy {
        // The server's configuration refuses, whoever the client is: 401.2.
        Policy::MechanismOff(iwa_auth::Mechanism::Ntlm) => unauthorized(2, win32::NTLM_BLOCKED),
        Policy::MechanismOff(_) | Policy::NoCommonMechanism { .. } | Policy::SchemeOff { .. } => {
            unauthorized(2, win32::SEC_E_SECPKG_NOT_FOUND)
        }
        Policy::NotOnThisConnection { .. } => unauthorized(2, win32::NOT_SUPPORTED),
        // 403.4: SSL is required.
        Policy::BasicInClear => Status { http: StatusCode::FORBIDDEN, sub: 4, win32: win32::ACCESS_DENIED },
        // As every refused logon.
        Policy::TooManyPasswords { .. } => unauthorized(1, win32::SEC_E_LOGON_DENIED),
        // The client could do better: 401.1.
        Policy::EtypeOff { .. } => unauthorized(1, win32::SEC_E_KDC_UNKNOWN_ETYPE),
        Policy::NtlmFlags { .. } | Policy::UserToUser => unauthorized(1, win32::SEC_E_UNSUPPORTED_FUNCTION),
        Policy::Realm { .. } => unauthorized(1, win32::SEC_E_NO_AUTHENTICATING_AUTHORITY),
        _ => unauthorized(1, win32::SEC_E_LOGON_DENIED),
    }
}

const fn of_logon(status: NtStatus) -> Status {
    match status {
        // Nobody could be asked, or this machine is at fault. A 401 would make every browser ask for passwords in vain.
        NtStatus::NO_LOGON_SERVERS => unavailable(0, win32::NO_LOGON_SERVERS),
        NtStatus::DOMAIN_CONTROLLER_NOT_FOUND => unavailable(0, win32::DOMAIN_CONTROLLER_NOT_FOUND),
        NtStatus::NETLOGON_NOT_STARTED => unavailable(0, win32::NETLOGON_NOT_STARTED),
        NtStatus::IO_TIMEOUT => unavailable(0, win32::SEM_TIMEOUT),
        NtStatus::INVALID_SERVER_STATE => unavailable(0, win32::INVALID_SERVER_STATE),
        NtStatus::CANT_ACCESS_DOMAIN_INFO => unavailable(0, win32::CANT_ACCESS_DOMAIN_INFO),
        NtStatus::TIME_DIFFERENCE_AT_DC => unavailable(0, win32::TIME_SKEW),
        NtStatus::NO_TRUST_LSA_SECRET => unavailable(0, win32::NO_TRUST_LSA_SECRET),
        NtStatus::NO_TRUST_SAM_ACCOUNT => unavailable(0, win32::NO_TRUST_SAM_ACCOUNT),
        NtStatus::TRUST_FAILURE => unavailable(0, win32::TRUST_FAILURE),
        NtStatus::INTERNAL_ERROR => unavailable(0, win32::INTERNAL_ERROR),
        NtStatus::INVALID_COMPUTER_NAME => unavailable(0, win32::INVALID_COMPUTERNAME),
        NtStatus::INSUFFICIENT_RESOURCES => unavailable(0, win32::NO_SYSTEM_RESOURCES),
        NtStatus::TRUSTED_RELATIONSHIP_FAILURE => unavailable(0, win32::TRUSTED_RELATIONSHIP_FAILURE),
        NtStatus::TRUSTED_DOMAIN_FAILURE => unauthorized(1, win32::TRUSTED_DOMAIN_FAILURE),
        NtStatus::NO_SUCH_DOMAIN => unauthorized(1, win32::NO_SUCH_DOMAIN),
        NtStatus::LOGON_NOT_GRANTED => unauthorized(1, win32::LOGON_NOT_GRANTED),
        NtStatus::LOGON_TYPE_NOT_GRANTED => unauthorized(1, win32::LOGON_TYPE_NOT_GRANTED),
        NtStatus::NOLOGON_INTERDOMAIN_TRUST_ACCOUNT => unauthorized(1, win32::NOLOGON_INTERDOMAIN_TRUST_ACCOUNT),
        NtStatus::NOLOGON_WORKSTATION_TRUST_ACCOUNT => unauthorized(1, win32::NOLOGON_WORKSTATION_TRUST_ACCOUNT),
        NtStatus::NOLOGON_SERVER_TRUST_ACCOUNT => unauthorized(1, win32::NOLOGON_SERVER_TRUST_ACCOUNT),
        NtStatus::SMARTCARD_LOGON_REQUIRED => unauthorized(1, win32::SEC_E_SMARTCARD_LOGON_REQUIRED),
        NtStatus::AUTHENTICATION_FIREWALL_FAILED => unauthorized(1, win32::AUTHENTICATION_FIREWALL_FAILED),
        NtStatus::DOWNGRADE_DETECTED => unauthorized(1, win32::SEC_E_DOWNGRADE_DETECTED),
        NtStatus::ACCOUNT_RESTRICTION => unauthorized(1, win32::ACCOUNT_RESTRICTION),
        NtStatus::INVALID_LOGON_HOURS => unauthorized(1, win32::INVALID_LOGON_HOURS),
        NtStatus::INVALID_WORKSTATION => unauthorized(1, win32::INVALID_WORKSTATION),
        NtStatus::PASSWORD_EXPIRED => unauthorized(1, win32::PASSWORD_EXPIRED),
        NtStatus::PASSWORD_MUST_CHANGE => unauthorized(1, win32::PASSWORD_MUST_CHANGE),
        NtStatus::ACCOUNT_DISABLED => unauthorized(1, win32::ACCOUNT_DISABLED),
        NtStatus::ACCOUNT_EXPIRED => unauthorized(1, win32::ACCOUNT_EXPIRED),
        NtStatus::ACCOUNT_LOCKED_OUT => unauthorized(1, win32::ACCOUNT_LOCKED_OUT),
        NtStatus::ACCESS_DENIED => unauthorized(1, win32::ACCESS_DENIED),
        NtStatus::NONE_MAPPED => unauthorized(1, win32::NONE_MAPPED),
        NtStatus::NOT_SUPPORTED => unauthorized(1, win32::NOT_SUPPORTED),
        NtStatus::BAD_BINDINGS => unauthorized(1, win32::SEC_E_BAD_BINDINGS),
        NtStatus::NTLM_BLOCKED => unauthorized(1, win32::NTLM_BLOCKED),
        // LOGON_FAILURE, NO_SUCH_USER, WRONG_PASSWORD: IIS logs 2148074252 for all three.
        _ => unauthorized(1, win32::SEC_E_LOGON_DENIED),
    }
}

const fn of_unavailable(missing: &Unavailable) -> Status {
    match missing {
        // 503.2: the limit of concurrent requests was exceeded.
        Unavailable::TooManyHandshakes => unavailable(2, win32::NO_SYSTEM_RESOURCES),
        Unavailable::ReplayCache(_) => unavailable(0, win32::NO_SYSTEM_RESOURCES),
        _ => unavailable(0, win32::NO_LOGON_SERVERS),
    }
}

/// 500.0: this side's own fault.
const FAULT: Status = Status { http: StatusCode::INTERNAL_SERVER_ERROR, sub: 0, win32: win32::SEC_E_INTERNAL_ERROR };

/// Seconds: long enough for a failed-over controller, short enough for a person.
const RETRY_AFTER: u32 = 5;

/// Numbers of `winerror.h` under their names there, without their `ERROR_`.
pub mod win32 {
    #![allow(missing_docs, reason = "the names are those of winerror.h")]
    pub const ACCESS_DENIED: u32 = 5;
    pub const NOT_SUPPORTED: u32 = 50;
    pub const SEM_TIMEOUT: u32 = 121;
    pub const INVALID_COMPUTERNAME: u32 = 1210;
    pub const NO_LOGON_SERVERS: u32 = 1311;
    pub const LOGON_FAILURE: u32 = 1326;
    pub const ACCOUNT_RESTRICTION: u32 = 1327;
    pub const INVALID_LOGON_HOURS: u32 = 1328;
    pub const INVALID_WORKSTATION: u32 = 1329;
    pub const PASSWORD_EXPIRED: u32 = 1330;
    pub const ACCOUNT_DISABLED: u32 = 1331;
    pub const NONE_MAPPED: u32 = 1332;
    pub const CANT_ACCESS_DOMAIN_INFO: u32 = 1351;
    pub const INVALID_SERVER_STATE: u32 = 1352;
    pub const NO_SUCH_DOMAIN: u32 = 1355;
    pub const INTERNAL_ERROR: u32 = 1359;
    pub const LOGON_NOT_GRANTED: u32 = 1380;
    pub const LOGON_TYPE_NOT_GRANTED: u32 = 1385;
    pub const TIME_SKEW: u32 = 1398;
    pub const NO_SYSTEM_RESOURCES: u32 = 1450;
    pub const NO_TRUST_LSA_SECRET: u32 = 1786;
    pub const NO_TRUST_SAM_ACCOUNT: u32 = 1787;
    pub const TRUSTED_DOMAIN_FAILURE: u32 = 1788;
    pub const TRUSTED_RELATIONSHIP_FAILURE: u32 = 1789;
    pub const TRUST_FAILURE: u32 = 1790;
    pub const NETLOGON_NOT_STARTED: u32 = 1792;
    pub const ACCOUNT_EXPIRED: u32 = 1793;
    pub const NOLOGON_INTERDOMAIN_TRUST_ACCOUNT: u32 = 1807;
    pub const NOLOGON_WORKSTATION_TRUST_ACCOUNT: u32 = 1808;
    pub const NOLOGON_SERVER_TRUST_ACCOUNT: u32 = 1809;
    pub const PASSWORD_MUST_CHANGE: u32 = 1907;
    pub const DOMAIN_CONTROLLER_NOT_FOUND: u32 = 1908;
    pub const ACCOUNT_LOCKED_OUT: u32 = 1909;
    pub const AUTHENTICATION_FIREWALL_FAILED: u32 = 1935;
    pub const NTLM_BLOCKED: u32 = 1937;
    pub const SEC_E_UNSUPPORTED_FUNCTION: u32 = 0x8009_0302;
    pub const SEC_E_INTERNAL_ERROR: u32 = 0x8009_0304;
    pub const SEC_E_SECPKG_NOT_FOUND: u32 = 0x8009_0305;
    pub const SEC_E_INVALID_TOKEN: u32 = 0x8009_0308;
    pub const SEC_E_LOGON_DENIED: u32 = 0x8009_030C;
    pub const SEC_E_NO_CREDENTIALS: u32 = 0x8009_030E;
    pub const SEC_E_MESSAGE_ALTERED: u32 = 0x8009_030F;
    pub const SEC_E_OUT_OF_SEQUENCE: u32 = 0x8009_0310;
    pub const SEC_E_NO_AUTHENTICATING_AUTHORITY: u32 = 0x8009_0311;
    pub const SEC_E_CONTEXT_EXPIRED: u32 = 0x8009_0317;
    pub const SEC_E_WRONG_PRINCIPAL: u32 = 0x8009_0322;
    pub const SEC_E_TIME_SKEW: u32 = 0x8009_0324;
    pub const SEC_E_SMARTCARD_LOGON_REQUIRED: u32 = 0x8009_033E;
    pub const SEC_E_KDC_UNKNOWN_ETYPE: u32 = 0x8009_0342;
    pub const SEC_E_BAD_BINDINGS: u32 = 0x8009_0346;
    pub const SEC_E_DOWNGRADE_DETECTED: u32 = 0x8009_0350;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(reason: impl Into<Reason>) -> (u16, u16, u32) {
        let Status { http, sub, win32 } = Status::of(&reason.into());
        (http.as_u16(), sub, win32)
    }

    #[test]
    fn the_numbers_are_those_of_iis_logs() {
        // Microsoft's samples: KB 2749007 and KB 907273 (challenge), the Kerberos article (anonymous leg, missing package).
        assert_eq!((Status::CHALLENGE.sub, Status::CHALLENGE.win32), (2, 5));
        assert_eq!((Status::CONTINUE.sub, Status::CONTINUE.win32), (1, 2_148_074_254));
        assert_eq!(numbers(NtStatus::WRONG_PASSWORD), (401, 1, 2_148_074_252));
        assert_eq!(numbers(Malformed::Unrecognized { starts: String::new() }), (401, 1, 2_148_074_248));
        assert_eq!(numbers(Policy::SchemeOff { scheme: "NTLM" }), (401, 2, 2_148_074_245));
        assert_eq!(numbers(Peer::BindingMismatch), (401, 1, 2_148_074_310));
        assert_eq!(numbers(Peer::ClockSkew { seconds: 900, allowed: 300 }), (401, 1, 2_148_074_276));
    }

    #[test]
    fn an_unknown_account_a_wrong_password_and_a_plain_failure_are_alike() {
        assert_eq!(numbers(NtStatus::NO_SUCH_USER), numbers(NtStatus::WRONG_PASSWORD));
        assert_eq!(numbers(NtStatus::LOGON_FAILURE), numbers(NtStatus::WRONG_PASSWORD));
    }

    #[test]
    fn the_state_of_an_account_shows_in_the_log_and_not_in_the_answer() {
        for (status, win32) in [
            (NtStatus::ACCOUNT_LOCKED_OUT, 1909),
            (NtStatus::ACCOUNT_DISABLED, 1331),
            (NtStatus::PASSWORD_EXPIRED, 1330),
            (NtStatus::PASSWORD_MUST_CHANGE, 1907),
            (NtStatus::ACCOUNT_EXPIRED, 1793),
        ] {
            assert_eq!(numbers(status), (401, 1, win32));
        }
    }

    #[test]
    fn every_refusal_of_a_domain_has_its_number_in_the_log_and_is_401_1_or_503() {
        // MS-ERREF 2.2 and 2.3: the same name under both.
        let of_the_account = [
            (NtStatus::NO_SUCH_USER, win32::SEC_E_LOGON_DENIED),
            (NtStatus::WRONG_PASSWORD, win32::SEC_E_LOGON_DENIED),
            (NtStatus::LOGON_FAILURE, win32::SEC_E_LOGON_DENIED),
            (NtStatus::ACCOUNT_RESTRICTION, 1327),
            (NtStatus::INVALID_LOGON_HOURS, 1328),
            (NtStatus::INVALID_WORKSTATION, 1329),
            (NtStatus::PASSWORD_EXPIRED, 1330),
            (NtStatus::ACCOUNT_DISABLED, 1331),
            (NtStatus::NONE_MAPPED, 1332),
            (NtStatus::NO_SUCH_DOMAIN, 1355),
            (NtStatus::LOGON_NOT_GRANTED, 1380),
            (NtStatus::LOGON_TYPE_NOT_GRANTED, 1385),
            (NtStatus::TRUSTED_DOMAIN_FAILURE, 1788),
            (NtStatus::ACCOUNT_EXPIRED, 1793),
            (NtStatus::NOLOGON_INTERDOMAIN_TRUST_ACCOUNT, 1807),
            (NtStatus::NOLOGON_WORKSTATION_TRUST_ACCOUNT, 1808),
            (NtStatus::NOLOGON_SERVER_TRUST_ACCOUNT, 1809),
            (NtStatus::PASSWORD_MUST_CHANGE, 1907),
            (NtStatus::ACCOUNT_LOCKED_OUT, 1909),
            (NtStatus::AUTHENTICATION_FIREWALL_FAILED, 1935),
            (NtStatus::NTLM_BLOCKED, 1937),
            (NtStatus::SMARTCARD_LOGON_REQUIRED, 2_148_074_302),
            (NtStatus::DOWNGRADE_DETECTED, 2_148_074_320),
            (NtStatus::BAD_BINDINGS, win32::SEC_E_BAD_BINDINGS),
            (NtStatus::ACCESS_DENIED, 5),
            (NtStatus::NOT_SUPPORTED, 50),
        ];
        // A browser that got 401 for these would ask for another password, and the next one would fail as well.
        let of_nobody = [
            (NtStatus::NO_LOGON_SERVERS, 1311),
            (NtStatus::DOMAIN_CONTROLLER_NOT_FOUND, 1908),
            (NtStatus::NETLOGON_NOT_STARTED, 1792),
            (NtStatus::IO_TIMEOUT, 121),
            (NtStatus::INVALID_SERVER_STATE, 1352),
            (NtStatus::CANT_ACCESS_DOMAIN_INFO, 1351),
            (NtStatus::TIME_DIFFERENCE_AT_DC, 1398),
            (NtStatus::NO_TRUST_LSA_SECRET, 1786),
            (NtStatus::NO_TRUST_SAM_ACCOUNT, 1787),
            (NtStatus::TRUSTED_RELATIONSHIP_FAILURE, 1789),
            (NtStatus::TRUST_FAILURE, 1790),
            (NtStatus::INTERNAL_ERROR, 1359),
            (NtStatus::INVALID_COMPUTER_NAME, 1210),
            (NtStatus::INSUFFICIENT_RESOURCES, 1450),
        ];
        for (status, win32) in of_the_account {
            assert_eq!(numbers(status), (401, 1, win32), "{status}");
        }
        for (status, win32) in of_nobody {
            assert_eq!(numbers(status), (503, 0, win32), "{status}");
        }
        for status in NtStatus::NAMED {
            let listed = of_the_account.iter().chain(&of_nobody).any(|(listed, _)| listed == status);
            assert!(listed, "{status} has no place here");
        }
        assert_eq!(numbers(NtStatus(0xC0DE_0000)), (401, 1, win32::SEC_E_LOGON_DENIED), "one that nobody knows");
    }

    #[test]
    fn a_password_in_clear_logs_the_error_of_logonuser() {
        assert_eq!(Status::of_password(&NtStatus::WRONG_PASSWORD.into()).win32, 1326);
        assert_eq!(Status::of_password(&NtStatus::ACCOUNT_LOCKED_OUT.into()).win32, 1909);
    }

    #[test]
    fn what_is_unavailable_is_503_and_says_when_to_try_again() {
        for reason in [
            Reason::from(Unavailable::Accounts(String::new())),
            Unavailable::ReplayCache("full").into(),
            Unavailable::TooManyHandshakes.into(),
            NtStatus::NO_LOGON_SERVERS.into(),
        ] {
            let status = Status::of(&reason);
            assert_eq!(status.http, StatusCode::SERVICE_UNAVAILABLE, "{reason}");
            assert!(status.retry_after().is_some());
        }
        assert!(Status::CHALLENGE.retry_after().is_none());
    }

    #[test]
    fn our_own_fault_is_500_and_never_a_success() {
        assert_eq!(numbers(Internal::Panic), (500, 0, 2_148_074_244));
        assert_eq!(numbers(Internal::Entropy).0, 500);
    }
}
