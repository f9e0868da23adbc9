//! The local accounts as a KDC asks for them. MS-KILE 3.3.1.1.
//!
//! Every question is answered from the accounts as they stand at that moment: what `iwa user` changes holds for the next
//! ticket. A lock-out by wrong passwords over Kerberos is the same lock-out as over NTLM.

use std::sync::Arc;

use iwa_auth::krb5::issuer::{Client, ClientName, DbUnavailable, KeySet, PacAccount, PrincipalDb, Refusal, Server};
use iwa_auth::ports::LogonError;
use iwa_auth::{NtStatus, UnixTime};
use iwa_wire::Sid;

use crate::local::{self, LocalAccounts, Snapshot, User};

impl PrincipalDb for LocalAccounts {
    fn client(&self, name: ClientName<'_>) -> Result<Option<Client>, DbUnavailable> {
        let snapshot = read(self)?;
        let user = match name {
            ClientName::Account(name) => snapshot.user(name),
            ClientName::Enterprise(upn) => snapshot.user_by_upn(upn),
        };
        Ok(user.map(|user| client(&snapshot, user)))
    }

    fn server(&self, name: &str) -> Result<Option<Server>, DbUnavailable> {
        let snapshot = read(self)?;
        Ok(snapshot
            .service(name)
            .map(|service| Server { name: service.name.clone(), keys: service.keys.iter().map(key_set).collect() }))
    }

    fn before_proof(&self, client: &Client, now: UnixTime) -> Result<(), Refusal> {
        let snapshot = read(self)?;
        self.check_lockout(snapshot.user_by_rid(client.account.rid), now).map_err(refusal)
    }

    fn after_proof(&self, client: &Client, right: bool, now: UnixTime) -> Result<(), Refusal> {
        let snapshot = read(self)?;
        self.conclude(snapshot.user_by_rid(client.account.rid), right, now).map(|_| ()).map_err(refusal)
    }

    fn still_good(&self, client: &Client, now: UnixTime) -> Result<(), Refusal> {
        let snapshot = read(self)?;
        // Not the lock-out: whoever guesses at a password must not take away the tickets of its owner.
        let user = snapshot.user_by_rid(client.account.rid).ok_or(Refusal::Revoked)?;
        user.check(now).map_err(|status| refusal(LogonError::Refused(status)))
    }
}

fn read(accounts: &LocalAccounts) -> Result<Arc<Snapshot>, DbUnavailable> {
    accounts.snapshot().map_err(|error| {
        tracing::error!("the KDC cannot read the accounts: {error}");
        DbUnavailable
    })
}

fn client(snapshot: &Snapshot, user: &User) -> Client {
    let machine = snapshot.machine();
    let groups = snapshot.groups_of(user.rid).into_iter().map(|group| group.rid).collect();
    // The same groups as a logon over NTLM gives, `BUILTIN\Users` among them.
    let in_domain = |sid: &Sid| sid.sub_authorities().starts_with(machine.sid.sub_authorities());
    let extra_sids = snapshot.group_sids(user.rid).into_iter().filter(|sid| !in_domain(sid)).collect();
    Client {
        account: PacAccount {
            name: user.name.clone(),
            display_name: user.display_name.clone(),
            upn: user.upn.clone(),
            domain: machine.name.clone(),
            dns_domain: machine.realm.clone(),
            server: machine.name.clone(),
            domain_sid: machine.sid,
            rid: user.rid,
            primary_group: DOMAIN_USERS,
            groups,
            extra_sids,
            user_account_control: NORMAL_ACCOUNT,
            password_set: user.password_set,
        },
        keys: key_set(&user.keys),
        delegable: true,
    }
}

fn key_set(set: &local::KeySet) -> KeySet {
    KeySet { kvno: set.kvno, salt: set.salt.clone(), keys: set.keys.clone() }
}

fn refusal(error: LogonError) -> Refusal {
    match error {
        LogonError::Refused(NtStatus::PASSWORD_MUST_CHANGE | NtStatus::PASSWORD_EXPIRED) => Refusal::PasswordExpired,
        LogonError::Refused(NtStatus::WRONG_PASSWORD | NtStatus::LOGON_FAILURE | NtStatus::NO_SUCH_USER) => {
            Refusal::WrongPassword
        }
        LogonError::Refused(_) => Refusal::Revoked,
        LogonError::Unavailable(why) => {
            tracing::error!("the KDC cannot ask for failures and lock-outs: {why}");
            Refusal::Unavailable
        }
    }
}

/// `None` of a machine, `Domain Users` of a domain: the primary group that Windows gives every account.
const DOMAIN_USERS: u32 = 513;
/// `USER_NORMAL_ACCOUNT` (MS-SAMR 2.2.1.12).
const NORMAL_ACCOUNT: u32 = 0x10;
