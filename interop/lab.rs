//! One `iwa` installation of its own: accounts, a KDC, a keytab, a site; and how to run a peer against it.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

pub(crate) use crate::peer::{IWA, fresh_dir, here, interop_home, member, present, run, shown, text};

pub(crate) const REALM: &str = "EXAMPLE.TEST";
pub(crate) const ALICE: (&str, &str) = ("alice", "Alice-Pw1 *");
pub(crate) const BOB: (&str, &str) = ("bob", "Bob-Pw1");
/// Beyond ASCII; curl's own NTLM code cannot do that.
pub(crate) const JOERG: (&str, &str) = ("jörg", "Pässwörd€1");

/// A running site with its accounts and KDC. Everything ends when it is dropped.
pub(crate) struct Lab {
    pub(crate) dir: PathBuf,
    pub(crate) port: u16,
    pub(crate) kdc_port: u16,
    daemons: Vec<Daemon>,
}

/// What a lab's site is configured with beyond the usual.
#[derive(Default)]
pub(crate) struct Options<'a> {
    /// Lines for `[authentication.windows]`; the default offers Negotiate, then NTLM.
    pub(crate) windows: Option<&'a str>,
    /// Lines for `[kerberos]` besides the keytab.
    pub(crate) kerberos: &'a str,
    /// More addresses, each with a comma before it.
    pub(crate) listen: &'a str,
    /// Lines for `[server]` besides.
    pub(crate) server: &'a str,
    /// Files beside the configuration, by name.
    pub(crate) files: &'a [(&'a str, &'a str)],
    /// Lines at its end.
    pub(crate) more: &'a str,
    /// A keytab and `krb5.conf` of another KDC instead of our own.
    pub(crate) foreign: Option<(&'a Path, &'a Path)>,
}

impl Lab {
    pub(crate) fn start() -> Self {
        Self::with(&Options::default())
    }

    pub(crate) fn with(options: &Options<'_>) -> Self {
        let mut lab = Self { dir: fresh_dir(), port: free_port(), kdc_port: free_port(), daemons: Vec::new() };
        let state = lab.path("state");
        lab.iwa(&["user", "add", ALICE.0, "--state", &state, "--realm", REALM, "--password-stdin"], ALICE.1);
        for (name, password) in [BOB, JOERG] {
            lab.iwa(&["user", "add", name, "--state", &state, "--password-stdin"], password);
        }
        lab.iwa(&["group", "add", "Web Admins", "--state", &state], "");
        lab.iwa(&["group", "add-member", "Web Admins", ALICE.0, "--state", &state], "");
        let keytab = match options.foreign {
            Some((keytab, krb5_conf)) => {
                std::fs::copy(krb5_conf, lab.path("krb5.conf")).expect("krb5.conf can be copied");
                keytab.display().to_string()
            }
            None => {
                let keytab = lab.path("http.keytab");
                lab.iwa(&["kdc", "add-service", "HTTP/localhost", "--state", &state, "--keytab", &keytab], "");
                let listen = format!("127.0.0.1:{}", lab.kdc_port);
                let krb5_conf = lab.path("krb5.conf");
                let arguments = ["kdc", "--state", &state, "--listen", &listen, "--write-krb5-conf", &krb5_conf];
                lab.daemon("kdc", Command::new(IWA).args(arguments), lab.kdc_port);
                keytab
            }
        };
        let site = lab.dir.join("site");
        std::fs::create_dir_all(site.join("admin")).expect("the site's folder can be made");
        std::fs::write(site.join("index.html"), "<!doctype html><title>iwa</title><h1>Signed in</h1>\n")
            .expect("written");
        std::fs::write(site.join("admin/index.html"), "<h1>Admins</h1>\n").expect("written");
        let windows = options.windows.unwrap_or("providers = [\"Negotiate\", \"NTLM\"]");
        let config = format!(
            r#"[server]
listen = ["127.0.0.1:{port}"{listen}]
{server}

[authentication]
anonymous = false
[authentication.windows]
{windows}

[kerberos]
keytab = "{keytab}"
{kerberos}

[accounts]
state = "{state}"

[log]
dir = "{logs}"

[[route]]
path = "/"
files = "{site}"
allow = {{ users = ["*"] }}

[[route]]
path = "/admin"
files = "{site}/admin"
inherit = false
allow = {{ roles = ["Web Admins"] }}

{more}"#,
            listen = options.listen,
            server = options.server,
            more = options.more,
            port = lab.port,
            kerberos = options.kerberos,
            logs = lab.path("logs"),
            site = site.display(),
        );
        for (name, content) in options.files {
            std::fs::write(lab.path(name), content).expect("written");
        }
        let file = lab.path("iwa.toml");
        std::fs::write(&file, config).expect("the configuration can be written");
        lab.daemon("serve", Command::new(IWA).args(["serve", "--config", &file]), lab.port);
        lab
    }

    /// A path inside the lab's folder.
    pub(crate) fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.port)
    }

    /// Runs `iwa` to its end, which must be good.
    pub(crate) fn iwa(&self, arguments: &[&str], stdin: &str) -> String {
        let output = run(self.peer(IWA).args(arguments), stdin, 60);
        assert!(output.status.success(), "iwa {}: {}", arguments.join(" "), shown(&output));
        text(&output.stdout)
    }

    /// `iwa` without a lab.
    pub(crate) fn command() -> Command {
        Command::new(IWA)
    }

    /// A command that sees this lab's Kerberos realm and a credential cache of its own.
    pub(crate) fn peer(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env("KRB5_CONFIG", self.path("krb5.conf"))
            .env("KRB5CCNAME", format!("FILE:{}", self.path("ccache")))
            .env("KRB5_KTNAME", self.path("none.keytab"))
            .env("HOME", self.path("home"))
            .env("LC_ALL", "C.UTF-8")
            .env_remove("http_proxy")
            .env_remove("HTTP_PROXY")
            .env("NO_PROXY", "localhost,127.0.0.1");
        let _ = std::fs::create_dir_all(self.path("home"));
        command
    }

    /// MIT's `kinit` for one of the accounts.
    pub(crate) fn kinit(&self, (name, password): (&str, &str)) {
        let output = run(self.peer("kinit").args(["-f", &format!("{name}@{REALM}")]), &format!("{password}\n"), 30);
        assert!(output.status.success(), "kinit: {}", shown(&output));
    }

    /// A process that runs as long as the lab; waits until `port` answers.
    pub(crate) fn daemon(&mut self, name: &str, command: &mut Command, port: u16) {
        let log = std::fs::File::create(self.dir.join(format!("{name}.log"))).expect("a log can be made");
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file handle can be cloned"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
        self.daemons.push(Daemon(child));
        let end = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            let exited = self.daemons.last_mut().and_then(|daemon| daemon.0.try_wait().ok().flatten());
            if exited.is_some() || Instant::now() > end {
                let log = std::fs::read_to_string(self.dir.join(format!("{name}.log"))).unwrap_or_default();
                panic!("{name} does not listen ({exited:?}):\n{log}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The W3C log's lines without its header block, after `count` of them were written.
    pub(crate) fn log_lines(&self, count: usize) -> Vec<String> {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let lines: Vec<String> = std::fs::read_dir(self.path("logs"))
                .into_iter()
                .flatten()
                .flatten()
                .filter(|entry| entry.file_name().to_string_lossy().starts_with("u_ex"))
                .filter_map(|entry| std::fs::read_to_string(entry.path()).ok())
                .flat_map(|text| {
                    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
                })
                .collect();
            if lines.len() >= count || Instant::now() > end {
                assert!(lines.len() >= count, "{count} log lines are wanted, found {lines:#?}");
                return lines;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// `sc-status sc-substatus sc-win32-status` and the user, of the last `count` requests.
    pub(crate) fn statuses(&self, count: usize) -> Vec<(String, String)> {
        let lines = self.log_lines(count);
        lines[lines.len() - count..]
            .iter()
            .map(|line| {
                // date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) cs(Referer)
                // sc-status sc-substatus sc-win32-status time-taken
                let fields: Vec<&str> = line.split(' ').collect();
                (fields[11..14].join(" "), fields[7].to_owned())
            })
            .collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Ended in the reverse order of their start, each by its own handle.
        while let Some(daemon) = self.daemons.pop() {
            drop(daemon);
        }
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that is free for TCP and UDP, below those that the system gives by itself to whoever asks for any, and given to nobody
/// else of these tests.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Two runs at once begin at different places.
    let first = u16::try_from(std::process::id() % 64).unwrap_or_default() * 300;
    loop {
        let port = 10_000 + first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        if tcp.is_ok() && std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
