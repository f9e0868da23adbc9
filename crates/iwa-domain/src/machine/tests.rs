//! A machine that is killed at every step, and a domain that did or did not take the password.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use iwa_auth::ports::Answer;
use iwa_auth::{Secret, UnixTime};
use iwa_wire::keytab::Keytab;
use zeroize::Zeroizing;

use super::disk::{Disk, Stamp};
use super::rotate::{Account, Check, Done, Policy, recover, rotate};
use super::*;

const DIR: &str = "/state";
const NOW: UnixTime = UnixTime::from_secs(1_790_000_000);

/// A step after which nothing more of the process happens.
#[derive(Debug)]
struct Death {
    steps: AtomicUsize,
    at: usize,
}

/// What happens to the step at which the process dies.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Last {
    Undone,
    Done,
}

impl Death {
    fn at(step: usize) -> Arc<Self> {
        Arc::new(Self { steps: AtomicUsize::new(0), at: step })
    }

    fn never() -> Arc<Self> {
        Self::at(usize::MAX)
    }

    /// Whether this step happens, and whether anybody learns of it.
    fn step(&self, last: Last) -> (bool, bool) {
        let step = self.steps.fetch_add(1, Ordering::Relaxed);
        (step < self.at || (step == self.at && last == Last::Done), step < self.at)
    }

    fn steps(&self) -> usize {
        self.steps.load(Ordering::Relaxed)
    }
}

/// A file system in memory: what processes see, and what a power failure leaves.
#[derive(Debug, Default)]
struct Files {
    seen: BTreeMap<PathBuf, Vec<u8>>,
    durable: BTreeMap<PathBuf, Vec<u8>>,
    writes: u64,
}

#[derive(Debug)]
struct Model {
    files: Arc<Mutex<Files>>,
    death: Arc<Death>,
    last: Last,
}

impl Model {
    fn step<T>(&self, work: impl FnOnce(&mut Files) -> io::Result<T>) -> io::Result<T> {
        let (happens, known) = self.death.step(self.last);
        let done = if happens { Some(work(&mut self.files.lock().unwrap())) } else { None };
        done.filter(|_| known).unwrap_or_else(|| Err(io::Error::other("killed")))
    }
}

impl Disk for Model {
    fn read(&self, path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
        let files = self.files.lock().unwrap();
        files.seen.get(path).map(|bytes| Zeroizing::new(bytes.clone())).ok_or(io::ErrorKind::NotFound.into())
    }

    fn create(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        // Half of the file, then the whole.
        self.step(|files| {
            assert!(!files.seen.contains_key(path), "{} is there", path.display());
            files.seen.insert(path.to_owned(), bytes[..bytes.len() / 2].to_vec());
            Ok(())
        })?;
        self.step(|files| {
            files.seen.insert(path.to_owned(), bytes.to_vec());
            files.writes += 1;
            Ok(())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(|files| {
            let bytes = files.seen.remove(from).unwrap();
            files.seen.insert(to.to_owned(), bytes);
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step(|files| {
            files.seen.remove(path);
            Ok(())
        })
    }

    fn sync(&self, _: &Path) -> io::Result<()> {
        self.step(|files| {
            files.durable = files.seen.clone();
            Ok(())
        })
    }

    fn lock(&self, _: &Path) -> io::Result<Box<dyn Any + Send + Sync>> {
        Ok(Box::new(()))
    }

    fn stamp(&self, path: &Path) -> io::Result<Stamp> {
        let files = self.files.lock().unwrap();
        let length = files.seen.get(path).ok_or(io::ErrorKind::NotFound)?.len() as u64;
        Ok(Stamp { file: (0, files.writes), length, modified: SystemTime::UNIX_EPOCH })
    }
}

/// A domain: the password that it has, its version, and every key that it made tickets with.
#[derive(Debug)]
struct Dc {
    password: String,
    kvno: u32,
    /// Whether it says which version its keys have.
    tells: bool,
    /// By how much a change moves the version.
    stride: u32,
}

struct Port {
    dc: Arc<Mutex<Dc>>,
    files: Arc<Mutex<Files>>,
    death: Arc<Death>,
    last: Last,
}

impl Account for Port {
    fn set_password<'a>(&'a self, machine: &'a Machine, new: &'a MachinePassword) -> Answer<'a, Result<(), String>> {
        Box::pin(async move {
            let (happens, known) = self.death.step(self.last);
            let mut dc = self.dc.lock().unwrap();
            if happens {
                assert!(machine.passwords().any(|known| *known.password.expose() == dc.password), "Netlogon login");
                // The moment before: whatever happens to the machine, the new password and its keys are safe.
                let files = self.files.lock().unwrap();
                for files in [&files.durable, &files.seen] {
                    let state = files.get(Path::new("/state/machine.json")).unwrap();
                    assert!(String::from_utf8_lossy(state).contains(new.password.expose()));
                    assert!(has_keys(files, new.password.expose()), "keys of the new password");
                    assert!(has_keys(files, &dc.password), "keys of the old password");
                }
                if dc.password != *new.password.expose() {
                    dc.kvno += dc.stride;
                }
                dc.password.clone_from(new.password.expose());
            }
            if known { Ok(()) } else { Err("killed".to_owned()) }
        })
    }

    fn check<'a>(&'a self, _: &'a Machine, password: &'a MachinePassword) -> Answer<'a, Result<Check, String>> {
        Box::pin(async move {
            let (_, known) = self.death.step(self.last);
            if !known {
                return Err("killed".to_owned());
            }
            let dc = self.dc.lock().unwrap();
            let taken = *password.password.expose() == dc.password;
            Ok(if taken { Check::Taken(dc.tells.then_some(dc.kvno)) } else { Check::Refused })
        })
    }
}

/// Whether the keytab has the password's keys for every name, whatever their version.
fn has_keys(files: &BTreeMap<PathBuf, Vec<u8>>, password: &str) -> bool {
    let keytab = Keytab::parse(files.get(Path::new("/state/machine.keytab")).unwrap()).unwrap();
    let keys = keys::derive(&Secret::new(password.to_owned()), "salt").unwrap();
    let names: BTreeSet<_> = keytab.entries().map(|entry| entry.principal.to_string()).collect();
    names.len() == 4
        && names.iter().all(|name| {
            let mut own = keytab.entries().filter(|entry| entry.principal.to_string() == *name);
            keys.iter().all(|key| own.any(|entry| key.ct_eq(entry.key)))
        })
}

fn machine() -> Machine {
    Machine {
        domain: DomainNames {
            dns: "corp.example.test".into(),
            netbios: "CORP".into(),
            sid: "S-1-5-21-1-2-3".parse().unwrap(),
            forest: "corp.example.test".into(),
        },
        computer: "WEB".into(),
        dns_host_name: "web.corp.example.test".into(),
        salt: "salt".into(),
        current: MachinePassword {
            password: Secret::new("first".into()),
            kvno: 2,
            since: UnixTime::from_secs(1_780_000_000),
        },
        pending: None,
        previous: None,
    }
}

fn state() -> State {
    State::new(machine(), vec!["HTTP/web.corp.example.test".into(), "HOST/web".into()])
}

struct World {
    files: Arc<Mutex<Files>>,
    dc: Arc<Mutex<Dc>>,
}

impl World {
    fn new(kvno: u32, stride: u32, tells: bool) -> Self {
        let world = Self {
            files: Arc::default(),
            dc: Arc::new(Mutex::new(Dc { password: "first".into(), kvno, tells, stride })),
        };
        let dir = world.dir(&Death::never(), Last::Done);
        let locked = dir.lock().unwrap();
        locked.save(&state()).unwrap();
        locked.write_keys(&state(), policy().alive(NOW)).unwrap();
        world
    }

    fn dir(&self, death: &Arc<Death>, last: Last) -> StateDir {
        let disk = Model { files: Arc::clone(&self.files), death: Arc::clone(death), last };
        StateDir::on(Arc::new(disk), Path::new(DIR))
    }

    fn port(&self, death: &Arc<Death>, last: Last) -> Port {
        let (dc, files) = (Arc::clone(&self.dc), Arc::clone(&self.files));
        Port { dc, files, death: Arc::clone(death), last }
    }

    /// A process that starts, changes the password or finishes a change, and perhaps dies.
    async fn process(&self, death: &Arc<Death>, last: Last, change: bool) -> Result<Done, MachineError> {
        let membership = Membership::of(self.dir(death, last))?;
        let port = self.port(death, last);
        if change {
            rotate(&membership, &port, &policy(), NOW).await
        } else {
            recover(&membership, &port, &policy(), NOW, true).await
        }
    }

    /// The power fails: what was not synced is gone.
    fn power_failure(&self) {
        let mut files = self.files.lock().unwrap();
        files.seen = files.durable.clone();
    }

    /// What must hold at every moment at which the machine is up.
    fn holds(&self, former: &str, what: &str) {
        let dc = self.dc.lock().unwrap();
        let files = self.files.lock().unwrap();
        assert!(has_keys(&files.seen, &dc.password), "{what}: tickets of now");
        assert!(has_keys(&files.seen, former), "{what}: tickets of before");
        drop(files);
        let state = self.dir(&Death::never(), Last::Done).load().unwrap();
        let known: Vec<_> = state.machine.passwords().map(|known| known.password.expose().clone()).collect();
        assert!(known.contains(&dc.password), "{what}: Netlogon");
    }

    /// What must hold when a process has recovered.
    fn is_clean(&self, what: &str) {
        let dc = self.dc.lock().unwrap();
        let state = self.dir(&Death::never(), Last::Done).load().unwrap();
        assert!(state.machine.pending.is_none(), "{what}");
        assert_eq!(*state.machine.current.password.expose(), dc.password, "{what}");
        if dc.tells {
            assert_eq!(state.machine.current.kvno, dc.kvno, "{what}");
        }
        let files = self.files.lock().unwrap();
        let names: Vec<_> = files.seen.keys().map(|path| path.display().to_string()).collect();
        assert_eq!(names, ["/state/machine.json", "/state/machine.keytab"], "{what}");
        let written = files.seen.get(Path::new("/state/machine.keytab")).unwrap();
        assert_eq!(**written, **keys::keytab(&state, None, policy().alive(NOW)).unwrap(), "{what}");
    }
}

fn policy() -> Policy {
    Policy { settle: Duration::ZERO, ..Policy::default() }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(work)
}

#[test]
fn killed_at_every_step_the_machine_still_authenticates_and_recovers() {
    run(async {
        // The domain counts as we do, or otherwise, or does not say.
        for (kvno, stride, tells) in [(2, 1, true), (7, 2, true), (2, 1, false)] {
            let whole = Death::never();
            World::new(kvno, stride, tells).process(&whole, Last::Done, true).await.unwrap();
            assert!(whole.steps() > 20, "{}", whole.steps());
            for step in 0..whole.steps() {
                for last in [Last::Undone, Last::Done] {
                    for power in [false, true] {
                        let what = format!("kvno {kvno}, step {step} {last:?}, power failure: {power}");
                        let world = World::new(kvno, stride, tells);
                        let died = world.process(&Death::at(step), last, true).await;
                        assert!(died.is_err(), "{what}: {died:?}");
                        if power {
                            world.power_failure();
                        }
                        world.holds("first", &what);
                        world.process(&Death::never(), last, false).await.unwrap();
                        world.holds("first", &what);
                        world.is_clean(&what);
                    }
                }
            }
        }
    });
}

#[test]
fn killed_again_at_every_step_of_recovering_it_still_recovers() {
    run(async {
        let whole = Death::never();
        World::new(2, 1, true).process(&whole, Last::Done, true).await.unwrap();
        for step in 0..whole.steps() {
            for again in 0.. {
                let what = format!("step {step}, then {again}");
                let world = World::new(2, 1, true);
                // Odd and even, so that every step is both done and not done.
                let last = if (step + again) % 2 == 0 { Last::Done } else { Last::Undone };
                assert!(world.process(&Death::at(step), last, true).await.is_err());
                let second = world.process(&Death::at(again), last, false).await;
                world.holds("first", &what);
                if second.is_ok() {
                    world.is_clean(&what);
                    break;
                }
                world.process(&Death::never(), Last::Done, false).await.unwrap();
                world.holds("first", &what);
                world.is_clean(&what);
            }
        }
    });
}

#[test]
fn an_answer_that_was_lost_is_asked_for() {
    run(async {
        // The domain takes it and nobody hears of it: the process lives on.
        let world = World::new(2, 1, true);
        let membership = Membership::of(world.dir(&Death::never(), Last::Done)).unwrap();
        let lost = world.port(&Death::at(1), Last::Done);
        let error = rotate(&membership, &lost, &policy(), NOW).await.unwrap_err();
        assert!(matches!(error, MachineError::NotSet { .. }), "{error}");
        assert!(membership.machine().pending.is_some());
        let done = recover(&membership, &world.port(&Death::never(), Last::Done), &policy(), NOW, false).await.unwrap();
        assert_eq!(done, Done::Finished { kvno: 3 });
        assert_eq!(*membership.machine().current.password.expose(), world.dc.lock().unwrap().password);
        world.is_clean("lost");
    });
}

#[test]
fn old_keys_are_kept_until_tickets_have_died_and_no_longer() {
    run(async {
        let world = World::new(2, 1, true);
        let membership = Membership::of(world.dir(&Death::never(), Last::Done)).unwrap();
        let port = world.port(&Death::never(), Last::Done);
        let kvnos = || {
            let files = world.files.lock().unwrap();
            let keytab = Keytab::parse(files.seen.get(Path::new("/state/machine.keytab")).unwrap()).unwrap();
            keytab.entries().map(|entry| entry.kvno).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()
        };
        let hour = |hours: u64| NOW.plus(Duration::from_secs(hours * 3600));
        // Three changes within the life of a ticket.
        for hours in [0, 1, 2] {
            rotate(&membership, &port, &policy(), hour(hours)).await.unwrap();
        }
        assert_eq!(kvnos(), [2, 3, 4, 5]);
        for (hours, left) in
            [(10, vec![2, 3, 4, 5]), (11, vec![3, 4, 5]), (12, vec![4, 5]), (13, vec![5]), (99, vec![5])]
        {
            recover(&membership, &port, &policy(), hour(hours), false).await.unwrap();
            assert_eq!(kvnos(), left, "after {hours} h");
        }
        // The password itself stays, in case the domain is restored from a backup.
        assert_eq!(membership.machine().previous.as_ref().unwrap().kvno, 4);
        // No more than so many, whatever happens.
        for _ in 0..9 {
            rotate(&membership, &port, &policy(), hour(100)).await.unwrap();
        }
        assert_eq!(kvnos(), [10, 11, 12, 13, 14]);
    });
}

#[test]
fn a_domain_that_went_back_to_the_former_password_is_followed() {
    run(async {
        let world = World::new(2, 1, true);
        let membership = Membership::of(world.dir(&Death::never(), Last::Done)).unwrap();
        let port = world.port(&Death::never(), Last::Done);
        rotate(&membership, &port, &policy(), NOW).await.unwrap();
        {
            let mut dc = world.dc.lock().unwrap();
            dc.password = "first".into();
            dc.kvno = 2;
        }
        let later = NOW.plus(Duration::from_secs(999_999));
        let done = recover(&membership, &port, &policy(), later, true).await.unwrap();
        assert_eq!(done, Done::Changed { kvno: 3 });
        assert_eq!(*membership.machine().current.password.expose(), world.dc.lock().unwrap().password);
        // And one that has none of them is told of.
        world.dc.lock().unwrap().password = "an administrator's".into();
        let error = recover(&membership, &port, &policy(), later, true).await.unwrap_err();
        assert!(matches!(error, MachineError::NoneTaken { .. }), "{error}");
        assert!(
            error.to_string().contains("WEB$@CORP.EXAMPLE.TEST") && error.to_string().contains("iwa join"),
            "{error}"
        );
    });
}

#[test]
fn a_password_that_has_aged_is_changed_and_the_task_ends_when_it_is_told_to() {
    run(async {
        let world = World::new(2, 1, true);
        let membership = Membership::of(world.dir(&Death::never(), Last::Done)).unwrap();
        let port = world.port(&Death::never(), Last::Done);
        let (stop, stopping) = tokio::sync::watch::channel(false);
        let task = rotate::keep(membership.clone(), &port, policy(), || NOW, stopping);
        let watcher = async {
            while membership.machine().current.kvno == 2 || membership.machine().pending.is_some() {
                tokio::task::yield_now().await;
            }
            stop.send(true).unwrap();
        };
        tokio::join!(task, watcher);
        assert_eq!(membership.machine().current.kvno, 3);
        world.is_clean("kept");
        // And one that has not aged, or never ages, is left alone.
        for age in [None, Some(Duration::from_secs(3600))] {
            let (stop, stopping) = tokio::sync::watch::channel(false);
            let task = rotate::keep(membership.clone(), &port, Policy { age, ..policy() }, || NOW, stopping);
            stop.send(true).unwrap();
            task.await;
            assert_eq!(membership.machine().current.kvno, 3);
        }
    });
}

/// On the file system of this machine.
#[cfg(unix)]
mod on_disk {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("iwa-machine-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Self(path)
        }

        fn made(name: &str) -> (Self, StateDir) {
            let folder = Self::new(name);
            let dir = StateDir::at(&folder.0.join("domains/corp.example.test"));
            dir.make().unwrap();
            let locked = dir.lock().unwrap();
            locked.save(&state()).unwrap();
            locked.write_keys(&state(), policy().alive(NOW)).unwrap();
            (folder, dir)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_state_is_read_as_it_was_written_and_is_for_its_owner_alone() {
        let (_folder, dir) = Folder::made("written");
        let mut wanted = state();
        wanted.machine.pending =
            Some(MachinePassword { password: Secret::new("pënding\"\\".into()), kvno: 3, since: NOW });
        wanted.older = vec![MachinePassword { password: Secret::new("old".into()), kvno: 1, since: NOW }];
        dir.lock().unwrap().save(&wanted).unwrap();
        let read = dir.load().unwrap();
        assert_eq!(read.machine.domain, wanted.machine.domain);
        assert_eq!(read.services, wanted.services);
        let all = |state: &State| -> Vec<(String, u32, UnixTime)> {
            let passwords = state.machine.passwords().chain(&state.older);
            passwords.map(|p| (p.password.expose().clone(), p.kvno, p.since)).collect()
        };
        assert_eq!(all(&read), all(&wanted));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(dir.path()), mode(&dir.secret()), mode(&dir.keytab())), (0o700, 0o600, 0o600));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3, "the two files and the lock");
        dir.lock().unwrap().erase().unwrap();
        assert!(matches!(dir.load(), Err(MachineError::Absent { .. })));
    }

    #[test]
    fn what_others_may_read_is_refused() {
        let (_folder, dir) = Folder::made("exposed");
        fs::set_permissions(dir.secret(), fs::Permissions::from_mode(0o640)).unwrap();
        let error = Membership::open(dir.path()).unwrap_err();
        assert!(matches!(error, MachineError::Exposed { mode: 0o640, wanted: 0o600, .. }), "{error}");
        assert!(error.to_string().contains("chmod 0600"), "{error}");
        fs::set_permissions(dir.secret(), fs::Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let error = dir.make().unwrap_err();
        assert!(matches!(error, MachineError::Exposed { mode: 0o777, wanted: 0o700, .. }), "{error}");
    }

    #[test]
    fn what_root_writes_belongs_to_the_owner_of_the_directory() {
        use std::os::unix::fs::{MetadataExt as _, chown};

        let folder = Folder::new("owner");
        fs::create_dir_all(&folder.0).unwrap();
        if chown(&folder.0, Some(4711), Some(4712)).is_err() {
            return iwa_testkit::left_out("what_root_writes_belongs_to_the_owner_of_the_directory", "it needs root");
        }
        let dir = StateDir::at(&folder.0.join("domains/corp.example.test"));
        dir.make().unwrap();
        let locked = dir.lock().unwrap();
        locked.save(&state()).unwrap();
        locked.write_keys(&state(), policy().alive(NOW)).unwrap();
        for path in [dir.path().to_owned(), dir.secret(), dir.keytab(), dir.path().join("lock")] {
            let found = fs::metadata(&path).unwrap();
            assert_eq!((found.uid(), found.gid()), (4711, 4712), "{}", path.display());
        }
        drop(locked);
        // A link that the server's user put there gives away nothing of another's.
        let precious = folder.0.join("precious");
        fs::write(&precious, "").unwrap();
        fs::remove_file(dir.path().join("lock")).unwrap();
        std::os::unix::fs::symlink(&precious, dir.path().join("lock")).unwrap();
        drop(dir.lock().unwrap());
        assert_ne!(fs::metadata(&precious).unwrap().uid(), 4711);
    }

    #[test]
    fn no_error_quotes_a_secret() {
        let (_folder, dir) = Folder::made("damaged");
        let text = fs::read_to_string(dir.secret()).unwrap();
        for (from, to) in [
            ("\"kvno\": 2", "\"kvno\": \"first\""),
            ("\"password\"", "\"first\""),
            ("\"first\"", "\"first\", \"kvno\": 1"),
            ("\"first\"", "\"first"),
            ("\"S-1-5", "\"first"),
        ] {
            fs::write(dir.secret(), text.replace(from, to)).unwrap();
            let error = dir.load().unwrap_err();
            assert!(matches!(error, MachineError::Damaged { .. }), "{error:?}");
            assert!(!error.to_string().contains("first") && !format!("{error:?}").contains("first"), "{error:?}");
        }
        fs::write(dir.secret(), text.replace("\"format\": 1", "\"format\": 2")).unwrap();
        assert!(matches!(dir.load(), Err(MachineError::Newer { found: 2, .. })));
        assert!(!format!("{:?}", state()).contains("first"));
    }

    #[test]
    fn two_never_change_it_at_once() {
        let (_folder, dir) = Folder::made("lock");
        let held = dir.lock().unwrap();
        let membership = Membership::open(dir.path()).unwrap();
        let world = World::new(2, 1, true);
        let port = world.port(&Death::never(), Last::Done);
        let error = run(rotate(&membership, &port, &policy(), NOW)).unwrap_err();
        assert!(matches!(error, MachineError::Busy { .. }), "{error}");
        drop(held);
        drop(dir.lock().unwrap());
    }

    #[test]
    fn what_another_process_changed_is_seen() {
        let (_folder, dir) = Folder::made("refresh");
        let membership = Membership::open(dir.path()).unwrap();
        assert!(!membership.refresh().unwrap());
        let mut other = state();
        other.machine.current.kvno = 9;
        dir.lock().unwrap().save(&other).unwrap();
        assert!(membership.clone().refresh().unwrap());
        assert_eq!(membership.machine().current.kvno, 9);
        assert!(!membership.refresh().unwrap());
        dir.lock().unwrap().erase().unwrap();
        assert!(membership.refresh().is_err());
        assert_eq!(membership.machine().current.kvno, 9);
    }

    #[test]
    fn what_was_merged_into_the_keytab_stays() {
        use iwa_wire::keytab::Entry;
        use iwa_wire::krb5::Principal;

        let (_folder, dir) = Folder::made("merged");
        let mut bytes = fs::read(dir.keytab()).unwrap();
        let other = Principal::service("HTTP", "other.example.test", "OTHER.EXAMPLE.TEST");
        Entry { principal: (&other).into(), timestamp: 1, kvno: 1, etype: 18, key: &[7; 32] }.write(&mut bytes);
        fs::write(dir.keytab(), &bytes).unwrap();
        let locked = dir.lock().unwrap();
        assert!(!locked.write_keys(&state(), policy().alive(NOW)).unwrap(), "it is in line");
        let mut state = state();
        state.machine.current.kvno = 3;
        assert!(locked.write_keys(&state, policy().alive(NOW)).unwrap());
        let bytes = fs::read(dir.keytab()).unwrap();
        let entries: Vec<_> = Keytab::parse(&bytes).unwrap().entries().collect();
        assert_eq!(entries.len(), 9);
        assert_eq!(entries.iter().filter(|entry| entry.kvno == 3).count(), 8);
        assert_eq!(entries.first().unwrap().principal.to_string(), "WEB$@CORP.EXAMPLE.TEST");
    }
}
