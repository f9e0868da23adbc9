//! The NTLM messages against the corpus of real wire data.

use iwa_testkit::corpus::{self, Expect, Item};
use iwa_wire::explain::{Explain as _, Node};
use iwa_wire::ntlm::{Authenticate, Challenge, Message, MessageType, Negotiate, NtResponse, Text};

fn items() -> Vec<Item> {
    let all = corpus::load().unwrap_or_default();
    all.into_iter().filter(|item| matches!(item.kind.as_str(), "ntlm-1" | "ntlm-2" | "ntlm-3")).collect()
}

/// The message, and the response inside it.
fn parse_all(bytes: &[u8]) -> bool {
    match Message::parse(bytes) {
        Ok(Message::Authenticate(message)) => NtResponse::parse(message.nt_response).is_ok(),
        Ok(_) => true,
        Err(_) => false,
    }
}

#[test]
fn every_corpus_message_is_read_or_refused_as_its_header_says() {
    for item in items() {
        let accepted = parse_all(&item.data);
        assert!(item.borderline || accepted == (item.expect == Expect::Valid), "{}: {accepted}", item.name);
    }
}

#[test]
fn every_corpus_message_is_explained_whole_and_at_every_truncation() {
    for item in items() {
        let node = Message::explain(&item.data, 0);
        assert_eq!(node.first_error().is_none(), parse_all(&item.data), "{}: {node:#?}", item.name);
        for cut in 0..item.data.len() {
            let cut_node = Message::explain(&item.data[..cut], 1000);
            inside(&cut_node, 1000, 1000 + cut, &item.name);
        }
    }
}

fn inside(node: &Node, start: usize, end: usize, name: &str) {
    assert!(
        node.range.start >= start && node.range.end <= end && node.range.start <= node.range.end,
        "{name}: {node:?}"
    );
    node.children.iter().for_each(|child| inside(child, start, end, name));
}

#[test]
fn every_corpus_message_says_what_independent_decoders_say() {
    for item in items() {
        let Ok(message) = Message::parse(&item.data) else { continue };
        let compare = |header: &str, found: String| {
            if let Some(wanted) = item.header(header) {
                assert_eq!(found, wanted, "{} {header}", item.name);
            }
        };
        match message {
            Message::Negotiate(message) => {
                compare("decoded-ntlm-flags", format!("0x{:08x}", message.flags.0));
            }
            Message::Challenge(message) => {
                compare("decoded-ntlm-flags", format!("0x{:08x}", message.flags.0));
                compare("decoded-ntlm-target", message.target_name.decode().into_owned());
            }
            Message::Authenticate(message) => {
                compare("decoded-ntlm-flags", format!("0x{:08x}", message.flags.0));
                compare("decoded-ntlm-user", message.user.decode().into_owned());
                compare("decoded-ntlm-domain", message.domain.decode().into_owned());
                compare("decoded-ntlm-workstation", message.workstation.decode().into_owned());
                compare("decoded-ntlm-lm-response-len", message.lm_response.len().to_string());
                compare("decoded-ntlm-nt-response-len", message.nt_response.len().to_string());
                compare("decoded-ntlm-session-key-len", message.encrypted_random_session_key.len().to_string());
            }
        }
    }
}

#[test]
fn every_corpus_message_survives_writing_and_reading() {
    for item in items() {
        let mut out = vec![0xee; 3];
        match Message::parse(&item.data) {
            Ok(Message::Negotiate(message)) => {
                message.write(&mut out).unwrap();
                let again = Negotiate::parse(&out[3..]).unwrap();
                assert_eq!((again.domain, again.workstation), (message.domain, message.workstation), "{}", item.name);
                assert_eq!(again.version, message.version, "{}", item.name);
            }
            Ok(Message::Challenge(message)) => {
                message.write(&mut out).unwrap();
                let again = Challenge::parse(&out[3..]).unwrap();
                assert_eq!(again.target_info, message.target_info, "{}", item.name);
                assert_eq!(again.target_name.decode(), message.target_name.decode(), "{}", item.name);
            }
            Ok(Message::Authenticate(message)) => {
                message.write(&mut out).unwrap();
                let again = Authenticate::parse(&out[3..]).unwrap();
                let without = |message| Authenticate { flags: Default::default(), ..message };
                let expected = Authenticate { version: again.version, ..message };
                assert_eq!(without(again), without(expected), "{}", item.name);
            }
            Err(_) => {}
        }
    }
}

#[test]
fn a_byte_changed_anywhere_in_a_corpus_message_never_panics() {
    for item in items() {
        let mut bytes = item.data.clone();
        for at in 0..bytes.len() {
            for value in [0, 0x7f, 0xff] {
                let kept = std::mem::replace(&mut bytes[at], value);
                let _ = parse_all(&bytes);
                bytes[at] = kept;
            }
        }
    }
}

#[test]
fn a_type_is_known_by_its_first_twelve_bytes() {
    assert_eq!(MessageType::of(b"NTLMSSP\0\x01\0\0\0"), Some(MessageType::Negotiate));
    assert_eq!(MessageType::of(b"NTLMSSP\0\x04\0\0\0"), None);
    assert_eq!(MessageType::of(b"NTLMSSP\0\x01\0\0"), None);
    assert_eq!(MessageType::of(b""), None);
    assert_eq!(Text::oem(&[b'j', 0xf6]).decode(), "jö");
    assert_eq!(Text::oem("jö".as_bytes()).decode(), "jö");
}
