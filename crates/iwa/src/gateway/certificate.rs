//! The files of a certificate: a chain in PEM, the server's own first, and its key. RFC 7468, RFC 5280, RFC 8446 4.4.2.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use iwa_auth::{ChannelBindings, UnixTime};
use iwa_wire::explain::printable;
use iwa_wire::x509::{Certificate, KeyKind, SignatureHash};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use crate::config::CertificateFiles;

/// A certificate that can be served: chain and key belong together.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    pub(super) key: Arc<CertifiedKey>,
    /// What ties a client's token to a connection that was made with it.
    pub(super) bindings: ChannelBindings,
    pub(crate) facts: Facts,
}

/// What an administrator wants to know of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Host names and addresses, as text.
    pub(crate) names: Vec<String>,
    /// In seconds since 1970.
    pub(crate) not_before: i64,
    /// In seconds since 1970.
    pub(crate) not_after: i64,
    key: KeyKind,
    signature_hash: SignatureHash,
    /// What is wrong with the order of its chain.
    chain: Option<String>,
    /// How many certificates follow it.
    issuers: usize,
    self_issued: bool,
    is_ca: bool,
}

impl Served {
    /// Reads both files.
    ///
    /// # Errors
    /// In words: which file, what is wrong with it, what to do. Never with anything of the key.
    pub(crate) fn read(files: &CertificateFiles) -> Result<Self, String> {
        let path = files.certificate.display();
        let chain = read_chain(&files.certificate)?;
        let facts = Facts::of(&chain).map_err(|why| format!("{path}: {why}"))?;
        let leaf = chain.first().ok_or_else(|| format!("{path} has no certificate"))?;
        let bindings = ChannelBindings::of_certificate(leaf).map_err(|why| format!("{path}: {why}"))?;
        if let KeyKind::Rsa(bits @ ..2048) = facts.key {
            return Err(format!(
                "{path}: its RSA key has {bits} bits; wanted at least 2048, which clients want as well"
            ));
        }
        let key = read_key(&files.key)?;
        let key = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => format!(
                "{} is not the key of {path}: wanted the private key that the certificate was made with",
                files.key.display()
            ),
            // rustls says what it does not take, and nothing of the key.
            error => format!("{path} with the key {} cannot be used: {error}", files.key.display()),
        })?;
        Ok(Self { key: Arc::new(key), bindings, facts })
    }
}

impl Facts {
    fn of(chain: &[CertificateDer<'_>]) -> Result<Self, String> {
        let read = |der| Certificate::parse(der).map_err(|error| error.to_string());
        let [leaf, issuers @ ..] = chain else { return Err("there is no certificate in it".to_owned()) };
        let leaf = read(leaf)?;
        let mut wrong = None;
        let mut below = leaf.clone();
        for (number, issuer) in issuers.iter().enumerate() {
            let issuer = read(issuer)?;
            if issuer.subject != below.issuer && wrong.is_none() {
                wrong = Some(format!(
                    "certificate {} in it did not issue certificate {}: wanted the server's own first, then its issuer, \
                     then the issuer's issuer",
                    number + 2,
                    number + 1
                ));
            }
            below = issuer;
        }
        let names = leaf.dns_names.iter().map(|name| printable(name));
        Ok(Self {
            names: names.chain(leaf.addresses.iter().map(ToString::to_string)).collect(),
            not_before: leaf.not_before,
            not_after: leaf.not_after,
            key: leaf.key,
            signature_hash: leaf.signature_hash,
            chain: wrong,
            issuers: issuers.len(),
            self_issued: leaf.is_self_issued(),
            is_ca: leaf.is_ca,
        })
    }

    /// Whether it is good for this host.
    pub(crate) fn is_for(&self, host: &str) -> bool {
        self.names.iter().any(|name| iwa_wire::x509::name_covers(name, host))
    }

    /// In one line: names, end, kind of key, who vouches for it.
    pub(crate) fn in_words(&self) -> String {
        let mut text = match self.names.as_slice() {
            [] => "no names".to_owned(),
            names => names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", "),
        };
        if self.names.len() > SHOWN {
            let _ = write!(text, " and {} more", self.names.len() - SHOWN);
        }
        let key = match self.key {
            KeyKind::Rsa(bits) => format!("RSA {bits}"),
            KeyKind::Ec(curve) => format!("ECDSA {curve}"),
            KeyKind::Ed25519 => "Ed25519".to_owned(),
            KeyKind::Other => "a key of another kind".to_owned(),
        };
        let by = match (self.self_issued, self.issuers) {
            (true, _) => "signed by itself".to_owned(),
            (false, 0) => "without its issuer".to_owned(),
            (false, 1) => "with its issuer".to_owned(),
            (false, more) => format!("with {more} issuers"),
        };
        let _ = write!(text, "; until {}; {key}; {by}", UnixTime::from_secs(self.not_after));
        text
    }

    /// What will make clients refuse it, or does not fit.
    pub(crate) fn remarks(&self, now: UnixTime) -> Vec<String> {
        let mut remarks = Vec::new();
        let left = self.not_after.saturating_sub(now.secs());
        let end = UnixTime::from_secs(self.not_after);
        if left < 0 {
            remarks.push(format!("it expired on {end}: no client takes it any more"));
        } else if left < SOON_OVER {
            remarks.push(format!("it expires in {} days, on {end}", left / 86_400));
        }
        if now.secs() < self.not_before {
            remarks.push(format!("it is not valid before {}", UnixTime::from_secs(self.not_before)));
        }
        if self.names.is_empty() {
            remarks.push(
                "it names no host in subjectAltName, and clients do not look at its common name any more".to_owned(),
            );
        }
        if let Some(wrong) = &self.chain {
            remarks.push(format!("the chain is not in order: {wrong}"));
        } else if self.is_ca && self.issuers > 0 {
            remarks
                .push("the first certificate is an authority's, not a server's: wanted the server's own first".into());
        }
        if matches!(self.signature_hash, SignatureHash::Md5 | SignatureHash::Sha1) {
            remarks.push("it is signed with MD5 or SHA-1, which clients do not take any more".to_owned());
        }
        if self.signature_hash == SignatureHash::Undefined {
            remarks.push(
                "RFC 5929 defines no channel bindings for its signature (Ed25519, or RSASSA-PSS with two hashes): clients \
                 with extended protection may send none, or others; ECDSA and RSA with SHA-256 do well"
                    .to_owned(),
            );
        }
        remarks
    }
}

/// The certificates of a PEM file, at least one.
pub(super) fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = read_bounded(path, LARGEST_CHAIN)?;
    let mut chain = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        chain.push(certificate.map_err(|_| format!("{} is damaged: {WANTED}", path.display()))?);
        if chain.len() > MOST_IN_CHAIN {
            return Err(format!("{} has more than {MOST_IN_CHAIN} certificates", path.display()));
        }
    }
    if chain.is_empty() {
        return Err(format!("{} has no certificate in it: {WANTED}", path.display()));
    }
    Ok(chain)
}

/// The first private key of a PEM file. What is wrong with it is told without a word of its content.
fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let bytes = read_bounded(path, LARGEST_KEY)?;
    let encrypted = bytes.windows(ENCRYPTED.len()).any(|window| window == ENCRYPTED)
        || bytes.windows(ENCRYPTED_OLD.len()).any(|window| window == ENCRYPTED_OLD);
    if encrypted {
        return Err(format!(
            "the key {} is encrypted, and nobody is there to type its password when the server starts: \
             `openssl pkey -in OLD -out NEW` takes it off; keep the file to the server's user alone",
            path.display()
        ));
    }
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        pem::Error::NoItemsFound => format!("{} has no private key in it: {WANTED_KEY}", path.display()),
        _ => format!("the key {} is damaged: {WANTED_KEY}", path.display()),
    })
}

/// The bytes may be a key's.
fn read_bounded(path: &Path, most: u64) -> Result<Zeroizing<Vec<u8>>, String> {
    let unreadable = |error: std::io::Error| {
        let advice = match error.kind() {
            std::io::ErrorKind::PermissionDenied => "; the user that the server runs as must be able to read it",
            _ => "",
        };
        format!("{} cannot be read: {error}{advice}", path.display())
    };
    let length = std::fs::metadata(path).map_err(unreadable)?.len();
    if length > most {
        return Err(format!("{} has {length} bytes, which is more than such a file has", path.display()));
    }
    std::fs::read(path).map(Zeroizing::new).map_err(unreadable)
}

const WANTED: &str = "wanted PEM, the server's certificate first, then those between it and the authority \
    (`openssl pkcs12 -in web.pfx -nokeys` makes it of a .pfx)";
const WANTED_KEY: &str =
    "wanted PEM, PKCS #8 or the older forms (`openssl pkcs12 -in web.pfx -nocerts -nodes` makes it of a .pfx)";
const ENCRYPTED: &[u8] = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";
const ENCRYPTED_OLD: &[u8] = b"Proc-Type: 4,ENCRYPTED";

const LARGEST_CHAIN: u64 = 1 << 20;
const LARGEST_KEY: u64 = 64 << 10;
const MOST_IN_CHAIN: usize = 32;

/// Names in a line.
const SHOWN: usize = 6;

/// Two weeks: who renews by machine has done it by then.
const SOON_OVER: i64 = 14 * 86_400;

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("iwa-certificate-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            std::fs::create_dir_all(&path).expect("a directory");
            Self(path)
        }

        fn files(&self, certificate: &str, key: &str) -> CertificateFiles {
            let files = CertificateFiles { certificate: self.0.join("web.pem"), key: self.0.join("web.key") };
            std::fs::write(&files.certificate, certificate).expect("written");
            std::fs::write(&files.key, key).expect("written");
            files
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn made(names: &[&str]) -> (String, String) {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn a_pair_says_what_it_is() {
        let directory = Directory::new("words");
        let (certificate, key) = made(&["web.example.test", "*.example.test", "192.0.2.7"]);
        let served = Served::read(&directory.files(&certificate, &key)).expect("a pair");
        assert!(served.facts.is_for("WEB.example.test") && served.facts.is_for("192.0.2.7"));
        let words = served.facts.in_words();
        assert!(words.starts_with("web.example.test, *.example.test, 192.0.2.7; until "), "{words}");
        assert!(words.ends_with("; ECDSA P-256; signed by itself"), "{words}");
        assert_eq!(served.facts.remarks(UnixTime::from_secs(1_800_000_000)), [] as [&str; 0]);
    }

    #[test]
    fn what_clients_will_not_take_is_told() {
        let directory = Directory::new("remarks");
        let (first, key) = made(&[]);
        let mut second = rcgen::CertificateParams::new(["other.example.test".to_owned()]).expect("names");
        second.distinguished_name.push(rcgen::DnType::CommonName, "another");
        let second = second.self_signed(&rcgen::KeyPair::generate().expect("a key")).expect("a certificate").pem();
        let served = Served::read(&directory.files(&(first + &second), &key)).expect("a pair");
        let facts = served.facts;
        let told = |facts: &Facts, now| facts.remarks(UnixTime::from_secs(now)).join("\n");
        let usual = told(&facts, 1_800_000_000);
        assert!(usual.contains("names no host") && usual.contains("certificate 2 in it did not issue"), "{usual}");
        assert!(told(&facts, facts.not_after + 1).contains("it expired on"));
        assert!(told(&facts, facts.not_after - 3 * 86_400).contains("expires in 3 days"));
        assert!(told(&facts, facts.not_before - 1).contains("not valid before"));
        for (key, hash, word) in [
            (KeyKind::Rsa(4096), SignatureHash::Sha1, "SHA-1"),
            (KeyKind::Ed25519, SignatureHash::Undefined, "RFC 5929"),
        ] {
            assert!(told(&Facts { key, signature_hash: hash, ..facts.clone() }, 1_800_000_000).contains(word));
        }
    }

    #[test]
    fn a_short_rsa_key_is_refused_by_its_length() {
        let directory = Directory::new("short");
        let der = include_bytes!("../../../iwa-wire/tests/certificates/sha1.der");
        let pem = format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            base64::Engine::encode(&base64::engine::general_purpose::STANDARD, der)
        );
        let why = Served::read(&directory.files(&pem, &made(&[]).1)).expect_err("1024 bits");
        assert!(why.contains("1024 bits; wanted at least 2048"), "{why}");
    }

    #[test]
    fn a_file_that_cannot_be_used_is_told_without_a_word_of_the_key() {
        let directory = Directory::new("secrets");
        let ((certificate, key), (_, foreign)) = (made(&["web.example.test"]), made(&["web.example.test"]));
        let secret = key.lines().nth(1).expect("base64").to_owned();
        let cut = format!("-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----\n");
        let unended = format!("-----BEGIN PRIVATE KEY-----\n{secret}\n");
        let encrypted = cut.replace("PRIVATE", "ENCRYPTED PRIVATE");
        for (certificate, key, wanted) in [
            (certificate.as_str(), foreign.as_str(), "is not the key of"),
            (&certificate, &cut, "cannot be used"),
            (&certificate, &unended, "is damaged"),
            (&certificate, &secret, "no private key"),
            (&certificate, &encrypted, "is encrypted"),
            (&certificate, &certificate, "no private key"),
            (&key, &key, "no certificate in it"),
            ("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n", &key, "web.pem: Certificate, byte"),
            (&certificate, &"x".repeat(70_000), "70000 bytes"),
        ] {
            let why = Served::read(&directory.files(certificate, key)).expect_err(wanted);
            assert!(why.contains(wanted), "{wanted}: {why}");
            assert!(!why.contains(&secret) && !why.contains(secret.get(10..40).expect("long")), "{why}");
        }
        let missing = CertificateFiles { certificate: directory.0.join("none.pem"), key: directory.0.join("none.key") };
        assert!(Served::read(&missing).is_err_and(|why| why.contains("none.pem cannot be read")));
    }
}
