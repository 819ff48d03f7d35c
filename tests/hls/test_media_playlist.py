"""Media playlists as the world writes them: what each one must mean."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from kithara.errors import PlaylistInvalid
from kithara.hls import MediaPlaylist, parse_playlist

BASE = "https://host.example/music/list.m3u8"


def media(text, url=BASE, variables=None):
    playlist = parse_playlist(text, url, variables)
    assert isinstance(playlist, MediaPlaylist)
    return playlist


def body(*lines):
    return "\n".join(["#EXTM3U", "#EXT-X-TARGETDURATION:10", *lines, "#EXT-X-ENDLIST", ""])


def files(playlist):
    return [segment.uri.rpartition("/")[2] for segment in playlist.segments]


def test_a_plain_list_gives_every_field():
    playlist = media(
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:10\n#EXT-X-MEDIA-SEQUENCE:7\n"
        "#EXT-X-INDEPENDENT-SEGMENTS\n#EXTINF:9.009,first\na.ts\n#EXTINF:3.5,\nb.ts\n#EXT-X-ENDLIST\n"
    )
    first, second = playlist.segments
    assert ("https://host.example/music/a.ts", 9.009, 7, "first") == (
        first.uri,
        first.duration,
        first.sequence,
        first.title,
    )
    assert ("https://host.example/music/b.ts", 3.5, 8, "") == (
        second.uri,
        second.duration,
        second.sequence,
        second.title,
    )
    assert (None, None, None, 0, False, None) == (
        first.byterange,
        first.key,
        first.init,
        first.discontinuity,
        first.gap,
        first.program_date_time,
    )
    assert (True, "vod", 10.0, 3, 7, True) == (
        playlist.ended,
        playlist.kind,
        playlist.target_duration,
        playlist.version,
        playlist.media_sequence,
        playlist.independent_segments,
    )
    assert 12.509 == pytest.approx(playlist.duration)


def test_values_cannot_be_changed():
    segment = media(body("#EXTINF:4,", "a.ts")).segments[0]
    with pytest.raises(AttributeError):
        segment.uri = "elsewhere"
    assert not hasattr(segment, "__dict__")


def test_equal_segments_are_equal_and_hash_alike():
    once, again = (media(body("#EXTINF:4,", "a.ts")).segments[0] for _ in range(2))
    assert once == again
    assert hash(once) == hash(again)


SLOPPY = {
    "no trailing newline": "#EXTM3U\n#EXTINF:4,\na.ts",
    "byte order mark": "\ufeff#EXTM3U\n#EXTINF:4,\na.ts\n",
    "byte order mark in bytes": "\ufeff#EXTM3U\r\n#EXTINF:4,\r\na.ts\r\n".encode(),
    "CRLF": "#EXTM3U\r\n#EXTINF:4,\r\na.ts\r\n#EXT-X-ENDLIST\r\n",
    "blank lines before EXTM3U": "\n \r\n#EXTM3U\n#EXTINF:4,\na.ts\n",
    "attributes on EXTM3U": '#EXTM3U x-tvg-url="http://x/y"\n#EXTINF:4,\na.ts\n',
    "comments and blanks before the URI": "#EXTM3U\n#EXTINF:4,\n# hello\n\n  \n#EXT-NOT-KNOWN:1\na.ts\n",
    "blanks around the URI": "#EXTM3U\n#EXTINF:4,\n \t a.ts \t \n",
    "no comma after EXTINF": "#EXTM3U\n#EXTINF:4\na.ts\n",
    "blanks around EXTINF": "#EXTM3U\n#EXTINF: 4.0 ,  \na.ts\n",
    "title with commas, quotes and tags": '#EXTM3U\n#EXTINF:4,"a", b #EXT-X-ENDLIST #EXTINF:9\na.ts\n',
    "EXTINF without a URI": "#EXTM3U\n#EXTINF:9,\n#EXTINF:4,\na.ts\n#EXTINF:9,\n",
    "URI without EXTINF": "#EXTM3U\nstray.ts\n#EXTINF:4,\na.ts\nanother.ts\n",
    "version from the future": "#EXTM3U\n#EXT-X-VERSION:99\n#EXTINF:4,\na.ts\n",
    "version that is none": "#EXTM3U\n#EXT-X-VERSION:three\n#EXTINF:4,\na.ts\n",
    "longer tag names": "#EXTM3U\n#EXT-X-KEYNOTE:METHOD=X\n#EXTINFO:9\n#EXT-X-ENDLISTING\n#EXTINF:4,\na.ts\n",
    "low-latency parts": "#EXTM3U\n#EXT-X-SERVER-CONTROL:PART-HOLD-BACK=1\n#EXT-X-PART-INF:PART-TARGET=0.3\n"
    '#EXT-X-PART:DURATION=0.3,URI="p0.mp4"\n#EXTINF:4,\na.ts\n#EXT-X-PART:DURATION=0.3,URI="p1.mp4"\n'
    '#EXT-X-PRELOAD-HINT:TYPE=PART,URI="p2.mp4"\n#EXT-X-RENDITION-REPORT:URI="b.m3u8"\n',
    "advertising and date ranges": "#EXTM3U\n#EXT-X-CUE-OUT:30\n"
    '#EXT-X-DATERANGE:ID="a",START-DATE="2024-01-01T00:00:00Z"\n#EXTINF:4,\na.ts\n#EXT-X-CUE-IN\n',
    "invalid UTF-8 in a title": b"#EXTM3U\n#EXTINF:4,\xff\xfe\na.ts\n",
}


@pytest.mark.parametrize("text", SLOPPY.values(), ids=SLOPPY)
def test_sloppy_writing_is_read_for_what_it_means(text):
    playlist = media(text)
    assert [("https://host.example/music/a.ts", 4.0, 0)] == [
        (segment.uri, segment.duration, segment.sequence) for segment in playlist.segments
    ]


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x0b", "\x0c", "\x85", "\u3000", "\x1c"])
def test_only_line_feeds_split_lines(separator):
    playlist = media(body(f"#EXTINF:4,left{separator}#EXT-X-GAP", "a.ts"))
    assert [f"left{separator}#EXT-X-GAP"] == [segment.title for segment in playlist.segments]
    assert not playlist.segments[0].gap


NOT_PLAYLISTS = {
    "empty": b"",
    "blank": b" \r\n\n",
    "captive portal": b"<!DOCTYPE html><html><body>Log in</body></html>",
    "JSON": b'{"error": "#EXTM3U"}',
    "binary": bytes(range(256)),
    "no EXTM3U": "#EXTINF:4,\na.ts\n",
    "EXTM3U later": "#EXTINF:4,\na.ts\n#EXTM3U\n",
    "EXTM3U with more letters": "#EXTM3U8\n#EXTINF:4,\na.ts\n",
    "header only": "#EXTM3U\n",
    "header and comments only": "#EXTM3U\n# nothing\n",
    "a list of bare URIs": "#EXTM3U\na.ts\nb.ts\n",
    "UTF-16": "#EXTM3U\n#EXTINF:4,\na.ts\n".encode("utf-16"),
    "gzip": b"\x1f\x8b\x08\x00" + bytes(20),
}


@pytest.mark.parametrize("data", NOT_PLAYLISTS.values(), ids=NOT_PLAYLISTS)
def test_what_is_no_playlist_is_refused(data):
    with pytest.raises(PlaylistInvalid) as failure:
        parse_playlist(data, BASE)
    assert failure.value.line is not None


BROKEN = {  # the lines between header and end, and the line at fault
    "EXTINF of letters": (["#EXTINF:abc,", "a.ts"], 3),
    "EXTINF of nothing": (["#EXTINF:,", "a.ts"], 3),
    "EXTINF infinite": (["#EXTINF:inf,", "a.ts"], 3),
    "EXTINF not a number": (["#EXTINF:nan,", "a.ts"], 3),
    "EXTINF beyond floats": (["#EXTINF:1e400,", "a.ts"], 3),
    "EXTINF that swallows every other": (["#EXTINF:1e308,", "a.ts"], 3),
    "MEDIA-SEQUENCE twice": (["#EXT-X-MEDIA-SEQUENCE:1", "#EXT-X-MEDIA-SEQUENCE:1"], 4),
    "MEDIA-SEQUENCE after a segment": (["#EXTINF:4,", "a.ts", "#EXT-X-MEDIA-SEQUENCE:1"], 5),
    "MEDIA-SEQUENCE of letters": (["#EXT-X-MEDIA-SEQUENCE:one"], 3),
    "MEDIA-SEQUENCE below zero": (["#EXT-X-MEDIA-SEQUENCE:-1"], 3),
    "MEDIA-SEQUENCE of 2^64": ([f"#EXT-X-MEDIA-SEQUENCE:{1 << 64}"], 3),
    "MEDIA-SEQUENCE in foreign digits": (["#EXT-X-MEDIA-SEQUENCE:\u0663"], 3),
    "DISCONTINUITY-SEQUENCE of letters": (["#EXT-X-DISCONTINUITY-SEQUENCE:x"], 3),
    "key without METHOD": (['#EXT-X-KEY:URI="k"'], 3),
    "key without anything": (["#EXT-X-KEY"], 3),
    "key without attributes": (["#EXT-X-KEY:AES-128"], 3),
    "key without URI": (["#EXT-X-KEY:METHOD=AES-128"], 3),
    "key with an empty URI": (['#EXT-X-KEY:METHOD=AES-128,URI=""'], 3),
    "key of another kind without URI": (["#EXT-X-KEY:METHOD=SAMPLE-AES"], 3),
    "IV of garbage": (['#EXT-X-KEY:METHOD=AES-128,URI="k",IV=0xNOPE'], 3),
    "IV without 0x": (['#EXT-X-KEY:METHOD=AES-128,URI="k",IV=00000000000000000000000000000001'], 3),
    "IV too long": ([f'#EXT-X-KEY:METHOD=AES-128,URI="k",IV=0x{"1" * 33}'], 3),
    "IV empty": (['#EXT-X-KEY:METHOD=AES-128,URI="k",IV=0x'], 3),
    "IV with underscores": (['#EXT-X-KEY:METHOD=AES-128,URI="k",IV=0x1_1'], 3),
    "quote never closed": (['#EXT-X-KEY:METHOD=AES-128,URI="k'], 3),
    "map without URI": (['#EXT-X-MAP:BYTERANGE="10@0"'], 3),
    "map without attributes": (["#EXT-X-MAP:init.mp4"], 3),
    "encrypted map without IV": (['#EXT-X-KEY:METHOD=AES-128,URI="k"', '#EXT-X-MAP:URI="i"'], 4),
    "map with a bad range": (['#EXT-X-MAP:URI="i",BYTERANGE="ten"'], 3),
    "byte range of letters": (["#EXT-X-BYTERANGE:ten@0"], 3),
    "byte range below zero": (["#EXT-X-BYTERANGE:-10@0"], 3),
    "byte range at a negative offset": (["#EXT-X-BYTERANGE:10@-1"], 3),
    "byte range of nothing": (["#EXT-X-BYTERANGE:0@5"], 3),
    "byte range beyond files": ([f"#EXT-X-BYTERANGE:{(1 << 63) - 1}@1"], 3),
    "byte range with an open offset": (["#EXT-X-BYTERANGE:10@"], 3),
    "first byte range without offset": (["#EXT-X-BYTERANGE:10", "#EXTINF:4,", "a.ts"], 5),
    "byte range that goes on in another file": (
        ["#EXTINF:4,", "#EXT-X-BYTERANGE:100@50", "a.ts", "#EXTINF:4,", "#EXT-X-BYTERANGE:100", "b.ts"],
        8,
    ),
    "byte range that goes on from a whole file": (
        ["#EXTINF:4,", "a.ts", "#EXTINF:4,", "#EXT-X-BYTERANGE:100", "a.ts"],
        7,
    ),
    "SKIP in a full list": (["#EXT-X-SKIP:SKIPPED-SEGMENTS=3"], 3),
    "segment from a file": (["#EXTINF:4,", "file:///etc/passwd"], 4),
    "segment in a data URL": (["#EXTINF:4,", "data:audio/aac;base64,AAAA"], 4),
    "segment over another protocol": (["#EXTINF:4,", "gopher://host/1"], 4),
    "segment through concat": (["#EXTINF:4,", "concat:http://a/b|file:///etc/passwd"], 4),
    "segment without a host": (["#EXTINF:4,", "http:///a.ts"], 4),
    "segment of the scheme alone": (["#EXTINF:4,", "https:a.ts"], 4),
    "NUL in a URI": (["#EXTINF:4,", "a\0.ts"], 4),
    "carriage return inside a URI": (["#EXTINF:4,", "a.ts\rHost: evil"], 4),
    "key from a file": (['#EXT-X-KEY:METHOD=AES-128,URI="file:///k"'], 3),
    "undefined variable": (["#EXTINF:4,", "{$nobody}.ts"], 4),
    "variable defined twice": (['#EXT-X-DEFINE:NAME="a",VALUE="1"', '#EXT-X-DEFINE:NAME="a",VALUE="2"'], 4),
    "variable without a value": (['#EXT-X-DEFINE:NAME="a"'], 3),
    "variable without a name": (['#EXT-X-DEFINE:VALUE="a"'], 3),
    "variable with a bad name": (['#EXT-X-DEFINE:NAME="a b",VALUE="1"'], 3),
    "variable that nobody exports": (['#EXT-X-DEFINE:IMPORT="a"'], 3),
    "variable from a missing parameter": (['#EXT-X-DEFINE:QUERYPARAM="a"'], 3),
    "master tags after segments": (["#EXTINF:4,", "a.ts", "#EXT-X-STREAM-INF:BANDWIDTH=1", "v.m3u8"], 2),
    "master tags before segments": (["#EXT-X-STREAM-INF:BANDWIDTH=1", "v.m3u8", "#EXTINF:4,", "a.ts"], 2),
}


@pytest.mark.parametrize(("lines", "line"), BROKEN.values(), ids=BROKEN)
def test_a_broken_list_is_refused_at_its_line(lines, line):
    with pytest.raises(PlaylistInvalid) as failure:
        parse_playlist(body(*lines), BASE + "?token=secret")
    assert line == failure.value.line
    assert f"line {line}: {failure.value.reason}" in str(failure.value)
    assert "secret" not in str(failure.value)


DURATIONS = {".36": 0.36, "-1": 0.0, "0": 0.0, "10": 10.0, "9.009": 9.009, "1e1": 10.0, "-0.0": 0.0}


@pytest.mark.parametrize(("written", "seconds"), DURATIONS.items())
def test_durations_are_finite_and_time_never_runs_backwards(written, seconds):
    assert [seconds] == [s.duration for s in media(body(f"#EXTINF:{written},", "a.ts")).segments]


TARGETS = {
    "missing": ("", 4.0),
    "fractional": ("#EXT-X-TARGETDURATION:2.5", 2.5),
    "garbage": ("#EXT-X-TARGETDURATION:soon", 4.0),
    "smaller than a segment": ("#EXT-X-TARGETDURATION:1", 1.0),
    "zero": ("#EXT-X-TARGETDURATION:0", 4.0),
    "huge": ("#EXT-X-TARGETDURATION:1e300", 4.0),
    "not a number": ("#EXT-X-TARGETDURATION:nan", 4.0),
}


@pytest.mark.parametrize(("tag", "seconds"), TARGETS.values(), ids=TARGETS)
def test_a_bad_target_duration_is_replaced_by_the_longest_segment(tag, seconds):
    assert seconds == media(f"#EXTM3U\n{tag}\n#EXTINF:4,\na.ts\n#EXTINF:2,\nb.ts\n").target_duration


KINDS = {
    "nothing said": ([], ("live", False)),
    "ENDLIST": (["#EXT-X-ENDLIST"], ("vod", True)),
    "VOD with ENDLIST": (["#EXT-X-PLAYLIST-TYPE:VOD", "#EXT-X-ENDLIST"], ("vod", True)),
    "VOD without ENDLIST": (["#EXT-X-PLAYLIST-TYPE: VOD "], ("vod", True)),
    "EVENT without ENDLIST": (["#EXT-X-PLAYLIST-TYPE:EVENT"], ("event", False)),
    "EVENT with ENDLIST": (["#EXT-X-PLAYLIST-TYPE:EVENT", "#EXT-X-ENDLIST"], ("event", True)),
    "unknown type": (["#EXT-X-PLAYLIST-TYPE:FOO"], ("live", False)),
}


@pytest.mark.parametrize(("tags", "expected"), KINDS.values(), ids=KINDS)
def test_a_list_has_ended_only_when_it_says_so(tags, expected):
    playlist = media("\n".join(["#EXTM3U", *tags, "#EXTINF:4,", "a.ts", ""]))
    assert expected == (playlist.kind, playlist.ended)


def test_segments_after_endlist_still_count():
    assert ["a.ts", "b.ts"] == files(media(body("#EXT-X-ENDLIST", "#EXTINF:4,", "a.ts", "#EXTINF:4,", "b.ts")))


def test_a_list_without_segments_parses():
    playlist = media("#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXT-X-MEDIA-SEQUENCE:3\n")
    assert ((), 3, 6.0) == (playlist.segments, playlist.media_sequence, playlist.target_duration)


@pytest.mark.parametrize("first", [(1 << 32) + 1, (1 << 63) + 5, (1 << 64) - 1])
def test_huge_sequence_numbers_are_exact(first):
    playlist = media(body(f"#EXT-X-MEDIA-SEQUENCE:{first}", "#EXTINF:4,", "a.ts", "#EXTINF:4,", "b.ts"))
    assert [first, first + 1] == [segment.sequence for segment in playlist.segments]


# ── keys ──────────────────────────────────────────────────────────────────────────────────────


def keys(*lines):
    return [segment.key for segment in media(body(*lines)).segments]


def test_keys_rotate_and_end_with_none():
    found = keys(
        "#EXTINF:4,", "clear.ts",
        '#EXT-X-KEY:METHOD=AES-128,URI="one"', "#EXTINF:4,", "a.ts", "#EXTINF:4,", "b.ts",
        '#EXT-X-KEY:METHOD=AES-128,URI="two",IV=0x2', "#EXTINF:4,", "c.ts",
        '#EXT-X-KEY:METHOD=NONE,URI="junk",IV=0xJUNK', "#EXTINF:4,", "d.ts",
    )  # fmt: skip
    assert [None, "one", "one", "two", None] == [key and key.uri.rpartition("/")[2] for key in found]


def test_a_key_after_extinf_holds_for_that_segment():
    found = keys("#EXTINF:4,", '#EXT-X-KEY:METHOD=AES-128,URI="k"', "a.ts")
    assert ["https://host.example/music/k"] == [key.uri for key in found]


def test_key_uris_are_relative_to_the_playlist_not_to_the_segment():
    found = keys('#EXT-X-KEY:METHOD=AES-128,URI="keys/k"', "#EXTINF:4,", "https://cdn.example/deep/a.ts")
    assert ["https://host.example/music/keys/k"] == [key.uri for key in found]


IVS = {
    "full": ("0x000102030405060708090a0b0c0d0e0f", bytes(range(16))),
    "upper case": ("0X000102030405060708090A0B0C0D0E0F", bytes(range(16))),
    "short": ("0x1", bytes(15) + b"\x01"),
    "odd": ("0xabc", bytes(14) + b"\x0a\xbc"),
    "quoted": ('"0x2"', bytes(15) + b"\x02"),
}


@pytest.mark.parametrize(("written", "iv"), IVS.values(), ids=IVS)
def test_an_iv_is_a_number_of_128_bits_aligned_right(written, iv):
    assert [iv] == [key.iv for key in keys(f'#EXT-X-KEY:METHOD=AES-128,URI="k",IV={written}', "#EXTINF:4,", "a.ts")]


def test_an_iv_left_out_is_left_to_the_sequence_number():
    assert [None] == [key.iv for key in keys('#EXT-X-KEY:METHOD=AES-128,URI="k"', "#EXTINF:4,", "a.ts")]


@pytest.mark.parametrize("identity_first", [True, False])
def test_of_several_key_formats_the_identity_wins(identity_first):
    tags = [
        '#EXT-X-KEY:METHOD=AES-128,URI="k"',
        '#EXT-X-KEY:METHOD=SAMPLE-AES,URI="skd://x",KEYFORMAT="com.apple.streamingkeydelivery"',
    ]
    found = keys(*(tags if identity_first else tags[::-1]), "#EXTINF:4,", "a.ts")
    assert [("AES-128", True)] == [(key.method, key.supported) for key in found]


UNSUPPORTED = {
    "SAMPLE-AES": 'METHOD=SAMPLE-AES,URI="k"',
    "a DRM key format": 'METHOD=AES-128,URI="data:text/plain;base64,AA",KEYFORMAT="urn:uuid:edef8ba9"',
    "an unknown method": 'METHOD=ROT-13,URI="k"',
    "AES-256": 'METHOD=AES-256,URI="k"',
}


@pytest.mark.parametrize("attributes", UNSUPPORTED.values(), ids=UNSUPPORTED)
def test_unsupported_encryption_parses_and_is_never_clear(attributes):
    (key,) = keys(f"#EXT-X-KEY:{attributes}", "#EXTINF:4,", "a.ts")
    assert not key.supported


def test_a_key_may_come_in_a_data_url():
    uri = "data:application/octet-stream;base64,AAECAwQFBgcICQoLDA0ODw=="
    assert [uri] == [key.uri for key in keys(f'#EXT-X-KEY:METHOD=AES-128,URI="{uri}"', "#EXTINF:4,", "a.ts")]


ATTRIBUTES = {
    "any order": 'IV=0x1,URI="k",METHOD=AES-128',
    "blanks": ' METHOD = AES-128 , URI = "k" ,IV = 0x1 ',
    "comma and equals sign in quotes": 'METHOD=AES-128,X="a,b=c,URI=z",URI="k",IV=0x1',
    "attribute without a value": 'METHOD=AES-128,FLAG,URI="k",IV=0x1',
    "trailing comma": 'METHOD=AES-128,URI="k",IV=0x1,',
    "leading comma": ',METHOD=AES-128,URI="k",IV=0x1',
    "unknown attributes": 'METHOD=AES-128,URI="k",IV=0x1,KEYID=0x99,FUTURE="yes"',
    "words after a quote": 'METHOD=AES-128,URI="k"junk,IV=0x1',
}


@pytest.mark.parametrize("attributes", ATTRIBUTES.values(), ids=ATTRIBUTES)
def test_attribute_lists_are_read_with_patience(attributes):
    (key,) = keys(f"#EXT-X-KEY:{attributes}", "#EXTINF:4,", "a.ts")
    assert ("AES-128", "https://host.example/music/k", bytes(15) + b"\x01") == (key.method, key.uri, key.iv)


def test_apostrophes_are_no_quotes():
    (key,) = keys("#EXT-X-KEY:METHOD=AES-128,URI='k,IV=0x1", "#EXTINF:4,", "a.ts")
    assert "https://host.example/music/'k" == key.uri


def test_the_text_of_a_tag_inside_a_uri_is_only_text():
    (key,) = keys('#EXT-X-KEY:METHOD=AES-128,URI="#EXT-X-KEY:k"', "#EXTINF:4,", "a.ts")
    assert BASE + "#EXT-X-KEY:k" == key.uri


# ── initialization sections ───────────────────────────────────────────────────────────────────


def inits(*lines):
    return [segment.init for segment in media(body(*lines)).segments]


def test_a_map_holds_until_the_next_and_survives_discontinuities():
    found = inits(
        "#EXTINF:4,", "a.ts",
        '#EXT-X-MAP:URI="one.mp4"', "#EXTINF:4,", "b.mp4", "#EXT-X-DISCONTINUITY", "#EXTINF:4,", "c.mp4",
        "#EXTINF:4,", '#EXT-X-MAP:URI="two.mp4"', "d.mp4",
    )  # fmt: skip
    assert [None, "one.mp4", "one.mp4", "two.mp4"] == [init and init.uri.rpartition("/")[2] for init in found]


@pytest.mark.parametrize(("written", "expected"), [("700@100", (100, 800)), ("700", (0, 700))])
def test_a_map_may_be_a_byte_range(written, expected):
    assert [expected] == [i.byterange for i in inits(f'#EXT-X-MAP:URI="a",BYTERANGE="{written}"', "#EXTINF:4,", "a")]


def test_a_map_before_a_key_is_in_the_clear_and_one_after_it_is_encrypted():
    key = '#EXT-X-KEY:METHOD=AES-128,URI="k",IV=0x1'
    before, after = inits('#EXT-X-MAP:URI="i"', key, "#EXTINF:4,", "a", '#EXT-X-MAP:URI="j"', "#EXTINF:4,", "b")
    assert before.key is None
    assert bytes(15) + b"\x01" == after.key.iv


def test_a_map_under_unsupported_encryption_is_left_to_whoever_opens_it():
    (init,) = inits('#EXT-X-KEY:METHOD=SAMPLE-AES,URI="k"', '#EXT-X-MAP:URI="i"', "#EXTINF:4,", "a")
    assert not init.key.supported


# ── byte ranges ───────────────────────────────────────────────────────────────────────────────


def ranges(*lines):
    return [segment.byterange for segment in media(body(*lines)).segments]


def test_a_range_without_offset_goes_on_where_the_last_one_stopped():
    assert [(100, 150), (150, 180), (180, 190)] == ranges(
        "#EXTINF:4,", "#EXT-X-BYTERANGE:50@100", "a.ts",
        "#EXTINF:4,", "#EXT-X-BYTERANGE:30", "a.ts",
        "#EXTINF:4,", "#EXT-X-BYTERANGE:10", "a.ts",
    )  # fmt: skip


def test_a_range_may_stand_before_extinf_and_before_a_map():
    assert [(0, 10), (10, 20)] == ranges(
        "#EXT-X-BYTERANGE:10@0", "#EXTINF:4,", "a.ts",
        "#EXT-X-BYTERANGE:10", '#EXT-X-MAP:URI="a.ts",BYTERANGE="5@99"', "#EXTINF:4,", "a.ts",
    )  # fmt: skip


def test_a_range_never_leaks_to_the_next_segment():
    assert [(0, 10), None] == ranges("#EXTINF:4,", "#EXT-X-BYTERANGE:10@0", "a.ts", "#EXTINF:4,", "b.ts")


def test_a_range_of_a_stray_uri_never_leaks_to_the_next_segment():
    assert [None] == ranges("#EXT-X-BYTERANGE:10@0", "stray.ts", "#EXTINF:4,", "b.ts")


def test_five_segments_may_share_one_file_in_any_order():
    offsets = [400, 0, 100, 300, 200]
    lines = [line for start in offsets for line in ("#EXTINF:1,", f"#EXT-X-BYTERANGE:100@{start}", "all.ts")]
    assert [(start, start + 100) for start in offsets] == ranges(*lines)


# ── joints, gaps, dates ───────────────────────────────────────────────────────────────────────


def test_discontinuities_number_the_segments_from_the_given_base():
    playlist = media(
        body(
            "#EXT-X-DISCONTINUITY-SEQUENCE:5", "#EXTINF:4,", "a.ts", "#EXT-X-DISCONTINUITY", "#EXTINF:4,", "b.ts",
            "#EXTINF:4,", "#EXT-X-DISCONTINUITY", "c.ts",
        )
    )  # fmt: skip
    assert [5, 6, 7] == [segment.discontinuity for segment in playlist.segments]
    assert 5 == playlist.discontinuity_sequence


def test_a_discontinuity_sequence_after_segments_still_counts_from_the_first():
    playlist = media(body("#EXTINF:4,", "a.ts", "#EXT-X-DISCONTINUITY-SEQUENCE:5", "#EXTINF:4,", "b.ts"))
    assert [5, 5] == [segment.discontinuity for segment in playlist.segments]


def test_a_gap_marks_one_segment():
    playlist = media(body("#EXTINF:4,", "#EXT-X-GAP", "a.ts", "#EXTINF:4,", "b.ts", "#EXT-X-GAP", "#EXTINF:4,", "c.ts"))
    assert [True, False, True] == [segment.gap for segment in playlist.segments]


DATES = {
    "2024-02-29T12:34:56.789Z": datetime(2024, 2, 29, 12, 34, 56, 789000, UTC),
    "2024-02-29T12:34:56Z": datetime(2024, 2, 29, 12, 34, 56, tzinfo=UTC),
    "2024-02-29T12:34:56.789+02:00": datetime(2024, 2, 29, 12, 34, 56, 789000, timezone(timedelta(hours=2))),
    "2024-02-29T12:34:56+0200": datetime(2024, 2, 29, 12, 34, 56, tzinfo=timezone(timedelta(hours=2))),
    "2024-02-29T12:34:56": datetime(2024, 2, 29, 12, 34, 56),
    "20240229T123456Z": datetime(2024, 2, 29, 12, 34, 56, tzinfo=UTC),
    "yesterday": None,
    "2024-13-41T99:00:00Z": None,
    "": None,
}


@pytest.mark.parametrize(("written", "expected"), DATES.items())
def test_program_dates_are_read_and_bad_ones_ignored(written, expected):
    playlist = media(body(f"#EXT-X-PROGRAM-DATE-TIME:{written}", "#EXTINF:4,", "a.ts", "#EXTINF:4,", "b.ts"))
    assert [expected, None] == [segment.program_date_time for segment in playlist.segments]


STARTS = {
    "TIME-OFFSET=12.5": 12.5,
    "TIME-OFFSET=-3,PRECISE=YES": -3.0,
    "TIME-OFFSET=later": None,
    "TIME-OFFSET=inf": None,
    "PRECISE=YES": None,
}


@pytest.mark.parametrize(("attributes", "expected"), STARTS.items())
def test_a_preferred_start_is_told(attributes, expected):
    assert expected == media(body(f"#EXT-X-START:{attributes}", "#EXTINF:4,", "a.ts")).start


def test_a_list_of_pictures_says_so():
    assert media(body("#EXT-X-I-FRAMES-ONLY", "#EXTINF:4,", "a.ts")).iframes_only


# ── variables ─────────────────────────────────────────────────────────────────────────────────


def test_variables_replace_references_in_uris_and_attributes():
    playlist = media(
        body(
            '#EXT-X-DEFINE:NAME="dir",VALUE="deep/er"',
            '#EXT-X-DEFINE:NAME="both",VALUE="{$dir}/x"',
            '#EXT-X-KEY:METHOD=AES-128,URI="{$dir}/k"',
            "#EXTINF:4,",
            "{$both}/{$dir}.ts",
        )
    )
    assert [("https://host.example/music/deep/er/x/deep/er.ts", "https://host.example/music/deep/er/k")] == [
        (segment.uri, segment.key.uri) for segment in playlist.segments
    ]


def test_variables_are_imported_only_when_asked_for():
    lines = ["#EXTINF:4,", "{$token}.ts"]
    assert ["abc.ts"] == files(media(body('#EXT-X-DEFINE:IMPORT="token"', *lines), variables={"token": "abc"}))
    with pytest.raises(PlaylistInvalid):
        parse_playlist(body(*lines), BASE, {"token": "abc"})


def test_a_query_parameter_is_taken_byte_for_byte():
    playlist = media(
        body('#EXT-X-DEFINE:QUERYPARAM="sig"', "#EXTINF:4,", "a.ts?sig={$sig}"), url=BASE + "?x=1&sig=a%2Fb+c%3D%3D"
    )
    assert ["https://host.example/music/a.ts?sig=a%2Fb+c%3D%3D"] == [segment.uri for segment in playlist.segments]
