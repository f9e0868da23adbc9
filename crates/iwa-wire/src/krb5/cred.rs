//! `KRB-CRED`: forwarded credentials. RFC 4120 5.8.

use super::field::{self, Fields as _};
use super::sequence_of::element;
use super::ticket::HostAddress;
use super::{
    EncryptedData, EncryptionKey, KerberosString, KerberosTime, PrincipalName, SequenceOf, Ticket, TicketFlags,
};
use crate::der::{Der, DerWriter};
use crate::error::ParseError;

/// `KRB-CRED`: tickets, and their session keys encrypted.
#[derive(Clone, Copy, Debug)]
pub struct KrbCred<'a> {
    /// `tickets`.
    pub tickets: SequenceOf<'a, Ticket<'a>>,
    /// `enc-part`: an [`EncKrbCredPart`] (key usage 14); etype 0 means that it is not encrypted, as in files.
    pub enc_part: EncryptedData<'a>,
}

impl<'a> KrbCred<'a> {
    /// Reads the next value.
    ///
    /// # Errors
    /// The rule that the bytes break.
    pub fn read(der: &mut Der<'a>) -> Result<Self, ParseError> {
        field::application(der, 22, |der| {
            field::explicit(der, 0, |der| field::fixed(der, 5, "pvno"))?;
            field::explicit(der, 1, |der| field::fixed(der, 22, "msg-type"))?;
            Ok(Self {
                tickets: field::explicit(der, 2, SequenceOf::read)?,
                enc_part: field::explicit(der, 3, EncryptedData::read)?,
            })
        })
    }

    pub(super) fn put(&self, w: &mut DerWriter<'_>) {
        w.application(22, |w| {
            w.header(0, 22);
            w.field(2, |w| self.tickets.put(w));
            w.field(3, |w| self.enc_part.put(w));
        });
    }
}

/// `EncKrbCredPart`.
#[derive(Clone, Copy, Debug)]
pub struct EncKrbCredPart<'a> {
    /// `ticket-info`: one a ticket, in the same order.
    pub ticket_info: SequenceOf<'a, KrbCredInfo<'a>>,
    /// `nonce`.
    pub nonce: Option<u32>,
    /// `timestamp`.
    pub timestamp: Option<KerberosTime>,
    /// `usec`.
    pub usec: Option<u32>,
    /// `s-address`: the sender's.
    pub s_address: Option<HostAddress<'a>>,
    /// `r-address`: the receiver's.
    pub r_address: Option<HostAddress<'a>>,
}

impl<'a> EncKrbCredPart<'a> {
    /// Reads the next value.
    ///
    /// # Errors
    /// The rule that the bytes break.
    pub fn read(der: &mut Der<'a>) -> Result<Self, ParseError> {
        field::application(der, 29, |der| {
            Ok(Self {
                ticket_info: field::explicit(der, 0, SequenceOf::read)?,
                nonce: field::optional(der, 1, field::uint32)?,
                timestamp: field::optional(der, 2, field::time)?,
                usec: field::optional(der, 3, field::microseconds)?,
                s_address: field::optional(der, 4, HostAddress::read)?,
                r_address: field::optional(der, 5, HostAddress::read)?,
            })
        })
    }

    pub(super) fn put(&self, w: &mut DerWriter<'_>) {
        w.application(29, |w| {
            w.field(0, |w| self.ticket_info.put(w));
            if let Some(nonce) = self.nonce {
                w.int(1, nonce);
            }
            if let Some(timestamp) = self.timestamp {
                w.time(2, timestamp);
            }
            if let Some(usec) = self.usec {
                w.int(3, usec);
            }
            if let Some(address) = self.s_address {
                w.field(4, |w| address.put(w));
            }
            if let Some(address) = self.r_address {
                w.field(5, |w| address.put(w));
            }
        });
    }
}

/// `KrbCredInfo`: what belongs to one ticket.
#[derive(Clone, Copy, Debug)]
pub struct KrbCredInfo<'a> {
    /// `key`: the session key.
    pub key: EncryptionKey<'a>,
    /// `prealm`: the client's realm.
    pub prealm: Option<KerberosString<'a>>,
    /// `pname`: the client.
    pub pname: Option<PrincipalName<'a>>,
    /// `flags` of the ticket.
    pub flags: Option<TicketFlags>,
    /// `authtime` of the ticket.
    pub authtime: Option<KerberosTime>,
    /// `starttime` of the ticket.
    pub starttime: Option<KerberosTime>,
    /// `endtime` of the ticket.
    pub endtime: Option<KerberosTime>,
    /// `renew-till` of the ticket.
    pub renew_till: Option<KerberosTime>,
    /// `srealm`: the service's realm.
    pub srealm: Option<KerberosString<'a>>,
    /// `sname`: the service.
    pub sname: Option<PrincipalName<'a>>,
    /// `caddr` of the ticket.
    pub caddr: Option<SequenceOf<'a, HostAddress<'a>>>,
}

impl<'a> KrbCredInfo<'a> {
    /// Reads the next value.
    ///
    /// # Errors
    /// The rule that the bytes break.
    pub fn read(der: &mut Der<'a>) -> Result<Self, ParseError> {
        field::sequence(der, |der| {
            Ok(Self {
                key: field::explicit(der, 0, EncryptionKey::read)?,
                prealm: field::optional(der, 1, field::string)?,
                pname: field::optional(der, 2, PrincipalName::read)?,
                flags: field::optional(der, 3, field::flags)?.map(TicketFlags),
                authtime: field::optional(der, 4, field::time)?,
                starttime: field::optional(der, 5, field::time)?,
                endtime: field::optional(der, 6, field::time)?,
                renew_till: field::optional(der, 7, field::time)?,
                srealm: field::optional(der, 8, field::string)?,
                sname: field::optional(der, 9, PrincipalName::read)?,
                caddr: field::optional(der, 10, SequenceOf::read)?,
            })
        })
    }

    pub(super) fn put(&self, w: &mut DerWriter<'_>) {
        w.sequence(|w| {
            w.field(0, |w| self.key.put(w));
            if let Some(realm) = self.prealm {
                w.string(1, realm);
            }
            if let Some(name) = self.pname {
                w.field(2, |w| name.put(w));
            }
            if let Some(flags) = self.flags {
                w.bits(3, flags.0);
            }
            for (n, time) in [(4, self.authtime), (5, self.starttime), (6, self.endtime), (7, self.renew_till)] {
                if let Some(time) = time {
                    w.time(n, time);
                }
            }
            if let Some(realm) = self.srealm {
                w.string(8, realm);
            }
            if let Some(name) = self.sname {
                w.field(9, |w| name.put(w));
            }
            if let Some(caddr) = self.caddr {
                w.field(10, |w| caddr.put(w));
            }
        });
    }
}

field::whole! { KrbCred "KRB-CRED" EncKrbCredPart "EncKrbCredPart" KrbCredInfo "KrbCredInfo" }
element! { KrbCredInfo "KrbCredInfo" 64 }
