//! NegotiateFlags. MS-NLMP 2.2.2.5.

use core::fmt;
use core::ops::{BitAnd, BitOr, Not};

/// What the two ends can do and want. Bits without a name here are kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(pub u32);

macro_rules! flags {
    ($($name:ident = $bit:literal, $words:literal;)*) => {
        impl Flags {
            $(
                #[doc = $words]
                pub const $name: Self = Self($bit);
            )*

            /// The names of the bits that are set, without their `NTLMSSP_` prefixes, as MS-NLMP spells them; unnamed bits
            /// in hexadecimal.
            #[must_use]
            pub fn names(self) -> String {
                const NAMES: &[(u32, &str)] = &[$(($bit, stringify!($name)),)*];
                let mut text = String::new();
                let mut left = self.0;
                for (bit, name) in NAMES {
                    if self.0 & bit != 0 {
                        left &= !bit;
                        text.push_str(if text.is_empty() { "" } else { " " });
                        text.push_str(name);
                    }
                }
                if left != 0 {
                    text.push_str(&format!("{}0x{left:08x}", if text.is_empty() { "" } else { " " }));
                }
                text
            }
        }
    };
}

flags! {
    UNICODE = 0x0000_0001, "Names are in UTF-16LE.";
    OEM = 0x0000_0002, "Names are in the OEM character set.";
    REQUEST_TARGET = 0x0000_0004, "The challenge must name its target.";
    SIGN = 0x0000_0010, "Messages of the session are signed.";
    SEAL = 0x0000_0020, "Messages of the session are encrypted.";
    DATAGRAM = 0x0000_0040, "Connectionless.";
    LM_KEY = 0x0000_0080, "The LAN Manager session key (NTLMv1 only).";
    NTLM = 0x0000_0200, "NTLMv1 or NTLMv2, not LM alone.";
    ANONYMOUS = 0x0000_0800, "The client is anonymous.";
    OEM_DOMAIN_SUPPLIED = 0x0000_1000, "NEGOTIATE carries a domain.";
    OEM_WORKSTATION_SUPPLIED = 0x0000_2000, "NEGOTIATE carries a workstation.";
    LOCAL_CALL = 0x0000_4000, "Both ends claim to be on one machine; unnamed in MS-NLMP, named by every decoder.";
    ALWAYS_SIGN = 0x0000_8000, "A session key is made even if nothing is signed.";
    TARGET_TYPE_DOMAIN = 0x0001_0000, "The target name is a domain.";
    TARGET_TYPE_SERVER = 0x0002_0000, "The target name is a server.";
    EXTENDED_SESSIONSECURITY = 0x0008_0000, "Session security of the second version.";
    IDENTIFY = 0x0010_0000, "The client grants identification only.";
    REQUEST_NON_NT_SESSION_KEY = 0x0040_0000, "The LM session key.";
    TARGET_INFO = 0x0080_0000, "The challenge carries target information.";
    VERSION = 0x0200_0000, "The version field is filled.";
    SESSION_128 = 0x2000_0000, "128-bit session keys (`NTLMSSP_NEGOTIATE_128`).";
    KEY_EXCH = 0x4000_0000, "The client chooses the session key and sends it encrypted.";
    SESSION_56 = 0x8000_0000, "56-bit session keys (`NTLMSSP_NEGOTIATE_56`).";
}

impl Flags {
    /// Whether all of `bits` are set.
    #[must_use]
    pub const fn has(self, bits: Self) -> bool {
        self.0 & bits.0 == bits.0
    }

    /// Whether one of `bits` is set.
    #[must_use]
    pub const fn any(self, bits: Self) -> bool {
        self.0 & bits.0 != 0
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for Flags {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl Not for Flags {
    type Output = Self;

    fn not(self) -> Self {
        Self(!self.0)
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:08x} {}", self.0, self.names())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_bits_and_unnamed_bits_are_kept() {
        assert_eq!(Flags(0x0008_8206).names(), "OEM REQUEST_TARGET NTLM ALWAYS_SIGN EXTENDED_SESSIONSECURITY");
        assert_eq!(Flags(0x0000_0101).names(), "UNICODE 0x00000100");
        assert_eq!(Flags(0).names(), "");
    }
}
