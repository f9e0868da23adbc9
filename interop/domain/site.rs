//! `iwa serve` on a host of the domain.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::Value;

use crate::ad::{DNS, Domain, Running, eventually, read};
use crate::peer::{IWA, run, shown, text};

/// A running site. Its page says who the visitor is.
pub(crate) struct Site<'a> {
    pub(crate) domain: &'a Domain,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) dir: PathBuf,
    pub(crate) serve: Option<Running>,
}

impl<'a> Site<'a> {
    /// Serves on `host` with these sections of the configuration, besides `[server]` and `[log]`.
    pub(crate) fn start(domain: &'a Domain, host: &str, sections: &str) -> Self {
        static PORT: AtomicU16 = AtomicU16::new(8000);
        let port = PORT.fetch_add(1, Ordering::Relaxed);
        let dir = domain.folder("site");
        let config = format!(
            "[server]\nlisten = [\"*:{port}\"]\n\n[log]\ndir = \"{dir}/logs\"\nflush = \"100 ms\"\n\n{sections}\n",
            dir = dir.display()
        );
        std::fs::write(dir.join("iwa.toml"), config).expect("the configuration can be written");
        let mut site = Self { domain, host: host.to_owned(), port, dir, serve: None };
        site.restart();
        site
    }

    /// A site that knows nothing but a keytab of the domain's.
    pub(crate) fn with_keytab(domain: &'a Domain, keytab: &str, kerberos: &str) -> Self {
        let keytab = domain.path(&format!("keytabs/{keytab}.keytab"));
        Self::start(
            domain,
            "web",
            &format!(
                "[authentication]\nanonymous = false\n[authentication.windows]\nproviders = [\"Negotiate:Kerberos\"]\n\n\
                 [kerberos]\nkeytab = \"{keytab}\"\n{kerberos}\n\n[[route]]\npath = \"/\"\nallow = {{ users = [\"*\"] }}\n\n\
                 [[route]]\npath = \"/sales\"\ninherit = false\nallow = {{ users = [\"bob@{realm}\"] }}\n",
                realm = crate::ad::REALM
            ),
        )
    }

    /// Starts the server, anew if it runs.
    pub(crate) fn restart(&mut self) {
        if let Some(running) = self.serve.take() {
            running.terminate();
        }
        let config = self.dir.join("iwa.toml").display().to_string();
        let mut command = self.domain.on(&self.host, IWA);
        // Not a word of the system's Kerberos configuration reaches it.
        command.args(["serve", "--config", &config]).env("KRB5_CONFIG", "/nonexistent");
        let log = self.dir.join("serve.out");
        let serve = self.serve.insert(Running::start(&mut command, &log));
        let probe = format!(": </dev/tcp/127.0.0.1/{}", self.port);
        eventually("iwa serve", 60, || {
            assert!(!serve.exited(), "iwa serve ends: {}", read(&log));
            let output = run(self.domain.on(&self.host, "bash").args(["-c", &probe]), "", 10);
            output.status.success().then_some(()).ok_or_else(|| format!("{}\n{}", shown(&output), read(&log)))
        });
    }

    /// Of the host's own name.
    pub(crate) fn url(&self, path: &str) -> String {
        self.url_as(&self.host, path)
    }

    /// Of another name of the host.
    pub(crate) fn url_as(&self, host: &str, path: &str) -> String {
        format!("http://{host}.{DNS}:{}{path}", self.port)
    }

    /// curl from the host `web`: the status code and the page.
    pub(crate) fn curl(&self, cache: &str, arguments: &[&str]) -> (String, String) {
        let mut command = self.domain.on("web", "curl");
        command.args(["-s", "-S", "-m", "60", "-w", "\n%{http_code}"]).args(arguments).env("KRB5CCNAME", cache);
        let output = run(&mut command, "", 90);
        let out = text(&output.stdout);
        let (page, code) = out.rsplit_once('\n').unwrap_or_else(|| panic!("curl: {}", shown(&output)));
        (code.to_owned(), page.to_owned())
    }

    /// The JSON log's lines that `wanted` picks, once there are `count`.
    pub(crate) fn log(&self, count: usize, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        eventually("a line of the log", 20, || {
            let all = self.lines("iwa_");
            let found: Vec<Value> =
                all.iter().filter_map(|line| serde_json::from_str(line).ok()).filter(|line| wanted(line)).collect();
            if found.len() >= count { Ok(found) } else { Err(format!("{} of {count}: {all:#?}", found.len())) }
        })
    }

    fn lines(&self, prefix: &str) -> Vec<String> {
        std::fs::read_dir(self.dir.join("logs"))
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
            .flat_map(|entry| {
                read(&entry.path()).lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
            })
            .collect()
    }
}

/// The values of a row of the page that says who the visitor is.
pub(crate) fn rows(page: &str, name: &str) -> Vec<String> {
    let row = format!("<tr><th>{name}</th><td>");
    page.split(&row)
        .skip(1)
        .filter_map(|rest| rest.split("</td>").next())
        .map(|cell| cell.replace("&#39;", "'").replace("&quot;", "\"").replace("&lt;", "<").replace("&amp;", "&"))
        .collect()
}
