"""Watching real streams: what came, what was heard, seeks, silence."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.waiting import eventually

import kithara
from kithara.cli import lyre
from kithara.cli.origin import Origin
from kithara.timeline import Watch

MUSIC = lyre.melody(6)
SONG = lyre.flac(MUSIC)


@pytest.fixture(scope="module")
def tree() -> dict[str, bytes]:
    return lyre.hls(MUSIC, (32_000, 96_000), 1)


@pytest.fixture
def origin(tree: dict[str, bytes]) -> Iterator[Origin]:
    with Origin({**tree, "song.flac": SONG}) as on:
        yield on


async def opened(url: str, **options: object) -> kithara.hls.HlsSession:
    return await kithara.HlsSource.open(url, kithara.HlsOptions(**options))


def test_a_file_is_told_in_seconds_once_somebody_listens(origin: Origin) -> None:
    with (
        kithara.open(origin.url("song.flac"), store=False) as reader,
        kithara.AudioStream(reader) as stream,
        Watch(stream, interval=0.01) as watch,
    ):
        assert len(MUSIC) == len(stream.read(len(MUSIC) + 1))
        eventually(lambda: watch.now is not None and (watch.now.position or 0) >= 6)
    timeline = watch.timeline()
    assert ("seconds", pytest.approx(6.0), ()) == (timeline.unit, timeline.extent, timeline.bitrates)
    assert len(SONG) == sum(part.size for part in timeline.fetched)
    assert pytest.approx(6.0) == sum(part.stop - part.start for part in timeline.fetched)
    assert timeline.received == sum(part.size for part in timeline.fetched if not part.cached)
    assert (0, ()) == (timeline.missed, timeline.stalls)


def test_a_reader_that_nobody_hears_is_told_in_bytes(origin: Origin) -> None:
    with kithara.open(origin.url("song.flac"), store=False) as reader, Watch(reader, interval=0.01) as watch:
        reader.read()
    timeline = watch.timeline()
    assert ("bytes", len(SONG)) == (timeline.unit, timeline.extent)
    assert {None} == {sample.position for sample in timeline.samples}
    assert len(SONG) == sum(part.size for part in timeline.fetched)


def test_a_presentation_tells_its_segments_and_which_variant_is_heard(origin: Origin) -> None:
    with (
        kithara.AudioStream(origin.url("master.m3u8"), variant=1) as stream,
        Watch(stream, interval=0.01, link=lambda: 5.0) as watch,
    ):
        assert len(MUSIC) <= len(stream.read(2 * len(MUSIC)))
        eventually(lambda: watch.now is not None and (watch.now.position or 0) >= 6)
    timeline = watch.timeline()
    assert {1} == {part.variant for part in timeline.fetched}
    assert 6 <= max(part.stop for part in timeline.fetched)
    assert [1] == [variant for _, variant in timeline.heard]
    assert {5.0} == {sample.link for sample in timeline.samples}
    assert timeline.bitrates == tuple(sorted(timeline.bitrates))
    assert "ended" in {moment.kind for moment in timeline.moments}


async def test_a_session_is_watched_without_a_listener(origin: Origin) -> None:
    async with await opened(origin.url("master.m3u8"), variant=0) as session:
        with Watch(session, interval=0.01) as watch:
            starts = [segment.start async for segment in session.segments()]
            eventually(lambda: len(watch.timeline().fetched) == len(starts))
        timeline = watch.timeline()
    assert starts[-1] >= 5
    assert starts == [part.start for part in timeline.fetched]
    assert sum(part.size for part in timeline.fetched) == timeline.received
    assert {None} == {sample.position for sample in timeline.samples}


def test_what_was_cached_is_no_traffic(origin: Origin, tmp_path: Path) -> None:
    with kithara.open(origin.url("song.flac"), store=tmp_path / "cache") as reader:
        reader.read()
    with (
        kithara.open(origin.url("song.flac"), store=tmp_path / "cache") as reader,
        kithara.AudioStream(reader) as stream,
        Watch(stream, interval=0.01) as watch,
    ):
        stream.read(len(MUSIC) + 1)
    timeline = watch.timeline()
    assert (0, [(len(SONG), True)]) == (timeline.received, [(part.size, part.cached) for part in timeline.fetched])


def test_a_seek_is_a_moment(origin: Origin) -> None:
    with kithara.AudioStream(origin.url("master.m3u8")) as stream, Watch(stream, interval=0.01) as watch:
        stream.read(100)
        stream.seek(4.0)
        stream.read(100)
        eventually(lambda: any(moment.kind == "seek" for moment in watch.timeline().moments))
        eventually(lambda: watch.now is not None and (watch.now.position or 0) > 4)
    assert ["to 4.0 s"] == [moment.note for moment in watch.timeline().moments if moment.kind == "seek"]


def test_silence_in_the_middle_is_a_stall(origin: Origin) -> None:
    origin.rate = 20_000
    block = np.empty((2048, 2), np.float32)
    with kithara.AudioStream(origin.url("song.flac"), buffer=0.05) as stream, Watch(stream, interval=0.01) as watch:
        eventually(lambda: stream.readinto(block) == 0 and watch.timeline().stalls, timeout=20)
        origin.rate = None
    assert watch.timeline().stalls


def test_a_timeline_can_be_had_while_it_grows(origin: Origin) -> None:
    with kithara.AudioStream(origin.url("song.flac")) as stream, Watch(stream, interval=0.01) as watch:
        first = eventually(lambda: watch.timeline() if watch.timeline().samples else None)
        eventually(lambda: watch.timeline().seconds > first.seconds)
    assert watch.now == watch.timeline().samples[-1]


def test_many_looks_are_thinned_and_still_tell_everything(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kithara.timeline.watch.LOOKS", 8)
    origin.rate = 2_000_000
    with kithara.open(origin.url("song.flac"), store=False) as reader, Watch(reader, interval=0.001) as watch:
        reader.read()
        eventually(lambda: watch.now is not None and watch.now.time > 0.1)
    timeline = watch.timeline()
    assert len(timeline.samples) <= 10
    assert len(SONG) == sum(part.size for part in timeline.fetched)
    assert len(SONG) == timeline.received + sum(part.size for part in timeline.fetched if part.cached)


def test_a_watch_ends_with_its_block(origin: Origin) -> None:
    with kithara.AudioStream(origin.url("song.flac")) as stream:
        with Watch(stream) as watch:
            pass
        assert "kithara-watch" not in {thread.name for thread in threading.enumerate()}
        seconds = watch.timeline().seconds
        stream.read(10)
    assert seconds == watch.timeline().seconds


@pytest.mark.parametrize("interval", [0.0, -1.0, float("nan")])
def test_an_interval_is_positive(origin: Origin, interval: float) -> None:
    with kithara.AudioStream(origin.url("song.flac")) as stream, pytest.raises(ValueError, match="interval"):
        Watch(stream, interval=interval)
