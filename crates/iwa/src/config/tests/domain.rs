//! `[[domain]]`: what a joined machine needs to say, and what is wrong with what it says.

use super::*;

/// A configuration of a machine that joined a domain and has nothing else.
const JOINED: &str = r#"
[server]
listen = ["127.0.0.1:8080"]

[[domain]]
name = "corp.example.test"
state = "domains/corp.example.test"

[[route]]
path = "/"
files = "www"
"#;

#[test]
fn a_joined_machine_needs_nothing_but_the_domains_name() {
    let world = World::new();
    let loaded = world.parse(JOINED).unwrap();
    assert_eq!(loaded.warnings, []);
    let config = loaded.config;
    assert_eq!(config.kerberos, Some(Kerberos::default()), "its keys are in the domain's state");
    assert_eq!(config.keytabs(), [world.0.join("domains/corp.example.test/machine.keytab")]);
    assert_eq!(config.authentication.policy.providers, [Provider::Negotiate, Provider::Ntlm]);
    // [kerberos] without a keytab is fine then, and with one both are taken.
    let with = |section: &str| world.parse(&format!("{JOINED}[kerberos]\n{section}\n")).unwrap().config.keytabs().len();
    let page = crate::check::in_words(std::path::Path::new("iwa.toml"), &config);
    for wanted in [
        "corp.example.test (CORP): this machine is WEB$ there, web.corp.example.test",
        "key version 2; the server changes it when it is 30 d old",
        "NTLM and Basic are asked of them, 8 at a time, 256 may wait",
        "Kerberos goes on, NTLM and Basic are answered 503",
        "tickets for HTTP on any host are taken",
    ] {
        assert!(page.contains(wanted), "{wanted}\n{page}");
    }
    assert_eq!((with("clock-skew = \"1 min\""), with("keytab = \"http.keytab\"")), (1, 2));
}

#[test]
fn what_is_wrong_with_a_domain_is_told() {
    let world = World::new();
    for (from, to, wanted) in [
        ("name = \"corp.example.test\"\n", "", "[[domain]] needs `name`"),
        ("\"corp.example.test\"", "\"other.example.test\"", "and not to other.example.test"),
        ("\"corp.example.test\"", "\"CORP\"", "wanted the domain's DNS name"),
        ("\"corp.example.test\"", "\"corp example.test\"", "wanted the domain's DNS name"),
        ("\"domains/corp.example.test\"", "\"www\"", "has not joined corp.example.test"),
        ("\"domains/corp.example.test\"", "\"www\"", "`iwa join corp.example.test -U Administrator`"),
        ("[[route]]", "servers = [\"dc 1\"]\n[[route]]", "wanted domain controllers"),
        ("[[route]]", "site = \"a.b\"\n[[route]]", "wanted the name of a site"),
        ("[[route]]", "dns = [\"ns.example.test\"]\n[[route]]", "wanted addresses such as"),
        ("[[route]]", "password-age = \"5 min\"\n[[route]]", "wanted at least an hour"),
        ("[[route]]", "logons-in-flight = 100000\n[[route]]", "wanted 1 to 256"),
        ("[[route]]", "backend = \"winbind\"\n[[route]]", "one of \"netlogon\", \"ntlm-auth\""),
        ("[[route]]", "[domain.ldap]\ntls = \"none\"\n[[route]]", "one of \"sasl\""),
        ("[[route]]", "[domain.ldap]\ntls = \"ldaps\"\nca = \"gone.pem\"\n[[route]]", "ca: "),
        (
            "[[route]]",
            "[[domain]]\nname = \"CORP.Example.Test.\"\nstate = \"domains/corp.example.test\"\n[[route]]",
            "two domains corp.example.test",
        ),
    ] {
        let problems = world.problems(&JOINED.replacen(from, to, 1));
        assert!(problems.iter().any(|problem| problem.contains("Error") && problem.contains(wanted)), "{problems:#?}");
    }
    let problems = world.problems(&JOINED.replace("[[route]]", "password-age = 0\n[[route]]"));
    assert!(problems[0].contains("Warning") && problems[0].contains("never changed"), "{problems:#?}");
    let problems = world.problems(&JOINED.replace("\"www\"", "\"domains\""));
    assert!(problems[0].contains("the machine's secrets"), "{problems:#?}");
}

#[cfg(unix)]
#[test]
fn a_machines_secret_that_others_may_read_is_told() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new();
    let secret = world.0.join("domains/corp.example.test/machine.json");
    fs::set_permissions(secret, fs::Permissions::from_mode(0o644)).unwrap();
    let problems = world.problems(JOINED);
    assert!(
        problems.len() == 1 && problems[0].contains("Error state: ") && problems[0].contains("0644"),
        "{problems:#?}"
    );
}
