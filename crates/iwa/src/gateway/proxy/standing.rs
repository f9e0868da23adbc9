//! Whether an address of an application is worth trying: what connections to it and checks of its health showed.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;

use tokio::time::Instant;

use super::target::Target;

/// What is known of an address.
pub(super) struct Standing {
    origin: Instant,
    /// After `origin`, in milliseconds: not before then.
    out_until: AtomicU64,
    /// A check of its health failed, and none went well since.
    ill: AtomicBool,
}

impl Default for Standing {
    fn default() -> Self {
        Self { origin: Instant::now(), out_until: AtomicU64::new(0), ill: AtomicBool::new(false) }
    }
}

impl Standing {
    /// Whether it is worth trying.
    pub(super) fn is_good(&self) -> bool {
        !self.ill.load(Ordering::Relaxed)
            && match self.out_until.load(Ordering::Relaxed) {
                0 => true,
                until => self.now() >= until,
            }
    }

    /// No connection could be had: others are tried first for a while.
    pub(super) fn failed(&self, target: &Target, why: &str) {
        let until = self.now() + u64::try_from(OUT_FOR.as_millis()).unwrap_or(u64::MAX);
        if self.out_until.swap(until, Ordering::Relaxed) == 0 {
            tracing::warn!(upstream = %target, why, "the application cannot be reached; others are tried first");
        }
    }

    /// There is a connection.
    pub(super) fn answers(&self, target: &Target) {
        if self.out_until.load(Ordering::Relaxed) != 0 && self.out_until.swap(0, Ordering::Relaxed) != 0 {
            tracing::info!(upstream = %target, "the application can be reached again");
        }
    }

    /// What a check showed.
    pub(super) fn checked(&self, target: &Target, outcome: Result<(), String>) {
        let ill = outcome.is_err();
        match (self.ill.swap(ill, Ordering::Relaxed), outcome) {
            (false, Err(why)) => {
                tracing::warn!(upstream = %target, why, "the application is not healthy; others are tried first")
            }
            (true, Ok(())) => tracing::info!(upstream = %target, "the application is healthy again"),
            _ => {}
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX).max(1)
    }
}

/// How long after a failed connection.
const OUT_FOR: Duration = Duration::from_secs(10);
