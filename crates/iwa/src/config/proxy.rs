//! `proxy` of a route: the application behind it.

use http::Uri;
use http::uri::Authority;

use super::raw::Section;
use super::read::Reading;

/// `proxy` of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proxy {
    /// Where the application listens.
    pub(crate) upstream: Authority,
}

impl<'a> Reading<'a> {
    /// `proxy = "http://127.0.0.1:3000"`.
    pub(super) fn proxy(&self, section: &Section<'a>) -> Option<Proxy> {
        let proxy = section.parsed("proxy", "an address such as \"http://127.0.0.1:3000\"", |text| {
            let wanted = |uri: &Uri| uri.scheme_str() == Some("http") && uri.path() == "/" && uri.query().is_none();
            let uri = text.parse::<Uri>().ok().filter(wanted);
            uri.and_then(|uri| uri.authority().cloned()).ok_or("")
        })?;
        Some(Proxy { upstream: proxy.value })
    }
}
