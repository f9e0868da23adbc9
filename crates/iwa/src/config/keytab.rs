//! What a keytab holds, without its keys: for checking and for telling.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use iwa_auth::krb5::etype::Etype;
use iwa_wire::keytab::Keytab;

/// The principals of a keytab with the version numbers and encryption types of their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeytabSummary {
    /// Principal with realm -> kvno, newest last -> encryption types.
    pub(crate) principals: BTreeMap<String, BTreeMap<u32, Vec<i32>>>,
}

impl KeytabSummary {
    /// Reads a file.
    ///
    /// # Errors
    /// Why it cannot be read, in words.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let bytes = fs::read(path).map_err(|error| {
            let advice = match error.kind() {
                std::io::ErrorKind::PermissionDenied => {
                    "; run as the user that the server runs as, whose file it must be"
                }
                _ => "",
            };
            format!("{} cannot be read: {error}{advice}", path.display())
        })?;
        let bytes = zeroizing(bytes);
        let keytab = Keytab::parse(&bytes).map_err(|error| format!("{} is no keytab: {error}", path.display()))?;
        let mut principals = BTreeMap::<String, BTreeMap<u32, Vec<i32>>>::new();
        for entry in keytab.entries() {
            let keys = principals.entry(entry.principal.to_string()).or_default().entry(entry.kvno).or_default();
            keys.push(entry.etype);
        }
        Ok(Self { principals })
    }

    /// Several files as if they were one.
    pub(super) fn together(files: impl IntoIterator<Item = Self>) -> Self {
        let mut principals = BTreeMap::<String, BTreeMap<u32, Vec<i32>>>::new();
        for (name, keys) in files.into_iter().flat_map(|file| file.principals) {
            let of_name = principals.entry(name).or_default();
            for (kvno, etypes) in keys {
                of_name.entry(kvno).or_default().extend(etypes);
            }
        }
        Self { principals }
    }

    /// Whether there is a principal of this service class.
    pub(super) fn has_service(&self, class: &str) -> bool {
        self.principals
            .keys()
            .any(|name| name.split_once('/').is_some_and(|(found, _)| found.eq_ignore_ascii_case(class)))
    }

    /// Whether there is this principal, named with or without realm.
    pub(super) fn has_principal(&self, wanted: &str) -> bool {
        self.principals.keys().any(|name| {
            let bare = name.rsplit_once('@').map_or(name.as_str(), |(bare, _)| bare);
            name.eq_ignore_ascii_case(wanted) || bare.eq_ignore_ascii_case(wanted)
        })
    }

    /// Whether any key is of an encryption type that is taken.
    pub(super) fn has_usable_key(&self, rc4: bool) -> bool {
        let mut etypes = self.principals.values().flat_map(BTreeMap::values).flatten();
        etypes.any(|&etype| Etype::from_number(etype).is_some_and(|etype| rc4 || etype != Etype::Rc4Hmac))
    }

    /// The principals in one line; of many, the first few.
    pub(crate) fn names(&self) -> String {
        const SHOWN: usize = 5;
        let mut names = self.principals.keys().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
        if self.principals.len() > SHOWN {
            names.push_str(&format!(" and {} more", self.principals.len() - SHOWN));
        }
        names
    }
}

/// The bytes hold keys, which must not stay in memory.
fn zeroizing(bytes: Vec<u8>) -> zeroize::Zeroizing<Vec<u8>> {
    zeroize::Zeroizing::new(bytes)
}
