//! The memory of authenticators: bounded, exact, one atomic step. RFC 4120 3.2.3.

/// This authenticator was never seen before. Made only from a cache's verdict.
#[derive(Debug)]
pub struct NotReplayed(());
