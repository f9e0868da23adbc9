//! Names and realms of clients.

use super::*;

fn without_pac(realms: ClientRealms) -> End {
    End::with(ServicePolicy { realms, pac: PacPolicy::Optional, ..ServicePolicy::default() })
}

fn client(components: &[&str], realm: &str) -> Mint {
    Mint { client: mint::principal(components, realm), pac: MintPac::Absent, ..good() }
}

#[test]
fn a_realm_that_is_not_let_in_is_refused_and_never_cut() {
    for realm in
        ["OTHER.TEST", "example.test", "EXAMPLE.TEST.", "TEST", "SUB.EXAMPLE.TEST", "EXAMPLE.TEST@EXAMPLE.TEST"]
    {
        let (reason, _) = without_pac(ClientRealms::OfTheKeytab).refuse(&client(&["alice"], realm));
        assert!(matches!(reason, Reason::Policy(Policy::Realm { .. })), "{realm}: {reason}");
    }
}

#[test]
fn a_realm_that_is_let_in_stays_in_the_identity() {
    for realms in [ClientRealms::Listed(vec!["OTHER.TEST".to_owned()]), ClientRealms::AnyTrusted] {
        let context = without_pac(realms).accept(&client(&["alice"], "OTHER.TEST")).unwrap();
        let account = context.identity.account();
        assert_eq!((account.domain.as_str(), account.realm.as_deref()), ("OTHER.TEST", Some("OTHER.TEST")));
        assert_eq!(context.identity.to_string(), "OTHER.TEST\\alice");
    }
    let listed = ClientRealms::Listed(vec!["OTHER.TEST".to_owned()]);
    assert!(without_pac(listed).accept(&client(&["alice"], REALM)).is_err(), "listed means these only");
}

#[test]
fn a_name_that_looks_like_another_is_refused() {
    for name in [
        &["alice/admin"][..],
        &["OTHER\\alice"],
        &["alice@OTHER.TEST"],
        &["alice\0"],
        &["alice\n"],
        &["al\u{7f}ice"],
        &["alice", "b/c"],
        &[""],
        &["alice", ""],
        &[],
    ] {
        let (reason, _) = without_pac(ClientRealms::OfTheKeytab).refuse(&client(name, REALM));
        assert!(malformed(&reason, "EncTicketPart"), "{name:?}: {reason}");
    }
}

#[test]
fn two_components_are_one_name_with_a_slash() {
    let context = without_pac(ClientRealms::OfTheKeytab).accept(&client(&["host", "a.example.test"], REALM)).unwrap();
    assert_eq!(context.identity.account().name, "host/a.example.test");
}

#[test]
fn a_look_alike_stays_what_it_is() {
    let cyrillic = "\u{430}lice";
    let context = without_pac(ClientRealms::OfTheKeytab).accept(&client(&[cyrillic], REALM)).unwrap();
    assert_ne!(context.identity.account().name, "alice");
    assert_eq!(context.identity.account().name, cyrillic);
}
