//! Who is asked, over real connections. Clients of several networks are those of several loopback addresses.

use std::net::SocketAddr;

use iwa_http::Provider;
use tokio::net::TcpSocket;

use super::sign_in::{accounts, alice, sign_in, site};
use super::{Client, Directory, Server, header};
use crate::config::{Config, Route, SignIn, When};
use crate::gateway::authorize::{Access, Rule, User};
use crate::gateway::gate::{Condition, Instead, Login, Pattern};

async fn from(server: &Server, address: &str) -> Client {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::new(address.parse().expect("an address"), 0)).expect("an address of this machine");
    Client(Box::new(socket.connect(server.running.addresses()[0]).await.expect("it listens")))
}

fn whoami(path: &str, sign_in: SignIn) -> Route {
    Route { path: path.into(), rules: vec![Rule::allow_all()], sign_in, ..Default::default() }
}

fn off() -> SignIn {
    SignIn { off: Some(true), anonymous: Some(true), ..SignIn::default() }
}

fn optional() -> SignIn {
    SignIn { off: Some(false), anonymous: Some(true), ..SignIn::default() }
}

fn only(providers: &[Provider]) -> SignIn {
    SignIn { providers: Some(providers.to_vec()), ..SignIn::default() }
}

fn login(text: &str) -> Instead {
    Instead::Login(Login::parse(text).expect("an address"))
}

fn within(network: &str, sign_in: SignIn) -> When {
    let networks = vec![network.parse().expect("a network")];
    When { condition: Condition { networks, ..Condition::default() }, sign_in }
}

fn agent(pattern: &str, sign_in: SignIn) -> When {
    let pattern = Pattern::parse(pattern).expect("an expression");
    When {
        condition: Condition { headers: vec![(http::header::USER_AGENT, pattern)], ..Condition::default() },
        sign_in,
    }
}

fn offered(head: &str) -> Vec<&str> {
    head.lines().filter_map(|line| line.strip_prefix("www-authenticate: ")).collect()
}

fn routes(directory: &Directory, config: &mut Config, routes: impl IntoIterator<Item = Route>) {
    let _ = directory;
    config.routes = routes.into_iter().collect();
}

const FIREFOX: &str = "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n";
const ALICE: &str = "Authorization: Basic YWxpY2U6YWxpY2UtUGFzc3cwcmQ=\r\n";
const ALICE_WRONG: &str = "Authorization: Basic YWxpY2U6d3Jvbmc=\r\n";

#[tokio::test]
async fn off_looks_at_no_credentials_and_knows_nobody() {
    let directory = accounts("gate-off");
    let server = site(&directory, |config| {
        config.authentication.policy.basic_realm = Some(String::new());
        routes(&directory, config, [whoami("/off", off()), whoami("/", SignIn::default())]);
    })
    .await;
    let mut client = server.connect().await;
    for credentials in [
        "",
        ALICE,
        ALICE_WRONG,
        "Authorization: Negotiate !!!\r\n",
        "Authorization: Negotiate YWJj\r\nAuthorization: NTLM YWJj\r\n",
        "Authorization: Bearer x\r\n",
    ] {
        let (head, body) = client.get("/off", credentials).await;
        assert!(head.starts_with("HTTP/1.1 200 ") && body.contains("You are anonymous"), "{credentials}: {head}{body}");
        assert_eq!(offered(&head), [""; 0]);
    }
    // Not even of somebody who is known on the connection; and the connection goes on to know them.
    assert!(alice(&mut client, "/").await.0.starts_with("HTTP/1.1 200 "));
    assert!(client.get("/off", "").await.1.contains("You are anonymous"));
    assert!(client.get("/", "").await.1.contains("WEB\\alice"));
    // What was said where nobody listens, counts nowhere.
    let mut client = server.connect().await;
    assert!(client.get("/off", ALICE).await.0.starts_with("HTTP/1.1 200 "));
    assert!(client.get("/", "").await.0.starts_with("HTTP/1.1 401 "));
    server.running.stop().await;
}

#[tokio::test]
async fn where_nobody_is_asked_a_rule_that_wants_somebody_is_403_and_no_challenge() {
    let directory = accounts("gate-off-rule");
    let server = site(&directory, |config| {
        let rules =
            vec![Rule { access: Access::Deny, users: vec![User::Anonymous], ..Rule::allow_all() }, Rule::allow_all()];
        config.routes = vec![Route { rules, ..whoami("/", off()) }];
    })
    .await;
    let mut client = server.connect().await;
    for credentials in ["", ALICE] {
        let (head, _) = client.get("/", credentials).await;
        assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
        assert_eq!(offered(&head), [""; 0]);
    }
    server.running.stop().await;
}

#[tokio::test]
async fn optional_serves_who_brings_nothing_and_never_who_fails() {
    let directory = accounts("gate-optional");
    let server = site(&directory, |config| {
        config.authentication.policy.basic_realm = Some(String::new());
        let required = SignIn { off: Some(false), anonymous: Some(false), ..SignIn::default() };
        config.routes = vec![whoami("/in", required), whoami("/", optional())];
    })
    .await;
    let mut client = server.connect().await;
    assert!(client.get("/", "").await.1.contains("You are anonymous"));
    assert!(client.get("/", ALICE).await.1.contains("WEB\\alice"));
    for (credentials, status) in [
        (ALICE_WRONG, "401"),
        ("Authorization: Negotiate YWJj\r\n", "401"),
        ("Authorization: NTLM YWJj\r\n", "401"),
        ("Authorization: Negotiate !!!\r\n", "400"),
        ("Authorization: Basic !!!\r\n", "400"),
    ] {
        let (head, body) = client.get("/", credentials).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{credentials}: {head}");
        assert!(!body.contains("anonymous"));
    }
    let mut client = server.connect().await;
    assert!(alice(&mut client, "/in").await.1.contains("WEB\\alice"));
    assert!(client.get("/", "").await.1.contains("WEB\\alice"), "her connection");
    server.running.stop().await;
}

#[tokio::test]
async fn negotiate_only_to_clients_inside_and_a_login_page_for_others() {
    let directory = accounts("gate-inside");
    let server = site(&directory, |config| {
        let inside = within("127.0.0.8/30", only(&[Provider::Negotiate]));
        let others =
            SignIn { instead: Some(login("https://login.example.test/?next={path}")), when: vec![inside], ..only(&[]) };
        config.routes = vec![whoami("/", others)];
    })
    .await;
    let mut inside = from(&server, "127.0.0.9").await;
    let (head, body) = inside.get("/a?b=1", "").await;
    assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
    assert_eq!(offered(&head), ["Negotiate"]);
    assert!(body.contains("url=https://login.example.test/?next=/a%3Fb%3D1"), "{body}");
    assert!(alice(&mut inside, "/").await.1.contains("WEB\\alice"));
    for claims in ["", "X-Forwarded-For: 127.0.0.9\r\n", "X-Real-IP: 127.0.0.9\r\nForwarded: for=127.0.0.9\r\n"] {
        let mut outside = from(&server, "127.0.0.13").await;
        let (head, _) = outside.get("/a?b=1&c=//evil.example.test", claims).await;
        assert!(head.starts_with("HTTP/1.1 302 "), "{head}");
        assert_eq!(
            header(&head, "location"),
            Some("https://login.example.test/?next=/a%3Fb%3D1%26c%3D//evil.example.test")
        );
        assert_eq!(offered(&head), [""; 0]);
    }
    // Whoever brings a token where none is offered gets no further, and neither does what is no page to look at.
    let mut outside = from(&server, "127.0.0.13").await;
    assert!(alice(&mut outside, "/").await.0.starts_with("HTTP/1.1 302 "));
    let (head, _) = outside.get("/", "Authorization: Negotiate YWJj\r\n").await;
    assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
    outside.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n").await;
    let (head, _) = outside.answer().await;
    assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
    assert_eq!(offered(&head), ["Cookie form-action=\"https://login.example.test/?next=/\""]);
    server.running.stop().await;
}

#[tokio::test]
async fn no_ntlm_for_firefox_and_what_chrome_proved_so_does_not_count_for_it() {
    let directory = accounts("gate-firefox");
    let server = site(&directory, |config| {
        let firefox = agent("Firefox/", only(&[Provider::NegotiateKerberos]));
        config.routes = vec![whoami("/", SignIn { when: vec![firefox], ..SignIn::default() })];
    })
    .await;
    let mut client = server.connect().await;
    assert_eq!(offered(&client.get("/", "").await.0), ["Negotiate", "NTLM"]);
    assert_eq!(offered(&client.get("/", FIREFOX).await.0), ["Negotiate"]);
    assert!(alice(&mut client, "/").await.1.contains("WEB\\alice"));
    // The same connection, known by NTLM: under a clause that takes none it is nobody's, and stays so.
    assert!(client.get("/", FIREFOX).await.0.starts_with("HTTP/1.1 401 "));
    assert!(client.get("/", "").await.0.starts_with("HTTP/1.1 401 "));
    server.running.stop().await;
}

#[tokio::test]
async fn a_handshake_that_was_begun_under_one_clause_does_not_end_under_a_stricter_one() {
    let directory = accounts("gate-halfway");
    let server = site(&directory, |config| {
        let firefox = agent("Firefox/", only(&[Provider::NegotiateKerberos]));
        config.routes = vec![whoami("/", SignIn { when: vec![firefox], ..SignIn::default() })];
    })
    .await;
    let mut client = server.connect().await;
    let (head, ..) =
        super::sign_in::sign_in_with(&mut client, "alice", "alice-Passw0rd", "/", "", &["", FIREFOX]).await;
    assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
    assert!(server.told.lines().iter().any(|line| line.ends_with("policy.mechanism-off")), "{:?}", server.told.lines());
    server.running.stop().await;
}

#[tokio::test]
async fn health_checkers_come_in_without_sign_in_from_their_network_alone() {
    let directory = accounts("gate-health");
    let server = site(&directory, |config| {
        let mut health = within("127.0.0.42/32", off());
        health.condition.headers = vec![(http::header::USER_AGENT, Pattern::parse("^check/").expect("an expression"))];
        config.routes = vec![whoami("/", SignIn { when: vec![health], ..SignIn::default() })];
    })
    .await;
    for (address, agent, status) in [
        ("127.0.0.42", "User-Agent: check/1.0\r\n", "200"),
        ("127.0.0.42", "User-Agent: Mozilla/5.0\r\n", "401"),
        ("127.0.0.42", "", "401"),
        ("127.0.0.43", "User-Agent: check/1.0\r\n", "401"),
        ("127.0.0.43", "User-Agent: check/1.0\r\nX-Forwarded-For: 127.0.0.42\r\n", "401"),
        ("127.0.0.1", "User-Agent: check/1.0\r\nForwarded: for=127.0.0.42\r\n", "401"),
    ] {
        let (head, _) = from(&server, address).await.get("/", agent).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{address} {agent}: {head}");
    }
    server.running.stop().await;
}

#[tokio::test]
async fn without_a_dialog_negotiate_is_offered_once_and_nothing_else_ever() {
    let directory = accounts("gate-dialog");
    let server = site(&directory, |config| {
        config.authentication.policy.basic_realm = Some(String::new());
        config.routes = vec![
            whoami("/kerberos", SignIn { instead: Some(Instead::Page), ..only(&[Provider::NegotiateKerberos]) }),
            whoami("/", SignIn { instead: Some(Instead::Page), ..SignIn::default() }),
        ];
    })
    .await;
    let mut client = server.connect().await;
    let (head, body) = client.get("/", "").await;
    assert_eq!(offered(&head), ["Negotiate"]);
    assert!(body.contains("Sign-in required"));
    // Who comes by NTLM unasked, with a password by themselves, or with a good token is let in.
    assert!(alice(&mut client, "/").await.1.contains("WEB\\alice"));
    assert!(client.get("/", ALICE).await.1.contains("WEB\\alice"));
    for credentials in [ALICE_WRONG, "Authorization: Negotiate YWJj\r\n", "Authorization: NTLM YWJj\r\n"] {
        let (head, body) = client.get("/", credentials).await;
        assert!(head.starts_with("HTTP/1.1 401 ") && body.contains("401.1"), "{credentials}: {head}");
        assert_eq!(offered(&head), [""; 0], "{credentials}");
    }
    // A wrong password within Negotiate, and NTLM within it where only Kerberos is taken.
    for (path, password) in [("/", "wrong"), ("/kerberos", "alice-Passw0rd")] {
        let mut client = server.connect().await;
        let (head, ..) = sign_in(&mut client, "alice", password, path, "").await;
        assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
        assert_eq!(offered(&head), [""; 0]);
        // The next request begins anew.
        assert_eq!(offered(&client.get(path, "").await.0), ["Negotiate"]);
    }
    server.running.stop().await;
}

#[tokio::test]
async fn pages_of_the_administrator_say_who_is_not_allowed_and_never_why_a_sign_in_failed() {
    use crate::gateway::templates::{Page, Template, Templates};
    let directory = accounts("gate-pages");
    let server = site(&directory, |config| {
        config.authentication.policy.basic_realm = Some(String::new());
        config.routes = vec![
            Route {
                rules: vec![Rule { access: Access::Deny, ..Rule::allow_all() }],
                ..whoami("/no", SignIn::default())
            },
            whoami("/", SignIn::default()),
        ];
        let text = "<title>{title}</title>{what} {status} {user} {request-id}";
        let pages = [Page::Status(401), Page::Status(403), Page::Class(4)];
        let pages = pages.map(|page| (page, Template::parse(text, page).expect("a page")));
        config.pages = Templates::new(pages.into_iter().collect(), &["https://cdn.example.test".to_owned()]);
    })
    .await;
    let mut client = server.connect().await;
    let (head, body) = client.get("/", "").await;
    assert!(head.starts_with("HTTP/1.1 401 ") && body.starts_with("<title>Sign-in required</title>"), "{head}{body}");
    assert_eq!(offered(&head), ["Negotiate", "NTLM", "Basic realm=\"\", charset=\"UTF-8\""]);
    assert_eq!(header(&head, "cache-control"), Some("no-store"));
    let policy = header(&head, "content-security-policy").expect("a policy");
    assert!(
        policy.starts_with("default-src 'none'; ") && policy.contains("img-src data: https://cdn.example.test;"),
        "{policy}"
    );
    let failed = [ALICE_WRONG, "Authorization: Basic Ym9iYnk6eA==\r\n", "Authorization: NTLM YWJj\r\n"];
    for credentials in failed {
        let (_, body) = client.get("/", credentials).await;
        let body = body.rsplit_once(' ').expect("a request id").0;
        assert_eq!(
            body,
            "<title>Sign-in failed</title>The server did not accept the account that your browser offered. 401.1 "
        );
    }
    let (head, body) = client.get("/no", ALICE).await;
    assert!(head.starts_with("HTTP/1.1 403 ") && body.contains(" 403.0 WEB\\alice "), "{head}{body}");
    let (head, body) = client.get("/..%2f", "").await;
    assert!(head.starts_with("HTTP/1.1 400 ") && body.starts_with("<title>Bad request</title>"), "{head}{body}");
    server.running.stop().await;
}
