//! Kerberos with nothing but a keytab that the domain's administrator made.

use crate::ad::{Domain, REALM, account};
use crate::clients::{With, browse, has_browser, has_python, page, python, ticket};
use crate::peer::{IWA, member, run, shown, text};
use crate::site::{Site, rows};

fn web(what: &str) -> Option<(&'static Domain, Site<'static>)> {
    let domain = Domain::shared(what)?;
    Some((domain, Site::with_keytab(domain, "web", "")))
}

#[test]
fn curl_signs_in_with_a_ticket_and_the_page_says_the_account_of_the_directory() {
    let Some((domain, site)) = web("Kerberos in a domain") else { return };
    for name in ["alice", "jörg", "o'neill", "太郎", "UPPER"] {
        let (code, page) = site.curl(&ticket(domain, account(name)), &["--negotiate", "-u", ":", &site.url("/")]);
        assert_eq!(code, "200", "{name}: {page}");
        assert_eq!(rows(&page, "Account"), [format!("CORP\\{name}")], "{page}");
        assert_eq!(rows(&page, "Realm"), [REALM], "{page}");
        assert_eq!(rows(&page, "Mechanism"), ["Kerberos"], "{page}");
    }
}

#[test]
fn a_rule_by_name_keeps_the_others_of_the_realm_out() {
    let Some((domain, site)) = web("authorization in a domain") else { return };
    for (name, wanted) in [("bob", "200"), ("alice", "403")] {
        let (code, page) = site.curl(&ticket(domain, account(name)), &["--negotiate", "-u", ":", &site.url("/sales")]);
        assert_eq!(code, wanted, "{name}: {page}");
    }
}

#[test]
fn the_groups_of_the_pac_are_those_of_token_groups() {
    let Some((domain, site)) = web("groups of a PAC") else { return };
    for (name, least) in [("alice", 5), ("jörg", 6), ("bob", 2), ("svc-web", 1), ("many", 1011)] {
        let account = account(name);
        let (code, page) = site.curl(&ticket(domain, account), &["--negotiate", "-u", ":", &site.url("/")]);
        assert_eq!(code, "200", "{name}: {page}");
        let told = domain.token_groups(account);
        assert!(told.len() >= least, "{name}: {told:?}");
        assert_eq!(of_the_domain(rows(&page, "Group")), told, "{name}");
    }
}

/// The domain's own groups, in order: the rest of a PAC is about how the user signed in (S-1-18-1), the rest of `tokenGroups`
/// about the domain controller's own machine (S-1-5-32).
pub(crate) fn of_the_domain(mut sids: Vec<String>) -> Vec<String> {
    sids.retain(|sid| sid.starts_with("S-1-5-21-"));
    sids.sort();
    sids.dedup();
    sids
}

#[test]
fn the_kdc_refuses_each_account_with_its_reason_and_iwa_get_says_it() {
    let Some((domain, site)) = web("the reasons of a domain's KDC") else { return };
    let revoked = ("have been revoked", "KDC_ERR_CLIENT_REVOKED");
    let expired = ("Password expired", "KDC_ERR_KEY_EXPIRED");
    for (name, (kinit, get)) in [
        ("carol", revoked),
        ("frank", revoked),
        ("grace", revoked),
        ("heidi", revoked),
        ("erin", expired),
        ("judy", expired),
    ] {
        let account = account(name);
        let Err(output) = domain.kinit(account) else { panic!("{name} has a ticket") };
        let said = shown(&output);
        assert!(said.contains(kinit), "{name}: {said}");
        let output = get_page(&site, &format!("{name}@{REALM}"), account.password);
        assert!(!output.status.success() && text(&output.stderr).contains(get), "{name}: {}", shown(&output));
    }
    let output = get_page(&site, &format!("alice@{REALM}"), "wrong");
    assert!(text(&output.stderr).contains("KDC_ERR_PREAUTH_FAILED"), "{}", shown(&output));
    let output = get_page(&site, &format!("nobody@{REALM}"), "wrong");
    assert!(text(&output.stderr).contains("KDC_ERR_C_PRINCIPAL_UNKNOWN"), "{}", shown(&output));
    // Members of Protected Users sign in; a list of workstations is for the computers of the domain alone.
    for name in ["dave", "ivan"] {
        let output = get_page(&site, &format!("{name}@{REALM}"), account(name).password);
        assert!(output.status.success(), "{name}: {}", shown(&output));
    }
}

/// `iwa get` with a password and our own AS exchange.
fn get_page(site: &Site<'_>, user: &str, password: &str) -> std::process::Output {
    let mut command = site.domain.on("web", IWA);
    command.args(["get", "--providers", "Negotiate:Kerberos", "--user", user, "--password-stdin", &site.url("/")]);
    run(command.env("KRB5_CONFIG", "/etc/krb5.conf"), &format!("{password}\n"), 90)
}

#[test]
fn a_ticket_with_rc4_is_refused_until_rc4_is_asked_for() {
    let Some(domain) = Domain::shared("RC4 in a domain") else { return };
    let cache = ticket(domain, account("alice"));
    let get = |site: &Site<'_>| site.curl(&cache, &["--negotiate", "-u", ":", &site.url_as("rc4", "/")]);
    let site = Site::with_keytab(domain, "mixed", "");
    let (code, page) = get(&site);
    assert_eq!(code, "401", "{page}");
    let line = &site.log(1, |line| line["reason"] == "policy.etype-off")[0];
    let why = line["why"].as_str().unwrap_or_default();
    assert!(why.contains("RC4 (etype 23), which is off") && why.contains("msDS-SupportedEncryptionTypes"), "{why}");
    let site = Site::with_keytab(domain, "mixed", "rc4 = true");
    let (code, page) = get(&site);
    assert_eq!(code, "200", "{page}");
    // A keytab of RC4 keys alone cannot serve anybody: said before the start.
    let config = std::fs::read_to_string(site.dir.join("iwa.toml")).expect("it was written");
    let file = site.dir.join("rc4.toml");
    std::fs::write(&file, config.replace("mixed.keytab", "rc4.keytab").replace("rc4 = true", "")).expect("written");
    let output = run(std::process::Command::new(IWA).arg("check").arg("--config").arg(&file), "", 30);
    let said = shown(&output);
    assert!(!output.status.success() && said.contains("holds only RC4 keys"), "{said}");
}

#[test]
fn a_ticket_for_another_service_of_the_domain_says_what_the_keytab_has() {
    let Some((domain, site)) = web("a wrong SPN in a domain") else { return };
    let cache = ticket(domain, account("alice"));
    let (code, page) = site.curl(&cache, &["--negotiate", "-u", ":", &site.url_as("backend", "/")]);
    assert_eq!(code, "401", "{page}");
    let line = &site.log(1, |line| line["status"] == 401 && line["substatus"] == 1)[0];
    assert_eq!(line["reason"], "krb5.no-key", "{line}");
    let why = line["why"].as_str().unwrap_or_default();
    assert!(why.contains("HTTP/backend.corp.example.test") && why.contains("HTTP/web.corp.example.test"), "{why}");
}

#[test]
fn chromium_signs_in_with_kerberos() {
    if has_browser("Chromium", "/usr/bin/chromium") {
        let Some((domain, site)) = web("Chromium in a domain") else { return };
        let page = browse(&site, "chromium", &site.url("/"), With::Ticket(&ticket(domain, account("alice"))));
        assert!(page.contains("CORP\\alice"), "{page}");
    }
}

#[test]
fn firefox_signs_in_with_kerberos() {
    if has_browser("Firefox", "/usr/bin/firefox-esr") {
        let Some((domain, site)) = web("Firefox in a domain") else { return };
        let page = browse(&site, "firefox", &site.url("/"), With::Ticket(&ticket(domain, account("jörg"))));
        assert!(page.contains("CORP\\jörg"), "{page}");
    }
}

#[test]
fn pyspnego_signs_in_with_kerberos_and_believes_the_server() {
    if has_python() {
        let Some((domain, site)) = web("pyspnego in a domain") else { return };
        let cache = ticket(domain, account("alice"));
        for protocol in ["kerberos", "negotiate"] {
            let output = python(domain, "negotiate.py", &[&site.url("/"), protocol], With::Ticket(&cache));
            assert!(page(&output).contains("CORP\\alice"), "{}", shown(&output));
            assert_eq!(member(&output, "complete"), "true", "{}", shown(&output));
        }
    }
}

#[test]
fn ntlm_of_a_domain_user_is_refused_where_kerberos_alone_is_allowed() {
    if has_python() {
        let Some((domain, site)) = web("NTLM in a domain") else { return };
        let alice = account("alice");
        let output =
            python(domain, "negotiate.py", &[&site.url("/"), "ntlm"], With::Password(alice.name, alice.password));
        assert_eq!(member(&output, "status"), "401", "{}", shown(&output));
        let output =
            python(domain, "negotiate.py", &[&site.url("/"), "negotiate"], With::Password(alice.name, alice.password));
        assert_eq!(member(&output, "status"), "401", "{}", shown(&output));
        let line = &site.log(1, |line| line["reason"] == "policy.mechanism-off")[0];
        assert_eq!(line["substatus"], 2, "{line}");
    }
}

#[test]
fn impacket_signs_in_with_kerberos() {
    if has_python() {
        let Some((domain, site)) = web("impacket in a domain") else { return };
        let cache = ticket(domain, account("alice"));
        let output =
            run(domain.on("web", "kvno").args(["HTTP/web.corp.example.test"]).env("KRB5CCNAME", &cache), "", 60);
        assert!(output.status.success(), "{}", shown(&output));
        let output = python(domain, "impacket_get.py", &[&site.url("/"), "kerberos"], With::Ticket(&cache));
        assert!(page(&output).contains("CORP\\alice"), "{}", shown(&output));
    }
}
