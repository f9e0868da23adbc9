//! The server: connections in, authenticated and authorized requests to a site, records to the logs.
//!
//! | step of a request | file |
//! |---|---|
//! | from a configuration to a site that runs | [`assemble`] |
//! | listen, accept, one task a connection, graceful stop | [`listen`] |
//! | TLS and what it ties clients to; their files; proxies that end TLS in front | [`tls`], [`certificate`], [`terminators`] |
//! | whom extended protection would keep out | [`unbound`] |
//! | HTTP/2: its limits, and what it cannot carry | [`http2`] |
//! | one handshake, then a sealed cookie; signing out | [`session`] |
//! | how long the head of a request may take | [`patience`] |
//! | where each request ends, read in one way only; the stream that holds hyper to it | [`framing`], [`strict`] |
//! | who is in front: the client, or a proxy that speaks for it | [`front`], [`forwarded`], [`proxy_protocol`] |
//! | one request, whatever happens; who asks and whether they may | [`handle`], [`decide`] |
//! | what an answer carries | [`body`] |
//! | who is asked to sign in, and how | [`gate`] |
//! | one reading of a path, for rules and files alike | [`path`] |
//! | whom to ask about NTLM and passwords; the domains | [`logons`], [`domain`] |
//! | who may; names of groups and their SIDs | [`authorize`], [`names`] |
//! | what an application calls a visitor, and what it is told of them | [`mapping`], [`identity`] |
//! | signing in to the application behind | [`outbound`] |
//! | routes; files, an application behind, or a page that says who you are | [`site`], [`files`], [`proxy`] |
//! | the gateway's own pages, `/.iwa/` | [`own`] |
//! | what a person reads instead of a bare status; in the administrator's words | [`pages`], [`templates`] |
//! | what other proxies ask about their clients' requests | [`forward_auth`] |
//! | what the logs are told, and the logs | [`exchange`], [`audit`] |
//! | what is counted; what an operator's tools ask | [`metrics`], [`admin`] |
//! | sockets from systemd, and what it is told | [`systemd`] |
//! | which Kerberos authenticators were seen, over restarts | [`replay`] |
//! | the files with the keys | [`keytabs`] |
//! | new configuration and new keys, without dropping a connection | [`reload`] |

pub(crate) mod admin;
pub(crate) mod assemble;
pub(crate) mod audit;
pub(crate) mod authorize;
pub(crate) mod body;
pub(crate) mod certificate;
pub(crate) mod decide;
pub(crate) mod directory;
pub(crate) mod domain;
pub(crate) mod exchange;
pub(crate) mod files;
mod form;
pub(crate) mod forward_auth;
pub(crate) mod forwarded;
pub(crate) mod framing;
pub(crate) mod front;
pub(crate) mod gate;
pub(crate) mod handle;
pub(crate) mod http2;
pub(crate) mod identity;
pub(crate) mod keytabs;
pub(crate) mod listen;
pub(crate) mod logons;
pub(crate) mod mapping;
pub(crate) mod metrics;
pub(crate) mod names;
pub(crate) mod outbound;
pub(crate) mod own;
pub(crate) mod pages;
pub(crate) mod path;
pub(crate) mod patience;
pub(crate) mod proxy;
pub(crate) mod proxy_protocol;
pub(crate) mod reload;
pub(crate) mod replay;
pub(crate) mod session;
pub(crate) mod site;
pub(crate) mod strict;
pub(crate) mod systemd;
pub(crate) mod templates;
pub(crate) mod terminators;
pub(crate) mod tls;
pub(crate) mod unbound;

#[cfg(test)]
mod tests;

use core::net::SocketAddr;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use iwa_http::{Os, System as _};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::Config;
use assemble::{Kept, Problem};
use domain::Joined;
use exchange::{Audit, RequestId};
use listen::Over;
use metrics::{Counted, Metrics, Now};
use proxy::Proxy;
use replay::ReplayMemory;
use site::Site;
use unbound::Unbound;

/// What runs. What a reload replaces is in [`Site`]; the rest lives as long as the process.
pub(crate) struct Gateway {
    site: ArcSwap<Site>,
    kept: Kept,
    audit: Arc<dyn Audit>,
    unbound: Unbound,
    metrics: Arc<Metrics>,
    boot: u32,
    requests: AtomicU64,
}

impl Gateway {
    /// The site of now. A request keeps the one it began with.
    fn site(&self) -> Arc<Site> {
        self.site.load_full()
    }

    /// What it holds at this moment.
    fn now(&self) -> Now {
        Now { handshakes: self.kept.half_open.len(), replay_entries: self.kept.replay.len() }
    }

    fn next_request(&self) -> RequestId {
        RequestId { boot: self.boot, number: self.requests.fetch_add(1, Ordering::Relaxed) }
    }
}

/// A server that runs until it is told to stop.
pub(crate) struct Running {
    addresses: Vec<SocketAddr>,
    urls: Vec<String>,
    admin: Option<SocketAddr>,
    /// How long the listeners stay after it is told to stop.
    drain: Duration,
    /// No longer ready.
    stopping: watch::Sender<bool>,
    /// Takes no more connections.
    stop: watch::Sender<bool>,
    /// All requests have ended.
    over: watch::Sender<bool>,
    served: JoinHandle<()>,
    replay: Arc<ReplayMemory>,
    #[cfg(test)]
    gateway: Arc<Gateway>,
}

impl Running {
    /// Where it listens, those of TLS last; port 0 of the configuration is the port that was had.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The same, with the scheme.
    pub(crate) fn urls(&self) -> &[String] {
        &self.urls
    }

    /// Where an operator's tools ask.
    pub(crate) fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Takes no more connections, lets requests under way end, and returns when all is done.
    pub(crate) async fn stop(self) {
        let _ = self.stopping.send(true);
        // Whoever sends clients here needs a moment to see that it is to send no more.
        tokio::time::sleep(self.drain).await;
        let _ = self.stop.send(true);
        if let Err(error) = self.served.await {
            tracing::error!(%error, "the server did not end well");
        }
        let _ = self.over.send(true);
        self.replay.close(Os.now());
    }
}

/// Starts a server. `file` is where the configuration was read, if it is to be read again on SIGHUP.
///
/// # Errors
/// Keys or accounts cannot be read, or an address cannot be had. Nothing was served then.
pub(crate) async fn start(config: &Config, file: Option<PathBuf>, audit: Arc<dyn Audit>) -> Result<Running, Problem> {
    let domains = domain::open(config, &[])?;
    start_with(config, domains, file, audit).await
}

/// Starts a server with these domains.
async fn start_with(
    config: &Config,
    domains: Vec<Arc<Joined>>,
    file: Option<PathBuf>,
    audit: Arc<dyn Audit>,
) -> Result<Running, Problem> {
    let mut given = systemd::sockets()?;
    let mut listeners = listen::bind(&config.server.listen, Over::Clear, &mut given).await?;
    listeners.extend(listen::bind(&config.server.listen_tls, Over::Tls, &mut given).await?);
    given.nothing_left()?;
    let admin = match config.admin.listen {
        Some(address) => Some(admin::bind(address).await?),
        None => None,
    };
    let addresses: Vec<_> = listeners.iter().filter_map(listen::Listener::address).collect();
    let urls = listeners.iter().filter_map(listen::Listener::url).collect();
    // Only after the ports were had: whoever has them is the one that keeps the replay cache's files.
    let kept = Kept::new(config, addresses.first().map_or(0, SocketAddr::port))?;
    let site = assemble::site(config, &kept, domains, None).inspect_err(|_| kept.replay.close(Os.now()))?;
    names::at_the_start(&site).await;
    let replay = Arc::clone(&kept.replay);
    let gateway = Arc::new(Gateway {
        site: ArcSwap::from_pointee(site),
        audit: Arc::new(Counted { metrics: Arc::clone(&kept.metrics), logs: audit }),
        metrics: Arc::clone(&kept.metrics),
        kept,
        unbound: Unbound::default(),
        // Tells the requests of one process from those of the next. Not a secret.
        boot: Os.now().secs() as u32,
        requests: AtomicU64::new(0),
    });
    let (stop, stopping) = watch::channel(false);
    gateway.site().domains.iter().for_each(|domain| domain.keep());
    gateway.site().proxies().for_each(Proxy::keep);
    tokio::spawn(names::keep(Arc::clone(&gateway), stopping.clone()));
    tokio::spawn(reload::watch(Arc::clone(&gateway), file, stopping.clone()));
    let admin_address = admin.as_ref().and_then(|admin| admin.local_addr().ok());
    let (not_ready, unready) = watch::channel(false);
    let (over, ended) = watch::channel(false);
    if let Some(admin) = admin {
        tokio::spawn(admin::serve(Arc::clone(&gateway), admin, unready, ended));
    }
    let served = tokio::spawn(listen::serve(Arc::clone(&gateway), listeners, config.limits.clone(), stopping));
    Ok(Running {
        addresses,
        urls,
        admin: admin_address,
        drain: config.admin.drain,
        stopping: not_ready,
        stop,
        over,
        served,
        replay,
        #[cfg(test)]
        gateway,
    })
}
