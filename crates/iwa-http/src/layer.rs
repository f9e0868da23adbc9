//! A tower layer that signs visitors in, in front of any service of HTTP requests: axum, hyper, tonic.
//!
//! The layer reads the [`Connection`] of a request from its extensions, because NTLM and multi-leg Kerberos authenticate a
//! connection and not a request. [`serve`](crate::serve()) puts it there, one value a connection; another server must do the
//! same. Without it nobody is let in: a state that is looked up by address, or shared, would hand one visitor's identity to
//! another.
//!
//! Whoever is signed in is in the extensions of the request as `Arc<Identity>`; where the policy lets anonymous visitors in,
//! there is none. The application's answer carries what the client must be told, whatever its status.

use core::future::Future;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, ready};
use std::sync::Arc;

use http::header::{AUTHORIZATION, CONNECTION, EXPECT, HeaderValue, WWW_AUTHENTICATE};
use http::{Request, Response, StatusCode, Version};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use crate::authenticator::{Admitted, Authenticator, Outcome, Refused};
use crate::connection::Connection;

/// Puts [`SignedIn`] in front of a service.
#[derive(Clone, Debug)]
pub struct SignInLayer {
    authenticator: Arc<Authenticator>,
}

impl SignInLayer {
    /// Signs in as this authenticator says. One authenticator serves all connections.
    #[must_use]
    pub const fn new(authenticator: Arc<Authenticator>) -> Self {
        Self { authenticator }
    }
}

impl<S> Layer<S> for SignInLayer {
    type Service = SignedIn<S>;

    fn layer(&self, inner: S) -> SignedIn<S> {
        SignedIn { inner, authenticator: Arc::clone(&self.authenticator) }
    }
}

/// A service that only those reach whom the authenticator lets through.
#[derive(Clone, Debug)]
pub struct SignedIn<S> {
    inner: S,
    authenticator: Arc<Authenticator>,
}

impl<S, B, R> Service<Request<B>> for SignedIn<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    R: Default + Send,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let authenticator = Arc::clone(&self.authenticator);
        // The one that is ready goes on; its clone waits for the next request.
        let next = self.inner.clone();
        let mut inner = core::mem::replace(&mut self.inner, next);
        // The application decides on what the layer says, and on nothing that came along.
        request.extensions_mut().remove::<Arc<iwa_auth::Identity>>();
        Box::pin(async move {
            let Some(connection) = request.extensions().get::<Arc<Connection>>().cloned() else {
                tracing::error!(
                    "500: the request has no iwa_http::Connection in its extensions: serve with iwa_http::serve, or put one \
                     value a connection there"
                );
                return Ok(bare(StatusCode::INTERNAL_SERVER_ERROR));
            };
            let connection = match request.version() {
                Version::HTTP_09 | Version::HTTP_10 | Version::HTTP_11 => connection,
                // Many requests at once, and none may know of another.
                _ => Arc::new(connection.stream()),
            };
            match authenticator.authenticate(&connection, request.version(), request.headers()).await {
                Outcome::Admitted(Admitted { identity, by_token, final_token, note, .. }) => {
                    if let Some(note) = note {
                        tracing::info!(client = %connection.peer(), note);
                    }
                    if by_token {
                        // What proved it is no business of the application.
                        request.headers_mut().remove(AUTHORIZATION);
                    }
                    if let Some(identity) = identity {
                        request.extensions_mut().insert(identity);
                    }
                    let mut response = inner.call(request).await?;
                    final_token.attach(response.headers_mut());
                    Ok(response)
                }
                Outcome::Refused(refused) => Ok(refuse(&connection, *refused, request).await),
            }
        })
    }
}

/// The answer of a refusal; why is for the log.
async fn refuse<B: Body, R: Default>(connection: &Connection, refused: Refused, request: Request<B>) -> Response<R> {
    let expects = request.headers().contains_key(EXPECT);
    let body = request.into_body();
    match &refused.reason {
        Some(reason) => tracing::info!(
            client = %connection.peer(),
            status = %refused.status.http.as_u16(),
            code = reason.code(),
            claimed = refused.claimed.as_deref(),
            "{reason}"
        ),
        None => tracing::debug!(client = %connection.peer(), "challenged"),
    }
    let mut response = bare(refused.status.http);
    for line in refused.challenges {
        response.headers_mut().append(WWW_AUTHENTICATE, line);
    }
    if let Some(seconds) = refused.status.retry_after() {
        response.headers_mut().insert(http::header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    // The client goes on, on this connection, with what it is told here. Who waits for `100 Continue` sends the body only if it
    // is read; with a handshake under way the connection is worth the body.
    let goes_on = (!expects || refused.keep_connection) && read_to_the_end(body).await;
    if !goes_on {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn bare<R: Default>(status: StatusCode) -> Response<R> {
    let mut response = Response::new(R::default());
    *response.status_mut() = status;
    response
}

/// `false`: it is too long, or breaks off.
async fn read_to_the_end<B: Body>(body: B) -> bool {
    let mut body = pin!(body);
    let mut left = MOST_DRAINED;
    core::future::poll_fn(|context| {
        loop {
            let frame = match ready!(body.as_mut().poll_frame(context)) {
                None => return Poll::Ready(true),
                Some(Err(_)) => return Poll::Ready(false),
                Some(Ok(frame)) => frame,
            };
            let length = frame.data_ref().map_or(0, bytes::Buf::remaining);
            match left.checked_sub(length) {
                Some(less) => left = less,
                None => return Poll::Ready(false),
            }
        }
    })
    .await
}

/// Bytes of a request's body that are read and thrown away for the sake of a handshake.
const MOST_DRAINED: usize = 1 << 20;
