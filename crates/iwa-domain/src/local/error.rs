//! What can go wrong with the accounts: the store itself, or what is asked of it.

use core::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use iwa_wire::explain::printable;

use super::name::NameError;

/// Why an operation on the accounts failed. `Display` is for the administrator.
#[derive(Debug)]
#[non_exhaustive]
pub enum AccountsError {
    /// There are no accounts in that directory.
    Absent {
        /// The file that was looked for.
        path: PathBuf,
    },
    /// Others may read or change the file or its directory.
    Exposed {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// What they should be at most.
        wanted: u32,
    },
    /// Another process keeps the accounts open.
    Busy {
        /// How long this one waited.
        waited: Duration,
    },
    /// The operating system refused.
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// The database refused.
    Database {
        /// Which file.
        path: PathBuf,
        /// What it said.
        error: Box<redb::Error>,
    },
    /// A record does not read back: the file was damaged or written by something else.
    Damaged {
        /// Which record.
        what: &'static str,
    },
    /// A newer version of this program wrote the file.
    Newer {
        /// The format found.
        found: u32,
    },
    /// A name breaks a rule.
    Name {
        /// The name.
        name: String,
        /// Which rule.
        error: NameError,
    },
    /// The name is taken.
    Exists {
        /// What has it: an account, a group, a service.
        kind: &'static str,
        /// The name as it is written there.
        name: String,
    },
    /// There is none of that name.
    NoSuch {
        /// What was looked for.
        kind: &'static str,
        /// The name that was given.
        name: String,
    },
    /// A group would become a member of itself.
    Cycle {
        /// The group.
        group: String,
        /// The member.
        member: String,
    },
    /// The password cannot be used.
    Password {
        /// Why.
        why: &'static str,
    },
    /// No more relative identifiers.
    Full,
    /// The system gave no randomness.
    Entropy,
}

impl fmt::Display for AccountsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent { path } => write!(
                f,
                "there are no accounts here: {} does not exist; `iwa user add` makes it, `--state` or `[accounts] state` says where",
                path.display()
            ),
            Self::Exposed { path, mode, wanted } => write!(
                f,
                "{} has mode {mode:04o}, and it holds what is as good as passwords: chmod {wanted:04o} {}",
                path.display(),
                path.display()
            ),
            Self::Busy { waited } => write!(
                f,
                "another process has kept the accounts open for more than {} s: let it end, or stop it, then try again",
                waited.as_secs()
            ),
            Self::Io { doing, path, error } => {
                write!(f, "cannot {doing} {}: {error}", path.display())?;
                if error.kind() == io::ErrorKind::PermissionDenied {
                    f.write_str("; run as the user that the server runs as")?;
                }
                Ok(())
            }
            Self::Database { path, error } => {
                write!(f, "the accounts in {} cannot be used: {error}", path.display())
            }
            Self::Damaged { what } => {
                write!(
                    f,
                    "the accounts are damaged: {what} does not read back; restore the state directory from a backup"
                )
            }
            Self::Newer { found } => write!(
                f,
                "the accounts have format {found}, this program knows {}: use the version of iwa that wrote them",
                super::store::FORMAT
            ),
            Self::Name { name, error } => write!(f, "\"{}\" cannot be used: {error}", printable(name)),
            Self::Exists { kind, name } => write!(f, "there is already {kind} \"{}\"", printable(name)),
            Self::NoSuch { kind, name } => write!(f, "there is no {kind} \"{}\"", printable(name)),
            Self::Cycle { group, member } => write!(
                f,
                "\"{}\" cannot become a member of \"{}\": it would be a member of itself",
                printable(member),
                printable(group)
            ),
            Self::Password { why } => f.write_str(why),
            Self::Full => f.write_str("there is no room for more accounts and groups in this state directory"),
            Self::Entropy => f.write_str("the system gave no randomness"),
        }
    }
}

impl core::error::Error for AccountsError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            Self::Database { error, .. } => Some(error),
            Self::Name { error, .. } => Some(error),
            _ => None,
        }
    }
}
