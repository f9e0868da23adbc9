//! A client of LDAP directories: Active Directory above all. RFC 4511, RFC 4513, RFC 4752, MS-ADTS 5.1.
//!
//! ```text
//! Connection::open --TCP, StartTLS or LDAPS--> Connection --bind_gssapi (sealed), bind_simple (TLS only)--> search, modify ...
//! Directory: finds a controller, opens, binds, keeps the connection, and begins anew when it breaks.
//! ```
//!
//! A password goes out over TLS or not at all. Names are verified, referrals reported and not followed.

mod bind;
mod connection;
mod directory;
mod entry;
mod error;
mod search;
mod stream;

pub use bind::ticket_for;
pub use connection::{Connection, Patience, Server, Transport};
pub use directory::{Account, Directory};
pub use entry::{Change, Entry};
pub use error::{Answered, LdapError, Why, data_meaning};
pub use search::{Found, Search};

pub use iwa_wire::ldap::{Dn, Filter, Operation, ResultCode, Scope};
