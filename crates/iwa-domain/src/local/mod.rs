//! Local accounts: users, groups and service principals of this machine, in an embedded database. MS-SAMR 3.1.1 in small.
//!
//! Many processes share one state directory: `iwa serve`, `iwa kdc`, `iwa user`. What one of them changes is on the disk
//! before its call returns, and every other one sees it at its next logon:
//!
//! ```text
//! change:   open accounts.redb alone -> one transaction -> commit (on the disk) -> close
//! logon:    look at the file (one stat) --same--> the snapshot in memory
//!                                       '-other-> open for reading -> read everything -> new snapshot
//! failure:  failures: one record, in place, under a lock, never synced
//! ```
//!
//! | file | mode | holds |
//! |---|---|---|
//! | the directory | 0700 | |
//! | `accounts.redb` | 0600 | accounts with NT hashes and Kerberos keys, groups, services: as good as every password |
//! | `failures` | 0600 | failed logons and lock-outs |

pub mod error;
pub mod name;

mod change;
mod failures;
mod logon;
mod record;
mod snapshot;
mod store;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use iwa_auth::UnixTime;

pub use change::{NewUser, UserChange};
pub use error::AccountsError;
pub use failures::{Failures, Lockout};
pub use record::{Group, KeySet, Machine, Rid, Service, User};
pub use snapshot::{Snapshot, USERS};

use failures::FailureFile;
use store::{Stamp, Store};

/// The accounts of one state directory. Cheap to clone; every clone sees the same.
#[derive(Clone, Debug)]
pub struct LocalAccounts {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    store: Store,
    failures: FailureFile,
    lockout: Lockout,
    current: ArcSwap<Loaded>,
    /// Held while the file is read, so that a hundred logons after a change read it once.
    loading: Mutex<()>,
}

#[derive(Debug)]
struct Loaded {
    snapshot: Arc<Snapshot>,
    stamp: Stamp,
    /// Whether the stamp was old enough, when it was taken, for every later change to move it.
    settled: bool,
}

impl LocalAccounts {
    /// Opens the accounts of a state directory.
    ///
    /// # Errors
    /// There are none, others may read them, or they cannot be read.
    pub fn open(dir: &Path, lockout: Lockout) -> Result<Self, AccountsError> {
        Self::with(dir, Store::open(dir)?, lockout)
    }

    /// Opens the accounts of a state directory, and makes it, with a SID and ticket-granting keys of its own, if there is none:
    /// for a machine of this NetBIOS name and realm. Says whether it was made; a directory that is there keeps its name and
    /// realm.
    ///
    /// # Errors
    /// A name breaks a rule, or the directory cannot be made or read.
    pub fn open_or_create(
        dir: &Path,
        machine: &str,
        realm: &str,
        lockout: Lockout,
    ) -> Result<(Self, bool), AccountsError> {
        let (machine, krbtgt) = change::new_machine(machine, realm)?;
        let (store, created) = Store::create(dir, &machine, &krbtgt)?;
        Ok((Self::with(dir, store, lockout)?, created))
    }

    fn with(dir: &Path, store: Store, lockout: Lockout) -> Result<Self, AccountsError> {
        let failures = FailureFile::open(dir)?;
        let current = ArcSwap::from_pointee(load(&store)?);
        let inner = Inner { dir: dir.to_owned(), store, failures, lockout, current, loading: Mutex::new(()) };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The state directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// The accounts as they stand now, whoever changed them. Reads the file, and may wait for whoever has it open, if
    /// something changed: call it where blocking is allowed, or use [`LocalAccounts::current`].
    ///
    /// # Errors
    /// The file cannot be read: the accounts are then not to be trusted, and nobody gets in.
    pub fn snapshot(&self) -> Result<Arc<Snapshot>, AccountsError> {
        if let Some(snapshot) = self.fresh()? {
            return Ok(snapshot);
        }
        let _one_at_a_time = self.inner.loading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(snapshot) = self.fresh()? {
            return Ok(snapshot);
        }
        // A young stamp that did not move stands most often for the same accounts: their number tells, and is quick to read.
        let loaded = self.inner.current.load_full();
        if loaded.stamp == self.inner.store.stamp()? {
            let now = SystemTime::now();
            let (generation, stamp) = self.inner.store.generation()?;
            if generation == loaded.snapshot.generation {
                let snapshot = Arc::clone(&loaded.snapshot);
                let settled = stamp.settled(now);
                self.inner.current.store(Arc::new(Loaded { snapshot: Arc::clone(&snapshot), stamp, settled }));
                return Ok(snapshot);
            }
        }
        let loaded = Arc::new(load(&self.inner.store)?);
        self.inner.current.store(Arc::clone(&loaded));
        Ok(Arc::clone(&loaded.snapshot))
    }

    /// The accounts as they stand now, for async code: the file is read elsewhere if it has to be.
    ///
    /// # Errors
    /// As [`LocalAccounts::snapshot`].
    pub async fn current(&self) -> Result<Arc<Snapshot>, AccountsError> {
        if let Some(snapshot) = self.fresh()? {
            return Ok(snapshot);
        }
        let accounts = self.clone();
        match tokio::task::spawn_blocking(move || accounts.snapshot()).await {
            Ok(snapshot) => snapshot,
            Err(_) => Err(AccountsError::Damaged { what: "the store (its reader panicked)" }),
        }
    }

    /// The failures and the lock-out of an account.
    ///
    /// # Errors
    /// The file of failures cannot be read.
    pub fn failures(&self, rid: Rid) -> Result<Failures, AccountsError> {
        self.inner.failures.of(rid)
    }

    /// When accounts are locked out.
    #[must_use]
    pub fn lockout(&self) -> Lockout {
        self.inner.lockout
    }

    /// The snapshot in memory, if nothing changed since it was read.
    fn fresh(&self) -> Result<Option<Arc<Snapshot>>, AccountsError> {
        let loaded = self.inner.current.load();
        let stamp = self.inner.store.stamp()?;
        Ok((loaded.settled && loaded.stamp == stamp).then(|| Arc::clone(&loaded.snapshot)))
    }
}

fn load(store: &Store) -> Result<Loaded, AccountsError> {
    // The clock is read before the file: a stamp must be older than the reading by a step of the file system's clock.
    let now = SystemTime::now();
    let (snapshot, stamp) = store.load()?;
    Ok(Loaded { snapshot: Arc::new(snapshot), settled: stamp.settled(now), stamp })
}

/// The present time.
pub(crate) fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixTime::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}
