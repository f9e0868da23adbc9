//! The tokens of Netlogon as RPC's security provider: `NL_AUTH_MESSAGE` with the bind, `NL_AUTH_SHA2_SIGNATURE` with every
//! PDU after it. MS-NRPC 2.2.1.3.1, 2.2.1.3.3.

use crate::error::{ErrorKind, ParseError};
use crate::reader::Reader;

/// `NL_AUTH_MESSAGE`: which computer of which domain speaks. The names are those under which the domain controller keeps the
/// session key; they prove nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NlAuthMessage<'a> {
    /// The negotiate message, from the client.
    Negotiate {
        /// The NetBIOS domain. ASCII.
        domain: &'a str,
        /// The NetBIOS name of the computer. ASCII.
        computer: &'a str,
    },
    /// The answer.
    Response,
}

impl<'a> NlAuthMessage<'a> {
    /// Appends the token.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Negotiate { domain, computer } => {
                out.extend_from_slice(&NEGOTIATE.to_le_bytes());
                out.extend_from_slice(&(DOMAIN | COMPUTER).to_le_bytes());
                for name in [domain, computer] {
                    out.extend_from_slice(name.as_bytes());
                    out.push(0);
                }
            }
            Self::Response => {
                out.extend_from_slice(&RESPONSE.to_le_bytes());
                // No flags, and a buffer of four zeros, as Windows sends it.
                out.extend_from_slice(&[0; 8]);
            }
        }
    }

    /// Reads a token. Of a negotiate message that names more than the two NetBIOS names the rest is left unread.
    ///
    /// # Errors
    /// Another type, a negotiate message without both NetBIOS names, a name that does not end or is not ASCII.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new("NL_AUTH_MESSAGE", bytes);
        let start = reader;
        let (kind, flags) = (reader.u32_le()?, reader.u32_le()?);
        match kind {
            RESPONSE => Ok(Self::Response),
            NEGOTIATE if flags & (DOMAIN | COMPUTER) == DOMAIN | COMPUTER => {
                Ok(Self::Negotiate { domain: name(&mut reader)?, computer: name(&mut reader)? })
            }
            NEGOTIATE => Err(start.error(ErrorKind::Missing { what: "NetBIOS names" })),
            _ => Err(start.error(ErrorKind::Value { what: "MessageType" })),
        }
    }
}

fn name<'a>(reader: &mut Reader<'a>) -> Result<&'a str, ParseError> {
    let bytes = reader.peek();
    let length = bytes.iter().position(|byte| *byte == 0);
    let length = length.ok_or_else(|| reader.error(ErrorKind::Missing { what: "end of a name" }))?;
    let name = reader.take(length)?;
    reader.u8()?;
    let name = core::str::from_utf8(name).ok().filter(|name| name.is_ascii());
    name.ok_or_else(|| reader.error(ErrorKind::Value { what: "NetBIOS name" }))
}

/// `NL_AUTH_SHA2_SIGNATURE` of a sealed PDU, as it stands on the wire: sequence number and confounder are encrypted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NlAuthSha2Signature {
    /// `SequenceNumber`.
    pub sequence_number: [u8; 8],
    /// `Checksum`: the first eight bytes of an HMAC-SHA256.
    pub checksum: [u8; 8],
    /// `Confounder`.
    pub confounder: [u8; 8],
}

impl NlAuthSha2Signature {
    /// Bytes on the wire; the last 24 are reserved and zero.
    pub const SIZE: usize = 56;

    /// The first eight bytes, which are signed with the message: HMAC-SHA256, AES-128, filling and no flags.
    pub const HEADER: [u8; 8] = [0x13, 0, 0x1a, 0, 0xff, 0xff, 0, 0];

    /// The token.
    #[must_use]
    pub fn write(&self) -> [u8; Self::SIZE] {
        let mut out = [0; Self::SIZE];
        let parts = [Self::HEADER, self.sequence_number, self.checksum, self.confounder];
        for (place, part) in out.chunks_exact_mut(8).zip(parts) {
            place.copy_from_slice(&part);
        }
        out
    }

    /// Reads a token. What stands in the reserved bytes is not looked at, as MS-NRPC 2.2.1.3.3 demands.
    ///
    /// # Errors
    /// Truncated, longer, or of other algorithms.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new("NL_AUTH_SHA2_SIGNATURE", bytes);
        let start = reader;
        if reader.array::<8>()? != &Self::HEADER {
            return Err(start.error(ErrorKind::Magic { what: "algorithms (HMAC-SHA256, AES-128)" }));
        }
        let signature =
            Self { sequence_number: *reader.array()?, checksum: *reader.array()?, confounder: *reader.array()? };
        reader.array::<24>()?;
        reader.finish()?;
        Ok(signature)
    }
}

/// `MessageType`.
const NEGOTIATE: u32 = 0;
const RESPONSE: u32 = 1;
/// `Flags`: the NetBIOS names of domain and computer are there, in the OEM character set.
const DOMAIN: u32 = 1;
const COMPUTER: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_and_are_refused_when_cut() {
        let message = NlAuthMessage::Negotiate { domain: "CORP", computer: "WEB" };
        let mut out = Vec::new();
        message.write(&mut out);
        assert_eq!(out, b"\0\0\0\0\x03\0\0\0CORP\0WEB\0");
        assert_eq!(NlAuthMessage::parse(&out), Ok(message));
        for cut in 0..out.len() {
            assert!(NlAuthMessage::parse(&out[..cut]).is_err(), "cut at {cut}");
        }
        let mut answer = Vec::new();
        NlAuthMessage::Response.write(&mut answer);
        assert_eq!(NlAuthMessage::parse(&answer), Ok(NlAuthMessage::Response));
        for (at, value) in [(0, 2), (4, 1), (8, 0xff)] {
            let mut bad = out.clone();
            bad[at] = value;
            assert!(NlAuthMessage::parse(&bad).is_err(), "byte {at}");
        }
    }

    #[test]
    fn signatures_survive_and_other_algorithms_are_refused() {
        let signature = NlAuthSha2Signature { sequence_number: [1; 8], checksum: [2; 8], confounder: [3; 8] };
        let bytes = signature.write();
        assert_eq!(NlAuthSha2Signature::parse(&bytes), Ok(signature));
        for cut in 0..bytes.len() {
            assert!(NlAuthSha2Signature::parse(&bytes[..cut]).is_err());
        }
        assert!(NlAuthSha2Signature::parse(&[&bytes[..], &[0]].concat()).is_err());
        // 0x77 is HMAC-MD5, 0x7a RC4, 0xffff not sealed at all.
        for (at, value) in [(0, 0x77), (2, 0x7a), (2, 0xff), (4, 0), (6, 1)] {
            let mut bad = bytes;
            bad[at] = value;
            assert!(NlAuthSha2Signature::parse(&bad).is_err(), "byte {at}");
        }
    }
}
