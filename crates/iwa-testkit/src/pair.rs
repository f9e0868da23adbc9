//! Both ends of a handshake in memory, and a wire between them that does to tokens what networks and attackers do.

use std::collections::HashMap;

use iwa_auth::initiate::{Initiate, Initiator};
use iwa_auth::ports::{LogonError, LogonInfo, NetworkLogon, ReplayKey, ReplayVerdict};
use iwa_auth::reject::Peer;
use iwa_auth::{
    Accept, Acceptor, ChannelBindings, Entropy, Env, Handshake, NtStatus, Reject, Scheme, UnixTime, accept, initiate,
};

/// The moment at which the ends live unless a test says otherwise: 2026-01-15T12:00:00Z.
pub const NOW: UnixTime = UnixTime::from_secs(1_768_478_400);

/// Randomness that is the same in every run (splitmix64), and never fit for anything but tests.
#[derive(Clone, Debug)]
pub struct Seeded(pub u64);

impl Entropy for Seeded {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), iwa_auth::env::EntropyError> {
        for chunk in out.chunks_mut(8) {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

/// A source that has nothing to give.
#[derive(Clone, Copy, Debug)]
pub struct Exhausted;

impl Entropy for Exhausted {
    fn fill(&mut self, _: &mut [u8]) -> Result<(), iwa_auth::env::EntropyError> {
        Err(iwa_auth::env::EntropyError)
    }
}

/// Whoever knows the passwords.
pub type Logon = Box<dyn FnMut(&NetworkLogon) -> Result<LogonInfo, LogonError>>;

/// The server's end: an acceptor, one connection, and the ports answered from memory.
pub struct Server {
    /// What it accepts.
    pub acceptor: Acceptor,
    /// The scheme under which tokens come.
    pub scheme: Scheme,
    /// Its end of the channel.
    pub bindings: ChannelBindings,
    /// Its clock.
    pub now: UnixTime,
    /// Its randomness.
    pub entropy: Box<dyn Entropy>,
    /// The authenticators it has seen, and until when it remembers them.
    pub seen: HashMap<ReplayKey, UnixTime>,
    /// What the replay cache says, if it is not to be asked.
    pub verdict: Option<ReplayVerdict>,
    /// The accounts.
    pub logon: Logon,
    handshake: Option<Handshake>,
}

/// What the server answers to one token.
#[derive(Debug)]
pub struct Answer {
    /// What goes to the client; empty if nothing does.
    pub token: Vec<u8>,
    /// How it ended, if it did.
    pub end: Option<Result<accept::Established, Reject>>,
}

impl Answer {
    /// The code of the reason, if the answer is a refusal.
    #[must_use]
    pub fn refused(&self) -> Option<&'static str> {
        self.end.as_ref()?.as_ref().err().map(|reject| reject.reason.code())
    }

    /// The end in a few words that stay the same: `EXAMPLE\alice by Kerberos`, `refused: krb5.replay`, `goes on`.
    #[must_use]
    pub fn in_words(&self) -> String {
        match &self.end {
            None => "goes on".to_owned(),
            Some(Ok(established)) => format!("{} by {}", established.identity, established.identity.mechanism()),
            Some(Err(reject)) => format!("refused: {}", reject.reason.code()),
        }
    }

    /// The client, if it is in.
    #[must_use]
    pub fn established(&self) -> Option<&accept::Established> {
        self.end.as_ref()?.as_ref().ok()
    }
}

impl Server {
    /// An end at [`NOW`] on a plain connection, under Negotiate, that knows nobody.
    #[must_use]
    pub fn new(acceptor: Acceptor) -> Self {
        Self {
            acceptor,
            scheme: Scheme::Negotiate,
            bindings: ChannelBindings::none(),
            now: NOW,
            entropy: Box::new(Seeded(1)),
            seen: HashMap::new(),
            verdict: None,
            logon: Box::new(|_| Err(LogonError::Refused(NtStatus::NO_SUCH_USER))),
            handshake: None,
        }
    }

    /// A new connection: a handshake that was open is gone with the old one.
    pub fn reconnect(&mut self) {
        self.handshake = None;
    }

    /// Whether a handshake is open.
    #[must_use]
    pub const fn is_waiting(&self) -> bool {
        self.handshake.is_some()
    }

    /// Takes a token of the client, and answers what the acceptor asks on the way.
    pub fn take(&mut self, token: &[u8]) -> Answer {
        let mut out = Vec::new();
        let handshake = self.handshake.take().unwrap_or_else(|| self.acceptor.accept(self.scheme, &self.bindings));
        let end = self.drive(handshake, token, &mut out).transpose();
        Answer { token: out, end }
    }

    fn drive(
        &mut self,
        handshake: Handshake,
        token: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<accept::Established>, Reject> {
        let mut env = Env { now: self.now, entropy: &mut *self.entropy };
        let mut accept = handshake.step(token, &mut env, out)?;
        loop {
            accept = match accept {
                Accept::Continue(handshake) => {
                    self.handshake = Some(handshake);
                    return Ok(None);
                }
                Accept::Established(established) => return Ok(Some(established)),
                Accept::NeedReplayCheck(need) => {
                    let verdict = self.verdict.unwrap_or_else(|| match self.seen.insert(need.key(), need.expires()) {
                        None => ReplayVerdict::Fresh,
                        Some(_) => ReplayVerdict::Seen,
                    });
                    need.answer(verdict, &mut env, out)?
                }
                Accept::NeedLogon(need) => {
                    let answer = (self.logon)(need.request());
                    need.answer(answer, &mut env, out)?
                }
            };
        }
    }
}

/// Whoever answers for the KDCs: realm and request in, reply or why there is none out.
pub type Kdc = Box<dyn FnMut(&str, &[u8]) -> Result<Vec<u8>, String>>;

/// The client's end.
pub struct Client {
    /// What it speaks with.
    pub initiator: Initiator,
    /// The scheme it answers.
    pub scheme: Scheme,
    /// Its clock.
    pub now: UnixTime,
    /// Its randomness.
    pub entropy: Box<dyn Entropy>,
    /// Its KDC.
    pub kdc: Kdc,
    handshake: Option<initiate::Handshake>,
}

/// What the client does next.
#[derive(Debug)]
pub struct Turn {
    /// What goes to the server; empty if nothing does.
    pub token: Vec<u8>,
    /// How it ended, if it did.
    pub end: Option<Result<initiate::Established, Reject>>,
}

impl Turn {
    /// The end in a few words that stay the same: `by Kerberos, mutual`, `by NTLM`, `refused: peer.not-mutual`, `goes on`.
    #[must_use]
    pub fn in_words(&self) -> String {
        match &self.end {
            None => "goes on".to_owned(),
            Some(Ok(end)) if end.mutual => format!("by {}, mutual", end.mechanism),
            Some(Ok(end)) => format!("by {}", end.mechanism),
            Some(Err(reject)) => format!("refused: {}", reject.reason.code()),
        }
    }
}

impl Client {
    /// An end at [`NOW`], under Negotiate, without a KDC.
    #[must_use]
    pub fn new(initiator: Initiator) -> Self {
        Self {
            initiator,
            scheme: Scheme::Negotiate,
            now: NOW,
            entropy: Box::new(Seeded(2)),
            kdc: Box::new(|realm, _| Err(format!("there is no KDC for {realm}"))),
            handshake: None,
        }
    }

    /// Begins a handshake.
    pub fn begin(&mut self) -> Turn {
        self.turn(|client, env, out| client.initiator.initiate(client.scheme, env, out))
    }

    /// Takes the server's token.
    ///
    /// # Panics
    /// If no handshake is open.
    pub fn take(&mut self, token: &[u8]) -> Turn {
        let handshake = self.handshake.take().expect("a handshake is open");
        self.turn(|_, env, out| handshake.step(token, env, out))
    }

    /// Takes success without a token.
    ///
    /// # Panics
    /// If no handshake is open.
    pub fn take_silence(&mut self) -> Turn {
        let handshake = self.handshake.take().expect("a handshake is open");
        Turn { token: Vec::new(), end: Some(handshake.step_in_silence()) }
    }

    fn turn(&mut self, first: impl FnOnce(&Self, &mut Env<'_>, &mut Vec<u8>) -> Result<Initiate, Reject>) -> Turn {
        let mut token = Vec::new();
        let mut entropy = core::mem::replace(&mut self.entropy, Box::new(Exhausted));
        let mut env = Env { now: self.now, entropy: &mut *entropy };
        let mut step = first(self, &mut env, &mut token);
        let end = loop {
            step = match step {
                Ok(Initiate::NeedKdc(need)) => {
                    let reply = (self.kdc)(need.realm(), need.request());
                    need.answer(reply.as_deref().map_err(Clone::clone), &mut env, &mut token)
                }
                Ok(Initiate::Continue(handshake)) => {
                    self.handshake = Some(handshake);
                    break None;
                }
                Ok(Initiate::Established(established)) => break Some(Ok(established)),
                Err(reject) => break Some(Err(reject)),
            };
        };
        self.entropy = entropy;
        Turn { token, end }
    }
}

/// Both ends and the wire.
pub struct Pair {
    /// The client's end.
    pub client: Client,
    /// The server's end.
    pub server: Server,
}

/// Which way a token goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// From the client.
    ToServer,
    /// From the server.
    ToClient,
}

/// What the wire does to a token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Delivers it.
    Deliver,
    /// Loses it, and the connection with it.
    Lose,
    /// Delivers it twice; the second answer does not come back.
    Twice,
    /// Delivers these bytes in its place.
    Replace(Vec<u8>),
}

/// What became of a handshake.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What the ends sent, in order.
    pub legs: Vec<(Way, Vec<u8>)>,
    /// How it ended for the server, if it did.
    pub server: Option<Result<accept::Established, Reject>>,
    /// How it ended for the client, if it did.
    pub client: Option<Result<initiate::Established, Reject>>,
    /// What the server answered to tokens that came a second time.
    pub repeated: Vec<Answer>,
}

impl Outcome {
    /// The code with which the server refused.
    #[must_use]
    pub fn server_refused(&self) -> Option<&'static str> {
        self.server.as_ref()?.as_ref().err().map(|reject| reject.reason.code())
    }

    /// The code with which the client refused.
    #[must_use]
    pub fn client_refused(&self) -> Option<&'static str> {
        self.client.as_ref()?.as_ref().err().map(|reject| reject.reason.code())
    }

    /// Both ends' success.
    ///
    /// # Panics
    /// If one of them did not succeed.
    #[must_use]
    pub fn unwrap(self) -> (accept::Established, initiate::Established) {
        match (self.server, self.client) {
            (Some(Ok(server)), Some(Ok(client))) => (server, client),
            (server, client) => panic!("server: {server:?}, client: {client:?}"),
        }
    }

    /// The tokens that went one way.
    pub fn tokens(&self, way: Way) -> impl Iterator<Item = &[u8]> {
        self.legs.iter().filter(move |(to, _)| *to == way).map(|(_, token)| token.as_slice())
    }
}

impl Pair {
    /// Runs a handshake to its end.
    pub fn run(&mut self) -> Outcome {
        self.run_over(|_, _, _| Fate::Deliver)
    }

    /// Runs a handshake over a wire that decides on every token; `usize` counts the tokens of that way from 0.
    ///
    /// # Panics
    /// If it does not end within twenty legs.
    pub fn run_over(&mut self, mut wire: impl FnMut(Way, usize, &[u8]) -> Fate) -> Outcome {
        let mut outcome = Outcome::default();
        let mut turn = self.client.begin();
        for round in 0..10 {
            let Turn { token, end } = turn;
            outcome.client = end;
            if token.is_empty() || outcome.client.is_some() {
                return outcome;
            }
            outcome.legs.push((Way::ToServer, token.clone()));
            let answer = match wire(Way::ToServer, round, &token) {
                Fate::Deliver => self.server.take(&token),
                Fate::Replace(other) => self.server.take(&other),
                Fate::Twice => {
                    let answer = self.server.take(&token);
                    outcome.repeated.push(self.server.take(&token));
                    answer
                }
                Fate::Lose => {
                    self.server.reconnect();
                    return outcome;
                }
            };
            if !answer.token.is_empty() {
                outcome.legs.push((Way::ToClient, answer.token.clone()));
            }
            let fate = wire(Way::ToClient, round, &answer.token);
            let success = matches!(answer.end, Some(Ok(_)));
            outcome.server = answer.end;
            let token = match fate {
                Fate::Replace(other) => other,
                Fate::Lose => return outcome,
                Fate::Deliver | Fate::Twice => answer.token,
            };
            turn = match (token.as_slice(), success) {
                ([], true) => self.client.take_silence(),
                // A bare challenge: refused, and nothing said.
                ([], false) => {
                    Turn { token: Vec::new(), end: Some(Err(Peer::Rejected { said: String::new() }.into())) }
                }
                (token, _) => self.client.take(token),
            };
        }
        panic!("a handshake of more than twenty legs: {outcome:?}");
    }
}
