//! A real directory as a join sees it. RFC 4511; MS-ADTS 3.1.1.3.1.9 (Windows' error at the beginning of the text).

use iwa_auth::ports::Answer;
use iwa_wire::ldap::{Filter, Scope};

use super::tree::{Entry, Put, Tree, TreeError, Values};
use crate::ldap::{Change, Directory, LdapError, Search, Why};

impl Tree for Directory {
    fn search<'a>(
        &'a self,
        base: &'a str,
        scope: Scope,
        filter: &'a Filter,
        attributes: &'a [&'a str],
    ) -> Answer<'a, Result<Vec<Entry>, TreeError>> {
        Box::pin(async move {
            let search = Search { scope, ..Search::below(base, filter.clone(), attributes) };
            let found = Directory::search(self, &search).await?;
            let entry = |entry: crate::ldap::Entry| Entry {
                attributes: attributes.iter().map(|name| (String::from(*name), entry.values(name).to_vec())).collect(),
                dn: entry.dn,
            };
            Ok(found.entries.into_iter().map(entry).collect())
        })
    }

    fn add<'a>(&'a self, dn: &'a str, attributes: &'a [Values]) -> Answer<'a, Result<(), TreeError>> {
        Box::pin(async move {
            let attributes: Vec<_> = attributes.iter().map(|values| (values.name, plain(values))).collect();
            Ok(Directory::add(self, dn, &attributes).await?)
        })
    }

    fn modify<'a>(&'a self, dn: &'a str, changes: &'a [(Put, Values)]) -> Answer<'a, Result<(), TreeError>> {
        Box::pin(async move {
            let change = |(how, values): &(Put, Values)| match how {
                Put::InPlace => Change::replace(values.name, plain(values)),
                Put::Besides => Change::add(values.name, plain(values)),
            };
            let changes: Vec<_> = changes.iter().map(change).collect();
            Ok(Directory::modify(self, dn, &changes).await?)
        })
    }

    fn delete<'a>(&'a self, dn: &'a str) -> Answer<'a, Result<(), TreeError>> {
        Box::pin(async move { Ok(Directory::delete(self, dn).await?) })
    }
}

impl From<LdapError> for TreeError {
    fn from(error: LdapError) -> Self {
        match &error.why {
            Why::Result(answered) => {
                Self::Refused { code: answered.code, win32: win32(&answered.message), text: answered.message.clone() }
            }
            _ => Self::Broken(error.to_string()),
        }
    }
}

fn plain(values: &Values) -> Vec<Vec<u8>> {
    values.values.iter().map(|value| value.to_vec()).collect()
}

/// `00002071: UpdErr: DSID-0305038D, problem 6005 (ENTRY_EXISTS), data 0`.
fn win32(text: &str) -> Option<u32> {
    let digits = text.get(..8).filter(|_| text.as_bytes().get(8) == Some(&b':'))?;
    u32::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::win32;

    #[test]
    fn the_windows_error_is_read_from_the_text() {
        assert_eq!(win32("0000216D: SvcErr: DSID-031A1254, problem 5003"), Some(0x216d));
        for other in ["", "no", "00002071", "0000207g: x", "error: 00002071: x"] {
            assert_eq!(win32(other), None, "{other}");
        }
    }
}
