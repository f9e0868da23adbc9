//! Kerberos over HTTP, each behaviour by its name: one leg, a final token, and IIS's two switches for what comes after.

mod support;

use http::{HeaderMap, HeaderValue, Version};
use iwa_auth::initiate::Framing;
use iwa_auth::krb5::etype::Etype;
use iwa_auth::{Mechanism, Scheme};
use iwa_http::client::{Conclusion, Next};
use iwa_http::{Outcome, Provider, System as _};
use iwa_testkit::kdc::Realm;
use support::{KerberosBrowser, Seen, Site, Terms, authorized, connection, kerberos_terms, words};

const CHALLENGE: &str = "401.2 5";
const ALICE: &str = "200 EXAMPLE\\alice";
const REPLAY: &str = "401.1 2148074256 krb5.replay";

fn site() -> Site {
    Site::new(kerberos_terms())
}

fn site_with(change: impl FnOnce(&mut iwa_http::Policy)) -> Site {
    let mut terms = kerberos_terms();
    change(&mut terms.policy);
    Site::new(terms)
}

#[tokio::test]
async fn a_kerberos_logon_shows_as_iis_logs_it_and_the_server_proves_itself() {
    let site = site();
    let (replies, conclusion) = KerberosBrowser::new(&site, false).load(&site, &connection()).await;
    assert_eq!(words(&replies), [CHALLENGE, ALICE]);
    assert_eq!(replies[1].challenges().len(), 1);
    assert!(replies[1].challenges()[0].starts_with("Negotiate oY"), "accept-completed with the AP-REP");
    let Conclusion::Established(Scheme::Negotiate, established) = conclusion else { panic!("{conclusion:?}") };
    assert!(established.mutual);
    assert_eq!(established.mechanism, Mechanism::Kerberos);
}

#[tokio::test]
async fn bare_kerberos_under_negotiate_is_taken_and_answered_bare() {
    let site = site();
    let browser = KerberosBrowser::of(&site, Realm::default(), false, Framing::Bare);
    let (replies, conclusion) = browser.load(&site, &connection()).await;
    assert_eq!(words(&replies), [CHALLENGE, ALICE]);
    assert!(replies[1].challenges()[0].starts_with("Negotiate YI"));
    assert!(matches!(conclusion, Conclusion::Established(..)), "{conclusion:?}");
}

#[tokio::test]
async fn with_auth_persist_non_ntlm_kerberos_signs_in_the_connection() {
    let site = site();
    let (mine, other) = (connection(), connection());
    let (replies, _) = KerberosBrowser::new(&site, false).load(&site, &mine).await;
    assert_eq!(replies[1].persistent(), Some(true));
    assert_eq!(site.get(&mine).await.in_words(), ALICE);
    assert_eq!(site.get(&other).await.in_words(), CHALLENGE);
}

#[tokio::test]
async fn without_auth_persist_non_ntlm_kerberos_signs_in_one_request() {
    let site = site_with(|policy| policy.persist_non_ntlm = false);
    let connection = connection();
    let browser = KerberosBrowser::new(&site, false);
    for _ in 0..3 {
        let (replies, _) = browser.load(&site, &connection).await;
        assert_eq!(words(&replies), [CHALLENGE, ALICE]);
        assert_eq!(replies[1].persistent(), Some(false));
    }
}

#[tokio::test]
async fn auth_persist_single_request_holds_for_kerberos_too() {
    let site = site_with(|policy| policy.persist_single_request = true);
    let connection = connection();
    let (replies, _) = KerberosBrowser::new(&site, false).load(&site, &connection).await;
    assert_eq!(replies[1].persistent(), Some(false));
    assert_eq!(site.get(&connection).await.in_words(), CHALLENGE);
}

#[tokio::test]
async fn a_replayed_token_is_refused_on_every_connection_and_drops_the_identity() {
    let site = site();
    let token = KerberosBrowser::new(&site, false).token().await;
    let mine = connection();
    assert_eq!(site.with(&mine, &token).await.in_words(), ALICE);
    assert_eq!(site.with(&connection(), &token).await.in_words(), REPLAY);
    assert_eq!(site.get(&mine).await.in_words(), ALICE, "a replay elsewhere does not sign anybody out");
    assert_eq!(site.with(&mine, &token).await.in_words(), REPLAY);
    assert_eq!(site.get(&mine).await.in_words(), CHALLENGE);
}

#[tokio::test]
async fn a_replay_cache_that_cannot_tell_is_503_and_nobody_gets_in() {
    let site = Site::new(Terms { replay: Seen { broken: true, ..Seen::default() }, ..kerberos_terms() });
    let connection = connection();
    let (replies, _) = KerberosBrowser::new(&site, false).load(&site, &connection).await;
    assert_eq!(words(&replies), [CHALLENGE, "503.0 1450 unavailable.replay-cache"]);
    assert_eq!(site.get(&connection).await.in_words(), CHALLENGE);
}

#[tokio::test]
async fn an_identity_ends_with_its_ticket() {
    let site = site();
    let connection = connection();
    KerberosBrowser::new(&site, false).load(&site, &connection).await;
    site.clock.advance(9 * 3600);
    assert_eq!(site.get(&connection).await.in_words(), ALICE);
    site.clock.advance(2 * 3600);
    assert_eq!(site.get(&connection).await.in_words(), CHALLENGE);
}

#[tokio::test]
async fn what_is_made_of_a_ticket_is_told_when_it_ends_and_only_by_the_request_that_brought_it() {
    let site = site();
    let connection = connection();
    let (replies, _) = KerberosBrowser::new(&site, false).load(&site, &connection).await;
    let Outcome::Admitted(admitted) = &replies[1].outcome else { panic!("{:?}", replies[1].outcome) };
    let left = admitted.expires.expect("a ticket ends").distance(site.clock.now()).as_secs();
    assert!((9 * 3600..=10 * 3600).contains(&left), "{left}");
    let later = site.get(&connection).await;
    assert!(matches!(&later.outcome, Outcome::Admitted(admitted) if admitted.expires.is_none() && !admitted.by_token));
}

#[tokio::test]
async fn a_client_whose_clock_is_off_is_told_so_and_corrects_it() {
    let site = site();
    // The KDC and the client live in the present, the site ten minutes ahead.
    let mut browser = KerberosBrowser::new(&site, false);
    browser.browser.clock = support::Clock::new();
    site.clock.advance(600);
    let (replies, conclusion) = browser.load(&site, &connection()).await;
    assert_eq!(words(&replies), [CHALLENGE, "401.1 2148074276 krb5.clock-skew", ALICE]);
    let challenges = replies[1].challenges();
    assert!(challenges[0].starts_with("Negotiate o") && challenges[1] == "NTLM", "{challenges:?}");
    assert!(matches!(conclusion, Conclusion::Established(..)), "{conclusion:?}");
}

#[tokio::test]
async fn a_ticket_under_another_key_is_refused_in_iiss_numbers() {
    let mut terms = Terms::default();
    terms.acceptor.krb5 = Some(Realm::new(&[Etype::Aes128CtsHmacSha1]).service());
    let site = Site::new(terms);
    let (replies, conclusion) = KerberosBrowser::new(&site, true).load(&site, &connection()).await;
    assert_eq!(words(&replies), [CHALLENGE, "401.1 2148074274 krb5.no-key"]);
    // No other mechanism is tried once a token was refused.
    assert!(matches!(conclusion, Conclusion::Failed(_)), "{conclusion:?}");
}

#[tokio::test]
async fn without_a_ticket_the_browser_falls_back_to_ntlm_and_knows_why() {
    let site = site();
    let browser = KerberosBrowser::of(&site, Realm::default().without_service(), true, Framing::Spnego);
    let (replies, conclusion) = browser.load(&site, &connection()).await;
    assert_eq!(words(&replies), [CHALLENGE, "401.1 2148074254", ALICE]);
    let Conclusion::Established(_, established) = conclusion else { panic!("{conclusion:?}") };
    assert_eq!(established.mechanism, Mechanism::Ntlm);
    assert!(established.fallback.is_some());
}

#[tokio::test]
async fn without_a_ticket_and_without_a_password_nothing_is_sent() {
    let site = site();
    let browser = KerberosBrowser::of(&site, Realm::default().without_service(), false, Framing::Spnego);
    let (replies, conclusion) = browser.load(&site, &connection()).await;
    assert_eq!(words(&replies), [CHALLENGE]);
    assert!(matches!(conclusion, Conclusion::Failed(_)), "{conclusion:?}");
}

#[tokio::test]
async fn kerberos_needs_no_connection_and_is_taken_over_http_1_0_http_2_and_proxies_for_one_request() {
    let site = site();
    let browser = KerberosBrowser::new(&site, false);
    for version in [Version::HTTP_10, Version::HTTP_2] {
        let connection = connection();
        let headers = authorized(&browser.token().await);
        let outcome = site.authenticator.authenticate(&connection, version, &headers).await;
        let Outcome::Admitted(admitted) = outcome else { panic!("{version:?}") };
        assert_eq!(admitted.final_token.persistent, Some(false));
        assert_eq!(site.get(&connection).await.in_words(), CHALLENGE, "{version:?}");
    }
    let shared = connection();
    let mut headers = authorized(&browser.token().await);
    headers.insert("x-forwarded-for", HeaderValue::from_static("192.0.2.9"));
    let reply = site.send(&shared, &headers).await;
    assert_eq!((reply.in_words().as_str(), reply.persistent()), (ALICE, Some(false)));
    assert_eq!(site.get(&shared).await.in_words(), CHALLENGE);
}

#[tokio::test]
async fn kerberos_under_the_scheme_ntlm_is_refused() {
    let site = site();
    let token = KerberosBrowser::new(&site, false).token().await;
    let token = token.to_str().expect("ASCII").replace("Negotiate", "NTLM");
    let reply = site.with(&connection(), &HeaderValue::try_from(token).expect("a value")).await;
    assert_eq!(reply.in_words(), "401.1 2148074248 malformed.unrecognized");
}

#[tokio::test]
async fn where_negotiate_is_not_offered_a_ticket_is_not_taken() {
    let site = site_with(|policy| policy.providers = vec![Provider::Ntlm]);
    let token = KerberosBrowser::new(&site, false).token().await;
    assert_eq!(site.with(&connection(), &token).await.in_words(), "401.2 2148074245 policy.scheme-off");
}

#[tokio::test]
async fn negotiate_kerberos_takes_kerberos() {
    let site = site_with(|policy| policy.providers = vec![Provider::NegotiateKerberos]);
    let (replies, _) = KerberosBrowser::new(&site, true).load(&site, &connection()).await;
    assert_eq!(words(&replies), [CHALLENGE, ALICE]);
    assert_eq!(replies[0].challenges(), ["Negotiate"]);
}

#[tokio::test]
async fn new_keys_hold_for_new_handshakes_and_do_not_sign_anybody_out() {
    let site = site();
    let browser = KerberosBrowser::new(&site, false);
    let mine = connection();
    browser.load(&site, &mine).await;
    let mut renewed = support::ntlm_acceptor();
    renewed.krb5 = Some(Realm::new(&[Etype::Aes128CtsHmacSha1]).service());
    site.authenticator.replace_acceptor(iwa_auth::Acceptor::new(renewed));
    assert_eq!(site.get(&mine).await.in_words(), ALICE);
    assert_eq!(site.with(&connection(), &browser.token().await).await.in_words(), "401.1 2148074274 krb5.no-key");
}

#[tokio::test]
async fn success_without_the_servers_proof_is_not_believed() {
    let site = site();
    let browser = KerberosBrowser::new(&site, false);
    let (_, real) = {
        let token = browser.token().await;
        site.with(&connection(), &token).await.head()
    };
    let foreign = real.get(http::header::WWW_AUTHENTICATE).expect("a final token").clone();
    for (line, what) in [
        (None, "no token at all"),
        (Some(HeaderValue::from_static("Negotiate oQcwBaADCgEA")), "accept-completed without an AP-REP"),
        (
            Some(HeaderValue::from_static("Negotiate oRQwEqADCgEAoQsGCSqGSIb3EgECAg==")),
            "as a server did to .NET's client",
        ),
        (Some(foreign), "the AP-REP of another handshake"),
    ] {
        let mut exchange = browser.exchange();
        let offer = HeaderMap::from_iter([(http::header::WWW_AUTHENTICATE, HeaderValue::from_static("Negotiate"))]);
        let Next::Again(..) = exchange.next(http::StatusCode::UNAUTHORIZED, &offer).await else { panic!() };
        let mut answer = HeaderMap::new();
        if let Some(line) = line {
            answer.insert(http::header::WWW_AUTHENTICATE, line);
        }
        let next = exchange.next(http::StatusCode::OK, &answer).await;
        assert!(matches!(next, Next::Done(Conclusion::Failed(_))), "{what}: {next:?}");
    }
}

#[tokio::test]
async fn an_error_of_the_application_carries_the_servers_proof_too() {
    let site = site();
    let browser = KerberosBrowser::new(&site, false);
    for status in [http::StatusCode::FORBIDDEN, http::StatusCode::INTERNAL_SERVER_ERROR] {
        let mut exchange = browser.exchange();
        let connection = connection();
        let (challenge, headers) = site.get(&connection).await.head();
        let Next::Again(_, token) = exchange.next(challenge, &headers).await else { panic!() };
        let (_, headers) = site.with(&connection, &token).await.head();
        let next = exchange.next(status, &headers).await;
        assert!(matches!(next, Next::Done(Conclusion::Established(..))), "{status}: {next:?}");
    }
}
