//! Joining a domain: the computer account made or taken over, its secret on the disk before the domain learns it. MS-ADTS
//! 3.1.1.3.1.5 (unicodePwd), 3.1.1.5.2, 3.1.1.5.3, 6.4; MS-WKST 3.2.4.13 by other means.
//!
//! ```text
//! survey   what the domain is, whether the account is there, who has our SPNs     nothing is changed
//! plan     what is to be done, in words                                          what --dry-run prints
//! carry out
//!   1  machine.json    the new password, pending if there was one before
//!   2  the account     made, or its names and SPNs set
//!   3  its password    (made accounts: in one step with 2)
//!   4  the KDC         asked for salt and key version, with that password
//!   5  machine.json, machine.keytab
//!   6  a ticket for the machine to itself, which the keytab must decrypt
//! ```

mod directory;
mod error;
mod survey;
pub mod tree;

#[cfg(test)]
mod tests;

use std::fmt;

use iwa_auth::krb5::keys::{Keys, ServiceNames};
use iwa_auth::ports::Kdc;
use iwa_auth::{Secret, UnixTime};
use iwa_wire::keytab::Keytab;
use iwa_wire::krb5::{Principal, Ticket};
use iwa_wire::ldap::Dn;
use zeroize::Zeroizing;

pub use self::error::JoinError;
pub use self::survey::{Existing, Survey, survey};
use self::tree::{Put, Tree, Values};
use super::rotate::Policy;
use super::{DomainNames, Locked, Machine, MachineError, MachinePassword, State, StateDir, kerberos, keys};

/// What the machine wants to be in the domain.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The NetBIOS name, in upper case, of at most 15 characters: `WEB`.
    pub computer: String,
    /// The DNS name: `web.corp.example.test`.
    pub dns_host_name: String,
    /// The container; nothing means the domain's own for computers.
    pub ou: Option<String>,
    /// Other names of the services: `HTTP/www.corp.example.test`, or a host, which stands for `HTTP/` of it.
    pub aliases: Vec<String>,
    /// Whether an account may be taken over that says it is another host's.
    pub take_over: bool,
    /// The description of the account's operating system.
    pub operating_system: String,
}

impl Wanted {
    /// What the machine of this host name wants.
    ///
    /// # Errors
    /// [`JoinError::Name`].
    pub fn new(computer: &str, dns_host_name: &str) -> Result<Self, JoinError> {
        let name = |why| Err(JoinError::Name { name: computer.to_owned(), why });
        if computer.len() > 15 {
            return name("a NetBIOS name has at most 15 characters: --computer-name gives the account a shorter one");
        }
        let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if computer.is_empty() || !computer.chars().all(good) || computer.chars().all(|c| c.is_ascii_digit()) {
            return name("letters, digits, - and _ make a computer's name, and not digits alone");
        }
        if !is_host(dns_host_name) {
            let name = dns_host_name.to_owned();
            return Err(JoinError::Name { name, why: "it is no DNS name of a host: --dns-host-name gives another" });
        }
        Ok(Self {
            computer: computer.to_uppercase(),
            dns_host_name: dns_host_name.to_lowercase(),
            ou: None,
            aliases: Vec::new(),
            take_over: false,
            operating_system: "iwa".to_owned(),
        })
    }

    /// Adds another name of a service.
    ///
    /// # Errors
    /// [`JoinError::Name`].
    pub fn alias(&mut self, text: &str) -> Result<(), JoinError> {
        let (class, host) = text.split_once('/').unwrap_or(("HTTP", text));
        let class_is_good = !class.is_empty() && class.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        if !class_is_good || !is_host(host) {
            let why = "wanted a host, or CLASS/HOST, without a realm";
            return Err(JoinError::Name { name: text.to_owned(), why });
        }
        self.aliases.push(format!("{}/{}", class.to_uppercase(), host.to_lowercase()));
        Ok(())
    }

    /// The account's name.
    #[must_use]
    pub fn account(&self) -> String {
        format!("{}$", self.computer)
    }

    fn has(&self, service: &str) -> bool {
        self.services().iter().any(|wanted| wanted.eq_ignore_ascii_case(service))
    }

    /// The SPNs, each once.
    #[must_use]
    pub fn services(&self) -> Vec<String> {
        let short = self.computer.to_lowercase();
        let mut services = Vec::new();
        for class in ["HTTP", "HOST"] {
            for host in [&self.dns_host_name, &short] {
                services.push(format!("{class}/{host}"));
            }
        }
        services.extend(self.aliases.iter().cloned());
        let mut seen = std::collections::HashSet::new();
        services.retain(|service| seen.insert(service.to_lowercase()));
        services
    }
}

/// What is to be done, known to be possible as far as that can be seen.
#[derive(Clone, Debug)]
pub struct Plan {
    wanted: Wanted,
    survey: Survey,
    dn: String,
    dir: StateDir,
}

/// Makes a plan of a survey.
///
/// # Errors
/// What speaks against it: SPNs that others have, an account that must not be taken over.
pub fn plan(wanted: Wanted, survey: Survey, dir: StateDir) -> Result<Plan, JoinError> {
    if !survey.duplicates.is_empty() {
        return Err(JoinError::Duplicates { computer: wanted.computer, found: survey.duplicates });
    }
    let dn = match &survey.existing {
        Some(existing) => {
            existing.may_be_taken_over(&wanted)?;
            existing.dn.clone()
        }
        None => {
            let container = wanted.ou.clone().unwrap_or_else(|| survey.container.clone());
            Dn::given(container).child("CN", &wanted.computer).as_str().to_owned()
        }
    };
    Ok(Plan { wanted, survey, dn, dir })
}

impl fmt::Display for Plan {
    /// In words, a line a step.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { wanted, survey, dn, dir } = self;
        let domain = &survey.domain;
        writeln!(f, "domain      {} ({}), SID {}, forest {}", domain.dns, domain.netbios, domain.sid, domain.forest)?;
        match &survey.existing {
            None => writeln!(f, "account     make {dn}, {}", wanted.account())?,
            Some(existing) => {
                writeln!(f, "account     take over {dn}, {}: {existing}", wanted.account())?;
                if wanted.ou.is_some() {
                    writeln!(f, "            it stays where it is; --ou is for accounts that are made")?;
                }
            }
        }
        writeln!(f, "names       dNSHostName {}", wanted.dns_host_name)?;
        for service in wanted.services() {
            let has = survey.existing.as_ref().is_some_and(|existing| existing.has(&service));
            writeln!(f, "SPN         {service}{}", if has { " (it has it already)" } else { "" })?;
        }
        writeln!(f, "encryption  AES only (msDS-SupportedEncryptionTypes 24)")?;
        writeln!(f, "password    a new one of 120 random characters, which nobody ever sees")?;
        writeln!(f, "secret      {}", dir.secret().display())?;
        write!(f, "keytab      {}", dir.keytab().display())
    }
}

/// What was done.
#[derive(Clone, Debug)]
pub struct Joined {
    /// The state, as it is on the disk.
    pub state: State,
    /// The account's distinguished name.
    pub dn: String,
    /// Whether the account was made; otherwise it was taken over.
    pub made: bool,
    /// What could not be done and is not needed, in words.
    pub left: Vec<String>,
}

/// Carries a plan out.
///
/// # Errors
/// [`JoinError::Halfway`] says what was done before something failed, and how to go on.
pub async fn carry_out(plan: &Plan, tree: &dyn Tree, kdc: &dyn Kdc, now: UnixTime) -> Result<Joined, JoinError> {
    let mut work = Work { plan, done: Vec::new(), left: Vec::new() };
    plan.dir.make()?;
    let locked = plan.dir.lock()?;
    let before = match plan.dir.load() {
        Ok(before) => Some(before),
        Err(MachineError::Absent { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    match work.run(&locked, before.clone(), tree, kdc, now).await {
        Ok(state) => Ok(Joined { state, dn: plan.dn.clone(), made: plan.survey.existing.is_none(), left: work.left }),
        // The domain said no, so that it does not know the new password: everything is as it was.
        Err(why) if work.done.is_empty() && why.is_refusal() => {
            match before {
                Some(before) => {
                    locked.save(&before)?;
                    locked.write_keys(&before, Policy::default().alive(now))?;
                }
                None => locked.erase()?,
            }
            Err(why)
        }
        Err(why) if work.done.is_empty() => Err(why),
        Err(why) => Err(JoinError::Halfway { done: work.done, why: Box::new(why) }),
    }
}

struct Work<'a> {
    plan: &'a Plan,
    /// What is done, in words.
    done: Vec<String>,
    left: Vec<String>,
}

impl Work<'_> {
    async fn run(
        &mut self,
        locked: &Locked,
        before: Option<State>,
        tree: &dyn Tree,
        kdc: &dyn Kdc,
        now: UnixTime,
    ) -> Result<State, JoinError> {
        let Plan { wanted, survey, dn, .. } = self.plan;
        let (mut state, password) = self.write_secret(locked, before, now)?;
        let password_value = unicode_pwd(&password.password);
        match &survey.existing {
            None => {
                tree.add(dn, &self.new_account(password_value))
                    .await
                    .map_err(|error| JoinError::of_add(error, dn, wanted, survey))?;
                self.done.push(format!("the account {dn} was made"));
            }
            Some(existing) => {
                tree.modify(dn, &self.names(existing)).await.map_err(|error| JoinError::of_names(error, dn, wanted))?;
                self.done.push(format!("the account {dn} has the machine's names and SPNs"));
                let change = [(Put::InPlace, Values { name: "unicodePwd", values: vec![password_value] })];
                tree.modify(dn, &change).await.map_err(|error| JoinError::of_password(error, dn, existing))?;
                self.done.push(format!("the account {dn} has a new password, so whoever used it is locked out"));
            }
        }
        // Whoever makes accounts by quota may not write these. The keys are AES keys all the same.
        let etypes = Values::texts("msDS-SupportedEncryptionTypes", [AES_ONLY]);
        let system = Values::texts("operatingSystem", [&wanted.operating_system]);
        for (change, why) in [
            (etypes, "the domain may give tickets with RC4 keys; set it to 24 by hand"),
            (system, "only the description in the directory lacks it"),
        ] {
            let name = change.name;
            if let Err(error) = tree.modify(dn, &[(Put::InPlace, change)]).await {
                self.left.push(format!("{name} could not be set ({error}): {why}"));
            }
        }
        let principal = Principal::user(&wanted.account(), &survey.domain.realm());
        let client = iwa_auth::krb5::client::Client::new(
            principal,
            iwa_auth::krb5::client::LongTerm::Password(password.password.clone()),
        );
        let signed_in = kerberos::sign_in(&client, kdc)
            .await
            .map_err(|reject| JoinError::Kerberos { doing: "sign in as the machine", reject })?;
        let realm = survey.domain.realm();
        state.machine.salt = signed_in.salt.clone().unwrap_or_else(|| keys::default_salt(&realm, &wanted.computer));
        if state.machine.pending.is_some() {
            state.commit(signed_in.kvno, now, Policy::default().keep);
        } else if let Some(kvno) = signed_in.kvno {
            state.machine.current.kvno = kvno;
        }
        locked.save(&state)?;
        locked.write_keys(&state, Policy::default().alive(now))?;
        self.done.push("the secret and the keytab are written".to_owned());
        let client = client.with_credentials(vec![signed_in.tgt]);
        self.verify(&client, &state, kdc).await?;
        Ok(state)
    }

    /// Writes the new password before anybody else learns it. One that works already stays until the new one does.
    fn write_secret(
        &self,
        locked: &Locked,
        before: Option<State>,
        now: UnixTime,
    ) -> Result<(State, MachinePassword), JoinError> {
        let Plan { wanted, survey, dir, .. } = self.plan;
        let new = MachinePassword { password: keys::new_password()?, kvno: survey.next_kvno(), since: now };
        let machine = |current: MachinePassword| Machine {
            domain: survey.domain.clone(),
            computer: wanted.computer.clone(),
            dns_host_name: wanted.dns_host_name.clone(),
            salt: keys::default_salt(&survey.domain.realm(), &wanted.computer),
            current,
            pending: None,
            previous: None,
        };
        // Those that the account has besides are served, too.
        let mut services = wanted.services();
        let others = survey.existing.iter().flat_map(|existing| &existing.services);
        services.extend(others.filter(|service| !wanted.has(service) && service.split('/').count() == 2).cloned());
        let state = match before {
            Some(before) if before.machine.domain == survey.domain && before.machine.computer == wanted.computer => {
                let mut machine = machine(before.machine.current);
                machine.salt = before.machine.salt;
                machine.previous = before.machine.previous;
                machine.pending = Some(new.clone());
                let state = State { machine, services, older: before.older };
                locked.save(&state)?;
                // Servers that run get tickets under the new keys as soon as the domain has them.
                locked.write_keys(&state, Policy::default().alive(now))?;
                return Ok((state, new));
            }
            Some(other) => {
                return Err(JoinError::Elsewhere {
                    path: dir.secret(),
                    account: format!("{}\\{}", other.machine.domain.netbios, other.machine.account()),
                });
            }
            None => State::new(machine(new.clone()), services),
        };
        locked.save(&state)?;
        Ok((state, new))
    }

    fn new_account(&self, password: Zeroizing<Vec<u8>>) -> Vec<Values> {
        let wanted = &self.plan.wanted;
        vec![
            Values::texts("objectClass", ["computer"]),
            Values::texts("sAMAccountName", [wanted.account()]),
            Values::texts("userAccountControl", [WORKSTATION_TRUST_ACCOUNT.to_string()]),
            Values::texts("dNSHostName", [&wanted.dns_host_name]),
            Values::texts("servicePrincipalName", wanted.services()),
            Values { name: "unicodePwd", values: vec![password] },
        ]
    }

    /// An account that is there gets our names; SPNs that it has besides stay.
    fn names(&self, existing: &Existing) -> Vec<(Put, Values)> {
        let wanted = &self.plan.wanted;
        let mut changes = vec![(Put::InPlace, Values::texts("dNSHostName", [&wanted.dns_host_name]))];
        let lacking: Vec<_> = wanted.services().into_iter().filter(|service| !existing.has(service)).collect();
        if !lacking.is_empty() {
            changes.push((Put::Besides, Values::texts("servicePrincipalName", lacking)));
        }
        let control =
            (existing.control | WORKSTATION_TRUST_ACCOUNT) & !(ACCOUNTDISABLE | NORMAL_ACCOUNT | PASSWD_NOTREQD);
        if control != existing.control {
            changes.push((Put::InPlace, Values::texts("userAccountControl", [control.to_string()])));
        }
        changes
    }

    /// A ticket of the machine's for itself, which the keytab on the disk decrypts.
    async fn verify(
        &self,
        client: &iwa_auth::krb5::client::Client,
        state: &State,
        kdc: &dyn Kdc,
    ) -> Result<(), JoinError> {
        let path = self.plan.dir.keytab();
        let realm = state.machine.domain.realm();
        let service = Principal::service("HTTP", &state.machine.dns_host_name, &realm);
        let credential = kerberos::ticket(client, &service, kdc)
            .await
            .map_err(|reject| JoinError::Kerberos { doing: "get a ticket for the machine's own service", reject })?;
        let bytes = Zeroizing::new(std::fs::read(&path).map_err(|error| MachineError::Io {
            doing: "read",
            path: path.clone(),
            error,
        })?);
        let unreadable = |what: String| MachineError::Damaged { path: path.clone(), what };
        let keytab = Keytab::parse(&bytes).map_err(|error| unreadable(error.to_string()))?;
        let ticket = Ticket::parse(&credential.ticket).map_err(|error| unreadable(error.to_string()))?;
        Keys::of_keytabs([keytab])
            .decrypt_ticket(&ticket, &ServiceNames::InKeytab, &mut Vec::new())
            .map(|_| ())
            .map_err(|reason| JoinError::NotOurs { service: service.to_string(), reason })
    }
}

/// What is to become of an account whose machine leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leave {
    /// It is disabled: whoever administers the domain may delete it, or the machine may come back.
    Disable,
    /// It is deleted.
    Delete,
}

/// Disables or deletes the machine's account; says its distinguished name, or that there is none any more.
///
/// # Errors
/// The directory's refusal.
pub async fn leave(machine: &Machine, how: Leave, tree: &dyn Tree) -> Result<Option<String>, JoinError> {
    let base = Dn::of_domain(&machine.domain.dns);
    let Some(existing) = survey::existing(tree, base.as_str(), &machine.account()).await? else { return Ok(None) };
    let done = match how {
        Leave::Disable => {
            let control = Values::texts("userAccountControl", [(existing.control | ACCOUNTDISABLE).to_string()]);
            tree.modify(&existing.dn, &[(Put::InPlace, control)]).await
        }
        Leave::Delete => tree.delete(&existing.dn).await,
    };
    done.map_err(|error| JoinError::of_leave(error, &existing.dn, how))?;
    Ok(Some(existing.dn))
}

/// `unicodePwd`: the password in quotes, UTF-16, the low byte first. MS-ADTS 3.1.1.3.1.5.
pub(super) fn unicode_pwd(password: &Secret<String>) -> Zeroizing<Vec<u8>> {
    let mut value = Zeroizing::new(Vec::with_capacity(2 * password.expose().len() + 4));
    for unit in std::iter::once(u16::from(b'"')).chain(password.expose().encode_utf16()).chain([u16::from(b'"')]) {
        value.extend_from_slice(&unit.to_le_bytes());
    }
    value
}

fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
            && !label.starts_with('-')
    };
    text.len() <= 253 && text.split('.').all(label) && text.parse::<std::net::IpAddr>().is_err()
}

/// The names of the domain, for whoever has read them from its directory.
pub(super) fn names(dns: &str, netbios: &str, sid: iwa_wire::Sid, forest: &str) -> DomainNames {
    DomainNames { dns: dns.to_lowercase(), netbios: netbios.to_owned(), sid, forest: forest.to_lowercase() }
}

/// `msDS-SupportedEncryptionTypes`: AES128 and AES256 (MS-KILE 2.2.7).
const AES_ONLY: &str = "24";
/// `userAccountControl` (MS-ADTS 2.2.16).
const ACCOUNTDISABLE: u32 = 0x2;
const PASSWD_NOTREQD: u32 = 0x20;
const NORMAL_ACCOUNT: u32 = 0x200;
const WORKSTATION_TRUST_ACCOUNT: u32 = 0x1000;
const SERVER_TRUST_ACCOUNT: u32 = 0x2000;
