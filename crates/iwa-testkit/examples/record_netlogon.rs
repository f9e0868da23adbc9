//! Records one conversation with a real domain controller: endpoint mapper, secure channel, logons.
//!
//! ```text
//! cargo run -p iwa-testkit --example record_netlogon -- recordings/netlogon-samba.txt 192.0.2.10 'what: Samba 4.17' \
//!     'member: CORP WEB' 'machine: NT-HASH' 'logon: alice Alice-Pw1' 'logon: alice wrong'
//! ```
//!
//! What is recorded is public: use a machine and users made for it, and passwords that nobody uses elsewhere.

use std::cell::RefCell;
use std::error::Error;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use iwa_testkit::exchange::Exchange;
use iwa_testkit::recording::{Drawn, Leg, Recording, to_hex};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("which file?")?;
    let host = arguments.next().ok_or("which domain controller?")?;
    let mut recording = Recording::default();
    recording.headers.push(("role".to_owned(), "netlogon".to_owned()));
    for argument in arguments {
        let (name, value) = argument.split_once(": ").ok_or("`name: value`")?;
        recording.headers.push((name.to_owned(), value.to_owned()));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros();
    recording.headers.push(("now".to_owned(), now.to_string()));
    let drawn = Rc::new(RefCell::new(Vec::new()));
    let mut entropy = Drawn { from: File::open("/dev/urandom")?, drawn: Rc::clone(&drawn) };
    let mut line: Option<TcpStream> = None;
    let mut legs = Vec::new();
    let mut carry = |port: Option<u16>, bytes: &[u8]| {
        if let Some(port) = port {
            line = Some(TcpStream::connect((host.as_str(), port)).map_err(|error| error.to_string())?);
        }
        let line = line.as_mut().ok_or("no connection")?;
        let answer = converse(line, bytes).map_err(|error| error.to_string())?;
        legs.push(Leg { token: bytes.to_vec(), answer: answer.clone() });
        Ok(answer)
    };
    recording.end = Exchange::of(&recording)?.hold(&mut entropy, &mut carry)?;
    recording.legs = legs;
    recording.headers.push(("entropy".to_owned(), to_hex(&drawn.borrow())));
    fs::write(&path, recording.to_string())?;
    println!("{path}: {}", recording.end);
    Ok(())
}

/// Sends a request and reads PDUs until the last fragment.
fn converse(line: &mut TcpStream, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    line.set_read_timeout(Some(Duration::from_secs(10)))?;
    line.write_all(bytes)?;
    let mut answer = Vec::new();
    loop {
        let mut pdu = vec![0; 16];
        line.read_exact(&mut pdu)?;
        pdu.resize(usize::from(u16::from_le_bytes([pdu[8], pdu[9]])).max(16), 0);
        line.read_exact(&mut pdu[16..])?;
        let last = pdu[3] & 2 != 0;
        answer.extend(pdu);
        if last {
            return Ok(answer);
        }
    }
}
