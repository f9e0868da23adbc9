//! Names of headers that only the gateway may say to an application. RFC 9110 5.1 and 7.6.1; RFC 3875 4.1.18 for their spellings.
//!
//! CGI, WSGI, PHP and servlets read `X-Remote-User`, `X_Remote_User` and `X.REMOTE.USER` as one name. So does this: of a name's
//! spelling only letters and digits count, and whatever stands between them is a separator.

use http::HeaderMap;
use http::header::{CONNECTION, HeaderName, HeaderValue};

/// The names of a site, and those that applications and other gateways are known to trust.
#[derive(Debug)]
pub(crate) struct Protected {
    /// Folded, sorted.
    names: Vec<Box<str>>,
    /// Folded beginnings of names.
    families: Vec<Box<str>>,
}

impl Protected {
    /// The well-known names and these; a `*` at the end of one stands for every name that begins so.
    pub(crate) fn new<'a>(own: impl IntoIterator<Item = &'a str>) -> Self {
        Self::only(WELL_KNOWN.iter().copied().chain(own))
    }

    /// These names alone.
    pub(crate) fn only<'a>(all: impl IntoIterator<Item = &'a str>) -> Self {
        let (mut names, mut families) = (Vec::new(), Vec::new());
        for name in all {
            let (family, name) = match name.strip_suffix('*') {
                Some(family) => (true, family),
                None => (false, name),
            };
            let mut room = [0; LONGEST];
            let Some(folded) = folded(name, &mut room) else { continue };
            if family { families.push(folded.into()) } else { names.push(folded.into()) }
        }
        names.sort_unstable();
        names.dedup();
        Self { names, families }
    }

    /// Whether nobody but the gateway may say this.
    pub(crate) fn covers(&self, name: &str) -> bool {
        let mut room = [0; LONGEST];
        let Some(folded) = folded(name, &mut room) else {
            // Longer than any single name; a family's beginning is at its beginning all the same.
            let start = name.get(..LONGEST).and_then(|start| folded_of_beginning(start, &mut room));
            return start.is_none_or(|start| self.begins_a_family(start));
        };
        self.names.binary_search_by(|known| (**known).cmp(folded)).is_ok() || self.begins_a_family(folded)
    }

    fn begins_a_family(&self, folded: &str) -> bool {
        self.families.iter().any(|family| folded.starts_with(&**family))
    }

    /// Takes every spelling of every protected name out, of headers or of trailers. What `Connection` names is taken out of it
    /// too: the next hop would remove the gateway's own header at the client's word.
    pub(crate) fn strip(&self, headers: &mut HeaderMap) {
        let found: Vec<HeaderName> = headers.keys().filter(|name| self.covers(name.as_str())).cloned().collect();
        for name in found {
            headers.remove(name);
        }
        let options =
            || headers.get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
        if options().any(|option| self.is_protected_option(option)) {
            let kept: Vec<&[u8]> =
                options().map(<[u8]>::trim_ascii).filter(|option| !self.is_protected_option(option)).collect();
            let kept = HeaderValue::from_bytes(&kept.join(&b", "[..]));
            headers.remove(CONNECTION);
            if let Ok(kept) = kept
                && !kept.is_empty()
            {
                headers.insert(CONNECTION, kept);
            }
        }
    }

    /// What is not even text names nothing that we know.
    fn is_protected_option(&self, option: &[u8]) -> bool {
        core::str::from_utf8(option.trim_ascii()).map_or(true, |option| !option.is_empty() && self.covers(option))
    }
}

/// The longest name that can be asserted, in bytes.
pub(crate) const LONGEST: usize = 64;

/// A name in the one spelling; `None` if it is longer than any that is asserted.
fn folded<'a>(name: &str, room: &'a mut [u8; LONGEST]) -> Option<&'a str> {
    (name.len() <= LONGEST).then(|| folded_of_beginning(name, room)).flatten()
}

fn folded_of_beginning<'a>(name: &str, room: &'a mut [u8; LONGEST]) -> Option<&'a str> {
    let room = room.get_mut(..name.len())?;
    for (to, byte) in room.iter_mut().zip(name.bytes()) {
        *to = if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' };
    }
    core::str::from_utf8(room).ok()
}

/// What applications take for somebody's identity if a header says so, with those of other gateways, of terminators of TLS and
/// of platforms; `docs/identity.md` says whose they are.
pub(crate) const WELL_KNOWN: &[&str] = &[
    // Apache, Authelia, Caddy, Kubernetes.
    "Remote-User",
    "Remote-Groups",
    "Remote-Group",
    "Remote-Name",
    "Remote-Email",
    "X-Remote-User",
    "X-Remote-Uid",
    "X-Remote-Name",
    "X-Remote-Email",
    "X-Remote-Group",
    "X-Remote-Groups",
    "X-Remote-Extra-*",
    // CGI and IIS.
    "Auth-User",
    "Auth-Type",
    "Auth-Password",
    "Logon-User",
    "Unmapped-Remote-User",
    "X-IIS-WindowsAuthToken",
    "MS-ASPNETCORE-*",
    // oauth2-proxy, Traefik, Jenkins.
    "X-Forwarded-User",
    "X-Forwarded-Email",
    "X-Forwarded-Mail",
    "X-Forwarded-Name",
    "X-Forwarded-DisplayName",
    "X-Forwarded-Groups",
    "X-Forwarded-Roles",
    "X-Forwarded-Preferred-Username",
    "X-Forwarded-Access-Token",
    "X-Auth-Request-*",
    // Keycloak's gatekeeper and others of that kind.
    "X-Auth-Username",
    "X-Auth-User",
    "X-Auth-Userid",
    "X-Auth-Email",
    "X-Auth-Subject",
    "X-Auth-Roles",
    "X-Auth-Groups",
    "X-Auth-Name",
    "X-User",
    "X-Username",
    "X-User-Name",
    "X-Email",
    "X-Groups",
    "X-Role",
    "X-Usergroup",
    // Grafana, Gitea.
    "X-WebAuth-*",
    "X-Authenticated-*",
    "X-Credential-Username",
    "X-Proxy-User",
    "X-Proxy-Remote-User",
    "X-JWT-Assertion",
    // Other gateways.
    "X-Authentik-*",
    "X-Pomerium-*",
    "X-Vouch-*",
    "X-Goog-Authenticated-User-*",
    "X-Goog-IAP-*",
    "X-Amzn-Oidc-*",
    "Cf-Access-*",
    "Tailscale-User-*",
    "X-MS-Client-Principal*",
    "X-MS-Token-*",
    "OIDC-Claim-*",
    "OIDC-Access-Token*",
    "OIDC-Id-Token*",
    "SM-User",
    "SM-UserDN",
    "SM-Universalid",
    "IV-User",
    "IV-Groups",
    "IV-Creds",
    "OAM-Remote-User",
    "OAM-Remote-User-Groups",
    "Eppn",
    "X-Shib-*",
    "Shib-*",
    "Mellon-*",
    // Certificates of clients, as terminators of TLS pass them on (RFC 9440 for the standard ones).
    "Client-Cert",
    "Client-Cert-Chain",
    "X-Client-Cert*",
    "X-Forwarded-Client-Cert*",
    "X-Forwarded-Tls-Client-Cert*",
    "X-SSL-*",
    "SSL-Client-*",
    "X-ARR-ClientCert",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn protected() -> Protected {
        Protected::new(["X-Who", "Corp-*"])
    }

    fn headers(names: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for name in names {
            headers.append(name.parse::<HeaderName>().expect("a name"), HeaderValue::from_static("mallory"));
        }
        headers
    }

    #[test]
    fn every_spelling_of_every_name_goes_however_often_it_stands_there() {
        let mut map = headers(&[
            "Remote_User",
            "remote.user",
            "REMOTE-USER",
            "x_remote-user",
            "X.Remote_User",
            "x-webauth_user",
            "x_ssl.client_s_dn",
            "x-who",
            "x_who",
            "x_who",
            "corp",
            "corp_anything",
            "x~remote!user",
            "x-auth-request-",
            "accept",
            "x-request-id",
        ]);
        protected().strip(&mut map);
        let mut left: Vec<_> = map.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "corp", "x-request-id"]);
    }

    #[test]
    fn names_that_only_look_alike_stay() {
        let protected = protected();
        for name in [
            "remoteuser",
            "x-remote-users",
            "x-remote",
            "remote-user-agent",
            "user",
            "x-forwarded-for",
            "x-forwarded-host",
            "forwarded",
            "authorization",
            "cookie",
            "x-whom",
            "a-x-who",
            "x-ms-version",
            "x-auth-token",
            "x-ssl",
        ] {
            assert!(!protected.covers(name), "{name}");
        }
    }

    #[test]
    fn a_name_of_any_length_is_looked_at() {
        let protected = protected();
        for length in [0, 1, 60, 64, 65, 200, 5_000] {
            let filler = "a".repeat(length);
            assert!(protected.covers(&format!("corp_{filler}")), "{length}");
            assert!(!protected.covers(&format!("corporate{filler}")), "{length}");
        }
    }

    #[test]
    fn connection_cannot_name_the_gateways_header_away() {
        for (written, left) in [
            ("X-Who", None),
            ("x_who, close", Some("close")),
            ("close,X-Remote-User ,\tRemote.User,upgrade", Some("close, upgrade")),
            ("keep-alive", Some("keep-alive")),
            (",", Some(",")),
            ("upgrade, \u{e4}", Some("upgrade, \u{e4}")),
        ] {
            let mut map = HeaderMap::new();
            map.append(CONNECTION, HeaderValue::from_bytes(written.as_bytes()).expect("a value"));
            protected().strip(&mut map);
            let found = map.get(CONNECTION).map(|value| core::str::from_utf8(value.as_bytes()).expect("UTF-8"));
            assert_eq!(found, left, "{written}");
        }
        let mut map = HeaderMap::new();
        map.append(CONNECTION, HeaderValue::from_static("close"));
        map.append(CONNECTION, HeaderValue::from_static("X-WHO"));
        protected().strip(&mut map);
        assert_eq!(map.get_all(CONNECTION).iter().collect::<Vec<_>>(), ["close"]);
    }

    /// A protected name, each letter in any case, each separator exchanged for any that a header's name may have.
    fn spelling() -> impl Strategy<Value = String> {
        let names: Vec<&str> = WELL_KNOWN.iter().copied().chain(["X-Who", "Corp-*"]).collect();
        (
            prop::sample::select(names),
            any::<u64>(),
            prop::collection::vec(prop::sample::select(b"!#$%&'*+-.^_`|~".to_vec()), 8),
        )
            .prop_map(|(name, cases, separators)| {
                let family = name.ends_with('*');
                let mut separators = separators.into_iter().cycle();
                let spelled = name.trim_end_matches('*').chars().enumerate().map(|(n, letter)| match letter {
                    '-' => char::from(separators.next().unwrap_or(b'_')),
                    _ if cases >> (n % 64) & 1 == 1 => letter.to_ascii_uppercase(),
                    _ => letter.to_ascii_lowercase(),
                });
                spelled.chain(if family { "Any" } else { "" }.chars()).collect()
            })
    }

    proptest! {
        #[test]
        fn no_spelling_of_a_protected_name_survives(name in spelling(), filler in "[a-z]{1,12}") {
            let mut map = headers(&[&name, "x-harmless"]);
            map.append(CONNECTION, HeaderValue::from_str(&format!("{filler}, {name}")).expect("a value"));
            protected().strip(&mut map);
            prop_assert!(!map.contains_key(name.as_str()));
            prop_assert!(map.contains_key("x-harmless"));
            let connection = map.get(CONNECTION).and_then(|value| value.to_str().ok()).unwrap_or_default();
            prop_assert!(!connection.contains(&name), "{}", connection);
        }
    }
}
