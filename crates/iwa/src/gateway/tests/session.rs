//! Sessions over real connections: one handshake, then a cookie, and everything with which somebody may try to have one.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use iwa_auth::{BindingPolicy, Secret};
use iwa_domain::local::{LocalAccounts, Lockout, NewUser, UserChange};
use iwa_http::Provider;
use iwa_http::session::Terms;

use super::identity::application;
use super::sign_in::{accounts, alice, sign_in, site};
use super::tls::{Pem, over_tls, with_certificates};
use super::{Client, Directory, Server, header};
use crate::config::{Config, Route, Sessions, SignIn};
use crate::gateway::authorize::{Access, Rule, User};
use crate::gateway::mapping::{Mapping, MappingRule, Whose};
use crate::gateway::reload;
use crate::gateway::session::revoked;

/// A site with accounts, TLS and sessions; and where its files are.
pub(super) struct World {
    pub(super) directory: Directory,
    pub(super) web: Pem,
    pub(super) server: Server,
}

impl World {
    pub(super) async fn new(name: &str, change: impl FnOnce(&mut Config)) -> Self {
        let directory = accounts(&format!("session-{name}"));
        let web = Pem::write(&directory, "web", &["web.example.test"]);
        let server = server(&directory, &web, change).await;
        Self { directory, web, server }
    }

    /// Another gateway with the same files.
    async fn another(&self, change: impl FnOnce(&mut Config)) -> Server {
        server(&self.directory, &self.web, change).await
    }

    pub(super) async fn connect(&self) -> Client {
        self.connect_to(&self.server).await
    }

    async fn connect_to(&self, server: &Server) -> Client {
        over_tls(server, "web.example.test", &[&self.web]).await.expect("TLS").0
    }

    /// Alice's cookie, and the connection on which she got it.
    pub(super) async fn alice(&self) -> (Client, String) {
        let mut client = self.connect().await;
        let (head, ..) = alice(&mut client, "/").await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let cookie = cookie(&head).unwrap_or_else(|| panic!("a session: {head}"));
        (client, cookie)
    }

    /// What a new connection of a browser with this cookie gets.
    pub(super) async fn with(&self, cookie: &str, path: &str) -> String {
        self.at(&self.server, cookie, path).await
    }

    async fn at(&self, server: &Server, cookie: &str, path: &str) -> String {
        get(&mut self.connect_to(server).await, path, &format!("Cookie: {cookie}\r\n")).await.0
    }

    fn accounts(&self) -> LocalAccounts {
        LocalAccounts::open(&self.directory.0.join("state"), Lockout::default()).expect("accounts")
    }

    fn told(&self) -> String {
        self.server.told.lines().pop().expect("a request was logged")
    }
}

async fn server(directory: &Directory, web: &Pem, change: impl FnOnce(&mut Config)) -> Server {
    site(directory, |config| {
        with_certificates(config, &[web]);
        config.sessions = Some(Sessions {
            keys: directory.0.join("session-keys"),
            revoked: directory.0.join("session-keys-revoked"),
            rotate: Sessions::ROTATE,
            return_to: vec!["https://www.example.test/bye".into()],
        });
        config.routes[0].session = Some(Terms::default());
        change(config);
    })
    .await
}

/// Below "/", the same files with something else.
pub(super) fn route(config: &mut Config, path: &str, change: impl FnOnce(&mut Route)) {
    let mut route = Route { path: path.into(), ..config.routes.last().expect("a route").clone() };
    change(&mut route);
    config.routes.insert(0, route);
}

pub(super) async fn get(client: &mut Client, path: &str, headers: &str) -> (String, String) {
    client.send(&format!("GET {path} HTTP/1.1\r\nHost: h\r\n{headers}\r\n")).await;
    client.answer().await
}

async fn post(client: &mut Client, path: &str, headers: &str) -> (String, String) {
    client.send(&format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n{headers}\r\n")).await;
    client.answer().await
}

pub(super) fn set_cookies(head: &str) -> Vec<&str> {
    head.lines().filter_map(|line| line.strip_prefix("set-cookie: ")).collect()
}

/// What a browser sends back.
pub(super) fn cookie(head: &str) -> Option<String> {
    let kept = set_cookies(head).into_iter().filter(|line| !line.contains("Max-Age=0"));
    let pairs: Vec<_> = kept.filter_map(|line| line.split(';').next()).collect();
    (!pairs.is_empty()).then(|| pairs.join("; "))
}

fn is_cleared(head: &str) -> bool {
    set_cookies(head).iter().any(|line| line.starts_with("__Host-iwa=; ") && line.contains("Max-Age=0"))
}

fn ok(head: &str) -> bool {
    head.starts_with("HTTP/1.1 200 ")
}

fn asks(head: &str) -> bool {
    head.starts_with("HTTP/1.1 401 ") && head.contains("www-authenticate: Negotiate")
}

pub(super) fn basic(user: &str) -> String {
    format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("{user}:{user}-Passw0rd")))
}

#[tokio::test]
async fn a_second_connection_of_a_signed_in_browser_gets_200_without_any_401() {
    let world = World::new("second", |config| config.routes[0].files = None).await;
    let (_, cookie) = world.alice().await;
    let before = world.server.told.lines().len();
    for _ in 0..3 {
        let mut client = world.connect().await;
        let (head, body) = get(&mut client, "/", &format!("Cookie: theme=dark; {cookie}\r\n")).await;
        assert!(ok(&head) && body.contains("WEB\\alice") && body.contains("<td>NTLM</td>"), "{head}{body}");
        assert!(body.contains("a session that began with a sign-in"), "{body}");
        assert!(set_cookies(&head).is_empty(), "not with each request: {head}");
    }
    assert_eq!(world.server.told.lines()[before..], ["200.0 0 -"; 3]);
}

#[tokio::test]
async fn there_are_no_sessions_where_no_route_says_so() {
    let world = World::new("off", |config| {
        route(config, "/plain", |route| route.session = None);
    })
    .await;
    let mut client = world.connect().await;
    assert!(set_cookies(&alice(&mut client, "/plain/index.html").await.0).is_empty());
    let (_, cookie) = world.alice().await;
    assert!(asks(&world.with(&cookie, "/plain/").await), "nor does one of elsewhere count");
}

#[tokio::test]
async fn only_a_handshake_of_this_very_request_begins_a_session() {
    let world = World::new("begin", |config| {
        route(config, "/plain", |route| route.session = None);
        route(config, "/open", |route| route.sign_in = SignIn { anonymous: Some(true), ..SignIn::default() });
    })
    .await;
    let mut client = world.connect().await;
    assert!(set_cookies(&get(&mut client, "/", "").await.0).is_empty(), "a 401");
    assert!(set_cookies(&get(&mut client, "/open/", "").await.0).is_empty(), "nobody");
    alice(&mut client, "/plain/").await;
    let (head, _) = get(&mut client, "/", "").await;
    assert!(ok(&head) && set_cookies(&head).is_empty(), "what the connection knows begins none: {head}");
}

#[tokio::test]
async fn a_planted_cookie_is_never_taken_over_by_a_sign_in() {
    let world = World::new("fixation", |_| {}).await;
    let (_, planted) = world.alice().await;
    // Bob's browser has alice's cookie when he signs in; what he gets is another.
    let mut client = world.connect().await;
    let credentials = "bob-Passw0rd";
    let (head, ..) = sign_in(&mut client, "bob", credentials, "/", "").await;
    let own = cookie(&head).expect("a session");
    assert_ne!(planted, own);
    let made_up = "__Host-iwa=1AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let head = world.with(made_up, "/").await;
    assert!(asks(&head) && is_cleared(&head) && !head.contains("AAAA"), "{head}");
}

#[tokio::test]
async fn a_cookie_that_does_not_count_is_forgotten_and_the_client_signs_in_as_without() {
    let world = World::new("bad", |_| {}).await;
    let (_, good) = world.alice().await;
    let twice = format!("{good}; {good}");
    let changed = format!("{}{}", &good[..good.len() - 1], if good.ends_with('A') { "Q" } else { "A" });
    for bad in ["__Host-iwa=", "__Host-iwa=nonsense", "__Host-iwa=1\"", &changed, &twice, &good[..40]] {
        let head = world.with(bad, "/").await;
        assert!(asks(&head) && is_cleared(&head), "{bad}: {head}");
        assert!(world.told().starts_with("401.2 5 "), "no failure of the client's: {}", world.told());
        assert!(world.told().contains("session"), "and the log says so: {}", world.told());
    }
    // It does not stand in the way of a connection that is known, nor of a sign-in.
    let (mut client, _) = world.alice().await;
    assert!(ok(&get(&mut client, "/", "Cookie: __Host-iwa=nonsense\r\n").await.0));
}

#[tokio::test]
async fn a_session_of_a_weaker_route_does_not_serve_a_stricter_one_and_both_live_side_by_side() {
    let world = World::new("stricter", |config| {
        config.authentication.policy.basic_realm = Some(String::new());
        route(config, "/ntlm", |route| {
            route.sign_in = SignIn { basic: Some(false), ..SignIn::default() };
        });
        route(config, "/kerberos", |route| {
            let providers = Some(vec![Provider::NegotiateKerberos]);
            route.sign_in = SignIn { providers, basic: Some(false), ..SignIn::default() };
        });
    })
    .await;
    let mut client = world.connect().await;
    let (head, _) = get(&mut client, "/", &basic("alice")).await;
    let weak = cookie(&head).expect("a session");
    assert!(ok(&world.with(&weak, "/").await));
    for path in ["/ntlm/", "/kerberos/"] {
        let head = world.with(&weak, path).await;
        assert!(asks(&head) && set_cookies(&head).is_empty(), "it is good elsewhere: {head}");
    }
    let (head, ..) = alice(&mut client, "/ntlm/").await;
    let strict = cookie(&head).expect("a session");
    assert!(strict.starts_with("__Host-iwa-"), "{strict}");
    assert!(ok(&world.with(&format!("{weak}; {strict}"), "/ntlm/").await));
    assert!(ok(&world.with(&format!("{weak}; {strict}"), "/").await));
    assert!(asks(&world.with(&strict, "/kerberos/").await));
    // Under the other's name it does not open.
    let renamed = format!("__Host-iwa={}", strict.split_once('=').expect("a pair").1);
    assert!(asks(&world.with(&renamed, "/").await));
}

#[tokio::test]
async fn an_older_policy_is_refused() {
    let world = World::new("older", |config| config.authentication.policy.basic_realm = Some(String::new())).await;
    let (_, cookie) = world.alice().await;
    let same = world.another(|config| config.authentication.policy.basic_realm = Some("another realm".into())).await;
    assert!(ok(&world.at(&same, &cookie, "/").await));
    let without_basic = world.another(|_| {}).await;
    let with_mic = world.another(|config| {
        config.authentication.policy.basic_realm = Some(String::new());
        config.ntlm.require_mic = true;
    });
    for stricter in [without_basic, with_mic.await] {
        let head = world.at(&stricter, &cookie, "/").await;
        assert!(asks(&head) && is_cleared(&head), "{head}");
    }
}

#[tokio::test]
async fn who_is_of_accounts_that_are_no_longer_there_has_no_session() {
    let world = World::new("authorities", |_| {}).await;
    let (_, cookie) = world.alice().await;
    assert!(ok(&world.with(&cookie, "/").await));
    let without = world.another(|config| config.accounts = None).await;
    let head = world.at(&without, &cookie, "/").await;
    assert!(head.starts_with("HTTP/1.1 401 ") && is_cleared(&head), "{head}");
    assert!(ok(&world.with(&cookie, "/").await), "where they are, it stands");
}

#[tokio::test]
async fn a_session_is_of_one_host_and_of_tls() {
    let world = World::new("host", |_| {}).await;
    let (_, cookie) = world.alice().await;
    for (host, good) in [("h", true), ("H.:443", true), ("other", false), ("h:8443", false), ("h.example.test", false)]
    {
        let mut client = world.connect().await;
        client.send(&format!("GET / HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\n\r\n")).await;
        let (head, _) = client.answer().await;
        assert_eq!(ok(&head), good, "{host}: {head}");
    }
    // The first address is without TLS: no session begins there, and one of TLS means nothing.
    let mut clear = world.server.connect().await;
    let (head, ..) = alice(&mut clear, "/").await;
    assert!(ok(&head) && set_cookies(&head).is_empty(), "{head}");
    for name in ["__Host-iwa", "iwa-session"] {
        let cookie = cookie.replace("__Host-iwa", name);
        let mut clear = world.server.connect().await;
        assert!(asks(&get(&mut clear, "/", &format!("Cookie: {cookie}\r\n")).await.0));
    }
}

#[tokio::test]
async fn without_tls_there_is_a_session_only_where_the_configuration_says_so() {
    let world = World::new("clear", |config| {
        config.routes[0].session = Some(Terms { in_clear: true, ..Terms::default() });
    })
    .await;
    let mut clear = world.server.connect().await;
    let (head, ..) = alice(&mut clear, "/").await;
    let cookie = cookie(&head).expect("a session");
    assert!(cookie.starts_with("iwa-session=1") && !head.contains("Secure"), "{head}");
    let mut clear = world.server.connect().await;
    assert!(ok(&get(&mut clear, "/", &format!("Cookie: {cookie}\r\n")).await.0));
    let secure = cookie.replace("iwa-session", "__Host-iwa");
    assert!(asks(&world.with(&secure, "/").await), "one that anybody could hear does not count over TLS");
}

#[tokio::test]
async fn a_token_wins_over_a_session_and_one_that_fails_is_not_helped_by_it() {
    let world = World::new("both", |config| {
        config.authentication.policy.basic_realm = Some(String::new());
        config.routes[0].files = None;
    })
    .await;
    let (_, cookie) = world.alice().await;
    let mut client = world.connect().await;
    let (head, body) = get(&mut client, "/", &format!("Cookie: {cookie}\r\n{}", basic("bob"))).await;
    assert!(ok(&head) && body.contains("WEB\\bob") && cookie != self::cookie(&head).expect("his own"), "{head}{body}");
    let wrong = format!("Authorization: Basic {}\r\n", STANDARD.encode("bob:wrong"));
    for bad in [&wrong, "Authorization: Negotiate YWJj\r\n", "Authorization: NTLM YWJj\r\n"] {
        let (head, _) = get(&mut world.connect().await, "/", &format!("Cookie: {cookie}\r\n{bad}")).await;
        assert!(head.starts_with("HTTP/1.1 401 "), "{bad}: {head}");
        assert!(set_cookies(&head).is_empty(), "the session itself is good: {head}");
    }
    let (head, _) =
        get(&mut world.connect().await, "/", &format!("Cookie: {cookie}\r\nAuthorization: Negotiate !\r\n")).await;
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    // What is the application's business is none of ours.
    let (head, body) =
        get(&mut world.connect().await, "/", &format!("Cookie: {cookie}\r\nAuthorization: Bearer x\r\n")).await;
    assert!(ok(&head) && body.contains("WEB\\alice"), "{head}");
}

#[tokio::test]
async fn signing_out_ends_the_session_everywhere_and_what_connections_know() {
    let world = World::new("out", |_| {}).await;
    let (mut signed_in, cookie) = world.alice().await;
    assert!(ok(&get(&mut signed_in, "/", "").await.0), "the connection knows her, too");
    let other = world.another(|_| {}).await;
    let mut client = world.connect().await;
    let own = format!("Cookie: {cookie}\r\nSec-Fetch-Site: same-origin\r\nOrigin: https://h\r\n");
    let (head, body) = post(&mut client, "/.iwa/logout", &own).await;
    assert!(ok(&head) && is_cleared(&head) && body.contains("WEB\\alice"), "{head}{body}");
    assert_eq!(header(&head, "cache-control"), Some("no-store"));
    let head = world.with(&cookie, "/").await;
    assert!(asks(&head) && is_cleared(&head), "{head}");
    assert!(world.told().ends_with("the session was signed out"), "{}", world.told());
    assert!(asks(&get(&mut signed_in, "/", "").await.0), "the connection on which it began");
    reload_sessions(&other);
    assert!(asks(&world.at(&other, &cookie, "/").await), "another gateway");
    let again = world.another(|_| {}).await;
    assert!(asks(&world.at(&again, &cookie, "/").await), "and one that starts later");
    let (_, new) = world.alice().await;
    assert!(ok(&world.with(&new, "/").await), "who signs in anew is in");
}

#[tokio::test]
async fn signing_out_again_with_the_same_cookie_does_not_make_the_list_longer() {
    let world = World::new("out-again", |_| {}).await;
    let (_, cookie) = world.alice().await;
    let list = || std::fs::read_to_string(world.directory.0.join("session-keys-revoked")).expect("a list");
    let (before, mut once) = (list(), String::new());
    for _ in 0..3 {
        let own = format!("Cookie: {cookie}\r\nOrigin: https://h\r\n");
        let (head, _) = post(&mut world.connect().await, "/.iwa/logout", &own).await;
        assert!(ok(&head) && is_cleared(&head), "{head}");
        if once.is_empty() {
            once = list();
        }
    }
    assert_eq!(once.lines().count(), before.lines().count() + 1);
    assert_eq!(list(), once);
    // Of the connection on which it began, and of its cookie, it is one session.
    let (mut client, cookie) = world.alice().await;
    post(&mut client, "/.iwa/logout", &format!("Cookie: {cookie}\r\n")).await;
    assert_eq!(list().lines().count(), once.lines().count() + 1);
}

#[tokio::test]
async fn signing_out_without_a_session_forgets_the_connection() {
    let world = World::new("out-plain", |_| {}).await;
    let (mut client, _) = world.alice().await;
    let (head, _) = post(&mut client, "/.iwa/logout", "").await;
    assert!(ok(&head), "{head}");
    assert!(asks(&get(&mut client, "/", "").await.0));
    let none = World::new("out-none", |config| {
        config.sessions = None;
        config.routes[0].session = None;
    })
    .await;
    assert!(post(&mut none.connect().await, "/.iwa/logout", "").await.0.starts_with("HTTP/1.1 404 "));
}

#[tokio::test]
async fn no_other_site_signs_a_visitor_out() {
    let world = World::new("csrf", |_| {}).await;
    let (_, cookie) = world.alice().await;
    for from in [
        "Origin: https://evil.example.test\r\n",
        "Origin: http://h\r\n",
        "Origin: https://h:8443\r\n",
        "Origin: https://h.evil.test\r\n",
        "Origin: null\r\n",
        "Origin: https://h\r\nOrigin: https://h\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\n",
        "Sec-Fetch-Site: none\r\n",
        "Sec-Fetch-Site: cross-site\r\nOrigin: https://h\r\n",
        "Sec-Fetch-Site: same-origin\r\nOrigin: https://evil.example.test\r\n",
    ] {
        let (head, _) = post(&mut world.connect().await, "/.iwa/logout", &format!("Cookie: {cookie}\r\n{from}")).await;
        assert!(head.starts_with("HTTP/1.1 403 ") && set_cookies(&head).is_empty(), "{from}: {head}");
    }
    let (head, body) = get(&mut world.connect().await, "/.iwa/logout", &format!("Cookie: {cookie}\r\n")).await;
    assert!(ok(&head) && body.contains("<form method=\"post\"") && set_cookies(&head).is_empty(), "{head}{body}");
    let mut client = world.connect().await;
    client.send(&format!("DELETE /.iwa/logout HTTP/1.1\r\nHost: h\r\nCookie: {cookie}\r\n\r\n")).await;
    assert!(client.answer().await.0.starts_with("HTTP/1.1 405 "));
    assert!(ok(&world.with(&cookie, "/").await), "the session stands");
}

#[tokio::test]
async fn signing_out_leads_only_to_where_the_configuration_says() {
    let world = World::new("return", |_| {}).await;
    let out =
        async |target: &str| post(&mut world.connect().await, &format!("/.iwa/logout?return={target}"), "").await.0;
    let head = out("https%3A%2F%2Fwww.example.test%2Fbye").await;
    assert!(head.starts_with("HTTP/1.1 303 "), "{head}");
    assert_eq!(header(&head, "location"), Some("https://www.example.test/bye"));
    for bad in [
        "https://evil.test/",
        "//evil.test/",
        "/",
        "https://www.example.test/bye%0d%0aX:%20y",
        "https://www.example.test/byebye",
        "%",
        "%zz",
    ] {
        let head = out(bad).await;
        assert!(ok(&head) && header(&head, "location").is_none(), "{bad}: {head}");
    }
    let (_, body) = get(&mut world.connect().await, "/.iwa/logout?return=%22%3E%3Cscript%3E", "").await;
    assert!(!body.contains("<script>"), "{body}");
}

fn reload_sessions(server: &Server) {
    server.running.gateway.site().sessions.as_ref().expect("sessions").refresh().expect("files");
}

#[tokio::test]
async fn all_sessions_of_somebody_end_by_a_command_and_they_may_sign_in_anew() {
    let world = World::new("revoke", |_| {}).await;
    let list = world.directory.0.join("session-keys-revoked");
    for name in ["WEB\\Alice", "alice", "carol", "web\\bob"] {
        let (mut connection, cookie) = world.alice().await;
        revoked::append(&list, &revoked::Whose::User(name.into()), Terms::LIFETIME).expect("written");
        assert!(ok(&world.with(&cookie, "/").await), "nobody looks at files while a request waits");
        reload_sessions(&world.server);
        let is_hers = name.to_lowercase().ends_with("alice");
        assert_eq!(ok(&world.with(&cookie, "/").await), !is_hers, "{name}");
        assert_eq!(ok(&get(&mut connection, "/", "").await.0), !is_hers, "{name}, on her connection");
        // Sessions that begin in the same second end, too: nobody is let in by a rounded time.
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
    let (_, cookie) = world.alice().await;
    assert!(ok(&world.with(&cookie, "/").await));
    revoked::append(&list, &revoked::Whose::All, Terms::LIFETIME).expect("written");
    reload_sessions(&world.server);
    assert!(asks(&world.with(&cookie, "/").await));
}

#[tokio::test]
async fn a_list_that_is_damaged_or_gone_lets_nobody_in_again() {
    let world = World::new("damaged", |_| {}).await;
    let (mut client, cookie) = world.alice().await;
    post(&mut client, "/.iwa/logout", &format!("Cookie: {cookie}\r\n")).await;
    let list = world.directory.0.join("session-keys-revoked");
    let sessions = world.server.running.gateway.site().sessions.clone().expect("sessions");
    std::fs::write(&list, "nonsense\n").expect("written");
    assert!(sessions.refresh().is_err());
    assert!(asks(&world.with(&cookie, "/").await));
    std::fs::remove_file(&list).expect("removed");
    assert!(sessions.refresh().is_err() && sessions.refresh().is_ok(), "told once");
    assert!(asks(&world.with(&cookie, "/").await));
    std::fs::write(&list, "").expect("written");
    #[cfg(unix)]
    std::fs::set_permissions(&list, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("set");
    sessions.refresh().expect("a list");
    assert!(asks(&world.with(&cookie, "/").await));
    // Nor does a server start on what it cannot read.
    std::fs::write(&list, "nonsense\n").expect("written");
    let config = world.server.running.gateway.site().config.clone();
    let started = crate::gateway::session::Sessions::open(config.sessions.as_ref().expect("sessions"), Terms::LIFETIME);
    assert!(started.expect_err("a damaged list").to_string().contains("line 1"));
}

#[tokio::test]
async fn two_gateways_with_one_key_file_know_each_others_sessions_and_one_with_another_does_not() {
    let world = World::new("two", |_| {}).await;
    let (_, cookie) = world.alice().await;
    let same = world.another(|_| {}).await;
    assert!(ok(&world.at(&same, &cookie, "/").await));
    let other = world
        .another(|config| config.sessions.as_mut().expect("sessions").keys = world.directory.0.join("other-keys"))
        .await;
    let head = world.at(&other, &cookie, "/").await;
    assert!(asks(&head) && is_cleared(&head), "{head}");
}

#[tokio::test]
async fn an_account_that_is_disabled_removed_made_anew_or_has_another_password_has_no_session() {
    let world = World::new("gone", |_| {}).await;
    let accounts = world.accounts();
    let (_, cookie) = world.alice().await;
    let disable = |disabled| {
        accounts
            .change_user("alice", &UserChange { disabled: Some(disabled), ..UserChange::default() })
            .expect("changed");
    };
    disable(true);
    let head = world.with(&cookie, "/").await;
    assert!(asks(&head) && is_cleared(&head), "{head}");
    assert!(world.told().ends_with("the session's account is disabled"), "{}", world.told());
    disable(false);
    assert!(ok(&world.with(&cookie, "/").await));

    tokio::time::sleep(Duration::from_millis(1100)).await;
    let password = Secret::new("another-Passw0rd".to_owned());
    accounts.set_password("alice", &password, false).expect("changed");
    assert!(asks(&world.with(&cookie, "/").await), "whoever stole the session loses it with the password");

    let mut client = world.connect().await;
    let (head, ..) = sign_in(&mut client, "alice", "another-Passw0rd", "/", "").await;
    let cookie = self::cookie(&head).expect("a session");
    assert!(ok(&world.with(&cookie, "/").await));
    accounts.remove_user("alice").expect("removed");
    assert!(asks(&world.with(&cookie, "/").await));
    let anew =
        NewUser { name: "alice", password: &password, display_name: "", upn: None, must_change: false, expires: None };
    accounts.add_user(&anew).expect("made");
    assert!(asks(&world.with(&cookie, "/").await), "somebody else of the same name");
}

#[tokio::test]
async fn rules_decide_on_every_request_of_a_session() {
    let world = World::new("rules", |config| {
        route(config, "/bob", |route| {
            route.rules =
                vec![Rule { access: Access::Deny, users: vec![User::Local("alice".into())], ..Rule::allow_all() }];
        });
    })
    .await;
    let (_, cookie) = world.alice().await;
    let mut client = world.connect().await;
    for (path, status) in [("/", "200"), ("/bob/", "403"), ("/", "200"), ("/bob/", "403")] {
        let (head, _) = get(&mut client, path, &format!("Cookie: {cookie}\r\n")).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {head}");
        assert!(set_cookies(&head).is_empty(), "{head}");
    }
}

#[tokio::test]
async fn a_session_ends_where_the_mapping_refuses_its_account() {
    let world = World::new("mapping", |_| {}).await;
    let (_, cookie) = world.alice().await;
    let refuse = MappingRule { realm: Whose::Anybodys, pattern: None, local: None };
    let refusing = world.another(|config| config.mapping = Mapping(vec![refuse])).await;
    let head = world.at(&refusing, &cookie, "/").await;
    assert!(head.starts_with("HTTP/1.1 403 ") && is_cleared(&head), "{head}");
}

#[tokio::test]
async fn a_route_that_demands_bindings_begins_no_session_for_who_has_none() {
    let world = World::new("bound", |config| {
        config.authentication.token_checking = BindingPolicy::Allow;
        config.authentication.policy.basic_realm = Some(String::new());
        config.routes[0].sign_in = SignIn { bound_only: Some(true), ..SignIn::default() };
        route(config, "/free", |route| route.sign_in = SignIn::default());
    })
    .await;
    let mut client = world.connect().await;
    // Basic is bound to nothing; the route takes it because the configuration says so, and request by request.
    let (head, _) = get(&mut client, "/", &basic("alice")).await;
    assert!(ok(&head) && set_cookies(&head).is_empty(), "{head}");
    let (head, _) = get(&mut client, "/free/", &basic("alice")).await;
    let free = cookie(&head).expect("a session");
    assert!(ok(&world.with(&free, "/free/").await));
    let head = world.with(&free, "/").await;
    assert!(asks(&head), "{head}");
    let renamed = format!("__Host-iwa-{}", free.split_once("__Host-iwa").expect("its name").1);
    assert!(asks(&world.with(&renamed, "/").await));
}

#[tokio::test]
async fn the_application_never_sees_the_session_cookie_and_no_shared_cache_keeps_what_belongs_to_it() {
    let proxy = application().await;
    let world = World::new("proxy", |config| {
        config.routes[0].proxy = Some(proxy);
        config.routes[0].session = Some(Terms { idle: Some(Duration::from_secs(3600)), ..Terms::default() });
    })
    .await;
    let (_, cookie) = world.alice().await;
    let mut client = world.connect().await;
    let (head, body) = get(&mut client, "/", &format!("Cookie: a=b; {cookie}; c=d\r\n")).await;
    assert!(ok(&head) && body.contains("cookie: a=b; c=d\r\n") && !body.contains("__host"), "{head}{body}");
    assert_eq!(header(&head, "cache-control"), Some("private"));
    assert_eq!(header(&head, "vary"), Some("Cookie"));
    // One that does not count goes no further, either.
    let (head, _) = get(&mut client, "/", "Cookie: __Host-iwa=nonsense\r\n").await;
    assert!(asks(&head), "{head}");
}

#[tokio::test]
async fn a_reload_keeps_sessions_and_who_was_signed_out() {
    let world = World::new("reload", |_| {}).await;
    let (_, first) = world.alice().await;
    let (mut client, second) = world.alice().await;
    post(&mut client, "/.iwa/logout", &format!("Cookie: {second}\r\n")).await;
    let file = world.directory.0.join("iwa.toml");
    let text = "[server]\nlisten = [\"127.0.0.1:0\"]\n[accounts]\nstate = \"state\"\n[authentication.windows]\nproviders = [\"Negotiate\", \"NTLM\"]\n\
         [sessions]\nkeys = \"session-keys\"\n[[route]]\npath = \"/\"\nallow = { users = [\"*\"] }\n[route.session]\n";
    std::fs::write(&file, text).expect("written");
    reload::configuration(&world.server.running.gateway, Some(&file)).await.expect("a good one");
    assert!(ok(&world.with(&first, "/").await));
    assert!(asks(&world.with(&second, "/").await));
}
