//! LDAPResult and its codes. RFC 4511 4.1.9, appendix A.

use core::fmt;

use super::{Octets, octets, skip_unknown};
use crate::der::{Der, DerWriter, Tag};
use crate::error::{ErrorKind, ParseError};
use crate::krb5::SequenceOf;

/// How an operation ended.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct LdapResult<'a> {
    /// `resultCode`.
    pub code: ResultCode,
    /// `matchedDN`: how far a name that does not exist was found.
    pub matched_dn: Octets<'a>,
    /// `diagnosticMessage`: Active Directory says most here, see [`LdapResult::data`].
    pub diagnostic: Octets<'a>,
    /// `referral`: who else may know.
    pub referral: SequenceOf<'a, Octets<'a>>,
}

impl<'a> LdapResult<'a> {
    /// A result that says no more than its code.
    #[must_use]
    pub const fn of(code: ResultCode) -> Self {
        Self { code, matched_dn: Octets(b""), diagnostic: Octets(b""), referral: SequenceOf::of(&[]) }
    }

    /// The Windows error behind a refused bind: the `52e` of `AcceptSecurityContext error, data 52e, v4563`.
    #[must_use]
    pub fn data(&self) -> Option<u32> {
        let text = self.diagnostic.as_str()?;
        let (_, rest) = text.split_once(", data ")?;
        let end = rest.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(rest.len());
        u32::from_str_radix(rest.get(..end)?, 16).ok()
    }

    pub(super) fn read(mut der: Der<'a>) -> Result<Self, ParseError> {
        let result = Self::components(&mut der)?;
        skip_unknown(der)?;
        Ok(result)
    }

    /// `COMPONENTS OF LDAPResult`.
    pub(super) fn components(der: &mut Der<'a>) -> Result<Self, ParseError> {
        let at = *der;
        let code = u32::try_from(der.expect(Tag::ENUMERATED)?.integer()?)
            .map_err(|_| at.error(ErrorKind::Value { what: "resultCode" }))?;
        let (matched_dn, diagnostic) = (Octets(octets(der)?), Octets(octets(der)?));
        let referral = match der.peek_tag() {
            Some(REFERRAL) => SequenceOf::read_as(REFERRAL, der)?,
            _ => SequenceOf::of(&[]),
        };
        Ok(Self { code: ResultCode(code), matched_dn, diagnostic, referral })
    }

    pub(super) fn put(&self, w: &mut DerWriter<'_>) {
        w.integer(Tag::ENUMERATED, i64::from(self.code.0));
        w.primitive(Tag::OCTET_STRING, self.matched_dn.0);
        w.primitive(Tag::OCTET_STRING, self.diagnostic.0);
        if !self.referral.is_empty() {
            self.referral.put_as(REFERRAL, w);
        }
    }
}

const REFERRAL: Tag = Tag::context(3);

/// `resultCode`. Numbers without a name are kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ResultCode(pub u32);

macro_rules! codes {
    ($($name:ident $number:literal $word:literal $meaning:literal;)*) => {
        impl ResultCode {
            $(
                #[doc = concat!("`", $word, "`: ", $meaning, ".")]
                pub const $name: Self = Self($number);
            )*

            /// Its name in RFC 4511.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some($word),)*
                    _ => None,
                }
            }

            /// What it says, in words.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self.0 {
                    $($number => $meaning,)*
                    _ => "a code without a name",
                }
            }
        }
    };
}

codes! {
    SUCCESS 0 "success" "done";
    OPERATIONS_ERROR 1 "operationsError" "the operation does not fit here; on Active Directory often: no bind came before it";
    PROTOCOL_ERROR 2 "protocolError" "the server does not understand the request";
    TIME_LIMIT_EXCEEDED 3 "timeLimitExceeded" "it took longer than was allowed";
    SIZE_LIMIT_EXCEEDED 4 "sizeLimitExceeded" "there are more entries than were allowed";
    COMPARE_FALSE 5 "compareFalse" "the values differ";
    COMPARE_TRUE 6 "compareTrue" "the values agree";
    AUTH_METHOD_NOT_SUPPORTED 7 "authMethodNotSupported" "the server does not offer this way to authenticate";
    STRONGER_AUTH_REQUIRED 8 "strongerAuthRequired" "the server wants a signed, sealed or TLS connection for this";
    REFERRAL 10 "referral" "another server holds the entry";
    ADMIN_LIMIT_EXCEEDED 11 "adminLimitExceeded" "a limit of the server is reached";
    UNAVAILABLE_CRITICAL_EXTENSION 12 "unavailableCriticalExtension" "the server lacks a control that was marked as critical";
    CONFIDENTIALITY_REQUIRED 13 "confidentialityRequired" "the server wants an encrypted connection for this";
    SASL_BIND_IN_PROGRESS 14 "saslBindInProgress" "the bind has another step";
    NO_SUCH_ATTRIBUTE 16 "noSuchAttribute" "the entry has no such attribute or value";
    UNDEFINED_ATTRIBUTE_TYPE 17 "undefinedAttributeType" "the schema knows no such attribute";
    INAPPROPRIATE_MATCHING 18 "inappropriateMatching" "the attribute cannot be searched for in this way";
    CONSTRAINT_VIOLATION 19 "constraintViolation" "a rule of the directory forbids the value: it may have to be unique";
    ATTRIBUTE_OR_VALUE_EXISTS 20 "attributeOrValueExists" "the value is there already";
    INVALID_ATTRIBUTE_SYNTAX 21 "invalidAttributeSyntax" "the value does not have the attribute's form";
    NO_SUCH_OBJECT 32 "noSuchObject" "there is no such entry, or it may not be seen";
    ALIAS_PROBLEM 33 "aliasProblem" "an alias leads nowhere";
    INVALID_DN_SYNTAX 34 "invalidDNSyntax" "the name is not a distinguished name";
    ALIAS_DEREFERENCING_PROBLEM 36 "aliasDereferencingProblem" "an alias may not be followed";
    INAPPROPRIATE_AUTHENTICATION 48 "inappropriateAuthentication" "the entry cannot be bound to in this way";
    INVALID_CREDENTIALS 49 "invalidCredentials" "the name, the password or the ticket was refused";
    INSUFFICIENT_ACCESS_RIGHTS 50 "insufficientAccessRights" "the account may not do this";
    BUSY 51 "busy" "the server has too much to do";
    UNAVAILABLE 52 "unavailable" "the server is shutting down or cannot work now";
    UNWILLING_TO_PERFORM 53 "unwillingToPerform" "the server refuses; its message says why";
    LOOP_DETECT 54 "loopDetect" "names or referrals lead in a circle";
    NAMING_VIOLATION 64 "namingViolation" "such an entry may not stand there";
    OBJECT_CLASS_VIOLATION 65 "objectClassViolation" "the entry breaks the rules of its class";
    NOT_ALLOWED_ON_NON_LEAF 66 "notAllowedOnNonLeaf" "the entry has entries below it";
    NOT_ALLOWED_ON_RDN 67 "notAllowedOnRDN" "the value is a part of the entry's name";
    ENTRY_ALREADY_EXISTS 68 "entryAlreadyExists" "there is an entry of this name";
    OBJECT_CLASS_MODS_PROHIBITED 69 "objectClassModsProhibited" "the class of an entry cannot be changed so";
    AFFECTS_MULTIPLE_DSAS 71 "affectsMultipleDSAs" "more than one server would have to do it";
    OTHER 80 "other" "another error; the server's message may tell more";
}

impl fmt::Display for ResultCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} ({}), {}", self.0, self.meaning()),
            None => write!(f, "result {}, {}", self.0, self.meaning()),
        }
    }
}

impl fmt::Debug for ResultCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.name().unwrap_or("ResultCode"), self.0)
    }
}
