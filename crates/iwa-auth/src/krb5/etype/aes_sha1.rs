//! aes128-cts-hmac-sha1-96 and aes256-cts-hmac-sha1-96. RFC 3961 5.3, RFC 3962.

use hmac::Hmac;
use sha1::{Digest as _, Sha1};
use zeroize::Zeroizing;

use super::cts::{Aes, BLOCK};
use super::nfold::{Purpose, constant, nfold};
use super::{Bytes, Integrity, hmac_of, hmac_verify};

/// Octets of the truncated HMAC.
pub(super) const TAG: usize = 12;

/// Ke and Ki.
#[derive(Clone)]
pub(super) struct Specific {
    encryption: Aes,
    integrity: Hmac<Sha1>,
}

/// DK (RFC 3961 5.1): as many bytes as `key` has.
fn derive<'a>(base: &Aes, length: usize, folded: [u8; BLOCK], key: &'a mut Zeroizing<[u8; 32]>) -> &'a [u8] {
    let key = key.get_mut(..length).unwrap_or_default();
    let mut block = Zeroizing::new(folded);
    for part in key.chunks_mut(BLOCK) {
        base.encrypt_block(&mut block);
        part.copy_from_slice(&*block);
    }
    key
}

impl Specific {
    pub(super) fn new(base: &Aes, length: usize, usage: u32) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        Self {
            encryption: Aes::new(derive(base, length, constant(usage, Purpose::Encryption), &mut key)),
            integrity: super::hmac_new(derive(base, length, constant(usage, Purpose::Integrity), &mut key)),
        }
    }

    /// `data` is confounder, plaintext and room for the tag.
    pub(super) fn encrypt(&self, data: &mut [u8]) {
        let Some((text, tag)) = data.split_last_chunk_mut::<TAG>() else { return };
        let mac = hmac_of(&self.integrity, &[text]);
        self.encryption.encrypt(text);
        tag.copy_from_slice(mac.get(..TAG).unwrap_or_default());
    }

    pub(super) fn decrypt<'a>(&self, data: &'a mut [u8]) -> Result<&'a mut [u8], Integrity> {
        let (text, tag) = data.split_last_chunk_mut::<TAG>().ok_or(Integrity)?;
        if text.len() < BLOCK {
            return Err(Integrity);
        }
        self.encryption.decrypt(text);
        // The HMAC is over the plaintext: nothing of it leaves here before it is verified.
        hmac_verify(&self.integrity, &[text], tag)?;
        text.get_mut(BLOCK..).ok_or(Integrity)
    }
}

pub(super) fn checksum_key(base: &Aes, length: usize, usage: u32) -> Hmac<Sha1> {
    super::hmac_new(derive(base, length, constant(usage, Purpose::Checksum), &mut Zeroizing::new([0; 32])))
}

/// RFC 3962 4.
pub(super) fn string_to_key(password: &[u8], salt: &[u8], iterations: u32, key: &mut [u8]) {
    pbkdf2::pbkdf2::<Hmac<Sha1>>(password, salt, iterations, key).expect("HMAC takes keys of any length");
    derive_in_place(key, b"kerberos");
}

/// Replaces `key` by DK(key, constant).
pub(super) fn derive_in_place(key: &mut [u8], label: &[u8]) {
    let mut derived = Zeroizing::new([0; 32]);
    let derived = derive(&Aes::new(key), key.len(), folded(label), &mut derived);
    key.copy_from_slice(derived);
}

fn folded(label: &[u8]) -> [u8; BLOCK] {
    if label.is_empty() { [0; BLOCK] } else { nfold(label) }
}

/// RFC 3961 5.3, RFC 3962 6: one block.
pub(super) fn prf(key: &[u8], input: &[u8]) -> Bytes {
    let mut block = [0; BLOCK];
    block.copy_from_slice(Sha1::digest(input).get(..BLOCK).unwrap_or_default());
    let mut derived = Zeroizing::new([0; 32]);
    Aes::new(derive(&Aes::new(key), key.len(), folded(b"prf"), &mut derived)).encrypt_block(&mut block);
    Bytes::from_slice(&block)
}

#[cfg(test)]
mod tests {
    use super::super::tests::hex;
    use super::*;

    #[test]
    fn rfc_3962_b_string_to_key() {
        let eight = hex("1234567878563412");
        let clef = "\u{1d11e}".as_bytes();
        for (iterations, password, salt, aes128, aes256) in [
            (
                1,
                &b"password"[..],
                &b"ATHENA.MIT.EDUraeburn"[..],
                "42263c6e89f4fc28b8df68ee09799f15",
                "fe697b52bc0d3ce14432ba036a92e65bbb52280990a2fa27883998d72af30161",
            ),
            (
                2,
                b"password",
                b"ATHENA.MIT.EDUraeburn",
                "c651bf29e2300ac27fa469d693bdda13",
                "a2e16d16b36069c135d5e9d2e25f896102685618b95914b467c67622225824ff",
            ),
            (
                1200,
                b"password",
                b"ATHENA.MIT.EDUraeburn",
                "4c01cd46d632d01e6dbe230a01ed642a",
                "55a6ac740ad17b4846941051e1e8b0a7548d93b0ab30a8bc3ff16280382b8c2a",
            ),
            (
                5,
                b"password",
                &eight,
                "e9b23d52273747dd5c35cb55be619d8e",
                "97a4e786be20d81a382d5ebc96d5909cabcdadc87ca48f574504159f16c36e31",
            ),
            (
                1200,
                &[b'X'; 64],
                b"pass phrase equals block size",
                "59d1bb789a828b1aa54ef9c2883f69ed",
                "89adee3608db8bc71f1bfbfe459486b05618b70cbae22092534e56c553ba4b34",
            ),
            (
                1200,
                &[b'X'; 65],
                b"pass phrase exceeds block size",
                "cb8005dc5f90179a7f02104c0018751d",
                "d78c5c9cb872a8c9dad4697f0bb5b2d21496c82beb2caeda2112fceea057401b",
            ),
            (
                50,
                clef,
                b"EXAMPLE.COMpianist",
                "f149c1f2e154a73452d43e7fe62a56e5",
                "4b6d9839f84406df1f09cc166db4b83c571848b784a3d6bdc346589a3e393f9e",
            ),
        ] {
            let (mut short, mut long) = ([0; 16], [0; 32]);
            string_to_key(password, salt, iterations, &mut short);
            string_to_key(password, salt, iterations, &mut long);
            assert_eq!(short[..], hex(aes128));
            assert_eq!(long[..], hex(aes256));
        }
    }
}
