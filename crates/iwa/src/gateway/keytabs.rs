//! The files with the service's keys: read at the start, and again each by itself when it changes.

use std::io;
use std::path::{Path, PathBuf};

use iwa_auth::Secret;
use iwa_auth::krb5::keys::Keys;
use iwa_wire::keytab::Keytab;

use super::assemble::Problem;

/// All keytabs of a site, as they were read last.
#[derive(Debug, Default)]
pub(crate) struct Keytabs(Vec<File>);

/// One file. Its bytes stay, so that another file's change does not depend on this one being readable then.
#[derive(Debug)]
struct File {
    stamp: Stamp,
    bytes: Secret<Vec<u8>>,
}

impl Keytabs {
    /// Reads them.
    ///
    /// # Errors
    /// One of them cannot be read or is no keytab.
    pub(crate) fn read(paths: &[PathBuf]) -> Result<Self, Problem> {
        let file = |path: &PathBuf| {
            let stamp = Stamp::of(path)
                .map_err(|error| Problem(format!("the keytab {} cannot be read: {error}", path.display())))?;
            let bytes = content(&stamp)?;
            Ok(File { stamp, bytes })
        };
        Ok(Self(paths.iter().map(file).collect::<Result<_, Problem>>()?))
    }

    /// Reads again what changed. Returns the files that have new content, and what is wrong with those that could not be
    /// taken; of those the old content stays, and they are not told of again before they change again.
    pub(crate) fn renew(&mut self) -> (Vec<PathBuf>, Vec<Problem>) {
        let (mut renewed, mut problems) = (Vec::new(), Vec::new());
        for file in &mut self.0 {
            let Some(changed) = file.stamp.changed() else { continue };
            match content(&changed) {
                Ok(bytes) => {
                    file.bytes = bytes;
                    renewed.push(changed.path.clone());
                }
                Err(problem) => problems.push(problem),
            }
            // Remembered in both cases.
            file.stamp = changed;
        }
        (renewed, problems)
    }

    /// The realms of their principals, each once.
    pub(crate) fn realms(&self) -> Vec<String> {
        let parsed = self.0.iter().filter_map(|file| Keytab::parse(file.bytes.expose()).ok());
        let realms =
            parsed.flat_map(|keytab| keytab.entries().map(|entry| entry.principal.to_string()).collect::<Vec<_>>());
        let realms = realms.filter_map(|name| name.rsplit_once('@').map(|(_, realm)| realm.to_owned()));
        realms.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
    }

    /// The machine accounts that have keys in them, `WEB$`, with their realms.
    pub(crate) fn machines(&self) -> Vec<(String, String)> {
        let parsed = self.0.iter().filter_map(|file| Keytab::parse(file.bytes.expose()).ok());
        let names =
            parsed.flat_map(|keytab| keytab.entries().map(|entry| entry.principal.to_string()).collect::<Vec<_>>());
        let accounts = names.filter_map(|name| {
            let (account, realm) = name.rsplit_once('@')?;
            (account.ends_with('$') && !account.contains('/')).then(|| (account.to_owned(), realm.to_owned()))
        });
        accounts.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
    }

    /// The keys of all of them, prepared.
    ///
    /// # Errors
    /// There is none of an encryption type that is known.
    pub(crate) fn keys(&self) -> Result<Keys, Problem> {
        // Each was parsed when it was read.
        let parsed = self.0.iter().filter_map(|file| Keytab::parse(file.bytes.expose()).ok());
        let keys = Keys::of_keytabs(parsed);
        if keys.is_empty() {
            let paths: Vec<_> = self.0.iter().map(|file| file.stamp.path.display().to_string()).collect();
            let paths = paths.join(", ");
            return Err(Problem(format!("the keytab {paths} has no key of an encryption type that is known")));
        }
        Ok(keys)
    }
}

/// Tells one content of a file from another without reading it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Stamp {
    path: PathBuf,
    modified: Option<std::time::SystemTime>,
    length: u64,
    inode: u64,
}

impl Stamp {
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let metadata = std::fs::metadata(path)?;
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
        #[cfg(not(unix))]
        let inode = 0;
        Ok(Self { path: path.to_owned(), modified: metadata.modified().ok(), length: metadata.len(), inode })
    }

    /// The stamp of now, if the file is another one. A file that cannot be seen is not: somebody may be replacing it.
    pub(super) fn changed(&self) -> Option<Self> {
        Self::of(&self.path).ok().filter(|now| now != self)
    }
}

/// The bytes of a file, which are a keytab's. The stamp is older than they are or as old, so that a change in between is seen
/// at the next look.
fn content(stamp: &Stamp) -> Result<Secret<Vec<u8>>, Problem> {
    let path = stamp.path.display();
    if stamp.length > LARGEST_KEYTAB {
        return Err(Problem(format!("{path} is no keytab: it has {} bytes", stamp.length)));
    }
    let bytes = std::fs::read(&stamp.path)
        .map_err(|error| Problem(format!("the keytab {path} cannot be read: {error}")))
        .map(Secret::new)?;
    Keytab::parse(bytes.expose()).map_err(|error| Problem(format!("the keytab {path}: {error}")))?;
    Ok(bytes)
}

/// A keytab has some hundred bytes a key.
const LARGEST_KEYTAB: u64 = 16 << 20;
