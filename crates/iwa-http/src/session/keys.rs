//! The keys with which sessions are sealed: a text that several servers share, and when a new key comes. RFC 5869.
//!
//! ```text
//! # comment
//! 1763930000 kG9x...=    when it was made (seconds since 1970), 32 random bytes in base64
//! ```
//!
//! What seals is derived, per purpose, from what is in the file. A new key seals only when everybody had time to read it, and
//! an old one opens until the last session that it sealed has ended.

use core::fmt;
use core::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM_SIV, LessSafeKey, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use iwa_auth::env::EntropyError;
use iwa_auth::{Secret, UnixTime};

use crate::system::System;

/// All keys, the newest first. At least one.
#[derive(Clone, Debug)]
pub struct Keys {
    newest: std::sync::Arc<Key>,
    older: Vec<std::sync::Arc<Key>>,
}

impl Keys {
    /// A first key.
    ///
    /// # Errors
    /// There is no randomness.
    pub fn generate(system: &dyn System) -> Result<Self, EntropyError> {
        Ok(Self { newest: std::sync::Arc::new(Key::generate(system)?), older: Vec::new() })
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// Which line is wrong, or that there is no key. Never with anything of a key.
    pub fn parse(text: &str) -> Result<Self, KeysError> {
        let mut keys = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if keys.len() == MOST_KEYS {
                return Err(KeysError::TooMany);
            }
            keys.push(std::sync::Arc::new(Key::parse(line).ok_or(KeysError::Line(number + 1))?));
        }
        // Whatever order somebody wrote them in.
        keys.sort_by_key(|key| core::cmp::Reverse(key.made));
        let mut keys = keys.into_iter();
        let newest = keys.next().ok_or(KeysError::None)?;
        Ok(Self { newest, older: keys.collect() })
    }

    /// The text of a file with these keys.
    #[must_use]
    pub fn text(&self) -> Secret<String> {
        // With room for all, so that no copy is left behind while it grows.
        let mut text = String::with_capacity(HEADING.len() + 80 * (1 + self.older.len()));
        text.push_str(HEADING);
        for key in self.all() {
            let mut encoded = [0; 44];
            // 32 bytes are 44 characters.
            let _ = STANDARD.encode_slice(key.secret.expose(), &mut encoded);
            text.push_str(&key.made.secs().to_string());
            text.push(' ');
            text.push_str(core::str::from_utf8(&encoded).unwrap_or_default());
            text.push('\n');
            zeroize::Zeroize::zeroize(&mut encoded);
        }
        Secret::new(text)
    }

    /// With a new key, if the newest is older than `every`; and without those that opened their last session by now, where
    /// none lives longer than `longest`. `None` if nothing is to be done.
    ///
    /// # Errors
    /// There is no randomness.
    pub fn rotated(
        &self,
        every: Duration,
        longest: Duration,
        system: &dyn System,
    ) -> Result<Option<Self>, EntropyError> {
        let now = system.now();
        let due = now >= self.newest.made.plus(every);
        let mut after = self.newest.made;
        let mut kept = Vec::with_capacity(self.older.len());
        for key in &self.older {
            // It sealed until the one after it did.
            if now < after.plus(SETTLES + longest) {
                kept.push(std::sync::Arc::clone(key));
            }
            after = key.made;
        }
        if due {
            kept.insert(0, std::sync::Arc::clone(&self.newest));
            kept.truncate(MOST_KEYS - 1);
            return Ok(Some(Self { newest: std::sync::Arc::new(Key::generate(system)?), older: kept }));
        }
        let fewer = kept.len() < self.older.len();
        Ok(fewer.then(|| Self { newest: std::sync::Arc::clone(&self.newest), older: kept }))
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        1 + self.older.len()
    }

    /// When the newest was made.
    #[must_use]
    pub fn newest_made(&self) -> UnixTime {
        self.newest.made
    }

    /// The newest that everybody had time to read; if there is none, the one that was there longest.
    pub(super) fn sealing(&self, now: UnixTime) -> &Key {
        let settled = self.all().find(|key| now >= key.made.plus(SETTLES));
        settled.unwrap_or_else(|| self.older.last().unwrap_or(&self.newest))
    }

    pub(super) fn by_id(&self, id: &[u8]) -> Option<&Key> {
        self.all().find(|key| key.id == id)
    }

    fn all(&self) -> impl Iterator<Item = &Key> {
        core::iter::once(&self.newest).chain(&self.older).map(|key| &**key)
    }
}

/// One key.
pub(super) struct Key {
    id: [u8; KEY_ID],
    made: UnixTime,
    secret: Secret<[u8; 32]>,
    aead: LessSafeKey,
}

impl Key {
    fn generate(system: &dyn System) -> Result<Self, EntropyError> {
        let mut secret = [0; 32];
        system.random(&mut secret)?;
        Self::new(UnixTime::from_secs(system.now().secs()), Secret::new(secret)).ok_or(EntropyError)
    }

    fn new(made: UnixTime, secret: Secret<[u8; 32]>) -> Option<Self> {
        let master = Salt::new(HKDF_SHA256, b"iwa sessions").extract(secret.expose());
        let mut id = [0; KEY_ID];
        master.expand(&[b"key id"], Bytes(KEY_ID)).and_then(|okm| okm.fill(&mut id)).ok()?;
        let mut key = zeroize::Zeroizing::new([0; 32]);
        master.expand(&[b"cookie, AES-256-GCM-SIV"], Bytes(32)).and_then(|okm| okm.fill(&mut *key)).ok()?;
        let aead = LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, &*key).ok()?);
        Some(Self { id, made, secret, aead })
    }

    fn parse(line: &str) -> Option<Self> {
        let (made, encoded) = line.split_once(' ')?;
        if !made.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let made = UnixTime::from_secs(made.parse().ok()?);
        let mut secret = zeroize::Zeroizing::new([0; 33]);
        let length = STANDARD.decode_slice(encoded.trim(), &mut *secret).ok()?;
        let (secret, _) = secret.split_at_checked(32).filter(|_| length == 32)?;
        Self::new(made, Secret::new(secret.try_into().ok()?))
    }

    pub(super) const fn id(&self) -> [u8; KEY_ID] {
        self.id
    }

    pub(super) const fn aead(&self) -> &LessSafeKey {
        &self.aead
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("made", &self.made).finish_non_exhaustive()
    }
}

/// Why a text holds no keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeysError {
    /// The line of this number is none.
    Line(usize),
    /// There is none.
    None,
    /// More than anybody needs.
    TooMany,
}

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(number) => write!(
                f,
                "line {number}: wanted the second since 1970 in which a key was made, a space, and 32 bytes in base64"
            ),
            Self::None => f.write_str("there is no key in it"),
            Self::TooMany => write!(f, "there are more than {MOST_KEYS} keys in it"),
        }
    }
}

impl core::error::Error for KeysError {}

/// A length that HKDF is asked for.
struct Bytes(usize);

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

/// How long after it was made a key begins to seal: whoever shares the file looks at it every two seconds.
pub const SETTLES: Duration = Duration::from_secs(10);

/// Bytes of a key's name in a cookie.
pub(super) const KEY_ID: usize = 4;

/// One an hour, for the longest session.
const MOST_KEYS: usize = 800;

const HEADING: &str =
    "# Keys of iwa's sessions: whoever can read this can be anybody. Written by the servers that share it.\n";
