//! Signing and sealing of RPC stubs with the session key. MS-NRPC 3.3.1, 3.3.4.2.

use core::fmt;

use cipher::inout::InOutBuf;
use iwa_wire::ParseError;
use iwa_wire::netlogon::NlAuthSha2Signature;
use subtle::ConstantTimeEq as _;

use super::crypto::{self, SessionKey};
use crate::env::{EntropyError, Env};
use crate::secret::Secret;

/// One connection's protection. Both directions share one count: what is sent and what is received must be in sequence, and
/// after anything that is not, nothing is taken any more.
#[derive(Clone)]
pub struct Sealing {
    key: SessionKey,
    seal_key: Secret<[u8; 16]>,
    sequence: u64,
    end: End,
    broken: bool,
}

/// Which end of the connection this is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The member that connected.
    Client,
    /// The domain controller.
    Server,
}

impl End {
    const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// Why a stub is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SealError {
    /// The signature is not one.
    Malformed(ParseError),
    /// It is out of sequence: left out, repeated, or sent back to where it came from.
    Sequence,
    /// It was changed on its way, or made with another key.
    Checksum,
    /// Something before it was refused.
    Broken,
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => error.fmt(f),
            Self::Sequence => f.write_str(
                "a message is out of sequence: somebody repeats or leaves out messages on the way to the domain controller, \
                 or the domain controller uses another session key",
            ),
            Self::Checksum => f.write_str(
                "the signature of a message does not hold: it was changed on its way, or the domain controller uses \
                 another session key",
            ),
            Self::Broken => f.write_str("a message before this one was refused"),
        }
    }
}

impl Sealing {
    /// The beginning of a connection.
    #[must_use]
    pub fn new(key: &SessionKey, end: End) -> Self {
        let mut seal_key = *key.expose();
        seal_key.iter_mut().for_each(|byte| *byte ^= 0xf0);
        Self { key: key.clone(), seal_key: Secret::new(seal_key), sequence: 0, end, broken: false }
    }

    /// Signs and encrypts `data` in place; returns the signature for the verifier.
    ///
    /// # Errors
    /// There is no randomness for the confounder.
    pub fn seal(
        &mut self,
        data: &mut [u8],
        env: &mut Env<'_>,
    ) -> Result<[u8; NlAuthSha2Signature::SIZE], EntropyError> {
        let mut confounder = env.random::<8>()?;
        let checksum = self.checksum(&confounder, data);
        let mut sequence_number = self.next(self.end);
        let mut cipher = crypto::encryptor(self.seal_key.expose(), &twice(sequence_number));
        cipher.encrypt_inout(InOutBuf::from(&mut confounder[..]));
        cipher.encrypt_inout(InOutBuf::from(data));
        crypto::encrypt(self.key.expose(), &twice(checksum), &mut sequence_number);
        Ok(NlAuthSha2Signature { sequence_number, checksum, confounder }.write())
    }

    /// Decrypts `data` in place and verifies its signature. What is in `data` after an error means nothing.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn unseal(&mut self, data: &mut [u8], signature: &[u8]) -> Result<(), SealError> {
        if self.broken {
            return Err(SealError::Broken);
        }
        self.broken = true;
        let NlAuthSha2Signature { mut sequence_number, checksum, mut confounder } =
            NlAuthSha2Signature::parse(signature).map_err(SealError::Malformed)?;
        crypto::decrypt(self.key.expose(), &twice(checksum), &mut sequence_number);
        let wanted = self.next(self.end.other());
        if !bool::from(sequence_number.ct_eq(&wanted)) {
            return Err(SealError::Sequence);
        }
        let mut cipher = crypto::decryptor(self.seal_key.expose(), &twice(sequence_number));
        cipher.decrypt_inout(InOutBuf::from(&mut confounder[..]));
        cipher.decrypt_inout(InOutBuf::from(&mut *data));
        if !bool::from(self.checksum(&confounder, data).ct_eq(&checksum)) {
            return Err(SealError::Checksum);
        }
        self.broken = false;
        Ok(())
    }

    fn checksum(&self, confounder: &[u8; 8], data: &[u8]) -> [u8; 8] {
        let parts: [&[u8]; 3] = [&NlAuthSha2Signature::HEADER, confounder, data];
        crypto::truncated(&crypto::hmac_sha256(self.key.expose(), &parts))
    }

    /// The number of the next message, if `from` sends it: the low half, then the high half with the sender's bit, each with
    /// its most significant byte first. MS-NRPC 3.3.4.2.1.
    fn next(&mut self, from: End) -> [u8; 8] {
        let [low, high] = [self.sequence as u32, (self.sequence >> 32) as u32];
        self.sequence += 1;
        let high = if from == End::Client { high | 1 << 31 } else { high };
        let ([a, b, c, d], [e, f, g, h]) = (low.to_be_bytes(), high.to_be_bytes());
        [a, b, c, d, e, f, g, h]
    }
}

impl fmt::Debug for Sealing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealing").field("sequence", &self.sequence).field("end", &self.end).finish_non_exhaustive()
    }
}

fn twice([a, b, c, d, e, f, g, h]: [u8; 8]) -> [u8; 16] {
    [a, b, c, d, e, f, g, h, a, b, c, d, e, f, g, h]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{Entropy, UnixTime};
    use iwa_testkit::corpus::hex;

    struct Fixed([u8; 8]);

    impl Entropy for Fixed {
        fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
            out.copy_from_slice(&self.0);
            Ok(())
        }
    }

    fn key() -> SessionKey {
        Secret::new(hex("0cb6948805f797bf2a82807973b89537").unwrap().try_into().unwrap())
    }

    fn seal(sealing: &mut Sealing, data: &mut [u8]) -> [u8; 56] {
        let mut entropy = Fixed(hex("717f5076c5902bcd").unwrap().try_into().unwrap());
        sealing.seal(data, &mut Env { now: UnixTime::default(), entropy: &mut entropy }).unwrap()
    }

    fn pair() -> (Sealing, Sealing) {
        (Sealing::new(&key(), End::Client), Sealing::new(&key(), End::Server))
    }

    #[test]
    fn ms_nrpc_4_3_signature_token_and_sealed_message() {
        let clear =
            hex("3000000000000000000000000000000030000000000000005c005c00570049004e002d00450055003400550047003800\
             370048003200490056002e00320033003000360066006500760032002e006e00740074006500730074002e006d006900\
             630072006f0073006f00660074002e0063006f006d000000000002000000000010000000000000000000000000000000\
             1000000000000000570049004e002d004400310049005400420046004d003400410038005500000085bb1511fd09786d\
             3b61b06400000000000000000000000001000000000000000000000000000000")
            .unwrap();
        let sealed =
            hex("c930c9a079d95c78bea6a3150908c11f4b68e41219bcb91680ead287da211eec66bc27df2bc9a0f4ecf25c88624e493c\
             59cdec6bc7b08bed84b97c33138ae3c8377cb327f3ea6076da91c5d23dbf1b2f4066a455332716b7b64f2ec9a944702d\
             20a85035de3b231a5216b7a6c9102bd17c7d6ab1b379445eb5a5276e360d3bcef93b5359d36b0006b0c10bc2fec73777\
             816a383a4614494b7b18bc34cd5447681eb48f8132a0a08a50d752826cff068c76959d49767557e503d509fa3c18b086\
             0a22a7e2bae50e812c5d71c31f9f1dfd143333b3043f6bf906e5d91207f1d988")
            .unwrap();
        let mut data = clear.clone();
        let (mut client, mut server) = pair();
        let token = seal(&mut client, &mut data);
        let wanted = "13001a00ffff0000b37c1f0ec86468f086761f2f86f4f4c1632d1f547d2cf6ff";
        assert_eq!(token[..32], hex(wanted).unwrap());
        assert_eq!(token[32..], [0; 24]);
        assert_eq!(data, sealed);
        server.unseal(&mut data, &token).unwrap();
        assert_eq!(data, clear);
    }

    /// As in `crypto`: the capture of github.com/billchaison/securechannel.
    #[test]
    fn windows_numbers_both_directions_in_one_sequence() {
        let key: [u8; 16] = hex("3bde5fef94210c211159c347e10c0189").unwrap().try_into().unwrap();
        let mut sealing = Sealing::new(&Secret::new(key), End::Client);
        sealing.sequence = 2;
        for (from, encrypted, digest) in [
            (End::Client, "6e9e03a812b04528", "0802f92282a7474c"),
            (End::Server, "87ff42dcf095994e", "113ac37e4f4cb72d"),
        ] {
            let mut number: [u8; 8] = hex(encrypted).unwrap().try_into().unwrap();
            crypto::decrypt(&key, &twice(hex(digest).unwrap().try_into().unwrap()), &mut number);
            assert_eq!(number, sealing.next(from));
        }
    }

    #[test]
    fn a_conversation_goes_to_and_fro() {
        let (mut client, mut server) = pair();
        for round in 0..5u8 {
            let mut data = vec![round; 100];
            let token = seal(&mut client, &mut data);
            assert_eq!(server.unseal(&mut data, &token), Ok(()));
            let token = seal(&mut server, &mut data);
            assert_eq!(client.unseal(&mut data, &token), Ok(()));
            assert_eq!(data, [round; 100]);
        }
    }

    #[test]
    fn a_changed_bit_anywhere_is_refused_and_nothing_is_taken_after_it() {
        let (mut client, server) = pair();
        let mut sealed = *b"a message of thirty-two bytes...";
        let token = seal(&mut client, &mut sealed);
        // Behind the confounder stand reserved bytes, which mean nothing.
        for bit in 0..8 * (32 + sealed.len()) {
            let (mut data, mut changed) = (sealed, token);
            match bit / 8 {
                at @ 0..32 => changed[at] ^= 1 << (bit % 8),
                at => data[at - 32] ^= 1 << (bit % 8),
            }
            let mut server = server.clone();
            assert!(server.unseal(&mut data, &changed).is_err(), "bit {bit}");
            assert_eq!(server.unseal(&mut sealed.clone(), &token), Err(SealError::Broken));
        }
        for cut in 0..token.len() {
            assert!(server.clone().unseal(&mut sealed.clone(), &token[..cut]).is_err());
        }
        let mut short = sealed;
        assert!(server.clone().unseal(&mut short[..31], &token).is_err());
    }

    #[test]
    fn what_was_sent_before_or_by_us_or_under_another_key_is_refused() {
        let (mut client, mut server) = pair();
        let mut first = *b"first message...";
        let token = seal(&mut client, &mut first);
        assert_eq!(client.clone().unseal(&mut first.clone(), &token), Err(SealError::Sequence), "reflected");
        let mut same = Sealing::new(&key(), End::Client);
        assert_eq!(same.unseal(&mut first.clone(), &token), Err(SealError::Sequence), "reflected at the start");
        assert_eq!(server.unseal(&mut first.clone(), &token), Ok(()));
        assert_eq!(server.unseal(&mut first.clone(), &token), Err(SealError::Sequence), "repeated");
        let mut other = Sealing::new(&Secret::new([5; 16]), End::Server);
        assert!(other.unseal(&mut first, &token).is_err());
        let (mut client, mut server) = pair();
        let _lost = seal(&mut client, &mut [0; 16]);
        let mut second = [1; 16];
        let token = seal(&mut client, &mut second);
        assert_eq!(server.unseal(&mut second, &token), Err(SealError::Sequence), "one is left out");
    }
}
