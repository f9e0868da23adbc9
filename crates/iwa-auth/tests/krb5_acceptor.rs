//! The Kerberos acceptor against minted tokens: what is let in, and each way in which a client is refused.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::net::IpAddr;
use std::time::Duration;

use iwa_auth::krb5::acceptor::{AddressPolicy, ClientRealms, Context, Pending, Service, ServicePolicy};
use iwa_auth::krb5::etype::{Etype, Key};
use iwa_auth::krb5::keys::{Keys, ServiceNames};
use iwa_auth::krb5::mic::{MicKey, Sender};
use iwa_auth::krb5::pac::PacPolicy;
use iwa_auth::krb5::replay::MemoryReplayCache;
use iwa_auth::krb5::usage;
use iwa_auth::ports::{ReplayCache, ReplayVerdict};
use iwa_auth::reject::{Internal, Malformed, PacProblem, Peer, Policy, Unavailable};
use iwa_auth::{BindingPolicy, ChannelBindings, Env, Mechanism, Reason, UnixTime};
use iwa_testkit::mint::{self, Mint, MintChecksum, MintPac, PacContent, REALM};
use iwa_testkit::pair::{Exhausted, NOW, Seeded};
use iwa_wire::Sid;
use iwa_wire::gss::MechType;
use iwa_wire::krb5::ap::ap_options;
use iwa_wire::krb5::checksum::{GSS_CHECKSUM, gss_flags};
use iwa_wire::krb5::error::code;
use iwa_wire::krb5::token::{KrbToken, TokenId};
use iwa_wire::krb5::{ApRep, ApReq, EncApRepPart, KrbError, Principal, TicketFlags};

/// A service, its end of the channel, and what came out of the last step.
struct End {
    service: Service,
    bindings: ChannelBindings,
    policy: BindingPolicy,
    now: UnixTime,
    out: Vec<u8>,
}

impl End {
    fn new() -> Self {
        Self::with(ServicePolicy::default())
    }

    fn with(policy: ServicePolicy) -> Self {
        Self {
            service: Service::new(mint::keytab(), policy),
            bindings: ChannelBindings::none(),
            policy: BindingPolicy::None,
            now: NOW,
            out: Vec::new(),
        }
    }

    fn tls(policy: BindingPolicy) -> Self {
        Self { bindings: ChannelBindings::tls_server_end_point(&[7; 32]), policy, ..Self::new() }
    }

    fn pending(&mut self, token: &[u8]) -> Result<Pending, Reason> {
        self.out.clear();
        let mut entropy = Seeded(2);
        let mut env = Env { now: self.now, entropy: &mut entropy };
        let result = self.service.accept(token, &self.bindings, self.policy, &mut env, &mut self.out);
        result.map_err(|reject| reject.reason)
    }

    fn take(&mut self, token: &[u8]) -> Result<Context, Reason> {
        let pending = self.pending(token)?;
        let mut entropy = Seeded(3);
        let mut env = Env { now: self.now, entropy: &mut entropy };
        pending.finish(ReplayVerdict::Fresh, &mut env, &mut self.out).map_err(|reject| reject.reason)
    }

    fn accept(&mut self, mint: &Mint) -> Result<Context, Reason> {
        self.take(&mint.token(&mut Seeded(1)))
    }

    /// The reason, and the code of the KRB-ERROR, if there is one.
    fn refuse(&mut self, mint: &Mint) -> (Reason, Option<i32>) {
        let reason = self.accept(mint).map(|context| context.identity).expect_err("it must be refused");
        (reason, self.error_code())
    }

    fn error_code(&self) -> Option<i32> {
        if self.out.is_empty() {
            return None;
        }
        let token = KrbToken::parse(&self.out, 0).unwrap();
        assert_eq!(token.id, TokenId::Error);
        let error = KrbError::parse(token.message).unwrap();
        assert_eq!((error.stime.0, error.susec), (self.now.secs(), self.now.subsec_micros()));
        assert!(error.e_text.is_none() && error.e_data.is_none() && error.cname.is_none());
        Some(error.error_code)
    }
}

fn good() -> Mint {
    Mint::new(NOW)
}

fn refused(mint: &Mint) -> (Reason, Option<i32>) {
    End::new().refuse(mint)
}

fn later(seconds: i64) -> UnixTime {
    UnixTime::from_secs(NOW.secs() + seconds)
}

fn malformed(reason: &Reason, format: &str) -> bool {
    matches!(reason, Reason::Malformed(Malformed::Token(error)) if error.format == format)
}

mod accepted {
    use super::*;

    #[test]
    fn a_good_client_is_who_its_pac_says() {
        let mut end = End::new();
        let context = end.accept(&good()).unwrap();
        let account = context.identity.account();
        assert_eq!((account.name.as_str(), account.domain.as_str()), ("alice", "EXAMPLE"));
        assert_eq!(account.realm.as_deref(), Some(REALM));
        assert_eq!(account.upn.as_deref(), Some("alice@example.test"));
        assert_eq!(account.sid, Sid::new(5, &[21, 1, 2, 3, 1105]));
        assert_eq!(context.identity.mechanism(), Mechanism::Kerberos);
        assert!(context.identity.groups().contains(&Sid::new(5, &[21, 1, 2, 3, 513]).unwrap()));
        assert_eq!(context.expires, later(36_000), "the ticket's end");
        assert!(context.delegated.is_none());
        assert!(end.out.is_empty(), "nobody asked for an AP-REP");
    }

    #[test]
    fn every_etype_is_taken_rc4_only_if_it_is_on() {
        for etype in Etype::ALL {
            let mint = Mint::of_etype(NOW, etype).mutual();
            let mut end = End::with(ServicePolicy { etypes: Etype::ALL.to_vec(), ..ServicePolicy::default() });
            assert!(end.accept(&mint).is_ok(), "{etype}");
            assert_eq!(End::new().accept(&mint).is_ok(), etype != Etype::Rc4Hmac, "{etype}");
        }
    }

    #[test]
    fn with_and_without_framing_and_under_microsofts_oid() {
        for mechanism in [Some(MechType::KRB5), Some(MechType::MS_KRB5), None] {
            let mut end = End::new();
            end.accept(&Mint { mechanism, ..good().mutual() }).unwrap();
            let ap_rep = match mechanism {
                Some(mechanism) => {
                    let token = KrbToken::parse(&end.out, 0).unwrap();
                    assert_eq!((token.mech, token.id), (mechanism, TokenId::ApRep), "answered in the same form");
                    token.message
                }
                None => &end.out,
            };
            assert!(ApRep::parse(ap_rep).is_ok());
        }
    }

    #[test]
    fn the_ap_rep_proves_the_session_key_and_brings_a_subkey_that_signs() {
        for etype in Etype::ALL {
            let mint = Mint::of_etype(NOW, etype).mutual();
            let mut end = End::with(ServicePolicy { etypes: Etype::ALL.to_vec(), ..ServicePolicy::default() });
            let mut context = end.accept(&mint).unwrap();
            let token = KrbToken::parse(&end.out, 0).unwrap();
            let ap_rep = ApRep::parse(token.message).unwrap();
            let mut scratch = Vec::new();
            let plain = mint.session.decrypt(usage::AP_REP, ap_rep.enc_part.cipher, &mut scratch).unwrap();
            let part = EncApRepPart::parse(plain).unwrap();
            assert_eq!((part.ctime.0, part.cusec), (NOW.secs(), NOW.subsec_micros()));
            let subkey = part.subkey.unwrap();
            assert_eq!(subkey.etype, etype.number());
            let key = MicKey::new(Key::new(etype, subkey.value).unwrap(), true);

            let mic = context.sign(b"list");
            assert_eq!(key.verify(Sender::Acceptor, b"list", &mic), Ok(u64::from(part.seq_number.unwrap())));
            let next = context.sign(b"list");
            assert_eq!(key.verify(Sender::Acceptor, b"list", &next), Ok(u64::from(part.seq_number.unwrap()) + 1));
            let mut theirs = Vec::new();
            key.sign(Sender::Initiator, 77, b"list", &mut theirs);
            assert!(context.verify(b"list", &theirs));
            assert!(
                !context.verify(b"lisT", &theirs) && !context.verify(b"list", &mic) && !context.verify(b"list", b"")
            );
        }
    }

    #[test]
    fn without_mutual_authentication_the_initiators_subkey_signs_else_the_session_key() {
        for (subkey, signs) in [(Some(mint::key(Etype::Aes256CtsHmacSha1, 0x5b)), 0x5b), (None, 0x5e)] {
            let mut context = End::new().accept(&Mint { subkey, ..good() }).unwrap();
            let key = MicKey::new(mint::key(Etype::Aes256CtsHmacSha1, signs), false);
            assert_eq!(key.verify(Sender::Acceptor, b"list", &context.sign(b"list")), Ok(77));
        }
    }

    #[test]
    fn two_ap_reps_have_nothing_in_common() {
        let mut end = End::new();
        end.accept(&good().mutual()).unwrap();
        let first = end.out.clone();
        let pending = end.pending(&good().mutual().token(&mut Seeded(1))).unwrap();
        let mut env = Env { now: NOW, entropy: &mut Seeded(99) };
        pending.finish(ReplayVerdict::Fresh, &mut env, &mut end.out).unwrap();
        assert_ne!(first, end.out);
    }

    #[test]
    fn times_at_the_edge_of_the_skew_are_taken() {
        for seconds in [-300, 300] {
            assert!(End::new().accept(&Mint { made: later(seconds), ..good() }).is_ok());
        }
        assert!(End::new().accept(&Mint { endtime: NOW.secs() - 300, ..good() }).is_ok());
        assert!(End::new().accept(&Mint { starttime: Some(NOW.secs() + 300), ..good() }).is_ok());
        // Without a start time the time of authentication is the start.
        assert!(End::new().accept(&Mint { starttime: None, ..good() }).is_ok());
    }

    #[test]
    fn forwarded_credentials_come_out_with_their_key() {
        let alice = Principal::user("alice", REALM);
        for under_subkey in [false, true] {
            let key = if under_subkey { good().subkey.unwrap() } else { good().session };
            let delegated = mint::krb_cred(&alice, NOW.secs() + 7200, &key, &mut Seeded(4));
            let context = End::new().accept(&Mint { delegated: Some(delegated), ..good() }).unwrap();
            let credentials = context.delegated.unwrap().credentials;
            let [tgt] = credentials.as_slice() else { panic!("{}", credentials.len()) };
            assert_eq!((&tgt.client, tgt.server.is_krbtgt()), (&alice, true));
            assert!(tgt.key.ct_eq(&[0xdd; 32]) && tgt.is_valid(NOW));
            assert!(!format!("{tgt:?}").contains("221, 221"), "keys are not printed");
        }
    }

    #[test]
    fn a_ticket_without_pac_where_the_policy_does_without() {
        let mut end = End::with(ServicePolicy { pac: PacPolicy::Optional, ..ServicePolicy::default() });
        let context = end.accept(&Mint { pac: MintPac::Absent, ..good() }).unwrap();
        let account = context.identity.account();
        assert_eq!((account.name.as_str(), account.domain.as_str(), account.sid), ("alice", REALM, None));
        assert!(context.identity.groups().is_empty());
    }

    #[test]
    fn the_name_of_the_host_in_another_case_is_the_same_service() {
        let service = Principal::service("http", "WEB.example.TEST", REALM);
        assert!(End::new().accept(&Mint { service, ..good() }).is_ok());
    }
}

/// C5 line 11.
mod ticket {
    use super::*;

    #[test]
    fn no_key_of_that_kvno() {
        let mint = Mint { kvno: Some(5), service_key: mint::key(Etype::Aes256CtsHmacSha1, 5), ..good() };
        let (reason, code) = refused(&mint);
        let said = reason.to_string();
        assert!(matches!(reason, Reason::Peer(Peer::NoKey { .. })));
        assert!(said.contains("HTTP/web.example.test@EXAMPLE.TEST kvno 5 aes256-cts-hmac-sha1-96"), "{said}");
        assert!(said.contains("the keytab has kvno 4"), "{said}");
        assert_eq!(code, Some(code::KRB_AP_ERR_NOKEY));
    }

    #[test]
    fn the_right_name_with_an_old_kvno() {
        let mint = Mint { kvno: Some(3), service_key: mint::key(Etype::Aes256CtsHmacSha1, 3), ..good() };
        assert!(matches!(refused(&mint).0, Reason::Peer(Peer::NoKey { .. })));
    }

    #[test]
    fn the_same_kvno_with_another_password() {
        let (reason, code) = refused(&Mint { service_key: mint::key(Etype::Aes256CtsHmacSha1, 9), ..good() });
        assert!(matches!(reason, Reason::Peer(Peer::TicketIntegrity { .. })), "{reason}");
        assert_eq!(code, Some(code::KRB_AP_ERR_MODIFIED));
    }

    #[test]
    fn a_wrong_service_name_with_the_right_key() {
        let service = Principal::service("HTTP", "other.example.test", REALM);
        let mint = Mint { service, ..good() };
        assert!(matches!(refused(&mint).0, Reason::Peer(Peer::NoKey { .. })));
        let names = ServiceNames::Listed(vec!["HTTP/web.example.test".to_owned()]);
        let mut end = End::with(ServicePolicy { names, ..ServicePolicy::default() });
        let (reason, code) = end.refuse(&mint);
        assert!(matches!(reason, Reason::Peer(Peer::WrongService { .. })));
        assert_eq!(code, Some(code::KRB_AP_ERR_NOT_US));
        assert!(end.accept(&good()).is_ok());
    }

    #[test]
    fn a_service_of_another_realm_with_the_right_key() {
        for realm in ["OTHER.TEST", "example.test", "EXAMPLE.TEST.", "TEST"] {
            let service = Principal::service("HTTP", mint::HOST, realm);
            assert!(matches!(refused(&Mint { service, ..good() }).0, Reason::Peer(Peer::NoKey { .. })));
        }
    }

    #[test]
    fn an_etype_that_is_not_allowed() {
        let (reason, code) = refused(&Mint::of_etype(NOW, Etype::Rc4Hmac));
        assert_eq!(reason, Policy::EtypeOff { etype: 23 }.into());
        assert!(reason.to_string().contains("msDS-SupportedEncryptionTypes"), "{reason}");
        assert_eq!(code, None);
        let (reason, _) = refused(&Mint { ticket_etype: Some(3), ..good() });
        assert_eq!(reason, Policy::EtypeOff { etype: 3 }.into());
    }

    #[test]
    fn an_rc4_session_key_or_subkey_in_an_aes_ticket() {
        let rc4 = mint::key(Etype::Rc4Hmac, 1);
        for mint in [Mint { session: rc4.clone(), ..good() }, Mint { subkey: Some(rc4), ..good() }] {
            assert_eq!(refused(&mint).0, Policy::EtypeOff { etype: 23 }.into());
        }
    }

    #[test]
    fn a_ticket_that_says_another_etype_than_its_key() {
        let (reason, _) = refused(&Mint { ticket_etype: Some(20), ..good() });
        assert!(matches!(reason, Reason::Peer(Peer::TicketIntegrity { .. })));
    }

    #[test]
    fn expired() {
        let (reason, code) = refused(&Mint { endtime: NOW.secs() - 301, ..good() });
        let end = later(-301);
        assert_eq!(reason, Peer::TicketExpired { end, now: NOW }.into());
        assert_eq!(code, Some(code::KRB_AP_ERR_TKT_EXPIRED));
    }

    #[test]
    fn not_yet_valid() {
        let (reason, code) = refused(&Mint { starttime: Some(NOW.secs() + 301), ..good() });
        assert_eq!(reason, Peer::TicketNotYetValid { start: later(301), now: NOW }.into());
        assert_eq!(code, Some(code::KRB_AP_ERR_TKT_NYV));
        let (reason, _) = refused(&Mint { starttime: None, authtime: NOW.secs() + 301, ..good() });
        assert!(matches!(reason, Reason::Peer(Peer::TicketNotYetValid { .. })));
    }

    #[test]
    fn postdated_and_never_validated() {
        let (reason, code) = refused(&Mint { flags: TicketFlags::INVALID.with(TicketFlags::POSTDATED), ..good() });
        assert_eq!((reason, code), (Peer::TicketInvalid.into(), Some(code::KRB_AP_ERR_TKT_NYV)));
    }

    #[test]
    fn user_to_user() {
        for mint in [
            Mint { ap_options: ap_options::USE_SESSION_KEY, ..good() },
            Mint { mechanism: Some(MechType::KRB5_USER_TO_USER), ..good() },
            Mint { token_id: TokenId::TgtReq, ..good() },
        ] {
            assert_eq!(refused(&mint).0, Policy::UserToUser.into());
        }
    }

    #[test]
    fn bound_to_another_address() {
        let policy = || ServicePolicy { addresses: AddressPolicy::Match, ..ServicePolicy::default() };
        let bound = Mint { addresses: Some(vec![(20, b"HOST".to_vec()), (2, vec![192, 0, 2, 7])]), ..good() };
        let peer = |text: &str| ChannelBindings::none().with_peer(text.parse::<IpAddr>().unwrap());
        for (bindings, taken) in [
            (peer("192.0.2.7"), true),
            (peer("::ffff:192.0.2.7"), true),
            (peer("192.0.2.8"), false),
            (peer("2001:db8::7"), false),
            (ChannelBindings::none(), false),
        ] {
            let mut end = End { bindings, ..End::with(policy()) };
            match end.accept(&bound) {
                Ok(_) => assert!(taken),
                Err(reason) => {
                    assert!(!taken);
                    assert_eq!((reason, end.error_code()), (Peer::Address.into(), Some(code::KRB_AP_ERR_BADADDR)));
                }
            }
        }
        assert!(End::with(policy()).accept(&Mint { addresses: Some(vec![]), ..good() }).is_ok(), "bound to nothing");
        assert!(End::with(policy()).accept(&good()).is_ok());
        assert!(End::new().accept(&bound).is_ok(), "not looked at unless the policy asks");
    }

    #[test]
    fn a_realm_on_the_way_that_nobody_checked() {
        let client = Principal::user("alice", "FAR.TEST");
        let realms = ClientRealms::Listed(vec!["FAR.TEST".to_owned()]);
        let policy = ServicePolicy { realms, pac: PacPolicy::Optional, ..ServicePolicy::default() };
        let pac = MintPac::Absent;
        let far = Mint { client, transited: b"MIDDLE.TEST".to_vec(), pac, ..good() };
        let (reason, _) = End::with(policy.clone()).refuse(&far);
        assert!(matches!(&reason, Reason::Peer(Peer::Transited { path }) if path.contains("MIDDLE.TEST")), "{reason}");
        let checked = Mint { flags: TicketFlags::TRANSITED_POLICY_CHECKED, ..far.clone() };
        assert!(End::with(policy.clone()).accept(&checked).is_ok());
        let direct = Mint { transited: Vec::new(), ..far.clone() };
        assert!(End::with(policy.clone()).accept(&direct).is_ok());
        let policy = ServicePolicy { danger_transited_unchecked: true, ..policy };
        assert!(End::with(policy).accept(&far).is_ok());
    }

    #[test]
    fn an_anonymous_client() {
        let anonymous = mint::principal(&["WELLKNOWN", "ANONYMOUS"], REALM);
        for mint in [Mint { client: anonymous, ..good() }, Mint { flags: TicketFlags::ANONYMOUS, ..good() }] {
            assert_eq!(refused(&mint).0, Policy::KerberosAnonymous.into());
        }
    }

    #[test]
    fn every_changed_bit_of_a_ticket_is_refused() {
        let mut end = End::new();
        let token = good().token(&mut Seeded(1));
        assert!(end.take(&token).is_ok());
        let ap_req = ApReq::parse(KrbToken::parse(&token, 0).unwrap().message).unwrap();
        let encrypted = ap_req.ticket.enc_part.cipher.as_ptr() as usize - token.as_ptr() as usize;
        for place in 0..token.len() {
            let mut changed = token.clone();
            changed[place] ^= 1 << (place % 8);
            // What stands in the open are hints: name types, the case of the service's name, kvno, Microsoft's OID.
            if let Ok(context) = end.take(&changed) {
                assert!(place < encrypted, "byte {place} is not protected");
                assert_eq!(context.identity.account().name, "alice");
            }
        }
    }
}

mod authenticator {
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
}

/// C5 line 12.
mod replay {
    use super::*;

    fn verdict(cache: &MemoryReplayCache, pending: &Pending, now: UnixTime) -> ReplayVerdict {
        cache.check(pending.replay_key(), now, pending.expires())
    }

    #[test]
    fn the_same_authenticator_twice() {
        let cache = MemoryReplayCache::new(Duration::from_secs(300), 1000);
        let mut end = End::new();
        let token = good().mutual().token(&mut Seeded(1));
        let first = end.pending(&token).unwrap();
        assert_eq!(verdict(&cache, &first, NOW), ReplayVerdict::Fresh);
        let second = end.pending(&token).unwrap();
        let seen = verdict(&cache, &second, NOW);
        let mut env = Env { now: NOW, entropy: &mut Seeded(3) };
        let reject = second.finish(seen, &mut env, &mut end.out).unwrap_err();
        assert_eq!(reject.reason, Peer::Replay.into());
        assert!(end.out.is_empty(), "a replay gets no AP-REP");
    }

    #[test]
    fn in_another_framing_it_is_the_same_authenticator() {
        let mut end = End::new();
        let ap_req = good().ap_req(&mut Seeded(1));
        let keys = [Some(MechType::KRB5), Some(MechType::MS_KRB5), None].map(|mechanism| {
            let token = Mint { mechanism, ..good() }.framed(&ap_req);
            end.pending(&token).unwrap().replay_key()
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
    }

    #[test]
    fn two_authenticators_of_the_same_microsecond_are_two() {
        let mut end = End::new();
        let ticket = good().ticket(&mut Seeded(1));
        let keys: Vec<_> = (0..2)
            .map(|n| end.pending(&good().framed(&good().ap_req_with(&ticket, &mut Seeded(n)))).unwrap().replay_key())
            .collect();
        assert_ne!(keys[0], keys[1]);
    }

    #[test]
    fn in_parallel_exactly_one_is_let_in() {
        let cache = MemoryReplayCache::new(Duration::from_secs(300), 1000);
        let service = Service::new(mint::keytab(), ServicePolicy::default());
        let token = good().token(&mut Seeded(1));
        let barrier = std::sync::Barrier::new(4);
        let accepted: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let mut env = Env { now: NOW, entropy: &mut Seeded(3) };
                        let mut out = Vec::new();
                        let none = ChannelBindings::none();
                        let pending = service.accept(&token, &none, BindingPolicy::None, &mut env, &mut out).unwrap();
                        barrier.wait();
                        let verdict = verdict(&cache, &pending, NOW);
                        usize::from(pending.finish(verdict, &mut env, &mut out).is_ok())
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(accepted, 1);
    }

    #[test]
    fn after_a_restart() {
        let skew = Duration::from_secs(300);
        let old = MemoryReplayCache::new(skew, 1000);
        let mut end = End::new();
        let token = good().token(&mut Seeded(1));
        assert_eq!(verdict(&old, &end.pending(&token).unwrap(), NOW), ReplayVerdict::Fresh);
        let again = end.pending(&token).unwrap();

        let orderly = MemoryReplayCache::new(skew, 1000);
        orderly.restore(&old.snapshot(later(1)), later(2)).unwrap();
        assert_eq!(verdict(&orderly, &again, later(2)), ReplayVerdict::Seen);

        let after_a_crash = MemoryReplayCache::new(skew, 1000).refuse_before(later(2));
        assert!(matches!(verdict(&after_a_crash, &again, later(3)), ReplayVerdict::Unavailable(_)));
        let fresh = Mint { made: later(3), ..good() };
        let mut end = End { now: later(3), ..End::new() };
        let pending = end.pending(&fresh.token(&mut Seeded(1))).unwrap();
        assert_eq!(verdict(&after_a_crash, &pending, later(3)), ReplayVerdict::Fresh);
    }

    #[test]
    fn at_the_windows_edge_either_the_clock_or_the_cache_refuses() {
        for made in [-300, -299, 0, 299, 300] {
            let cache = MemoryReplayCache::new(Duration::from_secs(300), 1000);
            let token = Mint { made: later(made), ..good() }.token(&mut Seeded(1));
            let mut end = End::new();
            let pending = end.pending(&token).unwrap();
            assert_eq!(verdict(&cache, &pending, NOW), ReplayVerdict::Fresh);
            for now in (0..=1300).step_by(7).chain([299, 300, 301, 599, 600, 601]) {
                let mut end = End { now: later(now), ..End::new() };
                match end.pending(&token) {
                    Ok(pending) => {
                        assert_ne!(verdict(&cache, &pending, later(now)), ReplayVerdict::Fresh, "{made} {now}")
                    }
                    Err(reason) => assert!(matches!(reason, Reason::Peer(Peer::ClockSkew { .. }))),
                }
            }
        }
    }

    #[test]
    fn a_cache_that_cannot_tell_lets_nobody_in() {
        let mut end = End::new();
        let pending = end.pending(&good().mutual().token(&mut Seeded(1))).unwrap();
        let mut env = Env { now: NOW, entropy: &mut Seeded(3) };
        let reject = pending.finish(ReplayVerdict::Unavailable("it is full"), &mut env, &mut end.out).unwrap_err();
        assert_eq!(reject.reason, Unavailable::ReplayCache("it is full").into());
        assert!(end.out.is_empty());
    }
}

/// C5 line 13.
mod checksum {
    use super::*;

    fn what(mint: &Mint) -> &'static str {
        match refused(mint) {
            (Reason::Peer(Peer::GssChecksum { what }), Some(code::KRB_AP_ERR_INAPP_CKSUM)) => what,
            other => panic!("{other:?}"),
        }
    }

    fn raw(bytes: Vec<u8>) -> Mint {
        Mint { checksum: MintChecksum::Raw(GSS_CHECKSUM, bytes), ..good() }
    }

    fn gss(flags: u32, rest: &[u8]) -> Vec<u8> {
        [&16u32.to_le_bytes()[..], &[0; 16], &flags.to_le_bytes(), rest].concat()
    }

    #[test]
    fn missing() {
        assert!(what(&Mint { checksum: MintChecksum::Absent, ..good() }).contains("missing"));
    }

    #[test]
    fn of_another_type() {
        assert!(what(&Mint { checksum: MintChecksum::Raw(16, vec![0; 12]), ..good() }).contains("0x8003"));
        assert!(what(&Mint { checksum: MintChecksum::Raw(-GSS_CHECKSUM, gss(0, &[])), ..good() }).contains("0x8003"));
    }

    #[test]
    fn short_at_every_length() {
        let whole = gss(0, &[]);
        assert!(End::new().accept(&raw(whole.clone())).is_ok());
        for length in 0..whole.len() {
            what(&raw(whole[..length].to_vec()));
        }
    }

    #[test]
    fn bindings_that_say_another_length() {
        for length in [0u32, 15, 17, u32::MAX] {
            let mut bytes = gss(0, &[]);
            bytes[..4].copy_from_slice(&length.to_le_bytes());
            what(&raw(bytes));
        }
    }

    #[test]
    fn a_delegation_that_is_over_long_short_or_of_another_option() {
        let deleg = gss_flags::DELEG;
        for rest in [
            &[][..],
            &[1],
            &[1, 0],
            &[1, 0, 5],
            &[1, 0, 5, 0, 1, 2, 3, 4],
            &[1, 0, 0xff, 0xff, 1, 2, 3, 4],
            &[2, 0, 0, 0],
            &[1, 0, 0, 0],
            &[1, 0, 4, 0, 0x76, 0x82, 0xff, 0xff],
        ] {
            what(&raw(gss(deleg, rest)));
        }
    }

    #[test]
    fn a_delegation_under_another_key_or_changed() {
        let alice = Principal::user("alice", REALM);
        let other = mint::key(Etype::Aes256CtsHmacSha1, 1);
        let cred = mint::krb_cred(&alice, NOW.secs() + 60, &other, &mut Seeded(4));
        assert!(what(&Mint { delegated: Some(cred), ..good() }).contains("decrypt"));
        let cred = mint::krb_cred(&alice, NOW.secs() + 60, &good().session, &mut Seeded(4));
        // The ticket that goes with it is the KDC's affair; its key is in the last part.
        for place in cred.len() - 200..cred.len() {
            let mut changed = cred.clone();
            changed[place] ^= 0x41;
            let token = Mint { delegated: Some(changed), ..good() };
            assert!(End::new().accept(&token).is_err(), "{place}");
        }
    }

    #[test]
    fn dce_style() {
        assert!(what(&Mint { gss_flags: gss_flags::DCE_STYLE, ..good() }).contains("DCE"));
    }

    #[test]
    fn extensions_behind_it_are_ignored() {
        assert!(End::new().accept(&raw(gss(0, &[1, 2, 3, 4]))).is_ok());
    }

    #[test]
    fn channel_bindings_absent_wrong_and_right_under_each_policy() {
        let right = ChannelBindings::tls_server_end_point(&[7; 32]).presented();
        for (bindings, off, allow, require) in [
            ([0; 16], Ok(()), Ok(()), Err(Peer::BindingMissing)),
            ([9; 16], Ok(()), Err(Peer::BindingMismatch), Err(Peer::BindingMismatch)),
            (right, Ok(()), Ok(()), Ok(())),
        ] {
            for (policy, wanted) in
                [(BindingPolicy::None, off), (BindingPolicy::Allow, allow), (BindingPolicy::Require, require)]
            {
                let mut end = End::tls(policy);
                let got = end.accept(&Mint { bindings, ..good() }).map(|_| ());
                assert_eq!(got, wanted.map_err(Reason::from), "{policy:?} {bindings:x?}");
                assert!(end.out.is_empty(), "the client learns nothing");
            }
        }
    }
}

mod pac {
    use super::*;

    fn problem(end: &mut End, mint: &Mint) -> PacProblem {
        match end.refuse(mint) {
            (Reason::Peer(Peer::Pac(problem)), None) => problem,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn absent_where_it_is_required() {
        assert_eq!(problem(&mut End::new(), &Mint { pac: MintPac::Absent, ..good() }), PacProblem::Absent);
    }

    #[test]
    fn signed_with_another_key() {
        let content = PacContent { server_key: Some(mint::key(Etype::Aes256CtsHmacSha1, 1)), ..PacContent::new() };
        let mint = Mint { pac: MintPac::Signed(content), ..good() };
        assert_eq!(problem(&mut End::new(), &mint), PacProblem::ServerSignature);
    }

    #[test]
    fn a_silver_ticket_is_told_by_the_kdcs_key() {
        let content = PacContent { kdc_key: mint::key(Etype::Aes256CtsHmacSha1, 1), ..PacContent::new() };
        let mint = Mint { pac: MintPac::Signed(content), ..good() };
        let mut end = End::new();
        assert!(end.accept(&mint).is_ok(), "without that key nobody can tell");
        end.service = Service::new(mint::keytab(), ServicePolicy::default()).with_kdc_key(&mint::kdc_key());
        assert_eq!(problem(&mut end, &mint), PacProblem::KdcSignature);
        assert!(end.accept(&good()).is_ok());
    }

    #[test]
    fn an_rc4_signature_on_an_aes_ticket() {
        let content = PacContent { server_key: Some(mint::key(Etype::Rc4Hmac, 4)), ..PacContent::new() };
        let mint = Mint { pac: MintPac::Signed(content), ..good() };
        assert_eq!(problem(&mut End::new(), &mint), PacProblem::SignatureType { found: -138, etype: 18 });
    }

    #[test]
    fn of_another_client_or_time() {
        let content = PacContent { client: "bob".to_owned(), ..PacContent::new() };
        let mint = Mint { pac: MintPac::Signed(content), ..good() };
        assert!(matches!(problem(&mut End::new(), &mint), PacProblem::ClientInfo { .. }));
        let bytes = PacContent::new().sign(&good().service_key, later(0));
        let mint = Mint { pac: MintPac::Bytes(bytes), ..good() };
        assert!(matches!(problem(&mut End::new(), &mint), PacProblem::ClientInfo { .. }));
    }

    #[test]
    fn with_two_sids_for_one_client() {
        let content = PacContent { requestor: Sid::new(5, &[21, 1, 2, 3, 500]), ..PacContent::new() };
        assert_eq!(problem(&mut End::new(), &Mint { pac: MintPac::Signed(content), ..good() }), PacProblem::Sid);
    }

    #[test]
    fn garbage_is_refused_also_where_it_is_optional() {
        let policy = ServicePolicy { pac: PacPolicy::Optional, ..ServicePolicy::default() };
        let mint = Mint { pac: MintPac::Bytes(vec![1, 2, 3]), ..good() };
        assert!(matches!(problem(&mut End::with(policy), &mint), PacProblem::Malformed(_)));
    }
}

/// C5 line 15.
mod names {
    use super::*;

    fn without_pac(realms: ClientRealms) -> End {
        End::with(ServicePolicy { realms, pac: PacPolicy::Optional, ..ServicePolicy::default() })
    }

    fn client(components: &[&str], realm: &str) -> Mint {
        Mint { client: mint::principal(components, realm), pac: MintPac::Absent, ..good() }
    }

    #[test]
    fn a_realm_that_is_not_let_in_is_refused_and_never_cut() {
        for realm in
            ["OTHER.TEST", "example.test", "EXAMPLE.TEST.", "TEST", "SUB.EXAMPLE.TEST", "EXAMPLE.TEST@EXAMPLE.TEST"]
        {
            let (reason, _) = without_pac(ClientRealms::OfTheKeytab).refuse(&client(&["alice"], realm));
            assert!(matches!(reason, Reason::Policy(Policy::Realm { .. })), "{realm}: {reason}");
        }
    }

    #[test]
    fn a_realm_that_is_let_in_stays_in_the_identity() {
        for realms in [ClientRealms::Listed(vec!["OTHER.TEST".to_owned()]), ClientRealms::AnyTrusted] {
            let context = without_pac(realms).accept(&client(&["alice"], "OTHER.TEST")).unwrap();
            let account = context.identity.account();
            assert_eq!((account.domain.as_str(), account.realm.as_deref()), ("OTHER.TEST", Some("OTHER.TEST")));
            assert_eq!(context.identity.to_string(), "OTHER.TEST\\alice");
        }
        let listed = ClientRealms::Listed(vec!["OTHER.TEST".to_owned()]);
        assert!(without_pac(listed).accept(&client(&["alice"], REALM)).is_err(), "listed means these only");
    }

    #[test]
    fn a_name_that_looks_like_another_is_refused() {
        for name in [
            &["alice/admin"][..],
            &["OTHER\\alice"],
            &["alice@OTHER.TEST"],
            &["alice\0"],
            &["alice\n"],
            &["al\u{7f}ice"],
            &["alice", "b/c"],
            &[""],
            &["alice", ""],
            &[],
        ] {
            let (reason, _) = without_pac(ClientRealms::OfTheKeytab).refuse(&client(name, REALM));
            assert!(malformed(&reason, "EncTicketPart"), "{name:?}: {reason}");
        }
    }

    #[test]
    fn two_components_are_one_name_with_a_slash() {
        let context =
            without_pac(ClientRealms::OfTheKeytab).accept(&client(&["host", "a.example.test"], REALM)).unwrap();
        assert_eq!(context.identity.account().name, "host/a.example.test");
    }

    #[test]
    fn a_look_alike_stays_what_it_is() {
        let cyrillic = "\u{430}lice";
        let context = without_pac(ClientRealms::OfTheKeytab).accept(&client(&[cyrillic], REALM)).unwrap();
        assert_ne!(context.identity.account().name, "alice");
        assert_eq!(context.identity.account().name, cyrillic);
    }
}

/// C5 lines 1 to 3, as far as they are Kerberos'.
mod wire {
    use super::*;

    #[test]
    fn cut_at_every_byte() {
        let mut end = End::new();
        let token = good().token(&mut Seeded(1));
        for length in 0..token.len() {
            let reason = end.take(&token[..length]).map(|_| ()).unwrap_err();
            assert!(matches!(reason, Reason::Malformed(_)), "{length}: {reason}");
            assert!(end.out.is_empty());
        }
    }

    #[test]
    fn with_trailing_bytes_or_two_tokens_in_one() {
        let mut end = End::new();
        for mechanism in [Some(MechType::KRB5), None] {
            let token = Mint { mechanism, ..good() }.token(&mut Seeded(1));
            for tail in [&[0][..], &token] {
                let reason = end.take(&[&token, tail].concat()).map(|_| ()).unwrap_err();
                assert!(matches!(reason, Reason::Malformed(_)), "{reason}");
            }
        }
    }

    #[test]
    fn an_empty_token() {
        assert!(matches!(End::new().take(&[]).map(|_| ()).unwrap_err(), Reason::Malformed(_)));
    }

    #[test]
    fn another_message_in_the_place_of_an_ap_req() {
        for token_id in [TokenId::ApRep, TokenId::Error, TokenId::TgtRep, TokenId::Iakerb] {
            let (reason, _) = refused(&Mint { token_id, ..good() });
            assert!(matches!(reason, Reason::Malformed(Malformed::OutOfSequence { wanted: "AP-REQ", .. })), "{reason}");
        }
    }

    #[test]
    fn another_mechanism_in_the_framing() {
        let (reason, _) = refused(&Mint { mechanism: Some(MechType::IAKERB), ..good() });
        assert!(matches!(reason, Reason::Policy(Policy::NoCommonMechanism { .. })), "{reason}");
        let (reason, _) = refused(&Mint { mechanism: Some(MechType::NTLMSSP), ..good() });
        assert!(matches!(reason, Reason::Malformed(_)), "{reason}");
    }

    #[test]
    fn authorization_data_nested_without_end_is_refused() {
        use iwa_wire::krb5::{AuthDataElement, AuthorizationData};
        let mut inner = Vec::new();
        for _ in 0..50 {
            let element = [AuthDataElement { ad_type: 1, ad_data: &inner }];
            let mut outer = Vec::new();
            AuthorizationData::of(&element).write(&mut outer);
            inner = outer;
        }
        let mut depth = Mint { pac: MintPac::Bytes(inner.clone()), ..good() };
        // In the PAC's place it is no PAC; as authorization data it is too deep.
        assert!(matches!(refused(&depth).0, Reason::Peer(Peer::Pac(_))));
        depth.pac = MintPac::Absent;
        depth.authorization_data = Some(inner);
        assert!(malformed(&refused(&depth).0, "AuthorizationData"));
    }

    #[test]
    fn an_empty_keytab_refuses_everybody() {
        let mut end = End { service: Service::new(Keys::default(), ServicePolicy::default()), ..End::new() };
        assert!(matches!(end.refuse(&good()).0, Reason::Peer(Peer::NoKey { .. })));
    }

    #[test]
    fn without_randomness_there_is_no_ap_rep_and_no_identity() {
        let mut end = End::new();
        let pending = end.pending(&good().mutual().token(&mut Seeded(1))).unwrap();
        let mut env = Env { now: NOW, entropy: &mut Exhausted };
        let reject = pending.finish(ReplayVerdict::Fresh, &mut env, &mut end.out).unwrap_err();
        assert_eq!(reject.reason, Internal::Entropy.into());
        assert!(end.out.is_empty());
    }
}
