//! Saying aloud that a test could not run here, so that nobody takes silence for success.

use std::io::Write as _;

/// Says that `what` was left out and why. `cargo xtask test` repeats it at its end; with `CI=true` it is a failure.
///
/// # Panics
/// With `CI=true` in the environment.
pub fn left_out(what: &str, why: &str) {
    println!("left out: {what}: {why}");
    if let Some(file) = std::env::var_os("IWA_LEFT_OUT")
        && let Ok(mut file) = std::fs::OpenOptions::new().create(true).append(true).open(file)
    {
        let _ = writeln!(file, "{what}: {why}");
    }
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "left out with CI=true: {what}: {why}");
}
