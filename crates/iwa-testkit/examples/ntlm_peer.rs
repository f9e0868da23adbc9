//! One end of an NTLM handshake on stdin and stdout, so that a foreign implementation can be the other end.
//!
//! ```text
//! ntlm_peer accept|initiate Negotiate|NTLM|raw [plain|CERTIFICATE-HASH] [RECORDING]
//! ```
//!
//! Each line is a token in hexadecimal; the last line is `ok ...` or `refused ...`. The account is alice with the password
//! `Password`, in any domain. `raw` is raw NTLM under Negotiate. The hash in
//! hexadecimal of a TLS server's certificate demands channel bindings. The handshake is written to RECORDING, whose first
//! header is `$WHAT`.

use std::cell::RefCell;
use std::io::{BufRead as _, Write as _};
use std::rc::Rc;

use iwa_auth::accept::AcceptorConfig;
use iwa_auth::env::EntropyError;
use iwa_auth::initiate::{Credentials, Framing, Initiator, InitiatorConfig};
use iwa_auth::ntlm::acceptor::{Server as NtlmServer, ServerConfig};
use iwa_auth::ntlm::crypto::nt_hash;
use iwa_auth::ntlm::initiator::{Client as NtlmClient, Credential};
use iwa_auth::{Acceptor, BindingPolicy, ChannelBindings, Entropy, Mechanism, Scheme, UnixTime};
use iwa_testkit::accounts::Accounts;
use iwa_testkit::corpus::hex;
use iwa_testkit::pair::{Client, Seeded, Server};
use iwa_testkit::recording::{Leg, Recording, to_hex};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let word = |at: usize| arguments.get(at).map_or("", String::as_str);
    let (scheme, framing) = match word(1) {
        "NTLM" => (Scheme::Ntlm, Framing::Bare),
        "raw" => (Scheme::Negotiate, Framing::Bare),
        _ => (Scheme::Negotiate, Framing::Spnego),
    };
    let bindings = match word(2) {
        "" | "plain" => ChannelBindings::none(),
        hash => ChannelBindings::tls_server_end_point(&hex(hash).expect("hexadecimal")),
    };
    match word(0) {
        "accept" => accept(scheme, bindings).write(arguments.get(3), word(1), word(2)),
        "initiate" => initiate(scheme, framing, bindings).write(arguments.get(3), word(1), word(2)),
        _ => eprintln!("ntlm_peer accept|initiate Negotiate|NTLM|raw [plain|CERTIFICATE-HASH] [RECORDING]"),
    }
}

/// What happened, and what is needed to let it happen again.
struct Log {
    role: &'static str,
    now: UnixTime,
    drawn: Rc<RefCell<Vec<u8>>>,
    legs: Vec<Leg>,
    end: String,
}

impl Log {
    fn write(self, path: Option<&String>, form: &str, channel: &str) {
        let Some(path) = path else { return };
        let scheme = if form == "NTLM" { "NTLM" } else { "Negotiate" };
        let mut headers = vec![
            ("what", std::env::var("WHAT").unwrap_or_default()),
            ("role", self.role.to_owned()),
            ("scheme", scheme.to_owned()),
            ("now", self.now.micros().to_string()),
            ("entropy", to_hex(&self.drawn.borrow())),
            ("mechanisms", "NTLM".to_owned()),
            ("account", format!("alice {}", to_hex(nt_hash("Password").expose()))),
        ];
        if form == "raw" {
            headers.push(("framing", "bare".to_owned()));
        }
        if !matches!(channel, "" | "plain") {
            headers.push(("certificate-hash", channel.to_owned()));
        }
        let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let recording = Recording { headers, legs: self.legs, end: self.end };
        std::fs::write(path, recording.to_string()).expect("the recording is written");
    }
}

fn accept(scheme: Scheme, bindings: ChannelBindings) -> Log {
    let config = ServerConfig {
        nb_domain: "EXAMPLE".to_owned(),
        dns_computer: Some("web.example.test".to_owned()),
        dns_domain: Some("example.test".to_owned()),
        target_names: vec!["HTTP/web.example.test".to_owned()],
        ..ServerConfig::standalone("WEB")
    };
    let acceptor = Acceptor::new(AcceptorConfig {
        mechanisms: vec![Mechanism::Ntlm],
        krb5: None,
        ntlm: Some(NtlmServer::new(config).expect("the names are short")),
        binding: if bindings.is_none() { BindingPolicy::None } else { BindingPolicy::Require },
    });
    let mut log = Log { role: "acceptor", now: now(), drawn: Rc::default(), legs: Vec::new(), end: String::new() };
    let accounts = Accounts::alice();
    let mut server = Server::new(acceptor);
    server.scheme = scheme;
    server.bindings = bindings;
    server.now = log.now;
    server.entropy = Box::new(Remembered { source: Seeded(1), drawn: Rc::clone(&log.drawn) });
    server.logon = Box::new(move |logon| accounts.logon(logon));
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("a line of the other end");
        let token = hex(line.trim()).expect("hexadecimal");
        let answer = server.take(&token);
        log.legs.push(Leg { token, answer: answer.token.clone() });
        if !answer.token.is_empty() {
            say(&to_hex(&answer.token));
        }
        if let Some(end) = &answer.end {
            log.end = answer.in_words();
            match end {
                Ok(_) => say(&format!("ok {}", log.end)),
                Err(reject) => say(&format!("{}: {reject}", log.end)),
            }
            break;
        }
    }
    log
}

fn initiate(scheme: Scheme, framing: Framing, bindings: ChannelBindings) -> Log {
    let credential = Credential {
        user: "alice".to_owned(),
        domain: "EXAMPLE".to_owned(),
        workstation: "DESK".to_owned(),
        nt_hash: nt_hash("Password"),
    };
    let initiator = Initiator::new(InitiatorConfig {
        host: "web.example.test".to_owned(),
        credentials: Credentials { krb5: None, ntlm: Some(NtlmClient::new(credential, Some("HTTP/web.example.test"))) },
        mechanisms: vec![Mechanism::Ntlm],
        mutual: false,
        delegation: iwa_auth::krb5::client::Delegation::No,
        bindings,
        framing,
    });
    let mut log = Log { role: "initiator", now: now(), drawn: Rc::default(), legs: Vec::new(), end: String::new() };
    let mut client = Client::new(initiator);
    client.scheme = scheme;
    client.now = log.now;
    client.entropy = Box::new(Remembered { source: Seeded(2), drawn: Rc::clone(&log.drawn) });
    let mut turn = client.begin();
    let mut lines = std::io::stdin().lock().lines();
    loop {
        if !turn.token.is_empty() {
            say(&to_hex(&turn.token));
        }
        if let Some(end) = turn.end {
            match end {
                Ok(established) => {
                    log.end = format!("by {}", established.mechanism);
                    say(&format!("ok {}", log.end));
                }
                Err(reject) => {
                    log.end = format!("refused: {}", reject.reason.code());
                    say(&format!("{}: {reject}", log.end));
                }
            }
            return log;
        }
        let Some(line) = lines.next() else {
            "hung up".clone_into(&mut log.end);
            return log;
        };
        let line = line.expect("a line of the other end");
        let answer = hex(line.trim()).expect("hexadecimal");
        log.legs.push(Leg { token: turn.token, answer: answer.clone() });
        turn = if answer.is_empty() { client.take_silence() } else { client.take(&answer) };
    }
}

/// The time at the start of the handshake, to the second: it stands still from then on.
fn now() -> UnixTime {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock after 1970");
    UnixTime::from_micros(since.as_secs() * 1_000_000)
}

fn say(line: &str) {
    println!("{line}");
    std::io::stdout().flush().expect("the other end listens");
}

/// Randomness that is kept, for the recording.
struct Remembered {
    source: Seeded,
    drawn: Rc<RefCell<Vec<u8>>>,
}

impl Entropy for Remembered {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        self.source.fill(out)?;
        self.drawn.borrow_mut().extend_from_slice(out);
        Ok(())
    }
}
