//! `iwa join`: this machine becomes a member of a domain.

pub(crate) mod admin;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use iwa_domain::machine::join::{Joined, Wanted, carry_out, plan, survey};
use iwa_domain::machine::{Membership, StateDir};
use iwa_domain::netlogon::{Netlogon, NetlogonConfig};
use iwa_wire::explain::printable;

use self::admin::{AdminArgs, ReachArgs, Session};
use crate::user::{Failure, finish};

/// Make this machine a member of a domain.
///
/// Makes or takes over the computer account, registers the names of its services, sets its password, and writes the secret and
/// the keytab. Names that other accounts have are found before anything is changed. `iwa leave` undoes it. Exit status: 0 done,
/// or with --dry-run possible; 1 not done; 2 wrong usage.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The domain's DNS name: corp.example.test.
    #[arg(value_name = "DOMAIN")]
    domain: String,
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    reach: ReachArgs,
    /// The name of the account, at most 15 characters [default: this machine's host name].
    #[arg(long, value_name = "NAME")]
    computer_name: Option<String>,
    /// The DNS name of this machine, as clients know it [default: its host name in the domain].
    #[arg(long, value_name = "HOST")]
    dns_host_name: Option<String>,
    /// Another name of the service: a host, or CLASS/HOST. May be given several times.
    #[arg(long = "service-name", value_name = "HOST")]
    service_names: Vec<String>,
    /// The container for the account, if it is made: OU=Web,DC=corp,DC=example,DC=test.
    #[arg(long, value_name = "DN")]
    ou: Option<String>,
    /// Take over an account that says it is another host's.
    #[arg(long)]
    take_over: bool,
    /// The directory for the secret and the keytab [default: /var/lib/iwa/domains/DOMAIN].
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Look at everything, say what would be done, and change nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> ExitCode {
    finish("iwa join", block_on(args.run()).and_then(|done| done))
}

pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map(|runtime| runtime.block_on(work)).map_err(|error| Failure(error.to_string()))
}

impl Args {
    async fn run(&self) -> Result<(), Failure> {
        let domain = self.domain.trim_end_matches('.').to_lowercase();
        let wanted = self.wanted(&domain)?;
        let dir = self.state.as_deref().map_or_else(|| StateDir::of_domain(&domain), StateDir::at);
        let session = self.admin.session(&domain, &self.reach).await?;
        let Session { controller, controllers, kdcs, directory, forest, warning } = session;
        println!("controller  {controller}");
        if let Some(warning) = warning {
            eprintln!("warning: {warning}");
        }
        let survey = survey(&wanted, &directory, Some(&forest)).await.map_err(failure)?;
        for unseen in &survey.unseen {
            eprintln!("not looked at: {unseen}");
        }
        let plan = plan(wanted, survey, dir).map_err(failure)?;
        println!("{plan}");
        if self.dry_run {
            println!("\nThis can be done. Nothing was changed: --dry-run.");
            print!("{}", section(&domain, self.state.as_deref()));
            return Ok(());
        }
        let joined = carry_out(&plan, &directory, &*kdcs, crate::keytab::now()).await.map_err(failure)?;
        let membership = Membership::new(joined.state.machine.clone());
        let channel = Netlogon::new(membership, controllers, NetlogonConfig::default()).check().await;
        self.report(&domain, &joined, channel.err());
        Ok(())
    }

    fn wanted(&self, domain: &str) -> Result<Wanted, Failure> {
        let host = crate::user::host_name();
        let label = host.split('.').next().unwrap_or_default();
        let computer = self.computer_name.clone().unwrap_or_else(|| label.to_owned());
        let dns_host_name = self.dns_host_name.clone().unwrap_or_else(|| match host.contains('.') {
            // A machine may live in a DNS domain of its own.
            true => host.clone(),
            false => format!("{}.{domain}", if label.is_empty() { computer.as_str() } else { label }),
        });
        let mut wanted = Wanted::new(&computer, &dns_host_name).map_err(failure)?;
        for name in &self.service_names {
            wanted.alias(name).map_err(failure)?;
        }
        wanted.ou.clone_from(&self.ou);
        wanted.take_over = self.take_over;
        wanted.operating_system = format!("iwa {} on {}", env!("CARGO_PKG_VERSION"), std::env::consts::OS);
        Ok(wanted)
    }

    fn report(&self, domain: &str, joined: &Joined, no_channel: Option<String>) {
        let machine = &joined.state.machine;
        let done = if joined.made { "made" } else { "taken over" };
        println!("\n{} was {done}; key version {}.", printable(&joined.dn), machine.current.kvno);
        println!("This machine signed in with its new password, and the keytab decrypts its own ticket.");
        match no_channel {
            None => println!("The secure channel opens, through which NTLM is verified."),
            Some(why) => eprintln!("left: NTLM cannot be verified yet: {why}"),
        }
        for left in &joined.left {
            eprintln!("left: {left}");
        }
        print!("{}", section(domain, self.state.as_deref()));
        let state = self.state.as_ref().map(|state| format!(" --state {}", state.display())).unwrap_or_default();
        println!("\nTo undo: iwa leave {domain} -U Administrator{state}");
    }
}

/// What belongs into iwa.toml.
fn section(domain: &str, state: Option<&Path>) -> String {
    let state = state.map(|state| format!("state = \"{}\"\n", state.display())).unwrap_or_default();
    format!("\nFor iwa.toml:\n\n[[domain]]\nname = \"{domain}\"\n{state}")
}

fn failure(error: iwa_domain::machine::join::JoinError) -> Failure {
    Failure(error.to_string())
}
