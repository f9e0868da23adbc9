//! The Authentication Service exchange: a TGT for the client's own key. RFC 4120 3.1, 5.2.7; RFC 6806 4, 7, 11.

use iwa_wire::krb5::error::code;
use iwa_wire::krb5::kdc::{Exchange as Which, kdc_options};
use iwa_wire::krb5::padata::{EtypeInfo, EtypeInfo2, MethodData, PaEncTsEnc, pa_type};
use iwa_wire::krb5::{
    Checksum, EncKdcRepPart, EncryptedData, KdcRep, KdcReq, KdcReqBody, KerberosTime, KrbError, PaData, Principal,
    PrincipalName, SequenceOf, TicketFlags,
};

use super::super::etype::{Etype, Key};
use super::super::usage;
use super::{CLOCK_SKEW, Credential, Exchange, LongTerm, NeedKdc, REALMS_LIMIT, Step, Task};
use super::{is_enterprise, malformed, nonce, refused};
use crate::env::Env;
use crate::reject::{Peer, Policy, Reject};

/// An AS-REQ that is on its way.
#[derive(Debug)]
pub(super) struct AsExchange {
    pub(super) realm: String,
    nonce: u32,
    /// What was asked for.
    etypes: Vec<i32>,
    /// What the pre-authentication is made of, once the KDC asked for it.
    preauth: Option<Preauth>,
    clock_followed: bool,
    realms: Vec<String>,
}

#[derive(Clone, Debug)]
struct Preauth {
    key: Key,
    /// `PA-FX-COOKIE`, which goes back as it came.
    cookie: Option<Vec<u8>>,
}

/// Which salt and parameters make the key of one etype.
struct Parameters {
    etype: Etype,
    salt: Option<Vec<u8>>,
    s2kparams: Option<Vec<u8>>,
}

impl AsExchange {
    pub(super) fn begin(task: Task, env: &mut Env<'_>) -> Result<Step, Reject> {
        let held = |etype: &Etype| match &task.client.inner.long_term {
            LongTerm::Keys(keys) => keys.iter().any(|(_, key)| key.etype() == *etype),
            _ => true,
        };
        // The session key may be of any of our etypes; those we hold a key of come first, so that the KDC takes one.
        let (mut etypes, others): (Vec<_>, Vec<_>) = task.policy().etypes.iter().copied().partition(held);
        if etypes.is_empty() {
            let why = format!("the keytab has no key of {} of an etype that is on", task.principal);
            return Err(Policy::NoCredential { why }.into());
        }
        if !matches!(task.client.inner.long_term, LongTerm::Keys(_)) {
            etypes.extend(others);
        }
        let exchange = Self {
            realm: task.principal.realm.clone(),
            nonce: 0,
            etypes: etypes.into_iter().map(Etype::number).collect(),
            preauth: None,
            clock_followed: false,
            realms: Vec::new(),
        };
        exchange.ask(task, env)
    }

    fn ask(mut self, mut task: Task, env: &mut Env<'_>) -> Result<Step, Reject> {
        task.asks()?;
        self.nonce = nonce(env)?;
        let now = task.now(env);
        let mut padata = Vec::new();
        let (mut timestamp, mut encrypted) = (Vec::new(), Vec::new());
        if let Some(Preauth { key, cookie }) = &self.preauth {
            let stamp = PaEncTsEnc { patimestamp: KerberosTime(now.secs()), pausec: Some(now.subsec_micros()) };
            stamp.write(&mut timestamp);
            let mut cipher = Vec::new();
            key.encrypt(usage::PA_ENC_TIMESTAMP, &timestamp, env.entropy, &mut cipher)?;
            let data = EncryptedData { etype: key.etype().number(), kvno: None, cipher: &cipher };
            data.write(&mut encrypted);
            if let Some(cookie) = cookie {
                padata.push(PaData { padata_type: pa_type::FX_COOKIE, padata_value: cookie });
            }
            padata.push(PaData { padata_type: pa_type::ENC_TIMESTAMP, padata_value: &encrypted });
        }
        // The KDC then signs our request in its answer: nobody can have changed it on the way.
        padata.push(PaData { padata_type: pa_type::REQ_ENC_PA_REP, padata_value: &[] });
        let krbtgt = ["krbtgt", self.realm.as_str()];
        let mut options = kdc_options::CANONICALIZE | kdc_options::RENEWABLE_OK;
        if task.policy().forwardable {
            options |= kdc_options::FORWARDABLE;
        }
        let body = KdcReqBody {
            kdc_options: options,
            cname: Some(task.principal.name()),
            realm: self.realm.as_str().into(),
            sname: Some(PrincipalName::of(iwa_wire::krb5::principal::name_type::SRV_INST, &krbtgt)),
            from: None,
            till: KerberosTime(now.secs().saturating_add(i64::from(task.policy().lifetime))),
            rtime: None,
            nonce: self.nonce,
            etypes: SequenceOf::of(&self.etypes),
            addresses: None,
            enc_authorization_data: None,
            additional_tickets: None,
            raw: &[],
        };
        let mut request = Vec::new();
        KdcReq { exchange: Which::As, padata: Some(SequenceOf::of(&padata)), req_body: body }.write(&mut request);
        Ok(Step::NeedKdc(NeedKdc { task, exchange: Exchange::As(self), request }))
    }

    pub(super) fn answer(self, task: Task, request: &[u8], reply: &[u8], env: &mut Env<'_>) -> Result<Step, Reject> {
        match reply.first() {
            Some(0x6b) => self.reply(task, request, &KdcRep::parse(reply)?, env),
            Some(0x7e) => self.error(task, &KrbError::parse(reply)?, env),
            _ => Err(malformed("AS-REP")),
        }
    }

    fn error(mut self, mut task: Task, error: &KrbError<'_>, env: &mut Env<'_>) -> Result<Step, Reject> {
        match error.error_code {
            code::KDC_ERR_PREAUTH_REQUIRED if self.preauth.is_none() => {
                self.preauth = Some(self.preauthentication(&task, error)?);
                self.ask(task, env)
            }
            code::KRB_AP_ERR_SKEW if !self.clock_followed && task.follow_clock(error, env) => {
                self.clock_followed = true;
                self.ask(task, env)
            }
            code::KDC_ERR_WRONG_REALM => {
                let realm = error.crealm.and_then(|realm| realm.as_str()).unwrap_or_default().to_owned();
                if realm.is_empty() || realm == self.realm || self.realms.contains(&realm) {
                    return Err(refused(&self.realm, error));
                }
                if self.realms.len() == REALMS_LIMIT {
                    let what = format!("the realms refer to each other without end: {}", self.realms.join(", "));
                    return Err(Peer::KdcReply { what }.into());
                }
                self.realms.push(core::mem::replace(&mut self.realm, realm.clone()));
                // An enterprise name stays as it is; it is asked of another realm.
                task.principal.realm = realm;
                self.preauth = None;
                self.ask(task, env)
            }
            _ => Err(refused(&self.realm, error)),
        }
    }

    /// What `KDC_ERR_PREAUTH_REQUIRED` asks for, made ready.
    fn preauthentication(&self, task: &Task, error: &KrbError<'_>) -> Result<Preauth, Reject> {
        let methods = MethodData::parse(error.e_data.unwrap_or_default())?;
        if !methods.iter().any(|method| method.padata_type == pa_type::ENC_TIMESTAMP) {
            let names: Vec<String> = methods
                .iter()
                .map(|method| {
                    pa_type::name(method.padata_type).map_or_else(|| method.padata_type.to_string(), str::to_owned)
                })
                .collect();
            let what =
                format!("it wants pre-authentication by {}, and only PA-ENC-TIMESTAMP is spoken", names.join(", "));
            return Err(Peer::KdcReply { what }.into());
        }
        let parameters = self.parameters(methods, None)?;
        let cookie = methods.iter().find(|method| method.padata_type == pa_type::FX_COOKIE);
        Ok(Preauth {
            key: long_term_key(task, &parameters, None)?,
            cookie: cookie.map(|cookie| cookie.padata_value.to_vec()),
        })
    }

    /// The first etype of the KDC's list that was asked for (or `etype` itself), with its salt.
    fn parameters(&self, methods: MethodData<'_>, etype: Option<i32>) -> Result<Parameters, Reject> {
        let fits = |number: i32| {
            Some(number)
                .filter(|n| self.etypes.contains(n) && etype.is_none_or(|wanted| wanted == *n))
                .and_then(Etype::from_number)
        };
        if let Some(info) = methods.iter().find(|method| method.padata_type == pa_type::ETYPE_INFO2) {
            let list = EtypeInfo2::parse(info.padata_value)?;
            if let Some((etype, entry)) = list.iter().find_map(|entry| Some((fits(entry.etype)?, entry))) {
                let salt = entry.salt.map(|salt| salt.0.to_vec());
                return Ok(Parameters { etype, salt, s2kparams: entry.s2kparams.map(<[u8]>::to_vec) });
            }
        } else if let Some(info) = methods.iter().find(|method| method.padata_type == pa_type::ETYPE_INFO) {
            let list = EtypeInfo::parse(info.padata_value)?;
            if let Some((etype, entry)) = list.iter().find_map(|entry| Some((fits(entry.etype)?, entry))) {
                return Ok(Parameters { etype, salt: entry.salt.map(<[u8]>::to_vec), s2kparams: None });
            }
        } else if let Some(etype) = etype.or(self.etypes.first().copied()).and_then(fits) {
            let salt = methods.iter().find(|method| method.padata_type == pa_type::PW_SALT);
            return Ok(Parameters { etype, salt: salt.map(|salt| salt.padata_value.to_vec()), s2kparams: None });
        }
        let what = "it offers no encryption type that was asked for".to_owned();
        Err(Peer::KdcReply { what }.into())
    }

    fn reply(self, mut task: Task, request: &[u8], rep: &KdcRep<'_>, env: &mut Env<'_>) -> Result<Step, Reject> {
        let etype = rep.enc_part.etype;
        let key = match &self.preauth {
            Some(preauth) if preauth.key.etype().number() == etype => preauth.key.clone(),
            _ => {
                let parameters = self.parameters(rep.padata.unwrap_or(SequenceOf::of(&[])), Some(etype))?;
                long_term_key(&task, &parameters, rep.enc_part.kvno)?
            }
        };
        let mut scratch = Vec::new();
        let plain = key.decrypt(usage::AS_REP, rep.enc_part.cipher, &mut scratch).map_err(|_| Peer::KdcReply {
            what: "it does not decrypt under the client's key: the password is wrong, or the answer is not the KDC's"
                .into(),
        })?;
        let enc = EncKdcRepPart::parse(plain)?;
        let wrong = |what: &str| Err(Peer::KdcReply { what: what.to_owned() }.into());
        if enc.nonce != self.nonce {
            return wrong("its nonce is not ours: an old answer");
        }
        if !is_tgs(&enc) {
            return wrong("its ticket is not for the ticket-granting service");
        }
        if enc.flags.contains(TicketFlags::ENC_PA_REP) {
            verify_request(&key, &enc, request)?;
        }
        // The KDC's own spelling of the client, which it may give because the request said `canonicalize`.
        let client = rep.cname.to_principal(rep.crealm)?;
        if !is_enterprise(&task.principal) && !client.realm.eq_ignore_ascii_case(&task.principal.realm) {
            return wrong("its ticket is of a client of another realm");
        }
        // Protected, unlike the clock of an error.
        let offset = enc.starttime.unwrap_or(enc.authtime).0.saturating_sub(env.now.secs());
        task.offset = if offset.abs() > CLOCK_SKEW { offset } else { 0 };
        let tgt = Credential::of(client.clone(), rep, &enc, &self.etypes, task.offset)?;
        if task.service == Principal::krbtgt(&task.principal.realm, &task.principal.realm) {
            task.service = tgt.server.clone();
        }
        task.principal = client;
        task.new.push(tgt.clone());
        task.have_tgt(tgt, env)
    }
}

/// `krbtgt/X@X`.
fn is_tgs(enc: &EncKdcRepPart<'_>) -> bool {
    let mut components = enc.sname.components();
    components.next().is_some_and(|service| service.0 == b"krbtgt")
        && components.next() == Some(enc.srealm)
        && components.next().is_none()
}

/// The KDC's checksum over our request. RFC 6806 11.
fn verify_request(key: &Key, enc: &EncKdcRepPart<'_>, request: &[u8]) -> Result<(), Reject> {
    let mut signed = enc.encrypted_pa_data.into_iter().flatten();
    let found = signed.find(|data| data.padata_type == pa_type::REQ_ENC_PA_REP);
    if let Some(found) = found
        && let Ok(checksum) = Checksum::parse(found.padata_value)
        && checksum.cksumtype == key.etype().checksum_type()
        && key.checksum(usage::AS_REQ_CHECKSUM).verify(&[request], checksum.checksum).is_ok()
    {
        return Ok(());
    }
    let what = "the KDC saw another request than ours: somebody changed it on the way".to_owned();
    Err(Peer::KdcReply { what }.into())
}

fn long_term_key(task: &Task, parameters: &Parameters, kvno: Option<u32>) -> Result<Key, Reject> {
    let Parameters { etype, salt, s2kparams } = parameters;
    match &task.client.inner.long_term {
        LongTerm::Password(password) => {
            let default = || {
                let mut salt = task.principal.realm.clone();
                task.principal.components.iter().for_each(|component| salt.push_str(component));
                salt.into_bytes()
            };
            let salt = salt.clone().unwrap_or_else(default);
            let iterations = s2kparams.as_deref().and_then(|params| params.try_into().ok()).map(u32::from_be_bytes);
            if let Some(iterations) = iterations.filter(|count| *count < MIN_ITERATIONS && *etype != Etype::Rc4Hmac) {
                let what = format!(
                    "it asks for {iterations} iterations of string-to-key, at least {MIN_ITERATIONS} are done: nothing \
                     protects the question, and fewer make the password easy to guess for whoever forged it"
                );
                return Err(Peer::KdcReply { what }.into());
            }
            Key::from_password(*etype, password.expose(), &salt, s2kparams.as_deref())
                .map_err(|error| Peer::KdcReply { what: error.to_string() }.into())
        }
        LongTerm::Keys(keys) => {
            let of_etype = || keys.iter().filter(|(_, key)| key.etype() == *etype);
            let exact = of_etype().find(|(version, _)| Some(*version) == kvno);
            exact.or_else(|| of_etype().max_by_key(|(version, _)| *version)).map(|(_, key)| key.clone()).ok_or_else(
                || Policy::NoCredential { why: format!("the keytab has no {etype} key of {}", task.principal) }.into(),
            )
        }
        LongTerm::None => Err(Policy::NoCredential { why: "there is no password or keytab".to_owned() }.into()),
    }
}

/// The fewest iterations of string-to-key. The default of RFC 3962 is 4096, that of RFC 8009 32,768.
const MIN_ITERATIONS: u32 = 1000;
