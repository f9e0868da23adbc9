//! What an operator's tools ask the server, on a port of their own: is it alive, does it take requests, what has it counted.
//!
//! | path | answer |
//! |---|---|
//! | `/healthz` | 200 as long as the process answers |
//! | `/readyz` | 200 while requests are taken, 503 from the moment it is told to stop; the body says how its parts are |
//! | `/metrics` | counters, for Prometheus |
//!
//! A domain controller that does not answer is told in the body and in the metrics, and does not make the server unready: it
//! is as far away from all servers, and taking them all out of a load balancer serves nobody.

use core::convert::Infallible;
use core::fmt::Write as _;
use core::time::Duration;
use std::net::SocketAddr;
use std::sync::Arc;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use iwa_wire::explain::printable;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::Gateway;
use super::names::Resolved;

/// Serves until `over` says that all requests have ended.
pub(super) async fn serve(
    gateway: Arc<Gateway>,
    listener: TcpListener,
    stopping: watch::Receiver<bool>,
    mut over: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            () = super::listen::stopped(&mut over) => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (gateway, stopping) = (Arc::clone(&gateway), stopping.clone());
        tokio::spawn(async move {
            let service = service_fn(|request: Request<hyper::body::Incoming>| {
                let answer = answer(&gateway, request.method(), request.uri().path(), *stopping.borrow());
                core::future::ready(Ok::<_, Infallible>(answer))
            });
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .max_buf_size(HEAD)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            // Whoever asks is told, or went away.
            let _ = tokio::time::timeout(PATIENCE, served).await;
        });
    }
}

/// Binds the port.
///
/// # Errors
/// It cannot be had.
pub(super) async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .map_err(|error| std::io::Error::new(error.kind(), format!("[admin]: cannot listen on {address}: {error}")))
}

fn answer(gateway: &Gateway, method: &Method, path: &str, stopping: bool) -> Response<Full<bytes::Bytes>> {
    let (status, kind, text) = match path {
        _ if !matches!(*method, Method::GET | Method::HEAD) => {
            (StatusCode::METHOD_NOT_ALLOWED, TEXT, "wanted GET\n".to_owned())
        }
        "/healthz" => (StatusCode::OK, TEXT, "ok\n".to_owned()),
        "/readyz" => {
            let status = if stopping { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
            (status, TEXT, readiness(gateway, stopping))
        }
        "/metrics" => (StatusCode::OK, METRICS, gateway.metrics.text(gateway.now())),
        _ => (StatusCode::NOT_FOUND, TEXT, "there are /healthz, /readyz and /metrics\n".to_owned()),
    };
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn readiness(gateway: &Gateway, stopping: bool) -> String {
    let site = gateway.site();
    let mut text = String::from(if stopping { "stopping: no new connections are taken\n" } else { "ready\n" });
    for group in &site.groups {
        let unknown = group.with(|known| match known {
            Resolved::Unknown(why) => Some(printable(why)),
            Resolved::Sid(_) | Resolved::Gone(_) => None,
        });
        if let Some(why) = unknown {
            let _ = writeln!(text, "degraded: {group} is not resolved ({why}); rules that hang on it answer 503");
        }
    }
    if let Some(why) = gateway.metrics.authority_trouble() {
        let _ = writeln!(text, "degraded: {}; NTLM and passwords that hang on it answer 503", printable(&why));
    }
    text
}

const TEXT: &str = "text/plain; charset=utf-8";
const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PATIENCE: Duration = Duration::from_secs(10);
const HEAD: usize = 16 << 10;
