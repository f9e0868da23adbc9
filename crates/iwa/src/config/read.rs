//! From what was written to a [`Config`]: every section, every key, and what they mean together.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use iwa_domain::local::{LocalAccounts, Lockout, Snapshot};
use iwa_http::Provider;
use toml::de::DeTable;

use super::raw::{At, Problem, Report, Section, Severity, did_you_mean};
use super::{Accounts, Authentication, Config, Directory, Limits, Log, Ntlm, Server, value};
use crate::gateway::audit::{Field, Period};

/// A configuration that can be served, and what its writer should know about it.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The configuration.
    pub(crate) config: Config,
    /// Warnings only.
    pub(crate) warnings: Vec<Problem>,
}

/// Reads a configuration file, and looks at everything that it names.
///
/// # Errors
/// Every problem there is, warnings among them.
pub(crate) fn load(file: &Path) -> Result<Loaded, Vec<Problem>> {
    let alone = |message| Problem { file: file.to_owned(), at: None, severity: Severity::Error, message };
    let text = fs::read(file).map_err(|error| {
        let advice = if error.kind() == std::io::ErrorKind::NotFound { "; --config says where it is" } else { "" };
        vec![alone(format!("cannot be read: {error}{advice}"))]
    })?;
    let text = String::from_utf8(text).map_err(|error| {
        vec![alone(format!("is not UTF-8 from byte {} on: save it as UTF-8", error.utf8_error().valid_up_to()))]
    })?;
    parse(file, &text)
}

/// Reads the text of a configuration file. Relative paths in it start at the file's directory.
pub(super) fn parse(file: &Path, text: &str) -> Result<Loaded, Vec<Problem>> {
    let report = Report::new(file, text);
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        // What could be read of a file that is not TOML would only raise problems that are none.
        for error in errors {
            report.error(error.span().unwrap_or_default(), format!("this is not TOML: {}", error.message()));
        }
        return Err(report.into_problems());
    }
    // Absolute, so that what is said of a path does not depend on where this runs.
    let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let base = absolute.parent().unwrap_or(Path::new("/"));
    let config = Reading { report: &report, base }.config(Section::root(&report, table.get_ref()));
    let problems = report.into_problems();
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        Err(problems)
    } else {
        Ok(Loaded { config, warnings: problems })
    }
}

pub(super) struct Reading<'a> {
    pub(super) report: &'a Report<'a>,
    base: &'a Path,
}

impl<'a> Reading<'a> {
    fn config(&self, root: Section<'a>) -> Config {
        let server = self.server(root.section("server"));
        let tls = self.tls(root.section("tls"), &server);
        let domains = self.domains(root.sections("domain"));
        let kerberos = self.kerberos(root.section("kerberos"), &domains);
        let ntlm = self.ntlm(root.section("ntlm"));
        let (accounts, snapshot) = self.accounts(root.section("accounts"));
        let directory = self.directory(root.section("directory"));
        let have = Have {
            kerberos: kerberos.is_some(),
            accounts: accounts.is_some(),
            domain: !domains.is_empty(),
            machine: domains.iter().any(super::Domain::has_keys),
            directory: directory.as_ref(),
            sessions: false,
        };
        let authentication = self.authentication(root.section("authentication"), have, &server);
        let sessions = self.sessions(root.section("sessions"));
        let have = Have { sessions: sessions.is_some(), ..have };
        let routes = self.routes(root.sections("route"), &authentication, snapshot.as_deref(), have);
        let jwt = self.jwt(root.section("jwt"), &routes);
        let mapping = self.mapping(root.sections("mapping"), have);
        let pages = self.pages(root.section("pages"));
        let forward_auth = self.forward_auth(root.section("forward-auth"));
        let log = self.log(root.section("log"));
        let limits = self.limits(root.section("limits"));
        let admin = self.admin(root.section("admin"));
        root.finish();
        let config = Config {
            server,
            tls,
            authentication,
            kerberos,
            ntlm,
            accounts,
            domains,
            directory,
            sessions,
            mapping,
            jwt,
            routes,
            pages,
            forward_auth,
            log,
            limits,
            admin,
        };
        self.together(&config, snapshot.as_deref());
        config
    }

    fn server(&self, section: Section<'a>) -> Server {
        let (mut listen, mut listen_tls) = (Vec::new(), Vec::new());
        match section.strings("listen") {
            Some(addresses) => {
                if addresses.value.is_empty() {
                    self.report.error(addresses.span, "listen: wanted at least one address; found none");
                }
                for At { value, span } in addresses.value {
                    let (value, listen, other) = match value.strip_prefix("https://") {
                        Some(value) => (value, &mut listen_tls, &listen),
                        None => (value.strip_prefix("http://").unwrap_or(value), &mut listen, &listen_tls),
                    };
                    match value::address(value) {
                        Ok(found) => {
                            for address in found {
                                if (listen.contains(&address) || other.contains(&address)) && address.port() != 0 {
                                    self.report.error(span.clone(), format!("listen: {address} stands here twice"));
                                }
                                listen.push(address);
                            }
                        }
                        Err(why) => self.report.error(span, format!("listen: {why}")),
                    }
                }
            }
            None if section.is_written() => {
                self.report.error(section.span(), "[server] needs `listen`, for example listen = [\"127.0.0.1:8080\"]");
            }
            None => self.report.file_error(
                "wanted a section [server] with `listen`, for example listen = [\"127.0.0.1:8080\"]; found none",
            ),
        }
        let http2 = self.http2(&section);
        let proxy_protocol = self.front_networks(&section, "proxy-protocol");
        let trusted_proxies = self.front_networks(&section, "trusted-proxies");
        section.finish();
        Server { listen, listen_tls, http2, proxy_protocol, trusted_proxies }
    }

    fn authentication(&self, section: Section<'a>, have: Have<'_>, server: &Server) -> Authentication {
        let mut authentication = Authentication::default();
        let policy = &mut authentication.policy;
        policy.anonymous = section.boolean("anonymous").is_some_and(|anonymous| anonymous.value);

        let basic = section.section("basic");
        let enabled = basic.boolean("enabled");
        let realm = basic.string("realm");
        if enabled.as_ref().is_some_and(|enabled| enabled.value) {
            if let Some(realm) =
                realm.as_ref().filter(|realm| realm.value.contains(['"', '\\']) || !is_visible(realm.value))
            {
                self.report.error(
                    realm.span.clone(),
                    "realm: wanted a text without quotes, backslashes and control characters",
                );
            }
            policy.basic_realm = Some(realm.map_or("", |realm| realm.value).to_owned());
            let span = enabled.map(|enabled| enabled.span).unwrap_or_default();
            if !have.logons() {
                self.report.error(
                    span.clone(),
                    "Basic needs accounts whose passwords it can verify: add [accounts], a [[domain]] or a [directory]",
                );
            }
            if server.listen.iter().any(|address| !address.ip().is_loopback()) {
                self.report.warning(
                    span,
                    "Basic sends passwords in clear: without TLS it is taken from this machine only, and refused to everybody else",
                );
            }
        } else if let Some(realm) = realm {
            self.report.warning(realm.span, "realm has no effect: Basic is off (enabled = true turns it on)");
        }
        basic.finish();

        let windows = section.section("windows");
        let enabled = windows.boolean("enabled").is_none_or(|enabled| enabled.value);
        policy.providers = match self.providers(&windows, have, false) {
            _ if !enabled => Vec::new(),
            Some(providers) => providers,
            // As IIS installs itself, as far as there is something to verify with.
            None if have.ntlm() => vec![Provider::Negotiate, Provider::Ntlm],
            None if have.kerberos => vec![Provider::Negotiate],
            None => Vec::new(),
        };
        if let Some(single) = windows.boolean("persist-single-request") {
            policy.persist_single_request = single.value;
            if single.value && policy.providers.iter().any(|provider| provider.takes(iwa_auth::Mechanism::Ntlm)) {
                self.report.warning(
                    single.span,
                    "persist-single-request makes every request do the whole handshake again, three legs for NTLM",
                );
            }
        }
        if let Some(persist) = windows.boolean("persist-non-ntlm") {
            policy.persist_non_ntlm = persist.value;
        }
        authentication.own_account = windows.boolean("own-account").is_some_and(|own| own.value);
        if let Some(pins) = windows.boolean("proxy-pins-connections") {
            policy.proxy_pins_connections = pins.value;
        }
        let (checking, terminators) =
            self.protection(windows.section("extended-protection"), server, &authentication.policy);
        authentication.token_checking = checking;
        authentication.terminators = terminators;
        windows.finish();
        section.finish();

        let policy = &authentication.policy;
        if policy.providers.is_empty() && policy.basic_realm.is_none() {
            let nobody = if policy.anonymous {
                "nobody can sign in: there is no [kerberos] keytab and there are no [accounts]; everything is served to \
                 anonymous visitors"
            } else {
                "nobody can get in: anonymous is off, and there is nothing to sign in with; wanted [kerberos] with a keytab, \
                 a [[domain]], or [accounts]"
            };
            if policy.anonymous { self.report.file_warning(nobody) } else { self.report.file_error(nobody) }
        }
        authentication
    }

    /// `providers` of `[authentication.windows]`, or of a route, where an empty list turns them off.
    pub(super) fn providers(&self, windows: &Section<'a>, have: Have<'_>, of_route: bool) -> Option<Vec<Provider>> {
        let written = windows.strings("providers")?;
        if written.value.is_empty() && !of_route {
            self.report.error(
                written.span,
                "providers: wanted at least one of \"Negotiate\", \"Negotiate:Kerberos\", \"NTLM\"; enabled = false turns \
                 Windows authentication off",
            );
        }
        let mut providers = Vec::new();
        for At { value, span } in written.value {
            let Ok(provider) = value.parse::<Provider>() else {
                let hint = did_you_mean(value, &["Negotiate", "Negotiate:Kerberos", "NTLM"]);
                self.report.error(span, format!("providers: there is no provider \"{value}\"{hint}"));
                continue;
            };
            let problem = match provider {
                _ if providers.contains(&provider) => Some("stands here twice"),
                Provider::Negotiate | Provider::NegotiateKerberos
                    if providers.iter().any(|other: &Provider| other.scheme() == provider.scheme()) =>
                {
                    Some(
                        "and another provider both use the scheme Negotiate: keep \"Negotiate\" (NTLM too) or \"Negotiate:Kerberos\" (never NTLM)",
                    )
                }
                Provider::Ntlm if !have.ntlm() => Some(
                    "needs somebody who knows the passwords: add [accounts], a [[domain]] or a [directory] with `nt-hash`, or \
                     offer \"Negotiate\" alone",
                ),
                Provider::NegotiateKerberos if !have.kerberos => {
                    Some("needs keys: add [kerberos] with a keytab, or a [[domain]] that this machine joined")
                }
                Provider::Negotiate if !have.kerberos && !have.ntlm() => {
                    Some("needs keys or accounts: add [kerberos] with a keytab, or [accounts]")
                }
                _ => None,
            };
            match problem {
                Some(problem) => self.report.error(span, format!("providers: {provider} {problem}")),
                None => providers.push(provider),
            }
        }
        Some(providers)
    }

    fn ntlm(&self, section: Section<'a>) -> Ntlm {
        let mut ntlm = Ntlm::default();
        let name = |key, limit: usize| {
            let name = section.string(key)?;
            if name.value.is_empty() || name.value.encode_utf16().count() > limit || !is_visible(name.value) {
                self.report.error(name.span, format!("{key}: wanted 1 to {limit} characters that can be seen"));
                return None;
            }
            Some(name.value.to_owned())
        };
        ntlm.computer_name = name("computer-name", 15);
        ntlm.domain_name = name("domain-name", 15);
        ntlm.dns_computer_name = name("dns-computer-name", 255);
        ntlm.dns_domain_name = name("dns-domain-name", 255);
        ntlm.dns_tree_name = name("dns-tree-name", 255);
        ntlm.require_mic = section.boolean("require-mic").is_some_and(|require| require.value);
        if let Some(names) = section.strings("target-names") {
            for At { value, span } in names.value {
                if value.split_once('/').is_none_or(|(class, host)| class.is_empty() || host.is_empty()) {
                    self.report.error(
                        span,
                        format!("target-names: wanted SPNs such as \"HTTP/web.example.test\"; found \"{value}\""),
                    );
                } else {
                    ntlm.target_names.push(value.to_owned());
                }
            }
        }
        if let Some(skew) = section.duration("clock-skew") {
            ntlm.clock_skew = skew.value;
        }
        if let Some(age) = section.duration("challenge-age") {
            ntlm.challenge_age = age.value;
        }
        section.finish();
        ntlm
    }

    fn accounts(&self, section: Section<'a>) -> (Option<Accounts>, Option<std::sync::Arc<Snapshot>>) {
        if !section.is_written() {
            return (None, None);
        }
        let state = section.string("state");
        let lockout = self.lockout(section.section("lockout"));
        let span = state.as_ref().map_or_else(|| section.span(), |state| state.span.clone());
        let dir = state.map_or_else(|| PathBuf::from(super::DEFAULT_STATE), |state| self.path(state.value));
        let snapshot = match LocalAccounts::open(&dir, lockout).and_then(|accounts| accounts.snapshot()) {
            Ok(snapshot) => {
                if snapshot.users().is_empty() {
                    self.report.warning(
                        span,
                        "there are no accounts yet: `iwa user add` makes them, also while the server runs",
                    );
                }
                Some(snapshot)
            }
            Err(error) => {
                self.report.error(span, format!("state: {error}"));
                None
            }
        };
        section.finish();
        (Some(Accounts { state: dir, lockout }), snapshot)
    }

    pub(super) fn lockout(&self, section: Section<'a>) -> Lockout {
        let mut lockout = Lockout::default();
        if let Some(threshold) = section.number("threshold", 0) {
            lockout.threshold = u32::try_from(threshold.value).unwrap_or(u32::MAX);
            if threshold.value == 0 {
                self.report
                    .warning(threshold.span, "threshold = 0 turns lock-out off: passwords can be guessed without end");
            }
        }
        if let Some(duration) = section.duration("duration") {
            lockout.duration = duration.value;
        }
        if let Some(window) = section.duration("window") {
            lockout.window = window.value;
            if !lockout.duration.is_zero() && window.value > lockout.duration {
                self.report.warning(window.span, "window is longer than duration: Windows does not take that either");
            }
        }
        section.finish();
        lockout
    }

    fn log(&self, section: Section<'a>) -> Log {
        let dir = section.string("dir").map(|dir| {
            let path = self.path(dir.value);
            match fs::metadata(&path) {
                Ok(found) if found.is_dir() => {}
                Ok(_) => self.report.error(dir.span, format!("dir: wanted a directory; {} is a file", path.display())),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    if !path.parent().is_some_and(Path::is_dir) {
                        let why =
                            format!("dir: {} does not exist, and neither does the directory above it", path.display());
                        self.report.error(dir.span, why);
                    }
                }
                Err(error) => self.report.error(dir.span, format!("dir: {}: {error}", path.display())),
            }
            path
        });
        let mut log = Log { dir, ..Log::default() };
        if let Some(w3c) = section.boolean("w3c") {
            log.w3c = w3c.value;
        }
        if let Some(json) = section.boolean("json") {
            log.json = json.value;
        }
        log.console = section.boolean("console").is_some_and(|console| console.value);
        if let Some(fields) = section.strings("fields") {
            log.fields.clear();
            let known = Field::ALL.map(Field::name);
            for At { value, span } in &fields.value {
                match value.parse::<Field>() {
                    Ok(field) if log.fields.contains(&field) => {
                        self.report.error(span.clone(), format!("fields: {value} stands here twice"));
                    }
                    Ok(field) => log.fields.push(field),
                    Err(_) => {
                        let hint = did_you_mean(value, &known);
                        self.report.error(span.clone(), format!("fields: there is no field \"{value}\"{hint}"));
                    }
                }
            }
            if fields.value.is_empty() {
                self.report.error(fields.span, "fields: wanted at least one; w3c = false turns the log off");
            }
        }
        let periods = [("daily", Period::Daily), ("hourly", Period::Hourly), ("max-size", Period::MaxSize)];
        if let Some(period) = section.word("period", &periods) {
            log.period = period.value;
        }
        if let Some(size) = section.size("truncate-size") {
            log.truncate_size = size.value;
            if size.value < 1 << 20 {
                self.report.error(size.span, "truncate-size: wanted at least \"1 MiB\", as IIS does");
            } else if log.period != Period::MaxSize {
                self.report.warning(
                    size.span,
                    "truncate-size has no effect: only period = \"max-size\" ends a file when it is full",
                );
            }
        }
        if let Some(line) = section.size("max-line") {
            log.max_line = usize::try_from(line.value).unwrap_or(usize::MAX);
            if !(512..=1 << 20).contains(&line.value) {
                self.report.error(line.span, "max-line: wanted \"512 B\" to \"1 MiB\"");
            }
        }
        if let Some(flush) = section.duration("flush") {
            log.flush = flush.value;
        }
        section.finish();
        log
    }

    fn limits(&self, section: Section<'a>) -> Limits {
        let mut limits = Limits::default();
        if let Some(header) = section.size("header") {
            limits.header = usize::try_from(header.value).unwrap_or(usize::MAX);
            if !(8 << 10..=16 << 20).contains(&header.value) {
                self.report.error(header.span, "header: wanted \"8 KiB\" to \"16 MiB\"");
            } else if header.value < 64 << 10 {
                self.report.warning(
                    header.span,
                    "header: Windows builds tokens of up to 48,000 bytes, 64,000 in base64, for users in many groups: they get \
                     400 below \"64 KiB\"",
                );
            }
        }
        let count = |key, place: &mut usize| {
            if let Some(count) = section.number(key, 1) {
                *place = usize::try_from(count.value).unwrap_or(usize::MAX);
            }
        };
        count("handshakes", &mut limits.handshakes);
        count("connections", &mut limits.connections);
        let duration = |key, place: &mut Duration| {
            if let Some(duration) = section.duration(key) {
                if duration.value.is_zero() {
                    self.report.error(duration.span, format!("{key}: wanted more than nothing"));
                } else {
                    *place = duration.value;
                }
            }
        };
        duration("handshake-age", &mut limits.handshake_age);
        duration("header-timeout", &mut limits.header_timeout);
        duration("idle-timeout", &mut limits.idle_timeout);
        duration("logon-timeout", &mut limits.logon_timeout);
        duration("stop-timeout", &mut limits.stop_timeout);
        limits.passwords = self.passwords(section.section("passwords"));
        section.finish();
        limits
    }

    pub(super) fn path(&self, written: &str) -> PathBuf {
        self.base.join(written)
    }
}

/// What there is to verify somebody with.
#[derive(Clone, Copy)]
pub(super) struct Have<'a> {
    kerberos: bool,
    pub(super) accounts: bool,
    pub(super) domain: bool,
    /// A domain that this machine joined, so that it has an account.
    pub(super) machine: bool,
    pub(super) directory: Option<&'a Directory>,
    /// A section `[sessions]`.
    pub(super) sessions: bool,
}

impl Have<'_> {
    /// Anybody who can be verified.
    pub(super) const fn somebody(self) -> bool {
        self.kerberos || self.logons()
    }

    /// Somebody who verifies passwords.
    pub(super) const fn logons(self) -> bool {
        self.accounts || self.domain || self.directory.is_some()
    }

    /// Somebody who verifies NTLM.
    fn ntlm(self) -> bool {
        self.accounts || self.domain || self.directory.is_some_and(|directory| directory.nt_hash.is_some())
    }
}

pub(super) fn is_visible(text: &str) -> bool {
    iwa_wire::explain::printable(text) == text
}
