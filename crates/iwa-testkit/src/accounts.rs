//! Accounts in memory: names and NT hashes, and an answer to an NTLM response.

use iwa_auth::ntlm::crypto::{NtHash, nt_hash, verify_ntlmv2};
use iwa_auth::ports::{LogonError, LogonInfo, NetworkLogon};
use iwa_auth::{Account, NtStatus};

/// The NetBIOS name of the domain in tests.
pub const DOMAIN: &str = "EXAMPLE";

/// Who is known, under any spelling of the domain.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    known: Vec<(String, NtHash)>,
}

impl Accounts {
    /// alice with the password `Password`, as MS-NLMP 4.2 has it.
    #[must_use]
    pub fn alice() -> Self {
        Self::default().with("alice", nt_hash("Password"))
    }

    /// These and one more.
    #[must_use]
    pub fn with(mut self, name: &str, hash: NtHash) -> Self {
        self.known.push((name.to_owned(), hash));
        self
    }

    /// Answers an NTLM response.
    ///
    /// # Errors
    /// As Windows: `STATUS_NO_SUCH_USER`, `STATUS_WRONG_PASSWORD`.
    pub fn logon(&self, logon: &NetworkLogon) -> Result<LogonInfo, LogonError> {
        let (name, hash) = self
            .known
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(&logon.user))
            .ok_or(LogonError::Refused(NtStatus::NO_SUCH_USER))?;
        let session_base_key =
            verify_ntlmv2(hash, &logon.user, &logon.domain, &logon.server_challenge, &logon.nt_response)
                .ok_or(LogonError::Refused(NtStatus::WRONG_PASSWORD))?;
        let account = Account { name: name.clone(), domain: DOMAIN.to_owned(), ..Account::default() };
        Ok(LogonInfo { account, groups: Vec::new(), named_groups: None, session_base_key })
    }
}
