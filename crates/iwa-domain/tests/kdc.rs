//! The KDC on the network, over the local accounts: the transport's own behaviour, and MIT's and Heimdal's clients against it.
#![allow(clippy::unwrap_used)]

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use iwa_auth::Secret;
use iwa_auth::krb5::issuer::{Kdc, KdcPolicy};
use iwa_domain::kdc_server::{KdcServer, Limits, krb5_conf};
use iwa_domain::local::{LocalAccounts, Lockout, NewUser, UserChange};
use iwa_testkit::left_out;
use iwa_wire::krb5::error::code;
use iwa_wire::krb5::kdc::{Exchange, KdcReqBody};
use iwa_wire::krb5::{KdcReq, KerberosTime, KrbError, Principal, SequenceOf};
use tokio::runtime::Runtime;

const REALM: &str = "EXAMPLE.TEST";
const PASSWORD: &str = "Alice-Pw1 ü";

/// A state directory, a KDC for it, and what a Kerberos program needs to find it.
struct World {
    dir: PathBuf,
    accounts: LocalAccounts,
    runtime: Runtime,
    server: Option<KdcServer>,
}

impl World {
    fn start() -> Self {
        Self::with(KdcPolicy::default(), Limits::default())
    }

    fn with(policy: KdcPolicy, limits: Limits) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("iwa-kdc-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (accounts, _) =
            LocalAccounts::open_or_create(&dir.join("state"), "SRV", REALM, Lockout::default()).unwrap();
        accounts
            .add_user(&NewUser {
                name: "Alice",
                display_name: "Alice Example",
                upn: None,
                password: &Secret::new(PASSWORD.to_owned()),
                must_change: false,
                expires: None,
            })
            .unwrap();
        accounts.add_group("Staff", "").unwrap();
        accounts.add_member("Staff", "Alice").unwrap();
        accounts.set_service_keys("HTTP/localhost").unwrap();
        let runtime = Runtime::new().unwrap();
        let db = Arc::new(accounts.clone());
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = runtime.block_on(KdcServer::start(any, Kdc::new(REALM, policy), db, limits)).unwrap();
        std::fs::write(dir.join("krb5.conf"), krb5_conf(REALM, server.address(), &["localhost"])).unwrap();
        Self { dir, accounts, runtime, server: Some(server) }
    }

    fn address(&self) -> SocketAddr {
        self.server.as_ref().unwrap().address()
    }

    fn stop(&mut self) {
        let server = self.server.take().unwrap();
        self.runtime.block_on(server.stop());
    }

    /// Runs a program that sees this realm and a credential cache of its own.
    fn run(&self, program: &Program, arguments: &[&str], stdin: &str) -> Output {
        let mut command = Command::new(&program.path);
        if let Some(libraries) = &program.libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        let mut child = command
            .args(arguments)
            .env("KRB5_CONFIG", self.dir.join("krb5.conf"))
            .env("KRB5CCNAME", format!("FILE:{}", self.dir.join(program.cache).display()))
            .env("HOME", &self.dir)
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        child.wait_with_output().unwrap()
    }

    fn good(&self, program: &Program, arguments: &[&str], stdin: &str) -> String {
        let output = self.run(program, arguments, stdin);
        let shown = text(&output);
        assert!(output.status.success(), "{} {arguments:?}: {shown}", program.path.display());
        shown
    }

    fn bad(&self, program: &Program, arguments: &[&str], stdin: &str) -> String {
        let output = self.run(program, arguments, stdin);
        let shown = text(&output);
        assert!(!output.status.success(), "{} {arguments:?}: {shown}", program.path.display());
        shown
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A Kerberos program that is installed.
struct Program {
    path: PathBuf,
    libraries: Option<PathBuf>,
    cache: &'static str,
}

fn mit(name: &str) -> Option<Program> {
    let path = Path::new("/usr/bin").join(name);
    if !path.exists() {
        left_out("MIT's client against the KDC", "krb5-user is not installed");
        return None;
    }
    Some(Program { path, libraries: None, cache: "mit.ccache" })
}

/// Unpacked beside MIT's, because the packages exclude each other.
fn heimdal(name: &str) -> Option<Program> {
    let given = std::env::var_os("IWA_INTEROP").map(PathBuf::from);
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/interop");
    let root = given.unwrap_or(built).join("heimdal/usr");
    let path = root.join("bin").join(name);
    if !path.exists() {
        left_out("Heimdal's client against the KDC", "heimdal-clients is not unpacked in target/interop/heimdal");
        return None;
    }
    Some(Program { path, libraries: Some(root.join("lib/x86_64-linux-gnu")), cache: "heimdal.ccache" })
}

/// An AS-REQ of alice without pre-authentication.
fn as_req() -> Vec<u8> {
    let (client, krbtgt) = (Principal::user("alice", REALM), Principal::krbtgt(REALM, REALM));
    let mut request = Vec::new();
    KdcReq {
        exchange: Exchange::As,
        padata: None,
        req_body: KdcReqBody {
            kdc_options: 0,
            cname: Some(client.name()),
            realm: REALM.into(),
            sname: Some(krbtgt.name()),
            from: None,
            till: KerberosTime(0),
            rtime: None,
            nonce: 1,
            etypes: SequenceOf::of(&[18]),
            addresses: None,
            enc_authorization_data: None,
            additional_tickets: None,
            raw: &[],
        },
    }
    .write(&mut request);
    request
}

fn framed(request: &[u8]) -> Vec<u8> {
    [&u32::try_from(request.len()).unwrap().to_be_bytes()[..], request].concat()
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

fn error_of(stream: &mut TcpStream) -> i32 {
    let mut head = [0; 4];
    stream.read_exact(&mut head).unwrap();
    let mut reply = vec![0; u32::from_be_bytes(head) as usize];
    stream.read_exact(&mut reply).unwrap();
    KrbError::parse(&reply).unwrap().error_code
}

#[test]
fn one_port_answers_udp_and_tcp() {
    let world = World::start();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // What is not a request is not answered; the next datagram is.
    socket.send_to(b"hello", world.address()).unwrap();
    socket.send_to(&as_req(), world.address()).unwrap();
    let mut reply = [0; 2048];
    let (length, _) = socket.recv_from(&mut reply).unwrap();
    assert_eq!(KrbError::parse(&reply[..length]).unwrap().error_code, code::KDC_ERR_PREAUTH_REQUIRED);

    let mut stream = connect(world.address());
    for _ in 0..3 {
        // In pieces, as a slow network brings it.
        for piece in framed(&as_req()).chunks(7) {
            stream.write_all(piece).unwrap();
        }
        assert_eq!(error_of(&mut stream), code::KDC_ERR_PREAUTH_REQUIRED);
    }
}

#[test]
fn a_request_that_is_too_long_is_refused_before_it_is_read() {
    let world = World::start();
    for length in [200_000u32, 0x8000_0010, u32::MAX] {
        let mut stream = connect(world.address());
        stream.write_all(&length.to_be_bytes()).unwrap();
        assert_eq!(error_of(&mut stream), code::KRB_ERR_FIELD_TOOLONG);
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "closed");
    }
}

#[test]
fn connections_in_excess_silent_or_without_sense_are_closed() {
    let limits = Limits { connections: 2, idle: Duration::from_millis(300), ..Limits::default() };
    let world = World::with(KdcPolicy::default(), limits);
    let mut first = connect(world.address());
    let mut second = connect(world.address());
    second.write_all(&framed(&as_req())).unwrap();
    assert_eq!(error_of(&mut second), code::KDC_ERR_PREAUTH_REQUIRED);
    let mut third = connect(world.address());
    assert!(matches!(third.read(&mut [0]), Ok(0) | Err(_)), "one too many");
    assert_eq!(first.read(&mut [0]).unwrap(), 0, "silent for too long");
    assert_eq!(second.read(&mut [0]).unwrap(), 0, "silent for too long");
    let mut fourth = connect(world.address());
    fourth.write_all(&framed(b"GET / HTTP/1.1\r\n\r\n")).unwrap();
    assert_eq!(fourth.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_stopped_kdc_listens_no_more() {
    let mut world = World::start();
    let address = world.address();
    let mut idle = connect(address);
    world.stop();
    assert!(matches!(idle.read(&mut [0]), Ok(0) | Err(_)));
    assert!(TcpStream::connect(address).is_err());
    UdpSocket::bind(address).unwrap();
}

#[test]
fn mits_kinit_kvno_and_klist_are_served() {
    let (Some(kinit), Some(kvno), Some(klist)) = (mit("kinit"), mit("kvno"), mit("klist")) else { return };
    let world = World::start();
    let password = format!("{PASSWORD}\n");
    world.good(&kinit, &["-f", "-p", "-r", "2d", "alice"], &password);
    world.good(&kvno, &["HTTP/localhost"], "");
    let list = world.good(&klist, &["-e", "-f"], "");
    assert!(list.contains("krbtgt/EXAMPLE.TEST@EXAMPLE.TEST") && list.contains("HTTP/localhost@"), "{list}");
    assert!(list.contains("Flags: FPRIA"), "{list}");
    // Renewed; the host-based name; canonicalized; another spelling; an enterprise name.
    world.good(&kinit, &["-R"], "");
    world.good(&kvno, &["-S", "HTTP", "localhost"], "");
    for arguments in
        [&["-C", "ALICE"][..], &["ALICE"], &["-C", "-E", "alice@example.test"], &["-S", "HTTP/localhost", "alice"]]
    {
        world.good(&kinit, arguments, &password);
        world.good(&klist, &[], "");
        if !arguments.contains(&"-S") {
            world.good(&kvno, &["HTTP/localhost"], "");
        }
    }
    for etype in [
        "aes128-cts-hmac-sha1-96",
        "aes256-cts-hmac-sha1-96",
        "aes128-cts-hmac-sha256-128",
        "aes256-cts-hmac-sha384-192",
    ] {
        let conf = krb5_conf(REALM, world.address(), &[]);
        let only = conf.replacen("[libdefaults]\n", &format!("[libdefaults]\n    permitted_enctypes = {etype}\n"), 1);
        std::fs::write(world.dir.join("krb5.conf"), only).unwrap();
        world.good(&kinit, &["alice"], &password);
        world.good(&kvno, &["-e", etype, "HTTP/localhost"], "");
        let list = world.good(&klist, &["-e"], "");
        assert!(list.contains(&format!("Etype (skey, tkt): {etype}")), "{list}");
    }
}

#[test]
fn names_and_passwords_beyond_ascii_serve() {
    let (Some(kinit), Some(kvno)) = (mit("kinit"), mit("kvno")) else { return };
    let world = World::start();
    let password = Secret::new("Pässwörd€1".to_owned());
    let new = NewUser {
        name: "Jörg",
        display_name: "Jörg Müller",
        upn: None,
        password: &password,
        must_change: false,
        expires: None,
    };
    world.accounts.add_user(&new).unwrap();
    for name in ["Jörg", "jÖRG"] {
        world.good(&kinit, &[name], "Pässwörd€1\n");
        world.good(&kvno, &["HTTP/localhost"], "");
    }
}

#[test]
fn mits_client_understands_every_refusal() {
    let (Some(kinit), Some(kvno)) = (mit("kinit"), mit("kvno")) else { return };
    let world = World::start();
    let password = format!("{PASSWORD}\n");
    let said = world.bad(&kinit, &["alice"], "wrong\n");
    assert!(said.contains("Password incorrect") || said.contains("Preauthentication failed"), "{said}");
    let said = world.bad(&kinit, &["nobody"], "wrong\n");
    assert!(said.contains("not found in Kerberos database"), "{said}");
    world.good(&kinit, &["alice"], &password);
    let said = world.bad(&kvno, &["HTTP/elsewhere.example.test"], "");
    assert!(said.contains("not found in Kerberos database"), "{said}");
    world.accounts.change_user("alice", &UserChange { disabled: Some(true), ..UserChange::default() }).unwrap();
    let said = world.bad(&kvno, &["HTTP/localhost"], "");
    assert!(said.contains("revoked"), "{said}");
    let said = world.bad(&kinit, &["alice"], &password);
    assert!(said.contains("revoked"), "{said}");
    world.accounts.change_user("alice", &UserChange { disabled: Some(false), ..UserChange::default() }).unwrap();
    world.good(&kinit, &["alice"], &password);
    for _ in 0..world.accounts.lockout().threshold {
        world.bad(&kinit, &["alice"], "wrong\n");
    }
    let said = world.bad(&kinit, &["alice"], &password);
    assert!(said.contains("revoked"), "{said}");
    // Whoever guesses locks nobody out of the tickets they have.
    world.good(&kvno, &["HTTP/localhost"], "");
}

#[test]
fn an_answer_too_long_for_udp_is_fetched_over_tcp() {
    let (Some(kinit), Some(kvno)) = (mit("kinit"), mit("kvno")) else { return };
    let world = World::start();
    for number in 0..300 {
        let name = format!("Group {number}");
        world.accounts.add_group(&name, "").unwrap();
        world.accounts.add_member(&name, "alice").unwrap();
    }
    world.good(&kinit, &["alice"], &format!("{PASSWORD}\n"));
    world.good(&kvno, &["HTTP/localhost"], "");
}

#[test]
fn heimdals_kinit_and_kgetcred_are_served() {
    let (Some(kinit), Some(kgetcred), Some(klist)) =
        (heimdal("kinit.heimdal"), heimdal("kgetcred"), heimdal("heimtools"))
    else {
        return;
    };
    let world = World::start();
    let password = world.dir.join("password");
    std::fs::write(&password, format!("{PASSWORD}\n")).unwrap();
    let file = format!("--password-file={}", password.display());
    world.good(&kinit, &[&file, "--forwardable", "--renewable", "alice@EXAMPLE.TEST"], "");
    world.good(&kgetcred, &["HTTP/localhost@EXAMPLE.TEST"], "");
    let list = world.good(&klist, &["klist", "-v"], "");
    assert!(list.contains("HTTP/localhost") && list.contains("forwardable"), "{list}");
    world.good(&kinit, &["--renew"], "");
    world.good(&kgetcred, &["HTTP/localhost@EXAMPLE.TEST"], "");
    for arguments in
        [&["--canonicalize", "ALICE@EXAMPLE.TEST"][..], &["--enterprise", "--canonicalize", "alice@example.test"]]
    {
        world.good(&kinit, &[&[file.as_str()], arguments].concat(), "");
        world.good(&kgetcred, &["HTTP/localhost@EXAMPLE.TEST"], "");
    }
    std::fs::write(&password, "wrong\n").unwrap();
    world.bad(&kinit, &[&file, "alice@EXAMPLE.TEST"], "");
}
