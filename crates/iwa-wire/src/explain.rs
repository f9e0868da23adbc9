//! Bytes in words: a tree of names, byte ranges and values, which tolerates truncated and malformed input.
//!
//! Every parser of this crate has its explainer in the same file. DER formats describe themselves with a [`Shape`] and share
//! one walker, so that a broken field still leaves everything before it explained; formats made of offsets and lengths
//! build their [`Node`]s by hand.

use core::fmt::Write as _;
use core::ops::Range;
use std::borrow::Cow;

use crate::der::{Der, Tag, Tlv};
use crate::error::ParseError;
use crate::krb5::KerberosTime;

/// One explained value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// The name of the field in its specification.
    pub name: Cow<'static, str>,
    /// The value, in words; empty for a mere container.
    pub value: String,
    /// Which bytes of the outermost input (or of the decrypted plaintext above) it stands in.
    pub range: Range<usize>,
    /// Where the field is specified (`"RFC 4120 5.5.1"`), or empty if the parent's holds.
    pub spec: &'static str,
    /// What a reader should know about this value.
    pub note: Option<String>,
    /// Which rule the bytes break here.
    pub error: Option<ParseError>,
    /// Whether the value is secret (a key, a hash): printers leave it out unless told otherwise.
    pub secret: bool,
    /// The parts.
    pub children: Vec<Node>,
}

impl Node {
    /// A value without parts.
    #[must_use]
    pub fn leaf(name: impl Into<Cow<'static, str>>, value: impl Into<String>, range: Range<usize>) -> Self {
        Self { name: name.into(), value: value.into(), range, ..Self::default() }
    }

    /// A container; add to its `children`.
    #[must_use]
    pub fn branch(name: impl Into<Cow<'static, str>>, range: Range<usize>, spec: &'static str) -> Self {
        Self { name: name.into(), range, spec, ..Self::default() }
    }

    /// The same with a note.
    #[must_use]
    pub fn noted(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    /// The same, marked as secret.
    #[must_use]
    pub fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// The same with an error.
    #[must_use]
    pub fn broken(mut self, error: ParseError) -> Self {
        self.error = Some(error);
        self
    }

    /// The first error in the tree, in reading order.
    #[must_use]
    pub fn first_error(&self) -> Option<ParseError> {
        self.error.or_else(|| self.children.iter().find_map(Self::first_error))
    }

    /// The first node of this name in the tree, itself included.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Self> {
        if self.name == name { Some(self) } else { self.children.iter().find_map(|child| child.find(name)) }
    }
}

/// A format that can explain its bytes. `offset` is where `bytes` begin in the outermost input.
pub trait Explain {
    /// Explains `bytes`, as far as they can be read.
    fn explain(bytes: &[u8], offset: usize) -> Node;
}

/// The ASN.1 of a type, as far as explaining needs it.
#[derive(Clone, Copy)]
pub enum Shape {
    /// INTEGER, with its meaning if it is a number from a registry.
    Integer(fn(i64) -> Option<Cow<'static, str>>),
    /// ENUMERATED, likewise.
    Enumerated(fn(i64) -> Option<Cow<'static, str>>),
    /// BOOLEAN.
    Boolean,
    /// OCTET STRING, shown in hexadecimal.
    Octets,
    /// OCTET STRING that must not be shown.
    SecretOctets,
    /// OCTET STRING whose contents have a format of their own.
    OctetsOf(fn(&[u8], usize) -> Node),
    /// GeneralString or UTF8String.
    Text,
    /// GeneralizedTime.
    Time,
    /// BIT STRING of flags, with their names.
    Flags(fn(u32) -> String),
    /// OBJECT IDENTIFIER, with its name.
    Oid(fn(&[u8]) -> Option<&'static str>),
    /// SEQUENCE of fields with EXPLICIT context tags.
    Sequence(&'static [Field]),
    /// SEQUENCE OF: the name of an element and its shape.
    SequenceOf(&'static str, &'static Shape),
    /// `[APPLICATION n]` around a shape.
    Application(u8, &'static Shape),
    /// A whole value that explains itself (a SEQUENCE whose meaning depends on one of its fields).
    Custom(fn(&'static str, Tlv<'_>) -> Node),
}

/// A field of a SEQUENCE.
#[derive(Clone, Copy)]
pub struct Field {
    /// Its context tag.
    pub tag: u8,
    /// Its name in the specification.
    pub name: &'static str,
    /// Its type.
    pub shape: Shape,
}

/// A number without a name.
#[must_use]
pub fn plain(_: i64) -> Option<Cow<'static, str>> {
    None
}

/// Explains the one DER value in `bytes` after `shape`. Trailing bytes are reported as an error.
#[must_use]
pub fn explain_der(name: &'static str, spec: &'static str, shape: &Shape, bytes: &[u8], offset: usize) -> Node {
    explain_from(name, spec, shape, Der::new(name, bytes, offset))
}

/// Explains the one value that is left in `der`, as [`explain_der`] does.
#[must_use]
pub fn explain_from(name: &'static str, spec: &'static str, shape: &Shape, mut der: Der<'_>) -> Node {
    let (bytes, offset) = (der.peek(), der.offset());
    let mut node = match der.any() {
        Ok(tlv) => explain_tlv(name, shape, tlv),
        Err(error) => truncated_container(name, shape, bytes, offset, error),
    };
    node.spec = spec;
    if node.error.is_none()
        && let Err(error) = der.finish()
        && node.first_error().is_none()
    {
        node.error = Some(error);
    }
    node
}

/// A value whose length runs past the end of the input: explain what is there, and say what is missing.
fn truncated_container(name: &'static str, shape: &Shape, bytes: &[u8], offset: usize, error: ParseError) -> Node {
    let whole = offset..offset + bytes.len();
    let header = match bytes.get(1) {
        Some(&first) if first >= 0x80 => 2 + usize::from(first & 0x7f),
        Some(_) => 2,
        None => return Node::leaf(name, "", whole).broken(error),
    };
    let Some(body) = bytes.get(header..) else { return Node::leaf(name, "", whole).broken(error) };
    let mut node = Node::branch(name, whole, "").broken(error);
    let inside = Der::new(name, body, offset + header);
    match shape {
        Shape::Application(_, inner) => {
            return Node { error: Some(error), ..truncated_container(name, inner, body, offset + header, error) };
        }
        Shape::Sequence(fields) => explain_fields(&mut node, fields, inside),
        Shape::SequenceOf(element, shape) => explain_elements(&mut node, element, shape, inside),
        Shape::OctetsOf(explain) => node.children.push(explain(body, offset + header)),
        _ => {}
    }
    node
}

/// Takes the tag and length off a value that may run past the end: what stands in it as far as it goes, where that begins,
/// and which rule is broken.
pub(crate) fn open<'a>(format: &'static str, bytes: &'a [u8], offset: usize) -> (&'a [u8], usize, Option<ParseError>) {
    let mut der = Der::new(format, bytes, offset);
    match der.any() {
        Ok(tlv) => (tlv.body, tlv.body_offset(), der.finish().err()),
        Err(error) => {
            let header = match bytes.get(1) {
                Some(&first) if first >= 0x80 => 2 + usize::from(first & 0x7f),
                _ => 2,
            };
            let body = bytes.get(header..).unwrap_or_default();
            (body, offset + bytes.len() - body.len(), Some(error))
        }
    }
}

/// Explains one value after `shape`.
#[must_use]
pub fn explain_tlv(name: &'static str, shape: &Shape, tlv: Tlv<'_>) -> Node {
    let range = tlv.offset..tlv.offset + tlv.whole.len();
    let wanted = match shape {
        Shape::Integer(_) => Tag::INTEGER,
        Shape::Enumerated(_) => Tag::ENUMERATED,
        Shape::Boolean => Tag::BOOLEAN,
        Shape::Octets | Shape::SecretOctets | Shape::OctetsOf(_) => Tag::OCTET_STRING,
        Shape::Text if tlv.tag == Tag::UTF8_STRING => Tag::UTF8_STRING,
        Shape::Text => Tag::GENERAL_STRING,
        Shape::Time => Tag::GENERALIZED_TIME,
        Shape::Flags(_) => Tag::BIT_STRING,
        Shape::Oid(_) => Tag::OID,
        Shape::Sequence(_) | Shape::SequenceOf(..) => Tag::SEQUENCE,
        Shape::Application(n, _) => Tag::application(*n),
        Shape::Custom(explain) => return explain(name, tlv),
    };
    if tlv.tag != wanted {
        let kind = crate::error::ErrorKind::Tag { wanted: wanted.0, found: tlv.tag.0 };
        return Node::leaf(name, hex(tlv.body), range).broken(ParseError { format: name, offset: tlv.offset, kind });
    }
    let number = |naming: fn(i64) -> Option<Cow<'static, str>>| match tlv.integer() {
        Ok(value) => {
            let text = naming(value).map_or_else(|| value.to_string(), |word| format!("{value} ({word})"));
            Node::leaf(name, text, range.clone())
        }
        Err(error) => Node::leaf(name, hex(tlv.body), range.clone()).broken(error),
    };
    match shape {
        Shape::Integer(naming) | Shape::Enumerated(naming) => number(*naming),
        Shape::Boolean => Node::leaf(name, if tlv.body == [0] { "false" } else { "true" }, range),
        Shape::Octets => Node::leaf(name, hex(tlv.body), range),
        Shape::SecretOctets => Node::leaf(name, hex(tlv.body), range).secret(),
        Shape::OctetsOf(explain) => {
            let mut node = Node::branch(name, range, "");
            node.children.push(explain(tlv.body, tlv.body_offset()));
            node
        }
        Shape::Text => Node::leaf(name, text(tlv.body), range),
        Shape::Time => match KerberosTime::parse(tlv.body) {
            Some(time) => Node::leaf(name, time.to_string(), range),
            None => {
                let kind = crate::error::ErrorKind::Value { what: "KerberosTime" };
                let error = ParseError { format: name, offset: tlv.offset, kind };
                Node::leaf(name, text(tlv.body), range).broken(error)
            }
        },
        Shape::Flags(naming) => match tlv.flags() {
            Ok(flags) => Node::leaf(name, format!("0x{flags:08x} {}", naming(flags)).trim_end(), range),
            Err(error) => Node::leaf(name, hex(tlv.body), range).broken(error),
        },
        Shape::Oid(naming) => {
            let dotted = oid(tlv.body);
            let value = naming(tlv.body).map_or_else(|| dotted.clone(), |known| format!("{dotted} ({known})"));
            Node::leaf(name, value, range)
        }
        Shape::Sequence(fields) => {
            let mut node = Node::branch(name, range, "");
            explain_fields(&mut node, fields, tlv.inside());
            node
        }
        Shape::SequenceOf(element, shape) => {
            let mut node = Node::branch(name, range, "");
            explain_elements(&mut node, element, shape, tlv.inside());
            node
        }
        Shape::Application(_, inner) => {
            let mut inside = tlv.inside();
            match inside.any() {
                Ok(body) => {
                    let mut node = explain_tlv(name, inner, body);
                    node.range = range;
                    if let Err(error) = inside.finish() {
                        node.error.get_or_insert(error);
                    }
                    node
                }
                Err(error) => truncated_container(name, inner, tlv.body, tlv.body_offset(), error),
            }
        }
        Shape::Custom(explain) => explain(name, tlv),
    }
}

fn explain_fields(node: &mut Node, fields: &'static [Field], mut der: Der<'_>) {
    while !der.is_empty() {
        let (offset, rest) = (der.offset(), der.peek());
        let tag = der.peek_tag();
        let field = fields.iter().find(|field| tag == Some(Tag::context(field.tag)));
        match der.any() {
            Ok(wrapper) => {
                let mut inside = wrapper.inside();
                let child = match (field, inside.any()) {
                    (Some(field), Ok(value)) => {
                        let mut child = explain_tlv(field.name, &field.shape, value);
                        child.range = wrapper.offset..wrapper.offset + wrapper.whole.len();
                        if let Err(error) = inside.finish() {
                            child.error.get_or_insert(error);
                        }
                        child
                    }
                    (Some(field), Err(error)) => {
                        truncated_container(field.name, &field.shape, wrapper.body, wrapper.body_offset(), error)
                    }
                    (None, _) => Node::leaf(
                        format!("[0x{:02x}]", wrapper.tag.0),
                        hex(wrapper.body),
                        wrapper.offset..wrapper.offset + wrapper.whole.len(),
                    )
                    .noted("a field that the specification does not name here"),
                };
                node.children.push(child);
            }
            Err(error) => {
                // The wrapper runs past the end: look inside as far as its bytes go.
                let name = field.map_or("?", |field| field.name);
                let header = match rest.get(1) {
                    Some(&first) if first >= 0x80 => 2 + usize::from(first & 0x7f),
                    _ => 2,
                };
                let child = match (field, rest.get(header..)) {
                    (Some(field), Some(body)) if !body.is_empty() => {
                        let mut child = truncated_container(name, &field.shape, body, offset + header, error);
                        child.range = offset..offset + rest.len();
                        child
                    }
                    _ => Node::leaf(name, hex(rest), offset..offset + rest.len()).broken(error),
                };
                node.children.push(child);
                return;
            }
        }
    }
}

fn explain_elements(node: &mut Node, name: &'static str, shape: &Shape, mut der: Der<'_>) {
    while !der.is_empty() {
        let (offset, rest) = (der.offset(), der.peek());
        match der.any() {
            Ok(tlv) => node.children.push(explain_tlv(name, shape, tlv)),
            Err(error) => {
                node.children.push(truncated_container(name, shape, rest, offset, error));
                return;
            }
        }
    }
}

/// Bytes in hexadecimal; long ones are cut, with their length.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const SHOWN: usize = 32;
    let mut text = String::with_capacity(2 * bytes.len().min(SHOWN) + 16);
    for byte in bytes.iter().take(SHOWN) {
        let _ = write!(text, "{byte:02x}");
    }
    if bytes.len() > SHOWN {
        let _ = write!(text, "... ({} bytes)", bytes.len());
    }
    text
}

/// Bytes as text that is safe to print: control characters and what is not UTF-8 are escaped.
#[must_use]
pub fn text(bytes: &[u8]) -> String {
    printable(&String::from_utf8_lossy(bytes))
}

/// Text that is safe to print in a log or a terminal: control characters, and characters that change the direction of
/// what follows, are escaped.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            safe.extend(c.escape_unicode());
        } else {
            safe.push(c);
        }
    }
    safe
}

/// The dotted form of an OBJECT IDENTIFIER's contents octets; `?` stands for an arc beyond 64 bits or cut off.
#[must_use]
pub fn oid(body: &[u8]) -> String {
    let mut text = String::new();
    let (mut arc, mut open) = (Some(0u64), false);
    for &byte in body {
        arc = arc.and_then(|arc| arc.checked_mul(128)).map(|arc| arc | u64::from(byte & 0x7f));
        open = byte & 0x80 != 0;
        if open {
            continue;
        }
        let done = arc.replace(0);
        if arc.is_none() {
            arc = Some(0);
        }
        match done {
            Some(first) if text.is_empty() => {
                let top = (first / 40).min(2);
                let _ = write!(text, "{top}.{}", first - 40 * top);
            }
            Some(next) => {
                let _ = write!(text, ".{next}");
            }
            None => text.push_str(".?"),
        }
    }
    if open {
        text.push_str(".?");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const POINT: Shape = Shape::Sequence(&[
        Field { tag: 0, name: "x", shape: Shape::Integer(plain) },
        Field { tag: 1, name: "label", shape: Shape::Text },
    ]);

    #[test]
    fn a_truncated_value_is_explained_as_far_as_it_goes() {
        let bytes = [0x30, 0x0c, 0xa0, 3, 2, 1, 5, 0xa1, 5, 0x1b, 3, b'a', b'b', b'c'];
        let whole = explain_der("Point", "", &POINT, &bytes, 0);
        assert_eq!(whole.first_error(), None);
        assert_eq!(whole.find("label").map(|n| n.value.as_str()), Some("abc"));
        for cut in 0..bytes.len() {
            let node = explain_der("Point", "", &POINT, &bytes[..cut], 0);
            assert!(node.first_error().is_some(), "cut at {cut}");
            assert_eq!(node.find("x").is_some_and(|n| n.value == "5"), cut >= 7, "cut at {cut}");
        }
    }

    #[test]
    fn object_identifiers() {
        assert_eq!(oid(&[0x2b, 6, 1, 5, 5, 2]), "1.3.6.1.5.5.2");
        assert_eq!(oid(&[0x2a, 0x86, 0x48, 0x82, 0xf7, 0x12, 1, 2, 2]), "1.2.840.48018.1.2.2");
        assert_eq!(oid(&[0x2a, 0x86]), "1.2.?");
    }

    #[test]
    fn names_cannot_forge_a_log_line() {
        assert_eq!(printable("a\r\nb\u{202e}c\u{1b}[0m"), "a\\u{d}\\u{a}b\\u{202e}c\\u{1b}[0m");
    }
}
