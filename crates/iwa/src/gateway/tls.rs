//! TLS: which certificate answers a client, and what its token must be tied to. RFC 8446, RFC 6066 3, RFC 5929 4.
//!
//! A connection chooses its certificate once, by the name that the client asks for, and keeps it together with its channel
//! bindings: a certificate that is replaced in the middle of a handshake cannot leave a connection with the bindings of another.

use core::time::Duration;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use iwa_auth::ChannelBindings;
use iwa_wire::x509::name_covers;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{Acceptor, ClientHello};
use rustls::sign::SingleCertAndKey;
use rustls::{ServerConfig, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::assemble::Problem;
use super::certificate::Served;
use super::keytabs::Stamp;
use crate::config::{CertificateFiles, Tls};

/// The certificates of a site.
pub(crate) struct Certificates {
    files: Vec<CertificateFiles>,
    handshake_timeout: Duration,
    /// Whether HTTP/2 is offered (RFC 7301).
    http2: bool,
    /// In the order of the files.
    current: ArcSwap<Vec<Arc<Snapshot>>>,
    /// The files as they were read last, certificate and key.
    stamps: Mutex<Vec<[Stamp; 2]>>,
}

/// One certificate as connections are made with it.
pub(crate) struct Snapshot {
    served: Served,
    config: Arc<ServerConfig>,
}

impl Certificates {
    /// Reads all files.
    ///
    /// # Errors
    /// One of them cannot be used.
    pub(crate) fn open(tls: &Tls, http2: bool) -> Result<Self, Problem> {
        let mut stamps = Vec::new();
        let mut current = Vec::new();
        for files in &tls.certificates {
            // The stamps are older than the bytes or as old, so that a change in between is seen at the next look.
            stamps.push(stamps_of(files)?);
            current.push(Arc::new(Snapshot::read(files, http2).map_err(Problem)?));
        }
        Ok(Self {
            files: tls.certificates.clone(),
            handshake_timeout: tls.handshake_timeout,
            http2,
            current: ArcSwap::from_pointee(current),
            stamps: Mutex::new(stamps),
        })
    }

    /// Reads what changed. A certificate that cannot be used stays what it was.
    ///
    /// # Errors
    /// What is wrong with the new ones, all of it.
    pub(crate) fn refresh(&self) -> Result<(), Problem> {
        let mut stamps = self.stamps.lock().unwrap_or_else(PoisonError::into_inner);
        let mut current = Vec::clone(&self.current.load());
        let mut wrong = Vec::new();
        let mut taken = false;
        for ((files, stamps), snapshot) in self.files.iter().zip(stamps.iter_mut()).zip(&mut current) {
            let changed = stamps.iter().map(Stamp::changed).collect::<Vec<_>>();
            if changed.iter().all(Option::is_none) {
                continue;
            }
            // Remembered before it is read, so that a bad file is reported once and not at every look.
            for (stamp, changed) in stamps.iter_mut().zip(changed) {
                if let Some(changed) = changed {
                    *stamp = changed;
                }
            }
            match Snapshot::read(files, self.http2) {
                Ok(new) => {
                    tracing::info!(
                        certificate = %files.certificate.display(),
                        "the certificate changed and was read anew: {}",
                        new.served.facts.in_words()
                    );
                    *snapshot = Arc::new(new);
                    taken = true;
                }
                Err(why) => wrong.push(format!("the certificate changed and cannot be used: {why}")),
            }
        }
        if taken {
            self.current.store(Arc::new(current));
        }
        if wrong.is_empty() { Ok(()) } else { Err(Problem(wrong.join("\n"))) }
    }

    /// Makes a TLS connection of a stream; with it come the bindings that a client on it may present.
    ///
    /// # Errors
    /// Why there is none, for the log. Nothing secret.
    pub(crate) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> Result<(TlsStream<S>, ChannelBindings), String> {
        let handshake = async {
            let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await.map_err(in_words)?;
            let snapshot = self.choose(&start.client_hello());
            let stream = start.into_stream(Arc::clone(&snapshot.config)).await.map_err(in_words)?;
            Ok((stream, snapshot.served.bindings.clone()))
        };
        tokio::time::timeout(self.handshake_timeout, handshake)
            .await
            .unwrap_or_else(|_| Err(format!("no TLS within {} s", self.handshake_timeout.as_secs())))
    }

    /// The certificate for a client: of the name it asks for, exact before wildcard; without a name, or for one that no
    /// certificate has, the first. Among those that fit, one whose key the client can verify.
    fn choose(&self, hello: &ClientHello<'_>) -> Arc<Snapshot> {
        let current = self.current.load();
        let named = hello.server_name().unwrap_or_default();
        let fits = |snapshot: &&Arc<Snapshot>| snapshot.is_understood(hello.signature_schemes());
        let exact = |snapshot: &&Arc<Snapshot>| snapshot.names().any(|name| name.eq_ignore_ascii_case(named));
        let covers = |snapshot: &&Arc<Snapshot>| snapshot.names().any(|name| name_covers(name, named));
        let all = || current.iter().filter(|_| !named.is_empty());
        let found = all()
            .filter(exact)
            .find(fits)
            .or_else(|| all().filter(covers).find(fits))
            .or_else(|| all().find(exact))
            .or_else(|| all().find(covers))
            .or_else(|| current.first());
        Arc::clone(found.expect("a configuration with [tls] has at least one certificate"))
    }
}

impl Snapshot {
    fn read(files: &CertificateFiles, http2: bool) -> Result<Self, String> {
        let served = Served::read(files)?;
        let config =
            server_config(&served, http2).map_err(|error| format!("{}: {error}", files.certificate.display()))?;
        Ok(Self { served, config: Arc::new(config) })
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.served.facts.names.iter().map(String::as_str)
    }

    fn is_understood(&self, schemes: &[SignatureScheme]) -> bool {
        self.served.key.key.choose_scheme(schemes).is_some()
    }
}

/// TLS 1.2 and 1.3 as rustls has them by default, for one certificate. Each has its own session tickets: a session is resumed
/// with the certificate that it was made with, or not at all, so that the client's channel bindings stay right.
fn server_config(served: &Served, http2: bool) -> Result<ServerConfig, rustls::Error> {
    let key = rustls::sign::CertifiedKey::clone(&served.key);
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    if http2 {
        config.alpn_protocols.push(HTTP2.to_vec());
    }
    config.alpn_protocols.push(b"http/1.1".to_vec());
    Ok(config)
}

/// HTTP/2 as ALPN calls it. RFC 9113 3.2.
const HTTP2: &[u8] = b"h2";

/// Whether HTTP/2 was agreed on.
pub(crate) fn speaks_http2<S>(stream: &TlsStream<S>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(HTTP2)
}

fn provider() -> CryptoProvider {
    aws_lc_rs::default_provider()
}

fn stamps_of(files: &CertificateFiles) -> Result<[Stamp; 2], Problem> {
    let stamp =
        |path: &Path| Stamp::of(path).map_err(|error| Problem(format!("{} cannot be read: {error}", path.display())));
    Ok([stamp(&files.certificate)?, stamp(&files.key)?])
}

/// A handshake that failed. What the client may have meant is said where it can be told.
#[allow(clippy::needless_pass_by_value, reason = "it is what `map_err` hands over")]
fn in_words(error: std::io::Error) -> String {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidMessage(_)) => {
            format!("the client does not speak TLS, perhaps http:// to a port for https:// ({error})")
        }
        Some(rustls::Error::AlertReceived(alert)) => {
            format!(
                "the client ended it ({alert:?}); it may not trust the certificate, or not for the name it asked for"
            )
        }
        _ => error.to_string(),
    }
}
