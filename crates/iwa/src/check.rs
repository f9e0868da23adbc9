//! `iwa check`: what a configuration is worth, before a server runs on it.

mod outbound;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use http::HeaderName;
use iwa_auth::krb5::acceptor::ClientRealms;
use iwa_auth::krb5::etype::Etype;
use iwa_auth::{BindingPolicy, Mechanism};
use iwa_domain::local::LocalAccounts;
use iwa_domain::machine::Membership;
use iwa_http::Provider;
use iwa_http::session::Terms;
use iwa_wire::explain::{hex, printable};

use crate::config::{
    Backend, Balance, Config, Domain, HostHeader, KeytabSummary, Loaded, Problem, Proxy, Route, Server, Severity,
    SignIn, ToHttp2, load,
};
use crate::gateway::audit::Period;
use crate::gateway::authorize::{Access, Decision, NoNames, Role, Rule, User, decide};
use crate::gateway::certificate::Served;
use crate::gateway::domain;
use crate::gateway::gate::Instead;
use crate::gateway::identity::template::{Hole, Template};
use crate::gateway::identity::{Preset, Told};
use crate::gateway::mapping::Whose;
use crate::gateway::names::{self, Resolved};
use crate::gateway::proxy;
use crate::gateway::terminators::Terminator;

/// Check a configuration, and say in words what it means.
///
/// Reads exactly what `iwa serve` reads, the keytab and the accounts among it, and tells every problem at once. Exit status:
/// 0 it can be served, 1 it cannot (with --strict also if there are warnings), 2 wrong usage.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The configuration.
    #[arg(short, long, value_name = "FILE", default_value = "/etc/iwa/iwa.toml")]
    config: PathBuf,
    /// Take warnings for errors.
    #[arg(long)]
    strict: bool,
    /// The user in whose name the KDC is asked for tickets, where a route signs in as its visitors.
    #[arg(long, value_name = "NAME")]
    outbound_user: Option<String>,
    /// Tell the problems only.
    #[arg(short, long)]
    quiet: bool,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> ExitCode {
    let (problems, config) = match load(&args.config) {
        Ok(Loaded { config, warnings }) => (warnings, Some(config)),
        Err(problems) => (problems, None),
    };
    for problem in &problems {
        eprintln!("{problem}");
    }
    let unresolved = config.as_ref().map(resolve_names).unwrap_or_default();
    for (group, why) in &unresolved {
        eprintln!("{}: {group} cannot be resolved now: {why}", args.config.display());
    }
    let unreachable = config.as_ref().map(unreachable_now).unwrap_or_default();
    for why in &unreachable {
        eprintln!("{}: warning: {why}", args.config.display());
    }
    if let Some(config) = config.as_ref().filter(|_| !args.quiet) {
        print!("{}", in_words(&args.config, config));
        for line in outbound::ask(config, args.outbound_user.as_deref()) {
            println!("{:13}{}", "the KDC says", printable(&line));
        }
    }
    if !problems.is_empty() || !unreachable.is_empty() {
        eprintln!("{}", count(&problems, unreachable.len()));
    }
    if config.is_some() && (problems.is_empty() || !args.strict) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Asks for the names of domains' groups that the rules speak of, and says which are not resolved and why. That is no problem
/// of the configuration: it may be checked where no controller is.
fn resolve_names(config: &Config) -> Vec<(String, String)> {
    let groups = names::of_config(config, &[]);
    if groups.is_empty() {
        return Vec::new();
    }
    let asked = || -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
        runtime.block_on(async {
            let domains = domain::open(config, &[]).map_err(|problem| problem.to_string())?;
            // What is not known by then is told as unknown.
            let _ = tokio::time::timeout(LONGEST_CHECK, names::resolve(&groups, &domains)).await;
            Ok(())
        })
    };
    let problem = asked().err();
    let unresolved = groups.iter().filter_map(|group| {
        group.with(|known| match known {
            Resolved::Sid(_) => None,
            Resolved::Gone(_) => Some((group.to_string(), "the domain has no such group".to_owned())),
            Resolved::Unknown(why) => Some((group.to_string(), problem.clone().unwrap_or_else(|| why.clone()))),
        })
    });
    unresolved.collect()
}

/// Connects to the applications behind, and says what went wrong. That is no problem of the configuration either: they may be
/// started later, and nothing is sent to them.
fn unreachable_now(config: &Config) -> Vec<String> {
    let behind: Vec<_> = config.routes.iter().filter_map(|route| Some((&route.path, route.proxy.as_ref()?))).collect();
    if behind.is_empty() {
        return Vec::new();
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return vec![format!("nothing can be connected to: {error}")],
    };
    runtime.block_on(async {
        let mut problems = Vec::new();
        for (path, proxy) in behind {
            match proxy::Proxy::new(proxy, path, false, None) {
                Ok(proxy) => problems.extend(proxy.probe().await.into_iter().map(|why| format!("route {path}: {why}"))),
                Err(problem) => problems.push(format!("route {path}: {problem}")),
            }
        }
        problems
    })
}

/// How long names may take in all.
const LONGEST_CHECK: Duration = Duration::from_secs(15);

/// How many problems there are, and warnings besides them.
fn count(problems: &[Problem], besides: usize) -> String {
    let of = |severity| problems.iter().filter(|problem| problem.severity == severity).count();
    match (of(Severity::Error), of(Severity::Warning) + besides) {
        (0, warnings) => number(warnings, "warning"),
        (errors, 0) => number(errors, "error"),
        (errors, warnings) => format!("{}, {}", number(errors, "error"), number(warnings, "warning")),
    }
}

/// The whole configuration in words.
pub(crate) fn in_words(file: &Path, config: &Config) -> String {
    let mut page = Page(String::new());
    page.line("file", file.display());
    for address in &config.server.listen {
        let reach = if address.ip().is_loopback() { "this machine only" } else { "other machines too, without TLS" };
        page.line("listen", format_args!("http://{address} ({reach})"));
    }
    for address in &config.server.listen_tls {
        let reach = if address.ip().is_loopback() { "this machine only" } else { "other machines too" };
        let http2 = if config.offers_http2() { "; HTTP/2 and HTTP/1.1" } else { "; HTTP/1.1" };
        page.line("listen", format_args!("https://{address} ({reach}{http2})"));
    }
    let Server { proxy_protocol, trusted_proxies, .. } = &config.server;
    if !proxy_protocol.0.is_empty() {
        page.line("relays", format_args!("{proxy_protocol}: must say whose connection they hand on (PROXY protocol)"));
    }
    if !trusted_proxies.0.is_empty() {
        let pins = if config.authentication.policy.proxy_pins_connections { "" } else { "; no NTLM through them" };
        page.line("proxies", format_args!("{trusted_proxies}: believed whose request they send{pins}"));
    }
    certificates(&mut page, config);
    sign_in(&mut page, config);
    kerberos(&mut page, config);
    domains(&mut page, config);
    accounts(&mut page, config);
    directory(&mut page, config);
    for (n, rule) in config.mapping.0.iter().enumerate() {
        let whose = match &rule.realm {
            Whose::Ours => "users of this machine and its own domains".to_owned(),
            Whose::Anybodys => "everybody".to_owned(),
            Whose::Of(realm) => format!("users of {}", printable(realm)),
        };
        let matching = if rule.pattern.is_some() { " that match its expression" } else { "" };
        let what = match &rule.local {
            Some(template) => format!("are called {} by applications", printable(&template.to_string())),
            None => "are refused".to_owned(),
        };
        page.line(if n == 0 { "names" } else { "" }, format_args!("{}. {whose}{matching} {what}", n + 1));
    }
    for route in &config.routes {
        match (&route.proxy, &route.files) {
            (Some(proxy), _) => application(&mut page, &route.path, proxy),
            (None, Some(files)) => page.line("route", format_args!("{} serves {}", route.path, files.display())),
            (None, None) => page.line("route", format_args!("{} says who the visitor is", route.path)),
        }
        let policy = route.policy(&config.authentication.policy);
        sign_in_here(&mut page, route, &config.authentication.policy, config.authentication.token_checking);
        if route.proxy.is_some() {
            page.more(told(&route.told));
        }
        rules(&mut page, &route.rules, policy.anonymous);
        outbound::in_words(&mut page, route);
    }
    let pages: Vec<_> = config.pages.names().collect();
    if !pages.is_empty() {
        page.line("pages", format_args!("your own for {}", pages.join(", ")));
    }
    if let Some(jwt) = &config.jwt {
        let (algorithm, keys) = (jwt.algorithm.name(), jwt.keys.display());
        let rotate = time(jwt.rotate);
        page.line(
            "tokens",
            format_args!("{algorithm}, by {}; keys in {keys}, another every {rotate}", printable(&jwt.issuer)),
        );
    }
    forward_auth(&mut page, config);
    sessions(&mut page, config);
    logs_and_limits(&mut page, config);
    page.0
}

/// What is behind a route.
fn application(page: &mut Page, path: &str, proxy: &Proxy) {
    let targets: Vec<_> = proxy.targets.iter().map(ToString::to_string).collect();
    let settings = &proxy.settings;
    let how = match (targets.len(), settings.balance) {
        (1, _) => "",
        (_, Balance::RoundRobin) => " in turn",
        (_, Balance::LeastConnections) => ", where the fewest requests are under way",
        (_, Balance::ClientAddress) => ", by the client's address",
    };
    page.line("route", format_args!("{path} goes on to {}{how}", targets.join(", ")));
    let mut more = Vec::new();
    if settings.strip_path && path != "/" {
        more.push(format!("without {path}"));
    }
    match settings.http2 {
        ToHttp2::Auto => {}
        ToHttp2::Never => more.push("never HTTP/2".to_owned()),
        ToHttp2::PriorKnowledge => more.push("HTTP/2 without asking".to_owned()),
    }
    if settings.host == HostHeader::Upstream {
        more.push("Host is the application's".to_owned());
    }
    if let Some(health) = &settings.health {
        more.push(format!("checked every {} s at {}", health.interval.as_secs_f32(), health.path));
    }
    if !more.is_empty() {
        page.more(more.join("; "));
    }
}

fn sign_in(page: &mut Page, config: &Config) {
    let policy = &config.authentication.policy;
    if policy.anonymous {
        page.line(
            "anonymous",
            format_args!("yes: a request without credentials is served, as nobody, {}", where_anonymous(config)),
        );
    } else {
        page.line("anonymous", "no: a request without credentials is asked to sign in (401.2)");
    }
    for (n, provider) in policy.providers.iter().enumerate() {
        let meaning = match provider {
            Provider::Negotiate => match (&config.kerberos, config.verifies_ntlm()) {
                (Some(_), true) => "Kerberos, or NTLM if the client has no ticket",
                (Some(_), false) => "Kerberos; nobody here can verify NTLM, so NTLM inside it is refused",
                _ => "NTLM inside SPNEGO; there is no keytab, so Kerberos is refused",
            },
            Provider::NegotiateKerberos => "Kerberos; NTLM inside it is refused",
            Provider::Ntlm => "NTLM, version 2 only",
        };
        page.line("provider", format_args!("{}. {provider}: {meaning}", n + 1));
    }
    if let Some(realm) = &policy.basic_realm {
        page.line(
            "provider",
            format_args!("Basic, realm \"{}\": over TLS or from this machine only", printable(realm)),
        );
    }
    if policy.providers.is_empty() && policy.basic_realm.is_none() {
        page.line("provider", "none: nobody can sign in");
    }
    let ntlm = policy.providers.iter().any(|provider| provider.takes(Mechanism::Ntlm)) && config.verifies_ntlm();
    page.line(
        "persistence",
        match (policy.persist_single_request, policy.persist_non_ntlm, ntlm) {
            (true, _, _) => "none: every request signs in anew",
            (false, true, _) => "whoever signed in stays signed in on that connection",
            (false, false, true) => "NTLM signs a connection in, Kerberos a request",
            (false, false, false) => "every request signs in anew",
        },
    );
    page.line(
        "protection",
        match config.authentication.token_checking {
            BindingPolicy::None => "channel bindings are not looked at (extended protection: none)",
            BindingPolicy::Allow => {
                "channel bindings must be right where a client sends them (extended protection: allow)"
            }
            BindingPolicy::Report => {
                "as allow, and the log tells whom \"require\" would keep out (extended protection: report)"
            }
            BindingPolicy::Require => "channel bindings are demanded (extended protection: require)",
        },
    );
    for terminator in &config.authentication.terminators {
        match terminator {
            Terminator::File(file) => page.more(format_args!("behind a proxy with the certificate {}", file.display())),
            Terminator::Hash(hash) => page.more(format_args!("behind a proxy with the certificate {}", hex(hash))),
        }
    }
}

/// Which proxies ask, and what signs in through them.
fn forward_auth(page: &mut Page, config: &Config) {
    let Some(forward) = &config.forward_auth else { return };
    let from: Vec<_> = forward.from.iter().map(ToString::to_string).collect();
    page.line("forward-auth", format_args!("proxies at {} may ask at /.iwa/auth", from.join(", ")));
    match &forward.connection_header {
        Some(name) => page.more(format_args!(
            "NTLM through nginx and HAProxy, which say in {name} whose connection it is; through others it is not offered"
        )),
        None => page.more("NTLM is not offered through them: there is no connection-header"),
    }
}

fn certificates(page: &mut Page, config: &Config) {
    for (number, files) in config.tls.iter().flat_map(|tls| &tls.certificates).enumerate() {
        page.line("certificate", files.certificate.display());
        // It could be read a moment ago.
        if let Ok(served) = Served::read(files) {
            page.more(served.facts.in_words());
        }
        if number == 0 {
            page.more("for every name that no other has");
        }
    }
}

/// What a route's application is told of its visitors.
fn told(told: &Told) -> String {
    let headers = headers_of(told);
    let groups = |template: &Template| template.has(Hole::Groups) && told.groups.is_none();
    let headers = headers.iter().filter(|(_, template)| !groups(template));
    let mut said: Vec<_> =
        headers.map(|(name, template)| format!("{name}: {}", printable(&template.to_string()))).collect();
    if let Some(Some(token)) = &told.token {
        said.push(format!("{}: a token for {}", token.header, printable(&token.audience)));
    }
    if said.is_empty() {
        return "the application is not told who its visitors are".to_owned();
    }
    let local = if headers_of(told).iter().any(|(_, template)| template.has(Hole::Local)) {
        "; {local} is what [[mapping]] makes, else DOMAIN\\user"
    } else {
        ""
    };
    format!("the application is told {}{local}", said.join(", "))
}

fn headers_of(told: &Told) -> Vec<(HeaderName, Template)> {
    told.headers.clone().unwrap_or_else(|| Preset::XRemoteUser.headers())
}

/// What a route has in place of the site's way to sign in.
fn sign_in_here(page: &mut Page, route: &Route, site: &iwa_http::Policy, checking: BindingPolicy) {
    if let Some(terms) = &route.session {
        page.more(session_in_words(terms));
        if route.policy(site).bound_only || checking == BindingPolicy::Require {
            page.more("a session is tied to the certificate and not to its connection: whoever has the cookie has the session");
        }
    }
    for (condition, sign_in) in route.clauses() {
        let mut when: Vec<_> = condition.networks.iter().map(|network| format!("in {network}")).collect();
        when = if when.is_empty() { when } else { vec![when.join(" or ")] };
        when.extend(condition.not_networks.iter().map(|network| format!("not in {network}")));
        when.extend(
            condition.headers.iter().map(|(name, pattern)| format!("{name} has {}", printable(&pattern.to_string()))),
        );
        page.more(format_args!("clients {}: {}", when.join(", "), manner_in_words(&sign_in, site)));
    }
    if !route.sign_in.when.is_empty() {
        page.more(format_args!("all others: {}", manner_in_words(&route.sign_in, site)));
    } else if route.sign_in != SignIn::default() {
        page.more(manner_in_words(&route.sign_in, site));
    }
}

/// What a route's sessions are.
fn session_in_words(terms: &Terms) -> String {
    let idle = terms.idle.map(|idle| format!(", or {} without a request", time(idle))).unwrap_or_default();
    let kept = if terms.persistent { "; the browser keeps them when it is closed" } else { "" };
    let clear = if terms.in_clear { "; without TLS, too: whoever listens takes them over" } else { "" };
    format!("sessions: at most {}{idle}{kept}{clear}", time(terms.lifetime))
}

fn sessions(page: &mut Page, config: &Config) {
    let Some(sessions) = &config.sessions else { return };
    page.line(
        "sessions",
        format_args!("keys in {}, a new one every {}", sessions.keys.display(), time(sessions.rotate)),
    );
    page.more(format_args!("who was signed out is in {}", sessions.revoked.display()));
    if config.routes.iter().all(|route| route.session.is_none()) {
        page.more("no route has them");
    }
    // A proxy in front that ends TLS says so with each request.
    let maybe_tls = !config.server.listen_tls.is_empty()
        || !config.server.trusted_proxies.0.is_empty()
        || !config.server.proxy_protocol.0.is_empty()
        || config.forward_auth.is_some();
    if !maybe_tls && config.routes.iter().filter_map(|route| route.session.as_ref()).any(|terms| !terms.in_clear) {
        page.more("none begins where there is no TLS, and here is none: an https:// address in `listen`, or `in-clear = true` for trying out");
    }
}

fn manner_in_words(here: &SignIn, site: &iwa_http::Policy) -> String {
    if here.off == Some(true) {
        return "nobody is asked to sign in, and credentials are the application's".to_owned();
    }
    let policy = here.policy(site).unwrap_or_else(|| site.clone());
    let mut offered: Vec<_> = policy.providers.iter().map(ToString::to_string).collect();
    offered.extend(policy.basic_realm.as_ref().map(|_| "Basic".to_owned()));
    let offered = if offered.is_empty() { "nobody can sign in".to_owned() } else { offered.join(", ") };
    let anonymous = if policy.anonymous { "served without credentials, too" } else { "never without credentials" };
    let bound = if policy.bound_only { "; channel bindings are demanded" } else { "" };
    let instead = match here.instead.as_ref().unwrap_or(&Instead::Dialog) {
        Instead::Dialog => String::new(),
        Instead::Page => "; without a ticket a page, and never a dialog".to_owned(),
        Instead::Form => "; without a ticket a form for name and password, and never a dialog".to_owned(),
        Instead::Login(login) => format!("; without a ticket {}", printable(&login.to_string())),
    };
    format!("signs in here with: {offered}; {anonymous}{bound}{instead}")
}

/// Which routes let in whoever does not sign in.
fn where_anonymous(config: &Config) -> String {
    let open = config.routes.iter().filter(|route| {
        // No name can match nobody, so that it does not matter what names mean.
        route.policy(&config.authentication.policy).anonymous
            && decide(&route.rules, None, &http::Method::GET, &NoNames) == Decision::Allowed
    });
    let paths: Vec<_> = open.map(|route| route.path.as_str()).collect();
    match paths.len() {
        0 => "but no route lets it in (401.2)".to_owned(),
        all if all == config.routes.len() => "everywhere".to_owned(),
        _ => format!("at {} alone", paths.join(", ")),
    }
}

fn kerberos(page: &mut Page, config: &Config) {
    let Some(kerberos) = &config.kerberos else { return page.line("kerberos", "off: there is no keytab") };
    let keytabs = config.keytabs();
    for (n, path) in keytabs.iter().enumerate() {
        page.line(if n == 0 { "kerberos" } else { "" }, format_args!("keys from {}", path.display()));
        let Ok(keytab) = KeytabSummary::read(path) else { continue };
        for (principal, keys) in &keytab.principals {
            for (kvno, etypes) in keys.iter().rev() {
                let etypes: Vec<_> = etypes.iter().map(|&etype| etype_in_words(etype, kerberos.rc4)).collect();
                page.more(format_args!("{} kvno {kvno}: {}", printable(principal), etypes.join(", ")));
            }
        }
    }
    page.more(if kerberos.service_names.is_empty() && config.domains.iter().any(Domain::has_keys) {
        "tickets for HTTP on any host are taken".to_owned()
    } else if kerberos.service_names.is_empty() {
        "tickets for any of these are taken".to_owned()
    } else {
        format!("tickets are taken for {} alone", printable(&kerberos.service_names.join(", ")))
    });
    page.more(match &kerberos.client_realms {
        ClientRealms::OfTheKeytab => "clients of the keys' own realms are let in".to_owned(),
        ClientRealms::Listed(realms) => format!("clients of {} are let in", printable(&realms.join(", "))),
        ClientRealms::AnyTrusted => "clients of every realm that the KDC trusts are let in".to_owned(),
    });
    page.more(if kerberos.kdc_keytab.is_some() {
        "the KDC's signatures of a PAC are checked, and a wrong one is refused"
    } else {
        "the KDC's signatures of a PAC are not checked: whoever steals the service's key can forge groups (the KDC's own key tells)"
    });
    page.more(format_args!(
        "clocks may differ by {}; a ticket without a PAC is {}; RC4 is {}",
        time(kerberos.clock_skew),
        if kerberos.pac_required { "refused" } else { "taken, and its client has no groups" },
        if kerberos.rc4 { "taken" } else { "refused" },
    ));
}

/// What was joined, who is asked, and what happens when nobody answers.
fn domains(page: &mut Page, config: &Config) {
    for domain in &config.domains {
        match Membership::open(&domain.state) {
            Ok(membership) => {
                let machine = membership.machine();
                page.line(
                    "domain",
                    format_args!(
                        "{} ({}): this machine is {} there, {}",
                        domain.name,
                        printable(&machine.domain.netbios),
                        printable(&machine.account()),
                        printable(&machine.dns_host_name)
                    ),
                );
                page.more(format_args!(
                    "its password is of {}, key version {}; {}",
                    machine.current.since,
                    machine.current.kvno,
                    match domain.password_age {
                        Some(age) => format!("the server changes it when it is {} old", time(age)),
                        None => "the server never changes it".to_owned(),
                    }
                ));
                if machine.pending.is_some() {
                    page.more("a change of it was begun and is finished by the server");
                }
            }
            Err(_) if domain.backend == Backend::NtlmAuth => {
                page.line("domain", format_args!("{}: winbind is its member here", domain.name));
            }
            // It could be read a moment ago.
            Err(error) => page.line("domain", format_args!("{}: {error}", domain.name)),
        }
        page.more(match (domain.servers.as_slice(), &domain.site) {
            ([], None) => {
                "its controllers are those in DNS, of this machine's site first (`iwa domain` finds them)".to_owned()
            }
            ([], Some(site)) => format!("its controllers are those in DNS, of the site {} first", printable(site)),
            (servers, _) => format!("its controllers are {}", printable(&servers.join(", "))),
        });
        page.more(match domain.backend {
            Backend::Netlogon => format!(
                "NTLM and Basic are asked of them, {} at a time, {} may wait",
                domain.logons_in_flight, domain.logon_queue
            ),
            Backend::NtlmAuth => format!("NTLM and Basic are asked of winbind, {} at a time", domain.logons_in_flight),
        });
        page.more(
            "when none can be asked Kerberos goes on, NTLM and Basic are answered 503, rules by name live on what is remembered",
        );
    }
    let Some(first) = config.domains.first().filter(|_| config.verifies_ntlm()) else { return };
    page.line(
        "who answers",
        format_args!(
            "{}; a domain that nobody here knows: {}",
            if config.accounts.is_some() {
                "names without a domain that [accounts] has, and this machine's own: [accounts]"
            } else {
                "there are no [accounts]"
            },
            first.name
        ),
    );
}

fn etype_in_words(etype: i32, rc4: bool) -> String {
    match Etype::from_number(etype) {
        Some(Etype::Rc4Hmac) if !rc4 => format!("{} (off)", Etype::Rc4Hmac),
        Some(etype) => etype.to_string(),
        None => format!("etype {etype} (unknown here)"),
    }
}

fn accounts(page: &mut Page, config: &Config) {
    let Some(accounts) = &config.accounts else {
        let others = !config.domains.is_empty() || config.directory.is_some();
        return page
            .line("accounts", if others { "none of this machine" } else { "none: NTLM and Basic have nobody to ask" });
    };
    let state = accounts.state.display();
    match LocalAccounts::open(&accounts.state, accounts.lockout).and_then(|accounts| accounts.snapshot()) {
        Ok(snapshot) => {
            let machine = snapshot.machine();
            let (users, groups) = (snapshot.users(), snapshot.groups().len());
            let disabled = users.iter().filter(|user| user.disabled).count();
            page.line("accounts", format_args!("{state}: machine {}, realm {}", machine.name, machine.realm));
            page.more(format_args!(
                "{} ({disabled} disabled), {}",
                number(users.len(), "account"),
                number(groups, "group")
            ));
        }
        // They were there a moment ago, when the configuration was read.
        Err(error) => page.line("accounts", format_args!("{state}: {error}")),
    }
    let lockout = accounts.lockout;
    if lockout.threshold == 0 {
        page.more("no lock-out, however often a password is wrong");
    } else {
        let until = if lockout.duration.is_zero() {
            "until unlocked".to_owned()
        } else {
            format!("for {}", time(lockout.duration))
        };
        page.more(format_args!(
            "locked out {until} after {} failures within {}",
            lockout.threshold,
            time(lockout.window)
        ));
    }
}

fn directory(page: &mut Page, config: &Config) {
    let Some(directory) = &config.directory else { return };
    page.line(
        "directory",
        format_args!(
            "{}: users below {} on ldaps://{}:{}",
            directory.name,
            printable(&directory.base),
            directory.host,
            directory.port
        ),
    );
    page.more(match &directory.nt_hash {
        Some(attribute) => {
            format!("NTLM by the NT hash in {attribute}, read as {}; Basic by bind", printable(&directory.reader))
        }
        None => "Basic by bind; no NTLM, because `nt-hash` names no attribute".to_owned(),
    });
    page.more(match &directory.groups.base {
        Some(base) => format!("groups directly below {base} have short names, all others only DNs"),
        None => "groups have DNs and no short names ([directory.groups] has no base)".to_owned(),
    });
}

/// The rules in the order in which they are evaluated.
fn rules(page: &mut Page, rules: &[Rule], anonymous: bool) {
    if rules.is_empty() {
        return page.more(if anonymous { "to everybody (no rules)" } else { "to everybody who signs in (no rules)" });
    }
    for access in [Access::Deny, Access::Allow] {
        for rule in rules.iter().filter(|rule| rule.access == access) {
            let word = if access == Access::Deny { "not to" } else { "to" };
            page.more(format_args!("{word} {}", rule_in_words(rule, anonymous)));
        }
    }
    page.more("to nobody else");
}

fn rule_in_words(rule: &Rule, anonymous: bool) -> String {
    let users = rule.users.iter().map(|user| match user {
        User::All if anonymous => "everybody".to_owned(),
        User::All => "everybody who signs in".to_owned(),
        User::Anonymous => "whoever does not sign in".to_owned(),
        User::Local(name) => printable(name),
        User::InDomain { domain, name } => format!("{}\\{}", printable(domain), printable(name)),
        User::Upn(upn) => printable(upn),
        User::Sid(sid) => sid.to_string(),
    });
    let roles = rule.roles.iter().map(|role| match role {
        Role::Group(name) => format!("members of {}", printable(name)),
        Role::InDomain(group) => group.with(|known| match known {
            Resolved::Sid(sid) => format!("members of {group} ({sid})"),
            Resolved::Gone(_) => format!("members of {group} (the domain has no such group)"),
            Resolved::Unknown(_) => format!("members of {group} (not resolved; 503 where it matters)"),
        }),
        Role::InDirectory { domain, name } => format!("members of {}\\{}", printable(domain), printable(name)),
        Role::Dn(dn) => format!("members of {}", printable(dn)),
        Role::Sid(sid) => format!("members of {sid}"),
    });
    let mut text = users.chain(roles).collect::<Vec<_>>().join(", ");
    if !rule.verbs.is_empty() {
        let verbs: Vec<_> = rule.verbs.iter().map(http::Method::as_str).collect();
        let _ = write!(text, " ({} only)", verbs.join(", "));
    }
    text
}

fn logs_and_limits(page: &mut Page, config: &Config) {
    let log = &config.log;
    match &log.dir {
        Some(dir) if log.w3c || log.json => {
            let names = match log.period {
                Period::Daily => ("u_exYYMMDD.log", "iwa_YYMMDD.jsonl"),
                Period::Hourly => ("u_exYYMMDDHH.log", "iwa_YYMMDDHH.jsonl"),
                Period::MaxSize => ("u_extendN.log", "iwa_N.jsonl"),
            };
            if log.w3c {
                page.line("log", format_args!("{}/{}, as IIS writes it", dir.display(), names.0));
            }
            if log.json {
                page.line("log", format_args!("{}/{}, with the reasons in words", dir.display(), names.1));
            }
        }
        _ if log.console => {}
        _ => {
            page.line("log", "none: nobody can look up why somebody was refused; [log] needs `dir` or `console = true`")
        }
    }
    if log.console {
        page.line("log", "standard output, with the reasons in words");
    }
    let limits = &config.limits;
    page.line(
        "limits",
        format_args!(
            "headers of {} KiB, {} connections, {} handshakes under way for at most {}",
            limits.header >> 10,
            limits.connections,
            limits.handshakes,
            time(limits.handshake_age)
        ),
    );
}

/// Lines with a word before them; a word is not repeated.
pub(crate) struct Page(pub(crate) String);

impl Page {
    pub(crate) fn line(&mut self, word: &str, text: impl std::fmt::Display) {
        let _ = writeln!(self.0, "{word:13}{text}");
    }

    pub(crate) fn more(&mut self, text: impl std::fmt::Display) {
        let _ = writeln!(self.0, "{:15}{text}", "");
    }
}

fn number(count: usize, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

fn time(duration: Duration) -> String {
    match duration.as_secs() {
        0 => format!("{} ms", duration.as_millis()),
        secs if secs % 86_400 == 0 => format!("{} d", secs / 86_400),
        secs if secs % 3600 == 0 => format!("{} h", secs / 3600),
        secs if secs % 60 == 0 => format!("{} min", secs / 60),
        secs => format!("{secs} s"),
    }
}
