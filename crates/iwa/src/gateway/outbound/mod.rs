//! The double hop: the gateway signs in to the application, as the visitor or as itself. MS-SFU, RFC 4559.
//!
//! | what | file |
//! |---|---|
//! | the gateway's own account | [`account`] |
//! | the tickets that are at hand: found, or got once for all who wait | [`tickets`] |
//! | why there is none, and what to do | [`refused`] |
//!
//! A visitor is never signed in as somebody else, as nobody or as the gateway: where there is no ticket in their name, their request is
//! refused. The service comes from the configuration alone.

mod account;
mod refused;
#[cfg(test)]
mod tests;
mod tickets;

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use iwa_auth::krb5::acceptor::Delegated;
use iwa_auth::krb5::client::{Client, Credential, Delegation, Evidence, LongTerm, ServiceTicket, Step};
use iwa_auth::ports::Kdc;
use iwa_auth::reject::{Internal, Policy, Reason, Reject, Unavailable};
use iwa_auth::{Env, Identity};
use iwa_domain::kdc::Kdcs;
use iwa_domain::krb5_conf::Krb5Conf;
use iwa_http::ahead::{Sent, ahead};
use iwa_http::system::EntropyOf;
use iwa_http::{Os, System};
use iwa_wire::krb5::Principal;

use super::assemble::Problem;
use super::authorize::{Decision, Here, Subject, decide};
use super::domain::Joined;
use super::keytabs::Keytabs;
use super::site::Site;
use crate::config::{self, Config, How, Who};
use account::Account;
pub(crate) use refused::Refused;
pub(crate) use tickets::Tickets;
use tickets::{Key, Way};

/// How a route signs in to its application.
pub(crate) struct Outbound {
    config: config::Outbound,
    account: Option<Account>,
    kdc: Arc<dyn Kdc>,
    system: Arc<dyn System>,
    tickets: Arc<Tickets>,
    /// The names of the domain that the account is of, where it is one of ours.
    domain: Option<super::logons::Names>,
}

/// What a visitor brought.
#[derive(Clone, Copy, Default)]
pub(crate) struct Brought<'a> {
    /// Who they are; `None` is anonymous.
    pub(crate) identity: Option<&'a Identity>,
    /// The ticket with which they came.
    pub(crate) evidence: Option<&'a Evidence>,
    /// The TGT that they forwarded.
    pub(crate) delegated: Option<&'a Delegated>,
}

impl Outbound {
    /// As a route of this configuration has it.
    ///
    /// # Errors
    /// The service is this server itself.
    pub(crate) fn new(
        config: &config::Outbound,
        site: &Config,
        domains: &[Arc<Joined>],
        keytabs: &Keytabs,
        tickets: &Arc<Tickets>,
    ) -> Result<Self, Problem> {
        let machine = domains.iter().find(|domain| domain.machine.is_some());
        let account = match (&config.account, machine) {
            (Some((principal, keytab)), _) => Some(Account::new(principal.clone(), keytab.clone())),
            (None, Some(domain)) => domain.machine.as_ref().map(|machine| {
                Account::new(Principal::user(&machine.account(), &machine.domain.realm()), domain.config.keytab())
            }),
            (None, None) => None,
        };
        if account.is_none() && config.needs_account() {
            return Err(Problem("[route.outbound] has no account to ask the KDC with".to_owned()));
        }
        if !config.allow_own && is_own(&config.service, account.as_ref(), site, keytabs)? {
            return Err(Problem(format!(
                "[route.outbound] service = \"{}\" is this server itself: a request would come back as its own, with this \
                 server's rights; allow-own-service = true if that is meant",
                config.service
            )));
        }
        let realm = account.as_ref().map(|account| account.principal().realm.as_str());
        let of_realm = domains.iter().find(|domain| realm.is_some_and(|realm| domain.names.is(realm)));
        let kdc = match of_realm.or(machine).and_then(|domain| domain.kdc()) {
            Some(kdc) => kdc,
            None => anybodys()?,
        };
        Ok(Self {
            config: config.clone(),
            account,
            kdc,
            system: Arc::new(Os),
            tickets: Arc::clone(tickets),
            domain: of_realm.map(|domain| domain.names.clone()),
        })
    }

    /// A ticket for the application, in whose name this route says.
    pub(crate) async fn login(
        &self,
        site: &Site,
        method: &Method,
        brought: Brought<'_>,
    ) -> Result<Login<'_>, Box<Refused>> {
        let Who::User(ways) = &self.config.who else {
            let account = self.account.as_ref().ok_or_else(no_account)?;
            return self.ticket(account.principal(), Way::OurSelf, self.as_itself()).await;
        };
        let Some(identity) = brought.identity else {
            let why = "nobody signed in, and this route signs in to the application as the visitor".to_owned();
            return Err(self.refuse(Policy::Delegation { why }.into(), None));
        };
        self.admits(site, method, identity).await?;
        self.as_user(ways, identity, brought).await
    }

    async fn as_user(
        &self,
        ways: &[How],
        identity: &Identity,
        brought: Brought<'_>,
    ) -> Result<Login<'_>, Box<Refused>> {
        for how in ways {
            match (how, brought) {
                (How::DelegatedTgt, Brought { delegated: Some(delegated), evidence: Some(evidence), .. }) => {
                    let user = evidence.client();
                    return self.ticket(user, Way::As(*how), self.with_tgt(user, delegated)).await;
                }
                (How::Constrained, Brought { evidence: Some(evidence), .. }) => {
                    let user = evidence.client();
                    return self.ticket(user, Way::As(*how), self.with_evidence(evidence)).await;
                }
                (How::Transition, _) => {
                    let user = self.user(identity).map_err(|reason| self.refuse(reason, Some(Way::As(*how))))?;
                    return self.ticket(&user, Way::As(*how), self.for_user(&user)).await;
                }
                (How::DelegatedTgt | How::Constrained, _) => {}
            }
        }
        let why = format!(
            "{identity} came by {} and brought nothing that {} could be done with; how = [\"transition\"] needs nothing",
            identity.mechanism(),
            ways.iter().map(|how| how.name()).collect::<Vec<_>>().join(" or ")
        );
        Err(self.refuse(Policy::Delegation { why }.into(), None))
    }

    /// The ticket that is at hand, or the one that `get` gets.
    async fn ticket(
        &self,
        user: &Principal,
        way: Way,
        get: impl Future<Output = Result<ServiceTicket, Reason>>,
    ) -> Result<Login<'_>, Box<Refused>> {
        let key = Key {
            account: self.account.as_ref().map(|account| account.principal().to_string()),
            service: self.config.service.to_string(),
            user: user.to_string(),
            way,
        };
        let got = self.tickets.get(&key, &*self.system, get).await;
        let ticket = got.map_err(|reason| self.refuse(reason, Some(way)))?;
        Ok(Login { outbound: self, key, ticket })
    }

    async fn as_itself(&self) -> Result<ServiceTicket, Reason> {
        let account = self.account.as_ref().ok_or(NO_ACCOUNT)?;
        account
            .with(self, async |client| self.ask(|env| client.ticket(&self.config.service, Delegation::No, env)).await)
            .await
    }

    async fn with_tgt(&self, user: &Principal, delegated: &Delegated) -> Result<ServiceTicket, Reason> {
        is_their_own(user, delegated)?;
        let client = Client::new(user.clone(), LongTerm::None).with_credentials(delegated.credentials.clone());
        self.ask(|env| client.ticket(&self.config.service, Delegation::No, env)).await
    }

    async fn with_evidence(&self, evidence: &Evidence) -> Result<ServiceTicket, Reason> {
        let account = self.account.as_ref().ok_or(NO_ACCOUNT)?;
        let (service, resource_based) = (&self.config.service, self.config.resource_based);
        account
            .with(self, async |client| self.ask(|env| client.on_behalf(evidence, service, resource_based, env)).await)
            .await
    }

    async fn for_user(&self, user: &Principal) -> Result<ServiceTicket, Reason> {
        let account = self.account.as_ref().ok_or(NO_ACCOUNT)?;
        let (service, resource_based) = (&self.config.service, self.config.resource_based);
        account
            .with(self, async |client| {
                let own = self.ask(|env| client.for_user(user, env)).await?;
                let evidence = own.evidence.ok_or(Internal::Invariant("S4U2Self gives evidence"))?;
                self.ask(|env| client.on_behalf(&evidence, service, resource_based, env)).await
            })
            .await
    }

    /// Asks the KDC what it would give: to our own account, or in the name of a user, which is `user` or our own account.
    ///
    /// # Errors
    /// What it refuses.
    pub(crate) async fn probe(&self, user: Option<&str>) -> Result<String, Box<Refused>> {
        let Some(account) = &self.account else {
            return Ok("nothing is asked of the KDC without a visitor's TGT".to_owned());
        };
        let own = account.principal();
        let Who::User(ways) = &self.config.who else {
            let got = self.as_itself().await;
            got.map_err(|reason| self.refuse(reason, Some(Way::OurSelf)))?;
            return Ok(format!("the KDC gives tickets to {own}"));
        };
        let user = match user {
            Some(name) => Principal::user(name, &own.realm),
            None => own.clone(),
        };
        match self.for_user(&user).await {
            Ok(_) => Ok(format!("the KDC gives tickets of its users to {own} (tried with {user})")),
            Err(Reason::Policy(Policy::Delegation { why })) if !ways.contains(&How::Transition) => Ok(format!(
                "whether the KDC gives tickets of visitors shows only when one comes: {own} has no protocol transition to try it                  with, or {user} must not be delegated ({why})"
            )),
            Err(reason) => Err(self.refuse(reason, Some(Way::As(How::Transition)))),
        }
    }

    /// Asks KDCs until there is a ticket.
    async fn ask(&self, begin: impl FnOnce(&mut Env<'_>) -> Result<Step, Reject>) -> Result<ServiceTicket, Reason> {
        let mut step = self.with_env(begin).map_err(|reject| reject.reason)?;
        loop {
            let need = match step {
                Step::Ticket(ticket) => return Ok(ticket),
                Step::NeedKdc(need) => need,
            };
            let answer = self.kdc.ask(need.realm(), need.request()).await;
            step = self
                .with_env(|env| match answer {
                    Ok(answer) => need.answer(&answer, env),
                    Err(why) => need.unanswered(why),
                })
                .map_err(|reject| reject.reason)?;
        }
    }

    fn with_env<T>(&self, step: impl FnOnce(&mut Env<'_>) -> T) -> T {
        step(&mut Env { now: self.system.now(), entropy: &mut EntropyOf(&*self.system) })
    }

    /// What the KDC of our account's realm calls a visitor, who must be one of that realm.
    fn user(&self, identity: &Identity) -> Result<Principal, Reason> {
        let own = self.account.as_ref().ok_or(NO_ACCOUNT)?.principal();
        let account = identity.account();
        let of_realm = match &account.realm {
            Some(realm) => realm.eq_ignore_ascii_case(&own.realm),
            None => self.domain.as_ref().is_some_and(|names| names.is(&account.domain)),
        };
        // A machine and a domain may have the same short name; their SIDs differ.
        let of_domain = match (account.sid, self.domain.as_ref().and_then(|names| names.sid)) {
            (Some(sid), Some(domain)) => sid.rid().and_then(|rid| domain.with_rid(rid)) == Some(sid),
            _ => true,
        };
        if !(of_realm && of_domain) || account.name.contains(['/', '@', '\\']) {
            let why = format!("{identity} is no user of {}, the realm of our account {own}", own.realm);
            return Err(Policy::Delegation { why }.into());
        }
        Ok(Principal::user(&account.name, &own.realm))
    }

    /// Whether the rules let us act for this visitor.
    async fn admits(&self, site: &Site, method: &Method, identity: &Identity) -> Result<(), Box<Refused>> {
        if self.config.rules.is_empty() {
            return Ok(());
        }
        let snapshot = match &site.accounts {
            Some(accounts) => Some(
                accounts
                    .current()
                    .await
                    .map_err(|error| self.refuse(Unavailable::Accounts(error.to_string()).into(), None))?,
            ),
            None => None,
        };
        let here = Here { accounts: snapshot.as_deref(), domains: &site.domains, realms: &[] };
        let reason = match decide(&self.config.rules, Some(Subject::from(identity)), method, &here) {
            Decision::Allowed => return Ok(()),
            Decision::Denied { .. } => {
                let why = format!("the rules of [route.outbound] do not let the gateway act for {identity}");
                Policy::Delegation { why }.into()
            }
            Decision::Undecided { .. } => {
                let why = "rules of [route.outbound] hang on names of groups that are not resolved".to_owned();
                Unavailable::Accounts(why).into()
            }
        };
        Err(self.refuse(reason, None))
    }

    fn refuse(&self, reason: Reason, way: Option<Way>) -> Box<Refused> {
        let account = self.account.as_ref().map(|account| account.principal());
        Box::new(Refused::new(reason, way, &self.config.service, account))
    }
}

/// A ticket for the application, for one request of the visitor.
pub(crate) struct Login<'a> {
    outbound: &'a Outbound,
    key: Key,
    ticket: Arc<ServiceTicket>,
}

impl Login<'_> {
    /// The value of `Authorization`, new for every time that a request is sent.
    pub(crate) fn authorization(&self) -> Result<(HeaderValue, Sent), Box<Refused>> {
        let Outbound { config, system, .. } = self.outbound;
        ahead((*self.ticket).clone(), config.mutual, &**system)
            .map_err(|reason| self.outbound.refuse(reason, Some(self.key.way)))
    }

    /// Takes the head of the application's answer, which is for the visitor only if this is well.
    pub(crate) fn answered(&self, sent: Sent, status: StatusCode, headers: &HeaderMap) -> Result<(), Box<Refused>> {
        sent.answered(status, headers, &*self.outbound.system).map_err(|reason| {
            // What is at hand may be stale: the application's password was changed, perhaps.
            self.outbound.tickets.forget(&self.key, &self.ticket, self.outbound.system.now());
            let refused = self.outbound.refuse(reason, Some(self.key.way));
            Box::new(refused.by_the_application(&self.ticket.service))
        })
    }
}

/// Whether what was forwarded are TGTs of this user, of the user's own realm. What stands beside a ticket, the client wrote: whoever
/// forwards another's would be taken for that other, and one of a realm of their choice sends this server to a KDC of their choice.
fn is_their_own(user: &Principal, delegated: &Delegated) -> Result<(), Policy> {
    for Credential { client, server, .. } in &delegated.credentials {
        let of_their_realm = matches!(server.components.as_slice(), [krbtgt, realm] if krbtgt == "krbtgt" && *realm == user.realm)
            && server.realm == user.realm;
        let why = if client != user {
            format!("{user} forwarded a ticket of {client}")
        } else if of_their_realm {
            continue;
        } else {
            format!("{user} forwarded a ticket for {server}, which is no TGT of their own realm")
        };
        return Err(Policy::Delegation { why });
    }
    Ok(())
}

/// Whether a service is one of those that this server answers for.
fn is_own(service: &Principal, account: Option<&Account>, site: &Config, keytabs: &Keytabs) -> Result<bool, Problem> {
    let text = service.to_string();
    let same = |name: &str| {
        let bare = name.rsplit_once('@').map_or(name, |(bare, _)| bare);
        bare.eq_ignore_ascii_case(&text)
    };
    let in_account = match account {
        Some(account) => account.names().iter().any(|name| same(name)),
        None => false,
    };
    if in_account || site.kerberos.is_none() {
        return Ok(in_account);
    }
    let listed = site.kerberos.iter().flat_map(|kerberos| &kerberos.service_names).any(|name| same(name));
    Ok(listed || keytabs.keys()?.services().any(same))
}

/// The KDCs of krb5.conf, else of the DNS.
fn anybodys() -> Result<Arc<dyn Kdc>, Problem> {
    let conf = Krb5Conf::load().map_err(|error| Problem(format!("[route.outbound]: {error}")))?;
    let mut kdcs = Kdcs::from_krb5_conf(&conf);
    kdcs.set_dns(Arc::new(iwa_domain::dns::Dns::system()));
    Ok(Arc::new(kdcs))
}

fn no_account() -> Box<Refused> {
    Box::new(Refused::new(NO_ACCOUNT.into(), None, &Principal::user("", ""), None))
}

const NO_ACCOUNT: Internal = Internal::Invariant("a route that needs an account has one");
