//! NTLM: NEGOTIATE, CHALLENGE and AUTHENTICATE. MS-NLMP 2.2.1.
//!
//! A message is a fixed part, whose fields say length and offset, and a payload in which they point. Fields may stand in any
//! order, with gaps and at any alignment, as real clients send them; none may point outside the message or into its fixed
//! part. `MaxLen` is ignored, as MS-NLMP demands.

mod authenticate;
mod av_pair;
mod challenge;
mod flags;
mod negotiate;

pub use authenticate::{Authenticate, MIC_OFFSET, NtResponse, Ntlmv2Response};
pub use av_pair::{AvFlags, AvId, AvPair, AvPairs};
pub use challenge::Challenge;
pub use flags::Flags;
pub use negotiate::Negotiate;

use std::borrow::Cow;

use crate::error::{ErrorKind, ParseError};
use crate::explain::{Explain, Node, hex, printable, text};
use crate::reader::Reader;
use crate::utf16::Utf16;

/// What every message begins with.
pub const SIGNATURE: [u8; 8] = *b"NTLMSSP\0";

/// `MessageType`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MessageType {
    /// `NtLmNegotiate`: the client's first.
    Negotiate,
    /// `NtLmChallenge`: the server's only one.
    Challenge,
    /// `NtLmAuthenticate`: the client's second.
    Authenticate,
}

impl MessageType {
    /// The type of a message, or `None` if the bytes do not begin as an NTLM message does.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        match bytes.strip_prefix(&SIGNATURE)?.first_chunk::<4>().map(|word| u32::from_le_bytes(*word))? {
            1 => Some(Self::Negotiate),
            2 => Some(Self::Challenge),
            3 => Some(Self::Authenticate),
            _ => None,
        }
    }

    /// The name in MS-NLMP.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Negotiate => "NEGOTIATE_MESSAGE",
            Self::Challenge => "CHALLENGE_MESSAGE",
            Self::Authenticate => "AUTHENTICATE_MESSAGE",
        }
    }

    const fn number(self) -> u32 {
        match self {
            Self::Negotiate => 1,
            Self::Challenge => 2,
            Self::Authenticate => 3,
        }
    }
}

/// Any of the three messages.
#[derive(Clone, Copy, Debug)]
pub enum Message<'a> {
    /// NEGOTIATE.
    Negotiate(Negotiate<'a>),
    /// CHALLENGE.
    Challenge(Challenge<'a>),
    /// AUTHENTICATE.
    Authenticate(Authenticate<'a>),
}

impl<'a> Message<'a> {
    /// Reads whichever message it is.
    ///
    /// # Errors
    /// As the message's own `parse`, and [`ErrorKind::Magic`] if it is none.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        match MessageType::of(bytes) {
            Some(MessageType::Negotiate) => Negotiate::parse(bytes).map(Self::Negotiate),
            Some(MessageType::Challenge) => Challenge::parse(bytes).map(Self::Challenge),
            Some(MessageType::Authenticate) => Authenticate::parse(bytes).map(Self::Authenticate),
            None => Err(unknown(bytes, 0)),
        }
    }
}

impl Explain for Message<'_> {
    fn explain(bytes: &[u8], offset: usize) -> Node {
        match MessageType::of(bytes) {
            Some(MessageType::Negotiate) => Negotiate::explain(bytes, offset),
            Some(MessageType::Challenge) => Challenge::explain(bytes, offset),
            Some(MessageType::Authenticate) => Authenticate::explain(bytes, offset),
            None => Node::leaf("NTLM", hex(bytes), offset..offset + bytes.len()).broken(unknown(bytes, offset)),
        }
    }
}

fn unknown(bytes: &[u8], offset: usize) -> ParseError {
    let kind = if bytes.starts_with(&SIGNATURE) {
        match bytes.len() {
            12.. => ErrorKind::Value { what: "MessageType" },
            available => ErrorKind::Truncated { needed: 12, available },
        }
    } else {
        ErrorKind::Magic { what: "Signature" }
    };
    ParseError { format: "NTLM", offset, kind }
}

/// A name as it stands in a message: its bytes and how they are encoded.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Text<'a> {
    /// The bytes.
    pub bytes: &'a [u8],
    /// Whether they are UTF-16LE; otherwise they are in an OEM character set that nothing names.
    pub unicode: bool,
}

impl<'a> Text<'a> {
    /// Text in UTF-16LE.
    #[must_use]
    pub const fn unicode(bytes: &'a [u8]) -> Self {
        Self { bytes, unicode: true }
    }

    /// Text in the OEM character set.
    #[must_use]
    pub const fn oem(bytes: &'a [u8]) -> Self {
        Self { bytes, unicode: false }
    }

    /// Whether there is no text.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The text. Unpaired surrogates become U+FFFD. OEM text is read as UTF-8 if it is that (curl sends the bytes of its
    /// own locale), else as Latin-1.
    #[must_use]
    pub fn decode(&self) -> Cow<'a, str> {
        if self.unicode {
            // A length that is odd is refused by the parsers; the explainers show what there is.
            let even = self.bytes.len() & !1;
            return Utf16::new(self.bytes.get(..even).unwrap_or_default()).unwrap_or_default().to_string().into();
        }
        match core::str::from_utf8(self.bytes) {
            Ok(utf8) => Cow::Borrowed(utf8),
            Err(_) => self.bytes.iter().map(|byte| char::from(*byte)).collect(),
        }
    }
}

impl core::fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:?}", printable(&self.decode()))
    }
}

/// Text in UTF-16LE, for the names in messages and AV pairs.
#[must_use]
pub fn utf16le(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(2 * text.len());
    Utf16::write(text, &mut bytes);
    bytes
}

/// `VERSION`, for debugging only. MS-NLMP 2.2.2.10.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Version {
    /// `ProductMajorVersion`.
    pub major: u8,
    /// `ProductMinorVersion`.
    pub minor: u8,
    /// `ProductBuild`.
    pub build: u16,
    /// `NTLMRevisionCurrent`: 15 since Windows XP.
    pub revision: u8,
}

impl Version {
    /// What this implementation sends: Windows 10's numbers, which no peer takes exception to.
    pub const SENT: Self = Self { major: 10, minor: 0, build: 19041, revision: 15 };

    fn read(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let (major, minor, build) = (reader.u8()?, reader.u8()?, reader.u16_le()?);
        let [_, _, _, revision] = *reader.array()?;
        Ok(Self { major, minor, build, revision })
    }

    fn write(version: Option<Self>, out: &mut Vec<u8>) {
        let Some(Self { major, minor, build, revision }) = version else {
            out.extend_from_slice(&[0; 8]);
            return;
        };
        out.extend_from_slice(&[major, minor]);
        out.extend_from_slice(&build.to_le_bytes());
        out.extend_from_slice(&[0, 0, 0, revision]);
    }
}

/// A reader behind signature and message type.
fn fixed_part(message_type: MessageType, bytes: &[u8]) -> Result<Reader<'_>, ParseError> {
    let mut reader = Reader::new(message_type.name(), bytes);
    let start = reader;
    if *reader.array::<8>()? != SIGNATURE {
        return Err(start.error(ErrorKind::Magic { what: "Signature" }));
    }
    let at = reader;
    if reader.u32_le()? != message_type.number() {
        return Err(at.error(ErrorKind::Magic { what: "MessageType" }));
    }
    Ok(reader)
}

/// Length and offset of a payload field (`...Len`, `...MaxLen`, `...BufferOffset`).
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    length: u16,
    offset: u32,
    /// Where length and offset themselves stand.
    at: usize,
}

impl Span {
    fn read(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let at = reader.offset();
        let length = reader.u16_le()?;
        let _max_len = reader.u16_le()?;
        Ok(Self { length, offset: reader.u32_le()?, at })
    }

    /// The bytes it points to. An empty field may point anywhere: clients leave junk there.
    fn bytes<'a>(self, format: &'static str, message: &'a [u8], fixed: usize) -> Result<&'a [u8], ParseError> {
        if self.length == 0 {
            return Ok(&[]);
        }
        let error = |kind| ParseError { format, offset: self.at, kind };
        let (start, length) = (self.offset as usize, usize::from(self.length));
        if start < fixed {
            return Err(error(ErrorKind::Value { what: "BufferOffset" }));
        }
        let end = start.saturating_add(length);
        message.get(start..end).ok_or(error(ErrorKind::Truncated { needed: end, available: message.len() }))
    }

    /// The text it points to.
    fn text<'a>(
        self,
        format: &'static str,
        message: &'a [u8],
        fixed: usize,
        unicode: bool,
    ) -> Result<Text<'a>, ParseError> {
        let bytes = self.bytes(format, message, fixed)?;
        if unicode && bytes.len() % 2 != 0 {
            let kind = ErrorKind::Value { what: "length of UTF-16 text" };
            return Err(ParseError { format, offset: self.at, kind });
        }
        Ok(Text { bytes, unicode })
    }

    /// Where in `message` the field lies, as far as it lies inside.
    fn range(self, message: &[u8]) -> core::ops::Range<usize> {
        let start = (self.offset as usize).min(message.len());
        start..start.saturating_add(usize::from(self.length)).min(message.len())
    }
}

/// Writes the fixed part and collects the payload, whose offsets count from the message's own start.
struct Writer<'o> {
    out: &'o mut Vec<u8>,
    base: usize,
    format: &'static str,
    payload: usize,
}

impl<'o> Writer<'o> {
    /// A message whose payload begins at `fixed`.
    fn new(message_type: MessageType, fixed: usize, out: &'o mut Vec<u8>) -> Self {
        let base = out.len();
        out.extend_from_slice(&SIGNATURE);
        out.extend_from_slice(&message_type.number().to_le_bytes());
        Self { out, base, format: message_type.name(), payload: fixed }
    }

    /// Length and offset of the next payload field.
    fn span(&mut self, field: &[u8], what: &'static str) -> Result<(), ParseError> {
        let offset = self.out.len() - self.base;
        let limit =
            ParseError { format: self.format, offset, kind: ErrorKind::Limit { what, limit: usize::from(u16::MAX) } };
        let length = u16::try_from(field.len()).map_err(|_| limit)?.to_le_bytes();
        let start = u32::try_from(self.payload).map_err(|_| limit)?;
        self.payload += field.len();
        self.out.extend_from_slice(&length);
        self.out.extend_from_slice(&length);
        self.out.extend_from_slice(&start.to_le_bytes());
        Ok(())
    }
}

/// The part of explaining that the three messages share: fixed fields in order, each tolerant of the input's end.
struct Explainer<'a> {
    node: Node,
    reader: Reader<'a>,
    bytes: &'a [u8],
    base: usize,
}

impl<'a> Explainer<'a> {
    fn new(message_type: MessageType, spec: &'static str, bytes: &'a [u8], base: usize) -> Self {
        let node = Node::branch(message_type.name(), base..base + bytes.len(), spec);
        let mut this = Self { node, reader: Reader::at(message_type.name(), bytes, base), bytes, base };
        this.fixed("Signature", 8, |raw| text(raw.strip_suffix(b"\0").unwrap_or(raw)));
        this.fixed("MessageType", 4, |raw| format!("{} ({})", number(raw), message_type.name()));
        this
    }

    /// A fixed field of `count` bytes; nothing once the input has ended.
    fn fixed(&mut self, name: &'static str, count: usize, words: impl FnOnce(&[u8]) -> String) {
        let start = self.reader.offset();
        match self.reader.take(count) {
            Ok(raw) => self.node.children.push(Node::leaf(name, words(raw), start..start + count)),
            Err(error) => self.ended(error),
        }
    }

    fn ended(&mut self, error: ParseError) {
        self.node.error.get_or_insert(error);
        self.reader.rest();
    }

    fn flags(&mut self) -> Flags {
        let flags = self.reader.peek().first_chunk::<4>().map_or(0, |word| u32::from_le_bytes(*word));
        self.fixed("NegotiateFlags", 4, |_| format!("{:?}", Flags(flags)));
        Flags(flags)
    }

    /// Length and offset of a payload field; `None` if the input ends before.
    fn span(&mut self) -> Option<Span> {
        match Span::read(&mut self.reader) {
            Ok(span) => Some(span),
            Err(error) => {
                self.ended(error);
                None
            }
        }
    }

    fn version(&mut self) {
        if self.reader.is_empty() {
            return;
        }
        let start = self.reader.offset();
        match Version::read(&mut self.reader) {
            Ok(Version { major, minor, build, revision }) => {
                let words = format!("{major}.{minor} build {build}, NTLM revision {revision}");
                self.node
                    .children
                    .push(Node { spec: "MS-NLMP 2.2.2.10", ..Node::leaf("Version", words, start..start + 8) });
            }
            Err(error) => self.ended(error),
        }
    }

    /// A payload field and what it says; `words` gets its bytes and their offset in the outermost input.
    fn payload(&mut self, name: &'static str, span: Option<Span>, words: impl FnOnce(&'a [u8], usize) -> Node) {
        let Some(span) = span else { return };
        let range = span.range(self.bytes);
        let start = self.base + range.start;
        let raw = self.bytes.get(range).unwrap_or_default();
        let mut node = words(raw, start);
        node.name = name.into();
        let message = Span { at: span.at, ..span }.bytes(self.reader.error(ErrorKind::Length).format, self.bytes, 0);
        if let Err(error) = message {
            node.error = Some(error);
        }
        self.node.children.push(node);
    }

    /// A payload field of text.
    fn text(&mut self, name: &'static str, span: Option<Span>, unicode: bool) {
        self.payload(name, span, |raw, start| {
            let value = printable(&Text { bytes: raw, unicode }.decode());
            Node::leaf(name, value, start..start + raw.len())
        });
    }

    /// The node; what the strict parser finds wrong is added if explaining did not meet it.
    fn finish(mut self, parsed: Result<(), ParseError>) -> Node {
        if let Err(error) = parsed
            && self.node.first_error().is_none()
        {
            self.node.error = Some(ParseError { offset: self.base + error.offset, ..error });
        }
        self.node
    }
}

/// A number, least significant byte first, of at most eight bytes.
fn number(raw: &[u8]) -> u64 {
    raw.iter().rev().take(8).fold(0, |value, byte| (value << 8) | u64::from(*byte))
}

/// A FILETIME in words (MS-DTYP 2.3.3).
fn filetime(ticks: u64) -> String {
    const SECONDS_1601_TO_1970: i64 = 11_644_473_600;
    let seconds = i64::try_from(ticks / 10_000_000).unwrap_or(i64::MAX) - SECONDS_1601_TO_1970;
    match ticks {
        0 => "0".to_owned(),
        _ => format!("{} ({ticks})", crate::krb5::KerberosTime(seconds)),
    }
}

#[cfg(test)]
mod tests;
