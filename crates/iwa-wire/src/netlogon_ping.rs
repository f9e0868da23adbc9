//! What a domain controller answers to an LDAP ping: `NETLOGON_SAM_LOGON_RESPONSE_EX`. MS-ADTS 6.3.1.9.
//!
//! Nothing in it is authenticated: it says where to ask, and whom to expect there.

use core::fmt;

use crate::error::{ErrorKind, ParseError};
use crate::reader::Reader;

/// A domain controller of itself, its domain, and the site of whoever asked.
///
/// Names have no final dot, and no control characters; an absent one is empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NetlogonSamLogonResponseEx {
    /// One of [`opcode`].
    pub opcode: u16,
    /// What the controller is.
    pub flags: DsFlags,
    /// The domain's GUID, as it stands in memory (MS-DTYP 2.3.4.2).
    pub domain_guid: [u8; 16],
    /// The DNS name of the forest's root domain.
    pub dns_forest_name: String,
    /// The DNS name of the domain.
    pub dns_domain_name: String,
    /// The DNS name of the controller.
    pub dns_host_name: String,
    /// The NetBIOS name of the domain.
    pub netbios_domain_name: String,
    /// The NetBIOS name of the controller.
    pub netbios_computer_name: String,
    /// The user who was asked for.
    pub user_name: String,
    /// The site of the controller.
    pub dc_site_name: String,
    /// The site of whoever asked; empty if no subnet of the directory holds its address.
    pub client_site_name: String,
    /// The site nearest to that of whoever asked, if that was asked for.
    pub next_closest_site_name: Option<String>,
    /// What was answered, in bits of [`nt_version`].
    pub nt_version: u32,
}

/// Operation codes. MS-ADTS 6.3.1.3.
pub mod opcode {
    /// `LOGON_SAM_LOGON_RESPONSE_EX`.
    pub const LOGON_SAM_LOGON_RESPONSE_EX: u16 = 23;
    /// `LOGON_SAM_PAUSE_RESPONSE_EX`: the controller is there and cannot serve logons now.
    pub const LOGON_SAM_PAUSE_RESPONSE_EX: u16 = 24;
    /// `LOGON_SAM_USER_UNKNOWN_EX`.
    pub const LOGON_SAM_USER_UNKNOWN_EX: u16 = 25;
}

/// `NETLOGON_NT_VERSION` options. MS-ADTS 6.3.1.1.
pub mod nt_version {
    /// `NETLOGON_NT_VERSION_5`.
    pub const V5: u32 = 0x2;
    /// `NETLOGON_NT_VERSION_5EX`: answer with `NETLOGON_SAM_LOGON_RESPONSE_EX`.
    pub const V5_EX: u32 = 0x4;
    /// `NETLOGON_NT_VERSION_5EX_WITH_IP`: with the controller's address.
    pub const V5_EX_WITH_IP: u32 = 0x8;
    /// `NETLOGON_NT_VERSION_WITH_CLOSEST_SITE`: with the next closest site.
    pub const WITH_CLOSEST_SITE: u32 = 0x10;
}

/// `DS_FLAG` options: what a controller is. MS-ADTS 6.3.1.2.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct DsFlags(pub u32);

impl DsFlags {
    /// It holds the PDC role.
    pub const PDC: Self = Self(0x1);
    /// It is a global catalog.
    pub const GC: Self = Self(0x4);
    /// It is an LDAP server.
    pub const LDAP: Self = Self(0x8);
    /// It is a domain controller.
    pub const DS: Self = Self(0x10);
    /// It is a KDC.
    pub const KDC: Self = Self(0x20);
    /// It tells the time.
    pub const TIMESERV: Self = Self(0x40);
    /// It is in the site of whoever asked.
    pub const CLOSEST: Self = Self(0x80);
    /// It is not read-only.
    pub const WRITABLE: Self = Self(0x100);
    /// Its clock is better than others'.
    pub const GOOD_TIMESERV: Self = Self(0x200);

    /// Whether all of `flags` are set.
    #[must_use]
    pub const fn has(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }
}

impl fmt::Display for DsFlags {
    /// The specification's names, in the order of the bits; a bit without a name as a number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for bit in (0..u32::BITS).map(|bit| 1 << bit).filter(|bit| self.0 & bit != 0) {
            f.write_str(between)?;
            between = " ";
            match DS_FLAGS.iter().find(|(known, _)| *known == bit) {
                Some((_, name)) => f.write_str(name)?,
                None => write!(f, "0x{bit:x}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for DsFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DsFlags({self})")
    }
}

impl NetlogonSamLogonResponseEx {
    /// Reads the value of the attribute `Netlogon`.
    ///
    /// # Errors
    /// Another structure (an older one has another operation code), a truncated one, trailing bytes, or a name that is none:
    /// longer than 255 bytes, pointing anywhere but backwards, not UTF-8.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(FORMAT, bytes);
        let start = reader;
        let opcode = reader.u16_le()?;
        if !matches!(
            opcode,
            opcode::LOGON_SAM_LOGON_RESPONSE_EX
                | opcode::LOGON_SAM_PAUSE_RESPONSE_EX
                | opcode::LOGON_SAM_USER_UNKNOWN_EX
        ) {
            return Err(start.error(ErrorKind::Value { what: "Opcode" }));
        }
        // Sbz, which a receiver does not judge.
        reader.u16_le()?;
        let flags = DsFlags(reader.u32_le()?);
        let domain_guid = *reader.array::<16>()?;
        // What stands before it is said at the very end.
        let names = reader
            .len()
            .checked_sub(TAIL)
            .ok_or_else(|| reader.error(ErrorKind::Truncated { needed: TAIL, available: reader.len() }))?;
        let mut tail = reader;
        tail.take(names)?;
        let nt_version = tail.u32_le()?;
        // LmNtToken and Lm20Token: 0xFFFF each.
        if tail.u32_le()? != u32::MAX {
            return Err(tail.error(ErrorKind::Magic { what: "LmNtToken and Lm20Token" }));
        }
        let mut names = reader.sub(FORMAT, names)?;
        let mut name = || read_name(bytes, &mut names);
        let (dns_forest_name, dns_domain_name, dns_host_name) = (name()?, name()?, name()?);
        let (netbios_domain_name, netbios_computer_name, user_name) = (name()?, name()?, name()?);
        let (dc_site_name, client_site_name) = (name()?, name()?);
        if nt_version & nt_version::V5_EX_WITH_IP != 0 {
            // DcSockAddrSize and DcSockAddr, IPv4 at most: whoever asked knows the address better.
            let size = names.u8()?;
            names.take(usize::from(size))?;
        }
        let closest = nt_version & nt_version::WITH_CLOSEST_SITE != 0;
        let next_closest_site_name = if closest { Some(read_name(bytes, &mut names)?) } else { None };
        names.finish()?;
        Ok(Self {
            opcode,
            flags,
            domain_guid,
            dns_forest_name,
            dns_domain_name,
            dns_host_name,
            netbios_domain_name,
            netbios_computer_name,
            user_name,
            dc_site_name,
            client_site_name,
            next_closest_site_name,
            nt_version,
        })
    }

    /// Appends the structure, its names not compressed.
    ///
    /// Labels are what stands between dots; one of more than 63 bytes is cut.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.opcode.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.flags.0.to_le_bytes());
        out.extend_from_slice(&self.domain_guid);
        for name in [
            &self.dns_forest_name,
            &self.dns_domain_name,
            &self.dns_host_name,
            &self.netbios_domain_name,
            &self.netbios_computer_name,
            &self.user_name,
            &self.dc_site_name,
            &self.client_site_name,
        ] {
            write_name(name, out);
        }
        let asked = self.nt_version & !(nt_version::V5_EX_WITH_IP | nt_version::WITH_CLOSEST_SITE);
        let closest = match &self.next_closest_site_name {
            Some(name) => {
                write_name(name, out);
                nt_version::WITH_CLOSEST_SITE
            }
            None => 0,
        };
        out.extend_from_slice(&(asked | closest).to_le_bytes());
        out.extend_from_slice(&[0xff; 4]);
    }
}

const FORMAT: &str = "NETLOGON_SAM_LOGON_RESPONSE_EX";

/// NtVersion, LmNtToken, Lm20Token.
const TAIL: usize = 8;

/// The longest name, in bytes (RFC 1035 2.3.4).
const LONGEST: usize = 255;

/// The lowest offset at which a name can begin: behind Opcode, Sbz, Flags and DomainGuid.
const FIRST_NAME: usize = 24;

const DS_FLAGS: &[(u32, &str)] = &[
    (0x1, "PDC"),
    (0x4, "GC"),
    (0x8, "LDAP"),
    (0x10, "DS"),
    (0x20, "KDC"),
    (0x40, "TIMESERV"),
    (0x80, "CLOSEST"),
    (0x100, "WRITABLE"),
    (0x200, "GOOD_TIMESERV"),
    (0x400, "NDNC"),
    (0x800, "SELECT_SECRET_DOMAIN_6"),
    (0x1000, "FULL_SECRET_DOMAIN_6"),
    (0x2000, "WS"),
    (0x4000, "DS_8"),
    (0x8000, "DS_9"),
    (0x1_0000, "DS_10"),
    (0x2_0000, "KEY_LIST"),
    (0x2000_0000, "DNS_CONTROLLER"),
    (0x4000_0000, "DNS_DOMAIN"),
    (0x8000_0000, "DNS_FOREST"),
];

/// Takes a name that may end in a pointer to an earlier one (RFC 1035 4.1.4, MS-ADTS 6.3.7). `message` is the whole, from
/// whose first byte pointers count.
fn read_name<'a>(message: &'a [u8], names: &mut Reader<'a>) -> Result<String, ParseError> {
    let mut name = Vec::new();
    let mut here = *names;
    let mut jumped = false;
    loop {
        let at = here;
        let length = here.u8()?;
        if length & POINTER == POINTER {
            let target = usize::from(length & !POINTER) << 8 | usize::from(here.u8()?);
            if !jumped {
                *names = here;
                jumped = true;
            }
            // Only backwards, and not into what comes before the names: every jump shortens what can be jumped to.
            if target < FIRST_NAME || target >= at.offset() {
                return Err(at.error(ErrorKind::Value { what: "the pointer of a compressed name" }));
            }
            let rest = message.get(target..at.offset()).unwrap_or_default();
            here = Reader::at(FORMAT, rest, target);
        } else if length == 0 {
            break;
        } else if length & POINTER != 0 {
            return Err(at.error(ErrorKind::Value { what: "the length of a label" }));
        } else {
            let label = here.take(usize::from(length))?;
            let dot = usize::from(!name.is_empty());
            if name.len() + dot + label.len() > LONGEST {
                return Err(at.error(ErrorKind::Limit { what: "bytes of a name", limit: LONGEST }));
            }
            if dot == 1 {
                name.push(b'.');
            }
            name.extend_from_slice(label);
        }
    }
    if !jumped {
        *names = here;
    }
    match String::from_utf8(name) {
        Ok(name) if !name.chars().any(char::is_control) => Ok(name),
        _ => Err(names.error(ErrorKind::Value { what: "the text of a name" })),
    }
}

/// The two bits that make a length a pointer.
const POINTER: u8 = 0xc0;

fn write_name(name: &str, out: &mut Vec<u8>) {
    for label in name.split('.').map(str::as_bytes).filter(|label| !label.is_empty()) {
        let label = label.get(..63).unwrap_or(label);
        out.push(label.len() as u8);
        out.extend_from_slice(label);
    }
    out.push(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Samba 4.17 answers for `corp.example.test` to NtVer 0x16, seen on a wire; the GUID is another.
    fn samba() -> Vec<u8> {
        let mut bytes = vec![0x17, 0, 0, 0, 0xfd, 0x13, 0, 0];
        bytes.extend_from_slice(&[0xab; 16]);
        bytes.extend_from_slice(b"\x04corp\x07example\x04test\0\xc0\x18\x03dc1\xc0\x18\x04CORP\0\x03DC1\0\0");
        bytes.extend_from_slice(b"\x17Default-First-Site-Name\0\xc0\x3f\x05\0\0\0\xff\xff\xff\xff");
        bytes
    }

    fn answer() -> NetlogonSamLogonResponseEx {
        NetlogonSamLogonResponseEx::parse(&samba()).unwrap()
    }

    /// The front of an answer, `names`, and the tail.
    fn with(names: &[u8], nt_version: u32) -> Vec<u8> {
        let mut bytes = samba()[..FIRST_NAME].to_vec();
        bytes.extend_from_slice(names);
        bytes.extend_from_slice(&nt_version.to_le_bytes());
        bytes.extend_from_slice(&[0xff; 4]);
        bytes
    }

    #[test]
    fn the_answer_of_a_samba_domain_controller_is_read() {
        let answer = answer();
        assert_eq!(answer.opcode, opcode::LOGON_SAM_LOGON_RESPONSE_EX);
        assert_eq!(answer.domain_guid, [0xab; 16]);
        assert_eq!(answer.dns_forest_name, "corp.example.test");
        assert_eq!(answer.dns_domain_name, "corp.example.test");
        assert_eq!(answer.dns_host_name, "dc1.corp.example.test");
        assert_eq!((answer.netbios_domain_name.as_str(), answer.netbios_computer_name.as_str()), ("CORP", "DC1"));
        assert_eq!(answer.user_name, "");
        assert_eq!(answer.dc_site_name, "Default-First-Site-Name");
        assert_eq!(answer.client_site_name, "Default-First-Site-Name");
        assert_eq!((answer.next_closest_site_name, answer.nt_version), (None, 5));
        assert_eq!(
            answer.flags.to_string(),
            "PDC GC LDAP DS KDC TIMESERV CLOSEST WRITABLE GOOD_TIMESERV FULL_SECRET_DOMAIN_6"
        );
        assert!(answer.flags.has(DsFlags::WRITABLE) && !answer.flags.has(DsFlags(0x400 | 0x100)));
    }

    #[test]
    fn what_is_written_is_read() {
        for closest in [None, Some("Branch".to_owned())] {
            let mut answer = answer();
            answer.nt_version |= if closest.is_some() { nt_version::WITH_CLOSEST_SITE } else { 0 };
            answer.next_closest_site_name = closest;
            let mut bytes = Vec::new();
            answer.write(&mut bytes);
            assert_eq!(NetlogonSamLogonResponseEx::parse(&bytes), Ok(answer));
        }
    }

    #[test]
    fn the_address_that_was_asked_for_is_passed_over() {
        let mut names = vec![0; 8];
        names.push(16);
        names.extend_from_slice(&[2, 0, 0, 0, 192, 0, 2, 10, 0, 0, 0, 0, 0, 0, 0, 0]);
        names.extend_from_slice(b"\x06Branch\0");
        let answer = NetlogonSamLogonResponseEx::parse(&with(&names, 0x1d)).unwrap();
        assert_eq!(answer.next_closest_site_name.as_deref(), Some("Branch"));
    }

    #[test]
    fn a_pointer_that_does_not_go_backwards_is_refused() {
        let itself = FIRST_NAME as u8;
        for names in [
            // To itself, to where it stands in a longer name, forwards, into the head, out of the message.
            vec![0xc0, itself, 0, 0, 0, 0, 0, 0, 0],
            [&b"\x01a\xc0"[..], &[itself + 2], &[0; 7]].concat(),
            [&[0xc0, itself + 2][..], b"\x01a\0", &[0; 7]].concat(),
            vec![0xc0, 0, 0, 0, 0, 0, 0, 0, 0],
            vec![0xff, 0xff, 0, 0, 0, 0, 0, 0, 0],
        ] {
            let kind = NetlogonSamLogonResponseEx::parse(&with(&names, 5)).map_err(|error| error.kind);
            assert_eq!(kind, Err(ErrorKind::Value { what: "the pointer of a compressed name" }), "{names:x?}");
        }
        // A loop of a name with its own beginning: the label is read, and then the pointer goes forwards in what is left.
        let names = [&b"\x01a\xc0"[..], &[itself], &[0; 7]].concat();
        assert!(NetlogonSamLogonResponseEx::parse(&with(&names, 5)).is_err());
    }

    #[test]
    fn a_name_that_pointers_make_longer_than_255_bytes_is_refused() {
        // Each name is a label of 63 bytes and the name before it: the fifth has 319 bytes.
        let mut names = Vec::new();
        let mut before = None;
        for _ in 0..8 {
            let start = FIRST_NAME + names.len();
            names.push(63);
            names.extend_from_slice(&[b'a'; 63]);
            match before {
                Some(at) => names.extend_from_slice(&(0xc000 | at as u16).to_be_bytes()),
                None => names.push(0),
            }
            before = Some(start);
        }
        let kind = NetlogonSamLogonResponseEx::parse(&with(&names, 5)).map_err(|error| error.kind);
        assert_eq!(kind, Err(ErrorKind::Limit { what: "bytes of a name", limit: 255 }));
    }

    #[test]
    fn what_is_cut_or_too_long_or_another_structure_is_refused() {
        let whole = samba();
        for length in 0..whole.len() {
            assert!(NetlogonSamLogonResponseEx::parse(&whole[..length]).is_err(), "{length}");
        }
        assert!(NetlogonSamLogonResponseEx::parse(&with(&[0; 9], 5)).is_err());
        for opcode in [0u8, 12, 19, 21, 26] {
            let mut other = whole.clone();
            other[0] = opcode;
            assert!(NetlogonSamLogonResponseEx::parse(&other).is_err(), "{opcode}");
        }
        for names in
            [&b"\x01\n\0\0\0\0\0\0\0"[..], b"\x01\xff\0\0\0\0\0\0\0", b"\x41a\0\0\0\0\0\0\0", b"\x80a\0\0\0\0\0\0\0"]
        {
            assert!(NetlogonSamLogonResponseEx::parse(&with(names, 5)).is_err(), "{names:x?}");
        }
    }
}
