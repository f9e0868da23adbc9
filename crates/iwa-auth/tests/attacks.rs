//! The attacks that this project resists, and the tests that show it. The table is held against the sources.
//!
//! Comparisons in constant time cannot be shown by a test: they are all in `Secret::ct_eq` and `subtle`.

mod sources;

/// What is tried, and where it fails.
const ATTACKS_AND_TESTS: &[(&str, &[(&str, &str)])] = &[
    // Wire
    (
        "a length, count or offset that overflows",
        &[
            (READER, "a_count_of_usize_max_does_not_overflow"),
            (PAC_WIRE, "count_times_size_does_not_overflow"),
            (PAC_WIRE, "offset_plus_size_does_not_overflow"),
            (PAC_WIRE, "a_buffer_misaligned_in_the_table_or_over_another_is_refused"),
        ],
    ),
    ("trailing bytes", &[(READER, "trailing_bytes_are_an_error"), (KRB5, "with_trailing_bytes_or_two_tokens_in_one")]),
    (
        "no mechanism, ten thousand mechanisms, padded and endless OIDs",
        &[(HOSTILE, "lists_made_to_hurt_are_refused_before_anything_is_chosen")],
    ),
    (
        "indefinite lengths",
        &[(SPNEGO, "indefinite_lengths_are_refused"), (DER, "lengths_that_are_not_der_are_refused")],
    ),
    ("authorization data nested without end", &[(KRB5, "authorization_data_nested_without_end_is_refused")]),
    ("two tokens in one", &[(HOSTILE, "two_tokens_in_one_are_refused")]),
    (
        "a token cut at every byte",
        &[
            (KRB5, "cut_at_every_byte"),
            (MUTATION, "ntlm_in_spnego_survives_no_change"),
            (MUTATION, "kerberos_survives_no_change_of_what_it_proves"),
        ],
    ),
    (
        "an empty continuation token",
        &[
            (NTLM, "a_handshake_goes_on_in_the_form_and_with_the_mechanism_it_began_with"),
            (NTLM, "an_empty_first_token_is_refused"),
        ],
    ),
    ("NegTokenResp first", &[(NTLM, "tokens_out_of_order_are_refused")]),
    (
        "a second NegTokenInit, another mechanism or another form in the middle",
        &[(NTLM, "a_handshake_goes_on_in_the_form_and_with_the_mechanism_it_began_with")],
    ),
    ("bare Kerberos, then SPNEGO", &[(KERBEROS, "a_bare_token_that_goes_on_after_bare_kerberos_has_no_place")]),
    (
        "more than is read: header, handshakes in number and in age",
        &[
            (HEADER, "a_64_kib_token_is_read_and_a_longer_field_is_refused_before_it_is_decoded"),
            (HTTP, "handshakes_under_way_are_limited_in_number_over_all_connections"),
            (HTTP, "old_handshakes_make_room_for_new_ones"),
            (NDR, "counts_beyond_the_input_are_refused_without_allocation"),
        ],
    ),
    (
        "Authorization twice, comma-joined, without its space, with line breaks, URL-safe",
        &[
            (HEADER, "authorization_twice_is_refused"),
            (HEADER, "credentials_joined_by_a_comma_are_refused"),
            (HEADER, "a_missing_space_is_refused"),
            (HEADER, "base64_with_line_breaks_is_refused"),
            (HEADER, "the_url_safe_alphabet_is_refused"),
        ],
    ),
    // Negotiation
    (
        "a list of mechanisms that was changed",
        &[
            (NTLM, "an_altered_list_is_found_out_by_the_mic"),
            (KERBEROS, "a_list_cut_down_to_ntlm_is_found_out_by_both_ends"),
        ],
    ),
    (
        "a MIC that has to be and is not, or is wrong",
        &[
            (NTLM, "a_mic_that_has_to_be_must_not_be_left_out"),
            (KERBEROS, "a_mic_that_is_waited_for_must_come_alone_and_right"),
            (NTLM, "the_client_checks_the_servers_mic_and_refuses_a_wrong_one"),
        ],
    ),
    (
        "a downgrade from Kerberos to NTLM",
        &[(KERBEROS, "ntlm_without_a_mic_from_a_client_that_lists_kerberos_is_noted_as_a_downgrade")],
    ),
    (
        "NTLM where Kerberos alone is on",
        &[
            (NTLM, "kerberos_only_refuses_ntlm_at_every_door_before_a_challenge"),
            (HTTP, "kerberos_only_refuses_ntlm_at_every_door_before_a_challenge_goes_out"),
        ],
    ),
    // NTLM
    (
        "the MIC taken out, zeroed, or no longer announced",
        &[
            (ATTACKS, "drop_the_mic_taking_the_mic_out_is_refused"),
            (ATTACKS, "drop_the_mic_zeroing_the_mic_is_refused"),
            (ATTACKS, "drop_the_mic_clearing_the_flag_that_announces_it_breaks_the_proof"),
            (ATTACKS, "drop_the_mic_by_taking_the_timestamp_out_of_the_challenge_is_refused"),
        ],
    ),
    (
        "LM, NTLMv1, anonymous, an empty user, a local call",
        &[
            (ATTACKS, "an_lm_response_alone_is_refused_with_its_own_reason"),
            (ATTACKS, "an_ntlmv1_response_is_refused_with_its_own_reason"),
            (ATTACKS, "an_anonymous_client_is_refused_with_its_own_reason"),
            (ATTACKS, "an_empty_user_is_refused_even_with_a_response"),
            (ATTACKS, "a_local_call_with_six_empty_fields_is_refused_with_its_own_reason"),
        ],
    ),
    (
        "another target, another channel, a binding of zeros",
        &[
            (ATTACKS, "a_response_that_was_meant_for_another_server_is_refused"),
            (NTLM, "the_matrix_of_extended_protection_over_ntlm"),
            (ATTACKS, "a_zero_binding_is_none_and_not_a_match"),
        ],
    ),
    (
        "a challenge that is guessed, used twice, taken to another connection, or old",
        &[
            (HTTP, "challenges_are_random"),
            (ATTACKS, "a_challenge_can_be_answered_once"),
            (HTTP, "a_challenge_is_good_on_its_own_connection_only"),
            (NTLM, "a_challenge_lives_a_minute_on_its_own_connection"),
            (NTLM, "a_foreign_response_is_refused"),
        ],
    ),
    // Kerberos
    (
        "clock, times, flags, service, key, etype, client, address, path",
        &[
            (KRB5, "a_clock_that_is_behind_or_ahead"),
            (KRB5, "expired"),
            (KRB5, "not_yet_valid"),
            (KRB5, "postdated_and_never_validated"),
            (KRB5, "a_wrong_service_name_with_the_right_key"),
            (KRB5, "the_right_name_with_an_old_kvno"),
            (KRB5, "an_etype_that_is_not_allowed"),
            (KRB5, "of_another_client_than_the_ticket"),
            (KRB5, "bound_to_another_address"),
            (KRB5, "a_realm_on_the_way_that_nobody_checked"),
        ],
    ),
    (
        "a replay: again, in parallel, after a restart, at the window's edge, in another form",
        &[
            (KERBEROS, "a_replayed_token_is_refused_on_the_same_connection_and_on_another"),
            (KRB5, "in_parallel_exactly_one_is_let_in"),
            (KRB5, "after_a_restart"),
            (KRB5, "at_the_windows_edge_either_the_clock_or_the_cache_refuses"),
            (KRB5, "in_another_framing_it_is_the_same_authenticator"),
        ],
    ),
    (
        "the checksum missing, short, of another type, with a delegation too long",
        &[
            (KRB5, "missing"),
            (KRB5, "of_another_type"),
            (KRB5, "short_at_every_length"),
            (KRB5, "a_delegation_that_is_over_long_short_or_of_another_option"),
        ],
    ),
    (
        "channel bindings absent, zero, wrong, right under each policy",
        &[
            (KERBEROS, "the_matrix_of_extended_protection_over_kerberos"),
            (KRB5, "channel_bindings_absent_wrong_and_right_under_each_policy"),
        ],
    ),
    (
        "a PAC that is absent, forged, of another client, doubled, or signed too weakly",
        &[
            (KRB5, "absent_where_it_is_required"),
            (KRB5, "signed_with_another_key"),
            (KRB5, "a_silver_ticket_is_told_by_the_kdcs_key"),
            (KRB5, "of_another_client_or_time"),
            (KRB5, "with_two_sids_for_one_client"),
            (PAC, "duplicate_buffers_are_refused"),
            (KRB5, "an_rc4_signature_on_an_aes_ticket"),
        ],
    ),
    (
        "names that look like others, realms that are not let in",
        &[
            (KRB5, "a_realm_that_is_not_let_in_is_refused_and_never_cut"),
            (KRB5, "a_name_that_looks_like_another_is_refused"),
            (KRB5, "a_look_alike_stays_what_it_is"),
        ],
    ),
    (
        "success without the proof of the server",
        &[
            (KERBEROS, "success_without_an_ap_rep_is_not_believed"),
            (KERBEROS, "an_ap_rep_of_another_handshake_is_not_believed"),
        ],
    ),
    // HTTP and the rest
    (
        "an identity on another connection, another version of HTTP, or behind a proxy that shares connections",
        &[
            (HTTP, "the_identity_belongs_to_the_connection_that_proved_it"),
            (HTTP, "an_identity_of_http_1_1_is_not_seen_by_a_request_of_another_version"),
            (HTTP, "a_connection_that_a_proxy_shares_among_clients_authenticates_nobody_for_another"),
        ],
    ),
    (
        "no credentials, another scheme, an abandoned request in the middle",
        &[
            (HTTP, "a_request_without_credentials_in_the_middle_of_a_handshake_ends_it"),
            (HTTP, "another_scheme_in_the_middle_of_a_handshake_begins_anew"),
            (HTTP, "a_request_that_is_abandoned_in_the_middle_of_a_logon_leaves_nobody_signed_in"),
        ],
    ),
    (
        "a panic, an authority that is down, a full cache, no randomness",
        &[
            (HTTP, "a_panic_in_the_middle_of_a_logon_leaves_nobody_signed_in"),
            (HTTP, "an_authority_that_is_down_is_503_and_nobody_gets_in"),
            (KERBEROS, "a_replay_cache_that_cannot_tell_lets_nobody_in"),
            (KERBEROS, "without_randomness_there_is_no_ap_rep_and_nobody_is_in"),
        ],
    ),
    (
        "secrets in logs and debug output",
        &[
            (HTTP, "nothing_that_is_printed_for_debugging_holds_a_token_or_a_password"),
            (AUDIT, "secrets_of_a_request_are_in_neither_log"),
            (HEADER, "debug_output_has_no_credentials"),
        ],
    ),
    (
        "a name that forges a log line",
        &[(AUDIT, "nobody_can_write_a_line_of_their_own"), (ATTACKS, "names_from_the_wire_cannot_forge_a_log_line")],
    ),
];

const READER: &str = "crates/iwa-wire/src";
const DER: &str = "crates/iwa-wire/src";
const SPNEGO: &str = "crates/iwa-wire/src";
const HEADER: &str = "crates/iwa-wire/src";
const NDR: &str = "crates/iwa-wire/src";
const PAC_WIRE: &str = "crates/iwa-wire/src/pac";
const PAC: &str = "crates/iwa-auth/src/krb5";
const KRB5: &str = "crates/iwa-auth/tests/krb5_acceptor";
const KERBEROS: &str = "crates/iwa-auth/tests/pair_kerberos.rs";
const NTLM: &str = "crates/iwa-auth/tests/pair_ntlm.rs";
const ATTACKS: &str = "crates/iwa-auth/src/ntlm/tests";
const MUTATION: &str = "crates/iwa-auth/tests/mutation.rs";
const HOSTILE: &str = "crates/iwa-auth/tests/hostile.rs";
const HTTP: &str = "crates/iwa-http/tests";
const AUDIT: &str = "crates/iwa/src/gateway/audit";

#[test]
fn every_attack_has_a_test_and_every_test_is_there() {
    for (attack, tests) in ATTACKS_AND_TESTS {
        assert!(!tests.is_empty(), "{attack}");
        for (file, test) in *tests {
            assert!(sources::has_test(file, test), "{attack}: {file} has no test {test}");
        }
    }
}
