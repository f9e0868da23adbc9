//! What every test on a real peer needs: running it to its end, reading what it said, and saying so if it is not there.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Runs a command to its end, at most `seconds` long.
pub(crate) fn run(command: &mut Command, stdin: &str, seconds: u64) -> Output {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} cannot be started: {error}"));
    if let Some(mut pipe) = child.stdin.take() {
        let _ = pipe.write_all(stdin.as_bytes());
    }
    let id = child.id();
    let (done, watch) = std::sync::mpsc::channel::<()>();
    let watchdog = std::thread::spawn(move || {
        if watch.recv_timeout(Duration::from_secs(seconds)) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            let _ = Command::new("kill").args(["-9", &id.to_string()]).status();
        }
    });
    let output = child.wait_with_output().expect("a started process can be waited for");
    let _ = done.send(());
    let _ = watchdog.join();
    output
}

/// The member of a flat JSON object that a peer's script printed, as text.
pub(crate) fn member(output: &Output, name: &str) -> String {
    let line = text(&output.stdout);
    let value: serde_json::Value = serde_json::from_str(line.lines().last().unwrap_or_default())
        .unwrap_or_else(|_| panic!("no JSON: {}", shown(output)));
    match &value[name] {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Whether the peer is there; if not, says that `what` is left out.
pub(crate) fn present(what: &str, file: impl AsRef<Path>) -> bool {
    let file = file.as_ref();
    let there = file.exists();
    if !there {
        iwa_testkit::left_out(what, &format!("{} is not installed", file.display()));
    }
    there
}

/// Where `cargo xtask test` puts the peers that are no system packages.
pub(crate) fn interop_home() -> PathBuf {
    std::env::var_os("IWA_INTEROP").map_or_else(|| here().join("../target/interop"), PathBuf::from)
}

/// The folder of this file.
pub(crate) fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../interop")
}

pub(crate) fn shown(output: &Output) -> String {
    format!("{}\nstdout: {}\nstderr: {}", output.status, text(&output.stdout), text(&output.stderr))
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A folder that no other test has.
pub(crate) fn fresh_dir() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("lab-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a folder can be made");
    dir
}

pub(crate) const IWA: &str = env!("CARGO_BIN_EXE_iwa");
