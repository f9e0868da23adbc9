//! The keys of the services that this server answers for: chosen by name, kvno and etype. RFC 4120 3.2.3, 6.
//!
//! Which key decrypts a ticket:
//!
//! - The **realm** must be the key's, byte for byte. The **name** is compared without regard to ASCII case, because Windows
//!   looks up SPNs so, and its clients write hosts as the user typed them.
//! - The **etype** must be the key's. A ticket is never tried with a key of another etype.
//! - The **kvno**, if the ticket has one, chooses the key. Old keytabs keep only its low eight bits: a key of kvno below 256
//!   also stands for a ticket whose kvno ends in the same byte, after an exact match was looked for.
//! - If the ticket has **no kvno** (some KDCs leave it out), or one that the keytab does not have (`ktpass` invents one), the
//!   keys of that name and etype are tried, newest first and at most [`TRIALS`] of them: whoever can encrypt a ticket under
//!   a key of ours knew it, whatever number stands beside it. If the keytab has the kvno, no other key is tried.
//! - Which **names** are taken at all is the policy's matter: [`ServiceNames`].

use core::fmt;
use core::fmt::Write as _;

use iwa_wire::keytab::Keytab;
use iwa_wire::krb5::{KerberosString, PrincipalName, Ticket};

use super::etype::{ChecksumKey, Etype, Key, SpecificKey};
use super::usage;
use crate::reject::{Peer, Policy, Reason};

/// The most keys that one ticket is tried with: an attacker's garbage costs no more than that.
pub const TRIALS: usize = 8;

/// One key of a keytab, as it is handed to [`Keys::new`].
#[derive(Clone, Copy)]
pub struct KeyEntry<'a> {
    /// The service.
    pub name: PrincipalName<'a>,
    /// Its realm.
    pub realm: KerberosString<'a>,
    /// The key's version number.
    pub kvno: u32,
    /// The number of its encryption type.
    pub etype: i32,
    /// The key itself.
    pub key: &'a [u8],
}

impl fmt::Debug for KeyEntry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyEntry({}@{} kvno {} etype {})", self.name, self.realm, self.kvno, self.etype)
    }
}

/// The services that a client may mean.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum ServiceNames {
    /// Those that stand in the keytab, each with its own keys.
    #[default]
    InKeytab,
    /// Those listed, with any key of the keytab: `HTTP/web.example.test` means that name, `HTTP` means every host. For
    /// services that share one account and of which the keytab names only some, and to keep a keytab with `host/` and
    /// `cifs/` from being used through HTTP. Compared without regard to ASCII case.
    Listed(Vec<String>),
    /// Any name at all under which a key of the keytab decrypts, as Windows does it. A ticket that was made for another
    /// service of the same account is then taken too.
    AnyOfTheAccount,
}

/// The keys of a service, prepared for tickets and PACs. Immutable; a new keytab makes a new one.
#[derive(Debug, Default)]
pub struct Keys {
    /// Every distinct key once, newest first.
    keys: Vec<ServiceKey>,
    services: Vec<NamedService>,
    /// Hash of a name in lower case, and its place in `services`; sorted.
    index: Vec<(u64, usize)>,
    skipped: usize,
}

/// A service and which of the keys are its.
#[derive(Debug)]
struct NamedService {
    realm: Box<[u8]>,
    components: Box<[Box<[u8]>]>,
    /// The name and realm, safe to print.
    text: String,
    /// Places in `Keys::keys`, newest first.
    keys: Vec<usize>,
}

/// A key with what is used of it on every accept.
#[derive(Debug)]
pub struct ServiceKey {
    kvno: u32,
    realm: Box<[u8]>,
    key: Key,
    ticket: SpecificKey,
    checksum: ChecksumKey,
}

impl ServiceKey {
    /// The key's version number.
    #[must_use]
    pub const fn kvno(&self) -> u32 {
        self.kvno
    }

    /// Its encryption type.
    #[must_use]
    pub const fn etype(&self) -> Etype {
        self.key.etype()
    }

    /// The key itself.
    #[must_use]
    pub const fn key(&self) -> &Key {
        &self.key
    }

    /// Its Kc for the signatures of a PAC (key usage 17).
    #[must_use]
    pub const fn pac_checksum(&self) -> &ChecksumKey {
        &self.checksum
    }
}

impl Keys {
    /// Prepares the keys of one or several keytabs. Entries of an etype that is not implemented, or whose key has a wrong
    /// length, are counted ([`Keys::skipped`]) and left out.
    pub fn new<'a>(entries: impl IntoIterator<Item = KeyEntry<'a>>) -> Self {
        let mut keys = Self::default();
        let mut of_service: Vec<Vec<usize>> = Vec::new();
        for entry in entries {
            let key = Etype::from_number(entry.etype).and_then(|etype| Key::new(etype, entry.key));
            let Some(key) = key else {
                keys.skipped += 1;
                continue;
            };
            let at = keys.add_key(&entry, key);
            let service = match keys.service_at(entry.realm, entry.name) {
                Some(service) => service,
                None => {
                    of_service.push(Vec::new());
                    keys.add_service(&entry)
                }
            };
            if let Some(own) = of_service.get_mut(service).filter(|own| !own.contains(&at)) {
                own.push(at);
            }
        }
        keys.newest_first(of_service);
        keys
    }

    /// Prepares the keys of these keytabs.
    pub fn of_keytabs<'a>(keytabs: impl IntoIterator<Item = Keytab<'a>>) -> Self {
        let entries: Vec<_> = keytabs.into_iter().flat_map(|keytab| keytab.entries()).collect();
        let named: Vec<_> =
            entries.iter().filter_map(|entry| Some((entry.principal.to_principal().ok()?, entry))).collect();
        let mut keys = Self::new(named.iter().map(|(principal, entry)| KeyEntry {
            name: principal.name(),
            realm: principal.realm(),
            kvno: entry.kvno,
            etype: entry.etype,
            key: entry.key,
        }));
        keys.skipped += entries.len() - named.len();
        keys
    }

    fn add_key(&mut self, entry: &KeyEntry<'_>, key: Key) -> usize {
        let same = |known: &ServiceKey| {
            known.kvno == entry.kvno
                && *known.realm == *entry.realm.0
                && known.etype() == key.etype()
                && known.key.ct_eq(key.expose())
        };
        if let Some(at) = self.keys.iter().position(same) {
            return at;
        }
        let protocol = key.protocol();
        self.keys.push(ServiceKey {
            kvno: entry.kvno,
            realm: entry.realm.0.into(),
            ticket: protocol.specific(usage::TICKET),
            checksum: protocol.checksum(usage::NON_KERBEROS_CHECKSUM),
            key,
        });
        self.keys.len() - 1
    }

    fn add_service(&mut self, entry: &KeyEntry<'_>) -> usize {
        let at = self.services.len();
        self.services.push(NamedService {
            realm: entry.realm.0.into(),
            components: entry.name.components().map(|component| component.0.into()).collect(),
            text: format!("{}@{}", entry.name, entry.realm),
            keys: Vec::new(),
        });
        let slot = (hash(entry.realm, entry.name), at);
        let place = self.index.partition_point(|known| *known < slot);
        self.index.insert(place, slot);
        at
    }

    /// Sorts the keys by kvno, the highest first; among equals the one that stands later in the keytab is newer.
    fn newest_first(&mut self, of_service: Vec<Vec<usize>>) {
        let mut order: Vec<usize> = (0..self.keys.len()).collect();
        order.sort_by_key(|&at| core::cmp::Reverse((self.keys.get(at).map_or(0, ServiceKey::kvno), at)));
        let mut places = vec![0; order.len()];
        for (place, &was) in order.iter().enumerate() {
            if let Some(slot) = places.get_mut(was) {
                *slot = place;
            }
        }
        for (service, own) in self.services.iter_mut().zip(of_service) {
            service.keys = own.into_iter().filter_map(|was| places.get(was).copied()).collect();
            service.keys.sort_unstable();
        }
        let mut keys: Vec<Option<ServiceKey>> = self.keys.drain(..).map(Some).collect();
        self.keys = order.iter().filter_map(|&was| keys.get_mut(was)?.take()).collect();
    }

    /// Whether there is no key at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many entries could not be used.
    #[must_use]
    pub const fn skipped(&self) -> usize {
        self.skipped
    }

    /// The services, safe to print.
    pub fn services(&self) -> impl Iterator<Item = &str> {
        self.services.iter().map(|service| service.text.as_str())
    }

    /// The keys of one of [`Keys::services`], newest first.
    pub fn keys_of(&self, service: &str) -> impl Iterator<Item = &ServiceKey> {
        let found = self.services.iter().find(|named| named.text == service);
        found.into_iter().flat_map(|named| named.keys.iter().filter_map(|&at| self.keys.get(at)))
    }

    /// Whether one of the services is of this realm: then it is ours.
    #[must_use]
    pub fn has_realm(&self, realm: KerberosString<'_>) -> bool {
        self.services.iter().any(|service| *service.realm == *realm.0)
    }

    fn service_at(&self, realm: KerberosString<'_>, name: PrincipalName<'_>) -> Option<usize> {
        let hash = hash(realm, name);
        let from = self.index.partition_point(|(known, _)| *known < hash);
        let alike = self.index.get(from..)?.iter().take_while(|(known, _)| *known == hash);
        alike.map(|&(_, at)| at).find(|&at| self.services.get(at).is_some_and(|service| service.is(realm, name)))
    }

    /// Decrypts a ticket into `scratch` with the key that it asks for.
    ///
    /// # Errors
    /// [`Policy::EtypeOff`] for an etype that is not implemented, [`Peer::WrongService`] for a name that the policy does
    /// not take, [`Peer::NoKey`] if no key fits, [`Peer::TicketIntegrity`] if the one that fits does not decrypt.
    pub fn decrypt_ticket<'k, 's>(
        &'k self,
        ticket: &Ticket<'_>,
        names: &ServiceNames,
        scratch: &'s mut Vec<u8>,
    ) -> Result<(&'k ServiceKey, &'s [u8]), Reason> {
        let Some(etype) = Etype::from_number(ticket.enc_part.etype) else {
            return Err(Policy::EtypeOff { etype: ticket.enc_part.etype }.into());
        };
        let service = self.service_at(ticket.realm, ticket.sname).and_then(|at| self.services.get(at));
        let whole_keytab = match names {
            ServiceNames::InKeytab => false,
            ServiceNames::AnyOfTheAccount => service.is_none(),
            ServiceNames::Listed(list) if list.iter().any(|listed| is_listed(listed, ticket.sname)) => {
                service.is_none()
            }
            ServiceNames::Listed(list) => {
                return Err(Peer::WrongService { wanted: list.join(", "), found: wanted(ticket, None) }.into());
            }
        };
        let own = service.map(|service| service.keys.as_slice()).unwrap_or_default();
        let of_realm = |key: &&ServiceKey| *key.realm == *ticket.realm.0;
        let fitting = own
            .iter()
            .filter_map(|&at| self.keys.get(at))
            .chain(self.keys.iter().filter(|_| whole_keytab).filter(of_realm))
            .filter(|key| key.etype() == etype);

        let kvno = ticket.enc_part.kvno;
        let exact = fitting.clone().filter(|key| kvno == Some(key.kvno));
        let wrapped = fitting
            .clone()
            .filter(|key| kvno.is_some_and(|kvno| kvno > 0xff && key.kvno <= 0xff && kvno & 0xff == key.kvno));
        let mut named = None;
        for key in exact.chain(wrapped).take(TRIALS) {
            if key.ticket.decrypt(ticket.enc_part.cipher, scratch).is_ok() {
                return key.with_plaintext(scratch);
            }
            named = named.or(Some(key));
        }
        if let Some(key) = named {
            return Err(Peer::TicketIntegrity { key: wanted(ticket, Some(key.kvno)) }.into());
        }
        for key in fitting.take(TRIALS) {
            if key.ticket.decrypt(ticket.enc_part.cipher, scratch).is_ok() {
                return key.with_plaintext(scratch);
            }
        }
        Err(Peer::NoKey { wanted: wanted(ticket, kvno), found: self.found(ticket, whole_keytab) }.into())
    }

    /// What the keytab has, in words for `Peer::NoKey`.
    fn found(&self, ticket: &Ticket<'_>, whole_keytab: bool) -> String {
        let mut text = String::new();
        if self.keys.is_empty() {
            text.push_str("no key at all");
        } else if let Some(at) = self.service_at(ticket.realm, ticket.sname) {
            let own = self.services.get(at).map(|service| service.keys.as_slice()).unwrap_or_default();
            list(&mut text, own.iter().filter_map(|&at| self.keys.get(at)));
        } else if whole_keytab {
            list(&mut text, self.keys.iter());
        } else {
            for (place, service) in self.services.iter().enumerate() {
                if place == LISTED {
                    let _ = write!(text, " and {} more", self.services.len() - LISTED);
                    break;
                }
                text.push_str(if place == 0 { "" } else { ", " });
                text.push_str(&service.text);
            }
        }
        text
    }
}

impl ServiceKey {
    /// Hands out what `decrypt` left in `scratch`, without confounder and HMAC.
    fn with_plaintext<'k, 's>(&'k self, scratch: &'s [u8]) -> Result<(&'k Self, &'s [u8]), Reason> {
        let range = self.ticket.plaintext_range(scratch.len());
        Ok((self, scratch.get(range).unwrap_or_default()))
    }
}

impl NamedService {
    fn is(&self, realm: KerberosString<'_>, name: PrincipalName<'_>) -> bool {
        *self.realm == *realm.0
            && self.components.len() == name.components().count()
            && self.components.iter().zip(name.components()).all(|(own, other)| own.eq_ignore_ascii_case(other.0))
    }
}

/// `HTTP/web.example.test@EXAMPLE.TEST kvno 5 aes256-cts-hmac-sha1-96`.
fn wanted(ticket: &Ticket<'_>, kvno: Option<u32>) -> String {
    let mut text = format!("{}@{}", ticket.sname, ticket.realm);
    if let Some(kvno) = kvno {
        let _ = write!(text, " kvno {kvno}");
    }
    match Etype::from_number(ticket.enc_part.etype) {
        Some(etype) => {
            let _ = write!(text, " {etype}");
        }
        None => {
            let _ = write!(text, " etype {}", ticket.enc_part.etype);
        }
    }
    text
}

fn list<'a>(text: &mut String, keys: impl Iterator<Item = &'a ServiceKey>) {
    for (place, key) in keys.enumerate() {
        if place == LISTED {
            text.push_str(" and more");
            break;
        }
        let _ = write!(text, "{}kvno {} {}", if place == 0 { "" } else { ", " }, key.kvno, key.etype());
    }
}

/// Whether `HTTP/web.example.test` or `HTTP` means this name.
fn is_listed(listed: &str, name: PrincipalName<'_>) -> bool {
    let mut components = name.components();
    if !listed.contains('/') {
        let service = components.next().is_some_and(|service| service.0.eq_ignore_ascii_case(listed.as_bytes()));
        return service && components.next().is_some();
    }
    let mut parts = listed.split('/');
    loop {
        match (parts.next(), components.next()) {
            (None, None) => return true,
            (Some(part), Some(component)) if component.0.eq_ignore_ascii_case(part.as_bytes()) => {}
            _ => return false,
        }
    }
}

/// How many services or keys an error names.
const LISTED: usize = 12;

/// FNV-1a over the realm and the name in lower case. What is looked up comes from an attacker, what it is compared with does
/// not: a collision costs a comparison.
fn hash(realm: KerberosString<'_>, name: PrincipalName<'_>) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut add = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    realm.0.iter().for_each(|&byte| add(byte));
    for component in name.components() {
        add(0);
        component.0.iter().for_each(|&byte| add(byte.to_ascii_lowercase()));
    }
    hash
}

#[cfg(test)]
mod tests;
