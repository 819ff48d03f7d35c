"""The sidecar of a partial file: only exactly what was written is believed."""

import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kithara.storage.sidecar import SIZE_LIMIT, Sidecar, Validators

text = st.none() | st.text(max_size=30)
validators = st.builds(
    Validators,
    total=st.none() | st.integers(2**40, 2**62),
    etag=text,
    last_modified=text,
    date=text,
    content_type=text,
    unvalidated=st.booleans(),
)
edges = st.lists(st.integers(0, 2**40), unique=True, max_size=20).map(sorted)
ranges = edges.map(lambda e: tuple(zip(e[::2], e[1::2], strict=False)))
numbers = st.integers(0, 2**63 - 1)
sidecars = st.builds(
    Sidecar, key=st.text(max_size=64), generation=numbers, inode=numbers, device=numbers, validators=validators,
    ranges=ranges,
)  # fmt: skip
SIMPLE = Sidecar(
    key="k", generation=1, inode=2, device=3, validators=Validators(total=100, etag='"a"'), ranges=((0, 10), (20, 30))
)


@given(sidecars)
def test_what_was_written_is_read(sidecar):
    assert sidecar == Sidecar.decode(sidecar.encode())


@given(validators)
def test_validators_survive_json(facts):
    assert facts == Validators.from_json(facts.to_json())


@given(st.binary(max_size=300))
def test_any_bytes_are_answered_with_none(content):
    assert Sidecar.decode(content) is None


@given(st.integers(0, len(SIMPLE.encode()) - 1), st.integers(1, 255))
def test_any_changed_byte_is_noticed(at, flip):
    content = bytearray(SIMPLE.encode())
    content[at] ^= flip
    assert Sidecar.decode(bytes(content)) is None


@given(st.integers(0, len(SIMPLE.encode()) - 1))
def test_any_torn_sidecar_is_noticed(length):
    assert Sidecar.decode(SIMPLE.encode()[:length]) is None


def signed(**changes):
    facts = json.loads(SIMPLE.encode()[9:])
    facts.update(changes)
    body = json.dumps(facts).encode()
    return b"%08x\n%b" % (zlib.crc32(body), body)


def test_a_well_formed_one_is_believed():
    assert Sidecar.decode(signed()) == SIMPLE


@pytest.mark.parametrize(
    "changes",
    [
        {"v": 2},
        {"v": None},
        {"ranges": None},
        {"ranges": [[0, 10, 20]]},
        {"ranges": [[10, 0]]},
        {"ranges": [[5, 5]]},
        {"ranges": [[-1, 5]]},
        {"ranges": [[0, 10], [5, 20]]},
        {"ranges": [[0, 10], [10, 20]]},
        {"ranges": [[20, 30], [0, 10]]},
        {"ranges": [[0, 101]]},
        {"ranges": [[0, 2**63]]},
        {"ranges": [[0.0, 1.0]]},
        {"ranges": [[False, True]]},
        {"ranges": {"0": 1}},
        {"ino": "2"},
        {"gen": -1},
        {"key_sha": 7},
        {"total": -5},
        {"total": True},
        {"etag": 5},
        {"unvalidated": 1},
    ],
)
def test_signed_lies_are_not_believed(changes):
    assert Sidecar.decode(signed(**changes)) is None


@pytest.mark.parametrize("body", [b"[]", b"7", b"[" * 100_000, b'"x"', b"nan", b""])
def test_other_json_is_not_believed(body):
    assert Sidecar.decode(b"%08x\n%b" % (zlib.crc32(body), body)) is None
    assert Validators.from_json(body.decode()) is None


def test_of_too_many_runs_the_largest_are_kept():
    runs = tuple((10**9 + i * 100, 10**9 + i * 100 + 1 + i % 50) for i in range(16_000))
    sidecar = Sidecar(key="k" * 64, generation=1, inode=2, device=3, validators=Validators(), ranges=runs)
    content = sidecar.encode()
    assert len(content) <= SIZE_LIMIT
    kept = Sidecar.decode(content).ranges
    assert len(kept) > 2000
    assert set(kept) < set(runs)
    lost = set(runs) - set(kept)
    assert max(b - a for a, b in lost) <= min(b - a for a, b in kept)
