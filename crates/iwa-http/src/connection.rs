//! What a server remembers of one connection: who proved themselves on it, or how far they came. MS-NTHT 1.3, RFC 4559 6.
//!
//! NTLM, and Kerberos in several legs, authenticate a connection and not a request. So the state lives here, in one value a
//! connection, which is never shared, never keyed by an address, and gone when the connection is.

use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use core::time::Duration;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use iwa_auth::krb5::acceptor::Delegated;
use iwa_auth::krb5::client::Evidence;
use iwa_auth::reject::Unavailable;
use iwa_auth::{Binding, ChannelBindings, Handshake, Identity, Scheme, UnixTime};

use crate::session::SessionId;

/// One connection of one client.
pub struct Connection {
    peer: SocketAddr,
    local: SocketAddr,
    /// `None`: no TLS.
    tls: Option<ChannelBindings>,
    kinship: Kinship,
    requests: AtomicU64,
    state: Mutex<State>,
    /// Who handed it on, and said whose it is.
    relay: Option<SocketAddr>,
    /// Bits of [`Flag`].
    flags: AtomicU8,
    /// Whose requests come over it, as its front says.
    speaks_for: Mutex<Option<(IpAddr, Option<u16>)>>,
}

/// What is known of the way to a connection, a bit each.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Flag {
    /// A proxy is at its other end, that speaks for others.
    Front = 1,
    /// For several others: it was seen.
    Shared = 2,
    /// The client's own connection, somewhere in front, is TLS.
    Secure = 4,
    /// It is not, or nobody says so.
    Clear = 8,
    /// It stands for one request of a connection that carries many at once.
    Stream = 16,
}

/// What a proxy in front, that is believed, says of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SpeaksFor {
    /// The client's address, and its port.
    pub client: Option<(IpAddr, Option<u16>)>,
    /// Whether the client came over TLS.
    pub secure: bool,
}

/// How it is known that requests are of one connection.
#[derive(Clone, Copy, Debug)]
enum Kinship {
    /// They come over it.
    Seen,
    /// A proxy says so, and is believed.
    Told,
    /// It is not; why.
    Unknown(&'static str),
}

impl Connection {
    /// A connection without TLS.
    #[must_use]
    pub const fn plain(peer: SocketAddr, local: SocketAddr) -> Self {
        Self::new(peer, local, None, Kinship::Seen)
    }

    /// A connection over TLS that ends here, with the bindings of the certificate it was made with.
    #[must_use]
    pub const fn tls(peer: SocketAddr, local: SocketAddr, bindings: ChannelBindings) -> Self {
        Self::new(peer, local, Some(bindings), Kinship::Seen)
    }

    /// A connection of a client to a proxy that tells which connection each request is of, and which sends this server no two
    /// connections' requests as one's. `secure`: the client's connection is TLS, and so is the way from the proxy, or it does not
    /// leave this machine.
    #[must_use]
    pub const fn told(peer: SocketAddr, local: SocketAddr, secure: bool) -> Self {
        Self::new(peer, local, if secure { Some(ChannelBindings::none()) } else { None }, Kinship::Told)
    }

    /// Stands for the connection of one request about which nothing is known. Nothing that takes more than one request is offered
    /// on it, and nobody stays signed in. `why` is a sentence for the log.
    #[must_use]
    pub const fn of_one_request(peer: SocketAddr, local: SocketAddr, secure: bool, why: &'static str) -> Self {
        Self::new(peer, local, if secure { Some(ChannelBindings::none()) } else { None }, Kinship::Unknown(why))
    }

    const fn new(peer: SocketAddr, local: SocketAddr, tls: Option<ChannelBindings>, kinship: Kinship) -> Self {
        Self {
            peer,
            local,
            tls,
            kinship,
            requests: AtomicU64::new(0),
            state: Mutex::new(State::Fresh),
            relay: None,
            flags: AtomicU8::new(0),
            speaks_for: Mutex::new(None),
        }
    }

    /// Handed on by `relay`, byte by byte and for this one client, whose addresses it told (the PROXY protocol). `secure`: it
    /// ended the client's TLS.
    #[must_use]
    pub fn relayed(mut self, relay: SocketAddr, secure: bool) -> Self {
        self.relay = Some(relay);
        if secure {
            *self.flags.get_mut() |= Flag::Secure as u8;
        }
        self
    }

    /// Whoever handed it on; its peer is the client all the same.
    #[must_use]
    pub const fn relay(&self) -> Option<SocketAddr> {
        self.relay
    }

    /// Takes what the proxy at its other end says of the request that comes now, and says whether that shows, for the first time,
    /// that it sends the requests of several clients over this one connection. Then the connection forgets whom it knew, and
    /// authenticates nobody from now on; only requests can.
    pub fn speaks_for(&self, said: SpeaksFor) -> bool {
        let of_client = if said.secure { Flag::Secure } else { Flag::Clear } as u8;
        let other = if said.secure { Flag::Clear } else { Flag::Secure } as u8;
        self.flags.fetch_and(!other, Ordering::Relaxed);
        self.flags.fetch_or(Flag::Front as u8 | of_client, Ordering::Relaxed);
        let mut before = self.speaks_for.lock().unwrap_or_else(PoisonError::into_inner);
        // A stream is one client's by itself, whatever came before it.
        let first = self.requests() == 0 || self.has(Flag::Stream);
        let same = first || *before == said.client;
        *before = said.client;
        drop(before);
        if same {
            return false;
        }
        self.forget();
        self.flags.fetch_or(Flag::Shared as u8, Ordering::Relaxed) & Flag::Shared as u8 == 0
    }

    /// Why it does not authenticate anybody by itself, if its front was seen to be that of several clients.
    pub(crate) fn is_shared(&self) -> bool {
        self.has(Flag::Shared)
    }

    /// Whether a proxy that speaks for others is at its other end.
    pub(crate) fn has_front(&self) -> bool {
        self.has(Flag::Front)
    }

    fn has(&self, flag: Flag) -> bool {
        self.flags.load(Ordering::Relaxed) & flag as u8 != 0
    }

    /// The same for one request alone: for a stream of a connection that carries many at once (HTTP/2). Addresses and bindings are
    /// the connection's; whoever proves themselves on it is known to no other request, and it knows nobody.
    #[must_use]
    pub fn stream(&self) -> Self {
        let before = self.requests.fetch_add(1, Ordering::Relaxed);
        Self {
            requests: AtomicU64::new(before),
            relay: self.relay,
            flags: AtomicU8::new(self.flags.load(Ordering::Relaxed) & Flag::Secure as u8 | Flag::Stream as u8),
            ..Self::new(self.peer, self.local, self.tls.clone(), self.kinship)
        }
    }

    /// The client's address.
    #[must_use]
    pub const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The address the client connected to.
    #[must_use]
    pub const fn local(&self) -> SocketAddr {
        self.local
    }

    /// How many requests were authenticated on it, this one included.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Whether it is TLS that ends here.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether it remembers anything: who proved themselves, or a handshake under way.
    #[must_use]
    pub fn remembers(&self) -> bool {
        !matches!(&*self.lock(), State::Fresh)
    }

    /// Why nothing that takes more than one request works on it, if so.
    pub(crate) const fn for_one_request(&self) -> Option<&'static str> {
        match self.kinship {
            Kinship::Unknown(why) => Some(why),
            Kinship::Seen | Kinship::Told => None,
        }
    }

    /// Whether a proxy that is believed says which requests are of it.
    pub(crate) const fn is_told(&self) -> bool {
        matches!(self.kinship, Kinship::Told)
    }

    /// Whether the client's own connection is TLS, wherever that ends. Of requests that a proxy sends, only if it says so.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        !self.has(Flag::Clear) && (self.tls.is_some() || self.has(Flag::Secure))
    }

    /// Whether a password may travel on it: over TLS, or without leaving this machine.
    #[must_use]
    pub fn keeps_secrets(&self) -> bool {
        if self.has_front() {
            return self.is_secure();
        }
        // A relay tells of addresses of its own machine, too.
        let here = |address: SocketAddr| address.ip().to_canonical().is_loopback();
        self.is_secure() || (here(self.peer) && here(self.local) && self.relay.is_none_or(here))
    }

    pub(crate) fn bindings(&self) -> ChannelBindings {
        self.tls.clone().unwrap_or_default()
    }

    /// Counts a request. [`Authenticator::authenticate`](crate::Authenticator::authenticate) does; this is for those that it
    /// never sees.
    pub fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Who proved themselves here, if that stands.
    pub(crate) fn known(&self) -> Option<Known> {
        match &*self.lock() {
            State::Known(known) => Some(known.clone()),
            State::Fresh | State::Halfway(_) | State::Busy => None,
        }
    }

    /// Forgets everything, and says whether a handshake was under way.
    pub(crate) fn forget(&self) -> bool {
        let mut state = self.lock();
        match &*state {
            // Whoever is at work ends it.
            State::Busy => false,
            State::Fresh => false,
            State::Known(_) => {
                *state = State::Fresh;
                false
            }
            State::Halfway(_) => {
                *state = State::Fresh;
                true
            }
        }
    }

    /// Forgets who proved themselves here, and any handshake: for whoever signs out.
    pub fn forget_identity(&self) {
        self.forget();
    }

    /// Says that a session began, then, with what was proved here, so that both can end together.
    pub fn belongs_to(&self, session: SessionId, begun: UnixTime) {
        if let State::Known(known) = &mut *self.lock() {
            known.session = Some((session, begun));
        }
    }

    /// The session that began with what was proved here, when, and whose it is.
    #[must_use]
    pub fn session(&self) -> Option<(SessionId, UnixTime, Arc<Identity>)> {
        match &*self.lock() {
            State::Known(known) => known.session.map(|(id, begun)| (id, begun, Arc::clone(&known.identity))),
            State::Fresh | State::Halfway(_) | State::Busy => None,
        }
    }

    /// Which certificate the client saw: its channel bindings; zeros without TLS of our own.
    #[must_use]
    pub fn certificate(&self) -> [u8; 16] {
        self.tls.as_ref().map_or([0; 16], ChannelBindings::presented)
    }

    /// Forgets a handshake under way, and says whether there was one. Who is known stays.
    pub(crate) fn give_up_handshake(&self) -> bool {
        let mut state = self.lock();
        let halfway = matches!(*state, State::Halfway(_));
        if halfway {
            *state = State::Fresh;
        }
        halfway
    }

    /// Takes the state out for a request that brings a token. `None` if another request is at it, which HTTP/1.1 does not
    /// do by itself.
    pub(crate) fn begin(&self) -> Option<(State, Turn<'_>)> {
        let mut state = self.lock();
        match core::mem::replace(&mut *state, State::Busy) {
            State::Busy => None,
            before => Some((before, Turn { connection: self })),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.peer)
            .field("local", &self.local)
            .field("tls", &self.tls.is_some())
            .field("requests", &self.requests())
            .finish_non_exhaustive()
    }
}

/// How far the client of a connection came.
#[derive(Debug)]
pub(crate) enum State {
    /// It proved nothing.
    Fresh,
    /// A token of ours is out.
    Halfway(Halfway),
    /// It proved itself.
    Known(Known),
    /// A request is being authenticated now.
    Busy,
}

/// Somebody who proved themselves on a connection.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) identity: Arc<Identity>,
    pub(crate) expires: Option<UnixTime>,
    pub(crate) binding: Binding,
    /// The ticket with which they came, where the acceptor hands it out.
    pub(crate) evidence: Option<Arc<Evidence>>,
    /// What they forwarded, where the acceptor hands out evidence.
    pub(crate) delegated: Option<Arc<Delegated>>,
    /// That began with it, and when.
    pub(crate) session: Option<(SessionId, UnixTime)>,
}

/// One request's hold of the state. Unless it is ended with a new state, the connection forgets everything: an abandoned or
/// panicked request leaves nothing half-done behind.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    connection: &'a Connection,
}

impl Turn<'_> {
    pub(crate) fn end(self, state: State) {
        *self.connection.lock() = state;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.connection.lock();
        if matches!(*state, State::Busy) {
            *state = State::Fresh;
        }
    }
}

/// A handshake that waits for the client, and its place among all that wait.
#[derive(Debug)]
pub(crate) struct Halfway {
    scheme: Scheme,
    since: UnixTime,
    slot: Arc<Slot>,
}

/// Boxed, so that a place in the queue whose handshake is over costs next to nothing.
type Slot = Mutex<Option<Box<Handshake>>>;

impl Halfway {
    /// The handshake, if it was not given up meanwhile; `Err` if it waited too long.
    pub(crate) fn resume(self, now: UnixTime, age: Duration) -> Result<(Scheme, Handshake), Expired> {
        let handshake = take(&self.slot).ok_or(Expired)?;
        if now.distance(self.since) > age { Err(Expired) } else { Ok((self.scheme, *handshake)) }
    }
}

/// The handshake waited too long.
#[derive(Debug)]
pub(crate) struct Expired;

/// All handshakes that wait for their clients, over all connections: bounded in number and age.
///
/// A handshake that is too old is dropped when room is needed; its connection may stay idle as long as it likes.
#[derive(Debug)]
pub struct HalfOpen {
    most: usize,
    age: Duration,
    waiting: Mutex<VecDeque<(UnixTime, Weak<Slot>)>>,
}

impl HalfOpen {
    /// At most `most` handshakes at once, each for at most `age`.
    #[must_use]
    pub const fn new(most: usize, age: Duration) -> Self {
        Self { most, age, waiting: Mutex::new(VecDeque::new()) }
    }

    /// How long one may wait.
    #[must_use]
    pub const fn age(&self) -> Duration {
        self.age
    }

    /// How many wait now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().iter().filter(|(_, slot)| slot.strong_count() > 0).count()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn park(&self, scheme: Scheme, handshake: Handshake, now: UnixTime) -> Result<Halfway, Unavailable> {
        let slot = Arc::new(Mutex::new(Some(Box::new(handshake))));
        let mut waiting = self.lock();
        // They stand in the order of their ages.
        while let Some((since, old)) = waiting.front() {
            let expired = now.distance(*since) > self.age;
            match old.upgrade() {
                Some(old) if expired => drop(take(&old)),
                Some(_) => break,
                None => {}
            }
            waiting.pop_front();
        }
        if waiting.len() >= self.most {
            waiting.retain(|(_, slot)| slot.strong_count() > 0);
        }
        if waiting.len() >= self.most {
            return Err(Unavailable::TooManyHandshakes);
        }
        waiting.push_back((now, Arc::downgrade(&slot)));
        Ok(Halfway { scheme, since: now, slot })
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(UnixTime, Weak<Slot>)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take(slot: &Slot) -> Option<Box<Handshake>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}

#[cfg(test)]
mod tests {
    use iwa_auth::accept::AcceptorConfig;
    use iwa_auth::{Acceptor, BindingPolicy};

    use super::*;

    fn handshake() -> Handshake {
        let config = AcceptorConfig { mechanisms: Vec::new(), krb5: None, ntlm: None, binding: BindingPolicy::None };
        Acceptor::new(config).accept(Scheme::Ntlm, &ChannelBindings::none())
    }

    fn connection() -> Connection {
        Connection::plain(SocketAddr::from(([127, 0, 0, 1], 40000)), SocketAddr::from(([127, 0, 0, 1], 80)))
    }

    const AGE: Duration = Duration::from_secs(30);

    fn at(seconds: i64) -> UnixTime {
        UnixTime::from_secs(1_800_000_000 + seconds)
    }

    #[test]
    fn what_leaves_a_relay_is_not_on_this_machine_because_its_client_was_on_the_relays() {
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let far = SocketAddr::from(([192, 0, 2, 9], 4711));
        let connection = |relay, secure| Connection::plain(local(1), local(2)).relayed(relay, secure);
        assert!(Connection::plain(local(1), local(2)).keeps_secrets());
        assert!(connection(local(3), false).keeps_secrets());
        assert!(!connection(far, false).keeps_secrets());
        assert!(connection(far, true).keeps_secrets());
    }

    #[test]
    fn streams_of_several_clients_over_one_connection_are_nobodys_but_their_own() {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let connection = Connection::plain(address(1), address(2));
        let of = |last| SpeaksFor { client: Some((IpAddr::from([192, 0, 2, last]), None)), secure: true };
        for last in 1..4 {
            let stream = connection.stream();
            assert!(!stream.speaks_for(of(last)), "a proxy that speaks HTTP/2 mixes nobody up");
            assert!(stream.is_secure() && stream.has_front() && !stream.is_shared() && stream.known().is_none());
        }
    }

    #[test]
    fn half_open_handshakes_are_bounded_in_number() {
        let half_open = HalfOpen::new(2, AGE);
        let first = half_open.park(Scheme::Ntlm, handshake(), at(0)).expect("room");
        let _second = half_open.park(Scheme::Ntlm, handshake(), at(0)).expect("room");
        assert_eq!(half_open.park(Scheme::Ntlm, handshake(), at(1)).err(), Some(Unavailable::TooManyHandshakes));
        // A connection that closes or goes on makes room.
        drop(first);
        assert!(half_open.park(Scheme::Ntlm, handshake(), at(2)).is_ok());
    }

    #[test]
    fn half_open_handshakes_are_bounded_in_age() {
        let half_open = HalfOpen::new(1, AGE);
        let old = half_open.park(Scheme::Ntlm, handshake(), at(0)).expect("room");
        let young = half_open.park(Scheme::Ntlm, handshake(), at(31)).expect("the old one goes");
        assert!(old.resume(at(31), AGE).is_err());
        assert!(young.resume(at(40), AGE).is_ok());
    }

    #[test]
    fn a_handshake_that_waited_too_long_is_refused_although_nobody_needed_its_room() {
        let half_open = HalfOpen::new(10, AGE);
        let old = half_open.park(Scheme::Ntlm, handshake(), at(0)).expect("room");
        assert!(old.resume(at(31), AGE).is_err());
        assert!(half_open.is_empty());
    }

    #[test]
    fn handshakes_that_ended_do_not_count() {
        let half_open = HalfOpen::new(3, AGE);
        for second in 0..1000 {
            let parked = half_open.park(Scheme::Ntlm, handshake(), at(second / 500)).expect("room");
            assert!(parked.resume(at(second / 500), AGE).is_ok());
        }
        assert!(half_open.is_empty());
        assert!(half_open.lock().len() <= 3);
    }

    #[test]
    fn an_abandoned_request_leaves_nothing_behind() {
        let connection = connection();
        let (_, turn) = connection.begin().expect("nobody is at it");
        assert!(connection.begin().is_none(), "two requests at once");
        drop(turn);
        assert!(matches!(connection.begin(), Some((State::Fresh, _))));
    }

    #[test]
    fn a_password_may_travel_over_tls_or_within_this_machine() {
        let remote = SocketAddr::from(([192, 0, 2, 7], 40000));
        let local = SocketAddr::from(([127, 0, 0, 1], 80));
        assert!(connection().keeps_secrets());
        assert!(!Connection::plain(remote, local).keeps_secrets());
        assert!(Connection::tls(remote, local, ChannelBindings::none()).keeps_secrets());
        let mapped: SocketAddr = "[::ffff:127.0.0.1]:1".parse().expect("an address");
        assert!(Connection::plain(mapped, mapped).keeps_secrets());
    }
}
