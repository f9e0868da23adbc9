//! Extended operations: StartTLS, whoami, the notice of disconnection. RFC 4511 4.12, 4.14, 4.4.1; RFC 4532.

use core::fmt;

use super::{LdapResult, implicit, skip_unknown, utf8};
use crate::der::{Der, DerWriter, Tag};
use crate::error::ParseError;

/// StartTLS.
pub const START_TLS: &str = "1.3.6.1.4.1.1466.20037";
/// "Who am I?", RFC 4532.
pub const WHO_AM_I: &str = "1.3.6.1.4.1.4203.1.11.3";
/// The server's word, unasked for, that it ends the connection.
pub const NOTICE_OF_DISCONNECTION: &str = "1.3.6.1.4.1.1466.20036";

/// `ExtendedRequest`.
#[derive(Clone, Copy, PartialEq)]
pub struct ExtendedRequest<'a> {
    /// `requestName`: an OID.
    pub name: &'a str,
    /// `requestValue`.
    pub value: Option<&'a [u8]>,
}

impl fmt::Debug for ExtendedRequest<'_> {
    /// Without the value: that of a password change holds passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExtendedRequest({})", self.name)
    }
}

impl<'a> ExtendedRequest<'a> {
    pub(super) fn read(mut der: Der<'a>) -> Result<Self, ParseError> {
        let at = der;
        let name = utf8(&at, der.expect(implicit(0))?.body, "LDAPOID")?;
        let value = der.optional(implicit(1))?.map(|tlv| tlv.body);
        skip_unknown(der)?;
        Ok(Self { name, value })
    }

    pub(super) fn put(&self, w: &mut DerWriter<'_>) {
        w.primitive(implicit(0), self.name.as_bytes());
        if let Some(value) = self.value {
            w.primitive(implicit(1), value);
        }
    }
}

/// `ExtendedResponse`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ExtendedResponse<'a> {
    /// How it ended.
    pub result: LdapResult<'a>,
    /// `responseName`: an OID.
    pub name: Option<&'a str>,
    /// `responseValue`.
    pub value: Option<&'a [u8]>,
}

impl<'a> ExtendedResponse<'a> {
    pub(super) fn read(mut der: Der<'a>) -> Result<Self, ParseError> {
        let result = LdapResult::components(&mut der)?;
        let at = der;
        let name = der.optional(NAME)?.map(|tlv| utf8(&at, tlv.body, "LDAPOID")).transpose()?;
        let value = der.optional(VALUE)?.map(|tlv| tlv.body);
        skip_unknown(der)?;
        Ok(Self { result, name, value })
    }

    pub(super) fn put(&self, w: &mut DerWriter<'_>) {
        self.result.put(w);
        if let Some(name) = self.name {
            w.primitive(NAME, name.as_bytes());
        }
        if let Some(value) = self.value {
            w.primitive(VALUE, value);
        }
    }
}

const NAME: Tag = implicit(10);
const VALUE: Tag = implicit(11);
