//! The fields of the W3C extended log, with the names and the order that IIS gives them. W3C WD-logfile-960323.

use std::str::FromStr;

/// A field of the W3C extended log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Field {
    /// `date`: UTC, when the request came.
    Date,
    /// `time`: UTC.
    Time,
    /// `s-computername`: this machine.
    ServerName,
    /// `s-ip`: the address the client connected to.
    ServerIp,
    /// `cs-method`.
    Method,
    /// `cs-uri-stem`: the path.
    UriStem,
    /// `cs-uri-query`.
    UriQuery,
    /// `s-port`.
    ServerPort,
    /// `cs-username`: `DOMAIN\name` of whoever signed in, never of whoever failed to.
    UserName,
    /// `c-ip`.
    ClientIp,
    /// `cs-version`.
    Version,
    /// `cs(User-Agent)`.
    UserAgent,
    /// `cs(Referer)`.
    Referer,
    /// `cs-host`.
    Host,
    /// `sc-status`.
    Status,
    /// `sc-substatus`.
    SubStatus,
    /// `sc-win32-status`.
    Win32Status,
    /// `sc-bytes`: the length of the answer's body, where it is known.
    BytesSent,
    /// `time-taken`, in milliseconds.
    TimeTaken,
}

impl Field {
    /// What IIS 8 and later write unless told otherwise.
    pub(crate) const DEFAULT: [Self; 15] = [
        Self::Date,
        Self::Time,
        Self::ServerIp,
        Self::Method,
        Self::UriStem,
        Self::UriQuery,
        Self::ServerPort,
        Self::UserName,
        Self::ClientIp,
        Self::UserAgent,
        Self::Referer,
        Self::Status,
        Self::SubStatus,
        Self::Win32Status,
        Self::TimeTaken,
    ];

    /// Every field there is, in IIS's order. `cs(Cookie)` is not among them: it is a secret.
    pub(crate) const ALL: [Self; 19] = [
        Self::Date,
        Self::Time,
        Self::ServerName,
        Self::ServerIp,
        Self::Method,
        Self::UriStem,
        Self::UriQuery,
        Self::ServerPort,
        Self::UserName,
        Self::ClientIp,
        Self::Version,
        Self::UserAgent,
        Self::Referer,
        Self::Host,
        Self::Status,
        Self::SubStatus,
        Self::Win32Status,
        Self::BytesSent,
        Self::TimeTaken,
    ];

    /// Its name in the `#Fields` line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Date => "date",
            Self::Time => "time",
            Self::ServerName => "s-computername",
            Self::ServerIp => "s-ip",
            Self::Method => "cs-method",
            Self::UriStem => "cs-uri-stem",
            Self::UriQuery => "cs-uri-query",
            Self::ServerPort => "s-port",
            Self::UserName => "cs-username",
            Self::ClientIp => "c-ip",
            Self::Version => "cs-version",
            Self::UserAgent => "cs(User-Agent)",
            Self::Referer => "cs(Referer)",
            Self::Host => "cs-host",
            Self::Status => "sc-status",
            Self::SubStatus => "sc-substatus",
            Self::Win32Status => "sc-win32-status",
            Self::BytesSent => "sc-bytes",
            Self::TimeTaken => "time-taken",
        }
    }
}

impl FromStr for Field {
    type Err = UnknownField;

    fn from_str(name: &str) -> Result<Self, UnknownField> {
        Self::ALL.into_iter().find(|field| field.name().eq_ignore_ascii_case(name)).ok_or(UnknownField)
    }
}

/// A name that is none of those above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnknownField;
