//! The secure channel against a domain controller in memory: what opens it, what must not, and RPC's fragments.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use iwa_auth::netlogon::logon::{self, LogonProblem};
use iwa_auth::netlogon::sealing::SealError;
use iwa_auth::netlogon::{Association, Binding, ChannelError, Member, Opening, RpcError, Session, Turn};
use iwa_auth::ntlm::crypto::nt_hash;
use iwa_auth::ports::LogonInfo;
use iwa_auth::{Env, NtStatus, Secret};
use iwa_testkit::netlogon::{Connection, Dc, Reply, Weather, pdus};
use iwa_testkit::pair::{Exhausted, NOW, Seeded};
use iwa_wire::dcerpc::Syntax;
use iwa_wire::netlogon::{LogonSamLogonEx, opnum};

const PASSWORD: &str = "Máchine-Pw";

/// A member, its connection to a domain controller in memory, and what both say.
struct Line {
    dc: Dc,
    connection: Connection,
    entropy: Seeded,
}

impl Line {
    fn new(weather: Weather) -> Self {
        let mut dc = Dc::new(PASSWORD);
        dc.weather = weather;
        Self { dc, connection: Connection::default(), entropy: Seeded(5) }
    }

    fn env(&mut self) -> Env<'_> {
        Env { now: NOW, entropy: &mut self.entropy }
    }

    fn send(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut answer = Vec::new();
        for pdu in pdus(bytes) {
            match self.connection.take(&mut self.dc, pdu) {
                Reply::Bytes(bytes) => answer.extend(bytes),
                Reply::Silence | Reply::Close => {}
            }
        }
        answer
    }

    fn bind(&mut self, session: Option<&Session>) -> Result<Association, RpcError> {
        self.connection = Connection::default();
        let mut out = Vec::new();
        let binding = Binding::begin(Syntax::NETLOGON, session, &mut out);
        binding.bound(&self.send(&out))
    }

    fn call(&mut self, association: Association, opnum: u16, stub: &[u8]) -> Result<(Association, Vec<u8>), RpcError> {
        let mut out = Vec::new();
        let mut call = association.request(opnum, stub, &mut self.env(), &mut out)?;
        let answer = self.send(&out);
        for fragment in pdus(&answer) {
            match call.take(fragment)? {
                Turn::More(more) => call = more,
                Turn::Done(association, stub) => return Ok((association, stub.to_vec())),
            }
        }
        Err(RpcError::Unexpected("the line is dead"))
    }

    fn open(&mut self, password: &str) -> Result<Session, ChannelError> {
        let association = self.bind(None).unwrap();
        let mut stub = Vec::new();
        let opening = Opening::begin(member(), &mut self.env(), &mut stub)?;
        let (association, answer) = self.call(association, opnum::SERVER_REQ_CHALLENGE, &stub).unwrap();
        stub.clear();
        let challenged = opening.challenged(&answer, &nt_hash(password), &mut stub)?;
        let (_, answer) = self.call(association, opnum::SERVER_AUTHENTICATE3, &stub).unwrap();
        challenged.authenticated(&answer)
    }

    fn sealed(&mut self) -> Association {
        let session = self.open(PASSWORD).unwrap();
        self.bind(Some(&session)).unwrap()
    }

    fn logon_stub(&mut self, user: &str, password: &str) -> Vec<u8> {
        let mut stub = Vec::new();
        let secret = Secret::new(password.to_owned());
        let logon = logon::with_password(&member(), "EXAMPLE", user, &secret, &mut self.env()).unwrap();
        logon::request(&member(), &logon, &mut stub);
        stub
    }

    fn logon(&mut self, user: &str, password: &str) -> Result<LogonInfo, LogonProblem> {
        let association = self.sealed();
        let stub = self.logon_stub(user, password);
        let (_, answer) = self.call(association, opnum::LOGON_SAM_LOGON_EX, &stub).unwrap();
        logon::answer(&answer, None)
    }

    fn refused(&mut self) -> RpcError {
        let association = self.sealed();
        let stub = self.logon_stub("alice", "Password");
        self.call(association, opnum::LOGON_SAM_LOGON_EX, &stub).unwrap_err()
    }
}

fn member() -> Member {
    Member { domain: "EXAMPLE".to_owned(), computer: "WEB".to_owned() }
}

#[test]
fn a_user_logs_on_through_the_channel() {
    let LogonInfo { account, groups, session_base_key, .. } =
        Line::new(Weather::Fair).logon("ALICE", "Password").unwrap();
    assert_eq!((account.name.as_str(), account.domain.as_str()), ("alice", "EXAMPLE"));
    assert_eq!(account.realm.as_deref(), Some("EXAMPLE.TEST"));
    assert_eq!(account.upn.as_deref(), Some("alice@example.test"));
    assert_eq!(account.display_name, None);
    assert_eq!(account.sid.unwrap().to_string(), "S-1-5-21-11-12-13-1105");
    let groups: Vec<_> = groups.iter().map(ToString::to_string).collect();
    assert_eq!(groups, ["S-1-5-21-11-12-13-513", "S-1-5-21-11-12-13-1112", "S-1-5-21-11-12-13-1113", "S-1-18-1"]);
    assert!(!session_base_key.ct_eq(&[0; 16]));
}

#[test]
fn every_refusal_keeps_its_status() {
    for (user, password, status) in [
        ("alice", "password", NtStatus::WRONG_PASSWORD),
        ("nobody", "Password", NtStatus::NO_SUCH_USER),
        ("carol", "Password", NtStatus::ACCOUNT_DISABLED),
        ("erin", "Password", NtStatus::PASSWORD_MUST_CHANGE),
        ("dave", "Password", NtStatus::ACCOUNT_RESTRICTION),
        ("frank", "Password", NtStatus::NTLM_BLOCKED),
        ("carol", "wrong", NtStatus::WRONG_PASSWORD),
    ] {
        let refused = Line::new(Weather::Fair).logon(user, password).unwrap_err();
        assert_eq!(refused, LogonProblem::Refused(status), "{user}");
    }
    let refused = Line::new(Weather::Logon(NtStatus(0xc000_1234))).logon("alice", "Password").unwrap_err();
    assert_eq!(refused, LogonProblem::Refused(NtStatus(0xc000_1234)), "one without a name");
}

#[test]
fn what_concerns_the_machine_is_not_the_users_fault() {
    for status in [NtStatus::ACCESS_DENIED, NtStatus::NO_TRUST_SAM_ACCOUNT, NtStatus::TRUSTED_RELATIONSHIP_FAILURE] {
        let problem = Line::new(Weather::Logon(status)).logon("alice", "Password").unwrap_err();
        assert_eq!(problem, LogonProblem::Machine(status));
    }
    let problem = Line::new(Weather::Logon(NtStatus::NO_LOGON_SERVERS)).logon("alice", "Password").unwrap_err();
    assert_eq!(problem, LogonProblem::Undecided(NtStatus::NO_LOGON_SERVERS));
}

#[test]
fn a_guest_is_nobody() {
    let refused = Line::new(Weather::Guest).logon("alice", "Password").unwrap_err();
    assert_eq!(refused, LogonProblem::Refused(NtStatus::LOGON_FAILURE));
}

#[test]
fn an_empty_session_key_is_not_believed() {
    let refused = Line::new(Weather::EmptyKey).logon("alice", "Password").unwrap_err();
    assert!(matches!(refused, LogonProblem::Unbelievable(_)), "{refused}");
}

#[test]
fn a_domain_with_the_sid_of_this_machines_own_accounts_is_not_believed() {
    let mut line = Line::new(Weather::Fair);
    let association = line.sealed();
    let stub = line.logon_stub("alice", "Password");
    let (_, answer) = line.call(association, opnum::LOGON_SAM_LOGON_EX, &stub).unwrap();
    assert!(logon::answer(&answer, Some(&"S-1-5-21-1-1-1".parse().unwrap())).is_ok());
    let refused = logon::answer(&answer, Some(&line.dc.sid)).unwrap_err();
    assert!(matches!(refused, LogonProblem::Unbelievable(_)), "{refused}");
}

#[test]
fn a_domain_controller_that_refuses_aes_is_refused() {
    for weather in [Weather::NoAes, Weather::Downgrade] {
        let error = Line::new(weather).open(PASSWORD).unwrap_err();
        assert!(matches!(error, ChannelError::NoAes { .. }), "{error}");
        let said = error.to_string();
        assert!(said.contains("AES") && said.contains("0x602fffff"), "{said}");
    }
}

#[test]
fn a_server_that_does_not_know_the_machines_password_is_no_domain_controller() {
    assert_eq!(Line::new(Weather::WrongCredential).open(PASSWORD).unwrap_err(), ChannelError::ServerCredential);
}

#[test]
fn a_weak_challenge_is_refused_before_anything_is_proved_with_it() {
    let mut line = Line::new(Weather::WeakChallenge);
    assert_eq!(line.open(PASSWORD).unwrap_err(), ChannelError::WeakChallenge);
    assert_eq!(line.dc.calls.get(&opnum::SERVER_AUTHENTICATE3), None);
}

#[test]
fn our_own_challenge_is_never_weak() {
    struct Zeros(usize);
    impl iwa_auth::Entropy for Zeros {
        fn fill(&mut self, out: &mut [u8]) -> Result<(), iwa_auth::env::EntropyError> {
            out.fill(0);
            if self.0 == 0 {
                out[4] = 1;
            }
            self.0 = self.0.saturating_sub(1);
            Ok(())
        }
    }
    let begin = |zeros| {
        let mut stub = Vec::new();
        Opening::begin(member(), &mut Env { now: NOW, entropy: &mut Zeros(zeros) }, &mut stub).map(|_| stub)
    };
    assert!(begin(2).unwrap().ends_with(&[0, 0, 0, 0, 1, 0, 0, 0]));
    assert_eq!(begin(9).unwrap_err(), ChannelError::Entropy);
    let exhausted = Opening::begin(member(), &mut Env { now: NOW, entropy: &mut Exhausted }, &mut Vec::new());
    assert_eq!(exhausted.unwrap_err(), ChannelError::Entropy);
}

#[test]
fn a_wrong_machine_password_and_a_deleted_account_are_told_apart() {
    let error = Line::new(Weather::Fair).open("other").unwrap_err();
    assert_eq!(error, ChannelError::WrongPassword);
    assert!(error.to_string().contains("iwa join"));
    let mut line = Line::new(Weather::Fair);
    line.dc.machines.clear();
    let error = line.open(PASSWORD).unwrap_err();
    assert_eq!(error, ChannelError::NoAccount { status: NtStatus::NO_TRUST_SAM_ACCOUNT });
    let status = NtStatus(0xc000_0001);
    assert_eq!(Line::new(Weather::Status(status)).open(PASSWORD).unwrap_err(), ChannelError::Status(status));
}

#[test]
fn names_that_a_token_cannot_carry_are_refused() {
    for computer in ["", "WÉB", "WE\0B"] {
        let member = Member { computer: computer.to_owned(), ..member() };
        let mut entropy = Seeded(1);
        let begun = Opening::begin(member, &mut Env { now: NOW, entropy: &mut entropy }, &mut Vec::new());
        assert!(matches!(begun.unwrap_err(), ChannelError::Name(_)), "{computer:?}");
    }
}

#[test]
fn a_tampered_a_repeated_and_an_endless_answer_are_refused() {
    assert!(matches!(Line::new(Weather::Tampered).refused(), RpcError::Sealing(SealError::Checksum)));
    assert_eq!(Line::new(Weather::Endless).refused(), RpcError::TooLong);
    let mut line = Line::new(Weather::Repeated);
    let association = line.sealed();
    let stub = line.logon_stub("alice", "Password");
    let (association, _) = line.call(association, opnum::LOGON_SAM_LOGON_EX, &stub).unwrap();
    let again = line.call(association, opnum::LOGON_SAM_LOGON_EX, &stub).unwrap_err();
    // The number of the call gives it away already; with that mended, the signature's.
    assert_eq!(again, RpcError::Unexpected("the answer to another call"));
}

#[test]
fn a_fault_ends_the_association() {
    assert_eq!(Line::new(Weather::Fault(5)).refused(), RpcError::Fault(RpcError::ACCESS_DENIED));
    assert_eq!(Line::new(Weather::Fault(0x1c01_0002)).refused(), RpcError::Fault(0x1c01_0002));
}

#[test]
fn a_session_that_was_forgotten_cannot_be_bound() {
    let mut line = Line::new(Weather::Fair);
    let session = line.open(PASSWORD).unwrap();
    line.dc.forget();
    assert_eq!(line.bind(Some(&session)).unwrap_err(), RpcError::NotBound { reason: 8 });
}

#[test]
fn an_answer_without_its_protection_is_refused() {
    let mut line = Line::new(Weather::Fair);
    let association = line.sealed();
    let stub = line.logon_stub("alice", "Password");
    let mut out = Vec::new();
    let call = association.request(opnum::LOGON_SAM_LOGON_EX, &stub, &mut line.env(), &mut out).unwrap();
    // The same server, but on a connection that is not sealed.
    let mut clear = Vec::new();
    iwa_wire::dcerpc::Pdu {
        flags: iwa_wire::dcerpc::PduFlags::WHOLE,
        call_id: 2,
        body: iwa_wire::dcerpc::Body::Response { alloc_hint: 4, context_id: 0, stub: &[0; 4] },
        verifier: None,
    }
    .write(&mut clear);
    assert_eq!(call.take(&clear).unwrap_err(), RpcError::Unexpected("another protection than was asked for"));
}

#[test]
fn requests_and_answers_of_many_fragments_are_put_together() {
    let mut line = Line::new(Weather::Fair);
    line.dc.fragment = 48;
    line.dc.users[0].groups = (1..2000).collect();
    let association = line.sealed();
    let secret = Secret::new("Password".to_owned());
    let mut logon = logon::with_password(&member(), "EXAMPLE", "alice", &secret, &mut line.env()).unwrap();
    logon.lm_response = vec![0; 30_000];
    let mut stub = Vec::new();
    logon::request(&member(), &logon, &mut stub);
    assert!(stub.len() > 30_000 && LogonSamLogonEx::parse(&stub).is_ok());
    let (_, answer) = line.call(association, opnum::LOGON_SAM_LOGON_EX, &stub).unwrap();
    assert_eq!(logon::answer(&answer, None).unwrap().groups.len(), 2000);
}

#[test]
fn many_calls_go_over_one_connection() {
    let mut line = Line::new(Weather::Fair);
    let mut association = line.sealed();
    for password in ["Password", "wrong", "Password"] {
        let stub = line.logon_stub("jörg", password);
        let (after, answer) = line.call(association, opnum::LOGON_SAM_LOGON_EX, &stub).unwrap();
        assert_eq!(logon::answer(&answer, None).is_ok(), password == "Password");
        association = after;
    }
}

#[test]
fn the_machines_password_is_changed_and_the_chain_goes_on() {
    let mut line = Line::new(Weather::Fair);
    let mut session = line.open(PASSWORD).unwrap();
    let mut association = line.bind(Some(&session)).unwrap();
    for new in ["nëw and longer than the one before it", "x"] {
        let mut stub = Vec::new();
        session.password_set2(&Secret::new(new.to_owned()), &mut line.env(), &mut stub).unwrap();
        assert!(!stub.windows(6).any(|window| window == b"l\0o\0n\0"), "it goes encrypted");
        let (after, answer) = line.call(association, opnum::SERVER_PASSWORD_SET2, &stub).unwrap();
        session.password_was_set2(&answer).unwrap();
        association = after;
        let mut other = Line { dc: std::mem::replace(&mut line.dc, Dc::new("")), ..Line::new(Weather::Fair) };
        assert_eq!(other.open(PASSWORD).unwrap_err(), ChannelError::WrongPassword);
        line.dc = other.dc;
    }
    assert!(line.open("x").is_ok());
}

#[test]
fn a_wrong_return_authenticator_is_told() {
    let mut line = Line::new(Weather::Fair);
    let mut session = line.open(PASSWORD).unwrap();
    let association = line.bind(Some(&session)).unwrap();
    let mut stub = Vec::new();
    session.password_set2(&Secret::new("new".to_owned()), &mut line.env(), &mut stub).unwrap();
    let (_, mut answer) = line.call(association, opnum::SERVER_PASSWORD_SET2, &stub).unwrap();
    answer[0] ^= 1;
    assert_eq!(session.password_was_set2(&answer).unwrap_err(), ChannelError::ReturnAuthenticator);
}

#[test]
fn passwords_that_do_not_fit_are_refused() {
    let mut line = Line::new(Weather::Fair);
    let mut session = line.open(PASSWORD).unwrap();
    for bad in [String::new(), "x".repeat(257)] {
        let made = session.password_set2(&Secret::new(bad), &mut line.env(), &mut Vec::new());
        assert_eq!(made.unwrap_err(), ChannelError::PasswordLength);
    }
    assert!(session.password_set2(&Secret::new("x".repeat(256)), &mut line.env(), &mut Vec::new()).is_ok());
}

#[test]
fn keys_and_responses_are_not_printed() {
    let mut line = Line::new(Weather::Fair);
    let session = line.open(PASSWORD).unwrap();
    let association = line.bind(Some(&session)).unwrap();
    let shown = format!("{session:?} {association:?}");
    assert!(shown.contains("WEB") && !shown.to_lowercase().contains("key"), "{shown}");
}
