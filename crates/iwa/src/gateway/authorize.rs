//! URL authorization: who may, decided on every request. IIS 7 `<system.webServer/security/authorization>`.
//!
//! The order of evaluation is IIS's: Deny rules first, those of the parent before those of the child; then Allow rules,
//! parent first; among equals, in order of appearance. No rule that matches means no. (ASP.NET's older module of the same
//! name goes the other way round.)

use http::Method;
use iwa_auth::Account;
use iwa_domain::local::name::same;
use iwa_wire::Sid;

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
    /// `DOMAIN\name`; a domain is a NetBIOS name or a realm.
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
    /// Any group, by SID.
    Sid(Sid),
}

/// What names mean on this machine.
pub(crate) trait Names {
    /// Whether a domain is this machine's own.
    fn is_own_domain(&self, domain: &str) -> bool;
    /// The SID of a group of this machine.
    fn group_sid(&self, name: &str) -> Option<Sid>;
}

/// Nobody has local accounts here: no name means anything, SIDs do.
pub(crate) struct NoNames;

impl Names for NoNames {
    fn is_own_domain(&self, _: &str) -> bool {
        false
    }

    fn group_sid(&self, _: &str) -> Option<Sid> {
        None
    }
}

impl Names for iwa_domain::local::Snapshot {
    fn is_own_domain(&self, domain: &str) -> bool {
        Self::is_own_domain(self, domain)
    }

    fn group_sid(&self, name: &str) -> Option<Sid> {
        Self::group_sid(self, name)
    }
}

/// Who asks, as far as the rules look at it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    /// The account.
    pub(crate) account: &'a Account,
    /// Its groups.
    pub(crate) groups: &'a [Sid],
}

impl<'a> From<&'a iwa_auth::Identity> for Subject<'a> {
    fn from(identity: &'a iwa_auth::Identity) -> Self {
        Self { account: identity.account(), groups: identity.groups() }
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
}

/// Decides. `rules` are those of the parents, outermost first, then the route's own, each in order of appearance.
pub(crate) fn decide(rules: &[Rule], subject: Option<Subject<'_>>, verb: &Method, names: &dyn Names) -> Decision {
    if rules.is_empty() {
        // IIS's factory rule: everybody whom authentication lets through.
        return Decision::Allowed;
    }
    let first = |access| rules.iter().position(|rule| rule.access == access && rule.matches(subject, verb, names));
    match (first(Access::Deny), first(Access::Allow)) {
        (Some(denied), _) => Decision::Denied { by: Some(denied) },
        (None, Some(_)) => Decision::Allowed,
        (None, None) => Decision::Denied { by: None },
    }
}

impl Rule {
    /// Everybody.
    pub(crate) fn allow_all() -> Self {
        Self { access: Access::Allow, users: vec![User::All], roles: Vec::new(), verbs: Vec::new() }
    }

    fn matches(&self, subject: Option<Subject<'_>>, verb: &Method, names: &dyn Names) -> bool {
        (self.verbs.is_empty() || self.verbs.contains(verb))
            && (self.users.iter().any(|user| user.matches(subject, names))
                || subject.is_some_and(|subject| self.roles.iter().any(|role| role.matches(subject, names))))
    }
}

impl User {
    fn matches(&self, subject: Option<Subject<'_>>, names: &dyn Names) -> bool {
        let account = match (self, subject) {
            (Self::All, _) => return true,
            (Self::Anonymous, subject) => return subject.is_none(),
            (_, None) => return false,
            (_, Some(subject)) => subject.account,
        };
        match self {
            Self::All | Self::Anonymous => false,
            Self::Sid(sid) => account.sid == Some(*sid),
            Self::Local(name) => same(name, &account.name) && names.is_own_domain(&account.domain),
            Self::InDomain { domain, name } => {
                same(name, &account.name)
                    && (same(domain, &account.domain)
                        || account.realm.as_ref().is_some_and(|realm| same(domain, realm))
                        || (names.is_own_domain(domain) && names.is_own_domain(&account.domain)))
            }
            Self::Upn(upn) => {
                account.upn.as_ref().is_some_and(|own| same(upn, own))
                    || upn.rsplit_once('@').is_some_and(|(name, realm)| {
                        same(name, &account.name) && account.realm.as_ref().is_some_and(|own| same(realm, own))
                    })
            }
        }
    }
}

impl Role {
    fn matches(&self, subject: Subject<'_>, names: &dyn Names) -> bool {
        let sid = match self {
            Self::Sid(sid) => Some(*sid),
            Self::Group(name) => names.group_sid(name),
        };
        sid.is_some_and(|sid| subject.groups.contains(&sid))
    }
}
