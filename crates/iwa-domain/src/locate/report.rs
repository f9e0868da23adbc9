//! What was seen while looking for domain controllers, for the list and for people. MS-ADTS 6.3.6.

use std::net::IpAddr;

use iwa_wire::netlogon_ping::DsFlags;

use crate::controller::{Controller, Ports};
use crate::dns::{DnsError, Srv};
use crate::ldap_ping::{NoPong, Pong, is_host_name};

/// One search, whole.
#[derive(Clone, Debug)]
pub struct Report {
    /// The domain that was looked for.
    pub domain: String,
    /// Which DNS was asked, in words.
    pub dns: String,
    /// What was asked of it about services, in this order. Nothing where controllers are configured.
    pub questions: Vec<Question>,
    /// Whoever may be a controller, those that DNS or the configuration wants to be asked first first.
    pub candidates: Vec<Candidate>,
    /// What the domain is called; `None` if no controller answered.
    pub about: Option<About>,
}

/// A question to the DNS about a service.
#[derive(Clone, Debug)]
pub struct Question {
    /// The name that was asked for.
    pub name: String,
    /// The records, in the order in which they are to be asked.
    pub answer: Result<Vec<Srv>, DnsError>,
}

/// Whoever may be a domain controller.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// As DNS or the configuration calls it.
    pub name: String,
    /// Where its services listen.
    pub ports: Ports,
    /// Where it is, addresses that answered first.
    pub addresses: Vec<IpAddr>,
    /// What became of the ping.
    pub outcome: Outcome,
}

/// What became of a ping.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Others answered before it was asked.
    Pending,
    /// Others answered before it did.
    Late,
    /// Its name has no address.
    NoAddress(DnsError),
    /// It did not answer, or not as a controller of the domain does.
    No(NoPong),
    /// It answered.
    Answered(Box<Pong>),
}

/// What a domain is called, as one of its controllers has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct About {
    /// The DNS name, in lower case.
    pub dns: String,
    /// The NetBIOS name.
    pub netbios: String,
    /// The DNS name of the forest's root domain, in lower case.
    pub forest: String,
    /// The domain's GUID, as it stands in memory.
    pub guid: [u8; 16],
    /// The site this machine is in; `None` if no subnet of the directory holds its address.
    pub client_site: Option<String>,
}

impl Candidate {
    pub(super) const fn new(name: String, ports: Ports) -> Self {
        Self { name, ports, addresses: Vec::new(), outcome: Outcome::Pending }
    }

    /// Its answer, if it gave one.
    #[must_use]
    pub const fn pong(&self) -> Option<&Pong> {
        match &self.outcome {
            Outcome::Answered(pong) => Some(pong),
            _ => None,
        }
    }

    /// As a controller that can be asked: by the name that it gave itself, else by the one that is listed.
    fn controller(&self) -> Option<Controller> {
        let host = match &self.outcome {
            Outcome::Answered(pong) => pong.answer.dns_host_name.as_str(),
            // Silent now, and known by a name: it may be back when the others are gone.
            Outcome::Pending | Outcome::Late | Outcome::No(NoPong::Silent(_)) => self.name.as_str(),
            Outcome::NoAddress(_) | Outcome::No(NoPong::Refused(_)) => return None,
        };
        let named = is_host_name(host) && host.parse::<IpAddr>().is_err() && !self.addresses.is_empty();
        named.then(|| Controller { host: host.to_lowercase(), addresses: self.addresses.clone(), ports: self.ports })
    }
}

impl Report {
    /// The controllers in the order in which they are to be asked: those that answered, of the own site before others and
    /// writable before read-only where nobody configured an order; then those that did not answer. None if nobody did.
    #[must_use]
    pub fn controllers(&self) -> Vec<Controller> {
        if self.about.is_none() {
            return Vec::new();
        }
        let mut candidates: Vec<_> = self.candidates.iter().collect();
        candidates.sort_by_key(|candidate| match candidate.pong() {
            Some(pong) if !self.questions.is_empty() => {
                let is = |flag| pong.answer.flags.has(flag);
                (false, !is(DsFlags::CLOSEST), !is(DsFlags::WRITABLE))
            }
            answered => (answered.is_none(), false, false),
        });
        let mut controllers: Vec<Controller> = Vec::new();
        for controller in candidates.into_iter().filter_map(Candidate::controller) {
            match controllers.iter_mut().find(|known| known.host == controller.host) {
                Some(known) => {
                    let new = controller.addresses.into_iter().filter(|address| !known.addresses.contains(address));
                    let new: Vec<_> = new.collect();
                    known.addresses.extend(new);
                }
                None => controllers.push(controller),
            }
        }
        controllers
    }

    /// Why there is none, and what to do; for whoever administers the machine. Empty if there are some.
    #[must_use]
    pub fn advice(&self) -> String {
        if self.about.is_some() {
            return String::new();
        }
        let domain = &self.domain;
        if self.candidates.is_empty() {
            let asked = self.questions.iter().map(|question| match &question.answer {
                Ok(_) => format!("{} (its record says that there is none)", question.name),
                Err(error) => format!("{} ({error})", question.name),
            });
            let asked: Vec<_> = asked.collect();
            return format!(
                "no domain controller of {domain} is found. Asked the DNS server {} for the SRV record {}. \
                 Let /etc/resolv.conf (or `dns` under [[domain]], or --dns) name a DNS server that knows the domain, or name \
                 its controllers: `servers = [\"dc1.{domain}\"]` under [[domain]], or --server dc1.{domain}",
                self.dns,
                asked.join(", ")
            );
        }
        let each = self.candidates.iter().map(|candidate| match &candidate.outcome {
            Outcome::Pending => format!("{}: not asked", candidate.name),
            Outcome::NoAddress(error) => format!("{}: it has no address ({error})", candidate.name),
            Outcome::No(why) => {
                let addresses: Vec<_> = candidate.addresses.iter().map(IpAddr::to_string).collect();
                match addresses.as_slice() {
                    [one] if *one == candidate.name => format!("{}: {why}", candidate.name),
                    _ => format!("{} ({}): {why}", candidate.name, addresses.join(", ")),
                }
            }
            Outcome::Late | Outcome::Answered(_) => candidate.name.clone(),
        });
        let mut each: Vec<_> = each.take(SHOWN).collect();
        if self.candidates.len() > SHOWN {
            each.push(format!("and {} more", self.candidates.len() - SHOWN));
        }
        let any = |is: fn(&Outcome) -> bool| self.candidates.iter().any(|candidate| is(&candidate.outcome));
        let mut todo = Vec::new();
        if any(|outcome| matches!(outcome, Outcome::No(NoPong::Silent(_)))) {
            todo.push("is it running, and does every firewall between let LDAP through, UDP and TCP port 389?");
        }
        if any(|outcome| matches!(outcome, Outcome::No(NoPong::Refused(_)))) {
            todo.push("is the domain's name right, and are these its controllers?");
        }
        if any(|outcome| matches!(outcome, Outcome::NoAddress(_))) {
            todo.push("does the DNS server know the domain's hosts, or /etc/hosts?");
        }
        format!("no domain controller of {domain} answers. {}. Check: {}", each.join("; "), todo.join(" "))
    }
}

/// How many controllers a person is told about.
const SHOWN: usize = 8;
