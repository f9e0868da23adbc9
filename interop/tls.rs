//! Real clients over TLS: which of them send channel bindings, what becomes of those that do not, and a certificate that is
//! replaced under load.

use std::process::Output;
use std::time::{Duration, Instant};

use crate::lab::{ALICE, JOERG, Lab, Options, free_port, here, interop_home, member, present, run, shown, text};

/// A lab with TLS, and where.
pub(crate) struct Site {
    pub(crate) lab: Lab,
    port: u16,
    /// PEM.
    certificate: String,
}

impl Site {
    pub(crate) fn new(checking: &str, providers: &str) -> Self {
        Self::with(checking, providers, "", "")
    }

    /// With these lines in `[server]`.
    pub(crate) fn with_server(checking: &str, providers: &str, server: &str) -> Self {
        Self::with(checking, providers, server, "")
    }

    /// With these lines in `[server]`, and more at the configuration's end.
    pub(crate) fn with(checking: &str, providers: &str, server: &str, more: &str) -> Self {
        let port = free_port();
        let (certificate, key) = made();
        let windows = format!(
            "providers = [{providers}]\n[authentication.windows.extended-protection]\ntoken-checking = \"{checking}\""
        );
        let options = Options {
            windows: Some(&windows),
            server,
            listen: &format!(", \"https://127.0.0.1:{port}\""),
            files: &[("web.pem", &certificate), ("web.key", &key)],
            more: &format!("[[tls.certificate]]\ncertificate = \"web.pem\"\nkey = \"web.key\"\n{more}"),
            ..Options::default()
        };
        Self { lab: Lab::with(&options), port, certificate }
    }

    pub(crate) fn negotiate_and_ntlm(checking: &str) -> Self {
        Self::new(checking, "\"Negotiate\", \"NTLM\"")
    }

    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}/", self.port)
    }

    pub(crate) fn authorities(&self) -> String {
        self.lab.path("web.pem")
    }

    /// The JSON log, once it tells of `count` requests.
    pub(crate) fn log(&self, count: usize) -> Vec<serde_json::Value> {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let files = std::fs::read_dir(self.lab.path("logs")).into_iter().flatten().flatten();
            let lines: Vec<serde_json::Value> = files
                .filter(|entry| entry.path().extension().is_some_and(|end| end == "jsonl"))
                .filter_map(|entry| std::fs::read_to_string(entry.path()).ok())
                .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
                .filter_map(|line| serde_json::from_str(&line).ok())
                .collect();
            if lines.len() >= count || Instant::now() > end {
                return lines;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Whether the log has a request with this member, or gets one soon.
    fn logged(&self, name: &str, value: &str) -> bool {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            if self.log(1).iter().any(|line| line[name] == *value) {
                return true;
            }
            if Instant::now() > end {
                return false;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn curl(&self, arguments: &[&str]) -> (String, Output) {
        let mut command = self.lab.peer("curl");
        command
            .args(["-s", "-S", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", &self.authorities()])
            .args(arguments)
            .arg(self.url());
        let output = run(&mut command, "", 30);
        (text(&output.stdout), output)
    }

    fn iwa_get(&self, arguments: &[&str], stdin: &str) -> Output {
        let authorities = self.authorities();
        let mut command = self.lab.peer(crate::lab::IWA);
        command.args(["get", "--cacert", &authorities, "--allow", "localhost"]).args(arguments).arg(self.url());
        run(&mut command, stdin, 30)
    }

    fn pyspnego(&self, protocol: &str, mode: &str) -> String {
        let mut command = self.lab.peer(interop_home().join("venv/bin/python"));
        command.env("IWA_USER", ALICE.0).env("IWA_PASSWORD", ALICE.1);
        command.arg(here().join("python/binding.py")).args([protocol, mode, &self.url(), &self.authorities()]);
        let output = run(&mut command, "", 60);
        assert!(output.status.success(), "{}", shown(&output));
        member(&output, "status")
    }

    pub(crate) fn browse(&self, browser: &str, password: bool) -> String {
        let mut command = self.lab.peer("node");
        command.env("IWA_NODE_MODULES", interop_home().join("browser"));
        if password {
            command.env("IWA_USER", JOERG.0).env("IWA_PASSWORD", JOERG.1);
        }
        command.arg(here().join(format!("browser/{browser}.mjs"))).args([self.url(), self.lab.path("profile")]);
        let output = run(&mut command, "", 120);
        assert!(output.status.success(), "{}", shown(&output));
        member(&output, "status")
    }
}

/// A certificate for localhost and its key, in PEM.
pub(crate) fn made() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    (made.cert.pem(), made.signing_key.serialize_pem())
}

pub(crate) fn curl_and_kinit() -> bool {
    present("curl", "/usr/bin/curl") && present("MIT kinit", "/usr/bin/kinit")
}

pub(crate) fn browsers(what: &str, program: &str) -> bool {
    present(what, program) && present("browser drivers", interop_home().join("browser/node_modules/playwright-core"))
}

fn python() -> bool {
    present("Python's requests", interop_home().join("venv/ready")) && present("MIT kinit", "/usr/bin/kinit")
}

#[test]
fn curl_signs_in_over_tls_and_report_says_that_require_would_keep_it_out() {
    if !curl_and_kinit() {
        return;
    }
    let site = Site::negotiate_and_ntlm("report");
    site.lab.kinit(ALICE);
    let (status, output) = site.curl(&["--negotiate", "-u", ":"]);
    assert_eq!(status, "200", "{}", shown(&output));
    let (status, output) = site.curl(&["--ntlm", "-u", &format!("{}:{}", ALICE.0, ALICE.1)]);
    assert_eq!(status, "200", "{}", shown(&output));
    let told: Vec<_> = site.log(3).into_iter().filter(|line| line["binding"] == "unbound").collect();
    assert_eq!(told.len(), 2, "{told:#?}");
    for ((line, mechanism), count) in told.iter().zip(["Kerberos", "NTLM"]).zip(1..) {
        let note = line["note"].as_str().unwrap_or_default();
        assert!(note.contains("from curl/") && note.contains(mechanism), "{note}");
        assert_eq!(line["unbound"], count);
    }
}

#[test]
fn require_keeps_curl_out_with_both_mechanisms() {
    if !curl_and_kinit() {
        return;
    }
    let site = Site::negotiate_and_ntlm("require");
    site.lab.kinit(ALICE);
    for arguments in [["--negotiate", "-u", ":"], ["--ntlm", "-u", &format!("{}:{}", ALICE.0, ALICE.1)]] {
        let (status, output) = site.curl(&arguments);
        assert_eq!(status, "401", "{}", shown(&output));
    }
    let refused = site.log(3).iter().filter(|line| line["reason"] == "binding.missing").count();
    assert!(refused >= 2, "{:#?}", site.log(3));
}

#[test]
fn iwa_get_signs_in_where_bindings_are_required_and_verifies_the_certificate() {
    let site = Site::negotiate_and_ntlm("require");
    let user = format!("{}@EXAMPLE.TEST", ALICE.0);
    for (providers, mechanism) in [("Negotiate:Kerberos", "Kerberos"), ("NTLM", "NTLM"), ("Negotiate,NTLM", "Kerberos")]
    {
        let name = if mechanism == "NTLM" { ALICE.0 } else { user.as_str() };
        let output = site.iwa_get(&["--user", name, "--password-stdin", "--providers", providers], ALICE.1);
        assert!(
            output.status.success() && text(&output.stdout).contains("Signed in"),
            "{providers}: {}",
            shown(&output)
        );
        assert!(site.logged("mechanism", mechanism), "{:#?}", site.log(1));
    }
    assert!(site.log(3).iter().filter(|line| line["status"] == 200).all(|line| line["binding"] == "bound"));

    // Nobody vouches for it.
    let mut command = site.lab.peer(crate::lab::IWA);
    let output = run(command.args(["get", &site.url()]), "", 30);
    assert_eq!(output.status.code(), Some(1), "{}", shown(&output));
    assert!(text(&output.stderr).contains("--cacert"), "{}", shown(&output));
    // It is another's.
    let mut command = site.lab.peer(crate::lab::IWA);
    let other = format!("https://127.0.0.1:{}/", site.port);
    let output = run(command.args(["get", "--cacert", &site.authorities(), &other]), "", 30);
    assert_eq!(output.status.code(), Some(1), "{}", shown(&output));
}

#[test]
fn pyspnego_with_right_wrong_and_no_bindings() {
    if !python() {
        return;
    }
    for (checking, wanted) in
        [("none", ["200", "200", "200"]), ("allow", ["200", "401", "200"]), ("require", ["401", "401", "200"])]
    {
        let site = Site::negotiate_and_ntlm(checking);
        site.lab.kinit(ALICE);
        for protocol in ["kerberos", "ntlm"] {
            for (mode, wanted) in ["none", "wrong", "right"].into_iter().zip(wanted) {
                assert_eq!(site.pyspnego(protocol, mode), wanted, "{checking} {protocol} {mode}: {:#?}", site.log(1));
            }
        }
    }
}

#[test]
fn chromium_sends_bindings_with_ntlm_and_signs_in_where_they_are_required() {
    if browsers("Chromium", "/usr/bin/chromium") {
        let site = Site::new("require", "\"NTLM\"");
        assert_eq!(site.browse("chromium", true), "200", "{:#?}", site.log(2));
        assert!(site.logged("binding", "bound"), "{:#?}", site.log(2));
    }
}

#[test]
fn chromium_and_firefox_sign_in_over_tls_where_bindings_are_allowed() {
    for (what, program, name) in
        [("Chromium", "/usr/bin/chromium", "chromium"), ("Firefox", "/usr/bin/firefox-esr", "firefox")]
    {
        if browsers(what, program) && present("MIT kinit", "/usr/bin/kinit") {
            let site = Site::negotiate_and_ntlm("report");
            site.lab.kinit(ALICE);
            assert_eq!(site.browse(name, false), "200", "{:#?}", site.log(1));
            assert!(site.logged("binding", "unbound"), "{name}: {:#?}", site.log(1));
        }
    }
}

#[test]
fn firefox_sends_no_bindings_with_ntlm() {
    if browsers("Firefox", "/usr/bin/firefox-esr") {
        let site = Site::new("report", "\"NTLM\"");
        assert_eq!(site.browse("firefox", true), "200", "{:#?}", site.log(2));
        assert!(site.logged("binding", "unbound"), "{:#?}", site.log(2));
    }
}

#[test]
fn behind_a_terminator_clients_are_tied_to_its_certificate() {
    // It ends TLS with a certificate of its own, and hands on what it reads; one connection behind for each in front.
    let (certificate, key) = made();
    let windows = "providers = [\"Negotiate\", \"NTLM\"]\n[authentication.windows.extended-protection]\n\
        token-checking = \"require\"\nterminator-certificates = [\"front.pem\"]";
    let options = Options { windows: Some(windows), files: &[("front.pem", &certificate)], ..Options::default() };
    let lab = Lab::with(&options);
    let terminator = Terminator::start(&certificate, &key, lab.port);
    std::fs::copy(lab.path("front.pem"), lab.path("web.pem")).expect("a copy");
    let site = Site { lab, port: terminator.port, certificate };
    for providers in ["Negotiate:Kerberos", "NTLM"] {
        let output =
            site.iwa_get(&["--user", "alice@EXAMPLE.TEST", "--password-stdin", "--providers", providers], ALICE.1);
        assert!(
            output.status.success() && text(&output.stdout).contains("Signed in"),
            "{providers}: {}",
            shown(&output)
        );
    }
    if python() {
        site.lab.kinit(ALICE);
        for protocol in ["kerberos", "ntlm"] {
            for (mode, wanted) in [("none", "401"), ("wrong", "401"), ("right", "200")] {
                assert_eq!(site.pyspnego(protocol, mode), wanted, "{protocol} {mode}: {:#?}", site.log(1));
            }
        }
    }
    // Without it there is nothing to be tied to.
    let mut command = site.lab.peer(crate::lab::IWA);
    command.args(["get", "--user", ALICE.0, "--password-stdin"]).arg(site.lab.url("/"));
    assert_eq!(run(&mut command, ALICE.1, 30).status.code(), Some(3));
}

/// A proxy that ends TLS and knows nothing of HTTP.
struct Terminator {
    port: u16,
    _runtime: tokio::runtime::Runtime,
}

impl Terminator {
    fn start(certificate: &str, key: &str, behind: u16) -> Self {
        use rustls::pki_types::pem::PemObject as _;
        let certificate = rustls::pki_types::CertificateDer::from_pem_slice(certificate.as_bytes()).expect("PEM");
        let key = rustls::pki_types::PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![certificate], key))
            .expect("a certificate and its key");
        let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
        let runtime = tokio::runtime::Runtime::new().expect("threads");
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(mut front) = acceptor.accept(stream).await else { return };
                    let Ok(mut back) = tokio::net::TcpStream::connect(("127.0.0.1", behind)).await else { return };
                    let _ = tokio::io::copy_bidirectional(&mut front, &mut back).await;
                });
            }
        });
        Self { port, _runtime: runtime }
    }
}

#[test]
fn a_certificate_is_replaced_under_load_without_a_lost_request() {
    let site = Site::negotiate_and_ntlm("require");
    let (new, key) = made();
    // Both are trusted, so that it does not matter which one a client is shown.
    let authorities = site.lab.path("both.pem");
    std::fs::write(&authorities, site.certificate.clone() + &new).expect("written");
    let failures = std::thread::scope(|scope| {
        let running: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let end = Instant::now() + Duration::from_secs(8);
                    let mut failures = Vec::new();
                    while Instant::now() < end {
                        let mut command = site.lab.peer(crate::lab::IWA);
                        command.args(["get", "--cacert", &authorities, "--allow", "localhost", "--repeat", "20"]);
                        command.args(["--providers", "NTLM", "--user", ALICE.0, "--password-stdin"]).arg(site.url());
                        let output = run(&mut command, ALICE.1, 60);
                        if !output.status.success() {
                            failures.push(shown(&output));
                        }
                    }
                    failures
                })
            })
            .collect();
        std::thread::sleep(Duration::from_secs(2));
        // The certificate first: for a moment the pair does not fit, and the old one stays.
        std::fs::write(site.lab.path("web.pem"), &new).expect("written");
        std::thread::sleep(Duration::from_millis(300));
        std::fs::write(site.lab.path("web.key"), &key).expect("written");
        running.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect::<Vec<_>>()
    });
    assert!(failures.is_empty(), "{failures:#?}");
    // And the new one is served.
    std::fs::write(&authorities, &new).expect("written");
    let mut command = site.lab.peer(crate::lab::IWA);
    command.args(["get", "--cacert", &authorities, "--user", ALICE.0, "--password-stdin"]).arg(site.url());
    let output = run(&mut command, ALICE.1, 30);
    assert!(output.status.success(), "{}", shown(&output));
}
