//! Keytab files: read, and replaced whole. MIT keytab file format 0x0502.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use iwa_auth::UnixTime;
use iwa_auth::krb5::etype::Key;
use iwa_domain::local::KeySet;
use iwa_wire::keytab::{Entry, Keytab};
use iwa_wire::krb5::Principal;
use zeroize::Zeroizing;

use crate::user::Failure;

/// Puts the keys of `principal` into the keytab at `path`, in the place of those it has there; other principals keep theirs.
/// Makes the file, for its owner alone, if there is none.
///
/// The file is replaced whole: a server that reads it finds the old keys or the new ones.
pub(crate) fn put(path: &Path, principal: &Principal, keys: &[KeySet], now: UnixTime) -> Result<(), String> {
    put_keys(path, principal, keys.iter().flat_map(|set| set.keys.iter().map(|key| (set.kvno, key))), now)
}

/// As [`put`], of keys with their versions.
pub(super) fn put_keys<'a>(
    path: &Path,
    principal: &Principal,
    keys: impl IntoIterator<Item = (u32, &'a Key)>,
    now: UnixTime,
) -> Result<(), String> {
    let cannot = |what: &str, error: io::Error| format!("{}: {what}: {error}", path.display());
    let old = match fs::read(path) {
        Ok(bytes) => Zeroizing::new(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Zeroizing::new(Vec::new()),
        Err(error) => return Err(cannot("it cannot be read", error)),
    };
    let mut new = Zeroizing::new(Vec::with_capacity(old.len() + 4096));
    Keytab::write_head(&mut new);
    if !old.is_empty() {
        let keytab = Keytab::parse(&old).map_err(|error| format!("{} is no keytab: {error}", path.display()))?;
        for entry in keytab.entries().filter(|entry| entry.principal != principal.into()) {
            entry.write(&mut new);
        }
    }
    for (kvno, key) in keys {
        let entry = Entry {
            principal: principal.into(),
            timestamp: u32::try_from(now.secs()).unwrap_or(u32::MAX),
            kvno,
            etype: key.etype().number(),
            key: key.expose(),
        };
        entry.write(&mut new);
    }
    replace(path, &new).map_err(|error| cannot("it cannot be written", error))
}

/// The bytes of a keytab.
pub(super) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let cannot = |error: io::Error| Failure(format!("{}: it cannot be read: {error}", path.display()));
    if fs::metadata(path).map_err(cannot)?.len() > SIZE_LIMIT {
        return Err(Failure(format!("{}: longer than 16 MiB: no keytab", path.display())));
    }
    fs::read(path).map(Zeroizing::new).map_err(cannot)
}

/// The keytab in these bytes.
pub(super) fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<Keytab<'a>, Failure> {
    Keytab::parse(bytes).map_err(|error| Failure(format!("{} is no keytab: {error}", path.display())))
}

/// The mode of a file that others may read.
pub(super) fn open_to_others(path: &Path) -> Option<u32> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(path).ok()?.permissions().mode() & 0o7777;
        Some(mode).filter(|mode| mode & 0o007 != 0)
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}

/// The most that is read.
const SIZE_LIMIT: u64 = 16 << 20;

/// Writes a file beside `path` and puts it in its place.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let beside = path.with_file_name(name);
    let written = (|| {
        let mut file = private(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        // Whoever the old file belongs to (a group that the server runs as) goes on being able to read it.
        if let Ok(old) = fs::metadata(path) {
            fs::set_permissions(&beside, old.permissions())?;
        }
        fs::rename(&beside, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use iwa_auth::krb5::etype::{Etype, Key};

    use super::*;

    fn set(kvno: u32, fill: u8) -> KeySet {
        let key = |etype: Etype| Key::new(etype, &vec![fill; etype.key_size()]).unwrap();
        KeySet { kvno, salt: String::new(), keys: vec![key(Etype::Aes256CtsHmacSha1), key(Etype::Aes128CtsHmacSha256)] }
    }

    fn entries(path: &Path) -> Vec<(String, u32, i32)> {
        let bytes = fs::read(path).unwrap();
        let keytab = Keytab::parse(&bytes).unwrap();
        keytab.entries().map(|entry| (entry.principal.to_string(), entry.kvno, entry.etype)).collect()
    }

    #[test]
    fn a_service_is_put_beside_others_and_in_its_own_place() {
        let dir = std::env::temp_dir().join(format!("iwa-keytab-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("http.keytab");
        let (web, other) =
            (Principal::service("HTTP", "web", "EXAMPLE.TEST"), Principal::service("HTTP", "other", "EXAMPLE.TEST"));
        let now = UnixTime::from_secs(1_760_000_000);
        put(&path, &web, &[set(1, 1)], now).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        put(&path, &other, &[set(4, 2)], now).unwrap();
        put(&path, &web, &[set(300, 3), set(1, 1)], now).unwrap();
        let (web, other) = (web.to_string(), other.to_string());
        let wanted = [(&other, 4, 18), (&other, 4, 19), (&web, 300, 18), (&web, 300, 19), (&web, 1, 18), (&web, 1, 19)];
        let found = entries(&path);
        assert_eq!(found.iter().map(|(name, kvno, etype)| (name, *kvno, *etype)).collect::<Vec<_>>(), wanted);
        // What is no keytab is not overwritten.
        fs::write(&path, "precious").unwrap();
        assert!(put(&path, &Principal::service("HTTP", "web", "X"), &[], now).unwrap_err().contains("is no keytab"));
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "nothing is left beside it");
        fs::remove_dir_all(&dir).unwrap();
    }
}
