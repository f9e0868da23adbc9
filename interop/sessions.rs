//! Sessions with real clients over TLS: one handshake, then a cookie on every further connection, until somebody signs out.

use std::process::Output;
use std::time::{Duration, Instant};

use crate::lab::{ALICE, JOERG, here, interop_home, member, present, run, shown, text};
use crate::tls::Site;

/// A page that says who asks, at `/app`, and one below it that may load more.
const APP: &str = r#"
[sessions]
keys = "session-keys"
[[route]]
path = "/app"
inherit = false
allow = { users = ["*"] }
[route.session]
lifetime = "1 h"
[[route]]
path = "/app/files"
files = "site"
"#;

fn site(providers: &str) -> Site {
    Site::with("none", providers, "", APP)
}

/// `curl` with a jar of cookies; status and body.
fn curl(site: &Site, jar: &str, path: &str, arguments: &[&str]) -> (String, String) {
    let jar = site.lab.path(jar);
    let mut command = site.lab.peer("curl");
    command
        .args(["-s", "-S", "-w", "\n%{http_code}", "--cacert", &site.authorities(), "-c", &jar, "-b", &jar])
        .args(arguments)
        .arg(format!("{}{path}", site.url()));
    let output = run(&mut command, "", 30);
    assert!(output.status.success(), "{}", shown(&output));
    let printed = text(&output.stdout);
    let (body, status) = printed.rsplit_once('\n').expect("a status");
    (status.to_owned(), body.to_owned())
}

/// The last line of the log about `/app`.
fn last(site: &Site, count: usize) -> serde_json::Value {
    site.log(count).pop().expect("a request was logged")
}

#[test]
fn curl_signs_in_once_with_kerberos_and_its_cookie_is_good_until_it_signs_out_or_is_revoked() {
    if !(present("curl", "/usr/bin/curl") && present("MIT kinit", "/usr/bin/kinit")) {
        return;
    }
    let site = site("\"Negotiate\"");
    site.lab.kinit(ALICE);
    let (status, body) = curl(&site, "jar", "app/", &["--negotiate", "-u", ":"]);
    assert_eq!(status, "200", "{body}");
    // Another process, another connection, no ticket.
    let (status, body) = curl(&site, "jar", "app/", &[]);
    assert!(status == "200" && body.contains("\\alice") && body.contains("<td>Kerberos</td>"), "{status} {body}");
    let line = last(&site, 3);
    assert_eq!((&line["proof"], &line["onConnection"]), (&"session".into(), &1.into()), "{line}");
    assert_eq!(line["why"], "signed in with Kerberos when the session began");

    std::fs::copy(site.lab.path("jar"), site.lab.path("stolen")).expect("copied");
    let (status, body) = curl(&site, "jar", ".iwa/logout", &["-X", "POST"]);
    assert!(status == "200" && body.contains("is signed out"), "{status} {body}");
    for jar in ["jar", "stolen"] {
        assert_eq!(curl(&site, jar, "app/", &[]).0, "401", "{jar}");
    }

    assert_eq!(curl(&site, "jar", "app/", &["--negotiate", "-u", ":"]).0, "200");
    assert_eq!(curl(&site, "jar", "app/", &[]).0, "200");
    let config = site.lab.path("iwa.toml");
    site.lab.iwa(&["session", "revoke", "alice", "--config", &config], "");
    let end = Instant::now() + Duration::from_secs(20);
    while curl(&site, "jar", "app/", &[]).0 != "401" {
        assert!(Instant::now() < end, "the list is read within seconds");
        std::thread::sleep(Duration::from_millis(200));
    }
    let listed = site.lab.iwa(&["session", "list", "--config", &config], "");
    assert!(listed.contains("all of alice that began up to "), "{listed}");
}

/// A browser signs in, and then loads something over several connections at once.
fn browse(site: &Site, browser: &str, password: bool) -> Output {
    let mut command = site.lab.peer("node");
    command.env("IWA_NODE_MODULES", interop_home().join("browser")).env("IWA_FETCH", "6");
    if password {
        command.env("IWA_USER", JOERG.0).env("IWA_PASSWORD", JOERG.1);
    }
    let url = format!("{}app/files/", site.url());
    command.arg(here().join(format!("browser/{browser}.mjs"))).args([&url, &site.lab.path("profile")]);
    let output = run(&mut command, "", 120);
    assert!(output.status.success(), "{}", shown(&output));
    assert_eq!(member(&output, "status"), "200", "{}", shown(&output));
    assert_eq!(member(&output, "fetched"), "200 200 200 200 200 200", "{}", shown(&output));
    output
}

/// Once it has its cookie nothing is asked twice, on whatever connection.
fn one_handshake(site: &Site, user: &str) {
    let lines: Vec<_> = site
        .log(7)
        .into_iter()
        .filter(|line| line["url"].as_str().is_some_and(|url| url.starts_with("/app")))
        .collect();
    let first = lines.iter().position(|line| line["status"] == 200).expect("it signed in");
    assert!(lines[first]["user"].as_str().is_some_and(|found| found.ends_with(user)), "{:#?}", lines[first]);
    assert_eq!(lines[first]["proof"], "request");
    let after = &lines[first + 1..];
    assert!(after.len() >= 6, "{lines:#?}");
    for line in after {
        assert_eq!((&line["status"], &line["proof"]), (&200.into(), &"session".into()), "{line:#?}");
    }
}

/// A browser that opens another connection is known on it, too.
fn on_another_connection(site: &Site) {
    let lines = site.log(7);
    let known = |line: &serde_json::Value| line["onConnection"] == 1 && line["proof"] == "session";
    assert!(lines.iter().any(known), "another connection: {lines:#?}");
}

fn there(what: &str, program: &str) -> bool {
    present(what, program) && present("browser drivers", interop_home().join("browser/node_modules/playwright-core"))
}

#[test]
fn chromium_signs_in_once_with_ntlm_and_every_further_connection_is_known() {
    if there("Chromium", "/usr/bin/chromium") {
        let site = site("\"NTLM\"");
        browse(&site, "chromium", true);
        one_handshake(&site, "\\jörg");
        on_another_connection(&site);
    }
}

#[test]
fn firefox_signs_in_once_with_ntlm_and_every_further_connection_is_known() {
    if there("Firefox", "/usr/bin/firefox-esr") {
        let site = site("\"NTLM\"");
        browse(&site, "firefox", true);
        one_handshake(&site, "\\jörg");
    }
}

/// The same page with a form for those without a ticket.
fn with_form() -> Site {
    let app = APP.replace("inherit = false", "inherit = false\nform = true");
    Site::with("none", "\"Negotiate:Kerberos\"", "", &app)
}

#[test]
fn curl_signs_in_with_the_form_and_its_cookie_is_a_session() {
    if !present("curl", "/usr/bin/curl") {
        return;
    }
    let site = with_form();
    let (status, page) = curl(&site, "jar", "app/?a=b&c", &[]);
    assert!(status == "401" && page.contains("name=\"to\" value=\"/app/?a=b&amp;c\""), "{status} {page}");
    let token = page.split("name=\"token\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
    let token = format!("token={}", token.expect("a token"));
    let post = |password: &str| {
        let (user, password) = (format!("user={}", JOERG.0), format!("password={password}"));
        let fields = [&user, &password, "to=/app/?a=b&c", &token].map(|field| ["--data-urlencode", field]);
        curl(&site, "jar", ".iwa/sign-in", &fields.concat())
    };
    let (status, page) = post("wrong");
    assert!(status == "401" && page.contains("That did not work"), "{status} {page}");
    assert_eq!(post(JOERG.1).0, "303");
    let (status, page) = curl(&site, "jar", "app/", &[]);
    assert!(status == "200" && page.contains("\\jörg") && page.contains("<td>Basic</td>"), "{status} {page}");
    let lines = site.log(4);
    assert_eq!((&lines[1]["scheme"], &lines[1]["status"]), (&"Form".into(), &401.into()), "{:#?}", lines[1]);
    assert_eq!((&lines[2]["proof"], &lines[2]["status"]), (&"request".into(), &303.into()), "{:#?}", lines[2]);
    assert_eq!(lines[3]["proof"], "session");
    assert!(!format!("{lines:?}").contains(JOERG.1), "no password in the log");
}

#[test]
fn chromium_shows_no_dialog_but_the_form_and_signs_in_with_it() {
    if !there("Chromium", "/usr/bin/chromium") {
        return;
    }
    let site = with_form();
    let mut command = site.lab.peer("node");
    command.env("IWA_NODE_MODULES", interop_home().join("browser"));
    command.env("IWA_FORM_USER", JOERG.0).env("IWA_FORM_PASSWORD", JOERG.1);
    command.arg(here().join("browser/chromium.mjs")).arg(format!("{}app/?a=b", site.url()));
    command.args([site.lab.path("profile"), site.lab.path("form.png")]);
    let output = run(&mut command, "", 120);
    assert!(output.status.success(), "{}", shown(&output));
    assert_eq!(member(&output, "status"), "200", "{}", shown(&output));
    assert!(member(&output, "text").contains("jörg"), "{}", shown(&output));
}
