//! Applications that are not there, do not answer, or answer what is no answer.

use core::time::Duration;

use super::*;

const SHORT: Duration = Duration::from_millis(200);

/// An address where nobody listens.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address")
}

#[tokio::test]
async fn where_nobody_listens_is_502_with_a_page_and_words_in_the_log() {
    let server = behind(Proxy::to(nobody().await), |_| {}).await;
    let mut client = server.connect().await;
    for _ in 0..2 {
        client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello").await;
        let (head, body) = client.answer().await;
        assert!(head.starts_with("HTTP/1.1 502 ") && body.contains("502.3"), "{head}{body}");
        assert!(!body.contains("127.0.0.1"), "{body}");
    }
    let line = &server.told.lines()[1];
    assert!(line.starts_with("502.3 12029 http://127.0.0.1:") && line.contains("is the application running"), "{line}");
    server.running.stop().await;
}

#[tokio::test]
async fn an_unknown_name_is_502_and_told() {
    let mut proxy = Proxy::to(nobody().await);
    proxy.targets =
        vec![crate::gateway::proxy::target::Target::read("http://nobody.invalid:8080").expect("an address")];
    let server = behind(proxy, |_| {}).await;
    let (head, _) = server.connect().await.get("/", "").await;
    assert!(head.starts_with("HTTP/1.1 50"), "{head}");
    assert!(server.told.lines()[0].contains("nobody.invalid"), "{:?}", server.told.lines());
    server.running.stop().await;
}

#[tokio::test]
async fn what_is_no_answer_is_502_and_reaches_nobody() {
    let long = format!("HTTP/1.1 200 OK\r\nX-Long: {}\r\nContent-Length: 4\r\n\r\nevil", "a".repeat(70_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}Content-Length: 4\r\n\r\nevil", "X-Many: 1\r\n".repeat(200));
    for answer in [
        "evil\r\n\r\n",
        "SSH-2.0-evil\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nevil!",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 200 OK\r\nContent-Length: 4, 5\r\n\r\nevil",
        "HTTP/1.1 200 OK\r\nContent-Length: +4\r\n\r\nevil",
        "HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\nevil",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nevil",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: evil\r\n\r\nevil",
        "HTTP/1.1 200 OK\r\nX-Evil: a\r\n b\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 200 OK\r\nX Evil: a\r\nContent-Length: 4\r\n\r\nevil",
        &long,
        &many,
    ] {
        let told: &'static str = answer.to_owned().leak();
        let application = Application::answering(told).await;
        let server = application.behind(|_| {}).await;
        let (head, body) = server.connect().await.get("/", "").await;
        let what = &answer[..answer.len().min(120)];
        assert!(head.starts_with("HTTP/1.1 502 ") && !body.contains("evil"), "{what}: {head}");
        assert!(server.told.lines()[0].starts_with("502.3 12"), "{what}: {:?}", server.told.lines());
        server.running.stop().await;
    }
}

#[tokio::test]
async fn an_application_that_does_not_answer_in_time_is_504_and_not_asked_again() {
    let application = Application::new(|_, mut peer| async move {
        peer.head().await;
        peer.is_closed().await;
    })
    .await;
    let server = application.behind(|proxy| proxy.settings.answer_timeout = SHORT).await;
    let (head, _) = server.connect().await.get("/", "").await;
    assert!(head.starts_with("HTTP/1.1 504 "), "{head}");
    assert!(server.told.lines()[0].contains("answer-timeout"), "{:?}", server.told.lines());
    assert_eq!(application.heads().len(), 1);
    server.running.stop().await;
}

#[tokio::test]
async fn a_client_that_stops_sending_is_told_so_and_not_the_application() {
    let application = Application::new(|_, mut peer| async move {
        peer.head().await;
        peer.is_closed().await;
    })
    .await;
    let server = application.behind(|proxy| proxy.settings.answer_timeout = SHORT).await;
    let mut client = server.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhe").await;
    let (head, _) = client.answer().await;
    assert!(head.starts_with("HTTP/1.1 408 "), "{head}");
    drop(client);
    server.running.stop().await;
}

#[tokio::test]
async fn an_answer_that_falls_silent_ends_with_its_connection() {
    let application = Application::new(|_, mut peer| async move {
        peer.head().await;
        peer.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").await;
        peer.is_closed().await;
    })
    .await;
    let server = application.behind(|proxy| proxy.settings.idle_timeout = SHORT).await;
    let mut client = server.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let mut all = Vec::new();
    let _ = client.0.read_to_end(&mut all).await;
    assert!(all.ends_with(b"hello"));
    server.running.stop().await;
}

/// Reads each request and ends the connection without an answer; from the `good`th on it answers.
async fn dies_until(good: usize) -> Application {
    Application::new(move |number, mut peer| async move {
        while let Some(head) = peer.head().await {
            if let Some(length) = header(&head, "content-length") {
                peer.exactly(length.parse().expect("a length")).await;
            }
            if number < good {
                return;
            }
            peer.say(HELLO).await;
        }
    })
    .await
}

#[tokio::test]
async fn only_what_may_be_done_twice_is_done_again_after_the_application_died_over_it() {
    for (request, seen, status) in [
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", 2, "200"),
        ("DELETE / HTTP/1.1\r\nHost: h\r\n\r\n", 2, "200"),
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", 1, "502"),
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello", 1, "502"),
        ("PATCH / HTTP/1.1\r\nHost: h\r\n\r\n", 1, "502"),
        // Its body is gone.
        ("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello", 1, "502"),
    ] {
        let application = dies_until(1).await;
        let server = application.behind(|_| {}).await;
        let mut client = server.connect().await;
        client.send(request).await;
        let (head, _) = client.answer().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {head}");
        assert_eq!(application.heads().len(), seen, "{request}");
        server.running.stop().await;
    }
}

#[tokio::test]
async fn repeating_has_an_end() {
    for (retries, seen) in [(0, 1), (1, 2), (3, 4)] {
        let application = dies_until(100).await;
        let server = application.behind(|proxy| proxy.settings.retries = retries).await;
        let (head, _) = server.connect().await.get("/", "").await;
        assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
        assert_eq!(application.heads().len(), seen);
        server.running.stop().await;
    }
}

#[tokio::test]
async fn a_request_too_many_is_503_and_the_next_is_served() {
    let application = Application::new(|_, mut peer| async move {
        while let Some(head) = peer.head().await {
            if head.starts_with("GET /slow") {
                peer.say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").await;
                tokio::time::sleep(SHORT * 3).await;
                peer.say("hello").await;
            } else {
                peer.say(HELLO).await;
            }
        }
    })
    .await;
    let server = application
        .behind(|proxy| {
            proxy.settings.max_connections = 1;
            proxy.settings.connect_timeout = SHORT;
        })
        .await;
    let mut slow = server.connect().await;
    slow.send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n").await;
    head_alone(&mut slow).await;
    let (head, _) = server.connect().await.get("/", "").await;
    assert!(head.starts_with("HTTP/1.1 503 ") && header(&head, "retry-after").is_some(), "{head}");
    assert!(server.told.lines()[1].contains("max-connections"), "{:?}", server.told.lines());
    let mut body = [0; 5];
    slow.0.read_exact(&mut body).await.expect("a body");
    assert_eq!(server.connect().await.get("/", "").await.1, "hello");
    server.running.stop().await;
}
