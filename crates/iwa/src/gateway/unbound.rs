//! Who would be kept out: `token-checking = "report"` counts the clients that `"require"` would refuse.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use http::HeaderMap;
use http::header::USER_AGENT;
use iwa_auth::Mechanism;
use iwa_wire::explain::printable;

/// Clients that signed in without channel bindings, since the server was started.
#[derive(Debug, Default)]
pub(crate) struct Unbound {
    all: AtomicU64,
    /// By mechanism and user agent.
    seen: Mutex<BTreeMap<(&'static str, String), u64>>,
}

impl Unbound {
    /// Counts one, and says what the log is told of it. The operator is told of each kind of client once, and then each time
    /// there are ten times as many.
    pub(crate) fn count(&self, mechanism: Mechanism, headers: &HeaderMap) -> (u64, String) {
        let all = self.all.fetch_add(1, Ordering::Relaxed) + 1;
        let agent = headers.get(USER_AGENT).map_or_else(
            || "a client without a name".to_owned(),
            |agent| {
                let text: String = String::from_utf8_lossy(agent.as_bytes()).chars().take(LONGEST).collect();
                printable(&text)
            },
        );
        let mechanism = match mechanism {
            Mechanism::Kerberos => "Kerberos",
            Mechanism::Ntlm => "NTLM",
            Mechanism::Basic => "Basic",
        };
        let times = {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let key = (mechanism, agent.clone());
            if seen.len() >= MOST_KINDS && !seen.contains_key(&key) {
                // Whoever makes up names is counted, and not told of.
                None
            } else {
                let times = seen.entry(key).or_default();
                *times += 1;
                Some(*times)
            }
        };
        if let Some(times) = times.filter(|times| is_power_of_ten(*times)) {
            tracing::warn!(
                times,
                "extended protection: {agent} signs in with {mechanism} and without channel bindings; token-checking = \
                 \"require\" would refuse it"
            );
        }
        let note =
            format!("no channel bindings from {agent} with {mechanism}: token-checking = \"require\" would refuse it");
        (all, note)
    }
}

fn is_power_of_ten(number: u64) -> bool {
    number.checked_ilog10().and_then(|digits| 10u64.checked_pow(digits)) == Some(number)
}

/// Kinds of clients that are told apart.
const MOST_KINDS: usize = 512;

/// Characters of a user agent.
const LONGEST: usize = 160;

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn clients_are_counted_and_their_names_cannot_forge_a_line() {
        let unbound = Unbound::default();
        let mut headers = HeaderMap::new();
        assert_eq!(unbound.count(Mechanism::Kerberos, &headers).0, 1);
        headers.insert(USER_AGENT, HeaderValue::from_bytes(b"curl/8\xff\t\xc2\x85x").expect("a value"));
        let (all, note) = unbound.count(Mechanism::Ntlm, &headers);
        assert_eq!(all, 2);
        assert!(note.contains("curl/8") && note.contains("NTLM") && !note.chars().any(char::is_control), "{note}");
    }

    #[test]
    fn made_up_names_do_not_fill_the_memory() {
        let unbound = Unbound::default();
        for number in 0..2 * MOST_KINDS {
            let agent = HeaderValue::from_str(&format!("{number}{}", "x".repeat(4096))).expect("a value");
            unbound.count(Mechanism::Ntlm, &HeaderMap::from_iter([(USER_AGENT, agent)]));
        }
        let seen = unbound.seen.lock().expect("not poisoned");
        assert_eq!(seen.len(), MOST_KINDS);
        assert!(seen.keys().all(|(_, agent)| agent.len() <= LONGEST));
        assert_eq!(unbound.all.load(Ordering::Relaxed), 2 * MOST_KINDS as u64);
    }

    #[test]
    fn powers_of_ten() {
        assert!([1, 10, 1000].into_iter().all(is_power_of_ten));
        assert!(![0, 2, 11, 999].into_iter().any(is_power_of_ten));
    }
}
