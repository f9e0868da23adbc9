//! Sessions that were ended before their time: one by signing out, all of somebody by `iwa session revoke`.
//!
//! ```text
//! # comment
//! session 0123...cdef 1764000000            one session, until when it would have lived
//! user 1763930000 1764000000 corp\alice     all of somebody that began up to then; until when one of them could have lived
//! all 1763930000 1764000000                 everybody's
//! ```
//!
//! The file is read by all gateways that share it and held in memory; a request only looks there. What has ended by itself is
//! forgotten, so that the list is as long as sessions live.

use core::fmt::Write as _;
use core::time::Duration;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use iwa_auth::{Account, Identity, UnixTime};
use iwa_http::session::SessionId;
use iwa_http::{Os, System as _};

use super::file::{self, Seen, Stamp};

/// The list, and where it is.
#[derive(Debug)]
pub(crate) struct Revoked {
    path: PathBuf,
    /// No session lives longer.
    longest: Duration,
    list: ArcSwap<List>,
    /// Held while the file is read.
    seen: Mutex<Seen>,
}

/// Whose sessions end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Whose {
    /// One session's, which would have lived so long.
    Session(SessionId, UnixTime),
    /// A user's: `DOMAIN\user`, `user@realm`, `user` (in whatever domain), or a SID.
    User(String),
    /// Everybody's.
    All,
}

impl Revoked {
    /// Reads the file, and makes it if there is none.
    pub(crate) fn open(path: &Path, longest: Duration) -> Result<Self, String> {
        file::alone(path, || {
            if Stamp::of(path)?.is_none() {
                file::replace(path, HEADING.as_bytes()).map_err(|error| format!("{}: {error}", path.display()))?;
            }
            Ok(())
        })?;
        let revoked = Self { path: path.to_owned(), longest, list: ArcSwap::default(), seen: Mutex::default() };
        revoked.refresh()?;
        Ok(revoked)
    }

    /// Whether a session was ended. Looks into memory alone.
    pub(crate) fn ended(&self, id: SessionId, begun: UnixTime, identity: &Identity) -> bool {
        self.list.load().ends(id, begun, identity.account())
    }

    /// Ends sessions: here at once, elsewhere within seconds.
    ///
    /// # Errors
    /// The file cannot be written. Here they ended all the same, until the server is started anew.
    pub(crate) fn revoke(&self, whose: &Whose) -> Result<(), String> {
        // Nobody reads the file meanwhile.
        let _seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Os.now();
        let mut list = List::clone(&self.list.load());
        list.add(whose, now, now.plus(self.longest));
        self.list.store(Arc::new(list));
        append(&self.path, whose, self.longest)
    }

    /// Reads the file if it changed; shortens it where most of it is of the past.
    pub(crate) fn refresh(&self) -> Result<(), String> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let read = self.read_again(&mut seen);
        seen.once(read)
    }

    fn read_again(&self, seen: &mut Seen) -> Result<(), String> {
        let mut stamp = Stamp::of(&self.path)?;
        if stamp.is_none() {
            // Nobody is let in again because a file is gone.
            let why = "is gone: sessions that it ended stay ended until the restart";
            return Err(format!("{} {why}", self.path.display()));
        }
        if stamp == seen.stamp {
            return Ok(());
        }
        let (mut list, lines) = self.read()?;
        if lines > LINES_OF_THE_PAST + 2 * list.count() {
            (list, stamp) = file::alone(&self.path, || {
                // Another gateway may have written meanwhile.
                let (list, _) = self.read()?;
                let shorter = file::replace(&self.path, list.text().as_bytes());
                shorter.map_err(|error| format!("{}: {error}", self.path.display()))?;
                Ok((list, Stamp::of(&self.path)?))
            })?;
        }
        // What was ended here and could not be written is not in the file.
        list.keep(&self.list.load(), Os.now());
        self.list.store(Arc::new(list));
        seen.stamp = stamp;
        Ok(())
    }

    fn read(&self) -> Result<(List, usize), String> {
        read(&self.path, Os.now())
    }
}

/// Puts it on the list, for all gateways that share the file.
pub(crate) fn append(path: &Path, whose: &Whose, longest: Duration) -> Result<(), String> {
    let now = Os.now();
    let mut list = List::default();
    list.add(whose, now, now.plus(longest));
    let mut text = String::new();
    list.write(&mut text);
    file::alone(path, || {
        file::append(path, text.as_bytes())
            .map_err(|error| format!("{}: it cannot be written: {error}", path.display()))
    })
}

/// What is on the list, in words.
pub(crate) fn in_words(path: &Path) -> Result<Vec<String>, String> {
    let (list, _) = read(path, Os.now())?;
    let mut lines = Vec::new();
    for (id, until) in &list.sessions {
        lines.push(format!("session {id}, until {until}"));
    }
    for (name, (before, until)) in &list.users {
        lines.push(format!("all of {name} that began up to {before}, until {until}"));
    }
    if let Some((before, until)) = &list.all {
        lines.push(format!("everybody's that began up to {before}, until {until}"));
    }
    lines.sort();
    Ok(lines)
}

fn read(path: &Path, now: UnixTime) -> Result<(List, usize), String> {
    let (text, _) = file::read(path, LONGEST_FILE)?;
    let mut list = List::default();
    let mut lines = 0;
    for (number, line) in text.lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        lines += 1;
        list.line(line, now).ok_or_else(|| {
            format!("{}: line {}: wanted a session, a user or all; the list is not taken", path.display(), number + 1)
        })?;
    }
    Ok((list, lines))
}

/// Who was signed out. A name stands with the last moment whose sessions it ends, and that until which they could live.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct List {
    sessions: HashMap<SessionId, UnixTime>,
    users: HashMap<String, (UnixTime, UnixTime)>,
    all: Option<(UnixTime, UnixTime)>,
}

impl List {
    fn ends(&self, id: SessionId, begun: UnixTime, account: &Account) -> bool {
        let by = |entry: &(UnixTime, UnixTime)| begun.secs() <= entry.0.secs();
        self.sessions.contains_key(&id)
            || self.all.as_ref().is_some_and(by)
            // Only then are names put together.
            || (!self.users.is_empty() && names(account).iter().any(|name| self.users.get(name).is_some_and(by)))
    }

    fn add(&mut self, whose: &Whose, now: UnixTime, until: UnixTime) {
        let later = |entry: Option<(UnixTime, UnixTime)>| {
            entry.map_or((now, until), |(before, end)| (before.max(now), end.max(until)))
        };
        match whose {
            Whose::Session(id, ends) => drop(self.sessions.insert(*id, *ends)),
            Whose::User(name) => {
                let name = folded(name);
                let entry = later(self.users.get(&name).copied());
                self.users.insert(name, entry);
            }
            Whose::All => self.all = Some(later(self.all)),
        }
    }

    /// Takes a line, unless it is of the past.
    fn line(&mut self, line: &str, now: UnixTime) -> Option<()> {
        let (kind, rest) = line.split_once(' ')?;
        let time = |text: &str| text.parse::<u32>().ok().map(|seconds| UnixTime::from_secs(seconds.into()));
        let (whose, before, until) = match kind {
            "session" => {
                let (id, until) = rest.split_once(' ')?;
                let until = time(until)?;
                (Whose::Session(id.parse().ok()?, until), now, until)
            }
            "user" => {
                let (before, rest) = rest.split_once(' ')?;
                let (until, name) = rest.split_once(' ').filter(|(_, name)| !name.is_empty())?;
                (Whose::User(name.to_owned()), time(before)?, time(until)?)
            }
            "all" => {
                let (before, until) = rest.split_once(' ')?;
                (Whose::All, time(before)?, time(until)?)
            }
            _ => return None,
        };
        if now < until {
            self.add(&whose, before, until);
        }
        Some(())
    }

    /// Takes what another list has and this one has not, unless it is of the past.
    fn keep(&mut self, other: &Self, now: UnixTime) {
        for (id, until) in other.sessions.iter().filter(|(_, until)| now < **until) {
            self.sessions.entry(*id).or_insert(*until);
        }
        for (name, (before, until)) in other.users.iter().filter(|(_, (_, until))| now < *until) {
            let entry = self.users.entry(name.clone()).or_insert((*before, *until));
            *entry = (entry.0.max(*before), entry.1.max(*until));
        }
        if let Some((before, until)) = other.all.filter(|(_, until)| now < *until) {
            self.all = Some(self.all.map_or((before, until), |entry| (entry.0.max(before), entry.1.max(until))));
        }
    }

    fn count(&self) -> usize {
        self.sessions.len() + self.users.len() + usize::from(self.all.is_some())
    }

    fn text(&self) -> String {
        let mut text = HEADING.to_owned();
        self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) {
        for (id, until) in &self.sessions {
            let _ = writeln!(text, "session {id} {}", until.secs());
        }
        for (name, (before, until)) in &self.users {
            let _ = writeln!(text, "user {} {} {name}", before.secs(), until.secs());
        }
        if let Some((before, until)) = &self.all {
            let _ = writeln!(text, "all {} {}", before.secs(), until.secs());
        }
    }
}

/// Everything that an account may be called on the list.
fn names(account: &Account) -> Vec<String> {
    let Account { name, domain, realm, upn, sid, .. } = account;
    let mut names = vec![folded(name), folded(&format!("{domain}\\{name}"))];
    names.extend(realm.as_ref().map(|realm| folded(&format!("{name}@{realm}"))));
    names.extend(upn.as_deref().map(folded));
    names.extend(sid.map(|sid| folded(&sid.to_string())));
    names
}

/// One spelling a name, as far as case goes.
fn folded(name: &str) -> String {
    iwa_domain::directory::name::folded(name)
}

const HEADING: &str =
    "# Sessions of iwa that were ended before their time. Written by `iwa serve` and `iwa session revoke`.\n";

/// Two hundred thousand people who sign out within a day.
const LONGEST_FILE: u64 = 64 << 20;

const LINES_OF_THE_PAST: usize = 1000;
