//! `sign-in`, `login`, `dialog` and `[[route.when]]`.

use super::*;
use crate::gateway::gate::Instead;

/// A site with these routes.
fn with(routes: &str) -> String {
    format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\n[kerberos]\nkeytab = \"http.keytab\"\n[accounts]\nstate = \"state\"\n{routes}"
    )
}

fn load_of(world: &World, routes: &str) -> Config {
    world.parse(&with(routes)).unwrap_or_else(|problems| panic!("{routes}\n{problems:?}")).config
}

#[test]
fn every_recipe_of_the_documentation_loads() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/sign-in.md")).unwrap();
    let mut recipes = 0;
    for block in page.split("```toml\n").skip(1) {
        let recipe = block.split("```").next().unwrap();
        let world = World::new();
        fs::create_dir_all(world.0.join("pages")).unwrap();
        fs::write(world.0.join("pages/401.html"), "{what}").unwrap();
        let recipe = recipe.replace("/etc/iwa/pages", "pages").replace("/srv/www", "www");
        assert_eq!(world.problems(&with(&recipe)), [""; 0], "{recipe}");
        recipes += 1;
    }
    assert!(recipes >= 5, "{recipes}");
}

#[test]
fn sign_in_and_anonymous_say_the_same_in_two_ways() {
    let world = World::new();
    let here = |line: &str| {
        let config = load_of(&world, &format!("[[route]]\npath = \"/\"\n{line}\n"));
        let sign_in = config.routes[0].sign_in.clone();
        (sign_in.off, sign_in.anonymous)
    };
    assert_eq!(here(""), (None, None));
    assert_eq!(here("sign-in = \"required\""), here("anonymous = false"));
    assert_eq!(here("sign-in = \"optional\""), here("anonymous = true"));
    assert_eq!(here("sign-in = \"off\""), (Some(true), Some(true)));
    let both = world.problems(&with("[[route]]\npath = \"/\"\nanonymous = true\nsign-in = \"required\"\n"));
    assert!(both[0].starts_with("10:11 Error sign-in: `anonymous` stands beside it"), "{both:?}");
}

#[test]
fn a_route_that_says_how_to_sign_in_has_no_clauses_of_those_above() {
    let world = World::new();
    let config = load_of(
        &world,
        "[[route]]
path = \"/\"
login = \"https://app.example.test/login\"
when = { networks = \"192.0.2.0/24\", sign-in = \"off\" }
[[route]]
path = \"/silent\"
[[route]]
path = \"/required\"
sign-in = \"required\"
[[route]]
path = \"/negotiate\"
providers = [\"Negotiate\"]
[[route]]
path = \"/dialog\"
dialog = true
[[route]]
path = \"/own\"
when = { networks = \"198.51.100.0/24\", sign-in = \"optional\" }
",
    );
    let of = |path: &str| config.routes.iter().find(|route| route.path == path).unwrap();
    let clauses = |path: &str| {
        let clauses = of(path).clauses();
        clauses.map(|(condition, sign_in)| (condition.networks[0].to_string(), sign_in.off)).collect::<Vec<_>>()
    };
    assert_eq!(clauses("/silent"), [("192.0.2.0/24".to_owned(), Some(true))]);
    for path in ["/required", "/negotiate", "/dialog"] {
        assert_eq!(clauses(path), [], "{path}");
    }
    assert_eq!(clauses("/own"), [("198.51.100.0/24".to_owned(), Some(false))]);
    // What visitors see instead is the nearest that says so, under a clause too.
    assert!(matches!(of("/required").sign_in.instead, Some(Instead::Login(_))));
    assert!(of("/own").clauses().all(|(_, sign_in)| matches!(sign_in.instead, Some(Instead::Login(_)))));
    assert_eq!(of("/dialog").sign_in.instead, Some(Instead::Dialog));
}

#[test]
fn what_is_wrong_with_a_clause_is_said_where_it_stands() {
    let world = World::new();
    for (clause, wanted) in [
        (
            "networks = \"10.0.0.1/8\"",
            "Error networks: \"10.0.0.1/8\" is an address within a network; that network is \"10.0.0.0/8\"",
        ),
        ("networks = \"intranet\"", "Error networks: wanted networks such as"),
        ("networks = \"10.0.0.0/33\"", "Error networks: wanted networks such as"),
        ("networks = 10", "Error networks: wanted a list of texts"),
        ("user-agent = \"(\"", "Error user-agent: wanted a regular expression"),
        ("header = { \"a b\" = \"x\" }", "Error header: \"a b\" is not the name of a header"),
        ("header = { x = \"(\" }", "Error header: wanted a regular expression"),
        ("header = \"x\"", "Error header: wanted a table"),
        ("header = { x = 1 }", "Error header: wanted a text"),
        ("sign-in = \"off\"", "Error [[route.when]] says for nobody in particular"),
        ("networks = []\nsign-in = \"off\"", "Error [[route.when]] says for nobody in particular"),
        ("networks = \"10.0.0.0/8\"\nfiles = \"www\"", "Error there is no `files` in [[route.when]]"),
        ("networks = \"10.0.0.0/8\"\nsign-in = \"maybe\"", "Error sign-in: wanted one of"),
        ("networks = \"10.0.0.0/8\"\nlogin = \"//evil\"", "Error login: wanted the address of a page"),
        ("networks = \"10.0.0.0/8\"\nlogin = \"/login\"\ndialog = true", "Error dialog: with `login`"),
        (
            "networks = \"10.0.0.0/8\"\nform = true\nlogin = \"/login\"",
            "Error form: visitors without a ticket see one thing",
        ),
        (
            "networks = \"10.0.0.0/8\"\nform = true\ndialog = true",
            "Error form: visitors without a ticket see one thing",
        ),
        (
            "networks = \"10.0.0.0/8\"\nform = true",
            "Error form = true on /: whoever signs in with the form is known by a session",
        ),
        ("networks = \"10.0.0.0/8\"\nform = 1", "Error form: wanted true or false"),
        ("networks = \"10.0.0.0/8\"\ntoken-checking = \"require\"", "Error there is no `token-checking`"),
        ("user-agent = \"x\"\nsign-in = \"off\"", "Warning whoever says that they are such a client is let in"),
        ("not-networks = \"10.0.0.0/8\"\nsign-in = \"optional\"", "Warning whoever says that they are such a client"),
        ("networks = \"10.0.0.0/8\"\nlogin = \"/in\"", "Warning login = \"/in\" on /: one has to be signed in"),
        (
            "networks = \"10.0.0.0/8\"\ndialog = false\nproviders = \"NTLM\"",
            "Warning dialog = false on /: only Negotiate",
        ),
    ] {
        let problems = world.problems(&with(&format!("[[route]]\npath = \"/\"\n[[route.when]]\n{clause}\n")));
        assert!(problems.iter().any(|problem| problem.contains(wanted)), "{clause}: {problems:?}");
    }
}

#[test]
fn pages_are_read_and_what_is_wrong_with_them_is_said() {
    let world = World::new();
    let dir = world.0.join("pages");
    fs::create_dir_all(&dir).unwrap();
    let section = "[[route]]\npath = \"/\"\n[pages]\ndir = \"pages\"\n";
    assert!(world.problems(&with(section))[0].contains("Warning dir: "), "empty");
    fs::write(dir.join("401.html"), "{title} {what}").unwrap();
    fs::write(dir.join("logo.svg"), "{nothing}").unwrap();
    let config = load_of(&world, section);
    assert_eq!(config.pages.names().collect::<Vec<_>>(), ["401"]);
    let page = crate::check::in_words(std::path::Path::new("iwa.toml"), &config);
    assert!(page.contains("your own for 401"), "{page}");
    for (name, text, wanted) in [
        ("403.html", "{reason}", "403.html: line 1: there is no placeholder {reason}"),
        ("forbidden.html", "", "forbidden.html: there is no such page"),
        ("sign-in.html", "{title}", "sign-in.html: wanted {form}"),
        ("500.html", "\u{0}".repeat(257 << 10).as_str(), "500.html: it is longer than 256 KiB"),
    ] {
        fs::write(dir.join(name), text).unwrap();
        let problems = world.problems(&with(section));
        assert!(problems.len() == 1 && problems[0].contains(wanted), "{name}: {problems:?}");
        fs::remove_file(dir.join(name)).unwrap();
    }
    fs::write(dir.join("404.html"), [0xff, 0xfe]).unwrap();
    assert!(world.problems(&with(section))[0].contains("UTF-8"));
    fs::remove_file(dir.join("404.html")).unwrap();
    for bad in ["*", "http://cdn.example.test", "https://", "'unsafe-inline'", "https://a;script-src *", "data:"] {
        let problems = world.problems(&with(&format!("{section}sources = [\"{bad}\"]\n")));
        assert!(problems[0].contains("Error sources: wanted"), "{bad}: {problems:?}");
    }
    assert!(world.problems(&with("[[route]]\npath = \"/\"\n[pages]\n"))[0].contains("needs `dir`"));
}

#[test]
fn on_a_route_that_passes_through_nobody_else_signs_visitors_in() {
    let world = World::new();
    let route = |lines: &str| {
        with(&format!(
            "[[route]]\npath = \"/\"\nproviders = [\"NTLM\"]\n[[route]]\npath = \"/app\"\nproxy = \"http://127.0.0.1:3000\"\n{lines}\n\
             [route.upstream]\npass-through = true\n"
        ))
    };
    let config = world.parse(&route("")).unwrap_or_else(|problems| panic!("{problems:?}")).config;
    let app = config.routes.iter().find(|route| route.path == "/app").expect("it is there");
    assert_eq!((app.sign_in.off, app.sign_in.when.len()), (Some(true), 0));
    for lines in ["providers = [\"Negotiate\"]", "sign-in = \"required\"", "basic = true"] {
        let problems = world.problems(&route(lines));
        assert!(problems.iter().any(|problem| problem.contains("with `pass-through`")), "{lines}: {problems:?}");
    }
}
