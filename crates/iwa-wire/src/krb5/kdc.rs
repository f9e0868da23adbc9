//! AS-REQ, TGS-REQ, AS-REP, TGS-REP. RFC 4120 5.4.

use super::field::{self, Fields as _};
use super::shape;
use super::ticket::HostAddress;
use super::{
    EncryptedData, EncryptionKey, KerberosString, KerberosTime, PaData, PrincipalName, SequenceOf, Ticket, TicketFlags,
};
use crate::der::{Der, DerWriter, Tag};
use crate::error::{ErrorKind, ParseError};
use crate::explain::{Explain, Node, Shape, explain_der};

/// Which of the two exchanges with a KDC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exchange {
    /// The Authentication Service: a long-term key for a ticket.
    As,
    /// The Ticket-Granting Service: a ticket for a ticket.
    Tgs,
}

impl Exchange {
    const fn request(self) -> u8 {
        match self {
            Self::As => 10,
            Self::Tgs => 12,
        }
    }

    const fn reply(self) -> u8 {
        self.request() + 1
    }

    fn of(der: &Der<'_>, number: impl Fn(Self) -> u8) -> Result<Self, ParseError> {
        match der.peek_tag() {
            Some(tag) if tag == Tag::application(number(Self::Tgs)) => Ok(Self::Tgs),
            Some(tag) if tag == Tag::application(number(Self::As)) => Ok(Self::As),
            Some(Tag(found)) => Err(der.error(ErrorKind::Tag { wanted: Tag::application(number(Self::As)).0, found })),
            None => Err(der.error(ErrorKind::Truncated { needed: 1, available: 0 })),
        }
    }
}

/// `AS-REQ` and `TGS-REQ`.
#[derive(Clone, Copy, Debug)]
pub struct KdcReq<'a> {
    /// Which of them.
    pub exchange: Exchange,
    /// `padata`.
    pub padata: Option<SequenceOf<'a, PaData<'a>>>,
    /// `req-body`.
    pub req_body: KdcReqBody<'a>,
}

impl<'a> KdcReq<'a> {
    /// Reads the next value.
    ///
    /// # Errors
    /// The rule that the bytes break.
    pub fn read(der: &mut Der<'a>) -> Result<Self, ParseError> {
        let exchange = Exchange::of(der, Exchange::request)?;
        field::application(der, exchange.request(), |der| {
            field::explicit(der, 1, |der| field::fixed(der, 5, "pvno"))?;
            field::explicit(der, 2, |der| field::fixed(der, i64::from(exchange.request()), "msg-type"))?;
            Ok(Self {
                exchange,
                padata: field::optional(der, 3, SequenceOf::read)?,
                req_body: field::explicit(der, 4, KdcReqBody::read)?,
            })
        })
    }

    pub(super) fn put(&self, w: &mut DerWriter<'_>) {
        w.application(self.exchange.request(), |w| {
            w.header(1, self.exchange.request());
            if let Some(padata) = self.padata {
                w.field(3, |w| padata.put(w));
            }
            w.field(4, |w| self.req_body.put(w));
        });
    }
}

/// `KDC-REQ-BODY`.
#[derive(Clone, Copy, Debug)]
pub struct KdcReqBody<'a> {
    /// `kdc-options`: [`kdc_options`].
    pub kdc_options: u32,
    /// `cname`: the client, in an AS-REQ.
    pub cname: Option<PrincipalName<'a>>,
    /// `realm`: that of the server, and in an AS-REQ of the client.
    pub realm: KerberosString<'a>,
    /// `sname`: the server.
    pub sname: Option<PrincipalName<'a>>,
    /// `from`: the wanted start of a postdated ticket.
    pub from: Option<KerberosTime>,
    /// `till`: the wanted end; 1970 means as long as may be.
    pub till: KerberosTime,
    /// `rtime`: the wanted end of renewal.
    pub rtime: Option<KerberosTime>,
    /// `nonce`: comes back in the encrypted part of the answer.
    pub nonce: u32,
    /// `etype`: what the client can decrypt, most wanted first.
    pub etypes: SequenceOf<'a, i32>,
    /// `addresses`.
    pub addresses: Option<SequenceOf<'a, HostAddress<'a>>>,
    /// `enc-authorization-data`.
    pub enc_authorization_data: Option<EncryptedData<'a>>,
    /// `additional-tickets`: for user-to-user and S4U2Proxy.
    pub additional_tickets: Option<SequenceOf<'a, Ticket<'a>>>,
    /// The body as it stands in the request it was read from, which is what the checksum of a TGS-REQ covers; empty if it
    /// is made here. [`write`](Self::write) then says what will stand there.
    pub raw: &'a [u8],
}

impl<'a> KdcReqBody<'a> {
    /// Reads the next value.
    ///
    /// # Errors
    /// The rule that the bytes break.
    pub fn read(der: &mut Der<'a>) -> Result<Self, ParseError> {
        let start = *der;
        let mut body = field::sequence(der, |der| {
            Ok(Self {
                kdc_options: field::explicit(der, 0, field::flags)?,
                cname: field::optional(der, 1, PrincipalName::read)?,
                realm: field::explicit(der, 2, field::string)?,
                sname: field::optional(der, 3, PrincipalName::read)?,
                from: field::optional(der, 4, field::time)?,
                till: field::explicit(der, 5, field::time)?,
                rtime: field::optional(der, 6, field::time)?,
                nonce: field::explicit(der, 7, field::uint32)?,
                etypes: field::explicit(der, 8, SequenceOf::read)?,
                addresses: field::optional(der, 9, SequenceOf::read)?,
                enc_authorization_data: field::optional(der, 10, EncryptedData::read)?,
                additional_tickets: field::optional(der, 11, SequenceOf::read)?,
                raw: &[],
            })
        })?;
        body.raw = field::between(&start, der);
        Ok(body)
    }

    pub(super) fn put(&self, w: &mut DerWriter<'_>) {
        if !self.raw.is_empty() {
            return w.raw(self.raw);
        }
        w.sequence(|w| {
            w.bits(0, self.kdc_options);
            if let Some(cname) = self.cname {
                w.field(1, |w| cname.put(w));
            }
            w.string(2, self.realm);
            if let Some(sname) = self.sname {
                w.field(3, |w| sname.put(w));
            }
            if let Some(from) = self.from {
                w.time(4, from);
            }
            w.time(5, self.till);
            if let Some(rtime) = self.rtime {
                w.time(6, rtime);
            }
            w.int(7, self.nonce);
            w.field(8, |w| self.etypes.put(w));
            if let Some(addresses) = self.addresses {
                w.field(9, |w| addresses.put(w));
            }
            if let Some(data) = self.enc_authorization_data {
                w.field(10, |w| data.put(w));
            }
            if let Some(tickets) = self.additional_tickets {
                w.field(11, |w| tickets.put(w));
            }
        });
    }
}

/// The bits of `kdc-options`.
pub mod kdc_options {
    /// `forwardable` (1).
    pub const FORWARDABLE: u32 = 1 << 30;
    /// `forwarded` (2).
    pub const FORWARDED: u32 = 1 << 29;
    /// `proxiable` (3).
    pub const PROXIABLE: u32 = 1 << 28;
    /// `proxy` (4).
    pub const PROXY: u32 = 1 << 27;
    /// `allow-postdate` (5).
    pub const ALLOW_POSTDATE: u32 = 1 << 26;
    /// `postdated` (6).
    pub const POSTDATED: u32 = 1 << 25;
    /// `renewable` (8).
    pub const RENEWABLE: u32 = 1 << 23;
    /// `cname-in-addl-tkt` (14): S4U2Proxy. MS-SFU 2.2.3.
    pub const CNAME_IN_ADDL_TKT: u32 = 1 << 17;
    /// `canonicalize` (15). RFC 6806.
    pub const CANONICALIZE: u32 = 1 << 16;
    /// `request-anonymous` (16). RFC 8062.
    pub const REQUEST_ANONYMOUS: u32 = 1 << 15;
    /// `disable-transited-check` (26).
    pub const DISABLE_TRANSITED_CHECK: u32 = 1 << 5;
    /// `renewable-ok` (27).
    pub const RENEWABLE_OK: u32 = 1 << 4;
    /// `enc-tkt-in-skey` (28): user-to-user.
    pub const ENC_TKT_IN_SKEY: u32 = 1 << 3;
    /// `renew` (30).
    pub const RENEW: u32 = 1 << 1;
    /// `validate` (31).
    pub const VALIDATE: u32 = 1;

    /// The names of the bits that are set.
    #[must_use]
    pub fn names(options: u32) -> String {
        super::field::bit_names(
            options,
            &[
                (0, "reserved"),
                (1, "forwardable"),
                (2, "forwarded"),
                (3, "proxiable"),
                (4, "proxy"),
                (5, "allow-postdate"),
                (6, "postdated"),
                (8, "renewable"),
                (14, "cname-in-addl-tkt"),
                (15, "canonicalize"),
                (16, "request-anonymous"),
                (26, "disable-transited-check"),
                (27, "renewable-ok"),
                (28, "enc-tkt-in-skey"),
                (30, "renew"),
                (31, "validate"),
            ],
        )
    }
}

/// `AS-REP` and `TGS-REP`. Nothing outside `enc-part` is protected.
#[derive(Clone, Copy, Debug)]
pub struct KdcRep<'a> {
    /// Which of them.
    pub exchange: Exchange,
    /// `padata`.
    pub padata: Option<SequenceOf<'a, PaData<'a>>>,
    /// `crealm`: the client's realm.
    pub crealm: KerberosString<'a>,
    /// `cname`: the client.
    pub cname: PrincipalName<'a>,
    /// `ticket`.
    pub ticket: Ticket<'a>,
    /// `enc-part`: an [`EncKdcRepPart`] (key usage 3; 8 or, with a subkey, 9 in a TGS-REP).
    pub enc_part: EncryptedData<'a>,
}

impl<'a> KdcRep<'a> {
    /// Reads the next value.
    ///
    /// # Errors
    /// The rule that the bytes break.
    pub fn read(der: &mut Der<'a>) -> Result<Self, ParseError> {
        let exchange = Exchange::of(der, Exchange::reply)?;
        field::application(der, exchange.reply(), |der| {
            field::explicit(der, 0, |der| field::fixed(der, 5, "pvno"))?;
            field::explicit(der, 1, |der| field::fixed(der, i64::from(exchange.reply()), "msg-type"))?;
            Ok(Self {
                exchange,
                padata: field::optional(der, 2, SequenceOf::read)?,
                crealm: field::explicit(der, 3, field::string)?,
                cname: field::explicit(der, 4, PrincipalName::read)?,
                ticket: field::explicit(der, 5, Ticket::read)?,
                enc_part: field::explicit(der, 6, EncryptedData::read)?,
            })
        })
    }

    pub(super) fn put(&self, w: &mut DerWriter<'_>) {
        w.application(self.exchange.reply(), |w| {
            w.header(0, self.exchange.reply());
            if let Some(padata) = self.padata {
                w.field(2, |w| padata.put(w));
            }
            w.string(3, self.crealm);
            w.field(4, |w| self.cname.put(w));
            w.field(5, |w| self.ticket.put(w));
            w.field(6, |w| self.enc_part.put(w));
        });
    }
}

/// `EncASRepPart` and `EncTGSRepPart`.
#[derive(Clone, Copy, Debug)]
pub struct EncKdcRepPart<'a> {
    /// Which of them the tag says. KDCs differ: an AS-REP with the other tag is common, and both are read.
    pub exchange: Exchange,
    /// `key`: the session key.
    pub key: EncryptionKey<'a>,
    /// `last-req`.
    pub last_req: SequenceOf<'a, LastReqEntry>,
    /// `nonce`: that of the request.
    pub nonce: u32,
    /// `key-expiration`: when the client's password ends.
    pub key_expiration: Option<KerberosTime>,
    /// `flags` of the ticket.
    pub flags: TicketFlags,
    /// `authtime` of the ticket.
    pub authtime: KerberosTime,
    /// `starttime` of the ticket.
    pub starttime: Option<KerberosTime>,
    /// `endtime` of the ticket.
    pub endtime: KerberosTime,
    /// `renew-till` of the ticket.
    pub renew_till: Option<KerberosTime>,
    /// `srealm`: the realm of the ticket's server.
    pub srealm: KerberosString<'a>,
    /// `sname`: the ticket's server.
    pub sname: PrincipalName<'a>,
    /// `caddr` of the ticket.
    pub caddr: Option<SequenceOf<'a, HostAddress<'a>>>,
    /// `encrypted-pa-data`. RFC 6806 11, MS-KILE 2.2.8.
    pub encrypted_pa_data: Option<SequenceOf<'a, PaData<'a>>>,
}

impl<'a> EncKdcRepPart<'a> {
    /// Reads the next value.
    ///
    /// # Errors
    /// The rule that the bytes break.
    pub fn read(der: &mut Der<'a>) -> Result<Self, ParseError> {
        let exchange = Exchange::of(der, Self::number)?;
        field::application(der, Self::number(exchange), |der| {
            Ok(Self {
                exchange,
                key: field::explicit(der, 0, EncryptionKey::read)?,
                last_req: field::explicit(der, 1, SequenceOf::read)?,
                nonce: field::explicit(der, 2, field::uint32)?,
                key_expiration: field::optional(der, 3, field::time)?,
                flags: TicketFlags(field::explicit(der, 4, field::flags)?),
                authtime: field::explicit(der, 5, field::time)?,
                starttime: field::optional(der, 6, field::time)?,
                endtime: field::explicit(der, 7, field::time)?,
                renew_till: field::optional(der, 8, field::time)?,
                srealm: field::explicit(der, 9, field::string)?,
                sname: field::explicit(der, 10, PrincipalName::read)?,
                caddr: field::optional(der, 11, SequenceOf::read)?,
                encrypted_pa_data: field::optional(der, 12, SequenceOf::read)?,
            })
        })
    }

    const fn number(exchange: Exchange) -> u8 {
        match exchange {
            Exchange::As => 25,
            Exchange::Tgs => 26,
        }
    }

    pub(super) fn put(&self, w: &mut DerWriter<'_>) {
        w.application(Self::number(self.exchange), |w| {
            w.field(0, |w| self.key.put(w));
            w.field(1, |w| self.last_req.put(w));
            w.int(2, self.nonce);
            if let Some(time) = self.key_expiration {
                w.time(3, time);
            }
            w.bits(4, self.flags.0);
            w.time(5, self.authtime);
            if let Some(time) = self.starttime {
                w.time(6, time);
            }
            w.time(7, self.endtime);
            if let Some(time) = self.renew_till {
                w.time(8, time);
            }
            w.string(9, self.srealm);
            w.field(10, |w| self.sname.put(w));
            if let Some(caddr) = self.caddr {
                w.field(11, |w| caddr.put(w));
            }
            if let Some(padata) = self.encrypted_pa_data {
                w.field(12, |w| padata.put(w));
            }
        });
    }
}

/// An entry of `LastReq`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LastReqEntry {
    /// `lr-type`: 0 is no information, 6 when the password ends, 7 when the account ends.
    pub lr_type: i32,
    /// `lr-value`.
    pub lr_value: KerberosTime,
}

impl LastReqEntry {
    fn read(der: &mut Der<'_>) -> Result<Self, ParseError> {
        field::sequence(der, |der| {
            Ok(Self {
                lr_type: field::explicit(der, 0, field::int32)?,
                lr_value: field::explicit(der, 1, field::time)?,
            })
        })
    }

    /// The name of a type.
    #[must_use]
    pub const fn type_name(lr_type: i32) -> Option<&'static str> {
        Some(match lr_type {
            0 => "no information",
            1 | -1 => "last initial TGT request",
            2 | -2 => "last initial request",
            3 | -3 => "newest TGT",
            4 | -4 => "last renewal",
            5 | -5 => "last request",
            6 | -6 => "password expires",
            7 | -7 => "account expires",
            _ => return None,
        })
    }
}

impl<'a> super::Element<'a> for LastReqEntry {
    const WHAT: &'static str = "LastReq";
    const LIMIT: usize = 32;

    fn read(der: &mut Der<'a>) -> Result<Self, ParseError> {
        Self::read(der)
    }

    fn put(&self, w: &mut DerWriter<'_>) {
        w.sequence(|w| {
            w.int(0, self.lr_type);
            w.time(1, self.lr_value);
        });
    }
}

field::whole! { KdcReq "KDC-REQ" KdcReqBody "KDC-REQ-BODY" KdcRep "KDC-REP" EncKdcRepPart "EncKDCRepPart" }

shape::explained! { KdcReqBody "KDC-REQ-BODY" "RFC 4120 5.4.1" KDC_REQ_BODY; }

/// One shape a tag: which of the two the bytes begin with.
macro_rules! by_tag {
    ($($type:ident $spec:literal: $first:literal $first_shape:expr, $other:literal $other_shape:expr, $other_tag:literal;)*) => {
        $(
            impl Explain for $type<'_> {
                fn explain(bytes: &[u8], offset: usize) -> Node {
                    let (name, shape): (_, &'static Shape) = match bytes.first() {
                        Some(&tag) if Tag(tag) == Tag::application($other_tag) => ($other, &$other_shape),
                        _ => ($first, &$first_shape),
                    };
                    let mut node = explain_der(name, $spec, shape, bytes, offset);
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

by_tag! {
    KdcReq "RFC 4120 5.4.1": "AS-REQ" AS_REQ, "TGS-REQ" TGS_REQ, 12;
    KdcRep "RFC 4120 5.4.2": "AS-REP" AS_REP, "TGS-REP" TGS_REP, 13;
    EncKdcRepPart "RFC 4120 5.4.2": "EncASRepPart" ENC_AS_REP_PART, "EncTGSRepPart" ENC_TGS_REP_PART, 26;
}

const AS_REQ: Shape = Shape::Application(10, &KDC_REQ);
const TGS_REQ: Shape = Shape::Application(12, &KDC_REQ);
const AS_REP: Shape = Shape::Application(11, &KDC_REP);
const TGS_REP: Shape = Shape::Application(13, &KDC_REP);
const ENC_AS_REP_PART: Shape = Shape::Application(25, &ENC_KDC_REP_PART);
const ENC_TGS_REP_PART: Shape = Shape::Application(26, &ENC_KDC_REP_PART);

const KDC_REQ: Shape = Shape::Sequence(&[
    shape::field(1, "pvno", shape::PVNO),
    shape::field(2, "msg-type", shape::MSG_TYPE),
    shape::field(3, "padata", shape::PADATA),
    shape::field(4, "req-body", KDC_REQ_BODY),
]);

const KDC_REQ_BODY: Shape = Shape::Sequence(&[
    shape::field(0, "kdc-options", Shape::Flags(kdc_options::names)),
    shape::field(1, "cname", shape::NAME),
    shape::field(2, "realm", shape::REALM),
    shape::field(3, "sname", shape::NAME),
    shape::field(4, "from", Shape::Time),
    shape::field(5, "till", Shape::Time),
    shape::field(6, "rtime", Shape::Time),
    shape::field(7, "nonce", shape::INT),
    shape::field(8, "etype", Shape::SequenceOf("etype", &shape::ETYPE)),
    shape::field(9, "addresses", shape::ADDRESSES),
    shape::field(10, "enc-authorization-data", shape::ENCRYPTED),
    shape::field(11, "additional-tickets", Shape::SequenceOf("Ticket", &super::ticket::TICKET)),
]);

const KDC_REP: Shape = Shape::Sequence(&[
    shape::field(0, "pvno", shape::PVNO),
    shape::field(1, "msg-type", shape::MSG_TYPE),
    shape::field(2, "padata", shape::PADATA),
    shape::field(3, "crealm", shape::REALM),
    shape::field(4, "cname", shape::NAME),
    shape::field(5, "ticket", super::ticket::TICKET),
    shape::field(6, "enc-part", shape::ENCRYPTED),
]);

const ENC_KDC_REP_PART: Shape = Shape::Sequence(&[
    shape::field(0, "key", shape::KEY),
    shape::field(1, "last-req", Shape::SequenceOf("LastReq", &LAST_REQ)),
    shape::field(2, "nonce", shape::INT),
    shape::field(3, "key-expiration", Shape::Time),
    shape::field(4, "flags", shape::TICKET_FLAGS),
    shape::field(5, "authtime", Shape::Time),
    shape::field(6, "starttime", Shape::Time),
    shape::field(7, "endtime", Shape::Time),
    shape::field(8, "renew-till", Shape::Time),
    shape::field(9, "srealm", shape::REALM),
    shape::field(10, "sname", shape::NAME),
    shape::field(11, "caddr", shape::ADDRESSES),
    shape::field(12, "encrypted-pa-data", shape::PADATA),
]);

const LAST_REQ: Shape = Shape::Sequence(&[
    shape::field(0, "lr-type", Shape::Integer(shape::lr_type)),
    shape::field(1, "lr-value", Shape::Time),
]);
