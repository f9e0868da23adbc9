//! The list of hosts that may be given credentials unasked. Chrome's `AuthServerAllowlist`.
//!
//! A client that signs in by itself must know to whom: any server can answer `WWW-Authenticate: NTLM`, and what it gets is
//! enough to guess the password at leisure.

use core::fmt;
use core::str::FromStr;

/// Patterns of hosts. Empty: no host.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HostList {
    patterns: Vec<Pattern>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Pattern {
    scheme: Option<String>,
    /// In lower case; `*` stands for any characters, dots included.
    host: String,
    port: Option<u16>,
}

impl HostList {
    /// No host.
    #[must_use]
    pub const fn none() -> Self {
        Self { patterns: Vec::new() }
    }

    /// Adds patterns, separated by commas: `web.example.test`, `*.example.test`, `*example.test`, `.example.test` (which is
    /// `*.example.test`), each with `http://` before it or `:8080` after it if it must be that scheme or port; `*` is every
    /// host.
    ///
    /// # Errors
    /// The pattern that is none.
    pub fn add(&mut self, patterns: &str) -> Result<(), BadPattern> {
        for pattern in patterns.split(',').map(str::trim).filter(|pattern| !pattern.is_empty()) {
            self.patterns.push(pattern.parse()?);
        }
        Ok(())
    }

    /// Whether it holds this host. An IPv6 address stands without brackets.
    #[must_use]
    pub fn allows(&self, scheme: &str, host: &str, port: u16) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        self.patterns.iter().any(|pattern| {
            pattern.scheme.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(scheme))
                && pattern.port.is_none_or(|wanted| wanted == port)
                && matches(pattern.host.as_bytes(), host.as_bytes())
        })
    }

    /// Whether it holds no host at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }
}

impl FromStr for Pattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        let bad = || BadPattern(text.to_owned());
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(scheme.to_owned()), rest),
            None => (None, text),
        };
        let (host, port) = match rest.strip_prefix('[') {
            Some(bracketed) => {
                let (address, after) = bracketed.split_once(']').ok_or_else(bad)?;
                (address, after.strip_prefix(':').or(if after.is_empty() { None } else { Some("") }))
            }
            None => match rest.split_once(':') {
                // More than one colon: an IPv6 address without brackets and port.
                Some((_, port)) if port.contains(':') => (rest, None),
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            },
        };
        let port = port.map(|port| port.parse().map_err(|_| bad())).transpose()?;
        let plausible =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '*' | '.' | '-' | '_' | ':') || !c.is_ascii();
        if host.is_empty() || !host.chars().all(plausible) {
            return Err(bad());
        }
        let host = if host.starts_with('.') { format!("*{host}") } else { host.to_owned() };
        Ok(Self { scheme, host: host.trim_end_matches('.').to_ascii_lowercase(), port })
    }
}

/// Whether `text` fits `pattern`, in which `*` stands for any bytes. Linear in both but for backtracking to the last star.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(byte) if Some(byte) == text.get(t) => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|byte| *byte == b'*')
}

/// A pattern that is none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadPattern(String);

impl fmt::Display for BadPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pattern = iwa_wire::explain::printable(&self.0);
        write!(
            f,
            "`{pattern}` is no pattern of hosts; write web.example.test, *.example.test or http://web.example.test:8080"
        )
    }
}

impl core::error::Error for BadPattern {}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(patterns: &str, host: &str) -> bool {
        let mut list = HostList::none();
        list.add(patterns).expect("patterns");
        list.allows("http", host, 80)
    }

    #[test]
    fn no_pattern_allows_no_host() {
        assert!(!allows("", "web.example.test"));
        assert!(!allows(" , ", "localhost"));
    }

    #[test]
    fn a_name_allows_itself_in_any_case_and_nothing_else() {
        assert!(allows("Web.Example.Test", "web.example.test"));
        assert!(allows("web.example.test", "WEB.example.test."));
        assert!(!allows("web.example.test", "xweb.example.test"));
        assert!(!allows("web.example.test", "web.example.test.evil.test"));
        assert!(!allows("example.test", "web.example.test"));
    }

    #[test]
    fn a_star_stands_for_any_characters() {
        assert!(allows("*.example.test", "a.b.example.test"));
        assert!(!allows("*.example.test", "example.test"));
        assert!(!allows("*.example.test", "evilexample.test"));
        assert!(allows("*example.test", "example.test"));
        assert!(allows(".example.test", "web.example.test"));
        assert!(allows("web*.example.test", "web01.example.test"));
        assert!(allows("*", "anything"));
        assert!(!allows("*.example.test", "web.example.test.evil.test"));
    }

    #[test]
    fn scheme_and_port_narrow_a_pattern() {
        let mut list = HostList::none();
        list.add("https://web.example.test, localhost:8080, [::1]:8080").expect("patterns");
        assert!(!list.allows("http", "web.example.test", 80));
        assert!(list.allows("https", "web.example.test", 443));
        assert!(list.allows("http", "localhost", 8080));
        assert!(!list.allows("http", "localhost", 8081));
        assert!(list.allows("http", "::1", 8080));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in ["http://", "a b", "web/x", "web:port", "[::1", "[::1]x", "web:70000", "user@web"] {
            assert!(HostList::none().add(text).is_err(), "{text}");
        }
    }

    #[test]
    fn many_stars_do_not_take_for_ever() {
        assert!(!allows(&"*a".repeat(30), &"a".repeat(29)));
        assert!(!allows(&format!("{}b", "*a".repeat(30)), &"a".repeat(4000)));
    }
}
