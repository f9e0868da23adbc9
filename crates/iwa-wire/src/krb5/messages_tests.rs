//! What no Kerberos message may do, and the few things that real ones do against the letter.

use super::field::{self, Fields as _};
use super::ticket::{HostAddress, TransitedEncoding};
use super::*;
use crate::der::{Der, DerWriter, Tag};
use crate::error::ErrorKind;

const SERVICE: [&str; 2] = ["HTTP", "wëb.example.test"];

fn ticket() -> Ticket<'static> {
    let enc_part = EncryptedData { etype: 18, kvno: Some(0x8001_0002), cipher: &[0xaa; 200] };
    Ticket::new("CÖRP.EXAMPLE.TEST".into(), PrincipalName::of(2, &SERVICE), enc_part)
}

fn ap_req() -> Vec<u8> {
    let mut out = Vec::new();
    ApReq {
        ap_options: ap::ap_options::MUTUAL_REQUIRED,
        ticket: ticket(),
        authenticator: EncryptedData { etype: 18, kvno: None, cipher: &[0xbb; 300] },
    }
    .write(&mut out);
    out
}

fn authenticator() -> Vec<u8> {
    let mut out = Vec::new();
    Authenticator {
        crealm: "CÖRP.EXAMPLE.TEST".into(),
        cname: PrincipalName::of(1, &["wëb"]),
        cksum: Some(Checksum { cksumtype: 0x8003, checksum: &[0; 24] }),
        cusec: 999_999,
        ctime: KerberosTime(1_700_000_000),
        subkey: Some(EncryptionKey { etype: 18, value: &[1; 32] }),
        seq_number: Some(u32::MAX),
        authorization_data: None,
    }
    .write(&mut out);
    out
}

fn enc_ticket_part() -> Vec<u8> {
    let addresses = [HostAddress { addr_type: 2, address: &[127, 0, 0, 1] }];
    let mut out = Vec::new();
    EncTicketPart {
        flags: TicketFlags::FORWARDABLE.with(TicketFlags::PRE_AUTHENT),
        key: EncryptionKey { etype: 18, value: &[1; 32] },
        crealm: "CÖRP.EXAMPLE.TEST".into(),
        cname: PrincipalName::of(1, &["wëb"]),
        transited: TransitedEncoding::none(),
        authtime: KerberosTime(1_700_000_000),
        starttime: None,
        endtime: KerberosTime(1_700_036_000),
        renew_till: None,
        caddr: Some(SequenceOf::of(&addresses)),
        authorization_data: None,
    }
    .write(&mut out);
    out
}

/// `bytes` with one run of bytes in the place of another of the same length.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
    let mut changed = bytes.to_vec();
    changed[at..at + to.len()].copy_from_slice(to);
    changed
}

#[test]
fn names_beyond_ascii_and_the_kvno_of_a_read_only_dc_are_read() {
    let bytes = ap_req();
    let read = ApReq::parse(&bytes).unwrap();
    assert_eq!(read.ticket.sname.to_string(), "HTTP/wëb.example.test");
    assert_eq!(read.ticket.realm.as_str(), Some("CÖRP.EXAMPLE.TEST"));
    assert_eq!(read.ticket.enc_part.kvno, Some(0x8001_0002));
    assert!(bytes.windows(read.ticket.raw().len()).any(|window| window == read.ticket.raw()));
    // The same number without a sign, as Heimdal writes it.
    let mut out = Vec::new();
    DerWriter::new(&mut out).sequence(|w| {
        w.int(0, 18);
        w.int(1, 0x8001_0002u32);
        w.octets(2, b"c");
    });
    assert_eq!(EncryptedData::parse(&out).map(|data| data.kvno), Ok(Some(0x8001_0002)));
}

#[test]
fn every_truncation_and_every_trailing_byte_is_refused() {
    fn check<'a, T>(bytes: &'a [u8], longer: &'a [u8], parse: impl Fn(&'a [u8]) -> Result<T, crate::ParseError>) {
        assert!(parse(bytes).is_ok());
        for cut in 0..bytes.len() {
            assert!(parse(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        assert!(matches!(parse(longer).map(|_| ()).map_err(|e| e.kind), Err(ErrorKind::Trailing { count: 1 })));
    }
    let longer = |bytes: &[u8]| [bytes, &[0]].concat();
    let bytes = ap_req();
    check(&bytes, &longer(&bytes), ApReq::parse);
    let bytes = authenticator();
    check(&bytes, &longer(&bytes), Authenticator::parse);
    let bytes = enc_ticket_part();
    check(&bytes, &longer(&bytes), EncTicketPart::parse);
}

#[test]
fn any_changed_byte_is_read_or_refused_and_never_a_panic() {
    for whole in [ap_req(), authenticator(), enc_ticket_part()] {
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0x80, 0x84, 0x88, 0xff, whole[at] ^ 0x20] {
                let mut changed = whole.clone();
                changed[at] = value;
                let _ = ApReq::parse(&changed);
                let _ = Authenticator::parse(&changed);
                let _ = EncTicketPart::parse(&changed);
                let _ = explain_message(&changed, 0);
            }
        }
    }
}

#[test]
fn another_message_type_version_or_tag_is_refused() {
    let bytes = ap_req();
    for changed in [
        replaced(&bytes, &[0xa0, 3, 2, 1, 5, 0xa1, 3, 2, 1, 14], &[0xa0, 3, 2, 1, 4, 0xa1, 3, 2, 1, 14]),
        replaced(&bytes, &[0xa1, 3, 2, 1, 14], &[0xa1, 3, 2, 1, 15]),
        replaced(&bytes, &[0xa2, 7, 3, 5], &[0xa3, 7, 3, 5]),
        replaced(&bytes, &[0xa2, 7, 3, 5], &[0xa2, 7, 4, 5]),
    ] {
        assert!(ApReq::parse(&changed).is_err());
    }
    assert!(matches!(ApRep::parse(&bytes).map_err(|e| e.kind), Err(ErrorKind::Tag { wanted: 0x6f, found: 0x6e })));
    assert!(KdcReq::parse(&bytes).is_err());
    assert!(KdcRep::parse(&[]).is_err());
}

#[test]
fn a_length_of_four_gigabytes_is_refused_at_once() {
    for head in [[0x6e, 0x84, 0xff, 0xff, 0xff, 0xff], [0x6e, 0x84, 0x7f, 0xff, 0xff, 0xff]] {
        assert!(ApReq::parse(&head).is_err());
        assert!(explain_message(&head, 0).is_some_and(|(_, node)| node.first_error().is_some()));
    }
}

#[test]
fn a_field_twice_or_out_of_order_is_refused() {
    let twice = |n: [u8; 3]| {
        let mut out = Vec::new();
        DerWriter::new(&mut out).sequence(|w| n.iter().for_each(|n| w.octets(*n, b"x")));
        out
    };
    assert!(Checksum::parse(&twice([1, 1, 0])).is_err());
    assert!(EncryptedData::parse(&twice([0, 2, 2])).is_err());
    let mut out = Vec::new();
    DerWriter::new(&mut out).sequence(|w| {
        w.octets(1, b"key");
        w.int(0, 18);
    });
    assert!(EncryptionKey::parse(&out).is_err());
    // Two values in one wrapper.
    let mut out = Vec::new();
    DerWriter::new(&mut out).sequence(|w| {
        w.field(0, |w| {
            w.integer(Tag::INTEGER, 18);
            w.integer(Tag::INTEGER, 17);
        });
        w.octets(1, b"key");
    });
    assert!(EncryptionKey::parse(&out).is_err());
}

#[test]
fn numbers_outside_their_type_are_refused() {
    let field = |value: i64| {
        let mut out = Vec::new();
        DerWriter::new(&mut out).integer(Tag::INTEGER, value);
        out
    };
    let read = |value: i64| {
        let bytes = field(value);
        let der = Der::new("test", &bytes, 0);
        let (int32, uint32, micros) =
            (field::int32(&mut { der }), field::uint32(&mut { der }), field::microseconds(&mut { der }));
        (int32.is_ok(), uint32.ok(), micros.is_ok())
    };
    assert_eq!(read(-1), (true, Some(u32::MAX), false));
    assert_eq!(read(i64::from(u32::MAX)), (false, Some(u32::MAX), false));
    assert_eq!(read(i64::from(u32::MAX) + 1), (false, None, false));
    assert_eq!(read(i64::from(i32::MIN) - 1), (false, None, false));
    assert_eq!(read(999_999), (true, Some(999_999), true));
    assert_eq!(read(1_000_000), (true, Some(1_000_000), false));
}

#[test]
fn fractions_of_a_second_are_cut_and_other_times_refused() {
    let time = |text: &[u8]| {
        let mut out = Vec::new();
        DerWriter::new(&mut out).primitive(Tag::GENERALIZED_TIME, text);
        field::time(&mut Der::new("test", &out, 0)).ok()
    };
    assert_eq!(time(b"20231114221320Z"), Some(KerberosTime(1_700_000_000)));
    assert_eq!(time(b"20231114221320.123456Z"), Some(KerberosTime(1_700_000_000)));
    for bad in
        [&b"20231114221320"[..], b"231114221320Z", b"20231114221320+0100", b"20231314221320Z", b"2023111422132\0Z"]
    {
        assert_eq!(time(bad), None);
    }
}

#[test]
fn flags_of_eight_bits_are_read_as_the_first_of_thirty_two() {
    let mut out = Vec::new();
    DerWriter::new(&mut out).primitive(Tag::BIT_STRING, &[0, 0x40]);
    let flags = field::flags(&mut Der::new("test", &out, 0)).map(TicketFlags).unwrap();
    assert!(flags.contains(TicketFlags::FORWARDABLE));
    assert_eq!(flags.to_string(), "forwardable");
    assert_eq!(TicketFlags(0x4001_0001).to_string(), "forwardable enc-pa-rep bit-31");
}

#[test]
fn more_elements_than_the_limit_are_refused() {
    for (count, accepted) in [(0usize, true), (64, true), (65, false)] {
        let data = vec![PaData { padata_type: 149, padata_value: &[] }; count];
        let mut out = Vec::new();
        SequenceOf::of(&data).write(&mut out);
        assert_eq!(padata::MethodData::parse(&out).map(|list| list.iter().count()).ok(), accepted.then_some(count));
    }
}

#[test]
fn keys_are_not_printed() {
    let bytes = authenticator();
    let read = Authenticator::parse(&bytes).unwrap();
    assert!(!format!("{read:?}").contains("[1, 1"));
    let node = Authenticator::explain(&bytes, 0);
    assert!(node.find("keyvalue").is_some_and(|key| key.secret));
}

#[test]
fn a_request_is_explained_down_to_the_ticket_in_its_pre_authentication() {
    let ap_req = ap_req();
    let padata = [PaData { padata_type: padata::pa_type::TGS_REQ, padata_value: &ap_req }];
    let body = KdcReqBody {
        kdc_options: kdc::kdc_options::CANONICALIZE,
        cname: None,
        realm: "EXAMPLE.TEST".into(),
        sname: Some(PrincipalName::of(2, &SERVICE)),
        from: None,
        till: KerberosTime(0),
        rtime: None,
        nonce: 7,
        etypes: SequenceOf::of(&[18, 17, -135]),
        addresses: None,
        enc_authorization_data: None,
        additional_tickets: None,
        raw: &[],
    };
    let (mut out, mut encoded_body) = (Vec::new(), Vec::new());
    body.write(&mut encoded_body);
    KdcReq { exchange: kdc::Exchange::Tgs, padata: Some(SequenceOf::of(&padata)), req_body: body }.write(&mut out);
    let read = KdcReq::parse(&out).unwrap();
    assert_eq!(read.req_body.raw, encoded_body, "what a checksum covers is what stands there");
    assert_eq!(read.req_body.etypes.iter().collect::<Vec<_>>(), [18, 17, -135]);
    let (kind, node) = explain_message(&out, 0).unwrap();
    assert_eq!((kind, node.first_error()), ("tgs-req", None));
    assert_eq!(node.find("kvno").map(|n| n.value.as_str()), Some("-2147418110 (of RODC 32769, 2)"));
    assert!(node.find("AP-REQ").is_some());
    let values: Vec<_> =
        node.find("req-body").unwrap().find("etype").unwrap().children.iter().map(|n| n.value.clone()).collect();
    assert_eq!(values, ["18 (aes256-cts-hmac-sha1-96)", "17 (aes128-cts-hmac-sha1-96)", "-135 (rc4-hmac-old-exp)"]);
}

#[test]
fn an_error_of_windows_says_its_nt_status() {
    let mut data = Vec::new();
    DerWriter::new(&mut data).sequence(|w| {
        w.int(1, 3);
        w.octets(2, &[0x72, 0, 0, 0xc0, 0, 0, 0, 0, 1, 0, 0, 0]);
    });
    let mut out = Vec::new();
    KrbError {
        ctime: None,
        cusec: None,
        stime: KerberosTime(1_700_000_000),
        susec: 0,
        error_code: error::code::KDC_ERR_CLIENT_REVOKED,
        crealm: None,
        cname: None,
        realm: "EXAMPLE.TEST".into(),
        sname: PrincipalName::of(2, &["krbtgt", "EXAMPLE.TEST"]),
        e_text: Some("é\r\n".into()),
        e_data: Some(&data),
    }
    .write(&mut out);
    let (_, node) = explain_message(&out, 0).unwrap();
    assert_eq!(node.find("KERB-ERROR-DATA").map(|n| n.value.as_str()), Some("NTSTATUS 0xc0000072"));
    let code = node.find("error-code").unwrap();
    assert!(code.value.contains("KDC_ERR_CLIENT_REVOKED") && code.value.contains("disabled"), "{}", code.value);
    assert_eq!(node.find("e-text").map(|n| n.value.as_str()), Some("é\\u{d}\\u{a}"));
}
