//! The server's side of NTLM. MS-NLMP 3.2.5.

/// The authority knows this user by this response. Made only where its answer is taken.
#[derive(Debug)]
pub struct LogonVerified(());

/// The MIC was verified, or the client sent none and did not have to. Made only where that is decided.
#[derive(Debug)]
pub struct MicVerified(());

/// NTLM as this server offers it: its names and its policy.
#[derive(Debug)]
pub struct Server {}
