//! Forward-auth: real nginx, Caddy and HAProxy, with the very configurations of `docs/forward-auth`, ask about the requests
//! of real clients.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Output};

use crate::lab::{ALICE, BOB, JOERG, Lab, Options, free_port, here, interop_home, member, present, run, shown, text};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Proxy {
    Nginx,
    Caddy,
    Haproxy,
}

/// A proxy before an application, and `iwa` beside both.
struct Site {
    lab: Lab,
    port: u16,
}

impl Site {
    /// `None`: the proxy is not installed.
    fn start(proxy: Proxy, windows: &str) -> Option<Self> {
        Self::with(proxy, windows, "connection-header = \"X-Connection\"\n", |text| text)
    }

    /// `change` alters the configuration of the proxy.
    fn with(proxy: Proxy, windows: &str, forward: &str, change: impl Fn(String) -> String) -> Option<Self> {
        let (program, file) = match proxy {
            Proxy::Nginx => ("/usr/sbin/nginx", "nginx.conf"),
            Proxy::Caddy => ("/usr/bin/caddy", "Caddyfile"),
            Proxy::Haproxy => ("/usr/sbin/haproxy", "haproxy.cfg"),
        };
        if !present(file, program) || !present("curl", "/usr/bin/curl") {
            return None;
        }
        let more = format!("[forward-auth]\nfrom = [\"127.0.0.1/32\"]\n{forward}");
        let mut lab = Lab::with(&Options { windows: Some(windows), more: &more, ..Options::default() });
        let (port, application) = (free_port(), application());
        let docs = here().join("../docs/forward-auth");
        let text = change(std::fs::read_to_string(docs.join(file)).expect("the configuration is there"));
        let text = [
            ("8080", lab.port.to_string()),
            ("3000", application.to_string()),
            ("8000", port.to_string()),
            ("/run/nginx-iwa.pid", lab.path("nginx.pid")),
            ("/etc/haproxy/iwa.lua", docs.join("iwa.lua").display().to_string()),
        ]
        .into_iter()
        .fold(text, |text, (from, to)| text.replace(from, &to));
        let file = lab.path(file);
        std::fs::write(&file, text).expect("written");
        let mut command = Command::new(program);
        match proxy {
            Proxy::Nginx => {
                let log = lab.path("nginx.error.log");
                let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                    .iter()
                    .map(|kind| format!("{kind}_temp_path {};", lab.path(&format!("nginx-{kind}"))))
                    .collect();
                let text = std::fs::read_to_string(&file).expect("just written");
                let text = text.replace("http {\n", &format!("http {{\n{temporary} access_log off;\n"));
                std::fs::write(&file, text).expect("written");
                command.args(["-c", &file, "-e", &log, "-g", "daemon off; master_process off; user root;"]);
            }
            Proxy::Caddy => {
                command.args(["run", "--adapter", "caddyfile", "--config", &file]).env("HOME", lab.path("caddy-home"));
            }
            Proxy::Haproxy => {
                command.args(["-f", &file, "-db"]);
            }
        }
        lab.daemon("proxy", &mut command, port);
        Some(Self { lab, port })
    }

    fn url(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.port)
    }

    /// curl's answer, head and body of each request.
    fn curl(&self, arguments: &[&str]) -> (String, Output) {
        let mut command = self.lab.peer("curl");
        command.args(["-s", "-S", "-i"]).args(arguments);
        let output = run(&mut command, "", 30);
        (text(&output.stdout), output)
    }
}

/// An application that answers with what it got: `METHOD path`, each header, and how long the body was. Lives as long as
/// the test.
fn application() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port can be had");
    let port = listener.local_addr().expect("a bound socket has an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || echo(stream));
        }
    });
    port
}

fn echo(stream: TcpStream) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let (mut got, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 || line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        got.push_str("got ");
        got.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    got.push_str(&format!("got body of {length}\r\n"));
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        got.len()
    );
    (&stream).write_all((head + &got).as_bytes()).ok()
}

/// The values of a header, over all answers.
fn values<'a>(answer: &'a str, name: &str) -> Vec<&'a str> {
    let values = answer.lines().filter_map(|line| line.split_once(": "));
    values.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
}

/// What the application got in a header.
fn got<'a>(answer: &'a str, name: &str) -> Vec<&'a str> {
    values(answer, &format!("got {name}"))
}

fn user((name, password): (&str, &str)) -> String {
    format!("{name}:{password}")
}

fn last_status(answer: &str) -> &str {
    let status = answer.lines().rev().find(|line| line.starts_with("HTTP/"));
    status.and_then(|line| line.split(' ').nth(1)).unwrap_or("none")
}

/// What a client might write to be somebody else, to be asked about something else, or to be taken for another connection.
const FORGED: [&str; 22] = [
    "-H",
    "X-Remote-User: root",
    "-H",
    "x-remote-user: root",
    "-H",
    "X_Remote_User: root",
    "-H",
    "X-Remote_User: root",
    "-H",
    "X-Remote-Groups: root",
    "-H",
    "X-Original-URI: /public",
    "-H",
    "X-Original-Method: OPTIONS",
    "-H",
    "X-Forwarded-Uri: /public",
    "-H",
    "X-Forwarded-Method: OPTIONS",
    "-H",
    "X-Forwarded-For: 192.0.2.99",
    "-H",
    "X-Connection: 1",
];

const BOTH: &str = "providers = [\"Negotiate\", \"NTLM\"]";

fn offers(proxy: Proxy, wanted: &[&str]) {
    let Some(site) = Site::start(proxy, BOTH) else { return };
    let (answer, output) = site.curl(&[&site.url("/")]);
    assert_eq!(last_status(&answer), "401", "{}", shown(&output));
    assert_eq!(values(&answer, "www-authenticate"), wanted, "{answer}");
}

fn kerberos(proxy: Proxy) {
    let Some(site) = Site::start(proxy, BOTH) else { return };
    if !present("MIT kinit", "/usr/bin/kinit") {
        return;
    }
    site.lab.kinit(ALICE);
    let url = site.url("/reports/a%20b?x=1&y=2");
    let mut arguments = vec!["--negotiate", "-u", ":"];
    arguments.extend(FORGED);
    let (answer, output) = site.curl(&[&arguments[..], &[&url]].concat());
    assert_eq!(last_status(&answer), "200", "{}", shown(&output));
    let tokens = values(&answer, "www-authenticate");
    assert!(tokens.iter().any(|token| token.starts_with("Negotiate o")), "the final token: {answer}");
    assert!(answer.contains("got GET /reports/a%20b?x=1&y=2 HTTP/1."), "{answer}");
    assert_eq!(got(&answer, "x-remote-user").len(), 1, "{answer}");
    assert!(got(&answer, "x-remote-user")[0].ends_with("\\alice"), "{answer}");
    assert!(got(&answer, "authorization").is_empty(), "{answer}");
    assert!(!answer.contains("root"), "{answer}");
    // A body goes to the application and not with the question.
    let post = ["-d", "a body of this length", "-X", "PUT"];
    let (answer, output) = site.curl(&[&arguments[..], &post[..], &[&url]].concat());
    assert!(answer.contains("got PUT ") && answer.contains("got body of 21\r\n"), "{}", shown(&output));
    // A path that can be read in two ways is not taken.
    let (answer, output) = site.curl(&[&arguments[..], &["--path-as-is", &site.url("/x/%2e%2e/admin/")]].concat());
    assert_eq!(last_status(&answer), "400", "{}", shown(&output));
    // The rules are those of the original path.
    site.lab.kinit(BOB);
    let (answer, output) = site.curl(&[&arguments[..], &[&site.url("/admin/x")]].concat());
    assert_eq!(last_status(&answer), "403", "{}", shown(&output));
    // nginx has a page of its own.
    assert_eq!(answer.contains("You are signed in as"), proxy != Proxy::Nginx, "{answer}");
    assert!(values(&answer, "www-authenticate").iter().any(|token| token.starts_with("Negotiate o")), "{answer}");
}

/// Whom nobody signed in is nobody, whatever the client wrote.
fn anonymous(proxy: Proxy) {
    let open = "[[route]]\npath = \"/open\"\nanonymous = true\n";
    let forward = format!("connection-header = \"X-Connection\"\n{open}");
    let Some(site) = Site::with(proxy, BOTH, &forward, |text| text) else { return };
    let (answer, output) = site.curl(&[&FORGED[..], &[&site.url("/open/x")]].concat());
    assert_eq!(last_status(&answer), "200", "{}", shown(&output));
    assert!(answer.contains("got GET /open/x HTTP/1.") && !answer.contains("root"), "{answer}");
    assert!(got(&answer, "x-remote-user").is_empty() && got(&answer, "x-remote-groups").is_empty(), "{answer}");
    assert!(values(&answer, "www-authenticate").is_empty() && values(&answer, "set-cookie").is_empty(), "{answer}");
}

/// Where iwa does not answer, nobody gets through.
fn closed(proxy: Proxy) {
    // Nobody listens at port 1.
    let Some(site) = Site::with(proxy, BOTH, "", |text| text.replace("8080", "1")) else { return };
    let (answer, output) = site.curl(&[&site.url("/open")]);
    assert!(matches!(last_status(&answer), "500" | "502" | "503"), "{}", shown(&output));
    assert!(!answer.contains("got GET"), "{answer}");
}

/// Clients that speak HTTP/2 send requests at once and not one after the other: NTLM is not offered, and Kerberos works.
fn http2(proxy: Proxy, change: impl Fn(String) -> String) {
    let forward = "connection-header = \"X-Connection\"\n";
    let Some(site) = Site::with(proxy, BOTH, forward, change) else { return };
    if !present("MIT kinit", "/usr/bin/kinit") {
        return;
    }
    let (answer, output) = site.curl(&["--http2-prior-knowledge", &site.url("/")]);
    assert!(answer.starts_with("HTTP/2 401"), "{}", shown(&output));
    assert_eq!(values(&answer, "www-authenticate"), ["Negotiate"], "{answer}");
    site.lab.kinit(ALICE);
    let (answer, output) = site.curl(&["--http2-prior-knowledge", "--negotiate", "-u", ":", &site.url("/")]);
    assert!(answer.starts_with("HTTP/2 200"), "{}", shown(&output));
    assert!(got(&answer, "x-remote-user")[0].ends_with("\\alice"), "{answer}");
}

fn browse(proxy: Proxy, browser: &str, program: &str, password: bool) {
    let windows = if password { "providers = [\"NTLM\"]" } else { BOTH };
    let drivers = interop_home().join("browser/node_modules/playwright-core");
    if !present(browser, program) || !present("browser drivers", drivers) || !present("MIT kinit", "/usr/bin/kinit") {
        return;
    }
    let Some(site) = Site::start(proxy, windows) else { return };
    let mut command = site.lab.peer("node");
    command.env("IWA_NODE_MODULES", interop_home().join("browser"));
    if password {
        command.env("IWA_USER", JOERG.0).env("IWA_PASSWORD", JOERG.1);
    } else {
        site.lab.kinit(ALICE);
    }
    command.arg(here().join(format!("browser/{browser}.mjs"))).args([site.url("/page"), site.lab.path("profile")]);
    let output = run(&mut command, "", 120);
    assert!(output.status.success(), "{}", shown(&output));
    assert_eq!(member(&output, "status"), "200", "{}", shown(&output));
    let page = member(&output, "text");
    let wanted = if password { "\\jörg" } else { "\\alice" };
    assert!(
        page.lines().any(|line| line.to_lowercase().starts_with("got x-remote-user:") && line.trim().ends_with(wanted)),
        "{page}"
    );
}

const CHROMIUM: (&str, &str) = ("chromium", "/usr/bin/chromium");
const FIREFOX: (&str, &str) = ("firefox", "/usr/bin/firefox-esr");

fn ntlm(proxy: Proxy) {
    let Some(site) = Site::start(proxy, BOTH) else { return };
    let (first, second) = (site.url("/one"), site.url("/two"));
    let (answer, output) = site.curl(&["--ntlm", "-u", &user(ALICE), &first, &second]);
    assert_eq!(last_status(&answer), "200", "{}", shown(&output));
    let users = got(&answer, "x-remote-user");
    assert!(users.len() == 2 && users.iter().all(|user| user.ends_with("\\alice")), "{answer}");
    // The second needs no handshake.
    assert_eq!(
        values(&answer, "www-authenticate").iter().filter(|line| line.starts_with("NTLM ")).count(),
        1,
        "{answer}"
    );
    let (answer, _) = site.curl(&["--ntlm", "-u", "alice:wrong", &first]);
    assert_eq!(last_status(&answer), "401", "{answer}");
    let (answer, output) = site.curl(&["--ntlm", "-u", &user(BOB), "-d", "a body", &first]);
    assert!(answer.contains("got POST /one ") && answer.contains("got body of 6\r\n"), "{}", shown(&output));
    assert!(got(&answer, "x-remote-user")[0].ends_with("\\bob"), "{answer}");
}

#[test]
fn nginx_passes_both_challenges() {
    offers(Proxy::Nginx, &["Negotiate", "NTLM"]);
}

#[test]
fn caddy_passes_the_challenge_and_is_not_offered_ntlm() {
    offers(Proxy::Caddy, &["Negotiate"]);
}

#[test]
fn haproxy_passes_both_challenges() {
    offers(Proxy::Haproxy, &["Negotiate", "NTLM"]);
}

#[test]
fn kerberos_through_nginx() {
    kerberos(Proxy::Nginx);
}

#[test]
fn kerberos_through_caddy() {
    kerberos(Proxy::Caddy);
}

#[test]
fn kerberos_through_haproxy() {
    kerberos(Proxy::Haproxy);
}

#[test]
fn ntlm_through_nginx() {
    ntlm(Proxy::Nginx);
}

#[test]
fn ntlm_through_haproxy() {
    ntlm(Proxy::Haproxy);
}

#[test]
fn forged_headers_of_an_anonymous_client_end_at_nginx() {
    anonymous(Proxy::Nginx);
}

#[test]
fn forged_headers_of_an_anonymous_client_end_at_caddy() {
    anonymous(Proxy::Caddy);
}

#[test]
fn forged_headers_of_an_anonymous_client_end_at_haproxy() {
    anonymous(Proxy::Haproxy);
}

#[test]
fn nginx_lets_nobody_through_where_iwa_does_not_answer() {
    closed(Proxy::Nginx);
}

#[test]
fn caddy_lets_nobody_through_where_iwa_does_not_answer() {
    closed(Proxy::Caddy);
}

#[test]
fn haproxy_lets_nobody_through_where_iwa_does_not_answer() {
    closed(Proxy::Haproxy);
}

#[test]
fn chromium_through_nginx_with_kerberos() {
    browse(Proxy::Nginx, CHROMIUM.0, CHROMIUM.1, false);
}

#[test]
fn chromium_through_nginx_with_ntlm() {
    browse(Proxy::Nginx, CHROMIUM.0, CHROMIUM.1, true);
}

#[test]
fn firefox_through_nginx_with_kerberos() {
    browse(Proxy::Nginx, FIREFOX.0, FIREFOX.1, false);
}

#[test]
fn firefox_through_nginx_with_ntlm() {
    browse(Proxy::Nginx, FIREFOX.0, FIREFOX.1, true);
}

#[test]
fn chromium_through_caddy_with_kerberos() {
    browse(Proxy::Caddy, CHROMIUM.0, CHROMIUM.1, false);
}

#[test]
fn firefox_through_caddy_with_kerberos() {
    browse(Proxy::Caddy, FIREFOX.0, FIREFOX.1, false);
}

#[test]
fn chromium_through_haproxy_with_kerberos() {
    browse(Proxy::Haproxy, CHROMIUM.0, CHROMIUM.1, false);
}

#[test]
fn chromium_through_haproxy_with_ntlm() {
    browse(Proxy::Haproxy, CHROMIUM.0, CHROMIUM.1, true);
}

#[test]
fn firefox_through_haproxy_with_kerberos() {
    browse(Proxy::Haproxy, FIREFOX.0, FIREFOX.1, false);
}

#[test]
fn firefox_through_haproxy_with_ntlm() {
    browse(Proxy::Haproxy, FIREFOX.0, FIREFOX.1, true);
}

#[test]
fn nginx_tells_of_no_connection_where_the_client_speaks_http2() {
    http2(Proxy::Nginx, |text| text.replace("listen 127.0.0.1:8000;", "listen 127.0.0.1:8000 http2;"));
}

#[test]
fn haproxy_tells_of_no_connection_where_the_client_speaks_http2() {
    http2(Proxy::Haproxy, |text| text.replace("bind 127.0.0.1:8000", "bind 127.0.0.1:8000 proto h2"));
}

/// nginx looks for the index by an internal redirect, and asks again about the same request with the same token.
#[test]
fn files_that_nginx_serves_itself_are_asked_about_twice_and_the_token_counts_once() {
    let www = crate::lab::fresh_dir();
    std::fs::write(www.join("index.html"), "from nginx itself\n").expect("written");
    let serve = |text: String| text.replace("proxy_pass http://application;", &format!("root {};", www.display()));
    let site = Site::with(Proxy::Nginx, BOTH, "connection-header = \"X-Connection\"\n", serve);
    let Some(site) = site.filter(|_| present("MIT kinit", "/usr/bin/kinit")) else { return };
    site.lab.kinit(ALICE);
    let (answer, output) = site.curl(&["--negotiate", "-u", ":", &site.url("/"), &site.url("/")]);
    assert_eq!(answer.matches("from nginx itself").count(), 2, "{}", shown(&output));
    let statuses = site.lab.statuses(4);
    assert!(statuses.iter().all(|(status, user)| status == "200 0 0" && user.ends_with("\\alice")), "{statuses:?}");
    let _ = std::fs::remove_dir_all(www);
}

/// One handshake, and then a cookie that comes through the proxy both ways.
fn session(proxy: Proxy) {
    let more = "connection-header = \"X-Connection\"\n[sessions]\nkeys = \"session-keys\"\n[[route]]\npath = \"/s\"\n\
                [route.session]\nenabled = true\nin-clear = true\n";
    let site = Site::with(proxy, BOTH, more, |text| text);
    let Some(site) = site.filter(|_| present("MIT kinit", "/usr/bin/kinit")) else { return };
    site.lab.kinit(ALICE);
    let jar = site.lab.path("cookies");
    let (answer, output) = site.curl(&["-c", &jar, "--negotiate", "-u", ":", &site.url("/s/one")]);
    assert_eq!(last_status(&answer), "200", "{}", shown(&output));
    assert_eq!(values(&answer, "set-cookie").len(), 1, "{answer}");
    let (answer, output) = site.curl(&["-b", &jar, &site.url("/s/two")]);
    assert_eq!(last_status(&answer), "200", "{}", shown(&output));
    assert!(got(&answer, "x-remote-user")[0].ends_with("\\alice"), "{answer}");
    assert!(values(&answer, "www-authenticate").is_empty() && values(&answer, "set-cookie").is_empty(), "{answer}");
}

/// Two users at once, over NTLM and Kerberos, each over connections that are used again: nobody is ever taken for the other.
fn two_at_once(proxy: Proxy) {
    let Some(site) = Site::start(proxy, BOTH) else { return };
    let urls: Vec<String> = (0..40).map(|number| site.url(&format!("/{number}"))).collect();
    let site = &site;
    let urls = &urls;
    std::thread::scope(|scope| {
        for (who, times) in [(ALICE, 3), (BOB, 3)] {
            for _ in 0..times {
                scope.spawn(move || {
                    let user = user(who);
                    let arguments: Vec<&str> =
                        ["--ntlm", "-u", &user].into_iter().chain(urls.iter().map(String::as_str)).collect();
                    let (answer, output) = site.curl(&arguments);
                    let users = got(&answer, "x-remote-user");
                    assert_eq!(users.len(), urls.len(), "{}", shown(&output));
                    assert!(users.iter().all(|user| user.ends_with(&format!("\\{}", who.0))), "{users:?}");
                });
            }
        }
    });
}

/// `Negotiate, NTLM` in one line, as a proxy may join them: what a client answers first.
fn answer_to_one_line(client: impl FnOnce(&str) -> Output) -> Result<String, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port can be had");
    let url = format!("http://localhost:{}/", listener.local_addr().expect("a bound socket has an address").port());
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let tell = tell.clone();
            std::thread::spawn(move || joined(stream, &tell));
        }
    });
    let output = client(&url);
    told.try_recv().map_err(|_| format!("no token: {}", shown(&output)))
}

fn joined(stream: TcpStream, tell: &std::sync::mpsc::Sender<String>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let mut token = None;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if line == "\r\n" {
                break;
            }
            if line.to_ascii_lowercase().starts_with("authorization: ") {
                token = line.get("authorization: ".len()..).map(str::to_owned);
            }
        }
        let answer = match token {
            Some(token) => {
                let _ = tell.send(token);
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
            }
            None => "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Negotiate, NTLM\r\nContent-Length: 2\r\n\r\nno",
        };
        (&stream).write_all(answer.as_bytes()).ok()?;
    }
}

#[test]
fn curl_takes_two_challenges_in_one_line() {
    if present("curl", "/usr/bin/curl") && present("MIT kinit", "/usr/bin/kinit") {
        let lab = Lab::start();
        lab.kinit(ALICE);
        let curl = |url: &str| run(lab.peer("curl").args(["-s", "--anyauth", "-u", ":", url]), "", 30);
        let answer = answer_to_one_line(curl);
        assert!(answer.as_ref().is_ok_and(|token| token.starts_with("Negotiate YI")), "{answer:?}");
    }
}

fn browsers_answer(browser: &str, program: &str) -> Option<Result<String, String>> {
    let drivers = interop_home().join("browser/node_modules/playwright-core");
    if !present(browser, program) || !present("browser drivers", drivers) {
        return None;
    }
    let lab = Lab::start();
    Some(answer_to_one_line(|url| {
        let mut command = lab.peer("node");
        command.env("IWA_NODE_MODULES", interop_home().join("browser"));
        command.env("IWA_USER", ALICE.0).env("IWA_PASSWORD", ALICE.1);
        command.arg(here().join(format!("browser/{browser}.mjs"))).args([url, &lab.path("profile")]);
        run(&mut command, "", 120)
    }))
}

/// It splits no line of this name at its commas, so that without a ticket for the first scheme nothing is left.
#[test]
fn chromium_takes_no_second_challenge_out_of_a_line() {
    if let Some(answer) = browsers_answer(CHROMIUM.0, CHROMIUM.1) {
        assert!(answer.as_ref().is_err_and(|why| why.contains("\"status\":401")), "{answer:?}");
    }
}

#[test]
fn firefox_takes_two_challenges_in_one_line() {
    if let Some(answer) = browsers_answer(FIREFOX.0, FIREFOX.1) {
        assert!(answer.as_ref().is_ok_and(|token| token.starts_with("NTLM TlRMTVNTUAAB")), "{answer:?}");
    }
}

#[test]
fn a_session_through_nginx() {
    session(Proxy::Nginx);
}

#[test]
fn two_users_at_once_through_nginx_are_never_mixed_up() {
    two_at_once(Proxy::Nginx);
}

#[test]
fn a_session_through_caddy() {
    session(Proxy::Caddy);
}

#[test]
fn a_session_through_haproxy() {
    session(Proxy::Haproxy);
}

#[test]
fn two_users_at_once_through_haproxy_are_never_mixed_up() {
    two_at_once(Proxy::Haproxy);
}

/// In iwa's place: answers every question so.
fn instead_of_iwa(answer: &'static str) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port can be had");
    let port = listener.local_addr().expect("a bound socket has an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().ok()?);
                let mut line = String::new();
                while line != "\r\n" {
                    line.clear();
                    if reader.read_line(&mut line).ok()? == 0 {
                        return None;
                    }
                }
                (&stream)
                    .write_all(format!("HTTP/1.1 {answer}Content-Length: 0\r\nConnection: close\r\n\r\n").as_bytes())
                    .ok()
            });
        }
    });
    port
}

/// What iwa says besides yes and no reaches the client: come back later, and sign in over there.
fn other_answers(proxy: Proxy) {
    for (answer, status, name, value) in [
        ("503 Service Unavailable\r\nRetry-After: 5\r\n", "503", "retry-after", "5"),
        (
            "302 Found\r\nLocation: https://login.example.test/?next=%2Fa\r\n",
            "302",
            "location",
            "https://login.example.test/?next=%2Fa",
        ),
        ("403 Forbidden\r\nX-Authenticate-1: Negotiate oQc=\r\n", "403", "content-length", ""),
    ] {
        let port = instead_of_iwa(answer).to_string();
        let Some(site) = Site::with(proxy, BOTH, "", |text| text.replace("8080", &port)) else { return };
        let (answer, output) = site.curl(&[&site.url("/a")]);
        assert_eq!(last_status(&answer), status, "{}", shown(&output));
        assert!(values(&answer, name).iter().any(|found| value.is_empty() || *found == value), "{answer}");
        assert!(!answer.contains("got GET"), "{answer}");
    }
}

#[test]
fn nginx_passes_on_503_and_redirects() {
    other_answers(Proxy::Nginx);
}

#[test]
fn caddy_passes_on_503_and_redirects() {
    other_answers(Proxy::Caddy);
}

#[test]
fn haproxy_passes_on_503_and_redirects() {
    other_answers(Proxy::Haproxy);
}
