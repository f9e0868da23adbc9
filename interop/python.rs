//! `requests` with requests-ntlm and requests-kerberos, and pyspnego's NTLM inside SPNEGO.

use crate::lab::{JOERG, Lab, here, interop_home, member, present, run, shown};

fn python(lab: &Lab, way: &str) -> std::process::Output {
    let mut command = lab.peer(interop_home().join("venv/bin/python"));
    command
        // Where there is a KDC, pyspnego gets a ticket with the password: for NTLM it must not see one.
        .env("KRB5_CONFIG", if way == "spnego" { "/dev/null".to_owned() } else { lab.path("krb5.conf") })
        .env("IWA_USER", JOERG.0)
        .env("IWA_PASSWORD", JOERG.1)
        .arg(here().join("python/get.py"))
        .args([way, &lab.url("/")]);
    let output = run(&mut command, "", 60);
    assert!(output.status.success(), "{}", shown(&output));
    assert_eq!(member(&output, "status"), "200", "{}", shown(&output));
    output
}

fn there() -> bool {
    present("Python's requests", interop_home().join("venv/ready"))
}

#[test]
fn requests_ntlm_signs_in() {
    if there() {
        python(&Lab::start(), "ntlm");
    }
}

#[test]
fn requests_kerberos_signs_in_and_believes_the_server() {
    if there() && present("MIT kinit", "/usr/bin/kinit") {
        let lab = Lab::start();
        lab.kinit(JOERG);
        python(&lab, "kerberos");
    }
}

#[test]
fn pyspnego_signs_in_with_ntlm_inside_spnego_and_verifies_our_mic() {
    if there() {
        let output = python(&Lab::start(), "spnego");
        assert_eq!(member(&output, "complete"), "true", "{}", shown(&output));
        assert_eq!(member(&output, "mechanism"), "ntlm", "{}", shown(&output));
    }
}
