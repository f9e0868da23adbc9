//! `Authorization`: who the client claims to be. RFC 9110 11.4 and 11.6.2, RFC 4559 4, RFC 7617 2.

use core::fmt;

use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use base64::{Engine as _, alphabet};
use zeroize::Zeroizing;

use crate::error::{ErrorKind, ParseError};
use crate::explain::{self, Explain, Node};

/// The scheme of an `Authorization` or `WWW-Authenticate` header, in any case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuthScheme<'a> {
    /// `Negotiate`. RFC 4559.
    Negotiate,
    /// `NTLM`. MS-NTHT.
    Ntlm,
    /// `Basic`. RFC 7617.
    Basic,
    /// Another one, as it is written.
    Other(&'a str),
}

impl<'a> AuthScheme<'a> {
    /// The scheme of this name.
    #[must_use]
    pub fn from_name(name: &'a str) -> Self {
        KNOWN.into_iter().find(|known| known.name().eq_ignore_ascii_case(name)).unwrap_or(Self::Other(name))
    }

    /// The name as its specification writes it.
    #[must_use]
    pub const fn name(&self) -> &'a str {
        match self {
            Self::Negotiate => "Negotiate",
            Self::Ntlm => "NTLM",
            Self::Basic => "Basic",
            Self::Other(name) => name,
        }
    }
}

impl fmt::Display for AuthScheme<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An `Authorization` header field whose token is not decoded yet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Authorization<'a> {
    /// The scheme.
    pub scheme: AuthScheme<'a>,
    credentials: &'a [u8],
}

impl<'a> Authorization<'a> {
    /// The longest field value that is read unless the configuration says otherwise. A Kerberos token with a large PAC
    /// needs 48 to 64 KiB.
    pub const LIMIT: usize = 65_536;

    /// Reads the values of all `Authorization` fields of a request; `None` if there is none.
    ///
    /// For Negotiate, NTLM and Basic the credentials must be exactly one token68. Other schemes are only named.
    ///
    /// # Errors
    /// See [`HeaderError`].
    pub fn parse(values: impl IntoIterator<Item = &'a [u8]>, limit: usize) -> Result<Option<Self>, HeaderError> {
        let mut values = values.into_iter();
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(HeaderError::Repeated);
        }
        if value.len() > limit {
            return Err(HeaderError::TooLong);
        }
        let value = trim(value);
        let end = value.iter().position(|byte| !is_tchar(*byte)).unwrap_or(value.len());
        let (name, rest) = value.split_at_checked(end).unwrap_or((value, b""));
        let scheme = match core::str::from_utf8(name) {
            Ok(name) if !name.is_empty() => AuthScheme::from_name(name),
            _ => return Err(HeaderError::NoScheme),
        };
        let credentials = rest.trim_ascii_start();
        let spaces = rest.get(..rest.len() - credentials.len()).unwrap_or_default();
        if let AuthScheme::Other(name) = scheme {
            // "NegotiateYII...": the characters of base64 are characters of a token, so it looks like one long scheme.
            let glued =
                |known: AuthScheme<'_>| name.get(..known.name().len()).map(AuthScheme::from_name) == Some(known);
            if KNOWN.into_iter().any(glued) {
                return Err(HeaderError::NoSpace);
            }
            return Ok(Some(Self { scheme, credentials }));
        }
        if rest.first() == Some(&b',') {
            return Err(HeaderError::Joined);
        }
        if credentials.is_empty() {
            return Err(HeaderError::Empty);
        }
        if spaces.is_empty() || spaces.iter().any(|byte| *byte != b' ') {
            return Err(HeaderError::NoSpace);
        }
        check_token68(credentials)?;
        Ok(Some(Self { scheme, credentials }))
    }

    /// What follows the scheme, not decoded. It may be secret.
    #[must_use]
    pub const fn credentials(&self) -> &'a [u8] {
        self.credentials
    }

    /// Decodes the token into `buffer`, which is emptied first. It grows to the token's size and keeps its capacity, so
    /// that a connection can use it again and again.
    ///
    /// # Errors
    /// [`HeaderError::Base64`].
    pub fn decode(&self, buffer: &mut Vec<u8>) -> Result<(), HeaderError> {
        buffer.clear();
        STANDARD.decode_vec(self.credentials, buffer).map_err(|_| HeaderError::Base64)
    }

    /// The user and password of Basic credentials.
    ///
    /// # Errors
    /// [`HeaderError::Base64`], [`HeaderError::NotUtf8`], [`HeaderError::NoColon`], [`HeaderError::Control`].
    pub fn basic(&self) -> Result<BasicCredentials, HeaderError> {
        // With the capacity given beforehand, decoding leaves no copy of the password in memory that is not erased.
        let mut buffer = Zeroizing::new(Vec::with_capacity(self.credentials.len()));
        self.decode(&mut buffer)?;
        let text = core::str::from_utf8(&buffer).map_err(|_| HeaderError::NotUtf8)?;
        let (user, password) = text.split_once(':').ok_or(HeaderError::NoColon)?;
        if text.chars().any(char::is_control) {
            return Err(HeaderError::Control);
        }
        Ok(BasicCredentials { user: user.to_owned(), password: Zeroizing::new(password.to_owned()) })
    }
}

/// Shows the scheme and the length of the credentials, not the credentials.
impl fmt::Debug for Authorization<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authorization({}, {} bytes)", self.scheme, self.credentials.len())
    }
}

/// User and password as a browser's Basic dialog sends them. RFC 7617 2.
#[derive(Clone)]
pub struct BasicCredentials {
    /// `user-id`: `user`, `DOMAIN\user` or `user@domain`.
    pub user: String,
    /// `password`; erased when dropped.
    pub password: Zeroizing<String>,
}

impl fmt::Debug for BasicCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BasicCredentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// The value of an `Authorization` or `WWW-Authenticate` header field: the scheme, and the token in base64 if there is one.
#[must_use]
pub fn encode(scheme: AuthScheme<'_>, token: &[u8]) -> String {
    let name = scheme.name();
    if token.is_empty() {
        return name.to_owned();
    }
    let mut value = String::with_capacity(name.len() + 1 + token.len().div_ceil(3) * 4);
    value.push_str(name);
    value.push(' ');
    STANDARD.encode_string(token, &mut value);
    value
}

/// What is wrong with a header field. The text never contains the field's value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum HeaderError {
    /// Two `Authorization` fields in one request.
    Repeated,
    /// Two values in one field, joined by a comma.
    Joined,
    /// Longer than the limit.
    TooLong,
    /// It does not begin with a scheme.
    NoScheme,
    /// No space between scheme and token.
    NoSpace,
    /// A scheme without a token.
    Empty,
    /// The URL-safe alphabet of base64, which RFC 4559 does not use.
    UrlSafe,
    /// A space or line break inside the token.
    Whitespace,
    /// Not base64, or with wrong padding.
    Base64,
    /// Basic credentials that are not UTF-8.
    NotUtf8,
    /// Basic credentials without a colon.
    NoColon,
    /// Basic credentials with control characters.
    Control,
    /// `WWW-Authenticate` that does not follow its grammar.
    Challenge,
    /// More challenges or parameters than are read.
    TooMany,
}

impl HeaderError {
    /// Why the field is refused, in words.
    #[must_use]
    pub const fn rule(self) -> &'static str {
        match self {
            Self::Repeated => "the request has more than one Authorization field; which of them holds would be a guess",
            Self::Joined => "two credentials stand in one field, joined by a comma, as a proxy does that merges fields",
            Self::TooLong => "the field is longer than the limit; raise it if users are in very many groups",
            Self::NoScheme => "the field does not begin with the name of a scheme",
            Self::NoSpace => "one or more spaces must stand between the scheme and the token",
            Self::Empty => "the scheme stands alone; a token must follow",
            Self::UrlSafe => "the token is in the URL-safe alphabet of base64 ('-', '_'); RFC 4648 section 4 is wanted",
            Self::Whitespace => "the token has a space or line break inside",
            Self::Base64 => "the token is not base64, or its padding is wrong (cut off by a proxy or a copy?)",
            Self::NotUtf8 => "user and password are not UTF-8",
            Self::NoColon => "there is no colon between user and password",
            Self::Control => "user or password has a control character",
            Self::Challenge => "the field does not follow the grammar of challenges, RFC 9110 section 11.6.1",
            Self::TooMany => "the field has more challenges or parameters than are read",
        }
    }
}

impl HeaderError {
    /// The same as an error of parsing, for an explanation.
    pub(crate) const fn at(self, format: &'static str, offset: usize) -> ParseError {
        ParseError { format, offset, kind: ErrorKind::Rule { rule: self.rule() } }
    }
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rule())
    }
}

impl core::error::Error for HeaderError {}

impl Explain for Authorization<'_> {
    /// Explains a field value. The ranges of the token's own parts count in the decoded token.
    fn explain(bytes: &[u8], offset: usize) -> Node {
        let mut node = Node::branch("Authorization", offset..offset + bytes.len(), "RFC 9110 11.6.2");
        let result = Authorization::parse([bytes], usize::MAX);
        node.error = result.err().map(|error| error.at("Authorization", offset));
        let start = bytes.len() - bytes.trim_ascii_start().len();
        let value = bytes.trim_ascii();
        let end = value.iter().position(|byte| !is_tchar(*byte)).unwrap_or(value.len());
        let Some((name, rest)) = value.split_at_checked(end) else { return node };
        if name.is_empty() {
            return node;
        }
        let scheme = AuthScheme::from_name(core::str::from_utf8(name).unwrap_or_default());
        node.children.push(Node::leaf("scheme", scheme.name(), offset + start..offset + start + end));
        let credentials = rest.trim_ascii_start();
        let range = offset + start + value.len() - credentials.len()..offset + start + value.len();
        if let (AuthScheme::Basic, Ok(Some(header))) = (scheme, &result) {
            match header.basic() {
                Ok(basic) => {
                    node.children.push(Node::leaf("user-id", explain::printable(&basic.user), range.clone()));
                    node.children.push(Node::leaf("password", explain::printable(&basic.password), range).secret());
                }
                Err(error) => node.error = Some(error.at("Authorization", range.start)),
            }
        } else if matches!(scheme, AuthScheme::Other(_) | AuthScheme::Basic) {
            // They may hold a password, even where they cannot be read.
            let value = format!("{} bytes", credentials.len());
            node.children.push(Node::leaf("credentials", value, range).noted("not shown"));
        } else if !credentials.is_empty() {
            node.children.push(explain_token(credentials, range));
        }
        node
    }
}

/// A token in base64 and what is in it. What can be decoded of a broken one is shown; the error stands above.
pub(crate) fn explain_token(text: &[u8], range: core::ops::Range<usize>) -> Node {
    let token = decode_patiently(text);
    let mut node = Node::branch("token", range, "RFC 4648 4");
    node.value = format!("base64, {} bytes", token.len());
    node.note = Some("the ranges below count in the decoded bytes".to_owned());
    let (_, inside) = crate::sniff::sniff(&token);
    node.children.push(inside);
    node
}

/// Decodes base64 as far as it goes: line breaks are passed over, both alphabets are taken, what is cut off is left out.
/// For showing to a person; [`Authorization::decode`] is what decides.
#[must_use]
pub fn decode_patiently(text: &[u8]) -> Vec<u8> {
    let standard = |byte: &u8| match *byte {
        b'-' => b'+',
        b'_' => b'/',
        other => other,
    };
    let is_symbol = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let mut symbols: Vec<u8> =
        text.iter().filter(|byte| !byte.is_ascii_whitespace()).map(standard).take_while(is_symbol).collect();
    if symbols.len() % 4 == 1 {
        symbols.pop();
    }
    PATIENT.decode(&symbols).unwrap_or_default()
}

const PATIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Sorts out why something is not one token68, so that the reader of a log need not guess.
fn check_token68(credentials: &[u8]) -> Result<(), HeaderError> {
    let symbols = credentials.trim_ascii_end();
    // Base64 looks random, so that a branch for each byte is guessed wrong as often as not. Without one, sixteen bytes at a
    // time are looked at; only a token that fails is gone through again.
    if !symbols.iter().fold(true, |all, byte| all & is_token68(*byte)) {
        return Err(match symbols.iter().find(|byte| !is_token68(**byte)) {
            Some(b',') => HeaderError::Joined,
            Some(b'-' | b'_') => HeaderError::UrlSafe,
            Some(b' ' | b'\t' | b'\r' | b'\n') => HeaderError::Whitespace,
            _ => HeaderError::Base64,
        });
    }
    if credentials.len().is_multiple_of(4) { Ok(()) } else { Err(HeaderError::Base64) }
}

/// The symbols of base64 and its padding, told without a branch.
const fn is_token68(byte: u8) -> bool {
    let letter = (byte | 0x20).wrapping_sub(b'a') < 26;
    let digit = byte.wrapping_sub(b'0') < 10;
    letter | digit | (byte == b'+') | (byte == b'/') | (byte == b'=')
}

/// Without the optional whitespace that may surround a field value. RFC 9110 5.5.
pub(crate) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// `tchar`. RFC 9110 5.6.2.
pub(crate) const fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

const KNOWN: [AuthScheme<'static>; 3] = [AuthScheme::Negotiate, AuthScheme::Ntlm, AuthScheme::Basic];

#[cfg(test)]
mod tests {
    use super::*;

    fn one(value: &str) -> Result<Authorization<'_>, HeaderError> {
        Authorization::parse([value.as_bytes()], Authorization::LIMIT).map(Option::unwrap)
    }

    fn token(value: &str) -> Result<Vec<u8>, HeaderError> {
        let mut buffer = b"left over from another request".to_vec();
        one(value)?.decode(&mut buffer)?;
        Ok(buffer)
    }

    #[test]
    fn a_token_in_any_case_of_the_scheme() {
        for value in ["Negotiate YII=", "negotiate YII=", "NEGOTIATE   YII=", "  nEGOTIATE YII=\t"] {
            assert_eq!(one(value).unwrap().scheme, AuthScheme::Negotiate);
            assert_eq!(token(value), Ok(vec![0x60, 0x82]));
        }
        assert_eq!(one("ntlm TlRMTVNTUAA=").unwrap().scheme, AuthScheme::Ntlm);
        assert_eq!(token("NTLM TlRMTVNTUAA="), Ok(b"NTLMSSP\0".to_vec()));
        assert_eq!(Authorization::parse([], 10), Ok(None));
    }

    #[test]
    fn other_schemes_are_named_and_left_alone() {
        let value = "Digest username=\"a\", realm=\"b\"";
        let digest = one(value).unwrap();
        assert_eq!((digest.scheme, digest.credentials()), (AuthScheme::Other("Digest"), &value.as_bytes()[7..]));
        assert_eq!(one("Bearer abc-_.x").unwrap().scheme, AuthScheme::Other("Bearer"));
        assert_eq!(one("Nego2 YII=").unwrap().scheme, AuthScheme::Other("Nego2"));
    }

    #[test]
    fn authorization_twice_is_refused() {
        let values = [&b"Negotiate YII="[..], b"Negotiate YII="];
        assert_eq!(Authorization::parse(values, 100), Err(HeaderError::Repeated));
        assert_eq!(Authorization::parse([&b"Negotiate YII="[..], b""], 100), Err(HeaderError::Repeated));
    }

    #[test]
    fn credentials_joined_by_a_comma_are_refused() {
        for value in
            ["Negotiate YII=, Negotiate YII=", "Negotiate YII=,NTLM TlRM", "Negotiate, NTLM TlRM", "Basic YTpi,YTpi"]
        {
            assert_eq!(one(value), Err(HeaderError::Joined), "{value}");
        }
    }

    #[test]
    fn a_missing_space_is_refused() {
        for value in
            ["NegotiateYII=", "NegotiateYIIabcd", "NTLMTlRMTVNTUAA", "basicYTpi", "Negotiate\tYII=", "Negotiate=YII"]
        {
            assert_eq!(one(value), Err(HeaderError::NoSpace), "{value}");
        }
    }

    #[test]
    fn an_empty_token_is_refused() {
        for value in ["Negotiate", "Negotiate ", "NTLM   ", "Basic"] {
            assert_eq!(one(value), Err(HeaderError::Empty), "{value}");
        }
        for value in ["", "   ", ", Negotiate YII=", "\"Negotiate\" YII=", "\u{e4}"] {
            assert_eq!(one(value), Err(HeaderError::NoScheme), "{value}");
        }
    }

    #[test]
    fn base64_with_line_breaks_is_refused() {
        for value in ["Negotiate YIIa bcde", "Negotiate YIIa\r\n bcde", "Negotiate YIIa\tbcde", "Negotiate YIIa\nbcde"]
        {
            assert_eq!(one(value), Err(HeaderError::Whitespace), "{value:?}");
        }
    }

    #[test]
    fn the_url_safe_alphabet_is_refused() {
        assert_eq!(one("Negotiate YII-"), Err(HeaderError::UrlSafe));
        assert_eq!(one("Negotiate YII_"), Err(HeaderError::UrlSafe));
    }

    #[test]
    fn every_byte_is_told_for_what_it_is_wherever_it_stands() {
        for byte in 0..=u8::MAX {
            // Not the last: there stand spaces that surround the value, and padding.
            for place in [0, 1, 17, 38] {
                let mut value = [b"Negotiate ".as_slice(), &[b'A'; 40]].concat();
                value[10 + place] = byte;
                let wanted = match byte {
                    b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'+' | b'/' | b'=' => None,
                    b',' => Some(HeaderError::Joined),
                    b'-' | b'_' => Some(HeaderError::UrlSafe),
                    // Before the token it is one space more.
                    b' ' if place == 0 => Some(HeaderError::Base64),
                    b'\t' | b'\n' | b'\r' | 0x0c if place == 0 => Some(HeaderError::NoSpace),
                    b' ' | b'\t' | b'\n' | b'\r' => Some(HeaderError::Whitespace),
                    _ => Some(HeaderError::Base64),
                };
                let found = Authorization::parse([value.as_slice()], Authorization::LIMIT);
                assert_eq!(found.err(), wanted, "{byte:#04x} at {place}");
            }
        }
    }

    #[test]
    fn wrong_padding_is_refused() {
        for value in
            ["YII", "YI", "Y", "YI=", "YII==", "YII===", "Y===", "====", "YII=YII=", "=YII", "YIJ=", "YI==", "Y!I="]
        {
            assert_eq!(token(&format!("Negotiate {value}")), Err(HeaderError::Base64), "{value}");
        }
        assert_eq!(token("Negotiate YA=="), Ok(vec![0x60]));
    }

    #[test]
    fn a_64_kib_token_is_read_and_a_longer_field_is_refused_before_it_is_decoded() {
        let longest = Authorization::LIMIT - "Negotiate ".len();
        let value = format!("Negotiate {}", "A".repeat(longest / 4 * 4));
        assert_eq!(token(&value).map(|token| token.len()), Ok(longest / 4 * 3));
        let value = format!("Negotiate {}", "A".repeat(Authorization::LIMIT));
        assert_eq!(one(&value), Err(HeaderError::TooLong));
        assert_eq!(Authorization::parse([&b"Negotiate YII="[..]], 13), Err(HeaderError::TooLong));
    }

    #[test]
    fn a_buffer_that_is_used_again_is_not_allocated_again() {
        let mut buffer = Vec::with_capacity(64);
        let before = buffer.as_ptr();
        for _ in 0..3 {
            one("Negotiate YIIa").unwrap().decode(&mut buffer).unwrap();
            assert_eq!((buffer.len(), buffer.as_ptr()), (3, before));
        }
    }

    #[test]
    fn basic_credentials_split_at_the_first_colon() {
        // RFC 7617 section 2 and 2.1.
        let aladdin = one("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==").unwrap().basic().unwrap();
        assert_eq!((aladdin.user.as_str(), aladdin.password.as_str()), ("Aladdin", "open sesame"));
        let test = one("basic dGVzdDoxMjPCow==").unwrap().basic().unwrap();
        assert_eq!((test.user.as_str(), test.password.as_str()), ("test", "123\u{a3}"));
        let colons = one(&encode(AuthScheme::Basic, b"D\\u:a:b")).unwrap().basic().unwrap();
        assert_eq!((colons.user.as_str(), colons.password.as_str()), ("D\\u", "a:b"));
        assert!(one(&encode(AuthScheme::Basic, b":")).unwrap().basic().is_ok());
    }

    #[test]
    fn basic_credentials_that_are_not_are_refused() {
        for (bytes, error) in [
            (&b"nocolon"[..], HeaderError::NoColon),
            (b"user:\xa3", HeaderError::NotUtf8),
            (b"us\0er:x", HeaderError::Control),
            (b"user:x\r\ny", HeaderError::Control),
        ] {
            assert_eq!(one(&encode(AuthScheme::Basic, bytes)).unwrap().basic().unwrap_err(), error);
        }
    }

    #[test]
    fn debug_output_has_no_credentials() {
        let header = one("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==").unwrap();
        assert_eq!(format!("{header:?}"), "Authorization(Basic, 28 bytes)");
        assert!(!format!("{:?}", header.basic().unwrap()).contains("sesame"));
    }

    #[test]
    fn a_field_is_explained_with_its_token() {
        let value = encode(AuthScheme::Negotiate, b"NTLMSSP\0\x01\0\0\0\x07\x82\x08\xa2");
        let node = Authorization::explain(value.as_bytes(), 15);
        assert_eq!(node.find("scheme").map(|node| node.range.clone()), Some(15..24));
        assert_eq!(node.find("token").map(|node| node.range.clone()), Some(25..15 + value.len()));
        assert!(node.find("NegotiateFlags").is_some());
        let basic = Authorization::explain(b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", 0);
        assert!(basic.find("password").is_some_and(|node| node.secret));
        assert_eq!(basic.find("user-id").map(|node| node.value.as_str()), Some("Aladdin"));
    }

    #[test]
    fn a_broken_field_is_explained_as_far_as_it_goes() {
        for (value, parts) in [
            ("", 0),
            ("Negotiate", 1),
            ("Negotiate !", 2),
            ("Negotiate TlRMTVNTUA", 2),
            ("Negotiate YII,x", 2),
            ("Basic YQ", 2),
        ] {
            let node = Authorization::explain(value.as_bytes(), 0);
            assert!(node.error.is_some() && node.children.len() == parts, "{value}: {node:?}");
        }
        assert_eq!(decode_patiently(b"TlRM\r\n TVNT UA"), b"NTLMSSP");
        assert_eq!(decode_patiently(b"__-_"), [255, 255, 191]);
        assert_eq!(decode_patiently(b"YII=junk"), [0x60, 0x82]);
        assert_eq!(decode_patiently(b"Y"), b"");
    }

    #[test]
    fn what_is_encoded_is_read() {
        assert_eq!(encode(AuthScheme::Negotiate, b""), "Negotiate");
        for size in 1..200 {
            let bytes: Vec<u8> = (0..size).collect();
            assert_eq!(token(&encode(AuthScheme::Ntlm, &bytes)), Ok(bytes));
        }
    }
}
