//! Encryption types: their names, keys, ciphers and checksums. RFC 3961, RFC 3962, RFC 8009, RFC 4757.
//!
//! ```text
//! Key ----------> ProtocolKey --usage--> SpecificKey  (Ke, Ki: encrypt, decrypt)
//! bytes           base schedule    '---> ChecksumKey  (Kc: checksums)
//! ```
//!
//! Whoever uses a key more than once for one usage keeps the `SpecificKey` or `ChecksumKey`: derivation and key schedules
//! cost as much as decrypting a kilobyte.

mod aes_sha1;
mod aes_sha2;
mod cts;
mod key;
mod nfold;
mod rc4;
mod specific;

use core::fmt;

use digest::{FixedOutput, KeyInit, Output, Update};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

pub use self::key::{Key, MAX_ITERATIONS, StringToKeyError};
pub use self::specific::{ChecksumKey, ProtocolKey, SpecificKey};

use self::aes_sha2::{Sha256Variant, Sha384Variant, Variant};
use super::usage;

/// An encryption type that is implemented. DES, 3DES and Camellia are not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Etype {
    /// 17, RFC 3962.
    Aes128CtsHmacSha1,
    /// 18, RFC 3962.
    Aes256CtsHmacSha1,
    /// 19, RFC 8009.
    Aes128CtsHmacSha256,
    /// 20, RFC 8009.
    Aes256CtsHmacSha384,
    /// 23, RFC 4757.
    Rc4Hmac,
}

impl Etype {
    /// All of them, strongest first: the order in which a client asks for them.
    pub const ALL: [Self; 5] = [
        Self::Aes256CtsHmacSha384,
        Self::Aes256CtsHmacSha1,
        Self::Aes128CtsHmacSha256,
        Self::Aes128CtsHmacSha1,
        Self::Rc4Hmac,
    ];

    /// By its number; `None` for those that are not implemented.
    #[must_use]
    pub const fn from_number(number: i32) -> Option<Self> {
        Some(match number {
            17 => Self::Aes128CtsHmacSha1,
            18 => Self::Aes256CtsHmacSha1,
            19 => Self::Aes128CtsHmacSha256,
            20 => Self::Aes256CtsHmacSha384,
            23 => Self::Rc4Hmac,
            _ => return None,
        })
    }

    /// Its number (RFC 3961 8 and IANA's registry).
    #[must_use]
    pub const fn number(self) -> i32 {
        match self {
            Self::Aes128CtsHmacSha1 => 17,
            Self::Aes256CtsHmacSha1 => 18,
            Self::Aes128CtsHmacSha256 => 19,
            Self::Aes256CtsHmacSha384 => 20,
            Self::Rc4Hmac => 23,
        }
    }

    /// Its registered name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aes128CtsHmacSha1 => "aes128-cts-hmac-sha1-96",
            Self::Aes256CtsHmacSha1 => "aes256-cts-hmac-sha1-96",
            Self::Aes128CtsHmacSha256 => "aes128-cts-hmac-sha256-128",
            Self::Aes256CtsHmacSha384 => "aes256-cts-hmac-sha384-192",
            Self::Rc4Hmac => "rc4-hmac",
        }
    }

    /// By one of the names that krb5.conf, ktutil and ktpass know, in any case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        const NAMES: [(&str, Etype); 20] = [
            ("aes128-cts-hmac-sha1-96", Etype::Aes128CtsHmacSha1),
            ("aes128-cts", Etype::Aes128CtsHmacSha1),
            ("aes128-sha1", Etype::Aes128CtsHmacSha1),
            ("aes128", Etype::Aes128CtsHmacSha1),
            ("aes256-cts-hmac-sha1-96", Etype::Aes256CtsHmacSha1),
            ("aes256-cts", Etype::Aes256CtsHmacSha1),
            ("aes256-sha1", Etype::Aes256CtsHmacSha1),
            ("aes256", Etype::Aes256CtsHmacSha1),
            ("aes128-cts-hmac-sha256-128", Etype::Aes128CtsHmacSha256),
            ("aes128-sha2", Etype::Aes128CtsHmacSha256),
            ("aes256-cts-hmac-sha384-192", Etype::Aes256CtsHmacSha384),
            ("aes256-sha2", Etype::Aes256CtsHmacSha384),
            ("rc4-hmac", Etype::Rc4Hmac),
            ("rc4-hmac-nt", Etype::Rc4Hmac),
            ("rc4", Etype::Rc4Hmac),
            ("arcfour-hmac", Etype::Rc4Hmac),
            ("arcfour-hmac-md5", Etype::Rc4Hmac),
            // ktpass /crypto
            ("aes256-sha1-96", Etype::Aes256CtsHmacSha1),
            ("aes128-sha1-96", Etype::Aes128CtsHmacSha1),
            ("arcfour-hmac-nt", Etype::Rc4Hmac),
        ];
        NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|&(_, etype)| etype)
    }

    /// Bytes of a key.
    #[must_use]
    pub const fn key_size(self) -> usize {
        match self {
            Self::Aes128CtsHmacSha1 | Self::Aes128CtsHmacSha256 | Self::Rc4Hmac => 16,
            Self::Aes256CtsHmacSha1 | Self::Aes256CtsHmacSha384 => 32,
        }
    }

    /// The number of the checksum type that goes with it (RFC 3962 7, RFC 8009 6, RFC 4757 4).
    #[must_use]
    pub const fn checksum_type(self) -> i32 {
        match self {
            Self::Aes128CtsHmacSha1 => 15,
            Self::Aes256CtsHmacSha1 => 16,
            Self::Aes128CtsHmacSha256 => 19,
            Self::Aes256CtsHmacSha384 => 20,
            Self::Rc4Hmac => -138,
        }
    }

    /// The etype whose checksum has this number.
    #[must_use]
    pub const fn of_checksum_type(number: i32) -> Option<Self> {
        Some(match number {
            15 => Self::Aes128CtsHmacSha1,
            16 => Self::Aes256CtsHmacSha1,
            19 => Self::Aes128CtsHmacSha256,
            20 => Self::Aes256CtsHmacSha384,
            -138 => Self::Rc4Hmac,
            _ => return None,
        })
    }

    /// Bytes of a checksum.
    #[must_use]
    pub const fn checksum_size(self) -> usize {
        match self {
            Self::Aes128CtsHmacSha1 | Self::Aes256CtsHmacSha1 => aes_sha1::TAG,
            Self::Aes128CtsHmacSha256 => Sha256Variant::TAG,
            Self::Aes256CtsHmacSha384 => Sha384Variant::TAG,
            Self::Rc4Hmac => rc4::TAG,
        }
    }

    /// Bytes by which a ciphertext is longer than its plaintext: confounder and HMAC.
    #[must_use]
    pub const fn overhead(self) -> usize {
        self.confounder_size() + self.checksum_size()
    }

    const fn confounder_size(self) -> usize {
        match self {
            Self::Rc4Hmac => rc4::CONFOUNDER,
            _ => cts::BLOCK,
        }
    }

    /// Whether it is of the kind that a policy may want to refuse: RC4.
    #[must_use]
    pub const fn is_weak(self) -> bool {
        matches!(self, Self::Rc4Hmac)
    }

    /// The iterations of string-to-key where the KDC names none (RFC 3962 4, RFC 8009 4); 0 for RC4, which has none.
    #[must_use]
    pub const fn default_iterations(self) -> u32 {
        match self {
            Self::Aes128CtsHmacSha1 | Self::Aes256CtsHmacSha1 => 4096,
            Self::Aes128CtsHmacSha256 | Self::Aes256CtsHmacSha384 => 32_768,
            Self::Rc4Hmac => 0,
        }
    }
}

impl fmt::Display for Etype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A ciphertext or checksum that does not verify: another key, or changed bytes. Which of them cannot be known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Integrity;

impl fmt::Display for Integrity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it does not verify under this key")
    }
}

impl core::error::Error for Integrity {}

/// At most 48 bytes, on the stack: a checksum or the output of `prf`. Reads as a slice.
#[derive(Clone)]
pub struct Bytes {
    bytes: Zeroizing<[u8; 48]>,
    length: usize,
}

impl Bytes {
    fn from_slice(slice: &[u8]) -> Self {
        let mut bytes = Zeroizing::new([0; 48]);
        let length = slice.len().min(48);
        for (to, from) in bytes.iter_mut().zip(slice) {
            *to = *from;
        }
        Self { bytes, length }
    }

    fn truncated(slice: &[u8], length: usize) -> Self {
        Self::from_slice(slice.get(..length).unwrap_or(slice))
    }
}

impl core::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({})", self.length)
    }
}

fn hmac_new<M: KeyInit>(key: &[u8]) -> M {
    M::new_from_slice(key).expect("HMAC takes keys of any length")
}

fn hmac_of<M: Update + FixedOutput + Clone>(keyed: &M, parts: &[&[u8]]) -> Output<M> {
    let mut mac = keyed.clone();
    for part in parts {
        mac.update(part);
    }
    mac.finalize_fixed()
}

/// Compares with the first `found.len()` bytes of the HMAC.
fn hmac_verify<M: Update + FixedOutput + Clone>(keyed: &M, parts: &[&[u8]], found: &[u8]) -> Result<(), Integrity> {
    let mac = hmac_of(keyed, parts);
    match mac.get(..found.len()) {
        Some(wanted) if bool::from(wanted.ct_eq(found)) => Ok(()),
        _ => Err(Integrity),
    }
}

#[cfg(test)]
pub(super) mod tests;
