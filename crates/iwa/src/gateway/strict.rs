//! A stream that hands hyper only requests of which there is one reading, and takes the rest of what a client sends before it
//! closes. RFC 9112 9.6, 11.2.
//!
//! What the grammar refuses in a head, hyper must answer, after the requests before it: it gets in its place what it
//! refuses too. In a body hyper gets an error, and the request's answer is 400 if it has none yet.

use core::pin::Pin;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::io;
use std::sync::{Arc, OnceLock};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::framing::{Fault, Framing};
use super::proxy::pinned::Pins;

/// The stream.
pub(crate) struct Strict<S> {
    stream: S,
    framing: Framing,
    wire: Arc<Wire>,
    /// The rest of what the client sends is read and thrown away until then.
    lingers: Option<Pin<Box<Sleep>>>,
    is_shut: bool,
    at_end: bool,
    /// What hyper has not been given yet of [`REFUSED`].
    refused: &'static [u8],
}

/// What is known of the bytes of a client's connection, and what belongs to it.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    fault: OnceLock<Fault>,
    requests: AtomicU64,
    switched: AtomicBool,
    pins: Arc<Pins>,
}

impl Wire {
    /// A request begins; its number on the connection, from 1.
    pub(crate) fn begins(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Why this request's body is not one.
    pub(crate) fn malformed(&self, request: u64) -> Option<&'static str> {
        self.fault.get().filter(|fault| fault.in_body_of == Some(request)).map(|fault| fault.why)
    }

    /// Why nothing more is read of the connection.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        self.fault.get().map(|fault| fault.why)
    }

    /// Its connections to applications.
    pub(crate) const fn pins(&self) -> &Arc<Pins> {
        &self.pins
    }

    /// The next answer switches to another protocol, and what the client sends from then on is no HTTP.
    pub(crate) fn switches(&self) {
        self.switched.store(true, Ordering::Relaxed);
    }
}

impl<S> Strict<S> {
    /// Of a connection whose lines are hyper's to refuse from `longest` bytes.
    pub(crate) fn new(stream: S, longest: usize) -> (Self, Arc<Wire>) {
        let wire = Arc::new(Wire::default());
        let framing = Framing::new(longest);
        let strict = Self {
            stream,
            framing,
            wire: Arc::clone(&wire),
            lingers: None,
            is_shut: false,
            at_end: false,
            refused: REFUSED,
        };
        (strict, wire)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Strict<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(fault) = this.wire.fault.get() {
            return Poll::Ready(match fault.in_body_of {
                Some(_) => Err(io::Error::new(io::ErrorKind::InvalidData, fault.why)),
                None => {
                    refuse(&mut this.refused, buffer);
                    Ok(())
                }
            });
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        if this.wire.switched.load(Ordering::Relaxed) {
            this.framing.ends();
        }
        let read = buffer.filled().get(before..).unwrap_or_default();
        this.at_end |= read.is_empty();
        let Err(fault) = this.framing.read(read) else { return Poll::Ready(Ok(())) };
        buffer.set_filled(before + fault.after);
        let _ = this.wire.fault.set(fault);
        match fault.in_body_of {
            None => refuse(&mut this.refused, buffer),
            Some(_) if fault.after > 0 => {}
            Some(_) => return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, fault.why))),
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Strict<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    /// Says that nothing follows, and waits a little for the client to notice. Whoever closes a connection on which bytes are
    /// under way makes the client's system throw the answer away, before the client has read it.
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.is_shut {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
            this.is_shut = true;
        }
        let is_clean = this.wire.fault.get().is_none() && this.framing.is_between_requests();
        if this.at_end || is_clean || this.wire.switched.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        let lingers = this.lingers.get_or_insert_with(|| Box::pin(sleep(LINGERS)));
        if lingers.as_mut().poll(context).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let mut thrown_away = [0; 8192];
        for _ in 0..AT_ONCE {
            let mut buffer = ReadBuf::new(&mut thrown_away);
            match Pin::new(&mut this.stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

fn refuse(refused: &mut &'static [u8], buffer: &mut ReadBuf<'_>) {
    let (now, later) = refused.split_at_checked(buffer.remaining()).unwrap_or((refused, &[]));
    buffer.put_slice(now);
    *refused = later;
}

/// In no part of a head is its first byte allowed; the rest makes hyper look at it, which it does where a head may end.
const REFUSED: &[u8] = b"\0\r\n\r\n";

const LINGERS: Duration = Duration::from_secs(5);

/// Reads before others have their turn.
const AT_ONCE: usize = 16;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn what_comes_before_a_fault_is_read_and_nothing_after_it() {
        let (mut client, server) = duplex(4096);
        let (mut server, wire) = Strict::new(server, 65536);
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /\nGET / HTTP/1.1\r\n\r\n").await.expect("room");
        let mut read = [b'.'; 100];
        let length = server.read(&mut read).await.expect("it reads");
        assert_eq!(&read[..length], b"GET / HTTP/1.1\r\nHost: a\r\n\r\n\0\r\n\r\n");
        assert_eq!(server.read(&mut read).await.expect("it ends"), 0);
        assert_eq!(wire.malformed(1), None);
        assert!(wire.fault().is_some());
    }

    #[tokio::test]
    async fn a_fault_in_a_body_is_an_error_and_its_requests_own() {
        let (mut client, server) = duplex(4096);
        let (mut server, wire) = Strict::new(server, 65536);
        let head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        client.write_all(head).await.expect("room");
        client.write_all(b"0x3\r\nabc\r\n").await.expect("room");
        let mut read = Vec::new();
        let error = server.read_to_end(&mut read).await.expect_err("no body");
        assert_eq!((read.as_slice(), error.kind()), (head.as_slice(), io::ErrorKind::InvalidData));
        assert_eq!(wire.begins(), 1);
        assert!(wire.malformed(1).is_some() && wire.malformed(2).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn the_rest_of_a_body_is_taken_before_the_connection_closes_but_not_for_ever() {
        for answers in [true, false] {
            let (mut client, server) = duplex(64);
            let (mut server, _) = Strict::new(server, 65536);
            client.write_all(b"POST / HTTP/1.1\r\nContent-Length: 100000\r\n\r\n").await.expect("room");
            let mut some = [0; 43];
            server.read_exact(&mut some).await.expect("the head");
            let closing = tokio::spawn(async move { server.shutdown().await });
            if answers {
                client.write_all(&[b'a'; 50_000]).await.expect("it is taken");
                drop(client);
            } else {
                tokio::time::sleep(LINGERS).await;
            }
            closing.await.expect("no panic").expect("closed");
        }
    }
}
