//! Two users over every path at once, ten thousand requests, and nobody is ever taken for the other.
//!
//! The application behind answers with whom it was told of, the secret that the request brought, and the number of its connection. A new
//! path through the gateway is a line of [`PATHS`].

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::StatusCode;
use iwa_domain::local::{LocalAccounts, Lockout};
use iwa_http::session::Terms;
use iwa_http::{Os, System as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;

use super::forward_auth::{about, forward};
use super::http2;
use super::pinned::{self, Application};
use super::session::{basic, cookie};
use super::sign_in::{accounts, sign_in, site};
use super::tls::{Pem, with_certificates};
use super::{Client, Directory, Server, header};
use crate::config::{Kerberos, Proxy, Route, Sessions};
use crate::gateway::authorize::Rule;
use crate::gateway::identity::Told;
use crate::gateway::identity::template::Template;

/// A path: how one user goes it a number of times. Gives how many requests were answered.
type Path = fn(Arc<World>, &'static str) -> Pin<Box<dyn Future<Output = usize> + Send>>;

const PATHS: [(&str, Path); 11] = [
    ("one connection", |world, user| Box::pin(kept(world, user))),
    ("a connection each", |world, user| Box::pin(anew(world, user))),
    ("bodies", |world, user| Box::pin(bodies(world, user))),
    ("retries", |world, user| Box::pin(retried(world, user))),
    ("timeouts", |world, user| Box::pin(timed_out(world, user))),
    ("connections that are left", |world, user| Box::pin(left(world, user))),
    ("sessions", |world, user| Box::pin(sessions(world, user))),
    ("HTTP/2", |world, user| Box::pin(streams(world, user))),
    ("WebSocket", |world, user| Box::pin(web_sockets(world, user))),
    ("forward-auth", |world, user| Box::pin(asked_about(world, user))),
    ("pass-through", |world, user| Box::pin(passed_through(world, user))),
];

const REQUESTS: usize = 10_000;

const USERS: [&str; 2] = ["alice", "bob"];

struct World {
    server: Server,
    /// One connection of HTTP/2, for both.
    streams: Mutex<http2::Client>,
    /// One connection of a proxy, for both.
    proxy: Mutex<Client>,
    _directory: Directory,
    _application: Application,
}

impl World {
    async fn start() -> Self {
        let directory = accounts("isolation");
        let web = Pem::write(&directory, "web", &["web.example.test"]);
        let (echo, application) = (Proxy::to(echo().await), Application::start().await);
        let route = |path: &str, proxy: &Proxy| Route {
            path: path.into(),
            proxy: Some(proxy.clone()),
            rules: vec![Rule::allow_all()],
            told: Told {
                headers: Some(vec![(
                    http::HeaderName::from_static("x-remote-user"),
                    Template::parse("{user}").expect("a template"),
                )]),
                ..Told::default()
            },
            ..Route::default()
        };
        let mut impatient = echo.clone();
        impatient.settings.answer_timeout = Duration::from_millis(20);
        // Where somebody can use Kerberos, there is HTTP/2.
        let keytab = directory.0.join("http.keytab");
        let local = LocalAccounts::open(&directory.0.join("state"), Lockout::default()).expect("accounts");
        let service = local.set_service_keys("HTTP/web.example.test").expect("keys");
        let principal = "HTTP/web.example.test@EXAMPLE.TEST".parse().expect("a principal");
        crate::keytab::put(&keytab, &principal, &service.keys, Os.now()).expect("a keytab");
        let server = site(&directory, |config| {
            config.kerberos = Some(Kerberos::with_keytab(keytab));
            with_certificates(config, &[&web]);
            config.authentication.policy.basic_realm = Some(String::new());
            config.sessions = Some(Sessions {
                keys: directory.0.join("session-keys"),
                revoked: directory.0.join("session-keys-revoked"),
                rotate: Sessions::ROTATE,
                return_to: Vec::new(),
            });
            let session = Some(Terms { in_clear: true, ..Terms::default() });
            config.routes = vec![
                pinned::route("/pass", &application),
                Route { session, ..route("/session", &echo) },
                route("/slow", &impatient),
                route("/", &echo),
            ];
            forward(config);
            // The one of the helper is for another test.
            config.routes.retain(|route| route.path != "/bobs");
        })
        .await;
        let streams = Mutex::new(http2::Client::of(&server, &web).await);
        let proxy = Mutex::new(server.connect().await);
        Self { server, streams, proxy, _directory: directory, _application: application }
    }

    /// Somebody's connection.
    async fn signed_in(&self, user: &str) -> Client {
        let mut client = self.server.connect().await;
        let (head, body, _) = sign_in(&mut client, user, &format!("{user}-Passw0rd"), "/", "").await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        told(user, &body);
        client
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_users_over_every_path_at_once_are_never_taken_for_each_other() {
    let world = Arc::new(World::start().await);
    let answered = Arc::new(AtomicUsize::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for (name, path) in PATHS {
        for user in USERS.into_iter().cycle().take(4) {
            let (world, answered) = (Arc::clone(&world), Arc::clone(&answered));
            tasks.spawn(async move {
                let mut own = 0;
                // Each goes on until all are done, so that all run at once; and each does its own part.
                while answered.load(Ordering::Relaxed) < REQUESTS || own == 0 {
                    let more = path(Arc::clone(&world), user).await;
                    answered.fetch_add(more, Ordering::Relaxed);
                    own += more;
                }
                (name, own)
            });
        }
    }
    let mut by_path = BTreeMap::new();
    while let Some(done) = tasks.join_next().await {
        let (name, own) = done.expect("nobody was taken for the other");
        *by_path.entry(name).or_insert(0) += own;
    }
    assert_eq!(by_path.len(), PATHS.len(), "{by_path:?}");
    assert!(by_path.values().sum::<usize>() >= REQUESTS, "{by_path:?}");
}

/// The application was told of this user, and got what they sent; it says nothing of the other.
fn told(user: &str, body: &str) {
    let other = if user == USERS[0] { USERS[1] } else { USERS[0] };
    assert!(body.contains(&format!("user=WEB\\{user} ")) && !body.contains(other), "{user} got {body:?}");
}

fn secret(user: &str) -> String {
    format!("X-Secret: secret-of-{user}\r\n")
}

/// A request that must be answered with who its sender is, and with their secret.
async fn ask(client: &mut Client, user: &str, path: &str, more: &str) {
    let (head, body) = client.get(path, &format!("{}{more}", secret(user))).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{user} {path}: {head}");
    told(user, &body);
    assert!(body.contains(&format!("secret=secret-of-{user} ")), "{user} {path}: {body}");
}

async fn kept(world: Arc<World>, user: &'static str) -> usize {
    let mut client = world.signed_in(user).await;
    for _ in 0..20 {
        ask(&mut client, user, "/", "").await;
    }
    20
}

async fn anew(world: Arc<World>, user: &'static str) -> usize {
    let mut client = world.server.connect().await;
    let body = format!("secret-of-{user}");
    let (head, answer, _) = sign_in(&mut client, user, &format!("{user}-Passw0rd"), "/post", &body).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    told(user, &answer);
    assert!(answer.contains(&format!("body={body}")), "{answer}");
    1
}

async fn bodies(world: Arc<World>, user: &'static str) -> usize {
    let mut client = world.signed_in(user).await;
    for length in [1, 100, 5_000, 70_000] {
        let body = format!("secret-of-{user}").repeat(length / 10 + 1);
        let head = "POST /post HTTP/1.1\r\nHost: web.example.test\r\n";
        for request in [
            format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()),
            format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len()),
        ] {
            client.send(&request).await;
            let (head, answer) = client.answer().await;
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
            told(user, &answer);
            assert!(answer.ends_with(&format!("body={body}")), "{user}: a body of {} arrived otherwise", body.len());
        }
    }
    8
}

async fn retried(world: Arc<World>, user: &'static str) -> usize {
    let mut client = world.signed_in(user).await;
    for _ in 0..10 {
        // A connection of the pool ends under this request.
        ask(&mut client, user, "/die", "").await;
        ask(&mut client, user, "/", "").await;
    }
    20
}

async fn timed_out(world: Arc<World>, user: &'static str) -> usize {
    let mut client = world.signed_in(user).await;
    let (head, body) = client.get("/slow/late", &secret(user)).await;
    assert!(head.starts_with("HTTP/1.1 504 ") && !body.contains("secret-of"), "{head}{body}");
    for _ in 0..5 {
        ask(&mut client, user, "/", "").await;
    }
    6
}

async fn left(world: Arc<World>, user: &'static str) -> usize {
    let mut client = world.signed_in(user).await;
    client.send(&format!("GET /late HTTP/1.1\r\nHost: h\r\n{}\r\n", secret(user))).await;
    tokio::task::yield_now().await;
    drop(client);
    // Whoever comes next is nobody.
    let (head, body) = world.server.connect().await.get("/", "").await;
    assert!(head.starts_with("HTTP/1.1 401 ") && !body.contains("WEB\\"), "{head}{body}");
    2
}

async fn sessions(world: Arc<World>, user: &'static str) -> usize {
    let mut client = world.server.connect().await;
    let password = format!("{user}-Passw0rd");
    let (head, body, _) = sign_in(&mut client, user, &password, "/session", "").await;
    told(user, &body);
    let cookie = format!("Cookie: {}\r\n", cookie(&head).expect("a session"));
    for _ in 0..5 {
        let mut client = world.server.connect().await;
        for _ in 0..4 {
            client.send(&format!("GET /session HTTP/1.1\r\nHost: h\r\n{cookie}{}\r\n", secret(user))).await;
            let (head, body) = client.answer().await;
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
            told(user, &body);
        }
        // The connection itself knows nobody.
        assert!(client.get("/session", "").await.0.starts_with("HTTP/1.1 401 "));
    }
    25
}

async fn streams(world: Arc<World>, user: &'static str) -> usize {
    let credentials = basic(user);
    let credentials = credentials.trim_end().strip_prefix("Authorization: ").expect("Basic");
    let headers = [("authorization", credentials.to_owned()), ("x-secret", format!("secret-of-{user}"))];
    for _ in 0..5 {
        let (own, nobodys) = {
            let mut streams = world.streams.lock().await;
            let own = streams.begin("https://web.example.test/", &headers).await;
            (own, streams.begin("https://web.example.test/", &[]).await)
        };
        let (status, _, body) = http2::whole(own).await.expect("an answer");
        assert_eq!(status, StatusCode::OK, "{body}");
        told(user, &body);
        assert_eq!(http2::whole(nobodys).await.expect("an answer").0, StatusCode::UNAUTHORIZED);
    }
    10
}

async fn web_sockets(world: Arc<World>, user: &'static str) -> usize {
    let mut client = world.signed_in(user).await;
    client.send("GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").await;
    let (head, _) = client.answer().await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    for _ in 0..5 {
        let said = format!("\0\nsecret-of-{user}\n");
        client.send(&said).await;
        let wanted = format!("user=WEB\\{user} {said}");
        let mut heard = vec![0; wanted.len()];
        client.0.read_exact(&mut heard).await.expect("an echo");
        assert_eq!(String::from_utf8_lossy(&heard), wanted);
    }
    6
}

async fn asked_about(world: Arc<World>, user: &'static str) -> usize {
    let mut proxy = world.proxy.lock().await;
    for _ in 0..10 {
        let (head, _) = proxy.get("/.iwa/auth/nginx", &about("/", &basic(user))).await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert_eq!(header(&head, "x-remote-user"), Some(format!("WEB\\{user}").as_str()), "{head}");
        let (head, _) = proxy.get("/.iwa/auth/nginx", &about("/", "")).await;
        assert!(head.starts_with("HTTP/1.1 401 ") && header(&head, "x-remote-user").is_none(), "{head}");
    }
    20
}

async fn passed_through(world: Arc<World>, user: &'static str) -> usize {
    let mut client = world.server.connect().await;
    let connection = pinned::sign_in(&mut client, "/pass", user).await;
    for _ in 0..20 {
        assert_eq!(client.get("/pass", "").await.1, format!("{user} {connection}"));
    }
    22
}

/// The application.
async fn echo() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let mut number = 0;
        while let Ok((stream, _)) = listener.accept().await {
            number += 1;
            tokio::spawn(serve(stream, number));
        }
    });
    address
}

async fn serve(mut stream: TcpStream, number: usize) {
    let mut bytes = Vec::new();
    for served in 0.. {
        let Some(end) = until(&mut stream, &mut bytes, |bytes| find(bytes, b"\r\n\r\n")).await else { return };
        let head = String::from_utf8(bytes.drain(..end + 4).collect()).expect("UTF-8");
        let mut body = Vec::new();
        if header(&head, "transfer-encoding").is_some() {
            loop {
                let Some(end) = until(&mut stream, &mut bytes, |bytes| find(bytes, b"\r\n")).await else { return };
                let line: Vec<u8> = bytes.drain(..end + 2).collect();
                let size = usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16).expect("a size");
                let whole = |bytes: &[u8]| (bytes.len() >= size + 2).then_some(size);
                if until(&mut stream, &mut bytes, whole).await.is_none() {
                    return;
                }
                body.extend(bytes.drain(..size + 2).take(size));
                if size == 0 {
                    break;
                }
            }
        } else if let Some(length) = header(&head, "content-length") {
            let length: usize = length.parse().expect("a length");
            if until(&mut stream, &mut bytes, |bytes| (bytes.len() >= length).then_some(length)).await.is_none() {
                return;
            }
            body.extend(bytes.drain(..length));
        }
        let user = header(&head, "x-remote-user").unwrap_or("nobody");
        if header(&head, "upgrade").is_some() {
            let hello = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
            let _ = stream.write_all(hello).await;
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                let said = [format!("user={user} ").as_bytes(), &buffer[..length]].concat();
                let _ = stream.write_all(&said).await;
            }
            return;
        }
        if head.contains(" /die") && served > 0 {
            return;
        }
        if head.contains("/late ") {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let secret = header(&head, "x-secret").unwrap_or("none");
        let body = String::from_utf8(body).expect("UTF-8");
        let answer = format!("user={user} secret={secret} connection={number} body={body}");
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{answer}", answer.len());
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Reads on until something is found.
async fn until<T>(stream: &mut TcpStream, bytes: &mut Vec<u8>, found: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
    let mut buffer = [0; 16 << 10];
    loop {
        if let Some(found) = found(bytes) {
            return Some(found);
        }
        match stream.read(&mut buffer).await {
            Ok(length @ 1..) => bytes.extend_from_slice(&buffer[..length]),
            _ => return None,
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
