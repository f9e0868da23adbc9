//! Changing the accounts: every change is one transaction.

use iwa_auth::krb5::etype::{Etype, Key};
use iwa_auth::ntlm::crypto;
use iwa_auth::{Secret, UnixTime};
use iwa_wire::Sid;
use zeroize::Zeroizing;

use super::error::AccountsError;
use super::name::{self, NameError, same};
use super::record::{Group, KeySet, Machine, Rid, Service, User};
use super::store::Edit;
use super::{LocalAccounts, now};

/// An account to be made.
#[derive(Debug)]
pub struct NewUser<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its password.
    pub password: &'a Secret<String>,
    /// Its display name, or empty.
    pub display_name: &'a str,
    /// Its UPN; without one it is `name@realm`, in lower case.
    pub upn: Option<&'a str>,
    /// Whether the password must be changed before it is good for anything.
    pub must_change: bool,
    /// From when on it is no longer good.
    pub expires: Option<UnixTime>,
}

/// What may be changed of an account besides its password. `None` leaves it as it is.
#[derive(Clone, Debug, Default)]
pub struct UserChange {
    /// Disabled or not.
    pub disabled: Option<bool>,
    /// Whether the password must be changed.
    pub must_change: Option<bool>,
    /// The end; `Some(None)` takes it away.
    pub expires: Option<Option<UnixTime>>,
    /// The display name.
    pub display_name: Option<String>,
    /// The UPN.
    pub upn: Option<String>,
}

impl LocalAccounts {
    /// Makes an account.
    ///
    /// # Errors
    /// The name or the password cannot be used, the name or the UPN is taken, or the store cannot be written.
    pub fn add_user(&self, new: &NewUser<'_>) -> Result<User, AccountsError> {
        name::check_user(new.name).map_err(named(new.name))?;
        name::check_text(new.display_name).map_err(named(new.display_name))?;
        let realm = self.snapshot()?.machine().realm.clone();
        let upn = new.upn.map_or_else(|| format!("{}@{}", upn_name(new.name), realm.to_lowercase()), str::to_owned);
        name::check_upn(&upn).map_err(named(&upn))?;
        // Deriving keys takes tens of milliseconds, and nobody has to wait for them: it is done before the file is opened.
        let (nt_hash, keys) = derive(new.password, &realm, new.name, 1)?;
        self.inner.store.change(|edit| {
            let (users, groups) = (edit.users()?, edit.groups()?);
            check_free(&users, &groups, new.name)?;
            check_upn_free(&users, &upn, None)?;
            let user = User {
                rid: edit.next_rid()?,
                name: new.name.to_owned(),
                display_name: new.display_name.to_owned(),
                upn,
                disabled: false,
                must_change: new.must_change,
                expires: new.expires,
                created: now(),
                password_set: now(),
                nt_hash,
                keys,
                previous: Vec::new(),
            };
            edit.put_user(&user)?;
            Ok(user)
        })
    }

    /// Sets an account's password: new keys under the next kvno. A lock-out stays; `must_change` goes unless it is wanted.
    ///
    /// # Errors
    /// There is no such account, the password cannot be used, or the store cannot be written.
    pub fn set_password(
        &self,
        name: &str,
        password: &Secret<String>,
        must_change: bool,
    ) -> Result<User, AccountsError> {
        let snapshot = self.snapshot()?;
        let user = snapshot.user(name).ok_or_else(|| no_such("account", name))?;
        let (rid, spelled) = (user.rid, user.name.clone());
        let (nt_hash, keys) = derive(password, &snapshot.machine().realm, &spelled, 0)?;
        self.inner.store.change(|edit| {
            // Removed meanwhile, or removed and made again: then this is not the account that was meant.
            let mut user = find_user(edit, name)?;
            if user.rid != rid {
                return Err(no_such("account", name));
            }
            let kvno = user.keys.kvno.wrapping_add(1).max(1);
            user.previous.insert(0, std::mem::replace(&mut user.nt_hash, nt_hash));
            user.previous.truncate(KEPT_PASSWORDS);
            user.keys = KeySet { kvno, ..keys };
            user.must_change = must_change;
            user.password_set = now();
            edit.put_user(&user)?;
            Ok(user)
        })
    }

    /// Changes an account.
    ///
    /// # Errors
    /// There is no such account, a name cannot be used, or the store cannot be written.
    pub fn change_user(&self, name: &str, change: &UserChange) -> Result<User, AccountsError> {
        if let Some(text) = &change.display_name {
            name::check_text(text).map_err(named(text))?;
        }
        if let Some(upn) = &change.upn {
            name::check_upn(upn).map_err(named(upn))?;
        }
        self.inner.store.change(|edit| {
            let mut user = find_user(edit, name)?;
            if let Some(upn) = &change.upn {
                check_upn_free(&edit.users()?, upn, Some(user.rid))?;
                user.upn.clone_from(upn);
            }
            user.disabled = change.disabled.unwrap_or(user.disabled);
            user.must_change = change.must_change.unwrap_or(user.must_change);
            user.expires = change.expires.unwrap_or(user.expires);
            if let Some(text) = &change.display_name {
                user.display_name.clone_from(text);
            }
            edit.put_user(&user)?;
            Ok(user)
        })
    }

    /// Ends an account's lock-out and forgets its failures.
    ///
    /// # Errors
    /// There is no such account, or the file of failures cannot be written.
    pub fn unlock_user(&self, name: &str) -> Result<(), AccountsError> {
        let snapshot = self.snapshot()?;
        let user = snapshot.user(name).ok_or_else(|| no_such("account", name))?;
        self.inner.failures.unlock(user.rid).map(|_| ())
    }

    /// Removes an account, and it from every group. Its SID is never given again.
    ///
    /// # Errors
    /// There is no such account, or the store cannot be written.
    pub fn remove_user(&self, name: &str) -> Result<(), AccountsError> {
        self.inner.store.change(|edit| {
            let user = find_user(edit, name)?;
            edit.remove_user(user.rid)?;
            remove_from_groups(edit, user.rid)
        })
    }

    /// Makes a group.
    ///
    /// # Errors
    /// The name cannot be used or is taken, or the store cannot be written.
    pub fn add_group(&self, name: &str, comment: &str) -> Result<Group, AccountsError> {
        name::check_group(name).map_err(named(name))?;
        name::check_text(comment).map_err(named(comment))?;
        self.inner.store.change(|edit| {
            check_free(&edit.users()?, &edit.groups()?, name)?;
            let group = Group {
                rid: edit.next_rid()?,
                name: name.to_owned(),
                comment: comment.to_owned(),
                members: Vec::new(),
            };
            edit.put_group(&group)?;
            Ok(group)
        })
    }

    /// Removes a group, and it from every other. Its members stay.
    ///
    /// # Errors
    /// There is no such group, or the store cannot be written.
    pub fn remove_group(&self, name: &str) -> Result<(), AccountsError> {
        self.inner.store.change(|edit| {
            let group = find_group(edit, name)?;
            edit.remove_group(group.rid)?;
            remove_from_groups(edit, group.rid)
        })
    }

    /// Puts a user or a group into a group. It may be in it already.
    ///
    /// # Errors
    /// One of them is not there, the group would be a member of itself, or the store cannot be written.
    pub fn add_member(&self, group: &str, member: &str) -> Result<(), AccountsError> {
        self.inner.store.change(|edit| {
            let (users, groups) = (edit.users()?, edit.groups()?);
            let mut into = find_group(edit, group)?;
            let rid = find_any(&users, &groups, member)?;
            if within(&groups, into.rid, rid) {
                return Err(AccountsError::Cycle { group: into.name, member: member.to_owned() });
            }
            if let Err(place) = into.members.binary_search(&rid) {
                into.members.insert(place, rid);
                edit.put_group(&into)?;
            }
            Ok(())
        })
    }

    /// Takes a user or a group out of a group.
    ///
    /// # Errors
    /// One of them is not there, it is not a member, or the store cannot be written.
    pub fn remove_member(&self, group: &str, member: &str) -> Result<(), AccountsError> {
        self.inner.store.change(|edit| {
            let mut from = find_group(edit, group)?;
            let rid = find_any(&edit.users()?, &edit.groups()?, member)?;
            let place = from.members.binary_search(&rid).map_err(|_| no_such("member of that group", member))?;
            from.members.remove(place);
            edit.put_group(&from)
        })
    }

    /// Gives a service principal random keys under the next kvno, and makes it if it is not there. The keys before them stay
    /// for the tickets that are out.
    ///
    /// # Errors
    /// The name cannot be used, there is no randomness, or the store cannot be written.
    pub fn set_service_keys(&self, spn: &str) -> Result<Service, AccountsError> {
        name::check_spn(spn).map_err(named(spn))?;
        let fresh = random_keys(0)?;
        self.inner.store.change(|edit| {
            let mut service = edit.service(spn)?.unwrap_or_else(|| Service { name: spn.to_owned(), keys: Vec::new() });
            let kvno = service.keys.first().map_or(1, |newest| newest.kvno.wrapping_add(1).max(1));
            service.keys.insert(0, KeySet { kvno, ..fresh });
            service.keys.truncate(KEPT_KEYS);
            edit.put_service(&service)?;
            Ok(service)
        })
    }

    /// Removes a service principal.
    ///
    /// # Errors
    /// There is none, it is the ticket-granting service, or the store cannot be written.
    pub fn remove_service(&self, spn: &str) -> Result<(), AccountsError> {
        self.inner.store.change(|edit| {
            let service = edit.service(spn)?.ok_or_else(|| no_such("service", spn))?;
            if service.name.starts_with("krbtgt/") {
                return Err(AccountsError::Name { name: service.name, error: NameError::Reserved });
            }
            edit.remove_service(spn)
        })
    }
}

/// A machine with a SID of its own, and keys for its ticket-granting service.
pub(super) fn new_machine(machine: &str, realm: &str) -> Result<(Machine, Service), AccountsError> {
    name::check_machine(machine).map_err(named(machine))?;
    name::check_realm(realm).map_err(named(realm))?;
    let mut parts = [21, 0, 0, 0];
    for part in parts.iter_mut().skip(1) {
        *part = u32::from_le_bytes(random()?);
    }
    // Invariant: authority 5 with four sub-authorities is always a SID.
    let sid = Sid::new(5, &parts).ok_or(AccountsError::Entropy)?;
    let krbtgt = Service { name: format!("krbtgt/{realm}"), keys: vec![random_keys(1)?] };
    Ok((Machine { name: machine.to_uppercase(), realm: realm.to_owned(), sid }, krbtgt))
}

/// The NT hash and the Kerberos keys of a password. The salt is Active Directory's: the realm and the name as it is written
/// (MS-KILE 3.1.1.2).
fn derive(
    password: &Secret<String>,
    realm: &str,
    name: &str,
    kvno: u32,
) -> Result<(Secret<[u8; 16]>, KeySet), AccountsError> {
    check_password(password)?;
    let salt = format!("{realm}{name}");
    let keys =
        ETYPES.iter().filter_map(|&etype| Key::from_password(etype, password.expose(), salt.as_bytes(), None).ok());
    Ok((crypto::nt_hash(password.expose()), KeySet { kvno, keys: keys.collect(), salt }))
}

fn check_password(password: &Secret<String>) -> Result<(), AccountsError> {
    let password = password.expose();
    let why = if password.is_empty() {
        "a password is needed: Windows lets nobody in over the network without one, and neither does this"
    } else if password.encode_utf16().count() > MAX_PASSWORD {
        "the password is longer than Windows takes (256 characters)"
    } else if password.contains(['\0', '\r', '\n']) {
        "the password holds a line break or a NUL, which cannot be typed at a logon"
    } else {
        return Ok(());
    };
    Err(AccountsError::Password { why })
}

/// Random keys for every encryption type that is in use, strongest first (RFC 3961 `random-to-key` of AES is the identity).
fn random_keys(kvno: u32) -> Result<KeySet, AccountsError> {
    let keys = ETYPES
        .iter()
        .map(|&etype| {
            let mut bytes = Zeroizing::new([0; 32]);
            let bytes = bytes.get_mut(..etype.key_size()).ok_or(AccountsError::Entropy)?;
            getrandom::fill(bytes).map_err(|_| AccountsError::Entropy)?;
            Key::new(etype, bytes).ok_or(AccountsError::Entropy)
        })
        .collect::<Result<_, _>>()?;
    Ok(KeySet { kvno, salt: String::new(), keys })
}

fn random<const N: usize>() -> Result<[u8; N], AccountsError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| AccountsError::Entropy)?;
    Ok(bytes)
}

/// An account's name as the first part of a UPN, which holds no spaces.
fn upn_name(name: &str) -> String {
    name.chars().map(|c| if c.is_whitespace() { '.' } else { c }).collect()
}

fn check_free(users: &[User], groups: &[Group], name: &str) -> Result<(), AccountsError> {
    if let Some(user) = users.iter().find(|user| same(&user.name, name)) {
        return Err(AccountsError::Exists { kind: "an account", name: user.name.clone() });
    }
    match groups.iter().find(|group| same(&group.name, name)) {
        Some(group) => Err(AccountsError::Exists { kind: "a group", name: group.name.clone() }),
        None => Ok(()),
    }
}

fn check_upn_free(users: &[User], upn: &str, except: Option<Rid>) -> Result<(), AccountsError> {
    match users.iter().find(|user| Some(user.rid) != except && same(&user.upn, upn)) {
        Some(user) => Err(AccountsError::Exists { kind: "an account with the UPN", name: user.upn.clone() }),
        None => Ok(()),
    }
}

fn find_user(edit: &Edit<'_>, name: &str) -> Result<User, AccountsError> {
    edit.users()?.into_iter().find(|user| same(&user.name, name)).ok_or_else(|| no_such("account", name))
}

fn find_group(edit: &Edit<'_>, name: &str) -> Result<Group, AccountsError> {
    if same(name, super::USERS) {
        // Everybody is in it; its members cannot be changed.
        return Err(AccountsError::Name { name: name.to_owned(), error: NameError::Reserved });
    }
    edit.groups()?.into_iter().find(|group| same(&group.name, name)).ok_or_else(|| no_such("group", name))
}

fn find_any(users: &[User], groups: &[Group], name: &str) -> Result<Rid, AccountsError> {
    let user = users.iter().find(|user| same(&user.name, name)).map(|user| user.rid);
    let group = || groups.iter().find(|group| same(&group.name, name)).map(|group| group.rid);
    user.or_else(group).ok_or_else(|| no_such("account or group", name))
}

/// Whether `sought` is `group` or one of the members of `sought`, at any depth, is.
fn within(groups: &[Group], group: Rid, sought: Rid) -> bool {
    let mut open = vec![sought];
    let mut seen = std::collections::HashSet::new();
    while let Some(rid) = open.pop() {
        if rid == group {
            return true;
        }
        if seen.insert(rid) {
            open.extend(groups.iter().filter(|group| group.rid == rid).flat_map(|group| &group.members));
        }
    }
    false
}

fn remove_from_groups(edit: &Edit<'_>, rid: Rid) -> Result<(), AccountsError> {
    for mut group in edit.groups()? {
        if let Ok(place) = group.members.binary_search(&rid) {
            group.members.remove(place);
            edit.put_group(&group)?;
        }
    }
    Ok(())
}

fn named(name: &str) -> impl FnOnce(NameError) -> AccountsError + '_ {
    move |error| AccountsError::Name { name: name.to_owned(), error }
}

fn no_such(kind: &'static str, name: &str) -> AccountsError {
    AccountsError::NoSuch { kind, name: name.to_owned() }
}

/// Windows' limit (`UNLEN` of a password is 256).
const MAX_PASSWORD: usize = 256;
/// Active Directory looks at the last two passwords before it counts a failure.
pub(super) const KEPT_PASSWORDS: usize = 2;
/// The present keys of a service and the ones before.
const KEPT_KEYS: usize = 2;
/// The encryption types an account has keys of. AES with SHA-1 stands first because every client has it; RC4's key is the
/// NT hash itself.
const ETYPES: [Etype; 4] =
    [Etype::Aes256CtsHmacSha1, Etype::Aes256CtsHmacSha384, Etype::Aes128CtsHmacSha1, Etype::Aes128CtsHmacSha256];
