//! Both ends over Kerberos, with a KDC in memory: bare and in SPNEGO, mutual and not, over bad wires and wrong clocks.

mod common;

use common::{ALICE, kerberos_pair, spnego_init, spnego_resp};
use iwa_auth::Mechanism;
use iwa_wire::gss::MechType;
use iwa_wire::spnego::NegState;

#[test]
fn kerberos_in_spnego_is_one_round_and_mutual() {
    let outcome = kerberos_pair().run();
    assert_eq!(outcome.legs.len(), 2);
    let init = spnego_init(&outcome.legs[0].1);
    assert_eq!(init.mech_types.iter().collect::<Vec<_>>(), [MechType::KRB5, MechType::MS_KRB5, MechType::NTLMSSP]);
    let resp = spnego_resp(&outcome.legs[1].1);
    assert_eq!((resp.neg_state, resp.supported_mech), (Some(NegState::AcceptCompleted), Some(MechType::KRB5)));
    assert!(resp.response_token.is_some() && resp.mech_list_mic.is_none());
    let (server, client) = outcome.unwrap();
    assert_eq!(server.identity.to_string(), ALICE);
    assert_eq!((server.identity.mechanism(), server.note), (Mechanism::Kerberos, None));
    assert!(server.expires.is_some());
    assert_eq!((client.mechanism, client.mutual, client.tickets.len()), (Mechanism::Kerberos, true, 2));
}
