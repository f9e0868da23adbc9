//! SID, a security identifier: who an account or group is, whatever it is called. MS-DTYP 2.4.2.

use core::fmt;

use crate::error::{ErrorKind, ParseError};
use crate::reader::Reader;

/// A security identifier: revision 1, an identifier authority and at most 15 sub-authorities.
///
/// Kept by value, without allocation: identities carry hundreds of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sid {
    authority: u64,
    count: u8,
    sub_authorities: [u32; Self::MAX_SUB_AUTHORITIES],
}

impl Sid {
    /// The most sub-authorities a SID may have.
    pub const MAX_SUB_AUTHORITIES: usize = 15;

    /// A SID from its parts; `None` if there are more than 15 sub-authorities or the authority exceeds 48 bits.
    #[must_use]
    pub fn new(authority: u64, sub_authorities: &[u32]) -> Option<Self> {
        if authority >> 48 != 0 {
            return None;
        }
        let mut kept = [0; Self::MAX_SUB_AUTHORITIES];
        kept.get_mut(..sub_authorities.len())?.copy_from_slice(sub_authorities);
        Some(Self { authority, count: sub_authorities.len() as u8, sub_authorities: kept })
    }

    /// The identifier authority: 5 is NT Authority.
    #[must_use]
    pub const fn authority(&self) -> u64 {
        self.authority
    }

    /// The sub-authorities, the relative identifier last.
    #[must_use]
    pub fn sub_authorities(&self) -> &[u32] {
        self.sub_authorities.get(..usize::from(self.count)).unwrap_or_default()
    }

    /// The relative identifier: the last sub-authority.
    #[must_use]
    pub fn rid(&self) -> Option<u32> {
        self.sub_authorities().last().copied()
    }

    /// This SID with one more sub-authority: a domain's SID becomes an account's. `None` if there are 15 already.
    #[must_use]
    pub fn with_rid(&self, rid: u32) -> Option<Self> {
        let mut sid = *self;
        *sid.sub_authorities.get_mut(usize::from(self.count))? = rid;
        sid.count += 1;
        Some(sid)
    }

    /// Reads the binary form (`SID`, MS-DTYP 2.4.2.2) and takes exactly its bytes.
    ///
    /// # Errors
    /// Truncated, a revision other than 1, or more than 15 sub-authorities.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let start = *reader;
        if reader.u8()? != 1 {
            return Err(start.error(ErrorKind::Magic { what: "SID revision" }));
        }
        let count = usize::from(reader.u8()?);
        if count > Self::MAX_SUB_AUTHORITIES {
            return Err(start.error(ErrorKind::Limit { what: "SID sub-authorities", limit: Self::MAX_SUB_AUTHORITIES }));
        }
        let [a, b, c, d, e, f] = *reader.array::<6>()?;
        let mut sid = Self {
            authority: u64::from_be_bytes([0, 0, a, b, c, d, e, f]),
            count: count as u8,
            sub_authorities: [0; Self::MAX_SUB_AUTHORITIES],
        };
        for place in sid.sub_authorities.iter_mut().take(count) {
            *place = reader.u32_le()?;
        }
        Ok(sid)
    }

    /// Appends the binary form.
    pub fn write(&self, out: &mut Vec<u8>) {
        let [_, _, authority @ ..] = self.authority.to_be_bytes();
        out.extend_from_slice(&[1, self.count]);
        out.extend_from_slice(&authority);
        for sub_authority in self.sub_authorities() {
            out.extend_from_slice(&sub_authority.to_le_bytes());
        }
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // MS-DTYP 2.4.2.1: authorities beyond 32 bits are written in hexadecimal.
        if self.authority > u64::from(u32::MAX) {
            write!(f, "S-1-0x{:012X}", self.authority)?;
        } else {
            write!(f, "S-1-{}", self.authority)?;
        }
        self.sub_authorities().iter().try_for_each(|sub_authority| write!(f, "-{sub_authority}"))
    }
}

impl fmt::Debug for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl core::str::FromStr for Sid {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let bad = ParseError { format: "SID", offset: 0, kind: ErrorKind::Value { what: "SID string" } };
        let mut parts = text.strip_prefix("S-1-").or_else(|| text.strip_prefix("s-1-")).ok_or(bad)?.split('-');
        let first = parts.next().ok_or(bad)?;
        let authority = match first.strip_prefix("0x").or_else(|| first.strip_prefix("0X")) {
            Some(hex) => u64::from_str_radix(hex, 16).map_err(|_| bad)?,
            None => first.parse().map_err(|_| bad)?,
        };
        let mut sid = Self::new(authority, &[]).ok_or(bad)?;
        for part in parts {
            // `parse` alone would take a sign, and "S-1-5-+32" is not a SID.
            if !part.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(bad);
            }
            sid = sid.with_rid(part.parse().map_err(|_| bad)?).ok_or(bad)?;
        }
        Ok(sid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_agree() {
        for text in ["S-1-5-32-544", "S-1-5-21-3623811015-3361044348-30300820-1013", "S-1-0xFFFFFFFFFFFF-1", "S-1-1-0"]
        {
            let sid: Sid = text.parse().unwrap();
            assert_eq!(sid.to_string(), text);
            let mut bytes = Vec::new();
            sid.write(&mut bytes);
            let mut reader = Reader::new("SID", &bytes);
            assert_eq!(Sid::read(&mut reader), Ok(sid));
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn what_is_not_a_sid_is_refused() {
        for bad in
            ["", "S-1-", "S-2-5-32", "S-1-5-x", "S-1-5-4294967296", "S-1-5-+1", "S-1-5-", "S-1-281474976710656-1"]
        {
            assert!(bad.parse::<Sid>().is_err(), "{bad}");
        }
        let sixteen = format!("S-1-5{}", "-1".repeat(16));
        assert!(sixteen.parse::<Sid>().is_err());
        assert!(Sid::read(&mut Reader::new("SID", &[1, 16, 0, 0, 0, 0, 0, 5])).is_err());
        assert!(Sid::read(&mut Reader::new("SID", &[2, 0, 0, 0, 0, 0, 0, 5])).is_err());
        assert!(Sid::read(&mut Reader::new("SID", &[1, 2, 0, 0, 0, 0, 0, 5, 1, 0, 0, 0])).is_err());
    }
}
