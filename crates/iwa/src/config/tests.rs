//! Configurations, right and wrong: what is told of them, and where.

mod directory;
mod domain;
mod forward_auth;
mod gate;
mod identity;
mod outbound;
mod proxy;
mod sample;
mod session;

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use iwa_auth::Secret;
use iwa_domain::local::{LocalAccounts, NewUser};
use iwa_http::Provider;

use super::read::parse;
use super::*;
use crate::gateway::authorize::{Access, Role, User};
use crate::gateway::path::covers;

/// A directory with everything that a configuration may name: `www`, `www/in`, `http.keytab`, `state`,
/// `domains/corp.example.test`.
pub(super) struct World(pub(super) PathBuf);

impl World {
    pub(super) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("iwa-config-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(dir.join("www/in")).unwrap();
        fs::write(dir.join("http.keytab"), keytab(&[("HTTP", "web.example.test", 3, 18)])).unwrap();
        fs::write(dir.join("rc4.keytab"), keytab(&[("HTTP", "web.example.test", 3, 23)])).unwrap();
        #[cfg(unix)]
        for file in ["http.keytab", "rc4.keytab"] {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(dir.join(file), fs::Permissions::from_mode(0o600)).unwrap();
        }
        join(&dir.join("domains/corp.example.test"));
        let (accounts, _) =
            LocalAccounts::open_or_create(&dir.join("state"), "web", "EXAMPLE.TEST", Lockout::default()).unwrap();
        let password = Secret::new("x".to_owned());
        let new = NewUser {
            name: "alice",
            password: &password,
            display_name: "",
            upn: None,
            must_change: false,
            expires: None,
        };
        accounts.add_user(&new).unwrap();
        accounts.add_group("Staff", "").unwrap();
        Self(dir)
    }

    pub(super) fn parse(&self, text: &str) -> Result<Loaded, Vec<Problem>> {
        parse(&self.0.join("iwa.toml"), text)
    }

    /// The problems as `line:column severity message`, or the warnings of one that loads.
    pub(super) fn problems(&self, text: &str) -> Vec<String> {
        let problems = self.parse(text).map_or_else(|problems| problems, |loaded| loaded.warnings);
        let shown = problems.iter().map(|problem| {
            let (line, column) = problem.at.unwrap_or_default();
            format!("{line}:{column} {:?} {}", problem.severity, problem.message)
        });
        shown.collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Makes `dir` what a machine has that joined CORP as WEB.
pub(crate) fn join(dir: &std::path::Path) {
    use iwa_domain::machine::{DomainNames, Machine, MachinePassword, State, StateDir};
    let state = StateDir::at(dir);
    fs::create_dir_all(dir.parent().unwrap()).unwrap();
    state.make().unwrap();
    let machine = Machine {
        domain: DomainNames {
            dns: "corp.example.test".into(),
            netbios: "CORP".into(),
            sid: "S-1-5-21-7-7-7".parse().unwrap(),
            forest: "example.test".into(),
        },
        computer: "WEB".into(),
        dns_host_name: "web.corp.example.test".into(),
        salt: "CORP.EXAMPLE.TESThostweb.corp.example.test".into(),
        current: MachinePassword {
            password: Secret::new("as random as can be".to_owned()),
            kvno: 2,
            since: iwa_auth::UnixTime::from_secs(1_790_000_000),
        },
        pending: None,
        previous: None,
    };
    state.lock().unwrap().save(&State::new(machine, vec!["HTTP/web.corp.example.test".into()])).unwrap();
    fs::write(state.keytab(), keytab(&[("HTTP", "web.corp.example.test", 2, 18)])).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(state.keytab(), fs::Permissions::from_mode(0o600)).unwrap();
    }
}

/// A keytab with entries of these service classes, hosts, kvnos and etypes (MIT keytab file format 0x0502).
fn keytab(entries: &[(&str, &str, u32, u16)]) -> Vec<u8> {
    let mut file = vec![5, 2];
    for &(class, host, kvno, etype) in entries {
        let mut entry = vec![0, 2];
        for text in ["EXAMPLE.TEST", class, host] {
            entry.extend_from_slice(&(text.len() as u16).to_be_bytes());
            entry.extend_from_slice(text.as_bytes());
        }
        entry.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0, kvno as u8]);
        entry.extend_from_slice(&etype.to_be_bytes());
        entry.extend_from_slice(&[0, 32]);
        entry.extend_from_slice(&[7; 32]);
        entry.extend_from_slice(&kvno.to_be_bytes());
        file.extend_from_slice(&(entry.len() as u32).to_be_bytes());
        file.extend_from_slice(&entry);
    }
    file
}

pub(super) const SAMPLE: &str = r#"
[server]
listen = ["127.0.0.1:8080"]

[authentication]
anonymous = false
[authentication.windows]
providers = ["Negotiate", "NTLM"]
persist-non-ntlm = true
[authentication.windows.extended-protection]
token-checking = "none"

[kerberos]
keytab = "http.keytab"

[accounts]
state = "state"

[[route]]
path = "/"
files = "www"
allow = { users = ["*"] }
"#;

#[test]
fn the_classic_page_loads_without_a_word() {
    let world = World::new();
    let loaded = world.parse(SAMPLE).unwrap();
    assert_eq!(loaded.warnings, []);
    let config = loaded.config;
    assert_eq!(config.server.listen, ["127.0.0.1:8080".parse().unwrap()]);
    assert_eq!(config.authentication.policy.providers, [Provider::Negotiate, Provider::Ntlm]);
    assert!(!config.authentication.policy.anonymous && config.authentication.policy.persist_non_ntlm);
    assert_eq!(config.kerberos, Some(Kerberos::with_keytab(world.0.join("http.keytab"))));
    assert_eq!(config.accounts.unwrap().state, world.0.join("state"));
    assert_eq!(config.routes.len(), 1);
    assert_eq!(config.routes[0].rules, [Rule::allow_all()]);
    assert_eq!((config.limits, config.log), (Limits::default(), Log::default()));
}

#[test]
fn several_keytabs_are_taken_and_each_is_looked_at() {
    let world = World::new();
    let two = |second: &str| SAMPLE.replace("\"http.keytab\"", &format!("[\"http.keytab\", \"{second}\"]"));
    fs::write(world.0.join("other.keytab"), keytab(&[("HTTP", "other.example.test", 7, 18)])).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(world.0.join("other.keytab"), fs::Permissions::from_mode(0o600)).unwrap();
    }
    let loaded = world.parse(&two("other.keytab")).unwrap();
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.config.keytabs(), [world.0.join("http.keytab"), world.0.join("other.keytab")]);
    for (second, wanted) in [
        ("rc4.keytab", "rc4.keytab holds only RC4 keys"),
        ("http.keytab", "http.keytab stands here twice"),
        ("gone.keytab", "gone.keytab cannot be read"),
        ("www", "www cannot be read"),
    ] {
        let problems = world.problems(&two(second));
        assert!(problems.len() == 1 && problems[0].contains("Error") && problems[0].contains(wanted), "{problems:#?}");
    }
    let problems = world.problems(&SAMPLE.replace("\"http.keytab\"", "[]"));
    assert!(problems[0].contains("wanted at least one file"), "{problems:#?}");
}

#[test]
fn a_route_signs_in_as_it_says_or_as_the_nearest_above_it_that_says_something() {
    let world = World::new();
    let text = SAMPLE.to_owned()
        + "[[route]]\npath = \"/strict\"\nproviders = [\"Negotiate:Kerberos\"]\ndeny = { users = [\"?\"] }\n\
           [[route]]\npath = \"/strict/open\"\nanonymous = true\n\
           [[route]]\npath = \"/basic\"\nproviders = []\nbasic = true\n";
    let loaded = world.parse(&text).unwrap();
    assert_eq!(loaded.warnings, []);
    let site = &loaded.config.authentication.policy;
    let policy = |path: &str| {
        let route = loaded.config.routes.iter().find(|route| route.path == path).unwrap();
        let policy = route.policy(site).into_owned();
        (policy.anonymous, policy.providers, policy.basic_realm.is_some())
    };
    assert_eq!(policy("/"), (false, vec![Provider::Negotiate, Provider::Ntlm], false));
    assert_eq!(policy("/strict"), (false, vec![Provider::NegotiateKerberos], false));
    assert_eq!(policy("/strict/open"), (true, vec![Provider::NegotiateKerberos], false));
    assert_eq!(policy("/basic"), (false, vec![], true));
    let page = crate::check::in_words(std::path::Path::new("iwa.toml"), &loaded.config);
    for wanted in [
        "signs in here with: Negotiate:Kerberos; never without credentials",
        "signs in here with: Negotiate:Kerberos; served without credentials, too",
        "signs in here with: Basic; never without credentials",
    ] {
        assert!(page.contains(wanted), "{wanted}\n{page}");
    }
    for (line, wanted) in [
        ("providers = [\"Kerberos\"]", "there is no provider"),
        ("providers = [\"Negotiate\", \"Negotiate:Kerberos\"]", "both use the scheme Negotiate"),
        ("anonymous = \"yes\"", "anonymous: wanted true or false"),
        ("token-checking = \"require\"", "its token-checking is \"none\""),
        ("token-checking = \"none\"", "token-checking: wanted one of \"require\""),
    ] {
        let problems = world.problems(&format!("{SAMPLE}[[route]]\npath = \"/x\"\n{line}\n"));
        assert!(problems.len() == 1 && problems[0].contains(wanted), "{problems:#?}");
    }
    let allow = SAMPLE.replace("token-checking = \"none\"", "token-checking = \"allow\"");
    let loaded = world.parse(&(allow + "[[route]]\npath = \"/bound\"\ntoken-checking = \"require\"\n")).unwrap();
    let bound = |path: &str| {
        let route = loaded.config.routes.iter().find(|route| route.path == path).unwrap();
        route.policy(&loaded.config.authentication.policy).bound_only
    };
    assert_eq!((bound("/"), bound("/bound")), (false, true));
    // The same files under another way to sign in.
    let problems = world.problems(
        &(SAMPLE.to_owned()
            + "[[route]]\npath = \"/strict\"\nfiles = \"www/in\"\nproviders = [\"Negotiate:Kerberos\"]\n"),
    );
    assert!(problems[0].contains("can be had at /in too"), "{problems:#?}");
}

#[test]
fn names_for_applications_are_read_and_never_give_two_realms_one_name() {
    let world = World::new();
    let with = |rules: &str| format!("{SAMPLE}{rules}");
    let loaded =
        world.parse(&with("[[mapping]]\nlocal = \"{user}\"\n[[mapping]]\nrealm = \"*\"\ndeny = true\n")).unwrap();
    assert_eq!((loaded.warnings, loaded.config.mapping.0.len()), (vec![], 2));
    let page = crate::check::in_words(std::path::Path::new("iwa.toml"), &loaded.config);
    assert!(page.contains("1. users of this machine and its own domains are called {user}"), "{page}");
    assert!(page.contains("2. everybody are refused") || page.contains("2. everybody"), "{page}");
    for (rule, wanted) in [
        ("", "needs either `local`"),
        ("local = \"x\"\ndeny = true", "needs either `local`"),
        ("local = \"{name}\"", "there is no {name}"),
        ("local = \"{1}\"", "`match` has no group 1"),
        ("local = \"{user}\"\nmatch = \"a)|(b\"", "wanted a regular expression"),
        ("local = \"{user}\"\nrealm = \"*\"", "needs {realm} or {sid}"),
        ("local = \"{domain}-{user}\"\nrealm = \"*\"", "needs {realm} or {sid}"),
        ("local = \"{user}\"\nrealm = \"*.EXAMPLE.TEST\"", "wanted a realm or domain"),
        ("local = \"{user}\"\nregex = \"a\"", "there is no `regex`"),
    ] {
        let problems = world.problems(&with(&format!("[[mapping]]\n{rule}\n")));
        assert!(problems.len() == 1 && problems[0].contains(wanted), "{wanted} {problems:#?}");
    }
}

#[test]
fn the_kdcs_signatures_are_checked_by_whoever_has_its_key() {
    let world = World::new();
    let with = |lines: &str| SAMPLE.replace("[accounts]", &format!("{lines}\n[accounts]"));
    fs::write(world.0.join("krbtgt.keytab"), keytab(&[("krbtgt", "EXAMPLE.TEST", 1, 18)])).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(world.0.join("krbtgt.keytab"), fs::Permissions::from_mode(0o600)).unwrap();
    }
    for (lines, checked) in [
        ("", false),
        ("kdc-signatures = \"report\"", false),
        ("kdc-keytab = \"krbtgt.keytab\"", true),
        ("kdc-signatures = \"require\"\nkdc-keytab = \"krbtgt.keytab\"", true),
    ] {
        let loaded = world.parse(&with(lines)).unwrap();
        assert_eq!(loaded.warnings, []);
        assert_eq!(loaded.config.kerberos.as_ref().unwrap().kdc_keytab.is_some(), checked, "{lines}");
        let page = crate::check::in_words(std::path::Path::new("iwa.toml"), &loaded.config);
        assert_eq!(page.contains("signatures of a PAC are not checked"), !checked, "{page}");
    }
    for (lines, wanted) in [
        ("kdc-signatures = \"require\"", "needs `kdc-keytab`"),
        ("kdc-keytab = \"http.keytab\"", "wanted a key of krbtgt/REALM"),
        ("kdc-keytab = \"gone.keytab\"", "cannot be read"),
        ("kdc-signatures = \"report\"\nkdc-keytab = \"krbtgt.keytab\"", "has no effect"),
    ] {
        let problems = world.problems(&with(lines));
        assert!(problems.len() == 1 && problems[0].contains(wanted), "{wanted} {problems:#?}");
    }
}

#[test]
fn every_problem_is_told_at_once_with_its_place() {
    let world = World::new();
    let text = r#"
[server]
listen = ["127.0.0.1:8080", "nowhere"]
prot = 80

[authentication]
anonymous = "no"
[authentication.windows]
providers = ["Negociate", "NTLM", "NTLM"]
[authentication.windows.extended-protection]
token-checking = "maybe"

[kerberos]
keytab = "missing.keytab"
clock-skew = "5 parsecs"
clok-skew = 1

[accounts]
state = "state"

[[route]]
path = "reports"
files = "http.keytab"
allow = { user = ["alice"] }

[limits]
header = "1 KiB"
handshakes = 0
"#;
    let problems = world.problems(text);
    for wanted in [
        "3:29 Error listen: `nowhere` is not an address and a port",
        "4:1 Error there is no `prot` in [server]",
        "7:13 Error anonymous: wanted true or false; found \"no\"",
        "9:14 Error providers: there is no provider \"Negociate\"; did you mean `Negotiate`?",
        "9:35 Error providers: NTLM stands here twice",
        "11:18 Error token-checking: wanted one of \"none\", \"allow\", \"report\", \"require\"; found \"maybe\"",
        "14:10 Error keytab: ",
        "15:14 Error clock-skew: wanted a duration",
        "16:1 Error there is no `clok-skew` in [kerberos]; did you mean `clock-skew`?",
        "22:8 Error path: wanted a plain path",
        "23:9 Error files: wanted a directory",
        "24:11 Error there is no `user` in allow; did you mean `users`?",
        "24:9 Error a rule needs `users` or `roles`",
        "27:10 Error header: wanted \"8 KiB\" to \"16 MiB\"",
        "28:14 Error handshakes: wanted a whole number of at least 1; found 0",
    ] {
        assert!(problems.iter().any(|problem| problem.starts_with(wanted)), "{wanted}\n{problems:#?}");
    }
    let places: Vec<_> = world.parse(text).unwrap_err().iter().filter_map(|problem| problem.at).collect();
    assert!(places.is_sorted());
}

/// A configuration that is right but for one line, and what is told of it.
#[test]
fn what_contradicts_itself_is_told() {
    let world = World::new();
    for (from, to, wanted) in [
        ("keytab = \"http.keytab\"", "keytab = \"rc4.keytab\"", "Error keytab: "),
        ("keytab = \"http.keytab\"", "keytab = \"iwa.toml\"", "Error keytab: "),
        ("keytab = \"http.keytab\"", "", "Error [kerberos] needs `keytab`"),
        (
            "keytab = \"http.keytab\"",
            "keytab = \"http.keytab\"\nservice-names = [\"HTTP/other.example.test\"]",
            "Warning service-names: no key is named HTTP/other.example.test, the keytab has HTTP/web.example.test@EXAMPLE.TEST",
        ),
        (
            "keytab = \"http.keytab\"",
            "keytab = \"http.keytab\"\nservice-names = [\"HTTP/web.example.test@EXAMPLE.TEST\"]",
            "Error service-names: wanted names such as",
        ),
        (
            "keytab = \"http.keytab\"",
            "keytab = \"http.keytab\"\nclient-realms = [\"a@b\"]",
            "Error client-realms: wanted realms",
        ),
        ("keytab = \"http.keytab\"", "keytab = \"http.keytab\"\nrc4 = true", "Warning rc4 = true"),
        (
            "keytab = \"http.keytab\"",
            "keytab = \"http.keytab\"\npac = \"never\"",
            "Error pac: wanted one of \"required\", \"optional\"",
        ),
        ("state = \"state\"", "state = \"nothing\"", "Error state: there are no accounts here"),
        ("[accounts]\nstate = \"state\"", "", "Error providers: NTLM needs somebody who knows the passwords"),
        (
            "[kerberos]\nkeytab = \"http.keytab\"",
            "[authentication.basic]\nrealm = \"x\"",
            "Warning realm has no effect",
        ),
        (
            "\"Negotiate\", \"NTLM\"",
            "\"Negotiate\", \"Negotiate:Kerberos\"",
            "Error providers: Negotiate:Kerberos and another provider both use the scheme Negotiate",
        ),
        ("\"Negotiate\", \"NTLM\"", "", "Error providers: wanted at least one"),
        ("\"none\"", "\"require\"", "Error token-checking = \"require\" ties every client to its TLS connection"),
        ("listen = [\"127.0.0.1:8080\"]", "", "Error [server] needs `listen`"),
        ("[server]\nlisten = [\"127.0.0.1:8080\"]", "", "Error wanted a section [server]"),
        ("files = \"www\"", "files = \".\"", "Error the keytab ("),
        ("files = \"www\"", "files = \"gone\"", "Error files: "),
        ("path = \"/\"", "path = \"/a\"", "Warning there is no route for \"/\""),
        ("path = \"/\"", "path = \"/../a\"", "Error path: wanted a plain path"),
        ("users = [\"*\"]", "users = [\"?\"]", "Warning users: \"?\" is whoever does not sign in"),
        (
            "users = [\"*\"]",
            "users = [\"alcie\"]",
            "Warning users: there is no account \"alcie\" now; did you mean `alice`?",
        ),
        ("users = [\"*\"]", "users = [\"staff\"]", "Warning users: \"staff\" is a group: groups are `roles`"),
        (
            "users = [\"*\"]",
            "roles = [\"Stuff\"]",
            "Warning roles: there is no group \"Stuff\" now; did you mean `Staff`?",
        ),
        ("users = [\"*\"]", "users = []", "Error a rule needs `users` or `roles`"),
        ("users = [\"*\"]", "users = [\"al*\"]", "Error users: `al*` has a wildcard in it"),
        ("users = [\"*\"]", "users = \"*\", verbs = [\"GE T\"]", "Error verbs: wanted methods"),
        ("[accounts]", "[accounts.lockout]\nthreshold = 0\n[accounts]", "Warning threshold = 0 turns lock-out off"),
        (
            "[[route]]",
            "[log]\nfields = [\"dat\"]\n[[route]]",
            "Error fields: there is no field \"dat\"; did you mean `date`?",
        ),
        ("[[route]]", "[log]\ntruncate-size = \"5 MiB\"\n[[route]]", "Warning truncate-size has no effect"),
        ("[[route]]", "[limits]\nheader = \"16 KiB\"\n[[route]]", "Warning header: Windows builds tokens"),
    ] {
        assert!(SAMPLE.contains(from), "{from}");
        let problems = world.problems(&SAMPLE.replacen(from, to, 1));
        assert!(problems.iter().any(|problem| problem.contains(wanted)), "{to}: wanted {wanted}\n{problems:#?}");
    }
}

#[test]
fn nobody_can_get_in_is_an_error_unless_everybody_can() {
    let world = World::new();
    let bare = "[server]\nlisten = [\"127.0.0.1:80\"]\n[authentication]\nanonymous = false\n[[route]]\npath = \"/\"\n";
    assert!(world.problems(bare).iter().any(|problem| problem.contains("Error nobody can get in")));
    let open = world.parse(&bare.replace("false", "true")).unwrap();
    assert!(open.warnings.iter().any(|problem| problem.message.starts_with("nobody can sign in")));
}

#[test]
fn providers_that_are_not_written_follow_from_what_there_is() {
    let world = World::new();
    let without = SAMPLE.replace("providers = [\"Negotiate\", \"NTLM\"]\n", "");
    let providers = |text: &str| world.parse(text).unwrap().config.authentication.policy.providers;
    assert_eq!(providers(&without), [Provider::Negotiate, Provider::Ntlm]);
    assert_eq!(providers(&without.replace("[accounts]\nstate = \"state\"\n", "")), [Provider::Negotiate]);
}

#[test]
fn a_route_has_the_rules_of_the_routes_above_it_before_its_own() {
    let world = World::new();
    let text = SAMPLE.to_owned()
        + r#"
[[route]]
path = "/in/side"
deny = [{ users = ["alice"] }, { users = "?", verbs = "POST, PUT" }]

[[route]]
path = "/in"
files = "www/in"
allow = { roles = ["Staff", "S-1-5-21-1-2-3-512"], users = 'EXAMPLE\bob, carol@example.test' }

[[route]]
path = "/only/"
inherit = false
allow = { roles = ["Staff"] }
"#;
    let loaded = world.parse(&text).unwrap();
    let routes = &loaded.config.routes;
    let rules = |path: &str| &routes.iter().find(|route| route.path == path).unwrap().rules;
    // Longest first, so that the first that covers a path is its route.
    assert!(routes.is_sorted_by_key(|route| std::cmp::Reverse(route.path.len())));
    assert_eq!(rules("/in/side").len(), 4);
    assert_eq!(
        rules("/in/side").iter().map(|rule| rule.access).collect::<Vec<_>>(),
        [Access::Allow, Access::Allow, Access::Deny, Access::Deny]
    );
    assert_eq!(rules("/in/side")[3].verbs, [http::Method::POST, http::Method::PUT]);
    let staff = &rules("/in")[1];
    assert_eq!(staff.roles, [Role::Group("Staff".into()), Role::Sid("S-1-5-21-1-2-3-512".parse().unwrap())]);
    assert_eq!(
        staff.users,
        [User::InDomain { domain: "EXAMPLE".into(), name: "bob".into() }, User::Upn("carol@example.test".into())]
    );
    assert_eq!(rules("/only").len(), 1);
    // A narrower Allow below an Allow for everybody does nothing, and that is said.
    let moot: Vec<_> = loaded.warnings.iter().filter(|problem| problem.message.contains("inherit = false")).collect();
    assert_eq!(moot.len(), 1, "{:#?}", loaded.warnings);
}

#[test]
fn what_is_not_toml_is_told_with_every_place() {
    let world = World::new();
    let problems = world.problems("[server\nlisten = [\n\n[route]\n= 3\n");
    assert!(problems.len() > 1, "{problems:#?}");
    assert!(problems.iter().all(|problem| problem.contains("Error this is not TOML")), "{problems:#?}");
    assert!(load(&world.0.join("absent.toml")).unwrap_err()[0].message.starts_with("cannot be read"));
    fs::write(world.0.join("latin1.toml"), b"# \xe9").unwrap();
    assert!(load(&world.0.join("latin1.toml")).unwrap_err()[0].message.starts_with("is not UTF-8 from byte 2"));
}

#[test]
fn files_that_can_be_had_by_two_ways_are_told() {
    let world = World::new();
    let route = |path: &str| {
        SAMPLE.to_owned()
            + &format!(
                "[[route]]\npath = \"{path}\"\nfiles = \"www/in\"\ninherit = false\nallow = {{ roles = \"Staff\" }}\n"
            )
    };
    let problems = world.problems(&route("/staff"));
    assert!(
        problems.iter().any(|problem| problem.contains("the files of /staff can be had at /in too")),
        "{problems:#?}"
    );
    // Under the same address there is one way only.
    assert_eq!(world.problems(&route("/in")), [""; 0]);
}

#[test]
fn a_keytab_that_the_accounts_have_outrun_is_told() {
    let world = World::new();
    let accounts = LocalAccounts::open(&world.0.join("state"), Lockout::default()).unwrap();
    accounts.set_service_keys("HTTP/web.example.test").unwrap();
    let problems = world.problems(SAMPLE);
    assert!(problems[0].contains("at kvno 3, the KDC of these accounts gives tickets at kvno 1"), "{problems:#?}");
    accounts.set_service_keys("HTTP/web.example.test").unwrap();
    accounts.set_service_keys("HTTP/web.example.test").unwrap();
    assert_eq!(world.problems(SAMPLE), [""; 0]);
}

#[test]
fn logs_that_do_not_exist_yet_are_not_put_where_they_are_served() {
    let world = World::new();
    let problems = world.problems(&(SAMPLE.to_owned() + "[log]\ndir = \"www/log\"\n"));
    assert!(problems[0].contains("the logs (") && problems[0].contains("Error"), "{problems:#?}");
}

#[test]
fn no_file_however_mutilated_makes_the_reader_panic() {
    let world = World::new();
    let whole = sample::adapted(&world, &sample::repository_sample());
    let start = whole.find("[kerberos]").unwrap();
    for cut in (0..whole.len()).step_by(41).filter(|&cut| whole.is_char_boundary(cut)) {
        let _ = world.parse(&whole[..cut]);
        let _ = world.parse(&whole[cut..]);
        let _ = world.parse(&format!("{}\u{0}\n{}", &whole[..cut], &whole[cut..]));
    }
    for value in [
        "[]",
        "{}",
        "-1",
        "1e400",
        "nan",
        "0xff",
        "1979-05-27",
        "[[[]]]",
        "\"\"",
        "{ a = [{ b = 1 }] }",
        "9223372036854775807",
    ] {
        for line in whole[start..].lines().filter(|line| !line.starts_with('#')) {
            if let Some((key, _)) = line.split_once(" = ") {
                let _ = world.parse(&whole.replace(line, &format!("{key} = {value}")));
            }
        }
    }
}

#[test]
fn a_keytab_is_told_without_its_keys() {
    let world = World::new();
    let summary = KeytabSummary::read(&world.0.join("http.keytab")).unwrap();
    assert_eq!(summary.names(), "HTTP/web.example.test@EXAMPLE.TEST");
    assert_eq!(summary.principals["HTTP/web.example.test@EXAMPLE.TEST"][&3], [18]);
}

#[test]
fn a_route_covers_itself_and_what_is_below_it() {
    for (route, path, covered) in [
        ("/", "/", true),
        ("/", "/a/b", true),
        ("/admin", "/admin", true),
        ("/admin", "/admin/", true),
        ("/admin/", "/admin/x", true),
        ("/admin", "/Admin/x", true),
        ("/Admin", "/admin", true),
        ("/admin", "/administrator", false),
        ("/admin", "/adm", false),
        ("/admin", "/", false),
    ] {
        assert_eq!(covers(route, path), covered, "{route} {path}");
    }
}
