//! The client of a KDC: from a password, keys or tickets to a ticket for a service. RFC 4120 3.1, 3.3; RFC 6806.
//!
//! ```text
//! Client::ticket --> a ticket is at hand ------------------------------------------------> Ticket
//!      |                                                                                    ^
//!      |  no TGT                       TGT                      ticket, or a referral       |
//!      '---------> NeedKdc (AS-REQ) ---------> NeedKdc (TGS-REQ) --------------------------.|
//!                   ^  | pre-authentication,      ^  | referral: the next realm's KDC       ||
//!                   '--' clock, realm             '--'                                      ||
//!                                       a forwarded TGT where it may be delegated <---------'|
//! ```
//!
//! [`Client::for_user`] and [`Client::on_behalf`] go the same way, and get tickets of somebody else.
//!
//! Whoever drives it sends [`NeedKdc::request`] to a KDC of [`NeedKdc::realm`] and hands the answer to [`NeedKdc::answer`].

mod as_exchange;
mod credential;
mod on_behalf;
mod tgs_exchange;

use std::sync::Arc;

use iwa_wire::ParseError;
use iwa_wire::error::ErrorKind;
use iwa_wire::krb5::{KrbError, Principal, TicketFlags, principal::name_type};

use self::as_exchange::AsExchange;
pub use self::credential::Credential;
use self::on_behalf::Behalf;
pub use self::on_behalf::Evidence;
use self::tgs_exchange::{Purpose, TgsExchange};
use super::etype::{Etype, Key};
use crate::env::{Env, UnixTime};
use crate::reject::{Internal, Peer, Policy, Reject, Unavailable};
use crate::secret::Secret;

/// Who the client is and what it has. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    principal: Principal,
    long_term: LongTerm,
    credentials: Vec<Credential>,
    policy: ClientPolicy,
}

/// The client's own key.
#[derive(Clone, Debug)]
pub enum LongTerm {
    /// There is none: only tickets.
    None,
    /// A password, from which the KDC's salt makes the key.
    Password(Secret<String>),
    /// Keys of a keytab, with their version.
    Keys(Vec<(u32, Key)>),
}

/// What the client asks for.
#[derive(Clone, Debug)]
pub struct ClientPolicy {
    /// The encryption types it takes, most wanted first. Without RC4 unless somebody adds it.
    pub etypes: Vec<Etype>,
    /// How long a TGT shall live, in seconds; the KDC may give less.
    pub lifetime: u32,
    /// Whether the TGT shall be forwardable, without which nothing can be delegated.
    pub forwardable: bool,
    /// The realm of a service for which none is given. Empty: the KDC of the client's realm says where it is.
    pub service_realm: String,
    /// The realm of a service that the KDC of the client's realm neither knows nor refers to another, if no other is told:
    /// mostly its DNS domain in upper case. Empty: none.
    pub fallback_realm: String,
}

impl Default for ClientPolicy {
    fn default() -> Self {
        let etypes = Etype::ALL.into_iter().filter(|etype| !etype.is_weak()).collect();
        let (service_realm, fallback_realm) = (String::new(), String::new());
        Self { etypes, lifetime: 10 * 3600, forwardable: true, service_realm, fallback_realm }
    }
}

/// Whether a service is given a TGT of the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Delegation {
    /// Never.
    #[default]
    No,
    /// If the KDC marks the service's ticket `ok-as-delegate`, as browsers do.
    IfTrusted,
    /// Whatever the KDC says of the service.
    Always,
}

impl Client {
    /// A client with a key of its own.
    #[must_use]
    pub fn new(principal: Principal, long_term: LongTerm) -> Self {
        let (credentials, policy) = (Vec::new(), ClientPolicy::default());
        Self { inner: Arc::new(Inner { principal, long_term, credentials, policy }) }
    }

    /// The same with tickets that it has already, of a credential cache or of an earlier [`ServiceTicket`].
    #[must_use]
    pub fn with_credentials(&self, credentials: Vec<Credential>) -> Self {
        let Inner { principal, long_term, policy, .. } = &*self.inner;
        let inner =
            Inner { principal: principal.clone(), long_term: long_term.clone(), credentials, policy: policy.clone() };
        Self { inner: Arc::new(inner) }
    }

    /// The same with another policy.
    #[must_use]
    pub fn with_policy(&self, policy: ClientPolicy) -> Self {
        let Inner { principal, long_term, credentials, .. } = &*self.inner;
        let inner = Inner {
            principal: principal.clone(),
            long_term: long_term.clone(),
            credentials: credentials.clone(),
            policy,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Who it is.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.inner.principal
    }

    /// What it asks for.
    #[must_use]
    pub fn policy(&self) -> &ClientPolicy {
        &self.inner.policy
    }

    /// The tickets that it began with.
    #[must_use]
    pub fn credentials(&self) -> &[Credential] {
        &self.inner.credentials
    }

    /// Begins to get a ticket for `service`. If its realm is empty, [`ClientPolicy::service_realm`] holds.
    ///
    /// # Errors
    /// [`Policy::NoCredential`] if there is neither a ticket nor a key to ask with.
    pub fn ticket(&self, service: &Principal, delegation: Delegation, env: &mut Env<'_>) -> Result<Step, Reject> {
        let mut service = service.clone();
        if service.realm.is_empty() {
            service.realm.clone_from(&self.inner.policy.service_realm);
        }
        let task = Task { delegation, ..Task::new(self, service) };
        let now = env.now;
        if let Some(credential) = task.find(|credential| task.is_service(credential) && credential.is_valid(now)) {
            return task.have_service(credential, env);
        }
        task.begin(env)
    }

    /// Begins S4U2Self: a ticket of `user` for ourselves, though the user is not here. It is [`ServiceTicket::evidence`].
    ///
    /// # Errors
    /// As [`Client::ticket`]; [`Policy::Delegation`] for a user of another realm.
    pub fn for_user(&self, user: &Principal, env: &mut Env<'_>) -> Result<Step, Reject> {
        let own = &self.inner.principal;
        if !user.realm.eq_ignore_ascii_case(&own.realm) {
            let why =
                format!("{user} is of another realm than our account, {own}: protocol transition is done within one");
            return Err(Policy::Delegation { why }.into());
        }
        let user = Principal { realm: own.realm.clone(), ..user.clone() };
        Task { behalf: Some(Behalf::User(user)), ..Task::new(self, own.clone()) }.begin(env)
    }

    /// Begins S4U2Proxy: a ticket for `service` of the user whose ticket for ourselves is `evidence`. One that is not
    /// forwardable is refused here, unless the KDC shall decide (`resource_based`): where the service's owner allows it, and not the
    /// domain, it takes such a ticket too, except of accounts that must not be delegated.
    ///
    /// # Errors
    /// As [`Client::ticket`]; [`Policy::Delegation`] for a ticket that must not be used so.
    pub fn on_behalf(
        &self,
        evidence: &Evidence,
        service: &Principal,
        resource_based: bool,
        env: &mut Env<'_>,
    ) -> Result<Step, Reject> {
        evidence.usable(resource_based)?;
        let service = Principal { realm: self.inner.principal.realm.clone(), ..service.clone() };
        Task { behalf: Some(Behalf::Evidence(evidence.clone())), ..Task::new(self, service) }.begin(env)
    }

    /// Begins to get a TGT, whatever tickets there are.
    ///
    /// # Errors
    /// As [`Client::ticket`].
    pub fn initial(&self, env: &mut Env<'_>) -> Result<Step, Reject> {
        let realm = &self.inner.principal.realm;
        Task::new(self, Principal::krbtgt(realm, realm)).need_tgt(env)
    }
}

/// What a step leads to.
#[derive(Debug)]
pub enum Step {
    /// Ask a KDC.
    NeedKdc(NeedKdc),
    /// The ticket is here.
    Ticket(ServiceTicket),
}

/// A ticket for the service, and what came with it.
#[derive(Clone, Debug)]
pub struct ServiceTicket {
    /// The ticket for the service.
    pub service: Credential,
    /// A forwarded TGT, to be delegated.
    pub forwarded: Option<Credential>,
    /// By S4U2Self: the user's ticket for ourselves, opened and looked at.
    pub evidence: Option<Evidence>,
    /// Everything that was got on the way and is worth keeping: TGTs, and the service's ticket if it is new. Never tickets of
    /// others than the client.
    pub new: Vec<Credential>,
}

/// A question for a KDC.
#[derive(Debug)]
pub struct NeedKdc {
    task: Task,
    exchange: Exchange,
    request: Vec<u8>,
}

#[derive(Debug)]
enum Exchange {
    As(AsExchange),
    Tgs(Box<TgsExchange>),
}

impl NeedKdc {
    /// The realm whose KDC is to be asked.
    #[must_use]
    pub fn realm(&self) -> &str {
        match &self.exchange {
            Exchange::As(exchange) => &exchange.realm,
            Exchange::Tgs(exchange) => exchange.realm(),
        }
    }

    /// The message, without the length that TCP puts before it.
    #[must_use]
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// Goes on with the KDC's answer.
    ///
    /// # Errors
    /// What the KDC refuses, and an answer that is not the KDC's.
    pub fn answer(self, reply: &[u8], env: &mut Env<'_>) -> Result<Step, Reject> {
        let Self { task, exchange, request } = self;
        match exchange {
            Exchange::As(exchange) => exchange.answer(task, &request, reply, env),
            Exchange::Tgs(exchange) => exchange.answer(task, reply, env),
        }
    }

    /// Ends it because no KDC answers. A forwarded ticket is done without.
    ///
    /// # Errors
    /// [`Unavailable::Kdc`].
    pub fn unanswered(self, why: String) -> Result<Step, Reject> {
        if let Exchange::Tgs(exchange) = self.exchange
            && let Purpose::Forward { service } = exchange.purpose
        {
            return Ok(self.task.done(*service, None));
        }
        Err(Unavailable::Kdc(why).into())
    }
}

/// What is wanted, and what is known by now.
#[derive(Debug)]
struct Task {
    client: Client,
    /// The client as the KDC names it by now.
    principal: Principal,
    service: Principal,
    delegation: Delegation,
    /// For whom, if not for ourselves.
    behalf: Option<Behalf>,
    /// The KDC's clock minus ours, in seconds.
    offset: i64,
    new: Vec<Credential>,
    /// The realms on the way, against loops.
    realms: Vec<String>,
    requests: usize,
    /// What the client's own KDC said of a service that is looked for elsewhere now.
    unknown: Option<Reject>,
}

/// How many questions one ticket may take: pre-authentication, clock, ten realms.
const REQUESTS_LIMIT: usize = 16;
/// How many realms may be on the way.
const REALMS_LIMIT: usize = 10;
/// By how much an unprotected answer may set our clock, in seconds.
const MAX_CORRECTION: u64 = 12 * 3600;
/// By how much clocks may differ before it is worth correcting, in seconds.
const CLOCK_SKEW: i64 = 300;

impl Task {
    fn new(client: &Client, service: Principal) -> Self {
        Self {
            client: client.clone(),
            principal: client.inner.principal.clone(),
            service,
            delegation: Delegation::No,
            behalf: None,
            offset: 0,
            new: Vec::new(),
            realms: Vec::new(),
            requests: 0,
            unknown: None,
        }
    }

    /// From the TGT that is at hand, or the way to one.
    fn begin(mut self, env: &mut Env<'_>) -> Result<Step, Reject> {
        let now = env.now;
        let tgt = |realm: &str| {
            self.find(|credential| {
                matches!(credential.server.components.as_slice(), [service, target] if service == "krbtgt" && target == realm)
                    && credential.is_valid(now)
            })
        };
        let tgt = Some(self.service.realm.as_str())
            .filter(|realm| !realm.is_empty())
            .and_then(tgt)
            .or_else(|| tgt(&self.client.inner.principal.realm));
        match tgt {
            Some(tgt) => {
                self.offset = tgt.clock_offset;
                self.have_tgt(tgt, env)
            }
            None => self.need_tgt(env),
        }
    }

    fn find(&self, wanted: impl Fn(&Credential) -> bool) -> Option<Credential> {
        let known = self.client.inner.credentials.iter().filter(|known| known.client == self.principal);
        self.new.iter().chain(known).filter(|credential| wanted(credential)).max_by_key(|found| found.endtime).cloned()
    }

    fn is_service(&self, credential: &Credential) -> bool {
        credential.server.components == self.service.components
            && (self.service.realm.is_empty() || credential.server.realm == self.service.realm)
    }

    /// Our time as the KDC sees it.
    fn now(&self, env: &Env<'_>) -> UnixTime {
        env.now.shifted(self.offset)
    }

    fn policy(&self) -> &ClientPolicy {
        &self.client.inner.policy
    }

    fn need_tgt(self, env: &mut Env<'_>) -> Result<Step, Reject> {
        if matches!(self.client.inner.long_term, LongTerm::None) {
            let why = format!(
                "there is no valid TGT of {} and no password or keytab to get one with; tickets at hand: {}",
                self.principal,
                self.client.inner.credentials.len()
            );
            return Err(Policy::NoCredential { why }.into());
        }
        AsExchange::begin(self, env)
    }

    /// One step further from a TGT towards the service.
    fn have_tgt(mut self, tgt: Credential, env: &mut Env<'_>) -> Result<Step, Reject> {
        let Some(realm) = tgt.server.components.get(1).cloned() else {
            return Err(Internal::Invariant("a TGT names its realm").into());
        };
        if let Some(behalf) = self.behalf.take() {
            return TgsExchange::begin(self, tgt, Purpose::Behalf(Box::new(behalf)), env);
        }
        if self.is_service(&tgt) {
            return Ok(self.done(tgt, None));
        }
        if self.realms.contains(&realm) || self.realms.len() == REALMS_LIMIT {
            let path = self.realms.join(", ");
            let what = format!("the realms refer to each other in a circle or without end: {path}, {realm}");
            return Err(Peer::KdcReply { what }.into());
        }
        self.realms.push(realm.clone());
        // In whatever case: the KDC's spelling of its realm is the one in the TGT.
        let purpose = if self.service.realm.is_empty() || self.service.realm.eq_ignore_ascii_case(&realm) {
            Purpose::Service
        } else {
            Purpose::CrossRealm
        };
        TgsExchange::begin(self, tgt, purpose, env)
    }

    /// Whether another realm than the one that was asked may have the service, though nobody says so.
    fn has_fallback(&self, asked: &Principal) -> bool {
        let fallback = &self.policy().fallback_realm;
        self.service.realm.is_empty() && !fallback.is_empty() && !fallback.eq_ignore_ascii_case(&asked.realm)
    }

    /// The service's ticket is here; a TGT for it, perhaps, is still to be got.
    fn have_service(self, service: Credential, env: &mut Env<'_>) -> Result<Step, Reject> {
        let wanted = match self.delegation {
            Delegation::No => false,
            Delegation::IfTrusted => service.flags.contains(TicketFlags::OK_AS_DELEGATE),
            Delegation::Always => true,
        };
        let now = env.now;
        let home = self.find(|credential| {
            credential.server == Principal::krbtgt(&self.principal.realm, &self.principal.realm)
                && credential.flags.contains(TicketFlags::FORWARDABLE)
                && credential.is_valid(now)
        });
        match home {
            Some(home) if wanted => {
                TgsExchange::begin(self, home, Purpose::Forward { service: Box::new(service) }, env)
            }
            _ => Ok(self.done(service, None)),
        }
    }

    fn done(self, service: Credential, forwarded: Option<Credential>) -> Step {
        Step::Ticket(ServiceTicket { service, forwarded, evidence: None, new: self.new })
    }

    /// Counts a request.
    fn asks(&mut self) -> Result<(), Reject> {
        self.requests += 1;
        if self.requests > REQUESTS_LIMIT {
            let what = format!("{REQUESTS_LIMIT} answers and no ticket");
            return Err(Peer::KdcReply { what }.into());
        }
        Ok(())
    }

    /// Takes the KDC's clock from an error, if that is worth another try. Nothing protects an error: whoever sets our clock
    /// at will has proofs made that are good later.
    fn follow_clock(&mut self, error: &KrbError<'_>, env: &Env<'_>) -> bool {
        let offset = error.stime.0.saturating_sub(env.now.secs());
        let worth = offset.abs_diff(self.offset) > 1 && offset.unsigned_abs() <= MAX_CORRECTION;
        if worth {
            self.offset = offset;
        }
        worth
    }
}

/// A nonce: 31 bits, because some KDCs read it as a signed number.
fn nonce(env: &mut Env<'_>) -> Result<u32, Reject> {
    Ok(u32::from_be_bytes(env.random()?) & 0x7fff_ffff)
}

fn refused(realm: &str, error: &KrbError<'_>) -> Reject {
    let text = error.e_text.map(|text| text.to_string()).unwrap_or_default();
    Peer::KdcError { realm: realm.to_owned(), code: error.error_code, text }.into()
}

fn malformed(format: &'static str) -> Reject {
    ParseError { format, offset: 0, kind: ErrorKind::Value { what: "message type" } }.into()
}

/// An NT-ENTERPRISE name is asked as it is written, and is not the name that the ticket will have.
fn is_enterprise(principal: &Principal) -> bool {
    principal.name_type == name_type::ENTERPRISE
}

#[cfg(test)]
mod tests;
