//! Rules, users and groups: who is let in, and who is somebody else of the same name.

use super::*;

/// The machine WEB of realm EXAMPLE.TEST, whose group Staff has RID 1001, with a keytab of the realm CORP.EXAMPLE.TEST.
struct Web;

impl Names for Web {
    fn domain(&self, _: &str) -> Option<&logons::Names> {
        None
    }

    fn has_domains(&self) -> bool {
        false
    }

    fn domain_of(&self, _: &Account) -> Option<&logons::Names> {
        None
    }

    fn is_ours(&self, account: &Account) -> bool {
        is_own(account, self) || account.realm.as_deref() == Some("CORP.EXAMPLE.TEST")
    }

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
    decide(rules, account.map(|account| Subject { account, groups, named: None }), &Method::GET, &Web)
}

use Access::{Allow, Deny};
use Decision::{Allowed, Denied, Undecided};

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

/// WEB as a member of CORP, whose SID is S-1-5-21-7-7-7.
fn in_corp() -> [Arc<Joined>; 1] {
    use crate::gateway::domain::tests::{FakeLogon, joined};
    [joined("corp.example.test", "CORP", FakeLogon::knows(Account::default()))]
}

fn decided(rules: &[Rule], account: &Account, groups: &[Sid]) -> Decision {
    let domains = in_corp();
    let here = Here { accounts: None, domains: &domains, realms: &[] };
    decide(rules, Some(Subject { account, groups, named: None }), &Method::GET, &here)
}

fn of(domain: &str, realm: Option<&str>, sid: Option<&str>) -> Account {
    Account { sid: sid.map(|sid| sid.parse().unwrap()), upn: None, ..account(domain, realm, "alice") }
}

const CORPS: Option<&str> = Some("S-1-5-21-7-7-7-1104");
const TRUSTED: Option<&str> = Some("S-1-5-21-8-8-8-1104");

#[test]
fn users_of_a_domain_are_its_own_and_users_of_a_trusted_realm_are_themselves() {
    let corp = || {
        vec![
            in_domain("CORP", "alice"),
            in_domain("corp.example.test", "Alice"),
            in_domain("CORP.EXAMPLE.TEST", "alice"),
            User::Upn("alice@corp.example.test".into()),
        ]
    };
    let let_in =
        |user: &User, account: &Account| decided(&[rule(Allow, std::slice::from_ref(user))], account, &[]) == Allowed;
    for own in [
        of("CORP", Some("CORP.EXAMPLE.TEST"), CORPS),
        // NTLM, where a controller gives no DNS name; Kerberos without a PAC; ntlm_auth.
        of("CORP", None, CORPS),
        of("CORP.EXAMPLE.TEST", Some("CORP.EXAMPLE.TEST"), None),
        of("CORP", None, None),
    ] {
        for user in corp() {
            assert!(let_in(&user, &own), "{user:?} {own:?}");
        }
        assert!(!let_in(&local("alice"), &own) && !let_in(&in_domain("TRUSTED", "alice"), &own));
    }
    // CVE-2020-25717: what a foreign KDC says of its domain's NetBIOS name makes nobody ours, nor does a name that begins or
    // ends like ours.
    for stranger in [
        of("TRUSTED", Some("TRUSTED.EXAMPLE.TEST"), TRUSTED),
        of("CORP", Some("TRUSTED.EXAMPLE.TEST"), TRUSTED),
        of("CORP", Some("TRUSTED.EXAMPLE.TEST"), CORPS),
        of("CORP", Some("TRUSTED.EXAMPLE.TEST"), None),
        of("CORP", Some("CORP.EXAMPLE.TEST"), TRUSTED),
        of("CORP", None, TRUSTED),
        of("CORP", Some("EVIL.CORP.EXAMPLE.TEST"), None),
        of("CORP", Some("CORP.EXAMPLE.TEST.EVIL.TEST"), None),
        of("CORP", Some("CORP"), None),
        of("CORP", Some("CORP.EXAMPLE.TEST"), Some("S-1-5-21-7-7-7-9-1104")),
        of("TRUSTED", None, None),
    ] {
        for user in corp().iter().chain(&[local("alice")]) {
            assert!(!let_in(user, &stranger), "{user:?} {stranger:?}");
        }
    }
    let trusted = of("TRUSTED", Some("TRUSTED.EXAMPLE.TEST"), TRUSTED);
    for user in [in_domain("trusted.example.test", "alice"), User::Upn("alice@trusted.example.test".into())] {
        assert!(let_in(&user, &trusted), "{user:?}");
    }
    // The short name of a domain that is not ours is that domain's word: whoever runs another trusted realm can say it, too.
    // It keeps out and lets nobody in.
    let short = in_domain("TRUSTED", "alice");
    for foreign in [&trusted, &of("TRUSTED", Some("EVIL.EXAMPLE.TEST"), Some("S-1-5-21-6-6-6-1104"))] {
        assert!(!let_in(&short, foreign));
        let rules = [rule(Deny, std::slice::from_ref(&short)), rule(Allow, &[User::All])];
        assert_eq!(decided(&rules, foreign, &[]), Denied { by: Some(0) });
    }
    // A UPN with a suffix of its own is our domain's word, or nobody's.
    let with = |account: Account| Account { upn: Some("ceo@mail.example.test".into()), ..account };
    let ceo = User::Upn("ceo@mail.example.test".into());
    assert!(let_in(&ceo, &with(of("CORP", Some("CORP.EXAMPLE.TEST"), CORPS))));
    assert!(let_in(&ceo, &with(of("CORP", None, CORPS))));
    assert!(!let_in(&ceo, &with(trusted)));
    assert!(!let_in(&ceo, &with(of("CORP", Some("TRUSTED.EXAMPLE.TEST"), TRUSTED))));
}

#[tokio::test]
async fn a_role_of_a_domain_is_decided_by_its_sid_and_by_nothing_where_it_is_not_resolved() {
    use iwa_auth::ports::{AccountName, Answer, Directory};

    /// Knows `Web Admins`, and that there is no `Ghosts`.
    struct Some7;
    impl Directory for Some7 {
        fn sid_of<'a>(&'a self, _: &'a str, name: &'a str) -> Answer<'a, Result<Option<Sid>, String>> {
            Box::pin(async move {
                match name {
                    "Web Admins" => Ok("S-1-5-21-7-7-7-1200".parse().ok()),
                    "Ghosts" => Ok(None),
                    _ => Err("no controller answers".to_owned()),
                }
            })
        }

        fn name_of(&self, _: Sid) -> Answer<'_, Result<Option<AccountName>, String>> {
            Box::pin(async { Ok(None) })
        }
    }
    use crate::gateway::domain::tests::{FakeLogon, joined_with};
    let domain = joined_with("corp.example.test", "CORP", FakeLogon::knows(Account::default()), Some(Arc::new(Some7)));
    let group = |name| Arc::new(DomainGroup::new("CORP", name));
    let (admins, ghosts, unknown) = (group("Web Admins"), group("Ghosts"), group("Unknown"));
    let all = [&admins, &ghosts, &unknown].map(Arc::clone);
    crate::gateway::names::resolve(&all, std::slice::from_ref(&domain)).await;
    let role =
        |access, group: &Arc<DomainGroup>| Rule { roles: vec![Role::InDomain(Arc::clone(group))], ..rule(access, &[]) };
    let (allow_all, sid) = (rule(Allow, &[User::All]), |sid: &str| sid.parse::<Sid>().unwrap());
    let (admin, plain) = ([sid("S-1-5-21-7-7-7-513"), sid("S-1-5-21-7-7-7-1200")], [sid("S-1-5-21-7-7-7-513")]);
    let alice = of("CORP", Some("CORP.EXAMPLE.TEST"), CORPS);
    for (n, (rules, groups, wanted)) in [
        (vec![role(Allow, &admins)], &admin[..], Allowed),
        (vec![role(Allow, &admins)], &plain[..], Denied { by: None }),
        (vec![role(Deny, &admins), allow_all.clone()], &admin[..], Denied { by: Some(0) }),
        (vec![role(Deny, &admins), allow_all.clone()], &plain[..], Allowed),
        // Not resolved: nobody can tell.
        (vec![role(Allow, &unknown)], &plain[..], Undecided { by: 0 }),
        (vec![role(Deny, &unknown), allow_all.clone()], &plain[..], Undecided { by: 0 }),
        // But whoever is let in or kept out without it is.
        (vec![role(Allow, &unknown), allow_all.clone()], &plain[..], Allowed),
        (vec![role(Allow, &unknown), role(Allow, &admins)], &admin[..], Allowed),
        (vec![role(Allow, &unknown), rule(Deny, &[User::All])], &plain[..], Denied { by: Some(1) }),
        (vec![role(Deny, &unknown), role(Deny, &admins), allow_all.clone()], &admin[..], Denied { by: Some(1) }),
        (vec![role(Deny, &unknown), role(Allow, &admins)], &plain[..], Denied { by: None }),
        (vec![role(Deny, &unknown), role(Allow, &admins)], &admin[..], Undecided { by: 0 }),
        (vec![role(Deny, &unknown), role(Allow, &unknown)], &plain[..], Undecided { by: 0 }),
        // Who is in no group is not in that one.
        (vec![role(Allow, &unknown)], &[][..], Denied { by: None }),
        (vec![role(Deny, &unknown), allow_all.clone()], &[][..], Allowed),
        // The domain has no such group: it allows nobody, and what it was to keep out nobody knows.
        (vec![role(Allow, &ghosts)], &plain[..], Denied { by: None }),
        (vec![role(Deny, &ghosts), allow_all.clone()], &plain[..], Undecided { by: 0 }),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(decided(&rules, &alice, groups), wanted, "{n}");
        let verbs = |rule: &Rule| Rule { verbs: vec![Method::POST], ..rule.clone() };
        let others: Vec<_> = rules.iter().map(verbs).collect();
        assert_eq!(decided(&others, &alice, groups), Denied { by: None }, "{n}: rules for other verbs");
    }
    let rules = [role(Deny, &unknown), allow_all];
    assert_eq!(decide(&rules, None, &Method::GET, &NoNames), Allowed, "nobody is in no group");
    assert_eq!(rules[0].unresolved(), "CORP\\Unknown: no controller answers");
    assert!(role(Deny, &ghosts).unresolved().contains("no such group"));
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
    let subject = Some(Subject { account: &alice, groups: &[], named: None });
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
    let subject = Some(Subject { account: &alice, groups: &[], named: None });
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

#[test]
fn a_role_of_a_directory_is_a_group_that_the_directory_named() {
    let named = [
        NamedGroup { dn: "cn=staff,ou=groups,o=x".into(), name: Some("staff".into()) },
        NamedGroup { dn: "cn=bosses,ou=hidden,ou=groups,o=x".into(), name: None },
    ];
    let by_name = |domain: &str, name: &str| Role::InDirectory { domain: domain.into(), name: name.into() };
    let by_dn = |dn: &str| Role::Dn(dn.into());
    let alice = Account { name: "alice".into(), domain: "LDAP".into(), ..Account::default() };
    let decided = |access, role: &Role, account: &Account, named: Option<&[NamedGroup]>| {
        let rules = [
            rule(Allow, if access == Deny { &[User::All] } else { &[] }),
            Rule { roles: vec![role.clone()], ..rule(access, &[]) },
        ];
        decide(&rules, Some(Subject { account, groups: &[], named }), &Method::GET, &NoNames)
    };
    for (role, member) in [
        (by_name("LDAP", "staff"), true),
        (by_name("ldap", "staff"), true),
        (by_name("OTHER", "staff"), false),
        (by_name("LDAP", "bosses"), false),
        (by_dn("cn=bosses,ou=hidden,ou=groups,o=x"), true),
        (by_dn("cn=staff,ou=groups,o=x"), true),
        (by_dn("cn=staff,o=x"), false),
        (Role::Sid("S-1-5-21-1-2-3-513".parse().unwrap()), false),
        (Role::Group("staff".into()), false),
    ] {
        let (allowed, denied) = if member { (Allowed, Denied { by: Some(1) }) } else { (Denied { by: None }, Allowed) };
        assert_eq!(decided(Allow, &role, &alice, Some(&named)), allowed, "{role:?}");
        // The directory said all groups there are: whoever is not in this one is not kept out by it.
        assert_eq!(decided(Deny, &role, &alice, Some(&named)), denied, "{role:?}");
        // Whoever comes with a ticket has no named groups, whatever the ticket calls its domain; and nothing clears them.
        assert_eq!(decided(Allow, &role, &alice, None), Denied { by: None }, "{role:?}");
        assert_eq!(decided(Deny, &role, &alice, None), Denied { by: Some(1) }, "{role:?}");
    }
}

#[test]
fn an_account_of_a_directory_is_nobody_elses_whatever_the_directory_is_called() {
    let domains = in_corp();
    let here = Here { accounts: None, domains: &domains, realms: &[] };
    let decided = |names: &dyn Names, user: &User, account: &Account| {
        let subject = Subject { account, groups: &[], named: Some(&[]) };
        decide(&[rule(Allow, core::slice::from_ref(user))], Some(subject), &Method::GET, names) == Allowed
    };
    let alice = |domain: &str| Account { name: "alice".into(), domain: domain.into(), ..Account::default() };
    for user in
        [local("alice"), in_domain("WEB", "alice"), in_domain(".", "alice"), User::Upn("alice@example.test".into())]
    {
        assert!(!decided(&Web, &user, &alice("WEB")), "{user:?}");
    }
    for user in [in_domain("CORP", "alice"), in_domain("corp.example.test", "alice"), local("alice")] {
        assert!(!decided(&here, &user, &alice("CORP")), "{user:?}");
    }
    assert!(decided(&here, &in_domain("ldap", "alice"), &alice("LDAP")));
    assert!(!decided(&here, &in_domain("ldap", "bob"), &alice("LDAP")));
    assert!(!decided(&here, &in_domain("OTHER", "alice"), &alice("LDAP")));
}
