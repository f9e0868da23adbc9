//! PACs that are refused.

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
