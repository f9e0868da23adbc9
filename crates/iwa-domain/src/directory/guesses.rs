//! Wrong passwords for accounts of a directory, which does not see those of NTLM: they are verified here. The policy is the one
//! of the local accounts ([`Lockout`]).
//!
//! In memory: a restart forgets, a reload of the configuration does not. Only accounts that exist are counted, so that
//! invented names cannot push a real one out.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use iwa_auth::UnixTime;

use super::name::Name;
use crate::local::{Failures, Lockout};

/// The failures of the accounts of a directory. Keep it over reloads.
#[derive(Debug, Default)]
pub struct Guesses(Mutex<HashMap<Name, Failures>>);

impl Guesses {
    /// Whether an account is locked out.
    pub(super) fn locked(&self, account: &Name, now: UnixTime) -> bool {
        self.lock().get(account).is_some_and(|failures| failures.locked(now))
    }

    /// Counts a failure; whether the account is locked out now.
    pub(super) fn count(&self, account: &Name, policy: &Lockout, now: UnixTime) -> bool {
        let mut all = self.lock();
        if all.len() >= MOST && !all.contains_key(account) {
            all.retain(|_, failures| failures.locked(now) || now <= failures.last.plus(policy.window));
            if all.len() >= MOST {
                let oldest = all.iter().min_by_key(|(_, failures)| failures.last).map(|(name, _)| name.clone());
                oldest.map(|oldest| all.remove(&oldest));
            }
        }
        let failures = all.entry(account.clone()).or_default();
        *failures = failures.and_one(policy, now);
        failures.locked(now)
    }

    /// Forgets the failures after a right password, unless others locked the account meanwhile; whether they did.
    pub(super) fn forgive(&self, account: &Name, now: UnixTime) -> bool {
        let mut all = self.lock();
        let locked = all.get(account).is_some_and(|failures| failures.locked(now));
        if !locked {
            all.remove(account);
        }
        locked
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Name, Failures>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// More accounts than this are not guessed at in one window of time.
const MOST: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_lock_one_account_and_no_other() {
        let (guesses, policy) = (Guesses::default(), Lockout { threshold: 3, ..Lockout::default() });
        let name = |text| Name::parse(text).unwrap();
        let (alice, bob, now) = (name("uid=alice,o=x"), name("uid=bob,o=x"), UnixTime::from_secs(1_000_000));
        assert!(!guesses.count(&alice, &policy, now) && !guesses.count(&alice, &policy, now));
        assert!(!guesses.locked(&alice, now));
        assert!(guesses.count(&name("UID=Alice, O=X"), &policy, now));
        assert!(guesses.locked(&alice, now) && !guesses.locked(&bob, now));
        assert!(guesses.forgive(&alice, now), "a right password does not open it early");
        assert!(guesses.locked(&alice, now));
        let later = now.plus(policy.duration);
        assert!(!guesses.locked(&alice, later) && !guesses.forgive(&alice, later));
        assert!(!guesses.count(&alice, &policy, later));
    }
}
