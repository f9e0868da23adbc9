//! `PA-DATA` and what stands in it. RFC 4120 5.2.7, 7.5.2; MS-KILE 2.2.2, 2.2.10; MS-SFU 2.2.1.

use super::field::{self, Fields as _};
use super::sequence_of::element;
use super::shape;
use super::{Checksum, KerberosString, KerberosTime, PrincipalName};
use crate::der::{Der, DerWriter, Tag, Tlv};
use crate::error::ParseError;
use crate::explain::{Explain as _, Field, Node, Shape, explain_der, text};

/// `PA-DATA`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PaData<'a> {
    /// `padata-type`: [`pa_type`].
    pub padata_type: i32,
    /// `padata-value`.
    pub padata_value: &'a [u8],
}

impl<'a> PaData<'a> {
    /// Reads the next value.
    ///
    /// # Errors
    /// The rule that the bytes break.
    pub fn read(der: &mut Der<'a>) -> Result<Self, ParseError> {
        field::sequence(der, |der| {
            Ok(Self {
                padata_type: field::explicit(der, 1, field::int32)?,
                padata_value: field::explicit(der, 2, field::octets)?,
            })
        })
    }

    pub(super) fn put(&self, w: &mut DerWriter<'_>) {
        w.sequence(|w| {
            w.int(1, self.padata_type);
            w.octets(2, self.padata_value);
        });
    }
}

/// `METHOD-DATA`: the `e-data` of `KDC_ERR_PREAUTH_REQUIRED`.
pub type MethodData<'a> = super::SequenceOf<'a, PaData<'a>>;

/// `ETYPE-INFO2-ENTRY`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EtypeInfo2Entry<'a> {
    /// `etype`.
    pub etype: i32,
    /// `salt`; the default salt holds if it is absent.
    pub salt: Option<KerberosString<'a>>,
    /// `s2kparams`: for AES the iteration count, four bytes.
    pub s2kparams: Option<&'a [u8]>,
}

/// `ETYPE-INFO2`.
pub type EtypeInfo2<'a> = super::SequenceOf<'a, EtypeInfo2Entry<'a>>;

impl<'a> EtypeInfo2Entry<'a> {
    /// Reads the next value.
    ///
    /// # Errors
    /// The rule that the bytes break.
    pub fn read(der: &mut Der<'a>) -> Result<Self, ParseError> {
        field::sequence(der, |der| {
            Ok(Self {
                etype: field::explicit(der, 0, field::int32)?,
                salt: field::optional(der, 1, field::string)?,
                s2kparams: field::optional(der, 2, field::octets)?,
            })
        })
    }

    pub(super) fn put(&self, w: &mut DerWriter<'_>) {
        w.sequence(|w| {
            w.int(0, self.etype);
            if let Some(salt) = self.salt {
                w.string(1, salt);
            }
            if let Some(params) = self.s2kparams {
                w.octets(2, params);
            }
        });
    }
}

/// `ETYPE-INFO-ENTRY`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EtypeInfoEntry<'a> {
    /// `etype`.
    pub etype: i32,
    /// `salt`.
    pub salt: Option<&'a [u8]>,
}

/// `ETYPE-INFO`.
pub type EtypeInfo<'a> = super::SequenceOf<'a, EtypeInfoEntry<'a>>;

impl<'a> EtypeInfoEntry<'a> {
    /// Reads the next value.
    ///
    /// # Errors
    /// The rule that the bytes break.
    pub fn read(der: &mut Der<'a>) -> Result<Self, ParseError> {
        field::sequence(der, |der| {
            let entry =
                Self { etype: field::explicit(der, 0, field::int32)?, salt: field::optional(der, 1, field::octets)? };
            // `salttype`, of drafts before RFC 4120, still sent by some.
            field::optional(der, 2, field::int32)?;
            Ok(entry)
        })
    }

    pub(super) fn put(&self, w: &mut DerWriter<'_>) {
        w.sequence(|w| {
            w.int(0, self.etype);
            if let Some(salt) = self.salt {
                w.octets(1, salt);
            }
        });
    }
}

/// `PA-ENC-TS-ENC`: the client's clock, encrypted under its long-term key (key usage 1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PaEncTsEnc {
    /// `patimestamp`.
    pub patimestamp: KerberosTime,
    /// `pausec`.
    pub pausec: Option<u32>,
}

impl PaEncTsEnc {
    /// Reads a whole `PA-ENC-TS-ENC`.
    ///
    /// # Errors
    /// The rule that the bytes break.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let mut outer = Der::new("PA-ENC-TS-ENC", bytes, 0);
        let value = field::sequence(&mut outer, |der| {
            Ok(Self {
                patimestamp: field::explicit(der, 0, field::time)?,
                pausec: field::optional(der, 1, field::microseconds)?,
            })
        })?;
        outer.finish()?;
        Ok(value)
    }

    /// Appends the DER of this value.
    pub fn write(&self, out: &mut Vec<u8>) {
        DerWriter::new(out).sequence(|w| {
            w.time(0, self.patimestamp);
            if let Some(usec) = self.pausec {
                w.int(1, usec);
            }
        });
    }
}

/// `KERB-PA-PAC-REQUEST`: whether the client wants a PAC. MS-KILE 2.2.3.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PaPacRequest {
    /// `include-pac`.
    pub include_pac: bool,
}

impl PaPacRequest {
    /// Reads a whole `KERB-PA-PAC-REQUEST`.
    ///
    /// # Errors
    /// The rule that the bytes break.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let mut outer = Der::new("KERB-PA-PAC-REQUEST", bytes, 0);
        let include_pac = field::sequence(&mut outer, |der| field::explicit(der, 0, field::boolean))?;
        outer.finish()?;
        Ok(Self { include_pac })
    }

    /// Appends the DER of this value.
    pub fn write(&self, out: &mut Vec<u8>) {
        let value = if self.include_pac { 0xff } else { 0 };
        DerWriter::new(out).sequence(|w| w.field(0, |w| w.primitive(Tag::BOOLEAN, &[value])));
    }
}

/// `PA-PAC-OPTIONS`. MS-KILE 2.2.10.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PaPacOptions {
    /// `flags`: claims (0), branch-aware (1), forward to full DC (2), resource-based constrained delegation (3).
    pub flags: u32,
}

impl PaPacOptions {
    /// Reads a whole `PA-PAC-OPTIONS`.
    ///
    /// # Errors
    /// The rule that the bytes break.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let mut outer = Der::new("PA-PAC-OPTIONS", bytes, 0);
        let flags = field::sequence(&mut outer, |der| field::explicit(der, 0, field::flags))?;
        outer.finish()?;
        Ok(Self { flags })
    }

    /// Appends the DER of this value.
    pub fn write(&self, out: &mut Vec<u8>) {
        DerWriter::new(out).sequence(|w| w.bits(0, self.flags));
    }
}

/// `PA-FOR-USER`: S4U2Self. MS-SFU 2.2.1.
#[derive(Clone, Copy, Debug)]
pub struct PaForUser<'a> {
    /// `userName`.
    pub user_name: PrincipalName<'a>,
    /// `userRealm`.
    pub user_realm: KerberosString<'a>,
    /// `cksum`: HMAC-MD5 under the TGT's session key (key usage 17).
    pub cksum: Checksum<'a>,
    /// `auth-package`: `Kerberos`.
    pub auth_package: KerberosString<'a>,
}

impl<'a> PaForUser<'a> {
    /// Reads the next value.
    ///
    /// # Errors
    /// The rule that the bytes break.
    pub fn read(der: &mut Der<'a>) -> Result<Self, ParseError> {
        field::sequence(der, |der| {
            Ok(Self {
                user_name: field::explicit(der, 0, PrincipalName::read)?,
                user_realm: field::explicit(der, 1, field::string)?,
                cksum: field::explicit(der, 2, Checksum::read)?,
                auth_package: field::explicit(der, 3, field::string)?,
            })
        })
    }

    pub(super) fn put(&self, w: &mut DerWriter<'_>) {
        w.sequence(|w| {
            w.field(0, |w| self.user_name.put(w));
            w.string(1, self.user_realm);
            w.field(2, |w| self.cksum.put(w));
            w.string(3, self.auth_package);
        });
    }
}

field::whole! { PaData "PA-DATA" PaForUser "PA-FOR-USER" EtypeInfo2Entry "ETYPE-INFO2-ENTRY" EtypeInfoEntry "ETYPE-INFO-ENTRY" }
element! { PaData "PA-DATA" 64 EtypeInfo2Entry "ETYPE-INFO2" 64 EtypeInfoEntry "ETYPE-INFO" 64 }

shape::explained! {
    PaData "PA-DATA" "RFC 4120 5.2.7" Shape::Custom(explain_padata);
    PaForUser "PA-FOR-USER" "MS-SFU 2.2.1" PA_FOR_USER;
}

const PA_DATA: &[Field; 2] =
    &[shape::field(1, "padata-type", Shape::Integer(shape::pa_type)), shape::field(2, "padata-value", Shape::Octets)];

pub(super) fn explain_padata(name: &'static str, tlv: Tlv<'_>) -> Node {
    shape::typed(name, tlv, PA_DATA, explain_value)
}

fn explain_value(padata_type: i32, bytes: &[u8], offset: usize) -> Option<Node> {
    let der = |name, spec, shape: &'static Shape| Some(explain_der(name, spec, shape, bytes, offset));
    // An empty value only says that the type is known.
    if bytes.is_empty() {
        return None;
    }
    match padata_type {
        pa_type::TGS_REQ => Some(super::ApReq::explain(bytes, offset)),
        pa_type::ENC_TIMESTAMP | pa_type::ENCRYPTED_CHALLENGE => {
            der("EncryptedData", "RFC 4120 5.2.7.2", &shape::ENCRYPTED)
        }
        pa_type::PW_SALT => Some(Node::leaf("salt", text(bytes), offset..offset + bytes.len())),
        pa_type::ETYPE_INFO => der("ETYPE-INFO", "RFC 4120 5.2.7.4", &ETYPE_INFO),
        pa_type::ETYPE_INFO2 => der("ETYPE-INFO2", "RFC 4120 5.2.7.5", &ETYPE_INFO2),
        pa_type::PAC_REQUEST => der("KERB-PA-PAC-REQUEST", "MS-KILE 2.2.3", &PA_PAC_REQUEST),
        pa_type::FOR_USER => Some(PaForUser::explain(bytes, offset)),
        pa_type::PAC_OPTIONS => der("PA-PAC-OPTIONS", "MS-KILE 2.2.10", &PA_PAC_OPTIONS),
        pa_type::REQ_ENC_PA_REP if bytes.first() == Some(&Tag::SEQUENCE.0) => {
            der("Checksum", "RFC 6806 11", &shape::CHECKSUM)
        }
        pa_type::SUPPORTED_ETYPES => {
            let bits = u32::from_le_bytes(bytes.try_into().ok()?);
            Some(Node::leaf("SupportedEncryptionTypes", supported_etypes(bits), offset..offset + bytes.len()))
        }
        _ => None,
    }
}

/// `msDS-SupportedEncryptionTypes` in words. MS-KILE 2.2.7.
#[must_use]
pub fn supported_etypes(bits: u32) -> String {
    const NAMES: [(u32, &str); 12] = [
        (0x1, "des-cbc-crc"),
        (0x2, "des-cbc-md5"),
        (0x4, "rc4-hmac"),
        (0x8, "aes128-cts-hmac-sha1-96"),
        (0x10, "aes256-cts-hmac-sha1-96"),
        (0x20, "aes256-cts-hmac-sha1-96-sk"),
        (0x40, "aes128-cts-hmac-sha256-128"),
        (0x80, "aes256-cts-hmac-sha384-192"),
        (0x1_0000, "FAST"),
        (0x2_0000, "compound-identity"),
        (0x4_0000, "claims"),
        (0x8_0000, "resource-SID-compression-disabled"),
    ];
    let names: Vec<&str> = NAMES.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name).collect();
    format!("0x{bits:08x} {}", names.join(" "))
}

const ETYPE_INFO: Shape = Shape::SequenceOf(
    "ETYPE-INFO-ENTRY",
    &Shape::Sequence(&[
        shape::field(0, "etype", shape::ETYPE),
        shape::field(1, "salt", Shape::OctetsOf(explain_salt)),
        shape::field(2, "salttype", shape::INT),
    ]),
);

fn explain_salt(bytes: &[u8], offset: usize) -> Node {
    Node::leaf("salt", text(bytes), offset..offset + bytes.len())
}

const ETYPE_INFO2: Shape = Shape::SequenceOf(
    "ETYPE-INFO2-ENTRY",
    &Shape::Sequence(&[
        shape::field(0, "etype", shape::ETYPE),
        shape::field(1, "salt", Shape::Text),
        shape::field(2, "s2kparams", Shape::OctetsOf(explain_s2kparams)),
    ]),
);

fn explain_s2kparams(bytes: &[u8], offset: usize) -> Node {
    let words = match <[u8; 4]>::try_from(bytes) {
        Ok(count) => format!("{} iterations", u32::from_be_bytes(count)),
        Err(_) => crate::explain::hex(bytes),
    };
    Node::leaf("parameters", words, offset..offset + bytes.len())
}

const PA_PAC_REQUEST: Shape = Shape::Sequence(&[shape::field(0, "include-pac", Shape::Boolean)]);

const PA_PAC_OPTIONS: Shape = Shape::Sequence(&[shape::field(0, "flags", Shape::Flags(pac_options))]);

fn pac_options(flags: u32) -> String {
    field::bit_names(
        flags,
        &[(0, "claims"), (1, "branch-aware"), (2, "forward-to-full-dc"), (3, "resource-based-constrained-delegation")],
    )
}

const PA_FOR_USER: Shape = Shape::Sequence(&[
    shape::field(0, "userName", shape::NAME),
    shape::field(1, "userRealm", shape::REALM),
    shape::field(2, "cksum", shape::CHECKSUM),
    shape::field(3, "auth-package", Shape::Text),
]);

/// `padata-type`. RFC 4120 7.5.2 and the IANA registry.
pub mod pa_type {
    /// `PA-TGS-REQ`: an AP-REQ.
    pub const TGS_REQ: i32 = 1;
    /// `PA-ENC-TIMESTAMP`.
    pub const ENC_TIMESTAMP: i32 = 2;
    /// `PA-PW-SALT`.
    pub const PW_SALT: i32 = 3;
    /// `PA-ETYPE-INFO`.
    pub const ETYPE_INFO: i32 = 11;
    /// `PA-PK-AS-REQ`.
    pub const PK_AS_REQ: i32 = 16;
    /// `PA-PK-AS-REP`.
    pub const PK_AS_REP: i32 = 17;
    /// `PA-ETYPE-INFO2`.
    pub const ETYPE_INFO2: i32 = 19;
    /// `PA-SVR-REFERRAL-INFO`.
    pub const SVR_REFERRAL_INFO: i32 = 20;
    /// `PA-PAC-REQUEST`.
    pub const PAC_REQUEST: i32 = 128;
    /// `PA-FOR-USER`.
    pub const FOR_USER: i32 = 129;
    /// `PA-FOR-X509-USER`.
    pub const FOR_X509_USER: i32 = 130;
    /// `PA-FX-COOKIE`.
    pub const FX_COOKIE: i32 = 133;
    /// `PA-FX-FAST`.
    pub const FX_FAST: i32 = 136;
    /// `PA-ENCRYPTED-CHALLENGE`.
    pub const ENCRYPTED_CHALLENGE: i32 = 138;
    /// `PA-REQ-ENC-PA-REP`. RFC 6806.
    pub const REQ_ENC_PA_REP: i32 = 149;
    /// `PA-SUPPORTED-ETYPES`. MS-KILE.
    pub const SUPPORTED_ETYPES: i32 = 165;
    /// `PA-PAC-OPTIONS`. MS-KILE.
    pub const PAC_OPTIONS: i32 = 167;

    /// The name of a type.
    #[must_use]
    pub const fn name(value: i32) -> Option<&'static str> {
        Some(match value {
            TGS_REQ => "PA-TGS-REQ",
            ENC_TIMESTAMP => "PA-ENC-TIMESTAMP",
            PW_SALT => "PA-PW-SALT",
            5 => "PA-ENC-UNIX-TIME",
            10 => "PA-AFS3-SALT",
            ETYPE_INFO => "PA-ETYPE-INFO",
            12 => "PA-SAM-CHALLENGE",
            13 => "PA-SAM-RESPONSE",
            14 => "PA-PK-AS-REQ-OLD",
            15 => "PA-PK-AS-REP-OLD",
            PK_AS_REQ => "PA-PK-AS-REQ",
            PK_AS_REP => "PA-PK-AS-REP",
            18 => "PA-PK-OCSP-RESPONSE",
            ETYPE_INFO2 => "PA-ETYPE-INFO2",
            SVR_REFERRAL_INFO => "PA-SVR-REFERRAL-INFO",
            25 => "PA-CANONICALIZED",
            30 => "PA-SAM-CHALLENGE2",
            31 => "PA-SAM-RESPONSE2",
            PAC_REQUEST => "PA-PAC-REQUEST",
            FOR_USER => "PA-FOR-USER",
            FOR_X509_USER => "PA-FOR-X509-USER",
            131 => "PA-FOR-CHECK-DUPS",
            132 => "PA-AS-CHECKSUM",
            FX_COOKIE => "PA-FX-COOKIE",
            134 => "PA-AUTHENTICATION-SET",
            135 => "PA-AUTH-SET-SELECTED",
            FX_FAST => "PA-FX-FAST",
            137 => "PA-FX-ERROR",
            ENCRYPTED_CHALLENGE => "PA-ENCRYPTED-CHALLENGE",
            141 => "PA-OTP-CHALLENGE",
            142 => "PA-OTP-REQUEST",
            143 => "PA-OTP-CONFIRM",
            144 => "PA-OTP-PIN-CHANGE",
            145 => "PA-EPAK-AS-REQ",
            146 => "PA-EPAK-AS-REP",
            147 => "PA-PKINIT-KX",
            148 => "PA-PKU2U-NAME",
            REQ_ENC_PA_REP => "PA-REQ-ENC-PA-REP",
            150 => "PA-AS-FRESHNESS",
            151 => "PA-SPAKE",
            161 => "KERB-KEY-LIST-REQ",
            162 => "KERB-KEY-LIST-REP",
            SUPPORTED_ETYPES => "PA-SUPPORTED-ETYPES",
            166 => "PA-EXTENDED-ERROR",
            PAC_OPTIONS => "PA-PAC-OPTIONS",
            _ => return None,
        })
    }
}
