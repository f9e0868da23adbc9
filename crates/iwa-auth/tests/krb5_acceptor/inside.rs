//! What a client with a true ticket can write into its authenticator, and what a KDC could write into a ticket: nothing of it
//! may make the acceptor panic, or let the client be somebody else.

use super::*;

/// Tries a changed plaintext; whoever is let in must be alice.
fn tried(end: &mut End, mint: &Mint) {
    if let Ok(context) = end.accept(mint) {
        let account = context.identity.account();
        assert_eq!(account.name, "alice");
        assert_eq!(account.realm.as_deref(), Some(REALM));
    }
}

/// Every bit of every byte, every length, and bytes put in.
fn changes(plain: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    let flipped = (0..plain.len()).flat_map(move |place| {
        [1, 2, 0x20, 0x80, 0xff].map(|bits| {
            let mut changed = plain.to_vec();
            changed[place] ^= bits;
            changed
        })
    });
    let cut = (0..plain.len()).map(move |length| plain[..length].to_vec());
    let put_in = (0..=plain.len()).map(move |place| [&plain[..place], &[0x30], &plain[place..]].concat());
    flipped.chain(cut).chain(put_in)
}

#[test]
fn an_authenticator_of_any_content() {
    let mut end = End::tls(BindingPolicy::Allow);
    let alice = Principal::user("alice", REALM);
    let cred = mint::krb_cred(&alice, NOW.secs() + 60, &good().session, &mut Seeded(4));
    let good = Mint { delegated: Some(cred), ..good().mutual() };
    assert!(end.accept(&good).is_ok());
    for plain in changes(&good.authenticator()) {
        tried(&mut end, &Mint { authenticator_plain: Some(plain), ..good.clone() });
    }
}

#[test]
fn a_ticket_of_any_content() {
    let policy = ServicePolicy { pac: PacPolicy::Optional, ..ServicePolicy::default() };
    let mut end = End { policy: BindingPolicy::Allow, ..End::with(policy) };
    let content = PacContent::with_groups(2);
    let good = Mint { pac: MintPac::Signed(content), addresses: Some(vec![(2, vec![127, 0, 0, 1])]), ..good() };
    assert!(end.accept(&good).is_ok());
    for plain in changes(&good.enc_ticket_part()) {
        // The name in the ticket may change; the authenticator says alice.
        tried(&mut end, &Mint { ticket_plain: Some(plain), ..good.clone() });
    }
}

#[test]
fn an_empty_plaintext() {
    for mint in
        [Mint { authenticator_plain: Some(Vec::new()), ..good() }, Mint { ticket_plain: Some(Vec::new()), ..good() }]
    {
        assert!(matches!(refused(&mint).0, Reason::Malformed(_)));
    }
}
