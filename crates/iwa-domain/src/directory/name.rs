//! Distinguished names, compared. RFC 4514 (the text), RFC 4517 4.2.11 and 4.2.15 (`caseIgnoreMatch`, `distinguishedNameMatch`).
//!
//! A directory gives the same name in many spellings (`CN=Staff, OU=groups` and `cn=staff,ou=groups`). Here a name has one:
//! what rules, loops and counters are compared by.

use core::fmt;

/// A distinguished name in the one spelling: types and values in small letters, spaces as they count, escapes only where they
/// must be, the parts of an RDN in order.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Name(Vec<Rdn>);

/// A relative distinguished name: types and values. Most have one.
type Rdn = Vec<(String, String)>;

impl Name {
    /// Reads a name; `None` if it is none. The empty name is none here: nobody and no group has it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > LONGEST {
            return None;
        }
        let mut rdns = Vec::new();
        let mut rdn = Rdn::new();
        let mut rest = text;
        loop {
            let (kind, after) = rest.split_once('=')?;
            let kind = kind.trim();
            if kind.is_empty() || !kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.;".contains(&byte)) {
                return None;
            }
            let (value, separator, after) = value(after)?;
            rdn.push((kind.to_ascii_lowercase(), value));
            if separator != Some('+') {
                rdn.sort();
                rdns.push(core::mem::take(&mut rdn));
            }
            rest = after;
            if separator.is_none() {
                return Some(Self(rdns));
            }
        }
    }

    /// The value of `cn=value`, if this is a name directly below `base` of just that kind. Below one entry no two have the
    /// same, so that this value names one group and no other.
    #[must_use]
    pub fn common_name_below(&self, base: &Self) -> Option<&str> {
        match self.0.split_first() {
            Some((first, above)) if above == base.0.as_slice() => match first.as_slice() {
                [(kind, value)] if kind == "cn" => Some(value),
                _ => None,
            },
            _ => None,
        }
    }

    /// The value of this kind in the first RDN.
    pub(super) fn own_value(&self, kind: &str) -> Option<&str> {
        let first = self.0.first()?;
        first.iter().find(|(own, _)| own.eq_ignore_ascii_case(kind)).map(|(_, value)| value.as_str())
    }

    /// How many RDNs it has.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, rdn) in self.0.iter().enumerate() {
            for (part, (kind, value)) in rdn.iter().enumerate() {
                let before = match (nth, part) {
                    (0, 0) => "",
                    (_, 0) => ",",
                    _ => "+",
                };
                write!(f, "{before}{kind}=")?;
                let mut escaped = String::new();
                iwa_wire::ldap::dn::escape(value, &mut escaped);
                f.write_str(&escaped)?;
            }
        }
        Ok(())
    }
}

/// A value as it is compared: case does not count, and of spaces only whether there are some (RFC 4518 2.6.1).
#[must_use]
pub fn folded(value: &str) -> String {
    let mut folded = String::with_capacity(value.len());
    for word in value.split(' ').filter(|word| !word.is_empty()) {
        if !folded.is_empty() {
            folded.push(' ');
        }
        folded.extend(word.chars().flat_map(char::to_lowercase));
    }
    folded
}

/// A value, the separator behind it, and what is behind that.
fn value(text: &str) -> Option<(String, Option<char>, &str)> {
    let mut bytes = Vec::new();
    // A space that was escaped stays at the end of the value.
    let mut chars = text.char_indices();
    let (separator, rest) = loop {
        let Some((at, c)) = chars.next() else { break (None, "") };
        match c {
            ',' | '+' => break (Some(c), text.get(at + 1..)?),
            '\\' => {
                let (_, next) = chars.next()?;
                match next.to_digit(16) {
                    Some(high) => {
                        let low = chars.next()?.1.to_digit(16)?;
                        bytes.push(u8::try_from(high * 16 + low).ok()?);
                    }
                    None if " \"#+,;<=>\\".contains(next) => bytes.push(u8::try_from(next).ok()?),
                    None => return None,
                }
            }
            '"' | ';' | '<' | '>' | '\0' => return None,
            _ => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    };
    let value = folded(&String::from_utf8(bytes).ok()?);
    // An empty value, or BER in hexadecimal, which nobody writes of a group.
    (!value.is_empty() && !text.trim_start().starts_with('#')).then_some((value, separator, rest))
}

/// A name of more bytes is not read.
const LONGEST: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn a_name_has_one_spelling() {
        for (a, b) in [
            ("cn=staff,dc=example,dc=test", "CN=Staff, DC=Example ,DC=TEST"),
            ("cn=web  admins,o=x", "cn= Web Admins ,o=X"),
            ("cn=a\\2cb,o=x", "cn=a\\,b,o=x"),
            ("cn=J\u{f6}rg,o=x", "cn=j\\c3\\b6rg,o=x"),
            ("cn=a+ou=b,o=x", "OU=B+CN=A,o=x"),
        ] {
            assert_eq!(name(a), name(b));
            assert_eq!(name(a).to_string(), name(b).to_string());
        }
        for (a, b) in [("cn=a,o=x", "cn=a,o=y"), ("cn=a\\,ou=b,o=x", "cn=a,ou=b,o=x"), ("cn=ab,o=x", "cn=a b,o=x")] {
            assert_ne!(name(a), name(b));
        }
        for text in ["cn=a\\,b,o=x", "cn=\\#x,o=x", "cn=a\\+b\\=c,o=\\\"x\\\""] {
            assert_eq!(name(&name(text).to_string()), name(text), "{text}");
        }
    }

    #[test]
    fn what_is_no_name() {
        for text in [
            "",
            "staff",
            "cn=",
            "=a",
            "cn=a,",
            "cn=a,b",
            "cn=a\\",
            "cn=a\\zz",
            "cn=\\c3,o=x",
            "cn=\"a\",o=x",
            "c n=a",
            "cn=#0401",
        ] {
            assert_eq!(Name::parse(text), None, "{text}");
        }
        assert_eq!(Name::parse(&format!("cn={}", "a".repeat(9000))), None);
    }

    #[test]
    fn a_group_is_called_by_its_cn_only_directly_below_the_base() {
        let base = name("ou=groups,o=x");
        let called = |text: &str| name(text).common_name_below(&base).map(str::to_owned);
        assert_eq!(called("CN=Staff,ou=groups,o=x").as_deref(), Some("staff"));
        for text in [
            "cn=staff,ou=evil,ou=groups,o=x",
            "cn=staff,o=x",
            "cn=staff,ou=groups,o=y",
            "ou=staff,ou=groups,o=x",
            "cn=staff+ou=b,ou=groups,o=x",
            "ou=groups,o=x",
        ] {
            assert_eq!(called(text), None, "{text}");
        }
    }
}
