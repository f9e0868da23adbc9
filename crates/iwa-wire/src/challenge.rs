//! `WWW-Authenticate`: the schemes that a server offers. RFC 9110 11.3 and 11.6.1, RFC 4559 4.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::explain::{self, Explain, Node};
use crate::header::{self, AuthScheme, Authorization, HeaderError, is_tchar, trim};

/// One challenge: a scheme, and a token or parameters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Challenge<'a> {
    /// The scheme.
    pub scheme: AuthScheme<'a>,
    /// The scheme as it is written.
    pub written: &'a str,
    /// The token68 as it is written, not decoded.
    pub token: Option<&'a str>,
    /// The `auth-param`s: names as they are written, values without their quotes.
    pub params: Vec<(&'a str, Cow<'a, str>)>,
}

impl<'a> Challenge<'a> {
    /// The most challenges, and the most parameters, that one field value may have.
    pub const MAX: usize = 64;

    /// Reads all `WWW-Authenticate` fields of a response, in their order.
    ///
    /// A field that breaks the grammar gives the challenges before the break: a server's broken Digest line must not
    /// keep a client from its Negotiate line. [`Challenge::parse`] tells of the error.
    pub fn parse_all(values: impl IntoIterator<Item = &'a [u8]>) -> Vec<Self> {
        let mut challenges = Vec::new();
        for value in values {
            let _ = read(value, &mut challenges);
            if challenges.len() >= Self::MAX {
                break;
            }
        }
        challenges
    }

    /// Reads one field value, which may hold several challenges.
    ///
    /// # Errors
    /// [`HeaderError::Challenge`], [`HeaderError::TooMany`], [`HeaderError::TooLong`].
    pub fn parse(value: &'a [u8]) -> Result<Vec<Self>, HeaderError> {
        let mut challenges = Vec::new();
        read(value, &mut challenges)?;
        Ok(challenges)
    }

    /// The value of a parameter; its name in any case.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_ref())
    }

    /// The token's bytes; empty if the challenge has none.
    ///
    /// # Errors
    /// [`HeaderError::Base64`].
    pub fn decode(&self) -> Result<Vec<u8>, HeaderError> {
        STANDARD.decode(self.token.unwrap_or_default()).map_err(|_| HeaderError::Base64)
    }
}

impl Explain for Challenge<'_> {
    /// Explains a field value. The ranges of a token's own parts count in the decoded token.
    fn explain(bytes: &[u8], offset: usize) -> Node {
        let mut node = Node::branch("WWW-Authenticate", offset..offset + bytes.len(), "RFC 9110 11.6.1");
        let mut challenges = Vec::new();
        node.error = read(bytes, &mut challenges).err().map(|error| error.at("WWW-Authenticate", offset));
        // Where a borrowed piece of the value stands in it.
        let place = |part: &str| {
            let start = (part.as_ptr() as usize).saturating_sub(bytes.as_ptr() as usize).min(bytes.len());
            offset + start..offset + (start + part.len()).min(bytes.len())
        };
        for challenge in &challenges {
            let written = challenge.written;
            let mut child = Node::leaf("challenge", challenge.scheme.name(), place(written));
            if let Some(token) = challenge.token {
                child.range.end = place(token).end;
                child.children.push(header::explain_token(token.as_bytes(), place(token)));
            }
            for (name, value) in &challenge.params {
                let text = explain::printable(value);
                child.children.push(Node::leaf(explain::printable(name), text, place(name)));
            }
            node.children.push(child);
        }
        node
    }
}

/// The value of a `WWW-Authenticate` field for Basic. RFC 7617 2 and 2.1.
#[must_use]
pub fn basic(realm: &str) -> String {
    let mut value = String::from("Basic realm=\"");
    for c in realm.chars().filter(|c| !c.is_control()) {
        if matches!(c, '"' | '\\') {
            value.push('\\');
        }
        value.push(c);
    }
    value.push_str("\", charset=\"UTF-8\"");
    value
}

fn read<'a>(value: &'a [u8], challenges: &mut Vec<Challenge<'a>>) -> Result<(), HeaderError> {
    if value.len() > Authorization::LIMIT {
        return Err(HeaderError::TooLong);
    }
    // Everything but the text inside quotes is ASCII; bytes there that are not UTF-8 have no meaning to lose.
    let text = match core::str::from_utf8(trim(value)) {
        Ok(text) => text,
        Err(_) => return Err(HeaderError::Challenge),
    };
    let mut rest = text;
    let begin = challenges.len();
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return Ok(());
        }
        let (name, after) = token(rest)?;
        let beyond = blank(after);
        if beyond.starts_with('=') {
            // A parameter after a comma belongs to the challenge that stands before the comma.
            let open = challenges.get_mut(begin..).and_then(<[_]>::last_mut).ok_or(HeaderError::Challenge)?;
            rest = param(open, name, beyond)?;
            continue;
        }
        if challenges.len() >= Challenge::MAX {
            return Err(HeaderError::TooMany);
        }
        let scheme = AuthScheme::from_name(name);
        let mut challenge = Challenge { scheme, written: name, token: None, params: Vec::new() };
        rest = after;
        if after.starts_with(' ') && !beyond.is_empty() && !beyond.starts_with(',') {
            if let Some((token, after)) = token68(beyond) {
                challenge.token = Some(token);
                rest = after;
            } else {
                let (name, after) = token(beyond)?;
                rest = param(&mut challenge, name, blank(after))?;
            }
        }
        challenges.push(challenge);
        let next = blank(rest);
        if !next.is_empty() && !next.starts_with(',') {
            return Err(HeaderError::Challenge);
        }
    }
}

/// A token68 that ends its list element. `realm=` is one too, if nothing follows.
fn token68(text: &str) -> Option<(&str, &str)> {
    let symbols = text.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || "-._~+/".contains(c));
    let padded = symbols.trim_start_matches('=');
    let after = blank(padded);
    let length = text.len() - padded.len();
    let whole = after.is_empty() || after.starts_with(',');
    if whole && symbols.len() < text.len() { text.split_at_checked(length) } else { None }
}

fn token(text: &str) -> Result<(&str, &str), HeaderError> {
    let end = text.bytes().position(|byte| !is_tchar(byte)).unwrap_or(text.len());
    match text.split_at_checked(end) {
        Some(("", _)) | None => Err(HeaderError::Challenge),
        Some(parts) => Ok(parts),
    }
}

/// `auth-param` from its `=` on; gives what follows it.
fn param<'a>(challenge: &mut Challenge<'a>, name: &'a str, text: &'a str) -> Result<&'a str, HeaderError> {
    let value = blank(text.strip_prefix('=').ok_or(HeaderError::Challenge)?);
    if challenge.params.len() >= Challenge::MAX {
        return Err(HeaderError::TooMany);
    }
    let (value, rest) = match value.strip_prefix('"') {
        Some(quoted) => quoted_string(quoted)?,
        None => token(value).map(|(value, rest)| (Cow::Borrowed(value), rest))?,
    };
    let next = blank(rest);
    if !next.is_empty() && !next.starts_with(',') {
        return Err(HeaderError::Challenge);
    }
    challenge.params.push((name, value));
    Ok(rest)
}

/// `quoted-string` after its opening quote. RFC 9110 5.6.4.
fn quoted_string(text: &str) -> Result<(Cow<'_, str>, &str), HeaderError> {
    let mut unescaped: Option<String> = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                let (inside, rest) = text.split_at_checked(at).ok_or(HeaderError::Challenge)?;
                let value = unescaped.map_or(Cow::Borrowed(inside), Cow::Owned);
                return Ok((value, rest.strip_prefix('"').unwrap_or_default()));
            }
            '\\' => {
                let (_, escaped) = chars.next().ok_or(HeaderError::Challenge)?;
                unescaped.get_or_insert_with(|| text.get(..at).unwrap_or_default().to_owned()).push(escaped);
            }
            c => {
                if let Some(unescaped) = &mut unescaped {
                    unescaped.push(c);
                }
            }
        }
    }
    Err(HeaderError::Challenge)
}

fn blank(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: &str) -> String {
        let Ok(challenges) = Challenge::parse(value.as_bytes()) else { return "error".to_owned() };
        let mut text = Vec::new();
        for challenge in challenges {
            let params: Vec<_> = challenge.params.iter().map(|(name, value)| format!("{name}={value}")).collect();
            text.push(format!("{}[{}]({})", challenge.scheme, challenge.token.unwrap_or("-"), params.join(";")));
        }
        text.join(" ")
    }

    #[test]
    fn lists_and_lines_in_any_case() {
        assert_eq!(shown("Negotiate"), "Negotiate[-]()");
        assert_eq!(shown("negotiate, ntlm"), "Negotiate[-]() NTLM[-]()");
        assert_eq!(shown("NTLM TlRMTVNTUAACAAAA"), "NTLM[TlRMTVNTUAACAAAA]()");
        assert_eq!(shown("Negotiate oYG=,NTLM"), "Negotiate[oYG=]() NTLM[-]()");
        assert_eq!(shown(" ,, Negotiate ,\t, NTLM , "), "Negotiate[-]() NTLM[-]()");
        assert_eq!(
            shown("Basic realm=\"a, b\", charset=\"UTF-8\", Negotiate"),
            "Basic[-](realm=a, b;charset=UTF-8) Negotiate[-]()"
        );
        assert_eq!(shown("Basic realm = plain"), "Basic[-](realm=plain)");
        assert_eq!(shown("Basic realm=\"say \\\"x\\\" \\\\\""), "Basic[-](realm=say \"x\" \\)");
        assert_eq!(shown("Basic realm=\"\""), "Basic[-](realm=)");
        assert_eq!(shown(""), "");
        // By the grammar this is a token68, not an empty parameter.
        assert_eq!(shown("Basic realm="), "Basic[realm=]()");
        let lines = [&b"Negotiate"[..], b"NTLM", b"Basic realm=\"x\""];
        assert_eq!(Challenge::parse_all(lines).len(), 3);
    }

    /// The example of RFC 9110 11.6.1.
    #[test]
    fn the_example_of_the_specification() {
        let value = "Basic realm=\"simple\", Newauth realm=\"apps\", type=1, title=\"Login to \\\"apps\\\"\"";
        assert_eq!(shown(value), "Basic[-](realm=simple) Newauth[-](realm=apps;type=1;title=Login to \"apps\")");
        let challenges = Challenge::parse(value.as_bytes()).unwrap();
        assert_eq!(challenges[1].param("TITLE"), Some("Login to \"apps\""));
    }

    #[test]
    fn what_breaks_the_grammar_is_refused() {
        for bad in [
            "=x",
            "realm=x",
            "Basic realm=\"open",
            "Basic realm=\"open\\",
            "Basic realm=x y",
            "Negotiate abc def",
            "Negotiate abc=d e",
            "\"Negotiate\"",
            "Basic realm=\"a\"b",
            "Negotiate\u{e4}",
            "(comment)",
        ] {
            assert_eq!(shown(bad), "error", "{bad}");
        }
        assert_eq!(Challenge::parse(b"Basic realm=\"\xff\""), Err(HeaderError::Challenge));
        assert_eq!(Challenge::parse(&vec![b'a'; 70_000]), Err(HeaderError::TooLong));
        assert_eq!(Challenge::parse(b"a,".repeat(65).as_slice()), Err(HeaderError::TooMany));
        let many = format!("a {}", "b=c,".repeat(65));
        assert_eq!(Challenge::parse(many.as_bytes()), Err(HeaderError::TooMany));
    }

    #[test]
    fn a_broken_line_does_not_hide_the_others() {
        let lines = [&b"Digest realm=\"open"[..], b"Negotiate", b"\xff"];
        let schemes: Vec<_> = Challenge::parse_all(lines).iter().map(|challenge| challenge.scheme).collect();
        assert_eq!(schemes, [AuthScheme::Negotiate]);
    }

    #[test]
    fn tokens_are_decoded_strictly() {
        let decode = |value: &str| Challenge::parse(value.as_bytes()).unwrap()[0].decode();
        assert_eq!(decode("Negotiate YII="), Ok(vec![0x60, 0x82]));
        assert_eq!(decode("Negotiate"), Ok(vec![]));
        assert_eq!(decode("Negotiate YI-_"), Err(HeaderError::Base64));
        assert_eq!(decode("Negotiate YII"), Err(HeaderError::Base64));
    }

    #[test]
    fn a_field_is_explained_with_its_tokens_in_place() {
        let value = b"  ntlm TlRMTVNTUAACAAAA, Basic realm=\"x\"";
        let node = Challenge::explain(value, 100);
        assert_eq!(node.error, None);
        assert_eq!((node.children[0].value.as_str(), node.children[0].range.clone()), ("NTLM", 102..123));
        assert_eq!(node.find("token").map(|node| node.range.clone()), Some(107..123));
        assert_eq!(node.find("realm").map(|node| node.value.as_str()), Some("x"));
        assert!(Challenge::explain(b"Basic realm=\"x", 0).error.is_some());
        assert!(Challenge::explain(b"\xff", 0).error.is_some());
    }

    #[test]
    fn a_realm_cannot_break_out_of_its_quotes() {
        let value = basic("a\"\\b\r\nSet-Cookie: x");
        let challenge = Challenge::parse(value.as_bytes()).unwrap().remove(0);
        assert_eq!(challenge.param("realm"), Some("a\"\\bSet-Cookie: x"));
        assert_eq!(challenge.param("charset"), Some("UTF-8"));
    }
}
