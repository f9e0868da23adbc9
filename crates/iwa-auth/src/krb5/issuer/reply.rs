//! What both exchanges end with: the ticket's flags and times, the ticket, and the encrypted part of the answer. RFC 4120 3.1.3, 3.3.3.

use iwa_wire::krb5::authdata::ad_type;
use iwa_wire::krb5::error::code;
use iwa_wire::krb5::kdc::{EncKdcRepPart, Exchange, KdcReqBody, LastReqEntry, kdc_options};
use iwa_wire::krb5::ticket::{HostAddress, TransitedEncoding};
use iwa_wire::krb5::{
    AuthDataElement, AuthorizationData, EncTicketPart, EncryptedData, EncryptionKey, KdcRep, KerberosTime, PaData,
    PrincipalName, SequenceOf, Ticket, TicketFlags,
};
use zeroize::Zeroizing;

use super::pac::{Buffers, sign};
use super::{Env, Failure, Kdc, Key, Server};
use crate::krb5::etype::SpecificKey;
use crate::krb5::usage;

/// Flags and times of a ticket to be made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) flags: TicketFlags,
    pub(super) authtime: KerberosTime,
    pub(super) starttime: KerberosTime,
    pub(super) endtime: KerberosTime,
    pub(super) renew_till: Option<KerberosTime>,
}

impl Kdc {
    /// The end of a ticket that begins now, and whether and how long it can be renewed, as the client asks and the policy
    /// allows. `bounds` are the ends of the TGT that it is made from.
    pub(super) fn times(
        &self,
        body: &KdcReqBody<'_>,
        env: &Env<'_>,
        bounds: Option<(KerberosTime, Option<KerberosTime>)>,
    ) -> Result<(KerberosTime, Option<KerberosTime>), Failure> {
        let now = env.now.secs();
        // A start that clocks explain is now; a later one would be a postdated ticket (RFC 4120 3.1.3).
        if let Some(from) = body.from
            && from.0 > now.saturating_add(i64::try_from(self.policy.clock_skew.as_secs()).unwrap_or(i64::MAX))
        {
            return Err(Failure::new(code::KDC_ERR_CANNOT_POSTDATE, ""));
        }
        let after = |life: core::time::Duration| now.saturating_add(i64::try_from(life.as_secs()).unwrap_or(i64::MAX));
        // A `till` of 1970 asks for as long as may be (RFC 4120 3.1.3).
        let wanted = if body.till.0 <= 0 { i64::MAX } else { body.till.0 };
        let end = wanted.min(after(self.policy.max_life)).min(bounds.map_or(i64::MAX, |(end, _)| end.0));
        if end <= now {
            return Err(Failure::new(code::KDC_ERR_NEVER_VALID, ""));
        }
        let asked = body.kdc_options & kdc_options::RENEWABLE != 0;
        // `renewable-ok`: rather a renewable ticket than one that is too short.
        let instead = body.kdc_options & kdc_options::RENEWABLE_OK != 0 && wanted != i64::MAX && wanted > end;
        if !asked && !instead {
            return Ok((KerberosTime(end), None));
        }
        let wanted = if asked {
            body.rtime.map_or(i64::MAX, |time| if time.0 <= 0 { i64::MAX } else { time.0 })
        } else {
            wanted
        };
        let till = wanted.min(after(self.policy.max_renewable_life)).min(match bounds {
            Some((_, Some(till))) => till.0,
            Some((_, None)) => return Ok((KerberosTime(end), None)),
            None => i64::MAX,
        });
        Ok((KerberosTime(end), if till > end { Some(KerberosTime(till)) } else { None }))
    }
}

/// A ticket to be made and the answer that carries it.
pub(super) struct Issue<'a> {
    pub(super) exchange: Exchange,
    /// The request's body.
    pub(super) body: &'a KdcReqBody<'a>,
    pub(super) realm: &'a str,
    pub(super) cname: PrincipalName<'a>,
    pub(super) sname: PrincipalName<'a>,
    pub(super) server: &'a Server,
    pub(super) session: &'a Key,
    pub(super) terms: Terms,
    pub(super) caddr: Option<SequenceOf<'a, HostAddress<'a>>>,
    /// The PAC without signatures; empty for none.
    pub(super) pac: Buffers,
    /// Authorization data besides the PAC.
    pub(super) authorization_data: Vec<AuthDataElement<'a>>,
    /// The KDC's own key, for the PAC.
    pub(super) krbtgt: &'a Key,
    /// What the answer is encrypted with, and the kvno to say beside it.
    pub(super) reply_key: &'a SpecificKey,
    pub(super) reply_kvno: Option<u32>,
    pub(super) padata: &'a [PaData<'a>],
    pub(super) encrypted_padata: &'a [PaData<'a>],
}

impl Issue<'_> {
    /// The whole answer.
    pub(super) fn write(self, env: &mut Env<'_>) -> Result<Vec<u8>, Failure> {
        let keys = self.server.keys.first();
        let key = keys.and_then(|set| set.keys.first());
        let (Some(keys), Some(key)) = (keys, key) else {
            return Err(Failure::new(code::KDC_ERR_NULL_KEY, "the service has no key"));
        };
        let protocol = key.protocol();
        let mut cipher = Vec::new();
        let part = self.ticket_part(key)?;
        protocol.specific(usage::TICKET).encrypt(&part, env.entropy, &mut cipher)?;
        let enc_part = EncryptedData { etype: key.etype().number(), kvno: Some(keys.kvno), cipher: &cipher };
        let ticket = Ticket::new(self.realm.into(), self.sname, enc_part);

        let Terms { flags, authtime, starttime, endtime, renew_till } = self.terms;
        let mut plaintext = Zeroizing::new(Vec::new());
        EncKdcRepPart {
            exchange: self.exchange,
            key: EncryptionKey { etype: self.session.etype().number(), value: self.session.expose() },
            last_req: SequenceOf::of(&[LastReqEntry { lr_type: 0, lr_value: authtime }]),
            nonce: self.body.nonce,
            key_expiration: None,
            flags,
            authtime,
            starttime: Some(starttime),
            endtime,
            renew_till,
            srealm: self.realm.into(),
            sname: self.sname,
            caddr: self.caddr,
            encrypted_pa_data: if self.encrypted_padata.is_empty() {
                None
            } else {
                Some(SequenceOf::of(self.encrypted_padata))
            },
        }
        .write(&mut plaintext);
        let mut cipher = Vec::new();
        self.reply_key.encrypt(&plaintext, env.entropy, &mut cipher)?;
        let mut reply = Vec::new();
        KdcRep {
            exchange: self.exchange,
            padata: if self.padata.is_empty() { None } else { Some(SequenceOf::of(self.padata)) },
            crealm: self.realm.into(),
            cname: self.cname,
            ticket,
            enc_part: EncryptedData { etype: self.reply_key.etype().number(), kvno: self.reply_kvno, cipher: &cipher },
        }
        .write(&mut reply);
        Ok(reply)
    }

    /// The plaintext of the ticket. Of a service's it is made twice: the first time with a zero byte in the PAC's place, which
    /// is what the ticket signature covers (MS-PAC 2.8.3).
    fn ticket_part(&self, key: &Key) -> Result<Zeroizing<Vec<u8>>, Failure> {
        if self.pac.is_empty() {
            return Ok(self.encoded(None));
        }
        let server = key.checksum(usage::NON_KERBEROS_CHECKSUM);
        let kdc = self.krbtgt.checksum(usage::NON_KERBEROS_CHECKSUM);
        let is_tgt = self.server.name.starts_with("krbtgt/");
        let covered = if is_tgt { None } else { Some(self.encoded(Some(&[0]))) };
        let covered = covered.as_ref().map(|bytes| bytes.as_slice());
        let pac =
            sign(self.pac.clone(), &server, &kdc, covered).map_err(|_| Failure::malformed("the PAC cannot be made"))?;
        Ok(self.encoded(Some(&pac)))
    }

    fn encoded(&self, pac: Option<&[u8]>) -> Zeroizing<Vec<u8>> {
        let mut wrapped = Vec::new();
        if let Some(pac) = pac {
            AuthorizationData::of(&[AuthDataElement { ad_type: ad_type::WIN2K_PAC, ad_data: pac }]).write(&mut wrapped);
        }
        let mut elements = Vec::with_capacity(1 + self.authorization_data.len());
        if pac.is_some() {
            elements.push(AuthDataElement { ad_type: ad_type::IF_RELEVANT, ad_data: &wrapped });
        }
        elements.extend_from_slice(&self.authorization_data);
        let Terms { flags, authtime, starttime, endtime, renew_till } = self.terms;
        let mut part = Zeroizing::new(Vec::new());
        EncTicketPart {
            flags,
            key: EncryptionKey { etype: self.session.etype().number(), value: self.session.expose() },
            crealm: self.realm.into(),
            cname: self.cname,
            transited: TransitedEncoding::none(),
            authtime,
            starttime: Some(starttime),
            endtime,
            renew_till,
            caddr: self.caddr,
            authorization_data: if elements.is_empty() { None } else { Some(AuthorizationData::of(&elements)) },
        }
        .write(&mut part);
        part
    }
}
