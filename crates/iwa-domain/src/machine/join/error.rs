//! Why a machine is not in the domain, in words for the administrator. MS-ERREF 2.2, MS-ADTS 3.1.1.5.

use std::fmt;
use std::path::PathBuf;

use iwa_auth::reject::{Reason, Reject};
use iwa_wire::ldap::ResultCode;

use super::survey::{Duplicate, Existing, Survey};
use super::tree::TreeError;
use super::{Leave, Wanted};
use crate::machine::MachineError;

/// What stands between a machine and its domain.
#[derive(Debug)]
#[non_exhaustive]
pub enum JoinError {
    /// A name that cannot be used.
    Name {
        /// The name.
        name: String,
        /// Why not.
        why: &'static str,
    },
    /// Other accounts have SPNs that are wanted.
    Duplicates {
        /// The machine.
        computer: String,
        /// Which.
        found: Vec<Duplicate>,
    },
    /// The account is somebody else's.
    Taken {
        /// The account.
        account: String,
        /// Its distinguished name.
        dn: String,
        /// Why it is not taken over.
        why: String,
    },
    /// The state directory is of another account.
    Elsewhere {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        account: String,
    },
    /// The directory lacks what every domain has.
    NotActiveDirectory {
        /// What.
        lacks: String,
    },
    /// The directory did not do what was asked.
    Directory(TreeError),
    /// The directory refused, and this is what it means.
    Refused {
        /// What was tried.
        doing: String,
        /// What to do about it.
        remedy: String,
        /// Its words.
        said: TreeError,
    },
    /// The KDC refused.
    Kerberos {
        /// What was tried.
        doing: &'static str,
        /// Why not.
        reject: Reject,
    },
    /// The keytab does not decrypt the machine's own ticket.
    NotOurs {
        /// The service.
        service: String,
        /// Why.
        reason: Reason,
    },
    /// The state could not be written.
    State(MachineError),
    /// Something failed after something was done.
    Halfway {
        /// What was done.
        done: Vec<String>,
        /// What failed.
        why: Box<JoinError>,
    },
}

impl From<MachineError> for JoinError {
    fn from(error: MachineError) -> Self {
        Self::State(error)
    }
}

impl JoinError {
    /// Whether the directory said no, so that nothing was changed there.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Refused { said: TreeError::Refused { .. }, .. }
                | Self::Directory(TreeError::Refused { .. })
                | Self::Elsewhere { .. }
        )
    }

    /// An account could not be made.
    pub(super) fn of_add(said: TreeError, dn: &str, wanted: &Wanted, survey: &Survey) -> Self {
        let TreeError::Refused { code, win32, .. } = &said else { return Self::Directory(said) };
        let container = dn.split_once(',').map_or(dn, |(_, container)| container);
        let quota = survey.quota.map_or_else(|| "a number of".to_owned(), |quota| quota.to_string());
        let remedy = match (*code, win32.unwrap_or_default()) {
            (_, QUOTA_EXCEEDED) => format!(
                "each user may join {quota} computers (ms-DS-MachineAccountQuota), and this one has joined as many: join as \
                 an administrator, or have the account made beforehand and join again, which takes it over"
            ),
            (ResultCode::INSUFFICIENT_ACCESS_RIGHTS, _) => format!(
                "the administrator needs the right to create computer objects in {container}: have it delegated there, join as \
                 somebody who has it, or name a container with --ou where it is given (on Windows each user may join {quota} \
                 computers, to the default container)"
            ),
            (ResultCode::ENTRY_ALREADY_EXISTS, _) => format!(
                "something else is called {dn}, and its sAMAccountName is not {}: --computer-name gives this machine another name",
                wanted.account()
            ),
            (ResultCode::NO_SUCH_OBJECT, _) => {
                format!("there is no container {container}: --ou names one that is there")
            }
            _ => return Self::of_values(said, dn, wanted),
        };
        Self::Refused { doing: format!("make {dn}"), remedy, said }
    }

    /// An account's names could not be set.
    pub(super) fn of_names(said: TreeError, dn: &str, wanted: &Wanted) -> Self {
        match &said {
            TreeError::Refused { code: ResultCode::INSUFFICIENT_ACCESS_RIGHTS, .. } => Self::Refused {
                doing: format!("set dNSHostName and servicePrincipalName of {dn}"),
                remedy: format!(
                    "the administrator needs the right to write them on {dn} (\"Validated write to service principal name\" and \
                     \"... DNS host name\"): have it delegated, or join as somebody who has it"
                ),
                said,
            },
            _ => Self::of_values(said, dn, wanted),
        }
    }

    /// An account's password could not be set.
    pub(super) fn of_password(said: TreeError, dn: &str, existing: &Existing) -> Self {
        match &said {
            TreeError::Refused { code: ResultCode::INSUFFICIENT_ACCESS_RIGHTS, .. } => {
                let creator = existing.creator.as_ref().map_or_else(String::new, |sid| format!(" It was made by {sid}."));
                Self::Refused {
                    doing: format!("set the password of {dn}"),
                    remedy: format!(
                        "the account exists, and this administrator may not take it over: that needs the right \"Reset password\" \
                         on it.{creator} Windows, too, lets only its owner and domain administrators reuse an account since \
                         KB5020276: join as one of them, have the account deleted, or choose another --computer-name"
                    ),
                    said,
                }
            }
            TreeError::Refused { code: ResultCode::UNWILLING_TO_PERFORM, .. } => Self::Refused {
                doing: format!("set the password of {dn}"),
                remedy: "the domain controller sets passwords over sealed connections only, and the domain's password policy \
                         holds for computers, too"
                    .to_owned(),
                said,
            },
            _ => Self::Directory(said),
        }
    }

    /// Values that the directory does not want.
    fn of_values(said: TreeError, dn: &str, wanted: &Wanted) -> Self {
        let TreeError::Refused { code, win32, .. } = &said else { return Self::Directory(said) };
        let remedy = match (*code, win32.unwrap_or_default()) {
            (_, SPN_NOT_UNIQUE_IN_FOREST | UPN_NOT_UNIQUE) => {
                let services = wanted.services().join(", ");
                format!("another account of the forest has one of {services}: `setspn -F -Q SPN` names it")
            }
            (ResultCode::CONSTRAINT_VIOLATION, _) => format!(
                "the domain controller does not take a value: an SPN that another account has (`setspn -F -Q SPN`), or \
                 the DNS name {}, whose domain may have to be one of msDS-AllowedDNSSuffixes",
                wanted.dns_host_name
            ),
            _ => return Self::Directory(said),
        };
        Self::Refused { doing: format!("write {dn}"), remedy, said }
    }

    /// An account could not be disabled or deleted.
    pub(super) fn of_leave(said: TreeError, dn: &str, how: Leave) -> Self {
        let (verb, right) = match how {
            Leave::Disable => ("disable", "write userAccountControl of"),
            Leave::Delete => ("delete", "delete"),
        };
        match &said {
            TreeError::Refused { code: ResultCode::INSUFFICIENT_ACCESS_RIGHTS, .. } => Self::Refused {
                doing: format!("{verb} {dn}"),
                remedy: format!(
                    "that needs the right to {right} it; `iwa leave --local` forgets the membership on this machine alone"
                ),
                said,
            },
            _ => Self::Directory(said),
        }
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { name, why } => write!(f, "\"{}\": {why}", iwa_wire::explain::printable(name)),
            Self::Duplicates { computer, found } => {
                write!(
                    f,
                    "other accounts have SPNs that {computer}$ needs; the KDC would encrypt clients' tickets for them. "
                )?;
                f.write_str("Nothing was changed.")?;
                for Duplicate { wanted, has, dn, account } in found {
                    write!(f, "\n  {has} is {account}'s ({dn})")?;
                    if !wanted.eq_ignore_ascii_case(has) {
                        write!(f, ", and HOST/ stands for HTTP/ and others, so that it meets {wanted}")?;
                    }
                    write!(f, "\n    if that account no longer needs it: setspn -D {has} {account}")?;
                }
                f.write_str(
                    "\n  if it does: give this machine another name (--computer-name, --dns-host-name), or use that account's keytab \
                     without joining",
                )
            }
            Self::Taken { account, dn, why } => write!(f, "{account} exists ({dn}), and is not taken over: {why}"),
            Self::Elsewhere { path, account } => write!(
                f,
                "{} is the state of {account}; --state names another directory, `iwa leave` ends that membership",
                path.display()
            ),
            Self::NotActiveDirectory { lacks } => {
                write!(
                    f,
                    "this is no domain of Active Directory, or it hides it from this administrator: {lacks} is not there"
                )
            }
            Self::Directory(error) => error.fmt(f),
            Self::Refused { doing, remedy, said } => {
                write!(f, "cannot {doing}: {remedy} (the domain controller says: {said})")
            }
            Self::Kerberos { doing, reject } => write!(f, "cannot {doing}: {reject}"),
            Self::NotOurs { service, reason } => {
                write!(f, "the keytab does not decrypt a ticket for {service}: {reason}")
            }
            Self::State(error) => error.fmt(f),
            Self::Halfway { done, why } => {
                write!(f, "{why}\nWhat was done before:")?;
                for line in done {
                    write!(f, "\n  {line}")?;
                }
                f.write_str(
                    "\nTo go on, repeat the command: it takes over what is there. To undo: `iwa leave` as an administrator, or \
                     delete the account and `iwa leave --local`",
                )
            }
        }
    }
}

impl std::error::Error for JoinError {}

/// ERROR_DS_MACHINE_ACCOUNT_QUOTA_EXCEEDED.
const QUOTA_EXCEEDED: u32 = 0x216d;
/// ERROR_DS_SPN_VALUE_NOT_UNIQUE_IN_FOREST, ERROR_DS_UPN_VALUE_NOT_UNIQUE_IN_FOREST.
const SPN_NOT_UNIQUE_IN_FOREST: u32 = 0x21c7;
const UPN_NOT_UNIQUE: u32 = 0x21c8;
