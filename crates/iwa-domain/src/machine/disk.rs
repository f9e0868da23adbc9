//! Files that are for their owner alone and are replaced whole: what a crash leaves is the old file or the new one. POSIX
//! `rename`, `fsync`.

use std::any::Any;
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::time::SystemTime;

use zeroize::Zeroizing;

/// What the state directory needs of a file system: one method a step between two of which a process can be killed.
pub(super) trait Disk: Send + Sync + fmt::Debug {
    /// Reads a file, which must be its owner's alone.
    fn read(&self, path: &Path) -> io::Result<Zeroizing<Vec<u8>>>;
    /// Makes a file that is not there, for its owner alone. Its contents are on the disk when this returns.
    fn create(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Puts a file in the place of another.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file, if it is there.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Puts on the disk which files a directory holds.
    fn sync(&self, dir: &Path) -> io::Result<()>;
    /// Keeps other processes out until what it returns is dropped, or the process ends; [`io::ErrorKind::WouldBlock`] if
    /// another one is in.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send + Sync>>;
    /// What shows whether a file was replaced.
    fn stamp(&self, path: &Path) -> io::Result<Stamp>;
}

/// What a look at a file shows without opening it. A file that is only ever replaced whole shows another one each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) file: (u64, u64),
    pub(super) length: u64,
    pub(super) modified: SystemTime,
}

/// The file system of the machine.
#[derive(Debug)]
pub(super) struct Os;

impl Disk for Os {
    fn read(&self, path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        exposed(&metadata, 0o077)?;
        if metadata.len() > SIZE_LIMIT {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "longer than 1 MiB"));
        }
        // With room to spare: a vector that grows leaves its former self behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(metadata.len() as usize + 1));
        file.take(SIZE_LIMIT + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn create(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path)?;
        give(&file, path)?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn sync(&self, dir: &Path) -> io::Result<()> {
        // Not every platform lets a directory be opened; those that do not order renames themselves.
        if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send + Sync>> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = match options.open(path) {
            // Only what was made here is given away: whoever owns the directory may have put a link to another's file here.
            Ok(new) => give(&new, path).map(|()| new),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => OpenOptions::new().write(true).open(path),
            Err(error) => Err(error),
        }?;
        // The system's lock, which dies with the process: nothing is left to clean up.
        match file.try_lock() {
            Ok(()) => Ok(Box::new(file)),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn stamp(&self, path: &Path) -> io::Result<Stamp> {
        let metadata = fs::metadata(path)?;
        #[cfg(unix)]
        let file = {
            use std::os::unix::fs::MetadataExt as _;
            (metadata.dev(), metadata.ino())
        };
        #[cfg(not(unix))]
        let file = (0, 0);
        Ok(Stamp { file, length: metadata.len(), modified: metadata.modified()? })
    }
}

/// Gives a file that was just made to whoever owns its directory: the server must read what root writes.
fn give(file: &File, path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let (own, dir) = (file.metadata()?, fs::metadata(path.parent().unwrap_or(path))?);
        if own.uid() != dir.uid() {
            std::os::unix::fs::fchown(file, Some(dir.uid()), Some(dir.gid()))?;
        }
    }
    #[cfg(not(unix))]
    let _ = (file, path);
    Ok(())
}

/// Makes a directory for its owner alone, with those above it, and refuses one that others may write to.
pub(super) fn make_dir(dir: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    // From the top, so that each gets the owner of the one above it.
    let missing: Vec<_> =
        dir.ancestors().take_while(|above| !above.as_os_str().is_empty() && !above.exists()).collect();
    for new in missing.into_iter().rev() {
        builder.create(new)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt as _;
            let (own, above) = (fs::symlink_metadata(new)?, fs::metadata(new.parent().unwrap_or(new))?);
            if own.uid() != above.uid() {
                // Not what a link points at, should somebody have put one in its place.
                std::os::unix::fs::lchown(new, Some(above.uid()), Some(above.gid()))?;
            }
        }
    }
    check_dir(dir)
}

/// Refuses a directory in which others may replace files.
pub(super) fn check_dir(dir: &Path) -> io::Result<()> {
    exposed(&fs::metadata(dir)?, 0o022)
}

/// An error that [`mode_of`] knows again, if others have any of these rights.
fn exposed(metadata: &fs::Metadata, forbidden: u32) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = metadata.permissions().mode() & 0o7777;
        if mode & forbidden != 0 {
            return Err(io::Error::other(Exposed(mode)));
        }
    }
    #[cfg(not(unix))]
    let _ = (metadata, forbidden);
    Ok(())
}

/// The mode of a file that others may read, if that is what the error is about.
pub(super) fn mode_of(error: &io::Error) -> Option<u32> {
    error.get_ref()?.downcast_ref::<Exposed>().map(|exposed| exposed.0)
}

#[derive(Debug)]
struct Exposed(u32);

impl fmt::Display for Exposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "its mode is {:04o}: others have rights that they must not have", self.0)
    }
}

impl std::error::Error for Exposed {}

/// The most that is read.
const SIZE_LIMIT: u64 = 1 << 20;
