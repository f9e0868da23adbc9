//! The memory of authenticators: bounded, exact, one atomic step. RFC 4120 3.2.3.
//!
//! What is remembered is a hash of the authenticator's ciphertext, for as long as the clock check would let the same
//! authenticator in again. Nothing is ever evicted to make room: a full memory refuses, because what it forgets can be
//! replayed.
//!
//! # Over a restart
//!
//! A new process does not know what its predecessor accepted. Three ways lead past that, and none of them lets a replay in:
//!
//! 1. The predecessor stopped in order: it hands over a [`snapshot`](MemoryReplayCache::snapshot), made in the same step in
//!    which it stops to accept anything, and the successor [`restore`](MemoryReplayCache::restore)s it. Nobody is refused.
//!    A snapshot is good for one start: whoever loads it deletes it before the first request.
//! 2. There was no predecessor ([`MemoryReplayCache::new`]).
//! 3. The predecessor died ([`refuse_before`](MemoryReplayCache::refuse_before)): what was made before the present process
//!    started, by the client's clock, may have been accepted by the dead one and is refused. A client that is refused makes
//!    a new authenticator, and one whose clock is behind ours by `n` seconds is locked out for the first `n` seconds.
//!    What is left are authenticators of clients whose clock is ahead of ours: accepted before the death and dated after the
//!    start. These few are written to a [`ReplayJournal`] before they are accepted, if there is one, and
//!    [`remember`](MemoryReplayCache::remember)ed from it.
//!
//! Writing down every authenticator would make all of this needless and cost a write on every request.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::env::UnixTime;
use crate::ports::{ReplayCache, ReplayKey, ReplayVerdict};
use crate::reject::{Peer, Reject, Unavailable};

/// This authenticator was never seen before. Made only from a cache's verdict.
#[derive(Debug)]
pub struct NotReplayed(());

impl NotReplayed {
    /// What a cache's verdict proves.
    ///
    /// # Errors
    /// [`Peer::Replay`], or [`Unavailable::ReplayCache`] if the cache cannot tell.
    pub fn from_verdict(verdict: ReplayVerdict) -> Result<Self, Reject> {
        match verdict {
            ReplayVerdict::Fresh => Ok(Self(())),
            ReplayVerdict::Seen => Err(Peer::Replay.into()),
            ReplayVerdict::Unavailable(why) => Err(Unavailable::ReplayCache(why).into()),
        }
    }
}

impl ReplayKey {
    /// Of the ciphertext of an authenticator.
    #[must_use]
    pub fn of_authenticator(cipher: &[u8]) -> Self {
        let digest: [u8; 32] = Sha256::digest(cipher).into();
        let mut key = [0; 16];
        key.copy_from_slice(digest.split_at(16).0);
        Self(key)
    }
}

/// Where the few authenticators go that a dead process must not forget: those whose client's clock is ahead of ours.
pub trait ReplayJournal: Send + Sync {
    /// Writes the authenticator down so that it outlives this process. Called from the request that brings it.
    ///
    /// # Errors
    /// Why it could not be written; the authenticator is then refused.
    fn record(&self, key: ReplayKey, expires: UnixTime) -> Result<(), &'static str>;
}

/// A replay cache in memory, shared by all threads of one process.
///
/// Two generations of hashes in each of 64 shards: an entry lives in the present generation, then in the former one, and is
/// forgotten with it. Nothing is swept, and no operation costs more than its own look-up.
pub struct MemoryReplayCache {
    shards: Box<[Mutex<Shard>]>,
    /// A generation: twice the skew, the longest that the clock check lets an authenticator in.
    generation: u64,
    skew: u64,
    shard_capacity: usize,
    refuse_before: AtomicU64,
    journal: Option<Box<dyn ReplayJournal>>,
}

struct Shard {
    present: HashSet<[u8; 16]>,
    former: HashSet<[u8; 16]>,
    /// When the present generation began, in microseconds since 1970.
    began: u64,
    /// What expires before this moment may have been forgotten.
    forgotten: u64,
    /// A snapshot was made: nothing more is taken.
    closed: bool,
}

impl MemoryReplayCache {
    /// How many entries the memory holds unless told otherwise: 3,500 accepts a second over the twenty minutes of two
    /// generations, 150 MB when full.
    pub const CAPACITY: usize = 1 << 22;

    /// A memory of at most `capacity` entries for authenticators that a clock check with `skew` lets in.
    #[must_use]
    pub fn new(skew: Duration, capacity: usize) -> Self {
        let skew = u64::try_from(skew.as_micros()).unwrap_or(u64::MAX / 8).min(u64::MAX / 8);
        let shard = || {
            Mutex::new(Shard { present: HashSet::new(), former: HashSet::new(), began: 0, forgotten: 0, closed: false })
        };
        Self {
            shards: (0..SHARDS).map(|_| shard()).collect(),
            generation: (skew * 2).max(1),
            skew,
            shard_capacity: capacity.div_ceil(SHARDS).max(1),
            refuse_before: AtomicU64::new(0),
            journal: None,
        }
    }

    /// Refuses every authenticator that was made before `started`: a predecessor died, and its memory with it.
    #[must_use]
    pub fn refuse_before(self, started: UnixTime) -> Self {
        self.refuse_before.fetch_max(started.micros(), Ordering::Relaxed);
        self
    }

    /// Writes the authenticators from the future to `journal`.
    #[must_use]
    pub fn with_journal(mut self, journal: Box<dyn ReplayJournal>) -> Self {
        self.journal = Some(journal);
        self
    }

    /// Takes an entry of a predecessor into memory. Those that are over are left out.
    ///
    /// # Errors
    /// The memory cannot hold it; then the successor must [`refuse_before`](Self::refuse_before).
    pub fn remember(&self, key: ReplayKey, now: UnixTime, expires: UnixTime) -> Result<(), &'static str> {
        if expires <= now {
            return Ok(());
        }
        match self.insert(key, now, expires) {
            ReplayVerdict::Unavailable(why) => Err(why),
            ReplayVerdict::Fresh | ReplayVerdict::Seen => Ok(()),
        }
    }

    /// How many entries it holds. Looks at every shard: for whoever watches the server, not for a request.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards.iter().map(lock).map(|shard| shard.present.len() + shard.former.len()).sum()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends this cache and returns what it knows, for [`restore`](Self::restore). From then on it answers
    /// [`ReplayVerdict::Unavailable`], so that nothing is accepted that the snapshot does not hold.
    #[must_use]
    pub fn snapshot(&self, now: UnixTime) -> Vec<u8> {
        let mut bytes = SNAPSHOT_MAGIC.to_vec();
        bytes.extend_from_slice(&self.generation.to_le_bytes());
        bytes.extend_from_slice(&now.micros().to_le_bytes());
        // What this process did not know of a dead predecessor, its successor does not know either.
        bytes.extend_from_slice(&self.refuse_before.load(Ordering::Relaxed).to_le_bytes());
        for shard in &self.shards {
            let mut shard = lock(shard);
            shard.closed = true;
            shard.present.iter().chain(&shard.former).for_each(|key| bytes.extend_from_slice(key));
        }
        let digest = Sha256::digest(&bytes);
        bytes.extend_from_slice(&digest);
        bytes
    }

    /// Takes over what a predecessor knew when it stopped.
    ///
    /// # Errors
    /// It is not a whole snapshot, is of a cache for another skew, or does not fit; then the successor must
    /// [`refuse_before`](Self::refuse_before).
    pub fn restore(&self, snapshot: &[u8], now: UnixTime) -> Result<(), &'static str> {
        const DAMAGED: &str = "the snapshot of the replay cache is damaged";
        let (body, digest) = snapshot.split_last_chunk::<32>().ok_or(DAMAGED)?;
        if <[u8; 32]>::from(Sha256::digest(body)) != *digest {
            return Err(DAMAGED);
        }
        let body = body.strip_prefix(SNAPSHOT_MAGIC).ok_or(DAMAGED)?;
        let (generation, body) = body.split_first_chunk::<8>().ok_or(DAMAGED)?;
        let (stopped, body) = body.split_first_chunk::<8>().ok_or(DAMAGED)?;
        let (refuse_before, body) = body.split_first_chunk::<8>().ok_or(DAMAGED)?;
        if u64::from_le_bytes(*generation) > self.generation {
            return Err("the snapshot of the replay cache is of a larger clock skew than is configured now");
        }
        let (keys, rest) = body.as_chunks::<16>();
        if !rest.is_empty() {
            return Err(DAMAGED);
        }
        self.refuse_before.fetch_max(u64::from_le_bytes(*refuse_before), Ordering::Relaxed);
        // When each of them expires is not known; none later than a whole generation after the stop.
        let expires = UnixTime::from_micros(u64::from_le_bytes(*stopped).saturating_add(self.generation));
        let latest = UnixTime::from_micros(now.micros().saturating_add(self.generation));
        keys.iter().try_for_each(|key| self.remember(ReplayKey(*key), now, expires.min(latest)))
    }

    fn insert(&self, key: ReplayKey, now: UnixTime, expires: UnixTime) -> ReplayVerdict {
        let Some(shard) = self.shards.get(usize::from(key.0[0]) % SHARDS) else {
            return ReplayVerdict::Unavailable("it has no shards");
        };
        let mut shard = lock(shard);
        shard.turn(now.micros(), self.generation);
        if shard.closed {
            return ReplayVerdict::Unavailable("it is closed: the server stops");
        }
        // An entry lives for at least one generation after the present one began.
        if expires.micros() > now.micros().max(shard.began).saturating_add(self.generation) {
            return ReplayVerdict::Unavailable(
                "the authenticator outlives its memory: the clock skews are configured apart",
            );
        }
        if shard.former.contains(&key.0) || shard.present.contains(&key.0) {
            return ReplayVerdict::Seen;
        }
        if expires.micros() < shard.forgotten {
            return ReplayVerdict::Unavailable("the clock was set back beyond its memory");
        }
        if shard.present.len() + shard.former.len() >= self.shard_capacity {
            return ReplayVerdict::Unavailable("it is full: more clients than its capacity allows");
        }
        shard.present.insert(key.0);
        ReplayVerdict::Fresh
    }
}

impl ReplayCache for MemoryReplayCache {
    fn check(&self, key: ReplayKey, now: UnixTime, expires: UnixTime) -> ReplayVerdict {
        // The authenticator's own time: it expires one skew later.
        let made = expires.micros().saturating_sub(self.skew);
        if made < self.refuse_before.load(Ordering::Relaxed) {
            return ReplayVerdict::Unavailable(
                "the authenticator is older than this server's start, and what was accepted before is not known",
            );
        }
        let verdict = self.insert(key, now, expires);
        match &self.journal {
            Some(journal) if verdict == ReplayVerdict::Fresh && made > now.micros() => {
                // It is in memory already; if it cannot be written down, its own client has to make another one.
                journal.record(key, expires).map_or_else(ReplayVerdict::Unavailable, |()| ReplayVerdict::Fresh)
            }
            _ => verdict,
        }
    }
}

impl core::fmt::Debug for MemoryReplayCache {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("MemoryReplayCache").field("capacity", &(self.shard_capacity * SHARDS)).finish_non_exhaustive()
    }
}

impl Shard {
    /// Begins a new generation if the present one is over. What was recorded in a generation expires before the next one
    /// ends, as `insert` made sure.
    fn turn(&mut self, now: u64, generation: u64) {
        let ends = self.began.saturating_add(generation);
        if now < ends {
            return;
        }
        core::mem::swap(&mut self.present, &mut self.former);
        self.present.clear();
        self.forgotten = self.forgotten.max(ends);
        if now >= ends.saturating_add(generation) {
            self.former.clear();
            self.forgotten = self.forgotten.max(ends.saturating_add(generation));
        }
        self.began = now;
    }
}

/// A thread that panicked elsewhere leaves the sets as they were: each is changed by one insertion.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

const SHARDS: usize = 64;
const SNAPSHOT_MAGIC: &[u8] = b"iwa replay cache 1\n";

#[cfg(test)]
mod tests;
