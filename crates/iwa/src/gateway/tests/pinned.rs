//! `pass-through`, in front of an application that takes a connection for a person, as NTLM has it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::{Client, Directory, Server, anonymous, header, server};
use crate::config::{Config, Proxy, Route, SignIn};
use crate::gateway::authorize::Rule;

/// An application whose handshake is `NTLM hello`, a challenge, and `NTLM i-am-NAME`. It answers with the name and the number of the
/// connection. Below `/end/` it answers and closes, below `/die/` it closes.
pub(super) struct Application {
    pub(super) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<String>>>,
    listening: JoinHandle<()>,
}

impl Application {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (connections, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let (count, all) = (Arc::clone(&connections), Arc::clone(&seen));
        let listening = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = count.fetch_add(1, Ordering::Relaxed) + 1;
                tokio::spawn(serve(stream, number, Arc::clone(&all)));
            }
        });
        Self { address, connections, seen, listening }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("not poisoned").clone()
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn serve(mut stream: TcpStream, number: usize, seen: Arc<Mutex<Vec<String>>>) {
    let mut name = None;
    let mut bytes = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            let mut buffer = [0; 4096];
            match stream.read(&mut buffer).await {
                Ok(length @ 1..) => bytes.extend_from_slice(&buffer[..length]),
                _ => return,
            }
        };
        let head = String::from_utf8(bytes.drain(..end).collect()).expect("UTF-8");
        seen.lock().expect("not poisoned").push(head.clone());
        let challenge = match header(&head, "authorization") {
            Some("NTLM hello") => "WWW-Authenticate: NTLM who-are-you\r\nWWW-Authenticate: Negotiate\r\n",
            Some(token) if token.starts_with("NTLM i-am-") => {
                name = token.strip_prefix("NTLM i-am-").map(str::to_owned);
                ""
            }
            _ if name.is_some() => "",
            _ => "WWW-Authenticate: NTLM\r\nWWW-Authenticate: Negotiate\r\n",
        };
        if head.contains(" /die/") {
            return;
        }
        let status = if challenge.is_empty() { "200 OK\r\nPersistent-Auth: true" } else { "401 Unauthorized" };
        let body = format!("{} {number}", name.as_deref().unwrap_or("nobody"));
        let answer = format!("HTTP/1.1 {status}\r\n{challenge}Content-Length: {}\r\n\r\n{body}", body.len());
        if stream.write_all(answer.as_bytes()).await.is_err() || head.contains(" /end/") {
            return;
        }
    }
}

/// A route that passes everything through.
pub(super) fn route(path: &str, application: &Application) -> Route {
    let mut proxy = Proxy::to(application.address);
    proxy.settings.pass_through = true;
    Route {
        path: path.into(),
        proxy: Some(proxy),
        rules: vec![Rule::allow_all()],
        sign_in: SignIn { off: Some(true), anonymous: Some(true), ..SignIn::default() },
        ..Route::default()
    }
}

async fn gateway(files: &Directory, application: &Application, change: impl FnOnce(&mut Config)) -> Server {
    server(&files.0, |config| {
        config.routes = vec![route("/", application)];
        change(config);
    })
    .await
}

/// The whole handshake; the number of the application's connection.
pub(super) async fn sign_in(client: &mut Client, path: &str, name: &str) -> String {
    let (head, body) = client.get(path, "Authorization: NTLM hello\r\n").await;
    assert!(head.starts_with("HTTP/1.1 401 ") && body.starts_with("nobody "), "{head}{body}");
    let (head, body) = client.get(path, &format!("Authorization: NTLM i-am-{name}\r\n")).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    body.strip_prefix(name).expect("their own name").trim().to_owned()
}

async fn ends(mut client: Client) {
    let closed = tokio::time::timeout(Duration::from_secs(30), client.is_closed()).await;
    assert_eq!(closed, Ok(true), "the client's connection stays");
}

#[tokio::test]
async fn challenges_and_credentials_go_both_ways_untouched() {
    let (files, application) = (Directory::new("both-ways"), Application::start().await);
    let gateway = gateway(&files, &application, |_| {}).await;
    let mut client = gateway.connect().await;
    let (head, _) = client.get("/", "").await;
    let offered: Vec<&str> = head.lines().filter_map(|line| line.strip_prefix("www-authenticate: ")).collect();
    assert_eq!(offered, ["NTLM", "Negotiate"], "{head}");
    let (head, _) = client.get("/", "Authorization: NTLM hello\r\n").await;
    assert_eq!(header(&head, "www-authenticate"), Some("NTLM who-are-you"));
    let (head, _) = client.get("/", "Authorization: NTLM i-am-alice\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 ") && header(&head, "persistent-auth") == Some("true"), "{head}");
    let seen = application.seen();
    assert_eq!(header(&seen[1], "authorization"), Some("NTLM hello"));
    assert!(seen.iter().all(|head| header(head, "via").is_none() && header(head, "host") == Some("web.example.test")));
    assert_eq!(application.connections(), 1);
    gateway.running.stop().await;
}

#[tokio::test]
async fn two_users_at_once_have_a_connection_each_and_keep_it() {
    let (files, application) = (Directory::new("two-users"), Application::start().await);
    let gateway = gateway(&files, &application, |_| {}).await;
    let (mut alice, mut bob) = (gateway.connect().await, gateway.connect().await);
    // Leg by leg, in turn.
    alice.get("/", "Authorization: NTLM hello\r\n").await;
    bob.get("/", "Authorization: NTLM hello\r\n").await;
    let of_bob = bob.get("/", "Authorization: NTLM i-am-bob\r\n").await.1;
    let of_alice = alice.get("/", "Authorization: NTLM i-am-alice\r\n").await.1;
    assert!(of_alice.starts_with("alice ") && of_bob.starts_with("bob "), "{of_alice} {of_bob}");
    for _ in 0..50 {
        assert_eq!(alice.get("/", "").await.1, of_alice);
        assert_eq!(bob.get("/", "").await.1, of_bob);
    }
    assert_eq!(application.connections(), 2);
    gateway.running.stop().await;
}

#[tokio::test]
async fn nobody_comes_to_a_connection_that_somebody_left() {
    let (files, application) = (Directory::new("left"), Application::start().await);
    let gateway = gateway(&files, &application, |_| {}).await;
    for number in 0..20 {
        let mut alice = gateway.connect().await;
        // Half of them sign in with the first thing they send.
        if number % 2 == 0 {
            let (head, _) = alice.get("/", "Authorization: NTLM i-am-alice\r\n").await;
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        } else {
            sign_in(&mut alice, "/", "alice").await;
        }
        let mut stranger = gateway.connect().await;
        assert!(stranger.get("/", "").await.1.starts_with("nobody "));
        drop(alice);
        assert!(stranger.get("/", "").await.1.starts_with("nobody "));
        assert!(gateway.connect().await.get("/", "").await.1.starts_with("nobody "));
    }
    gateway.running.stop().await;
}

#[tokio::test]
async fn the_applications_connection_and_the_clients_end_together() {
    let (files, application) = (Directory::new("together"), Application::start().await);
    let gateway = gateway(&files, &application, |_| {}).await;
    // In the middle of a handshake, and after it.
    let mut client = gateway.connect().await;
    client.get("/end/", "Authorization: NTLM hello\r\n").await;
    ends(client).await;
    let mut client = gateway.connect().await;
    sign_in(&mut client, "/", "alice").await;
    client.get("/end/", "").await;
    ends(client).await;
    gateway.running.stop().await;
}

#[tokio::test]
async fn no_request_moves_from_somebodys_connection_to_another() {
    let (files, application) = (Directory::new("moves"), Application::start().await);
    let gateway = gateway(&files, &application, |_| {}).await;
    let mut client = gateway.connect().await;
    sign_in(&mut client, "/", "alice").await;
    let (head, _) = client.get("/die/", "").await;
    assert!(head.starts_with("HTTP/1.1 502 ") && header(&head, "connection") == Some("close"), "{head}");
    ends(client).await;
    assert_eq!(application.connections(), 1);
    assert_eq!(application.seen().len(), 3, "a request was repeated");
    gateway.running.stop().await;
}

#[tokio::test]
async fn a_connection_that_knows_nobody_may_be_replaced() {
    let (files, application) = (Directory::new("replaced"), Application::start().await);
    // This application asks nobody.
    let gateway = gateway(&files, &application, |_| {}).await;
    let mut client = gateway.connect().await;
    let (head, _) = client.get("/die/", "").await;
    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
    assert!(gateway.connect().await.get("/", "").await.1.starts_with("nobody "));
    gateway.running.stop().await;
}

#[tokio::test]
async fn what_a_proxy_may_mix_passes_nothing_through() {
    let (files, application) = (Directory::new("mixed"), Application::start().await);
    let gateway = gateway(&files, &application, |_| {}).await;
    for line in ["Via: 1.1 front\r\n", "X-Forwarded-For: 192.0.2.1\r\n", "Forwarded: for=192.0.2.1\r\n"] {
        let mut client = gateway.connect().await;
        let (head, _) = client.get("/", &format!("Authorization: NTLM hello\r\n{line}")).await;
        assert!(head.starts_with("HTTP/1.1 403 ") && header(&head, "www-authenticate").is_none(), "{line}{head}");
    }
    assert!(gateway.told.lines().iter().all(|line| line.ends_with("policy.not-on-this-connection")));
    assert_eq!(application.connections(), 0);
    gateway.running.stop().await;
    // One that says it does not mix them is a client like any other.
    let pins = |config: &mut Config| config.authentication.policy.proxy_pins_connections = true;
    let gateway = self::gateway(&files, &application, pins).await;
    let mut client = gateway.connect().await;
    let (head, _) = client.get("/", "Authorization: NTLM i-am-alice\r\nX-Forwarded-For: 192.0.2.1\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    gateway.running.stop().await;
}

#[tokio::test]
async fn without_pass_through_no_challenge_of_the_application_reaches_a_browser() {
    let (files, application) = (Directory::new("no-pass"), Application::start().await);
    let gateway = gateway(&files, &application, |config| {
        anonymous(config);
        config.routes[0].proxy = Some(Proxy::to(application.address));
    })
    .await;
    let mut client = gateway.connect().await;
    let (head, _) = client.get("/", "").await;
    assert!(head.starts_with("HTTP/1.1 401 ") && header(&head, "www-authenticate").is_none(), "{head}");
    // And who signs in there all the same does so for one request.
    client.get("/", "Authorization: NTLM i-am-alice\r\n").await;
    assert!(client.get("/", "").await.1.starts_with("nobody "));
    gateway.running.stop().await;
}
