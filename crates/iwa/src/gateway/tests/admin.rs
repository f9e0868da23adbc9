//! The port for an operator's tools.

use super::*;

async fn ask(running: &Running, path: &str) -> (String, String) {
    let address = running.admin().expect("an admin port");
    let mut client = Client(Box::new(TcpStream::connect(address).await.expect("it listens")));
    client.get(path, "").await
}

fn with_admin(config: &mut Config) {
    config.admin.listen = "127.0.0.1:0".parse().ok();
}

#[tokio::test]
async fn it_is_alive_and_ready_and_counts_by_mechanism_and_status() {
    let files = Directory::new("admin-counts");
    files.write("index.html", "hello");
    let server = server(&files.0, |config| {
        with_admin(config);
        anonymous(config);
    })
    .await;
    let mut client = server.connect().await;
    assert!(client.get("/", "").await.0.starts_with("HTTP/1.1 200 "));
    assert!(client.get("/missing", "").await.0.starts_with("HTTP/1.1 404 "));
    assert!(client.get("/", "Authorization: Negotiate !!!\r\n").await.0.starts_with("HTTP/1.1 400 "));
    assert_eq!(ask(&server.running, "/healthz").await.1, "ok\n");
    assert!(ask(&server.running, "/readyz").await.0.starts_with("HTTP/1.1 200 "));
    let (head, text) = ask(&server.running, "/metrics").await;
    assert!(header(&head, "content-type").is_some_and(|kind| kind.starts_with("application/openmetrics-text")));
    for wanted in [
        "iwa_requests_total{mechanism=\"none\",proof=\"connection\",status=\"2xx\"} 1\n",
        "iwa_requests_total{mechanism=\"none\",proof=\"connection\",status=\"4xx\"} 2\n",
        "iwa_refusals_total{reason=\"malformed.header\"} 1\n",
        "iwa_request_duration_seconds_count{mechanism=\"none\"} 3\n",
        "iwa_replay_cache_entries 0\n",
        "iwa_handshakes_waiting 0\n",
        "iwa_connections 1\n",
        concat!("iwa_build{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1\n"),
    ] {
        assert!(text.contains(wanted), "{wanted}{text}");
    }
    assert!(text.ends_with("# EOF\n"));
    server.running.stop().await;
}

#[tokio::test]
async fn a_client_cannot_make_the_metrics_grow() {
    let files = Directory::new("admin-growth");
    let server = server(&files.0, with_admin).await;
    let mut client = server.connect().await;
    client.get("/", "").await;
    let before = ask(&server.running, "/metrics").await.1.lines().count();
    for number in 0..50 {
        client.get(&format!("/path-{number}"), &format!("User-Agent: agent-{number}\r\nX-{number}: 1\r\n")).await;
    }
    assert_eq!(ask(&server.running, "/metrics").await.1.lines().count(), before);
    server.running.stop().await;
}

#[tokio::test]
async fn the_site_does_not_have_what_the_admin_port_has() {
    let files = Directory::new("admin-apart");
    let server = server(&files.0, |config| {
        with_admin(config);
        anonymous(config);
    })
    .await;
    for path in ["/metrics", "/healthz", "/readyz"] {
        assert!(server.connect().await.get(path, "").await.0.starts_with("HTTP/1.1 404 "), "{path}");
    }
    assert!(ask(&server.running, "/").await.0.starts_with("HTTP/1.1 404 "));
    server.running.stop().await;
}

#[tokio::test]
async fn while_it_drains_it_is_not_ready_and_still_serves() {
    let files = Directory::new("admin-drain");
    files.write("index.html", "hello");
    let server = server(&files.0, |config| {
        with_admin(config);
        anonymous(config);
        config.admin.drain = std::time::Duration::from_secs(2);
    })
    .await;
    let (admin, site) = (server.running.admin().expect("an admin port"), server.running.addresses()[0]);
    let connect = async |address| Client(Box::new(TcpStream::connect(address).await.expect("it listens")));
    let stopped = tokio::spawn(server.running.stop());
    // The stop is told before anything waits.
    let (head, body) = loop {
        let (head, body) = connect(admin).await.get("/readyz", "").await;
        if !head.starts_with("HTTP/1.1 200 ") {
            break (head, body);
        }
        tokio::task::yield_now().await;
    };
    assert!(head.starts_with("HTTP/1.1 503 ") && body.starts_with("stopping"), "{head}{body}");
    assert!(connect(admin).await.get("/healthz", "").await.0.starts_with("HTTP/1.1 200 "));
    assert!(connect(site).await.get("/", "").await.0.starts_with("HTTP/1.1 200 "));
    stopped.await.expect("it stops");
    assert!(TcpStream::connect(site).await.is_err());
}

#[tokio::test]
async fn an_authority_that_cannot_be_asked_degrades_and_does_not_unready() {
    use crate::gateway::metrics::{Metered, Metrics};
    use iwa_auth::Secret;
    use iwa_auth::ports::{Answer, Logon, LogonError, LogonInfo, NetworkLogon, PasswordVerified};

    struct Down;
    impl Logon for Down {
        fn network<'a>(&'a self, _: &'a NetworkLogon) -> Answer<'a, Result<LogonInfo, LogonError>> {
            Box::pin(async { Err(LogonError::Unavailable("dc1 does not answer".to_owned())) })
        }
        fn password<'a>(
            &'a self,
            _: &'a str,
            _: &'a str,
            _: &'a Secret<String>,
        ) -> Answer<'a, Result<PasswordVerified, LogonError>> {
            Box::pin(async { Err(LogonError::Refused(iwa_auth::NtStatus::WRONG_PASSWORD)) })
        }
    }
    let metrics = Arc::new(Metrics::default());
    let metered = Metered { metrics: Arc::clone(&metrics), logons: Down };
    let logon = NetworkLogon {
        domain: String::new(),
        user: "alice".into(),
        workstation: String::new(),
        server_challenge: [0; 8],
        nt_response: Vec::new(),
        lm_response: Vec::new(),
    };
    assert!(metered.network(&logon).await.is_err());
    assert_eq!(metrics.authority_trouble().as_deref().map(String::as_str), Some("dc1 does not answer"));
    // Whoever answers, if only with no, is there again.
    assert!(metered.password("", "alice", &Secret::new(String::new())).await.is_err());
    assert!(metrics.authority_trouble().is_none());
    let text = metrics.text(crate::gateway::metrics::Now::default());
    assert!(text.contains("iwa_logons_total{outcome=\"unavailable\"} 1\n"), "{text}");
    assert!(text.contains("iwa_logons_total{outcome=\"refused\"} 1\n"), "{text}");
}
