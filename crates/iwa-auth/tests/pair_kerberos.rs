//! Both ends over Kerberos, with a KDC in memory: bare and in SPNEGO, mutual and not, over bad wires and with wrong clocks.

mod common;

use core::cell::RefCell;
use core::time::Duration;
use std::rc::Rc;

use common::{
    ALICE, BOTH, acceptor, acceptor_with, both_config, client_of, kerberos_pair, kerberos_pair_with, server,
    spnego_init, spnego_resp, wrap_init, wrap_resp,
};
use iwa_auth::initiate::{Framing, InitiatorConfig};
use iwa_auth::krb5::client::Delegation;
use iwa_auth::ports::ReplayVerdict;
use iwa_auth::{BindingPolicy, ChannelBindings, Mechanism, Scheme};
use iwa_testkit::kdc::Realm;
use iwa_testkit::pair::{Client, Exhausted, Fate, NOW, Pair, Way};
use iwa_wire::gss::MechType;
use iwa_wire::krb5::KrbError;
use iwa_wire::krb5::error::code;
use iwa_wire::krb5::token::{KrbToken, TokenId};
use iwa_wire::spnego::{NegState, NegTokenResp};

const KERBEROS: &[Mechanism] = &[Mechanism::Kerberos];

/// What Windows offers, in its order.
const WINDOWS: &[MechType<'static>] = &[MechType::MS_KRB5, MechType::KRB5, MechType::NEGOEX, MechType::NTLMSSP];

/// A client of bare Kerberos whose tokens tests frame by hand.
fn bare_client() -> Client {
    client_of(Realm::default(), InitiatorConfig { framing: Framing::Bare, ..both_config(BOTH) })
}

fn carried(token: &[u8]) -> Vec<u8> {
    wrap_resp(NegTokenResp { response_token: Some(token), ..NegTokenResp::default() })
}

/// The code of the KRB-ERROR in a token.
fn krb_error(token: &[u8]) -> i32 {
    let token = KrbToken::parse(token, 0).expect("a Kerberos token");
    assert_eq!(token.id, TokenId::Error);
    KrbError::parse(token.message).expect("a KRB-ERROR").error_code
}

#[test]
fn kerberos_in_spnego_is_one_round_and_mutual() {
    let outcome = kerberos_pair().run();
    assert_eq!(outcome.legs.len(), 2);
    let init = spnego_init(&outcome.legs[0].1);
    assert_eq!(init.mech_types.iter().collect::<Vec<_>>(), [MechType::KRB5, MechType::MS_KRB5, MechType::NTLMSSP]);
    let resp = spnego_resp(&outcome.legs[1].1);
    assert_eq!((resp.neg_state, resp.supported_mech), (Some(NegState::AcceptCompleted), Some(MechType::KRB5)));
    assert!(resp.response_token.is_some() && resp.mech_list_mic.is_none());
    let (server, client) = outcome.unwrap();
    assert_eq!(server.identity.to_string(), ALICE);
    assert_eq!((server.identity.mechanism(), server.note), (Mechanism::Kerberos, None));
    assert!(server.expires.is_some());
    assert_eq!((client.mechanism, client.mutual, client.tickets.len()), (Mechanism::Kerberos, true, 2));
}

#[test]
fn tickets_that_were_got_serve_again_without_a_kdc() {
    let (_, first) = kerberos_pair().run().unwrap();
    let mut again = kerberos_pair_with(|config| {
        let client = config.credentials.krb5.take().unwrap();
        config.credentials.krb5 = Some(client.with_credentials(first.tickets));
    });
    again.client.kdc = Box::new(|realm, _| panic!("the KDC of {realm} was asked"));
    assert!(again.run().unwrap().1.tickets.is_empty());
}

#[test]
fn without_mutual_authentication_success_needs_no_token_and_proves_nothing() {
    let mut pair = kerberos_pair_with(|config| config.mutual = false);
    let outcome = pair.run();
    let resp = spnego_resp(&outcome.legs[1].1);
    assert_eq!((resp.neg_state, resp.response_token), (Some(NegState::AcceptCompleted), None));
    assert!(!outcome.unwrap().1.mutual);
    // A server in front of which somebody cut the last token off.
    let cut = |way, _, _: &[u8]| if way == Way::ToClient { Fate::Replace(Vec::new()) } else { Fate::Deliver };
    assert!(!kerberos_pair_with(|config| config.mutual = false).run_over(cut).unwrap().1.mutual);
}

#[test]
fn bare_kerberos_is_answered_with_a_bare_ap_rep() {
    let outcome = kerberos_pair_with(|config| config.framing = Framing::Bare).run();
    assert_eq!(KrbToken::parse(&outcome.legs[1].1, 0).unwrap().id, TokenId::ApRep);
    let (server, client) = outcome.unwrap();
    assert_eq!((server.identity.to_string().as_str(), client.mutual), (ALICE, true));
}

#[test]
fn microsofts_oid_is_echoed_and_the_token_inside_may_have_the_standard_one() {
    let mut client = bare_client();
    let token = client.begin().token;
    let answer = server(acceptor(BOTH)).take(&wrap_init(WINDOWS, Some(&token)));
    assert_eq!(answer.in_words(), format!("{ALICE} by Kerberos"));
    let resp = spnego_resp(&answer.token);
    assert_eq!((resp.neg_state, resp.supported_mech), (Some(NegState::AcceptCompleted), Some(MechType::MS_KRB5)));
    assert!(resp.mech_list_mic.is_none());
    assert!(client.take(resp.response_token.unwrap()).end.unwrap().unwrap().mutual);
}

#[test]
fn a_client_without_an_optimistic_token_is_asked_for_one() {
    let mut server = server(acceptor(BOTH));
    let asked = server.take(&wrap_init(WINDOWS, None));
    let resp = spnego_resp(&asked.token);
    assert_eq!((resp.neg_state, resp.supported_mech), (Some(NegState::AcceptIncomplete), Some(MechType::MS_KRB5)));
    let answer = server.take(&carried(&bare_client().begin().token));
    assert_eq!(answer.in_words(), format!("{ALICE} by Kerberos"));
    assert_eq!(spnego_resp(&answer.token).supported_mech, None, "it stood in the first answer");
}

#[test]
fn kerberos_as_a_second_choice_needs_both_mics() {
    // The client would rather speak NTLM, which is off here.
    for (mutual, legs) in [(true, 5), (false, 4)] {
        let config = InitiatorConfig { mutual, ..both_config(&[Mechanism::Ntlm, Mechanism::Kerberos]) };
        let mut pair = Pair { client: client_of(Realm::default(), config), server: server(acceptor(KERBEROS)) };
        let outcome = pair.run();
        assert_eq!(outcome.legs.len(), legs, "{outcome:?}");
        assert_eq!(spnego_resp(&outcome.legs[1].1).neg_state, Some(NegState::RequestMic));
        assert!(spnego_resp(&outcome.legs[3].1).mech_list_mic.is_some());
        let (server, client) = outcome.unwrap();
        assert_eq!((server.identity.mechanism(), client.mechanism), (Mechanism::Kerberos, Mechanism::Kerberos));
        assert_eq!(client.mutual, mutual);
    }
}

#[test]
fn a_mic_that_is_waited_for_must_come_alone_and_right() {
    let reach = || {
        let config = both_config(&[Mechanism::Ntlm, Mechanism::Kerberos]);
        let mut pair = Pair { client: client_of(Realm::default(), config), server: server(acceptor(KERBEROS)) };
        let lost = |way, n, _: &[u8]| if (way, n) == (Way::ToClient, 1) { Fate::Lose } else { Fate::Deliver };
        let outcome = pair.run_over(lost);
        assert!(pair.server.is_waiting() && outcome.server.is_none());
        pair
    };
    let mic = |mic: &[u8]| wrap_resp(NegTokenResp { mech_list_mic: Some(mic), ..NegTokenResp::default() });
    for (token, refused) in [
        (wrap_resp(NegTokenResp::default()), "spnego.mic-missing"),
        (mic(b""), "spnego.mic"),
        (mic(&[4; 28]), "spnego.mic"),
        (carried(&bare_client().begin().token), "malformed.out-of-sequence"),
        (wrap_init(WINDOWS, None), "malformed.out-of-sequence"),
        (Vec::new(), "malformed.out-of-sequence"),
    ] {
        assert_eq!(reach().server.take(&token).refused(), Some(refused));
    }
    // Our own MIC, sent back to us.
    let mut pair = reach();
    let ours = pair.run().legs;
    let reflected = ours.iter().filter(|(way, _)| *way == Way::ToClient).nth(1).map(|(_, token)| spnego_resp(token));
    let reflected = reflected.and_then(|resp| resp.mech_list_mic).map(<[u8]>::to_vec).unwrap_or_default();
    assert_eq!(reach().server.take(&mic(&reflected)).refused(), Some("spnego.mic"));
}

#[test]
fn a_replayed_token_is_refused_on_the_same_connection_and_on_another() {
    for framing in [Framing::Spnego, Framing::Bare] {
        let mut pair = kerberos_pair_with(|config| config.framing = framing);
        let outcome = pair.run_over(|way, _, _| if way == Way::ToServer { Fate::Twice } else { Fate::Deliver });
        assert_eq!(outcome.repeated[0].refused(), Some("krb5.replay"));
        let token = outcome.legs[0].1.clone();
        drop(outcome.unwrap());
        pair.server.reconnect();
        assert_eq!(pair.server.take(&token).refused(), Some("krb5.replay"));
    }
}

#[test]
fn a_replay_cache_that_cannot_tell_lets_nobody_in() {
    let mut pair = kerberos_pair();
    pair.server.verdict = Some(ReplayVerdict::Unavailable("it is full"));
    let outcome = pair.run();
    assert_eq!(outcome.server_refused(), Some("unavailable.replay-cache"));
    assert_eq!(outcome.client_refused(), Some("peer.rejected"));
}

#[test]
fn a_bare_token_that_goes_on_after_bare_kerberos_has_no_place() {
    let mut pair = kerberos_pair_with(|config| config.framing = Framing::Bare);
    let token = pair.run().legs.swap_remove(0).1;
    assert_eq!(pair.server.take(&carried(&token)).refused(), Some("malformed.out-of-sequence"));
}

#[test]
fn a_wrong_clock_is_corrected_once_from_the_servers_word() {
    for framing in [Framing::Spnego, Framing::Bare] {
        let mut pair = kerberos_pair_with(|config| config.framing = framing);
        // Client and KDC an hour behind the server: the ticket is good, the authenticator is not.
        let mut realm = Realm::default().at(NOW.shifted(-3600));
        pair.client.now = realm.now;
        pair.client.kdc = Box::new(move |name, request| realm.answer(name, request));
        let outcome = pair.run();
        assert_eq!(outcome.legs.len(), 4);
        let refusal = &outcome.legs[1].1;
        let error = if framing == Framing::Bare { refusal } else { spnego_resp(refusal).response_token.unwrap() };
        assert_eq!(krb_error(error), code::KRB_AP_ERR_SKEW);
        assert_eq!(outcome.unwrap().0.identity.to_string(), ALICE);
    }
}

#[test]
fn a_server_that_always_complains_about_the_clock_is_believed_once() {
    let mut pair = kerberos_pair();
    let mut realm = Realm::default().at(NOW.shifted(-3600));
    pair.client.now = realm.now;
    pair.client.kdc = Box::new(move |name, request| realm.answer(name, request));
    let mut first = None;
    let outcome = pair.run_over(|way, _, token| match way {
        Way::ToClient => Fate::Replace(first.get_or_insert_with(|| token.to_vec()).clone()),
        Way::ToServer => Fate::Deliver,
    });
    assert_eq!(outcome.client_refused(), Some("peer.rejected"));
    assert_eq!(outcome.tokens(Way::ToServer).count(), 2);
    let said = outcome.client.unwrap().unwrap_err().to_string();
    assert!(said.contains("KRB_AP_ERR_SKEW"), "{said}");
}

#[test]
fn a_clock_is_not_corrected_by_more_than_a_ticket_lives() {
    let mut pair = kerberos_pair();
    let mut realm = Realm::default().at(NOW.shifted(-13 * 3600));
    pair.client.now = realm.now;
    pair.client.kdc = Box::new(move |name, request| realm.answer(name, request));
    let outcome = pair.run();
    assert_eq!(outcome.tokens(Way::ToServer).count(), 1);
    assert!(outcome.server_refused().is_some() && outcome.client_refused().is_some());
}

#[test]
fn without_a_ticket_the_client_turns_to_ntlm_as_browsers_do() {
    for kdc_answers in [true, false] {
        let mut pair = kerberos_pair();
        let mut realm = Realm::default().without_service();
        pair.client.kdc =
            Box::new(
                move |name, request| {
                    if kdc_answers { realm.answer(name, request) } else { Err("connection refused".to_owned()) }
                },
            );
        let outcome = pair.run();
        let init = spnego_init(&outcome.legs[0].1);
        assert_eq!(init.mech_types.iter().collect::<Vec<_>>(), [MechType::NTLMSSP], "Kerberos is not offered");
        let (server, client) = outcome.unwrap();
        assert_eq!((server.identity.mechanism(), server.note), (Mechanism::Ntlm, None));
        assert!(client.fallback.is_some());
    }
}

/// A client of Kerberos alone, before a server of both.
fn kerberos_alone() -> Pair {
    kerberos_pair_with(|config| config.mechanisms = KERBEROS.to_vec())
}

#[test]
fn without_a_ticket_and_without_ntlm_the_reason_is_kerberos_own() {
    let mut pair = kerberos_alone();
    pair.client.kdc = Box::new(|_, _| Err("connection refused".to_owned()));
    let outcome = pair.run();
    assert!(outcome.legs.is_empty());
    assert_eq!(outcome.client_refused(), Some("unavailable.kdc"));

    let mut realm = Realm::default().without_service();
    pair.client.kdc = Box::new(move |name, request| realm.answer(name, request));
    let outcome = pair.run();
    assert_eq!(outcome.client_refused(), Some("krb5.kdc-error"));
    let said = outcome.client.unwrap().unwrap_err().to_string();
    assert!(said.contains("KDC_ERR_S_PRINCIPAL_UNKNOWN"), "{said}");
}

#[test]
fn an_answer_of_the_kdc_to_another_question_is_refused() {
    let (mut realm, heard) = (Realm::default(), Rc::new(RefCell::new(Vec::new())));
    let mut pair = kerberos_alone();
    let hearing = Rc::clone(&heard);
    pair.client.kdc = Box::new(move |name, request| {
        let answer = realm.answer(name, request);
        hearing.borrow_mut().extend(answer.clone());
        answer
    });
    drop(pair.run().unwrap());
    let mut again = heard.take().into_iter();
    let mut pair = kerberos_alone();
    pair.client.entropy = Box::new(iwa_testkit::pair::Seeded(41));
    pair.client.kdc = Box::new(move |_, _| again.next().ok_or_else(|| "nothing more was heard".to_owned()));
    let outcome = pair.run();
    assert!(outcome.legs.is_empty());
    assert_eq!(outcome.client_refused(), Some("krb5.kdc-reply"), "{outcome:?}");
}

#[test]
fn a_server_of_ntlm_alone_is_served_with_both_mics() {
    let mut pair = kerberos_pair();
    pair.server = server(acceptor(&[Mechanism::Ntlm]));
    let outcome = pair.run();
    assert_eq!(spnego_resp(&outcome.legs[1].1).neg_state, Some(NegState::RequestMic));
    assert!(spnego_resp(&outcome.legs[4].1).mech_list_mic.is_some());
    assert!(spnego_resp(&outcome.legs[5].1).mech_list_mic.is_some());
    let (server, client) = outcome.unwrap();
    assert_eq!((server.identity.mechanism(), server.note), (Mechanism::Ntlm, None));
    assert_eq!(client.fallback.as_deref(), Some("the server chose NTLM from our list"));
}

#[test]
fn a_list_cut_down_to_ntlm_is_found_out_by_both_ends() {
    // Somebody takes Kerberos out of the list and puts the server's NTLM answer in its place.
    for cut_the_servers_mic in [false, true] {
        let mut pair = kerberos_pair();
        let outcome = pair.run_over(|way, n, token| match (way, n) {
            (Way::ToServer, 0) => Fate::Replace(wrap_init(&[MechType::NTLMSSP], None)),
            (Way::ToServer, 2) if cut_the_servers_mic => {
                Fate::Replace(wrap_resp(NegTokenResp { mech_list_mic: None, ..spnego_resp(token) }))
            }
            _ => Fate::Deliver,
        });
        if cut_the_servers_mic {
            // The server cannot know; the client demands the MIC that the server then does not send.
            assert_eq!(outcome.client_refused(), Some("spnego.mic-missing"));
        } else {
            assert_eq!(outcome.server_refused(), Some("spnego.mic"));
        }
    }
}

#[test]
fn ntlm_without_a_mic_from_a_client_that_lists_kerberos_is_noted_as_a_downgrade() {
    for (list, noted) in
        [(&[MechType::NTLMSSP, MechType::MS_KRB5][..], true), (&[MechType::NTLMSSP, MechType::NEGOEX], false)]
    {
        let (mut server, mut hand) = (server(acceptor(BOTH)), common::NtlmHand::new());
        let challenge = server.take(&wrap_init(list, Some(&hand.negotiate())));
        let answer = server.take(&carried(&hand.respond(spnego_resp(&challenge.token).response_token.unwrap())));
        assert_eq!(answer.established().unwrap().note.is_some_and(|note| note.contains("Kerberos")), noted);
    }
    // With the MIC nobody can have changed the list.
    let config = both_config(&[Mechanism::Ntlm, Mechanism::Kerberos]);
    let mut pair = Pair { client: client_of(Realm::default(), config), server: server(acceptor(BOTH)) };
    let (server, _) = pair.run().unwrap();
    assert_eq!((server.identity.mechanism(), server.note), (Mechanism::Ntlm, None));
}

#[test]
fn success_without_an_ap_rep_is_not_believed() {
    let completed = NegTokenResp {
        neg_state: Some(NegState::AcceptCompleted),
        supported_mech: Some(MechType::KRB5),
        ..NegTokenResp::default()
    };
    for (token, refused) in [
        (wrap_resp(completed), "peer.not-mutual"),
        (Vec::new(), "peer.not-mutual"),
        (
            wrap_resp(NegTokenResp { neg_state: Some(NegState::AcceptIncomplete), ..completed }),
            "malformed.out-of-sequence",
        ),
        (wrap_resp(NegTokenResp { response_token: Some(b""), ..completed }), "malformed.token"),
    ] {
        let wire = |way, _, _: &[u8]| if way == Way::ToClient { Fate::Replace(token.clone()) } else { Fate::Deliver };
        assert_eq!(kerberos_pair().run_over(wire).client_refused(), Some(refused), "{token:02x?}");
    }
}

#[test]
fn an_ap_rep_of_another_handshake_is_not_believed() {
    let foreign = kerberos_pair().run().legs.swap_remove(1).1;
    let mut pair = kerberos_pair();
    pair.client.entropy = Box::new(iwa_testkit::pair::Seeded(40));
    pair.client.now = NOW.shifted(1);
    let wire = |way, _, _: &[u8]| if way == Way::ToClient { Fate::Replace(foreign.clone()) } else { Fate::Deliver };
    assert_eq!(pair.run_over(wire).client_refused(), Some("peer.not-mutual"));
}

#[test]
fn kerberos_that_is_off_is_refused_in_every_form() {
    let token = bare_client().begin().token;
    for (mechanisms, token) in [
        (&[Mechanism::Ntlm][..], token.clone()),
        (&[Mechanism::Ntlm], wrap_init(&[MechType::KRB5], Some(&token))),
        (&[], wrap_init(WINDOWS, Some(&token))),
    ] {
        assert_eq!(server(acceptor(mechanisms)).take(&token).refused(), Some("policy.mechanism-off"));
    }
    let mut ntlm_scheme = server(acceptor(BOTH));
    ntlm_scheme.scheme = Scheme::Ntlm;
    assert_eq!(ntlm_scheme.take(&token).refused(), Some("malformed.unrecognized"));
}

#[test]
fn the_matrix_of_extended_protection_over_kerberos() {
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
            let config = InitiatorConfig { framing, bindings: presented.clone(), ..both_config(KERBEROS) };
            let mut server = server(acceptor_with(KERBEROS, policy));
            server.bindings = tls.clone();
            let outcome = Pair { client: client_of(Realm::default(), config), server }.run();
            assert_eq!(outcome.server_refused(), refused, "{policy:?} {presented:?} {framing:?}");
        }
    }
}

#[test]
fn a_forwarded_ticket_arrives() {
    let (server, _) = kerberos_pair_with(|config| config.delegation = Delegation::Always).run().unwrap();
    assert!(server.delegated.is_some());
    let (server, _) = kerberos_pair().run().unwrap();
    assert!(server.delegated.is_none());
}

#[test]
fn a_lost_token_leaves_nobody_in() {
    let lost =
        |lost: Way| kerberos_pair().run_over(move |way, _, _| if way == lost { Fate::Lose } else { Fate::Deliver });
    let outcome = lost(Way::ToServer);
    assert!(outcome.server.is_none() && outcome.client.is_none());
    // The client does not know, and does not believe that it is in.
    let outcome = lost(Way::ToClient);
    assert!(matches!(outcome.server, Some(Ok(_))) && outcome.client.is_none());
}

#[test]
fn a_refusal_carries_kerberos_own_words() {
    let mut pair = kerberos_alone();
    pair.server.now = NOW.plus(Duration::from_secs(11 * 3600));
    let outcome = pair.run();
    assert_eq!(outcome.server_refused(), Some("krb5.ticket-expired"));
    let error = spnego_resp(&outcome.legs[1].1).response_token.unwrap();
    assert_eq!(krb_error(error), code::KRB_AP_ERR_TKT_EXPIRED);
    let said = outcome.client.unwrap().unwrap_err().to_string();
    assert!(said.contains("KRB_AP_ERR_TKT_EXPIRED"), "{said}");
}

#[test]
fn without_randomness_there_is_no_ap_rep_and_nobody_is_in() {
    let mut pair = kerberos_pair();
    pair.server.entropy = Box::new(Exhausted);
    let outcome = pair.run();
    assert_eq!(outcome.server_refused(), Some("internal.entropy"));
    assert_eq!(outcome.client_refused(), Some("peer.rejected"));
}
