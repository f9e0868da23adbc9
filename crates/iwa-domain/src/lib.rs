//! Who answers for accounts: local accounts now; domain controllers and directories have their place beside them.
#![forbid(unsafe_code)]

pub mod kdc_db;
pub mod kdc_server;
pub mod local;
