//! `iwa user`: local accounts, as `net user` has them.

use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use iwa_auth::{Secret, UnixTime};
use iwa_domain::local::{AccountsError, Failures, LocalAccounts, Lockout, NewUser, Snapshot, User, UserChange};
use iwa_wire::explain::printable;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::config::DEFAULT_STATE;

/// Local accounts.
///
/// Whoever has one can sign in with NTLM, Basic, and Kerberos from `iwa kdc`.
///
/// A change takes effect at once, also in servers that run. Passwords are asked for, or read from standard input; they are
/// never arguments, which everybody on the machine can read. Exit status: 0 done, 1 not done, 2 wrong usage.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    state: State,
    #[command(subcommand)]
    command: Command,
}

/// Where the accounts are.
#[derive(clap::Args, Debug)]
pub(crate) struct State {
    /// The directory of the accounts; `add` makes it.
    #[arg(long, global = true, value_name = "DIR", default_value = DEFAULT_STATE)]
    state: PathBuf,
}

/// What a new state directory is made for.
#[derive(clap::Args, Debug)]
pub(crate) struct Machine {
    /// The NetBIOS name that the accounts belong to, if the directory is made now [default: this machine's].
    #[arg(long, value_name = "NAME")]
    machine: Option<String>,
    /// The Kerberos realm of the accounts, if the directory is made now [default: this machine's domain].
    #[arg(long, value_name = "REALM")]
    realm: Option<String>,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Make an account.
    Add {
        /// Its name: up to 20 characters, in any case.
        name: String,
        #[command(flatten)]
        options: Options,
        /// The password must be changed before it is good for anything.
        #[arg(long)]
        must_change: bool,
        #[command(flatten)]
        password: PasswordFrom,
        #[command(flatten)]
        machine: Machine,
    },
    /// Set an account's password. Kerberos keys get the next version number.
    Passwd {
        /// The account.
        name: String,
        /// The password must be changed before it is good for anything.
        #[arg(long)]
        must_change: bool,
        #[command(flatten)]
        password: PasswordFrom,
    },
    /// List the accounts.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show an account.
    Show {
        /// The account.
        name: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Change an account's display name, UPN or end.
    Set {
        /// The account.
        name: String,
        #[command(flatten)]
        options: Options,
    },
    /// Keep accounts out without removing them.
    Disable {
        /// The accounts.
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Let disabled accounts in again.
    Enable {
        /// The accounts.
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// End the lock-out of accounts, and forget their failures.
    Unlock {
        /// The accounts.
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Remove accounts. Their SIDs are never given again.
    Remove {
        /// The accounts.
        #[arg(required = true)]
        names: Vec<String>,
    },
}

/// What an account has besides name and password.
#[derive(clap::Args, Debug)]
struct Options {
    /// The name that is shown.
    #[arg(long, value_name = "TEXT")]
    display_name: Option<String>,
    /// The user principal name [default: name@realm].
    #[arg(long, value_name = "NAME@SUFFIX")]
    upn: Option<String>,
    /// The first day (UTC) on which the account is no longer good, or `never`.
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = expiry)]
    expires: Option<Expiry>,
}

/// Where a password comes from.
#[derive(clap::Args, Debug)]
struct PasswordFrom {
    /// Read the password from standard input instead of asking for it; one line break at its end does not belong to it.
    #[arg(long)]
    password_stdin: bool,
}

/// An account's end.
#[derive(Clone, Copy, Debug)]
struct Expiry(Option<UnixTime>);

/// Runs the command.
pub(crate) fn run(args: &Args) -> ExitCode {
    finish("iwa user", args.run())
}

impl Args {
    fn run(&self) -> Result<(), Failure> {
        let each = |names: &[String], work: &dyn Fn(&LocalAccounts, &str) -> Result<(), AccountsError>| {
            let accounts = self.state.open()?;
            names.iter().try_for_each(|name| work(&accounts, name)).map_err(Failure::from)
        };
        match &self.command {
            Command::Add { name, options, must_change, password, machine } => {
                // The name is checked before a person types a password twice for nothing.
                iwa_domain::local::name::check_user(name)
                    .map_err(|error| AccountsError::Name { name: name.clone(), error })?;
                let accounts = self.state.open_or_create(machine)?;
                if let Some(user) = accounts.snapshot()?.user(name) {
                    return Err(AccountsError::Exists { kind: "an account", name: user.name.clone() }.into());
                }
                let password = password.read()?;
                let user = accounts.add_user(&NewUser {
                    name,
                    password: &password,
                    display_name: options.display_name.as_deref().unwrap_or_default(),
                    upn: options.upn.as_deref(),
                    must_change: *must_change,
                    expires: options.expires.and_then(|expires| expires.0),
                })?;
                let sid = accounts.snapshot()?.machine().sid_of(user.rid);
                println!("{} {sid}", printable(&user.name));
                Ok(())
            }
            Command::Passwd { name, must_change, password } => {
                let accounts = self.state.open()?;
                if accounts.snapshot()?.user(name).is_none() {
                    return Err(AccountsError::NoSuch { kind: "account", name: name.clone() }.into());
                }
                accounts.set_password(name, &password.read()?, *must_change)?;
                Ok(())
            }
            Command::List { json } => {
                let accounts = self.state.open()?;
                let snapshot = accounts.snapshot()?;
                let users = snapshot.users();
                let rows = users.iter().map(|user| Ok((*user, accounts.failures(user.rid)?)));
                let rows = rows.collect::<Result<Vec<_>, AccountsError>>()?;
                if *json {
                    let all: Vec<_> =
                        rows.iter().map(|(user, failures)| described(&snapshot, user, failures)).collect();
                    println!("{:#}", Value::from(all));
                } else {
                    list(&rows);
                }
                Ok(())
            }
            Command::Show { name, json } => {
                let accounts = self.state.open()?;
                let snapshot = accounts.snapshot()?;
                let missing = || AccountsError::NoSuch { kind: "account", name: name.clone() };
                let user = snapshot.user(name).ok_or_else(missing)?;
                let failures = accounts.failures(user.rid)?;
                if *json {
                    println!("{:#}", described(&snapshot, user, &failures));
                } else {
                    show(&snapshot, user, &failures);
                }
                Ok(())
            }
            Command::Set { name, options } => {
                let change = UserChange {
                    display_name: options.display_name.clone(),
                    upn: options.upn.clone(),
                    expires: options.expires.map(|expires| expires.0),
                    ..UserChange::default()
                };
                self.state.open()?.change_user(name, &change)?;
                Ok(())
            }
            Command::Disable { names } => each(names, &|accounts, name| disable(accounts, name, true)),
            Command::Enable { names } => each(names, &|accounts, name| disable(accounts, name, false)),
            Command::Unlock { names } => each(names, &LocalAccounts::unlock_user),
            Command::Remove { names } => each(names, &LocalAccounts::remove_user),
        }
    }
}

impl State {
    /// The accounts, which must be there.
    pub(crate) fn open(&self) -> Result<LocalAccounts, Failure> {
        Ok(LocalAccounts::open(&self.state, Lockout::default())?)
    }

    /// The accounts, made if they are not there.
    pub(crate) fn open_or_create(&self, machine: &Machine) -> Result<LocalAccounts, Failure> {
        let (host, domain) = this_machine();
        let name = machine.machine.clone().unwrap_or(host);
        let realm = machine.realm.clone().unwrap_or(domain);
        let (accounts, created) = LocalAccounts::open_or_create(&self.state, &name, &realm, Lockout::default())?;
        let snapshot = accounts.snapshot()?;
        let found = snapshot.machine();
        if created {
            let dir = self.state.display();
            eprintln!("made {dir}: machine {}, realm {}, SID {}", found.name, found.realm, found.sid);
        }
        for (option, wanted, found) in
            [("--machine", &machine.machine, &found.name), ("--realm", &machine.realm, &found.realm)]
        {
            if let Some(wanted) = wanted.as_ref().filter(|wanted| !wanted.eq_ignore_ascii_case(found)) {
                return Err(Failure(format!(
                    "{option}: {} was made for {found}, and its accounts' keys depend on that; it cannot become {}",
                    self.state.display(),
                    printable(wanted)
                )));
            }
        }
        Ok(accounts)
    }
}

impl PasswordFrom {
    fn read(&self) -> Result<Secret<String>, Failure> {
        if self.password_stdin {
            return password_from(&mut std::io::stdin().lock());
        }
        if !std::io::stdin().is_terminal() {
            return Err(Failure(
                "there is no terminal to ask for the password at; --password-stdin reads it from standard input"
                    .to_owned(),
            ));
        }
        let ask = |prompt| {
            rpassword::prompt_password(prompt)
                .map(Zeroizing::new)
                .map_err(|error| Failure(format!("the password cannot be read from the terminal: {error}")))
        };
        let (first, again) = (ask("Password: ")?, ask("The same again: ")?);
        if *first != *again {
            return Err(Failure("the two passwords are not the same; nothing was changed".to_owned()));
        }
        Ok(Secret::new(first.to_string()))
    }
}

/// A password that fills a stream, but for one line break at its end.
pub(crate) fn password_from(stream: &mut dyn std::io::Read) -> Result<Secret<String>, Failure> {
    // Allocated once, so that no copies of it stay behind where it grew.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST + 1));
    let read = stream.take(LONGEST as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure(format!("the password cannot be read from standard input: {error}")))?;
    if bytes.len() > LONGEST {
        return Err(Failure("what stands on standard input is too long for a password".to_owned()));
    }
    let text =
        std::str::from_utf8(&bytes).map_err(|_| Failure("the password on standard input is not UTF-8".to_owned()))?;
    let text = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    Ok(Secret::new(text.to_owned()))
}

fn disable(accounts: &LocalAccounts, name: &str, disabled: bool) -> Result<(), AccountsError> {
    accounts.change_user(name, &UserChange { disabled: Some(disabled), ..UserChange::default() }).map(|_| ())
}

fn list(rows: &[(&User, Failures)]) {
    let width = rows.iter().map(|(user, _)| user.name.chars().count()).max().unwrap_or_default().max(4);
    for (user, failures) in rows {
        let line = format!(
            "{:width$}  {:10}  {}",
            printable(&user.name),
            state(user, failures),
            printable(&user.display_name)
        );
        println!("{}", line.trim_end());
    }
}

fn show(snapshot: &Snapshot, user: &User, failures: &Failures) {
    let groups: Vec<_> = snapshot.groups_of(user.rid).iter().map(|group| printable(&group.name)).collect();
    let etypes: Vec<_> = user.keys.keys.iter().map(|key| key.etype().name()).collect();
    let locked =
        if failures.locked(now()) { format!("until {}", when(failures.locked_until)) } else { "no".to_owned() };
    for (what, value) in [
        ("name", printable(&user.name)),
        ("display name", printable(&user.display_name)),
        ("UPN", printable(&user.upn)),
        ("SID", snapshot.machine().sid_of(user.rid).to_string()),
        ("state", state(user, failures).to_owned()),
        ("locked out", locked),
        ("failures", failures.count.to_string()),
        ("expires", user.expires.map_or_else(|| "never".to_owned(), when)),
        ("password must be changed", if user.must_change { "yes" } else { "no" }.to_owned()),
        ("password set", when(user.password_set)),
        ("made", when(user.created)),
        ("Kerberos keys", format!("kvno {}: {}", user.keys.kvno, etypes.join(", "))),
        ("groups", if groups.is_empty() { "Users".to_owned() } else { format!("Users, {}", groups.join(", ")) }),
    ] {
        println!("{}", format!("{what:26}{value}").trim_end());
    }
}

fn described(snapshot: &Snapshot, user: &User, failures: &Failures) -> Value {
    let groups: Vec<_> = snapshot.groups_of(user.rid).iter().map(|group| group.name.clone()).collect();
    let etypes: Vec<_> = user.keys.keys.iter().map(|key| key.etype().name()).collect();
    json!({
        "name": user.name,
        "displayName": user.display_name,
        "upn": user.upn,
        "sid": snapshot.machine().sid_of(user.rid).to_string(),
        "state": state(user, failures),
        "disabled": user.disabled,
        "lockedUntil": failures.locked(now()).then(|| when(failures.locked_until)),
        "failures": failures.count,
        "expires": user.expires.map(when),
        "mustChange": user.must_change,
        "passwordSet": when(user.password_set),
        "created": when(user.created),
        "kvno": user.keys.kvno,
        "etypes": etypes,
        "groups": groups,
    })
}

/// The first thing that keeps the account out.
fn state(user: &User, failures: &Failures) -> &'static str {
    if failures.locked(now()) {
        "locked out"
    } else if user.disabled {
        "disabled"
    } else if user.expires.is_some_and(|expires| expires <= now()) {
        "expired"
    } else if user.must_change {
        "must change"
    } else {
        "good"
    }
}

fn expiry(text: &str) -> Result<Expiry, String> {
    if text.eq_ignore_ascii_case("never") {
        return Ok(Expiry(None));
    }
    let wanted = |_| "wanted a day such as 2027-01-31, or never".to_owned();
    let day: jiff::civil::Date = text.parse().map_err(wanted)?;
    let begins = jiff::tz::Offset::UTC.to_timestamp(day.at(0, 0, 0, 0)).map_err(wanted)?;
    let secs = begins.as_second();
    if secs <= 0 { Err("wanted a day after 1970".to_owned()) } else { Ok(Expiry(Some(UnixTime::from_secs(secs)))) }
}

/// A moment as ISO 8601 has it.
fn when(time: UnixTime) -> String {
    if time.micros() == u64::MAX { "an administrator unlocks it".to_owned() } else { time.to_string() }
}

fn now() -> UnixTime {
    iwa_http::System::now(&iwa_http::Os)
}

/// This machine's NetBIOS name and the realm that goes with it.
fn this_machine() -> (String, String) {
    names_of(&host_name())
}

/// This machine's host name as the system has it, with a domain or without; empty if it has none.
pub(crate) fn host_name() -> String {
    let read = |path| std::fs::read_to_string(Path::new(path)).ok();
    let name = read("/proc/sys/kernel/hostname").or_else(|| read("/etc/hostname"));
    name.or_else(|| std::env::var("COMPUTERNAME").ok()).unwrap_or_default().trim().to_owned()
}

fn names_of(host: &str) -> (String, String) {
    let (label, domain) = host.split_once('.').unwrap_or((host, ""));
    let name: String =
        label.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(15).collect::<String>().to_uppercase();
    let name = if name.is_empty() { "IWA".to_owned() } else { name };
    // The top-level domain that is reserved for private use; a realm without a dot confuses clients that map hosts to realms.
    let realm = if domain.is_empty() { format!("{name}.INTERNAL") } else { host.to_uppercase() };
    (name, realm)
}

/// Why a command did not do what it was told.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) String);

impl From<AccountsError> for Failure {
    fn from(error: AccountsError) -> Self {
        Self(error.to_string())
    }
}

/// Ends a command.
pub(crate) fn finish(command: &str, result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(why)) => {
            eprintln!("{command}: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Bytes of the longest password: 256 characters of three bytes, and a line break.
const LONGEST: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Option<String> {
        password_from(&mut &*bytes).ok().map(|password| password.expose().clone())
    }

    #[test]
    fn a_password_ends_before_one_line_break() {
        assert_eq!(read(b"secret\n").as_deref(), Some("secret"));
        assert_eq!(read(b"secret\r\n").as_deref(), Some("secret"));
        assert_eq!(read(b"secret").as_deref(), Some("secret"));
        assert_eq!(read(b" sec ret \n").as_deref(), Some(" sec ret "));
        assert_eq!(read(b"two\nlines\n").as_deref(), Some("two\nlines"));
        assert_eq!(read(b"\xff\n"), None);
        assert_eq!(read(&[b'x'; 1025]), None);
    }

    #[test]
    fn a_machine_is_named_after_its_host() {
        assert_eq!(names_of("web01.example.test"), ("WEB01".into(), "WEB01.EXAMPLE.TEST".into()));
        assert_eq!(names_of("web_01"), ("WEB01".into(), "WEB01.INTERNAL".into()));
        assert_eq!(names_of(""), ("IWA".into(), "IWA.INTERNAL".into()));
        assert_eq!(names_of("a-very-long-host-name").0, "A-VERY-LONG-HOS");
    }

    #[test]
    fn an_account_ends_when_a_day_begins() {
        assert_eq!(expiry("2027-01-31").unwrap().0, Some(UnixTime::from_secs(1_801_353_600)));
        assert!(expiry("never").unwrap().0.is_none());
        for bad in ["", "soon", "31.1.2027", "2027-02-30", "1969-01-01"] {
            assert!(expiry(bad).is_err(), "{bad}");
        }
    }
}
