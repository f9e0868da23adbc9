//! Which format some bytes are in, judged by how they begin, and that format explained.

use crate::ccache::Ccache;
use crate::challenge::Challenge;
use crate::der::{Der, Tag};
use crate::error::{ErrorKind, ParseError};
use crate::explain::{Explain as _, Node, hex};
use crate::gss::{InitialToken, MechType};
use crate::header::{Authorization, decode_patiently};
use crate::keytab::Keytab;
use crate::krb5::ap::{ApRep, ApReq, Authenticator, EncApRepPart};
use crate::krb5::authdata::AuthorizationData;
use crate::krb5::cfx::CfxToken;
use crate::krb5::cred::{EncKrbCredPart, KrbCred};
use crate::krb5::error::KrbError;
use crate::krb5::kdc::{EncKdcRepPart, KdcRep, KdcReq};
use crate::krb5::ticket::{EncTicketPart, Ticket};
use crate::krb5::token::KrbToken;
use crate::ntlm;
use crate::pac::Pac;
use crate::reader::Reader;
use crate::spnego::NegotiationToken;

/// What some bytes are, by the names of [`kinds`] (`"unknown"` if nothing fits), and the bytes in words.
///
/// The tree has an error if, and only if, the bytes or a token inside them are malformed.
#[must_use]
pub fn sniff(bytes: &[u8]) -> (&'static str, Node) {
    match kind_of(bytes) {
        Some(kind) => (kind, explain_as(kind, bytes, 0).unwrap_or_default()),
        None => ("unknown", unknown(bytes, 0)),
    }
}

/// A header line (`Authorization: Negotiate YII...`), with or without its name, and what is in it. The kind is that of the
/// token if there is exactly one, else the field's. `None` if it is no such line.
#[must_use]
pub fn sniff_header(line: &[u8]) -> Option<(&'static str, Node)> {
    let (name, value) = match line.iter().position(|byte| *byte == b':') {
        Some(at) => {
            line.split_at_checked(at).map(|(name, value)| (name.trim_ascii(), value.get(1..).unwrap_or_default()))?
        }
        None => (&b""[..], line),
    };
    let offset = line.len() - value.len();
    let is = |known: &[&str]| known.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
    let bare = name.is_empty()
        && [&b"Negotiate "[..], b"NTLM ", b"Basic "]
            .iter()
            .any(|scheme| value.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)));
    let (kind, node) = if is(&["WWW-Authenticate", "Proxy-Authenticate"]) {
        ("www-authenticate", Challenge::explain(value, offset))
    } else if bare || is(&["Authorization", "Proxy-Authorization"]) {
        ("authorization", Authorization::explain(value, offset))
    } else {
        return None;
    };
    let mut tokens = Vec::new();
    header_tokens(&node, value, offset, &mut tokens);
    match tokens.as_slice() {
        [one] => Some((kind_of(one).unwrap_or(kind), node)),
        _ => Some((kind, node)),
    }
}

/// The decoded tokens of an explained header field.
fn header_tokens(node: &Node, value: &[u8], offset: usize, tokens: &mut Vec<Vec<u8>>) {
    if node.name == "token" {
        let (from, to) = (node.range.start.saturating_sub(offset), node.range.end.saturating_sub(offset));
        tokens.push(decode_patiently(value.get(from..to).unwrap_or_default()));
    } else {
        node.children.iter().for_each(|child| header_tokens(child, value, offset, tokens));
    }
}

/// Reads `bytes` strictly as this kind. `None` for a kind that is not known.
#[must_use]
pub fn check(kind: &str, bytes: &[u8]) -> Option<Result<(), ParseError>> {
    FORMATS.iter().find(|(name, ..)| *name == kind).map(|(_, check, _)| check(bytes))
}

/// The kind of some bytes, judged by how they begin; what follows may be malformed.
#[must_use]
pub fn kind_of(bytes: &[u8]) -> Option<&'static str> {
    Some(match *bytes {
        [b'N', b'T', b'L', b'M', b'S', b'S', b'P', 0, message, 0, 0, 0, ..] => match message {
            1 => "ntlm-1",
            2 => "ntlm-2",
            3 => "ntlm-3",
            _ => return None,
        },
        [0x60, ..] => return framed_kind(bytes),
        [0xa0, ..] => "spnego-init",
        [0xa1, ..] => "spnego-resp",
        [5, 2, ..] if Keytab::parse(bytes).is_err() && Ccache::parse(bytes).is_ok() => "ccache",
        [5, 1, ..] if Ccache::parse(bytes).is_ok() => "ccache",
        [5, 1 | 2, ..] => "keytab",
        // Per-message tokens of RFC 4121 4.2.6 have a filler of ones after their flags.
        [4 | 5, 4, _, 0xff, ..] => "gss-krb5-cfx",
        [5, 3 | 4, ..] => "ccache",
        [0x30, ..] if AuthorizationData::parse(bytes).is_ok() => "authorization-data",
        [tag, ..] if kerberos(tag).is_some() => kerberos(tag)?,
        _ if looks_like_a_pac(bytes) => "pac",
        _ => return None,
    })
}

/// Explains `bytes`, which begin at `offset` of the outermost input, as this kind. `None` for a kind that is not known.
#[must_use]
pub fn explain_as(kind: &str, bytes: &[u8], offset: usize) -> Option<Node> {
    let (_, check, explain) = FORMATS.iter().find(|(name, ..)| *name == kind)?;
    let mut node = explain(bytes, offset);
    // Explaining is patient; what the parser refuses (an order, a limit) must show all the same.
    if node.first_error().is_none()
        && let Err(error) = check(bytes)
    {
        node.error = Some(ParseError { offset: error.offset + offset, ..error });
    }
    Some(node)
}

/// The names of the kinds.
pub fn kinds() -> impl Iterator<Item = &'static str> {
    FORMATS.iter().map(|(name, ..)| *name)
}

type Format = (&'static str, fn(&[u8]) -> Result<(), ParseError>, fn(&[u8], usize) -> Node);

/// The formats: name, strict parser, explainer.
const FORMATS: &[Format] = &[
    ("spnego-init", |b| NegotiationToken::parse(b).map(drop), NegotiationToken::explain),
    ("spnego-resp", |b| NegotiationToken::parse(b).map(drop), NegotiationToken::explain),
    ("ntlm-1", |b| ntlm::Message::parse(b).map(drop), ntlm::Message::explain),
    ("ntlm-2", |b| ntlm::Message::parse(b).map(drop), ntlm::Message::explain),
    ("ntlm-3", |b| ntlm::Message::parse(b).map(drop), ntlm::Message::explain),
    ("gss-krb5-ap-req", |b| framed(b, |m| ApReq::parse(m).map(drop)), InitialToken::explain),
    ("gss-krb5-ap-rep", |b| framed(b, |m| ApRep::parse(m).map(drop)), InitialToken::explain),
    ("gss-krb5-error", |b| framed(b, |m| KrbError::parse(m).map(drop)), InitialToken::explain),
    ("gss-krb5-wrap", |b| InitialToken::parse(b, 0).map(drop), InitialToken::explain),
    ("gss-krb5-mic", |b| InitialToken::parse(b, 0).map(drop), InitialToken::explain),
    ("gss-krb5-cfx", |b| CfxToken::parse(b).map(drop), CfxToken::explain),
    ("ap-req", |b| ApReq::parse(b).map(drop), ApReq::explain),
    ("ap-rep", |b| ApRep::parse(b).map(drop), ApRep::explain),
    ("as-req", |b| KdcReq::parse(b).map(drop), KdcReq::explain),
    ("as-rep", |b| KdcRep::parse(b).map(drop), KdcRep::explain),
    ("tgs-req", |b| KdcReq::parse(b).map(drop), KdcReq::explain),
    ("tgs-rep", |b| KdcRep::parse(b).map(drop), KdcRep::explain),
    ("krb-error", |b| KrbError::parse(b).map(drop), KrbError::explain),
    ("krb-cred", |b| KrbCred::parse(b).map(drop), KrbCred::explain),
    ("ticket", |b| Ticket::parse(b).map(drop), Ticket::explain),
    ("authenticator", |b| Authenticator::parse(b).map(drop), Authenticator::explain),
    ("enc-ticket-part", |b| EncTicketPart::parse(b).map(drop), EncTicketPart::explain),
    ("enc-as-rep-part", |b| EncKdcRepPart::parse(b).map(drop), EncKdcRepPart::explain),
    ("enc-tgs-rep-part", |b| EncKdcRepPart::parse(b).map(drop), EncKdcRepPart::explain),
    ("enc-ap-rep-part", |b| EncApRepPart::parse(b).map(drop), EncApRepPart::explain),
    ("enc-krb-cred-part", |b| EncKrbCredPart::parse(b).map(drop), EncKrbCredPart::explain),
    ("krb-safe", one_value, |b, at| der("KRB-SAFE", b, at, 0)),
    ("krb-priv", one_value, |b, at| der("KRB-PRIV", b, at, 0)),
    ("enc-krb-priv-part", one_value, |b, at| der("EncKrbPrivPart", b, at, 0)),
    ("authorization-data", |b| AuthorizationData::parse(b).map(drop), AuthorizationData::explain),
    ("pac", |b| Pac::parse(b, 0).map(drop), Pac::explain),
    ("keytab", |b| Keytab::parse(b).map(drop), Keytab::explain),
    ("ccache", |b| Ccache::parse(b).map(drop), Ccache::explain),
];

fn framed(bytes: &[u8], message: fn(&[u8]) -> Result<(), ParseError>) -> Result<(), ParseError> {
    let token = KrbToken::parse(bytes, 0)?;
    message(token.message).map_err(|error| ParseError { offset: error.offset + token.message_offset, ..error })
}

fn one_value(bytes: &[u8]) -> Result<(), ParseError> {
    let mut der = Der::new("DER", bytes, 0);
    der.any()?;
    der.finish()
}

/// A mechanism's token inside SPNEGO. SPNEGO itself is not looked for there, so that the depth of a tree has a limit.
pub(crate) fn nested(bytes: &[u8], offset: usize) -> Node {
    match kind_of(bytes) {
        None if bytes.starts_with(b"NEGOEXTS") => Node::leaf("NEGOEX", hex(bytes), offset..offset + bytes.len())
            .noted("draft-zhu-negoex; not decoded, because nothing here chooses it"),
        Some("spnego-init" | "spnego-resp") | None => {
            Node::leaf("token", hex(bytes), offset..offset + bytes.len()).noted("not in a format that is known here")
        }
        Some(kind) => explain_as(kind, bytes, offset).unwrap_or_default(),
    }
}

/// A Kerberos message, by its application tag.
pub(crate) fn krb5(bytes: &[u8], offset: usize) -> Node {
    let kind = bytes.first().and_then(|tag| kerberos(*tag));
    kind.and_then(|kind| explain_as(kind, bytes, offset)).unwrap_or_else(|| unknown(bytes, offset))
}

fn unknown(bytes: &[u8], offset: usize) -> Node {
    let error =
        ParseError { format: "token", offset, kind: ErrorKind::Magic { what: "the beginning of a known format" } };
    Node::leaf("unknown", hex(bytes), offset..offset + bytes.len()).broken(error)
}

fn framed_kind(bytes: &[u8]) -> Option<&'static str> {
    // The lengths may lie or run past the end: the OID alone decides.
    let header = match *bytes.get(1)? {
        first @ 0x80.. => 2 + usize::from(first & 0x7f),
        _ => 2,
    };
    let mut der = Der::new("InitialContextToken", bytes.get(header..)?, 0);
    let mech = MechType::new(der.expect(Tag::OID).ok()?.body).ok()?;
    if mech == MechType::SPNEGO {
        return Some("spnego-init");
    }
    if !mech.is_krb5() && mech != MechType::KRB5_USER_TO_USER && mech != MechType::IAKERB {
        return None;
    }
    Some(match *der.peek() {
        [1, 0, ..] => "gss-krb5-ap-req",
        [2, 0, ..] => "gss-krb5-ap-rep",
        [3, 0, ..] => "gss-krb5-error",
        [2, 1, ..] => "gss-krb5-wrap",
        [1, 1, ..] => "gss-krb5-mic",
        _ => return None,
    })
}

fn kerberos(tag: u8) -> Option<&'static str> {
    Some(match tag {
        0x61 => "ticket",
        0x62 => "authenticator",
        0x63 => "enc-ticket-part",
        0x6a => "as-req",
        0x6b => "as-rep",
        0x6c => "tgs-req",
        0x6d => "tgs-rep",
        0x6e => "ap-req",
        0x6f => "ap-rep",
        0x74 => "krb-safe",
        0x75 => "krb-priv",
        0x76 => "krb-cred",
        0x79 => "enc-as-rep-part",
        0x7a => "enc-tgs-rep-part",
        0x7b => "enc-ap-rep-part",
        0x7c => "enc-krb-priv-part",
        0x7d => "enc-krb-cred-part",
        0x7e => "krb-error",
        _ => return None,
    })
}

/// A PAC begins with the count of its buffers and version 0, and each buffer with a small type, MS-PAC 2.3 and 2.4.
fn looks_like_a_pac(bytes: &[u8]) -> bool {
    let mut reader = Reader::new("PAC", bytes);
    matches!((reader.u32_le(), reader.u32_le(), reader.u32_le()), (Ok(1..=256), Ok(0), Ok(1..=0x40)))
}

/// The tree of any DER, for what has no explainer of its own.
fn der(name: &'static str, bytes: &[u8], offset: usize, depth: usize) -> Node {
    let mut node = Node::branch(name, offset..offset + bytes.len(), "X.690");
    let mut rest = Der::new("DER", bytes, offset).with_long_lengths();
    while !rest.is_empty() {
        match rest.any() {
            Ok(tlv) => {
                let range = tlv.offset..tlv.offset + tlv.whole.len();
                node.children.push(if tlv.tag.0 & 0x20 != 0 && depth < MAX_DEPTH {
                    let mut inner = der("", tlv.body, tlv.body_offset(), depth + 1);
                    inner.name = format!("0x{:02x}", tlv.tag.0).into();
                    inner.spec = "";
                    inner.range = range;
                    inner
                } else {
                    Node::leaf(format!("0x{:02x}", tlv.tag.0), hex(tlv.body), range)
                });
            }
            Err(error) => {
                node.error = Some(error);
                break;
            }
        }
    }
    node
}

/// How deep the tree of unknown DER goes.
const MAX_DEPTH: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_by_their_beginning() {
        for (bytes, kind) in [
            (&b"NTLMSSP\0\x01\0\0\0"[..], Some("ntlm-1")),
            (b"NTLMSSP\0\x03\0\0\0", Some("ntlm-3")),
            (b"NTLMSSP\0\x04\0\0\0", None),
            (b"NTLMSSP\0\x01\0\0", None),
            (&[0x60, 0x82, 0xff, 0xff, 6, 6, 0x2b, 6, 1, 5, 5, 2], Some("spnego-init")),
            (&[0x60, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 1, 2, 2, 1, 0], Some("gss-krb5-ap-req")),
            (&[0x60, 3, 6, 1, 0x2b], None),
            (&[0x6e, 0], Some("ap-req")),
            (&[5, 2], Some("keytab")),
            (&[5, 1, 0], Some("keytab")),
            (&[5, 4, 0, 0], Some("ccache")),
            (&[5, 4, 0, 0xff, 0, 0], Some("gss-krb5-cfx")),
            (&[4, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0], Some("pac")),
            (b"", None),
            (b"GET / HTTP/1.1", None),
        ] {
            assert_eq!(kind_of(bytes), kind, "{bytes:02x?}");
        }
    }

    #[test]
    fn header_lines_are_told_by_their_name_or_scheme() {
        for (line, kind) in [
            ("Authorization: Negotiate TlRMTVNTUAABAAAA", Some("ntlm-1")),
            ("authorization:NTLM TlRMTVNTUAADAAAA", Some("ntlm-3")),
            ("NTLM TlRMTVNTUAADAAAA", Some("ntlm-3")),
            ("WWW-Authenticate: NTLM TlRMTVNTUAACAAAA", Some("ntlm-2")),
            ("www-authenticate: Negotiate, NTLM", Some("www-authenticate")),
            ("Proxy-Authorization: Basic YTpi", Some("authorization")),
            ("Authorization: Negotiate AAAA", Some("authorization")),
            ("Authorization: Bearer x", Some("authorization")),
            ("Content-Type: text/html", None),
            ("Negotiation", None),
            ("", None),
        ] {
            assert_eq!(sniff_header(line.as_bytes()).map(|(kind, _)| kind), kind, "{line}");
        }
    }

    #[test]
    fn every_kind_is_explained() {
        for kind in kinds() {
            for bytes in [&b""[..], b"x", &[0x60, 0x80], &[0xff; 64]] {
                assert!(explain_as(kind, bytes, 5).is_some(), "{kind}");
            }
        }
        assert!(explain_as("recipe", b"", 0).is_none());
        assert_eq!(sniff(b"GET /").0, "unknown");
        assert!(sniff(b"GET /").1.first_error().is_some());
    }

    #[test]
    fn nesting_is_limited() {
        let mut deep = Vec::new();
        for _ in 0..20_000 {
            let mut next = vec![0x30, 0x83, 0, 0, 0];
            let length = (deep.len() as u32).to_be_bytes();
            next[2..5].copy_from_slice(&length[1..]);
            if deep.len() < 0x10000 {
                next = vec![0x30, 0x82, length[2], length[3]];
            }
            if deep.len() < 0x80 {
                next = vec![0x30, length[3]];
            } else if deep.len() < 0x100 {
                next = vec![0x30, 0x81, length[3]];
            }
            next.extend_from_slice(&deep);
            deep = next;
            if deep.len() > 60_000 {
                break;
            }
        }
        for kind in kinds() {
            let _ = explain_as(kind, &deep, 0);
        }
    }
}
