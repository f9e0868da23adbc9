//! Tokens with every byte changed and cut at every length: nothing panics, and nobody gets in with what was not sent.

mod common;

use common::{ALICE, kerberos_pair_with, ntlm_initiator, ntlm_pair};
use iwa_auth::initiate::Framing;
use iwa_testkit::pair::{Fate, Pair, Way};
use iwa_wire::krb5::token::KrbToken;
use iwa_wire::krb5::{ApRep, ApReq};
use iwa_wire::spnego::{NegTokenInit, NegTokenResp, NegotiationToken};

/// The changes of a token: every byte in three ways, every cut, and a byte too many.
fn changes(token: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    let flipped = (0..token.len()).flat_map(|at| {
        [0x01, 0x80, 0xff].map(|bits| {
            let mut changed = token.to_vec();
            changed[at] ^= bits;
            changed
        })
    });
    let cut = (1..token.len()).map(|length| token[..length].to_vec());
    flipped.chain(cut).chain([[token, &[0]].concat()])
}

/// Whether two tokens say the same, but for what SPNEGO leaves unprotected and both ends ignore: `reqFlags`, and the state
/// in a client's token.
fn same_meaning(one: &[u8], other: &[u8]) -> bool {
    match (NegotiationToken::parse(one), NegotiationToken::parse(other)) {
        (Ok(NegotiationToken::Init(a)), Ok(NegotiationToken::Init(b))) => {
            NegTokenInit { req_flags: None, ..a } == NegTokenInit { req_flags: None, ..b }
        }
        (Ok(NegotiationToken::Resp(a)), Ok(NegotiationToken::Resp(b))) => {
            NegTokenResp { neg_state: None, ..a } == NegTokenResp { neg_state: None, ..b }
        }
        _ => false,
    }
}

fn run_changed(pair: &mut Pair, way: Way, leg: usize, changed: &[u8]) -> (bool, bool) {
    let outcome =
        pair.run_over(|to, n, _| if (to, n) == (way, leg) { Fate::Replace(changed.to_vec()) } else { Fate::Deliver });
    (matches!(outcome.server, Some(Ok(_))), matches!(outcome.client, Some(Ok(_))))
}

#[test]
fn ntlm_in_spnego_survives_no_change() {
    let legs = common::succeeded(ntlm_pair().run());
    let mut tried = 0;
    for (index, (way, token)) in legs.iter().enumerate() {
        for changed in changes(token) {
            let (server, client) = run_changed(&mut ntlm_pair(), *way, index / 2, &changed);
            tried += 1;
            // The last leg comes when the server is done: it can only be the client's.
            let in_again = if index == 3 { client } else { server };
            assert!(!in_again || same_meaning(token, &changed), "leg {index}: {changed:02x?}");
        }
    }
    assert!(tried > 1000, "{tried}");
}

#[test]
fn raw_ntlm_survives_no_change() {
    let pair = || {
        let mut pair = ntlm_pair();
        pair.client.initiator = ntlm_initiator(Framing::Bare);
        pair
    };
    for (index, (way, token)) in common::succeeded(pair().run()).iter().enumerate() {
        for changed in changes(token) {
            let (server, _) = run_changed(&mut pair(), *way, index / 2, &changed);
            assert!(!server, "leg {index}: {changed:02x?}");
        }
    }
}

/// What of an AP-REQ nothing protects, and everybody ignores or finds out otherwise: everything but the two ciphertexts and
/// the names, which choose the key.
fn same_proof(one: &[u8], other: &[u8]) -> bool {
    let ap_req = |token: &[u8]| {
        let token = match NegotiationToken::parse(token) {
            Ok(NegotiationToken::Init(init)) => init.mech_token?.to_vec(),
            _ => token.to_vec(),
        };
        let message = KrbToken::parse(&token, 0).ok()?.message.to_vec();
        let ap_req = ApReq::parse(&message).ok()?;
        let ticket = ap_req.ticket;
        Some((
            ticket.enc_part.cipher.to_vec(),
            ap_req.authenticator.cipher.to_vec(),
            (ticket.realm.to_string(), ticket.sname.to_string().to_lowercase()),
        ))
    };
    ap_req(one).is_some_and(|proof| ap_req(other) == Some(proof))
}

#[test]
fn kerberos_survives_no_change_of_what_it_proves() {
    for framing in [Framing::Spnego, Framing::Bare] {
        // The tickets are got once: what is tried here begins with them.
        let (_, first) = kerberos_pair_with(|_| ()).run().unwrap();
        let pair = || {
            kerberos_pair_with(|config| {
                config.framing = framing;
                let client = config.credentials.krb5.take().expect("alice has a credential");
                config.credentials.krb5 = Some(client.with_credentials(first.tickets.clone()));
            })
        };
        let legs = common::succeeded(pair().run());
        for (index, (way, token)) in legs.iter().enumerate() {
            let mut harmless = 0;
            for changed in changes(token) {
                let mut pair = pair();
                let wire = |to, _, _: &[u8]| if to == *way { Fate::Replace(changed.clone()) } else { Fate::Deliver };
                let outcome = pair.run_over(wire);
                if index == 1 {
                    // The AP-REP: the client believes the right one alone.
                    let same = same_meaning(token, &changed) || same_ap_rep(token, &changed);
                    assert!(!matches!(outcome.client, Some(Ok(_))) || same, "{changed:02x?}");
                } else if let Some(Ok(established)) = &outcome.server {
                    assert_eq!(established.identity.to_string(), ALICE);
                    assert!(same_proof(token, &changed), "{changed:02x?}");
                    harmless += 1;
                }
            }
            assert!(harmless < 200, "{harmless} changes of leg {index} do no harm");
        }
    }
}

/// Whether both carry the same proof of the server, whatever stands around it.
fn same_ap_rep(one: &[u8], other: &[u8]) -> bool {
    let cipher = |token: &[u8]| {
        let token = match NegotiationToken::parse(token) {
            Ok(NegotiationToken::Resp(resp)) => resp.response_token?.to_vec(),
            _ => token.to_vec(),
        };
        let message = KrbToken::parse(&token, 0).map_or_else(|_| token.clone(), |token| token.message.to_vec());
        ApRep::parse(&message).ok().map(|ap_rep| ap_rep.enc_part.cipher.to_vec())
    };
    cipher(one).is_some_and(|proof| cipher(other) == Some(proof))
}
