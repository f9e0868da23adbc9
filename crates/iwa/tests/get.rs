//! `iwa get` against `iwa serve` and `iwa kdc`, each a process of its own.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, Weak};

/// A site that signs in alice and bob, and their KDC.
struct World {
    dir: PathBuf,
    url: String,
    children: Vec<Child>,
}

impl World {
    fn new(name: &str, providers: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("iwa-get-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(dir.join("www")).unwrap();
        fs::write(dir.join("www/index.html"), "the page").unwrap();
        fs::write(dir.join("alice.password"), "alice-Passw0rd\n").unwrap();
        fs::write(dir.join("wrong.password"), "wrong\n").unwrap();
        let mut world = Self { dir, url: String::new(), children: Vec::new() };
        for user in ["alice", "bob"] {
            let line = format!("user add {user} --password-stdin --state state --machine WEB --realm EXAMPLE.TEST");
            let args: Vec<_> = line.split(' ').collect();
            assert!(world.iwa(&args, &format!("{user}-Passw0rd")).status.success());
        }
        let args = ["kdc", "add-service", "HTTP/localhost", "--keytab", "http.keytab", "--state", "state"];
        assert!(world.iwa(&args, "").status.success());
        let kdc = ["kdc", "--listen", "127.0.0.1:0", "--write-krb5-conf", "krb5.conf", "--state", "state"];
        world.start(&kdc, |line| line.contains("listening") || line.contains("127.0.0.1:"));
        fs::write(
            world.dir.join("iwa.toml"),
            format!(
                "[server]\nlisten = [\"127.0.0.1:0\"]\n[authentication.windows]\nproviders = [{providers}]\n\
                 [kerberos]\nkeytab = \"http.keytab\"\n[accounts]\nstate = \"state\"\n\
                 [[route]]\npath = \"/\"\nfiles = \"www\"\nallow = {{ users = [\"*\"] }}\n\
                 [[route]]\npath = \"/who\"\n[[route]]\npath = \"/bob\"\ninherit = false\nallow = {{ users = [\"bob\"] }}\n"
            ),
        )
        .unwrap();
        let line = world.start(&["serve", "--config", "iwa.toml"], |line| line.contains("listening on http://"));
        let port = line.rsplit(':').next().unwrap().trim();
        world.url = format!("http://localhost:{port}");
        world
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_iwa"));
        command
            .args(args)
            .current_dir(&self.dir)
            .env("KRB5_CONFIG", self.dir.join("krb5.conf"))
            .env("KRB5CCNAME", format!("FILE:{}", self.dir.join("none").display()))
            .env_remove("IWA_ALLOW")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn iwa(&self, args: &[&str], stdin: &str) -> Output {
        let mut child = self.command(args).spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// Starts a server and waits for the line that says it is ready.
    fn start(&mut self, args: &[&str], ready: impl Fn(&str) -> bool) -> String {
        let mut child = self.command(args).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = Vec::new();
        let line = loop {
            let Some(Ok(line)) = lines.next() else { panic!("{args:?} did not start: {said:?}") };
            if ready(&line) {
                break line;
            }
            said.push(line);
        };
        // The rest is read too, so that a full pipe stops nobody.
        std::thread::spawn(move || lines.for_each(drop));
        self.children.push(child);
        line
    }

    /// `iwa get` with these arguments and the URL's path last: status, standard output, standard error.
    fn get(&self, line: &str) -> (i32, String, String) {
        let (options, path) = line.rsplit_once(' ').unwrap_or(("", line));
        let url = format!("{}{path}", self.url);
        let args: Vec<_> = ["get"].into_iter().chain(options.split_whitespace()).chain([url.as_str()]).collect();
        let output = self.iwa(&args, "");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// The classic page, shared by the tests that change nothing of it, and gone with the last of them.
fn classic() -> Arc<World> {
    static WORLD: Mutex<Weak<World>> = Mutex::new(Weak::new());
    let mut world = WORLD.lock().unwrap();
    world.upgrade().unwrap_or_else(|| {
        let new = Arc::new(World::new("classic", "\"Negotiate\", \"NTLM\""));
        *world = Arc::downgrade(&new);
        new
    })
}

const ALICE: &str = "--user alice@EXAMPLE.TEST --password-file alice.password";

#[test]
fn a_password_signs_in_by_kerberos_and_the_server_proves_itself() {
    let (status, body, told) = classic().get(&format!("-v {ALICE} /"));
    assert_eq!((status, body.as_str()), (0, "the page"), "{told}");
    assert!(told.contains("Signed in by Kerberos; the server proved itself."), "{told}");
    assert!(
        told.contains("    | AP-REQ: ap-options 0x20000000 mutual-required; ticket: sname HTTP/localhost"),
        "{told}"
    );
    assert!(told.contains("    | AP-REP: etype"), "{told}");
    assert!(!told.contains("Passw0rd"));
}

#[test]
fn without_a_kdc_it_signs_in_by_ntlm_inside_negotiate_and_says_why() {
    let world = classic();
    let url = format!("{}/", world.url);
    let args = ["get", "-v", "--user", "alice@EXAMPLE.TEST", "--password-file", "alice.password", &url];
    let output = world.command(&args).env("KRB5_CONFIG", "/nonexistent").output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(told.contains("Signed in by NTLM; the server proved nothing.\nNot by Kerberos, because "), "{told}");
}

#[test]
fn an_nt_hash_signs_in_by_ntlm() {
    let world = classic();
    let hash: String =
        iwa_auth::ntlm::crypto::nt_hash("alice-Passw0rd").expose().iter().map(|b| format!("{b:02x}")).collect();
    fs::write(world.dir.join("alice.hash"), hash).unwrap();
    let (status, body, told) = world.get("-v --user WEB\\alice --hash-file alice.hash /who");
    assert!(status == 0 && body.contains("WEB\\alice") && body.contains("NTLM"), "{told}{body}");
}

#[test]
fn with_integrated_authentication_unchecked_the_scheme_is_ntlm() {
    let (status, _, told) = classic().get(&format!("-v --no-negotiate {ALICE} /"));
    assert_eq!(status, 0, "{told}");
    assert!(told.contains("\nAuthorization: NTLM ") && !told.contains("\nAuthorization: Negotiate "), "{told}");
    let (status, _, told) = classic().get(&format!("-v --providers NTLM {ALICE} /"));
    assert!(status == 0 && told.contains("\nAuthorization: NTLM "), "{told}");
}

#[test]
fn a_wrong_password_ends_with_status_3() {
    for user in ["alice@EXAMPLE.TEST", "WEB\\alice"] {
        let (status, body, told) = classic().get(&format!("--user {user} --password-file wrong.password /"));
        assert_eq!(status, 3, "{user}: {told}");
        assert!(!body.contains("the page"));
        assert!(told.starts_with("iwa get: "), "{told}");
    }
}

#[test]
fn tickets_at_hand_are_for_hosts_of_the_list_alone() {
    let world = classic();
    let (status, _, told) = world.get("/");
    assert_eq!(status, 3);
    assert!(told.contains("is not on the list of hosts that may be given credentials"), "{told}");
    let (status, _, told) = world.get("--allow *.example.test /");
    assert!(status == 3 && told.contains("is not on the list"), "{told}");
    let (status, _, told) = world.get("--allow localhost /");
    assert!(status == 3 && !told.contains("is not on the list"), "no ticket is at hand: {told}");
    assert!(told.contains("no ticket: "), "which cache is missing is said: {told}");
}

#[test]
fn what_is_not_allowed_is_status_5_and_still_proved() {
    let (status, body, told) = classic().get(&format!("-v {ALICE} /bob"));
    assert_eq!(status, 5, "{told}");
    assert!(body.contains("alice") && told.contains("the server proved itself"), "{told}{body}");
    assert_eq!(classic().get(&format!("{ALICE} /missing")).0, 5);
}

#[test]
fn data_is_posted_and_the_body_goes_to_a_file() {
    let world = classic();
    let (status, body, told) = world.get(&format!("{ALICE} -d a=b -o page.html /who"));
    assert!(status == 0 && body.is_empty(), "{told}");
    assert!(fs::read_to_string(world.dir.join("page.html")).unwrap().contains("POST /who"));
}

#[test]
fn a_second_page_over_the_same_connection_needs_no_token() {
    let (status, body, told) = classic().get(&format!("-v --repeat 2 {ALICE} /"));
    assert_eq!((status, body.as_str()), (0, "the pagethe page"), "{told}");
    assert_eq!(told.matches("\nAuthorization: ").count(), 1);
    assert!(told.contains("The server asked for no credentials on this request."), "{told}");
}

#[test]
fn usage_is_status_2_and_an_unreachable_server_status_1() {
    let world = classic();
    for args in [&["get", "localhost"][..], &["get", "ftp://localhost/"], &["get"]] {
        assert_eq!(world.iwa(args, "").status.code(), Some(2), "{args:?}");
    }
    for url in ["http://127.0.0.1:1/", "https://127.0.0.1:1/"] {
        assert_eq!(world.iwa(&["get", url], "").status.code(), Some(1), "{url}");
    }
}

#[test]
fn kerberos_only_refuses_ntlm_and_takes_a_ticket() {
    let world = World::new("kerberos-only", "\"Negotiate:Kerberos\"");
    let (status, _, told) = world.get(&format!("-v {ALICE} /"));
    assert!(status == 0 && told.contains("Signed in by Kerberos"), "{told}");
    let (status, _, told) = world.get("--user WEB\\alice --password-file alice.password --providers Negotiate,NTLM /");
    assert_eq!(status, 3, "{told}");
}
