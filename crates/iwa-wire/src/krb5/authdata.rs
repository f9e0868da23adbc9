//! `AuthorizationData`. RFC 4120 5.2.6, 7.5.4; RFC 6806; MS-KILE 2.2.5, 2.2.6.

use super::field::{self, Fields as _};
use super::sequence_of::element;
use super::shape;
use super::{Elements, SequenceOf};
use crate::der::{Der, DerWriter, Tag, Tlv};
use crate::error::{ErrorKind, ParseError};
use crate::explain::{Explain as _, Field, Node, Shape, explain_der, hex};
use crate::pac::Pac;

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

shape::explained! { AuthorizationData "AuthorizationData" "RFC 4120 5.2.6" shape::AUTH_DATA; }

const ELEMENT: &[Field; 2] =
    &[shape::field(0, "ad-type", Shape::Integer(shape::ad_type)), shape::field(1, "ad-data", Shape::Octets)];

pub(super) fn explain_authorization_data(name: &'static str, tlv: Tlv<'_>) -> Node {
    explain_at(name, tlv, 0)
}

fn explain_at(name: &'static str, tlv: Tlv<'_>, depth: usize) -> Node {
    let mut node = Node::branch(name, tlv.offset..tlv.offset + tlv.whole.len(), "");
    if tlv.tag != Tag::SEQUENCE {
        let kind = ErrorKind::Tag { wanted: Tag::SEQUENCE.0, found: tlv.tag.0 };
        return node.broken(ParseError { format: name, offset: tlv.offset, kind });
    }
    let mut elements = tlv.inside();
    while !elements.is_empty() {
        match elements.any() {
            Ok(element) => node.children.push(shape::typed("element", element, ELEMENT, |ad_type, bytes, offset| {
                explain_value(ad_type, bytes, offset, depth)
            })),
            Err(error) => {
                let rest = elements.peek();
                let range = elements.offset()..elements.offset() + rest.len();
                node.children.push(Node::leaf("element", hex(rest), range).broken(error));
                break;
            }
        }
    }
    node
}

fn explain_value(ad_type: i32, bytes: &[u8], offset: usize, depth: usize) -> Option<Node> {
    let range = offset..offset + bytes.len();
    let word = |value: &[u8]| Some(u32::from_le_bytes(value.try_into().ok()?));
    match ad_type {
        ad_type::IF_RELEVANT => {
            let mut der = Der::new("AD-IF-RELEVANT", bytes, offset);
            let inner = der.any().and_then(|tlv| der.finish().map(|()| tlv));
            Some(match inner {
                Ok(_) if depth == DEPTH_LIMIT => {
                    let kind = ErrorKind::Limit { what: "AD-IF-RELEVANT in AD-IF-RELEVANT", limit: DEPTH_LIMIT };
                    Node::leaf("AD-IF-RELEVANT", hex(bytes), range).broken(der.error(kind))
                }
                Ok(tlv) => explain_at("AD-IF-RELEVANT", tlv, depth + 1),
                Err(error) => Node::leaf("AD-IF-RELEVANT", hex(bytes), range).broken(error),
            })
        }
        ad_type::WIN2K_PAC => Some(Pac::explain(bytes, offset)),
        ad_type::ETYPE_NEGOTIATION => {
            Some(explain_der("EtypeList", "RFC 4537 3", &Shape::SequenceOf("etype", &shape::ETYPE), bytes, offset))
        }
        ad_type::TOKEN_RESTRICTIONS => Some(explain_der(
            "KERB-AD-RESTRICTION-ENTRY",
            "MS-KILE 2.2.6",
            &Shape::SequenceOf("entry", &RESTRICTION_ENTRY),
            bytes,
            offset,
        )),
        ad_type::AP_OPTIONS => {
            let flags = word(bytes)?;
            let mut words = format!("0x{flags:08x}");
            if flags & AP_OPTION_CBT != 0 {
                words.push_str(" channel-bindings-understood");
            }
            if flags & AP_OPTION_UNVERIFIED_TARGET != 0 {
                words.push_str(" unverified-target-name");
            }
            Some(Node { spec: "MS-KILE 2.2.8", ..Node::leaf("ap-options", words, range) })
        }
        ad_type::TARGET_PRINCIPAL if bytes.len().is_multiple_of(2) => {
            let units = bytes.chunks_exact(2).filter_map(|pair| <[u8; 2]>::try_from(pair).ok().map(u16::from_le_bytes));
            let name: String = char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
            Some(Node::leaf("target", crate::explain::printable(&name), range))
        }
        _ => None,
    }
}

/// `KERB_AP_OPTIONS_CBT`: the client sends channel bindings whenever it has any.
pub const AP_OPTION_CBT: u32 = 0x4000;
/// `KERB_AP_OPTIONS_UNVERIFIED_TARGET_NAME`.
pub const AP_OPTION_UNVERIFIED_TARGET: u32 = 0x8000;

const RESTRICTION_ENTRY: Shape = Shape::Sequence(&[
    shape::field(0, "restriction-type", shape::INT),
    shape::field(1, "restriction", Shape::OctetsOf(explain_restriction)),
]);

/// `LSAP_TOKEN_INFO_INTEGRITY`. MS-KILE 2.2.5.
fn explain_restriction(bytes: &[u8], offset: usize) -> Node {
    let node = Node::branch("LSAP_TOKEN_INFO_INTEGRITY", offset..offset + bytes.len(), "MS-KILE 2.2.5");
    let Some((head, machine)) = bytes.split_first_chunk::<8>() else {
        return Node { value: hex(bytes), ..node };
    };
    let [f0, f1, f2, f3, i0, i1, i2, i3] = *head;
    let level = match u32::from_le_bytes([i0, i1, i2, i3]) {
        0 => "untrusted".to_owned(),
        0x1000 => "low".to_owned(),
        0x2000 => "medium".to_owned(),
        0x3000 => "high".to_owned(),
        0x4000 => "system".to_owned(),
        0x5000 => "protected process".to_owned(),
        other => format!("0x{other:x}"),
    };
    let kind = if u32::from_le_bytes([f0, f1, f2, f3]) & 1 == 1 { "UAC-restricted token" } else { "full token" };
    Node { value: format!("{kind}, integrity {level}, machine {}", hex(machine)), ..node }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(elements: &[(i32, &[u8])]) -> Vec<u8> {
        let elements: Vec<_> =
            elements.iter().map(|&(ad_type, ad_data)| AuthDataElement { ad_type, ad_data }).collect();
        let mut out = Vec::new();
        AuthorizationData::of(&elements).write(&mut out);
        out
    }

    fn nested(depth: usize) -> Vec<u8> {
        let pac = encoded(&[(ad_type::WIN2K_PAC, b"pac")]);
        (0..depth).fold(pac, |inner, _| encoded(&[(ad_type::IF_RELEVANT, &inner)]))
    }

    fn pac(bytes: &[u8]) -> Result<Option<&[u8]>, ErrorKind> {
        AuthorizationData::parse(bytes).and_then(|data| data.pac()).map_err(|error| error.kind)
    }

    #[test]
    fn the_pac_stands_inside_ad_if_relevant() {
        assert_eq!(pac(&nested(1)), Ok(Some(&b"pac"[..])));
        assert_eq!(pac(&nested(DEPTH_LIMIT)), Ok(Some(&b"pac"[..])));
        assert_eq!(pac(&nested(0)), Ok(None), "outside it is the client's own word");
        assert_eq!(pac(&encoded(&[])), Ok(None));
    }

    #[test]
    fn two_pacs_are_refused_wherever_they_stand() {
        let one = encoded(&[(ad_type::WIN2K_PAC, b"a")]);
        let two = encoded(&[(ad_type::WIN2K_PAC, b"a"), (ad_type::WIN2K_PAC, b"b")]);
        for bad in [
            encoded(&[(ad_type::IF_RELEVANT, &two)]),
            encoded(&[(ad_type::IF_RELEVANT, &one), (ad_type::IF_RELEVANT, &one)]),
            encoded(&[(ad_type::IF_RELEVANT, &one), (ad_type::IF_RELEVANT, &nested(2))]),
        ] {
            assert_eq!(pac(&bad), Err(ErrorKind::Duplicate { what: "AD-WIN2K-PAC" }));
        }
    }

    #[test]
    fn nesting_without_end_is_refused() {
        assert!(matches!(pac(&nested(DEPTH_LIMIT + 1)), Err(ErrorKind::Limit { .. })));
        let bomb = nested(500);
        let data = AuthorizationData::parse(&bomb).unwrap();
        assert!(data.visit(&mut |_| Ok(())).is_err());
        assert!(AuthorizationData::explain(&bomb, 0).first_error().is_some());
    }

    #[test]
    fn too_many_elements_are_refused() {
        let many = vec![(99, &b""[..]); 65];
        assert!(matches!(AuthorizationData::parse(&encoded(&many)).map_err(|e| e.kind), Err(ErrorKind::Limit { .. })));
        assert!(AuthorizationData::parse(&encoded(&many[1..])).is_ok());
    }

    #[test]
    fn what_windows_says_in_the_authenticator_is_explained() {
        let target: Vec<u8> = "HTTP/wëb".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let inner = encoded(&[
            (ad_type::AP_OPTIONS, &AP_OPTION_CBT.to_le_bytes()),
            (ad_type::TARGET_PRINCIPAL, &target),
            (ad_type::ETYPE_NEGOTIATION, &[0x30, 3, 2, 1, 18]),
            (-7, b"x"),
        ]);
        let node = AuthorizationData::explain(&encoded(&[(ad_type::IF_RELEVANT, &inner)]), 0);
        assert_eq!(node.first_error(), None);
        assert_eq!(node.find("ap-options").map(|n| n.value.as_str()), Some("0x00004000 channel-bindings-understood"));
        assert_eq!(node.find("target").map(|n| n.value.as_str()), Some("HTTP/wëb"));
        assert_eq!(node.find("etype").map(|n| n.value.as_str()), Some("18 (aes256-cts-hmac-sha1-96)"));
    }
}
