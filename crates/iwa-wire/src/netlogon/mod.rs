//! Netlogon: what a member of a domain asks of a domain controller, and the tokens that protect it. MS-NRPC.
//!
//! | what | where | MS-NRPC |
//! |---|---|---|
//! | opening the secure channel, changing the machine's password | [`channel`] | 3.5.4.4 |
//! | a logon through the channel | [`logon`] | 3.5.4.5.1, 2.2.1.4 |
//! | the tokens beside RPC's PDUs | [`token`] | 2.2.1.3 |
//!
//! Every call is read and written in both directions: the member writes requests and reads responses, and a domain controller
//! made for tests does the opposite.

pub mod channel;
pub mod logon;
pub mod token;

pub use channel::{Authenticate3, Authenticated, Authenticator, PasswordSet2, ReqChallenge};
pub use logon::{LogonSamLogonEx, SamInfo4, SamLogon};
pub use token::{NlAuthMessage, NlAuthSha2Signature};

/// Operation numbers of the interface. MS-NRPC 3.5.4.
pub mod opnum {
    /// `NetrServerReqChallenge`.
    pub const SERVER_REQ_CHALLENGE: u16 = 4;
    /// `NetrServerAuthenticate3`.
    pub const SERVER_AUTHENTICATE3: u16 = 26;
    /// `NetrServerPasswordSet2`.
    pub const SERVER_PASSWORD_SET2: u16 = 30;
    /// `NetrLogonSamLogonEx`.
    pub const LOGON_SAM_LOGON_EX: u16 = 39;
}

/// `NegotiateFlags`: what both ends can do. MS-NRPC 3.1.4.2.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NegotiateFlags(pub u32);

impl NegotiateFlags {
    /// What a member of today asks for.
    pub const ASKED: Self = Self(0x612f_ffff);
    /// W: AES-128 in CFB8 mode, and SHA2.
    pub const AES: Self = Self(0x0100_0000);
    /// Y: RPC calls are signed and sealed.
    pub const SECURE_RPC: Self = Self(0x4000_0000);

    /// Whether all of `other` are set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl core::fmt::Debug for NegotiateFlags {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "0x{:08x}", self.0)
    }
}

const FORMAT: &str = "Netlogon";
