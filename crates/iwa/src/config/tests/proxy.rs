//! `proxy` and `[route.upstream]`.

use super::*;

/// A site with this in its route.
fn with(route: &str) -> String {
    format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\n[kerberos]\nkeytab = \"http.keytab\"\n[[route]]\npath = \"/\"\n{route}\n"
    )
}

#[test]
fn one_address_or_several() {
    let world = World::new();
    let targets = |text: &str| -> Vec<String> {
        let config = world.parse(&with(text)).unwrap_or_else(|problems| panic!("{text}: {problems:?}")).config;
        config.routes[0].proxy.iter().flat_map(|proxy| &proxy.targets).map(ToString::to_string).collect()
    };
    assert_eq!(targets("proxy = \"http://127.0.0.1:3000\""), ["http://127.0.0.1:3000"]);
    assert_eq!(targets("proxy = \"unix:/run/app.sock\""), ["unix:/run/app.sock"]);
    assert_eq!(
        targets("proxy = [\"https://a.example.test/base\", \"http://[::1]:80\"]"),
        ["https://a.example.test/base", "http://[::1]:80"]
    );
}

#[test]
fn what_is_wrong_is_told_with_what_was_wanted() {
    let world = World::new();
    for (route, wanted) in [
        ("proxy = \"127.0.0.1:3000\"", "it begins with http://"),
        ("proxy = \"http://user:secret@h\"", "a name and a password do not belong there"),
        ("proxy = \"http://h?x\"", "it has a query"),
        ("proxy = []", "wanted 1 to 64 addresses"),
        ("proxy = [\"http://h\", \"http://h\"]", "stands here twice"),
        ("[route.upstream]\nretries = 1", "there is no `proxy` here"),
        ("proxy = \"http://h\"\n[route.upstream]\nanswer-timeout = 0", "wanted more than nothing"),
        ("proxy = \"http://h\"\n[route.upstream]\nhost = \"both\"", "one of \"preserve\", \"upstream\""),
        ("proxy = \"http://h\"\n[route.upstream]\nhttp3 = true", "there is no `http3`"),
        ("proxy = \"http://h\"\n[route.upstream]\nrequest-id = \"a b\"", "the name of a header line"),
        ("proxy = \"https://h\"\n[route.upstream]\nca = \"missing.pem\"", "missing.pem"),
        ("proxy = \"https://h\"\n[route.upstream]\nkey = \"x.pem\"", "belong together"),
        ("proxy = \"https://h\"\n[route.upstream]\nserver-name = \"a b\"", "wanted a host's name"),
        ("proxy = \"http://h\"\n[route.upstream]\nserver-name = \"h\"", "are for addresses with https://"),
        ("proxy = \"http://h\"\n[route.upstream.health]\ninterval = \"1 s\"", "needs `path`"),
        ("proxy = \"http://h\"\n[route.upstream.health]\npath = \"healthz\"", "a path such as"),
        ("proxy = \"http://h\"\n[route.upstream]\nmax-connections = 0", "at least 1"),
        ("proxy = \"http://h\"\nfiles = \"www\"", "files and proxy"),
    ] {
        let problems = world.problems(&with(route));
        assert!(problems.iter().any(|problem| problem.contains(wanted)), "{route}: {problems:?}");
    }
}

#[test]
fn every_recipe_of_the_documentation_loads() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/proxy.md")).unwrap();
    let mut recipes = 0;
    for block in page.split("```toml\n").skip(1) {
        let recipe = block.split("```").next().unwrap();
        let world = World::new();
        super::tls::tests::write_certificate(&world, &["web.example.test"]);
        let recipe = ["/etc/iwa/app-ca.pem", "/etc/iwa/client.pem"]
            .iter()
            .fold(recipe.to_owned(), |text, file| text.replace(file, "web.pem"));
        let recipe = recipe.replace("/etc/iwa/client.key", "web.key");
        let text = if recipe.contains("[[route]]") {
            with("").replace("[[route]]\npath = \"/\"\n", &recipe)
        } else {
            with(&recipe)
        };
        let mut problems = world.problems(&text);
        problems.retain(|problem| !problem.contains("there is no route for \"/\""));
        assert_eq!(problems, [""; 0], "{recipe}");
        recipes += 1;
    }
    assert!(recipes >= 4, "{recipes}");
}
