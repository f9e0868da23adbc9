//! `[sessions]` and `[route.session]`.

use super::*;
use iwa_http::session::{SameSite, Terms};

/// A site with this after its sections.
fn with(more: &str) -> String {
    format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\n[kerberos]\nkeytab = \"http.keytab\"\n[accounts]\nstate = \"state\"\n{more}"
    )
}

#[test]
fn every_recipe_of_the_documentation_loads() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/sessions.md")).unwrap();
    let mut recipes = 0;
    for block in page.split("```toml\n").skip(1) {
        let recipe = block.split("```").next().unwrap();
        let world = World::new();
        assert_eq!(world.problems(&with(recipe)), [""; 0], "{recipe}");
        recipes += 1;
    }
    assert!(recipes >= 2, "{recipes}");
}

#[test]
fn routes_below_have_the_sessions_of_those_above_until_one_says_otherwise() {
    let world = World::new();
    let config = world
        .parse(&with(
            "[sessions]
keys = \"keys\"
[[route]]
path = \"/\"
[route.session]
lifetime = \"2 h\"
same-site = \"strict\"
persistent = true
[[route]]
path = \"/below\"
[[route]]
path = \"/below/off\"
session = { enabled = false }
[[route]]
path = \"/other\"
session = { idle = \"10 min\" }
",
        ))
        .unwrap()
        .config;
    let of = |path: &str| config.routes.iter().find(|route| route.path == path).unwrap().session.clone();
    let two_hours = Duration::from_secs(7200);
    let above = Terms { lifetime: two_hours, same_site: SameSite::Strict, persistent: true, ..Terms::default() };
    assert_eq!((of("/"), of("/below"), of("/below/off")), (Some(above.clone()), Some(above), None));
    assert_eq!(of("/other"), Some(Terms { idle: Some(Duration::from_secs(600)), ..Terms::default() }));
    assert_eq!(config.longest_session(), Terms::LIFETIME);
    let sessions = config.sessions.unwrap();
    assert_eq!((sessions.keys, sessions.revoked), (world.0.join("keys"), world.0.join("keys-revoked")));
}

#[test]
fn what_cannot_be_meant_is_told() {
    let world = World::new();
    let route = "[[route]]\npath = \"/\"\nsession = ";
    for (text, wanted) in [
        (format!("{route}{{}}\n"), "[route.session] needs a section [sessions]"),
        (format!("[sessions]\nrotate = \"5 min\"\n{route}{{}}\n"), "rotate: wanted at least \"1 h\""),
        (format!("[sessions]\nkeys = \"a\"\nrevoked = \"a\"\n{route}{{}}\n"), "one file: wanted two"),
        (format!("[sessions]\nreturn-to = \"//evil.test/\"\n{route}{{}}\n"), "return-to: wanted addresses"),
        (format!("[sessions]\nreturn-to = \"javascript:x\"\n{route}{{}}\n"), "return-to: wanted addresses"),
        (format!("[sessions]\nkey = \"a\"\n{route}{{}}\n"), "there is no `key`"),
        (format!("[sessions]\n{route}{{ lifetime = \"31 days\" }}\n"), "lifetime: wanted"),
        (format!("[sessions]\n{route}{{ lifetime = 0 }}\n"), "lifetime: wanted"),
        (format!("[sessions]\n{route}{{ idle = \"9 h\" }}\n"), "idle: wanted"),
        (format!("[sessions]\n{route}{{ same-site = \"no\" }}\n"), "same-site: wanted one of"),
        (format!("[sessions]\n{route}{{ same-site = \"none\" }}\n"), "Warning same-site = \"none\""),
        (format!("[sessions]\n{route}{{ in-clear = true }}\n"), "Warning in-clear"),
        (format!("[sessions]\n{route}{{ max-age = 5 }}\n"), "there is no `max-age`"),
        (
            "[sessions]\nkeys = \"www/keys\"\n[[route]]\npath = \"/\"\nfiles = \"www\"\n[route.session]\n".to_owned(),
            "a file of sessions (",
        ),
    ] {
        let problems = world.problems(&with(&text));
        assert!(problems.iter().any(|problem| problem.contains(wanted)), "{text}\n{problems:?}");
    }
}
