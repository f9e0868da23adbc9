//! Attacks on a PAC, one test each, and the PACs of the corpus under their keys.

use iwa_testkit::corpus::of_kind;
use iwa_wire::der::Der;
use iwa_wire::krb5::ticket::TransitedEncoding;
use iwa_wire::krb5::{EncryptionKey, KerberosTime, PrincipalName, TicketFlags};
use iwa_wire::pac::{self, Attributes};

use super::super::etype::{Etype, Key};
use super::super::issuer::pac::{Buffers, PacAccount, buffers, sign, verify_ticket_signature};
use super::super::usage;
use super::*;
use crate::reject::Peer;

const AUTHTIME: i64 = 1_760_000_000;

fn checksum_key(etype: Etype, fill: u8) -> ChecksumKey {
    Key::new(etype, &vec![fill; etype.key_size()]).unwrap().checksum(usage::NON_KERBEROS_CHECKSUM)
}

fn service_key() -> ChecksumKey {
    checksum_key(Etype::Aes256CtsHmacSha1, 1)
}

fn krbtgt_key() -> ChecksumKey {
    checksum_key(Etype::Aes256CtsHmacSha384, 2)
}

fn account() -> PacAccount {
    PacAccount {
        name: "Alice".into(),
        display_name: "Alice Example".into(),
        upn: "".into(),
        domain: "EXAMPLE".into(),
        dns_domain: "EXAMPLE.TEST".into(),
        server: "KDC".into(),
        domain_sid: Sid::new(5, &[21, 1, 2, 3]).unwrap(),
        rid: 1000,
        primary_group: 513,
        groups: vec![513, 1105],
        extra_sids: vec![],
        user_account_control: 0x10,
        password_set: UnixTime::from_secs(1_700_000_000),
    }
}

fn ticket<'a>(cname: &'a [&'a str]) -> EncTicketPart<'a> {
    EncTicketPart {
        flags: TicketFlags(0),
        key: EncryptionKey { etype: 18, value: &[0; 32] },
        crealm: "EXAMPLE.TEST".into(),
        cname: PrincipalName::of(1, cname),
        transited: TransitedEncoding::none(),
        authtime: KerberosTime(AUTHTIME),
        starttime: None,
        endtime: KerberosTime(AUTHTIME + 36_000),
        renew_till: None,
        caddr: None,
        authorization_data: None,
    }
}

fn unsigned() -> Buffers {
    buffers(&account(), "alice", UnixTime::from_secs(AUTHTIME), Attributes(1)).unwrap()
}

fn signed(buffers: Buffers) -> Vec<u8> {
    sign(buffers, &service_key(), &krbtgt_key(), Some(b"ticket")).unwrap()
}

/// What a service that knows its own key alone says of a PAC of alice's ticket.
fn outcome(pac: &[u8]) -> Result<Authorization, Reason> {
    verify(Some(pac), &ticket(&["alice"]), &service_key(), &[], PacPolicy::Required).map(|(_, found)| found)
}

fn problem(pac: &[u8]) -> PacProblem {
    match outcome(pac) {
        Err(Reason::Peer(Peer::Pac(problem))) => problem,
        other => panic!("{other:?}"),
    }
}

fn without(kind: BufferType) -> Buffers {
    unsigned().into_iter().filter(|(of, _)| *of != kind).collect()
}

#[test]
fn a_pac_of_the_kdc_says_who_the_client_is() {
    let pac = signed(unsigned());
    let found = outcome(&pac).unwrap();
    let expected = Account {
        name: "Alice".into(),
        domain: "EXAMPLE".into(),
        realm: Some("EXAMPLE.TEST".into()),
        upn: Some("Alice@example.test".into()),
        display_name: Some("Alice Example".into()),
        sid: Some("S-1-5-21-1-2-3-1000".parse().unwrap()),
    };
    assert_eq!(found.account, expected);
    let groups: Vec<_> = found.groups.iter().map(Sid::to_string).collect();
    assert_eq!(groups, ["S-1-5-21-1-2-3-513", "S-1-5-21-1-2-3-1105"]);
    verify(Some(&pac), &ticket(&["alice"]), &service_key(), &[krbtgt_key()], PacPolicy::Required).unwrap();
    verify_ticket_signature(&Pac::parse(&pac, 0).unwrap(), &krbtgt_key(), b"ticket").unwrap();
    assert!(verify_ticket_signature(&Pac::parse(&pac, 0).unwrap(), &krbtgt_key(), b"other").is_err());
}

#[test]
fn every_etype_signs_and_verifies_its_own() {
    for (index, etype) in Etype::ALL.into_iter().enumerate() {
        let (server, kdc) = (checksum_key(etype, 7), checksum_key(Etype::ALL[4 - index], 8));
        let pac = sign(unsigned(), &server, &kdc, None).unwrap();
        verify(Some(&pac), &ticket(&["alice"]), &server, core::slice::from_ref(&kdc), PacPolicy::Required).unwrap();
        let other = checksum_key(etype, 9);
        assert!(verify(Some(&pac), &ticket(&["alice"]), &other, &[], PacPolicy::Required).is_err(), "{etype}");
        assert!(
            verify(Some(&pac), &ticket(&["alice"]), &server, core::slice::from_ref(&other), PacPolicy::Required)
                .is_err()
        );
    }
}

#[test]
fn a_wrong_server_signature_is_refused_whichever_byte_was_changed() {
    let good = signed(unsigned());
    // One byte in each buffer and in each signature, and the filling between them.
    let pac = Pac::parse(&good, 0).unwrap();
    for buffer in pac.buffers() {
        for at in [buffer.at + 4, buffer.at + buffer.data.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            // The KDC signature is not covered by the server's.
            if buffer.kind != BufferType::KDC_SIGNATURE {
                assert!(outcome(&bad).is_err(), "{:?} at {at}", buffer.kind);
            }
        }
    }
    let server = pac.buffer(BufferType::SERVER_SIGNATURE).unwrap().unwrap();
    let mut bad = good.clone();
    bad[server.at + 4] ^= 1;
    assert_eq!(problem(&bad), PacProblem::ServerSignature);
    let group = good.windows(4).position(|w| w == 1105u32.to_le_bytes()).unwrap();
    let mut bad = good.clone();
    bad[group..group + 4].copy_from_slice(&512u32.to_le_bytes());
    assert_eq!(problem(&bad), PacProblem::ServerSignature);
}

#[test]
fn no_pac_under_policy_required_is_refused_and_under_optional_there_are_no_sids() {
    let ticket = ticket(&["alice"]);
    let required = verify(None, &ticket, &service_key(), &[], PacPolicy::Required);
    assert!(matches!(required, Err(Reason::Peer(Peer::Pac(PacProblem::Absent)))));
    let (_, found) = verify(None, &ticket, &service_key(), &[], PacPolicy::Optional).unwrap();
    assert_eq!((found.account.name.as_str(), found.account.domain.as_str()), ("alice", "EXAMPLE.TEST"));
    assert_eq!((found.account.sid, found.groups.len()), (None, 0));
}

#[test]
fn a_silver_ticket_is_told_by_the_kdc_signature_alone() {
    // Whoever stole the service key signs what they like with it, and has no krbtgt key.
    let thief = checksum_key(Etype::Aes256CtsHmacSha384, 66);
    let admin = PacAccount { groups: vec![513, 512], ..account() };
    let buffers = buffers(&admin, "alice", UnixTime::from_secs(AUTHTIME), Attributes(1)).unwrap();
    let forged = sign(buffers, &service_key(), &thief, Some(b"ticket")).unwrap();
    assert!(outcome(&forged).is_ok(), "the service key alone cannot tell");
    let checked = verify(Some(&forged), &ticket(&["alice"]), &service_key(), &[krbtgt_key()], PacPolicy::Required);
    assert!(matches!(checked, Err(Reason::Peer(Peer::Pac(PacProblem::KdcSignature)))));
}

#[test]
fn a_kdc_signature_of_another_type_or_a_wrong_extended_one_is_refused_where_the_key_is_known() {
    let weak = checksum_key(Etype::Rc4Hmac, 2);
    let ticket = ticket(&["alice"]);
    let pac = sign(unsigned(), &service_key(), &weak, None).unwrap();
    assert!(verify(Some(&pac), &ticket, &service_key(), &[krbtgt_key()], PacPolicy::Required).is_err());
    // The extended signature is the only one that the service's key cannot forge over the whole PAC.
    let mut pac = signed(unsigned());
    let full = Pac::parse(&pac, 0).unwrap().buffer(BufferType::FULL_SIGNATURE).unwrap().unwrap().at;
    pac[full + 4] ^= 1;
    let resigned = resign(pac);
    assert!(outcome(&resigned).is_ok());
    let checked = verify(Some(&resigned), &ticket, &service_key(), &[krbtgt_key()], PacPolicy::Required);
    assert!(matches!(checked, Err(Reason::Peer(Peer::Pac(PacProblem::KdcSignature)))));
}

#[test]
fn a_kdc_whose_key_changed_signed_with_either() {
    let key = |fill| checksum_key(Etype::Aes256CtsHmacSha1, fill);
    let ticket = ticket(&["alice"]);
    let before = sign(unsigned(), &service_key(), &key(9), Some(b"ticket")).unwrap();
    let check =
        |pac: &[u8], keys: &[ChecksumKey]| verify(Some(pac), &ticket, &service_key(), keys, PacPolicy::Required);
    for pac in [&before, &signed(unsigned())] {
        check(pac, &[krbtgt_key(), key(9)]).unwrap();
        check(pac, &[key(9), krbtgt_key()]).unwrap();
        assert!(check(pac, &[key(10)]).is_err());
    }
    assert!(check(&before, &[krbtgt_key()]).is_err());
}

/// Makes server and KDC signature anew over a PAC that was changed.
fn resign(mut bytes: Vec<u8>) -> Vec<u8> {
    let parsed = Pac::parse(&bytes, 0).unwrap();
    let server = Found::read(&parsed, BufferType::SERVER_SIGNATURE).unwrap().unwrap();
    let kdc = Found::read(&parsed, BufferType::KDC_SIGNATURE).unwrap().unwrap();
    let value = service_key().compute(&Zeroed::new(&bytes, [Some(server), Some(kdc), None]).parts());
    let of_kdc = krbtgt_key().compute(&[&value]);
    let (server, kdc) = (server.at, kdc.at);
    bytes[server..server + value.len()].copy_from_slice(&value);
    bytes[kdc..kdc + of_kdc.len()].copy_from_slice(&of_kdc);
    bytes
}

#[test]
fn a_client_info_of_another_client_or_another_time_is_refused() {
    let pac = signed(unsigned());
    for cname in [&["bob"][..], &["Alice"], &["alice", "admin"], &["alic"], &["alicee"], &[]] {
        let outcome = verify(Some(&pac), &ticket(cname), &service_key(), &[], PacPolicy::Required);
        assert!(matches!(outcome, Err(Reason::Peer(Peer::Pac(PacProblem::ClientInfo { .. })))), "{cname:?}");
    }
    let later = EncTicketPart { authtime: KerberosTime(AUTHTIME + 1), ..ticket(&["alice"]) };
    let outcome = verify(Some(&pac), &later, &service_key(), &[], PacPolicy::Required);
    assert!(matches!(outcome, Err(Reason::Peer(Peer::Pac(PacProblem::ClientInfo { .. })))));
    assert_eq!(problem(&signed(without(BufferType::CLIENT_INFO))), PacProblem::BufferMissing("PAC_CLIENT_INFO"));
}

#[test]
fn a_client_info_with_the_realm_is_taken_if_it_is_the_tickets_realm() {
    for (name, accepted) in [
        ("alice@EXAMPLE.TEST", true),
        ("alice@OTHER.TEST", false),
        ("alice@EXAMPLE.TESTS", false),
        ("alice@", false),
        ("alice/x", false),
    ] {
        let buffers = buffers(&account(), name, UnixTime::from_secs(AUTHTIME), Attributes(1)).unwrap();
        assert_eq!(outcome(&signed(buffers)).is_ok(), accepted, "{name}");
    }
}

#[test]
fn sids_that_disagree_are_refused() {
    let bob: Sid = "S-1-5-21-1-2-3-1001".parse().unwrap();
    let mut requestor = Vec::new();
    Requestor(bob).write(&mut requestor);
    let mut names = Vec::new();
    UpnDnsInfo::write("alice@example.test", "EXAMPLE.TEST", 0, "alice", &bob, &mut names).unwrap();
    for (kind, data) in [(BufferType::REQUESTOR, requestor), (BufferType::UPN_DNS_INFO, names)] {
        let mut buffers = without(kind);
        buffers.push((kind, data));
        assert_eq!(problem(&signed(buffers)), PacProblem::Sid, "{kind:?}");
    }
}

#[test]
fn an_upn_dns_info_without_a_sid_leaves_the_sid_to_the_logon_information() {
    // As domain controllers before November 2021 write it; the SID is never taken from a name.
    let plain = [0u8, 0, 12, 0, 0, 0, 12, 0, 0, 0, 0, 0].to_vec();
    let mut old = without(BufferType::UPN_DNS_INFO);
    old.push((BufferType::UPN_DNS_INFO, plain.clone()));
    assert_eq!(outcome(&signed(old)).unwrap().account.sid.unwrap().rid(), Some(1000));
    // Without logon information there is no SID at all, and `Required` refuses.
    let mut none = without(BufferType::LOGON_INFO);
    none.retain(|(kind, _)| *kind == BufferType::CLIENT_INFO);
    none.push((BufferType::UPN_DNS_INFO, plain));
    assert_eq!(problem(&signed(none)), PacProblem::BufferMissing("KERB_VALIDATION_INFO"));
}

#[test]
fn duplicate_buffers_are_refused() {
    for kind in [BufferType::LOGON_INFO, BufferType::CLIENT_INFO, BufferType::UPN_DNS_INFO, BufferType::REQUESTOR] {
        let mut twice = unsigned();
        twice.extend(unsigned().into_iter().filter(|(of, _)| *of == kind));
        assert_eq!(problem(&signed(twice)), PacProblem::BufferTwice(kind.name().unwrap()));
    }
    let mut unknown = unsigned();
    unknown.extend([(BufferType(99), vec![1]), (BufferType(99), vec![2])]);
    assert!(matches!(problem(&signed(unknown)), PacProblem::BufferTwice(_)));
    let mut signature = Vec::new();
    Signature::write_zeroed(16, &mut signature).unwrap();
    let mut twice = unsigned();
    twice.push((BufferType::SERVER_SIGNATURE, signature));
    twice.extend([(BufferType::SERVER_SIGNATURE, vec![16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])]);
    assert_eq!(problem(&pac::write(&twice)), PacProblem::BufferTwice("server signature"));
}

#[test]
fn an_rc4_hmac_signature_on_an_aes_ticket_is_refused() {
    // CVE-2022-37967's way: HMAC-MD5 under the bytes of an AES key, which nothing but the type tells apart.
    let md5 = checksum_key(Etype::Rc4Hmac, 1);
    let pac = sign(unsigned(), &md5, &krbtgt_key(), None).unwrap();
    assert_eq!(problem(&pac), PacProblem::SignatureType { found: -138, etype: 18 });
}

#[test]
fn an_unkeyed_or_unknown_signature_is_refused() {
    for kind in [7i32, 1, 14, 0, 12_345] {
        let mut data = kind.to_le_bytes().to_vec();
        data.extend_from_slice(&[0; 16]);
        let mut buffers = unsigned();
        buffers.extend([(BufferType::SERVER_SIGNATURE, data.clone()), (BufferType::KDC_SIGNATURE, data)]);
        assert!(matches!(problem(&pac::write(&buffers)), PacProblem::Malformed(_)), "{kind}");
    }
}

#[test]
fn a_missing_signature_is_refused() {
    let whole = signed(unsigned());
    let parsed = Pac::parse(&whole, 0).unwrap();
    for kind in [BufferType::SERVER_SIGNATURE, BufferType::KDC_SIGNATURE] {
        let kept: Buffers = parsed.buffers().filter(|b| b.kind != kind).map(|b| (b.kind, b.data.to_vec())).collect();
        assert_eq!(problem(&pac::write(&kept)), PacProblem::BufferMissing(kind.name().unwrap()));
    }
}

#[test]
fn a_pac_without_logon_information_counts_as_a_pac_and_gives_no_sids() {
    // What MIT's KDC issues.
    let mut buffers = unsigned();
    buffers.retain(|(kind, _)| *kind == BufferType::CLIENT_INFO);
    let pac = signed(buffers);
    assert_eq!(problem(&pac), PacProblem::BufferMissing("KERB_VALIDATION_INFO"));
    let check = |pac: &[u8]| verify(Some(pac), &ticket(&["alice"]), &service_key(), &[], PacPolicy::Optional);
    let (_, found) = check(&pac).unwrap();
    assert_eq!((found.account.name.as_str(), found.account.sid, found.groups.len()), ("alice", None, 0));
    let mut bad = pac.clone();
    let at = Pac::parse(&pac, 0).unwrap().buffer(BufferType::CLIENT_INFO).unwrap().unwrap().at;
    bad[at + 10] ^= 1;
    assert!(check(&bad).is_err(), "optional does not mean unverified");
}

#[test]
fn groups_that_deny_only_are_not_among_the_groups() {
    let mut buffers = unsigned();
    let (_, info) = &mut buffers[0];
    let at = info.windows(4).position(|w| w == 1105u32.to_le_bytes()).unwrap();
    info[at + 4] = 0x14;
    let found = outcome(&signed(buffers)).unwrap();
    assert_eq!(found.groups.len(), 1);
}

#[test]
fn names_with_control_characters_or_half_characters_are_refused() {
    for name in ["al\0ice", "al\nice", "al\u{1b}ice"] {
        let account = PacAccount { name: name.into(), ..account() };
        let buffers = buffers(&account, "alice", UnixTime::from_secs(AUTHTIME), Attributes(1)).unwrap();
        assert!(matches!(problem(&signed(buffers)), PacProblem::Malformed(_)));
    }
    let mut buffers = unsigned();
    let (_, info) = &mut buffers[0];
    let at = info.windows(4).position(|w| w == [b'A', 0, b'l', 0]).unwrap();
    info[at..at + 2].copy_from_slice(&0xd800u16.to_le_bytes());
    assert!(matches!(problem(&signed(buffers)), PacProblem::Malformed(_)));
}

#[test]
fn tickets_of_the_corpus_and_their_pacs_belong_together() {
    let mut verified = 0;
    for item in of_kind("enc-ticket-part") {
        let name = &item.name;
        // Decrypted with other etypes' rules, some carry filling behind them.
        let part = EncTicketPart::read(&mut Der::new("EncTicketPart", &item.data, 0));
        let part = part.unwrap_or_else(|error| panic!("{name}: {error}"));
        // The reference encodings have filling in the place of authorization data.
        let pac = part.authorization_data.and_then(|data| data.pac().ok().flatten());
        let (Some(pac), Some((etype, key))) = (pac, item.keys("").into_iter().next()) else { continue };
        let key = Key::new(Etype::from_number(etype).unwrap(), &key).unwrap();
        let checksum = key.checksum(usage::NON_KERBEROS_CHECKSUM);
        let check = |part: &EncTicketPart<'_>| verify(Some(pac), part, &checksum, &[], PacPolicy::Optional);
        check(&part).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        let other = ["mallory"];
        assert!(check(&EncTicketPart { cname: PrincipalName::of(1, &other), ..part }).is_err(), "{name}");
        verified += 1;
    }
    assert!(verified >= 8 || of_kind("enc-ticket-part").is_empty(), "{verified}");
}
