//! `Connection: Upgrade`: WebSocket and whatever else takes a connection over. RFC 9110 7.8, RFC 6455.
//!
//! The request is decided like any other. Only if the application answers 101 do the two connections become one, for as long as
//! either side has something to say.

use core::pin::Pin;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::{Context, Poll};
use core::time::Duration;
use std::io;
use std::sync::Arc;

use http::header::{CONNECTION, UPGRADE};
use http::request::Parts;
use http::{HeaderValue, Version};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional};

use super::super::exchange::RequestId;
use super::super::listen::Place;
use super::headers::tokens;
use super::pool::Lease;

/// What a client that would upgrade asked for.
pub(super) struct Wanted<'a> {
    pub(super) protocol: &'a HeaderValue,
    /// The client's connection, once it is handed over.
    pub(super) client: OnUpgrade,
    /// Its place among the server's connections.
    pub(super) place: Option<Place>,
}

impl<'a> Wanted<'a> {
    /// Of a request that asks for an upgrade which can be handed on.
    pub(super) fn by(request: &'a Parts) -> Option<Self> {
        let client = request.extensions.get::<OnUpgrade>()?.clone();
        if request.version != Version::HTTP_11
            || !tokens(&request.headers, &CONNECTION).any(|t| t.eq_ignore_ascii_case("upgrade"))
        {
            return None;
        }
        let mut values = request.headers.get_all(UPGRADE).iter();
        let protocol = values.next().filter(|_| values.next().is_none())?;
        // HTTP/2 in clear text would carry requests past everything that decides on requests; TLS would hide them.
        let refused = |token: &str| {
            let name = token.split('/').next().unwrap_or_default();
            ["h2c", "h2", "http", "tls"].iter().any(|never| name.eq_ignore_ascii_case(never))
        };
        if tokens(&request.headers, &UPGRADE).any(refused) {
            return None;
        }
        Some(Self { protocol, client, place: request.extensions.get().cloned() })
    }
}

/// Carries bytes between the two until both have ended, or neither has said anything for `patience`.
pub(super) async fn tunnel(
    id: RequestId,
    wanted: (OnUpgrade, Option<Place>),
    application: OnUpgrade,
    patience: Duration,
    lease: Lease,
) {
    let (client, _place) = wanted;
    let (client, application) = match tokio::try_join!(client, application) {
        Ok(both) => both,
        Err(error) => {
            tracing::debug!(%id, %error, "an upgrade did not come about");
            return;
        }
    };
    let heard = Arc::new(AtomicU64::new(0));
    let mut client = Heard { stream: TokioIo::new(client), pieces: Arc::clone(&heard) };
    let mut application = Heard { stream: TokioIo::new(application), pieces: Arc::clone(&heard) };
    let over = tokio::select! {
        copied = copy_bidirectional(&mut client, &mut application) => copied.map(|_| ()),
        () = silence(&heard, patience) => Err(io::Error::new(io::ErrorKind::TimedOut, "both sides were silent (idle-timeout)")),
    };
    if let Err(error) = over {
        tracing::debug!(%id, %error, upstream = %lease.target(), "an upgraded connection ended");
    }
}

/// Ends when nothing was heard for so long.
async fn silence(heard: &AtomicU64, patience: Duration) {
    let mut before = heard.load(Ordering::Relaxed);
    loop {
        tokio::time::sleep(patience).await;
        let now = heard.load(Ordering::Relaxed);
        if now == before {
            return;
        }
        before = now;
    }
}

/// A stream whose pieces are counted as they are read.
struct Heard<S> {
    stream: S,
    pieces: Arc<AtomicU64>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        this.pieces.fetch_add(u64::from(read.is_ready()), Ordering::Relaxed);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
