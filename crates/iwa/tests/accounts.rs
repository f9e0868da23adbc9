//! `iwa user`, `iwa group`, `iwa check` and `iwa serve` as processes of their own: what one changes, the others know.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A directory with accounts, a site and a configuration.
struct World(PathBuf);

impl World {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("iwa-processes-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(dir.join("www/staff")).unwrap();
        fs::write(dir.join("www/index.html"), "the page").unwrap();
        fs::write(dir.join("www/staff/index.html"), "the page of the staff").unwrap();
        Self(dir)
    }

    fn iwa(&self, args: &[&str], stdin: &str) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_iwa"))
            .args(args)
            .current_dir(&self.0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that reads nothing has closed the pipe perhaps.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// Runs a command that must succeed, and gives what it printed.
    fn done(&self, line: &str, stdin: &str) -> String {
        let args: Vec<_> = line.split(' ').chain(["--state", "state"]).collect();
        let output = self.iwa(&args, stdin);
        assert!(output.status.success(), "iwa {line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that must fail with this status, and gives its complaint.
    fn fails(&self, line: &str, stdin: &str, status: i32) -> String {
        let args: Vec<_> = line.split(' ').chain(["--state", "state"]).collect();
        let output = self.iwa(&args, stdin);
        assert_eq!(output.status.code(), Some(status), "iwa {line}");
        assert!(output.stdout.is_empty(), "iwa {line}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn add(&self, name: &str, password: &str) {
        self.done(&format!("user add {name} --password-stdin --machine WEB --realm EXAMPLE.TEST"), password);
    }

    fn configure(&self) {
        let text = r#"
            [server]
            listen = ["127.0.0.1:0"]
            [authentication.basic]
            enabled = true
            realm = "example"
            [accounts]
            state = "state"
            [accounts.lockout]
            threshold = 3
            [[route]]
            path = "/"
            files = "www"
            allow = { users = ["*"] }
            [[route]]
            path = "/staff"
            files = "www/staff"
            inherit = false
            allow = { roles = ["Staff"] }
            [log]
            dir = "log"
        "#;
        fs::write(self.0.join("iwa.toml"), text).unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// `iwa serve`, stopped at the end.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(world: &World) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_iwa"))
            .args(["serve", "--config", "iwa.toml"])
            .current_dir(&world.0)
            .env("IWA_LOG", "info")
            .env("NO_COLOR", "1")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = Vec::new();
        let address = loop {
            let Some(line) = lines.next() else { panic!("iwa serve ended: {said:#?}") };
            let line = line.unwrap();
            if let Some((_, address)) = line.split_once("http://") {
                break address.trim().to_owned();
            }
            said.push(line);
        };
        // Whoever does not read what it says blocks it when the pipe is full.
        std::thread::spawn(move || lines.count());
        Self { child, address }
    }

    /// The status of a request with a password, on a connection of its own.
    fn get(&self, path: &str, user: &str, password: &str) -> u16 {
        let credentials = base64(format!("{user}:{password}").as_bytes());
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: web\r\nAuthorization: Basic {credentials}\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{answer}"))
    }

    /// Asks it to stop, and waits until it did.
    fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let begun = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < Duration::from_secs(40), "iwa serve does not stop");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[test]
fn what_iwa_user_changes_holds_in_a_running_server_at_once() {
    let world = World::new();
    world.add("alice", "Sommer-2026\n");
    world.done("group add Staff", "");
    world.configure();
    let server = Server::start(&world);

    assert_eq!(server.get("/", "alice", "Sommer-2026"), 200);
    assert_eq!(server.get("/", "ALICE", "Sommer-2026"), 200);
    assert_eq!(server.get("/", "alice", "wrong"), 401);
    assert_eq!(server.get("/", "bob", "Anfang-2026"), 401);

    world.add("bob", "Winter-2026");
    assert_eq!(server.get("/", "bob", "Winter-2026"), 200);
    world.done("user disable bob", "");
    assert_eq!(server.get("/", "bob", "Winter-2026"), 401);
    world.done("user enable bob", "");
    assert_eq!(server.get("/", "bob", "Winter-2026"), 200);
    world.done("user passwd bob --password-stdin", "Herbst-2026");
    assert_eq!(server.get("/", "bob", "Winter-2026"), 401);
    assert_eq!(server.get("/", "bob", "Herbst-2026"), 200);

    assert_eq!(server.get("/staff/", "bob", "Herbst-2026"), 403);
    world.done("group add Chiefs", "");
    world.done("group add-member Staff Chiefs", "");
    world.done("group add-member Chiefs bob", "");
    assert_eq!(server.get("/staff/", "bob", "Herbst-2026"), 200);
    world.done("group remove-member Staff Chiefs", "");
    assert_eq!(server.get("/staff/", "bob", "Herbst-2026"), 403);

    world.done("user remove bob", "");
    assert_eq!(server.get("/", "bob", "Herbst-2026"), 401);
    server.stop();

    // Both logs are there when the server has stopped, and the second one says why.
    let logs: Vec<_> = fs::read_dir(world.0.join("log")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let read = |end: &str| {
        logs.iter()
            .filter(|path| path.to_string_lossy().ends_with(end))
            .map(|path| fs::read_to_string(path).unwrap())
            .collect::<String>()
    };
    let (w3c, json) = (read(".log"), read(".jsonl"));
    let lines = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!((lines(&w3c), lines(&json)), (13, 13), "{w3c}\n{json}");
    assert!(w3c.contains(" GET / - ") && w3c.contains(" WEB\\alice 127.0.0.1 "), "{w3c}");
    for why in ["the password is wrong", "the account is disabled", "there is no such account"] {
        assert!(json.contains(why), "{why}\n{json}");
    }
    for secret in ["Sommer-2026", "Winter-2026", "Herbst-2026", &base64(b"alice:Sommer-2026")] {
        assert!(!w3c.contains(secret) && !json.contains(secret));
    }
}

#[test]
fn a_lock_out_in_the_server_is_seen_and_ended_by_iwa_user() {
    let world = World::new();
    world.add("alice", "Sommer-2026");
    world.configure();
    let server = Server::start(&world);
    // Each another one: a password that is repeated counts once.
    for wrong in ["wrong", "Winter-2026", "Sommer-2025"] {
        assert_eq!(server.get("/", "alice", wrong), 401);
        assert_eq!(server.get("/", "alice", wrong), 401);
    }
    assert_eq!(server.get("/", "alice", "Sommer-2026"), 401);
    assert!(world.done("user list", "").contains("alice  locked out"));
    assert!(world.done("user show alice --json", "").contains("\"failures\": 3"));
    world.done("user unlock ALICE", "");
    assert!(world.done("user list", "").contains("alice  good"));
    assert_eq!(server.get("/", "alice", "Sommer-2026"), 200);
    server.stop();
}

#[test]
fn what_cannot_be_done_is_said_and_has_its_exit_status() {
    let world = World::new();
    assert!(world.fails("user list", "", 1).contains("there are no accounts here"));
    world.add("alice", "Sommer-2026");
    for (line, stdin, status, complaint) in [
        ("user add ALICE --password-stdin", "x", 1, "there is already an account \"alice\""),
        ("user add a/b --password-stdin", "x", 1, "Windows forbids"),
        ("user add krbtgt --password-stdin", "x", 1, "built in"),
        ("user add bob --password-stdin", "", 1, "a password is needed"),
        ("user add bob --password-stdin", "one\ntwo\n", 1, "line break"),
        ("user add bob", "x", 1, "--password-stdin"),
        ("user add bob --password-stdin --realm OTHER.TEST", "x", 1, "cannot become OTHER.TEST"),
        ("user passwd bob --password-stdin", "x", 1, "there is no account \"bob\""),
        ("user disable bob", "", 1, "there is no account \"bob\""),
        ("group add Users", "", 1, "built in"),
        ("group add-member Staff alice", "", 1, "there is no group \"Staff\""),
        ("user add bob --password secret", "", 2, "--password"),
        ("user add bob --expires yesterday --password-stdin", "x", 2, "2027-01-31"),
        ("user nonsense", "", 2, "nonsense"),
    ] {
        let said = world.fails(line, stdin, status);
        assert!(said.contains(complaint), "iwa {line}: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[test]
fn lists_are_for_people_and_for_programs() {
    let world = World::new();
    world.add("alice", "x");
    world.done("group add Staff --comment all", "");
    world.done("group add-member Staff alice", "");
    world.done("user set alice --display-name Alice --upn a@mail.example.test --expires 2999-12-31", "");
    let user: serde_json::Value = serde_json::from_str(&world.done("user show alice --json", "")).unwrap();
    assert_eq!(user["upn"], "a@mail.example.test");
    assert_eq!(user["expires"], "2999-12-31T00:00:00Z");
    assert_eq!(user["groups"], serde_json::json!(["Staff"]));
    assert_eq!(user["kvno"], 1);
    let group: serde_json::Value = serde_json::from_str(&world.done("group list --json", "")).unwrap();
    assert_eq!((&group[0]["comment"], &group[0]["members"]), (&"all".into(), &serde_json::json!(["alice"])));
    let shown = world.done("user show alice", "");
    assert!(shown.contains("groups                    Users, Staff"), "{shown}");
    // What is as good as the password is shown to nobody.
    assert!(!shown.to_lowercase().contains("hash") && user.get("ntHash").is_none());
}

#[test]
fn iwa_check_reads_what_iwa_serve_reads() {
    let world = World::new();
    world.add("alice", "x");
    world.configure();
    let check = |args: &[&str]| world.iwa(&[&["check", "--config", "iwa.toml"], args].concat(), "");
    let output = check(&[]);
    let page = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{page}");
    assert!(page.contains("to members of Staff"), "{page}");
    // There is no such group yet.
    assert!(String::from_utf8(output.stderr).unwrap().contains("there is no group \"Staff\" now"));
    assert_eq!(check(&["--strict"]).status.code(), Some(1));
    world.done("group add Staff", "");
    assert_eq!(check(&["--strict"]).status.code(), Some(0));

    let broken = fs::read_to_string(world.0.join("iwa.toml")).unwrap().replace("listen", "lisen");
    fs::write(world.0.join("iwa.toml"), broken).unwrap();
    let output = check(&["--quiet"]);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("iwa.toml:3:13: error: there is no `lisen` in [server]; did you mean `listen`?"), "{told}");
    let served = world.iwa(&["serve", "--config", "iwa.toml"], "");
    assert_eq!(served.status.code(), Some(1));
    assert!(String::from_utf8(served.stderr).unwrap().contains("did you mean `listen`?"));
    assert_eq!(world.iwa(&["check", "--nonsense"], "").status.code(), Some(2));
}
