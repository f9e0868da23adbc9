//! `Ticket` and `EncTicketPart`. RFC 4120 5.3.

use core::fmt;

use super::authdata::AuthorizationData;
use super::field::{self, Fields as _};
use super::sequence_of::element;
use super::shape;
use super::{EncryptedData, EncryptionKey, KerberosString, KerberosTime, PrincipalName, SequenceOf};
use crate::der::{Der, DerWriter, Tlv};
use crate::error::ParseError;
use crate::explain::{Field, Node, Shape, explain_tlv};

/// `Ticket`.
#[derive(Clone, Copy, Debug)]
pub struct Ticket<'a> {
    /// `realm` of the service.
    pub realm: KerberosString<'a>,
    /// `sname`: the service.
    pub sname: PrincipalName<'a>,
    /// `enc-part`: an [`EncTicketPart`] under the service's key (key usage 2).
    pub enc_part: EncryptedData<'a>,
    raw: &'a [u8],
}

impl<'a> Ticket<'a> {
    /// A ticket of these parts.
    #[must_use]
    pub const fn new(realm: KerberosString<'a>, sname: PrincipalName<'a>, enc_part: EncryptedData<'a>) -> Self {
        Self { realm, sname, enc_part, raw: &[] }
    }

    /// The ticket as it stands in the message it was read from, whole; empty if it was made here.
    #[must_use]
    pub const fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Reads the next value.
    ///
    /// # Errors
    /// The rule that the bytes break.
    pub fn read(der: &mut Der<'a>) -> Result<Self, ParseError> {
        let start = *der;
        let mut ticket = field::application(der, 1, |der| {
            field::explicit(der, 0, |der| field::fixed(der, 5, "tkt-vno"))?;
            Ok(Self {
                realm: field::explicit(der, 1, field::string)?,
                sname: field::explicit(der, 2, PrincipalName::read)?,
                enc_part: field::explicit(der, 3, EncryptedData::read)?,
                raw: &[],
            })
        })?;
        ticket.raw = field::between(&start, der);
        Ok(ticket)
    }

    pub(super) fn put(&self, w: &mut DerWriter<'_>) {
        if !self.raw.is_empty() {
            return w.raw(self.raw);
        }
        w.application(1, |w| {
            w.int(0, 5);
            w.string(1, self.realm);
            w.field(2, |w| self.sname.put(w));
            w.field(3, |w| self.enc_part.put(w));
        });
    }
}

/// `EncTicketPart`: what the KDC says to the service.
#[derive(Clone, Copy, Debug)]
pub struct EncTicketPart<'a> {
    /// `flags`.
    pub flags: TicketFlags,
    /// `key`: the session key.
    pub key: EncryptionKey<'a>,
    /// `crealm`: the client's realm.
    pub crealm: KerberosString<'a>,
    /// `cname`: the client.
    pub cname: PrincipalName<'a>,
    /// `transited`: the realms on the way.
    pub transited: TransitedEncoding<'a>,
    /// `authtime`: when the client first authenticated.
    pub authtime: KerberosTime,
    /// `starttime`; [`authtime`](Self::authtime) holds if it is absent.
    pub starttime: Option<KerberosTime>,
    /// `endtime`.
    pub endtime: KerberosTime,
    /// `renew-till`.
    pub renew_till: Option<KerberosTime>,
    /// `caddr`: the addresses from which it may be used.
    pub caddr: Option<SequenceOf<'a, HostAddress<'a>>>,
    /// `authorization-data`.
    pub authorization_data: Option<AuthorizationData<'a>>,
}

impl<'a> EncTicketPart<'a> {
    /// Reads the next value.
    ///
    /// # Errors
    /// The rule that the bytes break.
    pub fn read(der: &mut Der<'a>) -> Result<Self, ParseError> {
        field::application(der, 3, |der| {
            Ok(Self {
                flags: TicketFlags(field::explicit(der, 0, field::flags)?),
                key: field::explicit(der, 1, EncryptionKey::read)?,
                crealm: field::explicit(der, 2, field::string)?,
                cname: field::explicit(der, 3, PrincipalName::read)?,
                transited: field::explicit(der, 4, TransitedEncoding::read)?,
                authtime: field::explicit(der, 5, field::time)?,
                starttime: field::optional(der, 6, field::time)?,
                endtime: field::explicit(der, 7, field::time)?,
                renew_till: field::optional(der, 8, field::time)?,
                caddr: field::optional(der, 9, SequenceOf::read)?,
                authorization_data: field::optional(der, 10, AuthorizationData::read)?,
            })
        })
    }

    pub(super) fn put(&self, w: &mut DerWriter<'_>) {
        w.application(3, |w| {
            w.bits(0, self.flags.0);
            w.field(1, |w| self.key.put(w));
            w.string(2, self.crealm);
            w.field(3, |w| self.cname.put(w));
            w.field(4, |w| self.transited.put(w));
            w.time(5, self.authtime);
            if let Some(time) = self.starttime {
                w.time(6, time);
            }
            w.time(7, self.endtime);
            if let Some(time) = self.renew_till {
                w.time(8, time);
            }
            if let Some(caddr) = self.caddr {
                w.field(9, |w| caddr.put(w));
            }
            if let Some(data) = self.authorization_data {
                w.field(10, |w| data.put(w));
            }
        });
    }
}

/// `TicketFlags`: bit 0 of the specification is the most significant.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct TicketFlags(pub u32);

impl TicketFlags {
    /// `forwardable` (1).
    pub const FORWARDABLE: Self = Self(1 << 30);
    /// `forwarded` (2).
    pub const FORWARDED: Self = Self(1 << 29);
    /// `proxiable` (3).
    pub const PROXIABLE: Self = Self(1 << 28);
    /// `proxy` (4).
    pub const PROXY: Self = Self(1 << 27);
    /// `may-postdate` (5).
    pub const MAY_POSTDATE: Self = Self(1 << 26);
    /// `postdated` (6).
    pub const POSTDATED: Self = Self(1 << 25);
    /// `invalid` (7).
    pub const INVALID: Self = Self(1 << 24);
    /// `renewable` (8).
    pub const RENEWABLE: Self = Self(1 << 23);
    /// `initial` (9).
    pub const INITIAL: Self = Self(1 << 22);
    /// `pre-authent` (10).
    pub const PRE_AUTHENT: Self = Self(1 << 21);
    /// `hw-authent` (11).
    pub const HW_AUTHENT: Self = Self(1 << 20);
    /// `transited-policy-checked` (12).
    pub const TRANSITED_POLICY_CHECKED: Self = Self(1 << 19);
    /// `ok-as-delegate` (13).
    pub const OK_AS_DELEGATE: Self = Self(1 << 18);
    /// `enc-pa-rep` (15). RFC 6806 11.
    pub const ENC_PA_REP: Self = Self(1 << 16);
    /// `anonymous` (16). RFC 8062.
    pub const ANONYMOUS: Self = Self(1 << 15);

    /// Whether all of `flags` are set.
    #[must_use]
    pub const fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// These and those.
    #[must_use]
    pub const fn with(self, flags: Self) -> Self {
        Self(self.0 | flags.0)
    }
}

/// The names of the flags, separated by spaces; bits without a name by their number.
impl fmt::Display for TicketFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&field::bit_names(self.0, TICKET_FLAGS))
    }
}

impl fmt::Debug for TicketFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TicketFlags({self})")
    }
}

const TICKET_FLAGS: &[(u8, &str)] = &[
    (0, "reserved"),
    (1, "forwardable"),
    (2, "forwarded"),
    (3, "proxiable"),
    (4, "proxy"),
    (5, "may-postdate"),
    (6, "postdated"),
    (7, "invalid"),
    (8, "renewable"),
    (9, "initial"),
    (10, "pre-authent"),
    (11, "hw-authent"),
    (12, "transited-policy-checked"),
    (13, "ok-as-delegate"),
    (15, "enc-pa-rep"),
    (16, "anonymous"),
];

/// `TransitedEncoding`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TransitedEncoding<'a> {
    /// `tr-type`: 1 is DOMAIN-X500-COMPRESS.
    pub tr_type: i32,
    /// `contents`: empty if no realm was crossed.
    pub contents: &'a [u8],
}

impl<'a> TransitedEncoding<'a> {
    /// No realm was crossed.
    #[must_use]
    pub const fn none() -> Self {
        Self { tr_type: 1, contents: &[] }
    }

    /// Reads the next value.
    ///
    /// # Errors
    /// The rule that the bytes break.
    pub fn read(der: &mut Der<'a>) -> Result<Self, ParseError> {
        field::sequence(der, |der| {
            Ok(Self {
                tr_type: field::explicit(der, 0, field::int32)?,
                contents: field::explicit(der, 1, field::octets)?,
            })
        })
    }

    pub(super) fn put(&self, w: &mut DerWriter<'_>) {
        w.sequence(|w| {
            w.int(0, self.tr_type);
            w.octets(1, self.contents);
        });
    }
}

/// `HostAddress`. RFC 4120 5.2.5, 7.5.3.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HostAddress<'a> {
    /// `addr-type`: 2 IPv4, 24 IPv6, 20 NetBIOS.
    pub addr_type: i32,
    /// `address`.
    pub address: &'a [u8],
}

impl<'a> HostAddress<'a> {
    /// Reads the next value.
    ///
    /// # Errors
    /// The rule that the bytes break.
    pub fn read(der: &mut Der<'a>) -> Result<Self, ParseError> {
        field::sequence(der, |der| {
            Ok(Self {
                addr_type: field::explicit(der, 0, field::int32)?,
                address: field::explicit(der, 1, field::octets)?,
            })
        })
    }

    pub(super) fn put(&self, w: &mut DerWriter<'_>) {
        w.sequence(|w| {
            w.int(0, self.addr_type);
            w.octets(1, self.address);
        });
    }

    /// The name of an address type.
    #[must_use]
    pub const fn type_name(addr_type: i32) -> Option<&'static str> {
        Some(match addr_type {
            2 => "IPv4",
            3 => "directional",
            5 => "ChaosNet",
            6 => "XNS",
            7 => "ISO",
            12 => "DECNET Phase IV",
            16 => "AppleTalk DDP",
            20 => "NetBIOS",
            24 => "IPv6",
            _ => return None,
        })
    }
}

field::whole! { Ticket "Ticket" EncTicketPart "EncTicketPart" TransitedEncoding "TransitedEncoding" HostAddress "HostAddress" }
shape::explained! {
    Ticket "Ticket" "RFC 4120 5.3" TICKET;
    EncTicketPart "EncTicketPart" "RFC 4120 5.3" ENC_TICKET_PART;
    TransitedEncoding "TransitedEncoding" "RFC 4120 5.3" TRANSITED;
    HostAddress "HostAddress" "RFC 4120 5.2.5" shape::ADDRESS;
}

pub(super) const TICKET: Shape = Shape::Application(
    1,
    &Shape::Sequence(&[
        shape::field(0, "tkt-vno", shape::PVNO),
        shape::field(1, "realm", shape::REALM),
        shape::field(2, "sname", shape::NAME),
        shape::field(3, "enc-part", shape::ENCRYPTED),
    ]),
);

const ENC_TICKET_PART: Shape = Shape::Application(
    3,
    &Shape::Sequence(&[
        shape::field(0, "flags", shape::TICKET_FLAGS),
        shape::field(1, "key", shape::KEY),
        shape::field(2, "crealm", shape::REALM),
        shape::field(3, "cname", shape::NAME),
        shape::field(4, "transited", TRANSITED),
        shape::field(5, "authtime", Shape::Time),
        shape::field(6, "starttime", Shape::Time),
        shape::field(7, "endtime", Shape::Time),
        shape::field(8, "renew-till", Shape::Time),
        shape::field(9, "caddr", shape::ADDRESSES),
        shape::field(10, "authorization-data", shape::AUTH_DATA),
    ]),
);

const TRANSITED: Shape = Shape::Sequence(&[
    shape::field(0, "tr-type", Shape::Integer(shape::tr_type)),
    shape::field(1, "contents", Shape::OctetsOf(explain_transited)),
]);

fn explain_transited(bytes: &[u8], offset: usize) -> Node {
    let words = if bytes.is_empty() { "no realm was crossed".to_owned() } else { crate::explain::text(bytes) };
    Node::leaf("realms", words, offset..offset + bytes.len())
}

const HOST_ADDRESS: &[Field] =
    &[shape::field(0, "addr-type", Shape::Integer(shape::addr_type)), shape::field(1, "address", Shape::Octets)];

/// The parts, and the address as people write it.
pub(super) fn explain_address(name: &'static str, tlv: Tlv<'_>) -> Node {
    let mut node = explain_tlv(name, &Shape::Sequence(HOST_ADDRESS), tlv);
    if let Ok(parsed) = HostAddress::parse(tlv.whole) {
        node.value = parsed.to_string();
    }
    node
}

/// The address as people write it.
impl fmt::Display for HostAddress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.addr_type, <[u8; 4]>::try_from(self.address), <[u8; 16]>::try_from(self.address)) {
            (2, Ok(v4), _) => core::net::Ipv4Addr::from(v4).fmt(f),
            (24, _, Ok(v6)) => core::net::Ipv6Addr::from(v6).fmt(f),
            (20, ..) => f.write_str(crate::explain::text(self.address).trim_end()),
            _ => f.write_str(&crate::explain::hex(self.address)),
        }
    }
}

element! { Ticket "Ticket" 64 HostAddress "HostAddress" 64 }
