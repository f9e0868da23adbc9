//! The Authentication Service: a password for a ticket. RFC 4120 3.1, 5.2.7.2, 5.2.7.5; RFC 6806; MS-KILE 3.3.5.6.

use iwa_wire::krb5::error::code;
use iwa_wire::krb5::kdc::{Exchange, KdcReqBody, kdc_options};
use iwa_wire::krb5::padata::{EtypeInfo2Entry, PaEncTsEnc, PaPacRequest, pa_type};
use iwa_wire::krb5::principal::name_type;
use iwa_wire::krb5::{Checksum, EncryptedData, KdcReq, KerberosTime, PaData, PrincipalName, SequenceOf, TicketFlags};
use iwa_wire::pac::Attributes;
use zeroize::Zeroizing;

use super::pac::{buffers, for_service};
use super::reply::{Issue, Terms};
use super::{Client, ClientName, Env, Failure, Kdc, Key, PrincipalDb, Refusal, joined};
use crate::env::UnixTime;
use crate::krb5::etype::Etype;
use crate::krb5::usage;

impl Kdc {
    pub(super) fn as_exchange(
        &self,
        req: &KdcReq<'_>,
        request: &[u8],
        db: &dyn PrincipalDb,
        env: &mut Env<'_>,
    ) -> Result<Vec<u8>, Failure> {
        let body = &req.req_body;
        if body.realm != *self.realm.as_str() {
            return Err(Failure::new(code::KDC_ERR_WRONG_REALM, "the realm is not ours, or written in other case"));
        }
        self.check_options(body.kdc_options)?;
        let forbidden = kdc_options::FORWARDED | kdc_options::PROXY | kdc_options::RENEW;
        if body.kdc_options & forbidden != 0 {
            return Err(Failure::new(code::KDC_ERR_BADOPTION, "an option of the TGS exchange"));
        }
        let unknown = || Failure::new(code::KDC_ERR_C_PRINCIPAL_UNKNOWN, "");
        let cname = body.cname.ok_or_else(unknown)?;
        let client = client(cname, db)?.ok_or_else(unknown)?;
        let server = self.server(body.sname, db)?;
        let krbtgt = self.krbtgt(db)?;
        db.before_proof(&client, env.now)?;
        let key = self.prove(req, &client, db, env)?;

        let session = Key::random(self.session_etype(body.etypes.iter(), &server)?, env.entropy)?;
        let now = KerberosTime(env.now.secs());
        let (endtime, renew_till) = self.times(body, env, None)?;
        let mut flags = TicketFlags::INITIAL.with(TicketFlags::PRE_AUTHENT);
        for (option, flag) in
            [(kdc_options::FORWARDABLE, TicketFlags::FORWARDABLE), (kdc_options::PROXIABLE, TicketFlags::PROXIABLE)]
        {
            if body.kdc_options & option != 0 && client.delegable {
                flags = flags.with(flag);
            }
        }
        if renew_till.is_some() {
            flags = flags.with(TicketFlags::RENEWABLE);
        }

        let canonical = [client.account.name.as_str()];
        let cname = if body.kdc_options & kdc_options::CANONICALIZE != 0 {
            PrincipalName::of(name_type::PRINCIPAL, &canonical)
        } else {
            cname
        };
        let name = joined(cname).ok_or_else(unknown)?;
        let attributes = Attributes(match pac_requested(req)? {
            Some(true) => Attributes::PAC_WAS_REQUESTED,
            Some(false) => 0,
            None => Attributes::PAC_WAS_GIVEN_IMPLICITLY,
        });
        let pac = buffers(&client.account, &name, UnixTime::from_secs(now.0), attributes)
            .map_err(|_| Failure::malformed("a name is too long for the PAC"))?;

        // RFC 6806 11: the client can then tell whether somebody changed its request on the way.
        let wants_proof = padata(req, pa_type::REQ_ENC_PA_REP).is_some();
        let mut proof = Vec::new();
        if wants_proof {
            flags = flags.with(TicketFlags::ENC_PA_REP);
            let value = key.checksum(usage::AS_REQ_CHECKSUM).compute(&[request]);
            Checksum { cksumtype: key.etype().checksum_type(), checksum: &value }.write(&mut proof);
        }
        let proofs = [PaData { padata_type: pa_type::REQ_ENC_PA_REP, padata_value: &proof }];
        let info = etype_info([key.etype()].into_iter(), &client);
        let padata = [PaData { padata_type: pa_type::ETYPE_INFO2, padata_value: &info }];
        let sname = body.sname.ok_or_else(|| Failure::new(code::KDC_ERR_S_PRINCIPAL_UNKNOWN, ""))?;
        Issue {
            exchange: Exchange::As,
            body,
            realm: &self.realm,
            cname,
            sname,
            server: &server,
            session: &session,
            terms: Terms { flags, authtime: now, starttime: now, endtime, renew_till },
            caddr: body.addresses,
            pac: if server.name.starts_with("krbtgt/") { pac } else { for_service(pac) },
            authorization_data: Vec::new(),
            krbtgt: &krbtgt,
            reply_key: &key.specific(usage::AS_REP),
            reply_kvno: Some(client.keys.kvno),
            padata: &padata,
            encrypted_padata: if wants_proof { &proofs } else { &[] },
        }
        .write(env)
    }

    /// `PA-ENC-TIMESTAMP`: the client's clock under its key. Returns that key, which then encrypts the answer.
    fn prove<'c>(
        &self,
        req: &KdcReq<'_>,
        client: &'c Client,
        db: &dyn PrincipalDb,
        env: &Env<'_>,
    ) -> Result<&'c Key, Failure> {
        let Some(timestamp) = padata(req, pa_type::ENC_TIMESTAMP) else {
            return Err(self.demand(code::KDC_ERR_PREAUTH_REQUIRED, "", &req.req_body, client));
        };
        let Ok(encrypted) = EncryptedData::parse(timestamp) else {
            return Err(Failure::malformed("PA-ENC-TIMESTAMP is malformed"));
        };
        let etype = Etype::from_number(encrypted.etype).filter(|etype| self.policy.etypes.contains(etype));
        let Some(key) = etype.and_then(|etype| client.keys.key(etype)) else {
            return Err(self.demand(
                code::KDC_ERR_PREAUTH_REQUIRED,
                "the client has no key of the encryption type it used",
                &req.req_body,
                client,
            ));
        };
        let mut scratch = Zeroizing::new(Vec::new());
        let Ok(plaintext) = key.decrypt(usage::PA_ENC_TIMESTAMP, encrypted.cipher, &mut scratch) else {
            let refusal = db.after_proof(client, false, env.now).err().unwrap_or(Refusal::WrongPassword);
            return Err(match refusal {
                Refusal::WrongPassword => self.demand(code::KDC_ERR_PREAUTH_FAILED, "", &req.req_body, client),
                other => other.into(),
            });
        };
        let time = PaEncTsEnc::parse(plaintext).map_err(|_| Failure::malformed("PA-ENC-TS-ENC is malformed"))?;
        self.check_clock(time.patimestamp, env)?;
        db.after_proof(client, true, env.now)?;
        Ok(key)
    }

    /// A refusal that says which keys may be used, with their salts (RFC 4120 5.2.7.5).
    fn demand(&self, code: i32, why: &'static str, body: &KdcReqBody<'_>, client: &Client) -> Failure {
        let common = |etype: &Etype| self.policy.etypes.contains(etype) && client.keys.key(*etype).is_some();
        let wanted: Vec<Etype> = body.etypes.iter().filter_map(Etype::from_number).filter(common).collect();
        if wanted.is_empty() {
            return Failure::new(code::KDC_ERR_ETYPE_NOSUPP, "no encryption type in common with the client");
        }
        let info = etype_info(wanted.into_iter(), client);
        let mut e_data = Vec::new();
        SequenceOf::of(&[
            PaData { padata_type: pa_type::ETYPE_INFO2, padata_value: &info },
            PaData { padata_type: pa_type::ENC_TIMESTAMP, padata_value: &[] },
        ])
        .write(&mut e_data);
        Failure { code, why, e_data }
    }

    /// The KDC's own key: what PACs are signed with.
    pub(super) fn krbtgt(&self, db: &dyn PrincipalDb) -> Result<Key, Failure> {
        let own = db.server(&format!("krbtgt/{}", self.realm))?;
        own.and_then(|server| server.keys.into_iter().next()?.keys.into_iter().next())
            .ok_or(Failure::new(code::KDC_ERR_NULL_KEY, "the realm has no krbtgt key"))
    }
}

/// `ETYPE-INFO2` of these keys of the client. The iterations are said although they are the default: a client then need not
/// know it.
fn etype_info(etypes: impl Iterator<Item = Etype>, client: &Client) -> Vec<u8> {
    let etypes: Vec<(Etype, [u8; 4])> = etypes.map(|etype| (etype, etype.default_iterations().to_be_bytes())).collect();
    let entries: Vec<EtypeInfo2Entry<'_>> = etypes
        .iter()
        .map(|(etype, iterations)| EtypeInfo2Entry {
            etype: etype.number(),
            salt: Some(client.keys.salt.as_str().into()),
            s2kparams: Some(iterations),
        })
        .collect();
    let mut info = Vec::new();
    SequenceOf::of(&entries).write(&mut info);
    info
}

/// The account that a name means.
pub(super) fn client(name: PrincipalName<'_>, db: &dyn PrincipalDb) -> Result<Option<Client>, Failure> {
    let mut components = name.components();
    let (Some(only), None) = (components.next(), components.next()) else { return Ok(None) };
    let Some(only) = only.as_str() else { return Ok(None) };
    let name = match name.name_type {
        name_type::ENTERPRISE => ClientName::Enterprise(only),
        _ => ClientName::Account(only),
    };
    Ok(db.client(name)?)
}

/// The value of the first pre-authentication of a type.
pub(super) fn padata<'a>(req: &KdcReq<'a>, kind: i32) -> Option<&'a [u8]> {
    req.padata?.iter().find(|padata| padata.padata_type == kind).map(|padata| padata.padata_value)
}

fn pac_requested(req: &KdcReq<'_>) -> Result<Option<bool>, Failure> {
    let Some(value) = padata(req, pa_type::PAC_REQUEST) else { return Ok(None) };
    match PaPacRequest::parse(value) {
        Ok(request) => Ok(Some(request.include_pac)),
        Err(_) => Err(Failure::malformed("PA-PAC-REQUEST is malformed")),
    }
}
