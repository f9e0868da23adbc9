//! `iwa explain`: a token, a header line, a keytab or a credential cache in words.

use std::path::PathBuf;
use std::process::ExitCode;

/// The arguments of `iwa explain`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// A token (base64 or hexadecimal), a header line, the name of a file, or - for standard input.
    #[arg(default_value = "-")]
    input: String,
    /// Print JSON: an object whose first member is `kind`.
    #[arg(long)]
    json: bool,
    /// Decrypt ticket, authenticator and PAC with the keys of this keytab, and verify the signatures.
    #[arg(long, value_name = "FILE")]
    keytab: Option<PathBuf>,
}

/// Exit status 0 parsed, 1 malformed, 2 usage.
pub(crate) fn run(args: &Args) -> ExitCode {
    eprintln!("iwa explain {}: not built yet (json {}, keytab {:?})", args.input, args.json, args.keytab);
    ExitCode::from(2)
}
