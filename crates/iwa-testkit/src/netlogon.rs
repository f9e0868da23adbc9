//! A domain controller in memory, as far as Netlogon goes: endpoint mapper and secure channel, and the bad weather that real
//! ones do not make on demand. MS-NRPC 3.5.

use std::collections::HashMap;

use iwa_auth::netlogon::crypto::{self, SessionKey};
use iwa_auth::netlogon::sealing::{End, Sealing};
use iwa_auth::ntlm::crypto::{NtHash, nt_hash, verify_ntlmv2};
use iwa_auth::{Env, NtStatus, Secret, UnixTime};
use iwa_wire::Sid;
use iwa_wire::dcerpc::epm::{EPT_MAP, Tower};
use iwa_wire::dcerpc::pdu::ContextResult;
use iwa_wire::dcerpc::{Body, Pdu, PduFlags, Syntax, Verifier};
use iwa_wire::netlogon::logon::NewSamInfo4;
use iwa_wire::netlogon::{
    Authenticate3, Authenticated, Authenticator, LogonSamLogonEx, NegotiateFlags, NlAuthMessage, PasswordSet2,
    ReqChallenge, SamLogon, opnum,
};
use iwa_wire::pac::logon_info::NewLogonInfo;

use crate::pair::{NOW, Seeded};

/// A domain controller.
#[derive(Debug)]
pub struct Dc {
    /// Its NetBIOS name.
    pub name: String,
    /// The NetBIOS domain.
    pub domain: String,
    /// The DNS domain.
    pub dns_domain: String,
    /// The domain's SID.
    pub sid: Sid,
    /// Machines by NetBIOS name, with the NT hash of the password.
    pub machines: HashMap<String, NtHash>,
    /// Users.
    pub users: Vec<User>,
    /// The port that the endpoint mapper tells.
    pub port: u16,
    /// What is wrong with it.
    pub weather: Weather,
    /// How many calls of which operation it answered.
    pub calls: HashMap<u16, usize>,
    /// Bytes of stub in a fragment of its answers.
    pub fragment: usize,
    challenges: HashMap<String, ([u8; 8], [u8; 8])>,
    sessions: HashMap<String, Known>,
    entropy: Seeded,
}

/// A user.
#[derive(Clone, Debug)]
pub struct User {
    /// `sAMAccountName`.
    pub name: String,
    /// The NT hash of the password.
    pub hash: NtHash,
    /// The RID.
    pub rid: u32,
    /// Groups of the domain.
    pub groups: Vec<u32>,
    /// What is said after a right password; 0 if nothing is wrong with the account.
    pub status: NtStatus,
}

/// What a domain controller may be like.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Weather {
    /// As it should be.
    #[default]
    Fair,
    /// Netlogon without AES.
    NoAes,
    /// It says that we do not offer AES, which is a lie.
    Downgrade,
    /// A challenge of zeros.
    WeakChallenge,
    /// It does not know the machine's password, and says that all is well.
    WrongCredential,
    /// It is out of order when a channel is opened.
    Status(NtStatus),
    /// A bit of every sealed answer is changed.
    Tampered,
    /// Every sealed answer is the first one again.
    Repeated,
    /// Every sealed call ends in this fault.
    Fault(u32),
    /// Every logon is answered so, whoever it is.
    Logon(NtStatus),
    /// Fragments longer than anybody agreed to.
    Oversized,
    /// An answer that does not end.
    Endless,
    /// Every user is a guest.
    Guest,
    /// The session key of every logon is empty.
    EmptyKey,
    /// It takes logons and never answers.
    Silent,
    /// It closes the connection in the middle of a logon.
    Dies,
}

/// A session key, and the server's side of the chain of authenticators.
#[derive(Clone, Debug)]
struct Known {
    key: SessionKey,
    stored: [u8; 8],
}

/// What the other end gets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// These bytes; none while a request is not whole.
    Bytes(Vec<u8>),
    /// Nothing, for ever.
    Silence,
    /// The end of the connection.
    Close,
}

/// One connection to it.
#[derive(Debug, Default)]
pub struct Connection {
    sealing: Option<Sealing>,
    member: String,
    stub: Vec<u8>,
    first: Option<Vec<u8>>,
}

impl Dc {
    /// The domain controller of `EXAMPLE` (`example.test`), which knows the machine `WEB` by `machine_password` and alice by
    /// `Password`.
    #[must_use]
    pub fn new(machine_password: &str) -> Self {
        let user = |name: &str, rid, status| User {
            name: name.to_owned(),
            hash: nt_hash("Password"),
            rid,
            groups: vec![513, 1112, 1113],
            status,
        };
        Self {
            name: "DC1".to_owned(),
            domain: "EXAMPLE".to_owned(),
            dns_domain: "example.test".to_owned(),
            sid: "S-1-5-21-11-12-13".parse().expect("a SID"),
            machines: HashMap::from([("WEB".to_owned(), nt_hash(machine_password))]),
            users: vec![
                user("alice", 1105, NtStatus(0)),
                user("jörg", 1106, NtStatus(0)),
                user("carol", 1107, NtStatus::ACCOUNT_DISABLED),
                user("erin", 1108, NtStatus::PASSWORD_MUST_CHANGE),
                user("dave", 1109, NtStatus::ACCOUNT_RESTRICTION),
                user("frank", 1110, NtStatus::NTLM_BLOCKED),
            ],
            port: 0,
            weather: Weather::Fair,
            calls: HashMap::new(),
            fragment: 1024,
            challenges: HashMap::new(),
            sessions: HashMap::new(),
            entropy: Seeded(41),
        }
    }

    /// Forgets all sessions, as after a restart.
    pub fn forget(&mut self) {
        self.sessions.clear();
    }

    /// How many logons it answered.
    #[must_use]
    pub fn logons(&self) -> usize {
        self.calls.get(&opnum::LOGON_SAM_LOGON_EX).copied().unwrap_or_default()
    }

    fn call(&mut self, member: &str, opnum: u16, stub: &[u8]) -> Option<Vec<u8>> {
        *self.calls.entry(opnum).or_default() += 1;
        let mut out = Vec::new();
        match opnum {
            opnum::SERVER_REQ_CHALLENGE => self.req_challenge(&ReqChallenge::parse(stub).ok()?, &mut out),
            opnum::SERVER_AUTHENTICATE3 => self.authenticate3(&Authenticate3::parse(stub).ok()?, &mut out),
            opnum::SERVER_PASSWORD_SET2 if !member.is_empty() => {
                self.password_set2(&PasswordSet2::parse(stub).ok()?, &mut out);
            }
            opnum::LOGON_SAM_LOGON_EX if !member.is_empty() => {
                self.logon(&LogonSamLogonEx::parse(stub).ok()?, &mut out);
            }
            EPT_MAP => {
                let interface = Tower::parse_request(stub).ok()??;
                let tower = Tower { interface, port: self.port, address: [127, 0, 0, 1].into() };
                Tower::write_response(&[tower], 0, &mut out);
            }
            _ => return None,
        }
        Some(out)
    }

    fn req_challenge(&mut self, call: &ReqChallenge<'_>, out: &mut Vec<u8>) {
        let mut server = [0; 8];
        if self.weather != Weather::WeakChallenge {
            let mut env = Env { now: NOW, entropy: &mut self.entropy };
            server = env.random().expect("seeded");
        }
        self.challenges.insert(call.computer.to_string(), (call.client_challenge, server));
        ReqChallenge::write_response(&server, 0, out);
    }

    fn authenticate3(&mut self, call: &Authenticate3<'_>, out: &mut Vec<u8>) {
        let mut answer = Authenticated { server_credential: [0; 8], flags: call.flags, account_rid: 1120, status: 0 };
        let outcome = self.authenticate(call, &mut answer);
        if let Err(status) = outcome {
            answer = Authenticated { server_credential: [0; 8], account_rid: 0, status: status.0, ..answer };
        }
        answer.write(out);
    }

    fn authenticate(&mut self, call: &Authenticate3<'_>, answer: &mut Authenticated) -> Result<(), NtStatus> {
        let denied = NtStatus::ACCESS_DENIED;
        let (client, server) = self.challenges.remove(&*call.computer).ok_or(denied)?;
        match self.weather {
            Weather::NoAes => answer.flags.0 &= !NegotiateFlags::AES.0,
            Weather::Downgrade => {
                answer.flags.0 &= !NegotiateFlags::AES.0;
                return Err(NtStatus::DOWNGRADE_DETECTED);
            }
            Weather::Status(status) => return Err(status),
            _ => {}
        }
        let machine = self.machines.get(&*call.computer).ok_or(NtStatus::NO_TRUST_SAM_ACCOUNT)?;
        let key = if self.weather == Weather::WrongCredential {
            Secret::new([7; 16])
        } else {
            let key = crypto::session_key(machine, &client, &server);
            if crypto::credential(&key, &client) != call.client_credential || crypto::is_weak(&client) {
                return Err(denied);
            }
            key
        };
        answer.server_credential = crypto::credential(&key, &server);
        let stored = crypto::credential(&key, &client);
        self.sessions.insert(call.computer.to_string(), Known { key, stored });
        Ok(())
    }

    fn password_set2(&mut self, call: &PasswordSet2<'_>, out: &mut Vec<u8>) {
        let nothing = Authenticator { credential: [0; 8], timestamp: 0 };
        let Some(known) = self.sessions.get_mut(&*call.computer) else {
            return PasswordSet2::write_response(&nothing, NtStatus::ACCESS_DENIED.0, out);
        };
        let step = |stored: &mut [u8; 8], by: u32| {
            let low = u32::from_le_bytes(*stored.first_chunk().expect("eight bytes")).wrapping_add(by);
            stored[..4].copy_from_slice(&low.to_le_bytes());
        };
        let mut stored = known.stored;
        step(&mut stored, call.authenticator.timestamp);
        if crypto::credential(&known.key, &stored) != call.authenticator.credential {
            return PasswordSet2::write_response(&nothing, NtStatus::ACCESS_DENIED.0, out);
        }
        step(&mut stored, 1);
        known.stored = stored;
        let returned = Authenticator { credential: crypto::credential(&known.key, &stored), timestamp: 0 };
        let mut clear = call.password;
        crypto::decrypt_password(&known.key, &mut clear);
        let length = u32::from_le_bytes(*clear.last_chunk().expect("516 bytes")) as usize;
        let units: Vec<u16> =
            clear[512 - length..512].chunks(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        let password = String::from_utf16(&units).expect("the member writes text");
        self.machines.insert(call.computer.to_string(), nt_hash(&password));
        PasswordSet2::write_response(&returned, 0, out);
    }

    fn logon(&mut self, call: &LogonSamLogonEx<'_>, out: &mut Vec<u8>) {
        let refused = |status: NtStatus, out: &mut Vec<u8>| SamLogon::write_refusal(status.0, out);
        if let Weather::Logon(status) = self.weather {
            return refused(status, out);
        }
        let Some(user) = self.users.iter().find(|user| user.name.eq_ignore_ascii_case(&call.user)) else {
            return refused(NtStatus::NO_SUCH_USER, out);
        };
        let verified = verify_ntlmv2(&user.hash, &call.user, &call.domain, &call.challenge, &call.nt_response);
        let Some(key) = verified else { return refused(NtStatus::WRONG_PASSWORD, out) };
        if user.status != NtStatus(0) {
            return refused(user.status, out);
        }
        let asserted: Sid = "S-1-18-1".parse().expect("a SID");
        let info = NewLogonInfo {
            effective_name: &user.name,
            full_name: "",
            logon_server: &self.name,
            logon_domain_name: &self.domain,
            logon_domain_id: self.sid,
            user_id: user.rid,
            primary_group_id: 513,
            group_ids: &user.groups,
            extra_sids: &[asserted],
            user_account_control: 0x10,
            logon_time: NOW.filetime(),
            password_last_set: NOW.filetime(),
        };
        let upn = format!("{}@{}", user.name, self.dns_domain);
        NewSamInfo4 {
            info,
            user_flags: u32::from(self.weather == Weather::Guest),
            user_session_key: if self.weather == Weather::EmptyKey { &[0; 16] } else { key.expose() },
            dns_logon_domain_name: &self.dns_domain,
            upn: &upn,
        }
        .write(out);
    }
}

impl Connection {
    /// Takes one PDU, and answers it once the request is whole.
    ///
    /// # Panics
    /// If the member writes what is no PDU: this is a test.
    pub fn take(&mut self, dc: &mut Dc, pdu: &[u8]) -> Reply {
        let pdu = Pdu::parse(pdu).expect("the member writes PDUs");
        let (call_id, flags) = (pdu.call_id, PduFlags::WHOLE);
        match pdu.body {
            Body::Bind { .. } => {
                let reply = |body, verifier| {
                    let mut out = Vec::new();
                    Pdu { flags, call_id, body, verifier }.write(&mut out);
                    Reply::Bytes(out)
                };
                let mut token = Vec::new();
                let verifier = match pdu.verifier {
                    Some(verifier) => {
                        let Ok(NlAuthMessage::Negotiate { computer, .. }) = NlAuthMessage::parse(verifier.value) else {
                            return Reply::Close;
                        };
                        // As Samba: who has no session cannot bind under it.
                        let Some(known) = dc.sessions.get(computer) else {
                            return reply(Body::BindNak { reason: 8 }, None);
                        };
                        self.sealing = Some(Sealing::new(&known.key, End::Server));
                        computer.clone_into(&mut self.member);
                        NlAuthMessage::Response.write(&mut token);
                        Some(Verifier { value: &token, pad_length: 0, ..verifier })
                    }
                    None => None,
                };
                let results = vec![ContextResult { result: 0, reason: 0, transfer: Syntax::NDR }];
                let body = Body::BindAck {
                    alter: false,
                    max_xmit_frag: 5840,
                    max_recv_frag: 5840,
                    assoc_group: 9,
                    secondary_address: b"49153\0",
                    results,
                };
                reply(body, verifier)
            }
            Body::Request { opnum, stub, .. } => {
                let mut data = stub.to_vec();
                if let Some(sealing) = &mut self.sealing {
                    let verifier = pdu.verifier.expect("a sealed connection");
                    if sealing.unseal(&mut data, verifier.value).is_err() {
                        return Reply::Close;
                    }
                    data.truncate(data.len() - usize::from(verifier.pad_length));
                }
                self.stub.extend_from_slice(&data);
                if !pdu.flags.has(PduFlags::LAST) {
                    return Reply::Bytes(Vec::new());
                }
                let stub = std::mem::take(&mut self.stub);
                self.answer(dc, call_id, opnum, &stub)
            }
            _ => Reply::Close,
        }
    }

    fn answer(&mut self, dc: &mut Dc, call_id: u32, opnum: u16, stub: &[u8]) -> Reply {
        let sealed = self.sealing.is_some();
        let fault = |status| {
            let mut out = Vec::new();
            let body = Body::Fault { context_id: 0, status };
            Pdu { flags: PduFlags::WHOLE, call_id, body, verifier: None }.write(&mut out);
            Reply::Bytes(out)
        };
        match dc.weather {
            Weather::Fault(status) if sealed => return fault(status),
            Weather::Silent if sealed => return Reply::Silence,
            Weather::Dies if sealed => {
                *dc.calls.entry(opnum).or_default() += 1;
                return Reply::Close;
            }
            _ => {}
        }
        // `nca_s_op_rng_error`, or a stub that is none.
        let Some(answer) = dc.call(&self.member, opnum, stub) else { return fault(0x1c01_0002) };
        let answer = match dc.weather {
            Weather::Endless if sealed => [&answer[..], &vec![0; 2 << 20]].concat(),
            _ => answer,
        };
        let size = if dc.weather == Weather::Oversized && sealed { 20_000 } else { dc.fragment };
        let answer = if size == 20_000 { [&answer[..], &[0; 20_000]].concat() } else { answer };
        let mut out = self.fragments(call_id, &answer, size, &mut dc.entropy);
        match (dc.weather, &self.first) {
            (Weather::Tampered, _) if sealed => {
                if let Some(byte) = out.get_mut(30) {
                    *byte ^= 1;
                }
            }
            (Weather::Repeated, Some(first)) if sealed => out.clone_from(first),
            (Weather::Repeated, None) if sealed => self.first = Some(out.clone()),
            _ => {}
        }
        Reply::Bytes(out)
    }

    fn fragments(&mut self, call_id: u32, stub: &[u8], size: usize, entropy: &mut Seeded) -> Vec<u8> {
        let mut out = Vec::new();
        let count = stub.len().div_ceil(size).max(1);
        for (number, part) in stub.chunks(size).enumerate() {
            let first = if number == 0 { PduFlags::FIRST.0 } else { 0 };
            let last = if number + 1 == count { PduFlags::LAST.0 } else { 0 };
            let pad = part.len().next_multiple_of(16) - part.len();
            let mut data = [part, &vec![0; pad]].concat();
            let token = self.sealing.as_mut().map(|sealing| {
                let mut env = Env { now: UnixTime::default(), entropy };
                sealing.seal(&mut data, &mut env).expect("seeded")
            });
            let stub = if token.is_some() { &data[..] } else { part };
            let verifier = token.as_ref().map(|token| Verifier {
                auth_type: Verifier::NETLOGON,
                level: Verifier::PRIVACY,
                pad_length: pad as u8,
                context_id: 1,
                value: token,
            });
            let body = Body::Response { alloc_hint: stub.len() as u32, context_id: 0, stub };
            Pdu { flags: PduFlags(first | last), call_id, body, verifier }.write(&mut out);
        }
        out
    }
}

/// Cuts a stream of bytes into PDUs.
#[must_use]
pub fn pdus(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while let Some(length) = bytes.get(8..10) {
        let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
        let Some((pdu, rest)) = bytes.split_at_checked(length).filter(|_| length > 0) else { break };
        found.push(pdu);
        bytes = rest;
    }
    found
}
