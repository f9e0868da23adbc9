use std::net::Ipv4Addr;

use super::*;
use crate::fake_dc::{DOMAIN, FakeDc, encoded, nobody, pong};

const WAIT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(20);

async fn ask(dc: &FakeDc, wait: Duration) -> Result<Pong, NoPong> {
    by_udp((Ipv4Addr::LOCALHOST, dc.port).into(), DOMAIN, wait, wait / 3).await
}

/// What it says to an attribute that holds `value`.
async fn refusal(value: Option<Vec<u8>>) -> String {
    let dc = FakeDc::at(Ipv4Addr::LOCALHOST.into(), value).await;
    match ask(&dc, LONG).await {
        Err(NoPong::Refused(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_controller_of_the_domain_answers_a_ping_over_udp_and_tcp() {
    let dc = FakeDc::new(&pong("dc1")).await;
    let answered = ask(&dc, LONG).await.unwrap();
    assert_eq!((answered.answer, answered.by_tcp), (pong("dc1"), false));
    let dc = FakeDc::over_tcp(&pong("dc2")).await;
    let answered = by_tcp((Ipv4Addr::LOCALHOST, dc.port).into(), "CORP.example.test", LONG).await.unwrap();
    assert_eq!((answered.answer, answered.by_tcp), (pong("dc2"), true));
    let time = clock((Ipv4Addr::LOCALHOST, FakeDc::new(&pong("dc1")).await.port).into()).await.unwrap();
    assert_eq!(time.to_string(), "2026-11-23T16:48:14Z");
}

#[tokio::test]
async fn a_controller_of_another_domain_is_refused_by_name() {
    let mut other = pong("dc1");
    other.dns_domain_name = "other.example.test".to_owned();
    let why = refusal(Some(encoded(&other))).await;
    assert!(why.contains("of other.example.test, not of corp.example.test"), "{why}");
    let why = refusal(None).await;
    assert!(why.contains("knows no domain corp.example.test"), "{why}");
}

#[tokio::test]
async fn a_name_from_the_wire_cannot_turn_an_error_around() {
    let mut other = pong("dc1");
    other.dns_domain_name = "other\u{202e}tset".to_owned();
    let why = refusal(Some(encoded(&other))).await;
    assert!(why.contains("other\\u{202e}tset") && !why.contains('\u{202e}'), "{why}");
    other = pong("dc1");
    other.dns_host_name = "dc1\u{202e}".to_owned();
    assert!(!refusal(Some(encoded(&other))).await.contains('\u{202e}'));
}

#[tokio::test]
async fn a_controller_that_is_paused_or_whose_name_is_none_is_refused() {
    let mut paused = pong("dc1");
    paused.opcode = opcode::LOGON_SAM_PAUSE_RESPONSE_EX;
    assert!(refusal(Some(encoded(&paused))).await.contains("paused"));
    for name in ["", "dc1/evil", "dc 1", "-dc", "dc\u{e9}.corp.example.test", "a@b"] {
        let mut named = pong("dc1");
        named.dns_host_name = name.to_owned();
        assert!(refusal(Some(encoded(&named))).await.contains("no DNS name"), "{name}");
    }
}

#[tokio::test]
async fn an_answer_whose_names_run_in_circles_is_refused() {
    let mut value = encoded(&pong("dc1"));
    // The forest's name begins at byte 24: it points to itself now.
    value.splice(24..26, [0xc0, 24]);
    assert!(refusal(Some(value)).await.contains("cannot be read"));
    assert!(refusal(Some(vec![0xff; 3])).await.contains("cannot be read"));
}

#[tokio::test]
async fn noise_and_the_answers_to_others_are_waited_past() {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut request = [0; 2048];
        loop {
            let (length, from) = socket.recv_from(&mut request).await.unwrap();
            let id = Message::parse(&request[..length]).unwrap().id;
            let done = |id| {
                let mut done = Vec::new();
                let result = iwa_wire::ldap::LdapResult::of(iwa_wire::ldap::ResultCode(0));
                Message::new(id, Op::SearchResultDone(result)).write(&mut done);
                done
            };
            for noise in
                [Vec::new(), b"noise".to_vec(), done(id ^ 1), vec![0x30, 0x84, 0xff, 0xff, 0xff, 0xff], done(id)]
            {
                socket.send_to(&noise, from).await.unwrap();
            }
        }
    });
    let answer = by_udp(address, DOMAIN, LONG, LONG).await;
    assert!(matches!(&answer, Err(NoPong::Refused(why)) if why.contains("knows no domain")), "{answer:?}");
}

#[tokio::test]
async fn silence_is_told_from_a_refusal() {
    let hanging = FakeDc::hanging().await;
    let silent = ask(&hanging, WAIT).await;
    assert!(matches!(&silent, Err(NoPong::Silent(why)) if why.contains("no answer on UDP port")), "{silent:?}");
    let address = (Ipv4Addr::LOCALHOST, hanging.port).into();
    let silent = by_tcp(address, DOMAIN, WAIT).await;
    assert!(matches!(&silent, Err(NoPong::Silent(why)) if why.contains("no answer on TCP port")), "{silent:?}");
    let gone = by_tcp(nobody().await, DOMAIN, LONG).await;
    assert!(matches!(&gone, Err(NoPong::Silent(why)) if why.contains("refused")), "{gone:?}");
}

#[test]
fn a_name_of_a_host_can_stand_in_a_certificate() {
    for name in ["dc1", "dc1.corp.example.test", "DC-1.corp.example.test", "dc_1.corp.example.test"] {
        assert!(is_host_name(name), "{name}");
    }
    let long = "a".repeat(64);
    for name in ["", ".", "dc1.", ".dc1", "a..b", "dc 1", "dc1:389", long.as_str(), "-dc1", "dc1\0"] {
        assert!(!is_host_name(name), "{name}");
    }
}
