//! One request in, an identity or a refusal out: the driver of [`iwa_auth::accept`] for HTTP. RFC 4559, RFC 9110 11, MS-NTHT.
//!
//! ```text
//! Authorization?  none ----------> the connection's identity, or anonymous, or 401.2 with the challenges
//!                 Negotiate/NTLM -> the connection's handshake (or a new one) -> step -> 401.1 with a token, or admitted
//!                 Basic ---------> Logon::password
//!                 another -------> as none: it is the application's
//! ```
//!
//! Whatever goes wrong, the connection forgets what it knew and the request is refused.

use core::fmt;
use core::net::IpAddr;
use core::time::Duration;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::header::{AUTHORIZATION, FORWARDED, HeaderName, HeaderValue, VIA};
use http::{HeaderMap, Version};
use iwa_auth::krb5::acceptor::Delegated;
use iwa_auth::krb5::client::Evidence;
use iwa_auth::ports::{Logon, LogonError, ReplayCache};
use iwa_auth::reject::{Internal, Peer, Policy as Forbidden, Reason, Unavailable};
use iwa_auth::{Accept, Acceptor, Binding, Env, Established, Handshake, Identity, Mechanism, Scheme, Secret, UnixTime};

use crate::attempts::{Attempts, Failed};
use crate::challenge::{Challenges, FinalToken, Provider, token_line};
use crate::connection::{Connection, HalfOpen, Halfway, Known, State};
use crate::credentials::{Credentials, Password};
use crate::status::Status;
use crate::system::{EntropyOf, System};

/// The authentication section of a site, in IIS's words.
#[derive(Clone, Debug)]
pub struct Policy {
    /// `<anonymousAuthentication enabled>`: a request without credentials is served, as nobody.
    pub anonymous: bool,
    /// `<windowsAuthentication><providers>`, in the order in which they are offered. Empty: Windows authentication is off.
    pub providers: Vec<Provider>,
    /// `<basicAuthentication enabled realm>`: the realm. Taken over TLS or from this machine only.
    pub basic_realm: Option<String>,
    /// `authPersistSingleRequest`: every request authenticates anew, NTLM included.
    pub persist_single_request: bool,
    /// `authPersistNonNTLM`: Kerberos too authenticates the connection. NTLM always does.
    pub persist_non_ntlm: bool,
    /// `tokenChecking=Require` for this part of a site whose acceptor allows: whoever proves themselves with a token counts here
    /// only if the token is tied to the TLS connection, also where it came earlier and elsewhere. The acceptor must look at
    /// bindings at all; where it does not, nobody counts.
    pub bound_only: bool,
    /// Requests that a proxy forwarded (`Via`, `Forwarded`, `X-Forwarded-*`, `X-Real-IP`) may rely on the connection. Say so only of a
    /// proxy that never sends two clients' requests over one connection.
    pub proxy_pins_connections: bool,
}

impl Default for Policy {
    /// IIS with anonymous authentication off and Windows authentication on, as its installer sets them.
    fn default() -> Self {
        Self {
            anonymous: false,
            providers: vec![Provider::Negotiate, Provider::Ntlm],
            basic_realm: None,
            persist_single_request: false,
            persist_non_ntlm: true,
            bound_only: false,
            proxy_pins_connections: false,
        }
    }
}

/// What the authenticator asks of the world around it.
#[derive(Clone)]
pub struct Ports {
    /// Whoever holds the accounts.
    pub logon: Arc<dyn Logon>,
    /// The memory of Kerberos authenticators: one for all authenticators of a server.
    pub replay: Arc<dyn ReplayCache>,
    /// The handshakes that wait for clients: one for all authenticators of a server.
    pub half_open: Arc<HalfOpen>,
    /// The memory of wrong passwords: one for all authenticators of a server.
    pub attempts: Arc<Attempts>,
    /// Clock and randomness.
    pub system: Arc<dyn System>,
    /// How long the accounts may take to answer.
    pub logon_timeout: Duration,
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ports").field("half_open", &self.half_open).finish_non_exhaustive()
    }
}

/// Authenticates the requests of a site. Shared by all its connections; what belongs to one connection is in its
/// [`Connection`].
#[derive(Debug)]
pub struct Authenticator {
    policy: Policy,
    challenges: Challenges,
    acceptor: Arc<ArcSwap<Acceptor>>,
    ports: Ports,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Outcome {
    /// It goes on. The application's answer must carry [`Admitted::final_token`], whatever its status.
    Admitted(Admitted),
    /// It is answered here.
    Refused(Box<Refused>),
}

/// A request that goes on.
#[derive(Debug, Default)]
pub struct Admitted {
    /// Who sent it; `None` is anonymous.
    pub identity: Option<Arc<Identity>>,
    /// Whether this very request proved it; otherwise its connection did earlier.
    pub by_token: bool,
    /// What the answer must carry.
    pub final_token: FinalToken,
    /// Credentials that the client forwarded with this request (Kerberos), or earlier on its connection where the acceptor
    /// hands out evidence.
    pub delegated: Option<Arc<Delegated>>,
    /// The ticket with which the client came, now or earlier on its connection, where the acceptor hands it out
    /// ([`ServicePolicy::evidence`](iwa_auth::krb5::acceptor::ServicePolicy::evidence)).
    pub evidence: Option<Arc<Evidence>>,
    /// How this request's token is tied to the TLS connection; unchecked if it has none.
    pub binding: Binding,
    /// The end of the ticket that this request brought, if it did: what is made of it must not live longer.
    pub expires: Option<UnixTime>,
    /// What the operator should know although the client is in.
    pub note: Option<&'static str>,
}

/// A request that is answered with a refusal or a challenge.
#[derive(Debug)]
pub struct Refused {
    /// The numbers of the answer.
    pub status: Status,
    /// Its `WWW-Authenticate` lines.
    pub challenges: Vec<HeaderValue>,
    /// Why, if it is more than a normal leg of a handshake. For the log, never for the client.
    pub reason: Option<Reason>,
    /// The mechanism that failed or is under way, where it is known.
    pub scheme: Option<&'static str>,
    /// Whom the client claimed to be, where it came so far. Not proven; for the log.
    pub claimed: Option<String>,
    /// What the operator should know although it is not a failure.
    pub note: Option<&'static str>,
    /// A handshake is under way on this connection: it must stay open, so the request's body must be read.
    pub keep_connection: bool,
}

impl Authenticator {
    /// An authenticator of this policy.
    #[must_use]
    pub fn new(policy: Policy, acceptor: Acceptor, ports: Ports) -> Self {
        let challenges = Challenges::new(&policy.providers, policy.basic_realm.as_deref());
        Self { policy, challenges, acceptor: Arc::new(ArcSwap::from_pointee(acceptor)), ports }
    }

    /// The same with another policy: for a part of the site. Both share keys, ports and connections; what a connection proved
    /// counts under each as far as its own policy takes it.
    #[must_use]
    pub fn with_policy(&self, policy: Policy) -> Self {
        let challenges = Challenges::new(&policy.providers, policy.basic_realm.as_deref());
        Self { policy, challenges, acceptor: Arc::clone(&self.acceptor), ports: self.ports.clone() }
    }

    /// The policy it was made with.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The mechanisms' keys and policy of now.
    #[must_use]
    pub fn acceptor(&self) -> Arc<Acceptor> {
        self.acceptor.load_full()
    }

    /// Takes other keys or another policy of the mechanisms, whole, for all that [`Authenticator::with_policy`] made too. Handshakes under way end with what they began with.
    pub fn replace_acceptor(&self, acceptor: Acceptor) {
        self.acceptor.store(Arc::new(acceptor));
    }

    /// Authenticates one request of `connection`.
    ///
    /// Requests of one connection come one after the other (HTTP/1.1 says so, RFC 9112 9.3.2).
    pub async fn authenticate(&self, connection: &Connection, version: Version, headers: &HeaderMap) -> Outcome {
        self.authenticate_from(connection.peer().ip(), connection, version, headers).await
    }

    /// The same where a proxy speaks for the client, whose address is `client`. Wrong passwords are counted by it.
    pub async fn authenticate_from(
        &self,
        client: IpAddr,
        connection: &Connection,
        version: Version,
        headers: &HeaderMap,
    ) -> Outcome {
        connection.count_request();
        match Credentials::of(headers) {
            Ok(None) => self.without_credentials(connection, version, headers),
            Ok(Some(Credentials::Windows(scheme, token))) => {
                self.with_token(connection, version, headers, scheme, &token).await
            }
            Ok(Some(Credentials::Basic(password))) if self.policy.basic_realm.is_some() => {
                connection.forget();
                self.with_password(client, connection, &password).await
            }
            Ok(Some(Credentials::Basic(_) | Credentials::Other)) => {
                self.without_credentials(connection, version, headers)
            }
            Err(malformed) => {
                connection.forget();
                self.refuse(connection, malformed.into(), None, &[])
            }
        }
    }

    /// Whether a request brings credentials that are for [`Authenticator::authenticate`] to judge, good or bad. Those of
    /// another scheme are the application's.
    #[must_use]
    pub fn is_asked_by(&self, headers: &HeaderMap) -> bool {
        if !headers.contains_key(AUTHORIZATION) {
            return false;
        }
        match Credentials::of(headers) {
            Ok(Some(Credentials::Basic(_))) => self.policy.basic_realm.is_some(),
            Ok(None | Some(Credentials::Other)) => false,
            Ok(Some(Credentials::Windows(..))) | Err(_) => true,
        }
    }

    /// Admits a request without credentials of its own by the session that it brought. What its connection knows stays as it
    /// is, but for a handshake under way, which this request gives up.
    pub fn admit_session(&self, connection: &Connection, identity: Arc<Identity>) -> Admitted {
        connection.count_request();
        let note = connection.give_up_handshake().then_some(GIVEN_UP);
        Admitted { identity: Some(identity), note, ..Admitted::default() }
    }

    /// The answer to a request that must be authenticated and is not: for rules that find, after
    /// [`Authenticator::authenticate`], that nobody is not enough.
    #[must_use]
    pub fn challenge(&self, connection: &Connection) -> Refused {
        let challenges = self.fit_for(connection, self.challenges.initial(connection.keeps_secrets()));
        // Where nothing at all can be offered, that is the reason, and not the client's fault.
        let why =
            connection.for_one_request().filter(|_| self.policy.providers.iter().any(|p| p.takes(Mechanism::Ntlm)));
        let reason = why.filter(|_| challenges.is_empty()).map(|why| Forbidden::NotOnThisConnection { why }.into());
        Refused {
            status: Status::CHALLENGE,
            note: why.filter(|_| reason.is_none()),
            reason,
            challenges,
            scheme: None,
            claimed: None,
            keep_connection: false,
        }
    }

    /// Those of the challenges that a client of this connection can answer: NTLM takes two requests of one connection.
    fn fit_for(&self, connection: &Connection, lines: impl Iterator<Item = HeaderValue>) -> Vec<HeaderValue> {
        let ntlm = connection.for_one_request().is_none();
        lines.filter(|line| ntlm || line.as_bytes() != crate::challenge::scheme_name(Scheme::Ntlm).as_bytes()).collect()
    }

    fn without_credentials(&self, connection: &Connection, version: Version, headers: &HeaderMap) -> Outcome {
        if let Some(known) = connection.known() {
            if self.still_stands(connection, &known, version, headers) {
                let Known { identity, evidence, delegated, .. } = known;
                return Outcome::Admitted(Admitted {
                    identity: Some(identity),
                    evidence,
                    delegated,
                    ..Admitted::default()
                });
            }
            connection.forget();
        }
        let note = connection.forget().then_some(GIVEN_UP);
        if self.policy.anonymous {
            return Outcome::Admitted(Admitted { note, ..Admitted::default() });
        }
        let challenge = self.challenge(connection);
        Outcome::Refused(Box::new(Refused { note: note.or(challenge.note), ..challenge }))
    }

    /// Whether an identity that its connection proved earlier holds for this request, under the policy of now.
    fn still_stands(&self, connection: &Connection, known: &Known, version: Version, headers: &HeaderMap) -> bool {
        let mechanism = known.identity.mechanism();
        self.persists(mechanism)
            && self.tied(known.binding)
            && self.policy.providers.iter().any(|provider| provider.takes(mechanism))
            && known.expires.is_none_or(|end| self.ports.system.now() < end)
            && self.of_one_client(connection, version, headers).is_ok()
    }

    /// Whether a token that is tied so to its connection counts.
    const fn tied(&self, binding: Binding) -> bool {
        !self.policy.bound_only || matches!(binding, Binding::Bound)
    }

    const fn persists(&self, mechanism: Mechanism) -> bool {
        match mechanism {
            Mechanism::Ntlm => !self.policy.persist_single_request,
            Mechanism::Kerberos => self.policy.persist_non_ntlm && !self.policy.persist_single_request,
            Mechanism::Basic => false,
        }
    }

    /// Whether a connection can be somebody's: all its requests are one client's, as far as this request shows it.
    ///
    /// # Errors
    /// They may be several clients', or stand each for itself, and why.
    pub fn one_client(&self, connection: &Connection, version: Version, headers: &HeaderMap) -> Result<(), Reason> {
        Ok(self.of_one_client(connection, version, headers)?)
    }

    fn of_one_client(&self, connection: &Connection, version: Version, headers: &HeaderMap) -> Result<(), Forbidden> {
        if let Some(why) = connection.for_one_request() {
            return Err(Forbidden::NotOnThisConnection { why });
        }
        if connection.is_told() {
            return Ok(());
        }
        if version == Version::HTTP_2 {
            let why =
                "it speaks HTTP/2, where each request stands for itself; the client is to come back with HTTP/1.1";
            return Err(Forbidden::NotOnThisConnection { why });
        }
        if version != Version::HTTP_11 {
            return Err(Forbidden::NotOnThisConnection { why: "it does not speak HTTP/1.1" });
        }
        if connection.is_shared() {
            let why = "the proxy in front sends the requests of several clients over it, as it says itself";
            return Err(Forbidden::NotOnThisConnection { why });
        }
        if connection.has_front() && !self.policy.proxy_pins_connections {
            let why = "a proxy is at its other end, and may send the requests of several clients over it";
            return Err(Forbidden::NotOnThisConnection { why });
        }
        if !self.policy.proxy_pins_connections && OF_PROXIES.iter().any(|name| headers.contains_key(name)) {
            return Err(Forbidden::NotOnThisConnection {
                why: "a proxy forwards requests over it (Via, Forwarded, X-Forwarded-* or X-Real-IP) and may mix its clients",
            });
        }
        Ok(())
    }

    async fn with_token(
        &self,
        connection: &Connection,
        version: Version,
        headers: &HeaderMap,
        scheme: Scheme,
        token: &[u8],
    ) -> Outcome {
        let one_client = self.of_one_client(connection, version, headers);
        // From here on the connection knows nobody, until this step says otherwise.
        let Some((before, turn)) = connection.begin() else {
            let why = "another of its requests is being authenticated at the same time";
            return self.refuse(connection, Forbidden::NotOnThisConnection { why }.into(), Some(scheme), &[]);
        };
        if !self.challenges.offers(scheme) {
            let scheme_off = Forbidden::SchemeOff { scheme: crate::challenge::scheme_name(scheme) };
            return self.refuse(connection, scheme_off.into(), Some(scheme), &[]);
        }
        if let (Some(why), Scheme::Ntlm) = (connection.for_one_request(), scheme) {
            return self.refuse(connection, Forbidden::NotOnThisConnection { why }.into(), Some(scheme), &[]);
        }
        let handshake = match self.handshake(connection, before, scheme, &one_client) {
            Ok(handshake) => handshake,
            Err(reason) => return self.refuse(connection, reason, Some(scheme), &[]),
        };

        let mut out = Vec::with_capacity(USUAL_ANSWER);
        let mut claimed = None;
        let reason = match self.drive(handshake, token, &mut out, &mut claimed).await {
            Ok(Step::Continue(handshake)) => match self.park(scheme, handshake, one_client) {
                Ok(halfway) => {
                    turn.end(State::Halfway(halfway));
                    return Outcome::Refused(Box::new(Refused {
                        status: Status::CONTINUE,
                        challenges: vec![token_line(scheme, &out)],
                        scheme: Some(crate::challenge::scheme_name(scheme)),
                        keep_connection: true,
                        ..self.challenge(connection)
                    }));
                }
                Err(reason) => {
                    out.clear();
                    reason
                }
            },
            Ok(Step::Established(established)) => {
                let Established { identity, expires, delegated, evidence, binding, note } = *established;
                if !self.policy.providers.iter().any(|p| p.scheme() == scheme && p.takes(identity.mechanism())) {
                    let off = Forbidden::MechanismOff(identity.mechanism());
                    return self.refuse(connection, off.into(), Some(scheme), &[]);
                }
                if !self.tied(binding) {
                    return self.refuse(connection, Peer::BindingMissing.into(), Some(scheme), &[]);
                }
                let identity = Arc::new(identity);
                let persistent = one_client.is_ok() && self.persists(identity.mechanism());
                let (delegated, evidence) = (delegated.map(Arc::new), evidence.map(Arc::from));
                if persistent {
                    turn.end(State::Known(Known {
                        identity: Arc::clone(&identity),
                        expires,
                        binding,
                        // Kept for as long as the connection only where somebody needs it.
                        delegated: delegated.clone().filter(|_| evidence.is_some()),
                        evidence: evidence.clone(),
                        session: None,
                    }));
                }
                let final_token = FinalToken {
                    line: (!out.is_empty()).then(|| token_line(scheme, &out)),
                    persistent: Some(persistent),
                };
                return Outcome::Admitted(Admitted {
                    identity: Some(identity),
                    by_token: true,
                    final_token,
                    delegated,
                    evidence,
                    binding,
                    expires,
                    note,
                });
            }
            Err(reason) => match (reason, connection.for_one_request()) {
                // It is on, but not here.
                (Reason::Policy(Forbidden::MechanismOff(Mechanism::Ntlm)), Some(why))
                    if self.policy.providers.iter().any(|p| p.scheme() == scheme && p.takes(Mechanism::Ntlm)) =>
                {
                    Forbidden::NotOnThisConnection { why }.into()
                }
                (reason, _) => reason,
            },
        };
        drop(turn);
        match self.refuse(connection, reason, Some(scheme), &out) {
            Outcome::Refused(refused) => Outcome::Refused(Box::new(Refused { claimed, ..*refused })),
            admitted @ Outcome::Admitted(_) => admitted,
        }
    }

    /// The handshake that this token goes into: the connection's if it waits for one of this scheme, else a new one.
    fn handshake(
        &self,
        connection: &Connection,
        before: State,
        scheme: Scheme,
        one_client: &Result<(), Forbidden>,
    ) -> Result<Handshake, Reason> {
        if let State::Halfway(halfway) = before {
            if let Err(forbidden) = one_client {
                return Err(forbidden.clone().into());
            }
            match halfway.resume(self.ports.system.now(), self.ports.half_open.age()) {
                Ok((begun, handshake)) if begun == scheme => return Ok(handshake),
                // Another scheme mid-way begins anew; if its token does not begin anything, the mechanism says so.
                Ok(_) => {}
                Err(_) => return Err(Peer::ChallengeExpired.into()),
            }
        }
        let handshake = self.acceptor.load().accept(scheme, &connection.bindings());
        let takes_ntlm = |provider: &Provider| provider.scheme() == scheme && provider.takes(Mechanism::Ntlm);
        let ntlm = connection.for_one_request().is_none() && self.policy.providers.iter().any(takes_ntlm);
        Ok(if ntlm { handshake } else { handshake.without_ntlm() })
    }

    fn park(&self, scheme: Scheme, handshake: Handshake, one_client: Result<(), Forbidden>) -> Result<Halfway, Reason> {
        one_client?;
        Ok(self.ports.half_open.park(scheme, handshake, self.ports.system.now())?)
    }

    /// Steps through everything that needs no further token of the client.
    async fn drive(
        &self,
        handshake: Handshake,
        token: &[u8],
        out: &mut Vec<u8>,
        claimed: &mut Option<String>,
    ) -> Result<Step, Reason> {
        let system = &*self.ports.system;
        let now = system.now();
        let mut accept = {
            let env = &mut Env { now, entropy: &mut EntropyOf(system) };
            handshake.step(token, env, out).map_err(|reject| reject.reason)?
        };
        for _ in 0..MOST_QUESTIONS {
            accept = match accept {
                Accept::Continue(handshake) => return Ok(Step::Continue(handshake)),
                Accept::Established(established) => return Ok(Step::Established(Box::new(established))),
                Accept::NeedReplayCheck(need) => {
                    let verdict = self.ports.replay.check(need.key(), now, need.expires());
                    let env = &mut Env { now, entropy: &mut EntropyOf(system) };
                    need.answer(verdict, env, out)
                }
                Accept::NeedLogon(need) => {
                    let logon = need.request();
                    *claimed = Some(format!("{}\\{}", logon.domain, logon.user));
                    let answer = self.in_time(self.ports.logon.network(logon)).await;
                    let env = &mut Env { now: system.now(), entropy: &mut EntropyOf(system) };
                    need.answer(answer, env, out)
                }
            }
            .map_err(|reject| reject.reason)?;
        }
        Err(Internal::Invariant("a handshake asks more questions than any mechanism has").into())
    }

    /// Verifies a name and a password that came otherwise than in `Authorization`, from a form: as Basic does, whether that is
    /// on or not. Nothing of it stays with the connection, and the challenges of a refusal are those of this authenticator.
    pub async fn password(
        &self,
        client: IpAddr,
        connection: &Connection,
        name: &str,
        password: Secret<String>,
    ) -> Outcome {
        self.with_password(client, connection, &Password::new(name.to_owned(), password)).await
    }

    async fn with_password(&self, client: IpAddr, connection: &Connection, given: &Password) -> Outcome {
        if !connection.keeps_secrets() {
            return self.refuse(connection, Forbidden::BasicInClear.into(), None, &[]);
        }
        let logon = self.ports.logon.password(&given.domain, &given.user, &given.password);
        let now = || self.ports.system.now();
        let mut note = None;
        let answer = self.ports.attempts.ask(now, client, &given.user, given.password.expose(), logon);
        // To wait for one's turn is to wait for an answer, too.
        let answer = self.in_time(async { Ok(answer.await) }).await.unwrap_or_else(|late| Err(Failed::Logon(late)));
        let reason = match answer {
            Ok(verified) => {
                let identity = Some(Arc::new(Identity::from_password(verified)));
                return Outcome::Admitted(Admitted { identity, by_token: true, ..Admitted::default() });
            }
            Err(Failed::Logon(LogonError::Refused(status))) => Reason::Logon(status),
            Err(Failed::Logon(LogonError::Unavailable(why))) => Unavailable::Accounts(why).into(),
            Err(Failed::Again(status)) => {
                note = Some(AGAIN);
                Reason::Logon(status)
            }
            Err(Failed::TooMany(of)) => Forbidden::TooManyPasswords { of }.into(),
        };
        let status = Status::of_password(&reason);
        let mut refused = self.challenge(connection);
        if status.http != http::StatusCode::UNAUTHORIZED {
            // Nobody is asked for another password because nobody could be asked about this one.
            refused.challenges.clear();
        }
        Outcome::Refused(Box::new(Refused {
            status,
            reason: Some(reason),
            scheme: Some("Basic"),
            claimed: Some(given.name()),
            note,
            ..refused
        }))
    }

    /// An authority that does not answer in time is one that cannot be asked.
    async fn in_time<T>(&self, answer: impl Future<Output = Result<T, LogonError>>) -> Result<T, LogonError> {
        tokio::time::timeout(self.ports.logon_timeout, answer).await.unwrap_or_else(|_| {
            let seconds = self.ports.logon_timeout.as_secs();
            Err(LogonError::Unavailable(format!("no answer within {seconds} seconds")))
        })
    }

    fn refuse(&self, connection: &Connection, reason: Reason, scheme: Option<Scheme>, error_token: &[u8]) -> Outcome {
        let status = Status::of(&reason);
        let basic = connection.keeps_secrets();
        let challenges = match scheme {
            _ if status.http != http::StatusCode::UNAUTHORIZED => Vec::new(),
            Some(scheme) if !error_token.is_empty() && helps_the_client(&reason) => {
                self.fit_for(connection, self.challenges.refusing(scheme, error_token, basic))
            }
            _ => self.fit_for(connection, self.challenges.initial(basic)),
        };
        Outcome::Refused(Box::new(Refused {
            status,
            challenges,
            reason: Some(reason),
            scheme: scheme.map(crate::challenge::scheme_name),
            ..self.challenge(connection)
        }))
    }
}

enum Step {
    Continue(Handshake),
    Established(Box<Established>),
}

/// Whether the error token is worth sending: a KRB-ERROR lets a client correct its clock or drop a stale ticket. After
/// everything else a bare challenge serves better, because a browser takes that for "ask for another password" and a token
/// for a broken server.
const fn helps_the_client(reason: &Reason) -> bool {
    matches!(
        reason,
        Reason::Peer(
            Peer::ClockSkew { .. }
                | Peer::TicketExpired { .. }
                | Peer::TicketNotYetValid { .. }
                | Peer::NoKey { .. }
                | Peer::TicketIntegrity { .. }
                | Peer::WrongService { .. }
        )
    )
}

/// What proxies add to a request that is not their own. Some that end TLS add nothing but the scheme.
static OF_PROXIES: [HeaderName; 6] = [
    VIA,
    FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-real-ip"),
];

const GIVEN_UP: &str = "a request without credentials came in the middle of a handshake, which is given up: the client \
    changed its mind, or a proxy shares this connection among clients";

const AGAIN: &str =
    "the same password failed a moment ago: nobody was asked again, so that it does not count towards a lock-out";

/// Bytes that hold an AP-REP in SPNEGO, and most CHALLENGEs.
const USUAL_ANSWER: usize = 256;

/// A replay check and a logon at most, and some room.
const MOST_QUESTIONS: usize = 4;
