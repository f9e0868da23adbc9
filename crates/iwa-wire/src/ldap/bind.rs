//! Bind: simple and SASL. RFC 4511 4.2.

use core::fmt;

use super::{LdapResult, implicit, octets, skip_unknown, string};
use crate::der::{Der, DerWriter, Tag};
use crate::error::{ErrorKind, ParseError};

/// `BindRequest`, version 3.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct BindRequest<'a> {
    /// `name`: a distinguished name, or what else the server takes; empty for SASL.
    pub name: &'a str,
    /// `authentication`.
    pub authentication: Authentication<'a>,
}

/// `AuthenticationChoice`.
#[derive(Clone, Copy, PartialEq)]
pub enum Authentication<'a> {
    /// The password itself. With an empty one the bind is anonymous, whatever the name.
    Simple(&'a [u8]),
    /// A step of a SASL mechanism.
    Sasl {
        /// Its registered name.
        mechanism: &'a str,
        /// The client's token; absent and empty are different.
        credentials: Option<&'a [u8]>,
    },
    /// Another choice: its tag and its contents.
    Other(Tag, &'a [u8]),
}

impl fmt::Debug for Authentication<'_> {
    /// Without the password, and without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Simple(_) => f.write_str("Simple(..)"),
            Self::Sasl { mechanism, .. } => write!(f, "Sasl({mechanism:?}, ..)"),
            Self::Other(tag, _) => write!(f, "Other({tag:?}, ..)"),
        }
    }
}

impl<'a> BindRequest<'a> {
    pub(super) fn read(mut der: Der<'a>) -> Result<Self, ParseError> {
        let at = der;
        if der.expect(Tag::INTEGER)?.integer()? != VERSION {
            return Err(at.error(ErrorKind::Magic { what: "LDAP version" }));
        }
        let name = string(&mut der, "LDAPDN")?;
        let choice = der.any()?;
        let authentication = match choice.tag {
            SIMPLE => Authentication::Simple(choice.body),
            SASL => {
                let mut inside = choice.inside();
                let mechanism = string(&mut inside, "SASL mechanism")?;
                let credentials = if inside.is_empty() { None } else { Some(octets(&mut inside)?) };
                skip_unknown(inside)?;
                Authentication::Sasl { mechanism, credentials }
            }
            other => Authentication::Other(other, choice.body),
        };
        skip_unknown(der)?;
        Ok(Self { name, authentication })
    }

    pub(super) fn put(&self, w: &mut DerWriter<'_>) {
        w.integer(Tag::INTEGER, VERSION);
        w.primitive(Tag::OCTET_STRING, self.name.as_bytes());
        match self.authentication {
            Authentication::Simple(password) => w.primitive(SIMPLE, password),
            Authentication::Sasl { mechanism, credentials } => w.nest(SASL, |w| {
                w.primitive(Tag::OCTET_STRING, mechanism.as_bytes());
                if let Some(credentials) = credentials {
                    w.primitive(Tag::OCTET_STRING, credentials);
                }
            }),
            Authentication::Other(tag, body) => w.primitive(tag, body),
        }
    }
}

/// `BindResponse`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct BindResponse<'a> {
    /// How it ended; `saslBindInProgress` if there is another step.
    pub result: LdapResult<'a>,
    /// `serverSaslCreds`: the server's token.
    pub server_sasl_creds: Option<&'a [u8]>,
}

impl<'a> BindResponse<'a> {
    pub(super) fn read(mut der: Der<'a>) -> Result<Self, ParseError> {
        let result = LdapResult::components(&mut der)?;
        let server_sasl_creds = der.optional(SERVER_SASL_CREDS)?.map(|tlv| tlv.body);
        skip_unknown(der)?;
        Ok(Self { result, server_sasl_creds })
    }

    pub(super) fn put(&self, w: &mut DerWriter<'_>) {
        self.result.put(w);
        if let Some(creds) = self.server_sasl_creds {
            w.primitive(SERVER_SASL_CREDS, creds);
        }
    }
}

const VERSION: i64 = 3;
const SIMPLE: Tag = implicit(0);
const SASL: Tag = Tag::context(3);
const SERVER_SASL_CREDS: Tag = implicit(7);
