//! Which authority is asked about an NTLM response or a password: the local accounts or a domain. MS-NLMP 3.3, MS-APDS 3.1.
//!
//! | the client names | asked |
//! |---|---|
//! | a domain of the configuration, by NetBIOS or DNS name | that domain |
//! | the name of the `[directory]` | the directory |
//! | `name@suffix` with a domain's DNS name | that domain |
//! | `.`, the machine's name or realm | the local accounts |
//! | nothing | the local accounts if they know the name, as Windows does; else the first domain |
//! | a domain that nobody here knows | the first domain, whose controllers know the trusts; never the local accounts |
//!
//! Where there is no domain the directory stands in the place of the first one. Without local accounts a domain answers for
//! everybody, and without a domain and a directory the local accounts do. Whom an answer is
//! about, its authority says: the name that the client gave decides only who is asked.

use std::sync::Arc;

use iwa_auth::Secret;
use iwa_auth::ports::{Answer, Logon, LogonError, LogonInfo, NetworkLogon, PasswordVerified};
use iwa_domain::local::LocalAccounts;
use iwa_domain::local::name::same;

use super::directory::Opened;
use super::domain::Joined;

/// All authorities of a site.
pub(crate) struct Logons {
    accounts: Option<LocalAccounts>,
    domains: Vec<Arc<Joined>>,
    directory: Option<Arc<Opened>>,
}

impl Logons {
    /// Of these.
    pub(crate) fn new(accounts: Option<LocalAccounts>, domains: &[Arc<Joined>]) -> Self {
        Self { accounts, domains: domains.to_vec(), directory: None }
    }

    /// And of this directory.
    pub(crate) fn with_directory(self, directory: Option<Arc<Opened>>) -> Self {
        Self { directory, ..self }
    }

    /// Who is asked about this user of this domain, as the client spelled them.
    async fn authority(&self, domain: &str, user: &str) -> Result<&dyn Logon, LogonError> {
        if let Some(directory) = self.directory.as_deref().filter(|directory| same(domain, directory.name())) {
            return Ok(&directory.logon);
        }
        let (accounts, first): (_, &dyn Logon) = match (&self.accounts, self.domains.first(), &self.directory) {
            (accounts, Some(first), _) => (accounts, &*first.logon),
            (accounts, None, Some(directory)) => (accounts, &directory.logon),
            (Some(accounts), None, None) => return Ok(accounts),
            (None, None, None) => return Err(LogonError::Unavailable(NOBODY.to_owned())),
        };
        let suffix = || user.rsplit_once('@').map(|(_, suffix)| suffix);
        let named = if domain.is_empty() { suffix() } else { Some(domain) };
        let known = named.and_then(|name| self.domains.iter().find(|known| known.names.is(name)));
        if let Some(known) = known {
            return Ok(&*known.logon);
        }
        let Some(accounts) = accounts else { return Ok(first) };
        let snapshot = accounts.current().await.map_err(|error| LogonError::Unavailable(error.to_string()))?;
        let local = if domain.is_empty() {
            suffix().is_some_and(|suffix| snapshot.is_own_domain(suffix))
                || snapshot.logon_account(domain, user).is_some()
        } else {
            snapshot.is_own_domain(domain)
        };
        Ok(if local { accounts } else { first })
    }
}

impl Logon for Logons {
    fn network<'a>(&'a self, logon: &'a NetworkLogon) -> Answer<'a, Result<LogonInfo, LogonError>> {
        Box::pin(async { self.authority(&logon.domain, &logon.user).await?.network(logon).await })
    }

    fn password<'a>(
        &'a self,
        domain: &'a str,
        user: &'a str,
        password: &'a Secret<String>,
    ) -> Answer<'a, Result<PasswordVerified, LogonError>> {
        Box::pin(async move { self.authority(domain, user).await?.password(domain, user, password).await })
    }
}

/// What a domain is called, as far as it is known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    /// The DNS name, in lower case.
    pub(crate) dns: String,
    /// The NetBIOS name.
    pub(crate) netbios: Option<String>,
    /// The domain's SID.
    pub(crate) sid: Option<iwa_wire::Sid>,
}

impl Names {
    /// Whether a name is the domain's.
    pub(crate) fn is(&self, name: &str) -> bool {
        same(name, &self.dns) || self.netbios.as_deref().is_some_and(|own| same(name, own))
    }
}

const NOBODY: &str = "the configuration has no [accounts], no [[domain]] and no [directory]";

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use iwa_auth::{Account, NtStatus};
    use iwa_domain::local::{Lockout, NewUser};

    use super::*;
    use crate::gateway::domain::tests::{FakeLogon, joined};

    /// A state directory of the machine WEB in realm WEB.INTERNAL with the local account alice.
    struct State(PathBuf);

    impl State {
        fn new(name: &str) -> (Self, LocalAccounts) {
            let dir = std::env::temp_dir().join(format!("iwa-logons-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&dir);
            let (accounts, _) =
                LocalAccounts::open_or_create(&dir, "WEB", "WEB.INTERNAL", Lockout::default()).expect("accounts");
            let new = NewUser {
                name: "alice",
                password: &Secret::new("alice-Passw0rd".to_owned()),
                display_name: "",
                upn: Some("alice@mail.example.test"),
                must_change: false,
                expires: None,
            };
            accounts.add_user(&new).expect("an account");
            (Self(dir), accounts)
        }
    }

    impl Drop for State {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn fake(domain: &str) -> FakeLogon {
        FakeLogon::knows(Account {
            name: format!("{domain} answered"),
            domain: domain.to_owned(),
            ..Account::default()
        })
    }

    fn domains() -> Vec<Arc<Joined>> {
        vec![
            joined("corp.example.test", "CORP", fake("CORP")),
            joined("partner.example.test", "PARTNER", fake("PARTNER")),
        ]
    }

    /// Who answered: a domain's NetBIOS name, or `local` with what the local accounts said.
    async fn asked(logons: &Logons, domain: &str, user: &str) -> String {
        match logons.password(domain, user, &Secret::new("alice-Passw0rd".to_owned())).await {
            Ok(verified) => {
                let identity = iwa_auth::Identity::from_password(verified);
                let account = identity.account();
                if account.name.ends_with(" answered") {
                    account.domain.clone()
                } else {
                    format!("local {}", account.name)
                }
            }
            Err(LogonError::Refused(status)) => format!("local {}", status.name().unwrap_or("?")),
            Err(LogonError::Unavailable(why)) => why,
        }
    }

    #[tokio::test]
    async fn a_logon_goes_to_whoever_answers_for_its_domain() {
        let (_state, accounts) = State::new("routes");
        let both = Logons::new(Some(accounts.clone()), &domains());
        let only_domains = Logons::new(None, &domains());
        let only_local = Logons::new(Some(accounts), &[]);
        for (domain, user, wanted, without_accounts) in [
            ("CORP", "alice", "CORP", "CORP"),
            ("corp", "alice", "CORP", "CORP"),
            ("Corp.Example.Test", "alice", "CORP", "CORP"),
            ("PARTNER", "alice", "PARTNER", "PARTNER"),
            ("partner.example.test", "bob", "PARTNER", "PARTNER"),
            ("", "alice@corp.example.test", "CORP", "CORP"),
            ("", "alice@PARTNER.example.test", "PARTNER", "PARTNER"),
            // The domain says who is meant, whatever the user looks like.
            ("PARTNER", "alice@corp.example.test", "PARTNER", "PARTNER"),
            // Local accounts.
            ("", "alice", "local alice", "CORP"),
            (".", "alice", "local alice", "CORP"),
            ("WEB", "Alice", "local alice", "CORP"),
            ("web.internal", "alice", "local alice", "CORP"),
            ("", "alice@web.internal", "local alice", "CORP"),
            ("", "alice@mail.example.test", "local alice", "CORP"),
            ("WEB", "bob", "local NO_SUCH_USER", "CORP"),
            ("", "bob@web.internal", "local NO_SUCH_USER", "CORP"),
            // Nothing local is meant by a name that is not there, or a domain that nobody knows.
            ("", "bob", "CORP", "CORP"),
            ("TRUSTED", "alice", "CORP", "CORP"),
            ("CLIENT-PC", "alice", "CORP", "CORP"),
            ("", "alice@trusted.example.test", "CORP", "CORP"),
            ("", "alice@evil-corp.example.test", "CORP", "CORP"),
            ("", "alice@sub.corp.example.test", "CORP", "CORP"),
        ] {
            assert_eq!(asked(&both, domain, user).await, wanted, "{domain}\\{user}");
            assert_eq!(asked(&only_domains, domain, user).await, without_accounts, "{domain}\\{user}");
            // Without a domain as ever: the local accounts answer, whatever domain the client thinks it is in.
            assert!(asked(&only_local, domain, user).await.starts_with("local "), "{domain}\\{user}");
        }
        assert_eq!(asked(&only_local, "CLIENT-PC", "alice").await, "local alice");
        assert_eq!(asked(&Logons::new(None, &[]), "", "alice").await, NOBODY);
    }

    #[tokio::test]
    async fn what_a_domain_refuses_or_cannot_answer_is_not_asked_of_the_local_accounts() {
        let (_state, accounts) = State::new("refused");
        for error in [LogonError::Refused(NtStatus::NO_SUCH_USER), LogonError::Unavailable("no controller".to_owned())]
        {
            let domains = [joined("corp.example.test", "CORP", FakeLogon::fails(error.clone()))];
            let logons = Logons::new(Some(accounts.clone()), &domains);
            for domain in ["CORP", "TRUSTED"] {
                let answer = logons.password(domain, "alice", &Secret::new("alice-Passw0rd".to_owned())).await;
                assert_eq!(answer.err(), Some(error.clone()));
            }
        }
    }
}
