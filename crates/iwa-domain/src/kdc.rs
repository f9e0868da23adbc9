//! Carrying messages to KDCs: UDP, then TCP with four bytes of length. RFC 4120 7.2.
//!
//! Which KDCs a realm has is configured or read from a krb5.conf ([`Krb5Conf`]); else it is known by whoever knows the domain's
//! controllers; else the DNS is asked (`find`), if that is allowed.

mod find;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use iwa_auth::ports::{Answer, Kdc};
use iwa_wire::krb5::KrbError;
use iwa_wire::krb5::error::code;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::controller::Controllers;
use crate::dns::Resolve;
use crate::krb5_conf::Krb5Conf;
use find::{Memory, Target};

/// The KDCs of realms, and how long they are waited for. Clones share what they remember.
#[derive(Clone, Debug, Default)]
pub struct Kdcs {
    realms: BTreeMap<String, Vec<KdcAddress>>,
    domains: BTreeMap<String, Arc<dyn Controllers>>,
    dns: Option<Arc<dyn Resolve>>,
    patience: Patience,
    memory: Arc<Memory>,
}

/// How long one KDC is waited for before the next is asked.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For the answer to the first datagram.
    pub udp: Duration,
    /// For a connection, and then for the answer over it.
    pub tcp: Duration,
    /// For the answer to the last datagram, after every KDC was asked in both ways.
    pub last: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { udp: Duration::from_secs(1), tcp: Duration::from_secs(3), last: Duration::from_secs(3) }
    }
}

/// Where a KDC listens.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct KdcAddress {
    /// A name, or an address without brackets.
    pub host: String,
    /// 88 where nothing else is said.
    pub port: u16,
    /// Whether only TCP may be used.
    pub tcp_only: bool,
}

impl KdcAddress {
    /// Reads `host`, `host:port`, `[v6]:port`, with `tcp/` or `tcp:` before it if UDP is not to be used.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (rest, tcp_only) = match text.strip_prefix("tcp/").or_else(|| text.strip_prefix("tcp:")) {
            Some(rest) => (rest, true),
            None => (text.strip_prefix("udp/").unwrap_or(text), false),
        };
        let (host, port) = if let Some(v6) = rest.strip_prefix('[') {
            let (host, after) = v6.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, after.strip_prefix(':').or_else(|| after.is_empty().then_some("88"))?)
        } else if rest.parse::<IpAddr>().is_ok() {
            (rest, "88")
        } else {
            rest.split_once(':').unwrap_or((rest, "88"))
        };
        let port = port.parse().ok().filter(|port| *port != 0)?;
        let plain = !host.is_empty() && host.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '/' | '[' | ']'));
        plain.then(|| Self { host: host.to_owned(), port, tcp_only })
    }
}

impl fmt::Display for KdcAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, tcp_only } = self;
        let tcp = if *tcp_only { "tcp/" } else { "" };
        if host.contains(':') { write!(f, "{tcp}[{host}]:{port}") } else { write!(f, "{tcp}{host}:{port}") }
    }
}

impl Kdcs {
    /// No realm at all.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The realms of a krb5.conf.
    #[must_use]
    pub fn from_krb5_conf(conf: &Krb5Conf) -> Self {
        let mut kdcs = Self::new();
        for (realm, addresses) in conf.kdcs() {
            kdcs.add(realm, addresses.iter().filter_map(|address| KdcAddress::parse(address)));
        }
        kdcs
    }

    /// Adds KDCs to a realm, after those it has.
    pub fn add(&mut self, realm: &str, addresses: impl IntoIterator<Item = KdcAddress>) {
        self.realms.entry(realm.to_owned()).or_default().extend(addresses);
    }

    /// The KDCs of a realm for which none is named are the controllers of this domain.
    pub fn set_controllers(&mut self, realm: &str, controllers: Arc<dyn Controllers>) {
        self.domains.insert(realm.to_uppercase(), controllers);
    }

    /// The KDCs of every other realm are looked for in the DNS (RFC 4120 7.2.3.2).
    pub fn set_dns(&mut self, dns: Arc<dyn Resolve>) {
        self.dns = Some(dns);
    }

    /// Waits otherwise.
    pub fn set_patience(&mut self, patience: Patience) {
        self.patience = patience;
    }

    /// The KDCs that are named for a realm, in the order in which they are asked. A realm that is known in another case only is taken for
    /// that one: Windows does not tell them apart, and another KDC will say that it is not its own.
    #[must_use]
    pub fn of(&self, realm: &str) -> &[KdcAddress] {
        let other_case =
            || self.realms.iter().find(|(known, _)| known.eq_ignore_ascii_case(realm)).map(|(_, kdcs)| kdcs);
        self.realms.get(realm).or_else(other_case).map(Vec::as_slice).unwrap_or_default()
    }

    /// Sends `request` to the KDCs of `realm`, one after the other, until one answers.
    ///
    /// # Errors
    /// In words, which KDCs were asked and what became of it.
    pub async fn ask(&self, realm: &str, request: &[u8]) -> Result<Vec<u8>, String> {
        let mut kdcs = self.find(realm).await?;
        let mut failures: Vec<String> = Vec::new();
        // Silence over UDP may be a firewall as well as a dead KDC: all of them by UDP, then by TCP, then once more.
        for round in [Round::Udp, Round::Tcp, Round::Last] {
            for kdc in &mut kdcs {
                let why = match self.try_one(kdc, request, round).await {
                    Ok(Some(answer)) if is_unavailable(&answer) => "it says that it is not available".to_owned(),
                    Ok(Some(answer)) => {
                        self.memory.answered(&kdcs);
                        return Ok(answer);
                    }
                    Ok(None) => continue,
                    Err(error) => format!("by {}: {error}", round.name()),
                };
                failures.push(format!("{} {why}", kdc.address));
                kdc.failed = Some(why);
            }
        }
        self.memory.answered(&kdcs);
        Err(format!("{realm}: {}", failures.join("; ")))
    }

    async fn try_one(&self, kdc: &mut Target, request: &[u8], round: Round) -> io::Result<Option<Vec<u8>>> {
        let tcp_only = kdc.address.tcp_only || request.len() > UDP_PREFERENCE_LIMIT;
        let wait = match round {
            Round::Udp if !tcp_only => self.patience.udp,
            Round::Last if !kdc.address.tcp_only && request.len() <= UDP_LIMIT => self.patience.last,
            Round::Tcp => self.patience.tcp,
            _ => return Ok(None),
        };
        kdc.asked = true;
        let mut last = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
        for address in within(wait, self.addresses(kdc)).await? {
            let answer = match round {
                Round::Tcp => self.by_tcp(address, request).await,
                _ => match within(wait, by_udp(address, request)).await {
                    Ok(answer) if is_too_big(&answer) => self.by_tcp(address, request).await,
                    other => other,
                },
            };
            match answer {
                Ok(answer) => {
                    if !is_unavailable(&answer) {
                        kdc.failed = None;
                    }
                    return Ok(Some(answer));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn by_tcp(&self, address: SocketAddr, request: &[u8]) -> io::Result<Vec<u8>> {
        let mut stream = within(self.patience.tcp, TcpStream::connect(address)).await?;
        let length = u32::try_from(request.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        within(self.patience.tcp, async {
            let mut framed = Vec::with_capacity(request.len() + 4);
            framed.extend_from_slice(&length.to_be_bytes());
            framed.extend_from_slice(request);
            stream.write_all(&framed).await?;
            let length = stream.read_u32().await? as usize;
            if length == 0 || length > TCP_LIMIT {
                let text = format!("it announces an answer of {length} bytes; 1 to {TCP_LIMIT} are taken");
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            let mut answer = vec![0; length];
            stream.read_exact(&mut answer).await?;
            plausible(answer)
        })
        .await
    }
}

impl Kdc for Kdcs {
    fn ask<'a>(&'a self, realm: &'a str, request: &'a [u8]) -> Answer<'a, Result<Vec<u8>, String>> {
        Box::pin(self.ask(realm, request))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Round {
    Udp,
    Tcp,
    Last,
}

impl Round {
    const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp | Self::Last => "UDP",
        }
    }
}

/// Above this TCP is tried first: the answer carries what the request carries, and a PAC (MIT's `udp_preference_limit`).
const UDP_PREFERENCE_LIMIT: usize = 1465;
/// The most that a datagram holds.
const UDP_LIMIT: usize = 65_507;
/// The longest answer over TCP: a ticket with a PAC of a thousand groups has 60 kB.
const TCP_LIMIT: usize = 1 << 20;

async fn by_udp(address: SocketAddr, request: &[u8]) -> io::Result<Vec<u8>> {
    let local: SocketAddr = if address.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(local).await?;
    // Connected, so that nobody else's datagrams arrive, and an ICMP refusal does.
    socket.connect(address).await?;
    socket.send(request).await?;
    let mut buffer = vec![0; 65_536];
    loop {
        let length = socket.recv(&mut buffer).await?;
        let mut answer = buffer.get(..length).unwrap_or_default().to_vec();
        answer.shrink_to_fit();
        // A datagram that is no answer is somebody's noise.
        if let Ok(answer) = plausible(answer) {
            return Ok(answer);
        }
    }
}

/// AS-REP, TGS-REP or KRB-ERROR by its tag.
fn plausible(answer: Vec<u8>) -> io::Result<Vec<u8>> {
    match answer.first() {
        Some(0x6b | 0x6d | 0x7e) => Ok(answer),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "its answer is no Kerberos message: another service listens there",
        )),
    }
}

fn is_too_big(answer: &[u8]) -> bool {
    is_error(answer, code::KRB_ERR_RESPONSE_TOO_BIG)
}

fn is_unavailable(answer: &[u8]) -> bool {
    is_error(answer, code::KDC_ERR_SVC_UNAVAILABLE)
}

fn is_error(answer: &[u8], wanted: i32) -> bool {
    answer.first() == Some(&0x7e) && KrbError::parse(answer).is_ok_and(|error| error.error_code == wanted)
}

async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match timeout(limit, work).await {
        Ok(done) => done,
        Err(_) => {
            let text = format!("no answer in {} ms", limit.as_millis());
            Err(io::Error::new(io::ErrorKind::TimedOut, text))
        }
    }
}

#[cfg(test)]
mod tests;
