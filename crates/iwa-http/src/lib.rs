//! HTTP authentication with Negotiate, NTLM and Basic for programs built on `http` types, server and client.
//!
//! | concept | file |
//! |---|---|
//! | one request in, an identity or a refusal out | [`authenticator`] |
//! | passwords that failed | [`attempts`] |
//! | what a server remembers of one connection | [`connection`] |
//! | `WWW-Authenticate` as the server writes it | [`challenge`] |
//! | from a failure to HTTP status, IIS sub-status, sc-win32-status | [`status`] |
//! | the client's side of one connection | [`client`] |
//! | a token that goes out before anybody asks | [`ahead`] |
//! | the hosts that may be given credentials | [`hosts`] |
//! | after one handshake, a sealed cookie | [`session`] |
//! | clock and randomness | [`system`] |
#![forbid(unsafe_code)]

pub mod ahead;
pub mod attempts;
pub mod authenticator;
pub mod challenge;

pub mod client;
pub mod connection;
mod credentials;
pub mod hosts;
pub mod session;
pub mod status;
pub mod system;

pub use attempts::{AttemptLimits, Attempts};
pub use authenticator::{Admitted, Authenticator, Outcome, Policy, Ports, Refused};
pub use challenge::{FinalToken, Provider};
pub use connection::{Connection, HalfOpen};
pub use hosts::HostList;
pub use status::Status;
pub use system::{Os, System};
