//! The URL of a page. RFC 9110 4.2.1, RFC 3986.

use std::str::FromStr;

use http::Uri;

/// Where a page is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Url {
    /// Whether it is `https`.
    pub(crate) tls: bool,
    /// Without brackets, in lower case.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Path and query.
    pub(crate) target: Uri,
}

impl Url {
    /// `http` or `https`.
    pub(crate) const fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    const fn default_port(&self) -> u16 {
        if self.tls { 443 } else { 80 }
    }

    /// As it stands in `Host`.
    pub(crate) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == self.default_port() { host } else { format!("{host}:{}", self.port) }
    }
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|error| format!("`{text}` is no URL: {error}"))?;
        let tls = match uri.scheme_str() {
            Some(scheme) if scheme.eq_ignore_ascii_case("http") => false,
            Some(scheme) if scheme.eq_ignore_ascii_case("https") => true,
            Some(scheme) => {
                return Err(format!("the scheme {scheme} is not known; write https://host/ or http://host/"));
            }
            None => return Err(format!("`{text}` has no scheme; write https://{text} or http://{text}")),
        };
        let authority = uri.authority().ok_or("the URL has no host")?;
        if authority.as_str().contains('@') {
            return Err(
                "a user in the URL is not taken: passwords do not belong on a command line; use --user".to_owned()
            );
        }
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        if host.is_empty() {
            return Err("the URL has no host".to_owned());
        }
        let target = uri.path_and_query().map_or_else(|| Uri::from_static("/"), |target| Uri::from(target.clone()));
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Ok(Self { tls, host, port, target })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Result<(String, u16, String), String> {
        text.parse::<Url>().map(|url| (url.host.clone(), url.port, url.target.to_string()))
    }

    #[test]
    fn a_url_has_a_host_a_port_and_a_target() {
        assert_eq!(parts("http://Web.Example.Test"), Ok(("web.example.test".into(), 80, "/".into())));
        assert_eq!(parts("http://localhost:8080/a?b=c"), Ok(("localhost".into(), 8080, "/a?b=c".into())));
        assert_eq!(parts("http://[::1]:8080/"), Ok(("::1".into(), 8080, "/".into())));
        assert_eq!("http://[::1]:8080/".parse::<Url>().map(|url| url.authority()), Ok("[::1]:8080".into()));
    }

    #[test]
    fn https_has_a_port_of_its_own() {
        assert_eq!(parts("https://web.example.test/"), Ok(("web.example.test".into(), 443, "/".into())));
        for (text, authority) in [
            ("https://web.example.test:443/", "web.example.test"),
            ("https://web.example.test:80/", "web.example.test:80"),
            ("http://web.example.test:443/", "web.example.test:443"),
        ] {
            assert_eq!(text.parse::<Url>().map(|url| url.authority()), Ok(authority.to_owned()));
        }
    }

    #[test]
    fn what_is_no_http_url_is_refused() {
        for text in ["", "web.example.test", "/path", "ftp://web", "http://", "http://:80/", "http://alice:pw@web/"] {
            assert!(parts(text).is_err(), "{text}");
        }
    }
}
