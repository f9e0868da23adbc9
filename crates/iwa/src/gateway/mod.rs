//! The server: connections in, authenticated and authorized requests to a site, records to the logs.
//!
//! | step of a request | file |
//! |---|---|
//! | listen, accept, one task a connection, graceful stop | [`listen`] |
//! | authenticate, authorize, answer, whatever happens | [`handle`] |
//! | one reading of a path, for rules and files alike | [`path`] |
//! | who may | [`authorize`] |
//! | files, or a page that says who you are | [`site`] |
//! | what a person reads instead of a bare status | [`pages`] |
//! | what the logs are told, and the logs | [`exchange`], [`audit`] |
//! | new configuration and new keys, without dropping a connection | [`reload`] |

pub(crate) mod audit;
pub(crate) mod authorize;
pub(crate) mod exchange;
pub(crate) mod handle;
pub(crate) mod listen;
pub(crate) mod pages;
pub(crate) mod path;
pub(crate) mod reload;
pub(crate) mod site;

use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use arc_swap::ArcSwap;
use iwa_http::{Os, System as _};

use exchange::{Audit, RequestId};
use site::Site;

/// A running server. What a reload replaces is in [`Site`]; the rest lives as long as the process.
pub(crate) struct Gateway {
    site: ArcSwap<Site>,
    audit: Arc<dyn Audit>,
    boot: u32,
    requests: AtomicU64,
}

impl Gateway {
    pub(crate) fn new(site: Site, audit: Arc<dyn Audit>) -> Self {
        // Distinguishes the requests of one process from those of the next; not a secret.
        let boot = Os.now().secs() as u32;
        Self { site: ArcSwap::from_pointee(site), audit, boot, requests: AtomicU64::new(0) }
    }

    /// The site of now. A request keeps the one it began with.
    pub(crate) fn site(&self) -> Arc<Site> {
        self.site.load_full()
    }

    /// Replaces the site whole.
    pub(crate) fn replace(&self, site: Site) {
        self.site.store(Arc::new(site));
    }

    fn next_request(&self) -> RequestId {
        RequestId { boot: self.boot, number: self.requests.fetch_add(1, Ordering::Relaxed) }
    }
}
