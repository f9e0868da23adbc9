//! iwa-testkit
