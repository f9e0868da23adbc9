//! What a request brings in `Authorization`. RFC 9110 11.6.2, RFC 4559 4.2, RFC 7617 2.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use iwa_auth::reject::Malformed;
use iwa_auth::{Scheme, Secret};

/// The credentials of one request.
#[derive(Debug)]
pub(crate) enum Credentials {
    /// A token of the schemes `Negotiate` or `NTLM`, decoded.
    Windows(Scheme, Vec<u8>),
    /// A password, in clear.
    Basic(Password),
    /// Of a scheme that is the application's business.
    Other,
}

/// A password as Basic carries it.
#[derive(Debug)]
pub(crate) struct Password {
    /// What stands before a backslash, else nothing.
    pub(crate) domain: String,
    /// The user; a user principal name stays whole.
    pub(crate) user: String,
    pub(crate) password: Secret<String>,
}

impl Password {
    pub(crate) fn name(&self) -> String {
        if self.domain.is_empty() { self.user.clone() } else { format!("{}\\{}", self.domain, self.user) }
    }
}

impl Credentials {
    /// Reads them. Two `Authorization` lines, or a list in one, are refused and never chosen from: whoever stands between
    /// client and server may choose otherwise.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Option<Self>, Malformed> {
        let mut lines = headers.get_all(AUTHORIZATION).iter();
        let Some(line) = lines.next() else { return Ok(None) };
        if lines.next().is_some() {
            return Err(Malformed::Header("it stands more than once"));
        }
        let line = line.as_bytes().trim_ascii();
        let (scheme, rest) = match line.iter().position(|byte| *byte == b' ') {
            Some(space) => line.split_at(space),
            None => (line, &[][..]),
        };
        let token = rest.trim_ascii();
        if scheme.eq_ignore_ascii_case(b"Negotiate") {
            Ok(Some(Self::Windows(Scheme::Negotiate, decode(token)?)))
        } else if scheme.eq_ignore_ascii_case(b"NTLM") {
            Ok(Some(Self::Windows(Scheme::Ntlm, decode(token)?)))
        } else if scheme.eq_ignore_ascii_case(b"Basic") {
            Ok(Some(Self::Basic(user_pass(token)?)))
        } else {
            Ok(Some(Self::Other))
        }
    }
}

fn decode(token: &[u8]) -> Result<Vec<u8>, Malformed> {
    if token.len() > MOST_CHARACTERS {
        return Err(Malformed::Header("the token is longer than any that is made"));
    }
    STANDARD.decode(token).map_err(|_| Malformed::Header("the token is not base64"))
}

/// `user:password`; both are UTF-8, or else taken as Latin-1, which is what browsers of old send.
fn user_pass(token: &[u8]) -> Result<Password, Malformed> {
    let pair = Secret::new(decode(token)?);
    let colon = pair.expose().iter().position(|byte| *byte == b':');
    let Some((user, password)) = colon.and_then(|colon| pair.expose().split_at_checked(colon)) else {
        return Err(Malformed::Header("Basic credentials have no colon"));
    };
    let password = Secret::new(text(password.get(1..).unwrap_or_default()));
    let user = text(user);
    if user.contains('\0') {
        return Err(Malformed::Header("the user name contains a NUL"));
    }
    Ok(match user.split_once('\\') {
        Some((domain, name)) => Password { domain: domain.to_owned(), user: name.to_owned(), password },
        None => Password { domain: String::new(), user, password },
    })
}

fn text(bytes: &[u8]) -> String {
    match core::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}

/// Windows' MaxTokenSize is at most 65,535 bytes.
const MOST_CHARACTERS: usize = 65_536 / 3 * 4 + 4;

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(lines: &[&'static str]) -> Result<Option<Credentials>, Malformed> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(AUTHORIZATION, HeaderValue::from_static(line));
        }
        Credentials::of(&headers)
    }

    #[test]
    fn schemes_are_read_in_any_case() {
        for line in ["Negotiate YWJj", "negotiate YWJj", "NEGOTIATE   YWJj "] {
            assert!(
                matches!(read(&[line]), Ok(Some(Credentials::Windows(Scheme::Negotiate, token))) if token == b"abc")
            );
        }
        assert!(matches!(read(&["nTlM YWJj"]), Ok(Some(Credentials::Windows(Scheme::Ntlm, _)))));
    }

    #[test]
    fn an_authorization_that_stands_twice_is_refused() {
        assert!(read(&["Negotiate YWJj", "NTLM YWJj"]).is_err());
        assert!(read(&["Negotiate YWJj", "Negotiate YWJj"]).is_err());
    }

    #[test]
    fn credentials_joined_by_a_comma_are_refused() {
        assert!(read(&["Negotiate YWJj, NTLM YWJj"]).is_err());
        assert!(read(&["Negotiate YWJj,Basic YTpi"]).is_err());
    }

    #[test]
    fn what_is_not_strict_base64_is_refused() {
        // The URL-safe alphabet, missing and surplus padding, non-zero trailing bits, whitespace inside.
        for line in [
            "Negotiate _-8=",
            "Negotiate YQ",
            "Negotiate YQ===",
            "Negotiate YR==",
            "Negotiate YW Jj",
            "Negotiate YW\tJj",
        ] {
            assert!(read(&[line]).is_err(), "{line}");
        }
    }

    #[test]
    fn a_scheme_without_its_space_is_another_scheme() {
        assert!(matches!(read(&["NegotiateYWJj"]), Ok(Some(Credentials::Other))));
        assert!(matches!(read(&["Bearer abc"]), Ok(Some(Credentials::Other))));
        assert!(matches!(read(&[""]), Ok(Some(Credentials::Other))));
    }

    #[test]
    fn a_scheme_without_a_token_brings_an_empty_one() {
        assert!(matches!(read(&["Negotiate"]), Ok(Some(Credentials::Windows(_, token))) if token.is_empty()));
    }

    #[test]
    fn a_token_beyond_every_limit_is_refused_before_it_is_decoded() {
        let mut headers = HeaderMap::new();
        let line = format!("Negotiate {}", "A".repeat(MOST_CHARACTERS + 4));
        headers.append(AUTHORIZATION, HeaderValue::try_from(line).expect("a value"));
        assert!(Credentials::of(&headers).is_err());
        let longest = format!("Negotiate {}", "A".repeat(65_536));
        headers.insert(AUTHORIZATION, HeaderValue::try_from(longest).expect("a value"));
        assert!(Credentials::of(&headers).is_ok());
    }

    #[test]
    fn basic_splits_domain_user_and_password_at_the_first_of_each() {
        // CORP\alice:pass:word
        let Ok(Some(Credentials::Basic(password))) = read(&["Basic Q09SUFxhbGljZTpwYXNzOndvcmQ="]) else { panic!() };
        assert_eq!((password.domain.as_str(), password.user.as_str()), ("CORP", "alice"));
        assert_eq!(password.password.expose(), "pass:word");
        assert!(!format!("{password:?}").contains("pass:"));
        assert!(read(&["Basic YWxpY2U="]).is_err(), "no colon");
    }
}
