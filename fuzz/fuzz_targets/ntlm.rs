//! NTLM messages: parsed and explained.
#![no_main]

use iwa_wire::sniff;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for kind in ["ntlm-1", "ntlm-2", "ntlm-3"] {
        let refused = sniff::check(kind, bytes).unwrap().is_err();
        let node = sniff::explain_as(kind, bytes, 0).unwrap();
        assert!(!refused || node.first_error().is_some());
    }
});
