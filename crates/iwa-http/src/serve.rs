//! A small server for tower services, which gives each connection the [`Connection`] that signing in needs. RFC 9112.

use core::convert::Infallible;
use core::future::Future;
use core::time::Duration;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use iwa_auth::ChannelBindings;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower_service::Service;

use crate::connection::Connection;

/// Serves until the listener fails: each request to a clone of `service`, with its connection in the extensions.
///
/// HTTP/1.1, which is what NTLM needs. Behind a proxy that ends TLS this is all there is to it; for TLS of its own there is
/// [`Server`].
///
/// # Errors
/// The listener's.
pub async fn serve<S, R>(listener: TcpListener, service: S) -> io::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<R>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<Box<dyn core::error::Error + Send + Sync>>,
{
    Server::new(listener).run(service, core::future::pending()).await
}

/// [`serve()`] with more to say: TLS, an end.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    tls: Option<Tls>,
}

struct Tls {
    acceptor: TlsAcceptor,
    bindings: ChannelBindings,
}

impl core::fmt::Debug for Tls {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Tls")
    }
}

impl Server {
    /// Of this listener.
    #[must_use]
    pub const fn new(listener: TcpListener) -> Self {
        Self { listener, tls: None }
    }

    /// Over TLS. `certificate` is the server's own, in DER, that `config` shows: clients are tied to it (RFC 5929 4).
    ///
    /// # Errors
    /// It cannot be read.
    pub fn with_tls(self, config: ServerConfig, certificate: &[u8]) -> io::Result<Self> {
        let unreadable = |_| io::Error::new(io::ErrorKind::InvalidData, "the certificate cannot be read");
        let bindings = ChannelBindings::of_certificate(certificate).map_err(unreadable)?;
        Ok(Self { tls: Some(Tls { acceptor: TlsAcceptor::from(Arc::new(config)), bindings }), ..self })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The socket's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `end` is ready, then lets requests under way end, for thirty seconds.
    ///
    /// # Errors
    /// The listener's.
    pub async fn run<S, R>(self, service: S, end: impl Future<Output = ()>) -> io::Result<()>
    where
        S: Service<Request<Incoming>, Response = Response<R>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
        R: Body<Data = Bytes> + Send + 'static,
        R::Error: Into<Box<dyn core::error::Error + Send + Sync>>,
    {
        let (stop, stopping) = watch::channel(false);
        let mut connections = JoinSet::new();
        let mut end = core::pin::pin!(end);
        loop {
            let accepted = tokio::select! {
                () = &mut end => break,
                accepted = self.listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                // A client that is gone already, or no descriptor for it: the listener stands.
                Err(error) if is_of_the_client(&error) => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let _ = stream.set_nodelay(true);
            let local = stream.local_addr().unwrap_or(peer);
            let (service, stopping) = (service.clone(), stopping.clone());
            match &self.tls {
                None => {
                    let connection = Connection::plain(peer, local);
                    connections.spawn(one(stream, connection, service, stopping));
                }
                Some(Tls { acceptor, bindings }) => {
                    let (handshake, bindings) = (acceptor.accept(stream), bindings.clone());
                    connections.spawn(async move {
                        if let Ok(Ok(stream)) = tokio::time::timeout(PATIENCE, handshake).await {
                            one(stream, Connection::tls(peer, local, bindings), service, stopping).await;
                        }
                    });
                }
            }
        }
        let _ = stop.send(true);
        let ended = async { while connections.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(PATIENCE, ended).await;
        Ok(())
    }
}

async fn one<T, S, R>(stream: T, connection: Connection, service: S, mut stopping: watch::Receiver<bool>)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<R>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<Box<dyn core::error::Error + Send + Sync>>,
{
    let connection = Arc::new(connection);
    let peer = connection.peer();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Arc::clone(&connection));
        let mut service = service.clone();
        async move {
            core::future::poll_fn(|context| service.poll_ready(context)).await?;
            service.call(request).await
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        // Windows builds tokens of up to 48,000 bytes, 64,000 in base64.
        .max_buf_size(LARGEST_HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut served = core::pin::pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = told(&mut stopping) => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(client = %peer, %error, "the connection ended");
    }
}

async fn told(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stop| *stop).await;
}

fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    // 23 and 24 are ENFILE and EMFILE.
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
        || matches!(error.raw_os_error(), Some(23 | 24))
}

const PATIENCE: Duration = Duration::from_secs(30);
const LARGEST_HEAD: usize = 128 << 10;
