//! A server in a domain whose controllers are faked: who is asked, and what is answered when nobody is there.

use std::sync::{Arc, Mutex};

use iwa_auth::Account;
use iwa_auth::NtStatus;
use iwa_auth::ports::{AccountName, Answer, Directory as Names, LogonError};
use iwa_wire::Sid;
use iwa_wire::counted::CountedName;
use iwa_wire::keytab::{Entry, Keytab};
use iwa_wire::krb5::Principal;

use super::{Server, header, serve};
use crate::config::{Config, Route};
use crate::gateway::authorize::{Access, Role, Rule, User};
use crate::gateway::domain::tests::{FakeLogon, joined_with};
use crate::gateway::names::{self, DomainGroup};

/// A directory whose answer is changed by the test.
pub(super) struct Fake(Mutex<Result<Option<Sid>, String>>);

impl Fake {
    pub(super) fn answering(answer: Result<Option<Sid>, String>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(answer)))
    }

    pub(super) fn answer(&self, answer: Result<Option<Sid>, String>) {
        *self.0.lock().expect("not poisoned") = answer;
    }
}

impl Names for Fake {
    fn sid_of<'a>(&'a self, _: &'a str, _: &'a str) -> Answer<'a, Result<Option<Sid>, String>> {
        Box::pin(async { self.0.lock().expect("not poisoned").clone() })
    }

    fn name_of(&self, _: Sid) -> Answer<'_, Result<Option<AccountName>, String>> {
        Box::pin(async { Ok(None) })
    }
}

pub(super) fn sid(text: &str) -> Sid {
    text.parse().expect("a SID")
}

/// CORP\alice, a member of Web Admins (RID 1200).
fn alice() -> FakeLogon {
    let account = Account {
        name: "alice".into(),
        domain: "CORP".into(),
        realm: Some("corp.example.test".into()),
        sid: Some(sid("S-1-5-21-7-7-7-1104")),
        ..Account::default()
    };
    FakeLogon::in_groups(account, vec![sid("S-1-5-21-7-7-7-513"), sid("S-1-5-21-7-7-7-1200")])
}

/// A server with Basic, which needs the fewest words, and a page that says who the visitor is.
async fn site(logon: FakeLogon, names: Arc<Fake>, routes: Vec<(&str, Vec<Rule>)>) -> Server {
    site_with(logon, names, routes, |_| {}).await
}

async fn site_with(
    logon: FakeLogon,
    names: Arc<Fake>,
    routes: Vec<(&str, Vec<Rule>)>,
    change: impl FnOnce(&mut Config),
) -> Server {
    let mut config = Config::default();
    config.server.listen = vec!["127.0.0.1:0".parse().expect("an address")];
    config.authentication.policy.basic_realm = Some(String::new());
    config.ntlm.computer_name = Some("WEB".into());
    config.ntlm.domain_name = Some("CORP".into());
    config.routes = routes
        .into_iter()
        .map(|(path, rules)| Route { path: path.to_owned(), files: None, rules, ..Default::default() })
        .collect();
    change(&mut config);
    serve(config, vec![joined_with("corp.example.test", "CORP", logon, Some(names))]).await
}

/// alice's, whatever she types.
pub(super) const BASIC: &str = "Authorization: Basic Q09SUFxhbGljZTp4\r\n";

fn role(access: Access, role: Role) -> Rule {
    Rule { access, users: Vec::new(), roles: vec![role], verbs: Vec::new() }
}

fn admins() -> Role {
    Role::InDomain(Arc::new(DomainGroup::new("CORP", "Web Admins")))
}

#[tokio::test]
async fn a_rule_by_a_name_that_cannot_be_resolved_is_503_and_those_by_sid_go_on() {
    let names = Arc::new(Fake(Mutex::new(Err("no controller answers".into()))));
    let server = site(
        alice(),
        Arc::clone(&names),
        vec![
            ("/deny", vec![role(Access::Deny, admins()), Rule::allow_all()]),
            ("/by-sid", vec![role(Access::Allow, Role::Sid(sid("S-1-5-21-7-7-7-1200")))]),
            ("/other-sid", vec![role(Access::Allow, Role::Sid(sid("S-1-5-21-7-7-7-1300")))]),
            ("/", vec![role(Access::Allow, admins())]),
        ],
    )
    .await;
    let answers = async || {
        let mut client = server.connect().await;
        let mut found = Vec::new();
        for path in ["/", "/deny", "/by-sid", "/other-sid"] {
            let (head, body) = client.get(path, BASIC).await;
            let status = head.split(' ').nth(1).expect("a status").to_owned();
            assert_eq!(header(&head, "retry-after").is_some(), status == "503", "{head}");
            assert!(!body.contains("Web Admins") && !body.contains("controller"), "{body}");
            found.push(status);
        }
        found
    };
    assert_eq!(answers().await, ["503", "503", "200", "403"]);
    assert_eq!(server.told.lines().iter().filter(|line| line.contains("unavailable.accounts")).count(), 2);
    let gateway = &server.running.gateway;
    let again = async |answer| {
        *names.0.lock().expect("not poisoned") = answer;
        let site = gateway.site();
        names::resolve(&site.groups, &site.domains).await;
    };
    again(Ok(Some(sid("S-1-5-21-7-7-7-1200")))).await;
    assert_eq!(answers().await, ["200", "403", "200", "403"]);
    // And with what is known, it goes on when the directory is gone again.
    again(Err("gone".into())).await;
    assert_eq!(answers().await, ["200", "403", "200", "403"]);
    server.running.stop().await;
}

#[tokio::test]
async fn a_domain_that_cannot_be_asked_is_503_and_never_another_question_for_a_password() {
    let names = Arc::new(Fake(Mutex::new(Ok(None))));
    for error in [
        LogonError::Unavailable("dc1.corp.example.test: connection refused".into()),
        LogonError::Refused(NtStatus::NO_LOGON_SERVERS),
        LogonError::Refused(NtStatus::TRUSTED_RELATIONSHIP_FAILURE),
    ] {
        let server =
            site(FakeLogon::fails(error.clone()), Arc::clone(&names), vec![("/", vec![Rule::allow_all()])]).await;
        let (head, body) = server.connect().await.get("/", BASIC).await;
        assert!(head.starts_with("HTTP/1.1 503 "), "{error:?} {head}");
        assert!(header(&head, "retry-after").is_some() && header(&head, "www-authenticate").is_none(), "{head}");
        assert!(!body.contains("dc1"), "{body}");
        server.running.stop().await;
    }
}

#[tokio::test]
async fn whatever_a_domain_refuses_for_is_the_same_401_to_the_client() {
    let names = Arc::new(Fake(Mutex::new(Ok(None))));
    let mut pages = Vec::new();
    for status in [
        NtStatus::NO_SUCH_USER,
        NtStatus::WRONG_PASSWORD,
        NtStatus::ACCOUNT_DISABLED,
        NtStatus::ACCOUNT_LOCKED_OUT,
        NtStatus::ACCOUNT_RESTRICTION,
        NtStatus::PASSWORD_MUST_CHANGE,
        NtStatus::INVALID_LOGON_HOURS,
        NtStatus::NTLM_BLOCKED,
    ] {
        let logon = FakeLogon::fails(LogonError::Refused(status));
        let server = site(logon, Arc::clone(&names), vec![("/", vec![Rule::allow_all()])]).await;
        let (head, body) = server.connect().await.get("/", BASIC).await;
        assert!(head.starts_with("HTTP/1.1 401 ") && body.contains("401.1"), "{status} {head}");
        let head: Vec<_> = head.lines().filter(|line| !line.starts_with("date")).map(str::to_owned).collect();
        pages.push((head, body.split("request ").next().map(str::to_owned)));
        assert!(server.told.lines()[0].ends_with(" logon"), "{:?}", server.told.lines());
        server.running.stop().await;
    }
    pages.dedup();
    assert_eq!(pages.len(), 1);
}

#[tokio::test]
async fn a_user_of_the_domain_is_let_in_by_name() {
    let names = Arc::new(Fake(Mutex::new(Ok(None))));
    let user = |user: User| Rule { users: vec![user], ..role(Access::Allow, admins()) };
    let corp = User::InDomain { domain: "CORP".into(), name: "alice".into() };
    let trusted = User::InDomain { domain: "TRUSTED".into(), name: "alice".into() };
    let routes = vec![
        ("/local", vec![user(User::Local("alice".into()))]),
        ("/trusted", vec![user(trusted)]),
        ("/", vec![user(corp)]),
    ];
    let server = site(alice(), names, routes).await;
    let mut client = server.connect().await;
    let (head, body) = client.get("/", BASIC).await;
    assert!(head.starts_with("HTTP/1.1 200 ") && body.contains("CORP\\alice"), "{head}{body}");
    for path in ["/local", "/trusted"] {
        assert!(client.get(path, BASIC).await.0.starts_with("HTTP/1.1 403 "), "{path}");
    }
    server.running.stop().await;
}

#[tokio::test]
async fn what_an_application_calls_a_visitor_is_shown_and_a_mapping_may_refuse_them() {
    use crate::gateway::mapping::{Mapping, MappingRule, Template, Whose};
    let names = Arc::new(Fake(Mutex::new(Ok(None))));
    let rule = |realm, local: Option<&str>| MappingRule {
        realm,
        pattern: None,
        local: local.map(|local| Template::parse(local, None).expect("a template")),
    };
    for (rules, status, shown) in [
        (vec![rule(Whose::Ours, Some("app-{user}")), rule(Whose::Anybodys, None)], "200", Some("app-alice")),
        (vec![rule(Whose::Of("TRUSTED.EXAMPLE.TEST".into()), Some("{user}"))], "200", None),
        (vec![rule(Whose::Anybodys, None)], "403", None),
    ] {
        let server = site_with(alice(), Arc::clone(&names), vec![("/", vec![Rule::allow_all()])], |config| {
            config.mapping = Mapping(rules);
        })
        .await;
        let (head, body) = server.connect().await.get("/", BASIC).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        assert_eq!(body.contains("For applications"), shown.is_some(), "{body}");
        assert!(shown.is_none_or(|shown| body.contains(shown)), "{body}");
        if status == "403" {
            assert!(
                server.told.lines()[0].contains("mapping 1 refuses alice@CORP.EXAMPLE.TEST"),
                "{:?}",
                server.told.lines()
            );
        }
        server.running.stop().await;
    }
}

#[tokio::test]
async fn a_joined_machine_serves_although_no_controller_is_there_and_says_503_to_ntlm_and_basic() {
    let directory = super::Directory::new("joined");
    let state = directory.0.join("corp.example.test");
    crate::config::tests::join(&state);
    let mut config = Config::default();
    config.server.listen = vec!["127.0.0.1:0".parse().expect("an address")];
    config.authentication.policy.basic_realm = Some(String::new());
    config.kerberos = Some(crate::config::Kerberos::default());
    config.routes =
        vec![Route { path: "/".to_owned(), rules: vec![role(Access::Allow, admins())], ..Route::default() }];
    config.domains = vec![crate::config::Domain {
        state,
        // Nobody listens there.
        servers: vec!["127.0.0.1:9".to_owned()],
        ..crate::config::Domain::named("corp.example.test")
    }];
    let domains = crate::gateway::domain::open(&config, &[]).expect("what was joined");
    let server = serve(config, domains).await;
    let gateway = &server.running.gateway;
    let acceptor = gateway.site().authenticator.acceptor();
    let names = acceptor.config().ntlm.as_ref().expect("NTLM").config();
    assert_eq!((names.nb_domain.as_str(), names.nb_computer.as_str()), ("CORP", "WEB"));
    assert_eq!(names.dns_computer.as_deref(), Some("web.corp.example.test"));
    assert_eq!(
        (names.dns_domain.as_deref(), names.dns_tree.as_deref()),
        (Some("corp.example.test"), Some("example.test"))
    );
    assert!(acceptor.config().krb5.is_some());
    let (head, _) = server.connect().await.get("/", BASIC).await;
    assert!(head.starts_with("HTTP/1.1 503 ") && header(&head, "retry-after").is_some(), "{head}");
    // A reload that changes nothing keeps the domain, with its connections.
    let before = gateway.site().domains.clone();
    let again = crate::gateway::domain::open(&gateway.site().config, &before).expect("the same");
    assert!(Arc::ptr_eq(&before[0], &again[0]));
    server.running.stop().await;
}

#[tokio::test]
async fn a_server_that_is_sent_its_own_sign_in_lets_nobody_in_by_it() {
    let machine = |domain: &str| {
        let account = Account {
            name: "WEB$".into(),
            domain: domain.into(),
            realm: Some(format!("{}.example.test", domain.to_lowercase())),
            ..Account::default()
        };
        FakeLogon::in_groups(account, Vec::new())
    };
    // The keytab of a server that joined: its account, and its services.
    let status = async |domain: &str, allowed: bool, account: &str| {
        let names = Fake::answering(Ok(None));
        let directory = super::Directory::new(&format!("own-account-{domain}-{allowed}-{}", account.len()));
        let mut keytab = Vec::new();
        Keytab::write_head(&mut keytab);
        for principal in [account, "HTTP/web.corp.example.test@CORP.EXAMPLE.TEST"] {
            let name: Principal = principal.parse().expect("a principal");
            let principal = CountedName::from(&name);
            Entry { principal, timestamp: 0, kvno: 1, etype: 18, key: &[7; 32] }.write(&mut keytab);
        }
        std::fs::write(directory.0.join("web.keytab"), keytab).expect("a file");
        let server = site_with(machine(domain), names, vec![("/", vec![Rule::allow_all()])], |config| {
            config.kerberos = Some(crate::config::Kerberos::with_keytab(directory.0.join("web.keytab")));
            config.authentication.own_account = allowed;
        })
        .await;
        let (head, body) = server.connect().await.get("/", BASIC).await;
        assert!(!body.contains("reflection"), "the reason is for the log");
        let told = server.told.lines().join("\n");
        server.running.stop().await;
        (head.split(' ').nth(1).expect("a status").to_owned(), told)
    };
    let (own, told) = status("CORP", false, "WEB$@CORP.EXAMPLE.TEST").await;
    assert_eq!(own, "403");
    assert!(told.contains("reflection"), "{told}");
    assert_eq!(status("CORP", true, "WEB$@CORP.EXAMPLE.TEST").await.0, "200");
    // Another machine, and one of the same name elsewhere, are not this one.
    assert_eq!(status("CORP", false, "OTHER$@CORP.EXAMPLE.TEST").await.0, "200");
    assert_eq!(status("TRUSTED", false, "WEB$@CORP.EXAMPLE.TEST").await.0, "200");
}
