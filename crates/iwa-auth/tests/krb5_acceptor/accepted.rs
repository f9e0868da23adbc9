//! What is let in, and what comes out of it.

use super::*;

#[test]
fn a_good_client_is_who_its_pac_says() {
    let mut end = End::new();
    let context = end.accept(&good()).unwrap();
    let account = context.identity.account();
    assert_eq!((account.name.as_str(), account.domain.as_str()), ("alice", "EXAMPLE"));
    assert_eq!(account.realm.as_deref(), Some(REALM));
    assert_eq!(account.upn.as_deref(), Some("alice@example.test"));
    assert_eq!(account.sid, Sid::new(5, &[21, 1, 2, 3, 1105]));
    assert_eq!(context.identity.mechanism(), Mechanism::Kerberos);
    assert!(context.identity.groups().contains(&Sid::new(5, &[21, 1, 2, 3, 513]).unwrap()));
    assert_eq!(context.expires, later(36_000), "the ticket's end");
    assert!(context.delegated.is_none());
    assert!(end.out.is_empty(), "nobody asked for an AP-REP");
}

#[test]
fn every_etype_is_taken_rc4_only_if_it_is_on() {
    for etype in Etype::ALL {
        let mint = Mint::of_etype(NOW, etype).mutual();
        let mut end = End::with(ServicePolicy { etypes: Etype::ALL.to_vec(), ..ServicePolicy::default() });
        assert!(end.accept(&mint).is_ok(), "{etype}");
        assert_eq!(End::new().accept(&mint).is_ok(), etype != Etype::Rc4Hmac, "{etype}");
    }
}

#[test]
fn with_and_without_framing_and_under_microsofts_oid() {
    for mechanism in [Some(MechType::KRB5), Some(MechType::MS_KRB5), None] {
        let mut end = End::new();
        end.accept(&Mint { mechanism, ..good().mutual() }).unwrap();
        let ap_rep = match mechanism {
            Some(mechanism) => {
                let token = KrbToken::parse(&end.out, 0).unwrap();
                assert_eq!((token.mech, token.id), (mechanism, TokenId::ApRep), "answered in the same form");
                token.message
            }
            None => &end.out,
        };
        assert!(ApRep::parse(ap_rep).is_ok());
    }
}

#[test]
fn the_ap_rep_proves_the_session_key_and_brings_a_subkey_that_signs() {
    for etype in Etype::ALL {
        let mint = Mint::of_etype(NOW, etype).mutual();
        let mut end = End::with(ServicePolicy { etypes: Etype::ALL.to_vec(), ..ServicePolicy::default() });
        let mut context = end.accept(&mint).unwrap();
        let token = KrbToken::parse(&end.out, 0).unwrap();
        let ap_rep = ApRep::parse(token.message).unwrap();
        let mut scratch = Vec::new();
        let plain = mint.session.decrypt(usage::AP_REP, ap_rep.enc_part.cipher, &mut scratch).unwrap();
        let part = EncApRepPart::parse(plain).unwrap();
        assert_eq!((part.ctime.0, part.cusec), (NOW.secs(), NOW.subsec_micros()));
        let subkey = part.subkey.unwrap();
        assert_eq!(subkey.etype, etype.number());
        let key = MicKey::new(Key::new(etype, subkey.value).unwrap(), true);

        let mic = context.sign(b"list");
        assert_eq!(key.verify(Sender::Acceptor, b"list", &mic), Ok(u64::from(part.seq_number.unwrap())));
        let next = context.sign(b"list");
        assert_eq!(key.verify(Sender::Acceptor, b"list", &next), Ok(u64::from(part.seq_number.unwrap()) + 1));
        let mut theirs = Vec::new();
        key.sign(Sender::Initiator, 77, b"list", &mut theirs);
        assert!(context.verify(b"list", &theirs));
        assert!(!context.verify(b"lisT", &theirs) && !context.verify(b"list", &mic) && !context.verify(b"list", b""));
    }
}

#[test]
fn without_mutual_authentication_the_initiators_subkey_signs_else_the_session_key() {
    for (subkey, signs) in [(Some(mint::key(Etype::Aes256CtsHmacSha1, 0x5b)), 0x5b), (None, 0x5e)] {
        let mut context = End::new().accept(&Mint { subkey, ..good() }).unwrap();
        let key = MicKey::new(mint::key(Etype::Aes256CtsHmacSha1, signs), false);
        assert_eq!(key.verify(Sender::Acceptor, b"list", &context.sign(b"list")), Ok(77));
    }
}

#[test]
fn two_ap_reps_have_nothing_in_common() {
    let mut end = End::new();
    end.accept(&good().mutual()).unwrap();
    let first = end.out.clone();
    let pending = end.pending(&good().mutual().token(&mut Seeded(1))).unwrap();
    let mut env = Env { now: NOW, entropy: &mut Seeded(99) };
    pending.finish(ReplayVerdict::Fresh, &mut env, &mut end.out).unwrap();
    assert_ne!(first, end.out);
}

#[test]
fn times_at_the_edge_of_the_skew_are_taken() {
    for seconds in [-300, 300] {
        assert!(End::new().accept(&Mint { made: later(seconds), ..good() }).is_ok());
    }
    assert!(End::new().accept(&Mint { endtime: NOW.secs() - 300, ..good() }).is_ok());
    assert!(End::new().accept(&Mint { starttime: Some(NOW.secs() + 300), ..good() }).is_ok());
    // Without a start time the time of authentication is the start.
    assert!(End::new().accept(&Mint { starttime: None, ..good() }).is_ok());
}

#[test]
fn forwarded_credentials_come_out_with_their_key() {
    let alice = Principal::user("alice", REALM);
    for under_subkey in [false, true] {
        let key = if under_subkey { good().subkey.unwrap() } else { good().session };
        let delegated = mint::krb_cred(&alice, NOW.secs() + 7200, &key, &mut Seeded(4));
        let context = End::new().accept(&Mint { delegated: Some(delegated), ..good() }).unwrap();
        let credentials = context.delegated.unwrap().credentials;
        let [tgt] = credentials.as_slice() else { panic!("{}", credentials.len()) };
        assert_eq!((&tgt.client, tgt.server.is_krbtgt()), (&alice, true));
        assert!(tgt.key.ct_eq(&[0xdd; 32]) && tgt.is_valid(NOW));
        assert!(!format!("{tgt:?}").contains("221, 221"), "keys are not printed");
    }
}

#[test]
fn a_ticket_without_pac_where_the_policy_does_without() {
    let mut end = End::with(ServicePolicy { pac: PacPolicy::Optional, ..ServicePolicy::default() });
    let context = end.accept(&Mint { pac: MintPac::Absent, ..good() }).unwrap();
    let account = context.identity.account();
    assert_eq!((account.name.as_str(), account.domain.as_str(), account.sid), ("alice", REALM, None));
    assert!(context.identity.groups().is_empty());
}

#[test]
fn the_name_of_the_host_in_another_case_is_the_same_service() {
    let service = Principal::service("http", "WEB.example.TEST", REALM);
    assert!(End::new().accept(&Mint { service, ..good() }).is_ok());
}
