//! Java's built-in HTTP client: Kerberos through JGSS, and NTLM.

use crate::lab::{ALICE, Lab, Options, here, member, present, run, shown};

#[test]
fn java_signs_in_with_kerberos() {
    if !present("Java", "/usr/bin/java") || !present("MIT kinit", "/usr/bin/kinit") {
        return;
    }
    let lab = Lab::start();
    lab.kinit(ALICE);
    let login = lab.dir.join("login.conf");
    std::fs::write(
        &login,
        "com.sun.security.jgss.krb5.initiate {\n  com.sun.security.auth.module.Krb5LoginModule required \
         useTicketCache=true doNotPrompt=true;\n};\n",
    )
    .expect("written");
    let mut command = lab.peer("java");
    command
        .arg(format!("-Djava.security.krb5.conf={}", lab.path("krb5.conf")))
        .arg(format!("-Djava.security.auth.login.config={}", login.display()))
        .arg("-Djavax.security.auth.useSubjectCredsOnly=false")
        .arg(here().join("java/Get.java"))
        .arg(lab.url("/"));
    let output = run(&mut command, "", 60);
    assert!(output.status.success(), "{}", shown(&output));
    assert_eq!(member(&output, "status"), "200", "{}", shown(&output));
}

#[test]
fn java_signs_in_with_ntlm() {
    if !present("Java", "/usr/bin/java") {
        return;
    }
    let lab = Lab::with(&Options { windows: Some("providers = [\"NTLM\"]"), ..Options::default() });
    let mut command = lab.peer("java");
    command.env("IWA_USER", ALICE.0).env("IWA_PASSWORD", ALICE.1).arg(here().join("java/Get.java")).arg(lab.url("/"));
    let output = run(&mut command, "", 60);
    assert!(output.status.success(), "{}", shown(&output));
    assert_eq!(member(&output, "status"), "200", "{}", shown(&output));
}
