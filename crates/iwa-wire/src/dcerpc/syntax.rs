//! UUIDs, and the interfaces and transfer syntaxes that they name. C706 A.1, 12.6.3.1.

use core::fmt;

use crate::error::ParseError;
use crate::reader::Reader;

/// A UUID as it stands in a little-endian PDU.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Uuid(pub [u8; 16]);

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g, h, i, rest @ ..] = self.0;
        let [j, k, node @ ..] = rest;
        let (low, mid, high) =
            (u32::from_le_bytes([a, b, c, d]), u16::from_le_bytes([e, g]), u16::from_le_bytes([h, i]));
        write!(f, "{low:08x}-{mid:04x}-{high:04x}-{j:02x}{k:02x}-")?;
        node.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `p_syntax_id_t`: an interface or a transfer syntax, and its version.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Syntax {
    /// Which.
    pub uuid: Uuid,
    /// The major version in the low half, the minor in the high one.
    pub version: u32,
}

impl Syntax {
    /// Netlogon: 12345678-1234-abcd-ef00-01234567cffb, version 1.0 (MS-NRPC 2.1).
    pub const NETLOGON: Self = Self {
        uuid: Uuid([0x78, 0x56, 0x34, 0x12, 0x34, 0x12, 0xcd, 0xab, 0xef, 0, 1, 0x23, 0x45, 0x67, 0xcf, 0xfb]),
        version: 1,
    };
    /// The endpoint mapper: e1af8308-5d1f-11c9-91a4-08002b14a0fa, version 3.0 (C706 O).
    pub const EPM: Self = Self {
        uuid: Uuid([0x08, 0x83, 0xaf, 0xe1, 0x1f, 0x5d, 0xc9, 0x11, 0x91, 0xa4, 8, 0, 0x2b, 0x14, 0xa0, 0xfa]),
        version: 3,
    };
    /// NDR: 8a885d04-1ceb-11c9-9fe8-08002b104860, version 2.0 (C706 14).
    pub const NDR: Self = Self {
        uuid: Uuid([0x04, 0x5d, 0x88, 0x8a, 0xeb, 0x1c, 0xc9, 0x11, 0x9f, 0xe8, 8, 0, 0x2b, 0x10, 0x48, 0x60]),
        version: 2,
    };

    /// Takes the twenty bytes.
    ///
    /// # Errors
    /// Truncated.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        Ok(Self { uuid: Uuid(*reader.array()?), version: reader.u32_le()? })
    }

    /// Appends the twenty bytes.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.uuid.0);
        out.extend_from_slice(&self.version.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uuids_are_those_of_the_specifications() {
        for (syntax, text) in [
            (Syntax::NETLOGON, "12345678-1234-abcd-ef00-01234567cffb"),
            (Syntax::EPM, "e1af8308-5d1f-11c9-91a4-08002b14a0fa"),
            (Syntax::NDR, "8a885d04-1ceb-11c9-9fe8-08002b104860"),
        ] {
            assert_eq!(syntax.uuid.to_string(), text);
            let mut out = Vec::new();
            syntax.write(&mut out);
            assert_eq!(Syntax::read(&mut Reader::new("test", &out)), Ok(syntax));
        }
    }
}
