//! Kerberos messages: parsed and explained.
#![no_main]

use iwa_wire::sniff;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for kind in [
        "gss-krb5-ap-req",
        "gss-krb5-cfx",
        "ap-req",
        "ap-rep",
        "as-req",
        "as-rep",
        "tgs-req",
        "tgs-rep",
        "krb-error",
        "krb-cred",
        "ticket",
        "authenticator",
        "enc-ticket-part",
        "enc-as-rep-part",
        "enc-ap-rep-part",
        "enc-krb-cred-part",
        "authorization-data",
    ] {
        let refused = sniff::check(kind, bytes).unwrap().is_err();
        let node = sniff::explain_as(kind, bytes, 0).unwrap();
        assert!(!refused || node.first_error().is_some());
    }
});
