//! Records one handshake with a real client: a site on a loopback port that says where it is, answers until the client is in
//! or refused, and writes the recording.
//!
//! ```text
//! cargo run -p iwa-testkit --example record -- recordings/kerberos-curl.txt \
//!     'what: curl 7.88 with a ticket of MIT 1.20' 'mechanisms: Kerberos, NTLM' keytab=http.keytab
//! ```
//!
//! Arguments after the file are header lines of the recording (see `iwa_testkit::recording`); `keytab=FILE` stands for the
//! file's bytes, `password=NAME` reads NAME's password from standard input. Test realms only: keys are written down.

use std::cell::RefCell;
use std::error::Error;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _, stdin};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use iwa_auth::Scheme;
use iwa_auth::ntlm::crypto::nt_hash;
use iwa_testkit::pair::Server;
use iwa_testkit::recording::{Drawn, Leg, Recording, to_hex};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("which file?")?;
    let mut recording = Recording::default();
    for argument in arguments {
        recording.headers.push(header(&argument)?);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros();
    recording.headers.push(("now".to_owned(), now.to_string()));
    if recording.header("scheme").is_none() {
        recording.headers.push(("scheme".to_owned(), "Negotiate".to_owned()));
    }
    let drawn = Rc::new(RefCell::new(Vec::new()));
    let mut server = recording.server()?;
    server.entropy = Box::new(Drawn { from: File::open("/dev/urandom")?, drawn: Rc::clone(&drawn) });

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("http://{}/", listener.local_addr()?);
    while recording.end.is_empty() {
        serve(listener.accept()?.0, &mut server, &mut recording)?;
    }
    recording.headers.push(("entropy".to_owned(), to_hex(&drawn.borrow())));
    fs::write(&path, recording.to_string())?;
    println!("{path}: {}", recording.end);
    Ok(())
}

fn header(argument: &str) -> Result<(String, String), Box<dyn Error>> {
    if let Some(file) = argument.strip_prefix("keytab=") {
        return Ok(("keytab".to_owned(), to_hex(&fs::read(file)?)));
    }
    if let Some(name) = argument.strip_prefix("password=") {
        let mut password = String::new();
        stdin().read_line(&mut password)?;
        let hash = nt_hash(password.trim_end_matches('\n'));
        return Ok(("account".to_owned(), format!("{name} {}", to_hex(hash.expose()))));
    }
    let (name, value) = argument.split_once(": ").ok_or("a header is `name: value`")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Answers the requests of one connection until it ends, or the handshake does.
fn serve(stream: TcpStream, server: &mut Server, recording: &mut Recording) -> Result<(), Box<dyn Error>> {
    let scheme = if server.scheme == Scheme::Ntlm { "NTLM" } else { "Negotiate" };
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    server.reconnect();
    loop {
        let (mut token, mut length, mut line) = (None, 0, String::new());
        while reader.read_line(&mut line)? > 0 && line != "\r\n" {
            let (name, value) = line.trim_end().split_once(':').unwrap_or_default();
            if name.eq_ignore_ascii_case("authorization") {
                let decoded = value.trim().split_once(' ').map(|(_, token)| STANDARD.decode(token.trim())).transpose();
                token = decoded.map_err(|error| error.to_string())?;
            } else if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse()?;
            }
            line.clear();
        }
        if line.is_empty() {
            return Ok(());
        }
        std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink())?;
        let Some(token) = token else {
            respond(&mut writer, "401 Unauthorized", scheme)?;
            continue;
        };
        let answer = server.take(&token);
        recording.end = if answer.end.is_some() { answer.in_words() } else { String::new() };
        let status = if answer.established().is_some() { "200 OK" } else { "401 Unauthorized" };
        let challenge = match answer.token.as_slice() {
            [] if answer.established().is_some() => String::new(),
            [] => scheme.to_owned(),
            token => format!("{scheme} {}", STANDARD.encode(token)),
        };
        recording.legs.push(Leg { token, answer: answer.token });
        respond(&mut writer, status, &challenge)?;
        if !recording.end.is_empty() {
            return Ok(());
        }
    }
}

fn respond(writer: &mut TcpStream, status: &str, challenge: &str) -> std::io::Result<()> {
    let challenge = if challenge.is_empty() { String::new() } else { format!("WWW-Authenticate: {challenge}\r\n") };
    write!(writer, "HTTP/1.1 {status}\r\n{challenge}Content-Length: 3\r\n\r\nok\n")
}
