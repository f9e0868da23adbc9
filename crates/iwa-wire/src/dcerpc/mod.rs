//! DCE/RPC over a connection, as domain controllers speak it: PDUs, and the endpoint mapper. C706 12, MS-RPCE 2.2.
//!
//! | what | where | specification |
//! |---|---|---|
//! | PDUs, their fragments and authentication verifiers | [`pdu`] | C706 12.6, MS-RPCE 2.2.2 |
//! | UUIDs and syntaxes | [`syntax`] | C706 A.1, 12.6.3.1 |
//! | where an interface listens | [`epm`] | C706 I, L, O |
//!
//! Little-endian and NDR 2.0 only: no domain controller sends anything else.

pub mod epm;
pub mod pdu;
pub mod syntax;

pub use pdu::{Body, Header, Pdu, PduFlags, Verifier};
pub use syntax::{Syntax, Uuid};
