//! AV_PAIR: what the server says of itself and the client of its response. MS-NLMP 2.2.2.1.

use core::fmt;

use super::{Text, filetime, number};
use crate::error::{ErrorKind, ParseError};
use crate::explain::{Explain, Node, hex, printable};
use crate::reader::Reader;

/// `AvId`: what a pair says. Numbers without a name here are kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AvId(pub u16);

impl AvId {
    /// `MsvAvEOL`: the end of the list.
    pub const EOL: Self = Self(0);
    /// `MsvAvNbComputerName`: the server's NetBIOS name.
    pub const NB_COMPUTER_NAME: Self = Self(1);
    /// `MsvAvNbDomainName`: its NetBIOS domain.
    pub const NB_DOMAIN_NAME: Self = Self(2);
    /// `MsvAvDnsComputerName`: its DNS name.
    pub const DNS_COMPUTER_NAME: Self = Self(3);
    /// `MsvAvDnsDomainName`: its DNS domain.
    pub const DNS_DOMAIN_NAME: Self = Self(4);
    /// `MsvAvDnsTreeName`: the DNS name of its forest.
    pub const DNS_TREE_NAME: Self = Self(5);
    /// `MsvAvFlags`: see [`AvFlags`].
    pub const FLAGS: Self = Self(6);
    /// `MsvAvTimestamp`: the server's time as a FILETIME.
    pub const TIMESTAMP: Self = Self(7);
    /// `MsvAvSingleHost`: a machine identifier and integrity level, for local calls.
    pub const SINGLE_HOST: Self = Self(8);
    /// `MsvAvTargetName`: the SPN that the client means.
    pub const TARGET_NAME: Self = Self(9);
    /// `MsvAvChannelBindings`: MD5 of the `gss_channel_bindings_struct`, or zeros.
    pub const CHANNEL_BINDINGS: Self = Self(10);

    /// The name in MS-NLMP.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::EOL => "MsvAvEOL",
            Self::NB_COMPUTER_NAME => "MsvAvNbComputerName",
            Self::NB_DOMAIN_NAME => "MsvAvNbDomainName",
            Self::DNS_COMPUTER_NAME => "MsvAvDnsComputerName",
            Self::DNS_DOMAIN_NAME => "MsvAvDnsDomainName",
            Self::DNS_TREE_NAME => "MsvAvDnsTreeName",
            Self::FLAGS => "MsvAvFlags",
            Self::TIMESTAMP => "MsvAvTimestamp",
            Self::SINGLE_HOST => "MsvAvSingleHost",
            Self::TARGET_NAME => "MsvAvTargetName",
            Self::CHANNEL_BINDINGS => "MsvAvChannelBindings",
            _ => return None,
        })
    }

    const fn is_text(self) -> bool {
        matches!(self.0, 1..=5 | 9)
    }

    /// The length that the value must have, where it is fixed.
    const fn fixed_length(self) -> Option<usize> {
        match self {
            Self::EOL => Some(0),
            Self::FLAGS => Some(4),
            Self::TIMESTAMP => Some(8),
            Self::CHANNEL_BINDINGS => Some(16),
            _ => None,
        }
    }
}

impl fmt::Debug for AvId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "AvId({})", self.0),
        }
    }
}

/// The bits of `MsvAvFlags`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct AvFlags(pub u32);

impl AvFlags {
    /// The account authentication is constrained.
    pub const CONSTRAINED: Self = Self(1);
    /// AUTHENTICATE carries a MIC.
    pub const MIC: Self = Self(2);
    /// The client took the target name from an untrusted source.
    pub const UNTRUSTED_SPN_SOURCE: Self = Self(4);

    /// Whether these bits are set.
    #[must_use]
    pub const fn has(self, bits: Self) -> bool {
        self.0 & bits.0 == bits.0
    }

    fn words(self) -> String {
        let names = [(1, "CONSTRAINED"), (2, "MIC"), (4, "UNTRUSTED_SPN_SOURCE")];
        let named = names.iter().filter(|(bit, _)| self.0 & bit != 0).map(|(_, name)| format!(" {name}"));
        format!("0x{:08x}{}", self.0, named.collect::<String>())
    }
}

/// One pair.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AvPair<'a> {
    /// What it says.
    pub id: AvId,
    /// The bytes of the value.
    pub value: &'a [u8],
}

/// A list of pairs that was checked once: it ends with `MsvAvEOL`, no pair with a name stands twice, and the values have the
/// lengths that MS-NLMP gives them. What follows `MsvAvEOL` (Windows puts zeros there) is not part of it.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct AvPairs<'a> {
    bytes: &'a [u8],
}

impl<'a> AvPairs<'a> {
    /// Reads a list that begins at `offset` of the outermost input.
    ///
    /// # Errors
    /// A pair runs past the end, `MsvAvEOL` is missing, a pair with a name stands twice, or a value has a wrong length.
    pub fn parse(bytes: &'a [u8], offset: usize) -> Result<Self, ParseError> {
        let mut reader = Reader::at(FORMAT, bytes, offset);
        let mut seen = 0u32;
        loop {
            if reader.is_empty() {
                return Err(reader.error(ErrorKind::Missing { what: "MsvAvEOL" }));
            }
            let at = reader;
            let pair = AvPair::read(&mut reader)?;
            if pair.id == AvId::EOL {
                let length = bytes.len() - reader.len();
                return Ok(Self { bytes: bytes.get(..length).unwrap_or_default() });
            }
            if let (Some(what), Some(bit)) = (pair.id.name(), 1u32.checked_shl(u32::from(pair.id.0))) {
                if seen & bit != 0 {
                    return Err(at.error(ErrorKind::Duplicate { what }));
                }
                seen |= bit;
            }
        }
    }

    /// The bytes, `MsvAvEOL` included; empty if there is no list.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether there is no list, not even an empty one.
    #[must_use]
    pub const fn is_absent(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The pairs in their order, without `MsvAvEOL`.
    pub fn iter(&self) -> impl Iterator<Item = AvPair<'a>> + use<'a> {
        let mut reader = Reader::new(FORMAT, self.bytes);
        core::iter::from_fn(move || AvPair::read(&mut reader).ok().filter(|pair| pair.id != AvId::EOL))
    }

    /// The value of a pair.
    #[must_use]
    pub fn find(&self, id: AvId) -> Option<&'a [u8]> {
        self.iter().find(|pair| pair.id == id).map(|pair| pair.value)
    }

    /// The text of a pair, whose encoding is always UTF-16LE.
    #[must_use]
    pub fn text(&self, id: AvId) -> Option<Text<'a>> {
        self.find(id).map(Text::unicode)
    }

    /// `MsvAvFlags`; none set if there is no such pair.
    #[must_use]
    pub fn flags(&self) -> AvFlags {
        let word = self.find(AvId::FLAGS).and_then(<[u8]>::first_chunk::<4>);
        AvFlags(word.map_or(0, |word| u32::from_le_bytes(*word)))
    }

    /// `MsvAvTimestamp`: a FILETIME.
    #[must_use]
    pub fn timestamp(&self) -> Option<u64> {
        self.find(AvId::TIMESTAMP)?.first_chunk::<8>().map(|ticks| u64::from_le_bytes(*ticks))
    }

    /// `MsvAvChannelBindings`. Sixteen zeros say that the client knows of no channel.
    #[must_use]
    pub fn channel_bindings(&self) -> Option<&'a [u8; 16]> {
        self.find(AvId::CHANNEL_BINDINGS)?.first_chunk::<16>()
    }

    /// Appends a pair to a list that has no end yet. `false`, and nothing is written, if the value exceeds 65535 bytes.
    #[must_use]
    pub fn push(out: &mut Vec<u8>, id: AvId, value: &[u8]) -> bool {
        let Ok(length) = u16::try_from(value.len()) else { return false };
        out.extend_from_slice(&id.0.to_le_bytes());
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(value);
        true
    }

    /// Ends a list with `MsvAvEOL`.
    pub fn end(out: &mut Vec<u8>) {
        out.extend_from_slice(&[0; 4]);
    }
}

impl fmt::Debug for AvPairs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|pair| pair.id)).finish()
    }
}

impl<'a> AvPair<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, ParseError> {
        let start = *reader;
        let id = AvId(reader.u16_le()?);
        let length = usize::from(reader.u16_le()?);
        let pair = Self { id, value: reader.take(length)? };
        let wrong = match id.fixed_length() {
            Some(fixed) => length != fixed,
            None => id.is_text() && length % 2 != 0,
        };
        if wrong {
            return Err(start.error(ErrorKind::Value { what: id.name().unwrap_or("AvLen") }));
        }
        Ok(pair)
    }

    fn explain(self, range: core::ops::Range<usize>) -> Node {
        let name = self.id.name().map_or_else(|| format!("AvId {}", self.id.0), str::to_owned);
        let raw = self.value;
        let value = match self.id {
            AvId::FLAGS => AvFlags(number(raw) as u32).words(),
            AvId::TIMESTAMP => filetime(number(raw)),
            AvId::CHANNEL_BINDINGS if raw.iter().all(|byte| *byte == 0) => format!("{} (none)", hex(raw)),
            id if id.is_text() => printable(&Text::unicode(raw).decode()),
            _ => hex(raw),
        };
        let node = Node::leaf(name, value, range);
        match self.id {
            AvId::FLAGS if AvFlags(number(raw) as u32).has(AvFlags::MIC) => node.noted("AUTHENTICATE must carry a MIC"),
            id if id.name().is_none() => node.noted("a pair that MS-NLMP does not name"),
            _ => node,
        }
    }
}

impl Explain for AvPairs<'_> {
    fn explain(bytes: &[u8], offset: usize) -> Node {
        let mut node = Node::branch("AV_PAIR list", offset..offset + bytes.len(), "MS-NLMP 2.2.2.1");
        let mut reader = Reader::at(FORMAT, bytes, offset);
        while !reader.is_empty() {
            let start = reader.offset();
            match AvPair::read(&mut reader) {
                Ok(pair) => {
                    node.children.push(pair.explain(start..reader.offset()));
                    if pair.id == AvId::EOL {
                        break;
                    }
                }
                Err(error) => {
                    let rest = reader.rest();
                    node.children.push(Node::leaf("?", hex(rest), start..start + rest.len()).broken(error));
                    return node;
                }
            }
        }
        if !reader.is_empty() {
            let start = reader.offset();
            let rest = reader.rest();
            let words = if rest.iter().all(|byte| *byte == 0) { "zeros, as Windows sends them" } else { "not read" };
            node.children.push(Node::leaf("after MsvAvEOL", hex(rest), start..start + rest.len()).noted(words));
        }
        node.error = AvPairs::parse(bytes, offset).err();
        node
    }
}

const FORMAT: &str = "AV_PAIR";
