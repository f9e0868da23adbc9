//! `iwa session`: ends sessions of a running site.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use iwa_wire::explain::printable;

use crate::config::{Config, Sessions, load};
use crate::gateway::session::revoked::{self, Whose};
use crate::user::{Failure, finish};

/// Sessions of visitors.
///
/// A session is in its browser's cookie, and no server knows all of them; what it knows is which were ended before their time.
/// A change takes effect within seconds, in every server that shares the file. Exit status: 0 done, 1 not done, 2 wrong usage.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The configuration of the site.
    #[arg(short, long, global = true, value_name = "FILE", default_value = "/etc/iwa/iwa.toml")]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// End all sessions that somebody has now. They may sign in anew: to keep them out, disable the account.
    Revoke {
        /// 'DOMAIN\user', user@realm, user (in whatever domain), or a SID.
        #[arg(required_unless_present = "all")]
        users: Vec<String>,
        /// Everybody's.
        #[arg(long, conflicts_with = "users")]
        all: bool,
    },
    /// List what was ended before its time.
    List,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> ExitCode {
    finish("iwa session", work(args))
}

fn work(args: &Args) -> Result<(), Failure> {
    let config = load(&args.config)
        .map(|loaded| loaded.config)
        .map_err(|problems| Failure(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))?;
    let Some(sessions) = &config.sessions else {
        return Err(Failure(format!("{}: there is no section [sessions]", args.config.display())));
    };
    match &args.command {
        Command::Revoke { users, all } => revoke(&config, sessions, users, *all),
        Command::List => {
            revoked::in_words(&sessions.revoked)
                .map_err(Failure)?
                .iter()
                .for_each(|line| println!("{}", printable(line)));
            Ok(())
        }
    }
}

fn revoke(config: &Config, sessions: &Sessions, users: &[String], all: bool) -> Result<(), Failure> {
    let list = &sessions.revoked;
    // The server makes it, so that it is the server's.
    if !list.exists() {
        let why = "is not there: no server has run with this configuration, and nobody has a session";
        return Err(Failure(format!("{} {why}", list.display())));
    }
    if let Some(bad) = users.iter().find(|name| name.trim().is_empty() || printable(name) != **name) {
        return Err(Failure(format!("\"{}\" is nobody's name", printable(bad))));
    }
    let users = users.iter().map(|name| Whose::User(name.clone()));
    for whose in users.chain(all.then_some(Whose::All)) {
        revoked::append(list, &whose, config.longest_session()).map_err(Failure)?;
    }
    println!("done: servers take it within two seconds");
    Ok(())
}
