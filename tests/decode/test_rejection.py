"""What is no audio is not kept; what a caller opened is the caller's business."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import kithara
from kithara.assets import shared
from kithara.cli.origin import Origin
from kithara.errors import UnsupportedMedia

PAGE = b"<!DOCTYPE html><title>Sign in</title>" * 100


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[kithara.AssetStore]:
    with kithara.AssetStore(tmp_path / "cache") as store:
        monkeypatch.setitem(shared._shared, None, store)
        yield store


@pytest.mark.parametrize("decode", [kithara.Decoder, kithara.load, kithara.probe, kithara.AudioStream])
def test_a_page_where_audio_was_expected_leaves_nothing_in_the_cache(decode, store: kithara.AssetStore) -> None:
    with Origin({"song.mp3": PAGE}) as origin:
        with pytest.raises(UnsupportedMedia, match=re.escape(origin.url("song.mp3"))):
            decode(origin.url("song.mp3"))
        assert [] == store.assets()


def test_a_page_that_was_cached_before_is_dropped_and_asked_for_anew(store: kithara.AssetStore) -> None:
    with Origin({"song.mp3": PAGE}) as origin:
        with kithara.open(origin.url("song.mp3")) as reader:
            assert PAGE == reader.read()
        assert 1 == len(store.assets())
        with pytest.raises(UnsupportedMedia):
            kithara.load(origin.url("song.mp3"))
        assert [] == store.assets()


def test_a_callers_reader_and_its_bytes_stay(store: kithara.AssetStore) -> None:
    with Origin({"song.mp3": PAGE}) as origin, kithara.open(origin.url("song.mp3")) as reader:
        with pytest.raises(UnsupportedMedia):
            kithara.Decoder(reader)
        reader.seek(0)
        assert PAGE == reader.read()
        assert 1 == len(store.assets())
