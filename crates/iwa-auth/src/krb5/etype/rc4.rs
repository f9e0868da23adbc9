//! rc4-hmac. RFC 4757. Broken by its age (MD4 of the password, no salt): off unless the configuration says otherwise.

use cipher::{KeyInit as _, StreamCipher as _};
use hmac::Hmac;
use md4::Md4;
use md5::{Digest as _, Md5};
use rc4::Rc4;
use sha1::Sha1;
use zeroize::Zeroizing;

use super::{Bytes, Integrity, hmac_new, hmac_of, hmac_verify};

/// Octets of the HMAC, which stands before the ciphertext.
pub(super) const TAG: usize = 16;
/// Octets of the confounder.
pub(super) const CONFOUNDER: usize = 8;

/// K1 of one usage (RFC 4757 4), keyed.
#[derive(Clone)]
pub(super) struct Specific(Hmac<Md5>);

/// RFC 4757 3 with its erratum: usage 9 stays as it is.
fn salt(usage: u32) -> [u8; 4] {
    match usage {
        super::usage::AS_REP => 8,
        super::usage::GSS_ACCEPTOR_SIGN => 13,
        other => other,
    }
    .to_le_bytes()
}

impl Specific {
    pub(super) fn new(base: &Hmac<Md5>, usage: u32) -> Self {
        let k1 = Zeroizing::new(<[u8; 16]>::from(hmac_of(base, &[&salt(usage)])));
        Self(hmac_new(&*k1))
    }

    fn keystream(&self, tag: &[u8]) -> Rc4 {
        let k3 = Zeroizing::new(<[u8; 16]>::from(hmac_of(&self.0, &[tag])));
        Rc4::new_from_slice(&*k3).expect("RC4 takes keys of 16 bytes")
    }

    /// `data` is room for the tag, confounder and plaintext.
    pub(super) fn encrypt(&self, data: &mut [u8]) {
        let Some((tag, text)) = data.split_first_chunk_mut::<TAG>() else { return };
        *tag = hmac_of(&self.0, &[text]).into();
        self.keystream(tag).apply_keystream(text);
    }

    pub(super) fn decrypt<'a>(&self, data: &'a mut [u8]) -> Result<&'a mut [u8], Integrity> {
        let (tag, text) = data.split_first_chunk_mut::<TAG>().ok_or(Integrity)?;
        if text.len() < CONFOUNDER {
            return Err(Integrity);
        }
        self.keystream(tag).apply_keystream(text);
        hmac_verify(&self.0, &[text], tag)?;
        text.get_mut(CONFOUNDER..).ok_or(Integrity)
    }
}

/// Ksign and the salt of one usage: the checksum is HMAC(Ksign, MD5(salt | data)).
#[derive(Clone)]
pub(super) struct ChecksumKey {
    sign: Hmac<Md5>,
    salt: [u8; 4],
}

impl ChecksumKey {
    pub(super) fn new(base: &Hmac<Md5>, usage: u32) -> Self {
        let key = Zeroizing::new(<[u8; 16]>::from(hmac_of(base, &[b"signaturekey\0"])));
        Self { sign: hmac_new(&*key), salt: salt(usage) }
    }

    fn hashed(&self, parts: &[&[u8]]) -> [u8; 16] {
        let mut md5 = Md5::new_with_prefix(self.salt);
        for part in parts {
            md5.update(part);
        }
        md5.finalize().into()
    }

    pub(super) fn compute(&self, parts: &[&[u8]]) -> [u8; TAG] {
        hmac_of(&self.sign, &[&self.hashed(parts)]).into()
    }

    pub(super) fn verify(&self, parts: &[&[u8]], found: &[u8]) -> Result<(), Integrity> {
        hmac_verify(&self.sign, &[&self.hashed(parts)], found)
    }
}

/// MD4 of the password in UTF-16LE (RFC 4757 2): the NT hash. There is no salt.
pub(super) fn string_to_key(password: &str, key: &mut [u8]) {
    let mut md4 = Md4::new();
    for unit in password.encode_utf16() {
        md4.update(unit.to_le_bytes());
    }
    key.copy_from_slice(&Zeroizing::new(<[u8; 16]>::from(md4.finalize()))[..]);
}

/// HMAC-SHA1 under the protocol key, as MIT and Heimdal agree; RFC 4757 names none.
pub(super) fn prf(key: &[u8], input: &[u8]) -> Bytes {
    let base = Hmac::<Sha1>::new_from_slice(key).expect("HMAC takes keys of any length");
    Bytes::from_slice(&hmac_of(&base, &[input]))
}

#[cfg(test)]
mod tests {
    use super::super::tests::hex;
    use super::super::{Etype, Key};

    #[test]
    fn rfc_4757_string_to_key() {
        // RFC 4757 2: the password "foo" in Unicode and its MD4.
        let key = Key::from_password(Etype::Rc4Hmac, "foo", b"ignored", None).unwrap();
        assert!(key.ct_eq(&hex("ac8e657f83df82beea5d43bdaf7800cc")));
    }

    #[test]
    fn usages_are_translated_as_rfc_4757_and_its_erratum_say() {
        assert_eq!(super::salt(3), 8u32.to_le_bytes());
        assert_eq!(super::salt(9), 9u32.to_le_bytes());
        assert_eq!(super::salt(23), 13u32.to_le_bytes());
        assert_eq!(super::salt(11), 11u32.to_le_bytes());
    }
}
