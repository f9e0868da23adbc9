//! The KDC: AS and TGS for the accounts of one realm, without state. RFC 4120 3.1, 3.3; RFC 6806; MS-KILE 3.3.
//!
//! ```text
//! AS-REQ  -> client known? -> locked out? -> PA-ENC-TIMESTAMP under the client's key -> may it in? -> TGT with a PAC
//! TGS-REQ -> TGT under our key -> authenticator and checksum -> PAC, SID, may it still? -> ticket with a new PAC
//! ```
//!
//! Nothing is remembered between requests:
//!
//! - A replayed AS-REQ gives its answer once more, encrypted under the client's key as before, with another session key:
//!   useless to whoever replays it. It counts as a right password, as it does at a domain controller.
//! - A replayed TGS-REQ likewise gives an answer that only the holder of the session key or subkey can read (RFC 4120 3.3.2
//!   allows a replay cache here and does not demand it; without one, repeated UDP packets need no special care).
//!
//! What a client learns: an unknown name gets `KDC_ERR_C_PRINCIPAL_UNKNOWN` as at a domain controller, and a lock-out is
//! said at once; that an account is disabled or expired is said only after a right password.
//!
//! Every ticket's PAC is made from the account as it is then. A domain controller copies it from the TGT; here the account is
//! looked up anyway, and whoever was taken out of a group is out at the next ticket.
//!
//! Addresses that a client asks to have in its TGT are put there, for services to check; the KDC itself does not.
//!
//! Not issued here: postdated, anonymous, user-to-user and S4U tickets, and tickets across realms; a request for one is
//! refused and never answered with something weaker. FAST (RFC 6113) is passed over as an unknown kind of
//! pre-authentication, which clients that offer it expect of an older KDC. The PAC is the only authorization data that the KDC makes.

mod as_exchange;
mod db;
pub(crate) mod pac;
mod reply;
mod tgs_exchange;

#[cfg(test)]
mod tests;

use core::fmt;
use core::time::Duration;

use iwa_wire::krb5::error::code;
use iwa_wire::krb5::kdc::{Exchange, kdc_options};
use iwa_wire::krb5::{KdcReq, KerberosString, KerberosTime, KrbError, PrincipalName};

pub use db::{Client, ClientName, DbUnavailable, KeySet, PrincipalDb, Refusal, Server};
pub use pac::PacAccount;

use super::etype::{Etype, Key};
use crate::env::{EntropyError, Env};

/// A KDC of one realm.
#[derive(Clone, Debug)]
pub struct Kdc {
    realm: String,
    policy: KdcPolicy,
}

/// What the KDC allows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KdcPolicy {
    /// How long a ticket is good. Windows: 10 hours.
    pub max_life: Duration,
    /// How long a ticket may be renewed. Windows: 7 days.
    pub max_renewable_life: Duration,
    /// How far clocks may differ. Windows: 5 minutes.
    pub clock_skew: Duration,
    /// The longest answer over UDP, in bytes: a client told that its answer is longer asks again over TCP.
    pub max_udp_reply: usize,
    /// The encryption types of session keys and of answers.
    pub etypes: Vec<Etype>,
}

impl Default for KdcPolicy {
    fn default() -> Self {
        Self {
            max_life: Duration::from_secs(10 * 3600),
            max_renewable_life: Duration::from_secs(7 * 86_400),
            clock_skew: Duration::from_secs(300),
            max_udp_reply: 1400,
            etypes: Etype::ALL.into_iter().filter(|etype| !etype.is_weak()).collect(),
        }
    }
}

/// How a request came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// As a datagram: the answer must fit in one.
    Udp,
    /// Over a connection.
    Tcp,
}

/// What goes back to the client, and what the operator may want to read.
#[derive(Clone, Debug)]
pub struct Answer {
    /// An AS-REP, TGS-REP or KRB-ERROR. Empty if what came is not a request at all: an answer to an answer would go back
    /// and forth between two KDCs for ever.
    pub reply: Vec<u8>,
    /// What happened.
    pub outcome: Outcome,
}

/// What happened, for the log. Names are safe to print.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// `AS`, `TGS`, or empty.
    pub exchange: &'static str,
    /// The client, as far as it is known.
    pub client: String,
    /// The service it asks for.
    pub server: String,
    /// The error code, 0 for success.
    pub code: i32,
    /// What the code does not say.
    pub why: &'static str,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { exchange, client, server, code, why } = self;
        let name = code::name(*code).map_or("error", |(name, _)| name);
        let name = if *code == 0 { "issued" } else { name };
        write!(f, "{exchange} {client} -> {server}: {name}")?;
        if why.is_empty() { Ok(()) } else { write!(f, " ({why})") }
    }
}

impl Kdc {
    /// A KDC of this realm.
    #[must_use]
    pub fn new(realm: &str, policy: KdcPolicy) -> Self {
        Self { realm: realm.to_owned(), policy }
    }

    /// Its realm.
    #[must_use]
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// Answers a request.
    pub fn respond(&self, request: &[u8], db: &dyn PrincipalDb, env: &mut Env<'_>, transport: Transport) -> Answer {
        let mut outcome = Outcome::default();
        // AS-REQ and TGS-REQ begin with their application tags.
        if !matches!(request.first(), Some(0x6a | 0x6c)) {
            outcome.why = "what came is not a request";
            return Answer { reply: Vec::new(), outcome };
        }
        let Ok(req) = KdcReq::parse(request) else {
            let failure = Failure::new(code::KRB_ERR_GENERIC, "the request is malformed");
            return Answer { reply: self.error(None, &failure, env), outcome: failure.told(outcome) };
        };
        let body = &req.req_body;
        let principal = |name: Option<PrincipalName<'_>>| name.map_or_else(|| "?".to_owned(), |name| name.to_string());
        outcome.server = principal(body.sname);
        let done = match req.exchange {
            Exchange::As => {
                outcome.exchange = "AS";
                outcome.client = principal(body.cname);
                self.as_exchange(&req, request, db, env)
            }
            Exchange::Tgs => {
                outcome.exchange = "TGS";
                outcome.client = "?".to_owned();
                self.tgs_exchange(&req, db, env, &mut outcome.client)
            }
        };
        let done = match done {
            Ok(reply) if transport == Transport::Udp && reply.len() > self.policy.max_udp_reply => {
                Err(Failure::new(code::KRB_ERR_RESPONSE_TOO_BIG, ""))
            }
            done => done,
        };
        match done {
            Ok(reply) => Answer { reply, outcome },
            Err(failure) => Answer { reply: self.error(Some(&req), &failure, env), outcome: failure.told(outcome) },
        }
    }

    /// What a client gets whose message is longer than the transport takes.
    #[must_use]
    pub fn too_long(&self, env: &Env<'_>) -> Vec<u8> {
        self.error(None, &Failure::new(code::KRB_ERR_FIELD_TOOLONG, ""), env)
    }

    fn error(&self, req: Option<&KdcReq<'_>>, failure: &Failure, env: &Env<'_>) -> Vec<u8> {
        let krbtgt = ["krbtgt", self.realm.as_str()];
        let body = req.map(|req| &req.req_body);
        let cname = body.and_then(|body| body.cname);
        let error = KrbError {
            ctime: None,
            cusec: None,
            stime: KerberosTime(env.now.secs()),
            susec: env.now.subsec_micros(),
            error_code: failure.code,
            crealm: cname.map(|_| KerberosString::from(self.realm.as_str())),
            cname,
            realm: self.realm.as_str().into(),
            sname: body.and_then(|body| body.sname).unwrap_or(PrincipalName::of(2, &krbtgt)),
            e_text: None,
            e_data: if failure.e_data.is_empty() { None } else { Some(&failure.e_data) },
        };
        let mut reply = Vec::new();
        error.write(&mut reply);
        reply
    }

    /// Refuses what is not issued here.
    fn check_options(&self, options: u32) -> Result<(), Failure> {
        if options & (kdc_options::POSTDATED | kdc_options::ALLOW_POSTDATE) != 0 {
            return Err(Failure::new(code::KDC_ERR_CANNOT_POSTDATE, ""));
        }
        let never = kdc_options::REQUEST_ANONYMOUS
            | kdc_options::ENC_TKT_IN_SKEY
            | kdc_options::CNAME_IN_ADDL_TKT
            | kdc_options::VALIDATE;
        if options & never != 0 {
            return Err(Failure::new(code::KDC_ERR_BADOPTION, "anonymous, user-to-user, S4U2Proxy or validation"));
        }
        Ok(())
    }

    /// The present keys of a service of this realm.
    fn server(&self, name: Option<PrincipalName<'_>>, db: &dyn PrincipalDb) -> Result<Server, Failure> {
        let unknown = Failure::new(code::KDC_ERR_S_PRINCIPAL_UNKNOWN, "");
        let text = name.and_then(joined).ok_or_else(|| unknown.clone())?;
        db.server(&text)?.ok_or(unknown)
    }

    /// The encryption type of a session key: the first that the client takes, the policy allows and the service has a key of.
    fn session_etype(&self, wanted: impl Iterator<Item = i32>, server: &Server) -> Result<Etype, Failure> {
        let known = |etype: &Etype| {
            self.policy.etypes.contains(etype) && server.keys.first().is_some_and(|set| set.key(*etype).is_some())
        };
        wanted
            .filter_map(Etype::from_number)
            .find(known)
            .ok_or(Failure::new(code::KDC_ERR_ETYPE_NOSUPP, "no encryption type in common with client and service"))
    }

    /// Whether a clock is near enough to ours.
    fn check_clock(&self, theirs: KerberosTime, env: &Env<'_>) -> Result<(), Failure> {
        // Whole seconds: the microseconds of either clock are not worth a refusal.
        if theirs.0.abs_diff(env.now.secs()) > self.policy.clock_skew.as_secs() {
            return Err(Failure::new(code::KRB_AP_ERR_SKEW, ""));
        }
        Ok(())
    }
}

/// The components of a name joined by `/`. A component that holds a `/`, or is not UTF-8, is none of ours: joined, it could
/// read as another name.
fn joined(name: PrincipalName<'_>) -> Option<String> {
    let mut text = String::new();
    for component in name.components() {
        let component = component.as_str().filter(|text| !text.is_empty() && !text.contains(['/', '\0']))?;
        if !text.is_empty() {
            text.push('/');
        }
        text.push_str(component);
    }
    if text.is_empty() { None } else { Some(text) }
}

/// Why a request is refused.
#[derive(Clone, Debug)]
struct Failure {
    code: i32,
    why: &'static str,
    e_data: Vec<u8>,
}

impl Failure {
    const fn new(code: i32, why: &'static str) -> Self {
        Self { code, why, e_data: Vec::new() }
    }

    const fn malformed(why: &'static str) -> Self {
        Self::new(code::KRB_ERR_GENERIC, why)
    }

    fn told(self, outcome: Outcome) -> Outcome {
        Outcome { code: self.code, why: self.why, ..outcome }
    }
}

impl From<DbUnavailable> for Failure {
    fn from(_: DbUnavailable) -> Self {
        Self::new(code::KDC_ERR_SVC_UNAVAILABLE, "the accounts cannot be read")
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::WrongPassword => Self::new(code::KDC_ERR_PREAUTH_FAILED, ""),
            Refusal::Revoked => Self::new(code::KDC_ERR_CLIENT_REVOKED, ""),
            Refusal::PasswordExpired => Self::new(code::KDC_ERR_KEY_EXPIRED, ""),
            Refusal::Unavailable => DbUnavailable.into(),
        }
    }
}

impl From<EntropyError> for Failure {
    fn from(_: EntropyError) -> Self {
        Self::new(code::KDC_ERR_SVC_UNAVAILABLE, "the system gave no randomness")
    }
}
