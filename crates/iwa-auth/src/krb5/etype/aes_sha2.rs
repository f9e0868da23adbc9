//! aes128-cts-hmac-sha256-128 and aes256-cts-hmac-sha384-192. RFC 8009.

use digest::KeyInit;
use digest::{FixedOutput, OutputSizeUser, Update};
use hmac::Hmac;
use sha2::{Sha256, Sha384};
use zeroize::Zeroizing;

use super::cts::{Aes, BLOCK};
use super::nfold::Purpose;
use super::{Bytes, Integrity, hmac_new, hmac_of, hmac_verify};

/// What distinguishes the two: their hash and their lengths in bytes.
pub(super) trait Variant: Clone {
    /// HMAC with the hash of this etype.
    type Mac: KeyInit + Update + FixedOutput + OutputSizeUser + Clone;
    /// Its registered name, which salts passwords.
    const NAME: &'static [u8];
    /// Of the protocol key and of Ke.
    const KEY: usize;
    /// Of Ki, Kc and of the truncated HMAC.
    const TAG: usize;
    /// Of the pseudo-random function's output.
    const PRF: usize;
}

/// aes128-cts-hmac-sha256-128.
#[derive(Clone)]
pub(super) struct Sha256Variant;
/// aes256-cts-hmac-sha384-192.
#[derive(Clone)]
pub(super) struct Sha384Variant;

impl Variant for Sha256Variant {
    type Mac = Hmac<Sha256>;
    const NAME: &'static [u8] = b"aes128-cts-hmac-sha256-128";
    const KEY: usize = 16;
    const TAG: usize = 16;
    const PRF: usize = 32;
}

impl Variant for Sha384Variant {
    type Mac = Hmac<Sha384>;
    const NAME: &'static [u8] = b"aes256-cts-hmac-sha384-192";
    const KEY: usize = 32;
    const TAG: usize = 24;
    const PRF: usize = 48;
}

/// Ke and Ki.
#[derive(Clone)]
pub(super) struct Specific<V: Variant> {
    encryption: Aes,
    integrity: V::Mac,
}

/// KDF-HMAC-SHA2 (RFC 8009 3) with `length` bytes of output, at most one hash.
fn kdf<'a, M: FixedOutput + Update + Clone>(
    base: &M,
    label: &[u8],
    context: &[u8],
    length: usize,
    key: &'a mut Zeroizing<[u8; 48]>,
) -> &'a [u8] {
    let bits = (length as u32) * 8;
    let mac = hmac_of(base, &[&1u32.to_be_bytes(), label, &[0], context, &bits.to_be_bytes()]);
    let key = key.get_mut(..length).unwrap_or_default();
    key.copy_from_slice(mac.get(..length).unwrap_or_default());
    key
}

fn label(usage: u32, purpose: Purpose) -> [u8; 5] {
    let [a, b, c, d] = usage.to_be_bytes();
    [a, b, c, d, purpose as u8]
}

impl<V: Variant> Specific<V> {
    pub(super) fn new(base: &V::Mac, usage: u32) -> Self {
        let mut key = Zeroizing::new([0; 48]);
        Self {
            encryption: Aes::new(kdf(base, &label(usage, Purpose::Encryption), &[], V::KEY, &mut key)),
            integrity: hmac_new(kdf(base, &label(usage, Purpose::Integrity), &[], V::TAG, &mut key)),
        }
    }

    /// `data` is confounder, plaintext and room for the tag.
    pub(super) fn encrypt(&self, data: &mut [u8]) {
        let Some((text, tag)) = data.len().checked_sub(V::TAG).and_then(|at| data.split_at_mut_checked(at)) else {
            return;
        };
        self.encryption.encrypt(text);
        let mac = hmac_of(&self.integrity, &[&[0; BLOCK], text]);
        tag.copy_from_slice(mac.get(..V::TAG).unwrap_or_default());
    }

    pub(super) fn decrypt<'a>(&self, data: &'a mut [u8]) -> Result<&'a mut [u8], Integrity> {
        let at = data.len().checked_sub(V::TAG).ok_or(Integrity)?;
        let (text, tag) = data.split_at_mut_checked(at).ok_or(Integrity)?;
        if text.len() < BLOCK {
            return Err(Integrity);
        }
        // Over IV and ciphertext: what is forged is never decrypted.
        hmac_verify(&self.integrity, &[&[0; BLOCK], text], tag)?;
        self.encryption.decrypt(text);
        text.get_mut(BLOCK..).ok_or(Integrity)
    }
}

pub(super) fn checksum_key<V: Variant>(base: &V::Mac, usage: u32) -> V::Mac {
    let mut key = Zeroizing::new([0; 48]);
    hmac_new(kdf(base, &label(usage, Purpose::Checksum), &[], V::TAG, &mut key))
}

/// RFC 8009 4.
pub(super) fn string_to_key<V: Variant>(password: &[u8], salt: &[u8], iterations: u32, key: &mut [u8]) {
    let salt = [V::NAME, &[0], salt].concat();
    pbkdf2::pbkdf2::<V::Mac>(password, &salt, iterations, key).expect("HMAC takes keys of any length");
    derive_in_place::<V>(key, b"kerberos");
}

/// Replaces `key` by KDF-HMAC-SHA2(key, label).
pub(super) fn derive_in_place<V: Variant>(key: &mut [u8], label: &[u8]) {
    let mut derived = Zeroizing::new([0; 48]);
    let base: V::Mac = hmac_new(key);
    key.copy_from_slice(kdf(&base, label, &[], V::KEY, &mut derived));
}

/// RFC 8009 5.
pub(super) fn prf<V: Variant>(key: &[u8], input: &[u8]) -> Bytes {
    let base: V::Mac = hmac_new(key);
    let mut out = Zeroizing::new([0; 48]);
    Bytes::from_slice(kdf(&base, b"prf", input, V::PRF, &mut out))
}
