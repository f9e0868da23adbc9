//! One Kerberos accept: ticket, authenticator, PAC, replay check, AP-REP. `cargo bench -p iwa-auth --bench krb5`.
//!
//! Hot: the service stands, its keys are prepared, as a server has them. Cold: keytab to answer, as the first request after
//! a start or a reload. Tokens are made outside the measurement, each with an authenticator of its own; the randomness is
//! that of the tests, where a server pays for one system call.

use std::time::Duration;

use divan::{Bencher, black_box};
use iwa_auth::krb5::acceptor::{Context, Service, ServicePolicy};
use iwa_auth::krb5::etype::{Etype, Key};
use iwa_auth::krb5::keys::{KeyEntry, Keys};
use iwa_auth::krb5::replay::MemoryReplayCache;
use iwa_auth::krb5::usage;
use iwa_auth::ports::{ReplayCache, ReplayKey};
use iwa_auth::{BindingPolicy, ChannelBindings, Env};
use iwa_testkit::mint::{self, HOST, Mint, MintPac, PacContent, REALM};
use iwa_testkit::pair::{NOW, Seeded};
use iwa_wire::krb5::Principal;

const SKEW: Duration = Duration::from_secs(300);

fn main() {
    divan::main();
}

fn service() -> Service {
    let policy = ServicePolicy { etypes: Etype::ALL.to_vec(), ..ServicePolicy::default() };
    Service::new(mint::keytab(), policy)
}

fn cache() -> MemoryReplayCache {
    MemoryReplayCache::new(SKEW, MemoryReplayCache::CAPACITY)
}

fn with_groups(etype: Etype, groups: u32) -> Mint {
    let pac = MintPac::Signed(PacContent::with_groups(groups));
    Mint { pac, ..Mint::of_etype(NOW, etype).mutual() }
}

/// Tokens with one ticket and many authenticators.
fn tokens(mint: Mint) -> impl FnMut() -> Vec<u8> {
    let mut entropy = Seeded(1);
    let ticket = mint.ticket(&mut entropy);
    move || mint.framed(&mint.ap_req_with(&ticket, &mut entropy))
}

fn accept(service: &Service, cache: &MemoryReplayCache, token: &[u8], out: &mut Vec<u8>) -> Context {
    let mut entropy = Seeded(2);
    let mut env = Env { now: NOW, entropy: &mut entropy };
    out.clear();
    let pending = service
        .accept(token, &ChannelBindings::none(), BindingPolicy::Allow, &mut env, out)
        .expect("the token is good");
    let verdict = cache.check(pending.replay_key(), NOW, pending.expires());
    pending.finish(verdict, &mut env, out).expect("it is the first of its kind")
}

fn hot(bencher: Bencher<'_, '_>, mint: Mint) {
    let (service, cache) = (service(), cache());
    let mut out = Vec::with_capacity(512);
    bencher.with_inputs(tokens(mint)).bench_local_refs(|token| accept(&service, &cache, token, &mut out));
}

#[divan::bench(args = [10, 100, 1000])]
fn accept_hot_by_groups(bencher: Bencher<'_, '_>, groups: u32) {
    hot(bencher, with_groups(Etype::Aes256CtsHmacSha1, groups));
}

#[divan::bench(args = [17, 18, 19, 20, 23])]
fn accept_hot_by_etype(bencher: Bencher<'_, '_>, etype: i32) {
    hot(bencher, with_groups(Etype::from_number(etype).expect("it is implemented"), 30));
}

#[divan::bench]
fn accept_hot_without_ap_rep(bencher: Bencher<'_, '_>) {
    let pac = MintPac::Signed(PacContent::with_groups(30));
    hot(bencher, Mint { pac, ..Mint::new(NOW) });
}

#[divan::bench]
fn accept_cold(bencher: Bencher<'_, '_>) {
    let cache = cache();
    let mut out = Vec::new();
    bencher
        .with_inputs(tokens(with_groups(Etype::Aes256CtsHmacSha1, 30)))
        .bench_local_refs(|token| accept(&service(), &cache, token, &mut out));
}

#[divan::bench]
fn prepare_a_keytab_of_five_keys(bencher: Bencher<'_, '_>) {
    bencher.bench_local(service);
}

#[divan::bench(args = [17, 18, 19, 20, 23])]
fn decrypt_1500_bytes(bencher: Bencher<'_, '_>, etype: i32) {
    let etype = Etype::from_number(etype).expect("it is implemented");
    let key = mint::key(etype, 1).specific(usage::TICKET);
    let mut cipher = Vec::new();
    key.encrypt(&[7; 1500], &mut Seeded(1), &mut cipher).expect("there is randomness");
    let mut scratch = Vec::with_capacity(2000);
    bencher.bench_local(|| key.decrypt(black_box(&cipher), &mut scratch).map(<[u8]>::len));
}

#[divan::bench(args = [18, 20, 23])]
fn derive_ke_and_ki(bencher: Bencher<'_, '_>, etype: i32) {
    let key = mint::key(Etype::from_number(etype).expect("it is implemented"), 1);
    bencher.bench_local(|| black_box(&key).specific(black_box(usage::AP_REP)));
}

#[divan::bench]
fn replay_check(bencher: Bencher<'_, '_>) {
    let cache = cache();
    let mut n = 0u64;
    let mut next = move || {
        n += 1;
        ReplayKey::of_authenticator(&n.to_le_bytes())
    };
    bencher.with_inputs(&mut next).bench_local_values(|key| cache.check(key, NOW, NOW.plus(SKEW)));
}

#[divan::bench]
fn look_up_among_100_services(bencher: Bencher<'_, '_>) {
    let services: Vec<Principal> =
        (0..100).map(|n| Principal::service("HTTP", &format!("{n}.{HOST}"), REALM)).collect();
    let key: Key = mint::key(Etype::Aes256CtsHmacSha1, 4);
    let keys = Keys::new(services.iter().map(|service| KeyEntry {
        name: service.name(),
        realm: service.realm(),
        kvno: 4,
        etype: 18,
        key: key.expose(),
    }));
    let mint = Mint { service: services[50].clone(), ..with_groups(Etype::Aes256CtsHmacSha1, 30) };
    let service = Service::new(keys, ServicePolicy::default());
    let cache = cache();
    let mut out = Vec::new();
    bencher.with_inputs(tokens(mint)).bench_local_refs(|token| accept(&service, &cache, token, &mut out));
}
