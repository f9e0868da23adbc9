//! One domain controller: where its Netlogon listens, the session with it, its connections, and its rest after a failure.
//! MS-NRPC 3.5.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use iwa_auth::netlogon::{ChannelError, Member, Opening, RpcError, Session};
use iwa_auth::ntlm::crypto::nt_hash;
use iwa_auth::{Env, NtStatus, Secret};
use iwa_wire::dcerpc::Syntax;
use iwa_wire::netlogon::opnum;
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::controller::Controller;
use crate::local::now;
use crate::machine::{Machine, MachinePassword};
use crate::rpc::{CallError, Connection, SystemEntropy, endpoint, within};

use super::{CheckedWith, Inner, Which};

/// One controller.
pub(super) struct Dc {
    pub(super) controller: Controller,
    /// Held while a session is opened, so that one logon opens it and the others wait.
    session: tokio::sync::Mutex<Option<Arc<Opened>>>,
    now: Mutex<Now>,
}

#[derive(Default)]
struct Now {
    idle: Vec<Idle>,
    resting: Option<Resting>,
    /// When it answered a call last.
    answered: Option<Instant>,
}

/// A session, and where it was opened.
pub(super) struct Opened {
    session: Session,
    address: SocketAddr,
    with: Which,
}

struct Idle {
    connection: Connection,
    of: Arc<Opened>,
    since: Instant,
}

/// Until when a controller is left in peace, and why.
struct Resting {
    until: Instant,
    why: String,
    /// For whom: a machine with other passwords may be taken.
    machine: Option<Arc<Machine>>,
}

/// Why a controller has no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Failure {
    /// It does not answer, or not as a domain controller does.
    Gone(String),
    /// It refuses the machine.
    Refused(String),
    /// It cannot tell, and another may.
    Undecided(NtStatus),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone(why) | Self::Refused(why) => f.write_str(why),
            Self::Undecided(status) => write!(f, "it cannot tell: {status}"),
        }
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self::Gone(error.to_string())
    }
}

impl From<ChannelError> for Failure {
    fn from(error: ChannelError) -> Self {
        let text = error.to_string();
        match error {
            ChannelError::WrongPassword
            | ChannelError::NoAccount { .. }
            | ChannelError::NoAes { .. }
            | ChannelError::Name(_)
            | ChannelError::Status(_) => Self::Refused(text),
            _ => Self::Gone(text),
        }
    }
}

impl fmt::Debug for Dc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dc").field("controller", &self.controller).finish_non_exhaustive()
    }
}

impl Dc {
    pub(super) fn new(controller: Controller) -> Self {
        Self { controller, session: tokio::sync::Mutex::default(), now: Mutex::default() }
    }

    /// Makes one call through the channel, on a connection of its own. A session that the controller has forgotten is opened
    /// anew, once.
    pub(super) async fn call(
        &self,
        inner: &Inner,
        opnum: u16,
        stub: &[u8],
        denied: impl Fn(&[u8]) -> bool,
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        // A connection that was idle may have been closed at the other end, and with it all its sisters.
        while let Some(Idle { mut connection, of, .. }) = self.take_idle(inner) {
            match connection.call(opnum, stub).await {
                Ok(answer) if denied(&answer) => {
                    self.forget(&of).await;
                    break;
                }
                Ok(answer) => {
                    self.put_idle(connection, of);
                    return Ok(answer);
                }
                Err(CallError::Io(_)) => {}
                Err(CallError::Rpc(_)) => {
                    self.forget(&of).await;
                    break;
                }
            }
        }
        // Bounded: a session that others open meanwhile is not ours, and need not be better than the one before.
        for attempt in 0..SESSIONS {
            let (opened, fresh) = self.session(inner).await?;
            let last = fresh || attempt + 1 == SESSIONS;
            let outcome = async {
                let (address, session) = (opened.address, Some(&opened.session));
                let mut connection = Connection::open(&*inner.dial, address, Syntax::NETLOGON, session).await?;
                let answer = connection.call(opnum, stub).await?;
                Ok::<_, CallError>((connection, answer))
            };
            match outcome.await {
                Ok((_, answer)) if denied(&answer) && !last => {}
                Ok((connection, answer)) => {
                    self.put_idle(connection, opened);
                    return Ok(answer);
                }
                Err(CallError::Rpc(error)) if last && is_refusal(&error) => {
                    self.forget(&opened).await;
                    return Err(Failure::Refused(format!("it does not keep the secure channel: {error}")));
                }
                Err(error) if last => {
                    self.forget(&opened).await;
                    return Err(error.into());
                }
                // It forgot the session, or another process opened one under this name, or it listens elsewhere now.
                Err(_) => {}
            }
            self.forget(&opened).await;
        }
        Err(Failure::Gone("nobody was asked".to_owned()))
    }

    /// The session of now, and whether it was opened for this call.
    async fn session(&self, inner: &Inner) -> Result<(Arc<Opened>, bool), Failure> {
        let mut place = self.session.lock().await;
        if let Some(opened) = place.as_ref().filter(|opened| *opened.session.member() == inner.member()) {
            return Ok((Arc::clone(opened), false));
        }
        let opened = Arc::new(self.open(inner).await?);
        if opened.with == Which::Previous {
            tracing::warn!(
                controller = %self.controller,
                "the domain controller takes only the machine's previous password: the change may not have reached it yet"
            );
        }
        tracing::debug!(controller = %self.controller, password = %opened.with, "secure channel opened");
        *place = Some(Arc::clone(&opened));
        Ok((opened, true))
    }

    /// Opens a session with whichever of the machine's passwords the controller takes.
    async fn open(&self, inner: &Inner) -> Result<Opened, Failure> {
        let (address, mut connection) = self.connect(inner).await?;
        let machine = inner.membership.machine();
        let mut refused = None;
        for (with, password) in passwords(&machine) {
            match open_with(&mut connection, inner.member(), &password.password).await {
                Ok(session) => return Ok(Opened { session, address, with }),
                Err(Failure::Refused(text)) if text == ChannelError::WrongPassword.to_string() => {
                    refused = Some(Failure::Refused(text));
                }
                Err(error) => return Err(error),
            }
        }
        Err(refused.unwrap_or_else(|| Failure::Refused("this machine has no password".to_owned())))
    }

    /// Finds the port and connects, at whichever of the controller's addresses answers first in their order.
    async fn connect(&self, inner: &Inner) -> Result<(SocketAddr, Connection), Failure> {
        let mut last = Failure::Gone("it has no address".to_owned());
        for address in &self.controller.addresses {
            let mapper = SocketAddr::new(*address, self.controller.ports.epm);
            let many = self.controller.addresses.len() > 1;
            // With one address alone there is nothing to hurry for.
            let limit = if many { inner.config.connect } else { inner.config.patience };
            let connected = async {
                let port = endpoint(&*inner.dial, mapper, Syntax::NETLOGON).await?;
                let address = SocketAddr::new(*address, port);
                let connection = Connection::open(&*inner.dial, address, Syntax::NETLOGON, None).await?;
                Ok::<_, CallError>((address, connection))
            };
            match within(limit, connected).await {
                Ok(connected) => return Ok(connected),
                Err(error) => last = Failure::Gone(format!("{mapper}: {error}")),
            }
        }
        Err(last)
    }

    /// Tells which password it takes, in a session of its own that takes the place of the one before.
    pub(super) async fn check(&self, inner: &Inner) -> Result<CheckedWith, Failure> {
        let mut place = self.session.lock().await;
        *place = None;
        let opened = self.open(inner).await?;
        let with = opened.with;
        *place = Some(Arc::new(opened));
        Ok(CheckedWith { password: with, controller: self.controller.host.clone() })
    }

    /// Sets the machine's password. The outer error says that nothing was sent, the inner one that it may have happened.
    pub(super) async fn set_password(
        &self,
        inner: &Inner,
        new: &Secret<String>,
    ) -> Result<Result<(), Failure>, Failure> {
        // Nobody may open another session meanwhile: the chain of authenticators would break.
        let mut place = self.session.lock().await;
        *place = None;
        let Opened { mut session, address, with } = self.open(inner).await?;
        let mut connection = Connection::open(&*inner.dial, address, Syntax::NETLOGON, Some(&session)).await?;
        let mut stub = Zeroizing::new(Vec::new());
        {
            let mut env = Env { now: now(), entropy: &mut SystemEntropy };
            session.password_set2(new, &mut env, &mut stub)?;
        }
        let answer = match connection.call(opnum::SERVER_PASSWORD_SET2, &stub).await {
            Ok(answer) => answer,
            Err(error) => return Ok(Err(error.into())),
        };
        if let Err(error) = session.password_was_set2(&answer) {
            return Ok(Err(Failure::Refused(format!("it does not take the new password: {error}"))));
        }
        *place = Some(Arc::new(Opened { session, address, with }));
        Ok(Ok(()))
    }

    /// A session that is not known any more, and every connection under it.
    async fn forget(&self, opened: &Arc<Opened>) {
        let mut place = self.session.lock().await;
        if place.as_ref().is_some_and(|now| Arc::ptr_eq(now, opened)) {
            *place = None;
        }
        drop(place);
        self.now().idle.retain(|idle| !Arc::ptr_eq(&idle.of, opened));
    }

    fn take_idle(&self, inner: &Inner) -> Option<Idle> {
        let mut now = self.now();
        let fresh = |idle: &Idle| idle.since.elapsed() < inner.config.idle;
        now.idle.retain(fresh);
        // The one that was used last: the others may grow old.
        now.idle.pop()
    }

    fn put_idle(&self, connection: Connection, of: Arc<Opened>) {
        let since = Instant::now();
        let mut now = self.now();
        now.answered = Some(since);
        now.idle.push(Idle { connection, of, since });
    }

    /// Whether it answered anybody since then: one logon that takes long, over a trust say, is no sign that it is dead.
    pub(super) fn answered_since(&self, begun: Instant) -> bool {
        self.now().answered.is_some_and(|answered| answered > begun)
    }

    /// Why it is left in peace now, if it is.
    pub(super) fn resting(&self, inner: &Inner) -> Option<String> {
        let mut now = self.now();
        let over = now.resting.as_ref().is_some_and(|resting| {
            let other = |machine: &Arc<Machine>| !Arc::ptr_eq(machine, &inner.membership.machine());
            resting.until <= Instant::now() || resting.machine.as_ref().is_some_and(other)
        });
        if over {
            now.resting = None;
        }
        now.resting.as_ref().map(|resting| resting.why.clone())
    }

    /// Leaves it in peace for a while.
    pub(super) fn rest(&self, inner: &Inner, failure: &Failure) {
        let (rest, machine) = match failure {
            Failure::Gone(_) => (inner.config.rest, None),
            Failure::Refused(_) => (inner.config.refused_rest, Some(inner.membership.machine())),
            // It is well; only this user's domain is not.
            Failure::Undecided(_) => return,
        };
        let mut now = self.now();
        now.idle.clear();
        now.resting = Some(Resting { until: Instant::now() + rest, why: failure.to_string(), machine });
    }

    /// It answered. Whether that ends a rest.
    pub(super) fn answered(&self) -> bool {
        self.now().resting.take().is_some()
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The machine's passwords, the likeliest first, and which each of them is.
fn passwords(machine: &Machine) -> impl Iterator<Item = (Which, &MachinePassword)> {
    let all = [
        (Which::Current, Some(&machine.current)),
        (Which::Pending, machine.pending.as_ref()),
        (Which::Previous, machine.previous.as_ref()),
    ];
    all.into_iter().filter_map(|(which, password)| Some((which, password?)))
}

async fn open_with(connection: &mut Connection, member: Member, password: &Secret<String>) -> Result<Session, Failure> {
    let mut stub = Vec::new();
    let opening = {
        let mut env = Env { now: now(), entropy: &mut SystemEntropy };
        Opening::begin(member, &mut env, &mut stub)?
    };
    let answer = connection.call(opnum::SERVER_REQ_CHALLENGE, &stub).await?;
    stub.clear();
    let challenged = opening.challenged(&answer, &nt_hash(password.expose()), &mut stub)?;
    let answer = connection.call(opnum::SERVER_AUTHENTICATE3, &stub).await?;
    Ok(challenged.authenticated(&answer)?)
}

/// Whether this is how a controller refuses a session.
const fn is_refusal(error: &RpcError) -> bool {
    matches!(error, RpcError::Fault(RpcError::ACCESS_DENIED | RpcError::SEC_PKG_ERROR) | RpcError::NotBound { .. })
}

/// How many sessions are tried for one call.
const SESSIONS: usize = 3;
