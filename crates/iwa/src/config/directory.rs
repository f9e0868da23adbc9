//! `[directory]`: users of an LDAP directory that is not Active Directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use iwa_domain::directory::GroupConfig;
use iwa_domain::directory::name::Name;
use iwa_domain::local::Lockout;
use iwa_wire::Sid;

use super::raw::{At, Section};
use super::read::Reading;

/// `[directory]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Directory {
    /// `name`: the domain of its accounts in `NAME\user`.
    pub(crate) name: String,
    /// The host of `url`.
    pub(crate) host: String,
    /// The port of `url`.
    pub(crate) port: u16,
    /// `ca`: the certificates that sign the server's; `None` means the system's.
    pub(crate) ca: Option<PathBuf>,
    /// `reader`: the DN that searches, and reads the hashes.
    pub(crate) reader: String,
    /// `password-file`: a file with its password in one line.
    pub(crate) password_file: PathBuf,
    /// `base`: below which entry accounts are.
    pub(crate) base: String,
    /// `user-attribute`: what an account is called.
    pub(crate) user_attribute: String,
    /// `aliases`: attributes by which it may be called, too.
    pub(crate) aliases: Vec<String>,
    /// `user-class`: an object class of accounts.
    pub(crate) user_class: Option<String>,
    /// `nt-hash`: the attribute with the NT hash; `None` means no NTLM.
    pub(crate) nt_hash: Option<String>,
    /// `sid-attributes`.
    pub(crate) sids: Vec<String>,
    /// `domain-sid`: the domain whose SIDs it may give.
    pub(crate) domain_sid: Option<Sid>,
    /// `timeout`: how long it may take to connect, and to answer.
    pub(crate) timeout: Duration,
    /// `[directory.groups]`.
    pub(crate) groups: GroupConfig,
    /// `[directory.lockout]`.
    pub(crate) lockout: Lockout,
}

impl<'a> Reading<'a> {
    pub(super) fn directory(&self, section: Section<'a>) -> Option<Directory> {
        if !section.is_written() {
            return None;
        }
        let needed = |key: &'static str, example: &str| {
            let text = section.string(key);
            if text.is_none() {
                self.report
                    .error(section.span(), format!("[directory] needs `{key}`, for example {key} = \"{example}\""));
            }
            text
        };
        let name = needed("name", "LDAP");
        if let Some(At { value, span }) = &name
            && (value.is_empty()
                || value.len() > 15
                || !value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'))
        {
            self.report.error(
                span.clone(),
                format!(
                    "name: wanted up to 15 letters, digits and hyphens, as it stands in NAME\\user; found \"{value}\""
                ),
            );
        }
        let (host, port) = match needed("url", "ldaps://ldap.example.test") {
            Some(url) => self.ldaps(&url),
            None => (String::new(), 0),
        };
        let ca = section.string("ca").map(|ca| {
            let path = self.path(ca.value);
            if let Err(error) = fs::File::open(&path) {
                self.report.error(ca.span, format!("ca: {}: {error}", path.display()));
            }
            path
        });
        let dn = |key: &'static str, example: &str| {
            let text = needed(key, example);
            if let Some(At { value, span }) = &text
                && Name::parse(value).is_none()
            {
                self.report.error(span.clone(), format!("{key}: wanted a DN such as \"{example}\"; found \"{value}\""));
            }
            text.map_or("", |text| text.value).to_owned()
        };
        let reader = dn("reader", "cn=reader,dc=example,dc=test");
        let base = dn("base", "ou=people,dc=example,dc=test");
        let password_file = match needed("password-file", "/etc/iwa/reader-password") {
            Some(file) => {
                let path = self.path(file.value);
                self.password_file(&path, &file);
                path
            }
            None => PathBuf::new(),
        };
        let attribute = |key: &'static str| {
            let text = section.string(key)?;
            self.attribute(key, &text).then(|| text.value.to_owned())
        };
        let attributes = |section: &Section<'a>, key: &'static str| -> Option<Vec<String>> {
            let texts = section.strings(key)?.value;
            texts.iter().for_each(|text| {
                self.attribute(key, text);
            });
            Some(texts.into_iter().map(|text| text.value.to_owned()).collect())
        };
        let domain_sid = section.parsed("domain-sid", "a domain's SID, such as \"S-1-5-21-1-2-3\"", |text| {
            text.parse::<Sid>().map_err(|_| "")
        });
        if let Some(At { value, span }) = &domain_sid
            && value.to_string().strip_prefix("S-1-5-21-").is_none_or(|rest| rest.split('-').count() != 3)
        {
            self.report.error(
                span.clone(),
                format!("domain-sid: wanted a domain's SID, S-1-5-21 and three numbers; found {value}"),
            );
        }
        let mut groups = GroupConfig::default();
        let group_section = section.section("groups");
        if let Some(base) = group_section.string("base") {
            groups.base = Name::parse(base.value);
            if groups.base.is_none() {
                self.report.error(base.span, format!("base: wanted a DN; found \"{}\"", base.value));
            }
        }
        if let Some(found) = attributes(&group_section, "member-of") {
            groups.member_of = found;
        }
        if let Some(found) = attributes(&group_section, "members") {
            groups.members = found;
        }
        if let Some(found) = attributes(&group_section, "member-names") {
            groups.member_names = found;
        }
        if let Some(nested) = group_section.boolean("nested") {
            groups.nested = nested.value;
        }
        group_section.finish();
        let directory = Directory {
            name: name.map_or("", |name| name.value).to_owned(),
            host,
            port,
            ca,
            reader,
            password_file,
            base,
            user_attribute: attribute("user-attribute").unwrap_or_else(|| "uid".to_owned()),
            aliases: attributes(&section, "aliases").unwrap_or_default(),
            user_class: attribute("user-class"),
            nt_hash: attribute("nt-hash"),
            sids: attributes(&section, "sid-attributes")
                .unwrap_or_else(|| vec!["sambaSID".to_owned(), "ipaNTSecurityIdentifier".to_owned()]),
            domain_sid: domain_sid.map(|sid| sid.value),
            timeout: section.duration("timeout").map_or(Duration::from_secs(5), |timeout| timeout.value),
            groups,
            lockout: self.lockout(section.section("lockout")),
        };
        section.finish();
        Some(directory)
    }

    fn ldaps(&self, url: &At<&str>) -> (String, u16) {
        let found = url.value.strip_prefix("ldaps://").and_then(|rest| {
            let rest = rest.strip_suffix('/').unwrap_or(rest);
            let (host, port) = match rest.rsplit_once(':') {
                Some((host, port)) => (host, port.parse().ok()?),
                None => (rest, 636),
            };
            let plain =
                !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
            plain.then(|| (host.to_owned(), port))
        });
        found.unwrap_or_else(|| {
            let clear = if url.value.starts_with("ldap://") {
                ": NT hashes and passwords, which is what is asked for, do not travel in clear"
            } else {
                ""
            };
            let value = url.value;
            self.report.error(
                url.span.clone(),
                format!("url: wanted \"ldaps://host\" or \"ldaps://host:port\"{clear}; found \"{value}\""),
            );
            (String::new(), 0)
        })
    }

    /// The password is read when the server runs; here only that it can be, and by whom.
    fn password_file(&self, path: &Path, at: &At<&str>) {
        match fs::File::open(path).and_then(|file| file.metadata()) {
            Ok(found) if !found.is_file() || found.len() > 4096 => {
                self.report.error(
                    at.span.clone(),
                    format!("password-file: wanted a file with a password in one line; {} is none", path.display()),
                );
            }
            Ok(found) => {
                #[cfg(unix)]
                {
                    use std::os::unix::fs::PermissionsExt as _;
                    let mode = found.permissions().mode() & 0o7777;
                    if mode & 0o077 != 0 {
                        self.report.error(
                            at.span.clone(),
                            format!(
                                "password-file: others may read {} (mode {mode:04o}), and whoever has it can read every NT hash: \
                                 chmod 600",
                                path.display()
                            ),
                        );
                    }
                }
                let _ = found;
            }
            Err(error) => self.report.error(at.span.clone(), format!("password-file: {}: {error}", path.display())),
        }
    }

    /// RFC 4512 1.4: a letter, then letters, digits and hyphens; or an OID.
    fn attribute(&self, key: &str, text: &At<&str>) -> bool {
        let good = !text.value.is_empty()
            && text.value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
        if !good {
            self.report.error(
                text.span.clone(),
                format!("{key}: wanted the name of an attribute or class; found \"{}\"", text.value),
            );
        }
        good
    }
}
