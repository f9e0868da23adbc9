//! Accepts the Kerberos tokens of a file, one base64 token a line, and prints what one costs: for a comparison with other
//! acceptors over the same tokens. `accept KEYTAB TOKENS`
//!
//! Each token is accepted whole, as a server does it: SPNEGO, replay check, AP-REP.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use iwa_auth::accept::{Accept, Acceptor, AcceptorConfig, Scheme};
use iwa_auth::krb5::acceptor::{Service, ServicePolicy};
use iwa_auth::krb5::keys::Keys;
use iwa_auth::krb5::pac::PacPolicy;
use iwa_auth::krb5::replay::MemoryReplayCache;
use iwa_auth::ports::ReplayCache as _;
use iwa_auth::{BindingPolicy, ChannelBindings, Env, Mechanism, UnixTime};
use iwa_wire::keytab::Keytab;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [keytab, tokens] = arguments.as_slice() else { panic!("accept KEYTAB TOKENS") };
    let keytab = std::fs::read(keytab).expect("the keytab can be read");
    let tokens = std::fs::read_to_string(tokens).expect("the tokens can be read");
    let base64 = base64::engine::general_purpose::STANDARD;
    let tokens: Vec<Vec<u8>> = tokens.lines().map(|line| base64.decode(line).expect("base64")).collect();

    let keys = Keys::of_keytabs([Keytab::parse(&keytab).expect("a keytab")]);
    let policy = ServicePolicy { pac: PacPolicy::Optional, ..ServicePolicy::default() };
    let config = AcceptorConfig {
        mechanisms: vec![Mechanism::Kerberos],
        krb5: Some(Service::new(keys, policy)),
        ntlm: None,
        binding: BindingPolicy::None,
    };
    let acceptor = Acceptor::new(config);
    let cache = MemoryReplayCache::new(Duration::from_secs(300), 1 << 20);
    let bindings = ChannelBindings::none();
    let mut entropy = iwa_testkit::pair::Seeded(1);
    let mut out = Vec::new();
    let mut accepted = 0u32;
    let begun = cpu();
    for token in &tokens {
        out.clear();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        let now = UnixTime::from_micros(u64::try_from(now.as_micros()).expect("before 500,000"));
        let env = &mut Env { now, entropy: &mut entropy };
        let mut step = acceptor.accept(Scheme::Negotiate, &bindings).step(token, env, &mut out);
        if let Ok(Accept::NeedReplayCheck(need)) = step {
            let verdict = cache.check(need.key(), now, need.expires());
            step = need.answer(verdict, env, &mut out);
        }
        match step {
            Ok(Accept::Established(established)) => {
                std::hint::black_box(&established.identity);
                accepted += 1;
            }
            Ok(_) => eprintln!("more is wanted"),
            Err(reject) => eprintln!("{reject}"),
        }
    }
    let spent = cpu() - begun;
    let each = spent.as_secs_f64() * 1e6 / tokens.len() as f64;
    println!("{{\"tokens\":{},\"accepted\":{accepted},\"cpu_us\":{each:.2}}}", tokens.len());
}

/// Time of the processor that this thread has had (Linux).
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/self/schedstat").expect("Linux");
    Duration::from_nanos(text.split(' ').next().and_then(|nanos| nanos.parse().ok()).expect("a number"))
}
