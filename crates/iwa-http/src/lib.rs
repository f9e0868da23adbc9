//! HTTP authentication with Negotiate, NTLM and Basic for programs built on `http` types, server and client.
//!
//! A server of tower services (axum, hyper) needs a keytab and three lines:
//!
//! ```no_run
//! # use axum::{Router, routing::get};
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let sign_in = iwa_http::SignIn::with_keytab("/etc/http.keytab")?.layer()?;
//! let app = Router::new().route("/", get(|| async { "hello" })).layer(sign_in);
//! iwa_http::serve(tokio::net::TcpListener::bind("127.0.0.1:8080").await?, app).await?;
//! # Ok(()) }
//! ```
//!
//! Handlers find `Arc<Identity>` in the extensions of their request. The other way round, [`client::Client`] sends requests and
//! signs in where a server wants it.
//!
//! | concept | file |
//! |---|---|
//! | one request in, an identity or a refusal out | [`authenticator`] |
//! | passwords that failed | [`attempts`] |
//! | what a server remembers of one connection | [`connection`] |
//! | `WWW-Authenticate` as the server writes it | [`challenge`] |
//! | from a failure to HTTP status, IIS sub-status, sc-win32-status | [`status`] |
//! | a tower layer; a server for it; the short way to both | [`layer`], [`serve`](mod@serve), [`sign_in`] |
//! | the client's side of one connection, and requests that sign in | [`client`] |
//! | a token that goes out before anybody asks | [`ahead`] |
//! | the hosts that may be given credentials | [`hosts`] |
//! | after one handshake, a sealed cookie | [`session`] |
//! | clock and randomness | [`system`] |
#![forbid(unsafe_code)]

pub mod ahead;
pub mod attempts;
pub mod authenticator;
pub mod challenge;

pub mod client;
pub mod connection;
mod credentials;
pub mod hosts;
pub mod layer;
pub mod serve;
pub mod session;
pub mod sign_in;
pub mod status;
pub mod system;

pub use attempts::{AttemptLimits, Attempts};
pub use authenticator::{Admitted, Authenticator, Outcome, Policy, Ports, Refused};
pub use challenge::{FinalToken, Provider};
pub use connection::{Connection, HalfOpen, SpeaksFor};
pub use hosts::HostList;
pub use iwa_auth::Identity;
pub use layer::SignInLayer;
pub use serve::{Server, serve};
pub use sign_in::SignIn;
pub use status::Status;
pub use system::{Os, System};
