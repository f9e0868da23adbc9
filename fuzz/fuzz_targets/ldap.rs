//! LDAP messages and filters.
#![no_main]

use iwa_wire::ldap::{Filter, Message};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = Message::length(bytes, 1 << 20);
    if let Ok(message) = Message::parse(bytes) {
        let mut written = Vec::new();
        message.write(&mut written);
        assert_eq!(Message::parse(&written).as_ref(), Ok(&message));
    }
    if let Some(filter) = std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<Filter>().ok()) {
        assert_eq!(filter.to_string().parse::<Filter>(), Ok(filter));
    }
});
