//! Recorded conversations with real domain controllers, replayed byte by byte with their keys, clock and randomness. How to add
//! one: the example `record_netlogon` of `iwa-testkit`.

use std::path::Path;

use iwa_testkit::exchange::Exchange;
use iwa_testkit::recording::{Recording, to_hex};

fn recordings() -> Vec<(String, Recording)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recordings");
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let all = Recording::all(&directory).into_iter().map(|(path, recording)| (name(&path), recording));
    let all: Vec<_> = all.filter(|(_, recording)| recording.header("role") == Some("netlogon")).collect();
    assert!(!all.is_empty(), "the recordings are part of the repository");
    all
}

/// How it ends, if the answers are first changed by `change`; `true` while what we send is what was sent.
fn replay(name: &str, recording: &Recording, change: impl Fn(usize, &mut Vec<u8>)) -> (Result<String, String>, bool) {
    let exchange = Exchange::of(recording).unwrap_or_else(|header| panic!("{name}: {header}"));
    let mut entropy = recording.entropy().unwrap_or_else(|| panic!("{name}: entropy"));
    let mut legs = recording.legs.iter().enumerate();
    let mut same = true;
    let end = exchange.hold(&mut entropy, &mut |_, bytes| {
        let (number, leg) = legs.next().ok_or("no more legs")?;
        same &= to_hex(bytes) == to_hex(&leg.token);
        let mut answer = leg.answer.clone();
        change(number, &mut answer);
        Ok(answer)
    });
    (end, same)
}

#[test]
fn every_recorded_domain_controller_gets_what_it_got_and_says_what_it_said() {
    for (name, recording) in recordings() {
        let (end, same) = replay(&name, &recording, |_, _| {});
        assert_eq!(end.as_deref(), Ok(recording.end.as_str()), "{name}");
        assert!(same, "{name}");
        assert!(recording.end.contains("S-1-5-21-") && recording.end.contains("WRONG_PASSWORD"), "{name}");
    }
}

#[test]
fn no_recorded_answer_is_taken_with_any_byte_cut_off() {
    for (name, recording) in recordings() {
        for (leg, recorded) in recording.legs.iter().enumerate() {
            for length in (0..recorded.answer.len()).step_by(5) {
                let (end, _) = replay(&name, &recording, |number, answer| {
                    if number == leg {
                        answer.truncate(length);
                    }
                });
                assert!(end.is_err(), "{name}: leg {leg} cut at {length}");
            }
        }
    }
}

#[test]
fn no_sealed_answer_is_taken_with_a_changed_byte_of_its_stub_or_for_another() {
    for (name, recording) in recordings() {
        let sealed = recording.legs.len() - 2;
        let length = recording.legs[sealed].answer.len();
        // From the stub to the end of the confounder; behind it are reserved bytes, before it RPC's own header.
        for at in (24..length - 24 - 32 - 8).chain(length - 56..length - 24) {
            let (end, _) = replay(&name, &recording, |number, answer| {
                if number == sealed {
                    answer[at] ^= 0x10;
                }
            });
            assert!(end.is_err(), "{name}: byte {at}");
        }
        let (end, _) = replay(&name, &recording, |number, answer| {
            if number == sealed + 1 {
                // The answer to the right password, once more, as if it answered the second call.
                let call_id = answer[12..16].to_vec();
                answer.clone_from(&recording.legs[sealed].answer);
                answer[12..16].copy_from_slice(&call_id);
            }
        });
        assert!(end.is_err_and(|why| why.contains("sequence")), "{name}");
    }
}
