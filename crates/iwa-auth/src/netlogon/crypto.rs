//! The computations of the secure channel with AES. MS-NRPC 3.1.4.3.1, 3.1.4.4.1.

use aes::Aes128;
use cipher::KeyIvInit as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use iwa_wire::netlogon::channel::NL_TRUST_PASSWORD;
use sha2::Sha256;

use crate::ntlm::crypto::NtHash;
use crate::secret::Secret;

/// The key that both ends derive from the machine's password and both challenges.
pub type SessionKey = Secret<[u8; 16]>;

/// `SessionKey`. MS-NRPC 3.1.4.3.1.
#[must_use]
pub fn session_key(machine: &NtHash, client_challenge: &[u8; 8], server_challenge: &[u8; 8]) -> SessionKey {
    Secret::new(truncated(&hmac_sha256(machine.expose(), &[client_challenge, server_challenge])))
}

/// A Netlogon credential: what proves the key, made of a challenge or of a number in a chain. MS-NRPC 3.1.4.4.1.
#[must_use]
pub fn credential(key: &SessionKey, input: &[u8; 8]) -> [u8; 8] {
    let mut output = *input;
    encrypt(key.expose(), &[0; 16], &mut output);
    output
}

/// Whether a challenge must be refused: its first five bytes are all the same. With such a challenge one credential in 256
/// is known without the key, as CFB8 with a fixed initialization vector has it. MS-NRPC 3.1.4.1.
#[must_use]
pub fn is_weak(challenge: &[u8; 8]) -> bool {
    let [first, rest @ .., _, _, _] = challenge;
    rest.iter().all(|byte| byte == first)
}

/// The way back from `ClearNewPassword` on the wire: for the domain controller's end. MS-NRPC 3.4.5.2.6.
pub fn decrypt_password(key: &SessionKey, password: &mut [u8; NL_TRUST_PASSWORD]) {
    decrypt(key.expose(), &[0; 16], password);
}

/// AES-128 in CFB8 mode, in place.
pub(super) fn encrypt(key: &[u8; 16], iv: &[u8; 16], data: &mut [u8]) {
    encryptor(key, iv).encrypt(data);
}

/// The way back.
pub(super) fn decrypt(key: &[u8; 16], iv: &[u8; 16], data: &mut [u8]) {
    decryptor(key, iv).decrypt(data);
}

pub(super) fn encryptor(key: &[u8; 16], iv: &[u8; 16]) -> cfb8::Encryptor<Aes128> {
    cfb8::Encryptor::new(key.into(), iv.into())
}

pub(super) fn decryptor(key: &[u8; 16], iv: &[u8; 16]) -> cfb8::Decryptor<Aes128> {
    cfb8::Decryptor::new(key.into(), iv.into())
}

/// HMAC-SHA256 of `parts`, joined.
pub(super) fn hmac_sha256(key: &[u8; 16], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// The first `N` bytes.
pub(super) fn truncated<const N: usize>(hash: &[u8; 32]) -> [u8; N] {
    *hash.first_chunk().expect("no more than a hash has is taken of it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ntlm::crypto::nt_hash;
    use iwa_testkit::corpus::hex;

    fn bytes<const N: usize>(digits: &str) -> [u8; N] {
        hex(digits).and_then(|bytes| bytes.try_into().ok()).unwrap()
    }

    #[test]
    fn ms_nrpc_4_2_the_machines_password_is_hashed_as_a_users() {
        assert!(nt_hash("test").ct_eq(&bytes::<16>("0cb6948805f797bf2a82807973b89537")));
        let shared = "./,nL>OLZ6st^XKeM%.I-tE`WVjC[06?]:Qv_TnUo::Bw,g`v#JM6MqSPuU(nq4>yj[d\\+VpR_yxuc!g0T65vzWA\
                      B_B\"i<<S+4'^:!,;%Gs-(\": m>!CLfnN";
        assert!(nt_hash(shared).ct_eq(&bytes::<16>("31a590170a351fd51148b2a10af2c305")));
    }

    /// A Windows 10 workstation and a Windows Server 2019 domain controller: the published capture of
    /// github.com/billchaison/securechannel.
    #[test]
    fn windows_derives_this_session_key_and_these_credentials() {
        let (client, server) = (bytes("b1d62e009b7be395"), bytes("d080554d6ac171eb"));
        let machine = Secret::new(bytes("62d367fe7103876448561b038e91c37d"));
        let key = session_key(&machine, &client, &server);
        assert!(key.ct_eq(&bytes::<16>("3bde5fef94210c211159c347e10c0189")));
        assert_eq!(credential(&key, &client), bytes("39ac09a434a5b0a3"));
        assert_eq!(credential(&key, &server), bytes("5873518535259fdd"));
    }

    #[test]
    fn a_challenge_whose_first_five_bytes_are_the_same_is_weak() {
        for (challenge, weak) in [
            ([0; 8], true),
            ([0, 0, 0, 0, 0, 1, 2, 3], true),
            ([7, 7, 7, 7, 7, 9, 9, 9], true),
            ([0, 0, 0, 0, 1, 0, 0, 0], false),
            ([1, 0, 0, 0, 0, 0, 0, 0], false),
            (*b"12345678", false),
        ] {
            assert_eq!(is_weak(&challenge), weak, "{challenge:?}");
        }
    }

    #[test]
    fn what_is_encrypted_is_decrypted() {
        let mut data = *b"a message of some length";
        encrypt(&[1; 16], &[2; 16], &mut data);
        assert_ne!(&data, b"a message of some length");
        decrypt(&[1; 16], &[2; 16], &mut data);
        assert_eq!(&data, b"a message of some length");
    }
}
