//! The Netlogon secure channel, through which a member of a domain asks a domain controller. MS-NRPC 3.
//!
//! | what | where | specification |
//! |---|---|---|
//! | the computations | [`crypto`] | MS-NRPC 3.1.4.3, 3.1.4.4 |
//! | opening a channel, and what it is good for | [`channel`] | MS-NRPC 3.1.4.1, 3.1.4.5 |
//! | signing and sealing | [`sealing`] | MS-NRPC 3.3.4.2 |
//! | RPC's side of it | [`association`] | C706 12.6, MS-RPCE 3 |
//! | a logon, and what the answer says | [`logon`] | MS-NRPC 3.5.4.5.1, MS-APDS 3.1.5 |
//!
//! ```text
//! Opening --challenged()--> Challenged --authenticated()--> Session --> Association --request()--> Call --take()--> answer
//! ```
//!
//! AES and sealing only: MD5, DES and RC4 are not implemented, and a domain controller that offers nothing else is refused.
//!
//! Another authenticator (`NetrServerAuthenticateKerberos`) would give another [`Session`], whose associations are protected
//! by Kerberos: [`association::Security`] is where it has its place.

pub mod association;
pub mod channel;
pub mod crypto;
pub mod logon;
pub mod sealing;

pub use association::{Association, Binding, Call, RpcError, Turn};
pub use channel::{Challenged, ChannelError, Member, Opening, Session};
pub use sealing::Sealing;
