//! `[route.outbound]`.

use super::*;

fn with(outbound: &str) -> String {
    format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\n[kerberos]\nkeytab = \"http.keytab\"\n[[route]]\npath = \"/\"\nproxy = \
         \"http://127.0.0.1:3000\"\n[route.outbound]\n{outbound}\n"
    )
}

const SERVICE: &str = "service = \"HTTP/backend.example.test\"\n";
const ACCOUNT: &str = "principal = \"HTTP/web.example.test@EXAMPLE.TEST\"\nkeytab = \"http.keytab\"\n";

#[test]
fn each_way_is_read() {
    let world = World::new();
    let outbound = |text: &str| {
        let loaded = world.parse(&with(text)).unwrap_or_else(|problems| panic!("{text}\n{problems:?}"));
        assert_eq!(loaded.warnings, [], "{text}");
        loaded.config.routes[0].outbound.clone().unwrap()
    };
    let found = outbound(&format!("as = \"self\"\n{SERVICE}{ACCOUNT}"));
    assert_eq!((found.who.clone(), found.mutual, found.needs_evidence()), (Who::OurSelf, true, false));
    let found = outbound(&format!("as = \"user\"\nhow = [\"delegated-tgt\"]\n{SERVICE}"));
    assert!(!found.needs_account() && found.needs_evidence());
    let found = outbound(&format!(
        "as = \"user\"\nhow = [\"constrained\", \"transition\"]\nallow = {{ users = [\"*\"] }}\n{SERVICE}{ACCOUNT}"
    ));
    assert_eq!(found.who, Who::User(vec![How::Constrained, How::Transition]));
    assert_eq!((found.rules.len(), found.resource_based, found.allow_own), (1, false, false));
}

#[test]
fn what_is_left_out_or_wrong_is_said() {
    let world = World::new();
    let all = format!("as = \"user\"\nhow = [\"constrained\"]\n{SERVICE}{ACCOUNT}");
    for (text, wanted) in [
        (String::new(), "needs `as`"),
        ("as = \"user\"\nhow = [\"constrained\"]\n".to_owned() + ACCOUNT, "needs `service`"),
        (format!("as = \"user\"\n{SERVICE}{ACCOUNT}"), "needs `how`"),
        (format!("as = \"user\"\nhow = []\n{SERVICE}{ACCOUNT}"), "at least one way"),
        (format!("as = \"user\"\nhow = [\"constrained\"]\n{SERVICE}"), "needs `keytab` and `principal`"),
        (format!("as = \"user\"\nhow = [\"transition\"]\n{SERVICE}{ACCOUNT}"), "needs `allow`"),
        (all.replace("HTTP/backend.example.test", "HTTP/{host}"), "service: wanted"),
        (all.replace("HTTP/backend.example.test", "backend.example.test"), "service: wanted"),
        (all.replace("[\"constrained\"]", "[\"constrained\", \"constrained\"]"), "stands here twice"),
        (all.replace("[\"constrained\"]", "[\"any\"]"), "how: wanted"),
        (all.replace("HTTP/web.example.test@", "svc-web@"), "wanted a key of svc-web@EXAMPLE.TEST"),
        (all.replace("keytab = \"http.keytab\"\n", ""), "they belong together"),
        (format!("as = \"self\"\nhow = [\"constrained\"]\n{SERVICE}{ACCOUNT}"), "one way only"),
        (format!("{all}on-failure = \"anonymous\"\n"), "there is no `on-failure`"),
    ] {
        let problems = world.problems(&with(&text));
        assert!(problems.iter().any(|problem| problem.contains(wanted)), "{wanted}\n{text}\n{problems:#?}");
    }
    let files = with(&all).replace("proxy = \"http://127.0.0.1:3000\"", "files = \"www\"");
    assert!(world.problems(&files).iter().any(|problem| problem.contains("is for a route with `proxy`")));
}

#[test]
fn the_recipe_of_the_documentation_loads() {
    let world = World::new();
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/delegation.md")).unwrap();
    let recipe = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let recipe = recipe
        .replace("svc-web@EXAMPLE.TEST", "HTTP/web.example.test@EXAMPLE.TEST")
        .replace("/etc/iwa/svc-web.keytab", "http.keytab");
    let head = "[server]\nlisten = [\"127.0.0.1:0\"]\n[kerberos]\nkeytab = \"http.keytab\"\n";
    assert_eq!(world.problems(&format!("{head}{recipe}")), [""; 0]);
}
