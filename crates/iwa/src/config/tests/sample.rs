//! The project's `iwa.toml`: it loads, and what it says of defaults is true.

use super::*;

pub(super) fn repository_sample() -> String {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../iwa.toml");
    fs::read_to_string(file).unwrap()
}

/// The sample with its paths changed to those of `world`.
pub(super) fn adapted(world: &World, sample: &str) -> String {
    fs::create_dir_all(world.0.join("log")).unwrap();
    super::tls::tests::write_certificate(world, &["web.example.test"]);
    let password = world.0.join("ldap-reader");
    fs::write(&password, "secret\n").unwrap();
    #[cfg(unix)]
    fs::set_permissions(&password, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    fs::create_dir_all(world.0.join("pages")).unwrap();
    fs::write(world.0.join("pages/403.html"), "<h1>{title}</h1>").unwrap();
    [
        ("/etc/iwa/pages", "pages"),
        ("/etc/iwa/http.keytab", "http.keytab"),
        ("/var/lib/iwa", "state"),
        ("/var/lib/iwa/domains/corp.example.test", "domains/corp.example.test"),
        ("/var/lib/iwa/jwt", "jwt"),
        ("/srv/www", "www"),
        ("/srv/reports", "www/in"),
        ("/var/log/iwa", "log"),
        ("/etc/iwa/web.pem", "web.pem"),
        ("/etc/iwa/web.key", "web.key"),
        ("/etc/nginx/web.pem", "web.pem"),
        ("/etc/iwa/ldap-ca.pem", "web.pem"),
        ("/etc/iwa/ldap-reader", "ldap-reader"),
    ]
    .into_iter()
    .fold(sample.to_owned(), |text, (from, to)| text.replace(&format!("\"{from}\""), &format!("\"{to}\"")))
}

#[test]
fn the_sample_of_the_repository_loads_without_a_word() {
    let world = World::new();
    let loaded = world.parse(&adapted(&world, &repository_sample())).unwrap();
    assert_eq!(loaded.warnings, []);
    let page = crate::check::in_words(std::path::Path::new("iwa.toml"), &loaded.config);
    for wanted in [
        "listen       http://127.0.0.1:8080 (this machine only)",
        "anonymous    no: ",
        "provider     1. Negotiate: Kerberos, or NTLM",
        "provider     2. NTLM: ",
        "HTTP/web.example.test@EXAMPLE.TEST kvno 3: aes256-cts-hmac-sha1-96",
        "machine WEB, realm EXAMPLE.TEST",
        "1 account (0 disabled), 1 group",
        "locked out for 10 min after 10 failures within 10 min",
        "route        / serves ",
        "to everybody who signs in",
        "to nobody else",
        "log          none: ",
    ] {
        assert!(page.contains(wanted), "{wanted}\n{page}");
    }
}

#[test]
fn what_the_sample_says_of_defaults_is_true() {
    let world = World::new();
    // A line that is commented out and has the form of a setting or a section becomes one.
    let mut sections = 0;
    let live: Vec<_> = repository_sample()
        .lines()
        .map(|line| {
            let Some(rest) = line.strip_prefix("# ") else { return line.to_owned() };
            let key = rest.split(" = ").next().unwrap_or_default();
            let setting = rest.contains(" = ") && key.chars().all(|c| c.is_ascii_lowercase() || c == '-');
            let section = rest.starts_with('[') && rest.contains(']');
            let continued = rest.starts_with("  \"");
            sections += usize::from(section);
            if (setting && key != "truncate-size") || section || continued { rest.to_owned() } else { line.to_owned() }
        })
        .collect();
    assert!(sections >= 15, "{sections}");
    let text = adapted(&world, &live.join("\n")).replace("\"bob\"", "\"alice\"");
    let loaded = world.parse(&text).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let Config {
        tls,
        authentication,
        kerberos,
        accounts,
        domains,
        directory,
        forward_auth,
        log,
        limits,
        ntlm,
        routes,
        ..
    } = loaded.config.clone();
    let forward_auth = forward_auth.unwrap();
    assert_eq!((forward_auth.connections, forward_auth.connection_idle), (20_000, Duration::from_secs(120)));
    let terms = loaded.config.routes.iter().find_map(|route| route.session.clone());
    assert_eq!(terms, Some(iwa_http::session::Terms::default()));
    let sessions = loaded.config.sessions.unwrap();
    assert_eq!(sessions.keys, std::path::Path::new(DEFAULT_STATE).join("session-keys"));
    assert_eq!(sessions.revoked, std::path::Path::new(DEFAULT_STATE).join("session-keys-revoked"));
    assert_eq!(sessions.rotate, Sessions::ROTATE);
    assert_eq!(tls.unwrap().handshake_timeout, Tls::HANDSHAKE_TIMEOUT);
    let policy = iwa_http::Policy::default();
    assert_eq!(authentication.policy.persist_non_ntlm, policy.persist_non_ntlm);
    assert_eq!(authentication.policy.persist_single_request, policy.persist_single_request);
    assert_eq!(authentication.policy.proxy_pins_connections, policy.proxy_pins_connections);
    assert_eq!(authentication.policy.basic_realm, None);
    assert_eq!(authentication.token_checking, iwa_auth::BindingPolicy::default());
    let wanted = Kerberos {
        service_names: vec!["HTTP/web.example.test".to_owned()],
        client_realms: iwa_auth::krb5::acceptor::ClientRealms::Listed(vec!["EXAMPLE.TEST".to_owned()]),
        ..Kerberos::with_keytab(world.0.join("http.keytab"))
    };
    assert_eq!(kerberos, Some(wanted));
    let directory = directory.unwrap();
    assert_eq!(
        (directory.user_attribute.as_str(), directory.host.as_str(), directory.port),
        ("uid", "ldap.example.test", 636)
    );
    assert_eq!((directory.timeout, directory.lockout), (Duration::from_secs(5), iwa_domain::local::Lockout::default()));
    assert_eq!(directory.sids, ["sambaSID", "ipaNTSecurityIdentifier"]);
    let base = iwa_domain::directory::name::Name::parse("ou=groups,dc=example,dc=test");
    assert_eq!(directory.groups, iwa_domain::directory::GroupConfig { base, ..Default::default() });
    let domain = Domain {
        state: world.0.join("domains/corp.example.test"),
        servers: vec!["dc1.corp.example.test".to_owned(), "dc2.corp.example.test".to_owned()],
        site: Some("Default-First-Site-Name".to_owned()),
        dns: vec!["192.0.2.53:53".parse().unwrap()],
        ..Domain::named("corp.example.test")
    };
    assert_eq!(domains, [domain]);
    assert_eq!(
        Domain::named("corp.example.test").state,
        std::path::Path::new("/var/lib/iwa/domains/corp.example.test"),
        "as the sample says"
    );
    assert_eq!(accounts.unwrap().lockout, Lockout::default());
    assert_eq!(limits, Limits::default());
    let upstream = routes.iter().find_map(|route| route.proxy.as_ref()).unwrap().settings.clone();
    let health = upstream.health.clone().unwrap();
    assert_eq!((health.interval, health.timeout), (Duration::from_secs(10), Duration::from_secs(5)));
    assert_eq!(crate::config::Settings { health: None, ..upstream }, crate::config::Settings::default());
    assert_eq!(log, Log { dir: Some(world.0.join("log")), ..Log::default() });
    let names = Ntlm::default();
    assert_eq!((ntlm.clock_skew, ntlm.challenge_age), (names.clock_skew, names.challenge_age));
}
