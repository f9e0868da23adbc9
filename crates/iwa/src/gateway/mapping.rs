//! What an application calls a visitor: `[[mapping]]`, in the manner of `auth_to_local` (MIT krb5.conf), and exact where that is
//! not: a realm is compared whole, and a user of a foreign realm is cut to a bare name only by a rule that names the realm.
//!
//! The first rule that matches decides. None: the application gets no name but the visitor's own, `DOMAIN\name`.

use core::fmt;

use iwa_auth::Account;
use regex_lite::Regex;

use super::authorize::{Names, is_of, is_own};

/// The rules, in their order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mapping(pub(crate) Vec<MappingRule>);

/// A rule.
#[derive(Clone, Debug)]
pub(crate) struct MappingRule {
    /// Whom it is for.
    pub(crate) realm: Whose,
    /// `match`: an expression that the whole of `user@REALM` must match.
    pub(crate) pattern: Option<Pattern>,
    /// What it makes of them; `None` refuses them (`deny = true`).
    pub(crate) local: Option<Template>,
}

/// Whose users a rule is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Whose {
    /// Those of the machine and its domains.
    Ours,
    /// Everybody's (`realm = "*"`).
    Anybodys,
    /// Those of this realm or domain.
    Of(String),
}

/// A regular expression that is matched whole.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    whole: Regex,
    groups: usize,
}

impl Pattern {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        // Valid by itself first: `a)|(b` would otherwise get out of the anchors.
        let alone = Regex::new(text).map_err(|error| error.to_string())?;
        let whole = Regex::new(&format!(r"\A(?:{text})\z")).map_err(|error| error.to_string())?;
        Ok(Self { whole, groups: alone.captures_len() - 1 })
    }
}

/// A name with holes: `{user}`, `{domain}`, `{realm}`, `{upn}`, `{sid}`, and `{1}` for what a group of the expression matched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Piece {
    Text(String),
    User,
    Domain,
    Realm,
    Upn,
    Sid,
    Group(usize),
}

impl Template {
    /// Reads one, for a rule with this expression.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str, pattern: Option<&Pattern>) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, hole)) = rest.split_once('{') {
            let (name, after) = hole.split_once('}').ok_or("a { has no }")?;
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            pieces.push(match name {
                "user" => Piece::User,
                "domain" => Piece::Domain,
                "realm" => Piece::Realm,
                "upn" => Piece::Upn,
                "sid" => Piece::Sid,
                _ => match name.parse::<usize>() {
                    Ok(group) if group > 0 && group <= pattern.map_or(0, |pattern| pattern.groups) => Piece::Group(group),
                    Ok(group) => return Err(format!("`match` has no group {group}")),
                    Err(_) => {
                        return Err(format!(
                            "there is no {{{name}}}; there are {{user}}, {{domain}}, {{realm}}, {{upn}}, {{sid}}, and {{1}} for the \
                             first group of `match`"
                        ));
                    }
                },
            });
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        if pieces.is_empty() { Err("wanted a name".to_owned()) } else { Ok(Self(pieces)) }
    }

    /// Whether two users of different realms always get different names.
    pub(crate) fn tells_realms_apart(&self) -> bool {
        // A NetBIOS domain is what a foreign KDC says of itself, and a UPN's suffix too.
        self.0.iter().any(|piece| matches!(piece, Piece::Realm | Piece::Sid))
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(text),
            Piece::User => f.write_str("{user}"),
            Piece::Domain => f.write_str("{domain}"),
            Piece::Realm => f.write_str("{realm}"),
            Piece::Upn => f.write_str("{upn}"),
            Piece::Sid => f.write_str("{sid}"),
            Piece::Group(group) => write!(f, "{{{group}}}"),
        })
    }
}

/// What the rules make of a visitor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Mapped {
    /// No rule is for them.
    Nothing,
    /// The name.
    Name(String),
    /// A rule refuses them, or cannot make a name of what is known of them; for the log.
    Refused(String),
}

impl Mapping {
    /// Whether there are no rules.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What an account is called.
    pub(crate) fn of(&self, account: &Account, names: &dyn Names) -> Mapped {
        if self.0.is_empty() {
            return Mapped::Nothing;
        }
        let realm = realm_of(account, names);
        let principal = format!("{}@{realm}", account.name);
        for (n, rule) in self.0.iter().enumerate() {
            if !rule.realm.matches(account, names) {
                continue;
            }
            let groups = match &rule.pattern {
                None => None,
                Some(pattern) => match pattern.whole.captures(&principal) {
                    Some(groups) => Some(groups),
                    None => continue,
                },
            };
            let Some(template) = &rule.local else {
                return Mapped::Refused(format!("mapping {} refuses {principal}", n + 1));
            };
            let mut name = String::new();
            for piece in &template.0 {
                let (hole, value) = match piece {
                    Piece::Text(text) => ("", Some(text.clone())),
                    Piece::User => ("{user}", Some(account.name.clone())),
                    Piece::Domain => ("{domain}", Some(account.domain.clone())),
                    Piece::Realm => ("{realm}", Some(realm.clone())),
                    Piece::Upn => ("{upn}", account.upn.clone()),
                    Piece::Sid => ("{sid}", account.sid.map(|sid| sid.to_string())),
                    Piece::Group(group) => {
                        let found = groups.as_ref().and_then(|groups| groups.get(*group));
                        ("a group of `match`", found.map(|found| found.as_str().to_owned()))
                    }
                };
                match value.filter(|value| !value.is_empty()) {
                    Some(value) => name.push_str(&value),
                    None => {
                        return Mapped::Refused(format!(
                            "mapping {} needs {hole}, which {principal} does not have",
                            n + 1
                        ));
                    }
                }
            }
            return Mapped::Name(name);
        }
        Mapped::Nothing
    }
}

impl Whose {
    fn matches(&self, account: &Account, names: &dyn Names) -> bool {
        match self {
            Self::Anybodys => true,
            Self::Ours => names.is_ours(account),
            Self::Of(name) => match names.domain(name) {
                Some(domain) => is_of(account, domain),
                None if names.is_own_domain(name) => is_own(account, names),
                None => account.realm.as_deref().is_some_and(|realm| realm.eq_ignore_ascii_case(name)),
            },
        }
    }
}

/// The realm as Kerberos writes it, however the visitor signed in.
fn realm_of(account: &Account, names: &dyn Names) -> String {
    match names.domain_of(account) {
        Some(domain) => domain.dns.to_uppercase(),
        None => account.realm.clone().unwrap_or_else(|| account.domain.clone()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::gateway::authorize::Here;
    use crate::gateway::domain::Joined;
    use crate::gateway::domain::tests::{FakeLogon, joined};

    fn corp() -> [Arc<Joined>; 1] {
        [joined("corp.example.test", "CORP", FakeLogon::knows(Account::default()))]
    }

    fn rule(realm: Whose, pattern: &str, local: &str) -> MappingRule {
        let pattern = (!pattern.is_empty()).then(|| Pattern::parse(pattern).expect("a pattern"));
        let local = (!local.is_empty()).then(|| Template::parse(local, pattern.as_ref()).expect("a template"));
        MappingRule { realm, pattern, local }
    }

    fn account(domain: &str, realm: Option<&str>, sid: Option<&str>) -> Account {
        Account {
            name: "alice".into(),
            domain: domain.into(),
            realm: realm.map(Into::into),
            sid: sid.map(|sid| sid.parse().expect("a SID")),
            ..Account::default()
        }
    }

    fn alice() -> Account {
        let upn = Some("alice.example@mail.example.test".to_owned());
        Account { upn, ..account("CORP", Some("CORP.EXAMPLE.TEST"), Some("S-1-5-21-7-7-7-1104")) }
    }

    fn trusted() -> Account {
        account("TRUSTED", Some("TRUSTED.EXAMPLE.TEST"), Some("S-1-5-21-8-8-8-1104"))
    }

    fn of(rules: Vec<MappingRule>, account: &Account) -> Mapped {
        let domains = corp();
        Mapping(rules).of(account, &Here { accounts: None, domains: &domains, realms: &[] })
    }

    fn name(name: &str) -> Mapped {
        Mapped::Name(name.to_owned())
    }

    #[test]
    fn the_first_rule_that_matches_makes_the_name() {
        use Whose::{Anybodys, Of, Ours};
        for (pattern, local, wanted) in [
            ("", "{user}", "alice"),
            ("", "{domain}+{user}", "CORP+alice"),
            ("", "{user}@{realm}", "alice@CORP.EXAMPLE.TEST"),
            ("", "{upn}", "alice.example@mail.example.test"),
            ("", "{sid}", "S-1-5-21-7-7-7-1104"),
            ("", "fixed", "fixed"),
            ("(.)(.*)@.*", "{2}-{1}", "lice-a"),
            ("(?i)ALICE@corp\\.example\\.test", "{user}", "alice"),
        ] {
            for whose in [Ours, Of("CORP".into()), Of("corp.example.test".into()), Of("CORP.EXAMPLE.TEST".into())] {
                assert_eq!(of(vec![rule(whose, pattern, local)], &alice()), name(wanted), "{local}");
            }
        }
        let rules =
            vec![rule(Ours, "bob@.*", "b"), rule(Ours, "a.*", "a"), rule(Ours, "", "c"), rule(Anybodys, "", "")];
        assert_eq!(of(rules.clone(), &alice()), name("a"));
        assert_eq!(of(rules, &Account { name: "carol".into(), ..alice() }), name("c"));
        assert_eq!(of(vec![], &alice()), Mapped::Nothing);
        assert_eq!(of(vec![rule(Ours, "bob@.*", "b")], &alice()), Mapped::Nothing);
        // The same person by NTLM, where the controller gave the DNS name in lower case, or none.
        for realm in [Some("corp.example.test"), None] {
            let by_ntlm = Account { realm: realm.map(Into::into), ..alice() };
            assert_eq!(of(vec![rule(Ours, "", "{user}@{realm}")], &by_ntlm), name("alice@CORP.EXAMPLE.TEST"));
        }
    }

    #[test]
    fn a_user_of_a_foreign_realm_is_cut_to_a_bare_name_by_a_rule_for_that_realm_alone() {
        use Whose::{Anybodys, Of, Ours};
        let stranger = account("CORP", Some("TRUSTED.EXAMPLE.TEST"), Some("S-1-5-21-8-8-8-1104"));
        let claims_our_sid = account("CORP", Some("TRUSTED.EXAMPLE.TEST"), Some("S-1-5-21-7-7-7-1104"));
        let sub = account("SUB", Some("SUB.CORP.EXAMPLE.TEST"), None);
        let longer = account("X", Some("CORP.EXAMPLE.TEST.EVIL.TEST"), None);
        for foreign in [&trusted(), &stranger, &claims_our_sid, &sub, &longer] {
            for whose in [Ours, Of("CORP".into()), Of("CORP.EXAMPLE.TEST".into()), Of("EXAMPLE.TEST".into())] {
                assert_eq!(
                    of(vec![rule(whose.clone(), "", "{user}")], foreign),
                    Mapped::Nothing,
                    "{whose:?} {foreign:?}"
                );
                assert_eq!(of(vec![rule(whose, "alice@.*", "{user}")], foreign), Mapped::Nothing);
            }
        }
        let named = rule(Of("TRUSTED.EXAMPLE.TEST".into()), "", "{user}");
        assert_eq!(of(vec![named.clone()], &trusted()), name("alice"));
        assert_eq!(of(vec![named], &alice()), Mapped::Nothing);
        let whole = rule(Anybodys, "", "{user}@{realm}");
        assert_eq!(of(vec![whole], &trusted()), name("alice@TRUSTED.EXAMPLE.TEST"));
        // A NetBIOS name of a domain that is not ours is its own KDC's word.
        assert_eq!(of(vec![rule(Of("TRUSTED".into()), "", "{user}")], &trusted()), Mapped::Nothing);
    }

    #[test]
    fn a_rule_may_refuse_and_what_a_name_needs_and_is_not_there_refuses() {
        use Whose::{Anybodys, Ours};
        let rules = vec![rule(Ours, "", "{user}"), rule(Anybodys, "", "")];
        assert_eq!(of(rules.clone(), &alice()), name("alice"));
        let Mapped::Refused(why) = of(rules, &trusted()) else { panic!() };
        assert_eq!(why, "mapping 2 refuses alice@TRUSTED.EXAMPLE.TEST");
        let bare = account("CORP.EXAMPLE.TEST", Some("CORP.EXAMPLE.TEST"), None);
        for (pattern, local) in [("", "{upn}"), ("", "{sid}"), ("(x)?alice@.*", "{1}")] {
            let rules = vec![rule(Ours, pattern, local), rule(Ours, "", "{user}")];
            assert!(matches!(of(rules, &bare), Mapped::Refused(_)), "{local}");
        }
    }

    #[test]
    fn an_expression_is_matched_whole_and_cannot_get_out_of_its_anchors() {
        for pattern in ["alice", "alice@", "@CORP.EXAMPLE.TEST", "lice@CORP.EXAMPLE.TEST", "(?m)alice$", "alice@CORP|x"]
        {
            assert_eq!(of(vec![rule(Whose::Ours, pattern, "x")], &alice()), Mapped::Nothing, "{pattern}");
        }
        for bad in ["a)|(b", "(", "a{2", "[", "(?x)a#", "*"] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(of(vec![rule(Whose::Ours, "x|alice@CORP.*", "x")], &alice()), name("x"));
    }

    #[test]
    fn templates() {
        let pattern = Pattern::parse("(a)(b)").expect("a pattern");
        for bad in ["", "{", "{user", "{name}", "{0}", "{3}", "{}", "{-1}"] {
            assert!(Template::parse(bad, Some(&pattern)).is_err(), "{bad}");
        }
        assert!(Template::parse("{1}", None).is_err());
        for (text, apart) in [
            ("{user}", false),
            ("{domain}\\{user}", false),
            ("{upn}", false),
            ("{user}@{realm}", true),
            ("{sid}", true),
        ] {
            let template = Template::parse(text, None).expect("a template");
            assert_eq!((template.to_string().as_str(), template.tells_realms_apart()), (text, apart));
        }
    }
}
