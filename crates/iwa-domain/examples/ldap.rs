//! Asks a directory, with a password from stdin:
//!
//! ```text
//! ldap [--tls|--starttls] [--ca FILE] [--kdc HOST[:PORT]] HOST[:PORT] CLIENT@REALM whoami
//!      ... search BASE FILTER [ATTRIBUTE...]
//!      ... sid DOMAIN NAME                   ... name SID                ... token-groups SID
//! ldap --simple NAME --starttls --ca FILE HOST[:PORT] CLIENT@REALM whoami
//! ```
//!
//! It binds by Kerberos (`CLIENT@REALM`; without `--kdc` the realm's KDCs are those of krb5.conf), or with `--simple` by a name
//! and the password over TLS. SIDs are printed as text, other values as text or in hexadecimal.

use std::io::BufRead as _;
use std::net::IpAddr;
use std::process::ExitCode;
use std::sync::Arc;

use iwa_auth::krb5::client::{Client, LongTerm};
use iwa_auth::ports::Directory as _;
use iwa_auth::secret::Secret;
use iwa_domain::controller::{Controller, Listed, Ports};
use iwa_domain::kdc::{KdcAddress, Kdcs};
use iwa_domain::krb5_conf::Krb5Conf;
use iwa_domain::ldap::{Account, Directory, Entry, Patience, Search, Transport};
use iwa_domain::machine::DomainNames;
use iwa_domain::names::{LdapNames, Memory, Names};
use iwa_domain::tls::{Roots, client_config};
use iwa_wire::krb5::Principal;
use iwa_wire::{Reader, Sid};

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("ldap: {why}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let (mut tls, mut starttls, mut files, mut kdc, mut simple) = (false, false, Vec::new(), None, None);
    let mut rest = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--tls" => tls = true,
            "--starttls" => starttls = true,
            "--ca" => files.push(value()?.into()),
            "--kdc" => kdc = Some(value()?),
            "--simple" => simple = Some(value()?),
            _ => rest.push(argument),
        }
    }
    let [server, client, command, operands @ ..] = rest.as_slice() else {
        return Err("usage: ldap [OPTION...] HOST[:PORT] CLIENT@REALM COMMAND  (the password on stdin)".into());
    };
    let mut password = String::new();
    std::io::stdin().lock().read_line(&mut password)?;
    let password = Secret::new(password.trim_end_matches(['\r', '\n']).to_owned());

    let roots = Roots { system: files.is_empty(), files };
    let transport = match (tls, starttls) {
        (true, _) => Transport::Tls(client_config(&roots)?),
        (_, true) => Transport::StartTls(client_config(&roots)?),
        _ => Transport::Clear,
    };
    let (host, port) = match server.split_once(':') {
        Some((host, port)) => (host, Some(port.parse()?)),
        None => (server.as_str(), None),
    };
    let usual = Ports::default();
    let ports = Ports { ldap: port.unwrap_or(usual.ldap), ldaps: port.unwrap_or(usual.ldaps), ..usual };
    let addresses: Vec<IpAddr> =
        tokio::net::lookup_host((host, ports.ldap)).await?.map(|address| address.ip()).collect();
    let controllers = Arc::new(Listed::new([Controller { host: host.to_owned(), addresses, ports }]));

    let client: Principal = client.parse()?;
    let kdcs = match kdc {
        Some(address) => {
            let mut kdcs = Kdcs::new();
            kdcs.add(&client.realm, [KdcAddress::parse(&address).ok_or("--kdc: no address")?]);
            kdcs
        }
        None => Kdcs::from_krb5_conf(&Krb5Conf::load()?),
    };
    let dns = client.realm.to_lowercase();
    let account = match simple {
        Some(name) => Account::Simple { name, password },
        None => Account::Kerberos(Client::new(client, LongTerm::Password(password))),
    };
    let directory = |transport: &Transport| {
        Directory::new(
            controllers.clone(),
            Arc::new(kdcs.clone()),
            transport.clone(),
            account.clone(),
            Patience::default(),
        )
    };
    let here = Arc::new(directory(&transport));

    let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
    match (command.as_str(), operands.as_slice()) {
        ("whoami", []) => println!("{}", here.who_am_i().await?),
        ("root", attributes) => print_entry(&here.root_dse(attributes).await?),
        ("search", [base, filter, attributes @ ..]) => {
            let found = here.search(&Search::below(base, filter.parse()?, attributes)).await?;
            found.entries.iter().for_each(print_entry);
            found.referrals.iter().for_each(|referral| println!("# referral: {referral}"));
        }
        ("read", [base, attributes @ ..]) => {
            here.search(&Search::entry(base, attributes)).await?.entries.iter().for_each(print_entry);
        }
        ("sid" | "name" | "token-groups", operands) => {
            let domain = domain_of(&here, &dns).await?;
            let source = Arc::new(LdapNames::new(domain, here, Some(Arc::new(directory(&transport).global_catalog()))));
            let names = Names::new(source.clone(), Memory::default());
            match (command.as_str(), operands) {
                ("sid", [domain, name]) => match names.sid_of(domain, name).await? {
                    Some(sid) => println!("{sid}"),
                    None => return Err("there is none of that name".into()),
                },
                ("name", [sid]) => match names.name_of(sid.parse()?).await? {
                    Some(name) => println!("{name}"),
                    None => return Err("nothing has this SID".into()),
                },
                ("token-groups", [sid]) => {
                    let groups = source.token_groups(&sid.parse()?).await?;
                    groups.ok_or("there is no such account")?.iter().for_each(|sid| println!("{sid}"));
                }
                _ => return Err("sid DOMAIN NAME, name SID, token-groups SID".into()),
            }
        }
        _ => return Err("commands: whoami, root, search, read, sid, name, token-groups".into()),
    }
    Ok(())
}

/// What the directory says of its domain.
async fn domain_of(directory: &Directory, dns: &str) -> Result<DomainNames, Box<dyn std::error::Error>> {
    let root =
        directory.root_dse(&["defaultNamingContext", "rootDomainNamingContext", "configurationNamingContext"]).await?;
    let base = root.text("defaultNamingContext").ok_or("the server names no domain")?;
    let domain = directory.search(&Search::entry(base, &["objectSid"])).await?.one().ok_or("no domain")?;
    let partitions = format!("CN=Partitions,{}", root.text("configurationNamingContext").unwrap_or_default());
    let filter = iwa_domain::ldap::Filter::equal("nCName", base);
    let cross = directory.search(&Search::below(&partitions, filter, &["nETBIOSName"])).await?.one();
    let netbios = cross.as_ref().and_then(|cross| cross.text("nETBIOSName")).ok_or("no NetBIOS name")?;
    let forest = root.text("rootDomainNamingContext").unwrap_or(base);
    let forest: Vec<_> = forest.split(',').filter_map(|part| part.split_once('=')).map(|(_, label)| label).collect();
    let sid = domain.sid("objectSid").ok_or("the domain has no SID")?;
    Ok(DomainNames { dns: dns.to_owned(), netbios: netbios.to_owned(), sid, forest: forest.join(".") })
}

fn print_entry(entry: &Entry) {
    println!("dn: {}", entry.dn);
    for (name, values) in &entry.attributes {
        let is_sid = ["objectSid", "tokenGroups", "sIDHistory"].iter().any(|known| known.eq_ignore_ascii_case(name));
        for value in values {
            let shown = match std::str::from_utf8(value) {
                _ if is_sid => {
                    Sid::read(&mut Reader::new("SID", value)).map_or_else(|e| e.to_string(), |sid| sid.to_string())
                }
                Ok(text) if !text.contains(|c: char| c.is_control()) => text.to_owned(),
                _ => value.iter().map(|byte| format!("{byte:02x}")).collect(),
            };
            println!("{name}: {shown}");
        }
    }
    println!();
}
