//! What an application gets of its visitors: headers, and a token that PyJWT verifies with the keys that the gateway publishes.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use crate::lab::{ALICE, BOB, Lab, Options, member, present, run, shown, text};

/// An application that answers with the head of the request that it got. Ends with the test.
fn application() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || echo(stream));
        }
    });
    port
}

fn echo(mut stream: TcpStream) {
    let (mut got, mut piece) = (Vec::new(), [0; 4096]);
    while !got.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return,
            Ok(length) => got.extend_from_slice(&piece[..length]),
        }
    }
    let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", got.len());
    let _ = stream.write_all(&[head.as_bytes(), &got].concat());
}

fn lab(algorithm: &str) -> Lab {
    let port = application();
    let more = format!(
        r#"
[[mapping]]
local = "{{user}}"

[[route]]
path = "/app"
proxy = "http://127.0.0.1:{port}"
[route.identity]
preset = "authelia"
headers = {{ X-Who = "{{user}}", X-Sid = "{{sid}}", X-How = "{{mechanism}}" }}
groups = ["Web Admins"]
[route.identity.jwt]
audience = "https://app.example.test"

[jwt]
issuer = "https://web.example.test"
keys = "jwt"
algorithm = "{algorithm}"
"#
    );
    Lab::with(&Options { more: &more, ..Options::default() })
}

/// What the application got of a visitor who signs in by NTLM and says to be others.
fn request(lab: &Lab, (name, password): (&str, &str)) -> String {
    let mut command = lab.peer("curl");
    command.args(["-s", "-S", "--ntlm", "-u", &format!("{name}:{password}"), "-H", "Connection: X-Who, Remote-User"]);
    for forged in ["Remote-User", "remote_user", "X.Who", "Remote-Groups", "X-Jwt-Assertion", "X-Forwarded-User"] {
        command.args(["-H", &format!("{forged}: mallory")]);
    }
    let output = run(command.arg(lab.url("/app/page")), "", 30);
    assert!(output.status.success(), "{}", shown(&output));
    text(&output.stdout)
}

fn value<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    let mut found = request.lines().filter_map(|line| line.split_once(": ")).filter(|(found, _)| *found == name);
    let value = found.next().map(|(_, value)| value);
    assert!(found.next().is_none(), "{name} twice: {request}");
    value
}

#[test]
fn an_application_gets_its_headers_and_nothing_that_the_visitor_wrote_in_their_place() {
    if !present("curl", "/usr/bin/curl") {
        return;
    }
    let lab = lab("ES256");
    for (user, groups) in [(ALICE, Some("Web Admins")), (BOB, None)] {
        let request = request(&lab, user);
        assert!(!request.contains("mallory"), "{request}");
        assert_eq!(value(&request, "remote-user"), Some(user.0), "{request}");
        assert!(value(&request, "x-who").is_some_and(|who| who.ends_with(&format!("\\{}", user.0))), "{request}");
        assert!(value(&request, "x-sid").is_some_and(|sid| sid.starts_with("S-1-5-21-")), "{request}");
        assert_eq!((value(&request, "x-how"), value(&request, "remote-groups")), (Some("NTLM"), groups), "{request}");
        assert_eq!((value(&request, "authorization"), value(&request, "connection")), (None, None), "{request}");
    }
}

#[test]
fn pyjwt_takes_the_token_for_its_own_audience_and_refuses_it_changed() {
    if !present("curl", "/usr/bin/curl") || !present("PyJWT", "/usr/lib/python3/dist-packages/jwt/__init__.py") {
        return;
    }
    for algorithm in ["ES256", "EdDSA"] {
        let lab = lab(algorithm);
        let request = request(&lab, ALICE);
        let token = value(&request, "x-jwt-assertion").expect("a token");
        let mut python = lab.peer("/usr/bin/python3");
        python.arg(crate::lab::here().join("python/verify_jwt.py"));
        python.args([&lab.url("/.iwa/jwks.json"), algorithm, "https://web.example.test", "https://app.example.test"]);
        let output = run(&mut python, token, 60);
        assert!(output.status.success(), "{}", shown(&output));
        for (name, wanted) in [("preferred_username", ALICE.0), ("groups", "[\"Web Admins\"]"), ("amr", "[\"wia\"]")] {
            assert_eq!(member(&output, name), wanted, "{}", shown(&output));
        }
        assert_eq!(value(&request, "x-sid"), Some(&*member(&output, "sub")));
    }
}
