//! Whatever comes: told what it is, and explained.
#![no_main]

use iwa_wire::sniff;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = sniff::sniff(bytes);
    let _ = sniff::sniff_header(bytes);
});
