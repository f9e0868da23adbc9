//! SPNEGO tokens.
#![no_main]

use iwa_wire::spnego::NegotiationToken;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(token) = NegotiationToken::parse(bytes) else { return };
    let mut written = Vec::new();
    match token {
        NegotiationToken::Init(init) => init.write(&mut written),
        NegotiationToken::Resp(resp) => resp.write(&mut written),
    }
    let again = NegotiationToken::parse(&written).unwrap();
    // Bits of reqFlags beyond the first eight are not written.
    if let (NegotiationToken::Resp(_), _) = (token, again) {
        assert_eq!(token, again);
    }
});
