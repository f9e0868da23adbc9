//! Channel bindings: the tie between a token and the TLS connection that carries it. RFC 5929 4, RFC 4121 4.1.1.2, MS-NLMP 3.3.2.

use core::fmt;
use core::net::IpAddr;

use md5::{Digest as _, Md5};
use subtle::ConstantTimeEq as _;

use crate::reject::Peer;

/// What this end knows of the channel: nothing (plain HTTP), or the digests that a client may present.
///
/// Several at once, because a certificate is replaced while old connections live, and because a TLS terminator in front may
/// have more than one. Made once per certificate, not per request.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ChannelBindings {
    digests: Vec<[u8; 16]>,
    peer: Option<IpAddr>,
}

impl ChannelBindings {
    /// No channel to bind to: plain HTTP.
    #[must_use]
    pub const fn none() -> Self {
        Self { digests: Vec::new(), peer: None }
    }

    /// `tls-server-end-point` of a server whose certificate hashes to `certificate_hash` (RFC 5929 4.1).
    #[must_use]
    pub fn tls_server_end_point(certificate_hash: &[u8]) -> Self {
        let mut data = b"tls-server-end-point:".to_vec();
        data.extend_from_slice(certificate_hash);
        Self { digests: vec![digest(&data)], peer: None }
    }

    /// These and those: a match with either is a match.
    #[must_use]
    pub fn or(mut self, other: &Self) -> Self {
        self.digests.extend_from_slice(&other.digests);
        self
    }

    /// The other end's address, for tickets that are bound to addresses. It must be that of the client itself, not of a proxy.
    #[must_use]
    pub const fn with_peer(mut self, peer: IpAddr) -> Self {
        self.peer = Some(peer);
        self
    }

    /// The other end's address, if it is known.
    #[must_use]
    pub const fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    /// Whether there is a channel at all.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.digests.is_empty()
    }

    /// What an initiator presents: the digest of its channel, or sixteen zeros.
    #[must_use]
    pub fn presented(&self) -> [u8; 16] {
        self.digests.first().copied().unwrap_or([0; 16])
    }
}

impl fmt::Debug for ChannelBindings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChannelBindings({})", self.digests.len())
    }
}

/// MD5 of a `gss_channel_bindings_struct` without addresses (RFC 4121 4.1.1.2): the same 16 bytes for Kerberos and NTLM.
fn digest(application_data: &[u8]) -> [u8; 16] {
    let mut md5 = Md5::new();
    // Initiator address type and length, acceptor address type and length: all zero.
    md5.update([0; 16]);
    md5.update((application_data.len() as u32).to_le_bytes());
    md5.update(application_data);
    md5.finalize().into()
}

/// `extendedProtection tokenChecking` of IIS.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum BindingPolicy {
    /// Bindings are not looked at.
    #[default]
    None,
    /// A client without bindings may in; one with wrong bindings may not.
    Allow,
    /// Only a client with right bindings may in.
    Require,
}

/// The channel bindings were held against the policy. Made by [`BindingPolicy::check`] alone.
#[derive(Debug)]
pub struct BindingChecked(());

impl BindingPolicy {
    /// Holds what a client presents against the channel. `None` and sixteen zeros both mean that the client knows of no
    /// channel.
    ///
    /// # Errors
    /// [`Peer::BindingMissing`] or [`Peer::BindingMismatch`].
    pub fn check(self, ours: &ChannelBindings, presented: Option<&[u8; 16]>) -> Result<BindingChecked, Peer> {
        let presented = presented.filter(|digest| !bool::from(digest.ct_eq(&[0; 16])));
        match (self, presented) {
            (Self::None, _) | (Self::Allow, None) => Ok(BindingChecked(())),
            // On plain HTTP there is nothing to hold a binding against; `require` demands TLS.
            (Self::Allow, Some(_)) if ours.is_none() => Ok(BindingChecked(())),
            (Self::Allow | Self::Require, Some(digest)) => {
                // Every digest is compared, so that the time tells nothing of which one matched.
                let matched = ours.digests.iter().fold(0u8, |found, own| found | own.ct_eq(digest).unwrap_u8());
                if matched == 1 { Ok(BindingChecked(())) } else { Err(Peer::BindingMismatch) }
            }
            (Self::Require, None) => Err(Peer::BindingMissing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_matrix_of_extended_protection() {
        let tls = ChannelBindings::tls_server_end_point(&[7; 32]);
        let right = tls.presented();
        let wrong = [9; 16];
        let zero = [0; 16];
        use BindingPolicy::{Allow, None as Off, Require};
        for (policy, presented, accepted) in [
            (Off, None, true),
            (Off, Some(&zero), true),
            (Off, Some(&wrong), true),
            (Off, Some(&right), true),
            (Allow, None, true),
            (Allow, Some(&zero), true),
            (Allow, Some(&wrong), false),
            (Allow, Some(&right), true),
            (Require, None, false),
            (Require, Some(&zero), false),
            (Require, Some(&wrong), false),
            (Require, Some(&right), true),
        ] {
            assert_eq!(policy.check(&tls, presented).is_ok(), accepted, "{policy:?} {presented:?}");
        }
        assert!(Require.check(&ChannelBindings::none(), Some(&right)).is_err());
        assert!(Allow.check(&tls.clone().or(&ChannelBindings::tls_server_end_point(&[8; 32])), Some(&right)).is_ok());
    }
}
