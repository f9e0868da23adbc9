//! `KRB-CRED`: forwarded credentials. RFC 4120 5.8.

use super::field::{self, Fields as _};
use super::sequence_of::element;
use super::shape;
use super::ticket::HostAddress;
use super::{
    EncryptedData, EncryptionKey, KerberosString, KerberosTime, PrincipalName, SequenceOf, Ticket, TicketFlags,
};
use crate::der::{Der, DerWriter, Tag, Tlv};
use crate::error::ParseError;
use crate::explain::{Explain, Node, Shape, explain_from, explain_tlv};

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

field::whole! { KrbCredInfo "KrbCredInfo" }

/// `parse`, `write` and `explain` of the two messages that are also files (`.kirbi`): the best-known writer of those
/// spends four bytes on every length, so that the lengths need not be the shortest here.
macro_rules! file {
    ($($type:ident $format:literal $shape:ident;)*) => {
        $(
            impl<'a> $type<'a> {
                #[doc = concat!("Reads a whole `", $format, "`.")]
                ///
                /// # Errors
                /// The rule of the format that the bytes break; trailing bytes are refused.
                pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
                    let mut der = Der::new($format, bytes, 0).with_long_lengths();
                    let value = Self::read(&mut der)?;
                    der.finish()?;
                    Ok(value)
                }

                /// Appends the DER of this value.
                pub fn write(&self, out: &mut Vec<u8>) {
                    self.put(&mut DerWriter::new(out));
                }
            }

            impl Explain for $type<'_> {
                fn explain(bytes: &[u8], offset: usize) -> Node {
                    let der = Der::new($format, bytes, offset).with_long_lengths();
                    let mut node = explain_from($format, "RFC 4120 5.8.1", &$shape, der);
                    if node.first_error().is_none()
                        && let Err(mut error) = $type::parse(bytes)
                    {
                        error.offset += offset;
                        node.error = Some(error);
                    }
                    node
                }
            }
        )*
    };
}

file! {
    KrbCred "KRB-CRED" KRB_CRED;
    EncKrbCredPart "EncKrbCredPart" ENC_KRB_CRED_PART;
}
element! { KrbCredInfo "KrbCredInfo" 64 }
const KRB_CRED: Shape = Shape::Application(
    22,
    &Shape::Sequence(&[
        shape::field(0, "pvno", shape::PVNO),
        shape::field(1, "msg-type", shape::MSG_TYPE),
        shape::field(2, "tickets", Shape::SequenceOf("Ticket", &super::ticket::TICKET)),
        shape::field(3, "enc-part", Shape::Custom(explain_enc_part)),
    ]),
);

/// With etype 0 the "cipher" is the plain [`EncKrbCredPart`].
fn explain_enc_part(name: &'static str, tlv: Tlv<'_>) -> Node {
    let mut node = explain_tlv(name, &shape::ENCRYPTED, tlv);
    let mut der = tlv.inside();
    if let Ok(etype) = der.field(0, Tag::INTEGER)
        && etype.integer() == Ok(0)
        && let Ok(_) = der.optional_field(1, Tag::INTEGER)
        && let Ok(body) = der.field(2, Tag::OCTET_STRING)
        && let Some(cipher) = node.children.iter_mut().find(|child| child.name == "cipher")
    {
        cipher.value.clear();
        cipher.children.push(EncKrbCredPart::explain(body.body, body.body_offset()));
        node.note = Some("not encrypted: the session keys are here for anybody to read".to_owned());
    }
    node
}

const ENC_KRB_CRED_PART: Shape = Shape::Application(
    29,
    &Shape::Sequence(&[
        shape::field(0, "ticket-info", Shape::SequenceOf("KrbCredInfo", &KRB_CRED_INFO)),
        shape::field(1, "nonce", shape::INT),
        shape::field(2, "timestamp", Shape::Time),
        shape::field(3, "usec", shape::INT),
        shape::field(4, "s-address", shape::ADDRESS),
        shape::field(5, "r-address", shape::ADDRESS),
    ]),
);

const KRB_CRED_INFO: Shape = Shape::Sequence(&[
    shape::field(0, "key", shape::KEY),
    shape::field(1, "prealm", shape::REALM),
    shape::field(2, "pname", shape::NAME),
    shape::field(3, "flags", shape::TICKET_FLAGS),
    shape::field(4, "authtime", Shape::Time),
    shape::field(5, "starttime", Shape::Time),
    shape::field(6, "endtime", Shape::Time),
    shape::field(7, "renew-till", Shape::Time),
    shape::field(8, "srealm", shape::REALM),
    shape::field(9, "sname", shape::NAME),
    shape::field(10, "caddr", shape::ADDRESSES),
]);
