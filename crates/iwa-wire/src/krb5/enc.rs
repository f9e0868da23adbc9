//! `EncryptedData`, `EncryptionKey`, `Checksum`. RFC 4120 5.2.9; numbers from RFC 3961 8, RFC 8009 and the IANA registry.

use core::fmt;

use super::checksum::{GSS_CHECKSUM, GssChecksum};
use super::field::{self, Fields as _};
use super::shape;
use crate::der::{Der, DerWriter, Tlv};
use crate::error::ParseError;
use crate::explain::{Explain as _, Field, Node, Shape};

/// `EncryptedData`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EncryptedData<'a> {
    /// `etype`.
    pub etype: i32,
    /// `kvno`, if the key is a long-term one. That of a read-only domain controller has its upper 16 bits set.
    pub kvno: Option<u32>,
    /// `cipher`.
    pub cipher: &'a [u8],
}

impl<'a> EncryptedData<'a> {
    /// Reads the next value.
    ///
    /// # Errors
    /// The rule that the bytes break.
    pub fn read(der: &mut Der<'a>) -> Result<Self, ParseError> {
        field::sequence(der, |der| {
            Ok(Self {
                etype: field::explicit(der, 0, field::int32)?,
                kvno: field::optional(der, 1, field::uint32)?,
                cipher: field::explicit(der, 2, field::octets)?,
            })
        })
    }

    pub(super) fn put(&self, w: &mut DerWriter<'_>) {
        w.sequence(|w| {
            w.int(0, self.etype);
            if let Some(kvno) = self.kvno {
                // As a signed number, which is what Windows and MIT write and what all of them read.
                w.int(1, kvno as i32);
            }
            w.octets(2, self.cipher);
        });
    }
}

/// `EncryptionKey`. Its `Debug` does not show the key.
#[derive(Clone, Copy)]
pub struct EncryptionKey<'a> {
    /// `keytype`: an etype.
    pub etype: i32,
    /// `keyvalue`. Secret.
    pub value: &'a [u8],
}

impl<'a> EncryptionKey<'a> {
    /// Reads the next value.
    ///
    /// # Errors
    /// The rule that the bytes break.
    pub fn read(der: &mut Der<'a>) -> Result<Self, ParseError> {
        field::sequence(der, |der| {
            Ok(Self { etype: field::explicit(der, 0, field::int32)?, value: field::explicit(der, 1, field::octets)? })
        })
    }

    pub(super) fn put(&self, w: &mut DerWriter<'_>) {
        w.sequence(|w| {
            w.int(0, self.etype);
            w.octets(1, self.value);
        });
    }
}

impl fmt::Debug for EncryptionKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncryptionKey({}, ..)", self.etype)
    }
}

/// `Checksum`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Checksum<'a> {
    /// `cksumtype`.
    pub cksumtype: i32,
    /// `checksum`.
    pub checksum: &'a [u8],
}

impl<'a> Checksum<'a> {
    /// Reads the next value.
    ///
    /// # Errors
    /// The rule that the bytes break.
    pub fn read(der: &mut Der<'a>) -> Result<Self, ParseError> {
        field::sequence(der, |der| {
            Ok(Self {
                cksumtype: field::explicit(der, 0, field::int32)?,
                checksum: field::explicit(der, 1, field::octets)?,
            })
        })
    }

    pub(super) fn put(&self, w: &mut DerWriter<'_>) {
        w.sequence(|w| {
            w.int(0, self.cksumtype);
            w.octets(1, self.checksum);
        });
    }
}

field::whole! { EncryptedData "EncryptedData" EncryptionKey "EncryptionKey" Checksum "Checksum" }

shape::explained! {
    EncryptedData "EncryptedData" "RFC 4120 5.2.9" shape::ENCRYPTED;
    EncryptionKey "EncryptionKey" "RFC 4120 5.2.9" shape::KEY;
    Checksum "Checksum" "RFC 4120 5.2.9" shape::CHECKSUM;
}

pub(super) const ENCRYPTED_DATA: &[Field] = &[
    shape::field(0, "etype", shape::ETYPE),
    shape::field(1, "kvno", Shape::Integer(shape::kvno)),
    shape::field(2, "cipher", Shape::Octets),
];

pub(super) const ENCRYPTION_KEY: &[Field] =
    &[shape::field(0, "keytype", shape::ETYPE), shape::field(1, "keyvalue", Shape::SecretOctets)];

const CHECKSUM: &[Field; 2] =
    &[shape::field(0, "cksumtype", Shape::Integer(shape::cksumtype)), shape::field(1, "checksum", Shape::Octets)];

pub(super) fn explain_checksum(name: &'static str, tlv: Tlv<'_>) -> Node {
    shape::typed(name, tlv, CHECKSUM, |cksumtype, bytes, offset| {
        (cksumtype == GSS_CHECKSUM).then(|| GssChecksum::explain(bytes, offset))
    })
}

/// The name of an encryption type.
#[must_use]
pub const fn etype_name(etype: i32) -> Option<&'static str> {
    Some(match etype {
        0 => "null",
        1 => "des-cbc-crc",
        2 => "des-cbc-md4",
        3 => "des-cbc-md5",
        5 => "des3-cbc-md5",
        7 => "des3-cbc-sha1-old",
        16 => "des3-cbc-sha1-kd",
        17 => "aes128-cts-hmac-sha1-96",
        18 => "aes256-cts-hmac-sha1-96",
        19 => "aes128-cts-hmac-sha256-128",
        20 => "aes256-cts-hmac-sha384-192",
        23 => "rc4-hmac",
        24 => "rc4-hmac-exp",
        25 => "camellia128-cts-cmac",
        26 => "camellia256-cts-cmac",
        -128 => "rc4-md4",
        -133 => "rc4-hmac-old",
        -135 => "rc4-hmac-old-exp",
        _ => return None,
    })
}

/// The name of a checksum type.
#[must_use]
pub const fn cksumtype_name(cksumtype: i32) -> Option<&'static str> {
    Some(match cksumtype {
        1 => "crc32",
        2 => "rsa-md4",
        3 => "rsa-md4-des",
        7 => "rsa-md5",
        8 => "rsa-md5-des",
        12 => "hmac-sha1-des3-kd",
        14 => "sha1",
        15 => "hmac-sha1-96-aes128",
        16 => "hmac-sha1-96-aes256",
        17 => "cmac-camellia128",
        18 => "cmac-camellia256",
        19 => "hmac-sha256-128-aes128",
        20 => "hmac-sha384-192-aes256",
        0x8003 => "GSS-API (RFC 4121 4.1.1)",
        -138 => "hmac-md5 (RFC 4757)",
        _ => return None,
    })
}
