//! Controls, and the one of paged results. RFC 4511 4.1.11, RFC 2696, MS-ADTS 3.1.1.3.4.1.

use super::{boolean, octets, skip_unknown, string};
use crate::der::{Der, DerWriter, Tag};
use crate::error::{ErrorKind, ParseError};
use crate::krb5::Element;

/// Simple paged results, RFC 2696.
pub const PAGED_RESULTS: &str = "1.2.840.113556.1.4.319";
/// `LDAP_SERVER_DOMAIN_SCOPE_OID`: no referrals to other domains are made.
pub const DOMAIN_SCOPE: &str = "1.2.840.113556.1.4.1339";

/// A control of a request or an answer.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Control<'a> {
    /// `controlType`: an OID.
    pub oid: &'a str,
    /// `criticality`: whether a server that does not know it must refuse.
    pub critical: bool,
    /// `controlValue`.
    pub value: Option<&'a [u8]>,
}

impl<'a> Element<'a> for Control<'a> {
    const WHAT: &'static str = "controls";
    const LIMIT: usize = 64;

    fn read(der: &mut Der<'a>) -> Result<Self, ParseError> {
        let mut der = der.enter(Tag::SEQUENCE)?;
        let oid = string(&mut der, "LDAPOID")?;
        let critical = boolean(&mut der, Tag::BOOLEAN)?.unwrap_or(false);
        let value = if der.is_empty() { None } else { Some(octets(&mut der)?) };
        skip_unknown(der)?;
        Ok(Self { oid, critical, value })
    }

    fn put(&self, w: &mut DerWriter<'_>) {
        w.nest(Tag::SEQUENCE, |w| {
            w.primitive(Tag::OCTET_STRING, self.oid.as_bytes());
            if self.critical {
                w.primitive(Tag::BOOLEAN, &[0xff]);
            }
            if let Some(value) = self.value {
                w.primitive(Tag::OCTET_STRING, value);
            }
        });
    }
}

/// `realSearchControlValue` of RFC 2696.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PagedResults<'a> {
    /// `size`: how many entries a page shall have; in an answer an estimate of all, or 0.
    pub size: u32,
    /// `cookie`: empty in the first request, and in the last answer.
    pub cookie: &'a [u8],
}

impl<'a> PagedResults<'a> {
    /// Reads the control's value.
    ///
    /// # Errors
    /// The rule of the format that the bytes break.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let mut outer = Der::new("paged results control", bytes, 0).with_long_lengths();
        let mut der = outer.enter(Tag::SEQUENCE)?;
        outer.finish()?;
        let at = der;
        // Some servers answer -1 for "unknown".
        let size = der.expect(Tag::INTEGER)?.integer()?.max(0);
        let size = u32::try_from(size).map_err(|_| at.error(ErrorKind::Value { what: "size" }))?;
        let cookie = octets(&mut der)?;
        skip_unknown(der)?;
        Ok(Self { size, cookie })
    }

    /// Appends the control's value.
    pub fn write(&self, out: &mut Vec<u8>) {
        DerWriter::new(out).nest(Tag::SEQUENCE, |w| {
            w.integer(Tag::INTEGER, i64::from(self.size));
            w.primitive(Tag::OCTET_STRING, self.cookie);
        });
    }
}
