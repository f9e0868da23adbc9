//! Signing and sealing in a session, with extended session security. MS-NLMP 3.4.2, 3.4.3, 3.4.4.2.

use core::fmt;

use iwa_wire::ntlm::Flags;
use rc4::{Rc4, StreamCipher as _};
use subtle::ConstantTimeEq as _;

use super::crypto::{Sender, hmac_md5_of, rc4, seal_key, sign_key};
use crate::secret::Secret;

/// What a handshake leaves behind: the keys of both directions, made when they are first needed, because HTTP never needs
/// them unless SPNEGO asks for a `mechListMIC`.
pub struct Session {
    flags: Flags,
    exported_session_key: Secret<[u8; 16]>,
    local: Sender,
    outgoing: Option<Direction>,
    incoming: Option<Direction>,
}

impl Session {
    /// A session of these flags and this `ExportedSessionKey`; `local` is this end.
    #[must_use]
    pub const fn new(flags: Flags, exported_session_key: Secret<[u8; 16]>, local: Sender) -> Self {
        Self { flags, exported_session_key, local, outgoing: None, incoming: None }
    }

    /// `GSS_GetMIC`: the signature of the next outgoing message.
    #[must_use]
    pub fn sign(&mut self, message: &[u8]) -> [u8; 16] {
        let Self { flags, exported_session_key, local, outgoing, .. } = self;
        outgoing.get_or_insert_with(|| Direction::new(*flags, exported_session_key, *local)).mac(message)
    }

    /// `GSS_VerifyMIC`: whether `mac` is the signature of the next incoming message, compared in constant time.
    #[must_use]
    pub fn verify(&mut self, message: &[u8], mac: &[u8]) -> bool {
        self.incoming().mac(message).ct_eq(mac).into()
    }

    /// `GSS_Wrap`: encrypts the next outgoing message in place and gives its signature.
    #[must_use]
    pub fn seal(&mut self, message: &mut [u8]) -> [u8; 16] {
        let Self { flags, exported_session_key, local, outgoing, .. } = self;
        let direction = outgoing.get_or_insert_with(|| Direction::new(*flags, exported_session_key, *local));
        let checksum = direction.checksum(message);
        direction.seal.apply_keystream(message);
        direction.signature(checksum)
    }

    /// `GSS_Unwrap`: decrypts the next incoming message in place; whether its signature is right. If not, `message` holds
    /// nothing that may be used.
    #[must_use]
    pub fn unseal(&mut self, message: &mut [u8], mac: &[u8]) -> bool {
        let direction = self.incoming();
        direction.seal.apply_keystream(message);
        let checksum = direction.checksum(message);
        direction.signature(checksum).ct_eq(mac).into()
    }

    fn incoming(&mut self) -> &mut Direction {
        let Self { flags, exported_session_key, local, incoming, .. } = self;
        let peer = if *local == Sender::Client { Sender::Server } else { Sender::Client };
        incoming.get_or_insert_with(|| Direction::new(*flags, exported_session_key, peer))
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("flags", &self.flags).field("local", &self.local).finish_non_exhaustive()
    }
}

/// One direction: its keys and the number of its next message.
struct Direction {
    sign_key: Secret<[u8; 16]>,
    seal: Rc4,
    sequence: u32,
    encrypts_checksum: bool,
}

impl Direction {
    fn new(flags: Flags, exported_session_key: &Secret<[u8; 16]>, sender: Sender) -> Self {
        Self {
            sign_key: sign_key(exported_session_key, sender),
            seal: rc4(seal_key(flags, exported_session_key, sender).expose()),
            sequence: 0,
            encrypts_checksum: flags.has(Flags::KEY_EXCH),
        }
    }

    fn mac(&mut self, message: &[u8]) -> [u8; 16] {
        let checksum = self.checksum(message);
        self.signature(checksum)
    }

    fn checksum(&self, message: &[u8]) -> [u8; 8] {
        let [a, b, c, d, e, f, g, h, ..] =
            hmac_md5_of(self.sign_key.expose(), &[&self.sequence.to_le_bytes(), message]);
        [a, b, c, d, e, f, g, h]
    }

    /// `NTLMSSP_MESSAGE_SIGNATURE` (MS-NLMP 2.2.2.9.2).
    fn signature(&mut self, mut checksum: [u8; 8]) -> [u8; 16] {
        if self.encrypts_checksum {
            self.seal.apply_keystream(&mut checksum);
        }
        let [a, b, c, d, e, f, g, h] = checksum;
        let [i, j, k, l] = self.sequence.to_le_bytes();
        self.sequence = self.sequence.wrapping_add(1);
        [1, 0, 0, 0, a, b, c, d, e, f, g, h, i, j, k, l]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iwa_testkit::corpus::hex;

    // MS-NLMP 4.2.4: the random session key of the samples is 16 times 0x55.
    fn ends(flags: Flags) -> (Session, Session) {
        let end = |local| Session::new(flags, Secret::new([0x55; 16]), local);
        (end(Sender::Client), end(Sender::Server))
    }

    fn plaintext() -> Vec<u8> {
        "Plaintext".encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    const STRONG: Flags = Flags(0xe28a_8233);

    #[test]
    fn ms_nlmp_4_2_4_4_gss_wrap() {
        let (mut client, mut server) = ends(STRONG);
        let mut message = plaintext();
        let signature = client.seal(&mut message);
        assert_eq!(message, hex("54e50165bf1936dc996020c1811b0f06fb5f").unwrap());
        assert_eq!(signature.as_slice(), hex("010000007fb38ec5c55d497600000000").unwrap());
        assert!(server.unseal(&mut message, &signature));
        assert_eq!(message, plaintext());
    }

    #[test]
    fn both_ends_agree_message_for_message() {
        for flags in [STRONG, Flags(0x0008_8207), Flags(0x8008_8207)] {
            let (mut client, mut server) = ends(flags);
            for message in [b"one".as_slice(), b"two", b""] {
                let mac = client.sign(message);
                assert!(server.verify(message, &mac));
                let mac = server.sign(message);
                assert!(client.verify(message, &mac));
            }
        }
    }

    #[test]
    fn a_signature_of_another_message_direction_number_or_key_is_refused() {
        let mac = ends(STRONG).0.sign(b"list");
        let refuses = |message: &[u8], mac: &[u8]| !ends(STRONG).1.verify(message, mac);
        assert!(!refuses(b"list", &mac));
        assert!(refuses(b"lisp", &mac));
        assert!(refuses(b"list", &mac[..15]));
        assert!(refuses(b"list", &[]));
        assert!(refuses(b"list", &[0; 16]));
        // Reflected to its own sender.
        assert!(!ends(STRONG).0.verify(b"list", &mac));
        // Sent twice.
        let (_, mut server) = ends(STRONG);
        assert!(server.verify(b"list", &mac));
        assert!(!server.verify(b"list", &mac));
        let mut other = Session::new(STRONG, Secret::new([0x56; 16]), Sender::Server);
        assert!(!other.verify(b"list", &mac));
        for bit in 0..128 {
            let mut bad = mac;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(refuses(b"list", &bad), "bit {bit}");
        }
    }

    #[test]
    fn a_session_does_not_print_its_keys() {
        assert_eq!(
            format!("{:?}", Session::new(Flags(1), Secret::new([0x55; 16]), Sender::Client)),
            "Session { flags: 0x00000001 UNICODE, local: Client, .. }"
        );
    }
}
