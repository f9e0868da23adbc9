//! What a request brings in `Authorization`. RFC 9110 11.6.2, RFC 4559 4.2, RFC 7617 2.

use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderValue};
use iwa_auth::reject::Malformed;
use iwa_auth::{Scheme, Secret};
use iwa_wire::header::{AuthScheme, Authorization, BasicCredentials, HeaderError};

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
        let lines = headers.get_all(AUTHORIZATION).iter().map(HeaderValue::as_bytes);
        let Some(line) = Authorization::parse(lines, Authorization::LIMIT).map_err(malformed)? else { return Ok(None) };
        match line.scheme {
            AuthScheme::Negotiate => Ok(Some(Self::Windows(Scheme::Negotiate, decode(&line)?))),
            AuthScheme::Ntlm => Ok(Some(Self::Windows(Scheme::Ntlm, decode(&line)?))),
            AuthScheme::Basic => Ok(Some(Self::Basic(Password::from(line.basic().map_err(malformed)?)))),
            AuthScheme::Other(_) => Ok(Some(Self::Other)),
        }
    }
}

impl From<BasicCredentials> for Password {
    fn from(BasicCredentials { user, password }: BasicCredentials) -> Self {
        Self::new(user, Secret::new(String::clone(&password)))
    }
}

impl Password {
    /// A name as somebody writes it, and a password.
    pub(crate) fn new(user: String, password: Secret<String>) -> Self {
        match user.split_once('\\') {
            Some((domain, name)) => Self { domain: domain.to_owned(), user: name.to_owned(), password },
            None => Self { domain: String::new(), user, password },
        }
    }
}

fn decode(line: &Authorization<'_>) -> Result<Vec<u8>, Malformed> {
    let mut token = Vec::with_capacity(line.credentials().len() / 4 * 3);
    line.decode(&mut token).map_err(malformed)?;
    Ok(token)
}

const fn malformed(error: HeaderError) -> Malformed {
    Malformed::Header(error.rule())
}

#[cfg(test)]
mod tests {
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
    fn a_scheme_without_its_space_is_refused_and_another_scheme_is_the_applications() {
        assert!(read(&["NegotiateYWJj"]).is_err());
        assert!(read(&[""]).is_err());
        assert!(matches!(read(&["Bearer abc"]), Ok(Some(Credentials::Other))));
    }

    #[test]
    fn a_scheme_without_a_token_is_refused() {
        assert!(read(&["Negotiate"]).is_err());
        assert!(read(&["NTLM "]).is_err());
    }

    #[test]
    fn a_token_beyond_every_limit_is_refused_before_it_is_decoded() {
        let mut headers = HeaderMap::new();
        let line = |length| HeaderValue::try_from(format!("Negotiate {}", "A".repeat(length))).expect("a value");
        headers.append(AUTHORIZATION, line(1 << 20));
        assert!(Credentials::of(&headers).is_err());
        // MaxTokenSize of Windows: 48,000 bytes.
        headers.insert(AUTHORIZATION, line(64_000));
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
