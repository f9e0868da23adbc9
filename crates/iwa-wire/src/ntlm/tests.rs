use super::*;

fn utf16(text: &str) -> Vec<u8> {
    utf16le(text)
}

/// What curl 7.88 sends: 32 bytes, OEM, no version.
const CURL_NEGOTIATE: &[u8] = b"NTLMSSP\0\x01\0\0\0\x06\x82\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

#[test]
fn the_negotiate_message_of_curl_is_read() {
    let message = Negotiate::parse(CURL_NEGOTIATE).unwrap();
    assert_eq!(message.flags, Flags(0x0008_8206));
    assert!(message.domain.is_empty() && message.version.is_none());
    let node = Message::explain(CURL_NEGOTIATE, 7);
    assert_eq!(node.first_error(), None);
    assert_eq!(node.find("NegotiateFlags").map(|n| n.range.clone()), Some(19..23));
}

#[test]
fn fields_that_the_flags_do_not_announce_are_not_looked_at() {
    let mut bytes = CURL_NEGOTIATE.to_vec();
    bytes[16..24].copy_from_slice(&[9, 0, 9, 0, 0xff, 0xff, 0xff, 0xff]);
    assert!(Negotiate::parse(&bytes).is_ok());
    bytes[13] |= 0x10;
    assert!(Negotiate::parse(&bytes).is_err());
}

fn authenticate<'a>(user: &'a [u8], nt_response: &'a [u8]) -> Authenticate<'a> {
    Authenticate {
        nt_response,
        user: Text::unicode(user),
        flags: Flags::UNICODE | Flags::NTLM,
        mic: Some([7; 16]),
        ..Authenticate::default()
    }
}

fn written(message: &Authenticate<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    message.write(&mut out).unwrap();
    out
}

#[test]
fn a_length_and_offset_that_overflow_32_bits_are_refused() {
    let user = utf16("alice");
    let bytes = written(&authenticate(&user, &[1; 24]));
    for field in 0..6 {
        for (length, offset) in [
            (0xffffu16, 0xffff_ffffu32),
            (1, 0xffff_ffff),
            (0xffff, 0x0001_0001),
            (2, bytes.len() as u32 - 1),
            (2, bytes.len() as u32),
            (0xfffe, 88),
        ] {
            let mut bytes = bytes.clone();
            let at = 12 + 8 * field;
            bytes[at..at + 2].copy_from_slice(&length.to_le_bytes());
            bytes[at + 4..at + 8].copy_from_slice(&offset.to_le_bytes());
            let error = Authenticate::parse(&bytes).unwrap_err();
            assert_eq!((error.format, error.offset), ("AUTHENTICATE_MESSAGE", at), "{length} {offset}");
            assert!(Message::explain(&bytes, 0).first_error().is_some());
        }
    }
}

#[test]
fn a_field_that_points_into_the_fixed_part_is_refused() {
    let bytes = written(&authenticate(&utf16("alice"), &[1; 24]));
    for offset in [0u32, 8, 12, 63] {
        let mut bytes = bytes.clone();
        bytes[40..44].copy_from_slice(&offset.to_le_bytes());
        assert_eq!(
            Authenticate::parse(&bytes).map_err(|e| e.kind).unwrap_err(),
            ErrorKind::Value { what: "BufferOffset" },
            "{offset}"
        );
    }
}

#[test]
fn fields_in_any_order_with_gaps_and_odd_offsets_are_read() {
    let user = utf16("bob");
    let mut bytes = vec![0; 64];
    bytes[..12].copy_from_slice(b"NTLMSSP\0\x03\0\0\0");
    bytes[60] = 1;
    // The user stands first, at an odd offset, and the NT response behind a gap.
    bytes.push(0xee);
    bytes[36..44].copy_from_slice(&[6, 0, 0xff, 0xff, 65, 0, 0, 0]);
    bytes.extend_from_slice(&user);
    bytes.extend_from_slice(&[0xee; 4]);
    bytes[20..28].copy_from_slice(&[24, 0, 0, 0, 75, 0, 0, 0]);
    bytes.extend_from_slice(&[5; 24]);
    let message = Authenticate::parse(&bytes).unwrap();
    assert_eq!(message.user.decode(), "bob");
    assert_eq!(message.nt_response, [5; 24]);
    assert_eq!((message.version, message.mic), (None, None));
}

#[test]
fn a_mic_is_there_only_where_the_payload_leaves_room() {
    let user = utf16("bob");
    let with = authenticate(&user, &[1; 24]);
    assert_eq!(Authenticate::parse(&written(&with)).unwrap().mic, Some([7; 16]));
    let without = Authenticate { mic: None, version: Some(Version::SENT), ..with };
    let message = written(&without);
    let message = Authenticate::parse(&message).unwrap();
    assert_eq!((message.mic, message.version), (None, Some(Version::SENT)));
}

#[test]
fn utf_16_of_odd_length_is_refused() {
    let bytes = written(&authenticate(b"abc", &[1; 24]));
    assert!(Authenticate::parse(&bytes).is_err());
}

#[test]
fn a_message_cut_anywhere_in_its_fixed_part_is_refused() {
    let user = utf16("alice");
    let authenticate = written(&authenticate(&user, &[1; 24]));
    let mut challenge = Vec::new();
    Challenge { target_name: Text::oem(b"X"), ..Challenge::default() }.write(&mut challenge).unwrap();
    for (bytes, whole) in [(&authenticate, authenticate.len()), (&challenge, challenge.len())] {
        for cut in 0..whole {
            assert!(Message::parse(&bytes[..cut]).is_err(), "{cut}");
        }
    }
    for cut in (0..16).chain(17..32) {
        assert!(Message::parse(&CURL_NEGOTIATE[..cut]).is_err(), "{cut}");
    }
}

#[test]
fn a_foreign_message_type_is_refused() {
    assert!(Challenge::parse(CURL_NEGOTIATE).is_err());
    assert!(Authenticate::parse(CURL_NEGOTIATE).is_err());
    let mut bytes = CURL_NEGOTIATE.to_vec();
    bytes[8] = 4;
    assert_eq!(Message::parse(&bytes).map(|_| ()).map_err(|e| e.kind), Err(ErrorKind::Value { what: "MessageType" }));
    assert_eq!(
        Message::parse(b"NTLMSSQ\0").map(|_| ()).map_err(|e| e.kind),
        Err(ErrorKind::Magic { what: "Signature" })
    );
}

fn pairs(list: &[(u16, &[u8])], end: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for (id, value) in list {
        assert!(AvPairs::push(&mut out, AvId(*id), value));
    }
    if end {
        AvPairs::end(&mut out);
    }
    out
}

#[test]
fn unknown_av_pairs_are_kept_even_twice() {
    let bytes = pairs(&[(0x4242, b"abc"), (2, &utf16("D")), (0x4242, b"")], true);
    let list = AvPairs::parse(&bytes, 0).unwrap();
    let ids: Vec<_> = list.iter().map(|pair| (pair.id.0, pair.value.len())).collect();
    assert_eq!(ids, [(0x4242, 3), (2, 2), (0x4242, 0)]);
    assert_eq!(list.bytes(), bytes);
}

#[test]
fn malformed_av_pairs_are_refused() {
    let name = utf16("D");
    let cases: [(&str, Vec<u8>); 10] = [
        ("no end", pairs(&[(2, &name)], false)),
        ("empty", Vec::new()),
        ("flags twice", pairs(&[(6, &[0; 4]), (6, &[2, 0, 0, 0])], true)),
        ("bindings twice", pairs(&[(10, &[0; 16]), (10, &[1; 16])], true)),
        ("target name twice", pairs(&[(9, &name), (9, &name)], true)),
        ("short flags", pairs(&[(6, &[0; 2])], true)),
        ("long bindings", pairs(&[(10, &[0; 20])], true)),
        ("short timestamp", pairs(&[(7, &[0; 7])], true)),
        ("odd name", pairs(&[(1, b"abc")], true)),
        ("runs past the end", vec![2, 0, 0xff, 0xff, 0, 0]),
    ];
    for (name, bytes) in cases {
        assert!(AvPairs::parse(&bytes, 0).is_err(), "{name}");
        assert!(AvPairs::explain(&bytes, 0).first_error().is_some(), "{name}");
    }
    assert!(AvPairs::parse(&[0, 0, 1, 0, 0], 0).is_err(), "an end with a length");
}

#[test]
fn what_follows_the_end_of_the_av_pairs_is_not_read() {
    let mut bytes = pairs(&[(7, &[1; 8])], true);
    let length = bytes.len();
    bytes.extend_from_slice(&[10, 0, 16, 0]);
    let list = AvPairs::parse(&bytes, 0).unwrap();
    assert_eq!(list.bytes().len(), length);
    assert_eq!((list.channel_bindings(), list.timestamp()), (None, Some(0x0101_0101_0101_0101)));
}

#[test]
fn responses_are_told_apart_by_their_length() {
    assert_eq!(NtResponse::parse(&[]), Ok(NtResponse::Absent));
    assert!(matches!(NtResponse::parse(&[0; 24]), Ok(NtResponse::V1(_))));
    for length in (1..24).chain(25..60) {
        assert!(NtResponse::parse(&vec![0; length]).is_err(), "{length}");
    }
    let list = pairs(&[(6, &[2, 0, 0, 0])], true);
    let mut bytes = vec![9; 16];
    Ntlmv2Response::write_client_challenge(77, &[8; 8], AvPairs::parse(&list, 0).unwrap(), &mut bytes);
    let Ok(NtResponse::V2(response)) = NtResponse::parse(&bytes) else { panic!() };
    assert_eq!((response.time_stamp, response.challenge_from_client), (77, &[8; 8]));
    assert!(response.av_pairs.flags().has(AvFlags::MIC));
    assert_eq!(response.client_challenge, &bytes[16..]);
    bytes[16] = 2;
    assert!(NtResponse::parse(&bytes).is_err());
}

#[test]
fn a_field_longer_than_its_length_can_say_is_not_written() {
    let long = vec![b'a'; 65536];
    let message = Negotiate { domain: Text::oem(&long), ..Negotiate::default() };
    assert!(message.write(&mut Vec::new()).is_err());
    assert!(!AvPairs::push(&mut Vec::new(), AvId::TARGET_NAME, &long));
}

#[test]
fn a_local_call_and_an_anonymous_message_are_noted() {
    let empty = |flags| written(&Authenticate { flags, ..Authenticate::default() });
    let note = |bytes: &[u8]| Message::explain(bytes, 0).note.unwrap_or_default();
    assert!(note(&empty(Flags::LOCAL_CALL)).contains("local call"));
    assert!(note(&empty(Flags::ANONYMOUS)).contains("anonymous"));
}

#[test]
fn a_session_key_is_marked_as_secret() {
    let message = Authenticate { encrypted_random_session_key: &[3; 16], ..Authenticate::default() };
    let node = Message::explain(&written(&message), 0);
    assert!(node.find("EncryptedRandomSessionKey").is_some_and(|node| node.secret));
}
