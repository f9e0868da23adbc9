//! What the documents promise is there: the tests of `docs/attacks.md`, and the boundaries between the crates.

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn every_test_that_holds_off_an_attack_is_there() {
    let document = std::fs::read_to_string(root().join("docs/attacks.md")).expect("it is there");
    let mut missing = Vec::new();
    let mut count = 0;
    for line in document.lines().map(str::trim_start).filter(|line| line.starts_with("- `iwa")) {
        let mut quoted = line.split('`').skip(1).step_by(2);
        let file = quoted.next().expect("a file");
        let source = std::fs::read_to_string(root().join("crates").join(file))
            .unwrap_or_else(|error| panic!("{file} of docs/attacks.md: {error}"));
        for test in quoted {
            count += 1;
            if !source.contains(&format!("fn {test}(")) {
                missing.push(format!("{file}: {test}"));
            }
        }
    }
    assert!(count > 100, "the document is not read as it is written: {count} tests");
    assert!(missing.is_empty(), "docs/attacks.md names tests that are gone: {missing:#?}");
}

#[test]
fn every_reason_that_the_troubleshooting_names_is_one() {
    let document = std::fs::read_to_string(root().join("docs/troubleshooting.md")).expect("it is there");
    let reasons = std::fs::read_to_string(root().join("crates/iwa-auth/src/reject.rs")).expect("it is there");
    let mut count = 0;
    for row in document.lines().filter(|line| line.starts_with("| `")) {
        let cell = row.split('|').nth(1).unwrap_or_default();
        for code in cell.split('`').skip(1).step_by(2).filter(|code| !code.contains(' ') && *code != "reason") {
            count += 1;
            assert!(reasons.contains(&format!("\"{code}\"")), "docs/troubleshooting.md names {code}");
        }
    }
    assert!(count > 15, "the document is not read as it is written: {count} reasons");
}

/// The crates that `krate` is built with, without those of its tests.
fn tree(krate: &str) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(["tree", "--locked", "--offline", "-p", krate, "-e", "normal", "--prefix", "none", "--format", "{lib}"])
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).split_whitespace().map(str::to_owned).collect()
}

#[test]
fn no_crate_depends_on_what_its_boundary_forbids() {
    let cryptography = ["aes", "hmac", "sha1", "sha2", "md5", "md4", "rc4", "subtle", "iwa_auth"];
    let outside = ["tokio", "mio", "getrandom", "rand", "hyper", "redb"];
    let http = ["http", "hyper", "tower_http", "iwa_http"];
    for (krate, forbidden) in [
        ("iwa-wire", [&cryptography[..], &outside].concat()),
        ("iwa-auth", [&outside[..], &http].concat()),
        ("iwa-domain", http.to_vec()),
        ("iwa-http", vec!["iwa", "iwa_domain", "toml", "clap"]),
    ] {
        let tree = tree(krate);
        assert!(tree.iter().any(|name| *name == krate.replace('-', "_")), "{krate}: {tree:?}");
        let broken: Vec<_> = forbidden.iter().filter(|name| tree.iter().any(|built| built == *name)).collect();
        assert!(broken.is_empty(), "{krate} must not depend on {broken:?}");
    }
}
