//! `iwa join`, a site on what it wrote, and `iwa leave`.

use std::path::PathBuf;
use std::process::Output;

use crate::ad::{ADMIN, DNS, Domain, REALM, account, eventually};
use crate::clients::ticket;
use crate::peer::{IWA, run, shown, text};
use crate::site::{Site, rows};

/// Runs `iwa join` or `iwa leave` on a host, as the domain's administrator.
fn administer(domain: &Domain, host: &str, verb: &str, state: &str, more: &[&str], password: &str) -> Output {
    let mut command = domain.on(host, IWA);
    command.args([verb, DNS, "-U", ADMIN.0, "--password-stdin", "--state", state]).args(more);
    run(command.env("KRB5_CONFIG", "/nonexistent"), &format!("{password}\n"), 120)
}

/// Where a membership is kept that no other test has.
fn state(domain: &Domain) -> (PathBuf, String) {
    let dir = domain.folder("join").join("state");
    let shown = dir.display().to_string();
    (dir, shown)
}

fn signs_in(site: &Site<'_>, cache: &str) {
    let alice = account("alice");
    let (code, page) = site.curl(cache, &["--negotiate", "-u", ":", &site.url("/")]);
    assert_eq!(code, "200", "{page}");
    assert_eq!(rows(&page, "Mechanism"), ["Kerberos"], "{page}");
    let user = format!("CORP\\alice:{}", alice.password);
    let (code, page) = site.curl(cache, &["--ntlm", "-u", &user, &site.url("/")]);
    assert_eq!(code, "200", "{page}");
    assert_eq!((rows(&page, "Account"), rows(&page, "Mechanism")), (vec!["CORP\\alice".into()], vec!["NTLM".into()]));
}

#[test]
fn a_machine_joins_serves_restarts_and_leaves() {
    let Some(domain) = Domain::shared("joining a domain") else { return };
    let host = domain.new_host();
    let (dir, state) = state(domain);
    let dry = administer(domain, &host, "join", &state, &["--dry-run"], ADMIN.1);
    assert!(dry.status.success() && !dir.exists(), "{}", shown(&dry));
    let joined = administer(domain, &host, "join", &state, &[], ADMIN.1);
    assert!(joined.status.success(), "{}", shown(&joined));
    assert!(text(&joined.stdout).contains("To undo: iwa leave"), "{}", shown(&joined));
    let mut site = Site::joined(domain, &host, &state);
    let cache = ticket(domain, account("alice"));
    signs_in(&site, &cache);
    site.restart();
    signs_in(&site, &cache);
    let left = administer(domain, &host, "leave", &state, &["--delete"], ADMIN.1);
    assert!(left.status.success() && !dir.join("machine.json").exists(), "{}", shown(&left));
    assert!(!dir.join("machine.keytab").exists());
    let computers = domain.ok("dc", &["samba-tool", "computer", "list"]);
    assert!(!computers.to_lowercase().contains(&host), "{computers}");
}

#[test]
fn a_name_that_another_account_has_is_said_before_anything_is_changed() {
    let Some(domain) = Domain::shared("a duplicate SPN") else { return };
    let host = domain.new_host();
    let (dir, state) = state(domain);
    // HTTP/web.corp.example.test is svc-web's.
    let output = administer(domain, &host, "join", &state, &["--service-name", "web"], ADMIN.1);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{}", shown(&output));
    assert!(said.contains("HTTP/web") && said.contains("svc-web"), "{said}");
    assert!(!dir.join("machine.json").exists());
    let computers = domain.ok("dc", &["samba-tool", "computer", "list"]);
    assert!(!computers.to_lowercase().contains(&host), "{computers}");
}

#[test]
fn a_wrong_password_of_the_administrator_changes_nothing() {
    let Some(domain) = Domain::shared("an administrator's wrong password") else { return };
    let host = domain.new_host();
    let (dir, state) = state(domain);
    let output = administer(domain, &host, "join", &state, &[], "wrong");
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{}", shown(&output));
    assert!(said.contains("password") && said.contains("Administrator@CORP.EXAMPLE.TEST"), "{said}");
    assert!(!dir.join("machine.json").exists());
}

#[test]
fn the_machine_password_is_changed_under_load_and_no_request_fails() {
    let Some(domain) = Domain::shared("a change of the machine's password") else { return };
    let host = domain.new_host();
    let (dir, state) = state(domain);
    let joined = administer(domain, &host, "join", &state, &[], ADMIN.1);
    assert!(joined.status.success(), "{}", shown(&joined));
    // A ticket under the first key, from before the change.
    let cache = ticket(domain, account("alice"));
    let site = Site::joined(domain, &host, &state);
    signs_in(&site, &cache);
    drop(site);
    let read = || -> serde_json::Value {
        serde_json::from_str(&crate::ad::read(&dir.join("machine.json"))).expect("machine.json is JSON")
    };
    // It is 40 days old.
    let mut machine = read();
    let kvno = machine["current"]["kvno"].as_u64().expect("a key version");
    machine["current"]["since"] = (machine["current"]["since"].as_i64().expect("a time") - 40 * 86_400).into();
    std::fs::write(dir.join("machine.json"), machine.to_string()).expect("ours");
    let mut site = Site::joined(domain, &host, &state);
    eventually("a new password", 120, || {
        signs_in(&site, &cache);
        let machine = read();
        let changed = machine["current"]["kvno"].as_u64() == Some(kvno + 1) && machine["pending"].is_null();
        if changed { Ok(()) } else { Err(crate::ad::read(&site.dir.join("serve.out"))) }
    });
    // The ticket under the old key and one under the new, and after a restart.
    for _ in 0..2 {
        signs_in(&site, &cache);
        signs_in(&site, &ticket(domain, account("alice")));
        site.restart();
    }
    let left = administer(domain, &host, "leave", &state, &["--delete"], ADMIN.1);
    assert!(left.status.success(), "{}", shown(&left));
}

#[test]
fn a_keytab_is_held_against_what_the_kdc_issues() {
    let Some(domain) = Domain::shared("iwa keytab check") else { return };
    let check = |file: &str| {
        let mut command = domain.on("web", IWA);
        command.args(["keytab", "check", "-u", "alice", "--password-stdin", file]).env("KRB5_CONFIG", "/nonexistent");
        run(&mut command, &format!("{}\n", account("alice").password), 60)
    };
    let output = check(&domain.path("keytabs/web.keytab"));
    assert!(output.status.success() && text(&output.stdout).contains("all is well"), "{}", shown(&output));
    // Somebody changes the account's password, and nobody makes the keytab anew.
    let (state, computer) = domain.computer(std::time::Duration::ZERO);
    let keytab = format!("{state}/machine.keytab");
    let output = check(&keytab);
    assert!(output.status.success(), "{}", shown(&output));
    domain.ok("dc", &["samba-tool", "user", "setpassword", &format!("{computer}$"), "--newpassword=Another-Pw1"]);
    let output = check(&keytab);
    let said = shown(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("WRONG {computer}$@{REALM}")) && said.contains("make it anew"), "{said}");
}
