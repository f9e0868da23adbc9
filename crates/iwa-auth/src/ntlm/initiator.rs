//! The client's side of NTLM: NTLMv2 with a MIC, channel bindings and the name of the server it means. MS-NLMP 3.1.5.1.
//!
//! ```text
//! Client --negotiate()--> Negotiated --respond()--> Context
//! ```
//!
//! A MIC always, also if the challenge has no timestamp: otherwise whoever stands between could take the timestamp out and
//! with it the MIC. Never LM, LMv2 or NTLMv1.

use core::fmt;
use std::sync::Arc;

use iwa_wire::ntlm::{
    Authenticate, AvFlags, AvId, AvPairs, Challenge, Flags, MIC_OFFSET, MessageType, Negotiate, Ntlmv2Response, Text,
    Version, utf16le,
};
use iwa_wire::{ErrorKind, ParseError};

use super::acceptor::in_sequence;
use super::crypto::{self, NtHash, Sender};
use super::session::Session;
use crate::binding::ChannelBindings;
use crate::env::Env;
use crate::reject::Reject;
use crate::secret::Secret;

/// Who logs on, and where.
#[derive(Clone, Debug)]
pub struct Credential {
    /// `alice`, or `alice@corp.example.test` with an empty domain.
    pub user: String,
    /// The NetBIOS or DNS domain; empty if `user` has it or for the server's own accounts.
    pub domain: String,
    /// This machine's name, which the server may log; may be empty.
    pub workstation: String,
    /// The key: [`crypto::nt_hash`] of a password.
    pub nt_hash: NtHash,
}

/// An NTLM client with a credential.
#[derive(Clone, Debug)]
pub struct Client {
    credential: Arc<Credential>,
    target_name: Option<Arc<str>>,
}

impl Client {
    /// A client that says in its proof that it means the server `target_name` (an SPN: `HTTP/web.example.test`).
    #[must_use]
    pub fn new(credential: Credential, target_name: Option<&str>) -> Self {
        Self { credential: Arc::new(credential), target_name: target_name.map(Arc::from) }
    }

    /// Appends the NEGOTIATE to `out`.
    pub(crate) fn negotiate(&self, out: &mut Vec<u8>) -> Negotiated {
        let mut message = Vec::with_capacity(40);
        let negotiate = Negotiate { flags: ASKED, version: Some(Version::SENT), ..Negotiate::default() };
        negotiate.write(&mut message).expect("a NEGOTIATE without names has no field that could be too long");
        out.extend_from_slice(&message);
        Negotiated { client: self.clone(), negotiate: message }
    }
}

/// A NEGOTIATE that waits for its CHALLENGE.
pub(crate) struct Negotiated {
    client: Client,
    negotiate: Vec<u8>,
}

impl fmt::Debug for Negotiated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Negotiated").field("client", &self.client).finish_non_exhaustive()
    }
}

impl Negotiated {
    /// Answers the CHALLENGE with an AUTHENTICATE, which is appended to `out`. MS-NLMP 3.1.5.1.2.
    pub(crate) fn respond(
        self,
        challenge: &[u8],
        bindings: &ChannelBindings,
        env: &mut Env<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Context, Reject> {
        in_sequence(challenge, MessageType::Challenge)?;
        let asked = Challenge::parse(challenge)?;
        let Credential { user, domain, workstation, nt_hash } = &*self.client.credential;

        let pairs = self.av_pairs(&asked.target_info, bindings)?;
        let pairs = AvPairs::parse(&pairs, 0)?;
        let time = asked.target_info.timestamp().unwrap_or_else(|| env.now.filetime());
        let mut temp = Vec::with_capacity(32 + pairs.bytes().len());
        Ntlmv2Response::write_client_challenge(time, &env.random::<8>()?, pairs, &mut temp);
        let response_key = crypto::ntowfv2(nt_hash, user, domain);
        let proof = crypto::nt_proof_str(&response_key, &asked.server_challenge, &temp);
        let session_base_key = crypto::session_base_key(&response_key, &proof);
        let nt_response = [proof.as_slice(), &temp].concat();

        let flags = (asked.flags & (ASKED | Flags::TARGET_INFO)) | Flags::NTLM;
        let unicode = flags.has(Flags::UNICODE);
        let flags = if unicode { flags & !Flags::OEM } else { flags | Flags::OEM };
        let (exported_session_key, encrypted) = if crypto::exchanges_key(flags) {
            let exported = Secret::new(env.random::<16>()?);
            let mut encrypted = *exported.expose();
            crypto::rc4k(session_base_key.expose(), &mut encrypted);
            (exported, Some(encrypted))
        } else {
            (session_base_key, None)
        };
        let encode = |text: &str| if unicode { utf16le(text) } else { text.as_bytes().to_vec() };
        let [domain, user, workstation] = [domain, user, workstation].map(|name| encode(name));
        let text = |bytes| Text { bytes, unicode };
        let message = Authenticate {
            lm_response: &[0; 24],
            nt_response: &nt_response,
            domain: text(&domain),
            user: text(&user),
            workstation: text(&workstation),
            encrypted_random_session_key: encrypted.as_ref().map_or(&[], |key| key.as_slice()),
            flags,
            version: Some(Version::SENT).filter(|_| flags.has(Flags::VERSION)),
            mic: Some([0; 16]),
        };
        let mut authenticate = Vec::with_capacity(256 + nt_response.len());
        message.write(&mut authenticate)?;
        let mic = crypto::mic(&exported_session_key, &[&self.negotiate, challenge, &authenticate]);
        if let Some(place) = authenticate.get_mut(MIC_OFFSET..MIC_OFFSET + mic.len()) {
            place.copy_from_slice(&mic);
        }
        out.extend_from_slice(&authenticate);
        Ok(Context { session: Session::new(flags, exported_session_key, Sender::Client) })
    }

    /// What the server said of itself, and what this client adds. Pairs that only a client may add are not taken over: a
    /// forged challenge could otherwise switch the MIC off or name another server.
    fn av_pairs(&self, target_info: &AvPairs<'_>, bindings: &ChannelBindings) -> Result<Vec<u8>, ParseError> {
        let ours = [AvId::FLAGS, AvId::SINGLE_HOST, AvId::CHANNEL_BINDINGS, AvId::TARGET_NAME];
        let mut out = Vec::with_capacity(target_info.bytes().len() + 128);
        let mut fits = true;
        for pair in target_info.iter().filter(|pair| !ours.contains(&pair.id)) {
            fits &= AvPairs::push(&mut out, pair.id, pair.value);
        }
        fits &= AvPairs::push(&mut out, AvId::FLAGS, &AvFlags::MIC.0.to_le_bytes());
        fits &= AvPairs::push(&mut out, AvId::CHANNEL_BINDINGS, &bindings.presented());
        if let Some(name) = &self.client.target_name {
            fits &= AvPairs::push(&mut out, AvId::TARGET_NAME, &utf16le(name));
        }
        AvPairs::end(&mut out);
        let kind = ErrorKind::Limit { what: "MsvAvTargetName", limit: usize::from(u16::MAX) };
        if fits { Ok(out) } else { Err(ParseError { format: "AV_PAIR", offset: 0, kind }) }
    }
}

/// A handshake that this end has finished. Whether the server agrees is said by what it does next: NTLM proves nothing of
/// the server by itself.
#[derive(Debug)]
pub(crate) struct Context {
    session: Session,
}

impl Context {
    /// The signature of our next message.
    pub(crate) fn sign(&mut self, message: &[u8]) -> [u8; 16] {
        self.session.sign(message)
    }

    /// Whether `mac` is the signature of the server's next message, compared in constant time.
    pub(crate) fn verify(&mut self, message: &[u8], mac: &[u8]) -> bool {
        self.session.verify(message, mac)
    }
}

/// What this client asks for: session security of the second version, 128 bits and a session key of its own, so that SPNEGO's
/// `mechListMIC` can be made.
const ASKED: Flags = Flags(
    Flags::UNICODE.0
        | Flags::OEM.0
        | Flags::REQUEST_TARGET.0
        | Flags::SIGN.0
        | Flags::NTLM.0
        | Flags::ALWAYS_SIGN.0
        | Flags::EXTENDED_SESSIONSECURITY.0
        | Flags::VERSION.0
        | Flags::SESSION_128.0
        | Flags::KEY_EXCH.0
        | Flags::SESSION_56.0,
);
