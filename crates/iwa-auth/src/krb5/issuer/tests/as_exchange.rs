//! The AS exchange: names, passwords, times, and what a client learns.

use super::*;

#[test]
fn without_preauthentication_the_client_learns_its_salts_and_nothing_else() {
    let mut world = World::new();
    let request = world.as_req(&Wish { etypes: &[23, 17, 18], ..Wish::default() }, None);
    let answer = world.respond(&request, Transport::Udp);
    let error = KrbError::parse(&answer.reply).unwrap();
    assert_eq!(error.error_code, code::KDC_ERR_PREAUTH_REQUIRED);
    let data = SequenceOf::<PaData<'_>>::parse(error.e_data.unwrap()).unwrap();
    let info = data.iter().find(|padata| padata.padata_type == pa_type::ETYPE_INFO2).unwrap();
    let entries: Vec<_> = SequenceOf::<EtypeInfo2Entry<'_>>::parse(info.padata_value)
        .unwrap()
        .iter()
        .map(|entry| (entry.etype, entry.salt.unwrap().to_string(), entry.s2kparams.unwrap().to_vec()))
        .collect();
    // In the client's order, and without RC4.
    let salt = "EXAMPLE.TESTAlice".to_owned();
    assert_eq!(entries, [(17, salt.clone(), vec![0, 0, 16, 0]), (18, salt, vec![0, 0, 16, 0])]);
    assert_eq!(world.db.failures.get(), 0);
}

#[test]
fn a_wrong_password_is_refused_and_counted() {
    let mut world = World::new();
    let wrong = Key::new(Etype::Aes256CtsHmacSha1, &[9; 32]).unwrap();
    let request = world.as_req(&Wish::default(), Some((&wrong, NOW)));
    assert_eq!(world.respond(&request, Transport::Tcp).outcome.code, code::KDC_ERR_PREAUTH_FAILED);
    assert_eq!(world.db.failures.get(), 1);
}

#[test]
fn every_etype_of_the_client_serves() {
    for etype in ETYPES {
        let mut world = World::new();
        world.db.client.keys.keys.retain(|key| key.etype().number() == etype);
        let tgt = world.login(&Wish { etypes: &[etype], ..Wish::default() }).unwrap();
        assert_eq!(tgt.session.etype().number(), etype);
        let got = world.get(&tgt, &Wish { etypes: &[etype], ..http() }).unwrap();
        assert_eq!(got.session.etype().number(), etype);
        // A service that has keys of this etype alone.
        for service in &mut world.db.services {
            service.keys.iter_mut().for_each(|set| set.keys.retain(|key| key.etype().number() == etype));
        }
        let tgt = world.login(&Wish { etypes: &[etype], ..Wish::default() }).unwrap();
        world.get(&tgt, &Wish { etypes: &[etype], ..http() }).unwrap();
    }
}

#[test]
fn rc4_and_des_get_nothing() {
    let mut world = World::new();
    for etypes in [&[23][..], &[3, 1, 16], &[]] {
        let request = world.as_req(&Wish { etypes, ..Wish::default() }, None);
        assert_eq!(world.respond(&request, Transport::Tcp).outcome.code, code::KDC_ERR_ETYPE_NOSUPP, "{etypes:?}");
        let tgt = world.login(&Wish::default()).unwrap();
        assert_eq!(world.get(&tgt, &Wish { etypes, ..http() }).err(), Some(code::KDC_ERR_ETYPE_NOSUPP));
    }
}

#[test]
fn names_of_clients_are_the_same_in_any_case_and_canonical_on_request() {
    let mut world = World::new();
    for (name, kind, options, cname) in [
        ("ALICE", name_type::PRINCIPAL, 0, "ALICE"),
        ("ALICE", name_type::PRINCIPAL, opt::CANONICALIZE, "Alice"),
        ("Alice@Example.Test", name_type::ENTERPRISE, opt::CANONICALIZE, "Alice"),
    ] {
        let mut client = Principal::user(name, REALM);
        client.name_type = kind;
        let tgt = world.login(&Wish { cname: client, options, ..Wish::default() }).unwrap();
        assert_eq!(tgt.cname, cname);
        // The PAC follows the ticket's spelling, or no service would take it.
        world.get(&tgt, &http()).unwrap();
    }
}

#[test]
fn unknown_names_are_refused_by_their_codes() {
    let mut world = World::new();
    let joined = Principal { components: vec!["HTTP/web.example.test".into()], ..Principal::user("", REALM) };
    for (wish, code) in [
        (Wish { cname: Principal::user("mallory", REALM), ..Wish::default() }, code::KDC_ERR_C_PRINCIPAL_UNKNOWN),
        (Wish { cname: Principal::service("alice", "x", REALM), ..Wish::default() }, code::KDC_ERR_C_PRINCIPAL_UNKNOWN),
        (Wish { cname: Principal::user("", REALM), ..Wish::default() }, code::KDC_ERR_C_PRINCIPAL_UNKNOWN),
        (Wish { sname: Principal::service("HTTP", "no", REALM), ..Wish::default() }, code::KDC_ERR_S_PRINCIPAL_UNKNOWN),
        (Wish { sname: Principal::krbtgt("OTHER.TEST", REALM), ..Wish::default() }, code::KDC_ERR_S_PRINCIPAL_UNKNOWN),
        (Wish { sname: Principal::user("alice", REALM), ..Wish::default() }, code::KDC_ERR_S_PRINCIPAL_UNKNOWN),
        (Wish { sname: joined, ..Wish::default() }, code::KDC_ERR_S_PRINCIPAL_UNKNOWN),
        (Wish { realm: "OTHER.TEST", ..Wish::default() }, code::KDC_ERR_WRONG_REALM),
        (Wish { realm: "example.test", ..Wish::default() }, code::KDC_ERR_WRONG_REALM),
    ] {
        assert_eq!(world.login(&wish).err(), Some(code), "{} -> {}", wish.cname, wish.sname);
    }
}

#[test]
fn an_account_that_may_not_in_is_told_so_only_after_its_password() {
    for (refusal, code) in [
        (Refusal::Revoked, code::KDC_ERR_CLIENT_REVOKED),
        (Refusal::PasswordExpired, code::KDC_ERR_KEY_EXPIRED),
        (Refusal::Unavailable, code::KDC_ERR_SVC_UNAVAILABLE),
    ] {
        let mut world = World::new();
        let tgt = world.login(&Wish::default()).unwrap();
        world.db.refusal = Some(refusal);
        assert_eq!(world.login(&Wish::default()).err(), Some(code));
        let request = world.as_req(&Wish::default(), None);
        assert_eq!(world.respond(&request, Transport::Tcp).outcome.code, code::KDC_ERR_PREAUTH_REQUIRED);
        // A TGT from before does not help.
        assert_eq!(world.get(&tgt, &http()).err(), Some(code));
    }
    let mut world = World::new();
    world.db.locked = true;
    let request = world.as_req(&Wish::default(), None);
    assert_eq!(world.respond(&request, Transport::Tcp).outcome.code, code::KDC_ERR_CLIENT_REVOKED);
}

#[test]
fn clocks_that_differ_too_much_are_refused_on_both_sides() {
    for (clock, refused) in [(0, false), (300, false), (-300, false), (301, true), (-301, true)] {
        let mut world = World::new();
        let key = world.client_key();
        let request = world.as_req(&Wish::default(), Some((&key, NOW + clock)));
        let answer = got(&world.respond(&request, Transport::Tcp), &key, usage::AS_REP);
        assert_eq!(answer.err(), refused.then_some(code::KRB_AP_ERR_SKEW), "{clock}");
        let tgt = world.login(&Wish::default()).unwrap();
        let answer = world.ticket_for(&tgt, &http(), &Twist { clock, ..Twist::default() });
        assert_eq!(answer.err(), refused.then_some(code::KRB_AP_ERR_SKEW), "{clock}");
    }
}

#[test]
fn a_replayed_as_req_gives_another_session_key_under_the_same_password() {
    let mut world = World::new();
    let key = world.client_key();
    let request = world.as_req(&Wish::default(), Some((&key, NOW)));
    let first = got(&world.respond(&request, Transport::Tcp), &key, usage::AS_REP).unwrap();
    let second = got(&world.respond(&request, Transport::Tcp), &key, usage::AS_REP).unwrap();
    assert!(!first.session.ct_eq(second.session.expose()));
}

#[test]
fn the_answer_proves_the_request_if_the_client_asks() {
    let mut world = World::new();
    let key = world.client_key();
    let request = world.as_req(&Wish::default(), Some((&key, NOW)));
    let got = got(&world.respond(&request, Transport::Tcp), &key, usage::AS_REP).unwrap();
    assert!(got.flags.contains(TicketFlags::ENC_PA_REP));
    let proof = got.proof.unwrap();
    let proof = Checksum::parse(&proof).unwrap();
    key.checksum(usage::AS_REQ_CHECKSUM).verify(&[&request], proof.checksum).unwrap();
}

#[test]
fn times_are_held_within_policy_and_tgt() {
    let mut world = World::new();
    let short = world.login(&Wish { till: NOW + 60, options: 0, ..Wish::default() }).unwrap();
    assert_eq!(short.endtime, NOW + 60);
    assert_eq!(world.get(&short, &http()).unwrap().endtime, NOW + 60, "no longer than its TGT");
    let longest = world.login(&Wish { till: 0, options: 0, ..Wish::default() }).unwrap();
    assert_eq!((longest.endtime, longest.renew_till), (NOW + 36_000, None));
    let instead = world.login(&Wish { till: NOW + 86_400, options: opt::RENEWABLE_OK, ..Wish::default() }).unwrap();
    assert_eq!(instead.renew_till, Some(NOW + 86_400));
    let wish = Wish { rtime: Some(NOW + 90_000), ..Wish::default() };
    assert_eq!(world.login(&wish).unwrap().renew_till, Some(NOW + 90_000));
    let past = Wish { till: NOW - 1, ..Wish::default() };
    assert_eq!(world.login(&past).err(), Some(code::KDC_ERR_NEVER_VALID));
    for (from, code) in [(NOW - 86_400, None), (NOW + 300, None), (NOW + 301, Some(code::KDC_ERR_CANNOT_POSTDATE))] {
        assert_eq!(world.login(&Wish { from: Some(from), ..Wish::default() }).err(), code, "{from}");
    }
    let never = Wish { till: i64::MAX, rtime: Some(i64::MAX), ..Wish::default() };
    assert_eq!(world.login(&never).unwrap().endtime, NOW + 36_000);
}

#[test]
fn a_service_ticket_straight_from_the_as() {
    let mut world = World::new();
    let got = world.login(&http()).unwrap();
    let kdc_key = world.db.services[0].keys[0].keys[0].checksum(usage::NON_KERBEROS_CHECKSUM);
    world.opened(&got.ticket, "HTTP/web.example.test", |part, key| {
        let pac = part.authorization_data.unwrap().pac().unwrap();
        let checksum = key.checksum(usage::NON_KERBEROS_CHECKSUM);
        verify(pac, &part, &checksum, core::slice::from_ref(&kdc_key), PacPolicy::Required).unwrap();
    });
}
