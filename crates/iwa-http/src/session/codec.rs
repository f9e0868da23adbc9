//! What a session says, in few bytes: a user may be in a thousand groups, and a cookie has 4,096 bytes. RFC 6265 6.1.
//!
//! ```text
//! mechanism  1
//! id         16
//! begun      varint (seconds since 1970); ends and seen: varint (seconds since begun)
//! name, domain                     text: varint length, UTF-8
//! realm, UPN, display name         varint length + 1 or 0 for none, UTF-8
//! SID                              prefix and RID, or one byte 0xff for none
//! groups     varint runs; a run: prefix, varint count, varint first RID, varint distances
//! named      0 for none, or varint count + 1; each: varint bytes shared with the end of the DN before, text, name as above
//! prefix     number of sub-authorities without the RID, varint authority, sub-authorities of 4 bytes;
//!            0xfe: the authority is the whole SID, and there is no RID
//! ```
//!
//! Groups of one domain share its prefix and stand in the order of their RIDs, so that each costs one or two bytes.

use std::collections::BTreeMap;

use iwa_auth::ports::SessionVerified;
use iwa_auth::{Account, Identity, Mechanism, NamedGroup, UnixTime};
use iwa_wire::Sid;

use super::{Parts, SessionId, Times};

/// Appends a session.
pub(super) fn write(id: SessionId, times: &Times, identity: &Identity, out: &mut Vec<u8>) {
    let account = identity.account();
    out.push(match identity.mechanism() {
        Mechanism::Kerberos => 1,
        Mechanism::Ntlm => 2,
        Mechanism::Basic => 3,
    });
    out.extend_from_slice(&id.0);
    let begun = times.begun.secs().unsigned_abs();
    number(begun, out);
    number(times.ends.secs().unsigned_abs().saturating_sub(begun), out);
    number(times.seen.secs().unsigned_abs().saturating_sub(begun), out);
    text(&account.name, out);
    text(&account.domain, out);
    for optional in [&account.realm, &account.upn, &account.display_name] {
        optional_text(optional.as_deref(), out);
    }
    match &account.sid {
        Some(sid) => {
            let (prefix, rid) = apart(sid);
            out.extend_from_slice(&prefix);
            if let Some(rid) = rid {
                number(rid.into(), out);
            }
        }
        None => out.push(NO_SID),
    }
    groups(identity.groups(), out);
    let Some(named) = identity.named_groups() else { return out.push(0) };
    number(named.len() as u64 + 1, out);
    let mut before = "";
    for group in named {
        let shared = shared_end(before, &group.dn);
        number(shared as u64, out);
        text(group.dn.get(..group.dn.len() - shared).unwrap_or_default(), out);
        optional_text(group.name.as_deref(), out);
        before = &group.dn;
    }
}

/// Reads a session, whole. It was sealed by us: what does not parse was sealed by another version.
pub(super) fn read(bytes: &[u8]) -> Option<Parts> {
    let mut reader = Reader(bytes);
    let mechanism = match reader.byte()? {
        1 => Mechanism::Kerberos,
        2 => Mechanism::Ntlm,
        3 => Mechanism::Basic,
        _ => return None,
    };
    let id = SessionId(reader.take(16)?.try_into().ok()?);
    let begun = reader.number()?;
    let ends = begun.checked_add(reader.number()?)?;
    let seen = begun.checked_add(reader.number()?)?;
    let at = |seconds: u64| i64::try_from(seconds).ok().map(UnixTime::from_secs);
    let times = Times { begun: at(begun)?, ends: at(ends)?, seen: at(seen)? };
    let account = Account {
        name: reader.text()?.to_owned(),
        domain: reader.text()?.to_owned(),
        realm: reader.optional_text()?.map(str::to_owned),
        upn: reader.optional_text()?.map(str::to_owned),
        display_name: reader.optional_text()?.map(str::to_owned),
        sid: match reader.prefix()? {
            Prefix::None => None,
            Prefix::Whole(sid) => Some(sid),
            Prefix::Domain(domain) => Some(domain.with_rid(reader.rid()?)?),
        },
    };
    let groups = reader.groups()?;
    let named = reader.named()?;
    reader.0.is_empty().then(|| (id, times, SessionVerified::by_seal(account, groups, named, mechanism)))
}

/// Runs of RIDs, each behind the prefix that they share.
fn groups(groups: &[Sid], out: &mut Vec<u8>) {
    let mut runs: BTreeMap<Vec<u8>, Vec<u32>> = BTreeMap::new();
    for sid in groups {
        let (prefix, rid) = apart(sid);
        let run = runs.entry(prefix).or_default();
        run.extend(rid);
    }
    number(runs.len() as u64, out);
    for (prefix, mut rids) in runs {
        out.extend_from_slice(&prefix);
        if prefix.first() == Some(&WHOLE_SID) {
            continue;
        }
        rids.sort_unstable();
        rids.dedup();
        number(rids.len() as u64, out);
        let mut before = 0;
        for rid in rids {
            number(u64::from(rid - before), out);
            before = rid;
        }
    }
}

/// A SID as its prefix, written, and its RID.
fn apart(sid: &Sid) -> (Vec<u8>, Option<u32>) {
    let mut prefix = Vec::with_capacity(32);
    match sid.sub_authorities() {
        [domain @ .., rid] => {
            prefix.push(domain.len() as u8);
            number(sid.authority(), &mut prefix);
            domain.iter().for_each(|part| prefix.extend_from_slice(&part.to_le_bytes()));
            (prefix, Some(*rid))
        }
        [] => {
            prefix.push(WHOLE_SID);
            number(sid.authority(), &mut prefix);
            (prefix, None)
        }
    }
}

fn number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn text(text: &str, out: &mut Vec<u8>) {
    number(text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

fn optional_text(text: Option<&str>, out: &mut Vec<u8>) {
    number(text.map_or(0, |text| text.len() as u64 + 1), out);
    out.extend_from_slice(text.unwrap_or_default().as_bytes());
}

/// How many bytes two texts share at their ends, by whole characters.
fn shared_end(a: &str, b: &str) -> usize {
    let both = a.chars().rev().zip(b.chars().rev());
    both.take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum()
}

struct Reader<'a>(&'a [u8]);

enum Prefix {
    None,
    Whole(Sid),
    /// Without its RID.
    Domain(Sid),
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            // One spelling a number: no bits beyond the 64th, no zeros in front.
            if bits << shift >> shift != bits || (byte == 0 && shift > 0) {
                return None;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// A count of things of at least `least` bytes each, so that nothing is allocated for what cannot be there.
    fn count(&mut self, least: usize) -> Option<usize> {
        let count = usize::try_from(self.number()?).ok()?;
        (count.checked_mul(least)? <= self.0.len()).then_some(count)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.count(1)?;
        core::str::from_utf8(self.take(length)?).ok()
    }

    fn optional_text(&mut self) -> Option<Option<&'a str>> {
        match self.number()? {
            0 => Some(None),
            length => core::str::from_utf8(self.take(usize::try_from(length - 1).ok()?)?).ok().map(Some),
        }
    }

    fn rid(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }

    fn prefix(&mut self) -> Option<Prefix> {
        match self.byte()? {
            NO_SID => Some(Prefix::None),
            WHOLE_SID => Sid::new(self.number()?, &[]).map(Prefix::Whole),
            count if usize::from(count) < Sid::MAX_SUB_AUTHORITIES => {
                let mut sid = Sid::new(self.number()?, &[])?;
                for _ in 0..count {
                    sid = sid.with_rid(u32::from_le_bytes(self.take(4)?.try_into().ok()?))?;
                }
                Some(Prefix::Domain(sid))
            }
            _ => None,
        }
    }

    fn groups(&mut self) -> Option<Vec<Sid>> {
        let mut groups = Vec::new();
        for _ in 0..self.count(2)? {
            let domain = match self.prefix()? {
                Prefix::None => return None,
                Prefix::Whole(sid) => {
                    groups.push(sid);
                    continue;
                }
                Prefix::Domain(domain) => domain,
            };
            let count = self.count(1)?;
            groups.reserve(count);
            let mut rid = 0u32;
            for place in 0..count {
                let distance = self.rid().filter(|&distance| distance > 0 || place == 0)?;
                rid = rid.checked_add(distance)?;
                groups.push(domain.with_rid(rid)?);
            }
        }
        Some(groups)
    }

    fn named(&mut self) -> Option<Option<Vec<NamedGroup>>> {
        let count = match self.number()? {
            0 => return Some(None),
            count => usize::try_from(count - 1).ok()?,
        };
        if count.checked_mul(3)? > self.0.len() {
            return None;
        }
        let mut groups: Vec<NamedGroup> = Vec::with_capacity(count);
        for _ in 0..count {
            let shared = usize::try_from(self.number()?).ok()?;
            let before = groups.last().map_or("", |group| group.dn.as_str());
            let end = before.get(before.len().checked_sub(shared)?..)?;
            let begin = self.text()?;
            let dn = format!("{begin}{end}");
            groups.push(NamedGroup { dn, name: self.optional_text()?.map(str::to_owned) });
        }
        Some(Some(groups))
    }
}

/// In place of a prefix: there is no SID.
const NO_SID: u8 = 0xff;

/// In place of a prefix: the authority alone.
const WHOLE_SID: u8 = 0xfe;
