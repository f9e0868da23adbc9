//! The accounts as their users see them: names, changes, groups, lock-outs, several processes, and processes that are killed.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use iwa_auth::krb5::etype::Etype;
use iwa_auth::ntlm::crypto;
use iwa_auth::ports::{Logon as _, LogonError, NetworkLogon};
use iwa_auth::{NtStatus, Secret, UnixTime};

use super::*;

/// A state directory that goes when the test ends.
struct State(PathBuf);

impl State {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("iwa-accounts-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&dir);
        Self(dir)
    }

    fn create(&self) -> LocalAccounts {
        let (accounts, created) =
            LocalAccounts::open_or_create(&self.0, "web", "EXAMPLE.TEST", Lockout::default()).unwrap();
        assert!(created);
        accounts
    }

    fn open(&self) -> LocalAccounts {
        LocalAccounts::open(&self.0, Lockout::default()).unwrap()
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn password(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

fn add(accounts: &LocalAccounts, name: &str, text: &str) -> User {
    accounts
        .add_user(&NewUser {
            name,
            password: &password(text),
            display_name: "",
            upn: None,
            must_change: false,
            expires: None,
        })
        .unwrap()
}

/// The status with which a password is refused at this time; `None` if it is right.
fn basic(accounts: &LocalAccounts, user: &str, text: &str, at: UnixTime) -> Option<NtStatus> {
    let snapshot = accounts.snapshot().unwrap();
    match accounts.verify_password(&snapshot, "", user, &password(text), at) {
        Ok(_) => None,
        Err(LogonError::Refused(status)) => Some(status),
        Err(other) => panic!("{other:?}"),
    }
}

const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

#[test]
fn an_account_is_found_in_any_case_and_has_keys_of_its_password() {
    let state = State::new();
    let accounts = state.create();
    let user = add(&accounts, "Alice", "Sommer-2026");
    assert_eq!((user.rid, user.keys.kvno, user.keys.salt.as_str()), (1000, 1, "EXAMPLE.TESTAlice"));
    let snapshot = accounts.snapshot().unwrap();
    assert_eq!(snapshot.user("aLiCe").map(|user| user.rid), Some(1000));
    assert_eq!(snapshot.user_by_upn("ALICE@Example.Test").map(|user| user.rid), Some(1000));
    assert_eq!(snapshot.logon_account("", "alice@web").map(|user| user.rid), Some(1000));
    assert!(snapshot.logon_account("", "alice@elsewhere.test").is_none());
    assert!(snapshot.logon_account("WEB", "alice@example.test").is_none());
    let sid = snapshot.account(&user).sid.unwrap().to_string();
    assert!(sid.starts_with("S-1-5-21-") && sid.ends_with("-1000"), "{sid}");
    let numbers: Vec<_> = user.keys.keys.iter().map(|key| key.etype().number()).collect();
    assert_eq!(numbers, [18, 20, 17, 19]);
    assert_eq!(snapshot.krbtgt().unwrap().keys.len(), 1);
    // Everybody is a member of BUILTIN\Users.
    assert_eq!(snapshot.group_sids(1000), ["S-1-5-32-545".parse().unwrap()]);
}

#[test]
fn a_name_is_taken_in_every_spelling_and_by_groups_too() {
    let state = State::new();
    let accounts = state.create();
    add(&accounts, "alice", "Sommer-2026");
    accounts.add_group("Staff", "").unwrap();
    let secret = password("x");
    for name in ["ALICE", "staff"] {
        let new = NewUser { name, password: &secret, display_name: "", upn: None, must_change: false, expires: None };
        assert!(matches!(accounts.add_user(&new), Err(AccountsError::Exists { .. })), "{name}");
    }
    assert!(matches!(accounts.add_group("Alice", ""), Err(AccountsError::Exists { .. })));
    let upn = Some("ALICE@example.test");
    let new = NewUser { name: "bob", password: &secret, display_name: "", upn, must_change: false, expires: None };
    assert!(matches!(accounts.add_user(&new), Err(AccountsError::Exists { .. })));
    // A refused change leaves nothing behind, not even a used number.
    assert_eq!(add(&accounts, "bob", "y").rid, 1002);
}

#[test]
fn a_password_is_right_or_wrong_and_changes_with_a_new_kvno() {
    let state = State::new();
    let accounts = state.create();
    let before = add(&accounts, "alice", "Sommer-2026");
    assert_eq!(basic(&accounts, "Alice", "Sommer-2026", NOW), None);
    assert_eq!(basic(&accounts, "alice", "sommer-2026", NOW), Some(NtStatus::WRONG_PASSWORD));
    assert_eq!(basic(&accounts, "mallory", "Sommer-2026", NOW), Some(NtStatus::NO_SUCH_USER));
    let after = accounts.set_password("ALICE", &password("Winter-2026"), false).unwrap();
    assert_eq!((after.rid, after.keys.kvno), (before.rid, 2));
    let aes = Etype::Aes256CtsHmacSha1;
    assert!(!before.keys.key(aes).unwrap().ct_eq(after.keys.key(aes).unwrap().expose()));
    assert_eq!(basic(&accounts, "alice", "Sommer-2026", NOW), Some(NtStatus::WRONG_PASSWORD));
    assert_eq!(basic(&accounts, "alice", "Winter-2026", NOW), None);
    for bad in ["", "a\nb", &"x".repeat(257)] {
        assert!(matches!(accounts.set_password("alice", &password(bad), false), Err(AccountsError::Password { .. })));
    }
    assert!(matches!(accounts.set_password("bob", &password("x"), false), Err(AccountsError::NoSuch { .. })));
}

#[test]
fn what_keeps_an_account_out_is_told_only_to_who_knows_the_password() {
    let state = State::new();
    let accounts = state.create();
    add(&accounts, "alice", "right");
    let change = |change: UserChange| accounts.change_user("alice", &change).unwrap();
    let cases = [
        (UserChange { disabled: Some(true), ..UserChange::default() }, NtStatus::ACCOUNT_DISABLED),
        (
            UserChange { disabled: Some(false), expires: Some(Some(NOW)), ..UserChange::default() },
            NtStatus::ACCOUNT_EXPIRED,
        ),
        (
            UserChange { expires: Some(None), must_change: Some(true), ..UserChange::default() },
            NtStatus::PASSWORD_MUST_CHANGE,
        ),
    ];
    for (what, status) in cases {
        change(what);
        assert_eq!(basic(&accounts, "alice", "right", NOW), Some(status));
        assert_eq!(basic(&accounts, "alice", "wrong", NOW), Some(NtStatus::WRONG_PASSWORD));
    }
    accounts.set_password("alice", &password("right"), false).unwrap();
    assert_eq!(basic(&accounts, "alice", "right", NOW), None);
}

#[test]
fn ten_failures_lock_an_account_out_in_every_process_until_it_is_unlocked() {
    let state = State::new();
    let (accounts, other) = (state.create(), state.open());
    let rid = add(&accounts, "alice", "right").rid;
    for n in 0..10 {
        let process = if n % 2 == 0 { &accounts } else { &other };
        assert_eq!(basic(process, "alice", "wrong", NOW), Some(NtStatus::WRONG_PASSWORD), "{n}");
    }
    // Now even the right password does not help, here or there, and nothing tells the two apart.
    for text in ["right", "wrong"] {
        assert_eq!(basic(&accounts, "alice", text, NOW), Some(NtStatus::ACCOUNT_LOCKED_OUT));
        assert_eq!(basic(&other, "alice", text, NOW), Some(NtStatus::ACCOUNT_LOCKED_OUT));
    }
    assert_eq!(accounts.failures(rid).unwrap().count, 10);
    let later = NOW.plus(Duration::from_secs(600));
    assert_eq!(basic(&other, "alice", "right", later), None);
    assert_eq!(accounts.failures(rid).unwrap(), Failures::default());

    for _ in 0..10 {
        let _ = basic(&accounts, "alice", "wrong", NOW);
    }
    other.unlock_user("Alice").unwrap();
    assert_eq!(basic(&accounts, "alice", "right", NOW), None);
}

#[tokio::test]
async fn a_password_of_before_is_wrong_and_locks_nobody_out() {
    let state = State::new();
    let accounts = state.create();
    let rid = add(&accounts, "alice", "one").rid;
    for text in ["two", "three", "four"] {
        accounts.set_password("alice", &password(text), false).unwrap();
    }
    for _ in 0..20 {
        assert_eq!(basic(&accounts, "alice", "three", NOW), Some(NtStatus::WRONG_PASSWORD));
        let logon = accounts.network(&ntlm("alice", "WEB", "two")).await;
        assert!(matches!(logon, Err(LogonError::Refused(NtStatus::WRONG_PASSWORD))));
    }
    assert_eq!(accounts.failures(rid).unwrap(), Failures::default());
    // The one before those is forgotten.
    assert_eq!(basic(&accounts, "alice", "one", NOW), Some(NtStatus::WRONG_PASSWORD));
    assert_eq!(accounts.failures(rid).unwrap().count, 1);
    assert_eq!(basic(&accounts, "alice", "four", NOW), None);
}

#[test]
fn a_torn_record_of_failures_counts_as_none() {
    let state = State::new();
    let accounts = state.create();
    let rid = add(&accounts, "alice", "right").rid;
    let _ = basic(&accounts, "alice", "wrong", NOW);
    assert_eq!(accounts.failures(rid).unwrap().count, 1);
    std::fs::write(state.0.join("failures"), [0xff; 20]).unwrap();
    assert_eq!(accounts.failures(rid).unwrap(), Failures::default());
    std::fs::write(state.0.join("failures"), [0xff; 32]).unwrap();
    assert_eq!(accounts.failures(rid).unwrap(), Failures::default());
    assert_eq!(basic(&accounts, "alice", "wrong", NOW), Some(NtStatus::WRONG_PASSWORD));
    assert_eq!(accounts.failures(rid).unwrap().count, 1);
}

#[test]
fn groups_hold_groups_and_never_themselves() {
    let state = State::new();
    let accounts = state.create();
    let alice = add(&accounts, "alice", "x").rid;
    for group in ["Staff", "Everybody Here", "Admins"] {
        accounts.add_group(group, "").unwrap();
    }
    accounts.add_member("staff", "ALICE").unwrap();
    accounts.add_member("Staff", "alice").unwrap();
    accounts.add_member("Everybody Here", "Staff").unwrap();
    let names = |accounts: &LocalAccounts| -> Vec<String> {
        accounts.snapshot().unwrap().groups_of(alice).iter().map(|group| group.name.clone()).collect()
    };
    assert_eq!(names(&accounts), ["Staff", "Everybody Here"]);
    for (group, member) in [("Staff", "Staff"), ("Staff", "Everybody Here")] {
        assert!(matches!(accounts.add_member(group, member), Err(AccountsError::Cycle { .. })));
    }
    assert!(accounts.add_member("Users", "alice").is_err());
    assert!(accounts.add_member("Staff", "nobody").is_err());
    let snapshot = accounts.snapshot().unwrap();
    assert_eq!(snapshot.group_sid("WEB\\staff"), snapshot.group_sid("Staff"));
    assert_eq!(snapshot.group_sid("OTHER\\staff"), None);
    assert_eq!(snapshot.group_sid("BUILTIN\\Users").unwrap().to_string(), "S-1-5-32-545");
    accounts.remove_member("Everybody Here", "staff").unwrap();
    assert!(accounts.remove_member("Everybody Here", "staff").is_err());
    assert_eq!(names(&accounts), ["Staff"]);
    accounts.add_member("Admins", "Staff").unwrap();
    accounts.remove_group("Staff").unwrap();
    assert_eq!(names(&accounts), [""; 0]);
    assert!(accounts.snapshot().unwrap().group("admins").unwrap().members.is_empty());
    accounts.add_member("Admins", "alice").unwrap();
    accounts.remove_user("alice").unwrap();
    assert!(accounts.snapshot().unwrap().group("admins").unwrap().members.is_empty());
    // The same name again is somebody else.
    assert_ne!(add(&accounts, "alice", "x").rid, alice);
}

#[test]
fn a_service_keeps_its_last_keys_for_the_tickets_that_are_out() {
    let state = State::new();
    let accounts = state.create();
    assert_eq!(accounts.set_service_keys("HTTP/web.example.test").unwrap().keys[0].kvno, 1);
    accounts.set_service_keys("http/WEB.example.test").unwrap();
    let service = accounts.set_service_keys("HTTP/web.example.test").unwrap();
    assert_eq!(service.keys.iter().map(|set| set.kvno).collect::<Vec<_>>(), [3, 2]);
    assert!(accounts.remove_service("krbtgt/EXAMPLE.TEST").is_err());
    accounts.remove_service("HTTP/web.example.test").unwrap();
    assert!(accounts.snapshot().unwrap().service("HTTP/web.example.test").is_none());
}

#[test]
fn a_change_takes_effect_in_another_process_at_once() {
    let state = State::new();
    let (one, other) = (state.create(), state.open());
    // Far more often than any file system's clock ticks.
    for n in 0..20 {
        let name = format!("user{n}");
        one.add_group(&name, "").unwrap();
        assert!(other.snapshot().unwrap().group(&name).is_some(), "{n}");
        other.remove_group(&name).unwrap();
        assert!(one.snapshot().unwrap().group(&name).is_none(), "{n}");
    }
}

#[test]
fn the_snapshot_is_not_read_again_while_nothing_changes() {
    let state = State::new();
    let accounts = state.create();
    std::thread::sleep(Duration::from_millis(150));
    let first = accounts.snapshot().unwrap();
    let again = accounts.snapshot().unwrap();
    assert!(Arc::ptr_eq(&first, &again));
    assert!(accounts.fresh().unwrap().is_some());
}

#[test]
fn accounts_that_are_not_there_or_open_to_others_are_not_used() {
    let state = State::new();
    assert!(matches!(LocalAccounts::open(&state.0, Lockout::default()), Err(AccountsError::Absent { .. })));
    drop(state.create());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let file = state.0.join("accounts.redb");
        assert_eq!((mode(&state.0), mode(&file), mode(&state.0.join("failures"))), (0o700, 0o600, 0o600));
        // The sticky bit excuses a directory, and no file.
        for exposed in [0o640, 0o1640, 0o1666] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(exposed)).unwrap();
            let opened = LocalAccounts::open(&state.0, Lockout::default());
            assert!(matches!(opened, Err(AccountsError::Exposed { mode, .. }) if mode == exposed), "{exposed:o}");
        }
    }
}

#[test]
fn a_file_that_is_something_else_is_refused_and_not_overwritten() {
    let state = State::new();
    drop(state.create());
    let file = state.0.join("accounts.redb");
    std::fs::write(&file, b"not a database at all, and longer than any header that might be looked for").unwrap();
    assert!(LocalAccounts::open(&state.0, Lockout::default()).is_err());
    assert!(LocalAccounts::open_or_create(&state.0, "web", "EXAMPLE.TEST", Lockout::default()).is_err());
    assert!(std::fs::read(&file).unwrap().starts_with(b"not a database"));
}

/// Runs the test `child_process` below in a process of its own, which does `job` to the state directory until it is killed or done.
fn child(state: &State, job: &str) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "local::tests::child_process", "--quiet"])
        .env("IWA_TEST_STATE", &state.0)
        .env("IWA_TEST_JOB", job)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The other process of the tests below; on its own it has nothing to do.
#[test]
fn child_process() {
    let Some(dir) = std::env::var_os("IWA_TEST_STATE") else { return };
    if std::env::var("IWA_TEST_JOB").unwrap() == "create" {
        for n in 0.. {
            let dir = Path::new(&dir).join(n.to_string());
            LocalAccounts::open_or_create(&dir, "web", "EXAMPLE.TEST", Lockout::default()).unwrap();
        }
    }
    let job = std::env::var("IWA_TEST_JOB").unwrap();
    if job == "fail" {
        let accounts = LocalAccounts::open(Path::new(&dir), PATIENT).unwrap();
        for _ in 0..500 {
            assert_eq!(basic(&accounts, "alice", "wrong", NOW), Some(NtStatus::WRONG_PASSWORD));
        }
        return;
    }
    let accounts = LocalAccounts::open(Path::new(&dir), Lockout::default()).unwrap();
    let rounds = if job.starts_with("forever") { u32::MAX } else { 20 };
    for n in 0..rounds {
        let name = format!("{job}-{n}");
        accounts.add_group(&name, "").unwrap();
        accounts.add_member("All", &name).unwrap();
        accounts.set_service_keys("HTTP/web.example.test").unwrap();
        assert!(accounts.snapshot().unwrap().group(&name).is_some());
    }
}

#[test]
fn a_process_that_is_killed_while_it_creates_leaves_all_or_nothing() {
    for round in 0..8u64 {
        let state = State::new();
        std::fs::create_dir(&state.0).unwrap();
        let mut child = child(&state, "create");
        std::thread::sleep(Duration::from_millis(20 + 17 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        for entry in std::fs::read_dir(&state.0).unwrap() {
            let dir = entry.unwrap().path();
            let whole = match LocalAccounts::open(&dir, Lockout::default()) {
                Ok(accounts) => Some(accounts.snapshot().unwrap().machine().clone()),
                Err(AccountsError::Absent { .. }) => None,
                Err(error) => panic!("{error}"),
            };
            let (accounts, created) =
                LocalAccounts::open_or_create(&dir, "web", "EXAMPLE.TEST", Lockout::default()).unwrap();
            assert_eq!(created, whole.is_none());
            assert!(whole.is_none_or(|machine| machine == *accounts.snapshot().unwrap().machine()));
        }
    }
}

#[test]
fn two_that_create_at_once_get_the_same_accounts() {
    let state = State::new();
    let machines: Vec<_> = std::thread::scope(|scope| {
        let creators: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let opened = LocalAccounts::open_or_create(&state.0, "web", "EXAMPLE.TEST", Lockout::default());
                    let (accounts, created) = opened.unwrap();
                    (accounts.snapshot().unwrap().machine().sid, created)
                })
            })
            .collect();
        creators.into_iter().map(|creator| creator.join().unwrap()).collect()
    });
    assert_eq!(machines.iter().filter(|(_, created)| *created).count(), 1);
    assert!(machines.iter().all(|(sid, _)| *sid == machines[0].0));
}

#[test]
fn a_damaged_file_is_an_error_and_never_a_panic() {
    let state = State::new();
    let accounts = state.create();
    for n in 0..30 {
        accounts.add_group(&format!("group{n}"), "a comment that fills the page somewhat").unwrap();
    }
    drop(accounts);
    let file = state.0.join("accounts.redb");
    let whole = std::fs::read(&file).unwrap();
    let mut refused = 0;
    for n in 0..60usize {
        let mut damaged = whole.clone();
        let start = (n * 7919) % damaged.len();
        let end = (start + 64).min(damaged.len());
        damaged[start..end].iter_mut().for_each(|byte| *byte ^= 0xa5);
        std::fs::write(&file, &damaged).unwrap();
        let Ok(accounts) = LocalAccounts::open(&state.0, Lockout::default()) else {
            refused += 1;
            continue;
        };
        let _ = accounts.add_group("another", "");
        let _ = accounts.snapshot();
    }
    for cut in [0, 1, 100, 4096, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&file, &whole[..cut]).unwrap();
        refused += usize::from(LocalAccounts::open(&state.0, Lockout::default()).is_err());
    }
    assert!(refused > 6, "{refused}");
}

#[test]
fn two_processes_write_at_once_and_nothing_is_lost() {
    let state = State::new();
    let accounts = state.create();
    accounts.add_group("All", "").unwrap();
    let children = [child(&state, "left"), child(&state, "right")];
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let snapshot = accounts.snapshot().unwrap();
    assert_eq!(snapshot.groups().len(), 41);
    assert_eq!(snapshot.group("All").unwrap().members.len(), 40);
    assert_eq!(snapshot.service("HTTP/web.example.test").unwrap().keys[0].kvno, 40);
}

/// Counts, and does not lock.
const PATIENT: Lockout =
    Lockout { threshold: u32::MAX, duration: Duration::from_secs(600), window: Duration::from_secs(600) };

#[test]
fn two_processes_count_every_failure_once() {
    let state = State::new();
    let accounts = state.create();
    let rid = add(&accounts, "alice", "right").rid;
    let children = [child(&state, "fail"), child(&state, "fail")];
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(accounts.failures(rid).unwrap().count, 1000);
}

#[tokio::test]
async fn accounts_that_cannot_be_read_let_nobody_in() {
    let state = State::new();
    let accounts = state.create();
    add(&accounts, "alice", "Sommer-2026");
    let logon = ntlm("alice", "WEB", "Sommer-2026");
    assert!(accounts.network(&logon).await.is_ok());
    let (file, away) = (state.0.join("accounts.redb"), state.0.join("away"));
    std::fs::rename(&file, &away).unwrap();
    assert!(matches!(accounts.network(&logon).await, Err(LogonError::Unavailable(_))));
    std::fs::write(&file, b"something else").unwrap();
    assert!(matches!(accounts.network(&logon).await, Err(LogonError::Unavailable(_))));
    let secret = password("Sommer-2026");
    assert!(matches!(accounts.password("", "alice", &secret).await, Err(LogonError::Unavailable(_))));
    std::fs::rename(&away, &file).unwrap();
    assert!(accounts.network(&logon).await.is_ok());
}

#[test]
fn a_process_that_is_killed_while_it_writes_leaves_whole_accounts() {
    let state = State::new();
    let accounts = state.create();
    accounts.add_group("All", "").unwrap();
    let mut before = 0;
    for round in 0..12u64 {
        let mut child = child(&state, &format!("forever{round}"));
        // Into the start-up, the middle of a commit, the closing: wherever it happens to be.
        std::thread::sleep(Duration::from_millis(15 + 23 * round % 120));
        child.kill().unwrap();
        child.wait().unwrap();
        let snapshot = state.open().snapshot().unwrap();
        let (groups, members) = (snapshot.groups().len(), snapshot.group("All").unwrap().members.len());
        // Each change is there whole or not at all: a group and its membership are two changes.
        assert!(groups - 1 == members || groups - 1 == members + 1, "{groups} groups, {members} members");
        assert!(groups >= before, "a change was lost");
        before = groups;
        assert_eq!(accounts.snapshot().unwrap().groups().len(), groups);
        // And it can be written again at once.
        let name = format!("after{round}");
        accounts.add_group(&name, "").unwrap();
        accounts.remove_group(&name).unwrap();
        // The number of the group without membership, so that the next round can count.
        for group in snapshot.groups().into_iter().filter(|group| group.name != "All") {
            accounts.add_member("All", &group.name).unwrap();
        }
    }
    assert!(before > 1, "no child lived long enough to write: the test tested nothing");
}

/// An NTLMv2 response as a client makes it that spells user and domain like this.
fn ntlm(user: &str, domain: &str, text: &str) -> NetworkLogon {
    let server_challenge = *b"\x01\x23\x45\x67\x89\xab\xcd\xef";
    // Timestamp and nonce, then a list of AV pairs with nothing in it.
    let client_challenge = [&[1u8, 1, 0, 0, 0, 0, 0, 0][..], &[0xaa; 16], &[0; 12]].concat();
    let key = crypto::ntowfv2(&crypto::nt_hash(text), user, domain);
    let mut nt_response = crypto::nt_proof_str(&key, &server_challenge, &client_challenge).to_vec();
    nt_response.extend_from_slice(&client_challenge);
    NetworkLogon {
        domain: domain.to_owned(),
        user: user.to_owned(),
        workstation: "PC".to_owned(),
        server_challenge,
        nt_response,
        lm_response: vec![0; 24],
    }
}

#[tokio::test]
async fn ntlm_finds_the_local_account_under_every_domain_that_windows_does() {
    let state = State::new();
    let accounts = state.create();
    add(&accounts, "Alice", "Sommer-2026");
    accounts.add_group("Staff", "").unwrap();
    accounts.add_member("Staff", "alice").unwrap();
    for (user, domain) in [
        ("alice", "WEB"),
        ("ALICE", "web"),
        ("Alice", ""),
        ("alice", "SOMEWHERE-ELSE"),
        ("alice", "EXAMPLE.TEST"),
        ("alice", "."),
        ("alice@example.test", ""),
        ("alice@WEB", ""),
    ] {
        let info = accounts.network(&ntlm(user, domain, "Sommer-2026")).await;
        let info = info.unwrap_or_else(|error| panic!("{domain}\\{user}: {error:?}"));
        assert_eq!((info.account.domain.as_str(), info.account.name.as_str()), ("WEB", "Alice"));
        assert_eq!(info.groups.len(), 2);
    }
    // The session key is what both ends compute from the proof.
    let logon = ntlm("alice", "WEB", "Sommer-2026");
    let key = crypto::ntowfv2(&crypto::nt_hash("Sommer-2026"), "alice", "WEB");
    let wanted = crypto::session_base_key(&key, logon.nt_response.first_chunk().unwrap());
    assert!(accounts.network(&logon).await.unwrap().session_base_key.ct_eq(wanted.expose()));
}

#[tokio::test]
async fn ntlm_refuses_with_the_status_that_windows_has_for_it() {
    let state = State::new();
    let accounts = state.create();
    add(&accounts, "alice", "Sommer-2026");
    add(&accounts, "bob", "Sommer-2026");
    let refused = async |accounts: &LocalAccounts, logon: &NetworkLogon| match accounts.network(logon).await {
        Err(LogonError::Refused(status)) => status,
        other => panic!("{other:?}"),
    };
    let wrong = [
        (ntlm("alice", "WEB", "wrong"), NtStatus::WRONG_PASSWORD),
        (ntlm("mallory", "WEB", "Sommer-2026"), NtStatus::NO_SUCH_USER),
        (ntlm("alice@elsewhere.test", "", "Sommer-2026"), NtStatus::NO_SUCH_USER),
        (ntlm("alice@example.test", "WEB", "Sommer-2026"), NtStatus::NO_SUCH_USER),
        // Another's response under one's own name, and a response cut short.
        (NetworkLogon { user: "alice".into(), ..ntlm("bob", "WEB", "Sommer-2026") }, NtStatus::WRONG_PASSWORD),
        (NetworkLogon { nt_response: vec![0; 15], ..ntlm("alice", "WEB", "x") }, NtStatus::WRONG_PASSWORD),
        (NetworkLogon { nt_response: vec![], ..ntlm("alice", "WEB", "x") }, NtStatus::WRONG_PASSWORD),
        (NetworkLogon { server_challenge: [0; 8], ..ntlm("alice", "WEB", "Sommer-2026") }, NtStatus::WRONG_PASSWORD),
    ];
    for (n, (logon, status)) in wrong.iter().enumerate() {
        assert_eq!(refused(&accounts, logon).await, *status, "{n}");
    }
    // Accounts that are not there cost what the others do: a record is written, which locks nobody out.
    for _ in 0..20 {
        assert_eq!(refused(&accounts, &ntlm("mallory", "WEB", "x")).await, NtStatus::NO_SUCH_USER);
    }
    assert!(accounts.failures(999).unwrap().count > 20);
    // The hash of nobody opens nothing.
    let key = crypto::ntowfv2(&Secret::new([0x5a; 16]), "mallory", "WEB");
    let mut forged = ntlm("mallory", "WEB", "x");
    let proof = crypto::nt_proof_str(&key, &forged.server_challenge, &forged.nt_response[16..]);
    forged.nt_response[..16].copy_from_slice(&proof);
    assert_eq!(refused(&accounts, &forged).await, NtStatus::NO_SUCH_USER);
    accounts.change_user("bob", &UserChange { disabled: Some(true), ..UserChange::default() }).unwrap();
    assert_eq!(refused(&accounts, &ntlm("bob", "", "Sommer-2026")).await, NtStatus::ACCOUNT_DISABLED);
    assert_eq!(refused(&accounts, &ntlm("bob", "", "wrong")).await, NtStatus::WRONG_PASSWORD);
}
