//! A directory server on loopback that does what it is told: well, or badly.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use iwa_auth::env::EntropyError;
use iwa_auth::krb5::acceptor::Service;
use iwa_auth::krb5::sasl::Layer;
use iwa_auth::krb5::wrap::Wrap;
use iwa_auth::ports::{Answer, Kdc, ReplayVerdict};
use iwa_auth::{BindingPolicy, ChannelBindings, Entropy, Env, UnixTime};
use iwa_domain::controller::{Controller, Controllers, Ports};
use iwa_domain::ldap::{Filter, ResultCode, Server};
use iwa_testkit::kdc::Realm;
use iwa_wire::krb5::SequenceOf;
use iwa_wire::ldap::control::{PAGED_RESULTS, PagedResults};
use iwa_wire::ldap::extended::{NOTICE_OF_DISCONNECTION, START_TLS, WHO_AM_I};
use iwa_wire::ldap::{
    Attribute, Authentication, BindResponse, Control, ExtendedResponse, LdapResult, Message, Octets, Op,
    SearchResultEntry,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

pub(crate) const HOST: &str = "dc1.example.test";
pub(crate) const PASSWORD: &str = "Alice-Pw1";

/// What the server does at a search, beside or instead of answering.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum AtSearch {
    #[default]
    Answer,
    Hang,
    Close,
    CloseInTheMiddle,
    Oversized,
    OversizedFrame,
    Garbage,
    Result(u32),
    Refer,
    OtherId,
    Notice,
    Tamper,
    Repeat,
    SignOnly,
    InClear,
    Endless,
    OtherOperation,
}

/// How the server is.
#[derive(Clone)]
pub(crate) struct Mood {
    pub(crate) at_search: AtSearch,
    /// The SASL layers it offers.
    pub(crate) offer: u8,
    /// It says that the bind succeeded instead of answering the AP-REQ.
    pub(crate) done_too_early: bool,
    /// It says that the bind succeeded instead of offering layers.
    pub(crate) done_without_offer: bool,
    /// It changes a byte of its AP-REP.
    pub(crate) false_ap_rep: bool,
    /// Something in clear stands behind its last answer to the bind.
    pub(crate) after_bind: bool,
    /// StartTLS is refused.
    pub(crate) strips_tls: bool,
    /// Something in clear stands behind the answer to StartTLS.
    pub(crate) after_start_tls: bool,
    /// A simple bind is answered so.
    pub(crate) bind_result: (u32, &'static str),
    /// How many entries there are to be found for `(objectClass=*)`.
    pub(crate) entries: usize,
    pub(crate) bindings: BindingPolicy,
    /// What every search finds, if there is anything: `sAMAccountName`, and `objectSid` or `tokenGroups`.
    pub(crate) found: Vec<(&'static str, Vec<u8>)>,
    /// After so many searches, a connection closes at the next; 0: never.
    pub(crate) closes_after: usize,
}

impl Default for Mood {
    fn default() -> Self {
        Self {
            at_search: AtSearch::Answer,
            offer: 7,
            done_too_early: false,
            done_without_offer: false,
            false_ap_rep: false,
            after_bind: false,
            strips_tls: false,
            after_start_tls: false,
            bind_result: (0, ""),
            entries: 3,
            bindings: BindingPolicy::Allow,
            found: Vec::new(),
            closes_after: 0,
        }
    }
}

/// What everybody in a test sees of the server.
pub(crate) struct Seen {
    pub(crate) connections: AtomicUsize,
    /// The requests, by name.
    pub(crate) requests: Mutex<Vec<String>>,
    /// Every byte that came over TCP in clear.
    pub(crate) clear: Mutex<Vec<u8>>,
}

pub(crate) struct Fake {
    pub(crate) port: u16,
    pub(crate) tls_port: u16,
    pub(crate) mood: Arc<Mutex<Mood>>,
    pub(crate) seen: Arc<Seen>,
    /// The certificate, in PEM.
    pub(crate) certificate: String,
    realm: Arc<Mutex<Realm>>,
}

pub(crate) struct Random;

impl Entropy for Random {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        getrandom::fill(out).map_err(|_| EntropyError)
    }
}

pub(crate) fn now() -> UnixTime {
    UnixTime::from_micros(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros() as u64)
}

/// The KDC of the realm, in memory.
pub(crate) struct InMemory(Arc<Mutex<Realm>>);

impl Kdc for InMemory {
    fn ask<'a>(&'a self, realm: &'a str, request: &'a [u8]) -> Answer<'a, Result<Vec<u8>, String>> {
        Box::pin(async move {
            let mut held = self.0.lock().unwrap();
            *held = held.clone().at(now());
            held.answer(realm, request)
        })
    }
}

impl Fake {
    pub(crate) async fn new(mood: Mood) -> Self {
        Self::with_certificate_for(HOST, mood).await
    }

    pub(crate) async fn with_certificate_for(name: &str, mood: Mood) -> Self {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let own = ChannelBindings::of_certificate(made.cert.der()).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (clear, tls) = (listener().await, listener().await);
        let (port, tls_port) = (clear.local_addr().unwrap().port(), tls.local_addr().unwrap().port());
        let seen =
            Arc::new(Seen { connections: AtomicUsize::new(0), requests: Mutex::default(), clear: Mutex::default() });
        let mood = Arc::new(Mutex::new(mood));
        let realm = Realm::default().of_service("ldap", HOST).at(now());
        let service = Arc::new(realm.service());
        let stage = Stage { mood: Arc::clone(&mood), seen: Arc::clone(&seen), acceptor, own, service };
        for (listener, is_tls) in [(clear, false), (tls, true)] {
            let stage = stage.clone();
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    stage.seen.connections.fetch_add(1, Ordering::SeqCst);
                    tokio::spawn(stage.clone().serve(stream, is_tls));
                }
            });
        }
        Self { port, tls_port, mood, seen, certificate: made.cert.pem(), realm: Arc::new(Mutex::new(realm)) }
    }

    pub(crate) fn kdc(&self) -> Arc<InMemory> {
        Arc::new(InMemory(Arc::clone(&self.realm)))
    }

    pub(crate) fn alice(&self) -> iwa_auth::krb5::client::Client {
        self.realm.lock().unwrap().alice()
    }

    pub(crate) fn server(&self) -> Server {
        Server { host: HOST.to_owned(), addresses: vec![Ipv4Addr::LOCALHOST.into()], port: self.port }
    }

    pub(crate) fn controller(&self) -> Controller {
        let ports = Ports { ldap: self.port, ldaps: self.tls_port, ..Ports::default() };
        Controller { host: HOST.to_owned(), addresses: vec![Ipv4Addr::LOCALHOST.into()], ports }
    }

    pub(crate) fn set(&self, change: impl FnOnce(&mut Mood)) {
        change(&mut self.mood.lock().unwrap());
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.seen.requests.lock().unwrap().clone()
    }
}

/// Controllers that remember what was said of them.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) list: Arc<[Controller]>,
    pub(crate) said: Mutex<Vec<String>>,
}

impl Watched {
    pub(crate) fn new(list: Vec<Controller>) -> Arc<Self> {
        Arc::new(Self { list: list.into(), said: Mutex::default() })
    }
}

impl Controllers for Watched {
    fn list<'a>(&'a self) -> Answer<'a, Result<Arc<[Controller]>, String>> {
        Box::pin(async { Ok(Arc::clone(&self.list)) })
    }

    fn failed(&self, host: &str, why: &str) {
        self.said.lock().unwrap().push(format!("failed {host}: {why}"));
    }

    fn worked(&self, host: &str) {
        self.said.lock().unwrap().push(format!("worked {host}"));
    }
}

pub(crate) async fn listener() -> TcpListener {
    TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap()
}

#[derive(Clone)]
struct Stage {
    mood: Arc<Mutex<Mood>>,
    seen: Arc<Seen>,
    acceptor: TlsAcceptor,
    own: ChannelBindings,
    service: Arc<Service>,
}

trait Both: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Both for T {}

/// One connection, as the server has it.
struct Peer {
    io: Box<dyn Both>,
    layer: Option<Layer>,
    plain: Vec<u8>,
    is_tls: bool,
}

impl Stage {
    async fn serve(self, stream: TcpStream, is_tls: bool) -> Option<()> {
        let mood = self.mood.lock().unwrap().clone();
        if is_tls {
            let io = Box::new(self.acceptor.clone().accept(stream).await.ok()?);
            return self.talk(Peer { io, layer: None, plain: Vec::new(), is_tls }, &mood).await;
        }
        // StartTLS comes first or not at all.
        let mut stream = stream;
        let mut first = Vec::new();
        while Message::length(&first, 1 << 20).ok()?.is_none_or(|length| first.len() < length) {
            if stream.read_buf(&mut first).await.ok()? == 0 {
                return None;
            }
        }
        self.seen.clear.lock().unwrap().extend_from_slice(&first);
        let message = Message::parse(&first).ok()?;
        if matches!(&message.op, Op::ExtendedRequest(request) if request.name == START_TLS) {
            self.seen.requests.lock().unwrap().push("StartTLS".to_owned());
            let code = if mood.strips_tls { ResultCode::PROTOCOL_ERROR } else { ResultCode::SUCCESS };
            let response = ExtendedResponse { result: LdapResult::of(code), name: None, value: None };
            let mut out = Vec::new();
            Message::new(message.id, Op::ExtendedResponse(response)).write(&mut out);
            if mood.after_start_tls {
                let bound = BindResponse { result: LdapResult::of(ResultCode::SUCCESS), server_sasl_creds: None };
                Message::new(2, Op::BindResponse(bound)).write(&mut out);
            }
            stream.write_all(&out).await.ok()?;
            if mood.strips_tls {
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest).await;
                self.seen.clear.lock().unwrap().extend_from_slice(&rest);
                return None;
            }
            let io = Box::new(self.acceptor.clone().accept(stream).await.ok()?);
            return self.talk(Peer { io, layer: None, plain: Vec::new(), is_tls: true }, &mood).await;
        }
        self.talk(Peer { io: Box::new(stream), layer: None, plain: first, is_tls }, &mood).await
    }

    async fn talk(self, mut peer: Peer, mood: &Mood) -> Option<()> {
        let mut wrap: Option<Wrap> = None;
        let (mut step, mut searches) = (0, 0);
        loop {
            let bytes = peer.read().await?;
            if peer.layer.is_none() && !peer.is_tls {
                self.seen.clear.lock().unwrap().extend_from_slice(&bytes);
            }
            let Message { id, op, controls } = Message::parse(&bytes).ok()?;
            self.seen.requests.lock().unwrap().push(op.name().to_owned());
            let bound = |code: u32, creds| {
                let result = LdapResult::of(ResultCode(code));
                Message::new(id, Op::BindResponse(BindResponse { result, server_sasl_creds: creds }))
            };
            match op {
                Op::BindRequest(bind) => match bind.authentication {
                    Authentication::Simple(_) => {
                        let (code, text) = mood.bind_result;
                        let result =
                            LdapResult { diagnostic: Octets(text.as_bytes()), ..LdapResult::of(ResultCode(code)) };
                        let response = BindResponse { result, server_sasl_creds: None };
                        peer.write(&Message::new(id, Op::BindResponse(response))).await?;
                    }
                    Authentication::Sasl { credentials, .. } => {
                        let token = credentials.unwrap_or_default();
                        step += 1;
                        match step {
                            1 if mood.done_too_early => peer.write(&bound(0, None)).await?,
                            1 => {
                                let (answer, made) = self.accept(token, mood, peer.is_tls);
                                wrap = made;
                                match &wrap {
                                    Some(_) => peer.write(&bound(14, Some(&answer))).await?,
                                    None => peer.write(&bound(49, Some(&answer))).await?,
                                }
                            }
                            2 if mood.done_without_offer => peer.write(&bound(0, None)).await?,
                            2 => {
                                let mut offer = Vec::new();
                                wrap.as_mut()?.sign(&[mood.offer, 0, 0xff, 0xff], &mut offer);
                                peer.write(&bound(14, Some(&offer))).await?;
                            }
                            _ => {
                                let mut choice = token.to_vec();
                                let range = wrap.as_mut()?.unwrap(&mut choice).ok()?.message;
                                let sealed = choice.get(range)?.first() == Some(&4);
                                let mut out = Vec::new();
                                bound(0, None).write(&mut out);
                                if mood.after_bind {
                                    done(id + 1, ResultCode::SUCCESS, &[], &mut out);
                                }
                                peer.io.write_all(&out).await.ok()?;
                                if sealed {
                                    peer.layer = Some(Layer::new(wrap.take()?, 0xff_ffff));
                                }
                            }
                        }
                    }
                    Authentication::Other(..) => return None,
                },
                Op::SearchRequest(search) => {
                    searches += 1;
                    if mood.closes_after != 0 && searches > mood.closes_after {
                        return None;
                    }
                    let cookie = controls.iter().find(|control| control.oid == PAGED_RESULTS).and_then(|c| c.value);
                    let page = cookie.map(|value| PagedResults::parse(value).unwrap());
                    self.search(&mut peer, mood, id, &search.filter, page).await?;
                }
                Op::AddRequest(_) => {
                    peer.write(&Message::new(id, Op::AddResponse(LdapResult::of(ResultCode::ENTRY_ALREADY_EXISTS))))
                        .await?
                }
                Op::ModifyRequest(_) => {
                    peer.write(&Message::new(id, Op::ModifyResponse(LdapResult::of(ResultCode::SUCCESS)))).await?
                }
                Op::DelRequest(_) => {
                    peer.write(&Message::new(id, Op::DelResponse(LdapResult::of(ResultCode::SUCCESS)))).await?
                }
                Op::ExtendedRequest(request) if request.name == WHO_AM_I => {
                    let result = LdapResult::of(ResultCode::SUCCESS);
                    let response = ExtendedResponse { result, name: None, value: Some(b"u:EXAMPLE\\alice") };
                    peer.write(&Message::new(id, Op::ExtendedResponse(response))).await?;
                }
                _ => return None,
            }
        }
    }

    /// The AP-REP and the context's wrapping, or a KRB-ERROR.
    fn accept(&self, token: &[u8], mood: &Mood, is_tls: bool) -> (Vec<u8>, Option<Wrap>) {
        let mut out = Vec::new();
        let mut random = Random;
        let mut env = Env { now: now(), entropy: &mut random };
        let bindings = if is_tls { self.own.clone() } else { ChannelBindings::none() };
        let Ok(pending) = self.service.accept(token, &bindings, mood.bindings, &mut env, &mut out) else {
            return (out, None);
        };
        let context = pending.finish(ReplayVerdict::Fresh, &mut env, &mut out).unwrap();
        if mood.false_ap_rep {
            *out.last_mut().unwrap() ^= 1;
        }
        (out, context.wrap())
    }

    async fn search(
        &self,
        peer: &mut Peer,
        mood: &Mood,
        id: u32,
        filter: &Filter,
        page: Option<PagedResults<'_>>,
    ) -> Option<()> {
        let mut out = Vec::new();
        let entry = |id, number: usize, out: &mut Vec<u8>| {
            let name = format!("entry {number}");
            let values = [Octets(name.as_bytes())];
            let attributes = [Attribute { name: "cn", values: SequenceOf::of(&values) }];
            let dn = format!("CN={name},DC=example,DC=test");
            let entry = SearchResultEntry { dn: &dn, attributes: SequenceOf::of(&attributes) };
            Message::new(id, Op::SearchResultEntry(entry)).write(out);
        };
        // Whatever is asked for by a value is not there: what stands in the value finds nothing.
        let all = if *filter == Filter::any_entry() { mood.entries } else { 0 };
        match mood.at_search {
            AtSearch::Hang => {
                std::future::pending::<()>().await;
            }
            AtSearch::Close => return None,
            AtSearch::CloseInTheMiddle => {
                entry(id, 0, &mut out);
                out.truncate(out.len() - 3);
                peer.send(&out).await?;
                return None;
            }
            AtSearch::Oversized => return peer.send(&[0x30, 0x84, 0x7f, 0xff, 0xff, 0xff, 2, 1, 1]).await,
            AtSearch::OversizedFrame => peer.io.write_all(&[0x7f, 0xff, 0xff, 0xff, 5, 4]).await.ok()?,
            AtSearch::Garbage => return peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n").await,
            AtSearch::Result(code) => done(id, ResultCode(code), &[], &mut out),
            AtSearch::Refer => {
                let uris = [Octets(b"ldap://elsewhere.example.test/DC=example,DC=test")];
                Message::new(id, Op::SearchResultReference(SequenceOf::of(&uris))).write(&mut out);
                entry(id, 0, &mut out);
                done(id, ResultCode::SUCCESS, &[], &mut out);
            }
            AtSearch::OtherId => {
                entry(id + 7, 0, &mut out);
                done(id + 7, ResultCode::SUCCESS, &[], &mut out);
            }
            AtSearch::OtherOperation => {
                let result = LdapResult::of(ResultCode::SUCCESS);
                Message::new(id, Op::ModifyResponse(result)).write(&mut out);
            }
            AtSearch::Notice => {
                let result = LdapResult::of(ResultCode::UNAVAILABLE);
                let notice = ExtendedResponse { result, name: Some(NOTICE_OF_DISCONNECTION), value: None };
                Message::new(0, Op::ExtendedResponse(notice)).write(&mut out);
            }
            AtSearch::Endless => loop {
                out.clear();
                entry(id, 0, &mut out);
                peer.send(&out).await?;
            },
            AtSearch::Tamper | AtSearch::Repeat | AtSearch::SignOnly | AtSearch::InClear => {
                done(id, ResultCode::SUCCESS, &[], &mut out);
                let mut sealed = Vec::new();
                peer.layer.as_mut()?.seal(&out, &mut Random, &mut sealed).ok()?;
                match mood.at_search {
                    AtSearch::Tamper => *sealed.last_mut()? ^= 1,
                    AtSearch::Repeat => {
                        peer.io.write_all(&sealed).await.ok()?;
                        // The answer to the next search is the one before.
                        let _ = peer.read().await?;
                    }
                    // Not sealed at all, in a frame's shape; and as it is.
                    AtSearch::SignOnly => {
                        sealed = (out.len() as u32).to_be_bytes().to_vec();
                        sealed.extend_from_slice(&out);
                    }
                    _ => sealed = out.clone(),
                }
                peer.io.write_all(&sealed).await.ok()?;
                return Some(());
            }
            AtSearch::Answer if !mood.found.is_empty() => {
                for (name, sid) in &mood.found {
                    let (names, sids) = ([Octets(name.as_bytes())], [Octets(sid)]);
                    let attribute = |name, values| Attribute { name, values: SequenceOf::of(values) };
                    let sids = if sid.is_empty() { &[][..] } else { &sids };
                    let attributes = [
                        attribute("sAMAccountName", &names),
                        attribute("objectSid", sids),
                        attribute("tokenGroups", sids),
                    ];
                    let dn = format!("CN={name},DC=example,DC=test");
                    let entry = SearchResultEntry { dn: &dn, attributes: SequenceOf::of(&attributes) };
                    Message::new(id, Op::SearchResultEntry(entry)).write(&mut out);
                }
                done(id, ResultCode::SUCCESS, &[], &mut out);
            }
            AtSearch::Answer => {
                let start: usize =
                    page.map_or(0, |page| std::str::from_utf8(page.cookie).unwrap().parse().unwrap_or(0));
                let end = page.map_or(all, |page| all.min(start + page.size as usize));
                (start..end).for_each(|number| entry(id, number, &mut out));
                let next = if end < all { end.to_string() } else { String::new() };
                let mut value = Vec::new();
                PagedResults { size: 0, cookie: next.as_bytes() }.write(&mut value);
                let controls = [Control { oid: PAGED_RESULTS, critical: false, value: Some(&value) }];
                done(id, ResultCode::SUCCESS, if page.is_some() { &controls } else { &[] }, &mut out);
            }
        }
        peer.send(&out).await
    }
}

fn done(id: u32, code: ResultCode, controls: &[Control<'_>], out: &mut Vec<u8>) {
    let op = Op::SearchResultDone(LdapResult::of(code));
    Message { id, op, controls: SequenceOf::of(controls) }.write(out);
}

impl Peer {
    async fn write(&mut self, message: &Message<'_>) -> Option<()> {
        let mut out = Vec::new();
        message.write(&mut out);
        self.send(&out).await
    }

    async fn send(&mut self, bytes: &[u8]) -> Option<()> {
        match &mut self.layer {
            None => self.io.write_all(bytes).await.ok()?,
            Some(layer) => {
                let mut out = Vec::new();
                layer.seal(bytes, &mut Random, &mut out).ok()?;
                self.io.write_all(&out).await.ok()?;
            }
        }
        self.io.flush().await.ok()
    }

    async fn read(&mut self) -> Option<Vec<u8>> {
        loop {
            match Message::length(&self.plain, 1 << 20).ok()? {
                Some(length) if self.plain.len() >= length => {
                    let rest = self.plain.split_off(length);
                    return Some(std::mem::replace(&mut self.plain, rest));
                }
                _ => {}
            }
            match &mut self.layer {
                None => {
                    if self.io.read_buf(&mut self.plain).await.ok()? == 0 {
                        return None;
                    }
                }
                Some(layer) => {
                    let mut head = [0; 4];
                    self.io.read_exact(&mut head).await.ok()?;
                    let mut frame = vec![0; Layer::frame(head).ok()?];
                    self.io.read_exact(&mut frame).await.ok()?;
                    self.plain.extend_from_slice(layer.unseal(&mut frame).ok()?);
                }
            }
        }
    }
}
