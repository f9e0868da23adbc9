//! The body of an answer: from memory, from a file, or from an upstream as it arrives. RFC 9110 6.4.

use core::pin::Pin;
use core::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::Full;
use tower_http::services::fs::ServeFileSystemResponseBody;

use super::proxy::body::Returning;

/// The body of every answer.
pub(crate) enum Body {
    /// A page.
    Memory(Full<Bytes>),
    /// A file, piece by piece.
    File(ServeFileSystemResponseBody),
    /// What an upstream sends, while it sends it; trailers too.
    Upstream(Returning),
}

impl Body {
    /// These bytes.
    pub(crate) fn of(bytes: impl Into<Bytes>) -> Self {
        Self::Memory(Full::new(bytes.into()))
    }
}

/// Why a body ends early: the file or the upstream failed. The client sees the connection end.
pub(crate) type BodyError = Box<dyn core::error::Error + Send + Sync>;

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Memory(body) => Pin::new(body).poll_frame(context).map_err(|never| match never {}),
            Self::File(body) => Pin::new(body).poll_frame(context).map_err(Into::into),
            Self::Upstream(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Memory(body) => body.is_end_stream(),
            Self::File(body) => body.is_end_stream(),
            Self::Upstream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Memory(body) => body.size_hint(),
            Self::File(body) => body.size_hint(),
            Self::Upstream(body) => body.size_hint(),
        }
    }
}
