//! The types that the fields of Kerberos messages are made of. RFC 4120 5.2.

use super::KerberosTime;
use super::principal::KerberosString;
use crate::der::{Der, DerWriter, Tag};
use crate::error::{ErrorKind, ParseError};

/// The value inside EXPLICIT `[n]`.
#[inline]
pub(super) fn explicit<'a, T>(
    der: &mut Der<'a>,
    n: u8,
    read: impl FnOnce(&mut Der<'a>) -> Result<T, ParseError>,
) -> Result<T, ParseError> {
    let mut inside = der.enter(Tag::context(n))?;
    let value = read(&mut inside)?;
    inside.finish()?;
    Ok(value)
}

/// The value inside EXPLICIT `[n]`, if that field is there.
#[inline]
pub(super) fn optional<'a, T>(
    der: &mut Der<'a>,
    n: u8,
    read: impl FnOnce(&mut Der<'a>) -> Result<T, ParseError>,
) -> Result<Option<T>, ParseError> {
    if der.peek_tag() == Some(Tag::context(n)) { explicit(der, n, read).map(Some) } else { Ok(None) }
}

/// The fields of a SEQUENCE.
#[inline]
pub(super) fn sequence<'a, T>(
    der: &mut Der<'a>,
    read: impl FnOnce(&mut Der<'a>) -> Result<T, ParseError>,
) -> Result<T, ParseError> {
    let mut inside = der.enter(Tag::SEQUENCE)?;
    let value = read(&mut inside)?;
    inside.finish()?;
    Ok(value)
}

/// The fields of the SEQUENCE in `[APPLICATION n]`.
#[inline]
pub(super) fn application<'a, T>(
    der: &mut Der<'a>,
    n: u8,
    read: impl FnOnce(&mut Der<'a>) -> Result<T, ParseError>,
) -> Result<T, ParseError> {
    let mut inside = der.enter(Tag::application(n))?;
    let value = sequence(&mut inside, read)?;
    inside.finish()?;
    Ok(value)
}

/// What stands between two positions of the same input.
#[inline]
pub(super) fn between<'a>(start: &Der<'a>, end: &Der<'a>) -> &'a [u8] {
    start.peek().get(..end.offset() - start.offset()).unwrap_or_default()
}

/// `Int32`.
#[inline]
pub(super) fn int32(der: &mut Der<'_>) -> Result<i32, ParseError> {
    let at = *der;
    let value = der.expect(Tag::INTEGER)?.integer()?;
    i32::try_from(value).map_err(|_| at.error(ErrorKind::Value { what: "Int32" }))
}

/// `UInt32`. Encoders that count in signed numbers write the upper half as negative numbers; both forms are read.
#[inline]
pub(super) fn uint32(der: &mut Der<'_>) -> Result<u32, ParseError> {
    let at = *der;
    let value = der.expect(Tag::INTEGER)?.integer()?;
    u32::try_from(value)
        .or_else(|_| i32::try_from(value).map(|value| value as u32))
        .map_err(|_| at.error(ErrorKind::Value { what: "UInt32" }))
}

/// `Microseconds`: 0 to 999,999.
#[inline]
pub(super) fn microseconds(der: &mut Der<'_>) -> Result<u32, ParseError> {
    let at = *der;
    match uint32(der)? {
        value @ 0..=999_999 => Ok(value),
        _ => Err(at.error(ErrorKind::Value { what: "Microseconds" })),
    }
}

/// An INTEGER that has one value only: `pvno` and `msg-type`.
#[inline]
pub(super) fn fixed(der: &mut Der<'_>, wanted: i64, what: &'static str) -> Result<(), ParseError> {
    let at = *der;
    if der.expect(Tag::INTEGER)?.integer()? == wanted { Ok(()) } else { Err(at.error(ErrorKind::Magic { what })) }
}

/// OCTET STRING.
#[inline]
pub(super) fn octets<'a>(der: &mut Der<'a>) -> Result<&'a [u8], ParseError> {
    der.expect(Tag::OCTET_STRING).map(|tlv| tlv.body)
}

/// `KerberosString`, and `Realm`.
#[inline]
pub(super) fn string<'a>(der: &mut Der<'a>) -> Result<KerberosString<'a>, ParseError> {
    der.expect(Tag::GENERAL_STRING).map(|tlv| KerberosString(tlv.body))
}

/// `KerberosTime`.
#[inline]
pub(super) fn time(der: &mut Der<'_>) -> Result<KerberosTime, ParseError> {
    let at = *der;
    let tlv = der.expect(Tag::GENERALIZED_TIME)?;
    KerberosTime::parse(tlv.body).ok_or_else(|| at.error(ErrorKind::Value { what: "KerberosTime" }))
}

/// `KerberosFlags`, the first 32 bits.
#[inline]
pub(super) fn flags(der: &mut Der<'_>) -> Result<u32, ParseError> {
    der.expect(Tag::BIT_STRING)?.flags()
}

/// BOOLEAN. Some encoders write `TRUE` as 1, which DER forbids.
#[inline]
pub(super) fn boolean(der: &mut Der<'_>) -> Result<bool, ParseError> {
    let at = *der;
    match der.expect(Tag::BOOLEAN)?.body {
        [value] => Ok(*value != 0),
        _ => Err(at.error(ErrorKind::Value { what: "BOOLEAN" })),
    }
}

/// The writing half of this file.
pub(super) trait Fields {
    fn int(&mut self, n: u8, value: impl Into<i64>);
    fn octets(&mut self, n: u8, value: &[u8]);
    fn string(&mut self, n: u8, value: KerberosString<'_>);
    fn time(&mut self, n: u8, value: KerberosTime);
    fn bits(&mut self, n: u8, value: u32);
    /// `pvno` 5 in field `n` and `msg-type` in the next.
    fn header(&mut self, n: u8, msg_type: u8);
    fn sequence(&mut self, inside: impl FnOnce(&mut DerWriter<'_>));
    fn application(&mut self, n: u8, inside: impl FnOnce(&mut DerWriter<'_>));
}

impl Fields for DerWriter<'_> {
    fn int(&mut self, n: u8, value: impl Into<i64>) {
        let value = value.into();
        self.field(n, |w| w.integer(Tag::INTEGER, value));
    }

    fn octets(&mut self, n: u8, value: &[u8]) {
        self.field(n, |w| w.primitive(Tag::OCTET_STRING, value));
    }

    fn string(&mut self, n: u8, value: KerberosString<'_>) {
        self.field(n, |w| w.primitive(Tag::GENERAL_STRING, value.0));
    }

    fn time(&mut self, n: u8, value: KerberosTime) {
        self.field(n, |w| w.primitive(Tag::GENERALIZED_TIME, &value.to_bytes()));
    }

    fn bits(&mut self, n: u8, value: u32) {
        self.field(n, |w| w.flags(value));
    }

    fn header(&mut self, n: u8, msg_type: u8) {
        self.int(n, 5);
        self.int(n + 1, msg_type);
    }

    fn sequence(&mut self, inside: impl FnOnce(&mut DerWriter<'_>)) {
        self.nest(Tag::SEQUENCE, inside);
    }

    fn application(&mut self, n: u8, inside: impl FnOnce(&mut DerWriter<'_>)) {
        self.nest(Tag::application(n), |w| w.nest(Tag::SEQUENCE, inside));
    }
}

/// `parse` and `write` of a type that has `read` and `put`.
macro_rules! whole {
    ($($type:ident $format:literal)*) => {
        $(
            impl<'a> $type<'a> {
                #[doc = concat!("Reads a whole `", $format, "`.")]
                ///
                /// # Errors
                /// The rule of the format that the bytes break; trailing bytes are refused.
                pub fn parse(bytes: &'a [u8]) -> Result<Self, crate::error::ParseError> {
                    let mut der = crate::der::Der::new($format, bytes, 0);
                    let value = Self::read(&mut der)?;
                    der.finish()?;
                    Ok(value)
                }

                /// Appends the DER of this value.
                pub fn write(&self, out: &mut Vec<u8>) {
                    self.put(&mut crate::der::DerWriter::new(out));
                }
            }
        )*
    };
}
pub(super) use whole;

/// The names of the bits that are set, bit 0 being the most significant; a bit without a name by its number.
pub(super) fn bit_names(flags: u32, names: &[(u8, &str)]) -> String {
    let mut text = String::new();
    for bit in (0..32u8).filter(|bit| flags & (1 << (31 - bit)) != 0) {
        if !text.is_empty() {
            text.push(' ');
        }
        match names.iter().find(|(known, _)| *known == bit) {
            Some((_, name)) => text.push_str(name),
            None => text.push_str(&format!("bit-{bit}")),
        }
    }
    text
}
