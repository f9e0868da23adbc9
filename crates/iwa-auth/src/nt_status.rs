//! NTSTATUS values of a logon. MS-ERREF 2.3.

use core::fmt;

/// What an authority says of a logon, as Windows numbers it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct NtStatus(pub u32);

macro_rules! statuses {
    ($($name:ident = $value:literal, $words:literal;)*) => {
        impl NtStatus {
            $(
                #[doc = $words]
                pub const $name: Self = Self($value);
            )*

            /// All of these.
            pub const NAMED: &[Self] = &[$(Self::$name),*];

            /// The name in MS-ERREF without its `STATUS_`, if it is one that a logon gives.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($name)),)*
                    _ => None,
                }
            }

            /// The status of a name such as `NT_STATUS_WRONG_PASSWORD`, `STATUS_WRONG_PASSWORD` or `WRONG_PASSWORD`.
            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                let name = name.strip_prefix("NT_").unwrap_or(name);
                match name.strip_prefix("STATUS_").unwrap_or(name) {
                    $(stringify!($name) => Some(Self($value)),)*
                    _ => None,
                }
            }

            /// What it means for an administrator.
            #[must_use]
            pub const fn words(self) -> &'static str {
                match self.0 {
                    $($value => $words,)*
                    _ => "an error without a name here",
                }
            }
        }
    };
}

statuses! {
    ACCESS_DENIED = 0xC000_0022, "access is denied";
    NO_LOGON_SERVERS = 0xC000_005E, "no domain controller can be reached";
    NO_SUCH_USER = 0xC000_0064, "there is no such account";
    WRONG_PASSWORD = 0xC000_006A, "the password is wrong";
    LOGON_FAILURE = 0xC000_006D, "the user name is unknown or the password is wrong";
    ACCOUNT_RESTRICTION = 0xC000_006E, "a restriction of the account forbids this logon (Protected Users, an empty password, a policy)";
    INVALID_LOGON_HOURS = 0xC000_006F, "the account may not log on at this hour";
    INVALID_WORKSTATION = 0xC000_0070, "the account may not log on from this workstation";
    PASSWORD_EXPIRED = 0xC000_0071, "the password has expired";
    ACCOUNT_DISABLED = 0xC000_0072, "the account is disabled";
    NONE_MAPPED = 0xC000_0073, "the name could not be resolved";
    INSUFFICIENT_RESOURCES = 0xC000_009A, "too little memory";
    IO_TIMEOUT = 0xC000_00B5, "a domain controller did not answer in time";
    NOT_SUPPORTED = 0xC000_00BB, "the request is not supported";
    CANT_ACCESS_DOMAIN_INFO = 0xC000_00DA, "the domain controller cannot read what it knows of the domain";
    INVALID_SERVER_STATE = 0xC000_00DC, "the domain controller is not in a state to answer";
    NO_SUCH_DOMAIN = 0xC000_00DF, "there is no such domain, or no trust with it";
    TIME_DIFFERENCE_AT_DC = 0xC000_0133, "this machine's clock and the domain controller's differ: set both by NTP";
    LOGON_NOT_GRANTED = 0xC000_0155, "the account may not log on to this machine";
    LOGON_TYPE_NOT_GRANTED = 0xC000_015B, "the account may not log on to this machine over the network";
    NO_TRUST_LSA_SECRET = 0xC000_018A, "this machine has lost its password in the domain: join it anew";
    NO_TRUST_SAM_ACCOUNT = 0xC000_018B, "the domain has no account of this machine: it was deleted, or join it anew";
    TRUSTED_DOMAIN_FAILURE = 0xC000_018C, "the trust between the domains failed";
    TRUSTED_RELATIONSHIP_FAILURE = 0xC000_018D, "the trust between this machine and the domain failed";
    TRUST_FAILURE = 0xC000_0190, "the domain that holds the account cannot be asked over its trust";
    NETLOGON_NOT_STARTED = 0xC000_0192, "the domain controller's Netlogon service does not run";
    ACCOUNT_EXPIRED = 0xC000_0193, "the account has expired";
    NOLOGON_INTERDOMAIN_TRUST_ACCOUNT = 0xC000_0198, "this is the account of a trust, and no user's";
    NOLOGON_WORKSTATION_TRUST_ACCOUNT = 0xC000_0199, "this is the account of a machine, and no user's";
    NOLOGON_SERVER_TRUST_ACCOUNT = 0xC000_019A, "this is the account of a domain controller, and no user's";
    PASSWORD_MUST_CHANGE = 0xC000_0224, "the password must be changed before the first logon";
    DOMAIN_CONTROLLER_NOT_FOUND = 0xC000_0233, "no domain controller was found";
    ACCOUNT_LOCKED_OUT = 0xC000_0234, "the account is locked out after too many failures";
    SMARTCARD_LOGON_REQUIRED = 0xC000_02FA, "the account may log on with a smart card only";
    BAD_BINDINGS = 0xC000_035B, "the channel bindings do not match";
    DOWNGRADE_DETECTED = 0xC000_0388, "somebody may be weakening the logon on its way";
    AUTHENTICATION_FIREWALL_FAILED = 0xC000_0413, "selective authentication of the trust does not let the account log on to this machine";
    INTERNAL_ERROR = 0xC000_00E5, "the domain controller failed";
    INVALID_COMPUTER_NAME = 0xC000_0122, "the computer's name is not valid";
    NTLM_BLOCKED = 0xC000_0418, "NTLM is blocked by policy";
}

impl fmt::Display for NtStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "STATUS_{name} (0x{:08X}): {}", self.0, self.words()),
            None => write!(f, "NTSTATUS 0x{:08X}", self.0),
        }
    }
}

impl fmt::Debug for NtStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
