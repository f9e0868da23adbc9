//! The acceptor: tokens of a client in, an [`Identity`] or a [`Reject`] out. RFC 2743 2.2.2 as consumed states.

use std::sync::Arc;

use iwa_wire::explain::hex;
use iwa_wire::gss::{InitialToken, MechType};
use iwa_wire::spnego::NegotiationToken;

use crate::binding::{Binding, BindingPolicy, ChannelBindings};
use crate::env::{Env, UnixTime};
use crate::identity::{Identity, Mechanism};
use crate::ports::{LogonError, LogonInfo, NetworkLogon, ReplayKey, ReplayVerdict};
use crate::reject::{Internal, Malformed, Policy, Reason, Reject};
use crate::spnego::acceptor::{Conclusion, Negotiation, is_ntlm, reject};
use crate::{krb5, ntlm};

/// The HTTP authentication scheme under which a token arrives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheme {
    /// `Negotiate`: SPNEGO, and what clients send in its place (raw NTLM, bare Kerberos).
    Negotiate,
    /// `NTLM`: raw NTLM only.
    Ntlm,
}

/// What an acceptor is built from.
#[derive(Debug)]
pub struct AcceptorConfig {
    /// The mechanisms that may be chosen, most preferred first. One that is not here is refused at every door, before a
    /// challenge goes out. The client's first choice comes before this order, since it alone knows what it has tickets for.
    pub mechanisms: Vec<Mechanism>,
    /// Kerberos: keys and policy. `None` if there is no keytab.
    pub krb5: Option<krb5::acceptor::Service>,
    /// NTLM: names and policy. `None` if there is nobody to ask.
    pub ntlm: Option<ntlm::acceptor::Server>,
    /// Extended protection.
    pub binding: BindingPolicy,
}

/// Accepts clients: keys and policy, immutable and shared by all connections. Built once from a configuration, and
/// replaced whole on reload.
#[derive(Clone, Debug)]
pub struct Acceptor {
    config: Arc<AcceptorConfig>,
    terminators: ChannelBindings,
}

impl Acceptor {
    /// An acceptor with this configuration.
    #[must_use]
    pub fn new(mut config: AcceptorConfig) -> Self {
        let (krb5, ntlm) = (config.krb5.is_some(), config.ntlm.is_some());
        config.mechanisms.retain(|mechanism| match mechanism {
            Mechanism::Kerberos => krb5,
            Mechanism::Ntlm => ntlm,
            Mechanism::Basic => false,
        });
        Self { config: Arc::new(config), terminators: ChannelBindings::none() }
    }

    /// The same, behind proxies that end the clients' TLS with certificates of these bindings: a client may present any of them
    /// instead of those of its own connection.
    #[must_use]
    pub fn with_terminators(self, terminators: ChannelBindings) -> Self {
        Self { terminators, ..self }
    }

    /// Begins a handshake on a connection with these channel bindings.
    #[must_use]
    pub fn accept(&self, scheme: Scheme, bindings: &ChannelBindings) -> Handshake {
        let bindings = bindings.clone().or(&self.terminators);
        let terms = Terms { acceptor: self.clone(), scheme, bindings, ntlm: true };
        Handshake { terms, state: State::Initial }
    }

    /// The configuration it was built from; its mechanisms are those that have what they need.
    #[must_use]
    pub fn config(&self) -> &AcceptorConfig {
        &self.config
    }
}

/// A handshake that waits for the client's next token. It belongs to the connection on which it began.
#[derive(Debug)]
pub struct Handshake {
    terms: Terms,
    state: State,
}

/// What holds for a handshake from its beginning to its end.
#[derive(Debug)]
struct Terms {
    acceptor: Acceptor,
    scheme: Scheme,
    bindings: ChannelBindings,
    /// Whether NTLM may be spoken in this handshake, if it is on at all.
    ntlm: bool,
}

/// What the client sends next. A negotiation is there if the client speaks SPNEGO.
#[derive(Debug)]
enum State {
    /// Its first token, of any form.
    Initial,
    /// The first token of the mechanism agreed on.
    MechToken(Negotiation),
    /// The AUTHENTICATE to our CHALLENGE.
    Authenticate(Option<Negotiation>, Box<ntlm::acceptor::Challenged>),
    /// Its mechListMIC: the AP-REP and ours went out.
    Mic(Negotiation, Box<krb5::acceptor::Context>),
}

/// What a step leads to.
#[derive(Debug)]
pub enum Accept {
    /// The output is for the client (401), whose next token goes into this handshake.
    Continue(Handshake),
    /// Ask the replay cache.
    NeedReplayCheck(NeedReplayCheck),
    /// Ask whoever holds the accounts.
    NeedLogon(NeedLogon),
    /// Done. The output, if any, is the final token and goes out with the answer, whatever its status.
    Established(Established),
}

impl Handshake {
    /// The same, in which NTLM is refused although the acceptor takes it elsewhere: IIS's provider `Negotiate:Kerberos`.
    #[must_use]
    pub fn without_ntlm(mut self) -> Self {
        self.terms.ntlm = false;
        self
    }

    /// Takes the client's token. What is for the client is appended to `out`, also when the step fails.
    ///
    /// # Errors
    /// A [`Reject`] with the reason; the handshake is over.
    pub fn step(self, token: &[u8], env: &mut Env<'_>, out: &mut Vec<u8>) -> Result<Accept, Reject> {
        let Self { terms, state } = self;
        if token.is_empty() {
            return Err(Malformed::OutOfSequence { wanted: "a token", found: "an empty one" }.into());
        }
        match state {
            State::Initial => terms.initial(token, env, out),
            State::MechToken(negotiation) => in_spnego(out, |out| terms.mech_token(negotiation, token, env, out)),
            State::Authenticate(Some(negotiation), challenged) => in_spnego(out, |_| {
                let resp = negotiation.next(token)?;
                let token = resp.response_token.ok_or(NO_TOKEN)?;
                let mic = resp.mech_list_mic.map(Box::from);
                terms.ntlm_authenticate(*challenged, Some((negotiation, mic)), token, env)
            }),
            State::Authenticate(None, _) if !is_ntlm(token) => {
                Err(Malformed::OutOfSequence { wanted: "NTLM AUTHENTICATE", found: "a token that is not NTLM" }.into())
            }
            State::Authenticate(None, challenged) => terms.ntlm_authenticate(*challenged, None, token, env),
            State::Mic(negotiation, mut context) => in_spnego(out, |_| {
                let resp = negotiation.next(token)?;
                negotiation.take_mic(&mut *context, &resp)?;
                Ok(Accept::Established(from_kerberos(*context)))
            }),
        }
    }
}

impl Terms {
    fn initial(self, token: &[u8], env: &mut Env<'_>, out: &mut Vec<u8>) -> Result<Accept, Reject> {
        match (self.scheme, token.first()) {
            _ if is_ntlm(token) => self.ntlm_negotiate(None, token, env, out),
            (Scheme::Negotiate, Some(0x60)) => match InitialToken::parse(token, 0)?.mech {
                MechType::SPNEGO => in_spnego(out, |out| self.open(token, env, out)),
                mech if mech.is_krb5() => self.kerberos(None, token, env, out),
                mech => Err(Policy::NoCommonMechanism { offered: mech.to_string() }.into()),
            },
            (Scheme::Negotiate, Some(0xa0)) => in_spnego(out, |out| self.open(token, env, out)),
            (Scheme::Negotiate, Some(0xa1)) => Err(Malformed::OutOfSequence {
                wanted: "NegTokenInit, which begins a negotiation",
                found: "NegTokenResp, which goes on with one",
            }
            .into()),
            _ => {
                let starts = hex(token.get(..8).unwrap_or(token));
                Err(Malformed::Unrecognized { starts }.into())
            }
        }
    }

    /// A `NegTokenInit`.
    fn open(self, token: &[u8], env: &mut Env<'_>, out: &mut Vec<u8>) -> Result<Accept, Reject> {
        let NegotiationToken::Init(init) = NegotiationToken::parse(token)? else {
            return Err(Malformed::OutOfSequence { wanted: "NegTokenInit", found: "NegTokenResp" }.into());
        };
        let preference = &self.acceptor.config().mechanisms;
        let opening = if self.ntlm {
            Negotiation::open(&init, preference)?
        } else {
            let without: Vec<_> = preference.iter().copied().filter(|on| *on != Mechanism::Ntlm).collect();
            Negotiation::open(&init, &without)?
        };
        let mut negotiation = opening.negotiation;
        match (opening.token, negotiation.mechanism()) {
            (Some(token), Mechanism::Kerberos) => {
                self.kerberos(Some((negotiation, opening.mic.map(Box::from))), token, env, out)
            }
            (Some(token), _) => self.ntlm_negotiate(Some(negotiation), token, env, out),
            (None, _) => {
                negotiation.ask(out);
                Ok(Accept::Continue(Handshake { terms: self, state: State::MechToken(negotiation) }))
            }
        }
    }

    /// The first token of the mechanism that was agreed on without one.
    fn mech_token(
        self,
        negotiation: Negotiation,
        token: &[u8],
        env: &mut Env<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Accept, Reject> {
        let resp = negotiation.next(token)?;
        let token = resp.response_token.ok_or(NO_TOKEN)?;
        match negotiation.mechanism() {
            Mechanism::Kerberos => {
                self.kerberos(Some((negotiation, resp.mech_list_mic.map(Box::from))), token, env, out)
            }
            _ => self.ntlm_negotiate(Some(negotiation), token, env, out),
        }
    }

    /// An AP-REQ, in SPNEGO (with the MIC that came beside it) or bare.
    fn kerberos(
        self,
        spnego: Option<(Negotiation, ClientMic)>,
        token: &[u8],
        env: &mut Env<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Accept, Reject> {
        let config = self.acceptor.config();
        let service = config.krb5.as_ref().filter(|_| config.mechanisms.contains(&Mechanism::Kerberos));
        let service = service.ok_or(Policy::MechanismOff(Mechanism::Kerberos))?;
        let mut error_token = Vec::new();
        match service.accept(token, &self.bindings, config.binding, env, &mut error_token) {
            Ok(pending) => {
                Ok(Accept::NeedReplayCheck(NeedReplayCheck { terms: self, spnego, pending: Box::new(pending) }))
            }
            Err(reason) => {
                carry_error(spnego.is_some(), &error_token, out);
                Err(reason)
            }
        }
    }

    /// A NEGOTIATE, in SPNEGO or raw; the answer has the same form.
    fn ntlm_negotiate(
        self,
        mut spnego: Option<Negotiation>,
        token: &[u8],
        env: &mut Env<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Accept, Reject> {
        let server = self.ntlm_server()?;
        let challenged = match &mut spnego {
            Some(negotiation) => {
                let mut challenge = Vec::new();
                let challenged = server.challenge(token, env, &mut challenge)?;
                negotiation.carry(&challenge, out);
                challenged
            }
            None => server.challenge(token, env, out)?,
        };
        Ok(Accept::Continue(Handshake { terms: self, state: State::Authenticate(spnego, Box::new(challenged)) }))
    }

    /// An AUTHENTICATE, in SPNEGO (with the MIC that came beside it) or raw.
    fn ntlm_authenticate(
        self,
        challenged: ntlm::acceptor::Challenged,
        spnego: Option<(Negotiation, ClientMic)>,
        token: &[u8],
        env: &mut Env<'_>,
    ) -> Result<Accept, Reject> {
        let server = self.ntlm_server()?;
        let policy = self.acceptor.config().binding;
        let pending = challenged.authenticate(server, token, &self.bindings, policy, env)?;
        Ok(Accept::NeedLogon(NeedLogon { terms: self, spnego, pending: Box::new(pending) }))
    }

    fn ntlm_server(&self) -> Result<&ntlm::acceptor::Server, Policy> {
        let config = self.acceptor.config();
        let server = config.ntlm.as_ref().filter(|_| self.ntlm && config.mechanisms.contains(&Mechanism::Ntlm));
        server.ok_or(Policy::MechanismOff(Mechanism::Ntlm))
    }
}

/// A mechListMIC as the client sent it, not yet checked.
type ClientMic = Option<Box<[u8]>>;

/// A Kerberos client whose authenticator must be held against the replay cache.
#[derive(Debug)]
pub struct NeedReplayCheck {
    terms: Terms,
    spnego: Option<(Negotiation, ClientMic)>,
    pending: Box<krb5::acceptor::Pending>,
}

impl NeedReplayCheck {
    /// What to look for.
    #[must_use]
    pub fn key(&self) -> ReplayKey {
        self.pending.replay_key()
    }

    /// Until when it must be remembered: after that the clock check refuses it anyway.
    #[must_use]
    pub fn expires(&self) -> UnixTime {
        self.pending.expires()
    }

    /// Goes on with the cache's verdict.
    ///
    /// # Errors
    /// [`Peer::Replay`](crate::reject::Peer::Replay), or
    /// [`Unavailable::ReplayCache`](crate::reject::Unavailable::ReplayCache) if the cache cannot tell.
    pub fn answer(self, verdict: ReplayVerdict, env: &mut Env<'_>, out: &mut Vec<u8>) -> Result<Accept, Reject> {
        let Self { terms, spnego, pending } = self;
        let Some((mut negotiation, client_mic)) = spnego else {
            let context = pending.finish(verdict, env, out)?;
            return Ok(Accept::Established(from_kerberos(context)));
        };
        in_spnego(out, |out| {
            let mut ap_rep = Vec::with_capacity(USUAL_AP_REP);
            let mut context = pending.finish(verdict, env, &mut ap_rep).inspect_err(|_| {
                carry_error(true, &ap_rep, out);
            })?;
            let last_token = if ap_rep.is_empty() { None } else { Some(ap_rep.as_slice()) };
            match negotiation.conclude(&mut context, client_mic.as_deref(), last_token, out)? {
                Conclusion::Done { .. } => Ok(Accept::Established(from_kerberos(context))),
                Conclusion::WantMic => {
                    Ok(Accept::Continue(Handshake { terms, state: State::Mic(negotiation, Box::new(context)) }))
                }
            }
        })
    }
}

/// An NTLM client whose response must be verified by whoever knows the password.
#[derive(Debug)]
pub struct NeedLogon {
    terms: Terms,
    spnego: Option<(Negotiation, ClientMic)>,
    pending: Box<ntlm::acceptor::Pending>,
}

impl NeedLogon {
    /// What to ask.
    #[must_use]
    pub fn request(&self) -> &NetworkLogon {
        self.pending.request()
    }

    /// Goes on with the authority's answer.
    ///
    /// # Errors
    /// The authority's refusal, or what the MIC and the bindings show.
    pub fn answer(
        self,
        answer: Result<LogonInfo, LogonError>,
        _: &mut Env<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Accept, Reject> {
        let Self { terms, spnego, pending } = self;
        let Some((mut negotiation, client_mic)) = spnego else {
            return Ok(Accept::Established(from_ntlm(pending.answer(answer)?, None)));
        };
        in_spnego(out, |out| {
            let mut context = pending.answer(answer)?;
            let proved = match negotiation.conclude(&mut context, client_mic.as_deref(), None, out)? {
                Conclusion::Done { list_proved } => list_proved,
                Conclusion::WantMic => return Err(Internal::Invariant("NTLM's last token is the client's").into()),
            };
            let kerberos_is_on = terms.acceptor.config().mechanisms.contains(&Mechanism::Kerberos);
            let downgraded = kerberos_is_on && negotiation.offered_kerberos() && !proved;
            Ok(Accept::Established(from_ntlm(context, downgraded.then_some(DOWNGRADE))))
        })
    }
}

/// A handshake that ended well.
#[derive(Debug)]
pub struct Established {
    /// Who the client is.
    pub identity: Identity,
    /// The ticket's end, where there is one: no session made from it may live longer.
    pub expires: Option<UnixTime>,
    /// Credentials that the client forwarded (Kerberos).
    pub delegated: Option<krb5::acceptor::Delegated>,
    /// The ticket with which the client came (Kerberos), if the policy wants it.
    pub evidence: Option<Box<krb5::client::Evidence>>,
    /// How the client is tied to its TLS connection.
    pub binding: Binding,
    /// Something the operator should know although the client is in (a downgrade from Kerberos to NTLM).
    pub note: Option<&'static str>,
}

fn from_kerberos(context: krb5::acceptor::Context) -> Established {
    let krb5::acceptor::Context { identity, expires, delegated, evidence, binding, .. } = context;
    Established { identity, expires: Some(expires), delegated, evidence, binding, note: None }
}

fn from_ntlm(context: ntlm::acceptor::Context, note: Option<&'static str>) -> Established {
    let ntlm::acceptor::Context { identity, binding, .. } = context;
    Established { identity, expires: None, delegated: None, evidence: None, binding, note }
}

/// Runs a step of a negotiation. When it fails, the client gets a `reject`, unless the step wrote one with more in it. A
/// refused logon alone goes without: the browser sees a bare challenge and asks for another password, as with IIS.
fn in_spnego(out: &mut Vec<u8>, step: impl FnOnce(&mut Vec<u8>) -> Result<Accept, Reject>) -> Result<Accept, Reject> {
    let before = out.len();
    step(out).inspect_err(|refusal| {
        if out.len() == before && !matches!(refusal.reason, Reason::Logon(_)) {
            reject(&[], out);
        }
    })
}

/// Hands the mechanism's error token on, in the form in which the client speaks.
fn carry_error(spnego: bool, error_token: &[u8], out: &mut Vec<u8>) {
    match (error_token, spnego) {
        ([], _) => {}
        (token, true) => reject(token, out),
        (token, false) => out.extend_from_slice(token),
    }
}

/// Bytes that hold an AP-REP with a subkey, in its GSS-API framing.
const USUAL_AP_REP: usize = 192;

const NO_TOKEN: Malformed = Malformed::OutOfSequence {
    wanted: "NegTokenResp with a token of the mechanism that was agreed on",
    found: "NegTokenResp without one",
};

const DOWNGRADE: &str = "the client listed Kerberos, came with NTLM, and sent no mechListMIC: it found no ticket for this \
    host, or somebody changed its list of mechanisms; register HTTP/host for the service account, or turn NTLM off";
