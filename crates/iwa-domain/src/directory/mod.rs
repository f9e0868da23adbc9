//! Users who live in an LDAP directory that is not Active Directory: OpenLDAP, eDirectory, FreeIPA. RFC 4511; the Samba schema;
//! MS-NLMP 3.3.2; RFC 4513 5.1.
//!
//! ```text
//! NTLM    the reader finds the entry -> its NT hash -> the response is verified here -> state of the account -> groups
//! Basic   the reader finds the entry -> a bind as that entry, with the password   -> state of the account -> groups
//! ```
//!
//! An NT hash is as good as the password. It comes over TLS to a reader who alone may see it, and is kept no longer than a
//! logon takes. Wrong passwords are counted here ([`Guesses`]): the directory does not see those of NTLM.
//!
//! | file | what |
//! |---|---|
//! | `name` | DNs, compared |
//! | `state` | disabled, locked, expired, in the words of each directory |
//! | `groups` | groups by their DNs and names, and SIDs where there are some |
//! | `guesses` | lock-outs |
//! | `server` | connections |

pub mod name;

mod groups;
mod guesses;
mod server;
mod state;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use iwa_auth::ntlm::crypto;
use iwa_auth::ports::{Answer, Logon, LogonError, LogonInfo, NetworkLogon, PasswordVerified};
use iwa_auth::{Account, NtStatus, Secret, UnixTime};
use iwa_wire::Sid;
use iwa_wire::explain::printable;
use iwa_wire::ldap::Filter;
use zeroize::Zeroizing;

pub use groups::GroupConfig;
pub use guesses::Guesses;
pub use server::ServerConfig;

use groups::Groups;
use name::Name;
use server::Server;

use crate::local::Lockout;

/// What is where in a directory.
#[derive(Clone, Debug)]
pub struct DirectoryConfig {
    /// What it is called in `NAME\user`: the domain of its accounts. Nobody else's.
    pub name: String,
    /// Below which entry the accounts are.
    pub base: String,
    /// The attribute that is an account's name (`uid`; in eDirectory `cn`).
    pub user_attribute: String,
    /// Other attributes by which an account may be called, as `mail`.
    pub aliases: Vec<String>,
    /// An object class that accounts have.
    pub user_class: Option<String>,
    /// Where the NT hash is; without one there is no NTLM.
    pub nt_hash: Option<String>,
    /// Groups.
    pub groups: GroupConfig,
    /// Where SIDs are (`sambaSID`, `ipaNTSecurityIdentifier`).
    pub sids: Vec<String>,
    /// The domain whose SIDs the directory may give. Without one it gives none.
    pub domain_sid: Option<Sid>,
    /// When wrong passwords lock an account.
    pub lockout: Lockout,
    /// The DN that reads, for messages.
    pub reader: String,
}

/// The accounts of a directory on an LDAP server.
pub struct LdapDirectory(Directory<Server>);

impl LdapDirectory {
    /// Nothing is asked before the first logon. `guesses` is what was counted before, by a directory of the same base.
    ///
    /// # Errors
    /// The server's certificates cannot be used, in words.
    pub fn new(config: DirectoryConfig, server: ServerConfig, guesses: Arc<Guesses>) -> Result<Self, String> {
        Ok(Self(Directory::new(config, Server::new(server)?, guesses)))
    }

    /// What was counted, for the directory that takes this one's place.
    #[must_use]
    pub fn guesses(&self) -> Arc<Guesses> {
        Arc::clone(&self.0.guesses)
    }
}

impl Logon for LdapDirectory {
    fn network<'a>(&'a self, logon: &'a NetworkLogon) -> Answer<'a, Result<LogonInfo, LogonError>> {
        self.0.network(logon)
    }

    fn password<'a>(
        &'a self,
        domain: &'a str,
        user: &'a str,
        password: &'a Secret<String>,
    ) -> Answer<'a, Result<PasswordVerified, LogonError>> {
        self.0.password(domain, user, password)
    }
}

/// The accounts of a directory, whoever asks it.
struct Directory<L> {
    config: DirectoryConfig,
    ldap: L,
    guesses: Arc<Guesses>,
    /// Whether the reader has ever seen an NT hash: if not, it is probably not allowed to.
    saw_a_hash: AtomicBool,
}

/// What is asked of an LDAP server.
pub(super) trait Ldap: Send + Sync {
    /// Searches as the reader. `Err` says why there is no whole answer.
    fn search<'a>(&'a self, search: Search<'a>) -> Answer<'a, Result<Vec<Entry>, String>>;

    /// Binds as somebody, on a connection of its own, over TLS.
    fn bind<'a>(&'a self, dn: &'a str, password: &'a Secret<String>) -> Answer<'a, Result<Bound, String>>;
}

/// A search.
pub(super) struct Search<'a> {
    base: &'a str,
    scope: Scope,
    filter: Filter,
    attributes: &'a [&'a str],
    /// More entries than these are an error, or may be left out.
    limit: usize,
}

/// Where to search.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Scope {
    Base,
    Subtree,
}

/// How a bind ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Bound {
    Yes,
    /// `invalidCredentials`.
    WrongPassword,
    /// The server knows the password or does not care for it; what it says.
    Refused(String),
}

/// An entry.
#[derive(Clone)]
pub(super) struct Entry {
    dn: String,
    /// The values may be secret: nothing prints them.
    attributes: Vec<(String, Vec<Vec<u8>>)>,
}

impl Entry {
    /// The values of an attribute, whose name has no case and may have options (`;lang-de`) that do not count.
    fn values(&self, name: &str) -> &[Vec<u8>] {
        let named = self.attributes.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        named.map_or(&[], |(_, values)| values)
    }

    /// Its DN, fit to print.
    fn shown(&self) -> String {
        printable(&self.dn)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        use zeroize::Zeroize as _;
        self.attributes.iter_mut().for_each(|(_, values)| values.zeroize());
    }
}

/// An account that was found.
struct Found {
    entry: Entry,
    name: Name,
    account: Account,
}

impl<L: Ldap> Logon for Directory<L> {
    fn network<'a>(&'a self, logon: &'a NetworkLogon) -> Answer<'a, Result<LogonInfo, LogonError>> {
        Box::pin(async move { self.verify_network(logon, now()).await })
    }

    fn password<'a>(
        &'a self,
        _: &'a str,
        user: &'a str,
        password: &'a Secret<String>,
    ) -> Answer<'a, Result<PasswordVerified, LogonError>> {
        Box::pin(async move { self.verify_password(user, password, now()).await })
    }
}

impl<L: Ldap> Directory<L> {
    fn new(config: DirectoryConfig, ldap: L, guesses: Arc<Guesses>) -> Self {
        Self { config, ldap, guesses, saw_a_hash: AtomicBool::new(false) }
    }

    async fn verify_network(&self, logon: &NetworkLogon, now: UnixTime) -> Result<LogonInfo, LogonError> {
        let Some(attribute) = &self.config.nt_hash else {
            return Err(LogonError::Unavailable(format!(
                "{} has no NT hashes: `nt-hash` names no attribute",
                self.config.name
            )));
        };
        let found = self.find(&logon.user, &[attribute]).await?;
        self.check_guesses(&found, now)?;
        let hash =
            nt_hash(found.entry.values(attribute)).map_err(|problem| self.no_hash(&found, attribute, problem))?;
        self.saw_a_hash.store(true, Ordering::Relaxed);
        let key = crypto::verify_ntlmv2(&hash, &logon.user, &logon.domain, &logon.server_challenge, &logon.nt_response);
        let session_base_key = key.ok_or_else(|| self.wrong(&found, now))?;
        let (account, groups) = self.conclude(found, now).await?;
        Ok(LogonInfo { account, groups: groups.sids, named_groups: Some(groups.named), session_base_key })
    }

    async fn verify_password(
        &self,
        user: &str,
        password: &Secret<String>,
        now: UnixTime,
    ) -> Result<PasswordVerified, LogonError> {
        // A bind without a password succeeds, and proves nothing (RFC 4513 5.1.2).
        if password.expose().is_empty() {
            return Err(LogonError::Refused(NtStatus::WRONG_PASSWORD));
        }
        let found = match self.find(user, &[]).await {
            Ok(found) => found,
            Err(refused @ LogonError::Refused(_)) => {
                // A name without an account costs a bind as any other, or the time would tell which names have one.
                let nobody = format!("cn=nobody,{}", self.config.base);
                self.ldap.bind(&nobody, password).await.map_err(LogonError::Unavailable)?;
                return Err(refused);
            }
            Err(unavailable) => return Err(unavailable),
        };
        self.check_guesses(&found, now)?;
        match self.ldap.bind(&found.entry.dn, password).await.map_err(LogonError::Unavailable)? {
            Bound::Yes => {}
            Bound::WrongPassword => return Err(self.wrong(&found, now)),
            Bound::Refused(why) => {
                tracing::info!(dn = %found.entry.shown(), why = %printable(&why), "the directory refuses the bind");
                let status = state::refusal(&found.entry, now).unwrap_or(NtStatus::ACCOUNT_RESTRICTION);
                return Err(LogonError::Refused(status));
            }
        }
        let (account, groups) = self.conclude(found, now).await?;
        Ok(PasswordVerified::by_authority(account, groups.sids).with_named_groups(groups.named))
    }

    /// Finds the one account that a client means.
    async fn find(&self, user: &str, more: &[&str]) -> Result<Found, LogonError> {
        let nobody = || LogonError::Refused(NtStatus::NO_SUCH_USER);
        if user.is_empty() || user.len() > LONGEST_USER || user.contains('\0') {
            return Err(nobody());
        }
        let config = &self.config;
        let named = core::iter::once(&config.user_attribute).chain(&config.aliases);
        let Some(mut filter) = named.map(|kind| Filter::equal(kind.as_str(), user)).reduce(Filter::or) else {
            return Err(nobody());
        };
        if let Some(class) = &config.user_class {
            filter = Filter::equal("objectClass", class).and(filter);
        }
        let mut attributes = vec![config.user_attribute.as_str(), "displayName"];
        attributes.extend(state::ATTRIBUTES);
        attributes.extend(config.groups.member_of.iter().map(String::as_str));
        attributes.extend(config.sids.iter().map(String::as_str));
        attributes.extend(more);
        let search = Search { base: &config.base, scope: Scope::Subtree, filter, attributes: &attributes, limit: 2 };
        let mut entries = self.ldap.search(search).await.map_err(LogonError::Unavailable)?;
        let entry = entries.pop().ok_or_else(nobody)?;
        if !entries.is_empty() {
            tracing::warn!(user = %printable(user), "more than one entry has this name: nobody is let in under it");
            return Err(nobody());
        }
        let unusable = |what: &str| {
            tracing::warn!(dn = %entry.shown(), "the entry {what}: it is let in under no name");
            LogonError::Refused(NtStatus::NO_SUCH_USER)
        };
        let name = Name::parse(&entry.dn).ok_or_else(|| unusable("has a DN that cannot be read"))?;
        let own = own_name(&entry, &name, &config.user_attribute)
            .ok_or_else(|| unusable(&format!("has no single {} that could be its name", config.user_attribute)))?;
        let display_name = match entry.values("displayName") {
            [value] => String::from_utf8(value.clone()).ok(),
            _ => None,
        };
        let sid = self.sid(&entry);
        let account = Account { name: own, domain: config.name.clone(), display_name, sid, ..Account::default() };
        Ok(Found { entry, name, account })
    }

    fn check_guesses(&self, found: &Found, now: UnixTime) -> Result<(), LogonError> {
        if self.guesses.locked(&found.name, now) {
            return Err(LogonError::Refused(NtStatus::ACCOUNT_LOCKED_OUT));
        }
        Ok(())
    }

    fn wrong(&self, found: &Found, now: UnixTime) -> LogonError {
        if self.guesses.count(&found.name, &self.config.lockout, now) {
            tracing::warn!(dn = %found.entry.shown(), "locked out after too many failures");
        }
        LogonError::Refused(NtStatus::WRONG_PASSWORD)
    }

    /// After a right password: what else keeps the account out, and its groups.
    async fn conclude(&self, found: Found, now: UnixTime) -> Result<(Account, Groups), LogonError> {
        // Others may have locked it while this one was verified.
        if self.guesses.forgive(&found.name, now) {
            return Err(LogonError::Refused(NtStatus::ACCOUNT_LOCKED_OUT));
        }
        if let Some(status) = state::refusal(&found.entry, now) {
            return Err(LogonError::Refused(status));
        }
        let groups = self.groups(&found.entry, &found.account.name).await;
        let groups = groups.map_err(|why| LogonError::Unavailable(format!("{}: groups: {why}", self.config.name)))?;
        Ok((found.account, groups))
    }

    /// Without a hash nobody can tell whether the password is right.
    fn no_hash(&self, found: &Found, attribute: &str, problem: NoHash) -> LogonError {
        let (dn, reader) = (found.entry.shown(), printable(&self.config.reader));
        match problem {
            NoHash::Absent if !self.saw_a_hash.load(Ordering::Relaxed) => LogonError::Unavailable(format!(
                "{dn} shows no {attribute} to {reader}, and neither did anybody else so far: the reader needs the right to read \
                 {attribute} of every account (OpenLDAP: `access to attrs={attribute} by dn.exact=\"{reader}\" read by * none`)"
            )),
            NoHash::Absent => {
                tracing::warn!(
                    "{dn} has no {attribute}, or {reader} may not read it there: NTLM cannot sign it in before its password \
                     is set anew"
                );
                LogonError::Refused(NtStatus::LOGON_FAILURE)
            }
            NoHash::Broken => {
                tracing::warn!("{dn} has a {attribute} that is neither 16 bytes nor 32 hexadecimal digits");
                LogonError::Refused(NtStatus::LOGON_FAILURE)
            }
        }
    }
}

/// The name of an account: the value in its DN, or the only one. Of several that anybody may have added, none is its name.
fn own_name(entry: &Entry, dn: &Name, attribute: &str) -> Option<String> {
    let values = entry.values(attribute).iter().map(|value| core::str::from_utf8(value).ok());
    let values: Option<Vec<&str>> = values.collect();
    let values = values?;
    let own = match (values.as_slice(), dn.own_value(attribute)) {
        ([only], _) => only,
        (several, Some(own)) => *several.iter().find(|value| name::folded(value) == own)?,
        _ => return None,
    };
    let usable =
        !own.is_empty() && own.len() <= LONGEST_USER && !own.contains(['\\', '@', '\0']) && printable(own) == *own;
    usable.then(|| own.to_owned())
}

/// Why there is no NT hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum NoHash {
    Absent,
    Broken,
}

/// An NT hash: 32 hexadecimal digits (`sambaNTPassword`) or 16 bytes (`ipaNTHash`).
fn nt_hash(values: &[Vec<u8>]) -> Result<Secret<[u8; 16]>, NoHash> {
    let [value] = values else { return Err(if values.is_empty() { NoHash::Absent } else { NoHash::Broken }) };
    let mut hash = Zeroizing::new([0; 16]);
    match value.len() {
        16 => hash.copy_from_slice(value),
        32 => {
            for (byte, digits) in hash.iter_mut().zip(value.chunks(2)) {
                let digit = |at: usize| digits.get(at).and_then(|&digit| char::from(digit).to_digit(16));
                let (Some(high), Some(low)) = (digit(0), digit(1)) else { return Err(NoHash::Broken) };
                *byte = u8::try_from(high * 16 + low).map_err(|_| NoHash::Broken)?;
            }
        }
        _ => return Err(NoHash::Broken),
    }
    Ok(Secret::new(*hash))
}

fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixTime::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

const LONGEST_USER: usize = 256;
