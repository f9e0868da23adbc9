//! SPNEGO: which mechanism, and the proof that nobody changed the list. RFC 4178, MS-SPNG.
