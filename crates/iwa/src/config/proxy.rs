//! `proxy` of a route and `[route.upstream]`: the application behind it.

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;
use http::uri::{Authority, PathAndQuery};

use super::CertificateFiles;
use super::raw::{At, Section};
use super::read::Reading;
use crate::gateway::proxy::MOST_TARGETS;
use crate::gateway::proxy::target::Target;

/// `proxy` of a route and what `[route.upstream]` says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proxy {
    /// Where the application listens; at least one.
    pub(crate) targets: Vec<Target>,
    /// `[route.upstream]`.
    pub(crate) settings: Settings,
}

#[cfg(test)]
impl Proxy {
    /// The application at this address, in clear.
    pub(crate) fn to(address: std::net::SocketAddr) -> Self {
        let target = Target::read(&format!("http://{address}")).expect("an address");
        Self { targets: vec![target], settings: Settings::default() }
    }
}

/// `[route.upstream]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// `host`.
    pub(crate) host: HostHeader,
    /// `strip-path`: requests go on without the path of the route.
    pub(crate) strip_path: bool,
    /// `pass-through`: the application signs its visitors in by itself, and each has a connection of their own to it.
    pub(crate) pass_through: bool,
    /// `request-id`: the header line that names the request; `None` for `""`.
    pub(crate) request_id: Option<HeaderName>,
    /// `ca`: authorities in PEM; `None` are those of the system.
    pub(crate) ca: Option<PathBuf>,
    /// `certificate` and `key`, which this server shows.
    pub(crate) certificate: Option<CertificateFiles>,
    /// `server-name`: whom the application's certificate must be for.
    pub(crate) server_name: Option<String>,
    /// `http2`.
    pub(crate) http2: ToHttp2,
    /// `connect-timeout`: until a request can be sent.
    pub(crate) connect_timeout: Duration,
    /// `answer-timeout`: until the head of the answer.
    pub(crate) answer_timeout: Duration,
    /// `idle-timeout`: how long an answer or an upgraded connection may be silent.
    pub(crate) idle_timeout: Duration,
    /// `keep-alive`: how long a connection is kept that nobody uses.
    pub(crate) keep_alive: Duration,
    /// `max-connections`: requests under way at once, to each address.
    pub(crate) max_connections: usize,
    /// `balance`.
    pub(crate) balance: Balance,
    /// `retries`: how often a request is repeated that the application may have seen, and may see twice.
    pub(crate) retries: u32,
    /// `health`: how each address is checked; `None` waits for visitors to find out.
    pub(crate) health: Option<Health>,
}

/// `[route.upstream.health]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Health {
    /// `path`: a page that answers 2xx or 3xx if all is well.
    pub(crate) path: PathAndQuery,
    /// `host`: asked for under this name; `None` is the address's.
    pub(crate) host: Option<String>,
    /// `interval`: between two checks.
    pub(crate) interval: Duration,
    /// `timeout`: how long an answer may take.
    pub(crate) timeout: Duration,
}

/// `host`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostHeader {
    /// What the client asked for.
    Preserve,
    /// What the application's address says.
    Upstream,
}

/// `http2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ToHttp2 {
    /// Over TLS, where the application offers it.
    Auto,
    /// Never.
    Never,
    /// Always, without asking.
    PriorKnowledge,
}

/// `balance`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Balance {
    /// One after the other.
    RoundRobin,
    /// Where the fewest requests are under way.
    LeastConnections,
    /// A client's requests all to the same.
    ClientAddress,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            host: HostHeader::Preserve,
            strip_path: false,
            pass_through: false,
            request_id: Some(HeaderName::from_static("x-request-id")),
            ca: None,
            certificate: None,
            server_name: None,
            http2: ToHttp2::Auto,
            connect_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(300),
            // Shorter than what servers have, 5 s of Apache and Node.js: a request must not meet a connection that is closing.
            keep_alive: Duration::from_secs(4),
            max_connections: 1000,
            balance: Balance::RoundRobin,
            retries: 1,
            health: None,
        }
    }
}

impl<'a> Reading<'a> {
    /// `proxy = "http://127.0.0.1:3000"`, `proxy = ["https://a.example.test", "https://b.example.test"]`.
    pub(super) fn proxy(&self, section: &Section<'a>) -> Option<Proxy> {
        let listed = section.strings("proxy");
        let settings = self.upstream(section.section("upstream"), listed.is_some());
        let listed = listed?;
        let mut targets = Vec::new();
        let count = listed.value.len();
        for At { value, span } in listed.value {
            match Target::read(value) {
                Ok(target) if targets.contains(&target) => {
                    self.report.error(span, format!("proxy: {target} stands here twice"));
                }
                Ok(target) => targets.push(target),
                Err(why) => self.report.error(
                    span,
                    format!("proxy: wanted an address such as \"http://127.0.0.1:3000\"; found \"{value}\"{why}"),
                ),
            }
        }
        if count == 0 || count > MOST_TARGETS {
            self.report.error(listed.span.clone(), format!("proxy: wanted 1 to {MOST_TARGETS} addresses"));
            return None;
        }
        if targets.is_empty() {
            return None;
        }
        let tls = targets.iter().any(|target| target.tls);
        if !tls && (settings.ca.is_some() || settings.certificate.is_some() || settings.server_name.is_some()) {
            self.report.warning(listed.span, "proxy: ca, certificate and server-name are for addresses with https://");
        }
        Some(Proxy { targets, settings })
    }

    fn upstream(&self, section: Section<'a>, is_proxy: bool) -> Settings {
        let mut settings = Settings::default();
        if section.is_written() && !is_proxy {
            self.report.error(
                section.span(),
                "[route.upstream] is about the application behind, and there is no `proxy` here",
            );
        }
        if let Some(host) =
            section.word("host", &[("preserve", HostHeader::Preserve), ("upstream", HostHeader::Upstream)])
        {
            settings.host = host.value;
        }
        if let Some(strip) = section.boolean("strip-path") {
            settings.strip_path = strip.value;
        }
        if let Some(pass_through) = section.boolean("pass-through") {
            settings.pass_through = pass_through.value;
        }
        if let Some(name) = section.parsed("request-id", "the name of a header line, or \"\" for none", |text| {
            if text.is_empty() { Ok(None) } else { text.parse().map(Some) }
        }) {
            settings.request_id = name.value;
        }
        self.upstream_tls(&section, &mut settings);
        let versions =
            [("auto", ToHttp2::Auto), ("never", ToHttp2::Never), ("prior-knowledge", ToHttp2::PriorKnowledge)];
        if let Some(http2) = section.word("http2", &versions) {
            settings.http2 = http2.value;
        }
        let duration = |key, place: &mut Duration| {
            if let Some(At { value, span }) = section.duration(key) {
                if value.is_zero() && key != "keep-alive" {
                    self.report.error(span, format!("{key}: wanted more than nothing"));
                } else {
                    *place = value;
                }
            }
        };
        duration("connect-timeout", &mut settings.connect_timeout);
        duration("answer-timeout", &mut settings.answer_timeout);
        duration("idle-timeout", &mut settings.idle_timeout);
        duration("keep-alive", &mut settings.keep_alive);
        if let Some(most) = section.number("max-connections", 1) {
            settings.max_connections = usize::try_from(most.value).unwrap_or(usize::MAX);
        }
        let ways = [
            ("round-robin", Balance::RoundRobin),
            ("least-connections", Balance::LeastConnections),
            ("client-address", Balance::ClientAddress),
        ];
        if let Some(balance) = section.word("balance", &ways) {
            settings.balance = balance.value;
        }
        if let Some(retries) = section.number("retries", 0) {
            settings.retries = u32::try_from(retries.value).unwrap_or(u32::MAX);
        }
        settings.health = self.upstream_health(section.section("health"));
        section.finish();
        settings
    }

    fn upstream_health(&self, section: Section<'a>) -> Option<Health> {
        let path = section.parsed("path", "a path such as \"/healthz\"", |text| {
            text.parse::<PathAndQuery>().ok().filter(|_| text.starts_with('/')).ok_or("")
        });
        let host = section.parsed("host", "a host, with its port if that is said", |text| {
            text.parse::<Authority>().map(|_| text.to_owned())
        });
        let duration = |key, default| {
            let found = section.duration(key);
            if let Some(At { value: Duration::ZERO, span }) = &found {
                self.report.error(span.clone(), format!("{key}: wanted more than nothing"));
            }
            found.map_or(default, |found| found.value)
        };
        let interval = duration("interval", Duration::from_secs(10));
        let timeout = duration("timeout", Duration::from_secs(5));
        if section.is_written() && path.is_none() {
            self.report.error(section.span(), "[route.upstream.health] needs `path`, for example path = \"/healthz\"");
        }
        section.finish();
        Some(Health { path: path?.value, host: host.map(|host| host.value), interval, timeout })
    }

    fn upstream_tls(&self, section: &Section<'a>, settings: &mut Settings) {
        settings.ca = section.string("ca").map(|ca| {
            let path = self.path(ca.value);
            if let Err(error) = std::fs::metadata(&path) {
                self.report.error(ca.span, format!("ca: {}: {error}", path.display()));
            }
            path
        });
        settings.certificate = match (section.string("certificate"), section.string("key")) {
            (Some(certificate), Some(key)) => {
                Some(CertificateFiles { certificate: self.path(certificate.value), key: self.path(key.value) })
            }
            (None, None) => None,
            (Some(At { span, .. }), None) | (None, Some(At { span, .. })) => {
                self.report.error(span, "[route.upstream]: `certificate` and `key` belong together");
                None
            }
        };
        settings.server_name = section.string("server-name").map(|name| {
            if rustls::pki_types::ServerName::try_from(name.value).is_err() {
                self.report.error(name.span, format!("server-name: wanted a host's name; found \"{}\"", name.value));
            }
            name.value.to_owned()
        });
    }
}
