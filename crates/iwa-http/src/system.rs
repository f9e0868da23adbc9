//! The clock and the randomness of the operating system, as the authenticator needs them; tests bring their own.

use core::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use iwa_auth::env::EntropyError;
use iwa_auth::{Entropy, UnixTime};

/// What time it is, and where keys come from.
pub trait System: Send + Sync {
    /// The present time.
    fn now(&self) -> UnixTime;

    /// Fills `out` with randomness fit for keys.
    ///
    /// # Errors
    /// If there is none; whoever asked must fail, closed.
    fn random(&self, out: &mut [u8]) -> Result<(), EntropyError>;
}

/// The operating system's clock and `getrandom`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Os;

impl System for Os {
    fn now(&self) -> UnixTime {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixTime::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    fn random(&self, out: &mut [u8]) -> Result<(), EntropyError> {
        getrandom::fill(out).map_err(|_| EntropyError)
    }
}

/// [`Os`] as a mechanism's step wants it.
impl Entropy for Os {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        self.random(out)
    }
}

/// Any [`System`] as a mechanism's step wants it.
pub struct EntropyOf<'a>(pub &'a dyn System);

impl Entropy for EntropyOf<'_> {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        self.0.random(out)
    }
}

impl fmt::Debug for EntropyOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EntropyOf(..)")
    }
}
