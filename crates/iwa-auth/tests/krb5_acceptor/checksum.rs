//! The checksum 0x8003: flags, delegation, channel bindings. RFC 4121 4.1.1.

use super::*;

fn what(mint: &Mint) -> &'static str {
    match refused(mint) {
        (Reason::Peer(Peer::GssChecksum { what }), Some(code::KRB_AP_ERR_INAPP_CKSUM)) => what,
        other => panic!("{other:?}"),
    }
}

fn raw(bytes: Vec<u8>) -> Mint {
    Mint { checksum: MintChecksum::Raw(GSS_CHECKSUM, bytes), ..good() }
}

fn gss(flags: u32, rest: &[u8]) -> Vec<u8> {
    [&16u32.to_le_bytes()[..], &[0; 16], &flags.to_le_bytes(), rest].concat()
}

#[test]
fn missing() {
    assert!(what(&Mint { checksum: MintChecksum::Absent, ..good() }).contains("missing"));
}

#[test]
fn of_another_type() {
    assert!(what(&Mint { checksum: MintChecksum::Raw(16, vec![0; 12]), ..good() }).contains("0x8003"));
    assert!(what(&Mint { checksum: MintChecksum::Raw(-GSS_CHECKSUM, gss(0, &[])), ..good() }).contains("0x8003"));
}

#[test]
fn short_at_every_length() {
    let whole = gss(0, &[]);
    assert!(End::new().accept(&raw(whole.clone())).is_ok());
    for length in 0..whole.len() {
        what(&raw(whole[..length].to_vec()));
    }
}

#[test]
fn bindings_that_say_another_length() {
    for length in [0u32, 15, 17, u32::MAX] {
        let mut bytes = gss(0, &[]);
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        what(&raw(bytes));
    }
}

#[test]
fn a_delegation_that_is_over_long_short_or_of_another_option() {
    let deleg = gss_flags::DELEG;
    for rest in [
        &[][..],
        &[1],
        &[1, 0],
        &[1, 0, 5],
        &[1, 0, 5, 0, 1, 2, 3, 4],
        &[1, 0, 0xff, 0xff, 1, 2, 3, 4],
        &[2, 0, 0, 0],
        &[1, 0, 0, 0],
        &[1, 0, 4, 0, 0x76, 0x82, 0xff, 0xff],
    ] {
        what(&raw(gss(deleg, rest)));
    }
}

#[test]
fn a_delegation_under_another_key_or_changed() {
    let alice = Principal::user("alice", REALM);
    let other = mint::key(Etype::Aes256CtsHmacSha1, 1);
    let cred = mint::krb_cred(&alice, NOW.secs() + 60, &other, &mut Seeded(4));
    assert!(what(&Mint { delegated: Some(cred), ..good() }).contains("decrypt"));
    let cred = mint::krb_cred(&alice, NOW.secs() + 60, &good().session, &mut Seeded(4));
    // The ticket that goes with it is the KDC's affair; its key is in the last part.
    for place in cred.len() - 200..cred.len() {
        let mut changed = cred.clone();
        changed[place] ^= 0x41;
        let token = Mint { delegated: Some(changed), ..good() };
        assert!(End::new().accept(&token).is_err(), "{place}");
    }
}

#[test]
fn dce_style() {
    assert!(what(&Mint { gss_flags: gss_flags::DCE_STYLE, ..good() }).contains("DCE"));
}

#[test]
fn extensions_behind_it_are_ignored() {
    assert!(End::new().accept(&raw(gss(0, &[1, 2, 3, 4]))).is_ok());
}

#[test]
fn channel_bindings_absent_wrong_and_right_under_each_policy() {
    let right = ChannelBindings::tls_server_end_point(&[7; 32]).presented();
    for (bindings, off, allow, require) in [
        ([0; 16], Ok(()), Ok(()), Err(Peer::BindingMissing)),
        ([9; 16], Ok(()), Err(Peer::BindingMismatch), Err(Peer::BindingMismatch)),
        (right, Ok(()), Ok(()), Ok(())),
    ] {
        for (policy, wanted) in
            [(BindingPolicy::None, off), (BindingPolicy::Allow, allow), (BindingPolicy::Require, require)]
        {
            let mut end = End::tls(policy);
            let got = end.accept(&Mint { bindings, ..good() }).map(|_| ());
            assert_eq!(got, wanted.map_err(Reason::from), "{policy:?} {bindings:x?}");
            assert!(end.out.is_empty(), "the client learns nothing");
        }
    }
}
