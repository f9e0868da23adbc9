//! Connections to an application that are used again, and those that never are.

use super::*;
use crate::config;
use crate::gateway::proxy;

#[tokio::test]
async fn visitors_share_connections_to_an_application() {
    let application = Application::answering(HELLO).await;
    let server = application.behind(|_| {}).await;
    for _ in 0..5 {
        assert_eq!(server.connect().await.get("/", "").await.1, "hello");
    }
    assert_eq!(application.connections(), 1);
    server.running.stop().await;
}

#[tokio::test]
async fn a_connection_over_which_the_application_asked_for_ntlm_or_negotiate_is_never_used_again() {
    for challenge in ["NTLM", "Negotiate", "Negotiate YII=", "Basic realm=\"x\", ntlm"] {
        let answer = format!("HTTP/1.1 401 No\r\nWWW-Authenticate: {challenge}\r\nContent-Length: 5\r\n\r\nhello");
        let application = Application::answering(answer.leak()).await;
        let server = application.behind(|_| {}).await;
        for _ in 0..3 {
            let (head, body) = server.connect().await.get("/", "").await;
            assert!(head.starts_with("HTTP/1.1 401 ") && body == "hello", "{head}");
            assert!(!head.to_lowercase().contains("ntlm") && !head.to_lowercase().contains("negotiate"), "{head}");
        }
        assert_eq!(application.connections(), 3, "{challenge}");
        server.running.stop().await;
    }
}

#[tokio::test]
async fn tokens_that_were_for_this_server_do_not_reach_the_application_and_bearer_does() {
    let application = Application::answering(HELLO).await;
    let server = application.behind(|_| {}).await;
    server.connect().await.get("/", "Authorization: Bearer abc\r\n").await;
    // Refused here, and seen by nobody else.
    server.connect().await.get("/", "Authorization: Negotiate AAAA\r\n").await;
    let heads = application.heads();
    assert_eq!(heads.len(), 1);
    assert_eq!(values(&heads[0], "authorization"), ["Bearer abc"]);
    server.running.stop().await;
}

#[tokio::test]
async fn a_connection_that_the_application_closed_costs_no_request() {
    // It closes each connection after its first answer, without saying so.
    let application = Application::new(|_, mut peer| async move {
        peer.head().await;
        peer.say(HELLO).await;
    })
    .await;
    let server = application.behind(|_| {}).await;
    for _ in 0..3 {
        let mut client = server.connect().await;
        client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n").await;
        assert_eq!(client.answer().await.1, "hello");
        while application.connections() == 0 {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(core::time::Duration::from_millis(20)).await;
    }
    assert_eq!(application.heads().len(), 3);
    server.running.stop().await;
}

#[tokio::test]
async fn without_keep_alive_each_request_has_a_connection() {
    let application = Application::answering(HELLO).await;
    let server = application.behind(|proxy| proxy.settings.keep_alive = core::time::Duration::ZERO).await;
    for _ in 0..3 {
        assert_eq!(server.connect().await.get("/", "").await.1, "hello");
    }
    assert_eq!(application.connections(), 3);
    server.running.stop().await;
}

#[tokio::test]
async fn an_answer_that_was_not_read_to_its_end_leaves_nothing_for_the_next() {
    let application = Application::new(|_, mut peer| async move {
        while peer.head().await.is_some() {
            peer.say("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nsecret").await;
        }
    })
    .await;
    let server = application.behind(|_| {}).await;
    let mut client = server.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    head_alone(&mut client).await;
    drop(client);
    let mut client = server.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert!(head_alone(&mut client).await.starts_with("HTTP/1.1 200 "));
    assert_eq!(application.connections(), 2);
    drop(client);
    server.running.stop().await;
}

#[tokio::test]
async fn what_an_application_says_after_its_answer_is_nobodys() {
    // Two answers to one request.
    let application = Application::new(|_, mut peer| async move {
        while peer.head().await.is_some() {
            peer.say(&format!("{HELLO}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")).await;
        }
    })
    .await;
    let server = application.behind(|_| {}).await;
    for _ in 0..3 {
        assert_eq!(server.connect().await.get("/", "").await.1, "hello");
        tokio::time::sleep(core::time::Duration::from_millis(20)).await;
    }
    server.running.stop().await;
}

#[tokio::test]
async fn a_reload_keeps_the_connections_of_what_did_not_change() {
    let application = Application::answering(HELLO).await;
    let config = Proxy::to(application.address);
    let make = |config: &config::Proxy, before: Option<&proxy::Proxy>| {
        proxy::Proxy::new(config, "/", false, before).expect("a proxy")
    };
    let first = make(&config, None);
    assert!(make(&config, Some(&first)).shares_connections_with(&first));
    let mut other = config.clone();
    other.settings.retries = 7;
    assert!(!make(&other, Some(&first)).shares_connections_with(&first));
}
