//! The machine's Kerberos keys, and the keytab that holds them. MS-KILE 3.1.1.2 (the salt of computer accounts), RFC 3962 4,
//! MIT keytab file format 0x0502.

use std::collections::BTreeSet;

use iwa_auth::krb5::etype::{Etype, Key};
use iwa_auth::{Secret, UnixTime};
use iwa_wire::keytab::{Entry, Keytab};
use iwa_wire::krb5::Principal;
use zeroize::Zeroizing;

use super::error::MachineError;
use super::state::State;
use super::{Machine, MachinePassword};

/// The encryption types of the machine's keys, the wanted one first: what Active Directory has, without RC4.
pub const ETYPES: [Etype; 2] = [Etype::Aes256CtsHmacSha1, Etype::Aes128CtsHmacSha1];

/// The salt that Active Directory gives a computer account: `CORP.EXAMPLE.TESThostweb.corp.example.test`. What the KDC says
/// counts; this is for when it cannot be asked.
#[must_use]
pub fn default_salt(realm: &str, computer: &str) -> String {
    format!("{}host{}.{}", realm.to_uppercase(), computer.to_lowercase(), realm.to_lowercase())
}

/// A new random password: 120 characters, 720 bits, of all the kinds that a password policy may ask for.
///
/// # Errors
/// [`MachineError::Entropy`].
pub fn new_password() -> Result<Secret<String>, MachineError> {
    loop {
        let mut bytes = Zeroizing::new([0; PASSWORD_LENGTH]);
        getrandom::fill(&mut *bytes).map_err(|_| MachineError::Entropy)?;
        let mut text = String::with_capacity(PASSWORD_LENGTH);
        text.extend(bytes.iter().filter_map(|byte| ALPHABET.get(usize::from(byte & 63))).map(|c| char::from(*c)));
        let password = Secret::new(text);
        let has = |kind: fn(&char) -> bool| password.expose().chars().any(|c| kind(&c));
        if has(char::is_ascii_uppercase) && has(char::is_ascii_lowercase) && has(char::is_ascii_digit) {
            return Ok(password);
        }
    }
}

/// The keys of a password, of each of [`ETYPES`].
///
/// # Errors
/// [`MachineError::Key`].
pub fn derive(password: &Secret<String>, salt: &str) -> Result<Vec<Key>, MachineError> {
    #[cfg(test)]
    if let Some(known) = tests::derived(password, salt) {
        return Ok(known);
    }
    let of = |etype: &Etype| {
        Key::from_password(*etype, password.expose(), salt.as_bytes(), None)
            .map_err(|error| MachineError::Key(error.to_string()))
    };
    ETYPES.iter().map(of).collect()
}

/// The principals of the machine: its account, which is the first because a client takes that one, then its services.
#[must_use]
pub fn principals(machine: &Machine, services: &[String]) -> Vec<Principal> {
    let realm = machine.domain.realm();
    let mut names = BTreeSet::new();
    for service in services {
        let Some((class, host)) = service.split_once('/') else { continue };
        names.insert((class.to_owned(), host.to_owned()));
        // Services of Unix look for theirs in lower case, and theirs is not the only keytab library that tells the two apart.
        if class == "HOST" {
            names.insert(("host".to_owned(), host.to_owned()));
        }
    }
    let account = Principal::user(&machine.account(), &realm);
    let services = names.iter().map(|(class, host)| Principal::service(class, host, &realm));
    std::iter::once(account).chain(services).collect()
}

/// The keytab of a machine, beside the entries of `old` that are of other principals.
pub(super) fn keytab(state: &State, old: Option<&[u8]>, alive: Alive) -> Result<Zeroizing<Vec<u8>>, MachineError> {
    let principals = principals(&state.machine, &state.services);
    let mut sets: Vec<(&MachinePassword, Vec<Key>)> = Vec::new();
    for password in state.passwords_alive(alive) {
        sets.push((password, derive(&password.password, &state.machine.salt)?));
    }
    // Allocated once: an entry takes some 120 bytes, a vector that grows leaves its former self behind.
    let room = 256 * principals.len() * sets.len() * ETYPES.len() + old.map_or(0, <[u8]>::len) + 16;
    let mut out = Zeroizing::new(Vec::with_capacity(room));
    Keytab::write_head(&mut out);
    for principal in &principals {
        for (password, keys) in &sets {
            for key in keys {
                let entry = Entry {
                    principal: principal.into(),
                    timestamp: u32::try_from(password.since.secs()).unwrap_or(u32::MAX),
                    kvno: password.kvno,
                    etype: key.etype().number(),
                    key: key.expose(),
                };
                entry.write(&mut out);
            }
        }
    }
    // What somebody merged into it stays; what is no keytab is replaced.
    let others = old.and_then(|old| Keytab::parse(old).ok());
    for entry in others.iter().flat_map(Keytab::entries) {
        let own = entry.principal.to_principal().is_ok_and(|principal| is_own(&state.machine, &principal, &principals));
        if !own {
            entry.write(&mut out);
        }
    }
    Ok(out)
}

/// Until when a password's tickets live after another took its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Alive {
    pub(super) now: UnixTime,
    pub(super) lifetime: std::time::Duration,
}

fn is_own(machine: &Machine, principal: &Principal, principals: &[Principal]) -> bool {
    principals.contains(principal) || *principal == Principal::user(&machine.account(), &machine.domain.realm())
}

const PASSWORD_LENGTH: usize = 120;

/// Characters that no shell, no XML and no code page changes.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::HashMap;

    use super::*;

    /// The tests that kill the machine at every step derive the same few keys ten thousand times.
    pub(super) fn derived(password: &Secret<String>, salt: &str) -> Option<Vec<Key>> {
        thread_local!(static KNOWN: RefCell<HashMap<String, Vec<Key>>> = RefCell::default());
        let of = |etype: &Etype| Key::from_password(*etype, password.expose(), salt.as_bytes(), None);
        KNOWN.with_borrow_mut(|known| {
            let name = format!("{salt} {}", password.expose());
            let keys = known.entry(name).or_insert_with(|| ETYPES.iter().filter_map(|etype| of(etype).ok()).collect());
            Some(keys.clone())
        })
    }

    #[test]
    fn the_salt_of_a_computer_account() {
        let salt = default_salt("corp.example.test", "WEB");
        assert_eq!(salt, "CORP.EXAMPLE.TESThostweb.corp.example.test");
    }

    #[test]
    fn passwords_are_long_and_of_every_kind_and_never_the_same() {
        let (one, two) = (new_password().unwrap(), new_password().unwrap());
        assert_eq!(one.expose().len(), 120);
        assert!(one.expose().bytes().all(|byte| ALPHABET.contains(&byte)));
        assert_ne!(one.expose(), two.expose());
    }
}
