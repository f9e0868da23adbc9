//! `iwa`: Integrated Windows Authentication, both ends of it and the glass between them.
#![forbid(unsafe_code)]

mod cli;
mod explain;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match cli::Cli::parse().command {
        cli::Command::Explain(args) => explain::run(&args),
    }
}
