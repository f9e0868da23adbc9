//! `iwa keytab rotate`: a new password for the machine's account, now. MS-NRPC 3.5.4.4.6.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use iwa_domain::kdc::Kdcs;
use iwa_domain::machine::kerberos::AskedByKerberos;
use iwa_domain::machine::rotate::{Policy, recover, rotate};
use iwa_domain::machine::{Membership, StateDir};
use iwa_domain::netlogon::{Netlogon, NetlogonConfig};

use super::{block_on, now};
use crate::join::admin::ReachArgs;
use crate::user::Failure;

/// Change the password of this machine's account now, or finish a change that was interrupted.
///
/// `iwa serve` does so by itself every 30 days. Servers that run take the new keys, and keep the old ones until tickets with them
/// have died. Exit status: 0 done; 1 not done, and nothing is lost; 2 wrong usage.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// The domain's DNS name: corp.example.test.
    #[arg(value_name = "DOMAIN")]
    domain: String,
    #[command(flatten)]
    reach: ReachArgs,
    /// The directory of the secret and the keytab [default: /var/lib/iwa/domains/DOMAIN].
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// How long servers may take to notice the new keys before the domain uses them, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    settle: u64,
    /// Only finish what was interrupted, and see whether the domain takes the password and numbers the keys as the keytab does.
    #[arg(long)]
    recover: bool,
}

impl Args {
    pub(super) fn run(&self) -> Result<(), Failure> {
        block_on(self.change())?
    }

    async fn change(&self) -> Result<(), Failure> {
        let domain = self.domain.trim_end_matches('.').to_lowercase();
        let dir = self.state.as_deref().map_or_else(|| StateDir::of_domain(&domain), StateDir::at);
        let failed = |error: iwa_domain::machine::MachineError| Failure(error.to_string());
        let membership = Membership::of(dir).map_err(failed)?;
        let controllers = Arc::new(self.reach.locator(&domain)?);
        let mut kdcs = Kdcs::new();
        kdcs.set_controllers(&membership.machine().domain.realm(), controllers.clone());
        let netlogon = Netlogon::new(membership.clone(), controllers, NetlogonConfig::default());
        let account = AskedByKerberos::new(Arc::new(kdcs), netlogon);
        let policy = Policy { settle: Duration::from_secs(self.settle), ..Policy::default() };
        let done = if self.recover {
            recover(&membership, &account, &policy, now(), true).await
        } else {
            rotate(&membership, &account, &policy, now()).await
        };
        println!("{}", done.map_err(failed)?);
        Ok(())
    }
}
