//! Domain users through a winbind that runs on this machine already: Samba's `ntlm_auth` as whoever holds the accounts.
//!
//! [`Netlogon`](iwa_auth::ports::Logon) from our own process needs none of this. This one is for machines that are joined with
//! Samba and are to stay so: winbind keeps the machine's password and the connection to the domain controllers, and
//! `ntlm_auth` must be allowed to ask it (the group of `winbindd_privileged`, on Debian `winbindd_priv`).
//!
//! | file | what |
//! |---|---|
//! | `process` | a child that ends with its handle |
//! | `helper` | one `ntlm_auth`: the protocol |
//! | `wbinfo` | SID and groups, which `ntlm_auth` does not tell: three more processes a new account, then remembered |
//!
//! A process answers one question at a time, so there are as many of them as logons at once, up to
//! [`NtlmAuthConfig::processes`]; they start when they are needed and stay.

mod helper;
mod process;
mod wbinfo;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use iwa_auth::ntlm::crypto;
use iwa_auth::ports::{Answer, Logon, LogonError, LogonInfo, NetworkLogon, PasswordVerified};
use iwa_auth::{NtStatus, Secret, UnixTime};
use iwa_wire::explain::printable;
use tokio::sync::Semaphore;

use helper::{Failure, Helper, Reply};
use wbinfo::{Known, Wbinfo};

/// How winbind is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NtlmAuthConfig {
    /// Samba's `ntlm_auth`: a path, or a name to be found on the `PATH`.
    pub program: PathBuf,
    /// Samba's `wbinfo`.
    pub wbinfo: PathBuf,
    /// How many `ntlm_auth` there may be at once: how many logons winbind is asked at once. At least one.
    pub processes: usize,
    /// How long a logon may wait for a process, the process for winbind, and each `wbinfo`.
    pub timeout: Duration,
    /// How long an account's SID, name and groups are remembered. A password is never.
    pub remember: Duration,
}

impl Default for NtlmAuthConfig {
    fn default() -> Self {
        Self {
            program: "ntlm_auth".into(),
            wbinfo: "wbinfo".into(),
            processes: 8,
            timeout: Duration::from_secs(10),
            remember: Duration::from_secs(300),
        }
    }
}

/// The accounts that winbind knows.
#[derive(Debug)]
pub struct NtlmAuth {
    config: NtlmAuthConfig,
    slots: Semaphore,
    waiting: AtomicUsize,
    idle: Mutex<Vec<Helper>>,
    /// Since when no process is started, and why.
    failed: Mutex<Option<(Instant, String)>>,
    pause: Duration,
    wbinfo: Wbinfo,
}

impl Logon for NtlmAuth {
    fn network<'a>(&'a self, logon: &'a NetworkLogon) -> Answer<'a, Result<LogonInfo, LogonError>> {
        Box::pin(async move {
            let (known, session_base_key) = self.verify(logon).await?;
            Ok(LogonInfo { account: known.account, groups: known.groups, named_groups: None, session_base_key })
        })
    }

    /// Answers a challenge with the password, and has that verified: the password itself goes nowhere.
    fn password<'a>(
        &'a self,
        domain: &'a str,
        user: &'a str,
        password: &'a Secret<String>,
    ) -> Answer<'a, Result<PasswordVerified, LogonError>> {
        Box::pin(async move {
            let logon = ntlmv2_logon(domain, user, password)?;
            let (known, _) = self.verify(&logon).await?;
            Ok(PasswordVerified::by_authority(known.account, known.groups))
        })
    }
}

impl NtlmAuth {
    /// Nothing is started before the first logon.
    #[must_use]
    pub fn new(config: NtlmAuthConfig) -> Self {
        Self {
            slots: Semaphore::new(config.processes.clamp(1, MOST_PROCESSES)),
            waiting: AtomicUsize::new(0),
            idle: Mutex::default(),
            failed: Mutex::default(),
            pause: PAUSE,
            wbinfo: Wbinfo::new(config.wbinfo.clone(), config.timeout, config.remember),
            config,
        }
    }

    async fn verify(&self, logon: &NetworkLogon) -> Result<(Known, Secret<[u8; 16]>), LogonError> {
        if !can_be_asked(logon) {
            return Err(LogonError::Refused(NtStatus::NO_SUCH_USER));
        }
        let key = match self.ask(logon).await.map_err(LogonError::Unavailable)? {
            Reply::Yes(Some(key)) => key,
            Reply::Yes(None) => {
                // A guest, or somebody of whom winbind saw no password: not who the client says it is.
                tracing::warn!(user = %printable(&logon.user), "ntlm_auth authenticates without a session key: refused");
                return Err(LogonError::Refused(NtStatus::LOGON_FAILURE));
            }
            Reply::No(words) => return Err(refusal(&words)),
        };
        let known = self.wbinfo.who(&logon.domain, &logon.user).await.map_err(|why| {
            LogonError::Unavailable(format!(
                "winbind takes the password of {}\\{}, but who that is cannot be told: {why}",
                printable(&logon.domain),
                printable(&logon.user)
            ))
        })?;
        Ok((known, key))
    }

    async fn ask(&self, logon: &NetworkLogon) -> Result<Reply, String> {
        let _place = Place::take(&self.waiting)?;
        let Ok(slot) = tokio::time::timeout(self.config.timeout, self.slots.acquire()).await else {
            return Err(format!(
                "all {} ntlm_auth are busy for more than {:?}: winbind is slow, or `processes` is too low",
                self.config.processes, self.config.timeout
            ));
        };
        let _slot = slot.map_err(|error| error.to_string())?;
        if let Some(helper) = self.idle() {
            match self.ask_one(helper, logon).await {
                // It may have ended long ago, with the winbind before this one: a new one is asked.
                Err((Failure::Gone(_), _)) => {}
                other => return other.map_err(|(_, why)| why),
            }
        }
        if let Some((since, why)) = &*self.failed.lock().unwrap_or_else(PoisonError::into_inner)
            && since.elapsed() < self.pause
        {
            return Err(why.clone());
        }
        let program = self.config.program.display();
        let fresh = match Helper::start(&self.config.program) {
            Ok(helper) => self.ask_one(helper, logon).await.map_err(|(_, why)| why),
            Err(error) => Err(format!("{program} cannot be started: {error}; is Samba's winbind installed?")),
        };
        if let Err(why) = &fresh {
            *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), why.clone()));
        }
        fresh
    }

    async fn ask_one(&self, mut helper: Helper, logon: &NetworkLogon) -> Result<Reply, (Failure, String)> {
        let program = self.config.program.display();
        match tokio::time::timeout(self.config.timeout, helper.ask(logon)).await {
            Ok(Ok(reply)) => {
                self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(helper);
                Ok(reply)
            }
            Ok(Err(failure)) => {
                let why = format!("{program}: {failure}; {}", helper.complaint().await);
                Err((failure, why.trim_end_matches("; ").to_owned()))
            }
            // Dropped, and so ended: it would answer this question when it is asked the next.
            Err(_) => {
                let why = format!(
                    "{program}: no answer within {:?}, and it was ended; is winbindd well?",
                    self.config.timeout
                );
                Err((Failure::Nonsense(why.clone()), why))
            }
        }
    }

    fn idle(&self) -> Option<Helper> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        core::iter::from_fn(|| idle.pop()).find_map(|mut helper| helper.is_running().then_some(helper))
    }
}

/// A place in the queue for a process.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize) -> Result<Self, String> {
        let place = Self(waiting);
        if waiting.fetch_add(1, Ordering::Relaxed) >= MOST_WAITING {
            return Err(format!("{MOST_WAITING} logons wait for ntlm_auth already"));
        }
        Ok(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether these names mean in Samba what they mean here: it ends them at a NUL and cuts them at 255 bytes (`fstring`).
fn can_be_asked(logon: &NetworkLogon) -> bool {
    let fits = |name: &str| name.len() <= 255 && !name.contains(['\0', '\\']);
    !logon.user.is_empty()
        && fits(&logon.user)
        && fits(&logon.domain)
        && (25..=LARGEST_RESPONSE).contains(&logon.nt_response.len())
}

/// A refusal in words (`get_friendly_nt_error_msg`: MS-ERREF 2.3.1's, or the name of the status).
///
/// Only what is known to be about the account is a refusal. Everything else, known or not, is about winbind or the domain.
fn refusal(words: &str) -> LogonError {
    let by_name = words.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').find_map(NtStatus::named);
    let by_number = words.split(['(', ')', ' ']).find_map(|word| {
        let digits = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X"))?;
        u32::from_str_radix(digits, 16).ok().map(NtStatus)
    });
    let by_words = || WORDS.iter().find(|(part, _)| words.contains(part)).map(|&(_, status)| status);
    match by_name.or(by_number).or_else(by_words) {
        Some(status) if OF_THE_ACCOUNT.contains(&status) => LogonError::Refused(status),
        _ => LogonError::Unavailable(format!("winbind: {}", printable(words))),
    }
}

/// What Samba says instead of a status' name.
const WORDS: &[(&str, NtStatus)] = &[
    ("value provided as the current password is not correct", NtStatus::WRONG_PASSWORD),
    ("specified account does not exist", NtStatus::NO_SUCH_USER),
    ("attempted logon is invalid", NtStatus::LOGON_FAILURE),
    ("account is currently disabled", NtStatus::ACCOUNT_DISABLED),
    ("must be changed before logging on", NtStatus::PASSWORD_MUST_CHANGE),
    ("account password has expired", NtStatus::PASSWORD_EXPIRED),
    ("user account has expired", NtStatus::ACCOUNT_EXPIRED),
    ("automatically locked because too many", NtStatus::ACCOUNT_LOCKED_OUT),
    ("user account has time restrictions", NtStatus::INVALID_LOGON_HOURS),
    ("log on from the source workstation", NtStatus::INVALID_WORKSTATION),
    ("some user account restriction", NtStatus::ACCOUNT_RESTRICTION),
    ("NTLM was blocked", NtStatus::NTLM_BLOCKED),
];

/// The statuses that say something of the account or its password, and nothing of the way there.
const OF_THE_ACCOUNT: &[NtStatus] = &[
    NtStatus::WRONG_PASSWORD,
    NtStatus::NO_SUCH_USER,
    NtStatus::LOGON_FAILURE,
    NtStatus::ACCOUNT_DISABLED,
    NtStatus::PASSWORD_MUST_CHANGE,
    NtStatus::PASSWORD_EXPIRED,
    NtStatus::ACCOUNT_EXPIRED,
    NtStatus::ACCOUNT_LOCKED_OUT,
    NtStatus::INVALID_LOGON_HOURS,
    NtStatus::INVALID_WORKSTATION,
    NtStatus::ACCOUNT_RESTRICTION,
    NtStatus::NTLM_BLOCKED,
];

/// The response of a client that knows the password, to a challenge of its own. MS-NLMP 3.3.2.
fn ntlmv2_logon(domain: &str, user: &str, password: &Secret<String>) -> Result<NetworkLogon, LogonError> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| LogonError::Unavailable(format!("no randomness: {error}")))?;
    let (server_challenge, client_challenge) = random.split_at(8);
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = UnixTime::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX));
    // NTLMv2_CLIENT_CHALLENGE (MS-NLMP 2.2.2.7) without any AvPair but MsvAvEOL.
    let mut temp = vec![1, 1, 0, 0, 0, 0, 0, 0];
    temp.extend_from_slice(&now.filetime().to_le_bytes());
    temp.extend_from_slice(client_challenge);
    temp.extend_from_slice(&[0; 12]);
    let server_challenge = server_challenge.try_into().unwrap_or_default();
    let key = crypto::ntowfv2(&crypto::nt_hash(password.expose()), user, domain);
    let proof = crypto::nt_proof_str(&key, &server_challenge, &temp);
    Ok(NetworkLogon {
        domain: domain.to_owned(),
        user: user.to_owned(),
        workstation: String::new(),
        server_challenge,
        nt_response: [proof.as_slice(), &temp].concat(),
        lm_response: Vec::new(),
    })
}

const MOST_PROCESSES: usize = 256;
const MOST_WAITING: usize = 1024;
/// As much as an AUTHENTICATE message carries that a browser sends.
const LARGEST_RESPONSE: usize = 16 << 10;
/// A program that dies at once is not started again for every logon.
const PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
