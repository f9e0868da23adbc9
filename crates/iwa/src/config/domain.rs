//! `[[domain]]`: the domains this machine is a member of, and how their controllers are asked.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use iwa_domain::machine::{MachineError, StateDir};

use super::kerberos::open_to_others;
use super::keytab::KeytabSummary;
use super::raw::{At, Section};
use super::read::Reading;

/// `[[domain]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Domain {
    /// `name`: the DNS name, in lower case.
    pub(crate) name: String,
    /// `state`: the directory that `iwa join` wrote.
    pub(crate) state: PathBuf,
    /// `servers`: domain controllers by name or address, in place of those that DNS knows.
    pub(crate) servers: Vec<String>,
    /// `site`: the site whose controllers are asked first; otherwise the one that a controller says this machine is in.
    pub(crate) site: Option<String>,
    /// `dns`: the name servers of the domain; empty means the system's.
    pub(crate) dns: Vec<SocketAddr>,
    /// `password-age`: when the machine's password is changed; nothing means never.
    pub(crate) password_age: Option<Duration>,
    /// `logons-in-flight`: how many logons one controller is asked at a time.
    pub(crate) logons_in_flight: usize,
    /// `logon-queue`: how many may wait for their turn before more are refused.
    pub(crate) logon_queue: usize,
    /// `backend`: who asks the domain about NTLM and passwords.
    pub(crate) backend: Backend,
    /// `[domain.ldap]`.
    pub(crate) ldap: Ldap,
}

/// Who asks the domain about NTLM and passwords.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Backend {
    /// This program, over the machine account's secure channel.
    #[default]
    Netlogon,
    /// Samba's `ntlm_auth`, which asks winbind.
    NtlmAuth,
}

/// `[domain.ldap]`: how names are looked up.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Ldap {
    /// `tls`: what protects the connection.
    pub(crate) tls: LdapTls,
    /// `ca`: the certificates that sign the controllers'; `None` means the system's.
    pub(crate) ca: Option<PathBuf>,
}

/// What protects a connection to the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum LdapTls {
    /// Kerberos: signed and encrypted by SASL.
    #[default]
    Sasl,
    /// TLS on port 389, asked for by StartTLS.
    StartTls,
    /// TLS on port 636.
    Ldaps,
}

impl Domain {
    /// A domain of this name, with everything by default.
    pub(crate) fn named(name: &str) -> Self {
        let name = name.to_lowercase();
        Self {
            state: Path::new(super::DEFAULT_STATE).join("domains").join(&name),
            name,
            servers: Vec::new(),
            site: None,
            dns: Vec::new(),
            password_age: Some(Duration::from_secs(30 * 86_400)),
            logons_in_flight: 8,
            logon_queue: 256,
            backend: Backend::default(),
            ldap: Ldap::default(),
        }
    }

    /// The keys of the machine's account.
    pub(crate) fn keytab(&self) -> PathBuf {
        self.state.join("machine.keytab")
    }

    /// What else `iwa join` writes.
    pub(crate) fn machine(&self) -> PathBuf {
        self.state.join("machine.json")
    }

    /// Whether it brings keys for Kerberos.
    pub(crate) fn has_keys(&self) -> bool {
        self.keytab().is_file()
    }
}

impl<'a> Reading<'a> {
    pub(super) fn domains(&self, sections: Vec<Section<'a>>) -> Vec<Domain> {
        let mut domains: Vec<Domain> = Vec::new();
        for section in sections {
            let span = section.span();
            let Some(domain) = self.domain(section) else { continue };
            if domains.iter().any(|other| other.name == domain.name) {
                self.report.error(span, format!("name: there are two domains {}", domain.name));
            } else {
                domains.push(domain);
            }
        }
        domains
    }

    fn domain(&self, section: Section<'a>) -> Option<Domain> {
        let name = section.string("name");
        let known = match &name {
            Some(At { value, .. }) if is_host(value) && value.contains('.') => true,
            Some(At { value, span }) => {
                self.report.error(
                    span.clone(),
                    format!("name: wanted the domain's DNS name, such as \"corp.example.test\"; found \"{value}\""),
                );
                false
            }
            None => {
                self.report.error(section.span(), "[[domain]] needs `name`, for example name = \"corp.example.test\"");
                false
            }
        };
        let mut domain = Domain::named(name.as_ref().map_or("", |name| name.value.trim_end_matches('.')));
        let state = section.string("state");
        if let Some(state) = &state {
            domain.state = self.path(state.value);
        }
        for At { value, span } in section.strings("servers").map(|servers| servers.value).unwrap_or_default() {
            if iwa_domain::locate::Server::parse(value).is_none() {
                self.report.error(
                    span,
                    format!(
                        "servers: wanted domain controllers, such as \"dc1.{}\" or \"192.0.2.10\"; found \"{value}\"",
                        domain.name
                    ),
                );
            } else {
                domain.servers.push(value.to_ascii_lowercase());
            }
        }
        if let Some(site) = section.string("site") {
            // One label of a DNS name.
            if is_host(site.value) && !site.value.contains('.') {
                domain.site = Some(site.value.to_owned());
            } else {
                self.report.error(site.span, format!("site: wanted the name of a site; found \"{}\"", site.value));
            }
        }
        for At { value, span } in section.strings("dns").map(|dns| dns.value).unwrap_or_default() {
            let alone = value.parse::<IpAddr>().map(|address| SocketAddr::new(address, 53));
            match alone.or_else(|_| value.parse::<SocketAddr>()) {
                Ok(address) => domain.dns.push(address),
                Err(_) => self.report.error(
                    span,
                    format!("dns: wanted addresses such as \"192.0.2.53\" or \"192.0.2.53:53\"; found \"{value}\""),
                ),
            }
        }
        if let Some(age) = section.duration("password-age") {
            domain.password_age = (!age.value.is_zero()).then_some(age.value);
            if !age.value.is_zero() && age.value < Duration::from_secs(3600) {
                self.report.error(
                    age.span,
                    "password-age: wanted at least an hour: tickets under older keys must die before the keys do; 0 changes \
                     it never",
                );
            } else if age.value.is_zero() {
                self.report.warning(
                    age.span,
                    "password-age = 0: the machine's password is never changed; Windows does so every 30 days",
                );
            }
        }
        let count = |key, most: u64, place: &mut usize| {
            if let Some(count) = section.number(key, 1) {
                if count.value > most {
                    self.report.error(count.span, format!("{key}: wanted 1 to {most}"));
                } else {
                    *place = usize::try_from(count.value).unwrap_or(usize::MAX);
                }
            }
        };
        count("logons-in-flight", 256, &mut domain.logons_in_flight);
        count("logon-queue", 100_000, &mut domain.logon_queue);
        let backends = [("netlogon", Backend::Netlogon), ("ntlm-auth", Backend::NtlmAuth)];
        if let Some(backend) = section.word("backend", &backends) {
            domain.backend = backend.value;
        }
        domain.ldap = self.ldap(section.section("ldap"));
        let span = state.map_or_else(|| section.span(), |state| state.span);
        if known {
            self.membership(&domain, span);
        }
        section.finish();
        known.then_some(domain)
    }

    fn ldap(&self, section: Section<'a>) -> Ldap {
        let mut ldap = Ldap::default();
        let words = [("sasl", LdapTls::Sasl), ("starttls", LdapTls::StartTls), ("ldaps", LdapTls::Ldaps)];
        if let Some(tls) = section.word("tls", &words) {
            ldap.tls = tls.value;
        }
        if let Some(ca) = section.string("ca") {
            let path = self.path(ca.value);
            match fs::metadata(&path) {
                Ok(found) if found.is_file() => {}
                Ok(_) => self.report.error(
                    ca.span.clone(),
                    format!("ca: wanted a file with certificates (PEM); {} is none", path.display()),
                ),
                Err(error) => self.report.error(ca.span.clone(), format!("ca: {}: {error}", path.display())),
            }
            if ldap.tls == LdapTls::Sasl {
                self.report.warning(ca.span, "ca has no effect: tls is \"sasl\", which needs no certificates");
            }
            ldap.ca = Some(path);
        }
        section.finish();
        ldap
    }

    /// What `iwa join` left.
    fn membership(&self, domain: &Domain, span: std::ops::Range<usize>) {
        if domain.backend == Backend::NtlmAuth && !domain.machine().exists() {
            // Samba joined, and whoever wants Kerberos lists its keytab.
            return;
        }
        let keytab = domain.keytab();
        let problem = match StateDir::at(&domain.state).load() {
            Ok(state) if state.machine.domain.dns.eq_ignore_ascii_case(&domain.name) => None,
            Ok(state) => Some(format!(
                "{} is what was joined to {}, and not to {}",
                domain.state.display(),
                state.machine.domain.dns,
                domain.name
            )),
            Err(MachineError::Absent { path }) => Some(format!(
                "this machine has not joined {0}: there is no {1}; `iwa join {0} -U Administrator` makes it",
                domain.name,
                path.display()
            )),
            Err(error) => Some(error.to_string()),
        };
        if let Some(problem) = problem {
            return self.report.error(span, format!("state: {problem}"));
        }
        if let Some(mode) = open_to_others(&keytab) {
            self.report.warning(
                span.clone(),
                format!(
                    "state: others may read {} (mode {mode:04o}), and it is as good as the machine's password: chmod 600",
                    keytab.display()
                ),
            );
        }
        match KeytabSummary::read(&keytab) {
            Ok(summary) if summary.has_usable_key(false) => {}
            Ok(_) => self.report.error(
                span,
                format!("state: {} holds no AES keys: `iwa join {}` makes them anew", keytab.display(), domain.name),
            ),
            Err(why) => self.report.error(span, format!("state: {why}")),
        }
    }
}

/// Whether a text can be a host's or domain's name in DNS, as Windows takes it.
fn is_host(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    text.len() <= 253
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

#[cfg(test)]
mod tests {
    use super::is_host;

    #[test]
    fn names_of_hosts() {
        for good in ["corp.example.test", "dc1", "a-b.c_d.e", "corp.example.test.", "0.0"] {
            assert!(is_host(good), "{good}");
        }
        for bad in ["", ".", "a..b", "-a.b", "a-.b", "a b", "dc1.corp:389", "ü.example.test", &"a".repeat(64)] {
            assert!(!is_host(bad), "{bad}");
        }
    }
}
