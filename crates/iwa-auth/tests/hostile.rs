//! What strangers send: real tokens of others, and tokens made to hurt. Nothing panics, nobody gets in.

mod common;

use common::{BOTH, NtlmHand, acceptor, both_config, client_of, ntlm_initiator, server, wrap_init, wrap_resp};
use iwa_auth::initiate::{Framing, InitiatorConfig};
use iwa_auth::{Entropy as _, Mechanism, Scheme};
use iwa_testkit::corpus::{self, Item};
use iwa_testkit::kdc::Realm;
use iwa_testkit::pair::{Client, Fate, Pair, Seeded, Server, Way};
use iwa_wire::gss::MechType;
use iwa_wire::spnego::NegTokenResp;

/// A server in every state in which it may be when a token comes.
fn servers() -> Vec<(&'static str, Server)> {
    let fresh = |scheme| {
        let mut server = server(acceptor(BOTH));
        server.scheme = scheme;
        server
    };
    let after = |token: &[u8]| {
        let mut server = fresh(Scheme::Negotiate);
        assert_eq!(server.take(token).in_words(), "goes on");
        server
    };
    let negotiate = NtlmHand::new().negotiate();
    let config = both_config(&[Mechanism::Ntlm, Mechanism::Kerberos]);
    let mut owed =
        Pair { client: client_of(Realm::default(), config), server: server(acceptor(&[Mechanism::Kerberos])) };
    owed.run_over(|way, n, _| if (way, n) == (Way::ToClient, 1) { Fate::Lose } else { Fate::Deliver });
    assert!(owed.server.is_waiting());
    vec![
        ("new, Negotiate", fresh(Scheme::Negotiate)),
        ("new, NTLM", fresh(Scheme::Ntlm)),
        ("challenged, raw", after(&negotiate)),
        ("challenged, SPNEGO", after(&wrap_init(&[MechType::NTLMSSP], Some(&negotiate)))),
        ("asked for a token", after(&wrap_init(&[MechType::NEGOEX, MechType::KRB5], Some(b"NEGOEXTS")))),
        ("owed a MIC", owed.server),
    ]
}

/// A client in every state in which it may be.
fn clients() -> Vec<(&'static str, Client)> {
    let begun = |mut client: Client| {
        assert!(!client.begin().token.is_empty());
        client
    };
    let kerberos = |framing| begun(client_of(Realm::default(), InitiatorConfig { framing, ..both_config(BOTH) }));
    let responded = |framing| {
        let mut pair = common::ntlm_pair();
        pair.client = Client::new(ntlm_initiator(framing));
        pair.run_over(|way, n, _| if (way, n) == (Way::ToServer, 1) { Fate::Lose } else { Fate::Deliver });
        pair.client
    };
    vec![
        ("AP-REQ out, SPNEGO", kerberos(Framing::Spnego)),
        ("AP-REQ out, bare", kerberos(Framing::Bare)),
        ("NEGOTIATE out, SPNEGO", begun(Client::new(ntlm_initiator(Framing::Spnego)))),
        ("NEGOTIATE out, raw", begun(Client::new(ntlm_initiator(Framing::Bare)))),
        ("AUTHENTICATE out, SPNEGO", responded(Framing::Spnego)),
        ("AUTHENTICATE out, raw", responded(Framing::Bare)),
    ]
}

fn nobody_gets_in_with(what: &str, token: &[u8]) {
    for (state, mut server) in servers() {
        let answer = server.take(token);
        assert!(answer.established().is_none(), "{what} got in: {state}");
    }
}

#[test]
fn no_token_of_others_gets_in_and_none_panics() {
    let tokens = |item: &Item| {
        let kind = item.kind.as_str();
        kind.starts_with("spnego") || kind.starts_with("ntlm-") || kind.starts_with("gss-") || kind.starts_with("ap-")
    };
    let items = corpus::load().unwrap_or_default();
    let items: Vec<Item> = items.into_iter().filter(tokens).collect();
    for item in &items {
        nobody_gets_in_with(&item.name, &item.data);
    }
    for item in items.iter().step_by(5) {
        for (state, mut client) in clients() {
            let end = client.take(&item.data).end;
            assert!(!matches!(end, Some(Ok(_))), "{} is believed: {state}", item.name);
        }
    }
}

#[test]
fn noise_gets_nobody_in() {
    let mut noise = Seeded(99);
    let heads: [&[u8]; 6] = [
        b"",
        b"NTLMSSP\0",
        b"\x60\x82\x01\x00\x06\x06\x2b\x06\x01\x05\x05\x02",
        b"\xa1\x82\x01\x00\x30",
        b"\xa0\x82\x01\x00\x30",
        b"\x60\x82\x01\x00\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x01\x00",
    ];
    for round in 0..60 {
        for head in heads {
            let mut token = head.to_vec();
            token.resize(head.len() + 5 * round, 0);
            noise.fill(&mut token[head.len()..]).expect("it never ends");
            nobody_gets_in_with("noise", &token);
        }
    }
}

#[test]
fn lists_made_to_hurt_are_refused_before_anything_is_chosen() {
    // GSS framing, NegTokenInit, SEQUENCE, [0] and whatever stands in the place of the list.
    let around = |list: &[u8]| {
        let nest = |tag: u8, body: &[u8]| {
            let mut out = vec![tag, 0x83];
            out.extend_from_slice(&(body.len() as u32).to_be_bytes()[1..]);
            match body.len() {
                0..=0x7f => drop(out.splice(1.., [body.len() as u8])),
                0x80..=0xff => drop(out.splice(1.., [0x81, body.len() as u8])),
                0x100..=0xffff => drop(out.splice(1..3, [0x82])),
                _ => {}
            }
            out.extend_from_slice(body);
            out
        };
        let init = nest(0xa0, &nest(0x30, &nest(0xa0, &nest(0x30, list))));
        nest(0x60, &[&[6, 6, 0x2b, 6, 1, 5, 5, 2][..], &init].concat())
    };
    let krb5 = [&[6, 9][..], MechType::KRB5.as_bytes()].concat();
    assert_eq!(server(acceptor(BOTH)).take(&around(&krb5)).in_words(), "goes on", "the framing is right");
    let huge_arc = [&[6, 60][..], &[0xff; 59], &[0x7f]].concat();
    let cases: [(&str, Vec<u8>); 7] = [
        ("none", Vec::new()),
        ("ten thousand", krb5.repeat(10_000)),
        ("a padded arc", vec![6, 4, 0x2a, 0x80, 0x86, 0x48]),
        ("an arc that does not end", vec![6, 2, 0x2a, 0x86]),
        ("an empty OID", vec![6, 0]),
        ("an OID of an indefinite length", vec![6, 0x80, 0x2a, 0, 0]),
        ("not an OID", vec![4, 2, 0x2a, 0x86]),
    ];
    for (what, list) in cases {
        assert_eq!(server(acceptor(BOTH)).take(&around(&list)).refused(), Some("malformed.token"), "{what}");
    }
    assert_eq!(server(acceptor(BOTH)).take(&around(&huge_arc)).refused(), Some("policy.no-common-mechanism"));
}

#[test]
fn two_tokens_in_one_are_refused() {
    let negotiate = NtlmHand::new().negotiate();
    let init = wrap_init(&[MechType::NTLMSSP], Some(&negotiate));
    let resp = wrap_resp(NegTokenResp { response_token: Some(&negotiate), ..NegTokenResp::default() });
    for token in [[&init[..], &init].concat(), [&init[..], &resp].concat(), [&init[..], &negotiate].concat()] {
        assert_eq!(server(acceptor(BOTH)).take(&token).refused(), Some("malformed.token"));
    }
}

#[test]
fn a_token_of_64_kib_of_nothing_costs_no_more_than_its_refusal() {
    let negotiate = NtlmHand::new().negotiate();
    let long = [&negotiate[..], &[0; 65_536]].concat();
    let spnego = wrap_init(&[MechType::KRB5], Some(&vec![0x60; 65_536]));
    let nested = [0x30, 0x80].repeat(32_768);
    for token in [long, spnego, nested] {
        nobody_gets_in_with("64 KiB", &token);
    }
}
