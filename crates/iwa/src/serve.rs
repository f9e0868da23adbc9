//! `iwa serve`: the server, from a configuration file, until it is told to stop.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::config::Config;
use crate::gateway;
use crate::gateway::assemble::Problem;
use crate::gateway::systemd;

/// Serve a site that signs Windows users in.
///
/// SIGHUP reads the configuration anew, SIGTERM and SIGINT let requests under way end and stop. A changed keytab is noticed
/// by itself. Exit status: 0 stopped when told to, 1 could not start.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The configuration; `iwa check` tells what it means.
    #[arg(short, long, value_name = "FILE", default_value = "/etc/iwa/iwa.toml")]
    config: PathBuf,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> ExitCode {
    start_tracing();
    let config = match crate::gateway::reload::read(&args.config) {
        Ok(config) => config,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::FAILURE;
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("iwa serve: no threads can be had: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(serve(&config, &args.config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("iwa serve: {problem}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(config: &Config, file: &Path) -> Result<(), Problem> {
    let audit = gateway::audit::start(&config.log).map_err(|error| Problem(format!("the logs: {error}")))?;
    // The signals are listened for before anybody is told that the server runs.
    let mut stop = Stop::new()?;
    let running = gateway::start(config, Some(file.to_owned()), audit).await?;
    for url in running.urls() {
        tracing::info!("listening on {url}");
    }
    if let Some(admin) = running.admin() {
        tracing::info!("health and metrics on http://{admin}");
    }
    systemd::tell("READY=1");
    let signal = stop.wait().await;
    systemd::tell("STOPPING=1");
    tracing::info!("{signal}: requests under way may end");
    running.stop().await;
    Ok(())
}

/// Messages for the operator go to standard error; `IWA_LOG` says which (`debug`, `iwa_http=trace`).
pub(crate) fn start_tracing() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("IWA_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    // A second call (a test) changes nothing.
    let _ =
        tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_writer(std::io::stderr).try_init();
}

/// SIGTERM and SIGINT.
pub(crate) struct Stop {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Stop {
    pub(crate) fn new() -> Result<Self, Problem> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    pub(crate) async fn wait(&mut self) -> &'static str {
        #[cfg(unix)]
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
        #[cfg(not(unix))]
        {
            let _ = tokio::signal::ctrl_c().await;
            "interrupted"
        }
    }
}
