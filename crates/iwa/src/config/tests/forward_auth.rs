//! `[forward-auth]`.

use super::*;

fn with(world: &World, lines: &str) -> Result<Loaded, Vec<Problem>> {
    world.parse(&format!(
        "[server]\nlisten = [\"127.0.0.1:8080\"]\n[accounts]\nstate = \"state\"\n[forward-auth]\n{lines}\n[[route]]\npath = \"/\"\n\
         allow = {{ users = [\"*\"] }}\n"
    ))
}

#[test]
fn who_may_ask_is_networks_and_addresses() {
    let world = World::new();
    let lines = "from = [\"127.0.0.1\", \"2001:db8::/64\"]\nconnection-header = \"X-Connection\"";
    let Loaded { config, warnings } = with(&world, lines).unwrap();
    assert_eq!(warnings, []);
    let forward = config.forward_auth.as_ref().unwrap();
    for (address, taken) in [("127.0.0.1", true), ("127.0.0.2", false), ("2001:db8::7", true), ("2001:db8:1::7", false)]
    {
        assert_eq!(forward.takes(address.parse().unwrap()), taken, "{address}");
    }
    let page = crate::check::in_words(std::path::Path::new("iwa.toml"), &config);
    assert!(page.contains("proxies at 127.0.0.1/32, 2001:db8::/64 may ask at /.iwa/auth"), "{page}");
    assert!(page.contains("say in x-connection whose connection it is"), "{page}");
}

#[test]
fn ntlm_alone_without_a_connection_header_is_warned_of() {
    let world = World::new();
    let Loaded { config, warnings } = with(&world, "from = [\"127.0.0.1\"]").unwrap();
    assert!(
        warnings.iter().any(|warning| warning.message.contains("nobody can sign in through a proxy")),
        "{warnings:?}"
    );
    let page = crate::check::in_words(std::path::Path::new("iwa.toml"), &config);
    assert!(page.contains("NTLM is not offered through them: there is no connection-header"), "{page}");
}

#[test]
fn everybody_is_no_proxy_and_neither_is_nobody() {
    let world = World::new();
    for (lines, why) in [
        ("", "needs `from`"),
        ("from = []", "found none"),
        ("from = [\"0.0.0.0/0\"]", "is everybody"),
        ("from = [\"::/0\"]", "is everybody"),
        ("from = [\"localhost\"]", "wanted networks"),
        ("from = [\"127.0.0.1/33\"]", "wanted networks"),
        ("from = [\"127.0.0.1\"]\nconnection-header = \"Cookie\"", "connection-header"),
        ("from = [\"127.0.0.1\"]\nconnection-header = \"X Y\"", "connection-header"),
        ("from = [\"127.0.0.1\"]\nconnections = 0", "connections"),
    ] {
        let problems = with(&world, lines).expect_err(lines);
        assert!(problems.iter().any(|problem| problem.message.contains(why)), "{lines}: {problems:?}");
    }
}
