//! Bad weather: whoever breaks a domain has one of their own.

use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::ad::{DNS, Domain, REALM, Running, account, eventually, read};
use crate::clients::ticket;
use crate::peer::{IWA, here, present, run, shown, text};
use crate::site::{Site, keytab_only, of_member};

/// curl with a ticket from another host, by the site's address: the name server is the domain controller.
fn get_with_ticket(site: &Site<'_>, host: &str, cache: &str) {
    let resolve = format!("web.corp.example.test:{}:192.0.2.20", site.port);
    let mut curl = site.domain.on(host, "curl");
    curl.args(["-s", "-f", "-m", "60", "--resolve", &resolve, "--negotiate", "-u", ":", &site.url("/")]);
    let output = run(curl.env("KRB5CCNAME", cache), "", 90);
    assert!(output.status.success(), "{}", shown(&output));
}

fn iwa(domain: &Domain, arguments: &[&str], stdin: &str) -> Output {
    run(domain.on("web", IWA).args(arguments).env("KRB5_CONFIG", "/nonexistent"), stdin, 90)
}

#[test]
fn kerberos_goes_on_without_any_domain_controller() {
    let Some(domain) = Domain::own("a domain controller that hangs or is gone") else { return };
    let mut site = Site::with_keytab(&domain, "web", "");
    let cache = ticket(&domain, account("alice"));
    let host = domain.new_host();
    get_with_ticket(&site, &host, &cache);
    domain.controller("STOP");
    get_with_ticket(&site, &host, &cache);
    domain.controller("KILL");
    get_with_ticket(&site, &host, &cache);
    site.restart();
    get_with_ticket(&site, &host, &cache);
}

#[test]
fn a_wrong_clock_is_named_as_such() {
    if !present("faketime", "/usr/bin/faketime") {
        return;
    }
    let Some(domain) = Domain::shared("a wrong clock") else { return };
    // Not the monotonic clock: what waits for a moment of it would wait for ten minutes more.
    let late = &["env", "FAKETIME_DONT_FAKE_MONOTONIC=1", "faketime", "-f", "+10m"];
    let site = Site::start_under(late, domain, "web", &keytab_only(domain, "web", ""));
    let (code, page) = site.curl(&ticket(domain, account("alice")), &["--negotiate", "-u", ":", &site.url("/")]);
    assert_eq!(code, "401", "{page}");
    let line = &site.log(1, |line| line["reason"] == "krb5.clock-skew")[0];
    let why = line["why"].as_str().unwrap_or_default();
    assert!(why.contains("seconds behind ours, 300 are allowed: set both clocks by NTP"), "{why}");
}

#[test]
fn without_a_word_of_configuration_the_dns_says_where_the_controllers_are() {
    let Some(domain) = Domain::shared("finding a domain") else { return };
    let output = iwa(domain, &["domain", DNS], "");
    let said = shown(&output);
    assert!(output.status.success(), "{said}");
    for wanted in ["NetBIOS name CORP", "dc1.corp.example.test (192.0.2.10, 2001:db8::10) answers", "clock agrees"] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    let site = Site::with_keytab(domain, "web", "");
    let output = get_by_password(&site);
    assert!(output.status.success(), "{}", shown(&output));
}

/// `iwa get` with alice's password and without a `krb5.conf`: the KDC is found by DNS.
fn get_by_password(site: &Site<'_>) -> Output {
    let alice = account("alice");
    let user = format!("{}@{REALM}", alice.name);
    let arguments = ["get", "--providers", "Negotiate:Kerberos", "--user", &user, "--password-stdin", &site.url("/")];
    iwa(site.domain, &arguments, &format!("{}\n", alice.password))
}

#[test]
fn a_name_server_that_does_not_know_the_domain_is_said_with_the_remedy() {
    let Some(domain) = Domain::shared("DNS without SRV records") else { return };
    let script = here().join("python/empty_dns.py").display().to_string();
    let log = domain.folder("dns").join("out");
    let _server = Running::start(domain.on("web", "python3").args(["-u", &script, "192.0.2.20"]), &log);
    eventually("the name server", 30, || {
        let said = read(&log);
        if said.contains("ready") { Ok(()) } else { Err(said) }
    });
    // One that knows nothing; one that is not there; a name that nobody has.
    for (server, said_of_it) in
        [("192.0.2.20", "no such name"), ("192.0.2.99", "no answer from the DNS server 192.0.2.99")]
    {
        let output = iwa(domain, &["domain", DNS, "--dns", server], "");
        assert_eq!(output.status.code(), Some(1), "{}", shown(&output));
        let said = text(&output.stderr);
        assert!(said.contains("no domain controller of corp.example.test is found"), "{said}");
        assert!(said.contains(said_of_it) && said.contains("servers = [\"dc1.corp.example.test\"]"), "{said}");
    }
    // The remedy is one.
    let output = iwa(domain, &["domain", DNS, "--dns", "192.0.2.20", "--server", "192.0.2.10"], "");
    assert!(output.status.success(), "{}", shown(&output));
}

#[test]
fn a_domain_by_ipv6_alone_is_found_and_signs_in() {
    let Some(domain) = Domain::own("a domain by IPv6 alone") else { return };
    domain.ipv6_only();
    let output = iwa(&domain, &["domain", DNS], "");
    let said = shown(&output);
    assert!(output.status.success() && said.contains("dc1.corp.example.test (2001:db8::10) answers"), "{said}");
    let site = Site::member(&domain);
    let output = get_by_password(&site);
    assert!(output.status.success(), "{}", shown(&output));
    let (code, page) = ntlm(&site);
    assert_eq!(code, "200", "{page}");
}

/// curl with alice's password by NTLM: the status, and headers and page.
fn ntlm(site: &Site<'_>) -> (String, String) {
    let user = format!("CORP\\alice:{}", account("alice").password);
    let resolve = format!("web.corp.example.test:{}:192.0.2.20", site.port);
    site.curl("FILE:/nonexistent", &["--resolve", &resolve, "-D", "-", "--ntlm", "-u", &user, &site.url("/")])
}

/// NTLM cannot be had, and the client is told to come back; the log says why, with `words`.
fn unavailable(site: &Site<'_>, words: &[&str]) {
    // A machine that is short of time answers late to the first question, and says so.
    eventually("the reason", 90, || {
        let (code, page) = ntlm(site);
        assert_eq!(code, "503", "{page}");
        assert!(page.to_lowercase().contains("retry-after: "), "{page}");
        let lines = site.log(1, |line| line["status"] == 503);
        let why = lines.last().and_then(|line| line["why"].as_str()).unwrap_or_default().to_owned();
        if words.iter().all(|word| why.contains(word)) { Ok(()) } else { Err(why) }
    });
}

fn recovers(site: &Site<'_>) {
    eventually("NTLM", 90, || match ntlm(site) {
        (code, _) if code == "200" => Ok(()),
        (code, page) => Err(format!("{code}: {page}")),
    });
}

#[test]
fn a_controller_is_stopped_hangs_and_comes_back_under_load() {
    let Some(domain) = Domain::own("a domain controller that comes and goes") else { return };
    let site = Site::member(&domain);
    let cache = ticket(&domain, account("alice"));
    let host = domain.new_host();
    get_with_ticket(&site, &host, &cache);
    recovers(&site);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Kerberos needs nobody: not one request fails, whatever becomes of the controller.
        let load = scope.spawn(|| {
            let mut count = 0;
            while !over.load(Ordering::Relaxed) {
                get_with_ticket(&site, &host, &cache);
                count += 1;
            }
            count
        });
        domain.controller("STOP");
        unavailable(&site, &["dc1.corp.example.test"]);
        domain.controller("CONT");
        recovers(&site);
        domain.controller("KILL");
        unavailable(&site, &["dc1.corp.example.test"]);
        domain.start_controller();
        recovers(&site);
        // Back as a controller that takes no NTLM at all.
        let conf = domain.dir.join("dc/etc/smb.conf");
        std::fs::write(&conf, read(&conf).replace("ntlm auth = ntlmv2-only", "ntlm auth = disabled")).expect("ours");
        domain.controller("KILL");
        domain.start_controller();
        eventually("a refusal", 90, || match ntlm(&site) {
            (code, _) if code == "401" => Ok(()),
            (code, page) => Err(format!("{code}: {page}")),
        });
        site.log(1, |line| line["why"].as_str().is_some_and(|why| why.contains("STATUS_NTLM_BLOCKED")));
        over.store(true, Ordering::Relaxed);
        assert!(load.join().expect("Kerberos goes on") > 3);
    });
}

#[test]
fn a_machine_password_that_the_domain_does_not_know_is_said_with_the_remedy() {
    let Some(domain) = Domain::shared("a wrong machine password") else { return };
    let mut site = Site::member(domain);
    recovers(&site);
    let account = format!("{}$", site.computer);
    domain.ok("dc", &["samba-tool", "user", "setpassword", &account, "--newpassword=Another-Pw1"]);
    site.restart();
    unavailable(&site, &["password", "iwa join"]);
}

#[test]
fn a_deleted_machine_account_is_said_with_the_remedy() {
    let Some(domain) = Domain::shared("a deleted machine account") else { return };
    let mut site = Site::member(domain);
    recovers(&site);
    domain.ok("dc", &["samba-tool", "computer", "delete", &site.computer]);
    site.restart();
    unavailable(&site, &["iwa join"]);
}

#[test]
fn rules_by_sid_go_on_without_the_directory_and_rules_by_name_answer_from_memory_or_not_at_all() {
    let Some(domain) = Domain::own("rules by name without a directory") else { return };
    let shown = domain.ok("dc", &["samba-tool", "group", "show", "Web Admins", "--attributes=objectSid"]);
    let sid = shown.split("objectSid: ").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("a SID");
    let (state, _) = domain.computer(std::time::Duration::ZERO);
    let keytab = domain.path("keytabs/web.keytab");
    let sections = format!(
        "{}\n[[route]]\npath = \"/name\"\ninherit = false\nallow = {{ roles = ['CORP\\Web Admins'] }}\n\n[[route]]\npath = \
         \"/sid\"\ninherit = false\nallow = {{ roles = [\"{sid}\"] }}\n",
        of_member(&format!("keytab = \"{keytab}\""), &state)
    );
    let mut site = Site::start(&domain, "web", &sections);
    // alice is a member by way of two other groups.
    let (alice, bob) = (ticket(&domain, account("alice")), ticket(&domain, account("bob")));
    let host = domain.new_host();
    let get = |site: &Site<'_>, cache: &str, path: &str| {
        let resolve = format!("web.corp.example.test:{}:192.0.2.20", site.port);
        let arguments = ["-s", "-m", "60", "-o", "/dev/null", "-w", "%{http_code}", "--negotiate", "-u", ":"];
        let mut curl = domain.on(&host, "curl");
        curl.args(arguments).args(["--resolve", &resolve, &site.url(path)]).env("KRB5CCNAME", cache);
        text(&run(&mut curl, "", 90).stdout)
    };
    // Tickets for the service, while there is somebody to give them.
    let both = |site: &Site<'_>, path: &str| (get(site, &alice, path), get(site, &bob, path));
    let pair = |alice: &str, bob: &str| (alice.to_owned(), bob.to_owned());
    assert_eq!(both(&site, "/sid"), pair("200", "403"));
    eventually("the directory", 60, || match both(&site, "/name") {
        found if found == pair("200", "403") => Ok(()),
        found => Err(format!("{found:?}")),
    });
    domain.controller("STOP");
    assert_eq!(both(&site, "/name"), pair("200", "403"));
    assert_eq!(both(&site, "/sid"), pair("200", "403"));
    // What was remembered is gone: never "allowed", and not "forbidden" either.
    site.restart();
    assert_eq!(both(&site, "/name"), pair("503", "503"));
    assert_eq!(both(&site, "/sid"), pair("200", "403"));
    domain.controller("CONT");
    eventually("the directory", 90, || match both(&site, "/name") {
        found if found == pair("200", "403") => Ok(()),
        found => Err(format!("{found:?}")),
    });
}
