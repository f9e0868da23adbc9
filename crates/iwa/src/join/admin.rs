//! Whoever administers the domain: who it is, and the way to its directory. RFC 4120 3.1, RFC 4513 5.2.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::sync::Arc;

use iwa_auth::Secret;
use iwa_auth::krb5::client::{Client, LongTerm};
use iwa_auth::reject::{Peer, Reason, Reject};
use iwa_domain::controller::{Controller, Listed};
use iwa_domain::credentials::CacheName;
use iwa_domain::dns::Dns;
use iwa_domain::kdc::Kdcs;
use iwa_domain::krb5_conf::Krb5Conf;
use iwa_domain::ldap::{Account, Directory, Patience, Transport};
use iwa_domain::locate::{Locator, Server};
use iwa_domain::machine::kerberos::sign_in;
use iwa_wire::krb5::Principal;
use iwa_wire::krb5::error::code;

use crate::user::{Failure, password_from};

/// Who administers the domain.
#[derive(clap::Args, Debug)]
pub(crate) struct AdminArgs {
    /// The administrator: Administrator, CORP\Administrator or administrator@corp.example.test. The password is asked for.
    #[arg(short = 'U', long, value_name = "NAME")]
    user: Option<String>,
    /// Read the administrator's password from standard input.
    #[arg(long, requires = "user")]
    password_stdin: bool,
    /// Use the administrator's ticket, which `kinit` got, and no password.
    #[arg(short = 'k', long, conflicts_with = "user")]
    kerberos: bool,
    /// The credential cache of --kerberos.
    #[arg(long, value_name = "NAME", requires = "kerberos")]
    ccache: Option<String>,
}

/// How the domain is reached.
#[derive(clap::Args, Debug)]
pub(crate) struct ReachArgs {
    /// The domain controller to ask, in place of those that DNS knows.
    #[arg(long, value_name = "HOST")]
    server: Option<String>,
    /// A name server of the domain, in place of this machine's.
    #[arg(long, value_name = "ADDRESS")]
    dns: Vec<String>,
}

/// A domain controller, and a session with it as an administrator.
pub(crate) struct Session {
    pub(crate) controller: Controller,
    pub(crate) controllers: Arc<Listed>,
    pub(crate) kdcs: Arc<Kdcs>,
    pub(crate) directory: Directory,
    pub(crate) forest: Directory,
    /// What the administrator should know.
    pub(crate) warning: Option<String>,
}

impl AdminArgs {
    /// Whether somebody is named.
    pub(crate) const fn is_given(&self) -> bool {
        self.user.is_some() || self.kerberos
    }

    /// Finds a domain controller and signs in there.
    pub(crate) async fn session(&self, domain: &str, reach: &ReachArgs) -> Result<Session, Failure> {
        let controller = reach.controller(domain).await?;
        let realm = domain.to_uppercase();
        let conf = Krb5Conf::load().map_err(|error| Failure(error.to_string()))?;
        let mut kdcs = Kdcs::new();
        // One controller for everything: another may not have heard yet of the account that this one makes.
        let controllers = Arc::new(Listed::new(vec![controller.clone()]));
        kdcs.set_controllers(&realm, controllers.clone());
        kdcs.set_dns(reach.resolver()?);
        let kdcs = Arc::new(kdcs);
        let mut warning = None;
        let client = if self.kerberos {
            self.cached(&conf)?
        } else {
            let client = self.named(&realm)?;
            let signed_in = sign_in(&client, &*kdcs).await.map_err(|reject| refused(client.principal(), &reject))?;
            if signed_in.tgt.clock_offset != 0 {
                warning = Some(format!(
                    "this machine's clock is {} s off the domain controller's: tickets are refused above 300 s, set it (NTP)",
                    signed_in.tgt.clock_offset.unsigned_abs()
                ));
            }
            client.with_credentials(vec![signed_in.tgt])
        };
        let directory = |account| {
            let kdc: Arc<Kdcs> = Arc::clone(&kdcs);
            Directory::new(controllers.clone(), kdc, Transport::Clear, account, Patience::default())
        };
        Ok(Session {
            controller,
            controllers: controllers.clone(),
            directory: directory(Account::Kerberos(client.clone())),
            forest: directory(Account::Kerberos(client)).global_catalog(),
            kdcs,
            warning,
        })
    }

    fn named(&self, realm: &str) -> Result<Client, Failure> {
        let Some(user) = &self.user else {
            return Err(Failure(
                "who administers the domain? -U NAME asks for a password, -k takes a ticket".to_owned(),
            ));
        };
        let (name, realm) = match (user.split_once('\\'), user.split_once('@')) {
            // The NetBIOS name of a domain says nothing about the realm of another.
            (Some((_, name)), _) => (name, realm.to_owned()),
            (None, Some((name, realm))) => (name, realm.to_uppercase()),
            (None, None) => (user.as_str(), realm.to_owned()),
        };
        let principal = Principal::user(name, &realm);
        let password = self.password(&principal)?;
        Ok(Client::new(principal, LongTerm::Password(password)))
    }

    fn cached(&self, conf: &Krb5Conf) -> Result<Client, Failure> {
        let cache = match &self.ccache {
            Some(name) => CacheName::parse(name),
            None => CacheName::default_name(conf),
        };
        cache.and_then(|cache| cache.client()).map_err(|error| Failure(format!("--kerberos: {error}; run kinit first")))
    }

    fn password(&self, principal: &Principal) -> Result<Secret<String>, Failure> {
        if self.password_stdin {
            return password_from(&mut std::io::stdin().lock());
        }
        if !std::io::stdin().is_terminal() {
            return Err(Failure(
                "there is no terminal to ask for the password at; --password-stdin reads it from standard input"
                    .to_owned(),
            ));
        }
        rpassword::prompt_password(format!("Password of {principal}: "))
            .map(Secret::new)
            .map_err(|error| Failure(format!("the password cannot be read from the terminal: {error}")))
    }
}

impl ReachArgs {
    /// Whoever finds the domain's controllers.
    pub(crate) fn locator(&self, domain: &str) -> Result<Locator, Failure> {
        let locator = Locator::new(domain, self.resolver()?);
        let Some(server) = &self.server else { return Ok(locator) };
        let server = Server::parse(server)
            .ok_or_else(|| Failure(format!("--server {server}: wanted a name or an address of a domain controller")))?;
        Ok(locator.with_servers([server]))
    }

    async fn controller(&self, domain: &str) -> Result<Controller, Failure> {
        let report = self.locator(domain)?.look().await;
        report.controllers().into_iter().next().ok_or_else(|| Failure(report.advice()))
    }

    fn resolver(&self) -> Result<Arc<Dns>, Failure> {
        let server = |text: &String| {
            Dns::parse_server(text)
                .ok_or_else(|| Failure(format!("--dns {text}: wanted an address such as 192.0.2.53")))
        };
        let servers: Vec<SocketAddr> = self.dns.iter().map(server).collect::<Result<_, _>>()?;
        Ok(Arc::new(if servers.is_empty() { Dns::system() } else { Dns::at(servers) }))
    }
}

/// What it means that the KDC does not sign the administrator in.
fn refused(principal: &Principal, reject: &Reject) -> Failure {
    Failure(match &reject.reason {
        Reason::Peer(Peer::KdcError { code: code::KDC_ERR_PREAUTH_FAILED, .. }) => {
            format!("the password of {principal} is wrong; nothing was changed")
        }
        Reason::Peer(Peer::KdcError { code: code::KDC_ERR_C_PRINCIPAL_UNKNOWN, .. }) => {
            format!("there is no account {principal}; nothing was changed")
        }
        Reason::Peer(Peer::KdcError { code: code::KDC_ERR_CLIENT_REVOKED, .. }) => {
            format!("the account {principal} is disabled, locked out, or outside of its hours; nothing was changed")
        }
        Reason::Peer(Peer::KdcError { code: code::KRB_AP_ERR_SKEW, .. }) => {
            format!("{reject}: set this machine's clock by the domain controller's (NTP); nothing was changed")
        }
        _ => format!("{principal} cannot sign in: {reject}; nothing was changed"),
    })
}
