//! A machine that Samba joined, and whose winbind is asked: `backend = "ntlm-auth"`, against every account of the domain.

use crate::ad::{DNS, Domain, REALM, Running, account, accounts, eventually};
use crate::kerberos::of_the_domain;
use crate::peer::{present, run, shown, text};
use crate::site::{Site, rows};

/// A host of its own that `net ads join` made a member, with a winbindd that answers.
fn member(domain: &Domain) -> (String, Running) {
    let host = domain.new_host();
    let conf = format!(
        "[global]\n\tworkgroup = CORP\n\trealm = {REALM}\n\tnetbios name = {host}\n\tsecurity = ads\n\tidmap config * : backend = \
         tdb\n\tidmap config * : range = 3000-7999\n\tidmap config CORP : backend = rid\n\tidmap config CORP : range = \
         10000-999999\n\twinbind scan trusted domains = no\n\twinbind max domain connections = 4\n\tlogging = file\n"
    );
    std::fs::write(domain.dir.join(&host).join("etc/smb.conf"), conf).expect("written");
    let name = format!("dnshostname={host}.{DNS}");
    domain.ok(&host, &["net", "ads", "join", "-U", "Administrator%Passw0rd!Adm", "--no-dns-updates", &name]);
    let mut command = domain.on(&host, "winbindd");
    let winbindd =
        Running::start(command.args(["-F", "--no-process-group"]), &domain.folder("winbindd").join("winbindd.out"));
    eventually("winbindd", 60, || {
        let output = run(domain.on(&host, "wbinfo").arg("-t"), "", 20);
        output.status.success().then_some(()).ok_or_else(|| shown(&output))
    });
    (host, winbindd)
}

fn site<'a>(domain: &'a Domain, host: &str) -> Site<'a> {
    let sections = format!(
        "[authentication.windows]\nproviders = [\"NTLM\"]\n[authentication.basic]\nenabled = true\n[ntlm]\ncomputer-name = \
         \"{}\"\ndomain-name = \"CORP\"\n[[domain]]\nname = \"{DNS}\"\nbackend = \"ntlm-auth\"\nstate = \"nowhere\"\n[[route]]\npath = \
         \"/\"\nallow = {{ users = [\"*\"] }}\n[[route]]\npath = \"/alice\"\ninherit = false\nallow = {{ users = ['CORP\\alice'] }}\n",
        host.to_uppercase()
    );
    Site::start(domain, host, &sections)
}

/// curl on the host itself: Basic is taken without TLS from there alone.
fn curl(site: &Site<'_>, way: &str, name: &str, password: &str, path: &str) -> (String, String) {
    let url = format!("http://127.0.0.1:{}{path}", site.port);
    let mut command = site.domain.on(&site.host, "curl");
    command.args(["-s", "-S", "-m", "60", "-w", "\n%{http_code}", way, "-u", &format!("{name}:{password}"), &url]);
    let output = run(&mut command, "", 90);
    let out = text(&output.stdout);
    let (page, code) = out.rsplit_once('\n').unwrap_or_else(|| panic!("curl: {}", shown(&output)));
    (code.to_owned(), page.to_owned())
}

#[test]
fn winbind_answers_for_every_account_of_the_domain() {
    if !present("winbind", "/usr/sbin/winbindd") || !present("ntlm_auth", "/usr/bin/ntlm_auth") {
        return;
    }
    let Some(domain) = Domain::shared("winbind's ntlm_auth") else { return };
    let (host, _winbindd) = member(domain);
    let site = site(domain, &host);
    let kept_out = [
        ("carol", "ACCOUNT_DISABLED"),
        ("dave", "ACCOUNT_RESTRICTION"),
        ("erin", "PASSWORD_MUST_CHANGE"),
        ("frank", "ACCOUNT_LOCKED_OUT"),
        ("grace", "ACCOUNT_EXPIRED"),
        ("heidi", "INVALID_LOGON_HOURS"),
        ("ivan", "INVALID_WORKSTATION"),
        ("judy", "PASSWORD_EXPIRED"),
    ];
    for (name, status) in kept_out {
        let (code, _) = curl(&site, "--basic", name, account(name).password, "/");
        assert_eq!(code, "401", "{name}");
        site.log(1, |line| line.to_string().contains(&format!("STATUS_{status} ")));
    }
    for account in accounts() {
        if account.name.ends_with('$') || kept_out.iter().any(|(name, _)| *name == account.name) {
            continue;
        }
        let (code, page) = curl(&site, "--basic", account.name, account.password, "/");
        let who = rows(&page, "Account");
        assert_eq!((code.as_str(), who.len()), ("200", 1), "{} {page}", account.name);
        // winbind says names in small letters, of its own making beyond ASCII (it knows no final sigma).
        if account.name.is_ascii() {
            assert!(who[0].eq_ignore_ascii_case(&format!("CORP\\{}", account.name)), "{who:?}");
        }
        assert_eq!(rows(&page, "Realm"), [REALM], "{}", account.name);
    }
    for name in ["alice", "bob", "jörg", "many"] {
        let (_, page) = curl(&site, "--basic", name, account(name).password, "/");
        assert_eq!(of_the_domain(rows(&page, "Group")), domain.token_groups(account(name)), "{name}");
    }
    let alice = account("alice");
    for (way, name, password, path, wanted) in [
        ("--ntlm", "alice", alice.password, "/alice", "200"),
        ("--ntlm", "CORP\\alice", alice.password, "/alice", "200"),
        ("--ntlm", "bob", account("bob").password, "/alice", "403"),
        ("--ntlm", "alice", "wrong", "/", "401"),
        ("--basic", "alice@corp.example.test", alice.password, "/alice", "200"),
        ("--basic", "alice", "", "/", "401"),
        ("--basic", "nobody", alice.password, "/", "401"),
        // No name with a line in it comes so far.
        ("--basic", "alice\nUsername: bob", alice.password, "/", "400"),
    ] {
        let (code, page) = curl(&site, way, name, password, path);
        assert_eq!(code, wanted, "{way} {name}: {page}");
    }
}

#[test]
fn a_winbind_that_stops_is_503_and_one_that_starts_again_is_used() {
    if !present("winbind", "/usr/sbin/winbindd") || !present("ntlm_auth", "/usr/bin/ntlm_auth") {
        return;
    }
    let Some(domain) = Domain::shared("a winbind that stops") else { return };
    let (host, winbindd) = member(domain);
    let site = site(domain, &host);
    let alice = account("alice");
    assert_eq!(curl(&site, "--ntlm", alice.name, alice.password, "/").0, "200");
    winbindd.terminate();
    assert_eq!(curl(&site, "--ntlm", alice.name, alice.password, "/").0, "503");
    let mut command = domain.on(&host, "winbindd");
    let _winbindd =
        Running::start(command.args(["-F", "--no-process-group"]), &domain.folder("winbindd").join("winbindd.out"));
    eventually("a logon", 60, || {
        let (code, page) = curl(&site, "--ntlm", alice.name, alice.password, "/");
        (code == "200").then_some(()).ok_or(page)
    });
}
