//! Credential caches.
#![no_main]

use iwa_wire::ccache::Ccache;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(cache) = Ccache::parse(bytes) else { return };
    let mut written = Vec::new();
    Ccache::write_head(cache.principal, cache.time_offset, &mut written);
    cache.credentials().for_each(|credential| credential.write(&mut written));
    let again = Ccache::parse(&written).unwrap();
    assert!(cache.credentials().eq(again.credentials()));
});
