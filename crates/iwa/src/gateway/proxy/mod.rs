//! A reverse proxy: an admitted request goes to the application, its answer to the client, both while they arrive. RFC 9110 7.6.

use std::sync::Arc;

use http::header::{CONNECTION, HeaderName, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Frame, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use iwa_http::Status;

use super::body::Body;
use super::pages;
use super::site::Visitor;

/// The application behind a route.
pub(crate) struct Proxy {
    upstream: Authority,
    client: Client<HttpConnector, UnsyncBoxBody<bytes::Bytes, hyper::Error>>,
}

impl Proxy {
    /// Leads to this host and port.
    pub(crate) fn new(upstream: Authority) -> Self {
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build_http();
        Self { upstream, client }
    }

    /// Sends the request on, and the answer back.
    pub(super) async fn answer(
        &self,
        request: &Parts,
        body: &mut Option<Incoming>,
        visitor: Visitor<'_>,
    ) -> Response<Body> {
        let body = match body.take() {
            Some(body) => {
                let protected = Arc::clone(visitor.asserted.protected());
                let frame = move |mut frame: Frame<bytes::Bytes>| {
                    if let Some(trailers) = frame.trailers_mut() {
                        protected.strip(trailers);
                    }
                    frame
                };
                body.map_frame(frame).boxed_unsync()
            }
            None => Empty::new().map_err(|never| match never {}).boxed_unsync(),
        };
        let mut onward = Request::new(body);
        *onward.method_mut() = request.method.clone();
        *onward.uri_mut() = self.target(request.uri.path_and_query());
        *onward.headers_mut() = request.headers.clone();
        without_hops(onward.headers_mut());
        if visitor.asked {
            onward.headers_mut().remove(http::header::AUTHORIZATION);
        }
        // Last, so that nothing takes away again what the application is told.
        visitor.asserted.onto(onward.headers_mut());
        match self.client.request(onward).await {
            Ok(answer) => {
                let mut answer = answer.map(Body::Upstream);
                without_hops(answer.headers_mut());
                answer
            }
            Err(error) => {
                tracing::warn!(id = %visitor.id, upstream = %self.upstream, %error, "502: the application cannot be asked");
                let identity = visitor.identity.map(|identity| &**identity);
                pages::refusal(Status::served(StatusCode::BAD_GATEWAY), visitor.id, identity)
            }
        }
    }

    fn target(&self, path: Option<&PathAndQuery>) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(self.upstream.clone());
        parts.path_and_query = Some(path.cloned().unwrap_or_else(|| PathAndQuery::from_static("/")));
        Uri::from_parts(parts).unwrap_or_default()
    }
}

/// Takes out what is meant for this connection alone. RFC 9110 7.6.1.
fn without_hops(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOPS) {
        headers.remove(name);
    }
}

static HOPS: [HeaderName; 7] = [
    CONNECTION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];
