//! Channel bindings with the domain's tickets: `tls-server-end-point`, RFC 5929.

use crate::ad::{DNS, Domain, account};
use crate::clients::{With, has_python, python, ticket};
use crate::peer::{member, shown};
use crate::site::{Site, keytab_only};

fn site<'a>(domain: &'a Domain, checking: &str) -> (Site<'a>, String) {
    let names = [format!("web.{DNS}")];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let dir = domain.folder("tls");
    let (certificate, key) = (dir.join("web.pem"), dir.join("web.key"));
    std::fs::write(&certificate, made.cert.pem()).expect("written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("ours");
    let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
    let sections = keytab_only(domain, "web", "").replace(
        "\n[kerberos]",
        &format!(
            "[authentication.windows.extended-protection]\ntoken-checking = \"{checking}\"\n[[tls.certificate]]\n\
             certificate = \"{certificate}\"\nkey = \"{key}\"\n\n[kerberos]"
        ),
    );
    (Site::start(domain, "web", &sections), certificate)
}

#[test]
fn pyspnego_with_the_right_the_wrong_and_no_channel_binding() {
    if !has_python() {
        return;
    }
    let Some(domain) = Domain::shared("channel bindings in a domain") else { return };
    let cache = ticket(domain, account("alice"));
    for (checking, right, wrong, none) in [("require", "200", "401", "401"), ("allow", "200", "401", "200")] {
        let (site, authorities) = site(domain, checking);
        for (binding, wanted) in [("right", right), ("wrong", wrong), ("none", none)] {
            let mut arguments = vec![site.url("/")];
            arguments.extend(["kerberos".to_owned(), binding.to_owned(), authorities.clone()]);
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let output = python(domain, "negotiate.py", &arguments, With::Ticket(&cache));
            assert!(output.status.success(), "{}", shown(&output));
            assert_eq!(member(&output, "status"), wanted, "{checking} {binding}: {}", shown(&output));
        }
        let mismatch = site.log(1, |line| line["reason"] == "binding.mismatch");
        assert_eq!(mismatch.len(), 1, "{mismatch:?}");
    }
}
