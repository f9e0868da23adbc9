//! Files that several gateways share: read when they changed, written whole and under a lock.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use zeroize::Zeroizing;

/// What a look at a file shows without opening it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stamp {
    inode: u64,
    length: u64,
    modified: Option<SystemTime>,
}

impl Stamp {
    /// Of a file; `None` if there is none.
    pub(super) fn of(path: &Path) -> Result<Option<Self>, String> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(Some(Self::from(&metadata))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("{}: {error}", path.display())),
        }
    }
}

impl From<&fs::Metadata> for Stamp {
    fn from(metadata: &fs::Metadata) -> Self {
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(metadata);
        #[cfg(not(unix))]
        let inode = 0;
        Self { inode, length: metadata.len(), modified: metadata.modified().ok() }
    }
}

/// What was last taken of a file, and what was last said of it.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) stamp: Option<Stamp>,
    told: Option<String>,
}

impl Seen {
    /// Of what was taken so.
    pub(super) const fn at(stamp: Option<Stamp>) -> Self {
        Self { stamp, told: None }
    }

    /// The same trouble is told once, although it is looked for again and again: it may end without the file being written.
    pub(super) fn once(&mut self, result: Result<(), String>) -> Result<(), String> {
        let told = core::mem::replace(&mut self.told, result.as_ref().err().cloned());
        if told == self.told { Ok(()) } else { result }
    }
}

/// Reads a file that is for its owner alone.
///
/// # Errors
/// It cannot be read, is longer than `most`, or others may read or write it.
pub(super) fn read(path: &Path, most: u64) -> Result<(Zeroizing<String>, Stamp), String> {
    let cannot = |error: io::Error| format!("{}: {error}", path.display());
    let mut file = File::open(path).map_err(cannot)?;
    let metadata = file.metadata().map_err(cannot)?;
    #[cfg(unix)]
    if std::os::unix::fs::MetadataExt::mode(&metadata) & 0o077 != 0 {
        return Err(format!(
            "{}: others than its owner may read or write it; whoever can do that can be anybody: chmod 600",
            path.display()
        ));
    }
    if metadata.len() > most {
        return Err(format!("{}: it is longer than {most} bytes", path.display()));
    }
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(metadata.len()).unwrap_or_default() + 1));
    (&mut file).take(most).read_to_string(&mut text).map_err(cannot)?;
    Ok((text, Stamp::from(&metadata)))
}

/// Replaces a file: whoever reads it finds the old text or the new one. For its owner alone.
pub(super) fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let beside = beside(path, &format!(".new-{}", std::process::id()));
    let _ = fs::remove_file(&beside);
    let written = owners(OpenOptions::new().write(true).create_new(true)).open(&beside).and_then(|mut file| {
        file.write_all(text)?;
        file.sync_all()
    });
    let done = written.and_then(|()| fs::rename(&beside, path));
    if done.is_err() {
        let _ = fs::remove_file(&beside);
    }
    done
}

/// Puts a text behind what a file holds, which must be there.
pub(super) fn append(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).open(path)?;
    file.write_all(text)?;
    file.sync_all()
}

/// Does something while no other writer does: threads of this process and other gateways wait.
pub(super) fn alone<T>(path: &Path, work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    let lock = beside(path, ".lock");
    let cannot = |error: io::Error| format!("{}: {error}", lock.display());
    let file = owners(OpenOptions::new().write(true).create(true).truncate(false)).open(&lock).map_err(cannot)?;
    // It ends when the file is closed, whatever happens.
    file.lock().map_err(cannot)?;
    work()
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

fn owners(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}
