//! `PAC_CLIENT_INFO`: the client's name and the time of its authentication, which tie the PAC to its ticket. MS-PAC 2.7.

use crate::error::{ErrorKind, ParseError};
use crate::explain::{Explain, Node, printable};
use crate::reader::Reader;
use crate::utf16::Utf16;

/// The client as the PAC names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClientInfo<'a> {
    /// `ClientId`: the ticket's `authtime` as a `FILETIME` (100 ns since 1601).
    pub client_id: u64,
    /// The principal's components joined by `/`, in some PACs (S4U) followed by `@` and the realm.
    pub name: Utf16<'a>,
}

impl<'a> ClientInfo<'a> {
    /// Reads the buffer.
    ///
    /// # Errors
    /// Truncated, an odd length, or trailing bytes.
    pub fn parse(bytes: &'a [u8], offset: usize) -> Result<Self, ParseError> {
        let mut reader = Reader::at("PAC_CLIENT_INFO", bytes, offset);
        let client_id = reader.u64_le()?;
        let at = reader;
        let length = usize::from(reader.u16_le()?);
        let name = Utf16::new(reader.take(length)?).ok_or_else(|| at.error(ErrorKind::Value { what: "NameLength" }))?;
        reader.finish()?;
        Ok(Self { client_id, name })
    }

    /// Appends the buffer; of `name` at most 32,767 units.
    pub fn write(client_id: u64, name: &str, out: &mut Vec<u8>) {
        let units: Vec<u16> = name.encode_utf16().take(usize::from(u16::MAX / 2)).collect();
        out.extend_from_slice(&client_id.to_le_bytes());
        out.extend_from_slice(&((2 * units.len()) as u16).to_le_bytes());
        out.extend(units.into_iter().flat_map(u16::to_le_bytes));
    }
}

impl Explain for ClientInfo<'_> {
    fn explain(bytes: &[u8], offset: usize) -> Node {
        let mut node = Node::branch("PAC_CLIENT_INFO", offset..offset + bytes.len(), "MS-PAC 2.7");
        node.error = ClientInfo::parse(bytes, offset).err();
        let mut reader = Reader::at("PAC_CLIENT_INFO", bytes, offset);
        let Ok(time) = reader.u64_le() else { return node };
        node.children.push(Node::leaf("ClientId", super::filetime(time), offset..offset + 8));
        if let Ok(length) = reader.u16_le() {
            node.children.push(Node::leaf("NameLength", length.to_string(), offset + 8..offset + 10));
            let even = reader.len() & !1;
            let name = reader.take(even.min(usize::from(length))).ok().and_then(Utf16::new).unwrap_or_default();
            let from = offset + 10;
            let text = printable(&name.to_string());
            node.children.push(Node::leaf("Name", text, from..from + name.bytes().len()));
        }
        node
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_and_time_are_read_as_written() {
        let mut bytes = Vec::new();
        ClientInfo::write(132_223_104_000_000_000, "alice", &mut bytes);
        let info = ClientInfo::parse(&bytes, 0).unwrap();
        assert!(info.name.eq_str("alice"));
        assert_eq!(ClientInfo::explain(&bytes, 0).find("ClientId").unwrap().value, "2020-01-01T00:00:00Z");
        for cut in 0..bytes.len() {
            assert!(ClientInfo::parse(&bytes[..cut], 0).is_err());
            assert!(ClientInfo::explain(&bytes[..cut], 0).first_error().is_some());
        }
        bytes.push(0);
        assert!(ClientInfo::parse(&bytes, 0).is_err(), "a trailing byte");
        bytes[8] = 11;
        assert!(ClientInfo::parse(&bytes, 0).is_err(), "an odd length");
    }
}
