//! What sections that are right each by itself may get wrong together.

use std::fs;
use std::path::{Path, PathBuf};

use iwa_auth::Mechanism;
use iwa_domain::local::Snapshot;
use iwa_domain::local::name::same;

use super::read::Reading;
use super::{Config, Kerberos, KeytabSummary, Route};
use crate::gateway::path::covers;

impl Reading<'_> {
    pub(super) fn together(&self, config: &Config, accounts: Option<&Snapshot>) {
        self.nothing_secret_is_served(config);
        self.files_have_one_address(&config.routes);
        self.certificates_name_the_service(config);
        self.ntlm_in_clear(config);
        self.ntlm_alone_through_proxies(config);
        self.gates(&config.routes, &config.authentication);
        self.the_directory_is_called_like_nobody_else(config, accounts);
        if let (Some(kerberos), Some(accounts)) = (&config.kerberos, accounts) {
            self.keytab_has_the_kdcs_keys(kerberos, accounts);
        }
    }

    /// What takes a connection cannot be offered where none is told of.
    fn ntlm_alone_through_proxies(&self, config: &Config) {
        let Some(forward) = &config.forward_auth else { return };
        let policy = &config.authentication.policy;
        let kerberos =
            policy.providers.iter().any(|provider| provider.takes(Mechanism::Kerberos)) && config.kerberos.is_some();
        if forward.connection_header.is_none() && !kerberos && policy.basic_realm.is_none() && !policy.anonymous {
            self.report.file_warning(
                "[forward-auth]: nobody can sign in through a proxy: there is NTLM alone, which needs connection-header, the header in \
                 which nginx or HAProxy says over which connection of its client a request came",
            );
        }
    }

    /// Names and SIDs of the directory must not be those of the machine or of a domain: its accounts would be taken for theirs.
    fn the_directory_is_called_like_nobody_else(&self, config: &Config, accounts: Option<&Snapshot>) {
        let Some(directory) = &config.directory else { return };
        let of_domains = config.domains.iter().filter_map(|domain| domain.name.split('.').next());
        let taken = of_domains.chain(config.ntlm.domain_name.as_deref()).chain(["BUILTIN"]);
        let own = accounts.is_some_and(|accounts| accounts.is_own_domain(&directory.name));
        if own || taken.into_iter().any(|name| same(name, &directory.name)) {
            self.report.file_error(format!(
                "[directory] is called {}, and so are this machine or a domain: give it a name of its own",
                directory.name
            ));
        }
        if accounts.is_some_and(|accounts| directory.domain_sid == Some(accounts.machine().sid)) {
            self.report.file_error(
                "domain-sid of [directory] is the SID of this machine's own accounts: wanted the directory's",
            );
        }
    }

    /// A keytab or a password database inside a served directory would be a download.
    fn nothing_secret_is_served(&self, config: &Config) {
        let keytabs = config.kerberos.iter().flat_map(|kerberos| &kerberos.keytabs).map(|path| ("the keytab", path));
        let kdc = config.kerberos.iter().filter_map(|kerberos| kerberos.kdc_keytab.as_ref());
        let keytabs = keytabs.chain(kdc.map(|path| ("the KDC's keys", path)));
        let domains = config.domains.iter().map(|domain| ("the machine's secrets", &domain.state));
        let accounts = config.accounts.iter().map(|accounts| ("the accounts", &accounts.state));
        let logs = config.log.dir.iter().map(|dir| ("the logs", dir));
        let keys = config.tls.iter().flat_map(|tls| &tls.certificates).map(|files| ("a key of TLS", &files.key));
        let directory = config.directory.iter().map(|directory| ("the reader's password", &directory.password_file));
        let sessions = config.sessions.iter().flat_map(|sessions| [&sessions.keys, &sessions.revoked]);
        let sessions = sessions.map(|path| ("a file of sessions", path));
        let keytabs = keytabs.chain(sessions);
        for (what, path) in keytabs.chain(domains).chain(accounts).chain(directory).chain(logs).chain(keys) {
            let Some(path) = real(path) else { continue };
            for route in &config.routes {
                if route.files.as_deref().and_then(real).is_some_and(|served| path.starts_with(served)) {
                    self.report.file_error(format!(
                        "{what} ({}) would be served to visitors under {}: put it elsewhere",
                        path.display(),
                        route.path
                    ));
                }
            }
        }
    }

    /// Rules belong to paths, and not to files: a directory that two routes reach has the rules of the weaker one.
    fn files_have_one_address(&self, routes: &[Route]) {
        for outer in routes {
            let alike = |a: &Route, b: &Route| a.rules == b.rules && a.sign_in == b.sign_in;
            for inner in routes.iter().filter(|inner| inner.path != outer.path && !alike(inner, outer)) {
                let (Some(above), Some(below)) =
                    (outer.files.as_deref().and_then(real), inner.files.as_deref().and_then(real))
                else {
                    continue;
                };
                let Some(rest) = below.strip_prefix(&above).ok().and_then(Path::to_str) else { continue };
                let address = format!("{}/{rest}", outer.path.trim_end_matches('/'));
                // The longest path comes first, and is the one whose rules hold.
                let holds = routes.iter().find(|route| covers(&route.path, address.trim_end_matches('/')));
                if holds.is_some_and(|route| !alike(route, inner)) {
                    self.report.file_warning(format!(
                        "the files of {} can be had at {address} too, where other rules hold: keep them outside {}",
                        inner.path,
                        above.display()
                    ));
                }
            }
        }
    }

    /// The accounts of this machine are the accounts of its KDC: keys that it no longer gives tickets for open nothing.
    fn keytab_has_the_kdcs_keys(&self, kerberos: &Kerberos, accounts: &Snapshot) {
        let read = |path: &PathBuf| Some((path.clone(), KeytabSummary::read(path).ok()?));
        let keytabs: Vec<_> = kerberos.keytabs.iter().filter_map(read).collect();
        let all = keytabs.iter().flat_map(|(path, keytab)| keytab.principals.iter().map(move |entry| (path, entry)));
        for (path, (principal, keys)) in all {
            let Some((name, realm)) = principal.rsplit_once('@') else { continue };
            let newest = accounts.service(name).and_then(|service| service.keys.first());
            let (Some(newest), Some((&has, _))) = (newest, keys.last_key_value()) else { continue };
            if same(realm, &accounts.machine().realm) && newest.kvno != has {
                self.report.file_warning(format!(
                    "keytab: it has {principal} at kvno {has}, the KDC of these accounts gives tickets at kvno {}: \
                     `iwa kdc add-service {name} --keytab {}` puts the present keys into it",
                    newest.kvno,
                    path.display()
                ));
            }
        }
    }
}

/// A path without links; of one that is not there yet, as far as it is.
fn real(path: &Path) -> Option<PathBuf> {
    match fs::canonicalize(path) {
        Ok(path) => Some(path),
        Err(_) => Some(fs::canonicalize(path.parent()?).ok()?.join(path.file_name()?)),
    }
}
