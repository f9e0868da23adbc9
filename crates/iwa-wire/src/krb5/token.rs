//! Kerberos messages in GSS-API framing: mechanism OID, token identifier, message. RFC 4121 4.1, RFC 1964 1.1, RFC 2743 3.1.

use crate::der::{Der, DerWriter, Tag};
use crate::error::{ErrorKind, ParseError};

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
    /// The contents octets of the mechanism's OID: [`KRB5`], or the old one of Microsoft ([`MS_KRB5`]).
    pub mechanism: &'a [u8],
    /// What follows.
    pub id: TokenId,
    /// The message.
    pub message: &'a [u8],
}

impl<'a> KrbToken<'a> {
    /// Reads a whole token.
    ///
    /// # Errors
    /// The rule that the bytes break; [`ErrorKind::Value`] for a mechanism that is not Kerberos or an unknown token
    /// identifier.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let mut der = Der::new("Kerberos GSS-API token", bytes, 0);
        let mut inside = der.enter(Tag::application(0))?;
        der.finish()?;
        let at = inside;
        let mechanism = inside.expect(Tag::OID)?.body;
        if ![KRB5, MS_KRB5, IAKERB, KRB5_USER_TO_USER].contains(&mechanism) {
            return Err(at.error(ErrorKind::Value { what: "mechanism" }));
        }
        let Some((&id, message)) = inside.peek().split_first_chunk::<2>() else {
            return Err(inside.error(ErrorKind::Truncated { needed: 2, available: inside.peek().len() }));
        };
        let id = TokenId::of(id).ok_or_else(|| inside.error(ErrorKind::Value { what: "token identifier" }))?;
        Ok(Self { mechanism, id, message })
    }

    /// Appends the token.
    pub fn write(&self, out: &mut Vec<u8>) {
        Self::frame(self.mechanism, self.id, out, |w| w.raw(self.message));
    }

    /// Appends the framing around what `message` writes.
    pub fn frame(mechanism: &[u8], id: TokenId, out: &mut Vec<u8>, message: impl FnOnce(&mut DerWriter<'_>)) {
        DerWriter::new(out).nest(Tag::application(0), |w| {
            w.primitive(Tag::OID, mechanism);
            w.raw(&id.bytes());
            message(w);
        });
    }
}

/// 1.2.840.113554.1.2.2.
pub const KRB5: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02];
/// 1.2.840.48018.1.2.2, a mistake of Windows 2000 that every Windows repeats.
pub const MS_KRB5: &[u8] = &[0x2a, 0x86, 0x48, 0x82, 0xf7, 0x12, 0x01, 0x02, 0x02];
/// 1.2.840.113554.1.2.2.3.
pub const KRB5_USER_TO_USER: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02, 0x03];
/// 1.3.6.1.5.2.5.
pub const IAKERB: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x02, 0x05];
