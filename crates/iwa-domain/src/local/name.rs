//! Names of accounts and groups: what Windows allows, and when two of them are the same. MS-SAMR 3.1.1.6, MS-ADTS 3.1.1.5.

use core::fmt;

use iwa_auth::ntlm::crypto;

/// The longest name of an account, in UTF-16 units (`sAMAccountName` of a user).
pub const MAX_USER: usize = 20;
/// The longest name of a group, in UTF-16 units.
pub const MAX_GROUP: usize = 256;
/// The longest name of a machine, in characters (NetBIOS).
pub const MAX_MACHINE: usize = 15;
/// The longest realm, UPN or display name, in bytes.
pub const MAX_TEXT: usize = 256;

/// Why something cannot be a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameError {
    /// There is nothing.
    Empty,
    /// Longer than Windows takes.
    TooLong {
        /// The limit, in UTF-16 units.
        limit: usize,
    },
    /// A character that Windows forbids, or one that cannot be seen.
    Forbidden {
        /// The character, printable.
        character: String,
    },
    /// It begins or ends with a space, or ends with a dot.
    Edge,
    /// It means something else already.
    Reserved,
    /// It is no UPN: `name@suffix`.
    Upn,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a name is needed, this one is empty"),
            Self::TooLong { limit } => write!(f, "the name is too long: Windows takes {limit} characters here"),
            Self::Forbidden { character } => write!(
                f,
                "the name holds the character {character}: Windows forbids \" / \\ [ ] : ; | = , + * ? < > @ and what cannot be seen"
            ),
            Self::Edge => {
                f.write_str("the name begins or ends with a space, or ends with a dot: Windows would cut it off")
            }
            Self::Reserved => f.write_str("the name is taken by something built in: choose another"),
            Self::Upn => f.write_str("a UPN is name@suffix, with one @ and something on both sides"),
        }
    }
}

impl core::error::Error for NameError {}

/// Checks the name of a user.
///
/// # Errors
/// Which rule it breaks.
pub fn check_user(name: &str) -> Result<(), NameError> {
    check(name, MAX_USER)?;
    if RESERVED.contains(&fold(name).as_str()) { Err(NameError::Reserved) } else { Ok(()) }
}

/// Checks the name of a group.
///
/// # Errors
/// Which rule it breaks.
pub fn check_group(name: &str) -> Result<(), NameError> {
    check(name, MAX_GROUP)?;
    if RESERVED.contains(&fold(name).as_str()) { Err(NameError::Reserved) } else { Ok(()) }
}

/// Checks the name of a machine: 1 to 15 characters of those that are safe in NetBIOS and in DNS.
///
/// # Errors
/// Which rule it breaks.
pub fn check_machine(name: &str) -> Result<(), NameError> {
    check(name, MAX_MACHINE)?;
    match name.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))) {
        Some(c) => Err(NameError::Forbidden { character: shown(c) }),
        None => Ok(()),
    }
}

/// Checks a realm: no space, no `@`, `/` or `\`, nothing that cannot be seen (RFC 4120 6.1).
///
/// # Errors
/// Which rule it breaks.
pub fn check_realm(realm: &str) -> Result<(), NameError> {
    check_text(realm)?;
    if realm.is_empty() {
        return Err(NameError::Empty);
    }
    match realm.chars().find(|c| c.is_whitespace() || matches!(c, '@' | '/' | '\\' | ':' | '=' | '"')) {
        Some(c) => Err(NameError::Forbidden { character: shown(c) }),
        None => Ok(()),
    }
}

/// Checks a user principal name: `name@suffix`.
///
/// # Errors
/// Which rule it breaks.
pub fn check_upn(upn: &str) -> Result<(), NameError> {
    check_text(upn)?;
    let (name, suffix) = upn.split_once('@').ok_or(NameError::Upn)?;
    if name.is_empty() || suffix.contains('@') {
        return Err(NameError::Upn);
    }
    if name.contains(char::is_whitespace) {
        return Err(NameError::Forbidden { character: shown(' ') });
    }
    check_realm(suffix)
}

/// Checks a service principal name without its realm: `class/host`, each part of what a realm may hold.
///
/// # Errors
/// Which rule it breaks.
pub fn check_spn(spn: &str) -> Result<(), NameError> {
    check_text(spn)?;
    let mut parts = spn.split('/');
    let (class, host) = (parts.next().unwrap_or_default(), parts.next().ok_or(NameError::Empty)?);
    for part in [class, host].into_iter().chain(parts) {
        // A port is part of an SPN: HTTP/host:8080.
        check_realm(&part.replace(':', "-"))?;
    }
    Ok(())
}

/// Checks a text that is shown: a display name, a comment.
///
/// # Errors
/// Which rule it breaks.
pub fn check_text(text: &str) -> Result<(), NameError> {
    if text.len() > MAX_TEXT {
        return Err(NameError::TooLong { limit: MAX_TEXT });
    }
    match text.chars().find(|&c| invisible(c)) {
        Some(c) => Err(NameError::Forbidden { character: shown(c) }),
        None => Ok(()),
    }
}

/// The form under which two spellings of a name are the same: upper case, character by character, as
/// `RtlUpcaseUnicodeString` has it and NTLM hashes it. `ß` stays `ß`, and nothing outside ASCII becomes ASCII.
#[must_use]
pub fn fold(name: &str) -> String {
    name.chars().map(upcase).collect()
}

/// Whether two names are the same in any case.
#[must_use]
pub fn same(a: &str, b: &str) -> bool {
    a.chars().map(upcase).eq(b.chars().map(upcase))
}

/// A letter beyond the basic plane has no case in Windows.
fn upcase(c: char) -> char {
    if c.is_ascii() {
        return c.to_ascii_uppercase();
    }
    u16::try_from(u32::from(c)).ok().and_then(|unit| char::from_u32(u32::from(crypto::upcase(unit)))).unwrap_or(c)
}

fn check(name: &str, limit: usize) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.chars().map(char::len_utf16).sum::<usize>() > limit {
        return Err(NameError::TooLong { limit });
    }
    if let Some(c) = name.chars().find(|&c| FORBIDDEN.contains(c) || invisible(c)) {
        return Err(NameError::Forbidden { character: shown(c) });
    }
    if name.starts_with(char::is_whitespace) || name.ends_with(|c: char| c.is_whitespace() || c == '.') {
        return Err(NameError::Edge);
    }
    Ok(())
}

/// Control characters, and those that are not drawn or that turn the direction of what follows: two names that look alike
/// must not be two accounts.
fn invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

fn shown(c: char) -> String {
    if invisible(c) || c.is_whitespace() { c.escape_unicode().to_string() } else { c.to_string() }
}

const FORBIDDEN: &str = "\"/\\[]:;|=,+*?<>@";

/// Names that rules and protocols use for something else, folded.
const RESERVED: &[&str] =
    &["KRBTGT", "USERS", "EVERYONE", "ANONYMOUS", "ANONYMOUS LOGON", "AUTHENTICATED USERS", "SYSTEM"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_windows_takes() {
        for name in ["alice", "Zoë", "o'brien", "first.last", "svc_web$", "a b", "李雷", "#1!%&(){}~^`"] {
            assert_eq!(check_user(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn names_that_windows_refuses() {
        for name in [
            "",
            " ",
            ".",
            "...",
            "a.",
            " a",
            "a ",
            "a\u{a0}",
            "a/b",
            "a\\b",
            "a@b",
            "a:b",
            "a;b",
            "a|b",
            "a=b",
            "a,b",
            "a+b",
            "a*",
            "a?",
            "<a",
            "a>",
            "[a",
            "a]",
            "a\"",
            "a\nb",
            "a\0",
            "a\u{202e}b",
            "a\u{200d}b",
            "\u{feff}a",
            "krbtgt",
            "KrbTgt",
            "users",
            "Everyone",
            "123456789012345678901",
        ] {
            assert!(check_user(name).is_err(), "{name:?}");
        }
        assert_eq!(check_user("12345678901234567890"), Ok(()));
        // Twenty UTF-16 units, not twenty characters.
        assert_eq!(check_user(&"😀".repeat(10)), Ok(()));
        assert!(check_user(&"😀".repeat(11)).is_err());
    }

    #[test]
    fn spellings_that_are_the_same() {
        assert!(same("Alice", "aLICE"));
        assert!(same("zoë", "ZOË"));
        assert!(!same("straße", "STRASSE"));
        // U+0131 and U+017F have ASCII capitals in Unicode; Windows leaves them alone.
        assert!(!same("\u{131}", "I"));
        assert!(!same("\u{17f}", "s"));
        assert_eq!(fold("Straße ǆ"), "STRAßE Ǆ");
    }

    #[test]
    fn machines_realms_upns_and_spns() {
        assert_eq!(check_machine("WEB01"), Ok(()));
        for name in ["", "a.b", "1234567890123456", "wéb", "a b"] {
            assert!(check_machine(name).is_err(), "{name:?}");
        }
        assert_eq!(check_realm("EXAMPLE.TEST"), Ok(()));
        for realm in ["", "A B", "A@B", "A/B", "A\\B", "A\0"] {
            assert!(check_realm(realm).is_err(), "{realm:?}");
        }
        assert_eq!(check_upn("alice@example.test"), Ok(()));
        for upn in ["alice", "@example.test", "alice@", "a@b@c", "a b@c", "a@b c"] {
            assert!(check_upn(upn).is_err(), "{upn:?}");
        }
        for spn in ["HTTP/web.example.test", "HTTP/web:8080", "MSSQLSvc/db.example.test:1433", "a/b/c"] {
            assert_eq!(check_spn(spn), Ok(()), "{spn:?}");
        }
        for spn in ["HTTP", "HTTP/", "/web", "HTTP/web@A", "HTTP/we b", "a//b"] {
            assert!(check_spn(spn).is_err(), "{spn:?}");
        }
    }
}
