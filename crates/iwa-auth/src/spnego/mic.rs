//! `mechListMIC`: the proof, under the session key, that nobody changed the list of mechanisms. RFC 4178 5, MS-SPNG 3.3.5.1.
//!
//! A MIC **must** be exchanged when the mechanism agreed on is not the initiator's first choice. RFC 4178 asks for one also
//! when the acceptor would have preferred another mechanism than the one offered first; nobody does that (a client that
//! puts NTLM first has no ticket, and a MIC would not give it one), so that the second rule is not applied here either.
//!
//! MS-SPNG 3.3.5.1 has NTLM's RC4 handles set back after the MIC, so that the first message of the application is signed
//! under the same state. Nothing is signed after the MIC here: both MICs are the first message of their direction.

use crate::ntlm;
use crate::reject::{Peer, Reject};

/// A mechanism's session, as far as the MIC needs it.
pub(crate) trait Session {
    /// The MIC of `message` from this end.
    fn sign(&mut self, message: &[u8]) -> Result<Vec<u8>, Reject>;
    /// Whether `mic` is the other end's MIC of `message`.
    fn verify(&mut self, message: &[u8], mic: &[u8]) -> bool;
}

impl Session for ntlm::acceptor::Context {
    fn sign(&mut self, message: &[u8]) -> Result<Vec<u8>, Reject> {
        Ok(Self::sign(self, message).to_vec())
    }

    fn verify(&mut self, message: &[u8], mic: &[u8]) -> bool {
        Self::verify(self, message, mic)
    }
}

/// The MIC that came beside `token`, if it is one. Two kinds that prove nothing are taken for none: a copy of the token
/// itself (Windows 2000 and Java servers), and the dummy signature of an NTLM session without `NTLMSSP_NEGOTIATE_SIGN`
/// (MS-NLMP 3.4.4).
pub(crate) fn sent<'a>(mic: Option<&'a [u8]>, token: Option<&[u8]>) -> Option<&'a [u8]> {
    mic.filter(|mic| token != Some(mic) && *mic != DUMMY_SIGNATURE)
}

/// Checks the other end's MIC, if it sent one: a MIC that is there must be right even where none has to be.
/// `true` if it is there.
///
/// # Errors
/// [`Peer::MechListMic`].
pub(crate) fn check(session: &mut impl Session, mech_types: &[u8], mic: Option<&[u8]>) -> Result<bool, Peer> {
    match mic {
        None => Ok(false),
        Some(mic) if session.verify(mech_types, mic) => Ok(true),
        Some(_) => Err(Peer::MechListMic),
    }
}

const DUMMY_SIGNATURE: [u8; 16] = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[cfg(test)]
mod tests {
    use super::*;

    /// Signs with a fixed tag.
    struct Tagged;

    impl Session for Tagged {
        fn sign(&mut self, message: &[u8]) -> Result<Vec<u8>, Reject> {
            Ok([b"mic:", message].concat())
        }

        fn verify(&mut self, message: &[u8], mic: &[u8]) -> bool {
            mic.strip_prefix(b"mic:") == Some(message)
        }
    }

    #[test]
    fn a_mic_that_is_there_must_be_right() {
        let good = Tagged.sign(b"list").expect("it always signs");
        assert_eq!(check(&mut Tagged, b"list", Some(&good)), Ok(true));
        assert_eq!(check(&mut Tagged, b"lust", Some(&good)), Err(Peer::MechListMic));
        assert_eq!(check(&mut Tagged, b"list", Some(b"")), Err(Peer::MechListMic));
        assert_eq!(check(&mut Tagged, b"list", None), Ok(false));
    }

    #[test]
    fn what_proves_nothing_is_no_mic() {
        assert_eq!(sent(Some(&DUMMY_SIGNATURE), None), None);
        assert_eq!(sent(Some(b"AP-REP"), Some(b"AP-REP")), None);
        assert_eq!(sent(Some(b"MIC"), Some(b"AP-REP")), Some(&b"MIC"[..]));
        assert_eq!(sent(Some(b"MIC"), None), Some(&b"MIC"[..]));
    }
}
