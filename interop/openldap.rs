//! OpenLDAP with the Samba schema, for directories that are not Active Directory: NTLM by `sambaNTPassword`, Basic by bind,
//! groups by name and DN. slapd is a process of the test's own on a loopback port.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::lab::{IWA, free_port, fresh_dir, here, interop_home, member, present, run, shown, text};

const SUFFIX: &str = "dc=example,dc=test";
const READER: &str = "cn=reader,dc=example,dc=test";
const ALICE: (&str, &str) = ("alice", "Alice-Pw1");
const BOB: (&str, &str) = ("bob", "Bob-Pw1");
const CAROL: (&str, &str) = ("carol", "Carol-Pw1");
const JOERG: (&str, &str) = ("jörg", "Pässwörd€1");

/// A site whose users are in a slapd.
struct Site {
    dir: PathBuf,
    port: u16,
    ldaps: u16,
    slapd: Option<Process>,
    _iwa: Option<Process>,
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What is different from the usual.
#[derive(Default)]
struct Options {
    /// The reader may not see the hashes.
    blind: bool,
    /// The site trusts another CA than the one that signed slapd's certificate.
    stranger: bool,
}

impl Site {
    fn start(options: &Options) -> Option<Self> {
        if !present("OpenLDAP", "/usr/sbin/slapd") || !present("curl", "/usr/bin/curl") {
            return None;
        }
        let mut site = Self { dir: fresh_dir(), port: free_port(), ldaps: free_port(), slapd: None, _iwa: None };
        site.certificates(options.stranger);
        site.database(options.blind);
        site.start_slapd();
        site.configure(&format!("ldaps://localhost:{}", site.ldaps));
        let log = std::fs::File::create(site.dir.join("serve.log")).expect("a log can be made");
        let iwa = Command::new(IWA)
            .args(["serve", "--config", &site.path("iwa.toml")])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file handle can be cloned"))
            .stderr(log)
            .spawn()
            .expect("iwa can be started");
        site._iwa = Some(Process(iwa));
        site.wait_for(site.port, "serve.log");
        Some(site)
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.dir.join(name), text).expect("a file can be written");
    }

    fn certificates(&self, stranger: bool) {
        let ca = |name: &str| {
            let mut parameters = rcgen::CertificateParams::default();
            parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
            let key = rcgen::KeyPair::generate().expect("a key can be made");
            let certificate = parameters.self_signed(&key).expect("a certificate can be made");
            (certificate.pem(), rcgen::Issuer::new(parameters, key))
        };
        let (own_pem, own) = ca("The directory's CA");
        let (other_pem, _) = ca("Another CA");
        let key = rcgen::KeyPair::generate().expect("a key can be made");
        let parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        let server = parameters.signed_by(&key, &own).expect("a certificate can be made");
        self.write("server.pem", &server.pem());
        self.write("server.key", &key.serialize_pem());
        self.write("ca.pem", if stranger { &other_pem } else { &own_pem });
    }

    fn database(&self, blind: bool) {
        let db = self.dir.join("db");
        std::fs::create_dir_all(&db).expect("a folder can be made");
        let hashes = if blind { "" } else { "by dn.exact=\"cn=reader,dc=example,dc=test\" read" };
        let schemas = ["core", "cosine", "nis", "inetorgperson"].map(|name| format!("/etc/ldap/schema/{name}.schema"));
        let mut conf: String = schemas.iter().map(|file| format!("include {file}\n")).collect();
        let _ = write!(
            conf,
            r#"include {schema}
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
TLSCertificateFile {certificate}
TLSCertificateKeyFile {key}
database mdb
suffix "{SUFFIX}"
rootdn "cn=admin,{SUFFIX}"
directory {db}
index objectClass,uid,member eq
overlay memberof
access to attrs=sambaNTPassword {hashes} by * none
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="{READER}" read by * none
"#,
            schema = here().join("openldap/samba.schema").display(),
            certificate = self.path("server.pem"),
            key = self.path("server.key"),
            db = db.display(),
        );
        self.write("slapd.conf", &conf);
        self.write("init.ldif", &ldif());
        let mut slapadd = Command::new("/usr/sbin/slapadd");
        slapadd.args(["-q", "-f", &self.path("slapd.conf"), "-l", &self.path("init.ldif")]);
        let output = run(&mut slapadd, "", 60);
        assert!(output.status.success(), "slapadd: {}", shown(&output));
    }

    fn start_slapd(&mut self) {
        let log = std::fs::File::create(self.dir.join("slapd.log")).expect("a log can be made");
        let url = format!("ldaps://localhost:{}/", self.ldaps);
        let child = Command::new("/usr/sbin/slapd")
            // In the foreground.
            .args(["-d", "0", "-f", &self.path("slapd.conf"), "-h", &url])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file handle can be cloned"))
            .stderr(log)
            .spawn()
            .expect("slapd can be started");
        self.slapd = Some(Process(child));
        self.wait_for(self.ldaps, "slapd.log");
    }

    fn configure(&self, url: &str) {
        let password = self.dir.join("reader-password");
        self.write("reader-password", "Reader-Pw1\n");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o600)).expect("a mode can be set");
        }
        let config = format!(
            r#"[server]
listen = ["127.0.0.1:{port}"]

[authentication.windows]
providers = ["Negotiate", "NTLM"]
[authentication.basic]
enabled = true

[directory]
name = "LDAP"
url = "{url}"
ca = "{ca}"
reader = "{READER}"
password-file = "{password}"
base = "ou=people,{SUFFIX}"
user-class = "inetOrgPerson"
nt-hash = "sambaNTPassword"
timeout = "2 s"
[directory.groups]
base = "ou=groups,{SUFFIX}"
[directory.lockout]
threshold = 4

[log]
dir = "{logs}"

[[route]]
path = "/"
allow = {{ users = ["*"] }}

[[route]]
path = "/staff"
inherit = false
allow = {{ roles = ["LDAP\\Staff"] }}

[[route]]
path = "/everybody"
inherit = false
allow = {{ roles = ["LDAP\\All Staff"] }}

[[route]]
path = "/by-dn"
inherit = false
allow = {{ roles = ["CN=Bosses, OU=Hidden, OU=Groups, {SUFFIX}"] }}

[[route]]
path = "/bosses"
inherit = false
allow = {{ roles = ["LDAP\\bosses"] }}

[[route]]
path = "/not-staff"
deny = {{ roles = ["LDAP\\staff"] }}

[[route]]
path = "/alice"
inherit = false
allow = {{ users = ["LDAP\\alice"] }}
"#,
            port = self.port,
            ca = self.path("ca.pem"),
            password = password.display(),
            logs = self.path("logs"),
        );
        self.write("iwa.toml", &config);
    }

    fn wait_for(&self, port: u16, log: &str) {
        let end = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(Instant::now() < end, "{}", std::fs::read_to_string(self.path(log)).unwrap_or_default());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn curl(&self, way: &str, (name, password): (&str, &str), path: &str) -> (String, Output) {
        let mut command = Command::new("curl");
        command
            .env("NO_PROXY", "localhost")
            .args(["-s", "-S", "-o", "/dev/null", "-D", "-", "-w", "%{http_code}\n", way, "-u"])
            .args([format!("{name}:{password}"), format!("http://localhost:{}{path}", self.port)]);
        let output = run(&mut command, "", 60);
        (text(&output.stdout).lines().last().unwrap_or_default().to_owned(), output)
    }

    #[track_caller]
    fn expect(&self, way: &str, who: (&str, &str), path: &str, status: &str) {
        let (found, output) = self.curl(way, who, path);
        assert_eq!(found, status, "{way} {} {path}: {}\n{}", who.0, shown(&output), self.log());
    }

    /// What the server says, and what it logs in words.
    fn log(&self) -> String {
        let mut all = std::fs::read_to_string(self.path("serve.log")).unwrap_or_default();
        // The log in words is written after at most a second.
        std::thread::sleep(Duration::from_millis(1500));
        for file in std::fs::read_dir(self.path("logs")).into_iter().flatten().flatten() {
            if file.file_name().to_string_lossy().ends_with(".jsonl") {
                all.push_str(&std::fs::read_to_string(file.path()).unwrap_or_default());
            }
        }
        all
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self._iwa = None;
        self.slapd = None;
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

/// The directory: people, groups, groups in groups, and a group of a name that somebody else made.
fn ldif() -> String {
    let mut ldif = format!(
        "dn: {SUFFIX}\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: Example\n\n\
         dn: {READER}\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\ncn: reader\nuserPassword: Reader-Pw1\n\n"
    );
    for unit in ["ou=people", "ou=groups", "ou=hidden,ou=groups"] {
        let name = unit.split([',', '=']).nth(1).unwrap_or_default();
        let _ = write!(ldif, "dn: {unit},{SUFFIX}\nobjectClass: organizationalUnit\nou: {name}\n\n");
    }
    for (rid, (name, password)) in [ALICE, BOB, CAROL, JOERG].iter().enumerate() {
        let hash = iwa_auth::ntlm::crypto::nt_hash(password);
        let hash: String = hash.expose().iter().map(|byte| format!("{byte:02X}")).collect();
        let flags = if *name == CAROL.0 { "[UD         ]" } else { "[U          ]" };
        let _ = write!(
            ldif,
            "dn: uid={name},ou=people,{SUFFIX}\nobjectClass: inetOrgPerson\nobjectClass: sambaSamAccount\nuid: {name}\ncn: {name}\n\
             sn: {name}\nuserPassword: {password}\nsambaSID: S-1-5-21-1-2-3-{}\nsambaNTPassword: {hash}\nsambaAcctFlags: {flags}\n\n",
            1001 + rid
        );
    }
    for (group, member) in [
        ("cn=Staff,ou=groups", "uid=alice,ou=people"),
        ("cn=All Staff,ou=groups", "cn=Staff,ou=groups"),
        ("cn=Bosses,ou=hidden,ou=groups", "uid=bob,ou=people"),
    ] {
        let name = group.split([',', '=']).nth(1).unwrap_or_default();
        let _ =
            write!(ldif, "dn: {group},{SUFFIX}\nobjectClass: groupOfNames\ncn: {name}\nmember: {member},{SUFFIX}\n\n");
    }
    ldif
}

#[test]
fn users_of_a_directory_sign_in_with_ntlm_and_basic_and_their_groups_decide() {
    let Some(site) = Site::start(&Options::default()) else { return };
    for way in ["--ntlm", "--basic"] {
        for (who, path, status) in [
            (ALICE, "/", "200"),
            (ALICE, "/alice", "200"),
            (BOB, "/alice", "403"),
            (ALICE, "/staff", "200"),
            (BOB, "/staff", "403"),
            // Staff are in All Staff.
            (ALICE, "/everybody", "200"),
            (BOB, "/everybody", "403"),
            (BOB, "/by-dn", "200"),
            (ALICE, "/by-dn", "403"),
            // A group of that name, but not directly below the base.
            (BOB, "/bosses", "403"),
            (ALICE, "/not-staff", "403"),
            (BOB, "/not-staff", "200"),
            // Disabled.
            (CAROL, "/", "401"),
        ] {
            site.expect(way, who, path, status);
        }
    }
    let mut curl = Command::new("curl");
    curl.env("NO_PROXY", "localhost").args(["-s", "--ntlm", "-u", &format!("{}:{}", ALICE.0, ALICE.1)]);
    let page = text(&run(curl.arg(format!("http://localhost:{}/", site.port)), "", 30).stdout);
    for row in ["LDAP\\alice", "LDAP\\staff (cn=staff,ou=groups,dc=example,dc=test)", "LDAP\\all staff ("] {
        assert!(page.contains(row), "{row}: {page}");
    }
    site.expect("--ntlm", ("LDAP\\alice", ALICE.1), "/staff", "200");
    site.expect("--basic", ("LDAP\\alice", ALICE.1), "/staff", "200");
    site.expect("--basic", JOERG, "/", "200");
    assert!(site.log().contains("ACCOUNT_DISABLED"));
}

#[test]
fn wrong_passwords_and_no_passwords_are_refused_and_guessing_locks() {
    let Some(site) = Site::start(&Options::default()) else { return };
    site.expect("--ntlm", (ALICE.0, "guess"), "/", "401");
    site.expect("--basic", (ALICE.0, "guess"), "/", "401");
    // A bind without a password would succeed.
    site.expect("--basic", (ALICE.0, ""), "/", "401");
    for name in ["nobody", "*", "alice)(uid=*", "ali*", "Reader"] {
        site.expect("--basic", (name, ALICE.1), "/", "401");
        site.expect("--ntlm", (name, ALICE.1), "/", "401");
    }
    site.expect("--ntlm", ALICE, "/", "200");
    for _ in 0..4 {
        site.expect("--ntlm", (BOB.0, "guess"), "/", "401");
    }
    // By whatever way: it is the same account.
    site.expect("--basic", BOB, "/", "401");
    site.expect("--ntlm", BOB, "/", "401");
    site.expect("--ntlm", ALICE, "/", "200");
    assert!(site.log().contains("ACCOUNT_LOCKED_OUT"));
}

#[test]
fn a_name_beyond_ascii_signs_in_with_ntlm() {
    if !present("Python's requests", interop_home().join("venv/ready")) {
        return;
    }
    let Some(site) = Site::start(&Options::default()) else { return };
    let mut command = Command::new(interop_home().join("venv/bin/python"));
    command
        .env("KRB5_CONFIG", "/dev/null")
        .env("LC_ALL", "C.UTF-8")
        .env("NO_PROXY", "localhost")
        .env("IWA_USER", JOERG.0)
        .env("IWA_PASSWORD", JOERG.1)
        .arg(here().join("python/get.py"))
        .args(["ntlm", &format!("http://localhost:{}/", site.port)]);
    let output = run(&mut command, "", 60);
    assert!(output.status.success(), "{}", shown(&output));
    assert_eq!(member(&output, "status"), "200", "{}\n{}", shown(&output), site.log());
}

#[test]
fn a_reader_who_may_not_see_hashes_is_told_which_right_is_missing() {
    let Some(site) = Site::start(&Options { blind: true, ..Options::default() }) else { return };
    site.expect("--ntlm", ALICE, "/", "503");
    let log = site.log();
    assert!(log.contains("right to read sambaNTPassword"), "{log}");
    // Basic needs no hash.
    site.expect("--basic", ALICE, "/", "200");
}

#[test]
fn a_directory_that_stops_is_503_with_retry_after_and_one_that_starts_again_is_used() {
    let Some(mut site) = Site::start(&Options::default()) else { return };
    for way in ["--ntlm", "--basic"] {
        site.expect(way, ALICE, "/", "200");
        site.slapd = None;
        let (status, output) = site.curl(way, ALICE, "/");
        assert_eq!(status, "503", "{}\n{}", shown(&output), site.log());
        assert!(text(&output.stdout).to_lowercase().contains("retry-after: "), "{}", shown(&output));
        site.start_slapd();
        site.expect(way, ALICE, "/staff", "200");
    }
}

#[test]
fn a_directory_that_hangs_is_given_up() {
    let Some(mut site) = Site::start(&Options::default()) else { return };
    site.expect("--ntlm", ALICE, "/", "200");
    site.slapd = None;
    // It takes connections and says nothing.
    let hanging = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, site.ldaps)).expect("the port is free again");
    for way in ["--ntlm", "--basic"] {
        site.expect(way, ALICE, "/", "503");
    }
    drop(hanging);
    assert!(site.log().contains("no answer within"), "{}", site.log());
    site.start_slapd();
    site.expect("--ntlm", ALICE, "/", "200");
}

#[test]
fn a_certificate_of_a_stranger_is_refused() {
    let Some(site) = Site::start(&Options { stranger: true, ..Options::default() }) else { return };
    for way in ["--ntlm", "--basic"] {
        site.expect(way, ALICE, "/", "503");
    }
    assert!(site.log().to_lowercase().contains("certificate"), "{}", site.log());
}

#[test]
fn hashes_and_passwords_in_clear_are_not_asked_for() {
    let Some(site) = Site::start(&Options::default()) else { return };
    site.configure(&format!("ldap://localhost:{}", site.ldaps));
    let output = run(Command::new(IWA).args(["check", "--config", &site.path("iwa.toml")]), "", 30);
    assert!(!output.status.success(), "{}", shown(&output));
    assert!(text(&output.stderr).contains("ldaps://"), "{}", shown(&output));
}
