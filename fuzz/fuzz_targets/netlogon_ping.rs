//! Answers to LDAP pings.
#![no_main]

use iwa_wire::netlogon_ping::NetlogonSamLogonResponseEx;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(answer) = NetlogonSamLogonResponseEx::parse(bytes) else { return };
    let mut written = Vec::new();
    answer.write(&mut written);
    NetlogonSamLogonResponseEx::parse(&written).unwrap();
});
