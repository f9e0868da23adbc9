//! Sessions: one handshake, then a sealed cookie. RFC 6265bis 4.1.3.2 (`__Host-`), RFC 8452 (AES-GCM-SIV), RFC 5869 (HKDF).
//!
//! ```text
//! a handshake ends well:  Times + Identity -> codec -> seal (keys; host, policy, TLS, certificate) -> Set-Cookie
//! the next request:       Cookie -> open -> times -> whoever keeps the list: revoked? -> SessionVerified -> Identity
//! ```
//!
//! A server keeps nothing of a session but the keys, which several share, and the list of those that were ended early. So a
//! cookie says everything: who, their groups, how they proved it, since when and until when.
//!
//! | concept | file |
//! |---|---|
//! | what a session says, in few bytes | [`codec`] |
//! | sealing and opening; what a seal is tied to | [`seal`] |
//! | keys, and when a new one comes | [`keys`] |
//! | cookies in requests and answers | [`cookie`] |

pub mod codec;
pub mod cookie;
pub mod keys;
pub mod seal;

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use http::HeaderMap;
use http::header::HeaderValue;
use iwa_auth::env::EntropyError;
use iwa_auth::ports::SessionVerified;
use iwa_auth::{Identity, UnixTime};

pub use cookie::{SameSite, without_session_cookies};
pub use keys::{Keys, KeysError};
pub use seal::{Place, PolicyId};

use crate::system::System;

/// Names one session, in the log and on the list of those that were ended. Random; knowing it opens nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub [u8; 16]);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl core::str::FromStr for SessionId {
    type Err = NoSessionId;

    fn from_str(text: &str) -> Result<Self, NoSessionId> {
        let mut id = [0; 16];
        if text.len() != 2 * id.len() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NoSessionId);
        }
        for (place, pair) in id.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let pair = core::str::from_utf8(pair).map_err(|_| NoSessionId)?;
            *place = u8::from_str_radix(pair, 16).map_err(|_| NoSessionId)?;
        }
        Ok(Self(id))
    }
}

/// The text is not 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoSessionId;

/// How sessions of a part of a site live.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Terms {
    /// The longest that one lives, whatever happens; a Kerberos ticket may end it earlier.
    pub lifetime: Duration,
    /// How long nobody may use it; `None`: as long as it lives.
    pub idle: Option<Duration>,
    /// `SameSite` of the cookie.
    pub same_site: SameSite,
    /// Whether the browser keeps the cookie when it is closed (`Max-Age`).
    pub persistent: bool,
    /// Whether there are sessions without TLS: whoever listens takes them over.
    pub in_clear: bool,
}

impl Terms {
    /// `lifetime` unless somebody says otherwise: a working day.
    pub const LIFETIME: Duration = Duration::from_secs(8 * 3600);

    /// The longest `lifetime`.
    pub const LONGEST: Duration = Duration::from_secs(30 * 86_400);
}

impl Default for Terms {
    fn default() -> Self {
        Self { lifetime: Self::LIFETIME, idle: None, same_site: SameSite::Lax, persistent: false, in_clear: false }
    }
}

/// When a session began and ends. Seconds count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Times {
    /// When its client proved who they are.
    pub begun: UnixTime,
    /// When it ends, whatever happens. Never moves.
    pub ends: UnixTime,
    /// When the cookie was sealed.
    pub seen: UnixTime,
}

/// A session whose cookie was opened, and which has not ended by itself. Whether somebody ended it is for the caller to know.
#[derive(Debug)]
pub struct Session {
    /// Its name.
    pub id: SessionId,
    /// When it began and ends.
    pub times: Times,
    /// Who it is.
    pub identity: Arc<Identity>,
}

/// What a request brings.
#[derive(Debug)]
pub enum Presented {
    /// No session cookie.
    Nothing,
    /// One that does not count. The browser is told to forget it, and the request goes on as if it had none.
    Refused(Refusal),
    /// A session.
    Session(Box<Session>),
}

/// Why a session cookie does not count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Two cookies of one name: a neighbour planted one, and nobody knows which.
    Twice,
    /// It is not in the form of a session cookie, or a piece of it is missing.
    Malformed,
    /// It was sealed with a key that is not here (any more).
    UnknownKey,
    /// It was changed, or made for another host, policy, certificate, or without TLS.
    Seal,
    /// It has ended.
    Expired,
    /// It was not used for too long.
    Idle,
    /// It begins in the future: a clock is wrong.
    FromTheFuture,
}

impl Refusal {
    /// In words, for the log.
    #[must_use]
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Twice => "two session cookies of one name came, and neither counts",
            Self::Malformed => "the session cookie is none of ours, or a piece of it is missing",
            Self::UnknownKey => "the session cookie was sealed with a key that is not here (any more)",
            Self::Seal => {
                "the session cookie was changed, or made for another host, policy or certificate, or without TLS"
            }
            Self::Expired => "the session has ended",
            Self::Idle => "the session was not used for too long",
            Self::FromTheFuture => "the session begins in the future: the clocks of two servers differ",
        }
    }
}

/// Looks for a session in a request, for this place.
#[must_use]
pub fn presented(headers: &HeaderMap, keys: &Keys, place: &Place<'_>, terms: &Terms, now: UnixTime) -> Presented {
    if !place.secure && !terms.in_clear {
        return Presented::Nothing;
    }
    let value = match cookie::value(headers, place) {
        Ok(Some(value)) => value,
        Ok(None) => return Presented::Nothing,
        Err(refusal) => return Presented::Refused(refusal),
    };
    match opened(&value, keys, place, terms, now) {
        Ok(session) => Presented::Session(Box::new(session)),
        Err(refusal) => Presented::Refused(refusal),
    }
}

fn opened(value: &str, keys: &Keys, place: &Place<'_>, terms: &Terms, now: UnixTime) -> Result<Session, Refusal> {
    let (id, times, verified) = seal::open(value, keys, place)?;
    judge(&times, terms, now)?;
    Ok(Session { id, times, identity: Arc::new(Identity::from_session(verified)) })
}

/// The terms of now hold, too: a shorter `lifetime` ends sessions that began under a longer one.
fn judge(times: &Times, terms: &Terms, now: UnixTime) -> Result<(), Refusal> {
    if times.begun.max(times.seen) > now.plus(MOST_SKEW) {
        Err(Refusal::FromTheFuture)
    } else if now >= times.ends || now >= times.begun.plus(terms.lifetime) {
        Err(Refusal::Expired)
    } else if terms.idle.is_some_and(|idle| now >= times.seen.plus(idle)) {
        Err(Refusal::Idle)
    } else {
        Ok(())
    }
}

/// A session that began.
#[derive(Debug)]
pub struct Begun {
    /// Its name.
    pub id: SessionId,
    /// When it began and ends.
    pub times: Times,
    /// The lines `Set-Cookie`.
    pub lines: Vec<HeaderValue>,
}

/// Begins a session for somebody who just proved who they are, not longer than their ticket lasts.
///
/// # Errors
/// There is none to be had; the client signs in anew with its next request.
pub fn begin(
    identity: &Identity,
    ticket_ends: Option<UnixTime>,
    keys: &Keys,
    place: &Place<'_>,
    terms: &Terms,
    system: &dyn System,
) -> Result<Begun, NoSession> {
    let now = UnixTime::from_secs(system.now().secs());
    let longest = now.plus(terms.lifetime);
    let ends = ticket_ends.map_or(longest, |end| UnixTime::from_secs(end.secs()).min(longest));
    if ends <= now {
        return Err(NoSession::TicketEnds);
    }
    let mut id = [0; 16];
    system.random(&mut id)?;
    let id = SessionId(id);
    let times = Times { begun: now, ends, seen: now };
    let lines = sealed(id, &times, identity, keys, place, terms, system)?;
    Ok(Begun { id, times, lines })
}

/// The lines `Set-Cookie` of a session that was used, if it is time to seal it again: when a quarter of its idle time has
/// passed. Its end stays where it is.
///
/// # Errors
/// As [`begin`].
pub fn again(
    session: &Session,
    keys: &Keys,
    place: &Place<'_>,
    terms: &Terms,
    system: &dyn System,
) -> Result<Option<Vec<HeaderValue>>, NoSession> {
    let now = UnixTime::from_secs(system.now().secs());
    if terms.idle.is_none_or(|idle| now < session.times.seen.plus(idle / 4)) {
        return Ok(None);
    }
    let times = Times { seen: now, ..session.times };
    sealed(session.id, &times, &session.identity, keys, place, terms, system).map(Some)
}

fn sealed(
    id: SessionId,
    times: &Times,
    identity: &Identity,
    keys: &Keys,
    place: &Place<'_>,
    terms: &Terms,
    system: &dyn System,
) -> Result<Vec<HeaderValue>, NoSession> {
    if !place.secure && !terms.in_clear {
        return Err(NoSession::InClear);
    }
    if place.host.is_empty() {
        return Err(NoSession::NoHost);
    }
    let value = seal::seal(id, times, identity, keys, place, system)?;
    cookie::set(&value, place, terms, times).ok_or(NoSession::TooLong)
}

/// Why a client that signed in gets no session. It signs in anew with each connection, as without sessions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoSession {
    /// Its groups do not fit into the cookies that browsers keep. A session never has fewer groups.
    TooLong,
    /// There is no TLS, and the terms want it.
    InClear,
    /// The request says no host (HTTP/1.0), so that the cookie could not be tied to one.
    NoHost,
    /// Its ticket ends now.
    TicketEnds,
    /// There is no randomness to be had.
    Entropy,
}

impl NoSession {
    /// In words, for the log.
    #[must_use]
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::TooLong => {
                "no session: the account's groups do not fit into cookies; a session never has fewer groups"
            }
            Self::InClear => "no session: without TLS whoever listens could take it over (in-clear allows it)",
            Self::NoHost => "no session: the request names no host",
            Self::TicketEnds => "no session: the ticket ends now",
            Self::Entropy => "no session: the system gives no randomness",
        }
    }
}

impl From<EntropyError> for NoSession {
    fn from(_: EntropyError) -> Self {
        Self::Entropy
    }
}

/// The parts of a session.
type Parts = (SessionId, Times, SessionVerified);

/// How far the clocks of servers that share keys may differ.
const MOST_SKEW: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
