//! Channel bindings: the tie between a token and the TLS connection that carries it. RFC 5929 4, RFC 4121 4.1.1.2, MS-NLMP 3.3.2.

use core::fmt;
use core::net::IpAddr;

use iwa_wire::ParseError;
use iwa_wire::x509::{Certificate, SignatureHash};
use md5::{Digest as _, Md5};
use sha2::{Sha224, Sha256, Sha384, Sha512};
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

    /// `tls-server-end-point` of a server with this certificate, in DER. The hash is that of the certificate's signature, but
    /// SHA-256 for MD5 and SHA-1 (RFC 5929 4.1). For a signature without a hash of its own, such as Ed25519, the RFC defines
    /// nothing; clients that send bindings then use SHA-256.
    ///
    /// # Errors
    /// It is no certificate.
    pub fn of_certificate(certificate: &[u8]) -> Result<Self, ParseError> {
        Ok(match Certificate::parse(certificate)?.signature_hash {
            SignatureHash::Md5 | SignatureHash::Sha1 | SignatureHash::Sha256 | SignatureHash::Undefined => {
                Self::tls_server_end_point(&Sha256::digest(certificate))
            }
            SignatureHash::Sha224 => Self::tls_server_end_point(&Sha224::digest(certificate)),
            SignatureHash::Sha384 => Self::tls_server_end_point(&Sha384::digest(certificate)),
            SignatureHash::Sha512 => Self::tls_server_end_point(&Sha512::digest(certificate)),
        })
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
    /// As [`BindingPolicy::Allow`], and whoever [`BindingPolicy::Require`] would keep out is told of
    /// ([`BindingChecked::binding`]).
    Report,
    /// Only a client with right bindings may in.
    Require,
}

/// The channel bindings were held against the policy. Made by [`BindingPolicy::check`] alone.
#[derive(Debug)]
pub struct BindingChecked(Binding);

impl BindingChecked {
    /// What was found.
    #[must_use]
    pub const fn binding(&self) -> Binding {
        self.0
    }
}

/// How a client that was let in is tied to its channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Binding {
    /// The policy did not ask.
    #[default]
    Unchecked,
    /// The client's bindings are those of the channel.
    Bound,
    /// It sent none, or there is no channel to hold them against: [`BindingPolicy::Require`] would have refused it.
    Unbound,
}

impl BindingPolicy {
    /// Holds what a client presents against the channel. `None` and sixteen zeros both mean that the client knows of no
    /// channel.
    ///
    /// # Errors
    /// [`Peer::BindingMissing`] or [`Peer::BindingMismatch`].
    pub fn check(self, ours: &ChannelBindings, presented: Option<&[u8; 16]>) -> Result<BindingChecked, Peer> {
        let presented = presented.filter(|digest| !bool::from(digest.ct_eq(&[0; 16])));
        match (self, presented) {
            (Self::None, _) => Ok(BindingChecked(Binding::Unchecked)),
            (Self::Allow | Self::Report, None) => Ok(BindingChecked(Binding::Unbound)),
            // On plain HTTP there is nothing to hold a binding against; `require` demands TLS.
            (Self::Allow | Self::Report, Some(_)) if ours.is_none() => Ok(BindingChecked(Binding::Unbound)),
            (Self::Allow | Self::Report | Self::Require, Some(digest)) => {
                // Every digest is compared, so that the time tells nothing of which one matched.
                let matched = ours.digests.iter().fold(0u8, |found, own| found | own.ct_eq(digest).unwrap_u8());
                if matched == 1 { Ok(BindingChecked(Binding::Bound)) } else { Err(Peer::BindingMismatch) }
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
        use BindingPolicy::{Allow, None as Off, Report, Require};
        let accepted = |binding| Ok(binding);
        for (policy, presented, wanted) in [
            (Off, None, accepted(Binding::Unchecked)),
            (Off, Some(&zero), accepted(Binding::Unchecked)),
            (Off, Some(&wrong), accepted(Binding::Unchecked)),
            (Off, Some(&right), accepted(Binding::Unchecked)),
            (Allow, None, accepted(Binding::Unbound)),
            (Allow, Some(&zero), accepted(Binding::Unbound)),
            (Allow, Some(&wrong), Err(Peer::BindingMismatch)),
            (Allow, Some(&right), accepted(Binding::Bound)),
            (Report, None, accepted(Binding::Unbound)),
            (Report, Some(&zero), accepted(Binding::Unbound)),
            (Report, Some(&wrong), Err(Peer::BindingMismatch)),
            (Report, Some(&right), accepted(Binding::Bound)),
            (Require, None, Err(Peer::BindingMissing)),
            (Require, Some(&zero), Err(Peer::BindingMissing)),
            (Require, Some(&wrong), Err(Peer::BindingMismatch)),
            (Require, Some(&right), accepted(Binding::Bound)),
        ] {
            let found = policy.check(&tls, presented).map(|checked| checked.binding());
            assert_eq!(found, wanted, "{policy:?} {presented:?}");
        }
        assert!(Require.check(&ChannelBindings::none(), Some(&right)).is_err());
        assert!(Allow.check(&tls.clone().or(&ChannelBindings::tls_server_end_point(&[8; 32])), Some(&right)).is_ok());
    }

    /// The hashes are those of `openssl dgst`, over certificates that OpenSSL made.
    #[test]
    fn a_certificate_is_hashed_as_it_was_signed_and_never_with_md5_or_sha_1() {
        const CERTIFICATES: [(&[u8], &str); 5] = [
            (
                include_bytes!("../../iwa-wire/tests/certificates/md5.der"),
                "eb98dc450791212ddb67f9e00a35b8df2a7a8a1ffec538ebd1f51a3135466979",
            ),
            (
                include_bytes!("../../iwa-wire/tests/certificates/sha1.der"),
                "c1df892f5e5ef0f64a807d7d6d404a42843ac7548127d1b519480f4670d4280f",
            ),
            (
                include_bytes!("../../iwa-wire/tests/certificates/pss.der"),
                "b2d317dafd864d6b9a911ba85a733652230d37ef29ecc26ff0593aa17311787c",
            ),
            (
                include_bytes!("../../iwa-wire/tests/certificates/ec384.der"),
                "88de8eb22c3f51ce7b313e2f315c17eccd99106225f127696fb43a76cb6893dd4170462024df024ab5f079d0165c6296",
            ),
            (
                include_bytes!("../../iwa-wire/tests/certificates/ed.der"),
                "b27e0f76dc4ea11345ae9ed8831a0f9ebb8667dd3d360661ee2a0d11833033bb",
            ),
        ];
        for (certificate, hash) in CERTIFICATES {
            let hash: Vec<u8> =
                (0..hash.len()).step_by(2).map(|at| u8::from_str_radix(&hash[at..at + 2], 16).unwrap()).collect();
            let found = ChannelBindings::of_certificate(certificate).unwrap();
            assert_eq!(found, ChannelBindings::tls_server_end_point(&hash));
        }
        assert!(ChannelBindings::of_certificate(b"-----BEGIN CERTIFICATE-----").is_err());
    }
}
