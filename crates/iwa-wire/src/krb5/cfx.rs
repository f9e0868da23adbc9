//! Per-message tokens: MIC and Wrap. RFC 4121 4.2.6.

use crate::error::{ErrorKind, ParseError};
use crate::explain::{Explain, Node, hex};
use crate::reader::Reader;

/// The length of a token's header.
pub const HEADER: usize = 16;

/// A MIC token, or a Wrap token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CfxToken<'a> {
    /// Which of the two.
    pub kind: CfxKind,
    /// `Flags`: [`cfx_flags`].
    pub flags: u8,
    /// `SND_SEQ`.
    pub snd_seq: u64,
    /// `SGN_CKSUM` of a MIC token; the (rotated) data of a Wrap token.
    pub body: &'a [u8],
}

/// Which of the per-message tokens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CfxKind {
    /// `04 04`: a checksum over a message that is elsewhere.
    Mic,
    /// `05 04`: a message, signed or encrypted.
    Wrap {
        /// `EC`: extra count.
        ec: u16,
        /// `RRC`: right rotation count.
        rrc: u16,
    },
}

/// The bits of `Flags`.
pub mod cfx_flags {
    /// `SentByAcceptor`.
    pub const SENT_BY_ACCEPTOR: u8 = 1;
    /// `Sealed`: encrypted (Wrap only).
    pub const SEALED: u8 = 2;
    /// `AcceptorSubkey`: the acceptor's subkey protects the token.
    pub const ACCEPTOR_SUBKEY: u8 = 4;
}

impl<'a> CfxToken<'a> {
    /// Reads a whole token.
    ///
    /// # Errors
    /// [`ErrorKind::Truncated`] below 16 bytes, [`ErrorKind::Magic`] for another token identifier or filler.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new("RFC 4121 token", bytes);
        let at = reader;
        let id = *reader.array::<2>()?;
        let flags = reader.u8()?;
        let filler = reader;
        let kind = match id {
            [4, 4] if reader.array::<5>()? == &[0xff; 5] => CfxKind::Mic,
            [5, 4] if reader.u8()? == 0xff => CfxKind::Wrap { ec: reader.u16_be()?, rrc: reader.u16_be()? },
            [4 | 5, 4] => return Err(filler.error(ErrorKind::Magic { what: "Filler" })),
            _ => return Err(at.error(ErrorKind::Magic { what: "TOK_ID" })),
        };
        let snd_seq = u64::from_be_bytes(*reader.array()?);
        Ok(Self { kind, flags, snd_seq, body: reader.rest() })
    }

    /// The header: for a MIC token also what its checksum covers, after the message.
    #[must_use]
    pub const fn header(&self) -> [u8; HEADER] {
        let [s0, s1, s2, s3, s4, s5, s6, s7] = self.snd_seq.to_be_bytes();
        match self.kind {
            CfxKind::Mic => [4, 4, self.flags, 0xff, 0xff, 0xff, 0xff, 0xff, s0, s1, s2, s3, s4, s5, s6, s7],
            CfxKind::Wrap { ec, rrc } => {
                let ([e0, e1], [r0, r1]) = (ec.to_be_bytes(), rrc.to_be_bytes());
                [5, 4, self.flags, 0xff, e0, e1, r0, r1, s0, s1, s2, s3, s4, s5, s6, s7]
            }
        }
    }

    /// Appends the token.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.header());
        out.extend_from_slice(self.body);
    }
}

impl Explain for CfxToken<'_> {
    fn explain(bytes: &[u8], offset: usize) -> Node {
        let whole = offset..offset + bytes.len();
        let token = match CfxToken::parse(bytes) {
            Ok(token) => token,
            Err(mut error) => {
                error.offset += offset;
                return Node { value: hex(bytes), ..Node::branch("RFC 4121 token", whole, "RFC 4121 4.2.6") }
                    .broken(error);
            }
        };
        let at = |from: usize, to: usize| offset + from..offset + to;
        let name = if token.kind == CfxKind::Mic { "MIC token" } else { "Wrap token" };
        let mut node = Node::branch(name, whole, "RFC 4121 4.2.6");
        let mut flags = format!("0x{:02x}", token.flags);
        for (bit, word) in [
            (cfx_flags::SENT_BY_ACCEPTOR, " sent-by-acceptor"),
            (cfx_flags::SEALED, " sealed"),
            (cfx_flags::ACCEPTOR_SUBKEY, " acceptor-subkey"),
        ] {
            if token.flags & bit != 0 {
                flags.push_str(word);
            }
        }
        node.children.push(Node::leaf("Flags", flags, at(2, 3)));
        if let CfxKind::Wrap { ec, rrc } = token.kind {
            node.children.push(Node::leaf("EC", ec.to_string(), at(4, 6)));
            node.children.push(Node::leaf("RRC", rrc.to_string(), at(6, 8)));
        }
        node.children.push(Node::leaf("SND_SEQ", token.snd_seq.to_string(), at(8, 16)));
        let body = if token.kind == CfxKind::Mic { "SGN_CKSUM" } else { "data" };
        node.children.push(Node::leaf(body, hex(token.body), offset + HEADER..offset + bytes.len()));
        node
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for kind in [CfxKind::Mic, CfxKind::Wrap { ec: 12, rrc: 28 }] {
            let snd_seq = 0x0102_0304_0506_0708;
            let token = CfxToken { kind, flags: cfx_flags::SENT_BY_ACCEPTOR, snd_seq, body: b"sum" };
            let mut out = Vec::new();
            token.write(&mut out);
            assert_eq!(CfxToken::parse(&out), Ok(token));
            for cut in 0..HEADER {
                assert!(CfxToken::parse(&out[..cut]).is_err(), "cut at {cut}");
            }
        }
    }

    #[test]
    fn another_identifier_or_filler_is_refused() {
        let mic = CfxToken { kind: CfxKind::Mic, flags: 0, snd_seq: 0, body: &[] }.header();
        for place in [0, 1, 3, 4, 5, 6, 7] {
            let mut changed = mic;
            changed[place] ^= 0x10;
            assert!(matches!(CfxToken::parse(&changed).map_err(|e| e.kind), Err(ErrorKind::Magic { .. })), "{place}");
        }
        // The tokens of RFC 1964.
        assert!(CfxToken::parse(&[1; 32]).is_err());
    }
}
