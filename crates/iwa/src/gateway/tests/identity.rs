//! What an application behind the gateway is told of its visitors, and what visitors cannot tell it.

use std::sync::Arc;

use http::header::HeaderName;
use iwa_auth::Account;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::{Client, Server, header, serve};
use crate::config::{Config, Proxy, Route};
use crate::gateway::authorize::Rule;
use crate::gateway::domain::tests::{FakeLogon, joined_with};
use crate::gateway::identity::groups::{Entry, Groups};
use crate::gateway::identity::jwt::{JwtConfig, TokenTold};
use crate::gateway::identity::keys::Algorithm;
use crate::gateway::identity::template::Template;
use crate::gateway::identity::value::Encoding;
use crate::gateway::identity::{Preset, Told};
use crate::gateway::names::{self, DomainGroup};
use crate::gateway::tests::domain::{BASIC, Fake, sid};

/// An application that answers with the request that it got, head and body as they came, in lower case.
pub(super) async fn application() -> Proxy {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let upstream = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut got, mut piece) = (Vec::new(), [0; 4096]);
                loop {
                    let text = String::from_utf8_lossy(&got).to_lowercase();
                    let chunked = text.contains("transfer-encoding: chunked");
                    let head = text.contains("\r\n\r\n");
                    if head && (!chunked || text.contains("\r\n0\r\n") && text.ends_with("\r\n\r\n")) {
                        break;
                    }
                    match stream.read(&mut piece).await {
                        Ok(0) | Err(_) => return,
                        Ok(length) => got.extend_from_slice(&piece[..length]),
                    }
                }
                let text = String::from_utf8_lossy(&got).to_lowercase();
                let answer =
                    format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{text}", text.len());
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    Proxy::to(upstream)
}

fn alice() -> Account {
    Account {
        name: "alice".into(),
        domain: "CORP".into(),
        realm: Some("corp.example.test".into()),
        upn: Some("alice@corp.example.test".into()),
        display_name: Some("Alice \u{c4}nders".into()),
        sid: Some(sid("S-1-5-21-7-7-7-1104")),
    }
}

fn told(headers: &[(&str, &str)]) -> Told {
    let headers = headers.iter().map(|(name, template)| {
        (name.parse::<HeaderName>().expect("a name"), Template::parse(template).expect("a template"))
    });
    Told { headers: Some(headers.collect()), ..Told::default() }
}

/// A gateway in front of an application, whose visitors may sign in and need not.
async fn gateway(account: Account, names: &Arc<Fake>, told: Told, change: impl FnOnce(&mut Config)) -> Server {
    let groups = ["S-1-5-21-7-7-7-513", "S-1-5-21-7-7-7-1200", "S-1-5-32-544"].map(sid).to_vec();
    let mut config = Config::default();
    config.server.listen = vec!["127.0.0.1:0".parse().expect("an address")];
    config.authentication.policy.basic_realm = Some(String::new());
    config.authentication.policy.anonymous = true;
    config.ntlm.computer_name = Some("WEB".into());
    config.ntlm.domain_name = Some("CORP".into());
    config.routes = vec![Route {
        path: "/".into(),
        proxy: Some(application().await),
        rules: vec![Rule::allow_all()],
        told,
        ..Route::default()
    }];
    change(&mut config);
    let logon = FakeLogon::in_groups(account, groups);
    serve(config, vec![joined_with("corp.example.test", "CORP", logon, Some(Arc::clone(names) as _))]).await
}

async fn simple(account: Account, told: Told) -> Server {
    gateway(account, &Fake::answering(Ok(None)), told, |_| {}).await
}

async fn asks(server: &Server, headers: &str) -> (String, String) {
    server.connect().await.get("/", headers).await
}

fn status(head: &str) -> &str {
    head.split(' ').nth(1).expect("a status")
}

/// What the application was told in this header.
fn was_told<'a>(request: &'a str, name: &str) -> Vec<&'a str> {
    let (head, _) = request.split_once("\r\n\r\n").expect("a head");
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .filter(|(found, _)| *found == name)
        .map(|(_, value)| value)
        .collect()
}

#[tokio::test]
async fn an_application_is_told_who_signed_in_and_nothing_of_who_did_not() {
    let server = simple(alice(), Told::default()).await;
    let (head, request) = asks(&server, BASIC).await;
    assert_eq!(status(&head), "200");
    assert_eq!(was_told(&request, "x-remote-user"), ["corp\\alice"]);
    assert!(was_told(&request, "authorization").is_empty(), "{request}");
    let (head, request) = asks(&server, "").await;
    assert_eq!(status(&head), "200");
    assert!(was_told(&request, "x-remote-user").is_empty() && !request.contains("alice"), "{request}");
    server.running.stop().await;
}

#[tokio::test]
async fn every_hole_and_every_preset() {
    let all = [
        ("x-a", "{user}", "corp\\alice"),
        ("x-b", "{domain}+{name}", "corp+alice"),
        ("x-c", "{upn}", "alice@corp.example.test"),
        ("x-d", "{name}@{realm}", "alice@corp.example.test"),
        ("x-e", "{sid}", "s-1-5-21-7-7-7-1104"),
        ("x-f", "{mechanism}", "basic"),
        ("x-g", "{local}", "corp\\alice"),
        ("x-h", "{proved}", "request"),
        ("x-i", "{display-name}", "alice \u{e4}nders"),
        ("x-j", "fixed", "fixed"),
    ];
    let server = simple(alice(), told(&all.map(|(name, template, _)| (name, template)))).await;
    let (_, request) = asks(&server, BASIC).await;
    for (name, _, wanted) in all {
        assert_eq!(was_told(&request, name), [wanted]);
    }
    server.running.stop().await;
    for (name, preset) in Preset::ALL {
        let headers = Some(preset.headers());
        let server =
            simple(alice(), Told { headers: headers.clone(), groups: Some(Groups::All), ..Told::default() }).await;
        let (_, request) = asks(&server, BASIC).await;
        for (header, _) in headers.iter().flatten() {
            assert_eq!(was_told(&request, header.as_str()).len(), 1, "{name}: {header}");
        }
        server.running.stop().await;
    }
}

/// What a visitor might say in the gateway's place.
const FORGED: &str = "X-Remote-User: mallory\r\nX_Remote_User: mallory\r\nx-remote_user: mallory\r\nX.Remote.User: mallory\r\n\
    Remote-User: mallory\r\nREMOTE_USER: mallory\r\nX-Forwarded-User: mallory\r\nX-Auth-Request-Email: mallory\r\n\
    X-WEBAUTH-USER: mallory\r\nX-Who: mallory\r\nx_who: mallory\r\nX-SSL-Client-S-DN: mallory\r\nX-Elsewhere: mallory\r\n\
    X_elsewhere: mallory\r\nX-Remote-User: mallory\r\n";

#[tokio::test]
async fn what_visitors_say_of_themselves_never_arrives_signed_in_or_not_told_or_not() {
    for told in [
        Told::default(),
        told(&[("x-who", "{user}")]),
        told(&[]),
        Told { remove: vec!["X-Who".into()], ..Told::default() },
    ] {
        // A name that is asserted on another route only is protected on this one, too.
        let silent = told.headers.as_ref().is_some_and(Vec::is_empty);
        let names = Fake::answering(Ok(None));
        let server = gateway(alice(), &names, told, |config| {
            let elsewhere = Route {
                path: "/elsewhere".into(),
                told: super::identity::told(&[("x-elsewhere", "{user}"), ("x-who", "{sid}")]),
                ..Route::default()
            };
            config.routes.insert(0, elsewhere);
        })
        .await;
        for credentials in ["", BASIC] {
            let (head, request) = asks(&server, &format!("{FORGED}{credentials}")).await;
            assert_eq!(status(&head), "200", "{head}");
            assert!(!request.contains("mallory"), "{request}");
            assert_eq!(request.contains("alice"), !credentials.is_empty() && !silent, "{request}");
        }
        server.running.stop().await;
    }
}

#[tokio::test]
async fn a_visitor_cannot_name_the_gateways_header_in_connection_to_have_it_removed() {
    let server = simple(alice(), told(&[("x-who", "{user}"), ("x-sid", "{sid}")])).await;
    for connection in ["X-Who", "x-who, X_Who", "keep-alive, X-WHO,x-sid", "X.Who"] {
        let (_, request) = asks(&server, &format!("Connection: {connection}\r\n{BASIC}")).await;
        assert_eq!(was_told(&request, "x-who"), ["corp\\alice"], "{request}");
        assert_eq!(was_told(&request, "x-sid").len(), 1, "{request}");
        assert!(was_told(&request, "connection").is_empty(), "{request}");
    }
    server.running.stop().await;
}

#[tokio::test]
async fn trailers_say_nothing_of_who_somebody_is() {
    let server = simple(alice(), told(&[("x-who", "{user}")])).await;
    for credentials in ["", BASIC] {
        let mut client: Client = server.connect().await;
        client
            .send(&format!(
                "POST / HTTP/1.1\r\nHost: h\r\n{credentials}Transfer-Encoding: chunked\r\nTrailer: X-Who, X-Sum\r\n\r\n5\r\nhello\r\n\
                 0\r\nX-Who: mallory\r\nX_Remote.User: mallory\r\nX-Sum: 1\r\n\r\n"
            ))
            .await;
        let (head, request) = client.answer().await;
        assert_eq!(status(&head), "200");
        assert!(request.contains("hello") && !request.contains("mallory"), "{request}");
    }
    server.running.stop().await;
}

#[tokio::test]
async fn what_cannot_be_said_in_full_is_500_and_the_application_is_not_asked() {
    let account = |change: fn(&mut Account)| {
        let mut account = alice();
        change(&mut account);
        account
    };
    let cases: [(Account, (&str, &str), &str); 9] = [
        (account(|a| a.name = "al\r\nx-who: admin".into()), ("x-who", "{user}"), "control characters"),
        (account(|a| a.name = "al\u{85}ice".into()), ("x-who", "{user}"), "control characters"),
        (account(|a| a.name = "al\0ice".into()), ("x-who", "{user}"), "control characters"),
        (account(|a| a.display_name = Some("Alice ".into())), ("x-who", "{display-name?}"), "space"),
        (account(|a| a.name = "admin\\alice".into()), ("x-who", "{user}"), "read as another's"),
        (account(|a| a.upn = None), ("x-who", "{upn}"), "{upn?} leaves"),
        (account(|a| a.sid = None), ("x-who", "{sid}"), "does not have"),
        (account(|a| a.display_name = None), ("x-who", "Dr. {display-name}"), "does not have"),
        (account(|a| a.name = "a".repeat(5_000)), ("x-who", "{user}"), "`limit`"),
    ];
    for (account, header, why) in cases {
        for encoding in [Encoding::Utf8, Encoding::Percent, Encoding::Rfc8187] {
            if why == "space" && encoding != Encoding::Utf8 {
                continue;
            }
            let told = Told { encoding: Some(encoding), ..told(&[header]) };
            let server = simple(account.clone(), told).await;
            let (head, body) = asks(&server, BASIC).await;
            assert_eq!(status(&head), "500", "{why}: {head}{body}");
            assert!(!body.contains("x-who") && !body.contains("alice"), "{body}");
            let told = server.told.lines().join("\n");
            assert!(told.contains(why) && told.starts_with("500"), "{told}");
            server.running.stop().await;
        }
    }
}

#[tokio::test]
async fn a_header_that_a_visitor_has_nothing_for_is_left_out_only_where_it_may_be() {
    let account = Account { display_name: None, upn: None, ..alice() };
    let told = told(&[
        ("x-who", "{user}"),
        ("x-name", "{display-name?}"),
        ("x-mail", "mail:{upn?}"),
        ("x-groups", "{groups}"),
    ]);
    let server = simple(account, told).await;
    let forged = "X-Name: mallory\r\nX-Mail: mallory\r\nX-Groups: mallory\r\n";
    let (head, request) = asks(&server, &format!("{forged}{BASIC}")).await;
    assert_eq!(status(&head), "200");
    assert_eq!(was_told(&request, "x-who"), ["corp\\alice"]);
    assert!(!["x-name", "x-mail", "x-groups", "mallory"].iter().any(|name| request.contains(name)), "{request}");
    server.running.stop().await;
}

#[tokio::test]
async fn a_user_of_a_foreign_realm_is_never_called_as_one_of_ours() {
    let foreign = |domain: &str, realm: Option<&str>, upn: &str| Account {
        domain: domain.into(),
        realm: realm.map(Into::into),
        upn: Some(upn.into()),
        sid: Some(sid("S-1-5-21-8-8-8-1104")),
        ..alice()
    };
    let headers = told(&[("x-who", "{user}"), ("x-mail", "{upn?}")]);
    for (account, who) in [
        // What a foreign controller calls its domain in short, and what UPN it gives, is not believed.
        (foreign("CORP", Some("TRUSTED.EXAMPLE.TEST"), "alice@corp.example.test"), Some("trusted.example.test\\alice")),
        (
            foreign("TRUSTED", Some("trusted.example.test"), "alice@corp.example.test"),
            Some("trusted.example.test\\alice"),
        ),
        (foreign("TRUSTED", None, "alice@corp.example.test"), Some("trusted\\alice")),
        (foreign("CORP", None, "alice@corp.example.test"), None),
        (foreign("corp", Some("CORP"), "alice@corp.example.test"), None),
    ] {
        let server = simple(account.clone(), headers.clone()).await;
        let (head, request) = asks(&server, BASIC).await;
        match who {
            Some(who) => {
                assert_eq!(was_told(&request, "x-who"), [who], "{account:?}");
                assert!(was_told(&request, "x-mail").is_empty(), "{request}");
            }
            None => assert_eq!(status(&head), "500", "{account:?} {request}"),
        }
        server.running.stop().await;
    }
    let own = foreign("TRUSTED", Some("TRUSTED.EXAMPLE.TEST"), "alice@trusted.example.test");
    let server = simple(own, headers).await;
    assert_eq!(was_told(&asks(&server, BASIC).await.1, "x-mail"), ["alice@trusted.example.test"]);
    server.running.stop().await;
}

#[tokio::test]
async fn only_the_groups_that_the_route_names_are_told_and_by_the_names_it_has_for_them() {
    let by_name = |name: &str| Entry::InDomain(Arc::new(DomainGroup::new("CORP", name)), format!("CORP\\{name}"));
    let by_sid = |text: &str, called: &str| Entry::Sid(sid(text), called.into());
    let listed = |entries| Some(Groups::Listed(entries));
    let names = Fake::answering(Ok(Some(sid("S-1-5-21-7-7-7-1200"))));
    for (groups, separator, wanted) in [
        (None, None, None),
        (listed(vec![]), None, None),
        (listed(vec![by_sid("S-1-5-32-999", "others")]), None, None),
        (listed(vec![by_name("Web Admins")]), None, Some("corp\\web admins")),
        (
            listed(vec![by_sid("S-1-5-32-544", "a,b%"), by_name("Web, Admins")]),
            None,
            Some("a%2cb%25,corp\\web%2c admins"),
        ),
        (listed(vec![by_sid("S-1-5-32-544", "a,b"), by_name("Web Admins")]), Some('|'), Some("a,b|corp\\web admins")),
        (listed(vec![Entry::OfDomain(sid("S-1-5-21-7-7-7"))]), None, Some("s-1-5-21-7-7-7-513,s-1-5-21-7-7-7-1200")),
        (listed(vec![Entry::OfDomain(sid("S-1-5-21-7-7"))]), None, None),
        (Some(Groups::All), Some(';'), Some("s-1-5-21-7-7-7-513;s-1-5-21-7-7-7-1200;s-1-5-32-544")),
    ] {
        let told = Told { groups, separator, ..told(&[("x-groups", "{groups}")]) };
        let server = gateway(alice(), &names, told, |_| {}).await;
        let (_, request) = asks(&server, &format!("{BASIC}X-Groups: mallory\r\n")).await;
        assert_eq!(was_told(&request, "x-groups").first().copied(), wanted, "{request}");
        server.running.stop().await;
    }
}

#[tokio::test]
async fn a_name_that_is_not_resolved_is_503_and_not_a_group_less() {
    let names = Fake::answering(Err("no controller answers".into()));
    let group = Entry::InDomain(Arc::new(DomainGroup::new("CORP", "Suspended")), "CORP\\Suspended".into());
    let groups = Some(Groups::Listed(vec![Entry::Sid(sid("S-1-5-32-544"), "admins".into()), group]));
    let server = gateway(alice(), &names, Told { groups, ..told(&[("x-groups", "{groups}")]) }, |_| {}).await;
    let (head, body) = asks(&server, BASIC).await;
    assert_eq!(status(&head), "503");
    assert!(
        header(&head, "retry-after").is_some() && !body.contains("Suspended") && !body.contains("controller"),
        "{head}{body}"
    );
    assert_eq!(status(&asks(&server, "").await.0), "200", "who is nobody is in no group");
    names.answer(Ok(Some(sid("S-1-5-21-7-7-7-1200"))));
    let site = server.running.gateway.site();
    names::resolve(&site.groups, &site.domains).await;
    assert_eq!(was_told(&asks(&server, BASIC).await.1, "x-groups"), ["admins,corp\\suspended"]);
    server.running.stop().await;
}

#[tokio::test]
async fn the_public_keys_are_there_for_everybody_and_nothing_else_is() {
    let files = super::Directory::new("jwks");
    let jwt = JwtConfig {
        keys: files.0.join("jwt"),
        algorithm: Algorithm::default(),
        issuer: "https://web.example.test".into(),
        lifetime: JwtConfig::LIFETIME,
        rotate: JwtConfig::ROTATE,
    };
    let header = HeaderName::from_static("x-token");
    let told = Told { token: Some(Some(TokenTold { audience: "app".into(), header })), ..told(&[]) };
    let server = gateway(alice(), &Fake::answering(Ok(None)), told, |config| config.jwt = Some(jwt)).await;
    let mut client = server.connect().await;
    let (head, body) = client.get("/.iwa/jwks.json", "").await;
    assert_eq!((status(&head), header_of(&head, "content-type")), ("200", "application/jwk-set+json"), "{head}");
    assert_eq!(header_of(&head, "cache-control"), "public, max-age=3600");
    let set: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    let keys = set["keys"].as_array().expect("a list");
    assert_eq!(keys.len(), 1);
    let members: Vec<_> = keys[0].as_object().expect("a key").keys().map(String::as_str).collect();
    assert_eq!(members, ["alg", "crv", "kid", "kty", "use", "x", "y"], "and no private part");
    client.send("POST /.iwa/jwks.json HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(status(&client.answer().await.0), "405");
    // The same visitor over two requests, another one without a token, and what they may have written themselves.
    let (_, first) = asks(&server, &format!("X-Token: mallory\r\nX_Token: mallory\r\n{BASIC}")).await;
    let (_, second) = asks(&server, BASIC).await;
    assert_eq!(was_told(&first, "x-token").len(), 1, "{first}");
    assert_eq!(was_told(&first, "x-token"), was_told(&second, "x-token"), "signed once");
    let (_, nobody) = asks(&server, "X-Token: mallory\r\n").await;
    assert!(!nobody.contains("token"), "{nobody}");
    server.running.stop().await;
    let server = simple(alice(), Told::default()).await;
    assert_eq!(status(&server.connect().await.get("/.iwa/jwks.json", "").await.0), "404");
    server.running.stop().await;
}

#[tokio::test]
async fn where_the_token_stands_in_authorization_a_visitor_says_nothing_there() {
    let files = super::Directory::new("jwt-authorization");
    let jwt = JwtConfig {
        keys: files.0.join("jwt"),
        algorithm: Algorithm::default(),
        issuer: "https://web.example.test".into(),
        lifetime: JwtConfig::LIFETIME,
        rotate: JwtConfig::ROTATE,
    };
    let header = http::header::AUTHORIZATION;
    let told = Told { token: Some(Some(TokenTold { audience: "app".into(), header })), ..told(&[]) };
    let server = gateway(alice(), &Fake::answering(Ok(None)), told, |config| {
        config.jwt = Some(jwt);
        let mut off = config.routes[0].clone();
        off.path = "/off".into();
        off.sign_in.off = Some(true);
        config.routes.insert(0, off);
    })
    .await;
    let (_, request) = asks(&server, BASIC).await;
    let token = was_told(&request, "authorization").concat();
    assert!(token.starts_with("bearer eyj"), "{request}");
    // Somebody else's token, brought by nobody.
    let stolen = "Authorization: Bearer somebody-elses\r\n";
    let (head, request) = asks(&server, stolen).await;
    assert_eq!(status(&head), "200");
    assert!(was_told(&request, "authorization").is_empty(), "{request}");
    // Where nobody is asked, it is between the visitor and the application.
    let (_, request) = server.connect().await.get("/off", stolen).await;
    assert_eq!(was_told(&request, "authorization"), ["bearer somebody-elses"]);
    server.running.stop().await;
}

#[tokio::test]
async fn what_visitors_say_of_themselves_does_not_pass_through_either() {
    let server = gateway(alice(), &Fake::answering(Ok(None)), told(&[("x-who", "{user}")]), |config| {
        for (path, pass_through) in [("/through", true), ("/off", false)] {
            let mut route = config.routes[0].clone();
            route.path = path.into();
            route.sign_in.off = Some(true);
            route.proxy.as_mut().expect("an application").settings.pass_through = pass_through;
            config.routes.insert(0, route);
        }
    })
    .await;
    for path in ["/through", "/off"] {
        let forged = FORGED.replace("X-Elsewhere: mallory\r\n", "").replace("X_elsewhere: mallory\r\n", "");
        let headers = format!("{forged}Connection: X-Who\r\nAuthorization: NTLM TlRM\r\n");
        let (head, request) = server.connect().await.get(path, &headers).await;
        assert_eq!(status(&head), "200", "{head}");
        assert!(!request.contains("mallory"), "{request}");
        assert_eq!(was_told(&request, "authorization"), ["ntlm tlrm"], "{path}");
        // And from a body's end.
        let mut client = server.connect().await;
        let chunked = "Transfer-Encoding: chunked\r\nTrailer: X-Who, X-Remote-User\r\n\r\n1\r\na\r\n0\r\n";
        let trailers = "X-Who: mallory\r\nX-Remote-User: mallory\r\n\r\n";
        client.send(&format!("POST {path} HTTP/1.1\r\nHost: h\r\n{chunked}{trailers}")).await;
        let (head, request) = client.answer().await;
        assert_eq!(status(&head), "200", "{head}");
        assert!(!request.contains("mallory"), "{request}");
    }
    server.running.stop().await;
}

fn header_of<'a>(head: &'a str, name: &str) -> &'a str {
    header(head, name).unwrap_or_default()
}
