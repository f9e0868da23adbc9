//! The computations of NTLM version 2. MS-NLMP 3.3.2, 3.4.
//!
//! NTLMv1 is not computed here: a response of that kind is refused unread.

use hmac::{Hmac, KeyInit as _, Mac as _};
use iwa_wire::ntlm::{Flags, Ntlmv2Response};
use md4::Md4;
use md5::{Digest as _, Md5};
use rc4::{Rc4, StreamCipher as _};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::secret::Secret;

/// `NTOWFv1`: MD4 of the password in UTF-16LE. What account databases store; as good as the password itself.
pub type NtHash = Secret<[u8; 16]>;

/// `SessionBaseKey`, which for NTLMv2 is `KeyExchangeKey` too (MS-NLMP 3.4.5.1).
pub type SessionBaseKey = Secret<[u8; 16]>;

/// `NTOWFv1` of a password. MS-NLMP 3.3.1.
#[must_use]
pub fn nt_hash(password: &str) -> NtHash {
    let mut md4 = Md4::new();
    for unit in password.encode_utf16() {
        md4.update(unit.to_le_bytes());
    }
    Secret::new(md4.finalize().into())
}

/// `NTOWFv2`, and `LMOWFv2`, which is the same: the key of a user in a domain, both as the client spells them. The user is
/// put in upper case, the domain is not. MS-NLMP 3.3.2.
#[must_use]
pub fn ntowfv2(nt_hash: &NtHash, user: &str, domain: &str) -> Secret<[u8; 16]> {
    response_key(nt_hash, user.encode_utf16().map(upcase), domain.encode_utf16())
}

fn response_key(
    nt_hash: &NtHash,
    user: impl Iterator<Item = u16>,
    domain: impl Iterator<Item = u16>,
) -> Secret<[u8; 16]> {
    let mut mac = hmac_md5(nt_hash.expose());
    for unit in user.chain(domain) {
        mac.update(&unit.to_le_bytes());
    }
    Secret::new(mac.finalize().into_bytes().into())
}

/// `NTProofStr`: what proves knowledge of the key. `client_challenge` is the whole `NTLMv2_CLIENT_CHALLENGE` (`temp` in
/// MS-NLMP 3.3.2) as it stands in the response.
#[must_use]
pub fn nt_proof_str(response_key: &Secret<[u8; 16]>, server_challenge: &[u8; 8], client_challenge: &[u8]) -> [u8; 16] {
    hmac_md5_of(response_key.expose(), &[server_challenge, client_challenge])
}

/// `SessionBaseKey` of a proof. MS-NLMP 3.3.2.
#[must_use]
pub fn session_base_key(response_key: &Secret<[u8; 16]>, nt_proof_str: &[u8; 16]) -> SessionBaseKey {
    Secret::new(hmac_md5_of(response_key.expose(), &[nt_proof_str]))
}

/// `LmChallengeResponse` of version 2. Sent by nobody here; for those who verify old captures. MS-NLMP 3.3.2.
#[must_use]
pub fn lmv2_response(
    response_key: &Secret<[u8; 16]>,
    server_challenge: &[u8; 8],
    client_challenge: &[u8; 8],
) -> [u8; 24] {
    let mut response = [0; 24];
    let (proof, challenge) = response.split_at_mut(16);
    proof.copy_from_slice(&hmac_md5_of(response_key.expose(), &[server_challenge, client_challenge]));
    challenge.copy_from_slice(client_challenge);
    response
}

/// Verifies an NTLMv2 response against the stored hash of an account, in time that does not depend on the proof.
///
/// `user` and `domain` are the client's own spelling, because the proof covers it. Clients disagree on that spelling, so
/// each of these is tried: the domain as sent, in upper case, and empty (which MS-NLMP 3.2.5.1.2 asks for); for a user name
/// beyond ASCII, its upper case as Windows, as Unicode, and as curl (byte for byte) make it. Each of them proves knowledge
/// of the hash for this user.
///
/// `None` if the proof is wrong or the response is not NTLMv2.
#[must_use]
pub fn verify_ntlmv2(
    nt_hash: &NtHash,
    user: &str,
    domain: &str,
    server_challenge: &[u8; 8],
    nt_response: &[u8],
) -> Option<SessionBaseKey> {
    // A response of exactly NTLMv1's length is NTLMv1, whatever its bytes pretend.
    if nt_response.len() == 24 {
        return None;
    }
    let response = Ntlmv2Response::parse(nt_response).ok()?;
    let verify = |key: Secret<[u8; 16]>| {
        let proof = nt_proof_str(&key, server_challenge, response.client_challenge);
        bool::from(proof.ct_eq(response.nt_proof_str)).then(|| session_base_key(&key, &proof))
    };
    let verify_in = |domain: &str| {
        verify(ntowfv2(nt_hash, user, domain)).or_else(|| {
            if user.is_ascii() {
                return None;
            }
            let full = user.to_uppercase();
            verify(response_key(nt_hash, full.encode_utf16(), domain.encode_utf16())).or_else(|| {
                let widened = user.bytes().map(|byte| u16::from(byte.to_ascii_uppercase()));
                verify(response_key(nt_hash, widened, domain.bytes().map(u16::from)))
            })
        })
    };
    verify_in(domain).or_else(|| {
        let upper = domain.to_uppercase();
        let upper = if upper == domain { None } else { verify_in(&upper) };
        upper.or_else(|| if domain.is_empty() { None } else { verify_in("") })
    })
}

/// The upper case of a UTF-16 code unit as Windows' `RtlUpcaseUnicodeString` makes it: unit by unit, so that neither `ß`
/// becomes `SS` nor a surrogate pair changes, whatever the locale (Turkish `i` becomes `I`), and only where the way back
/// leads to the same letter (`ı`, `ſ`, `µ` stay), but for the final sigma, which becomes `Σ`.
#[must_use]
pub fn upcase(unit: u16) -> u16 {
    if unit < 0x80 {
        return u16::from((unit as u8).to_ascii_uppercase());
    }
    // Scripts that got their case after Windows' table was made.
    if matches!(unit, 0x10d0..=0x10ff | 0x13f8..=0x13fd | 0xab70..=0xabbf) {
        return unit;
    }
    let single = |chars: &mut dyn Iterator<Item = char>| {
        let first = chars.next()?;
        chars.next().is_none().then_some(first)
    };
    let upper = char::from_u32(u32::from(unit)).and_then(|lower| {
        let upper = single(&mut lower.to_uppercase())?;
        let back = single(&mut upper.to_lowercase())?;
        (back == lower || lower == 'ς').then_some(upper)
    });
    upper.and_then(|upper| u16::try_from(u32::from(upper)).ok()).unwrap_or(unit)
}

/// Whether the client chooses the session key and sends it encrypted. Without signing or sealing it sends something in the
/// field all the same, which means nothing. MS-NLMP 3.1.5.1.2, 3.2.5.1.2.
#[must_use]
pub const fn exchanges_key(flags: Flags) -> bool {
    flags.has(Flags::KEY_EXCH) && (flags.has(Flags::SIGN) || flags.has(Flags::SEAL))
}

/// `ExportedSessionKey`: the client's random key if it [sent one](exchanges_key), else `KeyExchangeKey`, which is
/// `SessionBaseKey`. `None` if the client's key is not 16 bytes long. MS-NLMP 3.2.5.1.2.
#[must_use]
pub fn exported_session_key(
    flags: Flags,
    session_base_key: &SessionBaseKey,
    encrypted_random_session_key: &[u8],
) -> Option<Secret<[u8; 16]>> {
    if !exchanges_key(flags) {
        return Some(session_base_key.clone());
    }
    let mut key = Zeroizing::new(<[u8; 16]>::try_from(encrypted_random_session_key).ok()?);
    rc4k(session_base_key.expose(), key.as_mut_slice());
    Some(Secret::new(*key))
}

/// `RC4K`: RC4 from its start, in place; encrypts and decrypts. MS-NLMP 6.
pub(crate) fn rc4k(key: &[u8; 16], data: &mut [u8]) {
    rc4(key).apply_keystream(data);
}

/// The RC4 state of a key of 16 bytes.
pub(crate) fn rc4(key: &[u8; 16]) -> Rc4 {
    Rc4::new_from_slice(key).expect("RC4 takes keys of 1 to 256 bytes")
}

/// The message integrity code of a handshake: its three messages, the third with zeros in the MIC's place. `parts` are
/// joined. MS-NLMP 3.1.5.1.2.
#[must_use]
pub fn mic(exported_session_key: &Secret<[u8; 16]>, parts: &[&[u8]]) -> [u8; 16] {
    hmac_md5_of(exported_session_key.expose(), parts)
}

/// Who sends a message of the session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sender {
    /// The initiator.
    Client,
    /// The acceptor.
    Server,
}

/// `SIGNKEY` with extended session security. MS-NLMP 3.4.5.2.
#[must_use]
pub fn sign_key(exported_session_key: &Secret<[u8; 16]>, sender: Sender) -> Secret<[u8; 16]> {
    let magic: &[u8] = match sender {
        Sender::Client => b"session key to client-to-server signing key magic constant\0",
        Sender::Server => b"session key to server-to-client signing key magic constant\0",
    };
    md5_of(exported_session_key.expose(), magic)
}

/// `SEALKEY` with extended session security; its strength is what the flags say. MS-NLMP 3.4.5.3.
#[must_use]
pub fn seal_key(flags: Flags, exported_session_key: &Secret<[u8; 16]>, sender: Sender) -> Secret<[u8; 16]> {
    let magic: &[u8] = match sender {
        Sender::Client => b"session key to client-to-server sealing key magic constant\0",
        Sender::Server => b"session key to server-to-client sealing key magic constant\0",
    };
    let key = exported_session_key.expose().as_slice();
    let length = match (flags.has(Flags::SESSION_128), flags.has(Flags::SESSION_56)) {
        (true, _) => 16,
        (false, true) => 7,
        (false, false) => 5,
    };
    md5_of(key.get(..length).unwrap_or(key), magic)
}

fn md5_of(key: &[u8], magic: &[u8]) -> Secret<[u8; 16]> {
    let mut md5 = Md5::new();
    md5.update(key);
    md5.update(magic);
    Secret::new(md5.finalize().into())
}

/// HMAC-MD5 of `parts`, joined.
pub(crate) fn hmac_md5_of(key: &[u8; 16], parts: &[&[u8]]) -> [u8; 16] {
    let mut mac = hmac_md5(key);
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

fn hmac_md5(key: &[u8; 16]) -> Hmac<Md5> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

#[cfg(test)]
mod tests {
    use super::*;
    use iwa_testkit::corpus::{self, hex};

    fn bytes<const N: usize>(digits: &str) -> [u8; N] {
        hex(digits).and_then(|bytes| bytes.try_into().ok()).unwrap()
    }

    // MS-NLMP 4.2.1: the values that all samples share.
    const SERVER_CHALLENGE: [u8; 8] = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];
    const CLIENT_CHALLENGE: [u8; 8] = [0xaa; 8];
    const RANDOM_SESSION_KEY: [u8; 16] = [0x55; 16];
    const EXCHANGE: Flags = Flags(Flags::KEY_EXCH.0 | Flags::SEAL.0);

    /// MS-NLMP 4.2.4.1.3: `temp`, with time 0, domain `Domain` and server `Server`.
    fn temp() -> Vec<u8> {
        hex("01010000000000000000000000000000aaaaaaaaaaaaaaaa0000000002000c0044006f006d00610069006e00\
             01000c005300650072007600650072000000000000000000")
        .unwrap()
    }

    fn key() -> Secret<[u8; 16]> {
        ntowfv2(&nt_hash("Password"), "User", "Domain")
    }

    #[test]
    fn ms_nlmp_4_2_2_1_2_ntowfv1() {
        assert!(nt_hash("Password").ct_eq(&bytes::<16>("a4f49c406510bdcab6824ee7c30fd852")));
    }

    #[test]
    fn ms_nlmp_4_2_2_2_2_an_ntlmv1_response_is_never_verified() {
        let v1 = bytes::<24>("67c43011f30298a2ad35ece64f16331c44bdbed927841f94");
        assert!(verify_ntlmv2(&nt_hash("Password"), "User", "Domain", &SERVER_CHALLENGE, &v1).is_none());
    }

    #[test]
    fn ms_nlmp_4_2_3_2_2_an_ntlmv1_response_with_session_security_is_never_verified() {
        let v1 = bytes::<24>("7537f803ae367128ca458204bde7caf81e97ed2683267232");
        assert!(verify_ntlmv2(&nt_hash("Password"), "User", "Domain", &SERVER_CHALLENGE, &v1).is_none());
    }

    #[test]
    fn ms_nlmp_4_2_4_1_1_ntowfv2() {
        assert!(key().ct_eq(&bytes::<16>("0c868a403bfd7a93a3001ef22ef02e3f")));
    }

    #[test]
    fn ms_nlmp_4_2_4_1_2_session_base_key() {
        let proof = nt_proof_str(&key(), &SERVER_CHALLENGE, &temp());
        assert!(session_base_key(&key(), &proof).ct_eq(&bytes::<16>("8de40ccadbc14a82f15cb0ad0de95ca3")));
    }

    #[test]
    fn ms_nlmp_4_2_4_2_1_lmv2_response() {
        let response = lmv2_response(&key(), &SERVER_CHALLENGE, &CLIENT_CHALLENGE);
        assert_eq!(response, bytes("86c35097ac9cec102554764a57cccc19aaaaaaaaaaaaaaaa"));
    }

    #[test]
    fn ms_nlmp_4_2_4_2_2_ntlmv2_response() {
        let proof = nt_proof_str(&key(), &SERVER_CHALLENGE, &temp());
        assert_eq!(proof, bytes("68cd0ab851e51c96aabc927bebef6a1c"));
        let response = [proof.as_slice(), &temp()].concat();
        let verified = verify_ntlmv2(&nt_hash("Password"), "User", "Domain", &SERVER_CHALLENGE, &response).unwrap();
        assert!(verified.ct_eq(&bytes::<16>("8de40ccadbc14a82f15cb0ad0de95ca3")));
    }

    #[test]
    fn ms_nlmp_4_2_4_2_3_encrypted_session_key() {
        let base = Secret::new(bytes::<16>("8de40ccadbc14a82f15cb0ad0de95ca3"));
        let encrypted = bytes::<16>("c5dad2544fc9799094ce1ce90bc9d03e");
        let exported = exported_session_key(EXCHANGE, &base, &encrypted).unwrap();
        assert!(exported.ct_eq(&RANDOM_SESSION_KEY));
    }

    #[test]
    fn ms_nlmp_4_2_4_4_sign_and_seal_keys() {
        let exported = Secret::new(RANDOM_SESSION_KEY);
        let is = |key: Secret<[u8; 16]>, digits| assert!(key.ct_eq(&bytes::<16>(digits)), "{digits}");
        is(sign_key(&exported, Sender::Client), "4788dc861b4782f35d43fd98fe1a2d39");
        is(seal_key(Flags::SESSION_128, &exported, Sender::Client), "59f600973cc4960a25480a7c196e4c58");
        is(seal_key(Flags::SESSION_128, &exported, Sender::Server), "9355f3a957c1583d25c4c2f11e40390e");
        is(seal_key(Flags::SESSION_56, &exported, Sender::Client), "a5f7253c1065e8d3d68642040e71cfe0");
        is(seal_key(Flags(0), &exported, Sender::Client), "42f964a471091a02ff4a77455366e4e5");
    }

    #[test]
    fn corpus_vectors_agree() {
        for item in corpus::of_kind("ntlm-vector") {
            let (Some(wanted), Some(password)) = (item.header("ntowfv2"), item.header("password")) else { continue };
            let [user, domain] = ["user", "domain"].map(|name| item.header(name).unwrap());
            assert!(ntowfv2(&nt_hash(password), user, domain).ct_eq(&hex(wanted).unwrap()), "{}", item.name);
        }
    }

    #[test]
    fn corpus_responses_verify_with_their_password_and_with_no_other() {
        for item in corpus::of_kind("ntlmv2-response") {
            let challenge = item.hex_header("server-challenge").unwrap().try_into().unwrap();
            // The identity is given as upper user and domain in one string: any cut proves the same.
            let identity = item.header("identity (upper user + domain)").unwrap();
            let verify = |password: &str| verify_ntlmv2(&nt_hash(password), identity, "", &challenge, &item.data);
            let split = (1..identity.len()).find(|at| {
                let (user, domain) = identity.split_at(*at);
                let password = item.header("password").unwrap();
                verify_ntlmv2(&nt_hash(password), user, domain, &challenge, &item.data).is_some()
            });
            assert!(split.is_some(), "{}", item.name);
            assert!(verify("wrong").is_none(), "{}", item.name);
        }
    }

    fn response(key: &Secret<[u8; 16]>) -> Vec<u8> {
        let proof = nt_proof_str(key, &SERVER_CHALLENGE, &temp());
        [proof.as_slice(), &temp()].concat()
    }

    fn accepted(user: &str, domain: &str, response: &[u8]) -> bool {
        verify_ntlmv2(&nt_hash("Password"), user, domain, &SERVER_CHALLENGE, response).is_some()
    }

    #[test]
    fn a_changed_bit_anywhere_in_a_response_is_refused() {
        let good = response(&key());
        assert!(accepted("User", "Domain", &good));
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(!accepted("User", "Domain", &bad), "byte {at}");
        }
        for cut in 0..good.len() {
            assert!(!accepted("User", "Domain", &good[..cut]), "cut {cut}");
        }
    }

    #[test]
    fn another_user_domain_password_or_challenge_is_refused() {
        let good = response(&key());
        assert!(!accepted("Usher", "Domain", &good));
        assert!(!accepted("User", "Domein", &good));
        let wrong = |password: &str, challenge| {
            verify_ntlmv2(&nt_hash(password), "User", "Domain", &challenge, &good).is_some()
        };
        assert!(!wrong("password", SERVER_CHALLENGE));
        assert!(!wrong("", SERVER_CHALLENGE));
        assert!(!wrong("Password", CLIENT_CHALLENGE));
    }

    #[test]
    fn the_spelling_of_the_domain_that_clients_differ_in_is_accepted() {
        for hashed in ["Domain", "DOMAIN", ""] {
            let response = response(&ntowfv2(&nt_hash("Password"), "User", hashed));
            assert!(accepted("user", "Domain", &response), "{hashed}");
        }
        let response = response(&ntowfv2(&nt_hash("Password"), "User", "domain"));
        assert!(!accepted("User", "Domain", &response));
    }

    #[test]
    fn the_upper_case_of_users_beyond_ascii_is_accepted_as_clients_make_it() {
        let hash = nt_hash("Password");
        let key = |user: &str| response_key(&hash, user.encode_utf16(), core::iter::empty());
        for (user, hashed) in [("jörg", "JÖRG"), ("straße", "STRAßE"), ("straße", "STRASSE"), ("jörg", "JÃ¶RG")]
        {
            assert!(accepted(user, "", &response(&key(hashed))), "{user} {hashed}");
        }
        assert!(!accepted("jörg", "", &response(&key("JORG"))));
    }

    #[test]
    fn upper_case_is_made_as_windows_makes_it() {
        let upper = |text: &str| text.encode_utf16().map(upcase).collect::<Vec<_>>();
        let same = |text: &str, wanted: &str| assert_eq!(upper(text), wanted.encode_utf16().collect::<Vec<_>>());
        same("user-1", "USER-1");
        same("jörg çelik ñandú", "JÖRG ÇELIK ÑANDÚ");
        same("straße", "STRAßE");
        same("i ı İ", "I ı İ");
        same("ſ µ ŉ ǰ", "ſ µ ŉ ǰ");
        same("σοφος ς", "ΣΟΦΟΣ Σ");
        same("ÿ", "Ÿ");
        same("привет", "ПРИВЕТ");
        same("ﬁ", "ﬁ");
        same("𐐨", "𐐨");
        same("ქართ", "ქართ");
        // A lone surrogate stays.
        assert_eq!(upcase(0xd800), 0xd800);
    }

    #[test]
    fn a_random_session_key_of_a_wrong_length_is_refused() {
        let base = Secret::new([1; 16]);
        for length in [0, 1, 15, 17] {
            assert!(exported_session_key(EXCHANGE, &base, &vec![0; length]).is_none());
        }
        // Without signing or sealing the field has no meaning.
        for flags in [Flags(0), Flags::SIGN, Flags::KEY_EXCH] {
            assert!(exported_session_key(flags, &base, &[0; 15]).unwrap().ct_eq(&[1; 16]));
        }
    }
}
