//! Channel bindings with the domain's tickets and with NTLM of its users: `tls-server-end-point`, RFC 5929.

use crate::ad::{DNS, Domain, account};
use crate::clients::{With, has_python, python, ticket};
use crate::peer::{member, shown};
use crate::site::{Site, of_member};

fn site<'a>(domain: &'a Domain, checking: &str) -> (Site<'a>, String) {
    let names = [format!("web.{DNS}")];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let dir = domain.folder("tls");
    let (certificate, key) = (dir.join("web.pem"), dir.join("web.key"));
    std::fs::write(&certificate, made.cert.pem()).expect("written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("ours");
    let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
    let (state, _) = domain.computer(std::time::Duration::ZERO);
    let keytab = domain.path("keytabs/web.keytab");
    let sections = of_member(&format!("keytab = \"{keytab}\""), &state).replace(
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
    let alice = account("alice");
    let cache = ticket(domain, alice);
    let ways = [("kerberos", With::Ticket(&cache)), ("ntlm", With::Password("CORP\\alice", alice.password))];
    for (checking, right, wrong, none) in [("require", "200", "401", "401"), ("allow", "200", "401", "200")] {
        let (site, authorities) = site(domain, checking);
        for (way, with) in ways {
            for (binding, wanted) in [("right", right), ("wrong", wrong), ("none", none)] {
                let arguments = [&*site.url("/"), way, binding, &*authorities];
                let output = python(domain, "negotiate.py", &arguments, with);
                assert!(output.status.success(), "{}", shown(&output));
                assert_eq!(member(&output, "status"), wanted, "{checking} {way} {binding}: {}", shown(&output));
            }
        }
        let mismatch = site.log(2, |line| line["reason"] == "binding.mismatch");
        assert_eq!(mismatch.len(), 2, "{mismatch:?}");
    }
}
