//! `IAKERB-HEADER`: what stands before a message that an acceptor passes on to a KDC. draft-ietf-kitten-iakerb 3.

use super::field::{self, Fields as _};
use super::shape;
use crate::der::{Der, DerWriter, Tag};
use crate::error::ParseError;
use crate::explain::{Explain, Node, Shape, explain_der};

/// `IAKERB-HEADER`. The message to the KDC, or from it, follows it without a wrapper.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IakerbHeader<'a> {
    /// `target-realm`: UTF-8.
    pub target_realm: &'a [u8],
    /// `cookie`: the acceptor's memory, which goes back as it came.
    pub cookie: Option<&'a [u8]>,
}

impl<'a> IakerbHeader<'a> {
    /// Reads the header; returns what follows it.
    ///
    /// # Errors
    /// The rule that the bytes break.
    pub fn parse(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), ParseError> {
        let mut der = Der::new(FORMAT, bytes, 0);
        let header = field::sequence(&mut der, |der| {
            Ok(Self {
                target_realm: field::explicit(der, 1, |der| {
                    // UTF8String; an OCTET STRING from implementations of older drafts.
                    let octets = der.peek_tag() == Some(Tag::OCTET_STRING);
                    der.expect(if octets { Tag::OCTET_STRING } else { Tag::UTF8_STRING }).map(|tlv| tlv.body)
                })?,
                cookie: field::optional(der, 2, field::octets)?,
            })
        })?;
        Ok((header, der.peek()))
    }

    /// Appends the header.
    pub fn write(&self, out: &mut Vec<u8>) {
        DerWriter::new(out).sequence(|w| {
            w.field(1, |w| w.primitive(Tag::UTF8_STRING, self.target_realm));
            if let Some(cookie) = self.cookie {
                w.octets(2, cookie);
            }
        });
    }
}

/// The header, and the Kerberos message behind it.
impl Explain for IakerbHeader<'_> {
    fn explain(bytes: &[u8], offset: usize) -> Node {
        let mut der = Der::new(FORMAT, bytes, offset);
        let header = der.any().map_or(bytes, |tlv| tlv.whole);
        let (message, at) =
            bytes.split_at_checked(header.len()).map_or((&[][..], offset), |(_, m)| (m, offset + header.len()));
        let mut node = Node::branch("IAKERB_PROXY", offset..offset + bytes.len(), SPEC);
        node.children.push(explain_der(FORMAT, SPEC, &HEADER, header, offset));
        if let Some((_, message)) = super::explain_message(message, at) {
            node.children.push(message);
        }
        if node.first_error().is_none()
            && let Err(mut error) = IakerbHeader::parse(bytes)
        {
            error.offset += offset;
            node.error = Some(error);
        }
        node
    }
}

const FORMAT: &str = "IAKERB-HEADER";
const SPEC: &str = "draft-ietf-kitten-iakerb 3";

const HEADER: Shape = Shape::Sequence(&[
    shape::field(1, "target-realm", Shape::Custom(explain_realm)),
    shape::field(2, "cookie", Shape::Octets),
]);

fn explain_realm(name: &'static str, tlv: crate::der::Tlv<'_>) -> Node {
    Node::leaf(name, crate::explain::text(tlv.body), tlv.offset..tlv.offset + tlv.whole.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_and_the_message_behind_it() {
        let header = IakerbHeader { target_realm: "CÖRP.EXAMPLE.TEST".as_bytes(), cookie: Some(b"cookie") };
        let mut bytes = Vec::new();
        header.write(&mut bytes);
        let length = bytes.len();
        bytes.extend_from_slice(b"message");
        assert_eq!(IakerbHeader::parse(&bytes), Ok((header, &b"message"[..])));
        for cut in 0..length {
            assert!(IakerbHeader::parse(&bytes[..cut]).is_err(), "cut at {cut}");
            assert!(IakerbHeader::explain(&bytes[..cut], 9).first_error().is_some(), "cut at {cut}");
        }
        let node = IakerbHeader::explain(&bytes, 9);
        assert_eq!(node.find("target-realm").map(|n| n.value.as_str()), Some("CÖRP.EXAMPLE.TEST"));
    }

    #[test]
    fn the_realm_is_text_and_comes_first() {
        for bad in [&[0x30, 0][..], &[0x30, 5, 0xa2, 3, 4, 1, 7], &[0x30, 5, 0xa1, 3, 2, 1, 7]] {
            assert!(IakerbHeader::parse(bad).is_err(), "{bad:?}");
        }
        assert!(IakerbHeader::parse(&[0x30, 5, 0xa1, 3, 4, 1, 7]).is_ok(), "of older drafts");
    }
}
