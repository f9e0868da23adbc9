use http::Request;

use super::*;

const FRONT: Front<'_> = Front {
    client: IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, 7)),
    port: 0,
    by: None,
    secure: true,
    host: "web.example.test",
};

fn sent(lines: &[(&str, &str)]) -> HeaderMap {
    sent_where(lines, Ours { windows: true, basic: true, any: false })
}

fn sent_where(lines: &[(&str, &str)], ours: Ours) -> HeaderMap {
    let mut request = Request::new(());
    *request.headers_mut() = of(lines);
    let (request, ()) = request.into_parts();
    let host = Some(HeaderValue::from_static("web.example.test"));
    onward(&Onward { request: &request, front: &FRONT, host, id: None, ours, upgrade: None })
}

fn of(lines: &[(&str, &str)]) -> HeaderMap {
    let line =
        |(name, value): &(&str, &str)| (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap());
    lines.iter().map(line).collect()
}

fn all<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

#[test]
fn what_is_for_the_connection_does_not_go_on_nor_what_it_nominates() {
    let headers = sent(&[
        ("connection", "close, X-Mine"),
        ("Connection", "x-also-mine"),
        ("x-mine", "1"),
        ("x-also-mine", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("proxy-authorization", "Basic YTpi"),
        ("transfer-encoding", "chunked"),
        ("te", "gzip, trailers"),
        ("upgrade", "h2c"),
        ("http2-settings", "AAMAAABkAAQCAAAAAAIAAAAA"),
        ("content-length", "5"),
        ("expect", "100-continue"),
        ("host", "other.example.test"),
        ("accept", "*/*"),
        ("cookie", "a=b"),
    ]);
    let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "accept",
            "cookie",
            "forwarded",
            "host",
            "te",
            "via",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto"
        ]
    );
    assert_eq!(all(&headers, "te"), ["trailers"]);
    assert_eq!(all(&headers, "host"), ["web.example.test"]);
}

#[test]
fn nominating_what_this_server_says_does_not_silence_it() {
    let headers = sent(&[("connection", "x-forwarded-for, forwarded, host, via")]);
    assert_eq!(all(&headers, "x-forwarded-for"), ["192.0.2.7"]);
    assert_eq!(all(&headers, "host"), ["web.example.test"]);
    assert_eq!(all(&headers, "via"), ["1.1 iwa"]);
}

#[test]
fn what_a_client_says_of_itself_as_proxies_do_is_replaced_in_every_spelling() {
    let headers = sent(&[
        ("X-Forwarded-For", "127.0.0.1"),
        ("x_forwarded_for", "127.0.0.1"),
        ("X-Forwarded_Proto", "http"),
        ("X-Forwarded-Host", "evil.example.test"),
        ("X-Forwarded-Prefix", "/evil"),
        ("X_Forwarded-Whatever", "1"),
        ("Forwarded", "for=127.0.0.1"),
        ("X-Real-IP", "127.0.0.1"),
        ("x_real_ip", "127.0.0.1"),
        ("X-Original-URL", "/admin"),
        ("X_Rewrite_URL", "/admin"),
        ("True-Client-IP", "127.0.0.1"),
        ("X-Forward", "is another"),
    ]);
    assert_eq!(all(&headers, "x-forwarded-for"), ["192.0.2.7"]);
    assert_eq!(all(&headers, "x-forwarded-host"), ["web.example.test"]);
    assert_eq!(all(&headers, "x-forwarded-proto"), ["https"]);
    assert_eq!(all(&headers, "forwarded"), ["for=192.0.2.7;proto=https;host=\"web.example.test\""]);
    assert_eq!(headers.len(), 7, "{headers:?}");
    assert!(headers.contains_key("x-forward"));
}

#[test]
fn credentials_for_this_server_stay_here_and_those_of_the_application_go_on() {
    for ours in ["Negotiate YII=", "negotiate YII=", "NTLM TlRM", "nTLM\tTlRM", "Negotiate", "Basic YTpi", "bAsIc YTpi"]
    {
        assert!(!sent(&[("authorization", ours)]).contains_key("authorization"), "{ours}");
    }
    for theirs in ["Bearer Negotiate", "Digest username=\"a\"", "NegotiateX YII=", "Token abc"] {
        assert_eq!(all(&sent(&[("authorization", theirs)]), "authorization"), [theirs]);
    }
    let no_basic = Ours { windows: true, basic: false, any: false };
    assert_eq!(all(&sent_where(&[("authorization", "Basic YTpi")], no_basic), "authorization"), ["Basic YTpi"]);
    assert!(!sent_where(&[("authorization", "NTLM TlRM")], no_basic).contains_key("authorization"));
    let nobody_is_asked = Ours { windows: false, basic: false, any: false };
    assert!(sent_where(&[("authorization", "NTLM TlRM")], nobody_is_asked).contains_key("authorization"));
}

#[test]
fn what_proxies_say_goes_in_every_spelling_and_so_does_the_proxy_of_cgi() {
    for name in [
        "x-forwarded-for",
        "x_forwarded_for",
        "x.forwarded.for",
        "x-forwarded_whatever",
        "x.original.url",
        "X_Real-IP",
        "x.real.ip",
        "x-remote-addr",
        "proxy",
        "Forwarded",
    ] {
        let sent = sent(&[(name, "mallory")]);
        assert!(!sent.values().any(|value| value == "mallory"), "{name}");
    }
    assert!(sent(&[("x-forward", "a")]).contains_key("x-forward"));
}

#[test]
fn via_tells_of_all_who_handed_the_request_on() {
    assert_eq!(all(&sent(&[("via", "1.1 front"), ("via", "2 other")]), "via"), ["1.1 front", "2 other", "1.1 iwa"]);
}

#[test]
fn an_ipv6_client_is_quoted_and_a_host_cannot_break_out_of_its_quotes() {
    let mut headers = HeaderMap::new();
    let client = "2001:db8::1".parse().unwrap();
    forwarded(&Front { client, port: 0, by: None, secure: false, host: "a\";for=x;b=\"\\" }, &mut headers);
    assert_eq!(all(&headers, "forwarded"), ["for=\"[2001:db8::1]\";proto=http;host=\"a;for=x;b=\""]);
    assert_eq!(all(&headers, "x-forwarded-for"), ["2001:db8::1"]);
}

#[test]
fn trailers_are_announced_and_carried_without_those_that_may_not_trail() {
    let headers = sent(&[
        ("trailer", "X-Checksum, Content-Length"),
        ("trailer", "Authorization,x_forwarded_for, If-Match, X-More"),
    ]);
    assert_eq!(all(&headers, "trailer"), ["X-Checksum, X-More"]);
    assert!(!sent(&[("trailer", "Host")]).contains_key("trailer"));
    let mut trailers = of(&[
        ("x-checksum", "1"),
        ("content-length", "5"),
        ("authorization", "Bearer x"),
        ("set-cookie", "a=b"),
        ("transfer-encoding", "chunked"),
        ("x-forwarded-for", "127.0.0.1"),
        ("www-authenticate", "NTLM"),
        ("connection", "close"),
        ("if-match", "*"),
    ]);
    clean_trailers(&mut trailers);
    assert_eq!(trailers, of(&[("x-checksum", "1")]));
}

#[test]
fn an_answer_loses_what_was_for_the_connection() {
    let mut headers = of(&[
        ("connection", "keep-alive, x-hop"),
        ("keep-alive", "timeout=5"),
        ("x-hop", "1"),
        ("transfer-encoding", "chunked"),
        ("trailer", "x-sum, set-cookie"),
        ("proxy-authenticate", "Basic realm=\"x\""),
        ("persistent-auth", "true"),
        ("content-length", "7"),
        ("set-cookie", "a=b"),
        ("set-cookie", "c=d"),
    ]);
    assert!(!back(&mut headers));
    assert_eq!(
        headers,
        of(&[("content-length", "7"), ("set-cookie", "a=b"), ("set-cookie", "c=d"), ("trailer", "x-sum")])
    );
}

#[test]
fn challenges_of_windows_schemes_do_not_reach_the_client_and_others_do() {
    let back = |lines: &[&str]| {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(WWW_AUTHENTICATE, line.parse().unwrap());
        }
        let found = super::back(&mut headers);
        (found, all(&headers, "www-authenticate").iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert_eq!(back(&["Negotiate", "NTLM", "Bearer realm=\"x\""]), (true, vec!["Bearer realm=\"x\"".to_owned()]));
    assert_eq!(back(&["negotiate YII=", "nTlM"]), (true, vec![]));
    assert_eq!(
        back(&["Negotiate, Basic realm=\"a \\\"b\\\"\", charset=\"UTF-8\", NTLM"]),
        (true, vec!["Basic realm=\"a \\\"b\\\"\", charset=\"UTF-8\"".to_owned()])
    );
    assert_eq!(back(&["Basic realm=\"NTLM\""]), (false, vec!["Basic realm=\"NTLM\"".to_owned()]));
    assert_eq!(back(&["Negotiate, =broken"]), (true, vec![]));
    assert_eq!(back(&["Digest realm=\"x\""]), (false, vec!["Digest realm=\"x\"".to_owned()]));
}

#[test]
fn only_tokens_of_windows_schemes_sign_a_connection_in() {
    assert!(sign_in_the_connection(&of(&[("authorization", "negotiate YII=")])));
    assert!(sign_in_the_connection(&of(&[("authorization", "NTLM TlRM")])));
    assert!(!sign_in_the_connection(&of(&[("authorization", "Bearer x"), ("cookie", "NTLM")])));
}
