//! Entries as they are read, and what is written to them.

use std::fmt;

use iwa_wire::krb5::SequenceOf;
use iwa_wire::ldap::{Attribute, Change as WireChange, Octets, Operation, SearchResultEntry};
use iwa_wire::{Reader, Sid};
use zeroize::Zeroizing;

/// An entry of a directory.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// Its distinguished name.
    pub dn: String,
    /// Its attributes, as the server spells them.
    pub attributes: Vec<(String, Vec<Vec<u8>>)>,
}

impl Entry {
    pub(super) fn of(entry: &SearchResultEntry<'_>) -> Self {
        let attribute = |attribute: Attribute<'_>| {
            (attribute.name.to_owned(), attribute.values.iter().map(|value| value.0.to_vec()).collect())
        };
        Self { dn: entry.dn.to_owned(), attributes: entry.attributes.iter().map(attribute).collect() }
    }

    /// The values of an attribute, whose name counts in no case; none if it is not there.
    #[must_use]
    pub fn values(&self, name: &str) -> &[Vec<u8>] {
        let found = self.attributes.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map_or(&[], |(_, values)| values)
    }

    /// The first value of an attribute as text; `None` if there is none or it is not UTF-8.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.texts(name).next()
    }

    /// The values of an attribute that are text.
    pub fn texts<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.values(name).iter().filter_map(|value| std::str::from_utf8(value).ok())
    }

    /// The first value of an attribute as a SID; `None` if there is none or it is not one.
    #[must_use]
    pub fn sid(&self, name: &str) -> Option<Sid> {
        self.values(name).first().and_then(|value| sid(value))
    }

    /// The values of an attribute as SIDs; `None` if one of them is not.
    #[must_use]
    pub fn sids(&self, name: &str) -> Option<Vec<Sid>> {
        self.values(name).iter().map(|value| sid(value)).collect()
    }
}

impl fmt::Debug for Entry {
    /// Names alone: values may be hashes of passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.attributes.iter().map(|(name, _)| name).collect();
        f.debug_struct("Entry").field("dn", &self.dn).field("attributes", &names).finish()
    }
}

fn sid(value: &[u8]) -> Option<Sid> {
    let mut reader = Reader::new("SID", value);
    Sid::read(&mut reader).ok().filter(|_| reader.is_empty())
}

/// One change of an entry.
#[derive(Clone)]
pub struct Change {
    operation: Operation,
    attribute: String,
    values: Zeroizing<Vec<Vec<u8>>>,
}

impl Change {
    /// These values stand in place of all that were there; none: the attribute goes.
    #[must_use]
    pub fn replace<V: Into<Vec<u8>>>(attribute: &str, values: impl IntoIterator<Item = V>) -> Self {
        Self::new(Operation::Replace, attribute, values)
    }

    /// These values are added.
    #[must_use]
    pub fn add<V: Into<Vec<u8>>>(attribute: &str, values: impl IntoIterator<Item = V>) -> Self {
        Self::new(Operation::Add, attribute, values)
    }

    /// These values go; none: all of them.
    #[must_use]
    pub fn delete<V: Into<Vec<u8>>>(attribute: &str, values: impl IntoIterator<Item = V>) -> Self {
        Self::new(Operation::Delete, attribute, values)
    }

    /// A new password of an account in Active Directory: `unicodePwd` (MS-ADTS 3.1.1.3.1.5). The server takes it over an
    /// encrypted connection alone.
    #[must_use]
    pub fn unicode_pwd(password: &iwa_auth::Secret<String>) -> Self {
        let quoted = Zeroizing::new(format!("\"{}\"", password.expose()));
        let value: Vec<u8> = quoted.encode_utf16().flat_map(u16::to_le_bytes).collect();
        Self::replace("unicodePwd", [value])
    }

    fn new<V: Into<Vec<u8>>>(operation: Operation, attribute: &str, values: impl IntoIterator<Item = V>) -> Self {
        let values = Zeroizing::new(values.into_iter().map(Into::into).collect());
        Self { operation, attribute: attribute.to_owned(), values }
    }
}

impl fmt::Debug for Change {
    /// Without the values: one of them may be a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {} ({} values)", self.operation, self.attribute, self.values.len())
    }
}

/// Attributes on their way to the wire, which borrows.
pub(super) struct Attributes<'a>(Vec<(&'a str, Vec<Octets<'a>>)>);

impl<'a> Attributes<'a> {
    pub(super) fn of(attributes: &'a [(&'a str, Vec<Vec<u8>>)]) -> Self {
        Self(attributes.iter().map(|(name, values)| (*name, octets(values))).collect())
    }

    pub(super) fn wire(&self) -> Vec<Attribute<'_>> {
        self.0.iter().map(|(name, values)| Attribute { name, values: SequenceOf::of(values) }).collect()
    }
}

/// Changes on their way to the wire.
pub(super) struct Changes<'a>(Vec<(Operation, &'a str, Vec<Octets<'a>>)>);

impl<'a> Changes<'a> {
    pub(super) fn of(changes: &'a [Change]) -> Self {
        let one = |change: &'a Change| (change.operation, change.attribute.as_str(), octets(&change.values));
        Self(changes.iter().map(one).collect())
    }

    pub(super) fn wire(&self) -> Vec<WireChange<'_>> {
        self.0
            .iter()
            .map(|(operation, name, values)| WireChange {
                operation: *operation,
                attribute: Attribute { name, values: SequenceOf::of(values) },
            })
            .collect()
    }
}

fn octets(values: &[Vec<u8>]) -> Vec<Octets<'_>> {
    values.iter().map(|value| Octets(value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_quoted_utf_16() {
        // MS-ADTS 3.1.1.3.1.5: "new" in quotes.
        let change = Change::unicode_pwd(&iwa_auth::Secret::new("new".to_owned()));
        assert_eq!(change.values[0], b"\"\0n\0e\0w\0\"\0");
        assert_eq!(format!("{change:?}"), "Replace unicodePwd (1 values)");
    }

    #[test]
    fn values_are_found_in_any_case_and_sids_are_whole() {
        let sid = [1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0];
        let entry = Entry {
            dn: "CN=x".into(),
            attributes: vec![
                ("objectSid".into(), vec![sid.to_vec()]),
                ("tokenGroups".into(), vec![sid.to_vec(), sid[..11].to_vec()]),
                ("cn".into(), vec![vec![0xff], b"x".to_vec()]),
            ],
        };
        assert_eq!(entry.sid("OBJECTSID"), Some("S-1-5-18".parse().unwrap()));
        assert_eq!(entry.sids("tokengroups"), None, "one that is cut");
        assert_eq!((entry.text("cn"), entry.text("sn")), (Some("x"), None));
        assert_eq!(entry.sids("member"), Some(Vec::new()));
        let longer = Entry { attributes: vec![("objectSid".into(), vec![[&sid[..], &[0]].concat()])], ..entry };
        assert_eq!(longer.sid("objectSid"), None);
        assert!(!format!("{longer:?}").contains("18"));
    }
}
