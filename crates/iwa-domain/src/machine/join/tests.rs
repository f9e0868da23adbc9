//! Joining a directory that is a list of entries.

use std::path::PathBuf;
use std::sync::Mutex;

use iwa_auth::ports::Answer;
use iwa_wire::ldap::{Filter, ResultCode, Scope};

use super::tree::{Entry, TreeError};
use super::*;

const BASE: &str = "DC=corp,DC=example,DC=test";

/// A directory that knows the few filters of a survey, and refuses what it is told to.
struct Fake {
    entries: Mutex<Vec<Entry>>,
    refuses: Option<(&'static str, ResultCode, u32)>,
    secret: PathBuf,
}

fn entry(dn: &str, attributes: &[(&str, &[&str])]) -> Entry {
    let attributes = attributes
        .iter()
        .map(|(name, values)| (String::from(*name), values.iter().map(|value| value.as_bytes().to_vec()).collect()));
    Entry { dn: dn.to_owned(), attributes: attributes.collect() }
}

impl Fake {
    fn new(secret: PathBuf) -> Self {
        let mut sid = Vec::new();
        "S-1-5-21-1-2-3".parse::<iwa_wire::Sid>().unwrap().write(&mut sid);
        let mut domain = entry(
            BASE,
            &[
                ("wellKnownObjects", &["B:32:AA312825768811D1ADED00C04FD8D5CD:OU=Machines,DC=corp,DC=example,DC=test"]),
                ("ms-DS-MachineAccountQuota", &["10"]),
            ],
        );
        domain.attributes.push(("objectSid".into(), vec![sid]));
        let entries = vec![
            entry(
                "",
                &[
                    ("defaultNamingContext", &[BASE]),
                    ("configurationNamingContext", &["CN=Configuration,DC=corp,DC=example,DC=test"]),
                    ("rootDomainNamingContext", &[BASE]),
                ],
            ),
            domain,
            entry(
                "CN=CORP,CN=Partitions,CN=Configuration,DC=corp,DC=example,DC=test",
                &[("nCName", &[BASE]), ("nETBIOSName", &["CORP"])],
            ),
        ];
        Self { entries: Mutex::new(entries), refuses: None, secret }
    }

    fn with(self, entry: Entry) -> Self {
        self.entries.lock().unwrap().push(entry);
        self
    }

    fn refusing(mut self, what: &'static str, code: ResultCode, win32: u32) -> Self {
        self.refuses = Some((what, code, win32));
        self
    }

    fn refuse(&self, what: &str) -> Result<(), TreeError> {
        match self.refuses {
            Some((refused, code, win32)) if refused == what => {
                Err(TreeError::Refused { code, win32: Some(win32), text: "no".into() })
            }
            _ => Ok(()),
        }
    }
}

fn matches(entry: &Entry, filter: &Filter) -> bool {
    match filter {
        Filter::Equal(name, value) => entry.values(name).any(|known| known.eq_ignore_ascii_case(value)),
        Filter::Or(filters) => filters.iter().any(|filter| matches(entry, filter)),
        Filter::Present(name) => name == "objectClass" || entry.values(name).next().is_some(),
        other => panic!("{other:?}"),
    }
}

impl Tree for Fake {
    fn search<'a>(
        &'a self,
        base: &'a str,
        scope: Scope,
        filter: &'a Filter,
        _: &'a [&'a str],
    ) -> Answer<'a, Result<Vec<Entry>, TreeError>> {
        Box::pin(async move {
            let within = |entry: &&Entry| match scope {
                Scope::Base => entry.dn == base,
                _ => entry.dn.ends_with(base),
            };
            Ok(self.entries.lock().unwrap().iter().filter(within).filter(|e| matches(e, filter)).cloned().collect())
        })
    }

    fn add<'a>(&'a self, dn: &'a str, attributes: &'a [Values]) -> Answer<'a, Result<(), TreeError>> {
        Box::pin(async move {
            self.refuse("add")?;
            let password = attributes.iter().find(|values| values.name == "unicodePwd").unwrap();
            let text: Vec<_> = password.values[0].chunks(2).map(|unit| unit[0]).collect();
            let text = String::from_utf8(text).unwrap();
            // Whatever happens from here on, the machine knows it.
            assert!(std::fs::read_to_string(&self.secret).unwrap().contains(text.trim_matches('"')));
            let attributes = attributes
                .iter()
                .map(|values| (values.name.to_owned(), values.values.iter().map(|value| value.to_vec()).collect()));
            self.entries.lock().unwrap().push(Entry { dn: dn.to_owned(), attributes: attributes.collect() });
            Ok(())
        })
    }

    fn modify<'a>(&'a self, _: &'a str, changes: &'a [(Put, Values)]) -> Answer<'a, Result<(), TreeError>> {
        Box::pin(async move { changes.iter().try_for_each(|(_, values)| self.refuse(values.name)) })
    }

    fn delete<'a>(&'a self, dn: &'a str) -> Answer<'a, Result<(), TreeError>> {
        Box::pin(async move {
            self.entries.lock().unwrap().retain(|entry| entry.dn != dn);
            Ok(())
        })
    }
}

struct NoKdc;

impl Kdc for NoKdc {
    fn ask<'a>(&'a self, _: &'a str, _: &'a [u8]) -> Answer<'a, Result<Vec<u8>, String>> {
        Box::pin(async { Err("nobody answers".to_owned()) })
    }
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("iwa-join-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    fn dir(&self) -> StateDir {
        StateDir::at(&self.0)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn wanted() -> Wanted {
    Wanted::new("web", "WEB.corp.example.test").unwrap()
}

fn computer(attributes: &[(&str, &[&str])]) -> Entry {
    let mut all = entry(
        "CN=WEB,OU=Machines,DC=corp,DC=example,DC=test",
        &[("sAMAccountName", &["WEB$"]), ("objectClass", &["top", "computer"]), ("userAccountControl", &["4096"])],
    );
    all.attributes.extend(entry("", attributes).attributes);
    all
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(work)
}

async fn tried(fake: &Fake, wanted: Wanted, folder: &Folder) -> Result<Joined, JoinError> {
    let survey = survey(&wanted, fake, None).await?;
    carry_out(&plan(wanted, survey, folder.dir())?, fake, &NoKdc, UnixTime::from_secs(1_790_000_000)).await
}

#[test]
fn names_that_cannot_be_are_refused_before_anybody_is_asked() {
    for (computer, host) in [
        ("a-name-of-16-chrs", "web.example.test"),
        ("", "web.example.test"),
        ("web*", "web.example.test"),
        ("12345", "web.example.test"),
        ("web", "192.0.2.1"),
        ("web", "web..example.test"),
        ("web", "web/example"),
    ] {
        assert!(matches!(Wanted::new(computer, host), Err(JoinError::Name { .. })), "{computer} {host}");
    }
    let mut wanted = wanted();
    wanted.alias("www.corp.example.test").unwrap();
    wanted.alias("http/WEB").unwrap();
    for bad in ["HTTP/", "/www", "HTTP/www@REALM", "a b"] {
        assert!(wanted.alias(bad).is_err(), "{bad}");
    }
    let services = ["HTTP/web.corp.example.test", "HTTP/web", "HOST/web.corp.example.test", "HOST/web"];
    assert_eq!(wanted.services(), [&services[..], &["HTTP/www.corp.example.test"]].concat());
}

#[test]
fn a_survey_finds_the_domain_and_changes_nothing() {
    let folder = Folder::new("survey");
    let fake = Fake::new(folder.dir().secret()).with(computer(&[("msDS-KeyVersionNumber", &["7"])]));
    let survey = run(survey(&wanted(), &fake, None)).unwrap();
    assert_eq!((survey.domain.dns.as_str(), survey.domain.netbios.as_str()), ("corp.example.test", "CORP"));
    assert_eq!(survey.domain.sid.to_string(), "S-1-5-21-1-2-3");
    assert_eq!(survey.container, "OU=Machines,DC=corp,DC=example,DC=test");
    assert_eq!((survey.quota, survey.next_kvno()), (Some(10), 8));
    let plan = plan(wanted(), survey, folder.dir()).unwrap().to_string();
    assert!(plan.contains("take over CN=WEB,OU=Machines") && plan.contains("HOST/web.corp.example.test"), "{plan}");
    assert!(!folder.0.exists());
}

#[test]
fn an_spn_of_another_account_is_found_before_anything_is_changed() {
    for (has, wants) in [("HTTP/WEB", "HTTP/web"), ("http/web.corp.example.test", "HTTP/web"), ("HOST/web", "HTTP/web")]
    {
        let folder = Folder::new("duplicate");
        let other = entry(
            "CN=svc-web,CN=Users,DC=corp,DC=example,DC=test",
            &[("sAMAccountName", &["svc-web"]), ("servicePrincipalName", &[has])],
        );
        let fake = Fake::new(folder.dir().secret()).with(other);
        let error = run(tried(&fake, wanted(), &folder)).unwrap_err();
        assert!(matches!(&error, JoinError::Duplicates { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(&format!("setspn -D {has} svc-web")) && text.contains("CN=svc-web"), "{wants}: {text}");
        assert_eq!(text.matches("setspn").count(), 1, "{text}");
        assert!(!folder.0.exists());
    }
    // Its own are no duplicates.
    let folder = Folder::new("own");
    let fake = Fake::new(folder.dir().secret()).with(computer(&[("servicePrincipalName", &["HTTP/web", "HOST/web"])]));
    assert!(run(survey(&wanted(), &fake, None)).unwrap().duplicates.is_empty());
}

#[test]
fn an_account_that_is_another_machines_is_not_taken_over_unasked() {
    for (attributes, words, take_over) in [
        (&[("dNSHostName", &["other.corp.example.test"][..])][..], "other.corp.example.test's", false),
        (&[("userAccountControl", &["8192"][..])], "domain controller's", true),
        (&[("objectClass", &["user"][..])], "no computer's", true),
    ] {
        let folder = Folder::new("taken");
        let mut account = computer(&[]);
        account.attributes.retain(|(name, _)| attributes.iter().all(|(other, _)| name != other));
        account.attributes.extend(entry("", attributes).attributes);
        let fake = Fake::new(folder.dir().secret()).with(account);
        let error = run(tried(&fake, Wanted { take_over, ..wanted() }, &folder)).unwrap_err();
        assert!(matches!(&error, JoinError::Taken { .. }) && error.to_string().contains(words), "{error}");
        assert!(!folder.0.exists());
    }
}

#[test]
fn what_the_domain_refuses_is_said_with_its_remedy() {
    let rights = ResultCode::INSUFFICIENT_ACCESS_RIGHTS;
    for (exists, what, code, win32, words) in [
        (false, "add", rights, 0x2098, "create computer objects in OU=Machines"),
        (false, "add", ResultCode::UNWILLING_TO_PERFORM, 0x216d, "may join 10 computers"),
        (false, "add", ResultCode::CONSTRAINT_VIOLATION, 0x21c7, "another account of the forest"),
        (true, "servicePrincipalName", rights, 0x2098, "Validated write"),
        (true, "unicodePwd", rights, 0x5, "KB5020276"),
    ] {
        let folder = Folder::new("refused");
        let mut fake = Fake::new(folder.dir().secret()).refusing(what, code, win32);
        if exists {
            fake = fake.with(computer(&[]));
        }
        let error = run(tried(&fake, wanted(), &folder)).unwrap_err();
        assert!(error.to_string().contains(words), "{what}: {error}");
        if what != "unicodePwd" {
            // The domain knows nothing new, and neither does the machine.
            assert!(matches!(folder.dir().load(), Err(MachineError::Absent { .. })), "{what}");
        }
    }
}

#[test]
fn a_join_that_fails_halfway_says_what_was_done_and_can_be_repeated() {
    let folder = Folder::new("halfway");
    let fake = Fake::new(folder.dir().secret());
    let error = run(tried(&fake, wanted(), &folder)).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, JoinError::Halfway { .. }), "{text}");
    assert!(
        text.contains("nobody answers") && text.contains("was made") && text.contains("repeat the command"),
        "{text}"
    );
    // The secret is there; the second time it is the one that is kept until the new one holds.
    let first = folder.dir().load().unwrap();
    assert!(first.machine.pending.is_none());
    let error = run(tried(&fake, wanted(), &folder)).unwrap_err();
    assert!(error.to_string().contains("has a new password"), "{error}");
    let second = folder.dir().load().unwrap();
    assert_eq!(second.machine.current.password.expose(), first.machine.current.password.expose());
    assert!(second.machine.pending.is_some());
    // Another machine's state is not written over.
    let other = Wanted::new("other", "other.corp.example.test").unwrap();
    let error = run(tried(&fake, other, &folder)).unwrap_err();
    assert!(matches!(&error, JoinError::Elsewhere { .. }) && error.to_string().contains("CORP\\WEB$"), "{error}");
}

#[test]
fn whoever_leaves_is_disabled_or_deleted() {
    let folder = Folder::new("leave");
    let fake = Fake::new(folder.dir().secret()).with(computer(&[]));
    let machine = Machine {
        domain: names("corp.example.test", "CORP", "S-1-5-21-1-2-3".parse().unwrap(), "corp.example.test"),
        computer: "WEB".into(),
        dns_host_name: "web.corp.example.test".into(),
        salt: String::new(),
        current: MachinePassword { password: Secret::new(String::new()), kvno: 1, since: UnixTime::default() },
        pending: None,
        previous: None,
    };
    let dn = "CN=WEB,OU=Machines,DC=corp,DC=example,DC=test";
    assert_eq!(run(leave(&machine, Leave::Disable, &fake)).unwrap().as_deref(), Some(dn));
    assert_eq!(run(leave(&machine, Leave::Delete, &fake)).unwrap().as_deref(), Some(dn));
    assert_eq!(run(leave(&machine, Leave::Delete, &fake)).unwrap(), None);
}

#[test]
fn a_password_for_the_directory_is_in_quotes() {
    assert_eq!(*unicode_pwd(&Secret::new("aé".to_owned())), *b"\"\0a\0\xe9\0\"\0");
}
