//! What an NTLM handshake costs the server: NEGOTIATE in, CHALLENGE out, AUTHENTICATE in, proof, MIC, identity.
//!
//! Time and randomness stand still, so that the client's tokens are made once and fit every round. Looking an account up is
//! not part of it; verifying its proof is.

use divan::{Bencher, black_box};
use iwa_auth::accept::AcceptorConfig;
use iwa_auth::initiate::{Credentials, Framing, Initiate, Initiator, InitiatorConfig};
use iwa_auth::ntlm::acceptor::{Server, ServerConfig};
use iwa_auth::ntlm::crypto::{NtHash, nt_hash, verify_ntlmv2};
use iwa_auth::ntlm::initiator::{Client, Credential};
use iwa_auth::ports::LogonInfo;
use iwa_auth::{Accept, Acceptor, Account, BindingPolicy, ChannelBindings, Env, Established, Mechanism, Scheme};
use iwa_testkit::pair::{NOW, Seeded};
use iwa_wire::ntlm::{Authenticate, Challenge};

fn main() {
    divan::main();
}

/// A server, the tokens of a client that fit its first challenge, and the hash of that client's account.
struct Bench {
    acceptor: Acceptor,
    scheme: Scheme,
    tokens: Vec<Vec<u8>>,
    challenge: Vec<u8>,
    hash: NtHash,
}

fn env(entropy: &mut Seeded) -> Env<'_> {
    Env { now: NOW, entropy }
}

impl Bench {
    fn new(scheme: Scheme) -> Self {
        let hash = nt_hash("Password");
        let config = ServerConfig {
            nb_domain: "EXAMPLE".into(),
            dns_computer: Some("web.example.test".into()),
            dns_domain: Some("example.test".into()),
            dns_tree: Some("example.test".into()),
            ..ServerConfig::standalone("WEB")
        };
        let acceptor = Acceptor::new(AcceptorConfig {
            mechanisms: vec![Mechanism::Ntlm],
            krb5: None,
            ntlm: Some(Server::new(config).expect("the names are short")),
            binding: BindingPolicy::None,
        });
        let credential = Credential {
            user: "alice".into(),
            domain: "EXAMPLE".into(),
            workstation: "DESK".into(),
            nt_hash: hash.clone(),
        };
        let initiator = Initiator::new(InitiatorConfig {
            host: "web.example.test".into(),
            credentials: Credentials { krb5: None, ntlm: Some(Client::new(credential, Some("HTTP/web.example.test"))) },
            mechanisms: vec![Mechanism::Ntlm],
            mutual: false,
            delegation: iwa_auth::krb5::client::Delegation::No,
            bindings: ChannelBindings::none(),
            framing: Framing::Spnego,
        });
        let mut this = Self { acceptor, scheme, tokens: Vec::new(), challenge: Vec::new(), hash };
        let mut entropy = Seeded(7);
        let (mut token, mut challenge) = (Vec::new(), Vec::new());
        let step = initiator.initiate(scheme, &mut env(&mut entropy), &mut token).expect("a first token");
        let handshake = this.acceptor.accept(scheme, &ChannelBindings::none());
        handshake.step(&token, &mut env(&mut Seeded(1)), &mut challenge).expect("a challenge");
        this.tokens.push(token);
        let Initiate::Continue(handshake) = step else { panic!("NTLM has a second token") };
        let mut token = Vec::new();
        handshake.step(&challenge, &mut env(&mut entropy), &mut token).expect("a second token");
        this.tokens.push(token);
        this.challenge = challenge;
        this
    }

    fn run(&self) -> Established {
        let mut entropy = Seeded(1);
        let mut accept = Accept::Continue(self.acceptor.accept(self.scheme, &ChannelBindings::none()));
        let mut tokens = self.tokens.iter();
        loop {
            let mut out = Vec::with_capacity(512);
            accept = match accept {
                Accept::Continue(handshake) => {
                    let token = tokens.next().expect("two tokens are enough");
                    handshake.step(black_box(token), &mut env(&mut entropy), &mut out)
                }
                Accept::NeedLogon(need) => {
                    let logon = need.request();
                    let key = verify_ntlmv2(
                        &self.hash,
                        &logon.user,
                        &logon.domain,
                        &logon.server_challenge,
                        &logon.nt_response,
                    );
                    let session_base_key = key.expect("the password is right");
                    let account = Account { name: "alice".into(), domain: "EXAMPLE".into(), ..Account::default() };
                    let info = LogonInfo { account, groups: Vec::new(), named_groups: None, session_base_key };
                    need.answer(Ok(info), &mut env(&mut entropy), &mut out)
                }
                Accept::Established(established) => return established,
                other => panic!("{other:?}"),
            }
            .expect("the handshake succeeds");
        }
    }
}

#[divan::bench]
fn handshake_raw(bencher: Bencher<'_, '_>) {
    let bench = Bench::new(Scheme::Ntlm);
    bencher.bench(|| bench.run());
}

#[divan::bench]
fn handshake_in_spnego_with_mech_list_mic(bencher: Bencher<'_, '_>) {
    let bench = Bench::new(Scheme::Negotiate);
    bencher.bench(|| bench.run());
}

#[divan::bench]
fn challenge_alone(bencher: Bencher<'_, '_>) {
    let bench = Bench::new(Scheme::Ntlm);
    bencher.bench(|| {
        let mut out = Vec::with_capacity(512);
        let handshake = bench.acceptor.accept(bench.scheme, &ChannelBindings::none());
        handshake.step(black_box(&bench.tokens[0]), &mut env(&mut Seeded(1)), &mut out)
    });
}

#[divan::bench]
fn proof_alone(bencher: Bencher<'_, '_>) {
    let bench = Bench::new(Scheme::Ntlm);
    let message = Authenticate::parse(&bench.tokens[1]).expect("a message");
    let challenge = Challenge::parse(&bench.challenge).expect("a message").server_challenge;
    let verify = || verify_ntlmv2(&bench.hash, "alice", "EXAMPLE", black_box(&challenge), message.nt_response);
    assert!(verify().is_some());
    bencher.bench(verify);
}

#[divan::bench]
fn hash_of_a_password() -> NtHash {
    nt_hash(black_box("correct horse battery staple"))
}
