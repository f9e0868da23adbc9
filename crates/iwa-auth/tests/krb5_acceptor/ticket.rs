//! Tickets that are refused.

use super::*;

#[test]
fn no_key_of_that_kvno() {
    let mint = Mint { kvno: Some(5), service_key: mint::key(Etype::Aes256CtsHmacSha1, 5), ..good() };
    let (reason, code) = refused(&mint);
    let said = reason.to_string();
    assert!(matches!(reason, Reason::Peer(Peer::NoKey { .. })));
    assert!(said.contains("HTTP/web.example.test@EXAMPLE.TEST kvno 5 aes256-cts-hmac-sha1-96"), "{said}");
    assert!(said.contains("the keytab has kvno 4"), "{said}");
    assert_eq!(code, Some(code::KRB_AP_ERR_NOKEY));
}

#[test]
fn the_right_name_with_an_old_kvno() {
    let mint = Mint { kvno: Some(3), service_key: mint::key(Etype::Aes256CtsHmacSha1, 3), ..good() };
    assert!(matches!(refused(&mint).0, Reason::Peer(Peer::NoKey { .. })));
}

#[test]
fn the_same_kvno_with_another_password() {
    let (reason, code) = refused(&Mint { service_key: mint::key(Etype::Aes256CtsHmacSha1, 9), ..good() });
    assert!(matches!(reason, Reason::Peer(Peer::TicketIntegrity { .. })), "{reason}");
    assert_eq!(code, Some(code::KRB_AP_ERR_MODIFIED));
}

#[test]
fn a_wrong_service_name_with_the_right_key() {
    let service = Principal::service("HTTP", "other.example.test", REALM);
    let mint = Mint { service, ..good() };
    assert!(matches!(refused(&mint).0, Reason::Peer(Peer::NoKey { .. })));
    let names = ServiceNames::Listed(vec!["HTTP/web.example.test".to_owned()]);
    let mut end = End::with(ServicePolicy { names, ..ServicePolicy::default() });
    let (reason, code) = end.refuse(&mint);
    assert!(matches!(reason, Reason::Peer(Peer::WrongService { .. })));
    assert_eq!(code, Some(code::KRB_AP_ERR_NOT_US));
    assert!(end.accept(&good()).is_ok());
}

#[test]
fn a_service_of_another_realm_with_the_right_key() {
    for realm in ["OTHER.TEST", "example.test", "EXAMPLE.TEST.", "TEST"] {
        let service = Principal::service("HTTP", mint::HOST, realm);
        assert!(matches!(refused(&Mint { service, ..good() }).0, Reason::Peer(Peer::NoKey { .. })));
    }
}

#[test]
fn an_etype_that_is_not_allowed() {
    let (reason, code) = refused(&Mint::of_etype(NOW, Etype::Rc4Hmac));
    assert_eq!(reason, Policy::EtypeOff { etype: 23 }.into());
    assert!(reason.to_string().contains("msDS-SupportedEncryptionTypes"), "{reason}");
    assert_eq!(code, None);
    let (reason, _) = refused(&Mint { ticket_etype: Some(3), ..good() });
    assert_eq!(reason, Policy::EtypeOff { etype: 3 }.into());
}

#[test]
fn an_rc4_session_key_or_subkey_in_an_aes_ticket() {
    let rc4 = mint::key(Etype::Rc4Hmac, 1);
    for mint in [Mint { session: rc4.clone(), ..good() }, Mint { subkey: Some(rc4), ..good() }] {
        assert_eq!(refused(&mint).0, Policy::EtypeOff { etype: 23 }.into());
    }
}

#[test]
fn a_ticket_that_says_another_etype_than_its_key() {
    let (reason, _) = refused(&Mint { ticket_etype: Some(20), ..good() });
    assert!(matches!(reason, Reason::Peer(Peer::TicketIntegrity { .. })));
}

#[test]
fn expired() {
    let (reason, code) = refused(&Mint { endtime: NOW.secs() - 301, ..good() });
    let end = later(-301);
    assert_eq!(reason, Peer::TicketExpired { end, now: NOW }.into());
    assert_eq!(code, Some(code::KRB_AP_ERR_TKT_EXPIRED));
}

#[test]
fn not_yet_valid() {
    let (reason, code) = refused(&Mint { starttime: Some(NOW.secs() + 301), ..good() });
    assert_eq!(reason, Peer::TicketNotYetValid { start: later(301), now: NOW }.into());
    assert_eq!(code, Some(code::KRB_AP_ERR_TKT_NYV));
    let (reason, _) = refused(&Mint { starttime: None, authtime: NOW.secs() + 301, ..good() });
    assert!(matches!(reason, Reason::Peer(Peer::TicketNotYetValid { .. })));
}

#[test]
fn postdated_and_never_validated() {
    let (reason, code) = refused(&Mint { flags: TicketFlags::INVALID.with(TicketFlags::POSTDATED), ..good() });
    assert_eq!((reason, code), (Peer::TicketInvalid.into(), Some(code::KRB_AP_ERR_TKT_NYV)));
}

#[test]
fn user_to_user() {
    for mint in [
        Mint { ap_options: ap_options::USE_SESSION_KEY, ..good() },
        Mint { mechanism: Some(MechType::KRB5_USER_TO_USER), ..good() },
        Mint { token_id: TokenId::TgtReq, ..good() },
    ] {
        assert_eq!(refused(&mint).0, Policy::UserToUser.into());
    }
}

#[test]
fn bound_to_another_address() {
    let policy = || ServicePolicy { addresses: AddressPolicy::Match, ..ServicePolicy::default() };
    let bound = Mint { addresses: Some(vec![(20, b"HOST".to_vec()), (2, vec![192, 0, 2, 7])]), ..good() };
    let peer = |text: &str| ChannelBindings::none().with_peer(text.parse::<IpAddr>().unwrap());
    for (bindings, taken) in [
        (peer("192.0.2.7"), true),
        (peer("::ffff:192.0.2.7"), true),
        (peer("192.0.2.8"), false),
        (peer("2001:db8::7"), false),
        (ChannelBindings::none(), false),
    ] {
        let mut end = End { bindings, ..End::with(policy()) };
        match end.accept(&bound) {
            Ok(_) => assert!(taken),
            Err(reason) => {
                assert!(!taken);
                assert_eq!((reason, end.error_code()), (Peer::Address.into(), Some(code::KRB_AP_ERR_BADADDR)));
            }
        }
    }
    assert!(End::with(policy()).accept(&Mint { addresses: Some(vec![]), ..good() }).is_ok(), "bound to nothing");
    assert!(End::with(policy()).accept(&good()).is_ok());
    assert!(End::new().accept(&bound).is_ok(), "not looked at unless the policy asks");
}

#[test]
fn a_realm_on_the_way_that_nobody_checked() {
    let client = Principal::user("alice", "FAR.TEST");
    let realms = ClientRealms::Listed(vec!["FAR.TEST".to_owned()]);
    let policy = ServicePolicy { realms, pac: PacPolicy::Optional, ..ServicePolicy::default() };
    let pac = MintPac::Absent;
    let far = Mint { client, transited: b"MIDDLE.TEST".to_vec(), pac, ..good() };
    let (reason, _) = End::with(policy.clone()).refuse(&far);
    assert!(matches!(&reason, Reason::Peer(Peer::Transited { path }) if path.contains("MIDDLE.TEST")), "{reason}");
    let checked = Mint { flags: TicketFlags::TRANSITED_POLICY_CHECKED, ..far.clone() };
    assert!(End::with(policy.clone()).accept(&checked).is_ok());
    let direct = Mint { transited: Vec::new(), ..far.clone() };
    assert!(End::with(policy.clone()).accept(&direct).is_ok());
    let policy = ServicePolicy { danger_transited_unchecked: true, ..policy };
    assert!(End::with(policy).accept(&far).is_ok());
}

#[test]
fn an_anonymous_client() {
    let anonymous = mint::principal(&["WELLKNOWN", "ANONYMOUS"], REALM);
    for mint in [Mint { client: anonymous, ..good() }, Mint { flags: TicketFlags::ANONYMOUS, ..good() }] {
        assert_eq!(refused(&mint).0, Policy::KerberosAnonymous.into());
    }
}

#[test]
fn every_changed_bit_of_a_ticket_is_refused() {
    let mut end = End::new();
    let token = good().token(&mut Seeded(1));
    assert!(end.take(&token).is_ok());
    let ap_req = ApReq::parse(KrbToken::parse(&token, 0).unwrap().message).unwrap();
    let encrypted = ap_req.ticket.enc_part.cipher.as_ptr() as usize - token.as_ptr() as usize;
    for place in 0..token.len() {
        let mut changed = token.clone();
        changed[place] ^= 1 << (place % 8);
        // What stands in the open are hints: name types, the case of the service's name, kvno, Microsoft's OID.
        if let Ok(context) = end.take(&changed) {
            assert!(place < encrypted, "byte {place} is not protected");
            assert_eq!(context.identity.account().name, "alice");
        }
    }
}
