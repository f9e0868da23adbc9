//! Both ends over NTLM: raw and in SPNEGO, under either scheme, over wires that lose, repeat, reorder and change tokens.

mod common;

use core::time::Duration;

use common::{
    ALICE, NtlmHand, acceptor, initiator, ntlm_config, ntlm_initiator, ntlm_pair, ntlm_server, server, spnego_init,
    spnego_resp, wrap_init, wrap_resp,
};
use iwa_auth::initiate::{Credentials, Framing, InitiatorConfig};
use iwa_auth::ports::LogonError;
use iwa_auth::{BindingPolicy, ChannelBindings, Mechanism, Scheme};
use iwa_testkit::pair::{Client, Exhausted, Fate, Pair, Server, Way};
use iwa_wire::gss::MechType;
use iwa_wire::spnego::{NegState, NegTokenResp};

#[test]
fn ntlm_in_spnego_signs_the_list_both_ways() {
    let outcome = ntlm_pair().run();
    let answers: Vec<&[u8]> = outcome.tokens(Way::ToClient).collect();
    let first = spnego_resp(answers[0]);
    assert_eq!(first.neg_state, Some(NegState::AcceptIncomplete));
    assert_eq!(first.supported_mech, Some(MechType::NTLMSSP));
    let last = spnego_resp(answers[1]);
    assert_eq!((last.neg_state, last.supported_mech), (Some(NegState::AcceptCompleted), None));
    assert!(last.response_token.is_none() && last.mech_list_mic.is_some());
    let (server, client) = outcome.unwrap();
    assert_eq!(server.identity.to_string(), ALICE);
    assert_eq!((server.identity.mechanism(), server.note, server.expires), (Mechanism::Ntlm, None, None));
    assert_eq!((client.mechanism, client.mutual, client.fallback), (Mechanism::Ntlm, false, None));
}

#[test]
fn raw_ntlm_is_answered_raw_under_both_schemes() {
    for scheme in [Scheme::Negotiate, Scheme::Ntlm] {
        let mut pair = ntlm_pair();
        pair.client.initiator = ntlm_initiator(Framing::Bare);
        (pair.client.scheme, pair.server.scheme) = (scheme, scheme);
        let outcome = pair.run();
        let answers: Vec<&[u8]> = outcome.tokens(Way::ToClient).collect();
        assert_eq!(answers.len(), 1, "a challenge, and success without a token");
        assert!(answers[0].starts_with(b"NTLMSSP\0\x02"));
        assert_eq!(outcome.unwrap().0.identity.to_string(), ALICE);
    }
}

#[test]
fn the_scheme_ntlm_takes_raw_ntlm_alone() {
    let mut hand = NtlmHand::new();
    for token in [wrap_init(&[MechType::NTLMSSP], Some(&hand.negotiate())), vec![0xa1, 2, 0x30, 0], b"garbage".to_vec()]
    {
        let mut server = server(acceptor(&[Mechanism::Ntlm]));
        server.scheme = Scheme::Ntlm;
        let answer = server.take(&token);
        assert_eq!(answer.refused(), Some("malformed.unrecognized"));
        assert!(answer.token.is_empty());
    }
}

#[test]
fn kerberos_only_refuses_ntlm_at_every_door_before_a_challenge() {
    let negotiate = NtlmHand::new().negotiate();
    for (scheme, token) in [
        (Scheme::Negotiate, negotiate.clone()),
        (Scheme::Ntlm, negotiate.clone()),
        (Scheme::Negotiate, wrap_init(&[MechType::NTLMSSP], Some(&negotiate))),
        (Scheme::Negotiate, wrap_init(&[MechType::NTLMSSP], None)),
        (Scheme::Negotiate, wrap_init(&[MechType::NEGOEX, MechType::NTLMSSP], Some(b"NEGOEXTS"))),
        (Scheme::Negotiate, wrap_init(&[MechType::KRB5, MechType::NTLMSSP], Some(&negotiate))),
        (Scheme::Negotiate, wrap_init(&[MechType::NTLMSSP, MechType::KRB5], Some(&negotiate))),
    ] {
        let mut server = server(acceptor(&[Mechanism::Kerberos]));
        server.scheme = scheme;
        let answer = server.take(&token);
        let has = |bytes: &[u8]| answer.token.windows(bytes.len()).any(|window| window == bytes);
        assert!(!has(b"NTLMSSP"), "no challenge goes out");
        if scheme == Scheme::Negotiate && token.ends_with(&negotiate) && has(MechType::KRB5.as_bytes()) {
            // NTLM first, Kerberos behind it: the client is asked for Kerberos.
            assert_eq!(spnego_resp(&answer.token).neg_state, Some(NegState::RequestMic));
            let resp = NegTokenResp { response_token: Some(&negotiate), ..NegTokenResp::default() };
            assert_eq!(server.take(&wrap_resp(resp)).refused(), Some("malformed.out-of-sequence"));
        } else {
            assert_eq!(answer.refused(), Some("policy.mechanism-off"), "{scheme:?} {token:02x?}");
            assert!(answer.end.unwrap().unwrap_err().to_string().starts_with("this is NTLM, and only Kerberos"));
        }
    }
}

#[test]
fn a_wrong_password_is_refused_with_a_bare_challenge() {
    for framing in [Framing::Spnego, Framing::Bare] {
        let mut pair = ntlm_pair();
        pair.client.initiator = initiator(InitiatorConfig { framing, ..ntlm_config("Passwort") });
        let outcome = pair.run();
        assert_eq!(outcome.server_refused(), Some("logon"));
        assert_eq!(outcome.client_refused(), Some("peer.rejected"));
        assert_eq!(outcome.tokens(Way::ToClient).count(), 1, "the challenge alone: a browser asks anew");
    }
}

#[test]
fn accounts_that_cannot_be_asked_are_no_wrong_password() {
    let mut pair = ntlm_pair();
    pair.server.logon = Box::new(|_| Err(LogonError::Unavailable("the database is locked".to_owned())));
    let outcome = pair.run();
    assert_eq!(outcome.server_refused(), Some("unavailable.accounts"));
    assert_eq!(outcome.client_refused(), Some("peer.rejected"));
}

#[test]
fn a_lost_token_leaves_nobody_in() {
    for (way, leg) in [(Way::ToServer, 0), (Way::ToClient, 0), (Way::ToServer, 1)] {
        let outcome = ntlm_pair().run_over(|to, n, _| if (to, n) == (way, leg) { Fate::Lose } else { Fate::Deliver });
        assert!(outcome.server.is_none() && outcome.client.is_none(), "{way:?} {leg}");
    }
    // The last one is the client's loss alone.
    let last = (Way::ToClient, 1);
    let outcome = ntlm_pair().run_over(|to, n, _| if (to, n) == last { Fate::Lose } else { Fate::Deliver });
    assert!(matches!(outcome.server, Some(Ok(_))));
    assert!(outcome.client.is_none());
}

#[test]
fn a_token_that_comes_twice_is_refused_the_second_time() {
    for framing in [Framing::Spnego, Framing::Bare] {
        for leg in [0, 1] {
            let mut pair = ntlm_pair();
            pair.client.initiator = ntlm_initiator(framing);
            let wire = |way, n, _: &[u8]| if (way, n) == (Way::ToServer, leg) { Fate::Twice } else { Fate::Deliver };
            let outcome = pair.run_over(wire);
            // The second NEGOTIATE kills the handshake; the second AUTHENTICATE comes to a handshake that has not begun.
            assert_eq!(outcome.repeated[0].refused(), Some("malformed.out-of-sequence"), "{framing:?} {leg}");
            assert!(outcome.repeated[0].established().is_none());
            assert_eq!(matches!(outcome.server, Some(Ok(_))), leg == 1);
        }
    }
}

#[test]
fn tokens_out_of_order_are_refused() {
    let (mut raw, mut hand) = (server(acceptor(&[Mechanism::Ntlm])), NtlmHand::new());
    let challenge = raw.take(&hand.negotiate()).token;
    let authenticate = hand.respond(&challenge);
    for scheme in [Scheme::Negotiate, Scheme::Ntlm] {
        for token in [&authenticate, &challenge] {
            let mut fresh = server(acceptor(&[Mechanism::Ntlm]));
            fresh.scheme = scheme;
            assert_eq!(fresh.take(token).refused(), Some("malformed.out-of-sequence"));
        }
    }
    // NegTokenResp first; AUTHENTICATE in a first NegTokenInit.
    let resp = wrap_resp(NegTokenResp { response_token: Some(&authenticate), ..NegTokenResp::default() });
    for token in [resp, wrap_init(&[MechType::NTLMSSP], Some(&authenticate))] {
        assert_eq!(server(acceptor(&[Mechanism::Ntlm])).take(&token).refused(), Some("malformed.out-of-sequence"));
    }
}

#[test]
fn a_handshake_goes_on_in_the_form_and_with_the_mechanism_it_began_with() {
    let mut hand = NtlmHand::new();
    let negotiate = hand.negotiate();
    let init = wrap_init(&[MechType::NTLMSSP, MechType::KRB5], Some(&negotiate));
    let carried = |token: &[u8]| wrap_resp(NegTokenResp { response_token: Some(token), ..NegTokenResp::default() });
    let kerberos: &[u8] = &[0x60, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 1, 2, 2, 1, 0];
    let named = NegTokenResp {
        supported_mech: Some(MechType::KRB5),
        response_token: Some(&negotiate),
        ..NegTokenResp::default()
    };
    for (first, second) in [
        (&negotiate, init.clone()),
        (&negotiate, carried(&negotiate)),
        (&negotiate, kerberos.to_vec()),
        (&init, init.clone()),
        (&init, negotiate.clone()),
        (&init, carried(&negotiate)),
        (&init, carried(kerberos)),
        (&init, kerberos.to_vec()),
        (&init, wrap_resp(named)),
        (&init, wrap_resp(NegTokenResp::default())),
        (&init, Vec::new()),
        (&negotiate, Vec::new()),
    ] {
        let mut server = server(acceptor(&[Mechanism::Ntlm]));
        assert_eq!(server.take(first).in_words(), "goes on");
        let refused = server.take(&second);
        let code = refused.refused();
        // A bare Kerberos token in the place of a NegTokenResp is no SPNEGO at all.
        assert!(
            code == Some("malformed.out-of-sequence") || (second == kerberos && code == Some("malformed.token")),
            "{second:02x?}: {}",
            refused.in_words()
        );
        assert!(!server.is_waiting(), "the handshake is over");
    }
}

#[test]
fn an_empty_first_token_is_refused() {
    for scheme in [Scheme::Negotiate, Scheme::Ntlm] {
        let mut server = server(acceptor(&[Mechanism::Ntlm]));
        server.scheme = scheme;
        assert_eq!(server.take(b"").refused(), Some("malformed.out-of-sequence"));
    }
}

#[test]
fn what_is_no_token_is_refused() {
    for (token, code) in [
        (&b"Basic YWxpY2U6cGFzcw=="[..], "malformed.unrecognized"),
        (b"\0", "malformed.unrecognized"),
        (b"NTLMSSP", "malformed.unrecognized"),
        (b"NTLMSSP\0", "malformed.token"),
        (b"\x60", "malformed.token"),
        (b"\x60\x80\x06\x06\x2b\x06\x01\x05\x05\x02\x00\x00", "malformed.token"),
        (b"\x60\x06\x06\x04\x2b\x06\x01\x05", "policy.no-common-mechanism"),
        (b"\xa0\x02\x30\x00", "malformed.token"),
    ] {
        assert_eq!(server(acceptor(&[Mechanism::Ntlm])).take(token).refused(), Some(code), "{token:02x?}");
    }
}

#[test]
fn nothing_in_common_is_said_with_what_was_offered() {
    let token = wrap_init(&[MechType::NEGOEX, MechType::IAKERB], None);
    let answer = server(acceptor(&[Mechanism::Ntlm])).take(&token);
    assert_eq!(answer.refused(), Some("policy.no-common-mechanism"));
    assert_eq!(spnego_resp(&answer.token).neg_state, Some(NegState::Reject));
    assert!(answer.end.unwrap().unwrap_err().to_string().contains("NEGOEX"));
}

#[test]
fn a_foreign_response_is_refused() {
    // alice answers the challenge of a server under somebody else's control, who carries her answer to ours.
    let (mut ours, mut hand) = (server(acceptor(&[Mechanism::Ntlm])), NtlmHand::new());
    let mut theirs = server(acceptor(&[Mechanism::Ntlm]));
    theirs.entropy = Box::new(iwa_testkit::pair::Seeded(77));
    let negotiate = hand.negotiate();
    ours.take(&negotiate);
    let answered = hand.respond(&theirs.take(&negotiate).token);
    assert!(ours.take(&answered).refused().is_some());
}

#[test]
fn a_challenge_lives_a_minute_on_its_own_connection() {
    let (mut server, mut hand) = (server(acceptor(&[Mechanism::Ntlm])), NtlmHand::new());
    let challenge = server.take(&hand.negotiate()).token;
    server.now = server.now.plus(Duration::from_secs(61));
    assert_eq!(server.take(&hand.respond(&challenge)).refused(), Some("ntlm.challenge-expired"));

    let mut hand = NtlmHand::new();
    let challenge = server.take(&hand.negotiate()).token;
    server.reconnect();
    assert_eq!(server.take(&hand.respond(&challenge)).refused(), Some("malformed.out-of-sequence"));
}

#[test]
fn without_randomness_no_challenge_goes_out() {
    let mut pair = ntlm_pair();
    pair.server.entropy = Box::new(Exhausted);
    let outcome = pair.run();
    assert_eq!(outcome.server_refused(), Some("internal.entropy"));
    let mut pair = ntlm_pair();
    pair.client.entropy = Box::new(Exhausted);
    assert_eq!(pair.run().client_refused(), Some("internal.entropy"));
}

#[test]
fn an_altered_list_is_found_out_by_the_mic() {
    let outcome = ntlm_pair().run_over(|way, n, token| match (way, n) {
        (Way::ToServer, 0) => {
            let ntlm = spnego_init(token).mech_token.map(<[u8]>::to_vec);
            Fate::Replace(wrap_init(&[MechType::NTLMSSP, MechType::KRB5], ntlm.as_deref()))
        }
        _ => Fate::Deliver,
    });
    assert_eq!(outcome.server_refused(), Some("spnego.mic"));
}

#[test]
fn a_mic_that_has_to_be_must_not_be_left_out() {
    for mechs in [&[MechType::KRB5, MechType::NTLMSSP][..], &[MechType::NEGOEX, MechType::NTLMSSP]] {
        let (mut server, mut hand) = (server(acceptor(&[Mechanism::Ntlm])), NtlmHand::new());
        let asked = server.take(&wrap_init(mechs, Some(b"\x60\x03\x06\x01\x2a")));
        let resp = spnego_resp(&asked.token);
        assert_eq!((resp.neg_state, resp.response_token), (Some(NegState::RequestMic), None));
        assert_eq!(resp.supported_mech, Some(MechType::NTLMSSP));
        let carried = |token: &[u8]| wrap_resp(NegTokenResp { response_token: Some(token), ..NegTokenResp::default() });
        let challenge = server.take(&carried(&hand.negotiate()));
        let resp = spnego_resp(&challenge.token);
        assert_eq!((resp.neg_state, resp.supported_mech), (Some(NegState::AcceptIncomplete), None));
        let last = server.take(&carried(&hand.respond(resp.response_token.unwrap())));
        assert_eq!(last.refused(), Some("spnego.mic-missing"));
        assert_eq!(spnego_resp(&last.token).neg_state, Some(NegState::Reject));
    }
}

#[test]
fn an_optional_mic_may_be_left_out_and_a_dummy_is_none() {
    let dummy = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for mic in [None, Some(&dummy[..])] {
        let (mut server, mut hand) = (server(acceptor(&[Mechanism::Ntlm])), NtlmHand::new());
        let challenge = server.take(&wrap_init(&[MechType::NTLMSSP], Some(&hand.negotiate())));
        let authenticate = hand.respond(spnego_resp(&challenge.token).response_token.unwrap());
        let resp = NegTokenResp { response_token: Some(&authenticate), mech_list_mic: mic, ..NegTokenResp::default() };
        let last = server.take(&wrap_resp(resp));
        assert!(last.established().is_some(), "{}", last.in_words());
        assert_eq!(spnego_resp(&last.token).mech_list_mic, None);
    }
}

#[test]
fn the_matrix_of_extended_protection_over_ntlm() {
    let tls = ChannelBindings::tls_server_end_point(&[7; 32]);
    let other = ChannelBindings::tls_server_end_point(&[8; 32]);
    let none = ChannelBindings::none();
    use BindingPolicy::{Allow, None as Off, Require};
    for (policy, presented, refused) in [
        (Off, &none, None),
        (Off, &other, None),
        (Allow, &none, None),
        (Allow, &tls, None),
        (Allow, &other, Some("binding.mismatch")),
        (Require, &none, Some("binding.missing")),
        (Require, &other, Some("binding.mismatch")),
        (Require, &tls, None),
    ] {
        for framing in [Framing::Spnego, Framing::Bare] {
            let config = InitiatorConfig { framing, bindings: presented.clone(), ..ntlm_config("Password") };
            let mut server = server(common::acceptor_with(&[Mechanism::Ntlm], policy));
            server.bindings = tls.clone();
            let outcome = Pair { client: Client::new(initiator(config)), server }.run();
            assert_eq!(outcome.server_refused(), refused, "{policy:?} {presented:?} {framing:?}");
        }
    }
}

#[test]
fn the_client_refuses_a_server_that_skips_the_proof() {
    for framing in [Framing::Spnego, Framing::Bare] {
        let mut client = Client::new(ntlm_initiator(framing));
        client.begin();
        assert_eq!(client.take_silence().end.unwrap().unwrap_err().reason.code(), "malformed.out-of-sequence");
    }
    let completed = NegTokenResp { neg_state: Some(NegState::AcceptCompleted), ..NegTokenResp::default() };
    let mut client = Client::new(ntlm_initiator(Framing::Spnego));
    client.begin();
    let end = client.take(&wrap_resp(completed)).end.unwrap();
    assert_eq!(end.unwrap_err().reason.code(), "malformed.out-of-sequence");
}

#[test]
fn the_client_checks_the_servers_mic_and_refuses_a_wrong_one() {
    let outcome = ntlm_pair().run_over(|way, n, token| match (way, n) {
        (Way::ToClient, 1) => {
            let resp = spnego_resp(token);
            let mut mic = resp.mech_list_mic.unwrap().to_vec();
            mic[6] ^= 1;
            Fate::Replace(wrap_resp(NegTokenResp { mech_list_mic: Some(&mic), ..resp }))
        }
        _ => Fate::Deliver,
    });
    assert_eq!(outcome.client_refused(), Some("spnego.mic"));
}

#[test]
fn without_a_credential_nothing_begins() {
    for scheme in [Scheme::Negotiate, Scheme::Ntlm] {
        let config = InitiatorConfig { credentials: Credentials::default(), ..ntlm_config("Password") };
        let mut client = Client::new(initiator(config));
        client.scheme = scheme;
        let turn = client.begin();
        assert!(turn.token.is_empty());
        assert_eq!(turn.end.unwrap().unwrap_err().reason.code(), "policy.no-credential");
    }
}

#[test]
fn an_acceptor_without_ntlm_behind_it_does_not_offer_it() {
    let empty = Server::new(iwa_auth::Acceptor::new(iwa_auth::accept::AcceptorConfig {
        mechanisms: vec![Mechanism::Kerberos, Mechanism::Ntlm, Mechanism::Basic],
        krb5: None,
        ntlm: Some(ntlm_server()),
        binding: BindingPolicy::None,
    }));
    assert_eq!(empty.acceptor.config().mechanisms, [Mechanism::Ntlm]);
}
