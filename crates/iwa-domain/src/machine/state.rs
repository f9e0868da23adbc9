//! The state directory of a membership: `machine.json` with the passwords, `machine.keytab` with their keys.
//!
//! | file | mode | holds |
//! |---|---|---|
//! | the directory | 0700 | |
//! | `machine.json` | 0600 | names, SID, salt, passwords: as good as the machine itself |
//! | `machine.keytab` | 0600 | the keys of every password whose tickets may be alive |
//! | `lock` | 0600 | held by whoever writes the other two |
//!
//! Both are replaced whole, so that a reader needs no lock, and a crash leaves the old one or the new one.

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io};

use iwa_auth::{Secret, UnixTime};
use iwa_wire::Sid;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::disk::{self, Disk, Os, Stamp};
use super::error::MachineError;
use super::keys::{self, Alive};
use super::{DomainNames, Machine, MachinePassword};

/// The format of `machine.json`.
pub(super) const FORMAT: u32 = 1;

/// Where the states of this machine's memberships are, one directory a domain.
pub const DEFAULT_DOMAINS: &str = "/var/lib/iwa/domains";

/// Everything that is kept of a membership.
#[derive(Clone, Debug)]
pub struct State {
    /// The account.
    pub machine: Machine,
    /// Its service principal names without a realm: `HTTP/web.corp.example.test`.
    pub services: Vec<String>,
    /// Passwords before [`Machine::previous`], newest first, kept for tickets that are alive.
    pub older: Vec<MachinePassword>,
}

impl State {
    /// A state with no older passwords.
    #[must_use]
    pub fn new(machine: Machine, services: Vec<String>) -> Self {
        Self { machine, services, older: Vec::new() }
    }

    /// The passwords under which tickets may be alive, current first. A password's tickets live for `lifetime` after the
    /// next one took its place.
    pub(super) fn passwords_alive(&self, alive: Alive) -> Vec<&MachinePassword> {
        let machine = &self.machine;
        let mut kept = vec![&machine.current];
        let mut successor = machine.current.since;
        for password in machine.previous.iter().chain(&self.older) {
            if alive.now < successor.plus(alive.lifetime) {
                kept.push(password);
            }
            successor = password.since;
        }
        // The last: whoever reads the keytab from its top finds what holds most likely.
        kept.extend(&machine.pending);
        kept
    }

    /// The pending password holds: it becomes the current one.
    pub(super) fn commit(&mut self, kvno: Option<u32>, now: UnixTime, keep: usize) {
        let Some(mut new) = self.machine.pending.take() else { return };
        // What tickets the old one had until now.
        new.since = now;
        new.kvno = kvno.unwrap_or(new.kvno);
        let old = std::mem::replace(&mut self.machine.current, new);
        if let Some(before) = self.machine.previous.replace(old) {
            self.older.insert(0, before);
            self.older.truncate(keep.saturating_sub(1));
        }
    }

    /// Forgets older passwords whose tickets have died; the previous one stays, for a domain that was restored from a backup.
    pub(super) fn forget(&mut self, alive: Alive) {
        let mut successor = self.machine.previous.as_ref().map_or(alive.now, |previous| previous.since);
        let dead = self.older.iter().position(|password| {
            let dead = alive.now >= successor.plus(alive.lifetime);
            successor = password.since;
            dead
        });
        if let Some(dead) = dead {
            self.older.truncate(dead);
        }
    }
}

/// A state directory.
#[derive(Clone, Debug)]
pub struct StateDir {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
}

impl StateDir {
    /// The directory at `dir`, whether there is something in it or not.
    #[must_use]
    pub fn at(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), disk: Arc::new(Os) }
    }

    /// The directory of a domain, if no other is named.
    #[must_use]
    pub fn of_domain(dns: &str) -> Self {
        Self::at(&Path::new(DEFAULT_DOMAINS).join(dns.to_lowercase()))
    }

    #[cfg(test)]
    pub(super) fn on(disk: Arc<dyn Disk>, dir: &Path) -> Self {
        Self { dir: dir.to_owned(), disk }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// The file with the passwords.
    #[must_use]
    pub fn secret(&self) -> PathBuf {
        self.dir.join("machine.json")
    }

    /// The file with the keys.
    #[must_use]
    pub fn keytab(&self) -> PathBuf {
        self.dir.join("machine.keytab")
    }

    /// Reads the state.
    ///
    /// # Errors
    /// There is none, others may read it, or it is damaged.
    pub fn load(&self) -> Result<State, MachineError> {
        let path = self.secret();
        let bytes = match self.disk.read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(MachineError::Absent { path }),
            Err(error) => return Err(failed("read", &path)(error)),
        };
        File::read(&bytes, &path)
    }

    /// What a look at the file with the passwords shows.
    pub(super) fn stamp(&self) -> Result<Stamp, MachineError> {
        let path = self.secret();
        self.disk.stamp(&path).map_err(failed("look at", &path))
    }

    /// Makes the directory if it is not there.
    ///
    /// # Errors
    /// It cannot be made, or others may write to it.
    pub fn make(&self) -> Result<(), MachineError> {
        disk::make_dir(&self.dir).map_err(failed("make", &self.dir))
    }

    /// Keeps other processes from changing the state, as long as the value lives.
    ///
    /// # Errors
    /// [`MachineError::Busy`] if one is at it; nothing is waited for.
    pub fn lock(&self) -> Result<Locked, MachineError> {
        let path = self.dir.join("lock");
        match self.disk.lock(&path) {
            Ok(held) => Ok(Locked { state: self.clone(), _held: held }),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(MachineError::Busy { path }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(MachineError::Absent { path: self.secret() }),
            Err(error) => Err(failed("lock", &path)(error)),
        }
    }
}

/// The right to change a state.
pub struct Locked {
    state: StateDir,
    _held: Box<dyn Any + Send + Sync>,
}

impl Locked {
    /// Which state.
    #[must_use]
    pub fn dir(&self) -> &StateDir {
        &self.state
    }

    /// Writes the passwords. They are on the disk when this returns.
    ///
    /// # Errors
    /// The file system's; what was there is there then.
    pub fn save(&self, state: &State) -> Result<(), MachineError> {
        self.replace(&self.state.secret(), &File::write(state))
    }

    /// Writes the keys of every password whose tickets may be alive, if the keytab does not hold just these already.
    /// They are on the disk when this returns; says whether anything was written.
    ///
    /// # Errors
    /// As [`Locked::save`].
    pub(super) fn write_keys(&self, state: &State, alive: Alive) -> Result<bool, MachineError> {
        let path = self.state.keytab();
        let old = match self.state.disk.read(&path) {
            Ok(old) => Some(old),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed("read", &path)(error)),
        };
        let new = keys::keytab(state, old.as_ref().map(|old| old.as_slice()), alive)?;
        if old.is_some_and(|old| *old == *new) {
            return Ok(false);
        }
        self.replace(&path, &new)?;
        Ok(true)
    }

    /// Removes what a killed writer left, which may hold half a secret, and puts on the disk what it replaced last.
    pub(super) fn tidy(&self) -> Result<(), MachineError> {
        for path in [self.state.keytab(), self.state.secret()].map(|path| beside(&path)) {
            self.state.disk.remove(&path).map_err(failed("remove", &path))?;
        }
        self.state.disk.sync(&self.state.dir).map_err(failed("sync", &self.state.dir))
    }

    /// Removes the passwords and the keys.
    ///
    /// # Errors
    /// The file system's.
    pub fn erase(&self) -> Result<(), MachineError> {
        let StateDir { dir, disk } = &self.state;
        self.tidy()?;
        for path in [self.state.keytab(), self.state.secret()] {
            disk.remove(&path).map_err(failed("remove", &path))?;
        }
        disk.sync(dir).map_err(failed("sync", dir))
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), MachineError> {
        let StateDir { dir, disk } = &self.state;
        let new = beside(path);
        // What a killed writer left; nobody else writes while this lock is held.
        disk.remove(&new).map_err(failed("remove", &new))?;
        let written = disk.create(&new, bytes).map_err(failed("write", &new)).and_then(|()| {
            disk.rename(&new, path).map_err(failed("replace", path))?;
            disk.sync(dir).map_err(failed("sync", dir))
        });
        if written.is_err() {
            let _ = disk.remove(&new);
        }
        written
    }
}

impl fmt::Debug for Locked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locked").field("state", &self.state).finish_non_exhaustive()
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> MachineError {
    let path = path.to_owned();
    move |error| match disk::mode_of(&error) {
        Some(mode) => MachineError::Exposed { wanted: if path.is_dir() { 0o700 } else { 0o600 }, mode, path },
        None => MachineError::Io { doing, path, error },
    }
}

/// `machine.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    domain: Domain,
    computer: String,
    dns_host_name: String,
    salt: String,
    services: Vec<String>,
    current: Password,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pending: Option<Password>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<Password>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    older: Vec<Password>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Domain {
    dns: String,
    netbios: String,
    sid: String,
    forest: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Password {
    #[serde(serialize_with = "expose", deserialize_with = "hide")]
    password: Secret<String>,
    kvno: u32,
    /// Seconds since 1970.
    since: i64,
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

impl File {
    fn read(bytes: &[u8], path: &Path) -> Result<State, MachineError> {
        // The library's own text quotes what stands in the file.
        let damaged = |error: &serde_json::Error| MachineError::Damaged {
            path: path.to_owned(),
            what: format!("line {}, column {}", error.line(), error.column()),
        };
        let Format { format } = serde_json::from_slice(bytes).map_err(|error| damaged(&error))?;
        if format != FORMAT {
            return Err(MachineError::Newer { path: path.to_owned(), found: format });
        }
        let file: Self = serde_json::from_slice(bytes).map_err(|error| damaged(&error))?;
        let sid: Sid = file
            .domain
            .sid
            .parse()
            .map_err(|_| MachineError::Damaged { path: path.to_owned(), what: "the domain's SID".to_owned() })?;
        let Domain { dns, netbios, forest, .. } = file.domain;
        let machine = Machine {
            domain: DomainNames { dns, netbios, sid, forest },
            computer: file.computer,
            dns_host_name: file.dns_host_name,
            salt: file.salt,
            current: file.current.into(),
            pending: file.pending.map(Into::into),
            previous: file.previous.map(Into::into),
        };
        let older = file.older.into_iter().map(Into::into).collect();
        Ok(State { machine, services: file.services, older })
    }

    fn write(state: &State) -> Zeroizing<Vec<u8>> {
        let Machine { domain, computer, dns_host_name, salt, current, pending, previous } = &state.machine;
        let file = Self {
            format: FORMAT,
            domain: Domain {
                dns: domain.dns.clone(),
                netbios: domain.netbios.clone(),
                sid: domain.sid.to_string(),
                forest: domain.forest.clone(),
            },
            computer: computer.clone(),
            dns_host_name: dns_host_name.clone(),
            salt: salt.clone(),
            services: state.services.clone(),
            current: current.into(),
            pending: pending.as_ref().map(Into::into),
            previous: previous.as_ref().map(Into::into),
            older: state.older.iter().map(Into::into).collect(),
        };
        // Room for all of it: a vector that grows leaves its former self behind.
        let passwords = 512 * (3 + state.older.len());
        let names: usize = state.services.iter().map(|name| 2 * name.len() + 16).sum();
        let mut out = Zeroizing::new(Vec::with_capacity(8192 + passwords + names));
        serde_json::to_writer_pretty(&mut *out, &file).expect("texts and numbers are JSON, and a vector takes them");
        out.push(b'\n');
        out
    }
}

impl From<Password> for MachinePassword {
    fn from(Password { password, kvno, since }: Password) -> Self {
        Self { password, kvno, since: UnixTime::from_secs(since) }
    }
}

impl From<&MachinePassword> for Password {
    fn from(MachinePassword { password, kvno, since }: &MachinePassword) -> Self {
        Self { password: password.clone(), kvno: *kvno, since: since.secs() }
    }
}

fn expose<S: serde::Serializer>(password: &Secret<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(password.expose())
}

fn hide<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Secret<String>, D::Error> {
    String::deserialize(deserializer).map(Secret::new)
}
