//! `KRB-ERROR` and its codes in words. RFC 4120 5.9.1, 7.5.9.

use super::field::{self, Fields as _};
use super::padata::MethodData;
use super::shape;
use super::{KerberosString, KerberosTime, PrincipalName};
use crate::der::{Der, DerWriter, Tag};
use crate::error::ParseError;
use crate::explain::{Node, Shape, explain_der, hex};

/// `KRB-ERROR`. Nothing in it is protected.
#[derive(Clone, Copy, Debug)]
pub struct KrbError<'a> {
    /// `ctime`: the client's clock, from its message.
    pub ctime: Option<KerberosTime>,
    /// `cusec`.
    pub cusec: Option<u32>,
    /// `stime`: the server's clock.
    pub stime: KerberosTime,
    /// `susec`.
    pub susec: u32,
    /// `error-code`: [`code`].
    pub error_code: i32,
    /// `crealm`: the client's realm.
    pub crealm: Option<KerberosString<'a>>,
    /// `cname`: the client.
    pub cname: Option<PrincipalName<'a>>,
    /// `realm` of the server.
    pub realm: KerberosString<'a>,
    /// `sname`: the server.
    pub sname: PrincipalName<'a>,
    /// `e-text`: for a person.
    pub e_text: Option<KerberosString<'a>>,
    /// `e-data`: for a program; its format depends on the code.
    pub e_data: Option<&'a [u8]>,
}

impl<'a> KrbError<'a> {
    /// Reads the next value.
    ///
    /// # Errors
    /// The rule that the bytes break.
    pub fn read(der: &mut Der<'a>) -> Result<Self, ParseError> {
        field::application(der, 30, |der| {
            field::explicit(der, 0, |der| field::fixed(der, 5, "pvno"))?;
            field::explicit(der, 1, |der| field::fixed(der, 30, "msg-type"))?;
            Ok(Self {
                ctime: field::optional(der, 2, field::time)?,
                cusec: field::optional(der, 3, field::microseconds)?,
                stime: field::explicit(der, 4, field::time)?,
                susec: field::explicit(der, 5, field::microseconds)?,
                error_code: field::explicit(der, 6, field::int32)?,
                crealm: field::optional(der, 7, field::string)?,
                cname: field::optional(der, 8, PrincipalName::read)?,
                realm: field::explicit(der, 9, field::string)?,
                sname: field::explicit(der, 10, PrincipalName::read)?,
                e_text: field::optional(der, 11, field::string)?,
                e_data: field::optional(der, 12, field::octets)?,
            })
        })
    }

    pub(super) fn put(&self, w: &mut DerWriter<'_>) {
        w.application(30, |w| {
            w.header(0, 30);
            if let Some(ctime) = self.ctime {
                w.time(2, ctime);
            }
            if let Some(cusec) = self.cusec {
                w.int(3, cusec);
            }
            w.time(4, self.stime);
            w.int(5, self.susec);
            w.int(6, self.error_code);
            if let Some(crealm) = self.crealm {
                w.string(7, crealm);
            }
            if let Some(cname) = self.cname {
                w.field(8, |w| cname.put(w));
            }
            w.string(9, self.realm);
            w.field(10, |w| self.sname.put(w));
            if let Some(text) = self.e_text {
                w.string(11, text);
            }
            if let Some(data) = self.e_data {
                w.octets(12, data);
            }
        });
    }
}

field::whole! { KrbError "KRB-ERROR" }
shape::explained! { KrbError "KRB-ERROR" "RFC 4120 5.9.1" KRB_ERROR; }

const KRB_ERROR: Shape = Shape::Application(
    30,
    &Shape::Sequence(&[
        shape::field(0, "pvno", shape::PVNO),
        shape::field(1, "msg-type", shape::MSG_TYPE),
        shape::field(2, "ctime", Shape::Time),
        shape::field(3, "cusec", shape::INT),
        shape::field(4, "stime", Shape::Time),
        shape::field(5, "susec", shape::INT),
        shape::field(6, "error-code", Shape::Integer(shape::error_code)),
        shape::field(7, "crealm", shape::REALM),
        shape::field(8, "cname", shape::NAME),
        shape::field(9, "realm", shape::REALM),
        shape::field(10, "sname", shape::NAME),
        shape::field(11, "e-text", Shape::Text),
        shape::field(12, "e-data", Shape::OctetsOf(explain_e_data)),
    ]),
);

/// METHOD-DATA or, from Windows, KERB-ERROR-DATA (MS-KILE 2.2.1); their first bytes tell them apart.
fn explain_e_data(bytes: &[u8], offset: usize) -> Node {
    let plain = || Node::leaf("data", hex(bytes), offset..offset + bytes.len());
    if MethodData::parse(bytes).is_ok() {
        return explain_der("METHOD-DATA", "RFC 4120 5.9.1", &shape::PADATA, bytes, offset);
    }
    let windows = || {
        let mut outer = Der::new("KERB-ERROR-DATA", bytes, 0);
        let mut inside = outer.enter(Tag::SEQUENCE).ok()?;
        outer.finish().ok()?;
        let data_type = inside.field(1, Tag::INTEGER).ok()?.integer().ok()?;
        let value = inside.optional_field(2, Tag::OCTET_STRING).ok()?;
        inside.finish().ok()?;
        let mut node = explain_der("KERB-ERROR-DATA", "MS-KILE 2.2.1", &KERB_ERROR_DATA, bytes, offset);
        // KERB_ERR_TYPE_EXTENDED: an NTSTATUS, a reserved number and flags.
        if let (3, Some([a, b, c, d, ..])) = (data_type, value.map(|tlv| tlv.body)) {
            node.value = format!("NTSTATUS 0x{:08x}", u32::from_le_bytes([*a, *b, *c, *d]));
        }
        Some(node)
    };
    windows().unwrap_or_else(plain)
}

const KERB_ERROR_DATA: Shape =
    Shape::Sequence(&[shape::field(1, "data-type", shape::INT), shape::field(2, "data-value", Shape::Octets)]);

macro_rules! codes {
    ($($value:literal $name:ident $text:literal)*) => {
        /// `error-code`. RFC 4120 7.5.9, RFC 4556, RFC 6113.
        pub mod code {
            $(
                #[doc = concat!("`", stringify!($name), "`: ", $text, ".")]
                pub const $name: i32 = $value;
            )*

            /// The name of a code, and what it means in words.
            #[must_use]
            pub const fn name(value: i32) -> Option<(&'static str, &'static str)> {
                match value {
                    $($value => Some((stringify!($name), $text)),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    0 KDC_ERR_NONE "no error"
    1 KDC_ERR_NAME_EXP "the client's account has expired"
    2 KDC_ERR_SERVICE_EXP "the service's account has expired"
    3 KDC_ERR_BAD_PVNO "the protocol version is not supported"
    4 KDC_ERR_C_OLD_MAST_KVNO "the client's key is encrypted in an old master key"
    5 KDC_ERR_S_OLD_MAST_KVNO "the service's key is encrypted in an old master key"
    6 KDC_ERR_C_PRINCIPAL_UNKNOWN "the KDC does not know the client"
    7 KDC_ERR_S_PRINCIPAL_UNKNOWN "the KDC does not know the service: no account has this SPN"
    8 KDC_ERR_PRINCIPAL_NOT_UNIQUE "more than one account has this name: a duplicate SPN"
    9 KDC_ERR_NULL_KEY "the client or the service has no key"
    10 KDC_ERR_CANNOT_POSTDATE "the ticket may not be postdated"
    11 KDC_ERR_NEVER_VALID "the requested start is after the requested end"
    12 KDC_ERR_POLICY "the KDC's policy refuses the request"
    13 KDC_ERR_BADOPTION "the KDC cannot grant a requested option"
    14 KDC_ERR_ETYPE_NOSUPP "the KDC, the client and the service have no encryption type in common"
    15 KDC_ERR_SUMTYPE_NOSUPP "the KDC does not support the checksum type"
    16 KDC_ERR_PADATA_TYPE_NOSUPP "the KDC does not support the pre-authentication type"
    17 KDC_ERR_TRTYPE_NOSUPP "the KDC does not support the transited encoding"
    18 KDC_ERR_CLIENT_REVOKED "the client's account is disabled, locked out, or outside its hours"
    19 KDC_ERR_SERVICE_REVOKED "the service's account is disabled"
    20 KDC_ERR_TGT_REVOKED "the TGT has been revoked"
    21 KDC_ERR_CLIENT_NOTYET "the client's account is not yet valid"
    22 KDC_ERR_SERVICE_NOTYET "the service's account is not yet valid"
    23 KDC_ERR_KEY_EXPIRED "the password has expired and must be changed"
    24 KDC_ERR_PREAUTH_FAILED "pre-authentication failed: the password is wrong"
    25 KDC_ERR_PREAUTH_REQUIRED "pre-authentication is required"
    26 KDC_ERR_SERVER_NOMATCH "the ticket and the requested service do not match"
    27 KDC_ERR_MUST_USE_USER2USER "the service takes user-to-user tickets only"
    28 KDC_ERR_PATH_NOT_ACCEPTED "the path of realms is not accepted"
    29 KDC_ERR_SVC_UNAVAILABLE "a service that the KDC needs is not available"
    31 KRB_AP_ERR_BAD_INTEGRITY "decryption failed: the keys differ"
    32 KRB_AP_ERR_TKT_EXPIRED "the ticket has expired"
    33 KRB_AP_ERR_TKT_NYV "the ticket is not yet valid"
    34 KRB_AP_ERR_REPEAT "the request is a replay"
    35 KRB_AP_ERR_NOT_US "the ticket is for another service"
    36 KRB_AP_ERR_BADMATCH "the ticket and the authenticator are of different clients"
    37 KRB_AP_ERR_SKEW "the clocks differ too much"
    38 KRB_AP_ERR_BADADDR "the network address is wrong"
    39 KRB_AP_ERR_BADVERSION "the protocol version does not match"
    40 KRB_AP_ERR_MSG_TYPE "the message type is not valid"
    41 KRB_AP_ERR_MODIFIED "the message was modified, or encrypted for another account: the SPN is registered for the wrong account"
    42 KRB_AP_ERR_BADORDER "the message is out of order"
    44 KRB_AP_ERR_BADKEYVER "the key's version is not available"
    45 KRB_AP_ERR_NOKEY "the service's key is not available"
    46 KRB_AP_ERR_MUT_FAIL "mutual authentication failed"
    47 KRB_AP_ERR_BADDIRECTION "the message's direction is wrong"
    48 KRB_AP_ERR_METHOD "another authentication method is required"
    49 KRB_AP_ERR_BADSEQ "the message's sequence number is wrong"
    50 KRB_AP_ERR_INAPP_CKSUM "the checksum type is not suitable"
    51 KRB_AP_PATH_NOT_ACCEPTED "the path of realms is not accepted"
    52 KRB_ERR_RESPONSE_TOO_BIG "the answer is too long for UDP: ask again by TCP"
    60 KRB_ERR_GENERIC "an error that only the text describes"
    61 KRB_ERR_FIELD_TOOLONG "a field is too long"
    62 KDC_ERR_CLIENT_NOT_TRUSTED "the client's certificate is not trusted"
    63 KDC_ERR_KDC_NOT_TRUSTED "the KDC's certificate is not trusted"
    64 KDC_ERR_INVALID_SIG "a signature is not valid"
    65 KDC_ERR_DH_KEY_PARAMETERS_NOT_ACCEPTED "other Diffie-Hellman parameters are needed"
    66 KDC_ERR_CERTIFICATE_MISMATCH "the certificate is another client's"
    67 KRB_AP_ERR_NO_TGT "there is no TGT for user-to-user"
    68 KDC_ERR_WRONG_REALM "the client is of another realm"
    69 KRB_AP_ERR_USER_TO_USER_REQUIRED "a user-to-user ticket is required"
    70 KDC_ERR_CANT_VERIFY_CERTIFICATE "the certificate cannot be verified"
    71 KDC_ERR_INVALID_CERTIFICATE "the certificate is not valid"
    72 KDC_ERR_REVOKED_CERTIFICATE "the certificate has been revoked"
    73 KDC_ERR_REVOCATION_STATUS_UNKNOWN "whether the certificate is revoked cannot be told"
    75 KDC_ERR_CLIENT_NAME_MISMATCH "the certificate names another client"
    76 KDC_ERR_KDC_NAME_MISMATCH "the certificate names another KDC"
    77 KDC_ERR_INCONSISTENT_KEY_PURPOSE "the certificate may not be used for this"
    85 KRB_AP_ERR_IAKERB_KDC_NOT_FOUND "the IAKERB proxy finds no KDC"
    86 KRB_AP_ERR_IAKERB_KDC_NO_RESPONSE "the IAKERB proxy gets no answer from the KDC"
    90 KDC_ERR_PREAUTH_EXPIRED "the pre-authentication took too long"
    91 KDC_ERR_MORE_PREAUTH_DATA_REQUIRED "more pre-authentication data is required"
    92 KDC_ERR_PREAUTH_BAD_AUTHENTICATION_SET "the authentication set is not valid"
    93 KDC_ERR_UNKNOWN_CRITICAL_FAST_OPTIONS "a critical FAST option is unknown"
}
