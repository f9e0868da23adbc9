//! `iwa domain`: which controllers a domain has, as this machine finds them, and what each says of itself.

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use iwa_domain::controller::Ports;
use iwa_domain::dns::{Dns, DnsError, Resolve, Srv};
use iwa_domain::ldap_ping::{NoPong, Pong, clock};
use iwa_domain::locate::{About, Candidate, Locator, Outcome, Patience, Report, Server};
use iwa_wire::explain::printable;
use iwa_wire::netlogon_ping::DsFlags;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::check::Page;

/// Find a domain's controllers as this machine does, and say what they say.
///
/// Asks the DNS, and pings each controller by LDAP; needs no account and changes nothing. What a controller says here is not
/// proven: signing in proves it. Exit status: 0 a controller answered, 1 none did, 2 wrong usage.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The domain's DNS name: corp.example.test.
    #[arg(value_name = "DOMAIN", value_parser = dns_name)]
    domain: String,
    /// A controller in place of those in the DNS: a name or an address, and LDAP's port if it is not 389.
    #[arg(long, value_name = "HOST[:PORT]", value_parser = server)]
    server: Vec<Server>,
    /// A DNS server in place of the system's.
    #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = name_server)]
    dns: Vec<SocketAddr>,
    /// The site whose controllers come first, in place of the one that a controller says this machine is in.
    #[arg(long, value_name = "NAME")]
    site: Option<String>,
}

fn dns_name(text: &str) -> Result<String, String> {
    let name = text.trim_end_matches('.').to_lowercase();
    let bare = name.parse::<IpAddr>().is_err() && !name.contains([':', '/', '@', ' ']) && !name.is_empty();
    if bare { Ok(name) } else { Err("wanted the DNS name of a domain, such as corp.example.test".to_owned()) }
}

fn server(text: &str) -> Result<Server, String> {
    Server::parse(text).ok_or_else(|| "wanted a name or an address, as in dc1.corp.example.test:389".to_owned())
}

fn name_server(text: &str) -> Result<SocketAddr, String> {
    Dns::parse_server(text).ok_or_else(|| "wanted an address, as in 192.0.2.10 or 192.0.2.10:53".to_owned())
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("iwa domain: {error}");
            return ExitCode::FAILURE;
        }
    };
    let (page, advice) = runtime.block_on(look(args));
    print!("{page}");
    if advice.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("iwa domain: {advice}");
    ExitCode::FAILURE
}

/// What is there, in words, and what is to be done if nothing is.
async fn look(args: &Args) -> (String, String) {
    let dns = Arc::new(if args.dns.is_empty() { Dns::system() } else { Dns::at(args.dns.iter().copied()) });
    // Whoever asks here wants to hear of each, not to begin with the first.
    let usual = Patience::default();
    let locator = Locator::new(&args.domain, Arc::clone(&dns) as Arc<dyn Resolve>)
        .with_patience(Patience { grace: usual.ping * 2, ..usual })
        .with_servers(args.server.iter().cloned())
        .with_site(args.site.clone());
    let kerberos = async {
        let [udp, tcp] = ["udp", "tcp"].map(|transport| format!("_kerberos._{transport}.{}", args.domain));
        let (over_udp, over_tcp) = tokio::join!(dns.services(&udp), dns.services(&tcp));
        [(udp, over_udp), (tcp, over_tcp)]
    };
    let (report, kerberos) = if args.server.is_empty() {
        let (report, kerberos) = tokio::join!(locator.look(), kerberos);
        (report, Some(kerberos))
    } else {
        (locator.look().await, None)
    };
    let mut page = Page(String::new());
    if let Some(about) = &report.about {
        names(&mut page, about, args.site.as_deref());
    }
    page.line("dns", &report.dns);
    for question in &report.questions {
        records(&mut page, &question.name, &question.answer);
    }
    for (name, answer) in kerberos.iter().flatten() {
        records(&mut page, name, answer);
    }
    let mut candidates: Vec<&Candidate> = report.candidates.iter().collect();
    candidates.sort_by_key(|candidate| rank(&report, candidate));
    let mut visits = JoinSet::new();
    for (n, candidate) in candidates.iter().enumerate().take(VISITED) {
        if let (Some(_), Some(&address)) = (candidate.pong(), candidate.addresses.first()) {
            let ports = candidate.ports;
            visits.spawn(async move { (n, Visited::at(address, ports).await) });
        }
    }
    let mut visited: Vec<(usize, Visited)> = visits.join_all().await;
    for (n, candidate) in candidates.iter().enumerate() {
        let at = visited.iter().position(|(of, _)| *of == n);
        controller(&mut page, candidate, at.map(|at| visited.swap_remove(at).1));
    }
    (page.0, report.advice())
}

/// In the order in which they are asked; those that are not come last.
fn rank(report: &Report, candidate: &Candidate) -> usize {
    let host = candidate.pong().map_or(&candidate.name, |pong| &pong.answer.dns_host_name);
    let controllers = report.controllers();
    controllers.iter().position(|known| known.host.eq_ignore_ascii_case(host)).unwrap_or(controllers.len())
}

fn names(page: &mut Page, about: &About, site: Option<&str>) {
    let (dns, netbios, forest) = (printable(&about.dns), printable(&about.netbios), printable(&about.forest));
    page.line("domain", format_args!("{dns}, NetBIOS name {netbios}, Kerberos realm {}", dns.to_uppercase()));
    page.more(if forest == dns { "the root of its forest".to_owned() } else { format!("of the forest {forest}") });
    match (site, &about.client_site) {
        (Some(site), _) => page.line("site", format_args!("{}, as it was said here", printable(site))),
        (None, Some(site)) => page.line("site", format_args!("{}: this machine is in it", printable(site))),
        (None, None) => {
            page.line(
                "site",
                "none: the directory has no subnet with this machine's address, so any controller may be asked",
            );
            page.more("Active Directory Sites and Services is where subnets are made, or --site names one");
        }
    }
}

fn records(page: &mut Page, name: &str, answer: &Result<Vec<Srv>, DnsError>) {
    match answer {
        Ok(services) if services.iter().all(|srv| srv.target.is_empty()) => {
            page.more(format_args!("{name}: the service is not offered, says the record"));
        }
        Ok(services) => {
            page.more(format_args!("{name}:"));
            for srv in services.iter().take(SHOWN) {
                let Srv { priority, weight, port, target } = srv;
                page.more(format_args!("  {}:{port}, priority {priority}, weight {weight}", printable(target)));
            }
            if services.len() > SHOWN {
                page.more(format_args!("  and {} more", services.len() - SHOWN));
            }
        }
        Err(error) => page.more(format_args!("{name}: {error}")),
    }
}

fn controller(page: &mut Page, candidate: &Candidate, visited: Option<Visited>) {
    let addresses: Vec<_> = candidate.addresses.iter().map(IpAddr::to_string).collect();
    let at = if addresses.is_empty() { String::new() } else { format!(" ({})", addresses.join(", ")) };
    let name = printable(&candidate.name);
    let pong = match &candidate.outcome {
        Outcome::Answered(pong) => pong,
        Outcome::Pending => return page.line("controller", format_args!("{name}{at}: not asked, others answered")),
        Outcome::Late => return page.line("controller", format_args!("{name}{at}: no answer before others' came")),
        Outcome::NoAddress(error) => {
            return page.line("controller", format_args!("{name}: it has no address ({error})"));
        }
        Outcome::No(NoPong::Silent(why)) => return page.line("controller", format_args!("{name}{at}: {why}")),
        Outcome::No(NoPong::Refused(why)) => {
            return page.line("controller", format_args!("{name}{at}: not used, because {}", printable(why)));
        }
    };
    let Pong { answer, round_trip, by_tcp } = &**pong;
    let host = printable(&answer.dns_host_name);
    let micros = round_trip.as_micros();
    let transport = if *by_tcp { "over TCP, for UDP is silent, " } else { "" };
    page.line(
        "controller",
        format_args!("{host}{at} answers {transport}in {}.{} ms", micros / 1000, micros % 1000 / 100),
    );
    let is = |flag| answer.flags.has(flag);
    let mut words = vec![format!("site {}", printable(&answer.dc_site_name))];
    words.push(if is(DsFlags::CLOSEST) { "this machine's" } else { "not this machine's" }.to_owned());
    words.push(if is(DsFlags::WRITABLE) { "writable" } else { "read-only" }.to_owned());
    for (flag, word) in [(DsFlags::PDC, "PDC"), (DsFlags::GC, "global catalog"), (DsFlags::TIMESERV, "time server")] {
        if is(flag) {
            words.push(word.to_owned());
        }
    }
    page.more(words.join(", "));
    if !is(DsFlags::KDC) {
        page.more("its KDC does not run: Kerberos is not to be had from it");
    }
    if let Some(visited) = visited {
        visited.tell(page);
    }
}

/// What a controller that answered the ping is asked besides.
struct Visited {
    /// Services and their ports, and whether somebody listens there.
    open: Vec<(&'static str, u16, bool)>,
    /// How many seconds its clock is ahead of ours.
    ahead: Result<i64, String>,
}

impl Visited {
    async fn at(address: IpAddr, ports: Ports) -> Self {
        let connects = |port| async move {
            matches!(timeout(PATIENCE, TcpStream::connect(SocketAddr::new(address, port))).await, Ok(Ok(_)))
        };
        let time = async {
            let theirs = clock(SocketAddr::new(address, ports.ldap)).await?;
            let ours = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| error.to_string())?;
            Ok(theirs.secs() - i64::try_from(ours.as_secs()).unwrap_or(i64::MAX))
        };
        let (kerberos, ldap, epm, ahead) =
            tokio::join!(connects(ports.kerberos), connects(ports.ldap), connects(ports.epm), time);
        let open = vec![("Kerberos", ports.kerberos, kerberos), ("LDAP", ports.ldap, ldap), ("RPC", ports.epm, epm)];
        Self { open, ahead }
    }

    fn tell(&self, page: &mut Page) {
        let of = |open: bool| {
            let those = self.open.iter().filter(move |(_, _, is)| *is == open);
            those.map(|(name, port, _)| format!("{name} {port}")).collect::<Vec<_>>()
        };
        let (open, closed) = (of(true), of(false));
        if !open.is_empty() {
            page.more(format_args!("open TCP ports: {}", open.join(", ")));
        }
        if !closed.is_empty() {
            page.more(format_args!("closed to this machine: {}; a firewall may stand between", closed.join(", ")));
        }
        match &self.ahead {
            // The controller tells whole seconds.
            Ok(-1..=1) => page.more("its clock agrees with this machine's"),
            Ok(ahead) => {
                let word = if *ahead > 0 { "ahead of" } else { "behind" };
                page.more(format_args!("its clock is {} s {word} this machine's", ahead.unsigned_abs()));
                if ahead.unsigned_abs() >= SKEW {
                    page.more(
                        "Kerberos bears 300 s: let this machine take its time from the domain (chrony, timesyncd)",
                    );
                }
            }
            Err(why) => page.more(format_args!("its clock is not known: {why}")),
        }
    }
}

/// How many controllers are asked for more than a ping.
const VISITED: usize = 16;

/// How many records of one name are shown.
const SHOWN: usize = 16;

/// For a connection to one port.
const PATIENCE: Duration = Duration::from_secs(2);

/// What clocks may differ by, in seconds (MS-KILE 3.3.1).
const SKEW: u64 = 300;

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser, Debug)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn args(words: &[&str]) -> Option<Args> {
        Line::try_parse_from([&["iwa"], words].concat()).ok().map(|line| line.args)
    }

    #[test]
    fn the_domain_is_a_name_and_servers_are_checked() {
        assert_eq!(args(&["Corp.Example.Test."]).map(|args| args.domain).as_deref(), Some("corp.example.test"));
        assert!(args(&["corp.example.test", "--server", "dc1:1389", "--dns", "192.0.2.10:53"]).is_some());
        for bad in [
            &["192.0.2.1"][..],
            &[""],
            &["ldap://corp"],
            &["corp.example.test", "--server", "dc1:0"],
            &["corp.example.test", "--dns", "dns.example.test"],
        ] {
            assert!(args(bad).is_none(), "{bad:?}");
        }
    }

    #[tokio::test]
    async fn where_there_is_no_dns_the_remedy_is_told() {
        let nobody = {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
            socket.local_addr().expect("its address")
        };
        let args = args(&["corp.example.test", "--dns", &nobody.to_string()]).expect("arguments");
        let (page, advice) = look(&args).await;
        assert!(page.contains("_ldap._tcp.dc._msdcs.corp.example.test: "), "{page}");
        for wanted in ["no domain controller of corp.example.test is found", &nobody.to_string(), "--server dc1"] {
            assert!(advice.contains(wanted), "{advice}");
        }
    }
}
