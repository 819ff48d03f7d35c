"""Master playlists: the streams to choose from."""

import pytest

from kithara.errors import PlaylistInvalid
from kithara.hls import MasterPlaylist, parse_playlist

BASE = "https://host.example/music/master.m3u8"


def master(*lines):
    playlist = parse_playlist("\n".join(["#EXTM3U", *lines, ""]), BASE)
    assert isinstance(playlist, MasterPlaylist)
    return playlist


def test_a_variant_gives_every_field():
    (variant,) = master(
        '#EXT-X-STREAM-INF:BANDWIDTH=1280000,AVERAGE-BANDWIDTH=1000000,CODECS="mp4a.40.2,avc1.4d401e",AUDIO="aac",'
        "RESOLUTION=640x360,SCORE=2.5",
        "low/list.m3u8",
    ).variants
    assert (
        "https://host.example/music/low/list.m3u8",
        1_280_000,
        1_000_000,
        "mp4a.40.2,avc1.4d401e",
        "aac",
        (640, 360),
        2.5,
    ) == (
        variant.uri,
        variant.bandwidth,
        variant.average_bandwidth,
        variant.codecs,
        variant.audio,
        variant.resolution,
        variant.score,
    )


def test_the_order_of_the_list_is_kept():
    variants = master(
        *(line for bandwidth in (3, 1, 2) for line in (f"#EXT-X-STREAM-INF:BANDWIDTH={bandwidth}", f"{bandwidth}"))
    ).variants
    assert [3, 1, 2] == [variant.bandwidth for variant in variants]


BANDWIDTHS = {
    "missing": ("CODECS=mp4a", 0),
    "garbage": ("BANDWIDTH=fast", 0),
    "negative": ("BANDWIDTH=-5", 0),
    "infinite": ("BANDWIDTH=inf", 0),
    "float": ("BANDWIDTH=128000.7", 128_000),
    "quoted": ('BANDWIDTH="128000"', 128_000),
    "blanks": (" BANDWIDTH = 128000 ", 128_000),
    "beyond integers": ("BANDWIDTH=1e300", 0),
}


@pytest.mark.parametrize(("attributes", "expected"), BANDWIDTHS.values(), ids=BANDWIDTHS)
def test_a_variant_is_kept_whatever_its_bandwidth_says(attributes, expected):
    assert [expected] == [variant.bandwidth for variant in master(f"#EXT-X-STREAM-INF:{attributes}", "a").variants]


def test_a_fractional_average_bandwidth_is_read():
    (variant,) = master("#EXT-X-STREAM-INF:BANDWIDTH=2,AVERAGE-BANDWIDTH=1.9", "a").variants
    assert 1 == variant.average_bandwidth


def test_a_variant_without_codecs_says_nothing_of_them():
    (variant,) = master("#EXT-X-STREAM-INF:BANDWIDTH=1", "a").variants
    assert variant.codecs is None


def test_exact_duplicates_are_dropped_and_alternatives_kept():
    variants = master(
        "#EXT-X-STREAM-INF:BANDWIDTH=1", "a",
        "#EXT-X-STREAM-INF:BANDWIDTH=1", "a",
        "#EXT-X-STREAM-INF:BANDWIDTH=1", "b",
    ).variants  # fmt: skip
    assert ["a", "b"] == [variant.uri.rpartition("/")[2] for variant in variants]


def test_comments_may_stand_between_a_tag_and_its_uri():
    (variant,) = master("#EXT-X-STREAM-INF:BANDWIDTH=1", "# comment", "", "a").variants
    assert "https://host.example/music/a" == variant.uri


def test_a_stream_without_a_uri_is_dropped():
    variants = master("#EXT-X-STREAM-INF:BANDWIDTH=1", "#EXT-X-STREAM-INF:BANDWIDTH=2", "b").variants
    assert [2] == [variant.bandwidth for variant in variants]


def test_uris_without_a_stream_are_ignored():
    variants = master("stray", "#EXT-X-STREAM-INF:BANDWIDTH=1", "a", "stray").variants
    assert ["https://host.example/music/a"] == [variant.uri for variant in variants]


def test_streams_of_pictures_never_become_variants():
    playlist = master(
        '#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=9,URI="pictures"',
        '#EXT-X-IMAGE-STREAM-INF:BANDWIDTH=9,URI="thumbs"',
        "#EXT-X-STREAM-INF:BANDWIDTH=1",
        "a",
    )
    assert [1] == [variant.bandwidth for variant in playlist.variants]


def test_audio_groups_are_told_with_their_choice():
    playlist = master(
        '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="g",NAME="English",LANGUAGE="en",DEFAULT=YES,URI="en",CHANNELS="2/x"',
        '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="g",NAME="Deutsch",LANGUAGE="de",AUTOSELECT=YES,URI="de"',
        '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="muxed",NAME="in the stream"',
        '#EXT-X-MEDIA:TYPE=AUDIO,NAME="of no group"',
        '#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO="g"',
        "a",
    )
    assert [
        ("g", "English", "en", True, True, "https://host.example/music/en", "2/x"),
        ("g", "Deutsch", "de", False, True, "https://host.example/music/de", None),
        ("muxed", "in the stream", None, False, False, None, None),
    ] == [(r.group_id, r.name, r.language, r.default, r.autoselect, r.uri, r.channels) for r in playlist.renditions]


def test_session_keys_are_told():
    playlist = master(
        '#EXT-X-SESSION-KEY:METHOD=AES-128,URI="k"',
        '#EXT-X-SESSION-KEY:METHOD=SAMPLE-AES,URI="skd://x",KEYFORMAT="com.apple"',
        "#EXT-X-STREAM-INF:BANDWIDTH=1",
        "a",
    )
    assert [True, False] == [key.supported for key in playlist.session_keys]


def test_variables_are_used_and_handed_on():
    playlist = master('#EXT-X-DEFINE:NAME="t",VALUE="abc"', "#EXT-X-STREAM-INF:BANDWIDTH=1", "a?t={$t}")
    assert ("https://host.example/music/a?t=abc", {"t": "abc"}) == (playlist.variants[0].uri, playlist.variables)


def test_header_tags_are_told():
    playlist = master(
        "#EXT-X-VERSION:6",
        "#EXT-X-INDEPENDENT-SEGMENTS",
        "#EXT-X-START:TIME-OFFSET=2",
        "#EXT-X-SESSION-DATA:DATA-ID=x,VALUE=y",
        "#EXT-X-CONTENT-STEERING:SERVER-URI=x",
        "#EXT-X-STREAM-INF:BANDWIDTH=1",
        "a",
    )
    assert (6, True, 2.0) == (playlist.version, playlist.independent_segments, playlist.start)


BROKEN = {
    "no variant": (['#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="g",NAME="n",URI="u"'], 2),
    "a stream but no URI": (["#EXT-X-STREAM-INF:BANDWIDTH=1"], 2),
    "only pictures": (['#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=9,URI="p"'], 2),
    "media tags in it": (["#EXT-X-STREAM-INF:BANDWIDTH=1", "a", "#EXTINF:4,", "b"], 4),
    "quote never closed": (['#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS="mp4a', "a"], 2),
    "variant from a file": (["#EXT-X-STREAM-INF:BANDWIDTH=1", "file:///etc/passwd"], 3),
    "rendition from a file": (['#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="g",NAME="n",URI="file:///x"'], 2),
    "rendition in a data URL": (['#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="g",NAME="n",URI="data:,x"'], 2),
    "undefined variable": (["#EXT-X-STREAM-INF:BANDWIDTH=1", "{$x}"], 3),
    "imported variable": (['#EXT-X-DEFINE:IMPORT="x"', "#EXT-X-STREAM-INF:BANDWIDTH=1", "a"], 2),
    "session key without METHOD": (['#EXT-X-SESSION-KEY:URI="k"', "#EXT-X-STREAM-INF:BANDWIDTH=1", "a"], 2),
}


@pytest.mark.parametrize(("lines", "line"), BROKEN.values(), ids=BROKEN)
def test_a_broken_master_is_refused_at_its_line(lines, line):
    with pytest.raises(PlaylistInvalid) as failure:
        master(*lines)
    assert line == failure.value.line
