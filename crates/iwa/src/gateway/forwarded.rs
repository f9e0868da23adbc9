//! What proxies in front say of a request: `Forwarded` (RFC 7239), and `X-Forwarded-For`, `-Proto` and `-Host`.
//!
//! Each proxy adds, at the end, whom it has the request from. So the list is read from there: as long as an address is that of a
//! proxy that is believed, what stands before it is believed too. What stands further left anybody may have written, and nobody
//! looks at it.

use core::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header::{FORWARDED, HeaderName};
use http::uri::Authority;
use iwa_auth::reject::Malformed;

use crate::config::Networks;

/// What is said of the client, by somebody who is believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Said<'a> {
    /// Its address, and its port if that is said too.
    pub(super) client: Option<(IpAddr, Option<u16>)>,
    /// Whether it came over TLS.
    pub(super) secure: Option<bool>,
    /// The host that it asked for.
    pub(super) host: Option<&'a str>,
}

/// Reads the headers of a request that came from a proxy.
///
/// # Errors
/// They cannot be read as far as they are believed, or contradict each other.
pub(super) fn read<'a>(headers: &'a HeaderMap, trusted: &Networks) -> Result<Said<'a>, Malformed> {
    let standard = forwarded(headers, trusted)?;
    let usual = x_forwarded(headers, trusted)?;
    Ok(Said {
        client: agreed(standard.client, usual.client, |a, b| a.0 == b.0)?,
        secure: agreed(standard.secure, usual.secure, |a, b| a == b)?,
        host: agreed(standard.host, usual.host, |a, b| a.eq_ignore_ascii_case(b))?,
    })
}

/// A proxy that writes one of them lets the client's other through, unless it is told not to.
fn agreed<T: Copy>(one: Option<T>, other: Option<T>, alike: impl Fn(&T, &T) -> bool) -> Result<Option<T>, Malformed> {
    match (one, other) {
        (Some(one), Some(other)) if !alike(&one, &other) => Err(Malformed::Header(
            "Forwarded and X-Forwarded-* contradict each other: one of them may be the client's own",
        )),
        (one, other) => Ok(one.or(other)),
    }
}

/// RFC 7239 4. An element says whom its proxy has the request from, and how that came.
fn forwarded<'a>(headers: &'a HeaderMap, trusted: &Networks) -> Result<Said<'a>, Malformed> {
    let mut said = Said::default();
    let mut elements = Vec::new();
    for value in values(headers, &FORWARDED) {
        split_quoted(value?, ',', &mut elements)?;
    }
    for element in elements.into_iter().rev() {
        let mut client = said.client;
        said = pairs(element, &mut client)?;
        said.client = client;
        if !said.client.is_some_and(|(address, _)| trusted.have(address)) {
            break;
        }
    }
    Ok(said)
}

fn pairs<'a>(element: &'a str, client: &mut Option<(IpAddr, Option<u16>)>) -> Result<Said<'a>, Malformed> {
    const TWICE: Malformed = Malformed::Header("Forwarded says something twice");
    let mut said = Said::default();
    let mut pairs = Vec::new();
    split_quoted(element, ';', &mut pairs)?;
    let mut told = None;
    for pair in pairs.into_iter().filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or(Malformed::Header("Forwarded has a name without a value"))?;
        let value = match value.strip_prefix('"') {
            Some(quoted) => quoted
                .strip_suffix('"')
                .filter(|text| !text.contains('\\'))
                .ok_or(Malformed::Header("Forwarded has a quoted text that cannot be read"))?,
            None => value,
        };
        if name.eq_ignore_ascii_case("for") {
            if told.replace(node(value)?).is_some() {
                return Err(TWICE);
            }
        } else if name.eq_ignore_ascii_case("proto") {
            if said.secure.replace(scheme(value)?).is_some() {
                return Err(TWICE);
            }
        } else if name.eq_ignore_ascii_case("host") && said.host.replace(host(value)?).is_some() {
            return Err(TWICE);
        }
    }
    // An element that does not say it leaves the client whoever it was.
    match told {
        Some(told) => *client = Some(told),
        None if client.is_some() => {
            return Err(Malformed::Header("Forwarded does not say whom a proxy has the request from"));
        }
        None => {}
    }
    Ok(said)
}

fn x_forwarded<'a>(headers: &'a HeaderMap, trusted: &Networks) -> Result<Said<'a>, Malformed> {
    let clients = list(headers, &X_FORWARDED_FOR)?;
    let mut said = Said::default();
    let mut hop = clients.len();
    for client in clients.iter().rev() {
        let client = node(client)?;
        said.client = Some(client);
        hop -= 1;
        if !trusted.have(client.0) {
            break;
        }
    }
    // One for all, or one for each: then that of the one who has the client's own connection.
    let of_hop = |name: &HeaderName| -> Result<Option<&'a str>, Malformed> {
        let values = list(headers, name)?;
        match values.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(*one)),
            several if several.len() == clients.len() => Ok(several.get(hop).copied()),
            _ => Err(Malformed::Header(
                "X-Forwarded-Proto or -Host has several values, and not one for each of X-Forwarded-For",
            )),
        }
    };
    said.secure = of_hop(&X_FORWARDED_PROTO)?.map(scheme).transpose()?;
    said.host = of_hop(&X_FORWARDED_HOST)?.map(host).transpose()?;
    Ok(said)
}

fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Vec<&'a str>, Malformed> {
    let mut all = Vec::new();
    for value in values(headers, name) {
        all.extend(value?.split(',').map(|text| text.trim_matches([' ', '\t'])));
    }
    Ok(all)
}

fn values<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = Result<&'a str, Malformed>> {
    const NOT_ASCII: Malformed = Malformed::Header("what a proxy says of the client is not ASCII");
    headers.get_all(name).into_iter().map(|value| value.to_str().map_err(|_| NOT_ASCII))
}

/// Splits at a separator that is not within quotes.
fn split_quoted<'a>(text: &'a str, separator: char, out: &mut Vec<&'a str>) -> Result<(), Malformed> {
    let (mut quoted, mut escaped) = (false, false);
    let parts = text.split(|c: char| {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        !quoted && c == separator
    });
    out.extend(parts.map(|part| part.trim_matches([' ', '\t'])));
    if quoted { Err(Malformed::Header("Forwarded has a quote without end")) } else { Ok(()) }
}

/// An address, with a port or without. IPv6 with a port stands in brackets; RFC 7239 6 wants it there always.
fn node(text: &str) -> Result<(IpAddr, Option<u16>), Malformed> {
    const NONE: Malformed = Malformed::Header("X-Forwarded-For or Forwarded names no address");
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok((address.to_canonical(), None));
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok((address.ip().to_canonical(), Some(address.port())));
    }
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).ok_or(NONE)?;
    bare.parse().map(|address: core::net::Ipv6Addr| (IpAddr::V6(address).to_canonical(), None)).map_err(|_| NONE)
}

/// Whether it is one of TLS.
fn scheme(text: &str) -> Result<bool, Malformed> {
    let known = [("https", true), ("http", false), ("wss", true), ("ws", false)];
    let found = known.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    found
        .map(|(_, secure)| *secure)
        .ok_or(Malformed::Header("X-Forwarded-Proto or Forwarded names neither http nor https"))
}

fn host(text: &str) -> Result<&str, Malformed> {
    let plain = text.parse::<Authority>().is_ok_and(|authority| !authority.as_str().contains('@'));
    if plain { Ok(text) } else { Err(Malformed::Header("X-Forwarded-Host or Forwarded names no host")) }
}

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// For, proto and host.
    type Said = (Option<String>, Option<bool>, Option<String>);

    fn of(headers: &[(&'static str, &'static str)]) -> Result<Said, ()> {
        let trusted = Networks(vec!["10.0.0.0/8".parse().expect("a network"), "fd00::/8".parse().expect("a network")]);
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        let said = read(&map, &trusted).map_err(|_| ())?;
        let client = said.client.map(|(address, port)| match port {
            Some(port) => SocketAddr::new(address, port).to_string(),
            None => address.to_string(),
        });
        Ok((client, said.secure, said.host.map(str::to_owned)))
    }

    const FOR: &str = "x-forwarded-for";
    const PROTO: &str = "x-forwarded-proto";
    const HOST: &str = "x-forwarded-host";

    #[test]
    fn the_list_is_read_from_its_end_over_proxies_that_are_believed() {
        for (value, client) in [
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1:50000", "192.0.2.1:50000"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "[2001:db8::1]:443"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            // What the client wrote itself.
            ("10.0.0.9, 192.0.2.1", "192.0.2.1"),
            ("root, <script>, 192.0.2.1", "192.0.2.1"),
            ("192.0.2.9, 192.0.2.1, 10.0.0.2, fd00::7", "192.0.2.1"),
            // A client that is itself within.
            ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ] {
            assert_eq!(of(&[(FOR, value)]), Ok((Some(client.to_owned()), None, None)), "{value}");
        }
        let lines = [(FOR, "192.0.2.1"), (FOR, "10.0.0.2")];
        assert_eq!(of(&lines), Ok((Some("192.0.2.1".to_owned()), None, None)));
        assert_eq!(of(&[]), Ok((None, None, None)));
    }

    #[test]
    fn the_scheme_and_the_host_are_those_of_the_clients_own_connection() {
        let is = |headers: &[_], secure, host: Option<&str>| {
            let (_, found, name) = of(headers).expect("headers that can be read");
            assert_eq!((found, name.as_deref()), (secure, host), "{headers:?}");
        };
        is(
            &[(FOR, "192.0.2.1"), (PROTO, "https"), (HOST, "web.example.test:443")],
            Some(true),
            Some("web.example.test:443"),
        );
        is(&[(PROTO, "HTTP")], Some(false), None);
        is(&[(PROTO, "wss")], Some(true), None);
        is(&[(FOR, "192.0.2.1, 10.0.0.2"), (PROTO, "https, http")], Some(true), None);
        is(&[(FOR, "192.0.2.9, 192.0.2.1"), (PROTO, "https, http")], Some(false), None);
        is(
            &[("forwarded", "for=192.0.2.1;proto=https;host=\"web.example.test\";by=10.0.0.1")],
            Some(true),
            Some("web.example.test"),
        );
        is(&[("forwarded", "for=192.0.2.1;proto=https, For=\"10.0.0.2:80\";Proto=http")], Some(true), None);
        is(&[("forwarded", "proto=https")], Some(true), None);
    }

    #[test]
    fn forwarded_says_the_same_in_its_own_words() {
        for (value, client) in [
            ("for=192.0.2.1", "192.0.2.1"),
            ("For=\"[2001:db8::1]:4711\"", "[2001:db8::1]:4711"),
            ("for=192.0.2.9, for=192.0.2.1;secret=\"a,b;for=1.2.3.4\", for=10.0.0.2", "192.0.2.1"),
            ("for=unknown, for=192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(of(&[("forwarded", value)]), Ok((Some(client.to_owned()), None, None)), "{value}");
        }
    }

    #[test]
    fn what_cannot_be_read_or_contradicts_itself_is_refused() {
        for headers in [
            &[(FOR, "")][..],
            &[(FOR, "unknown")],
            &[(FOR, "192.0.2.1,")],
            &[(FOR, "192.0.2.256")],
            &[(FOR, "192.0.2.1:99999")],
            &[(FOR, "[2001:db8::1")],
            &[(FOR, "web.example.test")],
            &[(FOR, "unknown, 10.0.0.2")],
            &[(FOR, "192.0.2.1"), (PROTO, "ftp")],
            &[(PROTO, "https"), (PROTO, "http")],
            &[(FOR, "192.0.2.1"), (PROTO, "https, http")],
            &[(HOST, "alice@web.example.test")],
            &[(HOST, "a b")],
            &[(HOST, "a/b")],
            &[("forwarded", "for")],
            &[("forwarded", "for=_hidden")],
            &[("forwarded", "for=unknown")],
            &[("forwarded", "for=192.0.2.1;for=192.0.2.2")],
            &[("forwarded", "proto=https;proto=http")],
            &[("forwarded", "for=\"192.0.2.1")],
            &[("forwarded", "for=\"192.0.2.\\1\"")],
            &[("forwarded", "proto=https, for=10.0.0.2")],
            &[("forwarded", "for=192.0.2.1"), (FOR, "192.0.2.2")],
            &[("forwarded", "proto=http"), (PROTO, "https")],
            &[("forwarded", "host=a.example.test"), (HOST, "b.example.test")],
        ] {
            assert_eq!(of(headers), Err(()), "{headers:?}");
        }
    }
}
