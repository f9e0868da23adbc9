//! One search for domain controllers: what DNS or the configuration lists, pinged side by side. MS-ADTS 6.3.6.1, 6.3.6.2.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use super::report::{About, Candidate, Outcome, Question, Report};
use super::{Inner, Patience};
use crate::dns::{DnsError, Resolve, in_order};
use crate::kdc_server::SystemEntropy;
use crate::ldap_ping::{NoPong, Pong, by_tcp, by_udp, is_host_name};

/// A search under way.
pub(super) struct Search<'a> {
    inner: &'a Inner,
    /// The site whose controllers are asked for.
    site: Option<String>,
    report: Report,
}

impl<'a> Search<'a> {
    /// `site` is the one in which this machine was when somebody last looked.
    pub(super) fn of(inner: &'a Inner, site: Option<String>) -> Self {
        let report = Report {
            domain: inner.domain.clone(),
            dns: inner.resolver.source(),
            questions: Vec::new(),
            candidates: Vec::new(),
            about: None,
        };
        Self { inner, site: inner.site.clone().or(site), report }
    }

    pub(super) async fn run(mut self) -> Report {
        if self.inner.servers.is_empty() {
            let site = self.site.clone();
            let local = async {
                match &site {
                    Some(site) => self.ask(Some(site)).await,
                    None => None,
                }
            };
            let (local, everywhere) = tokio::join!(local, self.ask(None));
            for question in local.into_iter().chain(everywhere) {
                self.take(question, false);
            }
        } else {
            let servers = self.inner.servers.iter();
            self.report.candidates = servers.map(|server| Candidate::new(server.host.clone(), server.ports)).collect();
        }
        self.ping().await;
        self.ask_the_site().await;
        self.report
    }

    /// `None` if the name of the site cannot stand in the DNS.
    async fn ask(&self, site: Option<&str>) -> Option<Question> {
        let domain = &self.inner.domain;
        let name = match site {
            Some(site) if !is_host_name(site) => return None,
            Some(site) => format!("_ldap._tcp.{site}._sites.dc._msdcs.{domain}"),
            None => format!("_ldap._tcp.dc._msdcs.{domain}"),
        };
        let answer = self.inner.resolver.services(&name).await;
        Some(Question { name, answer: answer.map(|services| in_order(services, &mut SystemEntropy)) })
    }

    /// Makes candidates of an answer; they come before the others, or after them. Those that are there already are not
    /// asked twice.
    fn take(&mut self, question: Question, first: bool) {
        let mut new = Vec::new();
        for srv in question.answer.iter().flatten() {
            // Without a target the service is decidedly not there (RFC 2782).
            if srv.port == 0 || !is_host_name(&srv.target) {
                continue;
            }
            let same = |candidate: &Candidate| {
                candidate.name.eq_ignore_ascii_case(&srv.target) && candidate.ports.ldap == srv.port
            };
            let known = self.report.candidates.iter().position(same);
            match known {
                Some(at) if first => new.push(self.report.candidates.remove(at)),
                Some(_) => {}
                None if new.iter().any(same) => {}
                None => {
                    let ports = crate::controller::Ports { ldap: srv.port, ..Default::default() };
                    new.push(Candidate::new(srv.target.to_lowercase(), ports));
                }
            }
        }
        if first {
            new.append(&mut self.report.candidates);
            self.report.candidates = new;
        } else {
            self.report.candidates.append(&mut new);
        }
        self.report.questions.push(question);
    }

    /// A controller has said in which site this machine is: those of that site come first, and are asked now.
    async fn ask_the_site(&mut self) {
        let Some(about) = &self.report.about else { return };
        let new = about.client_site.clone().filter(|site| self.site.as_ref() != Some(site));
        let everybody_answered = self.report.candidates.iter().all(|candidate| candidate.pong().is_some());
        let Some(site) = new.filter(|_| self.inner.site.is_none() && self.inner.servers.is_empty()) else { return };
        if everybody_answered {
            return;
        }
        if let Some(question) = self.ask(Some(&site)).await {
            self.take(question, true);
            self.ping().await;
        }
    }

    /// Pings those that have not been pinged, as many at a time as a network bears, until some answer.
    async fn ping(&mut self) {
        let pending = |search: &Self| {
            let candidates = search.report.candidates.iter().enumerate();
            let pending = candidates.filter(|(_, candidate)| matches!(candidate.outcome, Outcome::Pending));
            pending.map(|(index, _)| index).take(AT_A_TIME).collect::<Vec<_>>()
        };
        for _ in 0..BATCHES {
            let indices = pending(self);
            if indices.is_empty() || self.visit(&indices, false).await {
                break;
            }
        }
        if self.report.about.is_none() {
            let candidates = self.report.candidates.iter().enumerate();
            let silent =
                candidates.filter(|(_, candidate)| matches!(candidate.outcome, Outcome::No(NoPong::Silent(_))));
            let silent: Vec<_> = silent.map(|(index, _)| index).take(AT_A_TIME).collect();
            self.visit(&silent, true).await;
        }
    }

    /// Pings these, side by side, and says whether one answered.
    async fn visit(&mut self, indices: &[usize], over_tcp: bool) -> bool {
        let patience = self.inner.patience;
        let (say, mut heard) = unbounded_channel();
        let mut visits = JoinSet::new();
        for (n, &index) in indices.iter().enumerate() {
            let Some(candidate) = self.report.candidates.get(index) else { continue };
            let visit = Visit {
                index,
                name: candidate.name.clone(),
                port: candidate.ports.ldap,
                domain: self.inner.domain.clone(),
                resolver: Arc::clone(&self.inner.resolver),
                patience,
                over_tcp,
                say: say.clone(),
            };
            let delay = patience.stagger * u32::try_from(n).unwrap_or(u32::MAX);
            visits.spawn(visit.run(delay));
        }
        drop(say);
        // When one has answered before, these are asked for their nearness alone.
        let mut end = self.report.about.is_some().then(|| Instant::now() + patience.again);
        let mut answered = false;
        loop {
            let next = match end {
                // One has answered: who answers much later is not near.
                Some(end) => timeout_at(end, heard.recv()).await.ok().flatten(),
                None => heard.recv().await,
            };
            let Some(Seen { index, addresses, outcome }) = next else { break };
            let Some(candidate) = self.report.candidates.get_mut(index) else { continue };
            candidate.addresses = addresses;
            match (outcome, &mut candidate.outcome) {
                // Over UDP and then over TCP: both are worth telling.
                (Some(Outcome::No(NoPong::Silent(now))), Outcome::No(NoPong::Silent(before))) if over_tcp => {
                    before.push_str(", ");
                    before.push_str(&now);
                }
                (Some(outcome), before) => *before = outcome,
                (None, _) => {}
            }
            if let Some(pong) = candidate.pong() {
                answered = true;
                end.get_or_insert_with(|| Instant::now() + patience.grace);
                let about = About {
                    dns: pong.answer.dns_domain_name.to_lowercase(),
                    netbios: pong.answer.netbios_domain_name.clone(),
                    forest: pong.answer.dns_forest_name.to_lowercase(),
                    guid: pong.answer.domain_guid,
                    client_site: Some(pong.answer.client_site_name.clone()).filter(|site| !site.is_empty()),
                };
                self.report.about.get_or_insert(about);
            }
        }
        for &index in indices {
            if let Some(Candidate { outcome: outcome @ Outcome::Pending, .. }) = self.report.candidates.get_mut(index) {
                *outcome = Outcome::Late;
            }
        }
        answered
    }
}

/// Going to one candidate.
struct Visit {
    index: usize,
    name: String,
    port: u16,
    domain: String,
    resolver: Arc<dyn Resolve>,
    patience: Patience,
    over_tcp: bool,
    say: UnboundedSender<Seen>,
}

/// What was seen there: addresses first, then what became of the ping.
struct Seen {
    index: usize,
    addresses: Vec<IpAddr>,
    outcome: Option<Outcome>,
}

impl Visit {
    async fn run(self, delay: Duration) {
        sleep(delay).await;
        let mut addresses = self.resolver.addresses(&self.name).await;
        if addresses.is_err() && !self.name.contains(['.', ':']) {
            // Somebody wrote `dc1`: in the domain, most likely.
            let whole = format!("{}.{}", self.name, self.domain);
            addresses = self.resolver.addresses(&whole).await.or(addresses);
        }
        let addresses = match addresses {
            Ok(addresses) if !addresses.is_empty() => addresses,
            Ok(_) => return self.say(Vec::new(), Some(Outcome::NoAddress(DnsError::NoRecords))),
            Err(error) => return self.say(Vec::new(), Some(Outcome::NoAddress(error))),
        };
        self.say(addresses.clone(), None);
        let (addresses, outcome) = self.ping(addresses).await;
        self.say(addresses, Some(outcome));
    }

    fn say(&self, addresses: Vec<IpAddr>, outcome: Option<Outcome>) {
        // Nobody listens any more when others answered long ago.
        let _ = self.say.send(Seen { index: self.index, addresses, outcome });
    }

    /// All addresses at once, of both families: which of them the network carries shows by who answers.
    async fn ping(&self, addresses: Vec<IpAddr>) -> (Vec<IpAddr>, Outcome) {
        let mut pings = JoinSet::new();
        for &address in &addresses {
            let (to, domain) = (SocketAddr::new(address, self.port), self.domain.clone());
            let (wait, again, over_tcp) = (self.patience.ping, self.patience.again, self.over_tcp);
            pings.spawn(async move {
                let pong =
                    if over_tcp { by_tcp(to, &domain, wait).await } else { by_udp(to, &domain, wait, again).await };
                (address, pong)
            });
        }
        let (mut answered, mut refused) = (Vec::new(), Vec::new());
        let mut found: Option<Pong> = None;
        let mut why: Option<NoPong> = None;
        let mut end = None;
        loop {
            let next = match end {
                Some(end) => timeout_at(end, pings.join_next()).await.ok().flatten(),
                None => pings.join_next().await,
            };
            match next {
                Some(Ok((address, Ok(pong)))) => {
                    answered.push(address);
                    found.get_or_insert(pong);
                    end.get_or_insert_with(|| Instant::now() + self.patience.grace / 2);
                }
                Some(Ok((address, Err(no)))) => {
                    if matches!(no, NoPong::Refused(_)) {
                        refused.push(address);
                    }
                    // What somebody said is worth more than silence.
                    if !matches!(why, Some(NoPong::Refused(_))) {
                        why = Some(no);
                    }
                }
                Some(Err(_)) => {}
                None => break,
            }
        }
        match found {
            Some(pong) => {
                let others =
                    addresses.into_iter().filter(|other| !answered.contains(other) && !refused.contains(other));
                let others: Vec<_> = others.collect();
                answered.extend(others);
                (answered, Outcome::Answered(Box::new(pong)))
            }
            None => {
                let why = why.unwrap_or_else(|| NoPong::Silent("it could not be asked".to_owned()));
                (addresses, Outcome::No(why))
            }
        }
    }
}

/// How many are asked side by side.
const AT_A_TIME: usize = 16;

/// How often so many are asked before a search is given up.
const BATCHES: usize = 4;
