//! The connections of a proxy's clients, as the proxy tells of them. What NTLM needs (MS-NTHT 1.3), where the client's own
//! connection ends somewhere else.
//!
//! The proxy asks over connections of its own, which it shares among its clients: nothing is ever kept by those. What is
//! kept is kept by what the proxy says of its client's connection: its own name for it, and the client's address. Why
//! nobody gets another's identity:
//!
//! - The header is believed only from `[forward-auth] from` and from proxies whose configuration sets it and takes the client's
//!   away. The asking address, the kind of the proxy and the client's address are part of the key.
//! - A name is that of one connection as long as that lives: nginx's counter and HAProxy's UUID are. Client port and worker
//!   process stand in nginx's name too, since its counter begins anew when nginx does.
//! - A name that comes again later is a new connection's: nginx says the how manieth request of its connection one is, and
//!   the first is never anybody's (unless it is the very one that was asked about before, with its token), nor is one whose
//!   number went down.
//! - What is idle or old is forgotten; sooner than a port comes again.
//! - Only a connection that remembers something is kept. If there are too many, a new one can do what one request can: no NTLM.

use core::hash::BuildHasher as _;
use core::net::IpAddr;
use core::time::Duration;
use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use iwa_http::Connection;

use super::original::{Proxy, Refused};

/// What a proxy calls one connection of one client.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Key {
    pub(super) asks: IpAddr,
    pub(super) proxy: Proxy,
    pub(super) client: IpAddr,
    pub(super) name: Box<str>,
}

/// `NAME` or `NAME NUMBER`, where the number is that of the request on its connection, from 1. `None`: the proxy says nothing.
pub(super) fn told(value: &str) -> Result<Option<(&str, Option<u64>)>, Refused> {
    let wrong = || {
        Refused("the connection's name: wanted up to 200 visible characters, or those, a space and a number".to_owned())
    };
    if value.is_empty() {
        return Ok(None);
    }
    let (name, number) = match value.split_once(' ') {
        Some((name, number)) => {
            (name, Some(number.parse::<u64>().ok().filter(|&number| number > 0).ok_or_else(wrong)?))
        }
        None => (value, None),
    };
    let plain = !name.is_empty() && name.len() <= LONGEST_NAME && name.bytes().all(|byte| byte.is_ascii_graphic());
    if plain { Ok(Some((name, number))) } else { Err(wrong()) }
}

/// Which request of its connection one is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Which {
    /// From 1, where the proxy tells.
    pub(super) number: Option<u64>,
    /// Of its `Authorization`, if it has one.
    pub(super) token: Option<u64>,
}

/// A connection that is remembered.
pub(super) struct Found {
    pub(super) connection: Arc<Connection>,
    /// The proxy asks a second time about the request that signed it in: nginx does after an internal redirect. Its token was
    /// looked at, and counts once.
    pub(super) again: bool,
}

/// All of them. Outlives a reload.
#[derive(Debug, Default)]
pub(crate) struct Connections(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    /// Makes [`Which::token`]: nobody else can tell two tokens with one hash.
    hasher: RandomState,
    kept: HashMap<Key, Kept>,
    /// When what is over was last looked for.
    swept: Option<Instant>,
}

#[derive(Debug)]
struct Kept {
    connection: Arc<Connection>,
    begun: Instant,
    used: Instant,
    /// The last request.
    last: Which,
}

impl Kept {
    fn is_over(&self, idle: Duration, now: Instant) -> bool {
        now.duration_since(self.used) > idle || now.duration_since(self.begun) > LONGEST_LIFE
    }
}

impl Connections {
    /// The connection of this name, if it is remembered and this request can be one of it.
    pub(super) fn find(&self, key: &Key, which: Which, idle: Duration, now: Instant) -> Option<Found> {
        let all = &mut self.lock().kept;
        let kept = all.get_mut(key)?;
        let again = which.number.is_some() && which.token.is_some() && which == kept.last;
        let goes_on = again
            || match (kept.last.number, which.number) {
                (Some(last), Some(number)) => number > 1 && number >= last,
                (None, None) => true,
                _ => false,
            };
        if !goes_on || kept.is_over(idle, now) {
            all.remove(key);
            return None;
        }
        kept.used = now;
        kept.last = which;
        Some(Found { connection: Arc::clone(&kept.connection), again })
    }

    /// What to know the `Authorization` of a request by, without keeping it.
    pub(super) fn token(&self, headers: &HeaderMap) -> Option<u64> {
        let token = headers.get(AUTHORIZATION)?;
        let hasher = self.lock().hasher.clone();
        Some(hasher.hash_one(token.as_bytes()))
    }

    /// Whether one more can be remembered.
    pub(super) fn has_room(&self, most: usize, idle: Duration, now: Instant) -> bool {
        let Table { kept, swept, .. } = &mut *self.lock();
        let rested = swept.is_none_or(|swept| now.duration_since(swept) >= BETWEEN_SWEEPS);
        if kept.len() >= most && rested {
            *swept = Some(now);
            kept.retain(|_, kept| kept.connection.remembers() && !kept.is_over(idle, now));
        }
        kept.len() < most
    }

    /// After a request: keeps what remembers something, drops what does not.
    pub(super) fn put(&self, key: Key, last: Which, connection: &Arc<Connection>, now: Instant) {
        match self.lock().kept.entry(key) {
            Entry::Occupied(kept) if Arc::ptr_eq(&kept.get().connection, connection) => {
                if !connection.remembers() {
                    kept.remove();
                }
            }
            _ if !connection.remembers() => {}
            Entry::Occupied(mut other) => {
                other.insert(Kept { connection: Arc::clone(connection), begun: now, used: now, last });
            }
            Entry::Vacant(place) => {
                place.insert(Kept { connection: Arc::clone(connection), begun: now, used: now, last });
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // No code that can panic runs under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A table that is full of what lives is not searched by every request.
const BETWEEN_SWEEPS: Duration = Duration::from_secs(1);

/// Bytes.
const LONGEST_NAME: usize = 200;

/// How long a connection may be remembered at all; nginx's `keepalive_time` is the same.
const LONGEST_LIFE: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const IDLE: Duration = Duration::from_secs(60);

    fn key(name: &str) -> Key {
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Key { asks: local, proxy: Proxy::Nginx, client: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)), name: name.into() }
    }

    #[test]
    fn a_name_is_visible_text_and_may_have_the_number_of_the_request() {
        assert_eq!(told("7-19-192.0.2.7:4711"), Ok(Some(("7-19-192.0.2.7:4711", None))));
        assert_eq!(told("7-19 3"), Ok(Some(("7-19", Some(3)))));
        assert_eq!(told(""), Ok(None));
        let long = "x".repeat(201);
        for bad in [" ", " 3", "a ", "a 0", "a -1", "a b", "a 1 2", "a  1", "a\u{1}b", "a, b", &long] {
            assert!(told(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_remembers_nothing_is_not_kept() {
        let all = Connections::default();
        let address = "192.0.2.7:0".parse().expect("an address");
        let connection = Arc::new(Connection::told(address, address, false));
        let now = Instant::now();
        all.put(key("1"), Which::default(), &connection, now);
        assert!(all.find(&key("1"), Which::default(), IDLE, now).is_none());
        assert!(all.lock().kept.is_empty());
    }

    /// As if somebody had signed in.
    fn put(all: &Connections, name: &str, last: Which, now: Instant) -> Arc<Connection> {
        let address = "192.0.2.7:0".parse().expect("an address");
        let connection = Arc::new(Connection::told(address, address, false));
        let kept = Kept { connection: Arc::clone(&connection), begun: now, used: now, last };
        all.lock().kept.insert(key(name), kept);
        connection
    }

    const fn number(number: u64) -> Which {
        Which { number: Some(number), token: None }
    }

    #[test]
    fn what_is_idle_or_old_is_forgotten() {
        let (all, now) = (Connections::default(), Instant::now());
        put(&all, "1", number(2), now);
        assert!(all.find(&key("1"), number(3), IDLE, now + IDLE).is_some());
        assert!(all.find(&key("1"), number(4), IDLE, now + IDLE * 2 + Duration::from_secs(1)).is_none(), "idle");
        put(&all, "1", number(2), now);
        let mut at = now;
        while at < now + LONGEST_LIFE - IDLE {
            at += IDLE;
            assert!(all.find(&key("1"), number(3), IDLE, at).is_some());
        }
        assert!(all.find(&key("1"), number(3), IDLE, at + IDLE + Duration::from_secs(1)).is_none(), "old");
    }

    #[test]
    fn a_request_is_of_the_connection_only_if_its_number_goes_on() {
        for (last, next, goes_on) in
            [(2, 3, true), (2, 2, true), (2, 9, true), (3, 2, false), (1, 1, false), (5, 1, false)]
        {
            let (all, now) = (Connections::default(), Instant::now());
            put(&all, "1", number(last), now);
            assert_eq!(all.find(&key("1"), number(next), IDLE, now).is_some(), goes_on, "{last} {next}");
            assert_eq!(
                all.find(&key("1"), number(next + 1), IDLE, now).is_some(),
                goes_on,
                "what is forgotten stays so"
            );
        }
        let (all, now) = (Connections::default(), Instant::now());
        put(&all, "1", number(2), now);
        assert!(
            all.find(&key("1"), Which::default(), IDLE, now).is_none(),
            "a proxy that counts does not stop counting"
        );
    }

    #[test]
    fn the_same_request_is_known_again_by_its_number_and_its_token() {
        let with = |number, token| Which { number: Some(number), token: Some(token) };
        let (all, now) = (Connections::default(), Instant::now());
        put(&all, "1", with(1, 7), now);
        assert!(all.find(&key("1"), with(1, 7), IDLE, now).is_some_and(|found| found.again));
        assert!(all.find(&key("1"), with(2, 7), IDLE, now).is_some_and(|found| !found.again));
        assert!(
            all.find(&key("1"), with(1, 8), IDLE, now).is_none(),
            "another token is another connection's first request"
        );
    }

    #[test]
    fn the_table_is_bounded_and_a_full_one_is_not_searched_by_every_request() {
        let (all, now) = (Connections::default(), Instant::now());
        for name in ["1", "2"] {
            // They remember nothing, so that a sweep takes them.
            put(&all, name, number(2), now);
        }
        assert!(all.has_room(3, IDLE, now));
        assert!(all.has_room(2, IDLE, now), "swept");
        for name in ["1", "2"] {
            put(&all, name, number(2), now);
        }
        assert!(!all.has_room(2, IDLE, now), "not again at once");
        assert!(all.has_room(2, IDLE, now + BETWEEN_SWEEPS));
    }
}
