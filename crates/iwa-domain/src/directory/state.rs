//! What keeps an account out although its password is right, as each kind of directory writes it.
//!
//! | attribute | of | meaning |
//! |---|---|---|
//! | `sambaAcctFlags`, `sambaKickoffTime`, `sambaPwdLastSet` | the Samba schema | disabled, locked; expires; 0: to be changed |
//! | `pwdAccountLockedTime` | draft-behera-ldap-password-policy 5.3.3 | locked since, or for good |
//! | `loginDisabled`, `lockedByIntruder`, `loginIntruderResetTime`, `loginExpirationTime`, `passwordExpirationTime` | eDirectory | |
//! | `nsAccountLock` | 389 Directory Server, FreeIPA | disabled |
//! | `krbPrincipalExpiration`, `krbPasswordExpiration` | MIT Kerberos, FreeIPA | |
//! | `shadowExpire` | RFC 2307 | expires, in days |
//!
//! A value that cannot be read keeps the account out: whoever wrote it meant something. An attribute that the reader may not
//! see is one that is not there.

use iwa_auth::{NtStatus, UnixTime};

use super::Entry;

/// The attributes that [`refusal`] looks at. Some are operational and come only if they are asked for by name.
pub(super) const ATTRIBUTES: &[&str] = &[
    "sambaAcctFlags",
    "sambaKickoffTime",
    "sambaPwdLastSet",
    "pwdAccountLockedTime",
    "loginDisabled",
    "lockedByIntruder",
    "loginIntruderResetTime",
    "loginExpirationTime",
    "passwordExpirationTime",
    "nsAccountLock",
    "krbPrincipalExpiration",
    "krbPasswordExpiration",
    "shadowExpire",
];

/// Why the account may not in now.
pub(super) fn refusal(entry: &Entry, now: UnixTime) -> Option<NtStatus> {
    const CHECKS: &[Check] = &[samba, password_policy, edirectory, ipa, shadow];
    for check in CHECKS {
        match check(entry, now) {
            Ok(None) => {}
            Ok(refusal) => return refusal,
            Err(attribute) => {
                tracing::warn!(dn = %entry.shown(), attribute, "the attribute cannot be understood, and keeps the account out");
                return Some(NtStatus::ACCOUNT_RESTRICTION);
            }
        }
    }
    None
}

/// What one kind of directory says; `Err` is the attribute that cannot be understood.
type Check = fn(&Entry, UnixTime) -> Result<Option<NtStatus>, &'static str>;

/// Samba, `pdb_decode_acct_ctrl`: letters between brackets.
fn samba(entry: &Entry, now: UnixTime) -> Result<Option<NtStatus>, &'static str> {
    if let Some(flags) = text(entry, "sambaAcctFlags")? {
        let flags = flags.strip_prefix('[').and_then(|flags| flags.strip_suffix(']')).ok_or("sambaAcctFlags")?;
        if flags.contains('D') {
            return Ok(Some(NtStatus::ACCOUNT_DISABLED));
        }
        if flags.contains('L') {
            return Ok(Some(NtStatus::ACCOUNT_LOCKED_OUT));
        }
        // Machines and domains; and accounts that need no password are none to sign in with one.
        if flags.contains(['W', 'S', 'I', 'N']) {
            return Ok(Some(NtStatus::ACCOUNT_RESTRICTION));
        }
    }
    if number(entry, "sambaKickoffTime")?.is_some_and(|at| at != 0 && UnixTime::from_secs(at) <= now) {
        return Ok(Some(NtStatus::ACCOUNT_EXPIRED));
    }
    if number(entry, "sambaPwdLastSet")? == Some(0) {
        return Ok(Some(NtStatus::PASSWORD_MUST_CHANGE));
    }
    Ok(None)
}

/// Until when it is locked is for the directory's policy, which is not ours to read: it clears the attribute at a bind.
fn password_policy(entry: &Entry, _: UnixTime) -> Result<Option<NtStatus>, &'static str> {
    Ok(match text(entry, "pwdAccountLockedTime")? {
        None => None,
        Some(time) if time.starts_with("000001010000") => Some(NtStatus::ACCOUNT_DISABLED),
        Some(_) => Some(NtStatus::ACCOUNT_LOCKED_OUT),
    })
}

fn edirectory(entry: &Entry, now: UnixTime) -> Result<Option<NtStatus>, &'static str> {
    if boolean(entry, "loginDisabled")? {
        return Ok(Some(NtStatus::ACCOUNT_DISABLED));
    }
    if boolean(entry, "lockedByIntruder")? && !is_past(entry, "loginIntruderResetTime", now)? {
        return Ok(Some(NtStatus::ACCOUNT_LOCKED_OUT));
    }
    if is_past(entry, "loginExpirationTime", now)? {
        return Ok(Some(NtStatus::ACCOUNT_EXPIRED));
    }
    Ok(is_past(entry, "passwordExpirationTime", now)?.then_some(NtStatus::PASSWORD_EXPIRED))
}

fn ipa(entry: &Entry, now: UnixTime) -> Result<Option<NtStatus>, &'static str> {
    if boolean(entry, "nsAccountLock")? {
        return Ok(Some(NtStatus::ACCOUNT_DISABLED));
    }
    if is_past(entry, "krbPrincipalExpiration", now)? {
        return Ok(Some(NtStatus::ACCOUNT_EXPIRED));
    }
    Ok(is_past(entry, "krbPasswordExpiration", now)?.then_some(NtStatus::PASSWORD_EXPIRED))
}

fn shadow(entry: &Entry, now: UnixTime) -> Result<Option<NtStatus>, &'static str> {
    let expired = |days: i64| days >= 0 && UnixTime::from_secs(days.saturating_mul(86_400)) <= now;
    Ok(number(entry, "shadowExpire")?.is_some_and(expired).then_some(NtStatus::ACCOUNT_EXPIRED))
}

fn text<'a>(entry: &'a Entry, attribute: &'static str) -> Result<Option<&'a str>, &'static str> {
    match entry.values(attribute) {
        [] => Ok(None),
        [value] => core::str::from_utf8(value).map(|text| Some(text.trim())).map_err(|_| attribute),
        _ => Err(attribute),
    }
}

fn boolean(entry: &Entry, attribute: &'static str) -> Result<bool, &'static str> {
    match text(entry, attribute)? {
        None => Ok(false),
        Some(text) if text.eq_ignore_ascii_case("FALSE") => Ok(false),
        Some(text) if text.eq_ignore_ascii_case("TRUE") => Ok(true),
        Some(_) => Err(attribute),
    }
}

fn number(entry: &Entry, attribute: &'static str) -> Result<Option<i64>, &'static str> {
    text(entry, attribute)?.map(|text| text.parse().map_err(|_| attribute)).transpose()
}

fn is_past(entry: &Entry, attribute: &'static str, now: UnixTime) -> Result<bool, &'static str> {
    match text(entry, attribute)? {
        None => Ok(false),
        Some(text) => generalized_time(text).map(|at| at <= now).ok_or(attribute),
    }
}

/// `GeneralizedTime` as directories write it, in UTC: `20261123164000Z`, with or without seconds and fractions.
/// RFC 4517 3.3.13.
pub(super) fn generalized_time(text: &str) -> Option<UnixTime> {
    let digits = text.strip_suffix('Z')?;
    let digits = digits.split_once(['.', ',']).map_or(digits, |(whole, _)| whole);
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) || !matches!(digits.len(), 10 | 12 | 14) {
        return None;
    }
    let field = |from: usize, to: usize| -> Option<i64> {
        if from >= digits.len() { Some(0) } else { digits.get(from..to)?.parse().ok() }
    };
    let (year, month, day) = (field(0, 4)?, field(4, 6)?, field(6, 8)?);
    let (hour, minute, second) = (field(8, 10)?, field(10, 12)?, field(12, 14)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Days since 1970 of the proleptic Gregorian calendar, counted from March.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days =
        365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + (153 * m + 2) / 5 + day - 1 - 719_468;
    Some(UnixTime::from_secs(days * 86_400 + hour * 3600 + minute * 60 + second))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> UnixTime {
        UnixTime::from_secs(1_795_452_000) // 2026-11-23T16:40:00Z
    }

    fn of(attributes: &[(&str, &str)]) -> Option<NtStatus> {
        let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), vec![value.as_bytes().to_vec()]));
        refusal(&Entry { dn: "uid=alice,o=x".into(), attributes: attributes.collect() }, now())
    }

    #[test]
    fn generalized_times() {
        assert_eq!(generalized_time("20261123164000Z"), Some(now()));
        assert_eq!(generalized_time("202611231640Z"), Some(now()));
        assert_eq!(generalized_time("20261123164000.123456Z"), Some(now()));
        assert_eq!(generalized_time("19700101000000Z"), Some(UnixTime::from_secs(0)));
        assert_eq!(generalized_time("20000229120000Z"), Some(UnixTime::from_secs(951_825_600)));
        for bad in
            ["", "Z", "20261123164000", "20261123164000+0100", "2026112316400Z", "20261323164000Z", "2026x123164000Z"]
        {
            assert_eq!(generalized_time(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_way_to_be_kept_out() {
        for (attributes, refused) in [
            (&[][..], None),
            (&[("sambaAcctFlags", "[U          ]")], None),
            (&[("sambaAcctFlags", "[UX         ]")], None),
            (&[("sambaAcctFlags", "[UD         ]")], Some(NtStatus::ACCOUNT_DISABLED)),
            (&[("sambaAcctFlags", "[DU         ]")], Some(NtStatus::ACCOUNT_DISABLED)),
            (&[("sambaAcctFlags", "[UL         ]")], Some(NtStatus::ACCOUNT_LOCKED_OUT)),
            (&[("sambaAcctFlags", "[W          ]")], Some(NtStatus::ACCOUNT_RESTRICTION)),
            (&[("sambaAcctFlags", "[NU         ]")], Some(NtStatus::ACCOUNT_RESTRICTION)),
            (&[("sambaAcctFlags", "U")], Some(NtStatus::ACCOUNT_RESTRICTION)),
            (&[("sambaKickoffTime", "0")], None),
            (&[("sambaKickoffTime", "2147483647")], None),
            (&[("sambaKickoffTime", "1700000000")], Some(NtStatus::ACCOUNT_EXPIRED)),
            (&[("sambaPwdLastSet", "0")], Some(NtStatus::PASSWORD_MUST_CHANGE)),
            (&[("sambaPwdLastSet", "1700000000")], None),
            (&[("sambaPwdLastSet", "soon")], Some(NtStatus::ACCOUNT_RESTRICTION)),
            (&[("pwdAccountLockedTime", "000001010000Z")], Some(NtStatus::ACCOUNT_DISABLED)),
            (&[("pwdAccountLockedTime", "20261123163900Z")], Some(NtStatus::ACCOUNT_LOCKED_OUT)),
            (&[("loginDisabled", "TRUE")], Some(NtStatus::ACCOUNT_DISABLED)),
            (&[("loginDisabled", "FALSE")], None),
            (&[("loginDisabled", "maybe")], Some(NtStatus::ACCOUNT_RESTRICTION)),
            (&[("lockedByIntruder", "TRUE")], Some(NtStatus::ACCOUNT_LOCKED_OUT)),
            (
                &[("lockedByIntruder", "TRUE"), ("loginIntruderResetTime", "20261123170000Z")],
                Some(NtStatus::ACCOUNT_LOCKED_OUT),
            ),
            (&[("lockedByIntruder", "TRUE"), ("loginIntruderResetTime", "20261123160000Z")], None),
            (&[("loginExpirationTime", "20261123160000Z")], Some(NtStatus::ACCOUNT_EXPIRED)),
            (&[("passwordExpirationTime", "20261123160000Z")], Some(NtStatus::PASSWORD_EXPIRED)),
            (&[("passwordExpirationTime", "20271123160000Z")], None),
            (&[("nsAccountLock", "true")], Some(NtStatus::ACCOUNT_DISABLED)),
            (&[("krbPrincipalExpiration", "20201123160000Z")], Some(NtStatus::ACCOUNT_EXPIRED)),
            (&[("krbPasswordExpiration", "20201123160000Z")], Some(NtStatus::PASSWORD_EXPIRED)),
            (&[("krbPasswordExpiration", "never")], Some(NtStatus::ACCOUNT_RESTRICTION)),
            (&[("shadowExpire", "-1")], None),
            (&[("shadowExpire", "1")], Some(NtStatus::ACCOUNT_EXPIRED)),
            (&[("shadowExpire", "99999")], None),
        ] {
            assert_eq!(of(attributes), refused, "{attributes:?}");
        }
    }

    #[test]
    fn two_values_where_one_must_be_keep_out() {
        let two = vec![b"FALSE".to_vec(), b"TRUE".to_vec()];
        let entry = Entry { dn: "uid=alice,o=x".into(), attributes: vec![("loginDisabled".into(), two)] };
        assert_eq!(refusal(&entry, now()), Some(NtStatus::ACCOUNT_RESTRICTION));
    }
}
