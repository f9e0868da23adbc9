//! What can be wrong with bytes: which format, at which offset, and which rule they break.

use core::fmt;

/// Bytes that do not follow their format.
///
/// `offset` counts from the first byte of the outermost input that was handed to a parser, so that a person can find the
/// place in a dump. The error never contains the bytes themselves: they may be secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The format that was being read, in the words of its specification (`"NegTokenInit"`, `"keytab"`).
    pub format: &'static str,
    /// Where, in bytes from the start of the outermost input.
    pub offset: usize,
    /// Which rule is broken.
    pub kind: ErrorKind,
}

/// The rules that bytes can break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The input ends before the value does.
    Truncated {
        /// Bytes the value needs.
        needed: usize,
        /// Bytes that are left.
        available: usize,
    },
    /// Bytes follow the last value.
    Trailing {
        /// How many.
        count: usize,
    },
    /// Another ASN.1 tag was expected.
    Tag {
        /// The identifier octet that was expected.
        wanted: u8,
        /// The identifier octet that is there.
        found: u8,
    },
    /// A length is not encoded as DER wants it: indefinite, not minimal, or beyond 2^31.
    Length,
    /// A fixed value (signature, magic, version) differs.
    Magic {
        /// Its name in the specification.
        what: &'static str,
    },
    /// A value is outside what its type allows.
    Value {
        /// Its name in the specification.
        what: &'static str,
    },
    /// A mandatory field is not there.
    Missing {
        /// Its name in the specification.
        what: &'static str,
    },
    /// A field that may stand once stands twice.
    Duplicate {
        /// Its name in the specification.
        what: &'static str,
    },
    /// A rule that none of the others names.
    Rule {
        /// The rule, as a sentence for a person.
        rule: &'static str,
    },
    /// More than this implementation is willing to read; checked before anything is allocated.
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, byte {}: {}", self.format, self.offset, self.kind)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { needed, available } => {
                write!(f, "the value needs {needed} bytes, {available} are left")
            }
            Self::Trailing { count } => write!(f, "{count} bytes follow the end of the value"),
            Self::Tag { wanted, found } => {
                write!(f, "ASN.1 tag 0x{wanted:02x} is expected here, found 0x{found:02x}")
            }
            Self::Length => f.write_str("the length is not in DER's form (definite, shortest, below 2^31)"),
            Self::Magic { what } => write!(f, "{what} does not have its fixed value"),
            Self::Value { what } => write!(f, "{what} is outside its range"),
            Self::Missing { what } => write!(f, "{what} is missing"),
            Self::Duplicate { what } => write!(f, "{what} stands more than once"),
            Self::Rule { rule } => f.write_str(rule),
            Self::Limit { what, limit } => write!(f, "{what}: more than the limit of {limit}"),
        }
    }
}

impl core::error::Error for ParseError {}
