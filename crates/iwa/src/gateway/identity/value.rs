//! A text as the value of a header. RFC 9110 5.5; RFC 3986 2.1 and RFC 8187 3.2 for what is not ASCII.

use http::HeaderValue;

/// How what is not ASCII is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Encoding {
    /// As it is, in UTF-8.
    #[default]
    Utf8,
    /// With `%XX` for every byte of it, and for `%` itself.
    Percent,
    /// As an `ext-value`: `UTF-8''` and `%XX` for everything but letters, digits and a few signs.
    Rfc8187,
}

impl Encoding {
    /// The value of a header.
    ///
    /// # Errors
    /// In words, what cannot be written: what cannot be seen, in any encoding (an application would decode it), and in UTF-8
    /// white space at the ends, which every reader of HTTP takes off.
    pub(crate) fn value(self, text: &str) -> Result<HeaderValue, &'static str> {
        if text.chars().any(is_invisible) {
            return Err("it has control characters in it");
        }
        let value = match self {
            Self::Utf8 if text.starts_with(' ') || text.ends_with(' ') => {
                return Err("it begins or ends with a space, which would be lost; `encoding = \"percent\"` can say it");
            }
            Self::Utf8 => HeaderValue::from_bytes(text.as_bytes()),
            Self::Percent => {
                let mut written = String::with_capacity(text.len() + 8);
                let last = text.len().saturating_sub(1);
                for (n, byte) in text.bytes().enumerate() {
                    let edge = byte == b' ' && (n == 0 || n == last);
                    write(&mut written, byte, (byte.is_ascii_graphic() || byte == b' ') && byte != b'%' && !edge);
                }
                HeaderValue::try_from(written)
            }
            Self::Rfc8187 => {
                let mut written = String::with_capacity(text.len() + 16);
                written.push_str("UTF-8''");
                for byte in text.bytes() {
                    write(&mut written, byte, byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte));
                }
                HeaderValue::try_from(written)
            }
        };
        value.map_err(|_| "it cannot be the value of a header")
    }
}

/// One element of a list: whoever splits the list at its separator gets this and nothing else. The separator, `%`, and spaces at
/// the ends are written as `%XX`.
pub(crate) fn element(out: &mut String, text: &str, separator: char) {
    let last = text.chars().count().saturating_sub(1);
    for (n, c) in text.chars().enumerate() {
        let edge = c == ' ' && (n == 0 || n == last);
        if c == separator || c == '%' || edge {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                write(out, byte, false);
            }
        } else {
            out.push(c);
        }
    }
}

fn write(out: &mut String, byte: u8, plain: bool) {
    if plain {
        out.push(char::from(byte));
    } else {
        out.push('%');
        for digit in [byte >> 4, byte & 15] {
            out.push(char::from_digit(u32::from(digit), 16).unwrap_or('0').to_ascii_uppercase());
        }
    }
}

/// Control characters, and what ends a line without being one.
pub(super) fn is_invisible(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::Encoding::{Percent, Rfc8187, Utf8};
    use super::*;

    fn written(encoding: Encoding, text: &str) -> String {
        String::from_utf8(encoding.value(text).expect("it can be written").as_bytes().to_vec()).expect("UTF-8")
    }

    #[test]
    fn what_is_not_ascii_is_written_as_chosen() {
        for (text, percent, rfc8187) in [
            ("CORP\\alice", "CORP\\alice", "UTF-8''CORP%5Calice"),
            ("J\u{fc}rgen, 100 %", "J%C3%BCrgen, 100 %25", "UTF-8''J%C3%BCrgen%2C%20100%20%25"),
            ("\u{20ac} rates", "%E2%82%AC rates", "UTF-8''%E2%82%AC%20rates"),
            ("", "", "UTF-8''"),
        ] {
            assert_eq!(
                (written(Utf8, text), written(Percent, text), written(Rfc8187, text)),
                (text.into(), percent.into(), rfc8187.into())
            );
        }
        assert_eq!(written(Percent, " a "), "%20a%20");
    }

    #[test]
    fn no_control_character_gets_into_a_header_in_any_encoding() {
        let controls = (0..0x20).chain([0x7f]).chain(0x80..0xa0).chain([0x2028, 0x2029]);
        for c in controls.filter_map(char::from_u32) {
            for encoding in [Utf8, Percent, Rfc8187] {
                for text in [format!("{c}"), format!("a{c}"), format!("{c}a"), format!("a{c}X-Admin: 1")] {
                    assert!(encoding.value(&text).is_err(), "{text:?}");
                }
            }
        }
        for text in [" a", "a ", " "] {
            assert!(Utf8.value(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_element_of_a_list_cannot_become_two_or_another() {
        let one = |text: &str| {
            let mut out = String::new();
            element(&mut out, text, ',');
            out
        };
        assert_eq!(one("cn=staff,o=x"), "cn=staff%2Co=x");
        assert_eq!(one("a%2Cb"), "a%252Cb");
        assert_eq!(one(" admin "), "%20admin%20");
        assert_eq!(one("Web Admins"), "Web Admins");
        assert_eq!(one(","), "%2C");
        assert_eq!(one(" "), "%20");
    }
}
