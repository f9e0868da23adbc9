//! Who answers for accounts: local accounts now; domain controllers and directories have their place beside them.
#![forbid(unsafe_code)]

pub mod local;
