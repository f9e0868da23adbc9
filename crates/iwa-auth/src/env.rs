//! What a step needs from outside: the time and randomness. Both are arguments, so that recorded handshakes replay exactly.

use core::fmt;
use core::time::Duration;

/// A moment: microseconds since 1970-01-01T00:00:00Z, without leap seconds.
///
/// Kerberos counts seconds and microseconds apart (RFC 4120 5.2.3, 5.2.4), NTLM and the PAC count 100 ns since 1601
/// (MS-DTYP 2.3.3); this type converts to both.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct UnixTime(u64);

impl UnixTime {
    /// Seconds from 1601-01-01 to 1970-01-01.
    const FILETIME_EPOCH: u64 = 11_644_473_600;

    /// So many microseconds since 1970.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// So many seconds since 1970; times before 1970 become 1970.
    #[must_use]
    pub const fn from_secs(secs: i64) -> Self {
        Self(if secs < 0 { 0 } else { (secs as u64).saturating_mul(1_000_000) })
    }

    /// A `FILETIME` (100 ns since 1601).
    #[must_use]
    pub const fn from_filetime(filetime: u64) -> Self {
        Self((filetime / 10).saturating_sub(Self::FILETIME_EPOCH * 1_000_000))
    }

    /// Microseconds since 1970.
    #[must_use]
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// Whole seconds since 1970.
    #[must_use]
    pub const fn secs(self) -> i64 {
        (self.0 / 1_000_000) as i64
    }

    /// The microseconds beyond [`UnixTime::secs`]: below one million.
    #[must_use]
    pub const fn subsec_micros(self) -> u32 {
        (self.0 % 1_000_000) as u32
    }

    /// As a `FILETIME` (100 ns since 1601).
    #[must_use]
    pub const fn filetime(self) -> u64 {
        self.0.saturating_mul(10).saturating_add(Self::FILETIME_EPOCH * 10_000_000)
    }

    /// This moment and `later` of it.
    #[must_use]
    pub fn plus(self, later: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(later.as_micros()).unwrap_or(u64::MAX)))
    }

    /// This moment on a clock that is so many seconds ahead (or, negative, behind).
    #[must_use]
    pub const fn shifted(self, seconds: i64) -> Self {
        let micros = seconds.unsigned_abs().saturating_mul(1_000_000);
        Self(if seconds < 0 { self.0.saturating_sub(micros) } else { self.0.saturating_add(micros) })
    }

    /// The distance to another moment, whichever comes first.
    #[must_use]
    pub const fn distance(self, other: Self) -> Duration {
        Duration::from_micros(self.0.abs_diff(other.0))
    }
}

impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        iwa_wire::krb5::KerberosTime(self.secs()).fmt(f)
    }
}

/// A source of randomness fit for keys.
pub trait Entropy {
    /// Fills `out` whole.
    ///
    /// # Errors
    /// If the source has none to give; the step then fails, closed.
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError>;
}

/// The system gave no randomness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntropyError;

/// The world outside as one step sees it.
pub struct Env<'a> {
    /// The present time.
    pub now: UnixTime,
    /// Where keys and challenges come from.
    pub entropy: &'a mut dyn Entropy,
}

impl Env<'_> {
    /// `N` random bytes.
    ///
    /// # Errors
    /// [`EntropyError`] if the source has none.
    pub fn random<const N: usize>(&mut self) -> Result<[u8; N], EntropyError> {
        let mut bytes = [0; N];
        self.entropy.fill(&mut bytes)?;
        Ok(bytes)
    }
}

impl fmt::Debug for Env<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env").field("now", &self.now).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filetime_and_unix_time_agree() {
        // MS-NLMP 4.2.1 uses FILETIME 0 in its samples; 2020-01-01T00:00:00Z is 132223104000000000.
        assert_eq!(UnixTime::from_secs(1_577_836_800).filetime(), 132_223_104_000_000_000);
        assert_eq!(UnixTime::from_filetime(132_223_104_000_000_000).secs(), 1_577_836_800);
        assert_eq!(UnixTime::from_filetime(0), UnixTime::default());
        assert_eq!(UnixTime::from_secs(-5).micros(), 0);
    }
}
