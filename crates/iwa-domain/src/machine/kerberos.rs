//! What the KDC says of an account: whether it takes a password, the salt and version of its keys, tickets for its services.
//! RFC 4120 3.1, 3.3, 5.2.7.5.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use iwa_auth::env::{Entropy, EntropyError, Env, UnixTime};
use iwa_auth::krb5::client::{Client, Credential, Delegation, LongTerm, NeedKdc, Step};
use iwa_auth::ports::{Answer, Kdc};
use iwa_auth::reject::{Peer, Reason, Reject};
use iwa_wire::krb5::error::code;
use iwa_wire::krb5::padata::{EtypeInfo2, MethodData, pa_type};
use iwa_wire::krb5::{KdcRep, KrbError, Principal, Ticket};

use super::rotate::{Account, Check};
use super::{Machine, MachinePassword};

/// What there is after somebody signed in at the KDC.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// The ticket-granting ticket. Its client is spelled as the KDC spells it.
    pub tgt: Credential,
    /// The version of the client's key, if the KDC told it.
    pub kvno: Option<u32>,
    /// The salt of the client's keys, if the KDC told it.
    pub salt: Option<String>,
}

/// Signs in: gets a ticket-granting ticket, whatever tickets the client has. Salt and version come from messages that nothing
/// protects; for a client with a password they are verified by its being able to read the answer.
///
/// # Errors
/// What the KDC refuses, or that there is none.
pub async fn sign_in(client: &Client, kdc: &dyn Kdc) -> Result<SignedIn, Reject> {
    let mut random = Random;
    let (mut kvno, mut salt) = (None, None);
    let mut step = client.initial(&mut Env { now: now(), entropy: &mut random })?;
    loop {
        let need = match step {
            Step::Ticket(ticket) => return Ok(SignedIn { tgt: ticket.service, kvno, salt }),
            Step::NeedKdc(need) => need,
        };
        step = ask(need, kdc, |answer| {
            kvno = KdcRep::parse(answer).ok().and_then(|rep| rep.enc_part.kvno).or(kvno);
            salt = salt_in(answer).or(salt.take());
        })
        .await?;
    }
}

/// A ticket for a service.
///
/// # Errors
/// What the KDC refuses, or that there is none.
pub async fn ticket(client: &Client, service: &Principal, kdc: &dyn Kdc) -> Result<Credential, Reject> {
    let mut random = Random;
    let mut step = client.ticket(service, Delegation::No, &mut Env { now: now(), entropy: &mut random })?;
    loop {
        step = match step {
            Step::Ticket(ticket) => return Ok(ticket.service),
            Step::NeedKdc(need) => ask(need, kdc, |_| ()).await?,
        };
    }
}

/// The salt of an account's keys, as the KDC tells anybody who asks.
///
/// # Errors
/// What the KDC refuses, or that there is none; [`Peer::KdcReply`] if it tells no salt.
pub async fn salt_of(account: &Principal, kdc: &dyn Kdc) -> Result<String, Reject> {
    let mut random = Random;
    // Any password will do for the first question, which holds nothing of it.
    let client = Client::new(account.clone(), LongTerm::Password(String::new().into()));
    let step = client.initial(&mut Env { now: now(), entropy: &mut random })?;
    let Step::NeedKdc(need) = step else {
        return Err(Peer::KdcReply { what: "no question".to_owned() }.into());
    };
    let answer = match kdc.ask(need.realm(), need.request()).await {
        Ok(answer) => answer,
        Err(why) => return Err(iwa_auth::reject::Unavailable::Kdc(why).into()),
    };
    if let Ok(error) = KrbError::parse(&answer)
        && error.error_code != code::KDC_ERR_PREAUTH_REQUIRED
    {
        let text = error.e_text.map(|text| text.to_string()).unwrap_or_default();
        return Err(Peer::KdcError { realm: account.realm.clone(), code: error.error_code, text }.into());
    }
    salt_in(&answer).ok_or_else(|| Peer::KdcReply { what: "it tells no salt".to_owned() }.into())
}

/// The version of the key that a ticket is encrypted with, and its encryption type.
#[must_use]
pub fn key_of(ticket: &Credential) -> Option<(Option<u32>, i32)> {
    let ticket = Ticket::parse(&ticket.ticket).ok()?;
    Some((ticket.enc_part.kvno, ticket.enc_part.etype))
}

/// The clients that a machine may be, one a password, the likeliest first.
pub fn clients(machine: &Machine) -> impl Iterator<Item = Client> {
    let principal = Principal::user(&machine.account(), &machine.domain.realm());
    machine
        .passwords()
        .map(move |known| Client::new(principal.clone(), LongTerm::Password(known.password.clone())))
        .collect::<Vec<_>>()
        .into_iter()
}

/// Signs the machine in with whichever of its passwords the KDC takes.
///
/// # Errors
/// The last refusal, or that no KDC answers.
pub async fn sign_in_machine(machine: &Machine, kdc: &dyn Kdc) -> Result<(Client, SignedIn), Reject> {
    let mut refused = None;
    for client in clients(machine) {
        match sign_in(&client, kdc).await {
            Ok(signed_in) => return Ok((client.with_credentials(vec![signed_in.tgt.clone()]), signed_in)),
            Err(reject) if is_wrong_password(&reject) => refused = Some(reject),
            Err(reject) => return Err(reject),
        }
    }
    Err(refused.unwrap_or_else(|| Peer::KdcReply { what: "the machine has no password".to_owned() }.into()))
}

/// Whether the KDC says that the password is wrong.
#[must_use]
pub fn is_wrong_password(reject: &Reject) -> bool {
    matches!(reject.reason, Reason::Peer(Peer::KdcError { code: code::KDC_ERR_PREAUTH_FAILED, .. }))
}

/// How a password is set, whoever carries it.
pub trait SetPassword: Send + Sync {
    /// As [`Account::set_password`].
    fn set_password<'a>(&'a self, machine: &'a Machine, new: &'a MachinePassword) -> Answer<'a, Result<(), String>>;
}

impl SetPassword for crate::netlogon::Netlogon {
    /// Over the secure channel, which the membership that it was made with opens.
    fn set_password<'a>(&'a self, _: &'a Machine, new: &'a MachinePassword) -> Answer<'a, Result<(), String>> {
        Box::pin(Self::set_password(self, &new.password))
    }
}

/// An [`Account`] that asks the KDC which password holds, and has it set by somebody else.
pub struct AskedByKerberos<S> {
    kdc: Arc<dyn Kdc>,
    set: S,
}

impl<S: SetPassword> AskedByKerberos<S> {
    /// With these.
    pub fn new(kdc: Arc<dyn Kdc>, set: S) -> Self {
        Self { kdc, set }
    }
}

impl<S: SetPassword> Account for AskedByKerberos<S> {
    fn set_password<'a>(&'a self, machine: &'a Machine, new: &'a MachinePassword) -> Answer<'a, Result<(), String>> {
        self.set.set_password(machine, new)
    }

    fn check<'a>(&'a self, machine: &'a Machine, password: &'a MachinePassword) -> Answer<'a, Result<Check, String>> {
        Box::pin(async move {
            let principal = Principal::user(&machine.account(), &machine.domain.realm());
            let client = Client::new(principal, LongTerm::Password(password.password.clone()));
            match sign_in(&client, &*self.kdc).await {
                Ok(signed_in) => Ok(Check::Taken(signed_in.kvno)),
                Err(reject) if is_wrong_password(&reject) => Ok(Check::Refused),
                Err(reject) => Err(reject.to_string()),
            }
        })
    }
}

impl<S> fmt::Debug for AskedByKerberos<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AskedByKerberos")
    }
}

async fn ask(need: NeedKdc, kdc: &dyn Kdc, mut seen: impl FnMut(&[u8])) -> Result<Step, Reject> {
    let mut random = Random;
    match kdc.ask(need.realm(), need.request()).await {
        Ok(answer) => {
            seen(&answer);
            need.answer(&answer, &mut Env { now: now(), entropy: &mut random })
        }
        Err(why) => need.unanswered(why),
    }
}

/// The salt in an AS-REP, or in the error that asks for pre-authentication.
fn salt_in(answer: &[u8]) -> Option<String> {
    let of = |methods: MethodData<'_>| {
        let info = methods.iter().find(|method| method.padata_type == pa_type::ETYPE_INFO2)?;
        let list = EtypeInfo2::parse(info.padata_value).ok()?;
        // Those of RC4 have none; the others all have the same.
        list.iter().find_map(|entry| entry.salt.and_then(|salt| salt.as_str()).map(str::to_owned))
    };
    if let Ok(error) = KrbError::parse(answer) {
        return of(MethodData::parse(error.e_data?).ok()?);
    }
    of(KdcRep::parse(answer).ok()?.padata?)
}

/// The present time.
pub(crate) fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixTime::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

pub(crate) struct Random;

impl Entropy for Random {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        getrandom::fill(out).map_err(|_| EntropyError)
    }
}
