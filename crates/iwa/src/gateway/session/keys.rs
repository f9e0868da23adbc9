//! The file with the keys of sessions: made if there is none, read when it changed, given a new key when it is time.
//!
//! Several gateways share one file. Whoever finds first that a new key is due writes it, the others read it within seconds, and it
//! begins to seal only after that.

use core::time::Duration;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};
use iwa_http::session::Keys;
use iwa_http::{Os, System};

use super::file::{self, Seen, Stamp};

/// The keys, and where they are.
#[derive(Debug)]
pub(super) struct KeyFile {
    path: PathBuf,
    rotate: Duration,
    /// No session lives longer.
    longest: Duration,
    keys: ArcSwap<Keys>,
    /// Held while the file is read.
    seen: Mutex<Seen>,
}

impl KeyFile {
    /// Reads the file, and makes it if there is none.
    pub(super) fn open(path: &Path, rotate: Duration, longest: Duration) -> Result<Self, String> {
        let (keys, seen) = file::alone(path, || {
            if Stamp::of(path)?.is_none() {
                let keys = Keys::generate(&Os).map_err(|_| NO_ENTROPY.to_owned())?;
                write(path, &keys)?;
            }
            read(path)
        })?;
        let (keys, seen) = (ArcSwap::from_pointee(keys), Mutex::new(Seen::at(Some(seen))));
        Ok(Self { path: path.to_owned(), rotate, longest, keys, seen })
    }

    /// The keys of now.
    pub(super) fn now(&self) -> Guard<Arc<Keys>> {
        self.keys.load()
    }

    /// Reads the file if it changed, and writes a new key if one is due.
    pub(super) fn refresh(&self, system: &dyn System) -> Result<(), String> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let read = self.read_again(&mut seen);
        let written = self.rotate(&mut seen, system);
        seen.once(read.and(written))
    }

    fn read_again(&self, seen: &mut Seen) -> Result<(), String> {
        let stamp = Stamp::of(&self.path)?;
        if stamp.is_none() {
            return Err(format!("{} is gone: the sessions go on with the keys that it had", self.path.display()));
        }
        if stamp != seen.stamp {
            self.keys.store(Arc::new(read(&self.path)?.0));
            seen.stamp = stamp;
        }
        Ok(())
    }

    fn rotate(&self, seen: &mut Seen, system: &dyn System) -> Result<(), String> {
        if self.keys.load().rotated(self.rotate, self.longest, system).map_err(|_| NO_ENTROPY.to_owned())?.is_none() {
            return Ok(());
        }
        seen.stamp = file::alone(&self.path, || {
            // Another gateway may have been faster.
            let now = match Stamp::of(&self.path)? {
                Some(_) => read(&self.path)?.0,
                None => Keys::clone(&self.keys.load()),
            };
            let rotated = now.rotated(self.rotate, self.longest, system).map_err(|_| NO_ENTROPY.to_owned())?;
            if let Some(rotated) = &rotated {
                write(&self.path, rotated)?;
            }
            self.keys.store(Arc::new(rotated.unwrap_or(now)));
            Stamp::of(&self.path)
        })?;
        Ok(())
    }
}

fn read(path: &Path) -> Result<(Keys, Stamp), String> {
    let (text, stamp) = file::read(path, LONGEST_FILE)?;
    let keys = Keys::parse(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok((keys, stamp))
}

fn write(path: &Path, keys: &Keys) -> Result<(), String> {
    file::replace(path, keys.text().expose().as_bytes())
        .map_err(|error| format!("{}: it cannot be written: {error}", path.display()))
}

const NO_ENTROPY: &str = "the system gives no randomness for keys of sessions";

const LONGEST_FILE: u64 = 1 << 20;
