//! The TGS exchange: what a TGT gives, and what it must not.

use super::*;

#[test]
fn a_password_gives_a_tgt_and_that_a_service_ticket_with_the_pac() {
    let mut world = World::new();
    let tgt = world.login(&Wish::default()).unwrap();
    assert!(tgt.flags.contains(TicketFlags::INITIAL.with(TicketFlags::PRE_AUTHENT).with(TicketFlags::FORWARDABLE)));
    assert_eq!((tgt.starttime, tgt.endtime, tgt.renew_till), (NOW, NOW + 36_000, Some(NOW + 604_800)));
    let kdc_key = world.db.services[0].keys[0].keys[0].checksum(usage::NON_KERBEROS_CHECKSUM);
    for subkey in [false, true] {
        let got = world.ticket_for(&tgt, &http(), &Twist { subkey, ..Twist::default() }).unwrap();
        assert!(!got.flags.contains(TicketFlags::INITIAL));
        assert!(got.endtime <= tgt.endtime);
        world.opened(&got.ticket, "HTTP/web.example.test", |part, key| {
            assert!(got.session.ct_eq(part.key.value));
            assert_eq!((part.cname.to_string().as_str(), part.authtime.0), ("alice", NOW));
            let pac = part.authorization_data.unwrap().pac().unwrap();
            let checksum = key.checksum(usage::NON_KERBEROS_CHECKSUM);
            let (_, who) = verify(pac, &part, &checksum, core::slice::from_ref(&kdc_key), PacPolicy::Required).unwrap();
            assert_eq!(who.account.sid.unwrap().to_string(), "S-1-5-21-1-2-3-1000");
            let groups: Vec<_> = who.groups.iter().map(ToString::to_string).collect();
            assert_eq!(groups, ["S-1-5-21-1-2-3-1105", "S-1-5-32-545"]);
            let kinds: Vec<u32> = Pac::parse(pac.unwrap(), 0).unwrap().buffers().map(|b| b.kind.0).collect();
            assert_eq!(kinds, [1, 10, 12, 16, 19, 6, 7]);
            // The ticket signature covers the ticket with a zero byte in the PAC's place.
            let mut inner = Vec::new();
            AuthorizationData::of(&[AuthDataElement { ad_type: ad_type::WIN2K_PAC, ad_data: &[0] }]).write(&mut inner);
            let outer = [AuthDataElement { ad_type: ad_type::IF_RELEVANT, ad_data: &inner }];
            let mut covered = Vec::new();
            EncTicketPart { authorization_data: Some(AuthorizationData::of(&outer)), ..part }.write(&mut covered);
            crate::krb5::issuer::pac::verify_ticket_signature(
                &Pac::parse(pac.unwrap(), 0).unwrap(),
                &kdc_key,
                &covered,
            )
            .unwrap();
        });
    }
}

#[test]
fn fast_is_passed_over_and_the_plain_request_beside_it_answered() {
    // RFC 6113 5.4: MIT's client sends it with every TGS-REQ, and goes on without if the answer has none.
    let mut world = World::new();
    let tgt = world.login(&Wish::default()).unwrap();
    let twist = Twist { padata: Some(pa_type::FX_FAST), subkey: true, ..Twist::default() };
    world.ticket_for(&tgt, &http(), &twist).unwrap();
}

#[test]
fn abilities_come_from_the_tgt_and_from_the_account() {
    let mut world = World::new();
    let abilities = opt::FORWARDABLE | opt::PROXIABLE | opt::RENEWABLE;
    let plain = world.login(&Wish { options: 0, ..Wish::default() }).unwrap();
    assert_eq!(plain.renew_till, None);
    let got = world.get(&plain, &Wish { options: abilities, ..http() }).unwrap();
    assert!(!got.flags.contains(TicketFlags::FORWARDABLE) && !got.flags.contains(TicketFlags::PROXIABLE));
    assert_eq!(got.renew_till, None);
    let able = world.login(&Wish { options: abilities, ..Wish::default() }).unwrap();
    let got = world.get(&able, &Wish { options: abilities, ..http() }).unwrap();
    assert!(got.flags.contains(TicketFlags::FORWARDABLE.with(TicketFlags::PROXIABLE).with(TicketFlags::RENEWABLE)));
    // Forwarded, it stays forwarded; so does what is made of it.
    let krbtgt = Wish { options: opt::FORWARDED | opt::FORWARDABLE, ..Wish::default() };
    let forwarded = world.get(&able, &krbtgt).unwrap();
    assert!(forwarded.flags.contains(TicketFlags::FORWARDED));
    assert!(world.get(&forwarded, &http()).unwrap().flags.contains(TicketFlags::FORWARDED));
    let proxy = world.get(&able, &Wish { options: opt::PROXY, ..http() }).unwrap();
    assert!(proxy.flags.contains(TicketFlags::PROXY));
    world.db.client.delegable = false;
    let tgt = world.login(&Wish { options: abilities, ..Wish::default() }).unwrap();
    assert!(!tgt.flags.contains(TicketFlags::FORWARDABLE) && !tgt.flags.contains(TicketFlags::PROXIABLE));
}

#[test]
fn a_tgt_is_renewed_until_its_renew_till_and_used_until_its_end() {
    let mut world = World::new();
    let tgt = world.login(&Wish::default()).unwrap();
    world.now = NOW + 30_000;
    let renew = Wish { options: opt::RENEW, ..Wish::default() };
    let renewed = world.get(&tgt, &renew).unwrap();
    assert_eq!((renewed.starttime, renewed.endtime), (world.now, world.now + 36_000));
    assert_eq!(renewed.renew_till, tgt.renew_till);
    assert!(!renewed.flags.contains(TicketFlags::INITIAL));
    world.get(&renewed, &http()).unwrap();
    world.now = NOW + 36_000;
    assert_eq!(world.get(&tgt, &http()).err(), Some(code::KRB_AP_ERR_TKT_EXPIRED));
    assert_eq!(world.get(&tgt, &renew).err(), Some(code::KRB_AP_ERR_TKT_EXPIRED));
    world.get(&renewed, &http()).unwrap();
    world.now = NOW - 1;
    assert_eq!(world.get(&tgt, &http()).err(), Some(code::KRB_AP_ERR_TKT_NYV));
    // A service ticket is not renewed.
    world.now = NOW;
    assert_eq!(world.get(&tgt, &Wish { options: opt::RENEW, ..http() }).err(), Some(code::KDC_ERR_BADOPTION));
}

#[test]
fn a_request_that_its_authenticator_does_not_cover_is_refused() {
    let mut world = World::new();
    let tgt = world.login(&Wish::default()).unwrap();
    let none = Twist { no_checksum: true, ..Twist::default() };
    assert_eq!(world.ticket_for(&tgt, &http(), &none).err(), Some(code::KRB_AP_ERR_INAPP_CKSUM));
    let wrong = Twist { wrong_checksum: true, ..Twist::default() };
    assert_eq!(world.ticket_for(&tgt, &http(), &wrong).err(), Some(code::KRB_AP_ERR_MODIFIED));
    let wrong = Twist { md5: true, wrong_checksum: true, ..Twist::default() };
    assert_eq!(world.ticket_for(&tgt, &http(), &wrong).err(), Some(code::KRB_AP_ERR_MODIFIED));
    let other = Twist { wrong_cname: true, ..Twist::default() };
    assert_eq!(world.ticket_for(&tgt, &http(), &other).err(), Some(code::KRB_AP_ERR_BADMATCH));
    world.ticket_for(&tgt, &http(), &Twist { md5: true, ..Twist::default() }).unwrap();
}

#[test]
fn a_tgt_under_another_key_or_of_another_service_is_refused() {
    let mut world = World::new();
    let tgt = world.login(&Wish::default()).unwrap();
    let service = world.get(&tgt, &http()).unwrap();
    assert_eq!(world.get(&service, &http()).err(), Some(code::KRB_AP_ERR_NOT_US));
    // The krbtgt key was changed: the one before still serves, the one before that is gone.
    let krbtgt = &mut world.db.services[0];
    krbtgt.keys.insert(0, keys(4, 90));
    world.get(&tgt, &http()).unwrap();
    world.db.services[0].keys.truncate(1);
    assert_eq!(world.get(&tgt, &http()).err(), Some(code::KRB_AP_ERR_BADKEYVER));
    world.db.services[0].keys[0].kvno = 3;
    assert_eq!(world.get(&tgt, &http()).err(), Some(code::KRB_AP_ERR_BAD_INTEGRITY));
}

#[test]
fn a_tgt_whose_name_is_another_account_by_now_is_refused() {
    // CVE-2021-42278 and 42287: rename, ask, rename back.
    let mut world = World::new();
    let tgt = world.login(&Wish::default()).unwrap();
    world.db.client.account.rid = 1001;
    assert_eq!(world.get(&tgt, &http()).err(), Some(code::KDC_ERR_TGT_REVOKED));
    world.db.client.account.name = "Bob".into();
    assert_eq!(world.get(&tgt, &http()).err(), Some(code::KDC_ERR_TGT_REVOKED));
}

#[test]
fn a_group_that_was_left_is_not_in_the_next_ticket() {
    let mut world = World::new();
    let tgt = world.login(&Wish::default()).unwrap();
    world.db.client.account.groups = vec![1200];
    let renewed = world.get(&tgt, &Wish { options: opt::RENEW, ..Wish::default() }).unwrap();
    for tgt in [tgt, renewed] {
        let got = world.get(&tgt, &http()).unwrap();
        world.opened(&got.ticket, "HTTP/web.example.test", |part, key| {
            let pac = part.authorization_data.unwrap().pac().unwrap();
            let checksum = key.checksum(usage::NON_KERBEROS_CHECKSUM);
            let (_, who) = verify(pac, &part, &checksum, &[], PacPolicy::Required).unwrap();
            assert_eq!(who.groups[0].rid(), Some(1200));
        });
    }
}

#[test]
fn a_tgt_without_a_pac_is_refused() {
    let mut world = World::new();
    let tgt = world.login(&Wish::default()).unwrap();
    let key = world.db.services[0].keys[0].keys[0].clone();
    let mut part = Vec::new();
    world.opened(&tgt.ticket, "krbtgt/EXAMPLE.TEST", |found, _| {
        EncTicketPart { authorization_data: None, ..found }.write(&mut part);
    });
    let mut cipher = Vec::new();
    key.encrypt(usage::TICKET, &part, &mut world.entropy, &mut cipher).unwrap();
    let krbtgt = Principal::krbtgt(REALM, REALM);
    let mut ticket = Vec::new();
    Ticket::new(REALM.into(), krbtgt.name(), EncryptedData { etype: 18, kvno: Some(3), cipher: &cipher })
        .write(&mut ticket);
    let forged = Got { ticket, ..tgt };
    assert_eq!(world.get(&forged, &http()).err(), Some(code::KDC_ERR_TGT_REVOKED));
}

#[test]
fn a_client_that_wants_no_pac_gets_service_tickets_without_one() {
    let mut world = World::new();
    for (include_pac, has) in [(Some(false), false), (Some(true), true), (None, true)] {
        let tgt = world.login(&Wish { include_pac, ..Wish::default() }).unwrap();
        let got = world.get(&tgt, &http()).unwrap();
        world.opened(&got.ticket, "HTTP/web.example.test", |part, _| {
            let pac = part.authorization_data.and_then(|data| data.pac().unwrap());
            assert_eq!(pac.is_some(), has, "{include_pac:?}");
        });
    }
}

#[test]
fn a_pac_of_the_clients_own_making_does_not_get_into_a_ticket() {
    let mut world = World::new();
    let tgt = world.login(&Wish::default()).unwrap();
    let data = |ad_type: i32, wrapped: bool| {
        let mut inner = Vec::new();
        AuthorizationData::of(&[AuthDataElement { ad_type, ad_data: b"mine" }]).write(&mut inner);
        let mut outer = Vec::new();
        AuthorizationData::of(&[AuthDataElement { ad_type: ad_type::IF_RELEVANT, ad_data: &inner }]).write(&mut outer);
        if wrapped { outer } else { inner }
    };
    for subkey in [false, true] {
        for wrapped in [false, true] {
            let twist = Twist { subkey, data: Some(data(ad_type::WIN2K_PAC, wrapped)), ..Twist::default() };
            assert_eq!(world.ticket_for(&tgt, &http(), &twist).err(), Some(code::KDC_ERR_POLICY));
        }
        let twist = Twist { subkey, data: Some(data(ad_type::TOKEN_RESTRICTIONS, true)), ..Twist::default() };
        let got = world.ticket_for(&tgt, &http(), &twist).unwrap();
        world.opened(&got.ticket, "HTTP/web.example.test", |part, _| {
            assert_eq!(part.authorization_data.unwrap().iter().count(), 2);
            assert!(part.authorization_data.unwrap().pac().unwrap().is_some());
        });
        let twist = Twist { subkey, data: Some(vec![0x30, 0x80]), ..Twist::default() };
        assert_eq!(world.ticket_for(&tgt, &http(), &twist).err(), Some(code::KRB_ERR_GENERIC));
    }
}
