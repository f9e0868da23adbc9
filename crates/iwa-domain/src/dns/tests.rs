use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use hickory_resolver::proto::op::{Message, OpCode};
use hickory_resolver::proto::rr::Record;
use hickory_resolver::proto::rr::rdata::{A, AAAA, SRV};
use iwa_auth::env::EntropyError;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};

use super::*;

/// Gives numbers that were decided on before.
struct Drawn(Vec<u64>);

impl Entropy for Drawn {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        let next = self.0.pop().ok_or(EntropyError)?;
        out.copy_from_slice(&next.to_be_bytes());
        Ok(())
    }
}

fn srv(priority: u16, weight: u16, target: &str) -> Srv {
    Srv { priority, weight, port: 389, target: target.to_owned() }
}

fn targets(services: &[Srv]) -> Vec<&str> {
    services.iter().map(|srv| srv.target.as_str()).collect()
}

#[test]
fn a_lower_priority_comes_first_whatever_its_weight() {
    let services = vec![srv(10, 65_535, "far"), srv(0, 1, "near"), srv(20, 0, "last")];
    assert_eq!(targets(&in_order(services, &mut Drawn(vec![u64::MAX; 3]))), ["near", "far", "last"]);
}

#[test]
fn weights_are_shares_and_a_weight_of_nothing_is_a_small_one() {
    let services = || vec![srv(0, 30, "b"), srv(0, 0, "none"), srv(0, 70, "a")];
    let first = |drawn: u64| in_order(services(), &mut Drawn(vec![0, 0, drawn])).remove(0).target;
    // The running sums are 0, 30 and 100.
    for (drawn, wanted) in [(0, "none"), (1, "b"), (30, "b"), (31, "a"), (100, "a"), (101, "none")] {
        assert_eq!(first(drawn), wanted, "{drawn}");
    }
    assert_eq!(targets(&in_order(services(), &mut Drawn(Vec::new()))), ["a", "b", "none"]);
}

type Zone = BTreeMap<(&'static str, RecordType), Vec<RData>>;

fn answer(zone: &Zone, request: &[u8], truncated: bool) -> Option<Vec<u8>> {
    let request = Message::from_vec(request).ok()?;
    let query = request.queries.first()?.clone();
    let name = query.name().to_ascii();
    let mut response = Message::response(request.metadata.id, OpCode::Query);
    response.add_query(query.clone());
    if name.starts_with("refused.") {
        response.metadata.response_code = ResponseCode::Refused;
    } else if zone.keys().all(|(known, _)| *known != name) {
        response.metadata.response_code = ResponseCode::NXDomain;
    }
    let records = zone.iter().find(|((known, kind), _)| *known == name && *kind == query.query_type());
    if truncated && records.is_some() {
        response.metadata.truncation = true;
    } else {
        for data in records.into_iter().flat_map(|(_, data)| data) {
            response.add_answer(Record::from_rdata(query.name().clone(), 60, data.clone()));
        }
    }
    response.to_vec().ok()
}

/// A name server over UDP and TCP; over UDP, everything may be too long.
async fn name_server(zone: Zone, truncated: bool) -> SocketAddr {
    let (udp, tcp) = loop {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
            break (udp, tcp);
        }
    };
    let address = udp.local_addr().unwrap();
    let over_tcp = zone.clone();
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        loop {
            let (length, from) = udp.recv_from(&mut buffer).await.unwrap();
            if let Some(answer) = answer(&zone, &buffer[..length], truncated) {
                udp.send_to(&answer, from).await.unwrap();
            }
        }
    });
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = tcp.accept().await.unwrap();
            while let Ok(length) = stream.read_u16().await {
                let mut request = vec![0; usize::from(length)];
                stream.read_exact(&mut request).await.unwrap();
                let answer = answer(&over_tcp, &request, false).unwrap();
                stream.write_u16(answer.len() as u16).await.unwrap();
                stream.write_all(&answer).await.unwrap();
            }
        }
    });
    address
}

fn zone() -> Zone {
    let record = |port, target| RData::SRV(SRV::new(0, 100, port, Name::from_ascii(target).unwrap()));
    Zone::from([
        (("_ldap._tcp.dc._msdcs.corp.example.test.", RecordType::SRV), vec![record(389, "DC1.corp.example.test.")]),
        (("_ldap._tcp.none.example.test.", RecordType::SRV), vec![record(0, ".")]),
        (("many.example.test.", RecordType::A), (0..40).map(|n| RData::A(A::new(192, 0, 2, n))).collect()),
        (("dc1.corp.example.test.", RecordType::A), vec![RData::A(A::new(192, 0, 2, 10))]),
        (("six.corp.example.test.", RecordType::AAAA), vec![RData::AAAA(AAAA::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))]),
    ])
}

#[tokio::test]
async fn services_and_hosts_are_found_over_udp_and_what_is_too_long_for_it_over_tcp() {
    for truncated in [false, true] {
        let dns = Dns::at([name_server(zone(), truncated).await]);
        let services = dns.services("_ldap._tcp.dc._msdcs.corp.example.test").await.unwrap();
        assert_eq!(services, [srv(0, 100, "DC1.corp.example.test")]);
        assert_eq!(dns.services("_ldap._tcp.none.example.test").await.unwrap()[0].target, "");
        assert_eq!(dns.addresses("dc1.corp.example.test").await.unwrap(), ["192.0.2.10".parse::<IpAddr>().unwrap()]);
        assert_eq!(dns.addresses("six.corp.example.test").await.unwrap(), ["2001:db8::1".parse::<IpAddr>().unwrap()]);
        assert_eq!(dns.addresses("many.example.test").await.unwrap().len(), MOST_ADDRESSES);
    }
}

#[tokio::test]
async fn a_name_that_is_not_there_is_told_from_one_without_the_record_and_from_silence() {
    let server = name_server(zone(), false).await;
    let dns = Dns::at([server]);
    assert_eq!(dns.services("_ldap._tcp.nowhere.example.test").await, Err(DnsError::NoName));
    assert_eq!(dns.services("dc1.corp.example.test").await, Err(DnsError::NoRecords));
    assert_eq!(dns.addresses("nowhere.example.test").await, Err(DnsError::NoName));
    let Err(DnsError::Unanswered(said)) = dns.services("refused.example.test").await else { panic!("not refused") };
    assert!(said.contains(&server.to_string()) && said.contains("Refused"), "{said}");
    for name in ["", ".", "a..b", "white space\u{7f}.test"] {
        assert!(matches!(dns.services(name).await, Err(DnsError::Unanswered(_))), "{name}");
    }
    // Nobody listens there any more.
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let gone = Dns::at([socket.local_addr().unwrap()]);
    drop(socket);
    assert!(matches!(gone.services("_ldap._tcp.example.test").await, Err(DnsError::Unanswered(_))));
}

#[tokio::test]
async fn an_address_and_the_hosts_file_need_no_dns() {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let dns = Dns::at([socket.local_addr().unwrap()]);
    assert_eq!(dns.addresses("192.0.2.7").await.unwrap(), ["192.0.2.7".parse::<IpAddr>().unwrap()]);
    assert_eq!(dns.addresses("2001:db8::7").await.unwrap(), ["2001:db8::7".parse::<IpAddr>().unwrap()]);
    let mut asked = Asked::new(&From::Listed(vec![socket.local_addr().unwrap()]));
    asked.hosts.read_hosts_conf(&b"192.0.2.8 DC8.example.test dc8\n2001:db8::8 dc8.example.test\n"[..]).unwrap();
    let listed = asked.listed("dc8.Example.test");
    assert_eq!(listed, ["192.0.2.8".parse::<IpAddr>().unwrap(), "2001:db8::8".parse().unwrap()]);
    assert!(asked.listed("dc9.example.test").is_empty());
}

#[test]
fn a_name_server_is_written_in_many_ways() {
    for (text, wanted) in [
        ("192.0.2.10", "192.0.2.10:53"),
        ("192.0.2.10:5353", "192.0.2.10:5353"),
        ("2001:db8::1", "[2001:db8::1]:53"),
        ("[2001:db8::1]", "[2001:db8::1]:53"),
        ("[2001:db8::1]:5353", "[2001:db8::1]:5353"),
    ] {
        assert_eq!(Dns::parse_server(text).map(|server| server.to_string()).as_deref(), Some(wanted));
    }
    for text in ["", "dns.example.test", "192.0.2.10:0", "192.0.2.10:x", "[192.0.2.10"] {
        assert_eq!(Dns::parse_server(text), None, "{text}");
    }
}
