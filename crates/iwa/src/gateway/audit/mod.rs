//! The logs.

mod field;

pub(crate) use field::Field;

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
