use core::sync::atomic::{AtomicU64, Ordering};

use http::header::COOKIE;
use iwa_auth::ports::SessionVerified;
use iwa_auth::{Account, Mechanism, NamedGroup};
use iwa_wire::Sid;
use proptest::prelude::*;

use super::seal::canonical_host;
use super::*;

/// A clock that tests set, and bytes that never come twice.
struct Fake {
    now: AtomicU64,
    next: AtomicU64,
}

impl Fake {
    fn at(seconds: u64) -> Self {
        Self { now: AtomicU64::new(seconds), next: AtomicU64::new(1) }
    }

    fn pass(&self, seconds: u64) {
        self.now.fetch_add(seconds, Ordering::Relaxed);
    }
}

impl System for Fake {
    fn now(&self) -> UnixTime {
        UnixTime::from_micros(self.now.load(Ordering::Relaxed) * 1_000_000)
    }

    fn random(&self, out: &mut [u8]) -> Result<(), EntropyError> {
        for chunk in out.chunks_mut(8) {
            let next = self.next.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            chunk.copy_from_slice(&next.to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

const START: u64 = 1_800_000_000;
const HOUR: u64 = 3600;

fn sid(text: &str) -> Sid {
    text.parse().expect("a SID")
}

fn identity(groups: Vec<Sid>, named: Option<Vec<NamedGroup>>) -> Identity {
    let account = Account {
        name: "alice".into(),
        domain: "CORP".into(),
        realm: Some("CORP.EXAMPLE.TEST".into()),
        upn: Some("alice@corp.example.test".into()),
        display_name: Some("Alice Ä. Example".into()),
        sid: Some(sid("S-1-5-21-3623811015-3361044348-30300820-1013")),
    };
    Identity::from_session(SessionVerified::by_seal(account, groups, named, Mechanism::Kerberos))
}

fn alice() -> Identity {
    identity(vec![sid("S-1-5-21-3623811015-3361044348-30300820-513"), sid("S-1-18-1"), sid("S-1-5-32-545")], None)
}

/// So many groups of a domain that has given away half a million RIDs.
fn many(count: u32) -> Identity {
    let domain = sid("S-1-5-21-3623811015-3361044348-30300820");
    identity((0..count).map(|n| domain.with_rid(1000 + n * 499).expect("room")).collect(), None)
}

fn policy(name: &str) -> PolicyId {
    PolicyId::of([("providers", name)])
}

fn place() -> Place<'static> {
    Place {
        host: "web.example.test".into(),
        secure: true,
        policy: policy("Negotiate"),
        certificate: [0; 16],
        suffix: "",
    }
}

struct World {
    system: Fake,
    keys: Keys,
    terms: Terms,
}

impl World {
    fn new() -> Self {
        let system = Fake::at(START);
        let keys = Keys::generate(&system).expect("keys");
        Self { system, keys, terms: Terms::default() }
    }

    fn begin(&self, place: &Place<'_>, identity: &Identity) -> Vec<HeaderValue> {
        begin(identity, None, &self.keys, place, &self.terms, &self.system).expect("a session").lines
    }

    fn cookie(&self) -> HeaderMap {
        sent(&self.begin(&place(), &alice()))
    }

    fn present(&self, headers: &HeaderMap, place: &Place<'_>) -> Presented {
        presented(headers, &self.keys, place, &self.terms, self.system.now())
    }

    fn session(&self, headers: &HeaderMap) -> Session {
        match self.present(headers, &place()) {
            Presented::Session(session) => *session,
            other => panic!("{other:?}"),
        }
    }

    fn refused(&self, headers: &HeaderMap, place: &Place<'_>) -> Refusal {
        match self.present(headers, place) {
            Presented::Refused(refusal) => refusal,
            other => panic!("{other:?}"),
        }
    }
}

/// What a browser sends back.
fn sent(lines: &[HeaderValue]) -> HeaderMap {
    let cookie = |line: &HeaderValue| line.to_str().expect("ASCII").split(';').next().expect("a pair").to_owned();
    cookies(&lines.iter().map(cookie).collect::<Vec<_>>())
}

fn cookies(pairs: &[String]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(COOKIE, HeaderValue::try_from(pairs.join("; ")).expect("a cookie"));
    headers
}

fn text(headers: &HeaderMap) -> String {
    headers[COOKIE].to_str().expect("ASCII").to_owned()
}

#[test]
fn a_session_says_who_it_is_and_how_they_proved_it() {
    let world = World::new();
    let lines = world.begin(&place(), &alice());
    let [line] = lines.as_slice() else { panic!("one cookie: {lines:?}") };
    let line = line.to_str().expect("ASCII");
    assert!(line.starts_with("__Host-iwa=1") && line.ends_with("; Path=/; Secure; HttpOnly; SameSite=Lax"), "{line}");
    assert!(!line.to_ascii_lowercase().contains("domain="), "{line}");
    let session = world.session(&sent(&lines));
    assert_eq!(session.identity.account(), alice().account());
    assert_eq!(session.identity.mechanism(), Mechanism::Kerberos);
    assert_eq!(session.identity.groups().len(), 3);
    assert_eq!(session.identity.named_groups(), None);
    assert_eq!(session.times.ends.secs() - session.times.begun.secs(), 8 * 3600);
    assert!(!format!("{lines:?}").contains("__Host"), "a cookie is not for logs");
}

#[test]
fn a_thousand_groups_fit_into_one_cookie_and_more_into_pieces_and_none_is_lost() {
    let world = World::new();
    for (count, pieces) in [(1, 1), (1_010, 1), (2_000, 2), (4_000, 3)] {
        let lines = world.begin(&place(), &many(count));
        assert_eq!(lines.len(), pieces, "{count} groups");
        assert!(lines.iter().all(|line| line.len() <= 4096), "a browser keeps it");
        assert_eq!(world.session(&sent(&lines)).identity.groups().len() as u32, count);
    }
    let refused = begin(&many(60_000), None, &world.keys, &place(), &world.terms, &world.system);
    assert_eq!(refused.expect_err("never a session with fewer groups"), NoSession::TooLong);
}

#[test]
fn pieces_of_two_sessions_or_in_another_order_or_too_few_are_no_session() {
    let world = World::new();
    let [one, two] = [1, 2].map(|_| world.begin(&place(), &many(4_000)));
    let mixed = [one[0].clone(), two[1].clone(), one[2].clone()];
    assert_eq!(world.refused(&sent(&mixed), &place()), Refusal::Seal);
    for few in [&one[..1], &one[..2]] {
        assert_eq!(world.refused(&sent(few), &place()), Refusal::Malformed);
    }
    assert!(matches!(world.present(&sent(&one[1..]), &place()), Presented::Nothing));
    let swapped = text(&sent(&one)).replace("iwa.2=", "iwa.x=").replace("iwa.3=", "iwa.2=").replace("iwa.x=", "iwa.3=");
    assert_eq!(world.refused(&cookies(&[swapped]), &place()), Refusal::Seal);
}

#[test]
fn a_cookie_with_any_bit_changed_is_refused() {
    let world = World::new();
    let whole = text(&world.cookie());
    let begin = whole.find('=').expect("a pair") + 2;
    for at in begin..whole.len() {
        let mut bytes = whole.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        if bytes == whole.as_bytes() {
            continue;
        }
        let changed = cookies(&[String::from_utf8(bytes).expect("ASCII")]);
        let refusal = world.refused(&changed, &place());
        assert!(matches!(refusal, Refusal::Seal | Refusal::UnknownKey | Refusal::Malformed), "{at}: {refusal:?}");
    }
}

#[test]
fn a_cookie_cut_anywhere_or_that_is_no_base64_is_refused() {
    let world = World::new();
    let whole = text(&world.cookie());
    for end in "__Host-iwa=".len()..whole.len() {
        world.refused(&cookies(&[whole[..end].to_owned()]), &place());
    }
    for value in ["", "0", "1", "1!!!!", "2AAAA", "9AAAA", "x", "1 AAAA", "1AAAA=", "é"] {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::try_from(format!("__Host-iwa={value}").into_bytes()).expect("a value"));
        assert!(!matches!(world.present(&headers, &place()), Presented::Session(_)), "{value}");
    }
}

#[test]
fn a_cookie_of_another_host_policy_certificate_or_without_tls_is_refused() {
    let world = World::new();
    let headers = world.cookie();
    for other in [
        Place { host: "other.example.test".into(), ..place() },
        Place { host: "web.example.test:8443".into(), ..place() },
        Place { policy: policy("Negotiate:Kerberos"), ..place() },
        Place { certificate: [7; 16], ..place() },
    ] {
        assert_eq!(world.refused(&headers, &other), Refusal::Seal, "{other:?}");
    }
    // Over plain HTTP its name means nothing, and under the other name it does not open.
    let terms = Terms { in_clear: true, ..Terms::default() };
    let world = World { terms, ..world };
    let clear = Place { secure: false, ..place() };
    assert!(matches!(world.present(&headers, &clear), Presented::Nothing));
    let renamed = cookies(&[text(&headers).replace("__Host-iwa", "iwa-session")]);
    assert_eq!(world.refused(&renamed, &clear), Refusal::Seal);
    let from_clear = text(&sent(&world.begin(&clear, &alice()))).replace("iwa-session", "__Host-iwa");
    assert_eq!(world.refused(&cookies(&[from_clear]), &place()), Refusal::Seal, "nor the other way");
}

#[test]
fn without_tls_there_is_no_session_unless_the_terms_say_so() {
    let world = World::new();
    let clear = Place { secure: false, ..place() };
    let refused = begin(&alice(), None, &world.keys, &clear, &world.terms, &world.system);
    assert_eq!(refused.expect_err("in clear"), NoSession::InClear);
    let terms = Terms { in_clear: true, same_site: SameSite::None, ..Terms::default() };
    let allowed = World { terms, ..world };
    let lines = allowed.begin(&clear, &alice());
    let line = lines[0].to_str().expect("ASCII");
    assert!(line.starts_with("iwa-session=1") && !line.contains("Secure") && line.ends_with("SameSite=Lax"), "{line}");
    let strict = World { terms: Terms::default(), ..allowed };
    assert!(matches!(strict.present(&sent(&lines), &clear), Presented::Nothing), "the terms of now hold");
}

#[test]
fn a_cookie_sealed_with_another_key_is_refused() {
    let world = World::new();
    let headers = world.cookie();
    let system = Fake { next: AtomicU64::new(1_000), ..Fake::at(START) };
    let other = World { keys: Keys::generate(&system).expect("keys"), ..World::new() };
    assert_eq!(other.refused(&headers, &place()), Refusal::UnknownKey);
}

#[test]
fn two_cookies_of_one_name_are_none_in_one_line_and_in_two() {
    let world = World::new();
    let good = text(&world.cookie());
    for twice in
        [[good.clone(), "__Host-iwa=1x".into()], ["__Host-iwa=1x".into(), good.clone()], [good.clone(), good.clone()]]
    {
        assert_eq!(world.refused(&cookies(&twice), &place()), Refusal::Twice);
        let mut lines = HeaderMap::new();
        for line in &twice {
            lines.append(COOKIE, line.parse().expect("a line"));
        }
        assert_eq!(world.refused(&lines, &place()), Refusal::Twice);
    }
}

#[test]
fn crumbs_in_several_lines_are_read_as_one() {
    let world = World::new();
    let mut headers = HeaderMap::new();
    for line in ["a=b; c=d", &text(&world.cookie()), "e=f;g=h"] {
        headers.append(COOKIE, line.parse().expect("a line"));
    }
    world.session(&headers);
}

#[test]
fn a_session_ends_at_its_end_and_with_the_ticket_and_no_use_moves_that() {
    let mut world = World::new();
    world.terms.idle = Some(Duration::from_secs(HOUR));
    let ticket = UnixTime::from_secs((START + 2 * HOUR) as i64);
    let Begun { id, lines, .. } =
        begin(&alice(), Some(ticket), &world.keys, &place(), &world.terms, &world.system).expect("a session");
    let mut headers = sent(&lines);
    for _ in 0..7 {
        world.system.pass(HOUR / 4);
        let session = world.session(&headers);
        assert_eq!((session.id, session.times.ends), (id, ticket));
        let lines = again(&session, &world.keys, &place(), &world.terms, &world.system).expect("sealed");
        headers = sent(&lines.expect("a quarter has passed"));
    }
    world.system.pass(HOUR / 4);
    assert_eq!(world.refused(&headers, &place()), Refusal::Expired);
    let over = begin(&alice(), Some(ticket), &world.keys, &place(), &world.terms, &world.system);
    assert_eq!(over.expect_err("the ticket has ended"), NoSession::TicketEnds);
}

#[test]
fn an_idle_session_ends_and_one_in_use_is_sealed_again_now_and_then() {
    let mut world = World::new();
    world.terms = Terms { idle: Some(Duration::from_secs(HOUR)), persistent: true, ..Terms::default() };
    let lines = world.begin(&place(), &alice());
    assert!(lines[0].to_str().expect("ASCII").ends_with("; Max-Age=3600"));
    let headers = sent(&lines);
    world.system.pass(HOUR / 4 - 1);
    let again = |world: &World| {
        again(&world.session(&headers), &world.keys, &place(), &world.terms, &world.system).expect("sealed")
    };
    assert_eq!(again(&world), None, "not with each request");
    world.system.pass(1);
    assert!(again(&world).is_some());
    world.system.pass(HOUR * 3 / 4 - 1);
    world.session(&headers);
    world.system.pass(1);
    assert_eq!(world.refused(&headers, &place()), Refusal::Idle);
}

#[test]
fn shorter_terms_hold_for_sessions_that_began_before() {
    let mut world = World::new();
    let headers = world.cookie();
    world.system.pass(HOUR);
    world.session(&headers);
    world.terms.lifetime = Duration::from_secs(HOUR);
    assert_eq!(world.refused(&headers, &place()), Refusal::Expired);
}

#[test]
fn a_session_from_the_future_is_refused_and_clocks_may_differ_a_little() {
    let world = World::new();
    world.system.pass(61);
    let headers = world.cookie();
    let behind = World { system: Fake::at(START), keys: world.keys.clone(), terms: Terms::default() };
    assert_eq!(behind.refused(&headers, &place()), Refusal::FromTheFuture);
    behind.system.pass(1);
    behind.session(&headers);
}

#[test]
fn parts_of_a_site_that_demand_something_else_have_a_cookie_of_their_own() {
    let world = World::new();
    let strict = Place { policy: policy("Negotiate:Kerberos"), suffix: "0a1b2c3d", ..place() };
    let lines = [world.begin(&place(), &alice()), world.begin(&strict, &many(4_000))].concat();
    let both = sent(&lines);
    assert!(text(&both).contains("__Host-iwa-0a1b2c3d.2="));
    world.session(&both);
    assert!(matches!(world.present(&both, &strict), Presented::Session(_)));
    assert_eq!(cookie::clear(&both, &place()).len(), 1);
    assert_eq!(cookie::clear(&both, &strict).len(), 3);
    let cleared = cookie::clear_all(&both);
    assert_eq!(cleared.len(), 4);
    for line in cleared {
        let line = line.to_str().expect("ASCII");
        assert!(line.ends_with("=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0"), "{line}");
    }
}

#[test]
fn no_session_cookie_goes_on_to_an_application() {
    let cases: [(&[&str], Option<&str>); 8] = [
        (&["__Host-iwa=1abc"], None),
        (&["a=b; __Host-iwa=1abc; c=d"], Some("a=b; c=d")),
        (&["a=b", "__Host-iwa=1abc;iwa-session=1", "c=d"], Some("a=b; c=d")),
        (&["__Host-iwa.2=x; __Host-iwa-0a1b2c3d=y; __Host-iwa-0a1b2c3d.3=z"], None),
        (&[" __host-IWA =1abc; IWA-SESSION=1; \"__Host-iwa\"=1"], None),
        (&["__Host-iwa"], None),
        (&["__Host-iwatch=1; iwa-sessions=2"], Some("__Host-iwatch=1; iwa-sessions=2")),
        (&["a=b;c=d"], Some("a=b;c=d")),
    ];
    for (lines, wanted) in cases {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, line.parse().expect("a line"));
        }
        without_session_cookies(&mut headers);
        let left: Vec<_> = headers.get_all(COOKIE).iter().map(|line| line.to_str().expect("ASCII")).collect();
        assert_eq!(left, Vec::from_iter(wanted), "{lines:?}");
    }
    let mut headers = HeaderMap::new();
    headers.insert(COOKIE, HeaderValue::from_bytes(b"a=\xe9; __Host-iwa=1abc").expect("a line"));
    without_session_cookies(&mut headers);
    assert_eq!(headers[COOKIE].as_bytes(), b"a=\xe9", "a line that is not ASCII, too");
}

#[test]
fn a_new_key_seals_when_everybody_could_read_it_and_an_old_one_opens_until_its_sessions_ended() {
    let (day, longest) = (Duration::from_secs(24 * HOUR), Terms::LIFETIME);
    let mut world = World::new();
    let first = world.keys.clone();
    assert!(first.rotated(day, longest, &world.system).expect("entropy").is_none(), "it is young");
    world.system.pass(24 * HOUR);
    let both = first.rotated(day, longest, &world.system).expect("entropy").expect("it is due");
    assert_eq!(both.count(), 2);
    // One server wrote it; another has not read it yet.
    world.keys = both.clone();
    let early = world.cookie();
    world.keys = first.clone();
    world.session(&early);
    world.system.pass(keys::SETTLES.as_secs());
    world.keys = both.clone();
    let late = world.cookie();
    world.keys = first.clone();
    assert_eq!(world.refused(&late, &place()), Refusal::UnknownKey, "sealed with the new one");
    world.keys = both.clone();
    world.session(&early);
    world.session(&late);

    world.system.pass(longest.as_secs() - 1);
    assert!(both.rotated(day, longest, &world.system).expect("entropy").is_none());
    world.system.pass(1);
    assert_eq!(world.refused(&early, &place()), Refusal::Expired);
    let left = both.rotated(day, longest, &world.system).expect("entropy").expect("one key less");
    assert_eq!(left.count(), 1);
    world.keys = left;
    assert_eq!(world.refused(&early, &place()), Refusal::UnknownKey);
}

#[test]
fn keys_are_read_as_they_were_written_and_never_printed() {
    let world = World::new();
    world.system.pass(100 * HOUR);
    let keys = world.keys.rotated(Duration::ZERO, Terms::LIFETIME, &world.system).expect("entropy").expect("due");
    let again = Keys::parse(keys.text().expose()).expect("keys");
    assert_eq!(again.count(), keys.count());
    world.session_with(&again, &world.cookie());
    let shown = format!("{keys:?}");
    for line in keys.text().expose().lines().filter(|line| !line.starts_with('#')) {
        assert!(!shown.contains(line.split(' ').nth(1).expect("a key")), "{shown}");
    }
}

impl World {
    fn session_with(&self, keys: &Keys, headers: &HeaderMap) {
        let found = presented(headers, keys, &place(), &self.terms, self.system.now());
        assert!(matches!(found, Presented::Session(_)), "{found:?}");
    }
}

#[test]
fn texts_that_hold_no_keys_are_refused_by_line_and_say_nothing_of_a_key() {
    let good = "1763930000 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    assert!(Keys::parse(good).is_ok());
    for (bad, wanted) in [
        (String::new(), KeysError::None),
        ("# nothing".to_owned(), KeysError::None),
        (format!("{good}\nnonsense"), KeysError::Line(2)),
        (good.replace('=', ""), KeysError::Line(1)),
        (good.replace("1763930000 ", ""), KeysError::Line(1)),
        (good.replace("1763930000", "-5"), KeysError::Line(1)),
        (good.replace("1763930000", "+5"), KeysError::Line(1)),
        (good.replace("AAEC", ""), KeysError::Line(1)),
        (good.replace("AAEC", "AAECAAEC"), KeysError::Line(1)),
        (format!("{good}\n").repeat(801), KeysError::TooMany),
    ] {
        let error = Keys::parse(&bad).expect_err("no keys");
        assert_eq!(error, wanted);
        assert!(!error.to_string().contains("AAEC") && !error.to_string().contains("nonsense"));
    }
}

#[test]
fn a_host_has_one_spelling() {
    for (written, secure, wanted) in [
        ("web.example.test", true, "web.example.test"),
        ("WEB.Example.test.:443", true, "web.example.test"),
        ("web.example.test:80", true, "web.example.test:80"),
        ("web.example.test.:8443", true, "web.example.test:8443"),
        ("web.example.test:80", false, "web.example.test"),
        ("[2001:DB8::1]:443", true, "[2001:db8::1]"),
        ("[2001:db8::1]", true, "[2001:db8::1]"),
        ("[2001:db8::1]:8443", true, "[2001:db8::1]:8443"),
        ("", true, ""),
    ] {
        assert_eq!(canonical_host(written, secure), wanted, "{written}");
    }
}

#[test]
fn demands_cannot_run_into_each_other() {
    assert_ne!(PolicyId::of([("a", "bc")]), PolicyId::of([("ab", "c")]));
    assert_ne!(PolicyId::of([("a", "b"), ("c", "d")]), PolicyId::of([("a", "bcd")]));
    assert_eq!(PolicyId::of([("a", "b")]), PolicyId::of([("a", "b")]));
}

#[test]
fn a_name_of_a_session_is_32_digits() {
    let id = SessionId(*b"0123456789abcdef");
    assert_eq!(id.to_string().parse(), Ok(id));
    for bad in ["", "0", &"0".repeat(31), &"0".repeat(33), &"g".repeat(32), &"+1".repeat(16), &"é".repeat(16)] {
        assert_eq!(bad.parse::<SessionId>(), Err(NoSessionId), "{bad}");
    }
}

fn any_sid() -> impl Strategy<Value = Sid> {
    let domains = prop_oneof![Just(vec![21, 1, 2, 3]), Just(vec![32]), proptest::collection::vec(any::<u32>(), 0..15)];
    (prop_oneof![Just(5), 0..1u64 << 48], domains, proptest::option::of(any::<u32>())).prop_map(
        |(authority, domain, rid)| {
            let sid = Sid::new(authority, &domain).expect("in range");
            rid.and_then(|rid| sid.with_rid(rid)).unwrap_or(sid)
        },
    )
}

fn any_named() -> impl Strategy<Value = NamedGroup> {
    (
        "\\PC{0,12}",
        prop_oneof![Just(",ou=groups,dc=example,dc=test"), Just("é"), Just("")],
        proptest::option::of("\\PC{0,9}"),
    )
        .prop_map(|(cn, base, name)| NamedGroup { dn: format!("{cn}{base}"), name })
}

fn any_identity() -> impl Strategy<Value = Identity> {
    let optional = || proptest::option::of("\\PC{0,20}");
    (
        ("\\PC{0,20}", "\\PC{0,15}", optional(), optional(), optional(), proptest::option::of(any_sid())),
        proptest::collection::vec(any_sid(), 0..60),
        proptest::option::of(proptest::collection::vec(any_named(), 0..20)),
        prop_oneof![Just(Mechanism::Kerberos), Just(Mechanism::Ntlm), Just(Mechanism::Basic)],
    )
        .prop_map(|((name, domain, realm, upn, display_name, sid), groups, named, mechanism)| {
            let account = Account { name, domain, realm, upn, display_name, sid };
            Identity::from_session(SessionVerified::by_seal(account, groups, named, mechanism))
        })
}

proptest! {
    // Each case reads a text cut at every byte.
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn whatever_an_identity_says_is_read_as_it_was_written(
        identity in any_identity(), id in any::<[u8; 16]>(), begun in 0..1i64 << 40, lasts in 0..1i64 << 30, used in 0..1i64 << 30,
    ) {
        let at = UnixTime::from_secs;
        let times = Times { begun: at(begun), ends: at(begun + lasts), seen: at(begun + used) };
        let mut bytes = Vec::new();
        codec::write(SessionId(id), &times, &identity, &mut bytes);
        let (read_id, read_times, verified) = codec::read(&bytes).expect("it was just written");
        let read = Identity::from_session(verified);
        prop_assert_eq!((read_id, read_times), (SessionId(id), times));
        prop_assert_eq!(read.account(), identity.account());
        prop_assert_eq!(read.mechanism(), identity.mechanism());
        prop_assert_eq!(read.named_groups(), identity.named_groups());
        let groups = |identity: &Identity| std::collections::BTreeSet::from_iter(identity.groups().iter().copied());
        prop_assert_eq!(groups(&read), groups(&identity));
        // No shorter and no longer text means anything.
        for end in 0..bytes.len() {
            prop_assert!(codec::read(&bytes[..end]).is_none());
        }
        bytes.push(0);
        prop_assert!(codec::read(&bytes).is_none());
    }

    #[test]
    fn no_bytes_make_the_reader_panic_or_allocate_for_what_is_not_there(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = codec::read(&bytes);
    }

    #[test]
    fn no_cookie_line_makes_the_reader_panic(line in "[ -~]{0,200}", value in "[ -~]{0,200}") {
        let world = World::new();
        let headers = cookies(&[line, format!("__Host-iwa={value}")]);
        prop_assert!(!matches!(world.present(&headers, &place()), Presented::Session(_)));
    }
}
