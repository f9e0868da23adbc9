//! What it costs a server to know somebody by a session: the cookie in, an identity out; and to seal one.
//! `cargo bench -p iwa-http --bench session`.

use divan::Bencher;
use http::header::{COOKIE, HeaderMap, HeaderValue};
use iwa_auth::ports::SessionVerified;
use iwa_auth::{Account, Identity, Mechanism};
use iwa_http::session::{Keys, Place, PolicyId, Presented, Terms, begin, presented};
use iwa_http::{Os, System as _};
use iwa_wire::Sid;

fn main() {
    divan::main();
}

/// From the header lines to an identity with so many groups.
#[divan::bench(args = [0, 10, 100, 1000])]
fn open(bencher: Bencher<'_, '_>, groups: u32) {
    let (keys, terms, place) = (Keys::generate(&Os).expect("keys"), Terms::default(), place());
    let begun = begin(&identity(groups), None, &keys, &place, &terms, &Os).expect("a session");
    let pairs: Vec<_> = begun.lines.iter().filter_map(|line| line.to_str().ok()?.split(';').next()).collect();
    let mut headers = HeaderMap::new();
    headers.insert(COOKIE, HeaderValue::try_from(format!("theme=dark; {}", pairs.join("; "))).expect("a line"));
    bencher.bench_local(|| {
        let found = presented(&headers, &keys, &place, &terms, Os.now());
        assert!(matches!(found, Presented::Session(_)));
        found
    });
}

/// From an identity with so many groups to `Set-Cookie`.
#[divan::bench(args = [10, 1000])]
fn seal(bencher: Bencher<'_, '_>, groups: u32) {
    let (keys, terms, place) = (Keys::generate(&Os).expect("keys"), Terms::default(), place());
    let identity = identity(groups);
    bencher.bench_local(|| begin(&identity, None, &keys, &place, &terms, &Os).expect("a session"));
}

fn place() -> Place<'static> {
    Place {
        host: "web.example.test".into(),
        secure: true,
        policy: PolicyId::of([("providers", "Negotiate")]),
        certificate: [0; 16],
        suffix: "",
    }
}

fn identity(groups: u32) -> Identity {
    let domain: Sid = "S-1-5-21-3623811015-3361044348-30300820".parse().expect("a SID");
    let account = Account {
        name: "alice".into(),
        domain: "CORP".into(),
        realm: Some("CORP.EXAMPLE.TEST".into()),
        upn: Some("alice@corp.example.test".into()),
        display_name: Some("Alice Example".into()),
        sid: domain.with_rid(1104),
    };
    let groups = (0..groups).filter_map(|n| domain.with_rid(2000 + n * 7)).collect();
    Identity::from_session(SessionVerified::by_seal(account, groups, None, Mechanism::Kerberos))
}
