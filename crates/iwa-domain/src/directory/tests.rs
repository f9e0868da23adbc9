//! Against a directory in memory that answers as slapd does.

use std::sync::Mutex;

use super::*;

/// Entries, and what a bind says.
#[derive(Default)]
struct Memory {
    entries: Vec<Entry>,
    passwords: Vec<(String, String)>,
    refuses: Option<String>,
    down: Option<String>,
    binds: Mutex<Vec<String>>,
    searches: Mutex<usize>,
}

impl Memory {
    fn with(mut self, dn: &str, attributes: &[(&str, &[&str])]) -> Self {
        let attributes = attributes
            .iter()
            .map(|(name, values)| ((*name).to_owned(), values.iter().map(|value| value.as_bytes().to_vec()).collect()));
        self.entries.push(Entry { dn: dn.to_owned(), attributes: attributes.collect() });
        self
    }
}

fn matches(entry: &Entry, filter: &Filter) -> bool {
    match filter {
        Filter::And(all) => all.iter().all(|filter| matches(entry, filter)),
        Filter::Or(any) => any.iter().any(|filter| matches(entry, filter)),
        Filter::Present(_) => true,
        Filter::Equal(kind, value) => {
            let wanted = String::from_utf8_lossy(value);
            entry.values(kind).iter().any(|value| {
                let value = String::from_utf8_lossy(value);
                match (Name::parse(&value), Name::parse(&wanted)) {
                    (Some(a), Some(b)) => a == b,
                    _ => name::folded(&value) == name::folded(&wanted),
                }
            })
        }
        other => panic!("{other:?}"),
    }
}

impl Ldap for Memory {
    fn search<'a>(&'a self, search: Search<'a>) -> Answer<'a, Result<Vec<Entry>, String>> {
        *self.searches.lock().unwrap() += 1;
        Box::pin(async move {
            if let Some(why) = &self.down {
                return Err(why.clone());
            }
            let base = Name::parse(search.base).unwrap();
            let below = |entry: &&Entry| {
                let name = Name::parse(&entry.dn).unwrap();
                match search.scope {
                    Scope::Base => name == base,
                    Scope::Subtree => name.to_string().ends_with(&base.to_string()),
                }
            };
            let found = self.entries.iter().filter(below).filter(|entry| matches(entry, &search.filter));
            let asked = |entry: &Entry| Entry {
                dn: entry.dn.clone(),
                attributes: entry
                    .attributes
                    .iter()
                    .filter(|(name, _)| search.attributes.iter().any(|asked| asked.eq_ignore_ascii_case(name)))
                    .cloned()
                    .collect(),
            };
            Ok(found.map(asked).take(search.limit).collect())
        })
    }

    fn bind<'a>(&'a self, dn: &'a str, password: &'a Secret<String>) -> Answer<'a, Result<Bound, String>> {
        Box::pin(async move {
            self.binds.lock().unwrap().push(dn.to_owned());
            // As a directory does: a bind without a password is an anonymous one.
            if password.expose().is_empty() {
                return Ok(Bound::Yes);
            }
            if let Some(why) = &self.refuses {
                return Ok(Bound::Refused(why.clone()));
            }
            let right = self.passwords.iter().any(|(own, own_password)| own == dn && own_password == password.expose());
            Ok(if right { Bound::Yes } else { Bound::WrongPassword })
        })
    }
}

const ALICE: &str = "uid=alice,ou=people,dc=example,dc=test";

fn hash(password: &str) -> String {
    crypto::nt_hash(password).expose().iter().map(|byte| format!("{byte:02X}")).collect()
}

/// Alice, in Engineers, who are in All Staff.
fn memory() -> Memory {
    let hash = hash("Alice-Pw1");
    let mut memory = Memory::default()
        .with(
            ALICE,
            &[
                ("uid", &["alice"]),
                ("displayName", &["Alice Example"]),
                ("sambaNTPassword", &[&hash]),
                ("sambaSID", &["S-1-5-21-1-2-3-1001"]),
                ("sambaAcctFlags", &["[U          ]"]),
                ("memberOf", &["cn=Engineers,ou=groups,dc=example,dc=test"]),
            ],
        )
        .with(
            "cn=Engineers,ou=groups,dc=example,dc=test",
            &[("member", &[ALICE]), ("sambaSID", &["S-1-5-21-1-2-3-2001"])],
        )
        .with(
            "cn=All Staff,ou=groups,dc=example,dc=test",
            &[
                ("member", &["cn=engineers,ou=Groups,dc=example,dc=test", "cn=All Staff,ou=groups,dc=example,dc=test"]),
                ("sambaSID", &["S-1-5-32-544"]),
            ],
        )
        .with("cn=posix,ou=groups,dc=example,dc=test", &[("memberUid", &["alice"])])
        .with("cn=staff,ou=other,ou=groups,dc=example,dc=test", &[("uniqueMember", &[ALICE])])
        .with("cn=outside,dc=example,dc=test", &[("member", &[ALICE])]);
    memory.passwords.push((ALICE.into(), "Alice-Pw1".into()));
    memory
}

fn config() -> DirectoryConfig {
    DirectoryConfig {
        name: "LDAP".into(),
        base: "dc=example,dc=test".into(),
        user_attribute: "uid".into(),
        aliases: Vec::new(),
        user_class: None,
        nt_hash: Some("sambaNTPassword".into()),
        groups: GroupConfig { base: Name::parse("ou=groups,dc=example,dc=test"), ..GroupConfig::default() },
        sids: vec!["sambaSID".into()],
        domain_sid: "S-1-5-21-1-2-3".parse().ok(),
        lockout: Lockout { threshold: 3, ..Lockout::default() },
        reader: "cn=reader,dc=example,dc=test".into(),
    }
}

fn directory(memory: Memory) -> Directory<Memory> {
    Directory::new(config(), memory, Arc::default())
}

fn response(domain: &str, user: &str, password: &str) -> NetworkLogon {
    let temp = [&[1, 1][..], &[0; 30]].concat();
    let key = crypto::ntowfv2(&crypto::nt_hash(password), user, domain);
    let proof = crypto::nt_proof_str(&key, &[9; 8], &temp);
    NetworkLogon {
        domain: domain.into(),
        user: user.into(),
        workstation: String::new(),
        server_challenge: [9; 8],
        nt_response: [proof.as_slice(), &temp].concat(),
        lm_response: Vec::new(),
    }
}

async fn ntlm(directory: &Directory<Memory>, user: &str, password: &str) -> Result<LogonInfo, LogonError> {
    directory.network(&response("LDAP", user, password)).await
}

async fn basic(directory: &Directory<Memory>, user: &str, password: &str) -> Result<(), LogonError> {
    directory.password("", user, &Secret::new(password.to_owned())).await.map(|_| ())
}

const fn refused(status: NtStatus) -> LogonError {
    LogonError::Refused(status)
}

#[tokio::test]
async fn a_user_comes_with_groups_by_name_by_dn_and_by_sid() {
    let info = ntlm(&directory(memory()), "ALICE", "Alice-Pw1").await.unwrap();
    assert_eq!((info.account.domain.as_str(), info.account.name.as_str()), ("LDAP", "alice"));
    assert_eq!(info.account.display_name.as_deref(), Some("Alice Example"));
    assert_eq!(info.account.sid, "S-1-5-21-1-2-3-1001".parse().ok());
    let named = info.named_groups.unwrap();
    let named: Vec<_> = named.iter().map(|group| (group.dn.as_str(), group.name.as_deref())).collect();
    assert_eq!(
        named,
        [
            ("cn=all staff,ou=groups,dc=example,dc=test", Some("all staff")),
            ("cn=engineers,ou=groups,dc=example,dc=test", Some("engineers")),
            ("cn=posix,ou=groups,dc=example,dc=test", Some("posix")),
            // Not directly below the base: somebody else may make a group of that name.
            ("cn=staff,ou=other,ou=groups,dc=example,dc=test", None),
        ]
    );
    // A directory speaks for its own domain: not for BUILTIN.
    assert_eq!(info.groups, ["S-1-5-21-1-2-3-2001".parse().unwrap()]);
}

#[tokio::test]
async fn without_a_domain_sid_the_directory_gives_no_sids() {
    let config = DirectoryConfig { domain_sid: None, ..config() };
    let info = ntlm(&Directory::new(config, memory(), Arc::default()), "alice", "Alice-Pw1").await.unwrap();
    assert_eq!((info.account.sid, info.groups.len()), (None, 0));
}

#[tokio::test]
async fn direct_groups_only() {
    let mut config = config();
    config.groups.nested = false;
    let info = ntlm(&Directory::new(config, memory(), Arc::default()), "alice", "Alice-Pw1").await.unwrap();
    assert!(!info.named_groups.unwrap().iter().any(|group| group.dn.starts_with("cn=all staff")));
}

#[tokio::test]
async fn without_a_base_groups_are_those_that_the_entries_name() {
    let mut config = config();
    config.groups.base = None;
    let memory = memory().with("cn=top,dc=example,dc=test", &[]);
    let mut memory = memory;
    let engineers = memory.entries.iter_mut().find(|entry| entry.dn.starts_with("cn=Engineers")).unwrap();
    engineers.attributes.push(("groupMembership".into(), vec![b"cn=Top,dc=example,dc=test".to_vec()]));
    let info = ntlm(&Directory::new(config, memory, Arc::default()), "alice", "Alice-Pw1").await.unwrap();
    let dns: Vec<_> = info.named_groups.unwrap().into_iter().map(|group| (group.dn, group.name)).collect();
    assert_eq!(
        dns,
        [("cn=engineers,ou=groups,dc=example,dc=test".into(), None), ("cn=top,dc=example,dc=test".into(), None)]
    );
}

#[tokio::test]
async fn groups_that_are_too_many_or_too_deep_let_nobody_in() {
    let many: Vec<String> = (0..5000).map(|nth| format!("cn=g{nth},dc=example,dc=test")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let mut crowded = memory();
    crowded.entries[0]
        .attributes
        .push(("groupMembership".into(), many.iter().map(|dn| dn.as_bytes().to_vec()).collect()));
    let mut deep = memory();
    for nth in 0..40 {
        let member = if nth == 0 { ALICE.to_owned() } else { format!("cn=d{},ou=groups,dc=example,dc=test", nth - 1) };
        deep = deep.with(&format!("cn=d{nth},ou=groups,dc=example,dc=test"), &[("member", &[&member])]);
    }
    for memory in [crowded, deep] {
        let refused = ntlm(&directory(memory), "alice", "Alice-Pw1").await.unwrap_err();
        assert!(matches!(&refused, LogonError::Unavailable(why) if why.contains("more than")), "{refused:?}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_wrong_and_guessing_ends() {
    let directory = directory(memory());
    for _ in 0..2 {
        assert_eq!(ntlm(&directory, "alice", "guess").await.unwrap_err(), refused(NtStatus::WRONG_PASSWORD));
    }
    // The third in another spelling and by another way is the same account's.
    assert_eq!(basic(&directory, "Alice", "guess").await.unwrap_err(), refused(NtStatus::WRONG_PASSWORD));
    for user in ["alice", "ALICE"] {
        assert_eq!(ntlm(&directory, user, "Alice-Pw1").await.unwrap_err(), refused(NtStatus::ACCOUNT_LOCKED_OUT));
    }
    assert_eq!(basic(&directory, "alice", "Alice-Pw1").await.unwrap_err(), refused(NtStatus::ACCOUNT_LOCKED_OUT));
    assert_eq!(directory.ldap.binds.lock().unwrap().len(), 1, "a locked account's password is not tried");
}

#[tokio::test]
async fn names_without_one_entry_are_nobody() {
    let twice = memory().with("uid=alice,ou=others,dc=example,dc=test", &[("uid", &["alice"])]);
    assert_eq!(ntlm(&directory(twice), "alice", "Alice-Pw1").await.unwrap_err(), refused(NtStatus::NO_SUCH_USER));
    let directory = directory(memory());
    for user in ["", "nobody", "*", "alice)(uid=*", "al\0ice", &"a".repeat(300)] {
        assert_eq!(ntlm(&directory, user, "Alice-Pw1").await.unwrap_err(), refused(NtStatus::NO_SUCH_USER), "{user:?}");
        assert_eq!(
            basic(&directory, user, "Alice-Pw1").await.unwrap_err(),
            refused(NtStatus::NO_SUCH_USER),
            "{user:?}"
        );
    }
}

#[test]
fn of_several_names_only_that_in_the_dn_is_a_name() {
    let own = |dn: &str, values: &[&str]| {
        let values = values.iter().map(|value| value.as_bytes().to_vec()).collect();
        let entry = Entry { dn: dn.into(), attributes: vec![("uid".into(), values)] };
        own_name(&entry, &Name::parse(dn).unwrap(), "uid")
    };
    assert_eq!(own("uid=alice,o=x", &["root", "Alice"]).as_deref(), Some("Alice"));
    assert_eq!(own("cn=Alice,o=x", &["alice"]).as_deref(), Some("alice"));
    for (dn, values) in [
        ("cn=Alice,o=x", &["alice", "root"][..]),
        ("cn=Alice,o=x", &[]),
        ("cn=Alice,o=x", &["CORP\\alice"]),
        ("cn=Alice,o=x", &["alice@corp.example.test"]),
        ("cn=Alice,o=x", &["alice\u{202e}"]),
        ("cn=Alice,o=x", &[""]),
    ] {
        assert_eq!(own(dn, values), None, "{values:?}");
    }
}

#[tokio::test]
async fn a_bind_without_a_password_is_not_tried() {
    let directory = directory(memory());
    assert_eq!(basic(&directory, "alice", "").await.unwrap_err(), refused(NtStatus::WRONG_PASSWORD));
    assert!(directory.ldap.binds.lock().unwrap().is_empty());
    assert!(basic(&directory, "alice", "Alice-Pw1").await.is_ok());
    assert_eq!(*directory.ldap.binds.lock().unwrap(), [ALICE]);
}

#[tokio::test]
async fn who_is_disabled_stays_out_and_only_the_owner_is_told() {
    let mut memory = memory();
    memory.entries[0].attributes.retain(|(name, _)| name != "sambaAcctFlags");
    memory.entries[0].attributes.push(("sambaAcctFlags".into(), vec![b"[UD         ]".to_vec()]));
    let mut directory = directory(memory);
    assert_eq!(ntlm(&directory, "alice", "Alice-Pw1").await.unwrap_err(), refused(NtStatus::ACCOUNT_DISABLED));
    assert_eq!(basic(&directory, "alice", "Alice-Pw1").await.unwrap_err(), refused(NtStatus::ACCOUNT_DISABLED));
    assert_eq!(ntlm(&directory, "alice", "guess").await.unwrap_err(), refused(NtStatus::WRONG_PASSWORD));
    directory.ldap.refuses = Some("NDS error: log account expired (-220)".into());
    assert_eq!(basic(&directory, "alice", "Alice-Pw1").await.unwrap_err(), refused(NtStatus::ACCOUNT_DISABLED));
}

#[tokio::test]
async fn a_reader_without_the_right_is_told_which() {
    let mut blind =
        memory().with("uid=bob,dc=example,dc=test", &[("uid", &["bob"]), ("sambaNTPassword", &[&hash("Bob-Pw1")])]);
    blind.entries[0].attributes.retain(|(name, _)| name != "sambaNTPassword");
    let directory = directory(blind);
    let why = ntlm(&directory, "alice", "Alice-Pw1").await.unwrap_err();
    assert!(
        matches!(&why, LogonError::Unavailable(why) if why.contains("cn=reader") && why.contains("right to read sambaNTPassword")),
        "{why:?}"
    );
    // As soon as it is known that the reader may, an account without a hash is one that has none.
    assert!(ntlm(&directory, "bob", "Bob-Pw1").await.is_ok());
    assert_eq!(ntlm(&directory, "alice", "Alice-Pw1").await.unwrap_err(), refused(NtStatus::LOGON_FAILURE));
}

#[tokio::test]
async fn a_directory_that_is_down_or_has_no_hashes_is_unavailable() {
    let mut memory = memory();
    memory.down = Some("connection refused".into());
    let directory = directory(memory);
    assert_eq!(ntlm(&directory, "alice", "x").await.unwrap_err(), LogonError::Unavailable("connection refused".into()));
    let config = DirectoryConfig { nt_hash: None, ..config() };
    let directory = Directory::new(config, super::tests::memory(), Arc::default());
    assert!(matches!(ntlm(&directory, "alice", "Alice-Pw1").await, Err(LogonError::Unavailable(_))));
    assert!(basic(&directory, "alice", "Alice-Pw1").await.is_ok());
}

#[test]
fn nt_hashes() {
    let of = |value: &[u8]| nt_hash(&[value.to_vec()]).map(|hash| *hash.expose());
    assert_eq!(of(b"000102030405060708090a0B0C0D0E0F").unwrap()[..3], [0, 1, 2]);
    assert_eq!(of(&[7; 16]), Ok([7; 16]));
    for bad in
        [&b""[..], b"00", &[7; 15], b"+00102030405060708090a0B0C0D0E0F", "ä00102030405060708090a0B0C0D0E0".as_bytes()]
    {
        assert_eq!(of(bad), Err(NoHash::Broken), "{bad:?}");
    }
    assert_eq!(of(b"NO PASSWORDXXXXXXXXXXXXXXXXXXXXX"), Err(NoHash::Broken));
    assert_eq!(nt_hash(&[]).map(|_| ()), Err(NoHash::Absent));
    assert_eq!(nt_hash(&[vec![7; 16], vec![8; 16]]).map(|_| ()), Err(NoHash::Broken));
}
