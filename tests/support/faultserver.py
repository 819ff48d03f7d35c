"""An HTTP server that misbehaves on purpose, byte by byte, from raw sockets and threads.

Say what each request to a path gets, as steps, in order; the last script of a path is repeated::

    with FaultServer() as server:
        server.on("/song", head(200, length=10), send(b"123"), reset())          # the first request
        server.on("/song", head(206, range=(3, 10, 10)), send(b"4567890"))       # every later one
        ... server.url("/song") ...
        assert [r.header("range") for r in server.requests] == [None, "bytes=3-"]

Steps are functions of an `Exchange` (write your own where these do not do): `head`, `send`, `chunk`, `last_chunk`,
`trickle`, `flood`, `until` (a named gate that the test opens with ``server.open_gate(name)``), `stall` (until the
client gives up), `reset` (RST), `finish` (FIN), `when` (depends on the request). A script that neither ends the
connection nor stalls leaves it open for the next request.

Or let it be good: ``server.serve("/song", data)`` answers ranges, conditions and HEAD as RFC 9110 wants, with
injectable weaknesses: ``faults=Faults(p=0.3, seed=7)``, ``ranges=False``, ``length=False``, ``rate=`` bytes a second
over all its connections together, ``delay=`` seconds before each answer.

It records `requests` (with the bytes of body sent for each), `most_open` (connections that the client held open at
once, as the kernel saw them), `accepted` and `sent`. ``host="127.0.0.2"`` is another host on loopback. Closing it
ends every script.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import random
import re
import select
import socket
import ssl
import struct
import termios
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

Step = Callable[["Exchange"], None]
Headers = Mapping[str, object]

_ESTABLISHED = 1  # the first byte of struct tcp_info, linux/tcp.h
_PIECE = 16 << 10


class HangUp(Exception):
    """Ends the script and the connection."""


@dataclass
class Request:
    """What a client asked. Header names in lower case."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    raw: bytes
    connection: int
    sent: int = 0
    """Bytes written after the head of the answer, chunk framing included."""
    started: float = field(default_factory=time.monotonic)

    @property
    def path(self) -> str:
        """The target without the query."""
        return self.target.partition("?")[0]

    def header(self, name: str) -> str | None:
        """The value of the header *name*, or None."""
        return next((value for key, value in self.headers if key == name.lower()), None)

    @property
    def range(self) -> tuple[int, int | None] | None:
        """The range asked for as (start, stop), or None."""
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.header("range") or "")
        return None if match is None else (int(match[1]), int(match[2]) + 1 if match[2] else None)


class Exchange:
    """One request and the connection that its answer goes to."""

    def __init__(self, server: FaultServer, connection: socket.socket, request: Request) -> None:
        self.server = server
        self.connection = connection
        self.request = request

    def write(self, data: bytes, *, body: bool = True) -> None:
        """Send *data*, all of it. Counted as *body* unless told otherwise."""
        view = memoryview(data)
        while view:
            done = self.connection.send(view[:_PIECE])
            view = view[done:]
            if body:
                self.request.sent += done
                self.server.count(done)

    def wait_for_client(self, seconds: float | None = None) -> bool:
        """Wait until the client hangs up (True) or *seconds* are over (False). Ends with the server, too."""
        end = None if seconds is None else time.monotonic() + seconds
        while True:
            left = 0.05 if end is None else min(0.05, end - time.monotonic())
            if left <= 0:
                return False
            if self.server.closing.is_set():
                raise HangUp
            readable, _, _ = select.select([self.connection], [], [], left)
            if readable:
                try:
                    if not self.connection.recv(1, socket.MSG_PEEK):
                        return True
                except ValueError:  # TLS sockets cannot peek
                    return True
                except OSError:
                    return True
                if self.server.closing.wait(left):
                    raise HangUp


# ── steps ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def head(
    status: int | str = 200,
    headers: Headers | None = None,
    *,
    length: object = None,
    range: tuple[int, int, object] | None = None,
    chunked: bool = False,
    etag: str | None = None,
    location: str | None = None,
    version: str = "HTTP/1.1",
) -> Step:
    """Status line and headers. *range* is (start, stop, total) for Content-Range and gives a 206 its length, too."""
    lines = [f"{version} {status}" + (" Said" if isinstance(status, int) else "")]
    if range is not None:
        start, stop, total = range
        lines.append(f"Content-Range: bytes {start}-{stop - 1}/{total}")
        if length is None and not chunked:
            length = stop - start
    if length is not None:
        lines.append(f"Content-Length: {length}")
    if chunked:
        lines.append("Transfer-Encoding: chunked")
    if etag is not None:
        lines.append(f"ETag: {etag}")
    if location is not None:
        lines.append(f"Location: {location}")
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    raw = "\r\n".join([*lines, "", ""]).encode("latin-1")
    return lambda exchange: exchange.write(raw, body=False)


def send(data: bytes) -> Step:
    """*data* as it is."""
    return lambda exchange: exchange.write(data)


def raw(data: bytes) -> Step:
    """*data* as it is, not counted as body: heads that `head` cannot say."""
    return lambda exchange: exchange.write(data, body=False)


def chunk(data: bytes, size: str | None = None) -> Step:
    """One chunk of a chunked body; *size* overrides the hexadecimal size in front of it."""
    prefix = f"{len(data):x}" if size is None else size
    return send(prefix.encode() + b"\r\n" + data + b"\r\n")


def last_chunk() -> Step:
    """The chunk of size 0 that ends a chunked body."""
    return send(b"0\r\n\r\n")


def trickle(data: bytes, every: float, size: int = 1, *, body: bool = True) -> Step:
    """*data* in pieces of *size*, with a pause of *every* seconds after each; ends early when the client goes."""

    def step(exchange: Exchange) -> None:
        for at in range(0, len(data), size):
            exchange.write(data[at : at + size], body=body)
            if exchange.wait_for_client(every):
                raise HangUp

    return step


def flood(data: bytes, times: int | None = None, *, body: bool = True) -> Step:
    """*data* again and again: *times*, or until the client goes."""

    def step(exchange: Exchange) -> None:
        done = 0
        while times is None or done < times:
            if exchange.server.closing.is_set():
                raise HangUp
            exchange.write(data, body=body)
            done += 1

    return step


def until(gate: str) -> Step:
    """Wait until the test opens *gate*."""
    return lambda exchange: exchange.server.pass_gate(gate)


def mark(gate: str) -> Step:
    """Open *gate*, to tell the test or another script that this point is reached."""
    return lambda exchange: exchange.server.open_gate(gate)


def stall() -> Step:
    """Say nothing until the client hangs up."""

    def step(exchange: Exchange) -> None:
        exchange.wait_for_client()
        raise HangUp

    return step


def finish() -> Step:
    """Close the connection in good order (FIN)."""

    def step(exchange: Exchange) -> None:
        raise HangUp

    return step


def reset() -> Step:
    """Tear the connection down (RST), after what was sent has gone out."""

    def step(exchange: Exchange) -> None:
        _drained(exchange.connection)
        exchange.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise HangUp

    return step


def when(condition: Callable[[Request], bool], then: Iterable[Step], otherwise: Iterable[Step]) -> Step:
    """One script or the other, by what the request looks like."""
    then, otherwise = list(then), list(otherwise)

    def step(exchange: Exchange) -> None:
        for one in then if condition(exchange.request) else otherwise:
            one(exchange)

    return step


def redirect(location: str, status: int = 302) -> Step:
    """A redirect to *location*, without a body."""
    return head(status, length=0, location=location)


def _drained(connection: socket.socket) -> None:
    """Wait until the peer has acknowledged everything, so that an RST cannot overtake data."""
    end = time.monotonic() + 1
    while time.monotonic() < end:
        left = struct.unpack("i", fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))[0]
        if not left:
            return
        select.select([], [], [], 0.001)


# ── the good citizen ───────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Faults:
    """Breaks each answer with probability *p*, reproducibly: the n-th request of a path always meets the same fate."""

    p: float
    seed: int = 0
    kinds: tuple[str, ...] = ("close", "unavailable", "cut", "reset")
    """``close`` before the answer, ``unavailable`` (503); ``cut`` (FIN), ``reset`` (RST), ``stall`` within the body."""


@dataclass
class Citizen:
    """A resource that is served well, except where told otherwise; usable as a step.

    Attributes:
        etag: Sent as it is.
        last_modified: Sent as it is.
        content_type: Sent as it is.
        ranges: Whether ranges are served or ignored.
        length: Whether the length of the whole is told; if not, the connection ends it.
        chunked: Whether bodies come in chunks.
        faults: What breaks.
        rate: Bytes a second, over all connections together.
        delay: Seconds before each answer.
        headers: Further headers.
        piece: Bytes in one write, and in one chunk.
    """

    data: bytes
    etag: str | None = '"v1"'
    last_modified: str | None = None
    content_type: str | None = "application/octet-stream"
    ranges: bool = True
    length: bool = True
    chunked: bool = False
    faults: Faults | None = None
    rate: float | None = None
    delay: float = 0.0
    headers: Headers = field(default_factory=dict)
    piece: int = _PIECE
    lock: threading.Lock = field(default_factory=threading.Lock)
    served: int = 0
    free_at: float = 0.0

    def __call__(self, exchange: Exchange) -> None:
        request = exchange.request
        with self.lock:
            number, self.served = self.served, self.served + 1
        if self.delay and exchange.wait_for_client(self.delay):
            raise HangUp
        fault, where = self._fate(number)
        if fault == "close":
            raise HangUp
        if fault == "unavailable":
            head(503, length=0)(exchange)
            return
        if self.etag is not None and request.header("if-none-match") == self.etag:
            head(304, etag=self.etag)(exchange)
            return
        start, stop, partial = self._interval(request)
        if start >= len(self.data) > 0 and partial:
            head(416, {"Content-Range": f"bytes */{len(self.data)}"}, length=0)(exchange)
            return
        self._head(start, stop, partial)(exchange)
        if request.method == "HEAD":
            return
        body = memoryview(self.data)[start:stop]
        broken_at = int(len(body) * where) if fault else len(body)
        self._body(exchange, body[:broken_at])
        if fault == "stall":
            stall()(exchange)
        if fault == "reset":
            reset()(exchange)
        if fault == "cut":
            raise HangUp
        if self.chunked:
            last_chunk()(exchange)
        elif not self.length and not partial:
            raise HangUp

    def _fate(self, number: int) -> tuple[str | None, float]:
        if self.faults is None:
            return None, 1.0
        dice = random.Random(f"{self.faults.seed}/{number}")
        if dice.random() >= self.faults.p:
            return None, 1.0
        return dice.choice(self.faults.kinds), dice.random()

    def _interval(self, request: Request) -> tuple[int, int, bool]:
        size, asked = len(self.data), request.range
        condition = request.header("if-range")
        current = condition is None or condition in (self.etag, self.last_modified)
        if not self.ranges or asked is None or not current:
            return 0, size, False
        start, stop = asked
        return start, size if stop is None else min(stop, size), True

    def _head(self, start: int, stop: int, partial: bool) -> Step:
        headers = dict(self.headers)
        if self.last_modified is not None:
            headers["Last-Modified"] = self.last_modified
        if self.content_type is not None:
            headers["Content-Type"] = self.content_type
        if self.ranges:
            headers["Accept-Ranges"] = "bytes"
        if partial:
            interval = (start, stop, len(self.data))
            return head(206, headers, range=interval, chunked=self.chunked, etag=self.etag)
        length = stop - start if self.length and not self.chunked else None
        if length is None and not self.chunked:
            headers["Connection"] = "close"
        return head(200, headers, length=length, chunked=self.chunked, etag=self.etag)

    def _body(self, exchange: Exchange, body: memoryview) -> None:
        for at in range(0, len(body), self.piece):
            piece = bytes(body[at : at + self.piece])
            if self.rate is not None:
                self._pace(exchange, len(piece))
            exchange.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" if self.chunked else piece)

    def _pace(self, exchange: Exchange, size: int) -> None:
        """Take *size* tokens from the bucket that all connections share."""
        assert self.rate is not None
        with self.lock:
            now = time.monotonic()
            self.free_at = max(self.free_at, now) + size / self.rate
            wait = self.free_at - now
        if wait > 0 and exchange.wait_for_client(wait):
            raise HangUp


# ── the server ─────────────────────────────────────────────────────────────────────────────────────────────────────


class FaultServer:
    """See the module. A context manager; `close` ends every script and joins every thread."""

    def __init__(self, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self.host = host
        self.requests: list[Request] = []
        self.accepted = 0
        self.most_open = 0
        self.sent = 0
        self.closing = threading.Event()
        self._tls = tls
        self._scripts: dict[str, list[list[Step]]] = {}
        self._gates: dict[str, threading.Event] = {}
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server((host, 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, name="faultserver", daemon=True)
        self._acceptor.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def scheme(self) -> str:
        """``http``, or ``https`` when it was given a TLS context."""
        return "http" if self._tls is None else "https"

    def url(self, path: str = "/", *, userinfo: str = "", host: str | None = None) -> str:
        """The URL of *path* here."""
        at = f"{userinfo}@" if userinfo else ""
        return f"{self.scheme}://{at}{host or self.host}:{self.port}{path}"

    def on(self, path: str, *steps: Step) -> None:
        """Answer the next unscripted request for *path* with *steps*; the last script given serves all later ones."""
        with self._lock:
            self._scripts.setdefault(path, []).append(list(steps))

    def serve(self, path: str, data: bytes, **weaknesses: Any) -> Citizen:
        """Serve *data* at *path* as a good citizen, apart from its *weaknesses* (see `Citizen`). Replaces scripts."""
        citizen = Citizen(data, **weaknesses)
        with self._lock:
            self._scripts[path] = [[citizen]]
        return citizen

    def forget(self, path: str) -> None:
        """Drop every script of *path*: what is given from now on comes first."""
        with self._lock:
            self._scripts.pop(path, None)

    def open_gate(self, name: str) -> None:
        """Let every script that waits at *name* go on, now and later."""
        self._gate(name).set()

    def pass_gate(self, name: str) -> None:
        """Wait until *name* is open; ends with the server."""
        gate = self._gate(name)
        while not gate.wait(0.02):
            if self.closing.is_set():
                raise HangUp

    def wait_gate(self, name: str, timeout: float = 10.0) -> bool:
        """Whether a script passed ``mark(name)`` within *timeout*. For the test's own thread."""
        return self._gate(name).wait(timeout)

    def _gate(self, name: str) -> threading.Event:
        with self._lock:
            return self._gates.setdefault(name, threading.Event())

    def count(self, sent: int) -> None:
        """Add to the bytes of body sent."""
        with self._changed:
            self.sent += sent
            self._changed.notify_all()

    def wait_until(self, condition: Callable[[], Any], timeout: float = 10.0) -> bool:
        """Wait until *condition*, looked at whenever a request, a byte or a connection changes something, holds."""
        end = time.monotonic() + timeout
        with self._changed:
            while not condition():
                left = end - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(min(left, 0.05))
            return True

    async def sees(self, condition: Callable[[], Any], timeout: float = 10.0) -> bool:
        """`wait_until` for a test that runs in an event loop, which goes on meanwhile."""
        return await asyncio.to_thread(self.wait_until, condition, timeout)

    def open_now(self) -> int:
        """Connections that the client holds open at this moment."""
        with self._lock:
            return self._count_open()

    def _count_open(self) -> int:
        return sum(_state(connection) == _ESTABLISHED for connection in self._open)

    # ── threads ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._changed:
                if self.closing.is_set():
                    connection.close()
                    return
                self.accepted += 1
                self._open.add(connection)
                self.most_open = max(self.most_open, self._count_open())
                self._threads = [thread for thread in self._threads if thread.is_alive()]
                thread = threading.Thread(target=self._talk, args=(connection, self.accepted), daemon=True)
                self._threads.append(thread)
                self._changed.notify_all()
                thread.start()

    def _talk(self, plain: socket.socket, number: int) -> None:
        connection = plain
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                connection = self._tls.wrap_socket(plain, server_side=True)
                with self._lock:
                    self._open.discard(plain)
                    self._open.add(connection)
            pending = bytearray()
            while (request := self._read_request(connection, number, pending)) is not None:
                with self._changed:
                    self.requests.append(request)
                    script = self._next_script(request.path)
                    self._changed.notify_all()
                exchange = Exchange(self, connection, request)
                for step in script:
                    step(exchange)
        except (HangUp, OSError):
            pass
        finally:
            with self._changed:
                self._open.discard(connection)
                self._open.discard(plain)
                self._changed.notify_all()
            with contextlib.suppress(OSError):
                connection.close()

    def _next_script(self, path: str) -> list[Step]:
        scripts = self._scripts.get(path)
        if not scripts:
            return [head(404, length=0)]
        return scripts.pop(0) if len(scripts) > 1 else scripts[0]

    def _read_request(self, connection: socket.socket, number: int, pending: bytearray) -> Request | None:
        while b"\r\n\r\n" not in pending:
            data = connection.recv(65536)
            if not data:
                return None
            pending += data
        raw, _, rest = bytes(pending).partition(b"\r\n\r\n")
        pending[:] = rest
        first, *lines = raw.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = [(name.strip().lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        return Request(method, target, headers, raw, number)

    def close(self) -> None:
        """End every script, close every connection, join every thread. Twice is once."""
        self.closing.set()
        for gate in list(self._gates.values()):
            gate.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            connections, threads = list(self._open), list(self._threads)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in [self._acceptor, *threads]:
            thread.join(5)


def _state(connection: socket.socket) -> int:
    """The kernel's TCP state of *connection*; 0 when it is closed."""
    try:
        return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    except OSError:
        return 0
