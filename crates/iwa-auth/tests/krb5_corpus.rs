//! Real tickets, authenticators and replies of other people's KDCs and clients, under the keys that are known.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use iwa_auth::krb5::acceptor::{ClientRealms, Service, ServicePolicy};
use iwa_auth::krb5::etype::{Etype, Key};
use iwa_auth::krb5::keys::{KeyEntry, Keys, ServiceNames};
use iwa_auth::krb5::pac::PacPolicy;
use iwa_auth::krb5::usage;
use iwa_auth::ports::ReplayVerdict;
use iwa_auth::reject::Peer;
use iwa_auth::{BindingPolicy, ChannelBindings, Env, Reason, UnixTime};
use iwa_testkit::corpus::{self, Item};
use iwa_testkit::pair::Seeded;
use iwa_wire::krb5::token::KrbToken;
use iwa_wire::krb5::{ApReq, Authenticator, EncTicketPart, EncryptedData, KdcRep, Ticket};
use sha2::{Digest as _, Sha256};

/// The key of this role and etype, if the item states it.
fn key(item: &Item, role: &str, etype: i32) -> Option<Key> {
    let stated = item.keys(role).into_iter().find(|(number, _)| *number == etype)?;
    Key::new(Etype::from_number(etype)?, &stated.1)
}

fn decrypt(item: &Item, role: &str, usage: u32, data: &EncryptedData<'_>) -> Option<Vec<u8>> {
    let key = key(item, role, data.etype)?;
    let mut scratch = Vec::new();
    let plain = key.decrypt(usage, data.cipher, &mut scratch);
    Some(plain.unwrap_or_else(|_| panic!("{}: does not decrypt", item.name)).to_vec())
}

/// The AP-REQ of an item: bare, or in GSS-API framing.
fn ap_req(item: &Item) -> ApReq<'_> {
    let message = match item.kind.as_str() {
        "gss-krb5-ap-req" => KrbToken::parse(&item.data, 0).unwrap().message,
        _ => &item.data,
    };
    ApReq::parse(message).unwrap()
}

fn valid(items: &[Item], kinds: &[&str]) -> Vec<Item> {
    let wanted = |item: &&Item| kinds.contains(&item.kind.as_str()) && item.expect == corpus::Expect::Valid;
    items.iter().filter(wanted).cloned().collect()
}

/// The item that an independent implementation decrypted out of this one, if it is in the corpus.
fn plaintext_of<'a>(items: &'a [Item], item: &Item, kind: &str) -> Option<&'a Item> {
    let stem = item.name.strip_suffix(".txt").unwrap();
    items.iter().find(|other| other.name == format!("{stem}-{kind}.txt"))
}

#[test]
fn tickets_with_a_key_decrypt_to_what_others_found() {
    let items = corpus::load().unwrap_or_default();
    let (mut opened, mut compared) = (0, 0);
    for item in valid(&items, &["ticket", "ap-req", "gss-krb5-ap-req"]) {
        let ticket = if item.kind == "ticket" { Ticket::parse(&item.data).unwrap() } else { ap_req(&item).ticket };
        let Some(plain) = decrypt(&item, "", usage::TICKET, &ticket.enc_part) else { continue };
        let part = EncTicketPart::parse(&plain).unwrap();
        opened += 1;
        if let Some(cname) = item.header("ticket-cname") {
            assert_eq!(part.cname.to_string(), cname, "{}", item.name);
            assert_eq!(Some(part.crealm.to_string().as_str()), item.header("ticket-crealm"), "{}", item.name);
        }
        if let Some((etype, session)) = item.keys("session-").first() {
            assert_eq!((part.key.etype, part.key.value), (*etype, session.as_slice()), "{}", item.name);
        }
        if let Some(known) = plaintext_of(&items, &item, "enc-ticket-part") {
            assert_eq!(plain, known.data, "{}", item.name);
            compared += 1;
        }
    }
    assert!(items.is_empty() || (opened >= 10 && compared >= 5), "{opened} opened, {compared} compared");
}

#[test]
fn authenticators_decrypt_under_the_tickets_session_key() {
    let items = corpus::load().unwrap_or_default();
    let mut opened = 0;
    for item in valid(&items, &["ap-req", "gss-krb5-ap-req"]) {
        let ap_req = ap_req(&item);
        let Some(ticket) = decrypt(&item, "", usage::TICKET, &ap_req.ticket.enc_part) else { continue };
        let ticket = EncTicketPart::parse(&ticket).unwrap();
        let session = Key::new(Etype::from_number(ticket.key.etype).unwrap(), ticket.key.value).unwrap();
        let number = item.header("authenticator-usage").unwrap_or("11").parse().unwrap();
        let mut scratch = Vec::new();
        let plain = session.decrypt(number, ap_req.authenticator.cipher, &mut scratch).unwrap();
        let authenticator = Authenticator::parse(plain).unwrap();
        assert_eq!(authenticator.cname, ticket.cname, "{}", item.name);
        if let Some(known) = plaintext_of(&items, &item, "authenticator") {
            assert_eq!(plain, known.data, "{}", item.name);
        }
        opened += 1;
    }
    assert!(items.is_empty() || opened >= 7, "{opened}");
}

#[test]
fn whole_ap_reqs_of_real_clients_are_accepted_in_their_time() {
    let items = corpus::load().unwrap_or_default();
    let mut accepted = 0;
    for item in valid(&items, &["ap-req", "gss-krb5-ap-req"]) {
        let ap_req = ap_req(&item);
        let etype = ap_req.ticket.enc_part.etype;
        let Some(key) = key(&item, "", etype) else { continue };
        let Some(ctime) = item.header("authenticator-ctime") else { continue };
        let keys = Keys::new([KeyEntry {
            name: ap_req.ticket.sname,
            realm: ap_req.ticket.realm,
            kvno: ap_req.ticket.enc_part.kvno.unwrap_or(0),
            etype,
            key: key.expose(),
        }]);
        let policy = ServicePolicy {
            etypes: Etype::ALL.to_vec(),
            pac: PacPolicy::Optional,
            names: ServiceNames::InKeytab,
            realms: ClientRealms::AnyTrusted,
            ..ServicePolicy::default()
        };
        let service = Service::new(keys, policy);
        let now = UnixTime::from_secs(iwa_wire::krb5::KerberosTime::parse(ctime.as_bytes()).unwrap().0);
        let (mut entropy, mut out) = (Seeded(1), Vec::new());
        let mut env = Env { now, entropy: &mut entropy };
        let none = ChannelBindings::none();
        let result = service.accept(&item.data, &none, BindingPolicy::Allow, &mut env, &mut out);
        if item.header("gss-flags").is_none() {
            // A TGS-REQ's AP-REQ: its checksum is over the request.
            let reason = result.unwrap_err().reason;
            assert!(matches!(reason, Reason::Peer(Peer::GssChecksum { .. })), "{}: {reason}", item.name);
            continue;
        }
        let pending = result.unwrap_or_else(|reject| panic!("{}: {reject}", item.name));
        let context = pending.finish(ReplayVerdict::Fresh, &mut env, &mut out).unwrap();
        let account = context.identity.account();
        assert_eq!(account.realm.as_deref(), item.header("ticket-crealm"), "{}", item.name);
        if item.header("ticket-has-pac") == Some("1") {
            assert!(account.sid.is_some() && !context.identity.groups().is_empty(), "{}", item.name);
        }
        // A day later the same token is over.
        let mut env = Env { now: UnixTime::from_secs(now.secs() + 86_400 * 30), entropy: &mut entropy };
        assert!(service.accept(&item.data, &none, BindingPolicy::Allow, &mut env, &mut out).is_err());
        accepted += 1;
    }
    assert!(items.is_empty() || accepted >= 4, "{accepted}");
}

#[test]
fn bare_ciphers_decrypt_to_the_plaintext_that_is_stated() {
    let items = corpus::load().unwrap_or_default();
    let mut opened = 0;
    for item in valid(&items, &["ticket-cipher", "as-rep-enc-part-cipher", "pa-enc-timestamp-cipher"]) {
        let number = |name: &str| item.header(name).and_then(|value| value.parse::<i32>().ok());
        let (Some(etype), Some(usage)) = (number("etype"), number("usage")) else { continue };
        let Some(key) = key(&item, "", etype) else { continue };
        let mut scratch = Vec::new();
        let plain = key.decrypt(usage as u32, &item.data, &mut scratch).unwrap_or_else(|_| panic!("{}", item.name));
        if let Some(known) = item.hex_header("plaintext-hex") {
            assert_eq!(plain, known, "{}", item.name);
        }
        if let Some(digest) = item.hex_header("plaintext-sha256") {
            assert_eq!(Sha256::digest(plain)[..], digest, "{}", item.name);
        }
        if let (Some(password), Etype::Rc4Hmac) = (item.header("password"), key.etype()) {
            let made = Key::from_password(Etype::Rc4Hmac, password, b"", None).unwrap();
            assert!(made.ct_eq(key.expose()), "{}", item.name);
        }
        opened += 1;
    }
    assert!(items.is_empty() || opened >= 12, "{opened}");
}

#[test]
fn replies_with_a_key_decrypt() {
    let items = corpus::load().unwrap_or_default();
    let mut opened = 0;
    for item in valid(&items, &["as-rep", "tgs-rep"]) {
        let Some(usage) = item.header("reply-key-usage").and_then(|value| value.parse::<u32>().ok()) else { continue };
        let reply = KdcRep::parse(&item.data).unwrap();
        if decrypt(&item, "reply-", usage, &reply.enc_part).is_some() {
            opened += 1;
        }
    }
    assert!(items.is_empty() || opened >= 8, "{opened}");
}
