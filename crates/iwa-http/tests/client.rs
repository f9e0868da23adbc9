//! The client's side: which scheme it picks, to whom it shows credentials, and what it makes of answers.

mod support;

use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue, StatusCode};
use iwa_auth::Scheme;
use iwa_auth::reject::{Peer, Policy as Forbidden, Reason};
use iwa_http::client::{Conclusion, Next, Preference};
use support::{Browser, Site, connection};

fn answer(lines: &[&'static str]) -> HeaderMap {
    lines.iter().map(|line| (WWW_AUTHENTICATE, HeaderValue::from_static(line))).collect()
}

async fn picked(browser: &Browser, lines: &[&'static str]) -> String {
    match browser.exchange().next(StatusCode::UNAUTHORIZED, &answer(lines)).await {
        Next::Again(_, value) => value.to_str().expect("ASCII").split(' ').next().expect("a scheme").to_owned(),
        Next::Done(Conclusion::Failed(reason)) => reason.code().to_owned(),
        Next::Done(conclusion) => panic!("{conclusion:?}"),
    }
}

fn browser(schemes: &[Scheme]) -> Browser {
    Browser::new(&Site::with_policy(|_| {}), "Password", schemes)
}

const BOTH: [Scheme; 2] = [Scheme::Negotiate, Scheme::Ntlm];

#[tokio::test]
async fn the_strongest_scheme_is_picked_whatever_the_servers_order_as_chrome_does() {
    let browser = browser(&BOTH);
    assert_eq!(picked(&browser, &["NTLM", "Negotiate"]).await, "Negotiate");
    assert_eq!(picked(&browser, &["Basic realm=\"x\", NTLM, Negotiate"]).await, "Negotiate");
    assert_eq!(picked(&browser, &["basic realm=x", "ntlm"]).await, "NTLM");
}

#[tokio::test]
async fn the_servers_order_counts_for_internet_explorer() {
    let mut browser = browser(&BOTH);
    browser.policy.preference = Preference::ServerOrder;
    assert_eq!(picked(&browser, &["NTLM", "Negotiate"]).await, "NTLM");
    assert_eq!(picked(&browser, &["Negotiate", "NTLM"]).await, "Negotiate");
}

#[tokio::test]
async fn with_integrated_authentication_unchecked_negotiate_is_not_spoken() {
    let browser = browser(&[Scheme::Ntlm]);
    assert_eq!(picked(&browser, &["Negotiate", "NTLM"]).await, "NTLM");
    assert_eq!(picked(&browser, &["Negotiate"]).await, "policy.no-credential");
}

#[tokio::test]
async fn a_host_that_is_not_allowed_gets_no_token() {
    let mut browser = browser(&BOTH);
    browser.policy.host_allowed = false;
    let next = browser.exchange().next(StatusCode::UNAUTHORIZED, &answer(&["Negotiate", "NTLM"])).await;
    let Next::Done(Conclusion::Failed(Reason::Policy(Forbidden::HostNotAllowed { host }))) = next else {
        panic!("{next:?}")
    };
    assert_eq!(host, "web.example.test");
}

#[tokio::test]
async fn what_asks_for_nothing_gets_nothing() {
    let browser = browser(&BOTH);
    let next = browser.exchange().next(StatusCode::OK, &answer(&["Negotiate"])).await;
    assert!(matches!(next, Next::Done(Conclusion::NotAsked)), "{next:?}");
}

#[tokio::test]
async fn a_401_that_offers_nothing_known_is_the_end() {
    let browser = browser(&BOTH);
    assert_eq!(picked(&browser, &[]).await, "policy.no-credential");
    assert_eq!(picked(&browser, &["Digest realm=\"x\", nonce=\"y\"", "Bearer"]).await, "policy.no-credential");
}

#[tokio::test]
async fn the_bare_scheme_after_a_token_is_a_refusal_and_no_other_scheme_is_tried() {
    let site = Site::with_policy(|_| {});
    let browser = Browser::new(&site, "Password", &BOTH);
    let mut exchange = browser.exchange();
    let offers = answer(&["Negotiate", "NTLM"]);
    let Next::Again(..) = exchange.next(StatusCode::UNAUTHORIZED, &offers).await else { panic!() };
    let next = exchange.next(StatusCode::UNAUTHORIZED, &offers).await;
    assert!(matches!(next, Next::Done(Conclusion::Failed(Reason::Peer(Peer::Rejected { .. })))), "{next:?}");
    let next = exchange.next(StatusCode::UNAUTHORIZED, &offers).await;
    assert!(matches!(next, Next::Done(Conclusion::Failed(_))), "and it is over: {next:?}");
}

#[tokio::test]
async fn success_in_the_middle_of_a_handshake_is_not_believed() {
    let site = Site::with_policy(|_| {});
    for scheme in BOTH {
        let browser = Browser::new(&site, "Password", &[scheme]);
        let mut exchange = browser.exchange();
        let Next::Again(_, first) = exchange.next(StatusCode::UNAUTHORIZED, &answer(&["Negotiate", "NTLM"])).await
        else {
            panic!()
        };
        // No token at all, and the server's real challenge on a 200.
        let next = exchange.next(StatusCode::OK, &HeaderMap::new()).await;
        assert!(matches!(next, Next::Done(Conclusion::Failed(_))), "{next:?}");
        let mut exchange = browser.exchange();
        exchange.next(StatusCode::UNAUTHORIZED, &answer(&["Negotiate", "NTLM"])).await;
        let (_, headers) = site.with(&connection(), &first).await.head();
        let next = exchange.next(StatusCode::OK, &headers).await;
        assert!(matches!(next, Next::Done(Conclusion::Failed(_))), "{next:?}");
    }
}

#[tokio::test]
async fn a_final_token_that_is_wrong_fails_a_success() {
    let site = Site::with_policy(|_| {});
    let browser = Browser::new(&site, "Password", &[Scheme::Negotiate]);
    for forged in ["Negotiate oQcwBaADCgEC", "Negotiate oQcwBaADCgEB", "Negotiate AAAA", "Negotiate Zm9"] {
        let connection = connection();
        let mut exchange = browser.exchange();
        let (mut status, mut headers) = site.get(&connection).await.head();
        for _ in 0..2 {
            let Next::Again(_, token) = exchange.next(status, &headers).await else { panic!() };
            (status, headers) = site.with(&connection, &token).await.head();
        }
        assert_eq!(status, StatusCode::OK);
        let next = exchange.next(status, &answer(&[forged])).await;
        assert!(matches!(next, Next::Done(Conclusion::Failed(_))), "{forged}: {next:?}");
    }
}

#[tokio::test]
async fn two_tokens_under_one_scheme_are_refused() {
    let browser = browser(&[Scheme::Ntlm]);
    let mut exchange = browser.exchange();
    exchange.next(StatusCode::UNAUTHORIZED, &answer(&["NTLM"])).await;
    let next = exchange.next(StatusCode::UNAUTHORIZED, &answer(&["NTLM TlRM", "NTLM TlRM"])).await;
    let Next::Done(Conclusion::Failed(reason)) = next else { panic!("{next:?}") };
    assert_eq!(reason.code(), "malformed.header");
}
