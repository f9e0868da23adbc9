//! What the acceptor reads and answers: framing, AP-REP, KRB-ERROR. RFC 4121 4.1, RFC 4120 5.5.2, 5.9.1.

use iwa_wire::der::{Der, Tag};
use iwa_wire::gss::MechType;
use iwa_wire::krb5::error::code;
use iwa_wire::krb5::token::{KrbToken, TokenId};
use iwa_wire::krb5::{ApRep, ApReq, EncApRepPart, EncryptedData, EncryptionKey, KerberosTime, KrbError, Ticket};
use zeroize::Zeroizing;

use super::Pending;
use crate::env::{Entropy, EntropyError, Env, UnixTime};
use crate::krb5::etype::Key;
use crate::krb5::usage;
use crate::reject::{Malformed, Peer, Policy, Reason, Reject};

/// The form in which the client speaks, and is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Framing {
    /// The message alone.
    Bare,
    /// Under this mechanism's OID.
    Gss(MechType<'static>),
}

impl Framing {
    /// The AP-REQ in a token.
    pub(super) fn read(token: &[u8]) -> Result<(Self, ApReq<'_>), Reason> {
        if token.first().copied().map(Tag) != Some(Tag::application(0)) {
            return Ok((Self::Bare, ApReq::parse(token)?));
        }
        let token = KrbToken::parse(token, 0)?;
        let framing = match token.mech {
            MechType::KRB5 => Self::Gss(MechType::KRB5),
            MechType::MS_KRB5 => Self::Gss(MechType::MS_KRB5),
            MechType::KRB5_USER_TO_USER => return Err(Policy::UserToUser.into()),
            other => return Err(Policy::NoCommonMechanism { offered: other.to_string() }.into()),
        };
        match token.id {
            TokenId::ApReq => {
                let mut der = Der::new("AP-REQ", token.message, token.message_offset);
                let ap_req = ApReq::read(&mut der)?;
                der.finish()?;
                Ok((framing, ap_req))
            }
            TokenId::TgtReq => Err(Policy::UserToUser.into()),
            other => Err(Malformed::OutOfSequence { wanted: "AP-REQ", found: other.name() }.into()),
        }
    }

    fn write(self, id: TokenId, message: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Bare => out.extend_from_slice(message),
            Self::Gss(mechanism) => KrbToken::frame(mechanism, id, out, |w| w.raw(message)),
        }
    }
}

impl Pending {
    /// Appends the AP-REP, and returns the acceptor's subkey and first sequence number in it.
    pub(super) fn ap_rep(&self, env: &mut Env<'_>, out: &mut Vec<u8>) -> Result<(Key, u32), Reject> {
        // Subkey, sequence number and confounder at once: the source may be a system call.
        let mut drawn = Zeroizing::new([0; 32 + 4 + 16]);
        env.entropy.fill(&mut *drawn)?;
        let mut drawn = Drawn(&*drawn);
        let etype = self.subkey.as_ref().unwrap_or(&self.session).etype();
        let subkey = Key::random(etype, &mut drawn)?;
        let mut sequence = [0; 4];
        drawn.fill(&mut sequence)?;
        // 30 bits: some initiators read it as a signed number and add to it.
        let sequence = u32::from_be_bytes(sequence) & 0x3fff_ffff;

        let part = EncApRepPart {
            ctime: KerberosTime(self.made.secs()),
            cusec: self.made.subsec_micros(),
            subkey: Some(EncryptionKey { etype: etype.number(), value: subkey.expose() }),
            seq_number: Some(sequence),
        };
        let mut message = Zeroizing::new(Vec::with_capacity(192));
        part.write(&mut message);
        let mut cipher = Vec::with_capacity(192);
        self.session.encrypt(usage::AP_REP, &message, &mut drawn, &mut cipher)?;
        message.clear();
        let enc_part = EncryptedData { etype: self.session.etype().number(), kvno: None, cipher: &cipher };
        ApRep { enc_part }.write(&mut message);
        self.framing.write(TokenId::ApRep, &message, out);
        Ok((subkey, sequence))
    }
}

/// Randomness that was drawn already.
struct Drawn<'a>(&'a [u8]);

impl Entropy for Drawn<'_> {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        let (head, tail) = self.0.split_at_checked(out.len()).ok_or(EntropyError)?;
        out.copy_from_slice(head);
        self.0 = tail;
        Ok(())
    }
}

/// Appends a KRB-ERROR, if the client can do something about the reason: set its clock, throw its ticket away, or at least
/// say what is wrong. What the configuration forbids is not told.
pub(super) fn krb_error(framing: Framing, ticket: &Ticket<'_>, reason: &Reason, now: UnixTime, out: &mut Vec<u8>) {
    let Some(error_code) = error_code(reason) else { return };
    let error = KrbError {
        ctime: None,
        cusec: None,
        stime: KerberosTime(now.secs()),
        susec: now.subsec_micros(),
        error_code,
        crealm: None,
        cname: None,
        realm: ticket.realm,
        sname: ticket.sname,
        e_text: None,
        e_data: None,
    };
    let mut message = Vec::with_capacity(128);
    error.write(&mut message);
    framing.write(TokenId::Error, &message, out);
}

/// The code of RFC 4120 7.5.9 for a reason.
fn error_code(reason: &Reason) -> Option<i32> {
    Some(match reason {
        Reason::Peer(peer) => match peer {
            Peer::NoKey { .. } => code::KRB_AP_ERR_NOKEY,
            // RFC 4120 has BAD_INTEGRITY here; Windows clients throw the ticket away on MODIFIED, and get a new one.
            Peer::TicketIntegrity { .. } => code::KRB_AP_ERR_MODIFIED,
            Peer::AuthenticatorIntegrity => code::KRB_AP_ERR_BAD_INTEGRITY,
            Peer::ClientMismatch { .. } => code::KRB_AP_ERR_BADMATCH,
            Peer::ClockSkew { .. } => code::KRB_AP_ERR_SKEW,
            Peer::TicketExpired { .. } => code::KRB_AP_ERR_TKT_EXPIRED,
            Peer::TicketNotYetValid { .. } | Peer::TicketInvalid => code::KRB_AP_ERR_TKT_NYV,
            Peer::Address => code::KRB_AP_ERR_BADADDR,
            Peer::WrongService { .. } => code::KRB_AP_ERR_NOT_US,
            Peer::GssChecksum { .. } => code::KRB_AP_ERR_INAPP_CKSUM,
            _ => return None,
        },
        _ => return None,
    })
}
