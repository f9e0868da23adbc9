//! What a domain controller sends: PDUs, towers, tokens, and the answers to Netlogon's calls.
#![no_main]

use iwa_wire::dcerpc::epm::Tower;
use iwa_wire::dcerpc::{Body, Pdu};
use iwa_wire::explain::Explain as _;
use iwa_wire::netlogon::{
    Authenticate3, Authenticated, LogonSamLogonEx, NlAuthMessage, NlAuthSha2Signature, PasswordSet2, ReqChallenge, SamInfo4,
    SamLogon,
};
use libfuzzer_sys::fuzz_target;

fn stub(bytes: &[u8]) {
    let _ = (Tower::parse_request(bytes), Tower::parse_response(bytes));
    let _ = (ReqChallenge::parse(bytes), ReqChallenge::parse_response(bytes));
    let _ = (Authenticate3::parse(bytes), Authenticated::parse(bytes));
    let _ = (PasswordSet2::parse(bytes), PasswordSet2::parse_response(bytes));
    let _ = LogonSamLogonEx::parse(bytes);
    let refused = SamLogon::parse(bytes).map(|answer| answer.validation.map(|info| info.info.groups().count())).is_err();
    assert!(!refused || SamInfo4::explain(bytes, 0).first_error().is_some());
}

fuzz_target!(|bytes: &[u8]| {
    stub(bytes);
    let _ = (NlAuthMessage::parse(bytes), NlAuthSha2Signature::parse(bytes));
    if let Ok(pdu) = Pdu::parse(bytes) {
        if let Body::Response { stub: inside, .. } | Body::Request { stub: inside, .. } = &pdu.body {
            stub(inside);
        }
        let mut written = Vec::new();
        pdu.write(&mut written);
        assert!(Pdu::parse(&written).is_ok());
    }
});
