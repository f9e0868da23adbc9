//! Whatever the bytes: no parser and no explainer panics, and what is written is read.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod rewrite;

use iwa_testkit::corpus;
use iwa_wire::ccache::{Ccache, Credential, TypedList};
use iwa_wire::challenge::Challenge;
use iwa_wire::dcerpc::epm::Tower;
use iwa_wire::dcerpc::{Body, Pdu, PduFlags, Verifier};
use iwa_wire::explain::Explain as _;
use iwa_wire::gss::MechType;
use iwa_wire::header::{self, AuthScheme, Authorization};
use iwa_wire::keytab::{Entry, Keytab};
use iwa_wire::krb5::Principal;
use iwa_wire::netlogon::logon::NewSamInfo4;
use iwa_wire::netlogon::{
    Authenticate3, Authenticated, LogonSamLogonEx, NlAuthMessage, NlAuthSha2Signature, PasswordSet2, ReqChallenge,
    SamInfo4, SamLogon,
};
use iwa_wire::netlogon_ping::NetlogonSamLogonResponseEx;
use iwa_wire::pac::logon_info::NewLogonInfo;
use iwa_wire::sniff;
use iwa_wire::spnego::{MechTypeList, NegState, NegTokenInit, NegTokenResp, NegotiationToken};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// Everything that takes bytes from outside.
fn take(bytes: &[u8]) {
    for kind in sniff::kinds() {
        let (checked, explained) = (sniff::check(kind, bytes).unwrap(), sniff::explain_as(kind, bytes, 7).unwrap());
        assert!(checked.is_ok() || explained.first_error().is_some(), "{kind}: refused, but not explained");
        if let Some(written) = rewrite::rewrite(kind, bytes) {
            rewrite::assert_stable(kind, &written, kind);
        }
    }
    let (kind, node) = sniff::sniff(bytes);
    assert!(kind != "unknown" || node.error.is_some());
    let _ = sniff::sniff_header(bytes);
    let _ = Challenge::parse(bytes);
    if let Ok(Some(header)) = Authorization::parse([bytes], 1 << 16) {
        let _ = (header.decode(&mut Vec::new()), header.basic());
    }
}

/// Everything that a domain controller sends to a member, and the other way round.
fn take_rpc(bytes: &[u8]) {
    let stub = |bytes: &[u8]| {
        let _ = (Tower::parse_request(bytes), Tower::parse_response(bytes));
        let _ = (ReqChallenge::parse(bytes), ReqChallenge::parse_response(bytes));
        let _ = (Authenticate3::parse(bytes), Authenticated::parse(bytes));
        let _ = (PasswordSet2::parse(bytes), PasswordSet2::parse_response(bytes));
        let _ = LogonSamLogonEx::parse(bytes);
        let answer = SamLogon::parse(bytes);
        let groups = answer.map(|answer| answer.validation.map(|validation| validation.info.groups().count()));
        assert!(groups.is_ok() || SamInfo4::explain(bytes, 3).first_error().is_some());
    };
    stub(bytes);
    let _ = (NlAuthMessage::parse(bytes), NlAuthSha2Signature::parse(bytes));
    if let Ok(Pdu { body: Body::Response { stub: inside, .. }, .. }) = Pdu::parse(bytes) {
        stub(inside);
    }
}

/// A change to some bytes, as an attacker or a bad line makes it.
#[derive(Clone, Debug)]
enum Damage {
    Set(prop::sample::Index, u8),
    Insert(prop::sample::Index, Vec<u8>),
    Remove(prop::sample::Index, usize),
    Cut(prop::sample::Index),
    Repeat(prop::sample::Index, usize),
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        match self {
            Self::Set(at, value) => {
                let at = at.index(bytes.len());
                bytes[at] = *value;
            }
            Self::Insert(at, more) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, more.iter().copied());
            }
            Self::Remove(at, count) => {
                let at = at.index(bytes.len());
                bytes.drain(at..(at + count).min(bytes.len()));
            }
            Self::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Self::Repeat(at, count) => {
                let at = at.index(bytes.len());
                let piece = bytes[at..(at + count).min(bytes.len())].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<prop::sample::Index>();
    prop_oneof![
        4 => (at.clone(), prop_oneof![any::<u8>(), Just(0), Just(0xff), Just(0x80), Just(0x30)])
            .prop_map(|(at, value)| Damage::Set(at, value)),
        1 => (at.clone(), vec(any::<u8>(), 1..9)).prop_map(|(at, more)| Damage::Insert(at, more)),
        1 => (at.clone(), 1..9usize).prop_map(|(at, count)| Damage::Remove(at, count)),
        1 => at.clone().prop_map(Damage::Cut),
        1 => (at, 1..40usize).prop_map(|(at, count)| Damage::Repeat(at, count)),
    ]
}

fn principal() -> impl Strategy<Value = Principal> {
    let part = || "[a-zA-Z0-9./@$ \\\\\u{e4}-]{0,12}";
    (-130..13i32, vec(part(), 0..4), part()).prop_map(|(name_type, components, realm)| Principal {
        name_type,
        components,
        realm,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn arbitrary_bytes_are_taken_without_a_panic(bytes in vec(any::<u8>(), 0..300)) {
        take(&bytes);
    }

    #[test]
    fn bytes_that_begin_like_a_format_are_taken_without_a_panic(
        head in prop::sample::select(vec![
            &b"NTLMSSP\0\x01\0\0\0"[..], b"NTLMSSP\0\x02\0\0\0", b"NTLMSSP\0\x03\0\0\0", &[5, 2], &[5, 4, 0, 0], &[5, 3],
            &[0x60, 0x40, 6, 6, 0x2b, 6, 1, 5, 5, 2, 0xa0, 0x30, 0x30, 0x2e, 0xa0], &[0xa1, 0x20, 0x30, 0x1e], &[0x6e, 0x30, 0x30],
            &[4, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0], b"Authorization: Negotiate YII", b"WWW-Authenticate: Negotiate, Basic realm=\"",
        ]),
        rest in vec(any::<u8>(), 0..200),
    ) {
        take(&[head, &rest].concat());
    }

    #[test]
    fn answers_to_pings_are_taken_without_a_panic_whatever_their_names(
        opcode in 22..26u16,
        nt_version in prop::sample::select(vec![5u32, 0xd, 0x15, 0x1d]),
        pieces in vec(prop_oneof![
            3 => "[a-z]{1,12}".prop_map(|label| [&[label.len() as u8], label.as_bytes()].concat()),
            2 => Just(vec![0]),
            2 => (0..200u8).prop_map(|at| vec![0xc0, at]),
            1 => vec(any::<u8>(), 1..4),
        ], 0..40),
    ) {
        let mut bytes = [&opcode.to_le_bytes()[..], &[0; 22]].concat();
        bytes.extend(pieces.concat());
        bytes.extend_from_slice(&nt_version.to_le_bytes());
        bytes.extend_from_slice(&[0xff; 4]);
        if let Ok(answer) = NetlogonSamLogonResponseEx::parse(&bytes) {
            prop_assert!(answer.dns_host_name.len() < 256);
            let mut written = Vec::new();
            answer.write(&mut written);
            let again = NetlogonSamLogonResponseEx::parse(&written).unwrap();
            prop_assert_eq!(NetlogonSamLogonResponseEx { nt_version: answer.nt_version, ..again }, answer);
        }
    }

    #[test]
    fn spnego_tokens_that_are_written_are_read(
        mechs in vec(prop::sample::select(vec![MechType::KRB5, MechType::MS_KRB5, MechType::NTLMSSP, MechType::NEGOEX]), 1..64),
        token in option::of(vec(any::<u8>(), 0..300)),
        mic in option::of(vec(any::<u8>(), 0..40)),
        state in option::of(0..4i64),
    ) {
        let mut list = Vec::new();
        MechTypeList::write(&mechs, &mut list);
        let init = NegTokenInit {
            mech_list_mic: mic.as_deref(),
            ..NegTokenInit::new(MechTypeList::parse(&list).unwrap(), token.as_deref())
        };
        let mut out = Vec::new();
        init.write(&mut out);
        prop_assert_eq!(NegotiationToken::parse(&out), Ok(NegotiationToken::Init(init)));
        let resp = NegTokenResp {
            neg_state: state.and_then(NegState::from_number),
            supported_mech: mechs.first().copied().filter(|_| mic.is_some()),
            response_token: token.as_deref(),
            mech_list_mic: mic.as_deref(),
        };
        let mut out = Vec::new();
        resp.write(&mut out);
        prop_assert_eq!(NegotiationToken::parse(&out), Ok(NegotiationToken::Resp(resp)));
    }

    #[test]
    fn damaged_answers_of_a_domain_controller_are_taken_without_a_panic(
        groups in vec(any::<u32>(), 0..40),
        sids in vec(any::<[u32; 5]>(), 0..5),
        name in "[a-zA-Z\u{e4}\u{1f511}]{0,20}",
        damages in vec(damage(), 0..4),
        rest in vec(any::<u8>(), 0..60),
    ) {
        let mut stub = Vec::new();
        let extra_sids: Vec<_> = sids.iter().map(|parts| iwa_wire::Sid::new(5, parts).unwrap()).collect();
        let info = NewLogonInfo {
            effective_name: &name, full_name: &name, logon_server: "DC", logon_domain_name: "EXAMPLE",
            logon_domain_id: iwa_wire::Sid::new(5, &[21, 1, 2, 3]).unwrap(), user_id: 1105, primary_group_id: 513,
            group_ids: &groups, extra_sids: &extra_sids, user_account_control: 0, logon_time: 0, password_last_set: 0,
        };
        NewSamInfo4 { info, user_flags: 0, user_session_key: &[1; 16], dns_logon_domain_name: "example.test", upn: &name }
            .write(&mut stub);
        let read = SamLogon::parse(&stub).unwrap().validation.unwrap();
        prop_assert!(read.info.effective_name.eq_str(&name) && read.upn.eq_str(&name));
        prop_assert_eq!(read.info.groups().count(), groups.len() + sids.len());
        let verifier = Verifier { auth_type: 68, level: 6, pad_length: 0, context_id: 1, value: &[7; 56] };
        let body = Body::Response { alloc_hint: 0, context_id: 0, stub: &stub };
        let pdu = Pdu { flags: PduFlags::WHOLE, call_id: 9, body, verifier: Some(verifier) };
        let mut bytes = Vec::new();
        pdu.write(&mut bytes);
        prop_assert_eq!(Pdu::parse(&bytes), Ok(pdu));
        for bytes in [&mut stub, &mut bytes] {
            damages.iter().for_each(|damage| damage.apply(bytes));
            take_rpc(bytes);
        }
        take_rpc(&rest);
        take_rpc(&[&[5, 0, 2, 3, 0x10, 0, 0, 0], &rest[..]].concat());
    }

    #[test]
    fn header_fields_that_are_written_are_read(token in vec(any::<u8>(), 1..200), realm in "[ -~\u{e4}]{0,30}") {
        let value = header::encode(AuthScheme::Negotiate, &token);
        let mut decoded = Vec::new();
        let header = Authorization::parse([value.as_bytes()], 1 << 16).unwrap().unwrap();
        header.decode(&mut decoded).unwrap();
        prop_assert_eq!(&decoded, &token);
        let both = format!("{value}, {}", iwa_wire::challenge::basic(&realm));
        let challenges = Challenge::parse(both.as_bytes()).unwrap();
        prop_assert_eq!(challenges[0].decode().unwrap(), token);
        prop_assert_eq!(challenges[1].param("realm"), Some(realm.as_str()));
    }

    #[test]
    fn keytabs_and_caches_that_are_written_are_read(
        owner in principal(),
        entries in vec((principal(), any::<u32>(), -200..200i32, vec(any::<u8>(), 0..40)), 0..5),
        times in any::<[u32; 4]>(),
        offset in option::of(any::<(i32, i32)>()),
    ) {
        let (mut keytab, mut cache) = (Vec::new(), Vec::new());
        Keytab::write_head(&mut keytab);
        Ccache::write_head((&owner).into(), offset, &mut cache);
        for (principal, kvno, etype, key) in &entries {
            // Zero in the long form stands for "see the short form".
            Entry { principal: principal.into(), timestamp: times[0], kvno: *kvno, etype: *etype, key }.write(&mut keytab);
            let [authtime, starttime, endtime, renew_till] = times;
            Credential {
                client: (&owner).into(), server: principal.into(), key_etype: *etype, key,
                authtime, starttime, endtime, renew_till, is_skey: *kvno & 1 == 1, ticket_flags: *kvno,
                addresses: TypedList::default(), authdata: TypedList::default(), ticket: key, second_ticket: key,
            }.write(&mut cache);
        }
        let read: Vec<_> = Keytab::parse(&keytab).unwrap().entries()
            .map(|entry| (entry.principal.to_principal().unwrap(), entry.kvno, entry.etype, entry.key.to_vec())).collect();
        prop_assert_eq!(&read, &entries);
        let parsed = Ccache::parse(&cache).unwrap();
        prop_assert_eq!(parsed.principal.to_principal().unwrap(), owner);
        prop_assert_eq!(parsed.time_offset, offset);
        prop_assert_eq!(parsed.credentials().count(), entries.len());
        rewrite::assert_stable("keytab", &keytab, "keytab");
        rewrite::assert_stable("ccache", &cache, "ccache");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3000) })]

    #[test]
    fn damaged_real_messages_are_taken_without_a_panic(
        item in any::<prop::sample::Index>(),
        damages in vec(damage(), 1..5),
    ) {
        let items = ITEMS.get_or_init(|| {
            let all = corpus::load().unwrap_or_default();
            all.into_iter().filter(|item| item.data.len() < 3000).map(|item| item.data).collect()
        });
        if !items.is_empty() {
            let mut bytes = item.get(items).clone();
            damages.iter().for_each(|damage| damage.apply(&mut bytes));
            take(&bytes);
        }
    }
}

static ITEMS: std::sync::OnceLock<Vec<Vec<u8>>> = std::sync::OnceLock::new();
