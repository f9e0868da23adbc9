//! The formats of Integrated Windows Authentication: bytes to values and back, and [`explain`] beside each parser.
//!
//! No I/O, no clock, no randomness, no cryptography. Values borrow from their input; limits are checked before anything is
//! allocated; trailing bytes are refused; a number without a name is kept.
//!
//! | format | file | specification |
//! |---|---|---|
//! | `Authorization`, `WWW-Authenticate` | [`header`] | RFC 9110 11, RFC 4559 |
//! | GSS-API initial token | [`gss`] | RFC 2743 3.1 |
//! | `NegTokenInit`, `NegTokenResp` | [`spnego`] | RFC 4178, MS-SPNG |
//! | NEGOTIATE, CHALLENGE, AUTHENTICATE | [`ntlm`] | MS-NLMP 2.2 |
//! | Kerberos messages | [`krb5`] | RFC 4120, RFC 4121, RFC 6113 |
//! | PAC | [`pac`], [`ndr`] | MS-PAC, C706 14 |
//! | DCE/RPC PDUs, endpoint mapper | [`dcerpc`] | C706 12, MS-RPCE 2.2 |
//! | Netlogon calls and tokens | [`netlogon`] | MS-NRPC 2.2, 3.5.4 |
//! | answer to an LDAP ping | [`netlogon_ping`] | MS-ADTS 6.3.1.9 |
//! | UTF-16LE text | [`utf16`] | MS-DTYP 2.3.8 |
//! | LDAP messages, filters, names | [`ldap`] | RFC 4511, RFC 4514, RFC 4515, RFC 2696 |
//! | SID | [`sid`] | MS-DTYP 2.4.2 |
//! | keytab | [`keytab`] | MIT keytab file format 2 |
//! | credential cache | [`ccache`] | MIT credential cache file format 3 and 4 |
//! | names in both | [`counted`] | the same |
//! | DER | [`der`] | X.690 |
//! | X.509 certificates | [`x509`] | RFC 5280 |
//! | which of these is it? | [`sniff`] | - |
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::string_slice, clippy::panic, clippy::expect_used))]

pub mod ccache;
pub mod challenge;
pub mod counted;
pub mod dcerpc;
pub mod der;
pub mod error;
pub mod explain;
pub mod gss;
pub mod header;
pub mod keytab;
pub mod krb5;
pub mod ldap;
pub mod ndr;
pub mod netlogon;
pub mod netlogon_ping;
pub mod ntlm;
pub mod pac;
pub mod reader;
pub mod sid;
pub mod sniff;
pub mod spnego;
pub mod utf16;
pub mod x509;

pub use error::{ErrorKind, ParseError};
pub use reader::Reader;
pub use sid::Sid;
pub use utf16::Utf16;
