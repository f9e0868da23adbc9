//! Which of a visitor's groups an application is told of, and as what. A member of a thousand groups would fill its headers.
//!
//! A group of a domain is known by its SID; the name that the filter has for it was resolved ahead of the request, as those of
//! rules are. While it is not, nobody is told that somebody is *not* in the group: an application may decide on that.

use std::sync::Arc;

use iwa_auth::Identity;
use iwa_domain::local::Snapshot;
use iwa_domain::local::name::same;
use iwa_wire::Sid;

use crate::gateway::names::{DomainGroup, Resolved};

/// `groups` of `[route.identity]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Groups {
    /// All of them: by SID, those of a directory by name.
    All,
    /// These.
    Listed(Vec<Entry>),
}

/// A group, or several.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Entry {
    /// The group with this SID, called so.
    Sid(Sid, String),
    /// All groups of the domain with this SID (`S-1-5-21-1-2-3-*`), by SID.
    OfDomain(Sid),
    /// A domain's, called so.
    InDomain(Arc<DomainGroup>, String),
    /// One of this machine, by name, called so.
    Local {
        /// The name, perhaps with `MACHINE\`.
        name: String,
        /// What the application reads.
        called: String,
    },
    /// One of the LDAP directory.
    InDirectory {
        /// The directory's name.
        domain: String,
        /// The group's, folded; all that begin so with `family`.
        name: String,
        /// Whether `name` is a beginning.
        family: bool,
        /// What the application reads, unless `family`.
        called: String,
    },
    /// One of the LDAP directory, by its DN, called so.
    Dn(String, String),
}

impl Default for Groups {
    fn default() -> Self {
        Self::Listed(Vec::new())
    }
}

impl Groups {
    /// Whether any of them has a name that only the local accounts can tell.
    pub(super) fn has_local_names(&self) -> bool {
        matches!(self, Self::Listed(entries) if entries.iter().any(|entry| matches!(entry, Entry::Local { .. })))
    }

    /// Those of domains whose names must be resolved.
    pub(crate) fn of_domains(&self) -> impl Iterator<Item = &Arc<DomainGroup>> {
        let entries = match self {
            Self::All => &[],
            Self::Listed(entries) => entries.as_slice(),
        };
        entries.iter().filter_map(|entry| match entry {
            Entry::InDomain(group, _) => Some(group),
            _ => None,
        })
    }

    /// Tells each of the visitor's groups that are listed, once, in the list's order.
    ///
    /// # Errors
    /// Names that are not resolved, and why.
    pub(super) fn of(
        &self,
        identity: &Identity,
        accounts: Option<&Snapshot>,
        mut tell: impl FnMut(&str),
    ) -> Result<(), String> {
        let named = identity.named_groups().unwrap_or_default();
        let domain = &identity.account().domain;
        let entries = match self {
            Self::All => {
                identity.groups().iter().for_each(|sid| tell(&sid.to_string()));
                named.iter().for_each(|group| match &group.name {
                    Some(name) => tell(&format!("{domain}\\{name}")),
                    None => tell(&group.dn),
                });
                return Ok(());
            }
            Self::Listed(entries) => entries,
        };
        let has = |sid: &Sid| identity.groups().contains(sid);
        for entry in entries {
            match entry {
                Entry::Sid(sid, called) if has(sid) => tell(called),
                Entry::OfDomain(domain) => {
                    let of_it = |sid: &&Sid| sid.rid().and_then(|rid| domain.with_rid(rid)) == Some(**sid);
                    identity.groups().iter().filter(of_it).for_each(|sid| tell(&sid.to_string()));
                }
                // Who is in no group at all is not in this one.
                Entry::InDomain(..) if identity.groups().is_empty() => {}
                Entry::InDomain(group, called) => group.with(|known| {
                    match known {
                        Resolved::Sid(sid) if has(sid) => tell(called),
                        // Nobody is in a group that the domain says it does not have.
                        Resolved::Sid(_) | Resolved::Gone(_) => {}
                        Resolved::Unknown(why) => return Err(format!("{group}: {why}")),
                    }
                    Ok(())
                })?,
                Entry::Local { name, called } => {
                    if accounts.and_then(|accounts| accounts.group_sid(name)).as_ref().is_some_and(has) {
                        tell(called);
                    }
                }
                Entry::InDirectory { domain: of, name, family, called } if same(of, domain) => {
                    for found in named.iter().filter_map(|group| group.name.as_ref()) {
                        if *family && found.starts_with(name.as_str()) {
                            tell(&format!("{domain}\\{found}"));
                        } else if found == name {
                            tell(called);
                        }
                    }
                }
                Entry::Dn(dn, called) if named.iter().any(|group| group.dn == *dn) => tell(called),
                Entry::Sid(..) | Entry::InDirectory { .. } | Entry::Dn(..) => {}
            }
        }
        Ok(())
    }
}
