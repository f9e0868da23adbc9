//! The domains of a running server: what was joined, and whom to ask about it. They outlive a reload that does not change
//! them, with their connections and what they remember.

use std::sync::Arc;

use iwa_auth::Secret;
use iwa_auth::ports::{Answer, Directory, Logon, LogonError, LogonInfo, NetworkLogon, PasswordVerified};
use iwa_domain::machine::Machine;

use super::assemble::Problem;
use super::logons::Names;
use crate::config::{Backend, Domain};

/// One domain.
pub(crate) struct Joined {
    /// What it was made of.
    pub(crate) config: Domain,
    /// What it is called.
    pub(crate) names: Names,
    /// What this machine is called there; `None` where another program is the member.
    pub(crate) machine: Option<Arc<Machine>>,
    /// Who verifies NTLM and passwords.
    pub(crate) logon: Arc<dyn Logon>,
    /// Who knows its names and SIDs; `None` where nobody does.
    pub(crate) directory: Option<Arc<dyn Directory>>,
}

/// Opens the domains of a configuration. Those of `before` whose section did not change go on.
pub(crate) fn open(sections: &[Domain], before: &[Arc<Joined>]) -> Result<Vec<Arc<Joined>>, Problem> {
    let one = |section: &Domain| match before.iter().find(|joined| joined.config == *section) {
        Some(joined) => Ok(Arc::clone(joined)),
        None => Joined::open(section).map(Arc::new),
    };
    sections.iter().map(one).collect()
}

/// Nobody can be asked.
struct Nobody;

impl Logon for Nobody {
    fn network<'a>(&'a self, _: &'a NetworkLogon) -> Answer<'a, Result<LogonInfo, LogonError>> {
        Box::pin(async { Err(LogonError::Unavailable(NOT_YET.to_owned())) })
    }

    fn password<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
        _: &'a Secret<String>,
    ) -> Answer<'a, Result<PasswordVerified, LogonError>> {
        Box::pin(async { Err(LogonError::Unavailable(NOT_YET.to_owned())) })
    }
}

const NOT_YET: &str =
    "domain controllers are not asked about NTLM and passwords by this version; Kerberos needs them not";

impl Joined {
    /// Opens one.
    fn open(config: &Domain) -> Result<Self, Problem> {
        let names = Names { dns: config.name.clone(), netbios: None, sid: None };
        let logon: Arc<dyn Logon> = match config.backend {
            Backend::Netlogon => Arc::new(Nobody),
            Backend::NtlmAuth => winbind(config)?,
        };
        Ok(Self { config: config.clone(), names, machine: None, logon, directory: None })
    }
}

/// Samba's `ntlm_auth`, as many of them as logons may be under way.
#[cfg(unix)]
fn winbind(config: &Domain) -> Result<Arc<dyn Logon>, Problem> {
    use iwa_domain::ntlm_auth::{NtlmAuth, NtlmAuthConfig};

    let config = NtlmAuthConfig { processes: config.logons_in_flight, ..NtlmAuthConfig::default() };
    Ok(Arc::new(NtlmAuth::new(config)))
}

#[cfg(not(unix))]
fn winbind(_: &Domain) -> Result<Arc<dyn Logon>, Problem> {
    Err(Problem("backend = \"ntlm-auth\": there is no winbind on this system".to_owned()))
}

#[cfg(test)]
pub(crate) mod tests {
    use iwa_auth::Account;
    use iwa_wire::Sid;

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
