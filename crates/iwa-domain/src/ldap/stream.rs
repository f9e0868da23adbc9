//! Messages over a connection: TCP, TLS, and the sealed layer of SASL. RFC 4511 5, RFC 4422 3.7.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use iwa_auth::krb5::sasl::Layer;
use iwa_wire::ldap::Message;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use zeroize::Zeroizing;

use super::error::Why;
use crate::kdc_server::SystemEntropy;

/// The longest message that is taken.
pub(super) const MESSAGE_LIMIT: usize = 16 << 20;
/// How much is read at once.
const CHUNK: usize = 16 << 10;

/// What carries the bytes.
#[derive(Debug)]
pub(super) enum Io {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// Between two states: a connection that broke while it became another.
    Gone,
}

/// A stream of messages.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) io: Io,
    /// The layer of SASL, once it is agreed on.
    pub(super) layer: Option<Layer>,
    /// What is read and not yet taken, free of layers.
    plain: Vec<u8>,
}

impl Stream {
    pub(super) const fn new(io: Io) -> Self {
        Self { io, layer: None, plain: Vec::new() }
    }

    /// Whether what is written can be read by nobody else.
    pub(super) const fn is_confidential(&self) -> bool {
        matches!(self.io, Io::Tls(_)) || self.layer.is_some()
    }

    /// Whether bytes came that nobody asked for. Where a layer begins, such bytes are somebody else's: they came before it.
    pub(super) const fn has_rest(&self) -> bool {
        !self.plain.is_empty()
    }

    pub(super) async fn write(&mut self, message: &[u8]) -> Result<(), Why> {
        let sealed;
        let bytes = match &mut self.layer {
            None => message,
            Some(layer) => {
                let mut out = Vec::with_capacity(message.len() + 128);
                let result = layer.seal(message, &mut SystemEntropy, &mut out);
                result.map_err(|_| Why::Broken("the system gives no randomness".to_owned()))?;
                sealed = out;
                &sealed
            }
        };
        self.io.write_all(bytes).await.map_err(broken)?;
        self.io.flush().await.map_err(broken)
    }

    /// The next message.
    pub(super) async fn read(&mut self) -> Result<Zeroizing<Vec<u8>>, Why> {
        loop {
            let length = Message::length(&self.plain, MESSAGE_LIMIT);
            match length.map_err(|error| Why::Broken(format!("what came is no LDAP: {error}")))? {
                Some(length) if self.plain.len() >= length => {
                    let rest = self.plain.split_off(length);
                    return Ok(Zeroizing::new(std::mem::replace(&mut self.plain, rest)));
                }
                _ => self.fill().await?,
            }
        }
    }

    async fn fill(&mut self) -> Result<(), Why> {
        let Some(layer) = &mut self.layer else {
            self.plain.reserve(CHUNK);
            let count = (&mut self.io).take(CHUNK as u64).read_buf(&mut self.plain).await.map_err(broken)?;
            return if count == 0 { Err(closed()) } else { Ok(()) };
        };
        let mut head = [0; 4];
        self.io.read_exact(&mut head).await.map_err(broken)?;
        let length = Layer::frame(head).map_err(Why::Sasl)?;
        // It grows with what comes, not with what is announced.
        let mut frame = Vec::new();
        let count = (&mut self.io).take(length as u64).read_to_end(&mut frame).await.map_err(broken)?;
        if count < length {
            return Err(closed());
        }
        let message = layer.unseal(&mut frame).map_err(Why::Sasl)?;
        self.plain.extend_from_slice(message);
        Ok(())
    }
}

fn closed() -> Why {
    Why::Broken("the server closed it".to_owned())
}

fn broken(error: io::Error) -> Why {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => closed(),
        _ => Why::Broken(error.to_string()),
    }
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Self::Gone => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Gone => Poll::Ready(Ok(())),
        }
    }
}
