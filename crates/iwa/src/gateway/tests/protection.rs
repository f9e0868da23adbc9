//! Extended protection over real connections: the matrix, a test each. RFC 5929 4, MS-NLMP 3.2.5.1.2, RFC 4121 4.1.1.2.
//!
//! Policy x what the client presents x mechanism x where TLS ends. A client presents nothing at all as curl and Firefox do with
//! NTLM (no `MsvAvChannelBindings`) and as everybody without bindings does with Kerberos (whose checksum always has room for
//! them: zeros); zeros together with the word that it knows of bindings is the other cell.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use iwa_auth::BindingPolicy;
use iwa_auth::krb5::etype::Etype;
use iwa_auth::ntlm::crypto::{self, nt_hash};
use iwa_domain::local::{LocalAccounts, Lockout};
use iwa_http::session::Terms;
use iwa_http::{Os, System as _};
use iwa_testkit::mint::Mint;
use iwa_testkit::pair::Seeded;
use iwa_wire::ntlm::{
    Authenticate, AvId, AvPairs, Challenge, Flags, MessageType, Negotiate, Ntlmv2Response, Text, utf16le,
};

use super::sign_in::{accounts, site};
use super::tls::{Pem, over_tls, with_certificates};
use super::{Client, Directory, Server, header};
use crate::config::{Config, Kerberos, Sessions};
use crate::gateway::reload;
use crate::gateway::terminators::Terminator;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Presents {
    Nothing,
    Zeros,
    Wrong,
    Right,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum TlsEnds {
    Here,
    InFront,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum With {
    Kerberos,
    Ntlm,
}

/// What becomes of the client.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Is {
    In,
    /// In, and told of.
    Reported,
    Missing,
    Mismatched,
}

macro_rules! matrix {
    ($($policy:ident $presents:ident => $is:ident as $name:ident;)*) => {$(
        mod $name {
            use super::*;

            #[tokio::test]
            async fn with_kerberos_where_tls_ends_here() {
                cell(BindingPolicy::$policy, Presents::$presents, With::Kerberos, TlsEnds::Here, Is::$is).await;
            }

            #[tokio::test]
            async fn with_kerberos_behind_a_terminator() {
                cell(BindingPolicy::$policy, Presents::$presents, With::Kerberos, TlsEnds::InFront, Is::$is).await;
            }

            #[tokio::test]
            async fn with_ntlm_where_tls_ends_here() {
                cell(BindingPolicy::$policy, Presents::$presents, With::Ntlm, TlsEnds::Here, Is::$is).await;
            }

            #[tokio::test]
            async fn with_ntlm_behind_a_terminator() {
                cell(BindingPolicy::$policy, Presents::$presents, With::Ntlm, TlsEnds::InFront, Is::$is).await;
            }
        }
    )*};
}

matrix! {
    None    Nothing => In         as off_lets_in_who_presents_nothing;
    None    Zeros   => In         as off_lets_in_who_presents_zeros;
    None    Wrong   => In         as off_lets_in_who_presents_wrong_bindings;
    None    Right   => In         as off_lets_in_who_presents_right_bindings;
    Allow   Nothing => In         as allow_lets_in_who_presents_nothing;
    Allow   Zeros   => In         as allow_lets_in_who_presents_zeros;
    Allow   Wrong   => Mismatched as allow_refuses_wrong_bindings;
    Allow   Right   => In         as allow_lets_in_who_presents_right_bindings;
    Report  Nothing => Reported   as report_tells_of_who_presents_nothing;
    Report  Zeros   => Reported   as report_tells_of_who_presents_zeros;
    Report  Wrong   => Mismatched as report_refuses_wrong_bindings;
    Report  Right   => In         as report_says_nothing_of_right_bindings;
    Require Nothing => Missing    as require_refuses_who_presents_nothing;
    Require Zeros   => Missing    as require_refuses_who_presents_zeros;
    Require Wrong   => Mismatched as require_refuses_wrong_bindings;
    Require Right   => In         as require_lets_in_who_presents_right_bindings;
}

async fn cell(policy: BindingPolicy, presents: Presents, with: With, tls_ends: TlsEnds, is: Is) {
    let world = World::new(&format!("{policy:?}-{presents:?}-{with:?}-{tls_ends:?}"), policy, tls_ends).await;
    let (mut client, right) = world.connect().await;
    let head = world.sign_in(&mut client, with, presents, &right).await;
    let last = world.server.told.lines().pop().expect("a request was logged");
    match is {
        Is::In => assert_eq!(last, "200.0 0 -", "{head}"),
        Is::Reported => {
            let mechanism = format!("{with:?}").to_uppercase();
            let wanted = "200.0 0 NO CHANNEL BINDINGS FROM A TEST/1.0 WITH ".to_owned() + &mechanism;
            assert!(last.to_uppercase().starts_with(&wanted), "{last}");
        }
        Is::Missing => assert!(head.starts_with("HTTP/1.1 401 ") && last.ends_with("binding.missing"), "{last}"),
        Is::Mismatched => assert!(head.starts_with("HTTP/1.1 401 ") && last.ends_with("binding.mismatch"), "{last}"),
    }
    world.server.running.stop().await;
}

/// A site for alice, with NTLM and Kerberos.
pub(super) struct World {
    directory: Directory,
    pub(super) server: Server,
    pub(super) own: Pem,
    front: Pem,
    tls_ends: TlsEnds,
    service: iwa_domain::local::KeySet,
}

impl World {
    pub(super) async fn new(name: &str, policy: BindingPolicy, tls_ends: TlsEnds) -> Self {
        let directory = accounts(&format!("protection-{name}"));
        let (own, front) =
            (Pem::write(&directory, "own", &["web.example.test"]), Pem::write(&directory, "front", &["web"]));
        let local = LocalAccounts::open(&directory.0.join("state"), Lockout::default()).expect("accounts");
        let service = local.set_service_keys("HTTP/web.example.test").expect("keys");
        let keytab = directory.0.join("http.keytab");
        let principal = "HTTP/web.example.test@EXAMPLE.TEST".parse().expect("a principal");
        crate::keytab::put(&keytab, &principal, &service.keys, Os.now()).expect("a keytab");
        let server = site(&directory, |config| {
            config.kerberos = Some(Kerberos::with_keytab(keytab));
            config.authentication.token_checking = policy;
            match tls_ends {
                TlsEnds::Here => with_certificates(config, &[&own]),
                TlsEnds::InFront => {
                    config.authentication.terminators = vec![Terminator::File(front.files.certificate.clone())]
                }
            }
        })
        .await;
        let service = service.keys.into_iter().next().expect("a key");
        Self { directory, server, own, front, tls_ends, service }
    }

    /// A connection, and the bindings of the certificate that the client sees.
    async fn connect(&self) -> (Client, [u8; 16]) {
        let seen = match self.tls_ends {
            TlsEnds::Here => &self.own,
            TlsEnds::InFront => &self.front,
        };
        let client = match self.tls_ends {
            TlsEnds::Here => over_tls(&self.server, "web.example.test", &[&self.own]).await.expect("TLS").0,
            TlsEnds::InFront => self.server.connect().await,
        };
        (client, seen.bindings().presented())
    }

    /// The head of the last answer.
    async fn sign_in(&self, client: &mut Client, with: With, presents: Presents, right: &[u8; 16]) -> String {
        let value = match presents {
            Presents::Nothing => None,
            Presents::Zeros => Some([0; 16]),
            Presents::Wrong => Some([9; 16]),
            Presents::Right => Some(*right),
        };
        match with {
            With::Kerberos => {
                let token = self.ap_req(value);
                get(client, "Negotiate", &token).await
            }
            With::Ntlm => {
                let mut negotiate = Vec::new();
                let flags = Flags::UNICODE | Flags::NTLM | Flags::EXTENDED_SESSIONSECURITY;
                Negotiate { flags, ..Negotiate::default() }.write(&mut negotiate).expect("a NEGOTIATE");
                let head = get(client, "NTLM", &negotiate).await;
                let challenge = header(&head, "www-authenticate").and_then(|line| line.strip_prefix("NTLM "));
                let challenge = STANDARD.decode(challenge.expect("a CHALLENGE")).expect("base64");
                get(client, "NTLM", &authenticate(&challenge, value)).await
            }
        }
    }

    pub(super) fn ap_req(&self, bindings: Option<[u8; 16]>) -> Vec<u8> {
        let key = |key: &&iwa_auth::krb5::etype::Key| key.etype() == Etype::Aes256CtsHmacSha1;
        let mint = Mint {
            kvno: Some(self.service.kvno),
            service_key: self.service.keys.iter().find(key).expect("AES").clone(),
            bindings: bindings.unwrap_or_default(),
            says_cbt: bindings.is_some(),
            ..Mint::new(Os.now())
        };
        mint.token(&mut Seeded(7))
    }

    /// One of many tokens without bindings.
    pub(super) fn ap_req_of(&self, number: u64) -> Vec<u8> {
        let key = |key: &&iwa_auth::krb5::etype::Key| key.etype() == Etype::Aes256CtsHmacSha1;
        let service_key = self.service.keys.iter().find(key).expect("AES").clone();
        let mint = Mint { kvno: Some(self.service.kvno), service_key, ..Mint::new(Os.now()) };
        mint.token(&mut Seeded(1000 + number))
    }
}

#[tokio::test]
async fn a_route_that_requires_counts_only_who_is_tied_whatever_the_rest_of_the_site_took() {
    let world = World::new("route", BindingPolicy::Allow, TlsEnds::Here).await;
    let gateway = &world.server.running.gateway;
    let mut config = gateway.site().config.clone();
    config.routes.insert(
        0,
        crate::config::Route {
            path: "/bound".into(),
            rules: vec![crate::gateway::authorize::Rule::allow_all()],
            sign_in: crate::config::SignIn { bound_only: Some(true), ..Default::default() },
            ..Default::default()
        },
    );
    let site = crate::gateway::assemble::site(&config, &gateway.kept, Vec::new(), None).expect("a site");
    gateway.site.store(std::sync::Arc::new(site));
    for with in [With::Kerberos, With::Ntlm] {
        // An identity that the connection has from a token that was tied to nothing.
        let (mut client, right) = world.connect().await;
        assert!(world.sign_in(&mut client, with, Presents::Nothing, &right).await.starts_with("HTTP/1.1 200 "));
        assert!(client.get("/", "").await.0.starts_with("HTTP/1.1 200 "));
        assert!(client.get("/bound", "").await.0.starts_with("HTTP/1.1 401 "), "{with:?}");
        // And from one that was.
        let (mut client, right) = world.connect().await;
        assert!(world.sign_in(&mut client, with, Presents::Right, &right).await.starts_with("HTTP/1.1 200 "));
        assert!(client.get("/bound", "").await.0.starts_with("HTTP/1.1 200 "), "{with:?}");
    }
    // A token that comes to the route itself.
    let (mut client, _) = world.connect().await;
    let token = STANDARD.encode(world.ap_req(None));
    let (head, _) = client.get("/bound", &format!("Authorization: Negotiate {token}\r\n")).await;
    assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
    assert!(world.server.told.lines().last().is_some_and(|line| line.ends_with("binding.missing")));
    assert!(client.get("/", "").await.0.starts_with("HTTP/1.1 401 "), "and nobody is known from it");
    world.server.running.stop().await;
}

impl World {
    /// The same site with sessions, and something else.
    fn with_sessions(&self, terms: Terms, change: impl FnOnce(&mut Config)) {
        let gateway = &self.server.running.gateway;
        let mut config = gateway.site().config.clone();
        config.sessions = Some(Sessions {
            keys: self.directory.0.join("session-keys"),
            revoked: self.directory.0.join("session-keys-revoked"),
            rotate: Sessions::ROTATE,
            return_to: Vec::new(),
        });
        config.routes[0].session = Some(terms);
        change(&mut config);
        let site = crate::gateway::assemble::site(&config, &gateway.kept, Vec::new(), None).expect("a site");
        gateway.site.store(std::sync::Arc::new(site));
    }
}

#[tokio::test]
async fn a_session_that_began_with_a_bound_sign_in_is_of_the_certificate_it_was_bound_to() {
    for with in [With::Kerberos, With::Ntlm] {
        let world = World::new(&format!("session-{with:?}"), BindingPolicy::Require, TlsEnds::Here).await;
        world.with_sessions(Terms::default(), |_| {});
        let (mut client, right) = world.connect().await;
        let head = world.sign_in(&mut client, with, Presents::Right, &right).await;
        let cookie = super::session::cookie(&head).unwrap_or_else(|| panic!("a session: {head}"));
        let cookie = format!("Cookie: {cookie}\r\n");
        let (mut same, _) = world.connect().await;
        assert!(same.get("/", &cookie).await.0.starts_with("HTTP/1.1 200 "), "{with:?}");
        // Whoever ends TLS with another certificate, as one in the middle does, has nothing of the cookie.
        let other = Pem::write(&world.directory, "other", &["web.example.test"]);
        world.with_sessions(Terms::default(), |config| with_certificates(config, &[&other]));
        let (mut elsewhere, _) = over_tls(&world.server, "web.example.test", &[&other]).await.expect("TLS");
        let (head, _) = elsewhere.get("/", &cookie).await;
        assert!(head.starts_with("HTTP/1.1 401 "), "{with:?}: {head}");
        assert!(same.get("/", &cookie).await.0.starts_with("HTTP/1.1 200 "), "the connection with the old one");
        world.server.running.stop().await;
    }
}

#[tokio::test]
async fn a_session_of_a_ticket_ends_no_later_than_the_ticket() {
    let world = World::new("ticket", BindingPolicy::Allow, TlsEnds::Here).await;
    world.with_sessions(Terms { persistent: true, ..Terms::default() }, |_| {});
    let key = |key: &&iwa_auth::krb5::etype::Key| key.etype() == Etype::Aes256CtsHmacSha1;
    let service_key = world.service.keys.iter().find(key).expect("AES").clone();
    // How long a browser keeps what it got for a ticket that ends so much later than now.
    let kept = async |seconds: i64, number: u64| {
        let service_key = service_key.clone();
        let mut mint = Mint { kvno: Some(world.service.kvno), service_key, ..Mint::new(Os.now()) };
        mint.endtime = Os.now().secs() + seconds;
        let (mut client, _) = world.connect().await;
        let head = get(&mut client, "Negotiate", &mint.token(&mut Seeded(number))).await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let line = head.lines().find(|line| line.starts_with("set-cookie: __Host-iwa="))?;
        line.split("Max-Age=").nth(1)?.parse::<i64>().ok()
    };
    assert!(kept(1800, 1).await.is_some_and(|longest| longest <= 1800));
    assert!(kept(20 * 3600, 2).await.is_some_and(|longest| longest == 8 * 3600), "and no later than `lifetime`");
    // A ticket that is over lets its client in while clocks may differ, and nothing lives on.
    assert_eq!(kept(-10, 3).await, None);
    world.server.running.stop().await;
}

async fn get(client: &mut Client, scheme: &str, token: &[u8]) -> String {
    let token = STANDARD.encode(token);
    let headers = format!("User-Agent: a test/1.0\r\nAuthorization: {scheme} {token}\r\n");
    client.get("/", &headers).await.0
}

/// As curl answers a CHALLENGE (no MIC), and with the bindings of the test.
pub(super) fn authenticate(challenge: &[u8], bindings: Option<[u8; 16]>) -> Vec<u8> {
    assert!(challenge.starts_with(b"NTLMSSP\0"), "{:?}", MessageType::Challenge);
    let asked = Challenge::parse(challenge).expect("a CHALLENGE");
    let mut pairs = Vec::new();
    for pair in asked.target_info.iter() {
        assert!(AvPairs::push(&mut pairs, pair.id, pair.value));
    }
    if let Some(bindings) = bindings {
        assert!(AvPairs::push(&mut pairs, AvId::CHANNEL_BINDINGS, &bindings));
    }
    AvPairs::end(&mut pairs);
    let time = asked.target_info.timestamp().expect("a time");
    let mut temp = Vec::new();
    Ntlmv2Response::write_client_challenge(time, &[5; 8], AvPairs::parse(&pairs, 0).expect("pairs"), &mut temp);
    let key = crypto::ntowfv2(&nt_hash("alice-Passw0rd"), "alice", "");
    let proof = crypto::nt_proof_str(&key, &asked.server_challenge, &temp);
    let nt_response = [proof.as_slice(), &temp].concat();
    let user = utf16le("alice");
    let text = |bytes| Text { bytes, unicode: true };
    let message = Authenticate {
        lm_response: &[0; 24],
        nt_response: &nt_response,
        domain: text(&[]),
        user: text(&user),
        workstation: text(&[]),
        encrypted_random_session_key: &[],
        flags: asked.flags,
        version: None,
        mic: None,
    };
    let mut out = Vec::new();
    message.write(&mut out).expect("an AUTHENTICATE");
    out
}

#[tokio::test]
async fn the_bindings_of_a_terminator_that_is_not_named_are_wrong() {
    let world = World::new("not-named", BindingPolicy::Require, TlsEnds::Here).await;
    let (mut client, _) = world.connect().await;
    let front = world.front.bindings().presented();
    for with in [With::Kerberos, With::Ntlm] {
        assert!(world.sign_in(&mut client, with, Presents::Right, &front).await.starts_with("HTTP/1.1 401 "));
        assert!(world.server.told.lines().last().is_some_and(|line| line.ends_with("binding.mismatch")));
    }
    world.server.running.stop().await;
}

#[tokio::test]
async fn without_tls_and_without_a_terminator_require_lets_nobody_in() {
    let world = World::new("clear", BindingPolicy::Require, TlsEnds::Here).await;
    // The same site's clear address.
    let own = world.own.bindings().presented();
    for (with, presents) in
        [(With::Kerberos, Presents::Right), (With::Ntlm, Presents::Right), (With::Ntlm, Presents::Nothing)]
    {
        let mut client = world.server.connect().await;
        assert!(world.sign_in(&mut client, with, presents, &own).await.starts_with("HTTP/1.1 401 "), "{with:?}");
    }
    world.server.running.stop().await;
}

#[tokio::test]
async fn a_terminators_new_certificate_is_taken_while_it_keeps_its_connections() {
    let world = World::new("renewed", BindingPolicy::Require, TlsEnds::InFront).await;
    let gateway = &world.server.running.gateway;
    let (mut client, old) = world.connect().await;
    let new = Pem::write(&world.directory, "new", &["web"]);
    let right = new.bindings().presented();
    let file = &world.front.files.certificate;
    assert!(world.sign_in(&mut client, With::Ntlm, Presents::Right, &old).await.starts_with("HTTP/1.1 200 "));
    assert!(world.sign_in(&mut client, With::Ntlm, Presents::Right, &right).await.starts_with("HTTP/1.1 401 "));

    // Both for a while.
    std::fs::write(file, world.front.certificate.clone() + &new.certificate).expect("written");
    reload::certificates(gateway).expect("two certificates");
    for right in [&old, &right] {
        assert!(world.sign_in(&mut client, With::Ntlm, Presents::Right, right).await.starts_with("HTTP/1.1 200 "));
    }
    std::fs::write(file, "damaged").expect("written");
    assert!(reload::certificates(gateway).is_err());
    assert!(reload::certificates(gateway).is_ok(), "it is told once");
    assert!(world.sign_in(&mut client, With::Ntlm, Presents::Right, &old).await.starts_with("HTTP/1.1 200 "));

    std::fs::write(file, &new.certificate).expect("written");
    reload::certificates(gateway).expect("the new one alone");
    assert!(world.sign_in(&mut client, With::Ntlm, Presents::Right, &right).await.starts_with("HTTP/1.1 200 "));
    assert!(world.sign_in(&mut client, With::Ntlm, Presents::Right, &old).await.starts_with("HTTP/1.1 401 "));
    reload::keys(gateway).expect("nothing changed");
    world.server.running.stop().await;
}

#[tokio::test]
async fn a_connection_keeps_the_bindings_of_the_certificate_it_was_made_with() {
    let world = World::new("swapped", BindingPolicy::Require, TlsEnds::Here).await;
    let (mut old, before) = world.connect().await;
    let new = Pem::generate(&["web.example.test"]);
    new.put(&world.own.files);
    reload::certificates(&world.server.running.gateway).expect("a good pair");
    let (mut young, _) = over_tls(&world.server, "web.example.test", &[&new]).await.expect("TLS with the new one");
    let after = new.bindings().presented();
    for with in [With::Kerberos, With::Ntlm] {
        assert!(world.sign_in(&mut old, with, Presents::Right, &before).await.starts_with("HTTP/1.1 200 "));
        assert!(world.sign_in(&mut old, with, Presents::Right, &after).await.starts_with("HTTP/1.1 401 "));
        assert!(world.sign_in(&mut young, with, Presents::Right, &after).await.starts_with("HTTP/1.1 200 "));
        assert!(world.sign_in(&mut young, with, Presents::Right, &before).await.starts_with("HTTP/1.1 401 "));
    }
    world.server.running.stop().await;
}
