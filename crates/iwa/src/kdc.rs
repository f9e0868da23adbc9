//! `iwa kdc`: a KDC for the local accounts, and the services that it gives tickets for.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use iwa_auth::krb5::issuer::{Kdc, KdcPolicy};
use iwa_domain::kdc_server::{KdcServer, Limits, krb5_conf};
use iwa_domain::local::LocalAccounts;
use iwa_wire::explain::printable;
use iwa_wire::krb5::Principal;
use iwa_wire::krb5::principal::name_type;

use crate::serve::{Stop, start_tracing};
use crate::user::{Failure, Machine, State, finish};

/// A KDC for the local accounts.
///
/// AS and TGS, over UDP and TCP. It answers from the accounts as they stand: what `iwa user` and `iwa group` change holds for the next ticket. SIGTERM and
/// SIGINT let answers under way go out and stop. Exit status: 0 done, 1 not done, 2 wrong usage.
#[derive(clap::Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(flatten)]
    state: State,
    #[command(flatten)]
    serve: Serve,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(clap::Args, Debug)]
struct Serve {
    /// Where to listen, UDP and TCP; port 0 takes any that is free.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:88")]
    listen: SocketAddr,
    /// Write a krb5.conf with which kinit, curl and browsers find this KDC (KRB5_CONFIG=FILE).
    #[arg(long, value_name = "FILE")]
    write_krb5_conf: Option<PathBuf>,
    #[command(flatten)]
    machine: Machine,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Make a service principal with random keys, or take the one that is there, and put its keys into a keytab.
    AddService {
        /// Its name without the realm: HTTP/web.example.test.
        spn: String,
        /// The keytab; keys of other services in it stay.
        #[arg(long, value_name = "FILE")]
        keytab: Option<PathBuf>,
        /// Give it new keys, if it is there. The keys before stay good for tickets that are out.
        #[arg(long)]
        new_keys: bool,
        #[command(flatten)]
        machine: Machine,
    },
    /// Remove service principals: no more tickets for them.
    RemoveService {
        /// Their names without the realm.
        #[arg(required = true, value_name = "SPN")]
        spns: Vec<String>,
    },
    /// List the service principals.
    Services,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> ExitCode {
    let done = match &args.command {
        None => serve(args),
        Some(Command::AddService { spn, keytab, new_keys, machine }) => args
            .state
            .open_or_create(machine)
            .and_then(|accounts| add_service(&accounts, spn, keytab.as_deref(), *new_keys)),
        Some(Command::RemoveService { spns }) => args
            .state
            .open()
            .and_then(|accounts| spns.iter().try_for_each(|spn| accounts.remove_service(spn)).map_err(Failure::from)),
        Some(Command::Services) => args.state.open().and_then(|accounts| services(&accounts)),
    };
    finish("iwa kdc", done)
}

fn serve(args: &Args) -> Result<(), Failure> {
    start_tracing();
    let accounts = args.state.open_or_create(&args.serve.machine)?;
    let realm = accounts.snapshot()?.machine().realm.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure(format!("no threads can be had: {error}")))?;
    runtime.block_on(async {
        // The signals are listened for before anybody is told that the KDC runs.
        let mut stop = Stop::new().map_err(|error| Failure(error.to_string()))?;
        let kdc = Kdc::new(&realm, KdcPolicy::default());
        let server =
            KdcServer::start(args.serve.listen, kdc, Arc::new(accounts), Limits::default()).await.map_err(|error| {
                Failure(format!(
                    "cannot listen on {}: {error}; --listen takes another address, and ports below 1024 are for root",
                    args.serve.listen
                ))
            })?;
        let address = server.address();
        if let Some(file) = &args.serve.write_krb5_conf {
            std::fs::write(file, krb5_conf(&realm, address, &["localhost"]))
                .map_err(|error| Failure(format!("{} cannot be written: {error}", file.display())))?;
            tracing::info!("KRB5_CONFIG={} finds this KDC", file.display());
        }
        tracing::info!("KDC of {realm} on {address}, UDP and TCP");
        let signal = stop.wait().await;
        tracing::info!("{signal}: answers under way go out");
        server.stop().await;
        Ok(())
    })
}

fn add_service(accounts: &LocalAccounts, spn: &str, keytab: Option<&Path>, new_keys: bool) -> Result<(), Failure> {
    if spn.get(..7).is_some_and(|head| head.eq_ignore_ascii_case("krbtgt/")) {
        return Err(Failure(format!("{} is the KDC itself, whose keys go into no keytab", printable(spn))));
    }
    if !spn.split_once('/').is_some_and(|(class, host)| !class.is_empty() && !host.is_empty() && !host.contains('@')) {
        return Err(Failure(format!(
            "{} is no service's name: wanted class/host without the realm, such as HTTP/web.example.test",
            printable(spn)
        )));
    }
    let snapshot = accounts.snapshot()?;
    let service = match snapshot.service(spn) {
        Some(service) if !new_keys => service.clone(),
        _ => accounts.set_service_keys(spn)?,
    };
    let principal = Principal {
        name_type: name_type::SRV_INST,
        components: service.name.split('/').map(str::to_owned).collect(),
        realm: snapshot.machine().realm.clone(),
    };
    if let Some(keytab) = keytab {
        let now = iwa_http::System::now(&iwa_http::Os);
        crate::keytab::put(keytab, &principal, &service.keys, now).map_err(Failure)?;
    }
    let kvno = service.keys.first().map_or(0, |set| set.kvno);
    match keytab {
        Some(keytab) => println!("{principal} kvno {kvno}: keys in {}", keytab.display()),
        None => println!("{principal} kvno {kvno}"),
    }
    Ok(())
}

fn services(accounts: &LocalAccounts) -> Result<(), Failure> {
    let snapshot = accounts.snapshot()?;
    for service in snapshot.services() {
        let Some(keys) = service.keys.first() else { continue };
        let etypes: Vec<_> = keys.keys.iter().map(|key| key.etype().name()).collect();
        println!("{}  kvno {}  {}", printable(&service.name), keys.kvno, etypes.join(" "));
    }
    Ok(())
}
