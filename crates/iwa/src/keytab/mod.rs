//! `iwa keytab`: keytabs listed, made, merged, and compared with what the KDC issues. MIT keytab file format 0x0502.

mod check;
mod file;
mod rotate;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Subcommand;
use iwa_auth::krb5::client::{Client, LongTerm};
use iwa_auth::krb5::etype::{Etype, Key};
use iwa_auth::{Secret, UnixTime};
use iwa_domain::dns::Dns;
use iwa_domain::kdc::{KdcAddress, Kdcs};
use iwa_domain::krb5_conf::Krb5Conf;
use iwa_domain::machine::kerberos::{SignedIn, sign_in};
use iwa_wire::keytab::{Entry, Keytab};
use iwa_wire::krb5::Principal;
use iwa_wire::krb5::principal::name_type;
use serde_json::{Value, json};
use zeroize::Zeroizing;

pub(crate) use self::file::put;
use crate::user::{Failure, finish, password_from};

/// List, make, merge and check keytabs.
///
/// A keytab holds keys that are as good as passwords: none is ever printed, and files are made for their owner alone. Exit
/// status: 0 done, and for `check` all is well; 1 not done, or something is wrong; 2 wrong usage.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Show whose keys these are, their versions, encryption types and age.
    List {
        /// The keytabs.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make a keytab from an account's password, with the salt and the version that the KDC says.
    Create(Create),
    /// Put the keys of several keytabs into one: sorted, each once.
    Merge {
        /// The keytabs.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// The file to write; it may be one of the others.
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        /// Write over a file that is not one of the others.
        #[arg(long)]
        force: bool,
    },
    /// Get a ticket for every service of a keytab, and see whether the keytab decrypts it.
    Check(check::Args),
    Rotate(rotate::Args),
}

/// `iwa keytab create`.
#[derive(clap::Args, Debug)]
struct Create {
    /// The file; the keys of other principals stay in it.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The account: svc-web@CORP.EXAMPLE.TEST.
    #[arg(short, long, value_name = "NAME@REALM")]
    account: Principal,
    /// A service of the account: HTTP/web.corp.example.test. The account's own name is always in the keytab.
    #[arg(short, long = "service", value_name = "CLASS/HOST")]
    services: Vec<Principal>,
    /// Read the password from standard input instead of asking for it.
    #[arg(long)]
    password_stdin: bool,
    /// The salt of the account's keys. With --kvno no KDC is asked.
    #[arg(long, value_name = "TEXT")]
    salt: Option<String>,
    /// The version of the account's keys.
    #[arg(long, value_name = "N")]
    kvno: Option<u32>,
    /// The encryption types.
    #[arg(long = "etype", value_name = "NAME", value_delimiter = ',', value_parser = etype,
          default_values = ["aes256-cts-hmac-sha1-96", "aes128-cts-hmac-sha1-96"])]
    etypes: Vec<Etype>,
    #[command(flatten)]
    kdcs: KdcArgs,
}

/// Where KDCs are.
#[derive(clap::Args, Debug)]
pub(crate) struct KdcArgs {
    /// A KDC besides those of krb5.conf: REALM=host[:port], or REALM=tcp/host[:port].
    #[arg(long, value_name = "REALM=HOST")]
    kdc: Vec<String>,
}

impl KdcArgs {
    pub(crate) fn read(&self, conf: &Krb5Conf) -> Result<Kdcs, Failure> {
        let mut kdcs = Kdcs::from_krb5_conf(conf);
        if conf.dns_lookup_kdc() {
            kdcs.set_dns(Arc::new(Dns::system()));
        }
        for kdc in &self.kdc {
            let parsed = kdc.split_once('=').and_then(|(realm, host)| Some((realm, KdcAddress::parse(host)?)));
            let (realm, address) =
                parsed.ok_or_else(|| Failure(format!("--kdc `{kdc}`: write EXAMPLE.TEST=kdc.example.test:88")))?;
            kdcs.add(realm, [address]);
        }
        Ok(kdcs)
    }
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> ExitCode {
    match &args.command {
        Command::List { files, json } => finish("iwa keytab", list(files, *json)),
        Command::Create(create) => finish("iwa keytab", create.run()),
        Command::Merge { files, output, force } => finish("iwa keytab", merge(files, output, *force)),
        Command::Check(args) => check::run(args),
        Command::Rotate(args) => finish("iwa keytab rotate", args.run()),
    }
}

fn list(files: &[PathBuf], json: bool) -> Result<(), Failure> {
    let now = now();
    let mut all = Vec::new();
    for path in files {
        let bytes = file::read(path)?;
        let keytab = file::parse(path, &bytes)?;
        if json {
            all.push(json!({ "file": path.display().to_string(), "keys": described(keytab) }));
            continue;
        }
        println!("{}", path.display());
        let rows: Vec<_> = rows(keytab);
        let width = rows.iter().map(|row| row.principal.chars().count()).max().unwrap_or_default();
        for Row { principal, kvno, etypes, written } in &rows {
            println!("  {principal:width$}  kvno {kvno:<4}  {:12}  {etypes}", age(*written, now));
        }
        if rows.is_empty() {
            println!("  no key at all");
        }
        if let Some(mode) = file::open_to_others(path) {
            eprintln!(
                "{}: mode {mode:04o}: others may read keys that are as good as passwords; chmod 0600 it",
                path.display()
            );
        }
    }
    if json {
        println!("{:#}", Value::from(all));
    }
    Ok(())
}

/// One principal's keys of one version.
struct Row {
    principal: String,
    kvno: u32,
    etypes: String,
    written: u32,
}

fn rows(keytab: Keytab<'_>) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for entry in keytab.entries() {
        let principal = entry.principal.to_string();
        let etype = etype_name(entry.etype);
        match rows.iter_mut().find(|row| row.principal == principal && row.kvno == entry.kvno) {
            Some(row) => {
                row.etypes.push_str(", ");
                row.etypes.push_str(&etype);
                row.written = row.written.max(entry.timestamp);
            }
            None => rows.push(Row { principal, kvno: entry.kvno, etypes: etype, written: entry.timestamp }),
        }
    }
    rows
}

fn described(keytab: Keytab<'_>) -> Vec<Value> {
    let of = |entry: Entry<'_>| {
        let written = (entry.timestamp != 0).then(|| UnixTime::from_secs(i64::from(entry.timestamp)).to_string());
        let principal = entry.principal.to_string();
        json!({ "principal": principal, "kvno": entry.kvno, "etype": etype_name(entry.etype), "written": written })
    };
    keytab.entries().map(of).collect()
}

impl Create {
    fn run(&self) -> Result<(), Failure> {
        if self.account.realm.is_empty() {
            return Err(Failure(format!(
                "--account {}: write it with its realm, svc-web@CORP.EXAMPLE.TEST",
                self.account
            )));
        }
        let conf = Krb5Conf::load().map_err(|error| Failure(error.to_string()))?;
        let kdcs = self.kdcs.read(&conf)?;
        let password = self.password()?;
        let (salt, kvno, account) = match (&self.salt, self.kvno) {
            (Some(salt), Some(kvno)) => (salt.clone(), kvno, self.account.clone()),
            _ => self.ask(&password, &kdcs)?,
        };
        let keys = self.etypes.iter().map(|etype| Key::from_password(*etype, password.expose(), salt.as_bytes(), None));
        let keys: Vec<Key> = keys.collect::<Result<_, _>>().map_err(|error| Failure(error.to_string()))?;
        let services = self.services.iter().map(|service| {
            let realm = if service.realm.is_empty() { account.realm.clone() } else { service.realm.clone() };
            Principal { name_type: name_type::SRV_INST, realm, ..service.clone() }
        });
        let principals: Vec<_> = std::iter::once(account.clone()).chain(services).collect();
        for principal in &principals {
            file::put_keys(&self.file, principal, keys.iter().map(|key| (kvno, key)), now()).map_err(Failure)?;
            println!("{principal} kvno {kvno}");
        }
        if self.services.is_empty() {
            eprintln!("no --service: the keytab signs {account} in, and decrypts no ticket of clients");
        }
        Ok(())
    }

    /// Signs in with the password, so that both it and the salt are right.
    fn ask(&self, password: &Secret<String>, kdcs: &Kdcs) -> Result<(String, u32, Principal), Failure> {
        let client = Client::new(self.account.clone(), LongTerm::Password(password.clone()));
        let signed_in = block_on(sign_in(&client, kdcs))?;
        let SignedIn { tgt, kvno, salt } = signed_in.map_err(|reject| Failure(reject.to_string()))?;
        let missing = |what, option| {
            Failure(format!(
                "the KDC of {} does not tell the {what} of {}: give it with {option}",
                tgt.client.realm, tgt.client
            ))
        };
        let salt = self.salt.clone().or(salt).ok_or_else(|| missing("salt", "--salt"))?;
        let kvno = self.kvno.or(kvno).ok_or_else(|| missing("key version", "--kvno"))?;
        Ok((salt, kvno, tgt.client.clone()))
    }

    fn password(&self) -> Result<Secret<String>, Failure> {
        if self.password_stdin {
            return password_from(&mut std::io::stdin().lock());
        }
        rpassword::prompt_password(format!("Password of {}: ", self.account))
            .map(Secret::new)
            .map_err(|error| Failure(format!("the password cannot be asked for: {error}; --password-stdin reads it")))
    }
}

fn merge(files: &[PathBuf], output: &Path, force: bool) -> Result<(), Failure> {
    let same = |path: &PathBuf| path.canonicalize().ok().is_some_and(|path| output.canonicalize().ok() == Some(path));
    if output.exists() && !force && !files.iter().any(same) {
        return Err(Failure(format!(
            "{} exists, and its keys would be gone; --force writes over it",
            output.display()
        )));
    }
    let read: Vec<_> = files.iter().map(|path| file::read(path)).collect::<Result<_, _>>()?;
    let keytabs: Vec<_> =
        files.iter().zip(&read).map(|(path, bytes)| file::parse(path, bytes)).collect::<Result<_, _>>()?;
    let mut out = Zeroizing::new(Vec::with_capacity(read.iter().map(|bytes| bytes.len() + 256).sum::<usize>() + 4096));
    let (entries, doubtful) = merged(&keytabs);
    Keytab::write_head(&mut out);
    for entry in &entries {
        entry.write(&mut out);
    }
    file::replace(output, &out)
        .map_err(|error| Failure(format!("{}: it cannot be written: {error}", output.display())))?;
    println!("{}: {} keys", output.display(), entries.len());
    for name in doubtful {
        eprintln!(
            "{name}: the keytabs have different keys of that version; both are in, `iwa keytab check` says which is right"
        );
    }
    Ok(())
}

/// Accounts first, because a client takes the first; newest keys first. And the names of keys that contradict each other.
fn merged<'a>(keytabs: &[Keytab<'a>]) -> (Vec<Entry<'a>>, Vec<String>) {
    let mut entries: Vec<Entry<'a>> = Vec::new();
    for entry in keytabs.iter().flat_map(Keytab::entries) {
        let same = |known: &&mut Entry<'a>| {
            known.principal.to_string() == entry.principal.to_string()
                && (known.kvno, known.etype) == (entry.kvno, entry.etype)
                && known.key == entry.key
        };
        match entries.iter_mut().find(same) {
            Some(known) => known.timestamp = known.timestamp.max(entry.timestamp),
            None => entries.push(entry),
        }
    }
    entries.sort_by_cached_key(|entry| {
        let services = entry.principal.components().count() > 1;
        let weak = Etype::from_number(entry.etype).is_none_or(Etype::is_weak);
        (services, entry.principal.to_string(), std::cmp::Reverse(entry.kvno), weak, std::cmp::Reverse(entry.etype))
    });
    let mut count = BTreeMap::new();
    for entry in &entries {
        let name = format!("{} kvno {} {}", entry.principal, entry.kvno, etype_name(entry.etype));
        *count.entry(name).or_insert(0) += 1;
    }
    let doubtful = count.into_iter().filter(|(_, count)| *count > 1).map(|(name, _)| name).collect();
    (entries, doubtful)
}

/// Runs async work to its end.
fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map(|runtime| runtime.block_on(work)).map_err(|error| Failure(error.to_string()))
}

fn etype(text: &str) -> Result<Etype, String> {
    Etype::from_name(text).ok_or_else(|| {
        let known: Vec<_> = Etype::ALL.iter().map(|etype| etype.name()).collect();
        format!("wanted one of {}", known.join(", "))
    })
}

fn etype_name(number: i32) -> String {
    iwa_wire::krb5::enc::etype_name(number).map_or_else(|| format!("etype {number}"), str::to_owned)
}

/// How long ago a key was written, in words.
fn age(written: u32, now: UnixTime) -> String {
    let seconds = now.secs().saturating_sub(i64::from(written));
    match (written, seconds) {
        (0, _) => "no date".to_owned(),
        (_, ..0) => "in the future".to_owned(),
        (_, 0..7200) => format!("{} min old", seconds / 60),
        (_, 7200..172_800) => format!("{} h old", seconds / 3600),
        _ => format!("{} days old", seconds / 86_400),
    }
}

pub(crate) fn now() -> UnixTime {
    iwa_http::System::now(&iwa_http::Os)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keytab(entries: &[(&str, u32, i32, u8)]) -> Vec<u8> {
        let mut out = Vec::new();
        Keytab::write_head(&mut out);
        for (name, kvno, etype, fill) in entries {
            let principal: Principal = name.parse().unwrap();
            Entry { principal: (&principal).into(), timestamp: 7, kvno: *kvno, etype: *etype, key: &[*fill; 32] }
                .write(&mut out);
        }
        out
    }

    #[test]
    fn merged_keys_are_sorted_and_each_is_there_once() {
        let one = keytab(&[("HTTP/web@A", 2, 18, 1), ("HTTP/web@A", 3, 18, 2), ("WEB$@A", 3, 18, 2)]);
        let two = keytab(&[
            ("HTTP/app@A", 1, 17, 3),
            ("HTTP/web@A", 3, 18, 2),
            ("HTTP/web@A", 3, 17, 2),
            ("HTTP/web@A", 2, 18, 9),
        ]);
        let keytabs = [Keytab::parse(&one).unwrap(), Keytab::parse(&two).unwrap()];
        let (entries, doubtful) = merged(&keytabs);
        let found: Vec<_> =
            entries.iter().map(|e| format!("{} {} {} {}", e.principal, e.kvno, e.etype, e.key[0])).collect();
        let wanted = [
            "WEB$@A 3 18 2",
            "HTTP/app@A 1 17 3",
            "HTTP/web@A 3 18 2",
            "HTTP/web@A 3 17 2",
            "HTTP/web@A 2 18 1",
            "HTTP/web@A 2 18 9",
        ];
        assert_eq!(found, wanted);
        assert_eq!(doubtful, ["HTTP/web@A kvno 2 aes256-cts-hmac-sha1-96"]);
    }

    #[test]
    fn a_list_shows_no_key() {
        let bytes = keytab(&[("HTTP/web@A", 2, 18, 0x5a), ("HTTP/web@A", 2, 17, 0x5a)]);
        let rows = rows(Keytab::parse(&bytes).unwrap());
        assert_eq!(rows.len(), 1);
        let row = rows.first().unwrap();
        assert_eq!(row.etypes, "aes256-cts-hmac-sha1-96, aes128-cts-hmac-sha1-96");
        let json = Value::from(described(Keytab::parse(&bytes).unwrap())).to_string();
        assert!(!json.contains("5a") && !json.contains("90"), "{json}");
    }

    #[test]
    fn ages_in_words() {
        let now = UnixTime::from_secs(1_000_000_000);
        let of = |before: u32| age(1_000_000_000 - before, now);
        assert_eq!((of(60), of(7200), of(900_000)), ("1 min old".into(), "2 h old".into(), "10 days old".into()));
        assert_eq!((age(0, now), age(1_000_000_001, now)), ("no date".into(), "in the future".into()));
    }
}
