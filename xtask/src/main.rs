//! Tasks of the project, run as `cargo xtask NAME`: `test` is what the README names and CI runs.

mod report;
mod tools;

use std::process::{Command, ExitCode};

use report::Report;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("test") => test(&arguments.collect::<Vec<_>>()),
        _ => {
            eprintln!(
                "usage: cargo xtask test [--no-install]\n\n  \
                 test   installs what the tests need where it may, runs all of them, and says what was left out\n  \
                 --no-install   touches no package; what is missing is left out (with CI=true: fails)"
            );
            ExitCode::from(2)
        }
    }
}

/// Everything, in the order in which a failure is cheapest to learn.
fn test(arguments: &[String]) -> ExitCode {
    let install = match arguments {
        [] => true,
        [only] if only == "--no-install" => false,
        _ => {
            eprintln!("xtask test: unknown argument; see cargo xtask");
            return ExitCode::from(2);
        }
    };
    let mut report = Report::new();
    let peers = tools::prepare(install, &mut report);

    let mut cargo = |name: &str, arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO"));
        command.args(arguments).envs(peers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        report.run(name, &mut command)
    };
    cargo("format", &["fmt", "--all", "--check"]);
    cargo("lints", &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]);
    cargo("tests", &["test", "--workspace", "--locked", "--no-fail-fast"]);
    if tools::has("cargo-deny") {
        // Advisories need a database from the network, which a test must not depend on.
        cargo("dependencies", &["deny", "check", "licenses", "bans", "sources"]);
    } else {
        report.left_out("dependencies", "cargo-deny is not installed (cargo install cargo-deny)");
    }
    report.finish()
}
