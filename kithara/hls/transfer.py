"""One segment, or initialization section, on its way into its store: resumed, decrypted, and checked before it is kept.

A clear one is readable as it arrives, once its first bytes are those of media; an encrypted one block by block, all but
the last sixteen bytes. It is committed only when length, padding and first bytes are right.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from .._core.resource import Resource
from ..errors import BodyTruncated, DecodeError, DecryptFailed, NetError, NetTimeout, RangeMismatch, TooLarge
from ..fetch import FOLLOW_EVERY
from ..net import Backoff, HttpClient, Representation
from ..net.policy import Trust
from ..storage import StreamingResource, Validators
from ..storage.memory import AnyStreaming
from .keys import Decryptor
from .local import PIECE, LocalTree, is_local, read_local
from .uri import data_url_bytes

MAX_SEGMENT = 512 << 20
"""Bytes of a segment at most; ten minutes of the densest audio are less."""

HEAD = 8
"""Bytes that tell media from anything else."""

_BOXES = frozenset(
    [b"ftyp", b"styp", b"moof", b"moov", b"sidx", b"emsg", b"prft", b"free", b"skip", b"mdat", b"uuid", b"pdin"]
)
_TS_PACKET = 188


class Transfer:
    """Brings *url*, or ``[start, stop)`` of it, into *store*, and has it committed by *commit*.

    Attributes:
        received: Bytes that came over the network; of a local file none do.
        begun: When the network was asked first, by the loop's clock; None before.
        asked: When it was asked last before it answered: what an attempt that failed took is no latency.
        answered: When the headers came; None before.
        ended: When the last byte came; None before.
        arrived: Called then, before anybody can have read that byte.
    """

    def __init__(
        self,
        client: HttpClient,
        url: str,
        store: Resource,
        *,
        byterange: tuple[int, int] | None = None,
        decryptor: Decryptor | None = None,
        headers: Mapping[str, str] | None = None,
        trust: Trust | None = None,
        priority: int = 0,
        local: LocalTree | None = None,
        commit: Callable[[Resource], Awaitable[None]],
    ) -> None:
        self.received: int = 0
        self.begun: float | None = None
        self.asked: float | None = None
        self.answered: float | None = None
        self.ended: float | None = None
        self.arrived: Callable[[], None] | None = None
        self._client = client
        self._url = url
        self._store = store
        self._start: int = 0 if byterange is None else byterange[0]
        self._stop: int | None = None if byterange is None else byterange[1]
        self._decryptor = decryptor
        self._headers = headers
        self._trust = trust
        self._priority = priority
        self._local = local
        self._commit = commit
        self._position = 0  # bytes of what is asked for that need not be fetched again
        self._written = 0
        self._head: bytes | None = b""
        self._representation: Representation | None = None
        self._untold: Representation | None = None  # what the store is to be told of once bytes of it are media
        self._clock = asyncio.get_running_loop().time

    @property
    def missing(self) -> int | None:
        """Bytes that must still come, where that is known."""
        return None if self.expected is None else self.expected - self._position

    @property
    def expected(self) -> int | None:
        """Bytes that must come in all, where that is known."""
        if self._stop is not None:
            return self._stop - self._start
        return None if self._representation is None else self._representation.total

    async def run(self) -> None:
        """Fetch, check and commit; tries again by the client's rules while the network is at fault.

        Raises:
            NetError: it cannot be had.
            DecryptFailed, DecodeError: what came is no media.
            StoreError: it cannot be kept.
        """
        if not await self._left_to_us():
            return
        if self._url.startswith("data:"):
            self._accept(data_url_bytes(self._url))
        elif is_local(self._url):
            await self._read()
        else:
            self._resume()
            await self._fetch()
        self._end()
        if self._decryptor is not None:
            self._write(self._decryptor.finish())
        if self._head is not None:
            self._judge(self._head)
        if self._store.length is None:
            self._store.set_length(self._written)
        await self._commit(self._store)

    def _end(self) -> None:
        if self.ended is None:
            self.ended = self._clock()
            if self.arrived is not None:
                self.arrived()

    async def _left_to_us(self) -> bool:
        """Wait while another process brings it into the same file; False once it is whole.

        Raises:
            NetTimeout: the other one has brought nothing for as long as a server may be silent.
            WriterGone: the other one has begun it anew.
        """
        store = self._store
        if not isinstance(store, StreamingResource):
            return True
        patience = self._client.options.idle
        here, since = store.total, self._clock()
        while not store.follow() and store.status == "active":
            if store.total != here:
                here, since = store.total, self._clock()
            elif self._clock() - since > patience:
                raise NetTimeout("another process fetches it and gets nowhere", kind="idle", url=self._url)
            await asyncio.sleep(FOLLOW_EVERY)
        if store.status not in ("active", "committed"):
            store.wait_range(0, 1 << 62, 0)  # raises what it ended with
        return store.status != "committed"

    async def _read(self) -> None:
        """Bring a local file, or the range of it that is asked for."""
        while True:
            at = self._start + self._position
            size = PIECE if self._stop is None else min(PIECE, self._stop - at)
            piece = await read_local(self._local, self._url, at, size) if size else b""
            if not piece:
                break
            self._position += len(piece)
            self._accept(piece)
        if self._stop is not None and self._position < self._stop - self._start:
            raise RangeMismatch("a byte range beyond the end of its file", url=self._url)

    def _resume(self) -> None:
        """Go on behind what an earlier session left; a cipher cannot."""
        if self._decryptor is None and self._store.total:
            self._position = self._written = self._store.covered_until(0)
            self._head = None
            held = getattr(self._store, "validators", Validators())
            total = held.total if self._stop is None else None
            self._representation = Representation(
                total=total, etag=held.etag, last_modified=held.last_modified, date=held.date
            )

    async def _fetch(self) -> None:
        backoff = Backoff(self._client.options.retries)
        while self.expected is None or self._position < self.expected:
            try:
                if await self._exchange(backoff):
                    return
            except NetError as exc:
                delay = backoff.next(exc)
                if delay is None:
                    raise backoff.final(exc) from exc.__cause__
                await asyncio.sleep(delay)

    async def _exchange(self, backoff: Backoff) -> bool:
        """One request; True when the end of a body of unknown length was seen."""
        wanted = self._start + self._position
        if self.answered is None:
            self.asked = self._clock()
            self.begun = self.begun or self.asked
        async with self._client.stream(
            self._url,
            wanted,
            self._stop,
            headers=self._headers,
            representation=self._representation,
            priority=self._priority,
            trust=self._trust,
        ) as body:
            if self.answered is None:
                self.answered = self._clock()
            if (body.headers.get("Content-Type") or "").partition(";")[0].strip().lower() == "text/html":
                raise DecodeError("a web page where media should be", url=self._url)
            if body.endless:
                raise DecodeError("a broadcast where a segment should be", url=self._url)
            if self._representation is None or self._representation.total is None:
                self._representation = self._untold = body.representation
            if (self.expected or 0) > MAX_SEGMENT:
                raise TooLarge(f"a segment of {self.expected} bytes", url=self._url)
            place = body.start
            async for chunk in body:
                skipped = max(0, wanted - place)
                place += len(chunk)
                piece = chunk[skipped:] if skipped else chunk
                if self._stop is not None:
                    piece = piece[: self._stop - self._start - self._position]
                wanted = max(wanted, place)
                if piece:
                    self.received += len(piece)
                    self._position += len(piece)
                    if self._position == self.expected:
                        self._end()
                    if self._untold is not None and (self._head is None or looks_like_media(self._head + piece)):
                        await self._describe(self._untold)
                        self._untold = None
                    self._accept(piece)
                    backoff.reset(len(piece))
                if self._stop is not None and self._position >= self._stop - self._start:
                    return True
            ends = self.expected
            if ends is None:
                return True
            if self._position < ends and self._stop is not None and body.stop is not None and body.stop < self._stop:
                raise RangeMismatch("a byte range beyond the end of its file", url=self._url)
            if self._position < ends:
                raise BodyTruncated(expected=ends, got=self._position, url=self._url)
        return True

    async def _describe(self, told: Representation) -> None:
        """Tell the store what it holds, so that a later session can go on with it."""
        total = told.total if self._stop is None else self._stop - self._start
        if self._decryptor is not None or total is None:
            return
        if isinstance(self._store, AnyStreaming):
            validators = Validators(
                total=total,
                etag=told.etag,
                last_modified=told.last_modified,
                date=told.date,
                content_type=told.content_type,
                unvalidated=told.if_range is None,
            )
            await asyncio.to_thread(self._store.describe, validators)
        elif self._store.length is None:
            self._store.set_length(total)

    def _accept(self, data: bytes) -> None:
        if self._position > MAX_SEGMENT:
            raise TooLarge(f"a segment of more than {MAX_SEGMENT} bytes", url=self._url)
        self._write(data if self._decryptor is None else self._decryptor.update(data))

    def _write(self, data: bytes) -> None:
        if self._head is not None:
            data = self._head + data
            if len(data) < HEAD:
                self._head = data
                return
            self._judge(data)
        if data:
            self._store.write_at(self._written, data)
            self._written += len(data)

    def _judge(self, data: bytes) -> None:
        """Let *data*, the first bytes, pass if they are media."""
        self._head = None
        if looks_like_media(data):
            return
        if self._decryptor is not None:
            raise DecryptFailed("the segment does not decrypt with its key", url=self._url)
        raise DecodeError("no media where a segment should be" if data else "an empty segment", url=self._url)


def looks_like_media(head: bytes) -> bool:
    """Whether a segment or init section may begin with *head*: MPEG-TS, fMP4, ID3, ADTS, MP3, AC-3, FLAC, Ogg."""
    if len(head) < HEAD:
        return False
    if head[0] == 0x47:
        return len(head) <= _TS_PACKET or head[_TS_PACKET] == 0x47
    return (
        head[4:8] in _BOXES
        or head[:3] == b"ID3"
        or (head[0] == 0xFF and head[1] & 0xE0 == 0xE0)
        or head[:2] == b"\x0b\x77"
        or head[:4] in (b"fLaC", b"OggS", b"RIFF", b"\x1a\x45\xdf\xa3")
    )
