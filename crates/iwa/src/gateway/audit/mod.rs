//! The logs.

/// When a new W3C log file begins: `period` of IIS's `<logFile>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Period {
    /// Every hour, UTC.
    Hourly,
    /// Every day, UTC.
    Daily,
    /// Only when it is full.
    MaxSize,
}

/// A field of the W3C extended log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// `date`.
    Date,
}

impl Field {
    /// IIS's own choice and order.
    pub(crate) const DEFAULT: [Self; 1] = [Self::Date];
}
