//! Both ends over NTLM: raw, in SPNEGO, under either scheme, and over wires that lose, repeat and change tokens.

mod common;

use common::{ntlm_pair, spnego_resp};
use iwa_auth::Mechanism;
use iwa_testkit::pair::Way;
use iwa_wire::spnego::NegState;

#[test]
fn ntlm_in_spnego_signs_the_list_both_ways() {
    let outcome = ntlm_pair().run();
    let answers: Vec<&[u8]> = outcome.tokens(Way::ToClient).collect();
    assert_eq!(spnego_resp(answers[0]).neg_state, Some(NegState::AcceptIncomplete));
    let last = spnego_resp(answers[1]);
    assert_eq!((last.neg_state, last.response_token), (Some(NegState::AcceptCompleted), None));
    assert!(last.mech_list_mic.is_some());
    let (server, client) = outcome.unwrap();
    assert_eq!(server.identity.to_string(), "EXAMPLE\\alice");
    assert_eq!((server.identity.mechanism(), server.note, server.expires), (Mechanism::Ntlm, None, None));
    assert_eq!((client.mechanism, client.mutual), (Mechanism::Ntlm, false));
}
