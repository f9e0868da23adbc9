//! The KDC: AS and TGS for the accounts of one realm. RFC 4120 3.1, 3.3; MS-KILE 3.3.

pub(crate) mod pac;

pub use pac::PacAccount;
