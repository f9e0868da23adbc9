//! `iwa explain` as a person and a script call it: what it prints, and its exit status.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use iwa_wire::keytab::{Entry, Keytab};
use iwa_wire::krb5::Principal;

fn explain(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_iwa"))
        .arg("explain")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program was built for this test");
    // A program that does not read its standard input is done before all of it is written.
    let _ = child.stdin.take().expect("stdin is a pipe").write_all(input);
    child.wait_with_output().expect("the program ends")
}

fn status(output: &Output) -> Option<i32> {
    output.status.code()
}

const NEGOTIATE: &str = "TlRMTVNTUAABAAAAB4IIogAAAAAAAAAAAAAAAAAAAAA=";

#[test]
fn a_token_that_reads_gives_status_0() {
    for (arguments, input) in [
        (vec![NEGOTIATE], ""),
        (vec!["-"], NEGOTIATE),
        (vec![], "Authorization: Negotiate TlRMTVNTUAABAAAAB4IIogAAAAAAAAAAAAAAAAAAAAA="),
    ] {
        let output = explain(&arguments, input.as_bytes());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(status(&output), Some(0), "{arguments:?}: {text}");
        assert!(text.starts_with("ntlm-1, ") && text.contains("NegotiateFlags"), "{text}");
        assert!(!text.contains('\u{1b}'), "no colours in a pipe");
    }
}

#[test]
fn a_line_of_iwa_get_with_a_shortened_token_is_told_to_be_one() {
    let output =
        explain(&[], b"Authorization: Negotiate YIIFtAYGKwYBBQUCoIIFqDCCBaSgJDAiBgkqhkiG... (1952 characters)");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(status(&output), Some(1), "{text}");
    assert!(text.contains("the token was shortened where this line was copied"), "{text}");
    let whole = explain(&[&format!("Authorization: Negotiate {NEGOTIATE}")], b"");
    assert!(!String::from_utf8_lossy(&whole.stdout).contains("shortened"));
}

#[test]
fn a_malformed_token_is_explained_as_far_as_it_goes_and_gives_status_1() {
    let output = explain(&["604806062b0601050502a03e303ca00e300c060a2b06010401823702020aa22a"], b"");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(status(&output), Some(1), "{text}");
    assert!(text.contains("NTLMSSP") && text.contains("malformed: ") && text.contains("byte "), "{text}");
    assert_eq!(status(&explain(&["AAAA"], b"")), Some(1));
}

#[test]
fn a_mistake_of_use_gives_status_2() {
    let cases =
        [&["no/such.file"][..], &["--no-such-option"], &["/"], &[NEGOTIATE, "--keytab", "no/such.keytab"], &[""]];
    for arguments in cases {
        let output = explain(arguments, b"");
        assert_eq!(status(&output), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn json_is_one_object_a_token_and_begins_with_its_kind() {
    let lines = format!("> Authorization: NTLM {NEGOTIATE}\n< WWW-Authenticate: Negotiate\n< WWW-Authenticate: NTLM\n");
    let output = explain(&["--json"], lines.as_bytes());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let kinds: Vec<_> = text.lines().map(|line| line.split('"').nth(3).unwrap_or_default()).collect();
    assert_eq!(kinds, ["ntlm-1", "www-authenticate", "www-authenticate"], "{text}");
    assert!(text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
    assert_eq!(status(&output), Some(0));
}

#[test]
fn a_keytab_is_explained_without_its_keys() {
    let (mut keytab, web) = (Vec::new(), Principal::service("HTTP", "web.example.test", "EXAMPLE.TEST"));
    Keytab::write_head(&mut keytab);
    Entry { principal: (&web).into(), timestamp: 0, kvno: 3, etype: 18, key: &[0x5a; 32] }.write(&mut keytab);
    let output = explain(&[], &keytab);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.starts_with("keytab, ") && text.contains("HTTP/web.example.test@EXAMPLE.TEST"), "{text}");
    assert!(text.contains("(secret)") && !text.contains("5a5a"), "{text}");
    let shown = String::from_utf8_lossy(&explain(&["--show-secrets"], &keytab).stdout).into_owned();
    assert!(shown.contains("5a5a"), "{shown}");
}

#[test]
fn a_password_in_a_header_is_not_shown() {
    let output = explain(&["Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="], b"");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("Aladdin") && !text.contains("sesame"), "{text}");
}
