//! Acting for a user: S4U2Self, a ticket of the user for ourselves, and S4U2Proxy, with such a ticket one for another service.
//! MS-SFU 3.1.5.
//!
//! The answers are looked at as those of [`super::tgs_exchange`]. What MS-SFU leaves open, we close: nothing signs the
//! `PA-FOR-USER` together with the rest of the request, so that somebody on the way may take it out, get an ordinary ticket of
//! *our own* for it, and write the user's name on the outside. So the ticket of S4U2Self, which is encrypted under our own key,
//! is opened, and what it says inside counts. The ticket that goes into S4U2Proxy stands in the request's body, which is signed.

use core::fmt;

use iwa_wire::ParseError;
use iwa_wire::krb5::padata::{PaForUser, PaPacOptions};
use iwa_wire::krb5::{Checksum, EncTicketPart, KerberosTime, Principal, PrincipalName, Ticket, TicketFlags};

use super::super::etype::Key;
use super::super::usage;
use super::{Credential, LongTerm};
use crate::reject::{Peer, Policy, Reject};

/// A user's ticket for ourselves: with it, a KDC that allows it gives us tickets of this user for other services.
///
/// It is made by an acceptor, of the ticket with which the user came, or by S4U2Self.
#[derive(Clone, PartialEq, Eq)]
pub struct Evidence {
    client: Principal,
    ticket: Vec<u8>,
    endtime: KerberosTime,
    forwardable: bool,
}

impl Evidence {
    /// The parts of a ticket that was decrypted and found to be good.
    pub(crate) fn of(ticket: &Ticket<'_>, inside: &EncTicketPart<'_>) -> Result<Self, ParseError> {
        Ok(Self {
            client: inside.cname.to_principal(inside.crealm)?,
            ticket: ticket.raw().to_vec(),
            endtime: inside.endtime,
            forwardable: inside.flags.contains(TicketFlags::FORWARDABLE),
        })
    }

    /// Whose ticket it is.
    #[must_use]
    pub const fn client(&self) -> &Principal {
        &self.client
    }

    /// When it ends.
    #[must_use]
    pub const fn endtime(&self) -> KerberosTime {
        self.endtime
    }

    /// Whether the KDC lets it be used so: a ticket of an account that must not be delegated is not forwardable, and one by
    /// S4U2Self is only where the KDC trusts us with protocol transition.
    #[must_use]
    pub const fn is_forwardable(&self) -> bool {
        self.forwardable
    }

    pub(super) fn ticket(&self) -> &[u8] {
        &self.ticket
    }

    /// Refuses a ticket that must not be used so before a KDC is asked.
    ///
    /// # Errors
    /// [`Policy::Delegation`].
    pub(super) fn usable(&self, resource_based: bool) -> Result<(), Policy> {
        if self.forwardable || resource_based {
            return Ok(());
        }
        let why = format!(
            "the ticket of {} is not forwardable: the account is sensitive (NOT_DELEGATED) or in Protected Users, or, if \
             we asked for the ticket ourselves, the KDC does not trust our account with protocol transition",
            self.client
        );
        Err(Policy::Delegation { why })
    }
}

/// The ticket is for nobody's eyes without need.
impl fmt::Debug for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Evidence")
            .field("client", &self.client)
            .field("endtime", &self.endtime)
            .field("forwardable", &self.forwardable)
            .finish_non_exhaustive()
    }
}

/// For whom a ticket is asked for, other than for ourselves.
#[derive(Clone, Debug)]
pub(super) enum Behalf {
    /// S4U2Self: for this user.
    User(Principal),
    /// S4U2Proxy: for whom this ticket is.
    Evidence(Evidence),
}

impl Behalf {
    /// For whom.
    pub(super) const fn client(&self) -> &Principal {
        match self {
            Self::User(client) | Self::Evidence(Evidence { client, .. }) => client,
        }
    }

    /// Whether an answer's outside names the one for whom was asked. KDCs do not tell cases apart in the names of accounts.
    pub(super) fn is(&self, realm: &str, name: &PrincipalName<'_>) -> bool {
        match self {
            Self::User(user) => same_user(user, realm, name),
            Self::Evidence(Evidence { client, .. }) => client.realm == realm && client.name() == *name,
        }
    }
}

fn same_user(user: &Principal, realm: &str, name: &PrincipalName<'_>) -> bool {
    let same = |left: &str, right: &str| left == right || left.to_lowercase() == right.to_lowercase();
    let mut found = name.components();
    realm.eq_ignore_ascii_case(&user.realm)
        && user
            .components
            .iter()
            .all(|wanted| found.next().and_then(|found| found.as_str()).is_some_and(|found| same(wanted, found)))
        && found.next().is_none()
}

/// Appends a `PA-FOR-USER`, keyed with the TGT's session key. MS-SFU 2.2.1.
pub(super) fn pa_for_user(user: &Principal, session: &Key, out: &mut Vec<u8>) {
    let name_type = user.name_type.to_le_bytes();
    let mut parts: Vec<&[u8]> = vec![&name_type];
    parts.extend(user.components.iter().map(String::as_bytes));
    parts.push(user.realm.as_bytes());
    parts.push(KERBEROS.as_bytes());
    let checksum = session.hmac_md5(usage::NON_KERBEROS_CHECKSUM, &parts);
    PaForUser {
        user_name: user.name(),
        user_realm: user.realm(),
        cksum: Checksum { cksumtype: HMAC_MD5, checksum: &checksum },
        auth_package: KERBEROS.into(),
    }
    .write(out);
}

/// Appends the `PA-PAC-OPTIONS` of an S4U2Proxy: whoever owns the service may have said who may act for others there. MS-SFU 3.1.5.2.1.
pub(super) fn pac_options(out: &mut Vec<u8>) {
    PaPacOptions { flags: RESOURCE_BASED }.write(out);
}

/// Opens the ticket that S4U2Self gave, and looks whether it is the user's.
///
/// # Errors
/// [`Peer::KdcReply`] if it is another's; [`Policy::Delegation`] if we have no key to open it with.
pub(super) fn open(keys: &LongTerm, user: &Principal, credential: &Credential) -> Result<Evidence, Reject> {
    let ticket = Ticket::parse(&credential.ticket)?;
    let LongTerm::Keys(keys) = keys else {
        return Err(no_key(user, "there is no keytab to open it with, only a password or tickets"));
    };
    let data = &ticket.enc_part;
    let mut scratch = zeroize::Zeroizing::new(Vec::new());
    for (_, key) in keys.iter().filter(|(_, key)| key.etype().number() == data.etype) {
        let Ok(plain) = key.decrypt(usage::TICKET, data.cipher, &mut scratch) else { continue };
        let inside = EncTicketPart::parse(plain)?;
        let found = inside.cname.to_principal(inside.crealm)?;
        if !same_user(user, &found.realm, &found.name()) {
            let what =
                format!("the ticket for {user} is inside of {found}: somebody changed our question or the answer");
            return Err(Peer::KdcReply { what }.into());
        }
        return Ok(Evidence::of(&ticket, &inside)?);
    }
    Err(no_key(user, "none of our keys opens it: the keytab is older than the account's password, or lacks its etype"))
}

fn no_key(user: &Principal, why: &str) -> Reject {
    let why = format!("whether the ticket that the KDC gave for {user} is theirs cannot be seen: {why}");
    Policy::Delegation { why }.into()
}

/// `KERB_CHECKSUM_HMAC_MD5`, whatever the key's etype.
const HMAC_MD5: i32 = -138;
/// The `auth-package`.
const KERBEROS: &str = "Kerberos";
/// Bit 3.
const RESOURCE_BASED: u32 = 1 << 28;
