"""Statuses, retries, whole small bodies and content codings: docs/http.md H37 to H41, H58 to H60, H64."""

from __future__ import annotations

import asyncio
import gzip
import time

import pytest
from support.faultserver import Faults, FaultServer, chunk, finish, head, last_chunk, redirect, send, stall
from support.fetching import QUICK, fetch, fetch_until_error

from kithara.errors import (
    BodyTruncated,
    ContentEncodingRejected,
    HttpStatus,
    NetError,
    NetTimeout,
    PolicyDenied,
    ProtocolViolation,
    RetryExhausted,
    TooLarge,
)
from kithara.net import Backoff, HttpClient, HttpOptions

ONCE = HttpOptions(headers=0.3, idle=0.3, retries=0)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the client's retries would have waited; they do not."""
    seen: list[float] = []
    sleep = asyncio.sleep

    async def recorded(seconds: float) -> None:
        seen.append(seconds)
        await sleep(0)

    monkeypatch.setattr("kithara.net.client.asyncio.sleep", recorded)
    return seen


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 451])
async def test_a_refusal_is_final(server: FaultServer, status: int) -> None:  # H40
    server.on("/", head(status, length=0))
    async with HttpClient(QUICK) as client:
        with pytest.raises(HttpStatus) as caught:
            await client.get(server.url())
    assert (caught.value.status, caught.value.retryable, caught.value.attempt) == (status, False, 1)
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_a_passing_failure_is_tried_again_until_retries_are_spent(server, waits, status: int) -> None:  # H39, H41
    server.on("/", head(status, length=0))
    async with HttpClient(QUICK) as client:
        with pytest.raises(RetryExhausted) as caught:
            await client.get(server.url())
    assert isinstance(caught.value.__cause__, HttpStatus)
    assert (caught.value.__cause__.status, caught.value.attempt, len(server.requests)) == (status, 3, 3)
    assert len(waits) == 2


async def test_a_failure_that_passes_is_forgotten(server: FaultServer, waits) -> None:  # H41
    server.on("/", head(500, length=0))
    server.on("/", finish())
    server.on("/", head(length=4), send(b"good"))
    async with HttpClient(QUICK) as client:
        assert (await client.get(server.url())).body == b"good"


async def test_a_body_cut_short_is_fetched_again_whole(server: FaultServer, waits) -> None:
    server.on("/", head(length=4), send(b"go"), finish())
    server.on("/", head(length=4), send(b"good"))
    async with HttpClient(QUICK) as client:
        assert (await client.get(server.url())).body == b"good"


async def test_retry_after_in_seconds_is_waited_for(server: FaultServer, waits) -> None:  # H37
    server.on("/", head(503, {"Retry-After": "7"}, length=0))
    server.on("/", head(length=4), send(b"good"))
    async with HttpClient(QUICK) as client:
        await client.get(server.url())
    assert waits == [7.0]


async def test_retry_after_as_a_date_counts_from_the_servers_own_clock(server: FaultServer, waits) -> None:  # H37
    told = {"Date": "Sat, 21 Nov 2020 10:00:00 GMT", "Retry-After": "Sat, 21 Nov 2020 10:00:09 GMT"}
    server.on("/", head(503, told, length=0))
    server.on("/", head(length=4), send(b"good"))
    async with HttpClient(QUICK) as client:
        await client.get(server.url())
    assert waits == [9.0]


@pytest.mark.parametrize(
    ("told", "least", "most"),
    [
        ("999999999999999999999", 60, 60),
        ("Sat, 21 Nov 2120 10:00:00 GMT", 60, 60),
        ("-5", 0.1, 0.5),
        ("soon", 0.1, 0.5),
        ("", 0.1, 0.5),
        ("1.5", 0.1, 0.5),
        ("Sat, 21 Nov 2020 10:00:00 GMT", 0.1, 0.5),
        ("Sat, 99 Nov 2020 10:00:00 GMT", 0.1, 0.5),
    ],
)
async def test_retry_after_is_capped_and_garbage_ignored(server: FaultServer, waits, told, least, most) -> None:  # H38
    server.on("/", head(503, {"Retry-After": told}, length=0))
    server.on("/", head(length=4), send(b"good"))
    async with HttpClient(QUICK) as client:
        await client.get(server.url())
    [waited] = waits
    assert least <= waited <= most


async def test_cancelling_a_wait_for_retry_after_returns_at_once(server: FaultServer, liveness) -> None:  # H37
    server.on("/", head(503, {"Retry-After": "50"}, length=0))
    async with HttpClient(QUICK) as client:
        task = asyncio.create_task(client.get(server.url()))
        assert await server.sees(lambda: server.requests)
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - began < liveness(0.5)


async def test_a_wait_that_would_pass_the_total_limit_is_not_begun(server: FaultServer, liveness) -> None:
    server.on("/", head(503, {"Retry-After": "50"}, length=0))
    async with HttpClient(HttpOptions(total=5)) as client:
        with pytest.raises(RetryExhausted):
            await client.get(server.url())
    assert len(server.requests) == 1


async def test_a_status_of_a_stream_is_raised_with_what_retrying_needs(server: FaultServer) -> None:  # H37
    server.on("/", head(503, {"Retry-After": "3"}, length=0))
    async with HttpClient(QUICK) as client:
        _, error = await fetch_until_error(client, server.url(), 0, 10)
    assert isinstance(error, HttpStatus)
    assert (error.status, error.retry_after, error.retryable) == (503, 3.0, True)


async def test_a_flaky_server_gives_the_whole_file_in_few_requests(server: FaultServer) -> None:  # H64
    data = bytes(range(256)) * 4096
    server.serve("/", data, faults=Faults(p=0.3, seed=11))
    backoff = Backoff(6)
    held, got = None, bytearray()
    async with HttpClient(QUICK) as client:
        while len(got) < len(data):
            before = len(got)
            try:
                stop = min(len(got) + 64 * 1024, len(data))
                async with client.stream(server.url(), len(got), stop, representation=held) as body:
                    held = body.representation
                    async for piece in body:
                        got += piece
            except NetError as error:
                if backoff.next(error) is None:
                    raise
            backoff.reset(len(got) - before)
    assert bytes(got) == data
    assert len(server.requests) <= 3 * 16


# ── whole small bodies ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_document_tells_where_it_came_from(server: FaultServer) -> None:
    server.on("/a", redirect("/dir/b?x"))
    server.on("/dir/b", head(headers={"Content-Type": "text/plain"}, length=4, etag='"t"'), send(b"text"))
    async with HttpClient(QUICK) as client:
        document = await client.get(server.url("/a"))
    assert (document.body, document.status, document.url) == (b"text", 200, server.url("/dir/b?x"))
    assert (document.representation.etag, document.headers["content-TYPE"]) == ('"t"', "text/plain")


async def test_a_document_may_be_empty(server: FaultServer) -> None:
    server.on("/", head(length=0))
    async with HttpClient(QUICK) as client:
        assert (await client.get(server.url())).body == b""


async def test_a_condition_that_holds_answers_304(server: FaultServer) -> None:
    server.serve("/", b"0123456789", etag='"v1"')
    async with HttpClient(QUICK) as client:
        same = await client.get(server.url(), if_none_match='"v1"')
        other = await client.get(server.url(), if_none_match='"v0"', if_modified_since="Sat, 21 Nov 2020 10:00:00 GMT")
    assert (same.status, same.body) == (304, b"")
    assert (other.status, other.body) == (200, b"0123456789")
    assert server.requests[1].header("if-modified-since") == "Sat, 21 Nov 2020 10:00:00 GMT"


async def test_a_condition_cannot_forge_a_header(server: FaultServer) -> None:
    async with HttpClient(QUICK) as client:
        with pytest.raises(PolicyDenied):
            await client.get(server.url(), if_none_match='"v1"\r\nX-Evil: 1')
    assert server.accepted == 0


@pytest.mark.parametrize("status", [204, 206, 304])
async def test_a_document_that_nobody_asked_for_is_refused(server: FaultServer, status: int) -> None:
    server.on("/", head(status, {"Content-Range": "bytes 0-3/4"} if status == 206 else None))
    async with HttpClient(QUICK) as client:
        with pytest.raises(ProtocolViolation):
            await client.get(server.url())


@pytest.mark.parametrize(
    "steps",
    [[head(length=101), stall()], [head(chunked=True), chunk(bytes(101)), last_chunk()]],
    ids=["told", "untold"],
)
async def test_a_document_over_the_limit_is_refused(server: FaultServer, steps) -> None:
    server.on("/", *steps)
    async with HttpClient(QUICK) as client:
        with pytest.raises(TooLarge):
            await client.get(server.url(), limit=100)
    assert len(server.requests) == 1


async def test_a_document_of_exactly_the_limit_is_given(server: FaultServer) -> None:
    server.on("/", head(length=100), send(bytes(100)))
    async with HttpClient(QUICK) as client:
        assert len((await client.get(server.url(), limit=100)).body) == 100


async def test_a_server_that_never_answers_exhausts_the_retries(server: FaultServer, waits) -> None:  # H43
    server.on("/", stall())
    async with HttpClient(QUICK) as client:
        with pytest.raises(RetryExhausted) as caught:
            await client.get(server.url())
    assert isinstance(caught.value.__cause__, NetTimeout)
    assert len(server.requests) == 3


# ── codings ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "x-unknown", "identity, gzip"])
@pytest.mark.parametrize("partial", [True, False])
async def test_an_encoded_body_is_refused_unread(server: FaultServer, coding: str, partial: bool) -> None:  # H58, H60
    headers = {"Content-Encoding": coding}
    server.on("/", head(206, headers, range=(0, 5, 10)) if partial else head(200, headers, length=5), stall())
    async with HttpClient(QUICK) as client:
        data, error = await fetch_until_error(client, server.url(), 0, 5)
    assert (data, type(error)) == (b"", ContentEncodingRejected)


async def test_the_coding_identity_is_none(server: FaultServer) -> None:
    server.on("/", head(headers={"Content-Encoding": "Identity"}, length=4), send(b"good"))
    async with HttpClient(QUICK) as client:
        assert await fetch(client, server.url()) == b"good"


async def test_a_document_may_be_compressed_where_that_was_allowed(server: FaultServer) -> None:
    packed = gzip.compress(b"#EXTM3U\n" * 1000)
    server.on("/", head(headers={"Content-Encoding": "gzip"}, length=len(packed)), send(packed))
    async with HttpClient(QUICK) as client:
        assert (await client.get(server.url(), accept_gzip=True)).body == b"#EXTM3U\n" * 1000
        with pytest.raises(ContentEncodingRejected):
            await client.get(server.url())
    assert [request.header("accept-encoding") for request in server.requests] == ["gzip", "identity"]


async def test_a_bomb_bursts_at_the_decoded_limit(server: FaultServer) -> None:  # H59
    bomb = gzip.compress(bytes(50 << 20))
    server.on("/", head(headers={"Content-Encoding": "gzip"}, length=len(bomb)), send(bomb))
    async with HttpClient(QUICK) as client:
        with pytest.raises(TooLarge):
            await client.get(server.url(), accept_gzip=True, limit=1 << 20)


@pytest.mark.parametrize("cut", [1, 8, 20])
async def test_a_compressed_document_that_is_cut_is_not_taken_for_whole(server: FaultServer, waits, cut: int) -> None:
    # H60
    packed = gzip.compress(b"#EXTM3U\n" * 10)[:-cut]
    server.on("/", head(headers={"Content-Encoding": "gzip"}, length=len(packed)), send(packed))
    async with HttpClient(ONCE) as client:
        with pytest.raises(RetryExhausted) as caught:
            await client.get(server.url(), accept_gzip=True)
    assert isinstance(caught.value.__cause__, BodyTruncated)


LIES = [b"#EXTM3U\n", gzip.compress(b"#EXTM3U\n", mtime=0)[:-5] + b"wrong", b"\x1f\x8b\x08"]


@pytest.mark.parametrize("lie", LIES, ids=["not compressed", "wrong check", "a head alone"])
async def test_a_body_that_is_not_what_its_coding_says_is_refused(server: FaultServer, lie: bytes) -> None:  # H60
    server.on("/", head(headers={"Content-Encoding": "gzip"}, length=len(lie)), send(lie))
    async with HttpClient(ONCE) as client:
        with pytest.raises((ContentEncodingRejected, RetryExhausted)):
            await client.get(server.url(), accept_gzip=True)


async def test_bytes_behind_a_compressed_document_are_refused(server: FaultServer) -> None:  # H60
    packed = gzip.compress(b"#EXTM3U\n") + b"more"
    server.on("/", head(headers={"Content-Encoding": "gzip"}, length=len(packed)), send(packed))
    async with HttpClient(QUICK) as client:
        with pytest.raises(ContentEncodingRejected):
            await client.get(server.url(), accept_gzip=True)
