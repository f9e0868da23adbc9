//! `[tls]` and `[authentication.windows.extended-protection]`: certificates, and what clients must be tied to.

use iwa_auth::{BindingPolicy, Mechanism};
use iwa_http::{Os, Policy, System as _};

use super::kerberos::open_to_others;
use super::raw::{At, Section};
use super::read::Reading;
use super::{CertificateFiles, Config, KeytabSummary, Server, Tls};
use crate::gateway::certificate::Served;
use crate::gateway::terminators::Terminator;

impl<'a> Reading<'a> {
    pub(super) fn tls(&self, section: Section<'a>, server: &Server) -> Option<Tls> {
        let wanted = || {
            let first = server.listen_tls.first()?;
            Some(format!(
                "https://{first} needs a certificate: add [[tls.certificate]] with `certificate` and `key`, both files in PEM"
            ))
        };
        if !section.is_written() {
            if let Some(wanted) = wanted() {
                self.report.file_error(wanted);
            }
            return None;
        }
        let mut tls = Tls { certificates: Vec::new(), handshake_timeout: Tls::HANDSHAKE_TIMEOUT };
        if let Some(timeout) = section.duration("handshake-timeout") {
            tls.handshake_timeout = timeout.value;
            if timeout.value.is_zero() {
                self.report.error(timeout.span, "handshake-timeout: wanted more than nothing");
            }
        }
        for entry in section.sections("certificate") {
            let files = (entry.string("certificate"), entry.string("key"));
            if let (Some(certificate), Some(key)) = files {
                let files = CertificateFiles { certificate: self.path(certificate.value), key: self.path(key.value) };
                self.certificate(&files, &certificate, &key);
                tls.certificates.push(files);
            } else {
                let span = entry.span();
                self.report.error(span, "[[tls.certificate]] needs `certificate` and `key`, both files in PEM");
            }
            entry.finish();
        }
        let span = section.span();
        section.finish();
        if server.listen_tls.is_empty() {
            let why = "[tls] has no effect: no address of `listen` begins with https://, such as \"https://*:443\"";
            self.report.warning(span, why);
        } else if tls.certificates.is_empty() {
            self.report.error(span, wanted().unwrap_or_default());
        }
        Some(tls).filter(|tls| !tls.certificates.is_empty())
    }

    fn certificate(&self, files: &CertificateFiles, certificate: &At<&str>, key: &At<&str>) {
        match Served::read(files) {
            Ok(served) => {
                for remark in served.facts.remarks(Os.now()) {
                    let text = format!("certificate: {}: {remark}", files.certificate.display());
                    self.report.warning(certificate.span.clone(), text);
                }
            }
            Err(why) => self.report.error(certificate.span.clone(), format!("certificate: {why}")),
        }
        if let Some(mode) = open_to_others(&files.key) {
            self.report.warning(
                key.span.clone(),
                format!(
                    "key: others may read {} (mode {mode:04o}), and who has it is this server to every client: chmod 600",
                    files.key.display()
                ),
            );
        }
    }

    pub(super) fn protection(
        &self,
        section: Section<'a>,
        server: &Server,
        policy: &Policy,
    ) -> (BindingPolicy, Vec<Terminator>) {
        let mut terminators = Vec::new();
        let named = section.strings("terminator-certificates");
        for At { value, span } in named.iter().flat_map(|named| &named.value) {
            let terminator = Terminator::parse(value, |path| self.path(path));
            match terminator.and_then(|terminator| terminator.bindings().map(|_| terminator)) {
                Ok(terminator) => terminators.push(terminator),
                Err(why) => self.report.error(span.clone(), format!("terminator-certificates: {why}")),
            }
        }
        let words = [
            ("none", BindingPolicy::None),
            ("allow", BindingPolicy::Allow),
            ("report", BindingPolicy::Report),
            ("require", BindingPolicy::Require),
        ];
        let checking = section.word("token-checking", &words);
        match (&checking, named) {
            (Some(checking), None) if server.listen_tls.is_empty() => match checking.value {
                BindingPolicy::Require => self.report.error(
                    checking.span.clone(),
                    "token-checking = \"require\" ties every client to its TLS connection, and this server listens without \
                     TLS: nobody could sign in; wanted \"none\" or \"allow\", an address with https://, or the \
                     terminator-certificates of the proxy that ends TLS",
                ),
                BindingPolicy::Report => self.report.warning(
                    checking.span.clone(),
                    "token-checking = \"report\" reports everybody: without TLS nobody can be tied to it",
                ),
                BindingPolicy::None | BindingPolicy::Allow => {}
            },
            (Some(checking), _) if checking.value == BindingPolicy::Require => {
                if let (Some(clear), true) = (server.listen.first(), terminators.is_empty()) {
                    let why = format!(
                        "token-checking = \"require\": nobody can sign in with Negotiate or NTLM at http://{clear}, where there is no TLS to be tied to"
                    );
                    self.report.warning(checking.span.clone(), why);
                }
                if !policy.providers.is_empty() {
                    self.report.warning(checking.span.clone(), format!("token-checking = \"require\" {LOCKED_OUT}"));
                }
            }
            (checking, Some(named))
                if checking.as_ref().is_none_or(|checking| checking.value == BindingPolicy::None) =>
            {
                self.report.warning(
                    named.span,
                    "terminator-certificates have no effect: token-checking is \"none\"; wanted \"allow\", \"report\" or \
                     \"require\"",
                );
            }
            _ => {}
        }
        section.finish();
        (checking.map_or(BindingPolicy::None, |checking| checking.value), terminators)
    }

    /// A browser asks for the name that the ticket is for, too.
    pub(super) fn certificates_name_the_service(&self, config: &Config) {
        let Some(tls) = &config.tls else { return };
        let facts: Vec<_> = tls.certificates.iter().filter_map(|files| Served::read(files).ok()).collect();
        let keytabs: Vec<_> = config.keytabs().iter().filter_map(|path| KeytabSummary::read(path).ok()).collect();
        for principal in keytabs.iter().flat_map(|keytab| keytab.principals.keys()) {
            let name = principal.rsplit_once('@').map_or(principal.as_str(), |(name, _)| name);
            let Some((class, host)) = name.split_once('/') else { continue };
            // Short names are for links inside; nobody certifies them.
            let full = host.contains('.') && class.eq_ignore_ascii_case("HTTP");
            if full && !facts.is_empty() && !facts.iter().any(|served| served.facts.is_for(host)) {
                self.report.file_warning(format!(
                    "keytab: it has keys for {name}, and no certificate of [tls] names {host}: browsers will not trust \
                     https://{host}/"
                ));
            }
        }
    }

    /// NTLM proves a connection, and clear text proves nothing of who continues it.
    pub(super) fn ntlm_in_clear(&self, config: &Config) {
        let of_routes = config.routes.iter().filter_map(|route| route.sign_in.providers.as_ref());
        let mut providers = of_routes.chain([&config.authentication.policy.providers]).flatten();
        let ntlm = providers.any(|provider| provider.takes(Mechanism::Ntlm));
        let clear = config.server.listen.iter().find(|address| !address.ip().is_loopback());
        if let (true, true, Some(clear)) = (ntlm, config.authentication.terminators.is_empty(), clear) {
            self.report.file_warning(format!(
                "NTLM at http://{clear} goes over the network without TLS: whoever stands between takes over signed-in \
                 connections, and can guess passwords from what it sees; wanted https://, \"Negotiate:Kerberos\" alone, or a \
                 proxy that ends TLS and terminator-certificates"
            ));
        }
    }
}

/// Measured with the clients of 2026.
pub(crate) const LOCKED_OUT: &str = "keeps out curl, Chromium and Firefox on Linux with Kerberos, and curl and \
    Firefox with NTLM: they send no channel bindings (Chromium does with NTLM; Windows' own clients do with both); \"report\" \
    tells who they are here before anybody is kept out";

#[cfg(test)]
pub(super) mod tests;
