//! Stand-in until `iwa_auth::ntlm::crypto` is there.
use iwa_auth::Secret;
use iwa_auth::krb5::etype::{Etype, Key};

pub(super) fn nt_hash(password: &str) -> Secret<[u8; 16]> {
    // The RC4 key is the NT hash (RFC 4757 2).
    let key = Key::from_password(Etype::Rc4Hmac, password, &[], None).ok();
    Secret::new(key.and_then(|key| key.expose().try_into().ok()).unwrap_or_default())
}

pub(super) fn verify_ntlmv2(_: &[u8; 16], _: &str, _: &str, _: &[u8; 8], _: &[u8]) -> Option<Secret<[u8; 16]>> {
    None
}
