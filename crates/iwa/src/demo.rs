//! `iwa demo`: the whole thing on one machine. Accounts, a KDC and a site are made; a browser is played; every step is held
//! against what IIS and its browsers do.

mod play;
mod stage;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::get::Failure;
use crate::serve::Stop;
use stage::Stage;

/// See all of it on this machine: accounts, a KDC, a site, and a browser that signs in.
///
/// Nothing outside the state directory is written, nothing outside this machine is asked. Exit status: 0 every step ended as it
/// should, 1 one did not, or the stage could not be set.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Where accounts, keys and krb5.conf go; kept for the next time [default: a temporary directory, removed at the end]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// The site's port on localhost; 0 takes any that is free.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Stop after the exchange instead of staying up for other clients.
    #[arg(long)]
    once: bool,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> ExitCode {
    // What the site has to say is printed as log lines at the end of each step.
    let filter = tracing_subscriber::EnvFilter::try_from_env("IWA_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("error"));
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
    let result = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(demo(args)),
        Err(error) => Err(Failure::unreachable(format!("no threads can be had: {error}"))),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("iwa demo: a step did not end as it should; it is marked above");
            ExitCode::FAILURE
        }
        Err(failure) => {
            eprintln!("iwa demo: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn demo(args: &Args) -> Result<bool, Failure> {
    // Listened for before anything is made, so that an early Ctrl-C leaves nothing behind.
    let mut stop = Stop::new().map_err(|error| Failure::unreachable(error.to_string()))?;
    let stage = Stage::set(args.state.as_deref(), args.port).await?;
    println!("{}", stage.introduction());
    let good = tokio::select! {
        good = play::all(&stage) => good?,
        _ = stop.wait() => return Ok(true),
    };
    if !args.once {
        println!("{}", stage.invitation());
        stop.wait().await;
    }
    stage.strike().await;
    Ok(good)
}
