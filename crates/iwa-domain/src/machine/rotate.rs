//! A new password for the machine's account, without a moment in which the machine is locked out. MS-NRPC 3.5.4.4.6
//! (`NetrServerPasswordSet2`), MS-ADTS 3.1.1.4.5.16 (`msDS-KeyVersionNumber`).
//!
//! ```text
//! 1  machine.json     the new password, pending                 on the disk
//! 2  machine.keytab   its keys, beside those of the old one     on the disk
//!    a pause, until whoever reads the keytab has read it
//! 3  the domain       takes it, or not, or nobody knows
//! 4  machine.json     pending -> current -> previous            on the disk
//! 5  machine.keytab   the same keys, under the version that the domain gives them
//!    ten hours later
//! 6  machine.keytab   without the keys whose tickets have died
//! ```
//!
//! The domain never knows a password that is not on the disk, and never issues a ticket under a key that is not in the keytab.
//! After a crash between any two of these, [`recover`] asks the domain which password holds and goes on from there: always
//! forwards, because a domain controller that says "not the new one" may only not have heard of it yet.

use std::fmt;
use std::time::Duration;

use iwa_auth::UnixTime;
use iwa_auth::ports::Answer;
use tokio::sync::watch;

use super::error::MachineError;
use super::keys;
use super::state::{Locked, State};
use super::{Machine, MachinePassword, Membership};

/// The machine's account as a domain controller has it.
pub trait Account: Send + Sync {
    /// Sets the password, authenticated by any of [`Machine::passwords`] that the domain takes. The new one is
    /// [`Machine::pending`], too: after an answer that was lost it may be the one to authenticate with. `Err` tells why
    /// nobody knows whether it was set.
    fn set_password<'a>(&'a self, machine: &'a Machine, new: &'a MachinePassword) -> Answer<'a, Result<(), String>>;

    /// Whether the domain takes this password. `Err` tells why that cannot be known now.
    fn check<'a>(&'a self, machine: &'a Machine, password: &'a MachinePassword) -> Answer<'a, Result<Check, String>>;
}

/// What a domain controller says of a password.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Check {
    /// It is the account's, and this is the version of its keys, if that is told.
    Taken(Option<u32>),
    /// It is not.
    Refused,
}

/// When and how the password is changed.
#[derive(Clone, Debug)]
pub struct Policy {
    /// How old it may get. `None`: it is never changed of its own accord. Windows has 30 days.
    pub age: Option<Duration>,
    /// How long the domain's service tickets live at most, and so how long old keys are kept. Active Directory: 10 hours.
    pub ticket_lifetime: Duration,
    /// How many old passwords are kept for tickets that are alive.
    pub keep: usize,
    /// How long whoever reads the keytab may take to notice new keys in it.
    pub settle: Duration,
    /// The first pause after a failure; each further one is twice as long, up to [`Policy::longest_pause`].
    pub pause: Duration,
    /// The longest pause after a failure.
    pub longest_pause: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            age: Some(Duration::from_secs(30 * DAY)),
            ticket_lifetime: Duration::from_secs(10 * 3600),
            keep: 4,
            settle: Duration::from_secs(10),
            pause: Duration::from_secs(60),
            longest_pause: Duration::from_secs(6 * 3600),
        }
    }
}

/// What was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Done {
    /// Nothing was to be done.
    Nothing,
    /// The keytab was brought into line with the passwords: keys that it lacked, or whose tickets have died.
    Keytab,
    /// The domain numbers the keys otherwise than was thought: they are under that number now.
    Kvno {
        /// The number.
        kvno: u32,
    },
    /// A change that had been interrupted was finished.
    Finished {
        /// The version of the new keys.
        kvno: u32,
    },
    /// The password was changed.
    Changed {
        /// The version of the new keys.
        kvno: u32,
    },
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing was to be done"),
            Self::Keytab => f.write_str("the keytab holds the keys of the passwords again, and no others"),
            Self::Kvno { kvno } => {
                write!(f, "the domain has the machine's keys as version {kvno}; so has the keytab now")
            }
            Self::Finished { kvno } => {
                write!(f, "a change of the machine's password had been interrupted; it is finished, key version {kvno}")
            }
            Self::Changed { kvno } => write!(
                f,
                "the machine's password was changed, key version {kvno}; the old keys stay until tickets with them have died"
            ),
        }
    }
}

/// Changes the password now, or finishes the change that was interrupted.
///
/// # Errors
/// [`MachineError::Busy`] if another process is at it; whatever else went wrong, the machine can still authenticate.
pub async fn rotate(
    membership: &Membership,
    account: &dyn Account,
    policy: &Policy,
    now: UnixTime,
) -> Result<Done, MachineError> {
    let mut change = Change::begin(membership, account, policy, now)?;
    match change.recover().await? {
        done @ Done::Finished { .. } => Ok(done),
        _ => change.change().await,
    }
}

/// Finishes what a crash or a lost answer left, and brings the keytab into line. With `ask`, the domain is asked for the
/// version of its keys even if nothing was left.
///
/// # Errors
/// As [`rotate`].
pub async fn recover(
    membership: &Membership,
    account: &dyn Account,
    policy: &Policy,
    now: UnixTime,
    ask: bool,
) -> Result<Done, MachineError> {
    let mut change = Change::begin(membership, account, policy, now)?;
    match change.recover().await? {
        done @ (Done::Nothing | Done::Keytab) if ask => {
            let asked = change.ask().await?;
            Ok(if asked == Done::Nothing { done } else { asked })
        }
        done => Ok(done),
    }
}

/// Keeps the machine's password fresh until `stop` says so: finishes what was interrupted, changes what has aged, forgets keys
/// whose tickets have died. To be spawned once a domain by a server; of several servers that share a state, one does it.
pub async fn keep(
    membership: Membership,
    account: &dyn Account,
    policy: Policy,
    clock: fn() -> UnixTime,
    mut stop: watch::Receiver<bool>,
) {
    let domain = membership.machine().domain.dns.clone();
    // Machines that joined in one night shall not come back in one night.
    let late = jitter(policy.age.unwrap_or_default() / 20);
    let mut pause = policy.pause;
    let mut asked = false;
    loop {
        let wait = match keep_once(&membership, account, &policy, clock(), late, &mut asked).await {
            Ok(Done::Nothing) => {
                pause = policy.pause;
                BETWEEN_LOOKS
            }
            Ok(done) => {
                tracing::info!(domain, "{done}");
                pause = policy.pause;
                BETWEEN_LOOKS
            }
            Err(MachineError::Busy { .. }) => policy.pause,
            Err(error) => {
                let wait = pause + jitter(pause / 4);
                tracing::warn!(domain, retry_in_s = wait.as_secs(), "{error}");
                pause = (pause * 2).min(policy.longest_pause);
                wait
            }
        };
        if rest(&membership, wait, &mut stop).await {
            return;
        }
    }
}

/// Waits, and looks meanwhile whether another process changed the password: the old one opens no channel any more. Says whether
/// it is time to stop.
async fn rest(membership: &Membership, wait: Duration, stop: &mut watch::Receiver<bool>) -> bool {
    let until = tokio::time::Instant::now() + wait;
    loop {
        let look = until.min(tokio::time::Instant::now() + BETWEEN_GLANCES);
        tokio::select! {
            () = tokio::time::sleep_until(look) => {}
            // A sender that is gone will not say it any more.
            _ = stop.wait_for(|stop| *stop) => return true,
        }
        if look == until {
            return false;
        }
        // What cannot be read stays as it was; it is said when there is something to do.
        if membership.refresh().is_ok_and(|changed| changed) {
            tracing::info!("another process changed the machine's account; it is read anew");
        }
    }
}

async fn keep_once(
    membership: &Membership,
    account: &dyn Account,
    policy: &Policy,
    now: UnixTime,
    late: Duration,
    asked: &mut bool,
) -> Result<Done, MachineError> {
    membership.refresh()?;
    let machine = membership.machine();
    let due = policy.age.is_some_and(|age| now >= machine.current.since.plus(age + late));
    if due {
        return rotate(membership, account, policy, now).await;
    }
    let done = recover(membership, account, policy, now, !*asked).await?;
    // Once a start: an administrator may have reset the account meanwhile.
    *asked = true;
    Ok(done)
}

/// A change under its lock.
struct Change<'a> {
    membership: &'a Membership,
    account: &'a dyn Account,
    policy: &'a Policy,
    now: UnixTime,
    locked: Locked,
    state: State,
}

impl<'a> Change<'a> {
    fn begin(
        membership: &'a Membership,
        account: &'a dyn Account,
        policy: &'a Policy,
        now: UnixTime,
    ) -> Result<Self, MachineError> {
        let Some(dir) = membership.dir() else {
            return Err(MachineError::Absent { path: "machine.json".into() });
        };
        let locked = dir.lock()?;
        // What stands on the disk, and not what was read before the lock.
        let state = dir.load()?;
        membership.replace(state.machine.clone());
        Ok(Self { membership, account, policy, now, locked, state })
    }

    /// Brings the keytab into line, and finishes a change.
    async fn recover(&mut self) -> Result<Done, MachineError> {
        self.locked.tidy()?;
        let keys = self.write_keys()?;
        let Some(pending) = self.state.machine.pending.clone() else {
            return Ok(if keys { Done::Keytab } else { Done::Nothing });
        };
        if let Check::Taken(kvno) = self.check(&pending).await? {
            return self.commit(kvno).map(|kvno| Done::Finished { kvno });
        }
        self.holder().await?;
        self.set().await.map(|kvno| Done::Finished { kvno })
    }

    /// A new password, from the first step to the last.
    async fn change(&mut self) -> Result<Done, MachineError> {
        // The number of the old keys must be right, or a ticket under the new ones will have it.
        self.holder().await?;
        let kvno = self.state.machine.current.kvno.saturating_add(1);
        let password = keys::new_password()?;
        self.state.machine.pending = Some(MachinePassword { password, kvno, since: self.now });
        self.save()?;
        self.write_keys()?;
        self.set().await.map(|kvno| Done::Changed { kvno })
    }

    /// Whether the domain counts the keys as we do.
    async fn ask(&mut self) -> Result<Done, MachineError> {
        let before = self.state.machine.current.clone();
        self.holder().await?;
        let current = &self.state.machine.current;
        if !current.password.ct_eq(before.password.expose().as_bytes()) {
            return self.change().await;
        }
        if current.kvno == before.kvno {
            return Ok(Done::Nothing);
        }
        let kvno = current.kvno;
        self.save()?;
        self.write_keys()?;
        Ok(Done::Kvno { kvno })
    }

    /// Tells the domain of the pending password, and makes it the current one.
    async fn set(&mut self) -> Result<u32, MachineError> {
        let machine = self.state.machine.clone();
        let Some(pending) = &machine.pending else { return Ok(machine.current.kvno) };
        tokio::time::sleep(self.policy.settle).await;
        self.account.set_password(&machine, pending).await.map_err(|why| MachineError::NotSet { why })?;
        // A domain controller took it: that counts, whatever another one knows by now.
        let kvno = match self.account.check(&machine, pending).await {
            Ok(Check::Taken(kvno)) => kvno,
            Ok(Check::Refused) | Err(_) => None,
        };
        self.commit(kvno)
    }

    fn commit(&mut self, kvno: Option<u32>) -> Result<u32, MachineError> {
        self.state.commit(kvno, self.now, self.policy.keep);
        self.save()?;
        self.write_keys()?;
        Ok(self.state.machine.current.kvno)
    }

    async fn check(&self, password: &MachinePassword) -> Result<Check, MachineError> {
        self.account.check(&self.state.machine, password).await.map_err(|why| MachineError::NotChecked { why })
    }

    /// Makes the password current that the domain takes, and its version the one that the domain gives it. It is another than
    /// the current one after a domain was restored from a backup.
    async fn holder(&mut self) -> Result<(), MachineError> {
        if let Check::Taken(kvno) = self.check(&self.state.machine.current).await? {
            let current = &mut self.state.machine.current;
            current.kvno = kvno.unwrap_or(current.kvno);
            return Ok(());
        }
        let former: Vec<_> = self.state.machine.previous.iter().chain(&self.state.older).cloned().collect();
        for password in former {
            if let Check::Taken(kvno) = self.check(&password).await? {
                let kvno = kvno.unwrap_or(password.kvno);
                let current = MachinePassword { kvno, since: self.now, ..password };
                let was = std::mem::replace(&mut self.state.machine.current, current);
                self.state.machine.previous = Some(was);
                // Tickets are made with its keys again.
                self.save()?;
                self.write_keys()?;
                return Ok(());
            }
        }
        let machine = &self.state.machine;
        Err(MachineError::NoneTaken { account: format!("{}@{}", machine.account(), machine.domain.realm()) })
    }

    fn save(&mut self) -> Result<(), MachineError> {
        self.locked.save(&self.state)?;
        self.membership.replace(self.state.machine.clone());
        Ok(())
    }

    fn write_keys(&mut self) -> Result<bool, MachineError> {
        let alive = self.policy.alive(self.now);
        let older = self.state.older.len();
        self.state.forget(alive);
        // The keys first: a password that is forgotten leaves no key behind.
        let written = self.locked.write_keys(&self.state, alive)?;
        if self.state.older.len() != older {
            self.save()?;
        }
        Ok(written)
    }
}

impl Policy {
    pub(super) fn alive(&self, now: UnixTime) -> super::keys::Alive {
        // Tickets are taken for five minutes after they died, and clocks differ by as much.
        super::keys::Alive { now, lifetime: self.ticket_lifetime + Duration::from_secs(600) }
    }
}

/// Something between nothing and `most`.
fn jitter(most: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or(u32::MAX / 2);
    most.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

const DAY: u64 = 24 * 3600;
/// How often the state is looked at.
const BETWEEN_GLANCES: Duration = Duration::from_secs(2);
/// How often the password's age is looked at.
const BETWEEN_LOOKS: Duration = Duration::from_secs(600);
