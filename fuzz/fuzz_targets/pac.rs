//! The PAC: parsed and explained.
#![no_main]

use iwa_wire::pac::{Pac, explain_buffer};
use iwa_wire::sniff;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for kind in ["pac"] {
        let refused = sniff::check(kind, bytes).unwrap().is_err();
        let node = sniff::explain_as(kind, bytes, 0).unwrap();
        assert!(!refused || node.first_error().is_some());
    }
    if let Ok(pac) = Pac::parse(bytes, 0) {
        for buffer in pac.buffers() {
            let _ = explain_buffer(buffer.kind, buffer.data, 0);
        }
    }
});
