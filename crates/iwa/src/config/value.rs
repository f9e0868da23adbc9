//! Values with a spelling of their own: durations, sizes, addresses, users and roles.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use iwa_domain::directory::name::{Name, folded};
use iwa_domain::local::name::same;

use super::Directory;
use crate::gateway::authorize::{Role, User};

/// `"300 s"`, `"5 min"`, `"36 h"`, `"7 days"`, `"250 ms"`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(text)?;
    let milliseconds = match unit.to_ascii_lowercase().as_str() {
        "ms" => 1,
        "s" | "sec" | "second" | "seconds" => 1_000,
        "m" | "min" | "minute" | "minutes" => 60_000,
        "h" | "hour" | "hours" => 3_600_000,
        "d" | "day" | "days" => 86_400_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.checked_mul(milliseconds)?))
}

/// `"64 KiB"`, `"20 MiB"`, `"1 GiB"`, `"500 B"`; `KB` and `MB` are taken as the same, as Windows does.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let shift = match unit.to_ascii_lowercase().as_str() {
        "b" | "byte" | "bytes" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

/// `"127.0.0.1:8080"`, `"[::1]:8080"`, `"localhost:8080"`, `"*:8080"` (every address of this machine).
pub(super) fn address(text: &str) -> Result<Vec<SocketAddr>, String> {
    if let Ok(address) = text.parse() {
        return Ok(vec![address]);
    }
    let why =
        || format!("`{text}` is not an address and a port, such as \"127.0.0.1:8080\", \"[::1]:8080\" or \"*:8080\"");
    let (host, port) = text.rsplit_once(':').ok_or_else(why)?;
    let port: u16 = port.parse().map_err(|_| why())?;
    match host {
        "*" => Ok(vec![SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)]),
        "localhost" => Ok(vec![SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)]),
        _ => Err(why()),
    }
}

/// An entry of `users`.
pub(super) fn user(text: &str) -> Result<User, String> {
    match text {
        "" => Err("an empty name; everybody is \"*\", nobody signed in is \"?\"".to_owned()),
        "*" => Ok(User::All),
        "?" => Ok(User::Anonymous),
        _ if text.contains(['*', '?']) => {
            Err(format!("`{text}` has a wildcard in it; only \"*\" and \"?\" alone mean something"))
        }
        _ if is_sid(text) => text.parse().map(User::Sid).map_err(|_| format!("`{text}` is not a SID")),
        _ => match text.split_once('\\') {
            Some((domain, name)) if domain.is_empty() || name.is_empty() || name.contains('\\') => Err(format!(
                "`{text}` is not a user; in a domain it is DOMAIN\\user (in TOML 'DOMAIN\\user' or \"DOMAIN\\\\user\")"
            )),
            Some((domain, name)) => Ok(User::InDomain { domain: domain.to_owned(), name: name.to_owned() }),
            None if text.contains('@') => Ok(User::Upn(text.to_owned())),
            None => Ok(User::Local(text.to_owned())),
        },
    }
}

/// An entry of `roles`.
pub(super) fn role(text: &str) -> Result<Role, String> {
    if text.is_empty() || text.contains(['*', '?']) {
        return Err(format!("`{text}` is not a group; everybody is users = [\"*\"]"));
    }
    if is_sid(text) {
        return text.parse().map(Role::Sid).map_err(|_| format!("`{text}` is not a SID"));
    }
    Ok(Role::Group(text.to_owned()))
}

/// An entry of `roles` that is for the directory: `NAME\group`, or a DN. `None` if it is for somebody else.
pub(super) fn in_directory(text: &str, directory: Option<&Directory>) -> Option<Result<Role, String>> {
    let directory = directory?;
    if text.contains('=') {
        // A text that was taken apart at its commas is no DN any more.
        let dn = Name::parse(text).filter(|name| name.depth() > 1);
        return Some(dn.map(|dn| Role::Dn(dn.to_string())).ok_or_else(|| {
            format!(
                "`{text}` is not the DN of a group; a DN stands in a list: roles = [\"cn=staff,ou=groups,o=example\"]"
            )
        }));
    }
    let (domain, name) = in_domain(text).filter(|(domain, _)| same(domain, &directory.name))?;
    Some(if directory.groups.base.is_some() {
        Ok(Role::InDirectory { domain: domain.to_owned(), name: folded(name) })
    } else {
        Err(format!(
            "`{text}`: groups of the directory have names only below `base` of [directory.groups]; without it write the DN"
        ))
    })
}

/// The domain and the name of a `DOMAIN\name`.
pub(super) fn in_domain(text: &str) -> Option<(&str, &str)> {
    text.split_once('\\').filter(|(domain, name)| !domain.is_empty() && !name.is_empty() && !name.contains('\\'))
}

fn is_sid(text: &str) -> bool {
    text.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("S-1-"))
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(end)?;
    Some((number.parse().ok()?, unit.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes() {
        assert_eq!(duration("5 min"), Some(Duration::from_secs(300)));
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(duration("36 h"), Some(Duration::from_secs(129_600)));
        for bad in ["", "5", "min", "-5 s", "5 weeks", "1.5 h", "99999999999999999999 s", "18446744073709551615 days"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
        assert_eq!(size("64 KiB"), Some(65_536));
        assert_eq!(size("20MiB"), Some(20 << 20));
        for bad in ["", "64", "KiB", "64 KiBi", "-1 B", "18446744073709551615 GiB"] {
            assert_eq!(size(bad), None, "{bad}");
        }
    }

    #[test]
    fn addresses() {
        assert_eq!(address("[::1]:80").unwrap(), ["[::1]:80".parse().unwrap()]);
        assert_eq!(address("*:8080").unwrap(), ["0.0.0.0:8080".parse().unwrap()]);
        assert_eq!(address("localhost:0").unwrap(), ["127.0.0.1:0".parse().unwrap()]);
        for bad in ["", "8080", "127.0.0.1", "example.test:80", "127.0.0.1:70000", "::1:80:", "*:"] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn users_and_roles() {
        assert_eq!(user("*"), Ok(User::All));
        assert_eq!(user("?"), Ok(User::Anonymous));
        assert_eq!(user("alice"), Ok(User::Local("alice".into())));
        assert_eq!(user("CORP\\alice"), Ok(User::InDomain { domain: "CORP".into(), name: "alice".into() }));
        assert_eq!(user("alice@example.test"), Ok(User::Upn("alice@example.test".into())));
        assert!(matches!(user("s-1-5-21-1-2-3-1000"), Ok(User::Sid(_))));
        for bad in ["", "a*", "CORP\\", "\\alice", "A\\b\\c", "S-1-x"] {
            assert!(user(bad).is_err(), "{bad}");
        }
        assert_eq!(role("Staff"), Ok(Role::Group("Staff".into())));
        for bad in ["", "*", "?", "S-1-x"] {
            assert!(role(bad).is_err(), "{bad}");
        }
    }
}
