//! Logons of domain users over domain controllers in memory, in every weather. Time is tokio's, and paused: it goes on only when
//! everybody waits, so that how long a failover takes is a fact and not a measurement.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use iwa_auth::netlogon::{Member, logon};
use iwa_auth::ntlm::crypto::nt_hash;
use iwa_auth::ports::{Answer, Logon as _, LogonError, LogonInfo, NetworkLogon};
use iwa_auth::{Env, NtStatus, Secret, UnixTime};
use iwa_domain::controller::{Controller, Controllers, Listed, Ports};
use iwa_domain::machine::{DomainNames, Machine, MachinePassword, Membership};
use iwa_domain::netlogon::{Netlogon, NetlogonConfig, Which};
use iwa_domain::rpc::{Dial, Stream};
use iwa_testkit::netlogon::{Connection, Dc, Reply, Weather};
use iwa_testkit::pair::{NOW, Seeded};
use iwa_wire::netlogon::opnum;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::{Instant, sleep};

const PASSWORD: &str = "Machine-Pw";

/// How a host meets those who connect.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Reach {
    #[default]
    Up,
    /// Nobody listens.
    Refuses,
    /// Nobody answers, not even that nobody listens.
    Lost,
    /// It accepts and never says a word.
    Mute,
}

#[derive(Debug)]
struct Host {
    dc: Mutex<Dc>,
    reach: Mutex<Reach>,
    /// How long a logon takes.
    slow: Mutex<Duration>,
    dialled: AtomicUsize,
    busy: AtomicUsize,
    busiest: AtomicUsize,
    restarted: tokio::sync::watch::Sender<u32>,
}

impl Host {
    fn weather(&self, weather: Weather) {
        self.dc.lock().unwrap().weather = weather;
    }

    fn reach(&self, reach: Reach) {
        *self.reach.lock().unwrap() = reach;
    }

    fn dialled(&self) -> usize {
        self.dialled.load(Ordering::SeqCst)
    }

    fn calls(&self, opnum: u16) -> usize {
        self.dc.lock().unwrap().calls.get(&opnum).copied().unwrap_or_default()
    }

    /// All sessions are forgotten and all connections closed.
    fn restart(&self) {
        self.dc.lock().unwrap().forget();
        self.restarted.send_modify(|times| *times += 1);
    }

    async fn serve(self: Arc<Self>, mut stream: DuplexStream) {
        let mut restarted = self.restarted.subscribe();
        let mut connection = Connection::default();
        loop {
            let mut pdu = vec![0; 16];
            tokio::select! {
                read = stream.read_exact(&mut pdu) => if read.is_err() { return },
                _ = restarted.changed() => return,
            }
            pdu.resize(usize::from(u16::from_le_bytes([pdu[8], pdu[9]])), 0);
            stream.read_exact(&mut pdu[16..]).await.unwrap();
            let slow = *self.slow.lock().unwrap();
            let before = self.dc.lock().unwrap().logons();
            let reply = connection.take(&mut self.dc.lock().unwrap(), &pdu);
            if self.dc.lock().unwrap().logons() > before {
                let busy = self.busy.fetch_add(1, Ordering::SeqCst) + 1;
                self.busiest.fetch_max(busy, Ordering::SeqCst);
                sleep(slow).await;
                self.busy.fetch_sub(1, Ordering::SeqCst);
            }
            match reply {
                Reply::Bytes(bytes) => {
                    if stream.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
                Reply::Silence => std::future::pending().await,
                Reply::Close => return,
            }
        }
    }
}

/// The hosts, by address.
#[derive(Clone, Debug, Default)]
struct Net(Arc<HashMap<IpAddr, Arc<Host>>>);

impl Dial for Net {
    fn dial(&self, address: SocketAddr) -> Answer<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
            let host = Arc::clone(self.0.get(&address.ip()).ok_or_else(refused)?);
            host.dialled.fetch_add(1, Ordering::SeqCst);
            let reach = *host.reach.lock().unwrap();
            match reach {
                Reach::Refuses => Err(refused()),
                Reach::Lost => std::future::pending().await,
                Reach::Up | Reach::Mute => {
                    let (ours, theirs) = tokio::io::duplex(1 << 16);
                    tokio::spawn(async move {
                        if reach == Reach::Mute {
                            let _held = theirs;
                            std::future::pending::<()>().await;
                        } else {
                            host.serve(theirs).await;
                        }
                    });
                    Ok(Box::new(ours) as Box<dyn Stream>)
                }
            }
        })
    }
}

/// A domain of so many controllers, `dc0`, `dc1` ..., and a member of it.
struct Domain {
    hosts: Vec<Arc<Host>>,
    netlogon: Netlogon,
    membership: Membership,
}

fn address(number: usize) -> IpAddr {
    IpAddr::from([192, 0, 2, 10 + number as u8])
}

fn password(text: &str) -> MachinePassword {
    MachinePassword { password: Secret::new(text.to_owned()), kvno: 1, since: UnixTime::default() }
}

fn machine(current: &str) -> Machine {
    Machine {
        domain: DomainNames {
            dns: "example.test".to_owned(),
            netbios: "EXAMPLE".to_owned(),
            sid: "S-1-5-21-11-12-13".parse().unwrap(),
            forest: "example.test".to_owned(),
        },
        computer: "WEB".to_owned(),
        dns_host_name: "web.example.test".to_owned(),
        salt: String::new(),
        current: password(current),
        pending: None,
        previous: None,
    }
}

impl Domain {
    fn new(controllers: usize) -> Self {
        Self::with(controllers, NetlogonConfig::default(), machine(PASSWORD))
    }

    fn with(controllers: usize, config: NetlogonConfig, machine: Machine) -> Self {
        let host = |number: usize| {
            let mut dc = Dc::new(PASSWORD);
            dc.port = 49_152;
            dc.name = format!("DC{number}");
            Arc::new(Host {
                dc: Mutex::new(dc),
                reach: Mutex::default(),
                slow: Mutex::default(),
                dialled: AtomicUsize::new(0),
                busy: AtomicUsize::new(0),
                busiest: AtomicUsize::new(0),
                restarted: tokio::sync::watch::Sender::new(0),
            })
        };
        let hosts: Vec<_> = (0..controllers).map(host).collect();
        let net = Net(Arc::new(hosts.iter().enumerate().map(|(at, host)| (address(at), Arc::clone(host))).collect()));
        let listed: Vec<_> = (0..controllers).map(|number| controller(number, vec![address(number)])).collect();
        let membership = Membership::new(machine);
        let netlogon = Netlogon::with_dial(membership.clone(), Arc::new(Listed::new(listed)), config, Arc::new(net));
        Self { hosts, netlogon, membership }
    }

    async fn logon(&self, user: &str, password: &str) -> Result<LogonInfo, LogonError> {
        self.netlogon.network(&response(user, password)).await
    }

    async fn alice(&self) -> Result<LogonInfo, LogonError> {
        self.logon("alice", "Password").await
    }

    /// Alice logs on, and it takes less than so many milliseconds.
    async fn within(&self, millis: u64) {
        let begun = Instant::now();
        let info = self.alice().await.unwrap();
        assert_eq!(info.account.name, "alice");
        assert!(begun.elapsed() < Duration::from_millis(millis), "{:?}", begun.elapsed());
    }

    async fn unavailable(&self) -> String {
        match self.alice().await {
            Err(LogonError::Unavailable(why)) => why,
            other => panic!("{other:?}"),
        }
    }
}

fn controller(number: usize, addresses: Vec<IpAddr>) -> Controller {
    Controller { host: format!("dc{number}.example.test"), addresses, ports: Ports::default() }
}

fn response(user: &str, password: &str) -> NetworkLogon {
    let member = Member { domain: "EXAMPLE".to_owned(), computer: "WEB".to_owned() };
    let secret = Secret::new(password.to_owned());
    let mut env = Env { now: NOW, entropy: &mut Seeded(3) };
    logon::with_password(&member, "EXAMPLE", user, &secret, &mut env).unwrap()
}

#[tokio::test(start_paused = true)]
async fn one_session_and_one_connection_serve_many_logons() {
    let domain = Domain::new(1);
    for _ in 0..5 {
        domain.within(1).await;
    }
    let refused = domain.logon("alice", "wrong").await.unwrap_err();
    assert_eq!(refused, LogonError::Refused(NtStatus::WRONG_PASSWORD));
    let host = &domain.hosts[0];
    assert_eq!((host.calls(opnum::SERVER_AUTHENTICATE3), host.calls(opnum::LOGON_SAM_LOGON_EX)), (1, 6));
    // The endpoint mapper, the channel, the sealed connection.
    assert_eq!(host.dialled(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_password_is_verified_by_the_same_call_and_does_not_leave_the_machine() {
    let domain = Domain::new(1);
    let verify = async |user: &str, password: &str| {
        domain.netlogon.password("EXAMPLE", user, &Secret::new(password.to_owned())).await.map(|_| ())
    };
    assert_eq!(verify("jörg", "Password").await, Ok(()));
    assert_eq!(verify("jörg", "password").await, Err(LogonError::Refused(NtStatus::WRONG_PASSWORD)));
    assert_eq!(verify("erin", "Password").await, Err(LogonError::Refused(NtStatus::PASSWORD_MUST_CHANGE)));
    assert_eq!(verify("", "").await, Err(LogonError::Refused(NtStatus::NO_SUCH_USER)));
}

#[tokio::test(start_paused = true)]
async fn who_answers_in_the_place_of_a_controller_cannot_let_a_password_in() {
    // They know a password for alice, because they made it up; what they cannot know is the machine's.
    type Change = fn(&mut Dc);
    let impostors: [(&str, Change); 4] = [
        ("another machine's password", |dc| *dc = Dc::new("guessed")),
        ("no account of the machine", |dc| dc.machines.clear()),
        ("a credential of their own", |dc| dc.weather = Weather::WrongCredential),
        ("answers changed on the way", |dc| dc.weather = Weather::Tampered),
    ];
    for (who, impostor) in impostors {
        let domain = Domain::new(1);
        {
            let mut dc = domain.hosts[0].dc.lock().unwrap();
            impostor(&mut dc);
            dc.port = 49_152;
            dc.users.iter_mut().for_each(|user| user.hash = nt_hash("made up"));
        }
        let answer = domain.netlogon.password("EXAMPLE", "alice", &Secret::new("made up".to_owned())).await;
        assert!(matches!(answer, Err(LogonError::Unavailable(_))), "{who}: {answer:?}");
        let answer = domain.logon("alice", "made up").await;
        assert!(matches!(answer, Err(LogonError::Unavailable(_))), "{who}: {answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn eight_logons_are_on_their_way_at_a_time_and_no_more() {
    let domain = Domain::new(1);
    let host = &domain.hosts[0];
    *host.slow.lock().unwrap() = Duration::from_millis(100);
    let begun = Instant::now();
    let logons: Vec<_> = (0..32)
        .map(|_| {
            let netlogon = domain.netlogon.clone();
            tokio::spawn(async move { netlogon.network(&response("alice", "Password")).await.map(|_| ()) })
        })
        .collect();
    for logon in logons {
        assert_eq!(logon.await.unwrap(), Ok(()));
    }
    assert_eq!(begun.elapsed().as_millis(), 400);
    assert_eq!(host.busiest.load(Ordering::SeqCst), 8);
    assert_eq!(host.calls(opnum::SERVER_AUTHENTICATE3), 1);
    assert_eq!(host.dialled(), 2 + 8);
}

#[tokio::test(start_paused = true)]
async fn a_flood_is_refused_at_once_beyond_the_cap_and_is_over_when_it_is_over() {
    let config = NetlogonConfig { in_flight: 2, waiting: 3, ..NetlogonConfig::default() };
    let domain = Domain::with(1, config, machine(PASSWORD));
    *domain.hosts[0].slow.lock().unwrap() = Duration::from_millis(100);
    let begun = Instant::now();
    let logons: Vec<_> = (0..100)
        .map(|_| {
            let netlogon = domain.netlogon.clone();
            tokio::spawn(async move {
                let outcome = netlogon.network(&response("alice", "Password")).await.map(|_| ());
                (outcome, Instant::now())
            })
        })
        .collect();
    let (mut served, mut refused) = (0, 0);
    for logon in logons {
        match logon.await.unwrap() {
            (Ok(()), _) => served += 1,
            (Err(LogonError::Unavailable(why)), at) => {
                assert_eq!(at, begun, "refused at once");
                assert!(why.contains("5 logons wait already"), "{why}");
                refused += 1;
            }
            (Err(other), _) => panic!("{other:?}"),
        }
    }
    assert_eq!((served, refused, domain.hosts[0].calls(opnum::LOGON_SAM_LOGON_EX)), (5, 95, 5));
    domain.within(101).await;
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_refuses_or_hangs_costs_less_than_two_seconds_and_only_once() {
    for reach in [Reach::Refuses, Reach::Lost, Reach::Mute] {
        let domain = Domain::new(2);
        domain.hosts[0].reach(reach);
        domain.within(if reach == Reach::Refuses { 1 } else { 2000 }).await;
        let dialled = domain.hosts[0].dialled();
        for _ in 0..10 {
            domain.within(1).await;
        }
        assert_eq!(domain.hosts[0].dialled(), dialled, "{reach:?}: it is left in peace");
    }
}

#[tokio::test(start_paused = true)]
async fn two_hanging_controllers_before_a_good_one_cost_what_two_cost() {
    let domain = Domain::new(3);
    domain.hosts[0].reach(Reach::Lost);
    domain.hosts[1].reach(Reach::Mute);
    domain.within(2001).await;
    domain.within(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_begins_to_hang_under_load_is_left_for_the_next_one_by_everybody() {
    let domain = Domain::new(2);
    domain.within(1).await;
    domain.hosts[0].weather(Weather::Silent);
    domain.hosts[0].reach(Reach::Lost);
    let begun = Instant::now();
    let logons: Vec<_> = (0..100)
        .map(|_| {
            let netlogon = domain.netlogon.clone();
            tokio::spawn(async move { netlogon.network(&response("alice", "Password")).await.map(|_| ()) })
        })
        .collect();
    for logon in logons {
        assert_eq!(logon.await.unwrap(), Ok(()));
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_dies_in_the_middle_of_a_call_is_followed_by_the_next() {
    let domain = Domain::new(2);
    domain.hosts[0].weather(Weather::Dies);
    domain.within(1).await;
    assert_eq!(domain.hosts[1].calls(opnum::LOGON_SAM_LOGON_EX), 1);
}

#[tokio::test(start_paused = true)]
async fn a_slow_controller_is_not_taken_for_a_dead_one_if_it_is_the_only_one() {
    let domain = Domain::new(1);
    *domain.hosts[0].slow.lock().unwrap() = Duration::from_secs(5);
    domain.within(5001).await;
    *domain.hosts[0].slow.lock().unwrap() = Duration::from_secs(50);
    let said = domain.unavailable().await;
    assert!(said.contains("no answer in 10000 ms"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn one_logon_without_end_is_not_held_against_a_controller_that_answers_others() {
    let domain = Domain::new(1);
    domain.within(1).await;
    *domain.hosts[0].slow.lock().unwrap() = Duration::from_secs(50);
    let netlogon = domain.netlogon.clone();
    let endless = tokio::spawn(async move { netlogon.network(&response("alice", "Password")).await });
    sleep(Duration::from_secs(1)).await;
    *domain.hosts[0].slow.lock().unwrap() = Duration::ZERO;
    domain.within(1).await;
    let said = endless.await.unwrap().unwrap_err();
    assert!(matches!(&said, LogonError::Unavailable(why) if why.contains("no answer in 10000 ms")), "{said:?}");
    domain.within(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_restarted_controller_is_asked_anew_without_anybody_noticing() {
    let domain = Domain::new(1);
    domain.within(1).await;
    domain.hosts[0].restart();
    domain.within(1).await;
    assert_eq!(domain.hosts[0].calls(opnum::SERVER_AUTHENTICATE3), 2);
    // The session alone is forgotten, while connections go on: whoever needs a new one opens a new session.
    *domain.hosts[0].slow.lock().unwrap() = Duration::from_millis(10);
    domain.hosts[0].dc.lock().unwrap().forget();
    let (one, two) = tokio::join!(domain.alice(), domain.alice());
    assert!(one.is_ok() && two.is_ok());
    assert_eq!(domain.hosts[0].calls(opnum::SERVER_AUTHENTICATE3), 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_a_controller_is_said_with_the_remedy_and_mends_itself() {
    let denied = NtStatus::ACCESS_DENIED;
    for (weather, words) in [
        (Weather::NoAes, &["wanted", "AES", "0x602fffff", "dc0.example.test"][..]),
        (Weather::Downgrade, &["wanted", "AES"]),
        (Weather::WeakChallenge, &["challenge"]),
        (Weather::WrongCredential, &["could not prove"]),
        (Weather::Status(denied), &["another password", "iwa join"]),
        (Weather::Status(NtStatus::NO_TRUST_SAM_ACCOUNT), &["no account for this machine", "iwa join"]),
        (Weather::Status(NtStatus::TIME_DIFFERENCE_AT_DC), &["clock"]),
        (Weather::Tampered, &["signature"]),
        (Weather::Oversized, &["frag_length"]),
        (Weather::Endless, &["longer than"]),
        (Weather::Fault(5), &["access denied"]),
        (Weather::Fault(0x1c01_0002), &["0x1c010002"]),
        (Weather::Logon(denied), &["does not let this machine ask", "ACCESS_DENIED"]),
        (Weather::Logon(NtStatus::NO_LOGON_SERVERS), &["cannot tell", "NO_LOGON_SERVERS"]),
        (Weather::EmptyKey, &["session key is empty"]),
        (Weather::Dies, &["dc0.example.test"]),
    ] {
        let domain = Domain::new(1);
        domain.hosts[0].weather(weather);
        let said = domain.unavailable().await;
        for word in words {
            assert!(said.contains(word), "{weather:?}: {word:?} in {said}");
        }
        domain.hosts[0].weather(Weather::Fair);
        sleep(Duration::from_secs(16)).await;
        domain.within(1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_replayed_answer_is_not_taken_for_another_user() {
    let domain = Domain::new(1);
    domain.hosts[0].weather(Weather::Repeated);
    domain.within(1).await;
    // The answer that let alice in stands for everybody now; it is refused, and a new channel is asked.
    let refused = domain.logon("nobody", "x").await.unwrap_err();
    assert_eq!(refused, LogonError::Refused(NtStatus::NO_SUCH_USER));
    assert_eq!(domain.hosts[0].calls(opnum::SERVER_AUTHENTICATE3), 2);
}

#[tokio::test(start_paused = true)]
async fn a_refused_user_is_refused_by_one_controller_alone() {
    let domain = Domain::new(2);
    for (user, status) in [
        ("carol", NtStatus::ACCOUNT_DISABLED),
        ("dave", NtStatus::ACCOUNT_RESTRICTION),
        ("frank", NtStatus::NTLM_BLOCKED),
    ] {
        assert_eq!(domain.logon(user, "Password").await.unwrap_err(), LogonError::Refused(status));
    }
    // A second controller that counts the same wrong password would lock the account twice as fast.
    assert_eq!(domain.hosts[1].dialled(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_is_refused_does_not_ask_again_for_every_logon() {
    let domain = Domain::with(1, NetlogonConfig::default(), machine("wrong"));
    let first = domain.unavailable().await;
    assert!(first.contains("iwa join"), "{first}");
    let asked = domain.hosts[0].calls(opnum::SERVER_AUTHENTICATE3);
    for _ in 0..100 {
        assert!(domain.unavailable().await.contains("iwa join"));
    }
    assert_eq!(domain.hosts[0].calls(opnum::SERVER_AUTHENTICATE3), asked);
    // Once the machine has the right password, nobody waits for the end of the rest.
    domain.membership.replace(machine(PASSWORD));
    domain.within(1).await;
}

#[tokio::test(start_paused = true)]
async fn dead_controllers_are_not_flooded_and_are_found_again() {
    let domain = Domain::new(2);
    domain.hosts.iter().for_each(|host| host.reach(Reach::Refuses));
    for _ in 0..100 {
        let said = domain.unavailable().await;
        assert!(said.contains("dc0.example.test") && said.contains("dc1.example.test"), "{said}");
    }
    assert_eq!(domain.hosts.iter().map(|host| host.dialled()).sum::<usize>(), 2);
    domain.hosts[1].reach(Reach::Up);
    sleep(Duration::from_secs(3)).await;
    domain.within(1).await;
}

#[tokio::test(start_paused = true)]
async fn the_machines_passwords_are_tried_in_their_order() {
    for (which, machine) in [
        (Which::Current, Machine { pending: Some(password("new")), ..machine(PASSWORD) }),
        (
            Which::Pending,
            Machine { pending: Some(password(PASSWORD)), previous: Some(password("old")), ..machine("x") },
        ),
        (Which::Previous, Machine { previous: Some(password(PASSWORD)), ..machine("x") }),
        (Which::Previous, Machine { pending: Some(password("y")), previous: Some(password(PASSWORD)), ..machine("x") }),
    ] {
        let domain = Domain::with(1, NetlogonConfig::default(), machine);
        let checked = domain.netlogon.check().await.unwrap();
        assert_eq!((checked.password, checked.controller.as_str()), (which, "dc0.example.test"));
        domain.within(1).await;
    }
    let domain = Domain::with(1, NetlogonConfig::default(), machine("x"));
    assert!(domain.netlogon.check().await.unwrap_err().contains("iwa join"));
}

#[tokio::test(start_paused = true)]
async fn the_machines_password_is_changed_while_logons_go_on() {
    let domain = Domain::new(1);
    domain.within(1).await;
    for new in ["sécond", "third"] {
        let next = Machine { pending: Some(password(new)), ..(*domain.membership.machine()).clone() };
        domain.membership.replace(next);
        let (set, info) =
            tokio::join!(async { domain.netlogon.set_password(&Secret::new(new.to_owned())).await }, domain.alice());
        assert_eq!(set, Ok(()));
        assert!(info.is_ok());
        assert_eq!(domain.netlogon.check().await.unwrap().password, Which::Pending);
        domain.membership.replace(machine(new));
        assert_eq!(domain.netlogon.check().await.unwrap().password, Which::Current);
        domain.within(1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_password_change_that_nobody_answered_is_not_told_to_another_controller() {
    let domain = Domain::new(2);
    domain.hosts[0].weather(Weather::Dies);
    let said = domain.netlogon.set_password(&Secret::new("new".to_owned())).await.unwrap_err();
    assert!(said.contains("dc0.example.test"), "{said}");
    assert_eq!(domain.hosts[1].dialled(), 0);
    // While one that cannot even be reached leaves it to the next.
    let domain = Domain::new(2);
    domain.hosts[0].reach(Reach::Refuses);
    assert_eq!(domain.netlogon.set_password(&Secret::new("new".to_owned())).await, Ok(()));
    assert_eq!(domain.hosts[1].calls(opnum::SERVER_PASSWORD_SET2), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dead_address_of_a_controller_is_passed_over_for_its_next_one() {
    let domain = Domain::new(1);
    let listed = [controller(0, vec!["2001:db8::1".parse().unwrap(), address(0)])];
    let dead = Arc::clone(&domain.hosts[0]);
    let lost = Domain::new(1).hosts.remove(0);
    lost.reach(Reach::Lost);
    let net = Net(Arc::new(HashMap::from([("2001:db8::1".parse().unwrap(), lost), (address(0), dead)])));
    let controllers = Arc::new(Listed::new(listed));
    let config = NetlogonConfig::default();
    let netlogon = Netlogon::with_dial(domain.membership.clone(), controllers, config, Arc::new(net));
    let begun = Instant::now();
    assert!(netlogon.network(&response("alice", "Password")).await.is_ok());
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_logon_that_nobody_waits_for_gives_its_place_back() {
    let config = NetlogonConfig { in_flight: 1, waiting: 0, ..NetlogonConfig::default() };
    let domain = Domain::with(1, config, machine(PASSWORD));
    domain.within(1).await;
    *domain.hosts[0].slow.lock().unwrap() = Duration::from_secs(3);
    for _ in 0..3 {
        let dropped = tokio::time::timeout(Duration::from_millis(5), domain.alice()).await;
        assert!(dropped.is_err());
    }
    *domain.hosts[0].slow.lock().unwrap() = Duration::ZERO;
    // On a connection of its own: the answer to the one that was dropped must not become another's.
    let refused = domain.logon("nobody", "x").await.unwrap_err();
    assert_eq!(refused, LogonError::Refused(NtStatus::NO_SUCH_USER));
}

/// Knows the controllers, and after a while does not answer any more.
#[derive(Debug)]
struct Stuck(Listed, AtomicUsize);

impl Controllers for Stuck {
    fn list<'a>(&'a self) -> Answer<'a, Result<Arc<[Controller]>, String>> {
        Box::pin(async {
            if self.1.fetch_add(1, Ordering::SeqCst) > 0 {
                std::future::pending::<()>().await;
            }
            self.0.list().await
        })
    }

    fn failed(&self, _: &str, _: &str) {}

    fn worked(&self, _: &str) {}
}

#[tokio::test(start_paused = true)]
async fn controllers_that_are_known_are_asked_when_dns_hangs() {
    let domain = Domain::new(1);
    let net = Net(Arc::new(HashMap::from([(address(0), Arc::clone(&domain.hosts[0]))])));
    let logon = async |asked| {
        let stuck = Arc::new(Stuck(Listed::new([controller(0, vec![address(0)])]), AtomicUsize::new(asked)));
        let config = NetlogonConfig::default();
        let netlogon = Netlogon::with_dial(domain.membership.clone(), stuck, config, Arc::new(net.clone()));
        (netlogon.network(&response("alice", "Password")).await, netlogon)
    };
    let (first, netlogon) = logon(0).await;
    assert!(first.is_ok());
    let begun = Instant::now();
    assert!(netlogon.network(&response("alice", "Password")).await.is_ok());
    assert!(begun.elapsed() < Duration::from_secs(2));
    let (never, _) = logon(1).await;
    assert!(matches!(never, Err(LogonError::Unavailable(why)) if why.contains("DNS")));
}

#[tokio::test(start_paused = true)]
async fn a_domain_without_controllers_is_named() {
    let domain = Domain::new(0);
    let said = domain.unavailable().await;
    assert!(said.contains("EXAMPLE"), "{said}");
}
