//! NTLM of domain users through the machine account's secure channel to a domain controller.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::ad::{Domain, account, accounts};
use crate::clients::{With, browse, has_browser, has_python, page, python};
use crate::kerberos::of_the_domain;
use crate::peer::{here, interop_home, run, shown, text};
use crate::site::{Site, rows};

fn web(what: &str) -> Option<(&'static Domain, Site<'static>)> {
    let domain = Domain::shared(what)?;
    Some((domain, Site::member(domain)))
}

/// A logon that is tried: `DOMAIN\name` or `name@domain`, and a password.
struct Try {
    user: String,
    password: String,
}

fn as_is(name: &str) -> Try {
    let account = account(name);
    Try { user: format!("CORP\\{name}"), password: account.password.to_owned() }
}

/// Tries all of them through `iwa serve`: `OK`, or the status as the log names it.
fn ours(site: &Site<'_>, tries: &[Try]) -> Vec<String> {
    let mut command = site.domain.on("web", interop_home().join("venv/bin/python"));
    command.arg(here().join("python/ntlm_many.py")).arg(site.url("")).env("KRB5_CONFIG", "/dev/null");
    let output = run(&mut command, &lines(tries), 240);
    assert!(output.status.success(), "{}", shown(&output));
    let http: Vec<String> = text(&output.stdout)
        .lines()
        .map(|line| line.split_once('\t').map_or_else(String::new, |(_, status)| status.to_owned()))
        .collect();
    assert_eq!(http.len(), tries.len(), "{}", shown(&output));
    let over = |line: &Value| !line["why"].as_str().unwrap_or_default().contains("the handshake goes on");
    let log: BTreeMap<String, Value> = site
        .log(tries.len(), |line| over(line) && line["url"].as_str().is_some_and(|url| url.starts_with("/n/")))
        .into_iter()
        .map(|line| (line["url"].as_str().unwrap_or_default().to_owned(), line))
        .collect();
    http.iter()
        .enumerate()
        .map(|(number, http)| {
            let line = &log[&format!("/n/{number}")];
            let why = line["why"].as_str().unwrap_or_default();
            match http.as_str() {
                "200" => "OK".to_owned(),
                // What stands in the log, and nothing of it in the answer.
                "401" => why
                    .split(|character: char| !(character.is_ascii_uppercase() || character == '_'))
                    .find_map(|word| word.strip_prefix("STATUS_"))
                    .unwrap_or(why)
                    .to_owned(),
                _ => format!("{http}: {why}"),
            }
        })
        .collect()
}

/// Tries all of them through winbind, which asks the same controller over a secure channel of its own.
fn winbind(domain: &Domain, tries: &[Try]) -> Vec<String> {
    let script = "while IFS=$'\\t' read -r id user password; do printf '%s\\t' \"$id\"; wbinfo -a \"$user%$password\" 2>&1 | tr \
                  '\\n' ' '; echo; done";
    let output = run(domain.on("member", "bash").args(["-c", script]), &lines(tries), 240);
    assert!(output.status.success(), "{}", shown(&output));
    let answers: Vec<String> = text(&output.stdout)
        .lines()
        .map(|line| {
            if line.contains("challenge/response password authentication succeeded") {
                return "OK".to_owned();
            }
            let status = line.rsplit("error code was NT_STATUS_").next().unwrap_or_default();
            status.split(' ').next().unwrap_or_default().to_owned()
        })
        .collect();
    assert_eq!(answers.len(), tries.len(), "{}", shown(&output));
    answers
}

fn lines(tries: &[Try]) -> String {
    tries.iter().enumerate().map(|(number, one)| format!("{number}\t{}\t{}\n", one.user, one.password)).collect()
}

#[test]
fn each_account_gets_its_exact_status() {
    if !has_python() {
        return;
    }
    let Some((_, site)) = web("NTLM of a domain's accounts") else { return };
    let wanted = [
        ("alice", "OK"),
        ("bob", "OK"),
        ("jörg", "OK"),
        ("many", "OK"),
        ("carol", "ACCOUNT_DISABLED"),
        ("dave", "ACCOUNT_RESTRICTION"),
        ("erin", "PASSWORD_MUST_CHANGE"),
        ("frank", "ACCOUNT_LOCKED_OUT"),
        ("grace", "ACCOUNT_EXPIRED"),
        ("heidi", "INVALID_LOGON_HOURS"),
        ("ivan", "INVALID_WORKSTATION"),
        ("judy", "PASSWORD_EXPIRED"),
        ("svc-web", "OK"),
    ];
    let mut tries: Vec<Try> = wanted.iter().map(|(name, _)| as_is(name)).collect();
    tries.push(Try { user: "CORP\\alice".to_owned(), password: "wrong".to_owned() });
    tries.push(Try { user: "CORP\\nobody".to_owned(), password: "wrong".to_owned() });
    let found = ours(&site, &tries);
    let wanted: Vec<&str> =
        wanted.iter().map(|(_, status)| *status).chain(["WRONG_PASSWORD", "NO_SUCH_USER"]).collect();
    assert_eq!(found, wanted);
    // For the clients they are all alike; the log has the numbers of Windows.
    let line = &site.log(1, |line| line["claimed"].as_str().is_some_and(|name| name.contains("carol")))[0];
    assert_eq!((&line["status"], &line["substatus"], &line["win32"]), (&401.into(), &1.into(), &1331.into()), "{line}");
}

#[test]
fn winbind_and_we_agree_on_two_hundred_logons() {
    if !has_python() {
        return;
    }
    let Some((domain, site)) = web("winbind beside us") else { return };
    domain.member();
    let mut tries = Vec::new();
    // Not 1,010 groups again and again: a logon of that size takes Samba a second.
    for account in accounts().into_iter().filter(|account| account.name != "many") {
        let (name, password) = (account.name, account.password);
        let mut add = |user: String, password: String| tries.push(Try { user, password });
        add(format!("CORP\\{name}"), password.to_owned());
        add(format!("CORP\\{name}"), format!("{password}x"));
        add(format!("corp\\{}", name.to_uppercase()), password.to_owned());
        add(format!("corp.example.test\\{name}"), password.to_owned());
        add(format!("CORP\\{name}"), password.to_uppercase());
        add(format!("CORP\\{name}-"), password.to_owned());
    }
    assert!(tries.len() >= 200, "{}", tries.len());
    let (ours, winbind) = (ours(&site, &tries), winbind(domain, &tries));
    let differ: Vec<String> = tries
        .iter()
        .zip(ours.iter().zip(&winbind))
        .filter(|(_, (ours, winbind))| ours != winbind)
        .map(|(one, (ours, winbind))| format!("{} {:?}: we say {ours}, winbind {winbind}", one.user, one.password))
        .collect();
    assert!(differ.is_empty(), "{differ:#?}");
    let good = ours.iter().filter(|status| *status == "OK").count();
    assert!(good > 60 && good < tries.len() - 60, "{good} of {} were let in", tries.len());
}

#[test]
fn where_winbind_is_a_member_already_it_is_asked_in_our_place() {
    let Some(domain) = Domain::shared("the ntlm-auth backend") else { return };
    domain.member();
    let sections = "[authentication]\nanonymous = false\n[authentication.windows]\nproviders = [\"NTLM\"]\n\n[ntlm]\ncomputer-name = \
                    \"MEMBER\"\ndomain-name = \"CORP\"\n\n[[domain]]\nname = \"corp.example.test\"\nbackend = \"ntlm-auth\"\n\n\
                    [[route]]\npath = \"/\"\nallow = { users = [\"*\"] }\n";
    let site = Site::start(domain, "member", sections);
    for (name, password, wanted, why) in [
        ("alice", "Alice-Pw1", "200", "signed in"),
        ("alice", "wrong", "401", "STATUS_WRONG_PASSWORD"),
        ("carol", "Carol-Pw1", "401", "STATUS_ACCOUNT_DISABLED"),
        ("erin", "Erin-Pw1", "401", "STATUS_PASSWORD_MUST_CHANGE"),
    ] {
        let (user, path) = (format!("CORP\\{name}:{password}"), format!("/{name}-{password}"));
        let (code, page) = site.curl("FILE:/nonexistent", &["--ntlm", "-u", &user, &site.url(&path)]);
        assert_eq!(code, wanted, "{name}: {page}");
        site.log(1, |line| line["url"] == path && line["why"].as_str().is_some_and(|text| text.contains(why)));
    }
}

#[test]
fn the_groups_of_a_logon_are_those_of_token_groups() {
    if !has_python() {
        return;
    }
    let Some((domain, site)) = web("groups of an NTLM logon") else { return };
    for name in ["alice", "jörg", "bob", "many"] {
        let account = account(name);
        let user = format!("CORP\\{name}");
        let output = python(domain, "negotiate.py", &[&site.url("/"), "ntlm"], With::Password(&user, account.password));
        let page = page(&output);
        assert_eq!(rows(&page, "Account"), [user], "{page}");
        assert_eq!(rows(&page, "Mechanism"), ["NTLM"], "{page}");
        assert_eq!(of_the_domain(rows(&page, "Group")), domain.token_groups(account), "{name}");
    }
}

#[test]
fn chromium_signs_in_with_ntlm() {
    if has_browser("Chromium", "/usr/bin/chromium") {
        let Some((_, site)) = web("Chromium's NTLM in a domain") else { return };
        let alice = account("alice");
        let page = browse(&site, "chromium", &site.url("/"), With::Password("CORP\\alice", alice.password));
        assert!(page.contains("CORP\\alice") && page.contains("NTLM"), "{page}");
    }
}

#[test]
fn firefox_signs_in_with_ntlm() {
    if has_browser("Firefox", "/usr/bin/firefox-esr") {
        let Some((_, site)) = web("Firefox's NTLM in a domain") else { return };
        let joerg = account("jörg");
        let page = browse(&site, "firefox", &site.url("/"), With::Password("jörg@corp.example.test", joerg.password));
        assert!(page.contains("CORP\\jörg") && page.contains("NTLM"), "{page}");
    }
}

#[test]
fn curl_pyspnego_and_impacket_sign_in_with_ntlm() {
    let Some((domain, site)) = web("clients' NTLM in a domain") else { return };
    let alice = account("alice");
    for user in ["CORP\\alice", "alice"] {
        let user = format!("{user}:{}", alice.password);
        let (code, page) = site.curl("FILE:/nonexistent", &["--ntlm", "-u", &user, &site.url("/")]);
        assert_eq!((code.as_str(), rows(&page, "Account")), ("200", vec!["CORP\\alice".to_owned()]), "{page}");
    }
    if has_python() {
        let with = With::Password("CORP\\alice", alice.password);
        for arguments in [["negotiate.py", "ntlm"], ["negotiate.py", "negotiate"], ["impacket_get.py", "ntlm"]] {
            let [script, way] = arguments;
            let page = page(&python(domain, script, &[&site.url("/"), way], with));
            assert_eq!(rows(&page, "Account"), ["CORP\\alice"], "{script} {way}: {page}");
        }
    }
}
