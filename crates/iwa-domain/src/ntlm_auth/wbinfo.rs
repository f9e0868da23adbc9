//! Who a name is and in which groups: `wbinfo`, because `ntlm_auth` tells neither. Samba, `nsswitch/wbinfo.c`.
//!
//! | asked | once |
//! |---|---|
//! | `--separator`, `--own-domain` | a process of ours |
//! | `--domain-info` | a domain |
//! | `--name-to-sid`, `--sid-to-name`, `--user-sids` | an account, and again after [`NtlmAuthConfig::remember`] |
//!
//! Each is a process of 5 to 20 ms. The names are those of accounts that were just authenticated, and no secrets.
//!
//! [`NtlmAuthConfig::remember`]: super::NtlmAuthConfig::remember

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use iwa_auth::Account;
use iwa_wire::Sid;
use iwa_wire::explain::printable;
use tokio::io::AsyncReadExt as _;
use tokio::sync::{OnceCell, Semaphore};

use super::process::Process;

/// An account as winbind knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) account: Account,
    /// Nested ones included.
    pub(super) groups: Vec<Sid>,
}

/// Asks `wbinfo`, and remembers what it said.
#[derive(Debug)]
pub(super) struct Wbinfo {
    program: PathBuf,
    timeout: Duration,
    remember: Duration,
    slots: Semaphore,
    own: OnceCell<Own>,
    known: Mutex<HashMap<Name, (Instant, Known)>>,
    realms: Mutex<HashMap<String, Option<String>>>,
}

/// Domain and user as the client spelled them.
type Name = (String, String);

/// What does not change while winbind runs.
#[derive(Debug)]
struct Own {
    separator: char,
    domain: String,
}

impl Wbinfo {
    pub(super) fn new(program: PathBuf, timeout: Duration, remember: Duration) -> Self {
        Self {
            program,
            timeout,
            remember,
            slots: Semaphore::new(PROCESSES),
            own: OnceCell::new(),
            known: Mutex::default(),
            realms: Mutex::default(),
        }
    }

    /// Who the account is that winbind just authenticated under this name.
    ///
    /// # Errors
    /// Why that cannot be told, for the administrator.
    pub(super) async fn who(&self, domain: &str, user: &str) -> Result<Known, String> {
        let name = (domain.to_owned(), user.to_owned());
        if let Some(known) = self.remembered(&name) {
            return Ok(known);
        }
        let own = self.own.get_or_try_init(|| self.own()).await?;
        let known = self.look_up(own, domain, user).await?;
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST_KNOWN {
            all.retain(|_, (since, _)| since.elapsed() < self.remember);
        }
        if all.len() < MOST_KNOWN {
            all.insert(name, (Instant::now(), known.clone()));
        }
        Ok(known)
    }

    fn remembered(&self, name: &Name) -> Option<Known> {
        let all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(name).filter(|(since, _)| since.elapsed() < self.remember).map(|(_, known)| known.clone())
    }

    async fn own(&self) -> Result<Own, String> {
        let separator = self.run("--separator").await?;
        let domain = self.run("--own-domain").await?;
        let mut chars = separator.trim_end_matches('\n').chars();
        match (chars.next(), chars.next(), domain.trim()) {
            (Some(separator), None, domain) if !domain.is_empty() => Ok(Own { separator, domain: domain.to_owned() }),
            _ => Err("wbinfo --separator and --own-domain: wanted a character and a domain".to_owned()),
        }
    }

    async fn look_up(&self, own: &Own, domain: &str, user: &str) -> Result<Known, String> {
        let name = match domain {
            // A UPN: its domain is in it.
            "" if user.contains('@') && !user.contains(own.separator) => user.to_owned(),
            "" => format!("{}{}{user}", own.domain, own.separator),
            domain if domain.contains(own.separator) => return Err(format!("\"{}\" is no domain", printable(domain))),
            domain => format!("{domain}{}{user}", own.separator),
        };
        let sid = user_sid(&self.run(&format!("--name-to-sid={name}")).await?)?;
        let (domain, name) = account_name(&self.run(&format!("--sid-to-name={sid}")).await?, own.separator)?;
        let groups = sids(&self.run(&format!("--user-sids={sid}")).await?)?;
        let realm = self.realm(&domain).await?;
        Ok(Known {
            account: Account { name, domain, realm, sid: Some(sid), ..Account::default() },
            groups: groups.into_iter().filter(|group| *group != sid).collect(),
        })
    }

    /// The DNS name of a domain; none for the accounts of a machine.
    async fn realm(&self, domain: &str) -> Result<Option<String>, String> {
        if let Some(realm) = self.realms.lock().unwrap_or_else(PoisonError::into_inner).get(domain) {
            return Ok(realm.clone());
        }
        let info = self.run(&format!("--domain-info={domain}")).await?;
        let realm = dns_name(&info);
        let mut realms = self.realms.lock().unwrap_or_else(PoisonError::into_inner);
        if realms.len() < MOST_REALMS {
            realms.insert(domain.to_owned(), realm.clone());
        }
        Ok(realm)
    }

    async fn run(&self, argument: &str) -> Result<String, String> {
        let shown = printable(argument);
        let run = async {
            let _slot = self.slots.acquire().await.map_err(|_| "it is over".to_owned())?;
            let mut process = Process::start(&self.program, &[argument])
                .map_err(|error| format!("{} cannot be started: {error}", self.program.display()))?;
            let mut output = Vec::new();
            let mut bounded = (&mut process.stream).take(LARGEST_OUTPUT + 1);
            bounded.read_to_end(&mut output).await.map_err(|error| error.to_string())?;
            if output.len() as u64 > LARGEST_OUTPUT {
                return Err(format!("it says more than {LARGEST_OUTPUT} bytes"));
            }
            // Groups that are not all of them would let somebody past a `deny`: only an end in order counts.
            let status = process.ended().await.map_err(|error| error.to_string())?;
            if !status.success() {
                return Err(format!("{status}; {}", process.complaint().await));
            }
            String::from_utf8(output).map_err(|_| "it says something that is not UTF-8".to_owned())
        };
        match tokio::time::timeout(self.timeout, run).await {
            Ok(result) => result.map_err(|why| format!("wbinfo {shown}: {why}")),
            Err(_) => Err(format!("wbinfo {shown}: no answer within {:?}, and it was ended", self.timeout)),
        }
    }
}

/// `S-1-5-21-1-2-3-1103 SID_USER (1)`.
fn user_sid(output: &str) -> Result<Sid, String> {
    let (sid, kind) = output.trim_end().split_once(' ').unwrap_or((output, ""));
    match (sid.parse(), kind.starts_with("SID_USER ")) {
        (Ok(sid), true) => Ok(sid),
        _ => Err(format!("wbinfo --name-to-sid: wanted the SID of a user; found \"{}\"", printable(output.trim_end()))),
    }
}

/// `CORP\alice 1`.
fn account_name(output: &str, separator: char) -> Result<(String, String), String> {
    let wrong = || format!("wbinfo --sid-to-name: wanted an account; found \"{}\"", printable(output.trim_end()));
    let (name, kind) = output.trim_end().rsplit_once(' ').ok_or_else(wrong)?;
    match name.split_once(separator) {
        Some((domain, name)) if kind == "1" && !domain.is_empty() && !name.is_empty() => {
            Ok((domain.to_owned(), name.to_owned()))
        }
        _ => Err(wrong()),
    }
}

/// One SID a line.
fn sids(output: &str) -> Result<Vec<Sid>, String> {
    let sid = |line: &str| {
        line.trim().parse().map_err(|_| format!("wbinfo --user-sids: \"{}\" is no SID", printable(line.trim())))
    };
    output.lines().map(sid).collect()
}

/// `Alt_Name          : corp.example.test`.
fn dns_name(output: &str) -> Option<String> {
    let value = |line: &str| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "Alt_Name").then(|| value.trim().to_uppercase())
    };
    output.lines().find_map(value).filter(|name| name.contains('.'))
}

/// A flood of names that authenticate must not become a flood of processes.
const PROCESSES: usize = 4;
const MOST_KNOWN: usize = 10_000;
const MOST_REALMS: usize = 100;
/// Some 20,000 SIDs; a Windows token holds 1,024.
const LARGEST_OUTPUT: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wbinfo_says() {
        assert_eq!(user_sid("S-1-5-21-1-2-3-1103 SID_USER (1)\n"), Ok("S-1-5-21-1-2-3-1103".parse().unwrap()));
        assert_eq!(account_name("CORP\\jörg 1\n", '\\'), Ok(("CORP".into(), "jörg".into())));
        assert_eq!(account_name("CORP+van dam 1\n", '+'), Ok(("CORP".into(), "van dam".into())));
        assert_eq!(sids("S-1-5-21-1-2-3-1103\nS-1-5-32-545\n").map(|sids| sids.len()), Ok(2));
        let info =
            "Name              : CORP\nAlt_Name          : corp.example.test\nSID               : S-1-5-21-1-2-3\n";
        assert_eq!(dns_name(info), Some("CORP.EXAMPLE.TEST".into()));
        assert_eq!(dns_name("Name : MEMBER1\nAlt_Name          : \n"), None);
    }

    #[test]
    fn a_group_is_no_user_and_nonsense_is_nobody() {
        for output in ["", "S-1-5-21-1-2-3-513 SID_DOM_GROUP (2)\n", "S-1-5-x SID_USER (1)", "SID_USER (1)"] {
            assert!(user_sid(output).is_err(), "{output}");
        }
        for output in ["", "CORP\\alice 2\n", "alice 1\n", "CORP\\ 1", "\\alice 1", "CORP\\alice"] {
            assert!(account_name(output, '\\').is_err(), "{output}");
        }
        assert!(sids("S-1-5-21-1-2-3-1103\n<none>\n").is_err());
    }
}
