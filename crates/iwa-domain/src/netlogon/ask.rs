//! Who is asked, and when the next one is: one controller, the next beside it if it is slow, a cap on all of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use iwa_auth::netlogon::logon::{self, LogonProblem};
use iwa_auth::ports::{LogonError, LogonInfo, NetworkLogon};
use iwa_auth::{NtStatus, Secret};
use iwa_wire::netlogon::opnum;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::dc::{Dc, Failure};
use super::{CheckedWith, Inner};

impl Inner {
    /// Verifies an NTLM response.
    pub(super) async fn logon(self: &Arc<Self>, logon: &NetworkLogon) -> Result<LogonInfo, LogonError> {
        let _inside = Inside::enter(self)?;
        let deadline = Instant::now() + self.config.patience;
        let _place = match timeout_at(deadline, self.places.acquire()).await {
            Ok(Ok(place)) => place,
            Ok(Err(_)) | Err(_) => return Err(self.unavailable(format!(
                "{} logons are on their way already, and none of them came to its end in {} ms: the domain controllers \
                 are too slow for so many",
                self.config.in_flight,
                self.config.patience.as_millis()
            ))),
        };
        let mut stub = Vec::with_capacity(512 + logon.nt_response.len());
        logon::request(&self.member(), logon, &mut stub);
        self.race(stub.into(), deadline).await
    }

    /// Asks one controller, the next one beside it whenever it has been silent for a while, and takes the first answer.
    async fn race(self: &Arc<Self>, stub: Arc<[u8]>, deadline: Instant) -> Result<LogonInfo, LogonError> {
        let mut next = self.order().await.map_err(|why| self.unavailable(why))?.into_iter();
        let mut running = JoinSet::new();
        let mut asked: Vec<Arc<Dc>> = Vec::new();
        let mut failures: Vec<(String, Failure)> = Vec::new();
        let mut ask = |running: &mut JoinSet<_>, asked: &mut Vec<Arc<Dc>>| {
            let Some(dc) = next.next() else { return false };
            asked.push(Arc::clone(&dc));
            let (inner, stub) = (Arc::clone(self), Arc::clone(&stub));
            running.spawn(async move {
                let answer = inner.one(&dc, &stub).await;
                (dc, answer)
            });
            true
        };
        let begun = Instant::now();
        ask(&mut running, &mut asked);
        let mut hedge = begun + self.config.hedge;
        let mut more = true;
        loop {
            tokio::select! {
                done = running.join_next() => {
                    let (dc, answer) = match done {
                        Some(Ok(done)) => done,
                        // Nobody is asked any more, and there is nobody left.
                        None => return Err(self.unavailable(in_words(&failures))),
                        Some(Err(error)) => {
                            return Err(self.unavailable(format!("the logon ended unexpectedly: {error}")));
                        }
                    };
                    match answer {
                        Ok(answer) => {
                            self.answered(&dc, &asked, &failures, begun);
                            return answer;
                        }
                        Err(failure) => {
                            self.failed(&dc, &failure);
                            failures.push((dc.controller.host.clone(), failure));
                            more = ask(&mut running, &mut asked);
                            hedge = Instant::now() + self.config.hedge;
                        }
                    }
                }
                () = sleep_until(hedge), if more => {
                    more = ask(&mut running, &mut asked);
                    hedge = Instant::now() + self.config.hedge;
                }
                () = sleep_until(deadline) => {
                    let silent = format!("no answer in {} ms", self.config.patience.as_millis());
                    for dc in &asked {
                        if !failures.iter().any(|(host, _)| *host == dc.controller.host) {
                            let failure = Failure::Gone(silent.clone());
                            if !dc.answered_since(begun) {
                                self.failed(dc, &failure);
                            }
                            failures.push((dc.controller.host.clone(), failure));
                        }
                    }
                    return Err(self.unavailable(in_words(&failures)));
                }
            }
        }
    }

    /// Asks one controller. The outer error is the controller's, the inner one is for the client.
    async fn one(&self, dc: &Dc, stub: &[u8]) -> Result<Result<LogonInfo, LogonError>, Failure> {
        let read = |stub: &[u8]| logon::answer(stub, self.config.local.as_ref());
        let denied =
            |stub: &[u8]| matches!(read(stub), Err(LogonProblem::Machine(status)) if status == NtStatus::ACCESS_DENIED);
        let answer = dc.call(self, opnum::LOGON_SAM_LOGON_EX, stub, denied).await?;
        match read(&answer) {
            Ok(info) => Ok(Ok(info)),
            Err(LogonProblem::Refused(status)) => Ok(Err(LogonError::Refused(status))),
            Err(LogonProblem::Undecided(status)) => Err(Failure::Undecided(status)),
            Err(problem @ LogonProblem::Machine(_)) => Err(Failure::Refused(problem.to_string())),
            // Another controller of the domain would say the same of this user; it is well otherwise.
            Err(problem @ LogonProblem::Unbelievable(_)) => {
                let host = &dc.controller.host;
                Ok(Err(self.unavailable(format!("{host}: {problem}"))))
            }
            Err(problem @ LogonProblem::Malformed(_)) => Err(Failure::Gone(problem.to_string())),
        }
    }

    /// The controllers in the order in which they are to be asked: the one that answered last, then as they are listed; those
    /// that rest come last, and if all of them rest, nobody is asked.
    async fn order(&self) -> Result<Vec<Arc<Dc>>, String> {
        // Whoever is known already is asked, if those who know the controllers are slow themselves.
        let listed = match timeout(self.config.hedge, self.controllers.list()).await {
            Ok(listed) => listed?,
            Err(_) => {
                let known = self.known();
                let before: Vec<_> = known.all.values().map(|dc| dc.controller.clone()).collect();
                if before.is_empty() {
                    return Err(format!(
                        "who its domain controllers are was not found out in {} ms: see that DNS answers",
                        self.config.hedge.as_millis()
                    ));
                }
                before.into()
            }
        };
        let mut all: Vec<Arc<Dc>> = {
            let mut known = self.known();
            known.all.retain(|host, _| listed.iter().any(|controller| controller.host == *host));
            let mut all = Vec::with_capacity(listed.len());
            for controller in listed.iter() {
                let host = &controller.host;
                let known_as = known.all.get(host).filter(|dc| dc.controller == *controller).map(Arc::clone);
                let dc = known_as.unwrap_or_else(|| Arc::new(Dc::new(controller.clone())));
                known.all.insert(host.clone(), Arc::clone(&dc));
                if known.chosen.as_ref() == Some(host) { all.insert(0, dc) } else { all.push(dc) }
            }
            all
        };
        let mut why: Vec<String> = Vec::new();
        let (mut awake, mut resting) = (Vec::with_capacity(all.len()), Vec::new());
        for dc in all.drain(..) {
            match dc.resting(self) {
                None => awake.push(dc),
                Some(reason) => {
                    why.push(format!("{}: {reason}", dc.controller));
                    resting.push(dc);
                }
            }
        }
        if awake.is_empty() {
            return Err(format!("{} (asked a moment ago, and asked again soon)", why.join("; ")));
        }
        awake.append(&mut resting);
        Ok(awake)
    }

    /// It answered: it is asked first from now on, if who was asked before it is slow or gone.
    fn answered(&self, dc: &Arc<Dc>, asked: &[Arc<Dc>], failures: &[(String, Failure)], begun: Instant) {
        let host = &dc.controller.host;
        if dc.answered() {
            tracing::info!(controller = %host, "the domain controller verifies logons again");
        }
        let mut known = self.known();
        if known.chosen.as_ref() == Some(host) {
            return;
        }
        // Somebody slow may have been chosen after all by a logon that was faster.
        known.chosen = Some(host.clone());
        drop(known);
        self.controllers.worked(host);
        let told = |other: &Arc<Dc>| failures.iter().any(|(host, _)| *host == other.controller.host);
        let alive = |other: &Arc<Dc>| Arc::ptr_eq(other, dc) || other.answered_since(begun);
        for slow in asked.iter().filter(|other| !alive(other) && !told(other)) {
            let why = format!("no answer in {} ms, while {host} answered", self.config.hedge.as_millis());
            self.failed(slow, &Failure::Gone(why));
        }
    }

    fn failed(&self, dc: &Arc<Dc>, failure: &Failure) {
        if matches!(failure, Failure::Undecided(_)) {
            return;
        }
        tracing::warn!(controller = %dc.controller, why = %failure, "a domain controller does not verify logons");
        dc.rest(self, failure);
        self.controllers.failed(&dc.controller.host, &failure.to_string());
        let mut known = self.known();
        if known.chosen.as_ref() == Some(&dc.controller.host) {
            known.chosen = None;
        }
    }

    /// Sets the machine's password at the first controller that lets us.
    pub(super) async fn set_password(&self, new: &Secret<String>) -> Result<(), String> {
        let deadline = Instant::now() + 3 * self.config.patience;
        let mut failures = Vec::new();
        for dc in self.order().await? {
            match timeout_at(deadline, dc.set_password(self, new)).await {
                Ok(Ok(Ok(()))) => return Ok(()),
                // Whether it happened nobody knows: another controller must not be told the same a second time.
                Ok(Ok(Err(failure))) => return Err(format!("{}: {failure}", dc.controller)),
                Err(_) => return Err(format!("{}: no answer to the new password", dc.controller)),
                Ok(Err(failure)) => {
                    self.failed(&dc, &failure);
                    failures.push((dc.controller.host.clone(), failure));
                }
            }
        }
        Err(in_words(&failures))
    }

    /// Asks the first controller that answers which password it takes.
    pub(super) async fn check(&self) -> Result<CheckedWith, String> {
        let mut failures = Vec::new();
        for dc in self.order().await? {
            let deadline = Instant::now() + self.config.patience;
            match timeout_at(deadline, dc.check(self)).await {
                Ok(Ok(checked)) => return Ok(checked),
                Ok(Err(failure)) => failures.push((dc.controller.host.clone(), failure)),
                Err(_) => failures.push((dc.controller.host.clone(), Failure::Gone("no answer".to_owned()))),
            }
        }
        Err(in_words(&failures))
    }

    fn unavailable(&self, why: String) -> LogonError {
        let machine = self.membership.machine();
        LogonError::Unavailable(format!("no domain controller of {} verifies the logon: {why}", machine.domain.netbios))
    }
}

fn in_words(failures: &[(String, Failure)]) -> String {
    let words: Vec<_> = failures.iter().map(|(host, failure)| format!("{host}: {failure}")).collect();
    words.join("; ")
}

/// Counts whoever is inside: on the way, or waiting for a place.
struct Inside<'a>(&'a AtomicUsize);

impl<'a> Inside<'a> {
    fn enter(inner: &'a Inner) -> Result<Self, LogonError> {
        let limit = inner.config.in_flight + inner.config.waiting;
        let before = inner.inside.fetch_add(1, Ordering::AcqRel);
        let inside = Self(&inner.inside);
        if before < limit {
            return Ok(inside);
        }
        Err(inner.unavailable(format!(
            "{before} logons wait already, and more would flood the domain controllers; if this is no attack, raise the \
             number of logons in flight"
        )))
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
