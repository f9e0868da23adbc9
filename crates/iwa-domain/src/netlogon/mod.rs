//! NTLM logons of domain users, verified by a domain controller through a secure channel. MS-NRPC 3.5, MS-APDS 3.1.5.
//!
//! | what | where |
//! |---|---|
//! | one domain controller: session, connections, rest after a failure | [`dc`](self) |
//! | who is asked, and when the next one is | [`ask`](self) |
//!
//! One domain controller is asked until it fails. If it does not answer in [`NetlogonConfig::hedge`], the next one is asked
//! beside it, and whichever answers first is asked from then on: a controller that hangs costs as little as one that refuses.
//! At most [`NetlogonConfig::in_flight`] logons are on their way at a time, one on a connection; so many more wait, and the
//! rest is refused at once: a flood of logons ends here and not at the domain controller.

mod ask;
mod dc;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use iwa_auth::netlogon::{Member, logon};
use iwa_auth::ports::{Answer, Logon, LogonError, LogonInfo, NetworkLogon, PasswordVerified};
use iwa_auth::{Env, Secret};
use iwa_wire::Sid;
use tokio::sync::Semaphore;

use crate::controller::Controllers;
use crate::local::now;
use crate::machine::Membership;
use crate::rpc::{Dial, SystemEntropy, Tcp};

use self::dc::Dc;

/// How domain controllers are asked.
#[derive(Clone, Debug)]
pub struct NetlogonConfig {
    /// Logons on their way at a time, each on a connection of its own.
    pub in_flight: usize,
    /// Logons that may wait for one of those places; what is beyond is refused at once.
    pub waiting: usize,
    /// How long one controller is waited for before the next is asked beside it.
    pub hedge: Duration,
    /// How long a logon may take in all, its waiting included.
    pub patience: Duration,
    /// How long a connection attempt to one address may take before the controller's next address is tried.
    pub connect: Duration,
    /// For how long a controller that failed is left in peace, and with it whoever would have to wait for it.
    pub rest: Duration,
    /// For how long a controller that refuses this machine is left in peace, if the machine's passwords do not change.
    pub refused_rest: Duration,
    /// Connections that nobody used for so long are closed.
    pub idle: Duration,
    /// The SID under which this machine keeps accounts of its own, which no domain may have.
    pub local: Option<Sid>,
}

impl Default for NetlogonConfig {
    fn default() -> Self {
        Self {
            in_flight: 8,
            waiting: 256,
            hedge: Duration::from_millis(1000),
            patience: Duration::from_secs(10),
            connect: Duration::from_millis(600),
            rest: Duration::from_secs(2),
            refused_rest: Duration::from_secs(15),
            idle: Duration::from_secs(120),
            local: None,
        }
    }
}

/// Which of the machine's passwords a domain controller takes, and which controller it was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckedWith {
    /// The password.
    pub password: Which,
    /// The controller.
    pub controller: String,
}

/// Which of the machine's passwords.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// [`crate::machine::Machine::current`].
    Current,
    /// [`crate::machine::Machine::pending`].
    Pending,
    /// [`crate::machine::Machine::previous`].
    Previous,
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Current => "current",
            Self::Pending => "pending",
            Self::Previous => "previous",
        })
    }
}

/// A domain's accounts, by way of its domain controllers. Cheap to clone; all clones share their connections.
#[derive(Clone, Debug)]
pub struct Netlogon {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    membership: Membership,
    controllers: Arc<dyn Controllers>,
    config: NetlogonConfig,
    dial: Arc<dyn Dial>,
    places: Semaphore,
    inside: AtomicUsize,
    dcs: Mutex<Known>,
}

/// The controllers that were asked, by name, and the one that is asked first.
#[derive(Debug, Default)]
struct Known {
    all: HashMap<String, Arc<Dc>>,
    chosen: Option<String>,
}

impl Netlogon {
    /// Asks the `controllers` as the machine of `membership`.
    #[must_use]
    pub fn new(membership: Membership, controllers: Arc<dyn Controllers>, config: NetlogonConfig) -> Self {
        Self::with_dial(membership, controllers, config, Arc::new(Tcp))
    }

    /// The same over other connections than TCP's.
    #[must_use]
    pub fn with_dial(
        membership: Membership,
        controllers: Arc<dyn Controllers>,
        config: NetlogonConfig,
        dial: Arc<dyn Dial>,
    ) -> Self {
        let places = Semaphore::new(config.in_flight);
        let (inside, dcs) = (AtomicUsize::new(0), Mutex::default());
        Self { inner: Arc::new(Inner { membership, controllers, config, dial, places, inside, dcs }) }
    }

    /// Gives the machine's account a new password (`NetrServerPasswordSet2`). Nothing is written down here: whoever calls has
    /// the new password on disk already, and decides what an error means for it. Under an error the change may have happened:
    /// [`Netlogon::check`] tells.
    ///
    /// # Errors
    /// In words, which controllers were asked and what became of it.
    pub async fn set_password(&self, new: &Secret<String>) -> Result<(), String> {
        self.inner.set_password(new).await
    }

    /// Which of the machine's passwords the domain takes now. Asks anew each time.
    ///
    /// # Errors
    /// In words: no controller answers, or none takes any of them.
    pub async fn check(&self) -> Result<CheckedWith, String> {
        self.inner.check().await
    }
}

impl Inner {
    fn member(&self) -> Member {
        let machine = self.membership.machine();
        Member { domain: machine.domain.netbios.clone(), computer: machine.computer.clone() }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.dcs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Logon for Netlogon {
    fn network<'a>(&'a self, logon: &'a NetworkLogon) -> Answer<'a, Result<LogonInfo, LogonError>> {
        Box::pin(self.inner.logon(logon))
    }

    fn password<'a>(
        &'a self,
        domain: &'a str,
        user: &'a str,
        password: &'a Secret<String>,
    ) -> Answer<'a, Result<PasswordVerified, LogonError>> {
        Box::pin(async move {
            let made = {
                let mut env = Env { now: now(), entropy: &mut SystemEntropy };
                logon::with_password(&self.inner.member(), domain, user, password, &mut env)
            };
            let made = made.map_err(|_| LogonError::Unavailable("the system gives no randomness".to_owned()))?;
            let LogonInfo { account, groups, .. } = self.inner.logon(&made).await?;
            Ok(PasswordVerified::by_authority(account, groups))
        })
    }
}
