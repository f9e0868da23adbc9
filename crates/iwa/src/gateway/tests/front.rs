//! Proxies in front: who is believed, what a password may travel over, and connections that carry several clients.

use core::time::Duration;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use iwa_auth::BindingPolicy;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::http2::ntlm;
use super::protection::{TlsEnds, World, authenticate};
use super::tls::{Pem, over_tls_of, with_certificates};
use super::{Client, Directory, Server, anonymous, header, server};
use crate::config::{Config, Networks};
use crate::gateway::exchange::{Audit, Exchange};
use crate::gateway::{Running, assemble, start_with};

fn here() -> Networks {
    Networks(vec!["127.0.0.0/8".parse().expect("a network")])
}

/// `status client [by proxy]` of every request.
#[derive(Default)]
struct Clients(Mutex<Vec<String>>);

impl Audit for Clients {
    fn record(&self, exchange: &Exchange<'_>) {
        let by = exchange.by.map(|by| format!(" by {by}")).unwrap_or_default();
        let line = format!("{} {}{by}", exchange.status.http.as_u16(), exchange.client);
        self.0.lock().expect("not poisoned").push(line);
    }
}

struct Fronted {
    _files: Directory,
    web: Pem,
    running: Running,
    clients: Arc<Clients>,
}

impl Fronted {
    async fn new(name: &str, change: impl FnOnce(&mut Config)) -> Self {
        let files = Directory::new(&format!("front-{name}"));
        files.write("index.html", "hello");
        let web = Pem::write(&files, "web", &["web.example.test"]);
        let mut config = Config::default();
        config.server.listen = vec!["127.0.0.1:0".parse().expect("an address")];
        config.routes = vec![crate::config::Route {
            path: "/".into(),
            files: Some(files.0.clone()),
            rules: vec![crate::gateway::authorize::Rule::allow_all()],
            ..Default::default()
        }];
        anonymous(&mut config);
        with_certificates(&mut config, &[&web]);
        change(&mut config);
        let clients = Arc::new(Clients::default());
        let audit: Arc<dyn Audit> = Arc::clone(&clients) as _;
        let running = start_with(&config, Vec::new(), None, audit).await.expect("it starts");
        Self { _files: files, web, running, clients }
    }

    async fn connect(&self, first: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.running.addresses()[0]).await.expect("it listens");
        stream.write_all(first).await.expect("sent");
        stream
    }

    async fn client(&self, first: &[u8]) -> Client {
        Client(Box::new(self.connect(first).await))
    }

    fn last(&self) -> String {
        self.clients.0.lock().expect("not poisoned").last().cloned().unwrap_or_default()
    }
}

const V1: &[u8] = b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n";

#[tokio::test]
async fn a_proxy_header_says_whose_connection_it_is_before_http_and_before_tls() {
    let site = Fronted::new("header", |config| config.server.proxy_protocol = here()).await;
    let mut client = site.client(V1).await;
    for _ in 0..2 {
        assert_eq!(client.get("/", "X-Forwarded-For: 192.0.2.9\r\n").await.1, "hello");
        assert_eq!(site.last(), "200 192.0.2.1:56324 by 127.0.0.1");
    }
    let v2 = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &[192, 0, 2, 7, 192, 0, 2, 2, 0, 80, 1, 187]].concat();
    let address = *site.running.addresses().last().expect("an address");
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.write_all(&v2).await.expect("sent");
    let mut client = over_tls_of(stream, "web.example.test", &[&site.web]).await.expect("TLS");
    assert_eq!(client.get("/", "").await.1, "hello");
    assert_eq!(site.last(), "200 192.0.2.7:80 by 127.0.0.1");
    // Its own health check.
    let mut client = site.client(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0").await;
    assert_eq!(client.get("/", "").await.1, "hello");
    assert!(site.last().starts_with("200 127.0.0.1:") && !site.last().contains("by"), "{}", site.last());
    site.running.stop().await;
}

#[tokio::test]
async fn who_must_send_a_proxy_header_and_does_not_gets_nothing() {
    let site = Fronted::new("must", |config| {
        config.server.proxy_protocol = here();
        config.limits.header_timeout = Duration::from_millis(200);
    })
    .await;
    for first in [
        &b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PROXY TCP4 192.0.2.1\r\n",
        b"PROXY TCP4 ",
        b"",
    ] {
        assert!(site.client(first).await.is_closed().await, "{first:?}");
    }
    // Nor does one count that comes later, or twice.
    let mut client = site.client(&[V1, V1].concat()).await;
    assert!(client.get("/", "").await.0.starts_with("HTTP/1.1 400 "));
    assert!(site.clients.0.lock().expect("not poisoned").is_empty(), "nobody was answered as somebody");
    site.running.stop().await;
}

#[tokio::test]
async fn a_proxy_header_from_anybody_else_is_400() {
    let elsewhere = |config: &mut Config| {
        config.server.proxy_protocol = Networks(vec!["192.0.2.0/24".parse().expect("a network")]);
    };
    let site = Fronted::new("else", elsewhere).await;
    for first in [V1, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\0\x50\x01\xbb"] {
        let mut client = site.client(first).await;
        let (head, _) = client.get("/", "").await;
        assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    }
    assert!(!site.last().contains("192.0.2.1"), "{}", site.last());
    site.running.stop().await;
}

#[tokio::test]
async fn forwarded_headers_count_from_a_trusted_proxy_alone() {
    let headers = "X-Forwarded-For: 192.0.2.9, 192.0.2.1\r\nX-Forwarded-Proto: https\r\n";
    let trusting = Fronted::new("trusting", |config| config.server.trusted_proxies = here()).await;
    assert_eq!(trusting.client(b"").await.get("/", headers).await.1, "hello");
    assert_eq!(trusting.last(), "200 192.0.2.1:0 by 127.0.0.1");
    let mut client = trusting.client(b"").await;
    let forwarded = "Forwarded: for=\"[2001:db8::1]:4711\";proto=https\r\n";
    assert_eq!(client.get("/", forwarded).await.1, "hello");
    assert_eq!(trusting.last(), "200 [2001:db8::1]:4711 by 127.0.0.1");
    for bad in [
        "X-Forwarded-For: nobody\r\n",
        "X-Forwarded-Proto: gopher\r\n",
        "X-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.2\r\n",
    ] {
        let (head, _) = trusting.client(b"").await.get("/", bad).await;
        assert!(head.starts_with("HTTP/1.1 400 "), "{bad}: {head}");
    }
    trusting.running.stop().await;

    let site = Fronted::new("nobody", |_| {}).await;
    for ignored in [headers, forwarded, "X-Forwarded-For: nobody\r\n"] {
        assert_eq!(site.client(b"").await.get("/", ignored).await.1, "hello");
        assert!(site.last().starts_with("200 127.0.0.1:") && !site.last().contains("by"), "{}", site.last());
    }
    site.running.stop().await;
}

/// Whether a password is asked for.
fn offers_basic(head: &str) -> bool {
    head.lines().any(|line| line.to_ascii_lowercase().starts_with("www-authenticate: basic"))
}

#[tokio::test]
async fn a_password_travels_where_a_trusted_proxy_says_https_and_not_where_it_says_http_or_nothing() {
    let files = Directory::new("front-basic");
    let basic = |config: &mut Config| config.authentication.policy.basic_realm = Some("web".to_owned());
    let trusting: Server = server(&files.0, |config| {
        basic(config);
        config.server.trusted_proxies = here();
    })
    .await;
    let password = format!("Authorization: Basic {}\r\n", STANDARD.encode("alice:secret"));
    for (said, offered) in [
        ("X-Forwarded-Proto: https\r\n", true),
        ("Forwarded: for=192.0.2.1;proto=https\r\n", true),
        ("X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\n", false),
        ("X-Forwarded-For: 192.0.2.1\r\n", false),
        ("", false),
    ] {
        let (head, _) = trusting.connect().await.get("/", said).await;
        assert_eq!(offers_basic(&head), offered, "{said}: {head}");
        trusting.connect().await.get("/", &format!("{said}{password}")).await;
        let clear = trusting.told.lines().last().is_some_and(|line| line.ends_with("policy.basic-in-clear"));
        assert_eq!(clear, !offered, "{said}");
    }
    // One connection, one request after the other.
    let mut client = trusting.connect().await;
    for (said, offered) in [("https", true), ("http", false), ("https", true)] {
        let (head, _) = client.get("/", &format!("X-Forwarded-Proto: {said}\r\n")).await;
        assert_eq!(offers_basic(&head), offered, "{said}");
    }
    trusting.running.stop().await;
    // From anybody else it says nothing; this machine keeps its own secrets.
    let site = server(&files.0, basic).await;
    assert!(offers_basic(&site.connect().await.get("/", "X-Forwarded-Proto: http\r\n").await.0));
    site.running.stop().await;
}

/// A site for alice whose trusted proxies are on this machine.
async fn behind(name: &str, pins: bool) -> World {
    let world = World::new(&format!("front-{name}"), BindingPolicy::None, TlsEnds::InFront).await;
    let gateway = &world.server.running.gateway;
    let mut config = gateway.site().config.clone();
    config.server.trusted_proxies = here();
    config.authentication.policy.proxy_pins_connections = pins;
    let site = assemble::site(&config, &gateway.kept, Vec::new(), None).expect("a site");
    gateway.site.store(Arc::new(site));
    world
}

/// The whole handshake of NTLM; the head of the last answer.
async fn with_ntlm(client: &mut Client, said: &str) -> String {
    let (_, negotiate) = ntlm();
    let (head, _) = client.get("/", &format!("{said}Authorization: {negotiate}\r\n")).await;
    let Some(challenge) = header(&head, "www-authenticate").and_then(|line| line.strip_prefix("NTLM ")) else {
        return head;
    };
    let answer = STANDARD.encode(authenticate(&STANDARD.decode(challenge).expect("base64"), None));
    client.get("/", &format!("{said}Authorization: NTLM {answer}\r\n")).await.0
}

const ALICE: &str = "X-Forwarded-For: 192.0.2.1\r\n";
const BOB: &str = "X-Forwarded-For: 192.0.2.2\r\n";

#[tokio::test]
async fn behind_a_proxy_that_may_mix_its_clients_ntlm_is_refused_before_a_challenge_and_kerberos_is_not() {
    let world = behind("mixes", false).await;
    // Whether it says whose requests it sends, or nothing at all.
    for said in [ALICE, "Via: 1.1 proxy\r\n", ""] {
        let mut client = world.server.connect().await;
        let head = with_ntlm(&mut client, said).await;
        assert!(head.starts_with("HTTP/1.1 401 ") && !head.contains("NTLM T"), "{said}: {head}");
        let told = world.server.told.lines();
        assert!(told.last().is_some_and(|line| line.ends_with("policy.not-on-this-connection")), "{told:?}");
    }
    let mut client = world.server.connect().await;
    let token = |number| format!("Authorization: Negotiate {}\r\n", STANDARD.encode(world.ap_req_of(number)));
    for number in 0..3 {
        let (head, _) = client.get("/", &format!("{ALICE}{}", token(number))).await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert_eq!(header(&head, "persistent-auth"), Some("false"));
        for other in [ALICE, BOB, ""] {
            assert!(client.get("/", other).await.0.starts_with("HTTP/1.1 401 "), "the connection knows nobody");
        }
    }
    world.server.running.stop().await;
}

#[tokio::test]
async fn a_proxy_that_promised_a_connection_to_each_client_and_mixes_them_is_found_out() {
    let world = behind("lies", true).await;
    let mut client = world.server.connect().await;
    assert!(with_ntlm(&mut client, ALICE).await.starts_with("HTTP/1.1 200 "), "{:?}", world.server.told.lines());
    assert!(client.get("/", ALICE).await.0.starts_with("HTTP/1.1 200 "), "the connection is hers");
    // Somebody else, over hers.
    assert!(client.get("/", BOB).await.0.starts_with("HTTP/1.1 401 "));
    assert!(client.get("/", ALICE).await.0.starts_with("HTTP/1.1 401 "), "what it knew is forgotten");
    for said in [ALICE, BOB] {
        let head = with_ntlm(&mut client, said).await;
        assert!(head.starts_with("HTTP/1.1 401 ") && !head.contains("NTLM T"), "{head}");
        assert!(world.server.told.lines().last().is_some_and(|line| line.ends_with("policy.not-on-this-connection")));
    }
    // In the middle of a handshake too; and one that no longer says whose requests they are.
    for other in [BOB, "", "X-Forwarded-For: 192.0.2.1:4711\r\n"] {
        let mut client = world.server.connect().await;
        let (_, negotiate) = ntlm();
        let (head, _) = client.get("/", &format!("{ALICE}Authorization: {negotiate}\r\n")).await;
        let challenge = header(&head, "www-authenticate").and_then(|line| line.strip_prefix("NTLM ")).expect("one");
        let answer = STANDARD.encode(authenticate(&STANDARD.decode(challenge).expect("base64"), None));
        let (head, _) = client.get("/", &format!("{other}Authorization: NTLM {answer}\r\n")).await;
        assert!(head.starts_with("HTTP/1.1 401 "), "{other}: {head}");
    }
    // Other connections are not the worse for it.
    let mut client = world.server.connect().await;
    assert!(with_ntlm(&mut client, BOB).await.starts_with("HTTP/1.1 200 "));
    world.server.running.stop().await;
}

#[tokio::test]
async fn headers_of_proxies_from_anybody_keep_ntlm_from_their_own_connection_and_change_nothing_else() {
    let world = World::new("front-anybody", BindingPolicy::None, TlsEnds::InFront).await;
    let mut client = world.server.connect().await;
    assert!(with_ntlm(&mut client, "").await.starts_with("HTTP/1.1 200 "));
    // Who is known over a connection is not somebody else for saying so, nor known where a proxy may be.
    assert!(client.get("/", BOB).await.0.starts_with("HTTP/1.1 401 "));
    let mut client = world.server.connect().await;
    assert!(with_ntlm(&mut client, ALICE).await.starts_with("HTTP/1.1 401 "));
    assert!(with_ntlm(&mut client, "").await.starts_with("HTTP/1.1 200 "), "and without them all is as ever");
    world.server.running.stop().await;
}
