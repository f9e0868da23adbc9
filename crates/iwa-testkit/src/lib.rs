//! In-memory ends, ticket minting and vector reading for the tests of iwa.
pub mod accounts;
pub mod corpus;
pub mod exchange;
pub mod kdc;
mod left_out;
pub mod mint;
pub mod netlogon;
pub mod pair;
pub mod recording;

pub use left_out::left_out;
