//! HTTP/2 to clients. RFC 9113; the rapid reset of CVE-2023-44487, the CONTINUATION flood of VU#421644.
//!
//! A connection carries many requests at once, and proxies send those of several clients over one. So each stream has an
//! [`iwa_http::Connection`] of its own, that knows nobody and is forgotten with it: who somebody is, their request says by
//! itself. Kerberos does, in one leg. A handshake of several legs (NTLM) cannot; its stream is reset with HTTP_1_1_REQUIRED,
//! upon which clients come back with HTTP/1.1.

use core::pin::{Pin, pin};
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use core::task::{Context, Poll};
use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{COOKIE, HeaderMap, HeaderValue};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use iwa_auth::reject::{Policy, Reason};
use iwa_http::Connection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use super::Gateway;
use super::body::{Body, BodyError};
use super::handle::handle;
use super::listen::{Place, stopped};
use super::patience::Patience;
use crate::config::Limits;

/// Serves a connection until its client ends it, is silent for too long, or the server stops.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    gateway: Arc<Gateway>,
    stream: S,
    connection: Connection,
    limits: &Limits,
    stop: &mut watch::Receiver<bool>,
    place: Place,
) {
    let peer = connection.peer();
    let pace = Pace::default();
    let stream = Patience::of_frames(stream, limits.idle_timeout);
    let paced = pace.clone();
    let service = service_fn(move |request| {
        let answer = handle(Arc::clone(&gateway), Arc::new(connection.stream()), None, request);
        let busy = paced.busy();
        async move { Ok::<_, h2::Error>(answer.await?.map(|body| Paced::new(body, busy))) }
    });
    let served = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(MOST_STREAMS)
        .max_header_list_size(u32::try_from(limits.header).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(MOST_RESETS)
        .max_local_error_reset_streams(MOST_ERRORS)
        .max_send_buf_size(SEND_BUFFER)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(limits.idle_timeout / 2)
        .keep_alive_timeout(limits.header_timeout)
        .serve_connection(TokioIo::new(stream), service);
    let mut served = pin!(served);
    let ended = tokio::select! {
        ended = &mut served => Some(ended),
        () = stopped(stop) => None,
        () = pace.rests(limits.idle_timeout) => None,
    };
    let ended = match ended {
        Some(ended) => Ok(ended),
        None => {
            // GOAWAY: requests under way are answered, others are not taken.
            served.as_mut().graceful_shutdown();
            tokio::select! {
                ended = &mut served => Ok(ended),
                () = pace.rests(limits.header_timeout) => Err("it does not take what was asked for, and is cut"),
            }
        }
    };
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(client = %peer, %error, "the connection ended"),
        Err(why) => tracing::debug!(client = %peer, "{why}"),
    }
    // A server that stops waits for whoever has one of these.
    drop(place);
}

/// Whether a request cannot be answered on a stream: its client needs a connection to itself.
pub(super) const fn wants_http11(reason: Option<&Reason>) -> bool {
    matches!(reason, Some(Reason::Policy(Policy::NotOnThisConnection { .. })))
}

/// One `Cookie`, as everybody but HTTP/2 has it. RFC 9113 8.2.3.
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(COOKIE).iter();
    if let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) {
        let mut joined = [first.as_bytes(), second.as_bytes()].join(&b"; "[..]);
        for crumb in crumbs {
            joined.extend_from_slice(b"; ");
            joined.extend_from_slice(crumb.as_bytes());
        }
        // What its parts may hold, the whole may.
        match HeaderValue::from_maybe_shared(Bytes::from(joined)) {
            Ok(joined) => drop(headers.insert(COOKIE, joined)),
            Err(_) => drop(headers.remove(COOKIE)),
        }
    }
}

/// Whether anything happens on a connection, and whether it is up to the client.
#[derive(Clone, Default)]
struct Pace(Arc<Counts>);

#[derive(Default)]
struct Counts {
    /// Answers that the server, or an application behind it, is at.
    busy: AtomicUsize,
    /// Counts whatever happens.
    events: AtomicU64,
}

impl Pace {
    fn busy(&self) -> Busy {
        self.0.busy.fetch_add(1, Ordering::Relaxed);
        Busy(self.clone())
    }

    fn happens(&self) {
        self.0.events.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns once nothing happened for so long (at least; at most twice that), and nothing could without the client.
    async fn rests(&self, longest: Duration) {
        loop {
            let before = self.0.events.load(Ordering::Relaxed);
            tokio::time::sleep(longest).await;
            if self.0.busy.load(Ordering::Relaxed) == 0 && self.0.events.load(Ordering::Relaxed) == before {
                return;
            }
        }
    }
}

/// Somebody other than the client is at work.
struct Busy(Pace);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.happens();
        self.0.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A body that tells whether its source or its client is waited for.
struct Paced {
    body: Body,
    busy: Busy,
    /// Whether its source is.
    waits: bool,
}

impl Paced {
    fn new(body: Body, busy: Busy) -> Self {
        let mut paced = Self { body, busy, waits: true };
        // Until it is asked for something, it is the client's window that is waited for.
        paced.waits(false);
        paced
    }

    fn waits(&mut self, waits: bool) {
        let counts = &self.busy.0.0;
        if self.waits && !waits {
            counts.busy.fetch_sub(1, Ordering::Relaxed);
        } else if waits && !self.waits {
            counts.busy.fetch_add(1, Ordering::Relaxed);
        }
        self.waits = waits;
    }
}

impl Drop for Paced {
    fn drop(&mut self) {
        // [`Busy`] counts down once more.
        self.waits(true);
    }
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let frame = Pin::new(&mut this.body).poll_frame(context);
        this.busy.0.happens();
        this.waits(frame.is_pending());
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Requests of one connection at once. Browsers want 100 or more.
const MOST_STREAMS: u32 = 128;

/// Streams that a client opened and reset before anybody looked at them; more end the connection.
const MOST_RESETS: usize = 20;

/// Streams that were reset because the client broke a rule; more end the connection.
const MOST_ERRORS: usize = 64;

/// Bytes of one answer that wait for the client's window.
const SEND_BUFFER: usize = 64 << 10;

/// Bytes of one request's body that may wait for whoever reads it.
const STREAM_WINDOW: u32 = 256 << 10;

/// The same of a whole connection.
const CONNECTION_WINDOW: u32 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crumbs_are_one_cookie() {
        let mut headers = HeaderMap::new();
        for crumb in ["a=1", "b=2; c=3", "d=4"] {
            headers.append(COOKIE, HeaderValue::from_static(crumb));
        }
        join_cookies(&mut headers);
        assert_eq!(headers.get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2; c=3; d=4"]);
        join_cookies(&mut headers);
        assert_eq!(headers[COOKIE], "a=1; b=2; c=3; d=4");
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_client_that_is_waited_for_rests() {
        let pace = Pace::default();
        let second = Duration::from_secs(1);
        let rests = async |pace: &Pace| tokio::time::timeout(second * 100, pace.rests(second)).await.is_ok();
        assert!(rests(&pace).await);
        let busy = pace.busy();
        assert!(!rests(&pace).await, "an answer is being made");
        let body = Paced::new(Body::of("hello"), busy);
        assert!(rests(&pace).await, "nobody takes it");
        drop(body);
        assert!(rests(&pace).await);
        assert_eq!(pace.0.busy.load(Ordering::Relaxed), 0);
    }
}
