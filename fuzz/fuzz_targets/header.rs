//! `Authorization` and `WWW-Authenticate`.
#![no_main]

use iwa_wire::challenge::Challenge;
use iwa_wire::header::{Authorization, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|value: &[u8]| {
    let _ = Challenge::parse(value);
    if let Ok(Some(header)) = Authorization::parse([value], Authorization::LIMIT) {
        let mut token = Vec::new();
        if header.decode(&mut token).is_ok() && !token.is_empty() {
            let written = encode(header.scheme, &token);
            let again = Authorization::parse([written.as_bytes()], usize::MAX).unwrap().unwrap();
            let mut same = Vec::new();
            again.decode(&mut same).unwrap();
            assert_eq!(token, same);
        }
        let _ = header.basic();
    }
});
