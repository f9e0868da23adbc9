//! The domains of a running server: what was joined, and whom to ask about it. They outlive a reload that does not change
//! them, with their connections and what they remember.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use iwa_auth::ports::{Answer, Directory, Kdc, Logon};
use iwa_domain::controller::Controllers;
use iwa_domain::dns::{Dns, Resolve};
use iwa_domain::kdc::Kdcs;
use iwa_domain::ldap;
use iwa_domain::locate::{Locator, Server};
use iwa_domain::machine::kerberos::{AskedByKerberos, SetPassword};
use iwa_domain::machine::rotate::{self, Policy};
use iwa_domain::machine::{Machine, MachinePassword, Membership};
use iwa_domain::names::{LdapNames, Memory, Names as RememberedNames};
use iwa_domain::netlogon::{Netlogon, NetlogonConfig};
use iwa_domain::tls::{Roots, client_config};
use iwa_http::{Os, System as _};
use iwa_wire::Sid;
use tokio::sync::watch;

use super::assemble::Problem;
use super::logons::Names;
use crate::config::{Backend, Config, Domain, LdapTls};

/// One domain.
pub(crate) struct Joined {
    /// What it was made of.
    pub(crate) config: Domain,
    /// The SID of this machine's own accounts, which a domain may not give to anybody.
    local: Option<Sid>,
    /// What it is called.
    pub(crate) names: Names,
    /// What this machine is called there; `None` where another program is the member.
    pub(crate) machine: Option<Arc<Machine>>,
    /// Who verifies NTLM and passwords.
    pub(crate) logon: Arc<dyn Logon>,
    /// Who knows its names and SIDs; `None` where nobody does.
    pub(crate) directory: Option<Arc<dyn Directory>>,
    /// The machine's account, to be kept fresh.
    kept: Option<Kept>,
}

/// What keeps the machine's password fresh.
struct Kept {
    membership: Membership,
    kdc: Arc<dyn Kdc>,
    netlogon: Netlogon,
    /// Ends with the domain; `None` before it began.
    stop: Mutex<Option<watch::Sender<bool>>>,
}

/// Opens the domains of a configuration. Those of `before` whose section did not change go on.
///
/// # Errors
/// What was joined cannot be read.
pub(crate) fn open(config: &Config, before: &[Arc<Joined>]) -> Result<Vec<Arc<Joined>>, Problem> {
    let local = if config.domains.is_empty() { None } else { local_sid(config) };
    let one = |section: &Domain| match before
        .iter()
        .find(|joined| joined.config == *section && joined.local == local && !joined.joined_anew())
    {
        Some(joined) => Ok(Arc::clone(joined)),
        None => Joined::open(section, local)
            .map(Arc::new)
            .map_err(|why| Problem(format!("the domain {}: {why}", section.name))),
    };
    config.domains.iter().map(one).collect()
}

impl Joined {
    fn open(config: &Domain, local: Option<Sid>) -> Result<Self, String> {
        let resolver: Arc<dyn Resolve> =
            Arc::new(if config.dns.is_empty() { Dns::system() } else { Dns::at(config.dns.iter().copied()) });
        let servers = config.servers.iter().filter_map(|server| Server::parse(server));
        let locator =
            Locator::new(&config.name, Arc::clone(&resolver)).with_servers(servers).with_site(config.site.clone());
        let controllers: Arc<dyn Controllers> = Arc::new(locator);
        let by_winbind = config.backend == Backend::NtlmAuth;
        if by_winbind && !config.machine().exists() {
            let names = Names { dns: config.name.clone(), netbios: None, sid: None };
            let logon = winbind(config)?;
            return Ok(Self {
                config: config.clone(),
                local,
                names,
                machine: None,
                logon,
                directory: None,
                kept: None,
            });
        }

        let membership = Membership::open(&config.state).map_err(|error| error.to_string())?;
        let machine = membership.machine();
        if !machine.domain.dns.eq_ignore_ascii_case(&config.name) {
            return Err(format!("{} is a member of {}", config.state.display(), machine.domain.dns));
        }
        let names = Names {
            dns: config.name.clone(),
            netbios: Some(machine.domain.netbios.clone()),
            sid: Some(machine.domain.sid),
        };
        let mut kdcs = Kdcs::new();
        kdcs.set_controllers(&machine.domain.realm(), Arc::clone(&controllers));
        kdcs.set_dns(resolver);
        let kdc: Arc<dyn Kdc> = Arc::new(kdcs);
        let netlogon = Netlogon::new(
            membership.clone(),
            Arc::clone(&controllers),
            NetlogonConfig {
                in_flight: config.logons_in_flight,
                waiting: config.logon_queue,
                local,
                ..NetlogonConfig::default()
            },
        );
        let transport = match config.ldap.tls {
            LdapTls::Sasl => ldap::Transport::Clear,
            LdapTls::StartTls => ldap::Transport::StartTls(trusted(config.ldap.ca.as_deref())?),
            LdapTls::Ldaps => ldap::Transport::Tls(trusted(config.ldap.ca.as_deref())?),
        };
        let directory = || {
            let account = ldap::Account::Machine(membership.clone());
            let patience = ldap::Patience::default();
            ldap::Directory::new(Arc::clone(&controllers), Arc::clone(&kdc), transport.clone(), account, patience)
        };
        let source =
            LdapNames::new(machine.domain.clone(), Arc::new(directory()), Some(Arc::new(directory().global_catalog())));
        let logon: Arc<dyn Logon> = if by_winbind { winbind(config)? } else { Arc::new(netlogon.clone()) };
        Ok(Self {
            config: config.clone(),
            local,
            names,
            machine: Some(machine),
            logon,
            directory: Some(Arc::new(RememberedNames::new(Arc::new(source), Memory::default()))),
            kept: Some(Kept { membership, kdc, netlogon, stop: Mutex::default() }),
        })
    }

    /// Who carries messages to its KDCs, where the machine joined.
    pub(crate) fn kdc(&self) -> Option<Arc<dyn Kdc>> {
        self.kept.as_ref().map(|kept| Arc::clone(&kept.kdc))
    }

    /// Whether the machine joined again since, perhaps under another name.
    fn joined_anew(&self) -> bool {
        let Some(kept) = &self.kept else { return false };
        // One that cannot be read now is told when it is opened again, or by whoever needs it.
        let _ = kept.membership.refresh();
        let now = kept.membership.machine();
        self.machine.as_ref().is_none_or(|machine| {
            (machine.domain != now.domain)
                || machine.computer != now.computer
                || machine.dns_host_name != now.dns_host_name
        })
    }

    /// Begins to keep the machine's password fresh, once, until the domain is dropped. For servers; must be called on a
    /// runtime.
    pub(crate) fn keep(&self) {
        let Some(kept) = &self.kept else { return };
        let mut begun = kept.stop.lock().unwrap_or_else(PoisonError::into_inner);
        if begun.is_some() {
            return;
        }
        let (stop, stopping) = watch::channel(false);
        let (membership, age) = (kept.membership.clone(), self.config.password_age);
        let account = AskedByKerberos::new(Arc::clone(&kept.kdc), ByNetlogon(kept.netlogon.clone()));
        tokio::spawn(async move {
            rotate::keep(membership, &account, Policy { age, ..Policy::default() }, || Os.now(), stopping).await;
        });
        *begun = Some(stop);
    }
}

/// Sets passwords over the secure channel.
struct ByNetlogon(Netlogon);

impl SetPassword for ByNetlogon {
    fn set_password<'a>(&'a self, _: &'a Machine, new: &'a MachinePassword) -> Answer<'a, Result<(), String>> {
        Box::pin(self.0.set_password(&new.password))
    }
}

/// The SID of this machine's own accounts, if it has any.
fn local_sid(config: &Config) -> Option<Sid> {
    let accounts = config.accounts.as_ref()?;
    let local = iwa_domain::local::LocalAccounts::open(&accounts.state, accounts.lockout).ok()?;
    Some(local.snapshot().ok()?.machine().sid)
}

fn trusted(ca: Option<&Path>) -> Result<Arc<rustls::ClientConfig>, String> {
    let files = ca.map(Path::to_owned).into_iter().collect();
    client_config(&Roots { system: ca.is_none(), files })
}

/// Samba's `ntlm_auth`, as many of them as logons may be under way.
#[cfg(unix)]
fn winbind(config: &Domain) -> Result<Arc<dyn Logon>, String> {
    use iwa_domain::ntlm_auth::{NtlmAuth, NtlmAuthConfig};

    let config = NtlmAuthConfig { processes: config.logons_in_flight, ..NtlmAuthConfig::default() };
    Ok(Arc::new(NtlmAuth::new(config)))
}

#[cfg(not(unix))]
fn winbind(_: &Domain) -> Result<Arc<dyn Logon>, String> {
    Err("backend = \"ntlm-auth\": there is no winbind on this system".to_owned())
}

#[cfg(test)]
pub(crate) mod tests {
    use iwa_auth::ports::{LogonError, LogonInfo, NetworkLogon, PasswordVerified};
    use iwa_auth::{Account, Secret};

    use super::*;

    /// A domain that answers every logon alike.
    pub(crate) struct FakeLogon(Result<(Account, Vec<Sid>), LogonError>);

    impl FakeLogon {
        pub(crate) fn knows(account: Account) -> Self {
            Self::in_groups(account, Vec::new())
        }

        pub(crate) fn in_groups(account: Account, groups: Vec<Sid>) -> Self {
            Self(Ok((account, groups)))
        }

        pub(crate) fn fails(error: LogonError) -> Self {
            Self(Err(error))
        }
    }

    impl Logon for FakeLogon {
        fn network<'a>(&'a self, _: &'a NetworkLogon) -> Answer<'a, Result<LogonInfo, LogonError>> {
            Box::pin(async {
                let (account, groups) = self.0.clone()?;
                Ok(LogonInfo { account, groups, named_groups: None, session_base_key: Secret::new([0; 16]) })
            })
        }

        fn password<'a>(
            &'a self,
            _: &'a str,
            _: &'a str,
            _: &'a Secret<String>,
        ) -> Answer<'a, Result<PasswordVerified, LogonError>> {
            Box::pin(async {
                let (account, groups) = self.0.clone()?;
                Ok(PasswordVerified::by_authority(account, groups))
            })
        }
    }

    /// A domain of these names, whose SID is S-1-5-21-7-7-7.
    pub(crate) fn joined(dns: &str, netbios: &str, logon: impl Logon + 'static) -> Arc<Joined> {
        joined_with(dns, netbios, logon, None)
    }

    pub(crate) fn joined_with(
        dns: &str,
        netbios: &str,
        logon: impl Logon + 'static,
        directory: Option<Arc<dyn Directory>>,
    ) -> Arc<Joined> {
        Arc::new(Joined {
            config: Domain::named(dns),
            local: None,
            kept: None,
            names: Names {
                dns: dns.to_owned(),
                netbios: Some(netbios.to_owned()),
                sid: Some("S-1-5-21-7-7-7".parse().expect("a SID")),
            },
            machine: None,
            logon: Arc::new(logon),
            directory,
        })
    }
}
