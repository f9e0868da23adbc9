//! UTF-16LE text as Windows formats carry it, borrowed. MS-DTYP 2.3.8 (`RPC_UNICODE_STRING`), MS-NLMP 2.2.

use core::fmt::{self, Write as _};

/// UTF-16LE bytes of even length. Not necessarily valid UTF-16: Windows names may hold lone surrogates, which print as
/// U+FFFD and never compare equal to anything.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Utf16<'a>(&'a [u8]);

impl<'a> Utf16<'a> {
    /// These bytes as text; `None` if their number is odd.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Option<Self> {
        if bytes.len().is_multiple_of(2) { Some(Self(bytes)) } else { None }
    }

    /// The bytes.
    #[must_use]
    pub const fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// Whether there is no text.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The characters; a lone surrogate is an error of the item.
    pub fn chars(self) -> impl Iterator<Item = Result<char, core::char::DecodeUtf16Error>> + 'a {
        char::decode_utf16(self.0.chunks_exact(2).map(|pair| match *pair {
            [low, high] => u16::from_le_bytes([low, high]),
            _ => 0,
        }))
    }

    /// Whether this is exactly the text `other`.
    #[must_use]
    pub fn eq_str(self, other: &str) -> bool {
        let mut others = other.chars();
        self.chars().all(|c| c.is_ok_and(|c| others.next() == Some(c))) && others.next().is_none()
    }

    /// Whether this is the text `other` but for case, as Windows compares account names.
    #[must_use]
    pub fn eq_ignore_case(self, other: &str) -> bool {
        let mut others = other.chars().flat_map(char::to_uppercase);
        self.chars().all(|c| c.is_ok_and(|c| c.to_uppercase().all(|c| others.next() == Some(c))))
            && others.next().is_none()
    }

    /// Appends `text` in this encoding.
    pub fn write(text: &str, out: &mut Vec<u8>) {
        out.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
    }
}

impl fmt::Display for Utf16<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.chars().try_for_each(|c| f.write_char(c.unwrap_or(char::REPLACEMENT_CHARACTER)))
    }
}

impl fmt::Debug for Utf16<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_string(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        Utf16::write(text, &mut out);
        out
    }

    #[test]
    fn text_survives_and_compares_exactly_or_without_case() {
        for text in ["", "alice", "jörg", "山田", "\u{1f511}"] {
            let bytes = encoded(text);
            let utf16 = Utf16::new(&bytes).unwrap();
            assert_eq!(utf16.to_string(), text);
            assert!(utf16.eq_str(text));
        }
        let bytes = encoded("JÖRG");
        let upper = Utf16::new(&bytes).unwrap();
        assert!(upper.eq_ignore_case("jörg") && !upper.eq_str("jörg"));
        assert!(!upper.eq_ignore_case("jörgen") && !upper.eq_ignore_case("jör") && !upper.eq_ignore_case(""));
    }

    #[test]
    fn an_odd_length_is_refused_and_a_lone_surrogate_equals_nothing() {
        assert_eq!(Utf16::new(&[0x61]), None);
        let lone = Utf16::new(&[0x00, 0xd8]).unwrap();
        assert_eq!(lone.to_string(), "\u{fffd}");
        assert!(!lone.eq_str("\u{fffd}") && !lone.eq_ignore_case("\u{fffd}"));
    }
}
