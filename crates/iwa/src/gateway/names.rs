//! Names of a domain's groups that rules speak of, and their SIDs: asked for ahead of need, and never on the way of a request.
//!
//! A rule by name is decided by the group's SID, which is in the identity. The name is resolved when the server starts and when
//! its configuration is read anew, and again every quarter of an hour. A directory that is down changes nothing for a day; a
//! name that was never resolved, or not for so long, leaves the rule undecided, and who needs it is told to come back (503).

use core::time::Duration;
use std::sync::Arc;

use arc_swap::ArcSwap;
use iwa_domain::local::name::same;
use iwa_wire::Sid;
use iwa_wire::explain::printable;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::Gateway;
use super::authorize::Role;
use super::domain::Joined;
use super::identity::groups::Groups;
use super::listen::stopped;
use super::site::Site;
use crate::config::Config;

/// A group of a domain, by name, and what is known of it.
#[derive(Debug)]
pub(crate) struct DomainGroup {
    /// NetBIOS or DNS name.
    pub(crate) domain: String,
    /// `sAMAccountName`.
    pub(crate) name: String,
    known: ArcSwap<Known>,
}

#[derive(Clone, Debug)]
struct Known {
    what: Resolved,
    /// When the directory said so.
    at: Option<Instant>,
}

/// What the directory said of a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Resolved {
    /// Its SID.
    Sid(Sid),
    /// There is none of that name, with the SID that it had while there was.
    Gone(Option<Sid>),
    /// Nothing, and why.
    Unknown(String),
}

impl PartialEq for DomainGroup {
    /// What is known of it is not what it is.
    fn eq(&self, other: &Self) -> bool {
        same(&self.domain, &other.domain) && same(&self.name, &other.name)
    }
}

impl Eq for DomainGroup {}

impl core::fmt::Display for DomainGroup {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}\\{}", printable(&self.domain), printable(&self.name))
    }
}

impl DomainGroup {
    /// A group of which only the name is known.
    pub(crate) fn new(domain: &str, name: &str) -> Self {
        let what = Resolved::Unknown("it was not asked for yet".to_owned());
        Self {
            domain: domain.to_owned(),
            name: name.to_owned(),
            known: ArcSwap::from_pointee(Known { what, at: None }),
        }
    }

    /// What is known now. One atomic load; nothing is asked.
    pub(crate) fn with<T>(&self, see: impl FnOnce(&Resolved) -> T) -> T {
        see(&self.known.load().what)
    }

    /// Takes over what another one knows.
    fn inherit(&self, other: &Self) {
        self.known.store(other.known.load_full());
    }

    fn learn(&self, answer: Result<Option<Sid>, String>, now: Instant) -> Result<(), String> {
        let before = self.known.load_full();
        let what = match answer {
            Ok(Some(sid)) => Resolved::Sid(sid),
            Ok(None) => Resolved::Gone(match before.what {
                Resolved::Sid(sid) => Some(sid),
                Resolved::Gone(last) => last,
                Resolved::Unknown(_) => None,
            }),
            Err(why) => {
                let stands = before.at.is_some_and(|at| now.duration_since(at) < LONGEST_WITHOUT);
                if !stands {
                    self.known.store(Arc::new(Known { what: Resolved::Unknown(why.clone()), at: None }));
                }
                return Err(why);
            }
        };
        if what != before.what {
            match &what {
                Resolved::Sid(sid) => tracing::info!(group = %self, %sid, "the name of a group was resolved"),
                _ => tracing::warn!(
                    group = %self,
                    "the rules name a group that the domain does not have: nobody is allowed by it, and a deny by it that was \
                     never resolved keeps everybody out (503); correct the name"
                ),
            }
        }
        self.known.store(Arc::new(Known { what, at: Some(now) }));
        Ok(())
    }

    /// Whether it is time to ask.
    fn is_due(&self, now: Instant) -> bool {
        let known = self.known.load();
        match (&known.what, known.at) {
            (Resolved::Sid(_), Some(at)) => now.duration_since(at) >= BETWEEN_ASKS,
            (_, Some(at)) => now.duration_since(at) >= BETWEEN_LOOKS_FOR_WHAT_IS_GONE,
            (_, None) => true,
        }
    }
}

/// Every domain's group that the configuration names, once, with what was known before.
pub(crate) fn of_config(config: &Config, before: &[Arc<DomainGroup>]) -> Vec<Arc<DomainGroup>> {
    let roles = config.routes.iter().flat_map(crate::config::Route::all_rules).flat_map(|rule| &rule.roles);
    let of_rules = roles.filter_map(|role| match role {
        Role::InDomain(group) => Some(group),
        _ => None,
    });
    let told = config.routes.iter().filter_map(|route| route.told.groups.as_ref()).flat_map(Groups::of_domains);
    let mut groups: Vec<Arc<DomainGroup>> = Vec::new();
    for group in of_rules.chain(told) {
        if groups.iter().any(|known| Arc::ptr_eq(known, group)) {
            continue;
        }
        if let Some(known) = before.iter().chain(&groups).find(|known| *known == group) {
            group.inherit(known);
        }
        groups.push(Arc::clone(group));
    }
    groups
}

/// Asks for every name that is due. Returns those that could not be resolved, and why.
pub(crate) async fn resolve(groups: &[Arc<DomainGroup>], domains: &[Arc<Joined>]) -> Vec<(Arc<DomainGroup>, String)> {
    let mut failed: Vec<(Arc<DomainGroup>, String)> = Vec::new();
    for group in groups {
        let now = Instant::now();
        if !group.is_due(now) {
            continue;
        }
        let domain = domains.iter().find(|domain| domain.names.is(&group.domain)).or(domains.first());
        let answer = match domain {
            None => Err("there is no [[domain]]".to_owned()),
            Some(domain) => match &domain.directory {
                None => Err(format!("{} has no directory that could be asked", domain.names.dns)),
                // One that did not answer a moment ago is not waited for again and again.
                Some(_) if failed.iter().any(|(other, _)| same(&other.domain, &group.domain)) => continue,
                Some(directory) => match timeout(PATIENCE, directory.sid_of(&group.domain, &group.name)).await {
                    Ok(answer) => answer,
                    Err(_) => Err(format!("no answer within {} seconds", PATIENCE.as_secs())),
                },
            },
        };
        if let Err(why) = group.learn(answer, now) {
            failed.push((Arc::clone(group), why));
        }
    }
    failed
}

/// Resolves the names of a site that is about to be served, so that its first visitors need not come back. A directory that
/// is slow is not waited for long.
pub(crate) async fn at_the_start(site: &Site) {
    if !site.groups.is_empty() {
        let _ = timeout(PATIENCE, resolve(&site.groups, &site.domains)).await;
    }
}

/// Keeps the names of the server's rules resolved, until it stops.
pub(crate) async fn keep(gateway: Arc<Gateway>, mut stop: watch::Receiver<bool>) {
    let mut look = tokio::time::interval(BETWEEN_LOOKS);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut told = Vec::new();
    loop {
        tokio::select! {
            () = stopped(&mut stop) => return,
            _ = look.tick() => {}
        }
        let site = gateway.site();
        let failed = tokio::select! {
            () = stopped(&mut stop) => return,
            failed = resolve(&site.groups, &site.domains) => failed,
        };
        // Once for each reason, not at every look.
        let now: Vec<_> = failed.into_iter().map(|(group, why)| (group.to_string(), why)).collect();
        for (group, why) in now.iter().filter(|problem| !told.contains(*problem)) {
            tracing::warn!(group, why, "the name of a group that the rules speak of cannot be resolved now");
        }
        told = now;
    }
}

/// How often the names are looked through: how long a directory's return may go unseen.
const BETWEEN_LOOKS: Duration = Duration::from_secs(5);

/// How old an answer becomes before it is asked for again.
const BETWEEN_ASKS: Duration = Duration::from_secs(15 * 60);

/// The same for a name that does not exist: somebody may be making the group just now.
const BETWEEN_LOOKS_FOR_WHAT_IS_GONE: Duration = Duration::from_secs(60);

/// How long an answer stands if the directory cannot be asked: a group keeps its SID for life, and a name is rarely given to
/// another.
const LONGEST_WITHOUT: Duration = Duration::from_secs(24 * 3600);

/// For one answer.
const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use iwa_auth::ports::{AccountName, Answer, Directory, LogonError};
    use tokio::time::advance;

    use super::*;
    use crate::config::Route;
    use crate::gateway::authorize::Rule;
    use crate::gateway::domain::tests::{FakeLogon, joined_with};

    /// A directory whose answer is changed by the test.
    struct Fake {
        answer: Mutex<Result<Option<Sid>, String>>,
        asked: AtomicUsize,
    }

    impl Directory for Fake {
        fn sid_of<'a>(&'a self, _: &'a str, _: &'a str) -> Answer<'a, Result<Option<Sid>, String>> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            Box::pin(async { self.answer.lock().expect("not poisoned").clone() })
        }

        fn name_of(&self, _: Sid) -> Answer<'_, Result<Option<AccountName>, String>> {
            Box::pin(async { Ok(None) })
        }
    }

    fn sid(rid: u32) -> Sid {
        format!("S-1-5-21-7-7-7-{rid}").parse().expect("a SID")
    }

    fn what(group: &DomainGroup) -> Resolved {
        group.with(Clone::clone)
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_is_asked_for_ahead_of_need_and_outlives_its_directory_for_a_day() {
        let fake =
            Arc::new(Fake { answer: Mutex::new(Err("no controller answers".into())), asked: AtomicUsize::new(0) });
        let none = FakeLogon::fails(LogonError::Unavailable(String::new()));
        let domains = [joined_with("corp.example.test", "CORP", none, Some(Arc::clone(&fake) as _))];
        let groups = [Arc::new(DomainGroup::new("CORP", "Web Admins")), Arc::new(DomainGroup::new("CORP", "Others"))];
        let set = |answer| *fake.answer.lock().expect("not poisoned") = answer;
        let asked = || fake.asked.swap(0, Ordering::Relaxed);

        // A directory that is down is waited for once a look, not once a name.
        assert_eq!(resolve(&groups, &domains).await.len(), 1);
        assert_eq!((asked(), what(&groups[0])), (1, Resolved::Unknown("no controller answers".into())));

        set(Ok(Some(sid(1100))));
        assert!(resolve(&groups, &domains).await.is_empty());
        assert_eq!((asked(), what(&groups[0])), (2, Resolved::Sid(sid(1100))));
        resolve(&groups, &domains).await;
        assert_eq!(asked(), 0, "what is known is not asked for again");

        // Another group may get the name.
        advance(BETWEEN_ASKS).await;
        set(Ok(Some(sid(1200))));
        resolve(&groups, &domains).await;
        assert_eq!((asked(), what(&groups[0])), (2, Resolved::Sid(sid(1200))));

        set(Err("no controller answers".into()));
        advance(LONGEST_WITHOUT - Duration::from_secs(1)).await;
        assert_eq!(resolve(&groups, &domains).await.len(), 1);
        assert_eq!(what(&groups[0]), Resolved::Sid(sid(1200)), "it stands");
        advance(Duration::from_secs(1)).await;
        resolve(&groups, &domains).await;
        assert_eq!(what(&groups[0]), Resolved::Unknown("no controller answers".into()), "and then no more");
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_that_is_gone_is_remembered_by_its_last_sid() {
        let fake = Arc::new(Fake { answer: Mutex::new(Ok(None)), asked: AtomicUsize::new(0) });
        let none = FakeLogon::fails(LogonError::Unavailable(String::new()));
        let domains = [joined_with("corp.example.test", "CORP", none, Some(Arc::clone(&fake) as _))];
        let groups = [Arc::new(DomainGroup::new("CORP", "Web Admins"))];
        resolve(&groups, &domains).await;
        assert_eq!(what(&groups[0]), Resolved::Gone(None));
        for (answer, wanted) in [
            (Ok(Some(sid(1100))), Resolved::Sid(sid(1100))),
            (Ok(None), Resolved::Gone(Some(sid(1100)))),
            (Ok(None), Resolved::Gone(Some(sid(1100)))),
            (Err("down".to_owned()), Resolved::Gone(Some(sid(1100)))),
            (Ok(Some(sid(1300))), Resolved::Sid(sid(1300))),
        ] {
            advance(BETWEEN_ASKS).await;
            *fake.answer.lock().expect("not poisoned") = answer;
            resolve(&groups, &domains).await;
            assert_eq!(what(&groups[0]), wanted);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_directory_that_hangs_is_not_waited_for_longer_than_a_look() {
        struct Hangs;
        impl Directory for Hangs {
            fn sid_of<'a>(&'a self, _: &'a str, _: &'a str) -> Answer<'a, Result<Option<Sid>, String>> {
                Box::pin(core::future::pending())
            }

            fn name_of(&self, _: Sid) -> Answer<'_, Result<Option<AccountName>, String>> {
                Box::pin(core::future::pending())
            }
        }
        let none = FakeLogon::fails(LogonError::Unavailable(String::new()));
        let domains = [joined_with("corp.example.test", "CORP", none, Some(Arc::new(Hangs)))];
        let groups = [Arc::new(DomainGroup::new("CORP", "Web Admins"))];
        let failed = resolve(&groups, &domains).await;
        assert!(failed[0].1.contains("no answer within 5 seconds"), "{failed:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_known_is_known_after_a_reload() {
        let role = |name| Role::InDomain(Arc::new(DomainGroup::new("CORP", name)));
        let rules = |names: &[&'static str]| {
            let roles = names.iter().map(|name| role(name)).collect();
            let rules = vec![Rule { roles, users: vec![], ..Rule::allow_all() }];
            Config { routes: vec![Route { rules, ..Route::default() }], ..Config::default() }
        };
        let before = of_config(&rules(&["A", "B"]), &[]);
        before[0].learn(Ok(Some(sid(1100))), Instant::now()).expect("learnt");
        let after = rules(&["C", "a", "A"]);
        let groups = of_config(&after, &before);
        assert_eq!(
            groups.iter().map(|group| matches!(what(group), Resolved::Sid(_))).collect::<Vec<_>>(),
            [false, true, true]
        );
        let Role::InDomain(in_rule) = &after.routes[0].rules[0].roles[1] else { panic!() };
        assert_eq!(what(in_rule), Resolved::Sid(sid(1100)), "the rule itself sees it");
    }
}
