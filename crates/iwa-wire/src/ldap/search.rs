//! Search: the request, and the entries of the answer. RFC 4511 4.5.

use core::fmt;

use super::{Filter, Octets, boolean, skip_unknown, string};
use crate::der::{Der, DerWriter, Tag};
use crate::error::{ErrorKind, ParseError};
use crate::krb5::{Element, SequenceOf};

/// `SearchRequest`. Aliases are never dereferenced in what is written.
#[derive(Clone, PartialEq, Debug)]
pub struct SearchRequest<'a> {
    /// `baseObject`: a distinguished name. Empty: the root DSE, or on a Global Catalog the whole forest.
    pub base: &'a str,
    /// `scope`.
    pub scope: Scope,
    /// `sizeLimit`, in entries; 0 is none of the client's.
    pub size_limit: u32,
    /// `timeLimit`, in seconds; 0 is none of the client's.
    pub time_limit: u32,
    /// `typesOnly`: attributes without their values.
    pub types_only: bool,
    /// `filter`.
    pub filter: Filter,
    /// `attributes`: which are wanted. None: all that are not operational; `1.1`: none.
    pub attributes: SequenceOf<'a, Octets<'a>>,
}

/// `scope`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// `baseObject`: the base alone.
    Base,
    /// `singleLevel`: what stands directly below it.
    One,
    /// `wholeSubtree`: the base and everything below it.
    Subtree,
}

impl<'a> SearchRequest<'a> {
    pub(super) fn read(mut der: Der<'a>) -> Result<Self, ParseError> {
        let base = string(&mut der, "LDAPDN")?;
        let at = der;
        let scope = match der.expect(Tag::ENUMERATED)?.integer()? {
            0 => Scope::Base,
            1 => Scope::One,
            2 => Scope::Subtree,
            _ => return Err(at.error(ErrorKind::Value { what: "scope" })),
        };
        der.expect(Tag::ENUMERATED)?;
        let (size_limit, time_limit) = (limit(&mut der)?, limit(&mut der)?);
        let at = der;
        let types_only =
            boolean(&mut der, Tag::BOOLEAN)?.ok_or_else(|| at.error(ErrorKind::Missing { what: "typesOnly" }))?;
        let filter = Filter::read(&mut der)?;
        let attributes = SequenceOf::read(&mut der)?;
        skip_unknown(der)?;
        Ok(Self { base, scope, size_limit, time_limit, types_only, filter, attributes })
    }

    pub(super) fn put(&self, w: &mut DerWriter<'_>) {
        w.primitive(Tag::OCTET_STRING, self.base.as_bytes());
        let scope = match self.scope {
            Scope::Base => 0,
            Scope::One => 1,
            Scope::Subtree => 2,
        };
        w.integer(Tag::ENUMERATED, scope);
        w.integer(Tag::ENUMERATED, NEVER_DEREF_ALIASES);
        w.integer(Tag::INTEGER, i64::from(self.size_limit));
        w.integer(Tag::INTEGER, i64::from(self.time_limit));
        w.primitive(Tag::BOOLEAN, &[if self.types_only { 0xff } else { 0 }]);
        self.filter.put(w);
        self.attributes.put_as(Tag::SEQUENCE, w);
    }
}

const NEVER_DEREF_ALIASES: i64 = 0;

/// `INTEGER (0 .. maxInt)`.
fn limit(der: &mut Der<'_>) -> Result<u32, ParseError> {
    let at = *der;
    let value = u32::try_from(der.expect(Tag::INTEGER)?.integer()?).ok().filter(|value| *value <= i32::MAX as u32);
    value.ok_or_else(|| at.error(ErrorKind::Value { what: "sizeLimit or timeLimit" }))
}

/// `SearchResultEntry`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct SearchResultEntry<'a> {
    /// `objectName`: its distinguished name.
    pub dn: &'a str,
    /// `attributes`.
    pub attributes: SequenceOf<'a, Attribute<'a>>,
}

impl<'a> SearchResultEntry<'a> {
    /// The values of an attribute, whose name counts in no case; none if it is not there.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let found = self.attributes.iter().find(|attribute| attribute.name.eq_ignore_ascii_case(name));
        found.into_iter().flat_map(|attribute| attribute.values.iter().map(|value| value.0))
    }

    /// The first value of an attribute.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&'a [u8]> {
        self.values(name).next()
    }

    pub(super) fn read(mut der: Der<'a>) -> Result<Self, ParseError> {
        let dn = string(&mut der, "LDAPDN")?;
        let attributes = SequenceOf::read(&mut der)?;
        skip_unknown(der)?;
        Ok(Self { dn, attributes })
    }

    pub(super) fn put(&self, w: &mut DerWriter<'_>) {
        w.primitive(Tag::OCTET_STRING, self.dn.as_bytes());
        self.attributes.put_as(Tag::SEQUENCE, w);
    }
}

/// `PartialAttribute`: a name with its options (`member;range=0-1499`), and values.
#[derive(Clone, Copy, PartialEq)]
pub struct Attribute<'a> {
    /// `type`.
    pub name: &'a str,
    /// `vals`.
    pub values: SequenceOf<'a, Octets<'a>>,
}

impl fmt::Debug for Attribute<'_> {
    /// Without the values of attributes that hold passwords or their hashes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.to_ascii_lowercase();
        let secret = ["pwd", "password"].iter().any(|part| name.contains(part));
        if secret { write!(f, "{}: ..", self.name) } else { write!(f, "{}: {:?}", self.name, self.values) }
    }
}

impl<'a> Element<'a> for Attribute<'a> {
    const WHAT: &'static str = "attributes";
    const LIMIT: usize = 4096;

    fn read(der: &mut Der<'a>) -> Result<Self, ParseError> {
        let mut der = der.enter(Tag::SEQUENCE)?;
        let name = string(&mut der, "attribute description")?;
        let values = SequenceOf::read_as(SET, &mut der)?;
        skip_unknown(der)?;
        Ok(Self { name, values })
    }

    fn put(&self, w: &mut DerWriter<'_>) {
        w.nest(Tag::SEQUENCE, |w| {
            w.primitive(Tag::OCTET_STRING, self.name.as_bytes());
            self.values.put_as(SET, w);
        });
    }
}

/// SET OF.
const SET: Tag = Tag(0x31);
