"""What a body is: by its bytes over its type over its suffix."""

from __future__ import annotations

import pytest
from support import corpus

from kithara.media import MediaInfo, from_content_type, from_suffix, id3_size, sniff

CONTAINERS = {"webm": "matroska"}


@pytest.mark.parametrize("name", corpus.NAMES)
def test_the_first_bytes_of_every_file_tell_its_container(name):
    entry = corpus.file(name)
    found = sniff(entry.path.read_bytes()[:1024])
    assert found is not None
    wanted = CONTAINERS.get(entry.container, entry.container)
    assert found.container == ("mp4" if wanted == "fmp4" else wanted)  # the header of both is the same


@pytest.mark.parametrize(
    ("head", "container"),
    [
        (b"", None),
        (b"<!DOCTYPE html>", None),
        (b"\x00" * 64, None),
        (b"\xef\xbb\xbf#EXTM3U\n", "hls"),
        (b"#EXTM3U\n", "hls"),
        (b"\x00\x00\x00\x18stypmsdh", "fmp4"),
        (b"\xff\xf1\x50\x80", "adts"),
        (b"\xff\xfb\x90\x64", "mp3"),
        (b"\xff\xfd\xe0\x04", "mp3"),
        (b"\xff\xff\xff\xff", None),
        (b"\xff\xfeh\0", None),
        (b"G@\x00\x10" + bytes(184) + b"G" + bytes(187), "mpegts"),
        (b"GIF89a" + bytes(600), None),
        (b"OggS" + bytes(24) + b"OpusHead", "ogg"),
        (b"RF64\xff\xff\xff\xffWAVE", "wav"),
    ],
)
def test_magic_is_told_from_noise(head, container):
    found = sniff(head)
    assert container == (None if found is None else found.container)


def test_a_tag_is_looked_past_where_it_can_be():
    tag = b"ID3\x04\x00\x00\x00\x00\x00\x14" + bytes(20)
    assert 30 == id3_size(tag)
    assert "flac" == sniff(tag + b"fLaC").container
    assert "mp3" == sniff(tag[:10]).container


@pytest.mark.parametrize("head", [b"ID3", b"ID3\xff\0\0\0\0\0\0", b"ID3\x04\0\0\x80\0\0\0", b"TAG" + bytes(20)])
def test_what_is_no_tag_has_no_size(head):
    assert 0 == id3_size(head)


@pytest.mark.parametrize(
    ("value", "codec", "container"),
    [
        ("audio/mpeg", "mp3", "mp3"),
        ('Audio/MP4; codecs="mp4a.40.2"', "aac", "mp4"),
        ("audio/ogg; codecs=opus", "opus", "ogg"),
        ("application/vnd.apple.mpegurl", None, "hls"),
        ("audio/wav;charset=utf-8", None, "wav"),
    ],
)
def test_a_content_type_tells_container_and_codec(value, codec, container):
    found = from_content_type(value)
    assert (codec, container) == (found.codec, found.container)


@pytest.mark.parametrize("value", [None, "", "text/html", "application/octet-stream", ";;;"])
def test_a_content_type_of_something_else_tells_nothing(value):
    assert from_content_type(value) is None


@pytest.mark.parametrize(
    ("path", "container"), [("/a/b.MP3?x=1.wav", "mp3"), ("x.m4a#t", "mp4"), ("noext", None), ("a.b/c", None)]
)
def test_a_suffix_is_the_paths_last(path, container):
    found = from_suffix(path)
    assert container == (None if found is None else found.container)


def test_one_witness_fills_the_gaps_of_another():
    told = MediaInfo(container="ogg").over(MediaInfo(codec="opus", container="wav"))
    assert MediaInfo(codec="opus", container="ogg") == told
    assert MediaInfo(codec="x") == MediaInfo(codec="x").over(None)
