//! Gets a ticket for a service with a password from stdin, and leaves it in a credential cache:
//! `ticket alice@EXAMPLE.TEST HTTP/www.example.test FILE:/tmp/cache`. Realms and KDCs are those of krb5.conf.

use std::io::BufRead as _;
use std::process::ExitCode;
use std::time::SystemTime;

use iwa_auth::env::{Entropy, EntropyError, Env, UnixTime};
use iwa_auth::krb5::client::{Client, Delegation, LongTerm, Step};
use iwa_auth::secret::Secret;
use iwa_domain::credentials::CacheName;
use iwa_domain::kdc::Kdcs;
use iwa_domain::krb5_conf::Krb5Conf;
use iwa_wire::krb5::Principal;

struct System;

impl Entropy for System {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        getrandom::fill(out).map_err(|_| EntropyError)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("ticket: {why}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [client, service, cache] = arguments.as_slice() else {
        return Err("usage: ticket CLIENT@REALM SERVICE/HOST CACHE  (the password on stdin)".into());
    };
    let mut password = String::new();
    std::io::stdin().lock().read_line(&mut password)?;
    let password = Secret::new(password.trim_end_matches(['\r', '\n']).to_owned());
    let (client, service): (Principal, Principal) = (client.parse()?, service.parse()?);
    let kdcs = Kdcs::from_krb5_conf(&Krb5Conf::load()?);

    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let mut entropy = System;
    let mut env = Env { now: UnixTime::from_micros(u64::try_from(since.as_micros())?), entropy: &mut entropy };
    let client = Client::new(client, LongTerm::Password(password));
    let mut step = client.ticket(&service, Delegation::IfTrusted, &mut env)?;
    let ticket = loop {
        step = match step {
            Step::Ticket(ticket) => break ticket,
            Step::NeedKdc(need) => match kdcs.ask(need.realm(), need.request()).await {
                Ok(answer) => need.answer(&answer, &mut env)?,
                Err(why) => need.unanswered(why)?,
            },
        };
    };
    for credential in &ticket.new {
        let until = credential.endtime;
        println!(
            "{} for {}, {}, until {until} ({})",
            credential.server,
            credential.client,
            credential.key.etype(),
            credential.flags
        );
    }
    CacheName::parse(cache)?.write(&ticket.service.client, &ticket.new)?;
    Ok(())
}
