//! Why the machine's account cannot be read, changed or used, in words for the administrator.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// What went wrong with the machine's account. No text of it holds a secret.
#[derive(Debug)]
#[non_exhaustive]
pub enum MachineError {
    /// This machine is in no domain, or its state is elsewhere.
    Absent {
        /// The file that was looked for.
        path: PathBuf,
    },
    /// The state is there already.
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Others may read or replace the secrets.
    Exposed {
        /// The file or directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// The mode that it must have.
        wanted: u32,
    },
    /// Another process changes the password just now.
    Busy {
        /// The lock.
        path: PathBuf,
    },
    /// The file system refused.
    Io {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// The system's answer.
        error: io::Error,
    },
    /// The file is not what this program wrote.
    Damaged {
        /// Which.
        path: PathBuf,
        /// Where and how; never what stands there.
        what: String,
    },
    /// A newer version wrote it.
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The system gave no randomness.
    Entropy,
    /// No key can be made of a password.
    Key(String),
    /// The domain refused the new password, or did not answer; it may have taken it all the same.
    NotSet {
        /// What it said.
        why: String,
    },
    /// The domain could not be asked which password it takes.
    NotChecked {
        /// What happened.
        why: String,
    },
    /// The domain takes none of the passwords that the machine has.
    NoneTaken {
        /// `WEB$@CORP.EXAMPLE.TEST`.
        account: String,
    },
}

impl fmt::Display for MachineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent { path } => write!(
                f,
                "this machine is in no domain: {} does not exist; `iwa join` makes it, `--state` says where else it is",
                path.display()
            ),
            Self::Exists { path } => write!(
                f,
                "{} exists: this machine is in that domain already; `iwa leave` takes it out, `iwa leave --local` only forgets",
                path.display()
            ),
            Self::Exposed { path, mode, wanted } => write!(
                f,
                "{0} has mode {mode:04o}, and whoever reads it is this machine for the whole domain: chmod {wanted:04o} {0}; \
                 if others may have read it, change the password with `iwa join` anew",
                path.display()
            ),
            Self::Busy { path } => write!(
                f,
                "another process changes the machine's password just now (it holds {}); nothing was done, try again",
                path.display()
            ),
            Self::Io { doing, path, error } => {
                write!(f, "cannot {doing} {}: {error}", path.display())?;
                match error.kind() {
                    io::ErrorKind::PermissionDenied => {
                        f.write_str("; run as the user that the server runs as, or as root")
                    }
                    io::ErrorKind::StorageFull => f.write_str("; nothing was changed: make room and try again"),
                    io::ErrorKind::ReadOnlyFilesystem => f.write_str(
                        "; the machine's password changes, so its state must be writable (in a container: a volume)",
                    ),
                    _ => Ok(()),
                }
            }
            Self::Damaged { path, what } => {
                write!(f, "{} does not read back ({what}): restore it from a backup, or join anew", path.display())
            }
            Self::Newer { path, found } => write!(
                f,
                "{} has format {found}, this program knows {}: use the version of iwa that wrote it",
                path.display(),
                super::state::FORMAT
            ),
            Self::Entropy => f.write_str("the system gave no randomness"),
            Self::Key(why) => write!(f, "no key can be made of the machine's password: {why}"),
            Self::NotSet { why } => write!(
                f,
                "the domain did not confirm the machine's new password: {why}. Old and new password and their keys are kept \
                 until a domain controller says which one holds"
            ),
            Self::NotChecked { why } => write!(
                f,
                "no domain controller says which of the machine's passwords holds: {why}. All of them and their keys are kept"
            ),
            Self::NoneTaken { account } => write!(
                f,
                "the domain takes none of the passwords of {account}: somebody reset or deleted the account, joined another \
                 machine under this name, or this state is an old copy. `iwa join` as an administrator gives it a new one"
            ),
        }
    }
}

impl std::error::Error for MachineError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            _ => None,
        }
    }
}
