//! What the tests of both ends have in common.
#![allow(dead_code)]

use iwa_auth::accept::AcceptorConfig;
use iwa_auth::initiate::{Credentials, Framing, Initiator, InitiatorConfig};
use iwa_auth::ntlm::acceptor::{Server as NtlmServer, ServerConfig};
use iwa_auth::ntlm::crypto::nt_hash;
use iwa_auth::ntlm::initiator::{Client as NtlmClient, Credential};
use iwa_auth::{Acceptor, BindingPolicy, ChannelBindings, Mechanism};
use iwa_testkit::accounts::Accounts;
use iwa_testkit::pair::{Client, Pair, Server};
use iwa_wire::spnego::{NegTokenInit, NegTokenResp, NegotiationToken};

/// The host of the tests.
pub const HOST: &str = "web.example.test";

pub fn ntlm_server() -> NtlmServer {
    NtlmServer::new(ServerConfig::standalone("WEB")).expect("the name is short")
}

/// An acceptor of NTLM alone.
pub fn ntlm_acceptor() -> Acceptor {
    Acceptor::new(AcceptorConfig {
        mechanisms: vec![Mechanism::Ntlm],
        krb5: None,
        ntlm: Some(ntlm_server()),
        binding: BindingPolicy::None,
    })
}

pub fn ntlm_client(password: &str) -> NtlmClient {
    let credential = Credential {
        user: "alice".to_owned(),
        domain: String::new(),
        workstation: String::new(),
        nt_hash: nt_hash(password),
    };
    NtlmClient::new(credential, Some("HTTP/web.example.test"))
}

pub fn ntlm_initiator_config(password: &str) -> InitiatorConfig {
    InitiatorConfig {
        host: HOST.to_owned(),
        credentials: Credentials { krb5: None, ntlm: Some(ntlm_client(password)) },
        mechanisms: vec![Mechanism::Ntlm],
        mutual: false,
        delegate: false,
        bindings: ChannelBindings::none(),
        framing: Framing::Spnego,
    }
}

pub fn ntlm_initiator(framing: Framing) -> Initiator {
    Initiator::new(InitiatorConfig { framing, ..ntlm_initiator_config("Password") })
}

/// A server that knows alice.
pub fn server(acceptor: Acceptor) -> Server {
    let mut server = Server::new(acceptor);
    let accounts = Accounts::alice();
    server.logon = Box::new(move |logon| accounts.logon(logon));
    server
}

/// alice and a server of NTLM alone.
pub fn ntlm_pair() -> Pair {
    Pair { client: Client::new(ntlm_initiator(Framing::Spnego)), server: server(ntlm_acceptor()) }
}

pub fn spnego_resp(token: &[u8]) -> NegTokenResp<'_> {
    match NegotiationToken::parse(token) {
        Ok(NegotiationToken::Resp(resp)) => resp,
        other => panic!("no NegTokenResp: {other:?}"),
    }
}

pub fn spnego_init(token: &[u8]) -> NegTokenInit<'_> {
    match NegotiationToken::parse(token) {
        Ok(NegotiationToken::Init(init)) => init,
        other => panic!("no NegTokenInit: {other:?}"),
    }
}
