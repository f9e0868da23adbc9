//! An Active Directory of the test's own: `interop/ad/up` and what it tells.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::peer::{fresh_dir, here, run, shown, text};

pub(crate) const REALM: &str = "CORP.EXAMPLE.TEST";
pub(crate) const DNS: &str = "corp.example.test";
pub(crate) const ADMIN: (&str, &str) = ("Administrator", "Passw0rd!Adm");

/// A domain with its controller `dc` and the host `web`. It ends with this value, and with this process however that ends: the
/// first process of its PID namespace waits for the end of `stdin`.
pub(crate) struct Domain {
    pub(crate) dir: PathBuf,
    up: Child,
    stdin: Option<ChildStdin>,
    hosts: AtomicU32,
    computers: AtomicU32,
    member: OnceLock<()>,
}

/// A name and its password, with what is special about it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account {
    pub(crate) name: &'static str,
    pub(crate) password: &'static str,
}

impl Domain {
    /// The domain that all tests share which do it no harm. `None`, and said, where there can be none.
    pub(crate) fn shared(what: &str) -> Option<&'static Self> {
        static SHARED: OnceLock<Result<Domain, String>> = OnceLock::new();
        match SHARED.get_or_init(Self::start) {
            Ok(domain) => Some(domain),
            Err(why) => {
                iwa_testkit::left_out(what, why);
                None
            }
        }
    }

    /// A domain for one test, which may break it.
    pub(crate) fn own(what: &str) -> Option<Self> {
        Self::start().map_err(|why| iwa_testkit::left_out(what, &why)).ok()
    }

    /// # Errors
    /// In words, if this machine cannot have one.
    fn start() -> Result<Self, String> {
        if !Path::new("/usr/sbin/samba").exists() {
            return Err("Samba's domain controller is not installed (CONTRIBUTING.md lists the packages)".to_owned());
        }
        let namespaces = run(Command::new("unshare").args(["--net", "--mount", "--pid", "--fork", "true"]), "", 20);
        if !namespaces.status.success() {
            return Err(format!("namespaces of its own cannot be had; they need root: {}", text(&namespaces.stderr)));
        }
        let dir = fresh_dir();
        let errors = std::fs::File::create(dir.join("up.err")).expect("a log can be made");
        let mut up = Command::new(here().join("ad/up"))
            .arg(&dir)
            .arg(crate::peer::interop_home())
            .env("AD_THROW_AWAY", "1")
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .expect("a script of ours can be started");
        let (stdin, stdout) = (up.stdin.take(), up.stdout.take());
        let mut line = String::new();
        if let Some(stdout) = stdout {
            let _ = BufReader::new(stdout).read_line(&mut line);
        }
        // From here on a failure is one: this machine can have a domain.
        assert_eq!(
            line.trim(),
            "ready",
            "the domain does not start:\n{}",
            std::fs::read_to_string(dir.join("up.err")).unwrap_or_default()
        );
        Ok(Self { dir, up, stdin, hosts: AtomicU32::new(40), computers: AtomicU32::new(1), member: OnceLock::new() })
    }

    /// A command on a host. It ends with the domain, and when the process that this starts is killed.
    pub(crate) fn on(&self, host: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(here().join("ad/on"));
        command
            .arg(&self.dir)
            .arg(host)
            .arg(program)
            .env("LC_ALL", "C.UTF-8")
            .env("KRB5CCNAME", "FILE:/nonexistent")
            .env_remove("http_proxy")
            .env_remove("HTTP_PROXY")
            .env_remove("https_proxy")
            .env_remove("HTTPS_PROXY")
            .env("NO_PROXY", "*");
        command
    }

    /// Runs a command on a host to its good end and returns what it said.
    pub(crate) fn ok(&self, host: &str, arguments: &[&str]) -> String {
        let (program, arguments) = arguments.split_first().expect("a program");
        let output = run(self.on(host, program).args(arguments), "", 60);
        assert!(output.status.success(), "{program} {}: {}", arguments.join(" "), shown(&output));
        text(&output.stdout)
    }

    /// One more host, with a network, a name and a credential cache of its own: `host40`, `host41` ... in the domain's DNS.
    pub(crate) fn new_host(&self) -> String {
        let number = self.hosts.fetch_add(1, Ordering::Relaxed);
        assert!(number < 60, "populate.py names hosts up to 59");
        let name = format!("host{number}");
        self.add_host(&name, number);
        name
    }

    /// A host of this name and number.
    pub(crate) fn add_host(&self, name: &str, number: u32) {
        let script = here().join("ad/host").display().to_string();
        let dir = self.dir.display().to_string();
        self.ok("lab", &[&script, &dir, name, name, &number.to_string()]);
    }

    /// Sends a signal to every process of the domain controller: all that live in its network namespace, but not its holder.
    pub(crate) fn controller(&self, signal: &str) {
        let script = "holder=$(cat \"$1/dc/pid\"); net=$(readlink /proc/$holder/ns/net)\nfor process in /proc/[0-9]*; do\n  \
                      id=${process#/proc/}\n  [ \"$(readlink $process/ns/net)\" != \"$net\" ] || [ $id = $holder ] || kill -s $2 \
                      $id\ndone";
        let dir = self.dir.display().to_string();
        self.ok("lab", &["bash", "-c", script, "bash", &dir, signal]);
    }

    /// A computer account that no other test has, as `iwa join` leaves it, with a password of that
    /// age: the state's folder, and the account's name without `$`.
    pub(crate) fn computer(&self, age: Duration) -> (String, String) {
        let number = self.computers.fetch_add(1, Ordering::Relaxed);
        assert!(number <= 24, "populate.py makes 24 computers");
        let (name, host) = (format!("SRV{number:02}"), format!("srv{number:02}.{DNS}"));
        let dir = self.folder("state");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
        let since = now - age.as_secs();
        let machine = serde_json::json!({
            "format": 1,
            "domain": { "dns": DNS, "netbios": "CORP", "sid": self.sid(), "forest": DNS },
            "computer": name,
            "dns_host_name": host,
            "salt": format!("{REALM}host{host}"),
            "services": [format!("HOST/{host}")],
            "current": { "password": format!("Machine-Pw-{number:02}"), "kvno": 1, "since": since },
        });
        let keytab = std::fs::read(self.path(&format!("keytabs/srv{number:02}.keytab"))).expect("populate.py wrote it");
        for (file, bytes) in [("machine.json", machine.to_string().into_bytes()), ("machine.keytab", keytab)] {
            let path = dir.join(file);
            std::fs::write(&path, bytes).expect("written");
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("ours");
        }
        std::fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("ours");
        (dir.display().to_string(), name)
    }

    /// The domain's SID.
    pub(crate) fn sid(&self) -> String {
        let script = "from samba.samdb import SamDB\nfrom samba.auth import system_session\nfrom samba.param import LoadParm\nlp = \
                      LoadParm(); lp.load('/etc/samba/smb.conf')\nprint(SamDB(session_info=system_session(), \
                      lp=lp).get_domain_sid())";
        self.ok("dc", &["/usr/bin/python3", "-c", script]).trim().to_owned()
    }

    /// The host `member`, with Samba's winbind; the first who asks waits until it is there.
    pub(crate) fn member(&self) {
        self.member.get_or_init(|| {
            let script = here().join("ad/member").display().to_string();
            self.ok("lab", &[&script, &self.dir.display().to_string()]);
        });
    }

    /// Starts the controller again after it was ended.
    pub(crate) fn start_controller(&self) {
        let script = here().join("ad/controller").display().to_string();
        self.ok("lab", &[&script, &self.dir.display().to_string()]);
    }

    /// Takes the controller's IPv4 address away, in the DNS too.
    pub(crate) fn ipv6_only(&self) {
        let records = ["dc1.corp.example.test", "corp.example.test", "gc._msdcs.corp.example.test"];
        let updates: String = records.iter().map(|name| format!("update delete {name} A\nsend\n")).collect();
        let output = run(&mut self.on("web", "nsupdate"), &format!("server 2001:db8::10\n{updates}"), 30);
        assert!(output.status.success(), "{}", shown(&output));
        self.ok("dc", &["ip", "addr", "del", "192.0.2.10/24", "dev", "eth0"]);
        // In its place, because every host has this very file mounted.
        std::fs::write(self.dir.join("resolv.conf"), "search corp.example.test\nnameserver 2001:db8::10\n")
            .expect("ours");
    }

    /// A file in the domain's folder.
    pub(crate) fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// A folder in the domain's folder that no other test has.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let dir = self.dir.join(format!("{name}-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        std::fs::create_dir_all(&dir).expect("a folder can be made");
        dir
    }

    /// MIT's `kinit` on the host `web`, into a cache of its own. The value is for `KRB5CCNAME`.
    pub(crate) fn kinit(&self, account: Account) -> Result<String, Output> {
        let cache = format!("FILE:{}", self.folder("ccache").join("cc").display());
        let mut command = self.on("web", "kinit");
        command.args(["-f", "-c", &cache, &format!("{}@{REALM}", account.name)]);
        let output = run(&mut command, &format!("{}\n", account.password), 30);
        if output.status.success() { Ok(cache) } else { Err(output) }
    }

    /// The SIDs of `tokenGroups`: what the directory itself says that a user's token holds.
    pub(crate) fn token_groups(&self, account: Account) -> Vec<String> {
        let script = "import sys, ldb\nfrom samba.samdb import SamDB\nfrom samba.auth import system_session\nfrom samba.param \
                      import LoadParm\nfrom samba.ndr import ndr_unpack\nfrom samba.dcerpc import security\nlp = LoadParm(); \
                      lp.load('/etc/samba/smb.conf')\ndb = SamDB(session_info=system_session(), lp=lp)\ndn = \
                      db.search(expression='(sAMAccountName=%s)' % ldb.binary_encode(sys.argv[1]))[0].dn\nfor sid in db.search(dn, \
                      scope=ldb.SCOPE_BASE, attrs=['tokenGroups'])[0]['tokenGroups']:\n    print(ndr_unpack(security.dom_sid, sid))";
        let found = self.ok("dc", &["/usr/bin/python3", "-c", script, account.name]);
        crate::kerberos::of_the_domain(found.lines().map(str::to_owned).collect())
    }
}

impl Drop for Domain {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.up.wait();
    }
}

/// The account of this name.
pub(crate) fn account(name: &str) -> Account {
    accounts().into_iter().find(|account| account.name == name).unwrap_or_else(|| panic!("no account {name}"))
}

/// All accounts, as `populate.py` makes them.
pub(crate) fn accounts() -> Vec<Account> {
    include_str!("../ad/accounts.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let mut fields = line.split('\t');
            Some(Account { name: fields.next()?, password: fields.next()? })
        })
        .collect()
}

/// A process on one of the hosts; it is killed when this is dropped.
pub(crate) struct Running(Child);

impl Running {
    /// Starts it with its output in a file.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Self {
        let file = std::fs::File::create(log).expect("a log can be made");
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a file handle can be cloned"))
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
        Self(child)
    }

    pub(crate) fn exited(&mut self) -> bool {
        self.0.try_wait().ok().flatten().is_some()
    }

    /// The process itself: `nsenter` into another PID namespace stays as its parent.
    pub(crate) fn id(&self) -> u32 {
        let children = format!("/proc/{0}/task/{0}/children", self.0.id());
        let children = std::fs::read_to_string(children).unwrap_or_default();
        children.split_whitespace().next().and_then(|id| id.parse().ok()).expect("nsenter has its command as a child")
    }

    /// Asks it to end, and waits for that.
    pub(crate) fn terminate(mut self) {
        signal(self.id(), "TERM");
        let _ = self.0.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends a signal to one process.
pub(crate) fn signal(id: u32, name: &str) {
    let output = run(Command::new("kill").args(["-s", name, &id.to_string()]), "", 10);
    assert!(output.status.success(), "{}", shown(&output));
}

/// Waits until something is there; panics with `what` and what was last found after `seconds`.
pub(crate) fn eventually<T>(what: &str, seconds: u64, mut look: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + Duration::from_secs(seconds);
    loop {
        match look() {
            Ok(found) => return found,
            Err(why) => assert!(Instant::now() < end, "{what} does not come: {why}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What a file of a test's own holds, if it is there.
pub(crate) fn read(path: &Path) -> String {
    let mut bytes = Vec::new();
    let _ = std::fs::File::open(path).and_then(|mut file| file.read_to_end(&mut bytes));
    text(&bytes)
}
