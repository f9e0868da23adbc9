//! The request that a proxy asks about, out of the headers of its question.
//!
//! Each proxy has its own, and only its own are read: a header that this proxy does not set is the client's, who may write
//! there what they like. Whatever is missing, stands twice or does not parse refuses the request: nothing is guessed.
//!
//! | proxy | method | path and query | host | scheme | client |
//! |---|---|---|---|---|---|
//! | nginx, HAProxy | `X-Original-Method` | `X-Original-URI` | `X-Original-Host` | `X-Original-Proto` | `X-Original-Addr` |
//! | ingress-nginx | `X-Original-Method` | `X-Original-URL`, whole | in it | in it | `X-Real-IP` |
//! | Caddy, Traefik | `X-Forwarded-Method` | `X-Forwarded-Uri` | `X-Forwarded-Host` | `X-Forwarded-Proto` | the last of `X-Forwarded-For` |
//! | Envoy | its own | its own, below `/.iwa/auth/envoy` | its own | `X-Original-Proto` | `X-Original-Addr` |

use core::net::IpAddr;

use http::header::HOST;
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, Method, Uri};

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Proxy {
    Nginx,
    Ingress,
    Haproxy,
    Caddy,
    Traefik,
    Envoy,
}

impl Proxy {
    /// By the end of the address that was asked, `auth/nginx`; without one, by the headers.
    pub(super) fn of(name: &str, headers: &HeaderMap) -> Result<Self, Refused> {
        Ok(match name.strip_prefix("auth").unwrap_or(name) {
            "/nginx" => Self::Nginx,
            "/ingress-nginx" => Self::Ingress,
            "/haproxy" => Self::Haproxy,
            "/caddy" => Self::Caddy,
            "/traefik" => Self::Traefik,
            "" => match [ORIGINAL_URI, ORIGINAL_URL, FORWARDED_URI].map(|name| headers.contains_key(name)) {
                [true, false, false] => Self::Nginx,
                [false, true, false] => Self::Ingress,
                [false, false, true] => Self::Traefik,
                [false, false, false] => {
                    return Err(Refused::new("it has none of X-Original-URI, X-Original-URL and X-Forwarded-Uri"));
                }
                _ => {
                    return Err(Refused::new(
                        "it has more than one of X-Original-URI, X-Original-URL and X-Forwarded-Uri, and the client may \
                         have sent one: ask at /.iwa/auth/nginx, /haproxy, /caddy or /traefik",
                    ));
                }
            },
            other if other == "/envoy" || other.starts_with("/envoy/") => Self::Envoy,
            _ => {
                return Err(Refused::new(
                    "no proxy is called so: wanted /.iwa/auth/nginx, /ingress-nginx, /haproxy, /caddy, /traefik or /envoy",
                ));
            }
        })
    }

    /// Whether it can say which connection of its client a request came over. Caddy and Traefik cannot; a header that says
    /// so came from the client.
    pub(super) const fn tells_connections(self) -> bool {
        matches!(self, Self::Nginx | Self::Haproxy)
    }
}

/// Why a question is not answered. For the log.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Refused(pub(super) String);

impl Refused {
    fn new(why: &str) -> Self {
        Self(why.to_owned())
    }
}

/// The request that is asked about.
#[derive(Debug)]
pub(super) struct Original<'a> {
    pub(super) method: Method,
    /// Path and query.
    pub(super) uri: Uri,
    pub(super) host: &'a str,
    /// Whether the client came over TLS.
    pub(super) secure: bool,
    pub(super) client: IpAddr,
}

impl<'a> Original<'a> {
    /// Reads it.
    pub(super) fn read(proxy: Proxy, question: &'a Parts) -> Result<Self, Refused> {
        let headers = &question.headers;
        match proxy {
            Proxy::Nginx | Proxy::Haproxy => Ok(Self {
                method: method(one(headers, ORIGINAL_METHOD)?)?,
                uri: uri(one(headers, ORIGINAL_URI)?)?,
                host: host(one(headers, ORIGINAL_HOST)?)?,
                secure: secure(one(headers, ORIGINAL_PROTO)?)?,
                client: address(one(headers, ORIGINAL_ADDR)?)?,
            }),
            Proxy::Ingress => {
                let url = one(headers, ORIGINAL_URL)?;
                let (proto, rest) =
                    url.split_once("://").ok_or_else(|| wrong("X-Original-URL", "https://host/path", url))?;
                let (authority, _) =
                    rest.split_once('/').ok_or_else(|| wrong("X-Original-URL", "https://host/path", url))?;
                Ok(Self {
                    method: method(one(headers, ORIGINAL_METHOD)?)?,
                    uri: uri(rest.get(authority.len()..).unwrap_or_default())?,
                    host: host(authority)?,
                    secure: secure(proto)?,
                    client: address(one(headers, REAL_IP)?)?,
                })
            }
            Proxy::Caddy | Proxy::Traefik => Ok(Self {
                method: method(one(headers, FORWARDED_METHOD)?)?,
                uri: uri(one(headers, FORWARDED_URI)?)?,
                host: host(one(headers, FORWARDED_HOST)?)?,
                secure: secure(one(headers, FORWARDED_PROTO)?)?,
                // What stands before it is what the client or a proxy further out said.
                client: address(one(headers, FORWARDED_FOR)?.rsplit(',').next().unwrap_or_default().trim())?,
            }),
            Proxy::Envoy => {
                let asked = question.uri.path_and_query().map_or("", |path| path.as_str());
                let below = asked.strip_prefix(ENVOY).ok_or_else(|| wrong("the path", ENVOY, asked))?;
                let authority = question.uri.authority().map(Authority::as_str);
                Ok(Self {
                    method: question.method.clone(),
                    uri: uri(below)?,
                    host: host(match authority {
                        Some(authority) => authority,
                        None => one(headers, HOST.as_str())?,
                    })?,
                    secure: secure(one(headers, ORIGINAL_PROTO)?)?,
                    client: address(one(headers, ORIGINAL_ADDR)?)?,
                })
            }
        }
    }
}

/// The one value of a header.
pub(super) fn one<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, Refused> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => {
            value.to_str().map_err(|_| Refused(format!("{name} holds more than visible ASCII characters")))
        }
        (None, _) => Err(Refused(format!("it has no {name}"))),
        (Some(_), Some(_)) => Err(Refused(format!("it has {name} twice, and the client may have sent one"))),
    }
}

fn method(text: &str) -> Result<Method, Refused> {
    Method::from_bytes(text.as_bytes()).map_err(|_| wrong("the method", "GET", text))
}

fn uri(text: &str) -> Result<Uri, Refused> {
    let path = text.starts_with('/') && !text.contains('#');
    let uri = path.then(|| text.parse::<Uri>().ok()).flatten();
    // `//host/path` is a path here.
    uri.filter(|uri| uri.path_and_query().is_some_and(|path| path.as_str() == text) && uri.authority().is_none())
        .ok_or_else(|| wrong("the path", "/path?query", text))
}

fn host(text: &str) -> Result<&str, Refused> {
    let authority = text.parse::<Authority>().ok().filter(|authority| !authority.as_str().contains('@'));
    authority.map(|_| text).ok_or_else(|| wrong("the host", "host:port", text))
}

fn secure(text: &str) -> Result<bool, Refused> {
    match text {
        "https" | "wss" => Ok(true),
        "http" | "ws" => Ok(false),
        other => Err(wrong("the scheme", "http or https", other)),
    }
}

fn address(text: &str) -> Result<IpAddr, Refused> {
    let address = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    address
        .parse()
        .map(|address: IpAddr| address.to_canonical())
        .map_err(|_| wrong("the client's address", "192.0.2.1", text))
}

fn wrong(what: &str, wanted: &str, found: &str) -> Refused {
    let found: String = found.chars().take(LONGEST_SHOWN).flat_map(char::escape_default).collect();
    Refused(format!("{what}: wanted {wanted}, found \"{found}\""))
}

const LONGEST_SHOWN: usize = 200;
const ENVOY: &str = "/.iwa/auth/envoy";

const ORIGINAL_METHOD: &str = "x-original-method";
const ORIGINAL_URI: &str = "x-original-uri";
const ORIGINAL_URL: &str = "x-original-url";
const ORIGINAL_HOST: &str = "x-original-host";
const ORIGINAL_PROTO: &str = "x-original-proto";
const ORIGINAL_ADDR: &str = "x-original-addr";
const REAL_IP: &str = "x-real-ip";
const FORWARDED_METHOD: &str = "x-forwarded-method";
const FORWARDED_URI: &str = "x-forwarded-uri";
const FORWARDED_HOST: &str = "x-forwarded-host";
const FORWARDED_PROTO: &str = "x-forwarded-proto";
const FORWARDED_FOR: &str = "x-forwarded-for";

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const NGINX: [(&str, &str); 5] = [
        ("X-Original-Method", "GET"),
        ("X-Original-URI", "/app/a%20b?x=1&y=/.."),
        ("X-Original-Host", "app.example.test:8443"),
        ("X-Original-Proto", "https"),
        ("X-Original-Addr", "192.0.2.7"),
    ];

    /// As pkg/middlewares/auth/forward.go of Traefik writes them.
    const TRAEFIK: [(&str, &str); 5] = [
        ("X-Forwarded-Method", "POST"),
        ("X-Forwarded-Uri", "/app?x=1"),
        ("X-Forwarded-Host", "app.example.test"),
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-For", "203.0.113.9, 2001:db8::7"),
    ];

    fn question(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    fn read(proxy: Proxy, headers: &[(&str, &str)]) -> Result<String, String> {
        let question = question("/.iwa/auth", headers);
        let original = Original::read(proxy, &question).map_err(|refused| refused.0)?;
        Ok(format!("{} {} {} {} {}", original.method, original.uri, original.host, original.secure, original.client))
    }

    /// With one header changed; `None` leaves it out.
    fn with<'a>(headers: &[(&'a str, &'a str)], name: &str, value: Option<&'a str>) -> Vec<(&'a str, &'a str)> {
        let changed = headers.iter().filter_map(|&(own, old)| {
            if own.eq_ignore_ascii_case(name) { value.map(|value| (own, value)) } else { Some((own, old)) }
        });
        changed.collect()
    }

    #[test]
    fn each_proxy_is_read_by_its_own_headers() {
        assert_eq!(
            read(Proxy::Nginx, &NGINX).unwrap(),
            "GET /app/a%20b?x=1&y=/.. app.example.test:8443 true 192.0.2.7"
        );
        assert_eq!(read(Proxy::Haproxy, &NGINX), read(Proxy::Nginx, &NGINX));
        assert_eq!(read(Proxy::Traefik, &TRAEFIK).unwrap(), "POST /app?x=1 app.example.test false 2001:db8::7");
        assert_eq!(read(Proxy::Caddy, &TRAEFIK), read(Proxy::Traefik, &TRAEFIK));
        let ingress = [
            ("X-Original-Method", "PUT"),
            ("X-Original-URL", "https://app.example.test/a?b=http://c/"),
            ("X-Real-IP", "192.0.2.8"),
        ];
        assert_eq!(read(Proxy::Ingress, &ingress).unwrap(), "PUT /a?b=http://c/ app.example.test true 192.0.2.8");
    }

    #[test]
    fn envoy_asks_with_the_method_and_the_path_of_the_original_below_its_prefix() {
        let headers = [("Host", "app.example.test"), ("X-Original-Proto", "https"), ("X-Original-Addr", "192.0.2.7")];
        let question = question("/.iwa/auth/envoy/app?x=1", &headers);
        let original = Original::read(Proxy::Envoy, &question).unwrap();
        assert_eq!((original.uri.to_string().as_str(), original.host), ("/app?x=1", "app.example.test"));
        for uri in ["/.iwa/auth/envoy", "/.iwa/auth/envoy?x", "/.iwa/aut%68/envoy/app"] {
            let question = self::question(uri, &headers);
            assert!(Original::read(Proxy::Envoy, &question).is_err(), "{uri}");
        }
    }

    #[test]
    fn an_original_that_is_missing_is_not_guessed() {
        for (proxy, headers) in [(Proxy::Nginx, NGINX), (Proxy::Caddy, TRAEFIK)] {
            for (name, _) in headers {
                let why = read(proxy, &with(&headers, name, None)).expect_err(name);
                assert!(why.contains(&name.to_ascii_lowercase()), "{why}");
            }
        }
    }

    #[test]
    fn an_original_that_stands_twice_is_refused() {
        for (proxy, headers) in [(Proxy::Nginx, NGINX), (Proxy::Traefik, TRAEFIK)] {
            for header in headers {
                let twice: Vec<_> = headers.into_iter().chain([header]).collect();
                let why = read(proxy, &twice).expect_err(header.0);
                assert!(why.contains("twice"), "{why}");
            }
        }
    }

    #[test]
    fn an_original_that_was_joined_with_the_clients_by_a_comma_is_refused() {
        for (name, value) in [
            ("X-Original-Method", "GET, POST"),
            ("X-Original-URI", "/public, /admin"),
            ("X-Original-Host", "a.example.test, b.example.test"),
            ("X-Original-Proto", "http, https"),
            ("X-Original-Addr", "192.0.2.1, 192.0.2.2"),
        ] {
            assert!(read(Proxy::Nginx, &with(&NGINX, name, Some(value))).is_err(), "{name}");
        }
    }

    #[test]
    fn an_original_that_is_none_is_refused() {
        for (name, values) in [
            ("X-Original-Method", &["", "G T"][..]),
            ("X-Original-URI", &["", "app", "*", "http://other.example.test/", "/a#b", "/a b"]),
            ("X-Original-Host", &["", "user@app.example.test", "a/b", "a b"]),
            ("X-Original-Proto", &["", "ftp", "HTTPS "]),
            ("X-Original-Addr", &["", "localhost", "192.0.2.1:80", "unix:"]),
        ] {
            for value in values {
                assert!(read(Proxy::Nginx, &with(&NGINX, name, Some(value))).is_err(), "{name}: {value}");
            }
        }
    }

    #[test]
    fn a_path_that_begins_with_two_slashes_is_no_host() {
        let original = read(Proxy::Nginx, &with(&NGINX, "X-Original-URI", Some("//evil.example.test/admin")));
        assert_eq!(original.unwrap(), "GET //evil.example.test/admin app.example.test:8443 true 192.0.2.7");
    }

    #[test]
    fn without_a_name_the_headers_tell_the_proxy_and_two_kinds_are_refused() {
        let of = |headers: &[(&str, &str)]| Proxy::of("auth", &question("/", headers).headers);
        assert_eq!(of(&NGINX), Ok(Proxy::Nginx));
        assert_eq!(of(&TRAEFIK), Ok(Proxy::Traefik));
        assert!(of(&[]).is_err());
        // The client of a Traefik adds nginx's header.
        let both: Vec<_> = TRAEFIK.into_iter().chain([("X-Original-URI", "/public")]).collect();
        assert!(of(&both).is_err_and(|refused| refused.0.contains("more than one")));
        assert_eq!(Proxy::of("auth/traefik", &question("/", &both).headers), Ok(Proxy::Traefik));
        assert!(Proxy::of("auth/apache", &HeaderMap::new()).is_err());
        assert!(Proxy::of("auth/envoyage", &HeaderMap::new()).is_err());
    }
}
