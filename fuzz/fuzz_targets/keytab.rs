//! Keytabs.
#![no_main]

use iwa_wire::keytab::Keytab;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(keytab) = Keytab::parse(bytes) else { return };
    let mut written = Vec::new();
    Keytab::write_head(&mut written);
    keytab.entries().for_each(|entry| entry.write(&mut written));
    let again = Keytab::parse(&written).unwrap();
    assert!(keytab.entries().eq(again.entries()));
});
