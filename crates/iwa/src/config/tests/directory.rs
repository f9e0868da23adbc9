//! `[directory]`: users who live in an LDAP directory.

use super::*;

/// `[directory]` with these lines in place of the usual, and a rule for these roles.
fn with_directory(world: &World, change: (&str, &str), roles: &str) -> String {
    let password = world.0.join("reader-password");
    fs::write(&password, "secret\n").unwrap();
    #[cfg(unix)]
    fs::set_permissions(&password, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let directory = r#"
[directory]
name = "LDAP"
url = "ldaps://ldap.example.test"
reader = "cn=reader,o=x"
password-file = "reader-password"
base = "o=x"
nt-hash = "sambaNTPassword"
[directory.groups]
base = "ou=groups,o=x"
"#;
    format!(
        "[server]\nlisten = [\"127.0.0.1:8080\"]\n{}\n[[route]]\npath = \"/\"\nallow = {{ roles = [{roles}] }}\n",
        directory.replace(change.0, change.1)
    )
}

#[test]
fn a_directory_brings_ntlm_and_rules_by_name_and_by_dn() {
    let world = World::new();
    let roles = r#"'ldap\Web  Admins', "CN=Bosses, OU=Hidden, O=X""#;
    let Loaded { config, warnings } = world.parse(&with_directory(&world, ("", ""), roles)).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(config.authentication.policy.providers, [iwa_http::Provider::Negotiate, iwa_http::Provider::Ntlm]);
    let wanted = [
        Role::InDirectory { domain: "ldap".into(), name: "web admins".into() },
        Role::Dn("cn=bosses,ou=hidden,o=x".into()),
    ];
    assert_eq!(config.routes[0].rules[0].roles, wanted);
    let page = crate::check::in_words(std::path::Path::new("iwa.toml"), &config);
    assert!(
        page.contains("NTLM by the NT hash in sambaNTPassword") && page.contains("members of cn=bosses,ou=hidden,o=x"),
        "{page}"
    );
}

#[test]
fn what_is_wrong_with_a_directory_is_told() {
    let world = World::new();
    #[cfg(unix)]
    {
        fs::write(world.0.join("open"), "secret").unwrap();
        fs::set_permissions(world.0.join("open"), std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    }
    for (change, roles, wanted) in [
        (("ldaps://", "ldap://"), "'LDAP\\x'", "do not travel in clear"),
        (("ldaps://ldap.example.test", "ldaps://ldap.example.test/o=x"), "'LDAP\\x'", "url: wanted"),
        (("\"LDAP\"", "\"L\\\\DAP\""), "'x'", "name: wanted up to 15 letters"),
        (("cn=reader,o=x", "reader"), "'LDAP\\x'", "reader: wanted a DN"),
        (("reader-password", "nowhere"), "'LDAP\\x'", "password-file: "),
        (("reader-password", "open"), "'LDAP\\x'", "chmod 600"),
        (("sambaNTPassword", "samba)(NT"), "'LDAP\\x'", "nt-hash: wanted the name of an attribute"),
        (("[directory.groups]\nbase = \"ou=groups,o=x\"", ""), "'LDAP\\x'", "have names only below `base`"),
        (("", ""), "\"cn=staff\"", "is not the DN of a group"),
        (("", ""), "'Staff'", "a group of the directory is written"),
        (("name = \"LDAP\"", "name = \"builtin\""), "'builtin\\x'", "give it a name of its own"),
        (("nt-hash", "nt-hsah"), "'LDAP\\x'", "did you mean `nt-hash`"),
        (("name = \"LDAP\"", ""), "'x'", "[directory] needs `name`"),
    ] {
        let problems = world.parse(&with_directory(&world, change, roles)).unwrap_err();
        let told: Vec<_> = problems.iter().map(|problem| problem.message.as_str()).collect();
        assert!(told.iter().any(|message| message.contains(wanted)), "{wanted}: {told:#?}");
    }
}
