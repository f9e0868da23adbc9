//! Kerberos 5. RFC 4120, RFC 4121.

pub mod acceptor;
pub mod client;
pub mod etype;
pub mod initiator;
pub mod issuer;
pub mod keys;
pub mod mic;
pub mod pac;
pub mod replay;
pub mod sasl;
pub mod usage;
pub mod wrap;
