//! Listening, one task a connection, and stopping in order.

use core::pin::pin;
use core::time::Duration;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use iwa_auth::ChannelBindings;
use iwa_http::Connection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::Gateway;
use super::handle::handle;
use super::http2;
use super::patience::Patience;
use super::proxy_protocol::{self, Told};
use super::strict::{Strict, Wire};
use super::systemd::Given;
use super::tls::speaks_http2;
use crate::config::Limits;

/// What a listener's clients speak first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Over {
    /// HTTP.
    Clear,
    /// TLS.
    Tls,
}

/// A port that was had.
pub(crate) struct Listener {
    socket: TcpListener,
    over: Over,
}

impl Listener {
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.socket.local_addr().ok()
    }

    pub(crate) fn url(&self) -> Option<String> {
        let scheme = if self.over == Over::Tls { "https" } else { "http" };
        Some(format!("{scheme}://{}", self.address()?))
    }
}

/// Binds every address that systemd did not bind already, so that one that cannot be had is known before anything is served.
pub(crate) async fn bind(addresses: &[SocketAddr], over: Over, given: &mut Given) -> io::Result<Vec<Listener>> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for address in addresses {
        let socket = match given.take(*address) {
            Some(socket) => socket.set_nonblocking(true).and_then(|()| TcpListener::from_std(socket)),
            None => TcpListener::bind(address).await,
        };
        let socket = socket.map_err(|error| io::Error::new(error.kind(), cannot_listen(*address, &error)))?;
        listeners.push(Listener { socket, over });
    }
    Ok(listeners)
}

fn cannot_listen(address: SocketAddr, error: &io::Error) -> String {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => "; another program has that port",
        io::ErrorKind::PermissionDenied => "; ports below 1024 are for root and whoever has CAP_NET_BIND_SERVICE",
        io::ErrorKind::AddrNotAvailable => "; no interface of this machine has that address",
        _ => "",
    };
    format!("cannot listen on {address}: {error}{advice}")
}

/// Serves until `stop` says so, then lets requests under way end.
pub(crate) async fn serve(
    gateway: Arc<Gateway>,
    listeners: Vec<Listener>,
    limits: Limits,
    stop: watch::Receiver<bool>,
) {
    let room = Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS)));
    let graceful = Arc::new(GracefulShutdown::new());
    let mut tasks = tokio::task::JoinSet::new();
    for listener in listeners {
        tasks.spawn(accept(
            listener,
            Arc::clone(&gateway),
            limits.clone(),
            Arc::clone(&room),
            Arc::clone(&graceful),
            stop.clone(),
        ));
    }
    while tasks.join_next().await.is_some() {}
    let Ok(graceful) = Arc::try_unwrap(graceful) else { return };
    let open = graceful.count();
    if tokio::time::timeout(limits.stop_timeout, graceful.shutdown()).await.is_err() {
        tracing::warn!(open, seconds = limits.stop_timeout.as_secs(), "connections did not end in time and are cut");
    }
}

/// Returns once the server is told to stop.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // If nobody is left to say so, that is as good as being told.
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn accept(
    listener: Listener,
    gateway: Arc<Gateway>,
    limits: Limits,
    room: Arc<Semaphore>,
    graceful: Arc<GracefulShutdown>,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let next = async {
            // The semaphore is never closed.
            let permit = Arc::clone(&room).acquire_owned().await.ok();
            (permit, listener.socket.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            () = stopped(&mut stop) => return,
            next = next => next,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (gateway, limits) = (Arc::clone(&gateway), limits.clone());
                let (over, mut stop, place) = (listener.over, stop.clone(), Place::new(graceful.watcher(), permit));
                tokio::spawn(async move {
                    let _open = gateway.metrics.connection();
                    let mut stream = stream;
                    let local = prepare(&stream, peer);
                    let Some(ends) = ends(&gateway, &mut stream, peer, local, &limits, &mut stop).await else { return };
                    match over {
                        Over::Clear => {
                            connection(gateway, stream, ends.connection(None), &limits, &mut stop, place).await
                        }
                        Over::Tls => tls(gateway, stream, ends, &limits, &mut stop, place).await,
                    }
                });
            }
            Err(error) => {
                // Out of file descriptors, or a client that is gone already. The listener itself stands.
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// A connection's place among those that the server has, and waits for when it stops. Whatever goes on with the connection after an
/// upgrade holds it too.
#[derive(Clone)]
pub(crate) struct Place {
    _held: Arc<(Watcher, Option<OwnedSemaphorePermit>)>,
}

impl Place {
    fn new(watcher: Watcher, permit: Option<OwnedSemaphorePermit>) -> Self {
        Self { _held: Arc::new((watcher, permit)) }
    }
}

/// The two ends of a connection, and who said so if it is not the kernel.
struct Ends {
    client: SocketAddr,
    server: SocketAddr,
    /// With whether the client's TLS ended there.
    relay: Option<(SocketAddr, bool)>,
}

impl Ends {
    fn connection(self, tls: Option<ChannelBindings>) -> Connection {
        let connection = match tls {
            Some(bindings) => Connection::tls(self.client, self.server, bindings),
            None => Connection::plain(self.client, self.server),
        };
        match self.relay {
            Some((relay, secure)) => connection.relayed(relay, secure),
            None => connection,
        }
    }
}

/// Whose connection it is. A relay that has to say so and does not gets no answer.
async fn ends(
    gateway: &Gateway,
    stream: &mut TcpStream,
    peer: SocketAddr,
    local: SocketAddr,
    limits: &Limits,
    stop: &mut watch::Receiver<bool>,
) -> Option<Ends> {
    let own = Ends { client: peer, server: local, relay: None };
    if !gateway.site().config.server.proxy_protocol.have(peer.ip()) {
        return Some(own);
    }
    let told = tokio::select! {
        () = stopped(stop) => return None,
        told = tokio::time::timeout(limits.header_timeout, proxy_protocol::read(stream)) => told,
    };
    match told {
        Ok(Ok(Told::Own)) => Some(own),
        Ok(Ok(Told::Of { client, server, secure })) => Some(Ends { client, server, relay: Some((peer, secure)) }),
        Ok(Err(nothing @ (proxy_protocol::Refused::Nothing | proxy_protocol::Refused::Io(_)))) => {
            tracing::debug!(relay = %peer, "no PROXY header: {nothing}");
            None
        }
        Ok(Err(why)) => {
            tracing::warn!(relay = %peer, "no PROXY header, which proxy-protocol of [server] wants from there: {why}; the connection is cut");
            None
        }
        Err(_) => {
            let seconds = limits.header_timeout.as_secs();
            tracing::warn!(relay = %peer, seconds, "no PROXY header in time, which proxy-protocol of [server] wants from there; the connection is cut");
            None
        }
    }
}

/// Over TLS, for whose handshake a server that stops does not wait.
async fn tls(
    gateway: Arc<Gateway>,
    stream: TcpStream,
    ends: Ends,
    limits: &Limits,
    stop: &mut watch::Receiver<bool>,
    place: Place,
) {
    let Some(certificates) = gateway.site().certificates.clone() else { return };
    let accepted = tokio::select! {
        () = stopped(stop) => return,
        accepted = certificates.accept(stream) => accepted,
    };
    match accepted {
        Ok((stream, bindings)) => {
            let over_tls = ends.connection(Some(bindings));
            if speaks_http2(&stream) {
                http2::serve(gateway, stream, over_tls, limits, stop, place).await;
            } else {
                connection(gateway, stream, over_tls, limits, stop, place).await;
            }
        }
        // Every port scan is one; the operator asks for it who looks for a client's trouble.
        Err(why) => tracing::debug!(client = %ends.client, "no TLS connection: {why}"),
    }
}

/// The address that the client reached.
fn prepare(stream: &TcpStream, peer: SocketAddr) -> SocketAddr {
    // Small answers go out at once: each leg of a handshake waits for one.
    let _ = stream.set_nodelay(true);
    stream.local_addr().unwrap_or(peer)
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    gateway: Arc<Gateway>,
    stream: S,
    connection: Connection,
    limits: &Limits,
    stop: &mut watch::Receiver<bool>,
    place: Place,
) {
    let peer = connection.peer();
    let connection = Arc::new(connection);
    let (stream, wire) = Strict::new(stream, limits.header.max(SMALLEST_BUFFER));
    let (stream, answering) = Patience::new(stream, limits.header_timeout, limits.idle_timeout);
    let seen = Arc::clone(&wire);
    let of_tunnels = place.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        if request.extensions().get::<OnUpgrade>().is_some() {
            request.extensions_mut().insert(of_tunnels.clone());
        }
        // Of what follows a fault nothing is read, so that nobody can tell whether the client is there.
        if seen.fault().is_none() {
            request.extensions_mut().insert(Arc::clone(answering.presence()));
        }
        let answer = handle(Arc::clone(&gateway), Arc::clone(&connection), Some(Arc::clone(&seen)), request);
        let answering = answering.clone();
        answering.begins();
        async move {
            let answer = answer.await;
            // After an upgrade there is no head to wait for.
            if !answer.as_ref().is_ok_and(|answer| answer.status() == StatusCode::SWITCHING_PROTOCOLS) {
                answering.ends();
            }
            answer
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle_timeout)
        .max_buf_size(limits.header.max(SMALLEST_BUFFER))
        .max_header_size(limits.header)
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut served = pin!(served);
    let served = tokio::select! {
        served = &mut served => served,
        () = wire.pins().ended() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
        () = stopped(stop) => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = served {
        report(&error, &wire, peer, limits.header);
    }
}

fn report(error: &hyper::Error, wire: &Wire, client: SocketAddr, limit: usize) {
    if let Some(why) = wire.fault() {
        tracing::info!(%client, "400: not a request as RFC 9112 has it: {why}");
    } else if error.is_parse_too_large() {
        tracing::warn!(%client, limit, "431: the request's headers are longer than the limit, or more than 100; a Kerberos ticket grows with the groups of its user");
    } else if error.is_parse() {
        tracing::info!(%client, %error, "400: this is not HTTP/1.1");
    } else {
        // A client that went away, or was silent for too long.
        tracing::debug!(%client, %error, "the connection ended");
    }
}

/// hyper refuses to work with less.
const SMALLEST_BUFFER: usize = 8192;
