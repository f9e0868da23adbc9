//! What a domain has before a machine joins: its names, the machine's account, and whoever has the machine's SPNs. MS-ADTS
//! 3.1.1.5.1.3 (uniqueness of SPNs), 6.1.1.2.4.1.1 (sPNMappings), 6.1.1.4 (well-known objects).

use std::collections::BTreeSet;
use std::fmt;

use iwa_auth::UnixTime;
use iwa_wire::ldap::{Filter, Scope};
use iwa_wire::{Reader, Sid};

use super::error::JoinError;
use super::tree::{Entry, Tree, TreeError};
use super::{ACCOUNTDISABLE, SERVER_TRUST_ACCOUNT, Wanted};
use crate::machine::DomainNames;

/// What was found.
#[derive(Clone, Debug)]
pub struct Survey {
    /// The domain.
    pub domain: DomainNames,
    /// The container in which accounts of computers are made, unless another is wanted.
    pub container: String,
    /// How many computers anybody may join; an administrator may join more.
    pub quota: Option<u32>,
    /// The account, if there is one of that name.
    pub existing: Option<Existing>,
    /// Whoever else has SPNs that are wanted.
    pub duplicates: Vec<Duplicate>,
    /// What could not be looked at, in words.
    pub unseen: Vec<String>,
}

/// An account of the machine's name.
#[derive(Clone, Debug)]
pub struct Existing {
    /// Its distinguished name.
    pub dn: String,
    /// `userAccountControl`.
    pub control: u32,
    /// Whether it is a computer's.
    pub is_computer: bool,
    /// `dNSHostName`.
    pub dns_host_name: Option<String>,
    /// Its SPNs.
    pub services: Vec<String>,
    /// The version of its keys.
    pub kvno: Option<u32>,
    /// When its password was set.
    pub password_set: Option<UnixTime>,
    /// Who made it, if it was made by somebody's quota.
    pub creator: Option<Sid>,
}

/// An account that has an SPN which is wanted, or one that stands for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Duplicate {
    /// What is wanted.
    pub wanted: String,
    /// What the account has.
    pub has: String,
    /// Its distinguished name.
    pub dn: String,
    /// Its `sAMAccountName`.
    pub account: String,
}

impl Survey {
    /// The version that the keys of a new password will have, as far as one can guess.
    pub(super) fn next_kvno(&self) -> u32 {
        self.existing.as_ref().and_then(|existing| existing.kvno).map_or(1, |kvno| kvno.saturating_add(1))
    }
}

impl Existing {
    /// Whether it has an SPN, in whatever case.
    #[must_use]
    pub fn has(&self, service: &str) -> bool {
        self.services.iter().any(|known| known.eq_ignore_ascii_case(service))
    }

    pub(super) fn may_be_taken_over(&self, wanted: &Wanted) -> Result<(), JoinError> {
        let refuse = |why: String| Err(JoinError::Taken { account: wanted.account(), dn: self.dn.clone(), why });
        if !self.is_computer {
            return refuse("it is no computer's account".to_owned());
        }
        if self.control & SERVER_TRUST_ACCOUNT != 0 {
            return refuse("it is a domain controller's, which would be locked out of its own domain".to_owned());
        }
        match &self.dns_host_name {
            Some(host) if !host.eq_ignore_ascii_case(&wanted.dns_host_name) && !wanted.take_over => refuse(format!(
                "it says that it is {host}'s, which would be locked out of the domain: --computer-name gives this machine another \
                 name, --take-over takes the account all the same"
            )),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Existing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.control & ACCOUNTDISABLE == 0 { "enabled" } else { "disabled" };
        write!(f, "{state}, dNSHostName {}", self.dns_host_name.as_deref().unwrap_or("none"))?;
        match self.password_set {
            Some(set) => write!(f, ", password set {set}"),
            None => f.write_str(", password never set"),
        }
    }
}

/// Looks at everything that matters for a join. Changes nothing. `forest` is a session with a global catalogue, which knows the
/// SPNs of the other domains.
///
/// # Errors
/// The directory's refusal, or what it should have and has not.
pub async fn survey(wanted: &Wanted, tree: &dyn Tree, forest: Option<&dyn Tree>) -> Result<Survey, JoinError> {
    let attributes = ["defaultNamingContext", "configurationNamingContext", "rootDomainNamingContext"];
    let root = one(tree, "", &attributes).await?;
    let context = |name: &'static str| {
        root.text(name).map(str::to_owned).ok_or_else(|| JoinError::NotActiveDirectory { lacks: name.to_owned() })
    };
    let (base, configuration, forest_base) =
        (context("defaultNamingContext")?, context("configurationNamingContext")?, context("rootDomainNamingContext")?);
    let object = one(tree, &base, &["objectSid", "wellKnownObjects", "ms-DS-MachineAccountQuota"]).await?;
    let sid = object.values("objectSid").next().and_then(sid);
    let sid = sid.ok_or_else(|| JoinError::NotActiveDirectory { lacks: "objectSid".to_owned() })?;
    let container = object.texts("wellKnownObjects").find_map(computers).map(str::to_owned);
    let partitions = format!("CN=Partitions,{configuration}");
    let named = Filter::present("nETBIOSName");
    let domains = search(tree, &partitions, Scope::One, &named, &["nCName", "nETBIOSName"]).await?;
    let own = domains.iter().find(|entry| entry.text("nCName").is_some_and(|name| name.eq_ignore_ascii_case(&base)));
    let netbios = own.and_then(|entry| entry.text("nETBIOSName")).map(str::to_owned);
    let netbios = netbios.ok_or_else(|| JoinError::NotActiveDirectory { lacks: "nETBIOSName".to_owned() })?;
    let existing = existing(tree, &base, &wanted.account()).await?;

    let aliases = host_aliases(tree, &configuration).await;
    let own = existing.as_ref().map(|existing| existing.dn.as_str());
    let mut unseen = Vec::new();
    let mut duplicates = duplicates(tree, &base, wanted, &aliases, own).await?;
    match forest.filter(|_| domains.len() > 1) {
        Some(forest) => match self::duplicates(forest, "", wanted, &aliases, own).await {
            Ok(more) => {
                let more: Vec<_> = more.into_iter().filter(|found| !duplicates.contains(found)).collect();
                duplicates.extend(more);
            }
            Err(error) => unseen.push(format!("the SPNs of the forest's other domains: {error}")),
        },
        None if domains.len() > 1 => unseen.push("the SPNs of the forest's other domains".to_owned()),
        None => {}
    }
    Ok(Survey {
        domain: super::names(&dns_of(&base), &netbios, sid, &dns_of(&forest_base)),
        container: container.unwrap_or_else(|| format!("CN=Computers,{base}")),
        quota: object.text("ms-DS-MachineAccountQuota").and_then(|quota| quota.parse().ok()),
        existing,
        duplicates,
        unseen,
    })
}

/// The account of a name.
pub(super) async fn existing(tree: &dyn Tree, base: &str, account: &str) -> Result<Option<Existing>, JoinError> {
    let attributes = [
        "objectClass",
        "userAccountControl",
        "dNSHostName",
        "servicePrincipalName",
        "msDS-KeyVersionNumber",
        "pwdLastSet",
        "mS-DS-CreatorSID",
    ];
    let found = search(tree, base, Scope::Subtree, &Filter::equal("sAMAccountName", account), &attributes).await?;
    Ok(found.into_iter().next().map(|entry| Existing {
        control: entry.text("userAccountControl").and_then(|text| text.parse().ok()).unwrap_or_default(),
        is_computer: entry.texts("objectClass").any(|class| class.eq_ignore_ascii_case("computer")),
        dns_host_name: entry.text("dNSHostName").map(str::to_owned),
        services: entry.texts("servicePrincipalName").map(str::to_owned).collect(),
        kvno: entry.text("msDS-KeyVersionNumber").and_then(|text| text.parse().ok()),
        password_set: entry
            .text("pwdLastSet")
            .and_then(|text| text.parse().ok())
            .filter(|time| *time != 0)
            .map(UnixTime::from_filetime),
        creator: entry.values("mS-DS-CreatorSID").next().and_then(sid),
        dn: entry.dn.clone(),
    }))
}

/// Whoever else has an SPN that is wanted, or one that stands for it: `HOST/x` stands for `HTTP/x` and some fifty others, so that
/// a ticket for the one may be made with the other account's key.
async fn duplicates(
    tree: &dyn Tree,
    base: &str,
    wanted: &Wanted,
    aliases: &BTreeSet<String>,
    own: Option<&str>,
) -> Result<Vec<Duplicate>, JoinError> {
    let mut found: Vec<Duplicate> = Vec::new();
    for service in wanted.services() {
        let rivals = rivals(&service, aliases);
        for some in rivals.chunks(64) {
            let filter = some.iter().map(|rival| Filter::equal("servicePrincipalName", rival)).reduce(Filter::or);
            let Some(filter) = filter else { continue };
            for entry in
                search(tree, base, Scope::Subtree, &filter, &["servicePrincipalName", "sAMAccountName"]).await?
            {
                if own.is_some_and(|own| own.eq_ignore_ascii_case(&entry.dn)) {
                    continue;
                }
                let has = entry
                    .texts("servicePrincipalName")
                    .find(|has| some.iter().any(|rival| rival.eq_ignore_ascii_case(has)));
                let duplicate = Duplicate {
                    wanted: service.clone(),
                    has: has.unwrap_or(&service).to_owned(),
                    account: entry.text("sAMAccountName").unwrap_or(&entry.dn).to_owned(),
                    dn: entry.dn,
                };
                // HTTP/web and HOST/web both meet HTTP/web of another: once is enough.
                if !found.iter().any(|known| (&known.has, &known.dn) == (&duplicate.has, &duplicate.dn)) {
                    found.push(duplicate);
                }
            }
        }
    }
    Ok(found)
}

/// The SPNs that must not be another account's, if `service` is to be ours.
fn rivals(service: &str, aliases: &BTreeSet<String>) -> Vec<String> {
    let mut rivals = vec![service.to_owned()];
    let Some((class, host)) = service.split_once('/') else { return rivals };
    let class = class.to_lowercase();
    if class == "host" {
        rivals.extend(aliases.iter().map(|alias| format!("{alias}/{host}")));
    } else if aliases.contains(&class) {
        rivals.push(format!("HOST/{host}"));
    }
    rivals
}

/// The classes for which `HOST/` stands, in lower case. The domain may say others than Windows' own list.
async fn host_aliases(tree: &dyn Tree, configuration: &str) -> BTreeSet<String> {
    let service = format!("CN=Directory Service,CN=Windows NT,CN=Services,{configuration}");
    let entry = one(tree, &service, &["sPNMappings"]).await.unwrap_or_default();
    let of = |mapping: &str| {
        let (class, aliases) = mapping.split_once('=')?;
        let list = || aliases.split(',').map(|alias| alias.trim().to_lowercase()).collect::<Vec<_>>();
        class.eq_ignore_ascii_case("host").then(list)
    };
    let mut aliases: BTreeSet<_> = entry.texts("sPNMappings").filter_map(of).flatten().collect();
    // What matters to a web server, whatever the domain says.
    aliases.insert("http".to_owned());
    aliases
}

async fn one(tree: &dyn Tree, base: &str, attributes: &[&str]) -> Result<Entry, JoinError> {
    let found = search(tree, base, Scope::Base, &Filter::any_entry(), attributes).await?;
    found.into_iter().next().ok_or_else(|| JoinError::NotActiveDirectory { lacks: base.to_owned() })
}

async fn search(
    tree: &dyn Tree,
    base: &str,
    scope: Scope,
    filter: &Filter,
    attributes: &[&str],
) -> Result<Vec<Entry>, JoinError> {
    let found: Result<_, TreeError> = tree.search(base, scope, filter, attributes).await;
    found.map_err(JoinError::Directory)
}

/// `B:32:AA312825768811D1ADED00C04FD8D5CD:CN=Computers,DC=corp,...`: the container for computers, wherever it was moved to.
fn computers(well_known: &str) -> Option<&str> {
    let (guid, dn) = well_known.strip_prefix("B:32:")?.split_once(':')?;
    guid.eq_ignore_ascii_case("AA312825768811D1ADED00C04FD8D5CD").then_some(dn)
}

/// `DC=corp,DC=example,DC=test` as a DNS name.
fn dns_of(base: &str) -> String {
    let labels = base.split(',').filter_map(|part| part.trim().split_once('=')).map(|(_, label)| label.to_lowercase());
    labels.collect::<Vec<_>>().join(".")
}

fn sid(bytes: &[u8]) -> Option<Sid> {
    let mut reader = Reader::new("SID", bytes);
    Sid::read(&mut reader).ok().filter(|_| reader.is_empty())
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn host_stands_for_http_both_ways() {
        let aliases: BTreeSet<_> = ["http".to_owned(), "cifs".to_owned()].into();
        assert_eq!(rivals("HOST/web", &aliases), ["HOST/web", "cifs/web", "http/web"]);
        assert_eq!(rivals("HTTP/web", &aliases), ["HTTP/web", "HOST/web"]);
        assert_eq!(rivals("MSSQLSvc/web", &aliases), ["MSSQLSvc/web"]);
    }

    #[test]
    fn names_of_the_directory() {
        assert_eq!(dns_of("DC=Corp,DC=example,DC=test"), "corp.example.test");
        let moved = "B:32:AA312825768811D1ADED00C04FD8D5CD:OU=New, Machines,DC=x";
        assert_eq!(computers(moved), Some("OU=New, Machines,DC=x"));
        assert_eq!(computers("B:32:A9D1CA15768811D1ADED00C04FD8D5CD:CN=Users,DC=x"), None);
    }
}
