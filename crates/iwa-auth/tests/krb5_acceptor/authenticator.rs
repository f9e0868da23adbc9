//! Authenticators that are refused.

use super::*;

#[test]
fn not_under_the_session_key() {
    let other = mint::key(Etype::Aes256CtsHmacSha1, 1);
    let (reason, code) = refused(&Mint { authenticator_key: Some(other), ..good() });
    assert_eq!((reason, code), (Peer::AuthenticatorIntegrity.into(), Some(code::KRB_AP_ERR_BAD_INTEGRITY)));
    let other = mint::key(Etype::Aes128CtsHmacSha1, 1);
    let (reason, _) = refused(&Mint { authenticator_key: Some(other), ..good() });
    assert_eq!(reason, Peer::AuthenticatorIntegrity.into());
}

#[test]
fn of_another_client_than_the_ticket() {
    for other in [
        Principal::user("bob", REALM),
        Principal::user("Alice", REALM),
        Principal::user("alice", "example.test"),
        Principal::user("alice", "OTHER.TEST"),
        mint::principal(&["alice", "admin"], REALM),
        mint::principal(&["alice", ""], REALM),
        mint::principal(&["alic", "e"], REALM),
    ] {
        let (reason, code) = refused(&Mint { authenticator_client: Some(other.clone()), ..good() });
        assert!(matches!(&reason, Reason::Peer(Peer::ClientMismatch { .. })), "{other}: {reason}");
        assert_eq!(code, Some(code::KRB_AP_ERR_BADMATCH));
    }
}

#[test]
fn a_clock_that_is_behind_or_ahead() {
    for (seconds, said) in [(-301, -301), (301, 301), (-86_400, -86_400)] {
        let mut end = End::new();
        let (reason, code) = end.refuse(&Mint { made: later(seconds), ..good() });
        assert_eq!(reason, Peer::ClockSkew { seconds: said, allowed: 300 }.into());
        assert_eq!(code, Some(code::KRB_AP_ERR_SKEW), "with our time in it");
    }
    let policy = ServicePolicy { skew: Duration::from_secs(10), ..ServicePolicy::default() };
    assert!(End::with(policy.clone()).accept(&Mint { made: later(-10), ..good() }).is_ok());
    assert!(End::with(policy).accept(&Mint { made: later(-11), ..good() }).is_err());
}

#[test]
fn a_microsecond_beyond_the_skew() {
    let made = UnixTime::from_micros(NOW.micros() - 300_000_001);
    assert!(matches!(refused(&Mint { made, ..good() }).0, Reason::Peer(Peer::ClockSkew { .. })));
}
