//! What the KDC asks of whoever holds the accounts.

use super::pac::PacAccount;
use crate::env::UnixTime;
use crate::krb5::etype::{Etype, Key};

/// Whoever holds the accounts and services of a realm.
pub trait PrincipalDb {
    /// The account that a client claims to be. Names of accounts are the same in any case.
    ///
    /// # Errors
    /// The accounts cannot be read.
    fn client(&self, name: ClientName<'_>) -> Result<Option<Client>, DbUnavailable>;

    /// The service of this name, its components joined by `/`. `krbtgt/REALM` is one.
    ///
    /// # Errors
    /// The accounts cannot be read.
    fn server(&self, name: &str) -> Result<Option<Server>, DbUnavailable>;

    /// Asked before a proof is looked at: only what holds whatever the proof (a lock-out).
    ///
    /// # Errors
    /// Why the account may not even try.
    fn before_proof(&self, client: &Client, now: UnixTime) -> Result<(), Refusal>;

    /// Ends an attempt to prove a password: counts it, and says whether the account may in.
    ///
    /// # Errors
    /// [`Refusal::WrongPassword`] if it is not `right`; else what keeps the account out.
    fn after_proof(&self, client: &Client, right: bool, now: UnixTime) -> Result<(), Refusal>;

    /// Whether an account that holds a TGT may have more tickets.
    ///
    /// # Errors
    /// Why not.
    fn still_good(&self, client: &Client, now: UnixTime) -> Result<(), Refusal>;
}

/// How a client names itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientName<'a> {
    /// An account name (`NT-PRINCIPAL`).
    Account(&'a str),
    /// A user principal name (`NT-ENTERPRISE`).
    Enterprise(&'a str),
}

/// An account as the KDC needs it.
#[derive(Clone, Debug)]
pub struct Client {
    /// What its PAC says. `account.name` is the canonical name.
    pub account: PacAccount,
    /// The keys of its present password.
    pub keys: KeySet,
    /// Whether its TGT may be forwarded and its service tickets be used through a proxy; `NOT_DELEGATED` of Windows is the
    /// opposite.
    pub delegable: bool,
}

/// A service as the KDC needs it.
#[derive(Clone, Debug)]
pub struct Server {
    /// Its name, components joined by `/`.
    pub name: String,
    /// Its keys, the present ones first.
    pub keys: Vec<KeySet>,
}

/// The keys of one version.
#[derive(Clone, Debug)]
pub struct KeySet {
    /// The key version number.
    pub kvno: u32,
    /// The salt of keys that come of a password.
    pub salt: String,
    /// One key an encryption type; tickets are made with the first.
    pub keys: Vec<Key>,
}

impl KeySet {
    /// The key of an encryption type.
    #[must_use]
    pub fn key(&self, etype: Etype) -> Option<&Key> {
        self.keys.iter().find(|key| key.etype() == etype)
    }
}

/// The accounts cannot be read: nobody gets a ticket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DbUnavailable;

/// Why an account gets no ticket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The proof is wrong.
    WrongPassword,
    /// The account is disabled, locked out or expired.
    Revoked,
    /// The password has expired or must be changed.
    PasswordExpired,
    /// It cannot be told.
    Unavailable,
}

impl From<DbUnavailable> for Refusal {
    fn from(_: DbUnavailable) -> Self {
        Self::Unavailable
    }
}
