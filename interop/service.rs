//! systemd: the unit as systemd reads it, sockets that it hands over, what it is told. `sd_listen_fds(3)`, `sd_notify(3)`.

use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::lab::{IWA, free_port, fresh_dir, present, run, shown, text};

fn unit(name: &str) -> String {
    format!("{}/../../packaging/systemd/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A directory with a configuration that listens at these addresses.
fn site(listen: &str) -> std::path::PathBuf {
    let dir = fresh_dir();
    let state = dir.join("state").display().to_string();
    let made = Command::new(IWA).args(["group", "add", "Staff", "--state", &state]).output().expect("iwa runs");
    assert!(made.status.success(), "{}", shown(&made));
    let config = format!(
        "[server]\nlisten = [{listen}]\n[authentication]\nanonymous = true\n[accounts]\nstate = \"{state}\"\n\
         [[route]]\npath = \"/\"\nallow = {{ users = [\"*\"] }}\n"
    );
    std::fs::write(dir.join("iwa.toml"), config).expect("a file");
    dir
}

/// Connects, which is what starts the service.
fn until_it_listens(port: u16) {
    let end = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        assert!(Instant::now() < end, "nothing listens on {port}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_units_are_understood_and_leave_little_exposed() {
    if !present("systemd-analyze", "/usr/bin/systemd-analyze") {
        return;
    }
    let dir = fresh_dir();
    // The program is where this build put it.
    for name in ["iwa.service", "iwa.socket"] {
        let written = std::fs::read_to_string(unit(name)).expect("the unit");
        std::fs::write(dir.join(name), written.replace("/usr/local/bin/iwa", IWA)).expect("a file");
    }
    let service = dir.join("iwa.service").display().to_string();
    let socket = dir.join("iwa.socket").display().to_string();
    let verified = run(Command::new("systemd-analyze").args(["verify", "--man=no", &service, &socket]), "", 60);
    let said = format!("{}{}", text(&verified.stdout), text(&verified.stderr));
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("iwa.")).collect();
    assert!(verified.status.success() && ours.is_empty(), "{said}");
    let security =
        run(Command::new("systemd-analyze").args(["security", "--offline=true", "--threshold=20", &service]), "", 60);
    assert!(security.status.success(), "more than 2.0 of 10 is exposed: {}", shown(&security));
}

#[test]
fn it_serves_the_sockets_it_is_handed_and_says_when_it_is_ready() {
    if !present("systemd-socket-activate", "/usr/bin/systemd-socket-activate") || !present("curl", "/usr/bin/curl") {
        return;
    }
    let port = free_port();
    let dir = site(&format!("\"127.0.0.1:{port}\""));
    let told = UnixDatagram::bind(dir.join("notify")).expect("a socket");
    told.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let mut activated = Command::new("systemd-socket-activate")
        .args(["--listen", &format!("127.0.0.1:{port}"), "--setenv"])
        .arg(format!("NOTIFY_SOCKET={}", dir.join("notify").display()))
        .args([IWA, "serve", "--config"])
        .arg(dir.join("iwa.toml"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("systemd-socket-activate runs");
    // The first connection starts the server, and is served.
    until_it_listens(port);
    let answer = run(Command::new("curl").args(["-s", "-S", &format!("http://127.0.0.1:{port}/")]), "", 20);
    let mut heard = [0; 64];
    let length = told.recv(&mut heard).expect("it says that it is ready");
    assert_eq!(&heard[..length], b"READY=1");
    // systemd-socket-activate became the server: the same process.
    let stopped = run(Command::new("kill").arg(activated.id().to_string()), "", 10);
    assert!(stopped.status.success());
    let length = told.recv(&mut heard).expect("it says that it stops");
    assert_eq!(&heard[..length], b"STOPPING=1");
    assert!(activated.wait().expect("it ends").success());
    assert!(text(&answer.stdout).contains("Who you are"), "{}", shown(&answer));
}

#[test]
fn on_a_console_each_request_is_a_line_that_says_why() {
    if !present("curl", "/usr/bin/curl") {
        return;
    }
    let port = free_port();
    let dir = site(&format!("\"127.0.0.1:{port}\""));
    let mut config = std::fs::read_to_string(dir.join("iwa.toml")).expect("the file");
    config.push_str("[log]\nconsole = true\n");
    std::fs::write(dir.join("iwa.toml"), config).expect("a file");
    let server = Command::new(IWA)
        .args(["serve", "--config"])
        .arg(dir.join("iwa.toml"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("iwa runs");
    until_it_listens(port);
    let answer = run(Command::new("curl").args(["-s", &format!("http://127.0.0.1:{port}/somewhere")]), "", 20);
    assert!(answer.status.success(), "{}", shown(&answer));
    assert!(run(Command::new("kill").arg(server.id().to_string()), "", 10).status.success());
    let said = server.wait_with_output().expect("it ends");
    let lines: Vec<serde_json::Value> =
        text(&said.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(lines.iter().any(|line| line["url"] == "/somewhere" && line["status"] == 200), "{lines:?}");
    assert!(lines.iter().all(|line| line["why"].is_string() && line["id"].is_string()), "{lines:?}");
}

#[test]
fn a_socket_that_listen_does_not_have_is_refused() {
    if !present("systemd-socket-activate", "/usr/bin/systemd-socket-activate") {
        return;
    }
    let (port, other) = (free_port(), free_port());
    let dir = site(&format!("\"127.0.0.1:{port}\""));
    let activated = Command::new("systemd-socket-activate")
        .args(["--listen", &format!("127.0.0.1:{other}"), IWA, "serve", "--config"])
        .arg(dir.join("iwa.toml"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("systemd-socket-activate runs");
    until_it_listens(other);
    let output = activated.wait_with_output().expect("it ends");
    assert!(!output.status.success());
    assert!(
        text(&output.stderr).contains(&format!("systemd hands over 127.0.0.1:{other}, which `listen` does not have")),
        "{}",
        shown(&output)
    );
}
