//! A directory, through tower-http's file service: index, ranges, content types, conditional requests.

use core::future::{Ready, ready};
use core::pin::Pin;
use core::task::{Context, Poll};
use std::fs::Metadata;
use std::io::{self, Cursor, ErrorKind, Read as _, SeekFrom};
use std::path::PathBuf;

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
    RANGE,
};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Request, Response, StatusCode, Uri};
use iwa_http::Status;
use tokio::io::{AsyncRead, AsyncSeek, ReadBuf};
use tower_http::services::ServeDir;
use tower_http::services::fs::{Backend, DefaultServeDirFallback, File};

use super::body::Body;
use super::pages;
use super::path::{Path, encode};
use super::site::Visitor;

/// A directory, through tower-http's file service: index, ranges, content types, conditional requests.
pub(crate) struct Files {
    prefix: String,
    service: ServeDir<DefaultServeDirFallback, Disk>,
}

impl Files {
    /// The files of `directory`, below `prefix`.
    pub(crate) fn new(directory: PathBuf, prefix: &str) -> Self {
        let prefix = prefix.trim_end_matches('/').to_owned();
        Self { service: ServeDir::with_backend(directory, Disk).redirect_path_prefix(prefix.clone()), prefix }
    }

    /// Answers a request for `path`.
    pub(super) async fn answer(&self, request: &Parts, path: &Path<'_>, visitor: Visitor<'_>) -> Response<Body> {
        let Visitor { id, .. } = visitor;
        let identity = visitor.identity.map(|identity| &**identity);
        let missing = || pages::refusal(Status::served(StatusCode::NOT_FOUND), id, identity);
        if path.hidden() {
            return missing();
        }
        // The service reads the path as it was read for the rules, and not once more as it was sent.
        let mut below = encode(path.rest(&self.prefix));
        if let Some(query) = request.uri.query() {
            below.push('?');
            below.push_str(query);
        }
        let Ok(below) = PathAndQuery::from_maybe_shared(Bytes::from(below)) else { return missing() };
        let mut inner = Request::new(());
        *inner.method_mut() = request.method.clone();
        *inner.uri_mut() = Uri::from(below);
        *inner.version_mut() = request.version;
        // Credentials are no business of files.
        for name in &HEADERS {
            if let Some(value) = request.headers.get(name) {
                inner.headers_mut().insert(name, value.clone());
            }
        }
        let mut service = self.service.clone();
        match service.try_call(inner).await {
            Ok(response) if response.status() == StatusCode::NOT_FOUND => missing(),
            Ok(response) if response.status() == StatusCode::METHOD_NOT_ALLOWED => {
                let mut page = pages::refusal(Status::served(StatusCode::METHOD_NOT_ALLOWED), id, identity);
                if let Some(allow) = response.headers().get(http::header::ALLOW) {
                    page.headers_mut().insert(http::header::ALLOW, allow.clone());
                }
                page
            }
            Ok(response) => {
                let mut response = response.map(Body::File);
                if identity.is_some() {
                    // A connection that is signed in sends no Authorization, which is what keeps shared caches off.
                    response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("private"));
                }
                response
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => missing(),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                tracing::warn!(%id, path = path.as_str(), "404: this process may not read the file");
                missing()
            }
            Err(error) => {
                tracing::error!(%id, path = path.as_str(), %error, "a file cannot be read");
                pages::refusal(Status::served(StatusCode::INTERNAL_SERVER_ERROR), id, identity)
            }
        }
    }
}

/// What the file service looks at.
const HEADERS: [HeaderName; 6] = [RANGE, IF_RANGE, IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE];

/// The disk, read where the request is: what a site serves is in memory nearly always, and handing four small calls to other
/// threads costs more than the whole request. A long file is read by other threads, piece by piece.
#[derive(Clone, Copy, Debug)]
struct Disk;

impl Backend for Disk {
    type File = Opened;
    type Metadata = Metadata;
    type OpenFuture = Ready<io::Result<Opened>>;
    type MetadataFuture = Ready<io::Result<Metadata>>;

    fn open(&self, path: PathBuf) -> Self::OpenFuture {
        ready(Opened::open(&path))
    }

    fn metadata(&self, path: PathBuf) -> Self::MetadataFuture {
        ready(std::fs::metadata(path))
    }
}

/// An open file, small ones whole.
#[derive(Debug)]
struct Opened {
    metadata: Metadata,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Small(Cursor<Vec<u8>>),
    Long(tokio::fs::File),
}

impl Opened {
    fn open(path: &std::path::Path) -> io::Result<Self> {
        // Opening a pipe or a device could wait for ever; neither is a page.
        if !std::fs::metadata(path)?.is_file() {
            return Err(ErrorKind::NotFound.into());
        }
        let file = std::fs::File::open(path)?;
        let metadata = file.metadata()?;
        let content = if metadata.len() > SMALL {
            Content::Long(tokio::fs::File::from_std(file))
        } else {
            let mut bytes = Vec::with_capacity(metadata.len() as usize);
            // No more than was there when it was measured: that length goes out in the head.
            file.take(metadata.len()).read_to_end(&mut bytes)?;
            Content::Small(Cursor::new(bytes))
        };
        Ok(Self { metadata, content })
    }
}

impl File for Opened {
    type Metadata = Metadata;
    type MetadataFuture<'a> = Ready<io::Result<Metadata>>;

    fn metadata(&self) -> Self::MetadataFuture<'_> {
        ready(Ok(self.metadata.clone()))
    }
}

impl AsyncRead for Opened {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().content {
            Content::Small(bytes) => Pin::new(bytes).poll_read(context, buffer),
            Content::Long(file) => Pin::new(file).poll_read(context, buffer),
        }
    }
}

impl AsyncSeek for Opened {
    fn start_seek(self: Pin<&mut Self>, position: SeekFrom) -> io::Result<()> {
        match &mut self.get_mut().content {
            Content::Small(bytes) => Pin::new(bytes).start_seek(position),
            Content::Long(file) => Pin::new(file).start_seek(position),
        }
    }

    fn poll_complete(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<u64>> {
        match &mut self.get_mut().content {
            Content::Small(bytes) => Pin::new(bytes).poll_complete(context),
            Content::Long(file) => Pin::new(file).poll_complete(context),
        }
    }
}

/// Bytes up to which a file is read at once.
const SMALL: u64 = 64 << 10;
