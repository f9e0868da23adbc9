//! The accounts as they stood at one moment, in memory: what every logon reads.

use std::collections::{HashMap, HashSet};

use iwa_wire::Sid;

use super::name::fold;
use super::record::{Group, Machine, Rid, Service, User};

/// The accounts as they stood at one moment.
#[derive(Debug)]
pub struct Snapshot {
    /// Counts the changes.
    pub(super) generation: u64,
    machine: Machine,
    users: HashMap<Rid, User>,
    groups: HashMap<Rid, Group>,
    services: HashMap<String, Service>,
    /// Folded name -> RID: users and groups share their names, as in Windows.
    names: HashMap<String, Rid>,
    /// Folded UPN -> RID.
    upns: HashMap<String, Rid>,
    /// Member -> the groups that it stands in itself.
    parents: HashMap<Rid, Vec<Rid>>,
}

/// `BUILTIN\Users`: everybody who has an account is a member (MS-DTYP 2.4.2.4).
pub const USERS: &str = "Users";

impl Snapshot {
    pub(super) fn new(
        generation: u64,
        machine: Machine,
        users: Vec<User>,
        groups: Vec<Group>,
        services: Vec<Service>,
    ) -> Self {
        let names = users
            .iter()
            .map(|user| (fold(&user.name), user.rid))
            .chain(groups.iter().map(|group| (fold(&group.name), group.rid)))
            .collect();
        let upns = users.iter().map(|user| (fold(&user.upn), user.rid)).collect();
        let mut parents = HashMap::<Rid, Vec<Rid>>::new();
        for group in &groups {
            for &member in &group.members {
                parents.entry(member).or_default().push(group.rid);
            }
        }
        Self {
            generation,
            machine,
            users: users.into_iter().map(|user| (user.rid, user)).collect(),
            groups: groups.into_iter().map(|group| (group.rid, group)).collect(),
            services: services.into_iter().map(|service| (fold(&service.name), service)).collect(),
            names,
            upns,
            parents,
        }
    }

    /// The machine whose accounts these are.
    #[must_use]
    pub const fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The account of this name, in any case.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.get(self.names.get(&fold(name))?)
    }

    /// The account with this user principal name, in any case; without such a UPN, the account `name` of `name@realm` or of
    /// `name@machine`.
    #[must_use]
    pub fn user_by_upn(&self, upn: &str) -> Option<&User> {
        if let Some(rid) = self.upns.get(&fold(upn)) {
            return self.users.get(rid);
        }
        let (name, suffix) = upn.rsplit_once('@')?;
        if self.is_own_domain(suffix) { self.user(name) } else { None }
    }

    /// The account with this relative identifier.
    #[must_use]
    pub fn user_by_rid(&self, rid: Rid) -> Option<&User> {
        self.users.get(&rid)
    }

    /// The group of this name, in any case.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.get(self.names.get(&fold(name))?)
    }

    /// The group with this relative identifier.
    #[must_use]
    pub fn group_by_rid(&self, rid: Rid) -> Option<&Group> {
        self.groups.get(&rid)
    }

    /// The service principal of this name without realm, in any case.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.get(&fold(name))
    }

    /// The ticket-granting service's keys.
    #[must_use]
    pub fn krbtgt(&self) -> Option<&Service> {
        self.service(&format!("krbtgt/{}", self.machine.realm))
    }

    /// All accounts, by name.
    #[must_use]
    pub fn users(&self) -> Vec<&User> {
        let mut users: Vec<_> = self.users.values().collect();
        users.sort_by_key(|user| fold(&user.name));
        users
    }

    /// All groups, by name.
    #[must_use]
    pub fn groups(&self) -> Vec<&Group> {
        let mut groups: Vec<_> = self.groups.values().collect();
        groups.sort_by_key(|group| fold(&group.name));
        groups
    }

    /// All service principals, by name.
    #[must_use]
    pub fn services(&self) -> Vec<&Service> {
        let mut services: Vec<_> = self.services.values().collect();
        services.sort_by_key(|service| fold(&service.name));
        services
    }

    /// The groups that a user or group is a member of, through other groups too, in ascending order.
    #[must_use]
    pub fn groups_of(&self, rid: Rid) -> Vec<&Group> {
        let mut seen = HashSet::new();
        let mut open = vec![rid];
        while let Some(member) = open.pop() {
            for &parent in self.parents.get(&member).into_iter().flatten() {
                // A circle cannot be made, and would end here if it could.
                if seen.insert(parent) {
                    open.push(parent);
                }
            }
        }
        let mut groups: Vec<_> = seen.into_iter().filter_map(|rid| self.groups.get(&rid)).collect();
        groups.sort_by_key(|group| group.rid);
        groups
    }

    /// The SIDs of all groups of an account, `BUILTIN\Users` among them.
    #[must_use]
    pub fn group_sids(&self, user: Rid) -> Vec<Sid> {
        let own = self.groups_of(user).into_iter().map(|group| self.machine.sid_of(group.rid));
        own.chain(builtin_users()).collect()
    }

    /// The SID that a name of a group stands for: `name`, `machine\name`, `BUILTIN\Users`.
    #[must_use]
    pub fn group_sid(&self, name: &str) -> Option<Sid> {
        let (domain, group) = name.split_once('\\').unwrap_or(("", name));
        if super::name::same(group, USERS) && (domain.is_empty() || super::name::same(domain, "BUILTIN")) {
            return builtin_users();
        }
        if !domain.is_empty() && !self.is_own_domain(domain) {
            return None;
        }
        self.group(group).map(|group| self.machine.sid_of(group.rid))
    }

    /// Whether this is a name of the machine itself: its NetBIOS name, its realm, or `.`, as Windows writes "here".
    #[must_use]
    pub fn is_own_domain(&self, domain: &str) -> bool {
        domain == "." || super::name::same(domain, &self.machine.name) || super::name::same(domain, &self.machine.realm)
    }

    /// The name of a user or group.
    #[must_use]
    pub fn name_of(&self, rid: Rid) -> Option<&str> {
        self.users
            .get(&rid)
            .map(|user| user.name.as_str())
            .or_else(|| self.groups.get(&rid).map(|group| group.name.as_str()))
    }
}

fn builtin_users() -> Option<Sid> {
    Sid::new(5, &[32, 545])
}
