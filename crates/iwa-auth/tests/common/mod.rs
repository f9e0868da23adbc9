//! What the tests of both ends have in common.
#![allow(dead_code)]

use iwa_auth::accept::AcceptorConfig;
use iwa_auth::initiate::{Credentials, Framing, Initiator, InitiatorConfig};
use iwa_auth::krb5::client::Delegation;
use iwa_auth::ntlm::acceptor::{Server as NtlmServer, ServerConfig};
use iwa_auth::ntlm::crypto::nt_hash;
use iwa_auth::ntlm::initiator::{Client as NtlmClient, Credential};
use iwa_auth::{Acceptor, BindingPolicy, ChannelBindings, Mechanism, Scheme};
use iwa_testkit::accounts::Accounts;
use iwa_testkit::kdc::{HOST, Realm};
use iwa_testkit::pair::{Client, Outcome, Pair, Server, Way};
use iwa_wire::gss::MechType;
use iwa_wire::spnego::{MechTypeList, NegTokenInit, NegTokenResp, NegotiationToken};

/// How the server calls alice.
pub(crate) const ALICE: &str = "EXAMPLE\\alice";

pub(crate) fn ntlm_server() -> NtlmServer {
    NtlmServer::new(ServerConfig::standalone("WEB")).expect("the name is short")
}

/// An acceptor on which these mechanisms are on.
pub(crate) fn acceptor(mechanisms: &[Mechanism]) -> Acceptor {
    acceptor_with(mechanisms, BindingPolicy::None)
}

pub(crate) fn acceptor_with(mechanisms: &[Mechanism], binding: BindingPolicy) -> Acceptor {
    Acceptor::new(AcceptorConfig {
        mechanisms: mechanisms.to_vec(),
        krb5: Some(Realm::default().service()),
        ntlm: Some(ntlm_server()),
        binding,
    })
}

pub(crate) fn ntlm_config(password: &str) -> InitiatorConfig {
    let credential = Credential {
        user: "alice".to_owned(),
        domain: String::new(),
        workstation: String::new(),
        nt_hash: nt_hash(password),
    };
    let ntlm = Some(NtlmClient::new(credential, Some("HTTP/web.example.test")));
    InitiatorConfig {
        host: HOST.to_owned(),
        credentials: Credentials { krb5: None, ntlm },
        mechanisms: vec![Mechanism::Ntlm],
        mutual: false,
        delegation: Delegation::No,
        bindings: ChannelBindings::none(),
        framing: Framing::Spnego,
    }
}

pub(crate) fn initiator(config: InitiatorConfig) -> Initiator {
    Initiator::new(config)
}

pub(crate) fn ntlm_initiator(framing: Framing) -> Initiator {
    initiator(InitiatorConfig { framing, ..ntlm_config("Password") })
}

/// A server that knows alice.
pub(crate) fn server(acceptor: Acceptor) -> Server {
    let mut server = Server::new(acceptor);
    let accounts = Accounts::alice();
    server.logon = Box::new(move |logon| accounts.logon(logon));
    server
}

/// alice and a server of NTLM alone.
pub(crate) fn ntlm_pair() -> Pair {
    Pair { client: Client::new(ntlm_initiator(Framing::Spnego)), server: server(acceptor(&[Mechanism::Ntlm])) }
}

/// alice with a ticket to be had, and with her password for NTLM behind it.
pub(crate) fn both_config(mechanisms: &[Mechanism]) -> InitiatorConfig {
    let ntlm = ntlm_config("Password");
    let credentials = Credentials { krb5: Some(Realm::default().alice()), ntlm: ntlm.credentials.ntlm };
    InitiatorConfig { credentials, mechanisms: mechanisms.to_vec(), mutual: true, ..ntlm }
}

/// A client whose KDC is this realm.
pub(crate) fn client_of(mut realm: Realm, config: InitiatorConfig) -> Client {
    let mut client = Client::new(Initiator::new(config));
    client.kdc = Box::new(move |name, request| realm.answer(name, request));
    client
}

/// alice with a ticket, and a server of both mechanisms.
pub(crate) fn kerberos_pair() -> Pair {
    kerberos_pair_with(|_| ())
}

pub(crate) fn kerberos_pair_with(change: impl FnOnce(&mut InitiatorConfig)) -> Pair {
    let mut config = both_config(BOTH);
    change(&mut config);
    Pair { client: client_of(Realm::default(), config), server: server(acceptor(BOTH)) }
}

pub(crate) const BOTH: &[Mechanism] = &[Mechanism::Kerberos, Mechanism::Ntlm];

/// alice's raw NTLM messages, for tests that frame them by hand.
pub(crate) struct NtlmHand(Client);

impl NtlmHand {
    pub(crate) fn new() -> Self {
        let mut client = Client::new(ntlm_initiator(Framing::Bare));
        client.scheme = Scheme::Ntlm;
        Self(client)
    }

    pub(crate) fn negotiate(&mut self) -> Vec<u8> {
        self.0.begin().token
    }

    pub(crate) fn respond(&mut self, challenge: &[u8]) -> Vec<u8> {
        self.0.take(challenge).token
    }
}

/// The legs of a handshake that both ends ended well.
pub(crate) fn succeeded(outcome: Outcome) -> Vec<(Way, Vec<u8>)> {
    let legs = outcome.legs.clone();
    drop(outcome.unwrap());
    legs
}

pub(crate) fn spnego_resp(token: &[u8]) -> NegTokenResp<'_> {
    match NegotiationToken::parse(token) {
        Ok(NegotiationToken::Resp(resp)) => resp,
        other => panic!("no NegTokenResp: {other:?}"),
    }
}

pub(crate) fn spnego_init(token: &[u8]) -> NegTokenInit<'_> {
    match NegotiationToken::parse(token) {
        Ok(NegotiationToken::Init(init)) => init,
        other => panic!("no NegTokenInit: {other:?}"),
    }
}

pub(crate) fn wrap_init(mechs: &[MechType<'_>], token: Option<&[u8]>) -> Vec<u8> {
    let (mut list, mut out) = (Vec::new(), Vec::new());
    MechTypeList::write(mechs, &mut list);
    NegTokenInit::new(MechTypeList::parse(&list).expect("it was just written"), token).write(&mut out);
    out
}

pub(crate) fn wrap_resp(resp: NegTokenResp<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    resp.write(&mut out);
    out
}
