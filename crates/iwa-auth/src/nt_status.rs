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
    NOT_SUPPORTED = 0xC000_00BB, "the request is not supported";
    TRUSTED_DOMAIN_FAILURE = 0xC000_018C, "the trust between the domains failed";
    TRUSTED_RELATIONSHIP_FAILURE = 0xC000_018D, "the trust between this machine and the domain failed";
    ACCOUNT_EXPIRED = 0xC000_0193, "the account has expired";
    PASSWORD_MUST_CHANGE = 0xC000_0224, "the password must be changed before the first logon";
    ACCOUNT_LOCKED_OUT = 0xC000_0234, "the account is locked out after too many failures";
    BAD_BINDINGS = 0xC000_035B, "the channel bindings do not match";
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
