"""Where playing begins: at a second that is asked for, where the playlist says, and what is fetched for that."""

import numpy as np
import pytest
from support import hlstrees
from support.hlsorigin import COUNT, DURATION, RATES, Origin, options, packet, played
from support.hlssession import opened

import kithara
from kithara.hls import HlsSource, parse_playlist
from kithara.hls.export import variant_text
from kithara.hls.timeline import Timeline

RATE = 44100
MEDIA = (".ts", ".m4s", ".aac", ".mp3", ".ac3", ".mp4")


def serve(server, tree, start=None, master=None):
    """Let *server* have *tree*; *start* is what each list says of its beginning, *master* what the master does."""
    for path in tree.folder.rglob("*"):
        if path.is_file():
            body, tag = path.read_bytes(), master if path == tree.master else start
            if path.suffix == ".m3u8" and tag is not None:
                body = body.replace(b"#EXTM3U\n", f"#EXTM3U\n#EXT-X-START:{tag}\n".encode(), 1)
            server.serve(f"/{path.relative_to(tree.folder)}", body)


def names(server):
    """What was asked for, in order, by the name of its file."""
    return [request.path.rpartition("/")[2] for request in server.requests]


def whole(tree, variant=0):
    with kithara.Decoder(tree.variants[variant].playlist) as decoder:
        return decoder.read()


@pytest.mark.needs("ffmpeg")
@pytest.mark.parametrize(
    ("name", "init", "media"),
    [("ts-no-pns", [], "seg003.ts"), ("fmp4-no-pns", ["init.mp4"], "seg003.m4s"), ("packed-aac", [], "seg003.aac")],
)
def test_opening_at_a_second_fetches_the_lists_and_the_segment_that_sounds_there(server, store, name, init, media):
    tree = hlstrees.tree(name)
    serve(server, tree)
    session = opened(server, store, variant=0, look_ahead=0.1)
    with kithara.AudioStream(session.segment_source(), start=13.5) as stream:
        got = stream.read(8192)
        assert ["master.m3u8", "list.m3u8", *init, media] == names(server)
        assert 13.5 + 8192 / RATE == pytest.approx(stream.position, abs=1e-9)
    session.close()
    at = round(13.5 * RATE)
    assert np.array_equal(whole(tree)[at : at + 8192], got)


@pytest.mark.needs("ffmpeg")
@pytest.mark.parametrize("name", ["ts-no-pns", "fmp4-no-pns", "packed-aac", "fmp4-aac-flac", "ts-aes-iv"])
def test_opening_just_behind_a_boundary_fetches_one_segment_more_at_most(server, store, name):
    tree = hlstrees.tree(name)
    serve(server, tree)
    session = opened(server, store, variant=1, look_ahead=0.1)
    line = session._engine.catalogue.timelines[1]
    with kithara.AudioStream(session.segment_source(), start=line.starts[3]) as stream:
        assert 1000 == len(stream.read(1000))
        asked = {f"{index:03}" for index in range(7) if any(f"seg{index:03}." in told for told in names(server))}
    session.close()
    assert {"003"} <= asked <= {"002", "003"}


@pytest.mark.needs("ffmpeg")
@pytest.mark.parametrize("name", ["ts-no-pns", "fmp4-no-pns", "packed-aac", "packed-mp3", "fmp4-lossless"])
def test_positions_after_opening_in_the_middle_are_those_of_the_whole(server, store, name):
    tree = hlstrees.tree(name)
    serve(server, tree)
    expected = whole(tree)
    session = opened(server, store, variant=0)
    with kithara.Decoder(session.segment_source(), at=13.5) as decoder:
        for place in (round(13.5 * RATE), round(20.0 * RATE), 0, 5000, round(9.9 * RATE)):
            if place != round(13.5 * RATE):
                decoder.seek(place)
            assert place == decoder.tell()
            assert np.array_equal(expected[place : place + 5000], decoder.read(5000)), place
        decoder.seek(0)
        assert np.array_equal(expected, decoder.read())
    session.close()


@pytest.mark.needs("ffmpeg")
def test_at_another_rate_it_begins_at_the_same_second(server, store):
    tree = hlstrees.tree("ts-no-pns")
    serve(server, tree)
    session = opened(server, store, variant=0, look_ahead=0.1)
    with kithara.AudioStream(session.segment_source(), start=13.5, rate=22050) as stream:
        assert 1000 == len(stream.read(1000))
        assert 13.5 + 1000 / 22050 == pytest.approx(stream.position, abs=1e-9)
    session.close()
    assert "seg000.ts" not in names(server)


@pytest.mark.needs("ffmpeg")
def test_opening_past_the_end_gives_nothing(server, store):
    serve(server, hlstrees.tree("ts-no-pns"))
    session = opened(server, store, variant=0)
    with kithara.AudioStream(session.segment_source(), start=100.0) as stream:
        assert 0 == len(stream.read(10))
    session.close()


@pytest.mark.parametrize("at", [-1.0, float("nan"), float("inf"), "later"])
def test_a_second_that_is_none_is_refused(at):
    with pytest.raises(ValueError, match="seconds"):
        kithara.Decoder(b"", at=at)


def test_a_file_begins_at_the_second_that_is_asked_for(tmp_path):
    import soundfile

    samples = np.arange(RATE, dtype=np.int16)
    soundfile.write(tmp_path / "a.wav", samples, RATE)
    with kithara.Decoder(tmp_path / "a.wav", "int16", at=0.5) as decoder:
        assert RATE // 2 == decoder.tell()
        assert np.array_equal(samples[RATE // 2 :], decoder.read()[:, 0])


# ── EXT-X-START ───────────────────────────────────────────────────────────────────────────────

STARTS = {
    "TIME-OFFSET=5": 4.0,
    "TIME-OFFSET=5,PRECISE=YES": 5.0,
    "TIME-OFFSET=-3,PRECISE=YES": 9.0,
    "TIME-OFFSET=-3": 8.0,
    "TIME-OFFSET=100": 10.0,
    "TIME-OFFSET=100,PRECISE=YES": 10.0,
    "TIME-OFFSET=-100,PRECISE=YES": 0.0,
    "TIME-OFFSET=0": 0.0,
}


def listing(tag, count=COUNT, ended=True):
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:2", f"#EXT-X-START:{tag}"]
    for index in range(count):
        lines += [f"#EXTINF:{DURATION},", f"{index}.ts"]
    return parse_playlist("\n".join([*lines, *(["#EXT-X-ENDLIST"] if ended else []), ""]), "http://host/list.m3u8")


@pytest.mark.parametrize(("tag", "second"), STARTS.items())
@pytest.mark.parametrize("ended", [True, False], ids=["complete", "growing"])
def test_a_playlist_says_where_playing_begins_and_never_outside_of_it(tag, second, ended):
    assert second == Timeline(listing(tag, ended=ended)).beginning


def test_an_export_keeps_where_playing_begins():
    tag = "#EXT-X-START:TIME-OFFSET=-3.0,PRECISE=YES"
    assert tag in variant_text(0, listing("TIME-OFFSET=-3,PRECISE=YES")).splitlines()
    assert tag.removesuffix(",PRECISE=YES") in variant_text(0, listing("TIME-OFFSET=-3")).splitlines()


def told(origin, tag, *, master=None):
    """Let the lists of *origin* say where playing begins."""
    for path, said in [("/v0.m3u8", tag), ("/v1.m3u8", tag), ("/master.m3u8", master)]:
        if said is not None:
            body = origin.server._scripts[path][0][0].data
            origin.server.serve(path, body.replace(b"#EXTM3U\n", f"#EXTM3U\n#EXT-X-START:{said}\n".encode(), 1))


@pytest.mark.parametrize(("tag", "master"), [("TIME-OFFSET=7", None), ("TIME-OFFSET=3", "TIME-OFFSET=-5.5")])
async def test_the_segments_begin_where_the_master_says_else_where_their_list_does(server, store, tag, master):
    origin = Origin(server)
    told(origin, tag, master=master)
    async with HlsSource.open(origin.url, options(variant=0), store) as session:
        assert (6.0, 12.0) == (session.start, session.duration)
        assert [3, 4, 5] == [index for index, _, _ in await played(session)]
    assert [0, 0, 0] == [origin.asked(f"/0-{index}.ts") for index in range(3)]


async def test_a_seek_before_the_first_segment_wins_over_what_the_list_says(server, store):
    origin = Origin(server)
    told(origin, "TIME-OFFSET=7")
    async with HlsSource.open(origin.url, options(variant=0), store) as session:
        await session.seek(0.0)
        assert list(range(COUNT)) == [index for index, _, _ in await played(session)]


async def test_the_bytes_of_a_variant_are_all_of_them_wherever_playing_begins(server, store):
    origin = Origin(server)
    told(origin, "TIME-OFFSET=7")
    async with HlsSource.open(origin.url, options(), store) as session:
        got = b"".join([data async for data in session.stream(variant=1)])
    assert b"".join(packet(1, index, RATES[1]) for index in range(COUNT)) == got


@pytest.mark.needs("ffmpeg")
@pytest.mark.parametrize(("start", "second"), [(None, 13.5), (0.0, 0.0), (6.0, 6.0)])
def test_an_audio_stream_begins_where_the_list_says_unless_it_is_told_otherwise(server, store, start, second):
    tree = hlstrees.tree("ts-no-pns")
    serve(server, tree, "TIME-OFFSET=13.5,PRECISE=YES")
    session = opened(server, store, variant=0, look_ahead=0.1)
    with kithara.AudioStream(session.segment_source(), start=start) as stream:
        assert second == stream.position
        assert session.duration == stream.duration
        got = stream.read(4096)
    session.close()
    at = round(second * RATE)
    assert np.array_equal(whole(tree)[at : at + 4096], got)
    assert (second == 0) == ("seg000.ts" in names(server))


@pytest.mark.needs("ffmpeg")
def test_a_decoder_and_what_reads_files_know_nothing_of_where_playing_begins(server, store):
    tree = hlstrees.tree("ts-no-pns")
    serve(server, tree, "TIME-OFFSET=13.5,PRECISE=YES")
    session = opened(server, store, variant=0)
    with kithara.Decoder(session.segment_source()) as decoder:
        assert 0 == decoder.tell()
        assert np.array_equal(whole(tree), decoder.read())
    with session.as_file() as reader, kithara.AudioStream(reader) as stream:
        assert 0.0 == stream.position
    session.close()
