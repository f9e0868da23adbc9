//! Which KDCs a realm has, and which of them did not answer a moment ago. RFC 4120 7.2.3.2, RFC 2782.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::lookup_host;

use super::{KdcAddress, Kdcs};
use crate::controller::Controllers;
use crate::dns::{DnsError, Resolve, Srv, in_order};
use crate::kdc_server::SystemEntropy;
use crate::ldap_ping::is_host_name;

/// A KDC that may be asked, and what became of it.
pub(super) struct Target {
    pub(super) address: KdcAddress,
    /// Why it did not answer, the last time that it was asked.
    pub(super) failed: Option<String>,
    pub(super) asked: bool,
    found: Found,
}

/// How a KDC was found, and so how its name is resolved.
enum Found {
    Listed,
    InDns,
    /// It is this controller of a domain, and has these addresses.
    Controller {
        of: Arc<dyn Controllers>,
        host: String,
        addresses: Vec<SocketAddr>,
    },
}

/// What is remembered between two requests.
#[derive(Debug, Default)]
pub(super) struct Memory {
    found: Mutex<HashMap<String, Remembered>>,
    dead: Mutex<HashMap<KdcAddress, Instant>>,
}

#[derive(Clone, Debug)]
struct Remembered {
    until: Instant,
    kdcs: Result<Vec<KdcAddress>, String>,
}

impl Memory {
    /// Those that failed are asked last for a while; those that answered are not any more.
    pub(super) fn answered(&self, kdcs: &[Target]) {
        let now = Instant::now();
        let mut dead = locked(&self.dead);
        dead.retain(|_, since| now - *since < DEAD);
        for kdc in kdcs.iter().filter(|kdc| kdc.asked) {
            match (&kdc.failed, &kdc.found) {
                (Some(why), Found::Controller { of, host, .. }) => of.failed(host, &format!("Kerberos: {why}")),
                (None, Found::Controller { of, host, .. }) => of.worked(host),
                (Some(_), _) if dead.len() < MOST => drop(dead.insert(kdc.address.clone(), now)),
                (Some(_), _) => {}
                (None, _) => drop(dead.remove(&kdc.address)),
            }
        }
    }

    fn sort(&self, kdcs: &mut [Target]) {
        let now = Instant::now();
        let dead = locked(&self.dead);
        // Whoever failed longest ago is the likeliest to be back.
        kdcs.sort_by_key(|kdc| dead.get(&kdc.address).filter(|since| now - **since < DEAD).copied());
    }
}

impl Kdcs {
    /// The KDCs of a realm in the order in which they are to be asked: at least one.
    pub(super) async fn find(&self, realm: &str) -> Result<Vec<Target>, String> {
        let target =
            |found: fn() -> Found| move |address| Target { address, failed: None, asked: false, found: found() };
        let listed = self.of(realm);
        let mut kdcs: Vec<Target> = if !listed.is_empty() {
            listed.iter().cloned().map(target(|| Found::Listed)).collect()
        } else if let Some(controllers) = self.domains.get(&realm.to_uppercase()) {
            // In their own order, which knows who failed.
            return self.of_controllers(controllers).await;
        } else if let Some(dns) = &self.dns {
            self.of_dns(dns.as_ref(), realm).await?.into_iter().map(target(|| Found::InDns)).collect()
        } else {
            return Err(format!("no KDC of the realm {realm} is known: {NAME_ONE}"));
        };
        self.memory.sort(&mut kdcs);
        Ok(kdcs)
    }

    async fn of_controllers(&self, controllers: &Arc<dyn Controllers>) -> Result<Vec<Target>, String> {
        let listed = controllers.list().await?;
        let target = |controller: &crate::controller::Controller| {
            let port = controller.ports.kerberos;
            Target {
                address: KdcAddress { host: controller.host.clone(), port, tcp_only: false },
                failed: None,
                asked: false,
                found: Found::Controller {
                    of: Arc::clone(controllers),
                    host: controller.host.clone(),
                    addresses: controller.addresses.iter().map(|address| SocketAddr::new(*address, port)).collect(),
                },
            }
        };
        Ok(listed.iter().map(target).collect())
    }

    async fn of_dns(&self, dns: &dyn Resolve, realm: &str) -> Result<Vec<KdcAddress>, String> {
        let now = Instant::now();
        if let Some(remembered) = locked(&self.memory.found).get(realm).filter(|known| known.until > now) {
            return remembered.kdcs.clone();
        }
        let kdcs = ask_dns(dns, realm).await;
        let until = now + if kdcs.is_ok() { FRESH } else { IN_VAIN };
        let mut found = locked(&self.memory.found);
        if found.len() >= MOST {
            found.clear();
        }
        found.insert(realm.to_owned(), Remembered { until, kdcs: kdcs.clone() });
        kdcs
    }

    /// Where a KDC is: its name is resolved by whoever told it.
    pub(super) async fn addresses(&self, kdc: &Target) -> io::Result<Vec<SocketAddr>> {
        let KdcAddress { host, port, .. } = &kdc.address;
        match (&kdc.found, &self.dns) {
            (Found::Controller { addresses, .. }, _) => Ok(addresses.clone()),
            (Found::InDns, Some(dns)) => {
                let addresses = dns.addresses(host).await.map_err(|error| io::Error::other(error.to_string()))?;
                Ok(addresses.into_iter().map(|address| SocketAddr::new(address, *port)).collect())
            }
            _ => Ok(lookup_host((host.as_str(), *port)).await?.collect()),
        }
    }
}

/// `_kerberos._udp` and `_kerberos._tcp`: what is in the second alone is asked by TCP alone.
async fn ask_dns(dns: &dyn Resolve, realm: &str) -> Result<Vec<KdcAddress>, String> {
    if !is_host_name(realm) {
        return Err(format!("no KDC of the realm {realm} is known, and its name is none of the DNS: {NAME_ONE}"));
    }
    // Nothing is asked in the name of a search list: a realm is a whole name.
    let names = [format!("_kerberos._udp.{realm}"), format!("_kerberos._tcp.{realm}")];
    let [udp_name, tcp_name] = &names;
    let (udp, tcp) = tokio::join!(dns.services(udp_name), dns.services(tcp_name));
    let said = |name: &str, answer: &Result<Vec<Srv>, DnsError>| match answer {
        Ok(_) => format!("{name} (its record says that there is none)"),
        Err(error) => format!("{name} ({error})"),
    };
    let asked = [said(udp_name, &udp), said(tcp_name, &tcp)];
    let mut kdcs: Vec<KdcAddress> = Vec::new();
    for (answer, tcp_only) in [(udp, false), (tcp, true)] {
        for srv in in_order(answer.unwrap_or_default(), &mut SystemEntropy) {
            let host = srv.target.to_lowercase();
            let known = kdcs.iter().any(|kdc| kdc.host == host && kdc.port == srv.port);
            // Without a target the service is decidedly not there (RFC 2782).
            if !known && srv.port != 0 && is_host_name(&host) && kdcs.len() < MOST_ASKED {
                kdcs.push(KdcAddress { host, port: srv.port, tcp_only });
            }
        }
    }
    if kdcs.is_empty() {
        return Err(format!(
            "no KDC of the realm {realm} is known. Asked the DNS server {} for the SRV records {}: {NAME_ONE}, or let \
             /etc/resolv.conf name a DNS server that knows the realm",
            dns.source(),
            asked.join(" and ")
        ));
    }
    Ok(kdcs)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const NAME_ONE: &str = "name one (`kdc =` under [realms] in krb5.conf, or in the configuration)";

/// How long what DNS said is good.
const FRESH: Duration = Duration::from_secs(5 * 60);

/// How long it is remembered that DNS knew none.
const IN_VAIN: Duration = Duration::from_secs(10);

/// How long a KDC that did not answer comes after the others.
const DEAD: Duration = Duration::from_secs(60);

/// The most realms, and the most silent KDCs, that are remembered.
const MOST: usize = 64;

/// The most KDCs of one realm that are asked.
const MOST_ASKED: usize = 8;
