//! `[kerberos]`: the service's keys, and whose tickets are taken.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use iwa_auth::krb5::acceptor::ClientRealms;

use super::keytab::KeytabSummary;
use super::raw::{At, Section};
use super::read::Reading;
use super::{Domain, Kerberos};

impl<'a> Reading<'a> {
    /// Without the section, Kerberos is on all the same where a domain brings keys.
    pub(super) fn kerberos(&self, section: Section<'a>, domains: &[Domain]) -> Option<Kerberos> {
        let joined = domains.iter().any(Domain::has_keys);
        if !section.is_written() {
            return joined.then(Kerberos::default);
        }
        let mut kerberos = Kerberos::default();
        if let Some(skew) = section.duration("clock-skew") {
            kerberos.clock_skew = skew.value;
            if skew.value > Duration::from_secs(3600) {
                self.report
                    .warning(skew.span, "clock-skew: a captured token is good for that long; five minutes are usual");
            }
        }
        if let Some(rc4) = section.boolean("rc4") {
            kerberos.rc4 = rc4.value;
            if rc4.value {
                self.report.warning(
                    rc4.span,
                    "rc4 = true takes tickets whose encryption can be broken by guessing the service account's password; \
                     Windows turned it off in 2026",
                );
            }
        }
        if let Some(pac) = section.word("pac", &[("required", true), ("optional", false)]) {
            kerberos.pac_required = pac.value;
        }
        kerberos.kdc_keytab = self.kdc_signatures(&section);
        let names = section.strings("service-names");
        let files = section.strings("keytab");
        match &files {
            Some(files) if files.value.is_empty() && !joined => {
                self.report.error(files.span.clone(), "keytab: wanted at least one file with the service's keys");
            }
            Some(files) => self.keytabs(&files.value, &mut kerberos),
            None if joined || !domains.is_empty() => {}
            None => self.report.error(
                section.span(),
                "[kerberos] needs `keytab`, the file with the service's keys, or a [[domain]] that this machine joined",
            ),
        }
        self.service_names(names.as_ref(), files.map(|files| files.span), &kerberos, joined);
        if let Some(realms) = section.strings("client-realms") {
            for At { value, span } in &realms.value {
                if value.is_empty() || value.contains(['@', '/', '\\']) {
                    self.report
                        .error(span.clone(), format!("client-realms: wanted realms, or \"*\"; found \"{value}\""));
                }
            }
            let listed: Vec<_> = realms.value.iter().map(|realm| realm.value.to_owned()).collect();
            kerberos.client_realms = match listed.as_slice() {
                [] => {
                    self.report.error(realms.span, "client-realms: wanted at least one realm, or \"*\"");
                    ClientRealms::OfTheKeytab
                }
                [all] if all == "*" => ClientRealms::AnyTrusted,
                _ => ClientRealms::Listed(listed),
            };
        }
        kerberos.service_names =
            names.map(|names| names.value.into_iter().map(|name| name.value.to_owned()).collect()).unwrap_or_default();
        section.finish();
        Some(kerberos)
    }

    /// Who has the KDC's key can tell a forged PAC from a true one, and only they.
    fn kdc_signatures(&self, section: &Section<'a>) -> Option<PathBuf> {
        let required = section.word("kdc-signatures", &[("report", false), ("require", true)]);
        let file = section.string("kdc-keytab");
        match (&required, &file) {
            (Some(At { value: true, span }), None) => self.report.error(
                span.clone(),
                "kdc-signatures = \"require\" needs `kdc-keytab`, the file with the KDC's own key (krbtgt/REALM), which only the KDC's \
                 machine has; \"report\" goes without",
            ),
            (Some(At { value: false, .. }), Some(file)) => self.report.warning(
                file.span.clone(),
                "kdc-keytab has no effect with kdc-signatures = \"report\": wanted \"require\"",
            ),
            _ => {}
        }
        // Whoever names the key wants it used.
        let file = file.filter(|_| required.as_ref().is_none_or(|required| required.value))?;
        let path = self.path(file.value);
        match KeytabSummary::read(&path) {
            Ok(keytab) if keytab.has_service("krbtgt") => {
                if let Some(mode) = open_to_others(&path) {
                    self.report.error(
                        file.span,
                        format!(
                            "kdc-keytab: others may read {} (mode {mode:04o}), and it is as good as every password of the realm: chmod 600",
                            path.display()
                        ),
                    );
                }
            }
            Ok(keytab) => self.report.error(
                file.span,
                format!("kdc-keytab: wanted a key of krbtgt/REALM; {} has only {}", path.display(), keytab.names()),
            ),
            Err(why) => self.report.error(file.span, format!("kdc-keytab: {why}")),
        }
        Some(path)
    }

    fn keytabs(&self, files: &[At<&str>], kerberos: &mut Kerberos) {
        for At { value, span } in files {
            let path = self.path(value);
            if kerberos.keytabs.contains(&path) {
                self.report.error(span.clone(), format!("keytab: {} stands here twice", path.display()));
                continue;
            }
            let keytab = match KeytabSummary::read(&path) {
                Ok(keytab) => keytab,
                Err(why) => {
                    self.report.error(span.clone(), format!("keytab: {why}"));
                    continue;
                }
            };
            if let Some(mode) = open_to_others(&path) {
                self.report.warning(
                    span.clone(),
                    format!(
                        "keytab: others may read {} (mode {mode:04o}), and it is as good as the service's password: chmod 600",
                        path.display()
                    ),
                );
            }
            if keytab.principals.is_empty() {
                self.report.error(span.clone(), format!("keytab: {} holds no keys", path.display()));
            } else if !keytab.has_usable_key(kerberos.rc4) {
                let why = if keytab.has_usable_key(true) {
                    "only RC4 keys, and rc4 is off: give the account AES keys and make the keytab anew"
                } else {
                    "no key of an encryption type that is known here (AES with SHA-1 or SHA-2)"
                };
                self.report.error(span.clone(), format!("keytab: {} holds {why}", path.display()));
            }
            kerberos.keytabs.push(path);
        }
    }

    fn service_names(
        &self,
        names: Option<&At<Vec<At<&str>>>>,
        files: Option<Range<usize>>,
        kerberos: &Kerberos,
        joined: bool,
    ) {
        let found = kerberos.keytabs.iter().filter_map(|path| KeytabSummary::read(path).ok());
        let keytab = KeytabSummary::together(found);
        if let Some(files) = files.filter(|_| names.is_none() && !joined)
            && !keytab.principals.is_empty()
            && !keytab.has_service("HTTP")
        {
            let has = keytab.names();
            self.report.warning(
                files,
                format!("keytab: browsers ask for tickets for HTTP/<host>, and the keytab has only {has}"),
            );
        }
        for At { value: name, span } in names.into_iter().flat_map(|names| &names.value) {
            if name.contains('@') || name.split('/').any(str::is_empty) {
                self.report.error(
                    span.clone(),
                    format!("service-names: wanted names such as \"HTTP/web.example.test\", or \"HTTP\" for every host; found \"{name}\""),
                );
            } else if name.contains('/') && !keytab.principals.is_empty() && !joined && !keytab.has_principal(name) {
                self.report.warning(
                    span.clone(),
                    format!(
                        "service-names: no key is named {name}, the keytab has {}: a ticket for it is taken only if one of those \
                         keys decrypts it (one account with several names)",
                        keytab.names()
                    ),
                );
            }
        }
    }
}

/// The mode of a file that others may read.
pub(super) fn open_to_others(path: &Path) -> Option<u32> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(path).ok()?.permissions().mode() & 0o7777;
        (mode & 0o004 != 0).then_some(mode)
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}
