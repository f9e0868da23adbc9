//! Who the client is. An [`Identity`] can be made only from proofs.

use core::fmt;

use iwa_wire::Sid;

use crate::proof::{BindingChecked, LogonVerified, MicVerified, NotReplayed, PacVerified};

/// How somebody proved who they are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Mechanism {
    /// Kerberos 5.
    Kerberos,
    /// NTLM version 2.
    Ntlm,
    /// A password in HTTP's Basic scheme.
    Basic,
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kerberos => "Kerberos",
            Self::Ntlm => "NTLM",
            Self::Basic => "Basic",
        })
    }
}

/// An account as its authority describes it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Account {
    /// The name without domain or realm: `sAMAccountName`, or the principal's components joined by `/`.
    pub name: String,
    /// The NetBIOS domain (`CORP`) if known, else the realm or the local machine's name.
    pub domain: String,
    /// The Kerberos realm or DNS domain, where there is one.
    pub realm: Option<String>,
    /// The user principal name, where it is known.
    pub upn: Option<String>,
    /// The display name, where it is known.
    pub display_name: Option<String>,
    /// The account's SID, where it is known.
    pub sid: Option<Sid>,
}

/// A group that has a name and no SID: one of an LDAP directory that is not Active Directory.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct NamedGroup {
    /// Its distinguished name, in the one spelling in which the directory's implementation compares names.
    pub dn: String,
    /// What it is called in the directory (`staff` of `LDAP\\staff`), where that names it and no other group.
    pub name: Option<String>,
}

/// Somebody who proved who they are. Cheap to share behind an `Arc`; nothing in it is secret.
#[derive(Debug)]
pub struct Identity {
    account: Account,
    groups: Box<[Sid]>,
    named_groups: Option<Box<[NamedGroup]>>,
    mechanism: Mechanism,
}

impl Identity {
    /// From a Kerberos ticket, after all its checks.
    pub(crate) fn from_kerberos(
        account: Account,
        groups: Vec<Sid>,
        _: NotReplayed,
        _: BindingChecked,
        _: PacVerified,
    ) -> Self {
        Self { account, groups: groups.into_boxed_slice(), named_groups: None, mechanism: Mechanism::Kerberos }
    }

    /// From an NTLM handshake, after all its checks.
    pub(crate) fn from_ntlm(
        account: Account,
        groups: Vec<Sid>,
        named_groups: Option<Vec<NamedGroup>>,
        _: LogonVerified,
        _: MicVerified,
        _: BindingChecked,
    ) -> Self {
        let named_groups = named_groups.map(Vec::into_boxed_slice);
        Self { account, groups: groups.into_boxed_slice(), named_groups, mechanism: Mechanism::Ntlm }
    }

    /// From a password that the authority accepted.
    #[must_use]
    pub fn from_password(logon: crate::ports::PasswordVerified) -> Self {
        let (account, groups, named_groups) = logon.into_parts();
        let named_groups = named_groups.map(Vec::into_boxed_slice);
        Self { account, groups: groups.into_boxed_slice(), named_groups, mechanism: Mechanism::Basic }
    }

    /// From a session that began with a proof, and whose seal was opened. Its mechanism is that of the proof.
    #[must_use]
    pub fn from_session(session: crate::ports::SessionVerified) -> Self {
        let (account, groups, named_groups, mechanism) = session.into_parts();
        let named_groups = named_groups.map(Vec::into_boxed_slice);
        Self { account, groups: groups.into_boxed_slice(), named_groups, mechanism }
    }

    /// The account.
    #[must_use]
    pub const fn account(&self) -> &Account {
        &self.account
    }

    /// The SIDs of the groups the account is a member of, nested ones included, as the authority gave them.
    #[must_use]
    pub fn groups(&self) -> &[Sid] {
        &self.groups
    }

    /// The groups of the account that have names, nested ones included: all of them, as a directory gave them. `None` if
    /// the authority knows groups by their SIDs alone, as a domain does.
    #[must_use]
    pub fn named_groups(&self) -> Option<&[NamedGroup]> {
        self.named_groups.as_deref()
    }

    /// How it was proved.
    #[must_use]
    pub const fn mechanism(&self) -> Mechanism {
        self.mechanism
    }
}

impl fmt::Display for Identity {
    /// `DOMAIN\name`, as IIS logs it; safe to print.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Account { domain, name, .. } = &self.account;
        write!(f, "{}\\{}", iwa_wire::explain::printable(domain), iwa_wire::explain::printable(name))
    }
}
