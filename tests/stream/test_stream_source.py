"""Opening: one way for our factories and anybody's."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.sources import CONTENT, SIZE, UserSource

import kithara
from kithara import stream
from kithara.cli.origin import Origin
from kithara.errors import LocalFileError
from kithara.events import EventBus
from kithara.source import OpenedSource
from kithara.stream import ByteStream, StreamParams, StreamSource, SyncReader


@dataclass(frozen=True)
class MyParams:
    known: bool = True


class MyFactory:
    """A user's own kind of source."""

    async def open(self, url: str, params: MyParams) -> OpenedSource[UserSource]:
        if not url.startswith("my:"):
            raise LookupError(url)
        return OpenedSource(UserSource(known=params.known), EventBus())


async def test_a_users_factory_opens_like_ours() -> None:
    source = await StreamSource.open(MyFactory(), "my:song", MyParams(known=False))
    assert isinstance(source.source, UserSource)
    assert source.source is source.into_inner()
    assert source.source.length is None
    with SyncReader(source.source) as reader:
        assert CONTENT[:10] == await asyncio.to_thread(lambda: reader.read(10))


async def test_a_factorys_error_is_raised_itself() -> None:
    with pytest.raises(LookupError):
        await StreamSource.open(MyFactory(), "other:song", MyParams())


async def test_events_come_from_the_source() -> None:
    source = await StreamSource.open(MyFactory(), "my:song", MyParams())
    events = source.events()
    source.bus.publish("first")
    source.bus.publish("second")
    source.bus.close()
    assert ["first", "second"] == [event async for event in events]


async def test_a_file_opens_through_its_factory(tmp_path: Path) -> None:
    path = tmp_path / "song.bin"
    path.write_bytes(CONTENT)
    source = await StreamSource.open(kithara.File, str(path), kithara.FileParams())
    assert SIZE == source.source.length
    with SyncReader(source.source) as reader:
        del source  # the reader keeps what it needs
        assert CONTENT == reader.read()


async def test_a_file_streams_through_its_factory(tmp_path: Path) -> None:
    path = tmp_path / "song.bin"
    path.write_bytes(CONTENT)
    source = await StreamSource.open(kithara.File, str(path), kithara.FileParams())
    async with ByteStream(source) as chunks:
        await chunks.handle().seek_bytes(1000)
        assert CONTENT[1000:] == b"".join([chunk async for chunk in chunks])


async def test_a_file_that_is_not_there_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(LocalFileError):
        await StreamSource.open(kithara.File, str(tmp_path / "none"), kithara.FileParams())


ALIASES = ("StreamMsg", "Message")
SEEDS = (
    *("Source", "SyncReader", "SyncReaderParams", "SourceFactory", "StreamSource", "OpenedSource", "PrefetchSource"),
    *("PrefetchWorker", "PrefetchedItem", "PrefetchConsumer", "Writer", "Reader", "StreamError", "MediaInfo"),
    *("Stream", "StreamParams", "SeekBytes", *ALIASES),
)


@pytest.mark.parametrize("name", SEEDS)
def test_every_name_of_the_seeds_is_here_and_documented(name: str) -> None:
    thing = getattr(stream, name)
    assert name in stream.__all__
    assert name in ALIASES or thing.__doc__


async def test_offline_mode_reaches_a_file_which_then_fetches_no_more() -> None:
    with Origin({"song.bin": CONTENT}, rate=50_000) as origin:
        source = await StreamSource.open(kithara.File, origin.url("song.bin"), kithara.FileParams())
        received = bytearray()

        async def receive() -> None:
            async with ByteStream(source, StreamParams(offline_mode=True)) as chunks:
                async for chunk in chunks:
                    received.extend(chunk)

        with pytest.raises(kithara.OfflineMiss):
            await receive()
        assert CONTENT.startswith(received)
        assert len(received) < SIZE
