//! A bounds-checked cursor over borrowed bytes, for the formats made of offsets and lengths (NTLM, PAC, keytab, ccache).

use crate::error::{ErrorKind, ParseError};

/// Reads forward over borrowed bytes and knows where it stands in the outermost input.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
    format: &'static str,
}

impl<'a> Reader<'a> {
    /// A reader over the outermost input.
    #[must_use]
    pub const fn new(format: &'static str, bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0, format }
    }

    /// A reader over a part of a larger input; `offset` is where that part begins.
    #[must_use]
    pub const fn at(format: &'static str, bytes: &'a [u8], offset: usize) -> Self {
        Self { bytes, offset, format }
    }

    /// The position of the next byte in the outermost input.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// How many bytes are left.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes.len()
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

    /// An error at the present position.
    #[must_use]
    pub const fn error(&self, kind: ErrorKind) -> ParseError {
        ParseError { format: self.format, offset: self.offset, kind }
    }

    /// Takes `count` bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Truncated`] if fewer are left.
    #[inline]
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], ParseError> {
        match self.bytes.split_at_checked(count) {
            Some((head, tail)) => {
                self.bytes = tail;
                self.offset += count;
                Ok(head)
            }
            None => Err(self.error(ErrorKind::Truncated { needed: count, available: self.bytes.len() })),
        }
    }

    /// Takes `count` bytes as a reader of their own, named `format` in its errors.
    ///
    /// # Errors
    /// [`ErrorKind::Truncated`] if fewer are left.
    pub fn sub(&mut self, format: &'static str, count: usize) -> Result<Self, ParseError> {
        let offset = self.offset;
        Ok(Self { bytes: self.take(count)?, offset, format })
    }

    /// Takes everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        let all = self.bytes;
        self.offset += all.len();
        self.bytes = &[];
        all
    }

    /// Ends the reading: trailing bytes are an error.
    ///
    /// # Errors
    /// [`ErrorKind::Trailing`] if anything is left.
    pub const fn finish(self) -> Result<(), ParseError> {
        if self.bytes.is_empty() { Ok(()) } else { Err(self.error(ErrorKind::Trailing { count: self.bytes.len() })) }
    }

    /// Takes an array of fixed size.
    ///
    /// # Errors
    /// [`ErrorKind::Truncated`] if fewer bytes are left.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], ParseError> {
        match self.bytes.split_first_chunk::<N>() {
            Some((head, tail)) => {
                self.bytes = tail;
                self.offset += N;
                Ok(head)
            }
            None => Err(self.error(ErrorKind::Truncated { needed: N, available: self.bytes.len() })),
        }
    }
}

macro_rules! integers {
    ($($name:ident $type:ty, $from:ident, $doc:literal;)*) => {
        impl Reader<'_> {
            $(
                #[doc = $doc]
                ///
                /// # Errors
                /// [`ErrorKind::Truncated`] if fewer bytes are left.
                #[inline]
                pub fn $name(&mut self) -> Result<$type, ParseError> {
                    self.array().map(|bytes| <$type>::$from(*bytes))
                }
            )*
        }
    };
}

integers! {
    u8 u8, from_le_bytes, "One byte.";
    u16_le u16, from_le_bytes, "Two bytes, least significant first.";
    u32_le u32, from_le_bytes, "Four bytes, least significant first.";
    u64_le u64, from_le_bytes, "Eight bytes, least significant first.";
    u16_be u16, from_be_bytes, "Two bytes, most significant first.";
    u32_be u32, from_be_bytes, "Four bytes, most significant first.";
    i32_be i32, from_be_bytes, "Four bytes, signed, most significant first.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_beyond_the_end_is_refused_and_takes_nothing() {
        let mut reader = Reader::at("test", &[1, 2, 3], 10);
        assert_eq!(reader.u8(), Ok(1));
        assert_eq!(
            reader.u32_le(),
            Err(ParseError { format: "test", offset: 11, kind: ErrorKind::Truncated { needed: 4, available: 2 } })
        );
        assert_eq!(reader.u16_be(), Ok(0x0203));
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn a_count_of_usize_max_does_not_overflow() {
        let mut reader = Reader::new("test", &[0; 4]);
        assert!(reader.take(usize::MAX).is_err());
        assert!(reader.sub("inner", usize::MAX).is_err());
    }

    #[test]
    fn trailing_bytes_are_an_error() {
        let mut reader = Reader::new("test", &[0; 4]);
        reader.u8().unwrap();
        assert_eq!(reader.finish().map_err(|e| (e.offset, e.kind)), Err((1, ErrorKind::Trailing { count: 3 })));
    }
}
