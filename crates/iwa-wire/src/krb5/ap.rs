//! AP-REQ, AP-REP and what is encrypted in them. RFC 4120 5.5.

use super::authdata::AuthorizationData;
use super::field::{self, Fields as _};
use super::shape;
use super::{Checksum, EncryptedData, EncryptionKey, KerberosString, KerberosTime, PrincipalName, Ticket};
use crate::der::{Der, DerWriter};
use crate::error::ParseError;
use crate::explain::Shape;

/// `AP-REQ`: a ticket, and the proof that the client knows its session key.
#[derive(Clone, Copy, Debug)]
pub struct ApReq<'a> {
    /// `ap-options`: [`ap_options`].
    pub ap_options: u32,
    /// `ticket`.
    pub ticket: Ticket<'a>,
    /// `authenticator`: an [`Authenticator`] under the session key (key usage 11; 7 in a TGS-REQ).
    pub authenticator: EncryptedData<'a>,
}

/// The bits of `ap-options`.
pub mod ap_options {
    /// `use-session-key`: the ticket is user-to-user.
    pub const USE_SESSION_KEY: u32 = 1 << 30;
    /// `mutual-required`: the client wants an AP-REP.
    pub const MUTUAL_REQUIRED: u32 = 1 << 29;

    /// The names of the bits that are set.
    #[must_use]
    pub fn names(options: u32) -> String {
        super::field::bit_names(options, &[(0, "reserved"), (1, "use-session-key"), (2, "mutual-required")])
    }
}

impl<'a> ApReq<'a> {
    /// Reads the next value.
    ///
    /// # Errors
    /// The rule that the bytes break.
    pub fn read(der: &mut Der<'a>) -> Result<Self, ParseError> {
        field::application(der, 14, |der| {
            field::explicit(der, 0, |der| field::fixed(der, 5, "pvno"))?;
            field::explicit(der, 1, |der| field::fixed(der, 14, "msg-type"))?;
            Ok(Self {
                ap_options: field::explicit(der, 2, field::flags)?,
                ticket: field::explicit(der, 3, Ticket::read)?,
                authenticator: field::explicit(der, 4, EncryptedData::read)?,
            })
        })
    }

    pub(super) fn put(&self, w: &mut DerWriter<'_>) {
        w.application(14, |w| {
            w.header(0, 14);
            w.bits(2, self.ap_options);
            w.field(3, |w| self.ticket.put(w));
            w.field(4, |w| self.authenticator.put(w));
        });
    }
}

/// `AP-REP`: the server's proof that it knows the session key.
#[derive(Clone, Copy, Debug)]
pub struct ApRep<'a> {
    /// `enc-part`: an [`EncApRepPart`] under the session key (key usage 12).
    pub enc_part: EncryptedData<'a>,
}

impl<'a> ApRep<'a> {
    /// Reads the next value.
    ///
    /// # Errors
    /// The rule that the bytes break.
    pub fn read(der: &mut Der<'a>) -> Result<Self, ParseError> {
        field::application(der, 15, |der| {
            field::explicit(der, 0, |der| field::fixed(der, 5, "pvno"))?;
            field::explicit(der, 1, |der| field::fixed(der, 15, "msg-type"))?;
            Ok(Self { enc_part: field::explicit(der, 2, EncryptedData::read)? })
        })
    }

    pub(super) fn put(&self, w: &mut DerWriter<'_>) {
        w.application(15, |w| {
            w.header(0, 15);
            w.field(2, |w| self.enc_part.put(w));
        });
    }
}

/// `EncAPRepPart`.
#[derive(Clone, Copy, Debug)]
pub struct EncApRepPart<'a> {
    /// `ctime`: that of the authenticator.
    pub ctime: KerberosTime,
    /// `cusec`: that of the authenticator.
    pub cusec: u32,
    /// `subkey`: the acceptor's.
    pub subkey: Option<EncryptionKey<'a>>,
    /// `seq-number`: the first of the acceptor's messages.
    pub seq_number: Option<u32>,
}

impl<'a> EncApRepPart<'a> {
    /// Reads the next value.
    ///
    /// # Errors
    /// The rule that the bytes break.
    pub fn read(der: &mut Der<'a>) -> Result<Self, ParseError> {
        field::application(der, 27, |der| {
            Ok(Self {
                ctime: field::explicit(der, 0, field::time)?,
                cusec: field::explicit(der, 1, field::microseconds)?,
                subkey: field::optional(der, 2, EncryptionKey::read)?,
                seq_number: field::optional(der, 3, field::uint32)?,
            })
        })
    }

    pub(super) fn put(&self, w: &mut DerWriter<'_>) {
        w.application(27, |w| {
            w.time(0, self.ctime);
            w.int(1, self.cusec);
            if let Some(subkey) = self.subkey {
                w.field(2, |w| subkey.put(w));
            }
            if let Some(seq_number) = self.seq_number {
                w.int(3, seq_number);
            }
        });
    }
}

/// `Authenticator`.
#[derive(Clone, Copy, Debug)]
pub struct Authenticator<'a> {
    /// `crealm`: the client's realm.
    pub crealm: KerberosString<'a>,
    /// `cname`: the client.
    pub cname: PrincipalName<'a>,
    /// `cksum`: over the application's data; type 0x8003 in GSS-API ([`checksum`](super::checksum)).
    pub cksum: Option<Checksum<'a>>,
    /// `cusec`: the microseconds of the client's clock.
    pub cusec: u32,
    /// `ctime`: the client's clock.
    pub ctime: KerberosTime,
    /// `subkey`: the initiator's.
    pub subkey: Option<EncryptionKey<'a>>,
    /// `seq-number`: the first of the initiator's messages.
    pub seq_number: Option<u32>,
    /// `authorization-data`: the client's own words.
    pub authorization_data: Option<AuthorizationData<'a>>,
}

impl<'a> Authenticator<'a> {
    /// Reads the next value.
    ///
    /// # Errors
    /// The rule that the bytes break.
    pub fn read(der: &mut Der<'a>) -> Result<Self, ParseError> {
        field::application(der, 2, |der| {
            field::explicit(der, 0, |der| field::fixed(der, 5, "authenticator-vno"))?;
            Ok(Self {
                crealm: field::explicit(der, 1, field::string)?,
                cname: field::explicit(der, 2, PrincipalName::read)?,
                cksum: field::optional(der, 3, Checksum::read)?,
                cusec: field::explicit(der, 4, field::microseconds)?,
                ctime: field::explicit(der, 5, field::time)?,
                subkey: field::optional(der, 6, EncryptionKey::read)?,
                seq_number: field::optional(der, 7, field::uint32)?,
                authorization_data: field::optional(der, 8, AuthorizationData::read)?,
            })
        })
    }

    pub(super) fn put(&self, w: &mut DerWriter<'_>) {
        w.application(2, |w| {
            w.int(0, 5);
            w.string(1, self.crealm);
            w.field(2, |w| self.cname.put(w));
            if let Some(cksum) = self.cksum {
                w.field(3, |w| cksum.put(w));
            }
            w.int(4, self.cusec);
            w.time(5, self.ctime);
            if let Some(subkey) = self.subkey {
                w.field(6, |w| subkey.put(w));
            }
            if let Some(seq_number) = self.seq_number {
                w.int(7, seq_number);
            }
            if let Some(data) = self.authorization_data {
                w.field(8, |w| data.put(w));
            }
        });
    }
}

field::whole! { ApReq "AP-REQ" ApRep "AP-REP" EncApRepPart "EncAPRepPart" Authenticator "Authenticator" }
shape::explained! {
    ApReq "AP-REQ" "RFC 4120 5.5.1" AP_REQ;
    ApRep "AP-REP" "RFC 4120 5.5.2" AP_REP;
    EncApRepPart "EncAPRepPart" "RFC 4120 5.5.2" ENC_AP_REP_PART;
    Authenticator "Authenticator" "RFC 4120 5.5.1" AUTHENTICATOR;
}

const AP_REQ: Shape = Shape::Application(
    14,
    &Shape::Sequence(&[
        shape::field(0, "pvno", shape::PVNO),
        shape::field(1, "msg-type", shape::MSG_TYPE),
        shape::field(2, "ap-options", Shape::Flags(ap_options::names)),
        shape::field(3, "ticket", super::ticket::TICKET),
        shape::field(4, "authenticator", shape::ENCRYPTED),
    ]),
);

const AP_REP: Shape = Shape::Application(
    15,
    &Shape::Sequence(&[
        shape::field(0, "pvno", shape::PVNO),
        shape::field(1, "msg-type", shape::MSG_TYPE),
        shape::field(2, "enc-part", shape::ENCRYPTED),
    ]),
);

const ENC_AP_REP_PART: Shape = Shape::Application(
    27,
    &Shape::Sequence(&[
        shape::field(0, "ctime", Shape::Time),
        shape::field(1, "cusec", shape::INT),
        shape::field(2, "subkey", shape::KEY),
        shape::field(3, "seq-number", shape::INT),
    ]),
);

const AUTHENTICATOR: Shape = Shape::Application(
    2,
    &Shape::Sequence(&[
        shape::field(0, "authenticator-vno", shape::PVNO),
        shape::field(1, "crealm", shape::REALM),
        shape::field(2, "cname", shape::NAME),
        shape::field(3, "cksum", shape::CHECKSUM),
        shape::field(4, "cusec", shape::INT),
        shape::field(5, "ctime", Shape::Time),
        shape::field(6, "subkey", shape::KEY),
        shape::field(7, "seq-number", shape::INT),
        shape::field(8, "authorization-data", shape::AUTH_DATA),
    ]),
);
