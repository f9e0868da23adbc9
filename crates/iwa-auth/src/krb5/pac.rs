//! Verifying and making a PAC. MS-PAC 2.8, 3, MS-KILE 3.3.5.6.4.

/// The PAC is the KDC's word about this very client, or the policy does without. Made only by the check.
#[derive(Debug)]
pub struct PacVerified(());
