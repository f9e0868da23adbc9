//! The file of the accounts: a redb database that every process opens for as short as it can.
//!
//! redb lets one writer in at a time, or several readers. So a writer opens, commits one transaction and closes; a reader
//! opens only when the file's [`Stamp`] says that something changed. Whoever comes while the file is locked tries again
//! for [`PATIENCE`], and then says so. What a killed writer leaves behind, the next one that opens the file repairs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use redb::{
    Builder, Database, DatabaseError, ReadTransaction, ReadableDatabase as _, ReadableTable as _, TableDefinition,
    WriteTransaction,
};

use super::error::AccountsError;
use super::name::fold;
use super::record::{Group, Machine, Record as _, Rid, Service, User};
use super::snapshot::Snapshot;

/// The format of the tables.
pub(super) const FORMAT: u32 = 1;

/// The file of one state directory.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
}

/// What a look at the file shows without opening it. Two stamps that are equal and settled mean that nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    file: (u64, u64),
    length: u64,
    modified: SystemTime,
    changed: (i64, i64),
}

impl Store {
    /// The store of a state directory, which must be there and be nobody else's.
    pub(super) fn open(dir: &Path) -> Result<Self, AccountsError> {
        let store = Self { path: dir.join(FILE) };
        if !store.path.try_exists().map_err(io_error("look for", &store.path))? {
            return Err(AccountsError::Absent { path: store.path });
        }
        check_mode(dir, 0o022, 0o700)?;
        check_mode(&store.path, 0o077, 0o600)?;
        Ok(store)
    }

    /// Makes the store if it is not there, whole or not at all, and says whether it did.
    pub(super) fn create(dir: &Path, machine: &Machine, krbtgt: &Service) -> Result<(Self, bool), AccountsError> {
        make_dir(dir)?;
        let path = dir.join(FILE);
        if path.try_exists().map_err(io_error("look for", &path))? {
            return Ok((Self::open(dir)?, false));
        }
        // Built beside and linked into place, so that nobody ever sees half of it and nothing that is there is overwritten.
        let unique = getrandom::u64().map_err(|_| AccountsError::Entropy)?;
        let new = Self { path: dir.join(format!("{FILE}.new-{unique:016x}")) };
        new_file(&new.path).map_err(io_error("create", &new.path))?;
        let empty = builder().create(&new.path).map_err(new.failed())?;
        let made = new.transact(empty, |transaction| {
            transaction.open_table(ACCOUNTS).map_err(new.failed())?;
            transaction.open_table(GROUPS).map_err(new.failed())?;
            let mut meta = transaction.open_table(META).map_err(new.failed())?;
            meta.insert(KEY_FORMAT, FORMAT.to_le_bytes().as_slice()).map_err(new.failed())?;
            meta.insert(KEY_MACHINE, machine.to_bytes().as_slice()).map_err(new.failed())?;
            meta.insert(KEY_GENERATION, 1u64.to_le_bytes().as_slice()).map_err(new.failed())?;
            meta.insert(KEY_NEXT_RID, FIRST_RID.to_le_bytes().as_slice()).map_err(new.failed())?;
            let mut services = transaction.open_table(SERVICES).map_err(new.failed())?;
            services.insert(fold(&krbtgt.name).as_str(), krbtgt.to_bytes().as_slice()).map_err(new.failed())?;
            Ok(())
        });
        let linked = made.and_then(|()| match fs::hard_link(&new.path, &path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(io_error("create", &path)(error)),
        });
        let _ = fs::remove_file(&new.path);
        let created = linked?;
        sync_dir(dir);
        Ok((Self::open(dir)?, created))
    }

    /// A look at the file.
    pub(super) fn stamp(&self) -> Result<Stamp, AccountsError> {
        let metadata = match fs::metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(AccountsError::Absent { path: self.path.clone() });
            }
            Err(error) => return Err(io_error("look at", &self.path)(error)),
        };
        #[cfg(unix)]
        let (file, changed) = {
            use std::os::unix::fs::MetadataExt as _;
            ((metadata.dev(), metadata.ino()), (metadata.ctime(), metadata.ctime_nsec()))
        };
        #[cfg(not(unix))]
        let (file, changed) = ((0, 0), (0, 0));
        Ok(Stamp {
            file,
            changed,
            length: metadata.len(),
            modified: metadata.modified().map_err(io_error("look at", &self.path))?,
        })
    }

    /// Reads everything, with the stamp that belongs to it.
    pub(super) fn load(&self) -> Result<(Snapshot, Stamp), AccountsError> {
        damage_is_an_error(|| self.load_unguarded())
    }

    fn load_unguarded(&self) -> Result<(Snapshot, Stamp), AccountsError> {
        self.read(|transaction| {
            let meta = transaction.open_table(META).map_err(self.failed())?;
            let machine = meta.get(KEY_MACHINE).map_err(self.failed())?;
            let machine = Machine::from_bytes(machine.as_ref().ok_or(NO_META)?.value())?;
            let users = transaction.open_table(ACCOUNTS).map_err(self.failed())?;
            let users = users.iter().map_err(self.failed())?.map(|entry| {
                let (_, value) = entry.map_err(self.failed())?;
                User::from_bytes(value.value())
            });
            let users = users.collect::<Result<_, _>>()?;
            let groups = transaction.open_table(GROUPS).map_err(self.failed())?;
            let groups = groups.iter().map_err(self.failed())?.map(|entry| {
                let (_, value) = entry.map_err(self.failed())?;
                Group::from_bytes(value.value())
            });
            let groups = groups.collect::<Result<_, _>>()?;
            let services = transaction.open_table(SERVICES).map_err(self.failed())?;
            let services = services.iter().map_err(self.failed())?.map(|entry| {
                let (_, value) = entry.map_err(self.failed())?;
                Service::from_bytes(value.value())
            });
            let services = services.collect::<Result<_, _>>()?;
            Ok(Snapshot::new(self.generation_in(transaction)?, machine, users, groups, services))
        })
    }

    /// Reads the number of the last change, with the stamp that belongs to it.
    pub(super) fn generation(&self) -> Result<(u64, Stamp), AccountsError> {
        damage_is_an_error(|| self.read(|transaction| self.generation_in(transaction)))
    }

    /// Makes one change, whole or not at all: when this returns, it is on the disk and the file is free again.
    pub(super) fn change<T>(
        &self,
        change: impl FnOnce(&Edit<'_>) -> Result<T, AccountsError>,
    ) -> Result<T, AccountsError> {
        damage_is_an_error(|| {
            let database = self.patiently(|| builder().open(&self.path))?;
            self.transact(database, |transaction| {
                let edit = Edit { store: self, transaction };
                edit.check_format()?;
                let done = change(&edit)?;
                edit.count()?;
                Ok(done)
            })
        })
    }

    fn generation_in(&self, transaction: &ReadTransaction) -> Result<u64, AccountsError> {
        let meta = transaction.open_table(META).map_err(self.failed())?;
        let format = u32_of(meta.get(KEY_FORMAT).map_err(self.failed())?.ok_or(NO_META)?.value())?;
        if format != FORMAT {
            return Err(AccountsError::Newer { found: format });
        }
        u64_of(meta.get(KEY_GENERATION).map_err(self.failed())?.ok_or(NO_META)?.value())
    }

    fn transact<T>(
        &self,
        database: Database,
        work: impl FnOnce(&WriteTransaction) -> Result<T, AccountsError>,
    ) -> Result<T, AccountsError> {
        let transaction = database.begin_write().map_err(self.failed())?;
        let done = work(&transaction)?;
        transaction.commit().map_err(self.failed())?;
        // The change is on the disk; closing tidily only spares the next one a repair.
        if let Err(error) = database.close() {
            tracing::warn!(%error, "the accounts were changed, and their file was not closed tidily");
        }
        Ok(done)
    }

    fn read<T>(
        &self,
        work: impl FnOnce(&ReadTransaction) -> Result<T, AccountsError>,
    ) -> Result<(T, Stamp), AccountsError> {
        let database = self.patiently(|| match builder().open_read_only(&self.path) {
            // A writer was killed: opening for writing repairs, then there is something to read.
            Err(DatabaseError::RepairAborted) => {
                builder().open(&self.path)?.close()?;
                builder().open_read_only(&self.path)
            }
            other => other,
        })?;
        // Under the lock: no writer can move the stamp away from what is read now.
        let stamp = self.stamp()?;
        let transaction = database.begin_read().map_err(self.failed())?;
        Ok((work(&transaction)?, stamp))
    }

    fn patiently<T>(&self, mut open: impl FnMut() -> Result<T, DatabaseError>) -> Result<T, AccountsError> {
        let begun = Instant::now();
        let mut pause = Duration::from_millis(1);
        loop {
            match open() {
                Ok(database) => return Ok(database),
                Err(DatabaseError::DatabaseAlreadyOpen) if begun.elapsed() < PATIENCE => {
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(DatabaseError::DatabaseAlreadyOpen) => return Err(AccountsError::Busy { waited: PATIENCE }),
                Err(DatabaseError::Storage(redb::StorageError::Io(error))) => {
                    return Err(io_error("open", &self.path)(error));
                }
                Err(error) => return Err(self.failed()(error)),
            }
        }
    }

    fn failed<E: Into<redb::Error>>(&self) -> impl Fn(E) -> AccountsError + '_ {
        |error| AccountsError::Database { path: self.path.clone(), error: Box::new(error.into()) }
    }
}

impl Stamp {
    /// Whether a later change would show in the stamp. File systems count time in steps (4 to 10 ms on most, up to 2 s on
    /// some): a stamp as young as a step may stand for two states of the file.
    pub(super) fn settled(&self, now: SystemTime) -> bool {
        let coarse = self.modified.duration_since(SystemTime::UNIX_EPOCH).is_ok_and(|since| since.subsec_nanos() == 0);
        let step = if coarse { Duration::from_secs(3) } else { Duration::from_millis(100) };
        now.duration_since(self.modified).is_ok_and(|age| age > step)
    }
}

/// A transaction in which records are changed.
pub(super) struct Edit<'a> {
    store: &'a Store,
    transaction: &'a WriteTransaction,
}

impl Edit<'_> {
    /// Everything as it stands in this transaction.
    pub(super) fn users(&self) -> Result<Vec<User>, AccountsError> {
        let table = self.transaction.open_table(ACCOUNTS).map_err(self.store.failed())?;
        let entries = table.iter().map_err(self.store.failed())?;
        entries.map(|entry| User::from_bytes(entry.map_err(self.store.failed())?.1.value())).collect()
    }

    pub(super) fn groups(&self) -> Result<Vec<Group>, AccountsError> {
        let table = self.transaction.open_table(GROUPS).map_err(self.store.failed())?;
        let entries = table.iter().map_err(self.store.failed())?;
        entries.map(|entry| Group::from_bytes(entry.map_err(self.store.failed())?.1.value())).collect()
    }

    pub(super) fn service(&self, name: &str) -> Result<Option<Service>, AccountsError> {
        let table = self.transaction.open_table(SERVICES).map_err(self.store.failed())?;
        let found = table.get(fold(name).as_str()).map_err(self.store.failed())?;
        found.map(|found| Service::from_bytes(found.value())).transpose()
    }

    pub(super) fn put_user(&self, user: &User) -> Result<(), AccountsError> {
        let mut table = self.transaction.open_table(ACCOUNTS).map_err(self.store.failed())?;
        table.insert(user.rid, user.to_bytes().as_slice()).map_err(self.store.failed())?;
        Ok(())
    }

    pub(super) fn put_group(&self, group: &Group) -> Result<(), AccountsError> {
        let mut table = self.transaction.open_table(GROUPS).map_err(self.store.failed())?;
        table.insert(group.rid, group.to_bytes().as_slice()).map_err(self.store.failed())?;
        Ok(())
    }

    pub(super) fn put_service(&self, service: &Service) -> Result<(), AccountsError> {
        let mut table = self.transaction.open_table(SERVICES).map_err(self.store.failed())?;
        table.insert(fold(&service.name).as_str(), service.to_bytes().as_slice()).map_err(self.store.failed())?;
        Ok(())
    }

    pub(super) fn remove_user(&self, rid: Rid) -> Result<(), AccountsError> {
        let mut table = self.transaction.open_table(ACCOUNTS).map_err(self.store.failed())?;
        table.remove(rid).map_err(self.store.failed())?;
        Ok(())
    }

    pub(super) fn remove_group(&self, rid: Rid) -> Result<(), AccountsError> {
        let mut table = self.transaction.open_table(GROUPS).map_err(self.store.failed())?;
        table.remove(rid).map_err(self.store.failed())?;
        Ok(())
    }

    pub(super) fn remove_service(&self, name: &str) -> Result<(), AccountsError> {
        let mut table = self.transaction.open_table(SERVICES).map_err(self.store.failed())?;
        table.remove(fold(name).as_str()).map_err(self.store.failed())?;
        Ok(())
    }

    /// A relative identifier that was never used.
    pub(super) fn next_rid(&self) -> Result<Rid, AccountsError> {
        let mut meta = self.transaction.open_table(META).map_err(self.store.failed())?;
        let rid = u32_of(meta.get(KEY_NEXT_RID).map_err(self.store.failed())?.ok_or(NO_META)?.value())?;
        if rid >= LAST_RID {
            return Err(AccountsError::Full);
        }
        meta.insert(KEY_NEXT_RID, (rid + 1).to_le_bytes().as_slice()).map_err(self.store.failed())?;
        Ok(rid)
    }

    fn check_format(&self) -> Result<(), AccountsError> {
        let meta = self.transaction.open_table(META).map_err(self.store.failed())?;
        let format = u32_of(meta.get(KEY_FORMAT).map_err(self.store.failed())?.ok_or(NO_META)?.value())?;
        if format == FORMAT { Ok(()) } else { Err(AccountsError::Newer { found: format }) }
    }

    fn count(&self) -> Result<(), AccountsError> {
        let mut meta = self.transaction.open_table(META).map_err(self.store.failed())?;
        let generation = u64_of(meta.get(KEY_GENERATION).map_err(self.store.failed())?.ok_or(NO_META)?.value())?;
        meta.insert(KEY_GENERATION, generation.wrapping_add(1).to_le_bytes().as_slice())
            .map_err(self.store.failed())?;
        Ok(())
    }
}

/// Makes the directory, for this user alone.
fn make_dir(dir: &Path) -> Result<(), AccountsError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(io_error("create", dir))?;
    check_mode(dir, 0o022, 0o700)
}

/// Makes a file, for this user alone, which must not be there.
pub(super) fn new_file(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    belong_to_the_directory(&file, path);
    Ok(file)
}

/// What root makes in a directory of the server's user is that user's: otherwise `iwa user` run by root would lock the
/// server out of its own accounts. Anybody else cannot give files away, and need not.
fn belong_to_the_directory(file: &fs::File, path: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let (Some(dir), Ok(own)) = (path.parent(), file.metadata()) else { return };
        let Ok(dir) = fs::metadata(dir) else { return };
        if own.uid() != dir.uid() {
            let _ = std::os::unix::fs::fchown(file, Some(dir.uid()), Some(dir.gid()));
        }
    }
    #[cfg(not(unix))]
    let _ = (file, path);
}

/// Refuses what others may read or change: `forbidden` are the bits that must not be set.
pub(super) fn check_mode(path: &Path, forbidden: u32, wanted: u32) -> Result<(), AccountsError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let metadata = fs::metadata(path).map_err(io_error("look at", path))?;
        let mode = metadata.permissions().mode() & 0o7777;
        // A sticky directory (/tmp) lets nobody rename what is another's. Of a file the bit says nothing.
        let sticky = metadata.is_dir() && mode & 0o1000 != 0;
        if mode & forbidden != 0 && !sticky {
            return Err(AccountsError::Exposed { path: path.to_owned(), mode, wanted });
        }
    }
    #[cfg(not(unix))]
    let _ = (path, forbidden, wanted);
    Ok(())
}

pub(super) fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> AccountsError {
    let path = path.to_owned();
    move |error| AccountsError::Io { doing, path, error }
}

/// The link itself must survive a power failure; not every platform lets a directory be synced.
fn sync_dir(dir: &Path) {
    if let Ok(dir) = fs::File::open(dir) {
        let _ = dir.sync_all();
    }
}

/// redb trusts a file that was closed tidily, and panics on one that something else has changed since.
fn damage_is_an_error<T>(work: impl FnOnce() -> Result<T, AccountsError>) -> Result<T, AccountsError> {
    // Nothing outlives the panic: the database is opened and closed inside.
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work))
        .unwrap_or(Err(AccountsError::Damaged { what: "the database file" }))
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE);
    builder
}

fn u32_of(bytes: &[u8]) -> Result<u32, AccountsError> {
    bytes.try_into().map(u32::from_le_bytes).map_err(|_| NO_META)
}

fn u64_of(bytes: &[u8]) -> Result<u64, AccountsError> {
    bytes.try_into().map(u64::from_le_bytes).map_err(|_| NO_META)
}

const FILE: &str = "accounts.redb";
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const ACCOUNTS: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("accounts");
const GROUPS: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("groups");
const SERVICES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("services");
const KEY_FORMAT: &str = "format";
const KEY_GENERATION: &str = "generation";
const KEY_MACHINE: &str = "machine";
const KEY_NEXT_RID: &str = "next-rid";
const NO_META: AccountsError = AccountsError::Damaged { what: "the description of the store" };

/// Windows' first RID for accounts that people make.
pub(super) const FIRST_RID: Rid = 1000;
/// A million accounts and groups; bounds the file of failures.
const LAST_RID: Rid = FIRST_RID + 1_000_000;

/// How long a process waits for another one that has the file open.
const PATIENCE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(16);
/// The whole file is small, and read once.
const CACHE: usize = 4 << 20;
