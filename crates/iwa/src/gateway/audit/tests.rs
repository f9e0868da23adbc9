//! The logs: what stands in them, and what nobody can make stand in them.

use std::fs;
use std::sync::atomic::AtomicU32;

use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version};
use iwa_auth::ports::PasswordVerified;
use iwa_auth::reject::Peer;
use iwa_auth::{Account, Identity, Reason};
use iwa_http::Status;

use super::*;
use crate::gateway::exchange::{Proved, RequestId};

struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("iwa-logs-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&dir);
        Self(dir)
    }

    /// The names of the files, in order.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The lines of a file that are not directives.
    fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.0.join(name)).unwrap();
        assert!(text.ends_with('\n'));
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A request that tests change.
struct Request {
    begun: UnixTime,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    status: Status,
    identity: Option<Identity>,
    proved: Proved,
    scheme: Option<&'static str>,
    claimed: Option<String>,
    reason: Option<Reason>,
}

/// 2026-11-23T14:15:16.789Z.
const THEN: UnixTime = UnixTime::from_micros(1_795_443_316_789_000);

impl Request {
    fn new(uri: &str) -> Self {
        Self {
            begun: THEN,
            method: Method::GET,
            uri: uri.parse().unwrap(),
            headers: HeaderMap::new(),
            status: Status::served(StatusCode::OK),
            identity: None,
            proved: Proved::Connection,
            scheme: None,
            claimed: None,
            reason: None,
        }
    }

    fn exchange(&self) -> Exchange<'_> {
        Exchange {
            id: RequestId { boot: 1, number: 2 },
            begun: self.begun,
            taken: Duration::from_micros(12_345),
            client: "[::ffff:192.0.2.7]:50000".parse().unwrap(),
            by: None,
            server: "127.0.0.1:8080".parse().unwrap(),
            on_connection: 1,
            method: &self.method,
            uri: &self.uri,
            version: Version::HTTP_11,
            headers: &self.headers,
            status: self.status,
            length: Some(42),
            identity: self.identity.as_ref(),
            proved: self.proved,
            mapped: None,
            scheme: self.scheme,
            claimed: self.claimed.as_deref(),
            reason: self.reason.as_ref(),
            binding: iwa_auth::Binding::Unchecked,
            unbound: None,
            note: None,
        }
    }

    fn w3c(&self) -> String {
        w3c_line(&self.exchange(), &Field::DEFAULT)
    }

    fn json(&self) -> serde_json::Value {
        let mut line = Vec::new();
        json::write(&self.exchange(), &mut line);
        assert_eq!(line.iter().filter(|&&byte| byte == b'\n').count(), 1);
        serde_json::from_slice(&line).unwrap()
    }
}

fn identity(domain: &str, name: &str) -> Identity {
    let account = Account { name: name.to_owned(), domain: domain.to_owned(), ..Account::default() };
    Identity::from_password(PasswordVerified::by_authority(account, Vec::new()))
}

#[test]
fn the_json_log_says_who_is_tied_to_the_connection_and_counts_who_is_not() {
    let request = Request::new("/");
    let line = |binding, unbound| {
        let mut line = Vec::new();
        json::write(&Exchange { binding, unbound, note: Some("no channel bindings"), ..request.exchange() }, &mut line);
        serde_json::from_slice::<serde_json::Value>(&line).unwrap()
    };
    let unbound = line(iwa_auth::Binding::Unbound, Some(3));
    assert_eq!((&unbound["binding"], &unbound["unbound"]), (&"unbound".into(), &3.into()));
    assert_eq!(unbound["note"], "no channel bindings");
    assert_eq!(line(iwa_auth::Binding::Bound, None)["binding"], "bound");
    let unchecked = line(iwa_auth::Binding::Unchecked, None);
    assert!(unchecked.get("binding").is_none() && unchecked.get("unbound").is_none());
}

#[test]
fn a_line_is_as_iis_writes_it() {
    let mut request = Request::new("/reports/a%20b.htm?x=1&y=2");
    request.headers.insert("user-agent", HeaderValue::from_static("Mozilla/5.0 (X11; Linux x86_64)"));
    request.identity = Some(identity("WEB", "alice"));
    assert_eq!(
        request.w3c(),
        "2026-11-23 14:15:16 127.0.0.1 GET /reports/a+b.htm x=1&y=2 8080 WEB\\alice 192.0.2.7 \
         Mozilla/5.0+(X11;+Linux+x86_64) - 200 0 0 12"
    );
}

#[test]
fn the_legs_of_a_handshake_have_the_numbers_that_iis_logs() {
    let mut request = Request::new("/");
    request.status = Status::CHALLENGE;
    assert!(request.w3c().ends_with(" - 192.0.2.7 - - 401 2 5 12"), "{}", request.w3c());
    assert!(request.json()["why"].as_str().unwrap().contains("normal beginning"));
    request.status = Status::CONTINUE;
    assert!(request.w3c().ends_with(" 401 1 2148074254 12"));
    assert!(request.json()["why"].as_str().unwrap().contains("normal middle"));
}

#[test]
fn every_field_has_a_value_and_a_column() {
    let mut request = Request::new("/");
    request.headers.insert("host", HeaderValue::from_static("web.example.test:8080"));
    request.headers.insert("referer", HeaderValue::from_static("http://web.example.test/"));
    let line = w3c_line(&request.exchange(), &Field::ALL);
    assert_eq!(line.split(' ').count(), Field::ALL.len(), "{line}");
    assert!(line.contains(" HTTP/1.1 - http://web.example.test/ web.example.test:8080 200 0 0 42 12"), "{line}");
}

/// Attack list, line 29: names that the client chooses cannot write a line, a column or a directive of their own.
#[test]
fn nobody_can_write_a_line_of_their_own() {
    let evil = "a\r\n2026-11-23 00:00:00 127.0.0.1 GET / - 80 WEB\\admin\u{1b}[2J\u{202e}\u{2028}\u{85}\t\u{0}#";
    let mut request = Request::new("/%0d%0a%23Fields:%20%1b%5b2J%ff%e2%80%ae%25?q=%0a");
    request.identity = Some(identity("EX\nAMPLE", evil));
    request.claimed = Some(evil.to_owned());
    request.reason = Some(Peer::Rejected { said: evil.to_owned() }.into());
    request.headers.insert("user-agent", HeaderValue::from_bytes(b"x\ty\xff\xc2\x85z \xe2\x80\xae").unwrap());
    request.headers.insert("referer", HeaderValue::from_bytes("\u{2028}#".as_bytes()).unwrap());
    let line = w3c_line(&request.exchange(), &Field::DEFAULT);
    assert_eq!(line.split(' ').count(), Field::DEFAULT.len(), "{line}");
    assert!(line.chars().all(|c| !c.is_control() && !matches!(c, '\u{2028}' | '\u{202e}')), "{line:?}");
    assert!(line.contains("/%0D%0A#Fields:+%1B[2J%FF%E2%80%AE%25 q=%0a "), "{line}");
    assert!(line.contains(" EX%0AAMPLE\\a%0D%0A2026-11-23+00:00:00"), "{line}");
    assert!(line.contains(" x%09y%FF%C2%85z+%E2%80%AE %E2%80%A8# "), "{line}");
    let first = w3c_line(&request.exchange(), &[Field::Referer, Field::Date]);
    assert!(!first.starts_with('#'));
    request.headers.insert("referer", HeaderValue::from_static("#Fields: date"));
    assert_eq!(w3c_line(&request.exchange(), &[Field::Referer, Field::Date]), "%23Fields:+date 2026-11-23");

    let json = request.json();
    for member in ["user", "claimed", "why"] {
        let text = json[member].as_str().unwrap();
        assert!(text.chars().all(|c| !c.is_control() && !matches!(c, '\u{2028}' | '\u{202e}')), "{member}: {text:?}");
    }
}

#[test]
fn a_long_field_is_cut_and_the_columns_stay() {
    let mut request = Request::new(&format!("/{}?{}", "p".repeat(30_000), "q".repeat(30_000)));
    request.headers.insert("user-agent", HeaderValue::from_bytes(&[b'u'; 60_000]).unwrap());
    request.headers.insert("referer", HeaderValue::from_bytes(&[0xff; 60_000]).unwrap());
    for most in [512, 4096, 64 << 10] {
        let mut line = Vec::new();
        w3c::write(&request.exchange(), &Field::ALL, most, &mut line);
        assert!(line.len() <= most + 64, "{} {most}", line.len());
        assert_eq!(line.split(|&byte| byte == b' ').count(), Field::ALL.len());
    }
    assert!(request.json()["url"].as_str().unwrap().len() < 5000);
}

#[test]
fn secrets_of_a_request_are_in_neither_log() {
    let mut request = Request::new("/");
    request.headers.insert("authorization", HeaderValue::from_static("Negotiate SECRET"));
    request.headers.insert("cookie", HeaderValue::from_static("SECRET"));
    let line = w3c_line(&request.exchange(), &Field::ALL);
    assert!(!line.contains("SECRET") && !request.json().to_string().contains("SECRET"));
}

#[test]
fn the_other_log_says_why() {
    let mut request = Request::new("/x");
    request.status = Status { http: StatusCode::UNAUTHORIZED, sub: 1, win32: 0x8009_030C };
    request.reason = Some(Peer::Replay.into());
    request.scheme = Some("Negotiate");
    request.claimed = Some("alice@EXAMPLE.TEST".to_owned());
    let json = request.json();
    assert_eq!(json["time"], "2026-11-23T14:15:16.789Z");
    assert_eq!(json["id"], RequestId { boot: 1, number: 2 }.to_string());
    assert_eq!((&json["status"], &json["substatus"], &json["win32"]), (&401.into(), &1.into(), &0x8009_030Cu32.into()));
    assert_eq!((&json["reason"], &json["scheme"]), (&"krb5.replay".into(), &"Negotiate".into()));
    assert_eq!(json["claimed"], "alice@EXAMPLE.TEST");
    assert_eq!(json["why"], Peer::Replay.to_string());
    assert!(json.get("user").is_none());

    let mut served = Request::new("/x");
    served.identity = Some(identity("WEB", "alice"));
    served.proved = Proved::Request;
    let json = served.json();
    assert_eq!((&json["user"], &json["proof"]), (&"WEB\\alice".into(), &"request".into()));
    assert_eq!(json["why"], "signed in with Basic");
    served.proved = Proved::Session;
    let json = served.json();
    assert_eq!(
        (&json["proof"], &json["why"]),
        (&"session".into(), &"signed in with Basic when the session began".into())
    );
    served.status = Status::FORBIDDEN;
    assert!(served.json()["why"].as_str().unwrap().ends_with("the rules do not let WEB\\alice in here"));
}

fn logs(dir: &Directory, change: impl FnOnce(&mut Log)) -> Logs {
    let mut log = Log { flush: Duration::from_secs(3600), ..Log::default() };
    change(&mut log);
    Logs::start(&log, Some(dir.0.clone())).unwrap()
}

#[test]
fn files_are_named_and_begun_as_iis_does_it() {
    let dir = Directory::new();
    let logs = logs(&dir, |_| {});
    logs.record(&Request::new("/a").exchange());
    drop(logs);
    let text = fs::read_to_string(dir.0.join(today("u_ex", ".log"))).unwrap();
    let head: Vec<_> = text.lines().take(4).collect();
    assert!(head[0].starts_with("#Software: iwa "), "{head:?}");
    assert_eq!(head[1], "#Version: 1.0");
    assert!(head[2].starts_with("#Date: 20") && head[2].len() == "#Date: 2026-11-23 14:15:16".len());
    assert_eq!(
        head[3],
        "#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) cs(Referer) \
         sc-status sc-substatus sc-win32-status time-taken"
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(dir.0.join(today("u_ex", ".log"))).unwrap().permissions().mode();
        assert_eq!(mode & 0o007, 0, "others may not read who visits what");
    }
}

/// The name of the file that was opened when the server started.
fn today(start: &str, end: &str) -> String {
    let now = iwa_http::System::now(&iwa_http::Os).to_string().replace('-', "");
    format!("{start}{}{end}", &now[2..8])
}

#[test]
fn a_new_day_has_a_new_file_and_a_late_line_goes_where_the_log_is() {
    let dir = Directory::new();
    let logs = logs(&dir, |_| {});
    // Days that are still to come, because the writer began with today's file.
    let day = |n: u64| THEN.plus(Duration::from_secs(86_400 * (3650 + n)));
    for (path, begun) in [("/one", day(0)), ("/two", day(1)), ("/late", day(0))] {
        logs.record(&Request { begun, ..Request::new(path) }.exchange());
    }
    drop(logs);
    assert!(dir.lines("u_ex361120.log")[0].contains("/one"));
    let second = dir.lines("u_ex361121.log");
    assert!(second.len() == 2 && second[0].contains("/two") && second[1].contains("/late"), "{second:?}");
    assert_eq!(dir.lines("iwa_361121.jsonl").len(), 2);
}

#[test]
fn by_size_a_full_file_is_followed_by_another_and_a_restart_goes_on_in_the_last() {
    let dir = Directory::new();
    let by_size = |log: &mut Log| {
        log.period = Period::MaxSize;
        log.truncate_size = 1 << 20;
        log.json = false;
    };
    let first = logs(&dir, by_size);
    let request = Request::new(&format!("/{}", "x".repeat(3000)));
    for _ in 0..500 {
        first.record(&request.exchange());
    }
    drop(first);
    assert_eq!(dir.names(), ["u_extend1.log", "u_extend2.log"]);
    assert!(fs::metadata(dir.0.join("u_extend1.log")).unwrap().len() <= 1 << 20);
    let before = dir.lines("u_extend2.log").len();
    let second = logs(&dir, by_size);
    second.record(&request.exchange());
    drop(second);
    assert_eq!(dir.names().len(), 2);
    assert_eq!(dir.lines("u_extend2.log").len(), before + 1);
    let text = fs::read_to_string(dir.0.join("u_extend2.log")).unwrap();
    assert_eq!(text.matches("#Fields:").count(), 2, "the head stands again where a server began anew");
}

#[test]
fn everything_is_written_when_the_server_stops() {
    let dir = Directory::new();
    let logs = logs(&dir, |_| {});
    for n in 0..1000 {
        let begun = THEN.plus(Duration::from_secs(86_400 * 3650));
        logs.record(&Request { begun, ..Request::new(&format!("/{n}")) }.exchange());
    }
    drop(logs);
    assert_eq!(dir.lines("u_ex361120.log").len(), 1000);
    assert_eq!(dir.lines("iwa_361120.jsonl").len(), 1000);
}

#[cfg(unix)]
#[test]
fn a_file_that_was_moved_away_is_begun_anew() {
    let dir = Directory::new();
    let logs = logs(&dir, |log| log.flush = Duration::from_millis(10));
    logs.record(&Request::new("/before").exchange());
    let name = today("u_ex", ".log");
    let written = || fs::read_to_string(dir.0.join(&name)).is_ok_and(|text| text.contains("/before"));
    while !written() {
        std::thread::sleep(Duration::from_millis(5));
    }
    fs::rename(dir.0.join(&name), dir.0.join("old.log")).unwrap();
    logs.record(&Request::new("/after").exchange());
    drop(logs);
    assert!(dir.lines("old.log")[0].contains("/before"));
    let lines = dir.lines(&name);
    assert!(lines.len() == 1 && lines[0].contains("/after"), "{lines:?}");
}

#[test]
fn a_loss_is_counted_and_written_down() {
    let dir = Directory::new();
    let logs = logs(&dir, |_| {});
    // As if the disk had stood still and the queue were full.
    logs.pressure.queued.fetch_add(MOST_BYTES, Ordering::Relaxed);
    logs.record(&Request::new("/lost").exchange());
    logs.record(&Request::new("/lost").exchange());
    logs.pressure.queued.fetch_sub(MOST_BYTES, Ordering::Relaxed);
    logs.record(&Request::new("/kept").exchange());
    drop(logs);
    let text = fs::read_to_string(dir.0.join(today("u_ex", ".log"))).unwrap();
    assert!(text.contains("#Remark: 2 lines were lost") && text.contains("/kept") && !text.contains("/lost "));
    let json = fs::read_to_string(dir.0.join(today("iwa_", ".jsonl"))).unwrap();
    assert!(json.contains("\"lost\":2"), "{json}");
}

#[test]
fn a_directory_that_cannot_be_had_is_told_when_the_server_starts() {
    let dir = Directory::new();
    fs::write(&dir.0, b"a file").unwrap();
    let error = Logs::start(&Log::default(), Some(dir.0.join("logs"))).err().unwrap();
    assert!(error.to_string().contains("logs"));
    fs::remove_file(&dir.0).unwrap();
}
