//! For whom nothing is asked of a KDC at all.

use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;

use iwa_auth::Account as Person;
use iwa_auth::krb5::etype::{Etype, Key as SessionKey};
use iwa_auth::ports::{Answer, PasswordVerified};
use iwa_wire::krb5::{KerberosTime, TicketFlags};

use super::*;

/// Counts questions, and answers none.
#[derive(Default)]
struct Silent(AtomicUsize);

impl Kdc for Silent {
    fn ask<'a>(&'a self, _: &'a str, _: &'a [u8]) -> Answer<'a, Result<Vec<u8>, String>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Err("nobody there".to_owned()) })
    }
}

fn outbound(how: &[How]) -> (Outbound, Arc<Silent>) {
    let kdc = Arc::new(Silent::default());
    let outbound = Outbound {
        config: config::Outbound {
            service: Principal::service("HTTP", "backend.example.test", ""),
            who: Who::User(how.to_vec()),
            account: None,
            mutual: true,
            resource_based: false,
            rules: Vec::new(),
            allow_own: false,
        },
        account: Some(Account::new(Principal::user("svc-web", "EXAMPLE.TEST"), "/nonexistent.keytab".into())),
        kdc: Arc::clone(&kdc) as _,
        system: Arc::new(Os),
        tickets: Arc::new(Tickets::new(10, Duration::from_secs(10))),
        domain: Some(crate::gateway::logons::Names {
            dns: "example.test".to_owned(),
            netbios: Some("CORP".to_owned()),
            sid: Some("S-1-5-21-7-7-7".parse().expect("a SID")),
        }),
    };
    (outbound, kdc)
}

fn person(name: &str, domain: &str, realm: Option<&str>, sid: Option<&str>) -> Identity {
    let account = Person {
        name: name.to_owned(),
        domain: domain.to_owned(),
        realm: realm.map(str::to_owned),
        upn: None,
        display_name: None,
        sid: sid.map(|sid| sid.parse().expect("a SID")),
    };
    Identity::from_password(PasswordVerified::by_authority(account, Vec::new()))
}

async fn refused(how: &[How], identity: &Identity) -> (u16, String) {
    let (outbound, kdc) = outbound(how);
    let brought = Brought { identity: Some(identity), ..Brought::default() };
    let refused = outbound.as_user(how, identity, brought).await.err().expect("refused");
    assert_eq!(kdc.0.load(Ordering::Relaxed), 0, "nobody is asked");
    (refused.status.http.as_u16(), refused.words)
}

#[tokio::test]
async fn who_brings_nothing_is_refused_and_never_signed_in_as_another() {
    let alice = person("alice", "CORP", Some("EXAMPLE.TEST"), Some("S-1-5-21-7-7-7-1000"));
    for how in [&[How::Constrained][..], &[How::DelegatedTgt], &[How::DelegatedTgt, How::Constrained]] {
        let (status, words) = refused(how, &alice).await;
        assert_eq!(status, 403);
        assert!(words.contains("brought nothing that") && words.contains("CORP\\alice"), "{words}");
    }
}

#[tokio::test]
async fn a_forwarded_ticket_that_is_no_tgt_of_the_users_own_realm_leads_to_no_kdc() {
    let alice = Principal::user("alice", "EXAMPLE.TEST");
    let tgt = |realm: &str, of: &str| Principal { realm: of.to_owned(), ..Principal::service("krbtgt", realm, of) };
    let forwarded = |client: Principal, server: Principal| {
        let far = KerberosTime(4_000_000_000);
        let key = SessionKey::new(Etype::Aes256CtsHmacSha1, &[7; 32]).expect("a key");
        Credential {
            client,
            server,
            key,
            flags: TicketFlags::FORWARDABLE,
            authtime: far,
            starttime: far,
            endtime: far,
            renew_till: None,
            ticket: Vec::new(),
            clock_offset: 0,
        }
    };
    let own = || forwarded(alice.clone(), tgt("EXAMPLE.TEST", "EXAMPLE.TEST"));
    for other in [
        forwarded(Principal::user("bob", "EXAMPLE.TEST"), tgt("EXAMPLE.TEST", "EXAMPLE.TEST")),
        forwarded(alice.clone(), tgt("EVIL.TEST", "EVIL.TEST")),
        forwarded(alice.clone(), tgt("EVIL.TEST", "EXAMPLE.TEST")),
        forwarded(alice.clone(), tgt("EXAMPLE.TEST", "EVIL.TEST")),
        forwarded(alice.clone(), Principal::service("HTTP", "backend.example.test", "EXAMPLE.TEST")),
    ] {
        let (outbound, kdc) = outbound(&[How::DelegatedTgt]);
        let what = other.server.to_string();
        let delegated = Delegated { credentials: vec![own(), other] };
        let reason = outbound.with_tgt(&alice, &delegated).await.expect_err("refused");
        assert!(matches!(reason, Reason::Policy(Policy::Delegation { .. })), "{what}: {reason}");
        assert_eq!(kdc.0.load(Ordering::Relaxed), 0, "{what}: nobody is asked");
    }
    assert!(is_their_own(&alice, &Delegated { credentials: vec![own()] }).is_ok());
}

#[tokio::test]
async fn only_users_of_the_accounts_own_realm_are_acted_for() {
    for (name, domain, realm, sid) in [
        // A local account, and one of a directory.
        ("alice", "WEB", None, Some("S-1-5-21-1-2-3-1000")),
        ("alice", "LDAP", None, None),
        // Another domain, whatever it says that it is called.
        ("alice", "OTHER", Some("OTHER.TEST"), Some("S-1-5-21-9-9-9-1000")),
        ("alice", "CORP", None, Some("S-1-5-21-9-9-9-1000")),
        ("alice", "CORP", Some("EXAMPLE.TEST"), Some("S-1-5-21-9-9-9-1000")),
        ("alice", "CORP", Some("EXAMPLE.TEST.OTHER.TEST"), None),
        // A name that would be another's.
        ("alice/admin", "CORP", Some("EXAMPLE.TEST"), None),
        ("alice@OTHER.TEST", "CORP", Some("EXAMPLE.TEST"), None),
    ] {
        let (status, words) = refused(&[How::Transition], &person(name, domain, realm, sid)).await;
        assert_eq!(status, 403);
        assert!(words.contains("is no user of EXAMPLE.TEST"), "{words}");
    }
    let (outbound, _) = outbound(&[How::Transition]);
    for (realm, sid) in [(None, Some("S-1-5-21-7-7-7-1000")), (Some("example.test"), None)] {
        let alice = person("alice", "corp", realm, sid);
        assert_eq!(outbound.user(&alice).expect("one of ours"), Principal::user("alice", "EXAMPLE.TEST"));
    }
}

#[tokio::test]
async fn without_its_keys_the_gateway_asks_nobody_and_says_so() {
    let alice = person("alice", "CORP", Some("EXAMPLE.TEST"), None);
    let (status, words) = refused(&[How::Transition], &alice).await;
    assert_eq!(status, 502);
    assert!(words.contains("/nonexistent.keytab"), "{words}");
}

#[test]
fn a_service_that_is_this_server_itself_is_refused_unless_it_is_meant() {
    let site = Config {
        kerberos: Some(config::Kerberos {
            service_names: vec!["HTTP/web.example.test".to_owned()],
            ..config::Kerberos::default()
        }),
        ..Config::default()
    };
    let (outbound, _) = outbound(&[How::Constrained]);
    let tickets = Arc::clone(&outbound.tickets);
    let make = |host: &str, allow_own: bool| {
        let account = Some((Principal::user("svc-web", "EXAMPLE.TEST"), "/nonexistent.keytab".into()));
        let service = Principal::service("http", host, "");
        let section = config::Outbound { service, account, allow_own, ..outbound.config.clone() };
        Outbound::new(&section, &site, &[], &Keytabs::default(), &tickets).err().map(|problem| problem.0)
    };
    for host in ["web.example.test", "WEB.example.TEST"] {
        let problem = make(host, false).expect("it is this server");
        assert!(problem.contains("is this server itself"), "{problem}");
        assert_eq!(make(host, true), None, "somebody means it");
    }
}
