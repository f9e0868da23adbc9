//! `iwa`: Integrated Windows Authentication, both ends of it and the glass between them.
#![forbid(unsafe_code)]
// What documents an argument is its help, too, where [ ] means optional and no link.
#![allow(rustdoc::broken_intra_doc_links)]

mod check;
mod cli;
mod config;
mod demo;
mod domain;
mod explain;
mod gateway;
mod get;
mod group;
mod join;
mod kdc;
mod keytab;
mod leave;
mod serve;
mod session;
mod transcript;
mod user;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match cli::Cli::parse().command {
        cli::Command::Demo(args) => demo::run(&args),
        cli::Command::Check(args) => check::run(&args),
        cli::Command::Domain(args) => domain::run(&args),
        cli::Command::Explain(args) => explain::run(&args),
        cli::Command::Get(args) => get::run(&args),
        cli::Command::Group(args) => group::run(&args),
        cli::Command::Kdc(args) => kdc::run(&args),
        cli::Command::Join(args) => join::run(&args),
        cli::Command::Leave(args) => leave::run(&args),
        cli::Command::Keytab(args) => keytab::run(&args),
        cli::Command::Serve(args) => serve::run(&args),
        cli::Command::Session(args) => session::run(&args),
        cli::Command::User(args) => user::run(&args),
    }
}
