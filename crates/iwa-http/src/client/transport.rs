//! One connection to a server, HTTP/1.1, over TLS or not: what authenticates may be the connection, so it is a value.
//! RFC 9112, RFC 8446, RFC 5929 4.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use iwa_auth::ChannelBindings;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A connection that is open.
#[derive(Debug)]
pub struct Transport {
    sender: SendRequest<Full<Bytes>>,
    bindings: ChannelBindings,
}

/// Why there is no connection, or no answer on it. In words for whoever runs the client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unreachable(String);

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for Unreachable {}

impl Unreachable {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl Transport {
    /// Connects to a host or an address, over TLS if `tls` says how; the server's certificate is verified for the name beside it.
    ///
    /// # Errors
    /// There is no connection within 15 seconds, or no TLS within another 15.
    pub async fn connect(host: &str, port: u16, tls: Option<(&Arc<ClientConfig>, &str)>) -> Result<Self, Unreachable> {
        let failed = |what: &str| Unreachable(format!("{host}:{port}: {what}"));
        let stream = tokio::time::timeout(PATIENCE, TcpStream::connect((host.trim_matches(['[', ']']), port)))
            .await
            .map_err(|_| failed("no connection within 15 seconds"))?
            .map_err(|error| failed(&error.to_string()))?;
        let _ = stream.set_nodelay(true);
        let Some((tls, name)) = tls else {
            return Self::over(stream, ChannelBindings::none()).await.map_err(|error| failed(&error.to_string()));
        };
        let name = ServerName::try_from(name.trim_matches(['[', ']']).to_owned())
            .map_err(|_| failed("this is no name that a certificate could have"))?;
        let stream = tokio::time::timeout(PATIENCE, TlsConnector::from(Arc::clone(tls)).connect(name, stream))
            .await
            .map_err(|_| failed("no TLS within 15 seconds"))?
            .map_err(|error| failed(&format!("TLS: {}", not_trusted(&error))))?;
        // A certificate that cannot be read here was verified by rustls all the same; a server that asks for bindings refuses.
        let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let bindings = leaf.and_then(|leaf| ChannelBindings::of_certificate(leaf).ok()).unwrap_or_default();
        Self::over(stream, bindings).await.map_err(|error| failed(&error.to_string()))
    }

    async fn over<S>(stream: S, bindings: ChannelBindings) -> Result<Self, hyper::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let builder = http1::Builder::new().max_buf_size(LARGEST_HEAD).to_owned();
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            // What goes wrong is told to whoever waits for an answer.
            let _ = connection.await;
        });
        Ok(Self { sender, bindings })
    }

    /// What a token on it is tied to.
    #[must_use]
    pub const fn bindings(&self) -> &ChannelBindings {
        &self.bindings
    }

    /// Whether it can carry another request now: it is open, and the answer before was read to its end.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.sender.is_ready()
    }

    /// Whether it is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Waits until it can carry another request; `false` if it never will.
    pub async fn is_open(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    /// Sends a request, which has its `Host`, and returns the head of the answer.
    ///
    /// # Errors
    /// The connection ended.
    pub async fn send(&mut self, request: Request<Bytes>) -> Result<Response<Incoming>, Unreachable> {
        if !self.is_open().await {
            return Err(Unreachable::new(
                "the server closed the connection in the middle of the handshake, which is the connection's and not the \
                 request's; a proxy between may not keep connections open",
            ));
        }
        let answer = self.sender.send_request(request.map(Full::new)).await;
        answer.map_err(|error| Unreachable(format!("no answer: {error}")))
    }
}

fn not_trusted(error: &std::io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "nobody whom this client trusts vouches for the server's certificate".to_owned()
        }
        Some(error) => error.to_string(),
        None => error.to_string(),
    }
}

const PATIENCE: Duration = Duration::from_secs(15);

/// Bytes of an answer's head: a token may be 64 KiB before base64.
const LARGEST_HEAD: usize = 256 << 10;
