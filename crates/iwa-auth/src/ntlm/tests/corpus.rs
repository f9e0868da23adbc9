//! Published messages, and the corpus of real wire data: responses whose password is known.

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

/// MS-NLMP 4.2.4.3.
const MS_NLMP_CHALLENGE: &str = "4e544c4d53535000020000000c000c003800000033828ae20123456789abcdef0000000000000000240024004400\
    0000060070170000000f53006500720076006500720002000c0044006f006d00610069006e0001000c00530065007200760065007200\
    00000000";
const MS_NLMP_AUTHENTICATE: &str = "4e544c4d5353500003000000180018006c00000054005400840000000c000c00480000000800080054000000\
    100010005c00000010001000d8000000358288e20501280a0000000f44006f006d00610069006e005500730065007200430\
    04f004d0050005500540045005200\
    86c35097ac9cec102554764a57cccc19aaaaaaaaaaaaaaaa\
    68cd0ab851e51c96aabc927bebef6a1c01010000000000000000000000000000aaaaaaaaaaaaaaaa0000000002000c00\
    44006f006d00610069006e0001000c005300650072007600650072000000000000000000\
    c5dad2544fc9799094ce1ce90bc9d03e";

#[test]
fn ms_nlmp_4_2_4_3_messages() {
    let two = corpus::hex(MS_NLMP_CHALLENGE).unwrap();
    let challenge = Challenge::parse(&two).unwrap();
    assert_eq!(challenge.flags, Flags(0xe28a_8233));
    assert_eq!(challenge.target_name.decode(), "Server");
    assert_eq!(challenge.target_info.text(AvId::NB_DOMAIN_NAME).unwrap().decode(), "Domain");

    let three = corpus::hex(MS_NLMP_AUTHENTICATE).unwrap();
    let message = Authenticate::parse(&three).unwrap();
    let (user, domain) = (message.user.decode(), message.domain.decode());
    assert_eq!((&*user, &*domain, &*message.workstation.decode()), ("User", "Domain", "COMPUTER"));
    assert_eq!(message.version.map(|version| version.build), Some(2600));
    assert_eq!(message.mic, None);
    let hash = nt_hash("Password");
    let base = verify_ntlmv2(&hash, &user, &domain, &challenge.server_challenge, message.nt_response).unwrap();
    let key = crypto::exported_session_key(message.flags, &base, message.encrypted_random_session_key).unwrap();
    assert!(key.ct_eq(&[0x55; 16]));
    let key = crypto::ntowfv2(&hash, &user, &domain);
    assert_eq!(message.lm_response, crypto::lmv2_response(&key, &challenge.server_challenge, &[0xaa; 8]));
}
