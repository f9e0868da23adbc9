//! `iwa leave`: this machine is a member of a domain no longer.

use std::path::PathBuf;
use std::process::ExitCode;

use iwa_domain::machine::StateDir;
use iwa_domain::machine::join::{Leave, leave};
use iwa_wire::explain::printable;

use crate::join::admin::{AdminArgs, ReachArgs};
use crate::join::block_on;
use crate::user::{Failure, finish};

/// End this machine's membership in a domain.
///
/// Disables or deletes the computer account, then removes the secret and the keytab. Exit status: 0 done, 1 not done, 2 wrong
/// usage.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The domain's DNS name: corp.example.test.
    #[arg(value_name = "DOMAIN")]
    domain: String,
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    reach: ReachArgs,
    /// Delete the account; otherwise it is disabled, and the machine can come back to it.
    #[arg(long)]
    delete: bool,
    /// Forget the membership on this machine alone; the account stays as it is.
    #[arg(long, conflicts_with_all = ["user", "kerberos", "delete"])]
    local: bool,
    /// The directory of the secret and the keytab [default: /var/lib/iwa/domains/DOMAIN].
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Say what would be done, and change nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> ExitCode {
    finish("iwa leave", block_on(args.run()).and_then(|done| done))
}

impl Args {
    async fn run(&self) -> Result<(), Failure> {
        let domain = self.domain.trim_end_matches('.').to_lowercase();
        let dir = self.state.as_deref().map_or_else(|| StateDir::of_domain(&domain), StateDir::at);
        let failed = |error: iwa_domain::machine::MachineError| Failure(error.to_string());
        if self.local {
            // Without reading it: what is damaged can be forgotten, too.
            if !dir.secret().exists() && !dir.keytab().exists() {
                return Err(Failure(format!("{} holds no membership", dir.path().display())));
            }
            if !self.dry_run {
                dir.lock().map_err(failed)?.erase().map_err(failed)?;
            }
            self.forgotten(&dir);
            println!("The account in the domain is as it was; whoever administers it may delete it.");
            return Ok(());
        }
        if !self.admin.is_given() {
            return Err(Failure(
                "who administers the domain? -U NAME asks for a password, -k takes a ticket; --local forgets the membership here \
                 alone"
                    .to_owned(),
            ));
        }
        let state = dir.load().map_err(failed)?;
        if state.machine.domain.dns != domain {
            return Err(Failure(format!("{} is a membership in {}", dir.path().display(), state.machine.domain.dns)));
        }
        let how = if self.delete { Leave::Delete } else { Leave::Disable };
        let verb = if self.delete { "deleted" } else { "disabled" };
        let session = self.admin.session(&domain, &self.reach).await?;
        if self.dry_run {
            println!("{} would be {verb}, {} emptied", state.machine.account(), dir.path().display());
            return Ok(());
        }
        // No change of the password may come in between.
        let locked = dir.lock().map_err(failed)?;
        match leave(&state.machine, how, &session.directory).await.map_err(|error| Failure(error.to_string()))? {
            Some(dn) => println!("{} was {verb}.", printable(&dn)),
            None => println!("The domain has no account {} any more.", state.machine.account()),
        }
        locked.erase().map_err(failed)?;
        self.forgotten(&dir);
        Ok(())
    }

    fn forgotten(&self, dir: &StateDir) {
        let verb = if self.dry_run { "would be" } else { "were" };
        println!(
            "The secret and the keytab in {} {verb} removed. Take the [[domain]] out of iwa.toml.",
            dir.path().display()
        );
    }
}
