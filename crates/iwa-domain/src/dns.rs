//! What the DNS says of services and hosts: SRV, A and AAAA. RFC 2782, RFC 1035, RFC 3596.
//!
//! Nothing of it is authenticated: it says where to ask, never whom to believe.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError as Refusal, NetError};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{Hosts, TokioResolver};
use iwa_auth::Entropy;
use iwa_auth::ports::Answer;

/// Where a service is, as a SRV record has it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Srv {
    /// Lower ones are asked first.
    pub priority: u16,
    /// The share of those of the same priority that this one is to get.
    pub weight: u16,
    /// Where it listens.
    pub port: u16,
    /// The host, without a final dot. Empty: the service is decidedly not offered.
    pub target: String,
}

/// Why the DNS says nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DnsError {
    /// It has been asked, and there is no such name.
    NoName,
    /// It has been asked, and the name has no such record.
    NoRecords,
    /// Nobody could tell; why, in words.
    Unanswered(String),
}

impl fmt::Display for DnsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoName => f.write_str("no such name"),
            Self::NoRecords => f.write_str("no such record"),
            Self::Unanswered(why) => f.write_str(why),
        }
    }
}

/// Whoever resolves names.
pub trait Resolve: Send + Sync + fmt::Debug {
    /// The SRV records of a name, at most [`MOST_SERVICES`]; at least one, which may be the one that says that there is none.
    fn services<'a>(&'a self, name: &'a str) -> Answer<'a, Result<Vec<Srv>, DnsError>>;

    /// The addresses of a host, of both families, at most [`MOST_ADDRESSES`]; at least one.
    fn addresses<'a>(&'a self, host: &'a str) -> Answer<'a, Result<Vec<IpAddr>, DnsError>>;

    /// Who is asked, for people: `192.0.2.10 (/etc/resolv.conf)`.
    fn source(&self) -> String;
}

/// The most SRV records that are taken of one name.
pub const MOST_SERVICES: usize = 256;

/// The most addresses that are taken of one host.
pub const MOST_ADDRESSES: usize = 16;

/// The DNS over UDP and TCP, and the hosts file before it for hosts.
///
/// Nothing is remembered here: whoever asks knows better for how long an answer is good.
pub struct Dns {
    from: From,
    /// The system's configuration as it was a moment ago. A server outlives many.
    now: Mutex<Option<(Instant, Arc<Asked>)>>,
}

#[derive(Clone, Debug)]
enum From {
    System,
    Listed(Vec<SocketAddr>),
}

/// Name servers, and the hosts file.
struct Asked {
    resolver: Result<TokioResolver, String>,
    hosts: Hosts,
    servers: Vec<String>,
}

impl Dns {
    /// The name servers of `/etc/resolv.conf` (or what the system has instead), read anew once in a while.
    #[must_use]
    pub fn system() -> Self {
        Self { from: From::System, now: Mutex::default() }
    }

    /// These name servers; the hosts file is honoured all the same.
    #[must_use]
    pub fn at(servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self { from: From::Listed(servers.into_iter().collect()), now: Mutex::default() }
    }

    /// Reads a name server as a person writes it: `192.0.2.10`, `192.0.2.10:5353`, `2001:db8::1`, `[2001:db8::1]:5353`.
    #[must_use]
    pub fn parse_server(text: &str) -> Option<SocketAddr> {
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        let with_port = || text.parse().ok().filter(|address: &SocketAddr| address.port() != 0);
        bare.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 53)).or_else(with_port)
    }

    fn asked(&self) -> Arc<Asked> {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        match &*now {
            Some((read, asked)) if read.elapsed() < REREAD => Arc::clone(asked),
            _ => {
                let asked = Arc::new(Asked::new(&self.from));
                *now = Some((Instant::now(), Arc::clone(&asked)));
                asked
            }
        }
    }
}

impl fmt::Debug for Dns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Dns").field(&self.from).finish()
    }
}

impl Resolve for Dns {
    fn services<'a>(&'a self, name: &'a str) -> Answer<'a, Result<Vec<Srv>, DnsError>> {
        Box::pin(async move {
            let asked = self.asked();
            let records = asked.lookup(name, RecordType::SRV).await?;
            let services = records.into_iter().filter_map(|record| match record {
                RData::SRV(srv) => {
                    Some(Srv { priority: srv.priority, weight: srv.weight, port: srv.port, target: host(&srv.target) })
                }
                _ => None,
            });
            let services: Vec<_> = services.take(MOST_SERVICES).collect();
            if services.is_empty() { Err(DnsError::NoRecords) } else { Ok(services) }
        })
    }

    fn addresses<'a>(&'a self, host: &'a str) -> Answer<'a, Result<Vec<IpAddr>, DnsError>> {
        Box::pin(async move {
            if let Ok(address) = host.parse() {
                return Ok(vec![address]);
            }
            let asked = self.asked();
            let listed = asked.listed(host);
            if !listed.is_empty() {
                return Ok(listed);
            }
            let (v4, v6) = tokio::join!(asked.lookup(host, RecordType::A), asked.lookup(host, RecordType::AAAA));
            let error = match (&v4, &v6) {
                (Err(DnsError::Unanswered(why)), Err(_)) | (Err(_), Err(DnsError::Unanswered(why))) => {
                    DnsError::Unanswered(why.clone())
                }
                (Err(error), _) => error.clone(),
                _ => DnsError::NoRecords,
            };
            let records = v4.into_iter().flatten().chain(v6.into_iter().flatten());
            let addresses: Vec<_> = records.filter_map(|record| record.ip_addr()).take(MOST_ADDRESSES).collect();
            if addresses.is_empty() { Err(error) } else { Ok(addresses) }
        })
    }

    fn source(&self) -> String {
        let asked = self.asked();
        match (&self.from, &asked.resolver) {
            (_, Err(why)) => why.clone(),
            (From::System, _) => format!("{} ({SYSTEM})", asked.servers.join(", ")),
            (From::Listed(_), _) => asked.servers.join(", "),
        }
    }
}

impl Asked {
    fn new(from: &From) -> Self {
        let configured = match from {
            From::System => hickory_resolver::system_conf::read_system_conf()
                .map_err(|error| format!("{SYSTEM} names no DNS server ({error})")),
            From::Listed(servers) => {
                let servers = servers.iter().map(|server| {
                    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                        connection.port = server.port();
                        connection
                    });
                    NameServerConfig::new(server.ip(), true, connections.into())
                });
                Ok((ResolverConfig::from_name_servers(servers.collect()), ResolverOpts::default()))
            }
        };
        let mut servers = Vec::new();
        let resolver = configured.and_then(|(config, mut options)| {
            for server in config.name_servers() {
                let port = server.connections.first().map_or(53, |connection| connection.port);
                let shown =
                    if port == 53 { server.ip.to_string() } else { SocketAddr::new(server.ip, port).to_string() };
                servers.push(shown);
            }
            // Whoever looks for a domain controller has someone waiting.
            options.timeout = options.timeout.min(PATIENCE);
            options.attempts = options.attempts.min(2);
            options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
            options.use_hosts_file = ResolveHosts::Never;
            options.cache_size = 0;
            let provider = TokioRuntimeProvider::default();
            let builder = TokioResolver::builder_with_config(config, provider).with_options(options);
            builder.build().map_err(|error| error.to_string())
        });
        // Without a hosts file there is nothing in it.
        Self { resolver, hosts: Hosts::from_system().unwrap_or_default(), servers }
    }

    async fn lookup(&self, name: &str, kind: RecordType) -> Result<Vec<RData>, DnsError> {
        let resolver = self.resolver.as_ref().map_err(|why| DnsError::Unanswered(why.clone()))?;
        let name = absolute(name).ok_or_else(|| DnsError::Unanswered(format!("`{name}` is no name of the DNS")))?;
        match tokio::time::timeout(LONGEST, resolver.lookup(name, kind)).await {
            Ok(Ok(lookup)) => Ok(lookup.answers().iter().map(|record| record.data.clone()).collect()),
            Ok(Err(error)) => Err(self.in_words(&error)),
            Err(_) => Err(self.silent()),
        }
    }

    fn silent(&self) -> DnsError {
        DnsError::Unanswered(format!("no answer from the DNS server {}", self.servers.join(", ")))
    }

    fn in_words(&self, error: &NetError) -> DnsError {
        match error {
            NetError::Dns(Refusal::NoRecordsFound(none)) => match none.response_code {
                ResponseCode::NXDomain => DnsError::NoName,
                _ => DnsError::NoRecords,
            },
            NetError::Timeout => self.silent(),
            NetError::Dns(Refusal::ResponseCode(code)) => {
                DnsError::Unanswered(format!("the DNS server {} says: {code}", self.servers.join(", ")))
            }
            error => DnsError::Unanswered(format!("the DNS server {}: {error}", self.servers.join(", "))),
        }
    }

    /// The addresses of a host in the hosts file. Whatever stands there holds, as `files dns` of nsswitch.conf has it.
    fn listed(&self, host: &str) -> Vec<IpAddr> {
        let Some(name) = absolute(host).map(|name| name.to_lowercase()) else { return Vec::new() };
        let of = |kind| self.hosts.lookup_static_host(&Query::query(name.clone(), kind));
        let lookups = [RecordType::A, RecordType::AAAA].into_iter().filter_map(of);
        let addresses = lookups
            .flat_map(|lookup| lookup.answers().iter().filter_map(|record| record.data.ip_addr()).collect::<Vec<_>>());
        addresses.take(MOST_ADDRESSES).collect()
    }
}

/// A name to which no search list is applied.
fn absolute(name: &str) -> Option<Name> {
    let mut name = Name::from_ascii(name).ok()?;
    name.set_fqdn(true);
    Some(name).filter(|name| !name.is_root())
}

/// Without the final dot; nothing for the root.
fn host(name: &Name) -> String {
    name.to_ascii().trim_end_matches('.').to_owned()
}

/// The records in the order in which they are to be asked: by priority, those of the same one drawn by their weights
/// (RFC 2782). Without randomness the heaviest come first.
#[must_use]
pub fn in_order(mut services: Vec<Srv>, entropy: &mut dyn Entropy) -> Vec<Srv> {
    // Those without weight come first among those that are drawn from, so that they have a chance, however small.
    services.sort_by_key(|srv| (srv.priority, srv.weight));
    let mut ordered = Vec::with_capacity(services.len());
    while let Some(first) = services.first() {
        let priority = first.priority;
        let group = services.partition_point(|srv| srv.priority == priority);
        let total: u64 = services.iter().take(group).map(|srv| u64::from(srv.weight)).sum();
        let mut random = [0; 8];
        let drawn = match entropy.fill(&mut random) {
            Ok(()) => u64::from_be_bytes(random) % (total + 1),
            Err(_) => total,
        };
        let mut sum = 0;
        let chosen = services.iter().take(group).position(|srv| {
            sum += u64::from(srv.weight);
            sum >= drawn
        });
        ordered.push(services.remove(chosen.unwrap_or(0)));
    }
    ordered
}

const SYSTEM: &str = "/etc/resolv.conf";

/// How long the system's configuration is taken to be what it was.
const REREAD: Duration = Duration::from_secs(10);

/// How long one name server is waited for at most.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long all of them are.
const LONGEST: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
