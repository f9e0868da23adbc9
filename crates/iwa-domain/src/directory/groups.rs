//! The groups of an account: what its entry names (`memberOf`, `groupMembership`), and what names it (`member`,
//! `uniqueMember`, `memberUid`), and the groups that these groups are in.
//!
//! All of them or an error: a group that is left out would be one that a `deny` does not see.

use std::collections::{BTreeMap, BTreeSet};

use iwa_auth::NamedGroup;
use iwa_wire::Sid;
use iwa_wire::explain::printable;
use iwa_wire::ldap::Filter;

use super::name::Name;
use super::{Directory, Entry, Ldap, Scope, Search};

/// How groups are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupConfig {
    /// Attributes of an account, and of a group, that hold the DNs of groups it is in.
    pub member_of: Vec<String>,
    /// Below which entry groups are searched; the short names of groups are those of the groups directly below it. Without
    /// one there are only the groups of `member_of`, by DN.
    pub base: Option<Name>,
    /// Attributes of a group that hold the DNs of its members.
    pub members: Vec<String>,
    /// Attributes of a group that hold the names of its members, as `memberUid` does (RFC 2307).
    pub member_names: Vec<String>,
    /// Whether a member of a group that is in a group is in that one too.
    pub nested: bool,
}

impl Default for GroupConfig {
    fn default() -> Self {
        let all = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Self {
            member_of: all(&["memberOf", "groupMembership"]),
            base: None,
            members: all(&["member", "uniqueMember"]),
            member_names: all(&["memberUid"]),
            nested: true,
        }
    }
}

/// The groups of an account.
#[derive(Debug, Default)]
pub(super) struct Groups {
    pub(super) named: Vec<NamedGroup>,
    pub(super) sids: Vec<Sid>,
}

/// What was found on the way up.
#[derive(Default)]
struct Walk {
    /// Each group once, which is what ends loops, and its DN as the directory spells it: so it is asked for.
    found: BTreeMap<Name, String>,
    /// Those whose entry was seen.
    read: BTreeSet<Name>,
    /// Those that were found last.
    next: Vec<(Name, String)>,
    sids: BTreeSet<Sid>,
}

impl Walk {
    fn add(&mut self, dn: &str) -> Result<Name, String> {
        let name =
            Name::parse(dn).ok_or_else(|| format!("\"{}\" is the DN of a group, and cannot be read", printable(dn)))?;
        if !self.found.contains_key(&name) {
            if self.found.len() >= MOST {
                return Err(too_many());
            }
            self.found.insert(name.clone(), dn.to_owned());
            self.next.push((name.clone(), dn.to_owned()));
        }
        Ok(name)
    }
}

impl<L: Ldap> Directory<L> {
    /// The groups of the account `entry`, whose name is `account`.
    pub(super) async fn groups(&self, entry: &Entry, account: &str) -> Result<Groups, String> {
        let config = &self.config.groups;
        let mut walk = Walk::default();
        self.add_named(entry, &mut walk)?;
        for group in self.groups_with(core::slice::from_ref(&entry.dn), Some(account)).await? {
            self.add_group(&group, &mut walk)?;
        }
        // The entries of groups that were only named: for their SIDs, and for what they are in where that cannot be searched.
        let reads = self.config.domain_sid.is_some() || (config.nested && config.base.is_none());
        for depth in 0.. {
            let level = core::mem::take(&mut walk.next);
            if level.is_empty() || !(reads || config.nested) {
                break;
            }
            if depth > DEEPEST {
                return Err(format!("they are nested more than {DEEPEST} deep"));
            }
            for (_, dn) in
                level.iter().filter(|(name, _)| reads && !walk.read.contains(name)).cloned().collect::<Vec<_>>()
            {
                for group in self.read(&dn).await? {
                    self.add_group(&group, &mut walk)?;
                }
            }
            if config.nested {
                let dns: Vec<_> = level.into_iter().map(|(_, dn)| dn).collect();
                for group in self.groups_with(&dns, None).await? {
                    self.add_group(&group, &mut walk)?;
                }
            }
        }
        let named = walk.found.into_keys().map(|dn| NamedGroup {
            name: config.base.as_ref().and_then(|base| dn.common_name_below(base)).map(str::to_owned),
            dn: dn.to_string(),
        });
        Ok(Groups { named: named.collect(), sids: walk.sids.into_iter().collect() })
    }

    /// Adds a group whose entry is there.
    fn add_group(&self, group: &Entry, walk: &mut Walk) -> Result<(), String> {
        walk.sids.extend(self.sid(group));
        let name = walk.add(&group.dn)?;
        walk.read.insert(name);
        if self.config.groups.nested { self.add_named(group, walk) } else { Ok(()) }
    }

    /// Adds the groups that an entry says it is in.
    fn add_named(&self, entry: &Entry, walk: &mut Walk) -> Result<(), String> {
        for value in self.config.groups.member_of.iter().flat_map(|attribute| entry.values(attribute)) {
            walk.add(&String::from_utf8_lossy(value))?;
        }
        Ok(())
    }

    /// The groups that have one of these members.
    async fn groups_with(&self, members: &[String], account: Option<&str>) -> Result<Vec<Entry>, String> {
        let config = &self.config.groups;
        let Some(base) = &config.base else { return Ok(Vec::new()) };
        let base = base.to_string();
        let mut attributes = self.sid_attributes();
        attributes.extend(config.member_of.iter().map(String::as_str));
        let mut groups = Vec::new();
        for members in members.chunks(AT_ONCE) {
            let by_dn =
                config.members.iter().flat_map(|kind| members.iter().map(|dn| Filter::equal(kind.as_str(), dn)));
            let by_name = config.member_names.iter().zip(account.into_iter().cycle());
            let filters = by_dn.chain(by_name.map(|(kind, name)| Filter::equal(kind.as_str(), name)));
            let Some(filter) = filters.reduce(Filter::or) else { continue };
            let search = Search { base: &base, scope: Scope::Subtree, filter, attributes: &attributes, limit: MOST };
            groups.extend(self.ldap.search(search).await?);
            if groups.len() > MOST {
                return Err(too_many());
            }
        }
        Ok(groups)
    }

    async fn read(&self, dn: &str) -> Result<Vec<Entry>, String> {
        let mut attributes = self.sid_attributes();
        attributes.extend(self.config.groups.member_of.iter().map(String::as_str));
        let filter = Filter::any_entry();
        self.ldap.search(Search { base: dn, scope: Scope::Base, filter, attributes: &attributes, limit: 2 }).await
    }

    /// The SID of an entry, if it has one of the directory's own domain: any other is another authority's to give.
    pub(super) fn sid(&self, entry: &Entry) -> Option<Sid> {
        let domain = self.config.domain_sid?;
        let values = self.config.sids.iter().flat_map(|attribute| entry.values(attribute));
        let mut own = values.filter_map(|value| {
            let sid: Sid = core::str::from_utf8(value).ok()?.trim().parse().ok()?;
            (sid.rid().and_then(|rid| domain.with_rid(rid)) == Some(sid)).then_some(sid)
        });
        own.next().filter(|_| own.next().is_none())
    }

    fn sid_attributes(&self) -> Vec<&str> {
        if self.config.domain_sid.is_some() {
            self.config.sids.iter().map(String::as_str).collect()
        } else {
            Vec::new()
        }
    }
}

fn too_many() -> String {
    format!("the account is in more than {MOST} groups")
}

/// How many groups an account may be in.
const MOST: usize = 4096;
/// How deep groups may be nested.
const DEEPEST: usize = 16;
/// How many members one search names.
const AT_ONCE: usize = 50;
