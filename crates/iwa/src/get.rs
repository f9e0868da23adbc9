//! `iwa get`: the browser's side. Reads what the server offers, picks a scheme, proves who the user is, verifies the server's
//! last token, prints the body.

mod credentials;
pub(crate) mod transport;
pub(crate) mod url;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, Request, StatusCode, Version};
use iwa_auth::initiate::{Framing, Initiator, InitiatorConfig};
use iwa_auth::krb5::client::Delegation;
use iwa_auth::reject::{Peer, Policy, Reason};
use iwa_auth::{Mechanism, Scheme};
use iwa_domain::tls::Roots;
use iwa_http::client::{ClientPolicy, Conclusion, Exchange, Next, Preference, Transport, Unreachable};
use iwa_http::{HostList, Os, Provider};

use crate::transcript;
use credentials::CredentialArgs;
use transport::open;
use url::Url;

/// Fetch a page as a browser does that signs in by itself.
///
/// Tickets that are at hand (a credential cache) are used only for hosts of the list that --allow and IWA_ALLOW make, as
/// Chrome does with its AuthServerAllowlist; a password, a hash or a keytab that is named here is used for the host that is
/// named here.
///
/// Exit status: 0 the server answered 2xx or 3xx, and proved what it had to prove; 1 it could not be reached or did not answer;
/// 2 usage; 3 the user is not in (no credential fits, or the server refused it); 4 the server says success and did not prove
/// that it is the server (nothing is printed then); 5 the user is in, or nobody asked, and the answer is 4xx or 5xx.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// What to fetch: https://host[:port]/path or http://host[:port]/path. Redirections are shown, not followed.
    url: String,
    /// The schemes to speak, in IIS's words: Negotiate, Negotiate:Kerberos, NTLM.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "Negotiate,NTLM")]
    providers: Vec<Provider>,
    /// "Enable Integrated Windows Authentication" of Internet Explorer, unchecked: NTLM only.
    #[arg(long)]
    no_negotiate: bool,
    /// Pick the first scheme that the server offers, as Internet Explorer does, and not the strongest.
    #[arg(long)]
    server_order: bool,
    /// Hosts that may be given tickets unasked: web.example.test, *.example.test, http://localhost:8080, or * for all.
    #[arg(long, value_name = "PATTERNS", env = "IWA_ALLOW", value_delimiter = ',')]
    allow: Vec<String>,
    #[command(flatten)]
    credentials: CredentialArgs,
    /// Hand the server a ticket of ours, if the KDC trusts it with that.
    #[arg(long)]
    delegate: bool,
    /// Do not insist that the server proves itself (Kerberos).
    #[arg(long)]
    danger_no_mutual: bool,
    /// Send Kerberos or NTLM bare under Negotiate, as some clients do, and not in SPNEGO.
    #[arg(long)]
    bare: bool,
    /// The method; GET, or POST if there is data.
    #[arg(short = 'X', long, value_name = "METHOD")]
    request: Option<Method>,
    /// Post this; @FILE posts a file.
    #[arg(short, long, value_name = "DATA")]
    data: Option<String>,
    /// A header line of the request: `Name: value`.
    #[arg(short = 'H', long = "header", value_name = "LINE")]
    headers: Vec<String>,
    /// Trust the authorities of this file, in PEM, besides those of the system. Certificates are always verified.
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// Fetch so many times over the same connection.
    #[arg(long, value_name = "N", default_value_t = 1)]
    repeat: u32,
    /// Write the body to a file.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print the exchange on standard error: heads of requests and answers, and each token decoded.
    #[arg(short, long)]
    verbose: bool,
}

/// Why there is no page, and the exit status that says so.
#[derive(Debug)]
pub(crate) struct Failure {
    status: u8,
    text: String,
}

impl Failure {
    pub(crate) fn unreachable(text: impl Into<String>) -> Self {
        Self { status: 1, text: text.into() }
    }

    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self { status: 2, text: text.into() }
    }

    /// Whoever is not in may want to know why there was no ticket.
    fn for_want_of(mut self, missing: Option<&str>) -> Self {
        if let (3, Some(missing)) = (self.status, missing) {
            self.text.push_str("; no ticket: ");
            self.text.push_str(missing);
        }
        self
    }

    /// A server that should have proved itself and did not is another matter than one that refused.
    fn authentication(reason: &Reason) -> Self {
        let unproved = matches!(
            reason,
            Reason::Malformed(_)
                | Reason::Peer(
                    Peer::NotMutual | Peer::MechListMic | Peer::MechListMicMissing | Peer::AuthenticatorIntegrity
                )
        );
        let advice = match reason {
            Reason::Policy(Policy::HostNotAllowed { .. }) => ": --allow or IWA_ALLOW puts it there",
            Reason::Policy(Policy::NoCredential { .. }) => "; --user names one, kinit makes a ticket",
            Reason::Peer(Peer::Rejected { said }) if said.is_empty() => "; its log does",
            _ => "",
        };
        Self { status: if unproved { 4 } else { 3 }, text: format!("{reason}{advice}") }
    }
}

impl From<Unreachable> for Failure {
    fn from(error: Unreachable) -> Self {
        Self::unreachable(error.to_string())
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> ExitCode {
    let result = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(get(args)),
        Err(error) => Err(Failure::unreachable(error.to_string())),
    };
    match result {
        Ok(status) if status.is_success() || status.is_redirection() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(5),
        Err(failure) => {
            eprintln!("iwa get: {}", failure.text);
            ExitCode::from(failure.status)
        }
    }
}

async fn get(args: &Args) -> Result<StatusCode, Failure> {
    let url: Url = args.url.parse().map_err(Failure::usage)?;
    let request = request(args, &url)?;
    let mut schemes: Vec<Scheme> = Vec::new();
    for scheme in args.providers.iter().map(|provider| provider.scheme()) {
        let unchecked = args.no_negotiate && scheme == Scheme::Negotiate;
        if !unchecked && !schemes.contains(&scheme) {
            schemes.push(scheme);
        }
    }
    let speaks = |mechanism| args.providers.iter().any(|provider| provider.takes(mechanism));
    let mechanisms = [Mechanism::Kerberos, Mechanism::Ntlm].into_iter().filter(|m| speaks(*m)).collect();
    let (credentials, kdcs) = args.credentials.read(&url)?;
    let policy = ClientPolicy {
        schemes,
        preference: if args.server_order { Preference::ServerOrder } else { Preference::Strongest },
        host_allowed: credentials.named || allowed(args, &url)?,
        host: url.authority(),
    };
    let tls = match url.tls {
        true => {
            let roots = Roots { files: args.cacert.iter().cloned().collect(), ..Roots::default() };
            Some(iwa_domain::tls::client_config(&roots).map_err(Failure::usage)?)
        }
        false => None,
    };
    let mut connection = open(&url, tls.as_ref()).await?;
    let initiator = Initiator::new(InitiatorConfig {
        host: url.host.clone(),
        credentials: credentials.credentials,
        mechanisms,
        mutual: !args.danger_no_mutual,
        delegation: if args.delegate { Delegation::IfTrusted } else { Delegation::No },
        bindings: connection.bindings().clone(),
        framing: if args.bare { Framing::Bare } else { Framing::Spnego },
    });

    let mut last = StatusCode::OK;
    for _ in 0..args.repeat.max(1) {
        let mut exchange = Exchange::new(&policy, &initiator, &kdcs, &Os);
        let again = || open(&url, tls.as_ref());
        let fetched = page(args, &request, &mut exchange, &mut connection, again).await;
        last = fetched.map_err(|failure| failure.for_want_of(credentials.missing.as_deref()))?;
    }
    Ok(last)
}

/// One page, however many requests it takes.
async fn page<F: Future<Output = Result<Transport, Failure>>>(
    args: &Args,
    request: &Request<Bytes>,
    exchange: &mut Exchange<'_>,
    connection: &mut Transport,
    open: impl Fn() -> F,
) -> Result<StatusCode, Failure> {
    let mut authorization: Option<(HeaderName, HeaderValue)> = None;
    loop {
        let mut request = request.clone();
        if let Some((name, value)) = authorization.take() {
            request.headers_mut().insert(name, value);
        } else if !connection.is_open().await {
            let new = open().await?;
            if new.bindings() != connection.bindings() {
                // The credentials are tied to the certificate of the first connection.
                return Err(Failure::unreachable(
                    "the server shows another certificate on its next connection: try again",
                ));
            }
            *connection = new;
        }
        if args.verbose {
            let target = request.uri().to_string();
            eprintln!("{}", transcript::request(request.method(), &target, Version::HTTP_11, request.headers()));
        }
        let answer = connection.send(request).await?;
        if args.verbose {
            eprintln!("{}", transcript::answer(answer.version(), answer.status(), answer.headers()));
        }
        match exchange.next(answer.status(), answer.headers()).await {
            Next::Again(name, value) => {
                transport::discard(answer.into_body()).await?;
                authorization = Some((name, value));
            }
            Next::Done(Conclusion::Failed(reason)) => {
                let failure = Failure::authentication(&reason);
                if answer.status() == StatusCode::UNAUTHORIZED && failure.status == 3 {
                    write_body(args, answer.into_body()).await?;
                }
                return Err(failure);
            }
            Next::Done(conclusion) => {
                if args.verbose {
                    tell(&conclusion);
                }
                let status = answer.status();
                write_body(args, answer.into_body()).await?;
                return Ok(status);
            }
        }
    }
}

fn tell(conclusion: &Conclusion) {
    match conclusion {
        Conclusion::NotAsked => eprintln!("The server asked for no credentials on this request.\n"),
        Conclusion::Established(_, established) => {
            let mutual = if established.mutual { "the server proved itself" } else { "the server proved nothing" };
            eprintln!("Signed in by {}; {mutual}.", established.mechanism);
            if let Some(fallback) = &established.fallback {
                eprintln!("Not by Kerberos, because {fallback}");
            }
            eprintln!();
        }
        Conclusion::Failed(_) => {}
    }
}

async fn write_body(args: &Args, body: hyper::body::Incoming) -> Result<(), Failure> {
    let unwritable = |error: std::io::Error| Failure::unreachable(format!("the body cannot be written: {error}"));
    match &args.output {
        Some(path) => {
            let mut file = std::fs::File::create(path).map_err(unwritable)?;
            transport::copy(body, |bytes| file.write_all(bytes).map_err(unwritable)).await
        }
        None => {
            let mut out = std::io::stdout().lock();
            transport::copy(body, |bytes| out.write_all(bytes).map_err(unwritable)).await?;
            out.flush().map_err(unwritable)
        }
    }
}

fn allowed(args: &Args, url: &Url) -> Result<bool, Failure> {
    let mut hosts = HostList::none();
    for patterns in &args.allow {
        hosts.add(patterns).map_err(|error| Failure::usage(format!("--allow: {error}")))?;
    }
    Ok(hosts.allows(url.scheme(), &url.host, url.port))
}

fn request(args: &Args, url: &Url) -> Result<Request<Bytes>, Failure> {
    let body = match &args.data {
        None => Bytes::new(),
        Some(data) => match data.strip_prefix('@') {
            Some(file) => {
                let bytes = std::fs::read(file).map_err(|error| Failure::usage(format!("-d {data}: {error}")))?;
                Bytes::from(bytes)
            }
            None => Bytes::from(data.clone()),
        },
    };
    let default_method = if args.data.is_some() { Method::POST } else { Method::GET };
    let mut request = Request::new(body);
    *request.method_mut() = args.request.clone().unwrap_or(default_method);
    *request.uri_mut() = url.target.clone();
    let headers = request.headers_mut();
    let host = HeaderValue::try_from(url.authority()).map_err(|_| Failure::usage("the host is none"))?;
    headers.insert(HOST, host);
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("iwa/", env!("CARGO_PKG_VERSION"))));
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    if args.data.is_some() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    }
    for line in &args.headers {
        let parsed = line.split_once(':').and_then(|(name, value)| {
            Some((HeaderName::try_from(name.trim()).ok()?, HeaderValue::try_from(value.trim()).ok()?))
        });
        let (name, value) = parsed.ok_or_else(|| Failure::usage(format!("-H `{line}` is no header line")))?;
        headers.insert(name, value);
    }
    Ok(request)
}
