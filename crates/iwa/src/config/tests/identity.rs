//! `[route.identity]` and `[jwt]`.

use super::*;
use crate::gateway::identity::groups::Groups;

/// A site with these lines.
fn with(lines: &str) -> String {
    format!("[server]\nlisten = [\"127.0.0.1:0\"]\n[accounts]\nstate = \"state\"\n{lines}")
}

/// A site whose only route says this.
fn route(identity: &str) -> String {
    with(&format!("[[route]]\npath = \"/\"\nproxy = \"http://127.0.0.1:3000\"\n[route.identity]\n{identity}\n"))
}

#[test]
fn every_recipe_of_the_documentation_loads() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/identity.md")).unwrap();
    let mut recipes = 0;
    for block in page.split("```toml\n").skip(1) {
        let recipe = block.split("```").next().unwrap();
        let world = World::new();
        assert_eq!(world.problems(&with(recipe)), [""; 0], "{recipe}");
        recipes += 1;
    }
    assert_eq!(recipes, 3);
}

#[test]
fn what_a_route_tells_is_what_it_says_and_else_what_the_route_above_says() {
    let world = World::new();
    let text = with(
        r#"
[[route]]
path = "/"
proxy = "http://127.0.0.1:3000"
[route.identity]
headers = { X-Who = "{user}" }
groups = "all"
limit = "1 KiB"
[route.identity.jwt]
audience = "a"
[[route]]
path = "/below"
[route.identity]
preset = "authelia"
groups = ["Staff", "S-1-5-21-1-2-3-*"]
[[route]]
path = "/below/none"
[route.identity]
preset = "none"
jwt = { enabled = false }
[jwt]
issuer = "https://web.example.test"
keys = "jwt"
"#,
    );
    let config = world.parse(&text).unwrap_or_else(|problems| panic!("{problems:?}")).config;
    let told: Vec<_> = config
        .routes
        .iter()
        .map(|route| {
            let told = &route.told;
            let names: Vec<_> = told.headers.iter().flatten().map(|(name, _)| name.as_str()).collect();
            let groups = match &told.groups {
                Some(Groups::Listed(entries)) => entries.len(),
                Some(Groups::All) => 100,
                None => 0,
            };
            (names.join(" "), groups, told.limit, told.token.clone().flatten().map(|token| token.audience))
        })
        .collect();
    let token = Some("a".to_owned());
    assert_eq!(
        told,
        [
            (String::new(), 2, Some(1024), None),
            ("remote-user remote-groups remote-name remote-email".to_owned(), 2, Some(1024), token.clone()),
            ("x-who".to_owned(), 100, Some(1024), token),
        ]
    );
    let page = crate::check::in_words(std::path::Path::new("iwa.toml"), &config);
    for wanted in ["told x-who: {user}, x-jwt-assertion: a token for a", "ES256, by https://web.example.test; keys in "]
    {
        assert!(page.contains(wanted), "{wanted}\n{page}");
    }
}

#[test]
fn what_cannot_be_told_safely_is_refused() {
    let world = World::new();
    for (identity, wanted) in [
        ("headers = { X-Who = \"{name}\" }", "would call users of different domains by one name"),
        ("headers = { X-Who = \"{who}\" }", "there is no {who}"),
        ("headers = { X-Who = \"a\\r\\nb\" }", "control characters"),
        ("headers = { X-Who = \"{user}\", X_Who = \"{sid}\" }", "are one name to most applications"),
        ("headers = { Host = \"{user}\" }", "has a meaning of its own in HTTP"),
        ("headers = { Connection = \"{user}\" }", "has a meaning of its own in HTTP"),
        ("headers = { Authorization = \"{user}\" }", "has a meaning of its own in HTTP"),
        ("headers = { Cookie = \"{user}\" }", "has a meaning of its own in HTTP"),
        ("headers = { X-Forwarded-For = \"{user}\" }", "has a meaning of its own in HTTP"),
        ("headers = { \"X Who\" = \"{user}\" }", "cannot be the name of a header"),
        ("headers = { X-Who = 1 }", "wanted a text in quotes"),
        ("headers = \"X-Who\"", "wanted a table"),
        ("preset = \"autelia\"", "did you mean `authelia`?"),
        ("groups = [\"CORP\\\\eng*\"]", "looked up one by one"),
        ("groups = [\"*\"]", "looked up one by one"),
        ("groups = [\"\"]", "is not a group"),
        ("separator = \"/\"", "wanted one of"),
        ("encoding = \"latin1\"", "wanted one of"),
        ("limit = 10", "wanted 64 B to 64 KiB"),
        ("remove = [\"Content-Length\"]", "remove: wanted"),
        ("remove = [\"*\"]", "remove: wanted"),
        ("header = { X-Who = \"{user}\" }", "did you mean `headers`?"),
        ("jwt = { audience = \"a\" }", "there is no [jwt]"),
        ("jwt = { enabled = true }", "needs `audience`"),
        ("jwt = { audience = \"a\", header = \"Host\" }", "has a meaning of its own in HTTP"),
        ("headers = { X-Who = \"{user}\" }\njwt = { audience = \"a\", header = \"X_Who\" }", "stands among `headers`"),
    ] {
        let problems = world.problems(&route(identity)).join("\n");
        assert!(problems.contains(wanted) && problems.contains(" Error "), "{identity}: {problems}");
    }
    let told = world.problems(&route("headers = { X-Groups = \"{groups}\" }")).join("\n");
    assert!(told.contains("Warning") && told.contains("no `groups` says which"), "{told}");
}

#[test]
fn who_signs_tokens_is_said_in_full() {
    let world = World::new();
    for (jwt, wanted) in [
        ("issuer = \"https://web.example.test\"", "Error [jwt] needs `issuer`"),
        ("keys = \"jwt\"", "Error [jwt] needs `issuer`"),
        ("keys = \"jwt\"\nissuer = \"\"", "Error issuer: wanted the gateway's URL"),
        ("keys = \"jwt\"\nissuer = \"a\"\nlifetime = \"1 day\"", "Error lifetime: wanted 10 s to 1 h"),
        ("keys = \"jwt\"\nissuer = \"a\"\nrotate = \"1 h\"", "Error rotate: wanted 1 day"),
        ("keys = \"jwt\"\nissuer = \"a\"\nalgorithm = \"none\"", "Error algorithm: wanted one of"),
        ("keys = \"jwt\"\nissuer = \"a\"\nalgorithm = \"HS256\"", "Error algorithm: wanted one of"),
        ("keys = \"jwt\"\nissuer = \"a\"", "Warning [jwt] has no effect"),
    ] {
        let text = with(&format!("[[route]]\npath = \"/\"\n[jwt]\n{jwt}\n"));
        let problems = world.problems(&text).join("\n");
        assert!(problems.contains(wanted), "{jwt}: {problems}");
    }
    assert!(!world.0.join("jwt").exists(), "reading a configuration makes no keys");
}
