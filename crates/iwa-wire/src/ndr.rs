//! NDR 2.0, little-endian: a zero-copy reader and a small writer. C706 14, MS-RPCE 2.2.6 (type serialization version 1).
//!
//! Whoever reads a structure reads its flat part first and its pointers' referents afterwards, in the order in which the
//! pointers stand: NDR defers them so. A count is held against the bytes that are left before anything is made of it.

use crate::error::{ErrorKind, ParseError};
use crate::reader::Reader;
use crate::sid::Sid;
use crate::utf16::Utf16;

/// Reads NDR; alignment counts from where it was made.
#[derive(Clone, Copy, Debug)]
pub struct NdrReader<'a> {
    reader: Reader<'a>,
    start: usize,
}

/// The flat part of an `RPC_UNICODE_STRING` (MS-DTYP 2.3.10); its text is read later by [`NdrReader::string`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StringHeader {
    length: u16,
    maximum_length: u16,
    present: bool,
}

impl<'a> NdrReader<'a> {
    /// A reader over an octet stream without headers, as a DCE RPC stub is.
    #[must_use]
    pub const fn new(reader: Reader<'a>) -> Self {
        Self { start: reader.offset(), reader }
    }

    /// A reader over the one top-level type in `bytes`, behind the common and the private header (MS-RPCE 2.2.6.1,
    /// 2.2.6.2). `offset` is where `bytes` begin in the outermost input.
    ///
    /// # Errors
    /// Headers of another version or byte order, or a length that is not that of `bytes`.
    pub fn serialized(format: &'static str, bytes: &'a [u8], offset: usize) -> Result<Self, ParseError> {
        let mut reader = Reader::at(format, bytes, offset);
        let common = reader;
        if reader.array::<4>()? != &COMMON_HEADER {
            return Err(
                common.error(ErrorKind::Magic { what: "NDR common type header (version 1, little-endian, 8 bytes)" })
            );
        }
        reader.array::<4>()?;
        let length = reader.u32_le()? as usize;
        reader.array::<4>()?;
        let inside = reader.sub(format, length)?;
        // Some writers round the buffer up to eight bytes and do not count the filling.
        if reader.len() >= 8 {
            return Err(reader.error(ErrorKind::Trailing { count: reader.len() }));
        }
        Ok(Self::new(inside))
    }

    /// The position of the next byte in the outermost input.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.reader.offset()
    }

    /// An error at the present position.
    #[must_use]
    pub const fn error(&self, kind: ErrorKind) -> ParseError {
        self.reader.error(kind)
    }

    /// Skips the filling before a value of `alignment` bytes (a power of two).
    ///
    /// # Errors
    /// Truncated.
    pub fn align(&mut self, alignment: usize) -> Result<(), ParseError> {
        let at = self.reader.offset() - self.start;
        self.reader.take(at.next_multiple_of(alignment) - at).map(|_| ())
    }

    /// `unsigned char`.
    ///
    /// # Errors
    /// Truncated.
    pub fn u8(&mut self) -> Result<u8, ParseError> {
        self.reader.u8()
    }

    /// `unsigned short`, aligned.
    ///
    /// # Errors
    /// Truncated.
    pub fn u16(&mut self) -> Result<u16, ParseError> {
        self.align(2)?;
        self.reader.u16_le()
    }

    /// `unsigned long`, aligned.
    ///
    /// # Errors
    /// Truncated.
    pub fn u32(&mut self) -> Result<u32, ParseError> {
        self.align(4)?;
        self.reader.u32_le()
    }

    /// `hyper`, aligned to eight bytes.
    ///
    /// # Errors
    /// Truncated.
    pub fn u64(&mut self) -> Result<u64, ParseError> {
        self.align(8)?;
        self.reader.u64_le()
    }

    /// `FILETIME`: two `unsigned long`, the low one first, aligned to four bytes.
    ///
    /// # Errors
    /// Truncated.
    pub fn filetime(&mut self) -> Result<u64, ParseError> {
        self.align(4)?;
        self.reader.u64_le()
    }

    /// A fixed array of bytes.
    ///
    /// # Errors
    /// Truncated.
    pub fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], ParseError> {
        self.reader.array()
    }

    /// A unique pointer: whether it has a referent, which then follows with the deferred ones.
    ///
    /// # Errors
    /// Truncated.
    pub fn pointer(&mut self) -> Result<bool, ParseError> {
        self.u32().map(|referent| referent != 0)
    }

    /// The maximum count before a conformant array or structure, which must be `count`.
    ///
    /// # Errors
    /// Truncated, or another count than the one that the structure gives.
    pub fn conformance(&mut self, what: &'static str, count: u32) -> Result<(), ParseError> {
        self.align(4)?;
        let at = self.reader;
        if self.reader.u32_le()? == count { Ok(()) } else { Err(at.error(ErrorKind::Value { what })) }
    }

    /// The elements of an array, `count` of `size` bytes each, aligned to four bytes.
    ///
    /// # Errors
    /// Truncated, also when `count` times `size` exceeds any memory.
    pub fn elements(&mut self, count: u32, size: usize) -> Result<&'a [u8], ParseError> {
        self.align(4)?;
        // Saturated, it is longer than any input.
        self.reader.take((count as usize).saturating_mul(size))
    }

    /// The flat part of an `RPC_UNICODE_STRING`.
    ///
    /// # Errors
    /// Truncated, an odd length, a length beyond the maximum, or text without a pointer to it.
    pub fn string_header(&mut self) -> Result<StringHeader, ParseError> {
        self.align(4)?;
        let at = self.reader;
        let header = StringHeader { length: self.u16()?, maximum_length: self.u16()?, present: self.pointer()? };
        let StringHeader { length, maximum_length, present } = header;
        if length % 2 != 0 || length > maximum_length || (length > 0 && !present) {
            return Err(at.error(ErrorKind::Value { what: "RPC_UNICODE_STRING" }));
        }
        Ok(header)
    }

    /// The text of a string whose flat part was read before: a conformant and varying array of 16-bit units.
    ///
    /// # Errors
    /// Truncated, or counts that contradict the flat part.
    pub fn string(&mut self, header: StringHeader) -> Result<Utf16<'a>, ParseError> {
        if !header.present {
            return Ok(Utf16::default());
        }
        self.align(4)?;
        let at = self.reader;
        let (maximum, first, actual) = (self.u32()?, self.u32()?, self.u32()?);
        if first != 0 || actual > maximum || actual != u32::from(header.length / 2) {
            return Err(at.error(ErrorKind::Value { what: "RPC_UNICODE_STRING counts" }));
        }
        let bytes = self.reader.take(usize::from(header.length))?;
        Utf16::new(bytes).ok_or_else(|| at.error(ErrorKind::Value { what: "RPC_UNICODE_STRING" }))
    }

    /// The flat part of a `STRING` (MS-NRPC 2.2.1.1.2): bytes, read later by [`NdrReader::octets`].
    ///
    /// # Errors
    /// Truncated, a length beyond the maximum, or bytes without a pointer to them.
    pub fn octets_header(&mut self) -> Result<StringHeader, ParseError> {
        self.align(4)?;
        let at = self.reader;
        let header = StringHeader { length: self.u16()?, maximum_length: self.u16()?, present: self.pointer()? };
        if header.length > header.maximum_length || (header.length > 0 && !header.present) {
            return Err(at.error(ErrorKind::Value { what: "STRING" }));
        }
        Ok(header)
    }

    /// The bytes whose flat part was read before: a conformant and varying array.
    ///
    /// # Errors
    /// Truncated, or counts that contradict the flat part.
    pub fn octets(&mut self, header: StringHeader) -> Result<&'a [u8], ParseError> {
        if !header.present {
            return Ok(&[]);
        }
        self.align(4)?;
        let at = self.reader;
        let (maximum, first, actual) = (self.u32()?, self.u32()?, self.u32()?);
        if first != 0 || actual > maximum || actual != u32::from(header.length) {
            return Err(at.error(ErrorKind::Value { what: "STRING counts" }));
        }
        self.reader.take(usize::from(header.length))
    }

    /// A `[string] wchar_t *` behind its pointer: a conformant and varying array that ends with a zero, which is not part
    /// of what is returned.
    ///
    /// # Errors
    /// Truncated, contradicting counts, or no zero at the end.
    pub fn wide_string(&mut self) -> Result<Utf16<'a>, ParseError> {
        self.align(4)?;
        let at = self.reader;
        let (maximum, first, actual) = (self.u32()?, self.u32()?, self.u32()?);
        if first != 0 || actual > maximum {
            return Err(at.error(ErrorKind::Value { what: "wchar_t string counts" }));
        }
        let bytes = self.reader.take((actual as usize).saturating_mul(2))?;
        let text = bytes.strip_suffix(&[0, 0]).and_then(Utf16::new);
        text.ok_or_else(|| at.error(ErrorKind::Value { what: "wchar_t string" }))
    }

    /// An `RPC_SID` (MS-DTYP 2.4.2.3) behind a pointer: a conformant structure.
    ///
    /// # Errors
    /// As [`Sid::read`], or a conformance that contradicts the SID.
    pub fn sid(&mut self) -> Result<Sid, ParseError> {
        self.align(4)?;
        let at = self.reader;
        let count = self.u32()?;
        let sid = Sid::read(&mut self.reader)?;
        if sid.sub_authorities().len() == count as usize {
            Ok(sid)
        } else {
            Err(at.error(ErrorKind::Value { what: "RPC_SID conformance" }))
        }
    }

    /// Ends the reading. Up to seven bytes of filling may follow; more are an error.
    ///
    /// # Errors
    /// [`ErrorKind::Trailing`].
    pub const fn finish(self) -> Result<(), ParseError> {
        if self.reader.len() < 8 { Ok(()) } else { Err(self.error(ErrorKind::Trailing { count: self.reader.len() })) }
    }
}

/// Appends NDR to a buffer of the caller.
#[derive(Debug)]
pub struct NdrWriter<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    referents: u32,
}

impl<'a> NdrWriter<'a> {
    /// Appends a stream without headers.
    #[must_use]
    pub const fn new(out: &'a mut Vec<u8>) -> Self {
        Self { start: out.len(), out, referents: 0 }
    }

    /// Appends both headers, what `inside` writes, and filling up to eight bytes.
    pub fn serialized(out: &mut Vec<u8>, inside: impl FnOnce(&mut NdrWriter<'_>)) {
        out.extend_from_slice(&COMMON_HEADER);
        out.extend_from_slice(&[0xcc; 4]);
        let place = out.len();
        out.extend_from_slice(&[0; 8]);
        let start = out.len();
        let mut writer = NdrWriter::new(out);
        inside(&mut writer);
        writer.align(8);
        let length = (out.len() - start) as u32;
        if let Some(place) = out.get_mut(place..place + 4) {
            place.copy_from_slice(&length.to_le_bytes());
        }
    }

    /// Fills up to a multiple of `alignment` (a power of two).
    pub fn align(&mut self, alignment: usize) {
        let length = (self.out.len() - self.start).next_multiple_of(alignment);
        self.out.resize(self.start + length, 0);
    }

    /// `unsigned short`, aligned.
    pub fn u16(&mut self, value: u16) {
        self.align(2);
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    /// `unsigned long`, aligned.
    pub fn u32(&mut self, value: u32) {
        self.align(4);
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    /// `FILETIME`, aligned to four bytes.
    pub fn filetime(&mut self, value: u64) {
        self.align(4);
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    /// Bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// A unique pointer; write its referent with the deferred ones if `present`.
    pub fn pointer(&mut self, present: bool) {
        if present {
            let referent = FIRST_REFERENT.wrapping_add(self.referents.wrapping_mul(4));
            self.referents += 1;
            self.u32(referent);
        } else {
            self.u32(0);
        }
    }

    /// The flat part of an `RPC_UNICODE_STRING` that holds the first 32,767 units of `text`.
    pub fn string_header(&mut self, text: &str) {
        let length = (2 * units(text)) as u16;
        self.align(4);
        self.u16(length);
        self.u16(length);
        self.pointer(true);
    }

    /// The text whose flat part was written by [`NdrWriter::string_header`].
    pub fn string(&mut self, text: &str) {
        let count = units(text);
        self.u32(count as u32);
        self.u32(0);
        self.u32(count as u32);
        self.out.extend(text.encode_utf16().take(count).flat_map(u16::to_le_bytes));
    }

    /// The flat part of a `STRING` that holds the first 65,535 bytes of `octets`.
    pub fn octets_header(&mut self, octets: &[u8]) {
        let length = octets.len().min(usize::from(u16::MAX)) as u16;
        self.align(4);
        self.u16(length);
        self.u16(length);
        self.pointer(true);
    }

    /// The bytes whose flat part was written by [`NdrWriter::octets_header`].
    pub fn octets(&mut self, octets: &[u8]) {
        let octets = octets.get(..usize::from(u16::MAX)).unwrap_or(octets);
        self.u32(octets.len() as u32);
        self.u32(0);
        self.u32(octets.len() as u32);
        self.bytes(octets);
    }

    /// A `[string] wchar_t *` behind its pointer, with its terminating zero.
    pub fn wide_string(&mut self, text: &str) {
        let count = units(text);
        self.u32(count as u32 + 1);
        self.u32(0);
        self.u32(count as u32 + 1);
        self.out.extend(text.encode_utf16().take(count).chain([0]).flat_map(u16::to_le_bytes));
    }

    /// An `RPC_SID` behind a pointer.
    pub fn sid(&mut self, sid: &Sid) {
        self.u32(sid.sub_authorities().len() as u32);
        sid.write(self.out);
    }
}

fn units(text: &str) -> usize {
    text.encode_utf16().count().min(usize::from(u16::MAX / 2))
}

/// Version 1, little-endian, header length 8.
const COMMON_HEADER: [u8; 4] = [1, 0x10, 8, 0];
/// Referent identifiers as Windows numbers them.
const FIRST_REFERENT: u32 = 0x0002_0000;

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(bytes: &[u8]) -> NdrReader<'_> {
        NdrReader::new(Reader::new("test", bytes))
    }

    #[test]
    fn alignment_counts_from_the_stream_and_not_from_the_input() {
        let mut inner = NdrReader::new(Reader::at("test", &[1, 0, 0, 0, 2, 0, 0, 0], 3));
        assert_eq!(inner.u8(), Ok(1));
        assert_eq!(inner.u32(), Ok(2));
    }

    #[test]
    fn what_the_writer_writes_the_reader_reads() {
        let sid: Sid = "S-1-5-21-1-2-3".parse().unwrap();
        let mut out = vec![0xee; 3];
        NdrWriter::serialized(&mut out, |w| {
            w.pointer(true);
            w.u16(7);
            w.string_header("jörg");
            w.pointer(false);
            w.string("jörg");
            w.sid(&sid);
        });
        let mut ndr = NdrReader::serialized("test", &out[3..], 3).unwrap();
        assert_eq!(ndr.pointer(), Ok(true));
        assert_eq!(ndr.u16(), Ok(7));
        let header = ndr.string_header().unwrap();
        assert_eq!(ndr.pointer(), Ok(false));
        assert!(ndr.string(header).unwrap().eq_str("jörg"));
        assert_eq!(ndr.sid(), Ok(sid));
        assert_eq!(ndr.finish(), Ok(()));
    }

    #[test]
    fn counts_beyond_the_input_are_refused_without_allocation() {
        assert!(matches!(
            reader(&[0; 8]).elements(u32::MAX, 8),
            Err(ParseError { kind: ErrorKind::Truncated { .. }, .. })
        ));
        assert!(reader(&[0; 8]).elements(u32::MAX, usize::MAX).is_err());
        assert!(reader(&[2, 0, 0, 0, 0, 0, 0, 0]).conformance("count", 3).is_err());
    }

    #[test]
    fn strings_that_contradict_themselves_are_refused() {
        for bad in [[3, 0, 4, 0, 1, 0, 0, 0], [4, 0, 2, 0, 1, 0, 0, 0], [2, 0, 2, 0, 0, 0, 0, 0]] {
            assert!(reader(&bad).string_header().is_err(), "{bad:?}");
        }
        let header = StringHeader { length: 2, maximum_length: 2, present: true };
        let counts = |maximum: u8, first: u8, actual: u8| [maximum, 0, 0, 0, first, 0, 0, 0, actual, 0, 0, 0, 0x61, 0];
        assert!(reader(&counts(1, 0, 1)).string(header).is_ok());
        for (maximum, first, actual) in [(0, 0, 1), (1, 1, 1), (2, 0, 2), (1, 0, 0)] {
            assert!(reader(&counts(maximum, first, actual)).string(header).is_err());
        }
        assert!(reader(&counts(1, 0, 1)[..13]).string(header).is_err());
    }

    #[test]
    fn octets_and_wide_strings_survive_and_their_counts_are_held_against_them() {
        let mut out = Vec::new();
        let mut w = NdrWriter::new(&mut out);
        w.octets_header(b"abc");
        w.octets(b"abc");
        w.wide_string("jörg");
        let mut ndr = reader(&out);
        let header = ndr.octets_header().unwrap();
        assert_eq!(ndr.octets(header), Ok(&b"abc"[..]));
        assert!(ndr.wide_string().unwrap().eq_str("jörg"));
        assert_eq!(ndr.finish(), Ok(()));
        for (at, value) in [(0, 4), (0, 2), (6, 0), (8, 2), (12, 1), (16, 2), (16, 4)] {
            let mut bad = out.clone();
            bad[at] = value;
            let mut ndr = reader(&bad);
            let read = ndr.octets_header().and_then(|header| ndr.octets(header).map(|_| ()));
            assert!(read.is_err(), "byte {at}");
        }
        for (at, value) in [(0, 4), (4, 1), (8, 6), (8, 4), (20, 1)] {
            let mut bad = out[24..].to_vec();
            bad[at] = value;
            assert!(reader(&bad).wide_string().is_err(), "byte {at}");
        }
    }

    #[test]
    fn foreign_headers_are_refused() {
        let mut out = Vec::new();
        NdrWriter::serialized(&mut out, |w| w.u32(5));
        assert!(NdrReader::serialized("test", &out, 0).is_ok());
        for (at, value) in [(0, 2), (1, 0), (2, 9), (8, 9)] {
            let mut bad = out.clone();
            bad[at] = value;
            assert!(NdrReader::serialized("test", &bad, 0).is_err(), "byte {at}");
        }
        assert!(NdrReader::serialized("test", &[&out[..], &[0; 8]].concat(), 0).is_err());
        for cut in 0..out.len() {
            assert!(NdrReader::serialized("test", &out[..cut], 0).is_err());
        }
    }
}
