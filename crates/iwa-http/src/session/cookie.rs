//! Session cookies in requests and answers. RFC 6265bis 4.1, 4.2, 5.4; RFC 9113 8.2.3 (several lines of `Cookie`).
//!
//! Over TLS the name begins with `__Host-`: browsers take such a cookie from this host alone, never from a neighbour or over
//! plain HTTP. One that is longer than browsers keep comes in pieces, `__Host-iwa`, `__Host-iwa.2`, ...; the seal is over the
//! whole, so that pieces of different sessions do not fit together.

use core::fmt::Write as _;
use std::borrow::Cow;

use http::HeaderMap;
use http::header::{COOKIE, HeaderValue};

use super::seal::Place;
use super::{Refusal, Terms, Times};

/// When a browser sends the cookie with requests that other sites cause. RFC 6265bis 4.1.2.7.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SameSite {
    /// Never.
    Strict,
    /// When a person follows a link.
    Lax,
    /// Always.
    None,
}

impl SameSite {
    const fn name(self) -> &'static str {
        match self {
            Self::Strict => "Strict",
            Self::Lax => "Lax",
            Self::None => "None",
        }
    }
}

/// The session cookie of a request, its pieces put together.
pub(super) fn value<'h>(headers: &'h HeaderMap, place: &Place<'_>) -> Result<Option<Cow<'h, str>>, Refusal> {
    let mut pieces: [Option<&'h str>; MOST_PIECES] = [None; MOST_PIECES];
    for (name, value) in cookies(headers) {
        let Some(place) = piece(name, place).and_then(|number| pieces.get_mut(number)) else { continue };
        if place.replace(value).is_some() {
            return Err(Refusal::Twice);
        }
    }
    let [Some(first), rest @ ..] = pieces else { return Ok(None) };
    // How many there are stands before the first.
    let (count, first) = first.split_at_checked(1).ok_or(Refusal::Malformed)?;
    match count.parse::<usize>() {
        Ok(1) => Ok(Some(Cow::Borrowed(first))),
        Ok(count @ 2..=MOST_PIECES) => {
            let mut whole = String::with_capacity(count * LONGEST_PIECE);
            whole.push_str(first);
            for piece in rest.iter().take(count - 1) {
                whole.push_str(piece.ok_or(Refusal::Malformed)?);
            }
            Ok(Some(Cow::Owned(whole)))
        }
        _ => Err(Refusal::Malformed),
    }
}

/// The lines that give a browser this value; `None` if it is longer than browsers keep.
pub(super) fn set(value: &str, place: &Place<'_>, terms: &Terms, times: &Times) -> Option<Vec<HeaderValue>> {
    let pieces = value.len().div_ceil(LONGEST_PIECE).max(1);
    if pieces > MOST_PIECES {
        return None;
    }
    let mut lines = Vec::with_capacity(pieces);
    let mut rest = value;
    for number in 0..pieces {
        let (piece, after) = rest.split_at_checked(LONGEST_PIECE).unwrap_or((rest, ""));
        rest = after;
        let mut line = name(place, number);
        line.push('=');
        if number == 0 {
            let _ = write!(line, "{pieces}");
        }
        line.push_str(piece);
        line.push_str("; Path=/");
        if place.secure {
            line.push_str("; Secure");
        }
        // Browsers refuse `None` without `Secure`.
        let same_site = if place.secure { terms.same_site.name() } else { SameSite::Lax.name() };
        let _ = write!(line, "; HttpOnly; SameSite={same_site}");
        if terms.persistent {
            let left = times.ends.distance(times.seen);
            let _ = write!(line, "; Max-Age={}", terms.idle.map_or(left, |idle| left.min(idle)).as_secs());
        }
        let mut line = HeaderValue::try_from(line).ok()?;
        line.set_sensitive(true);
        lines.push(line);
    }
    Some(lines)
}

/// The lines that make a browser forget the session cookies of this place that it sent.
#[must_use]
pub fn clear(headers: &HeaderMap, place: &Place<'_>) -> Vec<HeaderValue> {
    forget(headers, |name| piece(name, place).is_some())
}

/// The lines that make a browser forget every session cookie that it sent.
#[must_use]
pub fn clear_all(headers: &HeaderMap) -> Vec<HeaderValue> {
    forget(headers, is_of_a_session)
}

fn forget(headers: &HeaderMap, which: impl Fn(&str) -> bool) -> Vec<HeaderValue> {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in cookies(headers) {
        if which(name) && !names.contains(&name) && names.len() < MOST_CLEARED {
            names.push(name);
        }
    }
    let line = |name: &str| {
        let secure = if name.starts_with(SECURE) { "; Secure" } else { "" };
        HeaderValue::try_from(format!("{name}=; Path=/{secure}; HttpOnly; SameSite=Lax; Max-Age=0")).ok()
    };
    names.into_iter().filter_map(line).collect()
}

/// Takes every session cookie out of a request that goes on to an application: with it, it could be its visitors elsewhere.
pub fn without_session_cookies(headers: &mut HeaderMap) {
    // Bytes, because a line that is not ASCII is no cookie for us and may be one for an application.
    let lines = || headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    let cookies = || lines().flat_map(|line| line.split(|byte| *byte == b';')).map(<[u8]>::trim_ascii);
    if !cookies().any(names_a_session) {
        return;
    }
    let others: Vec<&[u8]> = cookies().filter(|cookie| !cookie.is_empty() && !names_a_session(cookie)).collect();
    let rest = others.join(&b"; "[..]);
    headers.remove(COOKIE);
    if let (false, Ok(rest)) = (rest.is_empty(), HeaderValue::from_bytes(&rest)) {
        headers.insert(COOKIE, rest);
    }
}

/// Whether an application might take it for a session cookie, however its name is written: with blanks around, in another
/// case, in quotes.
fn names_a_session(cookie: &[u8]) -> bool {
    let name = cookie.split(|byte| *byte == b'=').next().unwrap_or_default();
    let name = name.trim_ascii();
    let name = name.strip_prefix(b"\"").unwrap_or(name);
    [SECURE, CLEAR].iter().any(|of| {
        name.split_at_checked(of.len()).is_some_and(|(begin, rest)| {
            begin.eq_ignore_ascii_case(of.as_bytes()) && !rest.first().is_some_and(u8::is_ascii_alphanumeric)
        })
    })
}

/// Whether a cookie of this name is one of ours.
fn is_of_a_session(name: &str) -> bool {
    [SECURE, CLEAR]
        .iter()
        .any(|of| name.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '.'])))
}

/// Which piece of the session cookie of this place has this name.
fn piece(name: &str, place: &Place<'_>) -> Option<usize> {
    let rest = name.strip_prefix(base(place))?;
    let rest = match place.suffix {
        "" => rest,
        suffix => rest.strip_prefix('-')?.strip_prefix(suffix)?,
    };
    match rest {
        "" => Some(0),
        rest => rest.strip_prefix('.')?.parse::<usize>().ok()?.checked_sub(1).filter(|number| *number > 0),
    }
}

fn name(place: &Place<'_>, piece: usize) -> String {
    // With room for the whole line.
    let mut name = String::with_capacity(128 + LONGEST_PIECE);
    name.push_str(base(place));
    if !place.suffix.is_empty() {
        name.push('-');
        name.push_str(place.suffix);
    }
    if piece > 0 {
        let _ = write!(name, ".{}", piece + 1);
    }
    name
}

const fn base(place: &Place<'_>) -> &'static str {
    if place.secure { SECURE } else { CLEAR }
}

/// Every cookie of a request, however many lines they stand in.
fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(';')).filter_map(|cookie| {
        let (name, value) = cookie.trim_matches([' ', '\t']).split_once('=')?;
        Some((name, value))
    })
}

/// Of the name over TLS.
const SECURE: &str = "__Host-iwa";

/// Of the name without TLS.
const CLEAR: &str = "iwa-session";

/// Characters of one piece: with name and attributes below the 4,096 bytes that a browser keeps (RFC 6265 6.1).
const LONGEST_PIECE: usize = 3_900;

/// Together below the 16 KiB of a request's head that other servers take.
const MOST_PIECES: usize = 3;

/// Cookies that one answer clears.
const MOST_CLEARED: usize = 16;
