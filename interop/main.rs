//! `iwa` against real peers: one module a peer, all of them against real processes on loopback ports of their own.
//!
//! A peer that is not installed is left out, and said so at the end of `cargo xtask test`; with `CI=true` it is a failure.

mod apache;
mod behind;
mod bodies;
mod browsers;
mod curl;
mod demo;
mod forward_auth;
mod heimdal;
mod http2;
mod identity;
mod java;
mod lab;
mod mit;
mod openldap;
mod peer;
mod proxy;
mod python;
mod service;
mod sessions;
mod tls;
