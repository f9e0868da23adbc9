//! `iwa get` against Apache with mod_auth_gssapi and gss-ntlmssp.

use std::process::Command;

use crate::lab::{ALICE, BOB, Lab, Options, REALM, free_port, present, run, shown, text};

const MODULES: &str = "/usr/lib/apache2/modules";

/// An Apache beside the lab, with Kerberos under `/krb` and NTLM under `/ntlm`.
fn apache(lab: &mut Lab) -> u16 {
    let port = free_port();
    apache_at(lab, port);
    port
}

fn apache_at(lab: &mut Lab, port: u16) {
    let root = lab.dir.clone();
    let dir = root.display();
    std::fs::create_dir_all(root.join("www")).expect("a folder can be made");
    std::fs::write(root.join("www/index.html"), "<h1>From Apache</h1>\n").expect("written");
    std::fs::write(root.join("ntlm_users"), format!("EXAMPLE:{}:{}\nEXAMPLE:{}:{}\n", ALICE.0, ALICE.1, BOB.0, BOB.1))
        .expect("written");
    let modules: String =
        ["mpm_event", "authn_core", "authz_core", "authz_user", "alias", "mime", "auth_gssapi", "unixd"]
            .iter()
            .filter(|name| std::path::Path::new(&format!("{MODULES}/mod_{name}.so")).exists())
            .map(|name| format!("LoadModule {name}_module {MODULES}/mod_{name}.so\n"))
            .collect();
    let conf = format!(
        "ServerRoot {dir}\nServerName localhost\nListen 127.0.0.1:{port}\nPidFile {dir}/apache.pid\n{modules}\
         TypesConfig /etc/mime.types\nErrorLog {dir}/apache.error.log\n\
         CustomLog {dir}/apache.access.log \"%>s %u %{{remote}}p\"\nLogLevel info\nDocumentRoot {dir}/www\n\
         Alias /krb {dir}/www\nAlias /ntlm {dir}/www\n<Directory {dir}/www>\nRequire all granted\n</Directory>\n\
         <Location /krb>\nAuthType GSSAPI\nAuthName x\nGssapiAllowedMech krb5\nRequire valid-user\n</Location>\n\
         <Location /ntlm>\nAuthType GSSAPI\nAuthName x\nGssapiAllowedMech ntlmssp\nGssapiConnectionBound On\nRequire valid-user\n</Location>\n"
    );
    let file = lab.path("apache.conf");
    std::fs::write(&file, conf).expect("written");
    let mut command = Command::new("/usr/sbin/apache2");
    command
        .args(["-f", &file, "-X"])
        .env("KRB5_CONFIG", lab.path("krb5.conf"))
        .env("KRB5_KTNAME", lab.path("http.keytab"))
        .env("KRB5RCACHENAME", "none:")
        .env("NTLM_USER_FILE", lab.path("ntlm_users"));
    lab.daemon("apache", &mut command, port);
}

fn there() -> bool {
    present("Apache", "/usr/sbin/apache2")
        && present("mod_auth_gssapi", format!("{MODULES}/mod_auth_gssapi.so"))
        && present("gss-ntlmssp", "/usr/lib/x86_64-linux-gnu/gssntlmssp/gssntlmssp.so")
}

#[test]
fn iwa_get_signs_in_with_a_ticket_from_a_ccache() {
    if !there() || !present("MIT kinit", "/usr/bin/kinit") {
        return;
    }
    let mut lab = Lab::start();
    let port = apache(&mut lab);
    lab.kinit(ALICE);
    let url = format!("http://localhost:{port}/krb/index.html");
    let body = lab.iwa(&["get", "--allow", "localhost", &url], "");
    assert_eq!(body, "<h1>From Apache</h1>\n");
}

#[test]
fn iwa_get_signs_in_with_a_password_and_our_own_as_exchange() {
    if !there() {
        return;
    }
    let mut lab = Lab::start();
    let port = apache(&mut lab);
    let url = format!("http://localhost:{port}/krb/index.html");
    let user = format!("{}@{REALM}", ALICE.0);
    let body = lab.iwa(&["get", "--user", &user, "--password-stdin", &url], &format!("{}\n", ALICE.1));
    assert_eq!(body, "<h1>From Apache</h1>\n");
}

#[test]
fn iwa_get_signs_in_with_ntlm() {
    if !there() {
        return;
    }
    let mut lab = Lab::start();
    let port = apache(&mut lab);
    let url = format!("http://localhost:{port}/ntlm/index.html");
    let user = format!("EXAMPLE\\{}", ALICE.0);
    let output = run(
        lab.peer(crate::lab::IWA).args([
            "get",
            "--user",
            &user,
            "--password-stdin",
            "--providers",
            "Negotiate,NTLM",
            &url,
        ]),
        &format!("{}\n", ALICE.1),
        60,
    );
    assert!(output.status.success(), "{}", shown(&output));
    assert_eq!(text(&output.stdout), "<h1>From Apache</h1>\n", "{}", shown(&output));
}

/// A gateway that passes everything through to Apache.
fn passing_through() -> Lab {
    let port = free_port();
    let route = |path: &str| {
        format!(
            "[[route]]\npath = \"{path}\"\nproxy = \"http://127.0.0.1:{port}\"\nallow = {{ users = [\"*\"] }}\n\
             [route.upstream]\npass-through = true\n"
        )
    };
    let more = route("/krb") + &route("/ntlm");
    let mut lab = Lab::with(&Options { more: &more, ..Options::default() });
    apache_at(&mut lab, port);
    lab
}

/// `status user port` of Apache's requests.
fn access(lab: &Lab) -> Vec<(String, String, String)> {
    let log = std::fs::read_to_string(lab.path("apache.access.log")).unwrap_or_default();
    let fields = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    log.lines().map(fields).filter_map(|f| Some((f.first()?.clone(), f.get(1)?.clone(), f.last()?.clone()))).collect()
}

#[test]
fn ntlm_to_apache_goes_through_and_two_users_at_once_have_a_connection_each() {
    if !there() {
        return;
    }
    let lab = passing_through();
    let url = lab.url("/ntlm/index.html");
    std::thread::scope(|scope| {
        for round in 0..8 {
            let (lab, url) = (&lab, &url);
            scope.spawn(move || {
                let (name, password) = if round % 2 == 0 { ALICE } else { BOB };
                let user = format!("EXAMPLE\\{name}");
                // gss-ntlmssp does not take curl's NTLM, straight or through here.
                let mut get = lab.peer(crate::lab::IWA);
                get.args(["get", "--user", &user, "--password-stdin", "--providers", "Negotiate,NTLM", url]);
                let output = run(&mut get, &format!("{password}\n"), 60);
                assert_eq!(text(&output.stdout), "<h1>From Apache</h1>\n", "{}", shown(&output));
            });
        }
    });
    let requests = access(&lab);
    let mut owners = std::collections::BTreeMap::<&str, &str>::new();
    for (_, user, port) in requests.iter().filter(|(status, ..)| status == "200") {
        let owner = owners.entry(port).or_insert(user);
        assert_eq!(owner, user, "a connection of {owner} was {user}'s, too: {requests:?}");
    }
    assert_eq!(owners.len(), 8, "a connection for each client: {requests:?}");
    for (name, _) in [ALICE, BOB] {
        assert_eq!(owners.values().filter(|owner| owner.contains(name)).count(), 4, "{owners:?}");
    }
}

#[test]
fn kerberos_to_apache_goes_through_with_the_gateways_name() {
    if !there() || !present("MIT kinit", "/usr/bin/kinit") || !present("curl", "/usr/bin/curl") {
        return;
    }
    let lab = passing_through();
    lab.kinit(ALICE);
    let url = lab.url("/krb/index.html");
    let output = run(lab.peer("curl").args(["-sS", "-i", "--negotiate", "-u", ":", &url]), "", 60);
    let answer = text(&output.stdout);
    assert!(answer.contains("200 OK") && answer.ends_with("<h1>From Apache</h1>\n"), "{}", shown(&output));
    assert!(answer.contains("www-authenticate: Negotiate "), "Apache's proof of itself: {answer}");
    assert!(access(&lab).iter().any(|(status, user, _)| status == "200" && user.contains(ALICE.0)));
}
