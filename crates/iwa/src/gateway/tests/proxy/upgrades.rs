//! WebSocket and other upgrades.

use core::time::Duration;

use super::*;

const ASKS: &str = "GET /chat HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n";

/// Changes to a protocol in which it says everything twice.
async fn echoes() -> Application {
    Application::new(|_, mut peer| async move {
        peer.head().await;
        peer.say("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: y\r\n\r\nfirst")
            .await;
        while let Ok(byte) = peer.stream.read_u8().await {
            let _ = peer.stream.write_all(&[byte, byte]).await;
        }
        peer.say("bye").await;
    })
    .await
}

#[tokio::test]
async fn an_upgraded_connection_carries_bytes_both_ways_until_both_ended() {
    let application = echoes().await;
    let server = application.behind(|_| {}).await;
    let mut client = server.connect().await;
    client.send(ASKS).await;
    let head = head_alone(&mut client).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!(values(&head, "connection"), ["upgrade"]);
    assert_eq!(values(&head, "upgrade"), ["websocket"]);
    assert_eq!(values(&head, "sec-websocket-accept"), ["y"]);
    client.send("ab").await;
    let mut said = [0; 9];
    client.0.read_exact(&mut said).await.expect("an echo");
    assert_eq!(&said, b"firstaabb");
    client.0.shutdown().await.expect("half closed");
    let mut rest = String::new();
    client.0.read_to_string(&mut rest).await.expect("the end");
    assert_eq!(rest, "bye");
    let got = &application.heads()[0];
    assert_eq!(values(got, "connection"), ["upgrade"]);
    assert_eq!(values(got, "upgrade"), ["websocket"]);
    assert_eq!(values(got, "sec-websocket-key"), ["x"]);
    // It is nobody else's.
    let mut client = server.connect().await;
    client.send(ASKS).await;
    head_alone(&mut client).await;
    assert_eq!(application.connections(), 2);
    drop(client);
    server.running.stop().await;
}

#[tokio::test]
async fn without_a_101_there_is_no_upgrade() {
    let application = Application::answering(
        "HTTP/1.1 200 OK\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\nhello",
    )
    .await;
    let server = application.behind(|_| {}).await;
    let mut client = server.connect().await;
    client.send(ASKS).await;
    let (head, body) = client.answer().await;
    assert!(head.starts_with("HTTP/1.1 200 ") && body == "hello", "{head}");
    assert!(header(&head, "upgrade").is_none());
    // What follows is a request.
    assert_eq!(client.get("/", "").await.1, "hello");
    assert_eq!(application.heads().len(), 2);
    server.running.stop().await;
}

#[tokio::test]
async fn no_upgrade_leads_past_whoever_decides_on_requests() {
    let application = Application::answering(HELLO).await;
    let server = application.behind(|_| {}).await;
    for asked in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n",
        "Connection: Upgrade\r\nUpgrade: H2C\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n",
        "Connection: Upgrade\r\nUpgrade: TLS/1.2\r\n",
        "Upgrade: websocket\r\n",
    ] {
        let (head, body) = server.connect().await.get("/", asked).await;
        assert!(head.starts_with("HTTP/1.1 200 ") && body == "hello", "{asked}: {head}");
    }
    for got in application.heads() {
        let got = got.to_lowercase();
        assert!(!got.contains("upgrade") && !got.contains("h2c") && !got.contains("http2-settings"), "{got}");
    }
    server.running.stop().await;
}

#[tokio::test]
async fn an_upgraded_connection_that_is_silent_ends() {
    let application = echoes().await;
    let server = application.behind(|proxy| proxy.settings.idle_timeout = Duration::from_millis(100)).await;
    let mut client = server.connect().await;
    client.send(ASKS).await;
    let mut all = Vec::new();
    let _ = client.0.read_to_end(&mut all).await;
    assert!(all.ends_with(b"first"));
    server.running.stop().await;
}

#[tokio::test]
async fn a_server_that_stops_waits_for_upgraded_connections_and_cuts_them_in_time() {
    let application = echoes().await;
    let server = application.behind(|_| {}).await;
    let mut client = server.connect().await;
    client.send(ASKS).await;
    head_alone(&mut client).await;
    let stopping = tokio::spawn(server.running.stop());
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!stopping.is_finished());
    client.send("a").await;
    let mut said = [0; 7];
    client.0.read_exact(&mut said).await.expect("it still works");
    assert_eq!(&said, b"firstaa");
    drop(client);
    stopping.await.expect("it ends when the last one has");
}
