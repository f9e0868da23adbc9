use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Semaphore;

use super::*;

/// A directory that says what it is told to say, when it is told to.
#[derive(Debug, Default)]
struct Told {
    answers: Mutex<HashMap<String, Sid>>,
    down: Mutex<VecDeque<String>>,
    always_down: std::sync::atomic::AtomicBool,
    asked: AtomicUsize,
    gate: Option<Semaphore>,
}

impl Told {
    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    async fn say<T>(&self, answer: Option<T>) -> Result<Option<T>, String> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if let Some(gate) = &self.gate {
            gate.acquire().await.unwrap().forget();
        }
        if self.always_down.load(Ordering::SeqCst) {
            return Err("down".to_owned());
        }
        match self.down.lock().unwrap().pop_front() {
            Some(why) => Err(why),
            None => Ok(answer),
        }
    }
}

impl Source for Told {
    fn sid_of<'a>(&'a self, domain: &'a str, name: &'a str) -> Answer<'a, Result<Option<Sid>, String>> {
        let found = self.answers.lock().unwrap().get(&format!("{domain}\\{name}").to_lowercase()).copied();
        Box::pin(self.say(found))
    }

    fn name_of(&self, sid: Sid) -> Answer<'_, Result<Option<AccountName>, String>> {
        let found = self.answers.lock().unwrap().iter().find(|(_, known)| **known == sid).map(|(name, _)| {
            let (domain, name) = name.split_once('\\').unwrap();
            AccountName { domain: domain.to_uppercase(), name: name.to_owned() }
        });
        Box::pin(self.say(found))
    }
}

struct Stage {
    told: Arc<Told>,
    names: Arc<Names>,
    time: Arc<AtomicU64>,
}

fn stage(told: Told, memory: Memory) -> Stage {
    told.answers.lock().unwrap().insert("corp\\web admins".into(), sid());
    let (told, time) = (Arc::new(told), Arc::new(AtomicU64::new(1_700_000_000)));
    let seconds = Arc::clone(&time);
    let clock: Clock = Arc::new(move || UnixTime::from_secs(seconds.load(Ordering::SeqCst) as i64));
    let names = Names::with_clock(Arc::clone(&told) as Arc<dyn Source>, memory, clock);
    Stage { told, names: Arc::new(names), time }
}

impl Stage {
    fn later(&self, seconds: u64) {
        self.time.fetch_add(seconds, Ordering::SeqCst);
    }

    async fn admins(&self) -> Result<Option<Sid>, String> {
        self.names.sid_of("CORP", "Web Admins").await
    }
}

fn sid() -> Sid {
    "S-1-5-21-1-2-3-1114".parse().unwrap()
}

const MEMORY: Memory = Memory {
    fresh: Duration::from_secs(900),
    absent: Duration::from_secs(60),
    stale: Duration::from_secs(3600),
    most: 100,
    pause: Duration::from_secs(5),
    wait: Duration::from_secs(60),
};

#[tokio::test]
async fn an_answer_is_remembered_in_any_case_and_asked_again_when_it_is_old() {
    let stage = stage(Told::default(), MEMORY);
    assert_eq!(stage.admins().await, Ok(Some(sid())));
    assert_eq!(stage.names.sid_of("corp", "WEB ADMINS").await, Ok(Some(sid())));
    assert_eq!(stage.told.asked(), 1);
    stage.later(899);
    stage.admins().await.unwrap();
    assert_eq!(stage.told.asked(), 1);
    stage.later(1);
    stage.admins().await.unwrap();
    assert_eq!(stage.told.asked(), 2);
    stage.names.forget();
    stage.admins().await.unwrap();
    assert_eq!(stage.told.asked(), 3);
}

#[tokio::test]
async fn there_and_back() {
    let stage = stage(Told::default(), MEMORY);
    let name = stage.names.name_of(sid()).await.unwrap().unwrap();
    assert_eq!(name.to_string(), "CORP\\web admins");
    assert_eq!(stage.names.name_of("S-1-5-21-1-2-3-9".parse().unwrap()).await, Ok(None));
}

#[tokio::test]
async fn that_there_is_nothing_is_remembered_shorter_and_never_stale() {
    let stage = stage(Told::default(), MEMORY);
    assert_eq!(stage.names.sid_of("CORP", "nobody").await, Ok(None));
    stage.later(59);
    assert_eq!(stage.names.sid_of("CORP", "nobody").await, Ok(None));
    assert_eq!(stage.told.asked(), 1);
    stage.told.always_down.store(true, Ordering::SeqCst);
    stage.later(1);
    assert_eq!(stage.names.sid_of("CORP", "nobody").await, Err("down".to_owned()));
}

#[tokio::test]
async fn a_hundred_who_ask_at_once_ask_once() {
    let stage = stage(Told { gate: Some(Semaphore::new(0)), ..Told::default() }, MEMORY);
    let all: Vec<_> = (0..100)
        .map(|_| {
            let names = Arc::clone(&stage.names);
            tokio::spawn(async move { names.sid_of("CORP", "Web Admins").await })
        })
        .collect();
    while stage.told.asked() == 0 {
        tokio::task::yield_now().await;
    }
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
    stage.told.gate.as_ref().unwrap().add_permits(1);
    for one in all {
        assert_eq!(one.await.unwrap(), Ok(Some(sid())));
    }
    assert_eq!(stage.told.asked(), 1);
    assert!(stage.names.state().asked.is_empty());
}

#[tokio::test]
async fn a_hundred_who_ask_a_dead_directory_at_once_ask_once() {
    let stage = stage(Told { gate: Some(Semaphore::new(0)), ..Told::default() }, MEMORY);
    stage.told.always_down.store(true, Ordering::SeqCst);
    let all: Vec<_> = (0..100)
        .map(|_| {
            let names = Arc::clone(&stage.names);
            tokio::spawn(async move { names.sid_of("CORP", "Web Admins").await })
        })
        .collect();
    while stage.told.asked() == 0 {
        tokio::task::yield_now().await;
    }
    stage.told.gate.as_ref().unwrap().add_permits(1);
    for one in all {
        assert_eq!(one.await.unwrap(), Err("down".to_owned()));
    }
    assert_eq!(stage.told.asked(), 1);
}

#[tokio::test]
async fn who_is_given_up_on_while_asking_leaves_the_others_an_answer() {
    let stage = stage(Told { gate: Some(Semaphore::new(0)), ..Told::default() }, MEMORY);
    let ask = || {
        let names = Arc::clone(&stage.names);
        tokio::spawn(async move { names.sid_of("CORP", "Web Admins").await })
    };
    let first = ask();
    while stage.told.asked() == 0 {
        tokio::task::yield_now().await;
    }
    let second = ask();
    first.abort();
    assert!(first.await.is_err());
    stage.told.gate.as_ref().unwrap().add_permits(1);
    assert_eq!(second.await.unwrap(), Ok(Some(sid())));
}

#[tokio::test]
async fn while_the_directory_is_down_old_answers_hold_for_a_while_and_then_nobody_is_let_in() {
    let stage = stage(Told::default(), MEMORY);
    stage.admins().await.unwrap();
    stage.told.always_down.store(true, Ordering::SeqCst);
    stage.later(3599);
    assert_eq!(stage.admins().await, Ok(Some(sid())), "not fresh, but good");
    stage.later(1);
    assert_eq!(stage.admins().await, Err("down".to_owned()));
    assert_eq!(stage.names.sid_of("CORP", "never asked").await, Err("down".to_owned()));
    stage.told.always_down.store(false, Ordering::SeqCst);
    stage.later(5);
    assert_eq!(stage.admins().await, Ok(Some(sid())), "it recovers by itself");
}

#[tokio::test]
async fn a_directory_that_failed_is_left_alone_for_a_moment() {
    let stage = stage(Told::default(), MEMORY);
    stage.told.always_down.store(true, Ordering::SeqCst);
    for _ in 0..50 {
        assert!(stage.admins().await.is_err());
    }
    assert_eq!(stage.told.asked(), 1);
    stage.later(5);
    assert!(stage.admins().await.is_err());
    assert_eq!(stage.told.asked(), 2);
}

#[tokio::test]
async fn a_directory_that_hangs_is_one_that_is_down() {
    let gate = Some(Semaphore::new(0));
    let stage = stage(Told { gate, ..Told::default() }, Memory { wait: Duration::from_millis(20), ..MEMORY });
    assert!(stage.admins().await.unwrap_err().contains("no answer"));
    assert!(stage.admins().await.unwrap_err().contains("no answer"));
    assert_eq!(stage.told.asked(), 1, "and it is left alone for a moment");
}

#[tokio::test]
async fn the_memory_has_a_size() {
    let stage = stage(Told::default(), MEMORY);
    for number in 0..1000 {
        stage.later(1);
        stage.names.sid_of("CORP", &format!("nobody {number}")).await.unwrap();
        assert!(stage.names.state().known.len() <= 100);
    }
    let asked = stage.told.asked();
    stage.names.sid_of("CORP", "nobody 999").await.unwrap();
    assert_eq!(stage.told.asked(), asked, "what was asked last is still there");
}

#[tokio::test]
async fn what_is_the_same_everywhere_is_never_asked_for() {
    let stage = stage(Told::default(), MEMORY);
    stage.told.always_down.store(true, Ordering::SeqCst);
    let admins = stage.names.sid_of("BUILTIN", "administrators").await.unwrap().unwrap();
    assert_eq!(admins.to_string(), "S-1-5-32-544");
    let name = stage.names.name_of("S-1-5-11".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(name.to_string(), "NT AUTHORITY\\Authenticated Users");
    assert_eq!(stage.told.asked(), 0);
}

#[tokio::test]
async fn what_cannot_be_a_name_is_not_asked_for() {
    let stage = stage(Told::default(), MEMORY);
    for (domain, name) in [("", "x"), ("CORP", ""), ("CORP", &*"x".repeat(1025))] {
        assert_eq!(stage.names.sid_of(domain, name).await, Ok(None));
    }
    assert_eq!(stage.told.asked(), 0);
}
