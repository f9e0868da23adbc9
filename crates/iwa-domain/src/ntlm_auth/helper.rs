//! One `ntlm_auth` and the questions it is asked. Samba, `source3/utils/ntlm_auth.c`: `--helper-protocol=ntlm-server-1`.
//!
//! ```text
//! we    LANMAN-Challenge: 0123456789abcdef        it    Authenticated: Yes       or    Authenticated: No
//!       NT-Response: 0101...                            User-Session-Key: 8DE4         Authentication-Error: words
//!       NT-Domain:: Q09SUA==                            .                              .
//!       Username:: YWxpY2U=                                                            .
//!       Request-User-Session-Key: Yes
//!       .
//! ```
//!
//! Texts that the client chose go as base64 (`::`), so that no byte of theirs can end a line. A refusal ends twice; the second
//! dot is read before the next answer. The LM response is never sent: a domain controller that was given one would fall back
//! on it.

use core::fmt;
use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use iwa_auth::Secret;
use iwa_auth::ports::NetworkLogon;
use iwa_wire::explain::printable;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use zeroize::{Zeroize as _, Zeroizing};

use super::process::Process;

/// An `ntlm_auth` that answers one question at a time. One that did not answer a question to its end must not be asked
/// another: it would answer the first.
#[derive(Debug)]
pub(super) struct Helper {
    process: Process,
    unread: Zeroizing<Vec<u8>>,
}

/// What it said.
#[derive(Debug)]
pub(super) enum Reply {
    /// `Authenticated: Yes`, and the session key if there is one: a guest has none.
    Yes(Option<Secret<[u8; 16]>>),
    /// `Authenticated: No`, and why.
    No(String),
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// It ended, or the socket broke.
    Gone(io::Error),
    /// It said something that is no answer.
    Nonsense(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone(error) => write!(f, "it ended before it answered ({error})"),
            Self::Nonsense(what) => write!(f, "its answer does not follow ntlm-server-1: {what}"),
        }
    }
}

impl Helper {
    /// Starts one.
    ///
    /// # Errors
    /// The program cannot be started.
    pub(super) fn start(program: &Path) -> io::Result<Self> {
        let process = Process::start(program, &["--helper-protocol=ntlm-server-1"])?;
        // Never more than this is read at once, so that the key is not left behind in a buffer that grew.
        Ok(Self { process, unread: Zeroizing::new(Vec::with_capacity(LONGEST_LINE + CHUNK)) })
    }

    /// Whether it can be asked again.
    pub(super) fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// What it complained of.
    pub(super) async fn complaint(&mut self) -> String {
        self.process.complaint().await
    }

    /// Asks it. Whoever asks has a timeout around it, and drops the helper when it strikes.
    ///
    /// # Errors
    /// It died, or said something else than an answer. Drop it.
    pub(super) async fn ask(&mut self, logon: &NetworkLogon) -> Result<Reply, Failure> {
        self.only_dots_are_left()?;
        let question = Zeroizing::new(question(logon));
        self.process.stream.write_all(question.as_bytes()).await.map_err(Failure::Gone)?;
        let mut answer = Answer::default();
        loop {
            let line = self.line().await?;
            if let Some(reply) = answer.take(&line)? {
                return Ok(reply);
            }
        }
    }

    /// Between questions it has nothing to say but the second dot of a refusal: anything else would be taken for the answer
    /// to the next question.
    fn only_dots_are_left(&mut self) -> Result<(), Failure> {
        let mut chunk = [0; 64];
        loop {
            match self.process.stream.try_read(&mut chunk) {
                Ok(0) => return Err(Failure::Gone(io::ErrorKind::UnexpectedEof.into())),
                Ok(length) => self.unread.extend_from_slice(chunk.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(Failure::Gone(error)),
            }
            if self.unread.len() > LONGEST_LINE {
                break;
            }
        }
        if self.unread.is_empty() || self.unread.as_slice() == b".\n" {
            Ok(())
        } else {
            Err(Failure::Nonsense("it speaks without being asked".to_owned()))
        }
    }

    async fn line(&mut self) -> Result<Zeroizing<String>, Failure> {
        loop {
            if let Some(end) = self.unread.iter().position(|&byte| byte == b'\n') {
                let line = self.unread.get(..end).unwrap_or_default();
                let text = String::from_utf8_lossy(line).trim_end_matches('\r').to_owned();
                self.unread.drain(..=end);
                return Ok(Zeroizing::new(text));
            }
            if self.unread.len() > LONGEST_LINE {
                return Err(Failure::Nonsense(format!("a line of more than {LONGEST_LINE} bytes")));
            }
            let mut chunk = [0; CHUNK];
            let length = self.process.stream.read(&mut chunk).await.map_err(Failure::Gone)?;
            self.unread.extend_from_slice(chunk.get(..length).unwrap_or_default());
            chunk.zeroize();
            if length == 0 {
                return Err(Failure::Gone(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }
}

/// The question, as lines.
fn question(logon: &NetworkLogon) -> String {
    let NetworkLogon { domain, user, server_challenge, nt_response, .. } = logon;
    format!(
        "LANMAN-Challenge: {}\nNT-Response: {}\nNT-Domain:: {}\nUsername:: {}\nRequest-User-Session-Key: Yes\n.\n",
        hex(server_challenge),
        hex(nt_response),
        BASE64.encode(domain),
        BASE64.encode(user),
    )
}

/// An answer as far as it was read.
#[derive(Debug, Default)]
struct Answer {
    authenticated: Option<bool>,
    key: Option<Secret<[u8; 16]>>,
    error: String,
    lines: usize,
}

impl Answer {
    /// One more line; the whole answer after its last.
    fn take(&mut self, line: &str) -> Result<Option<Reply>, Failure> {
        let nonsense = || Failure::Nonsense(format!("\"{}\"", printable(line)));
        self.lines += 1;
        if self.lines > MOST_LINES {
            return Err(Failure::Nonsense(format!("more than {MOST_LINES} lines")));
        }
        if line == "." {
            return match self.authenticated {
                // The second dot of a refusal.
                None if self.lines == 1 => Ok(None),
                None => Err(nonsense()),
                Some(true) => Ok(Some(Reply::Yes(self.key.take()))),
                Some(false) => Ok(Some(Reply::No(core::mem::take(&mut self.error)))),
            };
        }
        match (line.split_once(": "), self.authenticated) {
            (Some(("Authenticated", "Yes")), None) => self.authenticated = Some(true),
            (Some(("Authenticated", "No")), None) => self.authenticated = Some(false),
            (Some(("User-Session-Key", digits)), Some(true)) if self.key.is_none() => {
                // The digits are not repeated in the error.
                let key = key(digits).ok_or(Failure::Nonsense("a session key that is none".to_owned()))?;
                self.key = Some(key);
            }
            (Some(("LANMAN-Session-Key", _)), Some(true)) => {}
            (Some(("Authentication-Error", words)), Some(false)) if self.error.is_empty() => {
                words.clone_into(&mut self.error)
            }
            // A text of more than one line.
            (_, Some(false)) if !self.error.is_empty() && !line.starts_with("Authenticated") => {
                self.error.push(' ');
                self.error.push_str(line);
            }
            _ => return Err(nonsense()),
        }
        Ok(None)
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value & 15)]);
    bytes.iter().flat_map(|&byte| [digit(byte >> 4), digit(byte)]).collect()
}

fn key(digits: &str) -> Option<Secret<[u8; 16]>> {
    if digits.len() != 32 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut key = Zeroizing::new([0; 16]);
    for (nth, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * nth..2 * nth + 2)?, 16).ok()?;
    }
    Some(Secret::new(*key))
}

/// Samba's longest line is a refusal in words.
const LONGEST_LINE: usize = 4096;
const MOST_LINES: usize = 16;
const CHUNK: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn logon(domain: &str, user: &str) -> NetworkLogon {
        NetworkLogon {
            domain: domain.into(),
            user: user.into(),
            workstation: "X\nUsername: root".into(),
            server_challenge: [1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef],
            nt_response: vec![0xa5; 30],
            lm_response: vec![7; 24],
        }
    }

    fn answer(lines: &[&str]) -> Result<Option<Reply>, Failure> {
        let mut answer = Answer::default();
        let mut last = None;
        for line in lines {
            last = answer.take(line)?;
        }
        Ok(last)
    }

    #[test]
    fn a_question_has_the_same_lines_whatever_the_client_calls_itself() {
        let plain = question(&logon("CORP", "alice"));
        assert!(plain.contains("LANMAN-Challenge: 0123456789abcdef\n"), "{plain}");
        assert!(plain.contains("\nNT-Domain:: Q09SUA==\nUsername:: YWxpY2U=\nRequest-User-Session-Key: Yes\n.\n"));
        let names = ["alice\nUsername: root", "a\n.\n", "\r\n", ": ", "a\0b", "jörg", "Password: x", "\u{2028}.", ""];
        for name in names {
            for question in [question(&logon(name, "alice")), question(&logon("CORP", name))] {
                let keys: Vec<_> = question.lines().map(|line| line.split(": ").next().unwrap()).collect();
                let wanted =
                    ["LANMAN-Challenge", "NT-Response", "NT-Domain:", "Username:", "Request-User-Session-Key", "."];
                assert_eq!(keys, wanted, "{name:?}");
                assert!(question.is_ascii() && !question.contains("root"));
            }
        }
        assert!(!plain.contains("07070707"), "no LM response: {plain}");
    }

    #[test]
    fn the_answers_of_samba() {
        let yes = answer(&["Authenticated: Yes", "User-Session-Key: CC4DE8A837292C71A99CCB146D778BBA", "."]).unwrap();
        assert!(matches!(yes, Some(Reply::Yes(Some(key))) if key.expose()[..2] == [0xcc, 0x4d]));
        // After a refusal its second dot is left.
        let no =
            answer(&[".", "Authenticated: No", "Authentication-Error: The specified account does not exist.", "."]);
        assert!(matches!(no, Ok(Some(Reply::No(why))) if why == "The specified account does not exist."));
        let two = answer(&["Authenticated: No", "Authentication-Error: one", "two: three", "."]);
        assert!(matches!(two, Ok(Some(Reply::No(why))) if why == "one two: three"));
        let guest = answer(&["Authenticated: Yes", "."]);
        assert!(matches!(guest, Ok(Some(Reply::Yes(None)))));
    }

    #[test]
    fn whatever_is_no_answer_is_refused() {
        let cases: &[&[&str]] = &[
            &["Authenticated: yes"],
            &["Authenticated: Maybe"],
            &["Authenticated:Yes"],
            &["Yes"],
            &[""],
            &[".", "."],
            &["Error: No username supplied!"],
            &["User-Session-Key: CC4DE8A837292C71A99CCB146D778BBA"],
            &["Authenticated: No", "User-Session-Key: CC4DE8A837292C71A99CCB146D778BBA"],
            &["Authenticated: No", "Authenticated: Yes"],
            &["Authenticated: No", "Authentication-Error: x", "Authenticated: Yes"],
            &["Authenticated: Yes", "Authenticated: Yes"],
            &["Authenticated: Yes", "Authentication-Error: x"],
            &["Authenticated: Yes", "User-Session-Key: CC4D"],
            &["Authenticated: Yes", "User-Session-Key: +C4DE8A837292C71A99CCB146D778BBA"],
            &["Authenticated: Yes", "User-Session-Key: ZZ4DE8A837292C71A99CCB146D778BBA"],
        ];
        for lines in cases {
            assert!(matches!(answer(lines), Err(Failure::Nonsense(_))), "{lines:?}");
        }
        let endless: Vec<_> =
            ["Authenticated: No", "Authentication-Error: x"].into_iter().chain(core::iter::repeat_n("y", 20)).collect();
        assert!(answer(&endless).is_err());
    }
}
