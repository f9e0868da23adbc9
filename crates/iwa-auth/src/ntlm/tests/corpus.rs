//! The corpus of real wire data: responses whose password is known.

use iwa_testkit::corpus::{self, Expect};
use iwa_wire::ntlm::NtResponse;

use super::*;

#[test]
fn every_ntlmv2_response_with_a_known_password_verifies_and_with_no_other() {
    let mut verified = 0;
    for item in corpus::of_kind("ntlm-3") {
        let (Some(password), Some(challenge)) = (item.header("password"), item.hex_header("server-challenge")) else {
            continue;
        };
        if item.expect == Expect::Malformed {
            continue;
        }
        let message = Authenticate::parse(&item.data).unwrap();
        let challenge = challenge.try_into().unwrap();
        let (user, domain) = (message.user.decode(), message.domain.decode());
        let verify =
            |password: &str| verify_ntlmv2(&nt_hash(password), &user, &domain, &challenge, message.nt_response);
        let v2 = matches!(NtResponse::parse(message.nt_response), Ok(NtResponse::V2(_)));
        assert_eq!(verify(password).is_some(), v2, "{}", item.name);
        assert!(verify("another").is_none(), "{}", item.name);
        verified += usize::from(v2);
    }
    assert!(verified > 5 || corpus::root().is_none(), "{verified}");
}

#[test]
fn the_mic_of_a_recorded_handshake_verifies() {
    let items = corpus::load().unwrap_or_default();
    let find = |name: &str| items.iter().find(|item| item.name.contains(name));
    let names = ["test_ntlm.py-L321-expected_nego", "test_ntlm.py-L432-challenge", "test_ntlm.py-L446-expected_auth"];
    let [Some(one), Some(two), Some(three)] = names.map(find) else { return };
    let message = Authenticate::parse(&three.data).unwrap();
    let response = Ntlmv2Response::parse(message.nt_response).unwrap();
    assert!(response.av_pairs.flags().has(AvFlags::MIC));
    let hash = nt_hash(three.header("password").unwrap());
    let key = crypto::ntowfv2(&hash, &message.user.decode(), &message.domain.decode());
    let base = crypto::session_base_key(&key, response.nt_proof_str);
    let key = crypto::exported_session_key(message.flags, &base, message.encrypted_random_session_key).unwrap();
    let mut zeroed = three.data.clone();
    zeroed[MIC_OFFSET..MIC_OFFSET + 16].fill(0);
    assert_eq!(message.mic, Some(crypto::mic(&key, &[&one.data, &two.data, &zeroed])));
    assert_ne!(message.mic, Some(crypto::mic(&key, &[&two.data, &one.data, &zeroed])));
}
