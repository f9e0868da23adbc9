use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

const SKEW: Duration = Duration::from_secs(300);
const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

fn at(seconds: i64) -> UnixTime {
    UnixTime::from_secs(1_800_000_000 + seconds)
}

fn key(n: u64) -> ReplayKey {
    ReplayKey::of_authenticator(&n.to_be_bytes())
}

fn cache() -> MemoryReplayCache {
    MemoryReplayCache::new(SKEW, 10_000)
}

/// An authenticator made at `made` arrives at `now`.
fn check(cache: &MemoryReplayCache, key: ReplayKey, now: UnixTime, made: UnixTime) -> ReplayVerdict {
    cache.check(key, now, made.plus(SKEW))
}

fn unavailable(verdict: ReplayVerdict) -> bool {
    matches!(verdict, ReplayVerdict::Unavailable(_))
}

#[test]
fn the_same_authenticator_twice_is_seen() {
    let cache = cache();
    assert_eq!(check(&cache, key(1), NOW, NOW), ReplayVerdict::Fresh);
    assert_eq!(check(&cache, key(1), NOW, NOW), ReplayVerdict::Seen);
    assert_eq!(check(&cache, key(2), NOW, NOW), ReplayVerdict::Fresh);
    assert_eq!(NotReplayed::from_verdict(ReplayVerdict::Seen).unwrap_err().reason, Peer::Replay.into());
}

#[test]
fn of_many_threads_with_the_same_authenticator_exactly_one_is_first() {
    let cache = Arc::new(cache());
    let first = Arc::new(AtomicUsize::new(0));
    let barrier = Arc::new(std::sync::Barrier::new(8));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let (cache, first, barrier) = (Arc::clone(&cache), Arc::clone(&first), Arc::clone(&barrier));
            std::thread::spawn(move || {
                barrier.wait();
                for n in 0..1000 {
                    if check(&cache, key(n), NOW, NOW) == ReplayVerdict::Fresh {
                        first.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(first.load(Ordering::Relaxed), 1000);
}

#[test]
fn at_every_edge_of_the_window_it_is_remembered_as_long_as_the_clock_check_lets_it_in() {
    // Made as far in the future as is allowed, it is let in for two skews.
    for arrives in [0, 1, 299, 300, 599, 600, 601, 899] {
        let cache = cache();
        // Turns of the generations at moments that have nothing to do with it.
        assert_eq!(check(&cache, key(0), NOW, NOW), ReplayVerdict::Fresh);
        let made = at(arrives + 300);
        assert_eq!(check(&cache, key(1), at(arrives), made), ReplayVerdict::Fresh);
        for later in (arrives..=arrives + 600).step_by(30) {
            check(&cache, key(1000 + later as u64), at(later), at(later));
            assert_eq!(check(&cache, key(1), at(later), made), ReplayVerdict::Seen, "{arrives} {later}");
        }
    }
}

#[test]
fn what_is_over_is_forgotten_and_makes_room() {
    let cache = MemoryReplayCache::new(SKEW, 64 * 4);
    let mut accepted = 0;
    for hour in 0..50 {
        for n in 0..100 {
            let now = at(hour as i64 * 3600);
            accepted += usize::from(check(&cache, key(hour * 1000 + n), now, now) == ReplayVerdict::Fresh);
        }
    }
    assert!(accepted > 4000, "{accepted}");
    let held = |shard: &Mutex<Shard>| {
        let shard = lock(shard);
        shard.present.len() + shard.former.len()
    };
    let entries: usize = cache.shards.iter().map(held).sum();
    assert!(entries <= 64 * 4);
}

#[test]
fn a_full_memory_refuses_and_still_knows_what_it_holds() {
    let cache = MemoryReplayCache::new(SKEW, 64);
    let fresh: Vec<_> = (0..1000).filter(|&n| check(&cache, key(n), NOW, NOW) == ReplayVerdict::Fresh).collect();
    assert_eq!(fresh.len(), 64, "one a shard");
    assert!(fresh.iter().all(|&n| check(&cache, key(n), NOW, NOW) == ReplayVerdict::Seen));
    let other = (0..1000).find(|n| !fresh.contains(n)).unwrap();
    let refused = check(&cache, key(other), NOW, NOW);
    assert!(unavailable(refused));
    let reason = NotReplayed::from_verdict(refused).unwrap_err().reason;
    assert!(matches!(reason, crate::Reason::Unavailable(Unavailable::ReplayCache(why)) if why.contains("full")));
}

#[test]
fn a_clock_that_is_set_back_does_not_open_the_window_again() {
    let cache = cache();
    let made = NOW;
    assert_eq!(check(&cache, key(1), NOW, made), ReplayVerdict::Fresh);
    // A day later both generations are gone.
    assert_eq!(check(&cache, key(1).reversed(), at(86_400), at(86_400)), ReplayVerdict::Fresh);
    // Set back, the clock check would let the old one in.
    assert!(unavailable(check(&cache, key(1), NOW, made)));
    // A step back within the window is no trouble for anybody.
    let cache = self::cache();
    assert_eq!(check(&cache, key(1), NOW, NOW), ReplayVerdict::Fresh);
    assert_eq!(check(&cache, key(1), at(-200), NOW), ReplayVerdict::Seen);
    assert_eq!(check(&cache, key(2), at(-200), at(-200)), ReplayVerdict::Fresh);
}

impl ReplayKey {
    /// Another key in the same shard.
    fn reversed(self) -> Self {
        let mut key = self.0;
        key[1..].reverse();
        Self(key)
    }
}

#[test]
fn an_authenticator_that_outlives_the_memory_is_refused() {
    let cache = cache();
    assert!(unavailable(cache.check(key(1), NOW, at(601))));
    assert_eq!(cache.check(key(1), NOW, at(600)), ReplayVerdict::Fresh);
}

#[test]
fn after_an_orderly_restart_everything_is_known_and_nobody_is_refused() {
    let old = cache();
    for n in 0..500 {
        assert_eq!(check(&old, key(n), NOW, at(n as i64 - 250)), ReplayVerdict::Fresh);
    }
    let snapshot = old.snapshot(at(1));
    // What comes after the snapshot is not accepted by anybody who might forget it.
    assert!(unavailable(check(&old, key(1000), at(1), at(1))));

    let new = cache();
    new.restore(&snapshot, at(2)).unwrap();
    for n in 0..500 {
        assert_eq!(check(&new, key(n), at(2), at(n as i64 - 250)), ReplayVerdict::Seen);
        assert_eq!(check(&new, key(2000 + n), at(2), at(n as i64 - 250)), ReplayVerdict::Fresh);
    }
    // Those that can still come at the end of their window are still known then.
    assert_eq!(check(&new, key(499), at(549), at(249)), ReplayVerdict::Seen);
}

#[test]
fn a_damaged_or_foreign_snapshot_is_refused() {
    let old = cache();
    check(&old, key(1), NOW, NOW);
    let snapshot = old.snapshot(NOW);
    assert!(cache().restore(&snapshot, NOW).is_ok());
    for place in 0..snapshot.len() {
        let mut damaged = snapshot.clone();
        damaged[place] ^= 1;
        assert!(cache().restore(&damaged, NOW).is_err(), "{place}");
        assert!(cache().restore(&snapshot[..place], NOW).is_err(), "{place}");
    }
    assert!(MemoryReplayCache::new(Duration::from_secs(60), 100).restore(&snapshot, NOW).is_err());
    let crowded = cache();
    (0..1000).for_each(|n| _ = check(&crowded, key(n), NOW, NOW));
    let small = MemoryReplayCache::new(SKEW, 64);
    assert!(small.restore(&crowded.snapshot(NOW), NOW).is_err());
}

#[test]
fn after_a_crash_what_was_made_before_the_start_is_refused() {
    let started = NOW;
    let new = cache().refuse_before(started);
    // Accepted by the dead process or not: nobody knows.
    assert!(unavailable(check(&new, key(1), at(1), at(-1))));
    assert!(unavailable(check(&new, key(1), at(299), at(-1))));
    // The same client with a new authenticator.
    assert_eq!(check(&new, key(2), at(1), at(1)), ReplayVerdict::Fresh);
    // A client 100 seconds behind is let in 100 seconds after the start.
    assert!(unavailable(check(&new, key(3), at(99), at(-1))));
    assert_eq!(check(&new, key(4), at(100), at(0)), ReplayVerdict::Fresh);
}

#[test]
fn an_orderly_restart_after_a_crash_does_not_open_what_the_crash_closed() {
    let second = cache().refuse_before(NOW);
    let third = cache();
    third.restore(&second.snapshot(at(10)), at(11)).unwrap();
    assert!(unavailable(check(&third, key(1), at(12), at(-1))), "the first may have accepted it");
    assert_eq!(check(&third, key(1), at(12), at(0)), ReplayVerdict::Fresh);
}

struct Journal(Arc<Mutex<Vec<(ReplayKey, UnixTime)>>>, bool);

impl ReplayJournal for Journal {
    fn record(&self, key: ReplayKey, expires: UnixTime) -> Result<(), &'static str> {
        if self.1 {
            return Err("the disk is full");
        }
        self.0.lock().unwrap().push((key, expires));
        Ok(())
    }
}

#[test]
fn after_a_crash_an_authenticator_from_the_future_is_known_by_the_journal() {
    let written = Arc::new(Mutex::new(Vec::new()));
    let old = cache().with_journal(Box::new(Journal(Arc::clone(&written), false)));
    assert_eq!(check(&old, key(1), NOW, at(120)), ReplayVerdict::Fresh);
    for n in 10..1000 {
        assert_eq!(check(&old, key(n), NOW, at(-(n as i64) % 300)), ReplayVerdict::Fresh);
    }
    let journal = written.lock().unwrap().clone();
    assert_eq!(journal, [(key(1), at(420))], "only what is dated in the future costs a write");

    // The process dies ten seconds later and starts again.
    let new = cache().refuse_before(at(11));
    journal.iter().for_each(|&(key, expires)| new.remember(key, at(11), expires).unwrap());
    assert_eq!(check(&new, key(1), at(12), at(120)), ReplayVerdict::Seen);
    assert_eq!(check(&new, key(1), at(420), at(120)), ReplayVerdict::Seen);
}

#[test]
fn what_cannot_be_written_to_the_journal_is_refused() {
    let cache = cache().with_journal(Box::new(Journal(Arc::default(), true)));
    assert!(unavailable(check(&cache, key(1), NOW, at(1))));
    assert_eq!(check(&cache, key(1), NOW, at(1)), ReplayVerdict::Seen);
    assert_eq!(check(&cache, key(2), NOW, NOW), ReplayVerdict::Fresh);
}
