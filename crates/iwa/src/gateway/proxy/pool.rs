//! The connections to one address of an application: how many, and which may be used again. RFC 9112 9.3.
//!
//! A connection is used again by whoever comes next, so nothing of a visitor may live on it. One over which somebody signed in, or was
//! asked to by NTLM or Negotiate, belongs to that request alone and is never kept ([`Lease::keep_to_itself`]).

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::body::Onward;
use super::connect::{Dialer, Link};
use super::failure::{Failure, Why};
use super::pinned::Pinned;
use super::standing::Standing;
use super::target::Target;

/// One address of an application.
pub(super) struct Pool {
    pub(super) target: Target,
    pub(super) standing: Standing,
    dialer: Dialer,
    /// How long a connection is kept that nobody uses.
    keep_alive: Duration,
    room: Arc<Semaphore>,
    under_way: AtomicUsize,
    idle: Mutex<Idle>,
    /// Somebody takes out what was idle for too long.
    swept: AtomicBool,
}

#[derive(Default)]
struct Idle {
    /// The one used last comes last, and is used next.
    http1: Vec<(Instant, http1::SendRequest<Onward>)>,
    http2: Vec<Shared>,
}

/// A connection that several requests use at once.
struct Shared {
    send: http2::SendRequest<Onward>,
    used: Instant,
    /// Held by each of its requests.
    users: Arc<()>,
}

impl Pool {
    pub(super) fn new(target: Target, dialer: Dialer, keep_alive: Duration, most: usize) -> Self {
        Self {
            target,
            standing: Standing::default(),
            dialer,
            keep_alive,
            room: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))),
            under_way: AtomicUsize::new(0),
            idle: Mutex::default(),
            swept: AtomicBool::new(false),
        }
    }

    /// How many requests are under way.
    pub(super) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    /// A connection for one request: one that is there, else a new one. With `own` it is HTTP/1.1, and new: for what is to be
    /// upgraded.
    pub(super) async fn lease(self: &Arc<Self>, own: bool) -> Result<Lease, Failure> {
        let room = match Arc::clone(&self.room).try_acquire_owned() {
            Ok(room) => room,
            Err(_) => self.wait_for_room().await?,
        };
        let users = if own { None } else { self.idle() };
        let (link, fresh, users) = match users {
            Some((link, users)) => (link, false, users),
            None => match self.dialer.dial(&self.target, own, None).await {
                Ok(Link::Http2(send)) => {
                    let users = Arc::new(());
                    let shared = Shared { send: send.clone(), used: Instant::now(), users: Arc::clone(&users) };
                    self.idle_now().http2.push(shared);
                    self.sweep();
                    (Link::Http2(send), true, Some(users))
                }
                Ok(link) => (link, true, None),
                Err(failure) => {
                    self.standing.failed(&self.target, &failure.words);
                    return Err(failure);
                }
            },
        };
        if fresh {
            self.standing.answers(&self.target);
        }
        self.under_way.fetch_add(1, Ordering::Relaxed);
        Ok(Lease { link: Some(link), fresh, reusable: !own, pool: Arc::clone(self), users, pinned: None, _room: room })
    }

    /// A new connection for all requests of one client's connection.
    pub(super) async fn lease_pinned(self: &Arc<Self>, pinned: Pinned) -> Result<Lease, Failure> {
        let room = match Arc::clone(&self.room).try_acquire_owned() {
            Ok(room) => room,
            Err(_) => self.wait_for_room().await?,
        };
        let (pins, number) = (Weak::clone(&pinned.pins), pinned.number);
        let ended = move || {
            if let Some(pins) = pins.upgrade() {
                pins.ends(number);
            }
        };
        let dialed = self.dialer.dial(&self.target, true, Some(Box::new(ended))).await;
        let link = dialed.inspect_err(|failure| self.standing.failed(&self.target, &failure.words))?;
        self.standing.answers(&self.target);
        self.under_way.fetch_add(1, Ordering::Relaxed);
        let (link, pool, pinned) = (Some(link), Arc::clone(self), Some(pinned));
        Ok(Lease { link, fresh: true, reusable: false, pool, users: None, pinned, _room: room })
    }

    /// Whether a connection can be had; for who only wants to know.
    pub(super) async fn probe(&self) -> Result<(), Failure> {
        self.dialer.dial(&self.target, false, None).await.map(|_| ())
    }

    /// Asks for a page over a connection of its own, and says what was wrong with the answer.
    pub(super) async fn ask(&self, request: Request<Onward>) -> Result<(), String> {
        let link = self.dialer.dial(&self.target, true, None).await.map_err(|failure| failure.words)?;
        let Link::Http1(mut send) = link else { return Ok(()) };
        let answer = send.send_request(request).await.map_err(|error| super::send::in_full(&error))?;
        let status = answer.status();
        if status.is_success() || status.is_redirection() { Ok(()) } else { Err(format!("it answered {status}")) }
    }

    async fn wait_for_room(&self) -> Result<OwnedSemaphorePermit, Failure> {
        let waited = tokio::time::timeout(self.dialer.timeout, Arc::clone(&self.room).acquire_owned()).await;
        // The semaphore is never closed.
        waited.ok().and_then(Result::ok).ok_or_else(|| {
            Failure::new(
                Why::Busy,
                format!(
                    "{} has as many requests under way as max-connections lets it have, {}, and none ended in time",
                    self.target,
                    self.under_way()
                ),
            )
        })
    }

    fn idle(&self) -> Option<(Link, Option<Arc<()>>)> {
        let now = Instant::now();
        let mut idle = self.idle_now();
        while let Some((since, send)) = idle.http1.pop() {
            if send.is_ready() && now.duration_since(since) < self.keep_alive {
                return Some((Link::Http1(send), None));
            }
        }
        idle.http2.retain(|shared| !shared.send.is_closed());
        let free = |shared: &&mut Shared| shared.users() < MOST_STREAMS && shared.send.is_ready();
        let shared = idle.http2.iter_mut().find(free)?;
        shared.used = now;
        Some((Link::Http2(shared.send.clone()), Some(Arc::clone(&shared.users))))
    }

    fn keep(self: &Arc<Self>, send: http1::SendRequest<Onward>) {
        if !self.keep_alive.is_zero() {
            self.idle_now().http1.push((Instant::now(), send));
            self.sweep();
        }
    }

    fn forget(&self, users: &Arc<()>) {
        self.idle_now().http2.retain(|shared| !Arc::ptr_eq(&shared.users, users));
    }

    /// Sees to it that connections are closed which nobody uses any more.
    fn sweep(self: &Arc<Self>) {
        if self.swept.swap(true, Ordering::Relaxed) {
            return;
        }
        let (pool, every) = (Arc::downgrade(self), self.keep_alive.max(Duration::from_millis(100)));
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                let Some(pool) = pool.upgrade() else { return };
                let now = Instant::now();
                let mut idle = pool.idle_now();
                let fresh = |since: Instant| now.duration_since(since) < pool.keep_alive;
                idle.http1.retain(|(since, send)| fresh(*since) && !send.is_closed());
                idle.http2.retain(|shared| !shared.send.is_closed() && (shared.users() > 0 || fresh(shared.used)));
                if idle.http1.is_empty() && idle.http2.is_empty() {
                    pool.swept.store(false, Ordering::Relaxed);
                    return;
                }
            }
        });
    }

    fn idle_now(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn users(&self) -> usize {
        Arc::strong_count(&self.users) - 1
    }
}

/// A connection, for one request.
pub(super) struct Lease {
    link: Option<Link>,
    /// It was made for this request: if it ends before an answer, that is no accident of timing.
    pub(super) fresh: bool,
    reusable: bool,
    pool: Arc<Pool>,
    users: Option<Arc<()>>,
    /// The client's connection that it belongs to, with everything that ever goes over it.
    pub(super) pinned: Option<Pinned>,
    _room: OwnedSemaphorePermit,
}

impl Lease {
    pub(super) fn target(&self) -> &Target {
        &self.pool.target
    }

    pub(super) const fn is_http2(&self) -> bool {
        matches!(self.link, Some(Link::Http2(_)))
    }

    pub(super) fn is_closed(&self) -> bool {
        match &self.link {
            Some(Link::Http1(send)) => send.is_closed(),
            Some(Link::Http2(send)) => send.is_closed(),
            None => true,
        }
    }

    /// The connection ends with its request.
    pub(super) fn keep_to_itself(&mut self) {
        self.reusable = false;
        if let Some(users) = &self.users {
            self.pool.forget(users);
        }
    }

    /// Sends a request. What comes back with an error, nothing was sent of.
    pub(super) async fn send(
        &mut self,
        request: Request<Onward>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Onward>>> {
        match self.link.as_mut().expect("a lease has its link until it is given back") {
            Link::Http1(send) => send.try_send_request(request).await,
            Link::Http2(send) => send.try_send_request(request).await,
        }
    }

    /// The answer is whole: the connection is free for the next.
    pub(super) fn give_back(mut self) {
        if let Some(Pinned { pins, number }) = &self.pinned {
            if let Some(pins) = pins.upgrade() {
                let number = *number;
                pins.keep(number, self);
            }
            return;
        }
        let Some(Link::Http1(mut send)) = self.link.take().filter(|_| self.reusable) else { return };
        if send.is_ready() {
            self.pool.keep(send);
        } else if !send.is_closed()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            // It reads the end of the answer just now; or the application answered before it read the request, and then the
            // connection is of no use.
            runtime.spawn(async move {
                if matches!(tokio::time::timeout(SETTLED, send.ready()).await, Ok(Ok(()))) {
                    self.pool.keep(send);
                }
            });
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The most requests at once on one connection of HTTP/2; what servers allow by default.
const MOST_STREAMS: usize = 100;

/// How long a connection may take to be ready for the next request.
const SETTLED: Duration = Duration::from_secs(1);
