//! NTLM version 2. MS-NLMP.

pub mod acceptor;
pub mod crypto;
