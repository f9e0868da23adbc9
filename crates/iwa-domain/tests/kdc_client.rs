//! The Kerberos client against a real KDC: MIT's krb5kdc on a loopback port, with two realms that trust each other.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use iwa_auth::env::{Entropy, EntropyError, Env, UnixTime};
use iwa_auth::krb5::client::{Client, ClientPolicy, Delegation, LongTerm, ServiceTicket, Step};
use iwa_auth::krb5::etype::Etype;
use iwa_auth::krb5::initiator::{self, Options};
use iwa_auth::reject::{Peer, Policy, Reason, Reject, Unavailable};
use iwa_auth::{ChannelBindings, Secret};
use iwa_domain::credentials::{CacheName, client_of_keytab};
use iwa_domain::kdc::Kdcs;
use iwa_domain::krb5_conf::Krb5Conf;
use iwa_wire::krb5::error::code;
use iwa_wire::krb5::{Principal, TicketFlags};

const REALM: &str = "EXAMPLE.TEST";
const OTHER: &str = "OTHER.EXAMPLE.TEST";

struct Random;

impl Entropy for Random {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        getrandom::fill(out).map_err(|_| EntropyError)
    }
}

/// A KDC of its own for one test; ended with the test.
struct MitKdc {
    folder: PathBuf,
    child: Child,
    kdcs: Kdcs,
}

impl Drop for MitKdc {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl MitKdc {
    /// `None`, after saying so, if MIT's KDC is not installed.
    fn start(name: &str) -> Option<Self> {
        if ["krb5kdc", "kdb5_util", "kadmin.local"].iter().any(|tool| found(tool).is_none()) || found("kinit").is_none()
        {
            iwa_testkit::left_out(name, "MIT's KDC is not installed (krb5-kdc, krb5-admin-server, krb5-user)");
            return None;
        }
        let folder = std::env::temp_dir().join(format!("iwa-mit-kdc-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let port = free_port();
        let at = folder.display();
        let realm = |realm: &str| {
            format!(
                "{realm} = {{\n database_name = {at}/{realm}\n key_stash_file = {at}/{realm}.stash\n acl_file = {at}/acl\n \
                 supported_enctypes = aes256-cts-hmac-sha384-192:normal aes256-cts:normal aes128-cts-hmac-sha256-128:normal \
                 aes128-cts:normal\n max_life = 24h\n max_renewable_life = 7d\n default_principal_flags = +forwardable\n}}\n"
            )
        };
        // Answers of more than 900 bytes do not fit: the tickets of this test do, and those of delegation do not.
        let kdc_conf = format!(
            "[kdcdefaults]\n kdc_listen = 127.0.0.1:{port}\n kdc_tcp_listen = 127.0.0.1:{port}\n kdc_max_dgram_reply_size = 900\n\
             [realms]\n{}{}[logging]\n kdc = FILE:{at}/kdc.log\n",
            realm(REALM),
            realm(OTHER)
        );
        let krb5_conf = format!(
            "[libdefaults]\n default_realm = {REALM}\n dns_lookup_kdc = false\n dns_lookup_realm = false\n rdns = false\n \
             dns_canonicalize_hostname = false\n [realms]\n {REALM} = {{\n  kdc = 127.0.0.1:{port}\n }}\n {OTHER} = {{\n  \
             kdc = 127.0.0.1:{port}\n }}\n[domain_realm]\n .other.example.test = {OTHER}\n"
        );
        fs::write(folder.join("kdc.conf"), kdc_conf).unwrap();
        fs::write(folder.join("krb5.conf"), &krb5_conf).unwrap();
        fs::write(folder.join("acl"), "").unwrap();
        for realm in [REALM, OTHER] {
            run(&folder, "kdb5_util", &["-r", realm, "create", "-s", "-W", "-P", "master"]);
            run(&folder, "kadmin.local", &["-r", realm, "-q", &format!("addprinc -pw trust krbtgt/{OTHER}@{REALM}")]);
        }
        let mut query = vec![
            "addprinc +requires_preauth -pw alicepw alice".to_owned(),
            "addprinc -requires_preauth -pw bobpw bob".to_owned(),
            "addprinc +requires_preauth -pw wëbpw wëb".to_owned(),
            "addprinc +requires_preauth -e aes256-cts:onlyrealm -pw saltpw salted".to_owned(),
            "addprinc -randkey HTTP/www.example.test".to_owned(),
            "addprinc +ok_as_delegate -randkey HTTP/trusted.example.test".to_owned(),
            format!("ktadd -k {at}/alice.keytab -norandkey alice"),
        ];
        for etype in Etype::ALL.into_iter().filter(|etype| !etype.is_weak()) {
            query.push(format!("addprinc +requires_preauth -e {etype}:normal -pw pw only-{}", etype.number()));
        }
        for query in query {
            run(&folder, "kadmin.local", &["-r", REALM, "-q", &query]);
        }
        run(&folder, "kadmin.local", &["-r", OTHER, "-q", "addprinc -randkey HTTP/web.other.example.test"]);
        let child = command(&folder, "krb5kdc")
            .args(["-n", "-r", REALM, "-r", OTHER, "-P"])
            .arg(folder.join("pid"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let kdcs = Kdcs::from_krb5_conf(&Krb5Conf::from_files([folder.join("krb5.conf")]).unwrap());
        let mut kdc = Self { folder, child, kdcs };
        for _ in 0..200 {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Some(kdc);
            }
            assert!(kdc.child.try_wait().unwrap().is_none(), "krb5kdc ended: {}", kdc.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("krb5kdc does not listen: {}", kdc.log());
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("kdc.log")).unwrap_or_default()
    }

    fn cache(&self, name: &str) -> CacheName {
        CacheName::File(self.folder.join(name))
    }

    /// Drives a client; `ahead` is by how much its clock is.
    async fn obtain(
        &self,
        client: &Client,
        service: &Principal,
        how: Delegation,
        ahead: i64,
    ) -> Result<ServiceTicket, Reject> {
        let mut random = Random;
        let mut env = Env { now: now(ahead), entropy: &mut random };
        let mut step = client.ticket(service, how, &mut env)?;
        loop {
            step = match step {
                Step::Ticket(ticket) => return Ok(ticket),
                Step::NeedKdc(need) => match self.kdcs.ask(need.realm(), need.request()).await {
                    Ok(answer) => need.answer(&answer, &mut env)?,
                    Err(why) => need.unanswered(why)?,
                },
            };
        }
    }
}

fn now(ahead: i64) -> UnixTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    UnixTime::from_micros(since.as_micros() as u64).shifted(ahead)
}

fn found(tool: &str) -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    folders.extend(["/usr/sbin".into(), "/sbin".into()]);
    folders.into_iter().map(|folder| folder.join(tool)).find(|path| path.is_file())
}

fn command(folder: &Path, tool: &str) -> Command {
    let mut command = Command::new(found(tool).unwrap());
    command
        .env("KRB5_CONFIG", folder.join("krb5.conf"))
        .env("KRB5_KDC_PROFILE", folder.join("kdc.conf"))
        .env("KRB5CCNAME", folder.join("none"))
        .env("LC_ALL", "C.UTF-8");
    command
}

fn run(folder: &Path, tool: &str, arguments: &[&str]) -> String {
    let output = command(folder, tool).args(arguments).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {arguments:?}: {text}");
    text
}

fn free_port() -> u16 {
    loop {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = tcp.local_addr().unwrap().port();
        if UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

fn with_password(name: &str, password: &str) -> Client {
    Client::new(Principal::user(name, REALM), LongTerm::Password(Secret::new(password.to_owned())))
}

fn www() -> Principal {
    Principal::service("HTTP", "www.example.test", "")
}

fn kdc_code(result: Result<ServiceTicket, Reject>) -> i32 {
    match result.map_err(|reject| reject.reason) {
        Err(Reason::Peer(Peer::KdcError { code, .. })) => code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_password_becomes_a_ticket_that_mits_tools_take() {
    let Some(kdc) = MitKdc::start("password") else { return };
    for (name, password) in [("alice", "alicepw"), ("bob", "bobpw"), ("wëb", "wëbpw"), ("salted", "saltpw")] {
        let client = with_password(name, password);
        let ticket = kdc.obtain(&client, &www(), Delegation::No, 0).await.unwrap_or_else(|why| panic!("{name}: {why}"));
        assert_eq!(ticket.service.server, Principal::service("HTTP", "www.example.test", REALM));
        assert_eq!(ticket.service.client, Principal::user(name, REALM));
        assert_eq!((ticket.new.len(), ticket.service.clock_offset), (2, 0));
        // MIT's own tools read the cache, and get another ticket with the TGT in it.
        let cache = kdc.cache("cc");
        cache.write(&ticket.service.client, &ticket.new).unwrap();
        let name = cache.to_string();
        run(&kdc.folder, "kvno", &["-c", &name, "HTTP/trusted.example.test"]);
        let listed = run(&kdc.folder, "klist", &["-c", &name, "-e", "-f"]);
        assert!(listed.contains("HTTP/www.example.test@") && listed.contains("HTTP/trusted.example.test@"), "{listed}");
        // And what MIT wrote is read back: no KDC is asked.
        let again = cache.client().unwrap();
        let mut random = Random;
        let mut env = Env { now: now(0), entropy: &mut random };
        let trusted = Principal::service("HTTP", "trusted.example.test", REALM);
        assert!(matches!(again.ticket(&trusted, Delegation::No, &mut env), Ok(Step::Ticket(_))));
    }
}

#[tokio::test]
async fn every_encryption_type_is_spoken() {
    let Some(kdc) = MitKdc::start("etypes") else { return };
    for etype in Etype::ALL.into_iter().filter(|etype| !etype.is_weak()) {
        let policy = ClientPolicy { etypes: vec![etype], ..ClientPolicy::default() };
        let client = with_password(&format!("only-{}", etype.number()), "pw").with_policy(policy);
        let ticket =
            kdc.obtain(&client, &www(), Delegation::No, 0).await.unwrap_or_else(|why| panic!("{etype}: {why}"));
        assert_eq!(ticket.service.key.etype(), etype);
    }
}

#[tokio::test]
async fn a_keytab_and_a_cache_of_kinit_serve_as_credentials() {
    let Some(kdc) = MitKdc::start("keytab") else { return };
    let keytab = kdc.folder.join("alice.keytab");
    let client = client_of_keytab(&keytab, None).unwrap();
    assert_eq!(client.principal(), &Principal::user("alice", REALM));
    kdc.obtain(&client, &www(), Delegation::No, 0).await.unwrap();
    assert!(client_of_keytab(&keytab, Some(&Principal::user("bob", REALM))).is_err());

    let cache = kdc.cache("kinit");
    run(&kdc.folder, "kinit", &["-f", "-c", &cache.to_string(), "-k", "-t", &keytab.display().to_string(), "alice"]);
    let client = cache.client().unwrap();
    let ticket = kdc.obtain(&client, &www(), Delegation::Always, 0).await.unwrap();
    assert_eq!(ticket.new.len(), 1, "the TGT was there");
    assert!(ticket.forwarded.is_some());
    // Without a ticket and without a key there is nothing to ask with.
    let empty = Client::new(Principal::user("alice", REALM), LongTerm::None);
    let why = kdc.obtain(&empty, &www(), Delegation::No, 0).await.unwrap_err();
    assert!(matches!(why.reason, Reason::Policy(Policy::NoCredential { .. })), "{why}");
}

#[tokio::test]
async fn what_the_kdc_refuses_is_said() {
    let Some(kdc) = MitKdc::start("refused") else { return };
    let ask = async |name: &str, password: &str, service: Principal| {
        kdc_code(kdc.obtain(&with_password(name, password), &service, Delegation::No, 0).await)
    };
    assert_eq!(ask("alice", "wrong", www()).await, code::KDC_ERR_PREAUTH_FAILED);
    assert_eq!(ask("nobody", "x", www()).await, code::KDC_ERR_C_PRINCIPAL_UNKNOWN);
    let unknown = Principal::service("HTTP", "unknown.example.test", "");
    assert_eq!(ask("alice", "alicepw", unknown).await, code::KDC_ERR_S_PRINCIPAL_UNKNOWN);
    // Without pre-authentication the wrong password shows in the answer.
    let why = kdc.obtain(&with_password("bob", "wrong"), &www(), Delegation::No, 0).await.unwrap_err();
    assert!(matches!(why.reason, Reason::Peer(Peer::KdcReply { .. })), "{why}");
    let stranger = Client::new(Principal::user("x", "NOWHERE.TEST"), LongTerm::Password(Secret::new("x".to_owned())));
    let why = kdc.obtain(&stranger, &www(), Delegation::No, 0).await.unwrap_err();
    assert!(matches!(why.reason, Reason::Unavailable(Unavailable::Kdc(_))), "{why}");
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_corrected_by_the_kdcs() {
    let Some(kdc) = MitKdc::start("clock") else { return };
    for name in ["alice", "bob"] {
        for ahead in [3600, -7200] {
            let client = with_password(name, &format!("{name}pw"));
            let ticket = kdc
                .obtain(&client, &www(), Delegation::No, ahead)
                .await
                .unwrap_or_else(|why| panic!("{name} {ahead}: {why}"));
            assert!((ticket.service.clock_offset + ahead).abs() <= 5, "{}", ticket.service.clock_offset);
            assert!(ticket.service.is_valid(now(ahead)));
        }
    }
}

#[tokio::test]
async fn a_service_of_another_realm_is_found_by_its_name_and_by_referral() {
    let Some(kdc) = MitKdc::start("realms") else { return };
    let client = with_password("alice", "alicepw");
    let host = "web.other.example.test";
    for realm in ["", OTHER] {
        let ticket = kdc.obtain(&client, &Principal::service("HTTP", host, realm), Delegation::No, 0).await.unwrap();
        assert_eq!(ticket.service.server, Principal::service("HTTP", host, OTHER));
        let servers: Vec<String> = ticket.new.iter().map(|credential| credential.server.to_string()).collect();
        let wanted =
            [format!("krbtgt/{REALM}@{REALM}"), format!("krbtgt/{OTHER}@{REALM}"), format!("HTTP/{host}@{OTHER}")];
        assert_eq!(servers, wanted);
    }
}

#[tokio::test]
async fn a_tgt_is_forwarded_to_whom_the_kdc_trusts() {
    let Some(kdc) = MitKdc::start("forwarded") else { return };
    let client = with_password("alice", "alicepw");
    let trusted = Principal::service("HTTP", "trusted.example.test", "");
    for (service, how, wanted) in [
        (&trusted, Delegation::IfTrusted, true),
        (&www(), Delegation::IfTrusted, false),
        (&www(), Delegation::Always, true),
        (&trusted, Delegation::No, false),
    ] {
        let ticket = kdc.obtain(&client, service, how, 0).await.unwrap();
        assert_eq!(ticket.forwarded.is_some(), wanted, "{service} {how:?}");
        if let Some(forwarded) = ticket.forwarded {
            assert_eq!(forwarded.server, Principal::krbtgt(REALM, REALM));
            assert!(forwarded.flags.contains(TicketFlags::FORWARDED.with(TicketFlags::FORWARDABLE)));
        }
    }
    let policy = ClientPolicy { forwardable: false, ..ClientPolicy::default() };
    let ticket = kdc.obtain(&client.with_policy(policy), &www(), Delegation::Always, 0).await.unwrap();
    assert!(ticket.forwarded.is_none());
}

/// MIT's acceptor, line by line: token in; token, client, delegated client and flags out; MIC in; MIC out.
const ACCEPTOR: &str = r#"
import sys, gssapi
from gssapi.raw import ChannelBindings
data = bytes.fromhex(sys.argv[1])
bindings = ChannelBindings(application_data=data) if data else None
context = gssapi.SecurityContext(creds=gssapi.Credentials(usage="accept"), usage="accept", channel_bindings=bindings)
def say(text):
    print(text, flush=True)
def hear():
    return bytes.fromhex(sys.stdin.readline().strip())
say(context.step(hear()).hex())
say(context.initiator_name)
say(context.delegated_creds.name if context.delegated_creds else "-")
say(int(context.actual_flags))
context.verify_signature(b"list", hear())
say(context.get_signature(b"list").hex())
"#;

#[tokio::test]
async fn mits_acceptor_takes_the_ap_req_its_bindings_and_the_delegated_tgt() {
    let Some(kdc) = MitKdc::start("acceptor") else { return };
    if !Command::new("/usr/bin/python3")
        .args(["-c", "import gssapi"])
        .output()
        .is_ok_and(|output| output.status.success())
    {
        iwa_testkit::left_out("MIT's acceptor", "python3-gssapi is not installed");
        return;
    }
    let keytab = kdc.folder.join("http.keytab");
    let query = format!("ktadd -k {} HTTP/www.example.test", keytab.display());
    run(&kdc.folder, "kadmin.local", &["-r", REALM, "-q", &query]);
    let ticket = kdc.obtain(&with_password("wëb", "wëbpw"), &www(), Delegation::Always, 0).await.unwrap();
    let tls = ChannelBindings::tls_server_end_point(&[5; 32]);
    let data = [&b"tls-server-end-point:"[..], &[5; 32]].concat();
    for (bindings, application_data, delegate) in
        [(&ChannelBindings::none(), &[][..], false), (&tls, &data, false), (&tls, &data, true)]
    {
        let mut random = Random;
        let mut env = Env { now: now(0), entropy: &mut random };
        let mut token = Vec::new();
        let pending = initiator::initiate(
            &ticket,
            Options { mutual: true, delegate, bindings, protection: Default::default() },
            &mut env,
            &mut token,
        )
        .unwrap();
        let mut child = command(&kdc.folder, "/usr/bin/python3")
            .args(["-c", ACCEPTOR, &hex(application_data)])
            .env("KRB5_KTNAME", &keytab)
            .env("KRB5RCACHENAME", "none:")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut line = || lines.next().expect("the acceptor goes on").unwrap();
        writeln!(stdin, "{}", hex(&token)).unwrap();
        let mut context = pending.finish(&unhex(&line())).unwrap();
        assert!(context.mutual());
        assert_eq!(line(), format!("wëb@{REALM}"));
        assert_eq!(line(), if delegate { format!("wëb@{REALM}") } else { "-".to_owned() });
        let flags: u32 = line().parse().unwrap();
        assert_eq!((flags & 1 != 0, flags & 2 != 0, flags & 32 != 0), (delegate, true, true), "{flags:x}");
        let mut mic = Vec::new();
        context.sign(b"list", &mut mic);
        writeln!(stdin, "{}", hex(&mic)).unwrap();
        assert_eq!(context.verify(b"list", &unhex(&line())), Ok(()));
        assert!(child.wait().unwrap().success());
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    iwa_testkit::corpus::hex(text).unwrap()
}
