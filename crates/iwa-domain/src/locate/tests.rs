use std::net::{Ipv4Addr, Ipv6Addr};

use iwa_wire::netlogon_ping::DsFlags;

use super::*;
use crate::dns::Srv;
use crate::fake_dc::{DOMAIN, FakeDc, Table, encoded, far, nobody, pong};

const EVERYWHERE: &str = "_ldap._tcp.dc._msdcs.corp.example.test";
const MAIN: &str = "_ldap._tcp.Main._sites.dc._msdcs.corp.example.test";

/// Gives up soon, and never for having been slow: who answers at all is on the same machine.
fn patience() -> Patience {
    Patience {
        ping: Duration::from_millis(700),
        again: Duration::from_millis(150),
        stagger: Duration::from_millis(1),
        grace: Duration::from_millis(300),
        in_vain: Duration::ZERO,
        ..Patience::default()
    }
}

fn locator(table: &Arc<Table>) -> Locator {
    Locator::new("Corp.Example.TEST.", Arc::clone(table) as Arc<dyn Resolve>).with_patience(patience())
}

async fn hosts(locator: &Locator) -> Vec<String> {
    let listed = locator.list().await.unwrap();
    listed.iter().map(|controller| controller.host.trim_end_matches(".corp.example.test").to_owned()).collect()
}

#[tokio::test]
async fn controllers_are_found_in_the_dns_and_the_domain_is_called_what_they_say() {
    let table = Arc::new(Table::default());
    let dc = FakeDc::new(&pong("dc1")).await;
    table.controllers(EVERYWHERE, [(0, "dc1", dc.port)]);
    let locator = locator(&table);
    let listed = locator.list().await.unwrap();
    assert_eq!(listed[0].host, "dc1.corp.example.test");
    assert_eq!(listed[0].addresses, [IpAddr::from(Ipv4Addr::LOCALHOST)]);
    assert_eq!(listed[0].ports, Ports { ldap: dc.port, ..Ports::default() });
    let about = locator.about().await.unwrap();
    assert_eq!((about.dns.as_str(), about.netbios.as_str(), about.forest.as_str()), (DOMAIN, "CORP", "example.test"));
    assert_eq!(about.client_site.as_deref(), Some("Main"));
    // Everything is remembered: one ping, one question.
    assert_eq!(
        (dc.asked(), table.asked().as_slice()),
        (1, &[EVERYWHERE.to_owned(), "dc1.corp.example.test".to_owned()][..])
    );
}

#[tokio::test]
async fn one_that_hangs_holds_up_nobody_and_comes_last() {
    let table = Arc::new(Table::default());
    let (hanging, dc) = (FakeDc::hanging().await, FakeDc::new(&pong("dc2")).await);
    table.controllers(EVERYWHERE, [(0, "dc1", hanging.port), (10, "dc2", dc.port)]);
    let patience = Patience { ping: Duration::from_secs(3600), ..patience() };
    assert_eq!(hosts(&locator(&table).with_patience(patience)).await, ["dc2", "dc1"]);
}

#[tokio::test]
async fn priorities_order_those_of_a_site_and_writable_ones_come_before_read_only_ones() {
    let table = Arc::new(Table::default());
    let mut read_only = pong("rodc");
    read_only.flags = DsFlags(0x8fd & !DsFlags::WRITABLE.0);
    let mut listed = Vec::new();
    let mut keep = Vec::new();
    for (priority, name, pong) in [
        (30, "third", pong("third")),
        (5, "rodc", read_only),
        (0, "far", far("far")),
        (10, "first", pong("first")),
        (20, "second", pong("second")),
    ] {
        let dc = FakeDc::new(&pong).await;
        listed.push((priority, name, dc.port));
        keep.push(dc);
    }
    table.controllers(EVERYWHERE, listed);
    assert_eq!(hosts(&locator(&table)).await, ["first", "second", "third", "rodc", "far"]);
}

#[tokio::test]
async fn the_controllers_of_the_own_site_are_asked_for_once_it_is_known() {
    let table = Arc::new(Table::default());
    let (distant, silent, near) =
        (FakeDc::new(&far("far")).await, FakeDc::hanging().await, FakeDc::new(&pong("near")).await);
    table.controllers(EVERYWHERE, [(0, "far", distant.port), (0, "silent", silent.port)]);
    table.controllers(MAIN, [(0, "near", near.port)]);
    let locator = locator(&table);
    assert_eq!(hosts(&locator).await, ["near", "far", "silent"]);
    let questions = |asked: Vec<String>| asked.into_iter().filter(|name| name.starts_with('_')).collect::<Vec<_>>();
    assert_eq!(questions(table.asked()), [EVERYWHERE, MAIN]);
    // The next time, at once.
    let report = locator.look().await;
    assert_eq!(report.questions[0].name, MAIN);
    assert_eq!(questions(table.asked()).len(), 2);
    // The machine moves: `near` says so, and its site's controllers come first.
    let (mut moved, mut local) = (far("near"), pong("local"));
    moved.client_site_name = "Branch".to_owned();
    local.client_site_name = "Branch".to_owned();
    near.says(&moved);
    distant.says(&moved);
    let branch = FakeDc::new(&local).await;
    table.controllers("_ldap._tcp.Branch._sites.dc._msdcs.corp.example.test", [(0, "local", branch.port)]);
    locator.look().await;
    assert_eq!(hosts(&locator).await[0], "local");
    assert_eq!(locator.about().await.unwrap().client_site.as_deref(), Some("Branch"));
}

#[tokio::test]
async fn a_configured_site_holds_whatever_a_controller_says() {
    let table = Arc::new(Table::default());
    let dc = FakeDc::new(&far("dc1")).await;
    table.controllers("_ldap._tcp.Lab._sites.dc._msdcs.corp.example.test", [(0, "dc1", dc.port)]);
    let locator = locator(&table).with_site(Some("Lab".to_owned()));
    assert_eq!(hosts(&locator).await, ["dc1"]);
    assert!(!table.asked().contains(&MAIN.to_owned()));
}

#[tokio::test]
async fn a_controller_that_only_ipv6_reaches_is_found() {
    let table = Arc::new(Table::default());
    if tokio::net::UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).await.is_err() {
        return iwa_testkit::left_out("a domain controller over IPv6", "this machine has no ::1");
    }
    let dc = FakeDc::at(Ipv6Addr::LOCALHOST.into(), Some(encoded(&pong("dc1")))).await;
    table.controllers(EVERYWHERE, [(0, "dc1", dc.port)]);
    table.host("dc1.corp.example.test", &["::1"]);
    let listed = locator(&table).list().await.unwrap();
    assert_eq!(listed[0].addresses, [IpAddr::from(Ipv6Addr::LOCALHOST)]);
    // With both families in the DNS, the one that answers comes first.
    table.host("dc1.corp.example.test", &["127.0.0.1", "::1"]);
    let listed = locator(&table).list().await.unwrap();
    assert_eq!(listed[0].addresses, [IpAddr::from(Ipv6Addr::LOCALHOST), IpAddr::from(Ipv4Addr::LOCALHOST)]);
}

#[tokio::test]
async fn a_controller_that_a_firewall_hides_from_udp_is_pinged_over_tcp() {
    let table = Arc::new(Table::default());
    let dc = FakeDc::over_tcp(&pong("dc1")).await;
    table.controllers(EVERYWHERE, [(0, "dc1", dc.port)]);
    assert_eq!(hosts(&locator(&table)).await, ["dc1"]);
}

#[tokio::test]
async fn configured_controllers_keep_their_order_and_get_their_names_from_the_ping() {
    let table = Arc::new(Table::default());
    let (first, second) = (FakeDc::new(&far("dc9")).await, FakeDc::new(&pong("dc1")).await);
    table.host("dc1.corp.example.test", &["127.0.0.1"]);
    let servers = [format!("127.0.0.1:{}", first.port), format!("dc1.corp.example.test:{}", second.port)];
    let servers = servers.iter().map(|server| Server::parse(server).unwrap());
    let locator = locator(&table).with_servers(servers);
    assert_eq!(hosts(&locator).await, ["dc9", "dc1"]);
    assert_eq!(table.asked(), ["dc1.corp.example.test"]);
    assert!(locator.look().await.questions.is_empty());
}

#[tokio::test]
async fn a_controller_without_its_domain_is_looked_for_in_the_domain() {
    let table = Arc::new(Table::default());
    let dc = FakeDc::new(&pong("dc1")).await;
    table.host("dc1.corp.example.test", &["127.0.0.1"]);
    let short = Server::parse(&format!("dc1:{}", dc.port));
    assert_eq!(hosts(&locator(&table).with_servers(short)).await, ["dc1"]);
    let said = locator(&table).with_servers(Server::parse("dc2")).list().await.unwrap_err();
    assert!(said.contains("dc2: it has no address (no such name)"), "{said}");
}

#[tokio::test]
async fn without_records_the_names_that_were_asked_for_and_the_remedy_are_told() {
    let table = Arc::new(Table::default());
    let locator = locator(&table);
    let said = locator.list().await.unwrap_err();
    for wanted in [
        EVERYWHERE,
        "192.0.2.53",
        "no such name",
        "/etc/resolv.conf",
        "servers = [\"dc1.corp.example.test\"]",
        "--server",
    ] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    // A record that says that there is none is another thing than no record.
    table.serve(EVERYWHERE, vec![Srv { priority: 0, weight: 0, port: 0, target: String::new() }]);
    let said = locator.list().await.unwrap_err();
    assert!(said.contains("its record says that there is none"), "{said}");
    *table.down.lock().unwrap() = true;
    let said = locator.list().await.unwrap_err();
    assert!(said.contains("the DNS server is silent"), "{said}");
}

#[tokio::test]
async fn when_nobody_answers_each_is_told_and_what_became_of_it() {
    let table = Arc::new(Table::default());
    let (hanging, gone) = (FakeDc::hanging().await, nobody().await);
    let mut other = pong("dc3");
    other.dns_domain_name = "other.example.test".to_owned();
    let other = FakeDc::new(&other).await;
    table.controllers(EVERYWHERE, [(0, "dc1", hanging.port), (1, "dc2", gone.port()), (2, "dc3", other.port)]);
    table.serve("unused", Vec::new());
    let mut services = table.services.lock().unwrap().get(EVERYWHERE).cloned().unwrap();
    services.push(Srv { priority: 9, weight: 0, port: 389, target: "dc4.corp.example.test".to_owned() });
    table.serve(EVERYWHERE, services);
    let said = locator(&table).list().await.unwrap_err();
    for wanted in [
        "dc1.corp.example.test (127.0.0.1): no answer on UDP port",
        "dc2.corp.example.test (127.0.0.1): UDP port",
        "dc3.corp.example.test (127.0.0.1): it is a domain controller of other.example.test",
        "dc4.corp.example.test: it has no address (no such name)",
        "firewall",
        "/etc/hosts",
    ] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
}

#[tokio::test]
async fn a_controller_of_another_domain_is_not_listed_beside_one_of_ours() {
    let table = Arc::new(Table::default());
    let mut other = pong("dc1");
    other.dns_domain_name = "other.example.test".to_owned();
    let (liar, dc) = (FakeDc::new(&other).await, FakeDc::new(&pong("dc2")).await);
    table.controllers(EVERYWHERE, [(0, "dc1", liar.port), (1, "dc2", dc.port)]);
    assert_eq!(hosts(&locator(&table)).await, ["dc2"]);
}

#[tokio::test]
async fn whoever_failed_comes_last_until_it_works_again() {
    let table = Arc::new(Table::default());
    let (first, second) = (FakeDc::new(&pong("dc1")).await, FakeDc::new(&pong("dc2")).await);
    table.controllers(EVERYWHERE, [(0, "dc1", first.port), (1, "dc2", second.port)]);
    let located = locator(&table);
    assert_eq!(hosts(&located).await, ["dc1", "dc2"]);
    located.failed("dc1.corp.example.test", "it hangs");
    located.failed("unheard-of.example.test", "nobody");
    assert_eq!(hosts(&located).await, ["dc2", "dc1"]);
    located.failed("dc2.corp.example.test", "it hangs, too");
    assert_eq!(hosts(&located).await, ["dc1", "dc2"]);
    located.worked("dc2.corp.example.test");
    assert_eq!(hosts(&located).await, ["dc2", "dc1"]);
    let forgetful = locator(&table).with_patience(Patience { failed: Duration::ZERO, ..patience() });
    assert_eq!(hosts(&forgetful).await, ["dc1", "dc2"]);
    forgetful.failed("dc1.corp.example.test", "it hangs");
    assert_eq!(hosts(&forgetful).await, ["dc1", "dc2"]);
}

#[tokio::test]
async fn what_was_found_stays_while_the_dns_is_down_and_is_looked_for_anew_in_the_background() {
    let table = Arc::new(Table::default());
    let (first, second) = (FakeDc::new(&pong("dc1")).await, FakeDc::new(&pong("dc2")).await);
    table.controllers(EVERYWHERE, [(0, "dc1", first.port)]);
    let locator = locator(&table).with_patience(Patience { fresh: Duration::ZERO, anew: Duration::ZERO, ..patience() });
    assert_eq!(hosts(&locator).await, ["dc1"]);
    *table.down.lock().unwrap() = true;
    for _ in 0..3 {
        assert_eq!(hosts(&locator).await, ["dc1"]);
        tokio::task::yield_now().await;
    }
    *table.down.lock().unwrap() = false;
    table.controllers(EVERYWHERE, [(0, "dc2", second.port)]);
    // Each list begins a search, sooner or later one that sees the new record.
    while hosts(&locator).await != ["dc2"] {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn nothing_found_is_not_asked_for_at_every_logon_and_found_when_it_is_there() {
    let table = Arc::new(Table::default());
    let located = locator(&table).with_patience(Patience { in_vain: Duration::from_secs(3600), ..patience() });
    let said = located.list().await.unwrap_err();
    assert_eq!(located.list().await.unwrap_err(), said);
    assert_eq!(table.asked().len(), 1);
    let located = locator(&table);
    located.list().await.unwrap_err();
    let dc = FakeDc::new(&pong("dc1")).await;
    table.controllers(EVERYWHERE, [(0, "dc1", dc.port)]);
    assert_eq!(hosts(&located).await, ["dc1"]);
}

#[tokio::test]
async fn many_who_ask_at_once_are_one_search() {
    let table = Arc::new(Table::default());
    let dc = FakeDc::new(&pong("dc1")).await;
    table.controllers(EVERYWHERE, [(0, "dc1", dc.port)]);
    let locator = locator(&table);
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let locator = locator.clone();
        asking.spawn(async move { hosts(&locator).await });
    }
    while let Some(listed) = asking.join_next().await {
        assert_eq!(listed.unwrap(), ["dc1"]);
    }
    assert_eq!(dc.asked(), 1);
}

#[tokio::test]
async fn a_domain_of_a_thousand_records_is_asked_in_part_and_ends() {
    let table = Arc::new(Table::default());
    let gone = nobody().await.port();
    let names: Vec<_> = (0..1000).map(|n| format!("dc{n}")).collect();
    table.controllers(EVERYWHERE, names.iter().map(|name| (0, name.as_str(), gone)));
    let quick = Patience { ping: Duration::from_millis(100), ..patience() };
    let report = locator(&table).with_patience(quick).look().await;
    assert!(report.about.is_none() && report.advice().contains("and 992 more"), "{}", report.advice());
}

#[test]
fn a_server_is_written_in_many_ways() {
    for (text, host, ldap) in [
        ("dc1.corp.example.test", "dc1.corp.example.test", 389),
        ("dc1.corp.example.test.:1389", "dc1.corp.example.test", 1389),
        ("192.0.2.10", "192.0.2.10", 389),
        ("192.0.2.10:1389", "192.0.2.10", 1389),
        ("2001:db8::1", "2001:db8::1", 389),
        ("[2001:db8::1]", "2001:db8::1", 389),
        ("[2001:db8::1]:1389", "2001:db8::1", 1389),
    ] {
        let wanted = Server { host: host.to_owned(), ports: Ports { ldap, ..Ports::default() } };
        assert_eq!(Server::parse(text), Some(wanted), "{text}");
    }
    for bad in ["", ":389", "dc1:0", "dc1:x", "ldap://dc1", "[dc1]", "dc 1", "[::1]389"] {
        assert_eq!(Server::parse(bad), None, "{bad}");
    }
}
