//! In-memory ends, ticket minting and vector reading for the tests of iwa.
pub mod corpus;
