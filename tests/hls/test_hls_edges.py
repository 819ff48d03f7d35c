"""Odd shapes of real presentations: what a packager writes at the end, and what comes in small pieces."""

import numpy as np
import pytest
from support import hlstrees
from support.faultserver import FaultServer, head
from support.hlsorigin import COUNT, IV, KEY, Origin, encrypted, options, played
from support.hlssession import opened
from support.waiting import eventually

import kithara
from kithara.abr import AbrOptions
from kithara.decode.view import ByteView
from kithara.errors import HttpStatus
from kithara.hls import HlsSource, parse_playlist
from kithara.hls.timeline import Timeline

EMPTY = (24).to_bytes(4, "big") + b"styp" + b"msdh" + bytes(4) + b"msdhmsix"


@pytest.mark.needs("ffmpeg")
@pytest.mark.parametrize("keyed", [False, True], ids=["clear", "encrypted"])
def test_a_seek_into_a_last_segment_that_holds_nothing_lands_in_the_one_before(keyed):
    tree = hlstrees.tree("fmp4-lossless").variants[0]
    with kithara.Decoder(tree.playlist, dtype="int16") as decoder:
        expected = decoder.read()
    lines = tree.playlist.read_text().splitlines()
    place = lines.index("#EXT-X-ENDLIST")
    lines[place:place] = ["#EXTINF:0.5,", "empty.m4s"]
    if keyed:
        first = next(at for at, line in enumerate(lines) if line.startswith("#EXTINF"))
        lines.insert(first, f'#EXT-X-KEY:METHOD=AES-128,URI="k",IV=0x{IV.hex()}')
    with FaultServer() as server:
        server.serve("/k", KEY)
        server.serve("/master.m3u8", "\n".join(lines).encode())
        for path in tree.files:
            body = path.read_bytes()
            server.serve(f"/{path.name}", encrypted(body) if keyed and path.suffix == ".m4s" else body)
        server.serve("/empty.m4s", encrypted(EMPTY) if keyed else EMPTY)
        session = opened(server, None)
        with kithara.Decoder(session.segment_source(), dtype="int16") as decoder:
            decoder.seek(len(expected) + 4410)  # a tenth of a second into what holds nothing
            assert 0 == len(decoder.read())
        with kithara.Decoder(session.segment_source(), dtype="int16") as decoder:
            decoder.seek(len(expected) - 10)
            assert np.array_equal(expected[-10:], decoder.read())
        session.close()


class Trickle:
    """A reader that cannot seek and gives *sizes* bytes at a time, then whatever is asked for."""

    def __init__(self, data, *sizes):
        self.data, self.sizes, self.at = data, list(sizes), 0

    def read(self, size):
        size = min(size, self.sizes.pop(0)) if self.sizes else size
        self.at += size
        return self.data[self.at - size : self.at]


@pytest.mark.parametrize("first", [8, 16, 20, 24, 100])
def test_what_was_passed_by_while_a_header_is_understood_can_be_gone_back_to(first):
    data = bytes(range(200))
    view = ByteView(Trickle(data, first))
    assert data[:8] == view.head(0, 8, 512)[:8]
    assert data[24:40] == view.get(24, 16)
    assert data[:16] == view.get(0, 16)


class Broadcast:
    """A lossless presentation of a real packager as a list that grows, segments *window* wide."""

    def __init__(self, server):
        self.server = server
        self.made = hlstrees.tree("fmp4-lossless").variants[0]
        self.vod = parse_playlist(self.made.playlist.read_bytes(), "http://h/")
        for path in self.made.files:
            server.serve(f"/{path.name}", path.read_bytes())
        with kithara.Decoder(self.made.playlist, dtype="int16") as decoder:
            self.whole = decoder.read()

    def __len__(self):
        return len(self.vod.segments)

    def offer(self, first, stop, *, gaps=(), kind=None):
        """Serve the list of segments *first* to *stop*; of all of them, it has ended."""
        lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:1", f"#EXT-X-MEDIA-SEQUENCE:{first}", '#EXT-X-MAP:URI="init.mp4"']
        lines += [f"#EXT-X-PLAYLIST-TYPE:{kind}"] if kind else []
        for index, segment in enumerate(self.vod.segments[first:stop], first):
            lines += ["#EXT-X-GAP"] if index in gaps else []
            lines += [f"#EXTINF:{segment.duration},", segment.uri.rpartition("/")[2]]
        lines += ["#EXT-X-ENDLIST"] if stop == len(self) else []
        self.server.serve("/master.m3u8", "\n".join([*lines, ""]).encode())

    def frame(self, index):
        """The first frame of segment *index*, on the packager's grid of packets."""
        return next(at for at in range(0, len(self.whole), 4608) if at >= self.starts[index] * 44100 - 10)

    @property
    def starts(self):
        return Timeline(self.vod).starts

    def withdraw(self, index):
        name = f"/{self.vod.segments[index].uri.rpartition('/')[2]}"
        self.server._scripts[name] = []
        self.server.on(name, head(404, length=0))


@pytest.fixture
def broadcast():
    with FaultServer() as server:
        yield Broadcast(server)


@pytest.mark.needs("ffmpeg")
def test_a_broadcast_is_decoded_from_where_it_is_joined_and_counted_from_its_windows_beginning(broadcast):
    broadcast.offer(0, 3)
    session = opened(broadcast.server, None)
    with kithara.Decoder(session.segment_source(), dtype="int16") as decoder:
        joined = decoder.tell()
        assert broadcast.frame(2) == joined
        start = decoder.read(44100)
        broadcast.offer(0, len(broadcast))
        assert np.array_equal(broadcast.whole[joined:], np.concatenate((start, decoder.read())))
        decoder.seek(44100)
        assert np.array_equal(broadcast.whole[44100:88200], decoder.read(44100))
    with kithara.AudioStream(session.segment_source(), dtype="int16") as stream:
        assert np.array_equal(broadcast.whole[:1000], stream.read(1000))
        assert 1000 / 44100 == pytest.approx(stream.position)
    session.close()


@pytest.mark.needs("ffmpeg")
def test_a_stream_of_a_broadcast_tells_the_position_within_it(broadcast):
    broadcast.offer(0, 3)
    session = opened(broadcast.server, None)
    with kithara.AudioStream(session.segment_source(), dtype="int16") as stream:
        joined = broadcast.frame(2)
        assert np.array_equal(broadcast.whole[joined : joined + 1000], stream.read(1000))
        assert (joined + 1000) / 44100 == pytest.approx(stream.position)
    session.close()


@pytest.mark.needs("ffmpeg")
def test_a_seek_before_the_window_of_a_broadcast_goes_to_its_beginning(broadcast):
    broadcast.offer(0, 3)
    session = opened(broadcast.server, None, look_ahead=0.1)
    with kithara.Decoder(session.segment_source(), dtype="int16") as decoder:
        decoder.read(1000)
        broadcast.offer(2, 6)
        eventually(lambda: session._engine.catalogue.timelines[0].window == 2)
        decoder.seek(0)
        got = decoder.read(1000)
        first = decoder.tell() - 1000
        assert broadcast.frame(2) == first
        assert np.array_equal(broadcast.whole[first : first + 1000], got)
        got = decoder.read(1000)
        assert np.array_equal(broadcast.whole[first + 1000 : first + 2000], got)
    session.close()


@pytest.mark.needs("ffmpeg")
def test_silence_stands_for_what_slid_out_of_the_window_under_a_listener_who_paused(broadcast):
    broadcast.offer(0, 4)
    session = opened(broadcast.server, None, look_ahead=0.1)
    with kithara.Decoder(session.segment_source(), dtype="int16") as decoder:
        joined = decoder.tell()
        heard = decoder.read(1000)
        playing = session._engine.program.chain[-1].index
        for index in range(playing + 1, 5):
            broadcast.withdraw(index)
        broadcast.offer(5, len(broadcast))
        eventually(lambda: session.duration is not None)
        got = np.concatenate((heard, decoder.read()))
    session.close()
    lost, back = broadcast.frame(playing + 1) - joined, broadcast.frame(5) - joined
    expected = broadcast.whole[joined:].copy()
    expected[lost:back] = 0
    assert np.array_equal(expected, got)


@pytest.mark.needs("ffmpeg")
def test_silence_stands_for_a_gap_that_a_presentation_begins_with(broadcast):
    broadcast.offer(0, len(broadcast), gaps=(0, 3))
    session = opened(broadcast.server, None)
    expected = broadcast.whole.copy()
    for index in (0, 3):
        expected[broadcast.frame(index) : broadcast.frame(index + 1)] = 0
    with kithara.Decoder(session.segment_source(), dtype="int16") as decoder:
        assert 0 == decoder.tell()
        assert np.array_equal(expected, decoder.read())
        for place in (0, 44100, broadcast.frame(1) - 10, broadcast.frame(3) + 10, broadcast.frame(4) - 10):
            decoder.seek(place)
            assert np.array_equal(expected[place : place + 2000], decoder.read(2000)), place
    session.close()


# ── lists of one programme that are not alike ─────────────────────────────────────────────────


def rewrite(origin, variant, change):
    """Let the list of *variant* be what *change* makes of it."""
    path = f"/v{variant}.m3u8"
    origin.server.serve(path, change(origin.server._scripts[path][0][0].data))


def without_last(listing):
    lines = listing.split(b"\n")
    last = max(at for at, line in enumerate(lines) if line.startswith(b"#EXTINF"))
    return b"\n".join(lines[:last] + lines[last + 2 :])


@pytest.fixture
def server():
    with FaultServer() as server:
        yield server


async def test_a_variant_that_ends_before_is_not_changed_to_at_the_end(server, store):
    origin = Origin(server)
    rewrite(origin, 1, without_last)
    async with HlsSource.open(origin.url, options(variant=1), store) as session:
        assert COUNT - 1 == len(await played(session))  # so that all of it is cheaper
    async with HlsSource.open(origin.url, options(variant=0, look_ahead=0.1), store) as session:
        session.as_file(variant=1).close()  # so that its list is here
        heard = []
        async for segment in session.segments():
            heard.append((segment.index, segment.variant))
            if segment.index == COUNT - 2:
                session.set_variant("auto")
    assert [(index, 0) for index in range(COUNT)] == heard


async def test_a_variant_that_ends_before_does_not_stand_in_at_the_end(server):
    origin = Origin(server)
    rewrite(origin, 1, without_last)
    origin.refuse(f"/0-{COUNT - 1}.ts", 404)
    async with HlsSource.open(origin.url, options(abr=AbrOptions(max_bandwidth=1)), None) as session:
        heard = []
        with pytest.raises(HttpStatus):
            await played(session, heard)
    assert list(range(COUNT - 1)) == [index for index, _, _ in heard]
    assert 0 == origin.asked(f"/1-{COUNT - 2}.ts")


async def test_a_seek_behind_the_end_of_one_list_is_heard_from_the_other(server, store):
    origin = Origin(server)
    rewrite(origin, 0, without_last)
    async with HlsSource.open(origin.url, options(variant=0), store) as session:
        await played(session)
    async with HlsSource.open(origin.url, options(variant=1, look_ahead=0.1), store) as session:
        session.as_file(variant=0).close()
        segments = session.segments()
        await anext(segments)
        session.set_variant("auto")
        await session.seek(2.0 * COUNT - 1)
        segment = await anext(segments)
        assert (COUNT - 1, 1) == (segment.index, segment.variant)
        await segments.aclose()


@pytest.mark.parametrize("count", [2, 3])
async def test_a_gap_does_not_stand_in_for_what_is_lost(server, count):
    origin = Origin(server, rates=(64_000, 128_000, 256_000)[:count])
    rewrite(origin, 1, lambda listing: listing.replace(b"1-2.ts", b"#EXT-X-GAP\n1-2.ts"))
    origin.refuse("/0-2.ts", 404)
    async with HlsSource.open(origin.url, options(abr=AbrOptions(max_bandwidth=1)), None) as session:
        if count == 2:
            with pytest.raises(HttpStatus):
                await played(session)
        else:
            assert [0, 0, 2, 0, 0, 0] == [variant for _, variant, _ in await played(session)]
    assert 0 == origin.asked("/1-2.ts")
