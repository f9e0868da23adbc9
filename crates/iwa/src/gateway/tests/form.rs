//! The form over real connections: what it begins, and everything with which somebody may try to have it begin something else.

use iwa_auth::{BindingPolicy, Secret};
use iwa_domain::local::{LocalAccounts, Lockout, NewUser};
use iwa_http::Provider;
use iwa_http::session::Terms;

use super::http2;
use super::session::{World, basic, cookie, get, route, set_cookies};
use super::sign_in::{accounts, site};
use super::{Client, header};
use crate::config::{Config, Sessions, SignIn};
use crate::gateway::authorize::{Access, Rule, User};
use crate::gateway::gate::Instead;

/// "/" with a form and a page that says who one is, "/basic" without a form.
async fn world(name: &str, change: impl FnOnce(&mut Config)) -> World {
    World::new(&format!("form-{name}"), |config| {
        config.routes[0].files = None;
        let basic = SignIn { basic: Some(true), ..SignIn::default() };
        route(config, "/basic", |route| route.sign_in = basic);
        config.routes[1].sign_in = with_form();
        change(config);
    })
    .await
}

fn with_form() -> SignIn {
    SignIn { instead: Some(Instead::Form), providers: Some(vec![Provider::Negotiate]), ..SignIn::default() }
}

/// A browser that was shown the form: its cookie, and what the form has in it.
struct Shown {
    cookie: String,
    token: String,
}

fn shown((head, body): &(String, String)) -> Shown {
    let token = body.split("name=\"token\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
    Shown { cookie: cookie(head).expect("a cookie"), token: token.expect("a form").to_owned() }
}

async fn show(client: &mut Client, path: &str) -> Shown {
    shown(&get(client, path, "").await)
}

impl Shown {
    fn body(&self, user: &str, password: &str, to: &str) -> String {
        format!("user={user}&password={password}&to={to}&token={}", self.token)
    }

    async fn post(&self, client: &mut Client, body: &str) -> (String, String) {
        self.post_with(client, body, "Origin: https://h\r\nSec-Fetch-Site: same-origin\r\n").await
    }

    async fn post_with(&self, client: &mut Client, body: &str, headers: &str) -> (String, String) {
        post(client, body, &format!("{FORM}Cookie: {}\r\n{headers}", self.cookie)).await
    }
}

async fn post(client: &mut Client, body: &str, headers: &str) -> (String, String) {
    let length = body.len();
    client
        .send(&format!("POST /.iwa/sign-in HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n{headers}\r\n{body}"))
        .await;
    client.answer().await
}

fn status(head: &str) -> &str {
    head.split(' ').nth(1).unwrap_or_default()
}

/// The cookie of a session, if there is one among them.
fn session(head: &str) -> Option<String> {
    cookie(head).filter(|cookie| !cookie.starts_with("__Host-iwa-form="))
}

const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";
const ALICE: &str = "alice-Passw0rd";

#[tokio::test]
async fn the_401_is_the_form_and_the_form_begins_a_session_and_leads_back() {
    let world = world("works", |_| {}).await;
    let mut client = world.connect().await;
    let (head, body) = get(&mut client, "/a?b=c&d", "").await;
    assert_eq!(status(&head), "401");
    let challenges: Vec<_> = head.lines().filter(|line| line.starts_with("www-authenticate")).collect();
    assert_eq!(challenges, ["www-authenticate: Negotiate"], "no dialog");
    assert!(header(&head, "content-security-policy").is_some_and(|policy| policy.contains("form-action 'self'")));
    assert_eq!(header(&head, "cache-control"), Some("no-store"));
    assert!(body.contains("name=\"to\" value=\"/a?b=c&amp;d\"") && !body.contains("<script"), "{body}");
    for wanted in
        ["autocomplete=\"username\"", "autocomplete=\"current-password\"", "<label for=\"user\">", "autofocus"]
    {
        assert!(body.contains(wanted), "{wanted}");
    }
    let first = shown(&(head, body));
    let (head, body) = first.post(&mut client, &first.body("alice", ALICE, "%2Fa%3Fb%3Dc%26d")).await;
    assert_eq!((status(&head), header(&head, "location")), ("303", Some("/a?b=c&d")), "{head}{body}");
    assert_eq!(header(&head, "cache-control"), Some("no-store"));
    let cookie = session(&head).expect("a session");
    assert!(set_cookies(&head)[0].contains("; Secure; HttpOnly"));
    assert_eq!(world.server.told.lines().last().unwrap(), "303.0 0 by the form");
    assert_eq!(status(&get(&mut client, "/a", "").await.0), "401", "the connection knows nobody");
    let (head, body) = get(&mut client, "/a", &format!("Cookie: {cookie}\r\n")).await;
    assert!(status(&head) == "200" && body.contains("WEB\\alice") && body.contains("Basic"), "{head}{body}");
}

#[tokio::test]
async fn the_page_itself_shows_the_form_and_a_get_signs_nobody_in() {
    let world = world("get", |_| {}).await;
    let mut client = world.connect().await;
    let (head, body) = get(&mut client, "/.iwa/sign-in?to=%2Fx", "").await;
    assert_eq!(status(&head), "200");
    assert!(body.contains("name=\"to\" value=\"/x\"") && header(&head, "www-authenticate").is_none());
    let first = shown(&(head, body));
    let (head, body) = get(
        &mut client,
        &format!("/.iwa/sign-in?{}", first.body("alice", ALICE, "/")),
        &format!("Cookie: {}\r\n", first.cookie),
    )
    .await;
    assert_eq!((status(&head), session(&head)), ("200", None));
    assert!(!body.contains("Passw0rd"));
    for method in ["PUT", "DELETE", "OPTIONS"] {
        client.send(&format!("{method} /.iwa/sign-in HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")).await;
        let (head, _) = client.answer().await;
        assert_eq!((status(&head), header(&head, "allow")), ("405", Some("GET, HEAD, POST")));
    }
}

#[tokio::test]
async fn every_failure_looks_the_same_and_asks_no_browser_for_a_password() {
    let world = world("failures", |config| config.limits.passwords.per_account = 3).await;
    let mut client = world.connect().await;
    let first = show(&mut client, "/").await;
    let mut pages = Vec::new();
    // The last two are more than the limit: the right one, too.
    for (user, password) in [
        ("alice", "guess-1"),
        ("nobody", "guess-1"),
        ("WEB%5Calice", "guess-2"),
        ("alice", "guess-3"),
        ("alice", "guess-4"),
        ("alice", ALICE),
    ] {
        let (head, body) = first.post(&mut client, &first.body(user, password, "/")).await;
        assert_eq!((status(&head), header(&head, "www-authenticate"), cookie(&head)), ("401", None, None), "{head}");
        assert!(!body.contains(password) && !body.contains("alice"));
        let (before, after) = body.split_once("request ").expect("its number");
        pages.push(format!("{before}{}", after.split_once('<').expect("its end").1));
    }
    pages.dedup();
    assert_eq!(pages.len(), 1);
    let told = world.server.told.lines();
    assert!(told[1].starts_with("401.1 1326 ") && told[6].contains("too-many-passwords"), "{told:?}");
}

#[tokio::test]
async fn wrong_passwords_of_the_form_and_of_basic_are_one_count() {
    let world = world("count", |config| config.limits.passwords.per_account = 2).await;
    let mut client = world.connect().await;
    let first = show(&mut client, "/").await;
    assert_eq!(status(&first.post(&mut client, &first.body("alice", "wrong1", "/")).await.0), "401");
    let wrong = "Authorization: Basic YWxpY2U6d3Jvbmc=\r\n";
    assert_eq!(status(&get(&mut client, "/basic", wrong).await.0), "401");
    for _ in 0..2 {
        assert_eq!(status(&get(&mut client, "/basic", &basic("alice")).await.0), "401");
        assert_eq!(status(&first.post(&mut client, &first.body("alice", ALICE, "/")).await.0), "401");
    }
    assert!(world.server.told.lines().iter().rev().take(4).all(|line| line.contains("too-many-passwords")));
    let (head, _) = first.post(&mut client, &first.body("bob", "bob-Passw0rd", "/")).await;
    assert_eq!(status(&head), "303");
}

#[tokio::test]
async fn a_form_that_another_site_sent_or_that_this_browser_was_not_given_is_403() {
    let world = world("csrf", |_| {}).await;
    let mut client = world.connect().await;
    let first = show(&mut client, "/").await;
    let body = first.body("alice", ALICE, "/");
    for headers in [
        "Origin: https://evil.test\r\n",
        "Origin: null\r\n",
        "Origin: http://h\r\n",
        "Origin: https://h\r\nOrigin: https://evil.test\r\n",
        "Origin: https://h\r\nSec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\n",
        "Sec-Fetch-Site: none\r\n",
    ] {
        let (head, _) = first.post_with(&mut client, &body, headers).await;
        assert_eq!((status(&head), session(&head)), ("403", None), "{headers}");
    }
    let other = show(&mut client, "/").await;
    assert_ne!(other.token, first.token);
    let forged = "AAAAAAAAAAAAAAAAAAAAAA";
    let same = "Origin: https://h\r\nSec-Fetch-Site: same-origin\r\n";
    for (cookies, token) in [
        (String::new(), first.token.as_str()),
        (format!("Cookie: {}\r\n", other.cookie), &first.token),
        (format!("Cookie: {}\r\n", first.cookie), ""),
        (format!("Cookie: {}\r\n", first.cookie), forged),
        (format!("Cookie: {0}; {0}\r\n", first.cookie), &first.token),
        (format!("Cookie: __Host-iwa-form={forged}\r\nCookie: {}\r\n", first.cookie), &first.token),
        ("Cookie: __Host-iwa-form=\r\n".to_owned(), ""),
        ("Cookie: __Host-iwa-form=AA\r\n".to_owned(), "AA"),
        ("Cookie: iwa-session-form=AAAAAAAAAAAAAAAAAAAAAA\r\n".to_owned(), forged),
    ] {
        let body = format!("user=alice&password={ALICE}&to=/&token={token}");
        let (head, page) = post(&mut client, &body, &format!("{FORM}{cookies}{same}")).await;
        assert_eq!((status(&head), session(&head)), ("403", None), "{cookies} {token}");
        assert!(page.contains("try again") && page.contains("name=\"token\""));
    }
    let (head, _) = first.post_with(&mut client, &format!("user=alice&password={ALICE}&to=/"), same).await;
    assert_eq!(status(&head), "403", "no token at all");
    // Something that is no browser of today has the token alone.
    assert_eq!(status(&first.post_with(&mut client, &body, "").await.0), "303");
}

#[tokio::test]
async fn a_form_leads_nowhere_but_to_a_path_here() {
    let world = world("redirects", |_| {}).await;
    let mut client = world.connect().await;
    let first = show(&mut client, "/").await;
    for to in [
        "%2F%2Fevil.test",
        "//evil.test",
        "/%5Cevil.test",
        "/\\evil.test",
        "https://evil.test/",
        "https%3A%2F%2Fevil.test",
        "javascript:alert(1)",
        "/%0d%0aSet-Cookie:x=y",
        "/%250d%250aSet-Cookie:x=y",
        "%09//evil.test",
        "/%09/evil.test",
        "/%252f%252fevil.test",
        "/.iwa/logout",
        "",
        "evil.test",
        "%2F%2F%2Fevil.test",
        "/..//evil.test",
    ] {
        let (head, _) = first.post(&mut client, &first.body("alice", ALICE, to)).await;
        assert_eq!((status(&head), header(&head, "location")), ("303", Some("/")), "{to}: {head}");
        let (_, body) = get(&mut client, &format!("/.iwa/sign-in?to={}", to.replace('\\', "%5C")), "").await;
        assert!(body.contains("name=\"to\" value=\"/\""), "{to}");
    }
}

#[tokio::test]
async fn what_is_no_form_is_refused_before_anybody_is_asked() {
    let world = world("bodies", |_| {}).await;
    let mut client = world.connect().await;
    let first = show(&mut client, "/").await;
    let good = first.body("alice", ALICE, "/");
    for (kind, wanted) in [
        ("Content-Type: text/plain\r\n", "415"),
        ("Content-Type: multipart/form-data; boundary=x\r\n", "415"),
        ("Content-Type: application/x-www-form-urlencoded; charset=utf-7\r\n", "415"),
        ("Content-Type: application/json\r\n", "415"),
        ("", "415"),
        ("Content-Type: application/x-www-form-urlencoded\r\nContent-Type: text/plain\r\n", "415"),
        ("Content-Type: application/x-www-form-urlencoded;charset=UTF-8\r\n", "303"),
    ] {
        let (head, _) = post(&mut client, &good, &format!("{kind}Cookie: {}\r\n", first.cookie)).await;
        assert_eq!(status(&head), wanted, "{kind}");
    }
    for body in [
        format!("{good}&user=bob"),
        format!("{good}&password={ALICE}"),
        format!("{good}&to=/"),
        format!("{good}&token={}", first.token),
        format!("{good}&%75ser=bob"),
        good.replace("alice-", "%zz"),
        good.replace("alice-", "%ff"),
        good.replace("user=alice", "user=alice%00"),
        good.replace("user=alice&", ""),
        good.replace("password=", "pass="),
    ] {
        let (head, _) = first.post(&mut client, &body).await;
        assert_eq!((status(&head), session(&head)), ("400", None), "{body}");
    }
    let (head, _) = first.post(&mut client, &format!("{good}&x={}", "x".repeat(8200))).await;
    assert_eq!(status(&head), "413");
    let mut client = world.connect().await;
    let chunk = "x".repeat(9000);
    client
        .send(&format!(
            "POST /.iwa/sign-in HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n{FORM}\r\n{:x}\r\n{chunk}\r\n0\r\n\r\n",
            chunk.len()
        ))
        .await;
    let (head, _) = client.answer().await;
    assert_eq!((status(&head), header(&head, "connection")), ("413", Some("close")));
}

#[tokio::test]
async fn a_session_of_the_form_counts_only_where_there_is_a_form() {
    let world = world("stricter", |config| {
        let no_form = SignIn { instead: Some(Instead::Page), ..with_form() };
        route(config, "/strict", |route| route.sign_in = no_form);
        let off = SignIn { off: Some(true), anonymous: Some(true), ..with_form() };
        route(config, "/off", |route| route.sign_in = off);
        route(config, "/closed", |route| {
            route.sign_in = with_form();
            route.rules = vec![Rule { access: Access::Deny, users: vec![User::All], ..Rule::allow_all() }];
        });
    })
    .await;
    let mut client = world.connect().await;
    let first = show(&mut client, "/").await;
    let (head, _) = first.post(&mut client, &first.body("alice", ALICE, "/")).await;
    let cookie = session(&head).expect("a session");
    let value = cookie.split_once('=').expect("a value").1;
    // Under the name that the others' cookies have, too.
    for cookie in [cookie.clone(), format!("__Host-iwa={value}")] {
        for path in ["/strict", "/basic"] {
            assert!(world.with(&cookie, path).await.starts_with("HTTP/1.1 401 "), "{path}");
        }
    }
    assert!(world.with(&cookie, "/").await.starts_with("HTTP/1.1 200 "));
    for to in ["/strict", "/basic", "/basic/x", "/off", "/BASIC"] {
        let (head, _) = first.post(&mut client, &first.body("alice", ALICE, to)).await;
        assert_eq!((status(&head), session(&head)), ("404", None), "{to}");
        assert_eq!(status(&get(&mut client, &format!("/.iwa/sign-in?to={to}"), "").await.0), "404", "{to}");
    }
    let (head, _) = first.post(&mut client, &first.body("alice", ALICE, "/closed")).await;
    assert_eq!((status(&head), session(&head)), ("403", None));
}

#[tokio::test]
async fn without_a_form_anywhere_there_is_no_such_page() {
    let world = World::new("form-none", |_| {}).await;
    let mut client = world.connect().await;
    assert_eq!(status(&get(&mut client, "/.iwa/sign-in", "").await.0), "404");
    assert_eq!(status(&post(&mut client, "user=alice", FORM).await.0), "404");
}

#[tokio::test]
async fn no_password_begins_a_session_that_must_be_tied_to_its_connection() {
    let world = world("bound", |config| config.authentication.token_checking = BindingPolicy::Require).await;
    let mut client = world.connect().await;
    let (head, body) = get(&mut client, "/", "").await;
    assert!(status(&head) == "401" && !body.contains("<form"), "{body}");
    assert_eq!(status(&get(&mut client, "/.iwa/sign-in", "").await.0), "403");
}

#[tokio::test]
async fn a_password_comes_over_tls_or_from_this_machine_and_from_nobody_behind_it() {
    let directory = accounts("form-clear");
    let change = |in_clear: bool| {
        let sessions = Sessions {
            keys: directory.0.join("session-keys"),
            revoked: directory.0.join("session-keys-revoked"),
            rotate: Sessions::ROTATE,
            return_to: Vec::new(),
        };
        move |config: &mut Config| {
            config.sessions = Some(sessions);
            config.routes[0].session = Some(Terms { in_clear, ..Terms::default() });
            config.routes[0].sign_in = with_form();
        }
    };
    let server = site(&directory, change(true)).await;
    let mut client = server.connect().await;
    let first = show(&mut client, "/").await;
    let body = first.body("alice", ALICE, "/");
    for behind in [
        "X-Forwarded-For: 192.0.2.1\r\n",
        "Via: 1.1 proxy\r\n",
        "Forwarded: for=192.0.2.1;proto=https\r\n",
        "X-Forwarded-Proto: https\r\n",
    ] {
        let (head, page) = get(&mut client, "/", behind).await;
        assert!(status(&head) == "401" && !page.contains("<form"), "{behind}");
        let (head, page) = first.post_with(&mut client, &body, behind).await;
        assert!(status(&head) == "403" && page.contains("403.4") && session(&head).is_none(), "{behind}");
    }
    let (head, _) = first.post_with(&mut client, &body, "Origin: http://h\r\n").await;
    assert_eq!(status(&head), "303", "from this machine");
    server.running.stop().await;
    let server = site(&directory, change(false)).await;
    let mut client = server.connect().await;
    let (head, page) = get(&mut client, "/", "").await;
    assert!(status(&head) == "401" && !page.contains("<form"));
    let (head, page) = first.post_with(&mut client, &body, "Origin: http://h\r\n").await;
    assert!(status(&head) == "403" && page.contains("403.4"), "no session without TLS");
    server.running.stop().await;
}

#[tokio::test]
async fn a_password_of_any_characters_arrives_as_it_was_typed() {
    let world = world("characters", |_| {}).await;
    let accounts = LocalAccounts::open(&world.directory.0.join("state"), Lockout::default()).expect("accounts");
    let new = NewUser {
        name: "jürgen",
        password: &Secret::new("pä +%&=ß€\"<1A".to_owned()),
        display_name: "",
        upn: None,
        must_change: false,
        expires: None,
    };
    accounts.add_user(&new).expect("an account");
    let mut client = world.connect().await;
    let first = show(&mut client, "/").await;
    for (password, wanted) in [
        ("p%C3%A4++%25%26%3D%C3%9F%E2%82%AC%22%3C1A", "401"),
        ("p%C3%A4+%2B%25%26%3D%C3%9F%E2%82%AC%22%3C1A", "303"),
        ("p\u{e4}%20%2B%25%26%3d\u{df}\u{20ac}\"<1A", "303"),
    ] {
        let (head, _) = first.post(&mut client, &first.body("j%C3%BCrgen", password, "/")).await;
        assert_eq!(status(&head), wanted, "{password}");
    }
}

#[tokio::test]
async fn the_form_works_over_http_2_and_where_nothing_else_is_offered() {
    let world = world("http2", |config| {
        config.authentication.policy.providers.clear();
        for route in &mut config.routes {
            route.sign_in.providers = None;
        }
    })
    .await;
    let mut client = http2::Client::of(&world.server, &world.web).await;
    let answer = client.begin("https://web.example.test/a", &[]).await;
    let (status, headers, body) = http2::whole(answer).await.expect("an answer");
    assert_eq!(
        (status.as_u16(), &headers["www-authenticate"]),
        (401, &"Cookie form-action=\"/.iwa/sign-in\"".parse().unwrap())
    );
    let cookie = headers["set-cookie"].to_str().expect("ASCII").split(';').next().expect("a cookie");
    assert!(cookie.starts_with("__Host-iwa-form=") && body.contains("action=\"/.iwa/sign-in\""));
    let token = cookie.split_once('=').expect("a value").1;
    let headers = [
        ("content-type", "application/x-www-form-urlencoded".to_owned()),
        ("origin", "https://web.example.test".to_owned()),
        ("cookie", cookie.to_owned()),
    ];
    for (password, wanted) in [("guess", 401), (ALICE, 303)] {
        let body = format!("user=alice&password={password}&to=/a&token={token}");
        let answer = client.post("https://web.example.test/.iwa/sign-in", &headers, body).await;
        let (status, headers, _) = http2::whole(answer).await.expect("an answer");
        assert_eq!((status.as_u16(), headers.contains_key("set-cookie")), (wanted, wanted == 303));
    }
}

#[tokio::test]
async fn a_page_of_the_administrators_has_the_same_form_and_signs_in_with_it() {
    use crate::gateway::templates::{Page, Template, Templates};
    let world = world("template", |config| {
        let page = Template::parse("<h1>{title}</h1>{what}|{user}|{form}", Page::SignIn).expect("a page");
        config.pages = Templates::new([(Page::SignIn, page)].into(), &["'self'".to_owned()]);
    })
    .await;
    let mut client = world.connect().await;
    let (head, body) = get(&mut client, "/%22%3E%3Cb%3E?'%3Cb%3E", "").await;
    assert!(status(&head) == "401" && body.starts_with("<h1>Sign in</h1>Sign in with"), "{head}{body}");
    assert!(!body.contains("<b>") && body.contains("||<form"), "{body}");
    assert!(header(&head, "content-security-policy").is_some_and(|policy| policy.contains("form-action 'self'")));
    let first = shown(&(head, body));
    let (_, body) = first.post(&mut client, &first.body("alice", "guess", "/")).await;
    assert!(body.starts_with("<h1>Sign in</h1>That did not work.") && !body.contains("alice"), "{body}");
    assert_eq!(status(&first.post(&mut client, &first.body("alice", ALICE, "/")).await.0), "303");
}
