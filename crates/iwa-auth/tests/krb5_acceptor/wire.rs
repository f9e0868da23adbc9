//! Tokens that are not what they claim to be.

use super::*;

#[test]
fn cut_at_every_byte() {
    let mut end = End::new();
    let token = good().token(&mut Seeded(1));
    for length in 0..token.len() {
        let reason = end.take(&token[..length]).map(|_| ()).unwrap_err();
        assert!(matches!(reason, Reason::Malformed(_)), "{length}: {reason}");
        assert!(end.out.is_empty());
    }
}

#[test]
fn with_trailing_bytes_or_two_tokens_in_one() {
    let mut end = End::new();
    for mechanism in [Some(MechType::KRB5), None] {
        let token = Mint { mechanism, ..good() }.token(&mut Seeded(1));
        for tail in [&[0][..], &token] {
            let reason = end.take(&[&token, tail].concat()).map(|_| ()).unwrap_err();
            assert!(matches!(reason, Reason::Malformed(_)), "{reason}");
        }
    }
}

#[test]
fn an_empty_token() {
    assert!(matches!(End::new().take(&[]).map(|_| ()).unwrap_err(), Reason::Malformed(_)));
}

#[test]
fn another_message_in_the_place_of_an_ap_req() {
    for token_id in [TokenId::ApRep, TokenId::Error, TokenId::TgtRep, TokenId::Iakerb] {
        let (reason, _) = refused(&Mint { token_id, ..good() });
        assert!(matches!(reason, Reason::Malformed(Malformed::OutOfSequence { wanted: "AP-REQ", .. })), "{reason}");
    }
}

#[test]
fn another_mechanism_in_the_framing() {
    let (reason, _) = refused(&Mint { mechanism: Some(MechType::IAKERB), ..good() });
    assert!(matches!(reason, Reason::Policy(Policy::NoCommonMechanism { .. })), "{reason}");
    let (reason, _) = refused(&Mint { mechanism: Some(MechType::NTLMSSP), ..good() });
    assert!(matches!(reason, Reason::Malformed(_)), "{reason}");
}

#[test]
fn authorization_data_nested_without_end_is_refused() {
    use iwa_wire::krb5::{AuthDataElement, AuthorizationData};
    let mut inner = Vec::new();
    for _ in 0..50 {
        let element = [AuthDataElement { ad_type: 1, ad_data: &inner }];
        let mut outer = Vec::new();
        AuthorizationData::of(&element).write(&mut outer);
        inner = outer;
    }
    let mut depth = Mint { pac: MintPac::Bytes(inner.clone()), ..good() };
    // In the PAC's place it is no PAC; as authorization data it is too deep.
    assert!(matches!(refused(&depth).0, Reason::Peer(Peer::Pac(_))));
    depth.pac = MintPac::Absent;
    depth.authorization_data = Some(inner);
    assert!(malformed(&refused(&depth).0, "AuthorizationData"));
}

#[test]
fn an_empty_keytab_refuses_everybody() {
    let mut end = End { service: Service::new(Keys::default(), ServicePolicy::default()), ..End::new() };
    assert!(matches!(end.refuse(&good()).0, Reason::Peer(Peer::NoKey { .. })));
}

#[test]
fn without_randomness_there_is_no_ap_rep_and_no_identity() {
    let mut end = End::new();
    let pending = end.pending(&good().mutual().token(&mut Seeded(1))).unwrap();
    let mut env = Env { now: NOW, entropy: &mut Exhausted };
    let reject = pending.finish(ReplayVerdict::Fresh, &mut env, &mut end.out).unwrap_err();
    assert_eq!(reject.reason, Internal::Entropy.into());
    assert!(end.out.is_empty());
}
