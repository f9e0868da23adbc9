//! The one reading of a request's path, for rules and files alike. RFC 3986 2.1, 6.2.2.
//!
//! Rules are found by path, files too. Were the two to read a path differently, `/%61dmin` or `//admin` would be a way around
//! the rules of `/admin`. So a path is decoded once, here, and what is not plain is refused instead of mended.

use std::borrow::Cow;

/// A decoded path: begins with `/`; no segment is empty (but the last may be), `.` or `..`; no control character, no backslash.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Path<'a>(Cow<'a, str>);

impl<'a> Path<'a> {
    /// Reads the path of a request.
    pub(crate) fn read(raw: &'a str) -> Result<Self, Unreadable> {
        let path = if raw.contains('%') { Cow::Owned(decode(raw)?) } else { Cow::Borrowed(raw) };
        let Some(segments) = path.strip_prefix('/') else { return Err(Unreadable("it does not begin with a slash")) };
        if path.chars().any(|c| c.is_control() || c == '\\') {
            return Err(Unreadable("it contains a control character or a backslash"));
        }
        let mut segments = segments.split('/').peekable();
        while let Some(segment) = segments.next() {
            match segment {
                "." | ".." => return Err(Unreadable("it contains the segment `.` or `..`")),
                "" if segments.peek().is_some() => return Err(Unreadable("it contains an empty segment")),
                _ => {}
            }
        }
        Ok(Self(path))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it lies at or below `prefix`, which is a path too. `/app` holds `/app` and `/app/x`, not `/apple`.
    pub(crate) fn below(&self, prefix: &str) -> bool {
        let prefix = prefix.trim_end_matches('/');
        let Some((begin, rest)) = self.0.split_at_checked(prefix.len()) else { return false };
        let same = if FILES_IGNORE_CASE { begin.eq_ignore_ascii_case(prefix) } else { begin == prefix };
        same && (rest.is_empty() || rest.starts_with('/'))
    }

    /// What is left of it below `prefix`, with its slash.
    pub(crate) fn rest(&self, prefix: &str) -> &str {
        match self.0.get(prefix.trim_end_matches('/').len()..) {
            Some(rest) if rest.starts_with('/') => rest,
            _ => "/",
        }
    }

    /// Whether a segment begins with a dot: `.git`, `.htpasswd`. `.well-known` (RFC 8615) is meant to be seen.
    pub(crate) fn hidden(&self) -> bool {
        self.0.split('/').any(|segment| segment.starts_with('.') && segment != ".well-known")
    }
}

/// Why a path is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Unreadable(pub(crate) &'static str);

/// The same path in the form of a URI.
pub(crate) fn encode(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte))
            }
            _ => {
                encoded.push('%');
                encoded.push(hex_digit(byte >> 4));
                encoded.push(hex_digit(byte & 15));
            }
        }
    }
    encoded
}

fn hex_digit(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).map_or('0', |digit| digit.to_ascii_uppercase())
}

fn decode(raw: &str) -> Result<String, Unreadable> {
    const BROKEN: Unreadable = Unreadable("a percent sign is not followed by two hexadecimal digits");
    let mut bytes = raw.bytes();
    let mut decoded = Vec::with_capacity(raw.len());
    while let Some(byte) = bytes.next() {
        decoded.push(if byte == b'%' {
            let mut digit = || bytes.next().and_then(|digit| char::from(digit).to_digit(16)).ok_or(BROKEN);
            let (high, low) = (digit()?, digit()?);
            u8::try_from(high << 4 | low).map_err(|_| BROKEN)?
        } else {
            byte
        });
    }
    String::from_utf8(decoded).map_err(|_| Unreadable("decoded, it is not UTF-8"))
}

/// Whether the files of this system are found under names of another case; then rules must be too.
const FILES_IGNORE_CASE: bool = cfg!(any(windows, target_os = "macos"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_reading() {
        for raw in ["/admin/x", "/%61dmin/x", "/admin%2Fx", "/%61%64%6d%69%6E/x"] {
            let path = Path::read(raw).expect(raw);
            assert_eq!(path.as_str(), "/admin/x");
            assert!(path.below("/admin"));
        }
    }

    #[test]
    fn what_would_lead_around_the_rules_is_refused() {
        for raw in [
            "",
            "*",
            "admin",
            "//admin",
            "/a//b",
            "/./admin",
            "/a/../admin",
            "/%2e%2e/etc/passwd",
            "/..%2fetc",
            "/a/%2E/b",
            "/a%5cb",
            "/a\\b",
            "/a%00.html",
            "/a%0d%0ab",
            "/%",
            "/%4",
            "/%zz",
            "/%c0%ae%c0%ae/",
            "/%ff",
        ] {
            assert!(Path::read(raw).is_err(), "{raw}");
        }
    }

    #[test]
    fn what_was_encoded_twice_is_decoded_once() {
        let path = Path::read("/%252e%252e/x").expect("readable");
        assert_eq!(path.as_str(), "/%2e%2e/x");
        assert_eq!(encode(path.as_str()), "/%252e%252e/x");
    }

    #[test]
    fn a_prefix_ends_at_a_slash() {
        let apple = Path::read("/apple").expect("readable");
        assert!(!apple.below("/app"));
        assert!(apple.below("/"));
        let app = Path::read("/app/").expect("readable");
        assert!(app.below("/app") && app.below("/app/"));
        assert_eq!(app.rest("/app"), "/");
        assert_eq!(Path::read("/app").expect("readable").rest("/app"), "/");
        assert_eq!(Path::read("/app/a/b").expect("readable").rest("/app"), "/a/b");
        assert_eq!(Path::read("/a/b").expect("readable").rest("/"), "/a/b");
    }

    #[test]
    fn a_name_that_begins_with_a_dot_is_hidden() {
        assert!(Path::read("/.git/config").expect("readable").hidden());
        assert!(Path::read("/a/%2ehtpasswd").expect("readable").hidden());
        assert!(!Path::read("/.well-known/security.txt").expect("readable").hidden());
        assert!(!Path::read("/a.b/c.d").expect("readable").hidden());
    }
}
