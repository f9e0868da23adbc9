//! `[forward-auth]`: the proxies that may ask about the requests of others, and what they tell.

use std::net::IpAddr;
use std::time::Duration;

use http::header::{self, HeaderName};
use ipnet::IpNet;

use super::raw::{At, Section};
use super::read::Reading;

/// `[forward-auth]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ForwardAuth {
    /// `from`: the networks of the proxies whose word is taken.
    pub(crate) from: Vec<IpNet>,
    /// `connection-header`: the header in which a proxy says over which connection of its client a request came.
    pub(crate) connection_header: Option<HeaderName>,
    /// `connections`: how many connections of clients are remembered at once.
    pub(crate) connections: usize,
    /// `connection-idle`: how long one is remembered after its last request.
    pub(crate) connection_idle: Duration,
}

impl ForwardAuth {
    /// `connections` by default.
    const CONNECTIONS: usize = 20_000;
    /// `connection-idle` by default: proxies close idle connections of clients sooner.
    const CONNECTION_IDLE: Duration = Duration::from_secs(120);

    /// Whether whoever asks from this address is believed.
    pub(crate) fn takes(&self, address: IpAddr) -> bool {
        self.from.iter().any(|network| network.contains(&address))
    }
}

impl<'a> Reading<'a> {
    pub(super) fn forward_auth(&self, section: Section<'a>) -> Option<ForwardAuth> {
        if !section.is_written() {
            section.finish();
            return None;
        }
        let mut from = Vec::new();
        match section.strings("from") {
            Some(networks) if !networks.value.is_empty() => {
                for At { value, span } in networks.value {
                    match network(value) {
                        Some(network) if network.prefix_len() == 0 => self.report.error(
                            span,
                            format!(
                                "from: \"{value}\" is everybody, and everybody could say whose request it is; wanted the \
                                 addresses of proxies"
                            ),
                        ),
                        Some(network) => from.push(network),
                        None => self.report.error(
                            span,
                            format!("from: wanted networks such as \"127.0.0.1/32\" or \"2001:db8::/64\"; found \"{value}\""),
                        ),
                    }
                }
            }
            Some(networks) => self.report.error(networks.span, "from: wanted the addresses of the proxies that ask; found none"),
            None => self.report.error(
                section.span(),
                "[forward-auth] needs `from`, the addresses of the proxies that ask, for example from = [\"127.0.0.1/32\"]",
            ),
        }
        let name = section.parsed("connection-header", "a header such as \"X-Connection\"", |text| {
            text.parse::<HeaderName>()
                .map_err(|_| "")
                .and_then(|name| if OF_HTTP.contains(&name) { Err("") } else { Ok(name) })
        });
        let connections = section.number("connections", 1).and_then(|number| usize::try_from(number.value).ok());
        let connection_idle = section.duration("connection-idle").map(|idle| idle.value);
        section.finish();
        Some(ForwardAuth {
            from,
            connection_header: name.map(|name| name.value),
            connections: connections.unwrap_or(ForwardAuth::CONNECTIONS),
            connection_idle: connection_idle.unwrap_or(ForwardAuth::CONNECTION_IDLE),
        })
    }
}

/// Names that mean something else already.
const OF_HTTP: [HeaderName; 5] =
    [header::CONNECTION, header::AUTHORIZATION, header::COOKIE, header::HOST, header::FORWARDED];

/// A network, or one address.
fn network(text: &str) -> Option<IpNet> {
    let network = text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))?;
    Some(network)
}
