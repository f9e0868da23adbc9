//! What is behind the authentication: files, or a page that says who you are.

use core::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{Either, Full};
use iwa_auth::Identity;
use iwa_http::{Authenticator, Status};
use tower_http::services::ServeDir;
use tower_http::services::fs::ServeFileSystemResponseBody;

use super::exchange::RequestId;
use super::pages;
use super::path::{Path, encode};

/// The body of every answer.
pub(crate) type Body = Either<Full<Bytes>, ServeFileSystemResponseBody>;

/// Everything that a configuration says of requests. Replaced whole by a reload.
pub(crate) struct Site {
    pub(crate) routes: Vec<Route>,
}

impl Site {
    /// The route a path belongs to: the one with the longest prefix.
    pub(crate) fn find(&self, path: &Path<'_>) -> Option<&Route> {
        self.routes.iter().filter(|route| path.below(&route.path)).max_by_key(|route| route.path.len())
    }

    /// Every authenticator, once.
    pub(crate) fn authenticators(&self) -> impl Iterator<Item = &Arc<Authenticator>> {
        self.routes.iter().map(|route| &route.authenticator)
    }
}

/// A part of the site.
pub(crate) struct Route {
    /// Its prefix: `/`, `/reports`.
    pub(crate) path: String,
    pub(crate) authenticator: Arc<Authenticator>,
    pub(crate) content: Content,
}

/// What a route answers with.
pub(crate) enum Content {
    /// Files of a directory.
    Files(Files),
    /// A page that says who the client is, and how they proved it.
    Whoami,
}

impl Content {
    /// Answers a request that may be answered. The body of the request is not read.
    pub(crate) async fn answer(&self, request: &Parts, path: &Path<'_>, visitor: Visitor<'_>) -> Response<Body> {
        match self {
            Self::Files(files) => files.answer(request, path, visitor).await,
            Self::Whoami => whoami(request, visitor),
        }
    }
}

/// Who asks.
#[derive(Clone, Copy)]
pub(crate) struct Visitor<'a> {
    pub(crate) id: RequestId,
    pub(crate) identity: Option<&'a Identity>,
    pub(crate) by_token: bool,
}

/// A directory, through tower-http's file service: index, ranges, content types, conditional requests.
pub(crate) struct Files {
    prefix: String,
    service: ServeDir,
}

impl Files {
    /// The files of `directory`, below `prefix`.
    pub(crate) fn new(directory: PathBuf, prefix: &str) -> Self {
        let prefix = prefix.trim_end_matches('/').to_owned();
        Self { service: ServeDir::new(directory).redirect_path_prefix(prefix.clone()), prefix }
    }

    async fn answer(&self, request: &Parts, path: &Path<'_>, visitor: Visitor<'_>) -> Response<Body> {
        let Visitor { id, identity, .. } = visitor;
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
        *inner.headers_mut() = request.headers.clone();
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
                let mut response = response.map(Body::Right);
                if identity.is_some() {
                    // A connection that is signed in sends no Authorization, which is what keeps shared caches off.
                    response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("private"));
                }
                response
            }
            Err(error) => {
                tracing::error!(%id, path = path.as_str(), %error, "a file cannot be read");
                pages::refusal(Status::served(StatusCode::INTERNAL_SERVER_ERROR), id, identity)
            }
        }
    }
}

fn whoami(request: &Parts, visitor: Visitor<'_>) -> Response<Body> {
    let mut main = String::new();
    match visitor.identity {
        Some(identity) => {
            let account = identity.account();
            let mut row = |name: &str, value: &str| {
                let _ = write!(main, "<tr><th>{name}</th><td>{}</td></tr>", pages::escape(value));
            };
            row("Account", &identity.to_string());
            row("Mechanism", &identity.mechanism().to_string());
            row("Proved by", if visitor.by_token { "this request" } else { "an earlier request of this connection" });
            for (name, value) in [("Realm", &account.realm), ("UPN", &account.upn), ("Name", &account.display_name)] {
                if let Some(value) = value {
                    row(name, value);
                }
            }
            if let Some(sid) = &account.sid {
                row("SID", &sid.to_string());
            }
            for group in identity.groups() {
                row("Group", &group.to_string());
            }
            main = format!("<table>{main}</table>");
        }
        None => main.push_str("<p>You are anonymous.</p>"),
    }
    let _ = write!(
        main,
        "<p class=\"small\"><code>{} {}</code> &middot; request {}</p>",
        pages::escape(request.method.as_str()),
        pages::escape(request.uri.path()),
        visitor.id
    );
    pages::html(StatusCode::OK, "Who you are", &main)
}
