//! MIT Kerberos, both ways: its `kinit`, `kvno` and `klist` against our KDC, and its KDC with a keytab of its own behind our site.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::lab::{ALICE, JOERG, Lab, Options, REALM, free_port, fresh_dir, present, run, shown, text};

/// An MIT realm of its own.
pub(crate) struct MitKdc {
    pub(crate) dir: PathBuf,
    child: Child,
}

impl MitKdc {
    /// Makes the realm with alice and `HTTP/localhost`, and starts its KDC.
    pub(crate) fn start() -> Self {
        let (dir, port) = (fresh_dir(), free_port());
        let path = |name: &str| dir.join(name).display().to_string();
        std::fs::write(
            dir.join("kdc.conf"),
            format!(
                "[kdcdefaults]\n kdc_listen = 127.0.0.1:{port}\n kdc_tcp_listen = 127.0.0.1:{port}\n[realms]\n {REALM} = {{\n  \
                 database_name = {}\n  key_stash_file = {}\n  acl_file = {}\n  master_key_type = aes256-cts\n  \
                 supported_enctypes = aes256-cts:normal aes128-cts:normal aes256-sha2:normal aes128-sha2:normal\n }}\n\
                 [logging]\n kdc = FILE:{}\n",
                path("principal"),
                path("stash"),
                path("acl"),
                path("kdc.log"),
            ),
        )
        .expect("written");
        std::fs::write(
            dir.join("krb5.conf"),
            format!(
                "[libdefaults]\n default_realm = {REALM}\n dns_lookup_kdc = false\n dns_lookup_realm = false\n \
                 dns_canonicalize_hostname = false\n rdns = false\n[realms]\n {REALM} = {{\n  kdc = 127.0.0.1:{port}\n }}\n\
                 [domain_realm]\n localhost = {REALM}\n"
            ),
        )
        .expect("written");
        std::fs::write(dir.join("acl"), "").expect("written");
        let tool = |program: &str| {
            let mut command = Command::new(format!("/usr/sbin/{program}"));
            command.env("KRB5_CONFIG", dir.join("krb5.conf")).env("KRB5_KDC_PROFILE", dir.join("kdc.conf"));
            command
        };
        let output = run(tool("kdb5_util").args(["create", "-s", "-W", "-r", REALM, "-P", "master"]), "", 30);
        assert!(output.status.success(), "kdb5_util: {}", shown(&output));
        for query in [
            format!("addprinc -pw \"{}\" {}", ALICE.1, ALICE.0),
            "addprinc -randkey HTTP/localhost".to_owned(),
            format!("ktadd -k {} HTTP/localhost", path("http.keytab")),
        ] {
            let output = run(tool("kadmin.local").args(["-r", REALM, "-q", &query]), "", 30);
            assert!(output.status.success(), "kadmin.local: {}", shown(&output));
        }
        let child = tool("krb5kdc")
            .args(["-r", REALM, "-n"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("krb5kdc can be started");
        let kdc = Self { dir, child };
        let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(std::time::Instant::now() < end, "krb5kdc does not listen");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        kdc
    }
}

impl Drop for MitKdc {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn there() -> bool {
    present("MIT kinit", "/usr/bin/kinit")
}

#[test]
fn kinit_kvno_and_klist_against_our_kdc() {
    if !there() {
        return;
    }
    let lab = Lab::start();
    lab.kinit(JOERG);
    lab.kinit(ALICE);
    let output = run(lab.peer("kvno").arg("HTTP/localhost"), "", 30);
    assert!(output.status.success(), "kvno: {}", shown(&output));
    let output = run(lab.peer("klist").args(["-e", "-f"]), "", 30);
    let list = text(&output.stdout);
    assert!(list.contains("krbtgt/EXAMPLE.TEST@EXAMPLE.TEST") && list.contains("HTTP/localhost"), "{list}");
    assert!(list.contains("aes256-cts-hmac"), "{list}");
}

#[test]
fn each_aes_encryption_type_gets_a_ticket_and_signs_in() {
    if !there() || !present("curl", "/usr/bin/curl") {
        return;
    }
    let lab = Lab::start();
    let conf = std::fs::read_to_string(lab.path("krb5.conf")).expect("our KDC wrote it");
    for etype in [
        "aes128-cts-hmac-sha1-96",
        "aes256-cts-hmac-sha1-96",
        "aes128-cts-hmac-sha256-128",
        "aes256-cts-hmac-sha384-192",
    ] {
        let only = format!(
            "[libdefaults]\n permitted_enctypes = {etype}\n default_tkt_enctypes = {etype}\n default_tgs_enctypes = {etype}\n{conf}"
        );
        std::fs::write(lab.path("krb5.conf"), only).expect("written");
        let _ = std::fs::remove_file(lab.path("ccache"));
        lab.kinit(ALICE);
        let output = run(
            lab.peer("curl").args([
                "-s",
                "-o",
                "/dev/null",
                "-w",
                "%{http_code}",
                "--negotiate",
                "-u",
                ":",
                &lab.url("/"),
            ]),
            "",
            30,
        );
        assert_eq!(text(&output.stdout), "200", "{etype}: {}", shown(&output));
        let list = text(&run(lab.peer("klist").arg("-e"), "", 30).stdout);
        assert!(list.contains(etype), "{list}");
    }
}

#[test]
fn a_wrong_password_and_an_unknown_user_get_no_ticket() {
    if !there() {
        return;
    }
    let lab = Lab::start();
    let output = run(lab.peer("kinit").arg(format!("alice@{REALM}")), "wrong\n", 30);
    assert!(!output.status.success());
    assert!(
        text(&output.stderr).contains("Password incorrect")
            || text(&output.stderr).contains("Preauthentication failed"),
        "{}",
        shown(&output)
    );
    let output = run(lab.peer("kinit").arg(format!("nobody@{REALM}")), "wrong\n", 30);
    assert!(text(&output.stderr).contains("not found in Kerberos database"), "{}", shown(&output));
}

#[test]
fn tickets_of_an_mit_kdc_sign_in_with_its_keytab() {
    if !there() || !present("MIT KDC", "/usr/sbin/krb5kdc") || !present("curl", "/usr/bin/curl") {
        return;
    }
    let kdc = MitKdc::start();
    let (keytab, conf) = (kdc.dir.join("http.keytab"), kdc.dir.join("krb5.conf"));
    let lab =
        Lab::with(&Options { kerberos: "pac = \"optional\"", foreign: Some((&keytab, &conf)), ..Options::default() });
    lab.kinit(ALICE);
    let output = run(
        lab.peer("curl").args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "--negotiate", "-u", ":", &lab.url("/")]),
        "",
        30,
    );
    assert_eq!(text(&output.stdout), "200", "{}", shown(&output));
    let (status, user) = &lab.statuses(1)[0];
    assert_eq!((status.as_str(), user.as_str()), ("200 0 0", "EXAMPLE.TEST\\alice"));
}
