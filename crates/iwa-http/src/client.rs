//! The client's side: picks a scheme among a server's challenges, speaks it over one connection, and at the end holds the
//! server's last token against what it must prove. RFC 4559 5, RFC 9110 11.6.1; choice and fallback as Chrome and Internet
//! Explorer do it.
//!
//! [`Client`] sends requests and does all of this; [`Exchange`] is the part without sockets, for other HTTP stacks.
//!
//! ```text
//! answer 401 --> choose --> initiate --> send again with a token --> answer 401 with a token --> step --.
//!                  ^  no ticket, no credential: the next scheme        ^________________________________|
//!                                                                      another answer --> verify --> Conclusion
//! ```

mod requests;
mod transport;

pub use requests::{Account, Answered, Client, Failed};
pub use transport::{Transport, Unreachable};

use http::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use http::{HeaderName, StatusCode};
use iwa_auth::initiate::{Established, Handshake, Initiate, Initiator};
use iwa_auth::ports::Kdc;
use iwa_auth::reject::{Malformed, Peer, Policy as Forbidden, Reason, Reject};
use iwa_auth::{Env, Scheme};
use iwa_wire::challenge::Challenge;
use iwa_wire::header::AuthScheme;

use crate::challenge::{scheme_name, token_line};
use crate::system::{EntropyOf, System};

/// How a client chooses among the schemes that a server offers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Preference {
    /// The strongest, whatever the order: Chrome, Edge, Firefox.
    #[default]
    Strongest,
    /// The first that it knows: Internet Explorer.
    ServerOrder,
}

/// What a client does with challenges.
#[derive(Clone, Debug)]
pub struct ClientPolicy {
    /// The schemes it speaks. Without `Negotiate` it does what Internet Explorer does with "Enable Integrated Windows
    /// Authentication" off: NTLM only.
    pub schemes: Vec<Scheme>,
    /// How it chooses among them.
    pub preference: Preference,
    /// Whether this host may be given credentials.
    pub host_allowed: bool,
    /// The host, for messages.
    pub host: String,
}

/// Authenticates one connection to one server.
pub struct Exchange<'a> {
    policy: &'a ClientPolicy,
    initiator: &'a Initiator,
    kdc: &'a dyn Kdc,
    system: &'a dyn System,
    state: State,
    /// Schemes that led nowhere, and why.
    given_up: Vec<(Scheme, Reason)>,
}

enum State {
    /// No token was sent.
    Fresh,
    /// A token is out.
    Halfway(Scheme, Box<Handshake>),
    /// Everything was said.
    Over,
}

/// What to do after an answer.
#[derive(Debug)]
pub enum Next {
    /// The answer stands.
    Done(Conclusion),
    /// Send the request again with this header, on the same connection.
    Again(HeaderName, HeaderValue),
}

/// What an answer that stands means.
#[derive(Debug)]
pub enum Conclusion {
    /// The server wanted no credentials.
    NotAsked,
    /// The client is in, and the server proved what it had to prove.
    Established(Scheme, Established),
    /// The client is not in, or the server is not to be trusted.
    Failed(Reason),
}

impl<'a> Exchange<'a> {
    /// Begins on a fresh connection.
    #[must_use]
    pub fn new(policy: &'a ClientPolicy, initiator: &'a Initiator, kdc: &'a dyn Kdc, system: &'a dyn System) -> Self {
        Self { policy, initiator, kdc, system, state: State::Fresh, given_up: Vec::new() }
    }

    /// Takes the head of an answer and says what to do.
    pub async fn next(&mut self, status: StatusCode, headers: &HeaderMap) -> Next {
        let challenges = challenges_of(headers);
        let result = match (core::mem::replace(&mut self.state, State::Over), status) {
            (State::Halfway(scheme, handshake), StatusCode::UNAUTHORIZED) => {
                self.go_on(scheme, *handshake, &challenges).await
            }
            (State::Halfway(scheme, handshake), _) => self.verify(scheme, *handshake, &challenges),
            (State::Fresh, StatusCode::UNAUTHORIZED) => self.begin(&challenges).await,
            (State::Fresh, _) => Ok(Next::Done(Conclusion::NotAsked)),
            (State::Over, _) => {
                Err(Malformed::OutOfSequence { wanted: "nothing more", found: "another answer" }.into())
            }
        };
        result.unwrap_or_else(|reason| Next::Done(Conclusion::Failed(reason)))
    }

    /// Chooses a scheme and sends its first token.
    async fn begin(&mut self, challenges: &[Challenge<'_>]) -> Result<Next, Reason> {
        let mut offered: Vec<Scheme> = Vec::new();
        for scheme in challenges.iter().filter_map(|challenge| known(challenge.scheme)) {
            if !offered.contains(&scheme) && self.policy.schemes.contains(&scheme) {
                offered.push(scheme);
            }
        }
        if self.policy.preference == Preference::Strongest {
            offered.sort_by_key(|scheme| core::cmp::Reverse(strength(*scheme)));
        }
        if offered.is_empty() {
            let names: Vec<_> = challenges.iter().map(|challenge| challenge.scheme.name()).collect();
            let why = match names.is_empty() {
                true => "the server answers 401 and offers no scheme at all".to_owned(),
                false => format!("the server offers {}, and none of that may be spoken here", names.join(", ")),
            };
            return Err(Forbidden::NoCredential { why }.into());
        }
        if !self.policy.host_allowed {
            return Err(Forbidden::HostNotAllowed { host: self.policy.host.clone() }.into());
        }
        for scheme in offered {
            let mut out = Vec::new();
            let begun = self.with_env(|env| self.initiator.initiate(scheme, env, &mut out));
            match self.ask_kdcs(begun, &mut out).await {
                Ok(Initiate::Continue(handshake)) => return Ok(self.send(scheme, handshake, &out)),
                Ok(Initiate::Established(_) | Initiate::NeedKdc(_)) => {
                    let found = "a handshake that is over before the server said anything";
                    return Err(Malformed::OutOfSequence { wanted: "a first token", found }.into());
                }
                // No ticket, no password: as browsers do, the next scheme.
                Err(reject) => self.given_up.push((scheme, reject.reason)),
            }
        }
        match self.given_up.len() {
            1 => Err(self.given_up.remove(0).1),
            _ => {
                let why = self.given_up.iter().map(|(scheme, reason)| match reason {
                    Reason::Policy(Forbidden::NoCredential { why }) => why.clone(),
                    reason => format!("{}: {reason}", scheme_name(*scheme)),
                });
                Err(Forbidden::NoCredential { why: why.collect::<Vec<_>>().join("; ") }.into())
            }
        }
    }

    /// Takes the token of a 401.
    async fn go_on(
        &mut self,
        scheme: Scheme,
        handshake: Handshake,
        challenges: &[Challenge<'_>],
    ) -> Result<Next, Reason> {
        let Some(token) = token_of(scheme, challenges)? else {
            // The bare challenge again: what we brought was not good enough. Browsers ask for another password here, and
            // never try another mechanism.
            return Err(Peer::Rejected { said: String::new() }.into());
        };
        let mut out = Vec::new();
        let stepped = self.with_env(|env| handshake.step(&token, env, &mut out));
        match self.ask_kdcs(stepped, &mut out).await.map_err(|reject| reject.reason)? {
            Initiate::Continue(handshake) => Ok(self.send(scheme, handshake, &out)),
            Initiate::Established(_) | Initiate::NeedKdc(_) => {
                // Everything is proved on both sides, and the server still says 401.
                Err(Peer::Rejected { said: "401 after the last token".to_owned() }.into())
            }
        }
    }

    /// Takes the answer that lets the client in (or, whatever its status, is not a challenge).
    fn verify(&mut self, scheme: Scheme, handshake: Handshake, challenges: &[Challenge<'_>]) -> Result<Next, Reason> {
        let established = match token_of(scheme, challenges)? {
            None => handshake.step_in_silence().map_err(|reject| reject.reason)?,
            Some(token) => {
                let mut out = Vec::new();
                let stepped = self.with_env(|env| handshake.step(&token, env, &mut out));
                match stepped.map_err(|reject| reject.reason)? {
                    Initiate::Established(established) => established,
                    Initiate::Continue(_) | Initiate::NeedKdc(_) => {
                        let found = "success in the middle of the handshake";
                        return Err(Malformed::OutOfSequence { wanted: "a 401 with a token", found }.into());
                    }
                }
            }
        };
        Ok(Next::Done(Conclusion::Established(scheme, established)))
    }

    async fn ask_kdcs(&self, mut step: Result<Initiate, Reject>, out: &mut Vec<u8>) -> Result<Initiate, Reject> {
        loop {
            step = match step? {
                Initiate::NeedKdc(need) => {
                    let answer = self.kdc.ask(need.realm(), need.request()).await;
                    self.with_env(|env| need.answer(answer.as_deref().map_err(Clone::clone), env, out))
                }
                other => return Ok(other),
            };
        }
    }

    fn send(&mut self, scheme: Scheme, handshake: Handshake, token: &[u8]) -> Next {
        self.state = State::Halfway(scheme, Box::new(handshake));
        Next::Again(AUTHORIZATION, token_line(scheme, token))
    }
}

impl Exchange<'_> {
    fn with_env<T>(&self, step: impl FnOnce(&mut Env<'_>) -> T) -> T {
        step(&mut Env { now: self.system.now(), entropy: &mut EntropyOf(self.system) })
    }
}

impl core::fmt::Debug for Exchange<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Exchange").field("policy", &self.policy).finish_non_exhaustive()
    }
}

const fn known(scheme: AuthScheme<'_>) -> Option<Scheme> {
    match scheme {
        AuthScheme::Negotiate => Some(Scheme::Negotiate),
        AuthScheme::Ntlm => Some(Scheme::Ntlm),
        AuthScheme::Basic | AuthScheme::Other(_) => None,
    }
}

/// Chrome's score: Negotiate 4, NTLM 3.
const fn strength(scheme: Scheme) -> u8 {
    match scheme {
        Scheme::Negotiate => 4,
        Scheme::Ntlm => 3,
    }
}

/// The challenges of an answer.
pub(crate) fn challenges_of(headers: &HeaderMap) -> Vec<Challenge<'_>> {
    Challenge::parse_all(headers.get_all(WWW_AUTHENTICATE).iter().map(HeaderValue::as_bytes))
}

/// The token that the server sent under this scheme, if it sent one.
pub(crate) fn token_of(scheme: Scheme, challenges: &[Challenge<'_>]) -> Result<Option<Vec<u8>>, Reason> {
    let mut tokens =
        challenges.iter().filter(|challenge| known(challenge.scheme) == Some(scheme) && challenge.token.is_some());
    let Some(challenge) = tokens.next() else { return Ok(None) };
    if tokens.next().is_some() {
        return Err(Malformed::Header("the server sends two tokens under one scheme").into());
    }
    let token = challenge.decode().map_err(|_| Malformed::Header("the server's token is not base64"))?;
    Ok(Some(token))
}
