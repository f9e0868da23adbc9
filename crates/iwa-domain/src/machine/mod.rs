//! The machine's account in a domain: its names, its passwords, and what makes a change of password safe. MS-ADTS 6.4,
//! MS-NRPC 3.1.1.
//!
//! The state is in a directory ([`StateDir`]): the passwords in one file, the keys that are made of them in another. Who runs as
//! the machine holds a [`Membership`], and asks [`Membership::refresh`] whether another process changed something.

mod disk;
pub mod error;
pub mod join;
pub mod kerberos;
pub mod keys;
pub mod rotate;
mod state;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
pub use error::MachineError;
pub use state::{DEFAULT_DOMAINS, Locked, State, StateDir};

use disk::Stamp;
use iwa_auth::{Secret, UnixTime};
use iwa_wire::Sid;

/// Everything a member of a domain knows of itself.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The domain.
    pub domain: DomainNames,
    /// The NetBIOS name, in upper case: `WEB`. The account is `WEB$`.
    pub computer: String,
    /// The DNS name: `web.corp.example.test`.
    pub dns_host_name: String,
    /// The salt of the account's Kerberos keys, as the KDC gives it.
    pub salt: String,
    /// The password of now.
    pub current: MachinePassword,
    /// The one that is being set: nobody knows yet whether the domain took it.
    pub pending: Option<MachinePassword>,
    /// The one before, whose tickets may still be alive.
    pub previous: Option<MachinePassword>,
}

/// What a domain is called.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DomainNames {
    /// `corp.example.test`, in lower case.
    pub dns: String,
    /// `CORP`.
    pub netbios: String,
    /// The domain's SID.
    pub sid: Sid,
    /// The DNS name of the forest's root domain.
    pub forest: String,
}

impl DomainNames {
    /// The Kerberos realm: the DNS name in upper case (MS-KILE 3.1.5.8).
    #[must_use]
    pub fn realm(&self) -> String {
        self.dns.to_uppercase()
    }
}

/// A password of the machine's account.
#[derive(Clone, Debug)]
pub struct MachinePassword {
    /// Random text.
    pub password: Secret<String>,
    /// The version of the keys that are made of it.
    pub kvno: u32,
    /// Since when it is.
    pub since: UnixTime,
}

impl Machine {
    /// The account's name: `WEB$`.
    #[must_use]
    pub fn account(&self) -> String {
        format!("{}$", self.computer)
    }

    /// The passwords that the domain may know the machine by, the likeliest first. While one is being set, either may hold.
    pub fn passwords(&self) -> impl Iterator<Item = &MachinePassword> {
        [Some(&self.current), self.pending.as_ref(), self.previous.as_ref()].into_iter().flatten()
    }
}

/// The machine's account as everybody in the process sees it. Cheap to clone; a change is seen by every clone at once.
#[derive(Clone, Debug)]
pub struct Membership {
    now: Arc<ArcSwap<Machine>>,
    /// Where it is on the disk, and what was seen there when it was read.
    kept: Option<Arc<(StateDir, Mutex<Option<Stamp>>)>>,
}

impl Membership {
    /// A membership that is on no disk.
    #[must_use]
    pub fn new(machine: Machine) -> Self {
        Self { now: Arc::new(ArcSwap::from_pointee(machine)), kept: None }
    }

    /// The membership of a state directory.
    ///
    /// # Errors
    /// There is none, others may read it, or it cannot be read.
    pub fn open(dir: &Path) -> Result<Self, MachineError> {
        Self::of(StateDir::at(dir))
    }

    /// As [`Membership::open`].
    ///
    /// # Errors
    /// As [`Membership::open`].
    pub fn of(dir: StateDir) -> Result<Self, MachineError> {
        // First the look, then the reading: a file that is replaced in between is read again.
        let stamp = dir.stamp().ok();
        let machine = dir.load()?.machine;
        Ok(Self { now: Arc::new(ArcSwap::from_pointee(machine)), kept: Some(Arc::new((dir, Mutex::new(stamp)))) })
    }

    /// Where it is on the disk.
    #[must_use]
    pub fn dir(&self) -> Option<&StateDir> {
        self.kept.as_ref().map(|kept| &kept.0)
    }

    /// The account of now.
    #[must_use]
    pub fn machine(&self) -> Arc<Machine> {
        self.now.load_full()
    }

    /// Replaces it, in this process alone.
    pub fn replace(&self, machine: Machine) {
        self.now.store(Arc::new(machine));
    }

    /// Reads the state again if another process replaced it, and says whether it did. Costs one look at the file otherwise:
    /// worth it before a domain controller that takes none of the passwords is blamed.
    ///
    /// # Errors
    /// The file cannot be read any more; what was read before stays.
    pub fn refresh(&self) -> Result<bool, MachineError> {
        let Some((dir, seen)) = self.kept.as_deref() else { return Ok(false) };
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = dir.stamp()?;
        if *seen == Some(stamp) {
            return Ok(false);
        }
        self.replace(dir.load()?.machine);
        *seen = Some(stamp);
        Ok(true)
    }
}
