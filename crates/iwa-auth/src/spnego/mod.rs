//! SPNEGO: which mechanism, and the proof that nobody changed the list. RFC 4178, MS-SPNG.
//!
//! | part | file |
//! |---|---|
//! | the acceptor's choice and its answers | `acceptor` |
//! | the initiator's list and what it takes for an answer | `initiator` |
//! | `mechListMIC`: when it must be there, making it, checking it | `mic` |

pub(crate) mod acceptor;
pub(crate) mod initiator;
pub(crate) mod mic;
