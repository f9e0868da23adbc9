//! Logons of a domain user through a real domain controller, and what they cost.
//!
//! ```text
//! cargo run -p iwa-domain --example netlogon -- --dc 192.0.2.10 --domain CORP --dns corp.example.test \
//!     --machine WEB --user alice [--user-domain CORP] [--count 1000] [--in-flight 8] [--passwords FILE] \
//!     [--set-password FILE] [--claims COMPUTER]
//! ```
//!
//! The passwords, first the machine's and then the user's, are the first two lines of `FILE` or of the standard input. Several
//! `--dc` are asked in their order. Prints who the user is, or why not; with `--count` also logons per second and this process's
//! CPU time per logon. `--set-password` gives the machine the password on the file's first line, before anybody logs on. With
//! `--claims` the response was made for another computer, which the domain controller must refuse.

use std::error::Error;
use std::io::{BufRead as _, BufReader, Read};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use iwa_auth::ports::{Logon as _, LogonError, NetworkLogon};
use iwa_auth::{Entropy, Env, Secret, UnixTime, env::EntropyError, netlogon};
use iwa_domain::controller::{Controller, Listed, Ports};
use iwa_domain::machine::{DomainNames, Machine, MachinePassword, Membership};
use iwa_domain::netlogon::{Netlogon, NetlogonConfig};

#[derive(Default)]
struct Options {
    controllers: Vec<IpAddr>,
    domain: String,
    dns: String,
    machine: String,
    user: String,
    user_domain: Option<String>,
    count: usize,
    in_flight: usize,
    passwords: Option<String>,
    set_password: Option<String>,
    claims: Option<String>,
}

struct System;

impl Entropy for System {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        getrandom::fill(out).map_err(|_| EntropyError)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = options()?;
    let mut lines = BufReader::new(match &options.passwords {
        Some(path) => Box::new(std::fs::File::open(path)?) as Box<dyn Read>,
        None => Box::new(std::io::stdin()),
    })
    .lines();
    let mut secret = || Ok::<_, Box<dyn Error>>(Secret::new(lines.next().ok_or("two passwords, a line each")??));
    let (machine_password, user_password) = (secret()?, secret()?);
    let current = MachinePassword { password: machine_password, kvno: 1, since: UnixTime::default() };
    let machine = Machine {
        domain: DomainNames {
            netbios: options.domain.clone(),
            dns: options.dns.clone(),
            sid: "S-1-5-21-0-0-0".parse()?,
            forest: options.dns.clone(),
        },
        computer: options.machine.clone(),
        dns_host_name: format!("{}.{}", options.machine.to_lowercase(), options.dns),
        salt: String::new(),
        current,
        pending: None,
        previous: None,
    };
    let controller =
        |address: &IpAddr| Controller { host: address.to_string(), addresses: vec![*address], ports: Ports::default() };
    let controllers = Listed::new(options.controllers.iter().map(controller).collect::<Vec<_>>());
    let config = NetlogonConfig { in_flight: options.in_flight, waiting: options.count, ..NetlogonConfig::default() };
    let netlogon = Netlogon::new(Membership::new(machine), Arc::new(controllers), config);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(run(&options, netlogon, &user_password))
}

async fn run(options: &Options, netlogon: Netlogon, password: &Secret<String>) -> Result<(), Box<dyn Error>> {
    if let Some(path) = &options.set_password {
        let text = std::fs::read_to_string(path)?;
        let new = Secret::new(text.lines().next().unwrap_or_default().to_owned());
        netlogon.set_password(&new).await?;
        println!("the machine has its new password");
        return Ok(());
    }
    let checked = netlogon.check().await?;
    println!("{} takes the machine's {} password", checked.controller, checked.password);
    let domain = options.user_domain.as_deref().unwrap_or(&options.domain);
    let logon = response(options, domain, password)?;
    match netlogon.network(&logon).await {
        Ok(info) => {
            let account = &info.account;
            println!("{}\\{} {:?} {:?}", account.domain, account.name, account.realm, account.upn);
            println!("SID {}", account.sid.map(|sid| sid.to_string()).unwrap_or_default());
            info.groups.iter().for_each(|group| println!("group {group}"));
        }
        Err(LogonError::Refused(status)) => println!("refused {status}"),
        Err(LogonError::Unavailable(why)) => return Err(why.into()),
    }
    if options.count == 0 {
        return Ok(());
    }
    // All connections are made before anything is measured.
    many(&netlogon, &logon, 4 * options.in_flight, options.in_flight).await?;
    let (begun, cpu) = (Instant::now(), cpu_seconds()?);
    many(&netlogon, &logon, options.count, options.in_flight).await?;
    let (elapsed, cpu) = (begun.elapsed().as_secs_f64(), cpu_seconds()? - cpu);
    let count = options.count as f64;
    println!(
        "{} logons, {} in flight: {:.0} logons/s, {:.1} us CPU of ours per logon",
        options.count,
        options.in_flight,
        count / elapsed,
        1e6 * cpu / count
    );
    Ok(())
}

async fn many(netlogon: &Netlogon, logon: &NetworkLogon, count: usize, lanes: usize) -> Result<(), Box<dyn Error>> {
    let lanes: Vec<_> = (0..lanes)
        .map(|lane| {
            let (netlogon, logon) = (netlogon.clone(), logon.clone());
            let mine = count / lanes + usize::from(lane < count % lanes);
            tokio::spawn(async move {
                for _ in 0..mine {
                    if let Err(LogonError::Unavailable(why)) = netlogon.network(&logon).await {
                        return Err(why);
                    }
                }
                Ok(())
            })
        })
        .collect();
    for lane in lanes {
        lane.await??;
    }
    Ok(())
}

/// What a client would have sent for this password.
fn response(options: &Options, domain: &str, password: &Secret<String>) -> Result<NetworkLogon, Box<dyn Error>> {
    let computer = options.claims.as_ref().unwrap_or(&options.machine).clone();
    let member = netlogon::Member { domain: options.domain.clone(), computer };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_micros();
    let mut env = Env { now: UnixTime::from_micros(now.try_into()?), entropy: &mut System };
    netlogon::logon::with_password(&member, domain, &options.user, password, &mut env)
        .map_err(|_| "no randomness".into())
}

/// User and system time of all threads.
fn cpu_seconds() -> Result<f64, Box<dyn Error>> {
    let mut nanoseconds = 0u64;
    for task in std::fs::read_dir("/proc/self/task")? {
        let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
        nanoseconds += text.split(' ').next().ok_or("schedstat")?.parse::<u64>()?;
    }
    Ok(nanoseconds as f64 / 1e9)
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut options = Options { in_flight: 8, ..Options::default() };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} has no value"))?;
        match name.as_str() {
            "--dc" => options.controllers.push(value.parse()?),
            "--domain" => options.domain = value,
            "--dns" => options.dns = value,
            "--machine" => options.machine = value,
            "--user" => options.user = value,
            "--user-domain" => options.user_domain = Some(value),
            "--count" => options.count = value.parse()?,
            "--in-flight" => options.in_flight = value.parse()?,
            "--passwords" => options.passwords = Some(value),
            "--claims" => options.claims = Some(value),
            "--set-password" => options.set_password = Some(value),
            other => return Err(format!("{other} is not known").into()),
        }
    }
    Ok(options)
}
