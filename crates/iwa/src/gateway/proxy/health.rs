//! Active checks of an application's addresses: whoever does not answer well is asked last, before a visitor finds out.

use std::sync::{Arc, Weak};

use http::header::{HOST, HeaderValue, USER_AGENT};
use http::{Method, Request};

use super::body::Onward;
use super::pool::Pool;
use crate::config::Health;

/// Looks after an address for as long as there is somebody who uses it.
pub(super) fn watch(pool: &Arc<Pool>, health: &Health) {
    let (pool, health) = (Arc::downgrade(pool), health.clone());
    tokio::spawn(async move {
        while let Some(outcome) = check(&pool, &health).await {
            let Some(pool) = pool.upgrade() else { return };
            pool.standing.checked(&pool.target, outcome);
            drop(pool);
            tokio::time::sleep(health.interval).await;
        }
    });
}

/// One check; `None` if there is nobody to check for.
async fn check(pool: &Weak<Pool>, health: &Health) -> Option<Result<(), String>> {
    let pool = pool.upgrade()?;
    let mut request = Request::new(Onward::empty());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = health.path.clone().into();
    let host = health.host.as_deref().unwrap_or(pool.target.authority.as_str());
    let host = HeaderValue::from_str(host).unwrap_or_else(|_| HeaderValue::from_static("localhost"));
    request.headers_mut().insert(HOST, host);
    request.headers_mut().insert(USER_AGENT, HeaderValue::from_static("iwa (health)"));
    let seconds = health.timeout.as_secs_f32();
    Some(match tokio::time::timeout(health.timeout, pool.ask(request)).await {
        Ok(outcome) => outcome.map_err(|why| format!("{}: {why}", health.path)),
        Err(_) => Err(format!("{}: no answer within {seconds} s", health.path)),
    })
}
