//! `PrincipalName`, `Realm` and the text form of a principal. RFC 4120 5.2.1, 5.2.2, 6; RFC 1964 2.1.1.

use core::fmt;
use core::hash::{Hash, Hasher};
use core::str::FromStr;

use super::field::{self, Fields as _};
use super::shape;
use crate::der::{Der, DerWriter, Tag, Tlv};
use crate::error::{ErrorKind, ParseError};
use crate::explain::{Field, Node, Shape, explain_tlv, printable};

/// The most components that a name may have.
pub const COMPONENTS_LIMIT: usize = 32;

/// `KerberosString`: a GeneralString, whose bytes are UTF-8 in practice and ASCII by the letter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KerberosString<'a>(pub &'a [u8]);

impl<'a> KerberosString<'a> {
    /// The text, if it is UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&'a str> {
        core::str::from_utf8(self.0).ok()
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.0
    }
}

impl<'a> From<&'a str> for KerberosString<'a> {
    fn from(text: &'a str) -> Self {
        Self(text.as_bytes())
    }
}

impl PartialEq<str> for KerberosString<'_> {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

/// Safe to print; what is not UTF-8 becomes the replacement character.
impl fmt::Display for KerberosString<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&String::from_utf8_lossy(self.0)))
    }
}

impl fmt::Debug for KerberosString<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// `PrincipalName` of a message. Two names are equal if their components are: the type is a hint (RFC 4120 6.2).
#[derive(Clone, Copy)]
pub struct PrincipalName<'a> {
    /// `name-type`: see [`name_type`].
    pub name_type: i32,
    names: Names<'a>,
}

#[derive(Clone, Copy)]
enum Names<'a> {
    /// The contents of `name-string`: every element was read once without an error.
    Der(Der<'a>),
    Strings(&'a [String]),
    Strs(&'a [&'a str]),
}

impl<'a> PrincipalName<'a> {
    /// A name of these components.
    #[must_use]
    pub const fn of(name_type: i32, components: &'a [&'a str]) -> Self {
        Self { name_type, names: Names::Strs(components) }
    }

    /// Reads the next value.
    ///
    /// # Errors
    /// The rule that the bytes break; [`ErrorKind::Limit`] beyond [`COMPONENTS_LIMIT`] components.
    pub fn read(der: &mut Der<'a>) -> Result<Self, ParseError> {
        field::sequence(der, |der| {
            let name_type = field::explicit(der, 0, field::int32)?;
            let inside = field::explicit(der, 1, |der| der.enter(Tag::SEQUENCE))?;
            let (mut rest, mut count) = (inside, 0);
            while !rest.is_empty() {
                if count == COMPONENTS_LIMIT {
                    return Err(rest.error(ErrorKind::Limit { what: "name-string", limit: COMPONENTS_LIMIT }));
                }
                field::string(&mut rest)?;
                count += 1;
            }
            Ok(Self { name_type, names: Names::Der(inside) })
        })
    }

    pub(super) fn put(&self, w: &mut DerWriter<'_>) {
        w.sequence(|w| {
            w.int(0, self.name_type);
            w.field(1, |w| {
                w.sequence(|w| match self.names {
                    Names::Der(der) => w.raw(der.peek()),
                    _ => self.components().for_each(|name| w.primitive(Tag::GENERAL_STRING, name.0)),
                });
            });
        });
    }

    /// The components, in order.
    #[must_use]
    pub const fn components(&self) -> Components<'a> {
        Components(self.names)
    }

    /// The name and its realm as an owned [`Principal`].
    ///
    /// # Errors
    /// [`ErrorKind::Value`] if a component or the realm is not UTF-8.
    pub fn to_principal(&self, realm: KerberosString<'_>) -> Result<Principal, ParseError> {
        let text = |string: KerberosString<'_>| {
            let error = ParseError { format: "PrincipalName", offset: 0, kind: ErrorKind::Value { what: "UTF-8" } };
            string.as_str().map(str::to_owned).ok_or(error)
        };
        Ok(Principal {
            name_type: self.name_type,
            components: self.components().map(text).collect::<Result<_, _>>()?,
            realm: text(realm)?,
        })
    }
}

field::whole! { PrincipalName "PrincipalName" }
shape::explained! { PrincipalName "PrincipalName" "RFC 4120 5.2.2" shape::NAME; }

const PRINCIPAL_NAME: &[Field] = &[
    shape::field(0, "name-type", Shape::Integer(shape::name_type)),
    shape::field(1, "name-string", Shape::SequenceOf("KerberosString", &Shape::Text)),
];

/// The parts, and the name as people write it.
pub(super) fn explain_name(name: &'static str, tlv: Tlv<'_>) -> Node {
    let mut node = explain_tlv(name, &Shape::Sequence(PRINCIPAL_NAME), tlv);
    if let Ok(parsed) = PrincipalName::parse(tlv.whole) {
        node.value = parsed.to_string();
    }
    node
}

impl PartialEq for PrincipalName<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.components().eq(other.components())
    }
}

impl Eq for PrincipalName<'_> {}

/// The text form without a realm, safe to print.
impl fmt::Display for PrincipalName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, component) in self.components().enumerate() {
            if i > 0 {
                f.write_str("/")?;
            }
            f.write_str(&printable(&escaped(&String::from_utf8_lossy(component.0))))?;
        }
        Ok(())
    }
}

impl fmt::Debug for PrincipalName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrincipalName({}, {self})", self.name_type)
    }
}

/// The components of a [`PrincipalName`].
#[derive(Clone)]
pub struct Components<'a>(Names<'a>);

impl<'a> Iterator for Components<'a> {
    type Item = KerberosString<'a>;

    fn next(&mut self) -> Option<KerberosString<'a>> {
        match &mut self.0 {
            Names::Der(der) => field::string(der).ok(),
            Names::Strings(strings) => {
                let (first, rest) = strings.split_first()?;
                *strings = rest;
                Some(KerberosString(first.as_bytes()))
            }
            Names::Strs(strs) => {
                let (first, rest) = strs.split_first()?;
                *strs = rest;
                Some(KerberosString(first.as_bytes()))
            }
        }
    }
}

impl fmt::Debug for Components<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

/// A principal of its own: name and realm. Equality is exact, case included, and does not look at the type (RFC 4120 6.2).
#[derive(Clone, Debug)]
pub struct Principal {
    /// `name-type`: see [`name_type`].
    pub name_type: i32,
    /// The components of the name.
    pub components: Vec<String>,
    /// The realm; may be empty where a default is filled in later.
    pub realm: String,
}

impl Principal {
    /// A user: `NT-PRINCIPAL`.
    #[must_use]
    pub fn user(name: &str, realm: &str) -> Self {
        Self { name_type: name_type::PRINCIPAL, components: vec![name.to_owned()], realm: realm.to_owned() }
    }

    /// A service on a host: `NT-SRV-INST`, as Windows and browsers name it.
    #[must_use]
    pub fn service(service: &str, host: &str, realm: &str) -> Self {
        let components = vec![service.to_owned(), host.to_owned()];
        Self { name_type: name_type::SRV_INST, components, realm: realm.to_owned() }
    }

    /// The ticket-granting service for `target`, of the realm `realm`.
    #[must_use]
    pub fn krbtgt(target: &str, realm: &str) -> Self {
        Self::service("krbtgt", target, realm)
    }

    /// The name, for a message.
    #[must_use]
    pub fn name(&self) -> PrincipalName<'_> {
        PrincipalName { name_type: self.name_type, names: Names::Strings(&self.components) }
    }

    /// The realm, for a message.
    #[must_use]
    pub fn realm(&self) -> KerberosString<'_> {
        KerberosString(self.realm.as_bytes())
    }

    /// Whether this is a ticket-granting service, of whatever realm.
    #[must_use]
    pub fn is_krbtgt(&self) -> bool {
        matches!(self.components.as_slice(), [service, _] if service == "krbtgt")
    }
}

impl PartialEq for Principal {
    fn eq(&self, other: &Self) -> bool {
        self.components == other.components && self.realm == other.realm
    }
}

impl Eq for Principal {}

impl Hash for Principal {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.components.hash(state);
        self.realm.hash(state);
    }
}

/// `name/instance@REALM`; `/`, `@`, `\`, newline, tab, backspace and NUL inside a part are written with a backslash.
impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, component) in self.components.iter().enumerate() {
            if i > 0 {
                f.write_str("/")?;
            }
            f.write_str(&printable(&escaped(component)))?;
        }
        if !self.realm.is_empty() {
            write!(f, "@{}", printable(&escaped(&self.realm)))?;
        }
        Ok(())
    }
}

/// Reads what `Display` writes. A name without `@` has an empty realm; `krbtgt/X` gets the type `NT-SRV-INST`, another
/// name `NT-PRINCIPAL`.
impl FromStr for Principal {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = |offset, kind| ParseError { format: "principal", offset, kind };
        let mut parts = vec![String::new()];
        let mut realm: Option<String> = None;
        let mut chars = text.char_indices();
        while let Some((offset, c)) = chars.next() {
            let plain = match (c, &realm) {
                ('\\', _) => match chars.next() {
                    Some((_, 'n')) => '\n',
                    Some((_, 't')) => '\t',
                    Some((_, 'b')) => '\u{8}',
                    Some((_, '0')) => '\0',
                    Some((_, other)) => other,
                    None => return Err(error(offset, ErrorKind::Truncated { needed: 2, available: 1 })),
                },
                ('/', None) => {
                    if parts.len() == COMPONENTS_LIMIT {
                        return Err(error(offset, ErrorKind::Limit { what: "components", limit: COMPONENTS_LIMIT }));
                    }
                    parts.push(String::new());
                    continue;
                }
                ('@', None) => {
                    realm = Some(String::new());
                    continue;
                }
                ('@', Some(_)) => return Err(error(offset, ErrorKind::Duplicate { what: "@" })),
                (c, _) => c,
            };
            match (&mut realm, parts.last_mut()) {
                (Some(realm), _) => realm.push(plain),
                (None, Some(part)) => part.push(plain),
                (None, None) => {}
            }
        }
        if text.is_empty() || realm.as_deref() == Some("") {
            return Err(error(text.len(), ErrorKind::Missing { what: if text.is_empty() { "name" } else { "realm" } }));
        }
        let krbtgt = matches!(parts.as_slice(), [service, _] if service == "krbtgt");
        let name_type = if krbtgt { name_type::SRV_INST } else { name_type::PRINCIPAL };
        Ok(Self { name_type, components: parts, realm: realm.unwrap_or_default() })
    }
}

fn escaped(part: &str) -> String {
    let mut text = String::with_capacity(part.len());
    for c in part.chars() {
        match c {
            '/' | '@' | '\\' => text.extend(['\\', c]),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\0' => text.push_str("\\0"),
            c => text.push(c),
        }
    }
    text
}

/// `name-type`. RFC 4120 6.2, RFC 6111, MS-KILE 3.3.5.6.1.
pub mod name_type {
    /// `NT-UNKNOWN`.
    pub const UNKNOWN: i32 = 0;
    /// `NT-PRINCIPAL`: a user or a service by its name alone.
    pub const PRINCIPAL: i32 = 1;
    /// `NT-SRV-INST`: a service and its instance.
    pub const SRV_INST: i32 = 2;
    /// `NT-SRV-HST`: a service and its host.
    pub const SRV_HST: i32 = 3;
    /// `NT-ENTERPRISE`: one component that may look like a mail address.
    pub const ENTERPRISE: i32 = 10;
    /// `NT-WELLKNOWN`.
    pub const WELLKNOWN: i32 = 11;
    /// `NT-MS-PRINCIPAL`: `DOMAIN\\user`.
    pub const MS_PRINCIPAL: i32 = -128;

    /// The name of a type.
    #[must_use]
    pub const fn name(value: i32) -> Option<&'static str> {
        Some(match value {
            UNKNOWN => "NT-UNKNOWN",
            PRINCIPAL => "NT-PRINCIPAL",
            SRV_INST => "NT-SRV-INST",
            SRV_HST => "NT-SRV-HST",
            4 => "NT-SRV-XHST",
            5 => "NT-UID",
            6 => "NT-X500-PRINCIPAL",
            7 => "NT-SMTP-NAME",
            ENTERPRISE => "NT-ENTERPRISE",
            WELLKNOWN => "NT-WELLKNOWN",
            12 => "NT-SRV-HST-DOMAIN",
            MS_PRINCIPAL => "NT-MS-PRINCIPAL",
            -129 => "NT-MS-PRINCIPAL-AND-ID",
            -130 => "NT-ENT-PRINCIPAL-AND-ID",
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Result<(Vec<String>, String), ErrorKind> {
        text.parse::<Principal>().map(|p| (p.components, p.realm)).map_err(|error| error.kind)
    }

    #[test]
    fn the_text_form_reads_as_it_was_written() {
        for (components, realm, text) in [
            (&["alice"][..], "EXAMPLE.TEST", "alice@EXAMPLE.TEST"),
            (&["HTTP", "web.example.test"], "EXAMPLE.TEST", "HTTP/web.example.test@EXAMPLE.TEST"),
            (&["wëb"], "CÖRP.TEST", "wëb@CÖRP.TEST"),
            (&["a/b", "c@d"], r"R\S", r"a\/b/c\@d@R\\S"),
            (&["tab\there", "nl\nnul\0bs\u{8}"], "R", r"tab\there/nl\nnul\0bs\b@R"),
            (&["", ""], "R", "/@R"),
            (&["alice"], "", "alice"),
        ] {
            let components: Vec<String> = components.iter().map(|part| (*part).to_owned()).collect();
            let principal = Principal { name_type: 1, components: components.clone(), realm: realm.to_owned() };
            assert_eq!(principal.to_string(), text);
            assert_eq!(parts(text), Ok((components, realm.to_owned())));
        }
        assert_eq!(parts("a@R/S"), Ok((vec!["a".to_owned()], "R/S".to_owned())));
        assert_eq!("krbtgt/A@A".parse::<Principal>().map(|p| p.name_type), Ok(name_type::SRV_INST));
    }

    #[test]
    fn what_is_no_principal_is_refused() {
        for bad in ["", "a@", "a@b@c", r"a\", r"a@b\"] {
            assert!(parts(bad).is_err(), "{bad:?}");
        }
        assert!(matches!(parts(&"/".repeat(COMPONENTS_LIMIT)), Err(ErrorKind::Limit { .. })));
        assert!(parts(&"/".repeat(COMPONENTS_LIMIT - 1)).is_ok());
    }

    #[test]
    fn equality_is_exact_and_does_not_look_at_the_type() {
        let alice = Principal::user("alice", "EXAMPLE.TEST");
        assert_eq!(alice, Principal { name_type: name_type::UNKNOWN, ..alice.clone() });
        assert_ne!(alice, Principal::user("Alice", "EXAMPLE.TEST"));
        assert_ne!(alice, Principal::user("alice", "example.test"));
        assert_ne!(Principal::user("a/b", "R"), Principal::service("a", "b", "R"));
        assert_eq!(alice.name(), PrincipalName::of(7, &["alice"]));
        assert_ne!(alice.name(), PrincipalName::of(1, &["alice", ""]));
    }

    #[test]
    fn more_components_than_the_limit_are_refused() {
        for (count, accepted) in [(0, true), (1, true), (COMPONENTS_LIMIT, true), (COMPONENTS_LIMIT + 1, false)] {
            let components = vec!["x"; count];
            let mut out = Vec::new();
            PrincipalName::of(1, &components).write(&mut out);
            let read = PrincipalName::parse(&out);
            assert_eq!(read.map(|name| name.components().count()).ok(), accepted.then_some(count));
        }
    }

    #[test]
    fn names_that_are_not_utf8_stay_bytes_and_print_safely() {
        let mut out = Vec::new();
        PrincipalName::of(1, &["ab\u{1b}[2J"]).write(&mut out);
        let at = out.len() - 6;
        out[at] = 0xff;
        let name = PrincipalName::parse(&out).unwrap();
        assert_eq!(name.to_string(), "\u{fffd}b\\u{1b}[2J");
        assert_eq!(name.components().next().map(|part| part.0), Some(&b"\xffb\x1b[2J"[..]));
        assert!(name.to_principal("R".into()).is_err());
    }
}
