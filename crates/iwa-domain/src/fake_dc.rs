//! For tests: a domain controller that answers LDAP pings on loopback, and a DNS that is a table.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use iwa_auth::ports::Answer;
use iwa_wire::krb5::SequenceOf;
use iwa_wire::ldap::{Attribute, LdapResult, Message, Octets, Op, ResultCode, SearchResultEntry};
use iwa_wire::netlogon_ping::{DsFlags, NetlogonSamLogonResponseEx, opcode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};

use crate::dns::{DnsError, Resolve, Srv};

pub(crate) const DOMAIN: &str = "corp.example.test";

/// What `dc1.corp.example.test`, or another of this name, says to somebody in the site `Main`.
pub(crate) fn pong(name: &str) -> NetlogonSamLogonResponseEx {
    NetlogonSamLogonResponseEx {
        opcode: opcode::LOGON_SAM_LOGON_RESPONSE_EX,
        flags: DsFlags(0x3fd),
        domain_guid: [7; 16],
        dns_forest_name: "example.test".to_owned(),
        dns_domain_name: DOMAIN.to_owned(),
        dns_host_name: format!("{name}.{DOMAIN}"),
        netbios_domain_name: "CORP".to_owned(),
        netbios_computer_name: name.to_uppercase(),
        user_name: String::new(),
        dc_site_name: "Main".to_owned(),
        client_site_name: "Main".to_owned(),
        next_closest_site_name: None,
        nt_version: 5,
    }
}

/// The same from a site that is not that of whoever asked.
pub(crate) fn far(name: &str) -> NetlogonSamLogonResponseEx {
    let near = pong(name);
    NetlogonSamLogonResponseEx { flags: DsFlags(0x37d), dc_site_name: "Elsewhere".to_owned(), ..near }
}

pub(crate) fn encoded(pong: &NetlogonSamLogonResponseEx) -> Vec<u8> {
    let mut value = Vec::new();
    pong.write(&mut value);
    value
}

/// A domain controller, or what poses as one: what its attribute `Netlogon` holds, and how often it was asked.
#[derive(Clone)]
pub(crate) struct FakeDc {
    pub(crate) port: u16,
    pub(crate) value: Arc<Mutex<Option<Vec<u8>>>>,
    pub(crate) asked: Arc<Mutex<usize>>,
}

impl FakeDc {
    /// Over UDP, at 127.0.0.1.
    pub(crate) async fn new(pong: &NetlogonSamLogonResponseEx) -> Self {
        Self::at(Ipv4Addr::LOCALHOST.into(), Some(encoded(pong))).await
    }

    /// It takes everything, and says nothing, over UDP and TCP.
    pub(crate) async fn hanging() -> Self {
        let (udp, tcp) = both().await;
        let port = udp.local_addr().unwrap().port();
        tokio::spawn(async move {
            let _keep = (udp, tcp);
            std::future::pending::<()>().await;
        });
        Self { port, value: Arc::default(), asked: Arc::default() }
    }

    /// It is silent over UDP, as behind a firewall, and answers over TCP.
    pub(crate) async fn over_tcp(pong: &NetlogonSamLogonResponseEx) -> Self {
        let (udp, tcp) = both().await;
        let dc = Self::silent(udp.local_addr().unwrap().port(), Some(encoded(pong)));
        let answering = dc.clone();
        tokio::spawn(async move {
            let _keep = udp;
            loop {
                let (mut stream, _) = tcp.accept().await.unwrap();
                let mut request = [0; 2048];
                let length = stream.read(&mut request).await.unwrap();
                let answer = answering.answer(&request[..length]);
                // In two pieces, as TCP may have it.
                let (front, back) = answer.split_at(answer.len() / 2);
                stream.write_all(front).await.unwrap();
                stream.write_all(back).await.unwrap();
            }
        });
        dc
    }

    pub(crate) async fn at(address: IpAddr, value: Option<Vec<u8>>) -> Self {
        let socket = UdpSocket::bind((address, 0)).await.unwrap();
        let dc = Self::silent(socket.local_addr().unwrap().port(), value);
        let answering = dc.clone();
        tokio::spawn(async move {
            let mut request = [0; 2048];
            loop {
                let (length, from) = socket.recv_from(&mut request).await.unwrap();
                let answer = answering.answer(&request[..length]);
                socket.send_to(&answer, from).await.unwrap();
            }
        });
        dc
    }

    fn silent(port: u16, value: Option<Vec<u8>>) -> Self {
        Self { port, value: Arc::new(Mutex::new(value)), asked: Arc::default() }
    }

    pub(crate) fn says(&self, pong: &NetlogonSamLogonResponseEx) {
        *self.value.lock().unwrap() = Some(encoded(pong));
    }

    pub(crate) fn asked(&self) -> usize {
        *self.asked.lock().unwrap()
    }

    fn answer(&self, request: &[u8]) -> Vec<u8> {
        *self.asked.lock().unwrap() += 1;
        let request = Message::parse(request).unwrap();
        let Op::SearchRequest(search) = &request.op else { panic!("no search") };
        let wanted = search.attributes.iter().next().and_then(|name| name.as_str());
        let value = match wanted {
            Some("Netlogon") => self.value.lock().unwrap().clone(),
            Some("currentTime") => Some(b"20261123164814.0Z".to_vec()),
            _ => None,
        };
        let mut answer = Vec::new();
        if let Some(value) = value {
            let values = [Octets(&value)];
            let attributes = [Attribute { name: wanted.unwrap_or_default(), values: SequenceOf::of(&values) }];
            let entry = SearchResultEntry { dn: "", attributes: SequenceOf::of(&attributes) };
            Message::new(request.id, Op::SearchResultEntry(entry)).write(&mut answer);
        }
        Message::new(request.id, Op::SearchResultDone(LdapResult::of(ResultCode(0)))).write(&mut answer);
        answer
    }
}

/// The same port over UDP and TCP.
async fn both() -> (UdpSocket, TcpListener) {
    loop {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
            return (udp, tcp);
        }
    }
}

/// A DNS that is a table, and remembers what it was asked.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) services: Mutex<BTreeMap<String, Vec<Srv>>>,
    pub(crate) hosts: Mutex<BTreeMap<String, Vec<IpAddr>>>,
    pub(crate) down: Mutex<bool>,
    pub(crate) asked: Mutex<Vec<String>>,
}

impl Table {
    pub(crate) fn serve(&self, name: &str, services: Vec<Srv>) {
        self.services.lock().unwrap().insert(name.to_owned(), services);
    }

    /// A controller of this name everywhere, and at this address.
    pub(crate) fn controllers<'a>(&self, name: &str, listed: impl IntoIterator<Item = (u16, &'a str, u16)>) {
        let services = listed.into_iter().map(|(priority, dc, port)| {
            let target = format!("{dc}.{DOMAIN}");
            self.hosts.lock().unwrap().entry(target.clone()).or_insert_with(|| vec![Ipv4Addr::LOCALHOST.into()]);
            Srv { priority, weight: 100, port, target }
        });
        self.serve(name, services.collect());
    }

    pub(crate) fn host(&self, name: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        self.hosts.lock().unwrap().insert(name.to_owned(), addresses);
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    fn check(&self, name: &str) -> Result<(), DnsError> {
        self.asked.lock().unwrap().push(name.to_owned());
        if *self.down.lock().unwrap() {
            Err(DnsError::Unanswered("the DNS server is silent".to_owned()))
        } else {
            Ok(())
        }
    }
}

impl Resolve for Table {
    fn services<'a>(&'a self, name: &'a str) -> Answer<'a, Result<Vec<Srv>, DnsError>> {
        Box::pin(async move {
            self.check(name)?;
            self.services.lock().unwrap().get(name).cloned().ok_or(DnsError::NoName)
        })
    }

    fn addresses<'a>(&'a self, host: &'a str) -> Answer<'a, Result<Vec<IpAddr>, DnsError>> {
        Box::pin(async move {
            if let Ok(address) = host.parse() {
                return Ok(vec![address]);
            }
            self.check(host)?;
            self.hosts.lock().unwrap().get(host).cloned().ok_or(DnsError::NoName)
        })
    }

    fn source(&self) -> String {
        "192.0.2.53".to_owned()
    }
}

/// Where nobody listens.
pub(crate) async fn nobody() -> SocketAddr {
    let (udp, _tcp) = both().await;
    udp.local_addr().unwrap()
}
