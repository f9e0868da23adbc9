//! S4U2Self and S4U2Proxy: what goes out, and every lie of the answer.

use iwa_wire::krb5::EncTicketPart;
use iwa_wire::krb5::kdc::kdc_options;
use iwa_wire::krb5::padata::{PaForUser, PaPacOptions};

use super::*;
use crate::krb5::client::on_behalf::pa_for_user;

/// The gateway's account, with the key of ones and a TGT whose session key is of twos.
fn gateway() -> Client {
    Client::new(own(), LongTerm::Keys(vec![(1, key(1))]))
        .with_policy(policy())
        .with_credentials(vec![Credential { client: own(), ..credential(Principal::krbtgt(REALM, REALM), 2) }])
}

fn own() -> Principal {
    Principal::user("svc-web", REALM)
}

fn backend() -> Principal {
    Principal::service("HTTP", "backend.example.test", REALM)
}

/// A ticket for the gateway under a key, as a KDC makes it.
fn ticket_inside(client: &Principal, flags: TicketFlags, sealed: &Key) -> Vec<u8> {
    let part = EncTicketPart {
        flags,
        key: EncryptionKey { etype: 17, value: &[9; 16] },
        crealm: client.realm(),
        cname: client.name(),
        transited: iwa_wire::krb5::ticket::TransitedEncoding { tr_type: 1, contents: &[] },
        authtime: KerberosTime(NOW),
        starttime: None,
        endtime: KerberosTime(NOW + 36_000),
        renew_till: None,
        caddr: None,
        authorization_data: None,
    };
    let (mut plain, mut cipher, mut out) = (Vec::new(), Vec::new(), Vec::new());
    part.write(&mut plain);
    sealed.encrypt(usage::TICKET, &plain, &mut Counter(50), &mut cipher).unwrap();
    let own = own();
    let enc_part = EncryptedData { etype: sealed.etype().number(), kvno: Some(1), cipher: &cipher };
    Ticket::new(own.realm(), own.name(), enc_part).write(&mut out);
    out
}

/// What the KDC does right, unless a test says otherwise.
struct SelfAnswer {
    outside: Principal,
    inside: Principal,
    flags: TicketFlags,
    sealed: Key,
}

impl Default for SelfAnswer {
    fn default() -> Self {
        Self { outside: alice(), inside: alice(), flags: TicketFlags::FORWARDABLE, sealed: key(1) }
    }
}

impl SelfAnswer {
    fn to(self, question: NeedKdc) -> Result<Step, Reject> {
        env!(env);
        let ticket = ticket_inside(&self.inside, self.flags, &self.sealed);
        let answer = Answer { client: self.outside, ticket: Some(ticket), ..Answer::to(&question) };
        let bytes = answer.bytes();
        question.answer(&bytes, &mut env)
    }
}

fn for_alice() -> NeedKdc {
    env!(env);
    need(gateway().for_user(&alice(), &mut env))
}

fn evidence(flags: TicketFlags) -> Evidence {
    let question = for_alice();
    ticket(SelfAnswer { flags, ..SelfAnswer::default() }.to(question)).evidence.unwrap()
}

fn for_backend(evidence: &Evidence) -> NeedKdc {
    env!(env);
    need(gateway().on_behalf(evidence, &backend(), false, &mut env))
}

fn why_not(step: Result<Step, Reject>) -> String {
    match step.map_err(|reject| reject.reason) {
        Err(Reason::Policy(Policy::Delegation { why })) => why,
        other => panic!("{other:?}"),
    }
}

/// Made with Python's `hmac` and `hashlib` after MS-SFU 2.2.1 and RFC 4757 4, which is not our code:
/// `HMAC-MD5(HMAC-MD5(K, "signaturekey\0"), MD5(17 | 1 | "alice" | "EXAMPLE.TEST" | "Kerberos"))`, numbers in four bytes, little-endian.
const PA_FOR_USER: [(Etype, &str); 3] = [
    (Etype::Aes256CtsHmacSha1, "d2ae9a50f9388428de87bba3f89990e8"),
    (Etype::Aes128CtsHmacSha1, "f626dc1a4f1ad56ad928c3367dab026e"),
    (Etype::Rc4Hmac, "f626dc1a4f1ad56ad928c3367dab026e"),
];

#[test]
fn the_checksum_of_pa_for_user_is_hmac_md5_whatever_the_key() {
    for (etype, wanted) in PA_FOR_USER {
        let bytes: Vec<u8> = (0..etype.key_size() as u8).collect();
        let mut out = Vec::new();
        pa_for_user(&alice(), &Key::new(etype, &bytes).unwrap(), &mut out);
        let read = PaForUser::parse(&out).unwrap();
        let hex: String = read.cksum.checksum.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!((read.cksum.cksumtype, hex.as_str()), (-138, wanted), "{etype}");
        assert_eq!(read.user_name.to_principal(read.user_realm).unwrap(), alice());
        assert_eq!(read.auth_package.as_str(), Some("Kerberos"));
    }
}

#[test]
fn a_user_who_is_not_here_gets_a_ticket_for_us_and_with_it_one_for_the_service() {
    let question = for_alice();
    let request = KdcReq::parse(question.request()).unwrap();
    assert_eq!(request.req_body.sname.unwrap().to_principal(request.req_body.realm).unwrap(), own());
    let types: Vec<i32> = request.padata.unwrap().iter().map(|data| data.padata_type).collect();
    assert_eq!(types, [pa_type::TGS_REQ, pa_type::FOR_USER]);
    let evidence = ticket(SelfAnswer::default().to(question)).evidence.unwrap();
    assert_eq!((evidence.client(), evidence.is_forwardable()), (&alice(), true));

    env!(env);
    let question = for_backend(&evidence);
    let request = KdcReq::parse(question.request()).unwrap();
    assert_ne!(request.req_body.kdc_options & kdc_options::CNAME_IN_ADDL_TKT, 0);
    assert_eq!(request.req_body.additional_tickets.unwrap().iter().next().unwrap().raw(), evidence.ticket());
    let padata = request.padata.unwrap().iter().find(|data| data.padata_type == pa_type::PAC_OPTIONS).unwrap();
    assert_eq!(PaPacOptions::parse(padata.padata_value).unwrap().flags, 0x1000_0000);
    let answer = Answer::to(&question).bytes();
    let ticket = ticket(question.answer(&answer, &mut env));
    assert_eq!((&ticket.service.client, &ticket.service.server), (&alice(), &backend()));
    // Nothing of another is among what the account may use as its own.
    assert!(ticket.new.is_empty() && ticket.forwarded.is_none());
}

#[test]
fn without_a_tgt_the_account_gets_one_first() {
    env!(env);
    let client = Client::new(own(), LongTerm::Keys(vec![(1, key(1))])).with_policy(policy());
    let question = need(client.for_user(&alice(), &mut env));
    assert_eq!(KdcReq::parse(question.request()).unwrap().exchange, Which::As);
    let answer = Answer { client: own(), signed: Some(question.request().to_vec()), ..Answer::to(&question) };
    let question = need(question.answer(&answer.bytes(), &mut env));
    let found = ticket(SelfAnswer::default().to(question));
    assert!(found.evidence.is_some() && found.new.len() == 1, "{found:?}");
}

#[test]
fn a_ticket_that_is_not_forwardable_is_refused_and_the_kdc_is_not_asked() {
    env!(env);
    let evidence = evidence(TicketFlags(0));
    assert!(!evidence.is_forwardable());
    let why = why_not(gateway().on_behalf(&evidence, &backend(), false, &mut env));
    assert!(why.contains("alice@EXAMPLE.TEST is not forwardable"), "{why}");
    // Unless the service's owner decides, which only the KDC knows.
    need(gateway().on_behalf(&evidence, &backend(), true, &mut env));
}

#[test]
fn what_the_ticket_says_inside_counts_and_not_the_flags_beside_it() {
    let question = for_alice();
    let found = ticket(SelfAnswer { flags: TicketFlags(0), ..SelfAnswer::default() }.to(question));
    assert!(found.service.flags.contains(TicketFlags::FORWARDABLE), "the outside lies");
    assert!(!found.evidence.unwrap().is_forwardable());
}

#[test]
fn our_own_ticket_under_the_users_name_is_refused() {
    // PA-FOR-USER was taken out of our question on the way, and the name outside of the answer changed.
    for inside in [own(), Principal::user("mallory", REALM), Principal::user("alice", "OTHER.TEST")] {
        let question = for_alice();
        let said = said(SelfAnswer { inside, ..SelfAnswer::default() }.to(question));
        assert!(said.contains("is inside of"), "{said}");
    }
    let question = for_alice();
    let why = why_not(SelfAnswer { sealed: key(77), ..SelfAnswer::default() }.to(question));
    assert!(why.contains("none of our keys opens it"), "{why}");
}

#[test]
fn a_ticket_of_another_than_was_asked_for_is_refused() {
    for outside in [own(), Principal::user("mallory", REALM), Principal::user("alice", "OTHER.TEST")] {
        let question = for_alice();
        said(SelfAnswer { outside: outside.clone(), ..SelfAnswer::default() }.to(question));
        env!(env);
        let question = for_backend(&evidence(TicketFlags::FORWARDABLE));
        let answer = Answer { client: outside, ..Answer::to(&question) };
        said(question.answer(&answer.bytes(), &mut env));
    }
    // A KDC that knows nothing of S4U answers for the account itself.
    env!(env);
    let question = for_backend(&evidence(TicketFlags::FORWARDABLE));
    let answer = Answer { client: own(), ..Answer::to(&question) };
    said(question.answer(&answer.bytes(), &mut env));
}

#[test]
fn a_ticket_for_another_service_is_refused() {
    for other in [own(), Principal::service("cifs", "backend.example.test", REALM)] {
        env!(env);
        let question = for_backend(&evidence(TicketFlags::FORWARDABLE));
        let answer = Answer::to(&question).for_server(other);
        said(question.answer(&answer.bytes(), &mut env));
        // The label alone is anybody's to write.
        let question = for_backend(&evidence(TicketFlags::FORWARDABLE));
        let answer = Answer { label: own(), ..Answer::to(&question) };
        said(question.answer(&answer.bytes(), &mut env));
    }
    env!(env);
    let question = for_backend(&evidence(TicketFlags::FORWARDABLE));
    let referral = Answer::to(&question).for_server(Principal::krbtgt("OTHER.TEST", REALM));
    assert!(why_not(question.answer(&referral.bytes(), &mut env)).contains("OTHER.TEST"));
}

#[test]
fn an_answer_under_another_key_or_to_another_question_is_refused() {
    env!(env);
    let question = for_backend(&evidence(TicketFlags::FORWARDABLE));
    let answer = Answer { key: key(77), ..Answer::to(&question) };
    said(question.answer(&answer.bytes(), &mut env));
    let question = for_backend(&evidence(TicketFlags::FORWARDABLE));
    let answer = Answer { nonce: 7, ..Answer::to(&question) };
    assert!(said(question.answer(&answer.bytes(), &mut env)).contains("nonce"));
}

#[test]
fn what_the_kdc_refuses_is_its_own_word() {
    env!(env);
    let question = for_backend(&evidence(TicketFlags::FORWARDABLE));
    assert_eq!(refused_with(question.answer(&error(13, NOW, None, None), &mut env)), 13);
    assert_eq!(refused_with(for_alice().answer(&error(18, NOW, None, None), &mut env)), 18);
}

#[test]
fn a_user_of_another_realm_is_not_asked_for() {
    env!(env);
    let why = why_not(gateway().for_user(&Principal::user("alice", "OTHER.TEST"), &mut env));
    assert!(why.contains("another realm"), "{why}");
}

#[test]
fn without_a_key_nobody_can_see_whose_ticket_it_is() {
    env!(env);
    let keyless = Client::new(own(), LongTerm::Password(crate::Secret::new("secret".to_owned())))
        .with_policy(policy())
        .with_credentials(gateway().credentials().to_vec());
    let question = need(keyless.for_user(&alice(), &mut env));
    assert!(why_not(SelfAnswer::default().to(question)).contains("no keytab"));
}

#[test]
fn evidence_shows_no_ticket_when_it_is_printed() {
    let shown = format!("{:?}", evidence(TicketFlags::FORWARDABLE));
    assert!(shown.contains("alice") && !shown.contains("ticket"), "{shown}");
}
