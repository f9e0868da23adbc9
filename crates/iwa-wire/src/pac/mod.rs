//! PAC: what the KDC says of its client beyond the name. MS-PAC 2.3, 2.4 (`PACTYPE`, `PAC_INFO_BUFFER`).
//!
//! | type | buffer | file |
//! |---|---|---|
//! | 1 | `KERB_VALIDATION_INFO` | [`logon_info`] |
//! | 6, 7, 16, 19 | `PAC_SIGNATURE_DATA` | [`signature`] |
//! | 10 | `PAC_CLIENT_INFO` | [`client_info`] |
//! | 11 | `S4U_DELEGATION_INFO` | [`delegation`] |
//! | 12 | `UPN_DNS_INFO` | [`upn_dns_info`] |
//! | 17, 18 | `PAC_ATTRIBUTES_INFO`, `PAC_REQUESTOR` | [`requestor`] |
//!
//! Credentials, claims and device information are named and kept as bytes, as are buffers without a name.

pub mod client_info;
pub mod delegation;
pub mod logon_info;
pub mod requestor;
pub mod signature;
pub mod upn_dns_info;

pub use client_info::ClientInfo;
pub use delegation::DelegationInfo;
pub use logon_info::{LogonInfo, Membership};
pub use requestor::{Attributes, Requestor};
pub use signature::Signature;
pub use upn_dns_info::UpnDnsInfo;

use crate::error::{ErrorKind, ParseError};
use crate::explain::{Explain, Node, hex};
use crate::reader::Reader;

/// What a buffer holds (`ulType`). MS-PAC 2.4.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BufferType(pub u32);

macro_rules! buffer_types {
    ($($name:ident = $number:literal, $words:literal;)*) => {
        impl BufferType {
            $(
                #[doc = $words]
                pub const $name: Self = Self($number);
            )*

            /// The name of the structure or buffer, if the number has one.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some($words),)*
                    _ => None,
                }
            }
        }
    };
}

buffer_types! {
    LOGON_INFO = 1, "KERB_VALIDATION_INFO";
    CREDENTIALS = 2, "PAC_CREDENTIAL_INFO";
    SERVER_SIGNATURE = 6, "server signature";
    KDC_SIGNATURE = 7, "KDC signature";
    CLIENT_INFO = 10, "PAC_CLIENT_INFO";
    DELEGATION_INFO = 11, "S4U_DELEGATION_INFO";
    UPN_DNS_INFO = 12, "UPN_DNS_INFO";
    CLIENT_CLAIMS = 13, "PAC_CLIENT_CLAIMS_INFO";
    DEVICE_INFO = 14, "PAC_DEVICE_INFO";
    DEVICE_CLAIMS = 15, "PAC_DEVICE_CLAIMS_INFO";
    TICKET_SIGNATURE = 16, "ticket signature";
    ATTRIBUTES = 17, "PAC_ATTRIBUTES_INFO";
    REQUESTOR = 18, "PAC_REQUESTOR";
    FULL_SIGNATURE = 19, "extended KDC signature";
    REQUESTOR_GUID = 20, "PAC_REQUESTOR_GUID";
}

/// A PAC whose table was checked: every buffer lies inside, aligned, and none covers another or the table.
#[derive(Clone, Copy, Debug)]
pub struct Pac<'a> {
    bytes: &'a [u8],
    table: &'a [u8],
    offset: usize,
}

/// One buffer of a PAC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Buffer<'a> {
    /// What it holds.
    pub kind: BufferType,
    /// Its bytes.
    pub data: &'a [u8],
    /// Where they begin in the PAC itself.
    pub at: usize,
    /// Where they begin in the outermost input.
    pub offset: usize,
}

impl<'a> Pac<'a> {
    /// The most buffers a PAC may have. Windows knows 15 types.
    pub const MAX_BUFFERS: usize = 64;

    /// Reads the table of `bytes`, which begin at `offset` in the outermost input.
    ///
    /// # Errors
    /// Another version, too many buffers, or one that is misaligned, lies outside, or covers another.
    pub fn parse(bytes: &'a [u8], offset: usize) -> Result<Self, ParseError> {
        let mut reader = Reader::at("PACTYPE", bytes, offset);
        let head = reader;
        let count = reader.u32_le()? as usize;
        if reader.u32_le()? != 0 {
            return Err(head.error(ErrorKind::Magic { what: "Version" }));
        }
        if count > Self::MAX_BUFFERS {
            return Err(head.error(ErrorKind::Limit { what: "cBuffers", limit: Self::MAX_BUFFERS }));
        }
        let at = reader;
        let table = reader.take(count * ENTRY)?;
        let pac = Self { bytes, table, offset };
        let first = HEADER + table.len();
        let mut end = first;
        for (index, entry) in pac.entries().enumerate() {
            let wrong = |kind| ParseError { format: "PAC_INFO_BUFFER", offset: at.offset() + index * ENTRY, kind };
            let (from, to) = entry.range().ok_or_else(|| wrong(ErrorKind::Value { what: "Offset" }))?;
            if from % 8 != 0 {
                return Err(wrong(ErrorKind::Value { what: "Offset (a multiple of 8)" }));
            }
            if from < first {
                return Err(wrong(ErrorKind::Value { what: "Offset (it lies in the table)" }));
            }
            if to > bytes.len() {
                return Err(wrong(ErrorKind::Truncated { needed: to, available: bytes.len() }));
            }
            let covers = |other: Entry| other.range().is_some_and(|(start, stop)| from < stop && start < to);
            if pac.entries().take(index).any(covers) {
                return Err(wrong(ErrorKind::Value { what: "Offset (it covers another buffer)" }));
            }
            end = end.max(to);
        }
        match bytes.len() - end {
            0..8 => Ok(pac),
            count => Err(ParseError { format: "PACTYPE", offset: offset + end, kind: ErrorKind::Trailing { count } }),
        }
    }

    /// All of it, as it was given.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The buffers as they stand in the table.
    pub fn buffers(&self) -> impl Iterator<Item = Buffer<'a>> + use<'a> {
        let Self { bytes, offset, .. } = *self;
        self.entries().filter_map(move |entry| {
            let (from, to) = entry.range()?;
            Some(Buffer { kind: BufferType(entry.kind), data: bytes.get(from..to)?, at: from, offset: offset + from })
        })
    }

    /// The one buffer of this type.
    ///
    /// # Errors
    /// [`ErrorKind::Duplicate`] if there are several: whoever reads the one and whoever reads the other would disagree.
    pub fn buffer(&self, kind: BufferType) -> Result<Option<Buffer<'a>>, ParseError> {
        let mut found = self.buffers().filter(|buffer| buffer.kind == kind);
        let first = found.next();
        match found.next() {
            None => Ok(first),
            Some(second) => Err(ParseError {
                format: "PACTYPE",
                offset: second.offset,
                kind: ErrorKind::Duplicate { what: kind.name().unwrap_or("buffer") },
            }),
        }
    }

    /// The buffer of this type with its contents read by `parse`.
    ///
    /// # Errors
    /// As [`Pac::buffer`] and `parse`.
    pub fn read<T>(
        &self,
        kind: BufferType,
        parse: impl FnOnce(&'a [u8], usize) -> Result<T, ParseError>,
    ) -> Result<Option<T>, ParseError> {
        self.buffer(kind)?.map(|buffer| parse(buffer.data, buffer.offset)).transpose()
    }

    fn entries(&self) -> impl Iterator<Item = Entry> + use<'a> {
        self.table.chunks_exact(ENTRY).filter_map(|bytes| Entry::read(&mut Reader::new("PAC_INFO_BUFFER", bytes)).ok())
    }
}

#[derive(Clone, Copy)]
struct Entry {
    kind: u32,
    size: u32,
    offset: u64,
}

impl Entry {
    fn read(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        Ok(Self { kind: reader.u32_le()?, size: reader.u32_le()?, offset: reader.u64_le()? })
    }

    /// From where to where, if that can be said in a `usize` at all.
    fn range(self) -> Option<(usize, usize)> {
        let from = usize::try_from(self.offset).ok()?;
        Some((from, from.checked_add(self.size as usize)?))
    }
}

/// Puts a PAC together: table, then each buffer at a multiple of eight bytes, in the order given.
#[must_use]
pub fn write(buffers: &[(BufferType, Vec<u8>)]) -> Vec<u8> {
    let mut at = HEADER + buffers.len() * ENTRY;
    let mut out = Vec::with_capacity(at + buffers.iter().map(|(_, data)| data.len() + 8).sum::<usize>());
    out.extend_from_slice(&(buffers.len() as u32).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    for (kind, data) in buffers {
        out.extend_from_slice(&kind.0.to_le_bytes());
        out.extend_from_slice(&(data.len() as u32).to_le_bytes());
        out.extend_from_slice(&(at as u64).to_le_bytes());
        at += data.len().next_multiple_of(8);
    }
    for (_, data) in buffers {
        out.extend_from_slice(data);
        out.resize(out.len().next_multiple_of(8), 0);
    }
    out
}

impl Explain for Pac<'_> {
    fn explain(bytes: &[u8], offset: usize) -> Node {
        let mut node = Node::branch("PACTYPE", offset..offset + bytes.len(), "MS-PAC 2.3");
        node.error = Pac::parse(bytes, offset).err();
        let mut reader = Reader::at("PACTYPE", bytes, offset);
        let (Ok(count), Ok(_)) = (reader.u32_le(), reader.u32_le()) else { return node };
        node.children.push(Node::leaf("cBuffers", count.to_string(), offset..offset + 4));
        for _ in 0..(count as usize).min(Self::MAX_BUFFERS) {
            let at = reader.offset();
            let Ok(entry) = Entry::read(&mut reader) else { break };
            let kind = BufferType(entry.kind);
            let Some(data) = entry.range().and_then(|(from, to)| bytes.get(from..to.min(bytes.len()))) else {
                let text = format!("{} bytes at {}", entry.size, entry.offset);
                node.children.push(Node::leaf(kind.name().unwrap_or("buffer"), text, at..reader.offset()));
                continue;
            };
            node.children.push(explain_buffer(kind, data, offset + entry.offset as usize));
        }
        node
    }
}

/// Explains the contents of a buffer of type `kind`.
#[must_use]
pub fn explain_buffer(kind: BufferType, data: &[u8], offset: usize) -> Node {
    match kind {
        BufferType::LOGON_INFO => LogonInfo::explain(data, offset),
        BufferType::CLIENT_INFO => ClientInfo::explain(data, offset),
        BufferType::DELEGATION_INFO => DelegationInfo::explain(data, offset),
        BufferType::UPN_DNS_INFO => UpnDnsInfo::explain(data, offset),
        BufferType::ATTRIBUTES => Attributes::explain(data, offset),
        BufferType::REQUESTOR => Requestor::explain(data, offset),
        BufferType::SERVER_SIGNATURE
        | BufferType::KDC_SIGNATURE
        | BufferType::TICKET_SIGNATURE
        | BufferType::FULL_SIGNATURE => signature::explain_as(kind.name().unwrap_or("signature"), data, offset),
        _ => {
            let range = offset..offset + data.len();
            match kind.name() {
                Some(name) => Node::leaf(name, hex(data), range),
                None => Node::leaf(format!("buffer of type {}", kind.0), hex(data), range)
                    .noted("MS-PAC 2.4 gives this type no name"),
            }
        }
    }
}

/// A `FILETIME` (100 ns since 1601) in words. MS-PAC uses all ones without the sign for "never".
pub(crate) fn filetime(value: u64) -> String {
    match value {
        0 => "0 (not set)".to_owned(),
        0x7fff_ffff_ffff_ffff.. => "never".to_owned(),
        _ => crate::krb5::KerberosTime((value / 10_000_000) as i64 - 11_644_473_600).to_string(),
    }
}

/// `cBuffers` and `Version`.
const HEADER: usize = 8;
/// `PAC_INFO_BUFFER`.
const ENTRY: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Vec<u8> {
        write(&[(BufferType::REQUESTOR, vec![1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0]), (BufferType(99), vec![7; 3])])
    }

    fn kind(bytes: &[u8]) -> ErrorKind {
        Pac::parse(bytes, 0).map(|_| ()).unwrap_err().kind
    }

    #[test]
    fn what_is_written_is_read_and_unknown_buffers_are_kept() {
        let bytes = two();
        let pac = Pac::parse(&bytes, 100).unwrap();
        let kinds: Vec<_> = pac.buffers().map(|b| (b.kind.0, b.data.len(), b.at, b.offset)).collect();
        assert_eq!(kinds, [(18, 12, 40, 140), (99, 3, 56, 156)]);
        assert_eq!(pac.buffer(BufferType(99)).unwrap().unwrap().data, [7; 3]);
        assert_eq!(pac.buffer(BufferType::LOGON_INFO), Ok(None));
        assert_eq!(Pac::explain(&bytes, 0).first_error(), None);
    }

    #[test]
    fn count_times_size_does_not_overflow() {
        // CVE-2022-42898: 0x1000_0000 entries of 16 bytes are 2^32.
        for count in [0x1000_0000u32, 0x1000_0001, u32::MAX, 65] {
            let mut bytes = two();
            bytes[..4].copy_from_slice(&count.to_le_bytes());
            assert_eq!(kind(&bytes), ErrorKind::Limit { what: "cBuffers", limit: 64 });
        }
        let mut bytes = two();
        bytes[..4].copy_from_slice(&40u32.to_le_bytes());
        assert!(matches!(kind(&bytes), ErrorKind::Truncated { .. }));
    }

    #[test]
    fn offset_plus_size_does_not_overflow() {
        for (size, offset) in [(u32::MAX, 40u64), (12, u64::MAX - 7), (u32::MAX, u64::MAX - 7), (0, 64 + 8), (12, 56)] {
            let mut bytes = two();
            bytes[12..16].copy_from_slice(&size.to_le_bytes());
            bytes[16..24].copy_from_slice(&offset.to_le_bytes());
            assert!(Pac::parse(&bytes, 0).is_err(), "{size} at {offset}");
            let _ = Pac::explain(&bytes, 0);
        }
    }

    #[test]
    fn a_buffer_misaligned_in_the_table_or_over_another_is_refused() {
        for (offset, what) in [
            (41u64, "Offset (a multiple of 8)"),
            (32, "Offset (it lies in the table)"),
            (56, "Offset (it covers another buffer)"),
        ] {
            let mut bytes = two();
            // The second entry says where the first buffer goes, so that the first is the one that is covered.
            bytes[12..16].copy_from_slice(&3u32.to_le_bytes());
            bytes[16..24].copy_from_slice(&offset.to_le_bytes());
            assert_eq!(kind(&bytes), ErrorKind::Value { what });
        }
    }

    #[test]
    fn an_empty_buffer_may_stand_anywhere() {
        // Windows gives empty claims the offset of the buffer that follows.
        let bytes = write(&[(BufferType::CLIENT_CLAIMS, vec![]), (BufferType(99), vec![7; 3])]);
        assert_eq!(Pac::parse(&bytes, 0).unwrap().buffers().count(), 2);
    }

    #[test]
    fn trailing_bytes_and_another_version_are_refused() {
        let mut bytes = two();
        bytes.extend_from_slice(&[0; 3]);
        assert_eq!(kind(&bytes), ErrorKind::Trailing { count: 8 });
        let mut bytes = two();
        bytes[4] = 1;
        assert_eq!(kind(&bytes), ErrorKind::Magic { what: "Version" });
    }

    #[test]
    fn two_buffers_of_a_type_are_detected() {
        let bytes = write(&[(BufferType::CLIENT_INFO, vec![0; 8]), (BufferType::CLIENT_INFO, vec![0; 8])]);
        let pac = Pac::parse(&bytes, 0).unwrap();
        assert_eq!(
            pac.buffer(BufferType::CLIENT_INFO).unwrap_err().kind,
            ErrorKind::Duplicate { what: "PAC_CLIENT_INFO" }
        );
    }

    #[test]
    fn cut_anywhere_it_is_refused_and_still_explained() {
        let bytes = two();
        for cut in 0..bytes.len() - 5 {
            assert!(Pac::parse(&bytes[..cut], 0).is_err(), "cut at {cut}");
            assert!(Pac::explain(&bytes[..cut], 0).first_error().is_some(), "cut at {cut}");
        }
    }
}
