//! Who answers for accounts, and how they are asked.
//!
//! | who | where |
//! |---|---|
//! | this machine: its own accounts, and a KDC for them | [`local`], [`kdc_server`], [`kdc_db`] |
//! | a domain's controllers: which there are, and where | [`locate`], [`dns`], [`ldap_ping`], [`controller`] |
//! | - Kerberos, with the client's caches and keytabs | [`kdc`], [`krb5_conf`], [`credentials`] |
//! | - NTLM, through a secure channel | [`netlogon`], [`rpc`] |
//! | - names and SIDs | [`ldap`], [`names`] |
//! | - the machine's own account: joining, its password, its keys | [`machine`] |
//! | an LDAP directory that is no domain | [`directory`] |
//! | Samba's winbind on this machine | `ntlm_auth` |
//! | TLS to all of them | [`tls`] |
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
