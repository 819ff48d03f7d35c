"""Packets cut out of buffers: by places, by track runs, by the blocks of Matroska clusters."""

from __future__ import annotations

import numpy as np
import pytest
from support import corpus

import kithara.decode as decode
from kithara._core.blocks import cluster_packets, cut, cut_sizes, opus_samples, run_places
from kithara.decode.ebml import unlaced

BODY = bytes(range(100))


def test_cutting_ends_where_the_buffer_does():
    places = [(1000, 10, 1), (1010, 20, 2), (1090, 10, 3), (1095, 10, 4)]
    assert [(BODY[:10], 1), (BODY[10:30], 2), (BODY[90:], 3)] == cut(BODY, 1000, places, 0)
    assert [(BODY[10:30], 2), (BODY[90:], 3)] == cut(BODY, 1000, places, 1)
    assert [] == cut(BODY, 1001, places, 0)
    assert [] == cut(b"", 0, places, 0)


def test_packets_one_behind_the_other_end_where_the_buffer_does():
    assert [(BODY[5:15], 0), (BODY[15:35], 0)] == cut_sizes(BODY, 5, [10, 0, 20], False)
    assert [(bytes(10), 480)] == cut_sizes(bytes(100), 90, [10, 1], True)
    assert [] == cut_sizes(b"", 0, [1], False)


def test_a_run_tells_places_by_its_table_and_by_what_all_have():
    table = bytes.fromhex("00000007 00000010 00000008 00000020")
    assert ([(50, 16, 7), (66, 32, 8)], 98, 15) == run_places(table, 0, 2, 8, 0, 4, 1, 2, 50)
    assert ([(50, 7, 3), (57, 16, 3)], 73, 6) == run_places(table, 0, 2, 4, -1, 0, 3, 2, 50)
    assert ([(50, 2, 3), (52, 2, 3)], 54, 6) == run_places(table, 0, 2, 0, -1, -1, 3, 2, 50)


@pytest.mark.parametrize(("at", "count", "step"), [(0, 3, 8), (9, 1, 8), (-1, 1, 8), (0, 1, 2)])
def test_a_run_whose_table_is_cut_off_is_no_table(at, count, step):
    with pytest.raises(IndexError, match="a table of"):
        run_places(bytes(16), at, count, step, 0, -1, 1, 1, 0)


@pytest.mark.parametrize(
    ("packet", "frames"), [("", 0), ("e0", 120), ("e1", 240), ("fc", 960), ("ff05", 4800), ("ff", 0), ("18", 2880)]
)
def test_an_opus_packet_tells_its_length(packet, frames):
    assert frames == opus_samples(bytes.fromhex(packet))


def element(number: str, body: bytes) -> bytes:
    return bytes.fromhex(number) + (0x4000 | len(body)).to_bytes(2, "big") + body


def block(track: int, stamp: int, body: bytes, flags: int = 0) -> bytes:
    return element("a3", bytes((0x80 | track,)) + stamp.to_bytes(2, "big", signed=True) + bytes((flags,)) + body)


CLUSTER = element(
    "1f43b675", element("e7", b"\x01\x00") + block(1, 0, b"one") + block(2, 0, b"other") + block(1, 5, b"two")
)


def test_the_first_block_of_a_cluster_is_shown_and_the_rest_are_packets():
    packets, at, cluster, fresh, missing, shown = cluster_packets(CLUSTER, 0, 1, 0, False, 1024, False)
    assert ([], 256, False, 0) == (packets, cluster, fresh, missing)
    stamp, start, stop, discard = shown
    assert (256, b"\0one", 0) == (stamp, CLUSTER[start:stop], discard)
    rest = cluster_packets(CLUSTER, at, 1, cluster, False, 1024, False)
    assert ([(b"two", 1024)], len(CLUSTER), 256, False, 0, None) == rest


def test_the_first_block_is_known_for_one_however_the_bytes_arrive():
    for size in range(1, len(CLUSTER)):
        _, at, cluster, fresh, _, shown = cluster_packets(CLUSTER[:size], 0, 1, 0, False, 1024, False)
        if shown is None:
            shown = cluster_packets(CLUSTER, at, 1, cluster, fresh, 1024, False)[5]
        assert 256 == shown[0]


def test_what_is_not_whole_is_asked_for():
    assert ([], 0, 0, True, 12, None) == cluster_packets(b"", 0, 1, 0, True, 1024, False)
    _, at, cluster, *_ = cluster_packets(CLUSTER, 0, 1, 0, False, 1024, False)
    for size in range(at + 12, len(CLUSTER)):
        found, stayed, _, _, missing, _ = cluster_packets(CLUSTER[:size], at, 1, cluster, False, 1024, False)
        assert [] == found
        assert 0 < missing <= 12 if stayed < size else missing == 0


def test_blocks_that_hold_several_packets_or_discard_some_are_shown():
    laced = block(1, 3, b"\x01abcd", flags=4)
    group = element("a0", element("a1", b"\x81\x00\x04\x00last") + element("75a2", b"\x01\x00"))
    assert 3 == cluster_packets(laced, 0, 1, 0, False, 1, False)[5][0]
    stamp, start, stop, discard = cluster_packets(group, 0, 1, 7, False, 1, False)[5]
    assert (11, b"\0last", 256) == (stamp, group[start:stop], discard)


@pytest.mark.parametrize(
    ("body", "packets"),
    [
        ("00 616263", ["616263"]),
        ("04 01 61626364", ["6162", "6364"]),
        ("02 01 01 616263", ["61", "6263"]),
        ("06 02 81 bf 61626364", ["61", "62", "6364"]),
        ("06 02 82 be 61626364", ["6162", "63", "64"]),
        ("04", []),
        ("02 05 01", []),
        ("06 05 81", []),
        ("02 01 09 61", ["61"]),
    ],
)
def test_laced_packets_come_apart(body, packets):
    found = unlaced(memoryview(bytes.fromhex(body)))
    assert [bytes.fromhex(packet) for packet in packets] == [bytes(packet) for packet in found]


def test_noise_is_no_cluster_and_ends():
    chance = np.random.default_rng(8)
    for _ in range(300):
        noise = chance.bytes(400)
        at = 0
        for _ in range(500):
            _, after, _, _, missing, shown = cluster_packets(noise, at, 1, 0, False, 1, True)
            if missing or after >= len(noise):
                break
            assert shown is not None
            assert after > at
            at = after


def test_a_damaged_cluster_costs_itself_and_moves_nothing_behind_it():
    data = bytearray(corpus.file("webm-opus").path.read_bytes())
    expected = decode.load(bytes(data))[0]
    clusters = [at for at in range(len(data)) if data[at : at + 4] == b"\x1f\x43\xb6\x75"]
    assert len(clusters) > 2
    data[clusters[1] : clusters[1] + 3000] = bytes(3000)
    with decode.Decoder(bytes(data)) as decoder:
        got = decoder.read()
    assert len(expected) == len(got)
    assert np.array_equal(expected[-48_000:], got[-48_000:])
