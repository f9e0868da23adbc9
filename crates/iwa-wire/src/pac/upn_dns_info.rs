//! `UPN_DNS_INFO`: the client's UPN and DNS domain; in its extended form the account name and SID too. MS-PAC 2.10.

use crate::error::{ErrorKind, ParseError};
use crate::explain::{Explain, Node, printable};
use crate::reader::Reader;
use crate::sid::Sid;
use crate::utf16::Utf16;

/// The client's other names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UpnDnsInfo<'a> {
    /// The user principal name.
    pub upn: Utf16<'a>,
    /// The DNS name of the client's domain, in capitals as Windows writes it.
    pub dns_domain: Utf16<'a>,
    /// Of [`UpnDnsInfo::UPN_CONSTRUCTED`] and [`UpnDnsInfo::EXTENDED`].
    pub flags: u32,
    /// `SamName` and `Sid`, which the extended form has.
    pub extended: Option<(Utf16<'a>, Sid)>,
}

impl<'a> UpnDnsInfo<'a> {
    /// The account has no UPN of its own: it was made of its name and its domain.
    pub const UPN_CONSTRUCTED: u32 = 1;
    /// `SamName` and `Sid` follow.
    pub const EXTENDED: u32 = 2;

    /// Reads the buffer.
    ///
    /// # Errors
    /// Truncated; a text or SID that lies outside or in the fixed part.
    pub fn parse(bytes: &'a [u8], offset: usize) -> Result<Self, ParseError> {
        let mut reader = Reader::at(FORMAT, bytes, offset);
        let upn = Place::read(&mut reader)?;
        let dns_domain = Place::read(&mut reader)?;
        let flags = reader.u32_le()?;
        let extended = if flags & Self::EXTENDED != 0 {
            Some((Place::read(&mut reader)?, Place::read(&mut reader)?))
        } else {
            None
        };
        let fixed = bytes.len() - reader.len();
        let extended = match extended {
            Some((name, sid)) => {
                let at = offset + usize::from(sid.offset);
                let mut sid = Reader::at(FORMAT, sid.find(bytes, fixed, offset)?, at);
                let value = Sid::read(&mut sid)?;
                sid.finish()?;
                Some((name.text(bytes, fixed, offset)?, value))
            }
            None => None,
        };
        Ok(Self {
            upn: upn.text(bytes, fixed, offset)?,
            dns_domain: dns_domain.text(bytes, fixed, offset)?,
            flags,
            extended,
        })
    }

    /// Appends the extended form. The texts together are at most 30,000 units long.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] if they are longer.
    pub fn write(
        upn: &str,
        dns_domain: &str,
        flags: u32,
        sam_name: &str,
        sid: &Sid,
        out: &mut Vec<u8>,
    ) -> Result<(), ParseError> {
        let mut sid_bytes = Vec::new();
        sid.write(&mut sid_bytes);
        let parts: [Vec<u8>; 4] = [upn, dns_domain, sam_name]
            .map(encoded)
            .into_iter()
            .chain([sid_bytes])
            .collect::<Vec<_>>()
            .try_into()
            .unwrap_or_default();
        let total: usize = parts.iter().map(|part| part.len().next_multiple_of(8)).sum();
        if total > 60_000 {
            return Err(ParseError {
                format: FORMAT,
                offset: 0,
                kind: ErrorKind::Limit { what: "names", limit: 60_000 },
            });
        }
        let mut body = Vec::with_capacity(total);
        let mut head = Vec::with_capacity(EXTENDED_HEADER);
        for (index, part) in parts.iter().enumerate() {
            if index == 2 {
                head.extend_from_slice(&(flags | Self::EXTENDED).to_le_bytes());
            }
            head.extend_from_slice(&(part.len() as u16).to_le_bytes());
            head.extend_from_slice(&((EXTENDED_HEADER + body.len()) as u16).to_le_bytes());
            body.extend_from_slice(part);
            body.resize(body.len().next_multiple_of(8), 0);
        }
        head.resize(EXTENDED_HEADER, 0);
        out.extend_from_slice(&head);
        out.extend_from_slice(&body);
        Ok(())
    }
}

fn encoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    Utf16::write(text, &mut bytes);
    bytes
}

/// A length and an offset from the start of the buffer, both in bytes.
#[derive(Clone, Copy)]
struct Place {
    length: u16,
    offset: u16,
}

impl Place {
    fn read(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        Ok(Self { length: reader.u16_le()?, offset: reader.u16_le()? })
    }

    fn find(self, bytes: &[u8], fixed: usize, offset: usize) -> Result<&[u8], ParseError> {
        let (from, length) = (usize::from(self.offset), usize::from(self.length));
        if length == 0 {
            return Ok(&[]);
        }
        let error = |kind| ParseError { format: FORMAT, offset: offset + from, kind };
        if from < fixed {
            return Err(error(ErrorKind::Value { what: "offset (it lies in the fixed part)" }));
        }
        let available = bytes.len().saturating_sub(from);
        bytes.get(from..from + length).ok_or_else(|| error(ErrorKind::Truncated { needed: length, available }))
    }

    fn text(self, bytes: &[u8], fixed: usize, offset: usize) -> Result<Utf16<'_>, ParseError> {
        let kind = ErrorKind::Value { what: "length of a text" };
        let at = offset + usize::from(self.offset);
        Utf16::new(self.find(bytes, fixed, offset)?).ok_or(ParseError { format: FORMAT, offset: at, kind })
    }
}

const FORMAT: &str = "UPN_DNS_INFO";
/// Four places and the flags, filled up to eight bytes.
const EXTENDED_HEADER: usize = 24;

impl Explain for UpnDnsInfo<'_> {
    fn explain(bytes: &[u8], offset: usize) -> Node {
        let mut node = Node::branch(FORMAT, offset..offset + bytes.len(), "MS-PAC 2.10");
        node.error = UpnDnsInfo::parse(bytes, offset).err();
        let mut reader = Reader::at(FORMAT, bytes, offset);
        let text = |name: &'static str, place: Place, node: &mut Node| {
            let from = offset + usize::from(place.offset);
            match place.text(bytes, 0, offset) {
                Ok(text) => {
                    node.children.push(Node::leaf(name, printable(&text.to_string()), from..from + text.bytes().len()))
                }
                Err(error) => node.children.push(Node::leaf(name, "", offset..offset).broken(error)),
            }
        };
        let (Ok(upn), Ok(domain)) = (Place::read(&mut reader), Place::read(&mut reader)) else { return node };
        text("Upn", upn, &mut node);
        text("DnsDomainName", domain, &mut node);
        let at = reader.offset();
        let Ok(flags) = reader.u32_le() else { return node };
        let words = [(1, "U (the UPN is constructed)"), (2, "S (with account name and SID)")];
        let names: Vec<_> = words.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name).collect();
        node.children.push(Node::leaf("Flags", format!("0x{flags:08x} {}", names.join(" ")).trim_end(), at..at + 4));
        if flags & Self::EXTENDED != 0
            && let (Ok(name), Ok(sid)) = (Place::read(&mut reader), Place::read(&mut reader))
        {
            text("SamName", name, &mut node);
            let from = offset + usize::from(sid.offset);
            if let Some(value) =
                sid.find(bytes, 0, offset).ok().and_then(|sid| Sid::read(&mut Reader::at(FORMAT, sid, from)).ok())
            {
                node.children.push(Node::leaf("Sid", value.to_string(), from..from + usize::from(sid.length)));
            }
        }
        node
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let sid = "S-1-5-21-1-2-3-1000".parse().unwrap();
        let mut bytes = Vec::new();
        UpnDnsInfo::write("alice@example.test", "EXAMPLE.TEST", 1, "alice", &sid, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn the_extended_form_is_read_as_written() {
        let bytes = sample();
        let info = UpnDnsInfo::parse(&bytes, 0).unwrap();
        assert!(info.upn.eq_str("alice@example.test") && info.dns_domain.eq_str("EXAMPLE.TEST"));
        assert_eq!(info.flags, 3);
        let (name, sid) = info.extended.unwrap();
        assert!(name.eq_str("alice"));
        assert_eq!(sid.to_string(), "S-1-5-21-1-2-3-1000");
        let node = UpnDnsInfo::explain(&bytes, 0);
        assert_eq!(node.first_error(), None);
        assert_eq!(node.find("Sid").unwrap().value, "S-1-5-21-1-2-3-1000");
    }

    #[test]
    fn places_outside_or_in_the_fixed_part_are_refused() {
        for (at, value) in [(0usize, 0xffffu16), (2, 0xffff), (2, 4), (0, 3), (14, 8), (16, 12), (16, 30), (18, 4)] {
            let mut bytes = sample();
            bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
            assert!(UpnDnsInfo::parse(&bytes, 0).is_err(), "{value} at {at}");
            assert!(UpnDnsInfo::explain(&bytes, 0).first_error().is_some());
        }
    }

    #[test]
    fn names_too_long_for_their_offsets_are_not_written() {
        let sid = "S-1-5-18".parse().unwrap();
        assert!(UpnDnsInfo::write(&"a".repeat(40_000), "X", 0, "a", &sid, &mut Vec::new()).is_err());
    }
}
