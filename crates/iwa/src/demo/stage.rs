//! What the demonstration needs: accounts, a KDC, a keytab, a site, and a log that it can read back.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use iwa_auth::Secret;
use iwa_auth::krb5::issuer::{Kdc, KdcPolicy};
use iwa_domain::kdc_server::{KdcServer, Limits, krb5_conf};
use iwa_domain::local::{AccountsError, LocalAccounts, Lockout, NewUser};
use iwa_http::System as _;
use iwa_wire::krb5::Principal;
use iwa_wire::krb5::principal::name_type;

use crate::config::Config;
use crate::gateway::audit::{Field, w3c_line};
use crate::gateway::exchange::{Audit, Exchange};
use crate::gateway::{self, Running};
use crate::get::Failure;

/// Everything that runs.
pub(super) struct Stage {
    dir: PathBuf,
    temporary: bool,
    pub(super) alice: Person,
    bob: Person,
    pub(super) kdc: SocketAddr,
    pub(super) port: u16,
    pub(super) log: Arc<Collected>,
    kdc_server: KdcServer,
    site: Running,
}

/// An account, and the password that it was just given.
pub(super) struct Person {
    pub(super) name: &'static str,
    pub(super) password: Secret<String>,
}

impl Stage {
    /// Makes and starts everything.
    pub(super) async fn set(state: Option<&Path>, port: u16) -> Result<Self, Failure> {
        let (dir, temporary) = match state {
            Some(dir) => (dir.to_owned(), false),
            None => (temporary()?, true),
        };
        let accounts = LocalAccounts::open_or_create(&dir, MACHINE, REALM, Lockout::default()).map_err(failed)?.0;
        let alice = person(&accounts, "alice", "Alice Adams")?;
        let bob = person(&accounts, "bob", "Bob Brown")?;
        group(&accounts, alice.name)?;
        let keytab = dir.join("http.keytab");
        service(&accounts, &keytab)?;

        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let kdc_server =
            KdcServer::start(any, Kdc::new(REALM, KdcPolicy::default()), Arc::new(accounts), Limits::default())
                .await
                .map_err(|error| Failure::unreachable(format!("the KDC has no port: {error}")))?;
        let kdc = kdc_server.address();
        let conf = dir.join("krb5.conf");
        std::fs::write(&conf, krb5_conf(REALM, kdc, &["localhost"])).map_err(|error| cannot_write(&conf, &error))?;

        browsers(&dir)?;

        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let log = Arc::new(Collected::default());
        let config = Config::for_demo(listen, keytab, dir.clone());
        let audit: Arc<dyn Audit> = log.clone();
        let site = gateway::start(&config, None, audit).await.map_err(|problem| {
            Failure::unreachable(format!("{problem}; --port takes another port, and --port 0 any that is free"))
        })?;
        let port = site.addresses().first().map_or(port, SocketAddr::port);
        Ok(Self { dir, temporary, alice, bob, kdc, port, log, kdc_server, site })
    }

    /// What was made.
    pub(super) fn introduction(&self) -> String {
        let Self { dir, kdc, port, alice, bob, .. } = self;
        format!(
            "State      {}\n\
             Accounts   {} (password {}), {} (password {}); group {GROUP}: {}\n\
             KDC        realm {REALM}, {kdc}, UDP and TCP\n\
             Site       http://localhost:{port}/  anonymous off; providers Negotiate, NTLM\n",
            dir.display(),
            alice.name,
            alice.password.expose(),
            bob.name,
            bob.password.expose(),
            alice.name,
        )
    }

    /// What to try from another terminal.
    pub(super) fn invitation(&self) -> String {
        let (dir, port, alice) = (self.dir.display(), self.port, self.alice.name);
        let password = self.alice.password.expose();
        let url = format!("http://localhost:{port}/");
        // Under `cargo run` it is not on the path.
        let iwa = std::env::current_exe().map_or_else(|_| "iwa".to_owned(), |path| path.display().to_string());
        format!(
            "The site stays up until Ctrl-C. From another terminal:\n\n  \
             export KRB5_CONFIG={dir}/krb5.conf KRB5CCNAME=FILE:{dir}/ccache\n  \
             kinit {alice}@{REALM}             # password {password}; MIT's or Heimdal's\n  \
             curl --negotiate -u : {url}\n  \
             curl --ntlm -u {alice}:{password} {url}\n  \
             chromium --auth-server-allowlist=localhost --user-data-dir={dir}/chromium {url}\n  \
             firefox --profile {dir}/firefox {url}\n  \
             {iwa} get -v --allow localhost {url}\n\n\
             With the ticket of kinit both browsers are in at once. Without it they ask for a name and a password (NTLM).\n"
        )
    }

    /// Stops everything, and removes what was made for this time only.
    pub(super) async fn strike(self) {
        self.site.stop().await;
        self.kdc_server.stop().await;
        if self.temporary
            && let Err(error) = std::fs::remove_dir_all(&self.dir)
        {
            eprintln!("{} could not be removed: {error}", self.dir.display());
        }
    }
}

/// The site's log, kept to be read back.
#[derive(Default)]
pub(super) struct Collected {
    lines: Mutex<Vec<Line>>,
}

/// One request, as the log tells it.
pub(super) struct Line {
    /// `200.0.0`.
    pub(super) numbers: String,
    /// As IIS logs it.
    pub(super) w3c: String,
    /// Why, in words, where there is something to say.
    pub(super) why: Option<String>,
}

impl Collected {
    /// What was logged since the last time.
    pub(super) fn take(&self) -> Vec<Line> {
        std::mem::take(&mut *self.lines.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Audit for Collected {
    fn record(&self, exchange: &Exchange<'_>) {
        let status = exchange.status;
        let line = Line {
            numbers: format!("{}.{}.{}", status.http.as_u16(), status.sub, status.win32),
            w3c: w3c_line(exchange, &Field::DEFAULT),
            why: exchange.reason.map(|reason| format!("{}: {reason}", reason.code())),
        };
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}

/// A directory for this time, under the system's temporary directory and for this user alone.
fn temporary() -> Result<PathBuf, Failure> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|_| Failure::unreachable("the system gives no randomness"))?;
    let dir = std::env::temp_dir().join(format!("iwa-demo-{:016x}", u64::from_le_bytes(random)));
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    // `create` refuses a directory that is there already, so that nobody can have laid it out for us.
    builder.create(&dir).map_err(|error| cannot_write(&dir, &error))?;
    Ok(dir)
}

/// Makes the account, or gives the one that is there a new password: what is printed must be true.
fn person(accounts: &LocalAccounts, name: &'static str, display_name: &str) -> Result<Person, Failure> {
    let password = password()?;
    let known = accounts.snapshot().map_err(failed)?.user(name).is_some();
    if known {
        accounts.set_password(name, &password, false).map_err(failed)?;
    } else {
        let new = NewUser { name, password: &password, display_name, upn: None, must_change: false, expires: None };
        accounts.add_user(&new).map_err(failed)?;
    }
    Ok(Person { name, password })
}

fn group(accounts: &LocalAccounts, member: &str) -> Result<(), Failure> {
    if accounts.snapshot().map_err(failed)?.group(GROUP).is_none() {
        accounts.add_group(GROUP, "May change the site").map_err(failed)?;
        accounts.add_member(GROUP, member).map_err(failed)?;
    }
    Ok(())
}

/// `HTTP/localhost` with its keys, in a keytab for the site.
fn service(accounts: &LocalAccounts, keytab: &Path) -> Result<(), Failure> {
    let service = match accounts.snapshot().map_err(failed)?.service(SERVICE) {
        Some(service) => service.clone(),
        None => accounts.set_service_keys(SERVICE).map_err(failed)?,
    };
    let principal = Principal {
        name_type: name_type::SRV_INST,
        components: SERVICE.split('/').map(str::to_owned).collect(),
        realm: REALM.to_owned(),
    };
    crate::keytab::put(keytab, &principal, &service.keys, iwa_http::Os.now()).map_err(Failure::unreachable)
}

/// Profiles in which the browsers trust the site with the user's ticket.
fn browsers(dir: &Path) -> Result<(), Failure> {
    // A fresh Chromium profile on Linux keeps tickets back until it has once seen the header: this says that it has.
    let chromium = (dir.join("chromium"), "Local State", r#"{"net":{"received_http_auth_negotiate_headers":true}}"#);
    let preferences = "user_pref(\"network.negotiate-auth.trusted-uris\", \"localhost\");\n\
                       user_pref(\"network.negotiate-auth.allow-non-fqdn\", true);\n";
    for (profile, file, text) in [chromium, (dir.join("firefox"), "user.js", preferences)] {
        std::fs::create_dir_all(&profile).map_err(|error| cannot_write(&profile, &error))?;
        let path = profile.join(file);
        // A profile that was used has a state of its own.
        if !path.exists() {
            std::fs::write(&path, text).map_err(|error| cannot_write(&path, &error))?;
        }
    }
    Ok(())
}

/// Twelve letters and digits that look unlike each other: about 59 bits.
fn password() -> Result<Secret<String>, Failure> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut random = [0; 12];
    getrandom::fill(&mut random).map_err(|_| Failure::unreachable("the system gives no randomness"))?;
    let mut password = String::with_capacity(14);
    for (index, byte) in random.iter().enumerate() {
        if index % 4 == 0 && index > 0 {
            password.push('-');
        }
        password.push(char::from(LETTERS[usize::from(byte % 32)]));
    }
    Ok(Secret::new(password))
}

fn failed(error: AccountsError) -> Failure {
    Failure::unreachable(error.to_string())
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::unreachable(format!("{} cannot be made: {error}", path.display()))
}

pub(super) const REALM: &str = "EXAMPLE.TEST";
const MACHINE: &str = "DEMO";
const SERVICE: &str = "HTTP/localhost";
const GROUP: &str = "Web Admins";
