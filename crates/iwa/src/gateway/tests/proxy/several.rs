//! Several addresses of one application; TLS, HTTP/2 and sockets on the way there.

use core::convert::Infallible;
use core::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio_rustls::TlsAcceptor;

use super::super::Directory;
use super::*;
use crate::config::{Balance, CertificateFiles, Health, ToHttp2};
use crate::gateway::proxy::target::{Place, Target};

fn to(targets: &[SocketAddr]) -> Proxy {
    let mut proxy = Proxy::to(targets[0]);
    proxy.targets = targets.iter().map(|address| Target::read(&format!("http://{address}")).expect("one")).collect();
    proxy
}

#[tokio::test]
async fn requests_go_round_and_a_client_stays_where_it_is_if_that_is_wanted() {
    for (balance, each) in
        [(Balance::RoundRobin, [2, 2, 2]), (Balance::LeastConnections, [2, 2, 2]), (Balance::ClientAddress, [6, 0, 0])]
    {
        let applications = [
            Application::answering(HELLO).await,
            Application::answering(HELLO).await,
            Application::answering(HELLO).await,
        ];
        let server =
            behind(to(&applications.each_ref().map(|a| a.address)), |proxy| proxy.settings.balance = balance).await;
        for _ in 0..6 {
            assert_eq!(server.connect().await.get("/", "").await.1, "hello");
        }
        let mut seen = applications.each_ref().map(|application| application.heads().len());
        seen.sort_unstable_by(|a, b| b.cmp(a));
        assert_eq!(seen, each, "{balance:?}");
        server.running.stop().await;
    }
}

#[tokio::test]
async fn the_fewest_requests_under_way_count() {
    let busy = Application::new(|_, mut peer| async move {
        peer.head().await;
        peer.say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").await;
        peer.is_closed().await;
    })
    .await;
    let free = Application::answering(HELLO).await;
    let server =
        behind(to(&[busy.address, free.address]), |proxy| proxy.settings.balance = Balance::LeastConnections).await;
    let mut held = server.connect().await;
    held.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    head_alone(&mut held).await;
    for _ in 0..4 {
        assert_eq!(server.connect().await.get("/", "").await.1, "hello");
    }
    assert_eq!((busy.heads().len(), free.heads().len()), (1, 4));
    drop(held);
    server.running.stop().await;
}

#[tokio::test]
async fn one_that_cannot_be_reached_costs_nobody_a_request_of_any_kind() {
    let gone = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let application = Application::new(|_, mut peer| async move {
        while peer.head().await.is_some() {
            let body = peer.exactly(5).await;
            peer.say(&format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{body}")).await;
        }
    })
    .await;
    let server = behind(to(&[gone, application.address]), |_| {}).await;
    for _ in 0..4 {
        let mut client = server.connect().await;
        client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello").await;
        assert_eq!(client.answer().await.1, "hello");
    }
    assert_eq!(application.heads().len(), 4);
    server.running.stop().await;
}

#[tokio::test]
async fn when_none_can_be_reached_all_are_tried_and_told() {
    let mut gone = Vec::new();
    for _ in 0..3 {
        gone.push(TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address"));
    }
    let server = behind(to(&gone), |_| {}).await;
    for request in 0..2 {
        let (head, _) = server.connect().await.get("/", "").await;
        assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
        let line = &server.told.lines()[request];
        assert!(gone.iter().all(|address| line.contains(&address.to_string())), "{line}");
    }
    server.running.stop().await;
}

#[tokio::test]
async fn one_that_fails_its_check_is_asked_last() {
    let ill = Application::new(|_, mut peer| async move {
        while let Some(head) = peer.head().await {
            peer.say(if head.starts_with("GET /health ") {
                "HTTP/1.1 500 Ill\r\nContent-Length: 0\r\n\r\n"
            } else {
                "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nsick"
            })
            .await;
        }
    })
    .await;
    let well = Application::answering(HELLO).await;
    let server = behind(to(&[ill.address, well.address]), |proxy| {
        proxy.settings.health = Some(Health {
            path: "/health".parse().expect("a path"),
            host: None,
            interval: Duration::from_millis(20),
            timeout: Duration::from_secs(5),
        });
    })
    .await;
    let check = |heads: Vec<String>| heads.iter().filter(|head| head.starts_with("GET /health ")).count();
    while check(ill.heads()) < 2 || check(well.heads()) < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for _ in 0..4 {
        assert_eq!(server.connect().await.get("/", "").await.1, "hello");
    }
    server.running.stop().await;
}

#[cfg(unix)]
#[tokio::test]
async fn an_application_can_listen_on_a_socket_in_the_file_system() {
    let directory = Directory::new("proxy-socket");
    let path = directory.0.join("app.sock");
    let listener = tokio::net::UnixListener::bind(&path).expect("a socket");
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut bytes = [0; 4096];
        let _ = stream.read(&mut bytes).await;
        let _ = stream.write_all(HELLO.as_bytes()).await;
    });
    let mut proxy = Proxy::to("127.0.0.1:1".parse().expect("an address"));
    proxy.targets = vec![Target::read(&format!("unix:{}", path.display())).expect("one")];
    let server = behind(proxy, |_| {}).await;
    assert_eq!(server.connect().await.get("/", "").await.1, "hello");
    server.running.stop().await;
}

/// An application over TLS for `localhost`, that says which HTTP it speaks, echoes, and adds a trailer where there was one.
async fn over_tls(protocols: &[&[u8]]) -> (SocketAddr, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let mut config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("a certificate");
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(stream), service_fn(echo)).await;
                } else {
                    let builder = hyper::server::conn::http1::Builder::new();
                    let _ = builder.serve_connection(TokioIo::new(stream), service_fn(echo)).await;
                }
            });
        }
    });
    (address, made.cert.pem())
}

/// A body that does not say how long it is: only then are there trailers after it in HTTP/1.1.
struct Unmeasured(Full<Bytes>);

impl http_body::Body for Unmeasured {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: core::pin::Pin<&mut Self>,
        context: &mut core::task::Context<'_>,
    ) -> core::task::Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        core::pin::Pin::new(&mut self.0).poll_frame(context)
    }
}

async fn echo(
    request: Request<Incoming>,
) -> Result<Response<http_body_util::combinators::BoxBody<Bytes, Infallible>>, Infallible> {
    let version = format!("{:?} {} {:?} ", request.version(), request.uri(), request.headers().get("host"));
    let body = request.into_body().collect().await.expect("a body");
    let mut trailers = HeaderMap::new();
    if let Some(sum) = body.trailers().and_then(|trailers| trailers.get("x-sum")) {
        trailers.insert("x-back", sum.clone());
    }
    let text = [version.as_bytes(), &body.to_bytes()].concat();
    let body = Unmeasured(Full::new(Bytes::from(text))).with_trailers(async move { Some(Ok(trailers)) }).boxed();
    Ok(Response::builder().header("trailer", "x-back").body(body).expect("an answer"))
}

async fn asked_over_tls(
    protocols: &[&[u8]],
    http2: ToHttp2,
    name: Option<&str>,
    trusted: bool,
) -> (String, Vec<String>) {
    let (address, pem) = over_tls(protocols).await;
    let directory = Directory::new(&format!("proxy-tls-{}", address.port()));
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    directory.write("ca.pem", &if trusted { pem } else { other.cert.pem() });
    let mut proxy = Proxy::to(address);
    proxy.targets = vec![Target {
        place: Place::Tcp("127.0.0.1".to_owned(), address.port()),
        tls: true,
        authority: "localhost".parse().expect("a name"),
        base: String::new(),
    }];
    proxy.settings.ca = Some(directory.0.join("ca.pem"));
    proxy.settings.server_name = name.map(str::to_owned);
    proxy.settings.http2 = http2;
    let server = behind(proxy, |_| {}).await;
    let mut client = server.connect().await;
    client
        .send(
            "POST /x?y HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nConnection: TE, close\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n\
             2\r\nhi\r\n0\r\nX-Sum: 7\r\n\r\n",
        )
        .await;
    let mut all = String::new();
    client.0.read_to_string(&mut all).await.expect("an answer");
    let told = server.told.lines();
    server.running.stop().await;
    (all, told)
}

#[tokio::test]
async fn http2_is_spoken_where_the_application_offers_it_and_never_where_it_is_off() {
    for (protocols, http2, version) in [
        (&[b"h2".as_slice(), b"http/1.1"][..], ToHttp2::Auto, "HTTP/2.0 https://h/x?y None "),
        (&[b"http/1.1".as_slice()][..], ToHttp2::Auto, "HTTP/1.1 /x?y Some(\"h\") "),
        (&[b"h2".as_slice(), b"http/1.1"][..], ToHttp2::Never, "HTTP/1.1 /x?y Some(\"h\") "),
    ] {
        let (all, told) = asked_over_tls(protocols, http2, Some("localhost"), true).await;
        assert!(all.starts_with("HTTP/1.1 200 ") && all.contains(version) && all.contains("hi"), "{all} {told:?}");
        assert!(all.contains("x-back: 7"), "{all}");
    }
}

#[tokio::test]
async fn an_application_whose_certificate_is_not_its_own_gets_no_request() {
    for (name, trusted) in [(None, true), (Some("other.example.test"), true), (Some("localhost"), false)] {
        let (all, told) = asked_over_tls(&[b"http/1.1"], ToHttp2::Auto, name, trusted).await;
        assert!(all.starts_with("HTTP/1.1 502 "), "{all}");
        assert!(told[0].starts_with("502.3 12175 TLS with"), "{told:?}");
    }
}

#[tokio::test]
async fn http2_without_tls_where_the_application_is_known_to_speak_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let connections = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(TokioIo::new(stream), service_fn(echo)).await;
            });
        }
    });
    let server = behind(Proxy::to(address), |proxy| proxy.settings.http2 = ToHttp2::PriorKnowledge).await;
    for _ in 0..3 {
        let mut client = server.connect().await;
        client.send("GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
        let mut all = String::new();
        client.0.read_to_string(&mut all).await.expect("an answer");
        assert!(all.contains("HTTP/2.0 http://h/x None"), "{all}");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    server.running.stop().await;
}

#[test]
fn a_certificate_of_its_own_that_cannot_be_read_is_a_problem_at_the_start() {
    let mut proxy = Proxy::to("127.0.0.1:1".parse().expect("an address"));
    proxy.targets[0].tls = true;
    let missing = std::path::PathBuf::from("/nonexistent.pem");
    proxy.settings.certificate = Some(CertificateFiles { certificate: missing.clone(), key: missing });
    let problem = crate::gateway::proxy::Proxy::new(&proxy, "/", false, None).err().expect("a problem");
    assert!(problem.0.contains("/nonexistent.pem"), "{problem}");
}
