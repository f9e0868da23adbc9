//! The bodies on their way through: the request's, while it is read, and the answer's. RFC 9110 6.4, 6.5.

use core::pin::Pin;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::task::{Context, Poll};
use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};

use super::super::body::BodyError;
use super::super::exchange::RequestId;
use super::super::identity::protected::Protected;
use super::super::patience::Presence;
use super::headers::clean_trailers;
use super::pool::Lease;

/// The body of a request to an application.
pub(crate) struct Onward {
    body: Option<Incoming>,
    progress: Option<Arc<Progress>>,
    /// What only this server says to the application, in trailers neither.
    protected: Option<Arc<Protected>>,
}

/// How far a body came.
#[derive(Debug, Default)]
pub(super) struct Progress {
    frames: AtomicU64,
    /// The client owes the next piece.
    waits_for_client: AtomicBool,
}

impl Progress {
    pub(super) fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }

    pub(super) fn waits_for_client(&self) -> bool {
        self.waits_for_client.load(Ordering::Relaxed)
    }
}

impl Onward {
    /// A client's body as it arrives; whatever is at its end already is none.
    pub(super) fn new(body: Option<Incoming>, protected: &Arc<Protected>) -> Self {
        let body = body.filter(|body| !body.is_end_stream());
        let progress = body.is_some().then(Arc::default);
        Self { body, progress, protected: Some(Arc::clone(protected)) }
    }

    /// Nothing.
    pub(super) fn empty() -> Self {
        Self { body: None, progress: None, protected: None }
    }

    /// Whether there is nothing in it, so that it can be sent again.
    pub(super) const fn is_empty(&self) -> bool {
        self.body.is_none()
    }

    pub(super) fn progress(&self) -> Option<Arc<Progress>> {
        self.progress.clone()
    }

    /// The client's body, of which nothing was read.
    pub(super) fn into_unread(self) -> Option<Incoming> {
        self.body
    }
}

impl HttpBody for Onward {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let (Some(body), Some(progress)) = (&mut this.body, &this.progress) else { return Poll::Ready(None) };
        let frame = Pin::new(body).poll_frame(context);
        progress.waits_for_client.store(frame.is_pending(), Ordering::Relaxed);
        progress.frames.fetch_add(u64::from(frame.is_ready()), Ordering::Relaxed);
        frame.map_ok(|frame| {
            let mut frame = cleaned(frame);
            if let (Some(trailers), Some(protected)) = (frame.trailers_mut(), &this.protected) {
                protected.strip(trailers);
            }
            frame
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

/// The body of an application's answer. Holds the connection that it comes over, and gives it back at the end.
pub(crate) struct Returning {
    id: RequestId,
    body: Incoming,
    lease: Option<Lease>,
    /// How long the application may be silent.
    patience: Duration,
    silence: Option<Pin<Box<Sleep>>>,
    client: Option<Arc<Presence>>,
}

impl Returning {
    pub(super) fn new(
        id: RequestId,
        body: Incoming,
        lease: Lease,
        patience: Duration,
        client: Option<Arc<Presence>>,
    ) -> Self {
        let mut returning = Self { id, body, lease: Some(lease), patience, silence: None, client };
        returning.give_back_at_the_end();
        returning
    }

    fn give_back_at_the_end(&mut self) {
        if self.body.is_end_stream()
            && let Some(lease) = self.lease.take()
        {
            lease.give_back();
        }
    }

    /// The client's connection ends with it: it must not take what it has for the whole.
    fn fails(&mut self, why: &dyn core::fmt::Display) {
        if let Some(lease) = self.lease.take() {
            let upstream = lease.target();
            tracing::warn!(id = %self.id, %upstream, %why, "the application did not finish its answer, and the client's connection ends with it");
        }
    }
}

impl HttpBody for Returning {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                this.silence = None;
                this.give_back_at_the_end();
                Poll::Ready(Some(Ok(cleaned(frame))))
            }
            Poll::Ready(Some(Err(error))) => {
                this.fails(&super::send::in_full(&error));
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Ready(None) => {
                if let Some(lease) = this.lease.take() {
                    lease.give_back();
                }
                Poll::Ready(None)
            }
            Poll::Pending => {
                if this.client.as_ref().is_some_and(|client| client.poll_gone(context).is_ready()) {
                    return Poll::Ready(Some(Err("the client is gone".into())));
                }
                let patience = this.patience;
                let silence = this.silence.get_or_insert_with(|| Box::pin(sleep(patience)));
                if silence.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                silence.as_mut().reset(Instant::now() + patience);
                let why = format!("it was silent for {} s (idle-timeout)", patience.as_secs());
                this.fails(&why);
                Poll::Ready(Some(Err(why.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn cleaned(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            clean_trailers(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}
