//! MIC tokens of an established context: RFC 4121 4.2.6.1, and for RC4 RFC 4757 7.2.

use core::fmt;

use cipher::{KeyInit as _, StreamCipher as _};
use hmac::Hmac;
use iwa_wire::ParseError;
use iwa_wire::error::ErrorKind;
use iwa_wire::gss::{InitialToken, MechType};
use iwa_wire::krb5::cfx::{CfxKind, CfxToken, cfx_flags};
use md5::{Digest as _, Md5};
use rc4::Rc4;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::etype::{Etype, Key};
use super::usage;

/// Which end of the context makes a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sender {
    /// The client.
    Initiator,
    /// The server.
    Acceptor,
}

/// The key of a context, with which both ends sign: the acceptor's subkey, else the initiator's, else the session key.
#[derive(Clone, Debug)]
pub struct MicKey {
    key: Key,
    /// Whether it is the acceptor's subkey.
    acceptor_subkey: bool,
}

/// Why a MIC token does not hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum MicError {
    /// It is no MIC token.
    Malformed(ParseError),
    /// It is made by the wrong end, under another key of the context, or over another message.
    Wrong,
}

impl fmt::Display for MicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => error.fmt(f),
            Self::Wrong => f.write_str("the MIC does not belong to this message in this context"),
        }
    }
}

impl core::error::Error for MicError {}

impl MicKey {
    /// The key of a context.
    #[must_use]
    pub const fn new(key: Key, acceptor_subkey: bool) -> Self {
        Self { key, acceptor_subkey }
    }

    /// Appends the MIC token of `message`. `sequence` is the sender's next sequence number.
    pub fn sign(&self, sender: Sender, sequence: u64, message: &[u8], out: &mut Vec<u8>) {
        if matches!(self.key.etype(), Etype::Rc4Hmac) {
            return self.sign_rc4(sender, sequence as u32, message, out);
        }
        let header = CfxToken { kind: CfxKind::Mic, flags: self.flags(sender), snd_seq: sequence, body: &[] };
        let checksum = self.key.checksum(sender.usage()).compute(&[message, &header.header()]);
        CfxToken { body: &checksum, ..header }.write(out);
    }

    /// Verifies a MIC token that `sender` made over `message`, and returns its sequence number.
    ///
    /// # Errors
    /// [`MicError`].
    pub fn verify(&self, sender: Sender, message: &[u8], token: &[u8]) -> Result<u64, MicError> {
        if matches!(self.key.etype(), Etype::Rc4Hmac) {
            return self.verify_rc4(sender, message, token);
        }
        let token = CfxToken::parse(token).map_err(MicError::Malformed)?;
        // Its direction, so that our own token does not come back as the peer's, and its key.
        if token.kind != CfxKind::Mic || token.flags != self.flags(sender) {
            return Err(MicError::Wrong);
        }
        self.key
            .checksum(sender.usage())
            .verify(&[message, &token.header()], token.body)
            .map_err(|_| MicError::Wrong)?;
        Ok(token.snd_seq)
    }

    /// The key itself, and whether it is the acceptor's subkey.
    pub(super) const fn parts(&self) -> (&Key, bool) {
        (&self.key, self.acceptor_subkey)
    }

    const fn flags(&self, sender: Sender) -> u8 {
        let direction = match sender {
            Sender::Initiator => 0,
            Sender::Acceptor => cfx_flags::SENT_BY_ACCEPTOR,
        };
        if self.acceptor_subkey { direction | cfx_flags::ACCEPTOR_SUBKEY } else { direction }
    }

    fn sign_rc4(&self, sender: Sender, sequence: u32, message: &[u8], out: &mut Vec<u8>) {
        let checksum = self.checksum_rc4(message);
        let mut number = Rc4Sequence::of(sender, sequence);
        self.sequence_cipher(&checksum).apply_keystream(&mut number.0);
        InitialToken::write(MechType::KRB5, out, |w| {
            w.raw(&RC4_HEADER);
            w.raw(&number.0);
            w.raw(&checksum);
        });
    }

    fn verify_rc4(&self, sender: Sender, message: &[u8], token: &[u8]) -> Result<u64, MicError> {
        let malformed = |offset, kind| MicError::Malformed(ParseError { format: "RFC 4757 MIC token", offset, kind });
        let token = InitialToken::parse(token, 0).map_err(MicError::Malformed)?;
        let at = token.inner_offset;
        if !token.mech.is_krb5() {
            return Err(malformed(at, ErrorKind::Value { what: "mechanism" }));
        }
        let Some((header, rest)) = token.inner.split_first_chunk::<8>() else {
            return Err(malformed(at, ErrorKind::Truncated { needed: 24, available: token.inner.len() }));
        };
        if *header != RC4_HEADER {
            return Err(malformed(at, ErrorKind::Magic { what: "TOK_ID and SGN_ALG" }));
        }
        let (number, found) = match rest.split_first_chunk::<8>() {
            Some((number, found)) if found.len() == 8 => (number, found),
            Some((_, found)) if found.len() > 8 => {
                return Err(malformed(at + 24, ErrorKind::Trailing { count: found.len() - 8 }));
            }
            _ => return Err(malformed(at, ErrorKind::Truncated { needed: 24, available: token.inner.len() })),
        };
        let wanted = self.checksum_rc4(message);
        if !bool::from(wanted.ct_eq(found)) {
            return Err(MicError::Wrong);
        }
        let mut number = Rc4Sequence(*number);
        self.sequence_cipher(&wanted).apply_keystream(&mut number.0);
        let [a, b, c, d, ..] = number.0;
        let sequence = u32::from_be_bytes([a, b, c, d]);
        if number.0 != Rc4Sequence::of(sender, sequence).0 {
            return Err(MicError::Wrong);
        }
        Ok(u64::from(sequence))
    }

    /// `SGN_CKSUM` of RFC 4757 7.2: eight bytes of HMAC(Ksign, MD5(15 | header | message)).
    fn checksum_rc4(&self, message: &[u8]) -> [u8; 8] {
        let sign = Zeroizing::new(hmac_md5(self.key.expose(), &[b"signaturekey\0"]));
        let mut md5 = Md5::new();
        md5.update(15u32.to_le_bytes());
        md5.update(RC4_HEADER);
        md5.update(message);
        let [a, b, c, d, e, f, g, h, ..] = hmac_md5(&*sign, &[&md5.finalize()]);
        [a, b, c, d, e, f, g, h]
    }

    fn sequence_cipher(&self, checksum: &[u8; 8]) -> Rc4 {
        let key = Zeroizing::new(hmac_md5(self.key.expose(), &[&[0; 4]]));
        let key = Zeroizing::new(hmac_md5(&*key, &[checksum]));
        Rc4::new_from_slice(&*key).expect("RC4 takes keys of 16 bytes")
    }
}

impl Sender {
    const fn usage(self) -> u32 {
        match self {
            Self::Initiator => usage::GSS_INITIATOR_SIGN,
            Self::Acceptor => usage::GSS_ACCEPTOR_SIGN,
        }
    }
}

/// `SND_SEQ`: the number, and the direction four times.
struct Rc4Sequence([u8; 8]);

impl Rc4Sequence {
    const fn of(sender: Sender, sequence: u32) -> Self {
        let [a, b, c, d] = sequence.to_be_bytes();
        let direction = match sender {
            Sender::Initiator => 0,
            Sender::Acceptor => 0xff,
        };
        Self([a, b, c, d, direction, direction, direction, direction])
    }
}

fn hmac_md5(key: &[u8], parts: &[&[u8]]) -> [u8; 16] {
    use digest::Mac as _;
    let mut mac = Hmac::<Md5>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// `TOK_ID` (MIC), `SGN_ALG` (HMAC), filler.
const RC4_HEADER: [u8; 8] = [1, 1, 0x11, 0, 0xff, 0xff, 0xff, 0xff];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::krb5::etype::tests::hex;

    fn key(etype: Etype, fill: u8) -> Key {
        Key::new(etype, &[fill; 32][..etype.key_size()]).unwrap()
    }

    fn signed(mic: &MicKey, sender: Sender) -> Vec<u8> {
        let mut token = Vec::new();
        mic.sign(sender, 7, b"mechTypeList", &mut token);
        token
    }

    /// Made with MIT Kerberos 1.20.1 over `mechTypeList`: key, initiator's token, acceptor's token; without an AP-REP and
    /// with one, which brings the acceptor's subkey.
    const OF_MIT: [(Etype, bool, &str, &str, &str); 6] = [
        (
            Etype::Aes256CtsHmacSha1,
            false,
            "5f86d5f3c879e014e23ae9341e7c0ac592a275d5eab773a95238954914bc026b",
            "040400ffffffffff00000000084fc4acf4a1425fdbbcd90a1cf4696b",
            "040401ffffffffff00000000084fc4ac9d27d3c678dd1c469e2df3cf",
        ),
        (
            Etype::Aes256CtsHmacSha1,
            true,
            "384d686de45c4a3d71c89bd7349d802e7515adfc49badf143d6693949636cbed",
            "040404ffffffffff000000000eeb8d33de7cfd8594d601f2aac6919a",
            "040405ffffffffff00000000223c53df6adf79f8bd5529a8185e69f6",
        ),
        (
            Etype::Aes256CtsHmacSha384,
            false,
            "34ea2437ee27025f8fafbae59e5d9d3e37f758e6c3e20f7a201daebe527ad126",
            "040400ffffffffff000000001e825cc85ebb884f3dc2cf0821a75fa43154666a1dde2188c88bf106",
            "040401ffffffffff000000001e825cc8082ec7eb19b6a784729ee46c92395a7c3639dac5af06bf6b",
        ),
        (
            Etype::Aes256CtsHmacSha384,
            true,
            "298bc49b6ecc013482282c1e894fbc02cefd011164eed2ddfb8fafcb13abb811",
            "040404ffffffffff000000000238fbddedbf8c94e6a128390ed65642b4f8bc660011deb1fd395f13",
            "040405ffffffffff000000002c94cfe5cedbf1e26a743052ce59a0981e2adff9bebf799f02341001",
        ),
        (
            Etype::Rc4Hmac,
            false,
            "8cabb1067bedf6df0ce72fc0e8aad418",
            "602306092a864886f71201020201011100ffffffff16385e9da86b82bb69a8ccf8059214b5",
            "602306092a864886f71201020201011100ffffffff16385e9d57947d4469a8ccf8059214b5",
        ),
        (
            Etype::Rc4Hmac,
            true,
            "3941f442acb08f69c05d3fb57f3e59c5",
            "602306092a864886f71201020201011100ffffffffc254bec13e69b212f5960092c482488d",
            "602306092a864886f71201020201011100fffffffff88d9f89c1964dedf5960092c482488d",
        ),
    ];

    #[test]
    fn tokens_of_mit_kerberos_verify_and_ours_are_the_same() {
        for (etype, subkey, key, initiator, acceptor) in OF_MIT {
            let mic = MicKey::new(Key::new(etype, &hex(key)).unwrap(), subkey);
            for (sender, token) in [(Sender::Initiator, hex(initiator)), (Sender::Acceptor, hex(acceptor))] {
                let sequence = mic.verify(sender, b"mechTypeList", &token).unwrap();
                let mut ours = Vec::new();
                mic.sign(sender, sequence, b"mechTypeList", &mut ours);
                assert_eq!(ours, token, "{etype}");
            }
        }
    }

    #[test]
    fn both_ends_sign_and_verify_with_every_etype() {
        for etype in Etype::ALL {
            for subkey in [false, true] {
                let mic = MicKey::new(key(etype, 1), subkey);
                for sender in [Sender::Initiator, Sender::Acceptor] {
                    assert_eq!(mic.verify(sender, b"mechTypeList", &signed(&mic, sender)), Ok(7));
                }
            }
        }
    }

    #[test]
    fn a_mic_of_another_message_key_or_direction_is_refused() {
        for etype in Etype::ALL {
            let mic = MicKey::new(key(etype, 1), true);
            let token = signed(&mic, Sender::Initiator);
            assert_eq!(mic.verify(Sender::Initiator, b"mechTypeLisT", &token), Err(MicError::Wrong));
            assert_eq!(mic.verify(Sender::Acceptor, b"mechTypeList", &token), Err(MicError::Wrong), "reflected");
            let other = MicKey::new(key(etype, 2), true);
            assert_eq!(other.verify(Sender::Initiator, b"mechTypeList", &token), Err(MicError::Wrong));
        }
    }

    #[test]
    fn a_mic_under_the_key_that_is_not_the_contexts_is_refused() {
        let with = MicKey::new(key(Etype::Aes256CtsHmacSha1, 1), true);
        let without = MicKey::new(key(Etype::Aes256CtsHmacSha1, 1), false);
        let token = signed(&without, Sender::Initiator);
        assert_eq!(with.verify(Sender::Initiator, b"mechTypeList", &token), Err(MicError::Wrong));
    }

    #[test]
    fn every_changed_bit_and_every_length_is_refused() {
        for etype in [Etype::Aes256CtsHmacSha1, Etype::Aes256CtsHmacSha384, Etype::Rc4Hmac] {
            let mic = MicKey::new(key(etype, 1), false);
            let token = signed(&mic, Sender::Initiator);
            for place in 0..token.len() {
                let mut changed = token.clone();
                changed[place] ^= 1;
                let verified = mic.verify(Sender::Initiator, b"mechTypeList", &changed);
                // RFC 4757 does not sign the sequence number: a changed one is another number, not an error.
                let unsigned = etype.is_weak() && matches!(verified, Ok(other) if other != 7);
                assert!(verified.is_err() || unsigned, "{etype} {place}");
                assert!(mic.verify(Sender::Initiator, b"mechTypeList", &token[..place]).is_err());
            }
            let longer = [&token[..], &[0]].concat();
            assert!(mic.verify(Sender::Initiator, b"mechTypeList", &longer).is_err());
        }
    }

    #[test]
    fn a_wrap_token_is_not_a_mic() {
        let mic = MicKey::new(key(Etype::Aes256CtsHmacSha1, 1), false);
        let mut token = signed(&mic, Sender::Initiator);
        token[..2].copy_from_slice(&[5, 4]);
        assert_eq!(mic.verify(Sender::Initiator, b"mechTypeList", &token), Err(MicError::Wrong));
    }
}
