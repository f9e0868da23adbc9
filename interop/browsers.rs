//! Chromium and Firefox, headless, as a person would use them: Kerberos from the desktop's ticket, NTLM from a password.

use crate::lab::{ALICE, JOERG, Lab, Options, here, interop_home, member, present, run, shown};

fn browse(lab: &Lab, browser: &str, password: bool) {
    let mut command = lab.peer("node");
    command.env("IWA_NODE_MODULES", interop_home().join("browser"));
    if password {
        command.env("IWA_USER", JOERG.0).env("IWA_PASSWORD", JOERG.1);
    }
    command.arg(here().join(format!("browser/{browser}.mjs"))).args([lab.url("/"), lab.path("profile")]);
    let output = run(&mut command, "", 120);
    assert!(output.status.success(), "{}", shown(&output));
    assert_eq!(member(&output, "status"), "200", "{}", shown(&output));
    assert_eq!(member(&output, "text").trim(), "Signed in", "{}", shown(&output));
    let statuses = lab.statuses(2);
    let wanted = if password { "\\jörg" } else { "\\alice" };
    assert!(statuses.iter().any(|(status, user)| status == "200 0 0" && user.ends_with(wanted)), "{statuses:?}");
}

fn there(what: &str, program: &str) -> bool {
    present(what, program) && present("browser drivers", interop_home().join("browser/node_modules/playwright-core"))
}

fn ntlm() -> Lab {
    Lab::with(&Options { windows: Some("providers = [\"NTLM\"]"), ..Options::default() })
}

#[test]
fn chromium_signs_in_with_kerberos() {
    if there("Chromium", "/usr/bin/chromium") && present("MIT kinit", "/usr/bin/kinit") {
        let lab = Lab::start();
        lab.kinit(ALICE);
        browse(&lab, "chromium", false);
    }
}

#[test]
fn chromium_signs_in_with_ntlm() {
    if there("Chromium", "/usr/bin/chromium") {
        browse(&ntlm(), "chromium", true);
    }
}

#[test]
fn firefox_signs_in_with_kerberos() {
    if there("Firefox", "/usr/bin/firefox-esr") && present("MIT kinit", "/usr/bin/kinit") {
        let lab = Lab::start();
        lab.kinit(ALICE);
        browse(&lab, "firefox", false);
    }
}

#[test]
fn firefox_signs_in_with_ntlm() {
    if there("Firefox", "/usr/bin/firefox-esr") {
        browse(&ntlm(), "firefox", true);
    }
}
