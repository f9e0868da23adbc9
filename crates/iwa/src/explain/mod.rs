//! `iwa explain`: a token, a header line, a keytab or a credential cache in words.

mod decrypt;
mod input;
mod json;
#[cfg(test)]
mod tests;
mod tree;

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use iwa_wire::explain::Node;
use zeroize::Zeroizing;

/// Decode a token, a header line, a keytab or a credential cache.
///
/// Headers may stand among other lines, as curl -v and browsers' tools print them; a token must be whole. Exit status: 0 all of
/// it was read, 1 some of it is malformed, 2 there was nothing to read, or wrong usage.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// A token (base64 or hexadecimal), a header line, the name of a file, or - for standard input.
    #[arg(default_value = "-")]
    input: String,
    /// Print JSON: an object for each token, whose first member is `kind`.
    #[arg(long)]
    json: bool,
    /// Decrypt ticket, authenticator and PAC with the keys of this keytab, and verify the signatures.
    #[arg(long, value_name = "FILE")]
    keytab: Option<PathBuf>,
    /// Show keys and passwords, too. They are left out unless this is given.
    #[arg(long)]
    show_secrets: bool,
}

/// Something explained: its kind by the names of [`iwa_wire::sniff`], its bytes, and the tree.
pub(crate) struct Explained {
    kind: &'static str,
    bytes: Vec<u8>,
    tree: Node,
}

impl Explained {
    /// Explains the bytes of one token or file.
    pub(crate) fn of(bytes: Vec<u8>) -> Self {
        let (kind, tree) = iwa_wire::sniff::sniff(&bytes);
        Self { kind, bytes, tree }
    }
}

/// Exit status 0 parsed, 1 malformed, 2 usage.
pub(crate) fn run(args: &Args) -> ExitCode {
    let found = match read(args) {
        Ok(found) => found,
        Err(problem) => {
            eprintln!("iwa explain: {problem}");
            return ExitCode::from(2);
        }
    };
    let stdout = std::io::stdout();
    let colour = stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let style = tree::Style { colour, secrets: args.show_secrets };
    let mut text = String::new();
    for (i, explained) in found.iter().enumerate() {
        if args.json {
            text.push_str(&json::render(explained, args.show_secrets));
            text.push('\n');
        } else {
            if i > 0 {
                text.push('\n');
            }
            tree::render(explained, style, &mut text);
        }
    }
    // A reader that has enough (`| head`) is no failure.
    let _ = stdout.lock().write_all(text.as_bytes());
    if found.iter().any(|explained| explained.tree.first_error().is_some()) {
        ExitCode::from(1)
    } else {
        ExitCode::SUCCESS
    }
}

fn read(args: &Args) -> Result<Vec<Explained>, String> {
    let mut found = input::read(&args.input)?;
    if let Some(path) = &args.keytab {
        let name = path.display();
        let bytes = std::fs::read(path).map(Zeroizing::new).map_err(|error| format!("{name}: {error}"))?;
        let mut keys = decrypt::Keys::read(&bytes).map_err(|error| format!("{name}: {error}"))?;
        found.iter_mut().for_each(|explained| keys.open(explained));
    }
    Ok(found)
}
