//! An HTTP exchange as a person reads it: Fiddler's text view, with each token decoded in a few lines below its header.

use std::fmt::Write as _;

use http::header::{AUTHORIZATION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, Method, StatusCode, Version};
use iwa_wire::challenge::Challenge;
use iwa_wire::explain::{Node, printable};
use iwa_wire::header::{AuthScheme, Authorization};
use iwa_wire::sniff::sniff;

/// Request line and headers.
pub(crate) fn request(method: &Method, target: &str, version: Version, headers: &HeaderMap) -> String {
    let mut text = format!("{method} {target} {version:?}\n");
    write_headers(&mut text, headers);
    text
}

/// Status line and headers.
pub(crate) fn answer(version: Version, status: StatusCode, headers: &HeaderMap) -> String {
    let mut text = format!("{version:?} {status}\n");
    write_headers(&mut text, headers);
    text
}

/// One token in a few lines: what it is, and what a reader looks for in it. No line holds a secret.
pub(crate) fn token(bytes: &[u8]) -> Vec<String> {
    let (kind, tree) = sniff(bytes);
    let mut lines = vec![format!("{kind}, {} bytes", bytes.len())];
    summarize(&tree, &mut lines);
    if let Some(error) = tree.first_error() {
        lines.push(format!("malformed: {error}"));
    }
    lines
}

fn write_headers(text: &mut String, headers: &HeaderMap) {
    for (name, value) in headers {
        let value = value.as_bytes();
        let _ = writeln!(text, "{}: {}", title_case(name), shown(name, value));
        for line in tokens(name, value).iter().flat_map(|bytes| token(bytes)) {
            let _ = writeln!(text, "    | {line}");
        }
    }
}

/// As HTTP/1.1 was always written.
fn title_case(name: &HeaderName) -> String {
    if *name == WWW_AUTHENTICATE {
        return "WWW-Authenticate".to_owned();
    }
    let mut begin = true;
    name.as_str()
        .chars()
        .map(|c| {
            let shown = if begin { c.to_ascii_uppercase() } else { c };
            begin = c == '-';
            shown
        })
        .collect()
}

/// A value on one line. A password stays out, and a token is cut: what it says stands below it, and whoever has it whole
/// could use it.
fn shown(name: &HeaderName, value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    if *name != AUTHORIZATION
        && *name != PROXY_AUTHORIZATION
        && *name != WWW_AUTHENTICATE
        && *name != PROXY_AUTHENTICATE
    {
        return printable(&text);
    }
    match text.split_once(' ') {
        Some((scheme, _)) if AuthScheme::from_name(scheme) == AuthScheme::Basic && *name == AUTHORIZATION => {
            format!("{} (user and password)", printable(scheme))
        }
        Some((scheme, token)) if token.len() > SHOWN && !token.contains(' ') => {
            let begin: String = token.chars().take(SHOWN).collect();
            format!("{} {}... ({} characters)", printable(scheme), printable(&begin), token.len())
        }
        _ => printable(&text),
    }
}

/// Characters of a token that are shown.
const SHOWN: usize = 40;

fn tokens(name: &HeaderName, value: &[u8]) -> Vec<Vec<u8>> {
    if *name == AUTHORIZATION || *name == PROXY_AUTHORIZATION {
        let mut bytes = Vec::new();
        let decoded = Authorization::parse([value], Authorization::LIMIT).ok().flatten().is_some_and(|line| {
            matches!(line.scheme, AuthScheme::Negotiate | AuthScheme::Ntlm) && line.decode(&mut bytes).is_ok()
        });
        return if decoded { vec![bytes] } else { Vec::new() };
    }
    if *name != WWW_AUTHENTICATE && *name != PROXY_AUTHENTICATE {
        return Vec::new();
    }
    let windows = |challenge: &Challenge<'_>| {
        matches!(challenge.scheme, AuthScheme::Negotiate | AuthScheme::Ntlm) && challenge.token.is_some()
    };
    Challenge::parse_all([value])
        .iter()
        .filter(|challenge| windows(challenge))
        .filter_map(|c| c.decode().ok())
        .collect()
}

/// One line a message, outermost first.
fn summarize(node: &Node, lines: &mut Vec<String>) {
    let line = match &*node.name {
        "NegTokenInit" | "NegTokenInit2" => {
            Some(fields(node, &["negState", "supportedMech"], &[("mechTypes", "mechType")]))
        }
        "NegTokenResp" => Some(fields(node, &["negState", "supportedMech"], &[])),
        "NEGOTIATE_MESSAGE" => Some(fields(node, &["NegotiateFlags", "Version"], &[])),
        "CHALLENGE_MESSAGE" => Some(fields(
            node,
            &[
                "TargetName",
                "NegotiateFlags",
                "ServerChallenge",
                "MsvAvNbDomainName",
                "MsvAvNbComputerName",
                "MsvAvDnsComputerName",
                "MsvAvTimestamp",
            ],
            &[],
        )),
        "AUTHENTICATE_MESSAGE" => Some(fields(
            node,
            &["DomainName", "UserName", "Workstation", "MsvAvTargetName", "MsvAvChannelBindings", "MsvAvFlags", "MIC"],
            &[],
        )),
        "AP-REQ" => {
            let part = |name: &str, wanted: &[&str]| {
                node.find(name).map(|part| format!("{name}: {}", fields(part, wanted, &[]))).unwrap_or_default()
            };
            let ticket = part("ticket", &["sname", "realm", "etype", "kvno"]);
            Some(format!("{}; {ticket}; {}", fields(node, &["ap-options"], &[]), part("authenticator", &["etype"])))
        }
        "AP-REP" => Some(fields(node, &["etype"], &[])),
        "KRB-ERROR" => Some(fields(node, &["error-code", "stime", "realm", "sname", "e-text"], &[])),
        _ => None,
    };
    if let Some(line) = line {
        lines.push(format!("{}: {line}", node.name));
    }
    for child in &node.children {
        summarize(child, lines);
    }
    if matches!(&*node.name, "mechListMIC") {
        lines.push("mechListMIC".to_owned());
    }
}

/// `name value` of the wanted fields that are there and not empty, and the values of lists.
fn fields(node: &Node, wanted: &[&str], lists: &[(&str, &str)]) -> String {
    let mut parts: Vec<String> = lists
        .iter()
        .filter_map(|(list, item)| {
            let list = node.find(list)?;
            let items = list.children.iter().filter(|child| child.name == *item);
            Some(items.map(|child| child.value.as_str()).collect::<Vec<_>>().join(", "))
        })
        .collect();
    for name in wanted {
        if let Some(field) = node.find(name).filter(|field| !field.secret && !field.value.is_empty()) {
            parts.push(format!("{name} {}", field.value));
        }
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_password_never_shows() {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Basic YWxpY2U6cGFzc3dvcmQ="));
        let text = request(&Method::GET, "/", Version::HTTP_11, &headers);
        assert!(!text.contains("YWxp") && !text.contains("password="), "{text}");
    }

    #[test]
    fn a_token_is_cut_and_decoded_below_its_line() {
        let mut headers = HeaderMap::new();
        // An NTLM NEGOTIATE as curl sends it: flags 0x00088206, no domain, no workstation.
        headers.insert(AUTHORIZATION, HeaderValue::from_static("NTLM TlRMTVNTUAABAAAABoIIAAAAAAAAAAAAAAAAAAAAAAA="));
        let text = request(&Method::GET, "/", Version::HTTP_11, &headers);
        assert!(text.starts_with("GET / HTTP/1.1\nAuthorization: NTLM TlRM"), "{text}");
        assert!(text.contains("    | ntlm-1, 32 bytes\n    | NEGOTIATE_MESSAGE: NegotiateFlags 0x00088206"), "{text}");
    }

    #[test]
    fn control_characters_of_a_server_do_not_reach_the_terminal() {
        let mut headers = HeaderMap::new();
        headers.insert("x-evil", HeaderValue::from_bytes(b"\x80\xff\t[31m").expect("opaque"));
        let text = answer(Version::HTTP_11, StatusCode::OK, &headers);
        assert!(text.starts_with("HTTP/1.1 200 OK\nX-Evil: ") && !text.contains('\t'), "{text}");
    }
}
