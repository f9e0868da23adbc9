//! The keys that sign tokens, in a directory that several gateways share. RFC 7517, RFC 7518 3.4, RFC 7638, RFC 8037.
//!
//! A file is a key, and its name says from when on it signs: `1764000000.es256.pem`. The next one is made and published well before
//! that, so that applications have it when the first token comes; the one before stays until its last token is dead. Whoever
//! looks first makes the next key; a link that cannot be made twice decides between two who look at once.

use core::fmt;
use core::time::Duration;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use zeroize::Zeroizing;

/// How tokens are signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Algorithm {
    /// ECDSA with P-256 and SHA-256.
    #[default]
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// As they are called in a configuration, in JOSE and in the names of files.
    pub(crate) const ALL: [(&'static str, Self); 2] = [("ES256", Self::Es256), ("EdDSA", Self::EdDsa)];

    /// JOSE's name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    fn of_file(name: &str) -> Option<(u64, Self)> {
        let (begins, algorithm) = name.strip_suffix(".pem")?.split_once('.')?;
        let (_, algorithm) = Self::ALL.iter().find(|(known, _)| known.to_ascii_lowercase() == algorithm)?;
        // One spelling alone: no sign, no zeros before it.
        let number = begins.parse().ok().filter(|number: &u64| number.to_string() == begins)?;
        Some((number, *algorithm))
    }
}

/// The directory, and what was found in it.
pub(crate) struct Keys {
    dir: PathBuf,
    algorithm: Algorithm,
    /// Seconds for which a key signs.
    rotate: u64,
    /// Seconds for which its tokens live.
    lifetime: u64,
    known: ArcSwap<Known>,
}

#[derive(Default)]
struct Known {
    /// The first to sign first.
    keys: Vec<Arc<Key>>,
    /// The set, as it is published.
    jwks: Bytes,
}

/// A key.
pub(crate) struct Key {
    /// From when on it signs, in seconds since 1970.
    begins: u64,
    algorithm: Algorithm,
    pair: Pair,
    /// The token's first part: the JOSE header, in base64url.
    header: String,
    /// RFC 7517 4.
    jwk: Value,
}

enum Pair {
    Es256(Box<EcdsaKeyPair>),
    EdDsa(Box<Ed25519KeyPair>),
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Keys {
    /// Opens the directory; makes it, and a first key, if there is none.
    ///
    /// # Errors
    /// One line for the administrator.
    pub(crate) fn open(
        dir: &Path,
        algorithm: Algorithm,
        rotate: Duration,
        lifetime: Duration,
        now: u64,
    ) -> Result<Self, String> {
        let keys = Self {
            dir: dir.to_owned(),
            algorithm,
            rotate: rotate.as_secs(),
            lifetime: lifetime.as_secs(),
            known: ArcSwap::default(),
        };
        let mut options = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut options, 0o700);
        match options.create(dir) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(keys.problem(&error)),
        }
        keys.refresh(now)?;
        Ok(keys)
    }

    /// Looks for keys of others, makes the next one when it is time, and removes those whose tokens are dead.
    ///
    /// # Errors
    /// One line for the administrator. What was known is known.
    pub(crate) fn refresh(&self, now: u64) -> Result<(), String> {
        let mut keys = self.read()?;
        if let Some(begins) = self.next(&keys, now) {
            self.make(begins).map_err(|error| self.problem(&error))?;
            keys = self.read()?;
        }
        // A key is over when the next one signs.
        let dead = |ends: &Key| ends.begins + self.lifetime + STAYS < now;
        while keys.get(1).is_some_and(|next| dead(next)) {
            let key = keys.remove(0);
            match fs::remove_file(self.dir.join(key.file())) {
                Ok(()) => tracing::info!(key = key.file(), "a key that signed tokens is over, and was removed"),
                // Another gateway was faster.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(self.problem(&error)),
            }
        }
        let known = self.known.load();
        if known.keys.len() != keys.len() || known.keys.iter().zip(&keys).any(|(a, b)| !Arc::ptr_eq(a, b)) {
            let set: Vec<&Value> = keys.iter().map(|key| &key.jwk).collect();
            let jwks = Bytes::from(json!({ "keys": set }).to_string());
            self.known.store(Arc::new(Known { keys, jwks }));
        }
        Ok(())
    }

    /// The key that signs now.
    pub(crate) fn signing(&self, now: u64) -> Option<Arc<Key>> {
        let known = self.known.load();
        // With a clock that went back, the first is better than none.
        known.keys.iter().rev().find(|key| key.begins <= now).or(known.keys.first()).cloned()
    }

    /// The public keys: of now, of before and of what comes next.
    pub(crate) fn jwks(&self) -> Bytes {
        self.known.load().jwks.clone()
    }

    /// For how many seconds applications may keep the public keys: until well before a key signs that they have not seen.
    pub(crate) fn may_be_kept(&self) -> u64 {
        (self.ahead() / 2).min(3_600)
    }

    /// How long before it signs a key is published, in seconds.
    fn ahead(&self) -> u64 {
        (self.rotate / 4).min(24 * 3_600)
    }

    /// From when on another key is to sign, if it must be made now.
    fn next(&self, keys: &[Arc<Key>], now: u64) -> Option<u64> {
        // Whole hours, so that gateways that start together make one key.
        let Some(newest) = keys.last() else { return Some(now - now % 3_600) };
        let planned = newest.begins.saturating_add(self.rotate);
        if newest.algorithm == self.algorithm {
            if now + self.ahead() < planned {
                return None;
            }
            if planned >= now + self.ahead() / 2 {
                return Some(planned);
            }
        } else if newest.begins > now {
            // The change waits its turn.
            return None;
        }
        Some((now + self.ahead()).next_multiple_of(60))
    }

    fn read(&self) -> Result<Vec<Arc<Key>>, String> {
        let known = self.known.load();
        let mut keys = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(|error| self.problem(&error))? {
            let name = entry.map_err(|error| self.problem(&error))?.file_name();
            let Some((begins, algorithm)) = name.to_str().and_then(Algorithm::of_file) else { continue };
            if keys.len() == MOST {
                return Err(format!("[jwt] keys: there are more than {MOST} keys in {}", self.dir.display()));
            }
            let same = |key: &&Arc<Key>| key.begins == begins && key.algorithm == algorithm;
            match known.keys.iter().find(same) {
                Some(key) => keys.push(Arc::clone(key)),
                None => match Key::read(&self.dir.join(&name), begins, algorithm) {
                    Ok(Some(key)) => keys.push(Arc::new(key)),
                    Ok(None) => {}
                    Err(why) => return Err(format!("[jwt] keys: {}: {why}", self.dir.join(&name).display())),
                },
            }
        }
        keys.sort_by_key(|key| (key.begins, key.algorithm.name()));
        Ok(keys)
    }

    /// Makes a key that signs from then on, unless another gateway did.
    fn make(&self, begins: u64) -> io::Result<()> {
        let failed = |_| io::Error::other("no key could be made");
        let random = SystemRandom::new();
        let document = match self.algorithm {
            Algorithm::Es256 => {
                EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(failed)?
            }
            Algorithm::EdDsa => Ed25519KeyPair::generate_pkcs8v1(&random).map_err(failed)?,
        };
        let text = Zeroizing::new(STANDARD.encode(document.as_ref()));
        let mut pem = Zeroizing::new(String::with_capacity(text.len() + 128));
        pem.push_str("-----BEGIN PRIVATE KEY-----\n");
        for (n, c) in text.chars().enumerate() {
            if n > 0 && n % 64 == 0 {
                pem.push('\n');
            }
            pem.push(c);
        }
        pem.push_str("\n-----END PRIVATE KEY-----\n");
        let file = file(begins, self.algorithm);
        let beside = self.dir.join(format!(".{file}.{}", unguessed()?));
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let written = options.open(&beside).and_then(|mut to| {
            to.write_all(pem.as_bytes())?;
            to.sync_all()
        });
        let linked = written.and_then(|()| fs::hard_link(&beside, self.dir.join(&file)));
        let _ = fs::remove_file(&beside);
        match linked {
            Ok(()) => {
                tracing::info!(key = file, "a key for signing tokens was made");
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn problem(&self, error: &io::Error) -> String {
        format!("[jwt] keys: {}: {error}", self.dir.display())
    }
}

impl Key {
    /// `None` if it is gone: another gateway removed it.
    fn read(path: &Path, begins: u64, algorithm: Algorithm) -> Result<Option<Self>, String> {
        let pem = match fs::File::open(path) {
            Ok(file) => {
                let metadata = file.metadata().map_err(|error| error.to_string())?;
                #[cfg(unix)]
                {
                    let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o7777;
                    if mode & 0o077 != 0 {
                        return Err(format!(
                            "others may read it (mode {mode:04o}), and who has it can be anybody to the applications: chmod 600, and \
                             remove it if somebody did"
                        ));
                    }
                }
                if !metadata.is_file() || metadata.len() > LARGEST {
                    return Err("it is no file with a key".to_owned());
                }
                io::read_to_string(file).map(Zeroizing::new).map_err(|error| error.to_string())?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| "it is no PEM with a PKCS #8 key")?;
        let der = Zeroizing::new(der.secret_pkcs8_der().to_vec());
        let wrong = |_| format!("it has no key for {}", algorithm.name());
        let (pair, mut jwk) = match algorithm {
            Algorithm::Es256 => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der).map_err(wrong)?;
                let point = pair.public_key().as_ref();
                // X9.62: 4 is "uncompressed".
                let [4, coordinates @ ..] = point else { return Err("its public key is not a plain point".to_owned()) };
                let (x, y) = coordinates.split_at_checked(32).ok_or("its public key is too short")?;
                let jwk = json!({ "crv": "P-256", "kty": "EC", "x": base64url(x), "y": base64url(y) });
                (Pair::Es256(Box::new(pair)), jwk)
            }
            Algorithm::EdDsa => {
                let pair = Ed25519KeyPair::from_pkcs8(&der).map_err(wrong)?;
                let jwk = json!({ "crv": "Ed25519", "kty": "OKP", "x": base64url(pair.public_key().as_ref()) });
                (Pair::EdDsa(Box::new(pair)), jwk)
            }
        };
        // RFC 7638 3: exactly the members that are there by now, in alphabetical order, without white space.
        let kid = base64url(digest(&SHA256, jwk.to_string().as_bytes()).as_ref());
        let header = json!({ "alg": algorithm.name(), "kid": kid, "typ": "JWT" }).to_string();
        if let Value::Object(members) = &mut jwk {
            members.insert("alg".to_owned(), algorithm.name().into());
            members.insert("kid".to_owned(), kid.into());
            members.insert("use".to_owned(), "sig".into());
        }
        Ok(Some(Self { begins, algorithm, pair, header: base64url(header.as_bytes()), jwk }))
    }

    fn file(&self) -> String {
        file(self.begins, self.algorithm)
    }

    /// A token with these claims, in the compact form (RFC 7515 7.1). `None` if the system gives no randomness.
    pub(crate) fn token(&self, claims: &str) -> Option<String> {
        let mut token = String::with_capacity(self.header.len() + claims.len() * 4 / 3 + 96);
        token.push_str(&self.header);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = match &self.pair {
            Pair::Es256(pair) => pair.sign(&SystemRandom::new(), token.as_bytes()).ok()?,
            Pair::EdDsa(pair) => pair.try_sign(token.as_bytes()).ok()?,
        };
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut token);
        Some(token)
    }
}

fn file(begins: u64, algorithm: Algorithm) -> String {
    format!("{begins}.{}.pem", algorithm.name().to_ascii_lowercase())
}

fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn unguessed() -> io::Result<String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(base64url(&bytes))
}

/// Seconds that a key stays after its last token is dead, for clocks that differ.
const STAYS: u64 = 3_600;

/// Keys in a directory.
const MOST: usize = 64;

/// Bytes of a file with a key.
const LARGEST: u64 = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("iwa-jwt-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&dir);
            Self(dir)
        }

        fn open(&self, algorithm: Algorithm, now: u64) -> Result<Keys, String> {
            Keys::open(&self.0, algorithm, DAY * 30, Duration::from_secs(60), now)
        }

        fn files(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).expect("a directory");
            let mut names: Vec<_> =
                entries.map(|entry| entry.expect("a file").file_name().into_string().expect("UTF-8")).collect();
            names.sort();
            names
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const DAY: Duration = Duration::from_secs(86_400);
    const NOW: u64 = 1_764_000_000;

    fn begins(keys: &Keys) -> Vec<u64> {
        keys.known.load().keys.iter().map(|key| (key.begins - NOW) / 3_600).collect()
    }

    #[test]
    fn the_first_start_makes_a_key_that_nobody_else_may_read() {
        for (algorithm, file) in
            [(Algorithm::Es256, "1764000000.es256.pem"), (Algorithm::EdDsa, "1764000000.eddsa.pem")]
        {
            let dir = Dir::new("first");
            let keys = dir.open(algorithm, NOW + 5).expect("keys");
            assert_eq!(dir.files(), [file]);
            #[cfg(unix)]
            for (path, wanted) in [(dir.0.clone(), 0o700), (dir.0.join(file), 0o600)] {
                use std::os::unix::fs::PermissionsExt as _;
                assert_eq!(fs::metadata(path).expect("it").permissions().mode() & 0o777, wanted);
            }
            let again = dir.open(algorithm, NOW + 9_000).expect("keys");
            assert_eq!((dir.files().len(), keys.jwks()), (1, again.jwks()), "and the next start takes it");
            let set = String::from_utf8(keys.jwks().to_vec()).expect("UTF-8");
            assert!(!set.contains("\"d\"") && !format!("{keys:?}").contains("BEGIN"), "{set}");
        }
    }

    #[test]
    fn the_next_key_is_published_a_day_ahead_and_the_last_stays_until_its_tokens_are_dead() {
        let dir = Dir::new("rotation");
        let keys = dir.open(Algorithm::Es256, NOW).expect("keys");
        let at = |hours: u64| {
            keys.refresh(NOW + hours * 3_600).expect("it looks");
            let signs = (keys.signing(NOW + hours * 3_600).expect("a key").begins - NOW) / 3_600;
            (begins(&keys), signs)
        };
        assert_eq!(at(28 * 24), (vec![0], 0));
        assert_eq!(at(29 * 24), (vec![0, 720], 0));
        assert_eq!(at(30 * 24 - 1), (vec![0, 720], 0));
        assert_eq!(at(30 * 24), (vec![0, 720], 720));
        assert_eq!(at(30 * 24 + 1), (vec![0, 720], 720));
        assert_eq!(at(30 * 24 + 2), (vec![720], 720));
        assert_eq!(dir.files().len(), 1);
        // After a long time without a gateway: the old key signs for another day, while the new one gets known.
        assert_eq!(at(100 * 24), (vec![720, 2424], 720));
        assert_eq!(at(101 * 24), (vec![720, 2424], 2424));
        assert!(keys.may_be_kept() * 2 <= keys.ahead());
    }

    #[test]
    fn gateways_that_share_a_directory_make_one_key_and_see_each_others() {
        let dir = Dir::new("shared");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| dir.open(Algorithm::Es256, NOW).expect("keys"));
            }
        });
        assert_eq!(dir.files().len(), 1, "{:?}", dir.files());
        let (one, other) =
            (dir.open(Algorithm::Es256, NOW).expect("keys"), dir.open(Algorithm::Es256, NOW).expect("keys"));
        one.refresh(NOW + 29 * 86_400).expect("it looks");
        assert_eq!(begins(&other), [0]);
        other.refresh(NOW + 29 * 86_400 + 2).expect("it looks");
        assert_eq!(one.jwks(), other.jwks());
        assert_eq!(dir.files().len(), 2);
    }

    #[test]
    fn another_algorithm_begins_with_the_next_key() {
        let dir = Dir::new("algorithm");
        dir.open(Algorithm::Es256, NOW).expect("keys");
        let keys = dir.open(Algorithm::EdDsa, NOW + 3_600).expect("keys");
        assert_eq!(
            (begins(&keys), keys.signing(NOW + 3_600).expect("a key").algorithm),
            (vec![0, 25], Algorithm::Es256)
        );
        keys.refresh(NOW + 3_700).expect("it looks");
        assert_eq!(begins(&keys), [0, 25]);
        assert_eq!(keys.signing(NOW + 25 * 3_600).expect("a key").algorithm, Algorithm::EdDsa);
    }

    #[test]
    fn a_file_that_is_no_key_or_that_others_may_read_is_told_without_a_word_of_it() {
        let dir = Dir::new("bad");
        let keys = dir.open(Algorithm::Es256, NOW).expect("keys");
        let good = fs::read_to_string(dir.0.join("1764000000.es256.pem")).expect("a key");
        for (name, text, mode) in [
            ("1764003600.es256.pem", "SECRET", 0o600),
            ("1764003600.es256.pem", &*good.replace("MI", "SECRET"), 0o600),
            ("1764003600.eddsa.pem", &*good, 0o600),
            ("1764003600.es256.pem", &*good, 0o640),
            ("1764003600.es256.pem", &*"SECRET".repeat(1_000), 0o600),
        ] {
            let path = dir.0.join(name);
            fs::write(&path, text).expect("a file");
            #[cfg(unix)]
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("a mode");
            let why = dir.open(Algorithm::Es256, NOW).expect_err("it is refused");
            assert!(why.contains(name) && !why.contains("SECRET"), "{why}");
            assert!(keys.refresh(NOW).is_err() && keys.signing(NOW).is_some(), "what was known is known");
            fs::remove_file(path).expect("it goes");
        }
        // What has another name is nobody's business.
        for name in
            ["key.pem", "1764003600.rs256.pem", "01764003600.es256.pem", "+1.es256.pem", ".1764003600.es256.pem.x"]
        {
            fs::write(dir.0.join(name), "x").expect("a file");
        }
        assert_eq!(begins(&dir.open(Algorithm::Es256, NOW).expect("keys")), [0]);
    }
}
