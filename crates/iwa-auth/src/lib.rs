//! Negotiate, Kerberos and NTLM as state machines without I/O.
//!
//! # The steps of an acceptor
//!
//! ```text
//!            token                     NTLM AUTHENTICATE                 the authority's answer
//! Acceptor ---------> Handshake::step ------------------> NeedLogon -----------------------------.
//!    |                     |   |                                                                 v
//!    | accept()            |   | Kerberos AP-REQ          the cache's answer                Established
//!    '--> Handshake        |   '------------> NeedReplayCheck ---------------------------------> ^
//!              ^           |                                                                     |
//!              '-----------' Continue (a challenge, or request-mic)           nothing else to ask '
//! ```
//!
//! Outside work is a typed state, not a callback: whoever drives a [`Handshake`] answers [`NeedReplayCheck`] from a replay
//! cache and [`NeedLogon`] from whoever holds the accounts, and every other way leads to a [`Reject`].
//!
//! # What this crate never does
//!
//! Open a socket or a file, read the clock, make randomness, keep a global, log, or hand out an [`Identity`] for which one
//! of the checks in [`proof`] was left out.
#![forbid(unsafe_code)]

pub mod accept;
pub mod binding;
pub mod env;
pub mod identity;
pub mod initiate;
pub mod krb5;
pub mod netlogon;
pub mod nt_status;
pub mod ntlm;
pub mod ports;
pub mod proof;
pub mod reject;
pub mod secret;
pub mod spnego;

pub use accept::{Accept, Acceptor, Established, Handshake, NeedLogon, NeedReplayCheck, Scheme};
pub use binding::{Binding, BindingPolicy, ChannelBindings};
pub use env::{Entropy, Env, UnixTime};
pub use identity::{Account, Identity, Mechanism, NamedGroup};
pub use nt_status::NtStatus;
pub use reject::{Reason, Reject};
pub use secret::Secret;
