"""What CPython expects of a raw file object, held by a SyncReader over every kind of store."""

from __future__ import annotations

import gc
import io
import random
import tarfile
import warnings
import weakref
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from support.stores import KINDS, Feed, filled
from support.waiting import Background

from kithara._core.reader import SyncReader
from kithara.errors import Closed, HttpStatus, Interrupted, InvalidSeek, UnknownLength


def lines(size: int) -> bytes:
    chance = random.Random(11)
    made = b""
    while len(made) < size:
        made += chance.randbytes(chance.randrange(0, 90)).replace(b"\n", b" ") + b"\n"
    return made[:size]


CONTENT = lines(9000)
SIZE = len(CONTENT)


@dataclass(frozen=True)
class Params:
    prefetch: int = 8
    chunk: int = 65536
    blocking: bool = True


pytestmark = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def reader(kind: str) -> Iterator[SyncReader]:
    with SyncReader(filled(kind, CONTENT).store) as reader:
        yield reader


@pytest.fixture
def file() -> io.BytesIO:
    """What the reader must behave like."""
    return io.BytesIO(CONTENT)


@pytest.fixture
def pending(kind: str) -> Iterator[tuple[Feed, SyncReader]]:
    """A reader of bytes that are still to come, of known length."""
    feed = Feed(kind, SIZE, SIZE)
    with SyncReader(feed.store) as reader:
        yield feed, reader


@pytest.fixture
def hasty(kind: str) -> Iterator[tuple[Feed, SyncReader]]:
    """The same in non-blocking mode."""
    feed = Feed(kind, SIZE, SIZE)
    with SyncReader(feed.store, Params(blocking=False)) as reader:
        yield feed, reader


def test_it_is_a_raw_file(reader: SyncReader) -> None:
    assert isinstance(reader, io.RawIOBase)
    assert (True, True, False, False, False) == (
        reader.readable(),
        reader.seekable(),
        reader.writable(),
        reader.isatty(),
        reader.closed,
    )
    assert "rb" == reader.mode
    assert not hasattr(reader, "name"), "a URL-like name would be opened by others themselves"


def test_a_random_course_gives_what_a_file_gives(reader: SyncReader, file: io.BytesIO) -> None:
    chance = random.Random(5)
    for _ in range(400):
        size = chance.choice([0, 1, 7, 100, 5000, 20000])
        match chance.randrange(7):
            case 0:
                assert file.read(size) == reader.read(size)
            case 1:
                mine, theirs = bytearray(size), bytearray(size)
                assert file.readinto(mine) == reader.readinto(theirs)
                assert mine == theirs
            case 2:
                assert file.readline() == reader.readline()
            case 3:
                assert file.readline(size) == reader.readline(size)
            case 4:
                target = chance.randrange(0, SIZE + 100)
                assert file.seek(target) == reader.seek(target)
            case 5:
                step = chance.randrange(-100, 100)
                target = max(step, -file.tell())
                assert file.seek(target, io.SEEK_CUR) == reader.seek(target, io.SEEK_CUR)
            case 6:
                back = -chance.randrange(0, SIZE)
                assert file.seek(back, io.SEEK_END) == reader.seek(back, io.SEEK_END)
        assert file.tell() == reader.tell()


@pytest.mark.parametrize("position", [0, 1, SIZE - 1, SIZE, SIZE + 1, 10 * SIZE, 2**62])
def test_seek_goes_anywhere_from_the_start(reader: SyncReader, position: int) -> None:
    assert position == reader.seek(position) == reader.tell()
    assert CONTENT[position : position + 10] == reader.read(10)


@pytest.mark.parametrize(("offset", "whence"), [(-1, 0), (-6, 1), (-SIZE - 1, 2), (2**62 + 1, 0), (2**62, 1)])
def test_a_seek_to_no_position_is_refused_and_moves_nothing(reader: SyncReader, offset: int, whence: int) -> None:
    reader.seek(5)
    with pytest.raises(InvalidSeek) as caught:
        reader.seek(offset, whence)
    assert isinstance(caught.value, ValueError)
    assert 5 == reader.tell()


def test_a_seek_by_what_is_no_integer_is_refused(reader: SyncReader) -> None:
    for wrong in (1.5, "1", None):
        with pytest.raises(TypeError):
            reader.seek(wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="whence=3"):
        reader.seek(0, 3)
    with pytest.raises(OverflowError):
        reader.seek(2**70)


@pytest.mark.parametrize("size", [None, -1, -100])
def test_read_without_a_size_gives_the_rest(reader: SyncReader, size: int | None) -> None:
    reader.seek(100)
    assert CONTENT[100:] == reader.read(size)  # type: ignore[arg-type]
    assert b"" == reader.read(size)  # type: ignore[arg-type]
    assert b"" == reader.readall()


def test_past_the_end_there_is_nothing(reader: SyncReader) -> None:
    reader.seek(SIZE + 1000)
    assert (b"", b"", b"", 0, b"") == (
        reader.read(1),
        reader.read1(1),
        reader.readline(),
        reader.readinto(bytearray(4)),
        reader.readall(),
    )
    assert SIZE + 1000 == reader.tell()


def test_readinto_takes_any_writable_buffer(reader: SyncReader) -> None:
    import array

    numbers = array.array("h", bytes(20))
    assert 20 == reader.readinto(numbers)
    assert CONTENT[:20] == numbers.tobytes()
    view = memoryview(bytearray(10))
    assert 4 == reader.readinto(view[3:7])
    assert CONTENT[20:24] == view[3:7]
    assert 0 == reader.readinto(bytearray())


@pytest.mark.parametrize("wrong", [b"bytes", "text", 5, None, memoryview(bytearray(10))[::2]])
def test_readinto_refuses_what_cannot_be_written(reader: SyncReader, wrong: object) -> None:
    with pytest.raises(TypeError):
        reader.readinto(wrong)  # type: ignore[arg-type]
    assert 0 == reader.tell()


def test_it_iterates_by_lines(reader: SyncReader, file: io.BytesIO) -> None:
    assert list(file) == list(reader)
    reader.seek(0)
    file.seek(0)
    assert file.readlines(500) == reader.readlines(500)
    assert file.readlines() == reader.readlines()


def test_lines_longer_than_a_piece_stay_whole(kind: str) -> None:
    content = b"x" * 20000 + b"\n" + b"y" * 9000
    with SyncReader(filled(kind, content).store) as reader:
        assert [b"x" * 20000 + b"\n", b"y" * 9000] == list(reader)


def test_read1_gives_what_is_here(pending: tuple[Feed, SyncReader]) -> None:
    feed, reader = pending
    feed.write(CONTENT[:100])
    assert CONTENT[:60] == reader.read1(60)
    assert CONTENT[60:100] == reader.read1(60)
    background = Background(lambda: reader.read1(60))
    feed.write(CONTENT[100:110])
    assert CONTENT[100:110] == background.result()
    feed.write(CONTENT[110:])
    feed.end()
    into = bytearray(30)
    assert 30 == reader.readinto1(into)
    assert CONTENT[110:140] == into


def test_read_waits_rather_than_report_a_false_end(pending: tuple[Feed, SyncReader]) -> None:
    feed, reader = pending
    background = Background(lambda: reader.read(5000))
    for start in range(0, 4999, 617):
        feed.write(CONTENT[start : min(start + 617, 4999)])
        assert not background.done
    feed.write(CONTENT[4999:5000])
    assert CONTENT[:5000] == background.result()
    assert 5000 == reader.tell()


def test_readinto_is_short_only_at_the_end(pending: tuple[Feed, SyncReader]) -> None:
    feed, reader = pending
    reader.seek(SIZE - 10)
    into = bytearray(100)
    background = Background(lambda: reader.readinto(into))
    feed.write(CONTENT[: SIZE - 1])
    assert not background.done
    feed.write(CONTENT[SIZE - 1 :])
    assert 10 == background.result()


def test_nothing_asked_is_answered_at_once(pending: tuple[Feed, SyncReader]) -> None:
    _, reader = pending
    assert (b"", 0) == (reader.read(0), reader.readinto(bytearray()))


@pytest.mark.parametrize("known", [True, False])
def test_reading_everything_waits_for_the_end(kind: str, known: bool) -> None:
    feed = Feed(kind, SIZE if known else None, SIZE)
    with SyncReader(feed.store) as reader:
        background = Background(lambda: reader.read())
        for start in range(0, SIZE, 1000):
            feed.write(CONTENT[start : start + 1000])
        feed.end()
        assert CONTENT == background.result()


def test_a_failure_raises_and_leaves_the_position(pending: tuple[Feed, SyncReader]) -> None:
    feed, reader = pending
    feed.write(CONTENT[:300])
    feed.fail(HttpStatus(status=410))
    for action in (lambda: reader.read(400), reader.readall, lambda: reader.readinto(bytearray(400))):
        with pytest.raises(HttpStatus):
            action()
        assert 0 == reader.tell()
    assert CONTENT[:300] == reader.read1(400)
    assert 300 == reader.tell()


def test_a_failure_while_reading_to_an_unknown_end_leaves_the_position(kind: str) -> None:
    feed = Feed(kind, None, SIZE)
    with SyncReader(feed.store) as reader:
        reader.seek(10)
        feed.write(CONTENT[:900])
        background = Background(reader.readall)
        feed.fail(HttpStatus(status=410))
        with pytest.raises(HttpStatus):
            background.result()
        assert 10 == reader.tell()


def test_without_a_length_there_is_no_seeking_from_the_end(kind: str) -> None:
    feed = Feed(kind, None, SIZE)
    with SyncReader(feed.store) as reader:
        assert (None, False) == (reader.length, reader.seekable())
        with pytest.raises(UnknownLength) as caught:
            reader.seek(-1, io.SEEK_END)
        assert isinstance(caught.value, io.UnsupportedOperation)
        feed.write(CONTENT)
        feed.end()
        assert SIZE - 1 == reader.seek(-1, io.SEEK_END)
        assert CONTENT[-1:] == reader.read()


def test_non_blocking_nothing_here_is_none_and_the_end_is_empty(hasty: tuple[Feed, SyncReader]) -> None:
    feed, reader = hasty
    for action in (
        lambda: reader.read(5),
        lambda: reader.readinto(bytearray(5)),
        reader.readline,
        reader.readall,
        lambda: reader.read1(5),
    ):
        assert action() is None
    assert (b"", 0) == (reader.read(0), reader.readinto(bytearray()))
    feed.write(CONTENT[:3])
    reader.wait_range(0, 3, 5)
    assert CONTENT[:3] == reader.read(5)
    assert reader.read(5) is None
    feed.write(CONTENT[3:])
    feed.end()
    reader.wait_range(3, SIZE, 5)
    got = b""
    while piece := reader.read(4096):
        got += piece
    assert CONTENT[3:] == got
    assert (b"", 0) == (reader.read(5), reader.readinto(bytearray(5)))


def test_a_seek_from_another_thread_moves_a_waiting_read(pending: tuple[Feed, SyncReader]) -> None:
    feed, reader = pending
    feed.write(CONTENT[:1000])
    reader.seek(2000)
    background = Background(lambda: reader.read(10))
    assert not background.done
    reader.seek(500)
    assert CONTENT[500:510] == background.result()
    assert 510 == reader.tell()


def test_interrupt_is_a_level(pending: tuple[Feed, SyncReader]) -> None:
    _, reader = pending
    background = Background(lambda: reader.read(1))
    reader.interrupt()
    with pytest.raises(Interrupted):
        background.result()
    with pytest.raises(Interrupted):
        reader.read(1)  # also one that begins later
    epoch = reader.epoch
    reader.seek(0)
    assert reader.epoch > epoch
    reader.interrupt(reader.epoch)  # only older ones
    again = Background(lambda: reader.read(1))
    assert not again.done
    reader.close()
    with pytest.raises(Closed):
        again.result()


def test_closing_is_final_and_may_be_repeated(reader: SyncReader) -> None:
    closed: list[str] = []
    reader.on_close(lambda: closed.append("first given"))
    reader.on_close(lambda: closed.append("last given"))
    reader.close()
    reader.close()
    assert ["last given", "first given"] == closed
    assert reader.closed
    for use in USES:
        with pytest.raises(ValueError, match="closed"):
            use(reader)
    with pytest.raises(Closed):
        reader.__enter__()


def test_an_error_of_one_who_waits_for_the_close_spares_the_others(reader: SyncReader) -> None:
    called: list[int] = []

    def broken() -> None:
        raise LookupError

    reader.on_close(lambda: called.append(1))
    reader.on_close(broken)
    with pytest.raises(LookupError):
        reader.close()
    assert [1] == called
    assert reader.closed


USES: list[Callable[[SyncReader], object]] = [
    lambda reader: reader.read(1),
    lambda reader: reader.read(0),
    lambda reader: reader.read1(1),
    lambda reader: reader.readall(),
    lambda reader: reader.readline(),
    lambda reader: reader.readinto(bytearray(1)),
    lambda reader: reader.seek(0),
    lambda reader: reader.tell(),
    lambda reader: reader.flush(),
    lambda reader: reader.readable(),
    lambda reader: reader.seekable(),
    lambda reader: reader.writable(),
    lambda reader: reader.isatty(),
    lambda reader: iter(reader),
    lambda reader: reader.wait_range(0, 1),
]


def test_what_a_raw_file_may_lack_is_unsupported(reader: SyncReader) -> None:
    for action in (
        reader.fileno,
        reader.detach,
        reader.truncate,
        lambda: reader.write(b"x"),
        lambda: reader.writelines([b"x"]),
    ):
        with pytest.raises(io.UnsupportedOperation):
            action()


def test_leaving_the_block_closes_it(kind: str) -> None:
    with SyncReader(filled(kind, CONTENT).store) as reader:
        pass
    assert reader.closed


def test_a_weak_reference_to_it_is_possible(kind: str) -> None:
    with SyncReader(filled(kind, CONTENT).store) as reader:
        known = weakref.ref(reader)
        assert reader is known()
    del reader
    gc.collect()
    assert known() is None


def test_a_forgotten_reader_warns(kind: str) -> None:
    store = filled(kind, CONTENT).store
    with pytest.warns(ResourceWarning, match="unclosed reader"):
        SyncReader(store)
    assert [] == store.cursors


def test_buffered_and_text_layers_stand_on_it(kind: str) -> None:
    text = "".join(f"line {number} über\n" for number in range(500))
    with SyncReader(filled(kind, text.encode()).store) as raw:
        layered = io.TextIOWrapper(io.BufferedReader(raw, 64), encoding="utf-8")
        assert text.splitlines(keepends=True) == list(layered)
        layered.detach().detach()


def test_archives_are_read_through_it(kind: str) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a", CONTENT)
    with SyncReader(filled(kind, packed.getvalue()).store) as reader, zipfile.ZipFile(reader) as archive:
        assert CONTENT == archive.read("a")
    taped = io.BytesIO()
    with tarfile.open(fileobj=taped, mode="w:gz") as tape:
        member = tarfile.TarInfo("a")
        member.size = SIZE
        tape.addfile(member, io.BytesIO(CONTENT))
    with SyncReader(filled(kind, taped.getvalue()).store) as reader, tarfile.open(fileobj=reader) as tape:
        extracted = tape.extractfile("a")
        assert extracted is not None
        assert CONTENT == extracted.read()


def test_reads_of_several_threads_share_the_bytes_out(pending: tuple[Feed, SyncReader]) -> None:
    feed, reader = pending

    def pieces() -> list[bytes]:
        found: list[bytes] = []
        while piece := reader.read(90):
            found.append(piece)
        return found

    threads = [Background(pieces) for _ in range(4)]
    for start in range(0, SIZE, 250):
        feed.write(CONTENT[start : start + 250])
    feed.end()
    found = [piece for thread in threads for piece in thread.result(20)]  # type: ignore[attr-defined]
    expected = [CONTENT[start : start + 90] for start in range(0, SIZE, 90)]
    assert sorted(expected) == sorted(found)


def test_a_small_read_beside_a_waiting_one_lets_the_producer_go_on(pending: tuple[Feed, SyncReader]) -> None:
    """The turn of reading is never waited for with the GIL in hand: the producer could not bring the bytes."""
    feed, reader = pending
    first = Background(lambda: reader.read(10))
    second = Background(lambda: reader.read(10))
    feed.write(CONTENT[:20])
    assert {CONTENT[:10], CONTENT[10:20]} == {first.result(), second.result()}


def test_always_releasing_the_gil_reads_the_same(kind: str) -> None:
    with SyncReader(filled(kind, CONTENT).store, release_gil="always") as reader:
        assert CONTENT[:10] == reader.read(10)
    with warnings.catch_warnings():
        with pytest.raises(ValueError, match="release_gil"):
            SyncReader(filled(kind, CONTENT).store, release_gil="never")  # type: ignore[arg-type]
