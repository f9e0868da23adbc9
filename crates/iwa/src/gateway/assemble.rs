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
use iwa_auth::{Acceptor, Mechanism, krb5, ntlm};
use iwa_domain::local::LocalAccounts;
use iwa_domain::machine::Machine;
use iwa_http::{Attempts, Authenticator, HalfOpen, Os, Ports, System as _};

use super::directory;
use super::domain::Joined;
use super::files::Files;
use super::forward_auth::Connections;
use super::gate::{Gate, Instead, Manner};
use super::identity::jwt::Issuer;
use super::identity::protected::Protected;
use super::identity::{Assertion, Whose};
use super::keytabs::Keytabs;
use super::logons::Logons;
use super::metrics::{Metered, Metrics};
use super::names;
use super::outbound::{Outbound, Tickets};
use super::proxy::Proxy;
use super::replay::ReplayMemory;
use super::session::{Demand, Sessions};
use super::site::{Content, Route, Site};
use super::terminators::Terminators;
use super::tls::Certificates;
use crate::config::{Config, Domain, Kerberos, SignIn};

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
    pub(super) half_open: Arc<HalfOpen>,
    pub(super) metrics: Arc<Metrics>,
    attempts: Arc<Attempts>,
    /// The connections of the clients of proxies that ask about their requests.
    pub(super) forwarded: Arc<Connections>,
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
        let attempts = Arc::new(Attempts::new(config.limits.passwords));
        let (metrics, forwarded) = (Arc::default(), Arc::default());
        Ok(Self { replay: Arc::new(replay), half_open: Arc::new(half_open), metrics, attempts, forwarded, skew })
    }
}

/// Makes a site of a configuration and its domains. What `before` knew of names, it knows too.
pub(crate) fn site(
    config: &Config,
    kept: &Kept,
    domains: Vec<Arc<Joined>>,
    before: Option<&Site>,
) -> Result<Site, Problem> {
    let accounts = match &config.accounts {
        Some(section) => Some(LocalAccounts::open(&section.state, section.lockout).map_err(|error| {
            Problem(format!("the accounts in {} cannot be opened: {error}", section.state.display()))
        })?),
        None => None,
    };
    let directory = directory::open(config.directory.as_ref(), before.and_then(|before| before.directory.as_ref()))?;
    if let Some(name) = directory.as_ref().map(|directory| directory.name())
        && domains.iter().any(|domain| domain.names.is(name))
    {
        return Err(Problem(format!("[directory] is called {name}, and so is a domain: give it a name of its own")));
    }
    let keytabs = Keytabs::read(&config.keytabs())?;
    kept.attempts.limit(config.limits.passwords);
    let ports = Ports {
        logon: Arc::new(Metered {
            metrics: Arc::clone(&kept.metrics),
            logons: Logons::new(accounts.clone(), &domains).with_directory(directory.clone()),
        }),
        replay: Arc::clone(&kept.replay) as _,
        half_open: Arc::clone(&kept.half_open),
        attempts: Arc::clone(&kept.attempts),
        system: Arc::new(Os),
        logon_timeout: config.limits.logon_timeout,
    };
    let terminators = Terminators::open(&config.authentication.terminators)?;
    let acceptor = acceptor(config, accounts.as_ref(), &domains, &keytabs)?.with_terminators(terminators.bindings());
    let certificates = config.tls.as_ref().map(|tls| Certificates::open(tls, config.offers_http2())).transpose()?;
    let longest = config.longest_session();
    let same =
        |sessions: &&Arc<Sessions>| config.sessions.as_ref().is_some_and(|section| sessions.are(section, longest));
    let sessions = match (before.and_then(|before| before.sessions.as_ref()).filter(same), &config.sessions) {
        (Some(sessions), _) => Some(Arc::clone(sessions)),
        (None, Some(section)) => Some(Sessions::open(section, longest)?),
        (None, None) => None,
    };
    let authenticator = Authenticator::new(config.authentication.policy.clone(), acceptor, ports);
    let now = u64::try_from(Os.now().secs()).unwrap_or_default();
    let issuer = config.jwt.as_ref().map(|jwt| Issuer::open(jwt, now).map(Arc::new)).transpose().map_err(Problem)?;
    let tickets = Arc::new(Tickets::new(MOST_TICKETS, config.limits.logon_timeout));
    let protected = Arc::new(Protected::new(config.routes.iter().flat_map(|route| route.told.names())));
    let whose = match &accounts {
        Some(accounts) => {
            let snapshot =
                accounts.snapshot().map_err(|error| Problem(format!("the accounts cannot be read: {error}")))?;
            let machine = snapshot.machine();
            Whose::new(Some((machine.name.clone(), machine.realm.clone(), machine.sid)))
        }
        None => Whose::default(),
    };
    let proxies_before = || before.into_iter().flat_map(Site::proxies);
    let routes = config.routes.iter().map(|route| {
        let content = match (&route.files, &route.proxy) {
            (_, Some(proxy)) => {
                let site = &config.authentication.policy;
                let takes_basic =
                    |sign_in: &SignIn| sign_in.policy(site).as_ref().unwrap_or(site).basic_realm.is_some();
                let basic_is_ours =
                    takes_basic(&route.sign_in) || route.clauses().any(|(_, clause)| takes_basic(&clause));
                Content::Proxy(Box::new(Proxy::new(proxy, &route.path, basic_is_ours, proxies_before())?))
            }
            (Some(files), None) => Content::Files(Files::new(files.clone(), &route.path)),
            (None, None) => Content::Whoami,
        };
        let manner = |sign_in: &SignIn| Manner {
            session: route.session.as_ref().filter(|_| sign_in.off != Some(true)).map(|terms| {
                let policy = sign_in.policy(&config.authentication.policy);
                let form = sign_in.instead == Some(Instead::Form);
                Demand::new(terms, policy.as_ref().unwrap_or(&config.authentication.policy), form, config)
            }),
            authenticator: sign_in
                .policy(&config.authentication.policy)
                .map(|policy| authenticator.with_policy(policy)),
            off: sign_in.off == Some(true),
            instead: sign_in.instead.clone().unwrap_or_default(),
        };
        let clauses = route.clauses().map(|(condition, sign_in)| (condition.clone(), manner(&sign_in)));
        let gate = Gate::new(clauses.collect(), manner(&route.sign_in));
        let assertion = Assertion::new(&route.told, &protected, issuer.as_ref());
        let outbound = route.outbound.as_ref();
        let outbound =
            outbound.map(|section| Outbound::new(section, config, &domains, &keytabs, &tickets)).transpose()?;
        Ok(Route::new(route.path.clone(), route.rules.clone(), gate, content, assertion).with_outbound(outbound))
    });
    let groups = names::of_config(config, before.map_or(&[], |before| before.groups.as_slice()));
    let routes: Vec<Route> = routes.collect::<Result<_, Problem>>()?;
    let mut demands: Vec<Demand> = Vec::new();
    for demand in routes.iter().flat_map(|route| route.gate.manners()).filter_map(|manner| manner.session.as_ref()) {
        if !demands.contains(demand) {
            demands.push(demand.clone());
        }
    }
    let has_forms = routes.iter().flat_map(|route| route.gate.manners()).any(|manner| manner.instead == Instead::Form);
    let own_accounts = own_accounts(&domains, &keytabs);
    Ok(Site {
        routes,
        has_forms,
        sessions,
        demands,
        domains,
        directory,
        groups,
        whose,
        issuer,
        authenticator,
        accounts,
        own_accounts,
        realms: keytabs.realms(),
        tickets,
        keytabs: Mutex::new(keytabs),
        certificates: certificates.map(Arc::new),
        terminators,
        config: config.clone(),
    })
}

/// Tickets for applications that are kept in memory: some 3 kB each.
const MOST_TICKETS: usize = 10_000;

/// Those of the machine in its domains, and those with keys in the keytabs. A service's own account may well be a program's, too.
fn own_accounts(domains: &[Arc<Joined>], keytabs: &Keytabs) -> Vec<(String, String)> {
    let machines =
        domains.iter().filter_map(|domain| Some((domain.machine.as_ref()?.account(), domain.names.dns.clone())));
    machines.chain(keytabs.machines()).collect()
}

/// The same site's mechanisms with the keys of now.
pub(crate) fn with_keys(site: &Site, keytabs: &Keytabs) -> Result<Acceptor, Problem> {
    let acceptor = acceptor(&site.config, site.accounts.as_ref(), &site.domains, keytabs)?;
    Ok(acceptor.with_terminators(site.terminators.bindings()))
}

fn acceptor(
    config: &Config,
    accounts: Option<&LocalAccounts>,
    domains: &[Arc<Joined>],
    keytabs: &Keytabs,
) -> Result<Acceptor, Problem> {
    let machine = domains.iter().find_map(|domain| domain.machine.as_deref());
    Ok(Acceptor::new(AcceptorConfig {
        mechanisms: vec![Mechanism::Kerberos, Mechanism::Ntlm],
        krb5: config.kerberos.as_ref().map(|kerberos| krb5(config, kerberos, keytabs)).transpose()?,
        ntlm: config.verifies_ntlm().then(|| ntlm(config, machine, accounts)).transpose()?,
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
    policy.evidence =
        config.routes.iter().filter_map(|route| route.outbound.as_ref()).any(|outbound| outbound.needs_evidence());
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
    let service = krb5::acceptor::Service::new(keytabs.keys()?, policy);
    Ok(match &section.kdc_keytab {
        Some(path) => {
            let kdc = Keytabs::read(std::slice::from_ref(path))?.keys()?;
            // Not those of trusts, `krbtgt/OTHER@REALM`: other realms do not sign our tickets' PACs.
            let own = |name: &&str| {
                let of_realm = name.strip_prefix("krbtgt/").and_then(|name| name.split_once('@'));
                of_realm.is_some_and(|(of, realm)| of == realm)
            };
            let keys = kdc.services().filter(own).flat_map(|name| kdc.keys_of(name));
            let service = keys.fold(service, |service, key| service.with_kdc_key(key.key()));
            if !service.verifies_the_kdc() {
                return Err(Problem(format!("{} has no key of krbtgt/REALM@REALM", path.display())));
            }
            service
        }
        None => service,
    })
}

/// NTLM, under the names of the machine in its domain, else of the accounts' machine, unless the configuration has others.
fn ntlm(
    config: &Config,
    machine: Option<&Machine>,
    accounts: Option<&LocalAccounts>,
) -> Result<ntlm::acceptor::Server, Problem> {
    let section = &config.ntlm;
    let computer = match (&section.computer_name, machine, accounts) {
        (Some(name), ..) => name.clone(),
        (None, Some(machine), _) => machine.computer.clone(),
        (None, None, Some(accounts)) => {
            let snapshot =
                accounts.snapshot().map_err(|error| Problem(format!("the accounts cannot be read: {error}")))?;
            snapshot.machine().name.clone()
        }
        (None, None, None) if config.directory.is_some() => {
            config.directory.as_ref().map(|directory| directory.name.clone()).unwrap_or_default()
        }
        (None, None, None) => {
            return Err(Problem(
                "[ntlm] needs computer-name and domain-name: another program is the member of the domain, and its names are \
                 not known here"
                    .to_owned(),
            ));
        }
    };
    let or = |written: &Option<String>, of_machine: fn(&Machine) -> &str| {
        written.clone().or_else(|| Some(of_machine(machine?).to_owned()))
    };
    let config = ntlm::acceptor::ServerConfig {
        nb_domain: or(&section.domain_name, |machine| &machine.domain.netbios).unwrap_or_else(|| computer.clone()),
        dns_computer: or(&section.dns_computer_name, |machine| &machine.dns_host_name),
        dns_domain: or(&section.dns_domain_name, |machine| &machine.domain.dns),
        dns_tree: or(&section.dns_tree_name, |machine| &machine.domain.forest),
        require_mic: section.require_mic,
        target_names: section.target_names.clone(),
        challenge_lifetime: section.challenge_age,
        max_skew: section.clock_skew,
        ..ntlm::acceptor::ServerConfig::standalone(&computer)
    };
    ntlm::acceptor::Server::new(config).map_err(|error| Problem(format!("[ntlm]: {error}")))
}
