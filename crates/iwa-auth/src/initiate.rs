//! The initiator: a server's challenges in, tokens for it out, and at the end the proof that it is the server.
//! RFC 2743 2.2.1 as consumed states, RFC 4559 5.
//!
//! ```text
//!                          answer                       no ticket to be had: NTLM, where it is allowed
//!             .--> NeedKdc ------.               .-------------------------------------.
//!             |       ^__________|               |                                     v
//! Initiator --+---------------------------> Kerberos token --.                    NTLM token
//!  initiate() |                                              v                         |
//!             '---------------------------> NTLM token --> Handshake <-----------------'
//!                                                            |  ^
//!                                             server's token |  | Continue
//!                                                            '--+----> Established
//! ```

use core::time::Duration;
use std::sync::Arc;

use iwa_wire::krb5::error::code;
use iwa_wire::krb5::token::{KrbToken, TokenId};
use iwa_wire::krb5::{KrbError, Principal};
use iwa_wire::spnego::NegState;

use crate::accept::Scheme;
use crate::binding::ChannelBindings;
use crate::env::{Env, UnixTime};
use crate::identity::Mechanism;
use crate::krb5::client::{self, Delegation, ServiceTicket, Step};
use crate::reject::{Internal, Malformed, Peer, Policy, Reject};
use crate::spnego::initiator::{Conclusion, Negotiation};
use crate::spnego::mic;
use crate::{krb5, ntlm};

/// What an initiator is built from.
#[derive(Debug)]
pub struct InitiatorConfig {
    /// The host of the URL, without port: the service is `HTTP/host`.
    pub host: String,
    /// Who the client is.
    pub credentials: Credentials,
    /// The mechanisms that may be spoken, most wanted first.
    pub mechanisms: Vec<Mechanism>,
    /// Whether the server must prove that it is the server. Kerberos can, NTLM cannot: with this and NTLM there is no proof,
    /// and [`Established::mutual`] says so.
    pub mutual: bool,
    /// Whether the server is handed a TGT of our own.
    pub delegation: Delegation,
    /// Our end of the channel.
    pub bindings: ChannelBindings,
    /// In which form tokens go out under `Negotiate`.
    pub framing: Framing,
}

/// What an initiator can prove.
#[derive(Debug, Default)]
pub struct Credentials {
    /// For Kerberos.
    pub krb5: Option<client::Client>,
    /// For NTLM.
    pub ntlm: Option<ntlm::initiator::Client>,
}

/// The form of tokens under `Negotiate`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Framing {
    /// SPNEGO, as browsers send it.
    #[default]
    Spnego,
    /// The mechanism's own token: some clients send bare Kerberos or raw NTLM.
    Bare,
}

/// Speaks to one server. Cheap to clone: every connection begins a handshake of its own.
#[derive(Clone, Debug)]
pub struct Initiator {
    config: Arc<InitiatorConfig>,
}

/// What a step leads to.
#[derive(Debug)]
pub enum Initiate {
    /// The output is for the server; its answer goes into this handshake.
    Continue(Handshake),
    /// A ticket is needed: ask a KDC.
    NeedKdc(NeedKdc),
    /// Done: the server accepted, and proved what it had to prove.
    Established(Established),
}

/// A handshake that ended well.
#[derive(Debug)]
pub struct Established {
    /// What was spoken.
    pub mechanism: Mechanism,
    /// Whether the server proved that it is the server.
    pub mutual: bool,
    /// Why it is not Kerberos although that was wanted first.
    pub fallback: Option<String>,
    /// The tickets that were got on the way, for [`client::Client::with_credentials`]: the next handshake needs no KDC.
    pub tickets: Vec<client::Credential>,
}

impl Initiator {
    /// An initiator with this configuration.
    #[must_use]
    pub fn new(mut config: InitiatorConfig) -> Self {
        let Credentials { krb5, ntlm } = &config.credentials;
        let (krb5, ntlm) = (krb5.is_some(), ntlm.is_some());
        config.mechanisms.retain(|mechanism| match mechanism {
            Mechanism::Kerberos => krb5,
            Mechanism::Ntlm => ntlm,
            Mechanism::Basic => false,
        });
        Self { config: Arc::new(config) }
    }

    /// The configuration it was built from; its mechanisms are those for which there are credentials.
    #[must_use]
    pub fn config(&self) -> &InitiatorConfig {
        &self.config
    }

    /// Begins a handshake under a scheme that the server offers. The first token is appended to `out`, unless a KDC must be
    /// asked before.
    ///
    /// # Errors
    /// [`Policy::NoCredential`] if there is nothing to begin with.
    pub fn initiate(&self, scheme: Scheme, env: &mut Env<'_>, out: &mut Vec<u8>) -> Result<Initiate, Reject> {
        let on = |mechanism| self.config.mechanisms.contains(&mechanism);
        let framing = if scheme == Scheme::Ntlm { Framing::Bare } else { self.config.framing };
        let clock = Clock { ahead: None };
        let attempt = Attempt { config: Arc::clone(&self.config), framing, clock, fallback: None, tickets: Vec::new() };
        let draft = Draft { attempt, spnego: None };
        match (scheme, self.config.mechanisms.first()) {
            (Scheme::Ntlm, _) if on(Mechanism::Ntlm) => draft.ntlm(out),
            (Scheme::Negotiate, Some(Mechanism::Kerberos)) => draft.kerberos(env, out),
            (Scheme::Negotiate, Some(Mechanism::Ntlm)) => draft.ntlm(out),
            (scheme, _) => {
                let scheme = if scheme == Scheme::Ntlm { "NTLM" } else { "Negotiate" };
                let why = format!("the server offers {scheme}, and nothing is at hand for it");
                Err(Policy::NoCredential { why }.into())
            }
        }
    }

    /// Begins a handshake under `Negotiate` with a ticket that is at hand, whoever's and for whatever service it is: nobody is
    /// asked for another, and nothing but Kerberos is spoken.
    ///
    /// # Errors
    /// [`Internal::Entropy`](crate::reject::Internal::Entropy), or a ticket that does not parse.
    pub fn with_ticket(
        ticket: ServiceTicket,
        mutual: bool,
        env: &mut Env<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Handshake, Reject> {
        let config = Arc::new(InitiatorConfig {
            host: String::new(),
            credentials: Credentials::default(),
            mechanisms: vec![Mechanism::Kerberos],
            mutual,
            delegation: Delegation::No,
            bindings: ChannelBindings::none(),
            framing: Framing::Spnego,
        });
        let clock = Clock { ahead: None };
        let attempt = Attempt { config, framing: Framing::Spnego, clock, fallback: None, tickets: Vec::new() };
        match (Draft { attempt, spnego: None }).ap_req(ticket, env, out)? {
            Initiate::Continue(handshake) => Ok(handshake),
            Initiate::NeedKdc(_) | Initiate::Established(_) => {
                Err(Internal::Invariant("an AP-REQ waits for an answer").into())
            }
        }
    }
}

/// What a handshake keeps from its beginning to its end, whatever mechanism it turns to.
#[derive(Debug)]
struct Attempt {
    config: Arc<InitiatorConfig>,
    framing: Framing,
    clock: Clock,
    /// Why Kerberos was left aside.
    fallback: Option<String>,
    tickets: Vec<client::Credential>,
}

/// A handshake that is about to speak a mechanism's first token.
#[derive(Debug)]
struct Draft {
    attempt: Attempt,
    /// The negotiation, if the server chose this mechanism in the course of one.
    spnego: Option<Negotiation>,
}

impl Draft {
    /// Begins Kerberos: a ticket first.
    fn kerberos(self, env: &mut Env<'_>, out: &mut Vec<u8>) -> Result<Initiate, Reject> {
        let config = &self.attempt.config;
        let client = config.credentials.krb5.as_ref().ok_or(Internal::Invariant("Kerberos has a credential"))?;
        let service = Principal::service("HTTP", &config.host, "");
        let step = client.ticket(&service, config.delegation, env);
        self.acquire(step, env, out)
    }

    fn acquire(mut self, step: Result<Step, Reject>, env: &mut Env<'_>, out: &mut Vec<u8>) -> Result<Initiate, Reject> {
        match step {
            Ok(Step::NeedKdc(inner)) => Ok(Initiate::NeedKdc(NeedKdc { draft: self, inner: Box::new(inner) })),
            Ok(Step::Ticket(mut ticket)) => {
                self.attempt.tickets.append(&mut ticket.new);
                self.ap_req(ticket, env, out)
            }
            Err(reject) => self.without_kerberos(reject, out),
        }
    }

    /// Goes on with NTLM, as browsers do when there is no ticket; without NTLM, what Kerberos said is the end.
    fn without_kerberos(mut self, reject: Reject, out: &mut Vec<u8>) -> Result<Initiate, Reject> {
        if self.spnego.is_some() || !self.attempt.config.mechanisms.contains(&Mechanism::Ntlm) {
            return Err(reject);
        }
        self.attempt.fallback = Some(reject.to_string());
        self.ntlm(out)
    }

    fn ap_req(self, ticket: ServiceTicket, env: &mut Env<'_>, out: &mut Vec<u8>) -> Result<Initiate, Reject> {
        let config = &self.attempt.config;
        let delegate = config.delegation != Delegation::No;
        let options = krb5::initiator::Options {
            mutual: config.mutual,
            delegate,
            bindings: &config.bindings,
            protection: krb5::initiator::Protection::Integrity,
        };
        // The service's own word of its clock, if it gave one, tells more than the KDC's.
        let now = self.attempt.clock.correct(env.now).unwrap_or_else(|| env.now.shifted(ticket.service.clock_offset));
        let mut env = Env { now, entropy: &mut *env.entropy };
        let mut token = Vec::new();
        let pending = krb5::initiator::initiate(&ticket, options, &mut env, &mut token)?;
        let Self { attempt, spnego } = self;
        match spnego {
            // The server chose Kerberos, and this is its last token: our MIC goes with it. RFC 4178 5 (c).
            Some(mut negotiation) if !attempt.config.mutual => {
                let mut session = Session::Krb5(Box::new(pending.finish_one_way()));
                negotiation.carry_last(&mut session, &token, false, out)?;
                let state = State::Last(session);
                Ok(Initiate::Continue(Handshake { attempt, spnego: Some(negotiation), state }))
            }
            spnego => {
                let state = State::ApRep(Box::new(pending), Box::new(ticket));
                Self { attempt, spnego }.first_token(&token, state, out)
            }
        }
    }

    fn ntlm(self, out: &mut Vec<u8>) -> Result<Initiate, Reject> {
        let client = self.attempt.config.credentials.ntlm.as_ref();
        let client = client.ok_or(Internal::Invariant("NTLM has a credential"))?;
        let mut token = Vec::new();
        let negotiated = client.negotiate(&mut token);
        self.first_token(&token, State::Challenge(Box::new(negotiated)), out)
    }

    fn first_token(self, token: &[u8], state: State, out: &mut Vec<u8>) -> Result<Initiate, Reject> {
        let Self { attempt, spnego } = self;
        let spnego = match (spnego, attempt.framing) {
            (Some(negotiation), _) => {
                negotiation.carry(token, out);
                Some(negotiation)
            }
            (None, Framing::Bare) => {
                out.extend_from_slice(token);
                None
            }
            (None, Framing::Spnego) => {
                // Without a ticket Kerberos is not offered: a server that prefers it could not be served.
                let all = attempt.config.mechanisms.as_slice();
                let offered = if attempt.fallback.is_none() { all } else { &[Mechanism::Ntlm] };
                Some(Negotiation::offer(offered, token, out)?)
            }
        };
        Ok(Initiate::Continue(Handshake { attempt, spnego, state }))
    }
}

/// A ticket is needed, and a KDC must be asked for it.
#[derive(Debug)]
pub struct NeedKdc {
    draft: Draft,
    inner: Box<client::NeedKdc>,
}

impl NeedKdc {
    /// The realm whose KDC is meant.
    #[must_use]
    pub fn realm(&self) -> &str {
        self.inner.realm()
    }

    /// What to send it.
    #[must_use]
    pub fn request(&self) -> &[u8] {
        self.inner.request()
    }

    /// Goes on with its answer, or with why there is none.
    ///
    /// # Errors
    /// What the KDC refuses, or [`Unavailable::Kdc`](crate::reject::Unavailable::Kdc); where NTLM may be spoken instead, it is.
    pub fn answer(
        self,
        reply: Result<&[u8], String>,
        env: &mut Env<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Initiate, Reject> {
        let Self { draft, inner } = self;
        let step = match reply {
            Ok(reply) => inner.answer(reply, env),
            Err(why) => inner.unanswered(why),
        };
        draft.acquire(step, env, out)
    }
}

/// A handshake that waits for the server. It belongs to the connection on which its first token went out.
#[derive(Debug)]
pub struct Handshake {
    attempt: Attempt,
    spnego: Option<Negotiation>,
    state: State,
}

/// What the server sends next.
#[derive(Debug)]
enum State {
    /// The AP-REP to our AP-REQ, which was made with this ticket.
    ApRep(Box<krb5::initiator::Pending>, Box<ServiceTicket>),
    /// The CHALLENGE to our NEGOTIATE.
    Challenge(Box<ntlm::initiator::Negotiated>),
    /// Its last word: the mechanism is done on our side.
    Last(Session),
}

/// A mechanism that is done on our side.
#[derive(Debug)]
enum Session {
    Krb5(Box<krb5::initiator::Context>),
    Ntlm(Box<ntlm::initiator::Context>),
}

impl Handshake {
    /// Takes the server's token, of a 401 or of the final answer. What is for the server is appended to `out`.
    ///
    /// # Errors
    /// A [`Reject`] with the reason: [`Peer::Rejected`] if it is the server's, [`Peer::NotMutual`] if it should have proved
    /// itself and did not.
    pub fn step(mut self, token: &[u8], env: &mut Env<'_>, out: &mut Vec<u8>) -> Result<Initiate, Reject> {
        match self.spnego.take() {
            Some(negotiation) => self.step_spnego(negotiation, token, env, out),
            None => self.step_bare(token, env, out),
        }
    }

    fn step_spnego(
        self,
        mut negotiation: Negotiation,
        token: &[u8],
        env: &mut Env<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Initiate, Reject> {
        let mut server_time = None;
        let answer = negotiation.answer(token, |error_token| {
            let (said, time) = in_words(error_token);
            server_time = time;
            said
        });
        let answer = match answer {
            Ok(answer) => answer,
            Err(reject) => return self.refused(reject, server_time, env, out),
        };
        if let Some(mechanism) = answer.switched {
            let mut draft = Draft { attempt: self.attempt, spnego: Some(negotiation) };
            if mechanism == Mechanism::Kerberos {
                return draft.kerberos(env, out);
            }
            draft.attempt.fallback = Some(SERVERS_CHOICE.to_owned());
            return draft.ntlm(out);
        }
        let session = match self.state {
            State::ApRep(pending, _) => match answer.token {
                Some(token) => Session::Krb5(Box::new(pending.finish(token)?)),
                None if self.attempt.config.mutual && answer.state == NegState::AcceptCompleted => {
                    return Err(Peer::NotMutual.into());
                }
                None if self.attempt.config.mutual => {
                    return Err(
                        Malformed::OutOfSequence { wanted: "AP-REP", found: "NegTokenResp without a token" }.into()
                    );
                }
                None => Session::Krb5(Box::new(pending.finish_one_way())),
            },
            State::Challenge(negotiated) => {
                let challenge = answer.token.filter(|_| answer.state != NegState::AcceptCompleted);
                let challenge = challenge.ok_or(Malformed::OutOfSequence {
                    wanted: "NTLM CHALLENGE in a NegTokenResp that goes on",
                    found: "NegTokenResp without one",
                })?;
                let mut token = Vec::new();
                let context = negotiated.respond(challenge, &self.attempt.config.bindings, env, &mut token)?;
                let mut session = Session::Ntlm(Box::new(context));
                // As Windows does where NTLM has a MIC of its own, and ours always has.
                negotiation.carry_last(&mut session, &token, true, out)?;
                let state = State::Last(session);
                return Ok(Initiate::Continue(Self { spnego: Some(negotiation), state, ..self }));
            }
            State::Last(_) if answer.token.is_some_and(|token| !token.is_empty()) => {
                return Err(Malformed::OutOfSequence {
                    wanted: "NegTokenResp without a token: the mechanism is done",
                    found: "another token of the mechanism",
                }
                .into());
            }
            State::Last(session) => session,
        };
        let mut done = Self { state: State::Last(session), spnego: None, ..self };
        let State::Last(session) = &mut done.state else {
            return Err(Internal::Invariant("the state was just made").into());
        };
        match negotiation.conclude(session, &answer, out)? {
            Conclusion::Done => Ok(Initiate::Established(done.established())),
            Conclusion::SentMic => Ok(Initiate::Continue(Self { spnego: Some(negotiation), ..done })),
        }
    }

    fn step_bare(self, token: &[u8], env: &mut Env<'_>, out: &mut Vec<u8>) -> Result<Initiate, Reject> {
        match self.state {
            State::ApRep(..) if is_krb_error(token) => {
                let (said, server_time) = in_words(token);
                self.refused(Peer::Rejected { said }.into(), server_time, env, out)
            }
            State::ApRep(pending, _) => {
                let state = State::Last(Session::Krb5(Box::new(pending.finish(token)?)));
                Ok(Initiate::Established(Self { state, ..self }.established()))
            }
            State::Challenge(negotiated) => {
                let context = negotiated.respond(token, &self.attempt.config.bindings, env, out)?;
                Ok(Initiate::Continue(Self { state: State::Last(Session::Ntlm(Box::new(context))), ..self }))
            }
            State::Last(_) => Err(Malformed::OutOfSequence {
                wanted: "success without a token: NTLM is done",
                found: "another token",
            }
            .into()),
        }
    }

    /// The server said no. If it said no because of the clocks, and told us its own, Kerberos is tried once more with that.
    fn refused(
        self,
        reject: Reject,
        server_time: Option<UnixTime>,
        env: &mut Env<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Initiate, Reject> {
        let Self { mut attempt, state, .. } = self;
        match (state, server_time.and_then(|time| attempt.clock.corrected(env.now, time))) {
            (State::ApRep(_, ticket), Some(clock)) => {
                attempt.clock = clock;
                Draft { attempt, spnego: None }.ap_req(*ticket, env, out)
            }
            _ => Err(reject),
        }
    }

    /// The server answered success and sent no token.
    ///
    /// # Errors
    /// [`Peer::NotMutual`] if it had to prove itself, [`Peer::MechListMicMissing`] if it had to prove the choice of mechanism,
    /// [`Malformed::OutOfSequence`] if the handshake is not so far that it could have succeeded.
    pub fn step_in_silence(self) -> Result<Established, Reject> {
        let mutual_wanted = self.attempt.config.mutual;
        match (&self.state, &self.spnego) {
            (State::ApRep(..), _) if mutual_wanted => return Err(Peer::NotMutual.into()),
            (State::Challenge(_), _) => {
                return Err(Malformed::OutOfSequence {
                    wanted: "NTLM CHALLENGE",
                    found: "success before the password was proved",
                }
                .into());
            }
            (_, Some(negotiation)) => negotiation.conclude_in_silence()?,
            (_, None) => {}
        }
        Ok(self.established())
    }

    fn established(self) -> Established {
        let (mechanism, mutual) = match &self.state {
            State::ApRep(..) => (Mechanism::Kerberos, false),
            State::Last(Session::Krb5(context)) => (Mechanism::Kerberos, context.mutual()),
            State::Challenge(_) | State::Last(Session::Ntlm(_)) => (Mechanism::Ntlm, false),
        };
        let Attempt { fallback, tickets, .. } = self.attempt;
        Established { mechanism, mutual, fallback, tickets }
    }
}

impl mic::Session for Session {
    fn sign(&mut self, message: &[u8]) -> Result<Vec<u8>, Reject> {
        match self {
            Self::Krb5(context) => {
                let mut mic = Vec::new();
                context.sign(message, &mut mic);
                Ok(mic)
            }
            Self::Ntlm(context) => Ok(context.sign(message).to_vec()),
        }
    }

    fn verify(&mut self, message: &[u8], mic: &[u8]) -> bool {
        match self {
            Self::Krb5(context) => context.verify(message, mic).is_ok(),
            Self::Ntlm(context) => context.verify(message, mic),
        }
    }
}

/// Our clock, and by how much a server's differs from it.
#[derive(Clone, Copy, Debug)]
struct Clock {
    /// The server's clock minus ours, in microseconds, once a server told us.
    ahead: Option<i64>,
}

impl Clock {
    fn correct(self, now: UnixTime) -> Option<UnixTime> {
        self.ahead.map(|ahead| UnixTime::from_micros(now.micros().saturating_add_signed(ahead)))
    }

    /// The clock corrected by what the server says, once, and by no more than a ticket lives: nothing protects a KRB-ERROR,
    /// and who may set our clock at will could have authenticators made for later.
    fn corrected(self, now: UnixTime, server: UnixTime) -> Option<Self> {
        let ahead = i64::try_from(i128::from(server.micros()) - i128::from(now.micros())).ok()?;
        let plausible = self.ahead.is_none() && ahead.unsigned_abs() <= MAX_CORRECTION.as_micros() as u64;
        plausible.then_some(Self { ahead: Some(ahead) })
    }
}

fn is_krb_error(token: &[u8]) -> bool {
    KrbToken::parse(token, 0).is_ok_and(|token| token.id == TokenId::Error)
}

/// What the server's error token says, and the server's clock if the clocks are what it complains about.
fn in_words(error_token: &[u8]) -> (String, Option<UnixTime>) {
    let message = KrbToken::parse(error_token, 0).map_or(error_token, |token| token.message);
    let Ok(error) = KrbError::parse(message) else { return (String::new(), None) };
    let mut said = match code::name(error.error_code) {
        Some((name, words)) => format!("{name}: {words}"),
        None => format!("Kerberos error {}", error.error_code),
    };
    if let Some(text) = error.e_text.filter(|text| !text.0.is_empty()) {
        said.push_str(&format!(" ({})", String::from_utf8_lossy(text.0)));
    }
    let skewed = error.error_code == code::KRB_AP_ERR_SKEW;
    let time = UnixTime::from_secs(error.stime.0).plus(Duration::from_micros(error.susec.into()));
    (said, skewed.then_some(time))
}

const MAX_CORRECTION: Duration = Duration::from_secs(12 * 3600);

const SERVERS_CHOICE: &str = "the server chose NTLM from our list";
