//! A new connection to an application: TCP or a Unix socket, TLS, and the version of HTTP that both speak. RFC 9112, RFC 9113 3.

use core::time::Duration;
use std::io;
use std::sync::Arc;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::body::Onward;
use super::failure::{Failure, Why};
use super::target::{Place, Target};
use crate::config::ToHttp2;

/// How connections are made.
#[derive(Debug)]
pub(super) struct Dialer {
    pub(super) tls: Option<Tls>,
    pub(super) http2: ToHttp2,
    pub(super) timeout: Duration,
}

/// TLS towards an application.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    /// Offers HTTP/1.1 alone.
    pub(super) http1: Arc<ClientConfig>,
    /// Offers HTTP/2, too.
    pub(super) both: Arc<ClientConfig>,
    /// The name that the certificate must have.
    pub(super) name: ServerName<'static>,
}

/// Who wants to know that a connection ended.
pub(super) type Ended = Box<dyn FnOnce() + Send>;

/// A connection over which requests go.
#[derive(Debug)]
pub(super) enum Link {
    Http1(http1::SendRequest<Onward>),
    Http2(http2::SendRequest<Onward>),
}

impl Dialer {
    /// Connects. With `http1_only` the connection can be upgraded, or be one client's own.
    /// `ended` is called once when it ends, if it is HTTP/1.1.
    pub(super) async fn dial(&self, target: &Target, http1_only: bool, ended: Option<Ended>) -> Result<Link, Failure> {
        match tokio::time::timeout(self.timeout, self.dial_patiently(target, http1_only, ended)).await {
            Ok(dialed) => dialed,
            Err(_) => Err(Failure::new(
                Why::ConnectTimeout,
                format!(
                    "{target} took longer than {} s to connect (connect-timeout): is it up, and does no firewall drop what goes \
                     there?",
                    self.timeout.as_secs_f32()
                ),
            )),
        }
    }

    async fn dial_patiently(&self, target: &Target, http1_only: bool, ended: Option<Ended>) -> Result<Link, Failure> {
        match &target.place {
            Place::Tcp(host, port) => {
                let stream = TcpStream::connect((host.as_str(), *port)).await;
                let stream = stream.map_err(|error| unreachable(target, &error))?;
                // Requests go out at once.
                let _ = stream.set_nodelay(true);
                match &self.tls {
                    Some(tls) => self.over_tls(tls, target, stream, http1_only, ended).await,
                    None => self.over(target, stream, (http1_only, false), ended).await,
                }
            }
            #[cfg(unix)]
            Place::Unix(path) => {
                let stream = tokio::net::UnixStream::connect(path).await;
                self.over(target, stream.map_err(|error| unreachable(target, &error))?, (http1_only, false), ended)
                    .await
            }
            #[cfg(not(unix))]
            Place::Unix(_) => Err(Failure::new(Why::Unreachable, format!("{target}: there are no such sockets here"))),
        }
    }

    async fn over_tls(
        &self,
        tls: &Tls,
        target: &Target,
        stream: TcpStream,
        http1_only: bool,
        ended: Option<Ended>,
    ) -> Result<Link, Failure> {
        let config = if http1_only || self.http2 == ToHttp2::Never { &tls.http1 } else { &tls.both };
        let connector = TlsConnector::from(Arc::clone(config));
        let stream = connector.connect(tls.name.clone(), stream).await.map_err(|error| {
            Failure::new(
                Why::Tls,
                format!(
                    "TLS with {target} failed: {error}; its certificate must be for \"{}\" (or server-name say for whom) and of an \
                     authority of this system or of `ca`",
                    tls.name.to_str()
                ),
            )
        })?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        self.over(target, stream, (http1_only, http2), ended).await
    }

    async fn over<S>(
        &self,
        target: &Target,
        stream: S,
        (http1_only, http2): (bool, bool),
        ended: Option<Ended>,
    ) -> Result<Link, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let failed = |error: hyper::Error| Failure::new(Why::Died, format!("HTTP with {target} cannot begin: {error}"));
        if http2 || (self.http2 == ToHttp2::PriorKnowledge && !http1_only) {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder.timer(TokioTimer::new()).max_header_list_size(LONGEST_HEAD as u32).adaptive_window(true);
            let (send, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(failed)?;
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection to an application ended");
                }
            });
            return Ok(Link::Http2(send));
        }
        let mut builder = http1::Builder::new();
        builder.max_buf_size(LONGEST_HEAD).max_header_size(LONGEST_HEAD);
        let (send, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(failed)?;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "a connection to an application ended");
            }
            if let Some(ended) = ended {
                ended();
            }
        });
        Ok(Link::Http1(send))
    }
}

/// Why there is no connection.
fn unreachable(target: &Target, error: &io::Error) -> Failure {
    // The resolver's errors have no number of the system.
    if error.raw_os_error().is_none() && matches!(&target.place, Place::Tcp(..)) {
        return Failure::new(
            Why::Unresolved,
            format!("{target} cannot be found: {error}; does the name resolve on this machine?"),
        );
    }
    Failure::new(
        Why::Unreachable,
        format!("{target} cannot be connected to: {error}; is the application running, and is that where it listens?"),
    )
}

/// The longest head of an answer that is taken, in bytes.
const LONGEST_HEAD: usize = 64 << 10;
