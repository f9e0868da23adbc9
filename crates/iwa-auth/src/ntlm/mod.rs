//! NTLM version 2. MS-NLMP.
//!
//! | what | where | MS-NLMP |
//! |---|---|---|
//! | the computations, and the proof against a stored hash | [`crypto`] | 3.3.2, 3.4 |
//! | the server's side | [`acceptor`] | 3.2.5 |
//! | the client's side | [`initiator`] | 3.1.5 |
//! | signing and sealing | [`session`] | 3.4 |
//!
//! Version 1, LM, anonymous logons and local calls are refused, each with its own reason.

pub mod acceptor;
pub mod crypto;
pub mod initiator;
pub mod session;

#[cfg(test)]
mod tests;
