//! A KDC in memory: the realm `EXAMPLE.TEST` with alice and the service `HTTP/web.example.test`.

use std::time::Duration;

use iwa_auth::krb5::acceptor::{Service, ServicePolicy};
use iwa_auth::krb5::client::{Client, LongTerm};
use iwa_auth::krb5::etype::{Etype, Key};
use iwa_auth::krb5::issuer::{
    self, ClientName, DbUnavailable, Kdc, KdcPolicy, KeySet, PacAccount, PrincipalDb, Refusal, Server, Transport,
};
use iwa_auth::krb5::keys::{KeyEntry, Keys};
use iwa_auth::{Env, UnixTime};
use iwa_wire::counted::CountedName;
use iwa_wire::keytab::{Entry, Keytab};
use iwa_wire::krb5::Principal;

use crate::accounts::DOMAIN;
use crate::pair::{NOW, Seeded};

/// The realm.
pub const REALM: &str = "EXAMPLE.TEST";
/// The host of the service.
pub const HOST: &str = "web.example.test";

/// The realm's accounts and keys. The keys are fixed, and different for every account.
#[derive(Clone, Debug)]
pub struct Realm {
    kdc: Kdc,
    alice: issuer::Client,
    services: Vec<Server>,
    service: Principal,
    /// The KDC's clock.
    pub now: UnixTime,
    entropy: Seeded,
}

impl Default for Realm {
    fn default() -> Self {
        Self::new(&[Etype::Aes256CtsHmacSha1])
    }
}

impl Realm {
    /// A realm whose accounts have keys of these encryption types; tickets are made with the first.
    #[must_use]
    pub fn new(etypes: &[Etype]) -> Self {
        let account = PacAccount {
            name: "alice".to_owned(),
            display_name: "Alice Example".to_owned(),
            upn: "alice@example.test".to_owned(),
            domain: DOMAIN.to_owned(),
            dns_domain: REALM.to_owned(),
            server: "KDC".to_owned(),
            domain_sid: "S-1-5-21-1-2-3".parse().expect("it is a SID"),
            rid: 1000,
            primary_group: 513,
            groups: vec![1105],
            extra_sids: Vec::new(),
            user_account_control: 0x10,
            password_set: UnixTime::from_secs(1_700_000_000),
        };
        let service = |name: &str, fill| Server { name: name.to_owned(), keys: vec![keys(etypes, 3, fill)] };
        Self {
            kdc: Kdc::new(REALM, KdcPolicy { etypes: etypes.to_vec(), ..KdcPolicy::default() }),
            alice: issuer::Client { account, keys: keys(etypes, 1, 1), delegable: true },
            services: vec![service(&format!("krbtgt/{REALM}"), 60), service(&format!("HTTP/{HOST}"), 120)],
            service: Principal::service("HTTP", HOST, REALM),
            now: NOW,
            entropy: Seeded(3),
        }
    }

    /// The same without the service: nobody gets a ticket for it.
    #[must_use]
    pub fn without_service(mut self) -> Self {
        self.services.truncate(1);
        self
    }

    /// The same with another service in place of `HTTP/web.example.test`: a directory.
    #[must_use]
    pub fn of_service(mut self, service: &str, host: &str) -> Self {
        self.service = Principal::service(service, host, REALM);
        self.services.iter_mut().skip(1).for_each(|held| held.name = format!("{service}/{host}"));
        self
    }

    /// The same with this clock.
    #[must_use]
    pub fn at(mut self, now: UnixTime) -> Self {
        self.now = now;
        self
    }

    /// alice, with the keys of her password.
    #[must_use]
    pub fn alice(&self) -> Client {
        let keys = self.alice.keys.keys.iter().map(|key| (self.alice.keys.kvno, key.clone())).collect();
        Client::new(Principal::user("alice", REALM), LongTerm::Keys(keys))
    }

    /// The service's keys, as they stand in its keytab.
    #[must_use]
    pub fn keytab(&self) -> Keys {
        let name = &self.service;
        let of_service = self.services.iter().skip(1).flat_map(|service| &service.keys);
        Keys::new(of_service.flat_map(|set| set.keys.iter().map(|key| (set.kvno, key))).map(|(kvno, key)| KeyEntry {
            name: name.name(),
            realm: name.realm(),
            kvno,
            etype: key.etype().number(),
            key: key.expose(),
        }))
    }

    /// The service's keytab as a file.
    #[must_use]
    pub fn keytab_file(&self) -> Vec<u8> {
        let name = &self.service;
        let mut file = Vec::new();
        Keytab::write_head(&mut file);
        for set in self.services.iter().skip(1).flat_map(|service| &service.keys) {
            for key in &set.keys {
                let principal = CountedName::from(name);
                let entry =
                    Entry { principal, timestamp: 0, kvno: set.kvno, etype: key.etype().number(), key: key.expose() };
                entry.write(&mut file);
            }
        }
        file
    }

    /// The service with the usual policy.
    #[must_use]
    pub fn service(&self) -> Service {
        Service::new(self.keytab(), ServicePolicy::default())
    }

    /// Answers a request, as [`crate::pair::Kdc`] wants it.
    ///
    /// # Errors
    /// If the request is for another realm.
    pub fn answer(&mut self, realm: &str, request: &[u8]) -> Result<Vec<u8>, String> {
        if realm != REALM {
            return Err(format!("there is no KDC for {realm}"));
        }
        let mut entropy = self.entropy.clone();
        let mut env = Env { now: self.now, entropy: &mut entropy };
        let answer = self.kdc.respond(request, self, &mut env, Transport::Tcp);
        self.entropy = entropy;
        Ok(answer.reply)
    }
}

/// The lifetime of the KDC's tickets.
pub const LIFE: Duration = Duration::from_secs(10 * 3600);

fn keys(etypes: &[Etype], kvno: u32, fill: u8) -> KeySet {
    let key = |etype: &Etype| {
        let bytes = vec![fill + etype.number() as u8; etype.key_size()];
        Key::new(*etype, &bytes).expect("the key has the size of its type")
    };
    KeySet { kvno, salt: format!("{REALM}{fill}"), keys: etypes.iter().map(key).collect() }
}

impl PrincipalDb for Realm {
    fn client(&self, name: ClientName<'_>) -> Result<Option<issuer::Client>, DbUnavailable> {
        let found = match name {
            ClientName::Account(name) => name.eq_ignore_ascii_case(&self.alice.account.name),
            ClientName::Enterprise(upn) => upn.eq_ignore_ascii_case(&self.alice.account.upn),
        };
        Ok(found.then(|| self.alice.clone()))
    }

    fn server(&self, name: &str) -> Result<Option<Server>, DbUnavailable> {
        Ok(self.services.iter().find(|service| service.name.eq_ignore_ascii_case(name)).cloned())
    }

    fn before_proof(&self, _: &issuer::Client, _: UnixTime) -> Result<(), Refusal> {
        Ok(())
    }

    fn after_proof(&self, _: &issuer::Client, right: bool, _: UnixTime) -> Result<(), Refusal> {
        if right { Ok(()) } else { Err(Refusal::WrongPassword) }
    }

    fn still_good(&self, _: &issuer::Client, _: UnixTime) -> Result<(), Refusal> {
        Ok(())
    }
}
