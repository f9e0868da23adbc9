//! `AuthorizationData`. RFC 4120 5.2.6, 7.5.4; RFC 6806; MS-KILE 2.2.5, 2.2.6.

use super::field::{self, Fields as _};
use super::sequence_of::element;
use super::{Elements, SequenceOf};
use crate::der::{Der, DerWriter};
use crate::error::{ErrorKind, ParseError};

/// How deep AD-IF-RELEVANT may stand in AD-IF-RELEVANT.
pub const DEPTH_LIMIT: usize = 8;

/// An element of `AuthorizationData`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AuthDataElement<'a> {
    /// `ad-type`: [`ad_type`].
    pub ad_type: i32,
    /// `ad-data`.
    pub ad_data: &'a [u8],
}

impl<'a> AuthDataElement<'a> {
    /// Reads the next value.
    ///
    /// # Errors
    /// The rule that the bytes break.
    pub fn read(der: &mut Der<'a>) -> Result<Self, ParseError> {
        field::sequence(der, |der| {
            Ok(Self {
                ad_type: field::explicit(der, 0, field::int32)?,
                ad_data: field::explicit(der, 1, field::octets)?,
            })
        })
    }

    pub(super) fn put(&self, w: &mut DerWriter<'_>) {
        w.sequence(|w| {
            w.int(0, self.ad_type);
            w.octets(1, self.ad_data);
        });
    }
}

element! { AuthDataElement "AuthorizationData" 64 }

/// `AuthorizationData`: elements, of which AD-IF-RELEVANT holds more of them.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct AuthorizationData<'a>(SequenceOf<'a, AuthDataElement<'a>>);

impl<'a> AuthorizationData<'a> {
    /// Of these elements.
    #[must_use]
    pub const fn of(elements: &'a [AuthDataElement<'a>]) -> Self {
        Self(SequenceOf::of(elements))
    }

    /// Reads the next value.
    ///
    /// # Errors
    /// The rule that the bytes break. What stands inside an element is not looked at.
    pub fn read(der: &mut Der<'a>) -> Result<Self, ParseError> {
        SequenceOf::read(der).map(Self)
    }

    pub(super) fn put(&self, w: &mut DerWriter<'_>) {
        self.0.put(w);
    }

    /// The elements of the outermost level.
    #[must_use]
    pub const fn iter(&self) -> Elements<'a, AuthDataElement<'a>> {
        self.0.iter()
    }

    /// Calls `visit` with every element, also those inside AD-IF-RELEVANT, in reading order.
    ///
    /// # Errors
    /// Those of `visit`; a malformed AD-IF-RELEVANT; [`ErrorKind::Limit`] beyond [`DEPTH_LIMIT`].
    pub fn visit(
        &self,
        visit: &mut impl FnMut(AuthDataElement<'a>) -> Result<(), ParseError>,
    ) -> Result<(), ParseError> {
        self.visit_at(0, visit)
    }

    fn visit_at(
        &self,
        depth: usize,
        visit: &mut impl FnMut(AuthDataElement<'a>) -> Result<(), ParseError>,
    ) -> Result<(), ParseError> {
        for element in self.iter() {
            if element.ad_type == ad_type::IF_RELEVANT {
                if depth == DEPTH_LIMIT {
                    let kind = ErrorKind::Limit { what: "AD-IF-RELEVANT in AD-IF-RELEVANT", limit: DEPTH_LIMIT };
                    return Err(ParseError { format: "AuthorizationData", offset: 0, kind });
                }
                AuthorizationData::parse(element.ad_data)?.visit_at(depth + 1, visit)?;
            } else {
                visit(element)?;
            }
        }
        Ok(())
    }

    /// The PAC: the one AD-WIN2K-PAC inside AD-IF-RELEVANT (MS-KILE 3.3.5.6.4, MS-PAC 3.1).
    ///
    /// # Errors
    /// As [`AuthorizationData::visit`], and [`ErrorKind::Duplicate`] if there are two: which of them a reader takes must
    /// not be a matter of taste.
    pub fn pac(&self) -> Result<Option<&'a [u8]>, ParseError> {
        let mut found = None;
        for element in self.iter().filter(|element| element.ad_type == ad_type::IF_RELEVANT) {
            AuthorizationData::parse(element.ad_data)?.visit_at(1, &mut |element| {
                if element.ad_type == ad_type::WIN2K_PAC && found.replace(element.ad_data).is_some() {
                    let kind = ErrorKind::Duplicate { what: "AD-WIN2K-PAC" };
                    return Err(ParseError { format: "AuthorizationData", offset: 0, kind });
                }
                Ok(())
            })?;
        }
        Ok(found)
    }
}

field::whole! { AuthorizationData "AuthorizationData" AuthDataElement "AuthorizationData element" }

/// `ad-type`. RFC 4120 7.5.4, MS-KILE 3.1.1.
pub mod ad_type {
    /// `AD-IF-RELEVANT`: more elements; one that is not understood may be ignored.
    pub const IF_RELEVANT: i32 = 1;
    /// `AD-KDC-ISSUED`.
    pub const KDC_ISSUED: i32 = 4;
    /// `AD-AND-OR`.
    pub const AND_OR: i32 = 5;
    /// `AD-MANDATORY-FOR-KDC`.
    pub const MANDATORY_FOR_KDC: i32 = 8;
    /// `AD-CAMMAC`. RFC 7751.
    pub const CAMMAC: i32 = 96;
    /// `AD-WIN2K-PAC`.
    pub const WIN2K_PAC: i32 = 128;
    /// `AD-ETYPE-NEGOTIATION`. RFC 4537.
    pub const ETYPE_NEGOTIATION: i32 = 129;
    /// `KERB-AUTH-DATA-TOKEN-RESTRICTIONS`.
    pub const TOKEN_RESTRICTIONS: i32 = 141;
    /// `KERB-LOCAL`.
    pub const LOCAL: i32 = 142;
    /// `AD-AUTH-DATA-AP-OPTIONS`: 0x4000 says that the client understands channel bindings.
    pub const AP_OPTIONS: i32 = 143;
    /// `AD-TARGET-PRINCIPAL`: the service that the client means, UTF-16LE.
    pub const TARGET_PRINCIPAL: i32 = 144;

    /// The name of a type.
    #[must_use]
    pub const fn name(value: i32) -> Option<&'static str> {
        Some(match value {
            IF_RELEVANT => "AD-IF-RELEVANT",
            2 => "AD-INTENDED-FOR-SERVER",
            3 => "AD-INTENDED-FOR-APPLICATION-CLASS",
            KDC_ISSUED => "AD-KDC-ISSUED",
            AND_OR => "AD-AND-OR",
            6 => "AD-MANDATORY-TICKET-EXTENSIONS",
            7 => "AD-IN-TICKET-EXTENSIONS",
            MANDATORY_FOR_KDC => "AD-MANDATORY-FOR-KDC",
            9 => "AD-INITIAL-VERIFIED-CAS",
            64 => "OSF-DCE",
            65 => "SESAME",
            71 => "AD-FX-FAST-ARMOR",
            72 => "AD-FX-FAST-USED",
            CAMMAC => "AD-CAMMAC",
            97 => "AD-AUTHENTICATION-INDICATOR",
            WIN2K_PAC => "AD-WIN2K-PAC",
            ETYPE_NEGOTIATION => "AD-ETYPE-NEGOTIATION",
            TOKEN_RESTRICTIONS => "KERB-AUTH-DATA-TOKEN-RESTRICTIONS",
            LOCAL => "KERB-LOCAL",
            AP_OPTIONS => "AD-AUTH-DATA-AP-OPTIONS",
            TARGET_PRINCIPAL => "AD-TARGET-PRINCIPAL",
            512 => "AD-SIGNTICKET",
            _ => return None,
        })
    }
}
