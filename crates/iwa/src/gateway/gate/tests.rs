//! Clauses and clients.

use http::header::USER_AGENT;
use iwa_http::Policy;

use super::*;

fn network(text: &str) -> IpNet {
    text.parse().expect("a network")
}

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).expect("an expression")
}

/// A manner that is told from others by its login page.
fn manner(name: &str) -> Manner {
    let login = Login::parse(&format!("/{name}")).expect("an address");
    Manner { authenticator: None, off: false, instead: Instead::Login(login), session: None }
}

fn client(address: &str, lines: &[(&'static str, &'static [u8])]) -> (IpAddr, HeaderMap) {
    let line = |&(name, value): &(&'static str, &'static [u8])| {
        (HeaderName::from_static(name), HeaderValue::from_bytes(value).expect("a value"))
    };
    let mut headers = HeaderMap::new();
    lines.iter().map(line).for_each(|(name, value)| {
        headers.append(name, value);
    });
    (address.parse::<IpAddr>().expect("an address").to_canonical(), headers)
}

#[test]
fn the_first_clause_that_holds_counts_and_each_holds_as_a_whole() {
    let health = Condition {
        networks: vec![network("192.0.2.8/32"), network("2001:db8::8/128")],
        headers: vec![(USER_AGENT, pattern("^check/"))],
        ..Condition::default()
    };
    let firefox = Condition { headers: vec![(USER_AGENT, pattern("Firefox/[0-9]"))], ..Condition::default() };
    let device = Condition {
        headers: vec![(HeaderName::from_static("x-device"), pattern("(?i)^tablet$")), (USER_AGENT, pattern("Mobile"))],
        ..Condition::default()
    };
    let inside = Condition {
        networks: vec![network("10.0.0.0/8"), network("2001:db8::/32")],
        not_networks: vec![network("10.9.0.0/16")],
        ..Condition::default()
    };
    let outside = Condition { not_networks: vec![network("10.9.0.0/16")], ..Condition::default() };
    let clauses = [health, firefox, device, inside, outside].into_iter();
    let names = ["health", "firefox", "device", "inside", "outside"];
    let gate = Gate::new(clauses.zip(names.map(manner)).collect(), manner("others"));
    for (address, lines, wanted) in [
        ("192.0.2.8", &[("user-agent", &b"check/1"[..])][..], "health"),
        ("2001:db8::8", &[("user-agent", b"check/1")], "health"),
        // Mapped, as a socket of both families says it.
        ("::ffff:192.0.2.8", &[("user-agent", b"check/1")], "health"),
        // Half of a clause is none of it.
        ("192.0.2.9", &[("user-agent", b"check/1")], "outside"),
        ("192.0.2.8", &[("user-agent", b"a check/1")], "outside"),
        ("192.0.2.8", &[], "outside"),
        ("192.0.2.8", &[("user-agent", b"")], "outside"),
        ("192.0.2.8", &[("x-user-agent", b"check/1")], "outside"),
        // The first counts, wherever the client is.
        ("10.1.2.3", &[("user-agent", b"Mozilla/5.0 Gecko/20100101 Firefox/140.0")], "firefox"),
        ("10.1.2.3", &[("user-agent", b"Mozilla/5.0 Chrome/140"), ("user-agent", b"Firefox/1")], "firefox"),
        ("10.1.2.3", &[("user-agent", b"firefox/140.0")], "inside"),
        ("10.1.2.3", &[("user-agent", b"\xff\xfe Firefox/9")], "firefox"),
        ("10.1.2.3", &[("x-device", b"TABLET"), ("user-agent", b"Mobile")], "device"),
        ("10.1.2.3", &[("x-device", b"tablet"), ("user-agent", b"mobile")], "inside"),
        ("10.1.2.3", &[("x-device", b"my tablet"), ("user-agent", b"Mobile")], "inside"),
        ("10.1.2.3", &[("user-agent", b"Mobile")], "inside"),
        // What a client says of its address is not its address.
        ("198.51.100.1", &[("x-forwarded-for", b"10.1.2.3"), ("x-real-ip", b"10.1.2.3")], "outside"),
        ("10.9.1.1", &[], "others"),
        ("::ffff:10.9.1.1", &[], "others"),
        ("11.0.0.1", &[], "outside"),
        ("9.255.255.255", &[], "outside"),
        ("2001:db8:ffff::1", &[], "inside"),
        ("2001:db9::1", &[], "outside"),
    ] {
        let (address, headers) = client(address, lines);
        let Instead::Login(found) = &gate.of(address, &headers).instead else { panic!("{address}") };
        assert_eq!(found.to_string(), format!("/{wanted}"), "{address} {headers:?}");
    }
}

#[test]
fn without_clauses_a_route_is_asked_the_same_of_everybody() {
    let gate = Gate::new(Vec::new(), manner("all"));
    let (address, headers) = client("192.0.2.1", &[("user-agent", b"anything")]);
    assert!(matches!(&gate.of(address, &headers).instead, Instead::Login(login) if login.to_string() == "/all"));
}

#[test]
fn expressions_are_bounded_in_length_in_size_and_in_what_they_read() {
    for bad in
        ["(", "[a", "a{2,1}", "(?<n>a)(?<n>b)", "\\p{Greek}", "a{1000}{1000}", &"a".repeat(513), &"(".repeat(300)]
    {
        assert!(Pattern::parse(bad).is_err(), "{bad}");
    }
    let late = pattern("z");
    assert!(late.is_found_in(&[b"a".repeat(1023), b"z".to_vec()].concat()));
    assert!(!late.is_found_in(&[b"a".repeat(1024), b"z".to_vec()].concat()));
    // The classic that takes other engines for ever.
    assert!(!pattern("(a+)+$").is_found_in(&[b"a".repeat(1000), b"!".to_vec()].concat()));
}

#[test]
fn a_login_page_is_a_path_or_an_address_and_its_placeholder_is_encoded() {
    for (text, target, wanted) in [
        ("/login", "/a?b=c", "/login"),
        ("/login?next={path}", "/a b?c=d&e=%2F\"", "/login?next=/a%20b%3Fc%3Dd%26e%3D%252F%22"),
        (
            "https://app.example.test/login?to=https://web.example.test{path}",
            "/x",
            "https://app.example.test/login?to=https://web.example.test/x",
        ),
    ] {
        assert_eq!(Login::parse(text).expect(text).address(target), wanted);
    }
    for bad in [
        "",
        "login",
        "//evil.example.test/",
        "https://",
        "https:///x",
        "ftp://example.test/",
        "javascript:alert(1)",
        "/log in",
        "/login\r\nX: y",
        "/login\"",
        "/login<script>",
        "/\\evil.example.test",
        "/{user}",
        "/login?next={url}",
        // Where it would say which host or page is meant.
        "{path}",
        "https://{path}",
        "/login/{path}",
    ] {
        assert!(Login::parse(bad).is_err(), "{bad}");
    }
    assert_eq!(Login::parse("/login?next={path}").expect("a path").own_path(), Some("/login"));
    assert_eq!(Login::parse("https://app.example.test/login").expect("an address").own_path(), None);
}

#[test]
fn a_policy_that_a_clause_says_nothing_of_is_the_sites() {
    let sign_in = crate::config::SignIn { off: Some(true), instead: Some(Instead::Page), ..Default::default() };
    assert!(sign_in.policy(&Policy::default()).is_none());
}
