//! DER, the strict encoding of ASN.1: a zero-copy reader and a writer. ITU-T X.690 sections 8 and 10.
//!
//! Strict where an attacker gains from laxity: lengths are definite and shortest, tags are one byte, trailing bytes are
//! refused. Lenient in one place, because real Kerberos encoders differ there: an INTEGER may have a padded or negative
//! form (an `UInt32` kvno of a read-only domain controller has its top bit set).

use crate::error::{ErrorKind, ParseError};

/// An identifier octet: class, constructed bit and number. Numbers above 30 do not occur in the formats of this crate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tag(pub u8);

impl Tag {
    /// BOOLEAN.
    pub const BOOLEAN: Self = Self(0x01);
    /// INTEGER.
    pub const INTEGER: Self = Self(0x02);
    /// BIT STRING, primitive.
    pub const BIT_STRING: Self = Self(0x03);
    /// OCTET STRING, primitive.
    pub const OCTET_STRING: Self = Self(0x04);
    /// OBJECT IDENTIFIER.
    pub const OID: Self = Self(0x06);
    /// ENUMERATED.
    pub const ENUMERATED: Self = Self(0x0a);
    /// UTF8String.
    pub const UTF8_STRING: Self = Self(0x0c);
    /// GeneralizedTime.
    pub const GENERALIZED_TIME: Self = Self(0x18);
    /// GeneralString.
    pub const GENERAL_STRING: Self = Self(0x1b);
    /// SEQUENCE and SEQUENCE OF.
    pub const SEQUENCE: Self = Self(0x30);

    /// `[n]`, constructed, as EXPLICIT tagging gives it. `n` is at most 30.
    #[must_use]
    pub const fn context(n: u8) -> Self {
        Self(0xa0 | (n & 0x1f))
    }

    /// `[APPLICATION n]`, constructed. `n` is at most 30.
    #[must_use]
    pub const fn application(n: u8) -> Self {
        Self(0x60 | (n & 0x1f))
    }
}

/// One value as it stands in the input.
#[derive(Clone, Copy, Debug)]
pub struct Tlv<'a> {
    /// The identifier octet.
    pub tag: Tag,
    /// The contents octets.
    pub body: &'a [u8],
    /// Tag, length and contents together.
    pub whole: &'a [u8],
    /// Where `whole` begins in the outermost input.
    pub offset: usize,
    format: &'static str,
    long_lengths: bool,
}

impl<'a> Tlv<'a> {
    /// Where the contents begin in the outermost input.
    #[must_use]
    pub const fn body_offset(&self) -> usize {
        self.offset + (self.whole.len() - self.body.len())
    }

    /// The values inside a constructed value.
    #[must_use]
    pub const fn inside(&self) -> Der<'a> {
        Der { bytes: self.body, offset: self.body_offset(), format: self.format, long_lengths: self.long_lengths }
    }

    const fn error(&self, kind: ErrorKind) -> ParseError {
        ParseError { format: self.format, offset: self.offset, kind }
    }

    /// The value of an INTEGER or ENUMERATED of at most eight significant bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Value`] if it is empty or larger.
    pub fn integer(&self) -> Result<i64, ParseError> {
        let Some((&first, _)) = self.body.split_first() else {
            return Err(self.error(ErrorKind::Value { what: "INTEGER" }));
        };
        let fill: i64 = if first & 0x80 == 0 { 0 } else { -1 };
        if self.body.len() > 9 {
            return Err(self.error(ErrorKind::Value { what: "INTEGER" }));
        }
        let mut value = fill;
        for &byte in self.body {
            // Nine bytes are allowed for a padded 64-bit value: what is shifted out must be the sign.
            if value >> 55 != value >> 63 && self.body.len() > 8 {
                return Err(self.error(ErrorKind::Value { what: "INTEGER" }));
            }
            value = (value << 8) | i64::from(byte);
        }
        Ok(value)
    }

    /// The first 32 bits of a BIT STRING, most significant first, as `KerberosFlags` and `ContextFlags` use them. Shorter
    /// strings are filled with zeros; bits beyond 32 are ignored.
    ///
    /// # Errors
    /// [`ErrorKind::Value`] if the count of unused bits is missing or above 7.
    pub fn flags(&self) -> Result<u32, ParseError> {
        match self.body.split_first() {
            Some((0..=7, bits)) => {
                let mut word = [0u8; 4];
                for (to, from) in word.iter_mut().zip(bits) {
                    *to = *from;
                }
                Ok(u32::from_be_bytes(word))
            }
            _ => Err(self.error(ErrorKind::Value { what: "BIT STRING" })),
        }
    }
}

/// Reads DER values one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Der<'a> {
    bytes: &'a [u8],
    offset: usize,
    format: &'static str,
    long_lengths: bool,
}

impl<'a> Der<'a> {
    /// A reader over `bytes`, which begin at `offset` of the outermost input; `format` names it in errors.
    #[must_use]
    pub const fn new(format: &'static str, bytes: &'a [u8], offset: usize) -> Self {
        Self { bytes, offset, format, long_lengths: false }
    }

    /// The same, where a length need not be the shortest: for files whose encoder reserves four bytes for every length.
    #[must_use]
    pub const fn with_long_lengths(self) -> Self {
        Self { long_lengths: true, ..self }
    }

    /// The same position under another name, for the errors of an inner type.
    #[must_use]
    pub const fn named(self, format: &'static str) -> Self {
        Self { format, ..self }
    }

    /// Whether nothing is left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes that are left, without taking them.
    #[must_use]
    pub const fn peek(&self) -> &'a [u8] {
        self.bytes
    }

    /// The position of the next byte in the outermost input.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// The tag of the next value, if there is one.
    #[must_use]
    pub fn peek_tag(&self) -> Option<Tag> {
        self.bytes.first().copied().map(Tag)
    }

    /// An error at the present position.
    #[must_use]
    pub const fn error(&self, kind: ErrorKind) -> ParseError {
        ParseError { format: self.format, offset: self.offset, kind }
    }

    /// The next value, whatever its tag.
    ///
    /// # Errors
    /// [`ErrorKind::Truncated`], or [`ErrorKind::Length`] if the length is not in DER's form.
    #[inline]
    pub fn any(&mut self) -> Result<Tlv<'a>, ParseError> {
        // Nearly every length is below 128, and is read without a call.
        let (tag, header, length) = match *self.bytes {
            [tag, length @ 0..0x80, ..] if tag & 0x1f != 0x1f => (tag, 2, usize::from(length)),
            _ => self.long_header()?,
        };
        let end = header + length;
        let (Some(whole), Some(body), Some(rest)) =
            (self.bytes.get(..end), self.bytes.get(header..end), self.bytes.get(end..))
        else {
            return Err(self.error(ErrorKind::Truncated { needed: length, available: self.bytes.len() - header }));
        };
        let (offset, format, long_lengths) = (self.offset, self.format, self.long_lengths);
        self.bytes = rest;
        self.offset += end;
        Ok(Tlv { tag: Tag(tag), body, whole, offset, format, long_lengths })
    }

    /// Tag, size of the header, and length of the next value, in whatever form they are.
    fn long_header(&self) -> Result<(u8, usize, usize), ParseError> {
        let (&tag, after_tag) = self.bytes.split_first().ok_or_else(|| self.truncated(1))?;
        if tag & 0x1f == 0x1f {
            return Err(self.error(ErrorKind::Value { what: "tag number" }));
        }
        let (&first, after) = after_tag.split_first().ok_or_else(|| self.truncated(2))?;
        if first < 0x80 {
            return Ok((tag, 2, usize::from(first)));
        }
        let count = usize::from(first & 0x7f);
        let Some(digits) = after.get(..count) else { return Err(self.truncated(2 + count)) };
        // Indefinite (0), not shortest (leading zero, or below 128), or beyond 2^31: none of them is DER for us.
        if count == 0 || count > 4 || (digits.first() == Some(&0) && !self.long_lengths) {
            return Err(self.error(ErrorKind::Length));
        }
        let length = digits.iter().fold(0u64, |value, digit| (value << 8) | u64::from(*digit));
        if (length < 0x80 && !self.long_lengths) || length > 0x7fff_ffff {
            return Err(self.error(ErrorKind::Length));
        }
        Ok((tag, 2 + count, length as usize))
    }

    const fn truncated(&self, needed: usize) -> ParseError {
        self.error(ErrorKind::Truncated { needed, available: self.bytes.len() })
    }

    /// The next value, which must have this tag.
    ///
    /// # Errors
    /// As [`Der::any`], and [`ErrorKind::Tag`].
    #[inline]
    pub fn expect(&mut self, tag: Tag) -> Result<Tlv<'a>, ParseError> {
        match self.peek_tag() {
            Some(found) if found == tag => self.any(),
            Some(found) => Err(self.error(ErrorKind::Tag { wanted: tag.0, found: found.0 })),
            None => Err(self.truncated(1)),
        }
    }

    /// The next value if it has this tag.
    ///
    /// # Errors
    /// As [`Der::any`].
    #[inline]
    pub fn optional(&mut self, tag: Tag) -> Result<Option<Tlv<'a>>, ParseError> {
        if self.peek_tag() == Some(tag) { self.any().map(Some) } else { Ok(None) }
    }

    /// The inside of a constructed value with this tag.
    ///
    /// # Errors
    /// As [`Der::expect`].
    pub fn enter(&mut self, tag: Tag) -> Result<Self, ParseError> {
        self.expect(tag).map(|tlv| tlv.inside())
    }

    /// The only value inside EXPLICIT `[n]`, which must have tag `inner`.
    ///
    /// # Errors
    /// As [`Der::expect`], and [`ErrorKind::Trailing`] if a second value stands in the wrapper.
    #[inline]
    pub fn field(&mut self, n: u8, inner: Tag) -> Result<Tlv<'a>, ParseError> {
        let mut wrapper = self.enter(Tag::context(n))?;
        let tlv = wrapper.expect(inner)?;
        wrapper.finish()?;
        Ok(tlv)
    }

    /// The only value inside EXPLICIT `[n]`, if that field is there.
    ///
    /// # Errors
    /// As [`Der::field`].
    #[inline]
    pub fn optional_field(&mut self, n: u8, inner: Tag) -> Result<Option<Tlv<'a>>, ParseError> {
        if self.peek_tag() == Some(Tag::context(n)) { self.field(n, inner).map(Some) } else { Ok(None) }
    }

    /// Ends the reading: trailing bytes are an error.
    ///
    /// # Errors
    /// [`ErrorKind::Trailing`] if anything is left.
    pub const fn finish(self) -> Result<(), ParseError> {
        if self.bytes.is_empty() { Ok(()) } else { Err(self.error(ErrorKind::Trailing { count: self.bytes.len() })) }
    }
}

/// Appends DER values to a buffer of the caller.
#[derive(Debug)]
pub struct DerWriter<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> DerWriter<'a> {
    /// Appends to `out`.
    #[must_use]
    pub const fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    /// A constructed value: `inside` writes its contents.
    pub fn nest(&mut self, tag: Tag, inside: impl FnOnce(&mut DerWriter<'_>)) {
        self.out.push(tag.0);
        self.out.push(0);
        let start = self.out.len();
        inside(&mut DerWriter { out: self.out });
        let length = self.out.len() - start;
        if length < 0x80 {
            if let Some(place) = self.out.get_mut(start - 1) {
                *place = length as u8;
            }
        } else {
            let (head, count) = long_length(length);
            // The contents move on by what the length is longer than the byte that was kept for it.
            self.out.resize(start + length + count - 1, 0);
            self.out.copy_within(start..start + length, start + count - 1);
            if let (Some(place), Some(head)) = (self.out.get_mut(start - 1..start - 1 + count), head.get(..count)) {
                place.copy_from_slice(head);
            }
        }
    }

    /// A primitive value with the given contents.
    pub fn primitive(&mut self, tag: Tag, body: &[u8]) {
        self.out.push(tag.0);
        if body.len() < 0x80 {
            self.out.push(body.len() as u8);
        } else {
            let (head, count) = long_length(body.len());
            self.out.extend_from_slice(head.get(..count).unwrap_or_default());
        }
        self.out.extend_from_slice(body);
    }

    /// INTEGER (or, with [`Tag::ENUMERATED`], an enumerated value) in its shortest form.
    pub fn integer(&mut self, tag: Tag, value: i64) {
        let bytes = value.to_be_bytes();
        let mut skip = 0;
        while skip < 7 {
            let (a, b) = (bytes.get(skip).copied().unwrap_or(0), bytes.get(skip + 1).copied().unwrap_or(0));
            if (a == 0 && b < 0x80) || (a == 0xff && b >= 0x80) { skip += 1 } else { break }
        }
        self.primitive(tag, bytes.get(skip..).unwrap_or_default());
    }

    /// BIT STRING of exactly 32 bits.
    pub fn flags(&mut self, value: u32) {
        let [a, b, c, d] = value.to_be_bytes();
        self.primitive(Tag::BIT_STRING, &[0, a, b, c, d]);
    }

    /// EXPLICIT `[n]` around what `inside` writes.
    pub fn field(&mut self, n: u8, inside: impl FnOnce(&mut DerWriter<'_>)) {
        self.nest(Tag::context(n), inside);
    }

    /// A value that is encoded already.
    pub fn raw(&mut self, encoded: &[u8]) {
        self.out.extend_from_slice(encoded);
    }
}

fn long_length(length: usize) -> ([u8; 5], usize) {
    let [a, b, c, d] = (length as u32).to_be_bytes();
    match length {
        0..=0xff => ([0x81, d, 0, 0, 0], 2),
        0x100..=0xffff => ([0x82, c, d, 0, 0], 3),
        0x1_0000..=0xff_ffff => ([0x83, b, c, d, 0], 4),
        _ => ([0x84, a, b, c, d], 5),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Tlv<'_>, ErrorKind> {
        Der::new("test", bytes, 0).any().map_err(|e| e.kind)
    }

    #[test]
    fn lengths_that_are_not_der_are_refused() {
        for bad in [
            &[0x30, 0x80, 0, 0][..],               // indefinite
            &[0x30, 0x81, 0x05, 1, 2, 3, 4, 5],    // long form below 128
            &[0x30, 0x82, 0x00, 0x85],             // leading zero
            &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], // 4 GiB
            &[0x30, 0x85, 1, 0, 0, 0, 0],          // five length bytes
        ] {
            assert_eq!(read(bad).map(|_| ()), Err(ErrorKind::Length), "{bad:02x?}");
        }
        assert!(matches!(read(&[0x30, 0x03, 0]), Err(ErrorKind::Truncated { needed: 3, available: 1 })));
        assert!(matches!(read(&[0x30]), Err(ErrorKind::Truncated { .. })));
        assert!(matches!(read(&[0x3f, 0x81, 0x01, 0]), Err(ErrorKind::Value { .. })));
    }

    #[test]
    fn integers_read_as_written_and_padded() {
        for value in [0, 1, 127, 128, 255, 256, -1, -128, -129, i64::from(u32::MAX), i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            DerWriter::new(&mut out).integer(Tag::INTEGER, value);
            assert_eq!(read(&out).unwrap().integer(), Ok(value));
        }
        assert_eq!(read(&[2, 3, 0, 0, 5]).unwrap().integer(), Ok(5));
        assert_eq!(read(&[2, 4, 0x80, 1, 0, 1]).unwrap().integer(), Ok(i64::from(0x8001_0001_u32 as i32)));
        assert!(read(&[2, 0]).unwrap().integer().is_err());
        assert!(read(&[2, 9, 1, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap().integer().is_err());
        assert!(read(&[2, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]).unwrap().integer().is_err());
        assert_eq!(read(&[2, 9, 0, 0x7f, 0, 0, 0, 0, 0, 0, 0]).unwrap().integer(), Ok(0x7f00_0000_0000_0000));
    }

    #[test]
    fn nested_lengths_are_shortest_at_every_boundary() {
        for size in [0usize, 1, 127, 128, 255, 256, 65_535, 65_536] {
            let mut out = Vec::new();
            DerWriter::new(&mut out).nest(Tag::SEQUENCE, |w| w.raw(&vec![0xaa; size]));
            let tlv = read(&out).unwrap();
            assert_eq!((tlv.body.len(), tlv.whole.len()), (size, out.len()));
        }
    }

    #[test]
    fn flags_shorter_and_longer_than_32_bits() {
        assert_eq!(read(&[3, 2, 0, 0x40]).unwrap().flags(), Ok(0x4000_0000));
        assert_eq!(read(&[3, 6, 0, 1, 2, 3, 4, 5]).unwrap().flags(), Ok(0x0102_0304));
        assert!(read(&[3, 0]).unwrap().flags().is_err());
        assert!(read(&[3, 2, 8, 0]).unwrap().flags().is_err());
    }
}
