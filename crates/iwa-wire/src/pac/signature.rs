//! `PAC_SIGNATURE_DATA`: server, KDC, ticket and extended KDC signatures. MS-PAC 2.8.

use crate::error::{ErrorKind, ParseError};
use crate::explain::{Explain, Node, hex};
use crate::reader::Reader;

/// A signature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Signature<'a> {
    /// `SignatureType`: a checksum type of RFC 3961, -138 for HMAC-MD5.
    pub checksum_type: i32,
    /// The signature itself.
    pub value: &'a [u8],
    /// Which read-only domain controller made it.
    pub rodc: Option<u16>,
}

impl<'a> Signature<'a> {
    /// How many bytes stand before the signature.
    pub const HEADER: usize = 4;

    /// Reads a signature.
    ///
    /// # Errors
    /// Truncated; bytes beyond the type's length that are not an `RODCIdentifier`.
    pub fn parse(bytes: &'a [u8], offset: usize) -> Result<Self, ParseError> {
        let mut reader = Reader::at("PAC_SIGNATURE_DATA", bytes, offset);
        let checksum_type = reader.u32_le()? as i32;
        // Of a type without a known length everything is signature: there is nobody to verify it anyway.
        let Some(length) = length(checksum_type) else {
            return Ok(Self { checksum_type, value: reader.rest(), rodc: None });
        };
        let value = reader.take(length)?;
        let rodc = if reader.is_empty() { None } else { Some(reader.u16_le()?) };
        reader.finish()?;
        Ok(Self { checksum_type, value, rodc })
    }

    /// Appends a signature that is not computed yet: zeros of the length that the type has.
    ///
    /// # Errors
    /// [`ErrorKind::Value`] for a type of unknown length.
    pub fn write_zeroed(checksum_type: i32, out: &mut Vec<u8>) -> Result<(), ParseError> {
        let kind = ErrorKind::Value { what: "SignatureType" };
        let length = length(checksum_type).ok_or(ParseError { format: "PAC_SIGNATURE_DATA", offset: 0, kind })?;
        out.extend_from_slice(&checksum_type.to_le_bytes());
        out.resize(out.len() + length, 0);
        Ok(())
    }
}

/// The length of a checksum of this type, in bytes. MS-PAC 2.8, RFC 8009 5.
#[must_use]
pub const fn length(checksum_type: i32) -> Option<usize> {
    match checksum_type {
        -138 => Some(16),
        15 | 16 => Some(12),
        19 => Some(16),
        20 => Some(24),
        _ => None,
    }
}

const fn name(checksum_type: i32) -> &'static str {
    match checksum_type {
        -138 => "kerb-checksum-hmac-md5",
        15 => "hmac-sha1-96-aes128",
        16 => "hmac-sha1-96-aes256",
        19 => "hmac-sha256-128-aes128",
        20 => "hmac-sha384-192-aes256",
        _ => "not one that a PAC uses",
    }
}

impl Explain for Signature<'_> {
    fn explain(bytes: &[u8], offset: usize) -> Node {
        explain_as("PAC_SIGNATURE_DATA", bytes, offset)
    }
}

pub(super) fn explain_as(title: &'static str, bytes: &[u8], offset: usize) -> Node {
    let mut node = Node::branch(title, offset..offset + bytes.len(), "MS-PAC 2.8");
    let mut reader = Reader::at("PAC_SIGNATURE_DATA", bytes, offset);
    if let Ok(value) = reader.u32_le() {
        let kind = value as i32;
        node.children.push(Node::leaf("SignatureType", format!("{kind} ({})", name(kind)), offset..offset + 4));
    }
    match Signature::parse(bytes, offset) {
        Ok(Signature { value, rodc, .. }) => {
            let end = offset + Signature::HEADER + value.len();
            node.children.push(Node::leaf("Signature", hex(value), offset + Signature::HEADER..end));
            if let Some(rodc) = rodc {
                node.children.push(Node::leaf("RODCIdentifier", rodc.to_string(), end..end + 2));
            }
        }
        Err(error) => node.error = Some(error),
    }
    node
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_follows_the_type() {
        for (kind, length) in [(-138i32, 16), (15, 12), (16, 12), (19, 16), (20, 24)] {
            let mut bytes = Vec::new();
            Signature::write_zeroed(kind, &mut bytes).unwrap();
            assert_eq!(
                Signature::parse(&bytes, 0).unwrap(),
                Signature { checksum_type: kind, value: &vec![0; length], rodc: None }
            );
            bytes.extend_from_slice(&[0x39, 0x30]);
            assert_eq!(Signature::parse(&bytes, 0).unwrap().rodc, Some(12345));
            assert_eq!(Signature::explain(&bytes, 0).find("RODCIdentifier").unwrap().value, "12345");
            bytes.push(0);
            assert!(Signature::parse(&bytes, 0).is_err(), "{kind}: three bytes more");
            bytes.truncate(3 + length);
            assert!(Signature::parse(&bytes, 0).is_err(), "{kind}: one byte less");
            assert!(Signature::explain(&bytes, 0).first_error().is_some());
        }
        assert!(Signature::parse(&[], 0).is_err());
        assert!(Signature::write_zeroed(7, &mut Vec::new()).is_err());
    }

    #[test]
    fn an_unknown_type_is_kept_whole() {
        let bytes = [7, 0, 0, 0, 1, 2, 3];
        assert_eq!(Signature::parse(&bytes, 0).unwrap(), Signature { checksum_type: 7, value: &[1, 2, 3], rodc: None });
    }
}
