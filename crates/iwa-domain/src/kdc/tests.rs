use std::net::Ipv4Addr;

use tokio::net::TcpListener;

use super::*;
use crate::controller::{Controller, Ports};
use crate::dns::Srv;
use crate::fake_dc::Table;

fn address(port: u16) -> KdcAddress {
    KdcAddress { host: Ipv4Addr::LOCALHOST.to_string(), port, tcp_only: false }
}

fn kdcs(addresses: impl IntoIterator<Item = KdcAddress>) -> Kdcs {
    let mut kdcs = Kdcs::new();
    kdcs.add("EXAMPLE.TEST", addresses);
    let quick = Duration::from_millis(200);
    kdcs.set_patience(Patience { udp: quick, tcp: Duration::from_secs(5), last: quick });
    kdcs
}

fn error(code: i32) -> Vec<u8> {
    use iwa_wire::krb5::{KerberosTime, PrincipalName};
    let mut out = Vec::new();
    KrbError {
        ctime: None,
        cusec: None,
        stime: KerberosTime(0),
        susec: 0,
        error_code: code,
        crealm: None,
        cname: None,
        realm: "EXAMPLE.TEST".into(),
        sname: PrincipalName::of(2, &["krbtgt", "EXAMPLE.TEST"]),
        e_text: None,
        e_data: None,
    }
    .write(&mut out);
    out
}

/// A socket that answers every datagram with `answer`, and a listener on the same port.
async fn pair() -> (UdpSocket, TcpListener, u16) {
    loop {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = udp.local_addr().unwrap().port();
        if let Ok(tcp) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            return (udp, tcp, port);
        }
    }
}

async fn answer_udp(socket: UdpSocket, answers: Vec<Vec<u8>>) {
    let mut buffer = [0; 2048];
    loop {
        let (_, from) = socket.recv_from(&mut buffer).await.unwrap();
        for answer in &answers {
            socket.send_to(answer, from).await.unwrap();
        }
    }
}

async fn answer_tcp(listener: TcpListener, framed: Vec<u8>) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let length = stream.read_u32().await.unwrap() as usize;
        let mut request = vec![0; length];
        stream.read_exact(&mut request).await.unwrap();
        stream.write_all(&framed).await.unwrap();
    }
}

fn framed(answer: &[u8]) -> Vec<u8> {
    [&(answer.len() as u32).to_be_bytes()[..], answer].concat()
}

#[tokio::test]
async fn an_answer_that_is_too_big_for_udp_comes_by_tcp() {
    let (udp, tcp, port) = pair().await;
    tokio::spawn(answer_udp(udp, vec![error(code::KRB_ERR_RESPONSE_TOO_BIG)]));
    let big = [&[0x6b][..], &[7; 70_000]].concat();
    tokio::spawn(answer_tcp(tcp, framed(&big)));
    assert_eq!(kdcs([address(port)]).ask("EXAMPLE.TEST", b"request").await.unwrap(), big);
}

#[tokio::test]
async fn a_silent_kdc_is_asked_by_tcp_and_a_dead_one_passed_over() {
    let (silent, tcp, port) = pair().await;
    tokio::spawn(answer_tcp(tcp, framed(b"\x6bfrom the other way")));
    assert_eq!(kdcs([address(port)]).ask("EXAMPLE.TEST", b"x").await.unwrap(), b"\x6bfrom the other way");
    drop(silent);
    let (dead, dead_tcp, dead_port) = pair().await;
    drop((dead, dead_tcp));
    let (udp, _tcp, port) = pair().await;
    tokio::spawn(answer_udp(udp, vec![b"\x6dsecond".to_vec()]));
    assert_eq!(kdcs([address(dead_port), address(port)]).ask("EXAMPLE.TEST", b"x").await.unwrap(), b"\x6dsecond");
}

#[tokio::test]
async fn noise_is_not_an_answer_and_an_unavailable_kdc_is_passed_over() {
    let (noisy, _tcp, port) = pair().await;
    tokio::spawn(answer_udp(noisy, vec![Vec::new(), b"noise".to_vec(), b"\x6bright".to_vec()]));
    assert_eq!(kdcs([address(port)]).ask("EXAMPLE.TEST", b"x").await.unwrap(), b"\x6bright");
    let (busy, _busy_tcp, busy_port) = pair().await;
    tokio::spawn(answer_udp(busy, vec![error(code::KDC_ERR_SVC_UNAVAILABLE)]));
    assert_eq!(kdcs([address(busy_port), address(port)]).ask("EXAMPLE.TEST", b"x").await.unwrap(), b"\x6bright");
}

#[tokio::test]
async fn an_answer_of_four_gigabytes_is_refused_before_it_is_allocated() {
    for length in [0u32, u32::MAX, 1 << 21] {
        let (udp, tcp, port) = pair().await;
        drop(udp);
        tokio::spawn(answer_tcp(tcp, length.to_be_bytes().to_vec()));
        let said = kdcs([address(port)]).ask("EXAMPLE.TEST", b"x").await.unwrap_err();
        assert!(said.contains(&format!("{length} bytes")), "{said}");
    }
}

#[tokio::test]
async fn a_realm_without_a_kdc_is_named() {
    let said = Kdcs::new().ask("ELSEWHERE.TEST", b"x").await.unwrap_err();
    assert!(said.contains("ELSEWHERE.TEST"), "{said}");
}

fn srv(priority: u16, target: &str, port: u16) -> Srv {
    Srv { priority, weight: 0, port, target: target.to_owned() }
}

fn in_dns(table: &Arc<Table>) -> Kdcs {
    let mut kdcs = kdcs([]);
    kdcs.realms.clear();
    kdcs.set_dns(Arc::clone(table) as Arc<dyn Resolve>);
    kdcs
}

#[tokio::test]
async fn the_kdcs_of_a_realm_that_nobody_named_are_found_in_the_dns() {
    let table = Arc::new(Table::default());
    let (udp, _tcp, port) = pair().await;
    tokio::spawn(answer_udp(udp, vec![b"\x6bover UDP".to_vec()]));
    table.serve("_kerberos._udp.EXAMPLE.TEST", vec![srv(0, "kdc1.example.test", port)]);
    table.host("kdc1.example.test", &["127.0.0.1"]);
    let kdcs = in_dns(&table);
    assert_eq!(kdcs.ask("EXAMPLE.TEST", b"x").await.unwrap(), b"\x6bover UDP");
    assert_eq!(kdcs.ask("EXAMPLE.TEST", b"x").await.unwrap(), b"\x6bover UDP");
    // The records are remembered; where hosts are is asked each time.
    let asked = table.asked();
    assert_eq!(asked.iter().filter(|name| name.starts_with('_')).count(), 2, "{asked:?}");
    // A realm with KDCs that are named is not looked for.
    let mut named = in_dns(&table);
    named.add("EXAMPLE.TEST", [address(port)]);
    assert_eq!(named.ask("EXAMPLE.TEST", b"x").await.unwrap(), b"\x6bover UDP");
    assert!(table.asked().is_empty());
}

#[tokio::test]
async fn a_kdc_that_only_the_tcp_record_names_is_asked_by_tcp_alone() {
    let table = Arc::new(Table::default());
    let (udp, tcp, port) = pair().await;
    tokio::spawn(answer_udp(udp, vec![b"\x6bover UDP".to_vec()]));
    tokio::spawn(answer_tcp(tcp, framed(b"\x6bover TCP")));
    table.serve("_kerberos._tcp.EXAMPLE.TEST", vec![srv(0, "kdc1.example.test", port)]);
    table.host("kdc1.example.test", &["127.0.0.1"]);
    assert_eq!(in_dns(&table).ask("EXAMPLE.TEST", b"x").await.unwrap(), b"\x6bover TCP");
}

#[tokio::test]
async fn a_realm_that_the_dns_does_not_know_is_told_with_the_names_that_were_asked_for() {
    let table = Arc::new(Table::default());
    table.serve("_kerberos._tcp.EXAMPLE.TEST", vec![srv(0, "", 0)]);
    let said = in_dns(&table).ask("EXAMPLE.TEST", b"x").await.unwrap_err();
    for wanted in [
        "_kerberos._udp.EXAMPLE.TEST (no such name)",
        "_kerberos._tcp.EXAMPLE.TEST (its record says that there is none)",
        "192.0.2.53",
        "krb5.conf",
    ] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    // What cannot be a name of the DNS is not asked for.
    table.asked();
    for realm in ["", "A B", "X500:/C=US", "a..b"] {
        assert!(in_dns(&table).ask(realm, b"x").await.is_err(), "{realm}");
    }
    assert!(table.asked().is_empty());
}

#[tokio::test]
async fn a_dead_kdc_is_asked_first_once_only() {
    let table = Arc::new(Table::default());
    let (silent, silent_tcp, silent_port) = pair().await;
    let (udp, _tcp, port) = pair().await;
    tokio::spawn(answer_udp(udp, vec![b"\x6balive".to_vec()]));
    let (asked, told) = (Arc::new(std::sync::Mutex::new(0)), "_kerberos._udp.EXAMPLE.TEST");
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        let _keep = silent_tcp;
        let mut buffer = [0; 64];
        loop {
            silent.recv_from(&mut buffer).await.unwrap();
            *count.lock().unwrap() += 1;
        }
    });
    table.serve(told, vec![srv(0, "dead.example.test", silent_port), srv(1, "alive.example.test", port)]);
    for host in ["dead.example.test", "alive.example.test"] {
        table.host(host, &["127.0.0.1"]);
    }
    let kdcs = in_dns(&table);
    for _ in 0..3 {
        // A clone remembers what the others do.
        assert_eq!(kdcs.clone().ask("EXAMPLE.TEST", b"x").await.unwrap(), b"\x6balive");
    }
    assert_eq!(*asked.lock().unwrap(), 1);
}

#[tokio::test]
async fn the_controllers_of_a_domain_are_its_kdcs_and_are_told_what_became_of_it() {
    #[derive(Debug, Default)]
    struct Told(Vec<Controller>, std::sync::Mutex<Vec<String>>);
    impl Controllers for Told {
        fn list<'a>(&'a self) -> Answer<'a, Result<Arc<[Controller]>, String>> {
            Box::pin(async { Ok(self.0.clone().into()) })
        }
        fn failed(&self, host: &str, why: &str) {
            self.1.lock().unwrap().push(format!("{host} failed: {why}"));
        }
        fn worked(&self, host: &str) {
            self.1.lock().unwrap().push(format!("{host} worked"));
        }
    }
    let (udp, _tcp, port) = pair().await;
    tokio::spawn(answer_udp(udp, vec![b"\x6balive".to_vec()]));
    let (dead, dead_tcp, dead_port) = pair().await;
    drop((dead, dead_tcp));
    let controller = |host: &str, kerberos| Controller {
        host: host.to_owned(),
        addresses: vec![Ipv4Addr::LOCALHOST.into()],
        ports: Ports { kerberos, ..Ports::default() },
    };
    let told = Arc::new(Told(vec![controller("dc1", dead_port), controller("dc2", port)], std::sync::Mutex::default()));
    let mut kdcs = in_dns(&Arc::new(Table::default()));
    kdcs.set_controllers("example.test", Arc::clone(&told) as Arc<dyn Controllers>);
    assert_eq!(kdcs.ask("EXAMPLE.TEST", b"x").await.unwrap(), b"\x6balive");
    let told = told.1.lock().unwrap().clone();
    assert!(
        told.len() == 2 && told[0].starts_with("dc1 failed: Kerberos: by UDP") && told[1] == "dc2 worked",
        "{told:?}"
    );
}

#[test]
fn addresses() {
    for (text, host, port, tcp_only) in [
        ("kdc.example.test", "kdc.example.test", 88, false),
        ("kdc.example.test:8888", "kdc.example.test", 8888, false),
        ("tcp/kdc.example.test", "kdc.example.test", 88, true),
        ("127.0.0.1:9", "127.0.0.1", 9, false),
        ("[::1]:99", "::1", 99, false),
        ("::1", "::1", 88, false),
    ] {
        let wanted = KdcAddress { host: host.to_owned(), port, tcp_only };
        assert_eq!(KdcAddress::parse(text), Some(wanted.clone()), "{text}");
        assert_eq!(KdcAddress::parse(&wanted.to_string()), Some(wanted));
    }
    for bad in ["", ":88", "host:0", "host:66666", "host:x", "[::1", "[host]:88", "a b", "https://kdc/proxy"] {
        assert_eq!(KdcAddress::parse(bad), None, "{bad}");
    }
}
