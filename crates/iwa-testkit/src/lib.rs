//! In-memory ends, ticket minting and vector reading for the tests of iwa.
pub mod corpus;
mod left_out;

pub use left_out::left_out;
