//! Proxies that end the clients' TLS in front of this server: what their certificates make clients present. RFC 5929 4.
//!
//! The client ties its token to the certificate that it sees, which is the proxy's. With that certificate's hash the tie can be
//! checked here as well. Nothing of this is learnt from requests: a header could say anything.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use iwa_auth::ChannelBindings;
use iwa_wire::x509::Certificate;

use super::assemble::Problem;
use super::certificate::read_chain;
use super::keytabs::Stamp;

/// A certificate of a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Terminator {
    /// A PEM file: every certificate in it that is a server's.
    File(PathBuf),
    /// The certificate's hash as RFC 5929 4.1 takes it: SHA-256 of the DER encoding, for nearly all.
    Hash(Vec<u8>),
}

/// All of them, and their files as they were read last.
#[derive(Debug, Default)]
pub(crate) struct Terminators {
    configured: Vec<Terminator>,
    read: Mutex<Read>,
}

#[derive(Debug, Default)]
struct Read {
    bindings: ChannelBindings,
    stamps: Vec<Stamp>,
}

impl Terminators {
    /// Reads them.
    ///
    /// # Errors
    /// A file cannot be used.
    pub(crate) fn open(configured: &[Terminator]) -> Result<Self, Problem> {
        let stamps = configured.iter().filter_map(Terminator::stamp).collect();
        let bindings = bindings(configured).map_err(Problem)?;
        Ok(Self { configured: configured.to_vec(), read: Mutex::new(Read { bindings, stamps }) })
    }

    /// What clients behind them may present.
    pub(crate) fn bindings(&self) -> ChannelBindings {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).bindings.clone()
    }

    /// The bindings of now, if a file changed.
    ///
    /// # Errors
    /// A new file cannot be used; the old bindings stay.
    pub(crate) fn refresh(&self) -> Result<Option<ChannelBindings>, Problem> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = false;
        for stamp in &mut read.stamps {
            if let Some(now) = stamp.changed() {
                *stamp = now;
                changed = true;
            }
        }
        if !changed {
            return Ok(None);
        }
        let new = bindings(&self.configured)
            .map_err(|why| Problem(format!("a terminator's certificate changed and cannot be used: {why}")))?;
        read.bindings = new.clone();
        tracing::info!("a terminator's certificate changed; its channel bindings were made anew");
        Ok(Some(new))
    }
}

impl Terminator {
    /// Reads an entry of `terminator-certificates`: a hash in hexadecimal, as `openssl x509 -fingerprint -sha256` prints it too,
    /// or a file.
    pub(crate) fn parse(text: &str, path: impl FnOnce(&str) -> PathBuf) -> Result<Self, String> {
        let (prefix, digits) = match text.split_once(':') {
            Some((prefix, digits)) if PREFIXES.iter().any(|known| known.eq_ignore_ascii_case(prefix)) => {
                (Some(prefix), digits)
            }
            _ => (None, text),
        };
        let digits: Vec<u8> = digits.bytes().filter(|byte| *byte != b':').collect();
        if prefix.is_none() && !(digits.len() >= 64 && digits.iter().all(u8::is_ascii_hexdigit)) {
            return Ok(Self::File(path(text)));
        }
        let value = |digit: u8| char::from(digit).to_digit(16);
        let bytes: Option<Vec<u8>> = digits
            .chunks(2)
            .map(|pair| match *pair {
                [high, low] => u8::try_from(value(high)? << 4 | value(low)?).ok(),
                _ => None,
            })
            .collect();
        let wanted = match prefix.map(str::to_ascii_lowercase).as_deref() {
            Some("sha256") => &[32][..],
            Some("sha384") => &[48],
            Some("sha512") => &[64],
            _ => &[32, 48, 64],
        };
        match bytes {
            Some(bytes) if wanted.contains(&bytes.len()) => Ok(Self::Hash(bytes)),
            _ => Err(format!(
                "wanted a file, or a hash of {} hexadecimal digits: `openssl x509 -in CERT -noout -fingerprint -sha256`",
                wanted.iter().map(|bytes| (bytes * 2).to_string()).collect::<Vec<_>>().join(", ")
            )),
        }
    }

    /// What it makes clients present.
    ///
    /// # Errors
    /// The file cannot be used.
    pub(crate) fn bindings(&self) -> Result<ChannelBindings, String> {
        let path = match self {
            Self::Hash(hash) => return Ok(ChannelBindings::tls_server_end_point(hash)),
            Self::File(path) => path,
        };
        let mut bindings = ChannelBindings::none();
        for (number, der) in read_chain(path)?.iter().enumerate() {
            let certificate = Certificate::parse(der).map_err(|why| format!("{}: {why}", path.display()))?;
            // Old and new may stand in one file, and so may the issuers, which no client sees at the other end.
            if number == 0 || !certificate.is_ca {
                let own = ChannelBindings::of_certificate(der).map_err(|why| format!("{}: {why}", path.display()))?;
                bindings = bindings.or(&own);
            }
        }
        Ok(bindings)
    }

    fn stamp(&self) -> Option<Stamp> {
        match self {
            Self::File(path) => Stamp::of(path).ok(),
            Self::Hash(_) => None,
        }
    }
}

fn bindings(configured: &[Terminator]) -> Result<ChannelBindings, String> {
    let mut all = ChannelBindings::none();
    for terminator in configured {
        all = all.or(&terminator.bindings()?);
    }
    Ok(all)
}

const PREFIXES: [&str; 3] = ["sha256", "sha384", "sha512"];

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Terminator, String> {
        Terminator::parse(text, |path| PathBuf::from(path))
    }

    #[test]
    fn a_hash_is_taken_as_openssl_prints_it_and_anything_else_is_a_file() {
        let hash = "3f".repeat(32);
        let wanted = Ok(Terminator::Hash(vec![0x3f; 32]));
        assert_eq!(parse(&hash), wanted);
        assert_eq!(parse(&format!("sha256:{hash}")), wanted);
        assert_eq!(parse(&format!("SHA256:{}", "3F:".repeat(32).trim_end_matches(':'))), wanted);
        assert_eq!(parse(&format!("sha384:{}", "3f".repeat(48))), Ok(Terminator::Hash(vec![0x3f; 48])));
        assert_eq!(parse("front.pem"), Ok(Terminator::File("front.pem".into())));
        assert_eq!(parse("C:front.pem"), Ok(Terminator::File("C:front.pem".into())));
        for bad in ["sha256:", "sha256:3f", &format!("sha256:{}", "3f".repeat(48)), &"3f".repeat(33), "sha256:zz"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
