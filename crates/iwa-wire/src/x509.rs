//! X.509 certificates, as far as a server must know its own: whom they name, until when, and how they were signed. RFC 5280 4.1.
//!
//! Nothing is verified here: that is the business of whoever is shown a certificate.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::der::{Der, Tag};
use crate::error::{ErrorKind, ParseError};
use crate::krb5::KerberosTime;

/// A certificate. Borrows from its encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate<'a> {
    /// The hash of its signature algorithm.
    pub signature_hash: SignatureHash,
    /// `issuer`, encoded.
    pub issuer: &'a [u8],
    /// `subject`, encoded.
    pub subject: &'a [u8],
    /// `notBefore`, in seconds since 1970.
    pub not_before: i64,
    /// `notAfter`, in seconds since 1970.
    pub not_after: i64,
    /// The kind of its key.
    pub key: KeyKind,
    /// `dNSName`s of `subjectAltName`.
    pub dns_names: Vec<&'a str>,
    /// `iPAddress`es of `subjectAltName`.
    pub addresses: Vec<IpAddr>,
    /// `cA` of `basicConstraints`.
    pub is_ca: bool,
}

/// The hash function of a signature algorithm, for RFC 5929 4.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureHash {
    /// MD5.
    Md5,
    /// SHA-1.
    Sha1,
    /// SHA-224.
    Sha224,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
    /// None (Ed25519, Ed448), more than one (RSASSA-PSS with another hash in its mask), or one that is not known here.
    Undefined,
}

/// What a certificate's key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA of so many bits.
    Rsa(usize),
    /// ECDSA over a curve, by its usual name.
    Ec(&'static str),
    /// Ed25519.
    Ed25519,
    /// Another.
    Other,
}

impl<'a> Certificate<'a> {
    /// Reads a `Certificate`.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        if bytes.len() > LARGEST {
            let kind = ErrorKind::Limit { what: "a certificate's length in bytes", limit: LARGEST };
            return Err(ParseError { format: FORMAT, offset: 0, kind });
        }
        let mut outer = Der::new(FORMAT, bytes, 0);
        let mut certificate = outer.enter(Tag::SEQUENCE)?;
        outer.finish()?;
        let mut tbs = certificate.enter(Tag::SEQUENCE)?;
        let signature_hash = signature_hash(certificate.enter(Tag::SEQUENCE)?)?;
        certificate.expect(Tag::BIT_STRING)?;
        certificate.finish()?;

        // Version 1 leaves it out.
        tbs.optional(Tag::context(0))?;
        tbs.expect(Tag::INTEGER)?;
        tbs.expect(Tag::SEQUENCE)?;
        let issuer = tbs.expect(Tag::SEQUENCE)?.whole;
        let mut validity = tbs.enter(Tag::SEQUENCE)?;
        let (not_before, not_after) = (time(&mut validity)?, time(&mut validity)?);
        validity.finish()?;
        let subject = tbs.expect(Tag::SEQUENCE)?.whole;
        let key = key_kind(tbs.enter(Tag::SEQUENCE)?)?;
        // issuerUniqueID and subjectUniqueID.
        tbs.optional(Tag(0x81))?;
        tbs.optional(Tag(0x82))?;
        let mut read = Self {
            signature_hash,
            issuer,
            subject,
            not_before,
            not_after,
            key,
            dns_names: Vec::new(),
            addresses: Vec::new(),
            is_ca: false,
        };
        if let Some(extensions) = tbs.optional(Tag::context(3))? {
            let mut extensions = extensions.inside();
            read.extensions(extensions.enter(Tag::SEQUENCE)?)?;
            extensions.finish()?;
        }
        tbs.finish()?;
        Ok(read)
    }

    /// Whether it is good for a host: a name (RFC 6125 6.4.3) or an address, as it stands in a URL without brackets.
    #[must_use]
    pub fn is_for(&self, host: &str) -> bool {
        match host.parse::<IpAddr>() {
            Ok(address) => self.addresses.contains(&address),
            Err(_) => self.dns_names.iter().any(|name| name_covers(name, host)),
        }
    }

    /// Whether it is its own issuer.
    #[must_use]
    pub fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }

    fn extensions(&mut self, mut extensions: Der<'a>) -> Result<(), ParseError> {
        while !extensions.is_empty() {
            let mut extension = extensions.enter(Tag::SEQUENCE)?;
            let id = extension.expect(Tag::OID)?.body;
            extension.optional(Tag::BOOLEAN)?;
            let value = extension.expect(Tag::OCTET_STRING)?;
            extension.finish()?;
            match id {
                SUBJECT_ALT_NAME => {
                    let mut value = value.inside();
                    let mut names = value.enter(Tag::SEQUENCE)?;
                    value.finish()?;
                    while !names.is_empty() {
                        let name = names.any()?;
                        match name.tag {
                            DNS_NAME => self.dns_names.extend(str::from_utf8(name.body).ok().filter(|n| n.is_ascii())),
                            IP_ADDRESS => self.addresses.extend(address(name.body)),
                            _ => {}
                        }
                    }
                }
                BASIC_CONSTRAINTS => {
                    let mut value = value.inside();
                    let mut constraints = value.enter(Tag::SEQUENCE)?;
                    self.is_ca = constraints.optional(Tag::BOOLEAN)?.is_some_and(|ca| ca.body != [0]);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Whether a name of a certificate covers a host. A wildcard is the whole first label, and stands for one label.
#[must_use]
pub fn name_covers(pattern: &str, host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let pattern = pattern.strip_suffix('.').unwrap_or(pattern);
    match pattern.strip_prefix("*.") {
        // `*.test` would be half the world; browsers do not take it either.
        Some(parent) => {
            parent.contains('.')
                && host
                    .split_once('.')
                    .is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(parent))
        }
        None => !pattern.is_empty() && pattern.eq_ignore_ascii_case(host),
    }
}

/// The hash of an `AlgorithmIdentifier` of signatures.
fn signature_hash(mut algorithm: Der<'_>) -> Result<SignatureHash, ParseError> {
    let id = algorithm.expect(Tag::OID)?.body;
    if id == RSASSA_PSS {
        return pss_hash(algorithm);
    }
    Ok(match id {
        // RSA with MD5, SHA-1, SHA-224, SHA-256, SHA-384, SHA-512: PKCS #1.
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x04] => SignatureHash::Md5,
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05] => SignatureHash::Sha1,
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0e] => SignatureHash::Sha224,
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b] => SignatureHash::Sha256,
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c] => SignatureHash::Sha384,
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d] => SignatureHash::Sha512,
        // ECDSA with the same: RFC 5758 3.2.
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01] => SignatureHash::Sha1,
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x01] => SignatureHash::Sha224,
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02] => SignatureHash::Sha256,
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03] => SignatureHash::Sha384,
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04] => SignatureHash::Sha512,
        _ => SignatureHash::Undefined,
    })
}

/// `RSASSA-PSS-params`: one hash for the message and the mask, or none that counts. RFC 4055 3.1.
fn pss_hash(mut algorithm: Der<'_>) -> Result<SignatureHash, ParseError> {
    let Some(parameters) = algorithm.optional(Tag::SEQUENCE)? else { return Ok(SignatureHash::Sha1) };
    let mut parameters = parameters.inside();
    let hash = match parameters.optional(Tag::context(0))? {
        Some(field) => hash_of(field.inside().enter(Tag::SEQUENCE)?)?,
        None => SignatureHash::Sha1,
    };
    let mask = match parameters.optional(Tag::context(1))? {
        Some(field) => {
            let mut generator = field.inside().enter(Tag::SEQUENCE)?;
            match generator.expect(Tag::OID)?.body {
                MGF1 => hash_of(generator.enter(Tag::SEQUENCE)?)?,
                _ => SignatureHash::Undefined,
            }
        }
        None => SignatureHash::Sha1,
    };
    Ok(if hash == mask { hash } else { SignatureHash::Undefined })
}

fn hash_of(mut algorithm: Der<'_>) -> Result<SignatureHash, ParseError> {
    Ok(match algorithm.expect(Tag::OID)?.body {
        [0x2b, 0x0e, 0x03, 0x02, 0x1a] => SignatureHash::Sha1,
        [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01] => SignatureHash::Sha256,
        [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02] => SignatureHash::Sha384,
        [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03] => SignatureHash::Sha512,
        [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x04] => SignatureHash::Sha224,
        _ => SignatureHash::Undefined,
    })
}

/// What a `SubjectPublicKeyInfo` holds.
fn key_kind(mut info: Der<'_>) -> Result<KeyKind, ParseError> {
    let mut algorithm = info.enter(Tag::SEQUENCE)?;
    let key = info.expect(Tag::BIT_STRING)?;
    info.finish()?;
    Ok(match algorithm.expect(Tag::OID)?.body {
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01] => {
            // The first byte counts unused bits, of which there are none.
            let mut bits = Der::new("RSAPublicKey", key.body.get(1..).unwrap_or_default(), key.body_offset() + 1);
            let modulus = bits.enter(Tag::SEQUENCE)?.expect(Tag::INTEGER)?.body;
            let significant = modulus.iter().skip_while(|byte| **byte == 0);
            let leading = significant.clone().next().map_or(0, |byte| byte.leading_zeros() as usize);
            KeyKind::Rsa(significant.count() * 8 - leading)
        }
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01] => match algorithm.optional(Tag::OID)?.map(|curve| curve.body) {
            Some([0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]) => KeyKind::Ec("P-256"),
            Some([0x2b, 0x81, 0x04, 0x00, 0x22]) => KeyKind::Ec("P-384"),
            Some([0x2b, 0x81, 0x04, 0x00, 0x23]) => KeyKind::Ec("P-521"),
            _ => KeyKind::Other,
        },
        [0x2b, 0x65, 0x70] => KeyKind::Ed25519,
        _ => KeyKind::Other,
    })
}

/// A `Time`: UTCTime until 2049, GeneralizedTime after. RFC 5280 4.1.2.5.
fn time(der: &mut Der<'_>) -> Result<i64, ParseError> {
    let at = *der;
    let value = der.any()?;
    let read = match (value.tag, value.body) {
        (UTC_TIME, [tens @ b'0'..=b'9', ..]) => {
            let century: &[u8] = if *tens >= b'5' { b"19" } else { b"20" };
            KerberosTime::parse(&[century, value.body].concat())
        }
        (Tag::GENERALIZED_TIME, text) => KerberosTime::parse(text),
        _ => None,
    };
    read.map(|time| time.0).ok_or_else(|| at.error(ErrorKind::Value { what: "Time" }))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(|bytes| IpAddr::V4(Ipv4Addr::from(bytes)));
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(|bytes| IpAddr::V6(Ipv6Addr::from(bytes)))).ok()
}

const FORMAT: &str = "Certificate";

/// Bytes. Real ones have one or two thousand; those with hundreds of names, some ten thousand.
const LARGEST: usize = 256 << 10;

const UTC_TIME: Tag = Tag(0x17);
const DNS_NAME: Tag = Tag(0x82);
const IP_ADDRESS: Tag = Tag(0x87);

const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const RSASSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a];
const MGF1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08];

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with OpenSSL 3.0.
    const SHA1: &[u8] = include_bytes!("../tests/certificates/sha1.der");
    const MD5: &[u8] = include_bytes!("../tests/certificates/md5.der");
    const PSS: &[u8] = include_bytes!("../tests/certificates/pss.der");
    const EC384: &[u8] = include_bytes!("../tests/certificates/ec384.der");
    const ED25519: &[u8] = include_bytes!("../tests/certificates/ed.der");

    #[test]
    fn what_openssl_made_is_read() {
        let read = |bytes: &'static [u8]| Certificate::parse(bytes).expect("a certificate");
        let old = read(SHA1);
        assert_eq!((old.signature_hash, old.key), (SignatureHash::Sha1, KeyKind::Rsa(1024)));
        assert_eq!(old.dns_names, ["old.example.test", "*.old.example.test"]);
        assert_eq!(old.addresses, ["192.0.2.7".parse::<IpAddr>().unwrap(), "2001:db8::7".parse().unwrap()]);
        assert!(old.is_self_issued() && old.is_ca);
        assert_eq!(old.not_after - old.not_before, 3650 * 86_400);
        assert_eq!(read(MD5).signature_hash, SignatureHash::Md5);
        // Its end is after 2049, and in the other form of time.
        let pss = read(PSS);
        assert_eq!((pss.signature_hash, pss.not_after - pss.not_before), (SignatureHash::Sha256, 36_500 * 86_400));
        assert_eq!((read(EC384).signature_hash, read(EC384).key), (SignatureHash::Sha384, KeyKind::Ec("P-384")));
        assert_eq!((read(ED25519).signature_hash, read(ED25519).key), (SignatureHash::Undefined, KeyKind::Ed25519));
    }

    #[test]
    fn every_truncation_and_every_trailing_byte_is_refused() {
        for bytes in [SHA1, EC384] {
            for end in 0..bytes.len() {
                assert!(Certificate::parse(&bytes[..end]).is_err(), "{end}");
            }
            assert!(Certificate::parse(&[bytes, &[0]].concat()).is_err());
        }
        assert!(Certificate::parse(&vec![0x30; LARGEST + 1]).is_err());
    }

    #[test]
    fn every_byte_may_be_wrong_without_a_panic() {
        for bytes in [SHA1, PSS, EC384, ED25519] {
            let mut changed = bytes.to_vec();
            for at in 0..bytes.len() {
                for value in [0, 0x7f, 0x80, 0xff] {
                    changed[at] = value;
                    let _ = Certificate::parse(&changed);
                }
                changed[at] = bytes[at];
            }
        }
    }

    #[test]
    fn names_are_compared_as_rfc_6125_says() {
        for (pattern, host, covered) in [
            ("web.example.test", "WEB.example.test", true),
            ("web.example.test", "web.example.test.", true),
            ("*.example.test", "web.example.test", true),
            ("*.example.test", "WEB.Example.Test", true),
            ("*.example.test", "example.test", false),
            ("*.example.test", "a.web.example.test", false),
            ("*.example.test", ".example.test", false),
            ("*.test", "example.test", false),
            ("w*.example.test", "web.example.test", false),
            ("*", "web", false),
            ("", "", false),
            ("web.example.test", "web.example.test.evil.test", false),
        ] {
            assert_eq!(name_covers(pattern, host), covered, "{pattern} {host}");
        }
        let old = Certificate::parse(SHA1).expect("a certificate");
        assert!(old.is_for("192.0.2.7") && old.is_for("2001:db8::7") && old.is_for("a.old.example.test"));
        assert!(!old.is_for("192.0.2.8") && !old.is_for("a.b.old.example.test"));
    }
}
