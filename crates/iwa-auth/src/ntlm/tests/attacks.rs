//! What an attacker tries: each line of the checklist that concerns NTLM, and relaying.

use super::super::initiator;
use super::*;
use crate::reject::{Malformed, Peer, Policy};

fn refused(server: &Server, change: impl FnOnce(Answer) -> Answer) -> Reason {
    let exchange = Exchange::begin(server);
    let token = change(Answer::honest(&exchange)).token(&exchange);
    exchange.reason(&token)
}

// The kinds of client that are never let in.

#[test]
fn an_ntlmv1_response_is_refused_with_its_own_reason() {
    let server = server();
    let exchange = Exchange::begin(&server);
    let token = Answer::without_mic(&exchange).token_with(&exchange, &[7; 24]);
    assert_eq!(exchange.reason(&token), Reason::Policy(Policy::NtlmV1));
}

#[test]
fn an_lm_response_alone_is_refused_with_its_own_reason() {
    let server = server();
    let exchange = Exchange::begin(&server);
    let mut answer = Answer::without_mic(&exchange);
    answer.lm_response = vec![7; 24];
    let token = answer.token_with(&exchange, &[]);
    assert_eq!(exchange.reason(&token), Reason::Policy(Policy::NtlmLm));
}

#[test]
fn an_lmv2_response_does_not_stand_in_for_a_wrong_nt_response() {
    // CVE-2019-1338: the LMv2 response covers no AV pairs, so nothing in it says that there must be a MIC.
    let server = server();
    let exchange = Exchange::begin(&server);
    let challenge = Challenge::parse(&exchange.challenge).unwrap().server_challenge;
    let mut answer = Answer::honest(&exchange);
    answer.lm_response = crypto::lmv2_response(&answer.key(), &challenge, &[1; 8]).to_vec();
    let mut nt_response = answer.nt_response(&exchange);
    nt_response[0] ^= 1;
    let token = answer.token_with(&exchange, &nt_response);
    assert_eq!(exchange.reason(&token), Reason::Logon(NtStatus::WRONG_PASSWORD));
}

#[test]
fn an_anonymous_client_is_refused_with_its_own_reason() {
    let server = server();
    for (lm_response, flags) in [(vec![0], Flags(BROWSER)), (vec![], Flags(BROWSER) | Flags::ANONYMOUS)] {
        let exchange = Exchange::begin(&server);
        let mut answer = Answer::without_mic(&exchange);
        (answer.user, answer.domain) = (String::new(), String::new());
        (answer.lm_response, answer.flags) = (lm_response, flags);
        let token = answer.token_with(&exchange, &[]);
        assert_eq!(exchange.reason(&token), Reason::Policy(Policy::NtlmAnonymous));
    }
}

#[test]
fn an_empty_user_is_refused_even_with_a_response() {
    let server = server();
    let reason = refused(&server, |mut answer| {
        answer.user = String::new();
        answer
    });
    assert_eq!(reason, Reason::Policy(Policy::NtlmAnonymous));
}

#[test]
fn a_user_without_any_response_is_refused() {
    let server = server();
    let exchange = Exchange::begin(&server);
    let mut answer = Answer::without_mic(&exchange);
    answer.lm_response = Vec::new();
    let token = answer.token_with(&exchange, &[]);
    assert_eq!(exchange.reason(&token), Reason::Policy(Policy::NtlmAnonymous));
}

#[test]
fn a_local_call_with_six_empty_fields_is_refused_with_its_own_reason() {
    let server = server();
    for flags in [Flags(0xe288_c215), Flags(BROWSER)] {
        let exchange = Exchange::begin(&server);
        let mut answer = Answer::without_mic(&exchange);
        (answer.user, answer.domain, answer.lm_response) = (String::new(), String::new(), Vec::new());
        answer.flags = flags;
        let token = answer.token_with(&exchange, &[]);
        assert_eq!(exchange.reason(&token), Reason::Policy(Policy::NtlmLocalCall));
    }
}

#[test]
fn a_response_that_is_neither_version_is_malformed() {
    let server = server();
    for length in [1, 16, 23, 25, 47, 59] {
        let exchange = Exchange::begin(&server);
        let token = Answer::without_mic(&exchange).token_with(&exchange, &vec![1; length]);
        assert!(matches!(exchange.reason(&token), Reason::Malformed(Malformed::Token(_))), "{length}");
    }
}

// The proof.

#[test]
fn a_response_with_any_bit_changed_is_refused() {
    let server = server();
    let exchange = Exchange::begin(&server);
    let good = Answer::without_mic(&exchange).token(&exchange);
    assert!(exchange.finish(&good).is_ok());
    let start =
        good.len() - Answer::without_mic(&Exchange::begin(&server)).nt_response(&Exchange::begin(&server)).len();
    for at in start..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x80;
        // The payload of this token ends with names; what is not the response changes the names, which the proof covers.
        assert!(Exchange::begin(&server).finish(&bad).is_err(), "byte {at}");
    }
}

#[test]
fn a_response_to_another_challenge_is_refused() {
    let server = server();
    let first = Exchange::begin(&server);
    let token = Answer::honest(&first).token(&first);
    let mut out = Vec::new();
    let mut env = Env { now: NOW, entropy: &mut Counter(200) };
    let challenged = server.challenge(&negotiate(BROWSER), &mut env, &mut out).unwrap();
    let pending = challenged.authenticate(&server, &token, &ChannelBindings::none(), BindingPolicy::None, &mut env);
    let pending = pending.unwrap();
    let answer = authority(pending.request());
    assert_eq!(pending.answer(answer).map(|_| ()).unwrap_err().reason, Reason::Logon(NtStatus::WRONG_PASSWORD));
}

#[test]
fn a_challenge_can_be_answered_once() {
    // Said by the types: answering consumes the challenge, and it cannot be copied. This stops compiling if that changes.
    fn consumes<T>(_: fn(Challenged, &Server, &[u8], &ChannelBindings, BindingPolicy, &mut Env<'_>) -> T) {}
    consumes(Challenged::authenticate);
    trait CannotBeCopied<A> {}
    impl<T> CannotBeCopied<()> for T {}
    struct Copied;
    impl<T: Clone> CannotBeCopied<Copied> for T {}
    fn only_one_way<T: CannotBeCopied<A>, A>() {}
    only_one_way::<Challenged, _>();
}

#[test]
fn a_challenge_that_is_too_old_is_refused() {
    let server = server();
    for (later, accepted) in [(Duration::from_secs(60), true), (Duration::from_secs(61), false)] {
        let exchange = Exchange::begin(&server);
        let token = Answer::honest(&exchange).token(&exchange);
        let result = exchange.authenticate_at(NOW.plus(later), &token, &ChannelBindings::none(), BindingPolicy::None);
        match result {
            Ok(_) => assert!(accepted),
            Err(reject) => assert!(!accepted && reject.reason == Reason::Peer(Peer::ChallengeExpired)),
        }
    }
}

#[test]
fn a_response_from_another_day_is_refused() {
    let server = server();
    let hours = |hours: i64| UnixTime::from_secs(NOW.secs() + hours * 3600);
    for (time, accepted) in [(hours(35), true), (hours(-35), true), (hours(37), false), (hours(-37), false)] {
        let exchange = Exchange::begin(&server);
        let mut answer = Answer::honest(&exchange);
        answer.time = time;
        let token = answer.token(&exchange);
        match exchange.finish(&token) {
            Ok(_) => assert!(accepted),
            Err(reject) => {
                let Reason::Peer(Peer::NtlmTimestamp { seconds, allowed }) = reject.reason else { panic!() };
                assert!(!accepted && seconds == time.secs() - NOW.secs() && allowed == 36 * 3600);
            }
        }
    }
}

// What the client repeats of our challenge.

#[test]
fn target_information_that_was_changed_on_the_way_is_refused() {
    let server = server();
    let changed: [fn(Answer) -> Answer; 6] = [
        |answer| answer.without(AvId::TIMESTAMP),
        |answer| answer.set(AvId::TIMESTAMP, vec![0; 8]),
        |answer| answer.set(AvId::NB_COMPUTER_NAME, utf16le("EVIL")),
        |answer| answer.set(AvId::NB_DOMAIN_NAME, utf16le("example")),
        |answer| answer.without(AvId::NB_COMPUTER_NAME),
        |answer| answer.set(AvId::DNS_COMPUTER_NAME, utf16le("evil.example.test")),
    ];
    for change in changed {
        assert_eq!(refused(&server, change), Reason::Peer(Peer::TargetInfo));
    }
}

#[test]
fn an_av_pair_that_stands_twice_is_refused() {
    // CVE-2019-1166: a flag that the attacker put into the challenge, beside the client's own.
    let server = server();
    let exchange = Exchange::begin(&server);
    let answer = Answer::honest(&exchange);
    let mut nt_response = answer.nt_response(&exchange);
    let mut pair = Vec::new();
    assert!(AvPairs::push(&mut pair, AvId::FLAGS, &[0; 4]));
    nt_response.splice(44..44, pair);
    let proof = crypto::nt_proof_str(
        &answer.key(),
        &Challenge::parse(&exchange.challenge).unwrap().server_challenge,
        &nt_response[16..],
    );
    nt_response[..16].copy_from_slice(&proof);
    let token = answer.token_with(&exchange, &nt_response);
    assert!(matches!(exchange.reason(&token), Reason::Malformed(Malformed::Token(_))));
}

#[test]
fn our_client_takes_no_flags_bindings_or_target_name_from_a_challenge() {
    // CVE-2019-1166 from the client's side: what the attacker adds to the challenge does not reach the proof.
    let server = server();
    let mut one = Vec::new();
    let negotiated = client(PASSWORD).negotiate(&mut one);
    let exchange = Exchange::with(&server, &one).unwrap();
    let mut challenge = Challenge::parse(&exchange.challenge).unwrap();
    let mut info = Vec::new();
    for (id, value) in [
        (AvId::FLAGS, vec![0; 4]),
        (AvId::CHANNEL_BINDINGS, vec![9; 16]),
        (AvId::TARGET_NAME, utf16le("HTTP/evil.example.test")),
        (AvId::SINGLE_HOST, vec![1; 48]),
        (AvId(77), vec![5]),
    ] {
        assert!(AvPairs::push(&mut info, id, &value));
    }
    AvPairs::end(&mut info);
    challenge.target_info = AvPairs::parse(&info, 0).unwrap();
    let (mut two, mut three) = (Vec::new(), Vec::new());
    challenge.write(&mut two).unwrap();
    let mut env = Env { now: NOW, entropy: &mut Counter(0) };
    negotiated.respond(&two, &ChannelBindings::none(), &mut env, &mut three).unwrap();
    let message = Authenticate::parse(&three).unwrap();
    let pairs = Ntlmv2Response::parse(message.nt_response).unwrap().av_pairs;
    assert_eq!(pairs.flags(), AvFlags::MIC);
    assert_eq!(pairs.channel_bindings(), Some(&[0; 16]));
    assert_eq!(pairs.text(AvId::TARGET_NAME).unwrap().decode(), "HTTP/web.example.test");
    assert_eq!(pairs.find(AvId::SINGLE_HOST), None);
    assert_eq!(pairs.find(AvId(77)), Some([5].as_slice()));
}

// "Drop the MIC", CVE-2019-1040.

#[test]
fn drop_the_mic_taking_the_mic_out_is_refused() {
    let server = server();
    let exchange = Exchange::begin(&server);
    let mut answer = Answer::honest(&exchange);
    answer.mic = false;
    let token = answer.token(&exchange);
    assert_eq!(exchange.reason(&token), Reason::Peer(Peer::NtlmMicMissing));
}

#[test]
fn drop_the_mic_zeroing_the_mic_is_refused() {
    let server = server();
    let exchange = Exchange::begin(&server);
    let mut token = Answer::honest(&exchange).token(&exchange);
    token[MIC_OFFSET..MIC_OFFSET + 16].fill(0);
    assert_eq!(exchange.reason(&token), Reason::Peer(Peer::NtlmMic));
}

#[test]
fn drop_the_mic_clearing_the_flag_that_announces_it_breaks_the_proof() {
    let server = server();
    let exchange = Exchange::begin(&server);
    let mut token = Answer::honest(&exchange).token(&exchange);
    let flags = [6, 0, 4, 0, 2, 0, 0, 0];
    let at = token.windows(8).position(|window| window == flags).unwrap();
    token[at + 4] = 0;
    token[MIC_OFFSET..MIC_OFFSET + 16].fill(0);
    assert_eq!(exchange.reason(&token), Reason::Logon(NtStatus::WRONG_PASSWORD));
}

#[test]
fn drop_the_mic_stripping_version_and_mic_from_the_message_is_refused() {
    // The attack as published: the version and the MIC leave the fixed part, the payload moves up, the flag is cleared.
    let server = server();
    let exchange = Exchange::begin(&server);
    let token = Answer::honest(&exchange).token(&exchange);
    let message = Authenticate::parse(&token).unwrap();
    let mut bare = Vec::new();
    let flags = message.flags & !(Flags::SIGN | Flags::SEAL | Flags::KEY_EXCH | Flags::VERSION | Flags::ALWAYS_SIGN);
    Authenticate { mic: None, version: None, flags, ..message }.write(&mut bare).unwrap();
    assert_eq!(exchange.reason(&bare), Reason::Peer(Peer::NtlmMicMissing));
}

#[test]
fn drop_the_mic_by_taking_the_timestamp_out_of_the_challenge_is_refused() {
    // A client that sees no timestamp may send no MIC; then its response repeats a challenge that we did not send.
    let server = server();
    let exchange = Exchange::begin(&server);
    let token = Answer::without_mic(&exchange).without(AvId::TIMESTAMP).token(&exchange);
    assert_eq!(exchange.reason(&token), Reason::Peer(Peer::TargetInfo));
}

#[test]
fn a_client_without_mic_is_refused_where_the_policy_requires_one() {
    let server = server_with(|config| config.require_mic = true);
    let exchange = Exchange::begin(&server);
    let token = Answer::without_mic(&exchange).token(&exchange);
    assert_eq!(exchange.reason(&token), Reason::Policy(Policy::NtlmMicRequired));
    let exchange = Exchange::begin(&server);
    let token = Answer::honest(&exchange).token(&exchange);
    assert!(exchange.finish(&token).is_ok());
}

#[test]
fn a_changed_byte_in_any_of_the_three_messages_breaks_the_mic() {
    let server = server();
    // The first message: flags that the client did not send.
    let mut one = Vec::new();
    let negotiated = client(PASSWORD).negotiate(&mut one);
    let mut changed = one.clone();
    changed[12] &= !0x10;
    let exchange = Exchange::with(&server, &changed).unwrap();
    let mut three = Vec::new();
    let mut env = Env { now: NOW, entropy: &mut Counter(0) };
    negotiated.respond(&exchange.challenge, &ChannelBindings::none(), &mut env, &mut three).unwrap();
    assert_eq!(exchange.reason(&three), Reason::Peer(Peer::NtlmMic));

    // The second: flags that the server did not send.
    let negotiated = client(PASSWORD).negotiate(&mut Vec::new());
    let exchange = Exchange::with(&server, &one).unwrap();
    let mut challenge = exchange.challenge.clone();
    challenge[20] &= !0x10;
    let mut three = Vec::new();
    negotiated.respond(&challenge, &ChannelBindings::none(), &mut env, &mut three).unwrap();
    assert_eq!(exchange.reason(&three), Reason::Peer(Peer::NtlmMic));

    // The third: everything that is neither proof nor name.
    let exchange = Exchange::with(&server, &one).unwrap();
    let good = Answer::honest(&exchange).token(&exchange);
    assert!(exchange.finish(&good).is_ok());
    for at in (0..good.len()).filter(|at| !(8..12).contains(at)) {
        let mut bad = good.clone();
        bad[at] ^= 0x40;
        assert!(Exchange::with(&server, &one).unwrap().finish(&bad).is_err(), "byte {at}");
    }
}

#[test]
fn an_encrypted_session_key_of_another_handshake_breaks_the_mic() {
    let server = server();
    let exchange = Exchange::begin(&server);
    let mut answer = Answer::honest(&exchange);
    answer.flags = Flags(BROWSER) | Flags::KEY_EXCH | Flags::SIGN;
    answer.session_key = vec![1; 16];
    let mut token = answer.token(&exchange);
    let end = token.len();
    token[end - 1] ^= 1;
    assert_eq!(exchange.reason(&token), Reason::Peer(Peer::NtlmMic));
    for length in [0, 1, 15, 17, 32] {
        let exchange = Exchange::begin(&server);
        answer.session_key = vec![1; length];
        let token = answer.token(&exchange);
        assert!(matches!(exchange.reason(&token), Reason::Malformed(_)), "{length}");
    }
}

// Bindings and target names.

#[test]
fn a_zero_binding_is_none_and_not_a_match() {
    let server = server();
    let ours = ChannelBindings::tls_server_end_point(&[1; 32]);
    for (policy, value, wanted) in [
        (BindingPolicy::Require, Some(vec![0; 16]), Err(Peer::BindingMissing)),
        (BindingPolicy::Require, None, Err(Peer::BindingMissing)),
        (BindingPolicy::Require, Some(vec![7; 16]), Err(Peer::BindingMismatch)),
        (BindingPolicy::Allow, Some(vec![7; 16]), Err(Peer::BindingMismatch)),
        (BindingPolicy::Allow, Some(vec![0; 16]), Ok(())),
        (BindingPolicy::Require, Some(ours.presented().to_vec()), Ok(())),
    ] {
        let exchange = Exchange::begin(&server);
        let answer = Answer::honest(&exchange).without(AvId::CHANNEL_BINDINGS);
        let answer = match value {
            Some(value) => answer.set(AvId::CHANNEL_BINDINGS, value),
            None => answer,
        };
        let token = answer.token(&exchange);
        let result = exchange.authenticate_at(NOW, &token, &ours, policy).map(|_| ());
        assert_eq!(result.map_err(|reject| reject.reason), wanted.map_err(Reason::Peer), "{policy:?}");
    }
}

#[test]
fn a_response_that_was_meant_for_another_server_is_refused() {
    let server = server_with(|config| {
        config.target_names = vec!["HTTP/web.example.test".into(), "www.example.test".into(), "HTTP/alt:8443".into()];
    });
    for (name, accepted) in [
        ("HTTP/web.example.test", true),
        ("http/WEB.Example.Test", true),
        ("HTTP/web.example.test:8080", true),
        ("HTTP/web.example.test.", true),
        ("HTTP/www.example.test", true),
        ("cifs/www.example.test", true),
        ("HTTP/alt:8443", true),
        ("", true),
        ("cifs/web.example.test", false),
        ("HTTP/web.example.test.evil.test", false),
        ("HTTP/evil.test/web.example.test", false),
        ("web.example.test", false),
        ("HTTP/alt", false),
        ("HTTP/alt:443", false),
        ("HTTP/", false),
    ] {
        let exchange = Exchange::begin(&server);
        let token = Answer::honest(&exchange).set(AvId::TARGET_NAME, utf16le(name)).token(&exchange);
        match exchange.finish(&token) {
            Ok(_) => assert!(accepted, "{name}"),
            Err(reject) => {
                assert!(!accepted && matches!(reject.reason, Reason::Peer(Peer::TargetName { .. })), "{name}");
            }
        }
    }
}

#[test]
fn a_target_name_from_an_untrusted_source_is_disregarded() {
    let server = server_with(|config| config.target_names = vec!["HTTP/web.example.test".into()]);
    let exchange = Exchange::begin(&server);
    let flags = AvFlags::MIC.0 | AvFlags::UNTRUSTED_SPN_SOURCE.0;
    let answer = Answer::honest(&exchange).set(AvId::FLAGS, flags.to_le_bytes().to_vec());
    let token = answer.set(AvId::TARGET_NAME, utf16le("HTTP/other.example.test")).token(&exchange);
    assert!(exchange.finish(&token).is_ok());
}

#[test]
fn any_target_name_will_do_where_none_is_configured() {
    let server = server();
    let exchange = Exchange::begin(&server);
    let token = Answer::honest(&exchange).set(AvId::TARGET_NAME, utf16le("HTTP/x")).token(&exchange);
    assert!(exchange.finish(&token).is_ok());
}

// Bytes, limits, logs.

#[test]
fn a_negotiate_that_would_fill_the_memory_is_refused() {
    let server = server();
    let mut bytes = negotiate(BROWSER);
    bytes.resize(1024, 0);
    assert!(Exchange::with(&server, &bytes).is_ok());
    bytes.push(0);
    let refused = Exchange::with(&server, &bytes).map(|_| ()).unwrap_err();
    assert!(matches!(refused.reason, Reason::Malformed(Malformed::Token(_))));
}

#[test]
fn no_change_of_a_byte_panics_or_lets_anybody_in_unproved() {
    let server = server();
    let exchange = Exchange::begin(&server);
    let good = Answer::without_mic(&exchange).token(&exchange);
    for at in 0..good.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut bad = good.clone();
            bad[at] = value;
            // Without a MIC the fixed part is not covered; whoever gets in is still the one who proved it.
            if let Ok(context) = Exchange::begin(&server).finish(&bad) {
                assert_eq!(context.identity.account().name, "alice");
            }
        }
        let _ = Exchange::begin(&server).finish(&good[..at]);
    }
    let mut one = Vec::new();
    let _ = client(PASSWORD).negotiate(&mut one);
    for at in 0..one.len() {
        let _ = Exchange::with(&server, &one[..at]);
        one[at] ^= 0xff;
        let _ = Exchange::with(&server, &one);
        one[at] ^= 0xff;
    }
}

#[test]
fn names_from_the_wire_cannot_forge_a_log_line() {
    let server = server_with(|config| config.target_names = vec!["HTTP/web.example.test".into()]);
    let reason =
        refused(&server, |answer| answer.set(AvId::TARGET_NAME, utf16le("HTTP/x\r\nGET /admin\u{202e}\u{1b}[0m")));
    let line = reason.to_string();
    assert!(!line.contains(['\r', '\n', '\u{202e}', '\u{1b}']), "{line}");

    let server = self::server();
    let exchange = Exchange::begin(&server);
    let token = Answer::honest(&exchange).token(&exchange);
    let pending = exchange.pending(&token).unwrap();
    let answer = authority(pending.request()).map(|mut info| {
        info.account.name = "alice\r\nbob".into();
        info
    });
    let shown = pending.answer(answer).unwrap().identity.to_string();
    assert_eq!(shown, "EXAMPLE\\alice\\u{d}\\u{a}bob");
}

#[test]
fn an_authority_that_cannot_be_asked_lets_nobody_in() {
    let server = server();
    let exchange = Exchange::begin(&server);
    let token = Answer::honest(&exchange).token(&exchange);
    let pending = exchange.pending(&token).unwrap();
    let refused = pending.answer(Err(LogonError::Unavailable("the domain controller".into())));
    assert!(matches!(refused.map(|_| ()).unwrap_err().reason, Reason::Unavailable(_)));
}

#[test]
fn a_wrong_session_key_of_the_authority_is_found_by_the_mic() {
    let server = server();
    let exchange = Exchange::begin(&server);
    let token = Answer::honest(&exchange).token(&exchange);
    let pending = exchange.pending(&token).unwrap();
    let answer = authority(pending.request()).map(|mut info| {
        info.session_base_key = Secret::new([0; 16]);
        info
    });
    assert_eq!(pending.answer(answer).map(|_| ()).unwrap_err().reason, Reason::Peer(Peer::NtlmMic));
}

#[test]
fn a_mech_list_mic_that_was_changed_or_reflected_is_refused() {
    let server = server();
    let mut one = Vec::new();
    let negotiated = client(PASSWORD).negotiate(&mut one);
    let exchange = Exchange::with(&server, &one).unwrap();
    let mut three = Vec::new();
    let mut env = Env { now: NOW, entropy: &mut Counter(0) };
    let mut initiator: initiator::Context =
        negotiated.respond(&exchange.challenge, &ChannelBindings::none(), &mut env, &mut three).unwrap();
    let mut acceptor = exchange.finish(&three).unwrap();
    let mac = initiator.sign(b"krb5, ntlm");
    assert!(!acceptor.verify(b"ntlm", &mac));
    let own = acceptor.sign(b"krb5, ntlm");
    assert!(!acceptor.verify(b"krb5, ntlm", &own));
}
