//! Passwords that failed: so that nobody locks accounts out through Basic or a form, on purpose or by an old password that a
//! program sends with every request. MS-SAMR 3.1.1.7.1 counts each of them as one of the few guesses that an account has.
//!
//! | what comes | what happens |
//! |---|---|
//! | the password that failed a moment ago | refused as then, and nobody is asked |
//! | several passwords for one account at once | one after the other, so that none slips past the count |
//! | the password that was right a moment ago | asked at once, many times at once |
//! | more wrong passwords than [`AttemptLimits`] has, for an account or from a client | refused, and nobody is asked |
//!
//! Accounts are told apart by their name alone, without case, domain and suffix: however somebody spells it, it is one count.
//! Passwords are kept as 64 bits of a keyed hash (SipHash) whose key lives as long as the process. All of it is bounded.

use core::fmt;
use core::hash::{BuildHasher as _, Hash};
use core::net::IpAddr;
use core::time::Duration;
use std::collections::HashMap;
use std::hash::RandomState;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use iwa_auth::ports::LogonError;
use iwa_auth::{NtStatus, UnixTime};

/// How many wrong passwords are passed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AttemptLimits {
    /// For one account within the window. Fewer than lock it out where it is kept.
    pub per_account: usize,
    /// From one client within the window: an IPv4 address, or 64 bits of an IPv6 address.
    pub per_client: usize,
    /// How long a wrong password counts.
    pub window: Duration,
    /// How long the same wrong password is refused without asking, and a right one known.
    pub remember: Duration,
}

impl Default for AttemptLimits {
    fn default() -> Self {
        Self {
            per_account: 5,
            per_client: 100,
            window: Duration::from_secs(15 * 60),
            remember: Duration::from_secs(60),
        }
    }
}

/// The memory of wrong passwords: one for all authenticators of a server.
pub struct Attempts {
    hash: RandomState,
    memory: Mutex<Memory>,
}

impl Attempts {
    /// Knows of none.
    #[must_use]
    pub fn new(limits: AttemptLimits) -> Self {
        let memory = Memory { limits, accounts: HashMap::new(), clients: HashMap::new() };
        Self { hash: RandomState::new(), memory: Mutex::new(memory) }
    }

    /// Takes other limits; what was counted stays.
    pub fn limit(&self, limits: AttemptLimits) {
        self.lock().limits = limits;
    }

    /// Asks about a password, unless it is known what comes of it or too many were wrong.
    pub(crate) async fn ask<T>(
        &self,
        now: impl Fn() -> UnixTime,
        client: IpAddr,
        user: &str,
        password: &str,
        answer: impl Future<Output = Result<T, LogonError>>,
    ) -> Result<T, Failed> {
        let account = self.hash.hash_one(name(user));
        let password = self.hash.hash_one((account, password));
        let client = network(client);
        let look = self.lock().look(now(), account, password, client)?;
        // Until what became of it is known.
        let _turn = match look {
            Look::Right => None,
            Look::Turn(turn) => {
                let turn = turn.lock_owned().await;
                // Others had theirs meanwhile.
                self.lock().look(now(), account, password, client)?;
                Some(turn)
            }
        };
        let answer = answer.await;
        self.lock().learn(now(), account, password, client, answer.as_ref().err());
        answer.map_err(Failed::Logon)
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let memory = self.lock();
        f.debug_struct("Attempts")
            .field("limits", &memory.limits)
            .field("accounts", &memory.accounts.len())
            .field("clients", &memory.clients.len())
            .finish()
    }
}

/// Why nobody is let in.
#[derive(Debug)]
pub(crate) enum Failed {
    /// Whoever was asked says so.
    Logon(LogonError),
    /// They said so of the same password a moment ago.
    Again(NtStatus),
    /// Too many were wrong; of whom.
    TooMany(&'static str),
}

struct Memory {
    limits: AttemptLimits,
    accounts: HashMap<u64, Account>,
    clients: HashMap<IpAddr, Vec<UnixTime>>,
}

/// What is known of one account.
#[derive(Default)]
struct Account {
    /// The wrong passwords within the window, the newest last.
    wrong: Vec<Wrong>,
    right: Option<(u64, UnixTime)>,
    turn: Arc<tokio::sync::Mutex<()>>,
}

struct Wrong {
    password: u64,
    when: UnixTime,
    status: NtStatus,
}

enum Look {
    /// The password was right a moment ago.
    Right,
    /// One at a time.
    Turn(Arc<tokio::sync::Mutex<()>>),
}

impl Memory {
    fn look(&mut self, now: UnixTime, account: u64, password: u64, client: IpAddr) -> Result<Look, Failed> {
        let AttemptLimits { per_account, per_client, window, remember } = self.limits;
        if let Some(times) = self.clients.get_mut(&client) {
            times.retain(|&when| now.distance(when) < window);
            if times.len() >= per_client {
                return Err(Failed::TooMany("this client"));
            }
        }
        if !self.accounts.contains_key(&account) {
            make_room(&mut self.accounts, |account| {
                let wrong = account.wrong.last().map(|wrong| wrong.when);
                let last = wrong.max(account.right.map(|(_, when)| when));
                // Whose turn is taken is being asked about now.
                if Arc::strong_count(&account.turn) > 1 { Some(now) } else { last }
            });
        }
        let known = self.accounts.entry(account).or_default();
        known.wrong.retain(|wrong| now.distance(wrong.when) < window);
        if known.right.is_some_and(|(right, when)| right == password && now.distance(when) < remember) {
            return Ok(Look::Right);
        }
        let again = known.wrong.iter().find(|wrong| wrong.password == password && now.distance(wrong.when) < remember);
        if let Some(wrong) = again {
            return Err(Failed::Again(wrong.status));
        }
        if known.wrong.len() >= per_account {
            return Err(Failed::TooMany("this account"));
        }
        Ok(Look::Turn(Arc::clone(&known.turn)))
    }

    fn learn(&mut self, now: UnixTime, account: u64, password: u64, client: IpAddr, error: Option<&LogonError>) {
        let known = self.accounts.entry(account).or_default();
        match error {
            None => {
                // As where it is kept: a right password ends the count.
                known.wrong.clear();
                known.right = Some((password, now));
            }
            Some(LogonError::Refused(status)) if is_about_the_password(*status) => {
                known.right = None;
                known.wrong.push(Wrong { password, when: now, status: *status });
                if !self.clients.contains_key(&client) {
                    make_room(&mut self.clients, |times| times.last().copied());
                }
                self.clients.entry(client).or_default().push(now);
            }
            Some(_) => known.right = None,
        }
    }
}

/// Forgets whoever failed longest ago, if there are too many.
fn make_room<K: Copy + Eq + Hash, V>(known: &mut HashMap<K, V>, last: impl Fn(&V) -> Option<UnixTime>) {
    if known.len() >= MOST_KNOWN {
        // Many at once, so that this is rare.
        let mut by_age: Vec<_> = known.iter().map(|(key, value)| (last(value), *key)).collect();
        by_age.sort_unstable_by_key(|(when, _)| *when);
        for (_, key) in by_age.iter().take(MOST_KNOWN / 8) {
            known.remove(key);
        }
    }
}

/// Statuses that an authority counts. An account that is locked out, disabled or expired is not counted, and may be put right
/// at any moment.
const fn is_about_the_password(status: NtStatus) -> bool {
    matches!(status, NtStatus::WRONG_PASSWORD | NtStatus::LOGON_FAILURE | NtStatus::NO_SUCH_USER)
}

/// Of all spellings of an account, one.
fn name(user: &str) -> String {
    user.split('@').next().unwrap_or(user).trim().to_lowercase()
}

/// Of all addresses that one client may use, one.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & (u128::MAX << 64)).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Accounts, and clients, of which something is known.
const MOST_KNOWN: usize = 16_384;

#[cfg(test)]
mod tests {
    use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

    use super::*;

    /// An authority that knows `right` as everybody's password and counts who asks.
    #[derive(Default)]
    struct World {
        attempts: Option<Attempts>,
        seconds: AtomicU64,
        asked: AtomicUsize,
    }

    impl World {
        fn new(limits: AttemptLimits) -> Self {
            Self { attempts: Some(Attempts::new(limits)), seconds: AtomicU64::new(1_000_000), ..Self::default() }
        }

        fn later(&self, seconds: u64) {
            self.seconds.fetch_add(seconds, Ordering::Relaxed);
        }

        fn asked(&self) -> usize {
            self.asked.swap(0, Ordering::Relaxed)
        }

        async fn with(&self, client: &str, user: &str, password: &str, wrong: LogonError) -> &'static str {
            let now = || UnixTime::from_micros(self.seconds.load(Ordering::Relaxed) * 1_000_000);
            let answer = async {
                self.asked.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                if password == "right" { Ok(()) } else { Err(wrong) }
            };
            let client = client.parse().expect("an address");
            match self.attempts.as_ref().expect("made").ask(now, client, user, password, answer).await {
                Ok(()) => "in",
                Err(Failed::Logon(LogonError::Refused(_))) => "refused",
                Err(Failed::Logon(LogonError::Unavailable(_))) => "unavailable",
                Err(Failed::Again(_)) => "again",
                Err(Failed::TooMany(whom)) => whom,
            }
        }

        async fn guess(&self, user: &str, password: &str) -> &'static str {
            self.with("192.0.2.1", user, password, LogonError::Refused(NtStatus::WRONG_PASSWORD)).await
        }
    }

    #[tokio::test]
    async fn a_program_that_repeats_an_old_password_counts_once_a_minute() {
        let world = World::new(AttemptLimits::default());
        for _ in 0..30 {
            world.guess("alice", "old").await;
        }
        assert_eq!(world.asked(), 1);
        world.later(61);
        assert_eq!(world.guess("alice", "old").await, "refused");
        assert_eq!(world.guess("alice", "old").await, "again");
        // Her new one is right at once.
        assert_eq!(world.guess("alice", "right").await, "in");
        assert_eq!(world.guess("bob", "old").await, "refused", "another account");
    }

    #[tokio::test]
    async fn guesses_stop_before_the_domain_counts_too_many_however_the_account_is_spelled() {
        let world = World::new(AttemptLimits::default());
        let spellings = ["alice", "ALICE", "alice@corp.example.test", "Alice@x", " alice"];
        for (number, user) in spellings.into_iter().cycle().take(50).enumerate() {
            world.guess(user, &format!("guess {number}")).await;
        }
        assert_eq!(world.asked(), 5);
        // Nor does the right one tell that it is right, until the window is over.
        assert_eq!(world.guess("alice", "right").await, "this account");
        world.later(15 * 60 + 1);
        assert_eq!(world.guess("alice", "right").await, "in");
    }

    #[tokio::test]
    async fn a_hundred_guesses_at_once_are_asked_about_one_by_one() {
        let world = World::new(AttemptLimits::default());
        let guesses: Vec<_> = (0..100).map(|number| format!("guess {number}")).collect();
        let mut all = tokio::task::JoinSet::new();
        let world = Arc::new(world);
        for guess in guesses {
            let world = Arc::clone(&world);
            all.spawn(async move { world.guess("alice", &guess).await });
        }
        while all.join_next().await.is_some() {}
        assert_eq!(world.asked(), 5);
        for _ in 0..100 {
            let world = Arc::clone(&world);
            all.spawn(async move { world.guess("bob", "the same").await });
        }
        while all.join_next().await.is_some() {}
        assert_eq!(world.asked(), 1);
    }

    #[tokio::test]
    async fn a_right_password_ends_the_count_and_is_asked_about_without_waiting() {
        let world = World::new(AttemptLimits::default());
        for round in 0..5 {
            for number in 0..4 {
                assert_eq!(world.guess("alice", &format!("{round} {number}")).await, "refused");
            }
            assert_eq!(world.guess("alice", "right").await, "in");
        }
        world.asked();
        let known = world.attempts.as_ref().expect("made").lock().accounts.len();
        assert_eq!(known, 1);
        let all = core::array::from_fn::<_, 8, _>(|_| world.guess("alice", "right"));
        for answer in all {
            assert_eq!(answer.await, "in");
        }
        assert_eq!(world.asked(), 8, "what was right may be so no longer: it is asked every time");
    }

    #[tokio::test]
    async fn one_client_cannot_try_one_password_on_everybody() {
        let world = World::new(AttemptLimits { per_client: 10, ..AttemptLimits::default() });
        let wrong = LogonError::Refused(NtStatus::LOGON_FAILURE);
        for number in 0..100 {
            world.with(&format!("2001:db8::{number:x}"), &format!("user{number}"), "Summer2026", wrong.clone()).await;
        }
        assert_eq!(world.asked(), 10, "64 bits of an address are one client");
        assert_eq!(world.with("2001:db8::1", "alice", "right", wrong.clone()).await, "this client");
        assert_eq!(world.with("2001:db8:0:1::1", "alice", "right", wrong.clone()).await, "in");
        assert_eq!(world.with("::ffff:192.0.2.1", "bob", "right", wrong).await, "in");
    }

    #[tokio::test]
    async fn what_is_no_wrong_password_is_not_counted() {
        let world = World::new(AttemptLimits::default());
        for error in [
            LogonError::Refused(NtStatus::ACCOUNT_LOCKED_OUT),
            LogonError::Refused(NtStatus::ACCOUNT_DISABLED),
            LogonError::Unavailable("no controller".into()),
        ] {
            for _ in 0..10 {
                let answer = world.with("192.0.2.1", "alice", "old", error.clone()).await;
                assert!(matches!(answer, "refused" | "unavailable"), "{answer}");
            }
            assert_eq!(world.asked(), 10);
        }
    }

    #[tokio::test]
    async fn a_flood_of_names_and_addresses_does_not_fill_the_memory() {
        let world = World::new(AttemptLimits::default());
        for number in 0..(MOST_KNOWN + MOST_KNOWN / 2) {
            let client = format!("2001:db8:{:x}:{:x}::1", number >> 16, number & 0xffff);
            let wrong = LogonError::Refused(NtStatus::NO_SUCH_USER);
            world.with(&client, &format!("user{number}"), "x", wrong).await;
        }
        let memory = world.attempts.as_ref().expect("made").lock();
        assert!(memory.accounts.len() <= MOST_KNOWN && memory.clients.len() <= MOST_KNOWN);
        assert!(memory.accounts.len() > MOST_KNOWN / 2);
    }

    #[tokio::test]
    async fn no_password_stands_in_the_memory() {
        let world = World::new(AttemptLimits::default());
        world.guess("alice", "correct horse").await;
        let shown = format!("{:?}", world.attempts);
        assert!(!shown.contains("horse") && !shown.contains("alice"), "{shown}");
    }
}
