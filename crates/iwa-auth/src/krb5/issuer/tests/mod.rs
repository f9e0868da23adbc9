//! A client in memory, and what holds for both exchanges.

mod as_exchange;
mod tgs_exchange;

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
fn the_log_line_is_safe_to_print() {
    let mut world = World::new();
    let request = world.as_req(&Wish { cname: Principal::user("a\r\nb\u{1b}", REALM), ..Wish::default() }, None);
    let line = world.respond(&request, Transport::Tcp).outcome.to_string();
    assert!(line.chars().all(|c| !c.is_control()), "{line:?}");
    assert!(line.contains("KDC_ERR_C_PRINCIPAL_UNKNOWN"), "{line}");
}
