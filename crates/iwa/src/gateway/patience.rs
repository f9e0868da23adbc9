//! How long a client may take over the head of a request, once it began: `headerWaitTimeout` of HTTP.sys; and how long it may
//! take nothing of its answer.
//!
//! hyper knows one limit, from the end of one request to the end of the next one's head; that is how long a connection may
//! be idle. A client that sends its head a byte a minute would use all of it, again and again. One that reads nothing, and
//! asks until the socket is full, would keep its connection for ever, before anybody knows who it is.

use core::pin::Pin;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// A stream on which a head, once begun, must end in time.
pub(crate) struct Patience<S> {
    stream: S,
    limit: Duration,
    turns: Arc<AtomicU64>,
    /// Runs while a head is being read, and belongs to this turn.
    deadline: Option<(u64, Pin<Box<Sleep>>)>,
    /// How long a write may wait for the client.
    longest_stall: Duration,
    /// Runs while one waits.
    stalled: Option<Pin<Box<Sleep>>>,
    presence: Arc<Presence>,
    /// What was read while nobody but [`Presence`] wanted to know.
    ahead: Vec<u8>,
}

/// Counts up when a request, whose head is whole then, begins to be answered, and when it was: odd while one is.
#[derive(Clone)]
pub(crate) struct Answering {
    turns: Arc<AtomicU64>,
    presence: Arc<Presence>,
}

impl Answering {
    pub(crate) fn begins(&self) {
        self.presence.watched.store(false, Ordering::Relaxed);
        self.turns.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn ends(&self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the client is there still: see [`Presence`].
    pub(crate) fn presence(&self) -> &Arc<Presence> {
        &self.presence
    }
}

/// Whether a client is there still that waits for its answer.
///
/// hyper looks for more of a client when it is done with the answer, as a client may close its own half and wait. Where an
/// application works for the answer, that is too late: whoever closes is taken for gone there. Looking is done on the occasion of
/// hyper's flushing, which it does whenever it is woken.
#[derive(Default)]
pub(crate) struct Presence {
    watched: AtomicBool,
    gone: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Presence {
    /// Ready when the client has closed its connection.
    pub(crate) fn poll_gone(&self, context: &Context<'_>) -> Poll<()> {
        let mut waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if self.gone.load(Ordering::Relaxed) {
            return Poll::Ready(());
        }
        self.watched.store(true, Ordering::Relaxed);
        match &mut *waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }

    fn is_gone(&self) {
        let mut waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        self.gone.store(true, Ordering::Relaxed);
        if let Some(waker) = waker.take() {
            waker.wake();
        }
    }
}

impl<S> Patience<S> {
    /// Gives the client `limit` for the head of a request, and `longest_stall` for taking something of an answer.
    pub(crate) fn new(stream: S, limit: Duration, longest_stall: Duration) -> (Self, Answering) {
        let turns = Arc::new(AtomicU64::new(0));
        let presence = Arc::<Presence>::default();
        let answering = Answering { turns: Arc::clone(&turns), presence: Arc::clone(&presence) };
        let ahead = Vec::new();
        (Self { stream, limit, turns, deadline: None, longest_stall, stalled: None, presence, ahead }, answering)
    }

    /// For a protocol that tells its heads apart by itself: only `longest_stall` holds.
    pub(crate) fn of_frames(stream: S, longest_stall: Duration) -> Self {
        let turns = Arc::new(AtomicU64::new(1));
        let (presence, ahead) = (Arc::default(), Vec::new());
        Self { stream, limit: longest_stall, turns, deadline: None, longest_stall, stalled: None, presence, ahead }
    }

    fn unless_stalled(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let longest = self.longest_stall;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(longest)));
        match stalled.as_mut().poll(context) {
            Poll::Ready(()) => {
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing of its answer")))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> Patience<S> {
    /// What was read ahead, else what there is.
    fn poll_stream(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let length = self.ahead.len().min(buffer.remaining());
        buffer.put_slice(self.ahead.get(..length).unwrap_or_default());
        self.ahead.drain(..length);
        Poll::Ready(Ok(()))
    }

    /// Looks whether the client is there, if somebody wants to know. One that has sent more is.
    fn look(&mut self, context: &mut Context<'_>) {
        let presence = &self.presence;
        if !presence.watched.load(Ordering::Relaxed) || !self.ahead.is_empty() || presence.gone.load(Ordering::Relaxed)
        {
            return;
        }
        let mut bytes = [0; 512];
        let mut buffer = ReadBuf::new(&mut bytes);
        match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => self.ahead.extend_from_slice(buffer.filled()),
            // Whoever reads next finds the same.
            Poll::Ready(_) => presence.is_gone(),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patience<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let turn = this.turns.load(Ordering::Relaxed);
        this.deadline.take_if(|(of, _)| *of != turn);
        if turn % 2 == 1 {
            return this.poll_stream(context, buffer);
        }
        let before = buffer.filled().len();
        match this.poll_stream(context, buffer) {
            Poll::Pending => {
                let over = this.deadline.as_mut().is_some_and(|(_, sleep)| sleep.as_mut().poll(context).is_ready());
                if over {
                    let error = io::Error::new(io::ErrorKind::TimedOut, "the head of a request took too long");
                    return Poll::Ready(Err(error));
                }
                Poll::Pending
            }
            ready => {
                // Nearly always this is the whole head, and the deadline is never waited for.
                if buffer.filled().len() > before && this.deadline.is_none() {
                    this.deadline = Some((turn, Box::pin(sleep(this.limit))));
                }
                ready
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Patience<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.unless_stalled(context, written)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.look(context);
        Pin::new(&mut this.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(context, slices);
        this.unless_stalled(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    async fn wait(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_comes_byte_by_byte_is_cut_off() {
        let (mut client, server) = duplex(64);
        let (mut server, _) = Patience::new(server, LIMIT, LIMIT);
        let reading = tokio::spawn(async move {
            let mut byte = [0; 1];
            loop {
                if let Err(error) = server.read_exact(&mut byte).await {
                    return error.kind();
                }
            }
        });
        for _ in 0..4 {
            client.write_all(b"G").await.expect("room");
            tokio::task::yield_now().await;
            wait(9).await;
        }
        assert_eq!(reading.await.expect("no panic"), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_before_a_head_is_not_the_heads() {
        let (mut client, server) = duplex(64);
        let (mut server, _) = Patience::new(server, LIMIT, LIMIT);
        let mut byte = [0; 1];
        assert!(tokio::time::timeout(LIMIT * 3, server.read_exact(&mut byte)).await.is_err());
        client.write_all(b"G").await.expect("room");
        assert!(server.read_exact(&mut byte).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn silence_after_a_request_is_not_the_last_heads() {
        let (mut client, server) = duplex(64);
        let (mut server, answering) = Patience::new(server, LIMIT, LIMIT);
        let mut byte = [0; 1];
        client.write_all(b"G").await.expect("room");
        server.read_exact(&mut byte).await.expect("the head");
        // Answered without another look at the stream.
        answering.begins();
        answering.ends();
        assert!(tokio::time::timeout(LIMIT * 3, server.read_exact(&mut byte)).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn the_body_of_a_request_takes_its_time() {
        let (mut client, server) = duplex(64);
        let (mut server, answering) = Patience::new(server, LIMIT, LIMIT);
        let mut byte = [0; 1];
        client.write_all(b"G").await.expect("room");
        server.read_exact(&mut byte).await.expect("the head");
        answering.begins();
        assert!(tokio::time::timeout(LIMIT * 3, server.read_exact(&mut byte)).await.is_err());
        answering.ends();
        // The next head has a limit of its own.
        client.write_all(b"G").await.expect("room");
        server.read_exact(&mut byte).await.expect("a byte of it");
        let cut = tokio::time::timeout(LIMIT * 3, server.read_exact(&mut byte)).await.expect("cut off in time");
        assert_eq!(cut.expect_err("cut off").kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_of_its_answer_is_cut_off() {
        let (mut client, server) = duplex(64);
        let (mut server, _) = Patience::new(server, LIMIT, LIMIT);
        let writing = tokio::spawn(async move { server.write_all(&[0; 1024]).await });
        let mut some = [0; 64];
        // Whoever takes a part now and then may go on.
        for _ in 0..4 {
            wait(LIMIT.as_secs() - 1).await;
            client.read_exact(&mut some).await.expect("a part of it");
            tokio::task::yield_now().await;
        }
        let cut = tokio::time::timeout(LIMIT * 2, writing).await.expect("in time").expect("no panic");
        assert_eq!(cut.expect_err("cut off").kind(), io::ErrorKind::TimedOut);
    }
}
