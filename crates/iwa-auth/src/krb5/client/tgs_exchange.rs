//! The Ticket-Granting Service exchange: a ticket for a ticket, through other realms where need be. RFC 4120 3.3, RFC 6806 8.

use iwa_wire::krb5::error::code;
use iwa_wire::krb5::kdc::{Exchange as Which, kdc_options};
use iwa_wire::krb5::padata::pa_type;
use iwa_wire::krb5::{
    ApReq, Authenticator, Checksum, EncKdcRepPart, EncryptedData, EncryptionKey, KdcRep, KdcReq, KdcReqBody,
    KerberosTime, KrbError, PaData, Principal, SequenceOf, Ticket, TicketFlags,
};

use super::super::etype::{Etype, Key};
use super::super::usage;
use super::on_behalf::{self, Behalf};
use super::{Credential, Exchange, NeedKdc, ServiceTicket, Step, Task, malformed, nonce, refused};
use crate::env::Env;
use crate::reject::{Peer, Policy, Reject};

/// A TGS-REQ that is on its way.
#[derive(Debug)]
pub(super) struct TgsExchange {
    tgt: Credential,
    pub(super) purpose: Purpose,
    /// What was asked for; its realm is the one that was asked.
    wanted: Principal,
    nonce: u32,
    subkey: Key,
    etypes: Vec<i32>,
    clock_followed: bool,
}

/// What the ticket is for.
#[derive(Debug)]
pub(super) enum Purpose {
    /// The service itself.
    Service,
    /// A TGT for the service's realm.
    CrossRealm,
    /// A TGT to be delegated; the service's ticket is here already.
    Forward {
        /// It.
        service: Box<Credential>,
    },
    /// Somebody else's ticket for ourselves or for the service.
    Behalf(Box<Behalf>),
}

impl TgsExchange {
    pub(super) fn begin(task: Task, tgt: Credential, purpose: Purpose, env: &mut Env<'_>) -> Result<Step, Reject> {
        let realm = tgt.server.components.get(1).cloned().unwrap_or_default();
        let wanted = match purpose {
            Purpose::Service | Purpose::Behalf(_) => Principal { realm, ..task.service.clone() },
            Purpose::CrossRealm => Principal::krbtgt(&task.service.realm, &realm),
            Purpose::Forward { .. } => tgt.server.clone(),
        };
        let subkey = Key::random(tgt.key.etype(), env.entropy)?;
        let etypes = task.policy().etypes.iter().copied().map(Etype::number).collect();
        Self { tgt, purpose, wanted, nonce: 0, subkey, etypes, clock_followed: false }.ask(task, env)
    }

    pub(super) fn realm(&self) -> &str {
        &self.wanted.realm
    }

    fn ask(mut self, mut task: Task, env: &mut Env<'_>) -> Result<Step, Reject> {
        task.asks()?;
        self.nonce = nonce(env)?;
        let now = task.now(env);
        let mut options = kdc_options::CANONICALIZE;
        if self.tgt.flags.contains(TicketFlags::FORWARDABLE) {
            options |= kdc_options::FORWARDABLE;
        }
        let (mut for_other, mut evidence) = (None, None);
        let mut value = Vec::new();
        match &self.purpose {
            Purpose::Behalf(behalf) => match &**behalf {
                Behalf::User(user) => {
                    on_behalf::pa_for_user(user, &self.tgt.key, &mut value);
                    for_other = Some(pa_type::FOR_USER);
                }
                Behalf::Evidence(known) => {
                    options |= kdc_options::CNAME_IN_ADDL_TKT;
                    evidence = Some([Ticket::parse(known.ticket())?]);
                    on_behalf::pac_options(&mut value);
                    for_other = Some(pa_type::PAC_OPTIONS);
                }
            },
            Purpose::Forward { .. } => options |= kdc_options::FORWARDED,
            Purpose::Service | Purpose::CrossRealm => {}
        }
        let body = KdcReqBody {
            kdc_options: options,
            cname: None,
            realm: self.wanted.realm(),
            sname: Some(self.wanted.name()),
            from: None,
            till: self.tgt.endtime,
            rtime: None,
            nonce: self.nonce,
            etypes: SequenceOf::of(&self.etypes),
            addresses: None,
            enc_authorization_data: None,
            additional_tickets: evidence.as_ref().map(|tickets| SequenceOf::of(tickets)),
            raw: &[],
        };
        let mut encoded_body = Vec::with_capacity(256);
        body.write(&mut encoded_body);
        let key = self.tgt.key.protocol();
        let checksum = key.checksum(usage::TGS_REQ_CHECKSUM).compute(&[&encoded_body]);
        let authenticator = Authenticator {
            crealm: self.tgt.client.realm(),
            cname: self.tgt.client.name(),
            cksum: Some(Checksum { cksumtype: key.etype().checksum_type(), checksum: &checksum }),
            cusec: now.subsec_micros(),
            ctime: KerberosTime(now.secs()),
            subkey: Some(EncryptionKey { etype: self.subkey.etype().number(), value: self.subkey.expose() }),
            seq_number: None,
            authorization_data: None,
        };
        let mut plain = zeroize::Zeroizing::new(Vec::with_capacity(256));
        authenticator.write(&mut plain);
        let mut cipher = Vec::with_capacity(320);
        key.specific(usage::TGS_REQ_AUTHENTICATOR).encrypt(&plain, env.entropy, &mut cipher)?;
        let ap_req = ApReq {
            ap_options: 0,
            ticket: Ticket::parse(&self.tgt.ticket)?,
            authenticator: EncryptedData { etype: key.etype().number(), kvno: None, cipher: &cipher },
        };
        let mut encoded = Vec::with_capacity(self.tgt.ticket.len() + 512);
        ap_req.write(&mut encoded);
        let mut padata = vec![PaData { padata_type: pa_type::TGS_REQ, padata_value: &encoded }];
        padata.extend(for_other.map(|padata_type| PaData { padata_type, padata_value: &value }));
        let mut request = Vec::with_capacity(encoded.len() + encoded_body.len() + 64);
        KdcReq {
            exchange: Which::Tgs,
            padata: Some(SequenceOf::of(&padata)),
            req_body: KdcReqBody { raw: &encoded_body, ..body },
        }
        .write(&mut request);
        Ok(Step::NeedKdc(NeedKdc { task, exchange: Exchange::Tgs(Box::new(self)), request }))
    }

    pub(super) fn answer(self, task: Task, reply: &[u8], env: &mut Env<'_>) -> Result<Step, Reject> {
        match reply.first() {
            Some(0x6d) => self.reply(task, &KdcRep::parse(reply)?, env),
            Some(0x7e) => self.error(task, &KrbError::parse(reply)?, env),
            _ => Err(malformed("TGS-REP")),
        }
    }

    fn error(mut self, mut task: Task, error: &KrbError<'_>, env: &mut Env<'_>) -> Result<Step, Reject> {
        if error.error_code == code::KRB_AP_ERR_SKEW && !self.clock_followed && task.follow_clock(error, env) {
            self.clock_followed = true;
            return self.ask(task, env);
        }
        match self.purpose {
            // The service does without.
            Purpose::Forward { service } => Ok(task.done(*service, None)),
            Purpose::Service
                if error.error_code == code::KDC_ERR_S_PRINCIPAL_UNKNOWN && task.has_fallback(&self.wanted) =>
            {
                task.unknown = Some(refused(&self.wanted.realm, error));
                task.service.realm.clone_from(&task.client.inner.policy.fallback_realm);
                Self::begin(task, self.tgt, Purpose::CrossRealm, env)
            }
            // That no realm of a guessed name is known either is no news.
            _ => Err(task.unknown.take().unwrap_or_else(|| refused(&self.wanted.realm, error))),
        }
    }

    fn reply(self, mut task: Task, rep: &KdcRep<'_>, env: &mut Env<'_>) -> Result<Step, Reject> {
        let wrong = |what: String| Err(Peer::KdcReply { what }.into());
        let mut scratch = Vec::new();
        let data = &rep.enc_part;
        let under = |key: &Key, usage, scratch: &mut Vec<u8>| {
            key.etype().number() == data.etype && key.decrypt(usage, data.cipher, scratch).map(<[u8]>::len).is_ok()
        };
        // Under our subkey; old KDCs use the session key all the same.
        let (key, usage) = if under(&self.subkey, usage::TGS_REP_SUBKEY, &mut scratch) {
            (&self.subkey, usage::TGS_REP_SUBKEY)
        } else {
            (&self.tgt.key, usage::TGS_REP_SESSION)
        };
        if key.etype().number() != data.etype {
            return wrong(format!("it is encrypted with etype {}, not with that of our key", data.etype));
        }
        let Ok(plain) = key.decrypt(usage, data.cipher, &mut scratch) else {
            return wrong("it does not decrypt under our key: the answer is not the KDC's".to_owned());
        };
        let enc = EncKdcRepPart::parse(plain)?;
        if enc.nonce != self.nonce {
            return wrong("its nonce is not ours: an old answer".to_owned());
        }
        let client = match &self.purpose {
            Purpose::Behalf(behalf) => {
                if !rep.crealm.as_str().is_some_and(|realm| behalf.is(realm, &rep.cname)) {
                    return wrong(format!("its ticket is of {}@{}, not of {}", rep.cname, rep.crealm, behalf.client()));
                }
                rep.cname.to_principal(rep.crealm)?
            }
            _ if rep.crealm != self.tgt.client.realm() || rep.cname != self.tgt.client.name() => {
                return wrong(format!("its ticket is of {}, not of {}", rep.cname, self.tgt.client));
            }
            _ => self.tgt.client.clone(),
        };
        if enc.srealm != self.wanted.realm() {
            return wrong(format!("it is of the realm {}, not of {}", enc.srealm, self.wanted.realm));
        }
        let credential = Credential::of(client, rep, &enc, &self.etypes, task.offset)?;
        let is_wanted = credential.server == self.wanted;
        match self.purpose {
            Purpose::Forward { service } => {
                // A KDC that forgets the flag has given an ordinary ticket, and that is not to be handed out.
                let forwarded = is_wanted && credential.flags.contains(TicketFlags::FORWARDED);
                Ok(task.done(*service, forwarded.then_some(credential)))
            }
            Purpose::Behalf(behalf) if is_wanted => {
                let evidence = match &*behalf {
                    Behalf::User(user) => Some(on_behalf::open(&task.client.inner.long_term, user, &credential)?),
                    Behalf::Evidence(_) => None,
                };
                Ok(Step::Ticket(ServiceTicket { service: credential, forwarded: None, evidence, new: task.new }))
            }
            Purpose::Behalf(_) if credential.server.is_krbtgt() => {
                let why = format!(
                    "{} is in another realm ({}): delegation is done within one",
                    self.wanted,
                    credential.server.components.get(1).map_or("", String::as_str)
                );
                Err(Policy::Delegation { why }.into())
            }
            Purpose::Service if is_wanted => {
                task.new.push(credential.clone());
                task.have_service(credential, env)
            }
            // A referral: the TGT of a realm that knows more.
            Purpose::Service | Purpose::CrossRealm if credential.server.is_krbtgt() => {
                let next = credential.server.components.get(1).cloned().unwrap_or_default();
                if matches!(self.purpose, Purpose::Service) {
                    task.service.realm = next;
                }
                task.new.push(credential.clone());
                task.have_tgt(credential, env)
            }
            _ => wrong(format!("its ticket is for {}, not for {}", credential.server, self.wanted)),
        }
    }
}
