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
mod nfold;
mod rc4;

use core::fmt;

use digest::{FixedOutput, KeyInit, Output, Update};
use hmac::Hmac;
use md5::Md5;
use sha1::Sha1;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use self::aes_sha2::{Sha256Variant, Sha384Variant, Variant};
use self::cts::Aes;
use super::usage;
use crate::env::{Entropy, EntropyError};

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
        let key = self.expose();
        ProtocolKey {
            etype: self.etype,
            base: match self.etype {
                Etype::Aes128CtsHmacSha1 | Etype::Aes256CtsHmacSha1 => Base::AesSha1(Aes::new(key)),
                Etype::Aes128CtsHmacSha256 => Base::AesSha256(hmac_new(key)),
                Etype::Aes256CtsHmacSha384 => Base::AesSha384(hmac_new(key)),
                Etype::Rc4Hmac => Base::Rc4(hmac_new(key)),
            },
        }
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

/// A ciphertext or checksum that does not verify: another key, or changed bytes. Which of them cannot be known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Integrity;

impl fmt::Display for Integrity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it does not verify under this key")
    }
}

impl core::error::Error for Integrity {}

/// A key prepared for derivation.
#[derive(Clone)]
pub struct ProtocolKey {
    etype: Etype,
    base: Base,
}

#[derive(Clone)]
#[allow(
    clippy::large_enum_variant,
    reason = "they live on the stack of one accept; a box would cost an allocation there"
)]
enum Base {
    AesSha1(Aes),
    AesSha256(<Sha256Variant as Variant>::Mac),
    AesSha384(<Sha384Variant as Variant>::Mac),
    Rc4(Hmac<Md5>),
}

impl ProtocolKey {
    /// Its encryption type.
    #[must_use]
    pub const fn etype(&self) -> Etype {
        self.etype
    }

    /// Ke and Ki of one usage.
    #[must_use]
    pub fn specific(&self, usage: u32) -> SpecificKey {
        let inner = match &self.base {
            Base::AesSha1(base) => Specific::AesSha1(aes_sha1::Specific::new(base, self.etype.key_size(), usage)),
            Base::AesSha256(base) => Specific::AesSha256(aes_sha2::Specific::new(base, usage)),
            Base::AesSha384(base) => Specific::AesSha384(aes_sha2::Specific::new(base, usage)),
            Base::Rc4(base) => Specific::Rc4(rc4::Specific::new(base, usage)),
        };
        SpecificKey { etype: self.etype, inner }
    }

    /// Kc of one usage.
    #[must_use]
    pub fn checksum(&self, usage: u32) -> ChecksumKey {
        let inner = match &self.base {
            Base::AesSha1(base) => Mac::Sha1(aes_sha1::checksum_key(base, self.etype.key_size(), usage)),
            Base::AesSha256(base) => Mac::Sha256(aes_sha2::checksum_key::<Sha256Variant>(base, usage)),
            Base::AesSha384(base) => Mac::Sha384(aes_sha2::checksum_key::<Sha384Variant>(base, usage)),
            Base::Rc4(base) => Mac::Rc4(rc4::ChecksumKey::new(base, usage)),
        };
        ChecksumKey { etype: self.etype, inner }
    }
}

impl fmt::Debug for ProtocolKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProtocolKey({})", self.etype)
    }
}

/// Ke and Ki of one usage, with their schedules: encrypts and decrypts.
#[derive(Clone)]
pub struct SpecificKey {
    etype: Etype,
    inner: Specific,
}

#[derive(Clone)]
enum Specific {
    AesSha1(aes_sha1::Specific),
    AesSha256(aes_sha2::Specific<Sha256Variant>),
    AesSha384(aes_sha2::Specific<Sha384Variant>),
    Rc4(rc4::Specific),
}

impl SpecificKey {
    /// Its encryption type.
    #[must_use]
    pub const fn etype(&self) -> Etype {
        self.etype
    }

    /// Decrypts where it stands. What is returned is a part of `data`, without confounder and HMAC. If it fails, `data`
    /// holds nothing that is meant for anybody.
    ///
    /// # Errors
    /// [`Integrity`] if it is too short or does not verify.
    pub fn decrypt_in_place<'a>(&self, data: &'a mut [u8]) -> Result<&'a mut [u8], Integrity> {
        match &self.inner {
            Specific::AesSha1(key) => key.decrypt(data),
            Specific::AesSha256(key) => key.decrypt(data),
            Specific::AesSha384(key) => key.decrypt(data),
            Specific::Rc4(key) => key.decrypt(data),
        }
    }

    /// Decrypts into `scratch`, whose former contents are lost.
    ///
    /// # Errors
    /// As [`SpecificKey::decrypt_in_place`].
    pub fn decrypt<'a>(&self, cipher: &[u8], scratch: &'a mut Vec<u8>) -> Result<&'a [u8], Integrity> {
        scratch.clear();
        scratch.extend_from_slice(cipher);
        self.decrypt_in_place(scratch).map(|plaintext| &*plaintext)
    }

    /// Where the plaintext stands in a buffer of `length` bytes that [`SpecificKey::decrypt_in_place`] decrypted.
    pub(crate) fn plaintext_range(&self, length: usize) -> core::ops::Range<usize> {
        match &self.inner {
            Specific::Rc4(_) => self.etype.overhead()..length,
            _ => self.etype.confounder_size()..length.saturating_sub(self.etype.checksum_size()),
        }
    }

    /// Encrypts under a fresh confounder and appends the result to `out`.
    ///
    /// # Errors
    /// [`EntropyError`] if there is no confounder; `out` is then as it was.
    pub fn encrypt(&self, plaintext: &[u8], entropy: &mut dyn Entropy, out: &mut Vec<u8>) -> Result<(), EntropyError> {
        let start = out.len();
        let tag = self.etype.checksum_size();
        let (before, after) = if matches!(self.etype, Etype::Rc4Hmac) { (tag, 0) } else { (0, tag) };
        out.reserve(plaintext.len() + self.etype.overhead());
        out.resize(start + before + self.etype.confounder_size(), 0);
        if let Err(error) = entropy.fill(out.get_mut(start + before..).unwrap_or_default()) {
            out.truncate(start);
            return Err(error);
        }
        out.extend_from_slice(plaintext);
        out.resize(out.len() + after, 0);
        let data = out.get_mut(start..).unwrap_or_default();
        match &self.inner {
            Specific::AesSha1(key) => key.encrypt(data),
            Specific::AesSha256(key) => key.encrypt(data),
            Specific::AesSha384(key) => key.encrypt(data),
            Specific::Rc4(key) => key.encrypt(data),
        }
        Ok(())
    }
}

impl fmt::Debug for SpecificKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpecificKey({})", self.etype)
    }
}

/// Kc of one usage, keyed: makes and verifies checksums of the etype's own type ([`Etype::checksum_type`]).
#[derive(Clone)]
pub struct ChecksumKey {
    etype: Etype,
    inner: Mac,
}

#[derive(Clone)]
enum Mac {
    Sha1(Hmac<Sha1>),
    Sha256(<Sha256Variant as Variant>::Mac),
    Sha384(<Sha384Variant as Variant>::Mac),
    Rc4(rc4::ChecksumKey),
}

impl ChecksumKey {
    /// Its encryption type.
    #[must_use]
    pub const fn etype(&self) -> Etype {
        self.etype
    }

    /// The checksum over `parts`, one after the other.
    #[must_use]
    pub fn compute(&self, parts: &[&[u8]]) -> Bytes {
        let size = self.etype.checksum_size();
        match &self.inner {
            Mac::Sha1(key) => Bytes::truncated(&hmac_of(key, parts), size),
            Mac::Sha256(key) => Bytes::truncated(&hmac_of(key, parts), size),
            Mac::Sha384(key) => Bytes::truncated(&hmac_of(key, parts), size),
            Mac::Rc4(key) => Bytes::truncated(&key.compute(parts), size),
        }
    }

    /// Whether `found` is the checksum over `parts`, in constant time.
    ///
    /// # Errors
    /// [`Integrity`] if it is not, or is of another length.
    pub fn verify(&self, parts: &[&[u8]], found: &[u8]) -> Result<(), Integrity> {
        if found.len() != self.etype.checksum_size() {
            return Err(Integrity);
        }
        match &self.inner {
            Mac::Sha1(key) => hmac_verify(key, parts, found),
            Mac::Sha256(key) => hmac_verify(key, parts, found),
            Mac::Sha384(key) => hmac_verify(key, parts, found),
            Mac::Rc4(key) => key.verify(parts, found),
        }
    }
}

impl fmt::Debug for ChecksumKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChecksumKey({})", self.etype)
    }
}

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
