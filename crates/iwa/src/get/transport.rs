//! The connection to the server of a URL, and what arrives on it.

use std::sync::Arc;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use iwa_http::client::Transport;
use rustls::ClientConfig;

use super::Failure;
use super::url::Url;

/// Opens one; `tls` must be there for `https`.
pub(crate) async fn open(url: &Url, tls: Option<&Arc<ClientConfig>>) -> Result<Transport, Failure> {
    let tls = tls.map(|tls| (tls, url.host.as_str()));
    Transport::connect(&url.host, url.port, tls).await.map_err(|error| {
        let text = error.to_string();
        let advice = if text.contains("nobody whom") { "; --cacert names an authority of your own" } else { "" };
        Failure::unreachable(format!("{text}{advice}"))
    })
}

/// Reads a body to its end and forgets it: the connection is free then.
pub(crate) async fn discard(body: Incoming) -> Result<(), Failure> {
    copy(body, |_| Ok(())).await
}

/// Hands a body to `write`, piece by piece.
pub(crate) async fn copy(
    mut body: Incoming,
    mut write: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Failure::unreachable(format!("the answer breaks off: {error}")))?;
        if let Some(bytes) = frame.data_ref() {
            write(bytes)?;
        }
    }
    Ok(())
}
