"""Lists that grow: nothing lost, nothing twice, a polite question now and then, and an end that is told."""

import asyncio
import time
from itertools import pairwise

import pytest
from support.faultserver import FaultServer, head, send

from kithara.assets import AssetStore
from kithara.errors import HttpStatus, NetTimeout, PlaylistInvalid, Unsupported
from kithara.hls import HlsOptions, HlsSource
from kithara.net import HttpOptions

DURATION = 0.5
WINDOW = 5


def packet(number):
    return (b"G" + f"<{number}>".encode().ljust(187, b".")) * 20


class Station:
    """A live presentation of one variant; each question finds the window one segment further, until *last*."""

    def __init__(self, server, *, first=100, last=5, kind=None, step=1, window=WINDOW):
        self.server, self.first, self.last, self.kind, self.step, self.window = server, first, last, kind, step, window
        self.asked = []
        self.frozen = None
        self.gaps = set()
        self.url = server.url("/live.m3u8")
        server.on("/live.m3u8", self.answer)
        for number in range(first, first + last + window + 1):
            server.serve(f"/{number}.ts", packet(number))

    def listing(self, turn):
        start = self.first + (0 if self.kind else turn)
        stop = self.first + turn + self.window
        lines = ["#EXTM3U", f"#EXT-X-TARGETDURATION:{DURATION}", f"#EXT-X-MEDIA-SEQUENCE:{start}"]
        lines += [f"#EXT-X-PLAYLIST-TYPE:{self.kind}"] if self.kind else []
        for number in range(start, stop):
            lines += [f"#EXTINF:{DURATION},", *(["#EXT-X-GAP"] if number in self.gaps else []), f"{number}.ts"]
        return "\n".join([*lines, *(["#EXT-X-ENDLIST"] if turn >= self.last else []), ""])

    def answer(self, exchange):
        turn = min(len(self.asked) * self.step, self.last)
        self.asked.append(time.monotonic())
        body = self.listing(turn if self.frozen is None else min(turn, self.frozen)).encode()
        for step in (head(200, {"Content-Length": len(body)}), send(body)):
            step(exchange)


@pytest.fixture
def server():
    with FaultServer() as server:
        yield server


async def heard(session, limit=1000):
    numbers = []
    async for segment in session.segments():
        buffer = bytearray(segment.store.length)
        segment.store.read_at(0, buffer)
        number = int(bytes(buffer).split(b"<")[1].split(b">")[0])
        assert packet(number) == bytes(buffer)
        numbers.append((number, segment.start))
        if len(numbers) == limit:
            break
    return numbers


async def test_a_live_list_is_heard_from_three_targets_before_its_end_to_its_true_end(server):
    station = Station(server)
    async with HlsSource.open(station.url) as session:
        assert session.duration is None
        numbers = await heard(session)
    assert [*range(102, 110)] == [number for number, _ in numbers]
    starts = [start for _, start in numbers]
    assert [1.0 + DURATION * n for n in range(8)] == pytest.approx(starts)
    pauses = [after - before for before, after in pairwise(station.asked)]
    assert 0.9 * DURATION <= min(pauses)  # RFC 8216, 6.3.4: a target duration after a change


async def test_an_event_is_heard_from_its_beginning(server, tmp_path):
    station = Station(server, kind="EVENT")
    with AssetStore(tmp_path / "cache") as store:
        async with HlsSource.open(station.url, None, store) as session:
            assert [*range(100, 110)] == [number for number, _ in await heard(session)]


async def test_a_live_list_is_not_kept(server, tmp_path):
    station = Station(server)
    with AssetStore(tmp_path / "cache") as store:
        async with HlsSource.open(station.url, None, store) as session:
            await heard(session, 2)
    assert [] == [path.name for path in (tmp_path / "cache").rglob("*") if path.suffix in (".ts", ".m3u8")]


async def test_a_seek_stays_inside_the_window(server):
    station = Station(server, last=1000)
    async with HlsSource.open(station.url) as session:
        numbers = []
        async for segment in session.segments():
            numbers.append(segment.index)
            if len(numbers) == 1:
                await session.seek(0.0)
            elif len(numbers) == 2:
                await session.seek(1000.0)
            elif len(numbers) == 3:
                break
    assert 2 == numbers[0]
    assert numbers[1] <= 1
    assert numbers[2] >= 4


async def test_a_window_that_ran_away_is_caught_up_with(server):
    station = Station(server, step=WINDOW + 2, last=4 * (WINDOW + 2))
    async with HlsSource.open(station.url) as session:
        numbers = [number for number, _ in await heard(session)]
    assert sorted(set(numbers)) == numbers
    assert station.first + station.last + WINDOW - 1 == numbers[-1]


async def test_a_live_list_that_stands_still_is_given_up(server, liveness):
    station = Station(server)
    station.frozen = 0
    async with HlsSource.open(station.url) as session, asyncio.timeout(liveness(20.0)):
        with pytest.raises(NetTimeout) as failure:
            await heard(session)
    assert "idle" == failure.value.kind


async def test_a_live_list_that_goes_away_is_told(server):
    station = Station(server)
    async with HlsSource.open(station.url, HlsOptions(http=HttpOptions(retries=0))) as session:
        server._scripts["/live.m3u8"] = []
        server.on("/live.m3u8", head(404, {"Content-Length": 0}))
        with pytest.raises(HttpStatus):
            await heard(session)


async def test_a_live_server_that_starts_over_is_heard_on(server):
    station = Station(server, first=100, last=12)
    for number in range(station.last + WINDOW):
        server.serve(f"/{number}.ts", packet(number))
    heard = []
    async with HlsSource.open(station.url) as session:
        async for segment in session.segments():
            buffer = bytearray(segment.store.length)
            segment.store.read_at(0, buffer)
            heard.append((int(bytes(buffer).split(b"<")[1].split(b">")[0]), segment.discontinuity, segment.start))
            if len(heard) == 3:
                station.first = 0
    before = [number for number, run, _ in heard if run == 0]
    after = [number for number, run, _ in heard if run == 1]
    assert [*range(102, 102 + len(before))] == before
    assert [*range(after[0], station.last + WINDOW)] == after
    starts = [start for *_, start in heard]
    assert [starts[0] + DURATION * n for n in range(len(heard))] == pytest.approx(starts)


async def test_an_event_that_starts_over_is_told(server):
    station = Station(server, first=100, last=1000, kind="EVENT")
    async with HlsSource.open(station.url) as session:
        station.first = 0
        with pytest.raises(PlaylistInvalid, match="started over"):
            await heard(session)


async def test_the_bytes_of_a_live_variant_are_no_file(server):
    station = Station(server)
    async with HlsSource.open(station.url) as session:
        with pytest.raises(Unsupported):
            session.as_file()


async def test_who_paused_until_the_window_slid_away_goes_on_with_what_is_offered(server):
    station = Station(server, last=40)
    async with HlsSource.open(station.url, HlsOptions(look_ahead=0.1)) as session:
        numbers, starts = [], []
        async for segment in session.segments():
            buffer = bytearray(segment.store.length)
            segment.store.read_at(0, buffer)
            numbers.append(int(bytes(buffer).split(b"<")[1].split(b">")[0]))
            starts.append(segment.start)
            if len(numbers) == 1:  # a pause, in which what comes next is taken from the server
                gone = numbers[0] + WINDOW + 2
                for number in range(numbers[0] + 1, gone):
                    server._scripts[f"/{number}.ts"] = []
                    server.on(f"/{number}.ts", head(404, {"Content-Length": 0}))
                assert await server.sees(lambda: len(station.asked) > numbers[0] + WINDOW + 3 - station.first)
            if len(numbers) == 3:
                break
    assert gone <= numbers[1]
    assert numbers[2] == numbers[1] + 1
    assert DURATION * (numbers[1] - numbers[0]) == pytest.approx(starts[1] - starts[0])


async def test_who_finds_a_gap_where_the_window_begins_now_goes_on_behind_it(server):
    station = Station(server, last=40)
    gone = station.first + 6
    station.gaps = {number for number in range(gone, gone + 60) if number % 3}
    async with HlsSource.open(station.url, HlsOptions(look_ahead=0.1)) as session:
        numbers = []
        async for segment in session.segments():
            buffer = bytearray(segment.store.length)
            segment.store.read_at(0, buffer)
            numbers.append(int(bytes(buffer).split(b"<")[1].split(b">")[0]))
            if len(numbers) == 2:
                break
            for number in range(numbers[0] + 1, gone):
                server._scripts[f"/{number}.ts"] = []
                server.on(f"/{number}.ts", head(404, {"Content-Length": 0}))
            assert await server.sees(lambda: len(station.asked) > 7)
    assert gone < numbers[1]
    assert 0 == numbers[1] % 3
    assert not {f"/{number}.ts" for number in station.gaps} & {request.path for request in server.requests}


async def test_a_segment_that_is_missing_inside_the_window_is_an_error(server):
    station = Station(server)
    number = station.first + 4
    server._scripts[f"/{number}.ts"] = []
    server.on(f"/{number}.ts", head(404, {"Content-Length": 0}))
    station.frozen = 0
    async with HlsSource.open(station.url) as session:
        with pytest.raises(HttpStatus):
            await heard(session)
