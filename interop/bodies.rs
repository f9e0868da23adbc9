//! Bodies of requests around a handshake: the application behind gets each whole, and once, whatever the client sent with the legs before.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::lab::{ALICE, JOERG, Lab, Options, here, interop_home, present, run, shown, text};

/// An application that keeps every body.
struct Application {
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
    port: u16,
}

impl Application {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&bodies);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let all = Arc::clone(&all);
                std::thread::spawn(move || serve(stream, &all));
            }
        });
        Self { bodies, port }
    }

    fn lab(&self) -> Lab {
        let more = format!(
            "[[route]]\npath = \"/app\"\nproxy = \"http://127.0.0.1:{}\"\nallow = {{ users = [\"*\"] }}\n",
            self.port
        );
        Lab::with(&Options { more: &more, ..Options::default() })
    }

    fn taken(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut *self.bodies.lock().expect("not poisoned"))
    }
}

fn serve(mut stream: TcpStream, all: &Mutex<Vec<Vec<u8>>>) {
    let mut bytes = Vec::new();
    let more = |bytes: &mut Vec<u8>, stream: &mut TcpStream| {
        let mut buffer = [0; 65536];
        let length = stream.read(&mut buffer).unwrap_or(0);
        bytes.extend_from_slice(&buffer[..length]);
        length > 0
    };
    let find = |bytes: &[u8], wanted: &[u8]| bytes.windows(wanted.len()).position(|window| window == wanted);
    loop {
        let end = loop {
            match find(&bytes, b"\r\n\r\n") {
                Some(end) => break end + 4,
                None if more(&mut bytes, &mut stream) => {}
                None => return,
            }
        };
        let head = text(&bytes[..end]).to_ascii_lowercase();
        bytes.drain(..end);
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
        let mut body = Vec::new();
        let mut take = |bytes: &mut Vec<u8>, length: usize| {
            while bytes.len() < length {
                if !more(bytes, &mut stream) {
                    return None;
                }
            }
            Some(bytes.drain(..length).collect::<Vec<u8>>())
        };
        if head.contains("transfer-encoding: chunked") {
            loop {
                let mut line = Vec::new();
                while !line.ends_with(b"\r\n") {
                    let Some(byte) = take(&mut bytes, 1) else { return };
                    line.extend(byte);
                }
                let size = usize::from_str_radix(text(&line).trim(), 16).expect("a size");
                let Some(mut chunk) = take(&mut bytes, size + 2) else { return };
                chunk.truncate(size);
                body.extend(chunk);
                if size == 0 {
                    break;
                }
            }
        } else {
            let Some(whole) = take(&mut bytes, length.unwrap_or(0)) else { return };
            body = whole;
        }
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";
        all.lock().expect("not poisoned").push(body);
        if stream.write_all(answer).is_err() {
            return;
        }
    }
}

#[test]
fn what_curl_posts_arrives_once_and_whole() {
    if !present("curl", "/usr/bin/curl") || !present("MIT kinit", "/usr/bin/kinit") {
        return;
    }
    let application = Application::start();
    let lab = application.lab();
    lab.kinit(ALICE);
    let user = format!("{}:{}", ALICE.0, ALICE.1);
    for (way, credentials) in [("--ntlm", user.as_str()), ("--negotiate", ":"), ("--anyauth", user.as_str())] {
        for (length, lines) in [
            (11, &[][..]),
            (11, &["Expect: 100-continue"]),
            (3 << 20, &[]),
            (3 << 20, &["Expect: 100-continue"]),
            (3 << 20, &["Expect:"]),
            (3 << 20, &["Transfer-Encoding: chunked"]),
            (20 << 20, &["Expect:"]),
        ] {
            let body: Vec<u8> = (0..length).map(|number: u32| (number * 7 % 251) as u8).collect();
            std::fs::write(lab.path("body"), &body).expect("written");
            let mut curl = lab.peer("curl");
            curl.args(["-sS", way, "-u", credentials, "--data-binary", &format!("@{}", lab.path("body"))]);
            curl.args(lines.iter().flat_map(|line| ["-H", *line])).arg(lab.url("/app/post"));
            let output = run(&mut curl, "", 60);
            let case = format!("{way} {length} {lines:?}: {}", shown(&output));
            assert_eq!(text(&output.stdout), "ok\n", "{case}");
            let bodies = application.taken();
            assert!(bodies.len() == 1, "{} bodies arrived; {case}", bodies.len());
            assert!(bodies[0] == body, "{} bytes arrived; {case}", bodies[0].len());
        }
    }
}

#[test]
fn what_python_sends_with_each_leg_arrives_once_and_whole() {
    if !present("Python's requests", interop_home().join("venv/ready")) || !present("MIT kinit", "/usr/bin/kinit") {
        return;
    }
    let application = Application::start();
    let lab = application.lab();
    lab.kinit(JOERG);
    for way in ["ntlm", "kerberos"] {
        for length in [11, 100_000, 5 << 20] {
            let mut python = lab.peer(interop_home().join("venv/bin/python"));
            python.env("IWA_USER", JOERG.0).env("IWA_PASSWORD", JOERG.1);
            python.arg(here().join("python/post.py")).args([way, &lab.url("/app/post"), &length.to_string()]);
            let output = run(&mut python, "", 60);
            assert_eq!(text(&output.stdout), "200\n", "{way} {length}: {}", shown(&output));
            let bodies = application.taken();
            assert!(bodies.len() == 1 && bodies[0] == vec![b'x'; length], "{way} {length}: {} arrived", bodies.len());
        }
    }
}
