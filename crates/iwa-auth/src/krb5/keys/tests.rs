use iwa_wire::krb5::principal::name_type::SRV_INST;
use iwa_wire::krb5::{EncryptedData, Ticket};

use super::*;
use crate::krb5::etype::tests::Fixed;

const REALM: KerberosString<'static> = KerberosString(b"EXAMPLE.TEST");
const WEB: PrincipalName<'static> = PrincipalName::of(SRV_INST, &["HTTP", "web.example.test"]);
const SHORT: PrincipalName<'static> = PrincipalName::of(SRV_INST, &["HTTP", "web"]);
const FILES: PrincipalName<'static> = PrincipalName::of(SRV_INST, &["cifs", "web.example.test"]);
const AES: i32 = 18;

fn entry(name: PrincipalName<'static>, kvno: u32, etype: i32, key: &'static [u8]) -> KeyEntry<'static> {
    KeyEntry { name, realm: REALM, kvno, etype, key }
}

fn keytab() -> Keys {
    Keys::new([
        entry(WEB, 4, AES, &[4; 32]),
        entry(WEB, 4, 17, &[4; 16]),
        entry(WEB, 3, AES, &[3; 32]),
        entry(FILES, 4, AES, &[4; 32]),
        entry(WEB, 4, 3, &[4; 8]),
        entry(WEB, 4, AES, &[4; 31]),
    ])
}

struct Case {
    realm: KerberosString<'static>,
    name: PrincipalName<'static>,
    kvno: Option<u32>,
    etype: i32,
    key: u8,
}

impl Case {
    const fn new(name: PrincipalName<'static>, kvno: Option<u32>, key: u8) -> Self {
        Self { realm: REALM, name, kvno, etype: AES, key }
    }

    /// Which kvno decrypted it.
    fn of(&self, keys: &Keys, names: &ServiceNames) -> Result<u32, Reason> {
        let etype = Etype::from_number(self.etype).unwrap_or(Etype::Aes256CtsHmacSha1);
        let key = Key::new(etype, &[self.key; 32][..etype.key_size()]).unwrap();
        let mut cipher = Vec::new();
        key.encrypt(usage::TICKET, b"the ticket", &mut Fixed(vec![9; 16]), &mut cipher).unwrap();
        let enc_part = EncryptedData { etype: self.etype, kvno: self.kvno, cipher: &cipher };
        let ticket = Ticket::new(self.realm, self.name, enc_part);
        let mut scratch = Vec::new();
        let (key, plaintext) = keys.decrypt_ticket(&ticket, names, &mut scratch)?;
        assert_eq!(plaintext, b"the ticket");
        Ok(key.kvno())
    }

    fn in_keytab(&self) -> Result<u32, Reason> {
        self.of(&keytab(), &ServiceNames::InKeytab)
    }
}

fn no_key(result: Result<u32, Reason>) -> (String, String) {
    match result {
        Err(Reason::Peer(Peer::NoKey { wanted, found })) => (wanted, found),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_kvno_chooses_between_old_and_new_key() {
    assert_eq!(Case::new(WEB, Some(4), 4).in_keytab(), Ok(4));
    assert_eq!(Case::new(WEB, Some(3), 3).in_keytab(), Ok(3));
    assert_eq!(Case { etype: 17, ..Case::new(WEB, Some(4), 4) }.in_keytab(), Ok(4));
}

#[test]
fn a_kvno_that_the_keytab_lacks_is_named_with_what_it_has() {
    let (wanted, found) = no_key(Case::new(WEB, Some(5), 5).in_keytab());
    assert_eq!(wanted, "HTTP/web.example.test@EXAMPLE.TEST kvno 5 aes256-cts-hmac-sha1-96");
    assert_eq!(found, "kvno 4 aes128-cts-hmac-sha1-96, kvno 4 aes256-cts-hmac-sha1-96, kvno 3 aes256-cts-hmac-sha1-96");
}

#[test]
fn an_old_kvno_that_is_no_longer_in_the_keytab_is_refused() {
    no_key(Case::new(WEB, Some(2), 2).in_keytab());
}

#[test]
fn a_ticket_without_kvno_or_with_an_invented_one_is_tried_with_every_key_of_its_name() {
    assert_eq!(Case::new(WEB, None, 3).in_keytab(), Ok(3));
    assert_eq!(Case::new(WEB, None, 4).in_keytab(), Ok(4));
    assert_eq!(Case::new(WEB, Some(0), 4).in_keytab(), Ok(4));
    assert_eq!(Case::new(WEB, Some(77), 4).in_keytab(), Ok(4));
}

#[test]
fn the_right_kvno_with_another_password_is_said_so_and_no_other_key_is_tried() {
    let result = Case::new(WEB, Some(4), 3).in_keytab();
    let key = "HTTP/web.example.test@EXAMPLE.TEST kvno 4 aes256-cts-hmac-sha1-96".to_owned();
    assert_eq!(result, Err(Peer::TicketIntegrity { key }.into()));
}

#[test]
fn a_kvno_of_which_the_keytab_kept_eight_bits_is_found() {
    assert_eq!(Case::new(WEB, Some(0x104), 4).in_keytab(), Ok(4));
    assert_eq!(Case::new(WEB, Some(0x103), 3).in_keytab(), Ok(3));
    // The whole number goes before its low byte.
    let keys = Keys::new([entry(WEB, 4, AES, &[1; 32]), entry(WEB, 0x104, AES, &[2; 32])]);
    assert_eq!(Case::new(WEB, Some(0x104), 2).of(&keys, &ServiceNames::InKeytab), Ok(0x104));
    // A keytab with whole numbers is taken at its word.
    let keys = Keys::new([entry(WEB, 0x204, AES, &[1; 32])]);
    no_key(Case::new(WEB, Some(0x104), 9).of(&keys, &ServiceNames::InKeytab));
}

#[test]
fn a_name_is_compared_without_case_and_a_realm_exactly() {
    const SHOUTED: PrincipalName<'static> = PrincipalName::of(SRV_INST, &["http", "WEB.Example.Test"]);
    assert_eq!(Case::new(SHOUTED, Some(4), 4).in_keytab(), Ok(4));
    for realm in [&b"example.test"[..], b"EXAMPLE.TES", b"EXAMPLE.TEST.", b"EXAMPLE.TEST\0", b""] {
        no_key(Case { realm: KerberosString(realm), ..Case::new(WEB, Some(4), 4) }.in_keytab());
        let case = Case { realm: KerberosString(realm), ..Case::new(WEB, Some(4), 4) };
        no_key(case.of(&keytab(), &ServiceNames::AnyOfTheAccount));
    }
}

#[test]
fn components_are_not_glued_together() {
    const ONE: PrincipalName<'static> = PrincipalName::of(SRV_INST, &["HTTP/web.example.test"]);
    const SPLIT: PrincipalName<'static> = PrincipalName::of(SRV_INST, &["HTTP", "web.example.test", ""]);
    const NONE: PrincipalName<'static> = PrincipalName::of(SRV_INST, &[]);
    for name in [ONE, SPLIT, NONE] {
        no_key(Case::new(name, Some(4), 4).in_keytab());
    }
}

#[test]
fn a_service_name_that_is_not_in_the_keytab_is_refused_although_the_key_would_fit() {
    let (wanted, found) = no_key(Case::new(SHORT, Some(4), 4).in_keytab());
    assert_eq!(wanted, "HTTP/web@EXAMPLE.TEST kvno 4 aes256-cts-hmac-sha1-96");
    assert_eq!(found, "HTTP/web.example.test@EXAMPLE.TEST, cifs/web.example.test@EXAMPLE.TEST");
}

#[test]
fn listed_names_may_use_any_key_and_others_none() {
    let listed = ServiceNames::Listed(vec!["http/WEB".to_owned()]);
    assert_eq!(Case::new(SHORT, Some(4), 4).of(&keytab(), &listed), Ok(4));
    let service = ServiceNames::Listed(vec!["HTTP".to_owned()]);
    assert_eq!(Case::new(WEB, Some(4), 4).of(&keytab(), &service), Ok(4));
    assert_eq!(Case::new(SHORT, Some(4), 4).of(&keytab(), &service), Ok(4));
    for names in [&listed, &service] {
        let refused = Case::new(FILES, Some(4), 4).of(&keytab(), names);
        assert!(matches!(refused, Err(Reason::Peer(Peer::WrongService { .. }))), "{refused:?}");
    }
    let bare = PrincipalName::of(SRV_INST, &["HTTP"]);
    assert!(Case::new(bare, Some(4), 4).of(&keytab(), &service).is_err());
}

#[test]
fn any_name_of_the_account_is_taken_only_if_the_policy_says_so() {
    assert_eq!(Case::new(SHORT, Some(4), 4).of(&keytab(), &ServiceNames::AnyOfTheAccount), Ok(4));
    assert!(Case::new(SHORT, Some(4), 9).of(&keytab(), &ServiceNames::AnyOfTheAccount).is_err());
}

#[test]
fn an_etype_that_is_not_implemented_is_a_matter_of_policy() {
    let result = Case { etype: 3, ..Case::new(WEB, Some(4), 4) }.in_keytab();
    assert_eq!(result, Err(Policy::EtypeOff { etype: 3 }.into()));
    no_key(Case { etype: 20, ..Case::new(WEB, Some(4), 4) }.in_keytab());
}

#[test]
fn two_keys_of_the_same_name_kvno_and_etype_are_both_tried() {
    let keys = Keys::new([entry(WEB, 4, AES, &[1; 32]), entry(WEB, 4, AES, &[2; 32])]);
    assert_eq!(Case::new(WEB, Some(4), 1).of(&keys, &ServiceNames::InKeytab), Ok(4));
    assert_eq!(Case::new(WEB, Some(4), 2).of(&keys, &ServiceNames::InKeytab), Ok(4));
}

#[test]
fn an_empty_keytab_says_so() {
    assert_eq!(no_key(Case::new(WEB, Some(4), 4).of(&Keys::default(), &ServiceNames::InKeytab)).1, "no key at all");
}

#[test]
fn what_cannot_be_used_of_a_keytab_is_counted() {
    let keys = keytab();
    assert_eq!(keys.skipped(), 2);
    assert_eq!(keys.keys.len(), 3, "one key under two names is prepared once");
    let kvnos: Vec<_> = keys.keys_of("HTTP/web.example.test@EXAMPLE.TEST").map(ServiceKey::kvno).collect();
    assert_eq!(kvnos, [4, 4, 3]);
    assert!(keys.has_realm(REALM) && !keys.has_realm(KerberosString(b"example.test")));
}

#[test]
fn keys_are_not_printed() {
    let printed = format!("{:?} {:?}", keytab(), entry(WEB, 4, AES, &[4; 32]));
    assert!(!printed.contains("4, 4, 4"), "{printed}");
}
