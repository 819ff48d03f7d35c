"""Every way in which HTTP servers, threads and processes were foreseen to fail has a test that is named here.

H1 to H66 are the rows of docs/http.md; C1 to C24 those of threads, loops and processes. Most rows H are in the table
``ROWS`` of test_http_faults.py as well, where the oracles of support/oracles.py are checked around each of them: right
bytes (O1), no false end (O2), bounded waits (O5), nothing left behind (O6), sane after a restart (O7), proper errors
(O8), nothing touched outside the cache (O9), no connection offline (O10). O3, that the process lives, is the test run.
"""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
FAULTS = "file/test_http_faults.py"

SERVER = {
    "H1": "net/test_bodies.py::test_a_body_shorter_than_declared_keeps_its_bytes_and_raises",
    "H2": "net/test_bodies.py::test_every_byte_before_a_reset_is_delivered_however_many_are_buffered",
    "H3": FAULTS,
    "H4": "net/test_bodies.py::test_a_chunked_body_without_its_last_chunk_is_not_complete",
    "H5": FAULTS,
    "H6": FAULTS,
    "H7": "net/test_bodies.py::test_a_content_length_too_big_is_a_truncated_body",
    "H8": FAULTS,
    "H9": FAULTS,
    "H10": FAULTS,
    "H11": FAULTS,
    "H12": "file/test_http_faults.py::test_an_absurd_length_reserves_no_disk",
    "H13": "file/test_http_faults.py::test_without_a_length_the_end_is_unknown_until_it_comes",
    "H14": "file/test_http_faults.py::test_without_a_length_the_end_is_unknown_until_it_comes",
    "H15": "net/test_bodies.py::test_a_reset_in_a_body_without_length_is_no_end",
    "H16": "net/test_bodies.py::test_an_answer_without_a_body_is_refused",
    "H17": "file/test_endless.py::test_it_plays_on_with_flat_memory_and_flat_disk",
    "H18": "file/test_http_faults.py::test_a_server_without_ranges_is_asked_once_however_one_seeks",
    "H19": FAULTS,
    "H20": "file/test_digests.py::test_reading_on_to_the_end_of_another_file_raises",
    "H21": FAULTS,
    "H22": "net/test_ranges.py::test_an_unknown_total_is_accepted_where_it_is_known_already",
    "H23": "net/test_ranges.py::test_a_total_that_differs_is_another_representation",
    "H24": "net/test_ranges.py::test_a_shorter_part_than_asked_for_says_where_it_stops",
    "H25": "net/test_ranges.py::test_bytes_of_a_longer_part_are_cut_off",
    "H26": "net/test_ranges.py::test_several_parts_are_refused",
    "H27": "net/test_ranges.py::test_a_server_that_refuses_every_range_still_gives_the_whole",
    "H28": "net/test_ranges.py::test_a_whole_that_claims_a_range_is_refused",
    "H29": "net/test_ranges.py::test_a_part_that_nobody_asked_for_is_refused",
    "H30": "net/test_ranges.py::test_a_changed_tag_is_never_mixed_with_what_is_held",
    "H31": "net/test_ranges.py::test_a_part_of_the_new_one_despite_if_range_is_caught_by_its_tag",
    "H32": "file/test_digests.py::test_reading_on_to_the_end_of_another_file_raises",
    "H33": "file/test_http_faults.py::test_a_weak_tag_is_not_resumed_in_another_session",
    "H34": "file/test_http_faults.py::test_without_validators_parts_of_one_session_are_combined",
    "H35": "file/test_http_content.py::test_a_tag_that_changes_with_every_answer_still_plays",
    "H36": "net/test_ranges.py::test_a_date_within_the_same_second_is_not_sent_in_if_range",
    "H37": "file/test_http_faults.py::test_retry_after_is_waited_for_and_a_close_meanwhile_is_prompt",
    "H38": "net/test_statuses.py::test_retry_after_is_capped_and_garbage_ignored",
    "H39": "file/test_http_faults.py::test_all_readers_get_the_error_once_each_and_what_is_here_stays_readable",
    "H40": "net/test_statuses.py::test_a_refusal_is_final",
    "H41": "net/test_statuses.py::test_a_failure_that_passes_is_forgotten",
    "H42": "file/test_http_faults.py::test_a_whole_in_the_cache_plays_when_the_server_is_gone",
    "H43": "net/test_heads.py::test_a_server_that_never_answers_is_left_at_the_headers_limit",
    "H44": "net/test_heads.py::test_headers_that_trickle_end_at_the_deadline",
    "H45": "file/test_http_faults.py::test_closing_never_waits_for_the_server",
    "H46": "net/test_bodies.py::test_a_stall_within_the_body_ends_at_the_idle_limit",
    "H47": "net/test_heads.py::test_endless_headers_are_refused_within_bounded_bytes",
    "H48": "net/test_heads.py::test_what_is_not_http_is_refused_at_once",
    "H49": "net/test_heads.py::test_a_flood_of_informational_answers_is_refused",
    "H50": "net/test_heads.py::test_a_stale_kept_connection_is_replaced_without_a_word",
    "H51": "net/test_heads.py::test_an_answer_forged_for_the_next_request_must_fit_its_range",
    "H52": "net/test_redirects.py::test_a_loop_of_redirects_ends_at_the_limit",
    "H53": "file/test_http_faults.py::test_secrets_of_the_caller_do_not_follow_a_redirect",
    "H54": "net/test_redirects.py::test_a_redirect_to_another_scheme_is_refused",
    "H55": "net/test_redirects.py::test_a_public_document_may_not_redirect_to_a_private_address",
    "H56": "net/test_redirects.py::test_a_redirect_without_a_usable_location_is_refused",
    "H57": "file/test_http_faults.py::test_targets_that_differ_between_ranges_are_one_resource",
    "H58": FAULTS,
    "H59": "net/test_statuses.py::test_a_bomb_bursts_at_the_decoded_limit",
    "H60": "net/test_statuses.py::test_a_body_that_is_not_what_its_coding_says_is_refused",
    "H61": "file/test_http_content.py::test_a_captive_portal_is_no_audio",
    "H62": FAULTS,
    "H63": "file/test_digests.py::test_a_server_that_sends_the_right_one_the_next_time_is_believed",
    "H64": "file/test_http_faults.py::test_a_flaky_server_gives_the_whole_in_few_requests",
    "H65": "file/test_http_faults.py::test_a_server_that_refuses_head_is_never_asked_with_it",
    "H66": "file/test_http_faults.py::test_a_thousand_seeks_keep_to_the_connections",
}

RUNTIME = {
    "C1": "file/test_runtime_faults.py::test_ten_thousand_random_seeks_of_one_reader_give_the_bytes_of_their_places",
    "C2": "file/test_runtime_faults.py::test_sixty_four_readers_are_one_download_and_a_slow_one_holds_up_nobody",
    "C3": "file/test_runtime_faults.py::test_five_hundred_resources_at_once_are_bounded",
    "C4": "core/test_waits.py::test_a_blocked_read_ends_within_100_ms",
    "C5": "core/test_store_conformance.py::test_a_failure_reaches_every_waiter_and_leaves_what_is_here",
    "C6": "core/test_waits.py::test_a_producer_whose_loop_is_closed_fails_the_store",
    "C7": "file/test_runtime_faults.py::test_a_loop_that_stands_still_makes_no_timeout_of_what_has_come_meanwhile",
    "C8": "core/test_waits.py::test_waiting_in_the_thread_that_brings_the_bytes_is_refused",
    "C9": "file/test_lifetimes.py::test_closing_inherited_handles_in_a_child_takes_nothing_from_the_parent",
    "C10": "file/test_runtime_faults.py::test_a_thread_that_exits_in_the_middle_of_reading_leaves_nothing",
    "C11": "core/test_waits.py::test_the_process_exits_within_a_second_of_its_main_thread",
    "C12": "file/test_lifetimes.py::test_the_process_ends_within_a_second_while_a_thread_waits",
    "C13": "core/test_waits.py::test_ctrl_c_ends_a_blocked_read_within_100_ms",
    "C14": "core/test_waits.py::test_a_storm_of_signals_neither_ends_nor_prolongs_a_wait",
    "C15": "core/test_waits.py::test_a_signal_handler_may_read_others_and_is_told_when_it_would_wait_for_itself",
    "C16": "core/test_reader_conformance.py::test_closing_is_final_and_may_be_repeated",
    "C17": "core/test_guard.py::test_mappings_go_with_their_resource",  # no view of a mapping is ever given out
    "C18": "file/test_lifetimes.py::test_events_reach_a_callback_that_sometimes_fails",
    "C19": "core/test_waits.py::test_many_rounds_lose_no_wake_up",
    "C20": "core/test_waits.py::test_idle_waiters_cost_next_to_no_processor_time",
    "C21": "core/test_waits.py::test_a_timed_wait_takes_its_time_and_no_more",  # by a clock that nobody can set
    "C22": "file/test_runtime_faults.py::test_a_sub_interpreter_is_refused_or_works_and_kills_nothing",
    "C23": "file/test_runtime_faults.py::test_a_task_that_is_cancelled_while_bytes_come_publishes_whole_pieces_only",
    "C24": "file/test_runtime_faults.py::test_another_kind_of_loop_works_too",
}


@functools.cache
def parsed(path: str) -> ast.Module:
    return ast.parse((TESTS / path).read_text())


def names_in(path: str) -> set[str]:
    return {
        node.name
        for node in parsed(path).body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_")
    }


def rows_of(path: str) -> list[str]:
    """What the keys of the table ``ROWS`` of *path* begin with."""
    [table] = [
        node.value
        for node in parsed(path).body
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["ROWS"]
    ]
    assert isinstance(table, ast.Dict)
    return [ast.literal_eval(key).split()[0] for key in table.keys if key is not None]


def test_every_row_is_named() -> None:
    assert list(SERVER) == [f"H{number}" for number in range(1, 67)]
    assert list(RUNTIME) == [f"C{number}" for number in range(1, 25)]


@pytest.mark.parametrize("row", [*SERVER, *RUNTIME])
def test_every_row_has_its_test(row: str) -> None:
    path, _, name = {**SERVER, **RUNTIME}[row].partition("::")
    if name:
        assert name in names_in(path)
    else:
        assert row in rows_of(path)


def test_every_row_of_the_table_is_a_row() -> None:
    assert set(rows_of(FAULTS)) <= set(SERVER)
