//! The LDAP client in good and bad weather, against a server on loopback.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod fake;

use std::sync::Arc;
use std::time::Duration;

use fake::{AtSearch, Fake, HOST, Mood, PASSWORD, Watched};
use iwa_auth::krb5::sasl::SaslError;
use iwa_auth::{BindingPolicy, Secret};
use iwa_domain::ldap::{
    Account, Change, Connection, Directory, Filter, LdapError, Patience, ResultCode, Search, Transport, Why, ticket_for,
};
use iwa_domain::machine::DomainNames;
use iwa_domain::names::{LdapNames, Source as _};
use iwa_domain::tls::{Roots, client_config};
use iwa_wire::Sid;

const PATIENCE: Patience = Patience { connect: Duration::from_secs(5), answer: Duration::from_secs(20) };
/// Where the answer does not come.
const SHORT: Patience = Patience { connect: Duration::from_secs(5), answer: Duration::from_millis(300) };

fn all() -> Search<'static> {
    Search::below("DC=example,DC=test", Filter::any_entry(), &["cn"])
}

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

/// Believes the server's own certificate and nothing else.
fn trusting(fake: &Fake) -> Arc<rustls::ClientConfig> {
    let path = std::env::temp_dir().join(format!("iwa-ldap-{}-{}.pem", std::process::id(), fake.port));
    std::fs::write(&path, &fake.certificate).unwrap();
    let config = client_config(&Roots { system: false, files: vec![path.clone()] }).unwrap();
    std::fs::remove_file(&path).unwrap();
    config
}

async fn open(fake: &Fake, patience: Patience) -> Connection {
    Connection::open(&fake.server(), &Transport::Clear, patience).await.unwrap()
}

async fn bind(fake: &Fake, connection: &mut Connection) -> Result<(), LdapError> {
    let ticket = ticket_for(&fake.alice(), &*fake.kdc(), HOST).await.unwrap();
    connection.bind_gssapi(&ticket).await
}

async fn bound(fake: &Fake, patience: Patience) -> Connection {
    let mut connection = open(fake, patience).await;
    bind(fake, &mut connection).await.unwrap();
    connection
}

fn directory(fake: &Fake, transport: Transport, account: Account) -> (Directory, Arc<Watched>) {
    let controllers = Watched::new(vec![fake.controller()]);
    (Directory::new(controllers.clone(), fake.kdc(), transport, account, PATIENCE), controllers)
}

fn by_kerberos(fake: &Fake) -> (Directory, Arc<Watched>) {
    directory(fake, Transport::Clear, Account::Kerberos(fake.alice()))
}

#[tokio::test]
async fn everything_after_a_bind_by_kerberos_is_sealed() {
    let fake = Fake::new(Mood { entries: 1200, ..Mood::default() }).await;
    let mut connection = bound(&fake, PATIENCE).await;
    assert!(connection.is_confidential());
    let found = connection.search(&Search { most: 2000, ..all() }).await.unwrap();
    assert_eq!(found.entries.len(), 1200);
    assert_eq!(found.entries[1199].text("CN"), Some("entry 1199"));
    assert_eq!(connection.who_am_i().await.unwrap(), "u:EXAMPLE\\alice");
    connection.modify("CN=x", &[Change::unicode_pwd(&secret("New-Pw1"))]).await.unwrap();
    assert_eq!(connection.add("CN=x", &[]).await.unwrap_err().code(), Some(ResultCode::ENTRY_ALREADY_EXISTS));
    connection.delete("CN=x").await.unwrap();
    // 3 pages.
    assert_eq!(fake.requests().iter().filter(|name| *name == "SearchRequest").count(), 3);
    let clear = fake.seen.clear.lock().unwrap().clone();
    assert!(!clear.windows(10).any(|part| part == b"DC=example"), "nothing of the search is seen on the way");
    assert!(!clear.windows(6).any(|part| part == b"N\0e\0w\0"));
}

#[tokio::test]
async fn a_password_in_clear_does_not_leave_the_machine() {
    let fake = Fake::new(Mood::default()).await;
    let mut connection = open(&fake, PATIENCE).await;
    let error = connection.bind_simple("alice@example.test", &secret(PASSWORD)).await.unwrap_err();
    assert!(matches!(error.why, Why::Refused(_)) && error.to_string().contains("StartTLS"), "{error}");
    // The connection goes on to work, and the server has heard nothing.
    connection.search(&all()).await.unwrap();
    assert_eq!(fake.requests(), ["SearchRequest"]);
}

#[tokio::test]
async fn a_password_goes_over_tls() {
    let fake = Fake::new(Mood::default()).await;
    for transport in [Transport::StartTls(trusting(&fake)), Transport::Tls(trusting(&fake))] {
        let account = Account::Simple { name: "alice@example.test".into(), password: secret(PASSWORD) };
        let (directory, _) = directory(&fake, transport, account);
        assert_eq!(directory.search(&all()).await.unwrap().entries.len(), 3);
    }
    let clear = fake.seen.clear.lock().unwrap().clone();
    assert!(!clear.windows(5).any(|part| part == b"alice"));
}

#[tokio::test]
async fn an_empty_password_or_name_is_no_bind() {
    let fake = Fake::new(Mood::default()).await;
    let server = iwa_domain::ldap::Server { port: fake.tls_port, ..fake.server() };
    let mut connection = Connection::open(&server, &Transport::Tls(trusting(&fake)), PATIENCE).await.unwrap();
    assert!(matches!(connection.bind_simple("alice", &secret("")).await.unwrap_err().why, Why::Refused(_)));
    assert!(matches!(connection.bind_simple("", &secret("x")).await.unwrap_err().why, Why::Refused(_)));
    assert!(fake.requests().is_empty());
}

#[tokio::test]
async fn a_refused_password_says_why() {
    let text = "80090308: LdapErr: DSID-0C090446, comment: AcceptSecurityContext error, data 533, v4563\0";
    let fake = Fake::new(Mood { bind_result: (49, text), ..Mood::default() }).await;
    let account = Account::Simple { name: "carol".into(), password: secret("x") };
    let (directory, watched) = directory(&fake, Transport::StartTls(trusting(&fake)), account);
    let error = directory.search(&all()).await.unwrap_err();
    assert_eq!((error.code(), error.data()), (Some(ResultCode::INVALID_CREDENTIALS), Some(0x533)));
    assert!(error.to_string().contains("disabled"), "{error}");
    assert!(watched.said.lock().unwrap().is_empty(), "the controller is not to blame");
    assert_eq!(fake.requests().iter().filter(|name| *name == "BindRequest").count(), 1, "and is asked once");
}

#[tokio::test]
async fn a_certificate_of_another_host_or_authority_is_refused() {
    let fake = Fake::with_certificate_for("other.example.test", Mood::default()).await;
    let other = Fake::new(Mood::default()).await;
    for (server, config) in [(&fake, trusting(&fake)), (&other, trusting(&fake))] {
        for transport in [Transport::StartTls(config.clone()), Transport::Tls(config.clone())] {
            let account = Account::Simple { name: "alice".into(), password: secret(PASSWORD) };
            let (directory, watched) = directory(server, transport, account);
            let error = directory.search(&all()).await.unwrap_err();
            assert!(matches!(error.why, Why::Tls(_)) && error.to_string().contains(HOST), "{error}");
            assert_eq!(watched.said.lock().unwrap().len(), 1);
        }
        assert!(!server.requests().contains(&"BindRequest".to_owned()));
    }
}

#[tokio::test]
async fn start_tls_that_somebody_strips_ends_it() {
    let fake = Fake::new(Mood { strips_tls: true, ..Mood::default() }).await;
    let transport = Transport::StartTls(trusting(&fake));
    let account = Account::Simple { name: "alice".into(), password: secret(PASSWORD) };
    let error = directory(&fake, transport, account).0.search(&all()).await.unwrap_err();
    assert!(matches!(error.why, Why::Tls(_)), "{error}");
    assert_eq!(fake.requests(), ["StartTLS"]);
    assert!(!fake.seen.clear.lock().unwrap().windows(5).any(|part| part == b"alice"));
}

#[tokio::test]
async fn what_somebody_puts_behind_the_answer_to_start_tls_is_not_taken_for_the_servers() {
    let fake = Fake::new(Mood { after_start_tls: true, ..Mood::default() }).await;
    let opened = Connection::open(&fake.server(), &Transport::StartTls(trusting(&fake)), PATIENCE).await;
    // It arrives with the answer, or as the first bytes of what should be TLS.
    assert!(matches!(opened.unwrap_err().why, Why::Tls(_)));
}

#[tokio::test]
async fn kerberos_inside_tls_is_bound_to_it_and_has_no_layer() {
    let fake = Fake::new(Mood { offer: 1, bindings: BindingPolicy::Require, ..Mood::default() }).await;
    for transport in [Transport::StartTls(trusting(&fake)), Transport::Tls(trusting(&fake))] {
        let (directory, _) = directory(&fake, transport, Account::Kerberos(fake.alice()));
        assert_eq!(directory.search(&all()).await.unwrap().entries.len(), 3);
    }
    // In clear there is nothing to bind to, and this server wants it.
    fake.set(|mood| mood.offer = 7);
    let error = by_kerberos(&fake).0.search(&all()).await.unwrap_err();
    assert!(matches!(error.why, Why::Sasl(SaslError::Kerberos(_)) | Why::Result(_)), "{error}");
}

#[tokio::test]
async fn a_server_that_does_not_seal_is_refused() {
    for offer in [1, 2, 3] {
        let fake = Fake::new(Mood { offer, ..Mood::default() }).await;
        let mut connection = open(&fake, PATIENCE).await;
        let error = bind(&fake, &mut connection).await.unwrap_err();
        assert!(matches!(error.why, Why::Sasl(SaslError::NoConfidentiality { .. })), "{error}");
        assert!(!connection.is_confidential());
    }
}

#[tokio::test]
async fn a_server_that_does_not_prove_itself_is_refused() {
    type Change = fn(&mut Mood);
    for change in [
        (|mood| mood.done_too_early = true) as Change,
        |mood| mood.done_without_offer = true,
        |mood| mood.false_ap_rep = true,
    ] {
        let fake = Fake::new(Mood::default()).await;
        fake.set(change);
        let error = bind(&fake, &mut open(&fake, PATIENCE).await).await.unwrap_err();
        assert!(matches!(error.why, Why::Sasl(_)), "{error}");
    }
}

#[tokio::test]
async fn what_stands_in_clear_behind_the_bind_is_not_taken_for_sealed() {
    let fake = Fake::new(Mood { after_bind: true, ..Mood::default() }).await;
    let mut connection = open(&fake, PATIENCE).await;
    match bind(&fake, &mut connection).await {
        Err(error) => assert!(matches!(error.why, Why::Broken(_)), "{error}"),
        // It came later than the answer: then it is no frame.
        Ok(()) => assert!(connection.search(&all()).await.is_err()),
    }
}

#[tokio::test]
async fn sealed_frames_that_were_changed_repeated_or_are_none_end_the_connection() {
    for at_search in [
        AtSearch::Tamper,
        AtSearch::Repeat,
        AtSearch::SignOnly,
        AtSearch::InClear,
        AtSearch::OversizedFrame,
        AtSearch::Oversized,
        AtSearch::Garbage,
    ] {
        let fake = Fake::new(Mood { at_search, ..Mood::default() }).await;
        let mut connection = bound(&fake, SHORT).await;
        if at_search == AtSearch::Repeat {
            assert!(connection.search(&all()).await.is_ok());
        }
        let error = connection.search(&all()).await.unwrap_err();
        assert!(matches!(error.why, Why::Sasl(_) | Why::Broken(_)), "{at_search:?}: {error}");
        assert!(!connection.is_usable(), "{at_search:?}");
    }
}

#[tokio::test]
async fn bad_weather_on_the_way_to_an_answer() {
    for at_search in [
        AtSearch::Hang,
        AtSearch::Close,
        AtSearch::CloseInTheMiddle,
        AtSearch::Oversized,
        AtSearch::Garbage,
        AtSearch::OtherId,
        AtSearch::OtherOperation,
        AtSearch::Notice,
    ] {
        let fake = Fake::new(Mood { at_search, ..Mood::default() }).await;
        let mut connection = open(&fake, SHORT).await;
        let error = connection.search(&all()).await.unwrap_err();
        assert!(matches!(error.why, Why::Broken(_)) && error.elsewhere(), "{at_search:?}: {error}");
        assert!(!connection.is_usable(), "{at_search:?}");
        // Nothing is read off a connection on which an old answer may still come.
        assert!(connection.search(&all()).await.unwrap_err().to_string().contains("given up"), "{at_search:?}");
    }
}

#[tokio::test]
async fn a_search_takes_no_more_than_it_was_told_to() {
    let fake = Fake::new(Mood { entries: 11, ..Mood::default() }).await;
    let mut connection = open(&fake, PATIENCE).await;
    assert_eq!(connection.search(&Search { most: 11, ..all() }).await.unwrap().entries.len(), 11);
    let error = connection.search(&Search { most: 10, ..all() }).await.unwrap_err();
    assert!(matches!(error.why, Why::Limit { limit: 10, .. }), "{error}");
    fake.set(|mood| mood.at_search = AtSearch::Endless);
    let error = open(&fake, PATIENCE).await.search(&Search { most: 1000, ..all() }).await.unwrap_err();
    assert!(matches!(error.why, Why::Limit { limit: 1000, .. }), "{error}");
}

#[tokio::test]
async fn a_referral_is_told_of_and_not_followed() {
    let fake = Fake::new(Mood { at_search: AtSearch::Refer, ..Mood::default() }).await;
    let found = by_kerberos(&fake).0.search(&all()).await.unwrap();
    assert_eq!(found.referrals, ["ldap://elsewhere.example.test/DC=example,DC=test"]);
    assert_eq!(found.entries.len(), 1);
}

#[tokio::test]
async fn a_busy_controller_is_left_for_the_next_one() {
    for code in [51, 52] {
        let fake = Fake::new(Mood { at_search: AtSearch::Result(code), ..Mood::default() }).await;
        let (directory, watched) = by_kerberos(&fake);
        let error = directory.search(&all()).await.unwrap_err();
        assert_eq!(error.code(), Some(ResultCode(code)));
        assert!(watched.said.lock().unwrap().iter().any(|said| said.starts_with("failed")), "{code}");
    }
    // What is the client's own fault is not tried elsewhere.
    let fake = Fake::new(Mood { at_search: AtSearch::Result(50), ..Mood::default() }).await;
    let (directory, watched) = by_kerberos(&fake);
    assert_eq!(directory.search(&all()).await.unwrap_err().code(), Some(ResultCode::INSUFFICIENT_ACCESS_RIGHTS));
    assert_eq!(*watched.said.lock().unwrap(), [format!("worked {HOST}")]);
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let fake = Fake::new(Mood::default()).await;
    let (directory, _) = by_kerberos(&fake);
    for _ in 0..20 {
        directory.search(&all()).await.unwrap();
    }
    assert_eq!(fake.connections(), 1);
}

#[tokio::test]
async fn a_connection_that_died_in_its_sleep_is_made_anew() {
    let fake = Fake::new(Mood { closes_after: 2, ..Mood::default() }).await;
    let (directory, watched) = by_kerberos(&fake);
    for _ in 0..6 {
        assert_eq!(directory.search(&all()).await.unwrap().entries.len(), 3);
    }
    assert_eq!(fake.connections(), 3);
    assert_eq!(*watched.said.lock().unwrap(), [(); 3].map(|()| format!("worked {HOST}")), "it is nobody's fault");
    // A change is not tried twice: what the connection is good for is seen before.
    for _ in 0..6 {
        directory.modify("CN=x", &[Change::replace("description", ["x"])]).await.unwrap();
    }
    // A new connection that closes, too, ends it.
    fake.set(|mood| mood.at_search = AtSearch::Close);
    let (directory, watched) = by_kerberos(&fake);
    assert!(matches!(directory.search(&all()).await.unwrap_err().why, Why::Broken(_)));
    assert!(watched.said.lock().unwrap().iter().any(|said| said.starts_with("failed")));
}

#[tokio::test]
async fn a_controller_that_is_down_is_marked_and_the_next_is_asked() {
    let fake = Fake::new(Mood::default()).await;
    let gone = fake::listener().await;
    let mut dead = fake.controller();
    dead.host = "dc0.example.test".to_owned();
    dead.ports.ldap = gone.local_addr().unwrap().port();
    drop(gone);
    let controllers = Watched::new(vec![dead, fake.controller()]);
    let account = Account::Kerberos(fake.alice());
    let directory = Directory::new(controllers.clone(), fake.kdc(), Transport::Clear, account, PATIENCE);
    assert_eq!(directory.search(&all()).await.unwrap().entries.len(), 3);
    let said = controllers.said.lock().unwrap();
    assert!(said[0].starts_with("failed dc0.example.test: ") && said[1] == format!("worked {HOST}"), "{said:?}");
}

#[tokio::test]
async fn a_request_that_is_given_up_on_leaves_no_connection_behind() {
    let fake = Fake::new(Mood { at_search: AtSearch::Hang, ..Mood::default() }).await;
    let (directory, _) = by_kerberos(&fake);
    let given_up = tokio::time::timeout(Duration::from_millis(500), directory.search(&all())).await;
    assert!(given_up.is_err());
    fake.set(|mood| mood.at_search = AtSearch::Answer);
    assert_eq!(directory.search(&all()).await.unwrap().entries.len(), 3);
    assert_eq!(fake.connections(), 2);
}

#[tokio::test]
async fn a_refused_account_is_not_tried_again_at_once() {
    let fake = Fake::new(Mood { bind_result: (49, "data 52e"), ..Mood::default() }).await;
    let account = Account::Simple { name: "reader".into(), password: secret("wrong") };
    let (directory, watched) = directory(&fake, Transport::StartTls(trusting(&fake)), account);
    assert_eq!(directory.search(&all()).await.unwrap_err().code(), Some(ResultCode::INVALID_CREDENTIALS));
    for _ in 0..20 {
        let error = directory.search(&all()).await.unwrap_err();
        assert!(matches!(error.why, Why::Resting(_)) && error.to_string().contains("invalidCredentials"), "{error}");
    }
    assert_eq!(fake.requests().iter().filter(|name| *name == "BindRequest").count(), 1);
    assert!(watched.said.lock().unwrap().is_empty());
}

#[tokio::test]
async fn without_a_ticket_nothing_is_sent() {
    let fake = Fake::new(Mood::default()).await;
    let principal = iwa_wire::krb5::Principal::user("nobody", "EXAMPLE.TEST");
    let long_term = iwa_auth::krb5::client::LongTerm::Password(secret("x"));
    let client = iwa_auth::krb5::client::Client::new(principal, long_term);
    let (directory, watched) = directory(&fake, Transport::Clear, Account::Kerberos(client));
    let error = directory.search(&all()).await.unwrap_err();
    assert!(matches!(error.why, Why::Ticket(_)), "{error}");
    assert!(fake.requests().is_empty() && watched.said.lock().unwrap().is_empty());
}

/// `S-1-5-21-1-2-3-rid`.
fn sid(rid: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    Sid::new(5, &[21, 1, 2, 3, u32::from(rid)]).unwrap().write(&mut bytes);
    bytes
}

/// What names and SIDs become if every search finds this.
async fn names(found: Vec<(&'static str, Vec<u8>)>) -> LdapNames {
    let fake = Fake::new(Mood { found, ..Mood::default() }).await;
    let domain = DomainNames {
        dns: "example.test".into(),
        netbios: "EXAMPLE".into(),
        sid: "S-1-5-21-1-2-3".parse().unwrap(),
        forest: "example.test".into(),
    };
    LdapNames::new(domain, Arc::new(by_kerberos(&fake).0), None)
}

#[tokio::test]
async fn a_name_is_the_one_that_was_asked_for_or_none() {
    let alice = "S-1-5-21-1-2-3-9".parse().unwrap();
    let one = names(vec![("Alice", sid(9))]).await;
    assert_eq!(one.sid_of("EXAMPLE", "alice").await, Ok(Some(alice)));
    assert_eq!(one.sid_of("Example.Test", "ALICE").await, Ok(Some(alice)));
    assert_eq!(one.name_of(alice).await.unwrap().unwrap().to_string(), "EXAMPLE\\Alice");
    // A directory may take o for ö, or a pattern for a name: a rule does not.
    for other in ["alicé", "al*", "*", "bob", ""] {
        assert_eq!(one.sid_of("EXAMPLE", other).await, Ok(None), "{other}");
    }
    assert_eq!(one.name_of("S-1-5-21-1-2-3-8".parse().unwrap()).await, Ok(None), "the answer has another SID");
    assert_eq!(one.name_of("S-1-5-80-1".parse().unwrap()).await, Ok(None), "no account of any domain");
}

#[tokio::test]
async fn a_name_that_two_have_or_that_has_no_sid_is_told_of_and_nobodys() {
    let two = names(vec![("alice", sid(9)), ("ALICE", sid(8))]).await;
    assert!(two.sid_of("EXAMPLE", "alice").await.unwrap_err().contains("is the name of"));
    let without = names(vec![("alice", Vec::new())]).await;
    assert!(without.sid_of("EXAMPLE", "alice").await.unwrap_err().contains("no SID"));
    let cut = names(vec![("alice", sid(9)[..20].to_vec())]).await;
    assert!(cut.sid_of("EXAMPLE", "alice").await.unwrap_err().contains("no SID"));
    assert!(cut.token_groups(&"S-1-5-21-1-2-3-9".parse().unwrap()).await.unwrap_err().contains("no SID"));
}

#[tokio::test]
async fn a_domain_that_nothing_is_known_of_is_an_error_and_not_nobody() {
    // The forest's domains cannot be read here.
    let names = names(vec![("alice", sid(9))]).await;
    assert!(names.sid_of("OTHER", "alice").await.is_err());
    assert!(names.name_of("S-1-5-21-9-9-9-9".parse().unwrap()).await.is_err());
}

#[tokio::test]
async fn names_with_everything_in_them_stay_values() {
    let fake = Fake::new(Mood::default()).await;
    let mut connection = bound(&fake, PATIENCE).await;
    for name in ["*", "x)(objectClass=*", "*)(|(objectClass=*", "\\2a", "a\0b", ")", ""] {
        let search = Search::below("DC=example,DC=test", Filter::equal("sAMAccountName", name), &["cn"]);
        // The server finds everything for (objectClass=*), and nothing for a value.
        assert_eq!(connection.search(&search).await.unwrap().entries.len(), 0, "{name:?}");
    }
}
