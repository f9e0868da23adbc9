//! What was run, how it ended, and what was left out and why.

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

/// The account of one `cargo xtask test`.
pub(crate) struct Report {
    lines: Vec<String>,
    failed: usize,
    left_out: Vec<String>,
    /// Tests append a line here when they leave something out (`iwa_testkit::left_out`).
    file: PathBuf,
}

impl Report {
    pub(crate) fn new() -> Self {
        let file = std::env::temp_dir().join(format!("iwa-left-out-{}", std::process::id()));
        Self { lines: Vec::new(), failed: 0, left_out: Vec::new(), file }
    }

    /// Runs one step to its end; its output goes where ours goes.
    pub(crate) fn run(&mut self, name: &str, command: &mut Command) -> bool {
        println!("\n==> {name}: {}", shown(command));
        let begun = Instant::now();
        let ok = command
            .env("IWA_LEFT_OUT", &self.file)
            .status()
            .inspect_err(|error| eprintln!("{name}: cannot start: {error}"))
            .is_ok_and(|status| status.success());
        let verdict = if ok { "ok" } else { "FAILED" };
        self.failed += usize::from(!ok);
        self.lines.push(format!("{verdict:<7} {name} ({} s)", begun.elapsed().as_secs()));
        ok
    }

    pub(crate) fn left_out(&mut self, what: &str, why: &str) {
        self.left_out.push(format!("{what}: {why}"));
    }

    /// Prints the account. With `CI=true` anything left out is a failure.
    pub(crate) fn finish(mut self) -> ExitCode {
        if let Ok(text) = std::fs::read_to_string(&self.file) {
            self.left_out.extend(text.lines().map(str::to_owned));
            let _ = std::fs::remove_file(&self.file);
        }
        self.left_out.sort();
        self.left_out.dedup();
        println!("\n==> what ran");
        for line in &self.lines {
            println!("{line}");
        }
        if self.left_out.is_empty() {
            println!("nothing was left out");
        } else {
            println!("\n==> what was left out");
            for line in &self.left_out {
                println!("{line}");
            }
        }
        let strict = std::env::var_os("CI").is_some_and(|ci| ci == "true");
        if self.failed > 0 || (strict && !self.left_out.is_empty()) {
            println!("\nFAILED");
            ExitCode::FAILURE
        } else {
            println!("\nall well");
            ExitCode::SUCCESS
        }
    }
}

fn shown(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let name = program.rsplit('/').next().unwrap_or_default().to_owned();
    command.get_args().fold(name, |line, argument| format!("{line} {}", argument.to_string_lossy()))
}
