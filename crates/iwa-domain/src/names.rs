//! Name <-> SID, remembered: what rules by name are held against. MS-ADTS 3.1.1.3.1.1.1, MS-DTYP 2.4.2.4.
//!
//! ```text
//! sid_of, name_of --> well-known? --> remembered and fresh? --> the directory, once for all who ask at the same time
//!                                                                  | down: what is remembered, if it is not too old
//!                                                                  '-------> else Err: nobody is let in on the strength of it
//! ```

mod directory;
mod well_known;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use iwa_auth::UnixTime;
use iwa_auth::ports::{AccountName, Answer, Directory};
use iwa_wire::Sid;
use tokio::sync::OnceCell;
use tokio::time::timeout;

pub use directory::LdapNames;

/// Whoever knows names and SIDs first hand; every question costs it something.
pub trait Source: Send + Sync + fmt::Debug {
    /// As [`Directory::sid_of`].
    fn sid_of<'a>(&'a self, domain: &'a str, name: &'a str) -> Answer<'a, Result<Option<Sid>, String>>;
    /// As [`Directory::name_of`].
    fn name_of(&self, sid: Sid) -> Answer<'_, Result<Option<AccountName>, String>>;
}

/// How long what is remembered.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// An answer is taken as it is for so long.
    pub fresh: Duration,
    /// That there is nothing of a name, for so long; and never longer, because a rule that forbids must not miss a group
    /// that was made meanwhile.
    pub absent: Duration,
    /// While the directory cannot be asked, an answer is good for so long.
    pub stale: Duration,
    /// How many answers are kept.
    pub most: usize,
    /// After a failure the directory is left alone for so long.
    pub pause: Duration,
    /// One question may take so long: somebody waits in front of a browser.
    pub wait: Duration,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            fresh: Duration::from_secs(15 * 60),
            absent: Duration::from_secs(60),
            stale: Duration::from_secs(24 * 3600),
            most: 20_000,
            pause: Duration::from_secs(5),
            wait: Duration::from_secs(8),
        }
    }
}

/// A clock: an argument, so that tests need not wait.
pub type Clock = Arc<dyn Fn() -> UnixTime + Send + Sync>;

/// Names and SIDs, remembered.
pub struct Names {
    source: Arc<dyn Source>,
    memory: Memory,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    known: HashMap<Key, Known>,
    /// The questions that are out: whoever asks the same waits for the same answer.
    asked: HashMap<Key, Arc<OnceCell<Result<Found, String>>>>,
    /// When the directory failed last, and why.
    failed: Option<(UnixTime, String)>,
}

/// A question as it was asked: a directory may have other rules for upper and lower case than we.
#[derive(Clone, Copy)]
enum Question<'a> {
    Name(&'a str, &'a str),
    Sid(Sid),
}

/// Under what an answer is remembered. Names in lower case.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Key {
    Name(String, String),
    Sid(Sid),
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Found {
    Nothing,
    Sid(Sid),
    Name(AccountName),
}

struct Known {
    found: Found,
    at: UnixTime,
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Names({:?}, {} remembered)", self.source, self.state().known.len())
    }
}

impl Names {
    /// Names of `source`, by this system's clock.
    #[must_use]
    pub fn new(source: Arc<dyn Source>, memory: Memory) -> Self {
        Self::with_clock(source, memory, Arc::new(system_clock))
    }

    /// The same by another clock.
    #[must_use]
    pub fn with_clock(source: Arc<dyn Source>, memory: Memory, clock: Clock) -> Self {
        Self { source, memory, clock, state: Mutex::default() }
    }

    /// Forgets everything: after the configuration changed, or to see a new group at once.
    pub fn forget(&self) {
        self.state().known.clear();
    }

    async fn find(&self, key: Key, question: Question<'_>) -> Result<Found, String> {
        let now = (self.clock)();
        let cell = {
            let mut state = self.state();
            if let Some(known) = state.known.get(&key)
                && known.is_fresh(now, &self.memory)
            {
                return Ok(known.found.clone());
            }
            if let Some((at, why)) = &state.failed
                && now < at.plus(self.memory.pause)
            {
                return state.stale(&key, now, &self.memory).ok_or_else(|| why.clone());
            }
            // Questions that everybody gave up on.
            if state.asked.len() > 256 {
                state.asked.retain(|_, out| Arc::strong_count(out) > 1);
            }
            Arc::clone(state.asked.entry(key.clone()).or_default())
        };
        // Whoever comes first asks; if that one is given up on, the next goes on in its place.
        let answer = cell.get_or_init(|| self.ask(&key, question)).await.clone();
        let mut state = self.state();
        if state.asked.get(&key).is_some_and(|out| Arc::ptr_eq(out, &cell)) {
            state.asked.remove(&key);
        }
        answer.or_else(|why| state.stale(&key, (self.clock)(), &self.memory).ok_or(why))
    }

    async fn ask(&self, key: &Key, question: Question<'_>) -> Result<Found, String> {
        let work = async {
            match question {
                Question::Name(domain, name) => self.source.sid_of(domain, name).await.map(|sid| sid.map(Found::Sid)),
                Question::Sid(sid) => self.source.name_of(sid).await.map(|name| name.map(Found::Name)),
            }
        };
        let late = |_| Err(format!("the directory gives no answer in {} ms", self.memory.wait.as_millis()));
        let answer = timeout(self.memory.wait, work).await.unwrap_or_else(late);
        let now = (self.clock)();
        let mut state = self.state();
        match answer {
            Ok(found) => {
                let found = found.unwrap_or(Found::Nothing);
                state.failed = None;
                state.remember(key, &found, now, self.memory.most);
                Ok(found)
            }
            Err(why) => {
                state.failed = Some((now, why.clone()));
                Err(why)
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in there is half done between two lines.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn remember(&mut self, key: &Key, found: &Found, now: UnixTime, most: usize) {
        if self.known.len() >= most.max(1) && !self.known.contains_key(key) {
            // The older half goes: seldom, and then at once.
            let mut times: Vec<_> = self.known.values().map(|known| known.at).collect();
            let middle = times.len() / 2;
            let (_, median, _) = times.select_nth_unstable(middle);
            let median = *median;
            self.known.retain(|_, known| known.at > median);
        }
        self.known.insert(key.clone(), Known { found: found.clone(), at: now });
    }

    /// What may be said while the directory cannot.
    fn stale(&self, key: &Key, now: UnixTime, memory: &Memory) -> Option<Found> {
        let known = self.known.get(key)?;
        let good = match known.found {
            Found::Nothing => memory.absent,
            Found::Sid(_) | Found::Name(_) => memory.stale.max(memory.fresh),
        };
        (now < known.at.plus(good)).then(|| known.found.clone())
    }
}

impl Known {
    fn is_fresh(&self, now: UnixTime, memory: &Memory) -> bool {
        let good = if self.found == Found::Nothing { memory.absent } else { memory.fresh };
        now < self.at.plus(good)
    }
}

impl Directory for Names {
    fn sid_of<'a>(&'a self, domain: &'a str, name: &'a str) -> Answer<'a, Result<Option<Sid>, String>> {
        Box::pin(async move {
            if let Some(sid) = well_known::sid_of(domain, name) {
                return Ok(Some(sid));
            }
            // What cannot be a name is not asked for, and cannot fill the memory.
            if domain.is_empty() || name.is_empty() || domain.len() > NAME_LIMIT || name.len() > NAME_LIMIT {
                return Ok(None);
            }
            let key = Key::Name(domain.to_lowercase(), name.to_lowercase());
            match self.find(key, Question::Name(domain, name)).await? {
                Found::Sid(sid) => Ok(Some(sid)),
                Found::Nothing | Found::Name(_) => Ok(None),
            }
        })
    }

    fn name_of(&self, sid: Sid) -> Answer<'_, Result<Option<AccountName>, String>> {
        Box::pin(async move {
            if let Some(name) = well_known::name_of(&sid) {
                return Ok(Some(name));
            }
            match self.find(Key::Sid(sid), Question::Sid(sid)).await? {
                Found::Name(name) => Ok(Some(name)),
                Found::Nothing | Found::Sid(_) => Ok(None),
            }
        })
    }
}

/// `sAMAccountName` has at most 256 characters (MS-ADA3 2.222), a DNS name 255.
const NAME_LIMIT: usize = 1024;

fn system_clock() -> UnixTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixTime::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
