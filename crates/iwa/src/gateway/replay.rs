//! The replay cache of a server, over its restarts: [`MemoryReplayCache`] and two files beside the accounts.
//!
//! | file | there while | holds |
//! |---|---|---|
//! | `replay-PORT.journal` | the server runs, or died | the authenticators of clients whose clocks are ahead |
//! | `replay-PORT.snapshot` | the server is stopped | everything that was accepted and can still be replayed |
//!
//! A server that finds a snapshot goes on where its predecessor stopped. One that finds a journal takes over from a dead one:
//! it refuses what was made before its start, and what the journal holds. One that finds neither is the first. Without a
//! state directory every start is taken for the second kind.

use core::time::Duration;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use iwa_auth::UnixTime;
use iwa_auth::krb5::replay::{MemoryReplayCache, ReplayJournal};
use iwa_auth::ports::{ReplayCache, ReplayKey, ReplayVerdict};
use iwa_http::{Os, System as _};

use super::assemble::Problem;

/// The memory and where it is kept.
#[derive(Debug)]
pub(crate) struct ReplayMemory {
    cache: MemoryReplayCache,
    files: Option<Files>,
}

#[derive(Debug, Clone)]
struct Files {
    journal: PathBuf,
    snapshot: PathBuf,
}

impl ReplayMemory {
    /// Takes over from the predecessor, whatever became of it.
    pub(crate) fn open(state: Option<&Path>, port: u16, skew: Duration, now: UnixTime) -> Result<Self, Problem> {
        let cache = MemoryReplayCache::new(skew, MemoryReplayCache::CAPACITY);
        let Some(state) = state else { return Ok(Self { cache: cache.refuse_before(now), files: None }) };
        let file = |kind: &str| state.join(format!("replay-{port}.{kind}"));
        let files = Files { journal: file("journal"), snapshot: file("snapshot") };
        let failed =
            |error: io::Error| Problem(format!("the replay cache in {} cannot be kept: {error}", state.display()));

        let cache = match (read(&files.journal).map_err(failed)?, read(&files.snapshot).map_err(failed)?) {
            (None, None) => cache,
            // A journal beside it would be younger: the successor of the one that wrote the snapshot died.
            (None, Some(snapshot)) => match cache.restore(&snapshot, now) {
                Ok(()) => cache,
                Err(why) => {
                    tracing::warn!("{why}; tokens made before this start are refused");
                    MemoryReplayCache::new(skew, MemoryReplayCache::CAPACITY).refuse_before(now)
                }
            },
            (Some(journal), _) => {
                tracing::warn!(
                    "the server before this one did not stop in order; tokens made before this start are refused"
                );
                let cache = cache.refuse_before(now);
                for (key, expires) in entries(&journal) {
                    cache.remember(key, now, expires).map_err(|why| Problem(why.to_owned()))?;
                }
                cache
            }
        };
        // The journal is there before the snapshot goes, so that dying in between is taken for dying.
        let journal = Journal::create(&files.journal, skew, now).map_err(failed)?;
        match fs::remove_file(&files.snapshot) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        sync_directory(state).map_err(failed)?;
        Ok(Self { cache: cache.with_journal(Box::new(journal)), files: Some(files) })
    }

    /// How many authenticators it remembers.
    pub(crate) fn len(&self) -> usize {
        self.cache.len()
    }

    /// Ends the memory, and leaves what it knows to the next server. From then on nothing is accepted.
    pub(crate) fn close(&self, now: UnixTime) {
        let snapshot = self.cache.snapshot(now);
        let Some(files) = &self.files else { return };
        let kept = write_whole(&files.snapshot, &snapshot).and_then(|()| fs::remove_file(&files.journal));
        if let Err(error) = kept {
            tracing::warn!(%error, "the replay cache cannot be kept; the next start takes this one for dead");
        }
    }
}

impl ReplayCache for ReplayMemory {
    fn check(&self, key: ReplayKey, now: UnixTime, expires: UnixTime) -> ReplayVerdict {
        self.cache.check(key, now, expires)
    }
}

/// Keys and expiries, appended one by one.
#[derive(Debug)]
struct Journal {
    file: Mutex<File>,
    skew: Duration,
}

impl Journal {
    /// A new journal that still knows what an old one knew and is not over.
    fn create(path: &Path, skew: Duration, now: UnixTime) -> io::Result<Self> {
        let mut kept = Vec::new();
        for (key, expires) in read(path)?.iter().flat_map(|old| entries(old)).filter(|(_, expires)| *expires > now) {
            kept.extend_from_slice(&entry(key, expires));
        }
        write_whole(path, &kept)?;
        let file = OpenOptions::new().append(true).open(path)?;
        Ok(Self { file: Mutex::new(file), skew })
    }
}

impl ReplayJournal for Journal {
    fn record(&self, key: ReplayKey, expires: UnixTime) -> Result<(), &'static str> {
        const FAILED: &str = "its journal cannot be written";
        let mut file = self.file.lock().map_err(|_| FAILED)?;
        file.write_all(&entry(key, expires)).map_err(|_| FAILED)?;
        // Written is enough to outlive this process. Only a clock that is ahead by more than a machine needs to come up again
        // must outlive the machine.
        let latest = Os.now().plus(self.skew).plus(FASTEST_REBOOT);
        if expires > latest { file.sync_data().map_err(|_| FAILED) } else { Ok(()) }
    }
}

fn entry(key: ReplayKey, expires: UnixTime) -> [u8; ENTRY] {
    let mut entry = [0; ENTRY];
    let (to_key, to_expires) = entry.split_at_mut(16);
    to_key.copy_from_slice(&key.0);
    to_expires.copy_from_slice(&expires.micros().to_le_bytes());
    entry
}

/// Whole entries; a torn one at the end was never accepted.
fn entries(bytes: &[u8]) -> impl Iterator<Item = (ReplayKey, UnixTime)> + '_ {
    bytes.as_chunks::<ENTRY>().0.iter().filter_map(|entry| {
        let (key, expires) = entry.split_first_chunk::<16>()?;
        Some((ReplayKey(*key), UnixTime::from_micros(u64::from_le_bytes(expires.try_into().ok()?))))
    })
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whole or not at all, and for this user alone.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let partial = path.with_extension("partial");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&partial)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&partial, path)?;
    path.parent().map_or(Ok(()), sync_directory)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

/// Bytes of an entry: key and expiry.
const ENTRY: usize = 24;

/// No machine comes up again faster.
const FASTEST_REBOOT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const SKEW: Duration = Duration::from_secs(300);

    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("iwa-replay-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).expect("a directory");
            Self(path)
        }

        fn open(&self, now: UnixTime) -> ReplayMemory {
            ReplayMemory::open(Some(&self.0), 80, SKEW, now).expect("it opens")
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn at(seconds: i64) -> UnixTime {
        UnixTime::from_secs(1_800_000_000 + seconds)
    }

    /// What an authenticator meets that was made at `made` and arrives at `now`.
    fn check(memory: &ReplayMemory, key: u8, made: i64, now: i64) -> ReplayVerdict {
        memory.check(ReplayKey([key; 16]), at(now), at(made).plus(SKEW))
    }

    #[test]
    fn what_was_accepted_before_an_orderly_stop_is_refused_after_it() {
        let directory = Directory::new("stop");
        let first = directory.open(at(0));
        assert_eq!(check(&first, 1, 1, 1), ReplayVerdict::Fresh);
        first.close(at(2));
        assert!(matches!(check(&first, 9, 2, 2), ReplayVerdict::Unavailable(_)), "it accepts nothing any more");
        let second = directory.open(at(3));
        assert_eq!(check(&second, 1, 1, 3), ReplayVerdict::Seen);
        // Nobody else is refused: also who made a token before the start.
        assert_eq!(check(&second, 2, 2, 3), ReplayVerdict::Fresh);
    }

    #[test]
    fn after_a_death_whatever_may_have_been_accepted_is_refused() {
        let directory = Directory::new("death");
        let first = directory.open(at(0));
        assert_eq!(check(&first, 1, 1, 1), ReplayVerdict::Fresh);
        // Of a client whose clock is four minutes ahead.
        assert_eq!(check(&first, 2, 240, 1), ReplayVerdict::Fresh);
        drop(first);
        let second = directory.open(at(5));
        assert!(matches!(check(&second, 1, 1, 5), ReplayVerdict::Unavailable(_)));
        assert_eq!(check(&second, 2, 240, 5), ReplayVerdict::Seen);
        assert_eq!(check(&second, 3, 6, 6), ReplayVerdict::Fresh);
        drop(second);
        // And after two deaths.
        let third = directory.open(at(10));
        assert_eq!(check(&third, 2, 240, 10), ReplayVerdict::Seen);
        assert!(matches!(check(&third, 3, 6, 10), ReplayVerdict::Unavailable(_)));
    }

    #[test]
    fn a_snapshot_is_good_for_one_start() {
        let directory = Directory::new("once");
        let first = directory.open(at(0));
        first.close(at(1));
        drop(directory.open(at(2)));
        let third = directory.open(at(4));
        assert!(matches!(check(&third, 1, 3, 4), ReplayVerdict::Unavailable(_)), "the second died");
    }

    #[test]
    fn a_damaged_snapshot_is_taken_for_a_death() {
        let directory = Directory::new("damage");
        directory.open(at(0)).close(at(1));
        let path = directory.0.join("replay-80.snapshot");
        let mut bytes = fs::read(&path).expect("a snapshot");
        bytes[9] ^= 1;
        fs::write(&path, bytes).expect("written");
        let second = directory.open(at(2));
        assert!(matches!(check(&second, 1, 1, 2), ReplayVerdict::Unavailable(_)));
    }

    #[test]
    fn without_a_state_directory_nothing_made_before_the_start_is_taken() {
        let memory = ReplayMemory::open(None, 80, SKEW, at(0)).expect("it opens");
        assert!(matches!(check(&memory, 1, -1, 0), ReplayVerdict::Unavailable(_)));
        assert_eq!(check(&memory, 2, 1, 1), ReplayVerdict::Fresh);
    }

    #[test]
    fn a_torn_entry_at_the_end_of_a_journal_harms_nobody() {
        let directory = Directory::new("torn");
        drop(directory.open(at(0)));
        fs::write(directory.0.join("replay-80.journal"), [7; ENTRY + 5]).expect("written");
        // An expiry in the far future is more than the cache can hold: it says so instead of forgetting.
        assert!(ReplayMemory::open(Some(&directory.0), 80, SKEW, at(1)).is_err());
        fs::write(directory.0.join("replay-80.journal"), [7; 5]).expect("written");
        drop(directory.open(at(1)));
    }
}
