"""What `kithara fetch --export` writes of a presentation: a folder that plays by itself."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support import hlstrees
from support.nginx import Nginx

import kithara
from kithara.hls import HlsOptions, HlsSource, parse_playlist
from kithara.hls.export import master_text, variant_text
from kithara.hls.ladder import ladder

pytestmark = pytest.mark.needs("nginx", "ffmpeg")


def fetch(url, folder, *options):
    done = subprocess.run(
        [sys.executable, "-m", "kithara", "fetch", "--cache", folder / "cache", "--export", folder, *options, url],
        cwd=Path(kithara.__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    return done


async def told(url):
    async with HlsSource.open(str(url), HlsOptions(variant=0)) as session:
        bodies = [b"".join([chunk async for chunk in session.stream(variant=v.index)]) for v in session.variants]
        return [variant.bandwidth for variant in session.variants], session.duration, bodies


@pytest.mark.parametrize("name", ["ts-aes-iv", "fmp4-single-file", "mixed"])
async def test_a_copy_has_the_variants_the_duration_and_the_bytes_of_the_presentation(name, tmp_path):
    tree = hlstrees.tree(name)
    with Nginx(tree.folder) as server:
        done = fetch(server.url("master.m3u8"), tmp_path)
        assert (0, "") == (done.returncode, done.stderr)
        original = await told(server.url("master.m3u8"))
    assert original == await told(tmp_path / "master" / "master.m3u8")


def test_a_second_copy_comes_out_of_the_cache(tmp_path):
    tree = hlstrees.tree("ts")
    with Nginx(tree.folder) as server:
        assert 0 == fetch(server.url("master.m3u8"), tmp_path).returncode
        first = len(server.requests())
        again = fetch(server.url("master.m3u8"), tmp_path, "--json", "--offline")
        told = json.loads(again.stdout)
        assert first == len(server.requests())
    assert 0 < told["cached"] <= told["length"]
    files = [path for path in (tmp_path / "master").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) == told["length"]


def test_without_a_cache_each_file_is_asked_for_once(tmp_path):
    tree = hlstrees.tree("fmp4")
    with Nginx(tree.folder) as server:
        command = ["fetch", "--no-cache", "--export", tmp_path, server.url("master.m3u8")]
        package = Path(kithara.__file__).parents[1]
        subprocess.run([sys.executable, "-m", "kithara", *command], cwd=package, timeout=50, check=True)
        asked = [request.path for request in server.requests() if request.path.endswith(".m4s")]
    assert sorted(set(asked)) == sorted(asked)


def test_a_live_presentation_is_refused(tmp_path):
    (tmp_path / "live.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n0.ts\n#EXTINF:4,\n1.ts\n")
    (tmp_path / "0.ts").write_bytes(bytes(188))
    with Nginx(tmp_path) as server:
        done = fetch(server.url("live.m3u8"), tmp_path / "copy", "--timeout", "5")
    assert 1 == done.returncode
    assert "live" in done.stderr


LIST = """#EXTM3U
#EXT-X-TARGETDURATION:6
#EXT-X-MEDIA-SEQUENCE:7
#EXT-X-DISCONTINUITY-SEQUENCE:2
#EXT-X-MAP:URI="a.mp4",BYTERANGE="100@0"
#EXTINF:5.5,a title
#EXT-X-BYTERANGE:50@100
a.mp4
#EXT-X-DISCONTINUITY
#EXT-X-PROGRAM-DATE-TIME:2026-01-02T03:04:05+00:00
#EXTINF:6,
b.m4s?token=1
#EXT-X-GAP
#EXTINF:6,
c.m4s
#EXT-X-MAP:URI="d.mp4"
#EXTINF:0.25,
d.m4s
#EXT-X-ENDLIST
"""


def test_a_written_list_says_what_the_list_it_was_made_from_said():
    made = parse_playlist(LIST.encode(), "https://example.org/list.m3u8")
    again = parse_playlist(variant_text(0, made).encode(), "https://example.org/copy/list.m3u8")
    assert (7, 2, "vod", True, made.duration) == (
        again.media_sequence, again.discontinuity_sequence, again.kind, again.ended, again.duration,
    )  # fmt: skip

    def facts(playlist):
        return [
            (s.duration, s.sequence, s.discontinuity, s.gap, s.title, s.program_date_time) for s in playlist.segments
        ]

    assert facts(made) == facts(again)
    assert [None] * 4 == [segment.byterange for segment in again.segments]
    assert 4 == len({segment.uri for segment in again.segments})
    assert 2 == len({segment.init.uri for segment in again.segments})
    assert "token" not in variant_text(0, made)


GROUPS = """#EXTM3U
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="own",NAME="a",URI="sound.m3u8"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="muxed",NAME="a",LANGUAGE="en",CHANNELS="2"
#EXT-X-STREAM-INF:BANDWIDTH=70000,AVERAGE-BANDWIDTH=64000,CODECS="mp4a.40.2"
alone.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=900000,CODECS="avc1.640028,mp4a.40.2",AUDIO="own"
picture.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=950000,CODECS="avc1.640028,mp4a.40.2",AUDIO="muxed"
both.m3u8
"""


def test_a_written_master_keeps_the_rates_and_leaves_out_what_is_not_exported():
    given = parse_playlist(GROUPS, "http://h/m.m3u8")
    master = parse_playlist(master_text(ladder(given)), "http://h/m.m3u8")
    assert [
        (70_000, 64_000, "mp4a.40.2"),
        (900_000, None, "mp4a.40.2"),
        (950_000, None, "avc1.640028,mp4a.40.2"),
    ] == [(variant.bandwidth, variant.average_bandwidth, variant.codecs) for variant in master.variants]
