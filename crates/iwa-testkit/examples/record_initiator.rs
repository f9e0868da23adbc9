//! Records one handshake of ours with a real server: alice, with tickets of the KDC in memory, speaks to a command that reads
//! our tokens as lines of base64 from its standard input and answers each with a line `goes-on TOKEN`, `success TOKEN` or
//! `refused TOKEN` (the token may be missing).
//!
//! ```text
//! cargo run -p iwa-testkit --example record_initiator -- keytab http.keytab
//! cargo run -p iwa-testkit --example record_initiator -- recordings/initiator-x.txt 'what: ...' 'mechanisms: Kerberos' \
//!     mutual -- ./server http.keytab
//! ```
//!
//! The first form writes the keytab of the service, for the server. Words before the command: `mutual`, `delegate`, `bare`.

use std::cell::RefCell;
use std::error::Error;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use iwa_testkit::kdc::Realm;
use iwa_testkit::recording::{Drawn, Leg, Recording, to_hex};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("which file?")?;
    if path == "keytab" {
        return Ok(fs::write(arguments.next().ok_or("which file?")?, Realm::default().keytab_file())?);
    }
    let mut recording = Recording::default();
    recording.headers.push(("role".to_owned(), "initiator".to_owned()));
    for argument in arguments.by_ref().take_while(|argument| argument != "--") {
        let (name, value) = argument.split_once(": ").unwrap_or((&argument, "yes"));
        recording.headers.push((name.to_owned(), value.to_owned()));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros();
    recording.headers.push(("now".to_owned(), now.to_string()));
    let drawn = Rc::new(RefCell::new(Vec::new()));
    let mut client = recording.client()?;
    client.entropy = Box::new(Drawn { from: File::open("/dev/urandom")?, drawn: Rc::clone(&drawn) });

    let mut server = Command::new(arguments.next().ok_or("which server?")?)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut to = server.stdin.take().ok_or("no standard input")?;
    let mut from = BufReader::new(server.stdout.take().ok_or("no standard output")?).lines();
    let mut turn = client.begin();
    while turn.end.is_none() {
        writeln!(to, "{}", STANDARD.encode(&turn.token))?;
        let line = from.next().ok_or("the server ended")??;
        let (word, answer) = line.split_once(' ').unwrap_or((&line, ""));
        let answer = STANDARD.decode(answer.trim()).map_err(|error| error.to_string())?;
        recording.legs.push(Leg { token: core::mem::take(&mut turn.token), answer: answer.clone() });
        turn = match (word, answer.as_slice()) {
            ("success", []) => client.take_silence(),
            ("refused", []) => return Err("the server refused and did not say why".into()),
            _ => client.take(&answer),
        };
    }
    recording.end = turn.in_words();
    recording.headers.push(("entropy".to_owned(), to_hex(&drawn.borrow())));
    fs::write(&path, recording.to_string())?;
    println!("{path}: {}", recording.end);
    drop(to);
    server.wait()?;
    Ok(())
}
