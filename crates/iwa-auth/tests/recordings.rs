//! Recorded handshakes, replayed byte by byte with their keys, clock and randomness. How to add one: the examples `record`
//! and `record_initiator` of `iwa-testkit`. Those of NTLM have more tests of their own in `recordings_ntlm.rs`.

use std::path::Path;

use iwa_auth::UnixTime;
use iwa_testkit::pair::Server;
use iwa_testkit::recording::{Recording, to_hex};

/// The recordings that the general header describes whole, in which we are the `role`.
fn recordings(role: &str) -> Vec<(String, Recording)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recordings");
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let all: Vec<_> = Recording::all(&directory)
        .into_iter()
        .map(|(path, recording)| (name(&path), recording))
        .filter(|(name, recording)| !name.starts_with("ntlm-") && recording.header("role") == Some(role))
        .collect();
    assert!(!all.is_empty(), "the recordings are part of the repository");
    all
}

fn server(name: &str, recording: &Recording) -> Server {
    let mut server = recording.server().unwrap_or_else(|header| panic!("{name}: {header}"));
    server.entropy = Box::new(recording.entropy().unwrap_or_else(|| panic!("{name}: entropy")));
    server
}

/// What the server says at the end, and that it answered as it did.
fn replay(name: &str, recording: &Recording, server: &mut Server) -> String {
    let mut end = String::new();
    for leg in &recording.legs {
        let answer = server.take(&leg.token);
        assert_eq!(to_hex(&answer.token), to_hex(&leg.answer), "{name}");
        end = answer.in_words();
    }
    end
}

#[test]
fn every_recorded_client_is_answered_as_it_was() {
    for (name, recording) in recordings("acceptor") {
        assert_eq!(replay(&name, &recording, &mut server(&name, &recording)), recording.end, "{name}");
    }
}

#[test]
fn no_recorded_client_gets_in_twice_or_at_another_time() {
    for (name, recording) in recordings("acceptor") {
        let mut server = server(&name, &recording);
        replay(&name, &recording, &mut server);
        for leg in &recording.legs {
            assert!(server.take(&leg.token).established().is_none(), "{name}: twice");
        }
        for now in [server.now.shifted(-7 * 86_400), server.now.shifted(7 * 86_400), UnixTime::default()] {
            let mut other = recording.server().unwrap_or_else(|header| panic!("{name}: {header}"));
            other.now = now;
            for leg in &recording.legs {
                assert!(other.take(&leg.token).established().is_none(), "{name}: at {now}");
            }
        }
    }
}

#[test]
fn no_recorded_client_gets_in_with_any_byte_of_its_last_token_cut_off() {
    for (name, recording) in recordings("acceptor") {
        let Some((last, before)) = recording.legs.split_last() else { continue };
        for length in (0..last.token.len()).step_by(7) {
            let mut server = server(&name, &recording);
            for leg in before {
                server.take(&leg.token);
            }
            assert!(server.take(&last.token[..length]).established().is_none(), "{name}: {length}");
        }
    }
}

#[test]
fn every_recorded_server_gets_the_tokens_that_it_got_and_is_believed() {
    for (name, recording) in recordings("initiator") {
        let mut client = recording.client().unwrap_or_else(|header| panic!("{name}: {header}"));
        client.entropy = Box::new(recording.entropy().unwrap_or_else(|| panic!("{name}: entropy")));
        let mut turn = client.begin();
        for leg in &recording.legs {
            assert_eq!(to_hex(&turn.token), to_hex(&leg.token), "{name}");
            turn = if leg.answer.is_empty() { client.take_silence() } else { client.take(&leg.answer) };
        }
        assert_eq!(turn.in_words(), recording.end, "{name}");
    }
}

#[test]
fn no_recorded_server_is_believed_in_another_handshake() {
    for (name, recording) in recordings("initiator") {
        let mut client = recording.client().unwrap_or_else(|header| panic!("{name}: {header}"));
        // Another authenticator: the KDC in memory gives the same session key each time, and the time tells them apart.
        client.now = client.now.shifted(1);
        let mut turn = client.begin();
        for leg in &recording.legs {
            if turn.end.is_some() {
                break;
            }
            turn = if leg.answer.is_empty() { client.take_silence() } else { client.take(&leg.answer) };
        }
        let mutual = turn.end.as_ref().is_some_and(|end| end.as_ref().is_ok_and(|end| end.mutual));
        assert!(!mutual, "{name}: {}", turn.in_words());
    }
}
