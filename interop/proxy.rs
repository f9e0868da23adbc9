//! Real applications behind the server: Apache, a WebSocket echo, and much more than memory would hold.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;

use tokio_tungstenite::tungstenite::Message;

use crate::lab::{ALICE, Lab, Options, free_port, here, interop_home, member, present, run, shown, text};

/// A lab whose `/app` goes on to `port`, and which serves `page` at `/app.html`.
fn before(port: u16, upstream: &str) -> Lab {
    let more =
        format!("[[route]]\npath = \"/app\"\nproxy = \"http://127.0.0.1:{port}\"\n[route.upstream]\n{upstream}\n");
    Lab::with(&Options { more: &more, ..Options::default() })
}

fn curl_and_kinit() -> bool {
    present("curl", "/usr/bin/curl") && present("MIT kinit", "/usr/bin/kinit")
}

fn curl(lab: &Lab, path: &str, arguments: &[&str]) -> String {
    let mut command = lab.peer("curl");
    command.args(["-s", "-S", "--negotiate", "-u", ":"]).args(arguments).arg(lab.url(path));
    let output = run(&mut command, "", 120);
    assert!(output.status.success(), "{}", shown(&output));
    text(&output.stdout)
}

const MODULES: &str = "/usr/lib/apache2/modules";

#[test]
fn apache_behind_serves_whoever_signed_in_here_and_nobody_else() {
    if !curl_and_kinit() || !present("Apache", "/usr/sbin/apache2") {
        return;
    }
    let port = free_port();
    let mut lab = before(port, "strip-path = true");
    let dir = lab.dir.display().to_string();
    std::fs::create_dir_all(lab.dir.join("www")).expect("a folder can be made");
    std::fs::write(lab.dir.join("www/index.html"), "<h1>From Apache</h1>\n").expect("written");
    let modules: String = ["mpm_event", "authz_core", "mime", "log_config", "unixd"]
        .iter()
        .filter(|name| std::path::Path::new(&format!("{MODULES}/mod_{name}.so")).exists())
        .map(|name| format!("LoadModule {name}_module {MODULES}/mod_{name}.so\n"))
        .collect();
    let conf = format!(
        "ServerRoot {dir}\nServerName localhost\nListen 127.0.0.1:{port}\nPidFile {dir}/apache.pid\n{modules}\
         TypesConfig /etc/mime.types\nErrorLog {dir}/apache.error.log\nDocumentRoot {dir}/www\n\
         LogFormat \"%{{X-Forwarded-For}}i|%{{Host}}i|%{{Authorization}}i|%{{Via}}i|%U\" seen\nCustomLog {dir}/apache.seen seen\n\
         <Directory {dir}/www>\nRequire all granted\n</Directory>\n"
    );
    let file = lab.path("apache.conf");
    std::fs::write(&file, conf).expect("written");
    lab.daemon("apache", Command::new("/usr/sbin/apache2").args(["-f", &file, "-X"]), port);
    assert!(!curl(&lab, "/app/index.html", &[]).contains("From Apache"), "nobody has signed in");
    lab.kinit(ALICE);
    for _ in 0..3 {
        assert_eq!(curl(&lab, "/app/index.html", &[]), "<h1>From Apache</h1>\n");
    }
    let (status, length) = ("%{http_code} ", "%{size_download}");
    let format = format!("{status}{length}");
    let range = ["-o", "/dev/null", "-w", &format, "-H", "Range: bytes=4-8"];
    assert_eq!(curl(&lab, "/app/index.html", &range), "206 5");
    let seen = std::fs::read_to_string(lab.path("apache.seen")).expect("Apache's log");
    assert_eq!(seen.lines().count(), 4, "{seen}");
    for line in seen.lines() {
        assert_eq!(line, format!("127.0.0.1|localhost:{}|-|1.1 iwa|/index.html", lab.port), "{seen}");
    }
}

/// A WebSocket echo, and the page of a browser that talks to it: whatever path is asked for that is no WebSocket.
fn websocket() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || talk(stream));
        }
    });
    port
}

fn talk(mut stream: TcpStream) {
    let mut begun = [0; 4096];
    let length = stream.peek(&mut begun).unwrap_or(0);
    if !text(&begun[..length]).to_lowercase().contains("upgrade: websocket") {
        let _ = stream.read(&mut begun);
        let answer = format!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{PAGE}",
            PAGE.len()
        );
        let _ = stream.write_all(answer.as_bytes());
        return;
    }
    let Ok(mut socket) = tokio_tungstenite::tungstenite::accept(stream) else { return };
    while let Ok(message) = socket.read() {
        if (message.is_text() || message.is_binary()) && socket.send(message).is_err() {
            return;
        }
    }
}

/// Sends once the socket is open, and shows what came back.
const PAGE: &str = "<!doctype html><title>x</title><body>waiting<script>\
const socket = new WebSocket('ws://' + location.host + '/app/socket');\
socket.onopen = () => socket.send('hello');\
socket.onmessage = message => { document.body.textContent = 'echo ' + message.data; };\
socket.onclose = () => { document.body.textContent += ' closed'; };\
</script></body>";

#[test]
fn a_websocket_is_for_who_signs_in_and_carries_large_messages() {
    if !curl_and_kinit() {
        return;
    }
    let lab = before(websocket(), "");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let url = format!("ws://localhost:{}/app/socket", lab.port);
    runtime.block_on(async {
        use tokio_tungstenite::tungstenite::Error;
        let refused = tokio_tungstenite::connect_async(&url).await;
        assert!(matches!(&refused, Err(Error::Http(answer)) if answer.status() == 401), "{refused:?}");
    });
    // curl knows how to sign in, and asks for the upgrade as a browser does.
    lab.kinit(ALICE);
    let upgrade = [
        "-N",
        "-i",
        "--max-time",
        "2",
        "-H",
        "Connection: Upgrade",
        "-H",
        "Upgrade: websocket",
        "-H",
        "Sec-WebSocket-Version: 13",
        "-H",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    let mut command = lab.peer("curl");
    command.args(["-s", "-S", "--negotiate", "-u", ":"]).args(upgrade).arg(lab.url("/app/socket"));
    let output = run(&mut command, "", 30);
    let said = text(&output.stdout);
    assert!(said.contains("HTTP/1.1 101 ") && said.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{}", shown(&output));
}

#[test]
fn a_websocket_carries_what_both_sides_say() {
    let more = format!(
        "[[route]]\npath = \"/app\"\nproxy = \"http://127.0.0.1:{}\"\nanonymous = true\ninherit = false\nallow = {{ users = [\"*\", \"?\"] }}\n",
        websocket()
    );
    let lab = Lab::with(&Options { more: &more, ..Options::default() });
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, lab.port)).expect("it listens");
    let url = format!("ws://localhost:{}/app/socket", lab.port);
    let (mut socket, _) = tokio_tungstenite::tungstenite::client(url, stream).expect("a WebSocket");
    for length in [0, 1, 125, 126, 70_000, 5_000_000] {
        let message = Message::binary(vec![b'x'; length]);
        socket.send(message.clone()).expect("sent");
        assert_eq!(socket.read().expect("an echo"), message, "{length}");
    }
    socket.close(None).expect("closed");
    while socket.read().is_ok() {}
}

#[test]
fn chromium_and_firefox_talk_over_a_websocket_after_they_signed_in() {
    for (what, program, name) in
        [("Chromium", "/usr/bin/chromium", "chromium"), ("Firefox", "/usr/bin/firefox-esr", "firefox")]
    {
        if !(present(what, program)
            && present("browser drivers", interop_home().join("browser/node_modules/playwright-core"))
            && present("MIT kinit", "/usr/bin/kinit"))
        {
            continue;
        }
        let lab = before(websocket(), "");
        lab.kinit(ALICE);
        let mut command = lab.peer("node");
        command.env("IWA_NODE_MODULES", interop_home().join("browser")).env("IWA_WAIT_FOR", "echo hello");
        command.arg(here().join(format!("browser/{name}.mjs"))).args([lab.url("/app/page"), lab.path("profile")]);
        let output = run(&mut command, "", 120);
        assert!(output.status.success(), "{name}: {}", shown(&output));
        assert_eq!(member(&output, "text").trim(), "echo hello", "{name}: {}", shown(&output));
    }
}

const MUCH: u64 = 256 << 20;

/// An application that takes all of an upload and says how much it was, and sends as much for a download.
fn heavy() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || carry(stream));
        }
    });
    port
}

fn carry(mut stream: TcpStream) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = text(&head).to_lowercase();
    let mut buffer = vec![0; 1 << 16];
    if head.starts_with("get ") {
        stream
            .write_all(format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {MUCH}\r\n\r\n").as_bytes())
            .ok()?;
        for _ in 0..MUCH >> 16 {
            stream.write_all(&buffer).ok()?;
        }
        return Some(());
    }
    let length: u64 = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())?;
    let mut taken = 0;
    while taken < length {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(more) => taken += more as u64,
        }
    }
    let body = taken.to_string();
    let answer = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).ok()
}

/// The most memory that the process which listens there ever had, in KiB.
#[cfg(target_os = "linux")]
fn peak(config: &str) -> u64 {
    let mut processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    let of =
        |file: &str, entry: &std::fs::DirEntry| std::fs::read_to_string(entry.path().join(file)).unwrap_or_default();
    let server = processes.find(|entry| of("cmdline", entry).contains(config)).expect("the server runs");
    let status = of("status", &server);
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").trim().parse().expect("a number")
}

#[cfg(target_os = "linux")]
#[test]
fn a_quarter_of_a_gibibyte_goes_up_and_down_through_little_memory() {
    if !curl_and_kinit() {
        return;
    }
    let lab = before(heavy(), "");
    lab.kinit(ALICE);
    curl(&lab, "/index.html", &[]);
    let config = lab.path("iwa.toml");
    let at_first = peak(&config);
    let upload = lab.path("upload");
    std::fs::File::create(&upload).and_then(|file| file.set_len(MUCH)).expect("a file");
    assert_eq!(curl(&lab, "/app/up", &["-T", &upload]), MUCH.to_string());
    let down = ["-o", "/dev/null", "-w", "%{http_code} %{size_download}"];
    assert_eq!(curl(&lab, "/app/down", &down), format!("200 {MUCH}"));
    let grown = peak(&config) - at_first;
    assert!(grown < 32 << 10, "{grown} KiB more");
}
