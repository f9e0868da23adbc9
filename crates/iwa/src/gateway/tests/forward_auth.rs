//! Forward-auth over real connections: the test is the proxy, and asks as proxies do, over connections of its own that it
//! shares among its clients.

use std::net::IpAddr;

use iwa_http::client::{Exchange, Next};
use iwa_http::{Os, Provider};

use super::sign_in::{NoKdc, accounts, head_of, ntlm_client, site};
use super::{Client, Directory, Server, header};
use crate::config::{Config, ForwardAuth, Route};
use crate::gateway::authorize::{Rule, User};

pub(super) fn forward(config: &mut Config) {
    config.forward_auth = Some(ForwardAuth {
        from: vec![IpAddr::from([127, 0, 0, 1]).into()],
        connection_header: Some(http::HeaderName::from_static("x-connection")),
        connections: 100,
        connection_idle: std::time::Duration::from_secs(60),
    });
    config.routes.insert(
        0,
        Route {
            path: "/bobs".into(),
            rules: vec![Rule { users: vec![User::Local("bob".into())], ..Rule::allow_all() }],
            ..Route::default()
        },
    );
}

async fn gateway(directory: &Directory) -> Server {
    site(directory, forward).await
}

/// The headers of nginx's question about `path`.
pub(super) fn about(path: &str, connection: &str) -> String {
    format!(
        "X-Original-Method: GET\r\nX-Original-URI: {path}\r\nX-Original-Host: app.example.test\r\nX-Original-Proto: https\r\n\
         X-Original-Addr: 192.0.2.7\r\n{connection}"
    )
}

const ASK: &str = "/.iwa/auth/nginx";
const ONE: &str = "X-Connection: 7-1-192.0.2.7:4711\r\n";
const OTHER: &str = "X-Connection: 7-2-192.0.2.7:4712\r\n";

/// Signs a client in whose requests the proxy tells of by these headers. Each question goes over another connection of the
/// proxy.
async fn sign_in(proxy: &mut [Client], ask: &str, headers: &str, user: &str) -> (String, Vec<String>) {
    let (policy, initiator) = ntlm_client(user, &format!("{user}-Passw0rd"));
    let mut exchange = Exchange::new(&policy, &initiator, &NoKdc, &Os);
    let (mut authorization, mut heads) = (String::new(), Vec::new());
    for connection in (0..proxy.len()).cycle() {
        let (head, _) = proxy[connection].get(ask, &format!("{headers}{authorization}")).await;
        heads.push(head.clone());
        let (status, headers) = head_of(&head);
        match exchange.next(status, &headers).await {
            Next::Again(name, value) => authorization = format!("{name}: {}\r\n", value.to_str().expect("ASCII")),
            Next::Done(_) => return (head, heads),
        }
    }
    unreachable!("a cycle has no end")
}

fn is(head: &str, status: &str) -> bool {
    head.starts_with(&format!("HTTP/1.1 {status} "))
}

#[tokio::test]
async fn ntlm_goes_by_the_clients_connection_and_never_by_the_proxys() {
    let directory = accounts("forward-ntlm");
    let server = gateway(&directory).await;
    let mut proxy = [server.connect().await, server.connect().await];
    let (head, _) = sign_in(&mut proxy, ASK, &about("/", ONE), "alice").await;
    assert!(is(&head, "200") && header(&head, "x-remote-user").is_some_and(|user| user.ends_with("\\alice")), "{head}");
    for asking in &mut proxy {
        // The same client without a token, over either of the proxy's connections; and others, over the same ones.
        assert!(is(&asking.get(ASK, &about("/", ONE)).await.0, "200"));
        for other in [OTHER, "", "X-Connection: \r\n"] {
            let (head, _) = asking.get(ASK, &about("/", other)).await;
            assert!(is(&head, "401") && header(&head, "x-remote-user").is_none(), "{other}: {head}");
        }
    }
    server.running.stop().await;
}

#[tokio::test]
async fn two_clients_at_once_over_one_connection_of_the_proxy_are_never_mixed_up() {
    let directory = accounts("forward-two");
    let server = gateway(&directory).await;
    let mut proxy = [server.connect().await];
    let (_, _) = sign_in(&mut proxy, ASK, &about("/", ONE), "alice").await;
    let (_, _) = sign_in(&mut proxy, ASK, &about("/", OTHER), "bob").await;
    for _ in 0..50 {
        for (connection, user) in [(ONE, "\\alice"), (OTHER, "\\bob")] {
            let (head, _) = proxy[0].get(ASK, &about("/", connection)).await;
            assert!(header(&head, "x-remote-user").is_some_and(|found| found.ends_with(user)), "{head}");
        }
    }
    server.running.stop().await;
}

#[tokio::test]
async fn a_name_of_a_connection_that_comes_again_is_a_new_connection() {
    let directory = accounts("forward-again");
    let server = gateway(&directory).await;
    let mut proxy = [server.connect().await];
    let numbered = |number: u32| about("/", &format!("X-Connection: 7-1-192.0.2.7:4711 {number}\r\n"));
    // The legs of a handshake are requests 2, 3 and 4 of their connection.
    let (policy, initiator) = ntlm_client("alice", "alice-Passw0rd");
    let mut exchange = Exchange::new(&policy, &initiator, &NoKdc, &Os);
    let mut authorization = String::new();
    let mut number = 2;
    let head = loop {
        let (head, _) = proxy[0].get(ASK, &format!("{}{authorization}", numbered(number))).await;
        let (status, headers) = head_of(&head);
        match exchange.next(status, &headers).await {
            Next::Again(name, value) => authorization = format!("{name}: {}\r\n", value.to_str().expect("ASCII")),
            Next::Done(_) => break head,
        }
        number += 1;
    };
    assert!(is(&head, "200"), "{head}");
    // The same request asked about twice is the same request.
    assert!(is(&proxy[0].get(ASK, &numbered(number)).await.0, "200"));
    assert!(is(&proxy[0].get(ASK, &numbered(number + 5)).await.0, "200"));
    // The proxy began anew, and so did its counter.
    assert!(is(&proxy[0].get(ASK, &numbered(1)).await.0, "401"));
    assert!(is(&proxy[0].get(ASK, &numbered(number + 6)).await.0, "401"), "what was forgotten stays forgotten");
    server.running.stop().await;
}

#[tokio::test]
async fn a_connection_is_another_where_the_client_or_the_proxy_is_another() {
    let directory = accounts("forward-other");
    let server = gateway(&directory).await;
    let mut proxy = [server.connect().await];
    sign_in(&mut proxy, ASK, &about("/", ONE), "alice").await;
    let elsewhere = about("/", ONE).replace("192.0.2.7\r\nX-Conn", "192.0.2.8\r\nX-Conn");
    assert!(is(&proxy[0].get(ASK, &elsewhere).await.0, "401"));
    assert!(is(&proxy[0].get("/.iwa/auth/haproxy", &about("/", ONE)).await.0, "401"));
    // Caddy passes on what its client writes there.
    let caddy = format!(
        "X-Forwarded-Method: GET\r\nX-Forwarded-Uri: /\r\nX-Forwarded-Host: h\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 192.0.2.7\r\n{ONE}"
    );
    let (head, _) = proxy[0].get("/.iwa/auth/caddy", &caddy).await;
    assert!(is(&head, "401") && !head.contains("NTLM"), "{head}");
    server.running.stop().await;
}

#[tokio::test]
async fn without_a_connection_ntlm_is_refused_before_a_challenge_and_the_log_says_why() {
    let directory = accounts("forward-alone");
    let server = gateway(&directory).await;
    let mut proxy = [server.connect().await];
    let (head, _) = proxy[0].get(ASK, &about("/", "")).await;
    assert!(is(&head, "401") && !head.contains("NTLM"), "{head}");
    let (head, heads) = sign_in(&mut proxy, ASK, &about("/", ""), "alice").await;
    assert!(is(&head, "401"), "{head}");
    assert!(heads.iter().all(|head| !head.contains("Negotiate o") && !head.contains("TlRM")), "{heads:?}");
    let told = server.told.lines();
    assert!(told[0].contains("NTLM is not offered"), "{told:?}");
    assert!(told.last().is_some_and(|line| line.contains("policy.not-on-this-connection")), "{told:?}");
    server.running.stop().await;
}

#[tokio::test]
async fn where_nothing_can_be_offered_the_answer_is_403() {
    let directory = accounts("forward-nothing");
    let server = site(&directory, |config| {
        forward(config);
        config.authentication.policy.providers = vec![Provider::Ntlm];
    })
    .await;
    let (head, _) = server.connect().await.get(ASK, &about("/", "")).await;
    assert!(is(&head, "403") && header(&head, "www-authenticate").is_none(), "{head}");
    assert!(server.told.lines()[0].contains("policy.not-on-this-connection"), "{:?}", server.told.lines());
    server.running.stop().await;
}

#[tokio::test]
async fn the_rules_are_those_of_the_original_path_and_not_of_the_question() {
    let directory = accounts("forward-rules");
    let server = gateway(&directory).await;
    let mut proxy = [server.connect().await];
    let (head, _) = sign_in(&mut proxy, ASK, &about("/bobs/x", ONE), "alice").await;
    assert!(is(&head, "403") && header(&head, "x-remote-user").is_none(), "{head}");
    assert!(header(&head, "x-authenticate-1").is_some_and(|line| line.starts_with("Negotiate o")), "{head}");
    let (head, _) = sign_in(&mut proxy, ASK, &about("/bobs/x", OTHER), "bob").await;
    assert!(is(&head, "200"), "{head}");
    for path in ["/%62obs/x", "/Bobs"] {
        assert!(is(&proxy[0].get(ASK, &about(path, ONE)).await.0, "403"), "{path}");
    }
    for path in
        ["/public/../bobs/x", "//bobs/x", "/bobs%2f..%2f..%2f", "/%2e%2e/bobs", "http://h/bobs", "bobs", "*", ""]
    {
        let (head, _) = proxy[0].get(ASK, &about(path, ONE)).await;
        assert!(is(&head, "400"), "{path}: {head}");
    }
    server.running.stop().await;
}

#[tokio::test]
async fn whoever_is_not_listed_is_not_believed_and_not_even_told_that_there_is_something() {
    let directory = accounts("forward-from");
    let server = site(&directory, |config| {
        forward(config);
        let forward = config.forward_auth.as_mut().expect("just made");
        forward.from = vec!["192.0.2.0/24".parse().expect("a network")];
    })
    .await;
    let (head, _) = server.connect().await.get(ASK, &about("/", ONE)).await;
    assert!(is(&head, "404"), "{head}");
    assert!(server.told.lines()[0].contains("127.0.0.1 asks about another's request"), "{:?}", server.told.lines());
    server.running.stop().await;
    let off = site(&directory, |_| {}).await;
    assert!(is(&off.connect().await.get(ASK, &about("/", ONE)).await.0, "404"));
    off.running.stop().await;
}

#[tokio::test]
async fn nginx_gets_each_challenge_under_a_name_of_its_own_and_the_others_all_under_one() {
    let directory = accounts("forward-names");
    let server = gateway(&directory).await;
    let mut proxy = server.connect().await;
    let (head, _) = proxy.get(ASK, &about("/", ONE)).await;
    assert_eq!(header(&head, "www-authenticate"), Some("Negotiate"));
    assert_eq!(header(&head, "x-authenticate-2"), Some("NTLM"));
    assert_eq!(head.matches("NTLM").count(), 1, "{head}");
    let (head, _) = proxy.get("/.iwa/auth/haproxy", &about("/", ONE)).await;
    let lines: Vec<_> = head.lines().filter(|line| line.starts_with("www-authenticate")).collect();
    assert_eq!(lines, ["www-authenticate: Negotiate", "www-authenticate: NTLM"]);
    server.running.stop().await;
}

#[tokio::test]
async fn the_log_tells_of_the_original_request() {
    use std::sync::{Arc, Mutex};
    #[derive(Default)]
    struct Seen(Mutex<Vec<String>>);
    impl crate::gateway::exchange::Audit for Seen {
        fn record(&self, exchange: &crate::gateway::exchange::Exchange<'_>) {
            let line = format!("{} {} {}", exchange.client.ip(), exchange.method, exchange.uri);
            self.0.lock().expect("not poisoned").push(line);
        }
    }
    let directory = accounts("forward-log");
    let seen = Arc::new(Seen::default());
    let mut config = Config::default();
    config.server.listen = vec!["127.0.0.1:0".parse().expect("an address")];
    config.routes = vec![Route { path: "/".into(), rules: vec![Rule::allow_all()], ..Route::default() }];
    config.authentication.policy.anonymous = true;
    forward(&mut config);
    let audit: Arc<dyn crate::gateway::exchange::Audit> = Arc::clone(&seen) as _;
    let running = crate::gateway::start_with(&config, Vec::new(), None, audit).await.expect("it starts");
    let stream = tokio::net::TcpStream::connect(running.addresses()[0]).await.expect("it listens");
    let mut proxy = Client(Box::new(stream));
    let headers = about("/a/b?c=d", "").replace("Method: GET", "Method: DELETE");
    let (head, _) = proxy.get(ASK, &headers).await;
    assert!(is(&head, "200") && header(&head, "x-remote-user").is_none(), "{head}");
    assert_eq!(*seen.0.lock().expect("not poisoned"), ["192.0.2.7 DELETE /a/b?c=d"]);
    running.stop().await;
    drop(directory);
}

/// As `source/extensions/filters/common/ext_authz/ext_authz_http_impl.cc` writes it: the original's method and path,
/// Content-Length 0.
#[tokio::test]
async fn envoy_asks_with_the_originals_own_method_and_path() {
    let directory = accounts("forward-envoy");
    let server = site(&directory, |config| {
        forward(config);
        config.authentication.policy.anonymous = true;
    })
    .await;
    let mut proxy = server.connect().await;
    for (path, status) in [("/a?x=1", "200"), ("/bobs/x", "401"), ("/", "200")] {
        let head = format!("PUT /.iwa/auth/envoy{path} HTTP/1.1\r\nHost: app.example.test\r\nContent-Length: 0\r\n");
        proxy.send(&format!("{head}X-Original-Proto: https\r\nX-Original-Addr: 192.0.2.7\r\n\r\n")).await;
        let (head, _) = proxy.answer().await;
        assert!(is(&head, status), "{path}: {head}");
        assert!(!head.contains("NTLM"), "{head}");
    }
    server.running.stop().await;
}

/// As `pkg/middlewares/auth/forward.go` of Traefik writes it: GET, the client's headers, and its own in place of the client's.
#[tokio::test]
async fn traefik_asks_with_forwarded_headers() {
    let directory = accounts("forward-traefik");
    let server = gateway(&directory).await;
    let mut proxy = server.connect().await;
    let headers = "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Method: POST\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: app.example.test\r\n\
                   X-Forwarded-Uri: /a\r\nUser-Agent: curl\r\nX-Original-URI: /forged\r\n";
    let (head, body) = proxy.get("/.iwa/auth/traefik", headers).await;
    assert!(is(&head, "401") && body.contains("401.2"), "{head}");
    assert_eq!(header(&head, "www-authenticate"), Some("Negotiate"));
    server.running.stop().await;
}
