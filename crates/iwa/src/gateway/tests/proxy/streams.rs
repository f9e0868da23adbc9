//! Bodies in both directions, while they arrive.

use super::*;

#[tokio::test]
async fn bodies_of_known_and_of_unknown_length_go_on_as_they_are() {
    let application = Application::new(|_, mut peer| async move {
        while let Some(head) = peer.head().await {
            let body = match header(&head, "content-length") {
                Some(length) => peer.exactly(length.parse().expect("a length")).await,
                None if head.contains("chunked") => peer.chunked().await,
                None => String::new(),
            };
            peer.say(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await;
        }
    })
    .await;
    let server = application.behind(|_| {}).await;
    let mut client = server.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello").await;
    assert_eq!(client.answer().await.1, "hello");
    client.send("PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n").await;
    assert_eq!(client.answer().await.1, "5\r\nhello\r\n0\r\n\r\n");
    // A body where nobody expects one is a body all the same, and no second request.
    client.send("GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nGET\r\n0\r\n\r\n").await;
    assert_eq!(client.answer().await.1, "3\r\nGET\r\n0\r\n\r\n");
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(client.answer().await.1, "");
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(client.answer().await.1, "");
    let heads = application.heads();
    assert_eq!(values(&heads[0], "content-length"), ["5"]);
    assert_eq!(values(&heads[1], "transfer-encoding"), ["chunked"]);
    assert_eq!(values(&heads[3], "content-length"), ["0"]);
    assert!(values(&heads[4], "content-length").is_empty() && values(&heads[4], "transfer-encoding").is_empty());
    assert_eq!(application.connections(), 1);
    server.running.stop().await;
}

#[tokio::test]
async fn nothing_waits_for_the_end_of_a_body() {
    let application = Application::new(|_, mut peer| async move {
        peer.head().await;
        // The first half of the request is here before the second was sent, and so is the answer's.
        assert_eq!(peer.exactly(5).await, "12345");
        peer.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabcde").await;
        assert_eq!(peer.exactly(5).await, "67890");
        peer.say("fghij").await;
    })
    .await;
    let server = application.behind(|_| {}).await;
    let mut client = server.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n12345").await;
    assert!(head_alone(&mut client).await.starts_with("HTTP/1.1 200 "));
    let mut half = [0; 5];
    client.0.read_exact(&mut half).await.expect("half");
    assert_eq!(&half, b"abcde");
    client.send("67890").await;
    client.0.read_exact(&mut half).await.expect("the other half");
    assert_eq!(&half, b"fghij");
    server.running.stop().await;
}

#[tokio::test]
async fn trailers_go_both_ways_without_those_that_may_not_trail() {
    let application = Application::new(|_, mut peer| async move {
        while peer.head().await.is_some() {
            let body = peer.chunked().await;
            assert_eq!(body, "2\r\nhi\r\n0\r\nx-sum: 1\r\n\r\n");
            peer.say(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Back, Set-Cookie\r\n\r\n2\r\nho\r\n0\r\n\
                 X-Back: 2\r\nSet-Cookie: a=b\r\nX-Unannounced: 3\r\n\r\n",
            )
            .await;
        }
    })
    .await;
    let server = application.behind(|_| {}).await;
    let request = |te: &str| {
        format!(
            "POST / HTTP/1.1\r\nHost: h\r\n{te}Transfer-Encoding: chunked\r\nTrailer: X-Sum, Cookie, X-Forwarded-For\r\n\r\n\
             2\r\nhi\r\n0\r\nX-Sum: 1\r\nCookie: a=b\r\nX-Forwarded-For: 10.9.9.9\r\nX-Unannounced: 3\r\n\r\n"
        )
    };
    for (te, trailers) in [("TE: trailers\r\nConnection: TE\r\n", "x-back: 2\r\n"), ("", "")] {
        let mut client = server.connect().await;
        client.send(&request(te)).await;
        let head = head_alone(&mut client).await;
        assert_eq!(values(&head, "trailer"), ["X-Back"], "{head}");
        let wanted = format!("2\r\nho\r\n0\r\n{trailers}\r\n");
        let mut body = vec![0; wanted.len()];
        client.0.read_exact(&mut body).await.expect("a body");
        assert_eq!(String::from_utf8_lossy(&body), wanted);
    }
    let heads = application.heads();
    assert_eq!(values(&heads[0], "te"), ["trailers"]);
    assert_eq!(values(&heads[0], "trailer"), ["X-Sum"]);
    assert!(values(&heads[1], "te").is_empty());
    server.running.stop().await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_never_taken_for_whole() {
    for begun in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n",
    ] {
        let application = Application::new(move |_, mut peer| async move {
            peer.head().await;
            peer.say(begun).await;
        })
        .await;
        let server = application.behind(|_| {}).await;
        let mut client = server.connect().await;
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        let mut all = Vec::new();
        let _ = client.0.read_to_end(&mut all).await;
        let all = String::from_utf8_lossy(&all).into_owned();
        assert!(all.contains("hello") && !all.contains("\r\n0\r\n"), "{all}");
        if let Some(length) = header(&all, "content-length") {
            assert_eq!(length, "10");
        }
        assert_eq!(application.heads().len(), 1);
        server.running.stop().await;
    }
}

#[tokio::test]
async fn a_client_that_goes_away_takes_its_request_along() {
    for answer in ["", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello"] {
        let (gone, is_gone) = tokio::sync::oneshot::channel();
        let gone = Mutex::new(Some(gone));
        let application = Application::new(move |_, mut peer| {
            let gone = gone.lock().expect("not poisoned").take();
            async move {
                peer.head().await;
                peer.say(answer).await;
                assert!(peer.is_closed().await);
                let _ = gone.expect("one connection").send(());
            }
        })
        .await;
        let server = application.behind(|_| {}).await;
        let mut client = server.connect().await;
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        if answer.is_empty() {
            while application.heads().is_empty() {
                tokio::task::yield_now().await;
            }
        } else {
            head_alone(&mut client).await;
        }
        drop(client);
        is_gone.await.expect("the application is told");
        server.running.stop().await;
    }
}

#[tokio::test]
async fn an_upload_that_the_application_refuses_early_ends_with_its_answer() {
    let application = Application::new(|_, mut peer| async move {
        peer.head().await;
        peer.say("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!").await;
        // Reads on, so that its answer is not lost to a reset.
        peer.is_closed().await;
    })
    .await;
    let server = application.behind(|_| {}).await;
    let mut client = server.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\nbegun").await;
    let (head, body) = client.answer().await;
    assert!(head.starts_with("HTTP/1.1 413 ") && body == "no!", "{head}");
    drop(client);
    server.running.stop().await;
}
