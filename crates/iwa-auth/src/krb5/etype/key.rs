//! Protocol keys: from a keytab, a ticket, a password or randomness. RFC 3961 3.

use core::fmt;

use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::aes_sha2::{Sha256Variant, Sha384Variant};
use super::{Bytes, ChecksumKey, Etype, Integrity, ProtocolKey, SpecificKey, aes_sha1, aes_sha2, rc4};
use crate::env::{Entropy, EntropyError};

/// A protocol key (RFC 3961 3): an account's key, a session key or a subkey.
#[derive(Clone)]
pub struct Key {
    etype: Etype,
    /// The first [`Etype::key_size`] bytes; the others are zero.
    bytes: Zeroizing<[u8; 32]>,
}

/// The most iterations of string-to-key that are done. Their number comes from a KDC whose answer is not yet verified:
/// without a limit, one forged packet costs hours.
pub const MAX_ITERATIONS: u32 = 1_000_000;

impl Key {
    /// A key of these bytes; `None` if their number is not [`Etype::key_size`].
    #[must_use]
    pub fn new(etype: Etype, bytes: &[u8]) -> Option<Self> {
        if bytes.len() != etype.key_size() {
            return None;
        }
        let mut key = Self::empty(etype);
        key.raw_mut().copy_from_slice(bytes);
        Some(key)
    }

    /// A new random key (RFC 3961 `random-to-key` of random octets, which is the identity for all these etypes).
    ///
    /// # Errors
    /// [`EntropyError`] if the source has none.
    pub fn random(etype: Etype, entropy: &mut dyn Entropy) -> Result<Self, EntropyError> {
        let mut key = Self::empty(etype);
        entropy.fill(key.raw_mut())?;
        Ok(key)
    }

    /// `string-to-key`: from a password. `params` is the `s2kparams` of `ETYPE-INFO2-ENTRY`: four bytes, the number of
    /// iterations, or `None` for the default.
    ///
    /// # Errors
    /// [`StringToKeyError`] if `params` are of another length, or ask for no iteration or for more than
    /// [`MAX_ITERATIONS`].
    pub fn from_password(
        etype: Etype,
        password: &str,
        salt: &[u8],
        params: Option<&[u8]>,
    ) -> Result<Self, StringToKeyError> {
        let mut key = Self::empty(etype);
        let iterations = match (etype, params) {
            (Etype::Rc4Hmac, _) => {
                rc4::string_to_key(password, key.raw_mut());
                return Ok(key);
            }
            (_, None) => etype.default_iterations(),
            (_, Some(params)) => {
                u32::from_be_bytes(params.try_into().map_err(|_| StringToKeyError::Params { length: params.len() })?)
            }
        };
        // Zero means 2^32 (RFC 3962 4), and is as good as an attack.
        if iterations == 0 || iterations > MAX_ITERATIONS {
            return Err(StringToKeyError::Iterations { wanted: iterations });
        }
        let derive = match etype {
            Etype::Aes128CtsHmacSha256 => aes_sha2::string_to_key::<Sha256Variant>,
            Etype::Aes256CtsHmacSha384 => aes_sha2::string_to_key::<Sha384Variant>,
            _ => aes_sha1::string_to_key,
        };
        derive(password.as_bytes(), salt, iterations, key.raw_mut());
        Ok(key)
    }

    fn empty(etype: Etype) -> Self {
        Self { etype, bytes: Zeroizing::new([0; 32]) }
    }

    fn raw_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(..self.etype.key_size()).unwrap_or_default()
    }

    /// Its encryption type.
    #[must_use]
    pub const fn etype(&self) -> Etype {
        self.etype
    }

    /// The bytes themselves, for a keytab or a ticket. The name is long so that every use stands out when it is read.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.bytes.get(..self.etype.key_size()).unwrap_or_default()
    }

    /// Whether these are its bytes, in constant time.
    #[must_use]
    pub fn ct_eq(&self, bytes: &[u8]) -> bool {
        self.expose().ct_eq(bytes).into()
    }

    /// Prepares it for derivation. Worth keeping where keys of several usages are derived.
    #[must_use]
    pub fn protocol(&self) -> ProtocolKey {
        ProtocolKey::new(self)
    }

    /// Ke and Ki of one usage.
    #[must_use]
    pub fn specific(&self, usage: u32) -> SpecificKey {
        self.protocol().specific(usage)
    }

    /// Kc of one usage.
    #[must_use]
    pub fn checksum(&self, usage: u32) -> ChecksumKey {
        self.protocol().checksum(usage)
    }

    /// Decrypts once; see [`SpecificKey::decrypt`].
    ///
    /// # Errors
    /// [`Integrity`].
    pub fn decrypt<'a>(&self, usage: u32, cipher: &[u8], scratch: &'a mut Vec<u8>) -> Result<&'a [u8], Integrity> {
        self.specific(usage).decrypt(cipher, scratch)
    }

    /// Encrypts once; see [`SpecificKey::encrypt`].
    ///
    /// # Errors
    /// [`EntropyError`].
    pub fn encrypt(
        &self,
        usage: u32,
        plaintext: &[u8],
        entropy: &mut dyn Entropy,
        out: &mut Vec<u8>,
    ) -> Result<(), EntropyError> {
        self.specific(usage).encrypt(plaintext, entropy, out)
    }

    /// `KERB_CHECKSUM_HMAC_MD5` (RFC 4757 4) under the bytes of this key, whatever its etype, as `PA-FOR-USER` wants it.
    #[must_use]
    pub fn hmac_md5(&self, usage: u32, parts: &[&[u8]]) -> Bytes {
        let sum = rc4::ChecksumKey::new(&super::hmac_new(self.expose()), usage).compute(parts);
        Bytes::truncated(&sum, sum.len())
    }

    /// `pseudo-random` (RFC 3961 3): 16, 32, 48 or 20 bytes.
    #[must_use]
    pub fn prf(&self, input: &[u8]) -> Bytes {
        let key = self.expose();
        match self.etype {
            Etype::Aes128CtsHmacSha1 | Etype::Aes256CtsHmacSha1 => aes_sha1::prf(key, input),
            Etype::Aes128CtsHmacSha256 => aes_sha2::prf::<Sha256Variant>(key, input),
            Etype::Aes256CtsHmacSha384 => aes_sha2::prf::<Sha384Variant>(key, input),
            Etype::Rc4Hmac => rc4::prf(key, input),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.etype)
    }
}

/// Why there is no key from a password.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum StringToKeyError {
    /// `s2kparams` is not four bytes long.
    Params {
        /// Its length.
        length: usize,
    },
    /// The KDC asks for no iteration, or for more than [`MAX_ITERATIONS`].
    Iterations {
        /// How many it asks for.
        wanted: u32,
    },
}

impl fmt::Display for StringToKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Params { length } => write!(f, "s2kparams has {length} bytes, 4 are expected"),
            Self::Iterations { wanted } => write!(
                f,
                "the KDC asks for {wanted} iterations of string-to-key, 1 to {MAX_ITERATIONS} are done: somebody may have forged its answer"
            ),
        }
    }
}

impl core::error::Error for StringToKeyError {}
