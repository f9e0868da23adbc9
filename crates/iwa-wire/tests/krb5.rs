//! Kerberos messages against the corpus of real wire data and MIT's reference encodings.

use iwa_testkit::corpus::{self, Expect, Item};
use iwa_wire::ParseError;
use iwa_wire::explain::{Explain, Node};
use iwa_wire::gss::InitialToken;
use iwa_wire::krb5::cfx::CfxToken;
use iwa_wire::krb5::iakerb::IakerbHeader;
use iwa_wire::krb5::padata::{EtypeInfo, EtypeInfo2, MethodData, PaEncTsEnc, PaForUser};
use iwa_wire::krb5::token::{KrbToken, TokenId};
use iwa_wire::krb5::{
    ApRep, ApReq, Authenticator, AuthorizationData, EncApRepPart, EncKdcRepPart, EncKrbCredPart, EncTicketPart,
    EncryptedData, EncryptionKey, KdcRep, KdcReq, KdcReqBody, KrbCred, KrbError, Ticket, explain_message,
};

/// What reading says, and what is written from what was read.
type Round = Result<Vec<u8>, ParseError>;

macro_rules! round {
    ($type:ident, $bytes:expr) => {
        $type::parse($bytes).map(|value| {
            let mut out = Vec::new();
            value.write(&mut out);
            out
        })
    };
}

fn round(kind: &str, bytes: &[u8]) -> Option<Round> {
    Some(match kind {
        "as-req" | "tgs-req" => round!(KdcReq, bytes),
        "as-rep" | "tgs-rep" => round!(KdcRep, bytes),
        "ap-req" => round!(ApReq, bytes),
        "ap-rep" => round!(ApRep, bytes),
        "krb-error" => round!(KrbError, bytes),
        "ticket" => round!(Ticket, bytes),
        "krb-cred" => round!(KrbCred, bytes),
        "enc-ticket-part" => round!(EncTicketPart, bytes),
        "enc-as-rep-part" | "enc-tgs-rep-part" => round!(EncKdcRepPart, bytes),
        "enc-ap-rep-part" => round!(EncApRepPart, bytes),
        "enc-krb-cred-part" | "asn1-enc-cred-part" | "asn1-enc-cred-partOptionalsNULL" => round!(EncKrbCredPart, bytes),
        "authenticator" => round!(Authenticator, bytes),
        "authorization-data" | "asn1-authorization-data" => round!(AuthorizationData, bytes),
        "asn1-kdc-req-body"
        | "asn1-kdc-req-bodyOptionalsNULLexceptsecond-ticket"
        | "asn1-kdc-req-bodyOptionalsNULLexceptserver" => round!(KdcReqBody, bytes),
        "asn1-enc-data" | "asn1-enc-dataKVNONegOne" | "asn1-enc-dataMSBSetkvno" => round!(EncryptedData, bytes),
        "asn1-keyblock" => round!(EncryptionKey, bytes),
        "asn1-etype-info" | "asn1-etype-infoOnly1" => round!(EtypeInfo, bytes),
        "asn1-etype-info2" | "asn1-etype-info2Only1" => round!(EtypeInfo2, bytes),
        "asn1-padata-sequence" => round!(MethodData, bytes),
        "asn1-pa-enc-ts" | "asn1-pa-enc-tsNoUsec" => round!(PaEncTsEnc, bytes),
        "asn1-pa-for-user" => round!(PaForUser, bytes),
        "asn1-iakerb-header" => IakerbHeader::parse(bytes).map(|(header, rest)| {
            let mut out = Vec::new();
            header.write(&mut out);
            [&out, rest].concat()
        }),
        "gss-krb5-cfx" => round!(CfxToken, bytes),
        "gss-krb5-ap-req" | "gss-krb5-ap-rep" => token(bytes),
        _ => return None,
    })
}

fn token(bytes: &[u8]) -> Round {
    let token = KrbToken::parse(bytes, 0)?;
    match token.id {
        TokenId::ApReq => ApReq::parse(token.message).map(drop)?,
        TokenId::ApRep => ApRep::parse(token.message).map(drop)?,
        TokenId::Error => KrbError::parse(token.message).map(drop)?,
        _ => {}
    }
    let mut out = Vec::new();
    token.write(&mut out);
    Ok(out)
}

fn items() -> Vec<(Item, Round)> {
    let all = corpus::load().unwrap_or_default();
    all.into_iter().filter_map(|item| round(&item.kind, &item.data).map(|round| (item, round))).collect()
}

#[test]
fn every_corpus_message_is_read_or_refused_as_its_header_says() {
    let mut wrong = Vec::new();
    for (item, round) in items() {
        if !item.borderline && round.is_ok() != (item.expect == Expect::Valid) {
            wrong.push(format!("{}: {:?}", item.name, round.err()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Lengths that are not the shortest, and negative numbers for `UInt32`.
const NOT_CANONICAL: [&str; 4] = [
    ".kirbi",
    "gokrb5/MarshaledKRB5iakerb_header",
    "fuzz-asn-decode_authenticator_6",
    "fuzz-asn-decode_enc_tkt_part_30",
];

#[test]
fn what_was_read_is_written_as_it_stood() {
    let mut wrong = Vec::new();
    for (item, round) in items() {
        let Ok(written) = round else { continue };
        if written != item.data && !NOT_CANONICAL.iter().any(|part| item.name.contains(part)) {
            let at = written.iter().zip(&item.data).position(|(a, b)| a != b);
            wrong.push(format!("{} {} {at:?} {} {}", item.name, item.kind, written.len(), item.data.len()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_truncation_is_refused_and_explained() {
    for (item, round_whole) in items() {
        if round_whole.is_err() || item.kind == "gss-krb5-cfx" {
            continue;
        }
        for cut in 0..item.data.len() {
            let part = &item.data[..cut];
            assert!(round(&item.kind, part).is_some_and(|round| round.is_err()), "{} cut at {cut}", item.name);
            if let Some((_, node)) = explain_message(part, 1000) {
                assert!(node.first_error().is_some(), "{} cut at {cut}", item.name);
                inside(&node, 1000, 1000 + cut, &item.name);
            }
        }
    }
}

#[test]
fn every_corpus_message_is_explained_whole() {
    for (item, round) in items() {
        let node = match item.kind.as_str() {
            "gss-krb5-ap-req" | "gss-krb5-ap-rep" => InitialToken::explain(&item.data, 0),
            "gss-krb5-cfx" => CfxToken::explain(&item.data, 0),
            "authorization-data" => AuthorizationData::explain(&item.data, 0),
            _ => match explain_message(&item.data, 0) {
                Some((kind, node)) => {
                    // An AS-REP's encrypted part under the other tag is common, and the corpus names it by its exchange.
                    let named = item.kind.starts_with("enc-") || item.kind.starts_with("asn1-");
                    assert!(kind == item.kind || named, "{}: {kind}", item.name);
                    node
                }
                None => continue,
            },
        };
        // The reference encodings carry dummies where others carry formats of their own.
        let dummies = round.is_ok() && ["krb5/", "gokrb5/"].iter().any(|folder| item.name.starts_with(folder));
        assert!(dummies || node.first_error().is_none() == round.is_ok(), "{}: {node:#?}", item.name);
        inside(&node, 0, item.data.len(), &item.name);
    }
}

fn inside(node: &Node, start: usize, end: usize, name: &str) {
    let Node { range, .. } = node;
    assert!(range.start >= start && range.end <= end && range.start <= range.end, "{name}: {node:?}");
    node.children.iter().for_each(|child| inside(child, start, end, name));
}
