//! The server: listening, routing, authorizing, serving, recording.

pub(crate) mod audit;
pub(crate) mod authorize;
