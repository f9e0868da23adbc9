//! The short way to an [`Authenticator`]: a keytab for Kerberos, somebody who knows the passwords for NTLM and Basic, and
//! otherwise what IIS has after its installation.

use core::fmt;
use core::time::Duration;
use std::io;
use std::path::Path;
use std::sync::Arc;

use iwa_auth::accept::AcceptorConfig;
use iwa_auth::krb5::acceptor::{Service, ServicePolicy};
use iwa_auth::krb5::keys::Keys;
use iwa_auth::krb5::pac::PacPolicy;
use iwa_auth::krb5::replay::MemoryReplayCache;
use iwa_auth::ntlm::acceptor::{Server, ServerConfig};
use iwa_auth::ports::{Answer, Logon, LogonError, LogonInfo, NetworkLogon, PasswordVerified};
use iwa_auth::{Acceptor, BindingPolicy, Mechanism, Secret};
use iwa_wire::keytab::Keytab;

use crate::attempts::{AttemptLimits, Attempts};
use crate::authenticator::{Authenticator, Policy, Ports};
use crate::challenge::Provider;
use crate::connection::HalfOpen;
use crate::layer::SignInLayer;
use crate::system::{Os, System};

/// How visitors sign in.
///
/// ```no_run
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let sign_in = iwa_http::SignIn::with_keytab("/etc/http.keytab")?;
/// let layer = sign_in.layer()?;
/// # Ok(()) }
/// ```
pub struct SignIn {
    keytab: Option<Secret<Vec<u8>>>,
    service: ServicePolicy,
    logon: Option<(String, Arc<dyn Logon>)>,
    policy: Option<Policy>,
    binding: BindingPolicy,
    system: Arc<dyn System>,
}

/// Why there is no authenticator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unable {
    /// The file is no keytab.
    NoKeytab,
    /// The keytab has no key of an encryption type that is taken.
    NoKeys,
    /// The computer's name is none that NTLM can say: 1 to 15 characters.
    NoName,
    /// There is neither a keytab nor a [`Logon`].
    NobodyToVerify,
}

impl fmt::Display for Unable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoKeytab => "the file is no keytab",
            Self::NoKeys => "the keytab has no key of an encryption type that is taken: wanted AES (etypes 17 to 20)",
            Self::NoName => "the computer's name must have 1 to 15 characters",
            Self::NobodyToVerify => "there is nobody to verify visitors: wanted a keytab, or a Logon",
        })
    }
}

impl core::error::Error for Unable {}

impl SignIn {
    /// With nobody yet to verify anybody.
    #[must_use]
    pub fn new() -> Self {
        Self {
            keytab: None,
            service: ServicePolicy::default(),
            logon: None,
            policy: None,
            binding: BindingPolicy::default(),
            system: Arc::new(Os),
        }
    }

    /// By Kerberos, with the service's keys of this file.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn with_keytab(path: impl AsRef<Path>) -> io::Result<Self> {
        Ok(Self::new().keytab(std::fs::read(path)?))
    }

    /// By Kerberos, with these bytes of a keytab.
    #[must_use]
    pub fn keytab(self, keytab: Vec<u8>) -> Self {
        Self { keytab: Some(Secret::new(keytab)), ..self }
    }

    /// Takes tickets without a PAC too: of MIT and Heimdal realms. Whoever comes with one has no groups and no SID.
    #[must_use]
    pub fn pac_optional(mut self) -> Self {
        self.service.pac = PacPolicy::Optional;
        self
    }

    /// By NTLM too, and by passwords where the policy has a Basic realm: verified by `logon`, under this computer's NetBIOS name.
    #[must_use]
    pub fn logon(self, computer: &str, logon: Arc<dyn Logon>) -> Self {
        Self { logon: Some((computer.to_owned(), logon)), ..self }
    }

    /// Under this policy. Without one: Negotiate, and NTLM where there is a [`Logon`]; nobody is anonymous.
    #[must_use]
    pub fn policy(self, policy: Policy) -> Self {
        Self { policy: Some(policy), ..self }
    }

    /// Ties clients to their TLS connections (extended protection).
    #[must_use]
    pub fn binding(self, binding: BindingPolicy) -> Self {
        Self { binding, ..self }
    }

    /// Another clock and randomness: for tests.
    #[must_use]
    pub fn system(self, system: Arc<dyn System>) -> Self {
        Self { system, ..self }
    }

    /// The authenticator. Make one for a process: its replay cache is what knows the tokens that were used, and refuses those
    /// made before it began.
    ///
    /// # Errors
    /// Something of it cannot be used.
    pub fn authenticator(self) -> Result<Authenticator, Unable> {
        let skew = self.service.skew;
        let krb5 = match &self.keytab {
            None => None,
            Some(bytes) => {
                let keys = Keys::of_keytabs([Keytab::parse(bytes.expose()).map_err(|_| Unable::NoKeytab)?]);
                if keys.is_empty() {
                    return Err(Unable::NoKeys);
                }
                Some(Service::new(keys, self.service))
            }
        };
        let (ntlm, logon): (_, Arc<dyn Logon>) = match self.logon {
            None => (None, Arc::new(Nobody)),
            Some((computer, _)) if !(1..=15).contains(&computer.chars().count()) => return Err(Unable::NoName),
            Some((computer, logon)) => {
                (Some(Server::new(ServerConfig::standalone(&computer)).map_err(|_| Unable::NoName)?), logon)
            }
        };
        let providers = match (&krb5, &ntlm) {
            (None, None) => return Err(Unable::NobodyToVerify),
            (Some(_), None) => vec![Provider::NegotiateKerberos],
            (_, Some(_)) => vec![Provider::Negotiate, Provider::Ntlm],
        };
        let policy = self.policy.unwrap_or_else(|| Policy { providers, ..Policy::default() });
        let acceptor = Acceptor::new(AcceptorConfig {
            mechanisms: vec![Mechanism::Kerberos, Mechanism::Ntlm],
            krb5,
            ntlm,
            binding: self.binding,
        });
        let replay = MemoryReplayCache::new(skew, MemoryReplayCache::CAPACITY).refuse_before(self.system.now());
        let ports = Ports {
            logon,
            replay: Arc::new(replay),
            half_open: Arc::new(HalfOpen::new(MOST_HANDSHAKES, LONGEST_HANDSHAKE)),
            attempts: Arc::new(Attempts::new(AttemptLimits::default())),
            system: self.system,
            logon_timeout: LONGEST_LOGON,
        };
        Ok(Authenticator::new(policy, acceptor, ports))
    }

    /// The layer.
    ///
    /// # Errors
    /// As [`SignIn::authenticator`].
    pub fn layer(self) -> Result<SignInLayer, Unable> {
        Ok(SignInLayer::new(Arc::new(self.authenticator()?)))
    }
}

impl Default for SignIn {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignIn")
            .field("kerberos", &self.keytab.is_some())
            .field("ntlm", &self.logon.is_some())
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

/// Where nobody knows passwords.
struct Nobody;

impl Logon for Nobody {
    fn network<'a>(&'a self, _: &'a NetworkLogon) -> Answer<'a, Result<LogonInfo, LogonError>> {
        Box::pin(async { Err(LogonError::Unavailable(NOBODY.to_owned())) })
    }

    fn password<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
        _: &'a Secret<String>,
    ) -> Answer<'a, Result<PasswordVerified, LogonError>> {
        Box::pin(async { Err(LogonError::Unavailable(NOBODY.to_owned())) })
    }
}

const NOBODY: &str = "there is nobody who knows passwords: SignIn::logon says who";
const MOST_HANDSHAKES: usize = 10_000;
const LONGEST_HANDSHAKE: Duration = Duration::from_secs(60);
const LONGEST_LOGON: Duration = Duration::from_secs(10);
