//! The tickets that are at hand, in memory alone: for whom, for what, and how they were had.
//!
//! Who asks for a ticket that is not there gets it; whoever asks meanwhile waits for that one. That there was none is remembered for a
//! moment too, so that a KDC that refuses or is silent is not asked, and waited for, again by every request.

use core::time::Duration;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use iwa_auth::UnixTime;
use iwa_auth::krb5::client::ServiceTicket;
use iwa_auth::reject::{Reason, Unavailable};
use iwa_http::System;

use crate::config::How;

/// All tickets of a site.
pub(crate) struct Tickets {
    most: usize,
    /// How long one may take to get.
    patience: Duration,
    slots: Mutex<HashMap<Key, Arc<Slot>>>,
    /// No KDC answered: why, and until when none is asked.
    silent: Mutex<Option<(UnixTime, String)>>,
}

/// What a ticket is found by.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Key {
    pub(super) account: Option<String>,
    pub(super) service: String,
    pub(super) user: String,
    pub(super) way: Way,
}

/// How a ticket is had.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Way {
    /// As the gateway itself.
    OurSelf,
    /// As a user.
    As(How),
}

#[derive(Default)]
struct Slot {
    known: Mutex<Known>,
    /// Held by whoever gets the ticket.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Clone, Default)]
enum Known {
    #[default]
    Nothing,
    /// And since when it is here.
    Ticket(Arc<ServiceTicket>, UnixTime),
    None(Reason, UnixTime),
}

impl Tickets {
    pub(crate) fn new(most: usize, patience: Duration) -> Self {
        Self { most: most.max(1), patience, slots: Mutex::default(), silent: Mutex::default() }
    }

    /// The ticket that is at hand, else the one that `get` gets.
    pub(super) async fn get(
        &self,
        key: &Key,
        system: &dyn System,
        get: impl Future<Output = Result<ServiceTicket, Reason>>,
    ) -> Result<Arc<ServiceTicket>, Reason> {
        let slot = self.slot(key, system.now());
        if let Some(known) = slot.known(system.now()) {
            return known;
        }
        let _turn = slot.turn.lock().await;
        // Somebody else's may be here by now.
        if let Some(known) = slot.known(system.now()) {
            return known;
        }
        if let Some((_, why)) = lock(&self.silent).as_ref().filter(|(until, _)| system.now() < *until) {
            return Err(Unavailable::Kdc(why.clone()).into());
        }
        let got = tokio::time::timeout(self.patience, get).await.unwrap_or_else(|_| {
            Err(Unavailable::Kdc(format!("there was no ticket within {} seconds", self.patience.as_secs())).into())
        });
        let now = system.now();
        let until = now.plus(MOMENT);
        let (known, answer) = match got {
            Ok(ticket) => {
                let ticket = Arc::new(ticket);
                (Known::Ticket(Arc::clone(&ticket), now), Ok(ticket))
            }
            Err(reason) => {
                if let Reason::Unavailable(Unavailable::Kdc(why)) = &reason {
                    *lock(&self.silent) = Some((until, why.clone()));
                }
                (Known::None(reason.clone(), until), Err(reason))
            }
        };
        *lock(&slot.known) = known;
        answer
    }

    /// Drops a ticket that an application did not take, unless it is so new that another would not be better.
    pub(super) fn forget(&self, key: &Key, ticket: &Arc<ServiceTicket>, now: UnixTime) {
        let mut slots = lock(&self.slots);
        let is_it = slots.get(key).is_some_and(|slot| {
            matches!(&*lock(&slot.known), Known::Ticket(known, since) if Arc::ptr_eq(known, ticket) && since.plus(NEW) < now)
        });
        if is_it {
            slots.remove(key);
        }
    }

    /// Drops all: the keys are others now.
    pub(crate) fn forget_all(&self) {
        lock(&self.slots).clear();
        *lock(&self.silent) = None;
    }

    fn slot(&self, key: &Key, now: UnixTime) -> Arc<Slot> {
        let mut slots = lock(&self.slots);
        if let Some(slot) = slots.get(key) {
            return Arc::clone(slot);
        }
        if slots.len() >= self.most {
            // Those that somebody waits at stay; if that does not help, any.
            slots.retain(|_, slot| Arc::strong_count(slot) > 1 || matches!(slot.known(now), Some(Ok(_))));
            if slots.len() >= self.most
                && let Some(any) = slots.keys().next().cloned()
            {
                slots.remove(&any);
            }
        }
        Arc::clone(slots.entry(key.clone()).or_default())
    }
}

impl Slot {
    fn known(&self, now: UnixTime) -> Option<Result<Arc<ServiceTicket>, Reason>> {
        match &*lock(&self.known) {
            Known::Ticket(ticket, _) if ticket.service.is_valid(now) => Some(Ok(Arc::clone(ticket))),
            Known::None(reason, until) if now < *until => Some(Err(reason.clone())),
            Known::Nothing | Known::Ticket(..) | Known::None(..) => None,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code that can panic runs under these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long it is remembered that there was no ticket: an administrator who mends it does not wait longer.
const MOMENT: Duration = Duration::from_secs(5);

/// For how long a ticket is not got again because an application did not take it.
const NEW: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

    use iwa_auth::env::EntropyError;
    use iwa_auth::krb5::client::Credential;
    use iwa_auth::krb5::etype::{Etype, Key as SessionKey};
    use iwa_auth::reject::Policy;
    use iwa_wire::krb5::{KerberosTime, Principal, TicketFlags};

    use super::*;

    const BEGIN: u64 = 1_800_000_000;

    struct Clock(AtomicU64);

    impl Clock {
        fn new() -> Self {
            Self(AtomicU64::new(BEGIN))
        }

        fn goes_on(&self, seconds: u64) {
            self.0.fetch_add(seconds, Ordering::Relaxed);
        }
    }

    impl System for Clock {
        fn now(&self) -> UnixTime {
            UnixTime::from_secs(self.0.load(Ordering::Relaxed) as i64)
        }

        fn random(&self, _: &mut [u8]) -> Result<(), EntropyError> {
            Err(EntropyError)
        }
    }

    fn ticket(user: &str) -> ServiceTicket {
        let service = Credential {
            client: Principal::user(user, "EXAMPLE.TEST"),
            server: Principal::service("HTTP", "backend.example.test", "EXAMPLE.TEST"),
            key: SessionKey::new(Etype::Aes128CtsHmacSha1, &[7; 16]).expect("16 bytes"),
            flags: TicketFlags(0),
            authtime: KerberosTime(BEGIN as i64),
            starttime: KerberosTime(BEGIN as i64),
            endtime: KerberosTime(BEGIN as i64 + 3600),
            renew_till: None,
            ticket: Vec::new(),
            clock_offset: 0,
        };
        ServiceTicket { service, forwarded: None, evidence: None, new: Vec::new() }
    }

    fn key(user: &str) -> Key {
        let service = "HTTP/backend.example.test".to_owned();
        Key { account: None, service, user: user.to_owned(), way: Way::As(How::Constrained) }
    }

    fn tickets() -> Tickets {
        Tickets::new(100, Duration::from_secs(10))
    }

    fn refusal() -> Reason {
        Policy::Delegation { why: "as the test wants it".to_owned() }.into()
    }

    #[tokio::test]
    async fn many_requests_at_once_get_one_ticket() {
        let (tickets, clock, asked) = (Arc::new(tickets()), Arc::new(Clock::new()), Arc::new(AtomicUsize::new(0)));
        let requests = (0..50).map(|_| {
            let (tickets, clock, asked) = (Arc::clone(&tickets), Arc::clone(&clock), Arc::clone(&asked));
            tokio::spawn(async move {
                let get = async {
                    asked.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                    Ok(ticket("alice"))
                };
                tickets.get(&key("alice"), &*clock, get).await.is_ok()
            })
        });
        for request in requests.collect::<Vec<_>>() {
            assert!(request.await.expect("no panic"));
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_ticket_is_of_one_user_one_service_one_way_and_one_account() {
        let (tickets, clock) = (tickets(), Clock::new());
        tickets.get(&key("alice"), &clock, async { Ok(ticket("alice")) }).await.expect("a ticket");
        let others = [
            key("bob"),
            Key { service: "HTTP/other.example.test".to_owned(), ..key("alice") },
            Key { way: Way::As(How::Transition), ..key("alice") },
            Key { way: Way::OurSelf, ..key("alice") },
            Key { account: Some("svc-web@EXAMPLE.TEST".to_owned()), ..key("alice") },
        ];
        for other in others {
            let got = tickets.get(&other, &clock, async { Err(refusal()) }).await;
            assert_eq!(got.err(), Some(refusal()), "{other:?}");
        }
    }

    #[tokio::test]
    async fn a_ticket_goes_before_it_ends_and_with_the_keys() {
        let (tickets, clock) = (tickets(), Clock::new());
        let get = async |tickets: &Tickets| tickets.get(&key("alice"), &clock, async { Err(refusal()) }).await.is_ok();
        tickets.get(&key("alice"), &clock, async { Ok(ticket("alice")) }).await.expect("a ticket");
        clock.goes_on(3500);
        assert!(get(&tickets).await);
        clock.goes_on(60);
        assert!(!get(&tickets).await, "a minute is left");

        let (tickets, clock) = (self::tickets(), Clock::new());
        tickets.get(&key("alice"), &clock, async { Ok(ticket("alice")) }).await.expect("a ticket");
        tickets.forget_all();
        assert!(tickets.get(&key("alice"), &clock, async { Err(refusal()) }).await.is_err());
    }

    #[tokio::test]
    async fn a_kdc_that_refuses_or_is_silent_is_not_asked_again_by_every_request() {
        let (tickets, clock) = (tickets(), Clock::new());
        let silence: Reason = Unavailable::Kdc("nobody there".to_owned()).into();
        assert!(tickets.get(&key("alice"), &clock, async { Ok(ticket("alice")) }).await.is_ok());
        assert_eq!(tickets.get(&key("bob"), &clock, async { Err(silence.clone()) }).await.err(), Some(silence.clone()));
        for user in ["bob", "carol"] {
            let got = tickets.get(&key(user), &clock, async { panic!("nobody is asked") }).await;
            assert_eq!(got.err(), Some(silence.clone()), "{user}");
        }
        // Who has a ticket has it.
        assert!(tickets.get(&key("alice"), &clock, async { panic!("nobody is asked") }).await.is_ok());
        clock.goes_on(6);
        assert!(tickets.get(&key("bob"), &clock, async { Ok(ticket("bob")) }).await.is_ok());

        assert_eq!(tickets.get(&key("dave"), &clock, async { Err(refusal()) }).await.err(), Some(refusal()));
        let got = tickets.get(&key("dave"), &clock, async { panic!("nobody is asked") }).await;
        assert_eq!(got.err(), Some(refusal()));
        // That one is refused is nobody else's affair.
        assert!(tickets.get(&key("erin"), &clock, async { Ok(ticket("erin")) }).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_a_kdc_ends() {
        let (tickets, clock) = (tickets(), Clock::new());
        let got = tickets.get(&key("alice"), &clock, core::future::pending()).await;
        assert!(matches!(got, Err(Reason::Unavailable(Unavailable::Kdc(_)))));
    }

    #[tokio::test]
    async fn a_request_that_is_given_up_leaves_its_turn_to_the_next() {
        let (tickets, clock) = (tickets(), Clock::new());
        let waiting = key("alice");
        let mut given_up = Box::pin(tickets.get(&waiting, &clock, core::future::pending()));
        assert!(futures_poll(&mut given_up).await.is_none());
        drop(given_up);
        assert!(tickets.get(&key("alice"), &clock, async { Ok(ticket("alice")) }).await.is_ok());
    }

    async fn futures_poll<T>(future: &mut (impl Future<Output = T> + Unpin)) -> Option<T> {
        core::future::poll_fn(|context| match core::pin::Pin::new(&mut *future).poll(context) {
            core::task::Poll::Ready(value) => core::task::Poll::Ready(Some(value)),
            core::task::Poll::Pending => core::task::Poll::Ready(None),
        })
        .await
    }

    #[tokio::test]
    async fn the_number_of_tickets_is_bounded() {
        let (tickets, clock) = (Tickets::new(10, Duration::from_secs(10)), Clock::new());
        for number in 0..1000 {
            let user = format!("user{number}");
            let got = tickets.get(&key(&user), &clock, async { Ok(ticket(&user)) }).await.expect("a ticket");
            assert_eq!(got.service.client, Principal::user(&user, "EXAMPLE.TEST"));
            assert!(lock(&tickets.slots).len() <= 10);
        }
    }

    #[tokio::test]
    async fn a_ticket_that_is_not_taken_is_got_again_and_not_at_every_refusal() {
        let (tickets, clock) = (tickets(), Clock::new());
        let first = tickets.get(&key("alice"), &clock, async { Ok(ticket("alice")) }).await.expect("a ticket");
        tickets.forget(&key("alice"), &first, clock.now());
        assert!(tickets.get(&key("alice"), &clock, async { panic!("it is new") }).await.is_ok());
        clock.goes_on(61);
        tickets.forget(&key("alice"), &first, clock.now());
        let second = tickets.get(&key("alice"), &clock, async { Ok(ticket("alice")) }).await.expect("a ticket");
        assert!(!Arc::ptr_eq(&first, &second));
    }
}
