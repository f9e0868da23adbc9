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
    /// A program under which the server runs, with its arguments.
    under: &'static [&'static str],
    /// The computer account of a member, without `$`.
    pub(crate) computer: String,
    scheme: &'static str,
}

impl<'a> Site<'a> {
    /// Serves on `host` with these sections of the configuration, besides `[server]` and `[log]`.
    pub(crate) fn start(domain: &'a Domain, host: &str, sections: &str) -> Self {
        Self::start_under(&[], domain, host, sections)
    }

    /// As [`Self::start`], with `under` before the server's command.
    pub(crate) fn start_under(under: &'static [&'static str], domain: &'a Domain, host: &str, sections: &str) -> Self {
        static PORT: AtomicU16 = AtomicU16::new(8000);
        let port = PORT.fetch_add(1, Ordering::Relaxed);
        let dir = domain.folder("site");
        let (scheme, listen) = if sections.contains("[[tls.") { ("https", "https://") } else { ("http", "") };
        let config = format!(
            "[server]\nlisten = [\"{listen}*:{port}\"]\n\n[log]\ndir = \"{dir}/logs\"\nflush = \"100 ms\"\n\n{sections}\n",
            dir = dir.display()
        );
        std::fs::write(dir.join("iwa.toml"), config).expect("the configuration can be written");
        let mut site =
            Self { domain, host: host.to_owned(), port, dir, serve: None, under, computer: String::new(), scheme };
        site.restart();
        site
    }

    /// A site that knows nothing but a keytab of the domain's.
    pub(crate) fn with_keytab(domain: &'a Domain, keytab: &str, kerberos: &str) -> Self {
        Self::start(domain, "web", &keytab_only(domain, keytab, kerberos))
    }

    /// A site on `web` that is a member: it has a computer account that no other test has, and `web`'s keytab.
    pub(crate) fn member(domain: &'a Domain) -> Self {
        let (state, computer) = domain.computer(std::time::Duration::ZERO);
        let keytab = domain.path("keytabs/web.keytab");
        Self { computer, ..Self::start(domain, "web", &of_member(&format!("keytab = \"{keytab}\""), &state)) }
    }

    /// A site on a host that `iwa join` made a member.
    pub(crate) fn joined(domain: &'a Domain, host: &str, state: &str) -> Self {
        Self::start(domain, host, &of_member("", state))
    }

    /// Starts the server, anew if it runs.
    pub(crate) fn restart(&mut self) {
        if let Some(running) = self.serve.take() {
            running.terminate();
        }
        let config = self.dir.join("iwa.toml").display().to_string();
        let words: Vec<&str> = self.under.iter().copied().chain([IWA, "serve", "--config", &config]).collect();
        let mut command = self.domain.on(&self.host, words[0]);
        // Not a word of the system's Kerberos configuration reaches it.
        command.args(&words[1..]).env("KRB5_CONFIG", "/nonexistent");
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
        format!("{}://{host}.{DNS}:{}{path}", self.scheme, self.port)
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

/// The configuration of a site that knows nothing but a keytab of the domain's.
pub(crate) fn keytab_only(domain: &Domain, keytab: &str, kerberos: &str) -> String {
    let keytab = domain.path(&format!("keytabs/{keytab}.keytab"));
    format!(
        "[authentication]\nanonymous = false\n[authentication.windows]\nproviders = [\"Negotiate:Kerberos\"]\n\n\
         [kerberos]\nkeytab = \"{keytab}\"\n{kerberos}\n\n[[route]]\npath = \"/\"\nallow = {{ users = [\"*\"] }}\n\n\
         [[route]]\npath = \"/sales\"\ninherit = false\nallow = {{ users = [\"bob@{realm}\"] }}\n",
        realm = crate::ad::REALM
    )
}

/// The configuration of a member.
pub(crate) fn of_member(kerberos: &str, state: &str) -> String {
    format!(
        "[authentication]\nanonymous = false\n[authentication.windows]\nproviders = [\"Negotiate\", \"NTLM\"]\n\n[kerberos]\n\
         {kerberos}\n\n[[domain]]\nname = \"{DNS}\"\nstate = \"{state}\"\n\n[[route]]\npath = \"/\"\nallow = {{ users = \
         [\"*\"] }}\n"
    )
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
