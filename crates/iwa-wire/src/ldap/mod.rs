//! LDAPMessage: the envelope, and what it holds. RFC 4511 4.1.1, 5.1.
//!
//! Values borrow from their input. Lengths are definite and need not be the shortest: Active Directory writes every long one
//! with four bytes. Elements that RFC 4511 does not know are skipped where they follow the known ones, as its section 4 demands.
//!
//! | what | file |
//! |---|---|
//! | bind | [`bind`] |
//! | search | [`search`] |
//! | filters, which are built of values and so need no escaping | [`filter`] |
//! | add, modify | [`modify`] |
//! | StartTLS, whoami and other extended operations | [`extended`] |
//! | controls, paged results | [`control`] |
//! | LDAPResult | [`result`] |
//! | distinguished names as text | [`dn`] |

pub mod bind;
pub mod control;
pub mod dn;
pub mod extended;
pub mod filter;
pub mod modify;
pub mod result;
pub mod search;

use core::fmt;

pub use bind::{Authentication, BindRequest, BindResponse};
pub use control::Control;
pub use dn::Dn;
pub use extended::{ExtendedRequest, ExtendedResponse};
pub use filter::Filter;
pub use modify::{AddRequest, Change, ModifyRequest, Operation};
pub use result::{LdapResult, ResultCode};
pub use search::{Attribute, Scope, SearchRequest, SearchResultEntry};

use crate::der::{Der, DerWriter, Tag};
use crate::error::{ErrorKind, ParseError};
use crate::krb5::{Element, SequenceOf};

/// One LDAP message.
#[derive(Clone, PartialEq, Debug)]
pub struct Message<'a> {
    /// `messageID`: the answers to a request bear its number; 0 is the server's own word (a notice of disconnection).
    pub id: u32,
    /// `protocolOp`.
    pub op: Op<'a>,
    /// `controls`.
    pub controls: SequenceOf<'a, Control<'a>>,
}

/// `protocolOp`.
#[derive(Clone, PartialEq, Debug)]
#[allow(missing_docs, reason = "the names of RFC 4511 4.2 to 4.13")]
pub enum Op<'a> {
    BindRequest(BindRequest<'a>),
    BindResponse(BindResponse<'a>),
    UnbindRequest,
    SearchRequest(SearchRequest<'a>),
    SearchResultEntry(SearchResultEntry<'a>),
    SearchResultDone(LdapResult<'a>),
    SearchResultReference(SequenceOf<'a, Octets<'a>>),
    ModifyRequest(ModifyRequest<'a>),
    ModifyResponse(LdapResult<'a>),
    AddRequest(AddRequest<'a>),
    AddResponse(LdapResult<'a>),
    DelRequest(&'a str),
    DelResponse(LdapResult<'a>),
    AbandonRequest(u32),
    ExtendedRequest(ExtendedRequest<'a>),
    ExtendedResponse(ExtendedResponse<'a>),
    /// Another operation: its tag and its contents.
    Other(Tag, &'a [u8]),
}

impl<'a> Message<'a> {
    /// A message without controls.
    #[must_use]
    pub const fn new(id: u32, op: Op<'a>) -> Self {
        Self { id, op, controls: SequenceOf::of(&[]) }
    }

    /// How long the message is that `bytes` begin with, header included; `None` if more bytes are needed to know.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] if it is longer than `limit`: nothing needs to be kept for it. [`ErrorKind::Tag`] or
    /// [`ErrorKind::Length`] if no message begins so.
    pub fn length(bytes: &[u8], limit: usize) -> Result<Option<usize>, ParseError> {
        let fail = |offset, kind| Err(ParseError { format: FORMAT, offset, kind });
        let (tag, first) = match *bytes {
            [] => return Ok(None),
            [tag, ..] if tag != Tag::SEQUENCE.0 => {
                return fail(0, ErrorKind::Tag { wanted: Tag::SEQUENCE.0, found: tag });
            }
            [_] => return Ok(None),
            [tag, first, ..] => (tag, first),
        };
        debug_assert_eq!(tag, Tag::SEQUENCE.0);
        let count = if first < 0x80 { 0 } else { usize::from(first & 0x7f) };
        if first == 0x80 || count > 4 {
            return fail(1, ErrorKind::Length);
        }
        let Some(digits) = bytes.get(2..2 + count) else { return Ok(None) };
        let contents = match count {
            0 => u64::from(first),
            _ => digits.iter().fold(0, |value, digit| (value << 8) | u64::from(*digit)),
        };
        match usize::try_from(contents).ok().and_then(|contents| contents.checked_add(2 + count)) {
            Some(length) if length <= limit => Ok(Some(length)),
            _ => fail(0, ErrorKind::Limit { what: "bytes of an LDAP message", limit }),
        }
    }

    /// Reads a whole message.
    ///
    /// # Errors
    /// The rule of the format that the bytes break; trailing bytes are refused.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let mut outer = Der::new(FORMAT, bytes, 0).with_long_lengths();
        let mut der = outer.enter(Tag::SEQUENCE)?;
        outer.finish()?;
        let at = der;
        let id = u32::try_from(der.expect(Tag::INTEGER)?.integer()?).ok().filter(|id| *id <= i32::MAX as u32);
        let id = id.ok_or_else(|| at.error(ErrorKind::Value { what: "messageID" }))?;
        let op = Op::read(&mut der)?;
        let controls = match der.peek_tag() {
            Some(CONTROLS) => SequenceOf::read_as(CONTROLS, &mut der)?,
            _ => SequenceOf::of(&[]),
        };
        skip_unknown(der)?;
        Ok(Self { id, op, controls })
    }

    /// Appends the message.
    pub fn write(&self, out: &mut Vec<u8>) {
        DerWriter::new(out).nest(Tag::SEQUENCE, |w| {
            w.integer(Tag::INTEGER, i64::from(self.id));
            self.op.put(w);
            if !self.controls.is_empty() {
                self.controls.put_as(CONTROLS, w);
            }
        });
    }
}

impl<'a> Op<'a> {
    fn read(der: &mut Der<'a>) -> Result<Self, ParseError> {
        let at = *der;
        let tlv = der.any()?;
        let inside = tlv.inside();
        Ok(match tlv.tag {
            BIND_REQUEST => Self::BindRequest(BindRequest::read(inside)?),
            BIND_RESPONSE => Self::BindResponse(BindResponse::read(inside)?),
            UNBIND_REQUEST => Self::UnbindRequest,
            SEARCH_REQUEST => Self::SearchRequest(SearchRequest::read(inside)?),
            SEARCH_RESULT_ENTRY => Self::SearchResultEntry(SearchResultEntry::read(inside)?),
            SEARCH_RESULT_DONE => Self::SearchResultDone(LdapResult::read(inside)?),
            SEARCH_RESULT_REFERENCE => {
                let mut again = at;
                Self::SearchResultReference(SequenceOf::read_as(SEARCH_RESULT_REFERENCE, &mut again)?)
            }
            MODIFY_REQUEST => Self::ModifyRequest(ModifyRequest::read(inside)?),
            MODIFY_RESPONSE => Self::ModifyResponse(LdapResult::read(inside)?),
            ADD_REQUEST => Self::AddRequest(AddRequest::read(inside)?),
            ADD_RESPONSE => Self::AddResponse(LdapResult::read(inside)?),
            DEL_REQUEST => Self::DelRequest(utf8(&at, tlv.body, "LDAPDN")?),
            DEL_RESPONSE => Self::DelResponse(LdapResult::read(inside)?),
            ABANDON_REQUEST => Self::AbandonRequest(
                u32::try_from(tlv.integer()?).map_err(|_| at.error(ErrorKind::Value { what: "messageID" }))?,
            ),
            EXTENDED_REQUEST => Self::ExtendedRequest(ExtendedRequest::read(inside)?),
            EXTENDED_RESPONSE => Self::ExtendedResponse(ExtendedResponse::read(inside)?),
            other => Self::Other(other, tlv.body),
        })
    }

    fn put(&self, w: &mut DerWriter<'_>) {
        match self {
            Self::BindRequest(op) => w.nest(BIND_REQUEST, |w| op.put(w)),
            Self::BindResponse(op) => w.nest(BIND_RESPONSE, |w| op.put(w)),
            Self::UnbindRequest => w.primitive(UNBIND_REQUEST, &[]),
            Self::SearchRequest(op) => w.nest(SEARCH_REQUEST, |w| op.put(w)),
            Self::SearchResultEntry(op) => w.nest(SEARCH_RESULT_ENTRY, |w| op.put(w)),
            Self::SearchResultDone(op) => w.nest(SEARCH_RESULT_DONE, |w| op.put(w)),
            Self::SearchResultReference(uris) => uris.put_as(SEARCH_RESULT_REFERENCE, w),
            Self::ModifyRequest(op) => w.nest(MODIFY_REQUEST, |w| op.put(w)),
            Self::ModifyResponse(op) => w.nest(MODIFY_RESPONSE, |w| op.put(w)),
            Self::AddRequest(op) => w.nest(ADD_REQUEST, |w| op.put(w)),
            Self::AddResponse(op) => w.nest(ADD_RESPONSE, |w| op.put(w)),
            Self::DelRequest(dn) => w.primitive(DEL_REQUEST, dn.as_bytes()),
            Self::DelResponse(op) => w.nest(DEL_RESPONSE, |w| op.put(w)),
            Self::AbandonRequest(id) => w.integer(ABANDON_REQUEST, i64::from(*id)),
            Self::ExtendedRequest(op) => w.nest(EXTENDED_REQUEST, |w| op.put(w)),
            Self::ExtendedResponse(op) => w.nest(EXTENDED_RESPONSE, |w| op.put(w)),
            Self::Other(tag, body) => w.primitive(*tag, body),
        }
    }

    /// Its name in RFC 4511.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::BindRequest(_) => "BindRequest",
            Self::BindResponse(_) => "BindResponse",
            Self::UnbindRequest => "UnbindRequest",
            Self::SearchRequest(_) => "SearchRequest",
            Self::SearchResultEntry(_) => "SearchResultEntry",
            Self::SearchResultDone(_) => "SearchResultDone",
            Self::SearchResultReference(_) => "SearchResultReference",
            Self::ModifyRequest(_) => "ModifyRequest",
            Self::ModifyResponse(_) => "ModifyResponse",
            Self::AddRequest(_) => "AddRequest",
            Self::AddResponse(_) => "AddResponse",
            Self::DelRequest(_) => "DelRequest",
            Self::DelResponse(_) => "DelResponse",
            Self::AbandonRequest(_) => "AbandonRequest",
            Self::ExtendedRequest(_) => "ExtendedRequest",
            Self::ExtendedResponse(_) => "ExtendedResponse",
            Self::Other(..) => "another operation",
        }
    }
}

/// An OCTET STRING: an attribute's value, a name, a URI.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Octets<'a>(pub &'a [u8]);

impl<'a> Octets<'a> {
    /// The text, if it is UTF-8.
    #[must_use]
    pub const fn as_str(&self) -> Option<&'a str> {
        match core::str::from_utf8(self.0) {
            Ok(text) => Some(text),
            Err(_) => None,
        }
    }
}

/// Safe to print: what is not UTF-8 becomes the replacement character, and so do control characters. Active Directory ends
/// its messages with a NUL, which is left out.
impl fmt::Display for Octets<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy(self.0);
        let clean = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
        text.trim_end_matches(['\0', '\r', '\n']).chars().map(clean).try_for_each(|c| fmt::Write::write_char(f, c))
    }
}

impl fmt::Debug for Octets<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl<'a> Element<'a> for Octets<'a> {
    const WHAT: &'static str = "values";
    const LIMIT: usize = 1 << 20;

    fn read(der: &mut Der<'a>) -> Result<Self, ParseError> {
        octets(der).map(Self)
    }

    fn put(&self, w: &mut DerWriter<'_>) {
        w.primitive(Tag::OCTET_STRING, self.0);
    }
}

const FORMAT: &str = "LDAPMessage";

const CONTROLS: Tag = Tag::context(0);
const BIND_REQUEST: Tag = Tag::application(0);
const BIND_RESPONSE: Tag = Tag::application(1);
const UNBIND_REQUEST: Tag = Tag(0x42);
const SEARCH_REQUEST: Tag = Tag::application(3);
const SEARCH_RESULT_ENTRY: Tag = Tag::application(4);
const SEARCH_RESULT_DONE: Tag = Tag::application(5);
const MODIFY_REQUEST: Tag = Tag::application(6);
const MODIFY_RESPONSE: Tag = Tag::application(7);
const ADD_REQUEST: Tag = Tag::application(8);
const ADD_RESPONSE: Tag = Tag::application(9);
const DEL_REQUEST: Tag = Tag(0x4a);
const DEL_RESPONSE: Tag = Tag::application(11);
const ABANDON_REQUEST: Tag = Tag(0x50);
const SEARCH_RESULT_REFERENCE: Tag = Tag::application(19);
const EXTENDED_REQUEST: Tag = Tag::application(23);
const EXTENDED_RESPONSE: Tag = Tag::application(24);

/// `[n] IMPLICIT`, primitive.
const fn implicit(n: u8) -> Tag {
    Tag(0x80 | n)
}

fn octets<'a>(der: &mut Der<'a>) -> Result<&'a [u8], ParseError> {
    der.expect(Tag::OCTET_STRING).map(|tlv| tlv.body)
}

/// `LDAPString`, `LDAPDN`, `LDAPOID`: UTF-8 in an OCTET STRING.
fn string<'a>(der: &mut Der<'a>, what: &'static str) -> Result<&'a str, ParseError> {
    let at = *der;
    utf8(&at, octets(der)?, what)
}

fn utf8<'a>(at: &Der<'_>, bytes: &'a [u8], what: &'static str) -> Result<&'a str, ParseError> {
    core::str::from_utf8(bytes).map_err(|_| at.error(ErrorKind::Value { what }))
}

fn boolean(der: &mut Der<'_>, tag: Tag) -> Result<Option<bool>, ParseError> {
    let at = *der;
    match der.optional(tag)?.map(|tlv| tlv.body) {
        None => Ok(None),
        Some([value]) => Ok(Some(*value != 0)),
        Some(_) => Err(at.error(ErrorKind::Value { what: "BOOLEAN" })),
    }
}

/// Ends a SEQUENCE: what a later version of the protocol has put there must at least be whole (RFC 4511 4).
fn skip_unknown(mut der: Der<'_>) -> Result<(), ParseError> {
    while !der.is_empty() {
        der.any()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
