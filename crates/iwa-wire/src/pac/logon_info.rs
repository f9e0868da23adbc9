//! `KERB_VALIDATION_INFO`: account, groups and policy of the client as the domain controller knows them. MS-PAC 2.5.
//!
//! Up to `ExtraSids` it is `NETLOGON_VALIDATION_SAM_INFO4` (MS-NRPC 2.2.1.4.13), which a domain controller answers NTLM
//! logons with, field by field; both are read here ([`crate::netlogon::SamInfo4`]).

use core::ops::Range;

use crate::error::{ErrorKind, ParseError};
use crate::explain::{Explain, Node, printable};
use crate::ndr::{NdrReader, NdrWriter};
use crate::reader::Reader;
use crate::sid::Sid;
use crate::utf16::Utf16;

use super::filetime;

/// The client's logon information. Groups are checked when it is read and made into SIDs when they are asked for; their
/// number is bounded by the bytes they stand in.
#[derive(Clone, Copy, Debug)]
pub struct LogonInfo<'a> {
    /// `EffectiveName`: the account name (`sAMAccountName`).
    pub effective_name: Utf16<'a>,
    /// `FullName`: the display name.
    pub full_name: Utf16<'a>,
    /// `LogonServer`: the NetBIOS name of the domain controller.
    pub logon_server: Utf16<'a>,
    /// `LogonDomainName`: the NetBIOS name of the account's domain.
    pub logon_domain_name: Utf16<'a>,
    /// `LogonDomainId`: the SID of the account's domain.
    pub logon_domain_id: Option<Sid>,
    /// `UserId`: the RID of the account in its domain, or 0 if the first of `ExtraSids` is the account.
    pub user_id: u32,
    /// `PrimaryGroupId`: the RID of the primary group in the account's domain.
    pub primary_group_id: u32,
    /// `UserFlags`.
    pub user_flags: u32,
    /// `UserAccountControl` (MS-SAMR 2.2.1.12).
    pub user_account_control: u32,
    /// `LogonTime`, a `FILETIME`.
    pub logon_time: u64,
    /// `LogoffTime`: after it the logon is over (logon hours).
    pub logoff_time: u64,
    /// `KickOffTime`: when the account expires, as far as sessions care.
    pub kick_off_time: u64,
    /// `PasswordLastSet`.
    pub password_last_set: u64,
    /// `UserSessionKey`: for NTLM; zero in a PAC.
    pub user_session_key: UserSessionKey<'a>,
    groups: Rids<'a>,
    extra_count: u32,
    extra_entries: NdrReader<'a>,
    extra_sids: NdrReader<'a>,
    resource_domain: Option<Sid>,
    resource_groups: Rids<'a>,
}

/// A group with what the membership means (`SE_GROUP_...`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Membership {
    /// The group.
    pub sid: Sid,
    /// Of [`Membership::ENABLED`] and others (MS-PAC 2.2.1).
    pub attributes: u32,
}

impl Membership {
    /// The member cannot turn it off.
    pub const MANDATORY: u32 = 1;
    /// It is on when the logon begins.
    pub const ENABLED_BY_DEFAULT: u32 = 2;
    /// It is on.
    pub const ENABLED: u32 = 4;
    /// It counts for denials only.
    pub const USE_FOR_DENY_ONLY: u32 = 0x10;

    /// Whether the membership grants anything.
    #[must_use]
    pub const fn grants(&self) -> bool {
        self.attributes & (Self::ENABLED | Self::USE_FOR_DENY_ONLY) == Self::ENABLED
    }
}

/// `USER_SESSION_KEY` (MS-NRPC 2.2.1.4.2): secret, and therefore not printed.
#[derive(Clone, Copy)]
pub struct UserSessionKey<'a>(pub &'a [u8; 16]);

impl core::fmt::Debug for UserSessionKey<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("UserSessionKey(..)")
    }
}

/// Which of the sisters is read, and what only this one has.
pub(crate) enum Sister<'s, 'a> {
    /// `KERB_VALIDATION_INFO`: resource groups after `ExtraSids`.
    Pac,
    /// `NETLOGON_VALIDATION_SAM_INFO4`: strings after `ExtraSids`.
    SamInfo4 {
        /// `DnsLogonDomainName`.
        dns_logon_domain_name: &'s mut Utf16<'a>,
        /// `Upn`.
        upn: &'s mut Utf16<'a>,
    },
}

/// `DnsLogonDomainName`, `Upn`, `ExpansionString1` to `ExpansionString10`.
const SAM_INFO4_STRINGS: usize = 12;

impl<'a> LogonInfo<'a> {
    /// `UserFlags`: nobody was proved; the authority lets unknown people in as a guest.
    pub const GUEST: u32 = 1;
    /// `UserFlags`: `ExtraSids` is in use.
    pub const EXTRA_SIDS: u32 = 0x20;
    /// `UserFlags`: `ResourceGroupIds` is in use.
    pub const RESOURCE_GROUPS: u32 = 0x200;

    /// Reads the buffer.
    ///
    /// # Errors
    /// As NDR has it: truncated, contradicting counts, a bad SID, trailing bytes.
    pub fn parse(bytes: &'a [u8], offset: usize) -> Result<Self, ParseError> {
        let mut ndr = NdrReader::serialized(FORMAT, bytes, offset)?;
        let (info, ndr) = Self::read(&mut ndr, Sister::Pac, |_, _, _| {})?;
        ndr.finish()?;
        Ok(info)
    }

    /// Reads all fields in their order and tells `seen` of each: its name, its value in words, and where it stands.
    pub(crate) fn read<S: FnMut(&'static str, &dyn Fn() -> String, Range<usize>)>(
        ndr: &mut NdrReader<'a>,
        sister: Sister<'_, 'a>,
        mut seen: S,
    ) -> Result<(Self, NdrReader<'a>), ParseError> {
        if !ndr.pointer()? {
            return Err(ndr.error(ErrorKind::Missing { what: FORMAT }));
        }
        macro_rules! flat {
            ($name:literal, $read:ident, $show:expr) => {{
                let from = ndr.offset();
                let value = ndr.$read()?;
                seen($name, &|| $show(value), from..ndr.offset());
                value
            }};
        }
        let number = |value: u32| value.to_string();
        let hexadecimal = |value: u32| format!("0x{value:08x}");
        let logon_time = flat!("LogonTime", filetime, filetime);
        let logoff_time = flat!("LogoffTime", filetime, filetime);
        let kick_off_time = flat!("KickOffTime", filetime, filetime);
        let password_last_set = flat!("PasswordLastSet", filetime, filetime);
        flat!("PasswordCanChange", filetime, filetime);
        flat!("PasswordMustChange", filetime, filetime);
        let effective_name = ndr.string_header()?;
        let full_name = ndr.string_header()?;
        let logon_script = ndr.string_header()?;
        let profile_path = ndr.string_header()?;
        let home_directory = ndr.string_header()?;
        let home_directory_drive = ndr.string_header()?;
        flat!("LogonCount", u16, |value: u16| value.to_string());
        flat!("BadPasswordCount", u16, |value: u16| value.to_string());
        let user_id = flat!("UserId", u32, number);
        let primary_group_id = flat!("PrimaryGroupId", u32, number);
        let group_count = flat!("GroupCount", u32, number);
        let groups = ndr.pointer()?;
        let user_flags = flat!("UserFlags", u32, user_flags_in_words);
        let user_session_key = UserSessionKey(ndr.array::<16>()?);
        let logon_server = ndr.string_header()?;
        let logon_domain_name = ndr.string_header()?;
        let logon_domain_id = ndr.pointer()?;
        ndr.array::<8>()?;
        let user_account_control = flat!("UserAccountControl", u32, hexadecimal);
        flat!("SubAuthStatus", u32, number);
        flat!("LastSuccessfulILogon", filetime, filetime);
        flat!("LastFailedILogon", filetime, filetime);
        flat!("FailedILogonCount", u32, number);
        ndr.u32()?;
        let extra_count = flat!("SidCount", u32, number);
        let extra = ndr.pointer()?;
        let (mut resource_domain, mut resource_count, mut resource_groups) = (false, 0, false);
        let mut strings = [None; SAM_INFO4_STRINGS];
        match sister {
            Sister::Pac => {
                resource_domain = ndr.pointer()?;
                resource_count = flat!("ResourceGroupCount", u32, number);
                resource_groups = ndr.pointer()?;
            }
            Sister::SamInfo4 { .. } => {
                for string in &mut strings {
                    *string = Some(ndr.string_header()?);
                }
            }
        }

        macro_rules! text {
            ($name:literal, $header:expr) => {{
                let from = ndr.offset();
                let text = ndr.string($header)?;
                seen($name, &|| printable(&text.to_string()), from..ndr.offset());
                text
            }};
        }
        macro_rules! sid {
            ($name:literal, $present:expr) => {{
                let from = ndr.offset();
                let sid = if $present { Some(ndr.sid()?) } else { None };
                seen($name, &|| sid.map_or_else(|| "none".to_owned(), |sid| sid.to_string()), from..ndr.offset());
                sid
            }};
        }
        macro_rules! rids {
            ($name:literal, $present:expr, $count:expr) => {{
                let from = ndr.offset();
                let rids = Rids::read(ndr, $present, $count)?;
                seen($name, &|| rids.in_words(), from..ndr.offset());
                rids
            }};
        }
        let effective_name = text!("EffectiveName", effective_name);
        let full_name = text!("FullName", full_name);
        text!("LogonScript", logon_script);
        text!("ProfilePath", profile_path);
        text!("HomeDirectory", home_directory);
        text!("HomeDirectoryDrive", home_directory_drive);
        let groups = rids!("GroupIds", groups, group_count);
        let logon_server = text!("LogonServer", logon_server);
        let logon_domain_name = text!("LogonDomainName", logon_domain_name);
        let logon_domain_id = sid!("LogonDomainId", logon_domain_id);
        let extra_count = if extra { extra_count } else { 0 };
        if extra {
            ndr.conformance("SidCount", extra_count)?;
        }
        let extra_entries = *ndr;
        ndr.elements(extra_count, 8)?;
        let extra_sids = *ndr;
        let mut entries = extra_entries;
        for _ in 0..extra_count {
            let (present, attributes) = (entries.pointer()?, entries.u32()?);
            if present {
                let from = ndr.offset();
                let sid = ndr.sid()?;
                seen("ExtraSids", &|| format!("{sid} (0x{attributes:x})"), from..ndr.offset());
            }
        }
        let resource_domain = sid!("ResourceGroupDomainSid", resource_domain);
        let resource_groups = rids!("ResourceGroupIds", resource_groups, resource_count);
        if let Sister::SamInfo4 { dns_logon_domain_name, upn } = sister {
            let [dns, name, expansions @ ..] = strings;
            if let (Some(dns), Some(name)) = (dns, name) {
                *dns_logon_domain_name = text!("DnsLogonDomainName", dns);
                *upn = text!("Upn", name);
            }
            for expansion in expansions.into_iter().flatten() {
                ndr.string(expansion)?;
            }
        }
        let info = Self {
            effective_name,
            full_name,
            logon_server,
            logon_domain_name,
            logon_domain_id,
            user_id,
            primary_group_id,
            user_flags,
            user_account_control,
            logon_time,
            logoff_time,
            kick_off_time,
            password_last_set,
            user_session_key,
            groups,
            extra_count,
            extra_entries,
            extra_sids,
            resource_domain,
            resource_groups,
        };
        Ok((info, *ndr))
    }

    /// The account's SID. `None` if the PAC does not say, or says it with a SID that cannot be.
    #[must_use]
    pub fn account_sid(&self) -> Option<Sid> {
        // MS-PAC 2.5: without a RID the account is the first of the extra SIDs.
        if self.user_id == 0 {
            self.extra_sids().next().map(|membership| membership.sid)
        } else {
            self.logon_domain_id?.with_rid(self.user_id)
        }
    }

    /// All groups as full SIDs: the domain's, the extra ones (other domains, well-known), the resource domain's. The
    /// primary group is among the domain's.
    pub fn groups(&self) -> impl Iterator<Item = Membership> + use<'a> {
        let (domain, resource_domain) = (self.logon_domain_id, self.resource_domain);
        let full =
            |domain: Option<Sid>, rid: u32, attributes| Some(Membership { sid: domain?.with_rid(rid)?, attributes });
        let of_domain = self.groups.iter().filter_map(move |(rid, attributes)| full(domain, rid, attributes));
        let of_resource =
            self.resource_groups.iter().filter_map(move |(rid, attributes)| full(resource_domain, rid, attributes));
        of_domain.chain(self.extra_sids().skip(usize::from(self.user_id == 0))).chain(of_resource)
    }

    /// An upper bound for the number of [`LogonInfo::groups`].
    #[must_use]
    pub const fn group_count(&self) -> usize {
        (self.groups.0.len() + self.resource_groups.0.len()) / RID_SIZE + self.extra_count as usize
    }

    fn extra_sids(&self) -> impl Iterator<Item = Membership> + use<'a> {
        let Self { mut extra_entries, mut extra_sids, extra_count, .. } = *self;
        (0..extra_count).filter_map(move |_| {
            let (present, attributes) = (extra_entries.pointer().ok()?, extra_entries.u32().ok()?);
            if present { Some(Membership { sid: extra_sids.sid().ok()?, attributes }) } else { None }
        })
    }
}

/// `GROUP_MEMBERSHIP` (MS-PAC 2.2.2): relative identifiers with attributes, eight bytes each.
#[derive(Clone, Copy, Debug)]
struct Rids<'a>(&'a [u8]);

impl<'a> Rids<'a> {
    fn read(ndr: &mut NdrReader<'a>, present: bool, count: u32) -> Result<Self, ParseError> {
        if !present {
            return Ok(Self(&[]));
        }
        ndr.conformance("count of groups", count)?;
        ndr.elements(count, RID_SIZE).map(Self)
    }

    fn iter(self) -> impl Iterator<Item = (u32, u32)> + 'a {
        self.0.chunks_exact(RID_SIZE).filter_map(|entry| {
            let mut reader = Reader::new(FORMAT, entry);
            Some((reader.u32_le().ok()?, reader.u32_le().ok()?))
        })
    }

    fn in_words(self) -> String {
        let mut words = Vec::new();
        for (rid, attributes) in self.iter().take(SHOWN) {
            words.push(if attributes == USUAL { rid.to_string() } else { format!("{rid} (0x{attributes:x})") });
        }
        if self.0.len() / RID_SIZE > SHOWN {
            words.push(format!("... ({} in all)", self.0.len() / RID_SIZE));
        }
        words.join(", ")
    }
}

fn user_flags_in_words(flags: u32) -> String {
    let names: &[(u32, &str)] = &[
        (LogonInfo::EXTRA_SIDS, "LOGON_EXTRA_SIDS"),
        (LogonInfo::RESOURCE_GROUPS, "LOGON_RESOURCE_GROUPS"),
        (LogonInfo::GUEST, "LOGON_GUEST"),
    ];
    let names: Vec<_> = names.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name).collect();
    format!("0x{flags:08x} {}", names.join(" ")).trim_end().to_owned()
}

/// Logon information as an issuer makes it.
#[derive(Clone, Copy, Debug)]
pub struct NewLogonInfo<'a> {
    /// `EffectiveName`.
    pub effective_name: &'a str,
    /// `FullName`.
    pub full_name: &'a str,
    /// `LogonServer`.
    pub logon_server: &'a str,
    /// `LogonDomainName`.
    pub logon_domain_name: &'a str,
    /// `LogonDomainId`.
    pub logon_domain_id: Sid,
    /// `UserId`.
    pub user_id: u32,
    /// `PrimaryGroupId`.
    pub primary_group_id: u32,
    /// `GroupIds`, in the account's domain.
    pub group_ids: &'a [u32],
    /// `ExtraSids`.
    pub extra_sids: &'a [Sid],
    /// `UserAccountControl`.
    pub user_account_control: u32,
    /// `LogonTime`, a `FILETIME`.
    pub logon_time: u64,
    /// `PasswordLastSet`, a `FILETIME`.
    pub password_last_set: u64,
}

impl NewLogonInfo<'_> {
    /// Appends the buffer. Groups beyond 2^32 cannot be.
    pub fn write(&self, out: &mut Vec<u8>) {
        NdrWriter::serialized(out, |w| {
            w.pointer(true);
            self.write_flat(w, &[0; 16], 0);
            w.pointer(false);
            w.u32(0);
            w.pointer(false);
            self.write_deferred(w);
        });
    }

    /// The fields up to `ExtraSids`, flat.
    pub(crate) fn write_flat(&self, w: &mut NdrWriter<'_>, user_session_key: &[u8; 16], user_flags: u32) {
        for time in [self.logon_time, NEVER, NEVER, self.password_last_set, self.password_last_set, NEVER] {
            w.filetime(time);
        }
        self.texts().iter().for_each(|text| w.string_header(text));
        w.u16(0);
        w.u16(0);
        w.u32(self.user_id);
        w.u32(self.primary_group_id);
        w.u32(self.group_ids.len() as u32);
        w.pointer(true);
        w.u32(user_flags | if self.extra_sids.is_empty() { 0 } else { LogonInfo::EXTRA_SIDS });
        w.bytes(user_session_key);
        w.string_header(self.logon_server);
        w.string_header(self.logon_domain_name);
        w.pointer(true);
        w.bytes(&[0; 8]);
        w.u32(self.user_account_control);
        w.u32(0);
        w.filetime(0);
        w.filetime(0);
        w.u32(0);
        w.u32(0);
        w.u32(self.extra_sids.len() as u32);
        w.pointer(!self.extra_sids.is_empty());
    }

    /// What the pointers of [`NewLogonInfo::write_flat`] lead to.
    pub(crate) fn write_deferred(&self, w: &mut NdrWriter<'_>) {
        self.texts().iter().for_each(|text| w.string(text));
        w.u32(self.group_ids.len() as u32);
        for rid in self.group_ids {
            w.u32(*rid);
            w.u32(USUAL);
        }
        w.string(self.logon_server);
        w.string(self.logon_domain_name);
        w.sid(&self.logon_domain_id);
        if !self.extra_sids.is_empty() {
            w.u32(self.extra_sids.len() as u32);
            for _ in self.extra_sids {
                w.pointer(true);
                w.u32(USUAL);
            }
            self.extra_sids.iter().for_each(|sid| w.sid(sid));
        }
    }

    const fn texts(&self) -> [&str; 6] {
        [self.effective_name, self.full_name, "", "", "", ""]
    }
}

const FORMAT: &str = "KERB_VALIDATION_INFO";
/// `RelativeId` and `Attributes`.
const RID_SIZE: usize = 8;
/// How many groups an explanation lists.
const SHOWN: usize = 64;
/// `SE_GROUP_MANDATORY`, `SE_GROUP_ENABLED_BY_DEFAULT` and `SE_GROUP_ENABLED`.
const USUAL: u32 = Membership::MANDATORY | Membership::ENABLED_BY_DEFAULT | Membership::ENABLED;
/// The `FILETIME` that means never.
const NEVER: u64 = 0x7fff_ffff_ffff_ffff;

impl Explain for LogonInfo<'_> {
    fn explain(bytes: &[u8], offset: usize) -> Node {
        let mut node = Node::branch(FORMAT, offset..offset + bytes.len(), "MS-PAC 2.5");
        let children = &mut node.children;
        let outcome = NdrReader::serialized(FORMAT, bytes, offset).and_then(|mut ndr| {
            let (info, ndr) = LogonInfo::read(&mut ndr, Sister::Pac, |name, value, range| {
                children.push(Node::leaf(name, value(), range));
            })?;
            ndr.finish()?;
            Ok(info.account_sid())
        });
        match outcome {
            Ok(Some(sid)) => node.note = Some(format!("the account is {sid}")),
            Ok(None) => node.note = Some("the account has no SID".to_owned()),
            Err(error) => node.error = Some(error),
        }
        node
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(group_ids: &[u32], extra_sids: &[Sid], user_id: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let info = NewLogonInfo {
            effective_name: "alice",
            full_name: "Alice Ängström",
            logon_server: "SRV",
            logon_domain_name: "EXAMPLE",
            logon_domain_id: "S-1-5-21-1-2-3".parse().unwrap(),
            user_id,
            primary_group_id: 513,
            group_ids,
            extra_sids,
            user_account_control: 0x10,
            logon_time: 132_223_104_000_000_000,
            password_last_set: 0,
        };
        info.write(&mut bytes);
        bytes
    }

    fn groups(info: &LogonInfo<'_>) -> Vec<String> {
        info.groups().map(|group| group.sid.to_string()).collect()
    }

    #[test]
    fn what_is_written_is_read() {
        let asserted: Sid = "S-1-18-1".parse().unwrap();
        let bytes = sample(&[513, 1105], &[asserted], 1000);
        let info = LogonInfo::parse(&bytes, 0).unwrap();
        assert!(info.effective_name.eq_str("alice") && info.full_name.eq_str("Alice Ängström"));
        assert!(info.logon_domain_name.eq_str("EXAMPLE"));
        assert_eq!(info.account_sid().unwrap().to_string(), "S-1-5-21-1-2-3-1000");
        assert_eq!(groups(&info), ["S-1-5-21-1-2-3-513", "S-1-5-21-1-2-3-1105", "S-1-18-1"]);
        assert_eq!(info.group_count(), 3);
        assert!(info.groups().all(|group| group.grants()));
        let node = LogonInfo::explain(&bytes, 0);
        assert_eq!(node.first_error(), None);
        assert_eq!(node.find("LogonTime").unwrap().value, "2020-01-01T00:00:00Z");
        assert_eq!(node.find("GroupIds").unwrap().value, "513, 1105");
    }

    #[test]
    fn without_a_rid_the_first_extra_sid_is_the_account_and_not_a_group() {
        let extra: Vec<Sid> = vec!["S-1-5-21-9-9-9-1".parse().unwrap(), "S-1-18-1".parse().unwrap()];
        let bytes = sample(&[], &extra, 0);
        let info = LogonInfo::parse(&bytes, 0).unwrap();
        assert_eq!(info.account_sid(), Some(extra[0]));
        assert_eq!(groups(&info), ["S-1-18-1"]);
        let bytes = sample(&[], &[], 0);
        assert_eq!(LogonInfo::parse(&bytes, 0).unwrap().account_sid(), None);
    }

    #[test]
    fn ten_thousand_groups_are_read_and_a_count_beyond_the_bytes_is_refused() {
        let rids: Vec<u32> = (1..=12_000).collect();
        let bytes = sample(&rids, &[], 1000);
        assert_eq!(LogonInfo::parse(&bytes, 0).unwrap().groups().count(), 12_000);
        let bytes = sample(&[513], &[], 1000);
        let conformance = bytes.windows(8).position(|w| w == [1, 0, 0, 0, 1, 2, 0, 0]).unwrap();
        // `GroupCount`, behind two headers, a pointer, six times, six strings and four more fields.
        for count in [2u32, 0x2000_0000, 0x2000_0001, u32::MAX] {
            let mut bad = bytes.clone();
            bad[128..132].copy_from_slice(&count.to_le_bytes());
            assert!(LogonInfo::parse(&bad, 0).is_err());
            bad[conformance..conformance + 4].copy_from_slice(&count.to_le_bytes());
            assert!(LogonInfo::parse(&bad, 0).is_err(), "{count}");
        }
    }

    #[test]
    fn groups_that_only_deny_or_are_off_grant_nothing() {
        let sid = "S-1-5-32-544".parse().unwrap();
        for (attributes, grants) in
            [(7, true), (0x2000_0007, true), (0, false), (3, false), (0x10, false), (0x14, false)]
        {
            assert_eq!(Membership { sid, attributes }.grants(), grants, "0x{attributes:x}");
        }
    }

    #[test]
    fn cut_anywhere_it_is_refused_and_explained_as_far_as_it_goes() {
        let bytes = sample(&[513, 1105], &["S-1-18-1".parse().unwrap()], 1000);
        for cut in 0..bytes.len() {
            assert!(LogonInfo::parse(&bytes[..cut], 0).is_err(), "cut at {cut}");
            // With the length mended, so that the cut falls into the body.
            if cut > 16 {
                let mut mended = bytes[..cut].to_vec();
                mended[8..12].copy_from_slice(&((cut - 16) as u32).to_le_bytes());
                if LogonInfo::parse(&mended, 0).is_ok() {
                    assert!(bytes.len() - cut < 8, "cut at {cut}");
                }
                let _ = LogonInfo::explain(&mended, 0);
            }
        }
    }
}
