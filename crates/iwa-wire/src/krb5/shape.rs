//! What the explainers of Kerberos messages share: names for numbers, and the shapes of common types.

use std::borrow::Cow;

use super::{enc, kdc, padata, principal, ticket};
use crate::der::{Der, Tag, Tlv};
use crate::explain::{Field, Node, Shape, explain_tlv, plain};

/// `Explain` of a type that has `SHAPE` and `parse`: what the shape cannot see (a missing field, a number out of its range)
/// is reported at the root.
macro_rules! explained {
    ($($type:ident $format:literal $spec:literal $shape:expr;)*) => {
        $(
            impl crate::explain::Explain for $type<'_> {
                fn explain(bytes: &[u8], offset: usize) -> crate::explain::Node {
                    let mut node = crate::explain::explain_der($format, $spec, &$shape, bytes, offset);
                    if node.first_error().is_none()
                        && let Err(mut error) = $type::parse(bytes)
                    {
                        error.offset += offset;
                        node.error = Some(error);
                    }
                    node
                }
            }
        )*
    };
}
pub(super) use explained;

pub(super) const fn field(tag: u8, name: &'static str, shape: Shape) -> Field {
    Field { tag, name, shape }
}

pub(super) const INT: Shape = Shape::Integer(plain);
pub(super) const PVNO: Shape = INT;
pub(super) const MSG_TYPE: Shape = Shape::Integer(msg_type);
pub(super) const ETYPE: Shape = Shape::Integer(etype);
pub(super) const REALM: Shape = Shape::Text;
pub(super) const NAME: Shape = Shape::Custom(principal::explain_name);
pub(super) const ENCRYPTED: Shape = Shape::Sequence(enc::ENCRYPTED_DATA);
pub(super) const KEY: Shape = Shape::Sequence(enc::ENCRYPTION_KEY);
pub(super) const CHECKSUM: Shape = Shape::Custom(enc::explain_checksum);
pub(super) const TICKET_FLAGS: Shape = Shape::Flags(ticket_flags);
pub(super) const ADDRESSES: Shape = Shape::SequenceOf("HostAddress", &ADDRESS);
pub(super) const ADDRESS: Shape = Shape::Custom(ticket::explain_address);
pub(super) const PADATA: Shape = Shape::SequenceOf("PA-DATA", &Shape::Custom(padata::explain_padata));
pub(super) const AUTH_DATA: Shape = Shape::Custom(super::authdata::explain_authorization_data);

fn named(value: i64, name: impl FnOnce(i32) -> Option<&'static str>) -> Option<Cow<'static, str>> {
    i32::try_from(value).ok().and_then(name).map(Cow::Borrowed)
}

pub(super) fn etype(value: i64) -> Option<Cow<'static, str>> {
    named(value, enc::etype_name)
}

pub(super) fn cksumtype(value: i64) -> Option<Cow<'static, str>> {
    named(value, enc::cksumtype_name)
}

pub(super) fn name_type(value: i64) -> Option<Cow<'static, str>> {
    named(value, principal::name_type::name)
}

pub(super) fn pa_type(value: i64) -> Option<Cow<'static, str>> {
    named(value, padata::pa_type::name)
}

pub(super) fn ad_type(value: i64) -> Option<Cow<'static, str>> {
    named(value, super::authdata::ad_type::name)
}

pub(super) fn addr_type(value: i64) -> Option<Cow<'static, str>> {
    named(value, ticket::HostAddress::type_name)
}

pub(super) fn lr_type(value: i64) -> Option<Cow<'static, str>> {
    named(value, kdc::LastReqEntry::type_name)
}

pub(super) fn tr_type(value: i64) -> Option<Cow<'static, str>> {
    named(value, |value| (value == 1).then_some("DOMAIN-X500-COMPRESS"))
}

pub(super) fn error_code(value: i64) -> Option<Cow<'static, str>> {
    let (name, text) = super::error::code::name(i32::try_from(value).ok()?)?;
    Some(format!("{name}: {text}").into())
}

pub(super) fn kvno(value: i64) -> Option<Cow<'static, str>> {
    // The upper half names the read-only domain controller whose key it is (MS-KILE 3.1.5.8).
    let value = u32::try_from(value).ok().or_else(|| i32::try_from(value).ok().map(|value| value as u32))?;
    (value >> 16 != 0).then(|| format!("of RODC {}, {}", value >> 16, value & 0xffff).into())
}

pub(super) fn ticket_flags(flags: u32) -> String {
    ticket::TicketFlags(flags).to_string()
}

fn msg_type(value: i64) -> Option<Cow<'static, str>> {
    named(value, |value| {
        Some(match value {
            10 => "AS-REQ",
            11 => "AS-REP",
            12 => "TGS-REQ",
            13 => "TGS-REP",
            14 => "AP-REQ",
            15 => "AP-REP",
            20 => "KRB-SAFE",
            21 => "KRB-PRIV",
            22 => "KRB-CRED",
            30 => "KRB-ERROR",
            _ => return None,
        })
    })
}

/// A pair of a type and a value, whose type says how the value reads: PA-DATA, elements of authorization data, Checksum.
///
/// `value` gets the type and the contents of the OCTET STRING; where it returns `None` they are shown in hexadecimal.
pub(super) fn typed(
    name: &'static str,
    tlv: Tlv<'_>,
    fields: &'static [Field; 2],
    value: impl FnOnce(i32, &[u8], usize) -> Option<Node>,
) -> Node {
    let mut node = explain_tlv(name, &Shape::Sequence(fields), tlv);
    let [type_field, value_field] = fields;
    let read = || {
        let mut der: Der<'_> = tlv.inside();
        let number = der.field(type_field.tag, Tag::INTEGER).ok()?.integer().ok()?;
        Some((i32::try_from(number).ok()?, der.field(value_field.tag, Tag::OCTET_STRING).ok()?))
    };
    let Some((number, contents)) = read() else { return node };
    if let Shape::Integer(naming) = type_field.shape
        && let Some(word) = naming(i64::from(number))
    {
        node.value = word.into_owned();
    }
    if let Some(inner) = value(number, contents.body, contents.body_offset())
        && let Some(place) = node.children.iter_mut().find(|child| child.name == value_field.name)
    {
        place.value.clear();
        place.children.push(inner);
    }
    node
}
