//! The directory of a domain: finds a controller, binds, keeps the connection, and begins anew when it breaks. MS-ADTS 5.1.1.

use std::sync::Arc;
use std::time::Duration;

use iwa_auth::krb5::client::{Client, Credential, LongTerm};
use iwa_auth::ports::Kdc;
use iwa_auth::reject::{Peer, Policy};
use iwa_auth::{Reason, Reject, Secret, UnixTime};
use iwa_wire::krb5::Principal;
use iwa_wire::krb5::error::code;
use iwa_wire::ldap::ResultCode;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::bind::{now, ticket_for};
use super::connection::{Connection, Patience, Server, Transport};
use super::entry::{Change, Entry};
use super::error::{LdapError, Why};
use super::search::{Found, Search};
use crate::controller::Controllers;
use crate::machine::{Machine, Membership};

/// As whom a directory is asked.
#[derive(Clone)]
pub enum Account {
    /// The machine's account in its domain, by Kerberos. While its password is being changed, either may hold.
    Machine(Membership),
    /// Another account, by Kerberos.
    Kerberos(Client),
    /// A name and a password, over TLS.
    Simple {
        /// A distinguished name, or what else the directory takes.
        name: String,
        /// The password.
        password: Secret<String>,
    },
    /// Nobody: for what a directory tells everybody.
    Anonymous,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Machine(membership) => write!(f, "{}", membership.machine().account()),
            Self::Kerberos(client) => write!(f, "{}", client.principal()),
            Self::Simple { name, .. } => write!(f, "{name}"),
            Self::Anonymous => f.write_str("nobody"),
        }
    }
}

/// A directory behind its controllers. Requests go one after the other over one connection; share it by reference.
pub struct Directory {
    controllers: Arc<dyn Controllers>,
    kdc: Arc<dyn Kdc>,
    transport: Transport,
    account: Account,
    patience: Patience,
    global_catalog: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bound: Option<Bound>,
    /// Tickets for more than one connection: ticket-granting tickets.
    tickets: Vec<Credential>,
    refused: Option<Refused>,
}

/// An account that was refused: its password is wrong, or it is locked or disabled. Every further try brings its lock-out
/// nearer.
struct Refused {
    at: Instant,
    why: String,
    /// The machine's account as it was: a new password is tried at once.
    machine: Option<Arc<Machine>>,
}

struct Bound {
    connection: Connection,
    /// When the ticket ends with which it was bound.
    until: Option<UnixTime>,
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Directory({:?} as {:?})", self.controllers, self.account)
    }
}

/// For how long an account is left alone that was refused.
const REST: Duration = Duration::from_secs(60);
/// How many controllers are tried for one request.
const CONTROLLERS_LIMIT: usize = 8;

impl Directory {
    /// A directory that is not connected yet.
    #[must_use]
    pub fn new(
        controllers: Arc<dyn Controllers>,
        kdc: Arc<dyn Kdc>,
        transport: Transport,
        account: Account,
        patience: Patience,
    ) -> Self {
        let state = Mutex::default();
        Self { controllers, kdc, transport, account, patience, global_catalog: false, state }
    }

    /// The same at the controllers' Global Catalogs, which hold a part of every entry of the forest. Not every controller is
    /// one; those that are not refuse the connection, and the next is asked.
    #[must_use]
    pub fn global_catalog(mut self) -> Self {
        self.global_catalog = true;
        self
    }

    /// Searches. If the connection that was kept turns out to be broken, it is done once more over a new one.
    ///
    /// # Errors
    /// [`LdapError`] of the last controller that was tried.
    pub async fn search(&self, search: &Search<'_>) -> Result<Found, LdapError> {
        let mut state = self.state.lock().await;
        let mut asked = 0;
        loop {
            let (mut bound, fresh) = self.bound(&mut state).await?;
            let result = bound.connection.search(search).await;
            asked += 1;
            match result {
                Err(error) if error.elsewhere() => {
                    // A kept connection that broke says nothing against its server; a new one that broke does.
                    if fresh {
                        self.controllers.failed(&bound.connection.server().host, &error.to_string());
                    }
                    if asked > 2 {
                        return Err(error);
                    }
                }
                result => {
                    self.keep(&mut state, bound);
                    return result;
                }
            }
        }
    }

    /// The root DSE: what a server says of itself.
    ///
    /// # Errors
    /// [`LdapError`].
    pub async fn root_dse(&self, attributes: &[&str]) -> Result<Entry, LdapError> {
        let found = self.search(&Search::entry("", attributes)).await?;
        found.one().ok_or_else(|| LdapError {
            server: format!("{:?}", self.controllers),
            doing: "reading the root DSE".to_owned(),
            why: Why::Broken("the server says nothing of itself".to_owned()),
        })
    }

    /// Adds an entry. It is tried once: nobody knows whether a request that was cut off was done.
    ///
    /// # Errors
    /// [`LdapError`].
    pub async fn add(&self, dn: &str, attributes: &[(&str, Vec<Vec<u8>>)]) -> Result<(), LdapError> {
        let mut state = self.state.lock().await;
        let mut bound = self.alive(&mut state).await?;
        let result = bound.connection.add(dn, attributes).await;
        self.keep(&mut state, bound);
        result
    }

    /// Changes an entry: all of it, or nothing. It is tried once.
    ///
    /// # Errors
    /// [`LdapError`].
    pub async fn modify(&self, dn: &str, changes: &[Change]) -> Result<(), LdapError> {
        let mut state = self.state.lock().await;
        let mut bound = self.alive(&mut state).await?;
        let result = bound.connection.modify(dn, changes).await;
        self.keep(&mut state, bound);
        result
    }

    /// Deletes an entry. It is tried once.
    ///
    /// # Errors
    /// [`LdapError`].
    pub async fn delete(&self, dn: &str) -> Result<(), LdapError> {
        let mut state = self.state.lock().await;
        let mut bound = self.alive(&mut state).await?;
        let result = bound.connection.delete(dn).await;
        self.keep(&mut state, bound);
        result
    }

    /// Who the directory takes this client for.
    ///
    /// # Errors
    /// [`LdapError`].
    pub async fn who_am_i(&self) -> Result<String, LdapError> {
        let mut state = self.state.lock().await;
        let mut bound = self.alive(&mut state).await?;
        let result = bound.connection.who_am_i().await;
        self.keep(&mut state, bound);
        result
    }

    fn keep(&self, state: &mut State, bound: Bound) {
        if bound.connection.is_usable() {
            state.bound = Some(bound);
        }
    }

    /// A connection that answered a moment ago: a change is not tried twice, so it does not meet one that died in its sleep.
    async fn alive(&self, state: &mut State) -> Result<Bound, LdapError> {
        let (mut bound, fresh) = self.bound(state).await?;
        if !fresh && bound.connection.search(&Search::entry("", &["1.1"])).await.is_err() {
            bound = self.bound(state).await?.0;
        }
        Ok(bound)
    }

    /// The connection that is kept, or a new one; and whether it is new. It is taken out: a request that is given up on does
    /// not leave a connection behind that waits for its answer.
    async fn bound(&self, state: &mut State) -> Result<(Bound, bool), LdapError> {
        if let Some(bound) = state.bound.take()
            && bound.until.is_none_or(|until| now() < until)
        {
            return Ok((bound, false));
        }
        self.rested(state)?;
        let unlisted = |why| LdapError {
            server: "the domain's controllers".to_owned(),
            doing: "connecting".to_owned(),
            why: Why::Unreachable(why),
        };
        let controllers = self.controllers.list().await.map_err(unlisted)?;
        let mut last = unlisted("there is none".to_owned());
        for controller in controllers.iter().take(CONTROLLERS_LIMIT) {
            let server = match self.global_catalog {
                true => Server::global_catalog(controller, &self.transport),
                false => Server::of(controller, &self.transport),
            };
            match self.begin(&server, state).await {
                Ok(bound) => {
                    self.controllers.worked(&controller.host);
                    return Ok((bound, true));
                }
                // The same password would be as wrong at the next one, and lock the account sooner.
                Err(error) if !error.elsewhere() => {
                    let refused = match &error.why {
                        Why::Ticket(reject) => is_refusal(reject),
                        _ => error.code() == Some(ResultCode::INVALID_CREDENTIALS),
                    };
                    if refused {
                        let why = error.to_string();
                        state.refused = Some(Refused { at: Instant::now(), why, machine: self.machine() });
                    }
                    return Err(error);
                }
                Err(error) => {
                    // That a controller is no Global Catalog is no failure of it.
                    if !self.global_catalog {
                        self.controllers.failed(&controller.host, &error.to_string());
                    }
                    last = error;
                }
            }
        }
        Err(last)
    }

    /// The machine's account, if it is the one that is bound with.
    fn machine(&self) -> Option<Arc<Machine>> {
        match &self.account {
            Account::Machine(membership) => Some(membership.machine()),
            _ => None,
        }
    }

    fn rested(&self, state: &mut State) -> Result<(), LdapError> {
        let now = self.machine();
        let same = |refused: &Refused| match (&refused.machine, &now) {
            (Some(then), Some(now)) => Arc::ptr_eq(then, now),
            _ => true,
        };
        match state.refused.take_if(|refused| refused.at.elapsed() >= REST || !same(refused)) {
            Some(_) => Ok(()),
            None => match &state.refused {
                Some(refused) => Err(LdapError {
                    server: "the domain's controllers".to_owned(),
                    doing: format!("binding as {:?}", self.account),
                    why: Why::Resting(refused.why.clone()),
                }),
                None => Ok(()),
            },
        }
    }

    async fn begin(&self, server: &Server, state: &mut State) -> Result<Bound, LdapError> {
        let mut connection = Connection::open(server, &self.transport, self.patience).await?;
        let clients: Vec<Client> = match &self.account {
            Account::Anonymous => return Ok(Bound { connection, until: None }),
            Account::Simple { name, password } => {
                connection.bind_simple(name, password).await?;
                return Ok(Bound { connection, until: None });
            }
            Account::Kerberos(client) => vec![client.clone()],
            Account::Machine(membership) => clients_of(membership),
        };
        let mut last: Option<Reject> = None;
        for client in clients {
            // Tickets that were got earlier, unless they turn out to be of no use: the account may have been made anew.
            let kept = std::mem::take(&mut state.tickets);
            let attempts = if kept.is_empty() { 1 } else { 2 };
            for attempt in 0..attempts {
                let with = match attempt {
                    0 if !kept.is_empty() => client.with_credentials([client.credentials(), &kept].concat()),
                    _ => client.clone(),
                };
                match ticket_for(&with, &*self.kdc, &server.host).await {
                    Ok(ticket) => {
                        let until = ticket.service.endtime.0.saturating_sub(ticket.service.clock_offset);
                        connection.bind_gssapi(&ticket).await?;
                        let granting = |ticket: &&Credential| {
                            ticket.server.components.first().is_some_and(|first| first == "krbtgt")
                        };
                        state.tickets = ticket.new.iter().chain(&kept).filter(granting).cloned().collect();
                        state.tickets.truncate(TICKETS_LIMIT);
                        return Ok(Bound { connection, until: Some(UnixTime::from_secs(until.saturating_sub(60))) });
                    }
                    Err(reject) => last = Some(reject),
                }
            }
        }
        let none = || Policy::NoCredential { why: "the account has no password".to_owned() }.into();
        let why = Box::new(last.unwrap_or_else(none));
        Err(LdapError {
            server: server.to_string(),
            doing: format!("binding as {:?}", self.account),
            why: Why::Ticket(why),
        })
    }
}

/// Whether the KDC refuses the account itself, and not merely this moment: that none answers says nothing of the account.
fn is_refusal(reject: &Reject) -> bool {
    let refusals = [
        code::KDC_ERR_C_PRINCIPAL_UNKNOWN,
        code::KDC_ERR_CLIENT_REVOKED,
        code::KDC_ERR_KEY_EXPIRED,
        code::KDC_ERR_PREAUTH_FAILED,
    ];
    matches!(&reject.reason, Reason::Peer(Peer::KdcError { code, .. }) if refusals.contains(code))
}

/// How many ticket-granting tickets are kept: one, and those of the realms on a way.
const TICKETS_LIMIT: usize = 12;

/// The machine's account with each password that may hold, the likeliest first.
fn clients_of(membership: &Membership) -> Vec<Client> {
    let machine = membership.machine();
    let principal = Principal::user(&machine.account(), &machine.domain.realm());
    let client = |password: &Secret<String>| Client::new(principal.clone(), LongTerm::Password(password.clone()));
    machine.passwords().map(|password| client(&password.password)).collect()
}
