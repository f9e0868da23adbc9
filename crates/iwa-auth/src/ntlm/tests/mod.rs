//! Both ends in memory, and clients that bend the rules.

mod attacks;
mod corpus;
mod handshake;

use core::time::Duration;

use iwa_wire::ntlm::{
    Authenticate, AvFlags, AvId, AvPairs, Challenge, Flags, MIC_OFFSET, Ntlmv2Response, Text, Version, utf16le,
};

use super::acceptor::{Challenged, Context, Pending, Server, ServerConfig};
use super::crypto::{self, nt_hash, verify_ntlmv2};
use super::initiator::{Client, Credential};
use crate::binding::{BindingPolicy, ChannelBindings};
use crate::env::{Entropy, EntropyError, Env, UnixTime};
use crate::identity::Account;
use crate::nt_status::NtStatus;
use crate::ports::{LogonError, LogonInfo, NetworkLogon};
use crate::reject::{Reason, Reject};
use crate::secret::Secret;

/// Counts, so that no two challenges are the same and every run is.
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

struct NoEntropy;

impl Entropy for NoEntropy {
    fn fill(&mut self, _: &mut [u8]) -> Result<(), EntropyError> {
        Err(EntropyError)
    }
}

/// 2026-11-23T12:00:00Z.
const NOW: UnixTime = UnixTime::from_secs(1_795_435_200);
const PASSWORD: &str = "Alice-Pw1";

fn config() -> ServerConfig {
    ServerConfig {
        dns_computer: Some("web.example.test".into()),
        dns_domain: Some("example.test".into()),
        nb_domain: "EXAMPLE".into(),
        ..ServerConfig::standalone("WEB")
    }
}

fn server() -> Server {
    Server::new(config()).unwrap()
}

fn server_with(change: impl FnOnce(&mut ServerConfig)) -> Server {
    let mut config = config();
    change(&mut config);
    Server::new(config).unwrap()
}

fn client(password: &str) -> Client {
    let credential = Credential {
        user: "alice".into(),
        domain: "EXAMPLE".into(),
        workstation: "DESK".into(),
        nt_hash: nt_hash(password),
    };
    Client::new(credential, Some("HTTP/web.example.test"))
}

/// Accounts with one user.
fn authority(logon: &NetworkLogon) -> Result<LogonInfo, LogonError> {
    let NetworkLogon { user, domain, server_challenge, nt_response, .. } = logon;
    if !user.eq_ignore_ascii_case("alice") {
        return Err(LogonError::Refused(NtStatus::NO_SUCH_USER));
    }
    let session_base_key = verify_ntlmv2(&nt_hash(PASSWORD), user, domain, server_challenge, nt_response)
        .ok_or(LogonError::Refused(NtStatus::WRONG_PASSWORD))?;
    let account = Account { name: "alice".into(), domain: "EXAMPLE".into(), ..Account::default() };
    Ok(LogonInfo { account, groups: Vec::new(), named_groups: None, session_base_key })
}

/// One handshake of a server with its client's tokens.
struct Exchange<'s> {
    server: &'s Server,
    negotiate: Vec<u8>,
    challenge: Vec<u8>,
    challenged: Challenged,
}

/// What browsers without session security of their own send.
const BROWSER: u32 = 0x0008_8207;

impl<'s> Exchange<'s> {
    fn with(server: &'s Server, negotiate: &[u8]) -> Result<Self, Reject> {
        let mut challenge = Vec::new();
        let challenged =
            server.challenge(negotiate, &mut Env { now: NOW, entropy: &mut Counter(0) }, &mut challenge)?;
        Ok(Self { server, negotiate: negotiate.to_vec(), challenge, challenged })
    }

    fn begin(server: &'s Server) -> Self {
        Self::with(server, &negotiate(BROWSER)).unwrap()
    }

    fn authenticate_at(
        self,
        now: UnixTime,
        token: &[u8],
        bindings: &ChannelBindings,
        policy: BindingPolicy,
    ) -> Result<Pending, Reject> {
        let mut env = Env { now, entropy: &mut Counter(100) };
        self.challenged.authenticate(self.server, token, bindings, policy, &mut env)
    }

    fn pending(self, token: &[u8]) -> Result<Pending, Reject> {
        self.authenticate_at(NOW, token, &ChannelBindings::none(), BindingPolicy::None)
    }

    fn finish(self, token: &[u8]) -> Result<Context, Reject> {
        let pending = self.pending(token)?;
        let answer = authority(pending.request());
        pending.answer(answer)
    }

    /// Whether the client that was let in sent a MIC.
    fn finish_with_mic(self, token: &[u8]) -> Result<bool, Reject> {
        let pending = self.pending(token)?;
        let announces = pending.announces_mic();
        let answer = authority(pending.request());
        pending.answer(answer).map(|_| announces)
    }

    fn reason(self, token: &[u8]) -> Reason {
        self.finish(token).map(|_| ()).unwrap_err().reason
    }
}

fn negotiate(flags: u32) -> Vec<u8> {
    let mut bytes = b"NTLMSSP\0\x01\0\0\0".to_vec();
    bytes.extend_from_slice(&flags.to_le_bytes());
    bytes.extend_from_slice(&[0; 16]);
    bytes
}

/// What a client says in its AUTHENTICATE; begins as an honest one.
struct Answer {
    user: String,
    domain: String,
    password: String,
    flags: Flags,
    time: UnixTime,
    pairs: Vec<(AvId, Vec<u8>)>,
    mic: bool,
    lm_response: Vec<u8>,
    session_key: Vec<u8>,
}

impl Answer {
    fn honest(exchange: &Exchange<'_>) -> Self {
        let challenge = Challenge::parse(&exchange.challenge).unwrap();
        let mut pairs: Vec<_> = challenge.target_info.iter().map(|pair| (pair.id, pair.value.to_vec())).collect();
        pairs.push((AvId::FLAGS, AvFlags::MIC.0.to_le_bytes().to_vec()));
        pairs.push((AvId::CHANNEL_BINDINGS, vec![0; 16]));
        pairs.push((AvId::TARGET_NAME, utf16le("HTTP/web.example.test")));
        Self {
            user: "alice".into(),
            domain: "EXAMPLE".into(),
            password: PASSWORD.into(),
            flags: Flags(BROWSER),
            time: NOW,
            pairs,
            mic: true,
            lm_response: vec![0; 24],
            session_key: Vec::new(),
        }
    }

    /// As curl and Firefox answer: nothing of their own in the pairs, no MIC.
    fn without_mic(exchange: &Exchange<'_>) -> Self {
        let mut answer = Self::honest(exchange);
        answer.pairs.retain(|(id, _)| ![AvId::FLAGS, AvId::CHANNEL_BINDINGS, AvId::TARGET_NAME].contains(id));
        answer.mic = false;
        answer
    }

    fn set(mut self, id: AvId, value: Vec<u8>) -> Self {
        self.pairs.retain(|(other, _)| *other != id);
        self.pairs.push((id, value));
        self
    }

    fn without(mut self, id: AvId) -> Self {
        self.pairs.retain(|(other, _)| *other != id);
        self
    }

    fn nt_response(&self, exchange: &Exchange<'_>) -> Vec<u8> {
        let mut pairs = Vec::new();
        for (id, value) in &self.pairs {
            assert!(AvPairs::push(&mut pairs, *id, value));
        }
        AvPairs::end(&mut pairs);
        let challenge = Challenge::parse(&exchange.challenge).unwrap();
        let mut temp = Vec::new();
        let pairs = AvPairs::parse(&pairs, 0).unwrap();
        Ntlmv2Response::write_client_challenge(self.time.filetime(), &[0xcc; 8], pairs, &mut temp);
        let proof = crypto::nt_proof_str(&self.key(), &challenge.server_challenge, &temp);
        [proof.as_slice(), &temp].concat()
    }

    fn key(&self) -> Secret<[u8; 16]> {
        crypto::ntowfv2(&nt_hash(&self.password), &self.user, &self.domain)
    }

    fn token(&self, exchange: &Exchange<'_>) -> Vec<u8> {
        self.token_with(exchange, &self.nt_response(exchange))
    }

    fn token_with(&self, exchange: &Exchange<'_>, nt_response: &[u8]) -> Vec<u8> {
        let unicode = self.flags.has(Flags::UNICODE);
        let encode = |text: &str| if unicode { utf16le(text) } else { text.as_bytes().to_vec() };
        let (user, domain) = (encode(&self.user), encode(&self.domain));
        let message = Authenticate {
            lm_response: &self.lm_response,
            nt_response,
            domain: Text { bytes: &domain, unicode },
            user: Text { bytes: &user, unicode },
            encrypted_random_session_key: &self.session_key,
            flags: self.flags,
            mic: self.mic.then_some([0; 16]),
            version: None::<Version>,
            ..Authenticate::default()
        };
        let mut token = Vec::new();
        message.write(&mut token).unwrap();
        if let (true, Some(proof)) = (self.mic, nt_response.first_chunk::<16>()) {
            let base = crypto::session_base_key(&self.key(), proof);
            if let Some(key) = crypto::exported_session_key(self.flags, &base, &self.session_key) {
                let mic = crypto::mic(&key, &[&exchange.negotiate, &exchange.challenge, &token]);
                token[MIC_OFFSET..MIC_OFFSET + 16].copy_from_slice(&mic);
            }
        }
        token
    }
}

const MINUTE: Duration = Duration::from_secs(60);
