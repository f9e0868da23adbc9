//! TLS over real connections: which certificate, how it is replaced, and clients that speak something else.

use std::sync::Arc;

use iwa_auth::ChannelBindings;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Client, Directory, Server, anonymous, server};
use crate::config::{CertificateFiles, Config, Tls};
use crate::gateway::reload;

/// A certificate that signs itself, and where its files are.
pub(super) struct Pem {
    pub(super) certificate: String,
    pub(super) key: String,
    pub(super) files: CertificateFiles,
}

impl Pem {
    pub(super) fn generate(names: &[&str]) -> Self {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let files = CertificateFiles { certificate: "/nowhere".into(), key: "/nowhere".into() };
        Self { certificate: made.cert.pem(), key: made.signing_key.serialize_pem(), files }
    }

    pub(super) fn write(directory: &Directory, name: &str, names: &[&str]) -> Self {
        let path = |end: &str| directory.0.join(format!("{name}.{end}"));
        let pem =
            Self { files: CertificateFiles { certificate: path("pem"), key: path("key") }, ..Self::generate(names) };
        pem.put(&pem.files);
        pem
    }

    pub(super) fn put(&self, files: &CertificateFiles) {
        std::fs::write(&files.certificate, &self.certificate).expect("written");
        std::fs::write(&files.key, &self.key).expect("written");
    }

    pub(super) fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("PEM")
    }

    pub(super) fn bindings(&self) -> ChannelBindings {
        ChannelBindings::of_certificate(&self.der()).expect("a certificate")
    }
}

/// A second address, with TLS.
pub(super) fn with_certificates(config: &mut Config, certificates: &[&Pem]) {
    config.server.listen_tls = vec!["127.0.0.1:0".parse().expect("an address")];
    config.tls = Some(Tls {
        certificates: certificates.iter().map(|pem| pem.files.clone()).collect(),
        handshake_timeout: std::time::Duration::from_secs(10),
    });
}

/// A connection to the last address by a client that trusts these certificates and asks for `name`; and the certificate that it
/// was shown.
pub(super) async fn over_tls(
    server: &Server,
    name: &str,
    trusted: &[&Pem],
) -> Result<(Client, CertificateDer<'static>), std::io::Error> {
    connect(server, name, trusted, &[b"http/1.1"]).await
}

async fn connect(
    server: &Server,
    name: &str,
    trusted: &[&Pem],
    alpn: &[&[u8]],
) -> Result<(Client, CertificateDer<'static>), std::io::Error> {
    let stream = stream_over_tls(server, name, trusted, alpn).await?;
    let (_, tls) = stream.get_ref();
    assert!(alpn.is_empty() || tls.alpn_protocol() == Some(b"http/1.1"));
    let shown = tls.peer_certificates().and_then(<[_]>::first).expect("a certificate").clone();
    Ok((Client(Box::new(stream)), shown))
}

/// A connection to the last address, whatever is spoken then.
pub(super) async fn stream_over_tls(
    server: &Server,
    name: &str,
    trusted: &[&Pem],
    alpn: &[&[u8]],
) -> Result<TlsStream<TcpStream>, std::io::Error> {
    let address = server.running.addresses().last().expect("an address");
    handshake(TcpStream::connect(address).await?, name, trusted, alpn).await
}

/// The same over a stream on which something was said before.
pub(super) async fn over_tls_of(stream: TcpStream, name: &str, trusted: &[&Pem]) -> Result<Client, std::io::Error> {
    Ok(Client(Box::new(handshake(stream, name, trusted, &[b"http/1.1"]).await?)))
}

async fn handshake(
    stream: TcpStream,
    name: &str,
    trusted: &[&Pem],
    alpn: &[&[u8]],
) -> Result<TlsStream<TcpStream>, std::io::Error> {
    let mut roots = RootCertStore::empty();
    for pem in trusted {
        roots.add(pem.der()).expect("a root");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

#[tokio::test]
async fn https_serves_what_http_serves() {
    let files = Directory::new("tls-serves");
    files.write("index.html", "hello");
    let web = Pem::write(&files, "web", &["web.example.test"]);
    let server = server(&files.0, |config| {
        anonymous(config);
        with_certificates(config, &[&web]);
    })
    .await;
    assert!(server.running.urls()[1].starts_with("https://127.0.0.1:"), "{:?}", server.running.urls());
    let (mut client, shown) = over_tls(&server, "web.example.test", &[&web]).await.expect("TLS");
    assert_eq!(shown, web.der());
    for _ in 0..2 {
        assert_eq!(client.get("/", "").await.1, "hello");
    }
    // Without ALPN it is HTTP/1.1 as well; who speaks HTTP/2 alone is told at once.
    let (mut client, _) = connect(&server, "web.example.test", &[&web], &[]).await.expect("TLS");
    assert_eq!(client.get("/", "").await.1, "hello");
    assert!(connect(&server, "web.example.test", &[&web], &[b"h2"]).await.is_err());
    server.running.stop().await;
}

#[tokio::test]
async fn the_certificate_is_that_of_the_name_the_client_asks_for() {
    let files = Directory::new("tls-sni");
    let first = Pem::write(&files, "first", &["first.example.test"]);
    let wild = Pem::write(&files, "wild", &["*.example.test"]);
    let exact = Pem::write(&files, "exact", &["web.example.test", "127.0.0.1"]);
    let server = server(&files.0, |config| with_certificates(config, &[&first, &wild, &exact])).await;
    let all = [&first, &wild, &exact];
    for (name, wanted) in [
        ("first.example.test", &first),
        ("web.example.test", &exact),
        ("WEB.example.test", &exact),
        ("other.example.test", &wild),
    ] {
        let (_, shown) = over_tls(&server, name, &all).await.expect("TLS");
        assert_eq!(shown, wanted.der(), "{name}");
    }
    // A name that nobody has, and no name at all (an address): the first, which does not fit.
    for name in ["a.b.example.test", "web.elsewhere.test", "127.0.0.1"] {
        let error = over_tls(&server, name, &all).await.err().expect("another name").to_string();
        assert!(error.contains("first.example.test"), "{name}: {error}");
    }
    server.running.stop().await;
}

#[tokio::test]
async fn a_changed_certificate_is_taken_and_a_bad_one_is_not() {
    let files = Directory::new("tls-swap");
    files.write("index.html", "hello");
    let old = Pem::write(&files, "web", &["web.example.test"]);
    let other = Pem::write(&files, "other", &["other.example.test"]);
    let server = server(&files.0, |config| {
        anonymous(config);
        with_certificates(config, &[&old, &other]);
    })
    .await;
    let gateway = &server.running.gateway;
    let new = Pem::generate(&["web.example.test"]);
    let shown = async || over_tls(&server, "web.example.test", &[&old, &new]).await.expect("TLS").1;
    let (mut before, _) = over_tls(&server, "web.example.test", &[&old]).await.expect("TLS");
    reload::certificates(gateway).expect("nothing changed");

    // The certificate is there, the key is not yet.
    std::fs::write(&old.files.certificate, &new.certificate).expect("written");
    let told = reload::certificates(gateway).expect_err("a certificate without its key").to_string();
    assert!(told.contains("is not the key of") && told.contains("web.pem"), "{told}");
    assert!(!told.contains("PRIVATE") && !told.contains("MIG"), "{told}");
    assert!(reload::certificates(gateway).is_ok(), "it is told once");
    assert_eq!(shown().await, old.der());

    std::fs::write(&old.files.key, &new.key).expect("written");
    reload::certificates(gateway).expect("both are there");
    assert_eq!(shown().await, new.der());
    assert_eq!(before.get("/", "").await.1, "hello", "the connections from before live on");

    // One that is damaged keeps no other back.
    let third = Pem::generate(&["other.example.test"]);
    std::fs::write(&old.files.certificate, "damaged").expect("written");
    third.put(&other.files);
    assert!(reload::certificates(gateway).is_err());
    assert_eq!(shown().await, new.der(), "the server goes on with what it had");
    assert_eq!(over_tls(&server, "other.example.test", &[&third]).await.expect("TLS").1, third.der());
    std::fs::remove_file(&old.files.certificate).expect("removed");
    assert!(reload::certificates(gateway).is_ok(), "somebody may be replacing it");
    server.running.stop().await;
}

#[tokio::test]
async fn what_is_no_tls_and_who_says_nothing_harm_nobody() {
    let files = Directory::new("tls-garbage");
    files.write("index.html", "hello");
    let web = Pem::write(&files, "web", &["web.example.test"]);
    let server = server(&files.0, |config| {
        anonymous(config);
        with_certificates(config, &[&web]);
        config.tls.as_mut().expect("TLS").handshake_timeout = std::time::Duration::from_millis(100);
    })
    .await;
    let address = *server.running.addresses().last().expect("an address");
    let endless = [b"\x16\x03\x01\xff\xff".as_slice(), &[1; 70_000]].concat();
    for bytes in [&b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"[..], b"\x16\x03\x01\x00\x05\x01\x00\x00\x00\x00", b"", &endless]
    {
        let mut client = TcpStream::connect(address).await.expect("it listens");
        // It may be gone before everything was sent.
        let _ = client.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer).await;
        assert!(!answer.windows(4).any(|window| window == b"HTTP"), "nothing is served without TLS");
    }
    let (mut client, _) = over_tls(&server, "web.example.test", &[&web]).await.expect("TLS");
    assert_eq!(client.get("/", "").await.1, "hello");
    server.running.stop().await;
}

#[tokio::test]
async fn a_server_that_stops_waits_for_no_handshake() {
    let files = Directory::new("tls-stop");
    let web = Pem::write(&files, "web", &["web.example.test"]);
    let server = server(&files.0, |config| {
        with_certificates(config, &[&web]);
        config.tls.as_mut().expect("TLS").handshake_timeout = std::time::Duration::from_secs(3600);
        config.limits.stop_timeout = std::time::Duration::from_secs(3600);
    })
    .await;
    let mut silent =
        TcpStream::connect(server.running.addresses().last().expect("an address")).await.expect("it listens");
    server.running.stop().await;
    assert!(matches!(silent.read(&mut [0; 1]).await, Ok(0) | Err(_)));
}

#[tokio::test]
async fn a_reload_without_tls_leaves_its_listeners_what_they_had() {
    let files = Directory::new("tls-gone");
    files.write("index.html", "hello");
    let web = Pem::write(&files, "web", &["web.example.test"]);
    let server = server(&files.0, |config| {
        anonymous(config);
        with_certificates(config, &[&web]);
    })
    .await;
    let file = files.0.join("iwa.toml");
    let text = "[server]\nlisten = [\"127.0.0.1:0\"]\n[authentication]\nanonymous = true\n[[route]]\npath = \"/\"\n";
    std::fs::write(&file, text).expect("written");
    reload::configuration(&server.running.gateway, Some(&file)).await.expect("a good one");
    let (mut client, _) = over_tls(&server, "web.example.test", &[&web]).await.expect("TLS");
    assert!(client.get("/", "").await.0.starts_with("HTTP/1.1 200 "));
    server.running.stop().await;
}
