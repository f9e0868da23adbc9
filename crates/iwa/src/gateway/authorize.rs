//! URL authorization: who may, decided on every request. IIS 7 `<system.webServer/security/authorization>`.
//!
//! The order of evaluation is IIS's: Deny rules first, those of the parent before those of the child; then Allow rules,
//! parent first; among equals, in order of appearance. No rule that matches means no. (ASP.NET's older module of the same
//! name goes the other way round.)

use std::sync::Arc;

use http::Method;
use iwa_auth::{Account, NamedGroup};
use iwa_domain::local::Snapshot;
use iwa_domain::local::name::same;
use iwa_wire::Sid;

use super::domain::Joined;
use super::logons;
use super::names::{DomainGroup, Resolved};

/// A rule, `<add accessType users roles verbs>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// What it does to whom it matches.
    pub(crate) access: Access,
    /// Whom it matches: one of these, or a member of one of the roles.
    pub(crate) users: Vec<User>,
    /// Groups whose members it matches.
    pub(crate) roles: Vec<Role>,
    /// Which methods; none means all.
    pub(crate) verbs: Vec<Method>,
}

/// `accessType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Lets in.
    Allow,
    /// Keeps out.
    Deny,
}

/// An entry of `users`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum User {
    /// `*`: everybody, anonymous or not.
    All,
    /// `?`: whoever did not sign in.
    Anonymous,
    /// `DOMAIN\name`; a domain is the NetBIOS name of one of ours, or a realm.
    InDomain {
        /// The domain.
        domain: String,
        /// The name in it.
        name: String,
    },
    /// `name@suffix`: a UPN, or a principal and its realm.
    Upn(String),
    /// `name`: an account of this machine, and of nowhere else.
    Local(String),
    /// A SID.
    Sid(Sid),
}

/// An entry of `roles`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A group of this machine, by name: `name`, `MACHINE\name`, `BUILTIN\Users`.
    Group(String),
    /// A group of a domain, by name: `DOMAIN\name`.
    InDomain(Arc<DomainGroup>),
    /// A group of the LDAP directory, by its name there: `NAME\\group`.
    InDirectory {
        /// The directory's name.
        domain: String,
        /// The group's, folded.
        name: String,
    },
    /// A group of the LDAP directory, by its DN, in the one spelling.
    Dn(String),
    /// Any group, by SID.
    Sid(Sid),
}

/// What names mean on this machine.
pub(crate) trait Names {
    /// The domain of the configuration that this name means.
    fn domain(&self, name: &str) -> Option<&logons::Names>;
    /// Whether there is any domain.
    fn has_domains(&self) -> bool;
    /// The domain of the configuration that an account is of.
    fn domain_of(&self, account: &Account) -> Option<&logons::Names>;
    /// Whether an account is of this machine, of one of its domains, or, where it is in none, of the realm of its keys.
    fn is_ours(&self, account: &Account) -> bool;
    /// Whether a domain is this machine's own.
    fn is_own_domain(&self, domain: &str) -> bool;
    /// The machine's realm and the SID of its accounts.
    fn machine(&self) -> Option<(&str, Sid)>;
    /// The SID of a group of this machine.
    fn group_sid(&self, name: &str) -> Option<Sid>;
}

/// Nobody has local accounts here: no name means anything, SIDs do.
pub(crate) struct NoNames;

impl Names for NoNames {
    fn domain(&self, _: &str) -> Option<&logons::Names> {
        None
    }

    fn has_domains(&self) -> bool {
        false
    }

    fn domain_of(&self, _: &Account) -> Option<&logons::Names> {
        None
    }

    fn is_ours(&self, _: &Account) -> bool {
        false
    }

    fn is_own_domain(&self, _: &str) -> bool {
        false
    }

    fn machine(&self) -> Option<(&str, Sid)> {
        None
    }

    fn group_sid(&self, _: &str) -> Option<Sid> {
        None
    }
}

/// The local accounts and the domains.
pub(crate) struct Here<'a> {
    /// The accounts, where the rules need them and there are any.
    pub(crate) accounts: Option<&'a Snapshot>,
    /// The domains.
    pub(crate) domains: &'a [Arc<Joined>],
    /// The realms of the keytabs.
    pub(crate) realms: &'a [String],
}

impl Names for Here<'_> {
    fn domain(&self, name: &str) -> Option<&logons::Names> {
        self.domains.iter().map(|domain| &domain.names).find(|names| names.is(name))
    }

    fn has_domains(&self) -> bool {
        !self.domains.is_empty()
    }

    fn domain_of(&self, account: &Account) -> Option<&logons::Names> {
        self.domains.iter().map(|domain| &domain.names).find(|names| is_of(account, names))
    }

    fn is_ours(&self, account: &Account) -> bool {
        let of_the_keys = || {
            // Byte for byte, as Kerberos compares realms.
            self.domains.is_empty() && account.realm.as_ref().is_some_and(|realm| self.realms.contains(realm))
        };
        self.domain_of(account).is_some() || is_own(account, self) || of_the_keys()
    }

    fn is_own_domain(&self, domain: &str) -> bool {
        self.accounts.is_some_and(|accounts| accounts.is_own_domain(domain))
    }

    fn machine(&self) -> Option<(&str, Sid)> {
        let machine = self.accounts?.machine();
        Some((&machine.realm, machine.sid))
    }

    fn group_sid(&self, name: &str) -> Option<Sid> {
        self.accounts?.group_sid(name)
    }
}

/// Who asks, as far as the rules look at it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    /// The account.
    pub(crate) account: &'a Account,
    /// Its groups.
    pub(crate) groups: &'a [Sid],
    /// Its groups with names; `None` if its authority gives groups none.
    pub(crate) named: Option<&'a [NamedGroup]>,
}

impl<'a> From<&'a iwa_auth::Identity> for Subject<'a> {
    fn from(identity: &'a iwa_auth::Identity) -> Self {
        Self { account: identity.account(), groups: identity.groups(), named: identity.named_groups() }
    }
}

/// What the rules say, and which one said it (an index into them; `None` if none matched).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// In.
    Allowed,
    /// Out. Whoever did not sign in is asked to (401.2); whoever did is told no (403).
    Denied {
        /// The Deny rule that matched; `None` if nothing did.
        by: Option<usize>,
    },
    /// Nobody can tell now: the decision hangs on this rule, and it on a name that is not resolved.
    Undecided {
        /// The rule.
        by: usize,
    },
}

/// Whether a rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Match {
    No,
    Yes,
    /// It would depend on a name that is not resolved.
    Unknown,
}

impl From<bool> for Match {
    fn from(matches: bool) -> Self {
        if matches { Self::Yes } else { Self::No }
    }
}

/// Decides. `rules` are those of the parents, outermost first, then the route's own, each in order of appearance.
pub(crate) fn decide(rules: &[Rule], subject: Option<Subject<'_>>, verb: &Method, names: &dyn Names) -> Decision {
    if rules.is_empty() {
        // IIS's factory rule: everybody whom authentication lets through.
        return Decision::Allowed;
    }
    let deny = first(rules, Access::Deny, subject, verb, names);
    if let Some((denied, Match::Yes)) = deny {
        return Decision::Denied { by: Some(denied) };
    }
    match (deny, first(rules, Access::Allow, subject, verb, names)) {
        // Whatever the Deny would say, nobody lets them in.
        (_, None) => Decision::Denied { by: None },
        (Some((by, _)), Some(_)) | (None, Some((by, Match::Unknown))) => Decision::Undecided { by },
        (None, Some(_)) => Decision::Allowed,
    }
}

/// The first rule of this kind that matches, else the first that may.
fn first(
    rules: &[Rule],
    access: Access,
    subject: Option<Subject<'_>>,
    verb: &Method,
    names: &dyn Names,
) -> Option<(usize, Match)> {
    let mut unknown = None;
    for (n, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.access == access) {
        match rule.matches(subject, verb, names) {
            Match::No => {}
            Match::Yes => return Some((n, Match::Yes)),
            Match::Unknown => unknown = unknown.or(Some((n, Match::Unknown))),
        }
    }
    unknown
}

impl Rule {
    /// Everybody.
    pub(crate) fn allow_all() -> Self {
        Self { access: Access::Allow, users: vec![User::All], roles: Vec::new(), verbs: Vec::new() }
    }

    /// The names of this rule that are not resolved, and why, in words.
    pub(crate) fn unresolved(&self) -> String {
        let groups = self.roles.iter().filter_map(|role| match role {
            Role::InDomain(group) => group.with(|known| match known {
                Resolved::Sid(_) => None,
                Resolved::Gone(_) => Some(format!("{group}: the domain has no such group")),
                Resolved::Unknown(why) => Some(format!("{group}: {why}")),
            }),
            Role::Group(_) | Role::InDirectory { .. } | Role::Dn(_) | Role::Sid(_) => None,
        });
        groups.collect::<Vec<_>>().join("; ")
    }

    fn matches(&self, subject: Option<Subject<'_>>, verb: &Method, names: &dyn Names) -> Match {
        if !self.verbs.is_empty() && !self.verbs.contains(verb) {
            return Match::No;
        }
        if self.users.iter().any(|user| user.matches(subject, names, self.access)) {
            return Match::Yes;
        }
        // Nobody is in no group.
        let Some(subject) = subject else { return Match::No };
        if self.denies_for_want_of_a_sid(subject) {
            return Match::Yes;
        }
        let mut found = Match::No;
        for role in &self.roles {
            match role.matches(subject, names, self.access) {
                Match::No => {}
                Match::Yes => return Match::Yes,
                Match::Unknown => found = Match::Unknown,
            }
        }
        found
    }

    /// Whether it keeps out by groups or SIDs somebody of whom neither is known. A ticket without a PAC says nothing of them,
    /// and any client may ask its KDC for one. A directory that names groups says all there are.
    fn denies_for_want_of_a_sid(&self, subject: Subject<'_>) -> bool {
        let by_sid = !self.roles.is_empty() || self.users.iter().any(|user| matches!(user, User::Sid(_)));
        self.access == Access::Deny && by_sid && subject.account.sid.is_none() && subject.named.is_none()
    }
}

impl User {
    fn matches(&self, subject: Option<Subject<'_>>, names: &dyn Names, access: Access) -> bool {
        let (account, of_directory) = match (self, subject) {
            (Self::All, _) => return true,
            (Self::Anonymous, subject) => return subject.is_none(),
            (_, None) => return false,
            (_, Some(subject)) => (subject.account, subject.named.is_some()),
        };
        if of_directory && !self.may_mean_the_directory(names) {
            return false;
        }
        match self {
            Self::All | Self::Anonymous => false,
            Self::Sid(sid) => account.sid == Some(*sid),
            Self::Local(name) => same(name, &account.name) && is_own(account, names),
            Self::InDomain { domain, name } => {
                same(name, &account.name)
                    && match names.domain(domain) {
                        Some(known) => is_of(account, known),
                        None if account.realm.as_ref().is_some_and(|realm| same(domain, realm)) => true,
                        None if names.is_own_domain(domain) => is_own(account, names),
                        // What a foreign KDC calls its domain in short can be any domain's name: good enough to keep out.
                        None => {
                            same(domain, &account.domain)
                                && (access == Access::Deny || account.realm.is_none() || names.is_ours(account))
                        }
                    }
            }
            Self::Upn(upn) => {
                let Some((name, suffix)) = upn.rsplit_once('@') else { return false };
                let is_upn = || account.upn.as_ref().is_some_and(|own| same(upn, own));
                if let Some(known) = names.domain(suffix) {
                    return is_of(account, known) && (is_upn() || same(name, &account.name));
                }
                let of_suffix = account.realm.as_ref().is_some_and(|realm| same(suffix, realm));
                // What suffix a UPN has is for its KDC to say, but a name in our realm is not for another's; nor is any other
                // suffix where we know which domains are ours.
                let says_truly = of_suffix
                    || if names.has_domains() {
                        is_own(account, names) || names.domain_of(account).is_some()
                    } else {
                        !names.machine().is_some_and(|(realm, _)| same(suffix, realm))
                    };
                (says_truly && is_upn()) || (of_suffix && same(name, &account.name))
            }
        }
    }
}

impl User {
    /// Whether it may mean an account of the directory: that one is of no domain and not of this machine, whatever the
    /// directory is called.
    fn may_mean_the_directory(&self, names: &dyn Names) -> bool {
        match self {
            Self::InDomain { domain, .. } => names.domain(domain).is_none() && !names.is_own_domain(domain),
            Self::Local(_) | Self::Upn(_) => false,
            Self::All | Self::Anonymous | Self::Sid(_) => true,
        }
    }
}

/// Whether an account is of this domain. As with [`is_own`], the NetBIOS name does not tell: the realm was proved, and the
/// domain's SID is nobody else's.
pub(super) fn is_of(account: &Account, domain: &logons::Names) -> bool {
    let of_domain = |sid: Sid, domain: Sid| sid.rid().and_then(|rid| domain.with_rid(rid)) == Some(sid);
    let (realm, sid) = (account.realm.as_ref(), account.sid.zip(domain.sid));
    realm.is_none_or(|realm| same(realm, &domain.dns))
        && sid.is_none_or(|(sid, domain)| of_domain(sid, domain))
        && (realm.is_some() || sid.is_some() || domain.is(&account.domain))
}

/// Whether an account is one of this machine. The domain's NetBIOS name alone does not tell: in a PAC it is what a KDC, of
/// whatever realm, says of itself (CVE-2020-25717). The realm was proved, and a SID is nobody else's.
pub(super) fn is_own(account: &Account, names: &dyn Names) -> bool {
    names.machine().is_some_and(|(realm, machine)| {
        let of_machine = |sid: Sid| sid.rid().and_then(|rid| machine.with_rid(rid)) == Some(sid);
        names.is_own_domain(&account.domain)
            && account.realm.as_ref().is_none_or(|own| same(own, realm))
            && account.sid.is_none_or(of_machine)
    })
}

impl Role {
    fn matches(&self, subject: Subject<'_>, names: &dyn Names, access: Access) -> Match {
        let has = |sid: &Sid| Match::from(subject.groups.contains(sid));
        match self {
            Self::Sid(sid) => has(sid),
            Self::InDirectory { domain, name } => Match::from(
                same(domain, &subject.account.domain) && named(subject).any(|group| group.name.as_ref() == Some(name)),
            ),
            Self::Dn(dn) => Match::from(named(subject).any(|group| group.dn == *dn)),
            Self::Group(name) => names.group_sid(name).as_ref().map_or(Match::No, has),
            // Who is in no group at all is not in this one.
            Self::InDomain(_) if subject.groups.is_empty() => Match::No,
            Self::InDomain(group) => group.with(|known| match (known, access) {
                (Resolved::Sid(sid), _) => has(sid),
                // A group that is gone lets nobody in. Whom it kept out it goes on keeping out, if it was ever known.
                (Resolved::Gone(_), Access::Allow) => Match::No,
                (Resolved::Gone(Some(sid)), Access::Deny) => has(sid),
                (Resolved::Gone(None), Access::Deny) | (Resolved::Unknown(_), _) => Match::Unknown,
            }),
        }
    }
}

/// The groups that the directory named. Nobody else's groups have names: a ticket cannot bring any.
fn named(subject: Subject<'_>) -> impl Iterator<Item = &NamedGroup> {
    subject.named.unwrap_or_default().iter()
}

#[cfg(test)]
mod tests;
