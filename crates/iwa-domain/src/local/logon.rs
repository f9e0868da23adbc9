//! A logon with a local account, as Windows decides it. MS-NLMP 3.3.2, MS-APDS 3.1.5, KB 103390.
//!
//! - The domain: the machine's own name, a name that nobody knows, and none at all mean the local account. What counts is
//!   the proof, which hashes the client's own spelling of the domain.
//! - The order: a lock-out is said whatever the password is, so that guessing on gains nothing; everything else that keeps
//!   an account out (disabled, expired, password to be changed) is said only after a right password, so that it tells
//!   nothing to somebody who does not know it.
//! - One of the last two passwords is wrong, and is not counted: a browser or a phone that was not told of the new one
//!   would lock its owner out within one page.
//! - An unknown account costs what a known one costs.

use iwa_auth::ntlm::crypto;
use iwa_auth::ports::{Answer, Logon, LogonError, LogonInfo, NetworkLogon, PasswordVerified};
use iwa_auth::{Account, NtStatus, Secret, UnixTime};

use super::change::KEPT_PASSWORDS;
use super::record::User;
use super::snapshot::Snapshot;
use super::{AccountsError, LocalAccounts, Lockout, failures, now};

impl Logon for LocalAccounts {
    fn network<'a>(&'a self, logon: &'a NetworkLogon) -> Answer<'a, Result<LogonInfo, LogonError>> {
        Box::pin(async move {
            let snapshot = self.current().await.map_err(unavailable)?;
            self.verify_network(&snapshot, logon, now())
        })
    }

    fn password<'a>(
        &'a self,
        domain: &'a str,
        user: &'a str,
        password: &'a Secret<String>,
    ) -> Answer<'a, Result<PasswordVerified, LogonError>> {
        Box::pin(async move {
            let snapshot = self.current().await.map_err(unavailable)?;
            self.verify_password(&snapshot, domain, user, password, now())
        })
    }
}

impl LocalAccounts {
    /// Verifies an NTLMv2 response against these accounts.
    ///
    /// # Errors
    /// Why the account may not in, as an NTSTATUS, or that the failures cannot be counted.
    pub fn verify_network(
        &self,
        snapshot: &Snapshot,
        logon: &NetworkLogon,
        now: UnixTime,
    ) -> Result<LogonInfo, LogonError> {
        let user = snapshot.logon_account(&logon.domain, &logon.user);
        self.check_lockout(user, now)?;
        let nobody = Secret::new(NO_HASH);
        let hash = user.map_or(&nobody, |user| &user.nt_hash);
        let verify = |hash: &Secret<[u8; 16]>| {
            crypto::verify_ntlmv2(hash, &logon.user, &logon.domain, &logon.server_challenge, &logon.nt_response)
        };
        let verified = verify(hash);
        if verified.is_none() && is_previous(previous(user), |hash| verify(hash).is_some()) {
            return Err(LogonError::Refused(NtStatus::WRONG_PASSWORD));
        }
        let user = self.conclude(user, verified.is_some(), now)?;
        // Invariant: `conclude` refuses what was not verified.
        let session_base_key = verified.ok_or(LogonError::Refused(NtStatus::WRONG_PASSWORD))?;
        Ok(LogonInfo {
            account: snapshot.account(user),
            groups: snapshot.group_sids(user.rid),
            named_groups: None,
            session_base_key,
        })
    }

    /// Verifies a password against these accounts.
    ///
    /// # Errors
    /// As [`LocalAccounts::verify_network`].
    pub fn verify_password(
        &self,
        snapshot: &Snapshot,
        domain: &str,
        user: &str,
        password: &Secret<String>,
        now: UnixTime,
    ) -> Result<PasswordVerified, LogonError> {
        let user = snapshot.logon_account(domain, user);
        self.check_lockout(user, now)?;
        let hash = user.map_or(&NO_HASH, |user| user.nt_hash.expose());
        let given = crypto::nt_hash(password.expose());
        let right = given.ct_eq(hash);
        if !right && is_previous(previous(user), |hash| given.ct_eq(hash.expose())) {
            return Err(LogonError::Refused(NtStatus::WRONG_PASSWORD));
        }
        let user = self.conclude(user, right, now)?;
        Ok(PasswordVerified::by_authority(snapshot.account(user), snapshot.group_sids(user.rid)))
    }

    /// Whether this account may be proved at all now: the KDC asks before it looks at pre-authentication.
    ///
    /// # Errors
    /// [`NtStatus::ACCOUNT_LOCKED_OUT`], or that the failures cannot be read.
    pub fn check_lockout(&self, user: Option<&User>, now: UnixTime) -> Result<(), LogonError> {
        let rid = user.map_or(failures::NOBODY, |user| user.rid);
        if self.failures(rid).map_err(unavailable)?.locked(now) {
            return Err(LogonError::Refused(NtStatus::ACCOUNT_LOCKED_OUT));
        }
        Ok(())
    }

    /// Ends an attempt: counts it, and says whether the account may in. `right` is what the proof showed.
    ///
    /// # Errors
    /// Why the account may not in.
    pub fn conclude<'s>(&self, user: Option<&'s User>, right: bool, now: UnixTime) -> Result<&'s User, LogonError> {
        let refused = |status| Err(LogonError::Refused(status));
        let failures = &self.inner.failures;
        let Some(user) = user else {
            let never = Lockout { threshold: 0, ..Lockout::default() };
            failures.count(failures::NOBODY, &never, now).map_err(unavailable)?;
            return refused(NtStatus::NO_SUCH_USER);
        };
        if !right {
            let after = failures.count(user.rid, &self.inner.lockout, now).map_err(unavailable)?;
            if after.locked(now) {
                tracing::warn!(account = %user.name, failures = after.count, "locked out after too many failures");
            }
            return refused(NtStatus::WRONG_PASSWORD);
        }
        // Attempts run side by side: others may have locked the account since this one began, and then its luck is void.
        let known = failures.of(user.rid).map_err(unavailable)?;
        if known != super::Failures::default() && failures.forgive(user.rid, now).map_err(unavailable)?.locked(now) {
            return refused(NtStatus::ACCOUNT_LOCKED_OUT);
        }
        user.check(now).map(|()| user).map_err(LogonError::Refused)
    }
}

impl User {
    /// What keeps this account out although its password is right.
    ///
    /// # Errors
    /// The NTSTATUS.
    pub fn check(&self, now: UnixTime) -> Result<(), NtStatus> {
        if self.disabled {
            Err(NtStatus::ACCOUNT_DISABLED)
        } else if self.expires.is_some_and(|expires| expires <= now) {
            Err(NtStatus::ACCOUNT_EXPIRED)
        } else if self.must_change {
            Err(NtStatus::PASSWORD_MUST_CHANGE)
        } else {
            Ok(())
        }
    }
}

impl Snapshot {
    /// The account that a client means by this domain and user. Without a domain the user may be a UPN.
    #[must_use]
    pub fn logon_account(&self, domain: &str, user: &str) -> Option<&User> {
        let upn = || if domain.is_empty() && user.contains('@') { self.user_by_upn(user) } else { None };
        self.user(user).or_else(upn)
    }

    /// An account as the rest of the program knows it.
    #[must_use]
    pub fn account(&self, user: &User) -> Account {
        let machine = self.machine();
        Account {
            name: user.name.clone(),
            domain: machine.name.clone(),
            realm: Some(machine.realm.clone()),
            upn: Some(user.upn.clone()),
            display_name: Some(user.display_name.clone()).filter(|name| !name.is_empty()),
            sid: Some(machine.sid_of(user.rid)),
        }
    }
}

fn previous(user: Option<&User>) -> &[Secret<[u8; 16]>] {
    user.map_or(&[], |user| &user.previous)
}

/// Whether a proof that is wrong was right before the password changed. As many are compared for every account, one that is
/// not there among them: otherwise the time would tell who is there and has changed their password.
fn is_previous(previous: &[Secret<[u8; 16]>], matches: impl Fn(&Secret<[u8; 16]>) -> bool) -> bool {
    let nobody = Secret::new(NO_HASH);
    (0..KEPT_PASSWORDS).fold(false, |found, nth| {
        let kept = previous.get(nth);
        let right = matches(kept.unwrap_or(&nobody));
        found | (right && kept.is_some())
    })
}

fn unavailable(error: AccountsError) -> LogonError {
    LogonError::Unavailable(error.to_string())
}

/// What an unknown account is compared with: no password has this NT hash as far as anybody knows, and a logon without an
/// account is refused whatever the comparison says.
const NO_HASH: [u8; 16] = [0x5a; 16];

#[cfg(test)]
mod tests {
    use core::cell::Cell;

    use super::*;

    #[test]
    fn former_passwords_are_compared_as_often_for_nobody_as_for_anybody() {
        for (previous, given, found) in [
            (&[][..], 1, false),
            // What stands in for a password that is not there opens nothing.
            (&[], 0x5a, false),
            (&[1], 0x5a, false),
            (&[1], 1, true),
            (&[1, 2], 1, true),
            (&[1, 2], 2, true),
            (&[1, 2], 3, false),
        ] {
            let previous: Vec<_> = previous.iter().map(|byte| Secret::new([*byte; 16])).collect();
            let compared = Cell::new(0);
            let matches = |hash: &Secret<[u8; 16]>| {
                compared.set(compared.get() + 1);
                hash.ct_eq(&[given; 16])
            };
            assert_eq!(is_previous(&previous, matches), found);
            assert_eq!(compared.get(), KEPT_PASSWORDS);
        }
    }
}
