//! A KDC on the network: UDP and TCP on one port. RFC 4120 7.2.
//!
//! Every request is answered on its own; what comes in excess of the limits is dropped (UDP, where clients ask again) or
//! closed (TCP). Nothing of a client is kept after its answer.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use iwa_auth::env::EntropyError;
use iwa_auth::krb5::issuer::{Answer, Kdc, PrincipalDb, Transport};
use iwa_auth::{Entropy, Env};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout, timeout_at};

use crate::local::now;

/// What a KDC bears.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Datagrams that are answered at the same time.
    pub datagrams: usize,
    /// Connections at the same time.
    pub connections: usize,
    /// The longest request over TCP, in bytes. A ticket with many groups is some tens of kilobytes long.
    pub request: usize,
    /// How long a connection may be silent.
    pub idle: Duration,
    /// How long a connection may last.
    pub connection: Duration,
    /// How long connections may go on when the KDC stops.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            datagrams: 64,
            connections: 256,
            request: 128 * 1024,
            idle: Duration::from_secs(10),
            connection: Duration::from_secs(60),
            grace: Duration::from_secs(5),
        }
    }
}

/// A running KDC. Dropped, it stops at once; [`KdcServer::stop`] lets answers under way go out.
#[derive(Debug)]
pub struct KdcServer {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    tasks: [JoinHandle<()>; 2],
}

/// What requests are answered with.
#[derive(Clone)]
struct Service {
    kdc: Arc<Kdc>,
    db: Arc<dyn PrincipalDb + Send + Sync>,
    limits: Limits,
}

impl KdcServer {
    /// Listens on `address`, UDP and TCP; with port 0 on any port that is free for both.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn start(
        address: SocketAddr,
        kdc: Kdc,
        db: Arc<dyn PrincipalDb + Send + Sync>,
        limits: Limits,
    ) -> io::Result<Self> {
        let (tcp, udp) = bind(address).await?;
        let address = tcp.local_addr()?;
        let service = Service { kdc: Arc::new(kdc), db, limits };
        let (stop, stopped) = watch::channel(false);
        let tasks = [
            tokio::spawn(service.clone().datagrams(udp, stopped.clone())),
            tokio::spawn(service.connections(tcp, stopped)),
        ];
        Ok(Self { address, stop, tasks })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more requests, and returns when those under way are answered or their time is over.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        for task in &mut self.tasks {
            let _ = task.await;
        }
    }
}

impl Drop for KdcServer {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// TCP first: of the two it is the one that lingers.
async fn bind(address: SocketAddr) -> io::Result<(TcpListener, UdpSocket)> {
    let mut tries = 16;
    loop {
        let tcp = TcpListener::bind(address).await?;
        match UdpSocket::bind(tcp.local_addr()?).await {
            Ok(udp) => return Ok((tcp, udp)),
            Err(_) if address.port() == 0 && tries > 0 => tries -= 1,
            Err(error) => return Err(error),
        }
    }
}

impl Service {
    async fn datagrams(self, socket: UdpSocket, mut stop: watch::Receiver<bool>) {
        let socket = Arc::new(socket);
        let free = Arc::new(Semaphore::new(self.limits.datagrams));
        let mut tasks = JoinSet::new();
        let mut buffer = vec![0; 65_536];
        loop {
            let received = tokio::select! {
                _ = stop.changed() => break,
                received = socket.recv_from(&mut buffer) => received,
            };
            while tasks.try_join_next().is_some() {}
            // An error is of an earlier answer that could not be delivered.
            let Ok((length, peer)) = received else { continue };
            let Ok(permit) = Arc::clone(&free).try_acquire_owned() else {
                tracing::debug!(%peer, "dropped: too many requests at the same time");
                continue;
            };
            let request = buffer.get(..length).unwrap_or_default().to_vec();
            let (service, socket) = (self.clone(), Arc::clone(&socket));
            tasks.spawn(async move {
                if let Some(reply) = service.answer(request, peer, Transport::Udp).await {
                    let _ = socket.send_to(&reply, peer).await;
                }
                drop(permit);
            });
        }
        self.finish(tasks).await;
    }

    async fn connections(self, listener: TcpListener, mut stop: watch::Receiver<bool>) {
        let free = Arc::new(Semaphore::new(self.limits.connections));
        let mut tasks = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                _ = stop.changed() => break,
                accepted = listener.accept() => accepted,
            };
            while tasks.try_join_next().is_some() {}
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, most likely: to try again at once would only burn the processor.
                    tracing::warn!("the KDC cannot accept a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let Ok(permit) = Arc::clone(&free).try_acquire_owned() else {
                tracing::debug!(%peer, "closed: too many connections");
                continue;
            };
            let (service, stop) = (self.clone(), stop.clone());
            tasks.spawn(async move {
                if let Err(error) = service.connection(stream, peer, stop).await {
                    tracing::debug!(%peer, "connection ended: {error}");
                }
                drop(permit);
            });
        }
        drop(listener);
        self.finish(tasks).await;
    }

    async fn finish(&self, mut tasks: JoinSet<()>) {
        let all = async { while tasks.join_next().await.is_some() {} };
        let _ = timeout(self.limits.grace, all).await;
    }

    /// One connection: requests one after the other, each behind its length in four bytes (RFC 4120 7.2.2).
    async fn connection(
        &self,
        mut stream: TcpStream,
        peer: SocketAddr,
        mut stop: watch::Receiver<bool>,
    ) -> io::Result<()> {
        let _ = stream.set_nodelay(true);
        let end = Instant::now() + self.limits.connection;
        loop {
            let idle = end.min(Instant::now() + self.limits.idle);
            let mut head = [0; 4];
            tokio::select! {
                _ = stop.changed() => return Ok(()),
                read = timeout_at(idle, stream.read_exact(&mut head)) => match read? {
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                    read => { read?; }
                },
            }
            let length = u32::from_be_bytes(head) as usize;
            // The highest bit is for extensions (RFC 5021), of which there are none here: it too is too long.
            if length > self.limits.request {
                let reply = {
                    let mut entropy = SystemEntropy;
                    self.kdc.too_long(&Env { now: now(), entropy: &mut entropy })
                };
                write(&mut stream, &reply, idle).await?;
                return Ok(());
            }
            let mut request = vec![0; length];
            timeout_at(idle, stream.read_exact(&mut request)).await??;
            let Some(reply) = self.answer(request, peer, Transport::Tcp).await else { return Ok(()) };
            write(&mut stream, &reply, end.min(Instant::now() + self.limits.idle)).await?;
        }
    }

    /// The answer to one request, if there is to be one. Made where blocking is allowed: the accounts may have to be read.
    async fn answer(&self, request: Vec<u8>, peer: SocketAddr, transport: Transport) -> Option<Vec<u8>> {
        let service = self.clone();
        let answered = tokio::task::spawn_blocking(move || {
            let mut entropy = SystemEntropy;
            let mut env = Env { now: now(), entropy: &mut entropy };
            service.kdc.respond(&request, service.db.as_ref(), &mut env, transport)
        });
        let Ok(Answer { reply, outcome }) = answered.await else {
            tracing::error!(%peer, "the KDC failed at a request: please report it");
            return None;
        };
        if reply.is_empty() {
            tracing::debug!(%peer, "{}", outcome.why);
            return None;
        }
        tracing::info!(%peer, "{outcome}");
        Some(reply)
    }
}

/// A `krb5.conf` with which MIT's and Heimdal's programs find a KDC at `address`, and take `hosts` for members of its realm. The
/// names of hosts are used as they are typed: nothing is asked of a DNS server.
#[must_use]
pub fn krb5_conf(realm: &str, address: SocketAddr, hosts: &[&str]) -> String {
    let mut reached = address;
    if reached.ip().is_unspecified() {
        reached.set_ip(match reached.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    let domain = realm.to_ascii_lowercase();
    let hosts: String = hosts.iter().map(|host| format!("    {host} = {realm}\n")).collect();
    format!(
        "[libdefaults]\n    default_realm = {realm}\n    dns_lookup_kdc = false\n    dns_lookup_realm = false\n    \
         dns_canonicalize_hostname = false\n    rdns = false\n    forwardable = true\n\n\
         [realms]\n    {realm} = {{\n        kdc = {reached}\n    }}\n\n\
         [domain_realm]\n    {domain} = {realm}\n    .{domain} = {realm}\n{hosts}"
    )
}

async fn write(stream: &mut TcpStream, reply: &[u8], until: Instant) -> io::Result<()> {
    let mut framed = Vec::with_capacity(4 + reply.len());
    framed.extend_from_slice(&u32::try_from(reply.len()).unwrap_or(u32::MAX).to_be_bytes());
    framed.extend_from_slice(reply);
    timeout_at(until, stream.write_all(&framed)).await?
}

/// The operating system's randomness.
pub(crate) struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        getrandom::fill(out).map_err(|_| EntropyError)
    }
}
