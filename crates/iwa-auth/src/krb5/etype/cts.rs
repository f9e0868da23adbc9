//! AES in CBC mode with ciphertext stealing (CBC-CS3), the last two blocks always swapped, IV zero. RFC 3962 5.

use aes::{Aes128, Aes256};
use cipher::{BlockCipherEncrypt as _, InnerIvInit as _, KeyInit as _};
use cts::{CbcCs3, Decrypt as _, Encrypt as _};

pub(super) const BLOCK: usize = 16;

/// An AES key with its schedules, for both directions.
#[derive(Clone)]
pub(super) enum Aes {
    Aes128(Aes128),
    Aes256(Aes256),
}

impl Aes {
    /// A key of 16 or 32 bytes.
    pub(super) fn new(key: &[u8]) -> Self {
        if let Ok(cipher) = Aes128::new_from_slice(key) {
            Self::Aes128(cipher)
        } else {
            Self::Aes256(Aes256::new_from_slice(key).expect("an AES key of Kerberos has 16 or 32 bytes"))
        }
    }

    pub(super) fn encrypt_block(&self, block: &mut [u8; BLOCK]) {
        match self {
            Self::Aes128(cipher) => cipher.encrypt_block(block.into()),
            Self::Aes256(cipher) => cipher.encrypt_block(block.into()),
        }
    }

    /// Encrypts in place. `data` has at least one block.
    pub(super) fn encrypt(&self, data: &mut [u8]) {
        // With a single block there is nothing to steal from: plain ECB, as the IV is zero.
        if let Ok(block) = <&mut [u8; BLOCK]>::try_from(&mut *data) {
            return self.encrypt_block(block);
        }
        let iv = [0; BLOCK];
        match self {
            Self::Aes128(cipher) => CbcCs3::inner_iv_init(cipher, (&iv).into()).encrypt(data),
            Self::Aes256(cipher) => CbcCs3::inner_iv_init(cipher, (&iv).into()).encrypt(data),
        }
        .expect("the caller brings at least one block");
    }

    /// Decrypts in place. `data` has at least one block.
    pub(super) fn decrypt(&self, data: &mut [u8]) {
        let iv = [0; BLOCK];
        if let Ok(block) = <&mut [u8; BLOCK]>::try_from(&mut *data) {
            use cipher::BlockCipherDecrypt as _;
            return match self {
                Self::Aes128(cipher) => cipher.decrypt_block(block.into()),
                Self::Aes256(cipher) => cipher.decrypt_block(block.into()),
            };
        }
        match self {
            Self::Aes128(cipher) => CbcCs3::inner_iv_init(cipher, (&iv).into()).decrypt(data),
            Self::Aes256(cipher) => CbcCs3::inner_iv_init(cipher, (&iv).into()).decrypt(data),
        }
        .expect("the caller brings at least one block");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::krb5::etype::tests::hex;

    #[test]
    fn rfc_3962_b_ciphertext_stealing() {
        let key = Aes::new(b"chicken teriyaki");
        let text = b"I would like the General Gau's Chicken, please, and wonton soup.";
        for (length, wanted) in [
            (17, "c6353568f2bf8cb4d8a580362da7ff7f97"),
            (31, "fc00783e0efdb2c1d445d4c8eff7ed2297687268d6ecccc0c07b25e25ecfe5"),
            (32, "39312523a78662d5be7fcbcc98ebf5a897687268d6ecccc0c07b25e25ecfe584"),
            (47, "97687268d6ecccc0c07b25e25ecfe584b3fffd940c16a18c1b5549d2f838029e39312523a78662d5be7fcbcc98ebf5"),
            (48, "97687268d6ecccc0c07b25e25ecfe5849dad8bbb96c4cdc03bc103e1a194bbd839312523a78662d5be7fcbcc98ebf5a8"),
            (
                64,
                "97687268d6ecccc0c07b25e25ecfe58439312523a78662d5be7fcbcc98ebf5a84807efe836ee89a526730dbc2f7bc840\
                 9dad8bbb96c4cdc03bc103e1a194bbd8",
            ),
        ] {
            let mut data = text[..length].to_vec();
            key.encrypt(&mut data);
            assert_eq!(data, hex(wanted), "{length}");
            key.decrypt(&mut data);
            assert_eq!(data, text[..length]);
        }
    }

    #[test]
    fn a_single_block_is_plain_ecb() {
        // FIPS 197 appendix C.1.
        let key = Aes::new(&hex("000102030405060708090a0b0c0d0e0f"));
        let mut block = hex("00112233445566778899aabbccddeeff");
        key.encrypt(&mut block);
        assert_eq!(block, hex("69c4e0d86a7b0430d8cdb78070b4c55a"));
        key.decrypt(&mut block);
        assert_eq!(block, hex("00112233445566778899aabbccddeeff"));
    }
}
