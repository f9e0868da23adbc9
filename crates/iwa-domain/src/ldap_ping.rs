//! The LDAP ping: is a domain controller there, and what does it say of itself. MS-ADTS 6.3.3, 3.1.1.3.1.11 (LDAP over UDP).

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use iwa_auth::UnixTime;
use iwa_wire::explain::printable;
use iwa_wire::krb5::{KerberosTime, SequenceOf};
use iwa_wire::ldap::{Filter, Message, Octets, Op, Scope, SearchRequest};
use iwa_wire::netlogon_ping::{NetlogonSamLogonResponseEx, nt_version, opcode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout, timeout_at};

/// What a domain controller answered, and how fast.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pong {
    /// Its answer, which was held against the domain that was asked for.
    pub answer: NetlogonSamLogonResponseEx,
    /// How long it took.
    pub round_trip: Duration,
    /// Whether it came over TCP, because UDP was silent.
    pub by_tcp: bool,
}

/// Why there is no [`Pong`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NoPong {
    /// Nobody answered; how that showed.
    Silent(String),
    /// Somebody answered who is no domain controller of the domain, or cannot serve now.
    Refused(String),
}

impl fmt::Display for NoPong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Silent(text) | Self::Refused(text)) = self;
        f.write_str(text)
    }
}

/// Asks over UDP. The datagram is sent again after `again`, as one may be lost.
pub(crate) async fn by_udp(address: SocketAddr, domain: &str, wait: Duration, again: Duration) -> Result<Pong, NoPong> {
    let begun = Instant::now();
    let (id, request) = request(&ping(domain));
    let answer = over_udp(address, &request, wait, again, |datagram| read(datagram, id, domain)).await;
    Ok(Pong { answer: answer?, round_trip: begun.elapsed(), by_tcp: false })
}

/// Asks over TCP.
pub(crate) async fn by_tcp(address: SocketAddr, domain: &str, wait: Duration) -> Result<Pong, NoPong> {
    let begun = Instant::now();
    let (id, request) = request(&ping(domain));
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(&request).await?;
        let mut received = Vec::new();
        loop {
            if let Some(verdict) = read(&received, id, domain) {
                return Ok(verdict);
            }
            if received.len() > LONGEST || stream.read_buf(&mut received).await? == 0 {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "its answer is no LDAP message"));
            }
        }
    };
    let answer = match timeout(wait, exchange).await {
        Ok(Ok(verdict)) => verdict?,
        Ok(Err(error)) => return Err(NoPong::Silent(format!("TCP port {}: {error}", address.port()))),
        Err(_) => return Err(silent("TCP", address, wait)),
    };
    Ok(Pong { answer, round_trip: begun.elapsed(), by_tcp: true })
}

/// The clock of a domain controller: `currentTime` of its root DSE, to the second. Not authenticated: for advice only.
///
/// # Errors
/// In words, why it is not known.
pub async fn clock(address: SocketAddr) -> Result<UnixTime, String> {
    let wanted = Search { filter: Filter::present("objectClass"), attribute: "currentTime" };
    let (id, request) = request(&wanted);
    let read = |datagram: &[u8]| {
        let value = match value(datagram, id, wanted.attribute)? {
            Ok(value) => value.and_then(|value| KerberosTime::parse(&value)),
            Err(why) => return Some(Err(NoPong::Refused(why))),
        };
        let time = value.map(|time| UnixTime::from_secs(time.0));
        Some(time.ok_or_else(|| NoPong::Refused("it does not tell its time".to_owned())))
    };
    let wait = Duration::from_secs(2);
    over_udp(address, &request, wait, wait / 4, read).await.map_err(|error| error.to_string())
}

/// A search of the root DSE for one attribute.
struct Search {
    filter: Filter,
    attribute: &'static str,
}

fn ping(domain: &str) -> Search {
    let version = nt_version::V5 | nt_version::V5_EX;
    let filter = Filter::And(vec![Filter::equal("DnsDomain", domain), Filter::equal("NtVer", version.to_le_bytes())]);
    Search { filter, attribute: "Netlogon" }
}

/// The request and its number, by which the answer is known. Random, so that nobody who does not see it can answer.
fn request(search: &Search) -> (u32, Vec<u8>) {
    // Without randomness the socket's port still is what nobody knows.
    let id = getrandom::u32().unwrap_or(1) & 0x7fff_ffff | 1;
    let attributes = [Octets(search.attribute.as_bytes())];
    let search = SearchRequest {
        base: "",
        scope: Scope::Base,
        size_limit: 0,
        time_limit: 0,
        types_only: false,
        filter: search.filter.clone(),
        attributes: SequenceOf::of(&attributes),
    };
    let mut request = Vec::new();
    Message::new(id, Op::SearchRequest(search)).write(&mut request);
    (id, request)
}

async fn over_udp<T>(
    address: SocketAddr,
    request: &[u8],
    wait: Duration,
    again: Duration,
    read: impl Fn(&[u8]) -> Option<Result<T, NoPong>>,
) -> Result<T, NoPong> {
    let unreachable = |error: io::Error| NoPong::Silent(format!("UDP port {}: {error}", address.port()));
    let local: SocketAddr = if address.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(local).await.map_err(unreachable)?;
    // Connected, so that nobody else's datagrams arrive, and an ICMP refusal does.
    socket.connect(address).await.map_err(unreachable)?;
    let end = Instant::now() + wait;
    let mut buffer = vec![0; LONGEST];
    while Instant::now() < end {
        socket.send(request).await.map_err(unreachable)?;
        let next = end.min(Instant::now() + again);
        while let Ok(received) = timeout_at(next, socket.recv(&mut buffer)).await {
            let length = received.map_err(unreachable)?;
            // A datagram that is no answer is somebody's noise.
            if let Some(verdict) = read(buffer.get(..length).unwrap_or_default()) {
                return verdict;
            }
        }
    }
    Err(silent("UDP", address, wait))
}

fn silent(transport: &str, address: SocketAddr, wait: Duration) -> NoPong {
    NoPong::Silent(format!("no answer on {transport} port {} in {} ms", address.port(), wait.as_millis()))
}

/// What `bytes` say to the ping `id` about `domain`; `None` if they are not (yet) its answer.
fn read(bytes: &[u8], id: u32, domain: &str) -> Option<Result<NetlogonSamLogonResponseEx, NoPong>> {
    let refused = |why: String| Some(Err(NoPong::Refused(why)));
    let value = match value(bytes, id, "Netlogon")? {
        Ok(Some(value)) if !value.is_empty() => value,
        // MS-ADTS 6.3.3.3: that is how a controller says that it has no such domain.
        Ok(_) => return refused(format!("it knows no domain {domain}")),
        Err(why) => return refused(why),
    };
    let answer = match NetlogonSamLogonResponseEx::parse(&value) {
        Ok(answer) => answer,
        Err(error) => return refused(format!("its answer cannot be read: {error}")),
    };
    if !answer.dns_domain_name.eq_ignore_ascii_case(domain) {
        let other = printable(&answer.dns_domain_name);
        return refused(format!("it is a domain controller of {other}, not of {domain}"));
    }
    if answer.opcode == opcode::LOGON_SAM_PAUSE_RESPONSE_EX {
        return refused("its Netlogon service is paused: it is starting, stopping or under repair".to_owned());
    }
    if !is_host_name(&answer.dns_host_name) {
        return refused(format!("it calls itself `{}`, which is no DNS name", printable(&answer.dns_host_name)));
    }
    Some(Ok(answer))
}

/// The first value of `attribute` in the answer to `id`, or that there is none; `None` if the bytes are not the answer.
fn value(mut bytes: &[u8], id: u32, attribute: &str) -> Option<Result<Option<Vec<u8>>, String>> {
    loop {
        let (message, rest) = bytes.split_at_checked(Message::length(bytes, LONGEST).ok()??)?;
        let message = Message::parse(message).ok()?;
        match message.op {
            _ if message.id != id => {}
            Op::SearchResultEntry(entry) => return Some(Ok(entry.value(attribute).map(<[u8]>::to_vec))),
            Op::SearchResultDone(_) => return Some(Ok(None)),
            op => return Some(Err(format!("it answers a search with {}", op.name()))),
        }
        bytes = rest;
    }
}

/// Letters, digits, dashes, dots and underscores, as a certificate and a service principal can have it.
pub(crate) fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() < 64
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
            && !label.starts_with('-')
    };
    name.len() < 254 && name.split('.').all(label)
}

/// The longest answer that is read, in bytes.
const LONGEST: usize = 16 << 10;

#[cfg(test)]
mod tests;
