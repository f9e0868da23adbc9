//! The keytab: long-term keys of services in a file. MIT keytab file format 0x0502.

use core::fmt;

use crate::counted::{CountedName, Width};
use crate::error::{ErrorKind, ParseError};
use crate::explain::{Explain, Node, hex};
use crate::krb5::KerberosTime;
use crate::krb5::enc::etype_name;
use crate::reader::Reader;

/// A keytab whose entries were all read once without an error.
#[derive(Clone, Copy)]
pub struct Keytab<'a> {
    records: Reader<'a>,
}

impl<'a> Keytab<'a> {
    /// The first two bytes of a keytab that can be read.
    pub const VERSION: [u8; 2] = [5, 2];

    /// Reads a file that fills `bytes`.
    ///
    /// # Errors
    /// [`ErrorKind::Magic`] for another version (0x0501 has the byte order of whatever machine wrote it), and whatever an
    /// entry breaks.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new("keytab", bytes);
        let start = reader;
        if *reader.array::<2>()? != Self::VERSION {
            return Err(start.error(ErrorKind::Magic { what: "the version (0x0502)" }));
        }
        let records = reader;
        while let Some(record) = next_record(&mut reader)? {
            if let Record::Entry(record) = record {
                Entry::read(record)?;
            }
        }
        Ok(Self { records })
    }

    /// The entries in the order of the file; deleted ones are left out.
    #[must_use]
    pub const fn entries(&self) -> Entries<'a> {
        Entries(self.records)
    }

    /// Appends the head of a file, after which come entries.
    pub fn write_head(out: &mut Vec<u8>) {
        out.extend_from_slice(&Self::VERSION);
    }
}

impl fmt::Debug for Keytab<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.entries()).finish()
    }
}

/// The entries of a [`Keytab`].
#[derive(Clone)]
pub struct Entries<'a>(Reader<'a>);

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        // All records were read when the keytab was parsed, so that an error here only ends the iteration.
        loop {
            match next_record(&mut self.0) {
                Ok(Some(Record::Entry(record))) => return Entry::read(record).ok(),
                Ok(Some(Record::Hole(_))) => {}
                Ok(None) | Err(_) => return None,
            }
        }
    }
}

impl fmt::Debug for Entries<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entries")
    }
}

/// One key of one principal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Whose key it is.
    pub principal: CountedName<'a>,
    /// When it was written, in seconds since 1970.
    pub timestamp: u32,
    /// The version of the key.
    pub kvno: u32,
    /// The encryption type.
    pub etype: i32,
    /// The key itself: secret.
    pub key: &'a [u8],
}

impl<'a> Entry<'a> {
    fn read(mut reader: Reader<'a>) -> Result<Self, ParseError> {
        let count = usize::from(reader.u16_be()?);
        let mut principal = CountedName::read(&mut reader, Width::Big16, count, 0)?;
        principal.name_type = reader.i32_be()?;
        let timestamp = reader.u32_be()?;
        let short = u32::from(reader.u8()?);
        // Encryption types below zero are private use: 16 bits with a sign.
        let etype = i32::from(reader.u16_be()? as i16);
        let key = Width::Big16.octets(&mut reader)?;
        // The long kvno was added later; a record that took the place of a longer one has zeros there. What follows it
        // (Heimdal writes flags) has no meaning here.
        let kvno = match reader.u32_be() {
            Ok(long) if long != 0 => long,
            _ => short,
        };
        Ok(Self { principal, timestamp, kvno, etype, key })
    }

    /// Appends the entry with its length.
    pub fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        let count = self.principal.components().count();
        Width::Big16.write_count(count, out);
        self.principal.write(Width::Big16, out);
        out.extend_from_slice(&self.principal.name_type.to_be_bytes());
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.push(self.kvno as u8);
        out.extend_from_slice(&(self.etype as i16).to_be_bytes());
        Width::Big16.write_octets(self.key, out);
        out.extend_from_slice(&self.kvno.to_be_bytes());
        let length = (out.len() - start - 4) as i32;
        if let Some(place) = out.get_mut(start..start + 4) {
            place.copy_from_slice(&length.to_be_bytes());
        }
    }
}

impl fmt::Debug for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("principal", &self.principal)
            .field("kvno", &self.kvno)
            .field("etype", &self.etype)
            .finish_non_exhaustive()
    }
}

enum Record<'a> {
    Entry(Reader<'a>),
    /// A deleted entry; its bytes may still hold a key.
    Hole(Reader<'a>),
}

fn next_record<'a>(reader: &mut Reader<'a>) -> Result<Option<Record<'a>>, ParseError> {
    if reader.is_empty() {
        return Ok(None);
    }
    let length = reader.i32_be()?;
    let size = length.unsigned_abs() as usize;
    match length {
        0 => {
            // A length of zero ends the file; some writers fill up a block after it.
            let rest = *reader;
            if reader.rest().iter().any(|byte| *byte != 0) {
                return Err(rest.error(ErrorKind::Trailing { count: rest.len() }));
            }
            Ok(None)
        }
        1.. => reader.sub("keytab entry", size).map(|record| Some(Record::Entry(record))),
        _ => reader.sub("keytab hole", size).map(|record| Some(Record::Hole(record))),
    }
}

impl Explain for Keytab<'_> {
    fn explain(bytes: &[u8], offset: usize) -> Node {
        let mut node = Node::branch("keytab", offset..offset + bytes.len(), "MIT keytab file format");
        let mut reader = Reader::at("keytab", bytes, offset);
        match reader.array::<2>() {
            Err(error) => return node.broken(error),
            Ok(version) => {
                let text = format!("0x{:02x}{:02x}", version[0], version[1]);
                let leaf = Node::leaf("version", text, offset..offset + 2);
                if *version != Keytab::VERSION {
                    let what = "the version (0x0502)";
                    let error = ParseError { format: "keytab", offset, kind: ErrorKind::Magic { what } };
                    let old =
                        "format 1 has the byte order of the machine that wrote it; `ktutil` (rkt, wkt) rewrites it";
                    node.children.push(if *version == [5, 1] { leaf.noted(old) } else { leaf }.broken(error));
                    return node;
                }
                node.children.push(leaf);
            }
        }
        loop {
            let start = reader.offset();
            match next_record(&mut reader) {
                Ok(Some(Record::Entry(record))) => node.children.push(explain_entry(record, start..reader.offset())),
                Ok(Some(Record::Hole(record))) => {
                    let range = start..reader.offset();
                    let value = format!("{} bytes", record.len());
                    node.children.push(Node::leaf("hole", value, range).noted("a deleted entry"));
                }
                Ok(None) => return node,
                Err(error) => {
                    let end = offset + bytes.len();
                    node.children.push(Node::leaf("entry", "", start..end).broken(error));
                    return node;
                }
            }
        }
    }
}

fn explain_entry(record: Reader<'_>, range: core::ops::Range<usize>) -> Node {
    let mut node = Node::branch("entry", range, "");
    if let Err(error) = explain_fields(&mut node, record) {
        node.error = Some(error);
    }
    node
}

fn explain_fields(node: &mut Node, mut reader: Reader<'_>) -> Result<(), ParseError> {
    let start = reader.offset();
    let count = usize::from(reader.u16_be()?);
    let mut principal = CountedName::read(&mut reader, Width::Big16, count, 0)?;
    principal.name_type = reader.i32_be()?;
    node.children.push(principal.explain("principal", start..reader.offset()));
    let at = reader.offset();
    let time = KerberosTime(i64::from(reader.u32_be()?));
    node.children.push(Node::leaf("timestamp", time.to_string(), at..at + 4));
    let at = reader.offset();
    let short = reader.u8()?;
    node.children.push(Node::leaf("kvno (8 bits)", short.to_string(), at..at + 1));
    let at = reader.offset();
    let etype = i32::from(reader.u16_be()? as i16);
    node.children.push(Node::leaf("etype", etype_text(etype), at..at + 2));
    let at = reader.offset();
    let key = Width::Big16.octets(&mut reader)?;
    node.children.push(Node::leaf("key", hex(key), at..reader.offset()).secret());
    let at = reader.offset();
    if let Ok(kvno) = reader.u32_be() {
        node.children.push(Node::leaf("kvno", kvno.to_string(), at..at + 4));
    }
    if !reader.is_empty() {
        let at = reader.offset();
        let rest = reader.rest();
        node.children.push(Node::leaf("rest", hex(rest), at..reader.offset()).noted("not used"));
    }
    Ok(())
}

/// An encryption type with its name.
pub(crate) fn etype_text(etype: i32) -> String {
    etype_name(etype).map_or_else(|| etype.to_string(), |name| format!("{etype} ({name})"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::krb5::principal::Principal;

    fn two_entries() -> Vec<u8> {
        let (web, user) =
            (Principal::service("HTTP", "web.example.test", "EXAMPLE.TEST"), Principal::user("alice", "EXAMPLE.TEST"));
        let mut out = Vec::new();
        Keytab::write_head(&mut out);
        for (principal, kvno, etype, key) in [(&web, 3, 18, &[0x5a; 32][..]), (&user, 70_000, -133, &[0xa5; 16])] {
            Entry { principal: principal.into(), timestamp: 1_600_000_000, kvno, etype, key }.write(&mut out);
        }
        out
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = two_entries();
        let entries: Vec<_> = Keytab::parse(&bytes).unwrap().entries().collect();
        assert_eq!(entries[0].principal.to_string(), "HTTP/web.example.test@EXAMPLE.TEST");
        assert_eq!((entries[0].kvno, entries[0].etype, entries[0].key), (3, 18, &[0x5a; 32][..]));
        assert_eq!(entries[0].principal.to_principal().unwrap().name_type, 2);
        assert_eq!((entries[1].kvno, entries[1].etype, entries.len()), (70_000, -133, 2));
        let mut again = Vec::new();
        Keytab::write_head(&mut again);
        entries.iter().for_each(|entry| entry.write(&mut again));
        assert_eq!(again, bytes);
    }

    #[test]
    fn holes_and_the_end_mark_are_passed_over() {
        let mut bytes = two_entries();
        let length = i32::from_be_bytes(bytes[2..6].try_into().unwrap());
        bytes[2..6].copy_from_slice(&(-length).to_be_bytes());
        bytes.extend_from_slice(&[0; 20]);
        let entries: Vec<_> = Keytab::parse(&bytes).unwrap().entries().collect();
        assert_eq!((entries.len(), entries[0].kvno), (1, 70_000));
        bytes.push(1);
        assert!(matches!(Keytab::parse(&bytes), Err(ParseError { kind: ErrorKind::Trailing { .. }, .. })));
    }

    #[test]
    fn the_long_kvno_wins_unless_it_is_absent_or_zero() {
        let mut bytes = two_entries();
        let end = bytes.len();
        bytes[end - 4..].fill(0);
        assert_eq!(Keytab::parse(&bytes).unwrap().entries().nth(1).unwrap().kvno, 70_000 & 0xff);
        let first = 2 + 4 + usize::try_from(i32::from_be_bytes(bytes[2..6].try_into().unwrap())).unwrap();
        let mut short = bytes[..end - 4].to_vec();
        let length = i32::from_be_bytes(short[first..first + 4].try_into().unwrap()) - 4;
        short[first..first + 4].copy_from_slice(&length.to_be_bytes());
        assert_eq!(Keytab::parse(&short).unwrap().entries().nth(1).unwrap().kvno, 70_000 & 0xff);
    }

    #[test]
    fn a_cut_keytab_is_refused_and_explained() {
        let bytes = two_entries();
        let whole = Keytab::explain(&bytes, 0);
        assert_eq!(whole.first_error(), None);
        let second = 6 + i32::from_be_bytes(bytes[2..6].try_into().unwrap()) as usize;
        for cut in 0..bytes.len() {
            let boundary = [2, second].contains(&cut);
            assert_eq!(Keytab::parse(&bytes[..cut]).is_ok(), boundary, "cut at {cut}");
            assert_eq!(Keytab::explain(&bytes[..cut], 0).first_error().is_none(), boundary, "cut at {cut}");
        }
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        for length in [i32::MAX, i32::MIN, -1, 1, 5, 200] {
            let mut bytes = two_entries();
            bytes[2..6].copy_from_slice(&length.to_be_bytes());
            assert!(Keytab::parse(&bytes).is_err(), "{length}");
            let _ = Keytab::explain(&bytes, 0);
        }
        let mut many = two_entries();
        many[6..8].copy_from_slice(&u16::MAX.to_be_bytes());
        assert!(matches!(Keytab::parse(&many), Err(ParseError { kind: ErrorKind::Limit { .. }, offset: 8, .. })));
    }

    #[test]
    fn other_versions_are_refused() {
        for version in [&[5, 1, 0, 0][..], &[5, 3], &[0, 0], &[5]] {
            assert!(Keytab::parse(version).is_err());
        }
        assert!(Keytab::explain(&[5, 1, 0, 0], 0).children[0].note.as_deref().unwrap().contains("format 1"));
        assert_eq!(Keytab::parse(&[5, 2]).unwrap().entries().count(), 0);
    }

    #[test]
    fn keys_are_not_shown() {
        let bytes = two_entries();
        let shown = format!("{:?}", Keytab::parse(&bytes).unwrap());
        assert!(shown.contains("HTTP/web.example.test") && !shown.contains("90"), "{shown}");
        assert!(Keytab::explain(&bytes, 0).find("key").unwrap().secret);
    }
}
