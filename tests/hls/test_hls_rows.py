"""Which test shows which promise about HLS: none without a test, no test named that is not there."""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent.parent

# What a network and its servers do (numbers), what a presentation may try (L): where each is shown.
ROWS = {
    "1 variant playlist gone": [
        "hls/test_hls_faults.py::test_a_dead_variant_does_not_keep_the_others_from_playing",
        "hls/test_hls_faults.py::test_when_every_variant_is_dead_the_first_failure_is_told",
    ],
    "2 variant playlist stumbles": [
        "hls/test_hls_servers.py::test_a_playlist_whose_server_stumbles_is_asked_for_again",
        "hls/test_hls_servers.py::test_a_variant_whose_server_never_recovers_is_left_for_another",
    ],
    "3 master gone or stumbling": [
        "hls/test_hls_faults.py::test_a_master_that_is_gone_is_told_at_once",
        "hls/test_hls_servers.py::test_a_master_whose_server_never_recovers_is_told",
        "hls/test_hls_session.py::test_nothing_is_asked_for_twice",
    ],
    "4 segment gone": [
        "hls/test_hls_faults.py::test_a_lost_segment_comes_from_another_variant",
        "hls/test_hls_faults.py::test_a_lost_segment_of_a_pinned_variant_is_an_error_at_its_place",
    ],
    "5 segment stumbles": ["hls/test_hls_faults.py::test_a_server_that_stumbles_is_asked_again"],
    "6 segment falls silent": [
        "hls/test_hls_servers.py::test_a_segment_that_falls_silent_is_gone_on_with_where_it_stopped"
    ],
    "7 connection breaks": ["hls/test_hls_faults.py::test_a_body_that_breaks_off_is_gone_on_with"],
    "8 range ignored, or wrong": [
        "hls/test_hls_servers.py::test_a_server_without_ranges_gives_each_piece_of_one_file",
        "hls/test_hls_servers.py::test_a_range_that_was_not_asked_for_is_refused_and_not_kept",
    ],
    "9 nothing left to resume": [
        "hls/test_hls_servers.py::test_a_segment_that_was_whole_but_for_the_last_word_is_asked_for_no_more"
    ],
    "10 206 unasked": ["file/test_http_faults.py::ROWS"],
    "11 key refused": [
        "hls/test_hls_faults.py::test_a_key_that_is_refused_leads_to_another_variant",
        "hls/test_hls_servers.py::test_a_key_server_that_stumbles_is_asked_again",
    ],
    "12 key of another length": ["hls/test_hls_faults.py::test_a_key_of_another_length_is_told_and_never_kept"],
    "13 wrong key": [
        "hls/test_hls_faults.py::test_a_wrong_key_is_asked_for_once_more_and_nothing_is_kept",
        "hls/test_hls_faults.py::test_a_key_that_was_replaced_at_the_server_is_found_again",
    ],
    "14 ciphertext cut": ["hls/test_hls_faults.py::test_an_encrypted_segment_that_is_torn_is_never_kept"],
    "15 keys rotate": [
        "hls/test_hls_servers.py::test_every_key_of_a_presentation_that_changes_them_is_fetched_once",
        "hls/test_hls_faults.py::test_each_key_is_fetched_once",
    ],
    "16 key on another host": ["hls/test_hls_servers.py::test_a_key_elsewhere_sees_no_secret"],
    "17 types that say nothing": ["hls/test_hls_servers.py::test_the_body_says_what_it_is_and_not_its_type"],
    "18 web page as segment": ["hls/test_hls_faults.py::test_what_is_no_media_is_never_kept"],
    "19 compressed playlist": [
        "hls/test_hls_faults.py::test_a_compressed_playlist_is_read",
        "hls/test_hls_faults.py::test_a_playlist_that_unpacks_to_too_much_is_refused",
    ],
    "20 compressed segment": ["hls/test_hls_servers.py::test_a_compressed_segment_is_refused"],
    "21 redirects": [
        "hls/test_hls_faults.py::test_a_playlist_redirected_elsewhere_is_the_base_of_its_segments",
        "hls/test_hls_servers.py::test_a_segment_may_be_redirected_and_is_kept_under_its_own_name",
    ],
    "22 redirects without end": ["net/test_redirects.py::test_a_loop_of_redirects_ends_at_the_limit"],
    "23 to a file, without TLS": [
        "hls/test_media_playlist.py::test_a_broken_list_is_refused_at_its_line",
        "hls/test_hls_local.py::test_a_playlist_from_the_web_leads_to_no_local_file",
        "net/test_redirects.py::test_a_redirect_to_another_scheme_is_refused",
    ],
    "24 signed addresses": [
        "hls/test_hls_faults.py::test_signed_queries_arrive_byte_for_byte",
        "hls/test_hls_faults.py::test_an_address_that_has_expired_is_asked_for_anew",
    ],
    "25 queries that matter": [
        "hls/test_hls_servers.py::test_presentations_that_differ_by_a_declared_parameter_do_not_share_a_cache"
    ],
    "26 ranges of one file": [
        "hls/test_hls_session.py::test_nothing_is_asked_for_twice",
        "hls/test_hls_servers.py::test_a_server_without_ranges_gives_each_piece_of_one_file",
    ],
    "27 variants cut differently": [
        "hls/test_hls_decoding.py::test_across_a_hundred_switches_and_seeks_every_sample_is_in_its_place",
        "hls/test_timeline.py::test_lists_cut_differently_are_mapped_by_time",
    ],
    "28 variants of other codecs": [
        "hls/test_hls_splice.py::test_codecs_rates_containers_and_clocks_that_differ_play_on_in_place",
        "hls/test_hls_splice.py::test_a_seek_lands_in_place_whatever_is_heard_there",
    ],
    "29 clocks that start over": ["decode/test_segments.py::test_a_discontinuity_is_played_on_without_a_gap"],
    "30 gaps": [
        "hls/test_hls_faults.py::test_a_gap_in_one_variant_comes_from_the_other_and_a_gap_in_all_is_skipped",
        "decode/test_segments.py::test_a_missing_segment_is_silence_of_its_length",
    ],
    "31 durations off, empty segments": [
        "hls/test_hls_servers.py::test_durations_that_are_off_cost_no_sample",
        "hls/test_hls_servers.py::test_an_empty_segment_is_asked_for_once_more_and_then_an_error",
    ],
    "32 long lists": [
        "hls/test_playlist_limits.py::test_time_is_linear_in_the_input",
        "hls/test_playlist_limits.py::test_what_is_too_large_is_refused",
    ],
    "33 seeks": [
        "hls/test_hls_servers.py::test_seeks_around_every_boundary_are_exact",
        "hls/test_hls_decoding.py::test_across_a_hundred_switches_and_seeks_every_sample_is_in_its_place",
        "hls/test_hls_promises.py::test_a_seek_into_what_is_not_here_fetches_one_or_two_segments",
    ],
    "34 second play, offline": [
        "hls/test_hls_session.py::test_nothing_is_asked_for_twice",
        "hls/test_hls_decoding.py::test_what_was_played_plays_again_without_the_server",
    ],
    "35 partial cache, offline": [
        "hls/test_hls_session.py::test_a_cache_that_lacks_something_says_so_offline",
        "hls/test_hls_promises.py::test_offline_the_variant_that_is_here_is_heard",
    ],
    "36 cache harmed": [
        "hls/test_hls_servers.py::test_a_cached_segment_that_was_harmed_is_fetched_again",
        "hls/test_hls_faults.py::test_a_cached_playlist_that_was_damaged_is_fetched_again",
        "hls/test_hls_promises.py::test_after_a_kill_only_missing_segments_are_fetched",
    ],
    "37 two players": ["hls/test_hls_two_processes.py::test_two_stores_of_one_root_play_one_playlist_at_once"],
    "38 slow consumer": ["hls/test_hls_faults.py::test_no_more_than_the_look_ahead_is_fetched"],
    "39 leaving": [
        "hls/test_hls_faults.py::test_leaving_ends_a_download_that_hangs",
        "hls/test_hls_servers.py::test_leaving_while_a_retry_is_waited_for_is_prompt",
        "hls/test_hls_promises.py::test_nothing_of_a_session_is_left_when_it_is_dropped",
    ],
    "40 cache hits": ["hls/test_hls_faults.py::test_cache_hits_say_nothing_about_the_network"],
    "41 small segments": ["abr/test_controller.py::test_small_and_latency_bound_samples_still_teach"],
    "42 cliffs and outages": ["abr/test_controller.py::test_it_survives_a_fall_to_a_tenth_and_climbs_back"],
    "43 pinned": [
        "hls/test_hls_session.py::test_a_pinned_variant_is_heard_from_the_next_segment_on",
        "hls/test_hls_faults.py::test_a_lost_segment_of_a_pinned_variant_is_an_error_at_its_place",
    ],
    "44 a byte a second": ["hls/test_hls_faults.py::test_a_variant_that_stalls_is_left_while_its_request_hangs"],
    "45 odd ladders": [
        "hls/test_hls_servers.py::test_of_equal_variants_the_other_one_helps_before_a_lesser",
        "hls/test_hls_session.py::test_a_media_playlist_is_a_presentation_of_one_variant",
        "abr/test_controller.py::test_odd_ladders_play",
    ],
    "L1": ["hls/test_hls_faults.py::test_a_key_of_another_length_is_told_and_never_kept"],
    "L2": [
        "hls/test_keys.py::test_whatever_is_wrong_the_failure_says_the_same",
        "hls/test_hls_faults.py::test_an_encrypted_segment_that_is_torn_is_never_kept",
    ],
    "L3": ["hls/test_hls_servers.py::test_what_decrypts_to_no_media_is_never_kept"],
    "L4": [
        "hls/test_media_playlist.py::test_an_iv_is_a_number_of_128_bits_aligned_right",
        "hls/test_keys.py::test_an_explicit_iv_stands_and_the_sequence_number_is_128_bits",
        "hls/test_media_playlist.py::test_huge_sequence_numbers_are_exact",
    ],
    "L5": [
        "hls/test_hls_faults.py::test_an_unplayable_variant_is_told_when_it_is_opened",
        "hls/test_media_playlist.py::test_unsupported_encryption_parses_and_is_never_clear",
    ],
    "L6": [
        "hls/test_media_playlist.py::test_keys_rotate_and_end_with_none",
        "hls/test_hls_packagers.py::test_a_variants_samples_are_those_of_its_stream_as_a_whole",
    ],
    "L7": [
        "hls/test_hls_servers.py::test_a_key_elsewhere_sees_no_secret",
        "hls/test_media_playlist.py::test_a_key_may_come_in_a_data_url",
        "hls/test_hls_local.py::test_a_local_playlist_leads_to_no_file_outside_its_folder",
    ],
    "L8": ["hls/test_playlist_limits.py::test_what_is_too_large_is_refused"],
    "L9": ["hls/test_hls_faults.py::test_an_unplayable_variant_is_told_when_it_is_opened"],
    "L10": [
        "hls/test_media_playlist.py::test_a_broken_list_is_refused_at_its_line",
        "hls/test_playlist_uris.py::test_control_characters_are_refused",
        "hls/test_playlist_uris.py::test_other_schemes_are_refused",
    ],
    "L11": ["hls/test_hls_promises.py::test_a_public_playlist_leads_to_no_private_host"],
    "L12": [
        "hls/test_media_playlist.py::test_what_is_no_playlist_is_refused",
        "hls/test_media_playlist.py::test_sloppy_writing_is_read_for_what_it_means",
    ],
    "L13": ["hls/test_media_playlist.py::test_durations_are_finite_and_time_never_runs_backwards"],
    "L14": [
        "hls/test_hls_servers.py::test_a_range_beyond_the_end_of_its_file_is_told",
        "hls/test_media_playlist.py::test_a_broken_list_is_refused_at_its_line",
    ],
    "L15": ["hls/test_hls_servers.py::test_a_segment_that_claims_gigabytes_is_refused_unread"],
    "L16": ["hls/test_hls_faults.py::test_a_lost_segment_comes_from_another_variant"],
    "L17": ["hls/test_timeline.py::test_lists_cut_differently_are_mapped_by_time"],
    "L18": [
        "hls/test_hls_servers.py::test_an_init_section_that_is_gone_is_told",
        "hls/test_hls_servers.py::test_an_init_section_that_is_gone_leads_to_another_variant",
        "hls/test_hls_servers.py::test_fragments_without_a_map_are_told",
        "hls/test_media_playlist.py::test_a_map_holds_until_the_next_and_survives_discontinuities",
    ],
    "L19": ["hls/test_hls_live.py::test_a_live_list_is_heard_from_three_targets_before_its_end_to_its_true_end"],
    "L20": ["hls/test_hls_servers.py::test_a_complete_list_is_read_once_whatever_the_server_makes_of_it_later"],
    "L21": ["hls/test_hls_session.py::test_a_cache_that_lacks_something_says_so_offline"],
    "L22": ["hls/test_hls_faults.py::test_cache_hits_say_nothing_about_the_network"],
    "L23": [
        "hls/test_keys.py::test_a_key_shows_nothing_of_itself",
        "hls/test_hls_faults.py::test_a_wrong_key_is_asked_for_once_more_and_nothing_is_kept",
    ],
    # The traps that playlists hold.
    "sloppy writing": [
        "hls/test_media_playlist.py::test_sloppy_writing_is_read_for_what_it_means",
        "hls/test_media_playlist.py::test_only_line_feeds_split_lines",
    ],
    "target durations, versions, types": [
        "hls/test_media_playlist.py::test_a_bad_target_duration_is_replaced_by_the_longest_segment",
        "hls/test_media_playlist.py::test_a_list_has_ended_only_when_it_says_so",
    ],
    "attributes": ["hls/test_media_playlist.py::test_attribute_lists_are_read_with_patience"],
    "keys": [
        "hls/test_media_playlist.py::test_of_several_key_formats_the_identity_wins",
        "hls/test_media_playlist.py::test_key_uris_are_relative_to_the_playlist_not_to_the_segment",
    ],
    "maps": [
        "hls/test_media_playlist.py::test_a_map_before_a_key_is_in_the_clear_and_one_after_it_is_encrypted",
        "hls/test_media_playlist.py::test_a_map_may_be_a_byte_range",
    ],
    "byte ranges": [
        "hls/test_media_playlist.py::test_a_range_without_offset_goes_on_where_the_last_one_stopped",
        "hls/test_media_playlist.py::test_a_range_never_leaks_to_the_next_segment",
    ],
    "gaps, dates, discontinuities": [
        "hls/test_media_playlist.py::test_a_gap_marks_one_segment",
        "hls/test_media_playlist.py::test_program_dates_are_read_and_bad_ones_ignored",
        "hls/test_media_playlist.py::test_a_discontinuity_sequence_after_segments_still_counts_from_the_first",
    ],
    "addresses": [
        "hls/test_playlist_uris.py::test_references_resolve_as_the_rfc_says",
        "hls/test_playlist_uris.py::test_legal_bytes_stay_and_illegal_ones_are_escaped",
    ],
    "masters": [
        "hls/test_master_playlist.py::test_a_broken_master_is_refused_at_its_line",
        "hls/test_master_playlist.py::test_exact_duplicates_are_dropped_and_alternatives_kept",
    ],
    "variables": ["hls/test_media_playlist.py::test_variables_replace_references_in_uris_and_attributes"],
    "live lists": [
        "hls/test_hls_live.py::test_a_window_that_ran_away_is_caught_up_with",
        "hls/test_hls_live.py::test_a_live_list_that_stands_still_is_given_up",
        "hls/test_hls_live.py::test_a_live_server_that_starts_over_is_heard_on",
        "hls/test_hls_live.py::test_a_seek_stays_inside_the_window",
    ],
}


def test_every_row_is_there():
    heads = {name.split(" ")[0] for name in ROWS}
    assert {*map(str, range(1, 46)), *(f"L{number}" for number in range(1, 24))} <= heads


@pytest.mark.parametrize("row", ROWS)
def test_what_shows_a_row_exists(row):
    assert ROWS[row]
    for place in ROWS[row]:
        path, _, name = place.partition("::")
        tree = ast.parse((TESTS / path).read_text(encoding="utf-8"))
        names = {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
        names |= {target.id for node in tree.body if isinstance(node, ast.Assign) for target in node.targets}
        assert name in names, place
