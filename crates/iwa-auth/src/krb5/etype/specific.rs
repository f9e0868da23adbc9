//! Keys derived for one usage, with their schedules: encryption and checksums. RFC 3961 3, 5.3; RFC 8009 3; RFC 4757 4.

use core::fmt;

use hmac::Hmac;
use md5::Md5;
use sha1::Sha1;

use super::aes_sha2::{Sha256Variant, Sha384Variant, Variant};
use super::cts::Aes;
use super::{Bytes, Etype, Integrity, Key, aes_sha1, aes_sha2, hmac_new, hmac_of, hmac_verify, rc4};
use crate::env::{Entropy, EntropyError};

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
    pub(super) fn new(key: &Key) -> Self {
        let (etype, key) = (key.etype(), key.expose());
        let base = match etype {
            Etype::Aes128CtsHmacSha1 | Etype::Aes256CtsHmacSha1 => Base::AesSha1(Aes::new(key)),
            Etype::Aes128CtsHmacSha256 => Base::AesSha256(hmac_new(key)),
            Etype::Aes256CtsHmacSha384 => Base::AesSha384(hmac_new(key)),
            Etype::Rc4Hmac => Base::Rc4(hmac_new(key)),
        };
        Self { etype, base }
    }

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
