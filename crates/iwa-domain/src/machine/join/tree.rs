//! The directory as a join sees it: an LDAP session with the rights of somebody. RFC 4511.

use std::fmt;

use iwa_auth::ports::Answer;
use iwa_wire::ldap::{Filter, ResultCode, Scope};

/// A session with a domain controller's directory, signed and sealed, as the administrator who joins.
pub trait Tree: Send + Sync {
    /// Searches; continues over pages and follows no referral.
    fn search<'a>(
        &'a self,
        base: &'a str,
        scope: Scope,
        filter: &'a Filter,
        attributes: &'a [&'a str],
    ) -> Answer<'a, Result<Vec<Entry>, TreeError>>;

    /// Makes an entry.
    fn add<'a>(&'a self, dn: &'a str, attributes: &'a [Values]) -> Answer<'a, Result<(), TreeError>>;

    /// Changes an entry: each attribute gets these values in the place of what it had, or besides them.
    fn modify<'a>(&'a self, dn: &'a str, changes: &'a [(Put, Values)]) -> Answer<'a, Result<(), TreeError>>;

    /// Removes an entry.
    fn delete<'a>(&'a self, dn: &'a str) -> Answer<'a, Result<(), TreeError>>;
}

/// How values come into an attribute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Put {
    /// In the place of what is there.
    InPlace,
    /// Besides.
    Besides,
}

/// An attribute and its values. Values may be secret, and are not printed.
#[derive(Clone)]
pub struct Values {
    /// The attribute.
    pub name: &'static str,
    /// Its values.
    pub values: Vec<zeroize::Zeroizing<Vec<u8>>>,
}

impl Values {
    /// One or several texts.
    pub fn texts<T: AsRef<str>>(name: &'static str, values: impl IntoIterator<Item = T>) -> Self {
        let values = values.into_iter().map(|value| value.as_ref().as_bytes().to_vec().into());
        Self { name, values: values.collect() }
    }
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} values", self.name, self.values.len())
    }
}

/// An entry that was found.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// Its distinguished name.
    pub dn: String,
    /// Its attributes with their values.
    pub attributes: Vec<(String, Vec<Vec<u8>>)>,
}

impl Entry {
    /// The values of an attribute, whatever its name's case.
    pub fn values<'e>(&'e self, name: &str) -> impl Iterator<Item = &'e [u8]> + use<'e> {
        let found = self.attributes.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.into_iter().flat_map(|(_, values)| values.iter().map(Vec::as_slice))
    }

    /// The values that are texts.
    pub fn texts<'e>(&'e self, name: &str) -> impl Iterator<Item = &'e str> + use<'e> {
        self.values(name).filter_map(|value| std::str::from_utf8(value).ok())
    }

    /// The first value that is a text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.texts(name).next()
    }
}

/// Why the directory did not do it.
#[derive(Clone, Debug)]
pub enum TreeError {
    /// It refused.
    Refused {
        /// `resultCode`.
        code: ResultCode,
        /// The Windows error at the beginning of Active Directory's text: 0x2071 and the like.
        win32: Option<u32>,
        /// Its text.
        text: String,
    },
    /// It did not answer, or not sensibly.
    Broken(String),
}

impl fmt::Display for TreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { code, text, .. } => {
                write!(f, "{}: {}", code.meaning(), iwa_wire::explain::printable(text.trim_end_matches('\0').trim()))
            }
            Self::Broken(why) => f.write_str(why),
        }
    }
}
