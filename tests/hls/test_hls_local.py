"""Presentations in a folder of this machine: played like any other, without a network, and never out of the folder."""

import asyncio
import os
import shutil

import numpy as np
import pytest
from support import hlstrees
from support.faultserver import FaultServer

import kithara
from kithara.abr import Controller
from kithara.errors import KeyInvalid, LocalFileError, PolicyDenied, RangeMismatch
from kithara.hls import HlsSource
from kithara.portal import portal

MEDIA = (b"G" + bytes(187)) * 40


def listing(*lines, ended=True):
    return "\n".join(["#EXTM3U", "#EXT-X-TARGETDURATION:2", *lines, *(["#EXT-X-ENDLIST"] if ended else []), ""])


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "presentation"
    folder.mkdir()
    (folder / "a.ts").write_bytes(MEDIA)
    (tmp_path / "secret.ts").write_bytes(MEDIA)
    return folder


def save(folder, *lines, name="list.m3u8"):
    path = folder / name
    path.write_text(listing(*lines))
    return path


async def gathered(stream):
    return b"".join([chunk async for chunk in stream])


@pytest.mark.needs("ffmpeg")
@pytest.mark.parametrize("name", ["ts", "fmp4", "fmp4-single-file", "ts-aes", "ts-aes-iv", "mixed"])
async def test_every_variants_bytes_are_those_of_its_files(name):
    tree = hlstrees.tree(name)
    async with HlsSource.open(tree.master, offline=True) as session:
        for number, made in enumerate(tree.variants):
            assert made.plain == await gathered(session.stream(variant=number))


@pytest.mark.needs("ffmpeg")
@pytest.mark.parametrize("spell", [str, os.fspath, lambda path: path.as_uri(), lambda path: path], ids="spfP")
def test_a_playlists_path_or_file_url_opens_as_a_file_and_as_a_decoder(spell):
    tree = hlstrees.tree("fmp4-lossless")
    with kithara.open(spell(tree.master), variant=1) as reader:
        assert tree.variants[1].plain == reader.read()
        with kithara.Decoder(reader, dtype="int16") as decoder:
            whole = decoder.read()
    with kithara.Decoder(spell(tree.master), dtype="int16", variant=0) as decoder:
        assert np.array_equal(whole[700_000:], decoder.read_range(start=700_000, frames=1 << 20).data)


@pytest.mark.needs("ffmpeg")
def test_a_local_presentation_is_heard_at_its_best_from_the_start():
    tree = hlstrees.tree("ts")
    with kithara.AudioStream(tree.master) as stream:
        stream.seek(9.0)
        assert (1000, 2) == stream.read(1000).shape
        assert 2 == next(stream.chunks()).variant


@pytest.mark.needs("ffmpeg")
async def test_nothing_of_a_local_presentation_is_copied_to_the_cache(tmp_path):
    tree = hlstrees.tree("ts")
    with kithara.AssetStore(tmp_path / "cache") as store:
        async with HlsSource.open(tree.master, None, store) as session:
            assert tree.variants[0].plain == await gathered(session.stream(variant=0))
        assert (0, []) == (store.usage().bytes, list(store.assets()))


@pytest.mark.needs("ffmpeg")
async def test_byte_ranges_tell_the_controller_the_sizes_of_what_comes(monkeypatch):
    tree = hlstrees.tree("fmp4-single-file")
    told = []
    choose = Controller.choose

    def listening(self, *args, **facts):
        told.append((facts["segment_index"], facts["next_sizes"]))
        return choose(self, *args, **facts)

    monkeypatch.setattr(Controller, "choose", listening)
    with FaultServer() as server:
        for path in tree.folder.rglob("*.m*"):
            server.serve(f"/{path.relative_to(tree.folder)}", path.read_bytes())
        async with HlsSource.open(server.url("/master.m3u8")) as session:
            for variant in range(3):
                await portal().arun(session._engine.catalogue.load(variant))
            async for _ in session.segments():
                pass
        lists = [timeline.playlist.segments for _, timeline in sorted(session._engine.catalogue.timelines.items())]
    sizes = [
        [stop - start for start, stop in (segment.byterange for segment in row)] for row in zip(*lists, strict=True)
    ]
    assert 0 < len(told)
    for index, rows in told:
        if index == len(sizes):  # what would come behind the last one
            assert rows is None
            continue
        assert sizes[index] == pytest.approx(rows[0], abs=1)
        assert len(sizes) - index == len(rows)


def test_names_with_blanks_percents_and_letters_of_all_kinds_are_found(folder):
    (folder / "Größe 100%25 é.ts").write_bytes(MEDIA)
    path = save(folder, "#EXTINF:2,", "Größe 100%2525 é.ts", "#EXTINF:2,", "./a.ts?token=1")
    with kithara.open(path) as reader:
        assert MEDIA * 2 == reader.read()


OUTSIDE = {
    "above": "../secret.ts",
    "above, escaped": "%2e%2e/secret.ts",
    "above, deep": "x/../../secret.ts",
    "absolute": "/etc/hostname",
    "a file URL": "file:///etc/hostname",
    "a link": "link.ts",
    "a linked folder": "linked/secret.ts",
    "another host": "file://elsewhere/a.ts",
    "two slashes": "//elsewhere/a.ts",
}


@pytest.mark.parametrize("reference", OUTSIDE.values(), ids=OUTSIDE)
@pytest.mark.parametrize("role", ["segment", "key", "map", "variant"])
def test_a_local_playlist_leads_to_no_file_outside_its_folder(role, reference, folder, tmp_path):
    (folder / "link.ts").symlink_to(tmp_path / "secret.ts")
    (folder / "linked").symlink_to(tmp_path)
    (tmp_path / "secret.ts").write_bytes(listing("#EXTINF:2,", "a.ts").encode() if role == "variant" else MEDIA)
    lines = {
        "segment": ["#EXTINF:2,", reference],
        "key": [f'#EXT-X-KEY:METHOD=AES-128,URI="{reference}"', "#EXTINF:2,", "a.ts"],
        "map": [f'#EXT-X-MAP:URI="{reference}"', "#EXTINF:2,", "a.ts"],
        "variant": ["#EXT-X-STREAM-INF:BANDWIDTH=1", reference],
    }[role]
    path = folder / "list.m3u8"
    path.write_text("\n".join(["#EXTM3U", *lines, *([] if role == "variant" else ["#EXT-X-ENDLIST"]), ""]))
    with pytest.raises(PolicyDenied), kithara.open(path) as reader:
        reader.read()


def test_links_inside_the_folder_are_followed(folder):
    (folder / "again.ts").symlink_to("a.ts")
    with kithara.open(save(folder, "#EXTINF:2,", "again.ts")) as reader:
        assert MEDIA == reader.read()


@pytest.mark.parametrize("kind", ["missing", "folder", "fifo", "NUL"])
def test_what_is_no_file_is_told_and_never_waited_for(kind, folder):
    name = "b%00.ts" if kind == "NUL" else "b.ts"
    if kind == "folder":
        (folder / "b.ts").mkdir()
    elif kind == "fifo":
        os.mkfifo(folder / "b.ts")
    with pytest.raises(LocalFileError), kithara.open(save(folder, "#EXTINF:2,", name)) as reader:
        reader.read()


def test_a_range_beyond_the_end_of_its_file_is_told(folder):
    path = save(folder, "#EXT-X-BYTERANGE:188@0", "#EXTINF:2,", "a.ts", "#EXT-X-BYTERANGE:9999@0", "#EXTINF:2,", "a.ts")
    with pytest.raises(RangeMismatch), kithara.open(path) as reader:
        reader.read()


def test_a_key_of_another_length_is_told(folder):
    (folder / "k").write_bytes(bytes(5000))
    with (
        pytest.raises(KeyInvalid),
        kithara.open(save(folder, '#EXT-X-KEY:METHOD=AES-128,URI="k"', "#EXTINF:2,", "a.ts")) as reader,
    ):
        reader.read()


def test_a_local_playlist_leads_to_no_private_host_unless_that_is_allowed(folder):
    with FaultServer() as server:
        server.serve("/b.ts", MEDIA)
        path = save(folder, "#EXTINF:2,", server.url("/b.ts"))
        with pytest.raises(PolicyDenied), kithara.open(path) as reader:
            reader.read()
        assert [] == server.requests
        allowed = kithara.HttpOptions(allow_private=True)
        headers = {"Authorization": "Bearer secret"}
        with kithara.open(path, http=allowed, headers=headers) as reader:
            assert MEDIA == reader.read()
        assert [None] == [request.header("authorization") for request in server.requests]


def test_a_playlist_from_the_web_leads_to_no_local_file(folder):
    with FaultServer() as server:
        server.serve("/list.m3u8", listing("#EXTINF:2,", (folder / "a.ts").as_uri()).encode())
        with pytest.raises(kithara.errors.HlsError):
            kithara.open(server.url("/list.m3u8"), store=False)


async def test_a_local_list_that_grows_is_followed_to_its_end(folder):
    for number in range(4):
        shutil.copy(folder / "a.ts", folder / f"{number}.ts")
    lines = [line for number in range(4) for line in ("#EXTINF:0.5,", f"{number}.ts")]
    path = folder / "list.m3u8"
    short = "#EXT-X-PLAYLIST-TYPE:EVENT", "#EXT-X-TARGETDURATION:0.5"
    path.write_text(listing(*short, *lines[:4], ended=False))
    heard = []
    async with HlsSource.open(path) as session, asyncio.timeout(60):
        async for segment in session.segments():
            heard.append(segment.index)
            if len(heard) == 2:
                os.replace(save(folder, *short, *lines, name="whole.m3u8"), path)  # never half of it
    assert [0, 1, 2, 3] == heard
