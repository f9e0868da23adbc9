//! The layer, the server and the client over real connections on loopback.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::routing::{get, post};
use axum::{Extension, Router};
use iwa_auth::Scheme;
use iwa_auth::ntlm::acceptor::{Server as NtlmServer, ServerConfig};
use iwa_http::client::{Account, Client, Failed};
use iwa_http::{Authenticator, Identity, Policy, Provider, Server, SignInLayer};
use iwa_testkit::kdc::Realm;
use support::{Authority, Clock, RealmKdc, Site, Terms};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

async fn who(identity: Option<Extension<Arc<Identity>>>) -> String {
    identity.map_or_else(|| "nobody".to_owned(), |Extension(identity)| identity.to_string())
}

/// An application; what it is answered is who it is told.
struct App {
    url: String,
    clock: Arc<Clock>,
    reached: Arc<AtomicUsize>,
}

async fn app(terms: Terms) -> App {
    let Site { authenticator, clock, .. } = Site::new(terms);
    serve(authenticator, clock).await
}

async fn serve(authenticator: Authenticator, clock: Arc<Clock>) -> App {
    let reached = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&reached);
    let count = move || counter.fetch_add(1, Ordering::Relaxed);
    let router = Router::new()
        .route("/", get(who))
        .route("/teapot", get(|| async { http::StatusCode::IM_A_TEAPOT }))
        .route("/echo", post(|body: String| async move { body }))
        .route(
            "/headers",
            get(|headers: http::HeaderMap| async move { headers.contains_key("authorization").to_string() }),
        )
        .layer(axum::middleware::map_request(move |request: axum::extract::Request| {
            count();
            async move { request }
        }))
        .layer(SignInLayer::new(Arc::new(authenticator)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let server = Server::new(listener);
    let port = server.local_addr().expect("an address").port();
    tokio::spawn(server.run(router, std::future::pending()));
    // The realm of the tests knows its service under its name, and a name that resolves to loopback everywhere is needed.
    App { url: format!("http://localhost:{port}"), clock, reached }
}

impl App {
    fn ntlm(&self, password: &str) -> Client {
        Client::new(Account::password("EXAMPLE", "alice", password))
            .for_hosts("localhost")
            .expect("a pattern")
            .with_system(Arc::clone(&self.clock) as _)
    }
}

#[tokio::test]
async fn a_client_signs_in_by_ntlm_and_its_connection_stays_signed_in() {
    let app = app(Terms::default()).await;
    let client = app.ntlm("Password");
    let first = client.get(&app.url).await.expect("an answer");
    assert_eq!(first.signed_in().map(|(scheme, _)| *scheme), Some(Scheme::Negotiate));
    assert_eq!(first.bytes().await.expect("a body"), "EXAMPLE\\alice");
    let second = client.get(&app.url).await.expect("an answer");
    assert!(second.signed_in().is_none(), "the connection is known");
    assert_eq!(second.bytes().await.expect("a body"), "EXAMPLE\\alice");
    assert_eq!(app.reached.load(Ordering::Relaxed), 2, "the application sees no leg of a handshake");
}

#[tokio::test]
async fn a_wrong_password_reaches_nothing() {
    let app = app(Terms::default()).await;
    assert!(matches!(app.ntlm("wrong").get(&app.url).await, Err(Failed::SignIn(_))));
    assert_eq!(app.reached.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_body_arrives_whole_after_the_handshake() {
    let app = app(Terms::default()).await;
    let body = "x".repeat(200_000);
    let answer = app.ntlm("Password").post(&format!("{}/echo", app.url), body.clone()).await.expect("an answer");
    assert_eq!(answer.bytes().await.expect("a body"), body);
    assert_eq!(app.reached.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn the_answer_carries_the_last_token_whatever_its_status() {
    let app = app(Terms::default()).await;
    let answer = app.ntlm("Password").get(&format!("{}/teapot", app.url)).await.expect("an answer");
    assert_eq!(answer.status(), http::StatusCode::IM_A_TEAPOT);
    assert!(answer.headers().contains_key("www-authenticate"));
    assert!(answer.signed_in().is_some());
}

#[tokio::test]
async fn the_application_does_not_see_what_proved_it() {
    let app = app(Terms::default()).await;
    let answer = app.ntlm("Password").get(&format!("{}/headers", app.url)).await.expect("an answer");
    assert_eq!(answer.bytes().await.expect("a body"), "false");
}

#[tokio::test]
async fn credentials_go_to_no_host_that_was_not_named() {
    let app = app(Terms::default()).await;
    let client = Client::new(Account::password("EXAMPLE", "alice", "Password"))
        .for_hosts("*.example.test")
        .expect("a pattern")
        .with_system(Arc::clone(&app.clock) as _);
    let answer = client.get(&app.url).await.expect("an answer");
    assert_eq!(answer.status(), http::StatusCode::UNAUTHORIZED);
    assert!(answer.signed_in().is_none());
}

#[tokio::test]
async fn two_accounts_never_share_a_connection() {
    let app = app(Terms::default()).await;
    let (alice, stranger) = (app.ntlm("Password"), app.ntlm("wrong"));
    for _ in 0..3 {
        assert_eq!(alice.get(&app.url).await.expect("an answer").bytes().await.expect("a body"), "EXAMPLE\\alice");
        assert!(stranger.get(&app.url).await.is_err());
    }
}

#[tokio::test]
async fn kerberos_signs_in_and_the_ticket_is_asked_for_once() {
    struct Counting(RealmKdc, Arc<AtomicUsize>);
    impl iwa_auth::ports::Kdc for Counting {
        fn ask<'a>(
            &'a self,
            realm: &'a str,
            request: &'a [u8],
        ) -> iwa_auth::ports::Answer<'a, Result<Vec<u8>, String>> {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0.ask(realm, request)
        }
    }
    let app = app(support::kerberos_terms()).await;
    let realm = Realm::default();
    let asked = Arc::new(AtomicUsize::new(0));
    let account = Account::default().tickets(realm.alice());
    let kdc = Counting(RealmKdc(Mutex::new(realm)), Arc::clone(&asked));
    let client = Client::new(account)
        .for_hosts(iwa_testkit::kdc::HOST)
        .expect("a pattern")
        .with_kdc(Arc::new(kdc))
        .resolving(iwa_testkit::kdc::HOST, "127.0.0.1")
        .with_system(Arc::clone(&app.clock) as _);
    let url = app.url.replace("localhost", iwa_testkit::kdc::HOST);
    let first = client.get(&url).await.expect("an answer");
    let (scheme, established) = first.signed_in().expect("it signs in");
    assert!(*scheme == Scheme::Negotiate && established.mutual, "{established:?}");
    assert!(String::from_utf8_lossy(&first.bytes().await.expect("a body")).ends_with("\\alice"));
    let before = asked.load(Ordering::Relaxed);
    // Two at once need two connections, and one of them is new.
    let (one, other) = tokio::join!(client.get(&url), client.get(&url));
    let signed_in = [one.expect("an answer"), other.expect("an answer")];
    assert_eq!(signed_in.iter().filter(|answer| answer.signed_in().is_some()).count(), 1);
    assert_eq!(asked.load(Ordering::Relaxed), before, "the ticket is there");
}

#[tokio::test]
async fn without_a_connection_in_its_extensions_a_request_reaches_nothing() {
    use tower_service::Service as _;
    let Site { authenticator, .. } = Site::with_policy(|policy| policy.anonymous = true);
    let inner = tower_layer::Layer::layer(
        &SignInLayer::new(Arc::new(authenticator)),
        Router::new().route("/", get(|| async { "in" })),
    );
    let mut service = inner;
    let answer = service.call(http::Request::new(axum::body::Body::empty())).await.expect("infallible");
    assert_eq!(answer.status(), http::StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn an_identity_that_something_before_put_there_does_not_count() {
    use tower_service::Service as _;
    let Site { authenticator, .. } = Site::with_policy(|policy| policy.anonymous = true);
    let mut service =
        tower_layer::Layer::layer(&SignInLayer::new(Arc::new(authenticator)), Router::new().route("/", get(who)));
    let forged = Identity::from_password(iwa_auth::ports::PasswordVerified::by_authority(
        iwa_auth::Account { name: "administrator".into(), ..iwa_auth::Account::default() },
        Vec::new(),
    ));
    let mut request = http::Request::new(axum::body::Body::empty());
    request.extensions_mut().insert(Arc::new(forged));
    request.extensions_mut().insert(Arc::new(support::connection()));
    let answer = service.call(request).await.expect("infallible");
    let body = http_body_util::BodyExt::collect(answer.into_body()).await.expect("in memory").to_bytes();
    assert_eq!(body, "nobody");
}

#[tokio::test]
async fn requests_of_http_2_do_not_know_of_each_other() {
    use tower_service::Service as _;
    let site = Site::new(support::kerberos_terms());
    let token = support::KerberosBrowser::new(&site, false).token().await;
    let mut service =
        tower_layer::Layer::layer(&SignInLayer::new(Arc::new(site.authenticator)), Router::new().route("/", get(who)));
    let shared = Arc::new(support::connection());
    let request = |token: Option<&http::HeaderValue>| {
        let mut request = http::Request::new(axum::body::Body::empty());
        *request.version_mut() = http::Version::HTTP_2;
        request.extensions_mut().insert(Arc::clone(&shared));
        if let Some(token) = token {
            request.headers_mut().insert(http::header::AUTHORIZATION, token.clone());
        }
        request
    };
    assert_eq!(service.call(request(Some(&token))).await.expect("infallible").status(), http::StatusCode::OK);
    assert_eq!(service.call(request(None)).await.expect("infallible").status(), http::StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn pipelined_legs_of_two_handshakes_let_nobody_in() {
    let app = app(Terms::default()).await;
    let mut stream = tokio::net::TcpStream::connect(app.url.trim_start_matches("http://")).await.expect("it listens");
    let leg =
        "GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: NTLM TlRMTVNTUAABAAAAB4IIAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n";
    stream.write_all(leg.repeat(2).as_bytes()).await.expect("it takes them");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.expect("it takes them");
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await.expect("it answers");
    assert_eq!(answers.matches("HTTP/1.1 401 ").count(), 3, "{answers}");
}

#[test]
fn the_short_way_wants_somebody_to_verify_with() {
    use iwa_http::SignIn;
    use iwa_http::sign_in::Unable;
    assert_eq!(SignIn::new().layer().err(), Some(Unable::NobodyToVerify));
    assert_eq!(SignIn::new().keytab(b"not a keytab".to_vec()).layer().err(), Some(Unable::NoKeytab));
    assert_eq!(SignIn::new().keytab(vec![5, 2]).layer().err(), Some(Unable::NoKeys));
    let logon = || Arc::new(Authority::Answers);
    assert_eq!(SignIn::new().logon(&"A".repeat(300), logon()).layer().err(), Some(Unable::NoName));
    let authenticator = SignIn::new().logon("WEB", logon()).authenticator().expect("somebody");
    assert_eq!(authenticator.policy().providers, [Provider::Negotiate, Provider::Ntlm]);
    assert!(!authenticator.policy().anonymous && !Policy::default().anonymous);
    assert!(NtlmServer::new(ServerConfig::standalone("WEB")).is_ok());
}
