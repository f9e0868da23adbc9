use super::super::initiator;
use super::*;
use crate::identity::Mechanism;
use crate::reject::{Internal, Malformed, Policy};

/// Our client against our server; both contexts.
fn both_ends(
    server: &Server,
    client: &Client,
    client_bindings: &ChannelBindings,
    bindings: &ChannelBindings,
    policy: BindingPolicy,
) -> Result<(initiator::Context, Context), Reject> {
    let (mut one, mut two, mut three) = (Vec::new(), Vec::new(), Vec::new());
    let negotiated = client.negotiate(&mut one);
    let challenged = server.challenge(&one, &mut Env { now: NOW, entropy: &mut Counter(0) }, &mut two)?;
    let mut env = Env { now: NOW, entropy: &mut Counter(50) };
    let initiator = negotiated.respond(&two, client_bindings, &mut env, &mut three)?;
    let pending = challenged.authenticate(server, &three, bindings, policy, &mut env)?;
    let answer = authority(pending.request());
    Ok((initiator, pending.answer(answer)?))
}

#[test]
fn our_client_is_let_in_by_our_server_and_both_sign_alike() {
    let none = ChannelBindings::none();
    let (mut initiator, mut acceptor) =
        both_ends(&server(), &client(PASSWORD), &none, &none, BindingPolicy::None).unwrap();
    assert_eq!(acceptor.identity.to_string(), "EXAMPLE\\alice");
    assert_eq!(acceptor.identity.mechanism(), Mechanism::Ntlm);
    let mac = initiator.sign(b"mechTypes");
    assert!(acceptor.verify(b"mechTypes", &mac));
    let mac = acceptor.sign(b"mechTypes");
    assert!(initiator.verify(b"mechTypes", &mac));
    assert!(!initiator.verify(b"mechTypes", &mac));
}

#[test]
fn a_wrong_password_is_the_authoritys_refusal() {
    let none = ChannelBindings::none();
    let refused = both_ends(&server(), &client("wrong"), &none, &none, BindingPolicy::None).map(|_| ());
    assert_eq!(refused.unwrap_err().reason, Reason::Logon(NtStatus::WRONG_PASSWORD));
}

#[test]
fn channel_bindings_are_held_against_the_policy() {
    let (ours, other) =
        (ChannelBindings::tls_server_end_point(&[1; 32]), ChannelBindings::tls_server_end_point(&[2; 32]));
    let none = ChannelBindings::none();
    let client = client(PASSWORD);
    for (presented, policy, accepted) in [
        (&ours, BindingPolicy::Require, true),
        (&ours, BindingPolicy::Allow, true),
        (&none, BindingPolicy::Allow, true),
        (&none, BindingPolicy::Require, false),
        (&other, BindingPolicy::Allow, false),
        (&other, BindingPolicy::Require, false),
        (&other, BindingPolicy::None, true),
    ] {
        let result = both_ends(&server(), &client, presented, &ours, policy);
        assert_eq!(result.is_ok(), accepted, "{policy:?} {presented:?}");
    }
}

#[test]
fn clients_that_announce_no_mic_are_let_in_by_default() {
    let server = server();
    let exchange = Exchange::begin(&server);
    let token = Answer::without_mic(&exchange).token(&exchange);
    assert!(!exchange.finish_with_mic(&token).unwrap());
}

#[test]
fn a_client_that_leaves_out_dns_names_as_samba_does_is_let_in() {
    let server = server_with(|config| config.dns_tree = Some("example.test".into()));
    let exchange = Exchange::begin(&server);
    let token = Answer::honest(&exchange).without(AvId::DNS_TREE_NAME).token(&exchange);
    assert!(exchange.finish(&token).is_ok());
}

#[test]
fn curl_that_knows_no_unicode_is_let_in() {
    let server = server();
    let exchange = Exchange::with(&server, &negotiate(0x0008_8206)).unwrap();
    let challenge = Challenge::parse(&exchange.challenge).unwrap();
    assert!(challenge.flags.has(Flags::OEM) && !challenge.flags.has(Flags::UNICODE));
    assert_eq!(challenge.target_name.decode(), "EXAMPLE");
    let mut answer = Answer::without_mic(&exchange);
    answer.flags = Flags(0x0008_8206);
    let token = answer.token(&exchange);
    assert_eq!(exchange.finish(&token).unwrap().identity.account().name, "alice");
}

#[test]
fn a_client_without_key_exchange_or_with_it_gets_its_mic_verified() {
    let server = server();
    let exchange = Exchange::begin(&server);
    let token = Answer::honest(&exchange).token(&exchange);
    assert!(exchange.finish_with_mic(&token).unwrap());
    // pyspnego fills the field with one byte if nothing is to be signed; it means nothing.
    for (flags, session_key) in [(Flags::SIGN, vec![0x77; 16]), (Flags::SEAL, vec![0x77; 16]), (Flags(0), vec![0])] {
        let exchange = Exchange::begin(&server);
        let mut answer = Answer::honest(&exchange);
        answer.flags = Flags(BROWSER) | Flags::KEY_EXCH | flags;
        answer.session_key = session_key;
        let token = answer.token(&exchange);
        assert!(exchange.finish_with_mic(&token).unwrap());
    }
}

#[test]
fn the_challenge_says_who_the_server_is_and_only_what_was_asked_for() {
    let server = server();
    for (asked, answered) in
        [(BROWSER, 0x0089_8205), (0x0008_8206, 0x0089_8206), (0xe208_8217, 0xe289_8215), (0xffff_ffff, 0xe299_8235)]
    {
        let exchange = Exchange::with(&server, &negotiate(asked)).unwrap();
        let challenge = Challenge::parse(&exchange.challenge).unwrap();
        assert_eq!(challenge.flags, Flags(answered), "{asked:08x}");
        assert_eq!(challenge.version.is_some(), asked & Flags::VERSION.0 != 0);
        let info = challenge.target_info;
        let name = |id| info.text(id).map(|name| name.decode().into_owned());
        assert_eq!(name(AvId::NB_COMPUTER_NAME).as_deref(), Some("WEB"));
        assert_eq!(name(AvId::NB_DOMAIN_NAME).as_deref(), Some("EXAMPLE"));
        assert_eq!(name(AvId::DNS_COMPUTER_NAME).as_deref(), Some("web.example.test"));
        assert_eq!(name(AvId::DNS_TREE_NAME), None);
        assert_eq!(info.timestamp(), Some(NOW.filetime()));
    }
    let standalone = Server::new(ServerConfig::standalone("WEB")).unwrap();
    let exchange = Exchange::begin(&standalone);
    assert!(Challenge::parse(&exchange.challenge).unwrap().flags.has(Flags::TARGET_TYPE_SERVER));
}

#[test]
fn a_challenge_is_random_and_fails_closed_without_randomness() {
    let server = server();
    let challenge = |entropy: &mut dyn Entropy| {
        let mut out = Vec::new();
        server.challenge(&negotiate(BROWSER), &mut Env { now: NOW, entropy }, &mut out).map(|_| out)
    };
    let mut counter = Counter(0);
    let (one, two) = (challenge(&mut counter).unwrap(), challenge(&mut counter).unwrap());
    assert_ne!(one[24..32], two[24..32]);
    assert_eq!(challenge(&mut NoEntropy).unwrap_err().reason, Reason::Internal(Internal::Entropy));
}

#[test]
fn a_client_with_no_character_set_or_no_session_security_is_told_so() {
    let server = server();
    for flags in [0x0008_8204, 0x0000_8207, 0] {
        let refused = Exchange::with(&server, &negotiate(flags)).map(|_| ()).unwrap_err();
        assert!(matches!(refused.reason, Reason::Policy(Policy::NtlmFlags { .. })), "{flags:08x}");
    }
}

#[test]
fn legs_out_of_order_are_refused() {
    let server = server();
    let exchange = Exchange::begin(&server);
    let (negotiate, challenge) = (exchange.negotiate.clone(), exchange.challenge.clone());
    let out_of_sequence = |reason| matches!(reason, Reason::Malformed(Malformed::OutOfSequence { .. }));
    let token = Answer::honest(&exchange).token(&exchange);
    assert!(out_of_sequence(Exchange::with(&server, &token).map(|_| ()).unwrap_err().reason));
    assert!(out_of_sequence(Exchange::with(&server, &challenge).map(|_| ()).unwrap_err().reason));
    assert!(out_of_sequence(exchange.reason(&negotiate)));
    assert!(out_of_sequence(Exchange::begin(&server).reason(&challenge)));
    let empty = Exchange::begin(&server).reason(&[]);
    assert!(matches!(empty, Reason::Malformed(Malformed::Token(_))));

    let mut out = Vec::new();
    let negotiated = client(PASSWORD).negotiate(&mut out);
    let mut env = Env { now: NOW, entropy: &mut Counter(0) };
    let refused = negotiated.respond(&negotiate, &ChannelBindings::none(), &mut env, &mut out);
    assert!(out_of_sequence(refused.map(|_| ()).unwrap_err().reason));
}

#[test]
fn our_client_answers_a_server_without_target_information() {
    let challenge = Challenge { flags: Flags(0x0000_8202), server_challenge: [9; 8], ..Challenge::default() };
    let (mut two, mut three) = (Vec::new(), Vec::new());
    challenge.write(&mut two).unwrap();
    let mut env = Env { now: NOW, entropy: &mut Counter(0) };
    let negotiated = client(PASSWORD).negotiate(&mut Vec::new());
    negotiated.respond(&two, &ChannelBindings::none(), &mut env, &mut three).unwrap();
    let message = Authenticate::parse(&three).unwrap();
    assert_eq!((message.user.decode().as_ref(), message.user.unicode), ("alice", false));
    assert_eq!(message.lm_response, [0; 24]);
    let verified = verify_ntlmv2(&nt_hash(PASSWORD), "alice", "EXAMPLE", &[9; 8], message.nt_response);
    assert!(verified.is_some());
    let response = Ntlmv2Response::parse(message.nt_response).unwrap();
    assert_eq!(response.time_stamp, NOW.filetime());
}

#[test]
fn our_client_takes_the_servers_time_and_says_whom_it_means() {
    let server = server();
    let mut one = Vec::new();
    let negotiated = client(PASSWORD).negotiate(&mut one);
    let exchange = Exchange::with(&server, &one).unwrap();
    let mut three = Vec::new();
    let mut env = Env { now: NOW.plus(MINUTE), entropy: &mut Counter(0) };
    negotiated.respond(&exchange.challenge, &ChannelBindings::none(), &mut env, &mut three).unwrap();
    let message = Authenticate::parse(&three).unwrap();
    let response = Ntlmv2Response::parse(message.nt_response).unwrap();
    assert_eq!(response.time_stamp, NOW.filetime());
    assert_eq!(response.av_pairs.text(AvId::TARGET_NAME).unwrap().decode(), "HTTP/web.example.test");
    assert_eq!(response.av_pairs.channel_bindings(), Some(&[0; 16]));
    assert!(response.av_pairs.flags().has(AvFlags::MIC));
}

#[test]
fn nothing_secret_is_in_the_debug_output() {
    let mut out = Vec::new();
    let client = client(PASSWORD);
    let server = server();
    let exchange = Exchange::begin(&server);
    let token = Answer::honest(&exchange).token(&exchange);
    let shown = format!("{client:?} {:?} {:?}", client.negotiate(&mut out), exchange.challenged);
    let pending = exchange.pending(&token).unwrap();
    let shown = format!("{shown} {pending:?}");
    let hash = nt_hash(PASSWORD);
    for secret in [format!("{:?}", hash.expose()), PASSWORD.to_owned(), "nt_response".to_owned()] {
        assert!(!shown.contains(&secret), "{shown}");
    }
}
