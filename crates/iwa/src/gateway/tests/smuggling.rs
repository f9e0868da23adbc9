//! Requests with more than one reading, over real sockets: 400, the connection closed, and nothing of them reaches the
//! application. What does reach it has one reading. RFC 9112 11.2, RFC 9110 17.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::{Directory, Server, anonymous, server};
use crate::config::{Proxy, Route};
use crate::gateway::authorize::Rule;

/// An application that writes down every byte it gets, and answers each request that it can find the end of.
struct Upstream {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<u8>>>,
    listening: JoinHandle<()>,
}

impl Upstream {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&seen);
        let listening = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let all = Arc::clone(&all);
                tokio::spawn(async move {
                    let mut own = Vec::new();
                    let mut buffer = [0; 4096];
                    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                        all.lock().expect("not poisoned").extend_from_slice(&buffer[..length]);
                        own.extend_from_slice(&buffer[..length]);
                        while let Some(length) = whole(&own) {
                            own.drain(..length);
                            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                            let _ = stream.write_all(answer).await;
                        }
                    }
                });
            }
        });
        Self { address, seen, listening }
    }

    fn seen(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().expect("not poisoned")).into_owned()
    }

    async fn gateway(&self, files: &Directory) -> Server {
        server(&files.0, |config| {
            anonymous(config);
            config.routes = vec![Route {
                path: "/".into(),
                proxy: Some(Proxy::to(self.address)),
                rules: vec![Rule::allow_all()],
                ..Route::default()
            }];
        })
        .await
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// The length of the request that the bytes begin with, if all of it is there.
fn whole(bytes: &[u8]) -> Option<usize> {
    let find = |wanted: &[u8]| bytes.windows(wanted.len()).position(|window| window == wanted);
    let head = find(b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    if text.contains("transfer-encoding") {
        let rest = bytes[head..].windows(5).position(|window| window == b"0\r\n\r\n")?;
        return Some(head + rest + 5);
    }
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    (bytes.len() >= head + length).then_some(head + length)
}

/// Everything a connection answers to these bytes, until it closes.
async fn answers(gateway: &Server, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(gateway.running.addresses()[0]).await.expect("it listens");
    stream.write_all(bytes).await.expect("it takes the request");
    let mut all = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut all)).await;
    let what = String::from_utf8_lossy(bytes);
    end.unwrap_or_else(|_| panic!("the connection stays open after {what:?}")).expect("it ends in order");
    String::from_utf8_lossy(&all).into_owned()
}

/// What is sent after each bad request, on the same connection.
const NEXT: &str = "GET /next HTTP/1.1\r\nHost: h\r\n\r\n";

const CHUNKED: &str = "POST /bad HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";

fn post(fields: &str, body: &str) -> String {
    format!("POST /bad HTTP/1.1\r\nHost: h\r\n{fields}\r\n{body}")
}

fn chunked(body: &str) -> String {
    format!("{CHUNKED}{body}")
}

/// Every request is 400, the only answer, and the end of its connection; the application hears nothing.
async fn all_are_refused(name: &str, requests: &[String]) {
    let (files, upstream) = (Directory::new(name), Upstream::start().await);
    let gateway = upstream.gateway(&files).await;
    for request in requests {
        let all = answers(&gateway, format!("{request}{NEXT}").as_bytes()).await;
        assert!(all.starts_with("HTTP/1.") && all[8..].starts_with(" 400 "), "{request:?}: {all}");
        assert_eq!(all.matches("HTTP/1.").count(), 1, "{request:?}: {all}");
        assert_eq!(upstream.seen(), "", "{request:?}");
    }
    gateway.running.stop().await;
}

#[tokio::test]
async fn lengths_that_are_doubled_differ_or_are_no_numbers_are_refused() {
    let values = ["+5", "-5", "0x5", "5,5", "5, 6", " ", "5 5", "5;", "1e1", "٣", "18446744073709551616", "five"];
    let mut requests = vec![
        post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"),
        post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello"),
        post("Content-Length: 0\r\nContent-Length: 5\r\n", "hello"),
        post("Content-Length: 5\r\ncontent-length: 0\r\n", "hello"),
    ];
    requests.extend(values.map(|value| post(&format!("Content-Length: {value}\r\n"), "hello")));
    all_are_refused("lengths", &requests).await;
}

#[tokio::test]
async fn a_length_beside_a_transfer_encoding_is_refused_in_either_order() {
    all_are_refused(
        "cl-te",
        &[
            post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
            post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"),
            post("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", "0\r\n\r\n"),
            post("Content-Length: 5\r\nTransfer-Encoding: identity\r\n", "hello"),
            post("Content-Length: 5\r\nTransfer-Encoding:\r\n", "hello"),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_transfer_encoding_that_is_not_just_chunked_is_refused() {
    let values = [
        "xchunked",
        "chunkedx",
        "chunked, identity",
        "identity, chunked",
        "chunked, chunked",
        "gzip, chunked",
        "chunked;q=1",
        "\"chunked\"",
        "x chunked",
        "\u{b}chunked",
        "identity",
        "",
        ",chunked",
        "chunked,",
    ];
    let mut requests: Vec<String> =
        values.map(|value| post(&format!("Transfer-Encoding: {value}\r\n"), "0\r\n\r\n")).into();
    requests.extend([
        post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n"),
        post("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"),
        post("Transfer-Encoding\t: chunked\r\n", "0\r\n\r\n"),
        post(" Transfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        post("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n"),
        post("X: a\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        "POST /bad HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
    ]);
    all_are_refused("te", &requests).await;
}

#[tokio::test]
async fn line_ends_and_fields_that_somebody_reads_otherwise_are_refused() {
    let mut requests = vec![
        "GET /bad HTTP/1.1\nHost: h\n\n".to_owned(),
        "GET /bad HTTP/1.1\r\nHost: h\n\r\n".to_owned(),
        "GET /bad HTTP/1.1\r\nHost: h\r\n\n".to_owned(),
        "GET /bad HTTP/1.1\nHost: h\r\n\r\n".to_owned(),
        "GET /bad HTTP/1.1\rHost: h\r\r".to_owned(),
    ];
    let fields = [
        "X: a\r\n b\r\n",
        "X: a\r\n\tb\r\n",
        " X: a\r\n",
        "X : a\r\n",
        "X\t: a\r\n",
        ": a\r\n",
        "X\r\n",
        "X a\r\n",
        "X: a\rb\r\n",
        "X: a\r\rb\r\n",
        "X: a\0b\r\n",
        "X: a\x01b\r\n",
        "X: a\x7fb\r\n",
        "X: a\x1bb\r\n",
        "X\0: a\r\n",
        "X\x01: a\r\n",
        "X(: a\r\n",
        "X/y: a\r\n",
        "X[y]: a\r\n",
        "\"X\": a\r\n",
        "Xé: a\r\n",
        "\u{feff}X: a\r\n",
    ];
    requests.extend(fields.map(|field| format!("GET /bad HTTP/1.1\r\nHost: h\r\n{field}\r\n")));
    all_are_refused("lines", &requests).await;
}

#[tokio::test]
async fn request_lines_that_are_none_are_refused() {
    let lines = [
        " GET /bad HTTP/1.1",
        "\tGET /bad HTTP/1.1",
        "\r\n\r\nGET /bad HTTP/1.1",
        "GET  /bad HTTP/1.1",
        "GET /bad  HTTP/1.1",
        "GET\t/bad HTTP/1.1",
        "GET /bad\tHTTP/1.1",
        "GET /bad HTTP/1.1 ",
        "GET /b ad HTTP/1.1",
        "GET /bad#x HTTP/1.1",
        "GET /bad\0 HTTP/1.1",
        "G(T /bad HTTP/1.1",
        "G\x01T /bad HTTP/1.1",
        "GÉT /bad HTTP/1.1",
        ":GET /bad HTTP/1.1",
        "/bad HTTP/1.1",
        "GET /bad",
        "GET /bad ",
        "GET",
        "GET HTTP/1.1",
        "GET /bad HTTP/0.9",
        "GET /bad HTTP/1.2",
        "GET /bad HTTP/2.0",
        "GET /bad HTTP/1.10",
        "GET /bad HTTP/01.1",
        "GET /bad HTTP/1,1",
        "GET /bad HTTP/1",
        "GET /bad http/1.1",
        "GET /bad XTTP/1.1",
        "GET /bad HTTP/+1.1",
        "GET bad HTTP/1.1",
        "GET h:80 HTTP/1.1",
        "GET h HTTP/1.1",
        "GET * HTTP/1.1",
        "GET ftp://h/bad HTTP/1.1",
        "GET http:/bad HTTP/1.1",
        "GET http:///bad HTTP/1.1",
        "GET http://other/bad HTTP/1.1",
        "GET http://u@h/bad HTTP/1.1",
        "GET http://h:81/bad HTTP/1.1",
        "CONNECT h:80 HTTP/1.1",
        "CONNECT h HTTP/1.1",
        "CONNECT /bad HTTP/1.1",
    ];
    let mut requests: Vec<String> = lines.map(|line| format!("{line}\r\nHost: h\r\n\r\n")).into();
    requests.push("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned());
    all_are_refused("request-lines", &requests).await;
}

#[tokio::test]
async fn none_two_and_odd_hosts_are_refused() {
    let hosts = [
        "",
        "Host: h\r\nHost: h\r\n",
        "Host: h\r\nhost: other\r\n",
        "Host: h, other\r\n",
        "Host: h other\r\n",
        "Host: u@h\r\n",
        "Host: h/x\r\n",
        "Host: h?x\r\n",
        "Host: h#x\r\n",
        "Host: h\\x\r\n",
        "Host: h:80:90\r\n",
        "Host: h:port\r\n",
        "Host: [::1\r\n",
        "Host: [::1]x\r\n",
        "Host: :80\r\n",
        "Host:\r\n",
        "Host: h\u{e9}\r\n",
    ];
    let mut requests: Vec<String> = hosts.map(|host| format!("GET /bad HTTP/1.1\r\n{host}\r\n")).into();
    requests.push("GET /bad HTTP/1.0\r\nHost: h\r\nHost: other\r\n\r\n".to_owned());
    all_are_refused("hosts", &requests).await;
}

#[tokio::test]
async fn chunks_that_lie_or_are_not_framed_as_they_must_be_are_refused() {
    let bodies = [
        "5\r\nhello!\r\n0\r\n\r\n",
        "5\r\nhell\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r\n0\n\r\n",
        "5\r\nhello\r\n0\r\n\n",
        "5\rhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5\t;a\r\nhello\r\n0\r\n\r\n",
        "5 5\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        ";a=b\r\nhello\r\n0\r\n\r\n",
        "g\r\nhello\r\n0\r\n\r\n",
        "5_0\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "00000000000000005\r\nhello\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "5;a\0b\r\nhello\r\n0\r\n\r\n",
    ];
    let mut requests: Vec<String> = bodies.map(chunked).into();
    requests.push(chunked(&format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(2000))));
    all_are_refused("chunks", &requests).await;
}

#[tokio::test]
async fn trailers_that_are_no_fields_or_would_change_the_request_are_refused() {
    let trailers = [
        "X : a\r\n",
        " X: a\r\n",
        "X: a\r\n b\r\n",
        "X: a\n",
        "X: a\rb\r\n",
        "X: a\0\r\n",
        ": a\r\n",
        "X\r\n",
        "Content-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Host: other\r\n",
        "Authorization: Basic YTpi\r\n",
        "Connection: close\r\n",
        "Upgrade: websocket\r\n",
    ];
    let mut requests: Vec<String> = trailers.map(|trailer| chunked(&format!("0\r\n{trailer}\r\n"))).into();
    requests.push(chunked(&format!("0\r\nX: {}\r\n\r\n", "a".repeat(20_000))));
    all_are_refused("trailers", &requests).await;
}

#[tokio::test]
async fn what_arrives_byte_by_byte_is_refused_all_the_same() {
    let (files, upstream) = (Directory::new("bytes"), Upstream::start().await);
    let gateway = upstream.gateway(&files).await;
    for request in [
        "GET /bad HTTP/1.1\nHost: h\n\n".to_owned(),
        post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        "GET /bad HTTP/1.1\r\nHost: h\r\nX : a\r\n\r\n".to_owned(),
    ] {
        let mut stream = TcpStream::connect(gateway.running.addresses()[0]).await.expect("it listens");
        stream.set_nodelay(true).expect("a socket");
        for byte in request.bytes() {
            // It may be refused before its end.
            if stream.write_all(&[byte]).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        let mut all = String::new();
        stream.read_to_string(&mut all).await.expect("it ends in order");
        assert!(all.starts_with("HTTP/1.1 400 ") && all.matches("HTTP/1.1 ").count() == 1, "{request:?}: {all}");
    }
    assert_eq!(upstream.seen(), "");
    gateway.running.stop().await;
}

#[tokio::test]
async fn what_is_too_long_is_refused_before_it_is_read() {
    let (files, upstream) = (Directory::new("too-long"), Upstream::start().await);
    let gateway = upstream.gateway(&files).await;
    for (request, status) in [
        (format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(70_000)), ["414", "431"]),
        (format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "a".repeat(70_000)), ["431", "431"]),
        (format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "X: a\r\n".repeat(1000)), ["431", "431"]),
        (format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}", "a".repeat(200_000)), ["431", "431"]),
    ] {
        let all = answers(&gateway, format!("{request}{NEXT}").as_bytes()).await;
        assert!(status.contains(&&all[9..12]) && all.matches("HTTP/1.1 ").count() == 1, "{}: {all}", &request[..40]);
    }
    assert_eq!(upstream.seen(), "");
    gateway.running.stop().await;
}

#[tokio::test]
async fn a_good_request_before_a_bad_one_is_answered_and_none_after_it() {
    let (files, upstream) = (Directory::new("pipelined"), Upstream::start().await);
    let gateway = upstream.gateway(&files).await;
    for bad in [
        "GET /bad HTTP/1.1\nHost: h\n\n".to_owned(),
        "GET /bad HTTP/1.1\r\nHost: h\r\nX : a\r\n\r\n".to_owned(),
        post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        chunked("0x0\r\n\r\n"),
    ] {
        let all = answers(&gateway, format!("GET /good HTTP/1.1\r\nHost: h\r\n\r\n{bad}{NEXT}").as_bytes()).await;
        let statuses: Vec<&str> = all.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
        assert_eq!(statuses, ["200", "400"], "{bad:?}: {all}");
    }
    let seen = upstream.seen();
    assert_eq!(seen.matches("GET /good").count(), 4, "{seen}");
    assert!(!seen.contains("/bad") && !seen.contains("/next"), "{seen}");
    gateway.running.stop().await;
}

/// Every spelling that is taken reaches the application in the one spelling that nobody misreads.
#[tokio::test]
async fn what_goes_upstream_has_one_reading() {
    let (files, upstream) = (Directory::new("onward"), Upstream::start().await);
    let gateway = upstream.gateway(&files).await;
    for (number, (fields, body, length)) in [
        ("Content-Length: 5\r\n", "hello", Some(5)),
        ("content-LENGTH:5\t\r\n", "hello", Some(5)),
        ("Content-Length: 0005\r\n", "hello", Some(5)),
        ("Content-Length: 0\r\n", "", Some(0)),
        ("Transfer-Encoding: chunked\r\n", "5;a=b\r\nhello\r\n0\r\n\r\n", None),
        ("transfer-encoding:CHUNKED\r\n", "2\r\nhe\r\n003\r\nllo\r\n0\r\nX-Sum: 1\r\n\r\n", None),
        ("Connection: Content-Length\r\nContent-Length: 5\r\n", "hello", Some(5)),
        ("Connection: close, Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n", None),
        ("Keep-Alive: 5\r\nProxy-Connection: x\r\nTE: trailers\r\nContent-Length: 5\r\n", "hello", Some(5)),
    ]
    .into_iter()
    .enumerate()
    {
        let request = format!("POST /{number} HTTP/1.1\r\nHost: h\r\n{fields}\r\n{body}");
        let last = "GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
        let all = answers(&gateway, format!("{request}{last}").as_bytes()).await;
        assert!(all.starts_with("HTTP/1.1 200 "), "{request:?}: {all}");
        let seen = upstream.seen().to_ascii_lowercase();
        let from = seen.find(&format!("post /{number} http/1.1\r\n")).expect("it came");
        let (head, rest) = seen[from..].split_once("\r\n\r\n").expect("a head");
        let lengths: Vec<&str> = head.lines().filter(|line| line.starts_with("content-length")).collect();
        let codings: Vec<&str> = head.lines().filter(|line| line.starts_with("transfer-encoding")).collect();
        match length {
            Some(length) => {
                assert!(codings.is_empty(), "{head}");
                let said: Vec<usize> =
                    lengths.iter().filter_map(|line| line.split_once(": ")?.1.parse::<usize>().ok()).collect();
                assert!(said == [length] || (length == 0 && lengths.is_empty()), "{head}");
                assert!(rest.starts_with(body), "{rest}");
            }
            None => {
                assert!(lengths.is_empty() && codings == ["transfer-encoding: chunked"], "{head}");
                assert!(!rest.contains(";a=b"), "{rest}");
            }
        }
        for hop in ["keep-alive", "proxy-connection", "connection: close"] {
            assert!(!head.contains(hop), "{head}");
        }
    }
    gateway.running.stop().await;
}
