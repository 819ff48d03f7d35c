"""What a user may send to another process goes as a recipe: options, URL, position. What cannot go says so."""

import concurrent.futures
import copy
import multiprocessing
import pickle
import random
import ssl

import numpy as np
import pytest
from support import corpus
from support.work import rest

import kithara
from kithara._core.memory_resource import MemoryResource
from kithara.cli.origin import Origin
from kithara.errors import Closed

DATA = random.Random(7).randbytes(300_000)


@pytest.fixture
def origin():
    with Origin({"data": DATA}) as origin:
        yield origin


def through_pickle(thing):
    return pickle.loads(pickle.dumps(thing))


@pytest.mark.parametrize(
    "options",
    [
        kithara.FileOptions(look_ahead=1 << 20, query=("id",), revalidate=60.0),
        kithara.HttpOptions(retries=1, proxy="http://proxy.example:3128"),
        kithara.SyncReaderParams(blocking=False),
        kithara.MediaInfo(codec="mp3"),
    ],
    ids=lambda options: type(options).__name__,
)
def test_options_pickle_as_they_are(options):
    assert options == through_pickle(options)


def test_a_store_pickles_as_its_place_and_limits(store):
    with through_pickle(store) as again:
        assert (store.root, store.usage().max_bytes) == (again.root, again.usage().max_bytes)


async def test_a_client_pickles_as_its_options_even_while_it_is_in_use(origin):
    async with kithara.HttpClient(kithara.HttpOptions(retries=1), headers={"X-Own": "1"}) as client:
        await client.get(origin.url("data"))
        async with through_pickle(client) as again:
            assert client.options == again.options
            assert DATA == (await again.get(origin.url("data"))).body
    assert ["1", "1"] == [request.headers["x-own"] for request in origin.requests]


def test_a_reader_is_opened_anew_where_it_was(origin, store):
    with kithara.open(origin.url("data"), store=store, headers={"X-Own": "1"}) as reader:
        reader.seek(1_000)
        with through_pickle(reader) as again:
            assert (1_000, reader.length) == (again.tell(), again.length)
            assert DATA[1_000:1_100] == again.read(100)
        assert 1_000 == reader.tell()
    assert all("1" == request.headers["x-own"] for request in origin.requests)


def test_a_reader_with_a_listener_goes_without_it(origin, store):
    with kithara.open(origin.url("data"), store=store, on_event=lambda event: None) as reader:
        with through_pickle(reader) as again:
            assert DATA[:9] == again.read(9)


def test_a_copy_of_a_reader_is_a_reader_of_its_own(origin, store):
    with kithara.open(origin.url("data"), store=store) as reader:
        with copy.copy(reader) as again:
            again.seek(50)
            assert (DATA[:9], DATA[50:59]) == (reader.read(9), again.read(9))


def test_a_reader_of_a_local_file_pickles_for_any_working_directory(tmp_path, monkeypatch):
    (tmp_path / "local").write_bytes(DATA)
    monkeypatch.chdir(tmp_path)
    with kithara.open("local") as reader:
        pickled = pickle.dumps(reader)
    monkeypatch.chdir("/")
    with pickle.loads(pickled) as again:
        assert DATA == again.read()


def test_a_reader_reads_on_in_another_process(origin, store):
    spawned = multiprocessing.get_context("spawn")
    with kithara.open(origin.url("data"), store=store) as reader:
        reader.read()  # whole, so that the cache is all the child needs
        reader.seek(290_000)
        asked = origin.mark()
        with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawned) as pool:
            assert (290_000, DATA[290_000:]) == pool.submit(rest, reader).result(60)
    assert [] == asked.requests


async def test_a_reader_of_a_session_opens_a_session_of_its_own(origin, store):
    async with kithara.FileSource.open(origin.url("data"), store=store, headers={"X-Own": "1"}) as session:
        with session.source() as reader:
            reader.seek(7)
            pickled = pickle.dumps(reader)
    with pickle.loads(pickled) as again:
        assert DATA[7:] == again.read()
    assert all("1" == request.headers["x-own"] for request in origin.requests)


async def test_a_source_is_opened_anew(origin, store):
    opened = await kithara.File.open(origin.url("data"), kithara.FileOptions(look_ahead=1 << 16))
    again = through_pickle(opened.source)
    assert len(DATA) == again.length
    await again.wait_range(0, 10)
    assert DATA[:10] == await again.read_at(0, 10)


class Tens:
    """A source of one's own, which pickles as every object of plain attributes does."""

    media = None

    def __init__(self, length):
        self.length = length

    async def wait_range(self, start, stop):
        return kithara.WaitOutcome.READY if start < self.length else kithara.WaitOutcome.EOF

    async def read_at(self, offset, size):
        return bytes(position % 10 for position in range(offset, min(offset + size, self.length)))


def test_a_reader_of_ones_own_source_goes_as_that_does():
    with kithara.SyncReader(Tens(1_000)) as reader:
        reader.seek(995)
        with through_pickle(reader) as again:
            assert bytes([5, 6, 7, 8, 9]) == again.read()


def test_a_reader_of_a_bare_store_says_why_it_cannot_go():
    store = MemoryResource(3)
    with kithara.SyncReader(store) as reader, pytest.raises(TypeError, match="reads a store"):
        pickle.dumps(reader)


async def test_a_session_says_what_to_send_instead(origin, store):
    async with kithara.FileSource.open(origin.url("data"), store=store) as session:
        with pytest.raises(TypeError, match="its URL and options"):
            pickle.dumps(session)


def test_a_closed_reader_is_not_sent(origin, store):
    with kithara.open(origin.url("data"), store=store) as reader:
        pass
    with pytest.raises(Closed):
        pickle.dumps(reader)


@pytest.mark.parametrize(
    ("thing", "why"),
    [
        (kithara.EventBus(), "listeners"),
        (kithara.FileOptions(bus=kithara.EventBus()), "bus=None"),
        (kithara.HttpOptions(tls=ssl.create_default_context()), "SSLContext"),
    ],
    ids=["bus", "options with a bus", "options with a TLS context"],
)
def test_what_is_bound_to_its_process_says_so(thing, why):
    with pytest.raises(TypeError, match=why):
        pickle.dumps(thing)


@pytest.fixture(scope="module")
def song():
    return corpus.file("flac").path


def test_a_decoder_goes_on_where_it_was(song, store):
    with Origin({"song.flac": song}) as origin:
        with kithara.open(origin.url("song.flac"), store=store) as reader:
            with kithara.Decoder(reader, dtype="int16") as decoder:
                decoder.seek(12_345)
                with through_pickle(decoder) as again:
                    assert (12_345, decoder.spec, np.dtype("int16")) == (again.tell(), again.spec, again.dtype)
                    assert np.array_equal(decoder.read(5_000), again.read(5_000))
                assert not reader.closed


@pytest.mark.parametrize("kind", ["path", "bytes"])
def test_a_decoder_of_a_path_or_of_bytes_pickles(song, kind):
    what = str(song) if kind == "path" else song.read_bytes()
    with kithara.Decoder(what, gapless="codec") as decoder, through_pickle(decoder) as again:
        assert np.array_equal(decoder.read(1_000), again.read(1_000))


def test_a_decoder_over_an_open_file_says_why_it_cannot_go(song):
    with song.open("rb") as file, kithara.Decoder(file) as decoder:
        with pytest.raises(TypeError, match="BufferedReader"):
            pickle.dumps(decoder)
