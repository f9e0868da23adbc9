//! The browser's part: each step is played over real sockets, printed as it went over the wire, and held against the log.

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, HOST, HeaderName, HeaderValue, USER_AGENT};
use http::{Request, StatusCode, Version};
use iwa_auth::initiate::{Credentials, Framing, Initiator, InitiatorConfig};
use iwa_auth::krb5::client::{Client, Delegation, LongTerm};
use iwa_auth::ntlm::crypto::nt_hash;
use iwa_auth::ntlm::initiator::{Client as NtlmClient, Credential};
use iwa_auth::ports::{Answer, Kdc};
use iwa_auth::{ChannelBindings, Mechanism, Scheme, Secret};
use iwa_domain::kdc::{KdcAddress, Kdcs};
use iwa_http::Os;
use iwa_http::client::{ClientPolicy, Conclusion, Exchange, Next, Preference, Transport};
use iwa_wire::krb5::Principal;

use super::stage::{REALM, Stage};
use crate::get::Failure;
use crate::get::transport;
use crate::get::url::Url;
use crate::transcript;

/// Plays every step; `false` if one did not end as it should.
pub(super) async fn all(stage: &Stage) -> Result<bool, Failure> {
    let browser = Browser::of(stage)?;
    let mut good = true;
    let mut check = |step: char, what: &str, visit: &Visit, wanted: &[&str], end: End| {
        let held = hold(stage, visit, wanted, end);
        println!("    {} ({step}) {what}\n", if held { "as it should be:" } else { "NOT AS IT SHOULD BE:" });
        good &= held;
    };

    title('a', "An anonymous request: the server says what it takes");
    let visit = browser.visit(None).await?;
    check('a', "401.2 is the normal first answer", &visit, &["401.2.5"], End::Refused);

    title('b', "Negotiate with Kerberos: a ticket, and the server's proof on the 200");
    let kerberos = browser.visit(Some(&browser.kerberos())).await?;
    check(
        'b',
        "one token, and both sides have proved themselves",
        &kerberos,
        &["401.2.5", "200.0.0"],
        End::Mutual(Mechanism::Kerberos),
    );

    title('c', "Negotiate with NTLM: no ticket, so SPNEGO carries NTLM");
    let visit = browser.visit(Some(&browser.ntlm(Scheme::Negotiate, &browser.stage.alice.password))).await?;
    check(
        'c',
        "a challenge (401.1, not a failure), then 200",
        &visit,
        &["401.2.5", CHALLENGE, "200.0.0"],
        End::In(Mechanism::Ntlm),
    );

    title('d', "The scheme NTLM: the same without SPNEGO");
    let visit = browser.visit(Some(&browser.ntlm(Scheme::Ntlm, &browser.stage.alice.password))).await?;
    check(
        'd',
        "a challenge (401.1, not a failure), then 200",
        &visit,
        &["401.2.5", CHALLENGE, "200.0.0"],
        End::In(Mechanism::Ntlm),
    );

    title('e', "A wrong password");
    let visit = browser.visit(Some(&browser.ntlm(Scheme::Ntlm, &Secret::new("not the password".to_owned())))).await?;
    check(
        'e',
        "401.1, and the client is not told why",
        &visit,
        &["401.2.5", CHALLENGE, "401.1.2148074252"],
        End::Refused,
    );

    title('f', "The token of (b) once more, on another connection: a replay");
    let visit = browser.replay(kerberos.first_token.as_ref()).await?;
    check('f', "401.1: each authenticator is good once", &visit, &[REPLAY], End::Refused);
    Ok(good)
}

/// SEC_E_NO_CREDENTIALS: the client's next token is awaited.
const CHALLENGE: &str = "401.1.2148074254";
/// SEC_E_OUT_OF_SEQUENCE: the token is right, and its time has been.
const REPLAY: &str = "401.1.2148074256";

/// How a step ends for the client.
#[derive(Clone, Copy)]
enum End {
    Refused,
    In(Mechanism),
    /// In, and the server proved itself.
    Mutual(Mechanism),
}

/// What came of a step.
struct Visit {
    status: StatusCode,
    conclusion: Option<Conclusion>,
    first_token: Option<HeaderValue>,
}

fn hold(stage: &Stage, visit: &Visit, wanted: &[&str], end: End) -> bool {
    let lines = stage.log.take();
    for line in &lines {
        println!("    log  {}", line.w3c);
        if let Some(why) = &line.why {
            println!("    why  {why}");
        }
    }
    let found: Vec<&str> = lines.iter().map(|line| line.numbers.as_str()).collect();
    let ended = match (end, &visit.conclusion) {
        (End::Refused, None | Some(Conclusion::Failed(_))) => visit.status == StatusCode::UNAUTHORIZED,
        (End::In(mechanism), Some(Conclusion::Established(_, established))) => {
            visit.status == StatusCode::OK && established.mechanism == mechanism
        }
        (End::Mutual(mechanism), Some(Conclusion::Established(_, established))) => {
            visit.status == StatusCode::OK && established.mechanism == mechanism && established.mutual
        }
        _ => false,
    };
    if found != wanted {
        println!("    wanted {}, found {}", wanted.join(" "), found.join(" "));
    }
    if !ended {
        println!("    the client's end: {}, {:?}", visit.status, visit.conclusion);
    }
    found == wanted && ended
}

fn title(step: char, text: &str) {
    println!("--- ({step}) {text}\n");
}

/// The browser that is played.
struct Browser<'a> {
    stage: &'a Stage,
    url: Url,
    kdcs: Kdcs,
}

impl<'a> Browser<'a> {
    fn of(stage: &'a Stage) -> Result<Self, Failure> {
        let url = format!("http://localhost:{}/", stage.port).parse().map_err(Failure::usage)?;
        let mut kdcs = Kdcs::new();
        kdcs.add(REALM, KdcAddress::parse(&stage.kdc.to_string()));
        Ok(Self { stage, url, kdcs })
    }

    /// Alice with her password and a KDC.
    fn kerberos(&self) -> (ClientPolicy, Initiator) {
        let alice = &self.stage.alice;
        let client = Client::new(Principal::user(alice.name, REALM), LongTerm::Password(alice.password.clone()));
        let credentials = Credentials { krb5: Some(client), ntlm: None };
        self.initiator(Scheme::Negotiate, Mechanism::Kerberos, credentials)
    }

    /// Alice without a KDC.
    fn ntlm(&self, scheme: Scheme, password: &Secret<String>) -> (ClientPolicy, Initiator) {
        let credential = Credential {
            user: self.stage.alice.name.to_owned(),
            domain: String::new(),
            workstation: String::new(),
            nt_hash: nt_hash(password.expose()),
        };
        let client = NtlmClient::new(credential, Some(&format!("HTTP/{}", self.url.host)));
        self.initiator(scheme, Mechanism::Ntlm, Credentials { krb5: None, ntlm: Some(client) })
    }

    fn initiator(&self, scheme: Scheme, mechanism: Mechanism, credentials: Credentials) -> (ClientPolicy, Initiator) {
        let policy = ClientPolicy {
            schemes: vec![scheme],
            preference: Preference::Strongest,
            host_allowed: true,
            host: self.url.authority(),
        };
        let initiator = Initiator::new(InitiatorConfig {
            host: self.url.host.clone(),
            credentials,
            mechanisms: vec![mechanism],
            mutual: true,
            delegation: Delegation::No,
            bindings: ChannelBindings::none(),
            framing: Framing::Spnego,
        });
        (policy, initiator)
    }

    /// Fetches the page, with as many requests as that takes.
    async fn visit(&self, client: Option<&(ClientPolicy, Initiator)>) -> Result<Visit, Failure> {
        let kdc = Told(&self.kdcs);
        let mut exchange = client.map(|(policy, initiator)| Exchange::new(policy, initiator, &kdc, &Os));
        let mut connection = transport::open(&self.url, None).await?;
        let (mut authorization, mut first_token) = (None, None);
        loop {
            let (status, headers) = self.send(&mut connection, authorization.take()).await?;
            let Some(exchange) = &mut exchange else {
                return Ok(Visit { status, conclusion: None, first_token });
            };
            match exchange.next(status, &headers).await {
                Next::Again(name, value) => {
                    first_token.get_or_insert_with(|| value.clone());
                    authorization = Some((name, value));
                }
                Next::Done(conclusion) => return Ok(Visit { status, conclusion: Some(conclusion), first_token }),
            }
        }
    }

    /// Sends a token that was sent before.
    async fn replay(&self, token: Option<&HeaderValue>) -> Result<Visit, Failure> {
        let token = token.ok_or_else(|| Failure::unreachable("there is no token to replay: step (b) sent none"))?;
        let mut connection = transport::open(&self.url, None).await?;
        let (status, _) = self.send(&mut connection, Some((AUTHORIZATION, token.clone()))).await?;
        Ok(Visit { status, conclusion: None, first_token: None })
    }

    /// One request and its answer, printed.
    async fn send(
        &self,
        connection: &mut Transport,
        authorization: Option<(HeaderName, HeaderValue)>,
    ) -> Result<(StatusCode, http::HeaderMap), Failure> {
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = self.url.target.clone();
        let headers = request.headers_mut();
        headers
            .insert(HOST, HeaderValue::try_from(self.url.authority()).map_err(|_| Failure::usage("the host is none"))?);
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("iwa-demo/", env!("CARGO_PKG_VERSION"))));
        headers.insert(ACCEPT, HeaderValue::from_static("text/html"));
        headers.extend(authorization);
        println!("{}", transcript::request(request.method(), "/", Version::HTTP_11, request.headers()));
        let answer = connection.send(request).await?;
        println!("{}", transcript::answer(answer.version(), answer.status(), answer.headers()));
        let (head, body) = answer.into_parts();
        transport::discard(body).await?;
        Ok((head.status, head.headers))
    }
}

/// The KDC, and what is said to it and by it.
struct Told<'a>(&'a Kdcs);

impl Kdc for Told<'_> {
    fn ask<'a>(&'a self, realm: &'a str, request: &'a [u8]) -> Answer<'a, Result<Vec<u8>, String>> {
        Box::pin(async move {
            println!("to the KDC of {realm}:    {}", transcript::token(request).join("\n    | "));
            let answer = self.0.ask(realm, request).await;
            if let Ok(answer) = &answer {
                println!("from the KDC of {realm}:  {}\n", transcript::token(answer).join("\n    | "));
            }
            answer
        })
    }
}
