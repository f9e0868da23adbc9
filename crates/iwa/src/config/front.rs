//! `[server]`: what clients and the proxies in front of them may speak.

use core::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use iwa_http::Provider;

use super::Config;
use super::raw::Section;
use super::read::Reading;

/// `http2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Http2 {
    /// `auto`: where somebody can sign in with it.
    #[default]
    Auto,
    /// `never`.
    Never,
}

/// Where proxies are.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Networks(pub(crate) Vec<IpNet>);

impl Networks {
    /// Whether this is the address of one.
    pub(crate) fn have(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.iter().map(IpNet::to_string).collect::<Vec<_>>().join(", "))
    }
}

impl<'a> Reading<'a> {
    /// Proxies that are believed.
    pub(super) fn front_networks(&self, section: &Section<'a>, key: &'static str) -> Networks {
        let networks = self.networks(section, key);
        if networks.iter().any(|network| network.prefix_len() == 0) {
            self.report.error(
                section.span(),
                format!("{key}: every client is in a network of all addresses, and could say that it is somebody else; wanted the proxies' own"),
            );
        }
        Networks(networks)
    }

    pub(super) fn http2(&self, section: &Section<'a>) -> Http2 {
        let words = [("auto", Http2::Auto), ("never", Http2::Never)];
        section.word("http2", &words).map(|word| word.value).unwrap_or_default()
    }
}

impl Config {
    /// Whether clients over TLS are offered HTTP/2. Kerberos, Basic and anonymous visitors need no more than a request. Where
    /// Windows authentication can only be NTLM, every visitor would have to come back with HTTP/1.1, and is not sent round.
    pub(crate) fn offers_http2(&self) -> bool {
        let windows = |policy: &iwa_http::Policy| !policy.providers.is_empty();
        let kerberos = |policy: &iwa_http::Policy| {
            let negotiates = |p: &Provider| matches!(p, Provider::Negotiate | Provider::NegotiateKerberos);
            self.kerberos.is_some() && policy.providers.iter().any(negotiates)
        };
        let site = &self.authentication.policy;
        let policies = || self.routes.iter().map(|route| route.policy(site));
        let somebody = kerberos(site) || policies().any(|policy| kerberos(&policy));
        let nobody_asks = !windows(site) && !policies().any(|policy| windows(&policy));
        self.server.http2 == Http2::Auto && (somebody || nobody_asks)
    }
}
