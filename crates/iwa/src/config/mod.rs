//! The configuration: what was written (TOML, [`load`]) becomes a [`Config`], which is checked and resolved; `serve`, `check`
//! and `doctor` all take it from here.
//!
//! | section | IIS |
//! |---|---|
//! | `[server]`, `[tls]` | `<bindings>` and the certificates bound to them |
//! | `[authentication]` | `<anonymousAuthentication>`, `<basicAuthentication>`, `<windowsAuthentication>`, `<extendedProtection>` |
//! | `[kerberos]`, `[ntlm]`, `[accounts]` | the machine: its keytab, its names, its SAM |
//! | `[[domain]]` | the domains the machine is a member of, and their controllers |
//! | `[directory]` | users of an LDAP directory that is not Active Directory |
//! | `[[mapping]]` | - |
//! | `[jwt]` | - |
//! | `[sessions]` | - |
//! | `[[route]]` | a site's folder and its `<authorization>` |
//! | `[pages]` | `<httpErrors>` |
//! | `[forward-auth]` | - |
//! | `[log]` | `<logFile>` |
//! | `[admin]` | Failed Request Tracing and the performance counters |
//! | `[limits]` | `<requestLimits>`, `MaxFieldLength` of HTTP.sys |

mod admin;
mod directory;
mod domain;
mod forward_auth;
mod front;
mod gate;
mod identity;
mod kerberos;
mod keytab;
mod mapping;
mod outbound;
mod pages;
mod proxy;
mod raw;
mod read;
mod routes;
mod session;
mod tls;
mod together;
mod value;

#[cfg(test)]
pub(crate) mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use iwa_auth::BindingPolicy;
use iwa_auth::krb5::acceptor::ClientRealms;
use iwa_domain::local::Lockout;

use crate::gateway::authorize::Rule;
use crate::gateway::terminators::Terminator;

pub(crate) use admin::Admin;
pub(crate) use directory::Directory;
pub(crate) use domain::{Backend, Domain, LdapTls};
pub(crate) use forward_auth::ForwardAuth;
pub(crate) use front::{Http2, Networks};
pub(crate) use gate::SignIn;
#[cfg(test)]
pub(crate) use gate::When;
pub(crate) use keytab::KeytabSummary;
pub(crate) use outbound::{How, Outbound, Who};
pub(crate) use proxy::{Balance, Health, HostHeader, Proxy, Settings, ToHttp2};
pub(crate) use raw::{Problem, Severity};
pub(crate) use read::{Loaded, load};
pub(crate) use session::Sessions;

/// Where accounts are kept unless somebody says otherwise.
pub(crate) const DEFAULT_STATE: &str = "/var/lib/iwa";

/// A configuration that was checked: files exist, names parse, nothing contradicts itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    /// Where the server listens.
    pub(crate) server: Server,
    /// TLS; `None` without `[tls]`.
    pub(crate) tls: Option<Tls>,
    /// Who is signed in, and how.
    pub(crate) authentication: Authentication,
    /// Kerberos; `None` without `[kerberos]` and without a domain that brings keys.
    pub(crate) kerberos: Option<Kerberos>,
    /// NTLM's names and limits. NTLM needs `[accounts]` or a domain.
    pub(crate) ntlm: Ntlm,
    /// The local accounts; `None` without `[accounts]`.
    pub(crate) accounts: Option<Accounts>,
    /// The domains, the first of which is the machine's own.
    pub(crate) domains: Vec<Domain>,
    /// The LDAP directory; `None` without `[directory]`.
    pub(crate) directory: Option<Directory>,
    /// Sessions; `None` without `[sessions]`.
    pub(crate) sessions: Option<Sessions>,
    /// What an application calls its visitors.
    pub(crate) mapping: crate::gateway::mapping::Mapping,
    /// Who issues tokens to applications; `None` without `[jwt]`.
    pub(crate) jwt: Option<crate::gateway::identity::jwt::JwtConfig>,
    /// What is served where, the longest path first, so that the first that covers a request is its route.
    pub(crate) routes: Vec<Route>,
    /// `[pages]`: pages in the administrator's words.
    pub(crate) pages: crate::gateway::templates::Templates,
    /// The proxies that may ask about requests of others; `None` without `[forward-auth]`.
    pub(crate) forward_auth: Option<ForwardAuth>,
    /// The logs.
    pub(crate) log: Log,
    /// The limits.
    pub(crate) limits: Limits,
    /// The port for an operator's tools.
    pub(crate) admin: Admin,
}

/// `[server]`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Server {
    /// `listen`: addresses and ports of HTTP in clear.
    pub(crate) listen: Vec<SocketAddr>,
    /// `listen`: those with `https://`.
    pub(crate) listen_tls: Vec<SocketAddr>,
    /// `http2`.
    pub(crate) http2: Http2,
    /// `proxy-protocol`: relays that say whose connection they hand on.
    pub(crate) proxy_protocol: Networks,
    /// `trusted-proxies`: proxies that are believed whose request they send.
    pub(crate) trusted_proxies: Networks,
}

/// `[tls]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tls {
    /// `[[tls.certificate]]`, at least one; the first answers clients whose name no other has.
    pub(crate) certificates: Vec<CertificateFiles>,
    /// `handshake-timeout`: how long a client may take until HTTP begins.
    pub(crate) handshake_timeout: Duration,
}

impl Tls {
    /// `handshake-timeout` by default.
    pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
}

/// `[[tls.certificate]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CertificateFiles {
    /// `certificate`: the chain, the server's own first, in PEM.
    pub(crate) certificate: PathBuf,
    /// `key`: its private key, in PEM.
    pub(crate) key: PathBuf,
}

/// `[authentication]` and what is below it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Authentication {
    /// Anonymous, the providers in their order, Basic, persistence.
    pub(crate) policy: iwa_http::Policy,
    /// `own-account`: whether the account of this machine itself may sign in.
    pub(crate) own_account: bool,
    /// `extended-protection`, `token-checking`.
    pub(crate) token_checking: BindingPolicy,
    /// `extended-protection`, `terminator-certificates`: of proxies that end the clients' TLS.
    pub(crate) terminators: Vec<Terminator>,
}

/// `[kerberos]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kerberos {
    /// `keytab`: the files with the service's keys; those of the domains come on top.
    pub(crate) keytabs: Vec<PathBuf>,
    /// `clock-skew`: how far clocks may differ.
    pub(crate) clock_skew: Duration,
    /// `rc4`: whether tickets encrypted with RC4 (etype 23) are taken.
    pub(crate) rc4: bool,
    /// `pac`: whether a ticket must have a PAC.
    pub(crate) pac_required: bool,
    /// `service-names`: what tickets may be for (`HTTP/host`, or `HTTP` for every host); empty means the principals of the
    /// keytabs, and with a domain's keys, which are the whole machine's, `HTTP`.
    pub(crate) service_names: Vec<String>,
    /// `kdc-keytab`: the file with the KDC's own key (`krbtgt/REALM`), with which its signatures in a PAC are verified; `None`
    /// leaves them unchecked.
    pub(crate) kdc_keytab: Option<PathBuf>,
    /// `client-realms`: whose clients are let in.
    pub(crate) client_realms: ClientRealms,
}

impl Default for Kerberos {
    fn default() -> Self {
        Self {
            keytabs: Vec::new(),
            clock_skew: Duration::from_secs(300),
            rc4: false,
            pac_required: true,
            service_names: Vec::new(),
            kdc_keytab: None,
            client_realms: ClientRealms::OfTheKeytab,
        }
    }
}

impl Kerberos {
    /// Kerberos with this keytab and everything else by default.
    pub(crate) fn with_keytab(keytab: PathBuf) -> Self {
        Self { keytabs: vec![keytab], ..Self::default() }
    }
}

/// `[ntlm]`. Names that are not given are those of the accounts' machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ntlm {
    /// `computer-name`: `MsvAvNbComputerName`.
    pub(crate) computer_name: Option<String>,
    /// `domain-name`: `MsvAvNbDomainName`.
    pub(crate) domain_name: Option<String>,
    /// `dns-computer-name`: `MsvAvDnsComputerName`.
    pub(crate) dns_computer_name: Option<String>,
    /// `dns-domain-name`: `MsvAvDnsDomainName`.
    pub(crate) dns_domain_name: Option<String>,
    /// `dns-tree-name`: `MsvAvDnsTreeName`.
    pub(crate) dns_tree_name: Option<String>,
    /// `require-mic`: refuse clients that announce no MIC.
    pub(crate) require_mic: bool,
    /// `target-names`: the SPNs that `MsvAvTargetName` may hold; empty means that it is not checked.
    pub(crate) target_names: Vec<String>,
    /// `clock-skew`: how old or new a response may claim to be.
    pub(crate) clock_skew: Duration,
    /// `challenge-age`: how long a client may take to answer a challenge.
    pub(crate) challenge_age: Duration,
}

impl Default for Ntlm {
    fn default() -> Self {
        Self {
            computer_name: None,
            domain_name: None,
            dns_computer_name: None,
            dns_domain_name: None,
            dns_tree_name: None,
            require_mic: false,
            target_names: Vec::new(),
            // MS-NLMP 3.1.5.1.2 suggests 36 hours: a client's clock is its own, and the challenge is what makes it fresh.
            clock_skew: Duration::from_secs(36 * 3600),
            challenge_age: Duration::from_secs(60),
        }
    }
}

/// `[accounts]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Accounts {
    /// `state`: the directory of `iwa user`.
    pub(crate) state: PathBuf,
    /// `[accounts.lockout]`.
    pub(crate) lockout: Lockout,
}

/// `[[route]]`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Route {
    /// `path`: begins with `/`, and covers itself and everything below it.
    pub(crate) path: String,
    /// `files`: the directory that is served; without one, a page that says who the visitor is.
    pub(crate) files: Option<PathBuf>,
    /// `proxy`: the application that requests go on to.
    pub(crate) proxy: Option<Proxy>,
    /// `[route.identity]`: what the application is told of its visitors.
    pub(crate) told: crate::gateway::identity::Told,
    /// `[route.outbound]`: as whom the gateway signs in there.
    pub(crate) outbound: Option<Outbound>,
    /// Who may: the rules of the routes above it, then its own, in the order in which they stand. Without any rule
    /// everybody may whom authentication lets through (IIS's factory rule).
    pub(crate) rules: Vec<Rule>,
    /// How visitors sign in here, where it is another way than in `[authentication]`.
    pub(crate) sign_in: SignIn,
    /// `[route.session]`: how sessions live here; `None`: there are none.
    pub(crate) session: Option<iwa_http::session::Terms>,
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Log {
    /// `dir`: where the files go; `None` writes no file.
    pub(crate) dir: Option<PathBuf>,
    /// `w3c`: whether there is a log as IIS writes it.
    pub(crate) w3c: bool,
    /// `json`: whether there is a log that says in words why.
    pub(crate) json: bool,
    /// `console`: whether the JSON lines go to standard output, besides files or without any.
    pub(crate) console: bool,
    /// `fields` of the W3C log, in their order.
    pub(crate) fields: Vec<crate::gateway::audit::Field>,
    /// `period`: when a new file begins.
    pub(crate) period: crate::gateway::audit::Period,
    /// `truncate-size`, for [`Period::MaxSize`](crate::gateway::audit::Period): a file that would become longer than so many
    /// bytes is followed by another.
    pub(crate) truncate_size: u64,
    /// `max-line`: a longer W3C line is cut, in bytes.
    pub(crate) max_line: usize,
    /// `flush`: how long a line may wait before it is written.
    pub(crate) flush: Duration,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            dir: None,
            w3c: true,
            json: true,
            console: false,
            fields: crate::gateway::audit::Field::DEFAULT.to_vec(),
            period: crate::gateway::audit::Period::Daily,
            truncate_size: 20 << 20,
            max_line: 64 << 10,
            flush: Duration::from_secs(1),
        }
    }
}

/// `[limits]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// `header`: request line and header lines together, in bytes. Windows builds tokens of up to 48,000 bytes.
    pub(crate) header: usize,
    /// `handshakes`: how many may wait for their clients at once.
    pub(crate) handshakes: usize,
    /// `handshake-age`: how long one may wait.
    pub(crate) handshake_age: Duration,
    /// `connections`: how many at once.
    pub(crate) connections: usize,
    /// `header-timeout`: how long a client may take to send the header lines.
    pub(crate) header_timeout: Duration,
    /// `idle-timeout`: how long a connection may stay without a request, or a client take nothing of its answer.
    pub(crate) idle_timeout: Duration,
    /// `logon-timeout`: how long the accounts may take to answer.
    pub(crate) logon_timeout: Duration,
    /// `[limits.passwords]`: how many wrong ones are passed on.
    pub(crate) passwords: iwa_http::AttemptLimits,
    /// `stop-timeout`: how long requests under way may take when the server stops.
    pub(crate) stop_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header: 64 << 10,
            handshakes: 10_000,
            handshake_age: Duration::from_secs(60),
            connections: 20_000,
            header_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(120),
            logon_timeout: Duration::from_secs(10),
            passwords: iwa_http::AttemptLimits::default(),
            stop_timeout: Duration::from_secs(30),
        }
    }
}

impl Route {
    /// All rules that the route has, whatever they are about.
    pub(crate) fn all_rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().chain(self.outbound.iter().flat_map(|outbound| &outbound.rules))
    }

    /// How visitors sign in here.
    pub(crate) fn policy<'a>(&self, site: &'a iwa_http::Policy) -> std::borrow::Cow<'a, iwa_http::Policy> {
        self.sign_in.policy(site).map_or(std::borrow::Cow::Borrowed(site), std::borrow::Cow::Owned)
    }
}

impl Config {
    /// Whether there is somebody who can verify NTLM.
    pub(crate) fn verifies_ntlm(&self) -> bool {
        let directory = self.directory.as_ref().is_some_and(|directory| directory.nt_hash.is_some());
        self.accounts.is_some() || !self.domains.is_empty() || directory
    }

    /// Every file with keys that Kerberos takes.
    pub(crate) fn keytabs(&self) -> Vec<PathBuf> {
        let listed = self.kerberos.iter().flat_map(|kerberos| kerberos.keytabs.iter().cloned());
        let of_domains = self.domains.iter().filter(|domain| domain.has_keys()).map(Domain::keytab);
        listed.chain(of_domains).collect()
    }

    /// The classic IIS page: anonymous off, Negotiate and NTLM offered, everything served to everybody who signs in.
    pub(crate) fn for_demo(listen: SocketAddr, keytab: PathBuf, state: PathBuf) -> Self {
        Self {
            server: Server { listen: vec![listen], ..Server::default() },
            kerberos: Some(Kerberos::with_keytab(keytab)),
            accounts: Some(Accounts { state, lockout: Lockout::default() }),
            routes: vec![Route {
                path: "/".to_owned(),
                files: None,
                rules: vec![Rule::allow_all()],
                ..Route::default()
            }],
            ..Self::default()
        }
    }
}
