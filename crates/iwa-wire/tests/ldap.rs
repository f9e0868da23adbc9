//! LDAP messages whatever the bytes, filters and names whatever the values.

use iwa_wire::krb5::SequenceOf;
use iwa_wire::ldap::filter::{Extensible, Substrings};
use iwa_wire::ldap::{
    Attribute, Dn, Filter, LdapResult, Message, Octets, Op, ResultCode, Scope, SearchRequest, SearchResultEntry,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// What is read can be written, and is then the same.
fn take(bytes: &[u8]) {
    let length = Message::length(bytes, 1 << 16);
    let Ok(message) = Message::parse(bytes) else { return };
    assert_eq!(length, Ok(Some(bytes.len())));
    let mut written = Vec::new();
    message.write(&mut written);
    assert_eq!(Message::parse(&written).as_ref(), Ok(&message));
    let _ = format!("{message:?}");
    if let Op::SearchResultDone(result) = &message.op {
        let _ = (result.data(), result.diagnostic.to_string());
    }
}

fn written(op: Op<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    Message::new(7, op).write(&mut out);
    out
}

fn search(filter: Filter) -> Vec<u8> {
    let wanted = [Octets(b"cn"), Octets(b"objectSid")];
    let attributes = SequenceOf::of(&wanted);
    let (size_limit, time_limit) = (0, 30);
    let scope = Scope::Subtree;
    written(Op::SearchRequest(SearchRequest {
        base: "DC=x",
        scope,
        size_limit,
        time_limit,
        types_only: false,
        filter,
        attributes,
    }))
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..12),
        ".{0,12}".prop_map(String::into_bytes),
        prop::sample::select(vec!["*", "(", ")", "\\", "\0", "*)(x=*", "\\2a"])
            .prop_map(|text| text.as_bytes().to_vec()),
    ]
}

fn name() -> impl Strategy<Value = String> {
    "[a-zA-Z][a-zA-Z0-9-]{0,10}(;range=x)?".prop_map(|name| name.replace('=', "-"))
}

fn filter() -> impl Strategy<Value = Filter> {
    // An empty piece of a substring says nothing and is not written as text.
    let piece = || value().prop_filter("a piece has a byte", |piece| !piece.is_empty());
    let leaf = prop_oneof![
        (name(), value()).prop_map(|(name, value)| Filter::Equal(name, value)),
        (name(), value()).prop_map(|(name, value)| Filter::GreaterOrEqual(name, value)),
        (name(), value()).prop_map(|(name, value)| Filter::LessOrEqual(name, value)),
        (name(), value()).prop_map(|(name, value)| Filter::Approx(name, value)),
        name().prop_map(Filter::Present),
        (name(), option::of(piece()), vec(piece(), 1..3), option::of(piece()))
            .prop_map(|(name, initial, any, last)| Filter::Substrings(name, Substrings { initial, any, last })),
        (name(), option::of("[0-9.]{3,9}"), value(), any::<bool>()).prop_map(|(name, rule, value, dn_attributes)| {
            Filter::Extensible(Extensible { rule, attribute: Some(name), value, dn_attributes })
        }),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Filter::And),
            vec(inner.clone(), 0..4).prop_map(Filter::Or),
            inner.prop_map(Filter::negated),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes_of_any_kind_are_taken_without_a_panic(bytes in vec(any::<u8>(), 0..120)) {
        take(&bytes);
        take(&[&[0x30, bytes.len() as u8, 2, 1, 1], &bytes[..]].concat());
    }

    #[test]
    fn damaged_messages_are_taken_without_a_panic(
        filter in filter(),
        values in vec(value(), 0..4),
        which in 0..3,
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in option::of(any::<prop::sample::Index>()),
    ) {
        let octets: Vec<_> = values.iter().map(|value| Octets(value)).collect();
        let attributes = [Attribute { name: "cn", values: SequenceOf::of(&octets) }];
        let mut bytes = match which {
            0 => search(filter),
            1 => written(Op::SearchResultEntry(SearchResultEntry { dn: "CN=x", attributes: SequenceOf::of(&attributes) })),
            _ => {
                let text = values.first().map_or(&b""[..], |value| value);
                let referral = SequenceOf::of(&octets);
                let result = LdapResult { diagnostic: Octets(text), referral, ..LdapResult::of(ResultCode::REFERRAL) };
                written(Op::SearchResultDone(result))
            }
        };
        take(&bytes);
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        take(&bytes);
    }

    #[test]
    fn a_filter_of_any_values_is_read_as_it_was_made(filter in filter()) {
        let bytes = search(filter.clone());
        match Message::parse(&bytes).unwrap().op {
            Op::SearchRequest(request) => prop_assert_eq!(&request.filter, &filter),
            other => prop_assert!(false, "{other:?}"),
        }
        let text = filter.to_string();
        prop_assert!(!text.contains(|c: char| c.is_control()), "{text:?}");
        prop_assert_eq!(text.parse::<Filter>().unwrap(), filter);
    }

    #[test]
    fn text_of_any_kind_is_taken_for_a_filter_without_a_panic(text in "[()&|!=*:\\\\a-z0-9<>~é]{0,60}") {
        if let Ok(filter) = text.parse::<Filter>() {
            prop_assert_eq!(filter.to_string().parse::<Filter>().unwrap(), filter);
        }
    }

    #[test]
    fn a_value_stays_one_value_of_a_name(value in ".{0,40}") {
        let dn = Dn::of_domain("example.test").child("CN", &value);
        let rest = dn.as_str().strip_suffix(",DC=example,DC=test").unwrap().strip_prefix("CN=").unwrap();
        // What has a meaning stands behind a backslash, and no backslash stands at the end.
        let mut characters = rest.chars();
        while let Some(c) = characters.next() {
            prop_assert!(!matches!(c, ',' | '+' | '"' | '<' | '>' | ';' | '=') && !c.is_control(), "{rest:?}");
            if c == '\\' {
                prop_assert!(characters.next().is_some());
            }
        }
    }
}
