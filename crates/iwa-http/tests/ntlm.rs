//! NTLM over HTTP, each behaviour by its name. MS-NTHT, RFC 4559, and what IIS and its clients do.

mod support;

use std::future::Future as _;
use std::pin::pin;
use std::task::{Context, Waker};

use http::{HeaderMap, HeaderValue, Version};
use iwa_auth::{NtStatus, Scheme};
use iwa_http::client::Conclusion;
use iwa_http::{Connection, Outcome, Provider};
use support::{Authority, Browser, Seen, Site, Terms, authorized, connection, remote_connection, words};

const CHALLENGE: &str = "401.2 5";
const CONTINUE: &str = "401.1 2148074254";
const ALICE: &str = "200 EXAMPLE\\alice";
const OUT_OF_SEQUENCE: &str = "401.1 2148074248 malformed.out-of-sequence";

#[tokio::test]
async fn an_ntlm_logon_shows_as_iis_logs_it() {
    let site = Site::with_policy(|_| {});
    let connection = connection();
    let (replies, conclusion) = Browser::ntlm(&site).load(&site, &connection).await;
    assert_eq!(words(&replies), [CHALLENGE, CONTINUE, ALICE]);
    assert_eq!(replies[0].challenges(), ["Negotiate", "NTLM"]);
    assert_eq!(replies[1].challenges().len(), 1, "a token, and no bare scheme beside it");
    assert!(replies[1].challenges()[0].starts_with("NTLM TlRMTVNTUAAC"));
    assert!(matches!(conclusion, Conclusion::Established(Scheme::Ntlm, _)), "{conclusion:?}");
}

#[tokio::test]
async fn ntlm_inside_spnego_ends_with_a_final_token_which_the_client_verifies() {
    let site = Site::with_policy(|_| {});
    let browser = Browser::new(&site, "Password", &[Scheme::Negotiate, Scheme::Ntlm]);
    let (replies, conclusion) = browser.load(&site, &connection()).await;
    assert_eq!(words(&replies), [CHALLENGE, CONTINUE, ALICE]);
    assert!(replies[2].challenges()[0].starts_with("Negotiate oR"), "{:?}", replies[2].challenges());
    assert!(matches!(conclusion, Conclusion::Established(Scheme::Negotiate, _)), "{conclusion:?}");
}

#[tokio::test]
async fn raw_ntlm_under_negotiate_is_answered_under_negotiate() {
    let site = Site::with_policy(|_| {});
    let mut browser = Browser::new(&site, "Password", &[Scheme::Negotiate]);
    browser.initiator = support::initiator("Password", iwa_auth::initiate::Framing::Bare);
    let (replies, _) = browser.load(&site, &connection()).await;
    assert_eq!(words(&replies), [CHALLENGE, CONTINUE, ALICE]);
    assert!(replies[1].challenges()[0].starts_with("Negotiate TlRMTVNTUAAC"));
}

#[tokio::test]
async fn the_identity_belongs_to_the_connection_that_proved_it() {
    let site = Site::with_policy(|_| {});
    let (mine, other) = (connection(), connection());
    Browser::ntlm(&site).load(&site, &mine).await;
    assert_eq!(site.get(&mine).await.in_words(), ALICE);
    assert_eq!(site.get(&mine).await.in_words(), ALICE);
    assert_eq!(site.get(&other).await.in_words(), CHALLENGE);
}

#[tokio::test]
async fn persistent_auth_tells_the_client_and_only_with_the_final_answer() {
    let site = Site::with_policy(|_| {});
    let connection = connection();
    let (replies, _) = Browser::ntlm(&site).load(&site, &connection).await;
    assert_eq!(replies[2].persistent(), Some(true));
    assert_eq!(site.get(&connection).await.persistent(), None);
}

#[tokio::test]
async fn auth_persist_single_request_asks_ntlm_anew_for_every_request() {
    let site = Site::with_policy(|policy| policy.persist_single_request = true);
    let connection = connection();
    let (replies, _) = Browser::ntlm(&site).load(&site, &connection).await;
    assert_eq!(words(&replies), [CHALLENGE, CONTINUE, ALICE]);
    assert_eq!(replies[2].persistent(), Some(false));
    assert_eq!(site.get(&connection).await.in_words(), CHALLENGE);
}

#[tokio::test]
async fn auth_persist_non_ntlm_off_does_not_touch_ntlm() {
    let site = Site::with_policy(|policy| policy.persist_non_ntlm = false);
    let connection = connection();
    Browser::ntlm(&site).load(&site, &connection).await;
    assert_eq!(site.get(&connection).await.in_words(), ALICE);
}

#[tokio::test]
async fn a_request_without_credentials_in_the_middle_of_a_handshake_ends_it() {
    let site = Site::with_policy(|_| {});
    let connection = connection();
    let (_, second) = Browser::ntlm(&site).halfway(&site, &connection).await;
    let reply = site.get(&connection).await;
    assert_eq!(reply.in_words(), CHALLENGE);
    assert!(reply.note().expect("the operator is told").contains("middle of a handshake"));
    assert!(site.half_open.is_empty());
    assert_eq!(site.with(&connection, &second).await.in_words(), OUT_OF_SEQUENCE);
}

#[tokio::test]
async fn on_an_anonymous_site_too_a_request_without_credentials_ends_the_handshake() {
    let site = Site::with_policy(|_| {});
    let anonymous = Site::with_policy(|policy| policy.anonymous = true);
    let connection = connection();
    let (_, second) = Browser::ntlm(&site).halfway(&site, &connection).await;
    assert_eq!(anonymous.get(&connection).await.in_words(), "200 -");
    assert_eq!(site.with(&connection, &second).await.in_words(), OUT_OF_SEQUENCE);
}

#[tokio::test]
async fn an_ntlm_negotiate_gets_its_401_even_where_anonymous_is_on_so_that_no_posted_body_is_lost() {
    let site = Site::with_policy(|_| {});
    let anonymous = Site::with_policy(|policy| policy.anonymous = true);
    let (first, _) = Browser::ntlm(&site).halfway(&site, &connection()).await;
    // Internet Explorer: `POST`, `Content-Length: 0`, and the token; the body comes with the next leg.
    let mut headers = authorized(&first);
    headers.insert("content-length", HeaderValue::from_static("0"));
    let connection = connection();
    assert_eq!(anonymous.send(&connection, &headers).await.in_words(), CONTINUE);
}

#[tokio::test]
async fn another_scheme_in_the_middle_of_a_handshake_begins_anew() {
    let site = Site::with_policy(|_| {});
    let connection = connection();
    let (first, second) = Browser::ntlm(&site).halfway(&site, &connection).await;
    let under_negotiate = |value: &HeaderValue| {
        let token = value.to_str().expect("ASCII").strip_prefix("NTLM ").expect("NTLM").to_owned();
        HeaderValue::try_from(format!("Negotiate {token}")).expect("a value")
    };
    assert_eq!(site.with(&connection, &under_negotiate(&second)).await.in_words(), OUT_OF_SEQUENCE);
    assert_eq!(site.with(&connection, &under_negotiate(&first)).await.in_words(), CONTINUE);
    assert_eq!(site.with(&connection, &second).await.in_words(), OUT_OF_SEQUENCE);
}

#[tokio::test]
async fn a_challenge_is_good_on_its_own_connection_only() {
    let site = Site::with_policy(|_| {});
    let (mine, foreign) = (connection(), connection());
    let browser = Browser::ntlm(&site);
    let (first, second) = browser.halfway(&site, &mine).await;
    assert_eq!(site.with(&foreign, &second).await.in_words(), OUT_OF_SEQUENCE);
    // Nor with a challenge of its own.
    assert_eq!(site.with(&foreign, &first).await.in_words(), CONTINUE);
    assert!(site.with(&foreign, &second).await.in_words().starts_with("401.1 "));
    assert_eq!(site.with(&mine, &second).await.in_words(), ALICE);
}

#[tokio::test]
async fn a_challenge_is_good_once_and_a_repeated_answer_drops_the_identity() {
    let site = Site::with_policy(|_| {});
    let connection = connection();
    let (_, second) = Browser::ntlm(&site).halfway(&site, &connection).await;
    assert_eq!(site.with(&connection, &second).await.in_words(), ALICE);
    assert_eq!(site.with(&connection, &second).await.in_words(), OUT_OF_SEQUENCE);
    assert_eq!(site.get(&connection).await.in_words(), CHALLENGE);
}

#[tokio::test]
async fn a_challenge_lives_for_a_short_time() {
    let site = Site::with_policy(|_| {});
    let connection = connection();
    let (_, second) = Browser::ntlm(&site).halfway(&site, &connection).await;
    site.clock.advance(31);
    assert_eq!(site.with(&connection, &second).await.in_words(), "401.1 2148074263 ntlm.challenge-expired");
    assert_eq!(site.with(&connection, &second).await.in_words(), OUT_OF_SEQUENCE);
}

#[tokio::test]
async fn challenges_are_random() {
    let site = Site::with_policy(|_| {});
    let mut seen = Vec::new();
    for _ in 0..20 {
        let connection = connection();
        let (replies, _) = Browser::ntlm(&site).load(&site, &connection).await;
        seen.push(replies[1].challenges());
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 20);
}

#[tokio::test]
async fn a_bad_token_on_an_authenticated_connection_drops_its_identity() {
    let site = Site::with_policy(|_| {});
    for bad in ["NTLM AAAA", "Negotiate YIIxyz==", "Negotiate", "Negotiate YWJj, NTLM YWJj"] {
        let connection = connection();
        Browser::ntlm(&site).load(&site, &connection).await;
        assert!(site.with(&connection, &HeaderValue::from_static(bad)).await.in_words().starts_with("40"), "{bad}");
        assert_eq!(site.get(&connection).await.in_words(), CHALLENGE, "{bad}");
    }
}

#[tokio::test]
async fn a_new_handshake_on_an_authenticated_connection_replaces_its_identity_from_its_first_token_on() {
    let site = Site::with_policy(|_| {});
    let connection = connection();
    let browser = Browser::ntlm(&site);
    let (first, _) = browser.halfway(&site, &support::connection()).await;
    browser.load(&site, &connection).await;
    assert_eq!(site.with(&connection, &first).await.in_words(), CONTINUE);
    assert_eq!(site.get(&connection).await.in_words(), CHALLENGE);
}

#[tokio::test]
async fn a_wrong_password_gets_401_1_and_bare_challenges_so_that_a_browser_asks_again() {
    let site = Site::with_policy(|_| {});
    let connection = connection();
    let browser = Browser::new(&site, "wrong", &[Scheme::Negotiate, Scheme::Ntlm]);
    let (replies, conclusion) = browser.load(&site, &connection).await;
    assert_eq!(words(&replies), [CHALLENGE, CONTINUE, "401.1 2148074252 logon"]);
    assert_eq!(replies[2].challenges(), ["Negotiate", "NTLM"]);
    assert!(matches!(conclusion, Conclusion::Failed(_)));
    let Outcome::Refused(refused) = &replies[2].outcome else { panic!() };
    assert_eq!(refused.claimed.as_deref(), Some("EXAMPLE\\alice"));
    // The connection is as fresh as before.
    let (replies, _) = Browser::ntlm(&site).load(&site, &connection).await;
    assert_eq!(words(&replies), [CHALLENGE, CONTINUE, ALICE]);
}

#[tokio::test]
async fn every_refused_logon_looks_the_same_to_the_client() {
    let mut heads = Vec::new();
    for status in
        [NtStatus::NO_SUCH_USER, NtStatus::WRONG_PASSWORD, NtStatus::ACCOUNT_LOCKED_OUT, NtStatus::ACCOUNT_DISABLED]
    {
        let site = Site::with_authority(Authority::Says(status));
        let (replies, _) = Browser::ntlm(&site).load(&site, &connection()).await;
        heads.push(replies[2].head());
    }
    heads.dedup();
    assert_eq!(heads.len(), 1);
}

#[tokio::test]
async fn an_authority_that_is_down_is_503_and_nobody_gets_in() {
    let site = Site::with_authority(Authority::IsDown);
    let connection = connection();
    let (replies, _) = Browser::ntlm(&site).load(&site, &connection).await;
    assert_eq!(replies[2].in_words(), "503.0 1311 unavailable.accounts");
    assert!(replies[2].challenges().is_empty());
    assert_eq!(site.get(&connection).await.in_words(), CHALLENGE);
}

#[tokio::test(start_paused = true)]
async fn an_authority_that_never_answers_is_503_in_time() {
    let site = Site::with_authority(Authority::NeverAnswers);
    let (replies, _) = Browser::ntlm(&site).load(&site, &connection()).await;
    assert_eq!(replies[2].in_words(), "503.0 1311 unavailable.accounts");
}

#[tokio::test]
async fn a_panic_in_the_middle_of_a_logon_leaves_nobody_signed_in() {
    let site = Site::with_authority(Authority::Panics);
    let connection = connection();
    let (_, second) = Browser::ntlm(&site).halfway(&site, &connection).await;
    let headers = authorized(&second);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut request = pin!(site.authenticator.authenticate(&connection, Version::HTTP_11, &headers));
        let _ = request.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    }));
    assert!(panicked.is_err());
    assert_eq!(site.get(&connection).await.in_words(), CHALLENGE);
}

#[tokio::test]
async fn a_request_that_is_abandoned_in_the_middle_of_a_logon_leaves_nobody_signed_in() {
    let site = Site::with_authority(Authority::NeverAnswers);
    let connection = connection();
    let (_, second) = Browser::ntlm(&site).halfway(&site, &connection).await;
    let headers = authorized(&second);
    {
        let mut request = Box::pin(site.authenticator.authenticate(&connection, Version::HTTP_11, &headers));
        assert!(request.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        // Meanwhile nothing else is served as anybody on this connection.
        assert_eq!(site.get(&connection).await.in_words(), CHALLENGE);
        assert_eq!(
            site.with(&connection, &second).await.in_words(),
            "401.2 50 policy.not-on-this-connection",
            "two requests at once"
        );
    }
    assert_eq!(site.get(&connection).await.in_words(), CHALLENGE);
}

#[tokio::test]
async fn handshakes_under_way_are_limited_in_number_over_all_connections() {
    let site = Site::new(Terms { most_half_open: 3, ..Terms::default() });
    let open: Vec<_> = (0..3).map(|_| connection()).collect();
    let mut first = None;
    for connection in &open {
        first = Some(Browser::ntlm(&site).halfway(&site, connection).await.0);
    }
    let first = first.expect("three handshakes");
    let late = connection();
    let reply = site.with(&late, &first).await;
    assert_eq!(reply.in_words(), "503.2 1450 unavailable.handshakes");
    assert!(reply.challenges().is_empty(), "no challenge goes out that cannot be answered");
    // Who proved themselves before is served.
    drop(open);
    assert_eq!(site.with(&late, &first).await.in_words(), CONTINUE);
}

#[tokio::test]
async fn old_handshakes_make_room_for_new_ones() {
    let site = Site::new(Terms { most_half_open: 1, ..Terms::default() });
    let old = connection();
    let (first, second) = Browser::ntlm(&site).halfway(&site, &old).await;
    site.clock.advance(31);
    assert_eq!(site.with(&connection(), &first).await.in_words(), CONTINUE);
    assert_eq!(site.with(&old, &second).await.in_words(), "401.1 2148074263 ntlm.challenge-expired");
}

#[tokio::test]
async fn kerberos_only_refuses_ntlm_at_every_door_before_a_challenge_goes_out() {
    let open = Site::with_policy(|_| {});
    let site = Site::with_policy(|policy| policy.providers = vec![Provider::NegotiateKerberos]);
    let doors = [
        (Browser::new(&open, "Password", &[Scheme::Negotiate]), "401.2 1937 policy.mechanism-off"),
        (Browser::ntlm(&open), "401.2 2148074245 policy.scheme-off"),
    ];
    for (browser, refusal) in doors {
        let (first, _) = browser.halfway(&open, &connection()).await;
        let reply = site.with(&connection(), &first).await;
        assert_eq!(reply.in_words(), refusal);
        assert_eq!(reply.challenges(), ["Negotiate"]);
    }
    let mut raw = Browser::new(&open, "Password", &[Scheme::Negotiate]);
    raw.initiator = support::initiator("Password", iwa_auth::initiate::Framing::Bare);
    let (first, _) = raw.halfway(&open, &connection()).await;
    assert_eq!(site.with(&connection(), &first).await.in_words(), "401.2 1937 policy.mechanism-off");
}

#[tokio::test]
async fn negotiate_kerberos_beside_ntlm_takes_ntlm_under_its_own_scheme_alone() {
    let site = Site::with_policy(|policy| policy.providers = vec![Provider::NegotiateKerberos, Provider::Ntlm]);
    let (replies, _) = Browser::ntlm(&site).load(&site, &connection()).await;
    assert_eq!(words(&replies), [CHALLENGE, CONTINUE, ALICE]);
    let (replies, _) = Browser::new(&site, "Password", &[Scheme::Negotiate]).load(&site, &connection()).await;
    assert_eq!(words(&replies), [CHALLENGE, "401.2 1937 policy.mechanism-off"]);
}

#[tokio::test]
async fn without_windows_authentication_nothing_is_offered_and_nothing_taken() {
    let open = Site::with_policy(|_| {});
    let site = Site::with_policy(|policy| policy.providers = Vec::new());
    let (first, _) = Browser::ntlm(&open).halfway(&open, &connection()).await;
    let reply = site.with(&connection(), &first).await;
    assert_eq!(reply.in_words(), "401.2 2148074245 policy.scheme-off");
    assert!(reply.challenges().is_empty());
}

#[tokio::test]
async fn an_identity_does_not_outlive_the_policy_under_which_it_was_proved() {
    let before = Site::with_policy(|_| {});
    let after = Site::with_policy(|policy| policy.providers = vec![Provider::NegotiateKerberos]);
    let connection = connection();
    Browser::ntlm(&before).load(&before, &connection).await;
    assert_eq!(after.get(&connection).await.in_words(), CHALLENGE);
    assert_eq!(before.get(&connection).await.in_words(), CHALLENGE, "and it is forgotten");
}

#[tokio::test]
async fn what_was_proved_under_one_part_of_the_site_counts_under_another_as_far_as_its_policy_takes_it() {
    let site = Site::with_policy(|_| {});
    let part = |providers: Vec<Provider>| {
        let policy = iwa_http::Policy { providers, ..site.authenticator.policy().clone() };
        Site {
            authenticator: site.authenticator.with_policy(policy),
            clock: site.clock.clone(),
            half_open: site.half_open.clone(),
        }
    };
    let (kerberos, ntlm) = (part(vec![Provider::NegotiateKerberos]), part(vec![Provider::Ntlm]));
    let connection = connection();
    let browser = Browser::ntlm(&site);
    browser.load(&site, &connection).await;
    assert_eq!(ntlm.get(&connection).await.in_words(), ALICE);
    assert_eq!(kerberos.get(&connection).await.in_words(), CHALLENGE);
    assert_eq!(kerberos.get(&connection).await.challenges(), ["Negotiate"]);
    // A handshake that began where NTLM is taken does not end where it is not.
    let (_, second) = browser.halfway(&site, &connection).await;
    let reply = kerberos.with(&connection, &second).await;
    assert!(reply.in_words().starts_with("401.2 "), "{}", reply.in_words());
    assert_eq!(site.get(&connection).await.in_words(), CHALLENGE, "and nobody is known from it");
    // New keys are everybody's.
    kerberos.authenticator.replace_acceptor(iwa_auth::Acceptor::new(support::ntlm_acceptor()));
    assert!(std::sync::Arc::ptr_eq(&site.authenticator.acceptor(), &ntlm.authenticator.acceptor()));
}

#[tokio::test]
async fn a_handshake_ends_with_the_keys_it_began_with() {
    let site = Site::with_policy(|_| {});
    let connection = connection();
    let (_, second) = Browser::ntlm(&site).halfway(&site, &connection).await;
    site.authenticator.replace_acceptor(iwa_auth::Acceptor::new(support::ntlm_acceptor()));
    assert_eq!(site.with(&connection, &second).await.in_words(), ALICE);
}

#[tokio::test]
async fn ntlm_is_for_http_1_1_alone() {
    let site = Site::with_policy(|_| {});
    let (first, second) = Browser::ntlm(&site).halfway(&site, &connection()).await;
    for version in [Version::HTTP_10, Version::HTTP_2, Version::HTTP_3] {
        let connection = connection();
        for token in [&first, &second] {
            let outcome = site.authenticator.authenticate(&connection, version, &authorized(token)).await;
            let Outcome::Refused(refused) = outcome else { panic!("{version:?}") };
            assert_ne!(refused.status, iwa_http::Status::CONTINUE, "{version:?}");
        }
        assert!(site.half_open.is_empty());
    }
}

#[tokio::test]
async fn an_identity_of_http_1_1_is_not_seen_by_a_request_of_another_version() {
    let site = Site::with_policy(|_| {});
    let connection = connection();
    Browser::ntlm(&site).load(&site, &connection).await;
    let outcome = site.authenticator.authenticate(&connection, Version::HTTP_2, &HeaderMap::new()).await;
    assert!(matches!(outcome, Outcome::Refused(_)));
}

#[tokio::test]
async fn a_connection_that_a_proxy_shares_among_clients_authenticates_nobody_for_another() {
    let site = Site::with_policy(|_| {});
    for (name, value) in [
        ("via", "1.1 proxy"),
        ("forwarded", "for=192.0.2.9"),
        ("x-forwarded-for", "192.0.2.9"),
        ("x-forwarded-host", "web.example.test"),
        ("x-forwarded-proto", "https"),
        ("x-real-ip", "192.0.2.9"),
    ] {
        let shared = connection();
        let (first, second) = Browser::ntlm(&site).halfway(&site, &connection()).await;
        let mut headers = authorized(&first);
        headers.insert(name, HeaderValue::from_static(value));
        let reply = site.send(&shared, &headers).await;
        assert_eq!(reply.in_words(), "401.2 50 policy.not-on-this-connection", "{name}");
        assert!(reply.challenges().iter().all(|line| !line.contains("TlRM")));
        // A connection on which somebody signed in does not serve forwarded requests either.
        let direct = connection();
        Browser::ntlm(&site).load(&site, &direct).await;
        let mut forwarded = HeaderMap::new();
        forwarded.insert(name, HeaderValue::from_static(value));
        assert_eq!(site.send(&direct, &forwarded).await.in_words(), CHALLENGE, "{name}");
        drop(second);
    }
}

#[tokio::test]
async fn a_proxy_that_pins_connections_may_be_named_so() {
    let site = Site::with_policy(|policy| policy.proxy_pins_connections = true);
    let connection = connection();
    Browser::ntlm(&site).load(&site, &connection).await;
    let mut headers = HeaderMap::new();
    headers.insert("via", HeaderValue::from_static("1.1 proxy"));
    assert_eq!(site.send(&connection, &headers).await.in_words(), ALICE);
}

#[tokio::test]
async fn garbage_is_refused_by_the_table_and_the_connection_stays_usable() {
    let site = Site::with_policy(|_| {});
    let connection = connection();
    for (line, words) in [
        ("Negotiate AAAA", "401.1 2148074248 malformed.unrecognized"),
        ("NTLM AAAA", "401.1 2148074248 malformed.unrecognized"),
        ("NTLM TlRMTVNTUAA=", "401.1 2148074248 malformed.token"),
        ("NTLM TlRMTVNTUAABAAAA", "401.1 2148074248 malformed.token"),
        ("Negotiate oQcwBaADCgEB", OUT_OF_SEQUENCE),
        ("Negotiate YAA=", "401.1 2148074248 malformed.token"),
        ("Negotiate ?", "400.0 2148074248 malformed.header"),
        ("Negotiate", "400.0 2148074248 malformed.header"),
    ] {
        assert_eq!(site.with(&connection, &HeaderValue::from_static(line)).await.in_words(), words, "{line}");
    }
    let (replies, _) = Browser::ntlm(&site).load(&site, &connection).await;
    assert_eq!(words(&replies), [CHALLENGE, CONTINUE, ALICE]);
}

#[tokio::test]
async fn a_scheme_of_the_application_is_left_to_it() {
    let anonymous = Site::with_policy(|policy| policy.anonymous = true);
    let closed = Site::with_policy(|_| {});
    let bearer = HeaderValue::from_static("Bearer abc");
    assert_eq!(anonymous.with(&connection(), &bearer).await.in_words(), "200 -");
    assert_eq!(closed.with(&connection(), &bearer).await.in_words(), CHALLENGE);
}

#[tokio::test]
async fn basic_is_off_unless_it_is_on() {
    let site = Site::with_policy(|_| {});
    let reply = site.with(&connection(), &ALICES_PASSWORD).await;
    assert_eq!(reply.in_words(), CHALLENGE);
    assert_eq!(reply.challenges(), ["Negotiate", "NTLM"]);
}

#[tokio::test]
async fn basic_signs_in_one_request_and_never_the_connection() {
    let site = Site::with_policy(|policy| policy.basic_realm = Some("web".into()));
    let connection = connection();
    assert_eq!(site.get(&connection).await.challenges()[2], "Basic realm=\"web\", charset=\"UTF-8\"");
    assert_eq!(site.with(&connection, &ALICES_PASSWORD).await.in_words(), ALICE);
    assert_eq!(site.get(&connection).await.in_words(), CHALLENGE);
    let wrong = HeaderValue::from_static("Basic YWxpY2U6d3Jvbmc=");
    assert_eq!(site.with(&connection, &wrong).await.in_words(), "401.1 1326 logon");
}

#[tokio::test]
async fn basic_is_neither_offered_nor_taken_where_the_password_travels_in_clear() {
    let site = Site::with_policy(|policy| policy.basic_realm = Some("web".into()));
    let connection = remote_connection();
    assert_eq!(site.get(&connection).await.challenges(), ["Negotiate", "NTLM"]);
    assert_eq!(site.with(&connection, &ALICES_PASSWORD).await.in_words(), "403.4 5 policy.basic-in-clear");
}

#[tokio::test]
async fn after_too_many_wrong_passwords_nobody_is_asked_and_the_answer_stays_the_same() {
    let site = Site::with_policy(|policy| policy.basic_realm = Some("web".into()));
    let mut seen = Vec::new();
    for password in ["a", "b", "b", "c", "d", "e", "f", "Password"] {
        let credentials =
            base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("alice:{password}"));
        let line = HeaderValue::try_from(format!("Basic {credentials}")).expect("ASCII");
        let reply = site.with(&connection(), &line).await;
        let said = reply.in_words();
        let (numbers, why) = said.rsplit_once(' ').expect("both");
        assert_eq!(numbers, "401.1 1326", "{password}");
        assert_eq!(reply.challenges().len(), 3);
        seen.push(why.to_owned());
    }
    assert_eq!(seen[..6], ["logon"; 6]);
    assert_eq!(seen[6..], ["policy.too-many-passwords"; 2], "and the right one does not tell that it is right");
}

#[tokio::test]
async fn basic_over_a_connection_that_ntlm_signed_in_makes_it_forget() {
    let site = Site::with_policy(|policy| policy.basic_realm = Some("web".into()));
    let connection = connection();
    Browser::ntlm(&site).load(&site, &connection).await;
    site.with(&connection, &ALICES_PASSWORD).await;
    assert_eq!(site.get(&connection).await.in_words(), CHALLENGE);
}

#[tokio::test]
async fn nothing_that_is_printed_for_debugging_holds_a_token_or_a_password() {
    let site = Site::with_policy(|policy| policy.basic_realm = Some("web".into()));
    let connection = connection();
    let (_, second) = Browser::ntlm(&site).halfway(&site, &connection).await;
    let halfway = format!("{connection:?} {:?}", site.authenticator);
    let reply = site.with(&connection, &second).await;
    let wrong = site.with(&connection, &HeaderValue::from_static("Basic YWxpY2U6d3JvbmdwYXNz")).await;
    let printed = format!("{halfway} {reply:?} {wrong:?} {connection:?}");
    let second = second.to_str().expect("ASCII");
    for secret in ["Password", "wrongpass", "d3JvbmdwYXNz", &second[5..60], &second[second.len() - 40..]] {
        assert!(!printed.contains(secret), "{secret} in {printed}");
    }
}

#[tokio::test]
async fn a_replay_cache_is_not_asked_for_ntlm() {
    let site = Site::new(Terms { replay: Seen { broken: true, ..Seen::default() }, ..Terms::default() });
    let (replies, _) = Browser::ntlm(&site).load(&site, &connection()).await;
    assert_eq!(words(&replies), [CHALLENGE, CONTINUE, ALICE]);
}

const ALICES_PASSWORD: HeaderValue = HeaderValue::from_static("Basic YWxpY2U6UGFzc3dvcmQ=");

const WHY: &str = "the proxy does not say which connection this is";

fn of_one_request() -> Connection {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], 40000));
    Connection::of_one_request(address, address, false, WHY)
}

#[tokio::test]
async fn where_the_connection_is_not_known_ntlm_is_not_offered_and_the_log_says_why() {
    let site = Site::with_policy(|_| {});
    let reply = site.get(&of_one_request()).await;
    assert_eq!(reply.in_words(), CHALLENGE);
    assert_eq!(reply.challenges(), ["Negotiate"]);
    let Outcome::Refused(refused) = reply.outcome else { panic!("nobody is in") };
    assert_eq!(refused.note, Some(WHY));
}

#[tokio::test]
async fn where_the_connection_is_not_known_and_there_is_ntlm_alone_nothing_is_offered() {
    let site = Site::with_policy(|policy| policy.providers = vec![Provider::Ntlm]);
    let reply = site.get(&of_one_request()).await;
    assert_eq!(reply.challenges(), [""; 0]);
    assert_eq!(reply.in_words(), "401.2 5 policy.not-on-this-connection");
}

#[tokio::test]
async fn where_the_connection_is_not_known_ntlm_is_refused_at_every_door_before_a_challenge() {
    let site = Site::with_policy(|_| {});
    for schemes in [&[Scheme::Ntlm][..], &[Scheme::Negotiate]] {
        for framing in [iwa_auth::initiate::Framing::Bare, iwa_auth::initiate::Framing::Spnego] {
            let mut browser = Browser::new(&site, "Password", schemes);
            browser.initiator = support::initiator("Password", framing);
            // From a connection that serves.
            let (first, _) = browser.halfway(&site, &connection()).await;
            let alone = of_one_request();
            let reply = site.with(&alone, &first).await;
            assert_eq!(reply.in_words(), "401.2 50 policy.not-on-this-connection", "{schemes:?}");
            assert!(reply.challenges().iter().all(|line| !line.contains(' ')), "{reply:?}");
            assert!(!alone.remembers());
        }
    }
}

#[tokio::test]
async fn on_a_connection_that_a_proxy_tells_of_ntlm_works_whatever_the_proxy_adds() {
    let site = Site::with_policy(|_| {});
    let address = std::net::SocketAddr::from(([192, 0, 2, 7], 40000));
    let connection = Connection::told(address, address, false);
    let (replies, _) = Browser::ntlm(&site).load(&site, &connection).await;
    assert_eq!(words(&replies), [CHALLENGE, CONTINUE, ALICE]);
    assert!(connection.remembers());
    let forwarded = HeaderMap::from_iter([(http::header::VIA, HeaderValue::from_static("1.1 proxy"))]);
    assert_eq!(site.send(&connection, &forwarded).await.in_words(), ALICE);
    assert_eq!(site.get(&Connection::told(address, address, false)).await.in_words(), CHALLENGE);
}
