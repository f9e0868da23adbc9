//! Where an application is: `http://127.0.0.1:3000`, `https://app.example.test/base`, `unix:/run/app.sock`. RFC 3986.

use core::fmt;
use std::borrow::Cow;
use std::path::PathBuf;

use http::uri::{Authority, PathAndQuery, Scheme, Uri};

/// The address of an application.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Target {
    /// How it is reached.
    pub(crate) place: Place,
    /// Whether over TLS.
    pub(crate) tls: bool,
    /// What it is called: `Host` with `host = "upstream"`.
    pub(crate) authority: Authority,
    /// What its paths begin with; empty, or `/base`.
    pub(crate) base: String,
}

/// What to connect to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// A host, by name or by address, and a port. A name is resolved for every connection.
    Tcp(String, u16),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl Target {
    /// Reads an address; else says what is wrong with it.
    pub(crate) fn read(text: &str) -> Result<Self, &'static str> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            if !cfg!(unix) || !path.is_absolute() {
                return Err("; a socket is unix:/ and its path, on Unix");
            }
            let authority = Authority::from_static("localhost");
            return Ok(Self { place: Place::Unix(path), tls: false, authority, base: String::new() });
        }
        let uri: Uri = text.parse().map_err(|_| "")?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err("; it begins with http://, https:// or unix:"),
        };
        let authority = uri.authority().cloned().ok_or("; it has no host")?;
        if authority.as_str().contains('@') {
            return Err("; a name and a password do not belong there");
        }
        if uri.query().is_some() || text.contains('#') {
            return Err("; it has a query or a fragment, which each request brings by itself");
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err("; it has no host");
        }
        let port = match authority.port_u16() {
            Some(0) => return Err("; there is no port 0"),
            Some(port) => port,
            None if authority.as_str().len() > authority.host().len() => return Err("; that is no port"),
            None => {
                if tls {
                    443
                } else {
                    80
                }
            }
        };
        let base = uri.path().trim_end_matches('/').to_owned();
        Ok(Self { place: Place::Tcp(host, port), tls, authority, base })
    }

    /// The scheme of requests to it.
    pub(crate) const fn scheme(&self) -> Scheme {
        if self.tls { Scheme::HTTPS } else { Scheme::HTTP }
    }

    /// The path and query of a request there. `strip` is the route's path, if it is left out.
    pub(crate) fn path(&self, asked: Option<&PathAndQuery>, strip: Option<&str>) -> Option<PathAndQuery> {
        let root = PathAndQuery::from_static("/");
        let asked = asked.unwrap_or(&root);
        if self.base.is_empty() && strip.is_none() {
            return Some(asked.clone());
        }
        let below = strip.map_or(Cow::Borrowed(asked.path()), |strip| below(asked.path(), strip));
        let query = asked.query().map(|query| format!("?{query}")).unwrap_or_default();
        format!("{}{below}{query}", self.base).parse().ok()
    }
}

/// What of a path, as it came, lies below a route. The route is known to cover it, segment by segment, in another spelling perhaps.
/// Segments are counted as the rules counted them, where `%2F` is a slash: otherwise more would be cut off than they covered, and
/// what is left would be a path that was never decided on.
fn below<'a>(path: &'a str, route: &str) -> Cow<'a, str> {
    let own = route.trim_end_matches('/').matches('/').count();
    let slash = |at: usize| match path.as_bytes().get(at..) {
        Some([b'/', ..]) => 1,
        Some([b'%', b'2', b'f' | b'F', ..]) => 3,
        _ => 0,
    };
    let begins = (0..path.len()).map(|at| (at, slash(at))).filter(|(_, length)| *length > 0).nth(own);
    match begins {
        Some((at, 1)) => path.get(at..).unwrap_or("/").into(),
        Some((at, length)) => format!("/{}", path.get(at + length..).unwrap_or_default()).into(),
        None => "/".into(),
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
            Place::Tcp(..) => write!(f, "{}://{}{}", self.scheme(), self.authority, self.base),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::path::Path;
    use super::*;

    #[test]
    fn addresses() {
        let target = Target::read("http://127.0.0.1:3000").unwrap();
        assert_eq!((target.place, target.tls), (Place::Tcp("127.0.0.1".into(), 3000), false));
        let target = Target::read("https://app.example.test/base/").unwrap();
        assert_eq!((&target.place, target.tls), (&Place::Tcp("app.example.test".into(), 443), true));
        assert_eq!(target.to_string(), "https://app.example.test/base");
        assert_eq!(Target::read("http://[::1]:80").unwrap().place, Place::Tcp("::1".into(), 80));
        for wrong in [
            "",
            "127.0.0.1:3000",
            "ftp://host",
            "http://",
            "http:///x",
            "http://user@host",
            "http://user:password@host",
            "http://host?x",
            "http://host/#x",
            "http://host:0",
            "http://host:",
            "http://host:65536",
            "http://ho st",
            "unix:run/app.sock",
            "unix:",
        ] {
            assert!(Target::read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn paths_go_on_as_they_came_below_the_base_and_without_what_is_stripped() {
        let path = |target: &str, asked: &str, strip: Option<&str>| {
            let asked: PathAndQuery = asked.parse().unwrap();
            Target::read(target).unwrap().path(Some(&asked), strip).unwrap().to_string()
        };
        assert_eq!(path("http://h", "/a%20b/?c=%2f", None), "/a%20b/?c=%2f");
        assert_eq!(path("http://h/base", "/a?b", None), "/base/a?b");
        assert_eq!(path("http://h/base/", "/", None), "/base/");
        assert_eq!(path("http://h", "/app/x?y", Some("/app")), "/x?y");
        assert_eq!(path("http://h", "/app", Some("/app")), "/");
        assert_eq!(path("http://h", "/app?y", Some("/app")), "/?y");
        assert_eq!(path("http://h/base", "/%61PP/x/", Some("/app")), "/base/x/");
        assert_eq!(path("http://h", "/x", Some("/")), "/x");
        assert_eq!(Target::read("http://h/base").unwrap().path(None, None).unwrap().as_str(), "/base/");
    }

    #[test]
    fn what_is_stripped_is_what_the_rules_covered_however_its_slashes_are_written() {
        let target = Target::read("http://h").unwrap();
        for (asked, route, wanted) in [
            ("/app%2Ffoo/x/secret", "/app", "/foo/x/secret"),
            ("/app%2fx/y", "/app", "/x/y"),
            ("/app%2F", "/app", "/"),
            ("/a%2Fb/c/d", "/a/b", "/c/d"),
            ("/a/b%2Fc%2Fd", "/a/b", "/c%2Fd"),
            ("/%61%2Fb%2Fc", "/a", "/b%2Fc"),
            ("/app/%2561", "/app", "/%2561"),
        ] {
            let sent = target.path(Some(&asked.parse().unwrap()), Some(route)).unwrap();
            assert_eq!(sent.as_str(), wanted, "{asked}");
            // One path was decided on, and that one goes on.
            let (decided, sent) = (Path::read(asked).unwrap(), Path::read(sent.path()).unwrap());
            assert_eq!(decided.rest(route), sent.as_str(), "{asked}");
        }
    }
}
