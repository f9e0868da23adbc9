//! One connection to the server, kept for all requests of a page: what authenticates may be the connection.

use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use iwa_auth::ChannelBindings;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Failure;
use super::url::Url;

pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// What a token on it is tied to.
    pub(crate) bindings: ChannelBindings,
}

impl Connection {
    /// Opens one; `tls` must be there for `https`.
    pub(crate) async fn open(url: &Url, tls: Option<&Arc<ClientConfig>>) -> Result<Self, Failure> {
        let authority = url.authority();
        let failed = |what: &str| Failure::unreachable(format!("{authority}: {what}"));
        let stream = tokio::time::timeout(CONNECT, TcpStream::connect((url.host.as_str(), url.port)))
            .await
            .map_err(|_| failed("no connection within 15 seconds"))?
            .map_err(|error| failed(&error.to_string()))?;
        let _ = stream.set_nodelay(true);
        let Some(tls) = tls else {
            return Self::over(stream, ChannelBindings::none()).await.map_err(|error| failed(&error.to_string()));
        };
        let name = ServerName::try_from(url.host.clone())
            .map_err(|_| failed("this is no name that a certificate could have"))?;
        let stream = tokio::time::timeout(CONNECT, TlsConnector::from(Arc::clone(tls)).connect(name, stream))
            .await
            .map_err(|_| failed("no TLS within 15 seconds"))?
            .map_err(|error| failed(&format!("TLS: {}", not_trusted(&error))))?;
        let bindings = iwa_domain::tls::bindings(stream.get_ref().1);
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

    /// Whether it can carry another request.
    pub(crate) async fn is_open(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    pub(crate) async fn send(&mut self, request: Request<Bytes>) -> Result<Response<Incoming>, Failure> {
        if !self.is_open().await {
            return Err(Failure::unreachable(
                "the server closed the connection in the middle of the handshake, which is the connection's and not the \
                 request's; a proxy between may not keep connections open",
            ));
        }
        let answer = self.sender.send_request(request.map(Full::new)).await;
        answer.map_err(|error| Failure::unreachable(format!("no answer: {error}")))
    }
}

fn not_trusted(error: &std::io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "nobody whom this system trusts vouches for the server's certificate; --cacert names an authority of your own"
                .to_owned()
        }
        Some(error) => error.to_string(),
        None => error.to_string(),
    }
}

/// Reads a body to its end and forgets it: the connection is free then.
pub(crate) async fn discard(body: Incoming) -> Result<(), Failure> {
    copy(body, |_| Ok(())).await
}

/// Hands a body to `write`, piece by piece.
pub(crate) async fn copy(
    mut body: Incoming,
    mut write: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Failure::unreachable(format!("the answer breaks off: {error}")))?;
        if let Some(bytes) = frame.data_ref() {
            write(bytes)?;
        }
    }
    Ok(())
}

const CONNECT: Duration = Duration::from_secs(15);

/// Bytes of an answer's head: a token may be 64 KiB before base64.
const LARGEST_HEAD: usize = 256 << 10;
