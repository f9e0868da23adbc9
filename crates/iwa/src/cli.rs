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

/// The commands.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// See all of it on this machine: accounts, a KDC, a site, and a browser that signs in.
    Demo(crate::demo::Args),
    /// Check a configuration, and say in words what it means.
    Check(crate::check::Args),
    /// Decode a token, a header line, a keytab or a credential cache.
    Explain(crate::explain::Args),
    /// Groups of local accounts.
    Group(crate::group::Args),
    /// Fetch a page as a browser does that signs in by itself.
    Get(crate::get::Args),
    /// A KDC for the local accounts.
    Kdc(crate::kdc::Args),
    /// Serve a site that signs Windows users in.
    Serve(crate::serve::Args),
    /// Local accounts.
    User(crate::user::Args),
}
