//! `iwa` in an Active Directory domain: Samba's domain controller, its clients and ours on hosts of their own, each in a network
//! namespace. `ad.rs` starts it; nothing of it is reachable from outside, and nothing stays behind.
//!
//! It needs root and Samba. Without them the tests are left out, and said so; with `CI=true` that is a failure.

mod ad;
mod bindings;
mod clients;
mod directory;
mod join;
mod kerberos;
mod ntlm;
mod outbound;
#[path = "../peer.rs"]
mod peer;
mod site;
mod weather;
mod winbind;
