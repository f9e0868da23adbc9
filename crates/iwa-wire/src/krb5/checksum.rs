//! The authenticator's checksum of type 0x8003, which is none: channel bindings, flags and forwarded credentials. RFC 4121 4.1.1.

use super::KrbCred;
use crate::error::{ErrorKind, ParseError};
use crate::explain::{Explain, Node, hex};
use crate::reader::Reader;

/// `cksumtype` of [`GssChecksum`].
pub const GSS_CHECKSUM: i32 = 0x8003;

/// The contents of the checksum field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GssChecksum<'a> {
    /// `Bnd`: MD5 of the channel bindings; sixteen zeros if there are none.
    pub bindings: [u8; 16],
    /// `Flags`: [`gss_flags`].
    pub flags: u32,
    /// `Deleg`: a KRB-CRED, present exactly if [`gss_flags::DELEG`] is set.
    pub delegated: Option<&'a [u8]>,
    /// `Exts`: what follows; extensions are ignored if they are not known.
    pub extensions: &'a [u8],
}

impl<'a> GssChecksum<'a> {
    /// Reads the checksum field.
    ///
    /// # Errors
    /// [`ErrorKind::Truncated`] below 24 bytes, or below 28 and the length of `Deleg` with [`gss_flags::DELEG`];
    /// [`ErrorKind::Value`] if the length of `Bnd` is not 16 or `DlgOpt` is not 1.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new("checksum 0x8003", bytes);
        let at = reader;
        if reader.u32_le()? != 16 {
            return Err(at.error(ErrorKind::Value { what: "Lgth" }));
        }
        let bindings = *reader.array()?;
        let flags = reader.u32_le()?;
        let mut delegated = None;
        if flags & gss_flags::DELEG != 0 {
            let at = reader;
            if reader.u16_le()? != 1 {
                return Err(at.error(ErrorKind::Value { what: "DlgOpt" }));
            }
            let length = reader.u16_le()?;
            delegated = Some(reader.take(usize::from(length))?);
        }
        Ok(Self { bindings, flags, delegated, extensions: reader.rest() })
    }

    /// Appends the checksum field. [`gss_flags::DELEG`] is set exactly if there is something delegated; a KRB-CRED of
    /// more than 65,535 bytes has no place here and is left out, and the flag with it.
    pub fn write(&self, out: &mut Vec<u8>) {
        let delegated = self.delegated.and_then(|cred| u16::try_from(cred.len()).ok().map(|length| (length, cred)));
        let flags = self.flags & !gss_flags::DELEG | if delegated.is_some() { gss_flags::DELEG } else { 0 };
        out.extend_from_slice(&16u32.to_le_bytes());
        out.extend_from_slice(&self.bindings);
        out.extend_from_slice(&flags.to_le_bytes());
        if let Some((length, cred)) = delegated {
            out.extend_from_slice(&1u16.to_le_bytes());
            out.extend_from_slice(&length.to_le_bytes());
            out.extend_from_slice(cred);
        }
        out.extend_from_slice(self.extensions);
    }
}

impl Explain for GssChecksum<'_> {
    fn explain(bytes: &[u8], offset: usize) -> Node {
        let mut node = Node::branch("GSS-API checksum", offset..offset + bytes.len(), "RFC 4121 4.1.1");
        let part = |from: usize, to: usize| bytes.get(from..to).map(|part| (part, offset + from..offset + to));
        if let Some((length, range)) = part(0, 4) {
            let value = length.iter().rev().fold(0u32, |value, byte| (value << 8) | u32::from(*byte));
            node.children.push(Node::leaf("Lgth", value.to_string(), range));
        }
        if let Some((bindings, range)) = part(4, 20) {
            let words = if bindings.iter().all(|byte| *byte == 0) { "none".to_owned() } else { hex(bindings) };
            node.children.push(Node::leaf("Bnd", words, range));
        }
        let flags = part(20, 24).and_then(|(flags, range)| Some((u32::from_le_bytes(flags.try_into().ok()?), range)));
        if let Some((flags, range)) = flags {
            node.children.push(Node::leaf("Flags", format!("0x{flags:x} {}", gss_flags::names(flags)), range));
        }
        match GssChecksum::parse(bytes) {
            Ok(parsed) => {
                if let Some(cred) = parsed.delegated {
                    node.children.push(Node::leaf("DlgOpt", "1", offset + 24..offset + 26));
                    node.children.push(Node::leaf("Dlgth", cred.len().to_string(), offset + 26..offset + 28));
                    node.children.push(Node { name: "Deleg".into(), ..KrbCred::explain(cred, offset + 28) });
                }
                if !parsed.extensions.is_empty() {
                    let start = offset + bytes.len() - parsed.extensions.len();
                    node.children.push(Node::leaf("Exts", hex(parsed.extensions), start..offset + bytes.len()));
                }
            }
            Err(mut error) => {
                error.offset += offset;
                node.error = Some(error);
            }
        }
        node
    }
}

/// The flags of a GSS-API context. RFC 2743 1.2.1, RFC 4121 4.1.1.1, RFC 4757 7.1.
pub mod gss_flags {
    /// `GSS_C_DELEG_FLAG`: credentials are forwarded.
    pub const DELEG: u32 = 1;
    /// `GSS_C_MUTUAL_FLAG`: the initiator wants an AP-REP.
    pub const MUTUAL: u32 = 2;
    /// `GSS_C_REPLAY_FLAG`: replayed messages are to be found.
    pub const REPLAY: u32 = 4;
    /// `GSS_C_SEQUENCE_FLAG`: reordered messages are to be found.
    pub const SEQUENCE: u32 = 8;
    /// `GSS_C_CONF_FLAG`: messages may be encrypted.
    pub const CONF: u32 = 16;
    /// `GSS_C_INTEG_FLAG`: messages may be signed.
    pub const INTEG: u32 = 32;
    /// `GSS_C_DCE_STYLE`: three legs.
    pub const DCE_STYLE: u32 = 0x1000;
    /// `GSS_C_IDENTIFY_FLAG`: the server may look at the identity and not use it.
    pub const IDENTIFY: u32 = 0x2000;
    /// `GSS_C_EXTENDED_ERROR_FLAG`.
    pub const EXTENDED_ERROR: u32 = 0x4000;

    /// The names of the flags that are set.
    #[must_use]
    pub fn names(flags: u32) -> String {
        let mut text = String::new();
        let mut add = |name: &str| {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(name);
        };
        for bit in (0..32).filter(|bit| flags & (1 << bit) != 0) {
            match 1u32 << bit {
                DELEG => add("deleg"),
                MUTUAL => add("mutual"),
                REPLAY => add("replay"),
                SEQUENCE => add("sequence"),
                CONF => add("conf"),
                INTEG => add("integ"),
                DCE_STYLE => add("dce-style"),
                IDENTIFY => add("identify"),
                EXTENDED_ERROR => add("extended-error"),
                other => add(&format!("0x{other:x}")),
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(flags: u32, rest: &[u8]) -> Vec<u8> {
        [&16u32.to_le_bytes()[..], &[9; 16], &flags.to_le_bytes(), rest].concat()
    }

    fn kind(bytes: &[u8]) -> Result<GssChecksum<'_>, ErrorKind> {
        GssChecksum::parse(bytes).map_err(|error| error.kind)
    }

    #[test]
    fn what_is_written_is_read() {
        for delegated in [None, Some(&b"cred"[..])] {
            let flags = gss_flags::MUTUAL | if delegated.is_some() { gss_flags::DELEG } else { 0 };
            let checksum = GssChecksum { bindings: [3; 16], flags, delegated, extensions: b"ext" };
            let mut out = Vec::new();
            checksum.write(&mut out);
            assert_eq!(GssChecksum::parse(&out), Ok(checksum));
        }
    }

    #[test]
    fn every_length_below_24_is_refused() {
        let whole = bytes(0, &[]);
        assert!(kind(&whole).is_ok());
        for cut in 0..whole.len() {
            assert!(matches!(kind(&whole[..cut]), Err(ErrorKind::Truncated { .. })), "{cut}");
        }
    }

    #[test]
    fn bindings_of_another_length_are_refused() {
        for length in [0u32, 15, 17, 0x1000_0000, u32::MAX] {
            let mut changed = bytes(0, &[]);
            changed[..4].copy_from_slice(&length.to_le_bytes());
            assert_eq!(kind(&changed), Err(ErrorKind::Value { what: "Lgth" }));
        }
    }

    #[test]
    fn delegation_that_is_announced_and_not_there_is_refused() {
        for rest in [&[][..], &[1], &[1, 0], &[1, 0, 4], &[1, 0, 4, 0, 1, 2, 3], &[1, 0, 0xff, 0xff, 1]] {
            assert!(matches!(kind(&bytes(gss_flags::DELEG, rest)), Err(ErrorKind::Truncated { .. })), "{rest:?}");
        }
        assert_eq!(kind(&bytes(gss_flags::DELEG, &[2, 0, 0, 0])), Err(ErrorKind::Value { what: "DlgOpt" }));
        let whole = bytes(gss_flags::DELEG, &[1, 0, 2, 0, 7, 8, 9]);
        assert_eq!(kind(&whole).map(|c| (c.delegated, c.extensions)), Ok((Some(&[7, 8][..]), &[9][..])));
    }

    #[test]
    fn delegation_that_is_not_announced_is_no_delegation() {
        assert_eq!(kind(&bytes(0, &[1, 0, 2, 0, 7, 8])).map(|checksum| checksum.delegated), Ok(None));
    }

    #[test]
    fn a_credential_that_is_too_long_for_its_field_is_left_out() {
        let long = vec![0; 65_536];
        let mut out = Vec::new();
        let checksum =
            GssChecksum { bindings: [0; 16], flags: gss_flags::DELEG, delegated: Some(&long), extensions: &[] };
        checksum.write(&mut out);
        assert_eq!(kind(&out).map(|checksum| (checksum.flags, checksum.delegated)), Ok((0, None)));
    }

    #[test]
    fn it_is_explained_as_far_as_it_goes() {
        let whole = bytes(gss_flags::MUTUAL | gss_flags::INTEG | 0x8_0000, &[]);
        let node = GssChecksum::explain(&whole, 5);
        assert_eq!(node.find("Flags").map(|n| n.value.as_str()), Some("0x80022 mutual integ 0x80000"));
        let node = GssChecksum::explain(&whole[..22], 5);
        assert!(node.find("Bnd").is_some() && node.find("Flags").is_none() && node.error.is_some());
    }
}
