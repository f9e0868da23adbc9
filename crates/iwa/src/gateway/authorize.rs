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
    /// The machine's realm and the SID of its accounts.
    fn machine(&self) -> Option<(&str, Sid)>;
    /// The SID of a group of this machine.
    fn group_sid(&self, name: &str) -> Option<Sid>;
}

/// Nobody has local accounts here: no name means anything, SIDs do.
pub(crate) struct NoNames;

impl Names for NoNames {
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

impl Names for iwa_domain::local::Snapshot {
    fn is_own_domain(&self, domain: &str) -> bool {
        Self::is_own_domain(self, domain)
    }

    fn machine(&self) -> Option<(&str, Sid)> {
        let machine = Self::machine(self);
        Some((&machine.realm, machine.sid))
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
                || subject.is_some_and(|subject| self.roles.iter().any(|role| role.matches(subject, names)))
                || subject.is_some_and(|subject| self.denies_for_want_of_a_sid(subject)))
    }

    /// Whether it keeps out by groups or SIDs somebody of whom neither is known. A ticket without a PAC says nothing of them,
    /// and any client may ask its KDC for one.
    fn denies_for_want_of_a_sid(&self, subject: Subject<'_>) -> bool {
        let by_sid = !self.roles.is_empty() || self.users.iter().any(|user| matches!(user, User::Sid(_)));
        self.access == Access::Deny && by_sid && subject.account.sid.is_none()
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
            Self::Local(name) => same(name, &account.name) && is_own(account, names),
            Self::InDomain { domain, name } => {
                same(name, &account.name)
                    && (account.realm.as_ref().is_some_and(|realm| same(domain, realm))
                        || if names.is_own_domain(domain) {
                            is_own(account, names)
                        } else {
                            same(domain, &account.domain)
                        })
            }
            Self::Upn(upn) => {
                let Some((name, suffix)) = upn.rsplit_once('@') else { return false };
                let of_suffix = account.realm.as_ref().is_some_and(|realm| same(suffix, realm));
                // What suffix a UPN has is for its KDC to say, but a name in our realm is not for another's.
                let says_truly = of_suffix || !names.machine().is_some_and(|(realm, _)| same(suffix, realm));
                (says_truly && account.upn.as_ref().is_some_and(|own| same(upn, own)))
                    || (of_suffix && same(name, &account.name))
            }
        }
    }
}

/// Whether an account is one of this machine. The domain's NetBIOS name alone does not tell: in a PAC it is what a KDC, of
/// whatever realm, says of itself (CVE-2020-25717). The realm was proved, and a SID is nobody else's.
fn is_own(account: &Account, names: &dyn Names) -> bool {
    names.machine().is_some_and(|(realm, machine)| {
        let of_machine = |sid: Sid| sid.rid().and_then(|rid| machine.with_rid(rid)) == Some(sid);
        names.is_own_domain(&account.domain)
            && account.realm.as_ref().is_none_or(|own| same(own, realm))
            && account.sid.is_none_or(of_machine)
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The machine WEB of realm EXAMPLE.TEST, whose group Staff has RID 1001.
    struct Web;

    impl Names for Web {
        fn is_own_domain(&self, domain: &str) -> bool {
            same(domain, "WEB") || same(domain, "EXAMPLE.TEST") || domain == "."
        }

        fn machine(&self) -> Option<(&str, Sid)> {
            Some(("EXAMPLE.TEST", "S-1-5-21-1-2-3".parse().unwrap()))
        }

        fn group_sid(&self, name: &str) -> Option<Sid> {
            same(name.strip_prefix("WEB\\").unwrap_or(name), "Staff").then(staff)
        }
    }

    fn staff() -> Sid {
        "S-1-5-21-1-2-3-1001".parse().unwrap()
    }

    fn account(domain: &str, realm: Option<&str>, name: &str) -> Account {
        Account {
            name: name.into(),
            domain: domain.into(),
            realm: realm.map(Into::into),
            upn: (name == "alice").then(|| "alice.example@mail.example.test".into()),
            sid: Some("S-1-5-21-1-2-3-1000".parse().unwrap()),
            ..Account::default()
        }
    }

    fn rule(access: Access, users: &[User]) -> Rule {
        Rule { access, users: users.to_vec(), roles: Vec::new(), verbs: Vec::new() }
    }

    fn local(name: &str) -> User {
        User::Local(name.into())
    }

    fn in_domain(domain: &str, name: &str) -> User {
        User::InDomain { domain: domain.into(), name: name.into() }
    }

    fn get(rules: &[Rule], account: Option<&Account>, groups: &[Sid]) -> Decision {
        decide(rules, account.map(|account| Subject { account, groups }), &Method::GET, &Web)
    }

    use Access::{Allow, Deny};
    use Decision::{Allowed, Denied};

    #[test]
    fn deny_comes_before_allow_and_no_match_is_no() {
        let alice = account("WEB", Some("EXAMPLE.TEST"), "alice");
        let (all, unknown) = (rule(Allow, &[User::All]), rule(Deny, &[User::Anonymous]));
        let cases: &[(&[Rule], Option<&Account>, Decision)] = &[
            // IIS's factory rule.
            (&[], Some(&alice), Allowed),
            (&[], None, Allowed),
            (std::slice::from_ref(&all), Some(&alice), Allowed),
            (std::slice::from_ref(&all), None, Allowed),
            // A child's Deny is looked at before its parent's Allow, wherever it stands.
            (&[all.clone(), unknown.clone()], None, Denied { by: Some(1) }),
            (&[unknown.clone(), all.clone()], None, Denied { by: Some(0) }),
            (&[all.clone(), unknown.clone()], Some(&alice), Allowed),
            // A parent's Deny cannot be undone by a child's Allow.
            (&[rule(Deny, &[local("alice")]), rule(Allow, &[local("alice")])], Some(&alice), Denied { by: Some(0) }),
            // The first Deny is the one that is named: the parent's.
            (&[rule(Deny, &[User::All]), rule(Deny, &[local("alice")])], Some(&alice), Denied { by: Some(0) }),
            // A parent's Allow cannot be narrowed by a child's.
            (&[all.clone(), rule(Allow, &[local("bob")])], Some(&alice), Allowed),
            // Only others are allowed.
            (&[rule(Allow, &[local("bob")])], Some(&alice), Denied { by: None }),
            (&[rule(Allow, &[local("alice")])], None, Denied { by: None }),
            // Only a Deny for others: still nobody is allowed.
            (&[rule(Deny, &[local("bob")])], Some(&alice), Denied { by: None }),
            (&[rule(Deny, &[User::All])], None, Denied { by: Some(0) }),
            (&[rule(Allow, &[User::Anonymous])], Some(&alice), Denied { by: None }),
            (&[rule(Allow, &[User::Anonymous])], None, Allowed),
        ];
        for (n, (rules, who, decision)) in cases.iter().enumerate() {
            assert_eq!(get(rules, *who, &[]), *decision, "{n}");
        }
    }

    #[test]
    fn a_name_means_one_account() {
        let own = account("WEB", Some("EXAMPLE.TEST"), "alice");
        let corp = account("CORP", Some("CORP.EXAMPLE.TEST"), "alice");
        let unmapped = account("EVIL.TEST", Some("EVIL.TEST"), "alice");
        let cases: &[(User, [bool; 3])] = &[
            // Whether it matches the local account, the domain's, and one of a realm that nobody knows.
            (User::All, [true, true, true]),
            (User::Anonymous, [false, false, false]),
            // A bare name is a local account and never somebody else's of the same name (CVE-2020-25717).
            (local("alice"), [true, false, false]),
            (local("ALICE"), [true, false, false]),
            (local("alic"), [false, false, false]),
            (in_domain("WEB", "Alice"), [true, false, false]),
            (in_domain(".", "alice"), [true, false, false]),
            (in_domain("EXAMPLE.TEST", "alice"), [true, false, false]),
            (in_domain("corp", "alice"), [false, true, false]),
            (in_domain("CORP.EXAMPLE.TEST", "alice"), [false, true, false]),
            (in_domain("EVIL.TEST", "alice"), [false, false, true]),
            (in_domain("CORP", "bob"), [false, false, false]),
            (User::Upn("alice@example.test".into()), [true, false, false]),
            (User::Upn("alice@corp.example.test".into()), [false, true, false]),
            (User::Upn("alice@corp".into()), [false, false, false]),
            (User::Upn("Alice.Example@mail.example.test".into()), [true, true, true]),
            (User::Sid("S-1-5-21-1-2-3-1000".parse().unwrap()), [true, true, true]),
            (User::Sid("S-1-5-21-1-2-3-1002".parse().unwrap()), [false, false, false]),
        ];
        for (user, wanted) in cases {
            for (account, wanted) in [&own, &corp, &unmapped].into_iter().zip(wanted) {
                let rules = [rule(Allow, std::slice::from_ref(user))];
                assert_eq!(get(&rules, Some(account), &[]) == Allowed, *wanted, "{user:?} {}", account.domain);
            }
            let rules = [rule(Allow, std::slice::from_ref(user))];
            let anonymous = matches!(user, User::All | User::Anonymous);
            assert_eq!(get(&rules, None, &[]) == Allowed, anonymous, "{user:?}");
        }
    }

    #[test]
    fn a_foreign_kdc_that_gives_its_domain_this_machines_name_makes_nobody_local() {
        // LogonDomainName is the foreign KDC's own word; realm and SID are what tell.
        let foreign = |domain: &str, realm: &str, sid: Option<&str>| Account {
            sid: sid.map(|sid| sid.parse().unwrap()),
            ..account(domain, Some(realm), "alice")
        };
        for stranger in [
            foreign("WEB", "EVIL.TEST", Some("S-1-5-21-6-6-6-1000")),
            foreign(".", "EVIL.TEST", Some("S-1-5-21-6-6-6-1000")),
            foreign("WEB", "EVIL.TEST", None),
            foreign("EXAMPLE.TEST", "EVIL.TEST", None),
            foreign("WEB", "EXAMPLE.TEST", Some("S-1-5-21-6-6-6-1000")),
            foreign("WEB", "EXAMPLE.TEST", Some("S-1-5-21-1-2-3-4-1000")),
        ] {
            for user in [local("alice"), in_domain("WEB", "alice"), in_domain(".", "alice")] {
                let rules = [rule(Allow, std::slice::from_ref(&user))];
                assert_eq!(get(&rules, Some(&stranger), &[]), Denied { by: None }, "{user:?} {stranger:?}");
            }
        }
        // Nor does a UPN of our realm, which a foreign KDC may give its accounts too.
        let upn = rule(Allow, &[User::Upn("admin@example.test".into())]);
        let named = |account| Account { upn: Some("admin@example.test".into()), ..account };
        let stranger = named(foreign("EVIL", "EVIL.TEST", Some("S-1-5-21-6-6-6-1000")));
        assert_eq!(get(std::slice::from_ref(&upn), Some(&stranger), &[]), Denied { by: None });
        let own = named(foreign("WEB", "EXAMPLE.TEST", Some("S-1-5-21-1-2-3-1000")));
        assert_eq!(get(&[upn], Some(&own), &[]), Allowed);
        // Of our own KDC, without a PAC.
        let own = foreign("EXAMPLE.TEST", "EXAMPLE.TEST", None);
        assert_eq!(get(&[rule(Allow, &[local("alice")])], Some(&own), &[]), Allowed);
    }

    #[test]
    fn a_ticket_without_a_pac_does_not_slip_past_a_deny_by_group_or_sid() {
        // A client may ask its KDC to leave the PAC out, and with it everything that a Deny could find.
        let bare = Account { sid: None, ..account("EXAMPLE.TEST", Some("EXAMPLE.TEST"), "alice") };
        let by_role = Rule { roles: vec![Role::Sid(staff())], ..rule(Deny, &[]) };
        let by_sid = rule(Deny, &[User::Sid("S-1-5-21-1-2-3-1002".parse().unwrap())]);
        let all = rule(Allow, &[User::All]);
        for deny in [by_role, by_sid] {
            assert_eq!(get(&[deny.clone(), all.clone()], Some(&bare), &[]), Denied { by: Some(0) });
            let known = account("WEB", Some("EXAMPLE.TEST"), "alice");
            assert_eq!(get(&[deny.clone(), all.clone()], Some(&known), &[]), Allowed);
            assert_eq!(get(&[deny, all.clone()], None, &[]), Allowed, "nobody is in no group");
        }
        let allow = Rule { roles: vec![Role::Sid(staff())], ..rule(Allow, &[]) };
        assert_eq!(get(&[allow], Some(&bare), &[]), Denied { by: None });
    }

    #[test]
    fn without_local_accounts_a_bare_name_is_nobody() {
        let alice = account("EXAMPLE.TEST", Some("EXAMPLE.TEST"), "alice");
        let subject = Some(Subject { account: &alice, groups: &[] });
        let rules = [rule(Allow, &[local("alice")])];
        assert_eq!(decide(&rules, subject, &Method::GET, &NoNames), Denied { by: None });
        let rules = [rule(Allow, &[in_domain("EXAMPLE.TEST", "alice")])];
        assert_eq!(decide(&rules, subject, &Method::GET, &NoNames), Allowed);
    }

    #[test]
    fn a_role_is_a_group_by_its_sid() {
        let alice = account("WEB", None, "alice");
        let role = |role| Rule { roles: vec![role], ..rule(Allow, &[]) };
        let cases = [
            (Role::Group("staff".into()), vec![staff()], true),
            (Role::Group("WEB\\Staff".into()), vec![staff()], true),
            (Role::Group("staff".into()), vec![], false),
            (Role::Group("CORP\\Staff".into()), vec![staff()], false),
            (Role::Group("Nobody".into()), vec![staff()], false),
            (Role::Sid(staff()), vec![staff()], true),
            (Role::Sid("S-1-5-21-9-9-9-1001".parse().unwrap()), vec![staff()], false),
        ];
        for (entry, groups, allowed) in cases {
            let rules = [role(entry.clone())];
            assert_eq!(get(&rules, Some(&alice), &groups) == Allowed, allowed, "{entry:?}");
            assert_eq!(get(&rules, None, &groups), Denied { by: None });
        }
    }

    #[test]
    fn a_rule_with_verbs_is_for_these_alone() {
        let alice = account("WEB", None, "alice");
        let subject = Some(Subject { account: &alice, groups: &[] });
        let rules = [
            Rule { verbs: vec![Method::POST, Method::DELETE], ..rule(Deny, &[User::All]) },
            Rule { verbs: vec![Method::GET, Method::POST], ..rule(Allow, &[User::All]) },
        ];
        for (verb, decision) in [
            (Method::GET, Allowed),
            (Method::POST, Denied { by: Some(0) }),
            (Method::DELETE, Denied { by: Some(0) }),
            // HEAD is a verb of its own, in IIS too.
            (Method::HEAD, Denied { by: None }),
            (Method::from_bytes(b"get").unwrap(), Denied { by: None }),
        ] {
            assert_eq!(decide(&rules, subject, &verb, &Web), decision, "{verb}");
        }
    }
}
