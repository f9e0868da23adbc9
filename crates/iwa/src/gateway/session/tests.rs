//! What needs no connection: keys that several gateways share, the list, and caches.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use iwa_auth::env::EntropyError;
use iwa_auth::{Account, Mechanism, ports::SessionVerified};
use iwa_http::System;
use iwa_http::session::{Keys, SessionId};

use super::*;
use revoked::Whose;

struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("iwa-sessions-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The present, and so much later.
struct Later(AtomicU64);

impl Later {
    fn pass(&self, time: Duration) {
        self.0.fetch_add(time.as_secs(), Ordering::Relaxed);
    }
}

impl System for Later {
    fn now(&self) -> UnixTime {
        Os.now().plus(Duration::from_secs(self.0.load(Ordering::Relaxed)))
    }

    fn random(&self, out: &mut [u8]) -> Result<(), EntropyError> {
        Os.random(out)
    }
}

const DAY: Duration = Duration::from_secs(86_400);

#[test]
fn one_gateway_writes_a_new_key_when_it_is_due_and_the_other_reads_it() {
    let directory = Directory::new("rotate");
    let path = directory.file("keys");
    let [one, two] = [1, 2].map(|_| KeyFile::open(&path, DAY, Terms::LIFETIME).expect("keys"));
    let clock = Later(AtomicU64::new(0));
    assert_eq!(one.now().text().expose(), two.now().text().expose(), "the second reads what the first made");
    for files in [&one, &two] {
        files.refresh(&clock).expect("nothing to do");
    }
    assert_eq!((one.now().count(), two.now().count()), (1, 1));
    clock.pass(DAY);
    // At the same moment, as it happens every day.
    std::thread::scope(|scope| {
        for files in [&one, &two, &one, &two] {
            scope.spawn(|| files.refresh(&clock).expect("written or read"));
        }
    });
    two.refresh(&clock).expect("read");
    one.refresh(&clock).expect("read");
    assert_eq!((one.now().count(), two.now().count()), (2, 2), "one new key, not two");
    assert_eq!(one.now().text().expose(), two.now().text().expose());
    clock.pass(Terms::LIFETIME * 2);
    one.refresh(&clock).expect("written");
    assert_eq!(one.now().count(), 1, "the old one opens nothing any more");
}

#[cfg(unix)]
#[test]
fn keys_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = Directory::new("mode");
    let path = directory.file("keys");
    KeyFile::open(&path, DAY, Terms::LIFETIME).expect("keys");
    assert_eq!(std::fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o600);
    for mode in [0o640, 0o604, 0o660] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("set");
        let refused = KeyFile::open(&path, DAY, Terms::LIFETIME).expect_err("others may read it");
        assert!(refused.contains("chmod 600"), "{refused}");
    }
    // Where that happens while a server runs, it is mended without the file being written.
    let clock = Later(AtomicU64::new(0));
    let set = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("set");
    set(0o600);
    let keys = KeyFile::open(&path, DAY, Terms::LIFETIME).expect("keys");
    let other = Keys::generate(&clock).expect("keys");
    file::replace(&path, other.text().expose().as_bytes()).expect("written");
    set(0o644);
    assert!(keys.refresh(&clock).is_err() && keys.refresh(&clock).is_ok(), "told once");
    assert_ne!(keys.now().text().expose(), other.text().expose());
    set(0o600);
    keys.refresh(&clock).expect("mended");
    assert_eq!(keys.now().text().expose(), other.text().expose());
}

#[test]
fn a_damaged_key_file_changes_nothing_and_one_that_is_gone_comes_back_with_the_next_key() {
    let directory = Directory::new("damaged");
    let path = directory.file("keys");
    let keys = KeyFile::open(&path, DAY, Terms::LIFETIME).expect("keys");
    let before = keys.now().text().expose().clone();
    let clock = Later(AtomicU64::new(0));
    std::fs::write(&path, "1 secret-that-is-no-key\n").expect("written");
    let told = keys.refresh(&clock).expect_err("no keys");
    assert!(told.contains("line 1") && !told.contains("secret"), "{told}");
    keys.refresh(&clock).expect("told once");
    assert_eq!(*keys.now().text().expose(), before);
    assert!(KeyFile::open(&path, DAY, Terms::LIFETIME).is_err(), "a server does not start on it");
    std::fs::remove_file(&path).expect("removed");
    assert!(keys.refresh(&clock).expect_err("gone").contains("is gone"));
    clock.pass(DAY);
    keys.refresh(&clock).expect("written");
    assert_eq!(keys.now().count(), 2);
    assert_eq!(KeyFile::open(&path, DAY, Terms::LIFETIME).expect("keys").now().count(), 2);
}

fn alice() -> Identity {
    let account = Account {
        name: "Alice".into(),
        domain: "CORP".into(),
        realm: Some("CORP.EXAMPLE.TEST".into()),
        upn: Some("a.example@example.test".into()),
        sid: "S-1-5-21-1-2-3-1104".parse().ok(),
        ..Account::default()
    };
    Identity::from_session(SessionVerified::by_seal(account, Vec::new(), None, Mechanism::Kerberos))
}

#[test]
fn a_user_is_revoked_by_any_of_their_names_and_by_nobody_elses() {
    let directory = Directory::new("names");
    let begun = Os.now();
    for (name, ends) in [
        ("CORP\\alice", true),
        ("corp\\ALICE", true),
        ("alice", true),
        ("alice@corp.example.test", true),
        ("A.Example@example.test", true),
        ("s-1-5-21-1-2-3-1104", true),
        ("OTHER\\alice", false),
        ("alice@example.test", false),
        ("alic", false),
        ("S-1-5-21-1-2-3-110", false),
    ] {
        let path = directory.file("list");
        let _ = std::fs::remove_file(&path);
        let list = Revoked::open(&path, DAY).expect("a list");
        list.revoke(&Whose::User(name.into())).expect("written");
        let again = Revoked::open(&path, DAY).expect("a list");
        for list in [&list, &again] {
            assert_eq!(list.ended(SessionId([1; 16]), begun, &alice()), ends, "{name}");
            let later = begun.plus(Duration::from_secs(2));
            assert!(!list.ended(SessionId([1; 16]), later, &alice()), "what began later stands");
        }
    }
}

#[test]
fn what_has_ended_by_itself_is_forgotten_and_the_file_does_not_grow_for_ever() {
    let directory = Directory::new("bounded");
    let path = directory.file("list");
    let list = Revoked::open(&path, DAY).expect("a list");
    let (now, ended) = (Os.now(), UnixTime::from_secs(Os.now().secs() - 1));
    list.revoke(&Whose::Session(SessionId([7; 16]), now.plus(DAY))).expect("written");
    let of_the_past = format!("session {} {}\n", SessionId([9; 16]), ended.secs()).repeat(2_000);
    file::append(&path, of_the_past.as_bytes()).expect("written");
    list.refresh().expect("read");
    assert!(std::fs::metadata(&path).expect("it is there").len() < 500);
    assert!(list.ended(SessionId([7; 16]), now, &alice()));
    assert!(!list.ended(SessionId([9; 16]), now, &alice()));
    assert_eq!(revoked::in_words(&path).expect("a list").len(), 1);
}

#[test]
fn lines_that_say_nothing_make_a_list_that_is_not_taken() {
    let directory = Directory::new("lines");
    let path = directory.file("list");
    for bad in [
        "session",
        "session 00 1800000000",
        "session 00112233445566778899aabbccddeeff",
        "session 00112233445566778899aabbccddeeff -1",
        "user alice",
        "user 1 alice",
        "user 1 2 ",
        "user x 2 alice",
        "all",
        "all 1",
        "everybody 1 2",
        " all 1 2",
    ] {
        let _ = std::fs::remove_file(&path);
        Revoked::open(&path, DAY).expect("a list");
        file::append(&path, format!("{bad}\n").as_bytes()).expect("written");
        assert!(Revoked::open(&path, DAY).is_err(), "{bad}");
    }
}

#[test]
fn a_cookie_never_goes_out_on_an_answer_that_a_shared_cache_may_keep() {
    let cookie = || vec![HeaderValue::from_static("__Host-iwa=1x")];
    for (before, with_cookie, without) in [
        ("", "private", "private"),
        ("public", "private", "public"),
        ("max-age=60", "max-age=60, private", "max-age=60, private"),
        ("Public, S-MaxAge=9, max-age=60", "max-age=60, private", "Public, S-MaxAge=9, max-age=60"),
        ("private, max-age=60", "private, max-age=60", "private, max-age=60"),
        ("no-store", "no-store", "no-store"),
        ("no-cache", "no-cache, private", "no-cache, private"),
        ("private=\"x-user\"", "private=\"x-user\", private", "private=\"x-user\", private"),
    ] {
        for (lines, wanted) in [(cookie(), with_cookie), (Vec::new(), without)] {
            let mut headers = HeaderMap::new();
            if !before.is_empty() {
                headers.insert(CACHE_CONTROL, HeaderValue::from_static(before));
            }
            Marks { lines, private: true }.attach(&mut headers);
            assert_eq!(headers[CACHE_CONTROL], wanted, "{before}");
            assert_eq!(headers[VARY], "Cookie");
        }
    }
    let mut headers = HeaderMap::new();
    Marks::default().attach(&mut headers);
    assert!(headers.is_empty(), "nobody, and no sessions: nothing is said");
}
