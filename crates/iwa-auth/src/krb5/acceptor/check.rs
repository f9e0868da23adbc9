//! The checks of an AP-REQ. RFC 4120 3.2.3, RFC 4121 4.1.1, MS-KILE 3.4.5.

use core::net::IpAddr;

use iwa_wire::krb5::ap::ap_options;
use iwa_wire::krb5::checksum::{GSS_CHECKSUM, GssChecksum, gss_flags};
use iwa_wire::krb5::principal::name_type;
use iwa_wire::krb5::{
    ApReq, Authenticator, EncTicketPart, EncryptionKey, KerberosString, PrincipalName, Ticket, TicketFlags,
};
use iwa_wire::{ErrorKind, ParseError};

use super::delegated::Delegated;
use super::reply::Framing;
use super::{AddressPolicy, ClientRealms, Pending, Service};
use crate::binding::{BindingPolicy, ChannelBindings};
use crate::env::UnixTime;
use crate::krb5::client::Evidence;
use crate::krb5::etype::{Etype, Key};
use crate::krb5::{pac, usage};
use crate::ports::ReplayKey;
use crate::reject::{Peer, Policy, Reason};

impl Service {
    /// All checks but that for a replay, in their order.
    pub(super) fn check(
        &self,
        ap_req: &ApReq<'_>,
        framing: Framing,
        bindings: &ChannelBindings,
        binding_policy: BindingPolicy,
        now: UnixTime,
    ) -> Result<Pending, Reason> {
        if ap_req.ap_options & ap_options::USE_SESSION_KEY != 0 {
            return Err(Policy::UserToUser.into());
        }
        self.allowed(ap_req.ticket.enc_part.etype)?;

        let mut plain = Erased::with_capacity(ap_req.ticket.enc_part.cipher.len());
        let (key, plain) = self.keys.decrypt_ticket(&ap_req.ticket, &self.policy.names, &mut plain.0)?;
        let ticket = EncTicketPart::parse(plain)?;
        self.in_force(&ticket, now)?;

        let session = self.key(ticket.key)?;
        let protocol = session.protocol();
        let cipher = ap_req.authenticator.cipher;
        if ap_req.authenticator.etype != session.etype().number() {
            return Err(Peer::AuthenticatorIntegrity.into());
        }
        let mut plain = Erased::with_capacity(cipher.len());
        let plain = protocol
            .specific(usage::AP_REQ_AUTHENTICATOR)
            .decrypt(cipher, &mut plain.0)
            .map_err(|_| Peer::AuthenticatorIntegrity)?;
        let authenticator = Authenticator::parse(plain)?;
        if ticket.crealm != authenticator.crealm || ticket.cname != authenticator.cname {
            return Err(Peer::ClientMismatch {
                ticket: format!("{}@{}", ticket.cname, ticket.crealm),
                authenticator: format!("{}@{}", authenticator.cname, authenticator.crealm),
            }
            .into());
        }
        let made = self.fresh(&authenticator, now)?;
        self.address(&ticket, bindings.peer())?;
        self.realm(&ap_req.ticket, &ticket)?;
        client_name(&ticket)?;

        let checksum = gss_checksum(&authenticator)?;
        // MS-KILE 3.4.5 lets a client without bindings in, although they are required, if it says that it knows of them
        // (KERB_AP_OPTIONS_CBT), and GSS_C_CHANNEL_BOUND_FLAG is the client's word too. Only the bytes prove something.
        let bindings = binding_policy.check(bindings, Some(&checksum.bindings))?;
        let subkey = authenticator.subkey.map(|subkey| self.key(subkey)).transpose()?;
        let delegated = match checksum.delegated {
            Some(krb_cred) => Some(Delegated::decrypt(krb_cred, &protocol, subkey.as_ref())?),
            None => None,
        };
        let evidence = if self.policy.evidence { Some(Box::new(Evidence::of(&ap_req.ticket, &ticket)?)) } else { None };
        let pac = match ticket.authorization_data {
            Some(data) => data.pac()?,
            None => None,
        };
        let (pac, authorization) = pac::verify(pac, &ticket, key.pac_checksum(), &self.kdc_keys, self.policy.pac)?;
        if authorization.account.sid.is_none() {
            plain_name(&ticket)?;
        }
        let wants_mutual = ap_req.ap_options & ap_options::MUTUAL_REQUIRED != 0;
        Ok(Pending {
            replay_key: ReplayKey::of_authenticator(cipher),
            made,
            skew: self.policy.skew,
            ticket_end: UnixTime::from_secs(ticket.endtime.0),
            authorization,
            bindings,
            pac,
            session,
            subkey,
            initiator_sequence: authenticator.seq_number.unwrap_or(0),
            mutual: wants_mutual || checksum.flags & gss_flags::MUTUAL != 0,
            framing,
            delegated,
            evidence,
        })
    }

    fn allowed(&self, number: i32) -> Result<Etype, Policy> {
        Etype::from_number(number)
            .filter(|etype| self.policy.etypes.contains(etype))
            .ok_or(Policy::EtypeOff { etype: number })
    }

    fn key(&self, key: EncryptionKey<'_>) -> Result<Key, Reason> {
        let etype = self.allowed(key.etype)?;
        Key::new(etype, key.value).ok_or_else(|| malformed("EncryptionKey", "keyvalue"))
    }

    /// The ticket's flags and times.
    fn in_force(&self, ticket: &EncTicketPart<'_>, now: UnixTime) -> Result<(), Reason> {
        if ticket.flags.contains(TicketFlags::INVALID) {
            return Err(Peer::TicketInvalid.into());
        }
        let start = UnixTime::from_secs(ticket.starttime.unwrap_or(ticket.authtime).0);
        if start > now.plus(self.policy.skew) {
            return Err(Peer::TicketNotYetValid { start, now }.into());
        }
        let end = UnixTime::from_secs(ticket.endtime.0);
        if end.plus(self.policy.skew) < now {
            return Err(Peer::TicketExpired { end, now }.into());
        }
        Ok(())
    }

    /// The authenticator's time, if it is near ours.
    fn fresh(&self, authenticator: &Authenticator<'_>, now: UnixTime) -> Result<UnixTime, Peer> {
        let seconds = UnixTime::from_secs(authenticator.ctime.0);
        let made = UnixTime::from_micros(seconds.micros().saturating_add(u64::from(authenticator.cusec)));
        if made.distance(now) > self.policy.skew {
            let seconds = made.secs().saturating_sub(now.secs());
            return Err(Peer::ClockSkew { seconds, allowed: self.policy.skew.as_secs() });
        }
        Ok(made)
    }

    fn address(&self, ticket: &EncTicketPart<'_>, peer: Option<IpAddr>) -> Result<(), Peer> {
        let Some(addresses) = ticket.caddr.filter(|addresses| !addresses.is_empty()) else { return Ok(()) };
        let matches = |peer: IpAddr| match peer.to_canonical() {
            IpAddr::V4(peer) => addresses.iter().any(|own| own.addr_type == IPV4 && own.address == peer.octets()),
            IpAddr::V6(peer) => addresses.iter().any(|own| own.addr_type == IPV6 && own.address == peer.octets()),
        };
        match self.policy.addresses {
            AddressPolicy::Ignore => Ok(()),
            AddressPolicy::Match if peer.is_some_and(matches) => Ok(()),
            AddressPolicy::Match => Err(Peer::Address),
        }
    }

    /// Whether clients of this realm are let in, and came on a way that somebody checked.
    fn realm(&self, service: &Ticket<'_>, ticket: &EncTicketPart<'_>) -> Result<(), Reason> {
        let crealm = ticket.crealm;
        let let_in = match &self.policy.realms {
            ClientRealms::OfTheKeytab => self.keys.has_realm(crealm),
            ClientRealms::Listed(list) => list.iter().any(|listed| listed.as_bytes() == crealm.0),
            ClientRealms::AnyTrusted => true,
        };
        if !let_in {
            return Err(Policy::Realm { found: crealm.to_string() }.into());
        }
        // Without a realm between the client's and ours, our own KDC speaks for the client or knows the one that does.
        let checked = ticket.transited.contents.is_empty()
            || ticket.flags.contains(TicketFlags::TRANSITED_POLICY_CHECKED)
            || self.policy.danger_transited_unchecked;
        if !checked {
            let between = KerberosString(ticket.transited.contents);
            return Err(Peer::Transited { path: format!("{crealm} > {between} > {}", service.realm) }.into());
        }
        Ok(())
    }
}

/// The checksum that is none: RFC 4121 4.1.1 demands it.
fn gss_checksum<'a>(authenticator: &Authenticator<'a>) -> Result<GssChecksum<'a>, Peer> {
    let what = match authenticator.cksum {
        None => "it is missing: the client is no GSS-API client, or the token was stripped",
        Some(checksum) if checksum.cksumtype != GSS_CHECKSUM => "its type is not 0x8003",
        Some(checksum) => match GssChecksum::parse(checksum.checksum) {
            Ok(parsed) if parsed.flags & gss_flags::DCE_STYLE != 0 => "DCE style has three legs, and HTTP has two",
            Ok(parsed) => return Ok(parsed),
            Err(ParseError { kind: ErrorKind::Truncated { .. }, .. }) => {
                "it is shorter than its flags and the length of its forwarded credentials say"
            }
            Err(_) => "the length of its bindings is not 16, or its delegation option is not 1",
        },
    };
    Err(Peer::GssChecksum { what })
}

/// A client's name must read the same to everybody: here, in a log, and behind a proxy.
fn client_name(ticket: &EncTicketPart<'_>) -> Result<(), Reason> {
    let anonymous = PrincipalName::of(name_type::WELLKNOWN, &["WELLKNOWN", "ANONYMOUS"]);
    if ticket.flags.contains(TicketFlags::ANONYMOUS) || ticket.cname == anonymous {
        return Err(Policy::KerberosAnonymous.into());
    }
    let readable = |string: KerberosString<'_>| {
        string.as_str().is_some_and(|text| !text.is_empty() && !text.chars().any(char::is_control))
    };
    if !readable(ticket.crealm) {
        return Err(malformed("EncTicketPart", "crealm"));
    }
    let mut components = ticket.cname.components().peekable();
    if components.peek().is_none() || !components.all(readable) {
        return Err(malformed("EncTicketPart", "cname"));
    }
    Ok(())
}

/// Where the ticket's own name becomes the account's: `/`, `\` and `@` inside a component would make it look like another
/// account, or one of another realm.
fn plain_name(ticket: &EncTicketPart<'_>) -> Result<(), Reason> {
    let speaks_of_another = |name: KerberosString<'_>| name.0.iter().any(|byte| b"/\\@".contains(byte));
    if ticket.cname.components().any(speaks_of_another) {
        return Err(malformed("EncTicketPart", "cname"));
    }
    Ok(())
}

fn malformed(format: &'static str, what: &'static str) -> Reason {
    ParseError { format, offset: 0, kind: ErrorKind::Value { what } }.into()
}

/// Plaintext of a ticket or an authenticator, with the keys in it. Erased when dropped: at memory's speed, where `zeroize`
/// goes byte by byte over what is mostly a PAC.
struct Erased(Vec<u8>);

impl Erased {
    fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }
}

impl Drop for Erased {
    fn drop(&mut self) {
        self.0.fill(0);
        // The compiler must believe that somebody looks at the zeros.
        core::hint::black_box(self.0.as_slice());
    }
}

/// `addr-type`.
const IPV4: i32 = 2;
const IPV6: i32 = 24;
