"""A loopback origin on a modelled link, for the demo, the tests and the benches.

::

    with Origin({"song.flac": Path("song.flac")}, rate=1_000_000, delay=0.03) as origin:
        kithara.open(origin.url("song.flac"))
        origin.requests, origin.sent

Real servers throttle in bursts, and a kernel's network emulation needs root: here one token bucket, shared by all
connections, meters every body byte, and what a client no longer wants stops at once.
"""

from __future__ import annotations

import contextlib
import email.utils
import hashlib
import http.client
import random
import re
import select
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import BinaryIO, Self
from urllib.parse import unquote, urlsplit

from .link import Link, send, stays

PIECES = (1, 700)
LINE_LIMIT = 65536
MEDIA_TYPES = {
    ".aac": "audio/aac",
    ".flac": "audio/flac",
    ".m3u8": "application/vnd.apple.mpegurl",
    ".m4a": "audio/mp4",
    ".m4s": "video/iso.segment",
    ".mka": "audio/x-matroska",
    ".mp3": "audio/mpeg",
    ".mp4": "audio/mp4",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".ts": "video/mp2t",
    ".wav": "audio/wav",
    ".webm": "audio/webm",
}
RANGE = re.compile(r"bytes=\s*(?:(\d+)\s*-\s*(\d*)|-\s*(\d+))\s*")

Asked = tuple[int | None, int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What the origin gives for one path.

    Attributes:
        data: The bytes, or the file that holds them.
        media_type: The Content-Type; by the path's suffix when None.
        etag: The entity tag with its quotes, "" for none; None makes one from the bytes, or a file's size and time.
        modified: Seconds since the epoch for Last-Modified, or None for no such header.
        headers: More response headers.
    """

    data: bytes | Path
    media_type: str | None = None
    etag: str | None = None
    modified: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def size(self) -> int:
        return len(self.data) if isinstance(self.data, bytes) else self.data.stat().st_size

    def tag(self) -> str:
        if self.etag is not None:
            return self.etag
        if isinstance(self.data, bytes):
            return f'"{hashlib.sha256(self.data).hexdigest()[:16]}"'
        status = self.data.stat()
        return f'"{status.st_size:x}-{status.st_mtime_ns:x}"'

    def blocks(self, start: int, stop: int, sizes: Iterator[int]) -> Iterator[bytes | memoryview]:
        """The bytes of ``[start, stop)`` in pieces of *sizes*."""
        if isinstance(self.data, bytes):
            view = memoryview(self.data)
            while start < stop:
                size = min(next(sizes), stop - start)
                yield view[start : start + size]
                start += size
            return
        with self.data.open("rb") as file:
            file.seek(start)
            while start < stop and (block := file.read(min(next(sizes), stop - start))):
                yield block
                start += len(block)


@dataclass(slots=True, kw_only=True)
class Request:
    """One request and how its answer goes.

    Attributes:
        range: ``(first, last)`` as asked, both inclusive; ``(first, None)`` to the end, ``(None, n)`` the last n bytes.
        time: `time.monotonic()` when the request was here.
        interval: The ``[start, stop)`` of the body that the answer is about.
        sent: Body bytes the kernel has taken so far.
        ended: `time.monotonic()` when the answer ended, or None before.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    range: Asked | None
    time: float
    status: int = 0
    interval: tuple[int, int] = (0, 0)
    sent: int = 0
    ended: float | None = None

    @property
    def complete(self) -> bool:
        """Whether the whole answer went out."""
        start, stop = self.interval
        return self.status != 0 and (self.method == "HEAD" or self.sent == stop - start)


class Mark:
    """A moment of an origin; `sent` and `requests` count from there on."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._sent = origin.sent
        self._requests = len(origin.requests)

    @property
    def sent(self) -> int:
        """Body bytes sent since."""
        return self._origin.sent - self._sent

    @property
    def requests(self) -> list[Request]:
        """Requests that came since."""
        return self._origin.requests[self._requests :]


class Origin:
    """Serves *bodies* by path over HTTP/1.1 on a loopback port, from threads of its own.

    Answers GET and HEAD with Range (206, 416), If-Range and If-None-Match (304); 404 elsewhere, 405 for other methods.

    Args:
        bodies: What to serve: path, with or without the leading slash → bytes, a file, or a `Body`.
        rate: Bytes a second for all connections together; None for as fast as it goes. May be changed later.
        burst: How many seconds the link may fall behind and then catch up; covers the scheduler's jitter.
        delay: Seconds between a request and the first byte of its answer. May be changed later.
        ranges: False ignores Range and says so. May be changed later.
        pieces: A seed; bodies then leave in pieces of 1 to 700 bytes.

    Owns a listening socket and one thread a connection, from entering the `with` block until it is left.
    """

    def __init__(
        self,
        bodies: Mapping[str, bytes | Path | Body] | None = None,
        *,
        rate: float | None = None,
        burst: float = 0.016,
        delay: float = 0.0,
        ranges: bool = True,
        pieces: int | None = None,
    ) -> None:
        self.link: Link = Link(rate, burst)
        self.delay = delay
        self.ranges = ranges
        self.pieces = pieces
        self.requests: list[Request] = []
        self._bodies: dict[str, Body] = {}
        self._lock = threading.Lock()
        self._sent = 0
        self._port = 0
        self._listener: _Listener | None = None
        for path, body in (bodies or {}).items():
            self.serve(path, body)

    def serve(self, path: str, body: bytes | Path | Body) -> None:
        """Serve *body* at *path* from now on."""
        body = body if isinstance(body, Body) else Body(data=body)
        self._bodies["/" + path.lstrip("/")] = body if body.etag is not None else replace(body, etag=body.tag())

    def url(self, path: str) -> str:
        """Where *path* is served. The port is known once the origin was switched on."""
        return f"http://127.0.0.1:{self._port}/{path.lstrip('/')}"

    @property
    def rate(self) -> float | None:
        return self.link.rate

    @rate.setter
    def rate(self, rate: float | None) -> None:
        self.link.rate = rate

    @property
    def sent(self) -> int:
        """Body bytes sent in all."""
        with self._lock:
            return self._sent

    def mark(self) -> Mark:
        """This moment, to count from."""
        return Mark(self)

    def switch_on(self) -> None:
        """Accept connections, at the same port as before if there was one."""
        if self._listener is None:
            self._listener = _Listener(self, self._port)
            self._port = self._listener.port

    def switch_off(self) -> None:
        """Refuse connections and cut the open ones. Returns when their threads have ended."""
        if self._listener is not None:
            listener, self._listener = self._listener, None
            listener.stop()

    def __enter__(self) -> Self:
        self.switch_on()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.switch_off()

    def talk(self, connection: socket.socket) -> None:
        """Answer the requests of one connection until either side has had enough."""
        with connection.makefile("rb") as lines:
            while (request := _read_request(lines)) is not None:
                with self._lock:
                    self.requests.append(request)
                keep = self._answer(connection, request)
                request.ended = time.monotonic()
                if not keep:
                    return

    def _answer(self, connection: socket.socket, request: Request) -> bool:
        if not stays(connection, request.time + self.delay):
            return False
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.link.send_buffer)  # for the rate of now
        keep = request.headers.get("connection", "").lower() != "close"
        body = self._bodies.get(unquote(urlsplit(request.path).path))
        headers: dict[str, str] = {"Date": email.utils.formatdate(usegmt=True)}
        start = stop = 0
        if request.method not in ("GET", "HEAD"):
            request.status, keep = HTTPStatus.METHOD_NOT_ALLOWED, False  # a body may follow that nobody reads
            headers["Allow"] = "GET, HEAD"
        elif body is None:
            request.status = HTTPStatus.NOT_FOUND
        else:
            request.status, start, stop = self._select(request, body, headers)
        request.interval = (start, stop)
        if request.status != HTTPStatus.NOT_MODIFIED:
            headers["Content-Length"] = str(stop - start)
        if not keep:
            headers["Connection"] = "close"
        status = HTTPStatus(request.status)
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items())
        try:
            connection.sendall(head.encode("latin-1") + b"\r\n")
        except (BrokenPipeError, ConnectionResetError):
            return False
        if body is None or request.method == "HEAD":
            stop = start
        pieces = body.blocks(start, stop, self.sizes()) if body is not None else iter(())
        sent = send(connection, pieces, self.link, lambda count: self._passed(request, count))
        return keep and sent and request.complete

    def _select(self, request: Request, body: Body, headers: dict[str, str]) -> tuple[int, int, int]:
        """The status and the interval of *body* that *request* asks for; fills in *headers*."""
        size, tag = body.size(), body.tag()
        modified = None if body.modified is None else email.utils.formatdate(body.modified, usegmt=True)
        suffix = PurePosixPath(urlsplit(request.path).path).suffix.lower()
        headers["Content-Type"] = body.media_type or MEDIA_TYPES.get(suffix, "application/octet-stream")
        headers["Accept-Ranges"] = "bytes" if self.ranges else "none"
        if tag:
            headers["ETag"] = tag
        if modified is not None:
            headers["Last-Modified"] = modified
        headers.update(body.headers)
        if tag and request.headers.get("if-none-match") in (tag, "*"):
            return HTTPStatus.NOT_MODIFIED, 0, 0
        condition = request.headers.get("if-range")
        strong = tag if not tag.startswith("W/") else ""
        same = condition is None or (bool(condition) and condition in (strong, modified))
        if request.range is None or not self.ranges or not same:
            return HTTPStatus.OK, 0, size
        first, last = request.range
        if first is None:
            start, stop = max(0, size - (last or 0)), size
        else:
            start, stop = first, size if last is None else min(last + 1, size)
        if start >= stop:
            headers["Content-Range"] = f"bytes */{size}"
            return HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, 0, 0
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        return HTTPStatus.PARTIAL_CONTENT, start, stop

    def sizes(self) -> Iterator[int]:
        """How large the next pieces of a body are."""
        if self.pieces is None:
            while True:
                yield self.link.quantum
        chance = random.Random(self.pieces)
        while True:
            yield chance.randint(*PIECES)

    def _passed(self, request: Request, count: int) -> None:
        with self._lock:
            request.sent += count
            self._sent += count


class _Listener:
    """A listening socket, the thread that accepts from it and one thread a connection."""

    def __init__(self, origin: Origin, port: int) -> None:
        self._origin = origin
        self._socket = socket.create_server(("127.0.0.1", port), backlog=128)
        self.port: int = self._socket.getsockname()[1]
        self._wake, self._woken = socket.socketpair()
        self._lock = threading.Lock()
        self._connections: dict[threading.Thread, socket.socket] = {}
        self._thread = threading.Thread(target=self._accept, name="kithara-origin", daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.register(self._woken, select.POLLIN)
        while all(descriptor != self._woken.fileno() for descriptor, _ in poll.poll()):
            connection, _ = self._socket.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(target=self._talk, args=(connection,), name="kithara-origin", daemon=True)
            with self._lock:
                self._connections[thread] = connection
            thread.start()

    def _talk(self, connection: socket.socket) -> None:
        try:
            self._origin.talk(connection)
        except (ConnectionResetError, BrokenPipeError):
            pass  # the client has gone; that is its right
        finally:
            with self._lock:
                self._connections.pop(threading.current_thread(), None)
            connection.close()

    def stop(self) -> None:
        self._wake.send(b".")
        self._thread.join()
        self._socket.close()
        with self._lock:
            connections = dict(self._connections)
            for connection in connections.values():
                with contextlib.suppress(OSError):  # the client was faster
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in connections:
            thread.join()
        self._wake.close()
        self._woken.close()


def _read_request(lines: BinaryIO) -> Request | None:
    """The next request, or None when the connection ends or says what is not HTTP/1."""
    words = lines.readline(LINE_LIMIT).decode("latin-1").split()
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return None
    headers = {name.lower(): value for name, value in http.client.parse_headers(lines).items()}
    return Request(
        method=words[0],
        path=words[1],
        headers=headers,
        range=_read_range(headers.get("range", "")),
        time=time.monotonic(),
    )


def _read_range(value: str) -> Asked | None:
    """``(first, last)`` of a single range; None for no, several or malformed ones, which may be ignored (RFC 9110)."""
    match = RANGE.fullmatch(value)
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        return None, int(suffix)
    interval = int(first), int(last) if last else None
    return interval if interval[1] is None or interval[1] >= interval[0] else None
