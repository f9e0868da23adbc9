//! The client of SASL's GSSAPI mechanism over Kerberos. RFC 4752 3.1; MS-ADTS 5.1.1.1.2.
//!
//! ```text
//! begin --AP-REQ--> [ApRep] --(empty)--> [Offer] --choice--> [Outcome] --success--> Layer
//! ```
//!
//! Whoever drives it carries the tokens in the application's messages: [`Gssapi::step`] takes what the server sent, and
//! [`Gssapi::finish`] its word that the authentication is done.

use core::fmt;

use iwa_wire::ParseError;

use super::client::ServiceTicket;
use super::initiator::{self, Options, Pending, Protection};
use super::wrap::{Wrap, WrapError};
use crate::binding::ChannelBindings;
use crate::env::{Entropy, EntropyError, Env};
use crate::reject::Reject;

/// The name of the mechanism.
pub const MECHANISM: &str = "GSSAPI";

/// What protects the messages after the authentication.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Security {
    /// The mechanism's own layer: everything is sealed. A server that offers less is refused.
    Sealed,
    /// The TLS connection under it, to which the authentication is bound where the bindings say which it is. Directories
    /// refuse a layer of the mechanism inside TLS.
    Tls,
}

/// An authentication under way. The next token to send was appended to the caller's buffer.
#[derive(Debug)]
pub struct Gssapi {
    security: Security,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The AP-REQ is out.
    ApRep(Box<Pending>),
    /// The server has proved itself and is to say which layers it offers.
    Offer(Box<Wrap>),
    /// The choice is out.
    Outcome(Box<Wrap>, usize),
}

/// Why there is no connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum SaslError {
    /// Kerberos failed.
    Kerberos(Reject),
    /// A token of the server does not hold.
    Wrap(WrapError),
    /// The server offers layers without confidentiality: somebody may have taken it out of the offer.
    NoConfidentiality {
        /// The bits of what it offers (RFC 4752 3.3).
        offered: u8,
    },
    /// The server insists on a layer where there is TLS already.
    LayerInTls {
        /// The bits of what it offers.
        offered: u8,
    },
    /// The server's offer has another form than four bytes, or leaves no room for messages.
    Offer,
    /// The server says that the authentication is done before it is, or goes on after it.
    OutOfSequence(&'static str),
    /// The session key is of a type for which there is no layer: RC4.
    Etype,
    /// The system gave no randomness.
    Entropy,
    /// A frame is longer than was agreed; nothing was kept of it.
    Frame {
        /// The length that it announces.
        length: usize,
        /// The longest that is taken.
        limit: usize,
    },
    /// A frame that was to be sealed came signed only.
    NotSealed,
}

impl fmt::Display for SaslError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kerberos(reject) => write!(f, "{}", reject.reason),
            Self::Wrap(error) => error.fmt(f),
            Self::NoConfidentiality { offered } => write!(
                f,
                "the server offers the layers 0x{offered:02x} and none that encrypts (0x04): somebody on the way may have taken \
                 it out; nothing is sent over a connection that others can read"
            ),
            Self::LayerInTls { offered } => write!(
                f,
                "inside TLS the server offers the layers 0x{offered:02x} and not the one without a layer (0x01)"
            ),
            Self::Offer => f.write_str("the server's offer of security layers is not of RFC 4752's form"),
            Self::OutOfSequence(what) => f.write_str(what),
            Self::Etype => f.write_str(
                "the ticket's session key is for RC4, with which connections are not sealed here: give the directory's \
                 account AES keys (msDS-SupportedEncryptionTypes 24)",
            ),
            Self::Entropy => f.write_str("the system gives no randomness"),
            Self::Frame { length, limit } => {
                write!(f, "a sealed frame of {length} bytes is announced, {limit} are taken")
            }
            Self::NotSealed => f.write_str("a frame came that was signed and not sealed, as was agreed"),
        }
    }
}

impl core::error::Error for SaslError {}

impl From<Reject> for SaslError {
    fn from(reject: Reject) -> Self {
        Self::Kerberos(reject)
    }
}

impl From<WrapError> for SaslError {
    fn from(error: WrapError) -> Self {
        Self::Wrap(error)
    }
}

impl From<ParseError> for SaslError {
    fn from(error: ParseError) -> Self {
        Self::Wrap(WrapError::Malformed(error))
    }
}

impl From<EntropyError> for SaslError {
    fn from(_: EntropyError) -> Self {
        Self::Entropy
    }
}

/// The longest frame that is taken, its four bytes of length not counted: what three bytes can say to the server.
pub const FRAME_LIMIT: usize = 0xff_ffff;
const NO_LAYER: u8 = 1;
const CONFIDENTIALITY: u8 = 4;

impl Gssapi {
    /// Begins: appends the AP-REQ. `env.now` is the time as the service sees it.
    ///
    /// # Errors
    /// As [`initiator::initiate`].
    pub fn begin(
        ticket: &ServiceTicket,
        security: Security,
        bindings: &ChannelBindings,
        env: &mut Env<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Self, SaslError> {
        let protection = match security {
            Security::Sealed => Protection::Confidentiality,
            Security::Tls => Protection::None,
        };
        let options = Options { mutual: true, delegate: false, bindings, protection };
        let pending = initiator::initiate(ticket, options, env, out)?;
        Ok(Self { security, state: State::ApRep(Box::new(pending)) })
    }

    /// Takes a token of the server that says it goes on, and appends the answer.
    ///
    /// # Errors
    /// [`SaslError`]: a server that does not prove itself, that offers too little, or that talks out of turn.
    pub fn step(self, token: &[u8], out: &mut Vec<u8>) -> Result<Self, SaslError> {
        let Self { security, state } = self;
        let state = match state {
            State::ApRep(pending) => {
                // Our own token is complete, so the answer is an empty one; its turn has the server.
                let wrap = pending.finish(token)?.into_wrap().ok_or(SaslError::Etype)?;
                State::Offer(Box::new(wrap))
            }
            State::Offer(mut wrap) => {
                let mut token = token.to_vec();
                let range = wrap.unwrap(&mut token)?.message;
                let Some(&[offered, a, b, c]) = token.get(range) else { return Err(SaslError::Offer) };
                let size = u32::from_be_bytes([0, a, b, c]) as usize;
                let (choice, ours) = match security {
                    Security::Sealed if offered & CONFIDENTIALITY == 0 => {
                        return Err(SaslError::NoConfidentiality { offered });
                    }
                    Security::Tls if offered & NO_LAYER == 0 => return Err(SaslError::LayerInTls { offered }),
                    Security::Sealed => (CONFIDENTIALITY, FRAME_LIMIT as u32),
                    Security::Tls => (NO_LAYER, 0),
                };
                if security == Security::Sealed && size <= wrap.overhead() {
                    return Err(SaslError::Offer);
                }
                let [_, a, b, c] = ours.to_be_bytes();
                // Without an authorization identity: the server takes the ticket's client.
                wrap.sign(&[choice, a, b, c], out);
                State::Outcome(wrap, size)
            }
            State::Outcome(..) => {
                return Err(SaslError::OutOfSequence("the server goes on after the authentication has ended"));
            }
        };
        Ok(Self { security, state })
    }

    /// Ends it: the server says that the client is in. From here on every byte goes through the layer; without one (inside
    /// TLS) there is none.
    ///
    /// # Errors
    /// [`SaslError::OutOfSequence`] if a step was left out: a server that never proved itself.
    pub fn finish(self) -> Result<Option<Layer>, SaslError> {
        match (self.state, self.security) {
            (State::Outcome(wrap, size), Security::Sealed) => Ok(Some(Layer { wrap: *wrap, size })),
            (State::Outcome(..), Security::Tls) => Ok(None),
            _ => Err(SaslError::OutOfSequence(
                "the server says that the authentication is done before it has proved itself and agreed on a layer",
            )),
        }
    }
}

/// The sealed stream: frames of four bytes of length and a Wrap token (RFC 4422 3.7).
#[derive(Debug)]
pub struct Layer {
    wrap: Wrap,
    /// The longest frame that the other end takes.
    size: usize,
}

impl Layer {
    /// A layer of any end, for servers of tests. `size` is the longest frame that the other end takes.
    #[must_use]
    pub const fn new(wrap: Wrap, size: usize) -> Self {
        Self { wrap, size }
    }

    /// Appends frames that hold `message`: as many as the other end's buffer makes necessary.
    ///
    /// # Errors
    /// [`EntropyError`].
    pub fn seal(&mut self, message: &[u8], entropy: &mut dyn Entropy, out: &mut Vec<u8>) -> Result<(), EntropyError> {
        let room = self.size.min(FRAME_LIMIT).saturating_sub(self.wrap.overhead()).max(1);
        for piece in message.chunks(room) {
            let length = (piece.len() + self.wrap.overhead()) as u32;
            out.extend_from_slice(&length.to_be_bytes());
            self.wrap.seal(piece, entropy, out)?;
        }
        Ok(())
    }

    /// How long the frame is whose first four bytes these are, without them.
    ///
    /// # Errors
    /// [`SaslError::Frame`] if it is longer than [`FRAME_LIMIT`] or empty: nothing needs to be kept for it.
    pub fn frame(length: [u8; 4]) -> Result<usize, SaslError> {
        let length = u32::from_be_bytes(length) as usize;
        if length == 0 || length > FRAME_LIMIT {
            return Err(SaslError::Frame { length, limit: FRAME_LIMIT });
        }
        Ok(length)
    }

    /// Opens one frame, without its length, where it stands. What is returned is a part of it.
    ///
    /// # Errors
    /// [`SaslError`]: the stream is then of no more use.
    pub fn unseal<'a>(&mut self, frame: &'a mut [u8]) -> Result<&'a [u8], SaslError> {
        let unwrapped = self.wrap.unwrap(frame)?;
        if !unwrapped.sealed {
            return Err(SaslError::NotSealed);
        }
        Ok(frame.get(unwrapped.message).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use iwa_wire::gss::MechType;
    use iwa_wire::krb5::ap::ApReq;
    use iwa_wire::krb5::checksum::{GssChecksum, gss_flags};
    use iwa_wire::krb5::token::{KrbToken, TokenId};
    use iwa_wire::krb5::{
        ApRep, Authenticator, EncApRepPart, EncryptedData, EncryptionKey, KerberosTime, Principal, Ticket, TicketFlags,
    };

    use super::*;
    use crate::env::UnixTime;
    use crate::krb5::client::Credential;
    use crate::krb5::etype::{Etype, Key};
    use crate::krb5::mic::Sender;
    use crate::krb5::usage;

    struct Counter(u8);

    impl Entropy for Counter {
        fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
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

    fn ticket() -> ServiceTicket {
        let server = Principal::service("ldap", "dc1.example.test", "EXAMPLE.TEST");
        let enc_part = EncryptedData { etype: 18, kvno: Some(1), cipher: b"opaque" };
        let mut ticket = Vec::new();
        Ticket::new(server.realm(), server.name(), enc_part).write(&mut ticket);
        let service = Credential {
            client: Principal::user("WEB$", "EXAMPLE.TEST"),
            server,
            key: key(7),
            flags: TicketFlags(0),
            authtime: KerberosTime(NOW.secs()),
            starttime: KerberosTime(NOW.secs()),
            endtime: KerberosTime(NOW.secs() + 36_000),
            renew_till: None,
            ticket,
            clock_offset: 0,
        };
        ServiceTicket { service, forwarded: None, evidence: None, new: Vec::new() }
    }

    /// A server: reads the AP-REQ, answers, and wraps from then on.
    struct Server {
        wrap: Wrap,
        ap_rep: Vec<u8>,
        flags: u32,
    }

    fn server(ap_req: &[u8]) -> Server {
        let token = KrbToken::parse(ap_req, 0).unwrap();
        assert_eq!((token.mech, token.id), (MechType::KRB5, TokenId::ApReq));
        let ap_req = ApReq::parse(token.message).unwrap();
        let mut scratch = Vec::new();
        let plain = key(7).decrypt(usage::AP_REQ_AUTHENTICATOR, ap_req.authenticator.cipher, &mut scratch).unwrap();
        let authenticator = Authenticator::parse(plain).unwrap();
        let flags = GssChecksum::parse(authenticator.cksum.unwrap().checksum).unwrap().flags;
        let part = EncApRepPart {
            ctime: authenticator.ctime,
            cusec: authenticator.cusec,
            subkey: Some(EncryptionKey { etype: 18, value: &[9; 32] }),
            seq_number: Some(70),
        };
        let (mut plain, mut cipher, mut message, mut ap_rep) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        part.write(&mut plain);
        key(7).encrypt(usage::AP_REP, &plain, &mut Counter(50), &mut cipher).unwrap();
        ApRep { enc_part: EncryptedData { etype: 18, kvno: None, cipher: &cipher } }.write(&mut message);
        KrbToken { mech: MechType::KRB5, id: TokenId::ApRep, message: &message, message_offset: 0 }.write(&mut ap_rep);
        let theirs = u64::from(authenticator.seq_number.unwrap());
        let wrap = Wrap::new(&key(9), true, Sender::Acceptor, 70, theirs).unwrap();
        Server { wrap, ap_rep, flags }
    }

    impl Server {
        fn offer(&mut self, offer: &[u8]) -> Vec<u8> {
            let mut out = Vec::new();
            self.wrap.sign(offer, &mut out);
            out
        }
    }

    fn begin(security: Security) -> (Gssapi, Server) {
        let mut env = Env { now: NOW, entropy: &mut Counter(0) };
        let mut out = Vec::new();
        let client = Gssapi::begin(&ticket(), security, &ChannelBindings::none(), &mut env, &mut out).unwrap();
        (client, server(&out))
    }

    /// Up to the server's offer.
    fn offered(security: Security, offer: &[u8]) -> (Result<Gssapi, SaslError>, Vec<u8>, Server) {
        let (client, mut server) = begin(security);
        let mut out = Vec::new();
        let client = client.step(&server.ap_rep, &mut out).unwrap();
        assert!(out.is_empty(), "the answer to the AP-REP is empty");
        let offer = server.offer(offer);
        let client = client.step(&offer, &mut out);
        (client, out, server)
    }

    fn layers(size: u32) -> (Layer, Layer) {
        let [_, a, b, c] = size.to_be_bytes();
        let (client, mut choice, mut server) = offered(Security::Sealed, &[7, a, b, c]);
        let range = server.wrap.unwrap(&mut choice).unwrap().message;
        assert_eq!(choice[range], [4, 0xff, 0xff, 0xff]);
        (client.unwrap().finish().unwrap().unwrap(), Layer::new(server.wrap, FRAME_LIMIT))
    }

    /// Opens all frames of a stream.
    fn opened(layer: &mut Layer, mut stream: &[u8]) -> Result<Vec<Vec<u8>>, SaslError> {
        let mut messages = Vec::new();
        while let Some((head, rest)) = stream.split_first_chunk::<4>() {
            let (frame, rest) = rest.split_at(Layer::frame(*head)?);
            messages.push(layer.unseal(&mut frame.to_vec())?.to_vec());
            stream = rest;
        }
        Ok(messages)
    }

    #[test]
    fn a_sealed_connection_from_the_ap_req_to_both_directions() {
        let (mut client, mut server) = layers(0xff_ffff);
        let mut stream = Vec::new();
        client.seal(b"search", &mut Counter(0), &mut stream).unwrap();
        client.seal(b"again", &mut Counter(0), &mut stream).unwrap();
        assert_eq!(opened(&mut server, &stream).unwrap(), [b"search".to_vec(), b"again".to_vec()]);
        stream.clear();
        server.seal(b"entry", &mut Counter(0), &mut stream).unwrap();
        assert_eq!(opened(&mut client, &stream).unwrap(), [b"entry".to_vec()]);
    }

    #[test]
    fn what_is_longer_than_the_servers_buffer_goes_in_pieces() {
        let (mut client, mut server) = layers(100);
        let message = [5; 333];
        let mut stream = Vec::new();
        client.seal(&message, &mut Counter(0), &mut stream).unwrap();
        let pieces = opened(&mut server, &stream).unwrap();
        assert!(pieces.len() > 1 && pieces.iter().all(|piece| piece.len() + client.wrap.overhead() <= 100));
        assert_eq!(pieces.concat(), message);
    }

    #[test]
    fn the_service_is_told_which_protection_there_will_be() {
        let all = gss_flags::CONF | gss_flags::INTEG | gss_flags::REPLAY | gss_flags::SEQUENCE | gss_flags::MUTUAL;
        assert_eq!(begin(Security::Sealed).1.flags, all);
        assert_eq!(begin(Security::Tls).1.flags, gss_flags::MUTUAL);
    }

    #[test]
    fn a_server_that_does_not_encrypt_is_refused() {
        for offered_bits in [0, 1, 2, 3, 0x83] {
            let (client, out, _) = offered(Security::Sealed, &[offered_bits, 0xff, 0xff, 0xff]);
            assert!(matches!(client, Err(SaslError::NoConfidentiality { offered }) if offered == offered_bits));
            assert!(out.is_empty(), "nothing is sent any more");
        }
    }

    #[test]
    fn an_offer_that_somebody_changed_is_refused() {
        let (client, mut server) = begin(Security::Sealed);
        let client = client.step(&server.ap_rep, &mut Vec::new()).unwrap();
        let mut offer = server.offer(&[7, 0, 0xff, 0xff]);
        offer[16] = 1;
        assert!(matches!(client.step(&offer, &mut Vec::new()), Err(SaslError::Wrap(WrapError::Wrong))));
    }

    #[test]
    fn inside_tls_there_is_no_layer() {
        let (client, mut choice, mut server) = offered(Security::Tls, &[1, 0, 0, 0]);
        let range = server.wrap.unwrap(&mut choice).unwrap().message;
        assert_eq!(choice[range], [1, 0, 0, 0]);
        assert!(client.unwrap().finish().unwrap().is_none());
        let (client, ..) = offered(Security::Tls, &[6, 0xff, 0xff, 0xff]);
        assert!(matches!(client, Err(SaslError::LayerInTls { offered: 6 })));
    }

    #[test]
    fn offers_of_another_form_are_refused() {
        for bad in [&[][..], &[4], &[4, 0, 0], &[4, 0, 0xff, 0xff, 0], &[4, 0, 0, 0], &[4, 0, 0, 60]] {
            let (client, ..) = offered(Security::Sealed, bad);
            assert!(matches!(client, Err(SaslError::Offer)), "{bad:?}");
        }
    }

    #[test]
    fn a_server_that_says_done_too_early_or_goes_on_too_long_is_refused() {
        let (client, server) = begin(Security::Sealed);
        assert!(matches!(client.finish(), Err(SaslError::OutOfSequence(_))));
        let (client, _) = begin(Security::Sealed);
        let client = client.step(&server.ap_rep, &mut Vec::new());
        // Of another handshake with the same clock and key: the same in every byte, so it proves the same.
        assert!(matches!(client.unwrap().finish(), Err(SaslError::OutOfSequence(_))));
        let (client, _, mut server) = offered(Security::Sealed, &[4, 0, 0xff, 0xff]);
        let more = server.offer(&[4, 0, 0xff, 0xff]);
        assert!(matches!(client.unwrap().step(&more, &mut Vec::new()), Err(SaslError::OutOfSequence(_))));
    }

    #[test]
    fn a_server_that_does_not_know_the_key_is_refused() {
        let (client, server) = begin(Security::Sealed);
        let mut changed = server.ap_rep;
        let last = changed.len() - 1;
        changed[last] ^= 1;
        assert!(matches!(client.step(&changed, &mut Vec::new()), Err(SaslError::Kerberos(_))));
        let (client, _) = begin(Security::Sealed);
        assert!(matches!(client.step(b"", &mut Vec::new()), Err(SaslError::Kerberos(_))));
    }

    #[test]
    fn frames_that_are_too_long_signed_only_or_changed_are_refused() {
        for length in [0, 0x0100_0000, u32::MAX] {
            assert!(matches!(Layer::frame(length.to_be_bytes()), Err(SaslError::Frame { .. })));
        }
        let (mut client, mut server) = layers(0xff_ffff);
        let mut signed = Vec::new();
        server.wrap.sign(b"entry", &mut signed);
        assert!(matches!(client.unseal(&mut signed), Err(SaslError::NotSealed)));
        let (mut client, mut server) = layers(0xff_ffff);
        let mut stream = Vec::new();
        server.seal(b"entry", &mut Counter(0), &mut stream).unwrap();
        for place in 4..stream.len() {
            let mut changed = stream.clone();
            changed[place] ^= 1;
            assert!(matches!(opened(&mut client, &changed), Err(SaslError::Wrap(_))), "{place}");
        }
        assert!(opened(&mut client, &stream).is_ok());
        assert!(opened(&mut client, &stream).is_err(), "repeated");
    }
}
