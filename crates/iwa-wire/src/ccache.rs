//! The credential cache: a client's tickets and session keys in a file. MIT credential cache file format 3 and 4 (read and
//! written as 4), and 1 and 2 as machines with the least significant byte first wrote them.

use core::fmt;

use crate::counted::{CountedName, Width};
use crate::error::{ErrorKind, ParseError};
use crate::explain::{self, Explain, Node};
use crate::keytab::etype_text;
use crate::krb5::{KerberosTime, TicketFlags};
use crate::reader::Reader;

/// A credential cache whose credentials were all read once without an error.
#[derive(Clone, Copy)]
pub struct Ccache<'a> {
    /// The version of the file, 1 to 4.
    pub version: u8,
    /// What to add to the local clock to get the KDC's: seconds and microseconds. Version 4 only.
    pub time_offset: Option<(i32, i32)>,
    /// `default principal`: whose tickets these are.
    pub principal: CountedName<'a>,
    credentials: Reader<'a>,
}

impl<'a> Ccache<'a> {
    /// Reads a file that fills `bytes`.
    ///
    /// # Errors
    /// [`ErrorKind::Magic`] for another version, and whatever the contents break.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new("ccache", bytes);
        let version = read_version(&mut reader)?;
        let mut time_offset = None;
        if version == 4 {
            let mut head = header(&mut reader)?;
            while !head.is_empty() {
                let (tag, mut body) = header_field(&mut head)?;
                if tag == DELTA_TIME {
                    time_offset = Some((body.i32_be()?, body.i32_be()?));
                    body.finish()?;
                }
            }
        }
        let principal = read_principal(&mut reader, version)?;
        let credentials = reader;
        while !reader.is_empty() {
            Credential::read(&mut reader, version)?;
        }
        Ok(Self { version, time_offset, principal, credentials })
    }

    /// The credentials in the order of the file. Configuration entries ([`Credential::config`]) and removed ones
    /// ([`Credential::is_removed`]) are among them.
    #[must_use]
    pub const fn credentials(&self) -> Credentials<'a> {
        Credentials { reader: self.credentials, version: self.version }
    }

    /// Appends the head of a file of version 4, after which come credentials.
    pub fn write_head(principal: CountedName<'_>, time_offset: Option<(i32, i32)>, out: &mut Vec<u8>) {
        out.extend_from_slice(&[5, 4]);
        match time_offset {
            Some((seconds, micros)) => {
                out.extend_from_slice(&12u16.to_be_bytes());
                out.extend_from_slice(&DELTA_TIME.to_be_bytes());
                out.extend_from_slice(&8u16.to_be_bytes());
                out.extend_from_slice(&seconds.to_be_bytes());
                out.extend_from_slice(&micros.to_be_bytes());
            }
            None => out.extend_from_slice(&[0, 0]),
        }
        write_principal(&principal, out);
    }
}

impl fmt::Debug for Ccache<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ccache")
            .field("version", &self.version)
            .field("principal", &self.principal)
            .field("credentials", &self.credentials().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// The credentials of a [`Ccache`].
#[derive(Clone, Debug)]
pub struct Credentials<'a> {
    reader: Reader<'a>,
    version: u8,
}

impl<'a> Iterator for Credentials<'a> {
    type Item = Credential<'a>;

    fn next(&mut self) -> Option<Credential<'a>> {
        // All were read when the cache was parsed, so that an error here only ends the iteration.
        if self.reader.is_empty() { None } else { Credential::read(&mut self.reader, self.version).ok() }
    }
}

/// One ticket with its session key. Times are seconds since 1970; 0 stands for none.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Credential<'a> {
    /// Whose ticket it is.
    pub client: CountedName<'a>,
    /// The service it is for.
    pub server: CountedName<'a>,
    /// The session key's encryption type.
    pub key_etype: i32,
    /// The session key: secret.
    pub key: &'a [u8],
    /// `authtime`.
    pub authtime: u32,
    /// `starttime`.
    pub starttime: u32,
    /// `endtime`.
    pub endtime: u32,
    /// `renew-till`.
    pub renew_till: u32,
    /// Whether the ticket is encrypted in another ticket's session key (user-to-user).
    pub is_skey: bool,
    /// `TicketFlags`, as in RFC 4120 5.3.
    pub ticket_flags: u32,
    /// The addresses it is limited to.
    pub addresses: TypedList<'a>,
    /// Authorization data that was asked for.
    pub authdata: TypedList<'a>,
    /// The ticket in DER; in a configuration entry its value.
    pub ticket: &'a [u8],
    /// The second ticket, for user-to-user.
    pub second_ticket: &'a [u8],
}

impl<'a> Credential<'a> {
    fn read(reader: &mut Reader<'a>, version: u8) -> Result<Self, ParseError> {
        let width = width(version);
        let client = read_principal(reader, version)?;
        let server = read_principal(reader, version)?;
        let key_etype = read_etype(reader, version)?;
        let key = width.octets(reader)?;
        let [authtime, starttime, endtime, renew_till] =
            [width.u32(reader)?, width.u32(reader)?, width.u32(reader)?, width.u32(reader)?];
        Ok(Self {
            client,
            server,
            key_etype,
            key,
            authtime,
            starttime,
            endtime,
            renew_till,
            is_skey: reader.u8()? != 0,
            ticket_flags: width.u32(reader)?,
            addresses: TypedList::read(reader, width)?,
            authdata: TypedList::read(reader, width)?,
            ticket: width.octets(reader)?,
            second_ticket: width.octets(reader)?,
        })
    }

    /// Appends the credential in the form of version 4.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_principal(&self.client, out);
        write_principal(&self.server, out);
        out.extend_from_slice(&(self.key_etype as i16).to_be_bytes());
        Width::Big32.write_octets(self.key, out);
        for time in [self.authtime, self.starttime, self.endtime, self.renew_till] {
            out.extend_from_slice(&time.to_be_bytes());
        }
        out.push(u8::from(self.is_skey));
        out.extend_from_slice(&self.ticket_flags.to_be_bytes());
        for list in [self.addresses, self.authdata] {
            Width::Big32.write_count(list.count(), out);
            for (kind, data) in list {
                out.extend_from_slice(&(kind as i16).to_be_bytes());
                Width::Big32.write_octets(data, out);
            }
        }
        Width::Big32.write_octets(self.ticket, out);
        Width::Big32.write_octets(self.second_ticket, out);
    }

    /// The name of a configuration entry and the principal it speaks of; `None` for a ticket. The value is in `ticket`.
    #[must_use]
    pub fn config(&self) -> Option<(&'a [u8], Option<&'a [u8]>)> {
        let mut components = self.server.components();
        let ours = self.server.realm.0 == CONFIG_REALM && components.next()?.0 == CONFIG_NAME;
        if ours { Some((components.next()?.0, components.next().map(|principal| principal.0))) } else { None }
    }

    /// Whether the entry was removed: the file only grows, so that removal overwrites the times.
    #[must_use]
    pub const fn is_removed(&self) -> bool {
        self.authtime == u32::MAX && self.endtime == 0
    }
}

impl fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("client", &self.client)
            .field("server", &self.server)
            .field("key_etype", &self.key_etype)
            .field("endtime", &self.endtime)
            .field("ticket_flags", &self.ticket_flags)
            .finish_non_exhaustive()
    }
}

/// Addresses or authorization data: numbers with bytes.
#[derive(Clone, Copy, Default)]
pub struct TypedList<'a> {
    encoded: Option<(Reader<'a>, Width)>,
}

impl<'a> TypedList<'a> {
    fn read(reader: &mut Reader<'a>, width: Width) -> Result<Self, ParseError> {
        let count = width.u32(reader)?;
        let (start, mut length) = (*reader, 0);
        for _ in 0..count {
            let before = reader.offset();
            width.u16(reader)?;
            width.octets(reader)?;
            length += reader.offset() - before;
        }
        let mut encoded = start;
        Ok(Self { encoded: Some((encoded.sub("ccache", length)?, width)) })
    }
}

impl<'a> Iterator for TypedList<'a> {
    type Item = (i32, &'a [u8]);

    fn next(&mut self) -> Option<(i32, &'a [u8])> {
        let (reader, width) = self.encoded.as_mut()?;
        let kind = i32::from(width.u16(reader).ok()? as i16);
        width.octets(reader).ok().map(|data| (kind, data))
    }
}

impl PartialEq for TypedList<'_> {
    fn eq(&self, other: &Self) -> bool {
        Iterator::eq(*self, *other)
    }
}

impl Eq for TypedList<'_> {}

impl fmt::Debug for TypedList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.map(|(kind, _)| kind)).finish()
    }
}

fn read_version(reader: &mut Reader<'_>) -> Result<u8, ParseError> {
    let start = *reader;
    match *reader.array::<2>()? {
        [5, version @ 1..=4] => Ok(version),
        _ => Err(start.error(ErrorKind::Magic { what: "the version (0x0501 to 0x0504)" })),
    }
}

fn header<'a>(reader: &mut Reader<'a>) -> Result<Reader<'a>, ParseError> {
    let length = usize::from(reader.u16_be()?);
    reader.sub("ccache header", length)
}

fn header_field<'a>(head: &mut Reader<'a>) -> Result<(u16, Reader<'a>), ParseError> {
    let tag = head.u16_be()?;
    let length = usize::from(head.u16_be()?);
    Ok((tag, head.sub("ccache header", length)?))
}

fn read_principal<'a>(reader: &mut Reader<'a>, version: u8) -> Result<CountedName<'a>, ParseError> {
    let width = width(version);
    let name_type = if version == 1 { 0 } else { width.u32(reader)? as i32 };
    let start = *reader;
    let count = width.count(reader)?;
    // Version 1 counts the realm among the components.
    let count = if version == 1 { count.checked_sub(1) } else { Some(count) };
    let count = count.ok_or_else(|| start.error(ErrorKind::Value { what: "the number of components" }))?;
    CountedName::read(reader, width, count, name_type)
}

fn write_principal(name: &CountedName<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(&name.name_type.to_be_bytes());
    Width::Big32.write_count(name.components().count(), out);
    name.write(Width::Big32, out);
}

fn read_etype(reader: &mut Reader<'_>, version: u8) -> Result<i32, ParseError> {
    let etype = width(version).u16(reader)?;
    if version == 3 {
        // Version 3 writes it twice.
        reader.u16_be()?;
    }
    Ok(i32::from(etype as i16))
}

const fn width(version: u8) -> Width {
    if version < 3 { Width::Little32 } else { Width::Big32 }
}

/// The tag of the time offset in the header of version 4.
const DELTA_TIME: u16 = 1;

/// The realm and first component of configuration entries.
const CONFIG_REALM: &[u8] = b"X-CACHECONF:";
const CONFIG_NAME: &[u8] = b"krb5_ccache_conf_data";

impl Explain for Ccache<'_> {
    fn explain(bytes: &[u8], offset: usize) -> Node {
        let mut node = Node::branch("ccache", offset..offset + bytes.len(), "MIT credential cache file format");
        if let Err(error) = explain_file(&mut node, Reader::at("ccache", bytes, offset)) {
            node.error = Some(error);
        }
        node
    }
}

fn explain_file(node: &mut Node, mut reader: Reader<'_>) -> Result<(), ParseError> {
    let at = reader.offset();
    let version = read_version(&mut reader)?;
    node.children.push(Node::leaf("version", version.to_string(), at..at + 2));
    if version == 4 {
        let at = reader.offset();
        let mut head = header(&mut reader)?;
        let mut child = Node::branch("header", at..reader.offset(), "");
        while !head.is_empty() {
            let at = head.offset();
            match header_field(&mut head) {
                Ok((tag, body)) => child.children.push(explain_header_field(tag, body, at..head.offset())),
                Err(error) => {
                    node.children.push(child.broken(error));
                    return Ok(());
                }
            }
        }
        node.children.push(child);
    }
    let at = reader.offset();
    let principal = read_principal(&mut reader, version)?;
    node.children.push(principal.explain("default principal", at..reader.offset()));
    while !reader.is_empty() {
        let start = reader.offset();
        let mut child = Node::branch("credential", start..start, "");
        let result = explain_credential(&mut child, &mut reader, version);
        child.range.end = reader.offset();
        child.error = result.err();
        let broken = child.error.is_some();
        node.children.push(child);
        if broken {
            break;
        }
    }
    Ok(())
}

fn explain_header_field(tag: u16, mut body: Reader<'_>, range: core::ops::Range<usize>) -> Node {
    match (tag, body.i32_be(), body.i32_be()) {
        (DELTA_TIME, Ok(seconds), Ok(micros)) => Node::leaf("DeltaTime", format!("{seconds} s {micros} us"), range)
            .noted("the KDC's clock minus the client's"),
        (DELTA_TIME, Err(error), _) | (DELTA_TIME, _, Err(error)) => Node::leaf("DeltaTime", "", range).broken(error),
        _ => Node::leaf(format!("tag {tag}"), "", range),
    }
}

fn explain_credential(node: &mut Node, reader: &mut Reader<'_>, version: u8) -> Result<(), ParseError> {
    // Parsed beforehand on a copy, because what the fields mean depends on the names.
    let config = Credential::read(&mut { *reader }, version).ok().and_then(|credential| {
        let (name, _) = credential.config()?;
        Some(explain::text(name))
    });
    let width = width(version);
    for name in ["client", "server"] {
        let at = reader.offset();
        let principal = read_principal(reader, version)?;
        node.children.push(principal.explain(name, at..reader.offset()));
    }
    let at = reader.offset();
    let etype = read_etype(reader, version)?;
    node.children.push(Node::leaf("key etype", etype_text(etype), at..reader.offset()));
    let at = reader.offset();
    let key = width.octets(reader)?;
    node.children.push(Node::leaf("key", explain::hex(key), at..reader.offset()).secret());
    for name in ["authtime", "starttime", "endtime", "renew-till"] {
        let at = reader.offset();
        let time = width.u32(reader)?;
        let text = if time == 0 { "none".to_owned() } else { KerberosTime(i64::from(time)).to_string() };
        node.children.push(Node::leaf(name, text, at..reader.offset()));
    }
    let at = reader.offset();
    let is_skey = reader.u8()?;
    node.children.push(Node::leaf("is_skey", (is_skey != 0).to_string(), at..reader.offset()));
    let at = reader.offset();
    let flags = width.u32(reader)?;
    node.children.push(Node::leaf(
        "ticket flags",
        format!("0x{flags:08x} {}", TicketFlags(flags)).trim_end(),
        at..reader.offset(),
    ));
    for name in ["addresses", "authdata"] {
        let at = reader.offset();
        let list = TypedList::read(reader, width)?;
        let mut child = Node::branch(name, at..reader.offset(), "");
        child.value = if list.count() == 0 { "none".to_owned() } else { String::new() };
        for (kind, data) in list {
            child.children.push(Node::leaf(format!("type {kind}"), explain::hex(data), at..reader.offset()));
        }
        node.children.push(child);
    }
    let at = reader.offset();
    let ticket = width.octets(reader)?;
    let range = at..reader.offset();
    let inner = reader.offset() - ticket.len();
    node.children.push(match config {
        Some(name) => Node::leaf("value", explain::text(ticket), range).noted(format!("configuration entry {name}")),
        None => explain_ticket("ticket", ticket, inner, range),
    });
    let at = reader.offset();
    let ticket = width.octets(reader)?;
    let range = at..reader.offset();
    node.children.push(if ticket.is_empty() {
        Node::leaf("second ticket", "none", range)
    } else {
        explain_ticket("second ticket", ticket, reader.offset() - ticket.len(), range)
    });
    Ok(())
}

fn explain_ticket(name: &'static str, ticket: &[u8], offset: usize, range: core::ops::Range<usize>) -> Node {
    let mut node = Node::branch(name, range, "");
    node.children.push(crate::sniff::krb5(ticket, offset));
    node
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::krb5::principal::Principal;

    fn cache() -> Vec<u8> {
        let alice = Principal::user("alice", "EXAMPLE.TEST");
        let web = Principal::service("HTTP", "web.example.test", "EXAMPLE.TEST");
        let config = Principal {
            name_type: 0,
            components: vec!["krb5_ccache_conf_data".into(), "fast_avail".into(), "krbtgt/EXAMPLE.TEST".into()],
            realm: "X-CACHECONF:".into(),
        };
        let mut out = Vec::new();
        Ccache::write_head((&alice).into(), Some((-3, 17)), &mut out);
        let ticket = Credential {
            client: (&alice).into(),
            server: (&web).into(),
            key_etype: 18,
            key: &[0x5a; 32],
            authtime: 1_600_000_000,
            starttime: 1_600_000_001,
            endtime: 1_600_036_000,
            renew_till: 0,
            is_skey: false,
            ticket_flags: 0x4080_0000,
            addresses: TypedList::default(),
            authdata: TypedList::default(),
            ticket: b"not a ticket",
            second_ticket: &[],
        };
        ticket.write(&mut out);
        Credential { server: (&config).into(), key_etype: 0, key: &[], ticket: b"yes", ..ticket }.write(&mut out);
        out
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = cache();
        let cache = Ccache::parse(&bytes).unwrap();
        assert_eq!((cache.version, cache.time_offset), (4, Some((-3, 17))));
        assert_eq!(cache.principal.to_string(), "alice@EXAMPLE.TEST");
        let credentials: Vec<_> = cache.credentials().collect();
        assert_eq!(credentials[0].server.to_string(), "HTTP/web.example.test@EXAMPLE.TEST");
        assert_eq!((credentials[0].key, credentials[0].endtime), (&[0x5a; 32][..], 1_600_036_000));
        assert_eq!(credentials[0].config(), None);
        assert_eq!(credentials[1].config(), Some((&b"fast_avail"[..], Some(&b"krbtgt/EXAMPLE.TEST"[..]))));
        assert_eq!((credentials[1].ticket, credentials.len()), (&b"yes"[..], 2));
        let mut again = Vec::new();
        Ccache::write_head(cache.principal, cache.time_offset, &mut again);
        credentials.iter().for_each(|credential| credential.write(&mut again));
        assert_eq!(again, bytes);
    }

    #[test]
    fn a_cut_cache_is_refused_and_explained() {
        let bytes = cache();
        assert!(Ccache::explain(&bytes, 0).find("value").is_some());
        let mut whole = 0;
        for cut in 0..bytes.len() {
            let result = Ccache::parse(&bytes[..cut]);
            let node = Ccache::explain(&bytes[..cut], 0);
            assert!(result.is_ok() || node.first_error().is_some(), "cut at {cut}");
            whole += usize::from(result.is_ok());
        }
        // After the head, and after the first credential.
        assert_eq!(whole, 2);
    }

    #[test]
    fn counts_that_lie_are_refused() {
        let bytes = cache();
        let mut refused = 0;
        for at in 0..bytes.len() - 4 {
            for lie in [[0xff; 4], [0x7f, 0xff, 0xff, 0xff], [0x80, 0, 0, 0]] {
                let mut bad = bytes.clone();
                bad[at..at + 4].copy_from_slice(&lie);
                refused += usize::from(Ccache::parse(&bad).is_err());
                let _ = Ccache::explain(&bad, 0);
            }
        }
        assert!(refused > 100, "{refused}");
    }

    #[test]
    fn an_unknown_header_field_is_passed_over_and_a_broken_one_refused() {
        let mut bytes = vec![5, 4, 0, 6, 0, 9, 0, 2, 0xaa, 0xbb];
        let principal = [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, b'R', 0, 0, 0, 1, b'u'];
        bytes.extend_from_slice(&principal);
        assert_eq!(Ccache::parse(&bytes).unwrap().principal.to_string(), "u@R");
        bytes[7] = 3;
        assert!(Ccache::parse(&bytes).is_err());
        assert!(Ccache::explain(&bytes, 0).first_error().is_some());
        let mut short = vec![5, 4, 0, 8, 0, 1, 0, 4, 0, 0, 0, 0];
        short.extend_from_slice(&principal);
        assert!(Ccache::parse(&short).is_err());
    }

    #[test]
    fn old_versions() {
        // 1: no name type, the realm counts as a component, least significant byte first.
        let one = [5, 1, 2, 0, 0, 0, 1, 0, 0, 0, b'R', 1, 0, 0, 0, b'u'];
        assert_eq!(Ccache::parse(&one).unwrap().principal.to_string(), "u@R");
        assert!(Ccache::parse(&[5, 1, 0, 0, 0, 0, 0, 0, 0, 0]).is_err());
        for version in [&[5, 0][..], &[5, 5], &[4, 4], &[5]] {
            assert!(Ccache::parse(version).is_err());
        }
    }

    #[test]
    fn keys_are_not_shown() {
        let bytes = cache();
        let shown = format!("{:?}", Ccache::parse(&bytes).unwrap());
        assert!(shown.contains("HTTP/web.example.test") && !shown.contains("90"), "{shown}");
        assert!(Ccache::explain(&bytes, 0).find("key").unwrap().secret);
    }

    #[test]
    fn a_removed_credential_is_known_by_its_times() {
        let bytes = cache();
        let credential = Ccache::parse(&bytes).unwrap().credentials().next().unwrap();
        assert!(!credential.is_removed());
        assert!(Credential { authtime: u32::MAX, endtime: 0, ..credential }.is_removed());
    }
}
