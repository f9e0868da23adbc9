//! `NetrLogonSamLogonEx` with a network logon, and `NETLOGON_VALIDATION_SAM_INFO4`. MS-NRPC 3.5.4.5.1, 2.2.1.4.5,
//! 2.2.1.4.13.

use core::fmt;
use std::borrow::Cow;

use crate::error::{ErrorKind, ParseError};
use crate::explain::{Explain, Node};
use crate::ndr::{NdrReader, NdrWriter};
use crate::pac::LogonInfo;
use crate::pac::logon_info::{NewLogonInfo, Sister};
use crate::reader::Reader;
use crate::utf16::Utf16;

use super::FORMAT;

/// The parameters of `NetrLogonSamLogonEx`: a `NETLOGON_NETWORK_INFO`, and the wish for a `NETLOGON_VALIDATION_SAM_INFO4`.
#[derive(Clone, PartialEq, Eq)]
pub struct LogonSamLogonEx<'a> {
    /// `ComputerName`: the member that asks.
    pub computer: Cow<'a, str>,
    /// `LogonDomainName`, as the client spelled it.
    pub domain: Cow<'a, str>,
    /// `ParameterControl`: of [`LogonSamLogonEx::ALLOW_MACHINES`] and others (MS-APDS 3.1.5).
    pub parameter_control: u32,
    /// `UserName`, as the client spelled it.
    pub user: Cow<'a, str>,
    /// `Workstation`, which the client says it is.
    pub workstation: Cow<'a, str>,
    /// `LmChallenge`: the server's challenge.
    pub challenge: [u8; 8],
    /// `NtChallengeResponse`; 65,535 bytes at most.
    pub nt_response: Cow<'a, [u8]>,
    /// `LmChallengeResponse`; 65,535 bytes at most.
    pub lm_response: Cow<'a, [u8]>,
}

impl fmt::Debug for LogonSamLogonEx<'_> {
    /// Without the responses: whoever reads one can guess passwords against it at leisure.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogonSamLogonEx")
            .field("domain", &self.domain)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl LogonSamLogonEx<'_> {
    /// `MSV1_0_ALLOW_SERVER_TRUST_ACCOUNT` and `MSV1_0_ALLOW_WORKSTATION_TRUST_ACCOUNT`: accounts of machines may log on too,
    /// as Windows servers and winbind ask for. Nothing else, in particular neither guests nor clear-text passwords.
    pub const ALLOW_MACHINES: u32 = 0x820;

    /// Appends the stub of the request.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut w = NdrWriter::new(out);
        // `LogonServer`: the one that is connected to.
        w.pointer(false);
        w.pointer(true);
        w.wide_string(&self.computer);
        w.u16(NETWORK_INFORMATION);
        // A union repeats what it is switched by.
        w.u16(NETWORK_INFORMATION);
        w.pointer(true);
        w.string_header(&self.domain);
        w.u32(self.parameter_control);
        w.u32(0);
        w.u32(0);
        w.string_header(&self.user);
        w.string_header(&self.workstation);
        w.bytes(&self.challenge);
        w.octets_header(&self.nt_response);
        w.octets_header(&self.lm_response);
        for text in [&self.domain, &self.user, &self.workstation] {
            w.string(text);
        }
        w.octets(&self.nt_response);
        w.octets(&self.lm_response);
        w.u16(SAM_INFO4);
        w.u32(0);
    }

    /// Reads the stub of a request.
    ///
    /// # Errors
    /// As NDR has it; another kind of logon or of answer.
    pub fn parse(stub: &[u8]) -> Result<Self, ParseError> {
        let mut ndr = NdrReader::new(Reader::new(FORMAT, stub));
        let (server, computer) = (ndr.pointer()?, "");
        if server {
            ndr.wide_string()?;
        }
        let computer = if ndr.pointer()? { ndr.wide_string()?.to_string() } else { computer.to_owned() };
        let at = ndr;
        if [ndr.u16()?, ndr.u16()?] != [NETWORK_INFORMATION; 2] {
            return Err(at.error(ErrorKind::Value { what: "LogonLevel (2 is read here)" }));
        }
        if !ndr.pointer()? {
            return Err(ndr.error(ErrorKind::Missing { what: "NETLOGON_NETWORK_INFO" }));
        }
        let domain = ndr.string_header()?;
        let parameter_control = ndr.u32()?;
        ndr.filetime()?;
        let (user, workstation) = (ndr.string_header()?, ndr.string_header()?);
        let challenge = *ndr.array()?;
        let (nt_response, lm_response) = (ndr.octets_header()?, ndr.octets_header()?);
        let mut text = |header| ndr.string(header).map(|text| Cow::Owned(text.to_string()));
        let (domain, user, workstation) = (text(domain)?, text(user)?, text(workstation)?);
        let nt_response = Cow::Owned(ndr.octets(nt_response)?.to_vec());
        let lm_response = Cow::Owned(ndr.octets(lm_response)?.to_vec());
        let at = ndr;
        if ndr.u16()? != SAM_INFO4 {
            return Err(at.error(ErrorKind::Value { what: "ValidationLevel (6 is read here)" }));
        }
        ndr.u32()?;
        ndr.finish()?;
        let computer = Cow::Owned(computer);
        Ok(Self { computer, domain, parameter_control, user, workstation, challenge, nt_response, lm_response })
    }
}

/// What `NetrLogonSamLogonEx` returns.
#[derive(Clone, Copy, Debug)]
pub struct SamLogon<'a> {
    /// Who it is, if the logon succeeded.
    pub validation: Option<SamInfo4<'a>>,
    /// `Authoritative`: whether no other domain controller could say anything else.
    pub authoritative: bool,
    /// `ExtraFlags`.
    pub extra_flags: u32,
    /// The status.
    pub status: u32,
}

impl<'a> SamLogon<'a> {
    /// Reads the stub of the response.
    ///
    /// # Errors
    /// As NDR has it; a validation of another level.
    pub fn parse(stub: &'a [u8]) -> Result<Self, ParseError> {
        let mut ndr = NdrReader::new(Reader::new(FORMAT, stub));
        level(&mut ndr)?;
        // `read` takes the pointer itself.
        let mut ahead = ndr;
        let validation = if ahead.pointer()? {
            let (info, after) = SamInfo4::read(ndr)?;
            ndr = after;
            Some(info)
        } else {
            ndr = ahead;
            None
        };
        let authoritative = ndr.u8()? != 0;
        let (extra_flags, status) = (ndr.u32()?, ndr.u32()?);
        ndr.finish()?;
        Ok(Self { validation, authoritative, extra_flags, status })
    }

    /// Appends the stub of a refusal.
    pub fn write_refusal(status: u32, out: &mut Vec<u8>) {
        let mut w = NdrWriter::new(out);
        w.u16(SAM_INFO4);
        w.pointer(false);
        w.bytes(&[1]);
        w.u32(0);
        w.u32(status);
    }
}

/// `NETLOGON_VALIDATION_SAM_INFO4`. Everything up to `ExtraSids` is as in a PAC; resource groups are among the extra SIDs.
#[derive(Clone, Copy, Debug)]
pub struct SamInfo4<'a> {
    /// The account and its groups.
    pub info: LogonInfo<'a>,
    /// `DnsLogonDomainName`.
    pub dns_logon_domain_name: Utf16<'a>,
    /// `Upn`.
    pub upn: Utf16<'a>,
}

impl<'a> SamInfo4<'a> {
    fn read(mut ndr: NdrReader<'a>) -> Result<(Self, NdrReader<'a>), ParseError> {
        let (mut dns_logon_domain_name, mut upn) = (Utf16::default(), Utf16::default());
        let sister = Sister::SamInfo4 { dns_logon_domain_name: &mut dns_logon_domain_name, upn: &mut upn };
        let (info, after) = LogonInfo::read(&mut ndr, sister, |_, _, _| {})?;
        Ok((Self { info, dns_logon_domain_name, upn }, after))
    }
}

impl Explain for SamInfo4<'_> {
    /// Explains the stub of a whole response.
    fn explain(bytes: &[u8], offset: usize) -> Node {
        let mut node = Node::branch("NetrLogonSamLogonEx", offset..offset + bytes.len(), "MS-NRPC 3.5.4.5.1");
        let children = &mut node.children;
        let mut ndr = NdrReader::new(Reader::at(FORMAT, bytes, offset));
        let outcome = level(&mut ndr).and_then(|()| {
            let mut ahead = ndr;
            if ahead.pointer()? {
                let (mut dns, mut upn) = (Utf16::default(), Utf16::default());
                let sister = Sister::SamInfo4 { dns_logon_domain_name: &mut dns, upn: &mut upn };
                let (_, after) = LogonInfo::read(&mut ndr, sister, |name, value, range| {
                    children.push(Node::leaf(name, value(), range));
                })?;
                ndr = after;
            } else {
                ndr = ahead;
            }
            let from = ndr.offset();
            children.push(Node::leaf("Authoritative", ndr.u8()?.to_string(), from..ndr.offset()));
            ndr.u32()?;
            let from = ndr.offset();
            children.push(Node::leaf("status", format!("0x{:08X}", ndr.u32()?), from..ndr.offset()));
            ndr.finish()
        });
        node.error = outcome.err();
        node
    }
}

/// A validation as a domain controller makes it, in a response that says yes.
#[derive(Clone, Copy)]
pub struct NewSamInfo4<'a> {
    /// The account and its groups.
    pub info: NewLogonInfo<'a>,
    /// `UserFlags`.
    pub user_flags: u32,
    /// `UserSessionKey`.
    pub user_session_key: &'a [u8; 16],
    /// `DnsLogonDomainName`.
    pub dns_logon_domain_name: &'a str,
    /// `Upn`.
    pub upn: &'a str,
}

impl fmt::Debug for NewSamInfo4<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewSamInfo4").field("info", &self.info).finish_non_exhaustive()
    }
}

impl NewSamInfo4<'_> {
    /// Appends the stub of the response.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut w = NdrWriter::new(out);
        w.u16(SAM_INFO4);
        w.pointer(true);
        self.info.write_flat(&mut w, self.user_session_key, self.user_flags);
        w.string_header(self.dns_logon_domain_name);
        w.string_header(self.upn);
        (0..10).for_each(|_| w.string_header(""));
        self.info.write_deferred(&mut w);
        w.string(self.dns_logon_domain_name);
        w.string(self.upn);
        (0..10).for_each(|_| w.string(""));
        w.bytes(&[1]);
        w.u32(0);
        w.u32(0);
    }
}

/// What the union of an answer is switched by.
fn level(ndr: &mut NdrReader<'_>) -> Result<(), ParseError> {
    let at = *ndr;
    let right = ndr.u16()? == SAM_INFO4;
    if right { Ok(()) } else { Err(at.error(ErrorKind::Value { what: "validation level (6 was asked for)" })) }
}

/// `NetlogonNetworkInformation`.
const NETWORK_INFORMATION: u16 = 2;
/// `NetlogonValidationSamInfo4`.
const SAM_INFO4: u16 = 6;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sid::Sid;

    fn call() -> LogonSamLogonEx<'static> {
        LogonSamLogonEx {
            computer: "WEB".into(),
            domain: "CORP".into(),
            parameter_control: LogonSamLogonEx::ALLOW_MACHINES,
            user: "jörg".into(),
            workstation: "".into(),
            challenge: *b"12345678",
            nt_response: vec![7; 61].into(),
            lm_response: vec![0; 24].into(),
        }
    }

    fn answer(group_ids: &[u32], extra_sids: &[Sid]) -> Vec<u8> {
        let mut out = Vec::new();
        let info = NewLogonInfo {
            effective_name: "alice",
            full_name: "Alice Ängström",
            logon_server: "DC1",
            logon_domain_name: "CORP",
            logon_domain_id: "S-1-5-21-1-2-3".parse().unwrap(),
            user_id: 1105,
            primary_group_id: 513,
            group_ids,
            extra_sids,
            user_account_control: 0x10,
            logon_time: 132_223_104_000_000_000,
            password_last_set: 0,
        };
        NewSamInfo4 {
            info,
            user_flags: 0x100,
            user_session_key: &[9; 16],
            dns_logon_domain_name: "corp.example.test",
            upn: "alice@corp.example.test",
        }
        .write(&mut out);
        out
    }

    #[test]
    fn a_logon_is_read_as_it_was_written() {
        let mut stub = Vec::new();
        call().write(&mut stub);
        assert_eq!(LogonSamLogonEx::parse(&stub), Ok(call()));
    }

    #[test]
    fn a_logon_that_is_cut_or_of_another_level_is_refused() {
        let mut stub = Vec::new();
        call().write(&mut stub);
        for cut in 0..stub.len() {
            assert!(LogonSamLogonEx::parse(&stub[..cut]).is_err(), "cut at {cut}");
        }
        // Behind the computer's name: the level, twice; at the end: the validation level.
        for at in [28, 30, stub.len() - 8] {
            let mut bad = stub.clone();
            bad[at] = 3;
            assert!(LogonSamLogonEx::parse(&bad).is_err(), "byte {at}");
        }
    }

    #[test]
    fn an_answer_is_read_as_it_was_written() {
        let extra: [Sid; 1] = ["S-1-18-1".parse().unwrap()];
        let stub = answer(&[513, 1112], &extra);
        let SamLogon { validation, authoritative, extra_flags, status } = SamLogon::parse(&stub).unwrap();
        assert_eq!((authoritative, extra_flags, status), (true, 0, 0));
        let SamInfo4 { info, dns_logon_domain_name, upn } = validation.unwrap();
        assert!(info.effective_name.eq_str("alice") && info.logon_domain_name.eq_str("CORP"));
        assert!(dns_logon_domain_name.eq_str("corp.example.test") && upn.eq_str("alice@corp.example.test"));
        assert_eq!(info.account_sid().unwrap().to_string(), "S-1-5-21-1-2-3-1105");
        assert_eq!((info.user_session_key.0, info.user_flags), (&[9; 16], 0x120));
        let groups: Vec<_> = info.groups().map(|group| group.sid.to_string()).collect();
        assert_eq!(groups, ["S-1-5-21-1-2-3-513", "S-1-5-21-1-2-3-1112", "S-1-18-1"]);
        let node = SamInfo4::explain(&stub, 0);
        assert_eq!(node.first_error(), None);
        assert_eq!(node.find("Upn").unwrap().value, "alice@corp.example.test");
    }

    #[test]
    fn a_refusal_has_its_status_and_nobody() {
        let mut stub = Vec::new();
        SamLogon::write_refusal(0xc000_006a, &mut stub);
        let answer = SamLogon::parse(&stub).unwrap();
        assert!(answer.validation.is_none() && answer.authoritative);
        assert_eq!(answer.status, 0xc000_006a);
        for cut in 0..stub.len() {
            assert!(SamLogon::parse(&stub[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_session_key_is_not_printed() {
        let stub = answer(&[513], &[]);
        let shown = format!("{:?}", SamLogon::parse(&stub).unwrap());
        assert!(!shown.contains("9, 9"), "{shown}");
    }

    #[test]
    fn cut_anywhere_or_of_another_level_an_answer_is_refused() {
        let stub = answer(&[513, 1112], &["S-1-18-1".parse().unwrap()]);
        for cut in 0..stub.len() {
            assert!(SamLogon::parse(&stub[..cut]).is_err(), "cut at {cut}");
            assert!(SamInfo4::explain(&stub[..cut], 0).first_error().is_some(), "cut at {cut}");
        }
        let mut other = stub.clone();
        other[0] = 3;
        assert!(SamLogon::parse(&other).is_err() && SamInfo4::explain(&other, 0).first_error().is_some());
        assert!(SamLogon::parse(&[&stub[..], &[0; 8]].concat()).is_err());
    }

    #[test]
    fn counts_that_lie_are_refused_and_many_groups_are_read() {
        let many: Vec<u32> = (1..5000).collect();
        let stub = answer(&many, &[]);
        assert_eq!(SamLogon::parse(&stub).unwrap().validation.unwrap().info.groups().count(), 4999);
        let stub = answer(&[513], &["S-1-18-1".parse().unwrap()]);
        // Behind level and pointer, six times, six strings, two counts and two RIDs stands `GroupCount`.
        let at = 8 + 48 + 48 + 4 + 8;
        assert_eq!(stub[at..at + 4], [1, 0, 0, 0]);
        for count in [0u32, 2, 0x2000_0000, u32::MAX] {
            let mut bad = stub.clone();
            bad[at..at + 4].copy_from_slice(&count.to_le_bytes());
            assert!(SamLogon::parse(&bad).is_err(), "{count}");
        }
    }
}
