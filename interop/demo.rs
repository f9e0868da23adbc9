//! The README's first command.

use crate::lab::{Lab, run, shown, text};

#[test]
fn the_demonstration_ends_as_it_should() {
    let mut command = Lab::command();
    let output = run(command.args(["demo", "--once", "--port", "0"]), "", 120);
    assert!(output.status.success(), "{}", shown(&output));
    let told = text(&output.stdout);
    for step in ["(a)", "(b)", "(c)", "(d)", "(e)", "(f)"] {
        assert!(told.contains(&format!("as it should be: {step}")), "{step}: {told}");
    }
    assert!(!told.contains("NOT AS IT SHOULD BE"), "{told}");
}

#[test]
fn the_demonstration_removes_what_it_made_and_keeps_what_it_was_told_to_keep() {
    let dir = crate::lab::fresh_dir();
    let state = dir.join("state").display().to_string();
    // Twice: the second time finds accounts and keys of the first.
    for _ in 0..2 {
        let output = run(Lab::command().args(["demo", "--once", "--port", "0", "--state", &state]), "", 120);
        assert!(output.status.success(), "{}", shown(&output));
    }
    assert!(dir.join("state/krb5.conf").exists());
    let output = run(Lab::command().env("TMPDIR", &dir).args(["demo", "--once", "--port", "0"]), "", 120);
    assert!(output.status.success(), "{}", shown(&output));
    let left: Vec<_> = std::fs::read_dir(&dir).expect("it is there").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["state"]);
    std::fs::remove_dir_all(&dir).expect("it was there");
}
