use super::*;
use crate::ldap::control::{PAGED_RESULTS, PagedResults};
use crate::ldap::extended::{START_TLS, WHO_AM_I};

fn written(message: &Message<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    message.write(&mut out);
    out
}

/// One of each, with every field in use.
fn all(look: impl Fn(&Message<'_>)) {
    let values = [Octets(b"one"), Octets(b"\0\xff"), Octets(b"")];
    let attributes = [
        Attribute { name: "cn", values: SequenceOf::of(&values) },
        Attribute { name: "member;range=0-1499", values: SequenceOf::of(&[]) },
    ];
    let changes = [Operation::Add, Operation::Delete, Operation::Replace]
        .map(|operation| Change { operation, attribute: attributes[0] });
    let uris = [Octets(b"ldap://dc2.example.test/"), Octets(b"ldap://dc3.example.test/")];
    let result = LdapResult {
        code: ResultCode::REFERRAL,
        matched_dn: Octets(b"DC=example,DC=test"),
        diagnostic: Octets("nöt here".as_bytes()),
        referral: SequenceOf::of(&uris),
    };
    let search = SearchRequest {
        base: "DC=example,DC=test",
        scope: Scope::Subtree,
        size_limit: 1000,
        time_limit: 30,
        types_only: true,
        filter: "(&(objectClass=user)(!(cn=a*b))(memberOf:1.2.840.113556.1.4.1941:=CN=x))".parse().unwrap(),
        attributes: SequenceOf::of(&values[..1]),
    };
    let attributes = SequenceOf::of(&attributes);
    let mut page = Vec::new();
    PagedResults { size: 500, cookie: b"next" }.write(&mut page);
    let controls = [
        Control { oid: PAGED_RESULTS, critical: true, value: Some(&page) },
        Control { oid: control::DOMAIN_SCOPE, critical: false, value: None },
    ];
    let simple = Authentication::Simple(b"secret");
    let sasl = |credentials| Authentication::Sasl { mechanism: "GSSAPI", credentials };
    for op in [
        Op::BindRequest(BindRequest { name: "CN=reader", authentication: simple }),
        Op::BindRequest(BindRequest { name: "", authentication: sasl(Some(b"token")) }),
        Op::BindRequest(BindRequest { name: "", authentication: sasl(Some(b"")) }),
        Op::BindRequest(BindRequest { name: "", authentication: sasl(None) }),
        Op::BindResponse(BindResponse { result, server_sasl_creds: Some(b"token") }),
        Op::BindResponse(BindResponse { result: LdapResult::of(ResultCode::SUCCESS), server_sasl_creds: None }),
        Op::UnbindRequest,
        Op::SearchRequest(search),
        Op::SearchResultEntry(SearchResultEntry { dn: "CN=jörg", attributes }),
        Op::SearchResultDone(result),
        Op::SearchResultReference(SequenceOf::of(&uris)),
        Op::ModifyRequest(ModifyRequest { dn: "CN=x", changes: SequenceOf::of(&changes) }),
        Op::ModifyResponse(result),
        Op::AddRequest(AddRequest { dn: "CN=x", attributes }),
        Op::AddResponse(result),
        Op::DelRequest("CN=x"),
        Op::DelResponse(result),
        Op::AbandonRequest(7),
        Op::ExtendedRequest(ExtendedRequest { name: START_TLS, value: None }),
        Op::ExtendedRequest(ExtendedRequest { name: WHO_AM_I, value: Some(b"value") }),
        Op::ExtendedResponse(ExtendedResponse { result, name: Some(START_TLS), value: Some(b"u:alice") }),
        Op::Other(Tag::application(14), b"\x04\x00"),
    ] {
        look(&Message { id: 5, op: op.clone(), controls: SequenceOf::of(&controls) });
        look(&Message::new(i32::MAX as u32, op));
    }
}

#[test]
fn what_is_written_is_read() {
    all(|message| {
        let bytes = written(message);
        assert_eq!(Message::length(&bytes, bytes.len()), Ok(Some(bytes.len())));
        let read = Message::parse(&bytes).unwrap_or_else(|error| panic!("{message:?}: {error}"));
        assert_eq!(&read, message);
        assert_eq!(written(&read), bytes);
    });
}

#[test]
fn every_cut_and_every_trailing_byte_is_refused() {
    all(|message| {
        let mut bytes = written(message);
        for cut in 0..bytes.len() {
            assert!(Message::parse(&bytes[..cut]).is_err(), "{message:?} cut at {cut}");
        }
        bytes.push(0);
        assert!(matches!(Message::parse(&bytes).map_err(|e| e.kind), Err(ErrorKind::Trailing { count: 1 })));
    });
}

#[test]
fn a_changed_byte_does_not_panic() {
    all(|message| {
        let bytes = written(message);
        for place in 0..bytes.len() {
            for value in [0, 1, 0x30, 0x7f, 0x80, 0x84, 0xa0, 0xff] {
                let mut changed = bytes.clone();
                changed[place] = value;
                let _ = Message::length(&changed, 1 << 20);
                if let Ok(message) = Message::parse(&changed) {
                    let _ = (written(&message), format!("{message:?}"));
                }
            }
        }
    });
}

/// Every length of a constructed value, in four bytes, as Active Directory writes them.
fn long(bytes: &[u8]) -> Vec<u8> {
    let mut der = Der::new("test", bytes, 0);
    let mut out = Vec::new();
    while !der.is_empty() {
        let tlv = der.any().unwrap();
        let body = if tlv.tag.0 & 0x20 == 0 { tlv.body.to_vec() } else { long(tlv.body) };
        out.extend_from_slice(&[tlv.tag.0, 0x84]);
        out.extend_from_slice(&(body.len() as u32).to_be_bytes());
        out.extend_from_slice(&body);
    }
    out
}

#[test]
fn lengths_of_four_bytes_are_read() {
    all(|message| {
        // The contents of an unknown operation are not looked at, and so are kept as they stand.
        if !matches!(message.op, Op::Other(..)) {
            let bytes = long(&written(message));
            assert_eq!(Message::length(&bytes, bytes.len()), Ok(Some(bytes.len())));
            assert_eq!(Message::parse(&bytes).as_ref(), Ok(message));
        }
    });
}

/// The answer of a Windows Server to a bind with a wrong password: RFC 4511's BER with lengths of four bytes.
#[test]
fn the_data_code_of_a_refused_bind() {
    let text = b"80090308: LdapErr: DSID-0C090446, comment: AcceptSecurityContext error, data 52e, v4563\0";
    let mut result = LdapResult::of(ResultCode::INVALID_CREDENTIALS);
    assert_eq!(result.data(), None);
    result.diagnostic = Octets(text);
    assert_eq!(result.data(), Some(0x52e));
    assert!(result.diagnostic.to_string().ends_with("v4563"), "without the NUL");
    let response = written(&Message::new(1, Op::BindResponse(BindResponse { result, server_sasl_creds: None })));
    let response = long(&response);
    match Message::parse(&response).unwrap().op {
        Op::BindResponse(response) => assert_eq!(response.result.data(), Some(0x52e)),
        other => panic!("{other:?}"),
    }
    for other in [&b", data "[..], b", data x", b", data fffffffff", b"data 52e", b"\xff, data 52e"] {
        result.diagnostic = Octets(other);
        assert_eq!(result.data(), None, "{other:?}");
    }
}

#[test]
fn lengths_beyond_the_limit_are_refused_before_anything_is_kept() {
    let limit = |bytes: &[u8]| Message::length(bytes, 1000).map_err(|e| e.kind);
    assert_eq!(limit(&[]), Ok(None));
    assert_eq!(limit(&[0x30]), Ok(None));
    assert_eq!(limit(&[0x30, 0x84, 0, 0]), Ok(None));
    assert_eq!(limit(&[0x30, 5]), Ok(Some(7)));
    assert_eq!(limit(&[0x30, 0x84, 0, 0, 0, 5]), Ok(Some(11)));
    assert_eq!(limit(&[0x30, 0x82, 3, 228]), Ok(Some(1000)));
    for bad in [&[0x30, 0x82, 3, 229][..], &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]] {
        assert!(matches!(limit(bad), Err(ErrorKind::Limit { limit: 1000, .. })), "{bad:02x?}");
    }
    for bad in [&[0x30, 0x80][..], &[0x30, 0x85], &[0x30, 0xff]] {
        assert_eq!(limit(bad), Err(ErrorKind::Length));
    }
    // TLS on the plain port, HTTP, and whatever else listens there.
    assert!(matches!(limit(&[0x16]), Err(ErrorKind::Tag { .. })));
    assert!(matches!(limit(b"HTTP/1.1"), Err(ErrorKind::Tag { .. })));
}

#[test]
fn numbers_outside_their_range_are_refused() {
    for bad in [
        &[0x30, 0x05, 0x02, 0x01, 0xff, 0x42, 0x00][..], // a negative messageID
        &[0x30, 0x09, 0x02, 0x05, 0, 0x80, 0, 0, 0, 0x42, 0x00], // one beyond 2^31 - 1
        &[0x30, 0x03, 0x02, 0x01, 0x01],                 // no operation
        &[0x30, 0x0c, 2, 1, 1, 0x61, 7, 0x0a, 1, 0xff, 4, 0, 4, 0], // a negative resultCode
        &[0x30, 0x0c, 2, 1, 1, 0x60, 7, 2, 1, 2, 4, 0, 0x80, 0], // LDAPv2
        &[0x30, 0x0d, 2, 1, 1, 0x64, 8, 4, 2, 0xc3, 0x28, 0x30, 2, 0x30, 0], // a name that is not UTF-8
    ] {
        assert!(Message::parse(bad).is_err(), "{bad:02x?}");
    }
}

#[test]
fn what_a_later_protocol_adds_is_skipped_if_it_is_whole() {
    let done = [0x30, 0x0f, 2, 1, 1, 0x65, 10, 0x0a, 1, 0, 4, 0, 4, 0, 0x9f - 0x10, 1, 7];
    assert!(matches!(Message::parse(&done).map(|m| m.op), Ok(Op::SearchResultDone(_))));
    let mut broken = done;
    broken[15] = 2;
    assert!(Message::parse(&broken).is_err());
}

#[test]
fn secrets_are_not_printed() {
    all(|message| {
        let shown = format!("{message:?}");
        assert!(!shown.contains("secret"), "{shown}");
        if matches!(message.op, Op::BindRequest(_)) {
            assert!(!shown.contains("token") && !shown.contains("115"), "{shown}");
        }
    });
    for name in ["unicodePwd", "UNICODEPWD", "userPassword", "sambaNTPassword"] {
        let values = [Octets(b"hush")];
        let shown = format!("{:?}", Attribute { name, values: SequenceOf::of(&values) });
        assert!(shown.contains(name) && !shown.contains("hush"), "{shown}");
    }
}

#[test]
fn text_of_the_server_is_safe_to_print() {
    assert_eq!(Octets(b"a\x1b[31m\xffb\0").to_string(), "a\u{fffd}[31m\u{fffd}b");
}
