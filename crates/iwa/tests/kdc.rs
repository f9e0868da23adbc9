//! `iwa kdc` as a person and a script call it: services, keytabs, the running KDC, and curl signed in by all of it.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use iwa_testkit::left_out;
use iwa_wire::keytab::Keytab;

/// A directory of its own, with an account.
struct World(PathBuf);

impl World {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("iwa-kdc-command-{}-{number}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let world = Self(dir);
        world.good(&["user", "add", "alice", "--realm", "EXAMPLE.TEST", "--password-stdin"], "Alice-Pw1");
        world
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    fn iwa(&self, arguments: &[&str], stdin: &str) -> Output {
        let mut child = self
            .command(env!("CARGO_BIN_EXE_iwa"))
            .args(arguments)
            .args(["--state", &self.path("state")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        child.wait_with_output().unwrap()
    }

    fn good(&self, arguments: &[&str], stdin: &str) -> String {
        let output = self.iwa(arguments, stdin);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn bad(&self, arguments: &[&str]) -> String {
        let output = self.iwa(arguments, "");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", text(&output));
        text(&output)
    }

    /// A command that sees this realm and a credential cache of its own.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("KRB5_CONFIG", self.path("krb5.conf"))
            .env("KRB5CCNAME", format!("FILE:{}", self.path("ccache")))
            .env("HOME", &self.0)
            .env("LC_ALL", "C.UTF-8")
            .env("NO_PROXY", "localhost");
        command
    }

    /// A program that runs until it is dropped; waits for the line of its standard error that holds `ready`.
    fn daemon(&self, arguments: &[&str], ready: &str) -> (Daemon, String) {
        let mut child = self
            .command(env!("CARGO_BIN_EXE_iwa"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let daemon = Daemon(child);
        let mut said = String::new();
        for line in lines.by_ref() {
            let line = line.unwrap();
            if line.contains(ready) {
                // Whatever else it says must be read, or it waits.
                std::thread::spawn(move || lines.for_each(drop));
                return (daemon, line);
            }
            said.push_str(&line);
        }
        panic!("{arguments:?} ended: {said}");
    }

    fn kdc(&self) -> Daemon {
        let (state, conf) = (self.path("state"), self.path("krb5.conf"));
        let arguments = ["kdc", "--state", &state, "--listen", "127.0.0.1:0", "--write-krb5-conf", &conf];
        self.daemon(&arguments, "KDC of EXAMPLE.TEST on 127.0.0.1:").0
    }

    fn entries(&self, keytab: &str) -> Vec<(String, u32, i32)> {
        let bytes = fs::read(self.path(keytab)).unwrap();
        let keytab = Keytab::parse(&bytes).unwrap();
        keytab.entries().map(|entry| (entry.principal.to_string(), entry.kvno, entry.etype)).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn services_are_made_listed_renewed_and_removed() {
    let world = World::new();
    let keytab = world.path("http.keytab");
    let said = world.good(&["kdc", "add-service", "HTTP/web.example.test", "--keytab", &keytab], "");
    assert!(said.starts_with("HTTP/web.example.test@EXAMPLE.TEST kvno 1"), "{said}");
    let name = "HTTP/web.example.test@EXAMPLE.TEST".to_owned();
    let of = |kvno| [18, 20, 17, 19].map(|etype| (name.clone(), kvno, etype));
    assert_eq!(world.entries("http.keytab"), of(1));
    // Once more: the same keys, in another keytab too, whatever the case.
    let other = world.path("other.keytab");
    world.good(&["kdc", "add-service", "http/WEB.example.test", "--keytab", &other], "");
    assert_eq!(fs::read(&keytab).unwrap().len(), fs::read(&other).unwrap().len());
    assert_eq!(world.entries("other.keytab"), of(1));
    // New keys: the old ones stay for tickets that are out.
    world.good(&["kdc", "add-service", "HTTP/web.example.test", "--new-keys", "--keytab", &keytab], "");
    assert_eq!(world.entries("http.keytab"), [of(2), of(1)].concat());
    let list = world.good(&["kdc", "services"], "");
    assert!(list.contains("HTTP/web.example.test  kvno 2") && list.contains("krbtgt/EXAMPLE.TEST"), "{list}");
    world.good(&["kdc", "remove-service", "HTTP/web.example.test"], "");
    assert!(!world.good(&["kdc", "services"], "").contains("HTTP/"));
    assert!(world.bad(&["kdc", "remove-service", "HTTP/web.example.test"]).contains("HTTP/web.example.test"));
}

#[test]
fn what_cannot_be_is_refused_in_words() {
    let world = World::new();
    assert!(world.bad(&["kdc", "add-service", "krbtgt/EXAMPLE.TEST", "--keytab", "x"]).contains("the KDC itself"));
    assert!(world.bad(&["kdc", "add-service", "KRBTGT/OTHER.TEST"]).contains("the KDC itself"));
    assert!(world.bad(&["kdc", "add-service", "HTTP"]).contains("HTTP"));
    for name in ["web.example.test", "/web.example.test", "HTTP/", "HTTP/web.example.test@EXAMPLE.TEST"] {
        let said = world.bad(&["kdc", "add-service", name]);
        assert!(said.contains("wanted class/host without the realm"), "{name}: {said}");
    }
    assert!(world.bad(&["kdc", "remove-service", "krbtgt/EXAMPLE.TEST"]).contains("krbtgt"));
    assert!(world.bad(&["kdc", "--realm", "OTHER.TEST", "--listen", "127.0.0.1:0"]).contains("EXAMPLE.TEST"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    assert!(world.bad(&["kdc", "--listen", &address]).contains("cannot listen on"));
    fs::write(world.path("precious"), "no keytab").unwrap();
    let said = world.bad(&["kdc", "add-service", "HTTP/x.example.test", "--keytab", &world.path("precious")]);
    assert!(said.contains("is no keytab"), "{said}");
    assert!(!Path::new(&world.path("x")).exists());
}

#[test]
fn the_kdc_stops_when_it_is_told_to() {
    let world = World::new();
    let mut kdc = world.kdc();
    let id = kdc.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    assert_eq!(kdc.0.wait().unwrap().code(), Some(0));
}

#[test]
fn curl_signs_in_with_a_ticket_of_our_kdc() {
    let there = |program: &str| Path::new("/usr/bin").join(program).exists();
    if !there("kinit") || !there("curl") {
        return left_out("curl with a ticket of our KDC", "krb5-user or curl is not installed");
    }
    let world = World::new();
    world.good(&["group", "add", "Admins"], "");
    world.good(&["group", "add-member", "Admins", "alice"], "");
    world.good(&["kdc", "add-service", "HTTP/localhost", "--keytab", &world.path("http.keytab")], "");
    fs::create_dir_all(world.path("site")).unwrap();
    fs::write(world.path("site/index.html"), "signed in").unwrap();
    let config = format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\n[authentication]\nanonymous = false\n\
         [authentication.windows]\nproviders = [\"Negotiate:Kerberos\"]\n\
         [kerberos]\nkeytab = \"{0}/http.keytab\"\n[accounts]\nstate = \"{0}/state\"\n\
         [[route]]\npath = \"/\"\nfiles = \"{0}/site\"\nallow = {{ roles = [\"Admins\"] }}\n",
        world.0.display()
    );
    fs::write(world.path("iwa.toml"), config).unwrap();
    let _kdc = world.kdc();
    let (_site, line) = world.daemon(&["serve", "--config", &world.path("iwa.toml")], "listening on http://");
    let port = line.rsplit(':').next().unwrap().trim().to_owned();
    let mut kinit = world.command("kinit").arg("alice").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    kinit.stdin.take().unwrap().write_all(b"Alice-Pw1\n").unwrap();
    assert!(kinit.wait().unwrap().success());
    let get = || {
        let url = format!("http://localhost:{port}/");
        text(
            &world
                .command("curl")
                .args(["-s", "-w", " %{http_code}", "--negotiate", "-u", ":", &url])
                .output()
                .unwrap(),
        )
    };
    assert_eq!(get(), "signed in 200");
    // The groups stand in the PAC: out of the group, the next ticket is refused by the site.
    world.good(&["group", "remove-member", "Admins", "alice"], "");
    fs::remove_file(world.path("ccache")).unwrap();
    let mut kinit = world.command("kinit").arg("alice").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    kinit.stdin.take().unwrap().write_all(b"Alice-Pw1\n").unwrap();
    assert!(kinit.wait().unwrap().success());
    let refused = get();
    assert!(refused.ends_with(" 401") || refused.ends_with(" 403"), "{refused}");
}
