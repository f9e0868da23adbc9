//! One whole conversation with a domain controller, leg by leg: endpoint mapper, secure channel, logons. What is recorded from a
//! real one and replayed without it.

use iwa_auth::netlogon::{Association, Binding, Member, Opening, Session, Turn, logon};
use iwa_auth::ntlm::crypto::NtHash;
use iwa_auth::ports::LogonInfo;
use iwa_auth::{Entropy, Env, Secret, UnixTime};
use iwa_wire::dcerpc::Syntax;
use iwa_wire::dcerpc::epm::{EPT_MAP, Tower};
use iwa_wire::netlogon::opnum;

use crate::corpus::hex;
use crate::netlogon::pdus;
use crate::recording::Recording;

/// Whoever carries bytes: on a new connection to this port, or on the last one (`None`), and brings back whole answers.
pub type Carrier<'a> = dyn FnMut(Option<u16>, &[u8]) -> Result<Vec<u8>, String> + 'a;

/// Who speaks, and who logs on.
#[derive(Debug)]
pub struct Exchange {
    /// The machine.
    pub member: Member,
    /// The NT hash of its password.
    pub machine: NtHash,
    /// Users and their passwords, in the member's domain.
    pub logons: Vec<(String, Secret<String>)>,
    /// The time.
    pub now: UnixTime,
}

impl Exchange {
    /// What the headers `member: DOMAIN COMPUTER`, `machine: NT-HASH`, `logon: USER PASSWORD` (several) and `now` say.
    ///
    /// # Errors
    /// Which header cannot be used.
    pub fn of(recording: &Recording) -> Result<Self, String> {
        let (domain, computer) = recording.header("member").and_then(|names| names.split_once(' ')).ok_or("member")?;
        let machine: [u8; 16] =
            recording.header("machine").and_then(hex).and_then(|hash| hash.try_into().ok()).ok_or("machine")?;
        let logon = |line: &str| {
            let (user, password) = line.split_once(' ')?;
            Some((user.to_owned(), Secret::new(password.to_owned())))
        };
        Ok(Self {
            member: Member { domain: domain.to_owned(), computer: computer.to_owned() },
            machine: machine.into(),
            logons: recording.headers("logon").map(logon).collect::<Option<_>>().ok_or("logon")?,
            now: recording.now().ok_or("now")?,
        })
    }

    /// Holds the conversation; returns in words how each logon ended.
    ///
    /// # Errors
    /// What stopped it.
    pub fn hold(&self, entropy: &mut dyn Entropy, carry: &mut Carrier<'_>) -> Result<String, String> {
        let mut env = Env { now: self.now, entropy };
        let mut mapper = bind(Some(135), Syntax::EPM, None, carry)?;
        let mut stub = Vec::new();
        Tower::write_request(Syntax::NETLOGON, &mut stub);
        let answer = call(&mut mapper, EPT_MAP, &stub, &mut env, carry)?;
        let (towers, _) = Tower::parse_response(&answer).map_err(in_words)?;
        let port = Some(towers.first().ok_or("Netlogon does not listen")?.port);

        let mut channel = bind(port, Syntax::NETLOGON, None, carry)?;
        stub.clear();
        let opening = Opening::begin(self.member.clone(), &mut env, &mut stub).map_err(in_words)?;
        let answer = call(&mut channel, opnum::SERVER_REQ_CHALLENGE, &stub, &mut env, carry)?;
        stub.clear();
        let challenged = opening.challenged(&answer, &self.machine, &mut stub).map_err(in_words)?;
        let answer = call(&mut channel, opnum::SERVER_AUTHENTICATE3, &stub, &mut env, carry)?;
        let session = challenged.authenticated(&answer).map_err(in_words)?;

        let mut sealed = bind(port, Syntax::NETLOGON, Some(&session), carry)?;
        let mut ends = Vec::new();
        for (user, password) in &self.logons {
            let made = logon::with_password(&self.member, &self.member.domain, user, password, &mut env);
            stub.clear();
            logon::request(&self.member, &made.map_err(|_| "no randomness")?, &mut stub);
            let answer = call(&mut sealed, opnum::LOGON_SAM_LOGON_EX, &stub, &mut env, carry)?;
            ends.push(match logon::answer(&answer, None) {
                Ok(LogonInfo { account, groups, .. }) => {
                    let sid = account.sid.map(|sid| sid.to_string()).unwrap_or_default();
                    let groups: Vec<_> = groups.iter().map(ToString::to_string).collect();
                    let upn = account.upn.unwrap_or_default();
                    format!("{}\\{} {upn} {sid} of {}", account.domain, account.name, groups.join(" "))
                }
                Err(problem) => problem.to_string(),
            });
        }
        Ok(ends.join("; "))
    }
}

fn bind(
    port: Option<u16>,
    interface: Syntax,
    session: Option<&Session>,
    carry: &mut Carrier<'_>,
) -> Result<Option<Association>, String> {
    let mut out = Vec::new();
    let binding = Binding::begin(interface, session, &mut out);
    binding.bound(&carry(port, &out)?).map(Some).map_err(in_words)
}

fn call(
    association: &mut Option<Association>,
    opnum: u16,
    stub: &[u8],
    env: &mut Env<'_>,
    carry: &mut Carrier<'_>,
) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let mut call =
        association.take().ok_or("the association is over")?.request(opnum, stub, env, &mut out).map_err(in_words)?;
    let answer = carry(None, &out)?;
    for fragment in pdus(&answer) {
        match call.take(fragment).map_err(in_words)? {
            Turn::More(more) => call = more,
            Turn::Done(after, stub) => {
                *association = Some(after);
                return Ok(stub.to_vec());
            }
        }
    }
    Err("the answer is not whole".to_owned())
}

fn in_words(error: impl std::fmt::Display) -> String {
    error.to_string()
}
