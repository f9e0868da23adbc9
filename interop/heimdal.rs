//! Heimdal's client: `kinit` and `kgetcred` against our KDC, its GSS library against our site.

use crate::lab::{ALICE, Lab, REALM, here, interop_home, member, present, run, shown, text};

#[test]
fn heimdal_gets_tickets_and_signs_in() {
    let root = interop_home().join("heimdal");
    let kinit = root.join("usr/bin/kinit.heimdal");
    if !present("Heimdal", &kinit) {
        return;
    }
    let libraries = root.join("usr/lib/x86_64-linux-gnu");
    let lab = Lab::start();
    let heimdal = |program: &str| {
        let mut command = lab.peer(root.join("usr/bin").join(program));
        command.env("LD_LIBRARY_PATH", &libraries).env("KRB5CCNAME", format!("FILE:{}", lab.path("heimdal.ccache")));
        command
    };
    let password = lab.dir.join("password");
    std::fs::write(&password, format!("{}\n", ALICE.1)).expect("written");
    let principal = format!("{}@{REALM}", ALICE.0);
    let file = format!("--password-file={}", password.display());
    let output = run(heimdal("kinit.heimdal").args([file.as_str(), &principal]), "", 30);
    assert!(output.status.success(), "kinit: {}", shown(&output));
    let output = run(heimdal("kgetcred").arg(format!("HTTP/localhost@{REALM}")), "", 30);
    assert!(output.status.success(), "kgetcred: {}", shown(&output));
    let output = run(heimdal("heimtools").args(["klist", "-v"]), "", 30);
    assert!(text(&output.stdout).contains("HTTP/localhost"), "klist: {}", shown(&output));

    let mut command = lab.peer("python3");
    command
        .env("LD_LIBRARY_PATH", &libraries)
        .env("KRB5CCNAME", format!("FILE:{}", lab.path("heimdal.ccache")))
        .arg(here().join("python/heimdal_get.py"))
        .arg(libraries.join("libgssapi.so.3"))
        .args(["localhost", &lab.port.to_string(), "/"]);
    let output = run(&mut command, "", 30);
    assert!(output.status.success(), "{}", shown(&output));
    assert_eq!((member(&output, "status").as_str(), member(&output, "complete").as_str()), ("200", "true"));
}
