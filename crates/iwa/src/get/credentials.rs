//! Who the user is: tickets of a credential cache, or a password, an NT hash or a keytab that is named.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use iwa_auth::Secret;
use iwa_auth::initiate::Credentials;
use iwa_auth::krb5::client::{Client, LongTerm};
use iwa_auth::ntlm::crypto::{NtHash, nt_hash};
use iwa_auth::ntlm::initiator::{Client as NtlmClient, Credential};
use iwa_domain::credentials::{CacheName, client_of_keytab};
use iwa_domain::dns::Dns;
use iwa_domain::kdc::{KdcAddress, Kdcs};
use iwa_domain::krb5_conf::Krb5Conf;
use iwa_wire::krb5::Principal;

use super::Failure;
use super::url::Url;
use crate::user::password_from;

/// Where the user's credentials are.
#[derive(clap::Args, Debug)]
pub(super) struct CredentialArgs {
    /// The user: alice, EXAMPLE\alice, or alice@EXAMPLE.TEST. The password is asked for unless one of the next options says
    /// where it is; it is never an argument.
    #[arg(short, long, value_name = "NAME")]
    user: Option<String>,
    /// Read the user's password from standard input.
    #[arg(long, requires = "user", conflicts_with_all = ["password_file", "hash_file", "keytab"])]
    password_stdin: bool,
    /// Read the user's password from a file.
    #[arg(long, value_name = "FILE", requires = "user", conflicts_with_all = ["hash_file", "keytab"])]
    password_file: Option<PathBuf>,
    /// Read the user's NT hash, 32 hexadecimal digits, from a file: for NTLM.
    #[arg(long, value_name = "FILE", requires = "user", conflicts_with = "keytab")]
    hash_file: Option<PathBuf>,
    /// Use the keys of this keytab: those of --user, or of its first entry.
    #[arg(long, value_name = "FILE")]
    keytab: Option<PathBuf>,
    /// The credential cache: FILE:path or DIR:path. Default: KRB5CCNAME, krb5.conf's, /tmp/krb5cc_UID.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["user", "keytab"])]
    ccache: Option<String>,
    /// A KDC besides those of krb5.conf: REALM=host[:port], or REALM=tcp/host[:port].
    #[arg(long, value_name = "REALM=HOST")]
    kdc: Vec<String>,
}

/// What was found.
pub(super) struct Found {
    pub(super) credentials: Credentials,
    /// Whether the user named them for this host; otherwise they were merely at hand.
    pub(super) named: bool,
    /// Why there are no tickets at hand, where nothing was named.
    pub(super) missing: Option<String>,
}

impl CredentialArgs {
    pub(super) fn read(&self, url: &Url) -> Result<(Found, Kdcs), Failure> {
        let conf = Krb5Conf::load().map_err(|error| Failure::usage(error.to_string()))?;
        let mut kdcs = Kdcs::from_krb5_conf(&conf);
        if conf.dns_lookup_kdc() {
            kdcs.set_dns(Arc::new(Dns::system()));
        }
        for kdc in &self.kdc {
            let parsed = kdc.split_once('=').and_then(|(realm, host)| Some((realm, KdcAddress::parse(host)?)));
            let (realm, address) = parsed
                .ok_or_else(|| Failure::usage(format!("--kdc `{kdc}`: write EXAMPLE.TEST=kdc.example.test:88")))?;
            kdcs.add(realm, [address]);
        }
        let mut found = match (&self.user, &self.keytab) {
            (user, Some(keytab)) => of_keytab(keytab, user.as_deref())?,
            (Some(user), None) => self.of_user(&Name::parse(user), &conf, url)?,
            (None, None) => of_cache(self.ccache.as_deref(), &conf)?,
        };
        if let Some(client) = &mut found.credentials.krb5 {
            let mut policy = client.policy().clone();
            match conf.realm_of(&url.host) {
                Some(realm) => realm.clone_into(&mut policy.service_realm),
                // The KDC is asked where the service is, and not every KDC knows.
                None => policy.fallback_realm = realm_like_domain(&url.host),
            }
            *client = client.with_policy(policy);
        }
        Ok((found, kdcs))
    }

    fn of_user(&self, name: &Name<'_>, conf: &Krb5Conf, url: &Url) -> Result<Found, Failure> {
        let target = format!("HTTP/{}", url.host);
        let ntlm = |nt_hash: NtHash| {
            let credential = Credential {
                user: name.ntlm_user(),
                domain: name.domain.to_owned(),
                workstation: String::new(),
                nt_hash,
            };
            Some(NtlmClient::new(credential, Some(&target)))
        };
        let credentials = match &self.hash_file {
            Some(file) => Credentials { krb5: None, ntlm: ntlm(hash(file)?) },
            None => {
                let password = self.password(name)?;
                let ntlm = ntlm(nt_hash(password.expose()));
                let krb5 = name.principal(conf).map(|principal| Client::new(principal, LongTerm::Password(password)));
                Credentials { krb5, ntlm }
            }
        };
        Ok(Found { credentials, named: true, missing: None })
    }

    fn password(&self, name: &Name<'_>) -> Result<Secret<String>, Failure> {
        let read = match &self.password_file {
            Some(path) => {
                let mut file = std::fs::File::open(path)
                    .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
                password_from(&mut file)
            }
            None if self.password_stdin => password_from(&mut std::io::stdin().lock()),
            None => {
                let asked = rpassword::prompt_password(format!("Password of {}: ", name.shown));
                return asked.map(Secret::new).map_err(|error| {
                    Failure::usage(format!("the password cannot be asked for: {error}; --password-stdin reads it"))
                });
            }
        };
        read.map_err(|failure| Failure::usage(failure.0))
    }
}

/// The realm that a host's DNS domain would have: its name in upper case; nothing for an address or a domain of one label.
fn realm_like_domain(host: &str) -> String {
    match host.split_once('.') {
        Some((_, domain)) if domain.contains('.') && host.parse::<std::net::IpAddr>().is_err() => {
            domain.to_ascii_uppercase()
        }
        _ => String::new(),
    }
}

fn of_keytab(path: &Path, user: Option<&str>) -> Result<Found, Failure> {
    let principal: Option<Principal> = match user {
        Some(user) => Some(user.parse().map_err(|error| Failure::usage(format!("--user with --keytab: {error}")))?),
        None => None,
    };
    let client =
        client_of_keytab(path, principal.as_ref()).map_err(|error| Failure::usage(format!("--keytab: {error}")))?;
    Ok(Found { credentials: Credentials { krb5: Some(client), ntlm: None }, named: true, missing: None })
}

/// Tickets that are at hand. None at all is no error: the server may ask for nothing.
fn of_cache(name: Option<&str>, conf: &Krb5Conf) -> Result<Found, Failure> {
    let cache = match name {
        Some(name) => CacheName::parse(name),
        None => CacheName::default_name(conf),
    };
    let mut missing = None;
    let client = match cache.and_then(|cache| cache.client()) {
        Ok(client) => Some(client),
        Err(error) if name.is_some() => return Err(Failure::usage(format!("--ccache: {error}"))),
        Err(error) => {
            missing = Some(error.to_string());
            None
        }
    };
    Ok(Found { credentials: Credentials { krb5: client, ntlm: None }, named: false, missing })
}

fn hash(file: &Path) -> Result<NtHash, Failure> {
    let bad = |what: &str| Failure::usage(format!("--hash-file {}: {what}", file.display()));
    let mut stream = std::fs::File::open(file).map_err(|error| bad(&error.to_string()))?;
    let text = password_from(&mut stream).map_err(|failure| bad(&failure.0))?;
    let mut digits = text.expose().trim().chars();
    let mut hash = [0; 16];
    for byte in &mut hash {
        let mut digit = || {
            digits.next().and_then(|digit| digit.to_digit(16)).ok_or_else(|| bad("32 hexadecimal digits are wanted"))
        };
        *byte = (digit()? << 4 | digit()?) as u8;
    }
    if digits.next().is_some() {
        return Err(bad("32 hexadecimal digits are wanted, there are more"));
    }
    Ok(NtHash::new(hash))
}

/// A user as a person writes it.
#[derive(PartialEq, Eq, Debug)]
struct Name<'a> {
    shown: &'a str,
    user: &'a str,
    /// Before a backslash.
    domain: &'a str,
    /// After an at sign.
    realm: Option<&'a str>,
}

impl<'a> Name<'a> {
    fn parse(text: &'a str) -> Self {
        match (text.split_once('\\'), text.rsplit_once('@')) {
            (Some((domain, user)), _) => Self { shown: text, user, domain, realm: None },
            (None, Some((user, realm))) => Self { shown: text, user, domain: "", realm: Some(realm) },
            (None, None) => Self { shown: text, user: text, domain: "", realm: None },
        }
    }

    /// NTLM takes a user principal name whole, with an empty domain (MS-NLMP 3.1.5.1.2).
    fn ntlm_user(&self) -> String {
        if self.realm.is_some() { self.shown.to_owned() } else { self.user.to_owned() }
    }

    /// For Kerberos: in the realm that is written, or in the default realm if the domain does not say otherwise.
    fn principal(&self, conf: &Krb5Conf) -> Option<Principal> {
        let default = || {
            conf.default_realm().filter(|realm| {
                let first = realm.split('.').next().unwrap_or_default();
                self.domain.is_empty()
                    || self.domain.eq_ignore_ascii_case(realm)
                    || self.domain.eq_ignore_ascii_case(first)
            })
        };
        let realm = match self.realm {
            // Realms are written in upper case by all who follow RFC 4120 6.1, and typed in lower case by everybody.
            Some(realm) if conf.kdcs().all(|(known, _)| known != realm) => realm.to_ascii_uppercase(),
            Some(realm) => realm.to_owned(),
            None => default()?.to_owned(),
        };
        Some(Principal::user(self.user, &realm))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf() -> Krb5Conf {
        Krb5Conf::parse(Path::new("krb5.conf"), "[libdefaults]\n default_realm = EXAMPLE.TEST\n").expect("a krb5.conf")
    }

    fn principal(text: &str) -> Option<String> {
        Name::parse(text).principal(&conf()).map(|principal| principal.to_string())
    }

    #[test]
    fn a_name_without_realm_is_of_the_default_realm_unless_its_domain_is_another() {
        assert_eq!(principal("alice").as_deref(), Some("alice@EXAMPLE.TEST"));
        assert_eq!(principal("EXAMPLE\\alice").as_deref(), Some("alice@EXAMPLE.TEST"));
        assert_eq!(principal("example.test\\alice").as_deref(), Some("alice@EXAMPLE.TEST"));
        assert_eq!(principal("OTHER\\alice"), None);
        assert_eq!(principal("alice@corp.example.test").as_deref(), Some("alice@CORP.EXAMPLE.TEST"));
    }

    #[test]
    fn a_domain_lends_its_name_to_a_realm() {
        for (host, realm) in [
            ("web.corp.example.test", "CORP.EXAMPLE.TEST"),
            ("web.test", ""),
            ("web", ""),
            ("192.0.2.1", ""),
            ("::1", ""),
        ] {
            assert_eq!(realm_like_domain(host), realm, "{host}");
        }
    }

    #[test]
    fn ntlm_takes_a_user_principal_name_whole() {
        assert_eq!(Name::parse("alice@example.test").ntlm_user(), "alice@example.test");
        let name = Name::parse("EXAMPLE\\alice");
        assert_eq!((name.domain, name.ntlm_user().as_str()), ("EXAMPLE", "alice"));
    }

    #[test]
    fn a_hash_is_thirty_two_digits() {
        let file = std::env::temp_dir().join(format!("iwa-get-hash-{}", std::process::id()));
        for (text, good) in [
            ("a4f49c406510bdcab6824ee7c30fd852\n", true),
            ("A4F49C406510BDCAB6824EE7C30FD852", true),
            ("a4f49c406510bdcab6824ee7c30fd85", false),
            ("a4f49c406510bdcab6824ee7c30fd852a", false),
            ("x4f49c406510bdcab6824ee7c30fd852", false),
            ("", false),
        ] {
            std::fs::write(&file, text).expect("a file");
            assert_eq!(hash(&file).is_ok(), good, "{text}");
        }
        std::fs::remove_file(&file).expect("it was there");
    }
}
