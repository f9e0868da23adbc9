//! HTTP/2 over real connections: each request stands for itself, and no client holds a connection for ever. RFC 9113.

use core::time::Duration;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use h2::Reason;
use h2::client::{ResponseFuture, SendRequest};
use http::{HeaderMap, Request, Response, StatusCode, Version};
use iwa_auth::BindingPolicy;

use super::protection::{TlsEnds, World};
use super::tls::{Pem, stream_over_tls, with_certificates};
use super::{Directory, Server, anonymous, server};
use crate::config::{Config, Http2};

/// A client of HTTP/2 alone.
pub(super) struct Client {
    send: SendRequest<Bytes>,
    connection: tokio::task::JoinHandle<Result<(), h2::Error>>,
}

impl Client {
    pub(super) async fn of(server: &Server, trusted: &Pem) -> Self {
        let stream = stream_over_tls(server, "web.example.test", &[trusted], &[b"h2"]).await.expect("TLS");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (send, connection) =
            h2::client::Builder::new().initial_window_size(1 << 20).handshake(stream).await.expect("HTTP/2");
        Self { send, connection: tokio::spawn(connection) }
    }

    pub(super) async fn begin(&mut self, uri: &str, headers: &[(&'static str, String)]) -> ResponseFuture {
        let mut request = Request::get(uri).version(Version::HTTP_2);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let mut ready = self.send.clone().ready().await.expect("the connection lives");
        ready.send_request(request.body(()).expect("a request"), true).expect("it is sent").0
    }

    pub(super) async fn post(&mut self, uri: &str, headers: &[(&'static str, String)], body: String) -> ResponseFuture {
        let mut request = Request::post(uri).version(Version::HTTP_2);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let mut ready = self.send.clone().ready().await.expect("the connection lives");
        let (answer, mut stream) = ready.send_request(request.body(()).expect("a request"), false).expect("it is sent");
        stream.send_data(body.into(), true).expect("it is sent");
        answer
    }

    async fn get(&mut self, headers: &[(&'static str, String)]) -> Result<(StatusCode, HeaderMap, String), h2::Error> {
        let answer = self.begin("https://web.example.test/", headers).await;
        whole(answer).await
    }
}

pub(super) async fn whole(answer: ResponseFuture) -> Result<(StatusCode, HeaderMap, String), h2::Error> {
    let (head, mut body) = answer.await.map(Response::into_parts)?;
    let mut text = Vec::new();
    while let Some(bytes) = body.data().await {
        let bytes = bytes?;
        let _ = body.flow_control().release_capacity(bytes.len());
        text.extend_from_slice(&bytes);
    }
    Ok((head.status, head.headers, String::from_utf8(text).expect("UTF-8")))
}

fn negotiate(token: &[u8]) -> (&'static str, String) {
    ("authorization", format!("Negotiate {}", STANDARD.encode(token)))
}

pub(super) fn ntlm() -> (&'static str, String) {
    use iwa_wire::ntlm::{Flags, Negotiate};
    let mut token = Vec::new();
    let flags = Flags::UNICODE | Flags::NTLM | Flags::EXTENDED_SESSIONSECURITY;
    Negotiate { flags, ..Negotiate::default() }.write(&mut token).expect("a NEGOTIATE");
    ("authorization", format!("NTLM {}", STANDARD.encode(token)))
}

/// A site whose front page says who the visitor is, for NTLM and Kerberos.
async fn world(name: &str) -> World {
    let world = World::new(&format!("h2-{name}"), BindingPolicy::Allow, TlsEnds::Here).await;
    let gateway = &world.server.running.gateway;
    let mut config = gateway.site().config.clone();
    config.routes[0].files = None;
    gateway
        .site
        .store(Arc::new(crate::gateway::assemble::site(&config, &gateway.kept, Vec::new(), None).expect("a site")));
    world
}

#[tokio::test]
async fn kerberos_signs_in_a_request_at_a_time() {
    let world = world("kerberos").await;
    let mut client = Client::of(&world.server, &world.own).await;
    let bindings = world.own.bindings().presented();
    let (status, headers, _) = client.get(&[]).await.expect("an answer");
    assert_eq!(status, 401);
    let offered: Vec<_> = headers.get_all("www-authenticate").iter().collect();
    assert_eq!(offered, ["Negotiate", "NTLM"]);
    let (status, headers, body) = client.get(&[negotiate(&world.ap_req(Some(bindings)))]).await.expect("an answer");
    assert_eq!(status, 200, "{:?}", world.server.told.lines());
    assert!(body.contains("alice") && body.contains("this request"), "{body}");
    assert_eq!(headers["persistent-auth"], "false");
    assert!(!headers.contains_key("connection"));
    // The connection knows nobody from it.
    assert_eq!(client.get(&[]).await.expect("an answer").0, 401);
    assert_eq!(world.server.told.lines(), ["401.2 5 -", "200.0 0 -", "401.2 5 -"]);
    world.server.running.stop().await;
}

#[tokio::test]
async fn an_identity_never_reaches_another_stream_of_its_connection() {
    let world = world("isolation").await;
    let mut client = Client::of(&world.server, &world.own).await;
    let mut answers = Vec::new();
    for number in 0..60u64 {
        let headers = match number % 3 {
            0 => vec![negotiate(&world.ap_req_of(number))],
            1 => vec![ntlm()],
            _ => vec![],
        };
        answers.push((number % 3, client.begin("https://web.example.test/", &headers).await));
    }
    for (kind, answer) in answers {
        match (kind, whole(answer).await) {
            (0, Ok((status, _, body))) => assert!(status == 200 && body.contains("alice"), "{status} {body}"),
            (1, Err(error)) => assert_eq!(error.reason(), Some(Reason::HTTP_1_1_REQUIRED)),
            (2, Ok((status, _, body))) => assert!(status == 401 && !body.contains("alice"), "{status} {body}"),
            (kind, other) => panic!("{kind}: {other:?}"),
        }
    }
    world.server.running.stop().await;
}

#[tokio::test]
async fn a_handshake_of_several_legs_is_sent_to_http11_and_other_streams_live_on() {
    let world = world("legs").await;
    let mut client = Client::of(&world.server, &world.own).await;
    for _ in 0..3 {
        let error = client.get(&[ntlm()]).await.expect_err("no answer");
        assert!(error.is_reset() && error.reason() == Some(Reason::HTTP_1_1_REQUIRED), "{error}");
        assert_eq!(client.get(&[]).await.expect("an answer").0, 401);
    }
    assert!(world.server.told.lines()[0].ends_with("policy.not-on-this-connection"), "{:?}", world.server.told.lines());
    world.server.running.stop().await;
}

/// The protocol that is agreed on with a client of both.
async fn agreed(change: impl FnOnce(&mut Config)) -> Vec<u8> {
    let files = Directory::new(&format!("alpn-{:?}", std::thread::current().id()));
    let web = Pem::write(&files, "web", &["web.example.test"]);
    let server = server(&files.0, |config| {
        with_certificates(config, &[&web]);
        change(config);
    })
    .await;
    let stream = stream_over_tls(&server, "web.example.test", &[&web], &[b"h2", b"http/1.1"]).await.expect("TLS");
    let agreed = stream.get_ref().1.alpn_protocol().expect("a protocol").to_vec();
    server.running.stop().await;
    agreed
}

#[tokio::test]
async fn http2_is_offered_where_somebody_can_sign_in_with_it() {
    assert_eq!(agreed(|_| {}).await, b"http/1.1", "nobody here has keys for Kerberos");
    let all_alike = |config: &mut Config| config.authentication.policy.providers.clear();
    assert_eq!(
        agreed(|config| {
            all_alike(config);
            anonymous(config)
        })
        .await,
        b"h2"
    );
    let never = |config: &mut Config| config.server.http2 = Http2::Never;
    assert_eq!(
        agreed(|config| {
            all_alike(config);
            anonymous(config);
            never(config)
        })
        .await,
        b"http/1.1"
    );
    let world = world("offered").await;
    let stream = stream_over_tls(&world.server, "web.example.test", &[&world.own], &[b"http/1.1", b"h2"]).await;
    assert_eq!(stream.expect("TLS").get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    world.server.running.stop().await;
}

/// A site of everybody's files.
async fn open(name: &str, change: impl FnOnce(&mut Config)) -> (Directory, Pem, Server) {
    let files = Directory::new(&format!("h2-{name}"));
    files.write("index.html", "hello");
    files.write("long.bin", &"0123456789".repeat(1 << 20));
    let web = Pem::write(&files, "web", &["web.example.test"]);
    let server = server(&files.0, |config| {
        with_certificates(config, &[&web]);
        config.authentication.policy.providers.clear();
        anonymous(config);
        change(config);
    })
    .await;
    (files, web, server)
}

#[tokio::test]
async fn a_body_arrives_whole_and_what_a_client_sends_to_who_does_not_read_it_harms_nobody() {
    let (_files, web, server) = open("bodies", |_| {}).await;
    let mut client = Client::of(&server, &web).await;
    let answer = client.begin("https://web.example.test/long.bin", &[]).await;
    let (status, headers, body) = whole(answer).await.expect("an answer");
    assert!(status == 200 && body.len() == 10 << 20 && headers["content-length"] == "10485760");
    let mut ready = client.send.clone().ready().await.expect("the connection lives");
    let request = Request::post("https://web.example.test/").body(()).expect("a request");
    let (answer, mut body) = ready.send_request(request, false).expect("it is sent");
    body.send_data(Bytes::from(vec![0; 60_000]), false).expect("sent");
    assert_eq!(answer.await.expect("an answer").status(), 405);
    assert_eq!(client.get(&[]).await.expect("an answer").2, "hello");
    server.running.stop().await;
}

#[tokio::test]
async fn the_host_is_one_and_known() {
    let (_files, web, server) = open("hosts", |_| {}).await;
    let mut client = Client::of(&server, &web).await;
    for (host, wanted) in [
        ("web.example.test", StatusCode::OK),
        ("WEB.example.test", StatusCode::OK),
        ("other.example.test", StatusCode::BAD_REQUEST),
        ("web.example.test:443", StatusCode::BAD_REQUEST),
        ("", StatusCode::BAD_REQUEST),
    ] {
        let (status, ..) = client.get(&[("host", host.to_owned())]).await.expect("an answer");
        assert_eq!(status, wanted, "{host}");
    }
    let twice = [("host", "web.example.test".to_owned()), ("host", "web.example.test".to_owned())];
    assert_eq!(client.get(&twice).await.expect("an answer").0, 400);
    for uri in ["http://web.example.test/", "https://user@web.example.test/"] {
        let answer = client.begin(uri, &[]).await;
        // The userinfo is refused by hyper itself, or by us.
        match whole(answer).await {
            Ok((status, ..)) => assert_eq!(status, 400, "{uri}"),
            Err(error) => assert_eq!(error.reason(), Some(Reason::PROTOCOL_ERROR), "{uri}"),
        }
    }
    assert_eq!(client.get(&[]).await.expect("an answer").0, 200);
    server.running.stop().await;
}

#[tokio::test]
async fn a_server_that_stops_says_goaway_and_answers_what_it_took() {
    let (_files, web, server) = open("stop", |_| {}).await;
    let mut client = Client::of(&server, &web).await;
    let answer = client.begin("https://web.example.test/long.bin", &[]).await;
    let (head, mut body) = answer.await.expect("an answer").into_parts();
    assert_eq!(head.status, 200);
    let stopped = tokio::spawn(server.running.stop());
    let mut length = 0;
    while let Some(bytes) = body.data().await {
        let bytes = bytes.expect("not cut off");
        let _ = body.flow_control().release_capacity(bytes.len());
        length += bytes.len();
    }
    assert_eq!(length, 10 << 20);
    drop(client.send);
    client.connection.await.expect("no panic").expect("ended in order");
    stopped.await.expect("no panic");
}

#[tokio::test]
async fn a_client_that_is_silent_or_takes_nothing_is_sent_away() {
    let limits = |config: &mut Config| {
        config.limits.idle_timeout = Duration::from_millis(300);
        config.limits.header_timeout = Duration::from_millis(300);
    };
    let (_files, web, server) = open("silent", limits).await;
    // Nothing was asked.
    let idle = Client::of(&server, &web).await;
    // An answer is not taken: the window stays shut.
    let mut stuck = Client::of(&server, &web).await;
    let answer = stuck.begin("https://web.example.test/long.bin", &[]).await.await.expect("an answer");
    for client in [idle, stuck] {
        let ended = tokio::time::timeout(Duration::from_secs(20), client.connection).await;
        assert!(ended.is_ok(), "the server ends it");
    }
    drop(answer);
    server.running.stop().await;
}
