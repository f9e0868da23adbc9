//! The double hop: curl to `iwa serve`, and that to Apache with mod_auth_gssapi, whose `REMOTE_USER` says who came.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::ad::{DNS, Domain, REALM, Running, account, eventually, read};
use crate::clients::ticket;
use crate::peer::{IWA, present, run, shown, text};
use crate::site::Site;

const MODULES: &str = "/usr/lib/apache2/modules";
const SPN: &str = "HTTP/backend.corp.example.test";

/// A member with a route for each way, and Apache behind it.
struct Hop<'a> {
    site: Site<'a>,
    _apache: Running,
}

impl<'a> Hop<'a> {
    fn start(domain: &'a Domain) -> Self {
        let (apache, port) = apache(domain);
        let (state, _) = domain.computer(Duration::ZERO);
        Self { site: Site::start(domain, "web", &sections(domain, &state, port)), _apache: apache }
    }

    /// What Apache says: `200 alice@REALM`, or the status alone.
    fn get(&self, cache: &str, path: &str, more: &[&str]) -> String {
        let url = self.site.url(path);
        // Names are known also when the domain's DNS is not there.
        let resolve = format!("web.{DNS}:{}:192.0.2.20", self.site.port);
        let arguments = [&["--negotiate", "-u", ":", "--resolve", &resolve, &url], more].concat();
        let (code, page) = self.site.curl(cache, &arguments);
        said(&code, &page)
    }

    /// What the log says of the refused requests for a path.
    fn why(&self, path: &str) -> String {
        let lines = self.site.log(1, |line| line["url"] == path && line["status"] != 401 && line["status"] != 200);
        lines.iter().map(Value::to_string).collect::<Vec<_>>().join("\n")
    }
}

fn said(code: &str, page: &str) -> String {
    match page.trim().strip_prefix("user=") {
        Some(user) if code == "200" => format!("200 {user}"),
        _ => code.to_owned(),
    }
}

fn sections(domain: &Domain, state: &str, port: u16) -> String {
    let keytab = domain.path("keytabs/web.keytab");
    let account = format!("principal = \"svc-web@{REALM}\"\nkeytab = \"{keytab}\"\n");
    let user = |how: &str| format!("as = \"user\"\nhow = [{how}]\nallow = {{ users = [\"*\"] }}\n{account}");
    let route = |path: &str, service: &str, outbound: &str| {
        format!(
            "[[route]]\npath = \"/{path}\"\nproxy = \"http://127.0.0.1:{port}\"\nallow = {{ users = [\"*\"] }}\n\
             [route.outbound]\nservice = \"{service}\"\n{outbound}\n"
        )
    };
    let routes = [
        route("constrained", SPN, &user("\"constrained\"")),
        route("tgt", SPN, &user("\"delegated-tgt\"")),
        route("transition", SPN, &user("\"transition\"")),
        route("any", SPN, &user("\"delegated-tgt\", \"constrained\", \"transition\"")),
        route("self", SPN, &format!("as = \"self\"\n{account}")),
        route(
            "bob",
            SPN,
            &format!("as = \"user\"\nhow = [\"transition\"]\nallow = {{ users = ['CORP\\bob'] }}\n{account}"),
        ),
        route("elsewhere", &format!("HTTP/dc1.{DNS}"), &user("\"constrained\"")),
        route("wrong", &format!("HTTP/dc1.{DNS}"), &format!("as = \"self\"\n{account}")),
    ];
    format!(
        "[authentication]\nanonymous = false\n[authentication.windows]\nproviders = [\"Negotiate\", \"NTLM\"]\n\n[kerberos]\n\
         keytab = \"{keytab}\"\n\n[[domain]]\nname = \"{DNS}\"\nstate = \"{state}\"\n\n[[route]]\npath = \"/\"\nallow = {{ users \
         = [\"*\"] }}\n\n{}",
        routes.concat()
    )
}

/// Apache as HTTP/backend, which says under every path who came.
fn apache(domain: &Domain) -> (Running, u16) {
    static PORT: std::sync::atomic::AtomicU16 = std::sync::atomic::AtomicU16::new(7000);
    let port = PORT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let root = domain.folder("apache");
    let dir = root.display();
    let script = root.join("who");
    std::fs::write(&script, "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nuser=%s\\n' \"$REMOTE_USER\"\n")
        .expect("written");
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("ours");
    let modules: String =
        ["mpm_event", "authn_core", "authz_core", "authz_user", "alias", "mime", "auth_gssapi", "cgid"]
            .iter()
            .map(|name| format!("LoadModule {name}_module {MODULES}/mod_{name}.so\n"))
            .collect();
    let conf = format!(
        "ServerRoot {dir}\nServerName backend.{DNS}\nListen {port}\nPidFile {dir}/pid\n{modules}TypesConfig /etc/mime.types\n\
         ErrorLog {dir}/error.log\nScriptSock {dir}/cgi\nUser root\nGroup root\nScriptAliasMatch .* {}\n<Location />\nAuthType \
         GSSAPI\nAuthName x\nGssapiAllowedMech krb5\nGssapiCredStore keytab:{}\nRequire valid-user\n</Location>\n",
        script.display(),
        domain.path("keytabs/backend.keytab")
    );
    std::fs::write(root.join("apache.conf"), conf.replace("User root\nGroup root\n", "")).expect("written");
    let log = root.join("out");
    let mut command = domain.on("web", "/usr/sbin/apache2");
    command.args(["-f", &root.join("apache.conf").display().to_string(), "-X"]);
    let mut apache = Running::start(command.env("KRB5RCACHENAME", "none:"), &log);
    let probe = format!(": </dev/tcp/127.0.0.1/{port}");
    eventually("Apache", 60, || {
        assert!(!apache.exited(), "Apache ends: {}{}", read(&log), read(&root.join("error.log")));
        let output = run(domain.on("web", "bash").args(["-c", &probe]), "", 10);
        output.status.success().then_some(()).ok_or_else(|| shown(&output))
    });
    (apache, port)
}

fn there(what: &str) -> Option<&'static Domain> {
    let apache =
        present("Apache", "/usr/sbin/apache2") && present("mod_auth_gssapi", format!("{MODULES}/mod_auth_gssapi.so"));
    if apache { Domain::shared(what) } else { None }
}

#[test]
fn each_way_signs_in_to_the_application_as_the_visitor_and_no_other() {
    let Some(domain) = there("the double hop") else { return };
    let hop = Hop::start(domain);
    for name in ["alice", "jörg"] {
        let cache = ticket(domain, account(name));
        let wanted = format!("200 {name}@{REALM}");
        for path in ["/constrained/x", "/transition/x", "/any/x", "/constrained/again"] {
            assert_eq!(hop.get(&cache, path, &[]), wanted, "{path}: {}", hop.why(path));
        }
        assert_eq!(hop.get(&cache, "/tgt/x", &["--delegation", "always"]), wanted);
        assert_eq!(hop.get(&cache, "/self/x", &[]), format!("200 svc-web@{REALM}"));
    }
    // Without a forwarded TGT there is no other way, unless another is allowed.
    let cache = ticket(domain, account("bob"));
    assert_eq!(hop.get(&cache, "/tgt/none", &[]), "403");
    let why = hop.why("/tgt/none");
    assert!(why.contains("brought nothing that delegated-tgt could be done with"), "{why}");
}

#[test]
fn who_came_by_ntlm_goes_on_by_protocol_transition_and_only_whom_the_rules_allow() {
    let Some(domain) = there("protocol transition") else { return };
    let hop = Hop::start(domain);
    let ntlm = |name: &str, path: &str| {
        let user = format!("CORP\\{name}:{}", account(name).password);
        let (code, page) = hop.site.curl("FILE:/nonexistent", &["--ntlm", "-u", &user, &hop.site.url(path)]);
        said(&code, &page)
    };
    for (name, path, wanted) in [
        ("alice", "/transition/n", "200 alice@CORP.EXAMPLE.TEST"),
        ("bob", "/any/n", "200 bob@CORP.EXAMPLE.TEST"),
        ("bob", "/bob/n", "200 bob@CORP.EXAMPLE.TEST"),
        ("alice", "/bob/a", "403"),
        ("alice", "/constrained/n", "403"),
    ] {
        assert_eq!(ntlm(name, path), wanted, "{name} {path}: {}", hop.why(path));
    }
    let why = hop.why("/bob/a");
    assert!(why.contains("the rules of [route.outbound] do not let the gateway act for"), "{why}");
}

#[test]
fn a_user_that_must_not_be_delegated_is_refused_in_words() {
    let Some(domain) = there("sensitive accounts") else { return };
    let hop = Hop::start(domain);
    let cache = ticket(domain, account("dave"));
    for path in ["/constrained/d", "/transition/d", "/any/d"] {
        assert_eq!(hop.get(&cache, path, &[]), "403", "{path}");
        let why = hop.why(path);
        assert!(why.contains("not forwardable") && why.contains("Protected Users"), "{path}: {why}");
    }
}

#[test]
fn an_application_that_the_account_may_not_act_at_or_that_refuses_is_told_apart_in_words() {
    let Some(domain) = there("refusals of the double hop") else { return };
    let hop = Hop::start(domain);
    let cache = ticket(domain, account("alice"));
    assert_eq!(hop.get(&cache, "/elsewhere/x", &[]), "403");
    let why = hop.why("/elsewhere/x");
    assert!(why.contains("msDS-AllowedToDelegateTo must list the service"), "{why}");
    // Apache has no key of that name: its 401 is the gateway's affair and not the visitor's.
    let url = hop.site.url("/wrong/x");
    let (code, page) = hop.site.curl(&cache, &["-i", "--negotiate", "-u", ":", &url]);
    assert_eq!(code, "502", "{page}");
    let answer = page.rsplit("HTTP/1.1 502").next().unwrap_or_default();
    assert!(!answer.to_lowercase().contains("www-authenticate: negotiate\r"), "{page}");
    let why = hop.why("/wrong/x");
    assert!(
        why.contains("the ticket is of svc-web") && why.contains("has the application a key of that name"),
        "{why}"
    );
}

#[test]
fn two_users_at_once_are_never_each_other() {
    let Some(domain) = there("two users at once") else { return };
    let hop = Hop::start(domain);
    let users = ["alice", "bob"].map(|name| (name, ticket(domain, account(name))));
    std::thread::scope(|scope| {
        for round in 0..3 {
            for (name, cache) in &users {
                let hop = &hop;
                scope.spawn(move || {
                    let urls: Vec<String> =
                        (0..20).map(|n| hop.site.url(&format!("/any/{name}-{round}-{n}"))).collect();
                    let mut command = hop.site.domain.on("web", "curl");
                    command.args(["-s", "-m", "60", "--negotiate", "-u", ":"]).args(&urls).env("KRB5CCNAME", cache);
                    let output = run(&mut command, "", 120);
                    let wanted = format!("user={name}@{REALM}\n").repeat(urls.len());
                    assert_eq!(text(&output.stdout), wanted, "{}", shown(&output));
                });
            }
        }
    });
}

#[test]
fn without_a_kdc_known_tickets_go_on_and_others_are_503_with_the_reason() {
    if there("a silent KDC").is_none() {
        return;
    }
    let Some(domain) = Domain::own("a silent KDC") else { return };
    let hop = Hop::start(&domain);
    let users = ["alice", "bob"].map(|name| ticket(&domain, account(name)));
    assert_eq!(hop.get(&users[0], "/constrained/x", &[]), format!("200 alice@{REALM}"));
    // bob has a ticket for the gateway, and the gateway has none of his.
    let (code, _) = hop.site.curl(&users[1], &["--negotiate", "-u", ":", &hop.site.url("/")]);
    assert_eq!(code, "200");
    domain.controller("STOP");
    assert_eq!(hop.get(&users[0], "/constrained/still", &[]), format!("200 alice@{REALM}"));
    assert_eq!(hop.get(&users[1], "/constrained/silent", &[]), "503");
    assert_eq!(hop.get(&users[1], "/constrained/silent", &[]), "503");
    let why = hop.why("/constrained/silent");
    assert!(why.contains("no KDC answers") || why.contains("there was no ticket within"), "{why}");
    domain.controller("CONT");
    eventually("bob's ticket", 60, || match hop.get(&users[1], "/constrained/later", &[]) {
        found if found == format!("200 bob@{REALM}") => Ok(()),
        found => Err(found),
    });
}

#[test]
fn check_asks_the_kdc_whether_the_account_may() {
    let Some(domain) = there("iwa check of the double hop") else { return };
    let (state, _) = domain.computer(Duration::ZERO);
    let dir = domain.folder("check");
    let config = format!("[server]\nlisten = [\"127.0.0.1:8080\"]\n{}", sections(domain, &state, 7999));
    std::fs::write(dir.join("iwa.toml"), config).expect("written");
    let out = check(domain, &dir);
    for wanted in [
        "/constrained signs in as the visitor",
        "HTTP/backend.corp.example.test: the KDC gives tickets of its users",
        "HTTP/dc1.corp.example.test: ",
        "msDS-AllowedToDelegateTo",
    ] {
        assert!(out.contains(wanted), "{wanted}\n{out}");
    }
}

fn check(domain: &Domain, dir: &Path) -> String {
    let config = dir.join("iwa.toml").display().to_string();
    let mut command = domain.on("web", IWA);
    command.args(["check", "--config", &config, "--outbound-user", "alice"]).env("KRB5_CONFIG", "/nonexistent");
    shown(&run(&mut command, "", 120))
}
