//! The client's side of Kerberos: AP-REQ out, AP-REP in. RFC 4120 3.2, RFC 4121 4.1.

use iwa_wire::gss::MechType;
use iwa_wire::krb5::ap::ap_options;
use iwa_wire::krb5::authdata::{AP_OPTION_CBT, ad_type};
use iwa_wire::krb5::checksum::{GSS_CHECKSUM, GssChecksum, gss_flags};
use iwa_wire::krb5::cred::{EncKrbCredPart, KrbCred, KrbCredInfo};
use iwa_wire::krb5::error::code;
use iwa_wire::krb5::token::{KrbToken, TokenId};
use iwa_wire::krb5::{
    ApRep, ApReq, AuthDataElement, Authenticator, AuthorizationData, Checksum, EncApRepPart, EncryptedData,
    EncryptionKey, KerberosTime, KrbError, SequenceOf, Ticket,
};
use zeroize::Zeroizing;

use super::client::{Credential, ServiceTicket};
use super::etype::{Etype, Key, ProtocolKey};
use super::mic::{MicError, MicKey, Sender};
use super::usage;
use super::wrap::Wrap;
use crate::binding::ChannelBindings;
use crate::env::{Env, UnixTime};
use crate::reject::{Malformed, Peer, Reject};

/// What a context shall be.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// Whether the server must prove that it knows the ticket's key.
    pub mutual: bool,
    /// Whether the service is given the forwarded TGT, if there is one.
    pub delegate: bool,
    /// Our end of the channel.
    pub bindings: &'a ChannelBindings,
    /// What messages of the context there will be.
    pub protection: Protection,
}

/// What the service is told of the messages that will follow, in the flags of GSS-API. Some services refuse a layer that was
/// not asked for here; some refuse one that was, where there is TLS already.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Protection {
    /// There will be none.
    None,
    /// MIC tokens.
    #[default]
    Integrity,
    /// Sealed ones, in a sequence.
    Confidentiality,
}

impl Protection {
    const fn flags(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Integrity => gss_flags::INTEG,
            Self::Confidentiality => gss_flags::INTEG | gss_flags::CONF | gss_flags::REPLAY | gss_flags::SEQUENCE,
        }
    }
}

/// Begins a context: appends the AP-REQ in GSS-API framing to `out`.
///
/// `env.now` is the time as the service sees it: where the clocks differ ([`Credential::clock_offset`], or what a service
/// said), the caller corrects it.
///
/// # Errors
/// [`Internal::Entropy`](crate::reject::Internal::Entropy), or a ticket that does not parse; `out` is then as it was.
pub fn initiate(
    ticket: &ServiceTicket,
    options: Options<'_>,
    env: &mut Env<'_>,
    out: &mut Vec<u8>,
) -> Result<Pending, Reject> {
    let Options { mutual, delegate, bindings, protection } = options;
    let service = &ticket.service;
    let key = service.key.protocol();
    let subkey = Key::random(key.etype(), env.entropy)?;
    // 30 bits: some acceptors read it as a signed number and add to it.
    let sequence = u32::from_be_bytes(env.random()?) & 0x3fff_ffff;
    let (now, etype) = (env.now, key.etype().number());

    let mut delegated = Vec::new();
    if let Some(forwarded) = ticket.forwarded.as_ref().filter(|_| delegate) {
        krb_cred(forwarded, &key, env, &mut delegated)?;
    }
    let flags = protection.flags() | if mutual { gss_flags::MUTUAL } else { 0 };
    let delegated = Some(delegated.as_slice()).filter(|cred| !cred.is_empty());
    let mut checksum = Zeroizing::new(Vec::new());
    GssChecksum { bindings: bindings.presented(), flags, delegated, extensions: &[] }.write(&mut checksum);

    // The word of a client that it sends bindings whenever it has them: an acceptor then need not believe their absence.
    let word = AP_OPTION_CBT.to_le_bytes();
    let options = [AuthDataElement { ad_type: ad_type::AP_OPTIONS, ad_data: &word }];
    let mut relevant = Vec::new();
    AuthorizationData::of(&options).write(&mut relevant);
    let elements = [AuthDataElement { ad_type: ad_type::IF_RELEVANT, ad_data: &relevant }];

    let authenticator = Authenticator {
        crealm: service.client.realm(),
        cname: service.client.name(),
        cksum: Some(Checksum { cksumtype: GSS_CHECKSUM, checksum: &checksum }),
        cusec: now.subsec_micros(),
        ctime: KerberosTime(now.secs()),
        subkey: Some(EncryptionKey { etype, value: subkey.expose() }),
        seq_number: Some(sequence),
        authorization_data: (!bindings.is_none()).then_some(AuthorizationData::of(&elements)),
    };
    let mut plain = Zeroizing::new(Vec::with_capacity(512));
    authenticator.write(&mut plain);
    let mut cipher = Vec::with_capacity(plain.len() + 64);
    key.specific(usage::AP_REQ_AUTHENTICATOR).encrypt(&plain, env.entropy, &mut cipher)?;
    let ap_req = ApReq {
        ap_options: if mutual { ap_options::MUTUAL_REQUIRED } else { 0 },
        ticket: Ticket::parse(&service.ticket)?,
        authenticator: EncryptedData { etype, kvno: None, cipher: &cipher },
    };
    let mut message = Vec::with_capacity(service.ticket.len() + cipher.len() + 128);
    ap_req.write(&mut message);
    KrbToken { mech: MechType::KRB5, id: TokenId::ApReq, message: &message, message_offset: 0 }.write(out);
    Ok(Pending { key, subkey, sequence, sent: now })
}

/// A context whose AP-REQ is out.
#[derive(Debug)]
pub struct Pending {
    /// The session key.
    key: ProtocolKey,
    subkey: Key,
    sequence: u32,
    sent: UnixTime,
}

impl Pending {
    /// Takes the server's AP-REP, with or without GSS-API framing.
    ///
    /// # Errors
    /// [`Peer::NotMutual`] if it does not prove that the server knows the session key and read this very authenticator;
    /// what the server says in a KRB-ERROR.
    pub fn finish(self, token: &[u8]) -> Result<Context, Reject> {
        let message = match token.first() {
            Some(0x60) => {
                let token = KrbToken::parse(token, 0)?;
                match token.id {
                    TokenId::ApRep | TokenId::Error => token.message,
                    other => {
                        return Err(Malformed::OutOfSequence { wanted: "AP-REP", found: other.name() }.into());
                    }
                }
            }
            _ => token,
        };
        if message.first() == Some(&KRB_ERROR) {
            return Err(self.refused(&KrbError::parse(message)?));
        }
        let ap_rep = ApRep::parse(message)?;
        let mut scratch = Vec::new();
        let plain = self
            .key
            .specific(usage::AP_REP)
            .decrypt(ap_rep.enc_part.cipher, &mut scratch)
            .map_err(|_| Peer::NotMutual)?;
        let part = EncApRepPart::parse(plain)?;
        if part.ctime.0 != self.sent.secs() || part.cusec != self.sent.subsec_micros() {
            return Err(Peer::NotMutual.into());
        }
        let acceptor_subkey = match part.subkey {
            Some(subkey) => {
                let etype = Etype::from_number(subkey.etype);
                let key = etype.and_then(|etype| Key::new(etype, subkey.value));
                Some(key.ok_or(Peer::NotMutual)?)
            }
            None => None,
        };
        let theirs = acceptor_subkey.is_some();
        let key = MicKey::new(acceptor_subkey.unwrap_or(self.subkey), theirs);
        let acceptor_sequence = u64::from(part.seq_number.unwrap_or(0));
        Ok(Context { key, sequence: u64::from(self.sequence), acceptor_sequence, mutual: true })
    }

    /// Goes on without an AP-REP: the server has proved nothing.
    pub fn finish_one_way(self) -> Context {
        // Without an AP-REP the acceptor counts from our number (RFC 4121 4.2.2).
        let sequence = u64::from(self.sequence);
        Context { key: MicKey::new(self.subkey, false), sequence, acceptor_sequence: sequence, mutual: false }
    }

    fn refused(&self, error: &KrbError<'_>) -> Reject {
        if error.error_code == code::KRB_AP_ERR_SKEW {
            let seconds = self.sent.secs().saturating_sub(error.stime.0);
            return Peer::ClockSkew { seconds, allowed: 300 }.into();
        }
        let said = match code::name(error.error_code) {
            Some((name, meaning)) => format!("{name}, {meaning}"),
            None => format!("error {}", error.error_code),
        };
        let text = error.e_text.map(|text| format!(" ({text})")).unwrap_or_default();
        Peer::Rejected { said: said + &text }.into()
    }
}

/// An established context, which signs and verifies.
#[derive(Debug)]
pub struct Context {
    key: MicKey,
    sequence: u64,
    /// The number that the acceptor's first token bears.
    acceptor_sequence: u64,
    mutual: bool,
}

impl Context {
    /// Whether the server proved itself.
    pub const fn mutual(&self) -> bool {
        self.mutual
    }

    /// Goes on with Wrap tokens. `None` for RC4.
    #[must_use]
    pub fn into_wrap(self) -> Option<Wrap> {
        let (key, acceptor_subkey) = self.key.parts();
        Wrap::new(key, acceptor_subkey, Sender::Initiator, self.sequence, self.acceptor_sequence)
    }

    /// Appends the MIC token of `message`.
    pub fn sign(&mut self, message: &[u8], out: &mut Vec<u8>) {
        self.key.sign(Sender::Initiator, self.sequence, message, out);
        self.sequence = self.sequence.wrapping_add(1);
    }

    /// Verifies the server's MIC token of `message`.
    ///
    /// # Errors
    /// [`MicError`].
    pub fn verify(&self, message: &[u8], token: &[u8]) -> Result<(), MicError> {
        self.key.verify(Sender::Acceptor, message, token).map(|_| ())
    }
}

/// The tag of KRB-ERROR.
const KRB_ERROR: u8 = 0x7e;

/// Appends a KRB-CRED of one forwarded TGT, encrypted under the service ticket's session key, as RFC 4121 4.1.1 has it.
fn krb_cred(tgt: &Credential, key: &ProtocolKey, env: &mut Env<'_>, out: &mut Vec<u8>) -> Result<(), Reject> {
    let info = [KrbCredInfo {
        key: EncryptionKey { etype: tgt.key.etype().number(), value: tgt.key.expose() },
        prealm: Some(tgt.client.realm()),
        pname: Some(tgt.client.name()),
        flags: Some(tgt.flags),
        authtime: Some(tgt.authtime),
        starttime: Some(tgt.starttime),
        endtime: Some(tgt.endtime),
        renew_till: tgt.renew_till,
        srealm: Some(tgt.server.realm()),
        sname: Some(tgt.server.name()),
        caddr: None,
    }];
    let part = EncKrbCredPart {
        ticket_info: SequenceOf::of(&info),
        nonce: None,
        timestamp: Some(KerberosTime(env.now.secs())),
        usec: Some(env.now.subsec_micros()),
        s_address: None,
        r_address: None,
    };
    let mut plain = Zeroizing::new(Vec::with_capacity(512));
    part.write(&mut plain);
    let mut cipher = Vec::with_capacity(plain.len() + 64);
    key.specific(usage::KRB_CRED).encrypt(&plain, env.entropy, &mut cipher)?;
    let tickets = [Ticket::parse(&tgt.ticket)?];
    let enc_part = EncryptedData { etype: key.etype().number(), kvno: None, cipher: &cipher };
    KrbCred { tickets: SequenceOf::of(&tickets), enc_part }.write(out);
    Ok(())
}

#[cfg(test)]
mod tests {
    use iwa_wire::krb5::error::code;
    use iwa_wire::krb5::{Principal, PrincipalName, TicketFlags};

    use super::*;
    use crate::reject::Reason;

    /// Bytes that are all different, and the same in every run.
    struct Counter(u8);

    impl crate::env::Entropy for Counter {
        fn fill(&mut self, out: &mut [u8]) -> Result<(), crate::env::EntropyError> {
            for byte in out {
                self.0 = self.0.wrapping_add(1);
                *byte = self.0;
            }
            Ok(())
        }
    }

    const NOW: UnixTime = UnixTime::from_micros(1_700_000_000_123_456);

    fn key(fill: u8) -> Key {
        Key::new(Etype::Aes256CtsHmacSha1, &[fill; 32]).unwrap()
    }

    fn credential(server: Principal, session: u8) -> Credential {
        let enc_part = EncryptedData { etype: 18, kvno: Some(1), cipher: b"opaque" };
        let mut ticket = Vec::new();
        Ticket::new(server.realm(), server.name(), enc_part).write(&mut ticket);
        Credential {
            client: Principal::user("wëb", "EXAMPLE.TEST"),
            server,
            key: key(session),
            flags: TicketFlags::FORWARDABLE,
            authtime: KerberosTime(NOW.secs()),
            starttime: KerberosTime(NOW.secs()),
            endtime: KerberosTime(NOW.secs() + 36_000),
            renew_till: None,
            ticket,
            clock_offset: 0,
        }
    }

    fn begin(mutual: bool, delegate: bool, bindings: &ChannelBindings) -> (Pending, Vec<u8>) {
        let service = credential(Principal::service("HTTP", "www.example.test", "EXAMPLE.TEST"), 7);
        let forwarded = Some(credential(Principal::krbtgt("EXAMPLE.TEST", "EXAMPLE.TEST"), 8));
        let ticket = ServiceTicket { service, forwarded, evidence: None, new: Vec::new() };
        let mut env = Env { now: NOW, entropy: &mut Counter(0) };
        let mut out = Vec::new();
        let pending = initiate(
            &ticket,
            Options { mutual, delegate, bindings, protection: Protection::Integrity },
            &mut env,
            &mut out,
        )
        .unwrap();
        (pending, out)
    }

    fn pending() -> Pending {
        begin(true, false, &ChannelBindings::none()).0
    }

    /// What the acceptor reads in the authenticator.
    fn read(token: &[u8], look: impl FnOnce(&ApReq<'_>, &Authenticator<'_>)) {
        let token = KrbToken::parse(token, 0).unwrap();
        assert_eq!(token.id, TokenId::ApReq);
        let ap_req = ApReq::parse(token.message).unwrap();
        let mut scratch = Vec::new();
        let plain = key(7).decrypt(usage::AP_REQ_AUTHENTICATOR, ap_req.authenticator.cipher, &mut scratch).unwrap();
        look(&ap_req, &Authenticator::parse(plain).unwrap());
    }

    fn ap_rep(under: &Key, change: impl FnOnce(&mut EncApRepPart<'_>)) -> Vec<u8> {
        let mut part = EncApRepPart {
            ctime: KerberosTime(NOW.secs()),
            cusec: NOW.subsec_micros(),
            subkey: Some(EncryptionKey { etype: 18, value: &[9; 32] }),
            seq_number: Some(5),
        };
        change(&mut part);
        let (mut plain, mut cipher, mut message, mut out) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        part.write(&mut plain);
        under.encrypt(usage::AP_REP, &plain, &mut Counter(50), &mut cipher).unwrap();
        ApRep { enc_part: EncryptedData { etype: 18, kvno: None, cipher: &cipher } }.write(&mut message);
        KrbToken { mech: MechType::KRB5, id: TokenId::ApRep, message: &message, message_offset: 0 }.write(&mut out);
        out
    }

    fn reason(result: Result<Context, Reject>) -> Reason {
        result.map(|_| ()).unwrap_err().reason
    }

    #[test]
    fn the_authenticator_says_what_was_wanted() {
        let tls = ChannelBindings::tls_server_end_point(&[3; 32]);
        read(&begin(true, false, &tls).1, |ap_req, authenticator| {
            assert_eq!(ap_req.ap_options, ap_options::MUTUAL_REQUIRED);
            assert_eq!(authenticator.cname, PrincipalName::of(1, &["wëb"]));
            assert_eq!((authenticator.ctime.0, authenticator.cusec), (NOW.secs(), 123_456));
            let checksum = GssChecksum::parse(authenticator.cksum.unwrap().checksum).unwrap();
            assert_eq!(checksum.bindings, tls.presented());
            assert_eq!(checksum.flags, gss_flags::MUTUAL | gss_flags::INTEG);
            assert_eq!(checksum.delegated, None);
            let mut words = Vec::new();
            let data = authenticator.authorization_data.unwrap();
            data.visit(&mut |element| {
                words.push((element.ad_type, element.ad_data.to_vec()));
                Ok(())
            })
            .unwrap();
            assert_eq!(words, [(ad_type::AP_OPTIONS, AP_OPTION_CBT.to_le_bytes().to_vec())]);
        });
        read(&begin(false, false, &ChannelBindings::none()).1, |ap_req, authenticator| {
            assert_eq!(ap_req.ap_options, 0);
            assert!(authenticator.authorization_data.is_none());
            assert_eq!(GssChecksum::parse(authenticator.cksum.unwrap().checksum).unwrap().bindings, [0; 16]);
        });
    }

    #[test]
    fn the_forwarded_tgt_goes_under_the_session_key() {
        read(&begin(true, true, &ChannelBindings::none()).1, |_, authenticator| {
            let checksum = GssChecksum::parse(authenticator.cksum.unwrap().checksum).unwrap();
            let cred = KrbCred::parse(checksum.delegated.unwrap()).unwrap();
            let mut scratch = Vec::new();
            let plain = key(7).decrypt(usage::KRB_CRED, cred.enc_part.cipher, &mut scratch).unwrap();
            let part = EncKrbCredPart::parse(plain).unwrap();
            let info = part.ticket_info.iter().next().unwrap();
            assert_eq!(info.key.value, key(8).expose());
            assert_eq!(cred.tickets.iter().count(), 1);
        });
    }

    #[test]
    fn an_ap_rep_proves_the_server_with_and_without_framing() {
        let framed = ap_rep(&key(7), |_| {});
        let context = pending().finish(&framed).unwrap();
        assert!(context.mutual());
        let bare = KrbToken::parse(&framed, 0).unwrap().message;
        assert!(pending().finish(bare).is_ok());
        assert!(!pending().finish_one_way().mutual());
    }

    #[test]
    fn both_ends_sign_under_the_acceptors_subkey() {
        let mut context = pending().finish(&ap_rep(&key(7), |_| {})).unwrap();
        let acceptor = MicKey::new(key(9), true);
        let (mut ours, mut again, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
        context.sign(b"list", &mut ours);
        context.sign(b"list", &mut again);
        let first = acceptor.verify(Sender::Initiator, b"list", &ours).unwrap();
        assert_eq!(acceptor.verify(Sender::Initiator, b"list", &again), Ok(first + 1));
        acceptor.sign(Sender::Acceptor, 5, b"list", &mut theirs);
        assert_eq!(context.verify(b"list", &theirs), Ok(()));
        assert!(context.verify(b"lisT", &theirs).is_err());
        assert!(context.verify(b"list", &ours).is_err(), "reflected");
    }

    #[test]
    fn an_ap_rep_that_proves_nothing_is_refused() {
        for token in [
            ap_rep(&key(6), |_| {}),
            ap_rep(&key(7), |part| part.ctime.0 += 1),
            ap_rep(&key(7), |part| part.cusec += 1),
            ap_rep(&key(7), |part| part.subkey = Some(EncryptionKey { etype: 3, value: &[9; 8] })),
            ap_rep(&key(7), |part| part.subkey = Some(EncryptionKey { etype: 18, value: &[9; 16] })),
        ] {
            assert_eq!(reason(pending().finish(&token)), Reason::Peer(Peer::NotMutual));
        }
        let whole = ap_rep(&key(7), |_| {});
        for cut in 0..whole.len() {
            assert!(pending().finish(&whole[..cut]).is_err(), "cut at {cut}");
        }
        // Our own token, reflected.
        let ours = begin(true, false, &ChannelBindings::none()).1;
        assert!(matches!(reason(pending().finish(&ours)), Reason::Malformed(Malformed::OutOfSequence { .. })));
    }

    #[test]
    fn what_the_server_says_in_an_error_is_told() {
        let error = |error_code, stime: i64| {
            let mut message = Vec::new();
            KrbError {
                ctime: None,
                cusec: None,
                stime: KerberosTime(stime),
                susec: 0,
                error_code,
                crealm: None,
                cname: None,
                realm: "EXAMPLE.TEST".into(),
                sname: PrincipalName::of(2, &["HTTP", "www.example.test"]),
                e_text: Some("in its own words".into()),
                e_data: None,
            }
            .write(&mut message);
            let mut out = Vec::new();
            KrbToken { mech: MechType::KRB5, id: TokenId::Error, message: &message, message_offset: 0 }.write(&mut out);
            out
        };
        let skew = reason(pending().finish(&error(code::KRB_AP_ERR_SKEW, NOW.secs() + 1000)));
        assert_eq!(skew, Reason::Peer(Peer::ClockSkew { seconds: -1000, allowed: 300 }));
        match reason(pending().finish(&error(code::KRB_AP_ERR_MODIFIED, NOW.secs()))) {
            Reason::Peer(Peer::Rejected { said }) => {
                assert!(said.contains("KRB_AP_ERR_MODIFIED") && said.contains("in its own words"), "{said}");
            }
            other => panic!("{other:?}"),
        }
    }
}
