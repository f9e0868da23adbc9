//! Add and Modify. RFC 4511 4.6, 4.7.

use super::{Attribute, skip_unknown, string};
use crate::der::{Der, DerWriter, Tag};
use crate::error::{ErrorKind, ParseError};
use crate::krb5::{Element, SequenceOf};

/// `AddRequest`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct AddRequest<'a> {
    /// `entry`: the new entry's distinguished name.
    pub dn: &'a str,
    /// `attributes`.
    pub attributes: SequenceOf<'a, Attribute<'a>>,
}

impl<'a> AddRequest<'a> {
    pub(super) fn read(mut der: Der<'a>) -> Result<Self, ParseError> {
        let (dn, attributes) = (string(&mut der, "LDAPDN")?, SequenceOf::read(&mut der)?);
        skip_unknown(der)?;
        Ok(Self { dn, attributes })
    }

    pub(super) fn put(&self, w: &mut DerWriter<'_>) {
        w.primitive(Tag::OCTET_STRING, self.dn.as_bytes());
        self.attributes.put_as(Tag::SEQUENCE, w);
    }
}

/// `ModifyRequest`: all changes are made, or none.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ModifyRequest<'a> {
    /// `object`: the entry's distinguished name.
    pub dn: &'a str,
    /// `changes`, in their order.
    pub changes: SequenceOf<'a, Change<'a>>,
}

impl<'a> ModifyRequest<'a> {
    pub(super) fn read(mut der: Der<'a>) -> Result<Self, ParseError> {
        let (dn, changes) = (string(&mut der, "LDAPDN")?, SequenceOf::read(&mut der)?);
        skip_unknown(der)?;
        Ok(Self { dn, changes })
    }

    pub(super) fn put(&self, w: &mut DerWriter<'_>) {
        w.primitive(Tag::OCTET_STRING, self.dn.as_bytes());
        self.changes.put_as(Tag::SEQUENCE, w);
    }
}

/// One change of a [`ModifyRequest`].
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Change<'a> {
    /// `operation`.
    pub operation: Operation,
    /// `modification`.
    pub attribute: Attribute<'a>,
}

/// What a [`Change`] does with the values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// They are added.
    Add,
    /// They are taken away; without values, the whole attribute.
    Delete,
    /// They stand in place of all that were there; without values, none is left.
    Replace,
}

impl<'a> Element<'a> for Change<'a> {
    const WHAT: &'static str = "changes";
    const LIMIT: usize = 4096;

    fn read(der: &mut Der<'a>) -> Result<Self, ParseError> {
        let mut der = der.enter(Tag::SEQUENCE)?;
        let at = der;
        let operation = match der.expect(Tag::ENUMERATED)?.integer()? {
            0 => Operation::Add,
            1 => Operation::Delete,
            2 => Operation::Replace,
            _ => return Err(at.error(ErrorKind::Value { what: "operation of a modification" })),
        };
        let attribute = Attribute::read(&mut der)?;
        skip_unknown(der)?;
        Ok(Self { operation, attribute })
    }

    fn put(&self, w: &mut DerWriter<'_>) {
        w.nest(Tag::SEQUENCE, |w| {
            let operation = match self.operation {
                Operation::Add => 0,
                Operation::Delete => 1,
                Operation::Replace => 2,
            };
            w.integer(Tag::ENUMERATED, operation);
            self.attribute.put(w);
        });
    }
}
