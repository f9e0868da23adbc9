//! Both exchanges with a client in memory, and every refusal.

use core::cell::Cell;

use iwa_wire::krb5::authdata::ad_type;
use iwa_wire::krb5::error::code;
use iwa_wire::krb5::kdc::{EncKdcRepPart, KdcReqBody, kdc_options as opt};
use iwa_wire::krb5::padata::{EtypeInfo2Entry, PaEncTsEnc, PaPacRequest, pa_type};
use iwa_wire::krb5::principal::name_type;
use iwa_wire::krb5::{
    ApReq, AuthDataElement, Authenticator, AuthorizationData, Checksum, EncTicketPart, EncryptedData, EncryptionKey,
    KdcRep, KerberosTime, PaData, Principal, SequenceOf, Ticket, TicketFlags,
};
use iwa_wire::pac::Pac;

use super::*;
use crate::env::{Entropy, UnixTime};
use crate::krb5::pac::{PacPolicy, verify};
use crate::krb5::usage;

const NOW: i64 = 1_760_000_000;
const REALM: &str = "EXAMPLE.TEST";
const ETYPES: [i32; 4] = [18, 17, 20, 19];

/// Not random, and different every time.
struct Counter(u64);

impl Entropy for Counter {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        for chunk in out.chunks_mut(8) {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            chunk.copy_from_slice(&self.0.to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

struct Accounts {
    client: Client,
    services: Vec<Server>,
    locked: bool,
    refusal: Option<Refusal>,
    failures: Cell<u32>,
}

fn keys(kvno: u32, fill: u8) -> KeySet {
    let key = |number: i32| {
        let etype = Etype::from_number(number).unwrap();
        Key::new(etype, &vec![fill + number as u8; etype.key_size()]).unwrap()
    };
    KeySet { kvno, salt: "EXAMPLE.TESTAlice".into(), keys: [18, 20, 17, 19].map(key).into() }
}

impl Accounts {
    fn new() -> Self {
        let account = PacAccount {
            name: "Alice".into(),
            display_name: "Alice Example".into(),
            upn: "alice@example.test".into(),
            domain: "EXAMPLE".into(),
            dns_domain: REALM.into(),
            server: "KDC".into(),
            domain_sid: "S-1-5-21-1-2-3".parse().unwrap(),
            rid: 1000,
            primary_group: 513,
            groups: vec![1105],
            extra_sids: vec!["S-1-5-32-545".parse().unwrap()],
            user_account_control: 0x10,
            password_set: UnixTime::from_secs(1_700_000_000),
        };
        let service = |name: &str, fill| Server { name: name.into(), keys: vec![keys(3, fill), keys(2, fill + 40)] };
        Self {
            client: Client { account, keys: keys(7, 1), delegable: true },
            services: vec![service("krbtgt/EXAMPLE.TEST", 60), service("HTTP/web.example.test", 120)],
            locked: false,
            refusal: None,
            failures: Cell::new(0),
        }
    }
}

impl PrincipalDb for Accounts {
    fn client(&self, name: ClientName<'_>) -> Result<Option<Client>, DbUnavailable> {
        let found = match name {
            ClientName::Account(name) => name.eq_ignore_ascii_case(&self.client.account.name),
            ClientName::Enterprise(upn) => upn.eq_ignore_ascii_case(&self.client.account.upn),
        };
        Ok(found.then(|| self.client.clone()))
    }

    fn server(&self, name: &str) -> Result<Option<Server>, DbUnavailable> {
        Ok(self.services.iter().find(|service| service.name.eq_ignore_ascii_case(name)).cloned())
    }

    fn before_proof(&self, _: &Client, _: UnixTime) -> Result<(), Refusal> {
        if self.locked { Err(Refusal::Revoked) } else { Ok(()) }
    }

    fn after_proof(&self, _: &Client, right: bool, _: UnixTime) -> Result<(), Refusal> {
        if !right {
            self.failures.set(self.failures.get() + 1);
            return Err(Refusal::WrongPassword);
        }
        self.refusal.map_or(Ok(()), Err)
    }

    fn still_good(&self, _: &Client, _: UnixTime) -> Result<(), Refusal> {
        self.refusal.map_or(Ok(()), Err)
    }
}

/// One client of the KDC.
struct World {
    kdc: Kdc,
    db: Accounts,
    entropy: Counter,
    now: i64,
}

/// What the client got.
#[derive(Clone)]
struct Got {
    ticket: Vec<u8>,
    session: Key,
    flags: TicketFlags,
    starttime: i64,
    endtime: i64,
    renew_till: Option<i64>,
    cname: String,
    proof: Option<Vec<u8>>,
}

struct Wish<'a> {
    cname: Principal,
    sname: Principal,
    realm: &'a str,
    options: u32,
    till: i64,
    rtime: Option<i64>,
    from: Option<i64>,
    etypes: &'a [i32],
    include_pac: Option<bool>,
}

impl Default for Wish<'_> {
    fn default() -> Self {
        Self {
            cname: Principal::user("alice", REALM),
            sname: Principal::krbtgt(REALM, REALM),
            realm: REALM,
            options: opt::FORWARDABLE | opt::RENEWABLE,
            till: NOW + 86_400,
            rtime: None,
            from: None,
            etypes: &ETYPES,
            include_pac: None,
        }
    }
}

fn http() -> Wish<'static> {
    Wish { sname: Principal::service("HTTP", "web.example.test", REALM), ..Wish::default() }
}

impl Wish<'_> {
    fn body(&self, with_cname: bool) -> KdcReqBody<'_> {
        KdcReqBody {
            kdc_options: self.options,
            cname: with_cname.then(|| self.cname.name()),
            realm: self.realm.into(),
            sname: Some(self.sname.name()),
            from: self.from.map(KerberosTime),
            till: KerberosTime(self.till),
            rtime: self.rtime.map(KerberosTime),
            nonce: 42,
            etypes: SequenceOf::of(self.etypes),
            addresses: None,
            enc_authorization_data: None,
            additional_tickets: None,
            raw: &[],
        }
    }
}

/// What a TGS-REQ does otherwise than it should.
#[derive(Default)]
struct Twist {
    subkey: bool,
    no_checksum: bool,
    md5: bool,
    wrong_checksum: bool,
    wrong_cname: bool,
    clock: i64,
    padata: Option<i32>,
    data: Option<Vec<u8>>,
}

impl World {
    fn new() -> Self {
        Self { kdc: Kdc::new(REALM, KdcPolicy::default()), db: Accounts::new(), entropy: Counter(1), now: NOW }
    }

    fn respond(&mut self, request: &[u8], transport: Transport) -> Answer {
        let mut env = Env { now: UnixTime::from_secs(self.now), entropy: &mut self.entropy };
        self.kdc.respond(request, &self.db, &mut env, transport)
    }

    fn as_req(&mut self, wish: &Wish<'_>, key: Option<(&Key, i64)>) -> Vec<u8> {
        let mut timestamp = Vec::new();
        if let Some((key, clock)) = key {
            let mut plaintext = Vec::new();
            PaEncTsEnc { patimestamp: KerberosTime(clock), pausec: Some(1) }.write(&mut plaintext);
            let mut cipher = Vec::new();
            key.encrypt(usage::PA_ENC_TIMESTAMP, &plaintext, &mut self.entropy, &mut cipher).unwrap();
            EncryptedData { etype: key.etype().number(), kvno: None, cipher: &cipher }.write(&mut timestamp);
        }
        let mut pac = Vec::new();
        let mut padata = Vec::new();
        if !timestamp.is_empty() {
            padata.push(PaData { padata_type: pa_type::ENC_TIMESTAMP, padata_value: &timestamp });
        }
        if let Some(include_pac) = wish.include_pac {
            PaPacRequest { include_pac }.write(&mut pac);
            padata.push(PaData { padata_type: pa_type::PAC_REQUEST, padata_value: &pac });
        }
        padata.push(PaData { padata_type: pa_type::REQ_ENC_PA_REP, padata_value: &[] });
        let mut out = Vec::new();
        KdcReq { exchange: Exchange::As, padata: Some(SequenceOf::of(&padata)), req_body: wish.body(true) }
            .write(&mut out);
        out
    }

    fn client_key(&self) -> Key {
        self.db.client.keys.keys[0].clone()
    }

    fn login(&mut self, wish: &Wish<'_>) -> Result<Got, i32> {
        let key = self.client_key();
        let request = self.as_req(wish, Some((&key, self.now)));
        let answer = self.respond(&request, Transport::Tcp);
        got(&answer, &key, usage::AS_REP)
    }

    fn tgs_req(&mut self, tgt: &Got, wish: &Wish<'_>, twist: &Twist) -> (Vec<u8>, Option<Key>) {
        let mut added = Vec::new();
        let subkey = twist.subkey.then(|| Key::random(Etype::Aes128CtsHmacSha256, &mut self.entropy).unwrap());
        if let Some(data) = &twist.data {
            let mut cipher = Vec::new();
            let (key, usage) = match &subkey {
                Some(subkey) => (subkey, usage::TGS_REQ_AUTHDATA_SUBKEY),
                None => (&tgt.session, usage::TGS_REQ_AUTHDATA_SESSION),
            };
            key.encrypt(usage, data, &mut self.entropy, &mut cipher).unwrap();
            EncryptedData { etype: key.etype().number(), kvno: None, cipher: &cipher }.write(&mut added);
        }
        let mut body = wish.body(false);
        if !added.is_empty() {
            body.enc_authorization_data = Some(EncryptedData::parse(&added).unwrap());
        }
        let mut raw = Vec::new();
        body.write(&mut raw);
        if twist.wrong_checksum {
            raw.push(0);
        }
        let keyed = tgt.session.checksum(usage::TGS_REQ_CHECKSUM).compute(&[&raw]);
        let md5: [u8; 16] = <md5::Md5 as md5::Digest>::digest(&raw).into();
        let cksum = match twist {
            Twist { no_checksum: true, .. } => None,
            Twist { md5: true, .. } => Some(Checksum { cksumtype: 7, checksum: &md5 }),
            _ => Some(Checksum { cksumtype: tgt.session.etype().checksum_type(), checksum: &keyed }),
        };
        let cname = if twist.wrong_cname { "bob" } else { tgt.cname.as_str() };
        let cname = Principal::user(cname, REALM);
        let mut plaintext = Vec::new();
        Authenticator {
            crealm: REALM.into(),
            cname: cname.name(),
            cksum,
            cusec: 0,
            ctime: KerberosTime(self.now + twist.clock),
            subkey: subkey.as_ref().map(|key| EncryptionKey { etype: key.etype().number(), value: key.expose() }),
            seq_number: None,
            authorization_data: None,
        }
        .write(&mut plaintext);
        let mut cipher = Vec::new();
        tgt.session.encrypt(usage::TGS_REQ_AUTHENTICATOR, &plaintext, &mut self.entropy, &mut cipher).unwrap();
        let mut ap_req = Vec::new();
        ApReq {
            ap_options: 0,
            ticket: Ticket::parse(&tgt.ticket).unwrap(),
            authenticator: EncryptedData { etype: tgt.session.etype().number(), kvno: None, cipher: &cipher },
        }
        .write(&mut ap_req);
        let mut padata = vec![PaData { padata_type: pa_type::TGS_REQ, padata_value: &ap_req }];
        padata.extend(twist.padata.map(|padata_type| PaData { padata_type, padata_value: &[] }));
        let mut out = Vec::new();
        KdcReq { exchange: Exchange::Tgs, padata: Some(SequenceOf::of(&padata)), req_body: body }.write(&mut out);
        (out, subkey)
    }

    fn ticket_for(&mut self, tgt: &Got, wish: &Wish<'_>, twist: &Twist) -> Result<Got, i32> {
        let (request, subkey) = self.tgs_req(tgt, wish, twist);
        let answer = self.respond(&request, Transport::Tcp);
        match &subkey {
            Some(subkey) => got(&answer, subkey, usage::TGS_REP_SUBKEY),
            None => got(&answer, &tgt.session, usage::TGS_REP_SESSION),
        }
    }

    fn get(&mut self, tgt: &Got, wish: &Wish<'_>) -> Result<Got, i32> {
        self.ticket_for(tgt, wish, &Twist::default())
    }

    /// Decrypts a ticket as its service would, and hands over its contents.
    fn opened<T>(&self, ticket: &[u8], service: &str, look: impl FnOnce(EncTicketPart<'_>, &Key) -> T) -> T {
        let ticket = Ticket::parse(ticket).unwrap();
        let server = self.db.server(service).unwrap().unwrap();
        assert_eq!(ticket.enc_part.kvno, Some(3));
        let key = server.keys[0].key(Etype::from_number(ticket.enc_part.etype).unwrap()).unwrap();
        let mut scratch = Vec::new();
        let plaintext = key.decrypt(usage::TICKET, ticket.enc_part.cipher, &mut scratch).unwrap();
        look(EncTicketPart::parse(plaintext).unwrap(), key)
    }
}

fn got(answer: &Answer, key: &Key, usage: u32) -> Result<Got, i32> {
    if answer.reply[0] == 0x7e {
        let code = KrbError::parse(&answer.reply).unwrap().error_code;
        assert_eq!(code, answer.outcome.code);
        return Err(code);
    }
    let rep = KdcRep::parse(&answer.reply).unwrap();
    assert_eq!(rep.enc_part.etype, key.etype().number());
    let mut scratch = Vec::new();
    let part = EncKdcRepPart::parse(key.decrypt(usage, rep.enc_part.cipher, &mut scratch).unwrap()).unwrap();
    assert_eq!(part.nonce, 42);
    let session = Key::new(Etype::from_number(part.key.etype).unwrap(), part.key.value).unwrap();
    let proof =
        part.encrypted_pa_data.and_then(|padata| padata.iter().next()).map(|padata| padata.padata_value.to_vec());
    Ok(Got {
        ticket: rep.ticket.raw().to_vec(),
        session,
        flags: part.flags,
        starttime: part.starttime.unwrap().0,
        endtime: part.endtime.0,
        renew_till: part.renew_till.map(|time| time.0),
        cname: rep.cname.to_string(),
        proof,
    })
}

#[test]
fn a_password_gives_a_tgt_and_that_a_service_ticket_with_the_pac() {
    let mut world = World::new();
    let tgt = world.login(&Wish::default()).unwrap();
    assert!(tgt.flags.contains(TicketFlags::INITIAL.with(TicketFlags::PRE_AUTHENT).with(TicketFlags::FORWARDABLE)));
    assert_eq!((tgt.starttime, tgt.endtime, tgt.renew_till), (NOW, NOW + 36_000, Some(NOW + 604_800)));
    let kdc_key = world.db.services[0].keys[0].keys[0].checksum(usage::NON_KERBEROS_CHECKSUM);
    for subkey in [false, true] {
        let got = world.ticket_for(&tgt, &http(), &Twist { subkey, ..Twist::default() }).unwrap();
        assert!(!got.flags.contains(TicketFlags::INITIAL));
        assert!(got.endtime <= tgt.endtime);
        world.opened(&got.ticket, "HTTP/web.example.test", |part, key| {
            assert!(got.session.ct_eq(part.key.value));
            assert_eq!((part.cname.to_string().as_str(), part.authtime.0), ("alice", NOW));
            let pac = part.authorization_data.unwrap().pac().unwrap();
            let checksum = key.checksum(usage::NON_KERBEROS_CHECKSUM);
            let (_, who) = verify(pac, &part, &checksum, Some(&kdc_key), PacPolicy::Required).unwrap();
            assert_eq!(who.account.sid.unwrap().to_string(), "S-1-5-21-1-2-3-1000");
            let groups: Vec<_> = who.groups.iter().map(ToString::to_string).collect();
            assert_eq!(groups, ["S-1-5-21-1-2-3-1105", "S-1-5-32-545"]);
            let kinds: Vec<u32> = Pac::parse(pac.unwrap(), 0).unwrap().buffers().map(|b| b.kind.0).collect();
            assert_eq!(kinds, [1, 10, 12, 16, 19, 6, 7]);
            // The ticket signature covers the ticket with a zero byte in the PAC's place.
            let mut inner = Vec::new();
            AuthorizationData::of(&[AuthDataElement { ad_type: ad_type::WIN2K_PAC, ad_data: &[0] }]).write(&mut inner);
            let outer = [AuthDataElement { ad_type: ad_type::IF_RELEVANT, ad_data: &inner }];
            let mut covered = Vec::new();
            EncTicketPart { authorization_data: Some(AuthorizationData::of(&outer)), ..part }.write(&mut covered);
            super::pac::verify_ticket_signature(&Pac::parse(pac.unwrap(), 0).unwrap(), &kdc_key, &covered).unwrap();
        });
    }
}

#[test]
fn without_preauthentication_the_client_learns_its_salts_and_nothing_else() {
    let mut world = World::new();
    let request = world.as_req(&Wish { etypes: &[23, 17, 18], ..Wish::default() }, None);
    let answer = world.respond(&request, Transport::Udp);
    let error = KrbError::parse(&answer.reply).unwrap();
    assert_eq!(error.error_code, code::KDC_ERR_PREAUTH_REQUIRED);
    let data = SequenceOf::<PaData<'_>>::parse(error.e_data.unwrap()).unwrap();
    let info = data.iter().find(|padata| padata.padata_type == pa_type::ETYPE_INFO2).unwrap();
    let entries: Vec<_> = SequenceOf::<EtypeInfo2Entry<'_>>::parse(info.padata_value)
        .unwrap()
        .iter()
        .map(|entry| (entry.etype, entry.salt.unwrap().to_string(), entry.s2kparams.unwrap().to_vec()))
        .collect();
    // In the client's order, and without RC4.
    let salt = "EXAMPLE.TESTAlice".to_owned();
    assert_eq!(entries, [(17, salt.clone(), vec![0, 0, 16, 0]), (18, salt, vec![0, 0, 16, 0])]);
    assert_eq!(world.db.failures.get(), 0);
}

#[test]
fn a_wrong_password_is_refused_and_counted() {
    let mut world = World::new();
    let wrong = Key::new(Etype::Aes256CtsHmacSha1, &[9; 32]).unwrap();
    let request = world.as_req(&Wish::default(), Some((&wrong, NOW)));
    assert_eq!(world.respond(&request, Transport::Tcp).outcome.code, code::KDC_ERR_PREAUTH_FAILED);
    assert_eq!(world.db.failures.get(), 1);
}

#[test]
fn every_etype_of_the_client_serves() {
    for etype in ETYPES {
        let mut world = World::new();
        world.db.client.keys.keys.retain(|key| key.etype().number() == etype);
        let tgt = world.login(&Wish { etypes: &[etype], ..Wish::default() }).unwrap();
        assert_eq!(tgt.session.etype().number(), etype);
        let got = world.get(&tgt, &Wish { etypes: &[etype], ..http() }).unwrap();
        assert_eq!(got.session.etype().number(), etype);
        // A service that has keys of this etype alone.
        for service in &mut world.db.services {
            service.keys.iter_mut().for_each(|set| set.keys.retain(|key| key.etype().number() == etype));
        }
        let tgt = world.login(&Wish { etypes: &[etype], ..Wish::default() }).unwrap();
        world.get(&tgt, &Wish { etypes: &[etype], ..http() }).unwrap();
    }
}

#[test]
fn rc4_and_des_get_nothing() {
    let mut world = World::new();
    for etypes in [&[23][..], &[3, 1, 16], &[]] {
        let request = world.as_req(&Wish { etypes, ..Wish::default() }, None);
        assert_eq!(world.respond(&request, Transport::Tcp).outcome.code, code::KDC_ERR_ETYPE_NOSUPP, "{etypes:?}");
        let tgt = world.login(&Wish::default()).unwrap();
        assert_eq!(world.get(&tgt, &Wish { etypes, ..http() }).err(), Some(code::KDC_ERR_ETYPE_NOSUPP));
    }
}

#[test]
fn names_of_clients_are_the_same_in_any_case_and_canonical_on_request() {
    let mut world = World::new();
    for (name, kind, options, cname) in [
        ("ALICE", name_type::PRINCIPAL, 0, "ALICE"),
        ("ALICE", name_type::PRINCIPAL, opt::CANONICALIZE, "Alice"),
        ("Alice@Example.Test", name_type::ENTERPRISE, opt::CANONICALIZE, "Alice"),
    ] {
        let mut client = Principal::user(name, REALM);
        client.name_type = kind;
        let tgt = world.login(&Wish { cname: client, options, ..Wish::default() }).unwrap();
        assert_eq!(tgt.cname, cname);
        // The PAC follows the ticket's spelling, or no service would take it.
        world.get(&tgt, &http()).unwrap();
    }
}

#[test]
fn unknown_names_are_refused_by_their_codes() {
    let mut world = World::new();
    let joined = Principal { components: vec!["HTTP/web.example.test".into()], ..Principal::user("", REALM) };
    for (wish, code) in [
        (Wish { cname: Principal::user("mallory", REALM), ..Wish::default() }, code::KDC_ERR_C_PRINCIPAL_UNKNOWN),
        (Wish { cname: Principal::service("alice", "x", REALM), ..Wish::default() }, code::KDC_ERR_C_PRINCIPAL_UNKNOWN),
        (Wish { cname: Principal::user("", REALM), ..Wish::default() }, code::KDC_ERR_C_PRINCIPAL_UNKNOWN),
        (Wish { sname: Principal::service("HTTP", "no", REALM), ..Wish::default() }, code::KDC_ERR_S_PRINCIPAL_UNKNOWN),
        (Wish { sname: Principal::krbtgt("OTHER.TEST", REALM), ..Wish::default() }, code::KDC_ERR_S_PRINCIPAL_UNKNOWN),
        (Wish { sname: Principal::user("alice", REALM), ..Wish::default() }, code::KDC_ERR_S_PRINCIPAL_UNKNOWN),
        (Wish { sname: joined, ..Wish::default() }, code::KDC_ERR_S_PRINCIPAL_UNKNOWN),
        (Wish { realm: "OTHER.TEST", ..Wish::default() }, code::KDC_ERR_WRONG_REALM),
        (Wish { realm: "example.test", ..Wish::default() }, code::KDC_ERR_WRONG_REALM),
    ] {
        assert_eq!(world.login(&wish).err(), Some(code), "{} -> {}", wish.cname, wish.sname);
    }
}

#[test]
fn an_account_that_may_not_in_is_told_so_only_after_its_password() {
    for (refusal, code) in [
        (Refusal::Revoked, code::KDC_ERR_CLIENT_REVOKED),
        (Refusal::PasswordExpired, code::KDC_ERR_KEY_EXPIRED),
        (Refusal::Unavailable, code::KDC_ERR_SVC_UNAVAILABLE),
    ] {
        let mut world = World::new();
        let tgt = world.login(&Wish::default()).unwrap();
        world.db.refusal = Some(refusal);
        assert_eq!(world.login(&Wish::default()).err(), Some(code));
        let request = world.as_req(&Wish::default(), None);
        assert_eq!(world.respond(&request, Transport::Tcp).outcome.code, code::KDC_ERR_PREAUTH_REQUIRED);
        // A TGT from before does not help.
        assert_eq!(world.get(&tgt, &http()).err(), Some(code));
    }
    let mut world = World::new();
    world.db.locked = true;
    let request = world.as_req(&Wish::default(), None);
    assert_eq!(world.respond(&request, Transport::Tcp).outcome.code, code::KDC_ERR_CLIENT_REVOKED);
}

#[test]
fn clocks_that_differ_too_much_are_refused_on_both_sides() {
    for (clock, refused) in [(0, false), (300, false), (-300, false), (301, true), (-301, true)] {
        let mut world = World::new();
        let key = world.client_key();
        let request = world.as_req(&Wish::default(), Some((&key, NOW + clock)));
        let answer = got(&world.respond(&request, Transport::Tcp), &key, usage::AS_REP);
        assert_eq!(answer.err(), refused.then_some(code::KRB_AP_ERR_SKEW), "{clock}");
        let tgt = world.login(&Wish::default()).unwrap();
        let answer = world.ticket_for(&tgt, &http(), &Twist { clock, ..Twist::default() });
        assert_eq!(answer.err(), refused.then_some(code::KRB_AP_ERR_SKEW), "{clock}");
    }
}

#[test]
fn a_replayed_as_req_gives_another_session_key_under_the_same_password() {
    let mut world = World::new();
    let key = world.client_key();
    let request = world.as_req(&Wish::default(), Some((&key, NOW)));
    let first = got(&world.respond(&request, Transport::Tcp), &key, usage::AS_REP).unwrap();
    let second = got(&world.respond(&request, Transport::Tcp), &key, usage::AS_REP).unwrap();
    assert!(!first.session.ct_eq(second.session.expose()));
}

#[test]
fn the_answer_proves_the_request_if_the_client_asks() {
    let mut world = World::new();
    let key = world.client_key();
    let request = world.as_req(&Wish::default(), Some((&key, NOW)));
    let got = got(&world.respond(&request, Transport::Tcp), &key, usage::AS_REP).unwrap();
    assert!(got.flags.contains(TicketFlags::ENC_PA_REP));
    let proof = got.proof.unwrap();
    let proof = Checksum::parse(&proof).unwrap();
    key.checksum(usage::AS_REQ_CHECKSUM).verify(&[&request], proof.checksum).unwrap();
}

#[test]
fn an_answer_too_long_for_a_datagram_sends_the_client_to_tcp() {
    let mut world = World::new();
    world.db.client.account.groups = (2000..2200).collect();
    let key = world.client_key();
    let request = world.as_req(&Wish::default(), Some((&key, NOW)));
    assert_eq!(world.respond(&request, Transport::Udp).outcome.code, code::KRB_ERR_RESPONSE_TOO_BIG);
    assert_eq!(world.respond(&request, Transport::Tcp).outcome.code, 0);
}

#[test]
fn what_is_not_a_request_gets_no_answer_and_what_is_malformed_an_error() {
    let mut world = World::new();
    let error = {
        let request = world.as_req(&Wish::default(), None);
        world.respond(&request, Transport::Udp).reply
    };
    for bytes in [&b""[..], b"GET / HTTP/1.1\r\n", &error, &[0x6b, 0], &[0; 64]] {
        assert!(world.respond(bytes, Transport::Udp).reply.is_empty(), "an answer to an answer would never end");
    }
    let request = world.as_req(&Wish::default(), None);
    for cut in 1..request.len() {
        let answer = world.respond(&request[..cut], Transport::Udp);
        assert_eq!(KrbError::parse(&answer.reply).unwrap().error_code, code::KRB_ERR_GENERIC, "cut at {cut}");
    }
}

#[test]
fn no_byte_of_a_request_makes_a_panic() {
    let mut world = World::new();
    let tgt = world.login(&Wish::default()).unwrap();
    let key = world.client_key();
    let requests =
        [world.as_req(&Wish::default(), Some((&key, NOW))), world.tgs_req(&tgt, &http(), &Twist::default()).0];
    for request in requests {
        for at in 0..request.len() {
            for value in [0, 0x7f, 0x80, 0xff] {
                let mut bad = request.clone();
                bad[at] = value;
                world.respond(&bad, Transport::Udp);
            }
        }
    }
}

#[test]
fn options_that_are_not_granted_are_refused_and_not_ignored() {
    let mut world = World::new();
    let tgt = world.login(&Wish { options: 0, ..Wish::default() }).unwrap();
    for (options, code) in [
        (opt::POSTDATED, code::KDC_ERR_CANNOT_POSTDATE),
        (opt::ALLOW_POSTDATE, code::KDC_ERR_CANNOT_POSTDATE),
        (opt::REQUEST_ANONYMOUS, code::KDC_ERR_BADOPTION),
        (opt::ENC_TKT_IN_SKEY, code::KDC_ERR_BADOPTION),
        (opt::CNAME_IN_ADDL_TKT, code::KDC_ERR_BADOPTION),
        (opt::VALIDATE, code::KDC_ERR_BADOPTION),
        (opt::FORWARDED, code::KDC_ERR_BADOPTION),
        (opt::PROXY, code::KDC_ERR_BADOPTION),
        (opt::RENEW, code::KDC_ERR_BADOPTION),
    ] {
        assert_eq!(world.login(&Wish { options, ..Wish::default() }).err(), Some(code), "AS 0x{options:x}");
        assert_eq!(world.get(&tgt, &Wish { options, ..http() }).err(), Some(code), "TGS 0x{options:x}");
    }
    for padata in [pa_type::FOR_USER, pa_type::FOR_X509_USER] {
        let twist = Twist { padata: Some(padata), ..Twist::default() };
        assert_eq!(world.ticket_for(&tgt, &http(), &twist).err(), Some(code::KDC_ERR_PADATA_TYPE_NOSUPP));
    }
}

#[test]
fn fast_is_passed_over_and_the_plain_request_beside_it_answered() {
    // RFC 6113 5.4: MIT's client sends it with every TGS-REQ, and goes on without if the answer has none.
    let mut world = World::new();
    let tgt = world.login(&Wish::default()).unwrap();
    let twist = Twist { padata: Some(pa_type::FX_FAST), subkey: true, ..Twist::default() };
    world.ticket_for(&tgt, &http(), &twist).unwrap();
}

#[test]
fn abilities_come_from_the_tgt_and_from_the_account() {
    let mut world = World::new();
    let abilities = opt::FORWARDABLE | opt::PROXIABLE | opt::RENEWABLE;
    let plain = world.login(&Wish { options: 0, ..Wish::default() }).unwrap();
    assert_eq!(plain.renew_till, None);
    let got = world.get(&plain, &Wish { options: abilities, ..http() }).unwrap();
    assert!(!got.flags.contains(TicketFlags::FORWARDABLE) && !got.flags.contains(TicketFlags::PROXIABLE));
    assert_eq!(got.renew_till, None);
    let able = world.login(&Wish { options: abilities, ..Wish::default() }).unwrap();
    let got = world.get(&able, &Wish { options: abilities, ..http() }).unwrap();
    assert!(got.flags.contains(TicketFlags::FORWARDABLE.with(TicketFlags::PROXIABLE).with(TicketFlags::RENEWABLE)));
    // Forwarded, it stays forwarded; so does what is made of it.
    let krbtgt = Wish { options: opt::FORWARDED | opt::FORWARDABLE, ..Wish::default() };
    let forwarded = world.get(&able, &krbtgt).unwrap();
    assert!(forwarded.flags.contains(TicketFlags::FORWARDED));
    assert!(world.get(&forwarded, &http()).unwrap().flags.contains(TicketFlags::FORWARDED));
    let proxy = world.get(&able, &Wish { options: opt::PROXY, ..http() }).unwrap();
    assert!(proxy.flags.contains(TicketFlags::PROXY));
    world.db.client.delegable = false;
    let tgt = world.login(&Wish { options: abilities, ..Wish::default() }).unwrap();
    assert!(!tgt.flags.contains(TicketFlags::FORWARDABLE) && !tgt.flags.contains(TicketFlags::PROXIABLE));
}

#[test]
fn times_are_held_within_policy_and_tgt() {
    let mut world = World::new();
    let short = world.login(&Wish { till: NOW + 60, options: 0, ..Wish::default() }).unwrap();
    assert_eq!(short.endtime, NOW + 60);
    assert_eq!(world.get(&short, &http()).unwrap().endtime, NOW + 60, "no longer than its TGT");
    let longest = world.login(&Wish { till: 0, options: 0, ..Wish::default() }).unwrap();
    assert_eq!((longest.endtime, longest.renew_till), (NOW + 36_000, None));
    let instead = world.login(&Wish { till: NOW + 86_400, options: opt::RENEWABLE_OK, ..Wish::default() }).unwrap();
    assert_eq!(instead.renew_till, Some(NOW + 86_400));
    let wish = Wish { rtime: Some(NOW + 90_000), ..Wish::default() };
    assert_eq!(world.login(&wish).unwrap().renew_till, Some(NOW + 90_000));
    let past = Wish { till: NOW - 1, ..Wish::default() };
    assert_eq!(world.login(&past).err(), Some(code::KDC_ERR_NEVER_VALID));
    for (from, code) in [(NOW - 86_400, None), (NOW + 300, None), (NOW + 301, Some(code::KDC_ERR_CANNOT_POSTDATE))] {
        assert_eq!(world.login(&Wish { from: Some(from), ..Wish::default() }).err(), code, "{from}");
    }
    let never = Wish { till: i64::MAX, rtime: Some(i64::MAX), ..Wish::default() };
    assert_eq!(world.login(&never).unwrap().endtime, NOW + 36_000);
}

#[test]
fn a_tgt_is_renewed_until_its_renew_till_and_used_until_its_end() {
    let mut world = World::new();
    let tgt = world.login(&Wish::default()).unwrap();
    world.now = NOW + 30_000;
    let renew = Wish { options: opt::RENEW, ..Wish::default() };
    let renewed = world.get(&tgt, &renew).unwrap();
    assert_eq!((renewed.starttime, renewed.endtime), (world.now, world.now + 36_000));
    assert_eq!(renewed.renew_till, tgt.renew_till);
    assert!(!renewed.flags.contains(TicketFlags::INITIAL));
    world.get(&renewed, &http()).unwrap();
    world.now = NOW + 36_000;
    assert_eq!(world.get(&tgt, &http()).err(), Some(code::KRB_AP_ERR_TKT_EXPIRED));
    assert_eq!(world.get(&tgt, &renew).err(), Some(code::KRB_AP_ERR_TKT_EXPIRED));
    world.get(&renewed, &http()).unwrap();
    world.now = NOW - 1;
    assert_eq!(world.get(&tgt, &http()).err(), Some(code::KRB_AP_ERR_TKT_NYV));
    // A service ticket is not renewed.
    world.now = NOW;
    assert_eq!(world.get(&tgt, &Wish { options: opt::RENEW, ..http() }).err(), Some(code::KDC_ERR_BADOPTION));
}

#[test]
fn a_request_that_its_authenticator_does_not_cover_is_refused() {
    let mut world = World::new();
    let tgt = world.login(&Wish::default()).unwrap();
    let none = Twist { no_checksum: true, ..Twist::default() };
    assert_eq!(world.ticket_for(&tgt, &http(), &none).err(), Some(code::KRB_AP_ERR_INAPP_CKSUM));
    let wrong = Twist { wrong_checksum: true, ..Twist::default() };
    assert_eq!(world.ticket_for(&tgt, &http(), &wrong).err(), Some(code::KRB_AP_ERR_MODIFIED));
    let wrong = Twist { md5: true, wrong_checksum: true, ..Twist::default() };
    assert_eq!(world.ticket_for(&tgt, &http(), &wrong).err(), Some(code::KRB_AP_ERR_MODIFIED));
    let other = Twist { wrong_cname: true, ..Twist::default() };
    assert_eq!(world.ticket_for(&tgt, &http(), &other).err(), Some(code::KRB_AP_ERR_BADMATCH));
    world.ticket_for(&tgt, &http(), &Twist { md5: true, ..Twist::default() }).unwrap();
}

#[test]
fn a_tgt_under_another_key_or_of_another_service_is_refused() {
    let mut world = World::new();
    let tgt = world.login(&Wish::default()).unwrap();
    let service = world.get(&tgt, &http()).unwrap();
    assert_eq!(world.get(&service, &http()).err(), Some(code::KRB_AP_ERR_NOT_US));
    // The krbtgt key was changed: the one before still serves, the one before that is gone.
    let krbtgt = &mut world.db.services[0];
    krbtgt.keys.insert(0, keys(4, 90));
    world.get(&tgt, &http()).unwrap();
    world.db.services[0].keys.truncate(1);
    assert_eq!(world.get(&tgt, &http()).err(), Some(code::KRB_AP_ERR_BADKEYVER));
    world.db.services[0].keys[0].kvno = 3;
    assert_eq!(world.get(&tgt, &http()).err(), Some(code::KRB_AP_ERR_BAD_INTEGRITY));
}

#[test]
fn a_tgt_whose_name_is_another_account_by_now_is_refused() {
    // CVE-2021-42278 and 42287: rename, ask, rename back.
    let mut world = World::new();
    let tgt = world.login(&Wish::default()).unwrap();
    world.db.client.account.rid = 1001;
    assert_eq!(world.get(&tgt, &http()).err(), Some(code::KDC_ERR_TGT_REVOKED));
    world.db.client.account.name = "Bob".into();
    assert_eq!(world.get(&tgt, &http()).err(), Some(code::KDC_ERR_TGT_REVOKED));
}

#[test]
fn a_group_that_was_left_is_not_in_the_next_ticket() {
    let mut world = World::new();
    let tgt = world.login(&Wish::default()).unwrap();
    world.db.client.account.groups = vec![1200];
    let renewed = world.get(&tgt, &Wish { options: opt::RENEW, ..Wish::default() }).unwrap();
    for tgt in [tgt, renewed] {
        let got = world.get(&tgt, &http()).unwrap();
        world.opened(&got.ticket, "HTTP/web.example.test", |part, key| {
            let pac = part.authorization_data.unwrap().pac().unwrap();
            let checksum = key.checksum(usage::NON_KERBEROS_CHECKSUM);
            let (_, who) = verify(pac, &part, &checksum, None, PacPolicy::Required).unwrap();
            assert_eq!(who.groups[0].rid(), Some(1200));
        });
    }
}

#[test]
fn a_tgt_without_a_pac_is_refused() {
    let mut world = World::new();
    let tgt = world.login(&Wish::default()).unwrap();
    let key = world.db.services[0].keys[0].keys[0].clone();
    let mut part = Vec::new();
    world.opened(&tgt.ticket, "krbtgt/EXAMPLE.TEST", |found, _| {
        EncTicketPart { authorization_data: None, ..found }.write(&mut part);
    });
    let mut cipher = Vec::new();
    key.encrypt(usage::TICKET, &part, &mut world.entropy, &mut cipher).unwrap();
    let krbtgt = Principal::krbtgt(REALM, REALM);
    let mut ticket = Vec::new();
    Ticket::new(REALM.into(), krbtgt.name(), EncryptedData { etype: 18, kvno: Some(3), cipher: &cipher })
        .write(&mut ticket);
    let forged = Got { ticket, ..tgt };
    assert_eq!(world.get(&forged, &http()).err(), Some(code::KDC_ERR_TGT_REVOKED));
}

#[test]
fn a_client_that_wants_no_pac_gets_service_tickets_without_one() {
    let mut world = World::new();
    for (include_pac, has) in [(Some(false), false), (Some(true), true), (None, true)] {
        let tgt = world.login(&Wish { include_pac, ..Wish::default() }).unwrap();
        let got = world.get(&tgt, &http()).unwrap();
        world.opened(&got.ticket, "HTTP/web.example.test", |part, _| {
            let pac = part.authorization_data.and_then(|data| data.pac().unwrap());
            assert_eq!(pac.is_some(), has, "{include_pac:?}");
        });
    }
}

#[test]
fn a_pac_of_the_clients_own_making_does_not_get_into_a_ticket() {
    let mut world = World::new();
    let tgt = world.login(&Wish::default()).unwrap();
    let data = |ad_type: i32, wrapped: bool| {
        let mut inner = Vec::new();
        AuthorizationData::of(&[AuthDataElement { ad_type, ad_data: b"mine" }]).write(&mut inner);
        let mut outer = Vec::new();
        AuthorizationData::of(&[AuthDataElement { ad_type: ad_type::IF_RELEVANT, ad_data: &inner }]).write(&mut outer);
        if wrapped { outer } else { inner }
    };
    for subkey in [false, true] {
        for wrapped in [false, true] {
            let twist = Twist { subkey, data: Some(data(ad_type::WIN2K_PAC, wrapped)), ..Twist::default() };
            assert_eq!(world.ticket_for(&tgt, &http(), &twist).err(), Some(code::KDC_ERR_POLICY));
        }
        let twist = Twist { subkey, data: Some(data(ad_type::TOKEN_RESTRICTIONS, true)), ..Twist::default() };
        let got = world.ticket_for(&tgt, &http(), &twist).unwrap();
        world.opened(&got.ticket, "HTTP/web.example.test", |part, _| {
            assert_eq!(part.authorization_data.unwrap().iter().count(), 2);
            assert!(part.authorization_data.unwrap().pac().unwrap().is_some());
        });
        let twist = Twist { subkey, data: Some(vec![0x30, 0x80]), ..Twist::default() };
        assert_eq!(world.ticket_for(&tgt, &http(), &twist).err(), Some(code::KRB_ERR_GENERIC));
    }
}

#[test]
fn a_service_ticket_straight_from_the_as() {
    let mut world = World::new();
    let got = world.login(&http()).unwrap();
    let kdc_key = world.db.services[0].keys[0].keys[0].checksum(usage::NON_KERBEROS_CHECKSUM);
    world.opened(&got.ticket, "HTTP/web.example.test", |part, key| {
        let pac = part.authorization_data.unwrap().pac().unwrap();
        let checksum = key.checksum(usage::NON_KERBEROS_CHECKSUM);
        verify(pac, &part, &checksum, Some(&kdc_key), PacPolicy::Required).unwrap();
    });
}

#[test]
fn the_log_line_is_safe_to_print() {
    let mut world = World::new();
    let request = world.as_req(&Wish { cname: Principal::user("a\r\nb\u{1b}", REALM), ..Wish::default() }, None);
    let line = world.respond(&request, Transport::Tcp).outcome.to_string();
    assert!(line.chars().all(|c| !c.is_control()), "{line:?}");
    assert!(line.contains("KDC_ERR_C_PRINCIPAL_UNKNOWN"), "{line}");
}
