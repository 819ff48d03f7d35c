"""fsspec opens files through the cache: bytes, ranges, facts, errors, and what each costs the origin."""

import asyncio
import functools
import http.server
import importlib.metadata
import io
import pickle
import random
import threading
import tomllib

import pytest
from support.faultserver import FaultServer, head
from support.libraries import need

import kithara
from kithara.cli.origin import Body, Origin

need("fsspec")
import fsspec  # noqa: E402

pytestmark = pytest.mark.usefixtures("fs")

DATA = random.Random(1).randbytes(1_000_001)
LINES = b"".join(b"line %d\n" % number for number in range(5_000))


@pytest.fixture(scope="module")
def bodies():
    return {"data.bin": DATA, "lines.txt": LINES, "empty": b"", "q": b"the path alone"}


@pytest.fixture
def origin(bodies):
    with Origin(bodies) as origin:
        yield origin


def test_the_package_registers_the_protocol(root):
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    module, _, name = project["entry-points"]["fsspec.specs"]["kithara"].partition(":")
    from kithara.fsspec import KitharaFileSystem

    assert KitharaFileSystem is getattr(importlib.import_module(module), name)
    assert "fsspec" in project["optional-dependencies"]


def test_an_installed_package_is_found_by_its_protocol():
    try:
        found = importlib.metadata.distribution("kithara").entry_points.select(group="fsspec.specs")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("run from a source tree that is not installed")
    from kithara.fsspec import KitharaFileSystem

    assert [KitharaFileSystem] == [point.load() for point in found]


def test_the_chain_opens_a_url_through_the_cache(origin, cache):
    with fsspec.open("kithara::" + origin.url("data.bin"), store=cache) as file:
        assert DATA == file.read()
    fetched = origin.mark()
    with fsspec.open("kithara::" + origin.url("data.bin"), store=cache) as file:
        assert DATA == file.read()
    assert [] == fetched.requests


def test_one_file_system_serves_all_urls_of_the_same_options(origin, cache):
    first, path = fsspec.url_to_fs("kithara::" + origin.url("data.bin"), store=cache)
    second, _ = fsspec.url_to_fs("kithara::" + origin.url("lines.txt"), store=cache)
    assert first is second
    assert origin.url("data.bin") == path
    assert "kithara::" + path == first.unstrip_protocol(path)


def test_a_chain_over_another_protocol_is_refused():
    with pytest.raises(ValueError, match="http and https only"):
        fsspec.open("kithara::memory://file")


def test_a_misspelt_option_is_refused(origin):
    with pytest.raises(TypeError, match="stroe"):
        fsspec.open("kithara::" + origin.url("data.bin"), stroe=False)


def test_a_file_seeks_and_reads_as_any_other(fs, origin):
    chance = random.Random(2)
    expected = io.BytesIO(DATA)
    with fs.open(origin.url("data.bin")) as file:
        for _ in range(200):
            position, size = chance.randrange(len(DATA)), int(chance.paretovariate(0.5))
            assert expected.seek(position) == file.seek(position)
            assert expected.read(size) == file.read(size)
            assert expected.tell() == file.tell() == file.loc


def test_a_file_tells_what_users_of_fsspec_look_at(fs, origin):
    url = origin.url("data.bin")
    with fs.open(url) as file:
        assert (len(DATA), url, "rb", fs) == (file.size, file.path, file.mode, file.fs)
        assert {"name": url, "size": len(DATA), "type": "file"} == file.info()
        assert (True, True, False, False) == (file.readable(), file.seekable(), file.writable(), file.closed)
        assert "kithara::" + url == file.full_name
    assert file.closed
    with pytest.raises(ValueError, match="closed"):
        file.read(1)


def test_lines_are_read_one_by_one(fs, origin):
    with fs.open(origin.url("lines.txt")) as file:
        assert b"line 0\n" == file.readline()
        assert b"line 1" == file.readuntil(b"1")
        assert b"\n" == next(file)
        assert LINES.splitlines(keepends=True)[2:] == list(file)


def test_text_mode_decodes(fs, origin):
    with fs.open(origin.url("lines.txt"), "r", encoding="ascii") as file:
        assert ["line 0\n", "line 1\n"] == [next(file), next(file)]


def test_a_pickled_file_opens_at_the_same_place(fs, origin):
    with fs.open(origin.url("data.bin")) as file:
        file.seek(1234)
        with pickle.loads(pickle.dumps(file)) as again:
            assert file.tell() == again.tell()
            assert DATA[1234:1300] == again.read(66)


@pytest.mark.parametrize(
    "span", [(0, 10), (5, None), (None, -7), (-10, -3), (-10, None), (999_999, 2_000_000), (7, 7), (9, 2)]
)
def test_a_range_is_the_slice(fs, origin, span):
    assert DATA[slice(*span)] == fs.cat_file(origin.url("data.bin"), *span)


def test_a_range_costs_little_more_than_itself(fs, origin):
    fs.cat_file(origin.url("data.bin"), 500_000, 600_000)
    assert 100_000 <= origin.sent <= 150_000


def test_many_ranges_of_one_file_share_requests_where_they_are_near(fs, origin):
    starts = [*range(100_000, 200_000, 5_000), 900_000]
    urls = [origin.url("data.bin")] * len(starts)
    got = fs.cat_ranges(urls, starts, [start + 100 for start in starts])
    assert [DATA[start : start + 100] for start in starts] == got
    assert len(origin.requests) <= 3


def test_ranges_of_many_files_keep_their_order(fs, origin):
    urls = [origin.url("data.bin"), origin.url("lines.txt"), origin.url("data.bin")]
    assert [DATA[:5], LINES[5:9], DATA[-4:]] == fs.cat_ranges(urls, [0, 5, -4], [5, 9, None])


def test_a_missing_file_among_ranges_is_returned_or_raised_as_asked(fs, origin):
    urls = [origin.url("data.bin"), origin.url("nothing")]
    data, error = fs.cat_ranges(urls, 0, 4)
    assert DATA[:4] == data
    assert isinstance(error, FileNotFoundError)
    with pytest.raises(FileNotFoundError):
        fs.cat_ranges(urls, 0, 4, on_error="raise")


def test_an_empty_file_is_a_file(fs, origin, tmp_path):
    url = origin.url("empty")
    assert b"" == fs.cat_file(url)
    assert 0 == fs.size(url)
    with fs.open(url) as file:
        assert b"" == file.read()
    fs.get(url, str(tmp_path / "empty"))
    assert 0 == (tmp_path / "empty").stat().st_size


def test_the_query_tells_files_apart(fs, origin):
    origin.serve("q", b"one")
    assert b"one" == fs.cat_file(origin.url("q?id=1"))
    origin.serve("q", b"two")
    assert b"two" == fs.cat_file(origin.url("q?id=2"))
    assert b"one" == fs.cat_file(origin.url("q?id=1"))


def test_get_copies_a_file_or_leaves_nothing(fs, origin, tmp_path):
    fs.get(origin.url("data.bin"), str(tmp_path / "copy"))
    assert DATA == (tmp_path / "copy").read_bytes()
    with pytest.raises(FileNotFoundError):
        fs.get_file(origin.url("nothing"), str(tmp_path / "other"))
    assert ["copy"] == [path.name for path in tmp_path.iterdir() if path.name != "cache"]


def test_facts_of_a_cached_file_need_no_request(fs, origin):
    fs.cat_file(origin.url("data.bin"), 0, 10)
    fetched = origin.mark()
    assert len(DATA) == fs.size(origin.url("data.bin"))
    assert fs.isfile(origin.url("data.bin"))
    assert [] == fetched.requests


def test_what_is_not_there_is_not_found(fs, origin):
    assert not fs.exists(origin.url("nothing"))
    with pytest.raises(FileNotFoundError) as caught:
        fs.open(origin.url("nothing?secret=1"))
    assert "secret" not in str(caught.value)


@pytest.fixture
def server():
    with FaultServer() as server:
        yield server


def test_a_file_without_length_is_read_to_its_end(fs, server):
    server.serve("/live", DATA, ranges=False, length=False)
    url = server.url("/live")
    with fs.open(url) as file:
        assert (DATA[:10], DATA[10:]) == (file.read(10), file.read())
    assert (DATA[-9:], len(DATA)) == (fs.cat_file(url, -9), fs.size(url))


@pytest.mark.parametrize("status", [401, 403])
def test_a_forbidden_file_is_a_permission_error(fs, server, status):
    server.on("/secret", head(status, length=0))
    with pytest.raises(PermissionError, match=str(status)):
        fs.open(server.url("/secret"))
    with pytest.raises(PermissionError, match=str(status)):
        fs.exists(server.url("/secret"))


def test_an_origin_out_of_reach_is_no_missing_file(fs, origin):
    url = origin.url("data.bin")
    origin.switch_off()
    quick = fsspec.filesystem("kithara", store=False, http=kithara.HttpOptions(retries=0))
    with pytest.raises(OSError, match="refused") as caught:
        quick.exists(url)
    assert not isinstance(caught.value, FileNotFoundError)


def test_offline_what_is_cached_can_be_read_and_the_rest_is_not_found(fs, origin, cache):
    fs.cat_file(origin.url("data.bin"))
    offline = fsspec.filesystem("kithara", store=cache, offline=True)
    asked = origin.mark()
    assert DATA == offline.cat_file(origin.url("data.bin"))
    assert len(DATA) == offline.size(origin.url("data.bin"))
    assert not offline.exists(origin.url("lines.txt"))
    with pytest.raises(FileNotFoundError):
        offline.open(origin.url("lines.txt"))
    assert [] == asked.requests


def test_headers_are_sent_to_the_origin(origin, cache):
    url = "kithara::" + origin.url("data.bin")
    with fsspec.open(url, store=cache, headers={"X-Own": "1"}, http={"headers": {"X-Chained": "2"}}) as file:
        file.read(1)
    sent = origin.requests[0].headers
    assert ("1", "2") == (sent["x-own"], sent["x-chained"])


def test_opening_to_write_is_refused(fs, origin):
    for mode in ("wb", "xb", "ab", "r+b"):
        with pytest.raises(OSError, match="does not write"):
            fs.open(origin.url("data.bin"), mode)


def test_coroutines_run_in_the_callers_loop(origin, cache):
    async def main():
        fs = fsspec.filesystem("kithara", store=cache, asynchronous=True)
        whole, parts = await asyncio.gather(
            fs._cat_file(origin.url("lines.txt")),
            fs._cat_ranges([origin.url("data.bin")] * 2, [0, 10], [5, 15]),
        )
        assert (LINES, [DATA[:5], DATA[10:15]]) == (whole, parts)
        file = await fs.open_async(origin.url("data.bin"))
        async with file:
            assert DATA[:70_000] == await file.read(70_000)
            file.seek(-10, io.SEEK_END)
            assert DATA[-10:] == await file.read()
            assert b"" == await file.read()

    asyncio.run(main())


def test_a_file_system_pickles_as_its_options(fs, origin):
    again = pickle.loads(pickle.dumps(fs))
    assert DATA[:3] == again.cat_file(origin.url("data.bin"), 0, 3)


def test_the_connection_is_kept_for_the_next_file(fs, server):
    server.serve("/one", b"1" * 20_000)
    server.serve("/two", b"2" * 20_000)
    assert b"12" == fs.cat_file(server.url("/one"), 0, 1) + fs.cat_file(server.url("/two"), 0, 1)
    assert 1 == server.accepted


def test_a_playlist_is_the_bytes_that_are_served(fs, origin):
    playlist = b"#EXTM3U\n#EXTINF:1,\nnowhere.ts\n#EXT-X-ENDLIST\n"
    origin.serve("list.m3u8", Body(data=playlist, media_type="application/vnd.apple.mpegurl"))
    assert playlist == fs.cat_file(origin.url("list.m3u8"))
    with fs.open(origin.url("list.m3u8")) as file:
        assert playlist == file.read()


INDEX = b"""<html><a href="../">up</a> <a href="?C=N;O=D">sort</a> <a href='b%20c.txt'>b c</a> <A HREF="sub/">sub</A>
<a href="/tree/a.txt?download=1#top">a</a> <a href="//other.example/tree/no">no</a> <a href="sub/deep.txt">deep</a>
<a name="nowhere">x</a> <a href="http://[broken">y</a> <a href="./">self</a> <a href="a.txt">again</a>"""


def test_a_listing_is_what_a_page_links_to_directly_below_itself(fs, origin):
    origin.serve("tree/", Body(data=INDEX, media_type="text/html"))
    origin.serve("tree/a.txt", b"a")
    tree = origin.url("tree")
    assert {tree + "/b%20c.txt", tree + "/sub", tree + "/a.txt"} == set(fs.ls(tree + "/", detail=False))
    kinds = {info["name"].rpartition("/")[2]: info["type"] for info in fs.ls(tree + "/")}
    assert {"b%20c.txt": "file", "sub": "directory", "a.txt": "file"} == kinds
    assert fs.isdir(tree + "/sub")
    assert [origin.url("tree/a.txt")] == fs.glob(tree + "/a*")


def test_what_pythons_own_server_lists_is_listed_and_copied(fs, tmp_path):
    (tmp_path / "tree" / "sub folder").mkdir(parents=True)
    (tmp_path / "tree" / "a.txt").write_bytes(b"a")
    (tmp_path / "tree" / "sub folder" / "b.txt").write_bytes(b"b")
    handler = functools.partial(QuietHandler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        try:
            tree = f"http://127.0.0.1:{server.server_port}/tree"
            assert [tree + "/a.txt", tree + "/sub%20folder"] == sorted(fs.ls(tree, detail=False))
            assert [tree + "/a.txt", tree + "/sub%20folder/b.txt"] == fs.find(tree)
            fs.get(tree, str(tmp_path / "copy"), recursive=True)
        finally:
            server.shutdown()
    assert b"b" == (tmp_path / "copy" / "sub%20folder" / "b.txt").read_bytes()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words):
        pass


def test_what_was_a_directory_is_asked_about_again_once_forgotten(fs, origin):
    origin.serve("tree/", Body(data=INDEX, media_type="text/html"))
    origin.serve("tree/sub", b"now a file")
    fs.ls(origin.url("tree/"))
    assert fs.isdir(origin.url("tree/sub"))
    fs.invalidate_cache(origin.url("tree/sub"))
    assert fs.isfile(origin.url("tree/sub"))


def test_the_listing_of_a_file_is_the_file(fs, origin):
    assert [fs.info(origin.url("data.bin"))] == fs.ls(origin.url("data.bin"))
