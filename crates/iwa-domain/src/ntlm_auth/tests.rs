//! Against programs that behave as Samba's do, and worse.

use std::path::Path;
use std::sync::Arc;

use super::*;

fn fake(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ntlm_auth").join(name)
}

fn authority(processes: usize) -> NtlmAuth {
    with_timeout(processes, Duration::from_secs(20))
}

fn with_timeout(processes: usize, timeout: Duration) -> NtlmAuth {
    let config = NtlmAuthConfig {
        program: fake("ntlm_auth"),
        wbinfo: fake("wbinfo"),
        processes,
        timeout,
        ..NtlmAuthConfig::default()
    };
    NtlmAuth { pause: Duration::ZERO, ..NtlmAuth::new(config) }
}

fn logon(domain: &str, user: &str) -> NetworkLogon {
    NetworkLogon {
        domain: domain.into(),
        user: user.into(),
        workstation: String::new(),
        server_challenge: [7; 8],
        nt_response: vec![1; 60],
        lm_response: vec![0; 24],
    }
}

async fn network(authority: &NtlmAuth, user: &str) -> Result<LogonInfo, LogonError> {
    authority.network(&logon("CORP", user)).await
}

fn unavailable(result: Result<LogonInfo, LogonError>) -> String {
    match result {
        Err(LogonError::Unavailable(why)) => why,
        other => panic!("{other:?}"),
    }
}

fn process(authority: &NtlmAuth) -> usize {
    authority.idle.lock().unwrap().len()
}

#[tokio::test]
async fn an_account_comes_with_its_sid_its_groups_and_the_session_key() {
    let authority = authority(2);
    for (domain, user) in [("CORP", "alice"), ("", "alice")] {
        let info = authority.network(&logon(domain, user)).await.unwrap();
        assert_eq!((info.account.domain.as_str(), info.account.name.as_str()), ("CORP", "alice"));
        assert_eq!(info.account.realm.as_deref(), Some("CORP.EXAMPLE.TEST"));
        assert_eq!(info.account.sid, "S-1-5-21-1-2-3-1103".parse().ok());
        let groups: Vec<_> = info.groups.iter().map(ToString::to_string).collect();
        assert_eq!(groups, ["S-1-5-21-1-2-3-513", "S-1-5-21-1-2-3-1112"]);
        assert_eq!(info.session_base_key.expose()[..3], [0, 1, 2]);
    }
    let password = Secret::new("whatever".to_owned());
    assert!(authority.password("CORP", "alice", &password).await.is_ok());
    assert_eq!(process(&authority), 1, "one after the other needs one process");
}

#[tokio::test]
async fn refusals_are_told_apart_and_the_same_process_goes_on() {
    let authority = authority(1);
    for _ in 0..3 {
        for (user, status) in [
            ("bob", NtStatus::ACCOUNT_DISABLED),
            ("nobody", NtStatus::NO_SUCH_USER),
            ("loud", NtStatus::ACCOUNT_LOCKED_OUT),
            ("guest", NtStatus::LOGON_FAILURE),
        ] {
            assert_eq!(network(&authority, user).await.unwrap_err(), LogonError::Refused(status), "{user}");
        }
        assert!(network(&authority, "alice").await.is_ok());
    }
    // What is wrong with winbind is not the user's fault.
    assert!(unavailable(network(&authority, "denied").await).contains("not authorized"));
    assert_eq!(process(&authority), 1);
}

#[tokio::test]
async fn a_process_that_dies_or_talks_nonsense_is_replaced() {
    let authority = authority(1);
    assert!(unavailable(network(&authority, "die").await).contains("out of cheese"));
    assert!(network(&authority, "alice").await.is_ok());
    for user in ["die", "garbage", "huge"] {
        let why = unavailable(network(&authority, user).await);
        assert!(why.contains("ntlm_auth") && !why.contains("AAAAAAAA"), "{user}: {why}");
        assert_eq!(process(&authority), 0, "{user}");
        assert!(network(&authority, "alice").await.is_ok(), "after {user}");
    }
    // It answers and ends; nobody notices.
    let wrong = LogonError::Refused(NtStatus::WRONG_PASSWORD);
    assert_eq!(network(&authority, "last").await.unwrap_err(), wrong);
    assert!(network(&authority, "alice").await.is_ok());
}

#[tokio::test]
async fn an_answer_that_nobody_asked_for_lets_nobody_in() {
    let authority = authority(1);
    let wrong = LogonError::Refused(NtStatus::WRONG_PASSWORD);
    assert_eq!(network(&authority, "twice").await.unwrap_err(), wrong);
    // The second answer would be `Yes` for whoever comes next.
    assert!(network(&authority, "nobody").await.is_err());
    assert_eq!(network(&authority, "nobody").await.unwrap_err(), LogonError::Refused(NtStatus::NO_SUCH_USER));
}

#[tokio::test]
async fn a_process_that_hangs_is_ended() {
    for user in ["hang", "half"] {
        let authority = with_timeout(1, Duration::from_millis(300));
        assert!(unavailable(network(&authority, user).await).contains("it was ended"), "{user}");
        assert_eq!(process(&authority), 0);
        // And one whose caller went away in the middle is not asked again either.
        let asked = tokio::time::timeout(Duration::from_millis(100), network(&authority, user)).await;
        assert!(asked.is_err());
        assert_eq!(process(&authority), 0);
    }
}

#[tokio::test]
async fn there_are_never_more_processes_than_allowed() {
    let authority = Arc::new(authority(2));
    let logons: Vec<_> = (0..20)
        .map(|_| {
            let authority = Arc::clone(&authority);
            tokio::spawn(async move { network(&authority, "bob").await })
        })
        .collect();
    for logon in logons {
        assert_eq!(logon.await.unwrap().unwrap_err(), LogonError::Refused(NtStatus::ACCOUNT_DISABLED));
    }
    assert!((1..=2).contains(&process(&authority)));
}

#[tokio::test]
async fn who_has_no_sid_of_a_user_stays_out() {
    let authority = authority(1);
    for user in ["group", "unknown"] {
        assert!(unavailable(network(&authority, user).await).contains("cannot be told"), "{user}");
    }
}

#[tokio::test]
async fn names_that_samba_would_cut_or_take_apart_are_not_asked() {
    let authority = authority(1);
    let long = "a".repeat(256);
    for (domain, user) in [
        ("CORP", ""),
        ("CORP", "alice\0x"),
        ("CO\0RP", "alice"),
        ("CORP", &long),
        (&long, "alice"),
        ("", "CORP\\alice"),
    ] {
        let refused = authority.network(&logon(domain, user)).await.unwrap_err();
        assert_eq!(refused, LogonError::Refused(NtStatus::NO_SUCH_USER), "{domain:?} {user:?}");
    }
    assert_eq!(process(&authority), 0);
    // A line in a name is part of the name.
    let refused = network(&authority, "nobody\nUsername: alice").await.unwrap_err();
    assert_eq!(refused, LogonError::Refused(NtStatus::NO_SUCH_USER));
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let config = NtlmAuthConfig { program: "/nowhere/ntlm_auth".into(), ..NtlmAuthConfig::default() };
    let authority = NtlmAuth::new(config);
    let why = unavailable(network(&authority, "alice").await);
    assert!(why.contains("/nowhere/ntlm_auth cannot be started"), "{why}");
}

#[tokio::test]
async fn a_program_that_fails_is_not_started_for_every_logon() {
    let config = NtlmAuthConfig { program: "/bin/false".into(), ..NtlmAuthConfig::default() };
    let authority = NtlmAuth { pause: Duration::from_secs(3600), ..NtlmAuth::new(config) };
    let first = unavailable(network(&authority, "alice").await);
    let since = authority.failed.lock().unwrap().as_ref().map(|(since, _)| *since);
    assert_eq!(unavailable(network(&authority, "alice").await), first);
    assert_eq!(authority.failed.lock().unwrap().as_ref().map(|(since, _)| *since), since);
}

#[test]
fn the_words_of_samba() {
    let refused = |words| match refusal(words) {
        LogonError::Refused(status) => Some(status),
        LogonError::Unavailable(_) => None,
    };
    for (words, status) in [
        ("NT_STATUS_WRONG_PASSWORD", Some(NtStatus::WRONG_PASSWORD)),
        ("Wrong Password (0xc000006a)", Some(NtStatus::WRONG_PASSWORD)),
        (
            "The attempted logon is invalid. This is either due to a bad username or authentication information.",
            Some(NtStatus::LOGON_FAILURE),
        ),
        (
            "The user account has been automatically locked because too many invalid logon attempts or password change attempts have been requested.",
            Some(NtStatus::ACCOUNT_LOCKED_OUT),
        ),
        ("The user account password has expired.", Some(NtStatus::PASSWORD_EXPIRED)),
        ("The user account has expired.", Some(NtStatus::ACCOUNT_EXPIRED)),
        ("The authentication failed because NTLM was blocked.", Some(NtStatus::NTLM_BLOCKED)),
        // Not of the account.
        ("NT_STATUS_NO_LOGON_SERVERS", None),
        ("No logon servers are currently available to service the logon request.", None),
        (
            "{Access Denied} A process has requested access to an object but has not been granted those access rights.",
            None,
        ),
        ("NT_STATUS_ACCESS_DENIED", None),
        ("The trust relationship between this workstation and the primary domain failed.", None),
        ("Reading winbind reply failed!", None),
        ("NT code 0x00000000", None),
        ("NT_STATUS_OK", None),
        ("", None),
    ] {
        assert_eq!(refused(words), status, "{words}");
    }
}

#[test]
fn a_password_becomes_a_response_that_proves_it() {
    let logon = ntlmv2_logon("CORP", "jörg", &Secret::new("Pässwörd€1".to_owned())).unwrap();
    let verify = |password: &str| {
        let hash = crypto::nt_hash(password);
        crypto::verify_ntlmv2(&hash, &logon.user, &logon.domain, &logon.server_challenge, &logon.nt_response)
    };
    assert!(verify("Pässwörd€1").is_some() && verify("other").is_none());
    let again = ntlmv2_logon("CORP", "jörg", &Secret::new("Pässwörd€1".to_owned())).unwrap();
    assert_ne!(again.server_challenge, logon.server_challenge);
}
