//! Who answers for accounts: local accounts and KDCs now; other servers of a domain have their place beside them.
#![forbid(unsafe_code)]

pub mod controller;
pub mod credentials;
pub mod directory;
pub mod dns;
#[cfg(test)]
mod fake_dc;
pub mod kdc;
pub mod kdc_db;
pub mod kdc_server;
pub mod krb5_conf;
pub mod ldap;
pub mod ldap_ping;
pub mod local;
pub mod locate;
pub mod machine;
pub mod names;
pub mod netlogon;
#[cfg(unix)]
pub mod ntlm_auth;
pub mod rpc;
pub mod tls;
