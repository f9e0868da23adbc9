//! Recorded handshakes: text files with the ends' secrets, clock and randomness, and every leg in hexadecimal, so that a
//! handshake with a real peer can be replayed byte by byte.
//!
//! ```text
//! what: curl 7.88 with a ticket of MIT's KDC, mutual authentication
//! scheme: Negotiate
//! now: 1768478400000000
//! entropy: 6f1c...
//! mechanisms: Kerberos, NTLM
//! keytab: 0502...
//! account: alice 259745cb123a52aa2e693aaacca2db52
//!
//! > 6082...
//! < a181...
//! = EXAMPLE\alice by Kerberos
//! ```
//!
//! Header lines, an empty line, then the legs: `>` to the server, `<` its answer (left out when there is none), `=` the end.
//! What the server is made of: `mechanisms` in its order, `keytab`, `pac: optional` where tickets carry none, `rc4: on`,
//! `account: NAME NT-HASH` (several), `certificate-hash` of the TLS connection, whose bindings are then required.
//!
//! `now` is in microseconds since 1970 and stands still; `entropy` is what the server drew, in order. A line that begins
//! with `#` is a comment; a leg may go on over several lines that begin with two spaces. Realms and hosts are test ones.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use iwa_auth::accept::AcceptorConfig;
use iwa_auth::env::EntropyError;
use iwa_auth::initiate::{Credentials, Framing, Initiator, InitiatorConfig};
use iwa_auth::krb5::acceptor::{Service, ServicePolicy};
use iwa_auth::krb5::client::Delegation;
use iwa_auth::krb5::etype::Etype;
use iwa_auth::krb5::keys::{KeyEntry, Keys};
use iwa_auth::krb5::pac::PacPolicy;
use iwa_auth::ntlm::acceptor::{Server as NtlmServer, ServerConfig};
use iwa_auth::ntlm::crypto::nt_hash;
use iwa_auth::ntlm::initiator::{Client as NtlmClient, Credential};
use iwa_auth::{Acceptor, BindingPolicy, ChannelBindings, Entropy, Mechanism, Scheme, UnixTime};
use iwa_wire::keytab::Keytab;

use crate::accounts::{Accounts, DOMAIN};
use crate::corpus::hex;
use crate::kdc::{HOST, Realm};
use crate::pair::{Client, Server};

/// A recorded handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// Header lines, in order; names may repeat.
    pub headers: Vec<(String, String)>,
    /// What went over the wire.
    pub legs: Vec<Leg>,
    /// How it ended, in the words of [`crate::pair::Answer::in_words`].
    pub end: String,
}

/// A token of the client and the server's answer to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leg {
    /// To the server.
    pub token: Vec<u8>,
    /// From the server; empty if it answered without a token.
    pub answer: Vec<u8>,
}

impl Recording {
    /// The recordings of a directory, by file name.
    ///
    /// # Panics
    /// If one of them does not follow the format: they are part of the repository.
    #[must_use]
    pub fn all(directory: &Path) -> Vec<(PathBuf, Self)> {
        let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
        paths.sort();
        let read = |path: PathBuf| {
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let recording = Self::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (path, recording)
        };
        paths.into_iter().map(read).collect()
    }

    /// Reads the text of a recording.
    ///
    /// # Errors
    /// The line that does not follow the format, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut recording = Self::default();
        let mut lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with('#')).peekable();
        for (number, line) in lines.by_ref() {
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(": ").ok_or(format!("line {}: not `name: value`", number + 1))?;
            recording.headers.push((name.to_owned(), value.to_owned()));
        }
        while let Some((number, line)) = lines.next() {
            let at = |what: &str| format!("line {}: {what}", number + 1);
            let (mark, first) = line.split_once(' ').ok_or_else(|| at("not `> token`, `< token` or `= end`"))?;
            let mut rest = first.to_owned();
            while let Some((_, more)) = lines.next_if(|(_, line)| line.starts_with("  ")) {
                rest.push_str(more.trim());
            }
            match mark {
                ">" => {
                    let token = hex(&rest).ok_or_else(|| at("not hexadecimal"))?;
                    recording.legs.push(Leg { token, answer: Vec::new() });
                }
                "<" => {
                    let leg = recording.legs.last_mut().ok_or_else(|| at("an answer before the first token"))?;
                    leg.answer = hex(&rest).ok_or_else(|| at("not hexadecimal"))?;
                }
                "=" => recording.end = rest,
                _ => return Err(at("not `> token`, `< token` or `= end`")),
            }
        }
        if recording.legs.is_empty() || recording.end.is_empty() {
            return Err("there is no leg, or no end".to_owned());
        }
        Ok(recording)
    }

    /// The first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// All headers of this name.
    pub fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// The clock of the server.
    #[must_use]
    pub fn now(&self) -> Option<UnixTime> {
        self.header("now")?.parse().ok().map(UnixTime::from_micros)
    }

    /// The randomness the server drew.
    #[must_use]
    pub fn entropy(&self) -> Option<Replayed> {
        hex(self.header("entropy")?).map(Replayed)
    }

    /// The server that the header describes, with its clock, and with randomness of its own until it is given another.
    ///
    /// # Errors
    /// Which header cannot be used.
    pub fn server(&self) -> Result<Server, String> {
        let bindings = self.bindings()?;
        let names = ServerConfig {
            nb_domain: DOMAIN.to_owned(),
            dns_computer: Some("web.example.test".to_owned()),
            dns_domain: Some("example.test".to_owned()),
            ..ServerConfig::standalone("WEB")
        };
        let mut server = Server::new(Acceptor::new(AcceptorConfig {
            mechanisms: self.mechanisms()?,
            krb5: self.header("keytab").map(|keytab| self.service(keytab)).transpose()?,
            ntlm: Some(NtlmServer::new(names).map_err(|error| error.to_string())?),
            binding: if bindings.is_none() { BindingPolicy::None } else { BindingPolicy::Require },
        }));
        let mut accounts = Accounts::default();
        for account in self.headers("account") {
            let (name, hash) = account.split_once(' ').ok_or("account")?;
            let hash: [u8; 16] = hex(hash).and_then(|hash| hash.try_into().ok()).ok_or("account")?;
            accounts = accounts.with(name, hash.into());
        }
        server.logon = Box::new(move |logon| accounts.logon(logon));
        server.scheme = if self.header("scheme") == Some("NTLM") { Scheme::Ntlm } else { Scheme::Negotiate };
        server.bindings = bindings;
        server.now = self.now().ok_or("now")?;
        Ok(server)
    }

    /// The client that the header describes: alice of [`Realm`], with `mutual`, `delegate`, `bare` where they stand there,
    /// and her password for NTLM.
    ///
    /// # Errors
    /// Which header cannot be used.
    pub fn client(&self) -> Result<Client, String> {
        let mut realm = Realm::default().at(self.now().ok_or("now")?);
        let is = |name| self.header(name) == Some("yes");
        let credential = Credential {
            user: "alice".to_owned(),
            domain: String::new(),
            workstation: String::new(),
            nt_hash: nt_hash("Password"),
        };
        let target = format!("HTTP/{HOST}");
        let mut client = Client::new(Initiator::new(InitiatorConfig {
            host: HOST.to_owned(),
            credentials: Credentials {
                krb5: Some(realm.alice()),
                ntlm: Some(NtlmClient::new(credential, Some(&target))),
            },
            mechanisms: self.mechanisms()?,
            mutual: is("mutual"),
            delegation: if is("delegate") { Delegation::Always } else { Delegation::No },
            bindings: self.bindings()?,
            framing: if is("bare") { Framing::Bare } else { Framing::Spnego },
        }));
        client.now = realm.now;
        client.kdc = Box::new(move |name, request| realm.answer(name, request));
        Ok(client)
    }

    fn mechanisms(&self) -> Result<Vec<Mechanism>, String> {
        let names = self.header("mechanisms").ok_or("no mechanisms")?.split(", ");
        let mechanism = |name| match name {
            "Kerberos" => Ok(Mechanism::Kerberos),
            "NTLM" => Ok(Mechanism::Ntlm),
            other => Err(format!("a mechanism {other}")),
        };
        names.map(mechanism).collect()
    }

    fn bindings(&self) -> Result<ChannelBindings, String> {
        Ok(match self.header("certificate-hash") {
            Some(hash) => ChannelBindings::tls_server_end_point(&hex(hash).ok_or("certificate-hash")?),
            None => ChannelBindings::none(),
        })
    }

    fn service(&self, keytab: &str) -> Result<Service, String> {
        let bytes = hex(keytab).ok_or("keytab")?;
        let keytab = Keytab::parse(&bytes).map_err(|error| error.to_string())?;
        let principals = keytab.entries().map(|entry| Ok((entry.principal.to_principal()?, entry)));
        let principals =
            principals.collect::<Result<Vec<_>, iwa_wire::ParseError>>().map_err(|error| error.to_string())?;
        let keys = Keys::new(principals.iter().map(|(principal, entry)| KeyEntry {
            name: principal.name(),
            realm: principal.realm(),
            kvno: entry.kvno,
            etype: entry.etype,
            key: entry.key,
        }));
        let mut policy = ServicePolicy::default();
        if self.header("pac") == Some("optional") {
            policy.pac = PacPolicy::Optional;
        }
        if self.header("rc4") == Some("on") {
            policy.etypes.push(Etype::Rc4Hmac);
        }
        Ok(Service::new(keys, policy))
    }
}

impl core::fmt::Display for Recording {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        for (name, value) in &self.headers {
            writeln!(f, "{name}: {value}")?;
        }
        writeln!(f)?;
        for leg in &self.legs {
            write_leg(f, '>', &leg.token)?;
            if !leg.answer.is_empty() {
                write_leg(f, '<', &leg.answer)?;
            }
        }
        writeln!(f, "= {}", self.end)
    }
}

fn write_leg(f: &mut core::fmt::Formatter<'_>, mark: char, token: &[u8]) -> core::fmt::Result {
    const LINE: usize = 48;
    let mut lines = token.chunks(LINE);
    writeln!(f, "{mark} {}", to_hex(lines.next().unwrap_or_default()))?;
    lines.try_for_each(|line| writeln!(f, "  {}", to_hex(line)))
}

/// Bytes in hexadecimal.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Randomness of the system, written down as it is drawn.
#[derive(Debug)]
pub struct Drawn {
    /// Where it comes from.
    pub from: fs::File,
    /// What was drawn.
    pub drawn: Rc<RefCell<Vec<u8>>>,
}

impl Entropy for Drawn {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        self.from.read_exact(out).map_err(|_| EntropyError)?;
        self.drawn.borrow_mut().extend_from_slice(out);
        Ok(())
    }
}

/// Randomness that was drawn once and is drawn again; empty when it has all been drawn.
#[derive(Clone, Debug)]
pub struct Replayed(pub Vec<u8>);

impl Entropy for Replayed {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        if self.0.len() < out.len() {
            return Err(EntropyError);
        }
        let rest = self.0.split_off(out.len());
        out.copy_from_slice(&core::mem::replace(&mut self.0, rest));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let recording = Recording {
            headers: vec![("what".to_owned(), "a test".to_owned()), ("now".to_owned(), "5".to_owned())],
            legs: vec![
                Leg { token: vec![0x60; 100], answer: vec![0xa1; 48] },
                Leg { token: vec![1], answer: Vec::new() },
            ],
            end: "refused: krb5.replay".to_owned(),
        };
        assert_eq!(Recording::parse(&recording.to_string()), Ok(recording.clone()));
        assert_eq!(recording.now(), Some(UnixTime::from_micros(5)));
    }

    #[test]
    fn what_does_not_follow_the_format_is_named_with_its_line() {
        for (text, error) in [
            ("what: x\nnow 5\n\n> 00\n= end", "line 2: not `name: value`"),
            ("what: x\n\n> 0g\n= end", "line 3: not hexadecimal"),
            ("what: x\n\n< 00\n= end", "line 3: an answer before the first token"),
            ("what: x\n\n? 00\n= end", "line 3: not `> token`, `< token` or `= end`"),
            ("what: x\n\n> 00\n", "there is no leg, or no end"),
        ] {
            assert_eq!(Recording::parse(text), Err(error.to_owned()));
        }
    }

    #[test]
    fn replayed_randomness_ends_where_it_ended() {
        let mut replayed = Replayed(vec![1, 2, 3]);
        let mut two = [0; 2];
        assert_eq!((replayed.fill(&mut two), two), (Ok(()), [1, 2]));
        assert_eq!(replayed.fill(&mut two), Err(EntropyError));
    }
}
