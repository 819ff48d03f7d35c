"""The real-time face: PCM decoded ahead, seeks that win at once, a callback that never waits."""

from __future__ import annotations

import io
import threading
import time

import numpy as np
import pytest
from support import corpus
from support.metered import Metered
from support.waiting import eventually, liveness

import kithara.decode as decode
from kithara.errors import Closed, DecodeError

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.fixture(scope="module")
def whole() -> np.ndarray:
    return decode.load(corpus.file("flac").path)[0]


def test_read_gives_the_decoders_frames_to_the_end(whole):
    with decode.AudioStream(corpus.file("flac").path) as stream:
        pieces = []
        while len(piece := stream.read(7001)):
            pieces.append(piece)
        assert stream.ended
        assert len(whole) / 44100 == stream.position
    assert np.array_equal(whole, np.concatenate(pieces))


def test_chunks_follow_each_other_and_say_where_they_are(whole):
    with decode.AudioStream(corpus.file("flac").path) as stream:
        place = 0
        for chunk in stream.chunks():
            assert place == chunk.start
            assert np.array_equal(whole[place : place + len(chunk.data)], chunk.data)
            place += len(chunk.data)
        assert len(whole) == place


async def test_chunks_come_to_a_task_too(whole):
    with decode.AudioStream(corpus.file("flac").path) as stream:
        data = [chunk.data async for chunk in stream.chunks()]
    assert np.array_equal(whole, np.concatenate(data))


def test_after_a_seek_only_frames_of_the_new_place_come(whole):
    with decode.AudioStream(corpus.file("flac").path) as stream:
        chance = np.random.default_rng(4)
        for _ in range(30):
            seconds = float(chance.uniform(0, 11.5))
            epoch = stream.seek(seconds)
            frame = round(seconds * 44100)
            assert frame / 44100 == stream.position
            got = stream.read(3000)
            assert np.array_equal(whole[frame : frame + 3000], got)
            assert epoch == stream.stats().epoch


def test_seeking_back_after_the_end_plays_on(whole):
    with decode.AudioStream(corpus.file("flac").path) as stream:
        stream.seek(60.0)
        assert 0 == len(stream.read(10))
        stream.seek(1.0)
        assert np.array_equal(whole[44100:44200], stream.read(100))


def test_the_callback_gets_silence_where_nothing_is_here_yet():
    gate = threading.Event()
    with decode.AudioStream(Gated(corpus.file("wav-16").path.read_bytes(), 200_000, gate)) as stream:
        stream.read(40_000)
        out = np.full((60_000, 2), 9, "float32")
        got = stream.readinto(out)
        assert got < 60_000
        assert (out[got:] == 0).all()
        assert 1 == stream.stats().underruns
        gate.set()


def test_short_leaves_what_it_cannot_fill():
    gate = threading.Event()
    with decode.AudioStream(Gated(corpus.file("wav-16").path.read_bytes(), 200_000, gate)) as stream:
        stream.read(40_000)
        out = np.full((60_000, 2), 9, "float32")
        got = stream.readinto(out, on_underrun="short")
        assert (out[got:] == 9).all()
        gate.set()


@pytest.mark.parametrize(
    "out", [np.empty((10, 3), "float32"), np.empty((10, 1), "float32"), np.empty(11, "float32"), np.empty((10, 2))]
)
def test_what_is_no_place_for_its_frames_is_refused(out):
    with decode.AudioStream(corpus.file("flac").path) as stream, pytest.raises(ValueError, match=r"expected float32"):
        stream.readinto(out)


def test_a_callback_may_give_a_flat_array(whole):
    with decode.AudioStream(corpus.file("flac").path) as stream:
        out = np.empty(2000, "float32")
        eventually(lambda: stream.buffered >= 0.1)
        assert 1000 == stream.readinto(out)
        assert np.array_equal(whole[:1000].reshape(-1), out)


def test_a_closed_stream_reads_nothing_of_what_it_had_decoded():
    stream = decode.AudioStream(corpus.file("flac").path)
    stream.read(10)
    stream.close()
    with pytest.raises(Closed, match="audio stream is closed"):
        stream.read(10)


class Gated(io.BytesIO):
    """Bytes up to *edge* at once; what lies behind comes when the gate opens, or when a wait is interrupted."""

    def __init__(self, data: bytes, edge: int, gate: threading.Event) -> None:
        super().__init__(data)
        self.edge, self.gate, self.waiting = edge, gate, threading.Event()
        self.stop = threading.Event()

    def interrupt(self) -> None:
        self.stop.set()

    def seek(self, offset: int, whence: int = 0) -> int:
        self.stop.clear()
        return super().seek(offset, whence)

    def read1(self, size: int = -1) -> bytes:
        from kithara.errors import Interrupted

        if self.tell() + size > self.edge and not self.gate.is_set():
            if self.tell() < self.edge:
                return super().read1(self.edge - self.tell())
            self.waiting.set()
            while not self.gate.is_set():
                if self.stop.wait(0.01):
                    raise Interrupted("interrupted")
        return super().read1(size)


def test_a_seek_wins_over_a_read_that_waits(whole):
    gate = threading.Event()
    source = Gated(corpus.file("wav-16").path.read_bytes(), 400_000, gate)
    with decode.AudioStream(source) as stream:
        stream.seek(8.0)
        assert source.waiting.wait(liveness(5))
        before = time.monotonic()
        stream.seek(0.5)
        got = stream.read(1000)
        assert time.monotonic() - before < liveness(0.5)
    assert np.array_equal(decode.load(corpus.file("wav-16").path)[0][22050:23050], got)


def test_closing_ends_a_read_that_waits():
    source = Gated(corpus.file("wav-16").path.read_bytes(), 200_000, threading.Event())
    stream = decode.AudioStream(source)
    failed: list[BaseException] = []

    def read() -> None:
        try:
            stream.read(500_000)
        except Closed as exc:
            failed.append(exc)

    thread = threading.Thread(target=read)
    thread.start()
    assert source.waiting.wait(liveness(5))
    stream.close()
    thread.join(liveness(2))
    assert 1 == len(failed)


def test_what_ends_the_decoding_is_raised_after_what_was_decoded():
    class Broken(io.BytesIO):
        def read1(self, size: int = -1) -> bytes:
            if self.tell() > 100_000:
                raise ConnectionResetError("gone")
            return super().read1(size)

    with decode.AudioStream(Broken(corpus.file("wav-16").path.read_bytes())) as stream:
        with pytest.raises(ConnectionResetError, match="gone"):
            list(iter(lambda: len(stream.read(1000)), 0))
        assert isinstance(stream.stats().failed, ConnectionResetError)


def test_events_tell_of_seeks_and_the_end():
    with decode.AudioStream(corpus.file("flac").path) as stream:
        events = stream.events()
        stream.seek(11.0)
        while len(stream.read(4096)):
            pass
        seen = []
        eventually(lambda: seen.append(events.get_nowait()) or any(isinstance(e, decode.Ended) for e in seen))
    assert decode.Sought(seconds=11.0, exact=True, epoch=1) in seen


def test_a_forgotten_stream_warns_and_stops_its_thread():
    stream = decode.AudioStream(corpus.file("flac").path)
    thread = stream._worker.thread
    with pytest.warns(ResourceWarning, match="unclosed"):
        del stream
    thread.join(liveness(2))
    assert not thread.is_alive()


@pytest.mark.parametrize("what", [b"", b"<html>", b"#EXTM3U\n"])
def test_what_is_no_audio_is_refused_at_once(what):
    with pytest.raises(DecodeError):
        decode.AudioStream(what)


def test_a_stream_that_nobody_reads_stops_decoding_at_its_buffer():
    reader = Metered(corpus.file("wav-16", seconds=60).path.read_bytes())
    with decode.AudioStream(reader, buffer=0.5) as stream:
        eventually(lambda: stream.buffered >= 0.5)
        assert stream.stats().decoded < 44_100 * 3
        assert reader.fetched < 44_100 * 4 * 4
