//! The server over real connections on loopback.

mod admin;
mod domain;
mod form;
mod forward_auth;
mod frames;
mod front;
mod gate;
mod http2;
mod identity;
mod isolation;
mod pinned;
mod protection;
mod proxy;
mod session;
mod sign_in;
mod smuggling;
mod tls;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::domain::Joined;
use super::exchange::{Audit, Exchange};
use super::{Running, start_with};
use crate::config::{Config, Route};
use crate::gateway::authorize::Rule;

/// A directory that is gone when the test is over.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("iwa-gateway-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(path, content).expect("a file");
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What the log was told, in the form `status.sub win32 why`.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Audit for Told {
    fn record(&self, exchange: &Exchange<'_>) {
        let status = exchange.status;
        let why = exchange.reason.map(|reason| reason.code()).or(exchange.note).unwrap_or("-");
        self.0.lock().expect("not poisoned").push(format!(
            "{}.{} {} {why}",
            status.http.as_u16(),
            status.sub,
            status.win32
        ));
    }
}

impl Told {
    fn lines(&self) -> Vec<String> {
        self.0.lock().expect("not poisoned").clone()
    }
}

struct Server {
    running: Running,
    told: Arc<Told>,
}

async fn server(files: &Path, change: impl FnOnce(&mut Config)) -> Server {
    let mut config = Config::default();
    config.server.listen = vec!["127.0.0.1:0".parse().expect("an address")];
    config.routes = vec![Route {
        path: "/".into(),
        files: Some(files.to_owned()),
        rules: vec![Rule::allow_all()],
        ..Default::default()
    }];
    change(&mut config);
    serve(config, Vec::new()).await
}

async fn serve(config: Config, domains: Vec<Arc<Joined>>) -> Server {
    let told = Arc::new(Told::default());
    let audit: Arc<dyn Audit> = Arc::clone(&told) as _;
    Server { running: start_with(&config, domains, None, audit).await.expect("it starts"), told }
}

impl Server {
    async fn connect(&self) -> Client {
        Client(Box::new(TcpStream::connect(self.running.addresses()[0]).await.expect("it listens")))
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

struct Client(Box<dyn Stream>);

impl Client {
    async fn send(&mut self, request: &str) {
        self.0.write_all(request.as_bytes()).await.expect("it takes the request");
    }

    /// Head and body of one answer.
    async fn answer(&mut self) -> (String, String) {
        let mut bytes = Vec::new();
        let head = loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            let mut byte = [0; 1];
            if self.0.read(&mut byte).await.expect("it answers") == 0 {
                return (String::from_utf8(bytes).expect("UTF-8"), String::new());
            }
            bytes.push(byte[0]);
        };
        let head = String::from_utf8(bytes[..head].to_vec()).expect("UTF-8");
        let length = header(&head, "content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.expect("a body");
        (head, String::from_utf8(body).expect("UTF-8"))
    }

    async fn get(&mut self, path: &str, headers: &str) -> (String, String) {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: web.example.test\r\n{headers}\r\n")).await;
        self.answer().await
    }

    async fn is_closed(&mut self) -> bool {
        matches!(self.0.read(&mut [0; 1]).await, Ok(0) | Err(_))
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn anonymous(config: &mut Config) {
    config.authentication.policy.anonymous = true;
}

#[tokio::test]
async fn without_credentials_the_providers_are_offered_in_order_and_the_connection_stays() {
    let files = Directory::new("offered");
    let server = server(&files.0, |_| {}).await;
    let mut client = server.connect().await;
    for _ in 0..2 {
        let (head, body) = client.get("/", "").await;
        assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
        let challenges: Vec<_> =
            head.lines().filter(|line| line.to_ascii_lowercase().starts_with("www-auth")).collect();
        assert_eq!(challenges, ["www-authenticate: Negotiate", "www-authenticate: NTLM"]);
        assert!(body.contains("401.2"));
        assert!(header(&head, "server").is_none());
    }
    assert_eq!(server.told.lines(), ["401.2 5 -", "401.2 5 -"]);
    server.running.stop().await;
}

#[tokio::test]
async fn the_body_of_a_refused_post_is_read_so_that_its_connection_lives() {
    let files = Directory::new("post");
    let server = server(&files.0, |_| {}).await;
    let mut client = server.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello").await;
    assert!(client.answer().await.0.starts_with("HTTP/1.1 401 "));
    assert!(client.get("/", "").await.0.starts_with("HTTP/1.1 401 "));
    server.running.stop().await;
}

#[tokio::test]
async fn who_waits_for_100_continue_gets_the_401_at_once_and_the_connection_ends() {
    let files = Directory::new("expect");
    let server = server(&files.0, |_| {}).await;
    let mut client = server.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 50000\r\nExpect: 100-continue\r\n\r\n").await;
    let (head, _) = client.answer().await;
    assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
    assert_eq!(header(&head, "connection"), Some("close"));
    assert!(client.is_closed().await);
    server.running.stop().await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_one_after_the_other() {
    let files = Directory::new("pipeline");
    let server = server(&files.0, |_| {}).await;
    let mut client = server.connect().await;
    client.send(&"GET / HTTP/1.1\r\nHost: h\r\n\r\n".repeat(3)).await;
    for _ in 0..3 {
        assert!(client.answer().await.0.starts_with("HTTP/1.1 401 "));
    }
    server.running.stop().await;
}

#[tokio::test]
async fn an_authorization_that_stands_twice_or_is_garbage_is_400_and_the_server_goes_on() {
    let files = Directory::new("garbage");
    let server = server(&files.0, anonymous).await;
    let mut client = server.connect().await;
    for headers in [
        "Authorization: Negotiate YWJj\r\nAuthorization: NTLM YWJj\r\n",
        "Authorization: Negotiate YWJj, NTLM YWJj\r\n",
        "Authorization: Negotiate !!!!\r\n",
        "Authorization: Negotiate\r\n",
        "Authorization: NegotiateYWJj\r\n",
    ] {
        let (head, _) = client.get("/", headers).await;
        assert!(head.starts_with("HTTP/1.1 400 "), "{headers}: {head}");
        assert!(header(&head, "www-authenticate").is_none());
    }
    server.running.stop().await;
}

#[tokio::test]
async fn headers_up_to_64_kib_are_taken_and_longer_ones_get_431() {
    let files = Directory::new("large");
    files.write("index.html", "hello");
    let server = server(&files.0, anonymous).await;
    let mut client = server.connect().await;
    let (head, _) = client.get("/", &format!("X-Filler: {}\r\n", "a".repeat(64_000))).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    client.send(&format!("GET / HTTP/1.1\r\nHost: h\r\nX-Filler: {}\r\n\r\n", "a".repeat(70_000))).await;
    assert!(client.answer().await.0.starts_with("HTTP/1.1 431 "));
    server.running.stop().await;
}

#[tokio::test]
async fn a_static_site_has_index_types_ranges_and_conditional_requests() {
    let files = Directory::new("static");
    files.write("index.html", "<p>hello");
    files.write("sub dir/a.txt", "0123456789");
    let server = server(&files.0, anonymous).await;
    let mut client = server.connect().await;
    let (head, body) = client.get("/", "").await;
    assert!(head.starts_with("HTTP/1.1 200 ") && body == "<p>hello", "{head}{body}");
    assert_eq!(header(&head, "content-type"), Some("text/html"));
    let since = header(&head, "last-modified").expect("a date").to_owned();
    let (head, _) = client.get("/", &format!("If-Modified-Since: {since}\r\n")).await;
    assert!(head.starts_with("HTTP/1.1 304 "), "{head}");
    let (head, body) = client.get("/sub%20dir/a.txt", "Range: bytes=2-4\r\n").await;
    assert!(head.starts_with("HTTP/1.1 206 ") && body == "234", "{head}");
    assert_eq!(header(&head, "content-range"), Some("bytes 2-4/10"));
    let (head, _) = client.get("/sub%20dir/a.txt", "Range: bytes=20-\r\n").await;
    assert!(head.starts_with("HTTP/1.1 416 "), "{head}");
    server.running.stop().await;
}

#[tokio::test]
async fn a_long_file_and_its_ranges_arrive_whole() {
    let files = Directory::new("long");
    let text: String = (0..40_000).map(|number| format!("{number:05}")).collect();
    files.write("long.txt", &text);
    files.write("empty.txt", "");
    let server = server(&files.0, anonymous).await;
    let mut client = server.connect().await;
    assert!(client.get("/long.txt", "").await.1 == text);
    let (head, body) = client.get("/long.txt", "Range: bytes=150000-150004\r\n").await;
    assert!(head.starts_with("HTTP/1.1 206 ") && body == "30000", "{head}{body}");
    assert_eq!(client.get("/empty.txt", "").await.1, "");
    client.send("HEAD /long.txt HTTP/1.1\r\nHost: h\r\n\r\n").await;
    client.send("GET /empty.txt HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let mut both = String::new();
    client.0.shutdown().await.expect("half closed");
    client.0.read_to_string(&mut both).await.expect("answers");
    assert!(both.contains("content-length: 200000\r\n") && !both.contains("00001"), "{both}");
    server.running.stop().await;
}

#[cfg(unix)]
#[tokio::test]
async fn what_is_no_file_is_not_opened() {
    let files = Directory::new("device");
    let pipe = files.0.join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().is_ok_and(|status| status.success()));
    std::os::unix::fs::symlink("/dev/zero", files.0.join("zero")).expect("a link");
    let server = server(&files.0, anonymous).await;
    let mut client = server.connect().await;
    for path in ["/pipe", "/zero"] {
        assert!(client.get(path, "").await.0.starts_with("HTTP/1.1 404 "), "{path}");
    }
    server.running.stop().await;
}

#[tokio::test]
async fn no_path_leads_out_of_the_site_or_to_hidden_files() {
    let files = Directory::new("traversal");
    files.write("site/index.html", "hello");
    files.write("secret.txt", "secret");
    files.write("site/.git/config", "secret");
    files.write("site/.well-known/security.txt", "public");
    let server = server(&files.0.join("site"), anonymous).await;
    let mut client = server.connect().await;
    for path in [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e%2fsecret.txt",
        "/..%5csecret.txt",
        "/.git/config",
        "/%2egit/config",
        "//.git/config",
        "/x/../.git/config",
    ] {
        let (head, body) = client.get(path, "").await;
        assert!(head.starts_with("HTTP/1.1 400 ") || head.starts_with("HTTP/1.1 404 "), "{path}: {head}");
        assert!(!body.contains("secret"), "{path}");
    }
    assert_eq!(client.get("/.well-known/security.txt", "").await.1, "public");
    server.running.stop().await;
}

#[tokio::test]
async fn the_rules_of_a_route_hold_however_its_path_is_written() {
    let files = Directory::new("rules");
    files.write("admin/a.txt", "secret");
    let server = server(&files.0, |config| {
        anonymous(config);
        config.routes.insert(
            0,
            Route {
                path: "/admin".into(),
                files: Some(files.0.join("admin")),
                rules: vec![Rule { access: crate::gateway::authorize::Access::Deny, ..Rule::allow_all() }],
                ..Default::default()
            },
        );
    })
    .await;
    let mut client = server.connect().await;
    for path in [
        "/admin/a.txt",
        "/Admin/a.txt",
        "/%61dmin/a.txt",
        "/admin%2fa.txt",
        "//admin/a.txt",
        "/./admin/a.txt",
        "/x/../admin/a.txt",
        "/admin;x/a.txt",
        "/x/..;/admin/a.txt",
        "/;/admin/a.txt",
    ] {
        let (head, body) = client.get(path, "").await;
        assert!(!head.starts_with("HTTP/1.1 200 ") && !body.contains("secret"), "{path}: {head}");
    }
    server.running.stop().await;
}

/// Tomcat finds `/admin/x` for `/admin;a=b/x`, and other servers do not: whatever is decided is wrong for one of them.
#[tokio::test]
async fn parameters_in_a_path_lead_to_no_other_route() {
    let files = Directory::new("parameters");
    let server = server(&files.0, |config| {
        anonymous(config);
        for path in ["/who", "/who/am/i"] {
            config.routes.insert(0, Route { path: path.into(), rules: vec![Rule::allow_all()], ..Default::default() });
        }
    })
    .await;
    let mut client = server.connect().await;
    for path in ["/who/a;b=c/d", "/who/;jsessionid=1", "/who/am/i/a;b", "/who/am/j;b"] {
        let (head, _) = client.get(path, "").await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {head}");
    }
    for path in ["/who;a=b", "/who%3Ba/x", "/WHO;/x", "/who/am;a=b/i", "/who/am/i;a=b/x", "/who/am;/i;/x"] {
        let (head, _) = client.get(path, "").await;
        assert!(head.starts_with("HTTP/1.1 400 "), "{path}: {head}");
        assert!(server.told.lines().last().is_some_and(|line| line.contains("parameters")), "{path}");
    }
    server.running.stop().await;
}

#[tokio::test]
async fn what_is_no_http_is_answered_400_and_harms_nobody() {
    let files = Directory::new("nohttp");
    let server = server(&files.0, anonymous).await;
    for bytes in
        ["\x16\x03\x01\x02\x00\x01\x00", "GET /\r\n\r\n\r\n", "\0\0\0\0\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
    {
        let mut client = server.connect().await;
        client.send(bytes).await;
        let _ = client.0.shutdown().await;
        let (head, _) = client.answer().await;
        assert!(!head.starts_with("HTTP/1.1 2"), "{head}");
    }
    let (head, _) = server.connect().await.get("/", "").await;
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
    server.running.stop().await;
}

#[tokio::test]
async fn a_client_that_closes_its_half_still_gets_its_answer() {
    let files = Directory::new("half");
    files.write("index.html", "hello");
    let server = server(&files.0, anonymous).await;
    let mut client = server.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    client.0.shutdown().await.expect("half closed");
    assert_eq!(client.answer().await.1, "hello");
    server.running.stop().await;
}

#[tokio::test]
async fn stopping_ends_idle_connections_and_takes_no_new_ones() {
    let files = Directory::new("stop");
    let server = server(&files.0, anonymous).await;
    let address = server.running.addresses()[0];
    let mut idle = server.connect().await;
    idle.get("/", "").await;
    server.running.stop().await;
    assert!(idle.is_closed().await);
    assert!(TcpStream::connect(address).await.is_err());
}
