//! Sealing and opening: AES-256-GCM-SIV (RFC 8452), which forgives a nonce that comes twice.
//!
//! ```text
//! cookie  version 1 | key id 4 | nonce 12 | ciphertext and tag      in base64url without padding (RFC 4648 5)
//! tied to version 1 | TLS 1 | policy 16 | certificate 16 | host
//! ```
//!
//! What a cookie is tied to does not stand in it: a server opens it under what is true of this very request, and fails if it
//! was sealed under anything else.

use aws_lc_rs::aead::{Aad, NONCE_LEN, Nonce};
use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use iwa_auth::Identity;

use super::keys::{KEY_ID, Keys};
use super::{NoSession, Parts, Refusal, SessionId, Times, codec};
use crate::system::System;

/// Where a session is good.
#[derive(Clone, Debug)]
pub struct Place<'a> {
    /// The host that the client asked for, in one spelling: [`canonical_host`].
    pub host: std::borrow::Cow<'a, str>,
    /// Whether the client's own connection is TLS.
    pub secure: bool,
    /// What is demanded of a sign-in here.
    pub policy: PolicyId,
    /// Where the sign-in must be tied to its TLS connection: the certificate it was tied to. Zeros elsewhere.
    pub certificate: [u8; 16],
    /// What the cookie's name ends with, for parts of a site that demand something else than the rest: both cookies live side
    /// by side. Empty otherwise.
    pub suffix: &'a str,
}

/// A hash of what a part of a site demands of a sign-in. A session is good where exactly that is demanded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PolicyId([u8; 16]);

impl PolicyId {
    /// Of these demands, in words, each with its value.
    pub fn of<'a>(demands: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut hash = Context::new(&SHA256);
        for (name, value) in demands {
            for part in [name, value] {
                hash.update(&(part.len() as u64).to_le_bytes());
                hash.update(part.as_bytes());
            }
        }
        let mut id = [0; 16];
        id.iter_mut().zip(hash.finish().as_ref()).for_each(|(place, byte)| *place = *byte);
        Self(id)
    }

    /// Eight hexadecimal digits of it.
    #[must_use]
    pub fn short(&self) -> String {
        self.0.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A host as a client asked for it, in one spelling: lower case, no dot at its end, no port that goes without saying.
#[must_use]
pub fn canonical_host(host: &str, secure: bool) -> std::borrow::Cow<'_, str> {
    let usual = if secure { ":443" } else { ":80" };
    let host = host.strip_suffix(usual).unwrap_or(host);
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    };
    let short = name.strip_suffix('.').unwrap_or(name);
    if short.len() == name.len() && !host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return host.into();
    }
    let mut canonical = short.to_ascii_lowercase();
    if let Some(port) = port {
        canonical.push(':');
        canonical.push_str(port);
    }
    canonical.into()
}

/// A cookie's value.
pub(super) fn seal(
    id: SessionId,
    times: &Times,
    identity: &Identity,
    keys: &Keys,
    place: &Place<'_>,
    system: &dyn System,
) -> Result<String, NoSession> {
    let mut nonce = [0; NONCE_LEN];
    system.random(&mut nonce)?;
    let mut content = Vec::with_capacity(256);
    codec::write(id, times, identity, &mut content);
    let key = keys.sealing(system.now());
    // It fails for texts of gigabytes alone.
    let tag = key
        .aead()
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(tied_to(place)), &mut content)
        .map_err(|_| NoSession::TooLong)?;
    let mut sealed = Vec::with_capacity(HEAD + content.len() + TAG);
    sealed.push(VERSION);
    sealed.extend_from_slice(&key.id());
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(&content);
    sealed.extend_from_slice(tag.as_ref());
    Ok(URL_SAFE_NO_PAD.encode(sealed))
}

/// What a cookie's value says.
pub(super) fn open(value: &str, keys: &Keys, place: &Place<'_>) -> Result<Parts, Refusal> {
    let mut sealed = URL_SAFE_NO_PAD.decode(value).map_err(|_| Refusal::Malformed)?;
    let (head, content) = sealed.split_at_mut_checked(HEAD).ok_or(Refusal::Malformed)?;
    let (version, head) = head.split_first().ok_or(Refusal::Malformed)?;
    let (id, nonce) = head.split_at_checked(KEY_ID).ok_or(Refusal::Malformed)?;
    if *version != VERSION {
        return Err(Refusal::Malformed);
    }
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Refusal::Malformed)?;
    let key = keys.by_id(id).ok_or(Refusal::UnknownKey)?;
    let content = key.aead().open_in_place(nonce, Aad::from(tied_to(place)), content).map_err(|_| Refusal::Seal)?;
    codec::read(content).ok_or(Refusal::Malformed)
}

fn tied_to(place: &Place<'_>) -> Vec<u8> {
    let mut tied = Vec::with_capacity(34 + place.host.len());
    tied.extend_from_slice(&[VERSION, u8::from(place.secure)]);
    tied.extend_from_slice(&place.policy.0);
    tied.extend_from_slice(&place.certificate);
    tied.extend_from_slice(place.host.as_bytes());
    tied
}

/// Of the format, of what a cookie is tied to, and of what is in it.
const VERSION: u8 = 1;

const HEAD: usize = 1 + KEY_ID + NONCE_LEN;

/// Bytes of the tag.
const TAG: usize = 16;
