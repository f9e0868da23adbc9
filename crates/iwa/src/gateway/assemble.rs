//! From a configuration to a site that runs: keys and accounts are opened here, once, and never on the way of a request.

use core::fmt;
use core::time::Duration;
use std::io;
use std::sync::{Arc, Mutex};

use iwa_auth::accept::AcceptorConfig;
use iwa_auth::krb5::acceptor::ServicePolicy;
use iwa_auth::krb5::etype::Etype;
use iwa_auth::krb5::keys::ServiceNames;
use iwa_auth::krb5::pac::PacPolicy;
use iwa_auth::ports::{Answer, Logon, LogonError, LogonInfo, NetworkLogon, PasswordVerified};
use iwa_auth::{Acceptor, Mechanism, Secret, krb5, ntlm};
use iwa_domain::local::LocalAccounts;
use iwa_http::{Authenticator, HalfOpen, Os, Ports, System as _};

use super::files::Files;
use super::keytabs::Keytabs;
use super::replay::ReplayMemory;
use super::site::{Content, Route, Site};
use crate::config::{Config, Domain, Kerberos};

/// Why there is no site. One line for the administrator.
#[derive(Debug)]
pub(crate) struct Problem(pub(crate) String);

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

/// What outlives a reload, because it remembers.
#[derive(Clone)]
pub(crate) struct Kept {
    pub(super) replay: Arc<ReplayMemory>,
    half_open: Arc<HalfOpen>,
    /// For which the replay cache was made.
    pub(super) skew: Duration,
}

impl Kept {
    /// For the server at this port.
    pub(crate) fn new(config: &Config, port: u16) -> Result<Self, Problem> {
        let skew = config.kerberos.as_ref().map_or(ServicePolicy::default().skew, |kerberos| kerberos.clock_skew);
        let state = config.accounts.as_ref().map(|accounts| accounts.state.as_path());
        let replay = ReplayMemory::open(state, port, skew, Os.now())?;
        let half_open = HalfOpen::new(config.limits.handshakes, config.limits.handshake_age);
        Ok(Self { replay: Arc::new(replay), half_open: Arc::new(half_open), skew })
    }
}

/// Makes a site of a configuration.
pub(crate) fn site(config: &Config, kept: &Kept) -> Result<Site, Problem> {
    let accounts = match &config.accounts {
        Some(section) => Some(LocalAccounts::open(&section.state, section.lockout).map_err(|error| {
            Problem(format!("the accounts in {} cannot be opened: {error}", section.state.display()))
        })?),
        None => None,
    };
    let keytabs = Keytabs::read(&config.keytabs())?;
    let ports = Ports {
        logon: match &accounts {
            Some(accounts) => Arc::new(accounts.clone()),
            None => Arc::new(NoAccounts),
        },
        replay: Arc::clone(&kept.replay) as _,
        half_open: Arc::clone(&kept.half_open),
        system: Arc::new(Os),
        logon_timeout: config.limits.logon_timeout,
    };
    let acceptor = acceptor(config, &accounts, &keytabs)?;
    let routes = config.routes.iter().map(|route| Route {
        path: route.path.clone(),
        rules: route.rules.clone(),
        content: match &route.files {
            Some(files) => Content::Files(Files::new(files.clone(), &route.path)),
            None => Content::Whoami,
        },
    });
    Ok(Site {
        routes: routes.collect(),
        authenticator: Authenticator::new(config.authentication.policy.clone(), acceptor, ports),
        accounts,
        keytabs: Mutex::new(keytabs),
        config: config.clone(),
    })
}

/// The same site's mechanisms with the keys of now.
pub(crate) fn with_keys(site: &Site, keytabs: &Keytabs) -> Result<Acceptor, Problem> {
    acceptor(&site.config, &site.accounts, keytabs)
}

fn acceptor(config: &Config, accounts: &Option<LocalAccounts>, keytabs: &Keytabs) -> Result<Acceptor, Problem> {
    Ok(Acceptor::new(AcceptorConfig {
        mechanisms: vec![Mechanism::Kerberos, Mechanism::Ntlm],
        krb5: config.kerberos.as_ref().map(|kerberos| krb5(config, kerberos, keytabs)).transpose()?,
        ntlm: accounts.as_ref().map(|accounts| ntlm(&config.ntlm, accounts)).transpose()?,
        binding: config.authentication.token_checking,
    }))
}

/// Kerberos, with the keys of the keytabs.
fn krb5(config: &Config, section: &Kerberos, keytabs: &Keytabs) -> Result<krb5::acceptor::Service, Problem> {
    let mut policy =
        ServicePolicy { skew: section.clock_skew, realms: section.client_realms.clone(), ..ServicePolicy::default() };
    if section.rc4 {
        policy.etypes.push(Etype::Rc4Hmac);
    }
    if !section.pac_required {
        policy.pac = PacPolicy::Optional;
    }
    if !section.service_names.is_empty() {
        policy.names = ServiceNames::Listed(section.service_names.clone());
    } else if config.domains.iter().any(Domain::has_keys) {
        // A machine's keys are those of all its services, and tickets for the others are not meant for this one. Its SPNs may
        // be more by now than when the keytab was written.
        policy.names = ServiceNames::Listed(vec!["HTTP".to_owned()]);
    }
    Ok(krb5::acceptor::Service::new(keytabs.keys()?, policy))
}

/// NTLM, under the names of the accounts' machine unless the configuration has others.
fn ntlm(section: &crate::config::Ntlm, accounts: &LocalAccounts) -> Result<ntlm::acceptor::Server, Problem> {
    let snapshot = accounts.snapshot().map_err(|error| Problem(format!("the accounts cannot be read: {error}")))?;
    let computer = section.computer_name.clone().unwrap_or_else(|| snapshot.machine().name.clone());
    let config = ntlm::acceptor::ServerConfig {
        nb_domain: section.domain_name.clone().unwrap_or_else(|| computer.clone()),
        dns_computer: section.dns_computer_name.clone(),
        dns_domain: section.dns_domain_name.clone(),
        dns_tree: section.dns_tree_name.clone(),
        require_mic: section.require_mic,
        target_names: section.target_names.clone(),
        challenge_lifetime: section.challenge_age,
        max_skew: section.clock_skew,
        ..ntlm::acceptor::ServerConfig::standalone(&computer)
    };
    ntlm::acceptor::Server::new(config).map_err(|error| Problem(format!("[ntlm]: {error}")))
}

/// Without `[accounts]` nobody can be asked.
struct NoAccounts;

impl Logon for NoAccounts {
    fn network<'a>(&'a self, _: &'a NetworkLogon) -> Answer<'a, Result<LogonInfo, LogonError>> {
        Box::pin(async { Err(LogonError::Unavailable(NO_ACCOUNTS.to_owned())) })
    }

    fn password<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
        _: &'a Secret<String>,
    ) -> Answer<'a, Result<PasswordVerified, LogonError>> {
        Box::pin(async { Err(LogonError::Unavailable(NO_ACCOUNTS.to_owned())) })
    }
}

const NO_ACCOUNTS: &str = "the configuration has no [accounts]";
