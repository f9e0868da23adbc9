//! Every `Reason` has a code, and every code a test that produces it. This table says which; it is held against the sources.

mod sources;

use std::collections::BTreeSet;

/// Code, file or folder (from the root of the repository), test.
const TABLE: &[(&str, &str, &str)] = &[
    ("malformed.token", NTLM, "what_is_no_token_is_refused"),
    ("malformed.header", HTTP, "garbage_is_refused_by_the_table_and_the_connection_stays_usable"),
    ("malformed.unrecognized", NTLM, "the_scheme_ntlm_takes_raw_ntlm_alone"),
    ("malformed.out-of-sequence", NTLM, "tokens_out_of_order_are_refused"),
    ("krb5.no-key", KRB5_ACCEPTOR, "the_right_name_with_an_old_kvno"),
    ("krb5.ticket-integrity", KRB5_ACCEPTOR, "the_same_kvno_with_another_password"),
    ("krb5.authenticator-integrity", KRB5_ACCEPTOR, "not_under_the_session_key"),
    ("krb5.client-mismatch", KRB5_ACCEPTOR, "of_another_client_than_the_ticket"),
    ("krb5.clock-skew", KRB5_ACCEPTOR, "a_clock_that_is_behind_or_ahead"),
    ("krb5.ticket-expired", KERBEROS, "a_refusal_carries_kerberos_own_words"),
    ("krb5.ticket-not-yet-valid", KRB5_ACCEPTOR, "not_yet_valid"),
    ("krb5.ticket-invalid", KRB5_ACCEPTOR, "postdated_and_never_validated"),
    ("krb5.address", KRB5_ACCEPTOR, "bound_to_another_address"),
    ("krb5.wrong-service", KRB5_ACCEPTOR, "a_wrong_service_name_with_the_right_key"),
    ("krb5.transited", KRB5_ACCEPTOR, "a_realm_on_the_way_that_nobody_checked"),
    ("krb5.gss-checksum", KRB5_ACCEPTOR, "short_at_every_length"),
    ("krb5.replay", KERBEROS, "a_replayed_token_is_refused_on_the_same_connection_and_on_another"),
    ("krb5.kdc-error", KERBEROS, "without_a_ticket_and_without_ntlm_the_reason_is_kerberos_own"),
    ("krb5.kdc-reply", KERBEROS, "an_answer_of_the_kdc_to_another_question_is_refused"),
    ("binding.missing", KERBEROS, "the_matrix_of_extended_protection_over_kerberos"),
    ("binding.mismatch", NTLM, "the_matrix_of_extended_protection_over_ntlm"),
    ("pac.absent", KRB5_ACCEPTOR, "absent_where_it_is_required"),
    ("pac.malformed", KRB5_ACCEPTOR, "garbage_is_refused_also_where_it_is_optional"),
    ("pac.buffer-missing", PAC, "a_missing_signature_is_refused"),
    ("pac.buffer-twice", PAC, "duplicate_buffers_are_refused"),
    ("pac.server-signature", KRB5_ACCEPTOR, "signed_with_another_key"),
    ("pac.kdc-signature", KRB5_ACCEPTOR, "a_silver_ticket_is_told_by_the_kdcs_key"),
    ("pac.signature-type", KRB5_ACCEPTOR, "an_rc4_signature_on_an_aes_ticket"),
    ("pac.client-info", KRB5_ACCEPTOR, "of_another_client_or_time"),
    ("pac.sid", KRB5_ACCEPTOR, "with_two_sids_for_one_client"),
    ("spnego.mic-missing", NTLM, "a_mic_that_has_to_be_must_not_be_left_out"),
    ("spnego.mic", NTLM, "an_altered_list_is_found_out_by_the_mic"),
    ("ntlm.mic-missing", ATTACKS, "drop_the_mic_taking_the_mic_out_is_refused"),
    ("ntlm.mic", ATTACKS, "a_changed_byte_in_any_of_the_three_messages_breaks_the_mic"),
    ("ntlm.target-name", ATTACKS, "a_response_that_was_meant_for_another_server_is_refused"),
    ("ntlm.target-info", ATTACKS, "target_information_that_was_changed_on_the_way_is_refused"),
    ("ntlm.timestamp", ATTACKS, "a_response_from_another_day_is_refused"),
    ("ntlm.challenge-expired", NTLM, "a_challenge_lives_a_minute_on_its_own_connection"),
    ("peer.rejected", NTLM, "a_wrong_password_is_refused_with_a_bare_challenge"),
    ("peer.not-mutual", KERBEROS, "success_without_an_ap_rep_is_not_believed"),
    ("policy.mechanism-off", NTLM, "kerberos_only_refuses_ntlm_at_every_door_before_a_challenge"),
    ("policy.no-common-mechanism", NTLM, "nothing_in_common_is_said_with_what_was_offered"),
    ("policy.etype-off", KRB5_ACCEPTOR, "an_etype_that_is_not_allowed"),
    ("policy.ntlmv1", ATTACKS, "an_ntlmv1_response_is_refused_with_its_own_reason"),
    ("policy.ntlm-lm", ATTACKS, "an_lm_response_alone_is_refused_with_its_own_reason"),
    ("policy.ntlm-mic-required", ATTACKS, "a_client_without_mic_is_refused_where_the_policy_requires_one"),
    ("policy.ntlm-anonymous", ATTACKS, "an_anonymous_client_is_refused_with_its_own_reason"),
    ("policy.ntlm-local-call", ATTACKS, "a_local_call_with_six_empty_fields_is_refused_with_its_own_reason"),
    (
        "policy.ntlm-flags",
        "crates/iwa-auth/src/ntlm/tests",
        "a_client_with_no_character_set_or_no_session_security_is_told_so",
    ),
    ("policy.user-to-user", KRB5_ACCEPTOR, "user_to_user"),
    ("policy.kerberos-anonymous", KRB5_ACCEPTOR, "an_anonymous_client"),
    ("policy.realm", KRB5_ACCEPTOR, "a_realm_that_is_not_let_in_is_refused_and_never_cut"),
    ("policy.scheme-off", HTTP, "without_windows_authentication_nothing_is_offered_and_nothing_taken"),
    (
        "policy.not-on-this-connection",
        HTTP,
        "a_connection_that_a_proxy_shares_among_clients_authenticates_nobody_for_another",
    ),
    ("policy.basic-in-clear", HTTP, "basic_is_neither_offered_nor_taken_where_the_password_travels_in_clear"),
    ("policy.too-many-passwords", HTTP, "after_too_many_wrong_passwords_nobody_is_asked_and_the_answer_stays_the_same"),
    ("policy.host-not-allowed", "crates/iwa-http/tests", "a_host_that_is_not_allowed_gets_no_token"),
    ("policy.no-credential", NTLM, "without_a_credential_nothing_begins"),
    ("policy.delegation", KRB5_CLIENT, "a_ticket_that_is_not_forwardable_is_refused_and_the_kdc_is_not_asked"),
    ("logon", NTLM, "a_wrong_password_is_refused_with_a_bare_challenge"),
    ("unavailable.accounts", NTLM, "accounts_that_cannot_be_asked_are_no_wrong_password"),
    ("unavailable.replay-cache", KERBEROS, "a_replay_cache_that_cannot_tell_lets_nobody_in"),
    ("unavailable.handshakes", HTTP, "handshakes_under_way_are_limited_in_number_over_all_connections"),
    ("unavailable.kdc", KERBEROS, "without_a_ticket_and_without_ntlm_the_reason_is_kerberos_own"),
    ("internal.entropy", KERBEROS, "without_randomness_there_is_no_ap_rep_and_nobody_is_in"),
    ("internal.panic", "crates/iwa/src/gateway", "a_panic_is_caught_and_is_our_own_fault"),
    (
        "internal.invariant",
        "crates/iwa-auth/src/spnego/initiator.rs",
        "an_empty_offer_is_our_own_fault_and_goes_nowhere",
    ),
];

const KERBEROS: &str = "crates/iwa-auth/tests/pair_kerberos.rs";
const NTLM: &str = "crates/iwa-auth/tests/pair_ntlm.rs";
const KRB5_ACCEPTOR: &str = "crates/iwa-auth/tests/krb5_acceptor";
const KRB5_CLIENT: &str = "crates/iwa-auth/src/krb5/client";
const PAC: &str = "crates/iwa-auth/src/krb5";
const ATTACKS: &str = "crates/iwa-auth/src/ntlm/tests";
const HTTP: &str = "crates/iwa-http/tests";

#[test]
fn every_reason_is_in_the_table() {
    let listed: BTreeSet<&str> = TABLE.iter().map(|(code, ..)| *code).collect();
    let missing: Vec<&str> = codes().difference(&listed).copied().collect();
    let unknown: Vec<&str> = listed.difference(&codes()).copied().collect();
    assert!(missing.is_empty(), "no test is named for: {missing:?}");
    assert!(unknown.is_empty(), "these are no codes: {unknown:?}");
}

#[test]
fn every_test_of_the_table_is_there() {
    let absent: Vec<_> = TABLE.iter().filter(|(_, file, test)| !sources::has_test(file, test)).collect();
    assert!(absent.is_empty(), "{absent:#?}");
}

/// The codes, read out of the source of `Reason::code`: an enum's variants cannot be listed otherwise.
fn codes() -> BTreeSet<&'static str> {
    let source = include_str!("../src/reject.rs");
    let body = source.split("pub const fn code(&self)").nth(1).expect("Reason::code stands in reject.rs");
    let body = body.split("impl fmt::Display for Reason").next().expect("split gives at least one part");
    let codes: BTreeSet<&str> = body.split('"').skip(1).step_by(2).collect();
    assert!(codes.len() > 40 && codes.contains("krb5.replay"), "{codes:?}");
    codes
}
