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
