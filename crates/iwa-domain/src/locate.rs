//! Locating domain controllers: SRV records, of the own site first, and an LDAP ping to each. MS-ADTS 6.3.6.
//!
//! Neither DNS nor the ping is authenticated. Whoever lies in them is asked and fails there: Kerberos, the secure channel and
//! TLS prove who the controller is.

mod report;
mod search;

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use iwa_auth::ports::Answer;
use tokio::time::Instant;
use tracing::{info, warn};

pub use report::{About, Candidate, Outcome, Question, Report};

use crate::controller::{Controller, Controllers, Ports};
use crate::dns::Resolve;
use crate::ldap_ping::is_host_name;

/// Finds the domain controllers of one domain, and remembers them. Cheap to clone; the clones share what they know.
#[derive(Clone)]
pub struct Locator(Arc<Inner>);

struct Inner {
    domain: String,
    resolver: Arc<dyn Resolve>,
    /// In place of those in DNS.
    servers: Vec<Server>,
    /// In place of the one that a controller says this machine is in.
    site: Option<String>,
    patience: Patience,
    known: Mutex<Known>,
    /// Held by whoever looks: everybody else waits for what he finds.
    looking: Arc<tokio::sync::Mutex<()>>,
}

/// A domain controller as it stands in a configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Server {
    /// A name, or an address without brackets.
    pub host: String,
    /// Where its services listen.
    pub ports: Ports,
}

impl Server {
    /// Reads `dc1.corp.example.test`, `192.0.2.10`, `2001:db8::1`, each with LDAP's port after a colon where it is another
    /// than 389 (`[2001:db8::1]:1389`).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (host, port) = if let Some(v6) = text.strip_prefix('[') {
            let (host, after) = v6.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
        } else if text.parse::<IpAddr>().is_ok() {
            (text, None)
        } else {
            text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)))
        };
        let host = host.trim_end_matches('.');
        if host.parse::<IpAddr>().is_err() && !is_host_name(host) {
            return None;
        }
        let mut ports = Ports::default();
        if let Some(port) = port {
            ports.ldap = port.parse().ok().filter(|port| *port != 0)?;
        }
        Some(Self { host: host.to_owned(), ports })
    }
}

/// How long who is waited for, and how long what is remembered.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a controller's answer to a ping, over UDP, and then over TCP if nobody answered.
    pub ping: Duration,
    /// Before a datagram is sent again.
    pub again: Duration,
    /// Between the first pings to two controllers.
    pub stagger: Duration,
    /// For the others once one has answered.
    pub grace: Duration,
    /// How long what was found is good. After that it is still good while somebody looks anew.
    pub fresh: Duration,
    /// How soon somebody looks anew for a failure's sake, and no sooner.
    pub anew: Duration,
    /// How long it is remembered that nothing was found: a flood of logons must not become one of questions.
    pub in_vain: Duration,
    /// How long a controller that failed comes after the others.
    pub failed: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            ping: Duration::from_secs(2),
            again: Duration::from_millis(500),
            stagger: Duration::from_millis(20),
            grace: Duration::from_millis(150),
            fresh: Duration::from_secs(15 * 60),
            anew: Duration::from_secs(30),
            in_vain: Duration::from_secs(3),
            failed: Duration::from_secs(60),
        }
    }
}

#[derive(Default)]
struct Known {
    located: Option<Located>,
    /// When nothing was found, and what there was to say about it.
    in_vain: Option<(Instant, String)>,
    /// The site that a controller said this machine is in.
    site: Option<String>,
    /// Since when, and why.
    failed: HashMap<String, (Instant, String)>,
    /// When somebody last began to look.
    begun: Option<Instant>,
}

#[derive(Clone)]
struct Located {
    at: Instant,
    controllers: Arc<[Controller]>,
    about: Arc<About>,
}

impl Locator {
    /// Through DNS, or whatever `resolver` is. `domain` is the DNS name.
    #[must_use]
    pub fn new(domain: &str, resolver: Arc<dyn Resolve>) -> Self {
        Self(Arc::new(Inner {
            domain: domain.trim_end_matches('.').to_lowercase(),
            resolver,
            servers: Vec::new(),
            site: None,
            patience: Patience::default(),
            known: Mutex::default(),
            looking: Arc::default(),
        }))
    }

    /// These controllers, in this order, in place of those in DNS; none changes nothing.
    #[must_use]
    pub fn with_servers(self, servers: impl IntoIterator<Item = Server>) -> Self {
        let servers = servers.into_iter().collect();
        self.changed(|inner| inner.servers = servers)
    }

    /// The site whose controllers come first, whatever a controller says; `None` changes nothing.
    #[must_use]
    pub fn with_site(self, site: Option<String>) -> Self {
        self.changed(|inner| inner.site = site)
    }

    /// Waits otherwise.
    #[must_use]
    pub fn with_patience(self, patience: Patience) -> Self {
        self.changed(|inner| inner.patience = patience)
    }

    /// Another locator, which knows nothing yet.
    fn changed(self, change: impl FnOnce(&mut Inner)) -> Self {
        let mut inner = Inner {
            domain: self.0.domain.clone(),
            resolver: Arc::clone(&self.0.resolver),
            servers: self.0.servers.clone(),
            site: self.0.site.clone(),
            patience: self.0.patience,
            known: Mutex::default(),
            looking: Arc::default(),
        };
        change(&mut inner);
        Self(Arc::new(inner))
    }

    /// The domain's DNS name, in lower case.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.0.domain
    }

    /// What the domain is called, and in which site this machine is, as a controller has it. Unauthenticated.
    ///
    /// # Errors
    /// As [`Controllers::list`].
    pub async fn about(&self) -> Result<Arc<About>, String> {
        self.located().await.map(|located| located.about)
    }

    /// Looks now, and says everything that was seen on the way. What is found is remembered.
    pub async fn look(&self) -> Report {
        let turn = Arc::clone(&self.0.looking).lock_owned().await;
        self.0.look(turn).await
    }

    async fn located(&self) -> Result<Located, String> {
        match self.remembered() {
            Some(known) => known,
            None => {
                let turn = Arc::clone(&self.0.looking).lock_owned().await;
                // Somebody else may have found them in the meantime.
                if let Some(known) = self.remembered() {
                    return known;
                }
                let inner = Arc::clone(&self.0);
                // In a task of its own: whoever asked may lose interest, those who wait behind him do not.
                let looked = tokio::spawn(async move { inner.look(turn).await }).await;
                match (self.remembered(), looked) {
                    (Some(known), _) => known,
                    (None, Ok(report)) => Err(report.advice()),
                    (None, Err(_)) => Err(format!("the search for domain controllers of {} broke off", self.0.domain)),
                }
            }
        }
    }

    /// What is known without looking. Begins to look in the background if it is time for that.
    fn remembered(&self) -> Option<Result<Located, String>> {
        let now = Instant::now();
        let patience = &self.0.patience;
        let mut known = self.0.known();
        if let Some(located) = known.located.clone() {
            let age = now - located.at;
            let failed = known.failed.values().any(|(since, _)| *since >= located.at);
            let due = age >= patience.fresh || (failed && age >= patience.anew);
            if due
                && known.begun.is_none_or(|begun| now - begun >= patience.anew)
                && let Ok(turn) = Arc::clone(&self.0.looking).try_lock_owned()
            {
                known.begun = Some(now);
                let inner = Arc::clone(&self.0);
                tokio::spawn(async move { inner.look(turn).await });
            }
            return Some(Ok(located));
        }
        let (at, why) = known.in_vain.as_ref()?;
        (now - *at < patience.in_vain).then(|| Err(why.clone()))
    }
}

impl fmt::Debug for Locator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locator").field("domain", &self.0.domain).finish_non_exhaustive()
    }
}

impl Inner {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks, and remembers what is found. `turn` is held until it is.
    async fn look(&self, turn: tokio::sync::OwnedMutexGuard<()>) -> Report {
        let site = {
            let mut known = self.known();
            known.begun = Some(Instant::now());
            known.site.clone()
        };
        let report = search::Search::of(self, site).run().await;
        let now = Instant::now();
        let mut known = self.known();
        let controllers: Arc<[Controller]> = report.controllers().into();
        match &report.about {
            Some(about) => {
                let before = known.located.take();
                if before.as_ref().is_none_or(|before| before.controllers != controllers) {
                    let names: Vec<_> = controllers.iter().map(|controller| controller.host.as_str()).collect();
                    info!("domain {}: domain controllers {}", self.domain, names.join(", "));
                }
                known.site.clone_from(&about.client_site);
                known.failed.retain(|host, _| controllers.iter().any(|known| known.host.eq_ignore_ascii_case(host)));
                known.located = Some(Located { at: now, controllers, about: Arc::new(about.clone()) });
                known.in_vain = None;
            }
            None => {
                let why = report.advice();
                // Those that were found before may be back sooner than whoever tells where they are.
                warn!("domain {}: {why}", self.domain);
                known.in_vain = Some((now, why));
            }
        }
        drop(known);
        drop(turn);
        report
    }
}

impl Controllers for Locator {
    fn list<'a>(&'a self) -> Answer<'a, Result<Arc<[Controller]>, String>> {
        Box::pin(async move {
            let located = self.located().await?;
            let now = Instant::now();
            let mut known = self.0.known();
            known.failed.retain(|_, (since, _)| now - *since < self.0.patience.failed);
            if known.failed.is_empty() {
                return Ok(located.controllers);
            }
            let mut ordered = located.controllers.to_vec();
            // Those that failed longest ago are the likeliest to be back.
            ordered.sort_by_key(|controller| known.failed.get(&controller.host).map(|(since, _)| *since));
            Ok(ordered.into())
        })
    }

    fn failed(&self, host: &str, why: &str) {
        let mut known = self.0.known();
        let located = known.located.as_ref();
        let one_of_them = located.is_some_and(|located| located.controllers.iter().any(|known| known.host == host));
        if one_of_them {
            let before = known.failed.insert(host.to_owned(), (Instant::now(), why.to_owned()));
            drop(known);
            if before.is_none() {
                warn!("domain {}: {host} is asked last for a while: {why}", self.0.domain);
            }
        }
    }

    fn worked(&self, host: &str) {
        self.0.known().failed.remove(host);
    }
}

#[cfg(test)]
mod tests;
