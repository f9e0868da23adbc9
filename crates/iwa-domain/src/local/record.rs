//! What is kept of a machine, an account, a group and a service, and how it is written down. The fields follow
//! `SAMPR_USER_ALL_INFORMATION` (MS-SAMR 2.2.6.6) as far as a logon needs them.

use iwa_auth::krb5::etype::{Etype, Key};
use iwa_auth::{Secret, UnixTime};
use iwa_wire::{ParseError, Reader, Sid};

use super::error::AccountsError;

/// A relative identifier: the last part of the SID of an account or group.
pub type Rid = u32;

/// The machine whose accounts these are: a domain of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Its NetBIOS name: the domain of its accounts.
    pub name: String,
    /// Its Kerberos realm.
    pub realm: String,
    /// The SID under which its accounts stand: `S-1-5-21-` and 96 random bits.
    pub sid: Sid,
}

impl Machine {
    /// The SID of one of its accounts or groups.
    #[must_use]
    pub fn sid_of(&self, rid: Rid) -> Sid {
        // Invariant: a machine's SID has four sub-authorities, so that there is room for a fifth.
        self.sid.with_rid(rid).unwrap_or(self.sid)
    }
}

/// A user's account.
#[derive(Clone, Debug)]
pub struct User {
    /// Its relative identifier, from 1000; never used again when it is removed.
    pub rid: Rid,
    /// The name as it was given.
    pub name: String,
    /// The display name, or empty.
    pub display_name: String,
    /// The user principal name.
    pub upn: String,
    /// Whether the account is disabled.
    pub disabled: bool,
    /// Whether the password must be changed before it is good for anything.
    pub must_change: bool,
    /// From when on the account is no longer good.
    pub expires: Option<UnixTime>,
    /// When it was made.
    pub created: UnixTime,
    /// When its password was set.
    pub password_set: UnixTime,
    /// The NT hash of the password (MS-NLMP 3.3.2): as good as the password itself.
    pub nt_hash: Secret<[u8; 16]>,
    /// The Kerberos keys made of the password.
    pub keys: KeySet,
    /// The NT hashes of the passwords before, newest first: what still sends one of them is a device that was not told, and
    /// no guesser (MS-SAMR 3.1.1.7.1 calls it password history).
    pub previous: Vec<Secret<[u8; 16]>>,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its relative identifier, of the same row of numbers as the users'.
    pub rid: Rid,
    /// The name as it was given.
    pub name: String,
    /// What it is for, or empty.
    pub comment: String,
    /// Its members, users and groups, in ascending order.
    pub members: Vec<Rid>,
}

/// A service principal that the KDC gives tickets for. `krbtgt/REALM` is one.
#[derive(Clone, Debug)]
pub struct Service {
    /// The name without the realm: `HTTP/web.example.test`.
    pub name: String,
    /// Its keys, newest first: old ones stay for the tickets that were made with them.
    pub keys: Vec<KeySet>,
}

/// The keys that one password, or one run of the random generator, gave.
#[derive(Clone, Debug)]
pub struct KeySet {
    /// The key version number.
    pub kvno: u32,
    /// The salt of [`Key::from_password`], empty for random keys.
    pub salt: String,
    /// One key for each encryption type, the strongest first.
    pub keys: Vec<Key>,
}

/// A record that can be written down and read back.
pub(super) trait Record: Sized {
    /// Its name in errors.
    const NAME: &'static str;
    fn write(&self, out: &mut Vec<u8>);
    fn read(reader: &mut Reader<'_>) -> Result<Self, ParseError>;

    /// The bytes that are stored: a version, then the fields.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        self.write(&mut out);
        out
    }

    /// Reads what [`Record::to_bytes`] wrote, whole.
    fn from_bytes(bytes: &[u8]) -> Result<Self, AccountsError> {
        let damaged = |_| AccountsError::Damaged { what: Self::NAME };
        let mut reader = Reader::new(Self::NAME, bytes);
        if reader.u8().map_err(damaged)? != VERSION {
            return Err(AccountsError::Damaged { what: Self::NAME });
        }
        let record = Self::read(&mut reader).map_err(damaged)?;
        reader.finish().map_err(damaged)?;
        Ok(record)
    }
}

impl Record for Machine {
    const NAME: &'static str = "the machine's record";

    fn write(&self, out: &mut Vec<u8>) {
        put_text(out, &self.name);
        put_text(out, &self.realm);
        self.sid.write(out);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        Ok(Self { name: text(reader)?, realm: text(reader)?, sid: Sid::read(reader)? })
    }
}

impl Record for User {
    const NAME: &'static str = "an account's record";

    fn write(&self, out: &mut Vec<u8>) {
        put_u32(out, self.rid);
        put_text(out, &self.name);
        put_text(out, &self.display_name);
        put_text(out, &self.upn);
        out.push(u8::from(self.disabled) | u8::from(self.must_change) << 1);
        // Zero stands for "never": no account expires in 1970.
        put_time(out, self.expires.unwrap_or_default());
        put_time(out, self.created);
        put_time(out, self.password_set);
        out.extend_from_slice(self.nt_hash.expose());
        self.keys.put(out);
        out.push(self.previous.len() as u8);
        self.previous.iter().for_each(|hash| out.extend_from_slice(hash.expose()));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let rid = reader.u32_le()?;
        let (name, display_name, upn) = (text(reader)?, text(reader)?, text(reader)?);
        let flags = reader.u8()?;
        Ok(Self {
            rid,
            name,
            display_name,
            upn,
            disabled: flags & 1 != 0,
            must_change: flags & 2 != 0,
            expires: Some(time(reader)?).filter(|&expires| expires != UnixTime::default()),
            created: time(reader)?,
            password_set: time(reader)?,
            nt_hash: Secret::new(*reader.array()?),
            keys: KeySet::take(reader)?,
            previous: {
                let count = reader.u8()?;
                (0..count).map(|_| Ok(Secret::new(*reader.array()?))).collect::<Result<_, ParseError>>()?
            },
        })
    }
}

impl Record for Group {
    const NAME: &'static str = "a group's record";

    fn write(&self, out: &mut Vec<u8>) {
        put_u32(out, self.rid);
        put_text(out, &self.name);
        put_text(out, &self.comment);
        put_u32(out, self.members.len() as u32);
        for &member in &self.members {
            put_u32(out, member);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let rid = reader.u32_le()?;
        let (name, comment) = (text(reader)?, text(reader)?);
        // The count is not trusted with an allocation: the bytes must be there.
        let count = reader.u32_le()?;
        let mut members = Vec::new();
        for _ in 0..count {
            members.push(reader.u32_le()?);
        }
        Ok(Self { rid, name, comment, members })
    }
}

impl Record for Service {
    const NAME: &'static str = "a service's record";

    fn write(&self, out: &mut Vec<u8>) {
        put_text(out, &self.name);
        out.push(self.keys.len() as u8);
        self.keys.iter().for_each(|set| set.put(out));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let name = text(reader)?;
        let count = reader.u8()?;
        let keys = (0..count).map(|_| KeySet::take(reader)).collect::<Result<_, _>>()?;
        Ok(Self { name, keys })
    }
}

impl KeySet {
    /// The key of this encryption type.
    #[must_use]
    pub fn key(&self, etype: Etype) -> Option<&Key> {
        self.keys.iter().find(|key| key.etype() == etype)
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_u32(out, self.kvno);
        put_text(out, &self.salt);
        out.push(self.keys.len() as u8);
        for key in &self.keys {
            out.extend_from_slice(&key.etype().number().to_le_bytes());
            out.push(key.expose().len() as u8);
            out.extend_from_slice(key.expose());
        }
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let (kvno, salt) = (reader.u32_le()?, text(reader)?);
        let count = reader.u8()?;
        let keys = (0..count)
            .map(|_| {
                let wrong = reader.error(iwa_wire::ErrorKind::Value { what: "key" });
                let etype = Etype::from_number(i32::from_le_bytes(*reader.array()?)).ok_or(wrong)?;
                let length = usize::from(reader.u8()?);
                Key::new(etype, reader.take(length)?).ok_or(wrong)
            })
            .collect::<Result<_, ParseError>>()?;
        Ok(Self { kvno, salt, keys })
    }
}

fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_time(out: &mut Vec<u8>, time: UnixTime) {
    out.extend_from_slice(&time.micros().to_le_bytes());
}

/// Texts are at most [`MAX_TEXT`](super::name::MAX_TEXT) bytes when they come in, or a salt made of two of them.
fn put_text(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend(bytes.iter().take(usize::from(length)));
}

fn time(reader: &mut Reader<'_>) -> Result<UnixTime, ParseError> {
    reader.u64_le().map(UnixTime::from_micros)
}

fn text(reader: &mut Reader<'_>) -> Result<String, ParseError> {
    let length = usize::from(reader.u16_le()?);
    let start = *reader;
    String::from_utf8(reader.take(length)?.to_vec())
        .map_err(|_| start.error(iwa_wire::ErrorKind::Value { what: "UTF-8 text" }))
}

const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> User {
        User {
            rid: 1000,
            name: "Alice".into(),
            display_name: "Alice Example".into(),
            upn: "alice@example.test".into(),
            disabled: true,
            must_change: false,
            expires: Some(UnixTime::from_secs(2_000_000_000)),
            created: UnixTime::from_secs(1),
            password_set: UnixTime::from_secs(2),
            nt_hash: Secret::new([7; 16]),
            keys: KeySet {
                kvno: 3,
                salt: "EXAMPLE.TESTAlice".into(),
                keys: vec![Key::new(Etype::Aes256CtsHmacSha1, &[1; 32]).unwrap()],
            },
            previous: vec![Secret::new([6; 16])],
        }
    }

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        let bytes = sample().to_bytes();
        let read = User::from_bytes(&bytes).unwrap();
        assert_eq!(read.to_bytes(), bytes);
        assert_eq!((read.name.as_str(), read.disabled, read.keys.kvno), ("Alice", true, 3));
        let group = Group { rid: 1001, name: "Staff".into(), comment: String::new(), members: vec![1000, 1002] };
        assert_eq!(Group::from_bytes(&group.to_bytes()).unwrap(), group);
        let machine =
            Machine { name: "WEB".into(), realm: "EXAMPLE.TEST".into(), sid: "S-1-5-21-1-2-3".parse().unwrap() };
        assert_eq!(Machine::from_bytes(&machine.to_bytes()).unwrap(), machine);
        let service = Service { name: "HTTP/web".into(), keys: vec![sample().keys, sample().keys] };
        assert_eq!(Service::from_bytes(&service.to_bytes()).unwrap().to_bytes(), service.to_bytes());
    }

    #[test]
    fn a_damaged_record_is_refused() {
        let bytes = sample().to_bytes();
        for cut in 0..bytes.len() {
            assert!(User::from_bytes(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(User::from_bytes(&longer).is_err());
        let mut newer = bytes;
        newer[0] = 9;
        assert!(User::from_bytes(&newer).is_err());
        // A count that promises four thousand million members.
        let mut group = Group { rid: 1, name: "g".into(), comment: String::new(), members: vec![] }.to_bytes();
        let at = group.len() - 4;
        group[at..].copy_from_slice(&[0xff; 4]);
        assert!(Group::from_bytes(&group).is_err());
    }

    #[test]
    fn secrets_are_not_in_debug_output() {
        let shown = format!("{:?}", sample());
        assert!(!shown.contains("7, 7") && !shown.contains("6, 6") && !shown.contains("1, 1, 1"), "{shown}");
    }
}
