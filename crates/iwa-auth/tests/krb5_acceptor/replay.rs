//! Authenticators that come twice.

use super::*;

fn verdict(cache: &MemoryReplayCache, pending: &Pending, now: UnixTime) -> ReplayVerdict {
    cache.check(pending.replay_key(), now, pending.expires())
}

#[test]
fn the_same_authenticator_twice() {
    let cache = MemoryReplayCache::new(Duration::from_secs(300), 1000);
    let mut end = End::new();
    let token = good().mutual().token(&mut Seeded(1));
    let first = end.pending(&token).unwrap();
    assert_eq!(verdict(&cache, &first, NOW), ReplayVerdict::Fresh);
    let second = end.pending(&token).unwrap();
    let seen = verdict(&cache, &second, NOW);
    let mut env = Env { now: NOW, entropy: &mut Seeded(3) };
    let reject = second.finish(seen, &mut env, &mut end.out).unwrap_err();
    assert_eq!(reject.reason, Peer::Replay.into());
    assert!(end.out.is_empty(), "a replay gets no AP-REP");
}

#[test]
fn in_another_framing_it_is_the_same_authenticator() {
    let mut end = End::new();
    let ap_req = good().ap_req(&mut Seeded(1));
    let keys = [Some(MechType::KRB5), Some(MechType::MS_KRB5), None].map(|mechanism| {
        let token = Mint { mechanism, ..good() }.framed(&ap_req);
        end.pending(&token).unwrap().replay_key()
    });
    assert!(keys.iter().all(|key| *key == keys[0]));
}

#[test]
fn two_authenticators_of_the_same_microsecond_are_two() {
    let mut end = End::new();
    let ticket = good().ticket(&mut Seeded(1));
    let keys: Vec<_> = (0..2)
        .map(|n| end.pending(&good().framed(&good().ap_req_with(&ticket, &mut Seeded(n)))).unwrap().replay_key())
        .collect();
    assert_ne!(keys[0], keys[1]);
}

#[test]
fn in_parallel_exactly_one_is_let_in() {
    let cache = MemoryReplayCache::new(Duration::from_secs(300), 1000);
    let service = Service::new(mint::keytab(), ServicePolicy::default());
    let token = good().token(&mut Seeded(1));
    let barrier = std::sync::Barrier::new(4);
    let accepted: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut env = Env { now: NOW, entropy: &mut Seeded(3) };
                    let mut out = Vec::new();
                    let none = ChannelBindings::none();
                    let pending = service.accept(&token, &none, BindingPolicy::None, &mut env, &mut out).unwrap();
                    barrier.wait();
                    let verdict = verdict(&cache, &pending, NOW);
                    usize::from(pending.finish(verdict, &mut env, &mut out).is_ok())
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(accepted, 1);
}

#[test]
fn after_a_restart() {
    let skew = Duration::from_secs(300);
    let old = MemoryReplayCache::new(skew, 1000);
    let mut end = End::new();
    let token = good().token(&mut Seeded(1));
    assert_eq!(verdict(&old, &end.pending(&token).unwrap(), NOW), ReplayVerdict::Fresh);
    let again = end.pending(&token).unwrap();

    let orderly = MemoryReplayCache::new(skew, 1000);
    orderly.restore(&old.snapshot(later(1)), later(2)).unwrap();
    assert_eq!(verdict(&orderly, &again, later(2)), ReplayVerdict::Seen);

    let after_a_crash = MemoryReplayCache::new(skew, 1000).refuse_before(later(2));
    assert!(matches!(verdict(&after_a_crash, &again, later(3)), ReplayVerdict::Unavailable(_)));
    let fresh = Mint { made: later(3), ..good() };
    let mut end = End { now: later(3), ..End::new() };
    let pending = end.pending(&fresh.token(&mut Seeded(1))).unwrap();
    assert_eq!(verdict(&after_a_crash, &pending, later(3)), ReplayVerdict::Fresh);
}

#[test]
fn at_the_windows_edge_either_the_clock_or_the_cache_refuses() {
    for made in [-300, -299, 0, 299, 300] {
        let cache = MemoryReplayCache::new(Duration::from_secs(300), 1000);
        let token = Mint { made: later(made), ..good() }.token(&mut Seeded(1));
        let mut end = End::new();
        let pending = end.pending(&token).unwrap();
        assert_eq!(verdict(&cache, &pending, NOW), ReplayVerdict::Fresh);
        for now in (0..=1300).step_by(7).chain([299, 300, 301, 599, 600, 601]) {
            let mut end = End { now: later(now), ..End::new() };
            match end.pending(&token) {
                Ok(pending) => {
                    assert_ne!(verdict(&cache, &pending, later(now)), ReplayVerdict::Fresh, "{made} {now}")
                }
                Err(reason) => assert!(matches!(reason, Reason::Peer(Peer::ClockSkew { .. }))),
            }
        }
    }
}

#[test]
fn a_cache_that_cannot_tell_lets_nobody_in() {
    let mut end = End::new();
    let pending = end.pending(&good().mutual().token(&mut Seeded(1))).unwrap();
    let mut env = Env { now: NOW, entropy: &mut Seeded(3) };
    let reject = pending.finish(ReplayVerdict::Unavailable("it is full"), &mut env, &mut end.out).unwrap_err();
    assert_eq!(reject.reason, Unavailable::ReplayCache("it is full").into());
    assert!(end.out.is_empty());
}
