//! The Ticket-Granting Service: a TGT for a ticket. RFC 4120 3.3, 5.4.1; MS-KILE 3.3.5.7.

use iwa_wire::krb5::authdata::ad_type;
use iwa_wire::krb5::error::code;
use iwa_wire::krb5::kdc::{Exchange, kdc_options};
use iwa_wire::krb5::padata::pa_type;
use iwa_wire::krb5::{
    ApReq, AuthDataElement, Authenticator, AuthorizationData, Checksum, EncTicketPart, KdcReq, KerberosTime,
    TicketFlags,
};
use iwa_wire::pac::{Attributes, BufferType, Pac, Requestor};
use md5::{Digest as _, Md5};
use zeroize::Zeroizing;

use super::as_exchange::{client, padata};
use super::pac::{Buffers, buffers, for_service};
use super::reply::{Issue, Terms};
use super::{Env, Failure, Kdc, Key, PrincipalDb, Server, joined};
use crate::env::UnixTime;
use crate::krb5::etype::Etype;
use crate::krb5::pac::{PacPolicy, verify};
use crate::krb5::usage;

impl Kdc {
    pub(super) fn tgs_exchange(
        &self,
        req: &KdcReq<'_>,
        db: &dyn PrincipalDb,
        env: &mut Env<'_>,
        client_name: &mut String,
    ) -> Result<Vec<u8>, Failure> {
        let body = &req.req_body;
        let ap_req = padata(req, pa_type::TGS_REQ)
            .ok_or(Failure::new(code::KDC_ERR_PADATA_TYPE_NOSUPP, "there is no PA-TGS-REQ"))?;
        let ap_req = ApReq::parse(ap_req).map_err(|_| Failure::malformed("PA-TGS-REQ is malformed"))?;
        // Ignored, they would give a ticket for the service itself where one for somebody else was asked for.
        for kind in [pa_type::FOR_USER, pa_type::FOR_X509_USER] {
            if padata(req, kind).is_some() {
                return Err(Failure::new(code::KDC_ERR_PADATA_TYPE_NOSUPP, "S4U2Self"));
            }
        }
        let own = db.server(&format!("krbtgt/{}", self.realm))?;
        let own = own.ok_or(Failure::new(code::KDC_ERR_NULL_KEY, "the realm has no krbtgt key"))?;
        let mut plaintext = Zeroizing::new(Vec::new());
        let (tgt, tgt_key) = self.open_tgt(&ap_req, &own, &mut plaintext)?;
        *client_name = format!("{}@{}", tgt.cname, tgt.crealm);
        self.check_tgt(&tgt, env)?;

        let session = key(tgt.key.etype, tgt.key.value)?;
        let mut plaintext = Zeroizing::new(Vec::new());
        let plaintext = session
            .decrypt(usage::TGS_REQ_AUTHENTICATOR, ap_req.authenticator.cipher, &mut plaintext)
            .map_err(|_| Failure::new(code::KRB_AP_ERR_BAD_INTEGRITY, "the authenticator does not decrypt"))?;
        let authenticator =
            Authenticator::parse(plaintext).map_err(|_| Failure::malformed("the authenticator is malformed"))?;
        if authenticator.cname != tgt.cname || authenticator.crealm != tgt.crealm {
            return Err(Failure::new(code::KRB_AP_ERR_BADMATCH, ""));
        }
        self.check_clock(authenticator.ctime, env)?;
        check_body(authenticator.cksum, &session, body.raw)?;
        let subkey = authenticator.subkey.map(|subkey| key(subkey.etype, subkey.value)).transpose()?;

        let Authorized { pac, wanted_pac, other_data } = self.authorized(&tgt, tgt_key, &own, db, env)?;
        self.check_options(body.kdc_options)?;
        if body.realm != *self.realm.as_str() {
            return Err(Failure::new(code::KDC_ERR_WRONG_REALM, "the service is of another realm"));
        }
        let sname = body.sname.ok_or_else(|| Failure::new(code::KDC_ERR_S_PRINCIPAL_UNKNOWN, ""))?;
        let server = self.server(Some(sname), db)?;
        let for_krbtgt = server.name.starts_with("krbtgt/");
        let terms = self.tgs_terms(req, &tgt, for_krbtgt, env)?;
        let mut scratch = Zeroizing::new(Vec::new());
        let wanted = added_data(req, &session, subkey.as_ref(), &mut scratch)?;
        let authorization_data = other_data.into_iter().chain(wanted).collect();
        let pac = match (for_krbtgt, wanted_pac) {
            (true, _) => pac,
            (false, true) => for_service(pac),
            (false, false) => Buffers::new(),
        };
        let new_session = Key::random(self.session_etype(body.etypes.iter(), &server)?, env.entropy)?;
        let elsewhere = body.kdc_options & (kdc_options::FORWARDED | kdc_options::PROXY) != 0;
        let reply_key = match &subkey {
            Some(subkey) => subkey.specific(usage::TGS_REP_SUBKEY),
            None => session.specific(usage::TGS_REP_SESSION),
        };
        let krbtgt = own.keys.first().and_then(|set| set.keys.first());
        Issue {
            exchange: Exchange::Tgs,
            body,
            realm: &self.realm,
            cname: tgt.cname,
            sname,
            server: &server,
            session: &new_session,
            terms,
            caddr: if elsewhere { body.addresses } else { tgt.caddr },
            pac,
            authorization_data,
            krbtgt: krbtgt.ok_or(Failure::new(code::KDC_ERR_NULL_KEY, "the realm has no krbtgt key"))?,
            reply_key: &reply_key,
            reply_kvno: None,
            padata: &[],
            encrypted_padata: &[],
        }
        .write(env)
    }

    /// The TGT of an AP-REQ, decrypted, and the key that did it.
    fn open_tgt<'t, 'k>(
        &self,
        ap_req: &ApReq<'_>,
        own: &'k Server,
        plaintext: &'t mut Zeroizing<Vec<u8>>,
    ) -> Result<(EncTicketPart<'t>, &'k Key), Failure> {
        let ticket = &ap_req.ticket;
        if ticket.realm != *self.realm.as_str() || joined(ticket.sname).as_deref() != Some(own.name.as_str()) {
            return Err(Failure::new(code::KRB_AP_ERR_NOT_US, "the ticket is not our TGT"));
        }
        let set = own.keys.iter().find(|set| ticket.enc_part.kvno.is_none_or(|kvno| kvno == set.kvno));
        let set = set.ok_or(Failure::new(code::KRB_AP_ERR_BADKEYVER, "the TGT is of a krbtgt key that is gone"))?;
        let etype = Etype::from_number(ticket.enc_part.etype);
        let key = etype.and_then(|etype| set.key(etype)).ok_or(Failure::new(code::KRB_AP_ERR_NOKEY, ""))?;
        let plaintext = key
            .decrypt(usage::TICKET, ticket.enc_part.cipher, plaintext)
            .map_err(|_| Failure::new(code::KRB_AP_ERR_BAD_INTEGRITY, "the TGT does not decrypt"))?;
        let part = EncTicketPart::parse(plaintext).map_err(|_| Failure::malformed("the TGT is malformed"))?;
        Ok((part, key))
    }

    fn check_tgt(&self, tgt: &EncTicketPart<'_>, env: &Env<'_>) -> Result<(), Failure> {
        let now = env.now.secs();
        if tgt.crealm != *self.realm.as_str() {
            return Err(Failure::new(code::KDC_ERR_TGT_REVOKED, "the TGT is of a client of another realm"));
        }
        if tgt.flags.contains(TicketFlags::INVALID) || tgt.starttime.unwrap_or(tgt.authtime).0 > now {
            // The clock that made it is this one: no skew is allowed for.
            return Err(Failure::new(code::KRB_AP_ERR_TKT_NYV, ""));
        }
        if tgt.endtime.0 <= now {
            return Err(Failure::new(code::KRB_AP_ERR_TKT_EXPIRED, ""));
        }
        Ok(())
    }

    /// Holds the PAC of a TGT against its ticket and against the account as it is now, and makes the next PAC from the account:
    /// a group that was left is left at once, not when the TGT ends.
    fn authorized<'t>(
        &self,
        tgt: &EncTicketPart<'t>,
        tgt_key: &Key,
        own: &Server,
        db: &dyn PrincipalDb,
        env: &Env<'_>,
    ) -> Result<Authorized<'t>, Failure> {
        let revoked = |why| Failure::new(code::KDC_ERR_TGT_REVOKED, why);
        let data = tgt.authorization_data;
        let pac = data.map_or(Ok(None), |data| data.pac()).map_err(|_| revoked("the TGT's PAC is malformed"))?;
        // Every TGT of this KDC has a PAC: one without was not made here (CVE-2021-42287).
        let bytes = pac.ok_or_else(|| revoked("the TGT has no PAC"))?;
        let checksum = tgt_key.checksum(usage::NON_KERBEROS_CHECKSUM);
        // A set of keys signs with its first, whatever key of it the ticket is under.
        let set = own.keys.iter().find(|set| set.keys.iter().any(|key| key.ct_eq(tgt_key.expose())));
        let kdc_key = set.and_then(|set| set.keys.first()).map(|key| key.checksum(usage::NON_KERBEROS_CHECKSUM));
        verify(Some(bytes), tgt, &checksum, kdc_key.as_slice(), PacPolicy::Required)
            .map_err(|_| revoked("the TGT's PAC does not hold"))?;
        let pac = Pac::parse(bytes, 0).map_err(|_| revoked("the TGT's PAC is malformed"))?;
        let requestor = pac.read(BufferType::REQUESTOR, Requestor::parse).ok().flatten();
        let Requestor(sid) = requestor.ok_or_else(|| revoked("the TGT has no PAC_REQUESTOR"))?;
        // The name may be another account's by now; the SID never is.
        let client = client(tgt.cname, db)?.ok_or_else(|| revoked("the client is gone"))?;
        if client.account.sid() != Some(sid) {
            return Err(revoked("the client's name is another account's by now"));
        }
        db.still_good(&client, env.now)?;

        let attributes = pac.read(BufferType::ATTRIBUTES, Attributes::parse).ok().flatten();
        let attributes = attributes.ok_or_else(|| revoked("the TGT has no PAC_ATTRIBUTES_INFO"))?;
        let name = joined(tgt.cname).ok_or_else(|| revoked("the client's name is none of ours"))?;
        let pac = buffers(&client.account, &name, UnixTime::from_secs(tgt.authtime.0), attributes)
            .map_err(|_| Failure::malformed("a name is too long for the PAC"))?;
        // MS-KILE 3.3.5.7: whoever asked for no PAC has it in the TGT only.
        let wanted = Attributes::PAC_WAS_REQUESTED | Attributes::PAC_WAS_GIVEN_IMPLICITLY;
        let holds_pac = |element: &AuthDataElement<'_>| {
            element.ad_type == ad_type::IF_RELEVANT
                && AuthorizationData::parse(element.ad_data)
                    .is_ok_and(|inner| inner.iter().any(|element| element.ad_type == ad_type::WIN2K_PAC))
        };
        let other_data = data.into_iter().flat_map(|data| data.iter()).filter(|element| !holds_pac(element)).collect();
        Ok(Authorized { pac, wanted_pac: attributes.0 & wanted != 0, other_data })
    }

    /// Flags and times of a ticket from a TGT. What the TGT cannot give is left out if it is an ability (forwardable,
    /// renewable), as Windows does, and refused if the ticket would be another than the one that was asked for.
    fn tgs_terms(
        &self,
        req: &KdcReq<'_>,
        tgt: &EncTicketPart<'_>,
        for_krbtgt: bool,
        env: &Env<'_>,
    ) -> Result<Terms, Failure> {
        let body = &req.req_body;
        let has = |option| body.kdc_options & option != 0;
        let bad = |why| Failure::new(code::KDC_ERR_BADOPTION, why);
        let now = KerberosTime(env.now.secs());
        let mut flags = TicketFlags(tgt.flags.0 & TicketFlags::PRE_AUTHENT.0);
        for (option, flag) in
            [(kdc_options::FORWARDABLE, TicketFlags::FORWARDABLE), (kdc_options::PROXIABLE, TicketFlags::PROXIABLE)]
        {
            if has(option) && tgt.flags.contains(flag) {
                flags = flags.with(flag);
            }
        }
        if has(kdc_options::FORWARDED) && !tgt.flags.contains(TicketFlags::FORWARDABLE) {
            return Err(bad("the TGT is not forwardable"));
        }
        if has(kdc_options::FORWARDED) || tgt.flags.contains(TicketFlags::FORWARDED) {
            flags = flags.with(TicketFlags::FORWARDED);
        }
        if has(kdc_options::PROXY) {
            if !tgt.flags.contains(TicketFlags::PROXIABLE) || for_krbtgt {
                return Err(bad("the TGT is not proxiable, or a TGT is asked for"));
            }
            flags = flags.with(TicketFlags::PROXY);
        }
        if has(kdc_options::RENEW) {
            let Some(till) = tgt.renew_till.filter(|_| tgt.flags.contains(TicketFlags::RENEWABLE) && for_krbtgt) else {
                return Err(bad("the TGT is not renewable, or not the ticket to renew"));
            };
            if till.0 <= now.0 {
                return Err(Failure::new(code::KRB_AP_ERR_TKT_EXPIRED, "the TGT can be renewed no longer"));
            }
            // As long as it was, as far as renewal goes (RFC 4120 3.3.3.1); with all its flags.
            let life = tgt.endtime.0.saturating_sub(tgt.starttime.unwrap_or(tgt.authtime).0);
            let max = i64::try_from(self.policy.max_life.as_secs()).unwrap_or(i64::MAX);
            let endtime = KerberosTime(now.0.saturating_add(life.min(max)).min(till.0));
            let kept = TicketFlags(tgt.flags.0 & !(TicketFlags::INITIAL.0 | TicketFlags::ENC_PA_REP.0));
            return Ok(Terms { flags: kept, authtime: tgt.authtime, starttime: now, endtime, renew_till: Some(till) });
        }
        let (endtime, renew_till) = self.times(body, env, Some((tgt.endtime, tgt.renew_till)))?;
        if renew_till.is_some() {
            flags = flags.with(TicketFlags::RENEWABLE);
        }
        Ok(Terms { flags, authtime: tgt.authtime, starttime: now, endtime, renew_till })
    }
}

/// What a good TGT stands for.
struct Authorized<'t> {
    /// The account's PAC as of now, unsigned.
    pac: Buffers,
    /// Whether the client asked for a PAC, or did not say, when it got its TGT.
    wanted_pac: bool,
    /// The other authorization data of the TGT, which restricts and must not be lost.
    other_data: Vec<AuthDataElement<'t>>,
}

/// A session key or subkey from a message.
fn key(etype: i32, value: &[u8]) -> Result<Key, Failure> {
    Etype::from_number(etype).filter(|etype| !etype.is_weak()).and_then(|etype| Key::new(etype, value)).ok_or(
        Failure::new(code::KDC_ERR_ETYPE_NOSUPP, "a session key or subkey of an encryption type that is not ours"),
    )
}

/// The authenticator's checksum over the body: nobody changed what is asked for. Of the session key's own type, or plain MD5
/// inside the encrypted authenticator, as Windows and old Java send it.
fn check_body(found: Option<Checksum<'_>>, session: &Key, body: &[u8]) -> Result<(), Failure> {
    let unfit = |why| Failure::new(code::KRB_AP_ERR_INAPP_CKSUM, why);
    let found = found.ok_or_else(|| unfit("the authenticator has no checksum over the request"))?;
    let holds = if found.cksumtype == session.etype().checksum_type() {
        session.checksum(usage::TGS_REQ_CHECKSUM).verify(&[body], found.checksum).is_ok()
    } else if found.cksumtype == RSA_MD5 {
        Md5::digest(body).as_slice() == found.checksum
    } else {
        return Err(unfit("the checksum over the request is of a type that does not fit"));
    };
    if holds { Ok(()) } else { Err(Failure::new(code::KRB_AP_ERR_MODIFIED, "the checksum over the request is wrong")) }
}

/// The client's own authorization data (RFC 4120 5.4.1): restrictions that it wants in the ticket. What only a KDC may say is
/// refused there: a PAC of the client's making must not get into a ticket of ours.
fn added_data<'s>(
    req: &KdcReq<'_>,
    session: &Key,
    subkey: Option<&Key>,
    scratch: &'s mut Zeroizing<Vec<u8>>,
) -> Result<Vec<AuthDataElement<'s>>, Failure> {
    let Some(encrypted) = req.req_body.enc_authorization_data else { return Ok(Vec::new()) };
    let (key, usage) = match subkey {
        Some(subkey) => (subkey, usage::TGS_REQ_AUTHDATA_SUBKEY),
        None => (session, usage::TGS_REQ_AUTHDATA_SESSION),
    };
    let plaintext = key
        .decrypt(usage, encrypted.cipher, scratch)
        .map_err(|_| Failure::new(code::KRB_AP_ERR_BAD_INTEGRITY, "the authorization data does not decrypt"))?;
    let malformed = |_| Failure::malformed("the authorization data is malformed");
    let data = AuthorizationData::parse(plaintext).map_err(malformed)?;
    let mut forged = false;
    data.visit(&mut |element| {
        let of_kdc = [ad_type::WIN2K_PAC, ad_type::KDC_ISSUED, ad_type::CAMMAC, ad_type::AND_OR];
        forged |= of_kdc.contains(&element.ad_type);
        Ok(())
    })
    .map_err(malformed)?;
    if forged {
        return Err(Failure::new(
            code::KDC_ERR_POLICY,
            "the client's authorization data holds what only a KDC may say",
        ));
    }
    Ok(data.iter().collect())
}

/// `rsa-md5`: no key, which is enough inside the authenticator (RFC 4120 3.3.2).
const RSA_MD5: i32 = 7;
