//! TLS and extended protection in configurations, right and wrong.

use std::fs;

use iwa_auth::BindingPolicy;

use super::super::tests::{SAMPLE, World};
use super::*;

const TLS: &str = "[[tls.certificate]]\ncertificate = \"web.pem\"\nkey = \"web.key\"\n";

/// A world with a certificate for these names, in `web.pem` and `web.key`.
fn world(names: &[&str]) -> World {
    let world = World::new();
    write_certificate(&world, names);
    world
}

pub(in crate::config) fn write_certificate(world: &World, names: &[&str]) {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    fs::write(world.0.join("web.pem"), made.cert.pem()).unwrap();
    let key = world.0.join("web.key");
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

/// The classic page over TLS, with this `token-checking` and these lines beside it.
fn sample(listen: &str, checking: &str, beside: &str) -> String {
    let text = SAMPLE.replace("\"127.0.0.1:8080\"", listen);
    text.replace("token-checking = \"none\"", &format!("token-checking = \"{checking}\"\n{beside}"))
}

#[test]
fn https_with_a_certificate_loads_without_a_word() {
    let world = world(&["web.example.test"]);
    let text = sample("\"127.0.0.1:8080\", \"https://*:8443\", \"http://[::1]:80\"", "allow", "") + TLS;
    let loaded = world.parse(&text).unwrap();
    assert_eq!(loaded.warnings, []);
    let config = loaded.config;
    assert_eq!(config.server.listen, ["127.0.0.1:8080".parse().unwrap(), "[::1]:80".parse().unwrap()]);
    assert_eq!(config.server.listen_tls, ["0.0.0.0:8443".parse().unwrap()]);
    let files = CertificateFiles { certificate: world.0.join("web.pem"), key: world.0.join("web.key") };
    assert_eq!(config.tls, Some(Tls { certificates: vec![files], handshake_timeout: Tls::HANDSHAKE_TIMEOUT }));
    assert_eq!(config.authentication.token_checking, BindingPolicy::Allow);
}

#[test]
fn what_is_wrong_with_tls_is_told() {
    let world = world(&["web.example.test"]);
    let https = "\"https://127.0.0.1:8443\"";
    let own = sample(https, "none", "");
    let other = rcgen::generate_simple_self_signed(vec!["web.example.test".to_owned()]).unwrap();
    fs::write(world.0.join("other.key"), other.signing_key.serialize_pem()).unwrap();
    for (text, wanted) in [
        (own.clone(), "Error https://127.0.0.1:8443 needs a certificate"),
        (own.clone() + "[tls]\n", "Error https://127.0.0.1:8443 needs a certificate"),
        (SAMPLE.to_owned() + TLS, "Warning [tls] has no effect"),
        (own.clone() + &TLS.replace("web.pem", "none.pem"), "none.pem cannot be read"),
        (own.clone() + &TLS.replace("web.key", "other.key"), "other.key is not the key of"),
        (own.clone() + &TLS.replace("key =", "kye ="), "Error [[tls.certificate]] needs `certificate` and `key`"),
        (own.clone() + &TLS.replace("key =", "kye ="), "there is no `kye` in [[tls.certificate]]; did you mean `key`?"),
        (own.clone() + "[tls]\nhandshake-timeout = 0\n" + TLS, "Error handshake-timeout: wanted more than nothing"),
        (
            sample("\"https://127.0.0.1:80\", \"127.0.0.1:80\"", "none", "") + TLS,
            "Error listen: 127.0.0.1:80 stands here twice",
        ),
        (own.replace("https://", "ftp://") + TLS, "Error listen: `ftp://127.0.0.1:8443` is not an address"),
        (own.replace("files = \"www\"", "files = \".\"") + TLS, "Error a key of TLS ("),
    ] {
        let problems = world.problems(&text);
        assert!(problems.iter().any(|problem| problem.contains(wanted)), "{wanted}: {problems:#?}\n{text}");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(world.0.join("web.key"), fs::Permissions::from_mode(0o644)).unwrap();
        let problems = world.problems(&(own + TLS));
        assert!(problems.iter().any(|problem| problem.contains("others may read") && problem.contains("0644")));
    }
}

#[test]
fn a_certificate_for_other_names_than_the_keytab_has_is_told() {
    let problems = world(&["www.example.test"]).problems(&(sample("\"https://127.0.0.1:443\"", "none", "") + TLS));
    assert_eq!(problems.len(), 1, "{problems:#?}");
    assert!(problems[0].contains("keys for HTTP/web.example.test, and no certificate of [tls] names"), "{problems:#?}");
    assert_eq!(world(&["*.example.test"]).problems(&(sample("\"https://127.0.0.1:443\"", "none", "") + TLS)), [""; 0]);
}

#[test]
fn require_needs_something_to_be_tied_to_and_says_whom_it_keeps_out() {
    let world = world(&["web.example.test"]);
    let hash = "ab".repeat(32);
    let (clear, https) = ("\"127.0.0.1:8080\"", "\"https://127.0.0.1:8443\"");
    let named = format!("terminator-certificates = [\"web.pem\", \"sha256:{hash}\"]");
    for (text, wanted) in [
        (sample(clear, "require", ""), &["Error token-checking = \"require\" ties every client"][..]),
        (sample(clear, "report", ""), &["Warning token-checking = \"report\" reports everybody"]),
        (sample(clear, "allow", ""), &[]),
        (sample(clear, "require", &named), &["keeps out curl, Chromium and Firefox"]),
        (sample(https, "require", "") + TLS, &["keeps out curl, Chromium and Firefox"]),
        (
            sample(&format!("{clear}, {https}"), "require", "") + TLS,
            &[
                "nobody can sign in with Negotiate or NTLM at http://127.0.0.1:8080",
                "keeps out curl, Chromium and Firefox",
            ],
        ),
        (sample(https, "report", "") + TLS, &[]),
        (sample(clear, "none", &named), &["Warning terminator-certificates have no effect"]),
        (sample(clear, "allow", &named), &[]),
        (sample(clear, "allow", "terminator-certificates = [\"none.pem\"]"), &["none.pem cannot be read"]),
        (sample(clear, "allow", "terminator-certificates = [\"sha256:ab\"]"), &["wanted a file, or a hash of 64"]),
        (sample(clear, "allow", "terminator-certificates = \"web.key\""), &["has no certificate in it"]),
    ] {
        let problems = world.problems(&text);
        assert_eq!(problems.len(), wanted.len(), "{problems:#?}\n{text}");
        for (problem, wanted) in problems.iter().zip(wanted) {
            assert!(problem.contains(wanted), "{wanted}: {problems:#?}");
        }
    }
    let loaded = world.parse(&sample(clear, "require", &named)).unwrap();
    assert_eq!(
        loaded.config.authentication.terminators,
        [Terminator::File(world.0.join("web.pem")), Terminator::Hash(vec![0xab; 32])]
    );
}

#[test]
fn ntlm_over_the_network_in_clear_is_told() {
    let world = world(&["web.example.test"]);
    let problems = |text: &str| world.problems(text);
    let open = problems(&sample("\"*:8080\"", "none", ""));
    assert!(
        open.len() == 1 && open[0].contains("NTLM at http://0.0.0.0:8080 goes over the network without TLS"),
        "{open:#?}"
    );
    assert_eq!(
        problems(&sample("\"https://*:8443\"", "none", "").replace("[kerberos]", &format!("{TLS}[kerberos]"))),
        [""; 0]
    );
    let kerberos = sample("\"*:8080\"", "none", "").replace("\"Negotiate\", \"NTLM\"", "\"Negotiate:Kerberos\"");
    assert_eq!(problems(&kerberos), [""; 0]);
    let behind = sample("\"*:8080\"", "allow", "terminator-certificates = \"web.pem\"");
    assert_eq!(problems(&behind), [""; 0]);
}
