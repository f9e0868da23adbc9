//! The joints at which somebody else does I/O: who holds the accounts, the replay cache, the KDC.
//!
//! The futures are boxed so that a server can hold `Arc<dyn Logon>`; each is made at most once a handshake.

use core::fmt;
use core::future::Future;
use core::pin::Pin;

use iwa_wire::Sid;

use crate::env::UnixTime;
use crate::identity::{Account, Mechanism, NamedGroup};
use crate::nt_status::NtStatus;
use crate::secret::Secret;

/// A future that a `dyn` port returns.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// An NTLM response to be verified by whoever knows the password: the fields of `NETLOGON_NETWORK_INFO` (MS-NRPC 2.2.1.4.5).
#[derive(Clone)]
pub struct NetworkLogon {
    /// As the client spelled it: NTLMv2 hashes this very spelling of the domain.
    pub domain: String,
    /// As the client spelled it.
    pub user: String,
    /// The client's name for itself; not proven by anything.
    pub workstation: String,
    /// Our challenge.
    pub server_challenge: [u8; 8],
    /// `NtChallengeResponse`: `NTProofStr` and the NTLMv2 client challenge.
    pub nt_response: Vec<u8>,
    /// `LmChallengeResponse`.
    pub lm_response: Vec<u8>,
}

impl fmt::Debug for NetworkLogon {
    /// Without the responses: whoever reads one can guess passwords against it at leisure.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetworkLogon")
            .field("domain", &self.domain)
            .field("user", &self.user)
            .field("workstation", &self.workstation)
            .finish_non_exhaustive()
    }
}

/// What the authority says of a verified NTLM response.
#[derive(Clone, Debug)]
pub struct LogonInfo {
    /// The account.
    pub account: Account,
    /// Its groups.
    pub groups: Vec<Sid>,
    /// Its groups that have names; `None` if the authority knows groups by their SIDs alone.
    pub named_groups: Option<Vec<NamedGroup>>,
    /// `SessionBaseKey` (MS-NLMP 3.3.2), with which the MIC and the session's keys are checked and made.
    pub session_base_key: Secret<[u8; 16]>,
}

/// Why there is no [`LogonInfo`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogonError {
    /// The authority refused.
    Refused(NtStatus),
    /// The authority cannot be asked now; the text says which and why.
    Unavailable(String),
}

/// Whoever holds the accounts: a local database, a domain controller, a directory.
pub trait Logon: Send + Sync {
    /// Verifies an NTLM response.
    fn network<'a>(&'a self, logon: &'a NetworkLogon) -> Answer<'a, Result<LogonInfo, LogonError>>;

    /// Verifies a password (HTTP Basic).
    fn password<'a>(
        &'a self,
        domain: &'a str,
        user: &'a str,
        password: &'a Secret<String>,
    ) -> Answer<'a, Result<PasswordVerified, LogonError>>;
}

/// An authority accepted a password. Only an implementation of [`Logon`] has reason to make one.
#[derive(Debug)]
pub struct PasswordVerified {
    account: Account,
    groups: Vec<Sid>,
    named_groups: Option<Vec<NamedGroup>>,
}

impl PasswordVerified {
    /// Says that the authority accepted the password of this account.
    #[must_use]
    pub const fn by_authority(account: Account, groups: Vec<Sid>) -> Self {
        Self { account, groups, named_groups: None }
    }

    /// And that these are all the groups of the account that have names.
    #[must_use]
    pub fn with_named_groups(mut self, groups: Vec<NamedGroup>) -> Self {
        self.named_groups = Some(groups);
        self
    }

    pub(crate) fn into_parts(self) -> (Account, Vec<Sid>, Option<Vec<NamedGroup>>) {
        (self.account, self.groups, self.named_groups)
    }
}

/// Somebody proved who they are before, was sealed into a session by us, and the seal was opened now: authentic, of this
/// host and policy, and not past its end. Only whoever seals sessions has reason to make one.
#[derive(Debug)]
pub struct SessionVerified {
    account: Account,
    groups: Vec<Sid>,
    named_groups: Option<Vec<NamedGroup>>,
    mechanism: Mechanism,
}

impl SessionVerified {
    /// Says that a seal of our own, which was opened, says this account, its groups, and how it was proved when the session
    /// began.
    #[must_use]
    pub const fn by_seal(
        account: Account,
        groups: Vec<Sid>,
        named_groups: Option<Vec<NamedGroup>>,
        mechanism: Mechanism,
    ) -> Self {
        Self { account, groups, named_groups, mechanism }
    }

    pub(crate) fn into_parts(self) -> (Account, Vec<Sid>, Option<Vec<NamedGroup>>, Mechanism) {
        (self.account, self.groups, self.named_groups, self.mechanism)
    }
}

/// What identifies an authenticator: a hash of its ciphertext (as MIT's `file2` cache does), so that two authenticators are
/// the same only if every bit is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ReplayKey(pub [u8; 16]);

/// Whether an authenticator was seen before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReplayVerdict {
    /// Never; it is recorded now, in the same atomic step.
    Fresh,
    /// It was.
    Seen,
    /// The cache cannot tell; fails closed.
    Unavailable(&'static str),
}

/// The memory of authenticators.
pub trait ReplayCache: Send + Sync {
    /// Looks for `key` and records it until `expires`, in one atomic step.
    fn check(&self, key: ReplayKey, now: UnixTime, expires: UnixTime) -> ReplayVerdict;
}

/// Whoever carries messages to the KDC of a realm: a resolver and sockets, or a KDC in the same process.
pub trait Kdc: Send + Sync {
    /// Sends a request and returns the answer, whatever it says (a `KRB-ERROR` too). `Err` tells why there is none.
    fn ask<'a>(&'a self, realm: &'a str, request: &'a [u8]) -> Answer<'a, Result<Vec<u8>, String>>;
}

/// Whoever knows which account or group a name stands for: a directory, or what is remembered of it.
pub trait Directory: Send + Sync {
    /// The SID of an account or group, `None` if there is none of that name. `domain` is a NetBIOS or DNS name. `Err` says
    /// why it cannot be told now; nobody may be let in or kept out on the strength of that.
    fn sid_of<'a>(&'a self, domain: &'a str, name: &'a str) -> Answer<'a, Result<Option<Sid>, String>>;

    /// What a SID is called. `None` if nothing in the directory has it.
    fn name_of(&self, sid: Sid) -> Answer<'_, Result<Option<AccountName>, String>>;
}

/// An account's or a group's name, in its domain.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct AccountName {
    /// The NetBIOS domain.
    pub domain: String,
    /// `sAMAccountName`.
    pub name: String,
}

impl fmt::Display for AccountName {
    /// `DOMAIN\name`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\\{}", self.domain, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_from_which_a_password_could_be_guessed_is_not_printed() {
        let logon = NetworkLogon {
            domain: "EXAMPLE".into(),
            user: "alice".into(),
            workstation: String::new(),
            server_challenge: [0xab; 8],
            nt_response: vec![0xcd; 40],
            lm_response: Vec::new(),
        };
        let shown = format!("{logon:?}");
        assert!(shown.contains("alice") && !shown.contains("205") && !shown.contains("171"), "{shown}");
    }
}
