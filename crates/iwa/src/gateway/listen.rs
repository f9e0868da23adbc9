//! Listening, one task a connection, and stopping in order.

use core::time::Duration;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use iwa_http::Connection;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use super::Gateway;
use super::handle::handle;
use super::patience::Patience;
use crate::config::Limits;

/// Binds every address, so that one that cannot be had is known before anything is served.
pub(crate) async fn bind(addresses: &[SocketAddr]) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for address in addresses {
        let listener = TcpListener::bind(address).await;
        listeners.push(listener.map_err(|error| io::Error::new(error.kind(), cannot_listen(*address, &error)))?);
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
    listeners: Vec<TcpListener>,
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
    listener: TcpListener,
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
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            () = stopped(&mut stop) => return,
            next = next => next,
        };
        match accepted {
            Ok((stream, peer)) => {
                let connection = connection(Arc::clone(&gateway), stream, peer, &limits, &graceful);
                tokio::spawn(async move {
                    connection.await;
                    drop(permit);
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

fn connection(
    gateway: Arc<Gateway>,
    stream: TcpStream,
    peer: SocketAddr,
    limits: &Limits,
    graceful: &GracefulShutdown,
) -> impl Future<Output = ()> + use<> {
    // Small answers go out at once: each leg of a handshake waits for one.
    let _ = stream.set_nodelay(true);
    let local = stream.local_addr().unwrap_or(peer);
    let connection = Arc::new(Connection::plain(peer, local));
    let (stream, answering) = Patience::new(stream, limits.header_timeout, limits.idle_timeout);
    let service = service_fn(move |request| {
        let answer = handle(Arc::clone(&gateway), Arc::clone(&connection), request);
        let answering = answering.clone();
        answering.begins();
        async move {
            let answer = answer.await;
            answering.ends();
            Ok::<_, core::convert::Infallible>(answer)
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle_timeout)
        .max_buf_size(limits.header.max(SMALLEST_BUFFER))
        .max_header_size(limits.header)
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    let served = graceful.watch(served);
    let limit = limits.header;
    async move {
        if let Err(error) = served.await {
            report(&error, peer, limit);
        }
    }
}

fn report(error: &hyper::Error, client: SocketAddr, limit: usize) {
    if error.is_parse_too_large() {
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
