//! Opening a secure channel, and the chain of authenticators that a few calls need in it. MS-NRPC 3.1.4.1, 3.1.4.5,
//! 3.4.5.2.6.

use core::fmt;

use iwa_wire::ParseError;
use iwa_wire::netlogon::channel::{NL_TRUST_PASSWORD, WORKSTATION_SECURE_CHANNEL};
use iwa_wire::netlogon::{
    Authenticate3, Authenticated, Authenticator, NegotiateFlags, NlAuthMessage, PasswordSet2, ReqChallenge,
};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::crypto::{self, SessionKey};
use super::sealing::{End, Sealing};
use crate::env::{EntropyError, Env};
use crate::nt_status::NtStatus;
use crate::ntlm::crypto::NtHash;
use crate::secret::Secret;

/// The computer that opens a channel, by its NetBIOS names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// The domain.
    pub domain: String,
    /// The computer; its account has a `$` more.
    pub computer: String,
}

impl Member {
    /// The account's name.
    #[must_use]
    pub fn account(&self) -> String {
        format!("{}$", self.computer)
    }
}

/// Why there is no channel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ChannelError {
    /// An answer does not follow its format.
    Malformed(ParseError),
    /// There is no randomness.
    Entropy,
    /// A name that cannot be written in a token.
    Name(String),
    /// The server's challenge must not be used.
    WeakChallenge,
    /// The domain controller holds another password for the machine.
    WrongPassword,
    /// The domain controller knows no such machine, or has it disabled.
    NoAccount {
        /// Which it said.
        status: NtStatus,
    },
    /// The domain controller does not offer AES and sealing.
    NoAes {
        /// What it offers.
        found: NegotiateFlags,
    },
    /// The server could not prove that it knows the machine's password.
    ServerCredential,
    /// The return authenticator is wrong.
    ReturnAuthenticator,
    /// The new password is too long.
    PasswordLength,
    /// Any other refusal.
    Status(NtStatus),
}

impl fmt::Display for ChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => error.fmt(f),
            Self::Entropy => f.write_str("the system gives no randomness"),
            Self::Name(name) => {
                write!(f, "the NetBIOS name {name:?} is not made of ASCII characters, which a secure channel needs")
            }
            Self::WeakChallenge => f.write_str(
                "its challenge begins with five equal bytes, with which its proof would be worth nothing: whoever answers \
                 there is no domain controller that can be trusted",
            ),
            Self::WrongPassword => f.write_str(
                "it holds another password for this machine's account (wanted: ours, found: STATUS_ACCESS_DENIED); if the \
                 account was reset, or another machine joined under this name, run `iwa join` again",
            ),
            Self::NoAccount { status } => write!(
                f,
                "it has no account for this machine, or has it disabled ({status}); if it was deleted, run `iwa join` \
                 again; if the machine joined just now, this domain controller may not have heard of it yet"
            ),
            Self::NoAes { found } => write!(
                f,
                "wanted a secure channel with AES that is sealed, found {found:?} (AES is 0x01000000, sealing 0x40000000); \
                 without AES the channel could be forged: use a domain controller of Windows Server 2008 R2 or Samba 4.0 \
                 and later, and see that no policy switches AES off"
            ),
            Self::ServerCredential => f.write_str(
                "it could not prove that it knows this machine's password: whoever answers there is not our domain \
                 controller",
            ),
            Self::ReturnAuthenticator => f.write_str("its return authenticator is wrong: nobody knows what it did"),
            Self::PasswordLength => f.write_str("a machine's password has 1 to 256 UTF-16 units"),
            Self::Status(status) => write!(f, "it does not open a secure channel: {status}"),
        }
    }
}

impl std::error::Error for ChannelError {}

impl From<ParseError> for ChannelError {
    fn from(error: ParseError) -> Self {
        Self::Malformed(error)
    }
}

impl From<EntropyError> for ChannelError {
    fn from(_: EntropyError) -> Self {
        Self::Entropy
    }
}

/// A channel that waits for the server's challenge.
#[derive(Debug)]
pub struct Opening {
    member: Member,
    client_challenge: [u8; 8],
}

impl Opening {
    /// Appends the stub of `NetrServerReqChallenge`.
    ///
    /// # Errors
    /// There is no randomness, or a name that a channel cannot carry.
    pub fn begin(member: Member, env: &mut Env<'_>, out: &mut Vec<u8>) -> Result<Self, ChannelError> {
        for name in [&member.domain, &member.computer] {
            if !name.is_ascii() || name.is_empty() || name.contains('\0') {
                return Err(ChannelError::Name(name.clone()));
            }
        }
        let client_challenge = fresh_challenge(env)?;
        ReqChallenge { computer: member.computer.as_str().into(), client_challenge }.write(out);
        Ok(Self { member, client_challenge })
    }

    /// Takes the server's challenge and appends the stub of `NetrServerAuthenticate3`, which proves the machine's password.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub fn challenged(self, stub: &[u8], password: &NtHash, out: &mut Vec<u8>) -> Result<Challenged, ChannelError> {
        let (server_challenge, status) = ReqChallenge::parse_response(stub)?;
        refused(NtStatus(status))?;
        if crypto::is_weak(&server_challenge) {
            return Err(ChannelError::WeakChallenge);
        }
        let Self { member, client_challenge } = self;
        let key = crypto::session_key(password, &client_challenge, &server_challenge);
        let client_credential = crypto::credential(&key, &client_challenge);
        let call = Authenticate3 {
            account: member.account().into(),
            channel_type: WORKSTATION_SECURE_CHANNEL,
            computer: member.computer.as_str().into(),
            client_credential,
            flags: NegotiateFlags::ASKED,
        };
        call.write(out);
        Ok(Challenged {
            server_credential: crypto::credential(&key, &server_challenge),
            member,
            key,
            client_credential,
        })
    }
}

/// A channel that waits for the server's proof.
pub struct Challenged {
    member: Member,
    key: SessionKey,
    client_credential: [u8; 8],
    server_credential: [u8; 8],
}

impl fmt::Debug for Challenged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Challenged").field("member", &self.member).finish_non_exhaustive()
    }
}

impl Challenged {
    /// Takes the answer to `NetrServerAuthenticate3`.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub fn authenticated(self, stub: &[u8]) -> Result<Session, ChannelError> {
        let Authenticated { server_credential, flags, account_rid, status } = Authenticated::parse(stub)?;
        if NtStatus(status) == NtStatus::DOWNGRADE_DETECTED {
            return Err(ChannelError::NoAes { found: flags });
        }
        refused(NtStatus(status))?;
        if !bool::from(server_credential.ct_eq(&self.server_credential)) {
            return Err(ChannelError::ServerCredential);
        }
        // Only now is what it says of itself its own.
        if !flags.has(NegotiateFlags::AES) || !flags.has(NegotiateFlags::SECURE_RPC) {
            return Err(ChannelError::NoAes { found: flags });
        }
        Ok(Session { member: self.member, key: self.key, flags, account_rid, stored: self.client_credential })
    }
}

/// A session key that both ends have proved. Connections are sealed with it, as many as are wanted, until the domain
/// controller forgets it.
#[derive(Clone)]
pub struct Session {
    member: Member,
    key: SessionKey,
    flags: NegotiateFlags,
    account_rid: u32,
    /// `ClientStoredCredential`.
    stored: [u8; 8],
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("member", &self.member)
            .field("flags", &self.flags)
            .field("account_rid", &self.account_rid)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Who opened it.
    #[must_use]
    pub const fn member(&self) -> &Member {
        &self.member
    }

    /// What both ends can do.
    #[must_use]
    pub const fn flags(&self) -> NegotiateFlags {
        self.flags
    }

    /// The token of a bind: under which names the server keeps the session key.
    #[must_use]
    pub fn bind_token(&self) -> NlAuthMessage<'_> {
        NlAuthMessage::Negotiate { domain: &self.member.domain, computer: &self.member.computer }
    }

    /// The protection of a new connection.
    #[must_use]
    pub fn sealing(&self) -> Sealing {
        Sealing::new(&self.key, End::Client)
    }

    /// Appends the stub of `NetrServerPasswordSet2`, which gives the machine's account a new password.
    ///
    /// # Errors
    /// A password that is empty or too long; no randomness.
    pub fn password_set2(
        &mut self,
        new: &Secret<String>,
        env: &mut Env<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), ChannelError> {
        let password = self.encrypted(new, env)?;
        let authenticator = self.authenticator(env);
        let call = PasswordSet2 {
            account: self.member.account().into(),
            channel_type: WORKSTATION_SECURE_CHANNEL,
            computer: self.member.computer.as_str().into(),
            authenticator,
            password,
        };
        call.write(out);
        Ok(())
    }

    /// Takes the answer to it.
    ///
    /// # Errors
    /// The domain controller refused, or its return authenticator is wrong: then nobody knows which password holds.
    pub fn password_was_set2(&mut self, stub: &[u8]) -> Result<(), ChannelError> {
        let (authenticator, status) = PasswordSet2::parse_response(stub)?;
        // A refusal carries no authenticator that could be verified, and needs none: the channel is sealed.
        refused(NtStatus(status))?;
        self.verify(&authenticator)
    }

    /// `NL_TRUST_PASSWORD`: random filling, the password, its length in bytes; encrypted. MS-NRPC 2.2.1.3.7, 3.4.5.2.6.
    fn encrypted(&self, new: &Secret<String>, env: &mut Env<'_>) -> Result<[u8; NL_TRUST_PASSWORD], ChannelError> {
        const BUFFER: usize = NL_TRUST_PASSWORD - 4;
        let text: Zeroizing<Vec<u8>> = Zeroizing::new(new.expose().encode_utf16().flat_map(u16::to_le_bytes).collect());
        let from = BUFFER.checked_sub(text.len()).filter(|from| *from < BUFFER).ok_or(ChannelError::PasswordLength)?;
        let mut buffer = Zeroizing::new([0; NL_TRUST_PASSWORD]);
        let (filling, rest) = buffer.split_at_mut(from);
        env.entropy.fill(filling)?;
        let (password, length) = rest.split_at_mut(text.len());
        password.copy_from_slice(&text);
        length.copy_from_slice(&(text.len() as u32).to_le_bytes());
        crypto::encrypt(self.key.expose(), &[0; 16], buffer.as_mut_slice());
        Ok(*buffer)
    }

    /// The next authenticator of the chain. MS-NRPC 3.1.4.5.
    fn authenticator(&mut self, env: &Env<'_>) -> Authenticator {
        let timestamp = env.now.secs() as u32;
        self.step(timestamp);
        Authenticator { credential: crypto::credential(&self.key, &self.stored), timestamp }
    }

    fn verify(&mut self, returned: &Authenticator) -> Result<(), ChannelError> {
        self.step(1);
        let wanted = crypto::credential(&self.key, &self.stored);
        if bool::from(returned.credential.ct_eq(&wanted)) { Ok(()) } else { Err(ChannelError::ReturnAuthenticator) }
    }

    /// Adds to the low half of the stored credential.
    fn step(&mut self, by: u32) {
        let [a, b, c, d, ..] = self.stored;
        let low = u32::from_le_bytes([a, b, c, d]).wrapping_add(by).to_le_bytes();
        self.stored.iter_mut().zip(low).for_each(|(place, byte)| *place = byte);
    }
}

/// A challenge that is not weak: of random ones, one in 2^32 is.
fn fresh_challenge(env: &mut Env<'_>) -> Result<[u8; 8], ChannelError> {
    for _ in 0..4 {
        let challenge = env.random::<8>()?;
        if !crypto::is_weak(&challenge) {
            return Ok(challenge);
        }
    }
    // A source that gives such bytes four times in a row is broken.
    Err(ChannelError::Entropy)
}

fn refused(status: NtStatus) -> Result<(), ChannelError> {
    match status {
        NtStatus(0) => Ok(()),
        NtStatus::ACCESS_DENIED => Err(ChannelError::WrongPassword),
        NtStatus::NO_TRUST_SAM_ACCOUNT | NtStatus::NO_TRUST_LSA_SECRET | NtStatus::NO_SUCH_USER => {
            Err(ChannelError::NoAccount { status })
        }
        status => Err(ChannelError::Status(status)),
    }
}
