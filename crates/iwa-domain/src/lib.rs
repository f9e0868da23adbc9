//! iwa-domain
