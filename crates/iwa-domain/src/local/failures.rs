//! Failed logons and lock-outs. MS-SAMR 3.1.1.7.1 (`badPwdCount`, `lockoutTime`), with the policy's names.
//!
//! A row of small records, one an account, in a file of its own: written in place under a file lock, so that every process
//! counts together, and never synced, so that a guesser cannot make the disk work. A crash of a process loses nothing; a
//! power failure may lose the latest counts, as it does in a domain controller's memory.

use std::fs::{File, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use iwa_auth::UnixTime;
use iwa_wire::Reader;

use super::error::AccountsError;
use super::record::Rid;
use super::store::{FIRST_RID, check_mode, io_error, new_file};

/// When an account is locked out (`LockoutThreshold`, `LockoutDuration`, `LockoutObservationWindow`). The default is
/// Windows 11's: ten failures within ten minutes lock for ten minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lockout {
    /// After how many failures; 0 turns it off.
    pub threshold: u32,
    /// For how long; zero means until an administrator unlocks.
    pub duration: Duration,
    /// Within what time of each other the failures count.
    pub window: Duration,
}

impl Default for Lockout {
    fn default() -> Self {
        Self { threshold: 10, duration: Duration::from_secs(600), window: Duration::from_secs(600) }
    }
}

/// The failures of one account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Failures {
    /// How many there were within the window of the policy.
    pub count: u32,
    /// The last one.
    pub last: UnixTime,
    /// Until when the account is locked out; 1970 if it is not.
    pub locked_until: UnixTime,
}

impl Failures {
    /// Whether the account is locked out.
    #[must_use]
    pub fn locked(&self, now: UnixTime) -> bool {
        now < self.locked_until
    }

    /// One more failure. While an account is locked out, nothing counts.
    pub(crate) fn and_one(self, policy: &Lockout, now: UnixTime) -> Self {
        if self.locked(now) {
            return self;
        }
        let fresh = self.locked_until != UnixTime::default() || now > self.last.plus(policy.window);
        let count = if fresh { 1 } else { self.count.saturating_add(1) };
        let locked_until = if policy.threshold == 0 || count < policy.threshold {
            UnixTime::default()
        } else if policy.duration.is_zero() {
            UnixTime::from_micros(u64::MAX)
        } else {
            now.plus(policy.duration)
        };
        Self { count, last: now, locked_until }
    }
}

/// The file with the failures of all accounts.
#[derive(Debug)]
pub(super) struct FailureFile {
    path: PathBuf,
    // The operating system's lock belongs to the open file, so threads of this process exclude each other here.
    file: Mutex<File>,
}

impl FailureFile {
    pub(super) fn open(dir: &Path) -> Result<Self, AccountsError> {
        let path = dir.join(FILE);
        let file = match new_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                File::options().read(true).write(true).open(&path)
            }
            other => other,
        };
        let file = file.map_err(io_error("open", &path))?;
        check_mode(&path, 0o077, 0o600)?;
        Ok(Self { path, file: Mutex::new(file) })
    }

    /// The failures of an account.
    pub(super) fn of(&self, rid: Rid) -> Result<Failures, AccountsError> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        match read(&mut file, rid) {
            Ok(Some(failures)) => Ok(failures),
            // Torn: somebody writes it just now, or the power failed while somebody did.
            Ok(None) => self.locked(&mut file, |file| Ok(read(file, rid)?.unwrap_or_default())),
            Err(error) => Err(io_error("read", &self.path)(error)),
        }
    }

    /// Counts a failure, and says how things stand now.
    pub(super) fn count(&self, rid: Rid, policy: &Lockout, now: UnixTime) -> Result<Failures, AccountsError> {
        self.update(rid, |failures| failures.and_one(policy, now))
    }

    /// Forgets the failures after a right password, unless the account was locked out meanwhile.
    pub(super) fn forgive(&self, rid: Rid, now: UnixTime) -> Result<Failures, AccountsError> {
        self.update(rid, |failures| if failures.locked(now) { failures } else { Failures::default() })
    }

    /// Forgets the failures whatever they are.
    pub(super) fn unlock(&self, rid: Rid) -> Result<Failures, AccountsError> {
        self.update(rid, |_| Failures::default())
    }

    fn update(&self, rid: Rid, update: impl FnOnce(Failures) -> Failures) -> Result<Failures, AccountsError> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        self.locked(&mut file, |file| {
            let before = read(file, rid)?.unwrap_or_default();
            let after = update(before);
            if after != before {
                write(file, rid, &after)?;
            }
            Ok(after)
        })
    }

    /// Works under the lock that all processes share. Whoever holds it does so for microseconds.
    fn locked<T>(&self, file: &mut File, work: impl FnOnce(&mut File) -> io::Result<T>) -> Result<T, AccountsError> {
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if begun.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(TryLockError::WouldBlock) => return Err(AccountsError::Busy { waited: PATIENCE }),
                Err(TryLockError::Error(error)) => return Err(io_error("lock", &self.path)(error)),
            }
        }
        let done = work(file);
        let _ = file.unlock();
        done.map_err(io_error("write", &self.path))
    }
}

/// The first place belongs to nobody: [`NOBODY`].
fn place(rid: Rid) -> u64 {
    u64::from(rid.saturating_sub(NOBODY)) * SIZE as u64
}

/// `None` if the record is torn.
fn read(file: &mut File, rid: Rid) -> io::Result<Option<Failures>> {
    file.seek(SeekFrom::Start(place(rid)))?;
    let mut bytes = [0; SIZE];
    match file.read_exact(&mut bytes) {
        Ok(()) => {}
        // Beyond the end, where nobody has failed yet.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Some(Failures::default())),
        Err(error) => return Err(error),
    }
    if bytes == [0; SIZE] {
        return Ok(Some(Failures::default()));
    }
    let mut reader = Reader::new("failures", &bytes);
    let fields = (reader.u64_le(), reader.u64_le(), reader.u64_le(), reader.u64_le());
    let (Ok(count), Ok(last), Ok(locked_until), Ok(check)) = fields else { return Ok(None) };
    let failures = Failures {
        count: u32::try_from(count).unwrap_or(u32::MAX),
        last: UnixTime::from_micros(last),
        locked_until: UnixTime::from_micros(locked_until),
    };
    Ok((check == checksum(rid, &failures)).then_some(failures))
}

fn write(file: &mut File, rid: Rid, failures: &Failures) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(SIZE);
    for field in
        [u64::from(failures.count), failures.last.micros(), failures.locked_until.micros(), checksum(rid, failures)]
    {
        bytes.extend_from_slice(&field.to_le_bytes());
    }
    file.seek(SeekFrom::Start(place(rid)))?;
    file.write_all(&bytes)
}

/// FNV-1a: against torn writes, not against people, who cannot write the file.
fn checksum(rid: Rid, failures: &Failures) -> u64 {
    let fields = [u64::from(rid), u64::from(failures.count), failures.last.micros(), failures.locked_until.micros()];
    fields
        .iter()
        .flat_map(|field| field.to_le_bytes())
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The RID under which failures of accounts that are not there are counted, which locks nobody out: it is done so that they
/// cost what the others cost.
pub(super) const NOBODY: Rid = FIRST_RID - 1;

const FILE: &str = "failures";
const SIZE: usize = 32;
const PATIENCE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> UnixTime {
        UnixTime::from_secs(1_000_000 + secs)
    }

    #[test]
    fn ten_failures_lock_for_ten_minutes() {
        let policy = Lockout::default();
        let mut failures = Failures::default();
        for n in 0..9 {
            failures = failures.and_one(&policy, at(n));
            assert!(!failures.locked(at(n)));
        }
        failures = failures.and_one(&policy, at(9));
        assert!(failures.locked(at(9)) && failures.locked(at(9 + 599)) && !failures.locked(at(9 + 600)));
        // More failures do not prolong it.
        assert_eq!(failures.and_one(&policy, at(300)), failures);
        // Afterwards the count begins anew.
        assert_eq!(failures.and_one(&policy, at(700)).count, 1);
    }

    #[test]
    fn failures_outside_the_window_do_not_count() {
        let policy = Lockout { threshold: 2, ..Lockout::default() };
        let one = Failures::default().and_one(&policy, at(0));
        assert_eq!(one.and_one(&policy, at(601)).count, 1);
        assert!(one.and_one(&policy, at(600)).locked(at(600)));
    }

    #[test]
    fn no_threshold_never_locks_and_no_duration_locks_for_good() {
        let off = Lockout { threshold: 0, ..Lockout::default() };
        let mut failures = Failures::default();
        for n in 0..1000 {
            failures = failures.and_one(&off, at(n));
        }
        assert!(!failures.locked(at(1000)));
        let forever = Lockout { threshold: 1, duration: Duration::ZERO, ..Lockout::default() };
        assert!(Failures::default().and_one(&forever, at(0)).locked(at(1 << 40)));
    }
}
