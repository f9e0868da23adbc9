//! Signing in to a server over real connections: NTLM against local accounts, and what follows from an identity.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use iwa_auth::initiate::{Credentials, Framing, Initiator, InitiatorConfig};
use iwa_auth::krb5::client::Delegation;
use iwa_auth::ntlm::crypto::nt_hash;
use iwa_auth::ntlm::initiator::{Client as NtlmClient, Credential};
use iwa_auth::ports::{Answer, Kdc};
use iwa_auth::{ChannelBindings, Mechanism, Scheme, Secret};
use iwa_domain::local::{LocalAccounts, Lockout, NewUser};
use iwa_http::client::{ClientPolicy, Conclusion, Exchange, Next, Preference};
use iwa_http::{Os, Provider, System as _};

use super::{Client, Directory, Server, header, server};
use crate::config::{Accounts, Config, Route, SignIn};
use crate::gateway::authorize::{Access, Rule, User};
use crate::gateway::site::Content;
use crate::gateway::{assemble, reload};

/// A state directory with alice and bob.
pub(super) fn accounts(name: &str) -> Directory {
    let directory = Directory::new(name);
    let (accounts, _) =
        LocalAccounts::open_or_create(&directory.0.join("state"), "WEB", "EXAMPLE.TEST", Lockout::default())
            .expect("accounts");
    for name in ["alice", "bob"] {
        let new = NewUser {
            name,
            password: &Secret::new(format!("{name}-Passw0rd")),
            display_name: "",
            upn: None,
            must_change: false,
            expires: None,
        };
        accounts.add_user(&new).expect("an account");
    }
    directory.write("www/index.html", "hello");
    directory
}

pub(super) async fn site(directory: &Directory, change: impl FnOnce(&mut Config)) -> Server {
    server(&directory.0.join("www"), |config| {
        let state = directory.0.join("state");
        config.accounts = Some(Accounts { state, lockout: Lockout::default() });
        change(config);
    })
    .await
}

pub(super) struct NoKdc;

impl Kdc for NoKdc {
    fn ask<'a>(&'a self, _: &'a str, _: &'a [u8]) -> Answer<'a, Result<Vec<u8>, String>> {
        Box::pin(async { Err("there is none".to_owned()) })
    }
}

pub(super) fn head_of(head: &str) -> (StatusCode, HeaderMap) {
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status line");
    let headers = lines.filter_map(|line| line.split_once(':')).map(|(name, value)| {
        (HeaderName::try_from(name).expect("a name"), HeaderValue::try_from(value.trim()).expect("a value"))
    });
    (status.parse().expect("a status"), headers.collect())
}

/// Loads `path` as `user`, whose password is as in [`accounts`]; the last answer, and what the client makes of it.
pub(super) async fn sign_in(
    client: &mut Client,
    user: &str,
    password: &str,
    path: &str,
    body: &str,
) -> (String, String, Conclusion) {
    sign_in_with(client, user, password, path, body, &[""]).await
}

/// The same with these header lines, each on one leg that brings a token; the last on all that follow.
pub(super) async fn sign_in_with(
    client: &mut Client,
    user: &str,
    password: &str,
    path: &str,
    body: &str,
    lines: &[&str],
) -> (String, String, Conclusion) {
    let (policy, initiator) = ntlm_client(user, password);
    let mut exchange = Exchange::new(&policy, &initiator, &NoKdc, &Os);
    let mut authorization = String::new();
    let mut leg = 0_usize;
    loop {
        // As Internet Explorer does: no body before the last leg.
        let (method, body) = if body.is_empty() { ("GET", "") } else { ("POST", body) };
        let body = if authorization.len() < 200 { "" } else { body };
        let length = body.len();
        let more = lines[leg.saturating_sub(1).min(lines.len() - 1)];
        leg += 1;
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n{more}{authorization}\r\n");
        client.send(&format!("{head}{body}")).await;
        let (head, body) = client.answer().await;
        let (status, headers) = head_of(&head);
        match exchange.next(status, &headers).await {
            Next::Again(name, value) => authorization = format!("{name}: {}\r\n", value.to_str().expect("ASCII")),
            Next::Done(conclusion) => return (head, body, conclusion),
        }
    }
}

/// A client that has a password, and NTLM inside SPNEGO.
pub(super) fn ntlm_client(user: &str, password: &str) -> (ClientPolicy, Initiator) {
    let credential =
        Credential { user: user.into(), domain: String::new(), workstation: String::new(), nt_hash: nt_hash(password) };
    let initiator = Initiator::new(InitiatorConfig {
        host: "web.example.test".into(),
        credentials: Credentials { krb5: None, ntlm: Some(NtlmClient::new(credential, Some("HTTP/web.example.test"))) },
        mechanisms: vec![Mechanism::Ntlm],
        mutual: true,
        delegation: Delegation::No,
        bindings: ChannelBindings::none(),
        framing: Framing::Spnego,
    });
    let policy = ClientPolicy {
        schemes: vec![Scheme::Negotiate],
        preference: Preference::Strongest,
        host_allowed: true,
        host: "web.example.test".into(),
    };
    (policy, initiator)
}

pub(super) async fn alice(client: &mut Client, path: &str) -> (String, String, Conclusion) {
    sign_in(client, "alice", "alice-Passw0rd", path, "").await
}

#[tokio::test]
async fn alice_signs_in_and_stays_so_on_her_connection() {
    let directory = accounts("signs-in");
    let server = site(&directory, |_| {}).await;
    let mut client = server.connect().await;
    let (head, body, conclusion) = alice(&mut client, "/").await;
    assert!(head.starts_with("HTTP/1.1 200 ") && body == "hello", "{head}");
    assert!(matches!(conclusion, Conclusion::Established(..)), "{conclusion:?}");
    assert_eq!(header(&head, "persistent-auth"), Some("true"));
    assert_eq!(header(&head, "cache-control"), Some("private"));
    assert!(client.get("/", "").await.0.starts_with("HTTP/1.1 200 "));
    assert!(server.connect().await.get("/", "").await.0.starts_with("HTTP/1.1 401 "));
    assert_eq!(
        server.told.lines(),
        ["401.2 5 -", "401.1 2148074254 -", "200.0 0 -", "200.0 0 -", "401.2 5 -"],
        "as IIS logs it"
    );
    server.running.stop().await;
}

#[tokio::test]
async fn a_posted_body_comes_with_the_last_leg_and_the_answer_is_the_applications() {
    let directory = accounts("post-body");
    let server = site(&directory, |config| config.routes[0].files = None).await;
    let mut client = server.connect().await;
    let (head, body, _) = sign_in(&mut client, "alice", "alice-Passw0rd", "/", "a=b").await;
    assert!(head.starts_with("HTTP/1.1 200 ") && body.contains("WEB\\alice"), "{head}{body}");
    server.running.stop().await;
}

#[tokio::test]
async fn a_wrong_password_is_401_1_and_says_no_more() {
    let directory = accounts("wrong");
    let server = site(&directory, |_| {}).await;
    let mut pages = Vec::new();
    for user in ["alice", "nobody"] {
        let mut client = server.connect().await;
        let (head, body, _) = sign_in(&mut client, user, "wrong", "/", "").await;
        assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
        assert!(body.contains("401.1"));
        pages.push(body.lines().filter(|line| !line.contains("request")).collect::<String>());
    }
    assert_eq!(pages[0], pages[1]);
    assert!(server.told.lines().iter().filter(|line| line.starts_with("401.1 2148074252 logon")).count() == 2);
    server.running.stop().await;
}

#[tokio::test]
async fn who_is_not_allowed_gets_403_with_their_name_and_the_servers_last_token() {
    let directory = accounts("forbidden");
    let server = site(&directory, only(User::Local("bob".into()))).await;
    let mut client = server.connect().await;
    let (head, body, conclusion) = alice(&mut client, "/").await;
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
    assert!(body.contains("WEB\\alice"), "{body}");
    assert!(header(&head, "www-authenticate").is_some_and(|line| line.starts_with("Negotiate o")), "{head}");
    assert!(matches!(conclusion, Conclusion::Established(..)), "{conclusion:?}");
    let mut client = server.connect().await;
    let (head, ..) = sign_in(&mut client, "bob", "bob-Passw0rd", "/", "").await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    server.running.stop().await;
}

#[tokio::test]
async fn authorization_is_evaluated_on_every_request_wherever_the_identity_comes_from() {
    let directory = accounts("every-request");
    let server = site(&directory, |config| {
        config.routes.insert(
            0,
            Route {
                path: "/admin".into(),
                files: None,
                rules: vec![Rule { access: Access::Deny, ..Rule::allow_all() }],
                ..Default::default()
            },
        );
    })
    .await;
    let mut client = server.connect().await;
    assert!(alice(&mut client, "/").await.0.starts_with("HTTP/1.1 200 "));
    // By the connection's identity.
    assert!(client.get("/admin", "").await.0.starts_with("HTTP/1.1 403 "));
    assert!(client.get("/", "").await.0.starts_with("HTTP/1.1 200 "));
    // And under rules that changed while the connection lived.
    let gateway = &server.running.gateway;
    let mut changed = gateway.site().config.clone();
    only(User::Local("bob".into()))(&mut changed);
    gateway.site.store(Arc::new(assemble::site(&changed, &gateway.kept, Vec::new(), None).expect("a site")));
    assert!(client.get("/", "").await.0.starts_with("HTTP/1.1 403 "));
    server.running.stop().await;
}

#[tokio::test]
async fn an_identity_of_a_weaker_mechanism_does_not_count_on_a_route_that_wants_a_stronger() {
    let directory = accounts("stricter");
    let server = site(&directory, |config| {
        let route = |path: &str, sign_in| Route {
            path: path.into(),
            rules: vec![Rule::allow_all()],
            sign_in,
            ..Route::default()
        };
        let kerberos = SignIn { providers: Some(vec![Provider::NegotiateKerberos]), ..SignIn::default() };
        let anonymous = SignIn { anonymous: Some(true), ..SignIn::default() };
        config.routes.insert(0, route("/strict", kerberos));
        config.routes.insert(0, route("/open", anonymous));
    })
    .await;
    let mut client = server.connect().await;
    assert!(alice(&mut client, "/").await.0.starts_with("HTTP/1.1 200 "));
    let (head, _) = client.get("/strict", "").await;
    assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
    let offered: Vec<_> = head.lines().filter(|line| line.starts_with("www-auth")).collect();
    assert_eq!(offered, ["www-authenticate: Negotiate"]);
    // Nor does a whole handshake there.
    let mut client = server.connect().await;
    let (head, ..) = alice(&mut client, "/strict").await;
    assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
    assert!(server.told.lines().iter().any(|line| line.ends_with("policy.mechanism-off")), "{:?}", server.told.lines());
    assert!(client.get("/", "").await.0.starts_with("HTTP/1.1 401 "));
    let mut client = server.connect().await;
    assert!(client.get("/open", "").await.0.starts_with("HTTP/1.1 200 "));
    assert!(client.get("/", "").await.0.starts_with("HTTP/1.1 401 "));
    server.running.stop().await;
}

#[tokio::test]
async fn on_an_anonymous_site_a_rule_that_wants_somebody_makes_the_server_ask() {
    let directory = accounts("ask");
    let server = site(&directory, |config| {
        config.authentication.policy.anonymous = true;
        config.routes.insert(
            0,
            Route {
                path: "/private".into(),
                files: None,
                rules: vec![
                    Rule { access: Access::Deny, users: vec![User::Anonymous], ..Rule::allow_all() },
                    Rule::allow_all(),
                ],
                ..Default::default()
            },
        );
    })
    .await;
    let mut client = server.connect().await;
    assert!(client.get("/", "").await.0.starts_with("HTTP/1.1 200 "));
    assert!(client.get("/private", "").await.0.starts_with("HTTP/1.1 401 "));
    let (head, body, _) = alice(&mut client, "/private").await;
    assert!(head.starts_with("HTTP/1.1 200 ") && body.contains("WEB\\alice"), "{head}");
    server.running.stop().await;
}

#[tokio::test]
async fn accounts_that_cannot_be_read_let_nobody_in() {
    let directory = accounts("unreadable");
    let server = site(&directory, only(User::Local("alice".into()))).await;
    let mut client = server.connect().await;
    assert!(alice(&mut client, "/").await.0.starts_with("HTTP/1.1 200 "));
    std::fs::write(directory.0.join("state/accounts.redb"), "damaged").expect("written");
    assert!(client.get("/", "").await.0.starts_with("HTTP/1.1 503 "), "the rules cannot be evaluated");
    let mut client = server.connect().await;
    let (head, ..) = alice(&mut client, "/").await;
    assert!(head.starts_with("HTTP/1.1 503 ") && header(&head, "retry-after").is_some(), "{head}");
    server.running.stop().await;
}

#[tokio::test]
async fn a_panic_fails_one_request_and_signs_its_connection_out() {
    let directory = accounts("panic");
    let server = site(&directory, |config| {
        config.routes.insert(
            0,
            Route { path: "/panic".into(), files: None, rules: vec![Rule::allow_all()], ..Default::default() },
        );
    })
    .await;
    let gateway = &server.running.gateway;
    let mut broken = assemble::site(&gateway.site().config, &gateway.kept, Vec::new(), None).expect("a site");
    broken.routes[0].content = Content::Panics;
    gateway.site.store(Arc::new(broken));
    let (mut client, mut other) = (server.connect().await, server.connect().await);
    alice(&mut client, "/").await;
    alice(&mut other, "/").await;
    let (head, body) = client.get("/panic", "").await;
    assert!(head.starts_with("HTTP/1.1 500 ") && !body.contains("fault in a handler"), "{head}");
    assert!(client.is_closed().await);
    assert!(other.get("/", "").await.0.starts_with("HTTP/1.1 200 "), "nobody else notices");
    assert!(server.told.lines().contains(&"500.0 2148074244 internal.panic".to_owned()));
    server.running.stop().await;
}

#[tokio::test]
async fn a_new_configuration_is_taken_whole_and_a_bad_one_changes_nothing() {
    let directory = accounts("reload");
    let server = site(&directory, |_| {}).await;
    let gateway = &server.running.gateway;
    let mut client = server.connect().await;
    alice(&mut client, "/").await;

    let state = directory.0.join("state");
    let text = |user: &str| {
        format!(
            "[server]\nlisten = [\"127.0.0.1:0\"]\n[accounts]\nstate = {state:?}\n[[route]]\npath = \"/\"\nfiles = {:?}\n\
             allow = {{ users = [\"{user}\"] }}\n",
            directory.0.join("www")
        )
    };
    let file = directory.0.join("iwa.toml");
    std::fs::write(&file, text("bob")).expect("written");
    reload::configuration(gateway, Some(&file)).await.expect("a good one");
    assert!(client.get("/", "").await.0.starts_with("HTTP/1.1 403 "), "the connection lives, the rules are new");

    std::fs::write(&file, text("alice").replace("[[route]]", "[[rout]]")).expect("written");
    assert!(reload::configuration(gateway, Some(&file)).await.is_err());
    assert!(client.get("/", "").await.0.starts_with("HTTP/1.1 403 "), "nothing of a bad one is taken");

    std::fs::write(&file, text("alice")).expect("written");
    reload::configuration(gateway, Some(&file)).await.expect("a good one");
    assert!(client.get("/", "").await.0.starts_with("HTTP/1.1 200 "));
    server.running.stop().await;
}

#[tokio::test]
async fn the_clock_skew_that_the_replay_cache_was_made_for_stays_over_a_reload() {
    let directory = accounts("skew");
    let local = LocalAccounts::open(&directory.0.join("state"), Lockout::default()).expect("accounts");
    let service = local.set_service_keys("HTTP/web.example.test").expect("keys");
    let keytab = directory.0.join("http.keytab");
    let principal = "HTTP/web.example.test@EXAMPLE.TEST".parse().expect("a principal");
    crate::keytab::put(&keytab, &principal, &service.keys, Os.now()).expect("a keytab");
    // It began without Kerberos.
    let server = site(&directory, |_| {}).await;
    let gateway = &server.running.gateway;
    let file = directory.0.join("iwa.toml");
    let text = format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\n[accounts]\nstate = {:?}\n[kerberos]\nkeytab = {keytab:?}\nclock-skew = \"10 min\"\n\
         [[route]]\npath = \"/\"\nfiles = {:?}\n",
        directory.0.join("state"),
        directory.0.join("www")
    );
    std::fs::write(&file, text).expect("written");
    reload::configuration(gateway, Some(&file)).await.expect("a good one");
    let acceptor = gateway.site().authenticator.acceptor();
    let skew = acceptor.config().krb5.as_ref().expect("Kerberos").policy().skew;
    assert_eq!(skew, std::time::Duration::from_secs(300), "what the cache remembers authenticators for");
    server.running.stop().await;
}

#[tokio::test]
async fn a_changed_keytab_is_taken_and_a_damaged_one_is_not() {
    let directory = accounts("keytab");
    let keytab = directory.0.join("http.keytab");
    let local = LocalAccounts::open(&directory.0.join("state"), Lockout::default()).expect("accounts");
    let renew = || {
        let service = local.set_service_keys("HTTP/web.example.test").expect("keys");
        let principal = "HTTP/web.example.test@EXAMPLE.TEST".parse().expect("a principal");
        crate::keytab::put(&keytab, &principal, &service.keys, Os.now()).expect("a keytab");
    };
    renew();
    let server = site(&directory, |config| {
        config.kerberos = Some(crate::config::Kerberos::with_keytab(keytab.clone()));
    })
    .await;
    let gateway = &server.running.gateway;
    let newest = || {
        let acceptor = gateway.site().authenticator.acceptor();
        let service = acceptor.config().krb5.as_ref().expect("Kerberos is on");
        service.keys().keys_of("HTTP/web.example.test@EXAMPLE.TEST").next().expect("a key").kvno()
    };
    let first = newest();
    reload::keys(gateway).expect("nothing changed");
    assert_eq!(newest(), first);

    renew();
    reload::keys(gateway).expect("new keys");
    assert_eq!(newest(), first + 1);

    std::fs::write(&keytab, "damaged").expect("written");
    assert!(reload::keys(gateway).is_err());
    assert!(reload::keys(gateway).is_ok(), "it is told once");
    assert_eq!(newest(), first + 1, "the server goes on with what it had");

    std::fs::remove_file(&keytab).expect("removed");
    assert!(reload::keys(gateway).is_ok(), "somebody may be replacing it");
    renew();
    reload::keys(gateway).expect("new keys");
    assert_eq!(newest(), first + 2);
    server.running.stop().await;
}

#[tokio::test]
async fn of_several_keytabs_each_is_taken_by_itself_when_it_changes() {
    let directory = accounts("keytabs");
    let local = LocalAccounts::open(&directory.0.join("state"), Lockout::default()).expect("accounts");
    let keytab = |host: &str| directory.0.join(format!("{host}.keytab"));
    let renew = |host: &str| {
        let service = local.set_service_keys(&format!("HTTP/{host}.example.test")).expect("keys");
        let principal = format!("HTTP/{host}.example.test@EXAMPLE.TEST").parse().expect("a principal");
        crate::keytab::put(&keytab(host), &principal, &service.keys, Os.now()).expect("a keytab");
    };
    renew("web");
    renew("www");
    let server = site(&directory, |config| {
        config.kerberos =
            Some(crate::config::Kerberos { keytabs: vec![keytab("web"), keytab("www")], ..Default::default() });
    })
    .await;
    let gateway = &server.running.gateway;
    let newest = || {
        let acceptor = gateway.site().authenticator.acceptor();
        let service = acceptor.config().krb5.as_ref().expect("Kerberos is on");
        ["web", "www"].map(|host| {
            let name = format!("HTTP/{host}.example.test@EXAMPLE.TEST");
            service.keys().keys_of(&name).next().expect("a key").kvno()
        })
    };
    let [web, www] = newest();
    renew("www");
    reload::keys(gateway).expect("new keys");
    assert_eq!(newest(), [web, www + 1]);
    // One that is damaged keeps its old keys, and keeps the other from nothing.
    std::fs::write(keytab("web"), "damaged").expect("written");
    renew("www");
    assert!(reload::keys(gateway).expect_err("told").0.contains("web.keytab"));
    assert_eq!(newest(), [web, www + 2]);
    assert!(reload::keys(gateway).is_ok(), "it is told once");
    std::fs::remove_file(keytab("web")).expect("removed");
    renew("www");
    reload::keys(gateway).expect("new keys");
    assert_eq!(newest(), [web, www + 3]);
    server.running.stop().await;
}

/// Lets one user in at `/`.
fn only(user: User) -> impl Fn(&mut Config) {
    move |config| {
        let rule = Rule { access: Access::Allow, users: vec![user.clone()], roles: vec![], verbs: vec![] };
        config.routes.last_mut().expect("/ is the shortest").rules = vec![rule];
    }
}

#[tokio::test]
async fn who_waits_for_100_continue_in_a_handshake_gets_the_challenge_at_once_and_keeps_the_connection() {
    let directory = accounts("expect-handshake");
    let server = site(&directory, |_| {}).await;
    let mut client = server.connect().await;
    let (_, token) = super::http2::ntlm();
    let head = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n";
    client.send(&format!("{head}Authorization: {token}\r\n\r\n")).await;
    // Not one byte of the body was sent, and nobody asked for it.
    let (head, _) = client.answer().await;
    assert!(head.starts_with("HTTP/1.1 401 ") && header(&head, "connection").is_none(), "{head}");
    assert!(header(&head, "www-authenticate").is_some_and(|token| token.starts_with("NTLM T")), "{head}");
    // It is on its way all the same, and the connection goes on behind it.
    client.send("hello").await;
    assert!(alice(&mut client, "/").await.0.starts_with("HTTP/1.1 200 "));
    server.running.stop().await;
}
