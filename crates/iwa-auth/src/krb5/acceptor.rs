//! The server's side of Kerberos: AP-REQ in, AP-REP out. RFC 4120 3.2, RFC 4121 4.1.

/// Kerberos as this server offers it: its keys and its policy.
#[derive(Debug)]
pub struct Service {}

/// Credentials that a client forwarded: a `KRB-CRED` of its own TGT (RFC 4121 4.1.1).
#[derive(Debug)]
pub struct Delegated {}
