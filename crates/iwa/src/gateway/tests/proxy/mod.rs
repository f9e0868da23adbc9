//! The reverse proxy between real connections on loopback: applications that behave, and some that do not.

mod connections;
mod failures;
mod several;
mod streams;
mod upgrades;

use core::sync::atomic::{AtomicUsize, Ordering};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{Client, Server, anonymous, header, serve};
use crate::config::{Config, Proxy, Route};
use crate::gateway::authorize::Rule;

/// An application that the test plays.
struct Application {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

/// One of its connections.
struct Peer {
    stream: TcpStream,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Peer {
    /// The head of a request, in the case it came in; `None` at the end of the connection.
    async fn head(&mut self) -> Option<String> {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            bytes.push(self.stream.read_u8().await.ok()?);
        }
        let head = String::from_utf8(bytes).expect("UTF-8");
        self.heads.lock().expect("not poisoned").push(head.clone());
        Some(head)
    }

    /// A chunked body as it came, with its trailers.
    async fn chunked(&mut self) -> String {
        let mut bytes = Vec::new();
        while !(bytes.ends_with(b"\r\n\r\n") && (bytes.starts_with(b"0\r\n") || find(&bytes, b"\r\n0\r\n"))) {
            bytes.push(self.stream.read_u8().await.expect("a body"));
        }
        String::from_utf8(bytes).expect("UTF-8")
    }

    async fn exactly(&mut self, length: usize) -> String {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).await.expect("a body");
        String::from_utf8(bytes).expect("UTF-8")
    }

    async fn say(&mut self, text: &str) {
        let _ = self.stream.write_all(text.as_bytes()).await;
    }

    /// Reads what there is until the end.
    async fn is_closed(&mut self) -> bool {
        while self.stream.read_u8().await.is_ok() {}
        true
    }
}

fn find(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

impl Application {
    /// Plays it: each connection, by number, is given to `play`.
    async fn new<F, T>(play: F) -> Self
    where
        F: Fn(usize, Peer) -> T + Send + Sync + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (heads, connections) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicUsize>::default());
        let (told, counted) = (Arc::clone(&heads), Arc::clone(&connections));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(play(number, Peer { stream, heads: Arc::clone(&told) }));
            }
        });
        Self { address, heads, connections }
    }

    /// Answers every request, which has no body, with this.
    async fn answering(answer: &'static str) -> Self {
        Self::new(move |_, mut peer| async move {
            while peer.head().await.is_some() {
                peer.say(answer).await;
            }
        })
        .await
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().expect("not poisoned").clone()
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// A server before it, that lets everybody in.
    async fn behind(&self, change: impl FnOnce(&mut Proxy)) -> Server {
        behind(Proxy::to(self.address), change).await
    }
}

async fn behind(mut proxy: Proxy, change: impl FnOnce(&mut Proxy)) -> Server {
    change(&mut proxy);
    let mut config = Config::default();
    anonymous(&mut config);
    config.server.listen = vec!["127.0.0.1:0".parse().expect("an address")];
    config.routes =
        vec![Route { path: "/".into(), proxy: Some(proxy), rules: vec![Rule::allow_all()], ..Default::default() }];
    serve(config, Vec::new()).await
}

fn values<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
}

const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

#[tokio::test]
async fn a_request_goes_on_with_what_a_proxy_says_and_its_answer_comes_back() {
    let application = Application::answering(
        "HTTP/1.1 203 Fine\r\nContent-Length: 5\r\nX-App: yes\r\nKeep-Alive: timeout=5\r\n\r\nhello",
    )
    .await;
    let server = application.behind(|_| {}).await;
    let mut client = server.connect().await;
    let (head, body) = client.get("/a%20b/%c3%a4?q=%2f&r", "X-Forwarded-For: 10.9.9.9\r\nCookie: a=b\r\n").await;
    assert!(head.starts_with("HTTP/1.1 203 ") && body == "hello", "{head}{body}");
    assert_eq!(header(&head, "x-app"), Some("yes"));
    assert_eq!(header(&head, "keep-alive"), None);
    let got = &application.heads()[0];
    assert!(got.starts_with("GET /a%20b/%c3%a4?q=%2f&r HTTP/1.1\r\n"), "{got}");
    assert_eq!(values(got, "host"), ["web.example.test"]);
    assert_eq!(values(got, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(values(got, "x-forwarded-host"), ["web.example.test"]);
    assert_eq!(values(got, "x-forwarded-proto"), ["http"]);
    assert_eq!(values(got, "forwarded"), ["for=127.0.0.1;proto=http;host=\"web.example.test\""]);
    assert_eq!(values(got, "via"), ["1.1 iwa"]);
    assert_eq!(values(got, "cookie"), ["a=b"]);
    assert_eq!(values(got, "x-request-id").len(), 1);
    assert_eq!(server.told.lines(), ["203.0 0 -"]);
    server.running.stop().await;
}

#[tokio::test]
async fn the_application_is_asked_under_its_own_name_below_its_base_without_the_routes_path() {
    let application = Application::answering(HELLO).await;
    let server = application
        .behind(|proxy| {
            proxy.settings.host = crate::config::HostHeader::Upstream;
            proxy.settings.request_id = None;
            proxy.targets[0].base = "/base".to_owned();
        })
        .await;
    server.connect().await.get("/x/y?z", "").await;
    let got = &application.heads()[0];
    assert!(got.starts_with("GET /base/x/y?z HTTP/1.1\r\n"), "{got}");
    assert_eq!(values(got, "host"), [application.address.to_string()]);
    assert!(values(got, "x-request-id").is_empty());
    server.running.stop().await;
}

#[tokio::test]
async fn answers_without_a_body_have_none_and_their_connections_live() {
    let application = Application::new(|_, mut peer| async move {
        while let Some(head) = peer.head().await {
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            peer.say(match path.as_str() {
                "/head" => "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n",
                "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
                "/304" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\nETag: \"x\"\r\n\r\n",
                _ => HELLO,
            })
            .await;
        }
    })
    .await;
    let server = application.behind(|_| {}).await;
    let mut client = server.connect().await;
    for (request, status, length) in [
        ("HEAD /head", "200", Some("7")),
        ("GET /204", "204", None),
        ("GET /304", "304", None),
        ("HEAD /head", "200", Some("7")),
    ] {
        client.send(&format!("{request} HTTP/1.1\r\nHost: h\r\n\r\n")).await;
        let head = head_alone(&mut client).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        assert_eq!(header(&head, "content-length"), length, "{head}");
    }
    assert_eq!(client.get("/", "").await.1, "hello");
    assert_eq!(application.connections(), 1);
    server.running.stop().await;
}

/// A head, after which nothing is read.
async fn head_alone(client: &mut Client) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(client.0.read_u8().await.expect("a head"));
    }
    String::from_utf8(bytes).expect("UTF-8")
}

#[tokio::test]
async fn a_rule_keeps_requests_from_the_application() {
    let application = Application::answering(HELLO).await;
    let mut config = Config::default();
    anonymous(&mut config);
    config.server.listen = vec!["127.0.0.1:0".parse().expect("an address")];
    let deny = Rule { access: crate::gateway::authorize::Access::Deny, ..Rule::allow_all() };
    config.routes = vec![Route {
        path: "/".into(),
        proxy: Some(Proxy::to(application.address)),
        rules: vec![deny],
        ..Default::default()
    }];
    let server = serve(config, Vec::new()).await;
    let (head, _) = server.connect().await.get("/", "").await;
    assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let (head, _) = server.connect().await.get("/", upgrade).await;
    assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
    assert_eq!(application.connections(), 0);
    server.running.stop().await;
}

#[tokio::test]
async fn connect_and_trace_are_for_no_application() {
    let application = Application::answering(HELLO).await;
    let server = application.behind(|_| {}).await;
    for request in [
        "TRACE / HTTP/1.1\r\nHost: h\r\n\r\n",
        "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
    ] {
        let mut client = server.connect().await;
        client.send(request).await;
        let head = client.answer().await.0;
        assert!(head.starts_with("HTTP/1.1 400 "), "{request}: {head}");
    }
    assert_eq!(application.connections(), 0);
    server.running.stop().await;
}
