"""Files from servers that misbehave: what a reader of `kithara.open` sees, and what the cache keeps."""

from __future__ import annotations

import io
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.faultserver import (
    Citizen,
    Exchange,
    Faults,
    FaultServer,
    Step,
    chunk,
    finish,
    flood,
    head,
    last_chunk,
    raw,
    redirect,
    reset,
    send,
    stall,
    trickle,
)
from support.oracles import QUICK, SECRET, Case, expect_bytes, private_memory, watched
from support.waiting import Background

import kithara
from kithara import AssetStore, HttpOptions
from kithara.errors import (
    BodyTruncated,
    ConnectFailed,
    ContentEncodingRejected,
    HttpStatus,
    KitharaError,
    NetTimeout,
    ProtocolViolation,
    RangeMismatch,
    RedirectRejected,
    RepresentationChanged,
    RetryExhausted,
    TooLarge,
    UnknownLength,
)

DATA = random.Random(1).randbytes(300_000)
GOOD = Citizen(DATA)
QUICK_BUT_PATIENT = HttpOptions(idle=20, retries=0)


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    with Case.on_a_server(tmp_path, DATA) as case:
        yield case


# ── ways to misbehave: each a step that answers one request ────────────────────────────────────────────────────────


def interval(exchange: Exchange) -> tuple[int, int]:
    """The range asked for, clipped to what there is."""
    start, stop = exchange.request.range or (0, None)
    return start, len(DATA) if stop is None else min(stop, len(DATA))


def do(exchange: Exchange, *steps: Step) -> None:
    for step in steps:
        step(exchange)


def part(
    exchange: Exchange, *end: Step, shift: int = 0, grow: int = 0, total: object = len(DATA), share: float = 1.0, **told
) -> None:
    """A 206 with its interval shifted or grown, of which a share is sent before *end*."""
    start, stop = interval(exchange)
    start, stop = start + shift, stop + shift + grow
    body = DATA[start:stop] + bytes(max(0, stop - start - len(DATA[start:stop])))
    do(exchange, head(206, range=(start, stop, total), **told), send(body[: int(len(body) * share)]), *end)


def cut(*end: Step, share: float = 0.5) -> Step:
    return lambda exchange: part(exchange, *end, share=share)


def in_chunks(*end: Step) -> Step:
    def step(exchange: Exchange) -> None:
        start, stop = interval(exchange)
        half = (start + stop) // 2
        do(exchange, head(206, range=(start, stop, len(DATA)), chunked=True), chunk(DATA[start:half]), *end)

    return step


def begun_chunk(exchange: Exchange) -> None:
    start, stop = interval(exchange)
    half = (start + stop) // 2
    do(exchange, raw(b"%x\r\n" % (stop - half)), send(DATA[half : half + 3]))


def shorter(exchange: Exchange) -> None:
    start, stop = interval(exchange)
    stop = start + max(1, (stop - start) // 3)
    do(exchange, head(206, range=(start, stop, len(DATA)), etag='"v1"'), send(DATA[start:stop]))


def whole(**told) -> Step:
    return lambda exchange: do(exchange, head(200, length=len(DATA), **told), send(DATA))


def extra(exchange: Exchange) -> None:
    part(exchange, raw(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"))


def multipart(exchange: Exchange) -> None:
    kind = {"Content-Type": "multipart/byteranges; boundary=b"}
    do(exchange, head(206, kind, length=100), send(b"--b\r\nContent-Range: bytes 0-9/10\r\n\r\n".ljust(100, b"x")))


@dataclass(frozen=True)
class Row:
    """One way in which a server misbehaves, and what comes of it.

    Attributes:
        broken: Answers in turn; after them the server is good, or goes on with the last one if *forever*.
        outcome: The type of the error beneath, or None when the whole arrives.
        kept: What the cache may hold after an error.
    """

    broken: tuple[Step, ...]
    outcome: type[BaseException] | None = None
    forever: bool = False
    kept: tuple[str, ...] = ("nothing",)


NOTHING_OR_PART = ("nothing", "part")
ROWS = {
    # bodies that end wrongly
    "H1 short body, once": Row((cut(finish()),)),
    "H1 short body, always": Row((cut(finish()),), BodyTruncated, forever=True, kept=NOTHING_OR_PART),
    "H1 no byte of the body, always": Row((cut(finish(), share=0),), BodyTruncated, forever=True),
    "H2 reset, once": Row((cut(reset()),)),
    "H2 reset, always": Row((cut(reset()),), BodyTruncated, forever=True, kept=("part",)),
    "H3 reset in a chunk": Row((in_chunks(begun_chunk, reset()),)),
    "H4 no last chunk": Row((in_chunks(finish()),)),
    "H5 malformed chunk size": Row((in_chunks(raw(b"xyz\r\nabc\r\n"), stall()),), ProtocolViolation),
    "H6 overflowing chunk size": Row((in_chunks(raw(b"FFFFFFFFFFFFFFFFFF\r\n"), stall()),), ProtocolViolation),
    "H8 bytes behind the body": Row((extra, extra)),
    "H9 two lengths": Row(
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n"),), ProtocolViolation
    ),
    "H10 length and chunks": Row(
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"),), ProtocolViolation
    ),
    "H11 no length": Row((raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1e3\r\n\r\n"),), ProtocolViolation),
    "H12 a tebibyte": Row((head(length=1 << 40),), TooLarge),
    "H12 a tebibyte in the range": Row((lambda x: part(x, total=1 << 40),), TooLarge),
    "H16 no body": Row((head(length=0),), ProtocolViolation),
    "H16 no body, chunked": Row((lambda x: do(x, head(chunked=True), last_chunk()),), ProtocolViolation),
    "H16 status 204": Row((head(204),), ProtocolViolation),
    "H16 status 304": Row((head(304),), ProtocolViolation),
    # answers to ranges
    "H19 another interval": Row((lambda x: part(x, shift=5),) * 2, RangeMismatch),
    "H19 another interval, once": Row((lambda x: part(x, shift=5),)),
    "H21 a part without its range": Row((lambda x: do(x, head(206, length=10), send(bytes(10))),) * 2, RangeMismatch),
    "H22 total unknown at first": Row((lambda x: part(x, total="*"),) * 2, RangeMismatch),
    "H22 total unknown later": Row((GOOD, lambda x: part(x, total="*"))),
    "H23 another total later": Row((GOOD, lambda x: part(x, total=len(DATA) + 1)), RepresentationChanged, forever=True),
    "H24 shorter parts": Row((shorter,), forever=True),
    "H25 longer part": Row((lambda x: part(x, grow=100),)),
    "H25 earlier part": Row((GOOD, *(lambda x: part(x, shift=-10),) * 2), RangeMismatch),
    "H26 several parts": Row((multipart,), ProtocolViolation),
    "H27 416 to every range": Row((lambda x: (head(416, length=0) if x.request.range else whole())(x),), forever=True),
    "H27 416 to everything": Row((head(416, length=0),), HttpStatus, forever=True),
    "H28 a whole that claims a range": Row(
        (lambda x: do(x, head(200, {"Content-Range": "bytes 0-9/10"}, length=10), send(bytes(10))),), ProtocolViolation
    ),
    "H30 another tag later": Row((GOOD, Citizen(DATA[::-1], etag='"v2"')), RepresentationChanged, forever=True),
    "H31 If-Range ignored": Row((GOOD, lambda x: part(x, etag='"v2"')), RepresentationChanged, forever=True),
    # statuses
    "H40 401": Row((head(401, length=0),), HttpStatus),
    "H40 404": Row((head(404, length=0),), HttpStatus),
    "H40 404 later": Row((GOOD, head(404, length=0)), HttpStatus),
    "H40 403 later": Row((GOOD, head(403, length=0)), HttpStatus, kept=NOTHING_OR_PART),
    "H41 500 later, once": Row((GOOD, head(500, length=0))),
    "H39 429 for ever": Row((head(429, length=0),), HttpStatus, forever=True),
    "H39 503 later, for ever": Row((GOOD, head(503, length=0)), HttpStatus, forever=True, kept=NOTHING_OR_PART),
    # silence
    "H43 no answer, once": Row((stall(),)),
    "H43 no answer, ever": Row((stall(),), NetTimeout, forever=True),
    "H44 slow headers": Row(
        (lambda x: trickle(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 500, 0.02)(x),), NetTimeout, forever=True
    ),
    "H46 stall within the body, once": Row((cut(stall()),)),
    "H46 stall before the body, ever": Row((cut(stall(), share=0),), NetTimeout, forever=True),
    "H42 closed without an answer": Row((finish(),), ConnectFailed, forever=True),
    "H42 reset without an answer, once": Row((reset(),)),
    # heads
    "H47 endless headers": Row(
        (lambda x: do(x, raw(b"HTTP/1.1 200 OK\r\n"), flood(b"X: y\r\n" * 100)),), ProtocolViolation
    ),
    "H48 no HTTP": Row((raw(b"<html>HTTP/0.9</html>"),), ProtocolViolation),
    "H49 informational flood": Row((flood(b"HTTP/1.1 100 Continue\r\n\r\n" * 100, 100),), ProtocolViolation),
    "H50 stale connection": Row((GOOD, finish())),
    # redirects and codings
    "H52 loop": Row((redirect("/song"),), RedirectRejected, forever=True),
    "H54 to a file": Row((redirect("file:///etc/passwd"),), RedirectRejected),
    "H56 without location": Row((head(302, length=0),), ProtocolViolation),
    "H58 gzip, whole": Row((whole(headers={"Content-Encoding": "gzip"}),), ContentEncodingRejected),
    "H58 gzip, part": Row((lambda x: part(x, headers={"Content-Encoding": "gzip"}),), ContentEncodingRejected),
    "H62 wrong type": Row((Citizen(DATA, content_type="text/html"),), forever=True),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_whatever_a_server_does_bytes_are_right_and_errors_are_proper(case: Case, row: Row) -> None:
    for answer in row.broken:
        case.server.on(case.path, answer)
    if not row.forever:
        case.server.on(case.path, GOOD)
    with watched(case):
        played = case.play()
        if row.outcome is None:
            assert (played.error, len(played.data)) == (None, len(DATA))
        else:
            assert isinstance(played.cause, row.outcome), repr(played)
            assert case.kept() in row.kept
        case.restart()


# ── rows that need more than reading to the end ────────────────────────────────────────────────────────────────────


def test_an_absurd_length_reserves_no_disk(case: Case) -> None:  # H12
    case.server.on(case.path, head(length=1 << 40), stall())
    assert isinstance(case.play().cause, TooLarge)
    assert case.part_files() == []


@pytest.mark.parametrize("weakness", [{"chunked": True}, {"length": False}], ids=["chunked", "until close"])
def test_without_a_length_the_end_is_unknown_until_it_comes(case: Case, weakness) -> None:  # H13, H14
    held = Exchange.write

    def in_two(exchange: Exchange) -> None:
        def write(data: bytes, **how: bool) -> None:
            if exchange.request.sent > 200_000:
                exchange.server.pass_gate("rest")
            held(exchange, data, **how)

        exchange.write = write  # type: ignore[method-assign]
        Citizen(DATA, ranges=False, **weakness)(exchange)

    case.server.on(case.path, in_two)
    with AssetStore(case.root) as store, kithara.open(case.url, store=store, http=QUICK_BUT_PATIENT) as file:
        assert file.length is None
        with pytest.raises(UnknownLength):
            file.seek(-1, io.SEEK_END)
        assert file.read(1000) == DATA[:1000]
        case.server.open_gate("rest")
        assert file.read() == DATA[1000:]
        assert file.length == len(DATA)
    assert case.kept() == "whole"


def test_a_server_without_ranges_is_asked_once_however_one_seeks(case: Case) -> None:  # H18
    case.server.serve(case.path, DATA, ranges=False)
    with AssetStore(case.root) as store, kithara.open(case.url, store=store, http=QUICK) as file:
        dice = random.Random(3)
        for _ in range(50):
            position = dice.randrange(len(DATA))
            file.seek(position)
            expect_bytes(DATA, position, file.read(100))
    assert len(case.server.requests) == 1


def test_an_infinite_body_stops_at_the_look_ahead_of_a_paused_reader(case: Case) -> None:  # H17
    case.server.on(case.path, head(), flood(bytes(65536)))
    options = kithara.FileOptions(look_ahead=1 << 20)
    with kithara.open(case.url, store=False, options=options, http=QUICK_BUT_PATIENT) as file:
        assert file.read(10) == bytes(10)
        before, memory = -1, private_memory()
        while before != case.server.sent:
            before = case.server.sent
            case.server.wait_until(lambda sent=before: case.server.sent != sent, 0.3)
        assert case.server.sent < 32 << 20  # the look-ahead and what sockets hold
        assert private_memory() - memory < 8 << 20


def test_an_infinite_body_ends_at_the_limit_on_size(case: Case) -> None:  # H17
    case.server.on(case.path, head(), flood(bytes(65536)))
    case.data = bytes(16 << 20)
    http = HttpOptions(idle=0.4, retries=0, max_resource_bytes=4 << 20)
    assert isinstance(case.play(http=http).cause, TooLarge)


def test_a_weak_tag_is_not_resumed_in_another_session(case: Case) -> None:  # H33
    case.server.on(case.path, Citizen(DATA[:150_000] + bytes(150_000), etag='W/"1"'))
    case.server.on(case.path, stall())
    with AssetStore(case.root) as store, kithara.open(case.url, store=store, http=QUICK) as file:
        assert file.read(10_000) == DATA[:10_000]
    case.server.serve(case.path, DATA[::-1], etag='W/"1"')
    case.data = DATA[::-1]
    before = len(case.server.requests)
    assert case.play().data == DATA[::-1]
    assert (case.server.requests[before].range or (0, None))[0] == 0


def test_a_strong_tag_is_resumed_in_another_session_without_a_byte_twice(case: Case) -> None:
    case.server.serve(case.path, DATA, rate=400_000)
    options = kithara.FileOptions(complete=False, look_ahead=1)
    with AssetStore(case.root) as store, kithara.open(case.url, store=store, options=options, http=QUICK) as file:
        assert file.read(100_000) == DATA[:100_000]
        held = file.store.total
    before = case.server.sent
    case.server.serve(case.path, DATA)
    assert case.play().data == DATA
    assert case.server.sent - before <= len(DATA) - held + (64 << 10)


def test_without_validators_parts_of_one_session_are_combined(case: Case) -> None:  # H34
    case.server.serve(case.path, DATA, etag=None, content_type=None)
    assert case.play().data == DATA
    assert {request.header("if-range") for request in case.server.requests} == {None}


def test_retry_after_is_waited_for_and_a_close_meanwhile_is_prompt(case: Case, liveness) -> None:  # H37
    case.server.on(case.path, GOOD)
    case.server.on(case.path, head(503, {"Retry-After": "30"}, length=0))
    with AssetStore(case.root) as store:
        file = kithara.open(case.url, store=store, http=QUICK)
        assert file.read(100) == DATA[:100]
        reading = Background(lambda: file.read())
        assert case.server.wait_until(lambda: len(case.server.requests) >= 2)
        began = time.monotonic()
        file.close()
        assert time.monotonic() - began < liveness(1)
        with pytest.raises(KitharaError):
            reading.result()


@pytest.mark.parametrize("silence", [stall(), trickle(bytes(300_000), 0.02)], ids=["stall", "trickle"])
def test_closing_never_waits_for_the_server(case: Case, liveness, silence) -> None:  # H45
    case.server.on(case.path, head(206, range=(0, 16384, len(DATA))), silence)
    with AssetStore(case.root) as store:
        file = kithara.open(case.url, store=store, http=HttpOptions(idle=60))
        reading = Background(lambda: file.read())
        began = time.monotonic()
        file.close()
        assert time.monotonic() - began < liveness(1)
        with pytest.raises(KitharaError):
            reading.result()


def test_all_readers_get_the_error_once_each_and_what_is_here_stays_readable(case: Case) -> None:  # H39
    case.server.on(case.path, GOOD)
    case.server.on(case.path, head(429, length=0))
    with AssetStore(case.root) as store:
        files = [kithara.open(case.url, store=store, http=QUICK) for _ in range(3)]
        try:
            errors = []
            for file in files:
                with pytest.raises(RetryExhausted) as caught:
                    file.read()
                errors.append(caught.value)
                file.seek(0)
                assert file.read(100) == DATA[:100]
            assert len({id(error) for error in errors}) == 3
        finally:
            for file in files:
                file.close()
    assert len(case.server.requests) <= 4


def test_a_whole_in_the_cache_plays_when_the_server_is_gone(case: Case) -> None:  # H42
    case.server.serve(case.path, DATA)
    assert case.play().error is None
    case.server.close()
    played = case.play()
    assert (played.error, played.data) == (None, DATA)


def test_secrets_of_the_caller_do_not_follow_a_redirect(case: Case) -> None:  # H53
    with FaultServer(host="127.0.0.2") as elsewhere:
        elsewhere.serve("/there", DATA)
        case.server.on(case.path, redirect(elsewhere.url("/there")))
        headers = {"Authorization": f"Bearer {SECRET}", "Cookie": SECRET, "X-Key": SECRET}
        assert case.play(headers=headers).data == DATA
        assert all(SECRET in request.raw.decode() for request in case.server.requests)
        assert SECRET not in "".join(request.raw.decode() for request in elsewhere.requests)


def test_targets_that_differ_between_ranges_are_one_resource(case: Case) -> None:  # H57
    for number in range(40):
        case.server.on(case.path, redirect(f"/edge{number}"))
        case.server.serve(f"/edge{number}", DATA)
    assert case.play().data == DATA


@pytest.mark.parametrize("seed", range(3))
def test_a_flaky_server_gives_the_whole_in_few_requests(case: Case, seed: int) -> None:  # H64
    data = random.Random(seed).randbytes(4 << 20)
    case.data = data
    case.server.serve(case.path, data, faults=Faults(p=0.3, seed=seed))
    http = HttpOptions(idle=0.4, headers=0.4, retries=8)
    played = case.play(http=http, within=30, seed=seed)
    assert (played.error, len(played.data)) == (None, len(data))
    requests = len(case.server.requests)
    case.server.serve("/calm", data)
    calm = Case(case.server, case.folder / "calm", data, path="/calm")
    calm.folder.mkdir()
    calm.play()
    least = len(case.server.requests) - requests
    assert requests <= 3 * least + 3


def test_a_server_that_refuses_head_is_never_asked_with_it(case: Case) -> None:  # H65
    case.server.on(case.path, lambda x: (head(405, length=0) if x.request.method == "HEAD" else GOOD)(x))
    assert case.play().data == DATA
    assert {request.method for request in case.server.requests} == {"GET"}


def test_a_thousand_seeks_keep_to_the_connections(case: Case) -> None:  # H66
    data = random.Random(5).randbytes(8 << 20)
    case.server.serve(case.path, data)
    http = HttpOptions(connections=3, idle=5)

    def jump_about() -> None:
        with AssetStore(case.root) as store, kithara.open(case.url, store=store, http=http) as file:
            dice = random.Random(7)
            for _ in range(1000):
                position = dice.randrange(len(data))
                file.seek(position)
                expect_bytes(data, position, file.read(100))

    with watched(case):
        jump_about()
        assert case.server.wait_until(lambda: case.server.open_now() == 0)
    assert case.server.most_open <= 3
