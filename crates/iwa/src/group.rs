//! `iwa group`: groups of local accounts, as `net localgroup` has them.

use std::process::ExitCode;

use clap::Subcommand;
use iwa_domain::local::{AccountsError, Group, Snapshot};
use iwa_wire::explain::printable;
use serde_json::{Value, json};

use crate::user::{Failure, Machine, State, finish};

/// Groups of local accounts.
///
/// Rules name them as `roles`. Groups may hold groups.
///
/// A change takes effect at once, also in servers that run. Everybody is a member of `Users`. Exit status: 0 done, 1 not
/// done, 2 wrong usage.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    state: State,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Make a group.
    Add {
        /// Its name.
        name: String,
        /// What it is for.
        #[arg(long, value_name = "TEXT", default_value = "")]
        comment: String,
        #[command(flatten)]
        machine: Machine,
    },
    /// Remove groups. Their members stay.
    Remove {
        /// The groups.
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// List the groups.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show a group and its members.
    Show {
        /// The group.
        name: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Put accounts or groups into a group.
    AddMember {
        /// The group.
        group: String,
        /// Who comes into it.
        #[arg(required = true)]
        members: Vec<String>,
    },
    /// Take accounts or groups out of a group.
    RemoveMember {
        /// The group.
        group: String,
        /// Who goes.
        #[arg(required = true)]
        members: Vec<String>,
    },
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> ExitCode {
    finish("iwa group", args.run())
}

impl Args {
    fn run(&self) -> Result<(), Failure> {
        match &self.command {
            Command::Add { name, comment, machine } => {
                iwa_domain::local::name::check_group(name)
                    .map_err(|error| AccountsError::Name { name: name.clone(), error })?;
                let accounts = self.state.open_or_create(machine)?;
                let group = accounts.add_group(name, comment)?;
                println!("{} {}", printable(&group.name), accounts.snapshot()?.machine().sid_of(group.rid));
            }
            Command::Remove { names } => {
                let accounts = self.state.open()?;
                names.iter().try_for_each(|name| accounts.remove_group(name))?;
            }
            Command::List { json } => {
                let snapshot = self.state.open()?.snapshot()?;
                let groups = snapshot.groups();
                if *json {
                    let all: Vec<_> = groups.iter().map(|group| described(&snapshot, group)).collect();
                    println!("{:#}", Value::from(all));
                } else {
                    list(&groups);
                }
            }
            Command::Show { name, json } => {
                let snapshot = self.state.open()?.snapshot()?;
                let missing = || AccountsError::NoSuch { kind: "group", name: name.clone() };
                let group = snapshot.group(name).ok_or_else(missing)?;
                if *json { println!("{:#}", described(&snapshot, group)) } else { show(&snapshot, group) }
            }
            Command::AddMember { group, members } => {
                let accounts = self.state.open()?;
                members.iter().try_for_each(|member| accounts.add_member(group, member))?;
            }
            Command::RemoveMember { group, members } => {
                let accounts = self.state.open()?;
                members.iter().try_for_each(|member| accounts.remove_member(group, member))?;
            }
        }
        Ok(())
    }
}

fn list(groups: &[&Group]) {
    let width = groups.iter().map(|group| group.name.chars().count()).max().unwrap_or_default();
    for group in groups {
        let count = match group.members.len() {
            1 => "1 member".to_owned(),
            count => format!("{count} members"),
        };
        println!(
            "{}",
            format!("{:width$}  {count:12}{}", printable(&group.name), printable(&group.comment)).trim_end()
        );
    }
}

fn show(snapshot: &Snapshot, group: &Group) {
    for (what, value) in [
        ("name", printable(&group.name)),
        ("comment", printable(&group.comment)),
        ("SID", snapshot.machine().sid_of(group.rid).to_string()),
        ("members", members(snapshot, group).iter().map(|name| printable(name)).collect::<Vec<_>>().join(", ")),
        ("member of", above(snapshot, group).iter().map(|name| printable(name)).collect::<Vec<_>>().join(", ")),
    ] {
        println!("{}", format!("{what:12}{value}").trim_end());
    }
}

fn described(snapshot: &Snapshot, group: &Group) -> Value {
    json!({
        "name": group.name,
        "comment": group.comment,
        "sid": snapshot.machine().sid_of(group.rid).to_string(),
        "members": members(snapshot, group),
        "memberOf": above(snapshot, group),
    })
}

fn members<'s>(snapshot: &'s Snapshot, group: &Group) -> Vec<&'s str> {
    group.members.iter().filter_map(|&rid| snapshot.name_of(rid)).collect()
}

fn above<'s>(snapshot: &'s Snapshot, group: &Group) -> Vec<&'s str> {
    snapshot.groups_of(group.rid).into_iter().map(|group| group.name.as_str()).collect()
}
