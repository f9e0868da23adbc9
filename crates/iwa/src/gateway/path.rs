//! The one reading of a request's path, for rules and files alike. RFC 3986 2.1, 6.2.2.
//!
//! Rules are found by path, files too. Were the two to read a path differently, `/%61dmin` or `//admin` would be a way around
//! the rules of `/admin`. So a path is decoded once, here, and what is not plain is refused instead of mended.
//!
//! File systems read names their own way too: without case, without characters that are not drawn, Windows also without
//! a dot at the end and by short names. A server cannot know which one lies below, so routes are found without case
//! everywhere, as in IIS. Finding more than was meant leads nowhere: what a route serves comes from its own directory.

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
                _ if segment.contains(';') && leads_elsewhere(named(segment), segments.peek().is_none()) => {
                    return Err(Unreadable("it contains a segment that is empty, `.` or `..` without its parameters"));
                }
                _ if cfg!(windows) && is_other_on_windows(segment) => {
                    return Err(Unreadable("it contains a segment that Windows takes for another name"));
                }
                _ => {}
            }
        }
        Ok(Self(path))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The path that a server finds for which what follows a `;` are parameters of a segment, and no part of its name (RFC 3986 3.3;
    /// servlets). `None` if there are none.
    pub(crate) fn without_parameters(&self) -> Option<Path<'static>> {
        let plain = || self.0.split('/').map(named).collect::<Vec<_>>().join("/");
        self.0.contains(';').then(|| Path(Cow::Owned(plain())))
    }

    /// Whether it lies at or below `prefix`, which is a path too. `/app` holds `/app` and `/app/x`, not `/apple`.
    pub(crate) fn below(&self, prefix: &str) -> bool {
        covers(prefix, &self.0)
    }

    /// What is left of it below `prefix`, with its slash. By segments: another spelling may have another length.
    pub(crate) fn rest(&self, prefix: &str) -> &str {
        let own = prefix.trim_end_matches('/').matches('/').count();
        self.0.match_indices('/').nth(own).and_then(|(at, _)| self.0.get(at..)).unwrap_or("/")
    }

    /// Whether a segment begins with a dot: `.git`, `.htpasswd`. `.well-known` (RFC 8615) is meant to be seen.
    pub(crate) fn hidden(&self) -> bool {
        self.0
            .split('/')
            .any(|segment| segment.trim_start_matches(is_undrawn).starts_with('.') && segment != ".well-known")
    }
}

/// A segment without its parameters.
fn named(segment: &str) -> &str {
    segment.split(';').next().unwrap_or_default()
}

/// `/..;/` is a way up for servlets, `/;/` nothing at all. At the end of a path they write a session there.
fn leads_elsewhere(name: &str, last: bool) -> bool {
    matches!(name, "." | "..") || (name.is_empty() && !last)
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

/// Whether the route `route` is `path` or lies above it, in whatever spelling.
pub(crate) fn covers(route: &str, path: &str) -> bool {
    let mut found = path.split('/');
    route.trim_end_matches('/').split('/').all(|own| found.next().is_some_and(|found| same(own, found)))
}

/// Whether a file system may take two names for one.
fn same(own: &str, found: &str) -> bool {
    if own == found {
        return true;
    }
    if own.is_ascii() && found.is_ascii() {
        return own.eq_ignore_ascii_case(found);
    }
    folded(own).eq(folded(found))
}

/// There and back, so that the long s is an S and the Kelvin sign a K.
fn folded(name: &str) -> impl Iterator<Item = char> + '_ {
    name.chars().filter(|c| !is_undrawn(*c)).flat_map(char::to_uppercase).flat_map(char::to_lowercase)
}

/// What HFS+ and the folded directories of ext4 leave out when they compare names (`Default_Ignorable_Code_Point`).
const fn is_undrawn(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Whether Windows opens something else under this name: it cuts dots and spaces off the end, takes what follows a colon
/// for a stream (`admin::$INDEX_ALLOCATION`), and `ADMINI~1` for the short form of a long name.
fn is_other_on_windows(segment: &str) -> bool {
    segment.ends_with(['.', ' '])
        || segment.contains(':')
        || segment.split('~').skip(1).any(|after| after.starts_with(|c: char| c.is_ascii_digit()))
}

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
            "/public/..;/admin",
            "/public/..;x=1/admin",
            "/public/..%3b/admin",
            "/public/%2e%2e;",
            "/.;/admin",
            "/;/admin",
            "/;x/admin",
            "/a/%3B%2Fadmin",
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
    fn parameters_are_left_out_of_the_path_that_others_may_read() {
        let plain = |raw| Path::read(raw).expect(raw).without_parameters().map(|path| path.as_str().to_owned());
        assert_eq!(plain("/admin/x"), None);
        assert_eq!(plain("/admin;x=1/y;z;w"), Some("/admin/y".to_owned()));
        assert_eq!(plain("/app/;jsessionid=1"), Some("/app/".to_owned()));
        assert_eq!(plain("/admin%3Bx/y"), Some("/admin/y".to_owned()));
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
    fn a_prefix_holds_in_every_spelling_under_which_a_file_system_finds_the_same_directory() {
        for raw in [
            "/Admin/x",
            "/ADMIN/x",
            "/%61DMin/x",
            // HFS+ and the folded directories of ext4 pass over what is not drawn.
            "/ad%E2%80%8Cmin/x",
            "/admin%EF%BB%BF/x",
            "/adm%C4%B1n/x",
        ] {
            let path = Path::read(raw).expect(raw);
            assert!(path.below("/admin"), "{raw}");
            assert_eq!(path.rest("/admin"), "/x", "{raw}");
        }
        // The Kelvin sign is a K, and the long s an S.
        let path = Path::read("/%E2%84%AAey%C5%BF/%C5%BF").expect("readable");
        assert!(path.below("/keys"));
        assert_eq!(path.rest("/keys"), "/\u{17f}");
        assert!(Path::read("/%C3%96L/x").expect("readable").below("/\u{f6}l"));
        for raw in ["/administrator", "/adm", "/ADM/in", "/b/admin"] {
            assert!(!Path::read(raw).expect(raw).below("/admin"), "{raw}");
        }
    }

    #[test]
    fn names_that_windows_reads_otherwise_are_told() {
        for segment in
            ["admin.", "admin ", "admin. .", "admin::$INDEX_ALLOCATION", "a.txt::$DATA", "C:", "ADMINI~1", "A~12.TXT"]
        {
            assert!(is_other_on_windows(segment), "{segment}");
        }
        for segment in ["", "admin", "a.b", "a b", "~alice", "a~b"] {
            assert!(!is_other_on_windows(segment), "{segment}");
        }
    }

    #[test]
    fn a_name_that_begins_with_a_dot_is_hidden() {
        assert!(Path::read("/%E2%80%8C.git/config").expect("readable").hidden());
        assert!(Path::read("/.git/config").expect("readable").hidden());
        assert!(Path::read("/a/%2ehtpasswd").expect("readable").hidden());
        assert!(!Path::read("/.well-known/security.txt").expect("readable").hidden());
        assert!(!Path::read("/a.b/c.d").expect("readable").hidden());
    }
}
