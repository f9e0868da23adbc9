//! `WWW-Authenticate` as the server writes it. RFC 9110 11.6.1, RFC 4559 4, MS-N2HT 2.2 (`Persistent-Auth`).
//!
//! One line a scheme, in the configured order, because some clients take the first they know. An answer that carries a token
//! never carries the bare scheme beside it: a client would take that for a new challenge.

use core::fmt;
use core::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut as _, BytesMut};
use http::header::{HeaderMap, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use iwa_auth::{Mechanism, Scheme};

/// An entry of `<windowsAuthentication><providers>` of IIS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Provider {
    /// `Negotiate`: Kerberos, or NTLM if the client has no ticket.
    Negotiate,
    /// `Negotiate:Kerberos`: the scheme `Negotiate`, and NTLM refused inside it.
    NegotiateKerberos,
    /// `NTLM`.
    Ntlm,
}

impl Provider {
    /// The HTTP scheme under which it is offered.
    #[must_use]
    pub const fn scheme(self) -> Scheme {
        match self {
            Self::Negotiate | Self::NegotiateKerberos => Scheme::Negotiate,
            Self::Ntlm => Scheme::Ntlm,
        }
    }

    /// As IIS spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Negotiate => "Negotiate",
            Self::NegotiateKerberos => "Negotiate:Kerberos",
            Self::Ntlm => "NTLM",
        }
    }

    /// Whether a client who proved itself by `mechanism` may have done so through this provider.
    #[must_use]
    pub const fn takes(self, mechanism: Mechanism) -> bool {
        match (self, mechanism) {
            (Self::Negotiate | Self::NegotiateKerberos, Mechanism::Kerberos) => true,
            (Self::Negotiate | Self::Ntlm, Mechanism::Ntlm) => true,
            (_, Mechanism::Kerberos | Mechanism::Ntlm | Mechanism::Basic) => false,
        }
    }
}

impl FromStr for Provider {
    type Err = UnknownProvider;

    fn from_str(name: &str) -> Result<Self, UnknownProvider> {
        [Self::Negotiate, Self::NegotiateKerberos, Self::Ntlm]
            .into_iter()
            .find(|provider| provider.name().eq_ignore_ascii_case(name))
            .ok_or(UnknownProvider)
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A provider that is none of those known here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownProvider;

impl fmt::Display for UnknownProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the providers are \"Negotiate\", \"Negotiate:Kerberos\" and \"NTLM\"")
    }
}

impl core::error::Error for UnknownProvider {}

/// The challenges of one policy, made once.
#[derive(Clone, Debug)]
pub struct Challenges {
    windows: Box<[(Scheme, HeaderValue)]>,
    basic: Option<HeaderValue>,
}

impl Challenges {
    /// Of these providers in this order, and of Basic for `basic_realm`, last: it is the weakest.
    #[must_use]
    pub fn new(providers: &[Provider], basic_realm: Option<&str>) -> Self {
        let mut windows: Vec<(Scheme, HeaderValue)> = Vec::with_capacity(providers.len());
        for scheme in providers.iter().map(|provider| provider.scheme()) {
            if windows.iter().all(|(offered, _)| *offered != scheme) {
                windows.push((scheme, HeaderValue::from_static(scheme_name(scheme))));
            }
        }
        Self { windows: windows.into(), basic: basic_realm.map(basic_line) }
    }

    /// The lines of a 401 to a client that has to begin, or to begin anew. `basic` says whether this connection may carry a
    /// password.
    pub fn initial(&self, basic: bool) -> impl Iterator<Item = HeaderValue> + '_ {
        let basic = self.basic.iter().filter(move |_| basic);
        self.windows.iter().map(|(_, line)| line).chain(basic).cloned()
    }

    /// The lines of a 401 that refuses and still has a token to say why (a KRB-ERROR): it stands in place of its scheme.
    pub fn refusing(&self, scheme: Scheme, token: &[u8], basic: bool) -> impl Iterator<Item = HeaderValue> + '_ {
        let answer = token_line(scheme, token);
        let replace = move |(offered, line): &(Scheme, HeaderValue)| {
            if *offered == scheme { answer.clone() } else { line.clone() }
        };
        let basic = self.basic.iter().filter(move |_| basic).cloned();
        self.windows.iter().map(replace).chain(basic)
    }

    /// Whether a scheme is offered.
    #[must_use]
    pub fn offers(&self, scheme: Scheme) -> bool {
        self.windows.iter().any(|(offered, _)| *offered == scheme)
    }
}

/// `Negotiate oYG2MIGz...`.
#[must_use]
pub fn token_line(scheme: Scheme, token: &[u8]) -> HeaderValue {
    let name = scheme_name(scheme).as_bytes();
    let length = base64::encoded_len(token.len(), true).unwrap_or(0);
    let mut line = BytesMut::with_capacity(name.len() + 1 + length);
    line.put_slice(name);
    line.put_u8(b' ');
    let begin = line.len();
    line.resize(begin + length, b'=');
    if let Some(room) = line.get_mut(begin..) {
        // The room is exactly as long as the encoding, so that this cannot fail; were it to, the line would not decode.
        let _ = STANDARD.encode_slice(token, room);
    }
    HeaderValue::from_maybe_shared(line.freeze()).unwrap_or_else(|_| HeaderValue::from_static(scheme_name(scheme)))
}

/// What the answer to an authenticated request says of the authentication, whatever its status.
#[derive(Clone, Debug, Default)]
pub struct FinalToken {
    /// The line with the final token, if the mechanism has one.
    pub line: Option<HeaderValue>,
    /// `Persistent-Auth`: whether the next request on this connection needs no token. Sent with the final answer of a
    /// handshake only.
    pub persistent: Option<bool>,
}

impl FinalToken {
    /// Puts it on an answer. A bare challenge of the same scheme that the application put there goes: .NET's client takes it
    /// for a failed handshake.
    pub fn attach(&self, headers: &mut HeaderMap) {
        if let Some(line) = &self.line {
            if headers.contains_key(WWW_AUTHENTICATE) {
                let others: Vec<HeaderValue> = headers
                    .get_all(WWW_AUTHENTICATE)
                    .iter()
                    .filter(|value| !is_bare_negotiate(value))
                    .cloned()
                    .collect();
                headers.remove(WWW_AUTHENTICATE);
                for other in others {
                    headers.append(WWW_AUTHENTICATE, other);
                }
            }
            headers.append(WWW_AUTHENTICATE, line.clone());
        }
        if let Some(persistent) = self.persistent {
            headers.insert(PERSISTENT_AUTH, HeaderValue::from_static(if persistent { "true" } else { "false" }));
        }
    }
}

/// `Persistent-Auth`, MS-N2HT 2.2.
pub const PERSISTENT_AUTH: HeaderName = HeaderName::from_static("persistent-auth");

/// The scheme as it stands in a header.
#[must_use]
pub const fn scheme_name(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Negotiate => "Negotiate",
        Scheme::Ntlm => "NTLM",
    }
}

fn is_bare_negotiate(value: &HeaderValue) -> bool {
    value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"Negotiate")
}

fn basic_line(realm: &str) -> HeaderValue {
    HeaderValue::try_from(iwa_wire::challenge::basic(realm))
        .unwrap_or_else(|_| HeaderValue::from_static("Basic realm=\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines<'a>(headers: impl IntoIterator<Item = &'a HeaderValue>) -> Vec<&'a str> {
        headers.into_iter().map(|value| value.to_str().expect("ASCII")).collect()
    }

    #[test]
    fn providers_are_offered_each_on_a_line_in_the_configured_order() {
        let challenges = Challenges::new(&[Provider::Ntlm, Provider::Negotiate], Some("web"));
        let initial: Vec<_> = challenges.initial(true).collect();
        assert_eq!(lines(&initial), ["NTLM", "Negotiate", "Basic realm=\"web\", charset=\"UTF-8\""]);
    }

    #[test]
    fn basic_is_not_offered_where_a_password_would_go_in_clear() {
        let challenges = Challenges::new(&[Provider::Negotiate], Some("web"));
        assert_eq!(lines(&challenges.initial(false).collect::<Vec<_>>()), ["Negotiate"]);
    }

    #[test]
    fn negotiate_kerberos_is_offered_as_negotiate_and_once() {
        let challenges = Challenges::new(&[Provider::NegotiateKerberos, Provider::Negotiate], None);
        assert_eq!(lines(&challenges.initial(true).collect::<Vec<_>>()), ["Negotiate"]);
        assert!(!challenges.offers(Scheme::Ntlm));
    }

    #[test]
    fn a_refusal_with_a_token_has_no_bare_line_of_the_same_scheme() {
        let challenges = Challenges::new(&[Provider::Negotiate, Provider::Ntlm], None);
        let refusing: Vec<_> = challenges.refusing(Scheme::Negotiate, b"abc", false).collect();
        assert_eq!(lines(&refusing), ["Negotiate YWJj", "NTLM"]);
    }

    #[test]
    fn the_final_token_goes_on_any_answer_and_no_bare_negotiate_stays() {
        let mut headers = HeaderMap::new();
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_static("negotiate"));
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_static("Digest realm=\"app\""));
        let token = FinalToken { line: Some(token_line(Scheme::Negotiate, &[0xa1, 0x07])), persistent: Some(true) };
        token.attach(&mut headers);
        assert_eq!(lines(headers.get_all(WWW_AUTHENTICATE)), ["Digest realm=\"app\"", "Negotiate oQc="]);
        assert_eq!(headers.get(PERSISTENT_AUTH).expect("there"), "true");
    }

    #[test]
    fn a_realm_cannot_break_out_of_its_quotes() {
        let challenges = Challenges::new(&[], Some("a\"b\\c\r\nSet-Cookie: x"));
        let line = challenges.initial(true).next().expect("Basic");
        assert_eq!(line.to_str().expect("ASCII"), "Basic realm=\"a\\\"b\\\\cSet-Cookie: x\", charset=\"UTF-8\"");
    }

    #[test]
    fn tokens_of_every_length_modulo_three_encode() {
        for (token, line) in [(&b""[..], "NTLM "), (b"a", "NTLM YQ=="), (b"ab", "NTLM YWI="), (b"abc", "NTLM YWJj")] {
            assert_eq!(token_line(Scheme::Ntlm, token).to_str().expect("ASCII"), line);
        }
    }

    #[test]
    fn providers_are_read_in_any_case_and_nothing_else_is() {
        assert_eq!("negotiate:KERBEROS".parse(), Ok(Provider::NegotiateKerberos));
        assert_eq!("Negotiate:PKU2U".parse::<Provider>(), Err(UnknownProvider));
        assert_eq!("".parse::<Provider>(), Err(UnknownProvider));
    }
}
