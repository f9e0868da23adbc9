//! The command line: one variant a command, its arguments in the command's own module.

use clap::{Parser, Subcommand};

/// Integrated Windows Authentication: Negotiate with Kerberos and NTLM, on any operating system.
#[derive(Parser, Debug)]
#[command(version, max_term_width = 100)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands, each told by the documentation of its arguments, exit statuses included.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    Serve(crate::serve::Args),
    Check(crate::check::Args),
    Get(crate::get::Args),
    Explain(crate::explain::Args),
    Session(crate::session::Args),
    User(crate::user::Args),
    Group(crate::group::Args),
    Kdc(crate::kdc::Args),
    Join(crate::join::Args),
    Leave(crate::leave::Args),
    Keytab(crate::keytab::Args),
    Domain(crate::domain::Args),
    Demo(crate::demo::Args),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Cli;

    #[test]
    fn the_long_help_of_every_command_says_its_exit_statuses() {
        for command in Cli::command().get_subcommands() {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            let long = command.get_long_about().map(ToString::to_string).unwrap_or_default();
            assert!(long.contains("Exit status: 0"), "{}: {long}", command.get_name());
            assert!(about.len() < 85 && !about.contains("iwa "), "{}: {about}", command.get_name());
        }
    }
}
