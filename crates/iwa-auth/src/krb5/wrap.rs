//! Wrap tokens of an established context: sealed, or signed only. RFC 4121 4.2.4, 4.2.6.2.
//!
//! The numbers of both directions are counted here and each token must bear the next one: over a stream, a token that was
//! left out, repeated or moved is an attack. RC4 contexts (RFC 4757 7.3) are not spoken.

use core::fmt;
use core::ops::Range;

use iwa_wire::ParseError;
use iwa_wire::krb5::cfx::{CfxKind, CfxToken, HEADER, cfx_flags};

use super::etype::{ChecksumKey, Etype, Key, SpecificKey};
use super::mic::Sender;
use super::usage;
use crate::env::{Entropy, EntropyError};

/// One end's wrapping and unwrapping.
pub struct Wrap {
    ours: Direction,
    theirs: Direction,
}

/// The keys and the next number of one direction.
struct Direction {
    flags: u8,
    seal: SpecificKey,
    sign: ChecksumKey,
    next: u64,
}

/// A token that was taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unwrapped {
    /// Where the message stands in the buffer that was handed in.
    pub message: Range<usize>,
    /// Whether nobody on the way could read it.
    pub sealed: bool,
}

/// Why a Wrap token does not hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum WrapError {
    /// It is no Wrap token.
    Malformed(ParseError),
    /// It is made by the wrong end, under another key of the context, or was changed.
    Wrong,
    /// It does not follow the one before it: something was left out, repeated or moved.
    Sequence {
        /// The number that was to come.
        wanted: u64,
        /// The number that it bears.
        found: u64,
    },
}

impl fmt::Display for WrapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => error.fmt(f),
            Self::Wrong => f.write_str("the token does not belong to this context, or was changed on the way"),
            Self::Sequence { wanted, found } => {
                write!(
                    f,
                    "token number {wanted} is due, number {found} came: something was left out, repeated or moved"
                )
            }
        }
    }
}

impl core::error::Error for WrapError {}

impl Wrap {
    /// Wrapping under the context's key by `this` end, whose next number is `next`; the other end's is `theirs`. `None` for
    /// RC4.
    #[must_use]
    pub fn new(key: &Key, acceptor_subkey: bool, this: Sender, next: u64, theirs: u64) -> Option<Self> {
        if matches!(key.etype(), Etype::Rc4Hmac) {
            return None;
        }
        let key = key.protocol();
        let subkey = if acceptor_subkey { cfx_flags::ACCEPTOR_SUBKEY } else { 0 };
        let direction = |sender, next| {
            let (flags, usage) = match sender {
                Sender::Initiator => (subkey, usage::GSS_INITIATOR_SEAL),
                Sender::Acceptor => (subkey | cfx_flags::SENT_BY_ACCEPTOR, usage::GSS_ACCEPTOR_SEAL),
            };
            Direction { flags, seal: key.specific(usage), sign: key.checksum(usage), next }
        };
        let other = match this {
            Sender::Initiator => Sender::Acceptor,
            Sender::Acceptor => Sender::Initiator,
        };
        Some(Self { ours: direction(this, next), theirs: direction(other, theirs) })
    }

    /// By how much a sealed token is longer than its message.
    #[must_use]
    pub const fn overhead(&self) -> usize {
        HEADER + HEADER + self.ours.seal.etype().overhead()
    }

    /// Appends the token of `message`, encrypted.
    ///
    /// # Errors
    /// [`EntropyError`]; `out` is then as it was.
    pub fn seal(&mut self, message: &[u8], entropy: &mut dyn Entropy, out: &mut Vec<u8>) -> Result<(), EntropyError> {
        let token = self.ours.token(cfx_flags::SEALED, 0);
        // The header goes with the message into the cipher, so that nobody changes it.
        let mut plain = zeroize::Zeroizing::new(Vec::with_capacity(message.len() + HEADER));
        plain.extend_from_slice(message);
        plain.extend_from_slice(&token.header());
        let start = out.len();
        token.write(out);
        if let Err(error) = self.ours.seal.encrypt(&plain, entropy, out) {
            out.truncate(start);
            return Err(error);
        }
        self.ours.next = self.ours.next.wrapping_add(1);
        Ok(())
    }

    /// Appends the token of `message`, which everybody can read and nobody can change.
    pub fn sign(&mut self, message: &[u8], out: &mut Vec<u8>) {
        // The checksum covers a header whose EC and RRC are zero.
        let checksum = self.ours.sign.compute(&[message, &self.ours.token(0, 0).header()]);
        self.ours.token(0, checksum.len() as u16).write(out);
        out.extend_from_slice(message);
        out.extend_from_slice(&checksum);
        self.ours.next = self.ours.next.wrapping_add(1);
    }

    /// Takes the other end's next token apart, where it stands.
    ///
    /// # Errors
    /// [`WrapError`]; the context is then of no more use, and `token` holds nothing that is meant for anybody.
    pub fn unwrap(&mut self, token: &mut [u8]) -> Result<Unwrapped, WrapError> {
        let parsed = CfxToken::parse(token).map_err(WrapError::Malformed)?;
        let CfxToken { kind: CfxKind::Wrap { ec, rrc }, flags, snd_seq, .. } = parsed else {
            return Err(WrapError::Wrong);
        };
        let sealed = flags & cfx_flags::SEALED != 0;
        // Its direction, so that our own token does not come back as the peer's, and its key.
        if flags & !cfx_flags::SEALED != self.theirs.flags {
            return Err(WrapError::Wrong);
        }
        let covered = CfxToken { kind: CfxKind::Wrap { ec: if sealed { ec } else { 0 }, rrc: 0 }, body: &[], ..parsed };
        let covered = covered.header();
        let body = token.get_mut(HEADER..).unwrap_or_default();
        // Windows and Heimdal rotate by what suits their buffers; any count is right.
        if !body.is_empty() {
            body.rotate_left(usize::from(rrc) % body.len());
        }
        let length = if sealed {
            let total = body.len();
            let plain = self.theirs.seal.decrypt_in_place(body).map_err(|_| WrapError::Wrong)?;
            let at = plain.len().checked_sub(HEADER).ok_or(WrapError::Wrong)?;
            if plain.get(at..) != Some(&covered[..]) {
                return Err(WrapError::Wrong);
            }
            let message = at.checked_sub(usize::from(ec)).ok_or(WrapError::Wrong)?;
            let start = HEADER + self.theirs.seal.plaintext_range(total).start;
            start..start + message
        } else {
            let at = body.len().checked_sub(usize::from(ec)).ok_or(WrapError::Wrong)?;
            let (message, checksum) = body.split_at_checked(at).ok_or(WrapError::Wrong)?;
            self.theirs.sign.verify(&[message, &covered], checksum).map_err(|_| WrapError::Wrong)?;
            HEADER..HEADER + at
        };
        if snd_seq != self.theirs.next {
            return Err(WrapError::Sequence { wanted: self.theirs.next, found: snd_seq });
        }
        self.theirs.next = self.theirs.next.wrapping_add(1);
        Ok(Unwrapped { message: length, sealed })
    }
}

impl fmt::Debug for Wrap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wrap({}, sent to {}, received to {})", self.ours.seal.etype(), self.ours.next, self.theirs.next)
    }
}

impl Direction {
    const fn token(&self, flags: u8, ec: u16) -> CfxToken<'static> {
        let kind = CfxKind::Wrap { ec, rrc: 0 };
        CfxToken { kind, flags: self.flags | flags, snd_seq: self.next, body: &[] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::krb5::etype::tests::hex;

    struct Counter(u8);

    impl Entropy for Counter {
        fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
            for byte in out {
                self.0 = self.0.wrapping_add(1);
                *byte = self.0;
            }
            Ok(())
        }
    }

    struct Nothing;

    impl Entropy for Nothing {
        fn fill(&mut self, _: &mut [u8]) -> Result<(), EntropyError> {
            Err(EntropyError)
        }
    }

    const AES: [Etype; 4] =
        [Etype::Aes128CtsHmacSha1, Etype::Aes256CtsHmacSha1, Etype::Aes128CtsHmacSha256, Etype::Aes256CtsHmacSha384];

    fn key(etype: Etype, fill: u8) -> Key {
        Key::new(etype, &[fill; 32][..etype.key_size()]).unwrap()
    }

    fn ends(etype: Etype, subkey: bool) -> (Wrap, Wrap) {
        let key = key(etype, 1);
        (
            Wrap::new(&key, subkey, Sender::Initiator, 5, 90).unwrap(),
            Wrap::new(&key, subkey, Sender::Acceptor, 90, 5).unwrap(),
        )
    }

    fn sealed(wrap: &mut Wrap, message: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        wrap.seal(message, &mut Counter(0), &mut out).unwrap();
        out
    }

    fn signed(wrap: &mut Wrap, message: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        wrap.sign(message, &mut out);
        out
    }

    fn opened(wrap: &mut Wrap, token: &[u8]) -> Result<(Vec<u8>, bool), WrapError> {
        let mut token = token.to_vec();
        let Unwrapped { message, sealed } = wrap.unwrap(&mut token)?;
        Ok((token[message].to_vec(), sealed))
    }

    /// The same token, rotated to the right by `count`, as Windows and Heimdal send theirs.
    fn rotated(token: &[u8], count: u16) -> Vec<u8> {
        let mut token = token.to_vec();
        token[6..8].copy_from_slice(&count.to_be_bytes());
        let body = &mut token[HEADER..];
        let length = body.len();
        body.rotate_right(usize::from(count) % length);
        token
    }

    #[test]
    fn both_ends_seal_and_sign_with_every_etype() {
        for etype in AES {
            for subkey in [false, true] {
                let (mut client, mut server) = ends(etype, subkey);
                for message in [&b"search"[..], b"", &[7; 5000]] {
                    let token = sealed(&mut client, message);
                    assert_eq!(token.len(), message.len() + client.overhead());
                    assert!(message.is_empty() || !token.windows(message.len()).any(|part| part == message));
                    assert_eq!(opened(&mut server, &token), Ok((message.to_vec(), true)));
                    let token = signed(&mut server, message);
                    assert_eq!(opened(&mut client, &token), Ok((message.to_vec(), false)));
                    let token = sealed(&mut server, message);
                    assert_eq!(opened(&mut client, &token), Ok((message.to_vec(), true)));
                }
            }
        }
    }

    #[test]
    fn any_rotation_is_taken() {
        for etype in [Etype::Aes256CtsHmacSha1, Etype::Aes256CtsHmacSha384] {
            for count in [0, 1, 12, 16, 28, 44, 60, 61, 1000, u16::MAX] {
                let (mut client, mut server) = ends(etype, true);
                let token = rotated(&sealed(&mut server, b"message"), count);
                assert_eq!(opened(&mut client, &token), Ok((b"message".to_vec(), true)), "sealed {count}");
                let token = rotated(&signed(&mut server, b"message"), count);
                assert_eq!(opened(&mut client, &token), Ok((b"message".to_vec(), false)), "signed {count}");
                let token = rotated(&sealed(&mut client, b""), count);
                assert_eq!(opened(&mut server, &token), Ok((Vec::new(), true)));
            }
        }
    }

    #[test]
    fn filler_is_cut_off() {
        // RFC 4121 4.2.4: plaintext, EC bytes of filler, header.
        let (mut client, server) = ends(Etype::Aes256CtsHmacSha1, true);
        let token = CfxToken { kind: CfxKind::Wrap { ec: 3, rrc: 0 }, ..server.ours.token(cfx_flags::SEALED, 0) };
        let plain = [&b"messagexxx"[..], &token.header()].concat();
        let mut out = Vec::new();
        token.write(&mut out);
        server.ours.seal.encrypt(&plain, &mut Counter(0), &mut out).unwrap();
        assert_eq!(opened(&mut client, &out), Ok((b"message".to_vec(), true)));

        let (mut client, server) = ends(Etype::Aes256CtsHmacSha1, true);
        let token = CfxToken { kind: CfxKind::Wrap { ec: 11, rrc: 0 }, ..server.ours.token(cfx_flags::SEALED, 0) };
        let plain = [&b"messagexxx"[..], &token.header()].concat();
        let mut out = Vec::new();
        token.write(&mut out);
        server.ours.seal.encrypt(&plain, &mut Counter(0), &mut out).unwrap();
        assert_eq!(opened(&mut client, &out), Err(WrapError::Wrong), "more filler than there is");
    }

    #[test]
    fn every_changed_bit_and_every_length_is_refused() {
        for etype in AES {
            let (_, mut server) = ends(etype, true);
            for token in [sealed(&mut server, b"message"), signed(&mut ends(etype, true).1, b"message")] {
                for place in 0..token.len() {
                    for bit in [1, 0x80] {
                        let mut changed = token.clone();
                        changed[place] ^= bit;
                        assert!(opened(&mut ends(etype, true).0, &changed).is_err(), "{etype} {place}");
                    }
                    assert!(opened(&mut ends(etype, true).0, &token[..place]).is_err());
                }
                let longer = [&token[..], &[0]].concat();
                assert!(opened(&mut ends(etype, true).0, &longer).is_err());
            }
        }
    }

    #[test]
    fn a_token_comes_once_and_in_its_order() {
        let (mut client, mut server) = ends(Etype::Aes256CtsHmacSha1, true);
        let tokens = [(); 3].map(|()| sealed(&mut server, b"message"));
        assert!(opened(&mut client, &tokens[0]).is_ok());
        assert_eq!(opened(&mut client, &tokens[0]), Err(WrapError::Sequence { wanted: 91, found: 90 }), "repeated");
        assert_eq!(opened(&mut client, &tokens[2]), Err(WrapError::Sequence { wanted: 91, found: 92 }), "left out");
        assert!(opened(&mut client, &tokens[1]).is_ok());
    }

    #[test]
    fn a_token_of_ours_does_not_come_back_as_the_peers() {
        let (mut client, _) = ends(Etype::Aes256CtsHmacSha1, true);
        let own = sealed(&mut client, b"message");
        assert_eq!(opened(&mut client, &own), Err(WrapError::Wrong));
        // Nor with the direction turned.
        let mut turned = own;
        turned[2] |= cfx_flags::SENT_BY_ACCEPTOR;
        assert_eq!(opened(&mut client, &turned), Err(WrapError::Wrong));
    }

    #[test]
    fn another_key_of_the_context_is_refused() {
        let token = sealed(&mut ends(Etype::Aes256CtsHmacSha1, false).1, b"message");
        assert_eq!(opened(&mut ends(Etype::Aes256CtsHmacSha1, true).0, &token), Err(WrapError::Wrong));
        let token = sealed(&mut ends(Etype::Aes256CtsHmacSha1, true).1, b"message");
        let mut other = Wrap::new(&key(Etype::Aes256CtsHmacSha1, 2), true, Sender::Initiator, 5, 90).unwrap();
        assert_eq!(opened(&mut other, &token), Err(WrapError::Wrong));
        assert!(Wrap::new(&key(Etype::Rc4Hmac, 1), true, Sender::Initiator, 0, 0).is_none());
    }

    #[test]
    fn a_mic_and_garbage_are_no_wrap_tokens() {
        let (mut client, mut server) = ends(Etype::Aes256CtsHmacSha1, true);
        let mut mic = signed(&mut server, b"");
        mic[..8].copy_from_slice(&[4, 4, 5, 0xff, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(opened(&mut client, &mic), Err(WrapError::Wrong));
        assert!(matches!(opened(&mut client, b"LDAP"), Err(WrapError::Malformed(_))));
        assert!(matches!(opened(&mut client, b""), Err(WrapError::Malformed(_))));
    }

    #[test]
    fn without_randomness_nothing_is_sent_and_no_number_is_used() {
        let (mut client, mut server) = ends(Etype::Aes256CtsHmacSha1, true);
        let mut out = b"before".to_vec();
        assert_eq!(client.seal(b"message", &mut Nothing, &mut out), Err(EntropyError));
        assert_eq!(out, b"before");
        assert!(opened(&mut server, &sealed(&mut client, b"message")).is_ok());
    }

    /// Made with MIT Kerberos 1.20.1 (no rotation), sealed and then signed only, over `04 00 01 00 message`: key, whether it is
    /// the acceptor's subkey, the initiator's tokens, the acceptor's.
    const OF_MIT: [(&str, bool, [&str; 2], [&str; 2]); 2] = [
        (
            "286ee07c4063a833d05e4c0d17340bb6cd43d8e7ed1739eb226b1b400f40f2d4",
            false,
            [
                "050402ff000000000000000035a552ff8bd1e3e8d96a0f92de91be092b2b75d77bad8c70d448d641adbe138cbcafc794b11166d788daffaf196b\
                 7a2d8ef37a21bedff023fd614b",
                "050400ff000c00000000000035a55300040001006d657373616765bd138793faa1adf192058874",
            ],
            [
                "050403ff000000000000000035a552ff620b190a5da2776a0613817c3ce5266380ef50cbfa940ab3e0f3deb487fddc99bc7d5df7bfda6e97c3b9\
                 e8a6ab7e8db13fd906998f1d60",
                "050401ff000c00000000000035a55300040001006d65737361676543bab1b05e67ac7c68e73fd1",
            ],
        ),
        (
            "cb6cb462780897543f9f09ad62c3a974e85bacbf9b552385eeaa3d12391f22b9",
            true,
            [
                "050406ff000000000000000002317436e6ef7622d8ff6d40b77c9fee40bf115f6e65e545843e6d91cba3fd88f4425ecea6b13290195eeaa81869\
                 87e8fd601c60832be56fe55eb8",
                "050404ff000c00000000000002317437040001006d6573736167654af794617345a9c1a95d913e",
            ],
            [
                "050407ff00000000000000001be99d101be9c54677532bd1b9f77e6052f9f9d9ace8a868d52e5646d700a4992abbd0479a451e4bad798df737cd\
                 9c4cc3ae4d3eca7e123562e570",
                "050405ff000c0000000000001be99d11040001006d6573736167652fa8076902e6806c6aa6442f",
            ],
        ),
    ];

    /// Made with Samba 4.17 (Heimdal), which rotates by 28: two sealed tokens of the initiator, two of the acceptor.
    const OF_SAMBA: (&str, [&str; 2], [&str; 2]) = (
        "3d6abbd186c25fd12e87a5faf328575d0ae1c4551a21bc4c6224786994736aa7",
        [
            "050406ff0000001c0000000004db2e2db4f28933d2fc8b133936a230bd4c01a8014c47d80ba2ef7077a956f1312e1f4740141d9a097196aaa7c39720\
             cadb73267ca2f5d2d24817",
            "050406ff0000001c0000000004db2e2e124e24a4b91481caaff798ca00f5b151ac70a72d83a80cc07c83ceb12c58e77b9c3ca5d5a29b097d0c654cf4\
             ae43788c2ac504b19fc947",
        ],
        [
            "050407ff0000001c0000000023ed40e2848c0bd2089b89db8f7489460eaa895cc3887e549864bd62b045dcd52ad9e5ab04ee1f8ad6f12e236d08a340\
             601840ccae05a566f98209",
            "050407ff0000001c0000000023ed40e353bdf527bb30f2e4ffdc7daf8682dda551f6015fd1bc97fd5f2cbdf23d6d2bf687a3fdffa4909861900e0e20\
             9b33dd2c723b21bcee8f14",
        ],
    );

    fn number(token: &str) -> u64 {
        CfxToken::parse(&hex(token)).unwrap().snd_seq
    }

    #[test]
    fn tokens_of_mit_kerberos_and_samba_are_opened_at_both_ends() {
        let message = b"\x04\x00\x01\x00message".to_vec();
        let samba = (OF_SAMBA.0, true, OF_SAMBA.1, OF_SAMBA.2);
        for (key, subkey, initiator, acceptor) in OF_MIT.into_iter().chain([samba]) {
            let key = Key::new(Etype::Aes256CtsHmacSha1, &hex(key)).unwrap();
            let numbers = (number(initiator[0]), number(acceptor[0]));
            let mut client = Wrap::new(&key, subkey, Sender::Initiator, numbers.0, numbers.1).unwrap();
            let mut server = Wrap::new(&key, subkey, Sender::Acceptor, numbers.1, numbers.0).unwrap();
            for (tokens, end) in [(acceptor, &mut client), (initiator, &mut server)] {
                for token in tokens {
                    let sealed = hex(token)[2] & cfx_flags::SEALED != 0;
                    assert_eq!(opened(end, &hex(token)), Ok((message.clone(), sealed)), "{token}");
                }
            }
        }
    }

    #[test]
    fn what_is_signed_only_is_the_same_as_that_of_mit_kerberos() {
        for (key, subkey, [_, initiator], [_, acceptor]) in OF_MIT {
            let key = Key::new(Etype::Aes256CtsHmacSha1, &hex(key)).unwrap();
            for (end, token) in [(Sender::Initiator, initiator), (Sender::Acceptor, acceptor)] {
                let mut wrap = Wrap::new(&key, subkey, end, number(token), 0).unwrap();
                assert_eq!(signed(&mut wrap, b"\x04\x00\x01\x00message"), hex(token));
            }
        }
    }

    /// What a Windows Server and a client said when they agreed on the layer of a SASL connection, signed only: gokrb5's
    /// tests hold it.
    #[test]
    fn signed_tokens_of_others() {
        let key = Key::new(Etype::Aes128CtsHmacSha1, &hex("14f9bde6b50ec508201a97f74c4e5bd3")).unwrap();
        let acceptor = hex("050401ff000c000000000000575e85d601010000853b728d5268525a1386c19f");
        let initiator = hex("050400ff000c000000000000000000000101000079a033510b6f127212242b97");
        let mut client = Wrap::new(&key, false, Sender::Initiator, 0, 0x575e_85d6).unwrap();
        assert_eq!(opened(&mut client, &acceptor), Ok((vec![1, 1, 0, 0], false)));
        assert_eq!(signed(&mut client, &[1, 1, 0, 0]), initiator);
    }
}
