//! A ticket and what its owner must know of it: an entry of a credential cache. RFC 4120 5.8.1 (`KrbCredInfo`).

use iwa_wire::ccache::{self, TypedList};
use iwa_wire::krb5::{EncKdcRepPart, KdcRep, KerberosTime, Principal, Ticket, TicketFlags};

use super::super::etype::{Etype, Key};
use crate::env::UnixTime;
use crate::reject::{Peer, Reject};

/// A ticket with its session key.
#[derive(Clone, Debug)]
pub struct Credential {
    /// Whose it is.
    pub client: Principal,
    /// What it is for.
    pub server: Principal,
    /// The session key.
    pub key: Key,
    /// The ticket's flags.
    pub flags: TicketFlags,
    /// When the client first authenticated.
    pub authtime: KerberosTime,
    /// When it begins.
    pub starttime: KerberosTime,
    /// When it ends.
    pub endtime: KerberosTime,
    /// Until when it may be renewed.
    pub renew_till: Option<KerberosTime>,
    /// The ticket, encoded.
    pub ticket: Vec<u8>,
    /// The KDC's clock minus ours, in seconds, where they differ by more than a service would forgive; else 0.
    pub clock_offset: i64,
}

impl Credential {
    /// Whether it can be used now, with a minute to spare.
    #[must_use]
    pub fn is_valid(&self, now: UnixTime) -> bool {
        let now = now.secs().saturating_add(self.clock_offset);
        !self.flags.contains(TicketFlags::INVALID)
            && self.starttime.0 <= now.saturating_add(super::CLOCK_SKEW)
            && self.endtime.0 > now.saturating_add(60)
    }

    /// From an entry of a credential cache; `clock_offset` is the cache's own. `None` for entries that are no usable
    /// ticket: configuration, removed ones, etypes that are not implemented, user-to-user.
    #[must_use]
    pub fn from_ccache(entry: &ccache::Credential<'_>, clock_offset: i64) -> Option<Self> {
        if entry.config().is_some() || entry.is_removed() || entry.is_skey {
            return None;
        }
        let time = |seconds: u32| KerberosTime(i64::from(seconds));
        Some(Self {
            client: entry.client.to_principal().ok()?,
            server: entry.server.to_principal().ok()?,
            key: Key::new(Etype::from_number(entry.key_etype)?, entry.key)?,
            flags: TicketFlags(entry.ticket_flags),
            authtime: time(entry.authtime),
            starttime: time(if entry.starttime == 0 { entry.authtime } else { entry.starttime }),
            endtime: time(entry.endtime),
            renew_till: Some(entry.renew_till).filter(|till| *till != 0).map(time),
            ticket: Some(entry.ticket).filter(|ticket| Ticket::parse(ticket).is_ok())?.to_vec(),
            clock_offset,
        })
    }

    /// Appends it as an entry of a credential cache.
    pub fn write_ccache(&self, out: &mut Vec<u8>) {
        let seconds = |time: KerberosTime| u32::try_from(time.0).unwrap_or(u32::MAX);
        ccache::Credential {
            client: (&self.client).into(),
            server: (&self.server).into(),
            key_etype: self.key.etype().number(),
            key: self.key.expose(),
            authtime: seconds(self.authtime),
            starttime: seconds(self.starttime),
            endtime: seconds(self.endtime),
            renew_till: self.renew_till.map_or(0, seconds),
            is_skey: false,
            ticket_flags: self.flags.0,
            addresses: TypedList::default(),
            authdata: TypedList::default(),
            ticket: &self.ticket,
            second_ticket: &[],
        }
        .write(out);
    }

    /// From a KDC's answer. What is protected (`enc`) is taken from there, never from outside.
    pub(super) fn of(
        client: Principal,
        rep: &KdcRep<'_>,
        enc: &EncKdcRepPart<'_>,
        etypes: &[i32],
        clock_offset: i64,
    ) -> Result<Self, Reject> {
        let etype = Some(enc.key.etype).filter(|number| etypes.contains(number)).and_then(Etype::from_number);
        let Some(key) = etype.and_then(|etype| Key::new(etype, enc.key.value)) else {
            let what = format!("its session key is of etype {}, which was not asked for", enc.key.etype);
            return Err(Peer::KdcReply { what }.into());
        };
        // Outside of the encrypted part anybody can write another service's name.
        if rep.ticket.sname != enc.sname || rep.ticket.realm != enc.srealm {
            let what = format!("its ticket is labelled {} and is for {}", rep.ticket.sname, enc.sname);
            return Err(Peer::KdcReply { what }.into());
        }
        Ok(Self {
            client,
            server: enc.sname.to_principal(enc.srealm)?,
            key,
            flags: enc.flags,
            authtime: enc.authtime,
            starttime: enc.starttime.unwrap_or(enc.authtime),
            endtime: enc.endtime,
            renew_till: enc.renew_till,
            ticket: rep.ticket.raw().to_vec(),
            clock_offset,
        })
    }
}
