//! `PAC_REQUESTOR` and `PAC_ATTRIBUTES_INFO`: who asked for the TGT, and whether for a PAC. MS-PAC 2.14, 2.15.

use crate::error::ParseError;
use crate::explain::{Explain, Node};
use crate::reader::Reader;
use crate::sid::Sid;

/// The account that asked for the TGT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Requestor(pub Sid);

impl Requestor {
    /// Reads the buffer.
    ///
    /// # Errors
    /// As [`Sid::read`]; trailing bytes.
    pub fn parse(bytes: &[u8], offset: usize) -> Result<Self, ParseError> {
        let mut reader = Reader::at("PAC_REQUESTOR", bytes, offset);
        let sid = Sid::read(&mut reader)?;
        reader.finish()?;
        Ok(Self(sid))
    }

    /// Appends the buffer.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
    }
}

impl Explain for Requestor {
    fn explain(bytes: &[u8], offset: usize) -> Node {
        let range = offset..offset + bytes.len();
        let mut node = Node::branch("PAC_REQUESTOR", range.clone(), "MS-PAC 2.15");
        match Self::parse(bytes, offset) {
            Ok(Self(sid)) => node.children.push(Node::leaf("UserSid", sid.to_string(), range)),
            Err(error) => node.error = Some(error),
        }
        node
    }
}

/// Whether the client asked for a PAC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attributes(pub u32);

impl Attributes {
    /// The client asked for it.
    pub const PAC_WAS_REQUESTED: u32 = 1;
    /// The client did not say, and got one.
    pub const PAC_WAS_GIVEN_IMPLICITLY: u32 = 2;

    /// Reads the buffer: `FlagsLength` in bits, then as many words of 32; only the first has meanings.
    ///
    /// # Errors
    /// Truncated or trailing bytes.
    pub fn parse(bytes: &[u8], offset: usize) -> Result<Self, ParseError> {
        let mut reader = Reader::at("PAC_ATTRIBUTES_INFO", bytes, offset);
        let bits = reader.u32_le()?;
        let mut words = reader.sub("PAC_ATTRIBUTES_INFO", bits.div_ceil(32) as usize * 4)?;
        reader.finish()?;
        Ok(Self(if words.is_empty() { 0 } else { words.u32_le()? }))
    }

    /// Appends the buffer.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&2u32.to_le_bytes());
        out.extend_from_slice(&self.0.to_le_bytes());
    }
}

impl Explain for Attributes {
    fn explain(bytes: &[u8], offset: usize) -> Node {
        let range = offset..offset + bytes.len();
        let mut node = Node::branch("PAC_ATTRIBUTES_INFO", range.clone(), "MS-PAC 2.14");
        match Self::parse(bytes, offset) {
            Ok(Self(flags)) => {
                let words = [(1, "PAC_WAS_REQUESTED"), (2, "PAC_WAS_GIVEN_IMPLICITLY")];
                let names: Vec<_> = words.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name).collect();
                node.children.push(Node::leaf("Flags", format!("0x{flags:08x} {}", names.join(" ")).trim_end(), range));
            }
            Err(error) => node.error = Some(error),
        }
        node
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_requestor_is_one_sid_and_nothing_more() {
        let mut bytes = Vec::new();
        Requestor("S-1-5-21-1-2-3-1000".parse().unwrap()).write(&mut bytes);
        assert_eq!(Requestor::parse(&bytes, 0).unwrap().0.rid(), Some(1000));
        for cut in 0..bytes.len() {
            assert!(Requestor::parse(&bytes[..cut], 0).is_err());
        }
        bytes.push(0);
        assert!(Requestor::parse(&bytes, 0).is_err());
    }

    #[test]
    fn attributes_count_their_bits() {
        let mut bytes = Vec::new();
        Attributes(Attributes::PAC_WAS_REQUESTED).write(&mut bytes);
        assert_eq!(bytes, [2, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(Attributes::parse(&bytes, 0), Ok(Attributes(1)));
        assert_eq!(Attributes::parse(&[0; 4], 0), Ok(Attributes(0)));
        assert!(Attributes::parse(&[33, 0, 0, 0, 1, 0, 0, 0], 0).is_err());
        assert!(Attributes::parse(&[0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0], 0).is_err());
        assert!(Attributes::parse(&[2, 0, 0, 0, 1, 0, 0, 0, 0], 0).is_err());
    }
}
