//! The domain's directory: bound by Kerberos and sealed; names, SIDs and groups.

use std::path::{Path, PathBuf};
use std::process::Output;

use crate::ad::{Account, DNS, Domain, REALM, account};
use crate::kerberos::of_the_domain;
use crate::peer::{IWA, run, shown, text};

/// `iwa-domain`'s example, which `cargo test --workspace` builds beside the binary.
fn program(what: &str) -> Option<PathBuf> {
    let path = Path::new(IWA).with_file_name("examples").join("ldap");
    if !path.exists() {
        iwa_testkit::left_out(what, "the example is not built: cargo build -p iwa-domain --example ldap");
        return None;
    }
    Some(path)
}

fn ask(domain: &Domain, program: &Path, account: Account, arguments: &[&str]) -> Output {
    let mut command = domain.on("web", program);
    command.arg(format!("dc1.{DNS}")).arg(format!("{}@{REALM}", account.name)).args(arguments);
    run(&mut command, &format!("{}\n", account.password), 60)
}

fn told(output: &Output) -> String {
    assert!(output.status.success(), "{}", shown(output));
    text(&output.stdout).trim().to_owned()
}

#[test]
fn a_name_becomes_its_sid_and_the_sid_the_name() {
    let what = "names and SIDs of a domain";
    let (Some(domain), Some(program)) = (Domain::shared(what), program(what)) else { return };
    let alice = account("alice");
    for name in ["alice", "jörg", "o'neill", "太郎", "UPPER", "İstanbul", "Anna Müller", "Domain Users"] {
        let output = ask(domain, &program, alice, &["sid", "CORP", name]);
        assert!(output.status.success(), "{name}: {}", shown(&output));
        let sid = told(&output);
        assert_eq!(told(&ask(domain, &program, alice, &["name", &sid])), format!("CORP\\{name}"));
    }
    let by_dns = told(&ask(domain, &program, alice, &["sid", DNS, "ALICE"]));
    assert_eq!(by_dns, told(&ask(domain, &program, alice, &["sid", "corp", "alice"])));
    for nobody in ["*", "alice)(objectClass=*", "ali*", "nobody", "jorg"] {
        let output = ask(domain, &program, alice, &["sid", "CORP", nobody]);
        assert!(text(&output.stderr).contains("there is none of that name"), "{nobody}: {}", shown(&output));
    }
}

#[test]
fn token_groups_over_a_sealed_connection_are_those_of_the_directory() {
    let what = "groups of a domain by LDAP";
    let (Some(domain), Some(program)) = (Domain::shared(what), program(what)) else { return };
    let alice = account("alice");
    for (name, least) in [("alice", 4), ("jörg", 4), ("bob", 2), ("many", 1011)] {
        let sid = told(&ask(domain, &program, alice, &["sid", "CORP", name]));
        let groups = told(&ask(domain, &program, alice, &["token-groups", &sid]));
        let groups = of_the_domain(groups.lines().map(str::to_owned).collect());
        assert!(groups.len() >= least, "{name}: {groups:?}");
        assert_eq!(groups, domain.token_groups(account(name)), "{name}");
    }
}

#[test]
fn a_refused_account_and_a_certificate_without_a_name_say_what_is_wrong() {
    let what = "refusals of a domain's directory";
    let (Some(domain), Some(program)) = (Domain::shared(what), program(what)) else { return };
    let wrong = Account { password: "wrong", ..account("emoji") };
    let output = ask(domain, &program, wrong, &["root"]);
    assert!(text(&output.stderr).contains("KDC_ERR_PREAUTH_FAILED"), "{}", shown(&output));
    // The certificate that Samba makes for itself names no host, and is of nobody's authority.
    for tls in ["--tls", "--starttls"] {
        let output = ask(domain, &program, account("bob"), &[tls, "root"]);
        assert!(text(&output.stderr).contains("no TLS"), "{}", shown(&output));
    }
    let output = ask(domain, &program, account("bob"), &["--simple", "bob", "root"]);
    assert!(text(&output.stderr).contains("a password is sent over TLS only"), "{}", shown(&output));
}
