"""The public face, used as its documentation shows it: names, defaults and meanings."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support import corpus

import kithara
from kithara.assets import shared
from kithara.cli.origin import Origin
from kithara.errors import InvalidSeek

pytestmark = pytest.mark.needs("flac")


@pytest.fixture
def song() -> bytes:
    return corpus.file("flac").path.read_bytes()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[kithara.AssetStore]:
    with kithara.AssetStore(tmp_path / "cache") as store:
        monkeypatch.setitem(shared._shared, None, store)
        yield store


@pytest.fixture
def url(song: bytes, store: kithara.AssetStore) -> Iterator[str]:
    with Origin({"song.flac": song}) as origin:
        yield origin.url("song.flac")


def test_a_file(url: str, song: bytes) -> None:
    with kithara.open(url) as f:
        assert isinstance(f, io.RawIOBase)
        assert (song[:4], 4) == (f.read(4), f.tell())
        assert len(song) - 128 == f.seek(-128, io.SEEK_END)
        buffer = bytearray(64)
        assert (64, song[-128:-64]) == (f.readinto(buffer), bytes(buffer))
        assert len(song) == f.length
        assert "flac" == f.media.container
        assert (0, 4) <= f.available_ranges()[0]
        assert f.status in ("active", "committed")
        assert kithara.WaitOutcome.READY is f.wait_range(0, 100, 5.0)


@pytest.mark.parametrize("keep", [None, False, "own"])
def test_every_option_of_open(keep: object, url: str, song: bytes, store: kithara.AssetStore) -> None:
    heard: list[object] = []
    with kithara.open(
        url,
        store=store if keep == "own" else keep,
        options=kithara.FileOptions(complete=False),
        http=kithara.HttpOptions(retries=1),
        headers={"X-Listener": "1"},
        timeout=20,
        offline=False,
        blocking=True,
        revalidate="never",
        on_event=heard.append,
    ) as f:
        assert song == f.read()


def test_reads_that_do_not_wait(url: str, song: bytes) -> None:
    with kithara.open(url, blocking=False) as f:
        f.wait_range(0, 100, 10.0)
        assert song[:100] == f.read(100)


def test_a_local_file_by_path_pathlike_and_url(song: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a song.flac"
    path.write_bytes(song)
    for what in (str(path), path, path.as_uri()):
        with kithara.open(what) as f:
            assert song == f.read()


def test_pcm(url: str) -> None:
    y, rate = kithara.load(url, rate=16_000, mono=True)
    assert (1, np.float32, 16_000) == (y.ndim, y.dtype, rate)
    assert kithara.probe(url).media.codec == "flac"
    with kithara.Decoder(url, dtype="int16") as d:
        assert (44_100, 2, 529_977) == (d.spec.rate, d.spec.channels, d.frames)
        assert pytest.approx(529_977 / 44_100) == d.duration
        whole = d.read()
        assert (0, 2) == d.read(10).shape
        d.seek(123_456)
        assert 123_456 == d.tell()
        out = np.empty((1000, 2), np.int16)
        assert 1000 == d.readinto(out)
        assert np.array_equal(whole[123_456:124_456], out)
        chunk = d.read_range(start=441_000, frames=16_000)
        assert (441_000, 44_100) == (chunk.start, chunk.rate)
        assert np.array_equal(whole[441_000:457_000], chunk.data)
        assert 124_456 == d.tell()
        d.seek(0)
        blocks = list(d.blocks(2048, overlap=512))
        assert np.array_equal(blocks[0][-512:], blocks[1][:512])


@pytest.mark.parametrize("dtype", ["int16", "int32", "float32", "float64"])
def test_sample_types(dtype: str, url: str) -> None:
    with kithara.Decoder(url, dtype=dtype) as d:
        block = d.read(4096)
    assert ((4096, 2), np.dtype(dtype), True) == (block.shape, block.dtype, block.flags.c_contiguous)


def test_whatever_can_be_decoded(url: str, song: bytes, tmp_path: Path) -> None:
    path = tmp_path / "song.flac"
    path.write_bytes(song)
    expected, _ = kithara.load(url)
    with path.open("rb") as file:
        for what in (str(path), path, song, io.BytesIO(song), file):
            assert np.array_equal(expected, kithara.load(what)[0])


def test_real_time(url: str) -> None:
    with kithara.AudioStream(url, dtype="float32", buffer=0.5) as s:
        out = np.ones((512, 2), np.float32)
        s.readinto(out, on_underrun="silence")
        assert (1024, 2) == s.read(1024).shape
        s.seek(5.0)
        assert (1024, 2) == s.read(1024).shape
        assert pytest.approx(5.0 + 1024 / 44_100) == s.position
        assert s.buffered >= 0
        assert (() == tuple(s.variants), 0) == (True, s.stats().failed or 0)
        assert next(iter(s.chunks())).data.shape[1] == 2

        async def one() -> np.ndarray:
            async for chunk in s.chunks():
                return chunk.data
            raise AssertionError

        assert 2 == asyncio.run(one()).shape[1]


async def test_sessions(url: str, song: bytes, store: kithara.AssetStore) -> None:
    async with kithara.HttpClient(kithara.HttpOptions()) as client:
        async with kithara.FileSource.open(url, kithara.FileOptions(enable_range_seek=True, http=client)) as session:
            assert song == b"".join([chunk async for chunk in session.stream()])
    async with kithara.FileSource.open_with_cache(url, kithara.FileOptions(), store) as session:
        assert (32, len(song)) == (len(session.asset_id), session.length)
        assert 0 == await session.seek_bytes(-5)
        assert 1024 == await session.seek_bytes(1024)
        with pytest.raises(InvalidSeek):
            await session.seek_bytes(len(song) + 1)
        reader = session.source()
        assert song == await asyncio.to_thread(reader.read)
        reader.close()
    session = await kithara.FileSource.open(url)
    await session.stop()


def test_options_take_the_documented_values() -> None:
    from kithara.abr import AbrOptions

    kithara.FileOptions(
        enable_range_seek=True, look_ahead=8 << 20, complete=True, sha256=None, revalidate="never", bus=None,
        event_capacity=64, http=None,
    )  # fmt: skip
    kithara.HttpOptions(
        connect=10, headers=10, idle=15, total=None, min_rate=None, retries=4, redirects=5, connections=6, proxy=None,
        tls=None, allow_private=None, allow_downgrade=False,
    )  # fmt: skip
    kithara.HlsOptions(
        variant="auto", look_ahead=120.0, key_processor=None, store_keys=True, abr=AbrOptions(), language=None,
        splice="smooth",
    )  # fmt: skip
    assert kithara.FileParams is kithara.FileOptions
    assert kithara.HlsParams is kithara.HlsOptions


def test_storage_and_assets(url: str, tmp_path: Path, store: kithara.AssetStore) -> None:
    from kithara.assets import AssetId, ResourceKey, asset_store
    from kithara.storage import AtomicResource, RangeSet, RingBuffer, StreamingResource, WaitOutcome

    note = AtomicResource(tmp_path / "note")
    assert note.read() is None
    note.write(b"x")
    assert b"x" == note.read()
    ring = RingBuffer(1024)
    assert 3 == ring.write(b"abc")
    into = bytearray(3)
    assert (3, b"abc") == (ring.read_into(into), bytes(into))
    ring.reset(1)
    resource = StreamingResource(tmp_path / "large", length=3)
    resource.write_at(0, b"abc")
    assert WaitOutcome.READY is resource.wait_range(0, 3, timeout=1)
    assert (True, None) == (resource.contains_range(0, 3), resource.next_gap(0, 3))
    resource.commit()
    assert RangeSet([(0, 3)]).covers(0, 3)
    key = ResourceKey.from_url(url)
    assert isinstance(key.asset_id, AssetId)
    with kithara.open(url) as f:
        f.read()
    store.pin(key.asset_id)
    assert [True] == [asset.pinned for asset in store.assets()]
    store.unpin(key.asset_id)
    store.lease(key.asset_id).release()
    assert (1, []) == (store.usage().assets, store.verify())
    store.remove_resource(key)
    store.remove(key.asset_id)
    assert 0 == store.usage().assets
    with asset_store(tmp_path / "other") as other:
        assert 0 == other.usage().assets
