//! Recorded NTLM handshakes with other implementations, replayed byte by byte with their clock and randomness.

use std::path::Path;

use iwa_auth::accept::AcceptorConfig;
use iwa_auth::initiate::{Credentials, Framing, Initiator, InitiatorConfig};
use iwa_auth::krb5::client::Delegation;
use iwa_auth::ntlm::acceptor::{Server as NtlmServer, ServerConfig};
use iwa_auth::ntlm::crypto::NtHash;
use iwa_auth::ntlm::initiator::{Client as NtlmClient, Credential};
use iwa_auth::{Acceptor, BindingPolicy, ChannelBindings, Mechanism, Scheme};
use iwa_testkit::accounts::Accounts;
use iwa_testkit::corpus::hex;
use iwa_testkit::pair::{Client, Seeded, Server};
use iwa_testkit::recording::{Recording, to_hex};

fn recordings(role: &str) -> Vec<(String, Recording)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recordings");
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut all: Vec<_> =
        Recording::all(&directory).into_iter().map(|(path, recording)| (name(&path), recording)).collect();
    all.retain(|(name, recording)| name.starts_with("ntlm-") && recording.header("role") == Some(role));
    assert!(!all.is_empty(), "no recordings of an {role}");
    all
}

fn scheme(recording: &Recording) -> Scheme {
    if recording.header("scheme") == Some("NTLM") { Scheme::Ntlm } else { Scheme::Negotiate }
}

fn bindings(recording: &Recording) -> ChannelBindings {
    match recording.header("certificate-hash").and_then(hex) {
        Some(hash) => ChannelBindings::tls_server_end_point(&hash),
        None => ChannelBindings::none(),
    }
}

/// The account's name and hash.
fn account(recording: &Recording) -> (String, NtHash) {
    let (name, hash) = recording.header("account").and_then(|line| line.split_once(' ')).expect("an account");
    let hash: [u8; 16] = hex(hash).and_then(|hash| hash.try_into().ok()).expect("an NT hash");
    (name.to_owned(), hash.into())
}

fn server(recording: &Recording) -> Server {
    let config = ServerConfig {
        nb_domain: "EXAMPLE".to_owned(),
        dns_computer: Some("web.example.test".to_owned()),
        dns_domain: Some("example.test".to_owned()),
        target_names: vec!["HTTP/web.example.test".to_owned()],
        ..ServerConfig::standalone("WEB")
    };
    let bindings = bindings(recording);
    let mut server = Server::new(Acceptor::new(AcceptorConfig {
        mechanisms: vec![Mechanism::Ntlm],
        krb5: None,
        ntlm: Some(NtlmServer::new(config).expect("the names are short")),
        binding: if bindings.is_none() { BindingPolicy::None } else { BindingPolicy::Require },
    }));
    let (name, hash) = account(recording);
    let accounts = Accounts::default().with(&name, hash);
    server.scheme = scheme(recording);
    server.bindings = bindings;
    server.now = recording.now().expect("a clock");
    server.entropy = Box::new(recording.entropy().expect("randomness"));
    server.logon = Box::new(move |logon| accounts.logon(logon));
    server
}

#[test]
fn every_recorded_client_is_answered_as_it_was() {
    for (name, recording) in recordings("acceptor") {
        let mut server = server(&recording);
        let mut end = String::new();
        for leg in &recording.legs {
            let answer = server.take(&leg.token);
            assert_eq!(to_hex(&answer.token), to_hex(&leg.answer), "{name}");
            end = answer.in_words();
        }
        assert_eq!(end, recording.end, "{name}");
    }
}

#[test]
fn no_recorded_client_gets_in_with_another_challenge() {
    for (name, recording) in recordings("acceptor") {
        let mut server = server(&recording);
        server.entropy = Box::new(Seeded(99));
        for leg in &recording.legs {
            assert!(server.take(&leg.token).established().is_none(), "{name}");
        }
    }
}

#[test]
fn no_recorded_client_gets_in_on_another_channel_or_a_day_later() {
    for (name, recording) in recordings("acceptor") {
        let last = recording.legs.len() - 1;
        let mut late = server(&recording);
        let mut elsewhere = server(&recording);
        if !elsewhere.bindings.is_none() {
            elsewhere.bindings = ChannelBindings::tls_server_end_point(&[2; 32]);
            for leg in &recording.legs {
                assert!(elsewhere.take(&leg.token).established().is_none(), "{name}");
            }
        }
        for (number, leg) in recording.legs.iter().enumerate() {
            if number == last {
                late.now = late.now.plus(std::time::Duration::from_secs(86_400));
            }
            assert!(late.take(&leg.token).established().is_none(), "{name}");
        }
    }
}

#[test]
fn a_recorded_last_leg_without_the_first_is_refused() {
    for (name, recording) in recordings("acceptor") {
        let last = recording.legs.last().expect("a leg");
        let answer = server(&recording).take(&last.token);
        assert!(answer.refused().is_some(), "{name}");
    }
}

#[test]
fn a_changed_byte_in_a_recorded_message_with_a_mic_is_refused() {
    for (name, recording) in recordings("acceptor") {
        let [negotiate, authenticate] = recording.legs.as_slice() else { continue };
        let mic_is_announced = authenticate.token.windows(8).any(|bytes| bytes == [6, 0, 4, 0, 2, 0, 0, 0]);
        if scheme(&recording) == Scheme::Negotiate || recording.end.starts_with("refused") {
            continue;
        }
        for at in 0..authenticate.token.len() {
            let mut changed = authenticate.token.clone();
            changed[at] ^= 0x20;
            let mut server = server(&recording);
            server.take(&negotiate.token);
            let answer = server.take(&changed);
            match answer.established() {
                // Without a MIC only the proof and the names under it are covered.
                Some(established) => {
                    assert!(!mic_is_announced, "{name}: byte {at}");
                    assert_eq!(established.identity.account().name, "alice");
                }
                None => assert!(answer.refused().is_some(), "{name}: byte {at}"),
            }
        }
    }
}

#[test]
fn every_recorded_server_gets_the_tokens_that_it_got() {
    for (name, recording) in recordings("initiator") {
        let (user, nt_hash) = account(&recording);
        let credential = Credential { user, domain: "EXAMPLE".to_owned(), workstation: "DESK".to_owned(), nt_hash };
        let ntlm = NtlmClient::new(credential, Some("HTTP/web.example.test"));
        let framing = if recording.header("framing") == Some("bare") { Framing::Bare } else { Framing::Spnego };
        let mut client = Client::new(Initiator::new(InitiatorConfig {
            host: "web.example.test".to_owned(),
            credentials: Credentials { krb5: None, ntlm: Some(ntlm) },
            mechanisms: vec![Mechanism::Ntlm],
            mutual: false,
            delegation: Delegation::No,
            bindings: bindings(&recording),
            framing,
        }));
        client.scheme = scheme(&recording);
        client.now = recording.now().expect("a clock");
        client.entropy = Box::new(recording.entropy().expect("randomness"));
        let mut turn = client.begin();
        for leg in &recording.legs {
            assert_eq!(to_hex(&turn.token), to_hex(&leg.token), "{name}");
            turn = if leg.answer.is_empty() { client.take_silence() } else { client.take(&leg.answer) };
        }
        let end = turn.end.expect("an end").map(|established| format!("by {}", established.mechanism));
        assert_eq!(end.ok(), Some(recording.end), "{name}");
    }
}
