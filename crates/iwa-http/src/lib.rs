//! iwa-http
