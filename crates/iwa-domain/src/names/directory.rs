//! Names and SIDs in Active Directory: by `sAMAccountName` and `objectSid`, never by CN. MS-ADTS 3.1.1.1.5, 6.1.1.2.1.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use iwa_auth::ports::{AccountName, Answer};
use iwa_wire::Sid;

use super::Source;
use crate::ldap::{Directory, Dn, Entry, Filter, LdapError, ResultCode, Scope, Search};
use crate::machine::DomainNames;

/// The directory of a domain, and of its forest where a Global Catalog may be asked.
pub struct LdapNames {
    domain: DomainNames,
    directory: Arc<Directory>,
    global_catalog: Option<Arc<Directory>>,
    partitions: Mutex<Option<Arc<[Partition]>>>,
}

/// A domain of the forest: a `crossRef` (MS-ADTS 6.1.1.2.1.1).
#[derive(Clone, PartialEq, Eq, Debug)]
struct Partition {
    dn: String,
    netbios: String,
    dns: String,
}

impl fmt::Debug for LdapNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LdapNames({})", self.domain.dns)
    }
}

impl LdapNames {
    /// Names of this domain; those of the other domains of its forest if there is a Global Catalog to ask.
    #[must_use]
    pub const fn new(domain: DomainNames, directory: Arc<Directory>, global_catalog: Option<Arc<Directory>>) -> Self {
        Self { domain, directory, global_catalog, partitions: Mutex::new(None) }
    }

    /// All groups of an account, through whatever groups, as the directory computes them (`tokenGroups`, MS-ADTS
    /// 3.1.1.4.5.19): for those who come without a PAC. `None` if there is no such account.
    ///
    /// # Errors
    /// In words.
    pub async fn token_groups(&self, account: &Sid) -> Result<Option<Vec<Sid>>, String> {
        let base = format!("<SID={account}>");
        match self.directory.search(&Search::entry(&base, &["tokenGroups"])).await {
            Ok(found) => match found.one() {
                Some(entry) => match entry.sids("tokenGroups") {
                    Some(sids) => Ok(Some(sids)),
                    None => Err(format!("tokenGroups of {} has a value that is no SID", entry.dn)),
                },
                None => Ok(None),
            },
            Err(error) if error.code() == Some(ResultCode::NO_SUCH_OBJECT) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn find_sid(&self, domain: &str, name: &str) -> Result<Option<Sid>, String> {
        let own = self.domain.netbios.eq_ignore_ascii_case(domain) || self.domain.dns.eq_ignore_ascii_case(domain);
        let filter = Filter::equal("sAMAccountName", name);
        let (directory, base) = if own {
            (&self.directory, Dn::of_domain(&self.domain.dns).to_string())
        } else {
            let Some(partition) = self.partition(|partition| partition.is_called(domain)).await? else {
                return self.outside(domain).await;
            };
            (self.catalog(domain)?, partition.dn)
        };
        let found = directory.search(&Search { most: 8, ..Search::below(&base, filter, ATTRIBUTES) }).await;
        // A directory may take o for ö; a rule does not.
        let called = |entry: &&Entry| {
            entry.text("sAMAccountName").is_some_and(|found| found.to_lowercase() == name.to_lowercase())
        };
        let found = found.map_err(words)?;
        let mut entries = found.entries.iter().filter(called);
        let Some(entry) = entries.next() else { return Ok(None) };
        if let Some(other) = entries.next() {
            return Err(format!("{domain}\\{name} is the name of {} and of {}", entry.dn, other.dn));
        }
        entry.sid("objectSid").map(Some).ok_or_else(|| format!("{} has no SID that this account may read", entry.dn))
    }

    async fn find_name(&self, sid: Sid) -> Result<Option<AccountName>, String> {
        let filter = Filter::sid("objectSid", &sid);
        let own = sid.rid().and_then(|rid| self.domain.sid.with_rid(rid)) == Some(sid);
        if own {
            let base = Dn::of_domain(&self.domain.dns).to_string();
            let found = self.directory.search(&Search { most: 2, ..Search::below(&base, filter, ATTRIBUTES) }).await;
            let Some(entry) = found.map_err(words)?.one() else { return Ok(None) };
            let domain = self.domain.netbios.clone();
            return Ok(name_in(&entry, &sid).map(|name| AccountName { domain, name }));
        }
        // Of another domain: an account has five sub-authorities, S-1-5-21-a-b-c-rid.
        if !matches!(sid.sub_authorities(), [21, _, _, _, _]) || sid.authority() != 5 {
            return Ok(None);
        }
        // A forest of one domain has no others.
        if self.partitions().await?.len() < 2 {
            return Ok(None);
        }
        let directory = self.catalog("the SID's domain")?;
        let found = directory.search(&Search { most: 2, ..Search::below("", filter, ATTRIBUTES) }).await;
        let Some(entry) = found.map_err(words)?.one() else { return Ok(None) };
        let Some(name) = name_in(&entry, &sid) else { return Ok(None) };
        let Some(partition) = self.partition(|partition| partition.holds(&entry.dn)).await? else {
            return Err(format!("{} stands in no domain of the forest that is known here", entry.dn));
        };
        Ok(Some(AccountName { domain: partition.netbios, name }))
    }

    fn catalog(&self, domain: &str) -> Result<&Arc<Directory>, String> {
        self.global_catalog.as_ref().ok_or_else(|| {
            format!(
                "{domain} is another domain of the forest of {}: only a Global Catalog knows its names",
                self.domain.dns
            )
        })
    }

    /// What is to be said of a domain that is not of the forest.
    async fn outside(&self, domain: &str) -> Result<Option<Sid>, String> {
        let filter = Filter::equal("objectClass", "trustedDomain")
            .and(Filter::equal("flatName", domain).or(Filter::equal("trustPartner", domain)));
        let base = Dn::of_domain(&self.domain.dns).child("CN", "System").to_string();
        let search = Search { scope: Scope::One, ..Search::below(&base, filter, &["trustPartner"]) };
        let found = self.directory.search(&search).await.map_err(words)?;
        if found.entries.is_empty() {
            // There is no such domain, so nothing is called so.
            return Ok(None);
        }
        Err(format!(
            "{domain} is a trusted domain outside of the forest of {}, and its directory is not asked: write its accounts and \
             groups as SIDs",
            self.domain.dns
        ))
    }

    async fn partition(&self, wanted: impl Fn(&Partition) -> bool) -> Result<Option<Partition>, String> {
        let partitions = self.partitions().await?;
        // The longest name first: an entry of a child domain stands in its parent's name, too.
        Ok(partitions.iter().filter(|partition| wanted(partition)).max_by_key(|found| found.dn.len()).cloned())
    }

    /// The domains of the forest. A domain that is added meanwhile is seen after a restart.
    async fn partitions(&self) -> Result<Arc<[Partition]>, String> {
        if let Some(known) = &*self.partitions.lock().unwrap_or_else(PoisonError::into_inner) {
            return Ok(Arc::clone(known));
        }
        let forest = Dn::of_domain(&self.domain.forest);
        let base = forest.child("CN", "Configuration").child("CN", "Partitions").to_string();
        // FLAG_CR_NTDS_DOMAIN: a domain, and no application's partition.
        let filter = Filter::equal("objectClass", "crossRef").and(Filter::rule(
            "systemFlags",
            iwa_wire::ldap::filter::BIT_AND,
            "2",
        ));
        let search =
            Search { scope: Scope::One, ..Search::below(&base, filter, &["nCName", "nETBIOSName", "dnsRoot"]) };
        let found = self.directory.search(&search).await.map_err(words)?;
        let partition = |entry: &Entry| {
            let text = |name| entry.text(name).map(str::to_owned);
            Some(Partition { dn: text("nCName")?, netbios: text("nETBIOSName")?, dns: text("dnsRoot")? })
        };
        let partitions: Arc<[Partition]> = found.entries.iter().filter_map(partition).collect();
        if partitions.is_empty() {
            return Err(format!("{base} tells of no domain: may this account read it?"));
        }
        *self.partitions.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&partitions));
        Ok(partitions)
    }
}

impl Partition {
    fn is_called(&self, domain: &str) -> bool {
        self.netbios.eq_ignore_ascii_case(domain) || self.dns.eq_ignore_ascii_case(domain)
    }

    fn holds(&self, dn: &str) -> bool {
        let (dn, own) = (dn.to_lowercase(), self.dn.to_lowercase());
        dn.strip_suffix(&own).is_some_and(|before| before.is_empty() || before.ends_with(','))
    }
}

/// What is read of an account or group.
const ATTRIBUTES: &[&str] = &["sAMAccountName", "objectSid"];

/// The entry's name, if it has the SID that was asked for.
fn name_in(entry: &Entry, sid: &Sid) -> Option<String> {
    (entry.sid("objectSid").as_ref() == Some(sid)).then(|| entry.text("sAMAccountName").map(str::to_owned)).flatten()
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn words(error: LdapError) -> String {
    error.to_string()
}

impl Source for LdapNames {
    fn sid_of<'a>(&'a self, domain: &'a str, name: &'a str) -> Answer<'a, Result<Option<Sid>, String>> {
        Box::pin(self.find_sid(domain, name))
    }

    fn name_of(&self, sid: Sid) -> Answer<'_, Result<Option<AccountName>, String>> {
        Box::pin(self.find_name(sid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_stands_in_the_domain_whose_name_it_ends_with() {
        let of = |dn: &str| Partition { dn: dn.into(), netbios: "X".into(), dns: "x.test".into() };
        let parent = of("DC=example,DC=test");
        assert!(parent.holds("CN=alice,CN=Users,dc=Example,dc=Test") && parent.holds("DC=example,DC=test"));
        assert!(!parent.holds("DC=badexample,DC=test"));
        assert!(!parent.holds("CN=x,DC=notexample,DC=test"));
    }
}
