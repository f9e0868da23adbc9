//! iwa
fn main() {}
