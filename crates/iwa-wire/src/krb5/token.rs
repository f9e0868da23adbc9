//! Kerberos messages in GSS-API framing: mechanism OID, token identifier, message. RFC 4121 4.1, RFC 1964 1.1, RFC 2743 3.1.

use super::iakerb::IakerbHeader;
use super::{ApRep, ApReq, KrbError};
use crate::der::DerWriter;
use crate::error::{ErrorKind, ParseError};
use crate::explain::{Explain as _, Node, hex};
use crate::gss::{InitialToken, MechType};

/// What a token carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TokenId {
    /// `01 00`: an AP-REQ.
    ApReq,
    /// `02 00`: an AP-REP.
    ApRep,
    /// `03 00`: a KRB-ERROR.
    Error,
    /// `04 00`: the request for a TGT of user-to-user.
    TgtReq,
    /// `04 01`: the answer to it.
    TgtRep,
    /// `05 01`: an IAKERB proxy message (draft-ietf-kitten-iakerb).
    Iakerb,
}

impl TokenId {
    const fn of(bytes: [u8; 2]) -> Option<Self> {
        Some(match bytes {
            [1, 0] => Self::ApReq,
            [2, 0] => Self::ApRep,
            [3, 0] => Self::Error,
            [4, 0] => Self::TgtReq,
            [4, 1] => Self::TgtRep,
            [5, 1] => Self::Iakerb,
            _ => return None,
        })
    }

    /// The two bytes.
    #[must_use]
    pub const fn bytes(self) -> [u8; 2] {
        match self {
            Self::ApReq => [1, 0],
            Self::ApRep => [2, 0],
            Self::Error => [3, 0],
            Self::TgtReq => [4, 0],
            Self::TgtRep => [4, 1],
            Self::Iakerb => [5, 1],
        }
    }

    /// The message, in the words of its specification.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ApReq => "AP-REQ",
            Self::ApRep => "AP-REP",
            Self::Error => "KRB-ERROR",
            Self::TgtReq => "KERB-TGT-REQUEST",
            Self::TgtRep => "KERB-TGT-REPLY",
            Self::Iakerb => "IAKERB_PROXY",
        }
    }
}

/// A Kerberos message in GSS-API framing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KrbToken<'a> {
    /// The mechanism: [`MechType::KRB5`], the old one of Microsoft, user-to-user, or IAKERB.
    pub mech: MechType<'a>,
    /// What follows.
    pub id: TokenId,
    /// The message.
    pub message: &'a [u8],
    /// Where `message` begins in the outermost input.
    pub message_offset: usize,
}

impl<'a> KrbToken<'a> {
    /// Reads a whole token, which begins at `offset` of the outermost input.
    ///
    /// # Errors
    /// The rule that the bytes break; [`ErrorKind::Value`] for a mechanism that is not Kerberos or an unknown token
    /// identifier.
    pub fn parse(bytes: &'a [u8], offset: usize) -> Result<Self, ParseError> {
        Self::of(InitialToken::parse(bytes, offset)?)
    }

    /// The Kerberos message in a token whose framing is read.
    ///
    /// # Errors
    /// As [`KrbToken::parse`].
    pub fn of(token: InitialToken<'a>) -> Result<Self, ParseError> {
        let InitialToken { mech, inner, inner_offset } = token;
        let error = |kind| ParseError { format: FORMAT, offset: inner_offset, kind };
        if !mech.is_krb5() && mech != MechType::KRB5_USER_TO_USER && mech != MechType::IAKERB {
            return Err(error(ErrorKind::Value { what: "mechanism" }));
        }
        let Some((&id, message)) = inner.split_first_chunk::<2>() else {
            return Err(error(ErrorKind::Truncated { needed: 2, available: inner.len() }));
        };
        let id = TokenId::of(id).ok_or_else(|| error(ErrorKind::Value { what: "token identifier" }))?;
        Ok(Self { mech, id, message, message_offset: inner_offset + 2 })
    }

    /// Appends the token.
    pub fn write(&self, out: &mut Vec<u8>) {
        Self::frame(self.mech, self.id, out, |w| w.raw(self.message));
    }

    /// Appends the framing around what `message` writes.
    pub fn frame(mech: MechType<'_>, id: TokenId, out: &mut Vec<u8>, message: impl FnOnce(&mut DerWriter<'_>)) {
        InitialToken::write(mech, out, |w| {
            w.raw(&id.bytes());
            message(w);
        });
    }

    /// Explains what follows the mechanism's OID in a token: the token identifier and the message.
    #[must_use]
    pub fn explain_inner(inner: &[u8], offset: usize) -> Node {
        let mut node = Node::branch("Kerberos token", offset..offset + inner.len(), "RFC 4121 4.1");
        let Some((&id, message)) = inner.split_first_chunk::<2>() else {
            let kind = ErrorKind::Truncated { needed: 2, available: inner.len() };
            return node.broken(ParseError { format: FORMAT, offset, kind });
        };
        let [a, b] = id;
        let Some(id) = TokenId::of(id) else {
            let kind = ErrorKind::Value { what: "token identifier" };
            node.children.push(Node::leaf("TOK_ID", format!("{a:02x} {b:02x}"), offset..offset + 2));
            return node.broken(ParseError { format: FORMAT, offset, kind });
        };
        let words = format!("{a:02x} {b:02x} ({})", id.name());
        node.children.push(Node::leaf("TOK_ID", words, offset..offset + 2));
        let at = offset + 2;
        node.children.push(match id {
            TokenId::ApReq => ApReq::explain(message, at),
            TokenId::ApRep => ApRep::explain(message, at),
            TokenId::Error => KrbError::explain(message, at),
            TokenId::Iakerb => IakerbHeader::explain(message, at),
            _ => Node::leaf("message", hex(message), at..at + message.len()),
        });
        node
    }
}

const FORMAT: &str = "Kerberos GSS-API token";

#[cfg(test)]
mod tests {
    use super::*;

    fn token(mech: MechType<'_>, inner: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        InitialToken::write(mech, &mut out, |w| w.raw(inner));
        out
    }

    #[test]
    fn every_token_identifier_is_read_as_it_is_written() {
        for id in [TokenId::ApReq, TokenId::ApRep, TokenId::Error, TokenId::TgtReq, TokenId::TgtRep, TokenId::Iakerb] {
            let mut out = Vec::new();
            KrbToken { mech: MechType::MS_KRB5, id, message: b"message", message_offset: 0 }.write(&mut out);
            let read = KrbToken::parse(&out, 10).unwrap();
            assert_eq!((read.mech, read.id, read.message), (MechType::MS_KRB5, id, &b"message"[..]));
            assert_eq!(read.message_offset, 10 + out.len() - 7);
        }
    }

    #[test]
    fn other_mechanisms_unknown_and_missing_identifiers_are_refused() {
        for (mech, inner) in [
            (MechType::SPNEGO, &[1, 0, 0][..]),
            (MechType::NTLMSSP, &[1, 0]),
            (MechType::KRB5, &[]),
            (MechType::KRB5, &[1]),
            (MechType::KRB5, &[0, 1]),
            (MechType::KRB5, &[4, 4]),
        ] {
            assert!(KrbToken::parse(&token(mech, inner), 0).is_err(), "{mech} {inner:?}");
        }
        let mut trailing = token(MechType::KRB5, &[1, 0]);
        trailing.push(0);
        assert!(KrbToken::parse(&trailing, 0).is_err());
    }
}
