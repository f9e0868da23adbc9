//! Tokens with every byte changed and cut at every length: nothing panics, and nobody gets in with what was not sent.

mod common;

use common::{ntlm_initiator, ntlm_pair};
use iwa_auth::initiate::Framing;
use iwa_testkit::pair::{Fate, Pair, Way};
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
