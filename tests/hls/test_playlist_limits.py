"""Whatever bytes come: one of our errors or a value, in bounded time and memory."""

import m3u8
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kithara.errors import PlaylistInvalid, PlaylistTooLarge
from kithara.hls import MediaPlaylist, parse_playlist

BASE = "https://host.example/music/list.m3u8"
HEADER = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n"

TOO_LARGE = {
    "bytes": lambda: b"#EXTM3U\n" + b"#" * (8 << 20),
    "one line of 10 MB": lambda: "#EXTM3U\n#EXTINF:4," + "x" * 10_000_000,
    "segments": lambda: HEADER + "#EXTINF:4,\na\n" * 50_001,
    "lines": lambda: "#EXTM3U" + "\n" * 1_000_000,
    "variants": lambda: "#EXTM3U\n" + "".join(f"#EXT-X-STREAM-INF:BANDWIDTH={n}\n{n}\n" for n in range(1001)),
    "renditions": lambda: "#EXTM3U\n" + '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="g",NAME="n"\n' * 1001,
    "variables that grow": lambda: (
        f'#EXTM3U\n#EXT-X-DEFINE:NAME="a",VALUE="{"x" * 100_000}"\n' + "#EXTINF:4,\n{$a}\n#EXTINF:4,\n{$a}?\n" * 1000
    ),
}


@pytest.mark.parametrize("make", TOO_LARGE.values(), ids=TOO_LARGE)
def test_what_is_too_large_is_refused(make):
    with pytest.raises(PlaylistTooLarge):
        parse_playlist(make(), BASE)


def test_as_many_segments_as_allowed_parse():
    playlist = parse_playlist(HEADER + "#EXTINF:4,\na\n" * 50_000, BASE)
    assert 50_000 == len(playlist.segments)


SLOW_FOR_THE_CARELESS = {
    "a line of a megabyte": HEADER + "#EXTINF:4,\n" + "a/" * 500_000 + "\n",
    "attributes by the thousand": HEADER + "#EXT-X-START:" + "A=1," * 250_000 + "\n",
    "quotes by the thousand": HEADER + "#EXT-X-START:" + 'A="",' * 200_000 + "\n",
    "dots by the thousand": HEADER + "#EXTINF:4,\n" + "../a/./" * 100_000 + "\n",
    "references by the thousand": HEADER + "#EXTINF:4,\n" + "{$" * 500_000 + "\n",
    "keys by the thousand": HEADER + "#EXT-X-KEY:METHOD=NONE\n" * 100_000,
    "key formats by the hundred": HEADER
    + "".join(f'#EXT-X-KEY:METHOD=X,URI="u",KEYFORMAT="{n}"\n' for n in range(30_000)),
}


@pytest.mark.timeout(20)  # a quadratic reader takes minutes on these, ours a tenth of a second
@pytest.mark.parametrize("text", SLOW_FOR_THE_CARELESS.values(), ids=SLOW_FOR_THE_CARELESS)
def test_time_is_linear_in_the_input(text):
    assert 10.0 == parse_playlist(text, BASE).target_duration


LINES = st.sampled_from(
    [
        "#EXTM3U", "#EXTINF:4,", "#EXTINF:", "#EXTINF:1e999,x", "a.ts", "../b c.ts?x=%zz", "http://h/x", "file:///x",
        "#EXT-X-BYTERANGE:10@0", "#EXT-X-BYTERANGE:10", "#EXT-X-MEDIA-SEQUENCE:5", "#EXT-X-DISCONTINUITY", "#EXT-X-GAP",
        '#EXT-X-KEY:METHOD=AES-128,URI="k",IV=0x1', "#EXT-X-KEY:METHOD=NONE", "#EXT-X-KEY:METHOD=SAMPLE-AES,URI=x",
        '#EXT-X-MAP:URI="i",BYTERANGE="5@5"', "#EXT-X-ENDLIST", "#EXT-X-PLAYLIST-TYPE:VOD", "",
        "#EXT-X-STREAM-INF:BANDWIDTH=1",
        '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="g",URI="u"', '#EXT-X-DEFINE:NAME="n",VALUE="v"', "{$n}", "{$m}",
        "#EXT-X-PROGRAM-DATE-TIME:x", "#EXT-X-START:TIME-OFFSET=1", "\u2028#EXT-X-ENDLIST",
        "#EXT-X-SKIP:SKIPPED-SEGMENTS=1",
    ]
)  # fmt: skip


def value_or_error(data):
    try:
        return parse_playlist(data, BASE)
    except PlaylistInvalid as error:
        return error


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.one_of(LINES, st.text(max_size=40)), max_size=30), st.sampled_from(["\n", "\r\n", "\r"]))
def test_lines_in_any_order_give_a_value_or_our_error(lines, newline):
    outcome = value_or_error(newline.join(["#EXTM3U", *lines]))
    if isinstance(outcome, PlaylistInvalid):
        assert outcome.line is not None
    elif isinstance(outcome, MediaPlaylist):
        first = outcome.media_sequence
        assert list(range(first, first + len(outcome.segments))) == [s.sequence for s in outcome.segments]
        assert all(0 <= segment.duration < float("inf") for segment in outcome.segments)
        assert all(segment.uri.startswith(("http://", "https://")) for segment in outcome.segments)
        assert all(segment.uri.isascii() and segment.uri.isprintable() for segment in outcome.segments)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_give_a_value_or_our_error(data, headed):
    outcome = value_or_error(b"#EXTM3U\n" + data if headed else data)
    if isinstance(outcome, PlaylistInvalid):
        assert outcome.line is not None


SEGMENT = st.builds(
    lambda name, millis, tags: (name, millis / 1000, tags),
    st.text("abcdefgh0123456789_-/.?=&%", min_size=1, max_size=20).filter(
        lambda name: name[0] not in "/?." and "/." not in name
    ),
    st.integers(0, 20_000),
    st.lists(
        st.sampled_from(
            [
                "#EXT-X-DISCONTINUITY",
                '#EXT-X-KEY:METHOD=AES-128,URI="k1",IV=0x1',
                "#EXT-X-KEY:METHOD=NONE",
                "#EXT-X-GAP",
            ]
        ),
        max_size=2,
        unique=True,
    ),
)  # fmt: skip


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(SEGMENT, min_size=1, max_size=12), st.integers(0, 10**6))
def test_where_the_usual_library_is_right_we_agree(segments, first):
    lines = ["#EXTM3U", "#EXT-X-VERSION:8", "#EXT-X-TARGETDURATION:20", f"#EXT-X-MEDIA-SEQUENCE:{first}"]
    for name, duration, tags in segments:
        lines += [*tags, f"#EXTINF:{duration:.3f},", name]
    text = "\n".join([*lines, "#EXT-X-ENDLIST", ""])
    theirs = m3u8.loads(text)
    ours = parse_playlist(text, BASE)
    folder = "https://host.example/music/"
    assert [
        (
            folder + segment.uri,
            segment.duration,
            segment.media_sequence,
            bool(segment.gap_tag),
            segment.key.uri if segment.key and segment.key.method != "NONE" else None,
        )
        for segment in theirs.segments
    ] == [(s.uri, s.duration, s.sequence, s.gap, s.key and s.key.uri.removeprefix(folder)) for s in ours.segments]
    assert (theirs.is_endlist, theirs.target_duration, theirs.media_sequence) == (
        ours.ended,
        ours.target_duration,
        ours.media_sequence,
    )
