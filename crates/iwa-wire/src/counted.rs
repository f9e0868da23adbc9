//! Names and byte strings with a count before them, as keytab and credential cache store them.
//!
//! Both files have the same principal; only the width and order of the integers differ.

use core::fmt;
use core::ops::Range;

use crate::error::{ErrorKind, ParseError};
use crate::explain::Node;
use crate::krb5::principal::{COMPONENTS_LIMIT, KerberosString, Principal, name_type};
use crate::reader::Reader;

/// How the integers of a file are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Width {
    /// Counts of 16 bits, most significant byte first: keytab 0x0502.
    Big16,
    /// Counts of 32 bits, most significant byte first: cache 3 and 4.
    Big32,
    /// Counts of 32 bits, least significant byte first: cache 1 and 2 as x86 writes them.
    Little32,
}

impl Width {
    pub(crate) fn count(self, reader: &mut Reader<'_>) -> Result<usize, ParseError> {
        match self {
            Self::Big16 => reader.u16_be().map(usize::from),
            _ => self.u32(reader).map(|count| count as usize),
        }
    }

    pub(crate) fn u32(self, reader: &mut Reader<'_>) -> Result<u32, ParseError> {
        if self == Self::Little32 { reader.u32_le() } else { reader.u32_be() }
    }

    pub(crate) fn u16(self, reader: &mut Reader<'_>) -> Result<u16, ParseError> {
        if self == Self::Little32 { reader.u16_le() } else { reader.u16_be() }
    }

    pub(crate) fn octets<'a>(self, reader: &mut Reader<'a>) -> Result<&'a [u8], ParseError> {
        let count = self.count(reader)?;
        reader.take(count)
    }

    /// Appends a count. Only the big-endian forms are written.
    pub(crate) fn write_count(self, count: usize, out: &mut Vec<u8>) {
        match self {
            Self::Big16 => out.extend_from_slice(&(count as u16).to_be_bytes()),
            _ => out.extend_from_slice(&(count as u32).to_be_bytes()),
        }
    }

    pub(crate) fn write_octets(self, octets: &[u8], out: &mut Vec<u8>) {
        let most = if self == Self::Big16 { usize::from(u16::MAX) } else { u32::MAX as usize };
        // A part that its count cannot express is cut rather than making a file that reads as something else.
        let octets = octets.get(..octets.len().min(most)).unwrap_or_default();
        self.write_count(octets.len(), out);
        out.extend_from_slice(octets);
    }
}

/// A principal in a keytab or credential cache.
#[derive(Clone, Copy)]
pub struct CountedName<'a> {
    /// `name-type`; 0 where the file's version has none.
    pub name_type: i32,
    /// The realm.
    pub realm: KerberosString<'a>,
    names: Names<'a>,
}

#[derive(Clone, Copy)]
enum Names<'a> {
    /// The encoded components, which were read once without an error.
    Encoded(Reader<'a>, Width),
    Strings(&'a [String]),
}

impl<'a> CountedName<'a> {
    /// The components, in order.
    #[must_use]
    pub const fn components(&self) -> CountedComponents<'a> {
        CountedComponents(self.names)
    }

    /// The same as an owned principal.
    ///
    /// # Errors
    /// [`ErrorKind::Value`] if a component or the realm is not UTF-8.
    pub fn to_principal(&self) -> Result<Principal, ParseError> {
        let text = |string: KerberosString<'_>| {
            let error = ParseError { format: "principal", offset: 0, kind: ErrorKind::Value { what: "UTF-8" } };
            string.as_str().map(str::to_owned).ok_or(error)
        };
        Ok(Principal {
            name_type: self.name_type,
            components: self.components().map(text).collect::<Result<_, _>>()?,
            realm: text(self.realm)?,
        })
    }

    /// Reads realm and components; the count stands before them, and the name type where the format has it.
    pub(crate) fn read(
        reader: &mut Reader<'a>,
        width: Width,
        count: usize,
        name_type: i32,
    ) -> Result<Self, ParseError> {
        if count > COMPONENTS_LIMIT {
            return Err(reader.error(ErrorKind::Limit { what: "components", limit: COMPONENTS_LIMIT }));
        }
        let realm = KerberosString(width.octets(reader)?);
        let (start, mut length) = (*reader, 0);
        for _ in 0..count {
            let before = reader.offset();
            width.octets(reader)?;
            length += reader.offset() - before;
        }
        let mut encoded = start;
        let encoded = encoded.sub("principal", length)?;
        Ok(Self { name_type, realm, names: Names::Encoded(encoded, width) })
    }

    /// Appends realm and components.
    pub(crate) fn write(&self, width: Width, out: &mut Vec<u8>) {
        width.write_octets(self.realm.0, out);
        for component in self.components() {
            width.write_octets(component.0, out);
        }
    }

    pub(crate) fn explain(&self, name: &'static str, range: Range<usize>) -> Node {
        let kind = name_type::name(self.name_type).unwrap_or("a type without a name");
        Node::leaf(name, self.to_string(), range).noted(format!("name-type {} ({kind})", self.name_type))
    }
}

impl<'a> From<&'a Principal> for CountedName<'a> {
    fn from(principal: &'a Principal) -> Self {
        Self {
            name_type: principal.name_type,
            realm: KerberosString(principal.realm.as_bytes()),
            names: Names::Strings(&principal.components),
        }
    }
}

impl PartialEq for CountedName<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.realm == other.realm && self.components().eq(other.components())
    }
}

impl Eq for CountedName<'_> {}

/// `name/instance@REALM`, safe to print.
impl fmt::Display for CountedName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |string: KerberosString<'_>| String::from_utf8_lossy(string.0).into_owned();
        let components = self.components().map(text).collect();
        Principal { name_type: self.name_type, components, realm: text(self.realm) }.fmt(f)
    }
}

impl fmt::Debug for CountedName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The components of a [`CountedName`].
#[derive(Clone)]
pub struct CountedComponents<'a>(Names<'a>);

impl<'a> Iterator for CountedComponents<'a> {
    type Item = KerberosString<'a>;

    fn next(&mut self) -> Option<KerberosString<'a>> {
        match &mut self.0 {
            Names::Encoded(reader, width) => width.octets(reader).ok().map(KerberosString),
            Names::Strings(strings) => {
                let (first, rest) = strings.split_first()?;
                *strings = rest;
                Some(KerberosString(first.as_bytes()))
            }
        }
    }
}

impl fmt::Debug for CountedComponents<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}
