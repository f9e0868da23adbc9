//! Where a Kerberos client's credentials come from: a credential cache (`FILE:`, `DIR:`), a keytab. MIT's ccache and keytab
//! formats; names as in krb5.conf(5) and `KRB5CCNAME`.

use std::fmt;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use iwa_auth::krb5::client::{Client, Credential, LongTerm};
use iwa_auth::krb5::etype::{Etype, Key};
use iwa_wire::ParseError;
use iwa_wire::ccache::Ccache;
use iwa_wire::counted::CountedName;
use iwa_wire::keytab::Keytab;
use iwa_wire::krb5::Principal;
use zeroize::Zeroizing;

use crate::krb5_conf::Krb5Conf;

/// The name of a credential cache.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CacheName {
    /// `FILE:path`, or a path alone.
    File(PathBuf),
    /// `DIR:path`: a folder of caches, whose file `primary` names the one that is meant.
    Dir(PathBuf),
}

/// What is in a credential cache.
#[derive(Clone, Debug)]
pub struct Cached {
    /// Whose tickets these are.
    pub principal: Principal,
    /// The tickets that can be used: configuration entries and etypes that are not implemented are left out.
    pub credentials: Vec<Credential>,
}

/// Why there are no credentials.
#[derive(Debug)]
#[non_exhaustive]
pub enum CredentialsError {
    /// A kind of cache that is not a file.
    Kind {
        /// The name as it is written.
        name: String,
    },
    /// The file cannot be read or written.
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file is not what it should be.
    Malformed {
        /// Which.
        path: PathBuf,
        /// Why.
        error: ParseError,
    },
    /// The keytab has no key that can be used.
    NoKey {
        /// Which keytab.
        path: PathBuf,
        /// Of whom a key is wanted; empty for anybody.
        wanted: String,
        /// Of whom it has keys.
        found: String,
    },
}

impl fmt::Display for CredentialsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind { name } => write!(
                f,
                "the credential cache {name} is not a file: only FILE: and DIR: can be read; set KRB5CCNAME=FILE:/path and run kinit"
            ),
            Self::Io { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Malformed { path, error } => write!(f, "{}: {error}", path.display()),
            Self::NoKey { path, wanted, found } if wanted.is_empty() => {
                write!(f, "{}: no key that can be used; it has keys of {found}", path.display())
            }
            Self::NoKey { path, wanted, found } => {
                write!(f, "{}: no key of {wanted} that can be used; it has keys of {found}", path.display())
            }
        }
    }
}

impl std::error::Error for CredentialsError {}

impl CacheName {
    /// Reads the name of a cache.
    ///
    /// # Errors
    /// [`CredentialsError::Kind`] for a kind that is not a file (`KEYRING:`, `KCM:`, `API:`, `MEMORY:`).
    pub fn parse(name: &str) -> Result<Self, CredentialsError> {
        let kind = name.split_once(':').filter(|(kind, _)| kind.len() > 1 && !kind.contains('/'));
        match kind {
            Some(("FILE", path)) => Ok(Self::File(path.into())),
            // `DIR::path` is one cache of a folder.
            Some(("DIR", path)) => Ok(match path.strip_prefix(':') {
                Some(file) => Self::File(file.into()),
                None => Self::Dir(path.into()),
            }),
            Some(_) => Err(CredentialsError::Kind { name: name.to_owned() }),
            None => Ok(Self::File(name.into())),
        }
    }

    /// The cache that is meant where none is named: `KRB5CCNAME`, else krb5.conf's, else `/tmp/krb5cc_UID`.
    ///
    /// # Errors
    /// As [`CacheName::parse`].
    pub fn default_name(conf: &Krb5Conf) -> Result<Self, CredentialsError> {
        let uid = || fs::metadata("/proc/self").map(|own| own.uid()).unwrap_or(0).to_string();
        match std::env::var("KRB5CCNAME") {
            Ok(name) if !name.is_empty() => Self::parse(&name),
            _ => match conf.default_ccache_name() {
                Some(name) => Self::parse(&name.replace("%{uid}", &uid()).replace("%{euid}", &uid())),
                None => Ok(Self::File(format!("/tmp/krb5cc_{}", uid()).into())),
            },
        }
    }

    /// The file that is meant.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        match self {
            Self::File(path) => path.clone(),
            Self::Dir(folder) => {
                let primary = fs::read_to_string(folder.join("primary")).unwrap_or_default();
                let name = primary.trim();
                // A name, never a way out of the folder.
                let name = if name.starts_with("tkt") && !name.contains('/') { name } else { "tkt" };
                folder.join(name)
            }
        }
    }

    /// Reads the cache.
    ///
    /// # Errors
    /// A file that is not there or not a cache.
    pub fn read(&self) -> Result<Cached, CredentialsError> {
        let path = self.path();
        let bytes = read_secret(&path)?;
        let malformed = |error| CredentialsError::Malformed { path: path.clone(), error };
        let cache = Ccache::parse(&bytes).map_err(malformed)?;
        let offset = cache.time_offset.map_or(0, |(seconds, _)| i64::from(seconds));
        Ok(Cached {
            principal: cache.principal.to_principal().map_err(malformed)?,
            credentials: cache.credentials().filter_map(|entry| Credential::from_ccache(&entry, offset)).collect(),
        })
    }

    /// Writes the cache anew: whole or not at all, readable by its owner alone.
    ///
    /// # Errors
    /// A folder that cannot be written to.
    pub fn write(&self, principal: &Principal, credentials: &[Credential]) -> Result<(), CredentialsError> {
        let path = self.path();
        let failed = |error| CredentialsError::Io { path: path.clone(), error };
        if let Self::Dir(folder) = self {
            fs::DirBuilder::new().recursive(true).create(folder).map_err(failed)?;
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(8192));
        let offset = credentials.iter().map(|credential| credential.clock_offset).find(|offset| *offset != 0);
        let offset = offset.and_then(|offset| i32::try_from(offset).ok()).map(|seconds| (seconds, 0));
        Ccache::write_head(CountedName::from(principal), offset, &mut bytes);
        credentials.iter().for_each(|credential| credential.write_ccache(&mut bytes));
        replace(&path, &bytes).map_err(failed)
    }

    /// A client with the tickets of the cache and no key.
    ///
    /// # Errors
    /// As [`CacheName::read`].
    pub fn client(&self) -> Result<Client, CredentialsError> {
        let Cached { principal, credentials } = self.read()?;
        Ok(Client::new(principal, LongTerm::None).with_credentials(credentials))
    }
}

impl fmt::Display for CacheName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "FILE:{}", path.display()),
            Self::Dir(path) => write!(f, "DIR:{}", path.display()),
        }
    }
}

/// A client with the keys of a keytab: those of `principal`, or of the first entry.
///
/// # Errors
/// A file that is not there or not a keytab; [`CredentialsError::NoKey`].
pub fn client_of_keytab(path: &Path, principal: Option<&Principal>) -> Result<Client, CredentialsError> {
    let bytes = read_secret(path)?;
    let malformed = |error| CredentialsError::Malformed { path: path.to_owned(), error };
    let keytab = Keytab::parse(&bytes).map_err(malformed)?;
    let mut keys = Vec::new();
    let mut owner = principal.cloned();
    let mut found: Vec<String> = Vec::new();
    for entry in keytab.entries() {
        let of = entry.principal.to_principal().map_err(malformed)?;
        let name = of.to_string();
        if !found.contains(&name) && found.len() < 8 {
            found.push(name);
        }
        let key = Etype::from_number(entry.etype).and_then(|etype| Key::new(etype, entry.key));
        let (Some(key), owner) = (key, owner.get_or_insert_with(|| of.clone())) else { continue };
        if *owner == of {
            keys.push((entry.kvno, key));
        }
    }
    match owner {
        Some(owner) if !keys.is_empty() => Ok(Client::new(owner, LongTerm::Keys(keys))),
        owner => {
            let found = if found.is_empty() { "nobody".to_owned() } else { found.join(", ") };
            let wanted = owner.map(|owner| owner.to_string()).unwrap_or_default();
            Err(CredentialsError::NoKey { path: path.to_owned(), wanted, found })
        }
    }
}

/// The most that is read of a cache or keytab.
const SIZE_LIMIT: u64 = 16 << 20;

fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, CredentialsError> {
    let failed = |error| CredentialsError::Io { path: path.to_owned(), error };
    let file = fs::File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    let too_big = || failed(io::Error::new(io::ErrorKind::FileTooLarge, "longer than 16 MiB: not a cache or keytab"));
    if size > SIZE_LIMIT {
        return Err(too_big());
    }
    // With room to spare: a vector that grows leaves its former self behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(size as usize + 1));
    file.take(SIZE_LIMIT + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > SIZE_LIMIT { Err(too_big()) } else { Ok(bytes) }
}

/// Writes beside `path` and renames: a reader sees the old file or the new one, and both are for their owner alone.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut suffix = [0; 8];
    getrandom::fill(&mut suffix).map_err(io::Error::other)?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{:016x}", u64::from_ne_bytes(suffix)));
    let beside = PathBuf::from(beside);
    let written = (|| {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use iwa_wire::krb5::{EncryptedData, KerberosTime, Ticket, TicketFlags};

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("iwa-credentials-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn credential(server: &Principal) -> Credential {
        let mut ticket = Vec::new();
        let enc_part = EncryptedData { etype: 18, kvno: Some(1), cipher: b"cipher" };
        Ticket::new(server.realm(), server.name(), enc_part).write(&mut ticket);
        Credential {
            client: Principal::user("wëb", "CÖRP.EXAMPLE.TEST"),
            server: server.clone(),
            key: Key::new(Etype::Aes256CtsHmacSha1, &[7; 32]).unwrap(),
            flags: TicketFlags::FORWARDABLE,
            authtime: KerberosTime(1_700_000_000),
            starttime: KerberosTime(1_700_000_001),
            endtime: KerberosTime(2_000_000_000),
            renew_till: None,
            ticket,
            clock_offset: 0,
        }
    }

    #[test]
    fn a_cache_is_read_as_it_was_written_and_is_for_its_owner_alone() {
        let folder = folder("cache");
        let tgt = credential(&Principal::krbtgt("CÖRP.EXAMPLE.TEST", "CÖRP.EXAMPLE.TEST"));
        for cache in [CacheName::File(folder.join("cc")), CacheName::Dir(folder.join("dir"))] {
            cache.write(&tgt.client, std::slice::from_ref(&tgt)).unwrap();
            // Over an older one.
            cache.write(&tgt.client, &[tgt.clone(), credential(&Principal::service("HTTP", "a", "B"))]).unwrap();
            let read = cache.read().unwrap();
            assert_eq!(read.principal, tgt.client);
            assert_eq!(read.credentials.len(), 2);
            let [first, ..] = read.credentials.as_slice() else { panic!() };
            assert_eq!((&first.server, &first.ticket, first.endtime), (&tgt.server, &tgt.ticket, tgt.endtime));
            assert_eq!(first.key.expose(), tgt.key.expose());
            let mode = fs::metadata(cache.path()).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(folder.join("dir")).unwrap().count(), 1, "nothing is left beside it");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_primary_cache_of_a_folder_cannot_lead_out_of_it() {
        let folder = folder("primary");
        for (primary, wanted) in
            [("tktabc\n", "tktabc"), ("../../etc/passwd", "tkt"), ("tkt/../../x", "tkt"), ("", "tkt")]
        {
            fs::write(folder.join("primary"), primary).unwrap();
            assert_eq!(CacheName::Dir(folder.clone()).path(), folder.join(wanted));
        }
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn names_of_caches() {
        assert_eq!(CacheName::parse("FILE:/tmp/x").unwrap(), CacheName::File("/tmp/x".into()));
        assert_eq!(CacheName::parse("/tmp/a:b").unwrap(), CacheName::File("/tmp/a:b".into()));
        assert_eq!(CacheName::parse("DIR:/tmp/d").unwrap(), CacheName::Dir("/tmp/d".into()));
        assert_eq!(CacheName::parse("DIR::/tmp/d/tkt1").unwrap(), CacheName::File("/tmp/d/tkt1".into()));
        for other in ["KEYRING:persistent:0", "KCM:0", "MEMORY:x", "API:1"] {
            assert!(matches!(CacheName::parse(other), Err(CredentialsError::Kind { .. })), "{other}");
        }
    }

    #[test]
    fn broken_and_missing_files_are_named() {
        let folder = folder("broken");
        let path = folder.join("cc");
        assert!(matches!(CacheName::File(path.clone()).read(), Err(CredentialsError::Io { .. })));
        fs::write(&path, b"\x05\x04\x00").unwrap();
        assert!(matches!(CacheName::File(path.clone()).read(), Err(CredentialsError::Malformed { .. })));
        assert!(matches!(client_of_keytab(&path, None), Err(CredentialsError::Malformed { .. })));
        fs::write(&path, b"\x05\x02").unwrap();
        assert!(matches!(client_of_keytab(&path, None), Err(CredentialsError::NoKey { .. })));
        fs::remove_dir_all(folder).unwrap();
    }
}
