//! What is counted, in the text format that Prometheus reads. OpenMetrics 1.0, Prometheus naming practices.
//!
//! Whatever a request counts is a counter that was looked up when the server started: a request adds to atomics, and takes no
//! lock. Only a refusal looks its reason up. No label comes from a client, so that nobody can make the series grow.

use core::fmt::Write as _;
use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwapOption;
use iwa_auth::ports::{Answer, Logon, LogonError, LogonInfo, NetworkLogon, PasswordVerified};
use iwa_auth::{Mechanism, Secret};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::exchange::{Audit, Exchange, Proved};

/// The counters of a server. They live as long as the process.
pub(crate) struct Metrics {
    registry: Registry,
    /// By mechanism, by what it was proved, by the first digit of the status.
    requests: [[[Counter; CLASSES]; PROVED.len()]; MECHANISMS.len()],
    /// By mechanism.
    seconds: [Histogram; MECHANISMS.len()],
    refusals: Family<Why, Counter>,
    unbound: Counter,
    multiplexed: Counter,
    logons: Family<Outcome, Counter>,
    logon_seconds: Histogram,
    /// Why the authority that was asked last could not answer.
    trouble: ArcSwapOption<String>,
    states: States,
}

/// What is looked at when somebody reads the metrics.
#[derive(Clone, Debug, Default)]
struct States {
    connections: Gauge,
    handshakes: Gauge,
    replay_entries: Gauge,
}

/// What the server holds at this moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Now {
    /// Handshakes that wait for their client.
    pub(crate) handshakes: usize,
    /// Authenticators in the replay cache.
    pub(crate) replay_entries: usize,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Labels {
    mechanism: &'static str,
    proof: &'static str,
    status: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Of {
    mechanism: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Why {
    reason: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone)]
struct Buckets;

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(SECONDS)
    }
}

impl Default for Metrics {
    /// All at nothing.
    fn default() -> Self {
        let requests = Family::<Labels, Counter>::default();
        let seconds = Family::<Of, Histogram, Buckets>::new_with_constructor(Buckets);
        let (refusals, logons) = (Family::<Why, Counter>::default(), Family::<Outcome, Counter>::default());
        let (unbound, logon_seconds, states) = (Counter::default(), Buckets.new_metric(), States::default());
        let multiplexed = Counter::default();
        let mut registry = Registry::with_prefix("iwa");
        registry.register("requests", "Requests answered, by how they were signed in", requests.clone());
        registry.register(
            "request_duration_seconds",
            "From a request's head to its answer's head; upstreams and handshakes with domains included",
            seconds.clone(),
        );
        registry.register(
            "refusals",
            "Sign-ins that failed, by reason code (docs/troubleshooting.md)",
            refusals.clone(),
        );
        registry.register(
            "unbound",
            "Sign-ins that extended protection let in and token-checking = \"require\" would not",
            unbound.clone(),
        );
        registry.register(
            "multiplexed_connections",
            "Connections over which a proxy of trusted-proxies sent requests of several clients",
            multiplexed.clone(),
        );
        registry.register("logons", "NTLM responses and passwords that an authority was asked about", logons.clone());
        registry.register("logon_duration_seconds", "How long an authority took to answer", logon_seconds.clone());
        registry.register("connections", "Connections that are open", states.connections.clone());
        registry.register("handshakes_waiting", "Handshakes that wait for their client", states.handshakes.clone());
        registry.register(
            "replay_cache_entries",
            "Kerberos authenticators that are remembered",
            states.replay_entries.clone(),
        );
        let requests = MECHANISMS.map(|mechanism| {
            PROVED.map(|proof| {
                STATUS.map(|status| requests.get_or_create_owned(&Labels { mechanism, proof: proof.name(), status }))
            })
        });
        let seconds = MECHANISMS.map(|mechanism| seconds.get_or_create_owned(&Of { mechanism }));
        Self {
            registry,
            requests,
            seconds,
            refusals,
            unbound,
            multiplexed,
            logons,
            logon_seconds,
            trouble: ArcSwapOption::empty(),
            states,
        }
    }
}

impl Metrics {
    /// An authority answered, or could not be asked.
    fn logon<T>(&self, answer: &Result<T, LogonError>, taken: Duration) {
        let outcome = match answer {
            Ok(_) => "accepted",
            Err(LogonError::Refused(_)) => "refused",
            Err(LogonError::Unavailable(_)) => "unavailable",
        };
        self.logons.get_or_create(&Outcome { outcome }).inc();
        self.logon_seconds.observe(taken.as_secs_f64());
        match answer {
            Err(LogonError::Unavailable(why)) => self.trouble.store(Some(Arc::new(why.clone()))),
            _ if self.trouble.load().is_some() => self.trouble.store(None),
            _ => {}
        }
    }

    /// Why the authority that was asked last could not answer, if that is so.
    pub(crate) fn authority_trouble(&self) -> Option<Arc<String>> {
        self.trouble.load_full()
    }

    /// A connection is open until what this returns is dropped.
    pub(crate) fn connection(&self) -> Open {
        self.states.connections.inc();
        Open(self.states.connections.clone())
    }

    /// Everything as text.
    pub(crate) fn text(&self, now: Now) -> String {
        let set = |gauge: &Gauge, count: usize| gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        set(&self.states.handshakes, now.handshakes);
        set(&self.states.replay_entries, now.replay_entries);
        let mut text = String::new();
        let _ = writeln!(
            text,
            "# HELP iwa_build The version that runs.\n# TYPE iwa_build gauge\niwa_build{{version=\"{}\"}} 1",
            env!("CARGO_PKG_VERSION")
        );
        // Writing to a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    fn record(&self, exchange: &Exchange<'_>) {
        let mechanism = match exchange.identity.map(|identity| identity.mechanism()) {
            None => 0,
            Some(Mechanism::Kerberos) => 1,
            Some(Mechanism::Ntlm) => 2,
            Some(Mechanism::Basic) => 3,
        };
        let class = usize::from(exchange.status.http.as_u16() / 100).clamp(1, CLASSES) - 1;
        let counter =
            self.requests.get(mechanism).and_then(|proved_by| proved_by.get(exchange.proved.place())?.get(class));
        if let Some(counter) = counter {
            counter.inc();
        }
        if let Some(seconds) = self.seconds.get(mechanism) {
            seconds.observe(exchange.taken.as_secs_f64());
        }
        if let Some(reason) = exchange.reason {
            self.refusals.get_or_create(&Why { reason: reason.code() }).inc();
        }
        if exchange.unbound.is_some() {
            self.unbound.inc();
        }
    }
}

impl Metrics {
    /// Counts a connection over which several clients came; how many by now.
    pub(crate) fn multiplexed(&self) -> u64 {
        self.multiplexed.inc() + 1
    }
}

/// A connection that is counted.
pub(crate) struct Open(Gauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// An audit that is counted on its way to the logs.
pub(crate) struct Counted {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) logs: Arc<dyn Audit>,
}

impl Audit for Counted {
    fn record(&self, exchange: &Exchange<'_>) {
        self.metrics.record(exchange);
        self.logs.record(exchange);
    }
}

/// Authorities that are counted.
pub(crate) struct Metered<L> {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) logons: L,
}

impl<L: Logon> Logon for Metered<L> {
    fn network<'a>(&'a self, logon: &'a NetworkLogon) -> Answer<'a, Result<LogonInfo, LogonError>> {
        Box::pin(async {
            let begun = Instant::now();
            let answer = self.logons.network(logon).await;
            self.metrics.logon(&answer, begun.elapsed());
            answer
        })
    }

    fn password<'a>(
        &'a self,
        domain: &'a str,
        user: &'a str,
        password: &'a Secret<String>,
    ) -> Answer<'a, Result<PasswordVerified, LogonError>> {
        Box::pin(async move {
            let begun = Instant::now();
            let answer = self.logons.password(domain, user, password).await;
            self.metrics.logon(&answer, begun.elapsed());
            answer
        })
    }
}

const MECHANISMS: [&str; 4] = ["none", "Kerberos", "NTLM", "Basic"];
const PROVED: [Proved; Proved::ALL.len()] = Proved::ALL;
const STATUS: [&str; CLASSES] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
const CLASSES: usize = 5;
/// Upper ends of the buckets, in seconds: from a ticket that is verified here to a domain controller that hangs.
const SECONDS: [f64; 12] = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0, 15.0];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_be_known_is_counted_under_its_own_name() {
        for (place, proved) in Proved::ALL.into_iter().enumerate() {
            assert_eq!(proved.place(), place, "{proved:?}");
        }
        let text = Metrics::default().text(Now::default());
        for proof in Proved::ALL.map(Proved::name) {
            assert!(text.contains(&format!("mechanism=\"Kerberos\",proof=\"{proof}\",status=\"2xx\"")), "{text}");
        }
    }
}
