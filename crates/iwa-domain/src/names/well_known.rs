//! The SIDs that are the same everywhere, by their English names. MS-DTYP 2.4.2.4.

use iwa_auth::ports::AccountName;
use iwa_wire::Sid;

/// The SID of `BUILTIN\Administrators`, `NT AUTHORITY\Authenticated Users`, `Everyone` and the like, in any case.
pub(super) fn sid_of(domain: &str, name: &str) -> Option<Sid> {
    let found = KNOWN.iter().find(|(_, _, known_domain, known)| {
        known_domain.eq_ignore_ascii_case(domain) && known.eq_ignore_ascii_case(name)
    })?;
    Sid::new(found.0, found.1)
}

/// What such a SID is called.
pub(super) fn name_of(sid: &Sid) -> Option<AccountName> {
    let (_, _, domain, name) =
        KNOWN.iter().find(|(authority, parts, ..)| sid.authority() == *authority && sid.sub_authorities() == *parts)?;
    Some(AccountName { domain: (*domain).to_owned(), name: (*name).to_owned() })
}

const AUTHORITY: &str = "NT AUTHORITY";
const BUILTIN: &str = "BUILTIN";

/// Identifier authority, sub-authorities, domain, name.
const KNOWN: &[(u64, &[u32], &str, &str)] = &[
    (1, &[0], "", "Everyone"),
    (2, &[0], "", "LOCAL"),
    (3, &[0], "", "CREATOR OWNER"),
    (3, &[1], "", "CREATOR GROUP"),
    (5, &[1], AUTHORITY, "DIALUP"),
    (5, &[2], AUTHORITY, "NETWORK"),
    (5, &[3], AUTHORITY, "BATCH"),
    (5, &[4], AUTHORITY, "INTERACTIVE"),
    (5, &[6], AUTHORITY, "SERVICE"),
    (5, &[7], AUTHORITY, "ANONYMOUS LOGON"),
    (5, &[9], AUTHORITY, "ENTERPRISE DOMAIN CONTROLLERS"),
    (5, &[10], AUTHORITY, "SELF"),
    (5, &[11], AUTHORITY, "Authenticated Users"),
    (5, &[12], AUTHORITY, "RESTRICTED"),
    (5, &[13], AUTHORITY, "TERMINAL SERVER USER"),
    (5, &[14], AUTHORITY, "REMOTE INTERACTIVE LOGON"),
    (5, &[15], AUTHORITY, "This Organization"),
    (5, &[17], AUTHORITY, "IUSR"),
    (5, &[18], AUTHORITY, "SYSTEM"),
    (5, &[19], AUTHORITY, "LOCAL SERVICE"),
    (5, &[20], AUTHORITY, "NETWORK SERVICE"),
    (5, &[64, 10], AUTHORITY, "NTLM Authentication"),
    (5, &[64, 14], AUTHORITY, "SChannel Authentication"),
    (5, &[64, 21], AUTHORITY, "Digest Authentication"),
    (18, &[1], "", "Authentication authority asserted identity"),
    (18, &[2], "", "Service asserted identity"),
    (5, &[32, 544], BUILTIN, "Administrators"),
    (5, &[32, 545], BUILTIN, "Users"),
    (5, &[32, 546], BUILTIN, "Guests"),
    (5, &[32, 548], BUILTIN, "Account Operators"),
    (5, &[32, 549], BUILTIN, "Server Operators"),
    (5, &[32, 550], BUILTIN, "Print Operators"),
    (5, &[32, 551], BUILTIN, "Backup Operators"),
    (5, &[32, 552], BUILTIN, "Replicator"),
    (5, &[32, 554], BUILTIN, "Pre-Windows 2000 Compatible Access"),
    (5, &[32, 555], BUILTIN, "Remote Desktop Users"),
    (5, &[32, 556], BUILTIN, "Network Configuration Operators"),
    (5, &[32, 557], BUILTIN, "Incoming Forest Trust Builders"),
    (5, &[32, 558], BUILTIN, "Performance Monitor Users"),
    (5, &[32, 559], BUILTIN, "Performance Log Users"),
    (5, &[32, 560], BUILTIN, "Windows Authorization Access Group"),
    (5, &[32, 561], BUILTIN, "Terminal Server License Servers"),
    (5, &[32, 562], BUILTIN, "Distributed COM Users"),
    (5, &[32, 568], BUILTIN, "IIS_IUSRS"),
    (5, &[32, 569], BUILTIN, "Cryptographic Operators"),
    (5, &[32, 573], BUILTIN, "Event Log Readers"),
    (5, &[32, 574], BUILTIN, "Certificate Service DCOM Access"),
    (5, &[32, 575], BUILTIN, "RDS Remote Access Servers"),
    (5, &[32, 576], BUILTIN, "RDS Endpoint Servers"),
    (5, &[32, 577], BUILTIN, "RDS Management Servers"),
    (5, &[32, 578], BUILTIN, "Hyper-V Administrators"),
    (5, &[32, 579], BUILTIN, "Access Control Assistance Operators"),
    (5, &[32, 580], BUILTIN, "Remote Management Users"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for (_, _, domain, name) in KNOWN {
            let sid = sid_of(domain, name).unwrap();
            assert_eq!(name_of(&sid), Some(AccountName { domain: (*domain).into(), name: (*name).into() }), "{sid}");
        }
        assert_eq!(sid_of("builtin", "ADMINISTRATORS").unwrap().to_string(), "S-1-5-32-544");
        assert_eq!(sid_of("NT AUTHORITY", "authenticated users").unwrap().to_string(), "S-1-5-11");
    }

    #[test]
    fn an_account_of_a_domain_is_none_of_them() {
        assert_eq!(sid_of("CORP", "Administrators"), None);
        assert_eq!(sid_of("", "Administrators"), None);
        assert_eq!(name_of(&"S-1-5-21-1-2-3-544".parse().unwrap()), None);
        assert_eq!(name_of(&"S-1-5-32-544-1".parse().unwrap()), None);
    }
}
