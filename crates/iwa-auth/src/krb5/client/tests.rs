//! What a KDC, or whoever sits between, can do to the client.

use iwa_wire::krb5::ap::ApReq;
use iwa_wire::krb5::error::code;
use iwa_wire::krb5::kdc::{Exchange as Which, LastReqEntry};
use iwa_wire::krb5::padata::{EtypeInfo2Entry, pa_type};
use iwa_wire::krb5::ticket::TicketFlags;
use iwa_wire::krb5::{
    Authenticator, Checksum, EncKdcRepPart, EncryptedData, EncryptionKey, KdcRep, KdcReq, KerberosTime, KrbError,
    PaData, SequenceOf, Ticket,
};

use super::*;
use crate::krb5::usage;
use crate::reject::{Malformed, Reason};

const REALM: &str = "EXAMPLE.TEST";
const NOW: i64 = 1_700_000_000;
const ETYPE: Etype = Etype::Aes128CtsHmacSha1;

/// Bytes that are all different, and the same in every run.
struct Counter(u8);

impl crate::env::Entropy for Counter {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), crate::env::EntropyError> {
        for byte in out {
            self.0 = self.0.wrapping_add(1);
            *byte = self.0;
        }
        Ok(())
    }
}

macro_rules! env {
    ($env:ident) => {
        let mut counter = Counter(0);
        #[allow(unused_mut)]
        let mut $env = Env { now: UnixTime::from_secs(NOW), entropy: &mut counter };
    };
}

fn key(fill: u8) -> Key {
    Key::new(ETYPE, &[fill; 16]).unwrap()
}

fn alice() -> Principal {
    Principal::user("alice", REALM)
}

fn http() -> Principal {
    Principal::service("HTTP", "www.example.test", "")
}

fn policy() -> ClientPolicy {
    ClientPolicy { etypes: vec![ETYPE], ..ClientPolicy::default() }
}

/// Alice with the key of ones.
fn client() -> Client {
    Client::new(alice(), LongTerm::Keys(vec![(1, key(1))])).with_policy(policy())
}

fn credential(server: Principal, session: u8) -> Credential {
    let mut ticket = Vec::new();
    let enc_part = EncryptedData { etype: 18, kvno: None, cipher: b"opaque" };
    Ticket::new(server.realm(), server.name(), enc_part).write(&mut ticket);
    Credential {
        client: alice(),
        server,
        key: key(session),
        flags: TicketFlags::FORWARDABLE,
        authtime: KerberosTime(NOW),
        starttime: KerberosTime(NOW),
        endtime: KerberosTime(NOW + 36_000),
        renew_till: None,
        ticket,
        clock_offset: 0,
    }
}

/// Alice with a TGT whose session key is of twos.
fn client_with_tgt() -> Client {
    Client::new(alice(), LongTerm::None)
        .with_policy(policy())
        .with_credentials(vec![credential(Principal::krbtgt(REALM, REALM), 2)])
}

/// A KDC's answer, of which a test changes what it likes.
struct Answer {
    exchange: Which,
    key: Key,
    usage: u32,
    nonce: u32,
    client: Principal,
    /// As the encrypted part says.
    server: Principal,
    /// As the label of the ticket says.
    label: Principal,
    session: Key,
    flags: TicketFlags,
    starttime: i64,
    signed: Option<Vec<u8>>,
    /// The ticket itself, where one looks into it.
    ticket: Option<Vec<u8>>,
}

impl Answer {
    /// The right answer to a request.
    fn to(need: &NeedKdc) -> Self {
        let request = KdcReq::parse(need.request()).unwrap();
        let body = request.req_body;
        let server = body.sname.unwrap().to_principal(body.realm).unwrap();
        let (key, usage) = match request.exchange {
            Which::As => (key(1), usage::AS_REP),
            Which::Tgs => (subkey(need), usage::TGS_REP_SUBKEY),
        };
        Self {
            exchange: request.exchange,
            key,
            usage,
            nonce: body.nonce,
            client: alice(),
            label: server.clone(),
            server,
            session: super::tests::key(9),
            flags: TicketFlags::FORWARDABLE,
            starttime: NOW,
            signed: None,
            ticket: None,
        }
    }

    fn for_server(self, server: Principal) -> Self {
        Self { label: server.clone(), server, ..self }
    }

    fn bytes(&self) -> Vec<u8> {
        let Self { exchange, key, client, server, label, session, .. } = self;
        let mut signature = Vec::new();
        let mut padata = Vec::new();
        let mut flags = self.flags;
        if let Some(signed) = &self.signed {
            let checksum = key.checksum(usage::AS_REQ_CHECKSUM).compute(&[signed]);
            Checksum { cksumtype: key.etype().checksum_type(), checksum: &checksum }.write(&mut signature);
            padata.push(PaData { padata_type: pa_type::REQ_ENC_PA_REP, padata_value: &signature });
            flags = flags.with(TicketFlags::ENC_PA_REP);
        }
        let last_req = [LastReqEntry { lr_type: 0, lr_value: KerberosTime(NOW) }];
        let part = EncKdcRepPart {
            exchange: *exchange,
            key: EncryptionKey { etype: session.etype().number(), value: session.expose() },
            last_req: SequenceOf::of(&last_req),
            nonce: self.nonce,
            key_expiration: None,
            flags,
            authtime: KerberosTime(self.starttime),
            starttime: None,
            endtime: KerberosTime(self.starttime + 36_000),
            renew_till: None,
            srealm: server.realm(),
            sname: server.name(),
            caddr: None,
            encrypted_pa_data: (!padata.is_empty()).then_some(SequenceOf::of(&padata)),
        };
        let (mut plain, mut cipher, mut out) = (Vec::new(), Vec::new(), Vec::new());
        part.write(&mut plain);
        key.encrypt(self.usage, &plain, &mut Counter(100), &mut cipher).unwrap();
        let opaque = EncryptedData { etype: 18, kvno: None, cipher: b"opaque" };
        KdcRep {
            exchange: *exchange,
            padata: None,
            crealm: client.realm(),
            cname: client.name(),
            ticket: match &self.ticket {
                Some(ticket) => Ticket::parse(ticket).unwrap(),
                None => Ticket::new(label.realm(), label.name(), opaque),
            },
            enc_part: EncryptedData { etype: key.etype().number(), kvno: None, cipher: &cipher },
        }
        .write(&mut out);
        out
    }
}

/// The subkey of a TGS-REQ, as a KDC finds it: the session key of every TGT here is of twos or nines.
fn subkey(need: &NeedKdc) -> Key {
    let request = KdcReq::parse(need.request()).unwrap();
    let data = request.padata.unwrap().iter().find(|data| data.padata_type == pa_type::TGS_REQ).unwrap();
    let ap_req = ApReq::parse(data.padata_value).unwrap();
    let mut scratch = Vec::new();
    let session = [2, 9].map(key);
    let cipher = ap_req.authenticator.cipher;
    let session =
        session.iter().find(|key| key.decrypt(usage::TGS_REQ_AUTHENTICATOR, cipher, &mut scratch).is_ok()).unwrap();
    let plain = session.decrypt(usage::TGS_REQ_AUTHENTICATOR, cipher, &mut scratch).unwrap();
    let authenticator = Authenticator::parse(plain).unwrap();
    // Whatever else: the body is what the client signed.
    let signature = authenticator.cksum.unwrap();
    session.checksum(usage::TGS_REQ_CHECKSUM).verify(&[request.req_body.raw], signature.checksum).unwrap();
    let subkey = authenticator.subkey.unwrap();
    Key::new(Etype::from_number(subkey.etype).unwrap(), subkey.value).unwrap()
}

fn error(code: i32, stime: i64, crealm: Option<&str>, e_data: Option<&[u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    KrbError {
        ctime: None,
        cusec: None,
        stime: KerberosTime(stime),
        susec: 0,
        error_code: code,
        crealm: crealm.map(Into::into),
        cname: None,
        realm: REALM.into(),
        sname: iwa_wire::krb5::PrincipalName::of(2, &["krbtgt", REALM]),
        e_text: None,
        e_data,
    }
    .write(&mut out);
    out
}

fn preauth_required(etype: i32, params: Option<&[u8]>, method: i32) -> Vec<u8> {
    let (mut info, mut methods) = (Vec::new(), Vec::new());
    let entry = [EtypeInfo2Entry { etype, salt: Some("salt".into()), s2kparams: params }];
    SequenceOf::of(&entry).write(&mut info);
    let list = [
        PaData { padata_type: pa_type::ETYPE_INFO2, padata_value: &info },
        PaData { padata_type: method, padata_value: &[] },
        PaData { padata_type: pa_type::FX_COOKIE, padata_value: b"cookie" },
    ];
    SequenceOf::of(&list).write(&mut methods);
    error(code::KDC_ERR_PREAUTH_REQUIRED, NOW, None, Some(&methods))
}

fn need(step: Result<Step, Reject>) -> NeedKdc {
    match step {
        Ok(Step::NeedKdc(need)) => need,
        other => panic!("{other:?}"),
    }
}

fn ticket(step: Result<Step, Reject>) -> ServiceTicket {
    match step {
        Ok(Step::Ticket(ticket)) => ticket,
        other => panic!("{other:?}"),
    }
}

fn said(step: Result<Step, Reject>) -> String {
    match step.map_err(|reject| reject.reason) {
        Err(Reason::Peer(Peer::KdcReply { what })) => what,
        other => panic!("{other:?}"),
    }
}

fn refused_with(step: Result<Step, Reject>) -> i32 {
    match step.map_err(|reject| reject.reason) {
        Err(Reason::Peer(Peer::KdcError { code, .. })) => code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn from_a_key_to_a_ticket() {
    env!(env);
    let first = need(client().ticket(&http(), Delegation::No, &mut env));
    assert_eq!(first.realm(), REALM);
    let second = need(first.answer(&preauth_required(17, None, pa_type::ENC_TIMESTAMP), &mut env));
    let request = KdcReq::parse(second.request()).unwrap();
    let types: Vec<i32> = request.padata.unwrap().iter().map(|data| data.padata_type).collect();
    assert_eq!(types, [pa_type::FX_COOKIE, pa_type::ENC_TIMESTAMP, pa_type::REQ_ENC_PA_REP]);
    let answer = Answer { signed: Some(second.request().to_vec()), ..Answer::to(&second) };
    let third = need(second.answer(&answer.bytes(), &mut env));
    let answer = Answer::to(&third).bytes();
    let ticket = ticket(third.answer(&answer, &mut env));
    assert_eq!(ticket.service.server, Principal { realm: REALM.to_owned(), ..http() });
    assert_eq!(ticket.new.len(), 2);
}

#[test]
fn the_name_of_a_ticket_is_taken_from_where_it_is_protected() {
    // Orpheus' Lyre, CVE-2017-11103: the label is anybody's to write.
    env!(env);
    let other = Principal::service("HTTP", "other.example.test", REALM);
    for (server, label) in
        [(None, Some(other.clone())), (Some(other.clone()), None), (Some(other.clone()), Some(other))]
    {
        let question = need(client_with_tgt().ticket(&http(), Delegation::No, &mut env));
        let mut answer = Answer::to(&question);
        answer.server = server.unwrap_or(answer.server);
        answer.label = label.unwrap_or(answer.label);
        said(question.answer(&answer.bytes(), &mut env));
    }
    // Another realm on the label, and in the encrypted part.
    let question = need(client_with_tgt().ticket(&http(), Delegation::No, &mut env));
    let mut answer = Answer::to(&question);
    answer.label.realm = "OTHER.TEST".to_owned();
    said(question.answer(&answer.bytes(), &mut env));
    let question = need(client_with_tgt().ticket(&http(), Delegation::No, &mut env));
    let mut answer = Answer::to(&question);
    answer.server.realm = "OTHER.TEST".to_owned();
    answer.label.realm = "OTHER.TEST".to_owned();
    said(question.answer(&answer.bytes(), &mut env));
}

#[test]
fn an_old_answer_is_refused() {
    env!(env);
    let question = need(client_with_tgt().ticket(&http(), Delegation::No, &mut env));
    let answer = Answer { nonce: 7, ..Answer::to(&question) };
    assert!(said(question.answer(&answer.bytes(), &mut env)).contains("nonce"));
    let question = need(client().ticket(&http(), Delegation::No, &mut env));
    let answer = Answer { nonce: 7, ..Answer::to(&question) };
    assert!(said(question.answer(&answer.bytes(), &mut env)).contains("nonce"));
}

#[test]
fn a_ticket_of_another_client_is_refused() {
    env!(env);
    for other in [Principal::user("mallory", REALM), Principal::user("alice", "OTHER.TEST")] {
        let question = need(client_with_tgt().ticket(&http(), Delegation::No, &mut env));
        let answer = Answer { client: other, ..Answer::to(&question) };
        said(question.answer(&answer.bytes(), &mut env));
    }
    let question = need(client().ticket(&http(), Delegation::No, &mut env));
    let answer = Answer { client: Principal::user("alice", "OTHER.TEST"), ..Answer::to(&question) };
    said(question.answer(&answer.bytes(), &mut env));
}

#[test]
fn an_answer_under_another_key_is_refused() {
    env!(env);
    let question = need(client_with_tgt().ticket(&http(), Delegation::No, &mut env));
    let answer = Answer { key: key(77), ..Answer::to(&question) };
    said(question.answer(&answer.bytes(), &mut env));
    // Under the session key, as old KDCs do, it is taken; under the right key for another use it is not.
    let question = need(client_with_tgt().ticket(&http(), Delegation::No, &mut env));
    let answer = Answer { key: key(2), usage: usage::TGS_REP_SUBKEY, ..Answer::to(&question) };
    said(question.answer(&answer.bytes(), &mut env));
    let question = need(client_with_tgt().ticket(&http(), Delegation::No, &mut env));
    let answer = Answer { key: key(2), usage: usage::TGS_REP_SESSION, ..Answer::to(&question) };
    ticket(question.answer(&answer.bytes(), &mut env));
    let question = need(client().ticket(&http(), Delegation::No, &mut env));
    let answer = Answer { key: key(77), ..Answer::to(&question) };
    assert!(said(question.answer(&answer.bytes(), &mut env)).contains("password"));
}

#[test]
fn an_encryption_type_that_was_not_asked_for_is_refused() {
    env!(env);
    for weak in [Key::new(Etype::Rc4Hmac, &[1; 16]).unwrap(), Key::new(Etype::Aes256CtsHmacSha1, &[1; 32]).unwrap()] {
        let question = need(client_with_tgt().ticket(&http(), Delegation::No, &mut env));
        let answer = Answer { session: weak.clone(), ..Answer::to(&question) };
        assert!(said(question.answer(&answer.bytes(), &mut env)).contains("session key"));
        let question = need(client().ticket(&http(), Delegation::No, &mut env));
        let answer = Answer { key: weak.clone(), ..Answer::to(&question) };
        said(question.answer(&answer.bytes(), &mut env));
        let question = need(client().ticket(&http(), Delegation::No, &mut env));
        said(question.answer(&preauth_required(weak.etype().number(), None, pa_type::ENC_TIMESTAMP), &mut env));
    }
}

#[test]
fn a_request_that_was_changed_on_the_way_is_found_out() {
    env!(env);
    let question = need(client().ticket(&http(), Delegation::No, &mut env));
    let mut changed = question.request().to_vec();
    *changed.last_mut().unwrap() ^= 1;
    let answer = Answer { signed: Some(changed), ..Answer::to(&question) };
    assert!(said(question.answer(&answer.bytes(), &mut env)).contains("changed"));
    // The flag without the checksum.
    let question = need(client().ticket(&http(), Delegation::No, &mut env));
    let answer = Answer { flags: TicketFlags::ENC_PA_REP, ..Answer::to(&question) };
    assert!(said(question.answer(&answer.bytes(), &mut env)).contains("changed"));
}

#[test]
fn an_as_rep_that_is_no_tgt_is_refused() {
    env!(env);
    for server in [http(), Principal::krbtgt("OTHER.TEST", REALM), Principal::service("kadmin", "changepw", REALM)] {
        let question = need(client().ticket(&http(), Delegation::No, &mut env));
        let answer = Answer::to(&question).for_server(Principal { realm: REALM.to_owned(), ..server });
        said(question.answer(&answer.bytes(), &mut env));
    }
}

#[test]
fn a_key_that_costs_too_much_or_too_little_is_not_made() {
    env!(env);
    let password = LongTerm::Password(Secret::new("x".to_owned()));
    for params in [&[0, 0, 0, 0][..], &[0xff; 4], &[0, 0, 16], &[0, 0, 0, 1]] {
        let client = Client::new(alice(), password.clone()).with_policy(policy());
        let question = need(client.ticket(&http(), Delegation::No, &mut env));
        said(question.answer(&preauth_required(17, Some(params), pa_type::ENC_TIMESTAMP), &mut env));
    }
}

#[test]
fn a_kdc_that_is_never_content_is_left() {
    env!(env);
    let required = preauth_required(17, None, pa_type::ENC_TIMESTAMP);
    let question = need(client().ticket(&http(), Delegation::No, &mut env));
    let question = need(question.answer(&required, &mut env));
    assert_eq!(refused_with(question.answer(&required, &mut env)), code::KDC_ERR_PREAUTH_REQUIRED);
    let question = need(client().ticket(&http(), Delegation::No, &mut env));
    assert!(said(question.answer(&preauth_required(17, None, pa_type::PK_AS_REQ), &mut env)).contains("PA-PK-AS-REQ"));
    let question = need(client().ticket(&http(), Delegation::No, &mut env));
    let failed = error(code::KDC_ERR_PREAUTH_FAILED, NOW, None, None);
    assert_eq!(refused_with(question.answer(&failed, &mut env)), code::KDC_ERR_PREAUTH_FAILED);
}

#[test]
fn a_clock_is_followed_once_and_not_to_the_end_of_days() {
    env!(env);
    for client in [client(), client_with_tgt()] {
        let skew = |by: i64| error(code::KRB_AP_ERR_SKEW, NOW + by, None, None);
        let question = need(client.ticket(&http(), Delegation::No, &mut env));
        let question = need(question.answer(&skew(3600), &mut env));
        assert_eq!(refused_with(question.answer(&skew(7200), &mut env)), code::KRB_AP_ERR_SKEW);
        for far in [0, 86_400 * 30, -86_400 * 30, i64::MAX - NOW] {
            let question = need(client.ticket(&http(), Delegation::No, &mut env));
            assert_eq!(refused_with(question.answer(&skew(far.min(200_000_000_000)), &mut env)), code::KRB_AP_ERR_SKEW);
        }
    }
}

#[test]
fn the_clock_of_a_protected_answer_holds() {
    env!(env);
    for (ahead, offset) in [(0, 0), (200, 0), (7200, 7200), (-7200, -7200)] {
        let question = need(client().ticket(&http(), Delegation::No, &mut env));
        let answer = Answer { starttime: NOW + ahead, ..Answer::to(&question) };
        let question = need(question.answer(&answer.bytes(), &mut env));
        let answer = Answer { starttime: NOW + ahead, ..Answer::to(&question) }.bytes();
        assert_eq!(ticket(question.answer(&answer, &mut env)).service.clock_offset, offset);
    }
}

#[test]
fn the_client_of_another_realm_is_asked_there_and_not_in_a_circle() {
    env!(env);
    let wrong = |realm: Option<&str>| error(code::KDC_ERR_WRONG_REALM, NOW, realm, None);
    let question = need(client().ticket(&http(), Delegation::No, &mut env));
    let question = need(question.answer(&wrong(Some("OTHER.TEST")), &mut env));
    assert_eq!(question.realm(), "OTHER.TEST");
    let question = need(question.answer(&wrong(Some("THIRD.TEST")), &mut env));
    assert_eq!(refused_with(question.answer(&wrong(Some(REALM)), &mut env)), code::KDC_ERR_WRONG_REALM);
    for realm in [None, Some(""), Some(REALM)] {
        let question = need(client().ticket(&http(), Delegation::No, &mut env));
        assert_eq!(refused_with(question.answer(&wrong(realm), &mut env)), code::KDC_ERR_WRONG_REALM);
    }
    let mut question = need(client().ticket(&http(), Delegation::No, &mut env));
    for hop in 0.. {
        match question.answer(&wrong(Some(&format!("R{hop}.TEST"))), &mut env) {
            Ok(Step::NeedKdc(next)) => question = next,
            other => {
                said(other);
                assert_eq!(hop, REALMS_LIMIT);
                break;
            }
        }
    }
}

#[test]
fn referrals_lead_to_the_service_and_not_in_a_circle() {
    env!(env);
    let question = need(client_with_tgt().ticket(&http(), Delegation::No, &mut env));
    let answer = Answer::to(&question).for_server(Principal::krbtgt("OTHER.TEST", REALM)).bytes();
    let question = need(question.answer(&answer, &mut env));
    assert_eq!(question.realm(), "OTHER.TEST");
    let answer = Answer::to(&question).bytes();
    let found = ticket(question.answer(&answer, &mut env));
    assert_eq!(found.service.server.realm, "OTHER.TEST");

    let question = need(client_with_tgt().ticket(&http(), Delegation::No, &mut env));
    let answer = Answer::to(&question).for_server(Principal::krbtgt("OTHER.TEST", REALM)).bytes();
    let question = need(question.answer(&answer, &mut env));
    let answer = Answer::to(&question).for_server(Principal::krbtgt(REALM, "OTHER.TEST")).bytes();
    assert!(said(question.answer(&answer, &mut env)).contains("circle"));

    let mut question = need(client_with_tgt().ticket(&http(), Delegation::No, &mut env));
    for hop in 0.. {
        let realm = question.realm().to_owned();
        let answer = Answer::to(&question).for_server(Principal::krbtgt(&format!("R{hop}.TEST"), &realm)).bytes();
        match question.answer(&answer, &mut env) {
            Ok(Step::NeedKdc(next)) => question = next,
            other => {
                said(other);
                assert_eq!(hop + 1, REALMS_LIMIT);
                break;
            }
        }
    }
}

#[test]
fn a_forwarded_tgt_is_done_without_where_the_kdc_gives_none() {
    let ask = |env: &mut Env<'_>| {
        let question = need(client_with_tgt().ticket(&http(), Delegation::Always, env));
        let answer = Answer::to(&question).bytes();
        need(question.answer(&answer, env))
    };
    env!(env);
    let question = ask(&mut env);
    let answer = Answer { flags: TicketFlags::FORWARDED, ..Answer::to(&question) }.bytes();
    assert!(ticket(question.answer(&answer, &mut env)).forwarded.is_some());
    let question = ask(&mut env);
    let answer = Answer::to(&question).bytes();
    assert!(ticket(question.answer(&answer, &mut env)).forwarded.is_none(), "not marked as forwarded");
    let question = ask(&mut env);
    let refusal = error(code::KDC_ERR_BADOPTION, NOW, None, None);
    assert!(ticket(question.answer(&refusal, &mut env)).forwarded.is_none());
    assert!(ticket(ask(&mut env).unanswered("silence".to_owned())).forwarded.is_none());
    let question = need(client_with_tgt().ticket(&http(), Delegation::Always, &mut env));
    assert!(question.unanswered("silence".to_owned()).is_err());
}

#[test]
fn a_ticket_at_hand_is_used_while_it_lives() {
    env!(env);
    let service = credential(Principal { realm: REALM.to_owned(), ..http() }, 3);
    let with = |service: Credential| Client::new(alice(), LongTerm::None).with_credentials(vec![service]);
    assert!(matches!(with(service.clone()).ticket(&http(), Delegation::No, &mut env), Ok(Step::Ticket(_))));
    for dead in [
        Credential { endtime: KerberosTime(NOW + 30), ..service.clone() },
        Credential { starttime: KerberosTime(NOW + 3600), ..service.clone() },
        Credential { flags: TicketFlags::INVALID, ..service.clone() },
        Credential { client: Principal::user("bob", REALM), ..service.clone() },
        Credential { server: Principal::service("HTTP", "other.example.test", REALM), ..service },
    ] {
        let why = with(dead).ticket(&http(), Delegation::No, &mut env).unwrap_err();
        assert!(matches!(why.reason, Reason::Policy(Policy::NoCredential { .. })), "{why}");
    }
}

#[test]
fn answers_of_another_kind_and_cut_answers_are_refused() {
    env!(env);
    let ask = |env: &mut Env<'_>| need(client_with_tgt().ticket(&http(), Delegation::No, env));
    let question = need(client().ticket(&http(), Delegation::No, &mut env));
    let as_rep = Answer::to(&question).bytes();
    for other in [&as_rep[..], &[], b"\x6e\x00", b"HTTP/1.1 400"] {
        let why = ask(&mut env).answer(other, &mut env).unwrap_err();
        assert!(matches!(why.reason, Reason::Malformed(Malformed::Token(_))), "{why}");
    }
    let whole = Answer::to(&ask(&mut env)).bytes();
    for cut in 0..whole.len() {
        assert!(ask(&mut env).answer(&whole[..cut], &mut env).is_err(), "cut at {cut}");
    }
}

#[test]
fn the_realm_of_a_service_may_be_told() {
    env!(env);
    for (told, realm) in [("", ""), ("OTHER.TEST", ""), ("", "OTHER.TEST"), ("THIRD.TEST", "OTHER.TEST")] {
        let client = client_with_tgt().with_policy(ClientPolicy { service_realm: told.to_owned(), ..policy() });
        let service = Principal { realm: realm.to_owned(), ..http() };
        let question = need(client.ticket(&service, Delegation::No, &mut env));
        let asked = KdcReq::parse(question.request()).unwrap().req_body.sname.unwrap().to_string();
        let other = told.is_empty() && realm.is_empty();
        assert_eq!(asked, if other { "HTTP/www.example.test" } else { "krbtgt/OTHER.TEST" });
    }
}

#[test]
fn a_service_that_nobody_refers_to_is_looked_for_in_the_realm_of_its_domain() {
    env!(env);
    let unknown = error(code::KDC_ERR_S_PRINCIPAL_UNKNOWN, NOW, None, None);
    let asked = |need: &NeedKdc| KdcReq::parse(need.request()).unwrap().req_body.sname.unwrap().to_string();
    let begun = |fallback: &str, env: &mut Env<'_>| {
        let policy = ClientPolicy { fallback_realm: fallback.to_owned(), ..policy() };
        need(client_with_tgt().with_policy(policy).ticket(&http(), Delegation::No, env))
    };
    let question = begun("OTHER.TEST", &mut env);
    assert_eq!(asked(&question), "HTTP/www.example.test");
    let question = need(question.answer(&unknown, &mut env));
    assert_eq!((question.realm(), asked(&question).as_str()), (REALM, "krbtgt/OTHER.TEST"));
    let answer = Answer::to(&question).bytes();
    let question = need(question.answer(&answer, &mut env));
    assert_eq!((question.realm(), asked(&question).as_str()), ("OTHER.TEST", "HTTP/www.example.test"));
    // What is told in the end is what the client's own KDC said of the service.
    let question = need(begun("OTHER.TEST", &mut env).answer(&unknown, &mut env));
    let elsewhere = error(code::KDC_ERR_POLICY, NOW, None, None);
    assert_eq!(refused_with(question.answer(&elsewhere, &mut env)), code::KDC_ERR_S_PRINCIPAL_UNKNOWN);
    // Without another realm, and for another reason, nothing is tried.
    for (fallback, why) in [("", &unknown), (REALM, &unknown), ("OTHER.TEST", &elsewhere)] {
        refused_with(begun(fallback, &mut env).answer(why, &mut env));
    }
}

mod on_behalf;
